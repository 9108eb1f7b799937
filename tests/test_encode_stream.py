"""A whole message written as a stream folds to the same message, and nothing is invented."""

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
    """A machine that has taken a body as far as it goes."""
    machine = StreamMachine()
    try:
        for _ in machine.receive_data(data):
            pass
        for _ in machine.receive_eof():
            pass
    except ProtocolError:
        pass
    return machine


def folded_again(message: Message, seed: int = 0) -> Message | None:
    """What comes of a message that is written and read."""
    return read(encode_stream(message, seed=seed)).snapshot


@given(messages(), st.integers(0, 99))
def test_a_written_message_is_read_as_the_same_message_without_a_violation(
    message: Message, seed: int
) -> None:
    machine = read(encode_stream(message, seed=seed))
    assert machine.final_message() == message
    assert (machine.verdict, machine.violations) == (Verdict.COMPLETE, ())


@given(scripts())
def test_every_snapshot_of_a_script_is_written_and_read_as_the_same(script: Script) -> None:
    machine = StreamMachine()
    for event in script:
        for _ in machine.receive_event(event.to_dict()):
            snapshot = machine.snapshot
            assert snapshot is None or folded_again(snapshot) == snapshot


def test_every_final_message_of_the_captures_is_written_and_read_as_the_same() -> None:
    for suffix in (".sse", ".jsonl"):
        for capture in shared_data.captures(suffix):
            message = read(parse_capture(capture.body).body).snapshot
            if message is not None:
                assert folded_again(message) == message, capture.file
                shared_data.ran(f"captures/*{suffix}")


def test_every_last_snapshot_of_the_vectors_is_written_and_read_as_the_same() -> None:
    for row in shared_data.load("vectors/messages.jsonl"):
        message = read(b"".join(map(b64decode, row["chunks_b64"]))).snapshot
        if message is not None:
            assert folded_again(message) == message, row["name"]
            shared_data.ran("vectors/messages.jsonl")


def test_a_message_that_was_not_streamed_is_written_and_read_as_the_same() -> None:
    payload = {**vocabulary.MESSAGE, "model": "claude-b"}  # as its fallback block says
    # What the blocks hold is all there is: an input that is an object is whole.
    message = message_from_dict(payload)
    assert message.complete
    assert folded_again(message) == message
    assert folded_again(message_from_dict({})) == message_from_dict({})


@given(vocabulary.mutated(vocabulary.MESSAGE))
def test_whatever_stands_in_a_message_its_other_members_survive(payload: dict[str, object]) -> None:
    message = message_from_dict(payload)
    assume(all(isinstance(block.to_dict().get("type"), str) for block in message.content))
    again = folded_again(message)
    assert again is not None
    # A content of another type is lost, and so is one of a block: that is no whole message.
    is_odd = "content" in wrong_types(message) or any(map(wrong_types, message.content))
    assert again.complete == message.complete or (is_odd and not again.complete)
    assert [block.type for block in again.content] == [block.type for block in message.content]


@pytest.mark.parametrize("count", range(1, len(HELLO) + 1))
def test_a_message_without_its_end_is_written_without_one(count: int) -> None:
    message = read(body(*HELLO[:count])).snapshot
    assert message is not None
    data = encode_stream(message)
    assert (b"message_stop" in data) == message.complete
    assert (b"message_delta" in data) == (message.stop_reason is not None)
    assert read(data).verdict is read(body(*HELLO[:count])).verdict


def test_a_message_that_ended_without_a_stop_reason_gets_none() -> None:
    message = read(body(HELLO[0], HELLO[-1])).final_message()
    assert (message.complete, message.stop_reason) == (True, None)
    assert folded_again(message) == message


@pytest.mark.parametrize(
    "pieces",
    [['{"q": 1'], ["{'q': 1}"], ['{"q": 1}{"q": 2}'], ["[1]"], [" "], [""], []],
    ids=repr,
)
@pytest.mark.parametrize("is_stopped", [True, False])
def test_a_broken_tool_input_stays_broken(pieces: list[str], *, is_stopped: bool) -> None:
    stop = [{"type": "content_block_stop", "index": 0}] if is_stopped else []
    script = [message_start(), tool_start(0), *(json_piece(0, piece) for piece in pieces), *stop]
    message = read(body(*script)).snapshot
    assert message is not None
    again = folded_again(message)
    assert again is not None
    assert again == message
    (block,), (block_again,) = message.content, again.content
    assert isinstance(block, ToolUseBlock)
    assert isinstance(block_again, ToolUseBlock)
    assert block_again.input_state == block.input_state
    assert block_again.input_json == block.input_json


def test_an_input_that_was_sent_whole_and_is_no_object_is_written_as_it_was_sent() -> None:
    message = read(body(message_start(), tool_start(0, input="?"), HELLO[5])).snapshot
    assert message is not None
    again = folded_again(message)
    assert again is not None
    assert again == message
    assert isinstance(again.content[0], ToolUseBlock)
    assert (again.content[0].input_state, again.content[0].partial_input) == ("invalid", "?")


def test_halves_of_a_character_that_came_apart_stay_apart() -> None:
    message = read(body(*HELLO[:2], text(0, "\ud83d"), text(0, "\ude00"), HELLO[5])).snapshot
    assert message is not None
    assert folded_again(message) == message


@given(messages(), SIZES)
def test_the_deltas_are_as_large_as_they_were_asked_for(message: Message, sizes: list[int]) -> None:
    for event in events_from_message(message, itertools.cycle(sizes)):
        if isinstance(event, ContentBlockDeltaEvent) and isinstance(event.delta, TextDelta):
            assert len(event.delta.text) <= max(sizes)


@given(messages(blocks=["text"], having=["text", "tool_use"]))
def test_where_no_sizes_are_left_the_rest_of_a_text_comes_in_one_delta(message: Message) -> None:
    deltas = [
        event.delta
        for event in events_from_message(message, [])
        if isinstance(event, ContentBlockDeltaEvent)
    ]
    texts = [delta.text for delta in deltas if isinstance(delta, TextDelta)]
    assert texts == [block.text for block in message.content if block.type == "text" and block.text]
    # The first delta of an input is empty, as the API's is.
    inputs = [delta.partial_json for delta in deltas if isinstance(delta, InputJSONDelta)]
    assert inputs[0] == ""
    assert json.loads(inputs[1])["q"]


@given(messages(), SIZES)
def test_the_events_of_a_message_are_what_a_machine_reads_of_them(
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
def test_pings_and_padding_are_as_many_as_was_asked_for_and_change_nothing(
    message: Message, delta_characters: tuple[int, int], pings: int, padding: int, seed: int
) -> None:
    how = {"delta_characters": delta_characters, "pings": pings, "padding": padding, "seed": seed}
    data = encode_stream(message, **how)  # type: ignore[arg-type]  # a dict has one type of values
    assert data == encode_stream(message, **how)  # type: ignore[arg-type]  # likewise
    assert data.count(b'event: ping\ndata: {"type": "ping"') == pings
    assert read(data).final_message() == message
    lines = [line for line in data.split(b"\n") if line.startswith(b"data: ")]
    assert all(len(line) - len(line[:-1].rstrip(b" ")) - 1 <= padding for line in lines)


def test_a_negative_size_of_a_delta_is_refused() -> None:
    message = read(body(*HELLO)).final_message()
    with pytest.raises(ValueError, match="negative number, but has -"):
        list(events_from_message(message, [2, -1]))


def test_another_seed_writes_other_bytes() -> None:
    message = read(body(*HELLO)).final_message()
    assert len({encode_stream(message, seed=seed) for seed in range(20)}) > 15


@pytest.mark.parametrize(
    "how",
    [{"delta_characters": (0, 3)}, {"delta_characters": (3, 2)}, {"pings": -1}, {"padding": -1}],
)
def test_numbers_out_of_range_are_refused(how: dict[str, object]) -> None:
    message = read(body(*HELLO)).final_message()
    with pytest.raises(ValueError, match="delta_characters must be at least 1"):
        encode_stream(message, **how)  # type: ignore[arg-type]  # wrong values, on purpose
