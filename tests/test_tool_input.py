"""The input of a tool call: its raw text, its partial value, and its strict parse at the end."""

import copy
import json
import math
import pickle
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, strategies as st

import vocabulary
from sansio_stream import ServerToolUseBlock, StreamMachine, ToolUseBlock, UnknownBlock
from sansio_stream.partial_json import PartialJSON
from sansio_stream.tool_input import GrowingInput, InputError, ToolInput
from test_fast_path import api_frame
from wire import block_start, block_stop, body, message_start, text


def growing_input(*fragments: str, strings: bool = True, max_depth: int = 200) -> GrowingInput:
    text = GrowingInput(partial_strings=strings, max_depth=max_depth)
    for fragment in fragments:
        text.append(fragment)
    return text


def pickled(thing: Any) -> Any:
    return pickle.loads(pickle.dumps(thing))


# The strict parse


def test_a_complete_text_has_its_object_as_value() -> None:
    state = ToolInput.stopped(growing_input("", '{"a"', ": [1, 2]}"), {})
    assert state.value == {"a": [1, 2]}
    assert (state.state, state.error, state.text) == ("complete", None, '{"a": [1, 2]}')
    assert state.partial_value() is state.value


@pytest.mark.parametrize("start", [{}, {"prefilled": 1}])
@pytest.mark.parametrize("fragments", [(), ("",), ("", "")])
def test_without_text_the_input_is_that_of_the_start(
    start: dict[str, Any], fragments: tuple[str, ...]
) -> None:
    state = ToolInput.stopped(growing_input(*fragments), start)
    assert state.value == start
    assert (state.state, state.error, state.text) == ("complete", None, "")


def test_the_text_replaces_the_input_of_the_start() -> None:
    state = ToolInput.stopped(growing_input('{"a": 1}'), {"prefilled": 1})
    assert state.value == {"a": 1}


def test_without_text_and_without_a_start_the_input_is_incomplete() -> None:
    state = ToolInput.stopped(growing_input(""), None)
    assert state.value is None
    assert (state.state, state.error) == ("incomplete", None)


@pytest.mark.parametrize("start", [[], "x", 5, False])
def test_an_input_in_the_start_that_is_not_an_object_is_invalid(start: Any) -> None:
    state = ToolInput.stopped(growing_input(), start)
    assert state.value is None
    assert (state.state, state.error) == ("invalid", InputError(0, "not a JSON object"))


@pytest.mark.parametrize(
    "start",
    [
        *({"a": math.inf}, {"a": -math.inf}, {"a": 1, "b": [[1.5], [{"c": math.inf}]], "d": 2}),
        *({"a": {"b": {}, "c": {"d": math.inf}}}, {"a": [[], [2, math.inf], 3]}),
    ],
)
def test_an_input_in_the_start_with_an_infinite_number_is_invalid(start: Any) -> None:
    growing = growing_input()
    state = ToolInput.stopped(growing, start)
    assert (state.value, state.state, state.text, state.start) == (None, "invalid", "", start)
    assert state.error == InputError(0, "a number is too large for a float")
    assert (state.growing, state.length) == (growing, 0)
    assert state.partial_value() == start
    # A text replaces it.
    assert ToolInput.stopped(growing_input('{"a": 1}'), start).state == "complete"


@pytest.mark.parametrize("start", [{}, {"a": 1e308, "b": [["inf", True, None], {"c": -5}]}])
def test_an_input_in_the_start_with_finite_numbers_is_complete(start: Any) -> None:
    assert ToolInput.stopped(growing_input(), start).state == "complete"


@pytest.mark.parametrize("text", ["", '{"a": 1}', '{"a": bad}'])
@pytest.mark.parametrize("start", [None, {"prefilled": 1}, "x"])
def test_an_input_keeps_the_input_of_the_start_in_every_state(text: str, start: Any) -> None:
    growing = growing_input(text)
    error = InputError(3, "lost")
    states = [
        ToolInput.started(start),
        ToolInput.running(growing, start),
        ToolInput.broken(growing, start, error),
        ToolInput.stopped(growing, start),
    ]
    assert [state.start for state in states] == [start] * 4
    assert (states[2].state, states[2].error, states[2].text) == ("invalid", error, text)


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
def test_text_that_is_not_one_object_is_invalid_and_the_error_has_the_position(
    text: str, position: int
) -> None:
    state = ToolInput.stopped(growing_input(*text), {"prefilled": 1})
    assert state.value is None
    assert state.state == "invalid"
    assert state.error is not None
    assert state.error.position == position
    assert state.error.reason
    assert state.text == text


def test_text_that_is_nested_too_deep_is_invalid() -> None:
    state = ToolInput.stopped(growing_input('{"a": [[]]}', max_depth=2), None)
    assert state.value is None
    assert state.error is not None
    assert state.error.position == 7


def test_the_input_of_an_open_block_is_incomplete_even_if_its_text_is_complete() -> None:
    running = ToolInput.running(growing_input('{"a": 1}'), {})
    assert (running.state, running.error) == ("incomplete", None)
    assert running.partial_value() == {"a": 1}


# The partial value


@given(vocabulary.OBJECTS, st.data(), st.booleans())
def test_an_older_snapshot_keeps_its_text_and_its_partial_value(
    document: dict[str, Any], data: st.DataObject, strings: bool
) -> None:
    text = json.dumps(document)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    edges = [0, *cuts, len(text)]
    whole = growing_input(strings=strings)
    snapshots: list[tuple[str, ToolInput]] = []
    for start, end in pairwise(edges):
        whole.append(text[start:end])
        snapshot = ToolInput.running(whole, "start")
        snapshots.append((text[:end], snapshot))
        if data.draw(st.booleans()):
            assert repr(snapshot.partial_value()) == repr(
                expected_partial_value(text[:end], strings=strings)
            )
    for so_far, snapshot in data.draw(st.permutations(snapshots)):
        assert snapshot.text == so_far
        assert repr(snapshot.partial_value()) == repr(
            expected_partial_value(so_far, strings=strings)
        )
        assert repr(pickled(snapshot).partial_value()) == repr(snapshot.partial_value())


def expected_partial_value(text: str, *, strings: bool) -> Any:
    """Return the partial value of a text by a new parser, or "start" for the empty text."""
    parser = PartialJSON(strings)
    parser.push(text)
    return parser.value if text else "start"


def test_with_text_the_partial_value_is_not_that_of_the_start() -> None:
    assert ToolInput.running(growing_input(), {"prefilled": 1}).partial_value() == {"prefilled": 1}
    assert ToolInput.running(growing_input(" "), {"prefilled": 1}).partial_value() is None


@pytest.mark.parametrize("kind", ["tool_use", "server_tool_use", "hologram"])
def test_while_its_deltas_are_empty_the_partial_input_of_a_block_is_that_of_the_start(
    kind: str,
) -> None:
    start = {"type": kind, "id": "i", "name": "n", "input": {"prefilled": 1}}
    machine = StreamMachine()
    list(machine.receive_data(body(message_start(), block_start(0, start))))
    for _ in range(4):
        assert partial_input_of(machine.block(0)) == {"prefilled": 1}
        list(machine.receive_data(api_frame(0, "", b"input_json_delta")))
    # A delta of another kind and the stop do not change the display value.
    list(machine.receive_data(body(text(0, "stray"), block_stop(0))))
    assert partial_input_of(machine.block(0)) == {"prefilled": 1}


def partial_input_of(block: object) -> Any:
    assert isinstance(block, (ToolUseBlock, ServerToolUseBlock, UnknownBlock))
    return block.partial_input


# Memory, pickles, copies


def test_a_finished_text_is_kept_as_one_string() -> None:
    growing = growing_input('{"a"', ": 1", "}")
    whole = growing.joined()
    assert whole.pieces == ['{"a": 1}']
    assert whole.length() == 8
    assert whole.text(8) == '{"a": 1}'
    assert whole.partial_value(8) == {"a": 1}
    assert growing.pieces == ['{"a"', ": 1", "}"]


@pytest.mark.parametrize("duplicate", [pickled, copy.deepcopy])
def test_a_copy_of_an_incomplete_text_grows_independently(duplicate: Any) -> None:
    text = growing_input('{"a": "x', strings=False, max_depth=3)
    assert text.partial_value(text.length()) == {}
    other = duplicate(text)
    text.append("!")
    other.append('y", "b": [[[')
    assert other.max_depth == 3
    assert other.whole() == '{"a": "xy", "b": [[['
    # The parser stops at the fourth level, because its maximum depth is 3.
    parser = PartialJSON(partial_strings=False, max_depth=3)
    parser.push(other.whole())
    assert other.partial_value(other.length()) == parser.value
    assert text.whole() == '{"a": "x!'


@pytest.mark.parametrize("text", ["", '{"a": 1}', '{"a": "b'])
@pytest.mark.parametrize("start", [None, {"prefilled": 1}])
def test_an_input_can_be_stored_as_json_and_restored(text: str, start: Any) -> None:
    growing = growing_input(text, strings=False, max_depth=3)
    for state in (
        ToolInput.started(start),
        ToolInput.running(growing, start),
        ToolInput.broken(growing, start, InputError(3, "lost")),
        ToolInput.stopped(growing, start),
    ):
        kept = json.loads(json.dumps(state.to_dict()))
        # The wire form of a block may have an input in every state. Only a complete one is used.
        restored = ToolInput.from_dict(kept, state.value or {"sent": 1})
        expected = state.value if state.state == "complete" else None
        assert (restored.value, restored.state, restored.error) == (
            expected,
            state.state,
            state.error,
        )
        assert (restored.text, restored.start, restored.length) == (
            state.text,
            start,
            state.length,
        )
        assert restored.partial_value() == state.partial_value()
        assert restored.growing.max_depth == state.growing.max_depth
        assert restored.growing.partial_strings == state.growing.partial_strings
        assert ToolInput.from_dict(kept, "no object").value is None


def test_a_snapshot_is_immutable_and_can_be_pickled() -> None:
    snapshot = ToolInput.stopped(growing_input("[]"), None)
    other = pickled(snapshot)
    assert (other.text, other.start, other.state, other.error) == (
        snapshot.text,
        snapshot.start,
        snapshot.state,
        snapshot.error,
    )
    with pytest.raises(AttributeError):
        snapshot.state = "complete"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
