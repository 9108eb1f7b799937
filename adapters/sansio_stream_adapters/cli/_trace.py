"""The trace: what came of each frame in, a line for each out, with the bytes that were wrong.

For the person who asks why. A name in parentheses is that of a frame which was kept out of the
message. What is quoted are the recorded bytes, not what was understood of them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import attrs
from rich.cells import cell_len
from rich.text import Text

from sansio_stream.errors import ViolationCode
from sansio_stream.events import (
    ContentBlockDeltaEvent,
    ContentBlockStartEvent,
    ContentBlockStopEvent,
    ErrorEvent,
    MessageStartEvent,
    MessageStreamEvent,
    PingEvent,
    UnknownEvent,
)

from ._text import one_line, printable, to_json

if TYPE_CHECKING:
    from rich.console import Console

    from sansio_stream.errors import ProtocolError, Violation
    from sansio_stream.machine import StreamMachine

    from ._replay import Moment

__all__ = ["Trace"]

COLUMNS: Final = "{:>5} {:>7} {:>5} {:>7} {:<15} {:<21} {:>2} "
HEADINGS: Final = COLUMNS.format("frame", "offset", "chunk", "time", "state", "event", "ix")
MARGIN: Final = 6
WIDTH_OF_A_PIPE: Final = 120

BLANK_LINE: Final = re.compile(rb"(?>\r\n?|\n)(?>\r\n?|\n)")
BOM: Final = b"\xef\xbb\xbf"


@attrs.frozen
class Line:
    """One line of a frame: its bytes without the line end, and the data that it holds, if any."""

    raw: bytes
    data: str | None

    @property
    def lead(self) -> int:
        """How many characters of the line stand before its data."""
        return len(text_of(self.raw)) - len(self.data or "")


class Trace:
    """The trace of one stream whose bytes are `body`, which may grow."""

    def __init__(self, console: Console, body: bytes | bytearray) -> None:
        self._console = console
        self._body = body
        self._width = max(
            40, console.width if console.is_terminal else max(console.width, WIDTH_OF_A_PIPE)
        )

    def begin(self) -> None:
        """Print the headings."""
        self._print(Text(HEADINGS + "payload", style="bold"))

    def see(self, moment: Moment) -> None:
        """Print a moment and what was wrong with it."""
        lines = self._lines_at(moment.offset)
        changed = moment.after is not moment.before
        state = f"{moment.before.name} -> {moment.after.name}" if changed else moment.before.name
        event = moment.event
        name = f"({one_line(name_in(lines), 19)})"
        if event is not None:
            name = one_line(name_of(event), 21)
        columns = COLUMNS.format(
            "-" if moment.number is None else moment.number,
            "" if moment.offset is None else moment.offset,
            moment.chunk,
            "" if moment.at is None else f"{moment.at:.3f}",
            state.lower(),
            name,
            index_of(event),
        )
        payload = data_in(lines) if event is None else payload_of(event)
        room = max(self._width - len(columns), 8)
        self._print(Text.assemble(columns, (one_line(payload, room), "dim")))
        for violation in moment.violations:
            self._violation(violation, moment.offset, lines)
        if moment.error is not None:
            self._error(moment.error, lines)

    def end(self, machine: StreamMachine) -> None:
        """Print how it ended."""
        more = machine.violation_count - len(machine.violations)
        if more:
            self._print(Text(f"\n{more} violations more, which are counted and not kept"))
        self._print(Text(f"\n{machine.verdict.name}: {machine.verdict.value}", style="bold"))

    def _violation(self, violation: Violation, offset: int | None, lines: list[Line]) -> None:
        self._say(f"! {violation.code}: {violation.message}", "yellow")
        if violation.byte_offset != offset:
            # Lines before the frame, between blank lines of their own.
            lines = self._lines_at(violation.byte_offset)
        self._quote(*place_of(violation, lines))

    def _error(self, error: ProtocolError, lines: list[Line]) -> None:
        self._say(f"{type(error).__name__} {error.code}: {error}", "bold red")
        rest = error.position
        for line in lines:
            if rest is not None and line.data is not None:
                if rest <= len(line.data):
                    self._quote(line.raw, line.lead + rest)
                    return
                rest -= len(line.data) + 1
        self._quote(*beginning_of(lines))

    def _say(self, text: str, style: str) -> None:
        for line in Text(printable(text), style).wrap(self._console, self._width - MARGIN):
            self._print(Text.assemble(" " * MARGIN, line))

    def _quote(self, raw: bytes, position: int) -> None:
        """Quote a line around a place in it, with a caret under the place."""
        width = self._width - MARGIN
        text = printable(text_of(raw)).replace("\t", " ")
        start = max(0, min(position - width // 2, len(text) - width))
        before = ("…" if start else "") + text[start + bool(start) : position]
        quoted = one_line_of(before + text[position:], width)
        self._print(Text(" " * MARGIN + quoted))
        self._print(Text(" " * (MARGIN + cell_len(before)) + "^", style="bold red"))

    def _lines_at(self, offset: int | None) -> list[Line]:
        """Return the lines of the frame that begins there."""
        if offset is None:
            return []
        blank = BLANK_LINE.search(self._body, offset)
        frame = bytes(self._body[offset : blank.start() if blank else None])
        if offset == 0:
            frame = frame.removeprefix(BOM)
        return [line_of(raw) for raw in frame.splitlines()]

    def _print(self, text: Text) -> None:
        self._console.print(text, soft_wrap=True)


def text_of(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


def line_of(raw: bytes) -> Line:
    field, _, value = raw.partition(b":")
    data = text_of(value.removeprefix(b" ")) if field == b"data" else None
    return Line(raw, data)


def beginning_of(lines: list[Line]) -> tuple[bytes, int]:
    return (lines[0].raw if lines else b""), 0


def place_of(violation: Violation, lines: list[Line]) -> tuple[bytes, int]:
    """Return the line that a violation is about, and where in its text; else the first one."""
    for line in lines:
        if violation.code is ViolationCode.INVALID_UTF8:
            try:
                line.raw.decode()
            except UnicodeDecodeError as error:
                return line.raw, len(line.raw[: error.start].decode())
        elif violation.excerpt == text_of(line.raw):
            return line.raw, 0
    return beginning_of(lines)


def one_line_of(text: str, width: int) -> str:
    """Return a line whose spaces all count, cut at the end."""
    while cell_len(text) > width:
        text = text[: width - 1 - (cell_len(text[:width]) - width)] + "…"
    return text


def data_in(lines: list[Line]) -> str:
    return "\n".join(line.data for line in lines if line.data is not None)


def name_in(lines: list[Line]) -> str:
    """Return the name of a frame that gave no event."""
    for line in reversed(lines):
        if line.raw.startswith(b"event:"):
            return text_of(line.raw.removeprefix(b"event:")).strip()
    return "[DONE]" if data_in(lines) == "[DONE]" else "-"


def name_of(event: MessageStreamEvent) -> str:
    return event.wire_type if isinstance(event, UnknownEvent) else event.type


def payload_of(event: MessageStreamEvent) -> str:
    """Return of an event's payload what the other columns do not say."""
    if isinstance(event, (PingEvent, ErrorEvent, UnknownEvent)) and event.raw is not None:
        return event.raw
    sent = event.to_dict()
    match event:
        case MessageStartEvent():
            return to_json(sent["message"])
        case ContentBlockStartEvent():
            return to_json(sent["content_block"])
        case ContentBlockDeltaEvent():
            return to_json(sent["delta"])
        case _:
            rest = {name: each for name, each in sent.items() if name not in {"type", "index"}}
            return to_json(rest) if rest else ""


def index_of(event: MessageStreamEvent | None) -> str:
    match event:
        case (
            ContentBlockStartEvent(index=index)
            | ContentBlockDeltaEvent(index=index)
            | ContentBlockStopEvent(index=index)
        ):
            return str(index)
        case _:
            return ""
