"""The fields of an event stream: lines in, the fields of the partial frame out.

The rules come from the WHATWG HTML standard, section 9.2.6. The comments quote it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from .errors import ViolationCode
from .frames import FlawBuffer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .errors import Limits

KNOWN_FIELDS: Final = frozenset({b"event", b"data", b"id", b"retry"})
any_brace: Final = re.compile(rb"[{}]").search


class FieldParser:
    """The fields of the partial frame, and the values that last beyond a frame.

    Attributes:
        name: the `event` field so far; b"" if there is none.
        data: the values of the `data` lines so far, each with an LF after it.
        retry: the last valid `retry` of the frame, in milliseconds, or None.
        flaws: the flaws of the lines.
        unknown_line_seen: whether any line of the body was neither a comment nor a known field.
        last_event_id: the last event id, as of the last blank line.
        reconnection_time: the last valid `retry` of the body, in milliseconds, or None.

    Args:
        limits: `violations` applies.
    """

    __slots__ = (
        "_id",
        "_name",
        "data",
        "flaws",
        "last_event_id",
        "reconnection_time",
        "retry",
        "unknown_line_seen",
    )

    def __init__(self, limits: Limits) -> None:
        self._name: bytes | None = None
        self.data = bytearray()
        self._id: bytes | None = None
        self.retry: int | None = None
        self.flaws = FlawBuffer(limits)
        self.unknown_line_seen = False
        self.last_event_id = ""
        self.reconnection_time: int | None = None

    @property
    def name(self) -> bytes:
        """The `event` field so far; b"" if there is none."""
        return self._name or b""

    @property
    def has_data(self) -> bool:
        """Whether the partial frame has a `data` line."""
        return len(self.data) > 0

    @property
    def is_empty(self) -> bool:
        """Whether the partial frame has no field."""
        return not self.data and (self._name, self._id, self.retry) == (None, None, None)

    def parse(self, lines: Sequence[tuple[bytes, bytes, bytes]], offset: int) -> None:
        """Read lines.

        Args:
            lines: for each line its bytes without the line end, its field name (b"" for a comment)
                and its value.
            offset: the offset of their frame in the body, for the flaws.
        """
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
                if unknown and self.flaws.capacity:  # kept flaws stay in the order of their lines
                    self._add_unknown(unknown, offset)
                    unknown = []
                self._set_retry(value, offset)
        if values:
            # "Append the field value to the data buffer, then append a single U+000A LINE FEED (LF)
            # character to the data buffer." In a list, a value of 5 bytes would take 100 bytes.
            self.data += b"\n".join(values)
            self.data += b"\n"
        if unknown:
            self._add_unknown(unknown, offset)

    def _set_retry(self, value: bytes, offset: int) -> None:
        # "If the field value consists of only ASCII digits". int() alone would accept b"+5" and
        # b"1_000". It raises ValueError for more digits than Python's limit for conversions.
        try:
            if value.isdigit():
                self.retry = self.reconnection_time = int(value)
                return
        except ValueError:
            pass
        self.flaws.add(ViolationCode.INVALID_RETRY, value, offset)

    def _add_unknown(self, lines: list[bytes], offset: int) -> None:
        """Add flaws for lines with an unknown field. Those beyond the capacity are only counted."""
        self.unknown_line_seen = True
        kept = lines[: self.flaws.capacity]
        rest = lines[len(kept) :]
        for line in kept:
            self._add_line(line, offset)
        if rest and not self.flaws.has_loss:
            text = b"\n".join(rest)
            brace = any_brace(text)
            if brace:
                self._add_line(rest.pop(text.count(b"\n", 0, brace.start())), offset)
        self.flaws.count(len(rest))

    def _add_line(self, line: bytes, offset: int) -> None:
        # A line with a brace is probably a payload whose `data:` was damaged or left out.
        loses = any_brace(line) is not None
        self.flaws.add(ViolationCode.UNKNOWN_FIELD, line, offset, loses_content=loses)

    def commit_id(self, offset: int) -> None:
        """Make the `id` field of the frame the last event id, if the frame has one."""
        if self._id is not None:
            self.last_event_id = self.flaws.decode(self._id, offset)

    def take(self) -> tuple[bytes, bytearray, int | None]:
        """Remove and return the name, the data and the retry of the frame."""
        # "If the data buffer's last character is a U+000A LINE FEED (LF) character, then remove"
        del self.data[-1:]
        taken = self.name, self.data, self.retry
        self.forget()
        return taken

    def forget(self) -> None:
        """Drop the fields of the frame."""
        self._name = None
        self.data = bytearray()
        self._id = None
        self.retry = None
