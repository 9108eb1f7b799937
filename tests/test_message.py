"""Messages, blocks, citations and usage: decoded from dicts and encoded again."""

import copy
import json
import pickle
from typing import Any, get_args

import attrs
import pytest

import sansio_stream
import vocabulary
from sansio_stream import (
    ContentBlockStopEvent,
    FallbackBlock,
    InputState,
    MCPToolUseBlock,
    Message,
    MessageDeltaUsage,
    MessageStopEvent,
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
from sansio_stream.codec import decode, schema_of
from sansio_stream.copies import evolve
from sansio_stream.tool_input import GrowingInput, InputError, ToolInput

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
def test_the_type_selects_the_class_of_a_block(payload: dict[str, Any]) -> None:
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


@pytest.mark.parametrize(
    ("sent", "state"),
    [
        *((None, "incomplete"), ({}, "complete"), ({"a": [1.5]}, "complete")),
        *(([], "invalid"), ("x", "invalid"), ({"a": [float("inf")]}, "invalid")),
    ],
)
@pytest.mark.parametrize("kind", ["tool_use", "hologram"])
def test_the_input_of_a_block_that_no_machine_has_built_has_a_state(
    kind: str, sent: Any, state: str
) -> None:
    block = block_from_dict({"type": kind, "id": "i", "name": "n", "input": sent})
    assert isinstance(block, (ToolUseBlock, UnknownBlock))
    assert (block.input_state, block.input_error, block.input_json) == (state, None, "")


@pytest.mark.parametrize("tag", ["unknown", "", None, 5, ["text"], {}])
def test_a_block_with_an_unknown_or_invalid_type_is_an_unknown_block(tag: Any) -> None:
    block = block_from_dict({"type": tag, "text": "?"})
    assert isinstance(block, UnknownBlock)
    assert block.wire_type == (tag if isinstance(tag, str) else "")
    assert block.to_dict() == {"type": tag, "text": "?"}


def test_a_block_without_required_members_has_the_class_of_its_type() -> None:
    # Servers that imitate the API send such blocks.
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


def test_the_member_from_of_a_fallback_block_is_the_attribute_from_() -> None:
    block = block_from_dict(
        {"type": "fallback", "from": {"model": "a"}, "to": {"model": "b"}, "from_": 1}
    )
    assert isinstance(block, FallbackBlock)
    assert (block.from_, block.to, block.trigger) == ({"model": "a"}, {"model": "b"}, None)
    assert block.extra == {"from_": 1}


def test_unfolded_deltas_are_compared_and_not_encoded() -> None:
    block = TextBlock("x", unfolded=(TextDelta("y"),))
    assert block != TextBlock("x")
    assert block.to_dict() == TextBlock("x").to_dict() == {"type": "text", "text": "x"}
    assert "TextDelta(text='y')" in repr(block)
    assert "unfolded" not in repr(TextBlock("x"))


# Inputs of blocks that were not streamed

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
def test_the_input_of_a_block_from_a_dict_is_that_of_the_dict(
    kind: str, members: dict[str, Any], state: InputState, value: Any, partial: Any
) -> None:
    block = block_from_dict({"type": kind, "id": "t", "name": "n", **members})
    assert isinstance(block, (ToolUseBlock, ServerToolUseBlock, MCPToolUseBlock, UnknownBlock))
    assert block.input_state == state
    assert block.input == value
    assert block.partial_input == partial
    assert (block.input_json, block.input_error) == ("", None)


def test_the_text_of_a_streamed_input_is_not_compared_shown_or_encoded() -> None:
    text = GrowingInput(partial_strings=True, max_depth=200)
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
    for duplicate in (stopped, pickle.loads(pickle.dumps(stopped)), copy.deepcopy(stopped)):
        assert duplicate.input_state == "invalid"
        assert duplicate.input_json == '{"a": ]'
        assert isinstance(duplicate.input_error, InputError)
        assert duplicate.input_error.position == 6
        assert duplicate.partial_input == {}


def test_an_input_has_three_states() -> None:
    assert get_args(InputState) == ("complete", "invalid", "incomplete")


# Members that may be left out, and members that are not on the wire

CLASSES = vocabulary.objects_by_class()
NOT_ON_THE_WIRE = {"_tool_input", "unfolded", "raw", "complete"}
RESULTS = {"content_block", "message"}  # in the stop events; other events have them on the wire


@pytest.mark.parametrize("cls", CLASSES)
def test_a_member_that_may_be_left_out_reads_as_empty(cls: type[Any]) -> None:
    for member in attrs.fields(cls):
        if member.default is not attrs.NOTHING:
            assert any(member.default is each for each in (None, (), False)), member.name


@pytest.mark.parametrize("cls", CLASSES)
def test_a_member_that_is_not_on_the_wire_is_a_keyword_and_not_encoded(cls: type[Any]) -> None:
    example = CLASSES[cls]
    for member in attrs.fields(cls):
        is_result = cls in (ContentBlockStopEvent, MessageStopEvent) and member.name in RESULTS
        if member.name in NOT_ON_THE_WIRE or is_result:
            assert member.kw_only, member.name
            assert evolve(example, **{member.alias: "x"}).to_dict() == example.to_dict()


# The message


def test_a_message_has_every_member_of_its_payload() -> None:
    message = message_from_dict(vocabulary.MESSAGE)
    assert message.to_dict() == vocabulary.MESSAGE
    assert message.extra == {}
    assert isinstance(message.content, tuple)
    assert message.usage == Usage(**vocabulary.USAGE)
    for name in vocabulary.MESSAGE.keys() - {"type", "content", "usage"}:
        assert getattr(message, name) == vocabulary.MESSAGE[name]


def test_the_text_of_a_message_is_the_texts_of_its_text_blocks() -> None:
    blocks = (
        ThinkingBlock("hm", ""),
        TextBlock("a"),
        ToolUseBlock("toolu_1", "f", {}),
        TextBlock("b"),
    )
    assert evolve(message_from_dict(vocabulary.MESSAGE), content=blocks).text == "ab"
    assert evolve(message_from_dict(vocabulary.MESSAGE), content=()).text == ""


def test_an_empty_message_has_default_values() -> None:
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


def test_complete_is_compared_and_pickled_and_not_encoded() -> None:
    complete = message_from_dict(vocabulary.MESSAGE)
    incomplete = evolve(complete, complete=False)
    assert complete != incomplete
    assert complete.to_dict() == incomplete.to_dict()
    for message in (complete, incomplete):
        assert pickle.loads(pickle.dumps(message)).complete is message.complete
        assert copy.deepcopy(message) == message
    assert "complete=True" in repr(complete)
    assert "complete" not in repr(incomplete)


def test_a_json_member_named_complete_does_not_set_complete() -> None:
    message = message_from_dict({"complete": True})
    assert not message.complete
    assert message.extra == {"complete": True}


def test_decoding_does_not_change_the_payload() -> None:
    before = json.dumps(vocabulary.MESSAGE)
    message_from_dict(vocabulary.MESSAGE).to_dict()
    assert json.dumps(vocabulary.MESSAGE) == before


def test_every_class_of_a_message_has_an_example() -> None:
    assert vocabulary.objects_by_class().keys() >= {
        *vocabulary.UNIONS["ContentBlock"],
        *vocabulary.UNIONS["Citation"],
        Message,
        ServerToolUseBlock,
        Usage,
    }


# Usage


def test_both_usage_classes_have_the_same_members_in_different_orders() -> None:
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
def test_total_input_tokens_includes_cached_tokens(
    counters: dict[str, Any], total: int | None
) -> None:
    message = message_from_dict({"usage": counters})
    assert message.usage.total_input_tokens == total
    assert message.usage.to_dict() == counters


def test_unknown_counters_are_kept() -> None:
    assert message_from_dict({"usage": {"moon_tokens": 1}}).usage.extra == {"moon_tokens": 1}


@pytest.mark.parametrize("union", vocabulary.UNIONS)
def test_every_class_of_a_union_can_be_imported_from_the_package(union: str) -> None:
    for cls in vocabulary.UNIONS[union]:
        assert getattr(sansio_stream, cls.__name__) is cls
