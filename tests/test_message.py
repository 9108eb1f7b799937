"""The vocabulary of messages: blocks, citations, counters, read from dicts and written back."""

import copy
import json
import pickle
from typing import Any, get_args

import pytest

import sansio_stream
import vocabulary
from sansio_stream import (
    FallbackBlock,
    InputState,
    MCPToolUseBlock,
    Message,
    MessageDeltaUsage,
    ServerToolUseBlock,
    TextBlock,
    TextDelta,
    ThinkingBlock,
    ToolUseBlock,
    UnknownBlock,
    UnknownCitation,
    Usage,
    block_from_dict,
    message_from_dict,
)
from sansio_stream.codec import decode, evolve, schema_of
from sansio_stream.tool_input import GrowingText, InputError, ToolInput

# The unions


@pytest.mark.parametrize("union", ["ContentBlock", "Citation"])
def test_every_class_of_a_union_has_its_own_type_and_an_example(union: str) -> None:
    classes = vocabulary.UNIONS[union]
    types = [cls.type for cls in classes]
    assert len(set(types)) == len(classes)
    assert types[-1] == "unknown"
    examples = vocabulary.BLOCKS if union == "ContentBlock" else vocabulary.CITATIONS
    assert [payload["type"] for payload in examples][:-1] == types[:-1]


@pytest.mark.parametrize("payload", vocabulary.BLOCKS, ids=lambda payload: payload["type"])
def test_a_block_is_of_the_class_that_its_type_names(payload: dict[str, Any]) -> None:
    block = block_from_dict(payload)
    assert block.to_dict() == payload
    if block.type == "unknown":
        assert block.wire_type == payload["type"]
    else:
        assert block.type == payload["type"]
        assert block.extra == {}


@pytest.mark.parametrize("payload", vocabulary.BLOCKS, ids=lambda payload: payload["type"])
def test_every_member_of_a_block_is_an_attribute_of_the_same_name(payload: dict[str, Any]) -> None:
    block = block_from_dict(payload)
    for name, value in payload.items():
        if name in {"type", "citations"} or name in block.extra:
            continue
        assert getattr(block, "from_" if name == "from" else name) == value


def test_a_block_of_an_unknown_type_keeps_everything() -> None:
    block = block_from_dict({"type": "connector_text", "text": "?", "input": {"a": 1}})
    assert isinstance(block, UnknownBlock)
    assert block.extra == {"text": "?", "input": {"a": 1}}
    assert repr(block) == (
        "UnknownBlock(wire_type='connector_text', extra={'text': '?', 'input': {'a': 1}})"
    )


@pytest.mark.parametrize("tag", ["unknown", "", None, 5, ["text"], {}])
def test_a_block_whose_type_is_no_known_word_is_unknown(tag: Any) -> None:
    block = block_from_dict({"type": tag, "text": "?"})
    assert isinstance(block, UnknownBlock)
    assert block.wire_type == (tag if isinstance(tag, str) else "")
    assert block.to_dict() == {"type": tag, "text": "?"}


def test_a_block_without_its_members_is_still_of_its_class() -> None:
    # As compatible servers send them.
    assert block_from_dict({"type": "text"}).to_dict() == {"type": "text"}
    thinking = block_from_dict({"type": "thinking", "thinking": "Hm."})
    assert isinstance(thinking, ThinkingBlock)
    assert thinking.signature == ""
    assert thinking != ThinkingBlock("Hm.", "")
    assert thinking.to_dict() == {"type": "thinking", "thinking": "Hm."}


def test_citations_are_a_tuple_or_none() -> None:
    def citations(**members: Any) -> Any:
        block = block_from_dict({"type": "text", "text": "", **members})
        assert isinstance(block, TextBlock)
        return block.citations

    assert citations() is None
    assert citations(citations=None) is None
    assert citations(citations=[]) == ()
    assert citations(citations=[{"type": "moon", "crater": 7}]) == (
        UnknownCitation("moon", rest={"crater": 7}),
    )


def test_the_seam_of_a_fallback_has_a_name_that_python_can_say() -> None:
    block = block_from_dict(
        {"type": "fallback", "from": {"model": "a"}, "to": {"model": "b"}, "from_": 1}
    )
    assert isinstance(block, FallbackBlock)
    assert (block.from_, block.to, block.trigger) == ({"model": "a"}, {"model": "b"}, None)
    assert block.extra == {"from_": 1}


def test_unfolded_deltas_are_compared_but_not_on_the_wire() -> None:
    block = TextBlock("x", unfolded=(TextDelta("y"),))
    assert block != TextBlock("x")
    assert block.to_dict() == TextBlock("x").to_dict() == {"type": "text", "text": "x"}
    assert "TextDelta(text='y')" in repr(block)
    assert "unfolded" not in repr(TextBlock("x"))


# Inputs of blocks that no machine has folded

INPUT_BLOCKS = ["tool_use", "server_tool_use", "mcp_tool_use", "some_new_tool_use"]


@pytest.mark.parametrize("kind", INPUT_BLOCKS)
@pytest.mark.parametrize(
    ("members", "state", "value", "partial"),
    [
        ({"input": {"a": 1}}, "complete", {"a": 1}, {"a": 1}),
        ({"input": {}}, "complete", {}, {}),
        ({"input": None}, "incomplete", None, None),
        ({}, "incomplete", None, None),
        ({"input": "text"}, "invalid", None, "text"),
        ({"input": [1]}, "invalid", None, [1]),
        ({"input": False}, "invalid", None, False),
    ],
)
def test_the_input_of_a_block_from_a_dict_is_what_was_sent(
    kind: str, members: dict[str, Any], state: InputState, value: Any, partial: Any
) -> None:
    block = block_from_dict({"type": kind, "id": "t", "name": "n", **members})
    assert isinstance(block, (ToolUseBlock, ServerToolUseBlock, MCPToolUseBlock, UnknownBlock))
    assert block.input_state == state
    assert block.input == value
    assert block.partial_input == partial
    assert (block.input_json, block.input_error) == ("", None)


def test_an_input_that_was_streamed_is_neither_compared_nor_shown_nor_on_the_wire() -> None:
    text = GrowingText(partial_strings=True, max_depth=200)
    text.append('{"a": ')
    block = ToolUseBlock("toolu_1", "lookup", None, tool_input=ToolInput.running(text, {}))
    plain = ToolUseBlock("toolu_1", "lookup", None)
    assert block == plain
    assert repr(block) == repr(plain)
    assert block.to_dict() == plain.to_dict()
    assert (block.input_json, block.input_state, block.partial_input) == (
        '{"a": ',
        "incomplete",
        {},
    )
    text.append("]")
    stopped = evolve(block, tool_input=ToolInput.stopped(text, {}))
    for same in (stopped, pickle.loads(pickle.dumps(stopped)), copy.deepcopy(stopped)):
        assert same.input_state == "invalid"
        assert same.input_json == '{"a": ]'
        assert isinstance(same.input_error, InputError)
        assert same.input_error.position == 6
        assert same.partial_input == {}


def test_the_states_of_an_input_are_three() -> None:
    assert get_args(InputState) == ("complete", "invalid", "incomplete")


# The message


def test_a_message_is_read_whole() -> None:
    message = message_from_dict(vocabulary.MESSAGE)
    assert message.to_dict() == vocabulary.MESSAGE
    assert message.extra == {}
    assert isinstance(message.content, tuple)
    assert message.usage == Usage(**vocabulary.USAGE)
    for name in vocabulary.MESSAGE.keys() - {"type", "content", "usage"}:
        assert getattr(message, name) == vocabulary.MESSAGE[name]


def test_a_message_of_nothing_has_everything_to_read() -> None:
    message = message_from_dict({})
    assert (message.content, message.usage.input_tokens, message.stop_reason) == ((), None, None)
    assert message.to_dict() == {}


@pytest.mark.parametrize(
    ("stop_reason", "complete"), [("end_turn", True), (None, False), (5, False)]
)
def test_a_message_from_a_dict_is_complete_if_it_has_a_stop_reason(
    stop_reason: Any, complete: bool
) -> None:
    payload = {**vocabulary.MESSAGE, "stop_reason": stop_reason}
    message = message_from_dict(payload)
    assert message.complete is complete
    assert message.to_dict() == payload


def test_completeness_is_compared_and_pickled_but_not_on_the_wire() -> None:
    complete = message_from_dict(vocabulary.MESSAGE)
    cut = evolve(complete, complete=False)
    assert complete != cut
    assert complete.to_dict() == cut.to_dict()
    for message in (complete, cut):
        assert pickle.loads(pickle.dumps(message)).complete is message.complete
        assert copy.deepcopy(message) == message
    assert "complete=True" in repr(complete)
    assert "complete" not in repr(cut)


def test_a_member_called_complete_on_the_wire_is_something_else() -> None:
    message = message_from_dict({"complete": True})
    assert not message.complete
    assert message.extra == {"complete": True}


def test_nothing_handed_in_is_changed_by_reading() -> None:
    before = json.dumps(vocabulary.MESSAGE)
    message_from_dict(vocabulary.MESSAGE).to_dict()
    assert json.dumps(vocabulary.MESSAGE) == before


def test_every_class_of_a_message_is_listed() -> None:
    assert vocabulary.objects_by_class().keys() >= {
        *vocabulary.UNIONS["ContentBlock"],
        *vocabulary.UNIONS["Citation"],
        Message,
        ServerToolUseBlock,
        Usage,
    }


# Usage


def test_the_two_usages_have_the_same_members_and_differ_in_the_first_arguments() -> None:
    usage, change = Usage(1, 2, speed="fast"), MessageDeltaUsage(2, 1, speed="fast")
    assert usage.to_dict() == change.to_dict() == decode(Usage, change.to_dict()).to_dict()
    assert [*usage.to_dict()] == ["input_tokens", "output_tokens", "speed"]
    assert [*change.to_dict()] == ["output_tokens", "input_tokens", "speed"]
    assert repr(usage) == "Usage(input_tokens=1, output_tokens=2, speed='fast')"
    assert repr(change) == "MessageDeltaUsage(output_tokens=2, input_tokens=1, speed='fast')"
    assert schema_of(Usage).wires == schema_of(MessageDeltaUsage).wires
    assert (Usage().to_dict(), MessageDeltaUsage(None).to_dict()) == ({}, {"output_tokens": None})
    assert usage != change


@pytest.mark.parametrize(
    ("counters", "total"),
    [
        ({}, None),
        ({"output_tokens": 7}, None),
        ({"input_tokens": 0}, 0),
        ({"input_tokens": 3}, 3),
        ({"cache_read_input_tokens": 20}, 20),
        ({"input_tokens": 3, "cache_creation_input_tokens": 5, "cache_read_input_tokens": 20}, 28),
        ({"input_tokens": None, "cache_creation_input_tokens": 5}, 5),
    ],
)
def test_all_input_tokens_are_those_that_were_read_from_a_cache_too(
    counters: dict[str, Any], total: int | None
) -> None:
    message = message_from_dict({"usage": counters})
    assert message.usage.total_input_tokens == total
    assert message.usage.to_dict() == counters


def test_counters_that_have_no_name_are_kept() -> None:
    assert message_from_dict({"usage": {"moon_tokens": 1}}).usage.extra == {"moon_tokens": 1}


@pytest.mark.parametrize("union", vocabulary.UNIONS)
def test_every_class_of_a_union_can_be_imported_from_the_package(union: str) -> None:
    for cls in vocabulary.UNIONS[union]:
        assert getattr(sansio_stream, cls.__name__) is cls
