"""The bytes of the newest frames of a body: chunks in, the lines of a frame out.

The trace quotes what the server really sent. The machine does not keep the bytes of a frame that it
has read, so they are kept here until the next frame is read.
"""

from __future__ import annotations

import re
from typing import Final

import attrs

from sansio_stream.frame_buffer import BOM

__all__ = ["FrameBytes", "Line", "data_in", "line_of", "name_in"]

BLANK_LINE: Final = re.compile(rb"(?>\r\n?|\n)(?>\r\n?|\n)")


@attrs.frozen
class Line:
    """One line of a frame.

    Attributes:
        raw: the bytes without the line end.
        text: these bytes decoded as UTF-8, with U+FFFD for invalid bytes.
        data: the value of a `data` line, or None for any other line.
    """

    raw: bytes
    text: str
    data: str | None

    @property
    def lead(self) -> int:
        """The number of characters before the data of the line."""
        return len(self.text) - len(self.data or "")


class FrameBytes:
    """The last bytes of a body.

    Memory: at most `most` bytes, and the chunks that were added since the last `drop_before`.

    Args:
        most: the maximum size of a frame in bytes.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept = bytearray()
        # The offset of the first kept byte in the body. All bytes before it were dropped.
        self._start = 0
        # The lines of the last frame are kept, because all violations of a frame need them.
        self._offset: int | None = None
        self._lines: list[Line] = []

    def add(self, data: bytes) -> None:
        """Add a chunk."""
        self._kept += data

    def drop_before(self, offset: int) -> None:
        """Drop the bytes before an offset in the body, and those that no frame can need.

        Call it after the machine has read all frames of the chunks added so far.
        """
        # An incomplete frame has at most `most` bytes. Comments before it may have more bytes, and
        # nobody needs them.
        offset = max(offset, self._start + len(self._kept) - self._most)
        if offset > self._start:
            del self._kept[: offset - self._start]
            self._start = offset

    def lines_at(self, offset: int | None) -> list[Line]:
        """Return the lines of the frame that begins at a byte offset; none if it is not kept."""
        if offset is None or offset < self._start:
            return []
        if offset != self._offset:
            self._offset, self._lines = offset, self._lines_from(offset)
        return self._lines

    def _lines_from(self, offset: int) -> list[Line]:
        begin = offset - self._start
        blank = BLANK_LINE.search(self._kept, begin)
        frame = bytes(self._kept[begin : blank.start() if blank else None])
        if offset == 0:
            frame = frame.removeprefix(BOM)
        return [line_of(raw) for raw in frame.splitlines()]


def text_of(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


def line_of(raw: bytes) -> Line:
    """Return a line from its bytes."""
    field, _, value = raw.partition(b":")
    data = text_of(value.removeprefix(b" ")) if field == b"data" else None
    return Line(raw, text_of(raw), data)


def data_in(lines: list[Line]) -> str:
    """Return the data of a frame: the values of its `data` lines, joined by line ends."""
    return "\n".join(line.data for line in lines if line.data is not None)


def name_in(lines: list[Line]) -> str:
    """Return the name in the last `event` line of a frame that gave no event.

    Without such a line, the result is `[DONE]` if this is the data of the frame, otherwise `-`.
    """
    for line in reversed(lines):
        if line.raw.startswith(b"event:"):
            return text_of(line.raw.removeprefix(b"event:")).strip()
    return "[DONE]" if data_in(lines) == "[DONE]" else "-"
