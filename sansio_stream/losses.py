"""Content: what an event carries of the message, and so what is lost where it is kept out or cannot
be folded.

Asked only where something was wrong, and of events that are kept out: it costs a clean stream
nothing.
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
    from collections.abc import Mapping

    from .codec import WireObject

CONTENT_EVENTS: Final = frozenset(
    cls.type for cls in (MessageStartEvent, ContentBlockStartEvent, ContentBlockDeltaEvent)
)
"""The events that carry content. The names are those on the wire."""

NOT_CONTENT: Final = frozenset({"type", "estimated_tokens"})
"""The members of a delta, or of a block, that are not content of the message."""


def content_of(item: WireObject) -> set[str]:
    """Return the names of the members of a delta or a block that are content, and neither empty,
    null nor 0.
    """
    return {name for name, value in item.to_dict().items() if value and name not in NOT_CONTENT}


def says_something(item: WireObject) -> bool:
    """Whether a delta or a block has any content."""
    return content_of(item) != set()


def has_value(value: Any) -> bool:
    """Whether a member of another type has a value all the same: 0 and false are values."""
    return value is not None and value not in ("", [], {})


def carries_content(event: MessageStreamEvent) -> bool:
    """Whether content of the message is lost where this event is kept out of it."""
    match event:
        case MessageStartEvent(message=message):
            return any(map(says_something, message.content))
        case ContentBlockStartEvent(content_block=block):
            return says_something(block)
        case ContentBlockDeltaEvent(delta=delta):
            return says_something(delta)
        case _:
            return False


def brings_content(event: ContentBlockDeltaEvent) -> bool:
    """Whether a delta is neither empty nor unknown: whether the model has gone on."""
    delta = event.delta
    return any(getattr(delta, name) for name in PROGRESS.get(type(delta), ()))


PROGRESS: Final[dict[type, tuple[str, ...]]] = {
    TextDelta: ("text",),
    InputJSONDelta: ("partial_json",),
    # Of thinking that is not shown, a server says only how much there is.
    ThinkingDelta: ("thinking", "signature", "estimated_tokens"),
    SignatureDelta: ("signature",),
    CitationsDelta: ("citation",),
    CompactionDelta: ("content", "encrypted_content"),
}
"""In which attributes of a delta there may be content, by its class."""


def looks_like_content(payload: Mapping[str, Any]) -> bool:
    """Whether a payload has an object with a type where content events have theirs."""
    parts = [payload.get(member) for member in ("delta", "content_block", "message")]
    return any(is_object(part) and isinstance(part.get("type"), str) for part in parts)


def visible_text(event: MessageStreamEvent) -> str:
    """Return the text and the thinking that an event brings: what a person reads."""
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
    """Return the text or the thinking of a block."""
    match block:
        case TextBlock(text=text) | ThinkingBlock(thinking=text):
            return text
        case _:
            return ""


def may_be_content(event: MessageStreamEvent) -> bool:
    """Whether an event is one that carries content, or looks like one and has another type."""
    if isinstance(event, UnknownEvent):
        if event.raw is not None:
            return False
        return event.wire_type in CONTENT_EVENTS or looks_like_content(event.to_dict())
    return event.type in CONTENT_EVENTS


def may_be_input(delta_type: object) -> bool:
    """Whether a delta of that type on the wire may be a piece of a tool input: one that is, or of
    which nobody knows what it is.
    """
    return delta_type not in OTHER_DELTAS


OTHER_DELTAS: Final = tuple(
    cls.type for cls in get_args(ContentBlockDelta) if cls not in (InputJSONDelta, UnknownDelta)
)


def may_hold_input(event: UnknownEvent) -> bool:
    """Whether an unknown event, with which content was lost, may have held a piece of a tool input:
    any but a message_start, a message_delta, and a delta whose type says that it is something else.
    """
    delta = event.extra.get("delta")
    if is_object(delta) and not may_be_input(delta.get("type")):
        return False
    return event.wire_type not in (MessageStartEvent.type, MessageDeltaEvent.type)
