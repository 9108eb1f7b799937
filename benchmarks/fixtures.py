"""A size in, a stream out, each named for the branch of a parser that it exercises.

All are in the API's own style: compact JSON, `type` first, 0 to 15 blanks before the last brace of
every payload but ping's, an `event:` line above every `data:` line, a ping now and then, deltas of
4 to 20 characters (some 140 bytes an event). Where one is not, that is what it is for, and its name
says so. The same arguments give the same bytes on every machine.
"""

import json
import random
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

import attrs

SEED: Final = 2026
WORDS_A_BLOCK: Final = 500
PING_EVERY: Final = 50

# Escapes and characters beyond ASCII are more frequent than in most answers: they are the cases in
# which a reader must take care.
PLAIN: Final = (
    *("the", "stream", "began", "with", "a", "message", "and", "ended", "well", "because", "of"),
    *("it", "in", "bytes"),
)
DELICATE: Final = ("Größe", "naïve", "日本語", "🙂", 'say "hi"', "C:\\dir", "line\nbreak")
WORDS: Final = (*PLAIN, *DELICATE)

Style: TypeAlias = Callable[[dict[str, Any], random.Random], str]
"""How a payload is written."""


@attrs.frozen(unsafe_hash=False)
class Fixture:
    """One stream of one message.

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
        """The body in chunks of so many bytes, or one for each event."""
        frames = self.frames
        if size is None:
            return frames
        body = b"".join(frames)
        return [body[start : start + size] for start in range(0, len(body), size)]


# Styles.


def api_style(payload: dict[str, Any], rng: random.Random) -> str:
    """As the API writes it."""
    if payload["type"] == "ping":
        return '{"type": "ping"}'
    text = json.dumps(payload, ensure_ascii=False, separators=(",", ":"))
    return text[:-1] + " " * rng.randrange(16) + "}"


def dumps_style(payload: dict[str, Any], _: random.Random) -> str:
    """As `json.dumps` writes it when nobody asks for anything: blanks, and escapes for all that is
    not ASCII. What comes out of many a proxy.
    """
    return json.dumps(payload)


def late_blanks_style(payload: dict[str, Any], rng: random.Random) -> str:
    """The style of the API, but with the padding after the last brace."""
    text = api_style(payload, rng)
    return (
        text if payload["type"] == "ping" else text[:-1].rstrip(" ") + "}" + " " * rng.randrange(16)
    )


def backwards_style(payload: dict[str, Any], rng: random.Random) -> str:
    """As the API writes it, but with the members of every object in reverse."""
    return api_style(backwards(payload), rng)


def backwards(value: dict[str, Any]) -> dict[str, Any]:
    """Reverse the members of an object and of the objects in it."""
    return {
        name: backwards(member) if isinstance(member, dict) else member
        for name, member in reversed(value.items())
    }


# Fixtures.


def mixed(events: int, style: Style = api_style, seed: int = SEED) -> Fixture:
    """Blocks of the three kinds that carry nearly all traffic in turn: thinking (closed by a
    signature), text, tool use. At least `events` events, up to the end of a block.
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
    """Off every fast path that knows the API's order of keys: the same, the keys in reverse."""
    return mixed(events, backwards_style)


def mixed_by_dumps(events: int) -> Fixture:
    """Blanks behind colons and commas, all beyond ASCII escaped: the same through a proxy."""
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
    """One block of text: nothing but the commonest event."""
    return _text(events, WORDS)


def plain_text(events: int) -> Fixture:
    """The same in ASCII and without escapes: what a string costs that needs no care."""
    return _text(events, PLAIN)


def delicate_text(events: int) -> Fixture:
    """The same with nothing but words that have an escape or are not ASCII."""
    return _text(events, DELICATE)


def many_pings(events: int) -> Fixture:
    """Every third event is a ping: a slow answer, kept alive."""
    writer = _Writer(ping_every=3)
    writer.block(TEXT, ["slow "] * (events * 2 // 3 - 4))
    return writer.end()


def short_answer() -> Fixture:
    """Seven events: what is paid once a stream and not once an event."""
    writer = _Writer(ping_every=None)
    writer.block(TEXT, ["Hello, ", "world!"])
    return writer.end()


def string_input(characters: int) -> Fixture:
    """One tool input, a file to write: one string of so many characters, and little else."""
    rng = random.Random(SEED)
    words = " ".join(rng.choices(WORDS, k=characters // 4))[:characters]
    return _tool_input(json.dumps({"path": "notes.md", "content": words}, ensure_ascii=False))


def records_input(characters: int) -> Fixture:
    """One tool input, a table: some 86 characters for each of many small objects in an array."""
    rng = random.Random(SEED)
    records = [
        {"id": number, "name": rng.choice(WORDS), "score": rng.random(), "tags": ["x", None, True]}
        for number in range(characters // 86)
    ]
    return _tool_input(json.dumps({"records": records}, ensure_ascii=False))


def many_blocks(blocks: int) -> Fixture:
    """Many short blocks: what is paid for each block, and for each one that is done."""
    writer = _Writer(ping_every=None)
    for _ in range(blocks):
        writer.block(TEXT, ["short"])
    return writer.end()


def violations(events: int) -> Fixture:
    """An empty delta for a block that never began, again and again: each is tolerated and recorded,
    and the message is whole, because nothing is lost.
    """
    writer = _Writer(ping_every=None)
    writer.block(TEXT, ["kept"])
    for _ in range(events - 6):
        writer.delta(7, "text_delta", text="")
    return writer.end()


def huge_event(characters: int) -> Fixture:
    """One delta with all the text: a frame that fills many chunks."""
    writer = _Writer(ping_every=None)
    writer.block(TEXT, ["word " * (characters // 5)])
    return writer.end()


# How they are written.


@attrs.frozen(unsafe_hash=False)
class Kind:
    """A kind of block: how one starts, the type of its deltas, the member that carries them."""

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
    """Payloads, one after another; begins with `message_start`.

    Args:
        ping_every: how many payloads there are from one ping to the next, None for no pings.
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
    # A word is never longer than two pieces: enough of them for any number of events.
    text = " ".join(writer.rng.choices(words, k=events * 4))
    deltas = (events - 5) * (PING_EVERY - 1) // PING_EVERY
    writer.block(TEXT, pieces(text, writer.rng)[:deltas])
    return writer.end()


def _tool_input(document: str) -> Fixture:
    writer = _Writer()
    writer.block(TOOL_USE, pieces(document, writer.rng))
    return writer.end()
