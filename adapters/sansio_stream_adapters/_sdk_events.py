"""Our events and messages as objects of the official SDK, and its messages as ours."""

from __future__ import annotations

import json
from typing import Any, Final, Literal, TypeAlias, get_args, overload

import anthropic
from anthropic.types import (
    Message as SDKMessage,
    RawContentBlockDeltaEvent,
    RawContentBlockStartEvent,
    RawContentBlockStopEvent,
    RawMessageDeltaEvent,
    RawMessageStartEvent,
    RawMessageStopEvent,
    RawMessageStreamEvent,
)
from anthropic.types.beta import (
    BetaMessage,
    BetaRawContentBlockDeltaEvent,
    BetaRawContentBlockStartEvent,
    BetaRawContentBlockStopEvent,
    BetaRawMessageDeltaEvent,
    BetaRawMessageStartEvent,
    BetaRawMessageStopEvent,
    BetaRawMessageStreamEvent,
)

from sansio_stream.deltas import ContentBlockDelta, UnknownDelta
from sansio_stream.errors import IncompleteMessageError, Verdict, check_type
from sansio_stream.events import (
    ContentBlockDeltaEvent,
    ContentBlockStartEvent,
    ContentBlockStopEvent,
    MessageDeltaEvent,
    MessageStartEvent,
    MessageStreamEvent,
    UnknownEvent,
)
from sansio_stream.message import (
    ContentBlock,
    FallbackBlock,
    Message,
    TextBlock,
    ThinkingBlock,
    ToolUseBlock,
)
from sansio_stream.payloads import message_from_dict

__all__ = ["from_sdk_message", "to_sdk_event", "to_sdk_message"]

AnySDKMessage: TypeAlias = SDKMessage | BetaMessage

CLASSES: Final[dict[str, tuple[type[anthropic.BaseModel], type[anthropic.BaseModel]]]] = {
    "message_start": (RawMessageStartEvent, BetaRawMessageStartEvent),
    "content_block_start": (RawContentBlockStartEvent, BetaRawContentBlockStartEvent),
    "content_block_delta": (RawContentBlockDeltaEvent, BetaRawContentBlockDeltaEvent),
    "content_block_stop": (RawContentBlockStopEvent, BetaRawContentBlockStopEvent),
    "message_delta": (RawMessageDeltaEvent, BetaRawMessageDeltaEvent),
    "message_stop": (RawMessageStopEvent, BetaRawMessageStopEvent),
}
"""For each type of event, the SDK's classes: one for `messages`, and one for `beta.messages`."""

DELTA_TYPES: Final = frozenset(
    kind.type for kind in get_args(ContentBlockDelta) if kind is not UnknownDelta
)


@overload
def to_sdk_event(
    event: MessageStreamEvent, *, beta: Literal[False] = False
) -> RawMessageStreamEvent: ...
@overload
def to_sdk_event(
    event: MessageStreamEvent, *, beta: Literal[True]
) -> BetaRawMessageStreamEvent: ...
@overload
def to_sdk_event(
    event: MessageStreamEvent, *, beta: bool
) -> RawMessageStreamEvent | BetaRawMessageStreamEvent: ...
def to_sdk_event(event: MessageStreamEvent, *, beta: bool = False) -> Any:
    """Return an event as the object that the SDK makes of the same payload.

    `messages.create(stream=True)` of the SDK yields such objects. If the SDK has no class for the
    event, as for a ping, the object is an `anthropic.BaseModel` with the members of the payload.

    Args:
        event: the event.
        beta: whether the class of the object is one of `anthropic.types.beta`.
    """
    normal, of_beta = CLASSES.get(event.type, (anthropic.BaseModel, anthropic.BaseModel))
    return (of_beta if beta else normal).model_construct(**payload_of(event))


@overload
def to_sdk_message(message: Message, *, beta: Literal[False] = False) -> SDKMessage: ...
@overload
def to_sdk_message(message: Message, *, beta: Literal[True]) -> BetaMessage: ...
@overload
def to_sdk_message(message: Message, *, beta: bool) -> SDKMessage | BetaMessage: ...
def to_sdk_message(message: Message, *, beta: bool = False) -> Any:
    """Return a message as an object of the SDK.

    If the input of a tool call is not complete, its `input` is None, although the SDK's annotation
    does not allow None. `{}` or a part of the arguments would look like a call that may be run.

    Args:
        message: a whole message, or a snapshot.
        beta: whether the result is a `BetaMessage`.
    """
    return (BetaMessage if beta else SDKMessage).model_construct(**message.to_dict())


def from_sdk_message(message: AnySDKMessage) -> Message:
    """Return a message of the SDK as a `Message`, without what the server has not sent.

    The result is `complete` if it has a stop reason. The SDK does not say whether the input of a
    tool call arrived in full, so every input that is an object counts as complete.

    Args:
        message: a message, a message of the beta, or what the stream helpers return.

    Raises:
        TypeError: `message` is not a message of the SDK.
    """
    check_type(message, SDKMessage, BetaMessage)
    # `model_dump` would add each member that the server has not sent, as null.
    written: dict[str, Any] = message.to_dict(mode="json")
    for block in written.get("content", ()):
        block.pop("parsed_output", None)  # the SDK's helper has added it
    return message_from_dict(written)


def payload_of(event: MessageStreamEvent) -> dict[str, Any]:
    """Return the payload of an event, with a type even if the server has sent none."""
    payload = event.to_dict()
    if "type" not in payload:
        payload["type"] = event.wire_type if isinstance(event, UnknownEvent) else event.type
    return payload


class FoldablePayloads:
    """Turns the events of one stream into payloads that the SDK's accumulators fold correctly.

    The accumulators rely on a stream that is as the API sends it. This class changes the payloads
    of other streams:

    - The SDK uses the index of a block as its position in the message. So the payload has the
      position instead of the index. Otherwise a gap between indexes would raise IndexError, and a
      repeated index would mix two blocks.
    - The SDK raises TypeError or AttributeError if `content` or `usage` is missing in a
      message_start, or `text` or `thinking` in a block that begins. So an empty one is added.
    - The SDK assigns the stop reason, its details and the output tokens of each message_delta, and
      None if they are missing. So the payload has the values that the message has after the event.
    - The SDK does not get an event whose data is not a JSON object, or an event or delta of a known
      type that our machine could not read. If content was lost with it, the stream raises at its
      end.

    If the server is the API, the payloads are equal to those that it sent.
    """

    def __init__(self) -> None:
        self._positions: dict[int, int] = {}
        self._blocks = 0

    def of(self, event: MessageStreamEvent, message: Message | None) -> dict[str, Any] | None:
        """Return the payload of an event, or None if the SDK must not see it.

        Args:
            event: the event.
            message: the message after this event. It is needed only if the event is a
                message_delta.
        """
        if isinstance(event, UnknownEvent):
            is_usable = event.raw is None and event.wire_type not in CLASSES
            return payload_of(event) if is_usable else None
        payload = payload_of(event)
        if isinstance(event, ContentBlockDeltaEvent):
            delta = event.delta
            if isinstance(delta, UnknownDelta) and delta.wire_type in DELTA_TYPES:
                return None
            payload["index"] = self._positions[event.index]
        elif isinstance(event, ContentBlockStartEvent):
            payload["index"] = self._positions[event.index] = self._blocks
            self._blocks += 1
            payload["content_block"] = with_text(event.content_block)
        elif isinstance(event, ContentBlockStopEvent):
            payload["index"] = self._positions[event.index]
        elif isinstance(event, MessageDeltaEvent) and message is not None:
            with_values_of(message, payload)
        elif isinstance(event, MessageStartEvent):
            payload["message"] = start = dict(payload["message"])
            start["content"] = [with_text(block) for block in event.message.content]
            start["usage"] = start.get("usage") or {}
            self._blocks = len(event.message.content)
            self._positions = {index: index for index in range(self._blocks)}
        return payload


def with_text(block: ContentBlock) -> dict[str, Any]:
    """Return the payload of a block, always with the text to which deltas are appended."""
    payload = block.to_dict()
    if isinstance(block, TextBlock):
        payload["text"] = block.text
    elif isinstance(block, ThinkingBlock):
        payload["thinking"] = block.thinking
    return payload


def with_values_of(message: Message, payload: dict[str, Any]) -> None:
    """Set the stop reason, its details and the output tokens of a message_delta's payload.

    They get the values that the message has after the event.
    """
    payload["delta"] = delta = dict(payload.get("delta") or {})
    for name in ("stop_reason", "stop_sequence", "stop_details"):
        value = getattr(message, name)
        if delta.get(name) != value:
            delta[name] = value
    payload["usage"] = usage = dict(payload.get("usage") or {})
    if usage.get("output_tokens") != message.usage.output_tokens:
        usage["output_tokens"] = message.usage.output_tokens


STOPPED_EARLY: Final = frozenset({"max_tokens", "model_context_window_exceeded", "refusal"})
"""The stop reasons of a model that did not finish. The last tool call may then lack its input."""


def raise_if_unfinished(message: Message | None) -> None:
    """Raise if the model has finished, but the input of a tool call is not complete.

    The accumulators of the SDK return what they could read of such an input, often `{}`. A program
    would run the tool with this input.

    Args:
        message: the message; None if there is none.

    Raises:
        IncompleteMessageError: a call of a tool that the caller runs has no complete input.
    """
    if message is None or message.stop_reason in STOPPED_EARLY:
        return
    unfinished: ToolUseBlock | None = None
    for block in message.content:
        if isinstance(block, FallbackBlock):
            unfinished = None  # after a refusal, which may cut a call, another model went on
        elif isinstance(block, ToolUseBlock) and block.input_state != "complete":
            unfinished = unfinished or block
    if unfinished is not None:
        call = f"the tool call {unfinished.id} ({unfinished.name})"
        error = unfinished.input_error
        reason = "" if error is None else f": {error.reason} at character {error.position}"
        raise IncompleteMessageError(
            f"the input of {call} is not complete{reason}",
            partial_message=message,
            verdict=Verdict.COMPLETE,
            content_emitted=True,
        )


def in_json(payload: dict[str, Any]) -> str:
    """Return a payload as the SDK's loop takes it: JSON text."""
    return json.dumps(payload)
