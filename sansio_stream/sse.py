"""Framing: bytes in, server-sent events out. Knows no JSON and no messages.

The rules are those of the WHATWG HTML standard, section 9.2.6 "Interpreting an event stream"; "the
standard" below. Bytes stay bytes until a frame is whole: lines are cut at LF, CR and CRLF bytes
only, so U+2028, U+0085 and vertical tabs inside JSON never end a line, and a character that was cut
between two chunks is never decoded alone.

Cost: linear in the bytes, for any way of cutting them. Memory: the lines of the chunks that were
not taken yet, plus one frame, which `Limits.event_bytes` bounds.
"""

from __future__ import annotations

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
    demand,
    excerpt,
    fresh,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["SSEDecoder", "ServerSentEvent", "encode_sse", "is_event_stream"]

BOM: Final = b"\xef\xbb\xbf"
CR, LF, COLON = b"\r\n:"
KNOWN_FIELDS: Final = (b"event", b"data", b"id", b"retry")


@attrs.frozen
class ServerSentEvent:
    """One event of an event stream.

    Attributes:
        event: its type; "message" where the stream names none.
        data: its `data` lines, joined by LF.
        id: the last event id at that moment; it persists from event to event.
        retry: the last valid `retry` inside this event, in milliseconds, or None.
    """

    event: str = "message"
    data: str = ""
    id: str = ""
    retry: int | None = None


@attrs.frozen
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
    """

    name: str
    data: str
    offset: int
    size: int
    id: str
    retry: int | None
    faults: tuple[Fault, ...]
    uncounted: int


class Framer:
    """Cuts a body into frames, one at a time: `receive` takes bytes, `next_frame` gives frames.

    Nothing is interpreted before it is asked for: what it says is as of the last frame it gave.
    """

    __slots__ = (
        "_data",
        "_faults",
        "_head",
        "_id",
        "_last_line_ended_in_cr",
        "_limits",
        "_lines",
        "_name",
        "_odd_line_seen",
        "_over_total",
        "_position",
        "_received",
        "_retry",
        "_start",
        "_tail",
        "_uncounted",
        "frames",
        "last_event_id",
        "reconnection_time",
    )

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        # What was received: whole lines with their ends, then the beginning of a line.
        self._lines: deque[bytes] = deque()
        self._tail = bytearray()
        self._last_line_ended_in_cr = False
        self._received = 0
        self._over_total = False
        self._head = bytearray()
        # Where we are: the offset of the next line, and that of the frame's first field.
        self._position = 0
        self._start: int | None = None
        # The fields of the frame so far.
        self._name: bytes | None = None
        self._data: list[bytes] = []
        self._id: bytes | None = None
        self._retry: int | None = None
        self._faults: list[Fault] = []
        self._uncounted = 0
        self._odd_line_seen = False
        # What outlives a frame.
        self.frames = 0
        self.last_event_id = ""
        self.reconnection_time: int | None = None

    # Receiving.

    def receive(self, data: bytes) -> None:
        """Add bytes. Cuts them into lines and looks no further."""
        total = self._limits.total_bytes
        if total is not None and self._received + len(data) > total:
            data = data[: total - self._received]
            self._over_total = True
        if not data:
            return
        self._received += len(data)
        if len(self._head) < EXCERPT_CHARACTERS:
            self._head += data[: EXCERPT_CHARACTERS - len(self._head)]
        if self._last_line_ended_in_cr:
            # "CRLF, LF, or CR" end a line. A CR at the end of a chunk has ended its line already;
            # waiting for the next chunk would hold back a finished event. The LF that may follow
            # belongs to the same line end.
            self._last_line_ended_in_cr = False
            if data[0] == LF:
                if self._lines:
                    self._lines[-1] += b"\n"
                else:
                    self._position += 1
                data = data[1:]
        if LF not in data and CR not in data:
            # bytearray grows in place: a 64 MB line in small chunks stays linear.
            self._tail += data
            return
        if self._tail:
            data = bytes(self._tail) + data
            self._tail = bytearray()
        # splitlines of *bytes* cuts at LF, CR and CRLF only (that of str knows eight more).
        self._lines.extend(data.splitlines(keepends=True))
        if data[-1] == CR:
            self._last_line_ended_in_cr = True
        elif data[-1] != LF:
            self._tail += self._lines.pop()

    # Giving.

    def next_frame(self) -> Frame | None:
        """Return the next whole frame with data, or None for "more bytes". Raises LimitError."""
        while self._lines:
            frame = self._take_line(self._lines.popleft())
            if frame is not None:
                return frame
        if self._received - self._frame_start > self._limits.event_bytes:
            self._check_tail()
        if self._over_total:
            raise LimitError(
                f"the body is larger than {self._limits.total_bytes} bytes",
                limit="total_bytes",
                maximum=self._limits.total_bytes or 0,
                byte_offset=self._received,
            )
        return None

    def finish(self) -> Frame | None:
        """Return what is left of a frame that has no blank line, or None. Call it once, at the end.

        The standard discards such a frame; the caller decides. Its data may be cut anywhere.
        """
        tail = without_cut_character(bytes(self._tail))
        if self._position == 0 and BOM.startswith(tail):
            return None
        begun = tail.removeprefix(BOM) if self._position == 0 else tail
        cut_field_name = begun != b"" and any(field.startswith(begun) for field in KNOWN_FIELDS)
        if tail and not cut_field_name:
            self._take_line(tail)
        fields = (self._data or None, self._name, self._id, self._retry)
        if not cut_field_name and all(field is None for field in fields):
            return None
        return self._make_frame(self._received)

    def take_faults(self) -> tuple[tuple[Fault, ...], int]:
        """Return the faults that no frame carried, and how many more there were; forget them."""
        faults, uncounted = tuple(self._faults), self._uncounted
        self._faults, self._uncounted = [], 0
        return faults, uncounted

    @property
    def is_other_content(self) -> bool:
        """Whether no frame with data came, and some line was neither comment nor known field."""
        return self._odd_line_seen and not self.frames

    @property
    def head(self) -> str:
        """The first bytes of the body, as text."""
        return self._head.decode("utf-8", "replace")

    @property
    def _frame_start(self) -> int:
        """Where the frame began, or where the next one will."""
        return self._position if self._start is None else self._start

    # One line at a time.

    def _take_line(self, line: bytes) -> Frame | None:
        start = self._position
        self._position += len(line)
        content = line.rstrip(b"\r\n")
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
        # "If value starts with a U+0020 SPACE character, remove it from value."
        if value.startswith(b" "):
            value = value[1:]
        if field == b"data":
            self._data.append(value)
        elif field == b"event":
            self._name = value
        elif field == b"id":
            # "If the field value does not contain U+0000 NULL, set the last event ID buffer [...]."
            if b"\0" not in value:
                self._id = value
        elif field == b"retry":
            self._take_retry(value)
        else:
            self._odd_line_seen = True
            self._note(ViolationCode.UNKNOWN_FIELD, content)
        return None

    def _take_retry(self, value: bytes) -> None:
        # "If the field value consists of only ASCII digits": int() alone would take "+5", "1_000".
        if not value.isdigit():
            return
        try:
            self._retry = self.reconnection_time = int(value)
        except ValueError:  # more digits than Python converts
            return

    def _end_of_frame(self, end: int) -> Frame | None:
        if self._data:
            return self._make_frame(end)
        # "If the data buffer is an empty string, set the data buffer and the event type buffer to
        # the empty string and return." The id has been committed all the same.
        if self._id is not None:
            self.last_event_id = self._text(self._id)
        self._forget_fields()
        return None

    def _make_frame(self, end: int) -> Frame:
        if self._id is not None:
            self.last_event_id = self._text(self._id)
        name = self._text(self._name or b"")
        data = self._text(b"\n".join(self._data))
        offset = self._frame_start
        faults, uncounted = self.take_faults()
        frame = Frame(
            name, data, offset, end - offset, self.last_event_id, self._retry, faults, uncounted
        )
        self.frames += bool(self._data)
        self._forget_fields()
        return frame

    def _forget_fields(self) -> None:
        self._start = None
        self._name = None
        self._data = []
        self._id = None
        self._retry = None

    def _text(self, value: bytes) -> str:
        try:
            return value.decode()
        except UnicodeDecodeError as error:
            self._note(ViolationCode.INVALID_UTF8, value[max(0, error.start - 32) :])
            return value.decode("utf-8", "replace")

    def _note(self, code: ViolationCode, piece: bytes) -> None:
        # Bounded, because lines that give no frame could go on for ever. One is always kept: who
        # wants no violations to be kept may still want to know that there was one.
        if len(self._faults) >= max(1, self._limits.violations):
            self._uncounted += 1
            return
        text = excerpt(piece[: 4 * EXCERPT_CHARACTERS].decode("utf-8", "replace"))
        self._faults.append(Fault(code, text, self._frame_start))

    def _check_tail(self) -> None:
        """Raise if the line that has begun is too long already."""
        if self._position == 0:
            # A byte order mark counts nowhere, so neither does what may become one.
            if BOM.startswith(self._tail):
                return
            if self._tail.startswith(BOM):
                del self._tail[: len(BOM)]
                self._position = len(BOM)
        self._check_size(self._position, self._position + len(self._tail), self._tail)

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
        demand(data, bytes, bytearray, memoryview)
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
            raise fresh(self._error) from self._error

    def _take(self) -> Iterator[ServerSentEvent]:
        while True:
            self._raise_if_failed()
            try:
                frame = self._framer.next_frame()
            except LimitError as error:
                error.event_number = self._framer.frames + 1
                self._error = error
                raise fresh(error) from None
            if frame is None:
                if self._ended:
                    self._note(*self._framer.take_faults())
                return
            self._note(frame.faults, frame.uncounted)
            yield ServerSentEvent(frame.name or "message", frame.data, frame.id, frame.retry)

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
    name = "" if event.event == "message" else event.event
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
