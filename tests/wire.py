"""Helpers to write streams in tests: payloads, frames, ways of cutting, one run of a machine."""

import json
import random
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any

import attrs

from sansio_stream import (
    Limits,
    Message,
    MessageStreamEvent,
    ProtocolError,
    State,
    StreamMachine,
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
class Outcome:
    """All that a machine has to say of a stream; equal for equal streams, however they were cut."""

    events: tuple[MessageStreamEvent, ...]
    snapshots: tuple[Message | None, ...]
    violations: tuple[Violation, ...]
    violation_count: int
    verdict: Verdict
    state: State
    error: str
    snapshot: Message | None


def run(
    chunks: Iterable[bytes | dict[str, Any]],
    *,
    strict: bool = False,
    limits: Limits | None = None,
    partial_strings: bool = True,
    snapshots: bool = False,
) -> tuple[StreamMachine, Outcome]:
    """Feed a stream to a new machine, and say what came of it; look after each event if wanted."""
    machine = StreamMachine(strict=strict, limits=limits, partial_strings=partial_strings)
    events: list[MessageStreamEvent] = []
    seen: list[Message | None] = []

    def drain(taken: Iterator[MessageStreamEvent]) -> None:
        for event in taken:
            events.append(event)
            if snapshots:
                seen.append(machine.snapshot)

    error = ""
    try:
        for chunk in chunks:
            drain(
                machine.receive_data(chunk)
                if isinstance(chunk, bytes)
                else machine.receive_event(chunk)
            )
        drain(machine.receive_eof())
    except ProtocolError as caught:
        fields = {k: v for k, v in vars(caught).items() if k != "partial_message"}
        error = f"{type(caught).__name__} {fields}"
    return machine, Outcome(
        tuple(events),
        tuple(seen),
        machine.violations,
        machine.violation_count,
        machine.verdict,
        machine.state,
        error,
        machine.snapshot,
    )
