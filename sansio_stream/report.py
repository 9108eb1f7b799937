"""Report: what became of one stream, as one row of plain values.

Knows no bytes and no events: `observer` fills it in, tables and logs show it. `REPORT_COLUMNS` says
of each column what it means; the table of the documentation is made from it.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, TypeGuard, cast

import attrs

from .errors import Verdict
from .message import InputBlock, UnknownBlock

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .message import ContentBlock, Message, Usage

__all__ = ["REPORT_COLUMNS", "Ended", "Report", "ReportColumn", "Stall"]

Ended: TypeAlias = Literal["eof", "error", "reader", "pending"]
"""How a body ended: by itself, by an error of its connection, because its reader left; not yet."""


@attrs.frozen
class Stall:
    """A time in which a stream brought no content, and then went on.

    Attributes:
        at: when the content came that ended it, in seconds.
        seconds: how long nothing had come.
        event_number: which event ended it, from 1.
        byte_offset: where the frame of that event begins in the body.
    """

    at: float
    seconds: float
    event_number: int
    byte_offset: int | None


@attrs.frozen
class ReportColumn:
    """One column of a table of reports.

    Attributes:
        name: the attribute of `Report`, and the member of `to_dict()`.
        type: string, int, float, bool, `map<string, int>` or `list<struct>`; all may be null but
            maps, lists, counts and bools.
        unit: what a number counts or measures; "" where it is no number.
        meaning: one sentence.
        otel: the name of OpenTelemetry's conventions for the same value, "" where there is none.
    """

    name: str
    type: str
    unit: str
    meaning: str
    otel: str = ""


def column(type: str, meaning: str, *, unit: str = "", otel: str = "", **options: Any) -> Any:
    """Return a field of `Report` that knows what stands in it."""
    return attrs.field(
        metadata={"type": type, "meaning": meaning, "unit": unit, "otel": otel}, **options
    )


def text(meaning: str, otel: str = "") -> Any:
    """Return a field that holds a text or None."""
    return column("string", meaning, otel=otel, default=None)


def count(meaning: str, unit: str) -> Any:
    """Return a field that holds a count."""
    return column("int", meaning, unit=unit, default=0)


def counts(meaning: str, unit: str) -> Any:
    """Return a field that holds counts by name. It takes no part in the hash."""
    return column("map<string, int>", meaning, unit=unit, factory=dict[str, int], hash=False)


def seconds(meaning: str, otel: str = "") -> Any:
    """Return a field that holds seconds, or None where nothing is known of them."""
    return column("float", meaning, unit="s", otel=otel, default=None)


@attrs.frozen(kw_only=True)
class Report:
    """What became of one stream: every value is final once `ended` is not "pending".

    Times are those that the observer was given with the chunks: a time is that of the chunk in
    which something came. All of them are None where it was given none. "Content" is a delta that is
    neither empty nor unknown, or a block that begins with something in it.
    """

    verdict: Verdict = column(
        "string", "how the stream ended, by its name", default=Verdict.PENDING
    )
    ended: Ended = column(
        "string", "how the body ended: eof, error, reader or pending", default="pending"
    )
    http_status: int | None = column(
        "int", "the status of the response", otel="http.response.status_code", default=None
    )
    request_id: str | None = text("the server's name for the request")
    message_id: str | None = text("the id of the message", "gen_ai.response.id")
    model: str | None = text("the model that answered", "gen_ai.response.model")
    stop_reason: str | None = text(
        "why the model stopped", "gen_ai.response.finish_reasons (a list of it)"
    )
    error_type: str | None = text(
        "the type of the server's error, or the class of the exception that ended the stream",
        "error.type",
    )
    error_message: str | None = text("the sentence of that error, on one line, cut")

    first_loss_code: str | None = text("the first violation by which content was lost")
    first_loss_offset: int | None = column(
        "int", "where its frame begins in the body", unit="bytes", default=None
    )
    first_violation_code: str | None = text("the first violation of any kind")
    first_violation_offset: int | None = column(
        "int", "where its frame begins in the body", unit="bytes", default=None
    )
    violation_count: int = count("all violations", "violations")
    violations: dict[str, int] = counts(
        "by code, those that were kept: the first `Limits.violations`", "violations"
    )

    bytes: int = count("the length of the body, after content-decoding", "bytes")
    chunks: int = count("how many pieces it came in; empty ones do not count", "chunks")
    events: int = count(
        "the events of the message, those that were kept out of it left out", "events"
    )
    blocks: dict[str, int] = counts("the content blocks by type", "blocks")
    tool_calls_complete: int = count(
        "calls of tools, the server's and those of MCP servers among them, whose input is whole",
        "calls",
    )
    tool_calls_broken: int = count("calls of tools whose input is invalid or was cut", "calls")
    usage: dict[str, int] = counts(
        "every counter of the usage; those of nested objects by their path, with dots",
        "mostly tokens",
    )
    usage_is_final: bool = column(
        "bool",
        "whether the message has its stop_reason: before, usage is that of the start",
        default=False,
    )

    first_byte: float | None = seconds(
        "when the first byte came", "gen_ai.client.operation.time_to_first_chunk"
    )
    first_event: float | None = seconds("when the first event came")
    first_content: float | None = seconds("when the first content came")
    first_text: float | None = seconds("when the first text came that is no thinking")
    last_content: float | None = seconds("when the last content came")
    end: float | None = seconds("when the body ended", "gen_ai.client.operation.duration")
    gap_p50: float | None = seconds(
        "the median of the times between one content event and the next, by nearest rank"
    )
    gap_p95: float | None = seconds("their 95th percentile, by nearest rank")
    gap_max: float | None = seconds("the longest of them")
    stall_count: int = count("how many of them were longer than a stall begins", "stalls")
    stalls: tuple[Stall, ...] = column(
        "list<struct>", "the first 100 of these: at, seconds, event_number, byte_offset", default=()
    )
    output_tokens_per_second: float | None = column(
        "float",
        "output_tokens by the time from the first content to the last; null without final usage or"
        " with less than two content events",
        unit="tokens/s",
        default=None,
    )

    def to_dict(self) -> dict[str, Any]:
        """Return the row as JSON values, in the order of `REPORT_COLUMNS`."""
        row = attrs.asdict(self)
        return {**row, "verdict": self.verdict.name, "stalls": list(row["stalls"])}


REPORT_COLUMNS: Final = tuple(
    ReportColumn(each.name, **each.metadata) for each in attrs.fields(Report)
)
"""The columns of a report, in their order."""


def facts_of(message: Message) -> dict[str, Any]:
    """Return what a report says of a message."""
    calls = Counter(block.input_state == "complete" for block in message.content if is_call(block))
    return {
        "message_id": message.id,
        "model": message.model,
        "stop_reason": message.stop_reason,
        "blocks": dict(Counter(map(type_of, message.content))),
        "tool_calls_complete": calls[True],
        "tool_calls_broken": calls[False],
        "usage": dict(counters(message.usage)),
        "usage_is_final": message.stop_reason is not None,
    }


def type_of(block: ContentBlock) -> str:
    """Return the type of a block as the wire has it."""
    return block.wire_type if isinstance(block, UnknownBlock) else block.type


def is_call(block: object) -> TypeGuard[InputBlock]:
    """Whether a block calls a tool: its class has an input that is streamed."""
    return isinstance(block, InputBlock) and not isinstance(block, UnknownBlock)


def counters(usage: Usage) -> Iterator[tuple[str, int]]:
    """Return every whole number that usage holds, those of nested objects by their path."""
    return counters_in(usage.to_dict(), "")


def counters_in(members: dict[str, Any], prefix: str) -> Iterator[tuple[str, int]]:
    """Return the counters of an object. Its depth is bounded: `Limits.depth`."""
    for name, value in members.items():
        if isinstance(value, dict):
            yield from counters_in(cast("dict[str, Any]", value), f"{prefix}{name}.")
        elif isinstance(value, int) and not isinstance(value, bool):
            yield f"{prefix}{name}", value
