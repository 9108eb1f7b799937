"""The input of a tool call: raw text, display value, one strict parse; and no guessing."""

import copy
import json
import pickle
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, strategies as st

import vocabulary
from sansio_stream.partial_json import PartialJSON
from sansio_stream.tool_input import GrowingText, InputError, ToolInput


def growing(*fragments: str, strings: bool = True, max_depth: int = 200) -> GrowingText:
    text = GrowingText(partial_strings=strings, max_depth=max_depth)
    for fragment in fragments:
        text.append(fragment)
    return text


def pickled(thing: Any) -> Any:
    return pickle.loads(pickle.dumps(thing))


# The strict parse


def test_whole_text_gives_its_object() -> None:
    state = ToolInput.stopped(growing("", '{"a"', ": [1, 2]}"), {})
    assert state.value == {"a": [1, 2]}
    assert (state.state, state.error, state.text) == ("complete", None, '{"a": [1, 2]}')
    assert state.partial_value is state.value


@pytest.mark.parametrize("start", [{}, {"prefilled": 1}])
@pytest.mark.parametrize("fragments", [(), ("",), ("", "")])
def test_without_text_the_input_is_what_the_start_block_sent(
    start: dict[str, Any], fragments: tuple[str, ...]
) -> None:
    state = ToolInput.stopped(growing(*fragments), start)
    assert state.value == start
    assert (state.state, state.error, state.text) == ("complete", None, "")


def test_text_wins_over_what_the_start_block_sent() -> None:
    state = ToolInput.stopped(growing('{"a": 1}'), {"prefilled": 1})
    assert state.value == {"a": 1}


def test_no_text_and_nothing_sent_is_incomplete_and_never_an_empty_object() -> None:
    state = ToolInput.stopped(growing(""), None)
    assert state.value is None
    assert (state.state, state.error) == ("incomplete", None)


@pytest.mark.parametrize("start", [[], "x", 5, False])
def test_a_start_that_is_no_object_is_invalid(start: Any) -> None:
    state = ToolInput.stopped(growing(), start)
    assert state.value is None
    assert (state.state, state.error) == ("invalid", InputError(0, "not a JSON object"))


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ('{"a": bad}', 6),
        ('{"a": 1}{"b": 2}', 8),
        ('{"a": "unfin', 12),
        ('{"a": NaN}', 6),
        (" ", 1),
        ("[1]", 0),
        ('"text"', 0),
        ("null", 0),
    ],
)
def test_text_that_is_not_one_object_is_invalid_and_says_where(text: str, position: int) -> None:
    state = ToolInput.stopped(growing(*text), {"prefilled": 1})
    assert state.value is None
    assert state.state == "invalid"
    assert state.error is not None
    assert state.error.position == position
    assert state.error.reason
    assert state.text == text


def test_text_that_is_nested_too_deep_is_invalid() -> None:
    state = ToolInput.stopped(growing('{"a": [[]]}', max_depth=2), None)
    assert state.value is None
    assert state.error is not None
    assert state.error.position == 7


def test_while_it_runs_an_input_is_incomplete_even_if_its_text_is_whole() -> None:
    running = ToolInput.running(growing('{"a": 1}'), {})
    assert (running.state, running.error) == ("incomplete", None)
    assert running.partial_value == {"a": 1}


# The display value


@given(vocabulary.OBJECTS, st.data(), st.booleans())
def test_each_moment_keeps_its_text_and_its_display_value(
    document: dict[str, Any], data: st.DataObject, strings: bool
) -> None:
    text = json.dumps(document)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    edges = [0, *cuts, len(text)]
    whole = growing(strings=strings)
    moments: list[tuple[str, ToolInput]] = []
    for start, end in pairwise(edges):
        whole.append(text[start:end])
        moment = ToolInput.running(whole, "start")
        moments.append((text[:end], moment))
        if data.draw(st.booleans()):
            assert repr(moment.partial_value) == repr(shown(text[:end], strings=strings))
    for so_far, moment in data.draw(st.permutations(moments)):
        assert moment.text == so_far
        assert repr(moment.partial_value) == repr(shown(so_far, strings=strings))
        assert repr(pickled(moment).partial_value) == repr(moment.partial_value)


def shown(text: str, *, strings: bool) -> Any:
    """The display value of a text, by a parser of its own; without text that of the start."""
    parser = PartialJSON(strings)
    parser.push(text)
    return parser.value if text else "start"


def test_a_text_that_shows_nothing_yet_does_not_show_the_start() -> None:
    assert ToolInput.running(growing(), {"prefilled": 1}).partial_value == {"prefilled": 1}
    assert ToolInput.running(growing(" "), {"prefilled": 1}).partial_value is None


# Memory, pickles, copies


def test_a_text_that_grows_no_more_is_kept_in_one_piece() -> None:
    fragments = growing('{"a"', ": 1", "}")
    whole = fragments.joined()
    assert len(whole) == 1
    assert whole.text(1) == '{"a": 1}'
    assert whole.partial_value(1) == {"a": 1}
    assert len(fragments) == 3


@pytest.mark.parametrize("copied", [pickled, copy.deepcopy])
def test_a_copy_in_mid_text_goes_on_alone(copied: Any) -> None:
    text = growing('{"a": "x', strings=False, max_depth=3)
    assert text.partial_value(1) == {}
    other = copied(text)
    text.append("!")
    other.append('y", "b": [[[')
    assert other.max_depth == 3
    assert other.text(2) == '{"a": "xy", "b": [[['
    # Shown as far as three levels go; a depth of four is dead text for these.
    parser = PartialJSON(partial_strings=False, max_depth=3)
    parser.push(other.text(2))
    assert other.partial_value(2) == parser.value
    assert text.text(2) == '{"a": "x!'


def test_a_moment_is_immutable_and_pickles() -> None:
    moment = ToolInput.stopped(growing("[]"), None)
    other = pickled(moment)
    assert (other.text, other.start, other.state, other.error) == (
        moment.text,
        moment.start,
        moment.state,
        moment.error,
    )
    with pytest.raises(AttributeError):
        moment.state = "complete"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
