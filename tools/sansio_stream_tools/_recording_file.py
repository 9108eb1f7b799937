"""New files that only their owner can read, and the file of a recording."""

from __future__ import annotations

import io
import os
from collections import deque
from typing import TYPE_CHECKING, Final

import attrs

from sansio_stream.capture import CaptureWriter
from sansio_stream_adapters._recording import make_private, open_private
from sansio_stream_adapters._stream_core import RESPONSE_PIECE_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from _typeshed import ReadableBuffer

    from sansio_stream.capture import CaptureEnd, CaptureHeader, Chunk

__all__ = ["CaptureFile", "PrivateFile", "RecordingFile"]


LATEST: Final = 1e9
"""The latest time that a capture can hold, in seconds."""


class PrivateFile(io.FileIO):
    """A file that only its owner can read. No symbolic link in its place is followed.

    An existing file is not truncated before the first bytes are written. A new file is deleted on
    closing if nothing was written to it. After a failed write, nothing more is written: the file
    stays readable up to that place.

    Attributes:
        path: the path of the file.
        failure: the error of the first failed write, or None.
    """

    def __init__(self, path: Path, *, replace: bool) -> None:
        """Open the file.

        Raises:
            FileExistsError: if the file exists and `replace` is false.
            OSError: if the file cannot be written.
        """
        self.path = path
        self.failure: OSError | None = None
        self._is_new = not path.exists()
        self._is_blank = True
        super().__init__(path, "a" if replace else "x", opener=open_private)

    def write(self, lines: ReadableBuffer, /) -> int:
        """Write complete lines. Returns their length even if they cannot be written."""
        taken = bytes(lines)
        # A failed write may have left half a line. More data after it would damage the file.
        if self.failure is None:
            try:
                self._write_all(taken)
            except OSError as error:
                self.failure = error
        return len(taken)

    def _write_all(self, data: bytes) -> None:
        if self._is_blank and os.fstat(self.fileno()).st_size:
            make_private(self.fileno())
            self.truncate(0)
        self._is_blank = False
        while data:
            data = data[super().write(data) :]

    def close(self) -> None:
        """Close the file. Delete it if it is new and nothing was written to it."""
        is_unused = not self.closed and self._is_new and not os.fstat(self.fileno()).st_size
        super().close()
        if is_unused:
            self.path.unlink()


class RecordingFile(PrivateFile):
    """The file of a recording. It keeps each written line until `take_lines` has returned it."""

    def __init__(self, path: Path, *, replace: bool) -> None:
        """Open the file. Raises the errors of `PrivateFile`."""
        self._new_lines: deque[bytes] = deque()
        super().__init__(path, replace=replace)

    def write(self, lines: ReadableBuffer, /) -> int:
        """Write complete lines. Returns their length even if they cannot be written."""
        taken = bytes(lines)
        self._new_lines.append(taken)
        return super().write(taken)

    def take_lines(self) -> Iterator[bytes]:
        """Return the lines that were written since the last call, and forget them."""
        while self._new_lines:
            yield self._new_lines.popleft()


class CaptureFile:
    """Writes one stream to a file as a capture, without credentials. Keeps nothing in memory.

    Args:
        file: the file, which the caller closes.
        header: the header of the stream.

    Attributes:
        has_untimed: whether a chunk or the end had no time that a capture can hold. It then gets
            the time before it, or 0.
    """

    def __init__(self, file: PrivateFile, header: CaptureHeader) -> None:
        self.has_untimed = False
        self._file = file
        try:
            self._writer = CaptureWriter(header)
        except (TypeError, ValueError):  # the request has a value that JSON cannot hold, like NaN
            self._writer = CaptureWriter(attrs.evolve(header, request=None))
        self._at = 0.0
        file.write(self._writer.begin())

    def chunk(self, chunk: Chunk) -> None:
        """Write a chunk, in pieces of at most 64 KiB. An empty one is not written."""
        data = chunk.data
        if data:
            at = self._time_of(chunk.at)
            for start in range(0, len(data), RESPONSE_PIECE_BYTES):
                piece = data[start : start + RESPONSE_PIECE_BYTES]
                self._file.write(self._writer.chunk(piece, at))

    def end(self, end: CaptureEnd | None) -> None:
        """Write the end. None writes nothing: the capture counts as cut off."""
        if end is not None:
            self._file.write(self._writer.end(self._time_of(end.at), end.error))

    def _time_of(self, at: float | None) -> float:
        if at is None or not 0 <= at <= LATEST:
            self.has_untimed = True
        else:
            self._at = at
        return self._at
