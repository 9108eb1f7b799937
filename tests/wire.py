"""Helpers to write streams in tests: payloads, frames, ways of cutting, one run of a machine."""

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
    """One frame in the API's own style; `name` where it is not the payload's type."""
    name = payload["type"] if name is None else name
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {json.dumps(payload)}\n\n".encode()


def body(*payloads: Any) -> bytes:
    """The frames of several payloads."""
    return b"".join(map(frame, payloads))


def message_start(message_id: str = "msg_1", **members: Any) -> dict[str, Any]:
    """A message_start as the API sends it."""
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
    """A content_block_start; a text block unless another is given."""
    block = {"type": "text", "text": ""} if block is None else block
    return {"type": "content_block_start", "index": index, "content_block": block}


def tool_start(index: int, **members: Any) -> dict[str, Any]:
    """The start of a tool call."""
    block = {"type": "tool_use", "id": f"toolu_{index}", "name": "lookup", "input": {}}
    return block_start(index, {**block, **members})


def delta(index: int, kind: str, **members: Any) -> dict[str, Any]:
    """A content_block_delta."""
    return {
        "type": "content_block_delta",
        "index": index,
        "delta": {"type": kind, **members},
    }


def text(index: int, piece: str) -> dict[str, Any]:
    """A text delta."""
    return delta(index, "text_delta", text=piece)


def json_piece(index: int, piece: str) -> dict[str, Any]:
    """A piece of a tool input."""
    return delta(index, "input_json_delta", partial_json=piece)


def block_stop(index: int) -> dict[str, Any]:
    """A content_block_stop."""
    return {"type": "content_block_stop", "index": index}


def message_delta(stop_reason: str | None = "end_turn", **members: Any) -> dict[str, Any]:
    """A message_delta as the API sends it."""
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
"""A whole small answer."""


def in_bytes(data: bytes) -> list[bytes]:
    """Cut into single bytes."""
    return [data[at : at + 1] for at in range(len(data))]


def at_random(data: bytes, seed: int = 0) -> list[bytes]:
    """Cut at random places, empty chunks included."""
    chance = random.Random(seed)
    cuts = sorted(chance.choices(range(len(data) + 1), k=chance.randint(0, 40)))
    edges = [0, *cuts, len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


@attrs.frozen(unsafe_hash=False)
class Observation:
    """What a machine has to say after one event, and of the block that the event was about."""

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
        """Look at a machine that has just given an event."""
        block = machine.block(getattr(event, "index", -1))
        facts: tuple[object, ...] = ()
        if isinstance(block, ToolUseBlock | ServerToolUseBlock | MCPToolUseBlock | UnknownBlock):
            partial = copy.deepcopy(block.partial_input)  # it is live
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
    """All that a machine has to say of a stream; equal for equal streams, however they were cut."""

    events: tuple[MessageStreamEvent, ...]
    moments: tuple[Observation, ...]
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
    look: bool = False,
    late: bool = False,
) -> tuple[StreamMachine, Outcome]:
    """Feed a stream to a new machine, and say what came of it.

    `look` looks at everything after each event; `late` takes the events when all was received.
    """
    machine = StreamMachine(
        strict=strict, limits=limits, partial_strings=partial_strings, fast_path=fast_path
    )
    events: list[MessageStreamEvent] = []
    moments: list[Observation] = []

    def drain(taken: Iterator[MessageStreamEvent]) -> None:
        for event in taken:
            events.append(event)
            if look:
                moments.append(Observation.of(machine, event))

    error, partial_message = "", None
    try:
        for chunk in chunks:
            taken = (
                machine.receive_data(chunk)
                if isinstance(chunk, bytes)
                else machine.receive_event(chunk)
            )
            if not late:
                drain(taken)
        drain(machine.receive_eof())
    except ProtocolError as caught:
        fields = {name: value for name, value in vars(caught).items() if name != "partial_message"}
        error, partial_message = f"{type(caught).__name__} {fields}", caught.partial_message
    return machine, Outcome(
        tuple(events),
        tuple(moments),
        machine.violations,
        machine.violation_count,
        machine.verdict,
        machine.state,
        error,
        partial_message,
        machine.snapshot,
    )
