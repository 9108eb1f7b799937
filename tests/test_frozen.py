"""Objects of frozen classes are the same, whether their class is assigned or not.

Objects are made by way of a second class, and then their `__class__` is assigned. An interpreter
without the GIL makes them in another way.
"""

import copy
import pickle
from collections.abc import Callable
from typing import Any, Final

import attrs
import pytest
from hypothesis import given, strategies as st

from sansio_stream import (
    ContentBlockDeltaEvent,
    InputJSONDelta,
    Message,
    StreamMachine,
    TextBlock,
    TextDelta,
    ThinkingDelta,
    frozen,
)
from sansio_stream.fast_path import TEXT_FIELDS
from sansio_stream.testing import cuts, scripts, wire
from test_fast_path import Received, api_frame, chunked, results_of, streams
from test_kept_looks import TEXT, THINKING, TOOL_USE, Kind, machine_with

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
