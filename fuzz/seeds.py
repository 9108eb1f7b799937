"""The seeds of the fuzzer: the example captures as inputs, and the words of the protocol.

The inputs are derived from the examples, and most words from the classes of the library. So a new
event type is fuzzed as soon as it has a class.
"""

import json
from collections.abc import Iterator
from itertools import groupby, islice
from pathlib import Path
from typing import Any, Final, get_args

import attrs

from cases import INTERRUPTED, MEMORY, STRICT, WHOLE_STRINGS, seed
from sansio_stream import (
    ContentBlock,
    ContentBlockDelta,
    MessageStreamEvent,
    StreamMachine,
    ToolUseBlock,
    parse_capture,
)

REPOSITORY: Final = Path(__file__).resolve().parents[1]
EXAMPLES: Final = sorted((REPOSITORY / "examples").glob("*.capture.jsonl"))

# The first bytes of the seeds: all defaults, strict with many chunk sizes, few violations with
# interruptions, small limits.
HEADS: Final = (
    (),
    (0, 0, 0, 0, 0, 0, STRICT, 0, 3, 0, 50, 7, 200, 1, 64, 31),
    (0, 0, 0, 0, 0, 1, INTERRUPTED | WHOLE_STRINGS, 9, 255, 2, 0, 40),
    (8, 6, 6, 3, 7, 2, INTERRUPTED | MEMORY, 30, 17, 90),
)


def bodies() -> list[bytes]:
    """Return the body of each example."""
    return [parse_capture(path.read_bytes()).body for path in EXAMPLES]


def frames(body: bytes) -> list[bytes]:
    """Cut a body after each blank line."""
    parts = body.split(b"\n\n")
    return [part + b"\n\n" for part in parts[:-1]] + [part for part in parts[-1:] if part]


def thinned(body: bytes) -> bytes:
    """Keep only two deltas of each run, because a fuzzer works better on small inputs."""

    def kind(frame: bytes) -> bytes:
        return frame.partition(b'":"')[0] + frame.partition(b'"delta":')[2][:20]

    runs = (islice(run, 2) for _, run in groupby(frames(body), key=kind))
    return b"".join(frame for run in runs for frame in run)


def tool_inputs() -> Iterator[bytes]:
    """Yield the text of each tool input."""
    for body in bodies():
        machine = StreamMachine()
        for event in machine.receive_data(body):
            match getattr(event, "content_block", None):
                case ToolUseBlock(input_json=text):
                    yield text.encode()


def payloads(body: bytes) -> list[bytes]:
    """Return the data of each frame."""
    return [frame.partition(b"data: ")[2].strip() for frame in frames(body)]


def seeds(target: str) -> list[bytes]:
    """Return the first inputs for a target. They are few and short, because all of them run."""
    small = [thinned(body) for body in bodies()]
    match target:
        case "partial_json":
            found = [*tool_inputs(), *payloads(small[-1])]
        case "capture":
            lines = [path.read_bytes().splitlines(keepends=True) for path in EXAMPLES]
            found = [b"".join(each[:3] + each[-1:]) for each in lines]
            found += [b"\n".join(payloads(body)) for body in small]
            found += small[:1]
        case _:
            found = small
    return [seed(each, *head) for each in found for head in HEADS]


def whole_examples(target: str) -> list[bytes]:
    """Return the complete examples. They are too long for a fuzzer but not for a test."""
    found = [path.read_bytes() for path in EXAMPLES] if target == "capture" else bodies()
    return [seed(each, *head) for each in found for head in HEADS]


def words() -> list[str]:
    """Return the words that occur in streams, JSON texts and captures."""
    unions: tuple[Any, ...] = (MessageStreamEvent, ContentBlock, ContentBlockDelta)
    classes = [cls for union in unions for cls in get_args(union)]
    names = [cls.type for cls in classes]
    names += [field.name for cls in classes for field in attrs.fields(cls) if field.name[0] != "_"]
    names += ["stop_reason", "stop_sequence", "usage", "output_tokens", "content", "role", "model"]
    names += ["end_turn", "tool_use", "max_tokens", "refusal", "overloaded_error", "to", "code"]
    names += ["sansio_stream_capture", "status", "headers", "request", "at", "base64", "end"]
    names += ["eof", "error", "mcp_servers", "authorization_token", "request-id"]
    shards = ["event: ", "data: ", "id: ", "retry: ", "data:", ":", "\n\n", "\r\n\r\n", "\r"]
    shards += ["data: data: ", "dat: ", "event: message\n", "event: data\n", "retry: 2000x\n"]
    shards += ["[DONE]", "data: {}\n\n", ": ping\n\n", "\ufeff", "\u2028", "\0", "é", "\U0001f600"]
    shards += ["{}", "[]", "{", "}", "[", "]", '"', "\\", "\\n", "\\u", "\\ud83d", "\\ude00", '":']
    shards += ["null", "true", "false", "NaN", "Infinity", "-0", "1e5", "1e999", "0.5", "-", "E+"]
    shards += ["[" * 40, '{"":' * 10, "9" * 60]
    return [*(f'"{name}":' for name in dict.fromkeys(names)), *dict.fromkeys(names), *shards]


def dictionary() -> str:
    """Return the words as a dictionary file of libFuzzer."""
    return "".join(
        '"{}"\n'.format("".join(f"\\x{byte:02x}" for byte in word.encode())) for word in words()
    )


def members_of(frame: bytes) -> Any:
    """Return the payload of a frame, None if it is not JSON."""
    try:
        return json.loads(frame.partition(b"data:")[2])
    except ValueError:
        return None
