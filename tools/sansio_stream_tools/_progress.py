"""A progress bar on stderr. It is shown only if nothing else is shown on the terminal."""

from __future__ import annotations

import os
import stat
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TransferSpeedColumn,
)

from ._text import ending, unbroken

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import TracebackType

    from sansio_stream.capture import Chunk

__all__ = ["FilePosition", "ProgressBar", "can_show_progress", "size_of"]

STEP: Final = 2**16
"""The bar of a file is updated after this number of bytes. An update takes longer than to read a
chunk.
"""

NAME_WIDTH: Final = 24


def can_show_progress(*, prints: bool) -> bool:
    """Whether a bar can be shown on stderr, because nothing else is shown on the terminal.

    If stdout is a pipe, no bar is shown: the reader of the pipe, such as `less`, may use the same
    terminal. If the reader ends early, SIGPIPE ends this process, and the cursor stays hidden.

    Args:
        prints: whether something is printed to stdout before the end.
    """
    if not sys.stderr.isatty() or os.environ.get("TERM", "") in {"dumb", "unknown"}:
        return False
    if sys.stdout.isatty():
        return not prints
    try:
        mode = os.fstat(sys.stdout.fileno()).st_mode
    except (OSError, ValueError):
        return False
    return stat.S_ISREG(mode) or stat.S_ISCHR(mode)  # a file, or /dev/null


def size_of(name: str) -> int | None:
    """Return the size of a regular file in bytes, or None for anything else."""
    with suppress(OSError, ValueError):
        status = os.stat(name)  # noqa: PTH116 - a name may be any text
        if stat.S_ISREG(status.st_mode):
            return status.st_size
    return None


class FilePosition:
    """The position in a file that is read in pieces.

    Attributes:
        bytes: the number of bytes that were read.
    """

    def __init__(self) -> None:
        self.bytes = 0

    def add(self, piece: bytes) -> None:
        """Count a piece that was read."""
        self.bytes += len(piece)


class ProgressBar:
    """A progress bar, as a context manager. It is removed at the end.

    Args:
        is_shown: whether to show anything.
        total: the number of bytes or items, or None if it is unknown.
        counts_items: whether files or rows are counted, not bytes.
    """

    def __init__(self, *, is_shown: bool, total: int | None, counts_items: bool = False) -> None:
        self._total = total
        self._shown = 0
        self._step = 1 if counts_items else STEP
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        if is_shown:
            amounts: tuple[ProgressColumn, ...] = (MofNCompleteColumn(),)
            if not counts_items:
                amounts = (DownloadColumn(binary_units=True), TransferSpeedColumn())
            self._progress = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=None),
                *amounts,
                TimeElapsedColumn(),
                console=Console(stderr=True, markup=False, emoji=False, highlight=False),
                transient=True,
                expand=True,
                # Otherwise rich sends what is written to stdout to the console of the bar.
                redirect_stdout=False,
                redirect_stderr=False,
            )

    def __enter__(self) -> Self:
        if self._progress is not None:
            self._progress.start()
            self._task = self._progress.add_task("", total=self._total)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        if self._progress is not None:
            self._progress.stop()

    def name(self, text: str) -> None:
        """Show what is being read."""
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, description=ending(unbroken(text), NAME_WIDTH))

    def advance_to(self, done: int) -> None:
        """Show the number of bytes or items that are done, unless it has grown only a little."""
        if done - self._shown < self._step:
            return
        self._shown = done
        if self._progress is not None and self._task is not None:
            if self._total is not None and done > self._total:
                self._total = None  # the file has grown
                self._progress.reset(self._task, total=None, completed=done)
            self._progress.update(self._task, completed=done)

    def set_done(self, done: int, total: int | None) -> None:
        """Show the number of finished items, and the total if it is known."""
        self._shown, self._total = done, total
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, completed=done, total=total)

    def watch(self, chunks: Iterable[Chunk], position: FilePosition) -> Iterator[Chunk]:
        """Return the same chunks, and show the position in the file."""
        for chunk in chunks:
            self.advance_to(position.bytes)
            yield chunk
