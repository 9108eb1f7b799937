"""Timeouts and deadlines that every adapter can apply."""

from __future__ import annotations

import time
from typing import Any, Final, Literal, Self, TypeAlias

from attrs import evolve, field, frozen

__all__ = ["Deadline", "Phase", "Timeout", "left_of", "overdue"]


REQUEST_PIECE_BYTES: Final = 65_536
"""The size of the pieces in which a request is sent. Each piece has its own `write` timeout."""

LONGEST: Final = 1e8
"""The longest timeout in seconds, about three years. System calls reject much larger numbers."""


def _positive(_: Any, attribute: Any, value: Any) -> None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if value is not None and not (is_number and 0 < value <= LONGEST):
        raise ValueError(
            f"{attribute.name} must be None, or seconds above 0 and at most 1e8, not {value!r}"
        )


@frozen
class Timeout:
    """The time limits of a call in seconds. None waits for ever.

    Attributes:
        connect: The longest wait for a connection, TLS included.
        read: The longest wait for the head of the response, and then for its next bytes.
        write: The longest wait until the peer accepts the next 64 KiB of the request.
        pool: The longest wait for a free connection of the pool, if there is a pool.
        idle: The longest gap between events that bring content. Pings, unknown events and empty
            deltas bring none. They satisfy `read`, so only `idle` detects a dead generation whose
            server still sends them. The body of a refusal must arrive within `idle` as a whole.
            Only time spent waiting counts. The limit is checked when bytes arrive, so its error may
            come late, by at most one wait of `read`.
        total: The longest time from the call to the end of its stream. It includes all attempts,
            the waits between them, and the time that the reader spends between two events.

    Raises:
        ValueError: A value is neither None nor a number above 0 and up to 1e8.
    """

    connect: float | None = field(default=5.0, validator=_positive)
    read: float | None = field(default=600.0, validator=_positive)
    write: float | None = field(default=600.0, validator=_positive)
    pool: float | None = field(default=600.0, validator=_positive)
    idle: float | None = field(default=None, validator=_positive)
    total: float | None = field(default=None, validator=_positive)

    @classmethod
    def of(cls, value: Any, *, idle: float | None = None, total: float | None = None) -> Self:
        """Return a Timeout for a Timeout, a number, None, or an `httpx.Timeout`.

        A Timeout is returned unchanged. The others set all limits but `idle` and `total`, which are
        taken from the arguments of these names.

        Raises:
            TypeError: `value` lacks one of `connect`, `read`, `write` and `pool`.
        """
        if isinstance(value, cls):
            return value
        if value is None or isinstance(value, int | float):
            return cls(value, value, value, value, idle, total)
        if all(hasattr(value, name) for name in ("connect", "read", "write", "pool")):
            return cls(value.connect, value.read, value.write, value.pool, idle, total)
        raise TypeError(f"timeout must be a Timeout, a number or None, not {type(value).__name__}")

    @property
    def tightened(self) -> Self:
        """The same limits, with `read` lowered to `idle`: silence brings no content either."""
        read = shorter(self.read, self.idle)
        return self if read == self.read else evolve(self, read=read)

    def within(self, deadline: Deadline | None) -> Self:
        """Return the same limits, each lowered to the time left until a deadline."""
        if deadline is None:
            return self
        left = max(deadline.left, SHORTEST)
        waits = {name: shorter(getattr(self, name), left) for name in WAITS}
        return evolve(self, **waits, total=left)


WAITS: Final = ("connect", "read", "write", "pool")

SHORTEST: Final = 0.001
"""The timeout in seconds for a library if no time is left. Libraries give 0 another meaning."""


def shorter(seconds: float | None, other: float | None) -> float | None:
    """Return the shorter of two waits in seconds. None is a wait without a limit."""
    if seconds is None or other is None:
        return other if seconds is None else seconds
    return min(seconds, other)


class Deadline:
    """The time at which all waiting for one response ends, set in seconds from now."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._ends = time.monotonic() + seconds

    @classmethod
    def of(cls, total: float | Deadline | None) -> Deadline | None:
        """Return a deadline that many seconds from now. Return a Deadline or None unchanged."""
        return cls(total) if isinstance(total, int | float) else total

    @property
    def left(self) -> float:
        """The seconds left until the deadline, or 0 if it has passed."""
        return max(self._ends - time.monotonic(), 0.0)

    @property
    def is_over(self) -> bool:
        """Whether the deadline has passed."""
        return time.monotonic() >= self._ends

    def error(self, what: Literal["head", "stream"]) -> TimeoutError:
        """Return the TimeoutError of a passed deadline. `what` names what was awaited."""
        lacks = "the head had not arrived" if what == "head" else "the stream had not ended"
        return TimeoutError(f"total: {lacks} within {self._seconds:g} s")


def left_of(seconds: float | None, deadline: Deadline | None) -> float | None:
    """Return the longest allowed wait in seconds: `seconds`, or the time left if that is less.

    Raises:
        TimeoutError: The deadline has passed.
    """
    if deadline is None:
        return seconds
    if deadline.is_over:
        raise TimeoutError
    return shorter(seconds, max(deadline.left, SHORTEST))


Phase: TypeAlias = Literal["connect", "TLS", "pool", "send", "head", "read"]
"""The phases of a request in their order. `connect` also limits TLS, and `read` the head."""

MISSING: Final[dict[Phase, str]] = {
    "connect": "no connection was made within",
    "TLS": "the handshake did not finish within",
    "pool": "no connection was free within",
    "send": "the peer accepted no bytes of the request for",
    "head": "no bytes of the response arrived for",
    "read": "no more bytes of the response arrived for",
}


def overdue(phase: Phase, seconds: float | None) -> str:
    """Return the message of a timeout: its phase, and its seconds if they are known."""
    if seconds is None:
        return f"{phase}: timed out"
    return f"{phase}: {MISSING[phase]} {seconds:g} s"
