"""The grammar: the states between tokens, the patterns of each state, and the parts of a number.

A pattern is stored as a text, and compiled when it is first needed.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from typing import Final

# The states. Each is what the scanner expects next, in the words of an error message.
VALUE: Final = "a value"
FIRST_ITEM: Final = "a value or ']'"
AFTER_ITEM: Final = "',' or ']'"
FIRST_KEY: Final = "a key in double quotes or '}'"
KEY: Final = "a key in double quotes"
COLON: Final = "':'"
AFTER_MEMBER: Final = "',' or '}'"
END: Final = "the end of the text"
IN_STRING: Final = "the end of a string"
IN_KEY: Final = "the end of a key"
IN_NUMBER: Final = "a digit"
IN_LITERAL: Final = "the end of true, false or null"

# The tokens that each state accepts, after white space. A group has the name of its token. A group
# `in_…` is the beginning of a token that is cut, or of a string with escapes. A group `next_…`
# matches no characters: the text ends before the next token, or the next token is invalid.
_SPACE = r"[ \t\n\r]*+"
_PLAIN = r'[^"\\\x00-\x1f]'
_INT = r"-?(?:0|[1-9][0-9]*+)"
_EXP = r"[eE][+-]?[0-9]++"
_ENDS = r"(?=[,\]} \t\n\r])"
_STRING = rf'"(?P<string>{_PLAIN}*+)"'
_ANY_KEY = rf'"(?P<key>{_PLAIN}*+)"{_SPACE}:|(?P<in_key>")'
_NUMBER = rf"(?P<int>{_INT}){_ENDS}|(?P<float>{_INT}(?:\.[0-9]++(?:{_EXP})?+|{_EXP})){_ENDS}"
_ANY_VALUE = (
    rf"{_STRING}|{_NUMBER}|(?P<literal>true|false|null)|(?P<object>\{{)|(?P<array>\[)"
    r'|(?P<in_string>")|(?P<in_number>[-0-9])|(?P<in_literal>[tfn])'
)
# fmt: off
TOKENS: Final[Mapping[str, str]] = {
    state: rf"{_SPACE}(?:{tokens}|\Z)"
    for state, tokens in (
        (VALUE,        _ANY_VALUE),
        (FIRST_ITEM,   rf"{_ANY_VALUE}|(?P<close>\])"),
        (AFTER_ITEM,   rf",{_SPACE}(?:{_ANY_VALUE}|(?P<next_value>))|(?P<close>\])"),
        (FIRST_KEY,    rf"{_ANY_KEY}|(?P<close>\}})"),
        (KEY,          _ANY_KEY),
        (COLON,        rf":{_SPACE}(?:{_ANY_VALUE}|(?P<next_value>))"),
        (AFTER_MEMBER, rf",{_SPACE}(?:{_ANY_KEY}|(?P<next_key>))|(?P<close>\}})"),
        (END,          r"\Z"),
    )
}
# fmt: on

# The characters of a string. A high surrogate may be the first half of a pair. Its escape matches
# only if the characters after it show whether the second half follows. The scanner keeps the escape
# until these characters have come. Therefore a cut between two pieces never splits a pair.
_HEX = "[0-9a-fA-F]"
_HIGH = rf"[dD][89abAB]{_HEX}{{2}}"
_LOW = rf"[dD][c-fC-F]{_HEX}{{2}}"
_NO_LOW = rf'"|{_PLAIN}|\\["\\/bfnrt]|\\u(?:[0-9abcefABCEF]|[dD][0-9abAB])'
RUN = rf"{_PLAIN}++"
CHARACTERS = (
    rf'(?:{_PLAIN}++|\\["\\/bfnrt]|\\u(?!{_HIGH}){_HEX}{{4}}'
    rf"|\\u{_HIGH}(?:\\u{_LOW}|(?={_NO_LOW})))++"
)
CUT_ESCAPE = rf"\\(?:u(?:{_HIGH}(?:\\(?:u(?:[dD](?:[c-fC-F]{_HEX}?)?)?)?)?|{_HEX}{{0,3}}))?"

# The parts of a number, and the characters that lead from one part to the next.
MINUS, ZERO, INTEGER, POINT, FRACTION, E, SIGN, EXPONENT = range(8)
_DIGITS = "0123456789"
# fmt: off
PARTS: Final[Mapping[int, Mapping[str, int]]] = {
    MINUS:    {"0": ZERO,  **dict.fromkeys("123456789", INTEGER)},
    ZERO:     {".": POINT, "e": E, "E": E},
    INTEGER:  {".": POINT, "e": E, "E": E, **dict.fromkeys(_DIGITS, INTEGER)},
    POINT:    {**dict.fromkeys(_DIGITS, FRACTION)},
    FRACTION: {"e": E, "E": E, **dict.fromkeys(_DIGITS, FRACTION)},
    E:        {"+": SIGN, "-": SIGN, **dict.fromkeys(_DIGITS, EXPONENT)},
    SIGN:     {**dict.fromkeys(_DIGITS, EXPONENT)},
    EXPONENT: {**dict.fromkeys(_DIGITS, EXPONENT)},
}
# fmt: on
FIRST_PART: Final[Mapping[str, int]] = {"-": MINUS, **PARTS[MINUS]}
WHOLE_NUMBER: Final = frozenset((ZERO, INTEGER, FRACTION, EXPONENT))
WHOLE_INTEGER: Final = frozenset((ZERO, INTEGER))
DIGIT_RUN = r"[0-9]++"


class Matchers(dict[str, Callable[[str, int], re.Match[str] | None]]):
    """The `match` method of each pattern, compiled when it is first needed.

    Compiling all of them takes 2 ms, and a program that reads no unfinished text needs none.
    """

    def __missing__(self, pattern: str) -> Callable[[str, int], re.Match[str] | None]:
        match = self[pattern] = re.compile(pattern).match
        return match


matchers = Matchers()

# The literals by their first letter, with their values.
LITERALS: Final[Mapping[str, tuple[str, bool | None]]] = {
    "t": ("true", True),
    "f": ("false", False),
    "n": ("null", None),
}

LEVELS: Final = 2
"""The maximum number of levels of arrays and objects in an item that `many_items` matches."""


@functools.cache
def many_items() -> Callable[[str, int, int], re.Match[str] | None]:
    """Return the `match` method of a pattern for many items of an array, each with its comma.

    The items are complete and have at most `LEVELS` levels of arrays and objects, so the C code of
    `json` can decode them. An integer has at most 601 digits, because a program can make Python
    refuse integers of more than 640 (`sys.set_int_max_str_digits`).

    The pattern is compiled at the first call, not at import, because only a long text needs it.
    """
    comma = rf"{_SPACE},"
    name = rf'{_SPACE}"{_PLAIN}*+"{_SPACE}:'
    item = (
        rf'{_SPACE}(?:"{_PLAIN}*+"|-?(?:0|[1-9][0-9]{{0,600}}+)(?:\.[0-9]++)?+(?:{_EXP})?+{_ENDS}'
        r"|true|false|null)"
    )
    for _ in range(LEVELS):
        array, members = (
            rf"\[(?:{item}(?:{comma}(?!{_SPACE}\])|(?={_SPACE}\])))*+{_SPACE}\]",
            rf"\{{(?:{name}{item}(?:{comma}(?!{_SPACE}\}})|(?={_SPACE}\}})))*+{_SPACE}\}}",
        )
        item = rf"(?:{item}|{_SPACE}(?:{array}|{members}))"
    return re.compile(rf"(?:{item}{comma})++").match
