"""The fields of an event stream: lines in, the fields of the partial frame out.

The rules are those of the WHATWG HTML standard, section 9.2.6, "the standard" below.
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
    """The fields of the partial frame, and what outlives a frame.

    Attributes:
        name: the `event` field so far, b"" if there is none.
        data: the `data` lines so far, each with an LF behind it.
        retry: the last valid `retry` of the frame, in milliseconds, or None.
        flaws: what is wrong with the lines.
        unknown_line_seen: whether any line was neither a comment nor a known field.
        last_event_id: as of the last blank line.
        reconnection_time: the last valid `retry` of the stream, in milliseconds, or None.

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
        """The `event` field so far, b"" if there is none."""
        return self._name or b""

    @property
    def has_data(self) -> bool:
        """Whether there is a `data` line."""
        return len(self.data) > 0

    @property
    def is_empty(self) -> bool:
        """Whether there is no field."""
        return not self.data and (self._name, self._id, self.retry) == (None, None, None)

    def parse(self, lines: Sequence[tuple[bytes, bytes, bytes]], offset: int) -> None:
        """Read lines: all of a line, its field ("" for a comment), its value.

        Args:
            lines: one after another.
            offset: where their frame begins in the body, for flaws.
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
                if unknown and self.flaws.capacity:  # flaws that are kept have an order
                    self._add_unknown(unknown, offset)
                    unknown = []
                self._set_retry(value, offset)
        if values:
            # "Append the field value to the data buffer, then append a single U+000A LINE FEED (LF)
            # character to the data buffer." A list of them would take 100 bytes for a line of 5.
            self.data += b"\n".join(values)
            self.data += b"\n"
        if unknown:
            self._add_unknown(unknown, offset)

    def _set_retry(self, value: bytes, offset: int) -> None:
        # "If the field value consists of only ASCII digits": int() alone would take "+5", "1_000".
        # More digits than Python converts are a ValueError, too.
        try:
            if value.isdigit():
                self.retry = self.reconnection_time = int(value)
                return
        except ValueError:
            pass
        self.flaws.add(ViolationCode.INVALID_RETRY, value, offset)

    def _add_unknown(self, lines: list[bytes], offset: int) -> None:
        """Add flaws for lines whose field is unknown. Those beyond the capacity only count."""
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
        # A brace is a sign of a payload whose `data:` was damaged or left out.
        loses = any_brace(line) is not None
        self.flaws.add(ViolationCode.UNKNOWN_FIELD, line, offset, loses_content=loses)

    def commit_id(self, offset: int) -> None:
        """Make the `id` field of the frame, if it has one, the last event id."""
        if self._id is not None:
            self.last_event_id = self.flaws.decode(self._id, offset)

    def take(self) -> tuple[bytes, bytearray, int | None]:
        """Return the name, the data and the retry of the frame, and drop its fields."""
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
