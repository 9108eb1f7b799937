"""Retries: an error in, the seconds until the next attempt out (None: do not try again).

This module has no clock and no random numbers, and does not bound the number of attempts. These
are left to the caller.
"""

import re
from typing import Final

from ..errors import (
    APIConnectionError,
    APIError,
    APIStatusError,
    IncompleteMessageError,
    Verdict,
)
from .headers import Headers

__all__ = ["retry_after", "retry_delay"]


def retry_delay(
    attempt: int,
    failure: APIError,
    rand: float,
    *,
    max_retry_after: float = 60.0,
    is_first_frame: bool = False,
) -> float | None:
    """Return the seconds to wait before the next attempt, or None if there should not be one.

    A retry is advised in two cases: the connection failed or timed out before a stream began, or
    the response was an error that may pass. For a response, the header `x-should-retry` decides.
    Without it, the statuses 408, 409, 429 and all from 500 on are retried.

    A response that had begun as a success is not retried, except with `is_first_frame`. So there is
    no retry after a cut or broken stream, after an error in a message that has begun, or after an
    error inside a success. Such a retry would be a new generation, which is billed again, so that
    decision is left to the caller. `failure.content_emitted` tells whether a retry would repeat
    something.

    The wait is the one that the server asks for; see `retry_after`. If that is longer than
    `max_retry_after`, the result is None, because a server that is asked sooner refuses again or
    asks for a longer wait. If the server asks for none, the wait is half a second, doubled with
    each attempt up to 8 seconds, and reduced by a random part of up to a quarter.

    Args:
        attempt: the number of retries so far, from 0. The caller bounds it.
        failure: the error of the last attempt.
        rand: a random number, at least 0 and less than 1.
        max_retry_after: the longest wait, in seconds, that a server may ask for.
        is_first_frame: whether the failure is an error event in the first frame of a successful
            response; see `FirstFrame`. It is then treated like an HTTP error of that status.
    """
    if not is_worth_a_retry(failure, is_first_frame=is_first_frame):
        return None
    asked = retry_after(failure)
    if asked is None:
        return 0.5 * 2.0 ** min(attempt, 4) * (1 - 0.25 * rand)
    return asked if asked <= max_retry_after else None


def retry_after(failure: APIError) -> float | None:
    """Return the seconds that the server asks to wait, or None if it asks for no wait.

    The value comes from `retry-after-ms` or else from `retry-after`. It is None if the header
    cannot be parsed or is not above 0. A `retry-after` that is a date is compared with the `date`
    of the same response, because this module has no clock.
    """
    asked = asked_delay(Headers(failure.headers)) if isinstance(failure, APIStatusError) else None
    return asked if asked is not None and asked > 0 else None


def is_worth_a_retry(failure: APIError, *, is_first_frame: bool) -> bool:
    """Whether another attempt may succeed and cannot repeat anything that was delivered."""
    if failure.content_emitted or failure.partial_message is not None:
        return False
    if isinstance(failure, APIStatusError):
        if 200 <= failure.http_status < 300 and not is_first_frame:
            return False
        advice = Headers(failure.headers).get("x-should-retry")
        if advice in ("true", "false"):
            return advice == "true"
        return failure.status_code in (408, 409, 429) or failure.status_code >= 500
    # The verdict is no longer PENDING if a stream has begun, or if the answer was not HTTP.
    has_begun = failure.verdict is not Verdict.PENDING
    return (
        isinstance(failure, APIConnectionError)
        and not isinstance(failure, IncompleteMessageError)
        and not has_begun
    )


NUMBER: Final = r"[0-9]+(?:\.[0-9]*)?"


def asked_delay(headers: Headers) -> float | None:
    """Return the seconds that the headers ask to wait, or None if no header can be parsed."""
    milliseconds = headers.get("retry-after-ms", "")
    if re.fullmatch(NUMBER, milliseconds):
        return float(milliseconds) / 1000
    after = headers.get("retry-after", "")
    if re.fullmatch(NUMBER, after):
        return float(after)
    then, now = seconds_at(after), seconds_at(headers.get("date", ""))
    return None if then is None or now is None else float(then - now)


# RFC 9110's IMF-fixdate: "Sun, 06 Nov 1994 08:49:37 GMT". Here the year begins in March. The leap
# day is then the last day of the year, so every month begins at a fixed day of the year.
MONTHS: Final = ("Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec", "Jan", "Feb")
DATE: Final = (
    rf"[A-Z][a-z]{{2}}, ([0-9]{{2}}) ({'|'.join(MONTHS)}) ([0-9]{{4}})"
    r" ([0-9]{2}):([0-9]{2}):([0-9]{2}) GMT"
)


def seconds_at(date: str) -> int | None:
    """Return the seconds from a fixed moment to an HTTP date, or None if it is not an HTTP date."""
    found = re.fullmatch(DATE, date)
    if found is None:
        return None
    day, year, hour, minute, second = map(int, found.group(1, 3, 4, 5, 6))
    month = MONTHS.index(found[2])
    year -= month >= 10
    days = 365 * year + year // 4 - year // 100 + year // 400 + (153 * month + 2) // 5 + day
    return ((24 * days + hour) * 60 + minute) * 60 + second
