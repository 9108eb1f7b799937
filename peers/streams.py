"""The streams that both sides read: captures, vectors, and streams for all other differences."""

import base64
import json
from codecs import BOM_UTF8
from collections.abc import Iterator
from typing import Any, Final

import attrs

from shared_data import captures, load
from wire import (
    HELLO,
    MESSAGE_STOP,
    block_start,
    block_stop,
    delta,
    frame,
    json_piece,
    message_delta,
    message_start,
    text,
    tool_start,
)

from .readers import frames_of


@attrs.frozen
class Stream:
    """A body as a sequence of frames."""

    name: str
    frames: tuple[bytes, ...]


def recorded() -> Iterator[Stream]:
    """Yield the captures. Payloads recorded without their frames get frames like the API's."""
    for capture in captures(".sse"):
        yield Stream(capture.file, frames_of(capture.body))
    for capture in captures(".jsonl"):
        payloads = map(json.loads, filter(None, capture.body.splitlines()))
        yield Stream(capture.file, tuple(map(frame, payloads)))


def vectors() -> Iterator[Stream]:
    """Yield the message vectors."""
    for row in load("vectors/messages.jsonl"):
        body = b"".join(map(base64.b64decode, row["chunks_b64"]))
        yield Stream(row["name"], frames_of(body))


def message(*payloads: dict[str, Any], end: str | None = "end_turn") -> tuple[bytes, ...]:
    """Return the frames of a complete message that contains these events."""
    return tuple(map(frame, (message_start(), *payloads, message_delta(end), MESSAGE_STOP)))


def made() -> Iterator[Stream]:
    """Yield a stream for each difference that neither a capture nor a vector has."""
    hello = tuple(map(frame, HELLO))
    yield Stream("made/byte-order-mark", (BOM_UTF8 + hello[0], *hello[1:]))
    yield Stream("made/named-done-marker", (*hello, b"event: done\ndata: [DONE]\n\n"))
    yield Stream("made/text-under-ping", (*hello[:3], frame(text(0, "Oh. "), "ping"), *hello[3:]))
    yield Stream("made/negative-index", message(block_start(0), text(-1, "the last?")))
    yield Stream(
        "made/stop-reason-then-null",
        (*hello[:-1], frame(message_delta(None)), hello[-1]),
    )
    deep = '{"type": "ping", "deep": ' + 20_000 * "[" + 20_000 * "]" + "}"
    yield Stream(
        "made/deep-event", (*hello[:3], f"event: weather\ndata: {deep}\n\n".encode(), *hello[3:])
    )
    for name, usage in (("mistyped", {"output_tokens": "12"}), ("empty", {})):
        yield Stream(
            f"made/{name}-usage", (*hello[:-2], frame(message_delta(usage=usage)), hello[-1])
        )
    yield Stream(
        "made/start-without-content",
        (frame({"type": "message_start", "message": {"id": "msg_1"}}), *hello[1:]),
    )
    yield Stream(
        "made/spliced-message",
        (*hello[:4], *map(frame, (message_start("msg_2"), *HELLO[1:]))),
    )
    half = (tool_start(0), json_piece(0, '{"q": "\ud83d"}'), block_stop(0))
    yield Stream("made/surrogate-in-input", message(*half, end="tool_use"))
    yield Stream(
        "made/halved-character", message(block_start(0), text(0, "\ud83d"), text(0, "\ude00"))
    )
    yield Stream(
        "made/usage-alone",
        (*hello[:-1], frame({"type": "message_delta", "usage": {"output_tokens": 9}}), hello[-1]),
    )
    for name, start in (("number", 5), ("list", ["word"])):
        block = block_start(0, {"type": "text", "text": start})
        yield Stream(f"made/text-is-a-{name}", message(block, text(0, "and more"), block_stop(0)))
    number = {"type": "message_delta", "delta": {"stop_reason": 5}, "usage": {"output_tokens": 9}}
    yield Stream("made/stop-reason-is-a-number", (*hello[:-2], frame(number), hello[-1]))
    empty = {"type": "message_delta", "delta": {"stop_reason": ""}, "usage": {"output_tokens": 9}}
    yield Stream("made/stop-reason-is-empty", (*hello[:-2], frame(empty), hello[-1]))
    hologram = block_start(0, {"type": "hologram", "input": {}})
    yield Stream(
        "made/unknown-block-with-input",
        message(hologram, json_piece(0, '{"depth": 3}'), block_stop(0)),
    )
    summary = {"type": "compaction", "content": None, "encrypted_content": "Ev4B"}
    yield Stream(
        "made/compaction-says-half",
        message(block_start(0, summary), delta(0, "compaction_delta", content="Earlier: ")),
    )


RECORDED: Final = {stream.name: stream for stream in recorded()}
VECTORS: Final = {stream.name: stream for stream in vectors()}
MADE: Final = {stream.name: stream for stream in made()}
