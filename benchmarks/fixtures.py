"""Functions that make a stream of a given size. Each is named for the parser branch it exercises.

Unless its name says otherwise, a stream has the style of the API:

- compact JSON with `type` first
- 0 to 15 spaces before the last brace of every payload except ping
- an `event:` line before every `data:` line
- a ping after every 50 payloads
- deltas of 4 to 20 characters, which make about 140 bytes an event

The same arguments give the same bytes on every machine.
"""

import json
import random
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

import attrs

SEED: Final = 2026
WORDS_A_BLOCK: Final = 500
PING_EVERY: Final = 50

# Escapes and non-ASCII characters are more frequent here than in most answers, because a JSON
# reader is slower on them.
PLAIN: Final = (
    *("the", "stream", "began", "with", "a", "message", "and", "ended", "well", "because", "of"),
    *("it", "in", "bytes"),
)
DELICATE: Final = ("Größe", "naïve", "日本語", "🙂", 'say "hi"', "C:\\dir", "line\nbreak")
WORDS: Final = (*PLAIN, *DELICATE)

Style: TypeAlias = Callable[[dict[str, Any], random.Random], str]
"""A function that writes a payload as JSON text."""


@attrs.frozen(unsafe_hash=False)
class Fixture:
    """A stream of one message.

    Attributes:
        payloads: the JSON texts, in order.
        contents: what the deltas of each block add up to: its thinking, its text, or the input of
            the tool as JSON text.
        line_end: the line end of the body.
        has_names: whether each frame has an `event` line.
    """

    payloads: list[str] = attrs.field(repr=False)
    contents: list[str] = attrs.field(repr=False)
    line_end: str = "\n"
    has_names: bool = True

    @property
    def frames(self) -> list[bytes]:
        """The server-sent event of each payload: what most clients get as a chunk of its own."""
        frames: list[bytes] = []
        for payload in self.payloads:
            lines = [f"data: {payload}", "", ""]
            if self.has_names:
                lines.insert(0, f"event: {json.loads(payload)['type']}")
            frames.append(self.line_end.join(lines).encode())
        return frames

    def chunks(self, size: int | None) -> list[bytes]:
        """Return the body in chunks of `size` bytes, or in one chunk for each event."""
        frames = self.frames
        if size is None:
            return frames
        body = b"".join(frames)
        return [body[start : start + size] for start in range(0, len(body), size)]


# Styles.


def api_style(payload: dict[str, Any], rng: random.Random) -> str:
    """Write a payload in the style of the API."""
    if payload["type"] == "ping":
        return '{"type": "ping"}'
    text = json.dumps(payload, ensure_ascii=False, separators=(",", ":"))
    return text[:-1] + " " * rng.randrange(16) + "}"


def dumps_style(payload: dict[str, Any], _: random.Random) -> str:
    """Write a payload as `json.dumps` does by default, with spaces and with escapes for non-ASCII.

    Many proxies send payloads in this style.
    """
    return json.dumps(payload)


def late_blanks_style(payload: dict[str, Any], rng: random.Random) -> str:
    """The style of the API, but with the padding after the last brace."""
    text = api_style(payload, rng)
    return (
        text if payload["type"] == "ping" else text[:-1].rstrip(" ") + "}" + " " * rng.randrange(16)
    )


def backwards_style(payload: dict[str, Any], rng: random.Random) -> str:
    """Write a payload in the style of the API, with the members of every object reversed."""
    return api_style(backwards(payload), rng)


def backwards(value: dict[str, Any]) -> dict[str, Any]:
    """Reverse the members of an object and of the objects inside it."""
    return {
        name: backwards(member) if isinstance(member, dict) else member
        for name, member in reversed(value.items())
    }


# Fixtures.


def mixed(events: int, style: Style = api_style, seed: int = SEED) -> Fixture:
    """Blocks of three kinds in turn: thinking with a signature, text, tool use.

    Nearly all traffic has these kinds. The stream has at least `events` events and ends with a
    complete block.
    """
    writer = _Writer(style, seed)
    while len(writer.payloads) < events - 2:
        kind = KINDS[len(writer.contents) % len(KINDS)]
        words = " ".join(writer.rng.choices(WORDS, k=WORDS_A_BLOCK))
        if kind is TOOL_USE:
            words = json.dumps({"path": "notes.md", "content": words}, ensure_ascii=False)
        writer.block(kind, pieces(words, writer.rng))
    return writer.end()


def mixed_backwards(events: int) -> Fixture:
    """Like `mixed` with reversed keys, so that no fast path for the API's order applies."""
    return mixed(events, backwards_style)


def mixed_by_dumps(events: int) -> Fixture:
    """Like `mixed`, as many proxies write it: spaces after colons and commas, and escapes."""
    return mixed(events, dumps_style)


def mixed_with_crlf(events: int) -> Fixture:
    """The mixed stream with CRLF as its line end."""
    return attrs.evolve(mixed(events), line_end="\r\n")


def mixed_without_names(events: int) -> Fixture:
    """The mixed stream without `event` lines. Each frame has a violation."""
    return attrs.evolve(mixed(events), has_names=False)


def mixed_with_late_blanks(events: int) -> Fixture:
    """The mixed stream with its padding after the last brace."""
    return mixed(events, late_blanks_style)


def text_only(events: int) -> Fixture:
    """One block of text, so that nearly every event is the commonest one."""
    return _text(events, WORDS)


def plain_text(events: int) -> Fixture:
    """Like `text_only`, in ASCII without escapes: the fastest case for a JSON reader."""
    return _text(events, PLAIN)


def delicate_text(events: int) -> Fixture:
    """Like `text_only`, where every word has an escape or a non-ASCII character."""
    return _text(events, DELICATE)


def many_pings(events: int) -> Fixture:
    """Every third event is a ping, as in a slow answer that is kept alive."""
    writer = _Writer(ping_every=3)
    writer.block(TEXT, ["slow "] * (events * 2 // 3 - 4))
    return writer.end()


def short_answer() -> Fixture:
    """Seven events, so that the fixed cost of a stream is visible."""
    writer = _Writer(ping_every=None)
    writer.block(TEXT, ["Hello, ", "world!"])
    return writer.end()


def string_input(characters: int) -> Fixture:
    """One tool input that is mostly one string of `characters` characters, such as a file."""
    rng = random.Random(SEED)
    words = " ".join(rng.choices(WORDS, k=characters // 4))[:characters]
    return _tool_input(json.dumps({"path": "notes.md", "content": words}, ensure_ascii=False))


def records_input(characters: int) -> Fixture:
    """One tool input with an array of small objects, each about 86 characters long."""
    rng = random.Random(SEED)
    records = [
        {"id": number, "name": rng.choice(WORDS), "score": rng.random(), "tags": ["x", None, True]}
        for number in range(characters // 86)
    ]
    return _tool_input(json.dumps({"records": records}, ensure_ascii=False))


def many_blocks(blocks: int) -> Fixture:
    """Many short blocks, so that the costs of a block and of a finished block are visible."""
    writer = _Writer(ping_every=None)
    for _ in range(blocks):
        writer.block(TEXT, ["short"])
    return writer.end()


def violations(events: int) -> Fixture:
    """Many empty deltas for a block that never started.

    Each is tolerated and recorded as a violation. The message is complete because an empty delta
    contains nothing.
    """
    writer = _Writer(ping_every=None)
    writer.block(TEXT, ["kept"])
    for _ in range(events - 6):
        writer.delta(7, "text_delta", text="")
    return writer.end()


def huge_event(characters: int) -> Fixture:
    """One delta with the whole text, so that its frame spans many chunks."""
    writer = _Writer(ping_every=None)
    writer.block(TEXT, ["word " * (characters // 5)])
    return writer.end()


# Writing the payloads.


@attrs.frozen(unsafe_hash=False)
class Kind:
    """A kind of block: its start, the type of its deltas, and the member with the delta's text."""

    start: dict[str, Any]
    delta: str
    member: str


THINKING: Final = Kind(
    {"type": "thinking", "thinking": "", "signature": ""}, "thinking_delta", "thinking"
)
TEXT: Final = Kind({"type": "text", "text": ""}, "text_delta", "text")
TOOL_USE: Final = Kind(
    {"type": "tool_use", "id": "toolu_01", "name": "write_file", "input": {}},
    "input_json_delta",
    "partial_json",
)
KINDS: Final = (THINKING, TEXT, TOOL_USE)


def pieces(text: str, rng: random.Random) -> list[str]:
    """Cut a text into pieces of 4 to 20 characters, 12 on average."""
    found: list[str] = []
    start = 0
    while start < len(text):
        end = start + rng.randrange(4, 21)
        found.append(text[start:end])
        start = end
    return found


class _Writer:
    """A writer that collects payloads. The first one is `message_start`.

    Args:
        style: writes a payload as JSON text.
        seed: the seed of all random choices.
        ping_every: the number of payloads from one ping to the next. None sends no pings.
    """

    def __init__(
        self, style: Style = api_style, seed: int = SEED, ping_every: int | None = PING_EVERY
    ) -> None:
        self.rng = random.Random(seed)
        self.payloads: list[str] = []
        self.contents: list[str] = []
        self._style = style
        self._ping_every = ping_every
        self._stop_reason = "end_turn"
        message: dict[str, Any] = {
            "id": "msg_01",
            "type": "message",
            "role": "assistant",
            "model": "claude-sonnet-4-5",
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {"input_tokens": 472, "output_tokens": 2},
        }
        self.send("message_start", message=message)

    def send(self, kind: str, **members: Any) -> None:
        if self._ping_every is not None and len(self.payloads) % self._ping_every == 2:
            self.payloads.append(self._style({"type": "ping"}, self.rng))
        self.payloads.append(self._style({"type": kind, **members}, self.rng))

    def delta(self, index: int, kind: str, **members: Any) -> None:
        self.send("content_block_delta", index=index, delta={"type": kind, **members})

    def block(self, kind: Kind, pieces: Sequence[str]) -> None:
        index = len(self.contents)
        self.send("content_block_start", index=index, content_block=kind.start)
        for piece in pieces:
            self.delta(index, kind.delta, **{kind.member: piece})
        if kind is THINKING:
            self.delta(index, "signature_delta", signature="EqQB" + "x" * 300)
        if kind is TOOL_USE:
            self._stop_reason = "tool_use"
        self.send("content_block_stop", index=index)
        self.contents.append("".join(pieces))

    def end(self) -> Fixture:
        changes = {"stop_reason": self._stop_reason, "stop_sequence": None}
        usage = {"output_tokens": len(self.payloads)}
        self.send("message_delta", delta=changes, usage=usage)
        self.send("message_stop")
        return Fixture(self.payloads, self.contents)


def _text(events: int, words: Sequence[str]) -> Fixture:
    writer = _Writer()
    # No word is longer than two pieces of 4 characters, so this text is long enough.
    text = " ".join(writer.rng.choices(words, k=events * 4))
    deltas = (events - 5) * (PING_EVERY - 1) // PING_EVERY
    writer.block(TEXT, pieces(text, writer.rng)[:deltas])
    return writer.end()


def _tool_input(document: str) -> Fixture:
    writer = _Writer()
    writer.block(TOOL_USE, pieces(document, writer.rng))
    return writer.end()
