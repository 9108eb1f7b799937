"""Report: the outcome of one stream, as one row of plain values for a table or a log.

`observer` fills in a report. `REPORT_COLUMNS` describes each column. The table in the documentation
is generated from it.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, TypeGuard, cast

import attrs

from .errors import Verdict
from .frozen import HashableValue
from .message import InputBlock, UnknownBlock

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .message import ContentBlock, Message, Usage

__all__ = ["REPORT_COLUMNS", "Ended", "Report", "ReportColumn", "Stall"]

Ended: TypeAlias = Literal["eof", "error", "reader", "pending"]
"""How a body ended.

"eof" means that it ended normally, "error" that the connection failed, "reader" that its reader
stopped reading, and "pending" that it has not ended yet.
"""


@attrs.frozen(eq=False, repr=False)
class Stall(HashableValue):
    """A pause in which a stream brought no content, and after which it went on.

    Attributes:
        at: the time at which content came again, in seconds since the request was sent.
        seconds: the length of the pause.
        event_number: the number of the event that ended the pause, counted from 1.
        byte_offset: the offset in the body at which the frame of that event begins.
    """

    at: float
    seconds: float
    event_number: int
    byte_offset: int | None


@attrs.frozen(eq=False, repr=False)
class ReportColumn(HashableValue):
    """The description of one column in a table of reports.

    Attributes:
        name: the name of the attribute of `Report` and of the member of `to_dict()`.
        type: string, int, float, bool, `map<string, int>` or `list<struct>`. Maps, lists, bools,
            counts, `verdict` and `ended` are never null; all other values may be null.
        unit: the unit of a number. "" if the value is not a number.
        meaning: the meaning of the value, in one sentence.
        otel: the name of the same value in OpenTelemetry's conventions. "" if they have none.
    """

    name: str
    type: str
    unit: str
    meaning: str
    otel: str = ""


def column(type: str, meaning: str, *, unit: str = "", otel: str = "", **options: Any) -> Any:
    """Return an attrs field whose metadata describe the column."""
    return attrs.field(
        metadata={"type": type, "meaning": meaning, "unit": unit, "otel": otel}, **options
    )


def text(meaning: str, otel: str = "") -> Any:
    """Return a field for a string or None."""
    return column("string", meaning, otel=otel, default=None)


def count(meaning: str, unit: str) -> Any:
    """Return a field for a count, which is 0 by default."""
    return column("int", meaning, unit=unit, default=0)


def counts(meaning: str, unit: str) -> Any:
    """Return a field for counts by name. It is left out of the hash, because a dict has none."""
    return column("map<string, int>", meaning, unit=unit, factory=dict[str, int], hash=False)


def seconds(meaning: str, otel: str = "") -> Any:
    """Return a field for a time in seconds, or None if the time is not known."""
    return column("float", meaning, unit="s", otel=otel, default=None)


@attrs.frozen(eq=False, repr=False, kw_only=True)
class Report(HashableValue):
    """The outcome of one stream. Every value is final once `ended` is not "pending".

    All times are seconds since the request was sent, as the observer was given them. The time of an
    event is the time of the chunk that completed it. All times are None if the observer was given
    none.

    "Content" means a delta that is neither empty nor unknown, or a block that starts with content.

    `REPORT_COLUMNS` describes each attribute.
    """

    verdict: Verdict = column(
        "string", "the name of the verdict: how the stream ended", default=Verdict.PENDING
    )
    ended: Ended = column(
        "string", "how the body ended: eof, error, reader or pending", default="pending"
    )
    http_status: int | None = column(
        "int", "the HTTP status of the response", otel="http.response.status_code", default=None
    )
    request_id: str | None = text("the id that the server gave the request")
    message_id: str | None = text("the id of the message", "gen_ai.response.id")
    model: str | None = text("the model that answered", "gen_ai.response.model")
    stop_reason: str | None = text(
        "why the model stopped", "gen_ai.response.finish_reasons (a list of it)"
    )
    error_type: str | None = text(
        "the type of the server's error, or the class of the exception that ended the stream"
        " or its decoding",
        "error.type",
    )
    error_message: str | None = text(
        "the message of that error, on one line and cut to 1,024 characters"
    )

    first_loss_code: str | None = text("the code of the first violation that lost content")
    first_loss_offset: int | None = column(
        "int",
        "the offset in the body at which the frame of that violation begins",
        unit="bytes",
        default=None,
    )
    first_violation_code: str | None = text("the code of the first violation of any kind")
    first_violation_offset: int | None = column(
        "int",
        "the offset in the body at which the frame of the first violation begins",
        unit="bytes",
        default=None,
    )
    violation_count: int = count("the number of all violations", "violations")
    violations: dict[str, int] = counts(
        "the number of kept violations by code; only the first `Limits.violations` are kept",
        "violations",
    )

    bytes: int = count(
        "the length of the body after content-decoding; an observer with a decoder decodes no more"
        " once it exceeds `Limits.total_bytes`",
        "bytes",
    )
    chunks: int = count("the number of chunks that were not empty", "chunks")
    events: int = count("the number of events, without those that were skipped", "events")
    blocks: dict[str, int] = counts("the number of content blocks by type", "blocks")
    tool_calls_complete: int = count(
        "the number of tool calls with a complete input, including calls of server and MCP tools",
        "calls",
    )
    tool_calls_broken: int = count(
        "the number of tool calls whose input is invalid or incomplete", "calls"
    )
    usage: dict[str, int] = counts(
        "all counters of the usage; a counter in a nested object is named by its path with dots",
        "mostly tokens",
    )
    usage_is_final: bool = column(
        "bool",
        "whether the message has its stop_reason; without one, the usage is that of its start",
        default=False,
    )

    first_byte: float | None = seconds(
        "the time of the first byte", "gen_ai.client.operation.time_to_first_chunk"
    )
    first_event: float | None = seconds("the time of the first event")
    first_content: float | None = seconds("the time of the first content")
    first_text: float | None = seconds("the time of the first text; thinking does not count")
    last_content: float | None = seconds("the time of the last content so far")
    end: float | None = seconds(
        "the time of the end of the body", "gen_ai.client.operation.duration"
    )
    gap_p50: float | None = seconds(
        "the median gap between one content event and the next, by nearest rank"
    )
    gap_p95: float | None = seconds("the 95th percentile of these gaps, by nearest rank")
    gap_max: float | None = seconds("the longest of these gaps")
    stall_count: int = count(
        "the number of stalls: gaps longer than the threshold of the observer", "stalls"
    )
    stalls: tuple[Stall, ...] = column(
        "list<struct>",
        "the first 100 stalls, each with at, seconds, event_number and byte_offset",
        default=(),
    )
    output_tokens_per_second: float | None = column(
        "float",
        "the counter output_tokens divided by last_content - first_content; null if usage_is_final"
        " is false, if the usage has no such counter, if last_content is not later than"
        " first_content (as with fewer than two content events), or if no finite float holds it",
        unit="tokens/s",
        default=None,
    )

    def to_dict(self) -> dict[str, Any]:
        """Return the report as a dict of JSON values, in the order of `REPORT_COLUMNS`."""
        # `attrs.asdict` copies in depth, and takes three times as long.
        row = {column.name: getattr(self, column.name) for column in REPORT_COLUMNS}
        return {
            **row,
            "verdict": self.verdict.name,
            "violations": dict(self.violations),
            "blocks": dict(self.blocks),
            "usage": dict(self.usage),
            "stalls": [attrs.asdict(stall) for stall in self.stalls],
        }


REPORT_COLUMNS: Final = tuple(
    ReportColumn(each.name, **each.metadata) for each in attrs.fields(Report)
)
"""The descriptions of all columns of a report, in order."""


def facts_of(message: Message) -> dict[str, Any]:
    """Return the columns of a report that describe the message."""
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
    """Return the type of a block as it was sent."""
    return block.wire_type if isinstance(block, UnknownBlock) else block.type


def is_call(block: object) -> TypeGuard[InputBlock]:
    """Whether a block calls a tool: its class has an input that is streamed."""
    return isinstance(block, InputBlock) and not isinstance(block, UnknownBlock)


def counters(usage: Usage) -> Iterator[tuple[str, int]]:
    """Yield all integers in the usage. A nested one is named by its path, joined with dots."""
    return counters_in(usage.to_dict(), "")


def counters_in(members: dict[str, Any], prefix: str) -> Iterator[tuple[str, int]]:
    """Yield the integers in one object of the usage and in the objects inside it.

    The recursion is safe, because `Limits.depth` bounds the nesting.
    """
    for name, value in members.items():
        if isinstance(value, dict):
            yield from counters_in(cast("dict[str, Any]", value), f"{prefix}{name}.")
        elif isinstance(value, int) and not isinstance(value, bool):
            yield f"{prefix}{name}", value
