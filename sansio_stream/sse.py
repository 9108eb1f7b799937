"""Framing: bytes in, server-sent events out. Knows no JSON and no messages.

The rules are those of the WHATWG HTML standard, section 9.2.6 "Interpreting an event stream"; "the
standard" below. Bytes stay bytes until a frame is whole: lines are cut at LF, CR and CRLF bytes
only, so U+2028, U+0085 and vertical tabs inside JSON never end a line, and a character that was cut
between two chunks is never decoded alone.

Cost: linear in the bytes, for any way of cutting them. Memory: the lines of the chunks that were
not taken yet, plus one frame, which `Limits.event_bytes` bounds.
"""

from __future__ import annotations

import re
from collections import deque
from typing import TYPE_CHECKING, Final

import attrs

from .errors import (
    EXCERPT_CHARACTERS,
    Fault,
    LimitError,
    Limits,
    Violation,
    ViolationCode,
    ViolationLog,
    check_type,
    copy_for_raise,
    excerpt,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["SSEDecoder", "ServerSentEvent", "encode_sse", "is_event_stream"]

BOM: Final = b"\xef\xbb\xbf"
CR, LF, COLON = b"\r\n:"
IDLE_BEGINNINGS: Final = frozenset(b":\r\n")
KNOWN_FIELDS: Final = frozenset({b"event", b"data", b"id", b"retry"})

LINES_AT_ONCE: Final = 16_384
"""How many bytes of lines are taken in one step. More would only make the list of them longer."""

# A line and its end; and what nearly every frame is: a name if any, one line of data, a blank line.
whole_line: Final = re.compile(rb"([^\r\n]*+)(?:\r\n|\n|\r)").match
# Lines that mean nothing, one behind another: comments, and between frames blank lines, too.
comments: Final = re.compile(rb"(?::[^\r\n]*+(?:\r\n|\n|\r))++").match
idle_lines: Final = re.compile(rb"(?:[\r\n]++|:[^\r\n]*+(?=[\r\n]))++").match
# Any lines but blank ones, and the blank one behind them; and what such lines hold: all of a line,
# its field, its value. "If value starts with a U+0020 SPACE character, remove it from value."
frame_lines: Final = re.compile(rb"((?:[^\r\n]++(?:\r\n|\n|\r))++)(\r\n|\n|\r)?+").match
fields_of: Final = re.compile(rb"(([^:\r\n]*+)(?:: ?([^\r\n]*+))?+)[\r\n]++").findall
any_brace: Final = re.compile(rb"[{}]").search
usual_frame: Final = re.compile(rb"(?:event: ?([^\r\n]*+)\n)?+data: ?([^\r\n]*+)\n\n").match


@attrs.frozen
class ServerSentEvent:
    """One event of an event stream.

    Attributes:
        event: its type; "message" where the stream names none.
        data: its `data` lines, joined by LF.
        id: the last event id at that moment; it persists from event to event.
        retry: the last valid `retry` inside this event, in milliseconds, or None.
        is_named: whether the stream names the type. It tells `event: message` from no `event:`
            line, which are the same event by the standard; so it is not compared.
    """

    event: str = "message"
    data: str = ""
    id: str = ""
    retry: int | None = None
    is_named: bool = attrs.field(
        default=attrs.Factory(lambda self: self.event != "message", takes_self=True),
        kw_only=True,
        eq=False,
        repr=False,
    )


@attrs.define
class Frame:
    """What stands between two blank lines and has data.

    Attributes:
        name: the `event` field, "" where there is none.
        data: the `data` lines, joined by LF.
        offset: where its first field begins in the body, in bytes.
        size: its length in bytes up to the end mark.
        id: the last event id.
        retry: as in `ServerSentEvent`.
        faults: what was wrong with it, or with lines before it that gave no frame.
        uncounted: how many more faults there were than are kept.
        sent: the data as it was sent where not all of it is UTF-8, and b"" where it is. In `data`
            U+FFFD stands for what is not.
    """

    name: str
    data: str
    offset: int
    size: int
    id: str
    retry: int | None
    faults: tuple[Fault, ...]
    uncounted: int
    sent: bytes = b""


class Framer:
    """Cuts a body into frames, one at a time: `receive` takes bytes, `next_frame` gives frames.

    Nothing is interpreted before it is asked for, nor before its frame is whole: what it says is as
    of the last frame it gave, or of the end.

    Attributes:
        text: what was received and is whole; some of it may have been taken. Whole frames, but
            whole lines only where CRs end them or a limit is near.
        base: where the text begins in the body.
        at: where in the text goes on what was not taken. Who recognises a whole frame there may
            `take` it.
        held: what follows the text: a frame or a line that has begun.
        room: how long `held` may become where somebody adds to it what ends no line, before limits
            must be looked at; 0 as long as something waits, or what comes must be looked at.
        room_after: what becomes of it for who takes the last frame of the text.
        is_between_frames: whether nothing that was interpreted waits for the next frame.
        frames: how many frames with data it has given.
        place: where the last frame begins in the body.
        last_event_id: as of the last blank line.
        reconnection_time: the last valid `retry`.
    """

    __slots__ = (
        "_chunks",
        "_data",
        "_faults",
        "_head",
        "_id",
        "_is_closed",
        "_is_in_lines",
        "_limits",
        "_loss_noted",
        "_name",
        "_odd_line_seen",
        "_refused",
        "_retry",
        "_room_for_faults",
        "_start",
        "_uncounted",
        "_unread",
        "at",
        "base",
        "frames",
        "held",
        "is_between_frames",
        "last_event_id",
        "place",
        "reconnection_time",
        "room",
        "room_after",
        "text",
    )

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        # What was received: the text, what is held, and chunks that nobody has looked at.
        self.base = 0
        self.text = b""
        self.at = 0
        self.held = bytearray()
        self.room: int = 0
        self.room_after: int = 0
        self.is_between_frames = True
        self._chunks: deque[bytes] = deque()
        self._unread = 0
        self._refused = 0
        self._is_closed = False
        # Whether what ends a line must be looked at line by line.
        self._is_in_lines = False
        self._head = bytearray()
        # The fields of the frame so far, and the offset of the first.
        self._start: int | None = None
        self._name: bytes | None = None
        self._data = bytearray()
        self._id: bytes | None = None
        self._retry: int | None = None
        self._faults: list[Fault] = []
        self._uncounted = 0
        # How many more faults are kept. Bounded in all, because who is told keeps no more, and
        # because lines that give no frame could go on for ever. One is always kept: who wants no
        # violations to be kept may still want to know that there was one.
        self._room_for_faults = max(1, limits.violations)
        self._loss_noted = False
        self._odd_line_seen = False
        # What outlives a frame.
        self.frames = 0
        self.place: int | None = None
        self.last_event_id = ""
        self.reconnection_time: int | None = None

    # Receiving.

    def receive(self, data: bytes) -> None:
        """Add bytes. Looks for the last place where something is whole, and no further."""
        room = self.room - len(data)
        if room > 0 and CR not in data and not self._is_in_lines:
            # As it is while a model writes: nothing waits, and a chunk is a frame, or a part of it.
            if data.endswith(b"\n\n") and not self.held:
                # Without the two calls below a frame costs a tenth less.
                self.base += len(self.text)
                self.text = data
                self.at = 0
                self.room = 0
                self.room_after = room
                return
            held = len(self.held)
            if held <= room:
                self._add_frames(data)
                if self.at < len(self.text):
                    self.room, self.room_after = 0, room - held + len(self.held)
                return
        self.leave_no_room()
        total = self._limits.total_bytes
        if total is not None and self.position + len(data) > total:
            self._refused += self.position + len(data) - total
            data = data[: total - self.position]
        if not data:
            return
        if self.at == len(self.text) and not self._chunks:
            self._add(data)
            if self.at == len(self.text):
                self.settle()
        else:
            self._chunks.append(data)
            self._unread += len(data)

    def _add(self, data: bytes) -> None:
        """Put bytes behind a text that was taken, and make a new text of what is whole then."""
        if data[0] == LF and self.text.endswith(b"\r") and not self.held:
            # "CRLF, LF, or CR" end a line. A CR at the end of a chunk has ended its line already;
            # waiting for the next chunk would hold back a finished event. The LF that follows
            # belongs to the same line end.
            self._set_text(data[:1])
            self._set_text(b"")
            data = data[1:]
        if self._start is not None or CR in data:
            self._add_lines(data)
            if self._start is None and not self.text.strip(b"\r\n") and self._limits.event_bytes:
                self.at = len(self.text)  # blank lines between frames
        else:
            self._add_frames(data)

    def _add_frames(self, data: bytes) -> None:
        held = self.held
        end = data.rfind(b"\n\n") + 2
        if end == 1 and not (data.startswith(b"\n") and held.endswith(b"\n")):
            # No blank line, nor the rest of one. bytearray grows in place: a 64 MB line in small
            # chunks stays linear.
            held += data
            return
        text = data[:end]
        if held:
            text = bytes(held) + text
            held.clear()
        if end < len(data):
            held += data[end:]
        self._set_text(text)

    def _add_lines(self, data: bytes) -> None:
        end = max(data.rfind(b"\n"), data.rfind(b"\r")) + 1
        if end:
            text = bytes(self.held) + data[:end]
            self.held.clear()
            self._set_text(text)
        self.held += data[end:]

    def _set_text(self, text: bytes) -> None:
        if not self.frames:
            self._keep_head(self.text)
        self.base += len(self.text)
        self.text = text
        self.at = 0

    def _keep_head(self, data: bytes) -> None:
        """Keep what is let go of before the first frame: it may be no event stream."""
        self._head += data[: max(0, EXCERPT_CHARACTERS - len(self._head))]

    @property
    def position(self) -> int:
        """The offset of the end of what was received in the body, up to the limit of the total."""
        return self.base + len(self.text) + len(self.held) + self._unread

    @property
    def received(self) -> int:
        """How many bytes were received in all."""
        return self.position + self._refused

    @property
    def offset(self) -> int:
        """The offset in the body of what was not taken."""
        return self.base + self.at

    # Giving.

    def next_frame(self) -> Frame | None:
        """Return the next whole frame with data, or None for "more bytes". Raises LimitError."""
        while self.at < len(self.text) or self._has_text():
            usual = None if self._start is not None else usual_frame(self.text, self.at)
            if usual is not None:
                frame = self._take_usual_frame(usual)
            elif self._skip_idle_lines():
                continue
            else:
                frame = self._take_lines()
            if frame is not None:
                return frame
        if self._refused:
            raise LimitError(
                f"the body is larger than {self._limits.total_bytes} bytes",
                limit="total_bytes",
                maximum=self._limits.total_bytes or 0,
                byte_offset=self.position,
            )
        self.is_between_frames = self._start is None and not self._faults and not self._uncounted
        return None

    def take(self, size: int) -> None:
        """Note that a whole frame with data was taken, by who has recognised it in the text."""
        self.place = self.offset
        self.at += size
        self.frames += 1
        if self.at == len(self.text):
            self.room = self.room_after

    def settle(self) -> bool:
        """Return whether nothing waits to be looked at: then there is room for more to be held.

        No more than the limits leave: of the event, and of the total.
        """
        # What begins without a frame is looked at: it may be no event stream.
        has_begun = self.frames > 0 or len(self.held) > 0
        if self.at == len(self.text) and not self._chunks and has_begun and not self._is_closed:
            room = self._limits.event_bytes - (self.offset - self._frame_start)
            total = self._limits.total_bytes
            if total is not None:
                room = min(room, total - self.offset)
            if len(self.held) <= room and not self._refused:
                self.room = room
                self._is_in_lines = self._start is not None or self.text.endswith(b"\r")
        return self.room > 0

    def leave_no_room(self) -> None:
        """Note that something else waits to be taken after what was received."""
        self.room = self.room_after = 0

    def close(self) -> None:
        """Note that nothing more comes: there is no room for it."""
        self._is_closed = True
        self.leave_no_room()

    def drop(self) -> None:
        """Take everything without looking at it."""
        self.base = self.position
        self.text = b""
        self.at = 0
        self.held.clear()
        self._chunks.clear()
        self._unread = 0
        self._forget_fields()
        self.take_faults()

    def _has_text(self) -> bool:
        """Whether there is something whole, or lines that must be looked at before it is, because a
        limit is passed.
        """
        while self.at == len(self.text):
            if self._chunks:
                chunk = self._chunks.popleft()
                self._unread -= len(chunk)
                self._add(chunk)
            elif not self._refused and not self._is_too_long:
                return False
            elif not self._has_lines():
                self._check_held()
                return False
        return True

    @property
    def _is_too_long(self) -> bool:
        return self.position - self._frame_start > self._limits.event_bytes

    def _has_lines(self) -> bool:
        """Whether whole lines were held; they are the text then, although the frame has no end."""
        end = self.held.rfind(b"\n") + 1
        if end:
            self._set_text(bytes(self.held[:end]))
            del self.held[:end]
        return end > 0

    def bytes_of(self, frame: Frame) -> bytes:
        """Return the bytes of the frame just given, if they came together; else none."""
        start = frame.offset - self.base
        return self.text[start : self.at] if start >= 0 else b""

    def take_held_lines(self) -> None:
        """Interpret the whole lines of a frame that has no end: for the end of the body."""
        while self.at < len(self.text) or self._has_lines():
            if not self._skip_idle_lines():
                self._take_lines()

    def finish(self) -> Frame | None:
        """Return what is left of a frame that has no blank line, or None. Call it once, at the end.

        The standard discards such a frame; the caller decides. Its data may be cut anywhere.
        """
        self.take_held_lines()
        start = self.offset
        tail = without_cut_character(bytes(self.held))
        if start == 0 and BOM.startswith(tail):
            return None
        begun = tail.removeprefix(BOM) if start == 0 else tail
        cut_field_name = begun != b"" and any(field.startswith(begun) for field in KNOWN_FIELDS)
        end = self.position
        # What the end has cut may go on with a number.
        cut_number = begun.partition(b":")[::2] in {(b"retry", b""), (b"retry", b" ")}
        if tail and not cut_field_name and not cut_number:
            self._take_content(tail, start)
        fields = (self._data or None, self._name, self._id, self._retry)
        if not cut_field_name and all(field is None for field in fields):
            return None
        return self._frame_of_fields(end)

    def take_faults(self) -> tuple[tuple[Fault, ...], int]:
        """Return the faults that no frame carried, and how many more there were; forget them."""
        faults, uncounted = tuple(self._faults), self._uncounted
        self._faults, self._uncounted, self._loss_noted = [], 0, False
        return faults, uncounted

    @property
    def is_other_content(self) -> bool:
        """Whether no frame with data came, and some line was neither comment nor known field."""
        return self._odd_line_seen and not self.frames

    @property
    def head(self) -> str:
        """The first bytes of a body that gave no frame, as text; asked when all is taken."""
        head = bytes(self._head) + self.text + self.held
        return head[:EXCERPT_CHARACTERS].decode("utf-8", "replace")

    @property
    def _frame_start(self) -> int:
        """Where the frame began, or where the next one will."""
        return self.offset if self._start is None else self._start

    # A frame at a time, or a line.

    def _take_usual_frame(self, usual: re.Match[bytes]) -> Frame | None:
        """Take a frame as nearly all are: what its two or three lines would come to."""
        at, end = usual.span()
        if end - at > self._limits.event_bytes:
            return self._take_line()  # one of them says where it is too long
        self.at = end
        start = self.base + at
        self.frames += 1
        name, data = usual.groups(b"")
        return self._frame(name, data, start, end - at)

    def _skip_idle_lines(self) -> bool:
        """Skip the comments, and between frames the blank lines, that come next, in one step.
        Return whether there were any.

        One at a time they cost 1 µs each, and 8 kB of gzip hold 8 million of them. No further than
        the limit of an event: a line that goes beyond is for `_take_line` to refuse.
        """
        if self.text[self.at] not in IDLE_BEGINNINGS:
            return False
        lines = idle_lines if self._start is None else comments
        limit = self._frame_start - self.base + self._limits.event_bytes
        skipped = lines(self.text, self.at, limit)
        if skipped is not None:
            self.at = skipped.end()
        return skipped is not None

    def _take_lines(self) -> Frame | None:
        """Take the lines that come next, and the blank one if it is there, in one step: what they
        would come to one by one, where each costs 2 µs. No further than the limit of an event.
        """
        frame_start = self._frame_start
        limit = frame_start - self.base + self._limits.event_bytes
        lines = frame_lines(self.text, self.at, min(limit, self.at + LINES_AT_ONCE))
        # A byte order mark, a blank line, one that is long, or goes beyond the limit.
        if lines is None or self.offset == 0:
            return self._take_line()
        self._start = frame_start
        self.at = lines.end()
        self._take_fields(fields_of(lines[1]), frame_start)
        if lines[2]:
            return self._end_of_frame(self.base + lines.start(2) + 1)
        if self.text.endswith(b"\r", 0, self.at) and self.text.startswith(b"\n", self.at):
            self.at += 1  # a line end that the limit has cut in two
        return None

    def _take_line(self) -> Frame | None:
        line = whole_line(self.text, self.at)
        assert line is not None, "the text holds whole lines"
        start = self.offset
        self.at = line.end()
        return self._take_content(line[1], start)

    def _take_content(self, content: bytes, start: int) -> Frame | None:
        """Interpret a line without its end, which begins at `start`."""
        if start == 0 and content.startswith(BOM):
            content = content[len(BOM) :]
            start = len(BOM)
        # The line end counts as one byte: whether a CR is followed by LF may not be known yet.
        self._check_size(start, start + len(content) + 1, content)
        if not content:
            return self._end_of_frame(start + 1)
        if content[0] == COLON:
            return None
        if self._start is None:
            self._start = start
        field, _, value = content.partition(b":")
        self._take_fields([(content, field, value.removeprefix(b" "))], self._start)
        return None

    def _take_fields(self, lines: list[tuple[bytes, bytes, bytes]], frame_start: int) -> None:
        """Interpret lines: all of a line, its field, "" for a comment, and its value."""
        values: list[bytes] = []
        unknown: list[bytes] = []
        for content, field, value in lines:
            if field == b"data":
                values.append(value)
            elif field not in KNOWN_FIELDS:
                if field:
                    unknown.append(content)
            elif field == b"event":
                self._name = value
            elif field == b"id":
                # "If the field value does not contain U+0000 NULL, set the last event ID buffer"
                if b"\0" not in value:
                    self._id = value
            else:
                if unknown and self._room_for_faults:  # those that are kept have an order
                    self._note_unknown(unknown, frame_start)
                    unknown = []
                self._take_retry(value, frame_start)
        if values:
            # "Append the field value to the data buffer, then append a single U+000A LINE FEED (LF)
            # character to the data buffer." A list of them would take 100 bytes for a line of 5.
            self._data += b"\n".join(values)
            self._data += b"\n"
        if unknown:
            self._note_unknown(unknown, frame_start)

    def _note_unknown(self, lines: list[bytes], frame_start: int) -> None:
        """Note lines that are no fields; those that nobody wants to be told of only count."""
        self._odd_line_seen = True
        told = lines[: self._room_for_faults]
        rest = lines[len(told) :]
        for line in told:
            self._note_line(line, frame_start)
        if rest and not self._loss_noted:
            joined = b"\n".join(rest)
            brace = any_brace(joined)
            if brace:
                self._note_line(rest.pop(joined.count(b"\n", 0, brace.start())), frame_start)
        self._uncounted += len(rest)

    def _note_line(self, line: bytes, frame_start: int) -> None:
        # A brace is a sign of a payload whose `data:` was damaged or left out.
        loses = any_brace(line) is not None
        self._note(ViolationCode.UNKNOWN_FIELD, line, frame_start, loses_content=loses)

    def _take_retry(self, value: bytes, frame_start: int) -> None:
        # "If the field value consists of only ASCII digits": int() alone would take "+5", "1_000".
        # More digits than Python converts are a ValueError, too.
        try:
            if value.isdigit():
                self._retry = self.reconnection_time = int(value)
                return
        except ValueError:
            pass
        self._note(ViolationCode.INVALID_RETRY, value, frame_start)

    def _end_of_frame(self, end: int) -> Frame | None:
        if self._data:
            return self._frame_of_fields(end)
        # "If the data buffer is an empty string, set the data buffer and the event type buffer to
        # the empty string and return." The id has been committed all the same.
        if self._id is not None:
            self.last_event_id = self._text(self._id, self._frame_start)
        self._forget_fields()
        return None

    def _frame_of_fields(self, end: int) -> Frame:
        start = self._frame_start
        if self._id is not None:
            self.last_event_id = self._text(self._id, start)
        self.frames += bool(self._data)
        # "If the data buffer's last character is a U+000A LINE FEED (LF) character, then remove"
        del self._data[-1:]
        frame = self._frame(self._name or b"", self._data, start, end - start, self._retry)
        self._forget_fields()
        return frame

    def _frame(
        self,
        name: bytes,
        data: bytes | bytearray,
        start: int,
        size: int,
        retry: int | None = None,
    ) -> Frame:
        self.place = start
        self.is_between_frames = True
        name_text = self._text(name, start)
        try:
            data_text, sent = data.decode(), b""
        except UnicodeDecodeError as error:
            data_text = self._replaced(data, error, start, is_kept=True)
            sent = bytes(data)
        has_faults = self._faults or self._uncounted
        faults, uncounted = self.take_faults() if has_faults else ((), 0)
        return Frame(
            name_text,
            data_text,
            start,
            size,
            self.last_event_id,
            retry,
            faults,
            uncounted,
            sent,
        )

    def _forget_fields(self) -> None:
        self._start = None
        self._name = None
        self._data = bytearray()
        self._id = None
        self._retry = None

    def _text(self, value: bytes, frame_start: int) -> str:
        try:
            return value.decode()
        except UnicodeDecodeError as error:
            return self._replaced(value, error, frame_start)

    def _replaced(
        self,
        value: bytes | bytearray,
        error: UnicodeDecodeError,
        frame_start: int,
        *,
        is_kept: bool = False,
    ) -> str:
        begin = max(0, error.start - 32)
        piece = value[begin : begin + 4 * EXCERPT_CHARACTERS]
        self._note(ViolationCode.INVALID_UTF8, piece, frame_start, is_kept=is_kept)
        return value.decode("utf-8", "replace")

    def _note(
        self,
        code: ViolationCode,
        piece: bytes | bytearray,
        frame_start: int,
        *,
        loses_content: bool = False,
        is_kept: bool = False,
    ) -> None:
        # The first of a frame that loses content is always kept, because the verdict depends on it.
        is_first_loss = loses_content and not self._loss_noted
        if not self._room_for_faults and not is_kept and not is_first_loss:
            self._uncounted += 1
            return
        self._room_for_faults -= self._room_for_faults > 0
        self._loss_noted = self._loss_noted or loses_content
        text = excerpt(piece[: 4 * EXCERPT_CHARACTERS].decode("utf-8", "replace"))
        self._faults.append(Fault(code, text, frame_start, loses_content))

    def _check_held(self) -> None:
        """Raise if the line that has begun is too long already."""
        if self.offset == 0:
            # A byte order mark counts nowhere, so neither does what may become one.
            if BOM.startswith(self.held):
                return
            if self.held.startswith(BOM):
                del self.held[: len(BOM)]
                self._set_text(BOM)
                self._set_text(b"")
        self._check_size(self.offset, self.position, self.held)

    def _check_size(self, line_start: int, end: int, line: bytes | bytearray) -> None:
        """Raise if the frame, or the line that no frame holds, reaches `end` and is too long.

        It is quoted from the line that was too much up to the limit: the same for every cut.
        """
        maximum = self._limits.event_bytes
        start = line_start if self._start is None else self._start
        if end - start <= maximum:
            return
        room = max(0, start + maximum - line_start)
        piece = bytes(line[: min(room, EXCERPT_CHARACTERS)])
        raise LimitError(
            f"an event is larger than {maximum} bytes",
            limit="event_bytes",
            maximum=maximum,
            byte_offset=start,
            raw=piece.decode("utf-8", "replace"),
        )


class SSEDecoder:
    """A decoder for any event stream, by the letter of the standard.

    Feed it raw bytes as they come, never lines. `receive_data` takes the bytes at once and returns
    an iterator of the events; iterators hold no state of their own, so one may be dropped and
    another goes on.

    Args:
        limits: `event_bytes`, `total_bytes` and `violations` apply.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._framer = Framer(self._limits)
        self._ended = False
        self._error: LimitError | None = None
        self._log = ViolationLog(self._limits)

    def receive_data(self, data: bytes | bytearray | memoryview) -> Iterator[ServerSentEvent]:
        """Take bytes and return an iterator of the events that are whole now.

        Raises:
            LimitError: from the iterator, after the events before it; and at every later call.
            RuntimeError: after `receive_eof`.
        """
        self._raise_if_failed()
        if self._ended:
            raise RuntimeError("data after the end of the stream")
        check_type(data, bytes, bytearray, memoryview)
        self._framer.receive(bytes(data))
        return self._take()

    def receive_eof(self) -> Iterator[ServerSentEvent]:
        """Note the end, and return an iterator of the events that were not taken yet.

        An event without its blank line is discarded. A second end is ignored. Raises LimitError
        as `receive_data` does.
        """
        self._raise_if_failed()
        self._ended = True
        return self._take()

    @property
    def last_event_id(self) -> str:
        """What a reconnecting client would send: the id as of the last blank line looked at."""
        return self._framer.last_event_id

    @property
    def reconnection_time(self) -> int | None:
        """The last valid `retry`, in milliseconds, or None."""
        return self._framer.reconnection_time

    @property
    def violations(self) -> tuple[Violation, ...]:
        """What was wrong with the bytes so far: the first `Limits.violations` faults. A line that
        gives no event is reported with the next one, or at the end.
        """
        return self._log.kept

    @property
    def violation_count(self) -> int:
        """How many there were in all."""
        return self._log.count

    def _raise_if_failed(self) -> None:
        if self._error is not None:
            raise copy_for_raise(self._error)

    def _take(self) -> Iterator[ServerSentEvent]:
        while True:
            self._raise_if_failed()
            try:
                frame = self._framer.next_frame()
            except LimitError as error:
                error.event_number = self._framer.frames + 1
                self._error = error
                raise copy_for_raise(error) from None
            if frame is None:
                if self._ended:
                    self._framer.take_held_lines()
                    self._note(*self._framer.take_faults())
                return
            self._note(frame.faults, frame.uncounted)
            yield ServerSentEvent(
                frame.name or "message",
                frame.data,
                frame.id,
                frame.retry,
                is_named=frame.name != "",
            )

    def _note(self, faults: tuple[Fault, ...], uncounted: int) -> None:
        for fault in faults:
            self._log.add(fault, self._framer.frames)
        self._log.count += uncounted


def without_cut_character(data: bytes) -> bytes:
    """Return bytes without the beginning of a character that the end of the body has cut off."""
    for length in range(1, min(3, len(data)) + 1):
        byte = data[-length]
        if byte < 0x80:  # ASCII
            break
        if byte >= 0xC0:  # the first byte of a character says how many it has
            needed = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return data[:-length] if length < needed and byte < 0xF5 else data
    return data


def encode_sse(event: ServerSentEvent) -> bytes:
    """Return the frame of one event, blank line included.

    Decoding it gives the event again. Raises ValueError for what the format cannot hold: an empty
    `event`, a line end in `event` or `id`, a CR in `data`, a NUL in `id`, a negative `retry`, a
    lone surrogate.
    """
    if not event.event:
        raise ValueError("an event stream cannot hold an event without a type")
    name = event.event if event.is_named else ""
    return encode_frame(name, event.data, event.id, event.retry)


def encode_frame(name: str, data: str, id: str = "", retry: int | None = None) -> bytes:
    """Return a frame; with the name "" it has no `event` field. Raises as `encode_sse` does."""
    if "\r" in data:
        raise ValueError("an event stream cannot hold a carriage return in data")
    if any(character in name + id for character in "\r\n") or "\0" in id:
        raise ValueError("an event stream cannot hold a line end in event or id, nor NUL in id")
    if retry is not None and retry < 0:
        raise ValueError("retry is a number of milliseconds, from 0")
    lines: list[str] = []
    if name:
        lines.append(f"event: {name}")
    if id:
        lines.append(f"id: {id}")
    if retry is not None:
        lines.append(f"retry: {retry}")
    lines.extend(f"data: {line}" for line in data.split("\n"))
    return ("\n".join(lines) + "\n\n").encode()


def is_event_stream(content_type: str | None) -> bool:
    """Whether a Content-Type header names an event stream; parameters and case do not matter.

    Of a list the last type counts, as in Fetch's "extract a MIME type": proxies append one.
    """
    types = [entry.partition(";")[0].strip().lower() for entry in (content_type or "").split(",")]
    valid = [name for name in types if "/" in name and name != "*/*"]
    return bool(valid) and valid[-1] == "text/event-stream"
