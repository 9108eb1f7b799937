"""Fuzzes PartialJSON. It agrees with json.loads, and any cut of a text gives the same values."""

import copy
import json
import math
import re
from collections.abc import Callable, Iterable
from typing import Any, Final

import attrs

from cases import DEPTH, PICKLES, WHOLE_STRINGS, Case, check_equal, pickled
from sansio_stream import (
    InvalidJSONError,
    PartialJSON,
)
from sansio_stream.partial_json import TooDeepError, loads

# The value is compared after each of the first WATCHED_CHARACTERS of a text. Endings are only tried
# for texts of at most COMPLETED_CHARACTERS.
WATCHED_CHARACTERS: Final = 200
COMPLETED_CHARACTERS: Final = 2_000

_string = re.compile(r'"(?:[^"\\]|\\.)*"?', re.DOTALL)


@attrs.frozen
class Parsed:
    """The results of a parser for a text. Values are stored as repr to distinguish 1 from 1.0."""

    value: str
    dead_at: int | None
    dead_reason: str | None
    finished: tuple[object, ...]


def finished(finish: Callable[[], object]) -> tuple[object, ...]:
    """Return the value or the error of a strict parse."""
    try:
        return ("value", repr(finish()))
    except InvalidJSONError as error:
        return (type(error).__name__, error.reason, error.position)


def parsed(parser: PartialJSON) -> Parsed:
    """Return all results of a parser."""
    end = finished(parser.finish)
    return Parsed(repr(parser.value), parser.dead_at, parser.dead_reason, end)


def partial_json(data: bytes) -> None:
    """Parse a text whole and in pieces. Read the value after each piece or only at the end."""
    case = Case.of(data)
    text = text_of(case.body)
    strings, depth = not case.has(WHOLE_STRINGS), case.choose(4, DEPTH)

    def parser_of(pieces: Iterable[str]) -> PartialJSON:
        parser = PartialJSON(strings, max_depth=depth)
        for piece in pieces:
            parser.push(piece)
        return parser

    whole = parsed(parser_of([text]))
    check_equal("loads", whole.finished, finished(lambda: loads(text, depth)))
    check_against_json(text, depth, whole)
    check_finite(text, depth, whole)
    check_death(text, whole)

    # In single characters. The value is read at the end or after each.
    check_equal("pushed in characters", whole, parsed(parser_of(text)))
    watched = parser_of("")
    moments = [(repr(watched.value), watched.dead_at)]
    before = copy.deepcopy(watched.value)
    for character in text[:WATCHED_CHARACTERS]:
        watched.push(character)
        after = copy.deepcopy(watched.value)
        check_step(before, after)
        before = after
        moments.append((repr(after), watched.dead_at))
    watched.push(text[WATCHED_CHARACTERS:])
    check_equal("read after each character", whole, parsed(watched))
    for position, (_, dead_at) in enumerate(moments):
        is_dead = whole.dead_at is not None and whole.dead_at < position
        check_equal(
            f"dead_at after {position} characters", whole.dead_at if is_dead else None, dead_at
        )

    # In pieces. The parser is read and pickled or copied after each.
    pieces = parser_of("")
    position = 0
    for number, piece in enumerate(case.cuts(text)):
        pieces.push(piece)
        position += len(piece)
        if number < PICKLES:
            pieces = pickled(pieces) if number % 2 else copy.deepcopy(pieces)
        if position < len(moments):
            observed = (repr(pieces.value), pieces.dead_at)
            check_equal(f"read after {position} characters", moments[position], observed)
    check_equal("pushed in pieces", whole, parsed(pieces))


def text_of(body: bytes) -> str:
    """Return the text of bytes. Three bytes may encode a lone surrogate."""
    try:
        return body.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return body.decode("utf-8", "replace")


def check_against_json(text: str, max_depth: int, whole: Parsed) -> None:
    """Check that a strict parse agrees with json.loads, except for texts that are too deep."""
    expected = accepted(text)
    if expected is not None and depth_of(text) <= max_depth:
        check_equal("the value of json.loads", ("value", expected), whole.finished)
        check_equal("the value of a whole text", expected, whole.value)
    elif expected is not None:
        check_equal(
            "the error of a text that is too deep", TooDeepError.__name__, whole.finished[0]
        )
    else:
        assert whole.finished[0] != "value", f"{text!r} is accepted, but it is not JSON"


def accepted(text: str) -> str | None:
    """Return the repr of the value that json.loads returns, None if it raises."""
    try:
        return repr(json.loads(text, parse_constant=refuse))
    except (ValueError, RecursionError):
        return None


def refuse(name: str) -> object:
    """Raise ValueError, because NaN and the infinities are not JSON."""
    raise ValueError(name)


def check_finite(text: str, max_depth: int, whole: Parsed) -> None:
    """Check that `finite=True` only rejects texts with a number that becomes an infinite float."""
    finite = finished(lambda: loads(text, max_depth, finite=True))
    if whole.finished[0] == "value" and has_infinity(text):
        check_equal("the error of an infinite number", InvalidJSONError.__name__, finite[0])
    else:
        check_equal("a text without infinite numbers", whole.finished, finite)


def has_infinity(text: str) -> bool:
    """Return whether a JSON text has a number that becomes an infinite float."""
    found: list[bool] = []
    json.loads(text, parse_float=lambda number: found.append(math.isinf(float(number))))
    return any(found)


def depth_of(text: str) -> int:
    """Return the depth of the deepest nested array or object."""
    deepest = depth = 0
    for character in _string.sub("", text):
        depth += (character in "[{") - (character in "]}")
        deepest = max(deepest, depth)
    return deepest


# Any beginning of a JSON text can be continued with one of these and with closing brackets. They
# are the rest of an escape, a string, a literal or a number, and the value of a key.
ENDINGS: Final = tuple(
    escape + token
    for escape in ("", '"', 'n"', '0"', '00"', '000"', '0000"', 'u0000"')
    for token in ("", "0", ":0", '"":0', "rue", "ue", "e", "alse", "lse", "se", "ull", "ll", "l")
)


def check_death(text: str, whole: Parsed) -> None:
    """Check that `dead_at` is the first character after which no ending makes the text JSON."""
    dead_at = whole.dead_at
    if len(text) > COMPLETED_CHARACTERS:
        return
    alive = text if dead_at is None else text[:dead_at]
    assert can_be_ended(alive), f"{alive!r} cannot become JSON, but dead_at does not report it"
    if dead_at is not None and whole.finished[0] != TooDeepError.__name__:
        dead = text[: dead_at + 1]
        assert not can_be_ended(dead), f"{dead!r} can become JSON, but it is reported as dead"


def can_be_ended(text: str) -> bool:
    """Return whether one of the endings makes a text JSON."""
    closing = ""
    for character in _string.sub("", text):
        if character in "[{":
            closing = "]}"[character == "{"] + closing
        elif character in "]}":
            closing = closing[1:]
    return any(accepted(text + ending + closing) is not None for ending in ENDINGS)


def check_step(before: object, after: object) -> None:
    """Check that one more character changes only the innermost unfinished value.

    A string only grows. A number may change or disappear: `1` is a number, `1.` is not, `1.5` is.
    """
    match before, after:
        case list(), list():
            check_step_of_items(before, after)
        case dict(), dict():
            changed = [
                key for key in before if key not in after or repr(before[key]) != repr(after[key])
            ]
            assert len(changed) + len(after.keys() - before.keys()) <= 1, (
                f"{before!r} became {after!r} after one more character"
            )
        case str(), str():
            assert after.startswith(before), f"{before!r} became {after!r}"
        case (None, _) | (int() | float(), None | int() | float()):
            pass
        case _:
            raise AssertionError(f"{before!r} became {after!r}")


def check_step_of_items(before: list[Any], after: list[Any]) -> None:
    """Check that only the last item of an array changed, or one item was added or removed."""
    finished = len(before) - 1
    assert repr(before[:finished]) == repr(after[:finished]), f"{before!r} became {after!r}"
    assert len(after) <= len(before) + 1, f"{before!r} became {after!r}"
    if before and len(after) >= len(before):
        check_step(before[-1], after[finished])
    elif before:
        is_number = isinstance(before[-1], int | float) and len(after) == finished
        assert is_number, f"{before!r} became {after!r}"
