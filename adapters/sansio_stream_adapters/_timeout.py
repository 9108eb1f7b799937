"""How long to wait for what, in words that every adapter can follow."""

from __future__ import annotations

from typing import Any, Self

from attrs import evolve, field, frozen

__all__ = ["Timeout"]


def _positive(_: Any, attribute: Any, value: object) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        raise ValueError(f"{attribute.name}: seconds above 0 or None, not {value!r}")


@frozen
class Timeout:
    """Seconds; None waits for ever.

    Attributes:
        connect: until a connection is there, TLS included.
        read: the longest gap between bytes of the answer, and until its head.
        write: the longest gap between bytes of the request.
        pool: until the pool has a connection to give, where there is a pool.
        idle: the longest gap between events that are no ping. Pings keep `read` content for ever;
            a generation that is dead behind them shows here. Only time that was spent waiting
            counts, and it is looked at when bytes come, so it may be noticed a gap of `read` late.

    Raises ValueError for what is not a number above 0.
    """

    connect: float | None = field(default=5.0, validator=_positive)
    read: float | None = field(default=600.0, validator=_positive)
    write: float | None = field(default=600.0, validator=_positive)
    pool: float | None = field(default=600.0, validator=_positive)
    idle: float | None = field(default=None, validator=_positive)

    @classmethod
    def of(cls, value: Any) -> Self:
        """Return a Timeout for a Timeout, a number for all but `idle`, None, or what is like one.

        An `httpx.Timeout` is: it has `connect`, `read`, `write` and `pool`. TypeError for the rest.
        """
        if isinstance(value, cls):
            return value
        if value is None or isinstance(value, int | float):
            return cls(value, value, value, value)
        if all(hasattr(value, name) for name in ("connect", "read", "write", "pool")):
            return cls(value.connect, value.read, value.write, value.pool)
        raise TypeError(f"a Timeout, a number or None is needed, not {type(value).__name__}")

    @property
    def gap(self) -> Self:
        """The same, with a `read` that is not above `idle`: silence is no content either."""
        if self.idle is None or (self.read is not None and self.read <= self.idle):
            return self
        return evolve(self, read=self.idle)
