"""Encoding messages: a machine that reads the stream of a message has the same message."""

import itertools
import json
from base64 import b64decode

import pytest
from hypothesis import assume, given, strategies as st

import shared_data
import vocabulary
from sansio_stream import (
    ContentBlockDeltaEvent,
    InputJSONDelta,
    Message,
    ProtocolError,
    StreamMachine,
    TextDelta,
    ToolUseBlock,
    Verdict,
    encode_event,
    encode_stream,
    events_from_message,
    message_from_dict,
    parse_capture,
)
from sansio_stream.codec import wrong_types
from sansio_stream.testing import Script, messages, scripts
from wire import HELLO, body, json_piece, message_start, run, text, tool_start

SIZES = st.lists(st.integers(0, 9), min_size=1, max_size=3).filter(any)


def read(data: bytes) -> StreamMachine:
    """Return a machine that has read a body up to its end or its first error."""
    machine = StreamMachine()
    try:
        for _ in machine.receive_data(data):
            pass
        for _ in machine.receive_eof():
            pass
    except ProtocolError:
        pass
    return machine


def encoded_and_read(message: Message, seed: int = 0) -> Message | None:
    """Encode a message as a stream, and return the message that a machine reads from it."""
    return read(encode_stream(message, seed=seed)).snapshot


@given(messages(), st.integers(0, 99))
def test_an_encoded_message_is_read_unchanged_and_without_a_violation(
    message: Message, seed: int
) -> None:
    machine = read(encode_stream(message, seed=seed))
    assert machine.final_message() == message
    assert (machine.verdict, machine.violations) == (Verdict.COMPLETE, ())


@given(scripts())
def test_every_snapshot_of_a_script_is_encoded_and_read_unchanged(script: Script) -> None:
    machine = StreamMachine()
    for event in script:
        for _ in machine.receive_event(event.to_dict()):
            snapshot = machine.snapshot
            assert snapshot is None or encoded_and_read(snapshot) == snapshot


def test_every_message_of_the_captures_is_encoded_and_read_unchanged() -> None:
    for suffix in (".sse", ".jsonl"):
        for capture in shared_data.captures(suffix):
            message = read(parse_capture(capture.body).body).snapshot
            if message is not None:
                assert encoded_and_read(message) == message, capture.file
                shared_data.ran(f"captures/*{suffix}")


def test_every_message_of_the_vectors_is_encoded_and_read_unchanged() -> None:
    for row in shared_data.load("vectors/messages.jsonl"):
        message = read(b"".join(map(b64decode, row["chunks_b64"]))).snapshot
        if message is not None:
            assert encoded_and_read(message) == message, row["name"]
            shared_data.ran("vectors/messages.jsonl")


def test_a_message_that_was_not_streamed_is_encoded_and_read_unchanged() -> None:
    payload = {**vocabulary.MESSAGE, "model": "claude-b"}  # the model of its fallback block
    # The inputs of this message are objects, so they are complete without streamed text.
    message = message_from_dict(payload)
    assert message.complete
    assert encoded_and_read(message) == message
    assert encoded_and_read(message_from_dict({})) == message_from_dict({})


@given(vocabulary.mutated(vocabulary.MESSAGE))
def test_a_message_with_changed_members_keeps_its_blocks(payload: dict[str, object]) -> None:
    message = message_from_dict(payload)
    assume(all(isinstance(block.to_dict().get("type"), str) for block in message.content))
    other = encoded_and_read(message)
    assert other is not None
    # A content of the wrong type, or such a member of a block, is a loss in the new stream.
    has_loss = "content" in wrong_types(message) or any(map(wrong_types, message.content))
    assert other.complete == message.complete or (has_loss and not other.complete)
    assert [block.type for block in other.content] == [block.type for block in message.content]


@pytest.mark.parametrize("count", range(1, len(HELLO) + 1))
def test_an_incomplete_message_is_encoded_without_an_end(count: int) -> None:
    message = read(body(*HELLO[:count])).snapshot
    assert message is not None
    data = encode_stream(message)
    assert (b"message_stop" in data) == message.complete
    assert (b"message_delta" in data) == (message.stop_reason is not None)
    assert read(data).verdict is read(body(*HELLO[:count])).verdict


def test_a_complete_message_without_a_stop_reason_is_encoded_without_one() -> None:
    message = read(body(HELLO[0], HELLO[-1])).final_message()
    assert (message.complete, message.stop_reason) == (True, None)
    assert encoded_and_read(message) == message


@pytest.mark.parametrize(
    "pieces",
    [['{"q": 1'], ["{'q': 1}"], ['{"q": 1}{"q": 2}'], ["[1]"], [" "], [""], []],
    ids=repr,
)
@pytest.mark.parametrize("is_stopped", [True, False])
def test_an_invalid_tool_input_stays_invalid(pieces: list[str], *, is_stopped: bool) -> None:
    stop = [{"type": "content_block_stop", "index": 0}] if is_stopped else []
    script = [message_start(), tool_start(0), *(json_piece(0, piece) for piece in pieces), *stop]
    message = read(body(*script)).snapshot
    assert message is not None
    other = encoded_and_read(message)
    assert other is not None
    assert other == message
    (block,), (block_again,) = message.content, other.content
    assert isinstance(block, ToolUseBlock)
    assert isinstance(block_again, ToolUseBlock)
    assert block_again.input_state == block.input_state
    assert block_again.input_json == block.input_json


def test_an_input_of_the_start_that_is_not_an_object_is_encoded_unchanged() -> None:
    message = read(body(message_start(), tool_start(0, input="?"), HELLO[5])).snapshot
    assert message is not None
    other = encoded_and_read(message)
    assert other is not None
    assert other == message
    assert isinstance(other.content[0], ToolUseBlock)
    assert (other.content[0].input_state, other.content[0].partial_input) == ("invalid", "?")


def test_a_surrogate_pair_in_two_deltas_is_encoded_as_its_character() -> None:
    message = read(body(*HELLO[:2], text(0, "\ud83d"), text(0, "\ude00"), HELLO[5])).snapshot
    assert message is not None
    assert encoded_and_read(message) == message


@given(messages(), SIZES)
def test_a_text_delta_is_never_longer_than_the_largest_size(
    message: Message, sizes: list[int]
) -> None:
    for event in events_from_message(message, itertools.cycle(sizes)):
        if isinstance(event, ContentBlockDeltaEvent) and isinstance(event.delta, TextDelta):
            assert len(event.delta.text) <= max(sizes)


@given(messages(blocks=["text"], having=["text", "tool_use"]))
def test_without_further_sizes_the_rest_of_a_text_is_one_delta(message: Message) -> None:
    deltas = [
        event.delta
        for event in events_from_message(message, [])
        if isinstance(event, ContentBlockDeltaEvent)
    ]
    texts = [delta.text for delta in deltas if isinstance(delta, TextDelta)]
    assert texts == [block.text for block in message.content if block.type == "text" and block.text]
    # The first delta of an input is empty, as in the streams of the API.
    inputs = [delta.partial_json for delta in deltas if isinstance(delta, InputJSONDelta)]
    assert inputs[0] == ""
    assert json.loads(inputs[1])["q"]


@given(messages(), SIZES)
def test_a_machine_returns_the_events_of_a_message_unchanged(
    message: Message, sizes: list[int]
) -> None:
    events = tuple(events_from_message(message, itertools.cycle(sizes)))
    _, outcome = run([b"".join(map(encode_event, events))])
    assert outcome.events == events


@given(
    messages(),
    st.tuples(st.integers(1, 9), st.integers(9, 20)),
    st.integers(0, 5),
    st.integers(0, 20),
    st.integers(),
)
def test_a_stream_has_the_requested_pings_and_padding_and_the_same_message(
    message: Message, delta_characters: tuple[int, int], pings: int, padding: int, seed: int
) -> None:
    options = {
        "delta_characters": delta_characters,
        "pings": pings,
        "padding": padding,
        "seed": seed,
    }
    data = encode_stream(message, **options)  # type: ignore[arg-type]  # a dict has one type of values
    assert data == encode_stream(message, **options)  # type: ignore[arg-type]  # likewise
    assert data.count(b'event: ping\ndata: {"type": "ping"') == pings
    assert read(data).final_message() == message
    lines = [line for line in data.split(b"\n") if line.startswith(b"data: ")]
    assert all(len(line) - len(line[:-1].rstrip(b" ")) - 1 <= padding for line in lines)


def test_a_negative_size_raises_a_value_error() -> None:
    message = read(body(*HELLO)).final_message()
    with pytest.raises(ValueError, match="negative number, but has -"):
        list(events_from_message(message, [2, -1]))


def test_another_seed_results_in_other_bytes() -> None:
    message = read(body(*HELLO)).final_message()
    assert len({encode_stream(message, seed=seed) for seed in range(20)}) > 15


@pytest.mark.parametrize(
    "options",
    [{"delta_characters": (0, 3)}, {"delta_characters": (3, 2)}, {"pings": -1}, {"padding": -1}],
)
def test_options_out_of_range_raise_a_value_error(options: dict[str, object]) -> None:
    message = read(body(*HELLO)).final_message()
    with pytest.raises(ValueError, match="delta_characters must be at least 1"):
        encode_stream(message, **options)  # type: ignore[arg-type]  # wrong values, on purpose
