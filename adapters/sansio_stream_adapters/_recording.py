"""Recording: the chunks of a body into a file, as they come. Knows no HTTP and no messages."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import time
import warnings
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeAlias

from sansio_stream.capture import CaptureHeader, CaptureWriter

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

__all__ = ["RecordTo", "Recorder"]

RecordTo: TypeAlias = "str | os.PathLike[str] | IO[bytes]"
"""Where a recording goes: a path, which is written anew, or a binary file, which stays open."""


def demand_binary(file: object) -> None:
    """Raise TypeError for what is no binary file: later it would cost an answer."""
    if isinstance(file, io.TextIOBase) or not hasattr(file, "write"):
        kind = type(file).__name__
        raise TypeError(f"record_to: a path or a binary file is needed, not {kind}")


class Recorder:
    """One recording. Each line is handed to the system as it is made, so that a crash leaves all of
    them; the format is that of `sansio_stream.capture`, and no credential is in it.

    A path that cannot be written raises OSError here, before anything is sent, and what is neither
    a path nor a binary file raises TypeError. Nothing that fails later touches the stream, because
    an answer is worth more than its log: the recording ends with a RuntimeWarning. Where the
    warning filters make that an error, it is logged instead.
    """

    def __init__(self, target: RecordTo, request: Mapping[str, Any] | None = None) -> None:
        self._target = target
        self._request = request
        self._file: IO[bytes] | None = None
        self._writer: CaptureWriter | None = None
        self._held: list[tuple[bytes, float]] | None = []
        self._start = time.monotonic()
        if isinstance(target, str | os.PathLike):
            with Path(target).open("ab"):
                pass
        else:
            demand_binary(target)

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
                self._file = Path(target).open("wb")  # noqa: SIM115  (it stays open)
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
            told = f"the recording stops here: {error}"
            try:
                warnings.warn(told, RuntimeWarning, stacklevel=4)
            except Exception:  # noqa: BLE001  (-W error, or whoever shows warnings)
                logging.getLogger(__name__).warning(told)

    def _let_go(self) -> None:
        file, self._file = self._file, None
        if file is not None and file is not self._target:
            with contextlib.suppress(OSError):  # it would write again what could not be written
                file.close()
