"""The chunked transfer coding of HTTP/1.1 (RFC 9112, section 7.1), as in a dump of a socket."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["ChunkedBody", "begins_chunked"]

# A dump that went through a terminal or an editor may have lost its carriage returns.
SIZE_LINE: Final = re.compile(rb"([0-9A-Fa-f]{1,12})[ \t]*(?:;[^\r\n]*)?\r?\n")
MOST_SIZE_LINE: Final = 1_024
"""The longest line with a size, in bytes. It may have chunk extensions, which nobody uses."""


def begins_chunked(head: bytes) -> bool | None:
    """Return whether a body begins with the size of a chunk; None if more bytes are needed."""
    if SIZE_LINE.match(head):
        return True
    is_begin = re.fullmatch(rb"[0-9A-Fa-f]{0,12}[ \t]*(?:;[^\r\n]*)?\r?", head)
    return None if is_begin and len(head) < MOST_SIZE_LINE else False


class ChunkedBody:
    """Removes the chunked coding from a body. Bytes in, the data of the chunks out.

    Attributes:
        error: what is wrong with the body if it ends here, or None if it is complete.
    """

    def __init__(self) -> None:
        self.error: str | None = "the body ends before the last chunk of its chunked coding"
        self._line = b""
        # The bytes that the current chunk still has, or None where a line with a size is expected.
        self._left: int | None = None
        self._is_after_data = False
        self._is_over = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the data of the chunks in these bytes, at least one piece for each chunk.

        Bytes after the last chunk (trailers) or after a fault are ignored.
        """
        at = 0
        while at < len(data) and not self._is_over:
            if self._left:
                piece = data[at : at + self._left]
                at += len(piece)
                self._left -= len(piece)
                self._is_after_data = not self._left
                yield piece
                continue
            end = data.find(b"\n", at) + 1
            self._line += data[at : end or len(data)]
            at = end or len(data)
            if end or len(self._line) > MOST_SIZE_LINE:
                self._take_line()

    def _take_line(self) -> None:
        line, self._line = self._line, b""
        if self._is_after_data and line in (b"\r\n", b"\n"):
            self._is_after_data = False
            return
        size = SIZE_LINE.fullmatch(line)
        if size is None or self._is_after_data:
            self.error = "the chunked coding of the body is damaged"
            self._is_over = True
            return
        self._left = int(size[1], 16)
        if not self._left:
            self.error = None
            self._is_over = True
