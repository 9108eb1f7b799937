"""One input of a target: bytes in; what is to be fed, how it is cut and bounded, out.

And what every target demands of what it sees.

The first `HEAD` bytes of an input choose limits, mode and cuts, the rest is what is fed. Zeros
choose the defaults, so `seed(body)` is the plain case.
"""

import pickle
import reprlib
from collections.abc import Callable, Iterator, Sequence
from itertools import cycle
from typing import Any, Final, TypeVar

import attrs

import wire
from sansio_stream import (
    APIError,
    Limits,
    Violation,
)

Text = TypeVar("Text", str, bytes)
Choice = TypeVar("Choice")
Thing = TypeVar("Thing")

HEAD: Final = 16
"""How many bytes of an input choose; the last eight of them are the sizes of the chunks."""

STRICT: Final = 0b1
WHOLE_STRINGS: Final = 0b10
RESTLESS: Final = 0b100
MEMORY: Final = 0b11000
"""Flags in the seventh byte. Two bits for the last: it takes long, so it should be rarer."""

# Small enough that a few kilobytes reach each of them. The first of each row is the default.
EVENT_BYTES: Final = (Limits().event_bytes, 1, 8, 30, 60, 120, 250, 500, 1_000)
BLOCK_BYTES: Final = (Limits().block_bytes, 1, 50, 130, 300, 600, 1_200)
TOTAL_BYTES: Final = (Limits().total_bytes, None, 0, 1, 40, 200, 700, 2_000)
BLOCKS: Final = (Limits().blocks, 0, 1, 2, 3, 5)
DEPTH: Final = (Limits().depth, 0, 1, 2, 3, 4, 6, 30)
VIOLATIONS: Final = (Limits().violations, 0, 1, 2, 5)

# Single bytes cost a call each. What is behind these is fed in small chunks of an odd size.
SINGLE_BYTES: Final = 1_000
SMALL_CHUNK: Final = 37

# A pickle costs what has come so far: that many of one stream are made.
PICKLES: Final = 50

# What is held is measured as the size of a pickle: it has all there is, each thing once. A
# violation, or an error, is a sentence and 1,024 characters of up to four bytes, and the framer may
# have as many faults that are not reported yet.
FOR_A_VIOLATION: Final = 2 * 4_500


def seed(body: bytes, *choices: int) -> bytes:
    """Return the input that feeds `body`, with the defaults or with these first choices."""
    return bytes(choices).ljust(HEAD, b"\0") + body


@attrs.frozen
class Case:
    """One input, read: what was chosen, and what is to be fed."""

    choices: bytes
    body: bytes

    @classmethod
    def of(cls, data: bytes) -> "Case":
        """Read an input, however short."""
        return cls(data[:HEAD].ljust(HEAD, b"\0"), data[HEAD:])

    def choose(self, at: int, options: Sequence[Choice]) -> Choice:
        """Return one of the options; the first for a zero."""
        return options[self.choices[at] % len(options)]

    @property
    def limits(self) -> Limits:
        """The limits that were chosen."""
        return Limits(
            event_bytes=self.choose(0, EVENT_BYTES),
            block_bytes=self.choose(1, BLOCK_BYTES),
            total_bytes=self.choose(2, TOTAL_BYTES),
            blocks=self.choose(3, BLOCKS),
            depth=self.choose(4, DEPTH),
            violations=self.choose(5, VIOLATIONS),
        )

    def has(self, flags: int) -> bool:
        """Whether all of these flags are set."""
        return self.choices[6] & flags == flags

    def cuts(self, text: Text) -> Iterator[Text]:
        """Cut into chunks of the chosen sizes, again and again; zeros are empty chunks."""
        sizes = self.choices[8:]
        if not any(sizes):
            yield text
            return
        position = 0
        for size in cycle(sizes):
            if position >= len(text):
                return
            yield text[position : position + size]
            position += size


def singles(body: bytes) -> list[bytes]:
    """Cut into single bytes, and what is far behind into small chunks."""
    rest = range(SINGLE_BYTES, len(body), SMALL_CHUNK)
    return [
        *wire.in_bytes(body[:SINGLE_BYTES]),
        *(body[start : start + SMALL_CHUNK] for start in rest),
    ]


def again(body: bytes) -> list[bytes]:
    """Return the body as often as it takes to be more than small limits let anybody hold."""
    chunk = body * (1 + 500 // (1 + len(body)))
    return [chunk] * (50_000 // (1 + len(chunk)))


def pickled(thing: Thing) -> Thing:
    """Return a copy that went through a pickle."""
    copied: Thing = pickle.loads(pickle.dumps(thing))
    return copied


def same(what: str, one: object, other: object) -> None:
    """Demand that two ways to a thing gave equal things; where not, say which part is not."""
    if one == other:
        return
    kind: Any = type(one)
    if kind is type(other) and attrs.has(kind):
        for field in attrs.fields(kind):
            same(f"{what}, {field.name}", getattr(one, field.name), getattr(other, field.name))
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        for position, (left, right) in enumerate(zip(one, other, strict=False)):
            same(f"{what} [{position}]", left, right)
        same(f"the number of {what}", len(one), len(other))
    raise AssertionError(f"{what}: {reprlib.repr(one)} is not {reprlib.repr(other)}")


def facts_of(error: APIError) -> dict[str, Any]:
    """Return all that an error says, its class included."""
    return {"class": type(error).__name__, "message": str(error), **vars(error)}


def check_error(error: APIError) -> None:
    """An error can be pickled, and quotes no more than it should."""
    same("a pickled error", facts_of(error), facts_of(pickled(error)))
    assert len(getattr(error, "raw", "")) <= 1024, "an error quotes more than 1,024 characters"


def check_violations(kept: tuple[Violation, ...], count: int, limits: Limits) -> None:
    """The first violations are kept, the others counted; each quotes no more than it should."""
    assert len(kept) == min(count, limits.violations), f"{len(kept)} kept of {count} violations"
    assert all(len(violation.excerpt) <= 1024 for violation in kept), "a long excerpt"
    for violation in kept:
        can_lose = violation.code.may_lose_content or not violation.loses_content
        assert can_lose, f"{violation.code} never loses content, and has"


def check_first_loss(first: Violation | None, kept: tuple[Violation, ...], count: int) -> None:
    """The first loss is the first violation that is one, and is known beside the bounded list."""
    losses = [violation for violation in kept if violation.loses_content]
    if losses or count == len(kept):
        same("the first loss", losses[0] if losses else None, first)
    assert first is None or first.loses_content, "the first loss is none"


def raises(call: Callable[[], object], error: APIError) -> None:
    """Demand that a call raises what was raised before, as another object."""
    try:
        call()
    except type(error) as latched:
        same("the error raised again", facts_of(error), facts_of(latched))
        assert latched is not error, "one object is raised twice"
    else:
        raise AssertionError(f"{error!r} is not raised again")
