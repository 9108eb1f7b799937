"""Content: the part of the message that an event carries.

The content of an event is lost if the event is kept out of the message, or does not fit into it.
The machine calls these functions only if something was wrong, so a clean stream pays nothing for
them. Code that measures the progress of the model also calls `shows_progress` and
`adds_content`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, get_args

from .codec import is_object
from .deltas import (
    CitationsDelta,
    CompactionDelta,
    ContentBlockDelta,
    InputJSONDelta,
    SignatureDelta,
    TextDelta,
    ThinkingDelta,
    UnknownDelta,
)
from .events import (
    ContentBlockDeltaEvent,
    ContentBlockStartEvent,
    MessageDeltaEvent,
    MessageStartEvent,
    MessageStreamEvent,
    UnknownEvent,
)
from .message import ContentBlock, TextBlock, ThinkingBlock

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .codec import WireObject

CONTENT_EVENTS: Final = frozenset(
    cls.type for cls in (MessageStartEvent, ContentBlockStartEvent, ContentBlockDeltaEvent)
)
"""The types, on the wire, of the events that carry content."""

NOT_CONTENT: Final = frozenset({"type", "estimated_tokens"})
"""The members of a delta or a block that are not content of the message."""


def content_of(item: WireObject) -> set[str]:
    """Return the names of the members of a delta or a block that have content.

    A member that is empty, null or 0 has no content.
    """
    return {name for name, value in item.to_dict().items() if value and name not in NOT_CONTENT}


def has_content(item: WireObject) -> bool:
    """Whether a delta or a block has any content."""
    return content_of(item) != set()


def is_nonempty(value: Any) -> bool:
    """Whether a value of the wrong type is not empty. Only null, "", [] and {} are empty."""
    return value is not None and value not in ("", [], {})


def adds_content(event: MessageStreamEvent) -> bool:
    """Whether content is lost if this event is kept out of the message."""
    match event:
        case MessageStartEvent(message=message):
            return any(map(has_content, message.content))
        case ContentBlockStartEvent(content_block=block):
            return has_content(block)
        case ContentBlockDeltaEvent(delta=delta):
            return has_content(delta)
        case _:
            return False


def shows_progress(event: ContentBlockDeltaEvent) -> bool:
    """Whether a delta shows progress of the model: whether it is known and not empty."""
    delta = event.delta
    return bool(PROGRESS.get(type(delta), has_content)(delta))


PROGRESS: Final[dict[type, Callable[[Any], object]]] = {
    TextDelta: lambda delta: delta.text,
    InputJSONDelta: lambda delta: delta.partial_json,
    # If the thinking is not shown, a server sends only an estimate of its tokens.
    ThinkingDelta: lambda delta: delta.thinking or delta.signature or delta.estimated_tokens,
    SignatureDelta: lambda delta: delta.signature,
    CitationsDelta: lambda delta: delta.citation,
    CompactionDelta: lambda delta: delta.content or delta.encrypted_content,
    UnknownDelta: lambda _: False,
}
"""For each class of deltas, a function of the delta that is true if it shows progress. For other
classes it is `has_content`.

Functions, because a loop over the names of attributes takes three times as long, and
`operator.attrgetter` twice as long.
"""


def looks_like_content(payload: Mapping[str, Any]) -> bool:
    """Whether the `delta`, `content_block` or `message` of a payload is an object with a type."""
    parts = [payload.get(member) for member in ("delta", "content_block", "message")]
    return any(is_object(part) and isinstance(part.get("type"), str) for part in parts)


def visible_text(event: MessageStreamEvent) -> str:
    """Return the text or the thinking in an event, which is what a person reads."""
    match event:
        case ContentBlockDeltaEvent(delta=TextDelta(text=text) | ThinkingDelta(thinking=text)):
            return text
        case ContentBlockStartEvent(content_block=block):
            return text_of(block)
        case MessageStartEvent(message=message):
            return "".join(map(text_of, message.content))
        case _:
            return ""


def text_of(block: ContentBlock) -> str:
    """Return the text or the thinking of a block, or "" if it has neither."""
    match block:
        case TextBlock(text=text) | ThinkingBlock(thinking=text):
            return text
        case _:
            return ""


def may_add_content(event: MessageStreamEvent) -> bool:
    """Whether an event adds content, or looks like such an event but has another type."""
    if isinstance(event, UnknownEvent):
        if event.raw is not None:
            return False
        return event.wire_type in CONTENT_EVENTS or looks_like_content(event.to_dict())
    return event.type in CONTENT_EVENTS


def may_be_input(delta_type: object) -> bool:
    """Whether a delta with this type on the wire may be a piece of a tool input.

    An `input_json_delta` is such a piece, and a delta of an unknown type may be one.
    """
    return delta_type not in OTHER_DELTAS


OTHER_DELTAS: Final = tuple(
    cls.type for cls in get_args(ContentBlockDelta) if cls not in (InputJSONDelta, UnknownDelta)
)


def may_hold_input(event: UnknownEvent) -> bool:
    """Whether an unknown event that lost content may have held a piece of a tool input.

    A message_start and a message_delta hold no such piece. An event with a delta of a known type
    other than `input_json_delta` holds none either. Any other unknown event may hold one.
    """
    delta = event.extra.get("delta")
    if is_object(delta) and not may_be_input(delta.get("type")):
        return False
    return event.wire_type not in (MessageStartEvent.type, MessageDeltaEvent.type)
