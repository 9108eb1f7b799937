"""The overview of many streams: rows in, tables out. The memory does not grow with the rows."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Final

import attrs
from rich import box
from rich.cells import cell_len, set_cell_size
from rich.table import Table
from rich.text import Text

from sansio_stream.errors import Verdict

from ._counts import NameCounts, Percentiles
from ._summary import blank_table
from ._text import ending, fitting, one_line, seconds, unbroken

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from sansio_stream.report import Report

    from ._rows import ReportRow

__all__ = ["TIMINGS", "USABLE", "Overview", "line_of_row", "row_heading", "status_of"]

MOST_NAMES: Final = 10
"""The number of models, codes and types that are listed. The others are only counted."""

MOST_WORST: Final = 10

BIGGEST: Final = 2**63
"""A counter of a usage that has this size or more is not summed."""

PERCENTS: Final = (50, 95, 99, 100)

USABLE: Final = frozenset({Verdict.COMPLETE, Verdict.UNTERMINATED})
"""The verdicts of streams that gave a usable message."""

TIMINGS: Final = {
    "first byte": "first_byte",
    "first token": "first_content",
    "first text": "first_text",
    "longest gap": "gap_max",
    "end": "end",
    "tokens/s": "output_tokens_per_second",
}
"""The columns of a report whose percentiles are shown, by their names for people."""


def status_of(row: ReportRow) -> int:
    """Return the exit status for a row: 0 if the stream gave a usable message, else 1 or 2."""
    if row.unreadable is not None or row.report is None:
        return 2
    return 0 if row.report.verdict in USABLE else 1


def reason_of_row(row: ReportRow) -> str:
    """Return what is wrong with a stream in a few words, or "" if nothing is."""
    report = row.report
    if report is None or row.unreadable is not None:
        return row.unreadable or "nothing was read"
    parts: list[str] = []
    if report.ended == "error" and report.error_message:
        parts.append(report.error_message)  # the recorded error has its class in its text
    elif report.error_type is not None:
        parts.append(f"{report.error_type}: {report.error_message}")
    if report.first_loss_code is not None:
        parts.append(f"lost content: {report.first_loss_code}")
    if report.ended == "pending":
        parts.append("the recording is cut off")
    if report.tool_calls_broken:
        parts.append(counted_as(report.tool_calls_broken, "broken tool call"))
    if report.stall_count:
        stalls = counted_as(report.stall_count, "stall")
        parts.append(f"{stalls}, the longest {seconds(report.gap_max)} s")
    return ", ".join(parts)


def counted_as(count: int, word: str) -> str:
    return f"{count:,} {word}{'s' * (count != 1)}"


# One line for each row. A line is printed before the next row is known, so the widths are fixed.

VERDICT_WIDTH: Final = max(len(verdict.name) for verdict in Verdict)


def row_heading(width: int) -> str:
    """Return the line above the lines of the rows."""
    return _line(width, "stream", ("verdict", "first", "gap", "tokens"))


def line_of_row(row: ReportRow, width: int) -> str:
    """Return the line of a row. It has at most `width` cells if `width` is at least 40.

    The line has the name of the stream and the verdict. From 64 cells on, it also has the time of
    the first token, the longest gap and the output tokens. What is wrong with the stream follows if
    there is room for it.
    """
    report = row.report
    if report is None or row.unreadable is not None:
        return _line(width, row.name, ("unreadable", "", "", ""), reason_of_row(row))
    tokens = report.usage.get("output_tokens")
    cells = (
        report.verdict.name,
        seconds(report.first_content),
        seconds(report.gap_max),
        "" if tokens is None else fitting(str(tokens), 7),
    )
    return _line(width, row.name, cells, reason_of_row(row))


def _line(width: int, name: str, cells: tuple[str, str, str, str], reason: str = "") -> str:
    verdict, first, gap, tokens = cells
    if width < 64:
        # Room for the name and the verdict only.
        return f"{name_cell(name, width - VERDICT_WIDTH - 2)}  {verdict}".rstrip()
    name_width = min(40, width - VERDICT_WIDTH - 24)
    line = (
        f"{name_cell(name, name_width)}  {verdict:<{VERDICT_WIDTH}} {first:>6} {gap:>6} {tokens:>7}"
    )
    room = width - cell_len(line) - 2
    return f"{line}  {one_line(reason, room)}".rstrip() if room >= 8 else line.rstrip()


def name_cell(name: str, width: int) -> str:
    """Return a name in exactly `width` cells. A long one is cut at its beginning."""
    text = ending(unbroken(name), width)
    return set_cell_size(text, width)


# The overview.


@attrs.frozen(order=True)
class Rank:
    """How bad a stream is. A higher rank is worse. The attributes are compared in this order.

    Attributes:
        severity: 3 if the stream is unreadable, 2 if it gave no usable message, 1 if the message
            has no message_stop or a broken tool call, 0 for stalls and violations.
        pause: the longest gap in seconds.
        wait: the time of the first token in seconds.
        number: the number of the stream, so that no two ranks are equal.
    """

    severity: int
    pause: float
    wait: float
    number: int


class Overview:
    """The overview of the rows that were added."""

    def __init__(self, *, stall: float) -> None:
        self._stall = stall
        self._count = 0
        self._verdicts = NameCounts()
        self._losses = NameCounts()
        self._errors = NameCounts()
        self._violations = NameCounts()
        self._models = NameCounts()
        self._usage = NameCounts()
        self._stalls = 0
        self._stalled = 0
        self._broken_calls = 0
        self._timings = {name: Percentiles() for name in TIMINGS}
        self._worst: list[tuple[Rank, str, str, str]] = []

    def add(self, row: ReportRow) -> None:
        """Add a row."""
        self._count += 1
        report = row.report
        if report is None or row.unreadable is not None:
            self._verdicts.add("unreadable")
        else:
            self._add_report(report)
        self._rank(row)

    def _add_report(self, report: Report) -> None:
        self._verdicts.add(report.verdict.name)
        if report.first_loss_code is not None:
            self._losses.add(report.first_loss_code)
        if report.error_type is not None:
            self._errors.add(report.error_type)
        if report.verdict is not Verdict.NOT_AN_EVENT_STREAM:
            # In a body that is not an event stream, each line is a violation, so the number means
            # nothing.
            for code, count in report.violations.items():
                self._violations.add(code, count)
        if report.model is not None:
            self._models.add(report.model)
        # A dot marks a nested counter, which is a part of another counter or does not count tokens.
        # Huge numbers are left out: Python cannot print a sum with thousands of digits.
        for name, count in report.usage.items():
            if "." not in name and 0 < count < BIGGEST:
                self._usage.add(name, count)
        self._stalls += report.stall_count
        self._stalled += report.stall_count > 0
        self._broken_calls += report.tool_calls_broken
        for name, values in self._timings.items():
            value = getattr(report, TIMINGS[name])
            if value is not None:
                values.add(value)

    def _rank(self, row: ReportRow) -> None:
        reason = reason_of_row(row)
        report = row.report
        if report is None or row.unreadable is not None:
            rank, verdict = Rank(3, 0.0, 0.0, self._count), "unreadable"
        else:
            if report.verdict not in USABLE:
                severity = 2
            elif report.tool_calls_broken or report.verdict is Verdict.UNTERMINATED:
                severity = 1
            elif report.stall_count or report.violation_count:
                severity = 0
            else:
                return
            rank = Rank(severity, report.gap_max or 0.0, report.first_content or 0.0, self._count)
            verdict = report.verdict.name
            if not reason and report.violation_count:
                reason = counted_as(report.violation_count, "violation")
        entry = (rank, row.name, verdict, reason)
        if len(self._worst) < MOST_WORST:
            heapq.heappush(self._worst, entry)
        else:
            heapq.heappushpop(self._worst, entry)

    # Printing.

    def print(self, console: Console) -> None:
        """Print the overview."""
        table = blank_table()
        for name, lines in self._facts():
            table.add_row(name, Text("\n".join(map(unbroken, lines))))
        console.print(table)
        if any(self._timings.values()):
            console.print(self._timing_table())
        if self._worst:
            console.print(Text("the worst streams", style="bold"))
            for _, name, verdict, reason in sorted(self._worst, reverse=True):
                sentence = f"{name}: {verdict}{f', {reason}' if reason else ''}"
                for line in Text(unbroken(sentence)).wrap(console, max(console.width - 4, 16)):
                    line.rstrip()
                    console.print(Text.assemble("  ", line), soft_wrap=True)

    def _facts(self) -> Iterator[tuple[str, list[str]]]:
        yield "streams", [f"{self._count:,}"]
        yield "verdicts", counted(self._verdicts)
        if self._losses:
            yield "losses", counted(self._losses)
        if self._errors:
            yield "errors", counted(self._errors)
        if self._violations:
            yield "violations", counted(self._violations)
        if self._broken_calls:
            yield "tool calls", [f"{self._broken_calls:,} broken"]
        if self._models:
            yield "models", counted(self._models)
        if self._usage:
            yield "tokens", counted(self._usage)
        if self._stalls:
            streams = counted_as(self._stalled, "stream")
            yield "stalls", [f"{self._stalls:,} longer than {self._stall:g} s, in {streams}"]

    def _timing_table(self) -> Table:
        table = Table(box=box.ROUNDED, border_style="dim", pad_edge=True)
        table.add_column("seconds", style="bold", no_wrap=True)
        for percent in PERCENTS:
            table.add_column("max" if percent == 100 else f"p{percent}", justify="right")
        table.add_column("streams", justify="right")
        for name, values in self._timings.items():
            if values:
                cells = (seconds(value) for value in values.at(*PERCENTS))
                table.add_row(name, *cells, f"{len(values):,}")
        return table


def counted(counts: NameCounts) -> list[str]:
    """Return a line for each of the most frequent names, and one for the number of the others."""
    lines = [f"{count:>9,}  {name}" for name, count in counts.most_common(MOST_NAMES)]
    more = len(counts) - len(lines)
    return [*lines, f"{more:,} more names"] if more > 0 else lines
