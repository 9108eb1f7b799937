"""The view for debugging: the result of each frame in, a line for each frame out.

Below its line, each violation or error of the frame is printed with a quote. Quotes come from the
recorded bytes, not from the parsed event, so they show what the server really sent. A name in
parentheses is the name of a frame that gave no event.
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
from sansio_stream.frame_buffer import BOM

from ._text import (
    CHARACTERS_IN_A_CELL,
    ending,
    fitting,
    one_line,
    printable,
    to_json,
    unbroken,
)

if TYPE_CHECKING:
    from rich.console import Console

    from sansio_stream.errors import ProtocolError, Violation
    from sansio_stream.machine import StreamMachine

    from ._reading import FrameResult

__all__ = ["Trace"]

COLUMNS: Final = "{:>5} {:>7} {:>5} {:>7} {:<15} {:<21} {:>2} "
HEADINGS: Final = COLUMNS.format("frame", "offset", "chunk", "time", "state", "event", "ix")
MARGIN: Final = 6
WIDTH_OF_A_PIPE: Final = 120

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


class Trace:
    """The trace of one stream.

    Args:
        console: the console to print to.
        body: the bytes of the stream. A bytearray may grow while the trace is printed.
    """

    def __init__(self, console: Console, body: bytes | bytearray) -> None:
        self._console = console
        self._body = body
        # The lines of the last frame are kept, because all violations of a frame need them.
        self._offset: int | None = None
        self._lines: list[Line] = []
        self._width = max(
            40, console.width if console.is_terminal else max(console.width, WIDTH_OF_A_PIPE)
        )

    def begin(self) -> None:
        """Print the column headings."""
        self._print(Text(HEADINGS + "payload", style="bold"))

    def add(self, result: FrameResult) -> None:
        """Print the line of a frame, then its violations and its error."""
        lines = self._lines_at(result.offset)
        changed = result.after is not result.before
        state = f"{result.before.name} -> {result.after.name}" if changed else result.before.name
        event = result.event
        name = f"({one_line(name_in(lines), 19)})"
        if event is not None:
            name = one_line(name_of(event), 21)
        columns = COLUMNS.format(
            "-" if result.number is None else result.number,
            "" if result.offset is None else result.offset,
            result.chunk,
            "" if result.at is None else f"{result.at:.3f}",
            state.lower(),
            name,
            index_of(event),
        )
        payload = data_in(lines) if event is None else payload_of(event)
        available = max(self._width - len(columns), 8)
        self._print(Text.assemble(columns, (one_line(payload, available), "dim")))
        for violation in result.violations:
            self._violation(violation, result.offset, lines)
        if result.error is not None:
            self._error(result.error, lines)

    def end(self, machine: StreamMachine) -> None:
        """Print the verdict, after the number of violations that the machine has not kept."""
        more = machine.violation_count - len(machine.violations)
        if more:
            self._print(Text(f"\n{more} more violations were counted but not kept"))
        self._print(Text(f"\n{machine.verdict.name}: {machine.verdict.value}", style="bold"))

    def _violation(self, violation: Violation, offset: int | None, lines: list[Line]) -> None:
        lost = violation.loses_content
        sentence = f"! {violation.code}: {violation.message}{'; content was lost' if lost else ''}"
        self._sentence(sentence, "bold red" if lost else "yellow")
        if violation.byte_offset != offset:
            # The violation is in lines before the frame, separated from it by a blank line.
            lines = self._lines_at(violation.byte_offset)
        self._quote(*place_of(violation, lines))

    def _error(self, error: ProtocolError, lines: list[Line]) -> None:
        self._sentence(f"{type(error).__name__} {error.code}: {error}", "bold red")
        rest = error.position
        for line in lines:
            if rest is not None and line.data is not None:
                if rest <= len(line.data):
                    self._quote(line, line.lead + rest)
                    return
                rest -= len(line.data) + 1
        self._quote(*beginning_of(lines))

    def _sentence(self, text: str, style: str) -> None:
        # Continuation lines are indented further, so that no text of the stream can imitate the
        # first line of another sentence.
        indent = MARGIN
        for line in Text(unbroken(text), style).wrap(self._console, self._width - MARGIN - 2):
            self._print(Text.assemble(" " * indent, line))
            indent = MARGIN + 2

    def _quote(self, line: Line, position: int) -> None:
        """Print the part of a line around a position, with a caret under the position."""
        width = self._width - MARGIN
        reach = CHARACTERS_IN_A_CELL * width + 1
        after = fitting(shown(line.text[position : position + reach]), width)
        # The text before the position gets half of the line, or more if the text after it is short.
        available = max(width // 2, width - cell_len(after))
        before = ending(shown(line.text[max(0, position - reach) : position]), available)
        self._print(Text(" " * MARGIN + fitting(before + after, width)))
        self._print(Text(" " * (MARGIN + cell_len(before)) + "^", style="bold red"))

    def _lines_at(self, offset: int | None) -> list[Line]:
        """Return the lines of the frame that begins at a byte offset; none if it is unknown."""
        if offset is None:
            return []
        if offset != self._offset:
            self._offset, self._lines = offset, self._lines_from(offset)
        return self._lines

    def _lines_from(self, offset: int) -> list[Line]:
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
    return Line(raw, text_of(raw), data)


def shown(text: str) -> str:
    """Return a part of a line as printable text of one line, with all its spaces."""
    return printable(text).replace("\t", " ").replace("\n", " ")


def beginning_of(lines: list[Line]) -> tuple[Line, int]:
    return (lines[0] if lines else line_of(b"")), 0


def place_of(violation: Violation, lines: list[Line]) -> tuple[Line, int]:
    """Return the line and the position of a violation. The default is the start of the frame."""
    for line in lines:
        if violation.code is ViolationCode.INVALID_UTF8:
            try:
                line.raw.decode()
            except UnicodeDecodeError as error:
                return line, len(line.raw[: error.start].decode())
        elif violation.excerpt == line.text:
            return line, 0
    return beginning_of(lines)


def data_in(lines: list[Line]) -> str:
    return "\n".join(line.data for line in lines if line.data is not None)


def name_in(lines: list[Line]) -> str:
    """Return the name of a frame that gave no event, or `[DONE]`, or `-` if it has no name."""
    for line in reversed(lines):
        if line.raw.startswith(b"event:"):
            return text_of(line.raw.removeprefix(b"event:")).strip()
    return "[DONE]" if data_in(lines) == "[DONE]" else "-"


def name_of(event: MessageStreamEvent) -> str:
    return event.wire_type if isinstance(event, UnknownEvent) else event.type


def payload_of(event: MessageStreamEvent) -> str:
    """Return the payload of an event without the members that other columns show."""
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
