"""Vocabulary: the events of a stream and the deltas inside them, as frozen values.

One JSON object in, one event out, and back without loss. Knows no order: `transitions` does.

A new delta type is one class here, with its name in `__all__` and in `ContentBlockDelta`, and at
most one line in the fold.
"""

from typing import Any, ClassVar, Final, Literal, TypeAlias, get_args

import attrs

from .codec import OFF_WIRE, WireObject, on_wire_as, wire_object
from .message import Citation, ContentBlock, Message, StopReason

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

# Deltas of a content block.


@wire_object
class TextDelta(WireObject):
    """More text."""

    type: ClassVar[Literal["text_delta"]] = "text_delta"
    text: str


@wire_object
class InputJSONDelta(WireObject):
    """More of the JSON text of a tool input, cut anywhere: in words, numbers, escapes. Often ""."""

    type: ClassVar[Literal["input_json_delta"]] = "input_json_delta"
    partial_json: str


@wire_object
class ThinkingDelta(WireObject):
    """More reasoning. Compatible servers may send the signature with it."""

    type: ClassVar[Literal["thinking_delta"]] = "thinking_delta"
    thinking: str
    signature: str | None = None
    estimated_tokens: int | None = None


@wire_object
class SignatureDelta(WireObject):
    """The signature of the reasoning, whole."""

    type: ClassVar[Literal["signature_delta"]] = "signature_delta"
    signature: str


@wire_object
class CitationsDelta(WireObject):
    """One more citation of a text block."""

    type: ClassVar[Literal["citations_delta"]] = "citations_delta"
    citation: Citation


@wire_object
class CompactionDelta(WireObject):
    """The summary of a compaction block, whole."""

    type: ClassVar[Literal["compaction_delta"]] = "compaction_delta"
    content: str | None
    encrypted_content: str | None = None


@wire_object
class UnknownDelta(WireObject):
    """A delta of a type without a class here, or without its payload; the rest is in `extra`."""

    type: ClassVar[Literal["unknown"]] = "unknown"
    wire_type: str = attrs.field(metadata=on_wire_as("type"))


ContentBlockDelta: TypeAlias = (
    TextDelta
    | InputJSONDelta
    | ThinkingDelta
    | SignatureDelta
    | CitationsDelta
    | CompactionDelta
    | UnknownDelta
)

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
class MessageDeltaUsage(WireObject):
    """Totals so far: they replace the earlier ones. The members are those of `Usage`."""

    output_tokens: int | None
    input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation: dict[str, Any] | None = None
    output_tokens_details: dict[str, Any] | None = None
    server_tool_use: dict[str, Any] | None = None
    service_tier: str | None = None
    inference_geo: str | None = None
    speed: str | None = None
    iterations: list[Any] | None = None
    fallback_credit: Any = None


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

EVENTS: Final[dict[str, Any]] = {
    cls.type: cls for cls in get_args(MessageStreamEvent) if cls is not UnknownEvent
}
"""The class of each known event, by its type on the wire."""
