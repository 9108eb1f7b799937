"""Framing: bytes in, frames of an event stream out, one at a time. Does not decode JSON.

The rules come from the WHATWG HTML standard, section 9.2.6 "Interpreting an event stream", which is
called "the standard" below. Bytes are decoded only when a frame is whole, so a character that was
cut between two chunks is never decoded in parts. Lines end at LF, CR and CRLF bytes only, so
U+2028, U+0085 and vertical tabs inside JSON do not end a line.

Strategy: there are three ways to read, and all give the same frames. One regular expression matches
the usual frame whole: an event name and one line of data. Another one matches several lines, and
the blank line after them. In rare cases a line is read alone, for example near a limit or at a
possible byte order mark.

Cost: time linear in the bytes, however they are cut into chunks. Memory: the chunks that were not
read yet, the last chunk that was read, and one frame of up to `Limits.event_bytes`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from .errors import EXCERPT_CHARACTERS, LimitError, Limits
from .fields import KNOWN_FIELDS, FieldParser
from .frame_buffer import BOM, FrameBuffer
from .frames import Frame

if TYPE_CHECKING:
    from .errors import LocatedFlaw

COLON = ord(":")
IDLE_BEGINNINGS: Final = frozenset(b":\r\n")

LINES_AT_ONCE: Final = 16_384
"""The maximum number of bytes whose lines are split in one step. This bounds the list of lines."""

# A line and its end.
whole_line: Final = re.compile(rb"([^\r\n]*+)(?:\r\n|\n|\r)").match
# Lines without effect: comments, and blank lines between frames.
comments: Final = re.compile(rb"(?::[^\r\n]*+(?:\r\n|\n|\r))++").match
idle_lines: Final = re.compile(rb"(?:[\r\n]++|:[^\r\n]*+(?=[\r\n]))++").match
# `frame_lines` matches lines that are not blank, and the blank line after them if it is there.
# `split_fields` returns for each line the line without its end, its field name and its value. "If
# value starts with a U+0020 SPACE character, remove it from value."
frame_lines: Final = re.compile(rb"((?:[^\r\n]++(?:\r\n|\n|\r))++)(\r\n|\n|\r)?+").match
split_fields: Final = re.compile(rb"(([^:\r\n]*+)(?:: ?([^\r\n]*+))?+)[\r\n]++").findall
# The form of nearly every frame: an optional event name, one line of data, a blank line. `.` also
# matches a CR, so `next_frame` searches the match for a CR afterwards. "[^\r\n]" instead of `.`
# would take 5,000 instructions more.
usual_frame: Final = re.compile(rb"(?:event: ?(.*+)\n)?+data: ?(.*+)\n\n").match


class Framer:
    """Cuts a body into frames: `buffer.feed` adds bytes, and `next_frame` returns frames.

    `feed` stores bytes and reads no field. `next_frame` reads the fields up to the end of the frame
    that it returns. So `last_event_id` and the other properties do not yet reflect later frames.

    Attributes:
        buffer: the received bytes.
        at_frame_start: whether the next byte of the buffer begins a frame, and no flaw waits to be
            reported.

    Args:
        limits: `event_bytes`, `total_bytes` and `violations` apply.
    """

    __slots__ = (
        "_fields",
        "_limits",
        "at_frame_start",
        "buffer",
    )

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.buffer = FrameBuffer(limits)
        self.at_frame_start = True
        self._fields = FieldParser(limits)

    def next_frame(self) -> Frame | None:
        """Return the next whole frame with data; None if more bytes are needed.

        Raises:
            LimitError: a frame or the body exceeds its limit.
        """
        buffer = self.buffer
        while buffer.pos < len(buffer.text) or buffer.fill_text():
            is_between = buffer.frame_start is None
            pos = buffer.pos
            usual = usual_frame(buffer.text, pos) if is_between else None
            end = 0 if usual is None else usual.end()
            if usual is not None and buffer.text.find(b"\r", pos, end) < 0:
                if end - pos <= self._limits.event_bytes:
                    buffer.advance(end)
                    buffer.update_is_idle()
                    name, data = usual.groups(b"")
                    return self._frame(name, data, buffer.base + pos, end - pos)
                frame = self._take_line()  # finds the line that exceeds the limit
            elif self._skip_idle_lines():
                continue
            else:
                frame = self._take_lines()
            if frame is not None:
                return frame
        if buffer.is_too_long:
            self._raise_for_excess()
        self.at_frame_start = buffer.frame_start is None and self._fields.flaws.is_empty
        return None

    def finish(self) -> Frame | None:
        """Return the last frame if its blank line is missing, else None.

        Call it once, after the body. The data of such a frame may be whole, or cut at any byte. The
        standard discards the frame in both cases. Here the caller decides.
        """
        self.take_partial_lines()
        buffer = self.buffer
        start = buffer.offset
        tail = without_cut_character(bytes(buffer.partial))
        if start == 0 and BOM.startswith(tail):
            return None
        begun = tail.removeprefix(BOM) if start == 0 else tail
        cut_field_name = begun != b"" and any(field.startswith(begun) for field in KNOWN_FIELDS)
        # A `retry` field without a number is no flaw here: the end may have cut the number off.
        cut_number = begun.partition(b":")[::2] in {(b"retry", b""), (b"retry", b" ")}
        if tail and not cut_field_name and not cut_number:
            self._take_content(tail, start)
        if not cut_field_name and self._fields.is_empty:
            return None
        return self._frame_of_fields(buffer.position)

    def take_partial_lines(self) -> None:
        """Read the whole lines of a frame that has no end. Call it after the body."""
        buffer = self.buffer
        while buffer.pos < len(buffer.text) or buffer.take_lines():
            if not self._skip_idle_lines():
                self._take_lines()

    def take_flaws(self) -> tuple[tuple[LocatedFlaw, ...], int]:
        """Remove and return the flaws that are in no frame, and the number of those not kept."""
        return self._fields.flaws.take()

    def discard(self) -> None:
        """Consume all received bytes without reading them."""
        self.buffer.discard()
        self._fields.forget()
        self._fields.flaws.take()

    @property
    def is_other_content(self) -> bool:
        """Whether the body has no frame with data yet, but a line with an unknown field."""
        return self._fields.unknown_line_seen and not self.buffer.frames

    @property
    def last_event_id(self) -> str:
        """The last event id, as of the last blank line that was read."""
        return self._fields.last_event_id

    @property
    def reconnection_time(self) -> int | None:
        """The last valid `retry`, in milliseconds, or None."""
        return self._fields.reconnection_time

    # Reading several lines, or one line.

    def _skip_idle_lines(self) -> bool:
        """Skip the next comments and, between frames, the next blank lines in one step.

        One by one the lines would cost 1 µs each, and 8 kB of gzip can expand to 8 million lines.
        The method stops at the limit of an event, so that `_take_line` raises for a line beyond it.

        Returns:
            Whether any line was skipped.
        """
        buffer = self.buffer
        if buffer.text[buffer.pos] not in IDLE_BEGINNINGS:
            return False
        lines = idle_lines if buffer.frame_start is None else comments
        skipped = lines(buffer.text, buffer.pos, self._index_of_limit())
        if skipped is not None:
            buffer.consume(skipped.end())
        return skipped is not None

    def _index_of_limit(self) -> int:
        """Return the index in the text at which the frame has `event_bytes`."""
        return self.buffer.start_of_frame - self.buffer.base + self._limits.event_bytes

    def _take_lines(self) -> Frame | None:
        """Read the next lines, and the blank line after them if it is there, in one step.

        One by one the lines would cost 2 µs each. The method stops at the limit of an event.

        Returns:
            The frame if the blank line ends a frame with data, else None.
        """
        buffer = self.buffer
        pos = buffer.pos
        lines = frame_lines(buffer.text, pos, min(self._index_of_limit(), pos + LINES_AT_ONCE))
        # One line is read alone if it is blank or long, exceeds the limit, or may have a BOM.
        if lines is None or buffer.offset == 0:
            return self._take_line()
        start = buffer.start_of_frame
        buffer.set_frame_start(start)
        end = lines.end()
        if not lines[2] and buffer.text.endswith(b"\r", 0, end):
            end += buffer.text.startswith(b"\n", end)  # the match may have ended inside a CRLF
        buffer.consume(end)
        self._fields.parse(split_fields(lines[1]), start)
        if lines[2]:
            return self._end_of_frame(buffer.base + lines.start(2) + 1)
        return None

    def _take_line(self) -> Frame | None:
        """Read the next line; see `_take_content`."""
        buffer = self.buffer
        line = whole_line(buffer.text, buffer.pos)
        assert line is not None, "the text consists of whole lines"
        start = buffer.offset
        buffer.consume(line.end())
        return self._take_content(line[1], start)

    def _take_content(self, content: bytes, start: int) -> Frame | None:
        """Read one line.

        Args:
            content: the line without its line end.
            start: its offset in the body.

        Returns:
            The frame if the line is blank and ends a frame with data, else None.
        """
        if start == 0 and content.startswith(BOM):
            content = content[len(BOM) :]
            start = len(BOM)
        # The line end counts as one byte: the LF after a CR may not have been received yet.
        self._check_size(start, start + len(content) + 1, content)
        if not content:
            return self._end_of_frame(start + 1)
        if content[0] == COLON:
            return None
        if self.buffer.frame_start is None:
            self.buffer.set_frame_start(start)
        field, _, value = content.partition(b":")
        fields = [(content, field, value.removeprefix(b" "))]
        self._fields.parse(fields, self.buffer.start_of_frame)
        return None

    # Making frames.

    def _end_of_frame(self, end: int) -> Frame | None:
        """End the frame at its blank line. Return the frame if it has data, else None."""
        if self._fields.has_data:
            return self._frame_of_fields(end)
        # "If the data buffer is an empty string, set the data buffer and the event type buffer to
        # the empty string and return." The standard sets the last event ID before this step.
        self._fields.commit_id(self.buffer.start_of_frame)
        self._fields.forget()
        self.buffer.set_frame_start(None)
        return None

    def _frame_of_fields(self, end: int) -> Frame:
        fields = self._fields
        start = self.buffer.start_of_frame
        fields.commit_id(start)
        self.buffer.finish_frame(has_data=fields.has_data)
        name, data, retry = fields.take()
        return self._frame(name, data, start, end - start, retry)

    def _frame(
        self,
        name: bytes,
        data: bytes | bytearray,
        start: int,
        size: int,
        retry: int | None = None,
    ) -> Frame:
        self.at_frame_start = True
        fields = self._fields
        flaws = fields.flaws
        sent = b""
        texts: tuple[str, str] | None
        try:
            texts = name.decode(), data.decode()
        except UnicodeDecodeError:  # the error has a copy of the bytes, and is freed here
            texts = None
        if texts is None:
            texts = flaws.decode(name, start), flaws.decode(data, start, is_kept=True)
            sent = b"" if is_utf8(data) else bytes(data)
        kept, uncounted = ((), 0) if flaws.is_empty else flaws.take()
        last_id = fields.last_event_id
        return Frame(*texts, start, size, last_id, retry, kept, uncounted, sent)

    # Limits.

    def _raise_for_excess(self) -> None:
        """Raise LimitError if the partial line is too long, or if the body is."""
        buffer = self.buffer
        line = buffer.partial_line()
        if line is not None:
            self._check_size(buffer.offset, buffer.position, line)
        if buffer.received > buffer.position:
            maximum = self._limits.total_bytes or 0
            raise LimitError(
                f"the body is larger than {maximum} bytes",
                limit="total_bytes",
                maximum=maximum,
                byte_offset=buffer.position,
            )

    def _check_size(self, line_start: int, end: int, line: bytes) -> None:
        """Raise LimitError if a frame, or a line between frames, exceeds `event_bytes`.

        The excerpt begins at the line that exceeds the limit and ends at the limit. So it is the
        same however the body was cut into chunks.

        Args:
            line_start: the offset of the line in the body.
            end: the offset of the end of the line.
            line: the line, or as much of it as was received.
        """
        maximum = self._limits.event_bytes
        begun = self.buffer.frame_start
        start = line_start if begun is None else begun
        if end - start <= maximum:
            return
        length = max(0, start + maximum - line_start)
        piece = line[: min(length, EXCERPT_CHARACTERS)]
        raise LimitError(
            f"an event is larger than {maximum} bytes",
            limit="event_bytes",
            maximum=maximum,
            byte_offset=start,
            raw=piece.decode("utf-8", "replace"),
        )


def without_cut_character(data: bytes) -> bytes:
    """Return bytes without an incomplete UTF-8 character at their end."""
    for length in range(1, min(3, len(data)) + 1):
        byte = data[-length]
        if byte < 0x80:  # ASCII
            break
        if byte >= 0xC0:  # the first byte of a character, which encodes its length
            needed = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return data[:-length] if length < needed and byte < 0xF5 else data
    return data


def is_utf8(data: bytes | bytearray) -> bool:
    """Return whether bytes are UTF-8."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
