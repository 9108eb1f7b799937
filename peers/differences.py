"""All differences between this library ("ours") and the official client ("theirs"), as functions.

A function gets what one or both sides made of a stream, and returns whether it is its difference.
docs/peers.md has a row with the reason for each function. A function is so narrow that it explains
no other difference. A test fails if no function explains a difference.

* `byte_order_mark`, `IGNORED_BY_SDK`, `index_is_position` and `IGNORED_BY_US` are about frames. If
  one side ignores a frame, the other side does not get it. If the official client puts a block at
  another position, this library gets the block with this position. Then both sides must agree.
* `ENDINGS` are about the end of a stream. If one side fails at a frame, both sides must agree about
  everything before this frame.
* `MEMBERS` are about one member of the message.
"""

import json
import re
from codecs import BOM_UTF8
from collections.abc import Callable, Iterator
from types import NoneType
from typing import Any, Final

import anthropic
import attrs

from sansio_stream import (
    CompactionBlock,
    ContentBlockStartEvent,
    ErrorEvent,
    FallbackBlock,
    MCPToolUseBlock,
    Message,
    MessageDeltaEvent,
    MessageStartEvent,
    PingEvent,
    ServerToolUseBlock,
    ToolUseBlock,
    UnknownBlock,
    Verdict,
    ViolationCode,
)
from sansio_stream.codec import schema_of

from . import partial_values
from .partial_values import Shown, differences_of, parser_of, value_of_jiter
from .readers import SSE, FrameResult, Frames, Ours, Surface, Theirs

# Frames that the official client ignores.

FIRST_LINE: Final = re.compile(rb"\A[^\r\n]*(?:\r\n|\r|\n)?")


def byte_order_mark(frames: Frames) -> bool:
    """The first line after a byte order mark."""
    return bool(frames) and frames[0].startswith(BOM_UTF8)


def unnamed_frame(result: FrameResult) -> bool:
    """A frame without an `event:` line."""
    sse = SSE.of(result.frame)
    return not sse.name and sse.data is not None


def unfinished_frame(result: FrameResult) -> bool:
    """The last frame, if its blank line is missing."""
    return ViolationCode.UNTERMINATED_FRAME in result.codes


def untyped_payload(result: FrameResult) -> bool:
    """A frame without `type` in the payload."""
    is_known = SSE.of(result.frame).name in {"ping", "error"}
    return ViolationCode.MISSING_TYPE in result.codes and not is_known


def named_ping(result: FrameResult) -> bool:
    """An event that is not a ping, in a frame named `ping`."""
    return SSE.of(result.frame).name == "ping" and not any(
        isinstance(event, PingEvent) for event in result.events
    )


def error_by_type(result: FrameResult) -> bool:
    """An error event in a frame that is not named `error`."""
    return SSE.of(result.frame).name != "error" and any(
        isinstance(event, ErrorEvent) for event in result.events
    )


IGNORED_BY_SDK: Final = (
    unnamed_frame,
    unfinished_frame,
    untyped_payload,
    named_ping,
    error_by_type,
)

# Blocks that the official client puts at another position.


def index_is_position(result: FrameResult, position: int) -> bool:
    """A block whose index differs from the number of blocks before it."""
    return any(
        isinstance(event, ContentBlockStartEvent) and event.index != position
        for event in result.events
    )


# Frames that this library does not apply to its message.


def stopped_block(result: FrameResult) -> bool:
    """A delta or stop for a block that has already stopped."""
    return ViolationCode.STOPPED_BLOCK in result.codes


def finished_message(result: FrameResult) -> bool:
    """A frame after message_stop."""
    return ViolationCode.AFTER_MESSAGE_STOP in result.codes


def unusable_index(result: FrameResult) -> bool:
    """An index that is not a number from 0 on. In a Python list, -1 is the end and true is 1."""
    if ViolationCode.MALFORMED_EVENT not in result.codes:
        return False
    match SSE.of(result.frame).payload:
        case {"type": "content_block_start", "content_block": {}}:
            return True
        case {"index": bool()}:
            return True
        case {"index": int(index)}:
            return index < 0
    return False


IGNORED_BY_US: Final = (stopped_block, finished_message, unusable_index)

# Endings.


@attrs.frozen
class Ending:
    """How a stream ended on both sides.

    Attributes:
        ours: what this library made of the stream.
        theirs: what the official client made of the stream.
        frames: the frames that the official client read.
        strings: whether both sides showed unfinished strings.
        is_damaged: whether this library lost content of the original stream. The stream that the
            comparison reads has changed frames, so more content can be lost in it.
    """

    ours: Ours
    theirs: Theirs
    frames: Frames
    strings: bool
    is_damaged: bool

    @property
    def error(self) -> str:
        """The name of the exception of the official client, "" if it raised none."""
        return "" if self.theirs.error is None else type(self.theirs.error).__name__

    @property
    def result(self) -> FrameResult | None:
        """What this library made of the frame at which the official client failed."""
        at, results = self.theirs.failed_at, self.ours.results
        return results[at] if at is not None and at < len(results) else None

    @property
    def codes(self) -> frozenset[ViolationCode]:
        """The violations of that frame."""
        return frozenset() if self.result is None else self.result.codes

    @property
    def frame(self) -> bytes:
        """That frame, as the official client read it."""
        return b"" if self.theirs.failed_at is None else self.frames[self.theirs.failed_at]

    @property
    def sse(self) -> SSE:
        """The lines of that frame."""
        return SSE.of(self.frame)

    @property
    def failed_at_same_frame(self) -> bool:
        """Whether both sides failed at the same frame."""
        return self.ours.failed_at is not None and self.ours.failed_at == self.theirs.failed_at


def cut_stream(end: Ending) -> bool:
    """The official client returns an incomplete message of a cut stream."""
    return end.ours.verdict is Verdict.TRUNCATED and not end.error


def damaged_stream(end: Ending) -> bool:
    """The official client returns a message with lost content."""
    return end.ours.verdict is Verdict.DAMAGED and end.is_damaged and not end.error


def no_message(end: Ending) -> bool:
    """A stream without any message."""
    verdicts = {Verdict.EMPTY, Verdict.DAMAGED, Verdict.NOT_AN_EVENT_STREAM}
    is_none = end.ours.verdict in verdicts and end.ours.message is None
    return is_none and end.error == "AssertionError"


def error_status(end: Ending) -> bool:
    """An error event."""
    return _is_error_event(end) and _body(end.theirs.error) == _body(end.ours.error)


def error_text(end: Ending) -> bool:
    """An error event whose data is JSON but not an object."""
    return (
        _is_error_event(end)
        and _body(end.ours.error) == end.sse.data
        and _body(end.theirs.error) == end.sse.payload
    )


def _is_error_event(end: Ending) -> bool:
    return (
        end.ours.verdict is Verdict.ERRORED
        and end.failed_at_same_frame
        and type(end.theirs.error) is anthropic.APIStatusError
        and end.theirs.error.status_code == 200
    )


def _body(error: Exception | None) -> object:
    return getattr(error, "body", None)


def error_without_data(end: Ending) -> bool:
    """A frame that is named `error` and has no data."""
    return end.error == "APIStatusError" and end.sse.name == "error" and end.sse.data is None


def undecodable_payload(end: Ending) -> bool:
    """A known event whose data is not a JSON object."""
    return (
        end.ours.verdict is Verdict.BROKEN
        and end.failed_at_same_frame
        and getattr(end.ours.error, "code", "") == ViolationCode.UNDECODABLE_PAYLOAD
        and end.error in {"JSONDecodeError", "ValueError", "TypeError", "AttributeError"}
    )


def deep_payload(end: Ending) -> bool:
    """An event with so many nested arrays that Python's parser fails."""
    is_limit = getattr(end.ours.error, "code", "") == "depth"
    return is_limit and end.failed_at_same_frame and end.error == "RecursionError"


def unknown_payload(end: Ending) -> bool:
    """An unknown event whose data is not a JSON object."""
    return ViolationCode.UNDECODABLE_PAYLOAD in end.codes and end.error in {
        "JSONDecodeError",
        "TypeError",
        "AttributeError",
    }


def done_marker(end: Ending) -> bool:
    """The end marker of another protocol, in a named frame."""
    return ViolationCode.DONE_MARKER in end.codes and end.error == "JSONDecodeError"


def invalid_utf8(end: Ending) -> bool:
    """Bytes that are not UTF-8."""
    return end.error == "UnicodeDecodeError" and not is_utf8(end.frame)


def is_utf8(data: bytes) -> bool:
    """Return whether bytes are UTF-8."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def spliced_message(end: Ending) -> bool:
    """A second message inside the first."""
    return getattr(end.ours.error, "code", "") == "spliced_message" and not end.failed_at_same_frame


def broken_input(end: Ending) -> bool:
    """Tool input for which jiter raises."""
    if "Unable to parse tool parameter" not in str(end.theirs.error):
        return False
    assert end.result is not None
    assert end.result.snapshot is not None
    block: Any = end.result.snapshot.content[end.sse.payload["index"]]
    parser = parser_of(block.input_json, strings=end.strings)
    shown = Shown.of(block.input_json, parser, strings=end.strings)
    return bool(shown.error) and {*differences_of(shown)} <= partial_values.NAMES


def surrogate_in_input(end: Ending) -> bool:
    """A piece of tool input with one surrogate of a pair."""
    piece = end.sse.payload["delta"]["partial_json"] if end.error == "UnicodeEncodeError" else ""
    return any("\ud800" <= character <= "\udfff" for character in piece)


def missing_usage(end: Ending) -> bool:
    """A message_delta without usage."""
    return (
        end.error == "AttributeError"
        and end.sse.payload.get("type") == "message_delta"
        and not isinstance(end.sse.payload.get("usage"), dict)
    )


def missing_delta(end: Ending) -> bool:
    """A message_delta without `delta`."""
    return end.error == "AttributeError" and ViolationCode.MISSING_DELTA in end.codes


def missing_block(end: Ending) -> bool:
    """A delta or stop for an index without a block."""
    return end.error == "IndexError" and ViolationCode.UNKNOWN_INDEX in end.codes


def missing_content(end: Ending) -> bool:
    """A block in a message whose start has no `content`."""
    return end.error == "AttributeError" and "append" in str(end.theirs.error)


def malformed_event(end: Ending) -> bool:
    """A known event without a required member."""
    codes = {ViolationCode.MALFORMED_EVENT, ViolationCode.MALFORMED_DELTA}
    return end.error in {"TypeError", "AttributeError", "IndexError"} and bool(end.codes & codes)


def mistyped_content(end: Ending) -> bool:
    """A delta for a block whose text at its start is not a string."""
    if end.error != "TypeError":
        return False
    index = end.sse.payload.get("index")
    return any(
        isinstance(event, ContentBlockStartEvent) and event.index == index
        for result in end.ours.results
        if ViolationCode.MALFORMED_MEMBER in result.codes
        for event in result.events
    )


ENDINGS: Final = (
    cut_stream,
    damaged_stream,
    no_message,
    error_status,
    error_text,
    error_without_data,
    undecodable_payload,
    deep_payload,
    unknown_payload,
    done_marker,
    invalid_utf8,
    spliced_message,
    broken_input,
    surrogate_in_input,
    missing_usage,
    missing_delta,
    missing_block,
    missing_content,
    malformed_event,
    mistyped_content,
)

# Members.


class Absent:
    """The type of `ABSENT`, the value of a missing member."""

    def __repr__(self) -> str:
        return "absent"


ABSENT: Final = Absent()


def member_of(value: Any, path: tuple[str | int, ...]) -> Any:
    """Return the value at a path inside a JSON value, or ABSENT."""
    for name in path:
        match value, name:
            case dict(), str():
                value = value.get(name, ABSENT)
            case list(), int() if name < len(value):
                value = value[name]
            case _:
                return ABSENT
    return value


@attrs.frozen
class Member:
    """A member of the message that differs.

    Attributes:
        path: the path of the member in the message.
        ours: its value in the message of this library.
        theirs: its value in the message of the official client.
        message: the message of this library.
        results: what this library made of each frame.
        surface: the surface of the official client.
        strings: whether both sides showed unfinished strings.
    """

    path: tuple[str | int, ...]
    ours: Any
    theirs: Any
    message: Message
    results: list[FrameResult]
    surface: Surface
    strings: bool

    @property
    def block(self) -> Any:
        """The content block that contains the member, or None."""
        match self.path:
            case ("content", int(position), *_):
                return self.message.content[position]
        return None

    @property
    def at_start(self) -> Any:
        """The value of the member at the start of the message or of the block."""
        value: Any = ABSENT
        for event in self._events:
            match event:
                case MessageStartEvent(message=message):
                    value = member_of(message.to_dict(), self.path)
                case ContentBlockStartEvent(index=index, content_block=block):
                    if self.path[:2] == ("content", index):
                        value = member_of(block.to_dict(), self.path[2:])
        return value

    @property
    def message_deltas(self) -> list[dict[str, Any]]:
        """The message_delta events, as JSON values."""
        return [e.to_dict() for e in self._events if isinstance(e, MessageDeltaEvent)]

    @property
    def delta_usages(self) -> list[dict[str, Any]]:
        """The usages of the message_delta events."""
        usages = [delta.get("usage") for delta in self.message_deltas]
        return [usage for usage in usages if isinstance(usage, dict)]

    @property
    def _events(self) -> Iterator[Any]:
        return (event for result in self.results for event in result.events)


def added_null(member: Member) -> bool:
    """Null for a member that neither the start nor a delta has sent."""
    match member.path:
        case ("stop_reason" | "stop_sequence" | "stop_details",):
            return member.ours is ABSENT and member.theirs is None
        case ("content", _, "encrypted_content"):
            return member.ours is ABSENT and member.theirs is None
    return False


def unknown_input(member: Member) -> bool:
    """The input of a block of an unknown type."""
    block = member.block
    is_input = isinstance(block, UnknownBlock) and member.path[2:] == ("input",)
    return is_input and block.input_json != "" and member.theirs == member.at_start


def unfinished_input(member: Member) -> bool:
    """The incomplete input of a tool call."""
    return _is_input(member, "incomplete") and member.theirs == _value_of_jiter(member)


def invalid_input(member: Member) -> bool:
    """The complete but invalid input of a tool call."""
    return _is_input(member, "invalid") and member.theirs == _value_of_jiter(member)


def _is_input(member: Member, state: str) -> bool:
    return (
        member.path[2:] == ("input",)
        and isinstance(member.block, ToolUseBlock | ServerToolUseBlock | MCPToolUseBlock)
        and member.block.input_state == state
        and member.ours is None
    )


def _value_of_jiter(member: Member) -> Any:
    text = member.block.input_json
    if not text:
        return member.at_start
    value = value_of_jiter(text, strings=member.strings)
    return json.loads(json.dumps(value), parse_constant=lambda _: None)


def beta_only(member: Member) -> bool:
    """A member that only the beta surface of the official client supports."""
    if member.surface is Surface.BETA or member.theirs != member.at_start:
        return False
    match member.path:
        case ("model",):
            return any(isinstance(block, FallbackBlock) for block in member.message.content)
        case ("context_management" | "input_transformations",):
            return True
        case ("usage", "iterations" | "fallback_credit"):
            return True
        case ("content", _, "input"):
            return isinstance(member.block, MCPToolUseBlock)
        case ("content", _, "content" | "encrypted_content"):
            return isinstance(member.block, CompactionBlock)
    return False


MESSAGE_MEMBERS: Final = set(schema_of(Message).wires) - {"safeguard_results"}
"""The names of the members of a message on both sides."""


def unknown_member(member: Member) -> bool:
    """A member of a message_delta that the official client does not know."""
    match member.path:
        case (str(name),) if name not in MESSAGE_MEMBERS:
            deltas = member.message_deltas
            objects = [each for delta in deltas for each in (delta, delta.get("delta") or {})]
            is_sent = any(name in each and each[name] == member.ours for each in objects)
            return is_sent and member.theirs == member.at_start
    return False


def mistyped_text(member: Member) -> bool:
    """A text that is a list at its start. The official client adds the deltas to the list."""
    match member.path, member.at_start, member.ours:
        case ("content", _, "text"), list(items), str(text):
            return bool(member.theirs == [*items, *text])
    return False


def mistyped_stop_reason(member: Member) -> bool:
    """A stop reason that is not a string."""
    if member.path != ("stop_reason",) or isinstance(member.theirs, str | NoneType):
        return False
    deltas = [event.get("delta") or {} for event in member.message_deltas]
    return member.ours is None and member.theirs in [delta.get("stop_reason") for delta in deltas]


def empty_stop_reason(member: Member) -> bool:
    """A stop reason that is an empty string."""
    is_empty = member.path == ("stop_reason",) and member.theirs == ""
    return is_empty and member.ours in (None, ABSENT)


def halved_character(member: Member) -> bool:
    """A character whose two surrogates are in two deltas."""
    match member.path, member.theirs:
        case ("content", _, "text" | "thinking"), str(text):
            joined = text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
            return text != joined and member.ours == joined
    return False


COUNTERS: Final = {
    "input_tokens",
    "output_tokens",
    "cache_creation_input_tokens",
    "cache_read_input_tokens",
    "output_tokens_details",
    "server_tool_use",
    "iterations",
    "fallback_credit",
}
"""The counters that the official client merges from the usage of a message_delta."""


def unknown_counter(member: Member) -> bool:
    """A counter of a message_delta that the official client does not merge."""
    match member.path:
        case ("usage", str(name)):
            is_sent = member.ours in [usage.get(name) for usage in member.delta_usages]
            return name not in COUNTERS and is_sent and member.theirs == member.at_start
    return False


def mistyped_counter(member: Member) -> bool:
    """A counter that is not a number."""
    match member.path:
        case ("usage", str(name)):
            values = [usage.get(name) for usage in member.delta_usages]
            wrong_types = [value for value in values if type(value) not in {int, NoneType}]
            numbers = [int(str(value)) for value in wrong_types if str(value).isdecimal()]
            return member.theirs in wrong_types + numbers
    return False


def null_output_tokens(member: Member) -> bool:
    """The `output_tokens`, if a later message_delta does not repeat them."""
    if member.path != ("usage", "output_tokens"):
        return False
    last = member.delta_usages[-1].get("output_tokens")
    return last is None and member.theirs is None and member.ours is not None


def absent_encrypted_content(member: Member) -> bool:
    """The `encrypted_content` of a block, if a compaction_delta does not have it."""
    match member.path:
        case ("content", _, "encrypted_content"):
            is_compaction = isinstance(member.block, CompactionBlock)
            return is_compaction and member.theirs is None and member.ours == member.at_start
    return False


def null_stop_reason(member: Member) -> bool:
    """A stop reason, if a later message_delta does not repeat it."""
    match member.path:
        case ("stop_reason" | "stop_sequence" | "stop_details" as name,):
            last = member.message_deltas[-1].get("delta") or {}
            return member.theirs is None and last.get(name) is None and member.ours is not None
    return False


MEMBERS: Final = (
    added_null,
    beta_only,
    unknown_input,
    unfinished_input,
    invalid_input,
    unknown_member,
    mistyped_text,
    mistyped_stop_reason,
    empty_stop_reason,
    halved_character,
    unknown_counter,
    mistyped_counter,
    null_output_tokens,
    absent_encrypted_content,
    null_stop_reason,
)


DIFFERENCES: Final[tuple[Callable[..., bool], ...]] = (
    *(byte_order_mark, *IGNORED_BY_SDK, index_is_position, *IGNORED_BY_US),
    *ENDINGS,
    *MEMBERS,
)
"""All differences, in the order of the table."""
