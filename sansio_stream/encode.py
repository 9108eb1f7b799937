"""Encoding: events in, bytes of a stream out; and a message in, the events that fold to it out. For
servers, gateways and tests.

Nothing is invented: what a message never had (a stop reason, an end, a whole tool input), no stream
that is written here has.
"""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any

from .codec import copy_with, decode, evolve, is_object
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
    """Return the one canonical frame of an event: its name, compact JSON on one line, a blank line.

    Reading it gives an equal event; an event that was kept raw is written raw. Lone surrogates are
    written as escapes, because UTF-8 has no place for them. Raises ValueError for values that JSON
    cannot hold (NaN), and for an unknown event whose type or raw text an event stream cannot hold.
    """
    return encode_frame(*name_and_data(event))


def name_and_data(event: MessageStreamEvent) -> tuple[str, str]:
    """Return the two fields of an event's frame."""
    raw = event.raw if isinstance(event, (PingEvent, ErrorEvent, UnknownEvent)) else None
    name = event.wire_type if isinstance(event, UnknownEvent) else event.type
    return name, encode_json(event.to_dict()) if raw is None else raw


def encode_json(value: object, **layout: Any) -> str:
    """Return JSON that UTF-8 can hold: compact, unless options of `json.dumps` say otherwise."""
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
    """Return a whole stream that folds to `message`, written as the API writes: for mock servers.

    The bytes depend on the arguments only. A message that is not `complete` gives a stream without
    `message_stop`; a tool input that is not whole, a block that is not stopped. Of a message that a
    machine has read from well-formed events everything comes back. What no stream can hold does
    not: in a message made by hand, a block whose type is no string, an input that is no object, a
    `fallback` block that names another model than the message does.

    Args:
        message: what `StreamMachine.final_message()`, `snapshot` or `message_from_dict` return.
        delta_characters: the least and the most characters of a text that one delta brings.
        pings: how many pings there are, anywhere after `message_start`.
        padding: how many spaces there may be before the last brace of a line.
        seed: of what looks random in it.

    Raises ValueError for numbers out of range, and for what JSON cannot hold.
    """
    least, most = delta_characters
    if not 1 <= least <= most or min(pings, padding) < 0:
        raise ValueError("a delta has at least 1 character; pings and padding are not negative")
    chance = Chance(seed)
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
    """Return the events that fold to `message`: what a server that had it whole would send.

    Args:
        message: as in `encode_stream`.
        delta_characters: how many characters each delta shall bring, one after another: 0 gives an
            empty delta. Taken as far as it is needed, so it must not be zeros for ever; where it
            ends, what is left of a text comes in one delta.

    Raises ValueError for a negative number.
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
    """Return a frame with so many spaces before the last brace of its JSON."""
    name, data = name_and_data(event)
    if isinstance(event, PingEvent):
        data = '{"type": "ping"}'  # the one line that the API writes with a space
    return encode_frame(name, data[:-1] + spaces * " " + data[-1:])


class Chance:
    """Numbers that look random and are the same for the same seed.

    A linear congruential generator with Knuth's constants for MMIX, of which the upper half is
    used: the core does not import `random`.
    """

    def __init__(self, seed: int) -> None:
        self._state = seed

    def between(self, least: int, most: int) -> int:
        """Return an integer from `least` to `most`."""
        self._state = (self._state * 6364136223846793005 + 1442695040888963407) % 2**64
        return least + (self._state >> 32) % (most - least + 1)


# What comes at the start, and what comes later.


def message_at_its_start(message: Message) -> Message:
    """Return the message without what later events bring."""
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
    """Return the message_delta that brings what came late."""
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
    """Return a block as it starts, and its deltas; what no delta brings is there from the start."""
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
            # The first delta of an input is empty.
            deltas += [InputJSONDelta(piece) for piece in ("", *pieces(text, sizes))]
        case _:
            start = block
    return evolve(start, unfolded=()), [*deltas, *block.unfolded]


def input_block_and_text(block: Any) -> tuple[ContentBlock, str]:
    """Return a tool call as it starts, and the text of its input.

    The text as it came, broken or cut as it may be; else the input, if there is anything in it.
    """
    text = block.input_json or (encode_json(block.input) if block.input else "")
    # Without a text the start block's input stands; it may be no object, and then it is shown.
    sent: Any = {} if text else block.partial_input
    return block_from_dict({**block.to_dict(), "input": sent}), text


def is_running(block: ContentBlock) -> bool:
    """Whether the block must not stop, because its input would be taken for whole: it is running,
    or a piece of it was lost and what came is an object all the same.
    """
    if not isinstance(block, InputBlock) or block.input_state == "complete":
        return False
    if block.input_state == "invalid":
        return is_object(value_of(block))
    return not isinstance(block, UnknownBlock) or block.input_json != ""


def value_of(block: InputBlock) -> Any:
    """Return the value of what came of an input; None for what is no JSON."""
    if not block.input_json:
        return block.partial_input
    try:
        return loads(block.input_json, finite=True)
    except InvalidJSONError:
        return None


def without(item: Any, **members: Any) -> Any:
    """Return a copy with other values for those of these members that say something."""
    return copy_with(
        item, **{name: value for name, value in members.items() if getattr(item, name)}
    )


def pieces(text: str, sizes: Iterator[int]) -> Iterator[str]:
    """Cut a text."""
    at = 0
    while at < len(text):
        size = next(sizes, len(text))
        if size < 0:
            raise ValueError("a delta cannot have less than no characters")
        yield text[at : at + size]
        at += size
