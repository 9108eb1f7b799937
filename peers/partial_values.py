"""All differences between the partial values of this library ("ours") and jiter's ("theirs").

A text in, the names of the differences out. A difference is a function that has a row in the table
of docs/peers.md. If no function explains a difference, a text is returned instead of a name.
"""

import re
from collections.abc import Iterator
from typing import Any, Final

import attrs
import jiter

from sansio_stream.partial_json import PartialJSON


@attrs.frozen
class Shown:
    """The partial values that both parsers show for a text.

    Attributes:
        text: the text.
        strings: whether both parsers show unfinished strings.
        ours: the value of this library.
        dead_at: the position at which the text stops being JSON, None if it can become JSON.
        theirs: the value of jiter, None if jiter raised.
        error: the message of jiter's exception, "" if it raised none.
    """

    text: str
    strings: bool
    ours: Any
    dead_at: int | None
    theirs: Any
    error: str

    @classmethod
    def of(cls, text: str, parser: PartialJSON, *, strings: bool) -> "Shown":
        """Compare jiter with a parser that has already received the text."""
        theirs, error = None, ""
        try:
            theirs = value_of_jiter(text, strings=strings)
        except ValueError as caught:
            error = str(caught)
        return cls(text, strings, parser.value, parser.dead_at, theirs, error)

    @property
    def is_equal(self) -> bool:
        """Whether both values are equal. Their reprs distinguish 1, 1.0 and orders of keys."""
        return not self.error and repr(self.ours) == repr(self.theirs)


def value_of_jiter(text: str, *, strings: bool) -> Any:
    """Return jiter's partial value. Raises ValueError if it has none."""
    return jiter.from_json(text.encode(), partial_mode="trailing-strings" if strings else "on")


def parser_of(text: str, *, strings: bool, max_depth: int = 200_000) -> PartialJSON:
    """Return a parser that has received the text."""
    parser = PartialJSON(strings, max_depth=max_depth)
    parser.push(text)
    return parser


# The differences.

JITERS_DEPTH: Final = 201
PYTHONS_DIGITS: Final = 4300

ESCAPE: Final = re.compile(r"\\(?:u([0-9a-fA-F]{4})|.)", re.DOTALL)
HIGH, LOW = range(0xD800, 0xDC00), range(0xDC00, 0xE000)


def nothing_to_show(shown: Shown) -> bool:
    """The text ends before there is a value."""
    is_alive = shown.dead_at is None
    return is_alive and shown.ours is None and shown.error.startswith("EOF while parsing")


def too_deep(shown: Shown) -> bool:
    """More nested arrays and objects than jiter accepts."""
    if not shown.error.startswith("recursion limit exceeded"):
        return False
    shallow = parser_of(shown.text, strings=shown.strings, max_depth=JITERS_DEPTH)
    return shallow.dead_at != shown.dead_at


def long_integer(shown: Shown) -> bool:
    """An integer with more digits than Python converts."""
    digits = re.search(rf"\d{{{PYTHONS_DIGITS + 1}}}", shown.text)
    return digits is not None and shown.error.startswith("number out of range")


def lone_surrogate(shown: Shown) -> bool:
    """An escaped surrogate without the other surrogate of its pair."""
    before, before_ends = 0, 0
    for escape in ESCAPE.finditer(shown.text):
        unit = int(escape[1] or "0", 16)
        is_pair = before in HIGH and unit in LOW and before_ends == escape.start()
        if (before in HIGH or unit in LOW) and not is_pair:
            return True
        before, before_ends = (0 if is_pair else unit), escape.end()
    return before in HIGH and before_ends < len(shown.text)


def no_number(shown: Shown) -> bool:
    """NaN or Infinity, which are not JSON."""
    return not shown.error and shown.dead_at is not None and shown.text[shown.dead_at] in "NI"


def dead_text(shown: Shown) -> bool:
    """A text that is not the beginning of any JSON text."""
    return shown.dead_at is not None and bool(shown.error)


DIFFERENCES: Final = (
    nothing_to_show,
    too_deep,
    long_integer,
    lone_surrogate,
    no_number,
    dead_text,
)
NAMES: Final = frozenset(difference.__name__ for difference in DIFFERENCES)


def differences_of(shown: Shown) -> Iterator[str]:
    """Yield the names of the differences. If none explains the difference, yield a text."""
    if shown.is_equal:
        return
    name = next((each.__name__ for each in DIFFERENCES if each(shown)), "")
    yield name or f"{shown.text!r}: {shown.ours!r} / {shown.theirs!r} {shown.error}"
    if name == "dead_text":
        # The value that this library shows for a dead text is the value that jiter shows for the
        # part before `dead_at`.
        alive = shown.text[: shown.dead_at]
        parser = parser_of(alive, strings=shown.strings)
        if repr(parser.value) != repr(shown.ours):
            yield f"{shown.text!r}: the value changed when the text stopped being JSON"
        yield from differences_of(Shown.of(alive, parser, strings=shown.strings))
