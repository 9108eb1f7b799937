"""Retries: an error in, the seconds until the next attempt out, or "do not". Knows neither
clock nor chance, and not how many attempts there may be.
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
    """Return how many seconds to wait before trying again; None: do not.

    Tried again are connections that could not be made or timed out, and what the server's
    `x-should-retry` says; without that, the statuses 408, 409, 429 and all from 500 on. Never what
    had begun: a cut or broken stream, an error with a message before it, an error inside a success.
    A retry is a new generation, billed anew, so of those the caller decides: `content_emitted`
    says whether one would repeat something.

    The wait is as long as the server asks; see `retry_after`. Where that is longer than
    `max_retry_after` it is not tried again: a server that is asked sooner refuses once more, or
    asks for a longer wait. Where it asks for nothing the wait is half a second, twice as much with
    each attempt up to 8 seconds, and up to a quarter less by chance.

    Args:
        attempt: how many retries there have been: 0, 1, ... How many there may be is yours to say.
        failure: what came of the last attempt.
        rand: a random number, at least 0 and less than 1.
        max_retry_after: the longest wait, in seconds, that a server may ask for.
        is_first_frame: whether the failure is an error event, inside a success, before which there
            was nothing; see `FirstFrame`. It is judged as its status would be.
    """
    if not is_worth_a_retry(failure, is_first_frame=is_first_frame):
        return None
    asked = retry_after(failure)
    if asked is None:
        return 0.5 * 2.0 ** min(attempt, 4) * (1 - 0.25 * rand)
    return asked if asked <= max_retry_after else None


def retry_after(failure: APIError) -> float | None:
    """Return for how many seconds the server asks to wait; None where it asks for nothing.

    That is its `retry-after-ms` or `retry-after`, where it can be read and is over 0. A date is
    taken relative to the response's own `date`, because there is no clock here.
    """
    asked = asked_delay(Headers(failure.headers)) if isinstance(failure, APIStatusError) else None
    return asked if asked is not None and asked > 0 else None


def is_worth_a_retry(failure: APIError, *, is_first_frame: bool) -> bool:
    """Whether another attempt may bring what this one did not, and can repeat nothing."""
    if failure.content_emitted or failure.partial_message is not None:
        return False
    if isinstance(failure, APIStatusError):
        if 200 <= failure.http_status < 300 and not is_first_frame:
            return False
        said = Headers(failure.headers).get("x-should-retry")
        if said in ("true", "false"):
            return said == "true"
        return failure.status_code in (408, 409, 429) or failure.status_code >= 500
    # Of a stream that has begun, or of an answer that is no HTTP, the verdict says what became.
    has_begun = failure.verdict is not Verdict.PENDING
    return (
        isinstance(failure, APIConnectionError)
        and not isinstance(failure, IncompleteMessageError)
        and not has_begun
    )


NUMBER: Final = r"[0-9]+(?:\.[0-9]*)?"


def asked_delay(headers: Headers) -> float | None:
    """Return for how many seconds the headers ask, if they do so in a way that can be read."""
    milliseconds = headers.get("retry-after-ms", "")
    if re.fullmatch(NUMBER, milliseconds):
        return float(milliseconds) / 1000
    after = headers.get("retry-after", "")
    if re.fullmatch(NUMBER, after):
        return float(after)
    then, now = seconds_at(after), seconds_at(headers.get("date", ""))
    return None if then is None or now is None else float(then - now)


# RFC 9110's IMF-fixdate: "Sun, 06 Nov 1994 08:49:37 GMT". The year begins in March, so that the
# leap day is its last one, and all months before have their days at fixed places.
MONTHS: Final = ("Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec", "Jan", "Feb")
DATE: Final = (
    rf"[A-Z][a-z]{{2}}, ([0-9]{{2}}) ({'|'.join(MONTHS)}) ([0-9]{{4}})"
    r" ([0-9]{2}):([0-9]{2}):([0-9]{2}) GMT"
)


def seconds_at(date: str) -> int | None:
    """Return the seconds from a fixed moment to an HTTP date, if it is one."""
    found = re.fullmatch(DATE, date)
    if found is None:
        return None
    day, year, hour, minute, second = map(int, found.group(1, 3, 4, 5, 6))
    month = MONTHS.index(found[2])
    year -= month >= 10
    days = 365 * year + year // 4 - year // 100 + year // 400 + (153 * month + 2) // 5 + day
    return ((24 * days + hour) * 60 + minute) * 60 + second
