"""Vocabulary: the events of a stream, as frozen values.

One JSON object in, one event out, and back without loss. Knows no order: `transitions` does.

The deltas, and the usage, inside an event can be imported from here, too.
"""

from typing import Any, ClassVar, Final, Literal, TypeAlias

import attrs

from .codec import OFF_WIRE, WireObject, on_wire_as, wire_object
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
from .message import ContentBlock, Message, StopReason
from .usage import MessageDeltaUsage

__all__ = [
    "CitationsDelta",
    "CompactionDelta",
    "ContentBlockDelta",
    "ContentBlockDeltaEvent",
    "ContentBlockStartEvent",
    "ContentBlockStopEvent",
    "ErrorDetail",
    "ErrorEvent",
    "InputJSONDelta",
    "MessageDelta",
    "MessageDeltaEvent",
    "MessageDeltaUsage",
    "MessageStartEvent",
    "MessageStopEvent",
    "MessageStreamEvent",
    "PingEvent",
    "RawContentBlockDeltaEvent",
    "RawContentBlockStartEvent",
    "RawContentBlockStopEvent",
    "RawMessageDeltaEvent",
    "RawMessageStartEvent",
    "RawMessageStopEvent",
    "RawMessageStreamEvent",
    "SignatureDelta",
    "TextDelta",
    "ThinkingDelta",
    "UnknownDelta",
    "UnknownEvent",
]

# What a message_delta carries.


@wire_object
class MessageDelta(WireObject):
    """Changes of the message itself. None is "absent" and "null": `to_dict()` tells them apart."""

    stop_reason: StopReason | None
    stop_sequence: str | None
    stop_details: dict[str, Any] | None = None
    container: dict[str, Any] | None = None
    safeguard_results: list[Any] | None = None


@wire_object
class ErrorDetail(WireObject):
    """What an error event says."""

    type: str | None = None
    message: str | None = None
    details: Any = None


# Events.


@wire_object
class MessageStartEvent(WireObject):
    """The message begins. Its content is usually empty, but not always."""

    type: ClassVar[Literal["message_start"]] = "message_start"
    message: Message


@wire_object
class ContentBlockStartEvent(WireObject):
    """A content block begins; `content_block` is as it was sent, and its input is not complete."""

    type: ClassVar[Literal["content_block_start"]] = "content_block_start"
    index: int
    content_block: ContentBlock


@wire_object
class ContentBlockDeltaEvent(WireObject):
    """A content block grows."""

    type: ClassVar[Literal["content_block_delta"]] = "content_block_delta"
    index: int
    delta: ContentBlockDelta


@wire_object
class ContentBlockStopEvent(WireObject):
    """A content block is finished.

    Attributes:
        content_block: the finished block; None where no machine has folded it. Not compared.
    """

    type: ClassVar[Literal["content_block_stop"]] = "content_block_stop"
    index: int
    content_block: ContentBlock | None = attrs.field(
        default=None, kw_only=True, eq=False, repr=False, metadata=OFF_WIRE
    )


@wire_object
class MessageDeltaEvent(WireObject):
    """The message itself changes: usually the stop reason and the usage, once, after all blocks."""

    type: ClassVar[Literal["message_delta"]] = "message_delta"
    delta: MessageDelta
    usage: MessageDeltaUsage
    context_management: dict[str, Any] | None = None
    input_transformations: list[Any] | None = None


@wire_object
class MessageStopEvent(WireObject):
    """The message is whole: the only proof of it.

    Attributes:
        message: the finished message; None on an event that no machine has folded. Not compared.
    """

    type: ClassVar[Literal["message_stop"]] = "message_stop"
    message: Message | None = attrs.field(
        default=None, kw_only=True, eq=False, repr=False, metadata=OFF_WIRE
    )


@wire_object
class PingEvent(WireObject):
    """A sign of life.

    Attributes:
        raw: the data where it is not a JSON object, else None; not part of `to_dict()`.
    """

    type: ClassVar[Literal["ping"]] = "ping"
    raw: str | None = attrs.field(default=None, kw_only=True, metadata=OFF_WIRE)


@wire_object
class ErrorEvent(WireObject):
    """The server gave up; nothing that follows counts.

    Read it by its properties: servers differ in its shape.

    Attributes:
        error: the standard object; all its members None where the payload has none.
        request_id: the server's name for the request.
        raw: the data where it is not a JSON object, else None; not part of `to_dict()`.
    """

    type: ClassVar[Literal["error"]] = "error"
    error: ErrorDetail
    request_id: str | None = None
    raw: str | None = attrs.field(default=None, kw_only=True, metadata=OFF_WIRE)

    @property
    def error_type(self) -> str | None:
        """The kind of error, as `overloaded_error`; else the payload's own `type`."""
        if self.error.type is not None:
            return self.error.type
        sent = self.to_dict().get("type")
        return sent if isinstance(sent, str) and sent != "error" else None

    @property
    def message(self) -> str:
        """The sentence for a person, from wherever the server has put it, or ""."""
        if self.error.message is not None:
            return self.error.message
        sent = self.to_dict()
        for text in (sent.get("message"), sent.get("error"), self.raw):
            if isinstance(text, str):
                return text
        return ""

    @property
    def code(self) -> int | None:
        """An HTTP status that the server has put beside or into the error as `code`, if any."""
        for members in (self.extra, self.error.extra):
            code = members.get("code")
            if type(code) is int and code in HTTP_ERRORS:
                return code
        return None


HTTP_ERRORS: Final = range(400, 600)


@wire_object
class UnknownEvent(WireObject):
    """An event of a type without a class here, or without what its type needs; see `extra`.

    Attributes:
        wire_type: the payload's type, or else the frame's name, or "".
        raw: the data where it is not a JSON object, else None; not part of `to_dict()`.
    """

    type: ClassVar[Literal["unknown"]] = "unknown"
    wire_type: str = attrs.field(metadata=on_wire_as("type"))
    raw: str | None = attrs.field(default=None, kw_only=True, metadata=OFF_WIRE)


MessageStreamEvent: TypeAlias = (
    MessageStartEvent
    | ContentBlockStartEvent
    | ContentBlockDeltaEvent
    | ContentBlockStopEvent
    | MessageDeltaEvent
    | MessageStopEvent
    | PingEvent
    | ErrorEvent
    | UnknownEvent
)

# Others tell "raw" events, as they are on the wire, from typed ones. Here they are the same.
RawMessageStartEvent: TypeAlias = MessageStartEvent
RawContentBlockStartEvent: TypeAlias = ContentBlockStartEvent
RawContentBlockDeltaEvent: TypeAlias = ContentBlockDeltaEvent
RawContentBlockStopEvent: TypeAlias = ContentBlockStopEvent
RawMessageDeltaEvent: TypeAlias = MessageDeltaEvent
RawMessageStopEvent: TypeAlias = MessageStopEvent
RawMessageStreamEvent: TypeAlias = MessageStreamEvent
