"""The class of a fault, and the legal stream that a fault damages.

A fault has a function. For a fault of the bytes, the function turns a legal stream into a damaged
body. For a fault of the connection, it turns the answer of a server into another answer. This
module knows no particular fault.
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
"""A number of nested arrays that `json` cannot parse with the default recursion limit."""

GROWING: Final = {"text_delta": "text", "input_json_delta": "partial_json"}
"""The member with the content of a delta, by the type of the delta."""
ANY_DELTA: Final = tuple(GROWING)

OWN_NAMES: Final = ("", "message", "data")
"""The generic event names that compatible servers use for any event. "" means no `event:` line."""


class Choose(Protocol):
    """A function that picks one of several options. There is at least one option."""

    def __call__(self, options: Sequence[Item], /) -> Item:
        """Return one of the options."""
        ...


NOT_WHOLE: Final = "the fault needs a stream that is a complete message"


def middle(options: Sequence[Item], /) -> Item:
    """Return the middle option. Raises IndexError if there is no option."""
    return options[len(options) // 2]


def recorded_frames(body: bytes) -> dict[str, bytes]:
    """Return the frames of a body, by the sorted JSON of their payloads."""
    recorded: dict[str, bytes] = {}
    for start, end in frames_of(body):
        frame = body[start:end]
        if b"\r" in frame:  # the faults that cut a line end off expect one byte, as in PLAIN
            continue
        for event in SSEDecoder().receive_data(frame):
            with suppress(ValueError):  # not JSON, such as [DONE]
                recorded[encode_json(json.loads(event.data), sort_keys=True)] = frame
    return recorded


@attrs.frozen
class LegalStream:
    """A legal stream, ready to be damaged.

    Attributes:
        payloads: the payloads of its events, in order. A fault may change them.
        style: the style in which they are written.
        limits: the limits of the reader.
        choose: picks one of several variants of a fault.
        recorded: the frames of a recording, by the sorted JSON of their payloads. A payload that
            has such a frame is not written in `style`.
    """

    payloads: list[Payload]
    style: Style
    limits: Limits
    choose: Choose
    recorded: Mapping[str, bytes] = attrs.field(factory=dict[str, bytes])

    @classmethod
    def of(cls, body: bytes) -> LegalStream:
        """Return the stream with these bytes. Its `choose` takes the middle option.

        Frames whose payloads do not change stay as they are.

        Raises:
            ValueError: if the bytes are not a complete message.
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
        """Return the indexes of the payloads of a type."""
        return [at for at, payload in enumerate(self.payloads) if payload["type"] == type]

    def place(self, type: str) -> int:
        """Choose one payload of a type, and return its index."""
        return self.choose(self.places(type))

    def telling_places(self, *deltas: str, of: Sequence[int] | None = None) -> list[int]:
        """Return the indexes of the deltas of these types that are not empty.

        With `of`, only those among the given indexes.
        """
        return [
            at
            for at in self.places("content_block_delta")
            if (of is None or at in of)
            and (kind := self.payloads[at]["delta"]["type"]) in deltas
            and self.payloads[at]["delta"][GROWING[kind]]
        ]

    def telling_place(self, *deltas: str) -> int:
        """Choose one delta of these types that is not empty, and return its index."""
        return self.choose(self.telling_places(*deltas))

    def block_around(self, place: int) -> list[int]:
        """Return the indexes of the events of a block: its start, its deltas, its stop."""
        index = self.payloads[place]["index"]
        return [
            at
            for at, payload in enumerate(self.payloads)
            if payload["type"].startswith("content_block_") and payload["index"] == index
        ]

    def signature_place(self) -> int:
        """Choose one signature_delta, and return its index."""
        return self.choose(
            [
                at
                for at in self.places("content_block_delta")
                if self.payloads[at]["delta"]["type"] == "signature_delta"
            ]
        )

    def last_message_delta(self) -> Payload:
        """Return the payload of the last message_delta. It has the stop reason."""
        return self.payloads[self.places("message_delta")[-1]]

    def tool_starts(self) -> list[int]:
        """Return the indexes of the starts of tool calls whose input is not empty."""
        return [
            at
            for at in self.places("content_block_start")
            if self.payloads[at]["content_block"]["type"] == "tool_use"
            and len(self.input_text(self.block_around(at))) > 2  # more than {}
        ]

    def tool_block(self) -> list[int]:
        """Choose one tool call whose input is not empty. Return the indexes of its events."""
        return self.block_around(self.choose(self.tool_starts()))

    def add_block(self, start: Payload, *deltas: Payload) -> None:
        """Add a block with these deltas after the other blocks."""
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
        """Return the id of the call to which an event belongs; () if its block is not a call."""
        start = self.payloads[self.block_around(place)[0]]["content_block"]
        return (start["id"],) if "id" in start else ()

    def set_input(self, block: Sequence[int], text: str) -> None:
        """Replace the text of the input of a call."""
        first, *others = (
            at for at in block if "partial_json" in self.payloads[at].get("delta", {})
        )
        self.payloads[first]["delta"]["partial_json"] = text
        for at in others:
            self.payloads[at]["delta"]["partial_json"] = ""

    def cut_an_input(self) -> list[int]:
        """Cut the input of a call, so that it is broken. Return the indexes of its events."""
        block = self.tool_block()
        text = self.input_text(block)
        self.set_input(block, text[: self.choose(range(1, len(text)))])
        return block

    def body_with_input(self, block: Sequence[int], text: str) -> Damage:
        """Return the body with another text as the input of a call. The call is then broken."""
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
        """Return the bytes of the stream with its present payloads."""
        return self.style.joined(self.frames())

    def body_with_text(self, raw: bytes) -> bytes:
        """Return the body with raw bytes inside the JSON string of a text delta."""
        place = self.telling_place("text_delta")
        self.payloads[place]["delta"]["text"] = "<raw>"
        return self.body_with_raw(place, raw)

    def body_with_raw(self, place: int, raw: bytes) -> bytes:
        """Return the body with raw bytes instead of "<raw>" in one frame."""
        return self.body_with_frame(place, self.frames()[place].replace(b"<raw>", raw))

    def body_with_frame(self, place: int, *frames: bytes) -> bytes:
        """Return the body with other frames instead of one frame."""
        all_frames = self.frames()
        all_frames[place : place + 1] = frames
        return self.style.joined(all_frames)

    def compact(self, payload: Payload) -> str:
        """Return the JSON of a payload in the style of the stream, but on one line."""
        return attrs.evolve(self.style, indent=False).data(payload)


@attrs.frozen
class Damage:
    """A damaged body.

    Attributes:
        data: the bytes.
        verdict: the expected verdict. None if the fault has only one verdict, or if the verdict
            cannot be predicted.
        broken: the ids of tool calls whose input a reader must report as broken. They must not be
            run.
        altered: the ids of tool calls whose input has changed in a way that no reader can detect.
        inputs: the new inputs of calls whose input has changed, by id.
        codes: the codes of `Fault.may` that the machine certainly reports.
        exception: the exception that the source of the bytes raises after them.
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
    """A fault of a stream.

    It changes either the bytes of the stream or the connection that brings them. A fault of the
    connection has no `problem`, `verdicts`, `codes`, `may`, `needs` and `limit`.

    Attributes:
        name: the name. It is an identifier, except that it may begin with a digit.
        description: what happens, in a sentence.
        stream_function: the function that damages a stream; None for a fault of the connection.
        answer_function: the function that changes the answer of a server; None for a fault of the
            bytes.
        problem: a public report of the fault, as owner/repository#number; "" if it needs none.
        verdicts: the possible verdicts of a machine. If there are several, `Damage.verdict` is the
            one for that damaged body.
        codes: the codes of violations, or of the error, that a machine always reports.
        may: the codes that it may report as well. `Damage.codes` has those that it certainly
            reports. It reports no other codes.
        needs: the types of blocks that a script must have.
        limit: the member of `Limits` that the fault exceeds, or "".
    """

    name: str
    description: str
    stream_function: Callable[[LegalStream], Damage | bytes] | None = attrs.field(
        default=None, repr=False
    )
    answer_function: Change | None = attrs.field(default=None, repr=False)
    problem: str = ""
    verdicts: tuple[Verdict, ...] = ()
    codes: frozenset[str] = frozenset()
    may: frozenset[str] = frozenset()
    needs: tuple[str, ...] = ()
    limit: str = ""

    @property
    def kind(self) -> Literal["bytes", "connection"]:
        """The kind of the fault: it changes the bytes of a stream, or the connection."""
        return "connection" if self.stream_function is None else "bytes"

    def apply_to_stream(self, stream: LegalStream) -> Damage:
        """Damage a stream and return the result. The payloads of the stream change.

        Raises:
            ValueError: if this is a fault of the connection.
        """
        if self.stream_function is None:
            raise ValueError(f"the fault {self.name} changes the connection, not the bytes")
        damage = self.stream_function(stream)
        return Damage(damage) if isinstance(damage, bytes) else damage

    def apply_to_answer(self, answer: Answer, asked: Asked) -> Answer:
        """Return the answer of a server with this fault.

        If a fault of the bytes could be at several places, it is at the middle one. The frames
        that it does not change stay as they are.

        Raises:
            ValueError: if this is a fault of the bytes, and the stream is not a complete message
                or lacks a block of a type in `needs`.
        """
        if self.answer_function is not None:
            return self.answer_function(answer, asked)
        stream = LegalStream.of(answer.body)
        try:
            damage = self.apply_to_stream(stream)
        except (LookupError, StopIteration, ValueError) as error:
            lacks = ", ".join(self.needs) or "other events"
            raise ValueError(f"the fault {self.name} needs a stream with {lacks}") from error
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
    """Return a decorator that makes a fault of a function.

    The name and the docstring of the function become the name and description of the fault.
    """

    def made_of(function: Callable[[LegalStream], Damage | bytes]) -> Fault:
        return Fault(
            name=function.__name__,
            description=" ".join((function.__doc__ or "").split()),
            stream_function=function,
            problem=problem,
            verdicts=verdicts,
            codes=frozenset(codes),
            may=frozenset(may),
            needs=tuple(needs),
            limit=limit,
        )

    return made_of
