"""A whole text to its value, in C. Of what is wrong nothing is said but that it is wrong."""

import json
import math
import re
from typing import Any, Final, NoReturn


def _refuse(name: str) -> NoReturn:
    raise ValueError(name)


def _finite(number: str) -> float:
    value = float(number)
    if math.isinf(value):
        raise ValueError(number)
    return value


DECODER: Final = json.JSONDecoder(parse_constant=_refuse)
FINITE_DECODER: Final = json.JSONDecoder(parse_constant=_refuse, parse_float=_finite)
# As `json` has it, in C: a text and where a value begins in it -> the value, and its end.
scan_once: Final = vars(DECODER)["scan_once"]
# Brackets that open or close, one behind another, and what stands before them: no match fails.
_brackets: Final = re.compile(
    r'(?s:[^"\[\]{}]++|"(?:[^"\\]++|\\.?)*+(?:"|\Z))*+(?:([\[{]++)|([\]}]++)|\Z)'
).finditer


def decode(text: str, max_depth: int, decoder: json.JSONDecoder = DECODER) -> Any:
    """`loads` in C: ValueError for whatever is wrong, RecursionError near the caller's limit."""
    if nests_deeper(text, max_depth):
        raise ValueError(max_depth)
    return decoder.decode(text)


def nests_deeper(text: str, max_depth: int) -> bool:
    """Whether the _brackets of a text do, whatever else is wrong with it."""
    if text.count("[") + text.count("{") > max_depth:
        depth = 0
        for found in _brackets(text):
            opened, closed = found.groups("")
            depth += len(opened) - len(closed)
            if depth > max_depth:
                return True
    return False
