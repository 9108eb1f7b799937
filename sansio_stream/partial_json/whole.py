"""Whole texts: read at the speed of `json.loads`; if one is wrong, the place and the reason."""

import math
import re
from typing import Any, Final

from .decoding import DECODER, FINITE_DECODER, decode, nests_deeper, scan_once
from .errors import InvalidJSONError, TooDeepError
from .parser import PartialJSON

_begins_object: Final = re.compile(r"[ \t\n\r]*+\{").match
_ends_here: Final = re.compile(r"[ \t\n\r]*+\Z").match


def loads(text: str, max_depth: int = 512, *, finite: bool = False) -> Any:
    """The value of a whole JSON text, at the speed of `json.loads`, by RFC 8259 only.

    Accepts, gives and raises what `PartialJSON.finish` does: no NaN or Infinity, no nesting beyond
    `max_depth`, no exception but `InvalidJSONError`. With `finite`, a number that no float holds
    (`1E400`) is invalid, too: it would read as infinity, which no JSON can hold.
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
    """The object that `loads` makes of a text; None where it makes something else, or raises.

    Cost: that of `json.loads`, also for what is no JSON: the place where it goes wrong, which takes
    ten times as long to find, is not asked for. Raises TooDeepError where `loads` does.
    """
    if not nests_deeper(text, max_depth):
        begun = _begins_object(text)
        if begun is None:
            return None
        try:
            value, end = scan_once(text, begun.end() - 1)
        except (ValueError, StopIteration):
            return None
        except RecursionError:
            pass  # near the caller's limit: the other parser needs no recursion
        else:
            return value if end == len(text) or _ends_here(text, end) else None
    try:
        found: dict[str, Any] = loads(text, max_depth)
    except TooDeepError:
        raise
    except InvalidJSONError:
        return None
    return found


def refuse_infinity(text: str) -> None:
    """Raise InvalidJSONError at the first number of a JSON text that no float holds."""
    for token in strings_or_numbers(text):
        number = token[1]
        if number and not number.lstrip("-").isdigit() and math.isinf(float(number)):
            raise InvalidJSONError("a number is too large for a float", token.start())


strings_or_numbers: Final = re.compile(
    r'"(?:[^"\\]|\\.)*+"|(-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)'
).finditer
