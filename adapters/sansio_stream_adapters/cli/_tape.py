"""The file of a recording: lines in, and out again for whoever shows them."""

from __future__ import annotations

import io
import os
from collections import deque
from typing import TYPE_CHECKING

from .._recording import make_private, open_private

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from _typeshed import ReadableBuffer

__all__ = ["Tape"]


class Tape(io.FileIO):
    """The file of a recording; what is written to it is kept until somebody has looked at it.

    An older file is replaced when there is something to write, and a new one on which nothing was
    written does not stay. Where no more can be written, the file stays readable up to there.
    """

    def __init__(self, path: Path, *, replace: bool) -> None:
        """Raise OSError for a file that cannot be written, FileExistsError unless replaced."""
        self.path = path
        self.failure: OSError | None = None
        self._is_new = not path.exists()
        self._is_blank = True
        self._unseen: deque[bytes] = deque()
        super().__init__(path, "a" if replace else "x", opener=open_private)

    def write(self, lines: ReadableBuffer, /) -> int:
        """Take whole lines."""
        taken = bytes(lines)
        self._unseen.append(taken)
        # Once it has failed, nothing more: what follows half a line would damage the file.
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

    def unseen(self) -> Iterator[bytes]:
        """Return what was written and not returned yet."""
        while self._unseen:
            yield self._unseen.popleft()

    def close(self) -> None:
        """Close it."""
        is_unused = not self.closed and self._is_new and not os.fstat(self.fileno()).st_size
        super().close()
        if is_unused:
            self.path.unlink()
