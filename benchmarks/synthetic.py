"""A seed and a size in, the events of a stream in the API's own style out.

What makes it the API's style, and matters to a parser: compact JSON, `type` first, 0 to 15 blanks
before the last brace of every payload but ping's, an `event:` line above every `data:` line, a ping
now and then, deltas of 4 to 20 characters (some 140 bytes an event), and blocks of the three kinds
that carry nearly all traffic: thinking (closed by a signature), text, and tool use.
"""

import json
import random
from collections.abc import Iterator
from typing import Any

import attrs

WORDS_A_BLOCK = 500
PING_EVERY = 50

# Mostly plain words; an escape or a character beyond ASCII now and then, as in real answers.
WORDS = (
    *("the", "stream", "began", "with", "a", "message", "and", "ended", "well", "because", "of"),
    *("it", "in", "bytes", "Größe", "naïve", "日本語", "🙂", 'say "hi"', "C:\\dir", "line\nbreak"),
)


@attrs.frozen(unsafe_hash=False)
class Stream:
    """One message: its payloads as text, in order, and what they add up to."""

    payloads: list[str] = attrs.field(repr=False)
    texts: list[str] = attrs.field(repr=False)
    """By block: the thinking, the text, or the tool's input as JSON text."""

    @property
    def frames(self) -> list[bytes]:
        """The server-sent event of each payload."""
        return [
            f"event: {json.loads(payload)['type']}\ndata: {payload}\n\n".encode()
            for payload in self.payloads
        ]


def stream(events: int, seed: int = 2026) -> Stream:
    """At least `events` events, up to the end of a block. The same seed gives the same stream."""
    rng = random.Random(seed)
    payloads: list[str] = []
    texts: list[str] = []

    def send(payload: dict[str, Any]) -> None:
        if len(payloads) % PING_EVERY == 2:
            payloads.append('{"type": "ping"}')
        text = json.dumps(payload, ensure_ascii=False, separators=(",", ":"))
        payloads.append(text[:-1] + " " * rng.randrange(16) + "}")

    send({"type": "message_start", "message": _message()})
    while len(payloads) < events - 2:
        index = len(texts)
        start, delta_type, member = _KINDS[index % len(_KINDS)]
        send({"type": "content_block_start", "index": index, "content_block": start})
        pieces = list(_pieces(rng, delta_type))
        for piece in pieces:
            delta = {"type": delta_type, member: piece}
            send({"type": "content_block_delta", "index": index, "delta": delta})
        if delta_type == "thinking_delta":
            delta = {"type": "signature_delta", "signature": "EqQB" + "x" * 300}
            send({"type": "content_block_delta", "index": index, "delta": delta})
        send({"type": "content_block_stop", "index": index})
        texts.append("".join(pieces))
    called = len(texts) >= len(_KINDS)
    ending = {"stop_reason": "tool_use" if called else "end_turn", "stop_sequence": None}
    usage = {"output_tokens": len(payloads)}
    send({"type": "message_delta", "delta": ending, "usage": usage})
    send({"type": "message_stop"})
    return Stream(payloads, texts)


def cut(body: bytes, size: int) -> list[bytes]:
    """The body in chunks of `size` bytes, as no server would send it and every network may."""
    return [body[start : start + size] for start in range(0, len(body), size)]


# The kinds of block: how one starts, the type of its deltas, and the member that carries them.
_KINDS: tuple[tuple[dict[str, Any], str, str], ...] = (
    ({"type": "thinking", "thinking": "", "signature": ""}, "thinking_delta", "thinking"),
    ({"type": "text", "text": ""}, "text_delta", "text"),
    (
        {"type": "tool_use", "id": "toolu_01", "name": "write_file", "input": {}},
        "input_json_delta",
        "partial_json",
    ),
)


def _message() -> dict[str, Any]:
    return {
        "id": "msg_01",
        "type": "message",
        "role": "assistant",
        "model": "claude-sonnet-4-5",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 472, "output_tokens": 2},
    }


def _pieces(rng: random.Random, delta_type: str) -> Iterator[str]:
    words = " ".join(rng.choices(WORDS, k=WORDS_A_BLOCK))
    if delta_type == "input_json_delta":
        words = json.dumps({"path": "notes.md", "content": words}, ensure_ascii=False)
    while words:
        size = rng.randrange(4, 21)
        yield words[:size]
        words = words[size:]
