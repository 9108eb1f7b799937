"""Encoding: events to the bytes of a stream, and a message to the events that fold to it.

Servers, gateways and tests use this module. It invents nothing: if a message lacks a stop reason,
an end or a complete tool input, the stream lacks it, too.
"""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any

from .codec import decode, is_object
from .copies import copy_with, evolve
from .events import (
    CitationsDelta,
    CompactionDelta,
    ContentBlockDeltaEvent,
    ContentBlockStartEvent,
    ContentBlockStopEvent,
    ErrorEvent,
    InputJSONDelta,
    MessageDelta,
    MessageDeltaEvent,
    MessageDeltaUsage,
    MessageStartEvent,
    MessageStopEvent,
    PingEvent,
    SignatureDelta,
    TextDelta,
    ThinkingDelta,
    UnknownEvent,
)
from .message import (
    CompactionBlock,
    InputBlock,
    TextBlock,
    ThinkingBlock,
    UnknownBlock,
)
from .partial_json import InvalidJSONError, loads
from .payloads import block_from_dict
from .sse import encode_frame

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .events import ContentBlockDelta, MessageStreamEvent
    from .message import ContentBlock, Message

__all__ = ["encode_event", "encode_stream", "events_from_message"]


# One event.


def encode_event(event: MessageStreamEvent) -> bytes:
    """Return the canonical frame of an event: its name, compact JSON on one line, a blank line.

    Reading the frame gives an equal event. If the event has a `raw` text, the frame has that text
    instead of JSON. Lone surrogates are written as escapes, because UTF-8 cannot encode them.

    Raises:
        ValueError: if JSON cannot represent a value of the event, such as NaN, or if a frame cannot
            hold the type or the raw text of an unknown event.
    """
    return encode_frame(*name_and_data(event))


def name_and_data(event: MessageStreamEvent) -> tuple[str, str]:
    """Return the name and the data of an event's frame."""
    raw = event.raw if isinstance(event, (PingEvent, ErrorEvent, UnknownEvent)) else None
    name = event.wire_type if isinstance(event, UnknownEvent) else event.type
    return name, encode_json(event.to_dict()) if raw is None else raw


def encode_json(value: object, **layout: Any) -> str:
    """Return JSON text that UTF-8 can encode. It is compact unless `layout` changes that.

    Args:
        value: a JSON value.
        layout: options of `json.dumps`.

    Raises:
        ValueError: if JSON cannot represent a value, such as NaN.
    """
    layout.setdefault("ensure_ascii", False)
    layout.setdefault("separators", (",", ":"))
    text = json.dumps(value, allow_nan=False, **layout)
    try:
        text.encode()
    except UnicodeEncodeError:
        layout["ensure_ascii"] = True
        return json.dumps(value, allow_nan=False, **layout)
    return text


# A whole message.


def encode_stream(
    message: Message,
    *,
    delta_characters: tuple[int, int] = (1, 24),
    pings: int = 1,
    padding: int = 16,
    seed: int = 0,
) -> bytes:
    """Return a whole stream that folds to `message`, written in the style of the API.

    This function is meant for mock servers. The bytes depend only on the arguments. If the message
    is not `complete`, the stream has no `message_stop`. A block does not stop if a stop would make
    a reader take its incomplete tool input for complete.

    Reading the stream gives back everything in a message that a machine has read from well-formed
    events. A message made by hand may contain what no stream can express, and that does not come
    back: a block whose type is not a string, an input that is not an object, a `fallback` block
    that names another model than the message does.

    Args:
        message: the result of `StreamMachine.final_message()`, `snapshot` or `message_from_dict`.
        delta_characters: the smallest and the largest number of characters in one delta of a text.
        pings: the number of pings. Each has a pseudo-random place after `message_start`.
        padding: the largest number of spaces before the last brace of a line.
        seed: the seed of all pseudo-random choices.

    Raises:
        ValueError: if a number is out of range, or if JSON cannot represent a value of the message.
    """
    least, most = delta_characters
    if not 1 <= least <= most or min(pings, padding) < 0:
        raise ValueError(
            "delta_characters must be at least 1 and ascending; pings and padding at least 0"
        )
    chance = PseudoRandom(seed)
    sizes = (chance.between(least, most) for _ in itertools.count())
    events = list(events_from_message(message, sizes))
    for _ in range(pings):
        # The API sends nothing after message_stop.
        last = len(events) - message.complete
        events.insert(chance.between(1, last), PingEvent())
    return b"".join(padded(event, chance.between(0, padding)) for event in events)


def events_from_message(
    message: Message, delta_characters: Iterable[int]
) -> Iterator[MessageStreamEvent]:
    """Yield the events that fold to `message`: those that a server would send for it.

    Args:
        message: as in `encode_stream`.
        delta_characters: the number of characters in each delta, in order. 0 gives an empty delta.
            It may be endless, because no more numbers are taken than are needed, but it must not
            yield zeros for ever. After its end, the rest of each text comes in one delta.

    Raises:
        ValueError: if a number is negative.
    """
    sizes = iter(delta_characters)
    yield MessageStartEvent(message_at_its_start(message))
    for index, block in enumerate(message.content):
        start, deltas = block_and_deltas(block, sizes)
        yield ContentBlockStartEvent(index, start)
        for delta in deltas:
            yield ContentBlockDeltaEvent(index, delta)
        if not is_running(block):
            yield ContentBlockStopEvent(index)
    if message.stop_reason is not None:
        yield last_changes_of(message)
    if message.complete:
        yield MessageStopEvent()


def padded(event: MessageStreamEvent, spaces: int) -> bytes:
    """Return the frame of an event with this many spaces before the last brace of its JSON."""
    name, data = name_and_data(event)
    if isinstance(event, PingEvent):
        data = '{"type": "ping"}'  # the only payload in which the API writes a space
    return encode_frame(name, data[:-1] + spaces * " " + data[-1:])


class PseudoRandom:
    """A generator of pseudo-random numbers. The same seed always gives the same numbers.

    It is a linear congruential generator with Knuth's constants for MMIX. It uses only the upper
    half of its state. `random` is not used, because the core does not import it.
    """

    def __init__(self, seed: int) -> None:
        self._state = seed

    def between(self, least: int, most: int) -> int:
        """Return an integer from `least` to `most`."""
        self._state = (self._state * 6364136223846793005 + 1442695040888963407) % 2**64
        return least + (self._state >> 32) % (most - least + 1)


# Dividing a message: the parts in message_start, and the parts in later events.


def message_at_its_start(message: Message) -> Message:
    """Return the message for message_start: without the values that later events set."""
    start: Message = without(message, content=())
    if message.stop_reason is not None:
        start = without(
            start,
            stop_reason=None,
            stop_sequence=None,
            stop_details=None,
            container=None,
            safeguard_results=None,
            context_management=None,
            input_transformations=None,
        )
        if message.usage.output_tokens:
            start = evolve(start, usage=copy_with(message.usage, output_tokens=1))
    return evolve(start, complete=False)


def last_changes_of(message: Message) -> MessageDeltaEvent:
    """Return the message_delta that sets the values which are known only after the content."""
    tokens = message.usage.output_tokens
    return MessageDeltaEvent(
        MessageDelta(
            stop_reason=message.stop_reason,
            stop_sequence=message.stop_sequence,
            stop_details=message.stop_details,
            container=message.container,
            safeguard_results=message.safeguard_results,
        ),
        decode(MessageDeltaUsage, {} if tokens is None else {"output_tokens": tokens}),
        context_management=message.context_management,
        input_transformations=message.input_transformations,
    )


def block_and_deltas(
    block: ContentBlock, sizes: Iterator[int]
) -> tuple[ContentBlock, list[ContentBlockDelta]]:
    """Return a block as it starts, and its deltas. What no delta can set is set at the start."""
    deltas: list[ContentBlockDelta] = []
    match block:
        case UnknownBlock():
            start: ContentBlock = block
        case TextBlock(text=text, citations=citations):
            start = without(block, text="", citations=())
            deltas += [CitationsDelta(citation) for citation in citations or ()]
            deltas += [TextDelta(piece) for piece in pieces(text, sizes)]
        case ThinkingBlock(thinking=thinking, signature=signature):
            start = without(block, thinking="", signature="")
            deltas += [ThinkingDelta(piece) for piece in pieces(thinking, sizes)]
            deltas += [SignatureDelta(signature)] if signature else []
        case CompactionBlock(content=str(content)):
            start = without(block, content=None)
            deltas.append(CompactionDelta(content))
        case InputBlock():
            start, text = input_block_and_text(block)
            # The API sends an empty first delta of an input.
            deltas += [InputJSONDelta(piece) for piece in ("", *pieces(text, sizes))]
        case _:
            start = block
    return evolve(start, unfolded=()), [*deltas, *block.unfolded]


def input_block_and_text(block: Any) -> tuple[ContentBlock, str]:
    """Return a tool call as it starts, and the text of its input.

    The text is `input_json` unchanged, even if it is damaged or cut off. If there is no such text,
    it is the JSON of the input, or "" if the input is empty.
    """
    text = block.input_json or (encode_json(block.input) if block.input else "")
    # If there is no text, the start block carries the input. `partial_input` has it even if it is
    # not an object.
    sent: Any = {} if text else block.partial_input
    return block_from_dict({**block.to_dict(), "input": sent}), text


def is_running(block: ContentBlock) -> bool:
    """Whether the block must not stop, because its input would then be taken for complete.

    There are two kinds of such blocks: a block that is still running, and a block that lost a piece
    of its input if the rest of the input happens to be a JSON object.
    """
    if not isinstance(block, InputBlock) or block.input_state == "complete":
        return False
    if block.input_state == "invalid":
        return is_object(value_of(block))
    return not isinstance(block, UnknownBlock) or block.input_json != ""


def value_of(block: InputBlock) -> Any:
    """Return the value of the part of an input that arrived; None if that part is not JSON."""
    if not block.input_json:
        return block.partial_input
    try:
        return loads(block.input_json, finite=True)
    except InvalidJSONError:
        return None


def without(item: Any, **members: Any) -> Any:
    """Return a copy with these members changed, except those that are already falsy."""
    return copy_with(
        item, **{name: value for name, value in members.items() if getattr(item, name)}
    )


def pieces(text: str, sizes: Iterator[int]) -> Iterator[str]:
    """Yield a text in pieces of these sizes.

    Raises:
        ValueError: if a size is negative.
    """
    at = 0
    while at < len(text):
        size = next(sizes, len(text))
        if size < 0:
            raise ValueError(f"delta_characters must not have a negative number, but has {size}")
        yield text[at : at + size]
        at += size
