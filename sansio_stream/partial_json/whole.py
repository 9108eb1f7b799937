"""Whole texts in, their values out, at the speed of `json.loads`. Errors have a position."""

from __future__ import annotations

import functools
import math
import re
from typing import Any, Final

from .decoding import DECODER, FINITE_DECODER, decode, nests_deeper, scan_once
from .errors import InvalidJSONError, TooDeepError
from .parser import PartialJSON

_SPACE: Final = " \t\n\r"


def loads(text: str, max_depth: int = 512, *, finite: bool = False) -> Any:
    """Return the value of a whole JSON text by RFC 8259, at the speed of `json.loads`.

    It accepts the same texts, returns the same values and raises the same errors as
    `PartialJSON.finish`. Neither accepts NaN or Infinity.

    Args:
        text: the JSON text.
        max_depth: how many arrays and objects may be nested.
        finite: whether a number that is too large for a float (`1E400`) is an error. Otherwise it
            becomes infinity, which JSON cannot represent.

    Raises:
        InvalidJSONError: if the text is invalid or nests deeper than `max_depth`. No other
            exception is raised.
    """
    try:
        return decode(text, max_depth, FINITE_DECODER if finite else DECODER)
    except (ValueError, RecursionError):
        parser = PartialJSON(max_depth=max_depth)
        parser.push(text)
        value = parser.finish()
        if finite:
            refuse_infinity(text)
        return value


def object_in(text: str, max_depth: int) -> dict[str, Any] | None:
    """Return what `loads` returns if that is an object; None if it is not, or if `loads` raises.

    Cost: that of `json.loads`, for invalid texts too. The function does not search for the position
    of an error, which would take ten times as long. There is one exception: it calls `loads` if the
    text nests deeper than `max_depth` or than the recursion limit allows.

    Raises:
        TooDeepError: if `loads` raises it.
    """
    # A text has no more brackets than characters.
    if len(text) <= max_depth or not nests_deeper(text, max_depth):
        start = 0
        if not text.startswith("{"):
            start = len(text) - len(text.lstrip(_SPACE))
            if not text.startswith("{", start):
                return None
        try:
            value, end = scan_once(text, start)
        except (ValueError, StopIteration):
            return None
        except RecursionError:
            pass  # near the recursion limit; the parser below does not recurse
        else:
            return value if end == len(text) or not text[end:].strip(_SPACE) else None
    try:
        found: dict[str, Any] = loads(text, max_depth)
    except TooDeepError:
        raise
    except InvalidJSONError:
        return None
    return found


def refuse_infinity(text: str) -> None:
    """Raise InvalidJSONError for the first number of a JSON text that is too large for a float."""
    for token in strings_or_numbers().finditer(text):
        number = token[1]
        if number and not number.lstrip("-").isdigit() and math.isinf(float(number)):
            raise InvalidJSONError("a number is too large for a float", token.start())


@functools.cache
def strings_or_numbers() -> re.Pattern[str]:
    """Return a pattern for a string or a number. It is compiled at the first call."""
    return re.compile(r'"(?:[^"\\]|\\.)*+"|(-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)')
