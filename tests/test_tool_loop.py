"""`tool_calls` and `merge_turns`: the calls that may be run, and one message of several turns."""

import json
from typing import Any, Final

import attrs
import pytest
from hypothesis import given, strategies as st

from sansio_stream import (
    Message,
    ToolCall,
    build_request,
    merge_turns,
    message_from_dict,
    tool_calls,
)
from sansio_stream.testing import messages
from wire import block_start, block_stop, delta, json_piece, message_start, run, tool_start


def call(id: str | None = "toolu_1", **members: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": id, "name": "lookup", "input": {"q": "tea"}, **members}


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


SEARCH: Final = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {}}
FOUND: Final = {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []}


def message(*content: Any, **members: Any) -> Message:
    return message_from_dict({"content": [*content], "stop_reason": "end_turn", **members})


# Calls.


def test_tool_calls_are_returned_in_their_order() -> None:
    answer = message(text("So."), call(), SEARCH, call("toolu_2", name="brew", input={}))
    assert tool_calls(answer) == (
        ToolCall("toolu_1", "lookup", {"q": "tea"}),
        ToolCall("toolu_2", "brew", {}),
    )
    assert tool_calls(message(text("So."))) == ()
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        tool_calls(answer)[0].id = ""  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize(
    "broken",
    [
        call(input=5),
        call(input=None),
        call(None),
        call(""),
        call(name=None),
        call(name=""),
        call("toolu_0", input={"q": "other"}),
        {**SEARCH, "id": "toolu_2"},
    ],
)
def test_a_call_that_must_not_be_run_is_left_out(broken: dict[str, Any]) -> None:
    whole = call("toolu_9", input={})
    calls = tool_calls(message(broken, whole, call("toolu_0")))
    ids = [each.id for each in calls]
    assert "toolu_9" in ids
    assert len(ids) == (1 if broken["id"] == "toolu_0" else 2)


def test_only_the_complete_calls_of_a_cut_stream_are_returned() -> None:
    whole = (tool_start(0), json_piece(0, '{"q":1}'), block_stop(0))
    unfolded = (tool_start(1), json_piece(1, "{}"), delta(1, "hologram_delta"), block_stop(1))
    machine, _ = run([message_start(), *whole, *unfolded, tool_start(2), json_piece(2, "{}")])
    assert machine.snapshot is not None
    assert tool_calls(machine.snapshot) == (ToolCall("toolu_0", "lookup", {"q": 1}),)
    running, _ = run([message_start(), block_start(0)])
    assert running.snapshot is not None
    assert tool_calls(running.snapshot) == ()


@given(messages())
def test_every_call_of_a_complete_message_may_be_run(whole: Message) -> None:
    blocks = [block for block in whole.content if block.type == "tool_use"]
    assert [each.id for each in tool_calls(whole)] == [block.id for block in blocks]
    assert [each.input for each in tool_calls(whole)] == [block.input for block in blocks]


# Turns.


def test_turns_are_merged_into_one_message() -> None:
    first = message(
        text("So."),
        SEARCH,
        id="msg_1",
        model="a",
        stop_reason="pause_turn",
        usage={
            "input_tokens": 10,
            "output_tokens": 0,
            "cache_read_input_tokens": 7,
            "service_tier": "standard",
            "photons": 1,
        },
    )
    last = message(
        FOUND,
        text("Tea."),
        id="msg_2",
        model="b",
        usage={"input_tokens": 20, "output_tokens": 5, "cache_creation_input_tokens": None},
        weather="fine",
    )
    merged = merge_turns([first, last])
    assert (merged.id, merged.model, merged.stop_reason) == ("msg_2", "b", "end_turn")
    assert merged.content == (*first.content, *last.content)
    assert merged.extra == {"weather": "fine"}
    assert merged.usage.to_dict() == {
        "input_tokens": 30,
        "output_tokens": 5,
        "cache_read_input_tokens": 7,
        "cache_creation_input_tokens": None,
    }
    assert merged.usage.total_input_tokens == 37
    assert merged.complete
    body = json.loads(build_request({"messages": [merged]}).body)
    assert body["messages"][0]["content"] == [text("So."), SEARCH, FOUND, text("Tea.")]


def test_a_single_turn_is_returned_unchanged() -> None:
    alone = message(text("Tea."))
    assert merge_turns([alone]) is alone
    assert merge_turns(iter([alone])) is alone
    with pytest.raises(ValueError, match="there is no message to merge"):
        merge_turns([])


def test_a_merged_message_is_complete_only_if_all_turns_are() -> None:
    cut = message(text("Tea."), stop_reason=None)
    assert not cut.complete
    assert not merge_turns([cut, message(text("Tea."))]).complete
    assert not merge_turns([message(text("Tea.")), cut]).complete


@given(st.lists(messages(), min_size=1, max_size=3))
def test_merged_turns_have_all_blocks_and_all_tokens(turns: list[Message]) -> None:
    merged = merge_turns(turns)
    assert len(merged.content) == sum(len(turn.content) for turn in turns)
    totals = [turn.usage.total_input_tokens or 0 for turn in turns]
    assert merged.usage.total_input_tokens == sum(totals)
    assert merged.to_dict().keys() == turns[-1].to_dict().keys()
