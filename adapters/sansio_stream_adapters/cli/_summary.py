"""The table at the end of the live view: the result of each frame in, a summary out."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import TYPE_CHECKING, Final

from rich import box
from rich.table import Table
from rich.text import Text

from sansio_stream.errors import Verdict
from sansio_stream.events import ContentBlockDeltaEvent
from sansio_stream.message import InputBlock
from sansio_stream.report import counters, is_call, type_of

from ._text import unbroken

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sansio_stream.message import Message

    from ._replay import FrameResult, Reading

__all__ = ["Summary"]

TROUBLED: Final = "yellow"
MOST_LINES: Final = 40
MOST_TOKENS: Final = 10**15
"""The most tokens for which a rate is computed. No answer has more.

An integer with hundreds of digits cannot be divided by a float.
"""
STYLES: Final = {Verdict.COMPLETE: "bold green", Verdict.UNTERMINATED: "bold yellow"}


class Summary:
    """Collects the data for the table. Pass every result to `add`, then call `table`."""

    def __init__(self) -> None:
        self._codes: Counter[str] = Counter()
        self._first: float | None = None
        self._last: float | None = None

    def add(self, result: FrameResult) -> None:
        """Count the violations of a result, and note the time of its content."""
        self._codes.update(violation.code.value for violation in result.violations)
        if isinstance(result.event, ContentBlockDeltaEvent):
            self._last = result.at
            if self._first is None:
                self._first = result.at

    def table(self, reading: Reading) -> Table:
        """Return the table of a finished reading."""
        table = Table(box=box.ROUNDED, show_header=False, border_style="dim")
        table.add_column(style="bold", no_wrap=True)
        table.add_column(overflow="fold")
        for name, text, style in self._rows(reading):
            table.add_row(name, Text(text, style=style))
        return table

    def _rows(self, reading: Reading) -> Iterator[tuple[str, str, str]]:
        """Return the name, the text and the style of each row.

        The text has no line ends except those between the lines of `_facts`.
        """
        for name, lines, style in self._facts(reading):
            yield name, "\n".join(map(unbroken, lines)), style

    def _facts(self, reading: Reading) -> Iterator[tuple[str, list[str], str]]:
        machine = reading.machine
        verdict = machine.verdict
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
        if machine.snapshot is not None:
            yield from self._message_facts(machine.snapshot)
        yield "received", [received(reading)], ""
        violations = ", ".join(f"{count} {code}" for code, count in self._codes.most_common())
        more = machine.violation_count - self._codes.total()
        if more:
            violations += f", {more} more"
        yield "violations", [violations or "none"], TROUBLED if violations else ""

    def _message_facts(self, message: Message) -> Iterator[tuple[str, list[str], str]]:
        yield "message", [message.id or "no id"], ""
        yield "model", [message.model or "unknown"], ""
        stop = message.stop_reason or "none"
        if message.stop_sequence is not None:
            stop += f" {message.stop_sequence!r}"
        yield "stop reason", [stop], ""
        kinds = Counter(type_of(block) for block in message.content)
        shown = first_of(f"{count} {kind}" for kind, count in kinds.items())
        yield "blocks", [", ".join(shown) or "none"], ""
        usage = (f"{count:>7,}  {name}" for name, count in counters(message.usage))
        yield "usage", first_of(usage) or ["unknown"], ""
        yield from (("input", [line], "red") for line in first_of(unusable_inputs(message)))
        yield from self._timing(message)

    def _timing(self, message: Message) -> Iterator[tuple[str, list[str], str]]:
        if self._first is None or self._last is None:
            return
        timing = f"first token after {self._first:.2f} s"
        # Until the message_delta, output_tokens only counts the tokens at the start.
        tokens = None if message.stop_reason is None else message.usage.output_tokens
        if tokens is not None and self._last > self._first and tokens <= MOST_TOKENS:
            timing += f", then {tokens / (self._last - self._first):,.1f} output tokens per second"
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


def received(reading: Reading) -> str:
    machine = reading.machine
    parts = (
        (machine.events_taken, "event"),
        (machine.bytes_received, "byte"),
        (reading.chunks_fed, "chunk"),
    )
    return ", ".join(f"{count:,} {word}{'s' * (count != 1)}" for count, word in parts)
