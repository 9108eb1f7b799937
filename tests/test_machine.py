"""The guarantees of the machine.

Most tests generate a script of payloads and cut its body into chunks.
"""

import copy
import enum
import gc
import json
import pickle
from collections.abc import Callable
from types import FunctionType, ModuleType
from typing import Any, Final

import pytest
from hypothesis import given, strategies as st

import vocabulary
from sansio_stream import (
    APIError,
    APIStatusError,
    ContentBlockStopEvent,
    ErrorEvent,
    IncompleteMessageError,
    LimitError,
    Limits,
    Message,
    MessageStopEvent,
    MessageStreamEvent,
    NotAnEventStreamError,
    OverloadedError,
    PingEvent,
    ProtocolError,
    State,
    StreamMachine,
    TextBlock,
    ToolUseBlock,
    Verdict,
    ViolationCode,
    encode_event,
)
from sansio_stream.partial_json import InvalidJSONError, loads
from sansio_stream.reading import measured
from wire import (
    HELLO,
    MESSAGE_STOP,
    OVERLOADED,
    PING,
    at_random,
    block_start,
    block_stop,
    body,
    delta,
    frame,
    in_bytes,
    json_piece,
    message_delta,
    message_start,
    run,
    text,
    tool_start,
)

# Scripts: lists of payloads in any order. Most payloads have a type of the protocol, and many are
# invalid.

INDEXES: Final = st.sampled_from([0, 0, 0, 1, 1, 2, 5, -1, 10_000, True, "0", None])
WORDS: Final = st.text(st.sampled_from('ab {}[]":,1\\\n\u2028é🎉'), max_size=6)
BLOCKS: Final[st.SearchStrategy[Any]] = st.sampled_from(
    [
        {"type": "text", "text": ""},
        {"type": "text", "text": "given", "citations": []},
        {"type": "thinking", "thinking": "", "signature": ""},
        {"type": "tool_use", "id": "toolu_1", "name": "lookup", "input": {}},
        {"type": "tool_use", "id": "toolu_2", "name": "lookup", "input": {"given": 1}},
        {"type": "tool_use", "id": "toolu_3", "name": "lookup"},
        {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": "?"},
        {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []},
        {"type": "compaction", "content": None},
        {"type": "fallback", "from": {"model": "a"}, "to": {"model": "b"}},
        {"type": "hologram", "frames": [], "input": None},
        {"text": "no type"},
        None,
    ]
)
DELTAS: Final[st.SearchStrategy[Any]] = st.one_of(
    st.builds(lambda words: {"type": "text_delta", "text": words}, WORDS),
    st.builds(lambda words: {"type": "thinking_delta", "thinking": words}, WORDS),
    st.builds(lambda words: {"type": "input_json_delta", "partial_json": words}, WORDS),
    st.builds(lambda words: {"type": "signature_delta", "signature": words}, WORDS),
    st.sampled_from(
        [
            {"type": "text_delta"},
            {"type": "thinking_delta", "thinking": "hm", "signature": "s"},
            {"type": "citations_delta", "citation": {"type": "char_location", "cited_text": "c"}},
            {"type": "compaction_delta", "content": "sum", "encrypted_content": None},
            {"type": "sparkle_delta", "sparkle": "*"},
            {},
            3,
        ]
    ),
)
PAYLOADS: Final[st.SearchStrategy[dict[str, Any]]] = st.one_of(
    st.builds(block_start, INDEXES, BLOCKS),
    st.builds(
        lambda index, change: {"type": "content_block_delta", "index": index, "delta": change},
        INDEXES,
        DELTAS,
    ),
    st.builds(block_stop, INDEXES),
    st.sampled_from(
        [
            message_start(),
            message_start("msg_2"),
            message_start(content=[{"type": "text", "text": "x"}], stop_reason="end_turn"),
            message_delta(),
            message_delta(None),
            message_delta("tool_use", usage={"output_tokens": 0, "photons": 4}),
            {"type": "message_delta", "delta": 5},
            MESSAGE_STOP,
            PING,
            OVERLOADED,
            {"type": "weather_report", "sky": "blue"},
            {"code": 500, "message": "no"},
            {},
        ]
    ),
)
# Most scripts begin with a message_start, because without one the machine ignores the other events.
SCRIPTS: Final = st.builds(
    lambda start, rest: [*start, *rest],
    st.sampled_from([[message_start()], [message_start(), block_start(0)], []]),
    st.lists(PAYLOADS, max_size=14),
)


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """Draw the body of a script.

    Line ends, event names and JSON style vary. Some bodies have invalid lines between the frames,
    and half of the bodies end early.
    """
    end = draw(st.sampled_from(["\n", "\n", "\r\n", "\r"]))
    pieces: list[bytes] = []
    for payload in draw(SCRIPTS):
        kind = payload.get("type")
        name = draw(st.sampled_from([kind, kind, kind, None, "ping", "error", "message_stop", ""]))
        data = json.dumps(payload, ensure_ascii=draw(st.booleans()))
        head = f"event: {name}{end}" if name is not None else ""
        pieces.append(f"{head}data: {data}{end}{end}".encode())
    junk = [
        b": hi\n\n",
        b"data: [DONE]\n\n",
        b"oops\n",
        b"data: {\n\n",
        b"\xff\xfe\n",
        b"id: 1\n\n",
    ]
    for piece in draw(st.lists(st.sampled_from(junk), max_size=2)):
        pieces.insert(draw(st.integers(0, len(pieces))), piece)
    whole = b"".join(pieces)
    return whole[: draw(st.integers(0, len(whole)))] if draw(st.booleans()) else whole


LIMITS: Final = st.sampled_from(
    [
        None,
        None,
        Limits(event_bytes=150),
        Limits(total_bytes=300),
        Limits(block_bytes=120),
        Limits(blocks=2),
        Limits(depth=3),
        Limits(violations=2),
    ]
)

# Chunking never matters.


@given(bodies(), st.booleans(), LIMITS, st.integers(0, 2**32))
def test_the_result_does_not_depend_on_how_the_body_is_cut(
    stream: bytes, strict: bool, limits: Limits | None, seed: int
) -> None:
    _, whole = run([stream], strict=strict, limits=limits, observe=True)
    for chunks in (in_bytes(stream), at_random(stream, seed)):
        for late in (False, True):
            _, result = run(chunks, strict=strict, limits=limits, observe=True, consume_late=late)
            assert result == whole


@given(st.lists(st.binary(max_size=40), max_size=6), st.booleans())
def test_the_machine_raises_only_documented_exceptions(chunks: list[bytes], strict: bool) -> None:
    machine, outcome = run(chunks, strict=strict)
    assert outcome.verdict is not Verdict.PENDING
    try:
        machine.final_message()
    except APIError as error:
        assert error.verdict is machine.verdict
        pickle.loads(pickle.dumps(error))


# The snapshot agrees with the events.


@given(bodies())
def test_a_new_machine_that_reads_the_events_so_far_has_the_same_snapshot(stream: bytes) -> None:
    machine, outcome = run([stream], observe=True)
    again = StreamMachine()
    for event, observed in zip(outcome.events, outcome.observations, strict=True):
        assert list(again.receive_data(encode_event(event))) == [event]
        # The first machine ignores content that it rejects. The events do not contain this content,
        # so the snapshots may differ after a loss.
        assert again.snapshot == observed.snapshot or machine.first_loss is not None


@given(bodies())
def test_a_returned_event_or_snapshot_never_changes(stream: bytes) -> None:
    machine = StreamMachine()
    kept: list[tuple[Any, bytes]] = []
    try:
        for event in machine.receive_data(stream):
            kept.extend((value, pickle.dumps(value)) for value in (event, machine.snapshot))
    except ProtocolError:
        pass
    for value, pickled in kept:
        assert value == pickle.loads(pickled)


@given(bodies(), st.data())
def test_the_partial_input_of_an_older_snapshot_does_not_change(
    stream: bytes, data: st.DataObject
) -> None:
    machine = StreamMachine()
    seen: list[tuple[Any, Any, str]] = []
    try:
        for _ in machine.receive_data(stream):
            for block in machine.snapshot.content if machine.snapshot else ():
                if isinstance(block, ToolUseBlock):
                    is_read = data.draw(st.booleans())
                    value = copy.deepcopy(block.partial_input) if is_read else ...
                    seen.append((block, value, block.input_json))
    except ProtocolError:
        pass
    for block, value, raw in seen:
        assert block.input_json == raw
        assert value is ... or block.partial_input == value


# The order of events does not depend on how the iterators are used.


@given(bodies(), st.data())
def test_a_new_iterator_continues_after_an_abandoned_one(
    stream: bytes, data: st.DataObject
) -> None:
    _, whole = run([stream])
    machine = StreamMachine()
    events: list[MessageStreamEvent] = []
    try:
        for chunk in at_random(stream):
            iterator = machine.receive_data(chunk)
            for _ in range(data.draw(st.integers(0, 2))):
                events.extend(event for event in [next(iterator, None)] if event is not None)
        events.extend(machine.receive_data(b""))
        events.extend(machine.receive_eof())
    except ProtocolError:
        pass
    assert tuple(events) == whole.events
    assert machine.violations == whole.violations
    assert machine.verdict is whole.verdict


@given(bodies(), st.data())
def test_a_machine_that_is_pickled_or_copied_in_mid_stream_has_the_same_results(
    stream: bytes, data: st.DataObject
) -> None:
    _, whole = run([stream])
    machine = StreamMachine()
    events: list[MessageStreamEvent] = []
    duplicate = through_pickle if data.draw(st.booleans()) else through_deepcopy
    try:
        for chunk in at_random(stream):
            iterator = machine.receive_data(chunk)
            events.extend(event for event in [next(iterator, None)] if event is not None)
            machine = duplicate(machine)
            events.extend(machine.receive_data(b""))
        machine = duplicate(machine)
        events.extend(machine.receive_eof())
    except ProtocolError:
        machine = duplicate(machine)
        with pytest.raises(ProtocolError):
            machine.receive_eof()
    assert tuple(events) == whole.events
    assert (machine.violations, machine.verdict) == (whole.violations, whole.verdict)
    assert machine.snapshot == whole.snapshot


def test_bytes_are_received_at_once_and_events_are_applied_when_they_are_taken() -> None:
    machine = StreamMachine()
    stream = body(*HELLO)
    iterator = machine.receive_data(stream)
    assert (machine.bytes_received, machine.events_taken) == (len(stream), 0)
    before = machine.snapshot
    next(iterator)
    snapshot = machine.snapshot
    assert before is None
    assert snapshot is not None
    assert snapshot.content == ()
    assert (machine.events_taken, machine.event_number, machine.byte_offset) == (1, 1, 0)
    next(iterator)
    assert machine.block(0) is not None
    assert machine.byte_offset == len(frame(HELLO[0]))


def test_the_caller_may_reuse_a_bytearray_after_receive_data() -> None:
    stream = body(*HELLO)
    for kind in (bytearray, memoryview):
        buffer = bytearray(stream)
        machine = StreamMachine()
        iterator = machine.receive_data(kind(buffer))
        buffer[:] = b"x" * len(buffer)
        assert len(list(iterator)) == len(HELLO)
        assert type(machine.final_message().id) is str


def test_a_snapshot_is_the_same_object_until_something_changes() -> None:
    machine = StreamMachine()
    for event in machine.receive_data(body(*HELLO)):
        first, second = machine.snapshot, machine.snapshot
        assert first is second
        if isinstance(event, PingEvent):
            assert first is not None
    assert machine.block(0) is machine.block(0)
    assert machine.block(1) is None


def test_payloads_and_bytes_keep_their_order() -> None:
    machine = StreamMachine()
    machine.receive_data(body(HELLO[0]))
    machine.receive_event(HELLO[1])
    machine.receive_data(body(HELLO[3]))
    machine.receive_event(HELLO[4])
    assert [event.type for event in machine.receive_eof()] == [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_delta",
    ]


@given(SCRIPTS)
def test_a_payload_has_the_same_result_as_its_frame(script: list[dict[str, Any]]) -> None:
    machine, outcome = run(script)
    framed = b"".join(frame(payload, "") for payload in script)
    _, by_frames = run([framed])
    without = [v.code for v in by_frames.violations if v.code != "missing_event_name"]
    assert [violation.code for violation in outcome.violations] == without
    assert outcome.events == by_frames.events
    assert outcome.snapshot == by_frames.snapshot
    assert machine.byte_offset is None


# Errors.


def test_a_fatal_error_is_raised_after_the_events_before_it_and_by_each_later_call() -> None:
    broken = b'event: content_block_delta\ndata: {"type": "content_block\n\n'
    machine = StreamMachine()
    iterator = machine.receive_data(body(*HELLO[:4]) + broken + body(*HELLO[4:]))
    events = [next(iterator) for _ in HELLO[:4]]
    assert [event.type for event in events] == [payload["type"] for payload in HELLO[:4]]
    with pytest.raises(ProtocolError) as first:
        next(iterator)
    assert first.value.code == "undecodable_payload"
    assert first.value.event_number == 5
    assert first.value.byte_offset == len(body(*HELLO[:4]))
    assert first.value.raw == '{"type": "content_block'
    assert first.value.position == 23
    with pytest.raises(InvalidJSONError) as invalid:
        loads(first.value.raw)
    assert str(first.value).startswith(
        f"the data of content_block_delta cannot be read: {invalid.value.reason}"
    )
    assert first.value.partial_message == machine.snapshot
    assert first.value.content_emitted
    assert (machine.state, machine.verdict) == (State.FAILED, Verdict.BROKEN)
    calls: list[Any] = [
        lambda: machine.receive_data(b""),
        lambda: machine.receive_event({}),
        machine.receive_eof,
        machine.final_message,
    ]
    for call in calls:
        with pytest.raises(ProtocolError) as again:
            call()
        assert again.value is not machine.error
        assert vars(again.value) == vars(first.value)
    assert list(machine.connection_lost(OSError())) == []
    assert list(iterator) == []
    assert isinstance(machine.error, ProtocolError)
    assert vars(machine.error) == vars(first.value)
    assert machine.error.__traceback__ is None  # it would keep the caller's local variables alive
    assert machine.snapshot == first.value.partial_message


def test_content_emitted_is_true_from_the_first_block_on() -> None:
    broken = b"event: message_stop\ndata: 5\n\n"
    for count, emitted in ((1, False), (2, True)):
        _, outcome = run([body(*HELLO[:count]) + broken])
        assert f"'content_emitted': {emitted}" in outcome.error


def test_an_older_iterator_raises_the_error_too() -> None:
    machine = StreamMachine()
    stale = machine.receive_data(body(message_start()) + b"event: message_stop\ndata: \n\n")
    next(stale)
    with pytest.raises(ProtocolError):
        list(machine.receive_data(b""))
    with pytest.raises(ProtocolError):
        list(stale)
    assert list(stale) == []


def test_data_after_the_end_raises_an_error_and_a_second_end_does_not() -> None:
    machine = StreamMachine()
    machine.receive_eof()
    assert list(machine.receive_eof()) == []
    assert list(machine.connection_lost(OSError("gone"))) == []
    with pytest.raises(RuntimeError, match="receive_data was called after the end"):
        machine.receive_data(b"x")
    with pytest.raises(RuntimeError, match="receive_event was called after the end"):
        machine.receive_event({})
    assert machine.verdict is Verdict.EMPTY


@pytest.mark.parametrize("wrong", ["text", 5, None, [b"x"]])
def test_an_argument_of_the_wrong_type_raises_a_type_error(wrong: Any) -> None:
    machine = StreamMachine()
    with pytest.raises(TypeError):
        machine.receive_data(wrong)
    with pytest.raises(TypeError):
        machine.receive_event(wrong)
    assert machine.bytes_received == 0


def test_an_error_event_ends_the_stream_and_only_final_message_raises_it() -> None:
    machine, outcome = run([body(*HELLO[:4], OVERLOADED, *HELLO[4:])])
    error = outcome.events[-1]
    assert isinstance(error, ErrorEvent)
    assert machine.error is error
    assert outcome.verdict is Verdict.ERRORED
    assert {violation.code for violation in outcome.violations} == {"after_error"}
    with pytest.raises(OverloadedError, match="Overloaded") as raised:
        machine.final_message()
    assert (raised.value.status_code, raised.value.http_status) == (529, 200)
    assert raised.value.type == "overloaded_error"
    assert raised.value.body == OVERLOADED
    assert raised.value.content_emitted
    assert raised.value.partial_message == machine.snapshot
    assert raised.value.verdict is Verdict.ERRORED


@pytest.mark.parametrize(
    ("data", "status", "message"),
    [
        ('{"code":503,"message":"busy","type":"server_error"}', 503, "busy"),
        ('{"type":"error","error":"plain"}', 500, "plain"),
        ("upstream connect error", 500, "upstream connect error"),
        ("", 500, "the server sent an error"),
        ('{"type":"error","error":{"type":"new_error","message":"m"}}', 500, "m"),
        ('{"type":"error","error":{"type":"overloaded_error","message":"m"},"code":500}', 529, "m"),
        ('{"error":{"code":404,"message":"m","type":"lost"}}', 404, "m"),
        ('{"type":"error","error":{"type":"rate_limit_error","message":"slow"}}', 429, "slow"),
    ],
)
def test_an_error_event_with_any_data_is_raised_by_final_message(
    data: str, status: int, message: str
) -> None:
    machine, _ = run([f"event: error\ndata: {data}\n\n".encode()])
    with pytest.raises(APIStatusError) as raised:
        machine.final_message()
    assert (raised.value.status_code, raised.value.message) == (status, message)
    assert not raised.value.content_emitted


# The verdict.


@pytest.mark.parametrize(
    ("stream", "verdict", "error"),
    [
        (body(*HELLO), Verdict.COMPLETE, None),
        (body(*HELLO[:-1]), Verdict.UNTERMINATED, None),
        (body(*HELLO[:-2]), Verdict.TRUNCATED, IncompleteMessageError),
        (body(*HELLO)[:-3], Verdict.UNTERMINATED, None),
        (body(*HELLO)[:-2], Verdict.COMPLETE, None),
        (b"", Verdict.EMPTY, IncompleteMessageError),
        (b" ", Verdict.NOT_AN_EVENT_STREAM, NotAnEventStreamError),
        (b"\n\n: hello\n\n", Verdict.EMPTY, IncompleteMessageError),
        (b"eve", Verdict.EMPTY, IncompleteMessageError),
        (b"\xef\xbb", Verdict.EMPTY, IncompleteMessageError),
        (b"Bad gateway\nevent: x", Verdict.NOT_AN_EVENT_STREAM, NotAnEventStreamError),
        (b"Bad gateway\nretry", Verdict.NOT_AN_EVENT_STREAM, NotAnEventStreamError),
        (body(PING, {"type": "new"}), Verdict.EMPTY, IncompleteMessageError),
        (body(OVERLOADED), Verdict.ERRORED, OverloadedError),
        (body(*HELLO[:3], message_start("x")), Verdict.BROKEN, ProtocolError),
        (b"<html>\n", Verdict.NOT_AN_EVENT_STREAM, NotAnEventStreamError),
        (b'{"type":"error"}', Verdict.NOT_AN_EVENT_STREAM, NotAnEventStreamError),
    ],
)
@pytest.mark.parametrize("strict", [False, True])
def test_each_kind_of_end_has_its_verdict(
    stream: bytes, verdict: Verdict, error: type[APIError] | None, strict: bool
) -> None:
    if strict and stream.endswith(b"}"):
        verdict, error = (
            (verdict, error)
            if verdict is Verdict.NOT_AN_EVENT_STREAM
            else (Verdict.BROKEN, ProtocolError)
        )
    elif strict and verdict is Verdict.UNTERMINATED:
        error = IncompleteMessageError
    machine, outcome = run([stream], strict=strict)
    assert outcome.verdict is verdict
    if error is None:
        assert machine.final_message() is machine.snapshot
    else:
        for _ in range(2):
            with pytest.raises(error):
                machine.final_message()


@given(bodies(), st.integers(0, 2**32), st.booleans())
def test_a_verdict_never_changes(stream: bytes, seed: int, strict: bool) -> None:
    machine = StreamMachine(strict=strict)
    verdict = Verdict.PENDING
    try:
        for iterator in (
            *map(machine.receive_data, at_random(stream, seed)),
            machine.receive_eof(),
        ):
            for _ in iterator:
                assert verdict in (Verdict.PENDING, machine.verdict)
                verdict = machine.verdict
    except ProtocolError:
        pass
    assert verdict in (Verdict.PENDING, machine.verdict)


@given(bodies(), st.data())
def test_a_cut_stream_is_never_complete(stream: bytes, data: st.DataObject) -> None:
    end = data.draw(st.integers(0, len(stream)))
    machine, outcome = run([stream[:end]])
    stopped = any(isinstance(event, MessageStopEvent) for event in outcome.events)
    assert (outcome.verdict is Verdict.COMPLETE) == (stopped and machine.first_loss is None)
    if outcome.verdict not in (Verdict.COMPLETE, Verdict.UNTERMINATED):
        with pytest.raises(APIError):
            machine.final_message()


def test_the_error_of_a_cut_message_names_no_cause_that_is_not_known() -> None:
    machine, _ = run([message_start()])
    with pytest.raises(IncompleteMessageError) as raised:
        machine.final_message()
    assert str(raised.value) == Verdict.TRUNCATED.value


def test_a_lost_connection_after_message_stop_changes_nothing() -> None:
    machine = StreamMachine()
    list(machine.receive_data(body(*HELLO)))
    assert machine.verdict is Verdict.COMPLETE
    list(machine.connection_lost(ConnectionResetError("gone")))
    assert machine.final_message().complete


def test_an_error_after_a_complete_message_keeps_the_message() -> None:
    machine = StreamMachine(limits=Limits(event_bytes=400))
    with pytest.raises(LimitError):
        list(machine.receive_data(body(*HELLO) + b"data: " + b"x" * 400))
    assert machine.verdict is Verdict.COMPLETE
    assert machine.final_message().stop_reason == "end_turn"


def test_a_lost_connection_is_named_in_the_error() -> None:
    machine = StreamMachine()
    machine.receive_data(body(*HELLO[:4]))
    machine.connection_lost(ConnectionResetError(104, "reset by peer"))
    with pytest.raises(IncompleteMessageError, match="reset by peer") as raised:
        machine.final_message()
    assert isinstance(raised.value, RuntimeError)
    assert raised.value.verdict is Verdict.TRUNCATED
    assert raised.value.partial_message is machine.snapshot


def test_final_message_before_the_end_applies_the_received_events_and_raises() -> None:
    machine = StreamMachine()
    machine.receive_data(body(*HELLO[:4]))
    with pytest.raises(IncompleteMessageError, match="the stream has not ended yet"):
        machine.final_message()
    assert machine.events_taken == 4
    machine.receive_data(body(*HELLO[4:]))
    message = machine.final_message()
    (block,) = message.content
    assert block == TextBlock("Hello, wörld 🎉")
    assert message.complete


def test_final_message_reads_the_remaining_frames_and_detects_their_error() -> None:
    for stream, complete in ((body(*HELLO[:3]), False), (body(*HELLO), True)):
        machine = StreamMachine()
        machine.receive_data(stream + b"event: message_start\ndata: \n\n")
        if complete:
            assert machine.final_message().complete
        else:
            with pytest.raises(ProtocolError):
                machine.final_message()
        assert isinstance(machine.error, ProtocolError)


def test_the_error_quotes_a_body_that_is_not_an_event_stream() -> None:
    machine, _ = run(in_bytes(b"<html><body>502 Bad Gateway</body></html>" * 100))
    with pytest.raises(NotAnEventStreamError, match="502 Bad Gateway") as raised:
        machine.final_message()
    assert raised.value.raw.startswith("<html>")
    assert len(raised.value.raw) == 1024


# The end of the bytes.


def test_a_last_frame_without_its_blank_line_is_an_event_if_its_json_is_complete() -> None:
    for cut in (1, 2):
        machine, outcome = run([body(*HELLO)[:-cut]])
        (violation,) = outcome.violations
        assert (violation.code, violation.event_number) == ("unterminated_frame", len(HELLO))
        assert violation.byte_offset == len(body(*HELLO[:-1]))
        assert violation.excerpt == json.dumps(HELLO[-1])
        assert machine.final_message().complete


def test_a_last_frame_whose_json_is_cut_is_reported_and_is_not_fatal_even_if_strict() -> None:
    for strict in (False, True):
        _, outcome = run([body(*HELLO[:4]) + frame(HELLO[4])[:-9]], strict=strict)
        (violation,) = outcome.violations
        assert violation.code is ViolationCode.CUT_FRAME
        assert violation.event_number == 5
        assert violation.byte_offset == len(body(*HELLO[:4]))
        assert outcome.verdict is Verdict.TRUNCATED


def test_a_character_that_is_cut_at_the_end_is_not_invalid_utf8() -> None:
    stream = 'oops\n\ndata: {"é'.encode()[:-1]
    _, outcome = run([body(*HELLO[:3]) + stream])
    assert [violation.code for violation in outcome.violations] == ["unknown_field", "cut_frame"]


def test_invalid_utf8_before_the_cut_is_reported() -> None:
    _, outcome = run([b'event: ping\xff\ndata: {"ty'])
    assert [violation.code for violation in outcome.violations] == ["invalid_utf8", "cut_frame"]


def test_a_cut_frame_is_reported_with_its_byte_offset() -> None:
    machine, outcome = run([body(PING) + b'data: {"ty'])
    assert machine.byte_offset == outcome.violations[0].byte_offset == len(body(PING))


def test_a_cut_frame_that_is_too_deep_raises_a_limit_error() -> None:
    machine, _ = run([b'data: {"a": [[[['], limits=Limits(depth=3))
    assert isinstance(machine.error, LimitError)


def test_violations_before_a_limit_error_are_reported() -> None:
    stream = b"junk\n\ndata: " + b"x" * 100
    for chunks in ([stream], in_bytes(stream)):
        machine, outcome = run(chunks, limits=Limits(event_bytes=50))
        assert isinstance(machine.error, LimitError)
        assert [violation.excerpt for violation in outcome.violations] == ["junk"]
        machine, outcome = run(chunks, limits=Limits(event_bytes=50), strict=True)
        assert "unknown_field" in outcome.error


def test_strict_mode_does_not_depend_on_the_limit_of_kept_violations() -> None:
    for kept in (0, 1, 1_000):
        _, outcome = run([b"foo\n" + body(PING)], strict=True, limits=Limits(violations=kept))
        assert "unknown_field" in outcome.error


def test_a_done_marker_with_or_without_its_blank_line_is_not_an_event() -> None:
    for end in (b"\n\n", b"\n", b""):
        machine, outcome = run([body(*HELLO) + b"data: [DONE]" + end])
        assert len(outcome.events) == len(HELLO)
        assert ViolationCode.DONE_MARKER in {violation.code for violation in outcome.violations}
        assert machine.final_message().complete


def test_a_text_line_that_a_proxy_appends_is_reported_at_the_end() -> None:
    stream = body(*HELLO) + b"upstream error: read ECONNRESET\n"
    _, outcome = run([stream])
    (violation,) = outcome.violations
    assert violation.code is ViolationCode.UNKNOWN_FIELD
    assert violation.excerpt == "upstream error: read ECONNRESET"
    machine, outcome = run([stream], strict=True)
    assert "unknown_field" in outcome.error
    assert machine.verdict is Verdict.COMPLETE


def test_the_error_of_an_error_event_has_its_request_id_and_its_body() -> None:
    details = {"type": "overloaded_error", "message": "Overloaded"}
    payload = {"type": "error", "error": details, "request_id": "req_1"}
    for data, request_id, content in (
        (json.dumps(payload), "req_1", payload),
        ("<html>", None, "<html>"),
    ):
        machine, _ = run([body(*HELLO[:4]) + f"event: error\ndata: {data}\n\n".encode()])
        with pytest.raises(APIStatusError) as caught:
            machine.final_message()
        assert (caught.value.request_id, caught.value.body) == (request_id, content)


def test_the_error_of_a_lost_connection_says_why_it_was_lost() -> None:
    machine = StreamMachine()
    list(machine.receive_data(body(*HELLO[:4])))
    list(machine.connection_lost(OSError("reset by peer")))
    with pytest.raises(IncompleteMessageError) as caught:
        machine.final_message()
    assert str(caught.value) == f"{Verdict.TRUNCATED.value}: {OSError('reset by peer')!r}"


# Limits.


def through_pickle(machine: StreamMachine) -> StreamMachine:
    restored: StreamMachine = pickle.loads(pickle.dumps(machine))
    return restored


def through_deepcopy(machine: StreamMachine) -> StreamMachine:
    return copy.deepcopy(machine)


def nested(depth: int) -> dict[str, Any]:
    value: Any = 1
    for _ in range(depth - 1):
        value = [value]
    return {"type": "ping", "nest": value}


@pytest.mark.parametrize(
    ("limits", "fits", "exceeds", "name"),
    [
        (Limits(depth=6), [nested(6)], [nested(7)], "depth"),
        (
            Limits(blocks=2),
            [message_start(), block_start(0), block_start(1)],
            [message_start(), block_start(0), block_start(1), block_start(1)],
            "blocks",
        ),
        (
            Limits(blocks=1),
            [message_start(content=[{"type": "text"}])],
            [message_start(content=[{"type": "text"}] * 2)],
            "blocks",
        ),
        (
            Limits(block_bytes=350),
            [message_start(), block_start(0), text(0, "x" * 100)],
            [message_start(), block_start(0), text(0, "x" * 100), text(0, "y" * 100)],
            "block_bytes",
        ),
        (Limits(event_bytes=400), [message_start()], [message_start("x" * 400)], "event_bytes"),
    ],
)
def test_a_limit_is_exact_and_its_error_names_it(
    limits: Limits, fits: list[Any], exceeds: list[Any], name: str
) -> None:
    for as_frames in (True, False):
        assert run([body(*fits)] if as_frames else fits, limits=limits)[1].error == ""
        machine, outcome = run([body(*exceeds)] if as_frames else exceeds, limits=limits)
        assert isinstance(machine.error, LimitError)
        assert (machine.error.limit, machine.error.code) == (name, name)
        assert machine.error.maximum == getattr(limits, name)
        assert str(machine.error.maximum) in str(machine.error)
        assert machine.error.event_number == len(exceeds)
        assert (machine.error.byte_offset is None) == (not as_frames)
        assert outcome.verdict is Verdict.BROKEN


def test_the_error_of_a_frame_that_is_too_deep_shows_where() -> None:
    before, after = '{"type": "ping", "nest": [[', "[[1]]]]}"
    machine, _ = run([f"data: {before}{after}\n\n".encode()], limits=Limits(depth=3))
    assert isinstance(machine.error, LimitError)
    assert (machine.error.position, machine.error.raw) == (len(before), before + after)


def test_an_array_as_deep_as_the_limit_is_reported_as_what_it_is() -> None:
    array = "[" * 600 + "]" * 600
    frame = f"event: message_start\ndata: {array}\n\n".encode()
    machine, _ = run([frame], limits=Limits(depth=600))
    assert type(machine.error) is ProtocolError
    assert str(machine.error).startswith("the data of message_start cannot be read: not a JSON obj")


def size_and_depth_of(value: Any) -> tuple[int, int]:
    """Return the size and the depth of a JSON value, by their definition in `Payload`."""
    if isinstance(value, str):
        return len(value), 0
    if not isinstance(value, dict | list):
        return 1, 0
    keys, items = (value.keys(), value.values()) if isinstance(value, dict) else ((), value)
    sizes, depths = list(map(len, keys)), [0]
    for item in items:
        size, depth = size_and_depth_of(item)
        sizes.append(size + isinstance(item, dict | list))  # a container counts as 1 by itself
        depths.append(depth)
    return sum(sizes), 1 + max(depths)


class Text(str):
    """A class of the caller that is a JSON string."""

    __slots__ = ()


class Whole(int):
    """A class of the caller that is a JSON number."""


@given(vocabulary.OBJECTS)
def test_the_size_and_the_depth_of_a_payload_are_exact(payload: dict[str, Any]) -> None:
    payload = {**payload, "own": Text("text"), "list": [Whole(2), [Text("x")]]}
    measure = measured(payload, Limits(event_bytes=1_000_000))
    assert (measure.size, measure.depth) == size_and_depth_of(payload)


@pytest.mark.parametrize("inner", ["y", 1, {}])
def test_a_payload_that_fills_its_limit_before_its_last_level_exceeds_it(inner: Any) -> None:
    payload = {"type": "ping", "x": [inner]}
    outer = len("type" + "ping" + "x") + 1
    for limit, fits in ((outer, False), (outer + 1, True)):
        machine, _ = run([payload], limits=Limits(event_bytes=limit))
        assert (machine.error is None) is fits


@pytest.mark.parametrize("piece", [b"x", b"xx\ndata: ", b"\ndata: xx"])
def test_an_event_that_is_too_large_raises_at_the_first_byte_too_many(piece: bytes) -> None:
    machine = StreamMachine(limits=Limits(event_bytes=400))
    beginning = b"data: "
    assert len(list(machine.receive_data(body(*HELLO[:2]) + beginning))) == 2
    for _ in range((400 - len(beginning)) // len(piece)):
        assert list(machine.receive_data(piece)) == []
    with pytest.raises(LimitError) as caught:
        list(machine.receive_data(piece))
    assert caught.value.limit == "event_bytes"
    assert caught.value.byte_offset == len(body(*HELLO[:2]))


def test_total_bytes_limits_the_whole_body() -> None:
    stream = body(*HELLO)
    assert run([stream], limits=Limits(total_bytes=len(stream)))[1].error == ""
    for chunks in ([stream], in_bytes(stream)):
        machine, outcome = run(chunks, limits=Limits(total_bytes=len(stream) - 1))
        assert len(outcome.events) == len(HELLO) - 1
        assert isinstance(machine.error, LimitError)
        assert machine.error.limit == "total_bytes"
        assert machine.error.byte_offset == len(stream) - 1


def test_deep_nesting_never_raises_a_recursion_error() -> None:
    deep = "[" * 100_000 + "]" * 100_000
    for name in ("ping", "weather_report", "content_block_start", ""):
        machine, _ = run([f"event: {name}\ndata: {deep}\n\n".encode()])
        assert isinstance(machine.error, LimitError)
    payload: dict[str, Any] = {"type": "weather_report"}
    payload["itself"] = payload
    machine, _ = run([payload])
    assert isinstance(machine.error, LimitError)


def test_kept_violations_are_bounded_and_all_are_counted() -> None:
    stream = [message_start(), *[block_stop(3)] * 1_500]
    machine, outcome = run([body(*stream)])
    assert len(outcome.violations) == 1_000
    assert machine.violation_count == 1_500
    assert machine.violations[-1].event_number == 1_001
    machine, outcome = run([body(message_start()) + b"oops\n" * 1_500 + b"\n" + body(PING)])
    assert (len(outcome.violations), machine.violation_count) == (1_000, 1_500)
    machine, outcome = run([body(message_start()) + b"oops\n" * 1_500 + b"\n"])
    assert (len(outcome.violations), machine.violation_count) == (1_000, 1_500)
    machine, outcome = run([b"oops\n" * 1_500])
    assert (len(outcome.violations), machine.violation_count) == (1_000, 1_500)


def test_a_violation_quotes_at_most_a_kibibyte() -> None:
    long = text(0, "x" * 5_000)
    (framed,) = run([body(long)])[1].violations
    (bare,) = run([long])[1].violations
    assert len(framed.excerpt) == 1_024
    assert framed.excerpt.startswith('{"type": "content_block_delta"')
    assert 100 < len(bare.excerpt) < 1_024
    assert "text_delta" in bare.excerpt
    assert framed.message == bare.message
    assert framed.code.meaning in framed.message


# Values that a caller may pass to the machine.


@pytest.mark.parametrize(
    "payload", [{1: 2}, {"type": "x", "a": {1: 2}}, {"a": (1,)}, {"a": [{1}]}, {"a": b"x"}]
)
def test_receive_event_raises_a_type_error_for_a_payload_that_is_not_json(payload: Any) -> None:
    machine = StreamMachine()
    with pytest.raises(TypeError):
        machine.receive_event(payload)
    assert list(machine.receive_eof()) == []


def test_the_excerpt_of_a_payload_that_cannot_be_shown_says_so() -> None:
    _, outcome = run([message_start(), block_stop(10**5000)])
    (violation,) = outcome.violations
    assert violation.code is ViolationCode.MALFORMED_EVENT
    assert violation.excerpt == "a payload that cannot be shown"


def test_the_names_of_members_count_towards_the_size_of_a_payload() -> None:
    machine, _ = run([{"type": "ping", "x" * 500: 1}], limits=Limits(event_bytes=400))
    assert isinstance(machine.error, LimitError)


def test_an_exception_whose_repr_raises_is_named_by_its_class() -> None:
    class BadError(Exception):
        def __repr__(self) -> str:
            raise ValueError

    machine = StreamMachine()
    list(machine.connection_lost(BadError()))
    with pytest.raises(IncompleteMessageError, match="BadError"):
        machine.final_message()


# Memory.


def strings_referenced_by(root: Any) -> list[str]:
    """Return all strings that `root` refers to, directly or indirectly.

    References of classes, modules and functions are not followed.
    """
    seen: dict[int, Any] = {}
    waiting = [root]
    while waiting:
        each = waiting.pop()
        if id(each) not in seen and not isinstance(each, type | ModuleType | FunctionType):
            seen[id(each)] = each
            waiting.extend(gc.get_referents(each))
    return [each for each in seen.values() if isinstance(each, str)]


@pytest.mark.parametrize(
    ("start", "make_delta"), [(block_start(0), text), (tool_start(0), json_piece)]
)
def test_a_stopped_block_keeps_no_reference_to_its_pieces(
    start: dict[str, Any], make_delta: Callable[[int, str], dict[str, Any]]
) -> None:
    pieces = [f"{number:050}" for number in range(200)]
    stream = body(message_start(), start, *(make_delta(0, piece) for piece in pieces))
    machine = StreamMachine()
    list(machine.receive_data(stream))
    assert sum(len(each) == 50 for each in strings_referenced_by(machine)) == 200
    list(machine.receive_data(body(block_stop(0))))
    strings = strings_referenced_by(machine)
    assert not any(len(each) == 50 for each in strings)
    assert "".join(pieces) in strings


def test_a_failed_machine_discards_the_data_after_the_error() -> None:
    machine = StreamMachine()
    machine.receive_data(
        b"event: ping\ndata: [\n\n" + body(OVERLOADED) + b"data: " + b"x" * 100_000
    )
    machine.receive_event({"type": "message_start", "message": 5})
    machine.receive_data(b"y" * 100_000)
    with pytest.raises(ProtocolError):
        list(machine.receive_data(body(message_start()) + b"event: message_start\ndata: 5\n\n"))
    assert len(pickle.dumps(machine)) < 6_000


def test_block_bytes_limits_the_message_deltas_too() -> None:
    changes = [message_delta(None, usage={f"counter_{i}": i}) for i in range(50)]
    machine, _ = run([message_start(), *changes], limits=Limits(block_bytes=2_000))
    assert isinstance(machine.error, LimitError)
    assert machine.error.limit == "block_bytes"


def test_a_rejected_delta_does_not_count_towards_block_bytes() -> None:
    stream = [message_start(), block_start(0), block_stop(0), text(0, "x" * 500)]
    _, outcome = run(stream, limits=Limits(block_bytes=100))
    assert [violation.code for violation in outcome.violations] == ["stopped_block"]


# Stop events and strict mode.


def test_a_stop_event_has_the_finished_block_or_message() -> None:
    machine = StreamMachine()
    for event in machine.receive_data(body(*HELLO)):
        if isinstance(event, ContentBlockStopEvent):
            assert event.content_block == TextBlock("Hello, wörld 🎉")
            assert event.content_block is machine.block(0)
        if isinstance(event, MessageStopEvent):
            assert isinstance(event.message, Message)
            assert event.message is machine.snapshot


def test_the_repr_of_a_machine_has_its_state_and_counts() -> None:
    machine, _ = run([body(*HELLO[:4])])
    size = len(body(*HELLO[:4]))
    assert repr(machine) == (
        f"<StreamMachine OPEN TRUNCATED: {size} bytes received, 4 events taken, 0 violations>"
    )


def test_a_stream_of_the_api_has_no_violations_in_strict_mode() -> None:
    machine, outcome = run([body(*HELLO)], strict=True)
    assert (outcome.violations, outcome.error) == ((), "")
    assert machine.final_message().complete


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b'data: {"type": "ping"}\n\n', "missing_event_name"),
        (b'event: message_stop\ndata: {"type": "ping"}\n\n', "event_name_mismatch"),
        (b"event: ping\ndata: {}\n\n", "missing_type"),
        (b"event: weather\ndata: sunny\n\n", "undecodable_payload"),
        (b"data: [DONE]\n\n", "done_marker"),
        (b'event: ping\ndata: {"type": "ping", "x": "\xff"}\n\n', "invalid_utf8"),
        (b'odd\nevent: ping\ndata: {"type": "ping"}\n\n', "unknown_field"),
        (body(delta(0, "text_delta")), "malformed_delta"),
        (body(message_delta(5)), "malformed_member"),  # type: ignore[arg-type]
        (body(message_delta(usage={"output_tokens": "12"})), "malformed_member"),
        (body(block_stop(0), block_start(1, {"type": "text", "text": 5})), "malformed_member"),
        (body(delta(-1, "text_delta", text="x")), "malformed_event"),
        (body(delta(0, "text_delta", text="x")) + body(message_start()), ""),
    ],
)
def test_each_fault_of_a_frame_has_its_code(raw: bytes, code: str) -> None:
    _, outcome = run([body(*HELLO[:2]) + raw])
    codes = [violation.code for violation in outcome.violations]
    if code:
        assert codes == [code]
        _, strict = run([body(*HELLO[:2]) + raw], strict=True)
        assert f"'raw': {outcome.violations[0].excerpt!r}" in strict.error
        assert f"'code': <ViolationCode.{code.upper()}" in strict.error
    else:
        assert codes == ["duplicate_message_start"]


def test_a_strict_machine_does_not_count_the_violation_that_it_raises() -> None:
    machine = StreamMachine(strict=True, limits=Limits(violations=1))
    with pytest.raises(ProtocolError, match="a line is neither"):
        list(machine.receive_data(b"x\ny\ndata: {}\n\n"))
    assert (machine.violations, machine.violation_count) == ((), 0)


@pytest.mark.parametrize("tail", [b"event:", b"event: ", b"event: p", b"eve", b"\xef\xbb\xbfeve"])
def test_a_frame_cut_in_or_after_its_name_is_reported_as_a_cut_frame(tail: bytes) -> None:
    machine = StreamMachine()
    assert [*machine.receive_data(tail), *machine.receive_eof()] == []
    assert [violation.code for violation in machine.violations] == ["cut_frame"]
    assert machine.verdict is Verdict.EMPTY


@pytest.mark.parametrize("line", [b"event: ping", b"data: {", b"id: 1", b"retry: 5", b": comment"])
def test_a_field_that_the_end_cuts_anywhere_is_at_most_a_cut_frame(line: bytes) -> None:
    for before in (body(*HELLO), "\ufeff".encode(), b""):
        for length in range(len(line) + 1):
            machine, outcome = run([before + line[:length]], strict=True)
            codes = [violation.code for violation in outcome.violations]
            assert codes in ([], ["cut_frame"])
            assert machine.verdict is (Verdict.COMPLETE if len(before) > 3 else Verdict.EMPTY)


@pytest.mark.parametrize("member", ["service_tier", "cache_creation", "inference_geo", "speed"])
def test_a_usage_member_of_the_wrong_type_keeps_the_earlier_value(member: str) -> None:
    sent: dict[str, Any] = {member: {} if member == "cache_creation" else "standard"}
    start = message_start(usage=sent)
    changes = message_delta(usage={"output_tokens": 1, member: 5})
    machine, _ = run([body(start, changes, MESSAGE_STOP)])
    assert machine.snapshot is not None
    assert machine.snapshot.usage.to_dict() == {**sent, "output_tokens": 1}
    assert [violation.code for violation in machine.violations] == ["malformed_member"]


class Level(enum.IntEnum):
    HIGH = 3


class Name(enum.StrEnum):
    PING = "ping"


def test_values_of_subclasses_of_json_types_are_accepted_in_payloads() -> None:
    machine = StreamMachine()
    payload = {"type": Name.PING, "level": Level.HIGH, "more": [Level.HIGH]}
    (event,) = machine.receive_event(payload)
    assert event.to_dict() == payload


def test_a_payload_with_a_key_that_is_not_a_string_raises_a_type_error() -> None:
    for payload in ({5: "x"}, {"type": "ping", "x": [{"y": 1, 5: 2}]}):
        with pytest.raises(TypeError, match="expected str, not int"):
            StreamMachine().receive_event(payload)  # type: ignore[arg-type]


def test_a_last_line_of_exactly_the_limit_without_a_line_end_is_too_long() -> None:
    """The line end that a line needs counts as one byte."""
    for size in (10, 11):
        machine = StreamMachine(limits=Limits(event_bytes=20))
        assert list(machine.receive_data(b"data: " + b"x" * (size + 3))) == []
        if size == 10:
            assert list(machine.receive_eof()) == []
            assert machine.verdict is Verdict.EMPTY
        else:
            with pytest.raises(LimitError, match="larger than 20 bytes") as caught:
                list(machine.receive_eof())
            assert caught.value.event_number == 1


def test_bytes_that_wait_after_a_payload_are_counted_even_if_the_payload_is_too_deep() -> None:
    machine = StreamMachine(limits=Limits(depth=2))
    machine.receive_event({"type": "ping", "x": [[[]]]})
    machine.receive_data(b"data: x\n\n")
    with pytest.raises(LimitError):
        list(machine.receive_data(b"data"))
    assert machine.bytes_received == 13


def test_blanks_before_the_payload_change_nothing() -> None:
    for blanks in ("", " ", " \t  "):
        frame_bytes = f'event: ping\ndata: {blanks}{{"type": "ping"}}\n\n'.encode()
        (event,) = StreamMachine(fast_path=False).receive_data(frame_bytes)
        assert event == PingEvent()


def test_subclasses_of_the_types_of_json_are_read_like_these_types() -> None:
    class Members(dict[str, Any]):
        """As a library's own kind of dict."""

    class Items(list[Any]):
        """As a library's own kind of list."""

    class Text(str):
        __slots__ = ()

    plain = {"type": "plugin_event", "members": {"items": [1, "a", {"b": None}], "text": "c"}}
    subclassed = Members(
        type="plugin_event",
        members=Members(items=Items([1, Text("a"), Members(b=None)]), text=Text("c")),
    )
    events = [
        event for payload in (plain, subclassed) for event in StreamMachine().receive_event(payload)
    ]
    assert events[0] == events[1]
    with pytest.raises(TypeError, match="set"):
        StreamMachine().receive_event(Members(type="a", members=Items([Members(b={1})])))
