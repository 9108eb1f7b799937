"""Reads the input of a target: bytes in, the body with its chunks and limits out.

The module also has the checks that all targets use.

The first `HEAD` bytes of an input choose limits, mode and chunk sizes. The rest is the body. Zeros
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
"""The number of bytes that choose options. The last eight of them are the sizes of the chunks."""

STRICT: Final = 0b1
WHOLE_STRINGS: Final = 0b10
INTERRUPTED: Final = 0b100
MEMORY: Final = 0b11000
"""Flags in the seventh byte. MEMORY has two bits, so that it is rarer, because it takes long."""

# So small that a few kilobytes reach each limit. The first value of each row is the default.
EVENT_BYTES: Final = (Limits().event_bytes, 1, 8, 30, 60, 120, 250, 500, 1_000)
BLOCK_BYTES: Final = (Limits().block_bytes, 1, 50, 130, 300, 600, 1_200)
TOTAL_BYTES: Final = (Limits().total_bytes, None, 0, 1, 40, 200, 700, 2_000)
BLOCKS: Final = (Limits().blocks, 0, 1, 2, 3, 5)
DEPTH: Final = (Limits().depth, 0, 1, 2, 3, 4, 6, 30)
VIOLATIONS: Final = (Limits().violations, 0, 1, 2, 5)

# Each single byte costs a call. After this many bytes, the rest is cut into small chunks with an
# odd size.
SINGLE_BYTES: Final = 1_000
SMALL_CHUNK: Final = 37

# The cost of a pickle grows with the bytes received so far. No stream is pickled more often.
PICKLES: Final = 50

# Memory is measured as the size of a pickle, because a pickle contains every object once. A
# violation or an error is a sentence and 1,024 characters of up to four bytes. The framer may hold
# as many flaws that are not reported yet.
FOR_A_VIOLATION: Final = 2 * 4_500


def seed(body: bytes, *choices: int) -> bytes:
    """Return the input with the body `body`. Choices that are not given are the defaults."""
    return bytes(choices).ljust(HEAD, b"\0") + body


@attrs.frozen
class Case:
    """One input: the bytes that choose options, and the body."""

    choices: bytes
    body: bytes

    @classmethod
    def of(cls, data: bytes) -> "Case":
        """Read an input. It may be shorter than `HEAD`."""
        return cls(data[:HEAD].ljust(HEAD, b"\0"), data[HEAD:])

    def choose(self, at: int, options: Sequence[Choice]) -> Choice:
        """Return one of the options. A zero chooses the first one."""
        return options[self.choices[at] % len(options)]

    @property
    def limits(self) -> Limits:
        """The chosen limits."""
        return Limits(
            event_bytes=self.choose(0, EVENT_BYTES),
            block_bytes=self.choose(1, BLOCK_BYTES),
            total_bytes=self.choose(2, TOTAL_BYTES),
            blocks=self.choose(3, BLOCKS),
            depth=self.choose(4, DEPTH),
            violations=self.choose(5, VIOLATIONS),
        )

    def has(self, flags: int) -> bool:
        """Return whether all of these flags are set."""
        return self.choices[6] & flags == flags

    def cuts(self, text: Text) -> Iterator[Text]:
        """Cut a text into chunks. The chosen sizes repeat, and a zero is an empty chunk."""
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


def single_bytes(body: bytes) -> list[bytes]:
    """Cut a body into single bytes. Cut the part after `SINGLE_BYTES` into small chunks."""
    rest = range(SINGLE_BYTES, len(body), SMALL_CHUNK)
    return [
        *wire.in_bytes(body[:SINGLE_BYTES]),
        *(body[start : start + SMALL_CHUNK] for start in rest),
    ]


def repeated(body: bytes) -> list[bytes]:
    """Return the body repeated as chunks. Together they are larger than the small limits."""
    chunk = body * (1 + 500 // (1 + len(body)))
    return [chunk] * (50_000 // (1 + len(chunk)))


def pickled(thing: Thing) -> Thing:
    """Return a copy that went through a pickle."""
    copied: Thing = pickle.loads(pickle.dumps(thing))
    return copied


def check_equal(what: str, one: object, other: object) -> None:
    """Check that two values are equal. The message names the part that differs."""
    if one == other:
        return
    kind: Any = type(one)
    if kind is type(other) and attrs.has(kind):
        for field in attrs.fields(kind):
            check_equal(
                f"{what}, {field.name}", getattr(one, field.name), getattr(other, field.name)
            )
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        for position, (left, right) in enumerate(zip(one, other, strict=False)):
            check_equal(f"{what} [{position}]", left, right)
        check_equal(f"the number of {what}", len(one), len(other))
    raise AssertionError(f"{what}: {reprlib.repr(one)} differs from {reprlib.repr(other)}")


def facts_of(error: APIError) -> dict[str, Any]:
    """Return the class, the message and the attributes of an error."""
    return {"class": type(error).__name__, "message": str(error), **vars(error)}


def check_error(error: APIError) -> None:
    """Check that an error can be pickled and quotes at most 1,024 characters."""
    check_equal("a pickled error", facts_of(error), facts_of(pickled(error)))
    assert len(getattr(error, "raw", "")) <= 1024, "an error quotes more than 1,024 characters"


def check_violations(kept: tuple[Violation, ...], count: int, limits: Limits) -> None:
    """Check that the first violations are kept, the others counted, and the excerpts short."""
    assert len(kept) == min(count, limits.violations), f"{len(kept)} kept of {count} violations"
    assert all(len(violation.excerpt) <= 1024 for violation in kept), "a long excerpt"
    for violation in kept:
        can_lose = violation.code.may_lose_content or not violation.loses_content
        assert can_lose, f"{violation.code} lost content, although this code never loses content"


def check_first_loss(first: Violation | None, kept: tuple[Violation, ...], count: int) -> None:
    """Check that the first loss is the first violation that loses content.

    The first loss is available even if the bounded list does not contain it.
    """
    losses = [violation for violation in kept if violation.loses_content]
    if losses or count == len(kept):
        check_equal("the first loss", losses[0] if losses else None, first)
    assert first is None or first.loses_content, "the first loss loses no content"


def check_raises_again(call: Callable[[], object], error: APIError) -> None:
    """Check that a call raises an equal error as a new object."""
    try:
        call()
    except type(error) as latched:
        check_equal("the error raised again", facts_of(error), facts_of(latched))
        assert latched is not error, "one object is raised twice"
    else:
        raise AssertionError(f"{error!r} is not raised again")
