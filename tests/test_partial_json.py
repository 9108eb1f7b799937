"""The value of a JSON text in pieces: against json.loads, recorded rows and counted work."""

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
import shared_data
from sansio_stream.partial_json import InvalidJSONError, PartialJSON, TooDeepError, loads, object_in

BOTH_MODES = pytest.mark.parametrize("partial_strings", [True, False])


# Helpers


def feed(pieces: list[str] | str, *, strings: bool = True, read: bool = False) -> PartialJSON:
    """A parser that got the pieces (of a str: its characters), read after each or not."""
    parser = PartialJSON(strings, max_depth=200_000)
    for piece in pieces:
        parser.push(piece)
        if read:
            _ = parser.value
    return parser


def outcome(parse: Callable[[], Any]) -> tuple[str, Any]:
    """What a strict parse ended in; values as repr, which tells 1 from 1.0 and orders of keys."""
    try:
        return "value", repr(parse())
    except InvalidJSONError as error:
        return error.reason, error.position


def oracle(text: str) -> str | None:
    """The repr of json.loads's value without its liberties, None where it refuses."""

    def refuse(name: str) -> Any:
        raise ValueError(name)

    try:
        return repr(json.loads(text, parse_constant=refuse))
    except ValueError:
        return None


def cut(text: str, at: list[int]) -> list[str]:
    """The pieces of a text that is cut at these positions, some of them empty."""
    edges = [0, *sorted(min(position, len(text)) for position in at), len(text)]
    return [text[start:end] for start, end in pairwise(edges)]


def pickled(thing: Any) -> Any:
    return pickle.loads(pickle.dumps(thing))


# Strategies

CUTS = st.lists(st.integers(0, 400), max_size=12)
# Few enough to meet again as keys of one object; the last ones are what surrogates can do.
FEW_STRINGS = st.sampled_from(["", "a", 'say "a\\b"', "\x00\n/", "é", "\U0001f600\U0001f600"])
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
    """A JSON text in any of its spellings: space everywhere, keys twice, escapes or not."""
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
    """A JSON text with something put in, taken out or put in the place of something."""
    text = draw(spellings())
    for _ in range(draw(st.integers(1, 2))):
        start = draw(st.integers(0, len(text)))
        end = start + draw(st.integers(0, 2))
        text = text[:start] + draw(st.sampled_from(SHARDS)) + text[end:]
    return text


SHARDS = [
    *("", *'{}[]":,\\ 01.eE+-tfn\x00\x1f\x7f\ufeff\ud83dé\f\xa0'),
    *("true", "null", "NaN", "Infinity", "-0", "1e5", "00", "1.", '""', '"a"'),
    *("\\ud83d", "\\ude00", "\\u12", "\\x"),
]
ANY_TEXT = (
    nearly_json()
    | st.lists(st.sampled_from(SHARDS), max_size=12).map("".join)
    | st.text('{}[]":,\\utrfalsn0123.eE+- \n', max_size=20)
    | st.text()
)


# Whole texts


@given(text=spellings(), at=CUTS)
def test_any_document_cut_anywhere_is_what_json_loads_makes_of_it(text: str, at: list[int]) -> None:
    expected = repr(json.loads(text))
    for read in (False, True):
        for pieces in (cut(text, at), list(text), [text]):
            parser = feed(pieces, read=read)
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
def test_whatever_the_text_three_parsers_agree_on_it(text: str, at: list[int]) -> None:
    strict = outcome(lambda: loads(text))
    assert (strict[1] if strict[0] == "value" else None) == oracle(text)
    for read in (False, True):
        for pieces in ([text], list(text), cut(text, at)):
            assert outcome(feed(pieces, read=read).finish) == strict


@given(text=ANY_TEXT, at=CUTS)
def test_no_answer_depends_on_the_cuts_or_on_who_asked_before(text: str, at: list[int]) -> None:
    for strings in (True, False):
        whole = feed([text], strings=strings)
        answers = repr((whole.value, whole.dead_at, whole.dead_reason))
        for pieces in (list(text), cut(text, at)):
            for read in (False, True):
                parser = feed(pieces, strings=strings, read=read)
                assert repr((parser.value, parser.dead_at, parser.dead_reason)) == answers


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


def test_a_piece_that_would_be_whole_alone_is_still_a_piece() -> None:
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
def test_more_may_be_pushed_after_a_text_was_whole(pieces: str, outcomes: str) -> None:
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
def test_a_refusal_says_what_was_expected_where(text: str, reason: str, position: int) -> None:
    for pieces in ([text], list(text)):
        with pytest.raises(InvalidJSONError) as caught:
            feed(pieces).finish()
        assert (caught.value.reason, caught.value.position) == (reason, position)
        assert str(caught.value) == f"{reason} (at character {position})"
        dead = reason.startswith("expected")
        assert feed(pieces).dead_at == (position if dead else None)
        assert feed(pieces).dead_reason == (reason if dead else None)
    with pytest.raises(InvalidJSONError, match="at character"):
        loads(text)


@pytest.mark.parametrize("word", ["true", "false", "null"])
def test_a_literal_is_the_whole_word_and_nothing_else(word: str) -> None:
    others = [word[:at] + word[at + 1 :] for at in range(len(word))]
    others += [word[:at] + word[at].upper() + word[at + 1 :] for at in range(len(word))]
    others += [word + more for more in ("e", "true", "false", "null", "0", '""', "[]")]
    for other in others:
        for text in (f"[{other}]", other):
            assert oracle(text) is None
            for pieces in ([text], list(text)):
                assert outcome(feed(pieces).finish)[0] != "value"


def test_the_error_is_a_value_error_that_pickles_and_copies() -> None:
    error = InvalidJSONError("expected a value, found 'x'", 7)
    assert isinstance(error, ValueError)
    assert error.args == ("expected a value, found 'x'", 7)
    for twin in (pickled(error), copy.deepcopy(error)):
        assert (twin.reason, twin.position, str(twin)) == (error.reason, 7, str(error))


# Where a text dies


def completions(text: str) -> Iterator[str]:
    """The text with each ending that a cut could have left out; right ones among them."""
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
    rests = ["", "0", ":0", '"":0', "rue", "ue", "e", "alse", "lse", "se", "ull", "ll", "l"]
    for string in ('"', 'n"', '0"', '00"', '000"', '0000"'):
        rests += [string, string + ":0"]
    return (text + rest + closers for rest in rests)


def can_be_completed(text: str) -> bool:
    return any(oracle(completed) is not None for completed in completions(text))


@given(text=ANY_TEXT)
def test_dead_at_is_the_first_character_that_rules_out_every_ending(text: str) -> None:
    dead_at = feed([text]).dead_at
    if dead_at is None:
        assert can_be_completed(text)
    else:
        assert can_be_completed(text[:dead_at])
        assert not can_be_completed(text[: dead_at + 1])


@pytest.mark.parametrize(
    "begun",
    [
        *("", "-", "0", "7", "-0", "-7", "70", "0.", "7.", "0.0", "7.0", "7.07"),
        *("0e", "0E", "7e", "7E", "7.0e", "7.0E", "7e+", "7e-", "7e0", "7e+0", "7e-0", "7e07"),
    ],
)
def test_after_each_part_of_a_number_may_come_what_json_says_and_nothing_else(begun: str) -> None:
    for character in map(chr, range(128)):
        text = f"[{begun}{character}"
        expected = oracle(f"{text}]")
        for pieces in ([text], list(text), [f"[{begun}", character]):
            assert (feed(pieces).dead_at is None) is can_be_completed(text)
            kind, value = outcome(feed([*pieces, "]"]).finish)
            assert (value if kind == "value" else None) == expected


@given(text=ANY_TEXT, more=ANY_TEXT)
@example("[1x", "]")
def test_a_dead_text_stays_as_it_was_before_it_died(text: str, more: str) -> None:
    for strings in (True, False):
        parser = feed([text], strings=strings)
        if parser.dead_at is not None:
            dead = (repr(parser.value), parser.dead_at, parser.dead_reason)
            before = feed([text[: parser.dead_at]], strings=strings)
            assert repr(parser.value) == repr(before.value)
            parser.push(more)
            assert (repr(parser.value), parser.dead_at, parser.dead_reason) == dead


# Partial values


@pytest.mark.parametrize(
    ("text", "trailing_strings", "whole_strings"),
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
def test_what_is_shown_of_an_unfinished_text(
    text: str, trailing_strings: Any, whole_strings: Any
) -> None:
    for pieces in ([text], list(text)):
        for read in (False, True):
            shown = feed(pieces, strings=True, read=read).value
            assert repr(shown) == repr(trailing_strings)
            assert repr(feed(pieces, strings=False, read=read).value) == repr(whole_strings)


HEX = "0123456789abcdefABCDEF"


@pytest.mark.parametrize("high", ["d800", "D9ff", "da3d", "dA3d", "dbFF", "DB00"])
def test_half_a_pair_is_shown_as_soon_as_its_other_half_is_ruled_out(high: str) -> None:
    for ruled_out in (
        *('"', "x", "\N{PARTY POPPER}", *(f"\\{character}" for character in '"\\/bfnrt')),
        *(f"\\u{digit}" for digit in HEX if digit not in "dD"),
        *(f"\\u{d}{digit}" for d in "dD" for digit in "0123456789abAB"),
    ):
        parser = feed('["\\u' + high)
        for character in ruled_out:
            assert parser.value == [""]
            parser.push(character)
        assert parser.value[0][0] == chr(int(high, 16))
        assert parser.dead_at is None


@pytest.mark.parametrize("third", "cdefCDEF")
def test_a_pair_is_shown_when_its_last_digit_has_come_and_not_before(third: str) -> None:
    for d, digits in zip("dDdD", ("00", "aF", "9b", "fE"), strict=True):
        parser = feed('["\\uD83d')
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
            parser = feed('["\\u')
            for character in digits:
                assert parser.value == [""]
                parser.push(character)
            assert parser.value == [chr(int(digits, 16))]


def test_an_older_value_comes_back_while_the_newer_number_is_none_yet() -> None:
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


def test_the_beginning_of_a_string_is_shown_unasked() -> None:
    parser = PartialJSON()
    parser.push('{"a": "b')
    assert parser.value == {"a": "b"}


def test_an_older_null_comes_back_too() -> None:
    parser = feed('{"a":null,"a":1', read=True)
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
def test_nesting_is_dead_at_the_bracket_beyond_the_limit(document: str) -> None:
    closers = "".join("]" if c == "[" else "}" for c in reversed(document) if c in "[{")
    whole = document + "0" + closers
    parser = PartialJSON(max_depth=3)
    parser.push(whole)
    assert repr(parser.finish()) == repr(loads(whole, 3)) == oracle(whole)

    last = max(document.rfind("["), document.rfind("{"))
    parser = PartialJSON(max_depth=2)
    parser.push(whole)
    for parse in (parser.finish, lambda: loads(whole, 2)):
        with pytest.raises(TooDeepError, match="at most 2 nested arrays and objects") as caught:
            parse()
        assert caught.value.position == last
    assert parser.dead_at == last


def test_512_containers_inside_one_another_are_what_is_allowed_unasked() -> None:
    for count, is_allowed in ((512, True), (513, False)):
        text = "[" * count + "]" * count
        parser = PartialJSON()
        parser.push(text)
        assert parser.dead_at == (None if is_allowed else 512)
        for parse in (parser.finish, lambda text=text: loads(text)):
            assert (outcome(parse)[0] == "value") is is_allowed


def test_brackets_that_do_not_nest_do_not_count() -> None:
    for text in ('["[[[[", "\\"{{{", {}]', "[[], [], {}, [1]]", '["\\\\", []]', '["]]]", []]'):
        assert loads(text, 2) == json.loads(text)
        with pytest.raises(InvalidJSONError):
            loads(f"[{text}]", 2)
    for text in ('["", "a", [[0]]]', "[[], [], [], [[]]]", '{"a": {}, "b": {}, "c": {"d": {}}}'):
        with pytest.raises(TooDeepError):
            loads(text, 2)
    for text in ('["[[[\\', '["[[[', "[]][[", "[[[}"):  # nonsense needs no measure
        with pytest.raises(InvalidJSONError):
            loads(text, 2)


def test_no_depth_ends_in_a_recursion_error() -> None:
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


def test_an_integer_that_python_refuses_is_invalid_and_harms_nothing_else() -> None:
    for text in (f'[0, {LONG_INTEGER}, {{"a": {LONG_INTEGER}}}, "x"]', f"[0, {LONG_INTEGER}]"):
        for pieces in ([text], cut(text, [500, 3000, 5010, 9000]), list(text)):
            parser = feed(pieces, read=len(pieces) < 10)
            with pytest.raises(InvalidJSONError, match="more digits than Python converts") as e:
                parser.finish()
            assert e.value.position == 4
            assert parser.value[:2] == [0, None]
            assert parser.dead_at is None
        with pytest.raises(InvalidJSONError):
            loads(text)


def test_an_unfinished_integer_beyond_the_digits_is_not_shown_until_it_is_a_float() -> None:
    parser = PartialJSON()
    parser.push("[" + LONG_INTEGER)
    assert parser.value == []
    parser.push(".5")
    assert parser.value == []
    parser.push("]")
    assert parser.finish() == [float(LONG_INTEGER + ".5")]


def test_an_unfinished_number_is_shown_up_to_4300_characters() -> None:
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


def test_a_number_alone_ends_with_the_text_and_may_be_refused_too() -> None:
    for pieces in ([LONG_INTEGER], [LONG_INTEGER[:9], LONG_INTEGER[9:]]):
        parser = feed(pieces, read=True)
        with pytest.raises(InvalidJSONError, match="more digits than Python converts") as caught:
            parser.finish()
        assert caught.value.position == 0
    assert feed(["1" * 5000 + ".5"]).finish() == float("inf")
    assert repr(feed(["-0"]).finish()) == "0"


def test_a_lower_limit_of_python_is_no_surprise_to_a_reader() -> None:
    usual = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(640)
    try:
        parser = feed("[" + "7" * 641, read=True)
        assert parser.value == []
        parser.push(",1]")
        assert parser.value == [None, 1]
        with pytest.raises(InvalidJSONError, match="more digits"):
            parser.finish()
    finally:
        sys.set_int_max_str_digits(usual)


# Pickles and copies


@given(text=ANY_TEXT, at=st.integers(0, 60))
@BOTH_MODES
def test_a_pickle_and_a_copy_go_on_alone(text: str, at: int, partial_strings: bool) -> None:
    whole = feed([text], strings=partial_strings)
    for read in (False, True):
        parser = feed(text[:at], strings=partial_strings, read=read)
        before = repr(parser.value) if read else ""
        for twin in (pickled(parser), copy.deepcopy(parser), copy.copy(parser)):
            twin.push(text[at:])
            assert repr((twin.value, twin.dead_at)) == repr((whole.value, whole.dead_at))
            assert outcome(twin.finish) == outcome(whole.finish)
            assert not read or repr(parser.value) == before


@BOTH_MODES
def test_a_pickle_and_a_copy_show_what_their_original_shows(partial_strings: bool) -> None:
    parser = feed('{"a": "b", "c": "d', strings=partial_strings)
    for twin in (pickled(parser), copy.deepcopy(parser), copy.copy(parser)):
        assert twin.value == ({"a": "b", "c": "d"} if partial_strings else {"a": "b"})


def test_a_pickle_keeps_the_limit_and_does_not_recurse() -> None:
    parser = PartialJSON(max_depth=20_000)
    parser.push("[" * 20_000)
    assert parser.dead_at is None
    for twin in (pickled(parser), copy.deepcopy(parser)):
        assert twin.dead_at is None
        twin.push("[")
        assert twin.dead_at == 20_000


# Recorded rows


def text_of(row: dict[str, Any]) -> str | None:
    """The row's text; None where it is about bytes that are no UTF-8, which a str can't hold.

    Bytes that end inside a character give the characters before it, as a decoder does.
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
JITERS_OWN_LIMITS = ("hex escape", "surrogate", "recursion limit", "out of range")


def expected_repr(expectation: dict[str, Any]) -> str | None:
    """The repr of a row's expected value; None where it expects an error."""
    if "py_repr" in expectation:
        return str(expectation["py_repr"])
    return repr(expectation["value"]) if "value" in expectation else None


def ways_to_cut(text: str, seed: int) -> Iterator[list[str]]:
    yield [text]
    yield list(text)
    random = Random(seed)
    yield cut(text, random.choices(range(len(text) + 1), k=random.randrange(1, 20)))


@pytest.mark.exhaustive
@BOTH_MODES
def test_the_recorded_rows_show_and_die_as_expected(partial_strings: bool) -> None:
    name = "expect_partial_trailing_strings" if partial_strings else "expect_partial"
    recorded = shared_data.load(VECTORS)
    bytes_only = 0
    for number, row in enumerate(recorded):
        text = text_of(row)
        if text is None:
            bytes_only += 1
            continue
        expected = expected_repr(row[name])
        error = row[name].get("error", "")
        for way, pieces in enumerate(ways_to_cut(text, number)):
            # Read after each piece, or at the end: in turn, and the other way with the other mode.
            read = (number + way + partial_strings) % 2 == 0
            parser = feed(pieces, strings=partial_strings, read=read)
            assert parser.dead_at == row["dead_at"], row["name"]
            if row["dead_at"] is not None or any(limit in error for limit in JITERS_OWN_LIMITS):
                continue  # jiter is no oracle here
            assert repr(parser.value) == str(expected), row["name"]
    assert len(recorded) == 2602
    shared_data.ran(VECTORS, len(recorded) - bytes_only)


@pytest.mark.exhaustive
def test_the_recorded_rows_finish_as_json_loads_does() -> None:
    recorded = shared_data.load(VECTORS)
    bytes_only = 0
    for number, row in enumerate(recorded):
        text = text_of(row)
        if text is None:
            bytes_only += 1
            continue
        either = row.get("expect_complete_either", {"": row.get("expect_complete", {"error": ""})})
        allowed = {expected_repr(expectation) for expectation in either.values()}
        nests = "nested_arrays" in row["name"]  # where CPython's json gave up, we need not
        parses: list[Callable[[], Any]] = [partial(loads, text)]
        parses += (feed(pieces).finish for pieces in ways_to_cut(text, number))
        for parse in parses:
            kind, value = outcome(parse)
            assert nests or (value if kind == "value" else None) in allowed, row["name"]
            assert row["valid_complete"] is not False or kind != "value", row["name"]
    shared_data.ran(VECTORS, len(recorded) - bytes_only)


def test_bytes_that_are_no_utf_8_reach_us_as_replacement_characters_and_mend_nothing() -> None:
    rows = [row for row in shared_data.load(VECTORS) if text_of(row) is None]
    for number, row in enumerate(rows):
        text = base64.b64decode(row["text_b64"]).decode("utf-8", "replace")
        kind, value = outcome(partial(loads, text))
        assert (value if kind == "value" else None) == oracle(text), row["name"]
        assert row.get("suite") != "n" or kind != "value", row["name"]
        for pieces in ways_to_cut(text, number):
            parser = feed(pieces)
            assert outcome(parser.finish) == (kind, value), row["name"]
            assert (parser.dead_at is None) or kind != "value", row["name"]
    shared_data.ran(VECTORS, len(rows))


# Work, counted. The units: a call of a compiled pattern, a character handed to one (from where it
# starts to the end of the text under the scan, whether it looks at all of them or not), and a
# character converted to show an unfinished number. Time is not looked at.


@contextmanager
def counted_work() -> Generator[list[int]]:
    work = [0, 0]  # in these units; calls of a pattern alone

    class Counting:
        def __getitem__(self, pattern: str) -> Callable[[str, int], Any]:
            def counted(text: str, position: int) -> Any:
                work[0] += 1 + len(text) - position
                work[1] += 1
                return matchers[pattern](text, position)

            return counted

    matchers = module.__dict__["matchers"]
    number = PartialJSON._number

    def counted_number(parser: Any) -> Any:
        work[0] += len(parser._token)
        return number(parser)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "matchers", Counting())
        patch.setattr(PartialJSON, "_number", counted_number)
        yield work


def work_of(text: str, size: int, *, strings: bool = True) -> int:
    """The work of a text in pieces of this size, the value read and `dead_at` asked after each."""
    parser = PartialJSON(strings)
    with counted_work() as work:
        for start in range(0, len(text), size):
            parser.push(text[start : start + size])
            _ = parser.value, parser.dead_at
    assert parser.dead_at is None
    return work[0]


NESTED = '[{"a":' * 200 + "0" + "}]" * 200
GROWING: dict[str, Callable[[int], str]] = {
    "records": lambda n: json.dumps([{"id": i, "name": f"n{i % 9}", "ok": None} for i in range(n)]),
    "string": lambda n: '{"text": "' + "word " * 10 * n + '"}',
    "escapes": lambda n: '["' + "\\ud83d\\ude00\\n\\u00e9" * 3 * n + '"]',
    "key": lambda n: '{"' + "k\\u00e9y" * 8 * n + '": 1}',
    "integer": lambda n: "[" + "7" * (5000 + 50 * n) + "]",
    "fraction": lambda n: "[0." + "7" * (5000 + 50 * n) + "]",
    "exponent": lambda n: "[1e" + "0" * (5000 + 50 * n) + "7]",
    "space": lambda n: '{ "a" :' + " \n" * 25 * n + "[ " + "\t" * 25 * n + "] }" + " " * 50 * n,
    "nesting": lambda n: "[" + ",".join([NESTED] * (n // 20)) + "]",
}  # fmt: skip


@pytest.mark.exhaustive
@pytest.mark.parametrize("strings", [True, False])
@pytest.mark.parametrize("kind", GROWING)
def test_twice_the_text_is_at_most_twice_the_work(kind: str, strings: bool) -> None:
    text = GROWING[kind]
    for size in (1, 12):
        one, two, four = (work_of(text(n), size, strings=strings) for n in (100, 200, 400))
        assert four - two <= 2.05 * (two - one)
        assert (four - two) <= 20 * (len(text(400)) - len(text(200)))


@pytest.mark.exhaustive
def test_each_character_of_a_cut_token_is_handed_out_a_bounded_number_of_times() -> None:
    for text in (
        '{"text": "' + "a" * 4_000_000,
        '{"' + "k" * 4_000_000,
        "[0." + "7" * 4_000_000,
    ):
        assert work_of(text, 400) < 2.2 * len(text) + 4300 * 4300 / 400
    assert work_of("[" + "7" * 200_000, 1) < 3 * 200_000 + 4300 * 4300


def calls_of(text: str) -> int:
    """How often a pattern is called for a text in one piece."""
    parser = feed([text])
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
def test_a_token_that_is_whole_is_taken_by_one_call_of_a_pattern(token: str) -> None:
    for end in (",", "]", " ", "\t", "\n", "\r"):
        assert calls_of(f"[{token}{end}") == 3
        assert calls_of(f"[0,{token}{end}") == 5
    assert calls_of(f'{{"a":{token}}}') == 4


@pytest.mark.parametrize("key", ['""', '"a"', '" \x7f\U0001f600"'])
def test_a_key_is_taken_together_with_what_stands_around_it(key: str) -> None:
    for space in ("", " ", "\t\n\r "):
        assert calls_of(f"{{{space}{key}{space}:") == 2
        assert calls_of(f'{{"":0{space},{space}{key}{space}:') == 4


def test_what_is_never_read_is_never_scanned() -> None:
    parser = PartialJSON()
    with counted_work() as work:
        for _ in range(100):
            parser.push('[{"a": 1}')
        assert work[0] == 0


def test_a_whole_array_or_object_is_parsed_once_and_by_c() -> None:
    parser = feed(['{"a": [1, ', '2], "b": "c"}'])
    with counted_work() as work:
        value = parser.finish()
        assert parser.finish() is parser.value is value
        assert parser.dead_at is None
    assert work[0] == 0
    assert value == {"a": [1, 2], "b": "c"}


def test_brackets_beside_one_another_and_in_strings_leave_a_text_to_c() -> None:
    for text in ("[[], [{}], {}, [[]]]", '["[[[[", "\\"{{{{", "", "\\\\", {"}}}}": [0]}, []]'):
        with counted_work() as work:
            assert loads(text, 3) == json.loads(text)
        assert work[0] == 0


def test_an_object_is_read_also_near_the_recursion_limit_of_the_caller() -> None:
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


# Many items of an array at once.

ITEMS: Final = st.sampled_from(
    [
        *("1", "-0", "-0.5e3", "1e999", " 12\t", '"ab"', '""', "true", "null", "[]", "{}"),
        *('{"a":1,"a" : [2]}', "[1,2 ,3]", '{"a":1,"b":"c"}', "[1, [ ]]", '"\\n"', "[[1]]"),
        *("[[[1]]]", "[[[[1]]]]", '[{"":[{}]}]', '{"":{"":{"":{}}}}', 640 * "9", 5000 * "9"),
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
def test_many_items_at_once_are_what_they_are_one_by_one(
    items: list[str], last: list[str], begin: str, depth: int
) -> None:
    text = begin + ",".join([*items, *last, *items[:2]]) + "]"
    whole, in_characters = (PartialJSON(max_depth=depth) for _ in range(2))
    whole.push(text)
    for character in text:
        in_characters.push(character)
        in_characters.value  # noqa: B018  (it is worked off when something is asked)
    assert repr(whole.value) == repr(in_characters.value)
    assert (whole.dead_at, whole.dead_reason) == (in_characters.dead_at, in_characters.dead_reason)
    assert ended(whole) == ended(in_characters)


def ended(parser: PartialJSON) -> object:
    try:
        return repr(parser.finish())
    except InvalidJSONError as error:
        return type(error), error.reason, error.position
