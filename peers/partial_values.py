"""Every difference between jiter's partial values and ours, by name: a text in, the names out.

A difference is a function whose name is in the table of docs/peers.md. What none explains is said
as text.
"""

import re
from collections.abc import Iterator
from typing import Any, Final

import attrs
import jiter

from sansio_stream.partial_json import PartialJSON


@attrs.frozen
class Shown:
    """What the two show of a text.

    Attributes:
        error: what jiter raised, "" if nothing.
    """

    text: str
    strings: bool
    here: Any
    dead_at: int | None
    there: Any
    error: str

    @classmethod
    def of(cls, text: str, parser: PartialJSON, *, strings: bool) -> "Shown":
        """Show a text that a parser has been given."""
        there, error = None, ""
        try:
            there = value_of_jiter(text, strings=strings)
        except ValueError as caught:
            error = str(caught)
        return cls(text, strings, parser.value, parser.dead_at, there, error)

    @property
    def is_equal(self) -> bool:
        """Whether both show the same; reprs tell 1 from 1.0 and orders of keys."""
        return not self.error and repr(self.here) == repr(self.there)


def value_of_jiter(text: str, *, strings: bool) -> Any:
    """Return jiter's partial value; ValueError where it has none."""
    return jiter.from_json(text.encode(), partial_mode="trailing-strings" if strings else "on")


def parser_of(text: str, *, strings: bool, max_depth: int = 200_000) -> PartialJSON:
    """Return a parser that has got the text."""
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
    return is_alive and shown.here is None and shown.error.startswith("EOF while parsing")


def too_deep(shown: Shown) -> bool:
    """More arrays and objects inside one another than jiter takes."""
    if not shown.error.startswith("recursion limit exceeded"):
        return False
    shallow = parser_of(shown.text, strings=shown.strings, max_depth=JITERS_DEPTH)
    return shallow.dead_at != shown.dead_at


def long_integer(shown: Shown) -> bool:
    """An integer of more digits than Python converts."""
    digits = re.search(rf"\d{{{PYTHONS_DIGITS + 1}}}", shown.text)
    return digits is not None and shown.error.startswith("number out of range")


def lone_surrogate(shown: Shown) -> bool:
    """A half of a pair of surrogates is escaped without the other half."""
    before, before_ends = 0, 0
    for escape in ESCAPE.finditer(shown.text):
        unit = int(escape[1] or "0", 16)
        is_pair = before in HIGH and unit in LOW and before_ends == escape.start()
        if (before in HIGH or unit in LOW) and not is_pair:
            return True
        before, before_ends = (0 if is_pair else unit), escape.end()
    return before in HIGH and before_ends < len(shown.text)


def no_number(shown: Shown) -> bool:
    """NaN and Infinity, which are no JSON."""
    return not shown.error and shown.dead_at is not None and shown.text[shown.dead_at] in "NI"


def dead_text(shown: Shown) -> bool:
    """A text that no JSON text begins with."""
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
    """The names of what explains that the two differ, nothing if they don't; a text if nothing
    does.
    """
    if shown.is_equal:
        return
    name = next((each.__name__ for each in DIFFERENCES if each(shown)), "")
    yield name or f"{shown.text!r}: {shown.here!r} / {shown.there!r} {shown.error}"
    if name == "dead_text":
        # What we show of a dead text is what jiter shows of the text before it died.
        alive = shown.text[: shown.dead_at]
        parser = parser_of(alive, strings=shown.strings)
        if repr(parser.value) != repr(shown.here):
            yield f"{shown.text!r}: dead, but not as it was"
        yield from differences_of(Shown.of(alive, parser, strings=shown.strings))
