"""How long to wait for what, in words that every adapter can follow."""

from __future__ import annotations

import time
from typing import Any, Final, Literal, Self, TypeAlias

from attrs import evolve, field, frozen

__all__ = ["Deadline", "Phase", "Timeout", "left_of", "overdue"]


LONGEST: Final = 1e8
"""Three years; much more than that the system's own calls refuse."""


def _positive(_: Any, attribute: Any, value: Any) -> None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if value is not None and not (is_number and 0 < value <= LONGEST):
        raise ValueError(f"{attribute.name}: seconds above 0, at most 1e8, or None, not {value!r}")


@frozen
class Timeout:
    """Seconds; None waits for ever.

    Attributes:
        connect: until a connection is there, TLS included.
        read: the longest gap between bytes of the answer, and until its head.
        write: until the next 64 KiB of the request are taken.
        pool: until the pool has a connection to give, where there is a pool.
        idle: the longest gap between events that bring content: no pings, no unknown events and no
            empty deltas. Those keep `read` content for ever; a generation that is dead behind them
            shows here. The body of a refusal has it in all.
            Only time that was spent waiting counts, and it is looked at when bytes come, so it may
            be noticed a gap of `read` late.
        total: from the call to the end of its stream: all attempts, the waits between them, and
            what the reader does between two events.

    Raises ValueError for anything else.
    """

    connect: float | None = field(default=5.0, validator=_positive)
    read: float | None = field(default=600.0, validator=_positive)
    write: float | None = field(default=600.0, validator=_positive)
    pool: float | None = field(default=600.0, validator=_positive)
    idle: float | None = field(default=None, validator=_positive)
    total: float | None = field(default=None, validator=_positive)

    @classmethod
    def of(cls, value: Any, *, idle: float | None = None, total: float | None = None) -> Self:
        """Return a Timeout for a Timeout, which is returned as it is, or for one that says nothing
        of `idle` and `total`: a number for all else, None, or an `httpx.Timeout`.

        Raises TypeError for anything that has not `connect`, `read`, `write` and `pool`.
        """
        if isinstance(value, cls):
            return value
        if value is None or isinstance(value, int | float):
            return cls(value, value, value, value, idle, total)
        if all(hasattr(value, name) for name in ("connect", "read", "write", "pool")):
            return cls(value.connect, value.read, value.write, value.pool, idle, total)
        raise TypeError(f"a Timeout, a number or None is needed, not {type(value).__name__}")

    @property
    def tightened(self) -> Self:
        """The same, with a `read` that is not above `idle`: silence is no content either."""
        read = shorter(self.read, self.idle)
        return self if read == self.read else evolve(self, read=read)

    def within(self, deadline: Deadline | None) -> Self:
        """Return the same, with no wait that is longer than what is left until a deadline."""
        if deadline is None:
            return self
        left = max(deadline.left, SHORTEST)
        waits = {name: shorter(getattr(self, name), left) for name in WAITS}
        return evolve(self, **waits, total=left)


WAITS: Final = ("connect", "read", "write", "pool")

SHORTEST: Final = 0.001
"""What libraries are told where no time is left: 0 means other things to them."""


def shorter(seconds: float | None, other: float | None) -> float | None:
    """Return the shorter of two waits; None is for ever."""
    if seconds is None or other is None:
        return other if seconds is None else seconds
    return min(seconds, other)


class Deadline:
    """When all waiting for one answer ends: so many seconds after this was made."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._ends = time.monotonic() + seconds

    @classmethod
    def of(cls, total: float | Deadline | None) -> Deadline | None:
        """Return the deadline for so many seconds from now; one that runs already as it is."""
        return cls(total) if isinstance(total, int | float) else total

    @property
    def left(self) -> float:
        """The seconds until then, 0 if it is over."""
        return max(self._ends - time.monotonic(), 0.0)

    @property
    def is_over(self) -> bool:
        """Whether nothing may be waited for any more."""
        return time.monotonic() >= self._ends

    def error(self, what: Literal["head", "stream"]) -> TimeoutError:
        """Return what to raise when it is over, by what was waited for."""
        lacks = "the head had not come" if what == "head" else "the stream had not ended"
        return TimeoutError(f"total: {lacks} within {self._seconds:g} s")


def left_of(seconds: float | None, deadline: Deadline | None) -> float | None:
    """Return how long a single wait may be. Raises TimeoutError where the deadline is over."""
    if deadline is None:
        return seconds
    if deadline.is_over:
        raise TimeoutError
    return shorter(seconds, max(deadline.left, SHORTEST))


Phase: TypeAlias = Literal["connect", "TLS", "pool", "send", "head", "read"]
"""What is waited for, one after the other; `connect` bounds TLS as well, `read` the head."""

MISSING: Final[dict[Phase, str]] = {
    "connect": "there was no connection within",
    "TLS": "the handshake was not done within",
    "pool": "no connection was free within",
    "send": "nothing of the request was taken for",
    "head": "nothing of the response came for",
    "read": "nothing more of the response came for",
}


def overdue(phase: Phase, seconds: float | None) -> str:
    """Return what to say of a timeout: in which phase, and after how long, if that is known."""
    if seconds is None:
        return f"{phase}: it took too long"
    return f"{phase}: {MISSING[phase]} {seconds:g} s"
