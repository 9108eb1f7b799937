"""Helpers for tests: make payloads and frames, cut a body into chunks, run a machine."""

import copy
import json
import random
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any

import attrs

from sansio_stream import (
    ContentBlock,
    Limits,
    MCPToolUseBlock,
    Message,
    MessageStreamEvent,
    ProtocolError,
    ServerToolUseBlock,
    State,
    StreamMachine,
    ToolUseBlock,
    UnknownBlock,
    Verdict,
    Violation,
)


def frame(payload: Any, name: str | None = None) -> bytes:
    """Return the frame of a payload as the API writes it.

    Args:
        payload: The data.
        name: The event name; None for the payload's type. If it is empty, there is no event field.
    """
    name = payload["type"] if name is None else name
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {json.dumps(payload)}\n\n".encode()


def body(*payloads: Any) -> bytes:
    """Return the frames of several payloads."""
    return b"".join(map(frame, payloads))


def message_start(message_id: str = "msg_1", **members: Any) -> dict[str, Any]:
    """Return a message_start as the API sends it; `members` replace or add members."""
    message: dict[str, Any] = {
        "id": message_id,
        "type": "message",
        "role": "assistant",
        "model": "claude-test-1",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 3, "output_tokens": 1},
    }
    return {"type": "message_start", "message": {**message, **members}}


def block_start(index: int, block: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return a content_block_start. Without `block` it starts an empty text block."""
    block = {"type": "text", "text": ""} if block is None else block
    return {"type": "content_block_start", "index": index, "content_block": block}


def tool_start(index: int, **members: Any) -> dict[str, Any]:
    """Return the content_block_start of a tool_use block."""
    block = {"type": "tool_use", "id": f"toolu_{index}", "name": "lookup", "input": {}}
    return block_start(index, {**block, **members})


def delta(index: int, kind: str, **members: Any) -> dict[str, Any]:
    return {
        "type": "content_block_delta",
        "index": index,
        "delta": {"type": kind, **members},
    }


def text(index: int, piece: str) -> dict[str, Any]:
    """Return a content_block_delta with a text_delta."""
    return delta(index, "text_delta", text=piece)


def json_piece(index: int, piece: str) -> dict[str, Any]:
    """Return a content_block_delta with a piece of a tool input."""
    return delta(index, "input_json_delta", partial_json=piece)


def block_stop(index: int) -> dict[str, Any]:
    return {"type": "content_block_stop", "index": index}


def message_delta(stop_reason: str | None = "end_turn", **members: Any) -> dict[str, Any]:
    """Return a message_delta as the API sends it."""
    changes = {"stop_reason": stop_reason, "stop_sequence": None}
    return {"type": "message_delta", "delta": changes, "usage": {"output_tokens": 9}, **members}


MESSAGE_STOP = {"type": "message_stop"}
PING = {"type": "ping"}
OVERLOADED = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}

HELLO = (
    message_start(),
    block_start(0),
    PING,
    text(0, "Hel"),
    text(0, "lo, wörld \N{PARTY POPPER}"),
    block_stop(0),
    message_delta(),
    MESSAGE_STOP,
)
"""The payloads of a complete short answer."""


def in_bytes(data: bytes) -> list[bytes]:
    """Cut a body into single bytes."""
    return [data[at : at + 1] for at in range(len(data))]


def at_random(data: bytes, seed: int = 0) -> list[bytes]:
    """Cut a body at random places. Some chunks may be empty."""
    chance = random.Random(seed)
    cuts = sorted(chance.choices(range(len(data) + 1), k=chance.randint(0, 40)))
    edges = [0, *cuts, len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


@attrs.frozen(unsafe_hash=False)
class Observation:
    """The values of a machine after one event, and the block to which the event belongs."""

    snapshot: Message | None
    violations: int
    verdict: Verdict
    state: State
    event_number: int
    byte_offset: int | None
    block: ContentBlock | None
    input: tuple[object, ...]

    @classmethod
    def of(cls, machine: StreamMachine, event: MessageStreamEvent) -> "Observation":
        """Read the values of a machine that has just returned this event."""
        block = machine.block(getattr(event, "index", -1))
        facts: tuple[object, ...] = ()
        if isinstance(block, ToolUseBlock | ServerToolUseBlock | MCPToolUseBlock | UnknownBlock):
            partial = copy.deepcopy(block.partial_input)  # it changes with later deltas
            facts = (block.input, block.input_json, block.input_state, block.input_error, partial)
        return cls(
            machine.snapshot,
            machine.violation_count,
            machine.verdict,
            machine.state,
            machine.event_number,
            machine.byte_offset,
            block,
            facts,
        )


@attrs.frozen(unsafe_hash=False)
class Outcome:
    """All results of a machine for one stream. They do not depend on how the stream was cut."""

    events: tuple[MessageStreamEvent, ...]
    observations: tuple[Observation, ...]
    violations: tuple[Violation, ...]
    violation_count: int
    verdict: Verdict
    state: State
    error: str
    partial_message: Message | None
    snapshot: Message | None


def run(
    chunks: Iterable[bytes | dict[str, Any]],
    *,
    strict: bool = False,
    limits: Limits | None = None,
    partial_strings: bool = True,
    fast_path: bool = True,
    observe: bool = False,
    consume_late: bool = False,
) -> tuple[StreamMachine, Outcome]:
    """Give a stream to a new machine.

    Args:
        chunks: The stream. Bytes are data, a dict is a payload for `receive_event`.
        strict: An option of the machine.
        limits: An option of the machine.
        partial_strings: An option of the machine.
        fast_path: An option of the machine.
        observe: Makes an `Observation` after each event.
        consume_late: Leaves all iterators of the chunks unread, so that `receive_eof` returns all
            events.

    Returns:
        The machine and its results. A `ProtocolError` is not raised but is in the results.
    """
    machine = StreamMachine(
        strict=strict, limits=limits, partial_strings=partial_strings, fast_path=fast_path
    )
    events: list[MessageStreamEvent] = []
    observations: list[Observation] = []

    def consume(iterator: Iterator[MessageStreamEvent]) -> None:
        for event in iterator:
            events.append(event)
            if observe:
                observations.append(Observation.of(machine, event))

    error, partial_message = "", None
    try:
        for chunk in chunks:
            iterator = (
                machine.receive_data(chunk)
                if isinstance(chunk, bytes)
                else machine.receive_event(chunk)
            )
            if not consume_late:
                consume(iterator)
        consume(machine.receive_eof())
    except ProtocolError as caught:
        fields = {name: value for name, value in vars(caught).items() if name != "partial_message"}
        error, partial_message = f"{type(caught).__name__} {fields}", caught.partial_message
    return machine, Outcome(
        tuple(events),
        tuple(observations),
        machine.violations,
        machine.violation_count,
        machine.verdict,
        machine.state,
        error,
        partial_message,
        machine.snapshot,
    )
