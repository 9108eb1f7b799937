"""The table that summarises a stream: its report and its message in, a table out."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final, TypeAlias

import attrs
from rich import box
from rich.table import Table
from rich.text import Text

from sansio_stream.errors import Verdict
from sansio_stream.message import InputBlock
from sansio_stream.report import is_call, type_of

from ._text import seconds, unbroken

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sansio_stream.message import Message
    from sansio_stream.report import Report, Stall

__all__ = ["Outcome", "blank_table", "first_of", "summary_table"]

TROUBLED: Final = "yellow"
BAD: Final = "bold red"
MOST_LINES: Final = 40
STYLES: Final = {
    Verdict.COMPLETE: "bold green",
    Verdict.UNTERMINATED: "bold yellow",
    Verdict.PENDING: "bold yellow",
}

Row: TypeAlias = tuple[str, list[str], str]
"""The name of a row, its lines, and their style."""


@attrs.frozen
class Outcome:
    """How a stream ended, in words.

    Attributes:
        failure: the reason why there is no usable message, or None if there is one.
        remarks: sentences about a stream that gave a message although its end was irregular.
    """

    failure: str | None = None
    remarks: tuple[str, ...] = ()


def blank_table() -> Table:
    """Return a table of names and values without rows."""
    table = Table(box=box.ROUNDED, show_header=False, border_style="dim")
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    return table


def summary_table(
    report: Report, message: Message | None, outcome: Outcome, *, stall: float = 2.0
) -> Table:
    """Return the table of one stream.

    Args:
        report: the report of the stream.
        message: the message, which has what a report does not have: the stop_sequence and the
            inputs. None if there is none.
        outcome: how the stream ended.
        stall: the threshold of the observer that made the report, in seconds.
    """
    table = blank_table()
    for name, lines, style in rows_of(report, message, outcome, stall):
        # `unbroken`: text of the stream must not start a line of its own in the table.
        table.add_row(name, Text("\n".join(map(unbroken, lines)), style=style))
    return table


def rows_of(
    report: Report, message: Message | None, outcome: Outcome, stall: float
) -> Iterator[Row]:
    verdict, failure = report.verdict, outcome.failure
    yield "verdict", [f"{verdict.name}: {verdict.value}"], STYLES.get(verdict, BAD)
    if failure is not None and failure != verdict.value:
        yield "reason", [failure.removeprefix(f"{verdict.value}: ")], "red"
    for remark in outcome.remarks:
        yield "remark", [remark], TROUBLED
    if report.first_loss_code is not None:
        place = "" if report.first_loss_offset is None else f" at byte {report.first_loss_offset:,}"
        yield "lost", [f"content was first lost by {report.first_loss_code}{place}"], BAD
    if report.http_status is not None:
        is_good = 200 <= report.http_status < 300
        line = f"{report.http_status}  {report.request_id or ''}".strip()
        yield "HTTP", [line], "" if is_good else BAD
    if message is not None:
        yield from message_rows(report, message)
    yield from time_rows(report, stall)
    yield "received", [received(report)], ""
    codes = sorted(report.violations.items(), key=lambda each: each[1], reverse=True)
    violations = [f"{count:>7,}  {code}" for code, count in codes]
    more = report.violation_count - sum(report.violations.values())
    if more:
        violations.append(f"{more:>7,}  more")
    yield "violations", violations or ["none"], TROUBLED if violations else ""


def message_rows(report: Report, message: Message) -> Iterator[Row]:
    yield "message", [report.message_id or "no id"], ""
    yield "model", [report.model or "unknown"], ""
    stop = report.stop_reason or "none"
    if message.stop_sequence is not None:
        stop += f" {message.stop_sequence!r}"
    yield "stop reason", [stop], ""
    shown = first_of(f"{count} {kind}" for kind, count in report.blocks.items())
    yield "blocks", [", ".join(shown) or "none"], ""
    calls = (report.tool_calls_complete, "complete"), (report.tool_calls_broken, "broken")
    states = [f"{count} {state}" for count, state in calls if count]
    if states:
        yield "tool calls", [", ".join(states)], TROUBLED if report.tool_calls_broken else ""
    yield from (("input", [line], "red") for line in first_of(unusable_inputs(message)))
    # The usage of an answer has many counters, and most of them are 0.
    usage = [f"{count:>7,}  {name}" for name, count in report.usage.items() if count]
    yield "usage", first_of(usage) or ["nothing" if report.usage else "unknown"], ""


def time_rows(report: Report, stall: float) -> Iterator[Row]:
    if report.first_content is not None:
        line = f"first token after {seconds(report.first_content)} s"
        if report.output_tokens_per_second is not None:
            line += f", then {report.output_tokens_per_second:,.1f} output tokens per second"
        yield "timing", [line, *other_times(report)], ""
    elif report.end is not None and report.end > 0:
        yield "timing", [*other_times(report)], ""
    if report.gap_max is not None:
        gaps = (
            f"half of them up to {seconds(report.gap_p50, 3)} s,"
            f" 95 % up to {seconds(report.gap_p95, 3)} s,"
            f" the longest {seconds(report.gap_max, 3)} s"
        )
        yield "gaps", [gaps], ""
    if report.stall_count:
        lines = [stall_line(each) for each in report.stalls]
        more = report.stall_count - len(lines)
        head = f"{report.stall_count:,} longer than {stall:g} s"
        yield "stalls", [head, *first_of(lines, more=more)], TROUBLED


def other_times(report: Report) -> Iterator[str]:
    """Yield one line with the other times that are known, or nothing if none is."""
    times = {
        "first byte": report.first_byte,
        "first text": None if report.first_text == report.first_content else report.first_text,
        "last token": report.last_content,
        "end": report.end,
    }
    known = [f"{name} {seconds(at)} s" for name, at in times.items() if at is not None]
    if known:
        yield ", ".join(known)


def stall_line(stall: Stall) -> str:
    offset = "" if stall.byte_offset is None else f", byte {stall.byte_offset:,}"
    pause, until = seconds(stall.seconds), seconds(stall.at)
    return f"{pause} s until {until} s (event {stall.event_number:,}{offset})"


def first_of(lines: Iterable[str], *, more: int = 0) -> list[str]:
    """Return the first 40 lines, and a line with the number of the others, if there are any.

    `more` is the number of further lines that are not in `lines`.
    """
    every = iter(lines)
    shown = list(itertools.islice(every, MOST_LINES))
    more += sum(1 for _ in every)
    return [*shown, f"{more:,} more"] if more else shown


def unusable_inputs(message: Message) -> Iterator[str]:
    """Return a line for each block whose tool input is incomplete or invalid."""
    for index, block in enumerate(message.content):
        kind = type_of(block)
        if (
            isinstance(block, InputBlock)
            and block.input_state != "complete"
            and (block.input_json or is_call(block))
        ):
            # Some classes of calls have no member `name`.
            name = getattr(block, "name", kind)
            yield f"{name} (content[{index}]) is {block.input_state}"


def received(report: Report) -> str:
    """Return how much was received, in words."""
    parts = ((report.events, "event"), (report.bytes, "byte"), (report.chunks, "chunk"))
    return ", ".join(f"{count:,} {word}{'s' * (count != 1)}" for count, word in parts)
