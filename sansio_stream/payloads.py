"""Payload to event: which event a JSON object stands for, and what is wrong with it (its flaws).

This module knows no frames and no order of events. The flaws of a payload never depend on other
events.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias, get_args

from .codec import (
    WireObject,
    decode,
    decoder,
    has_invalid,
    inexact_part,
    is_object,
    schema_of,
    union_members,
    wrong_types,
)
from .copies import copy_with, evolve
from .deltas import ContentBlockDelta, UnknownDelta
from .errors import Flaw, Limits, ViolationCode
from .events import (
    ContentBlockDeltaEvent,
    ContentBlockStartEvent,
    ContentBlockStopEvent,
    ErrorDetail,
    ErrorEvent,
    MessageDelta,
    MessageDeltaEvent,
    MessageStartEvent,
    MessageStreamEvent,
    PingEvent,
    UnknownEvent,
)
from .losses import CONTENT_EVENTS, NOT_CONTENT, has_content, is_nonempty, looks_like_content
from .message import ContentBlock, InputBlock, Message
from .tool_input import ToolInput
from .usage import MessageDeltaUsage, Usage

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["block_from_dict", "event_from_dict", "message_from_dict"]

EVENTS: Final[dict[str, Any]] = {
    cls.type: cls for cls in get_args(MessageStreamEvent) if cls is not UnknownEvent
}
"""The class of each known event, by its type on the wire."""

HARMLESS_MEMBERS: Final = frozenset({"input", "caller", "toolset_name", "estimated_tokens"})
"""The members of blocks and deltas that may have another type without a loss of content. If `input`
has another type, the block itself reports that: its `input_state` is "invalid".
"""

NAMES_WITH_PARTS: Final = CONTENT_EVENTS | {MessageDeltaEvent.type, ErrorEvent.type}
"""The types of events in which `delta`, `content_block` or `message` may be an object."""

Flaws: TypeAlias = tuple[Flaw, ...]

_decode_block = decoder(union_members(ContentBlock))


def block_from_dict(payload: Mapping[str, Any]) -> ContentBlock:
    """Return the block that a JSON object stands for, maybe an `UnknownBlock`. Never raises."""
    block: ContentBlock = _decode_block(payload)
    return block


def message_from_dict(payload: Mapping[str, Any]) -> Message:
    """Return the message that a JSON object stands for. Never raises.

    The object is read as a response that was not streamed: the message is `complete` if it has a
    stop reason that is not empty. `message_from_json` restores a message that was saved, even one
    that was cut.
    """
    message = decode(Message, payload)
    return copy_with(message, complete=bool(message.stop_reason))


def event_from_dict(payload: Mapping[str, Any]) -> MessageStreamEvent:
    """Return the event that a payload stands for. Never raises.

    The `to_dict()` of the event returns the payload again. The type of the payload decides the
    class of the event. If that type is missing or has no class, a payload with the shape of an
    error gives an `ErrorEvent`, and any other payload an `UnknownEvent`. A payload that lacks what
    its type needs also gives an `UnknownEvent`.
    """
    event, _ = event_from_payload("", payload, Limits().blocks)
    return event


def event_from_payload(
    name: str, payload: Mapping[str, Any], max_blocks: int
) -> tuple[MessageStreamEvent, Flaws]:
    """Return the event of a JSON object in a frame with this name, and its flaws."""
    tag = payload.get("type")
    # Nearly all events take the two shortcuts in this function. They never change the result: if
    # no name contradicts a known type, `kind_of` returns that type, and an exact delta with an
    # index in range has no flaw.
    is_sure = isinstance(tag, str) and (name == tag or not name)
    kind = tag if is_sure and tag in EVENTS else kind_of(name, payload)
    flaws = () if is_sure else flaws_of_type(name, payload, kind)
    if kind is None:
        return unknown_event(name, payload), flaws
    event = decode(EVENTS[kind], payload)
    if (
        isinstance(event, ContentBlockDeltaEvent)
        and inexact_part(event) is None
        and inexact_part(event.delta) is None
        and 0 <= event.index < max_blocks
    ):
        return event, flaws
    if lacks_routing(event, max_blocks):
        loses = not isinstance(event, ContentBlockStopEvent)
        flaws = (*flaws, Flaw(ViolationCode.MALFORMED_EVENT, loses))
        return unknown_event(name, payload), flaws
    match event:
        case ContentBlockDeltaEvent(delta=delta):
            if lacks_payload(delta):
                loses = has_other_type(delta) or has_content(delta)
                flaws = (*flaws, Flaw(ViolationCode.MALFORMED_DELTA, loses))
                event = evolve(event, delta=decode(UnknownDelta, delta.to_dict()))
            elif isinstance(delta, UnknownDelta) and is_nonempty(delta.extra.get("partial_json")):
                flaws = (*flaws, Flaw(ViolationCode.UNKNOWN_INPUT_DELTA, loses_content=True))
            return event, (*flaws, *flaws_of_members(event))
        case ContentBlockStartEvent(content_block=InputBlock() as block):
            started = ToolInput.started(block.to_dict().get("input"))
            event = evolve(event, content_block=evolve(block, tool_input=started))
        case MessageDeltaEvent():
            flaws = (*flaws, *flaws_of_message_delta(event))
        case MessageStartEvent(message=message) if message.stop_reason == "":
            flaws = (*flaws, Flaw(ViolationCode.EMPTY_STOP_REASON))
        case _:
            pass
    return event, (*flaws, *flaws_of_members(event))


_decode_delta = decoder(get_args(ContentBlockDelta))


def delta_from_dict(payload: Mapping[str, Any]) -> ContentBlockDelta:
    """Return the delta that a JSON object stands for, or an `UnknownDelta`. Never raises."""
    delta: ContentBlockDelta = _decode_delta(payload)
    return decode(UnknownDelta, payload) if lacks_payload(delta) else delta


def flaws_of_type(name: str, payload: Mapping[str, Any], kind: str | None) -> Flaws:
    """Return the flaws in the type of a payload in a frame with this name.

    Content is lost in two cases. In the first, a ping or an unknown event has the name of a content
    event. In the second, a payload without a type looks like content, but becomes an event that
    carries no such object.
    """
    if not isinstance(payload.get("type"), str):
        has_place = kind in NAMES_WITH_PARTS
        loses = not has_place and looks_like_content(payload)
        return (Flaw(ViolationCode.MISSING_TYPE, loses),)
    loses = name in CONTENT_EVENTS and kind in (None, PingEvent.type)
    return (Flaw(ViolationCode.EVENT_NAME_MISMATCH, loses),)


def flaws_of_message_delta(event: MessageDeltaEvent) -> Flaws:
    """Return the flaws in the members of a message_delta, except wrong types."""
    flaws: Flaws = ()
    if has_invalid(event, "delta"):
        flaws = (Flaw(ViolationCode.MISSING_DELTA),)
    if event.delta.stop_reason == "":
        flaws = (*flaws, Flaw(ViolationCode.EMPTY_STOP_REASON))
    is_inexact = inexact_part(event) or inexact_part(event.delta)
    if is_inexact and misplaced_members(event):
        flaws = (*flaws, Flaw(ViolationCode.MISPLACED_MEMBER))
    return flaws


def misplaced_members(event: MessageDeltaEvent) -> set[str]:
    """Return the names of members of a message that stand in the wrong place in a message_delta.

    A message_delta has two objects: the event and its `delta`. A member is misplaced if it belongs
    to the other of the two, or to neither. A `usage` inside `delta` is not misplaced if the event
    itself has no usage, because `usage_of` then returns it.
    """
    known = schema_of(Message).wires
    said = [*event.extra.items(), *event.delta.extra.items()]
    names = {name for name, value in said if name in known and value is not None}
    if has_invalid(event, "usage") and isinstance(event.delta.extra.get("usage"), dict):
        names.discard("usage")
    return names


def added_members(event: MessageDeltaEvent) -> dict[str, Any]:
    """Return the unknown members of a message_delta and of its `delta`, except nulls.

    A member is unknown if neither the class of its object nor `Message` has it.
    """
    if not inexact_part(event) and not inexact_part(event.delta):
        return {}
    known = schema_of(Message).wires
    said = {**event.extra, **event.delta.extra}
    return {name: value for name, value in said.items() if name not in known and value is not None}


def usage_of(event: MessageDeltaEvent) -> MessageDeltaUsage:
    """Return the usage of a message_delta, or that of its `delta` if the event has none."""
    inner = event.delta.extra.get("usage") if has_invalid(event, "usage") else None
    return decode(MessageDeltaUsage, inner) if is_object(inner) else event.usage


def flaws_of_members(event: MessageStreamEvent) -> Flaws:
    """Return the flaw of members that have a wrong type, or nothing.

    Content is lost if such a member has a value and is content of a block or a delta, or is the
    `content` of a message. A `stop_reason` of a message_delta counts as content here.
    """
    parts = typed_parts_of(event)
    if not any(map(inexact_part, parts)):
        return ()
    found = loses = False
    for part in parts:
        for member in wrong_types(part) - {"input"}:
            found = True
            match part:
                case MessageDelta():
                    is_lost = member == "stop_reason"
                case MessageDeltaEvent() | MessageDeltaUsage() | Usage():
                    is_lost = False
                case Message():
                    is_lost = member == "content" and is_nonempty(part.to_dict()[member])
                case _:
                    is_content = member not in HARMLESS_MEMBERS
                    is_lost = is_content and is_nonempty(part.to_dict()[member])
            loses = loses or is_lost
    return (Flaw(ViolationCode.MALFORMED_MEMBER, loses),) if found else ()


def typed_parts_of(event: MessageStreamEvent) -> tuple[WireObject, ...]:
    """Return the objects in an event whose members become part of the message."""
    match event:
        case MessageStartEvent(message=message):
            return message, message.usage, *message.content
        case ContentBlockStartEvent(content_block=block):
            return (block,)
        case MessageDeltaEvent(delta=delta):
            return event, delta, usage_of(event)
        case ContentBlockDeltaEvent(delta=delta):
            return (delta,)
        case _:
            return ()


def event_from_text(name: str, text: str) -> MessageStreamEvent | None:
    """Return the event of data that is not a JSON object; None if its name requires an object."""
    if name == "ping":
        return PingEvent(raw=text)
    if name == "error":
        return ErrorEvent(ErrorDetail(), raw=text)
    return None if name in EVENTS else UnknownEvent(name, raw=text)


# The choice of the event for a payload.


def kind_of(name: str, payload: Mapping[str, Any]) -> str | None:
    """Return the type of the event, or None if it is unknown. The first rule that fits decides."""
    tag = payload.get("type")
    if "error" in (name, tag):
        return "error"
    if isinstance(tag, str):
        if tag in EVENTS:
            return tag
    elif name in EVENTS:
        return name
    # llama.cpp and some gateways send {"error": {...}} or {"code": 500, "message": "no slot"}.
    error = payload.get("error")
    if isinstance(error, dict) or (isinstance(error, str) and error):
        return "error"
    if payload.keys() >= {"code", "message"}:
        return "error"
    return None


def unknown_event(name: str, payload: Mapping[str, Any]) -> UnknownEvent:
    """Return an `UnknownEvent` that keeps the whole payload."""
    event = decode(UnknownEvent, payload)
    return evolve(event, wire_type=name) if has_invalid(event, "type") else event


def lacks_routing(event: MessageStreamEvent, max_blocks: int) -> bool:
    """Whether the event cannot be used, because its index or the object inside it is unusable."""
    match event:
        case MessageStartEvent():
            return has_invalid(event, "message")
        case ContentBlockStartEvent(index=index, content_block=block):
            unusable = has_invalid(event, "index", "content_block") or has_invalid(block, "type")
            return unusable or not 0 <= index < max_blocks
        case ContentBlockDeltaEvent(index=index, delta=delta):
            unusable = has_invalid(event, "index", "delta") or has_invalid(delta, "type")
            return unusable or not 0 <= index < max_blocks
        case ContentBlockStopEvent(index=index):
            return has_invalid(event, "index") or not 0 <= index < max_blocks
        case MessageDeltaEvent():
            return "delta" in wrong_types(event)
        case _:
            return False


def has_other_type(delta: ContentBlockDelta) -> bool:
    """Whether a delta of a known type has a payload, but of another type.

    The payload of a delta is the first member of its class.
    """
    return schema_of(type(delta)).members[0].wire in wrong_types(delta)


def lacks_payload(delta: ContentBlockDelta) -> bool:
    """Whether a delta of a known type lacks a usable payload.

    The payload of a delta is the first member of its class. A delta may leave it out if it has
    another member that changes the block: a signature, or encrypted content.
    """
    payload, *others = schema_of(type(delta)).members
    if not has_invalid(delta, payload.wire):
        return False
    if has_other_type(delta):
        return True
    return not any(getattr(delta, other.name) for other in others if other.wire not in NOT_CONTENT)
