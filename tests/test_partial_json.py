"""The parser of partial JSON: its values, its errors, and its work.

The values are compared with `json.loads` and with test vectors. The work is counted.
"""

import base64
import codecs
import copy
import inspect
import json
import pickle
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from random import Random
from typing import Any, Final

import pytest
from hypothesis import example, given, strategies as st

import sansio_stream.partial_json.scanner as module
import sansio_stream.partial_json.value as value_module
import shared_data
from sansio_stream.partial_json import InvalidJSONError, PartialJSON, TooDeepError, loads, object_in
from sansio_stream.partial_json.decoding import nests_deeper
from tracing import peak_of

BOTH_MODES = pytest.mark.parametrize("partial_strings", [True, False])


# Helpers


def parser_of(pieces: list[str] | str, *, strings: bool = True, read: bool = False) -> PartialJSON:
    """Push pieces into a new parser.

    Args:
        pieces: The pieces. A string is pushed character by character.
        strings: The parser's `partial_strings`.
        read: Whether to read `value` after each piece.
    """
    parser = PartialJSON(strings, max_depth=200_000)
    for piece in pieces:
        parser.push(piece)
        if read:
            _ = parser.value
    return parser


def result_of(parse: Callable[[], Any]) -> tuple[str, Any]:
    """Return ("value", the repr of the value), or the reason and the position of the error.

    The repr distinguishes 1 from 1.0, and the orders of keys.
    """
    try:
        return "value", repr(parse())
    except InvalidJSONError as error:
        return error.reason, error.position


def json_loads(text: str) -> str | None:
    """Return the repr of the value of `json.loads`, or None for invalid JSON.

    NaN and Infinity, which `json.loads` accepts, are invalid here.
    """

    def reject(name: str) -> Any:
        raise ValueError(name)

    try:
        return repr(json.loads(text, parse_constant=reject))
    except ValueError:
        return None


def cut(text: str, at: list[int]) -> list[str]:
    """Cut a text at these positions. Some pieces may be empty."""
    edges = [0, *sorted(min(position, len(text)) for position in at), len(text)]
    return [text[start:end] for start, end in pairwise(edges)]


@contextmanager
def digit_limit(digits: int) -> Generator[None]:
    """Let Python convert integers of at most so many digits."""
    usual = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(digits)
    try:
        yield
    finally:
        sys.set_int_max_str_digits(usual)


def pickled(thing: Any) -> Any:
    return pickle.loads(pickle.dumps(thing))


# Strategies

CUTS = st.lists(st.integers(0, 400), max_size=12)
# There are few strings, so that an object may have the same key twice.
FEW_STRINGS = st.sampled_from(["", "a", 'say "a\\b"', "\x00\n/", "é", "\U0001f600\U0001f600"])
# Lone surrogates, also before a character or an escape with which they must not be joined.
SURROGATES = st.sampled_from(["\ud83d", "\ude00\ud83d", "\ud83d\U0001f600", "\ud83d\\ude00"])
NUMBERS = (
    st.integers()
    | st.integers(-(10**40), 10**40)
    | st.floats(allow_nan=False, allow_infinity=False)
)
STRINGS = FEW_STRINGS | SURROGATES | st.text()
WHITE_SPACE = st.text(" \t\n\r", max_size=2)


@st.composite
def spellings(draw: st.DrawFn, strings: st.SearchStrategy[str] = STRINGS) -> str:
    """Draw a JSON text in any notation.

    White space and escapes vary, and keys may occur twice.
    """
    scalars = st.none() | st.booleans() | NUMBERS | strings

    def spell(value: Any) -> str:
        text = json.dumps(value, ensure_ascii=draw(st.booleans()))
        if isinstance(value, str) and draw(st.booleans()):
            units = value.encode("utf-16-be", "surrogatepass").hex("-", 2).upper()
            text = '"' + "".join(f"\\u{unit}" for unit in units.split("-") if unit) + '"'
        elif isinstance(value, str):
            text = text.replace("/", "\\/")
        if isinstance(value, float) and draw(st.booleans()):
            text = text.replace("e", "E")
        return draw(WHITE_SPACE) + text + draw(WHITE_SPACE)

    def build(depth: int) -> str:
        kind = draw(st.sampled_from(["scalar", "array", "object", "object"])) if depth < 4 else ""
        if kind not in {"array", "object"}:
            return spell(draw(scalars))
        items = [build(depth + 1) for _ in range(draw(st.integers(0, 3)))]
        if kind == "object":
            items = [f"{spell(draw(strings))}:{item}" for item in items]
        inside = ",".join(items) or draw(WHITE_SPACE)
        return f"[{inside}]" if kind == "array" else f"{{{inside}}}"

    return draw(WHITE_SPACE) + build(0) + draw(WHITE_SPACE)


@st.composite
def nearly_json(draw: st.DrawFn) -> str:
    """Draw a JSON text in which one or two short pieces are replaced, inserted or deleted."""
    text = draw(spellings())
    for _ in range(draw(st.integers(1, 2))):
        start = draw(st.integers(0, len(text)))
        end = start + draw(st.integers(0, 2))
        text = text[:start] + draw(st.sampled_from(FRAGMENTS)) + text[end:]
    return text


FRAGMENTS = [
    *("", *'{}[]":,\\ 01.eE+-tfn\x00\x1f\x7f\ufeff\ud83dé\f\xa0'),
    *("true", "null", "NaN", "Infinity", "-0", "1e5", "00", "1.", '""', '"a"'),
    *("\\ud83d", "\\ude00", "\\u12", "\\x"),
]
ANY_TEXT = (
    nearly_json()
    | st.lists(st.sampled_from(FRAGMENTS), max_size=12).map("".join)
    | st.text('{}[]":,\\utrfalsn0123.eE+- \n', max_size=20)
    | st.text()
)


# Complete texts


@given(text=spellings(), at=CUTS)
def test_any_document_has_the_value_of_json_loads_however_it_is_cut(
    text: str, at: list[int]
) -> None:
    expected = repr(json.loads(text))
    for read in (False, True):
        for pieces in (cut(text, at), list(text), [text]):
            parser = parser_of(pieces, read=read)
            assert repr(parser.finish()) == expected
            assert repr(parser.value) == expected
            assert parser.dead_at is None
            assert parser.dead_reason is None
    assert repr(loads(text)) == expected


@given(text=ANY_TEXT, at=CUTS)
@example("", [])
@example('["\\ud83d\\u12"]', [8])
@example('["\\ud83d\\ude0g"]', [8, 10, 13])
@example("[-]", [2])
@example('"\\ud83d\\x"', [7])
@example('"\\ud83d\n"', [7])
@example("[1]]", [3])
def test_loads_and_finish_agree_with_json_loads_on_any_text(text: str, at: list[int]) -> None:
    strict = result_of(lambda: loads(text))
    assert (strict[1] if strict[0] == "value" else None) == json_loads(text)
    for read in (False, True):
        for pieces in ([text], list(text), cut(text, at)):
            assert result_of(parser_of(pieces, read=read).finish) == strict


@given(text=ANY_TEXT, at=CUTS)
def test_results_do_not_depend_on_the_cuts_or_on_earlier_reads(text: str, at: list[int]) -> None:
    for strings in (True, False):
        whole = parser_of([text], strings=strings)
        results = repr((whole.value, whole.dead_at, whole.dead_reason))
        for pieces in (list(text), cut(text, at)):
            for read in (False, True):
                parser = parser_of(pieces, strings=strings, read=read)
                assert repr((parser.value, parser.dead_at, parser.dead_reason)) == results


def test_finish_changes_nothing() -> None:
    parser = PartialJSON()
    for piece in ('{"a": [1', "2", ', "b\\u00', 'e9"', "], ", '"a": tr'):
        parser.push(piece)
        with pytest.raises(InvalidJSONError):
            parser.finish()
    assert parser.value == {"a": [12, "bé"]}
    parser.push("ue} ")
    for _ in range(2):
        assert parser.finish() == {"a": True}
    parser.push(" \n")
    assert parser.finish() == {"a": True}
    parser.push("x")
    assert parser.dead_at == len('{"a": [12, "b\\u00e9"], "a": true}  \n')
    assert parser.value == {"a": True}


def test_a_piece_that_is_valid_json_itself_is_part_of_the_text() -> None:
    parser = PartialJSON()
    parser.push('{"a": ')
    assert parser.value == {}
    parser.push("[1]")
    with pytest.raises(InvalidJSONError, match="ends before ',' or '}'"):
        parser.finish()
    parser.push("}")
    assert parser.finish() == {"a": [1]}


@pytest.mark.parametrize(
    ("pieces", "outcomes"),
    [
        ("1 2 . 5 e 1 \n", "1 12 - 12.5 - 125.0 125.0"),
        ('"a b" \t', "- 'ab' 'ab'"),
        ("[] \n", "[] []"),
        ("nul l \n", "- None None"),
    ],
)
def test_a_complete_text_can_be_continued(pieces: str, outcomes: str) -> None:
    parser = PartialJSON()
    for piece, expected in zip(pieces.split(" "), outcomes.split(" "), strict=True):
        parser.push(piece)
        if expected == "-":
            with pytest.raises(InvalidJSONError):
                parser.finish()
        else:
            assert repr(parser.finish()) == expected


@pytest.mark.parametrize(
    ("text", "reason", "position"),
    [
        ("", "the JSON text ends before a value", 0),
        (" ", "the JSON text ends before a value", 1),
        ("[", "the JSON text ends before a value or ']'", 1),
        ("[12", "the JSON text ends before ',' or ']'", 3),
        ("[1.", "the JSON text ends before a digit", 3),
        ('{"a', "the JSON text ends before the end of a key", 3),
        ('{"a"', "the JSON text ends before ':'", 4),
        ('{"a":1 ', "the JSON text ends before ',' or '}'", 7),
        ('{"a":1]', "expected ',' or '}', found ']'", 6),
        ('"a\\', "the JSON text ends before the end of a string", 3),
        ("fal", "the JSON text ends before the end of true, false or null", 3),
        ("\ufeff{}", "expected a value, found '\\ufeff'", 0),
        ("[1,]", "expected a value, found ']'", 3),
        ('{"a":1,}', "expected a key in double quotes, found '}'", 7),
        ("{} {}", "expected the end of the text, found '{'", 3),
        ("{} nothing more", "expected the end of the text, found 'n'", 3),
        ("[01]", "expected ',' or ']', found '1'", 2),
        ("-x", "expected a digit, found 'x'", 1),
        ("trve", "expected true, found 'v'", 2),
        ("NaN", "expected a value, found 'N'", 0),
        ("-Infinity", "expected a digit, found 'I'", 1),
        ('"\\u12x"', "expected a valid escape, found 'x'", 5),
        ('"\\ "', "expected a valid escape, found ' '", 2),
        ('"\\A"', "expected a valid escape, found 'A'", 2),
        ('"a\tb"', "expected an escaped control character, found '\\t'", 2),
    ],
)
def test_an_error_has_the_expected_token_and_the_position(
    text: str, reason: str, position: int
) -> None:
    for pieces in ([text], list(text)):
        with pytest.raises(InvalidJSONError) as caught:
            parser_of(pieces).finish()
        assert (caught.value.reason, caught.value.position) == (reason, position)
        assert str(caught.value) == f"{reason} (at character {position})"
        dead = reason.startswith("expected")
        assert parser_of(pieces).dead_at == (position if dead else None)
        assert parser_of(pieces).dead_reason == (reason if dead else None)
    with pytest.raises(InvalidJSONError, match="at character"):
        loads(text)


@pytest.mark.parametrize("word", ["true", "false", "null"])
def test_a_literal_with_a_changed_character_is_invalid(word: str) -> None:
    others = [word[:at] + word[at + 1 :] for at in range(len(word))]
    others += [word[:at] + word[at].upper() + word[at + 1 :] for at in range(len(word))]
    others += [word + more for more in ("e", "true", "false", "null", "0", '""', "[]")]
    for other in others:
        for text in (f"[{other}]", other):
            assert json_loads(text) is None
            for pieces in ([text], list(text)):
                assert result_of(parser_of(pieces).finish)[0] != "value"


def test_the_error_is_a_value_error_that_pickles_and_copies() -> None:
    error = InvalidJSONError("expected a value, found 'x'", 7)
    assert isinstance(error, ValueError)
    assert error.args == ("expected a value, found 'x'", 7)
    for duplicate in (pickled(error), copy.deepcopy(error)):
        assert (duplicate.reason, duplicate.position, str(duplicate)) == (
            error.reason,
            7,
            str(error),
        )


# The position at which a text becomes invalid


def completions(text: str) -> Iterator[str]:
    """Return the text with each possible ending.

    If the text is the start of a JSON text, at least one of the results is valid JSON.
    """
    closers, inside, escaped = "", False, False
    for character in text:
        if escaped:
            escaped = False
        elif inside:
            escaped, inside = character == "\\", character != '"'
        elif character in "[{":
            closers = ("]" if character == "[" else "}") + closers
        elif character in "]}":
            closers = closers[1:]
        else:
            inside = character == '"'
    endings = ["", "0", ":0", '"":0', "rue", "ue", "e", "alse", "lse", "se", "ull", "ll", "l"]
    for string in ('"', 'n"', '0"', '00"', '000"', '0000"'):
        endings += [string, string + ":0"]
    return (text + ending + closers for ending in endings)


def can_be_completed(text: str) -> bool:
    return any(json_loads(completed) is not None for completed in completions(text))


@given(text=ANY_TEXT)
def test_dead_at_is_the_first_character_after_which_no_ending_is_valid(text: str) -> None:
    dead_at = parser_of([text]).dead_at
    if dead_at is None:
        assert can_be_completed(text)
    else:
        assert can_be_completed(text[:dead_at])
        assert not can_be_completed(text[: dead_at + 1])


@pytest.mark.parametrize(
    "number",
    [
        *("", "-", "0", "7", "-0", "-7", "70", "0.", "7.", "0.0", "7.0", "7.07"),
        *("0e", "0E", "7e", "7E", "7.0e", "7.0E", "7e+", "7e-", "7e0", "7e+0", "7e-0", "7e07"),
    ],
)
def test_after_each_part_of_a_number_only_the_characters_of_the_json_grammar_are_valid(
    number: str,
) -> None:
    for character in map(chr, range(128)):
        text = f"[{number}{character}"
        expected = json_loads(f"{text}]")
        for pieces in ([text], list(text), [f"[{number}", character]):
            assert (parser_of(pieces).dead_at is None) is can_be_completed(text)
            kind, value = result_of(parser_of([*pieces, "]"]).finish)
            assert (value if kind == "value" else None) == expected


@given(text=ANY_TEXT, more=ANY_TEXT)
@example("[1x", "]")
def test_an_invalid_text_keeps_its_value_whatever_is_pushed(text: str, more: str) -> None:
    for strings in (True, False):
        parser = parser_of([text], strings=strings)
        if parser.dead_at is not None:
            dead = (repr(parser.value), parser.dead_at, parser.dead_reason)
            before = parser_of([text[: parser.dead_at]], strings=strings)
            assert repr(parser.value) == repr(before.value)
            parser.push(more)
            assert (repr(parser.value), parser.dead_at, parser.dead_reason) == dead


# Partial values


@pytest.mark.parametrize(
    ("text", "with_partial_strings", "without_partial_strings"),
    [
        ("", None, None),
        ('"a', "a", None),
        ("-", None, None),
        ("12", 12, 12),
        ("tru", None, None),
        ('{"a":"b', {"a": "b"}, {}),
        ('{"a":"', {"a": ""}, {}),
        ('{"a', {}, {}),
        ('{"a":1,"b":', {"a": 1}, {"a": 1}),
        ('{"a":{"b":[', {"a": {"b": []}}, {"a": {"b": []}}),
        ('["a\\', ["a"], []),
        ('["a\\u00e', ["a"], []),
        ('["a\\ud83d', ["a"], []),
        ('["a\\ud83d\\ude0', ["a"], []),
        ('["a\\ud83d\\ude00', ["a\U0001f600"], []),
        ('["a\\uD83D\\uDE00\\u0', ["a\U0001f600"], []),
        ('["a\\ud83d\\ude00\\', ["a\U0001f600"], []),
        ('["a\\ud83dx', ["a\ud83dx"], []),
        ('["a\\\\ud83d', ["a\\ud83d"], []),
        ("[1.5e", [], []),
        ("[1.5e1", [15.0], [15.0]),
        ("[1.5, -1e2 ", [1.5, -100.0], [1.5, -100.0]),
        ("[1e999", [float("inf")], [float("inf")]),
        ('{"a":1,"a":2', {"a": 2}, {"a": 2}),
        ('{"a":1.5e', {}, {}),
        ('{"a":1,"b":2,"a":-', {"a": 1, "b": 2}, {"a": 1, "b": 2}),
        ('{"a":1,"a":"', {"a": ""}, {"a": 1}),
        ('{"a":1,"a":[', {"a": []}, {"a": []}),
    ],
)
def test_the_value_of_an_incomplete_text(
    text: str, with_partial_strings: Any, without_partial_strings: Any
) -> None:
    for pieces in ([text], list(text)):
        for read in (False, True):
            value = parser_of(pieces, strings=True, read=read).value
            assert repr(value) == repr(with_partial_strings)
            assert repr(parser_of(pieces, strings=False, read=read).value) == repr(
                without_partial_strings
            )


HEX = "0123456789abcdefABCDEF"


@pytest.mark.parametrize("high", ["d800", "D9ff", "da3d", "dA3d", "dbFF", "DB00"])
@pytest.mark.parametrize("before", ["", "ab"])
def test_a_high_surrogate_is_in_the_value_once_no_low_surrogate_can_follow(
    high: str, before: str
) -> None:
    for next_characters in (
        *('"', "x", "\N{PARTY POPPER}", *(f"\\{character}" for character in '"\\/bfnrt')),
        *(f"\\u{digit}" for digit in HEX if digit not in "dD"),
        *(f"\\u{d}{digit}" for d in "dD" for digit in "0123456789abAB"),
    ):
        parser = parser_of(f'["{before}\\u{high}')
        for character in next_characters:
            assert parser.value == [before]
            parser.push(character)
        assert parser.value[0].startswith(before + chr(int(high, 16)))
        assert parser.dead_at is None


@pytest.mark.parametrize("high", ["d800", "dbFF"])
def test_a_high_surrogate_before_a_whole_and_a_cut_character_is_in_the_value(high: str) -> None:
    for following in (
        *("x", "\N{PARTY POPPER}", *(f"\\{character}" for character in '"\\/bfnrt')),
        *(f"\\u{digit}041" for digit in HEX if digit not in "dD"),
        *(f"\\u{d}{digit}41" for d in "dD" for digit in "01234567"),
    ):
        characters = f"a\\u{high}{following}"
        expected = [json.loads(f'"{characters}"')]
        for cut in ("\\", "\\u", "\\u0", "\\ud83d"):
            assert parser_of([f'["{characters}{cut}']).value == expected


@pytest.mark.parametrize("third", "cdefCDEF")
def test_a_surrogate_pair_is_in_the_value_after_its_last_digit(third: str) -> None:
    for d, digits in zip("dDdD", ("00", "aF", "9b", "fE"), strict=True):
        parser = parser_of('["\\uD83d')
        for character in f"\\u{d}{third}{digits}":
            assert parser.value == [""]
            parser.push(character)
        low = int(f"d{third}{digits}", 16)
        assert parser.value == [chr(0x10000 + (0x3D << 10) + low - 0xDC00)]


@pytest.mark.parametrize("place", range(4))
def test_an_escape_has_four_hexadecimal_digits(place: int) -> None:
    for digit in HEX:
        digits = "0041"[:place] + digit + "0041"[place + 1 :]
        if not digits.lower().startswith("d"):
            parser = parser_of('["\\u')
            for character in digits:
                assert parser.value == [""]
                parser.push(character)
            assert parser.value == [chr(int(digits, 16))]


def test_a_repeated_key_has_its_older_value_while_the_new_number_is_incomplete() -> None:
    parser = PartialJSON()
    seen: list[str] = []
    for character in '{"a":1,"b":0,"a":2.5}':
        parser.push(character)
        seen.append(repr(parser.value))
    assert seen[-5:] == [
        "{'a': 1, 'b': 0}",
        "{'a': 2, 'b': 0}",
        "{'a': 1, 'b': 0}",
        "{'a': 2.5, 'b': 0}",
        "{'a': 2.5, 'b': 0}",
    ]


def test_partial_strings_is_true_by_default() -> None:
    parser = PartialJSON()
    parser.push('{"a": "b')
    assert parser.value == {"a": "b"}


def test_a_repeated_key_has_its_older_null_while_the_new_number_is_incomplete() -> None:
    parser = parser_of('{"a":null,"a":1', read=True)
    assert parser.value == {"a": 1}
    parser.push(".")
    assert parser.value == {"a": None}


def test_containers_grow_in_place() -> None:
    parser = PartialJSON()
    parser.push('{"rows": [')
    value = parser.value
    rows = value["rows"]
    parser.push('{"id": 1}, {"id": 2')
    assert parser.value is value
    assert rows == [{"id": 1}, {"id": 2}]
    parser.push("}]}")
    assert parser.finish() is value


# Limits: depth, digits, recursion

DEEPEST = sys.getrecursionlimit() * 20


@pytest.mark.parametrize("document", ['[{"a":[', "[[[", '{"a":{"a":{"a":'])
def test_a_text_becomes_invalid_at_the_bracket_beyond_the_depth_limit(document: str) -> None:
    closers = "".join("]" if c == "[" else "}" for c in reversed(document) if c in "[{")
    whole = document + "0" + closers
    parser = PartialJSON(max_depth=3)
    parser.push(whole)
    assert repr(parser.finish()) == repr(loads(whole, 3)) == json_loads(whole)

    last = max(document.rfind("["), document.rfind("{"))
    parser = PartialJSON(max_depth=2)
    parser.push(whole)
    for parse in (parser.finish, lambda: loads(whole, 2)):
        with pytest.raises(TooDeepError, match="at most 2 nested arrays and objects") as caught:
            parse()
        assert caught.value.position == last
    assert parser.dead_at == last


def test_the_default_depth_limit_is_512() -> None:
    for count, is_allowed in ((512, True), (513, False)):
        text = "[" * count + "]" * count
        parser = PartialJSON()
        parser.push(text)
        assert parser.dead_at == (None if is_allowed else 512)
        for parse in (parser.finish, lambda text=text: loads(text)):
            assert (result_of(parse)[0] == "value") is is_allowed


def test_brackets_in_strings_and_beside_each_other_do_not_add_depth() -> None:
    for text in ('["[[[[", "\\"{{{", {}]', "[[], [], {}, [1]]", '["\\\\", []]', '["]]]", []]'):
        assert loads(text, 2) == json.loads(text)
        with pytest.raises(InvalidJSONError):
            loads(f"[{text}]", 2)
    for text in ('["", "a", [[0]]]', "[[], [], [], [[]]]", '{"a": {}, "b": {}, "c": {"d": {}}}'):
        with pytest.raises(TooDeepError):
            loads(text, 2)
    for text in ('["[[[\\', '["[[[', "[]][[", "[[[}"):  # invalid texts
        with pytest.raises(InvalidJSONError):
            loads(text, 2)


def test_deep_nesting_never_raises_a_recursion_error() -> None:
    text = '[{"a":' * DEEPEST + "1" + "}]" * DEEPEST
    with pytest.raises(InvalidJSONError) as caught:
        loads(text)
    assert caught.value.position == text.find("[", len('[{"a":') * 256)
    value = loads(text, 2 * DEEPEST)
    for _ in range(DEEPEST):
        value = value[0]["a"]
    assert value == 1


@pytest.mark.parametrize("finite", [False, True])
def test_a_caller_near_the_recursion_limit_gets_its_value(finite: bool) -> None:
    text = "[" * 400 + "]" * 400

    def deeper(frames: int) -> Any:
        return deeper(frames - 1) if frames else loads(text, finite=finite)

    value = deeper(sys.getrecursionlimit() - len(inspect.stack(0)) - 100)
    for _ in range(399):
        (value,) = value
    assert value == []


LONG_INTEGER = "1" * 5000


def test_an_integer_with_too_many_digits_is_invalid_and_other_values_are_kept() -> None:
    for text in (f'[0, {LONG_INTEGER}, {{"a": {LONG_INTEGER}}}, "x"]', f"[0, {LONG_INTEGER}]"):
        for pieces in ([text], cut(text, [500, 3000, 5010, 9000]), list(text)):
            parser = parser_of(pieces, read=len(pieces) < 10)
            with pytest.raises(InvalidJSONError, match="more digits than Python converts") as e:
                parser.finish()
            assert e.value.position == 4
            assert parser.value[:2] == [0, None]
            assert parser.dead_at is None
        with pytest.raises(InvalidJSONError):
            loads(text)


def test_an_incomplete_integer_with_too_many_digits_is_not_in_the_value() -> None:
    parser = PartialJSON()
    parser.push("[" + LONG_INTEGER)
    assert parser.value == []
    parser.push(".5")
    assert parser.value == []
    parser.push("]")
    assert parser.finish() == [float(LONG_INTEGER + ".5")]


def test_an_incomplete_number_is_in_the_value_up_to_4300_characters() -> None:
    for number in ("7" * 4299, "0." + "7" * 4297):
        parser = PartialJSON()
        parser.push("[" + number)
        assert repr(parser.value) == repr([json.loads(number)])
        parser.push("7")
        assert repr(parser.value) == repr([json.loads(number + "7")])
        parser.push("7")
        assert parser.value == []
    parser = PartialJSON()
    parser.push('{"a": 1, "a": 0.' + "7" * 4299)
    assert parser.value == {"a": 1}


def test_a_text_of_one_number_is_checked_too() -> None:
    for pieces in ([LONG_INTEGER], [LONG_INTEGER[:9], LONG_INTEGER[9:]]):
        parser = parser_of(pieces, read=True)
        with pytest.raises(InvalidJSONError, match="more digits than Python converts") as caught:
            parser.finish()
        assert caught.value.position == 0
    assert parser_of(["1" * 5000 + ".5"]).finish() == float("inf")
    assert repr(parser_of(["-0"]).finish()) == "0"


def test_a_lower_digit_limit_of_python_is_respected() -> None:
    with digit_limit(640):
        parser = parser_of("[" + "7" * 641, read=True)
        assert parser.value == []
        parser.push(",1]")
        assert parser.value == [None, 1]
        with pytest.raises(InvalidJSONError, match="more digits"):
            parser.finish()


# Pickles and copies


@given(text=ANY_TEXT, at=st.integers(0, 60))
@BOTH_MODES
def test_a_pickle_and_a_copy_continue_independently(
    text: str, at: int, partial_strings: bool
) -> None:
    whole = parser_of([text], strings=partial_strings)
    for read in (False, True):
        parser = parser_of(text[:at], strings=partial_strings, read=read)
        before = repr(parser.value) if read else ""
        for duplicate in (pickled(parser), copy.deepcopy(parser), copy.copy(parser)):
            duplicate.push(text[at:])
            assert repr((duplicate.value, duplicate.dead_at)) == repr((whole.value, whole.dead_at))
            assert result_of(duplicate.finish) == result_of(whole.finish)
            assert not read or repr(parser.value) == before


@BOTH_MODES
def test_a_pickle_and_a_copy_have_the_value_of_their_original(partial_strings: bool) -> None:
    parser = parser_of('{"a": "b", "c": "d', strings=partial_strings)
    for duplicate in (pickled(parser), copy.deepcopy(parser), copy.copy(parser)):
        assert duplicate.value == ({"a": "b", "c": "d"} if partial_strings else {"a": "b"})


def test_a_pickle_keeps_the_limit_and_does_not_recurse() -> None:
    parser = PartialJSON(max_depth=20_000)
    parser.push("[" * 20_000)
    assert parser.dead_at is None
    for duplicate in (pickled(parser), copy.deepcopy(parser)):
        assert duplicate.dead_at is None
        duplicate.push("[")
        assert duplicate.dead_at == 20_000


# Test vectors


def text_of(row: dict[str, Any]) -> str | None:
    """Return the text of a vector, or None if its bytes are not UTF-8.

    If the bytes end inside a character, this character is omitted.
    """
    if "text" in row:
        return str(row["text"])
    data = base64.b64decode(row["text_b64"])
    if b"\0" in data:  # UTF-16
        return None
    try:
        return codecs.getincrementaldecoder("utf-8")().decode(data)
    except UnicodeDecodeError:
        return None


VECTORS = "vectors/partial_json.jsonl"
LIMITS_OF_JITER = ("hex escape", "surrogate", "recursion limit", "out of range")


def expected_repr(expectation: dict[str, Any]) -> str | None:
    """Return the repr of the expected value of a vector, or None if it expects an error."""
    if "py_repr" in expectation:
        return str(expectation["py_repr"])
    return repr(expectation["value"]) if "value" in expectation else None


def cuts_of(text: str, seed: int) -> Iterator[list[str]]:
    yield [text]
    yield list(text)
    random = Random(seed)
    yield cut(text, random.choices(range(len(text) + 1), k=random.randrange(1, 20)))


@pytest.mark.exhaustive
@BOTH_MODES
def test_the_recorded_rows_have_the_expected_value_and_dead_at(
    partial_strings: bool,
) -> None:
    name = "expect_partial_trailing_strings" if partial_strings else "expect_partial"
    rows = shared_data.load(VECTORS)
    skipped = 0
    for number, row in enumerate(rows):
        text = text_of(row)
        if text is None:
            skipped += 1
            continue
        expected = expected_repr(row[name])
        error = row[name].get("error", "")
        for position, pieces in enumerate(cuts_of(text, number)):
            # Half of the cases read `value` after each piece. With the other value of
            # `partial_strings` it is the other half.
            read = (number + position + partial_strings) % 2 == 0
            parser = parser_of(pieces, strings=partial_strings, read=read)
            assert parser.dead_at == row["dead_at"], row["name"]
            if row["dead_at"] is not None or any(limit in error for limit in LIMITS_OF_JITER):
                continue  # jiter is not the reference for these
            assert repr(parser.value) == str(expected), row["name"]
    assert len(rows) == 2602
    shared_data.ran(VECTORS, len(rows) - skipped)


@pytest.mark.exhaustive
def test_the_recorded_rows_have_the_results_of_json_loads() -> None:
    rows = shared_data.load(VECTORS)
    skipped = 0
    for number, row in enumerate(rows):
        text = text_of(row)
        if text is None:
            skipped += 1
            continue
        either = row.get("expect_complete_either", {"": row.get("expect_complete", {"error": ""})})
        allowed = {expected_repr(expectation) for expectation in either.values()}
        is_deep = "nested_arrays" in row["name"]  # too deep for `json`, but not for this parser
        parses: list[Callable[[], Any]] = [partial(loads, text)]
        parses += (parser_of(pieces).finish for pieces in cuts_of(text, number))
        for parse in parses:
            kind, value = result_of(parse)
            assert is_deep or (value if kind == "value" else None) in allowed, row["name"]
            assert row["valid_complete"] is not False or kind != "value", row["name"]
    shared_data.ran(VECTORS, len(rows) - skipped)


def test_vectors_with_invalid_utf_8_are_read_with_replacement_characters() -> None:
    rows = [row for row in shared_data.load(VECTORS) if text_of(row) is None]
    for number, row in enumerate(rows):
        text = base64.b64decode(row["text_b64"]).decode("utf-8", "replace")
        kind, value = result_of(partial(loads, text))
        assert (value if kind == "value" else None) == json_loads(text), row["name"]
        assert row.get("suite") != "n" or kind != "value", row["name"]
        for pieces in cuts_of(text, number):
            parser = parser_of(pieces)
            assert result_of(parser.finish) == (kind, value), row["name"]
            assert (parser.dead_at is None) or kind != "value", row["name"]
    shared_data.ran(VECTORS, len(rows))


# Counted work. One unit is a call of a compiled pattern or of a function that reads a text, a
# character between its start and the end of the scanned text, or a character of an incomplete
# number that is converted. Time is not measured.


@contextmanager
def counted_work() -> Generator[list[int]]:
    work = [0, 0]  # the units, and the calls of patterns alone

    class Counting:
        def __getitem__(self, pattern: str) -> Callable[[str, int], Any]:
            def counted(text: str, position: int) -> Any:
                work[0] += 1 + len(text) - position
                work[1] += 1
                return matchers[pattern](text, position)

            return counted

    matchers = module.__dict__["matchers"]
    number = module.Scanner._number

    def counting(read: Callable[..., Any]) -> Callable[..., Any]:
        def counted(text: str, *position: int) -> Any:
            work[0] += 1 + len(text) - sum(position)
            return read(text, *position)

        return counted

    def counted_number(parser: Any) -> Any:
        work[0] += len(parser._token)
        return number(parser)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "matchers", Counting())
        patch.setattr(module, "is_plain", counting(module.is_plain))
        patch.setattr(module, "scan_string", counting(module.scan_string))
        patch.setattr(module.Scanner, "_number", counted_number)
        yield work


# Longer incomplete numbers are not shown, so that their conversions take a bounded work. With a
# smaller limit than the library's a shorter text shows that the work after it is linear.
SHOWN: Final = 500


def work_of(text: str, size: int, *, strings: bool = True) -> int:
    """Return the work of a text in pieces. `value` and `dead_at` are read after each of them."""
    parser = PartialJSON(strings)
    with counted_work() as work:
        for start in range(0, len(text), size):
            parser.push(text[start : start + size])
            _ = parser.value, parser.dead_at
    assert parser.dead_at is None
    return work[0]


NESTED = '[{"a":' * 200 + "0" + "}]" * 200
GROWING: dict[str, Callable[[int], str]] = {
    "records": lambda n: json.dumps([{"id": 1000 + i, "name": "n", "ok": None} for i in range(n)]),
    "string": lambda n: '{"text": "' + "word " * 10 * n + '"}',
    "escapes": lambda n: '["' + "\\ud83d\\ude00\\n\\u00e9" * 3 * n + '"]',
    "key": lambda n: '{"' + "k\\u00e9y" * 8 * n + '": 1}',
    "integer": lambda n: "[" + "7" * (SHOWN + 50 * n) + "]",
    "fraction": lambda n: "[0." + "7" * (SHOWN + 50 * n) + "]",
    "exponent": lambda n: "[1e" + "0" * (SHOWN + 50 * n) + "7]",
    "space": lambda n: '{ "a" :' + " \n" * 25 * n + "[ " + "\t" * 25 * n + "] }" + " " * 50 * n,
    "nesting": lambda n: "[" + ",".join([NESTED] * (n // 20)) + "]",
}  # fmt: skip


@pytest.mark.exhaustive
@pytest.mark.parametrize("strings", [True, False])
@pytest.mark.parametrize("kind", GROWING)
def test_twice_the_text_takes_at_most_twice_the_work(
    kind: str, strings: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(value_module, "_LONGEST_SHOWN", SHOWN)
    text = GROWING[kind]
    for size in (1, 12):
        one, two, four = (work_of(text(n), size, strings=strings) for n in (40, 80, 160))
        assert four - two <= 2.05 * (two - one)
        assert (four - two) <= 20 * (len(text(160)) - len(text(80)))


@pytest.mark.exhaustive
def test_each_character_of_a_cut_token_is_scanned_a_bounded_number_of_times() -> None:
    for text in (
        '{"text": "' + "a" * 400_000,
        '{"' + "k" * 400_000,
        "[0." + "7" * 400_000,
    ):
        assert work_of(text, 400) < 2.2 * len(text) + 4300 * 4300 / 400
    assert work_of("[" + "7" * 50_000, 1) < 3 * 50_000 + 4300 * 4300


def calls_of(text: str) -> int:
    """Return the number of calls of patterns for a text in one piece."""
    parser = parser_of([text])
    with counted_work() as work:
        assert parser.dead_at is None
    return work[1]


@pytest.mark.parametrize(
    "token",
    [
        *("0", "-0", "5", "18", "29", "30", "-41", "52", "63", "74", "85", "96", "1234567890"),
        *("0.0", "-1.5", "3.1234567890", "0.5e7", "2.5E-3"),
        *("1e5", "1E5", "1e+5", "1e-5", "0e0", "7e90", "9e-1234567890"),
        *('""', '"a"', '"\x7f \U0001f600"', "true", "false", "null"),
    ],
)
def test_a_complete_token_and_the_comma_before_it_take_one_call_of_a_pattern(token: str) -> None:
    for end in (",", "]", " ", "\t", "\n", "\r"):
        assert calls_of(f"[{token}{end}") == 3
        assert calls_of(f"[0,{token}{end}") == 4
    assert calls_of(f'{{"a":{token}}}') == 4


@pytest.mark.parametrize("key", ['""', '"a"', '" \x7f\U0001f600"'])
def test_a_key_and_the_characters_around_it_take_one_call_of_a_pattern(key: str) -> None:
    for space in ("", " ", "\t\n\r "):
        assert calls_of(f"{{{space}{key}{space}:") == 2
        assert calls_of(f'{{"":0{space},{space}{key}{space}:') == 4


def test_a_text_is_not_scanned_until_a_result_is_read() -> None:
    parser = PartialJSON()
    with counted_work() as work:
        for _ in range(100):
            parser.push('[{"a": 1}')
        assert work[0] == 0


def test_a_complete_array_or_object_is_parsed_once_and_by_the_c_scanner() -> None:
    parser = parser_of(['{"a": [1, ', '2], "b": "c"}'])
    with counted_work() as work:
        value = parser.finish()
        assert parser.finish() is parser.value is value
        assert parser.dead_at is None
    assert work[0] == 0
    assert value == {"a": [1, 2], "b": "c"}


def test_brackets_in_strings_and_beside_each_other_do_not_prevent_the_c_scanner() -> None:
    for text in ("[[], [{}], {}, [[]]]", '["[[[[", "\\"{{{{", "", "\\\\", {"}}}}": [0]}, []]'):
        with counted_work() as work:
            assert loads(text, 3) == json.loads(text)
        assert work[0] == 0


@pytest.mark.parametrize(
    ("text", "depth"),
    [
        ("[[[]], [[[]]]]", 4),
        ('{"a": [[[]]], "a": 1, "b": [], "c": [], "d": {}}', 4),  # the value has not all of it
        ('["[[[[[[", {"}": "{{{{{{"}]', 2),
    ],
)
def test_a_whole_text_is_as_deep_as_its_brackets_outside_strings(text: str, depth: int) -> None:
    assert loads(text, depth) == json.loads(text)
    with pytest.raises(TooDeepError):
        loads(text, depth - 1)


def test_object_in_works_near_the_recursion_limit_of_the_caller() -> None:
    text = '{"a":' * 150 + "1" + "}" * 150

    def deep(calls: int) -> object:
        return deep(calls - 1) if calls else object_in(text, 200)

    depth = len(inspect.stack(0))
    expected = json.loads(text)
    for left in range(60, 140, 10):
        assert deep(sys.getrecursionlimit() - depth - left) == expected
    assert object_in("]" + "[" * 205, 200) is None
    with pytest.raises(TooDeepError):
        object_in('{"a":' * 201, 200)


# Arrays with many items in one piece.

ITEMS: Final = st.sampled_from(
    [
        *("1", "-0", "-0.5e3", "1e999", " 12\t", '"ab"', '""', "true", "null", "[]", "{}"),
        *('{"a":1,"a" : [2]}', "[1,2 ,3]", '{"a":1,"b":"c"}', "[1, [ ]]", '"\\n"', "[[1]]"),
        *("[[[1]]]", "[[[[1]]]]", '[{"":[{}]}]', '{"":{"":{"":{}}}}', 640 * "9", 641 * "9"),
    ]
)
BROKEN_ITEMS: Final = st.sampled_from(
    ["", "x", "01", "-", "truex", '"', "[1", "{", "]", "[1,]", '{"a"}', "[[[1 2]]]", '{"":1,}']
)


@given(
    st.lists(ITEMS, min_size=60, max_size=90),
    st.lists(ITEMS | BROKEN_ITEMS, max_size=3),
    st.sampled_from(["[", '{"a":[', "[[", "", '{"b":1,"a":[[{},']),
    st.sampled_from([1, 3, 4, 5, 512]),
)
def test_many_items_in_one_piece_have_the_same_result_as_single_characters(
    items: list[str], last: list[str], begin: str, depth: int
) -> None:
    text = begin + ",".join([*items, *last, *items[:2]]) + "]"
    whole, in_characters = (PartialJSON(max_depth=depth) for _ in range(2))
    # Single characters of a number are converted with all before them. With the least limit that
    # Python allows, an integer with too many digits has few.
    with digit_limit(640):
        whole.push(text)
        for character in text:
            in_characters.push(character)
            in_characters.value  # noqa: B018  (reading `value` parses the piece)
        results = [
            (repr(each.value), each.dead_at, each.dead_reason, result_of_finish(each))
            for each in (whole, in_characters)
        ]
    assert results[0] == results[1]


@pytest.mark.parametrize(
    "item",
    [
        *("[1 2]", "[1,,2]", "[1,]", "[,1]", "[[1] 2]", "[01]", "[1.]", "[1e]", "[tru]", "[-]"),
        *('{"a":1 "b":2}', '{"a":1,}', '{,"a":1}', '{"a" 1}', '{"a":}', '{"a":[1 2]}'),
    ],
)
def test_an_invalid_item_among_many_is_found_at_its_place(item: str) -> None:
    text = "[" + 60 * '[1, 2], {"a": 3}, ' + f"{item}, " + 60 * "[1, 2], " + "0]"
    parser = parser_of([text])
    expected = parser_of(text)
    assert parser.dead_at is not None
    assert (parser.dead_at, parser.dead_reason) == (expected.dead_at, expected.dead_reason)
    assert repr(parser.value) == repr(expected.value)


def result_of_finish(parser: PartialJSON) -> object:
    try:
        return repr(parser.finish())
    except InvalidJSONError as error:
        return type(error), error.reason, error.position


# The depth of a text


def depth_of(text: str) -> int:
    """Return how deeply the brackets of a text nest, read character by character."""
    deepest = depth = 0
    in_string = is_escaped = False
    for character in text:
        if in_string:
            in_string = is_escaped or character != '"'
            is_escaped = character == "\\" and not is_escaped
        elif character == '"':
            in_string = True
        else:
            depth += (character in "[{") - (character in "]}")
            deepest = max(deepest, depth)
    return deepest


@given(st.text(st.sampled_from('[]{}"\\a\n,'), max_size=30), st.integers(0, 4))
@example('"[[[["', 3)
@example('"\\"[[[["', 3)
@example('["\\\\", [[[', 3)
def test_brackets_nest_deeper_only_outside_of_strings(text: str, max_depth: int) -> None:
    assert nests_deeper(text, max_depth) == (depth_of(text) > max_depth)


@pytest.mark.parametrize("begin", ["", '"'])
@pytest.mark.parametrize("unit", ["[]", '"', '"\\"[', "a", "\\", "a\\n", '"a" '])
def test_looking_for_the_depth_takes_little_memory(begin: str, unit: str) -> None:
    text = "[" * 10 + begin + unit * (50_000 // len(unit))
    assert peak_of(lambda: nests_deeper(text, 9)) < 300_000
    assert peak_of(lambda: nests_deeper(text, 10)) < 300_000


# Numbers that are too large


@pytest.mark.parametrize("number", ["1e999", "-1E+999", "-1.5e400", f"{10**400}.0"])
@pytest.mark.parametrize(
    "before",
    [
        "",
        "1, ",
        "-5, ",
        "1e-999, ",
        "-1E+5, ",
        f"-{10**400}, ",
        '"1e999", ',
        r'"\"1e999", ',
        '"", ',
    ],
)
def test_the_first_number_that_no_float_can_represent_is_an_error(before: str, number: str) -> None:
    with pytest.raises(InvalidJSONError) as raised:
        loads(f"[{before}{number}, 1e999]", finite=True)
    assert raised.value.position == len(f"[{before}")
    assert loads(f"[{before}{number}]")[-1] in (float("inf"), -float("inf"))
