"""The class of a fault, and the legal stream that a fault damages.

A fault has facts and a function. The function of a fault of the bytes: a legal stream in, a damaged
body out. The function of a fault of the connection: the answer of a server in, another answer out.
This module knows no particular fault.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, Literal, Protocol, TypeAlias, TypeVar

import attrs

from ...encode import encode_json
from ...errors import APIError, Limits, Verdict
from ...machine import StreamMachine
from ...sse import SSEDecoder
from ..writing import PLAIN, Style
from .answer import Answer, Asked, Change, End, frames_of

__all__ = ["Damage", "Fault", "LegalStream"]

Item = TypeVar("Item")
Payload: TypeAlias = dict[str, Any]

OVERLOADED: Final[Payload] = {
    "type": "error",
    "error": {"type": "overloaded_error", "message": "Overloaded"},
}
DEEP: Final = 20_000
"""More arrays inside one another than json follows, unless somebody raises the recursion limit."""

GROWING: Final = {"text_delta": "text", "input_json_delta": "partial_json"}
"""By the type of a delta: the member that says something."""
ANY_DELTA: Final = tuple(GROWING)

OWN_NAMES: Final = ("", "message", "data")
"""The names, beside those of events, under which compatible servers send any event; "" for none."""


class Choose(Protocol):
    """What picks one of some options, of which there is at least one."""

    def __call__(self, options: Sequence[Item], /) -> Item:
        """Return it."""
        ...


NOT_WHOLE: Final = "a stream that is a whole message is needed"


def middle(options: Sequence[Item], /) -> Item:
    """Choose the middle one. Raises IndexError where there is none."""
    return options[len(options) // 2]


def recorded_frames(body: bytes) -> dict[str, bytes]:
    """Return the frames of a body, by the sorted JSON of their payloads."""
    recorded: dict[str, bytes] = {}
    for start, end in frames_of(body):
        frame = body[start:end]
        if b"\r" in frame:  # what cuts a line end off a frame takes PLAIN's, which is one byte long
            continue
        for event in SSEDecoder().receive_data(frame):
            with suppress(ValueError):  # it is no JSON, as the end mark of another protocol
                recorded[encode_json(json.loads(event.data), sort_keys=True)] = frame
    return recorded


@attrs.frozen
class LegalStream:
    """A legal stream, ready to be damaged.

    Attributes:
        payloads: of its events, in order; they may be changed.
        style: how they are written.
        limits: what the reader tolerates.
        choose: picks one of several ways to do it.
        recorded: the frames of payloads that are not written in this style, by their sorted JSON.
    """

    payloads: list[Payload]
    style: Style
    limits: Limits
    choose: Choose
    recorded: Mapping[str, bytes] = attrs.field(factory=dict[str, bytes])

    @classmethod
    def of(cls, body: bytes) -> LegalStream:
        """Return the stream with these bytes, which chooses the middle one of all ways.

        Frames whose payloads do not change stay as they are.

        Raises ValueError unless it is a whole message.
        """
        machine = StreamMachine()
        try:
            events = [*machine.receive_data(body), *machine.receive_eof()]
        except APIError as error:
            raise ValueError(NOT_WHOLE) from error
        if machine.verdict is not Verdict.COMPLETE:
            raise ValueError(NOT_WHOLE)
        payloads = [event.to_dict() for event in events]
        return cls(payloads, PLAIN, Limits(), middle, recorded_frames(body))

    def places(self, type: str) -> list[int]:
        """Return where the payloads of a type are."""
        return [at for at, payload in enumerate(self.payloads) if payload["type"] == type]

    def place(self, type: str) -> int:
        """Choose where a payload of a type is."""
        return self.choose(self.places(type))

    def telling_places(self, *deltas: str, of: Sequence[int] | None = None) -> list[int]:
        """Return where deltas of these types are that are not empty: all, or those of a block."""
        return [
            at
            for at in self.places("content_block_delta")
            if (of is None or at in of)
            and (kind := self.payloads[at]["delta"]["type"]) in deltas
            and self.payloads[at]["delta"][GROWING[kind]]
        ]

    def telling_place(self, *deltas: str) -> int:
        """Choose one of these places."""
        return self.choose(self.telling_places(*deltas))

    def block_around(self, place: int) -> list[int]:
        """Return where the events of a block are: its start, its deltas, its stop."""
        index = self.payloads[place]["index"]
        return [
            at
            for at, payload in enumerate(self.payloads)
            if payload["type"].startswith("content_block_") and payload["index"] == index
        ]

    def signature_place(self) -> int:
        """Choose where the delta with a signature is."""
        return self.choose(
            [
                at
                for at in self.places("content_block_delta")
                if self.payloads[at]["delta"]["type"] == "signature_delta"
            ]
        )

    def last_message_delta(self) -> Payload:
        """Return the payload of the last message_delta: the stop reason is in it."""
        return self.payloads[self.places("message_delta")[-1]]

    def tool_starts(self) -> list[int]:
        """Return where the calls of tools begin whose input is not empty."""
        return [
            at
            for at in self.places("content_block_start")
            if self.payloads[at]["content_block"]["type"] == "tool_use"
            and len(self.input_text(self.block_around(at))) > 2  # more than {}
        ]

    def tool_block(self) -> list[int]:
        """Choose one of them; return where its events are."""
        return self.block_around(self.choose(self.tool_starts()))

    def add_block(self, start: Payload, *deltas: Payload) -> None:
        """Add a block behind the others, with these deltas."""
        index = len(self.places("content_block_start"))
        end = self.places("message_delta")[0]
        self.payloads[end:end] = [
            {"type": "content_block_start", "index": index, "content_block": start},
            *({"type": "content_block_delta", "index": index, "delta": each} for each in deltas),
            {"type": "content_block_stop", "index": index},
        ]

    def input_text(self, block: Sequence[int]) -> str:
        """Return the text of a block's input."""
        deltas = [self.payloads[at].get("delta", {}) for at in block]
        return "".join(delta.get("partial_json", "") for delta in deltas)

    def tool_id(self, place: int) -> tuple[str, ...]:
        """Return the id of the call that the event belongs to; nothing for another block."""
        start = self.payloads[self.block_around(place)[0]]["content_block"]
        return (start["id"],) if "id" in start else ()

    def set_input(self, block: Sequence[int], text: str) -> None:
        """Give a call another text as its input."""
        first, *others = (
            at for at in block if "partial_json" in self.payloads[at].get("delta", {})
        )
        self.payloads[first]["delta"]["partial_json"] = text
        for at in others:
            self.payloads[at]["delta"]["partial_json"] = ""

    def cut_an_input(self) -> list[int]:
        """Cut the input of a call, which is broken by it; return where its events are."""
        block = self.tool_block()
        text = self.input_text(block)
        self.set_input(block, text[: self.choose(range(1, len(text)))])
        return block

    def body_with_input(self, block: Sequence[int], text: str) -> Damage:
        """Return the body with another text as the input of a call, which is broken by it."""
        self.set_input(block, text)
        return Damage(self.body(), broken=self.tool_id(block[0]))

    def frames(self) -> list[bytes]:
        """Return the frames."""
        return [self.frame(payload) for payload in self.payloads]

    def frame(self, payload: Payload) -> bytes:
        """Return the frame of a payload."""
        if not self.recorded:
            return self.style.frame(payload)
        known = self.recorded.get(encode_json(payload, sort_keys=True))
        return self.style.frame(payload) if known is None else known

    def body(self) -> bytes:
        """Return the bytes of what the payloads are now."""
        return self.style.joined(self.frames())

    def body_with_text(self, raw: bytes) -> bytes:
        """Return the body with raw bytes inside the JSON string of a text delta."""
        place = self.telling_place("text_delta")
        self.payloads[place]["delta"]["text"] = "<raw>"
        return self.body_with_raw(place, raw)

    def body_with_raw(self, place: int, raw: bytes) -> bytes:
        """Return the body with raw bytes in the place of "<raw>" in one frame."""
        return self.body_with_frame(place, self.frames()[place].replace(b"<raw>", raw))

    def body_with_frame(self, place: int, *frames: bytes) -> bytes:
        """Return the body with other frames in the place of one."""
        all_frames = self.frames()
        all_frames[place : place + 1] = frames
        return self.style.joined(all_frames)

    def compact(self, payload: Payload) -> str:
        """Return the JSON of a payload on one line, otherwise in the stream's style."""
        return attrs.evolve(self.style, indent=False).data(payload)


@attrs.frozen
class Damage:
    """A damaged body.

    Attributes:
        data: its bytes.
        verdict: how it ends; None where the fault leaves only one way, or where nobody can know.
        broken: ids of the tool calls that must not be run: their input must be reported as broken.
        altered: ids of those whose input has become another in a way that nobody can see.
        inputs: by id, the inputs of calls that mean something else than before.
        codes: which of the codes that the fault may have are certainly said.
        exception: what the source of the bytes raises after them.
    """

    data: bytes
    verdict: Verdict | None = None
    broken: tuple[str, ...] = ()
    altered: tuple[str, ...] = ()
    inputs: Mapping[str, Any] = attrs.field(factory=dict[str, Any])
    codes: tuple[str, ...] = ()
    exception: Exception | None = None


@attrs.frozen(kw_only=True)
class Fault:
    """Something that goes wrong.

    A fault changes the bytes of a stream, or what happens on the connection that brings them. One
    of the connection has no `problem`, `verdicts`, `codes`, `may`, `needs` and `limit`.

    Attributes:
        name: what it is called; an identifier, but that it may begin with a digit.
        description: what happens, in a sentence.
        damage: damages a stream; None for a fault of the connection.
        change: changes the answer of a server; None for a fault of the bytes.
        problem: a public report of it: owner/repository#number. "" for what needs none.
        verdicts: how a machine may end. Where there are several, the damage says which.
        codes: all of these are said: codes of violations, or of the error.
        may: these may be said as well; the damage says which certainly are. Nothing else is.
        needs: the types of blocks that a script must have.
        limit: the member of `Limits` that it exceeds, or "".
    """

    name: str
    description: str
    damage: Callable[[LegalStream], Damage | bytes] | None = attrs.field(default=None, repr=False)
    change: Change | None = attrs.field(default=None, repr=False)
    problem: str = ""
    verdicts: tuple[Verdict, ...] = ()
    codes: frozenset[str] = frozenset()
    may: frozenset[str] = frozenset()
    needs: tuple[str, ...] = ()
    limit: str = ""

    @property
    def changes(self) -> Literal["bytes", "connection"]:
        """What it changes: the bytes of a stream, or what happens on the connection."""
        return "connection" if self.damage is None else "bytes"

    def damaged(self, stream: LegalStream) -> Damage:
        """Return what becomes of a stream, whose payloads change.

        Raises ValueError where the fault changes the connection, not the bytes.
        """
        if self.damage is None:
            raise ValueError(f"{self.name} changes the connection, and not the bytes")
        damage = self.damage(stream)
        return Damage(damage) if isinstance(damage, bytes) else damage

    def changed(self, answer: Answer, asked: Asked) -> Answer:
        """Return what becomes of the answer of a server.

        A fault of the bytes takes the middle one of several places. The frames that it does not
        change stay as they are.

        Raises ValueError where a fault of the bytes needs another stream: one that is whole, and
        has blocks of the types in `needs`.
        """
        if self.change is not None:
            return self.change(answer, asked)
        stream = LegalStream.of(answer.body)
        try:
            damage = self.damaged(stream)
        except (LookupError, StopIteration, ValueError) as error:
            lacks = ", ".join(self.needs) or "other events"
            raise ValueError(f"{self.name} needs a stream that has {lacks}") from error
        end = End.WHOLE if damage.exception is None else End.RESET
        return attrs.evolve(answer.with_body(damage.data), end=end)


def fault(
    *verdicts: Verdict,
    problem: str = "",
    codes: Sequence[str] = (),
    may: Sequence[str] = (),
    needs: Sequence[str] = (),
    limit: str = "",
) -> Callable[[Callable[[LegalStream], Damage | bytes]], Fault]:
    """Make a fault of a function; its name and its docstring are the fault's."""

    def made_of(damage: Callable[[LegalStream], Damage | bytes]) -> Fault:
        return Fault(
            name=damage.__name__,
            description=" ".join((damage.__doc__ or "").split()),
            damage=damage,
            problem=problem,
            verdicts=verdicts,
            codes=frozenset(codes),
            may=frozenset(may),
            needs=tuple(needs),
            limit=limit,
        )

    return made_of
