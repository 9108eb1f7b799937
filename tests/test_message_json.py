"""A message that is saved as JSON text and loaded again is the same message."""

import json
from typing import Any

import pytest
from hypothesis import given, strategies as st

import vocabulary
from sansio_stream import (
    InvalidJSONError,
    Message,
    ProtocolError,
    StreamMachine,
    ToolUseBlock,
    UnknownBlock,
    encode_event,
    message_from_dict,
    message_from_json,
    message_to_json,
)
from sansio_stream.testing import faults, scripts
from shared_data import captures, ran
from test_machine import bodies
from wire import block_start, body, delta, json_piece, message_start, text, tool_start


def check_snapshots(stream: bytes) -> list[Message]:
    machine = StreamMachine()
    messages: list[Message] = []
    for event in machine.receive_data(stream):
        if event.type != "ping" and machine.snapshot is not None:
            messages.append(message_from_json(message_to_json(machine.snapshot)))
            assert_same(messages[-1], machine.snapshot)
    return messages


def assert_same(message: Message, other: Message) -> None:
    """Check that two messages are equal, and also the values that `==` does not compare."""
    assert message == other
    assert message.to_dict() == other.to_dict()
    assert message.complete == other.complete
    for block, original in zip(message.content, other.content, strict=True):
        assert block == original
        assert block.unfolded == original.unfolded
        assert list(map(type, block.unfolded)) == list(map(type, original.unfolded))
        for name in ("input", "input_json", "input_state", "input_error", "partial_input"):
            assert getattr(block, name, None) == getattr(original, name, None)


@given(scripts())
def test_every_snapshot_of_a_legal_stream_is_loaded_unchanged(script: Any) -> None:
    assert check_snapshots(b"".join(map(encode_event, script)))


@given(faults())
def test_the_last_snapshot_of_a_stream_with_a_fault_is_loaded_unchanged(stream: Any) -> None:
    machine = StreamMachine()
    try:
        for _ in machine.receive_data(stream.data):
            pass
    except ProtocolError as error:
        assert error.event_number
    if machine.snapshot is not None:
        again = message_from_json(message_to_json(machine.snapshot))
        assert_same(again, machine.snapshot)


@given(bodies())
def test_every_snapshot_of_an_odd_stream_is_loaded_unchanged(stream: bytes) -> None:
    try:
        check_snapshots(stream)
    except ProtocolError as error:
        assert error.event_number


@given(vocabulary.mutated(vocabulary.MESSAGE))
def test_a_message_that_was_not_streamed_is_loaded_unchanged(payload: dict[str, Any]) -> None:
    message = message_from_dict(payload)
    assert_same(message_from_json(message_to_json(message)), message)


def test_the_messages_of_the_recordings_are_loaded_unchanged() -> None:
    for capture in captures(".sse"):
        machine = StreamMachine()
        try:
            for _ in machine.receive_data(capture.body):
                pass
        except ProtocolError as error:
            assert error.code == "spliced_message"
        if machine.snapshot is not None:
            assert_same(message_from_json(message_to_json(machine.snapshot)), machine.snapshot)
        ran("captures/*.sse")


def test_the_text_and_the_state_of_an_invalid_input_are_loaded_unchanged() -> None:
    stream = body(message_start(), tool_start(0), json_piece(0, '{"a": '), text(0, "lost"))
    machine = StreamMachine()
    list(machine.receive_data(stream + body({"type": "content_block_stop", "index": 0})))
    assert machine.snapshot is not None
    (call,) = message_from_json(message_to_json(machine.snapshot)).content
    assert isinstance(call, ToolUseBlock)
    assert (call.input, call.input_json, call.input_state) == (None, '{"a": ', "invalid")
    assert call.input_error is not None
    assert (call.input_error.position, call.partial_input) == (6, {})


def test_unfolded_deltas_are_loaded_unchanged() -> None:
    start = block_start(0, {"type": "of_tomorrow", "input": {"kept": 1}})
    deltas = [text(0, "a"), delta(0, "text_delta", text=5), delta(0, "glow", hue=3)]
    machine = StreamMachine()
    list(machine.receive_data(body(message_start(), start, *deltas, json_piece(0, "{}"))))
    assert machine.snapshot is not None
    (block,) = message_from_json(message_to_json(machine.snapshot)).content
    assert isinstance(block, UnknownBlock)
    assert [each.type for each in block.unfolded] == [
        "text_delta",
        "unknown",
        "unknown",
        "input_json_delta",
    ]
    assert block.partial_input == {}


def test_a_lone_surrogate_is_saved_as_an_escape() -> None:
    message = message_from_dict({"content": [{"type": "text", "text": "\ud83d"}]})
    saved = message_to_json(message)
    assert saved.encode()
    assert_same(message_from_json(saved), message)


def test_an_infinite_number_cannot_be_saved() -> None:
    message = message_from_dict({"private": float("inf")})
    with pytest.raises(ValueError, match="JSON"):
        message_to_json(message)


@pytest.mark.parametrize("saved", ["", "{", "[]", "null", "{}", '{"id": "msg_1"}'])
def test_any_other_text_raises_a_value_error(saved: str) -> None:
    with pytest.raises(ValueError, match=r"not a JSON object of the format|character"):
        message_from_json(saved)
    if saved in ("", "{"):
        with pytest.raises(InvalidJSONError):
            message_from_json(saved)


@given(st.data())
def test_a_damaged_text_raises_a_value_error_or_is_a_message(data: st.DataObject) -> None:
    machine = StreamMachine()
    list(machine.receive_data(body(message_start(), tool_start(0), json_piece(0, "{"))))
    assert machine.snapshot is not None
    stored: Any = json.loads(message_to_json(machine.snapshot))
    wrong_value: Any = data.draw(
        st.sampled_from([None, 5, "x", [], {}, {"9": {}}, {"x": {}}, {"0": 5}])
    )
    target: Any = stored
    path = data.draw(
        st.sampled_from([["message"], ["blocks"], ["blocks", "0"], ["blocks", "0", "input"]])
    )
    for name in path[:-1]:
        target = target[name]
    if data.draw(st.booleans()):
        target[path[-1]] = wrong_value
    else:
        del target[path[-1]]
    try:
        assert isinstance(message_from_json(json.dumps(stored)), Message)
    except ValueError as error:
        assert "damaged" in str(error)
