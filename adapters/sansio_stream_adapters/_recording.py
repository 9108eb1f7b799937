"""Recording: the chunks of a body into a file, as they come. Knows no HTTP and no messages."""

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

__all__ = ["RecordTo", "Recorder", "make_private", "open_private"]

RecordTo: TypeAlias = "str | os.PathLike[str] | IO[bytes]"
"""Where a recording goes: a path of a file that is not there yet, or is empty, or a binary file,
which stays open."""


def open_private(path: str, flags: int) -> int:
    """Open a file for its owner alone, and return its descriptor; an `opener` for `open`.

    A recording holds prompts and answers. An empty file gets the mode 0600; one that has something
    in it keeps its own until somebody empties it.

    Raises OSError as `os.open` does, and for a symbolic link, which may lead to what somebody else
    has chosen, and for what is no regular file: a FIFO, say, on which the first write may wait for
    ever.
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
    """Let nobody but the owner read a file, where the system has such modes."""
    if hasattr(os, "fchmod"):
        with contextlib.suppress(OSError):  # it is somebody else's, who may read it anyhow
            os.fchmod(descriptor, 0o600)


def open_blank(path: str | os.PathLike[str]) -> IO[bytes]:
    """Open a file to write to, in which there is nothing; see `open_private`.

    Raises FileExistsError for one that has something in it: another answer was worth recording.
    """
    file = open(Path(path), "ab", opener=open_private)  # noqa: SIM115  (it stays open)
    if os.fstat(file.fileno()).st_size:
        file.close()
        told = "it exists; to replace it, pass a file that is open for writing"
        raise FileExistsError(errno.EEXIST, told, str(path))
    return file


def check_binary(file: object) -> None:
    """Raise TypeError for what is no binary file: later it would cost an answer."""
    if isinstance(file, io.TextIOBase) or not hasattr(file, "write"):
        kind = type(file).__name__
        raise TypeError(f"record_to: a path or a binary file is needed, not {kind}")


class Recorder:
    """One recording. Each line is handed to the system as it is made, so that a crash leaves all of
    them; the format is that of `sansio_stream.capture`, and no credential is in it.

    A path that cannot be written raises OSError here, before anything is sent: FileExistsError for
    a file that is not empty. What is neither a path nor a binary file raises TypeError. Nothing
    that fails later touches the stream, because an answer is worth more than its log: the recording
    ends with a RuntimeWarning. Where the warning filters make that an error, it is logged instead.
    """

    def __init__(self, target: RecordTo, request: Mapping[str, Any] | None = None) -> None:
        self._target = target
        self._request = request
        self._file: IO[bytes] | None = None
        self._writer: CaptureWriter | None = None
        self._held: list[tuple[bytes, float]] | None = []
        self._start = time.monotonic()
        if isinstance(target, str | os.PathLike):
            open_blank(target).close()
        else:
            check_binary(target)

    @staticmethod
    def of(target: RecordTo | Recorder | None) -> Recorder | None:
        """Return a recorder for a path or a file; what is one or None is returned as it is."""
        return target if target is None or isinstance(target, Recorder) else Recorder(target)

    def sent(self) -> None:
        """Note that the request is being sent now: times count from here. Forget what is held."""
        self._start = time.monotonic()
        self._held = []

    def begin(self, status: int, headers: Mapping[str, str]) -> None:
        """Write the header, once an answer is there that is worth recording, and what was held."""
        held, self._held = self._held, None
        with self._apart_from_the_stream():
            header = CaptureHeader(status=status, headers=headers, request=self._request)
            self._writer = writer = CaptureWriter(header)
            target = self._target
            if isinstance(target, str | os.PathLike):
                self._file = open_blank(target)
            else:
                self._file = target
            self._write(writer.begin())
            for data, at in held or ():
                self._write(writer.chunk(data, at))

    def chunk(self, data: bytes) -> None:
        """Write the line of a chunk. One that comes before `begin` is held until then."""
        at = self._now()
        if self._held is not None:
            self._held.append((data, at))
            return
        writer = self._writer
        if writer is not None:
            with self._apart_from_the_stream():
                self._write(writer.chunk(data, at))

    def end(self, error: str | None = None) -> None:
        """Write how the body ended, if that is not written yet, and let the file go."""
        # Taken first: whoever closes a stream may do so while its reader ends.
        writer, self._writer = self._writer, None
        if writer is not None:
            with self._apart_from_the_stream():
                self._write(writer.end(self._now(), error))
            self._let_go()

    def _now(self) -> float:
        return time.monotonic() - self._start

    def _write(self, lines: bytes) -> None:
        file = self._file
        if file is not None:
            file.write(lines)
            file.flush()

    @contextlib.contextmanager
    def _apart_from_the_stream(self) -> Generator[None]:
        """End the recording where the block raises, and say so without raising."""
        try:
            yield
        except Exception as error:  # noqa: BLE001  (a file that was passed in may raise anything)
            self._writer = None
            self._let_go()
            told = f"the recording stops here: {printable(str(error))}"
            try:
                warnings.warn(told, RuntimeWarning, stacklevel=4)
            except Exception:  # noqa: BLE001  (-W error, or whoever shows warnings)
                logging.getLogger(__name__).warning(told)

    def _let_go(self) -> None:
        file, self._file = self._file, None
        if file is not None and file is not self._target:
            with contextlib.suppress(OSError):  # it would write again what could not be written
                file.close()
