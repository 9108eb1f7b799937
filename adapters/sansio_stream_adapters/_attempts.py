"""Attempts: how often a request is sent, and how long to wait in between. Waits for nothing."""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from sansio_stream.errors import (
    EXCERPT_CHARACTERS,
    APIConnectionError,
    APIError,
    copy_for_raise,
    excerpt,
)
from sansio_stream.request import retry_after, retry_delay

from ._errors import sentence

if TYPE_CHECKING:
    from sansio_stream.errors import APIStatusError

    from ._errors import MapError
    from ._timeout import Deadline

__all__ = ["Attempts", "Retries"]

LONGEST_WAIT = 1e8
"""Three years; much more than that the system's own calls refuse."""


def _count(_: Any, attribute: Any, value: Any) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"{attribute.name}: a whole number from 0 on is needed, not {value!r}")


def _seconds(_: Any, attribute: Any, value: Any) -> None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 0 <= value <= LONGEST_WAIT:
        raise ValueError(f"{attribute.name}: seconds from 0 to 1e8 are needed, not {value!r}")


@frozen
class Retries:
    """What a client, or a call, is told of retries.

    Attributes:
        max_retries: how often a request may be sent again.
        max_retry_after: the longest wait, in seconds, that a server may ask for.

    Raises ValueError for anything else: later it would hide what it should help against.
    """

    max_retries: int = field(default=2, validator=_count)
    max_retry_after: float = field(default=60.0, validator=_seconds)


class Attempts:
    """The attempts of one call: how many there were, and whether there is another."""

    def __init__(
        self, retries: Retries, map_error: MapError, deadline: Deadline | None = None
    ) -> None:
        self._retries = retries
        self._map_error = map_error
        self._deadline = deadline
        self._count = 0
        self._is_first_frame = False

    @property
    def are_left(self) -> bool:
        """Whether the request may be sent again."""
        return self._count < self._retries.max_retries

    def will_retry(self, failure: APIStatusError) -> bool:
        """Whether an answer whose first frame is this error is not given out: because the request
        is sent again, or because the server asks for a longer wait than is allowed.
        """
        delay = retry_delay(0, failure, 0.0, max_retry_after=math.inf, is_first_frame=True)
        self._is_first_frame = delay is not None
        return self._is_first_frame

    def delay_after(self, exc: Exception) -> float:
        """Return the seconds until the request is sent again; raise one of ours if it is not."""
        is_first_frame, self._is_first_frame = self._is_first_frame, False
        deadline = self._deadline
        if deadline is not None and deadline.is_over and not isinstance(exc, APIError):
            exc = caused(deadline.error("head"), exc)
        failure = exc if isinstance(exc, APIError) else self._map_error(exc)
        # What nobody knows is nobody's to raise either, and hardly better the next time.
        is_known = failure is not None
        failure = failure or APIConnectionError(sentence(exc))
        if failure is not exc:
            failure.__cause__ = failure.__cause__ or exc
        del exc  # this frame will be in the traceback, and it may show the request
        longest = self._retries.max_retry_after
        if self.are_left and is_known:
            delay = retry_delay(
                self._count,
                failure,
                random.random(),  # noqa: S311  (no secret)
                max_retry_after=longest,
                is_first_frame=is_first_frame,
            )
            # A wait that reaches the deadline would end in less than what is known now.
            if delay is not None and (deadline is None or delay < deadline.left):
                self._count += 1
                return delay
        asked = retry_after(failure) or 0
        raise told(failure, asked, longest) if asked > longest else failure


def caused(error: Exception, cause: Exception) -> Exception:
    """Return an exception, with what it came from."""
    error.__cause__ = cause
    return error


def told(failure: APIError, asked: float, longest: float) -> APIError:
    """Return the failure, with the wait that the server asked for in its message."""
    error = copy_for_raise(failure)
    waits = f" (the server asks to wait {asked:g} s; max_retry_after allows {longest:g} s)"
    error.message = excerpt(failure.message, EXCERPT_CHARACTERS - len(waits)) + waits
    error.args = (error.message,)
    return error
