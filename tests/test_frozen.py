"""Objects of frozen classes are the same, whether their class is assigned or not.

Objects are made by way of a second class, and then their `__class__` is assigned. An interpreter
without the GIL makes them in another way.
"""

import copy
import pickle
from collections.abc import Callable
from typing import Any, Final
from unittest.mock import ANY

import attrs
import pytest
from hypothesis import given, strategies as st

from sansio_stream import (
    ContentBlockDeltaEvent,
    InputJSONDelta,
    Limits,
    Message,
    StreamMachine,
    TextBlock,
    TextDelta,
    ThinkingDelta,
    ToolCall,
    ToolUseBlock,
    frozen,
)
from sansio_stream.codec import fields_of
from sansio_stream.fast_path import TEXT_FIELDS
from sansio_stream.testing import cuts, scripts, wire
from test_fast_path import Received, api_frame, chunked, results_of, streams
from test_kept_looks import TEXT, THINKING, TOOL_USE, Kind, machine_with
from wire import body, frame, json_piece, message_start, tool_start

BOTH: Final = pytest.mark.parametrize("by_class_change", [True, False])


def results_by(*, class_change: bool, steps: Any, **options: Any) -> list[Any]:
    """Return the results of a machine that makes its objects in one of the two ways."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(frozen, "CLASS_CHANGES_ARE_CHEAP", class_change)
        return list(results_of(steps, **options))


def assert_both_ways_agree(steps: Any, **options: Any) -> None:
    expected = results_by(class_change=True, steps=steps, **options)
    assert results_by(class_change=False, steps=steps, **options) == expected


@given(st.data(), scripts(), st.booleans(), st.booleans())
def test_a_machine_has_the_same_results_for_any_script(
    data: st.DataObject, script: Any, strict: bool, fast_path: bool
) -> None:
    chunks = data.draw(wire(script).flatmap(cuts))
    assert_both_ways_agree(chunks, strict=strict, fast_path=fast_path)


@given(st.data(), streams(), st.booleans())
def test_a_machine_has_the_same_results_for_deltas_in_any_layout(
    data: st.DataObject, pieces: list[Received], fast_path: bool
) -> None:
    assert_both_ways_agree(data.draw(chunked(pieces)), fast_path=fast_path)


@BOTH
@pytest.mark.parametrize("fast_path", [True, False])
@pytest.mark.parametrize(
    ("kind", "delta"),
    [
        (TEXT, TextDelta("word")),
        (THINKING, ThinkingDelta("word")),
        (TOOL_USE, InputJSONDelta("word")),
    ],
    ids=["text", "thinking", "tool_use"],
)
def test_an_event_equals_one_that_its_constructor_made(
    monkeypatch: pytest.MonkeyPatch, by_class_change: bool, fast_path: bool, kind: Kind, delta: Any
) -> None:
    monkeypatch.setattr(frozen, "CLASS_CHANGES_ARE_CHEAP", by_class_change)
    machine = machine_with(kind, "", fast_path=fast_path)
    (event,) = machine.receive_data(api_frame(0, "word", kind.delta))
    made = ContentBlockDeltaEvent(0, delta)
    assert isinstance(event, ContentBlockDeltaEvent)
    for same in (event, copy.copy(event), copy.deepcopy(event), pickle.loads(pickle.dumps(event))):
        assert type(same) is ContentBlockDeltaEvent
        assert type(same.delta) is type(delta)
        assert same == made
        assert repr(same) == repr(made)
        assert same.to_dict() == made.to_dict()
    for item, name in ((event, "index"), (event.delta, TEXT_FIELDS[type(delta)])):
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            setattr(item, name, "x")
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            delattr(item, name)


@BOTH
def test_make_returns_an_object_of_the_class_with_the_values(
    monkeypatch: pytest.MonkeyPatch, by_class_change: bool
) -> None:
    monkeypatch.setattr(frozen, "CLASS_CHANGES_ARE_CHEAP", by_class_change)
    names = ("citations", "unfolded", "_rest", "text")
    made = frozen.make(TextBlock, names, (None, (), None, "word"))
    assert type(made) is TextBlock
    assert made == TextBlock("word")
    assert pickle.loads(pickle.dumps(made)) == made


@BOTH
@pytest.mark.parametrize(
    "duplicate", [copy.deepcopy, lambda item: pickle.loads(pickle.dumps(item))]
)
def test_a_machine_goes_on_if_the_other_way_made_its_objects_before(
    monkeypatch: pytest.MonkeyPatch,
    by_class_change: bool,
    duplicate: Callable[[StreamMachine], StreamMachine],
) -> None:
    monkeypatch.setattr(frozen, "CLASS_CHANGES_ARE_CHEAP", by_class_change)
    machine = machine_with(TEXT, "Hel", "lo")
    before = machine.snapshot
    monkeypatch.setattr(frozen, "CLASS_CHANGES_ARE_CHEAP", not by_class_change)
    machine = duplicate(machine)
    list(machine.receive_data(api_frame(0, ", world")))
    assert isinstance(before, Message)
    assert before.content == (TextBlock("Hello"),)
    assert machine.block(0) == TextBlock("Hello, world")


@pytest.mark.parametrize("item", [TextBlock("x"), Limits(), ToolCall("toolu_1", "f", {})], ids=type)
def test_an_object_of_another_class_may_say_that_it_is_equal(item: Any) -> None:
    assert item == ANY
    assert item != "x"


@BOTH
def test_a_running_tool_call_keeps_every_member_of_its_start(by_class_change: bool) -> None:
    members = {"caller": {"type": "direct"}, "toolset_name": "set", "new": [1]}
    start = tool_start(0, **members)
    blocks: list[Any] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(frozen, "CLASS_CHANGES_ARE_CHEAP", by_class_change)
        machine = StreamMachine()
        list(machine.receive_data(body(message_start(), start)))
        for piece in ("", '{"a"', ": [1", ", 2]"):
            list(machine.receive_data(frame(json_piece(0, piece))))
            blocks.append(machine.block(0))
    first, *_, last = blocks
    assert [block.input_json for block in blocks] == ["", '{"a"', '{"a": [1', '{"a": [1, 2]']
    assert all(type(block) is ToolUseBlock and block == first for block in blocks)
    for field in fields_of(ToolUseBlock):
        if field.name != "_tool_input":
            assert getattr(last, field.name) is getattr(first, field.name), field.name
    assert last.to_dict() == {**start["content_block"], "input": None}


# Classes that inherit their comparison, their hash and their repr.


@attrs.frozen(eq=False, repr=False)
class Point(frozen.HashableValue):
    x: int
    label: str = attrs.field(default="", eq=False, repr=str.upper)
    note: list[int] = attrs.field(factory=list[int], hash=False)
    hidden: int = attrs.field(default=0, eq=False, repr=False)


@attrs.frozen
class GeneratedPoint:
    x: int
    label: str = attrs.field(default="", eq=False, repr=str.upper)
    note: list[int] = attrs.field(factory=list[int], hash=False)
    hidden: int = attrs.field(default=0, eq=False, repr=False)


ARGUMENTS: Final = st.tuples(
    st.integers(0, 1), st.sampled_from("ab"), st.lists(st.just(1), max_size=1), st.integers(0, 1)
)


@given(ARGUMENTS, ARGUMENTS)
def test_a_value_is_compared_hashed_and_shown_as_by_the_methods_that_attrs_generates(
    one: tuple[Any, ...], other: tuple[Any, ...]
) -> None:
    ours, theirs = ([cls(*one), cls(*other)] for cls in (Point, GeneratedPoint))
    assert (ours[0] == ours[1]) is (theirs[0] == theirs[1])
    assert (ours[0] != ours[1]) is (theirs[0] != theirs[1])
    assert (hash(ours[0]) == hash(ours[1])) is (hash(theirs[0]) == hash(theirs[1]))
    assert repr(ours[0]) == repr(theirs[0]).replace("GeneratedPoint", "Point")
    assert ours[0] != theirs[0]


def test_a_value_without_a_hash_is_not_hashable() -> None:
    with pytest.raises(TypeError, match="unhashable"):
        hash(ToolCall("toolu_01", "lookup", {}))
