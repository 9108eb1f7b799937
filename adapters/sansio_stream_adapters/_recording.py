"""Recording: writes the chunks of a body to a file as they arrive.

The module depends on neither HTTP nor messages.
"""

from __future__ import annotations

import contextlib
import errno
import io
import logging
import os
import stat
import time
import warnings
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeAlias

from sansio_stream.capture import CaptureHeader, CaptureWriter
from sansio_stream.errors import printable

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

__all__ = ["RecordTo", "Recorder", "make_private", "open_private", "warn_of"]

RecordTo: TypeAlias = "str | os.PathLike[str] | IO[bytes]"
"""Where a recording is written: a path or a binary file.

The file at a path must be missing or empty. A binary file stays open.
"""


def open_private(path: str, flags: int) -> int:
    """Open a file that only its owner can read, and return its descriptor.

    A recording contains prompts and answers. An empty file gets the mode 0600. A file with content
    keeps its mode until it is emptied. The function is an `opener` for `open`.

    Raises:
        OSError: `os.open` fails, or the path is a symbolic link or not a regular file. A link may
            lead to a file that somebody else has chosen, and the first write to a FIFO may block
            for ever.
    """
    careful = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        descriptor = os.open(path, flags | careful, 0o600)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise OSError(errno.ELOOP, "a symbolic link is not followed", path) from None
        if error.errno == errno.ENXIO:
            raise OSError(errno.ENXIO, "not a regular file", path) from None
        raise
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a regular file", path)
    if not status.st_size:
        make_private(descriptor)
    return descriptor


def make_private(descriptor: int) -> None:
    """Remove the access of all users but the owner, if the system has file modes."""
    if hasattr(os, "fchmod"):
        with contextlib.suppress(OSError):  # the file belongs to another user
            os.fchmod(descriptor, 0o600)


def open_blank(path: str | os.PathLike[str]) -> IO[bytes]:
    """Open an empty or missing file for writing; see `open_private`.

    Raises:
        FileExistsError: The file has content, which may be an earlier recording.
    """
    file = open(Path(path), "ab", opener=open_private)  # noqa: SIM115  (the caller closes it)
    if os.fstat(file.fileno()).st_size:
        file.close()
        message = "the file exists and is not empty; to overwrite it, pass an open binary file"
        raise FileExistsError(errno.EEXIST, message, str(path))
    return file


def check_binary(file: object) -> None:
    """Raise TypeError if this is not a binary file. A later error would lose the recording."""
    if isinstance(file, io.TextIOBase) or not hasattr(file, "write"):
        kind = type(file).__name__
        raise TypeError(f"record_to must be a path or a binary file, not {kind}")


def warn_of(message: str, stacklevel: int) -> None:
    """Warn of a recording that failed. If the filters turn warnings into errors, log it instead."""
    try:
        warnings.warn(message, RuntimeWarning, stacklevel=stacklevel)
    except Exception:  # noqa: BLE001  (`-W error`, or a failing `showwarning`)
        logging.getLogger(__name__).warning(message)


class Recorder:
    """A recording in the format of `sansio_stream.capture`, without credentials.

    Each line is passed to the system at once, so a crash of the process loses none of them.

    An answer is worth more than its recording. So a failure to record does not affect the stream:
    the recording ends, with a RuntimeWarning. If the warning filters turn warnings into errors,
    the failure is logged instead.

    Raises:
        OSError: The path cannot be written. Raised by the constructor, before a request is sent.
        FileExistsError: The file at the path is not empty. Raised by the constructor.
        TypeError: `target` is neither a path nor a binary file. Raised by the constructor.
    """

    def __init__(self, target: RecordTo, request: Mapping[str, Any] | None = None) -> None:
        self._target = target
        self._request = request
        self._file: IO[bytes] | None = None
        self._writer: CaptureWriter | None = None
        self._buffered: list[tuple[bytes, float]] | None = []
        self._start = time.monotonic()
        if isinstance(target, str | os.PathLike):
            open_blank(target).close()
        else:
            check_binary(target)

    @staticmethod
    def of(target: RecordTo | Recorder | None) -> Recorder | None:
        """Return a recorder for a path or a file. Returns a recorder or None unchanged."""
        return target if target is None or isinstance(target, Recorder) else Recorder(target)

    def sent(self, at: float | None = None) -> None:
        """Start the clock, because the request is sent. Discards buffered chunks.

        Args:
            at: The `time.monotonic()` at which it was sent. Default: now.
        """
        self._start = time.monotonic() if at is None else at
        self._buffered = []

    def begin(self, status: int, headers: Mapping[str, str]) -> None:
        """Write the header and the buffered chunks. Called once the response is accepted."""
        buffered, self._buffered = self._buffered, None
        with self._apart_from_the_stream():
            header = CaptureHeader(status=status, headers=headers, request=self._request)
            self._writer = writer = CaptureWriter(header)
            target = self._target
            if isinstance(target, str | os.PathLike):
                self._file = open_blank(target)
            else:
                self._file = target
            self._write(writer.begin())
            for data, at in buffered or ():
                self._write(writer.chunk(data, at))

    def chunk(self, data: bytes) -> None:
        """Write a chunk as a line. A chunk before `begin` is buffered."""
        at = self._now()
        if self._buffered is not None:
            self._buffered.append((data, at))
            return
        writer = self._writer
        if writer is not None:
            with self._apart_from_the_stream():
                self._write(writer.chunk(data, at))

    def end(self, error: str | None = None) -> None:
        """Write how the body ended, unless that is written already, and close the file."""
        # Cleared first: another thread may close the stream while its reader ends it.
        writer, self._writer = self._writer, None
        if writer is not None:
            with self._apart_from_the_stream():
                self._write(writer.end(self._now(), error))
            self._close_file()

    def _now(self) -> float:
        return time.monotonic() - self._start

    def _write(self, lines: bytes) -> None:
        file = self._file
        if file is not None:
            file.write(lines)
            file.flush()

    @contextlib.contextmanager
    def _apart_from_the_stream(self) -> Generator[None]:
        """End the recording with a warning if the block raises. Nothing is raised."""
        try:
            yield
        except Exception as error:  # noqa: BLE001  (a file that was passed in may raise anything)
            self._writer = None
            self._close_file()
            warn_of(f"the recording stops here: {printable(str(error))}", stacklevel=5)

    def _close_file(self) -> None:
        file, self._file = self._file, None
        if file is not None and file is not self._target:
            with contextlib.suppress(OSError):  # closing tries to write the failed bytes again
                file.close()
