"""The table at the end of the live view: the report of a stream in, a summary out."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final

from rich import box
from rich.table import Table
from rich.text import Text

from sansio_stream.errors import Verdict
from sansio_stream.message import InputBlock
from sansio_stream.report import is_call, type_of

from ._text import unbroken

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sansio_stream.message import Message
    from sansio_stream.report import Report

    from ._reading import Reading

__all__ = ["Summary"]

TROUBLED: Final = "yellow"
MOST_LINES: Final = 40
STYLES: Final = {Verdict.COMPLETE: "bold green", Verdict.UNTERMINATED: "bold yellow"}


class Summary:
    """Makes the table of a reading. Create it before the first chunk is fed."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._observer = reading.observe()

    def table(self) -> Table:
        """Return the table of the finished reading."""
        table = Table(box=box.ROUNDED, show_header=False, border_style="dim")
        table.add_column(style="bold", no_wrap=True)
        table.add_column(overflow="fold")
        for name, text, style in self._rows():
            table.add_row(name, Text(text, style=style))
        return table

    def _rows(self) -> Iterator[tuple[str, str, str]]:
        """Return the name, the text and the style of each row.

        The text has no line ends except those between the lines of `_facts`.
        """
        for name, lines, style in self._facts():
            yield name, "\n".join(map(unbroken, lines)), style

    def _facts(self) -> Iterator[tuple[str, list[str], str]]:
        reading, report = self._reading, self._observer.report
        verdict = report.verdict
        style = STYLES.get(verdict, "bold red")
        yield "verdict", [f"{verdict.name}: {verdict.value}"], style
        failure = reading.failure
        if failure is not None and failure != verdict.value:
            yield "reason", [failure.removeprefix(f"{verdict.value}: ")], "red"
        elif failure is None:
            for remark in reading.remarks:
                yield "remark", [remark], TROUBLED
        header = reading.header
        if header.status is not None:
            request_id = header.headers.get("request-id", "")
            ok = 200 <= header.status < 300
            yield "HTTP", [f"{header.status}  {request_id}".strip()], "" if ok else "bold red"
        message = reading.machine.snapshot
        if message is not None:
            yield from message_facts(report, message)
        yield "received", [received(report)], ""
        codes = sorted(report.violations.items(), key=lambda each: each[1], reverse=True)
        violations = ", ".join(f"{count} {code}" for code, count in codes)
        more = report.violation_count - sum(report.violations.values())
        if more:
            violations += f", {more} more"
        yield "violations", [violations or "none"], TROUBLED if violations else ""


def message_facts(report: Report, message: Message) -> Iterator[tuple[str, list[str], str]]:
    """Return the rows about a message. A report has neither its stop_sequence nor its inputs."""
    yield "message", [report.message_id or "no id"], ""
    yield "model", [report.model or "unknown"], ""
    stop = report.stop_reason or "none"
    if message.stop_sequence is not None:
        stop += f" {message.stop_sequence!r}"
    yield "stop reason", [stop], ""
    shown = first_of(f"{count} {kind}" for kind, count in report.blocks.items())
    yield "blocks", [", ".join(shown) or "none"], ""
    usage = (f"{count:>7,}  {name}" for name, count in report.usage.items())
    yield "usage", first_of(usage) or ["unknown"], ""
    yield from (("input", [line], "red") for line in first_of(unusable_inputs(message)))
    if report.first_content is not None:
        timing = f"first token after {report.first_content:.2f} s"
        if report.output_tokens_per_second is not None:
            timing += f", then {report.output_tokens_per_second:,.1f} output tokens per second"
        yield "timing", [timing], ""


def first_of(lines: Iterable[str]) -> list[str]:
    """Return the first 40 lines, and a line with the number of the others, if there are any."""
    every = iter(lines)
    shown = list(itertools.islice(every, MOST_LINES))
    more = sum(1 for _ in every)
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
