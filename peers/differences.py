"""Every difference between the official client and us, by name: what one of the two made of a
stream in, whether it is that one out.

A difference is a function whose name is in the table of docs/peers.md, which says why. Each is so
narrow that it can explain nothing else; whatever none of them explains is a failure of the test.

* `byte_order_mark`, `UNSEEN_THERE`, `index_is_position` and `UNSEEN_HERE` are about frames: what
  one of the two does not fold is taken out of what the other reads, and a block that has another
  place there gets it here; then both must agree.
* `ENDINGS` are about how a stream ends. Where one of the two gives up, both must agree on all that
  came before that frame.
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
from .readers import SSE, Frames, Here, Surface, Take, There

# Frames that are not seen there.

FIRST_LINE: Final = re.compile(rb"\A[^\r\n]*(?:\r\n|\r|\n)?")


def byte_order_mark(frames: Frames) -> bool:
    """The first line, behind a byte order mark."""
    return bool(frames) and frames[0].startswith(BOM_UTF8)


def unnamed_frame(take: Take) -> bool:
    """Without an `event:` line."""
    sse = SSE.of(take.frame)
    return not sse.name and sse.data is not None


def unfinished_frame(take: Take) -> bool:
    """The last one, without its blank line."""
    return ViolationCode.UNTERMINATED_FRAME in take.codes


def untyped_payload(take: Take) -> bool:
    """Without `type` in the payload."""
    is_known = SSE.of(take.frame).name in {"ping", "error"}
    return ViolationCode.MISSING_TYPE in take.codes and not is_known


def named_ping(take: Take) -> bool:
    """Something else under the name of a ping."""
    return SSE.of(take.frame).name == "ping" and not any(
        isinstance(event, PingEvent) for event in take.events
    )


def error_by_type(take: Take) -> bool:
    """An error under another name."""
    return SSE.of(take.frame).name != "error" and any(
        isinstance(event, ErrorEvent) for event in take.events
    )


UNSEEN_THERE: Final = (
    unnamed_frame,
    unfinished_frame,
    untyped_payload,
    named_ping,
    error_by_type,
)

# Blocks that have another place there.


def index_is_position(take: Take, position: int) -> bool:
    """A block whose index is not the number of blocks before it."""
    return any(
        isinstance(event, ContentBlockStartEvent) and event.index != position
        for event in take.events
    )


# Frames that are not folded here.


def stopped_block(take: Take) -> bool:
    """A delta or stop for a block that was stopped."""
    return ViolationCode.STOPPED_BLOCK in take.codes


def finished_message(take: Take) -> bool:
    """Anything after message_stop."""
    return ViolationCode.AFTER_MESSAGE_STOP in take.codes


def unusable_index(take: Take) -> bool:
    """An index that is no number from 0 on; a list takes -1 for its end, and true for 1."""
    if ViolationCode.MALFORMED_EVENT not in take.codes:
        return False
    match SSE.of(take.frame).payload:
        case {"type": "content_block_start", "content_block": {}}:
            return True
        case {"index": bool()}:
            return True
        case {"index": int(index)}:
            return index < 0
    return False


UNSEEN_HERE: Final = (stopped_block, finished_message, unusable_index)

# Endings.


@attrs.frozen
class Ending:
    """How a stream ended here and there.

    Attributes:
        frames: what was read there.
        strings: whether both showed strings that were not finished.
        is_damaged: whether content was lost here, of the stream as it came. Where something is
            taken out of it, or gets another place, more is lost.
    """

    here: Here
    there: There
    frames: Frames
    strings: bool
    is_damaged: bool

    @property
    def error(self) -> str:
        """The name of what was raised there, "" for nothing."""
        return "" if self.there.error is None else type(self.there.error).__name__

    @property
    def take(self) -> Take | None:
        """What came here of the frame at which they gave up."""
        at, takes = self.there.failed_at, self.here.takes
        return takes[at] if at is not None and at < len(takes) else None

    @property
    def codes(self) -> frozenset[ViolationCode]:
        """The violations of that frame."""
        return frozenset() if self.take is None else self.take.codes

    @property
    def frame(self) -> bytes:
        """That frame, as it was read there."""
        return b"" if self.there.failed_at is None else self.frames[self.there.failed_at]

    @property
    def sse(self) -> SSE:
        """The lines of that frame."""
        return SSE.of(self.frame)

    @property
    def is_at_once(self) -> bool:
        """Whether both gave up at the same frame."""
        return self.here.failed_at is not None and self.here.failed_at == self.there.failed_at


def cut_stream(end: Ending) -> bool:
    """A part of a message is returned."""
    return end.here.verdict is Verdict.TRUNCATED and not end.error


def damaged_stream(end: Ending) -> bool:
    """A message is returned of which something was lost."""
    return end.here.verdict is Verdict.DAMAGED and end.is_damaged and not end.error


def no_message(end: Ending) -> bool:
    """There was no message at all."""
    nothing = {Verdict.EMPTY, Verdict.DAMAGED, Verdict.NOT_AN_EVENT_STREAM}
    is_none = end.here.verdict in nothing and end.here.message is None
    return is_none and end.error == "AssertionError"


def error_status(end: Ending) -> bool:
    """An error event."""
    return _is_error_event(end) and _body(end.there.error) == _body(end.here.error)


def error_text(end: Ending) -> bool:
    """An error event whose data is JSON, but no object."""
    return (
        _is_error_event(end)
        and _body(end.here.error) == end.sse.data
        and _body(end.there.error) == end.sse.payload
    )


def _is_error_event(end: Ending) -> bool:
    return (
        end.here.verdict is Verdict.ERRORED
        and end.is_at_once
        and type(end.there.error) is anthropic.APIStatusError
        and end.there.error.status_code == 200
    )


def _body(error: Exception | None) -> object:
    return getattr(error, "body", None)


def error_without_data(end: Ending) -> bool:
    """An error event that is none."""
    return end.error == "APIStatusError" and end.sse.name == "error" and end.sse.data is None


def undecodable_payload(end: Ending) -> bool:
    """A known event whose data is no JSON object."""
    return (
        end.here.verdict is Verdict.BROKEN
        and end.is_at_once
        and getattr(end.here.error, "code", "") == ViolationCode.UNDECODABLE_PAYLOAD
        and end.error in {"JSONDecodeError", "ValueError", "TypeError", "AttributeError"}
    )


def deep_payload(end: Ending) -> bool:
    """An event with so many arrays inside one another that Python's parser gives up."""
    is_limit = getattr(end.here.error, "code", "") == "depth"
    return is_limit and end.is_at_once and end.error == "RecursionError"


def unknown_payload(end: Ending) -> bool:
    """An unknown event whose data is no JSON object."""
    return ViolationCode.UNDECODABLE_PAYLOAD in end.codes and end.error in {
        "JSONDecodeError",
        "TypeError",
        "AttributeError",
    }


def done_marker(end: Ending) -> bool:
    """The end mark of another protocol, under a name."""
    return ViolationCode.DONE_MARKER in end.codes and end.error == "JSONDecodeError"


def invalid_utf8(end: Ending) -> bool:
    """Bytes that are no UTF-8."""
    return end.error == "UnicodeDecodeError" and not is_utf8(end.frame)


def is_utf8(data: bytes) -> bool:
    """Whether bytes can be decoded."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def spliced_message(end: Ending) -> bool:
    """A second message inside the first."""
    return getattr(end.here.error, "code", "") == "spliced_message" and not end.is_at_once


def broken_input(end: Ending) -> bool:
    """Tool input for which jiter raises."""
    if "Unable to parse tool parameter" not in str(end.there.error):
        return False
    assert end.take is not None
    assert end.take.snapshot is not None
    block: Any = end.take.snapshot.content[end.sse.payload["index"]]
    parser = parser_of(block.input_json, strings=end.strings)
    shown = Shown.of(block.input_json, parser, strings=end.strings)
    return bool(shown.error) and {*differences_of(shown)} <= partial_values.NAMES


def surrogate_in_input(end: Ending) -> bool:
    """A piece of tool input with half a pair of surrogates in it."""
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
    """A delta or stop for an index at which no block is."""
    return end.error == "IndexError" and ViolationCode.UNKNOWN_INDEX in end.codes


def missing_content(end: Ending) -> bool:
    """A block in a message that began without `content`."""
    return end.error == "AttributeError" and "append" in str(end.there.error)


def malformed_event(end: Ending) -> bool:
    """A known event without what it needs."""
    codes = {ViolationCode.MALFORMED_EVENT, ViolationCode.MALFORMED_DELTA}
    return end.error in {"TypeError", "AttributeError", "IndexError"} and bool(end.codes & codes)


def mistyped_content(end: Ending) -> bool:
    """A delta for a block that began with a text that is none."""
    if end.error != "TypeError":
        return False
    index = end.sse.payload.get("index")
    return any(
        isinstance(event, ContentBlockStartEvent) and event.index == index
        for take in end.here.takes
        if ViolationCode.MALFORMED_MEMBER in take.codes
        for event in take.events
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
    """Stands for a member that is not there."""

    def __repr__(self) -> str:
        return "absent"


ABSENT: Final = Absent()


def member_of(value: Any, path: tuple[str | int, ...]) -> Any:
    """What is there inside a JSON value, or ABSENT."""
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
    """A member of which the two have something else.

    Attributes:
        path: where it is; `here` and `there` is what it is.
        message: our message.
        takes: what came of each frame, here.
    """

    path: tuple[str | int, ...]
    here: Any
    there: Any
    message: Message
    takes: list[Take]
    surface: Surface
    strings: bool

    @property
    def block(self) -> Any:
        """The content block that the member is of, or None."""
        match self.path:
            case ("content", int(position), *_):
                return self.message.content[position]
        return None

    @property
    def sent(self) -> Any:
        """The same member of the message or the block as it was sent at its start."""
        sent: Any = ABSENT
        for event in self._events:
            match event:
                case MessageStartEvent(message=message):
                    sent = member_of(message.to_dict(), self.path)
                case ContentBlockStartEvent(index=index, content_block=block):
                    if self.path[:2] == ("content", index):
                        sent = member_of(block.to_dict(), self.path[2:])
        return sent

    @property
    def said(self) -> list[dict[str, Any]]:
        """The message_deltas."""
        return [e.to_dict() for e in self._events if isinstance(e, MessageDeltaEvent)]

    @property
    def said_usages(self) -> list[dict[str, Any]]:
        """Their usages."""
        return [delta["usage"] for delta in self.said if isinstance(delta.get("usage"), dict)]

    @property
    def _events(self) -> Iterator[Any]:
        return (event for take in self.takes for event in take.events)


def added_null(member: Member) -> bool:
    """Null for what a delta says nothing of, and nothing had been said of before."""
    match member.path:
        case ("stop_reason" | "stop_sequence" | "stop_details",):
            return member.here is ABSENT and member.there is None
        case ("content", _, "encrypted_content"):
            return member.here is ABSENT and member.there is None
    return False


def unknown_input(member: Member) -> bool:
    """The input of a block that nobody knows."""
    block = member.block
    is_input = isinstance(block, UnknownBlock) and member.path[2:] == ("input",)
    return is_input and block.input_json != "" and member.there == member.sent


def unfinished_input(member: Member) -> bool:
    """The input of a call that is not whole."""
    return _is_input(member, "incomplete") and member.there == _value_of_jiter(member)


def invalid_input(member: Member) -> bool:
    """The input of a call that is whole and broken."""
    return _is_input(member, "invalid") and member.there == _value_of_jiter(member)


def _is_input(member: Member, state: str) -> bool:
    return (
        member.path[2:] == ("input",)
        and isinstance(member.block, ToolUseBlock | ServerToolUseBlock | MCPToolUseBlock)
        and member.block.input_state == state
        and member.here is None
    )


def _value_of_jiter(member: Member) -> Any:
    text = member.block.input_json
    if not text:
        return member.sent
    value = value_of_jiter(text, strings=member.strings)
    return json.loads(json.dumps(value), parse_constant=lambda _: None)


def beta_only(member: Member) -> bool:
    """What the general surface does not fold."""
    if member.surface is Surface.BETA or member.there != member.sent:
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
"""What has a name in a message, here and there."""


def unknown_member(member: Member) -> bool:
    """A member of a message_delta that has no name there."""
    match member.path:
        case (str(name),) if name not in MESSAGE_MEMBERS:
            places = [place for said in member.said for place in (said, said.get("delta") or {})]
            is_said = any(name in place and place[name] == member.here for place in places)
            return is_said and member.there == member.sent
    return False


def mistyped_text(member: Member) -> bool:
    """A text that began as a list, to which deltas are added there."""
    match member.path, member.sent, member.here:
        case ("content", _, "text"), list(sent), str(text):
            return bool(member.there == [*sent, *text])
    return False


def mistyped_stop_reason(member: Member) -> bool:
    """A stop reason that is no text."""
    if member.path != ("stop_reason",) or isinstance(member.there, str | NoneType):
        return False
    deltas = [said.get("delta") or {} for said in member.said]
    return member.here is None and member.there in [delta.get("stop_reason") for delta in deltas]


def empty_stop_reason(member: Member) -> bool:
    """A stop reason that is an empty text."""
    is_empty = member.path == ("stop_reason",) and member.there == ""
    return is_empty and member.here in (None, ABSENT)


def halved_character(member: Member) -> bool:
    """A character of a text that was cut between two deltas."""
    match member.path, member.there:
        case ("content", _, "text" | "thinking"), str(text):
            joined = text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
            return text != joined and member.here == joined
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
"""What is merged there from the usage of a message_delta."""


def unknown_counter(member: Member) -> bool:
    """A counter of a message_delta that is not one of those merged there."""
    match member.path:
        case ("usage", str(name)):
            said = [usage.get(name) for usage in member.said_usages]
            return name not in COUNTERS and member.here in said and member.there == member.sent
    return False


def mistyped_counter(member: Member) -> bool:
    """A counter that is no number."""
    match member.path:
        case ("usage", str(name)):
            values = [usage.get(name) for usage in member.said_usages]
            wrong_types = [value for value in values if type(value) not in {int, NoneType}]
            numbers = [int(str(value)) for value in wrong_types if str(value).isdecimal()]
            return member.there in wrong_types + numbers
    return False


def null_output_tokens(member: Member) -> bool:
    """The `output_tokens` that a later message_delta does not repeat."""
    if member.path != ("usage", "output_tokens"):
        return False
    last = member.said_usages[-1].get("output_tokens")
    return last is None and member.there is None and member.here is not None


def absent_encrypted_content(member: Member) -> bool:
    """What a compaction_delta says nothing of."""
    match member.path:
        case ("content", _, "encrypted_content"):
            is_compaction = isinstance(member.block, CompactionBlock)
            return is_compaction and member.there is None and member.here == member.sent
    return False


def null_stop_reason(member: Member) -> bool:
    """A stop reason that a later message_delta does not repeat."""
    match member.path:
        case ("stop_reason" | "stop_sequence" | "stop_details" as name,):
            last = member.said[-1].get("delta") or {}
            return member.there is None and last.get(name) is None and member.here is not None
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
    *(byte_order_mark, *UNSEEN_THERE, index_is_position, *UNSEEN_HERE),
    *ENDINGS,
    *MEMBERS,
)
"""All of them, in the order of the table."""
