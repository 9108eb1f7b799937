"""A whole text in, its value out, by the C code of `json`. Errors have no position or reason."""

from __future__ import annotations

import functools
import json
import math
import re
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, NoReturn

if TYPE_CHECKING:
    from collections.abc import Iterable


def _refuse(name: str) -> NoReturn:
    raise ValueError(name)


def _finite(number: str) -> float:
    value = float(number)
    if math.isinf(value):
        raise ValueError(number)
    return value


DECODER: Final = json.JSONDecoder(parse_constant=_refuse)
FINITE_DECODER: Final = json.JSONDecoder(parse_constant=_refuse, parse_float=_finite)
# The C function of `json`: a text and the index at which a value begins -> the value and the index
# of its end. It has no public name.
scan_once: Final = vars(DECODER)["scan_once"]


def decode(text: str, max_depth: int, decoder: json.JSONDecoder = DECODER) -> Any:
    """Return the value of a whole JSON text, by the C code of `json`.

    Raises:
        ValueError: if the text is invalid or nests deeper than `max_depth`.
        RecursionError: if `json` recurses beyond the interpreter's recursion limit.
    """
    value = decoder.decode(text)
    brackets = opening_brackets(text)
    if brackets > max_depth:
        # To measure the value takes a tenth of the time of a search in the text. The value is as
        # deep as the text, unless the text has brackets in strings or has a key of an object twice.
        containers, depth = measured(value)
        if depth > max_depth or (containers < brackets and nests_deeper(text, max_depth)):
            raise ValueError(max_depth)
    return value


def opening_brackets(text: str) -> int:
    """Return the number of opening brackets and braces in a text, also of those in strings."""
    return text.count("[") + text.count("{")


def measured(value: Any) -> tuple[int, int]:
    """Return the number of arrays and objects in a value, and how deeply they are nested."""
    containers = depth = 0
    items: Iterable[Any]
    level: list[Any] = [value] if isinstance(value, list | dict) else []
    while level:
        containers += len(level)
        depth += 1
        items = chain.from_iterable(
            outer.values() if hasattr(outer, "values") else outer for outer in level
        )
        level = [item for item in items if type(item) in (list, dict)]
    return containers, depth


def nests_deeper(text: str, max_depth: int) -> bool:
    """Return whether the brackets of a text nest deeper than `max_depth`.

    The text may be invalid. Brackets inside strings do not count.
    """
    if opening_brackets(text) > max_depth:
        depth = 0
        for found in _brackets().finditer(text):
            opened, closed = found.groups("")
            depth += len(opened) - len(closed)
            if depth > max_depth:
                return True
    return False


@functools.cache
def _brackets() -> re.Pattern[str]:
    """Return a pattern for a run of opening or closing brackets, with all that precedes it.

    Strings are skipped, because their brackets do not count. The pattern never fails to match, so a
    search is linear. It is compiled at the first call, because few texts need it.
    """
    return re.compile(r'(?s:[^"\[\]{}]++|"(?:[^"\\]++|\\.?)*+(?:"|\Z))*+(?:([\[{]++)|([\]}]++)|\Z)')
