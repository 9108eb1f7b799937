"""Shows the streams of files in a view, as they arrive. `replay` and `trace` use it."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import attrs
from rich.rule import Rule
from rich.text import Text

from sansio_stream.capture import CaptureEnd, Chunk
from sansio_stream.errors import Verdict
from sansio_stream_adapters._cut import recut, sizes_from

from ._options import ReadLimits
from ._overview import USABLE
from ._progress import FilePosition, ProgressBar, can_show_progress, size_of
from ._reading import Pace, Reading
from ._recording_file import CaptureFile, PrivateFile
from ._text import one_line, unbroken
from ._views import GOOD, INTERRUPTED, UNUSABLE, View, complain, judge, reason_of
from .sources import open_sources

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from rich.console import Console

    from .sources import Source

__all__ = ["ArrivalClock", "HintPrinter", "ShowOptions", "Showing"]


@attrs.frozen(kw_only=True)
class ShowOptions:
    """How streams are read and shown.

    Attributes:
        limits: the bounds on what is read.
        strict: whether nearly every violation is fatal.
        speed: the speed as a factor of the recorded speed, or None to never wait.
        cut: the sizes of the chunks to feed, as `sizes_from` reads it, or None for the recorded
            chunks.
        arrival_times: whether a chunk without a time gets that of its arrival here.
        save: the file to which the stream is also written, or None.
        force: whether an existing file is replaced.
    """

    limits: ReadLimits
    strict: bool = False
    speed: float | None = None
    cut: str | None = None
    arrival_times: bool = False
    save: Path | None = None
    force: bool = False


class ArrivalClock:
    """Gives each chunk without a time the time of its arrival.

    The time is in seconds since this clock was made.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._start = clock()

    def chunks(self, chunks: Iterable[Chunk]) -> Iterator[Chunk]:
        """Return the chunks with their times."""
        for chunk in chunks:
            yield Chunk(self._now(), chunk.data) if chunk.at is None else chunk

    def end(self, end: CaptureEnd | None) -> CaptureEnd | None:
        """Return the end with its time."""
        return CaptureEnd(self._now(), end.error) if end is not None and end.at is None else end

    def _now(self) -> float:
        # A capture stores microseconds. With more digits, a replay could show other rates.
        return round(self._clock() - self._start, 6)


class HintPrinter:
    """Prints the hints of sources on stderr, each sentence once."""

    def __init__(self) -> None:
        self._printed: set[str] = set()

    def show(self, name: str, hints: Iterable[str]) -> None:
        """Print those hints that were not printed before."""
        for hint in hints:
            if hint not in self._printed:
                self._printed.add(hint)
                complain(f"{name}: {hint}")


@attrs.frozen
class Shown:
    """A stream that was shown, or a file or stream that could not be read.

    Attributes:
        name: the name of the file or the stream.
        verdict: the verdict, or None if it could not be read.
        outcome: the outcome, or the reason why it could not be read.
    """

    name: str
    verdict: Verdict | None
    outcome: str


class Showing:
    """Shows streams one after the other, in views with the same options.

    Args:
        options: how streams are read and shown.
        console: the console of stdout.
        view_of: makes the view of a reading.
        sources_in: returns the streams in a file, with the arguments of `open_sources`. The
            default is that function.
    """

    def __init__(
        self,
        options: ShowOptions,
        console: Console,
        view_of: Callable[[Reading], View],
        *,
        sources_in: Callable[..., Iterator[Source]] | None = None,
    ) -> None:
        self._options = options
        self._console = console
        self._view_of = view_of
        self._sources_in = sources_in or open_sources
        self._hints = HintPrinter()
        self._shown: list[Shown] = []
        self._has_output = False
        self._saved: PrivateFile | None = None
        self._is_saved = False
        self._save_status = GOOD

    def run(self, files: tuple[str, ...]) -> int:
        """Show the streams of files, and return the exit status: the highest one.

        Ctrl-C ends the current stream, and no other stream is shown.
        """
        statuses = [GOOD]
        with contextlib.ExitStack() as stack:
            if self._options.save is not None:
                try:
                    file = PrivateFile(self._options.save, replace=self._options.force)
                except OSError as error:
                    complain(cannot_save(self._options.save, error))
                    return UNUSABLE
                self._saved = stack.enter_context(file)
            for name in files:
                statuses.append(self._show_file(name, is_only=len(files) == 1))
                if statuses[-1] == INTERRUPTED:
                    break
            if self._saved is not None and self._saved.failure is not None:
                reason = self._saved.failure.strerror
                complain(f"{self._saved.path}: the recording is incomplete: {reason}")
                statuses.append(UNUSABLE)
        self._print_overview()
        return max([*statuses, self._save_status])

    def _show_file(self, name: str, *, is_only: bool) -> int:
        status = GOOD
        clock = ArrivalClock() if self._options.arrival_times else None
        position = FilePosition()
        bar = partial(ProgressBar, total=size_of(name))
        limits = self._options.limits.source
        try:
            for source in reads(self._sources_in(name, limits, on_piece=position.add)):
                is_alone = is_only and source.name == name
                shown = self._show_source(source, bar, position, clock, is_alone=is_alone)
                status = max(status, shown)
                if status == INTERRUPTED:
                    break
        except UnreadableError as error:
            return max(status, self._unreadable(name, error))
        except KeyboardInterrupt:
            complain("interrupted")
            return INTERRUPTED
        return status

    def _unreadable(self, name: str, error: UnreadableError) -> int:
        reason = str(error)
        complain(f"{name}: {reason}")
        self._shown.append(Shown(name, None, reason))
        return UNUSABLE

    def _show_source(
        self,
        source: Source,
        bar_of: Callable[..., ProgressBar],
        position: FilePosition,
        clock: ArrivalClock | None,
        *,
        is_alone: bool,
    ) -> int:
        """Show one stream, and return its exit status."""
        self._hints.show(source.name, source.hints)
        options = self._options
        reading = Reading(source.header, strict=options.strict, limits=options.limits.machine)
        view = self._view_of(reading)
        if view.is_for_people and not is_alone:
            self._heading(source.name)
        chunks = reads(source.chunks)
        if clock is not None:
            chunks = clock.chunks(chunks)
        save = self._capture_file(source)
        if save is not None:
            chunks = saved(chunks, save)
        failure: UnreadableError | KeyboardInterrupt | None = None
        with bar_of(is_shown=can_show_progress(prints=view.is_live)) as bar:
            bar.name(source.name)
            try:
                self._feed(source, view, bar.watch(chunks, position), clock, save)
            except (UnreadableError, KeyboardInterrupt) as error:
                failure = error
        if failure is not None and not reading.chunks_fed:
            if isinstance(failure, KeyboardInterrupt):
                complain("interrupted")
                return INTERRUPTED
            return self._unreadable(source.name, failure)
        if failure is not None:
            reading.stop()
        view.end()
        self._hints.show(source.name, source.hints)
        if isinstance(failure, KeyboardInterrupt):
            complain("interrupted")
            self._shown.append(Shown(source.name, reading.verdict, "interrupted"))
            return INTERRUPTED
        if failure is not None:
            return self._unreadable(source.name, failure)
        self._shown.append(Shown(source.name, reading.verdict, reading.outcome))
        return judge(source.name, view)

    def _feed(
        self,
        source: Source,
        view: View,
        chunks: Iterator[Chunk],
        clock: ArrivalClock | None,
        save: CaptureFile | None,
    ) -> None:
        reading = view.reading
        if self._options.cut is not None:
            chunks = recut(chunks, sizes_from(self._options.cut))
        speed = self._options.speed
        pace = None if speed is None else Pace(speed, notify=self._note(source.name))
        is_begun = False
        for chunk in chunks:
            if not is_begun:
                # Not earlier: if a file cannot be read, only the error is shown.
                view.begin()
                is_begun = True
            if pace is not None:
                pace.wait_until(chunk.at)
            for result in reading.feed(chunk):
                view.add(result)
            if reading.broken is not None and save is None:
                # The rest of the stream changes nothing, and it may take long to arrive.
                reading.stop()
                return
        if not is_begun:
            view.begin()
        end = source.end if clock is None else clock.end(source.end)
        if save is not None:
            save.end(end)
        if pace is not None and end is not None and reading.broken is None:
            pace.wait_until(end.at)
        for result in reading.finish(end):
            view.add(result)

    def _note(self, name: str) -> Callable[[str], None]:
        return lambda sentence: complain(f"{name}: {sentence}")

    def _capture_file(self, source: Source) -> CaptureFile | None:
        """Return the capture that the stream is saved to, or None."""
        if self._saved is None:
            return None
        if self._is_saved:
            complain(
                f"{source.name}: not saved, because {self._saved.path} has another stream;"
                " `sansio-stream convert` writes every stream to a file of its own"
            )
            self._save_status = UNUSABLE
            return None
        self._is_saved = True
        return CaptureFile(self._saved, source.header)

    # What is printed for several streams.

    def _heading(self, name: str) -> None:
        if self._has_output:
            self._console.print()
        self._has_output = True
        title = Text(one_line(name, max(self._console.width - 8, 8)))
        self._console.print(Rule(title, characters="═"))

    def _print_overview(self) -> None:
        """Print how many streams had which verdict, and the reason of each that failed."""
        if len(self._shown) < 2 or not self._has_output:
            return
        self._console.print()
        self._console.print(Rule(Text("overview"), characters="═"))
        counts = Counter(
            "unreadable" if each.verdict is None else each.verdict.name for each in self._shown
        )
        total = ", ".join(f"{count} {name}" for name, count in counts.most_common())
        self._print_line(f"{len(self._shown)} streams: {total}")
        for shown in self._shown:
            if shown.verdict not in USABLE:
                self._print_line(f"{unbroken(shown.name)}: {shown.outcome}")

    def _print_line(self, text: str) -> None:
        indent = ""
        for line in Text(unbroken(text)).wrap(self._console, max(self._console.width - 2, 20)):
            line.rstrip()
            self._console.print(Text.assemble(indent, line), soft_wrap=True)
            indent = "  "


class UnreadableError(Exception):
    """A file cannot be read. The text is the reason."""


T = TypeVar("T")


def reads(items: Iterable[T]) -> Iterator[T]:
    """Yield the items that are read from a file. Raise UnreadableError if reading fails.

    The code that prints may raise an OSError, too. Only an error of the file becomes an
    UnreadableError.
    """
    try:
        yield from items
    except (OSError, ValueError) as error:
        raise UnreadableError(reason_of(error)) from error


def saved(chunks: Iterable[Chunk], save: CaptureFile) -> Iterator[Chunk]:
    """Return the same chunks, each after it was written to a capture."""
    for chunk in chunks:
        save.chunk(chunk)
        yield chunk


def cannot_save(path: Path, error: OSError) -> str:
    """Return the sentence about a file that cannot be opened for writing."""
    if isinstance(error, FileExistsError):
        return f"{path}: the file already exists; use --force to replace it"
    return f"{path}: {error.strerror}"
