"""The view for debugging: the result of each frame in, a line for each frame out.

The violations and the error of a frame follow its line, each with a quote from the frame. Quotes
come from the recorded bytes, not from the parsed event, so they show what the server really sent. A
name in parentheses is the name of a frame that gave no event.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import attrs
from rich.cells import cell_len
from rich.text import Text

from sansio_stream.errors import ViolationCode
from sansio_stream.events import ContentBlockDeltaEvent, ContentBlockStartEvent, ThinkingDelta
from sansio_stream.report import type_of

from ._frame_bytes import data_in, line_of, name_in
from ._frame_text import FrameFilter, Gaps, index_of, label_of, payload_text
from ._text import (
    CHARACTERS_IN_A_CELL,
    ending,
    fitting,
    one_line,
    printable,
    seconds,
    to_json,
    unbroken,
)

if TYPE_CHECKING:
    from rich.console import Console

    from sansio_stream.errors import ProtocolError, Violation

    from ._frame_bytes import Line
    from ._reading import FrameResult, Reading

__all__ = ["Trace", "TraceOptions"]

MARGIN: Final = 6
NARROWEST: Final = 40
LEAST_TEXT: Final = 8
"""A text is left out if there are fewer cells for it. Only a very narrow terminal has so few."""

WARNING: Final = "yellow"
FAILURE: Final = "bold red"


@attrs.frozen
class TraceOptions:
    """What a trace shows.

    Attributes:
        filter: decides which frames are shown.
        stall: a gap that is longer than this many seconds is marked.
        is_wide: whether more columns are shown, and texts are not cut.
        as_json: whether each frame is printed as a JSON object.
    """

    filter: FrameFilter = attrs.field(factory=FrameFilter)
    stall: float = 2.0
    is_wide: bool = False
    as_json: bool = False


@attrs.frozen
class Column:
    """A column: its heading, its width in cells, and whether it is aligned to the right."""

    heading: str
    width: int
    is_right: bool = True

    def cell(self, text: str) -> str:
        """Return a text in the width of the column. A longer text makes it wider."""
        return f"{text:>{self.width}}" if self.is_right else f"{text:<{self.width}}"


class Columns:
    """The columns of a trace before the text. A narrow terminal has fewer of them.

    Args:
        width: the width of a line in cells.
        has_times: whether the stream has times. Without times, there are no columns for them.
        is_wide: whether the numbers of the frame and of the chunk are shown.
    """

    def __init__(self, width: int, *, has_times: bool, is_wide: bool) -> None:
        self.width = width
        roomy = is_wide or width >= 72
        self._columns: dict[str, Column] = {}
        if is_wide:
            self._columns |= {"frame": Column("frame", 6), "chunk": Column("chunk", 6)}
        if roomy or not has_times:
            self._columns["offset"] = Column("offset", 7)
        if has_times:
            self._columns["time"] = Column("time", 8)
        if has_times and (roomy or width >= 56):
            self._columns["gap"] = Column("gap", 7)
        names = 19 if roomy else 16 if width >= 56 else 12
        self._columns["event"] = Column("event", names, is_right=False)
        self._columns["ix"] = Column("ix", 2)

    @property
    def heading(self) -> str:
        """The line with the names of the columns."""
        cells = (column.cell(column.heading) for column in self._columns.values())
        return f"{' '.join(cells)} text"

    def name(self, text: str) -> str:
        """Return the name of an event, cut to the width of its column.

        If there is not enough room, `content_block_start` is cut to `block_start`.
        """
        width = self._columns["event"].width
        return one_line(text if len(text) <= width else text.replace("content_", "", 1), width)

    def cells(self, values: dict[str, str]) -> list[tuple[str, str]]:
        """Return the name of each column, and its text with a space after it."""
        return [(name, f"{column.cell(values[name])} ") for name, column in self._columns.items()]


class Trace:
    """The trace of one stream.

    Args:
        console: the console to print to.
        reading: the reading whose results are traced. No chunk has been fed to it yet.
        options: what is shown.
    """

    def __init__(self, console: Console, reading: Reading, options: TraceOptions) -> None:
        self._console = console
        self._reading = reading
        self._options = options
        self._frames = reading.keep_frames()
        self._gaps = Gaps()
        # The types of the blocks by their indexes, and the number of the last frame.
        self._types: dict[int, str] = {}
        self._number = 0
        self._columns: Columns | None = None
        self._width = max(NARROWEST, console.width)
        self._results = 0
        self._shown = 0

    def add(self, result: FrameResult) -> None:
        """Print the line of a frame, then its violations and its error."""
        self._results += 1
        gap = self._gaps.before(result)
        event = result.event
        index = index_of(event)
        if isinstance(event, ContentBlockStartEvent):
            self._types[event.index] = type_of(event.content_block)
        if result.number is not None:
            self._number = result.number
        # Most frames need their bytes neither for their text nor for a quote.
        lines = self._frames.lines_at(result.offset) if event is None else []
        label = name_in(lines) if event is None else label_of(event)
        names = (
            label,
            "" if event is None else event.type,
            "" if index is None else str(index),
            "" if index is None else self._types.get(index, ""),
        )

        def whole_text() -> str:
            return data_in(lines) if event is None else payload_text(event)

        if not self._options.filter.accepts(
            result, number=self._number, names=names, text=whole_text
        ):
            return
        text = whole_text()
        self._shown += 1
        if self._options.as_json:
            self._print(Text(to_json(object_of(result, gap, text))))
            return
        self._line(result, gap, label if event is not None else f"({label})", text)
        if result.violations or result.error is not None:
            lines = self._frames.lines_at(result.offset)
        for violation in result.violations:
            self._violation(violation, result.offset, lines)
        if result.error is not None:
            self._error(result.error, lines)

    def end(self) -> None:
        """Print the verdict, after the number of violations that the machine has not kept."""
        if self._options.as_json:
            return
        machine = self._reading.machine
        if self._results and not self._shown:
            self._print(Text(f"none of the {self._results:,} frames matches"))
        more = machine.violation_count - len(machine.violations)
        if more:
            self._print(Text(f"\n{more} more violations were counted but not kept"))
        self._print(Text(""))
        reading = self._reading
        self._sentence(reading.outcome, "bold", indent=0)
        for remark in () if reading.failure else reading.remarks:
            self._sentence(remark, WARNING, indent=0)

    def _line(self, result: FrameResult, gap: float | None, label: str, text: str) -> None:
        columns = self._columns
        if columns is None:
            columns = self._columns = Columns(
                self._width, has_times=result.at is not None, is_wide=self._options.is_wide
            )
            self._print(Text(columns.heading, style="bold"))
        index = index_of(result.event)
        cells = columns.cells(
            {
                "frame": "-" if result.number is None else str(result.number),
                "chunk": str(result.chunk),
                "offset": "" if result.offset is None else str(result.offset),
                "time": seconds(result.at, 3),
                "gap": seconds(gap, 3),
                "event": columns.name(label),
                "ix": "" if index is None else fitting(str(index), 6),
            }
        )
        is_stall = gap is not None and gap > self._options.stall
        line = Text.assemble(
            *((cell, WARNING if name == "gap" and is_stall else "") for name, cell in cells)
        )
        if result.after is not result.before:
            # Before the text, because a long text is cut at the end.
            line.append(f"-> {result.after.name.lower()}  ", "bold")
        style = "dim" if is_thinking(result) else ""
        room = self._width - line.cell_len
        if self._options.is_wide:
            line.append(whole(text), style)
        elif room >= LEAST_TEXT:
            line.append(unbroken(text, room), style)
        line.rstrip()
        self._print(line)

    def _violation(self, violation: Violation, offset: int | None, lines: list[Line]) -> None:
        lost = violation.loses_content
        sentence = f"! {violation.code}: {violation.message}{'; content was lost' if lost else ''}"
        self._sentence(sentence, FAILURE if lost else WARNING)
        if violation.byte_offset != offset:
            # The violation is in lines before the frame. A blank line separates them from it.
            lines = self._frames.lines_at(violation.byte_offset)
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

    def _sentence(self, text: str, style: str, *, indent: int = MARGIN) -> None:
        # Continuation lines are indented further, so that no text of the stream can imitate the
        # first line of another sentence.
        further = indent + 2
        for line in Text(unbroken(text), style).wrap(self._console, self._width - further):
            line.rstrip()
            self._print(Text.assemble(" " * indent, line))
            indent = further

    def _quote(self, line: Line, position: int) -> None:
        """Print the part of a line around a position, with a caret under the position."""
        if not line.raw:
            return  # the violation is that something is missing
        width = self._width - MARGIN
        reach = CHARACTERS_IN_A_CELL * width + 1
        after = fitting(shown(line.text[position : position + reach]), width)
        # The text before the position gets half of the line, or more if the text after it is short.
        available = max(width // 2, width - cell_len(after))
        before = ending(shown(line.text[max(0, position - reach) : position]), available)
        self._print(Text(" " * MARGIN + fitting(before + after, width)))
        self._print(Text(" " * (MARGIN + cell_len(before)) + "^", style="bold red"))

    def _print(self, text: Text) -> None:
        if self._console.color_system is None:
            # Written directly: rich takes ten times as long, and a trace may have a million lines.
            self._console.file.write(f"{text.plain}\n")
            self._console.file.flush()
        else:
            self._console.print(text, soft_wrap=True)


def is_thinking(result: FrameResult) -> bool:
    event = result.event
    return isinstance(event, ContentBlockDeltaEvent) and isinstance(event.delta, ThinkingDelta)


def whole(text: str) -> str:
    """Return a text as one line that is not cut."""
    return unbroken(text, 2 * len(text) + 1)


def object_of(result: FrameResult, gap: float | None, text: str) -> dict[str, Any]:
    """Return a result as one JSON object."""
    event, error = result.event, result.error
    row: dict[str, Any] = {
        "time": result.at,
        "gap": gap,
        "offset": result.offset,
        "chunk": result.chunk,
        "frame": result.number,
        "state": result.after.name.lower(),
        "event": None if event is None else event.to_dict(),
    }
    if event is None:
        row["data"] = text
    if result.violations:
        row["violations"] = [
            {
                "code": str(violation.code),
                "message": violation.message,
                "offset": violation.byte_offset,
                "loses_content": violation.loses_content,
                "excerpt": violation.excerpt,
            }
            for violation in result.violations
        ]
    if error is not None:
        row["error"] = {
            "type": type(error).__name__,
            "code": str(error.code),
            "message": str(error),
            "position": error.position,
        }
    return row


def shown(text: str) -> str:
    """Return a part of a line as printable text on one line. Each space stays."""
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
