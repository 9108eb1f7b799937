"""Retries: how often a request is sent again, and how long to wait before each retry.

The module computes the waits. It does not sleep, and it does no I/O.
"""

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
"""The longest wait in seconds, about three years. System calls reject much larger numbers."""


def _count(_: Any, attribute: Any, value: Any) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"{attribute.name} must be an integer of at least 0, not {value!r}")


def _seconds(_: Any, attribute: Any, value: Any) -> None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 0 <= value <= LONGEST_WAIT:
        raise ValueError(f"{attribute.name} must be seconds from 0 to 1e8, not {value!r}")


@frozen
class Retries:
    """The retry settings of a client or of a single call.

    The values are checked when the object is made. If a wrong value raised only at the first retry,
    its exception would hide why the request failed.

    Attributes:
        max_retries: The largest number of retries of one call.
        max_retry_after: The longest wait in seconds that a server may ask for.

    Raises:
        ValueError: `max_retries` is not an integer of at least 0, or `max_retry_after` is not a
            number from 0 to 1e8.
    """

    max_retries: int = field(default=2, validator=_count)
    max_retry_after: float = field(default=60.0, validator=_seconds)


class Attempts:
    """The attempts of one call. Counts the retries and decides whether one more follows."""

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
        """Return whether a response fails because its first frame is this error.

        It fails if the error can be retried. Its stream is then not opened, and `delay_after` gets
        the error. If the server asks for a longer wait than `max_retry_after`, `delay_after` raises
        the error.
        """
        delay = retry_delay(0, failure, 0.0, max_retry_after=math.inf, is_first_frame=True)
        self._is_first_frame = delay is not None
        return self._is_first_frame

    def delay_after(self, exc: Exception) -> float:
        """Return the seconds to wait before the request is sent again.

        Raises:
            APIError: The request is not sent again. If `exc` is an APIError, it is raised. Any
                other exception is first mapped to an APIError. If the server asks for a longer wait
                than `max_retry_after`, the message says so.
        """
        is_first_frame, self._is_first_frame = self._is_first_frame, False
        deadline = self._deadline
        if deadline is not None and deadline.is_over and not isinstance(exc, APIError):
            exc = with_cause(deadline.error("head"), exc)
        failure = exc if isinstance(exc, APIError) else self._map_error(exc)
        # An exception that `map_error` does not know becomes an APIConnectionError. It is not
        # retried, because there is no reason to expect that the next attempt succeeds.
        is_known = failure is not None
        failure = failure or APIConnectionError(sentence(exc))
        if failure is not exc:
            failure.__cause__ = failure.__cause__ or exc
        del exc  # a traceback shows the variables of this frame, and `exc` may hold the request
        longest = self._retries.max_retry_after
        if self.are_left and is_known:
            delay = retry_delay(
                self._count,
                failure,
                random.random(),  # noqa: S311  (no secret)
                max_retry_after=longest,
                is_first_frame=is_first_frame,
            )
            # A retry after the deadline could only time out. The present failure says more than a
            # timeout, so it is raised.
            if delay is not None and (deadline is None or delay < deadline.left):
                self._count += 1
                return delay
        asked = retry_after(failure) or 0
        raise with_wait(failure, asked, longest) if asked > longest else failure


def with_cause(error: Exception, cause: Exception) -> Exception:
    """Set the cause of an exception, and return the exception."""
    error.__cause__ = cause
    return error


def with_wait(failure: APIError, asked: float, longest: float) -> APIError:
    """Return a copy of the failure whose message also names the wait that the server asks for."""
    error = copy_for_raise(failure)
    waits = f" (the server asks to wait {asked:g} s; max_retry_after allows {longest:g} s)"
    error.message = excerpt(failure.message, EXCERPT_CHARACTERS - len(waits)) + waits
    error.args = (error.message,)
    return error
