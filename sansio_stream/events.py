"""Vocabulary: the events of a stream, as frozen values.

Each class stands for one type of JSON object. Such an object is translated to an event and back
without loss. The rules for the order of events are in `transitions`.

The deltas and the usage inside an event can be imported from here, too.
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
    """Changes to the message itself.

    A member is None if it is absent or null on the wire. `to_dict()` shows which of the two it is.
    """

    stop_reason: StopReason | None
    stop_sequence: str | None
    stop_details: dict[str, Any] | None = None
    container: dict[str, Any] | None = None
    safeguard_results: list[Any] | None = None


@wire_object
class ErrorDetail(WireObject):
    """The `error` object of an error event."""

    type: str | None = None
    message: str | None = None
    details: Any = None


# Events.


@wire_object
class MessageStartEvent(WireObject):
    """The message begins. Its content is usually empty, but not always."""

    type: "ClassVar[Literal['message_start']]" = "message_start"
    message: Message


@wire_object
class ContentBlockStartEvent(WireObject):
    """A content block begins.

    Attributes:
        index: the place of the block in the content of the message.
        content_block: the block as it was sent. Its tool input is not complete yet.
    """

    type: "ClassVar[Literal['content_block_start']]" = "content_block_start"
    index: int
    content_block: ContentBlock


@wire_object
class ContentBlockDeltaEvent(WireObject):
    """A content block grows."""

    type: "ClassVar[Literal['content_block_delta']]" = "content_block_delta"
    index: int
    delta: ContentBlockDelta


@wire_object
class ContentBlockStopEvent(WireObject):
    """A content block is finished.

    Attributes:
        index: the place of the block in the content of the message.
        content_block: the finished block; None if the event came from no machine. Not compared.
    """

    type: "ClassVar[Literal['content_block_stop']]" = "content_block_stop"
    index: int
    content_block: ContentBlock | None = attrs.field(
        default=None, kw_only=True, eq=False, repr=False, metadata=OFF_WIRE
    )


@wire_object
class MessageDeltaEvent(WireObject):
    """The message itself changes, usually once after all blocks: its stop reason and its usage."""

    type: "ClassVar[Literal['message_delta']]" = "message_delta"
    delta: MessageDelta
    usage: MessageDeltaUsage
    context_management: dict[str, Any] | None = None
    input_transformations: list[Any] | None = None


@wire_object
class MessageStopEvent(WireObject):
    """The message is complete. No other event proves that.

    Attributes:
        message: the finished message; None if the event came from no machine. Not compared.
    """

    type: "ClassVar[Literal['message_stop']]" = "message_stop"
    message: Message | None = attrs.field(
        default=None, kw_only=True, eq=False, repr=False, metadata=OFF_WIRE
    )


@wire_object
class PingEvent(WireObject):
    """A keep-alive event without content.

    Attributes:
        raw: the data of the frame if it is not a JSON object, else None. Not part of `to_dict()`.
    """

    type: "ClassVar[Literal['ping']]" = "ping"
    raw: str | None = attrs.field(default=None, kw_only=True, metadata=OFF_WIRE)


@wire_object
class ErrorEvent(WireObject):
    """The server has given up. Later events are ignored.

    Servers send errors in different shapes. The properties read all of these shapes.

    Attributes:
        error: the standard object. All its members are None if the payload has no such object.
        request_id: the server's id of the request.
        raw: the data of the frame if it is not a JSON object, else None. Not part of `to_dict()`.
    """

    type: "ClassVar[Literal['error']]" = "error"
    error: ErrorDetail
    request_id: str | None = None
    raw: str | None = attrs.field(default=None, kw_only=True, metadata=OFF_WIRE)

    @property
    def error_type(self) -> str | None:
        """The kind of error, such as `overloaded_error`, or else the payload's own `type`."""
        if self.error.type is not None:
            return self.error.type
        sent = self.to_dict().get("type")
        return sent if isinstance(sent, str) and sent != "error" else None

    @property
    def message(self) -> str:
        """The text for a person, wherever the server has put it; "" if there is none."""
        if self.error.message is not None:
            return self.error.message
        sent = self.to_dict()
        for text in (sent.get("message"), sent.get("error"), self.raw):
            if isinstance(text, str):
                return text
        return ""

    @property
    def code(self) -> int | None:
        """The HTTP status that the server has sent as `code`, or None.

        The `code` may stand beside the standard error object or inside it.
        """
        for members in (self.extra, self.error.extra):
            code = members.get("code")
            if type(code) is int and code in HTTP_ERRORS:
                return code
        return None


HTTP_ERRORS: Final = range(400, 600)


@wire_object
class UnknownEvent(WireObject):
    """An event whose type has no class here, or which lacks what its type needs. See `extra`.

    Attributes:
        wire_type: the payload's type, or else the frame's name, or else "".
        raw: the data of the frame if it is not a JSON object, else None. Not part of `to_dict()`.
    """

    type: "ClassVar[Literal['unknown']]" = "unknown"
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

# Some libraries have separate classes for "raw" events, which are as on the wire. Here both names
# mean the same class.
RawMessageStartEvent: TypeAlias = MessageStartEvent
RawContentBlockStartEvent: TypeAlias = ContentBlockStartEvent
RawContentBlockDeltaEvent: TypeAlias = ContentBlockDeltaEvent
RawContentBlockStopEvent: TypeAlias = ContentBlockStopEvent
RawMessageDeltaEvent: TypeAlias = MessageDeltaEvent
RawMessageStopEvent: TypeAlias = MessageStopEvent
RawMessageStreamEvent: TypeAlias = MessageStreamEvent
