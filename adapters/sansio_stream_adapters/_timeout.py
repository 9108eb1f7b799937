"""How long to wait for what, in words that every adapter can follow."""

from __future__ import annotations

from typing import Any, Final, Literal, Self, TypeAlias

from attrs import evolve, field, frozen

__all__ = ["Phase", "Timeout", "overdue"]


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
        idle: the longest gap between events that are no ping. Pings keep `read` content for ever;
            a generation that is dead behind them shows here. The body of a refusal has it in all.
            Only time that was spent waiting counts, and it is looked at when bytes come, so it may
            be noticed a gap of `read` late.

    Raises ValueError for anything else.
    """

    connect: float | None = field(default=5.0, validator=_positive)
    read: float | None = field(default=600.0, validator=_positive)
    write: float | None = field(default=600.0, validator=_positive)
    pool: float | None = field(default=600.0, validator=_positive)
    idle: float | None = field(default=None, validator=_positive)

    @classmethod
    def of(cls, value: Any, *, idle: float | None = None) -> Self:
        """Return a Timeout for a Timeout, which is returned as it is, or for one that says nothing
        of `idle`: a number for all else, None, or an `httpx.Timeout`.

        Raises TypeError for anything that has not `connect`, `read`, `write` and `pool`.
        """
        if isinstance(value, cls):
            return value
        if value is None or isinstance(value, int | float):
            return cls(value, value, value, value, idle)
        if all(hasattr(value, name) for name in ("connect", "read", "write", "pool")):
            return cls(value.connect, value.read, value.write, value.pool, idle)
        raise TypeError(f"a Timeout, a number or None is needed, not {type(value).__name__}")

    @property
    def tightened(self) -> Self:
        """The same, with a `read` that is not above `idle`: silence is no content either."""
        if self.idle is None or (self.read is not None and self.read <= self.idle):
            return self
        return evolve(self, read=self.idle)


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
