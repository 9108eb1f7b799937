"""The file of a recording: lines in, the same lines out again for the view."""

from __future__ import annotations

import io
import os
from collections import deque
from typing import TYPE_CHECKING

from sansio_stream_adapters._recording import make_private, open_private

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from _typeshed import ReadableBuffer

__all__ = ["RecordingFile"]


class RecordingFile(io.FileIO):
    """The file of a recording. It keeps each written line until `take_lines` has returned it.

    An existing file is not truncated before the first line is written. A new file is deleted on
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
        self._new_lines: deque[bytes] = deque()
        super().__init__(path, "a" if replace else "x", opener=open_private)

    def write(self, lines: ReadableBuffer, /) -> int:
        """Write complete lines. Returns their length even if they cannot be written."""
        taken = bytes(lines)
        self._new_lines.append(taken)
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

    def take_lines(self) -> Iterator[bytes]:
        """Return the lines that were written since the last call, and forget them."""
        while self._new_lines:
            yield self._new_lines.popleft()

    def close(self) -> None:
        """Close the file. Delete it if it is new and nothing was written to it."""
        is_unused = not self.closed and self._is_new and not os.fstat(self.fileno()).st_size
        super().close()
        if is_unused:
            self.path.unlink()
