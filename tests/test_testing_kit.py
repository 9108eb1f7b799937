"""The testing kit makes the streams that it describes, and its checks find broken consumers."""

import asyncio
import copy
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any, Final, get_args

import attrs
import pytest
from hypothesis import Phase, find, given, settings, strategies as st

import sansio_stream.testing
from sansio_stream import (
    ContentBlock,
    ErrorEvent,
    LimitError,
    Limits,
    Message,
    MessageStreamEvent,
    ProtocolError,
    StreamMachine,
    TextBlock,
    ToolUseBlock,
    UnknownEvent,
    Verdict,
    ViolationCode,
    event_from_dict,
    parse_capture,
)
from sansio_stream.capture import Chunk
from sansio_stream.testing import (
    BLOCK_TYPES,
    FAULTS,
    PLAIN,
    WAYS_TO_CUT,
    Answer,
    Asked,
    AsyncByteSource,
    AsyncStep,
    ByteSource,
    CheckError,
    End,
    FaultyStream,
    LegalStream,
    Script,
    Step,
    Style,
    catalogue,
    check_chunking,
    check_faults,
    checks,
    chunks_at,
    cuts,
    cutting,
    events,
    faults,
    faulty,
    messages,
    places_to_cut,
    scripts,
    sources,
    strategies,
    styles,
    wire,
    writing,
)
from shared_data import REPOSITORY
from wire import HELLO, OVERLOADED, body, run

SMALL = Limits(event_bytes=16_384, block_bytes=16_384, total_bytes=32_768, blocks=20)
"""Limits for the faults that exceed a limit. Every generated script is within these limits."""

EXAMPLES = max(3, settings().max_examples // 4)
"""The number of streams for each fault. It is small, because there are more than 100 faults. The
first stream is always the simplest one.
"""


# Strategies.


@given(st.data())
def test_a_script_is_legal_in_every_style_and_for_every_cut(data: st.DataObject) -> None:
    script = data.draw(scripts())
    body = data.draw(wire(script))
    chunks = data.draw(cuts(body))
    assert b"".join(chunks) == body
    machine, outcome = run(chunks)
    assert machine.verdict is Verdict.COMPLETE
    assert {violation.code for violation in outcome.violations} <= {"missing_event_name"}
    assert [event for event in outcome.events if event.type != "ping"] == [
        event for event in script if event.type != "ping"
    ]


@given(st.data())
def test_a_script_is_written_in_the_given_style(data: st.DataObject) -> None:
    script, style = data.draw(scripts(pings=False)), data.draw(styles(line_end="\r"))
    body = data.draw(wire(script, style))
    assert style.line_end == "\r"
    assert b"\n" not in body
    _, outcome = run([body])
    assert {violation.code for violation in outcome.violations} == style.codes
    # Without pings, both bodies have the same bytes.
    if b'"ping"' not in body:
        assert body == style.body(event.to_dict() for event in script)


def types_of(script: Script) -> set[str]:
    """Return the types of all events, blocks and deltas."""
    payloads = [event.to_dict() for event in script]
    inner = [payload.get("content_block") or payload.get("delta") or {} for payload in payloads]
    return {each["type"] for each in [*payloads, *inner] if "type" in each}


@given(scripts(blocks=["text", "hologram"], unknown=False, pings=False, max_blocks=2))
def test_scripts_only_have_the_requested_types(script: Script) -> None:
    assert types_of(script) <= {
        *("message_start", "content_block_start", "content_block_delta", "content_block_stop"),
        *("message_delta", "message_stop", "text", "text_delta", "citations_delta"),
    }
    assert sum(event.type == "content_block_start" for event in script) <= 2


@given(scripts(blocks=[], having=["thinking", "tool_use", "text"]))
def test_scripts_have_all_required_types(script: Script) -> None:
    assert types_of(script) >= {
        "thinking_delta",
        "signature_delta",
        "input_json_delta",
        "text_delta",
    }


def test_every_type_of_block_event_and_delta_is_generated() -> None:
    missing = {*BLOCK_TYPES, "ping", "weather_report", "hologram_delta", "compaction_delta"}

    def is_last_missing(script: Script) -> bool:
        missing.difference_update(types_of(script))
        return not missing

    # `find` stops as soon as the condition is true. It raises if 400 examples are not enough.
    how = settings(max_examples=400, database=None, derandomize=True, phases=[Phase.generate])
    find(scripts(max_blocks=8), is_last_missing, settings=how)
    find(events(), lambda event: event.type == "error", settings=how)


def test_every_block_that_the_library_knows_can_be_generated() -> None:
    known = {block.type for block in get_args(ContentBlock)} - {"unknown"}
    assert set(BLOCK_TYPES) == known | {"hologram"}


@given(events())
def test_a_generated_event_equals_the_event_of_its_payload(event: MessageStreamEvent) -> None:
    assert event_from_dict(event.to_dict()) == event
    assert isinstance(event, ErrorEvent | UnknownEvent) or event.type in event.to_dict()["type"]


@given(messages(max_blocks=3))
def test_generated_messages_are_complete_and_without_contradictions(message: Message) -> None:
    assert message.complete
    assert len(message.content) <= 3
    calls = any(isinstance(block, ToolUseBlock) for block in message.content)
    assert (message.stop_reason == "tool_use") == calls


@given(st.binary(max_size=200), st.data())
def test_the_joined_chunks_are_the_body_for_every_way_of_cutting(
    body: bytes, data: st.DataObject
) -> None:
    assert b"".join(data.draw(cuts(body))) == body
    for way in WAYS_TO_CUT:
        places = places_to_cut(body, way)
        assert all(0 < place < len(body) for place in places)
        assert b"".join(chunks_at(body, places)) == body


@pytest.mark.parametrize(
    ("way", "chunks"),
    [
        ("nowhere", ["a: 12\r\ndata:\r\n"]),
        ("at every byte", list("a: 12\r\ndata:\r\n")),
        ("after every line", ["a: 12\r\n", "data:\r\n"]),
        ("before every line end", ["a: 12", "\r\ndata:", "\r\n"]),
        ("inside every CRLF", ["a: 12\r", "\ndata:\r", "\n"]),
        ("inside every field name", ["a: 12\r\nda", "ta:\r\n"]),
        ("after every colon of a field", ["a: 12\r\ndata:", "\r\n"]),
        ("inside every number", ["a: 1", "2\r\ndata:\r\n"]),
        ("inside every character", ["a: 12\r\ndata:\r\n"]),
    ],
)
def test_a_way_of_cutting_cuts_at_the_positions_in_its_name(way: str, chunks: list[str]) -> None:
    data = b"a: 12\r\ndata:\r\n"
    assert chunks_at(data, places_to_cut(data, way)) == [chunk.encode() for chunk in chunks]


@pytest.mark.parametrize(
    ("way", "data", "chunks"),
    [
        ("inside every character", "é🎉", [b"\xc3", b"\xa9\xf0", b"\x9f", b"\x8e", b"\x89"]),
        ("inside every escape", r"\ud83d!", [rb"\ud8", b"3d!"]),
        ("after every backslash", r"\n\"", [b"\\", b"n\\", b'"']),
        ("inside every word of JSON", "true,null", [b"tr", b"ue,nu", b"ll"]),
        ("between two line ends", "a\n\nb\r\r", [b"a\n", b"\nb\r", b"\r"]),
        ("after every quotation mark", '"a"', [b'"', b'a"']),
        ("before every last brace", "{}} \n", [b"{}", b"} \n"]),
    ],
)
def test_a_way_of_cutting_cuts_inside_the_tokens_in_its_name(
    way: str, data: str, chunks: list[bytes]
) -> None:
    assert chunks_at(data.encode(), places_to_cut(data.encode(), way)) == chunks


def test_a_repeated_position_gives_an_empty_chunk() -> None:
    assert chunks_at(b"ab", [1, 1]) == [b"a", b"", b"b"]


def test_the_plain_style_is_that_of_the_api() -> None:
    assert PLAIN.frame({"type": "ping"}) == b'event: ping\ndata: {"type": "ping"}\n\n'
    assert PLAIN.codes == frozenset()
    assert Style(event_names=False).frame({"type": "ping"}) == b'data: {"type": "ping"}\n\n'
    assert PLAIN.frame({"type": "x", "s": "\ud800"}) == (
        b'event: x\ndata: {"type": "x", "s": "\\ud800"}\n\n'
    )


# Faults.


def machine_after(stream: FaultyStream) -> tuple[StreamMachine, set[str]]:
    """Return a machine that has read a stream, and the codes of its violations and its error."""
    machine = StreamMachine(limits=stream.limits)
    codes: set[str] = set()
    try:
        for chunk in stream.chunks:
            for _ in machine.receive_data(chunk):
                pass
        lost = stream.exception
        for _ in machine.receive_eof() if lost is None else machine.connection_lost(lost):
            pass
    except ProtocolError as error:
        codes.add(error.code)
    return machine, codes | {str(violation.code) for violation in machine.violations}


BYTE_FAULTS: Final = [fault for fault in FAULTS.values() if fault.kind == "bytes"]
CONNECTION_FAULTS: Final = [fault for fault in FAULTS.values() if fault.kind == "connection"]


@pytest.mark.parametrize("name", [fault.name for fault in BYTE_FAULTS])
def test_a_fault_has_the_documented_effects(name: str) -> None:
    @settings(max_examples=EXAMPLES)
    @given(faults(name, limits=SMALL, max_blocks=2))
    def check(stream: FaultyStream) -> None:
        machine, codes = machine_after(stream)
        assert stream.verdict in (None, machine.verdict)
        assert stream.codes <= codes <= stream.codes | stream.may
        # The codes that one stream must have are among those of its fault.
        assert stream.codes <= stream.fault.codes | stream.fault.may
        message = machine.snapshot
        for block in message.content if message else ():
            if isinstance(block, ToolUseBlock) and block.input_state == "complete":
                assert block.id not in stream.broken
                assert block.input == stream.inputs.get(str(block.id), block.input)

    check()


@pytest.mark.parametrize("name", ["halved_character", "halved_character_in_an_input"])
def test_the_surrogates_of_a_halved_character_are_joined(name: str) -> None:
    @settings(max_examples=EXAMPLES)
    @given(faults(name, max_blocks=1))
    def check(stream: FaultyStream) -> None:
        assert rb"\ud83d" in stream.data
        machine, _ = machine_after(stream)
        message = machine.final_message()
        text = "".join(block.text for block in message.content if isinstance(block, TextBlock))
        inputs = "".join(repr(value) for value in inputs_of(message).values())
        assert "\U0001f600" in text + inputs
        assert "\ud83d" not in text

    check()


@pytest.mark.parametrize("fault", BYTE_FAULTS, ids=lambda fault: fault.name)
def test_the_attributes_of_a_fault_are_valid(fault: catalogue.Fault) -> None:
    known = {*map(str, ViolationCode), "spliced_message", *names_of_limits()}
    assert fault.codes | fault.may <= known
    assert fault.description.endswith((".", "!"))
    assert fault.verdicts
    assert Verdict.PENDING not in fault.verdicts
    owner, _, number = fault.problem.partition("#")
    assert not fault.problem or (owner.count("/") == 1 and number.isdigit())
    assert (fault.limit in fault.codes) == bool(fault.limit)


@pytest.mark.parametrize("fault", CONNECTION_FAULTS, ids=lambda fault: fault.name)
def test_a_fault_of_the_connection_cannot_be_applied_to_bytes(fault: catalogue.Fault) -> None:
    assert fault.description.endswith(".")
    assert not any((fault.verdicts, fault.codes, fault.may, fault.needs, fault.limit))
    stream = LegalStream.of(PLAIN.body(HELLO))
    with pytest.raises(ValueError, match=f"{fault.name} changes the connection"):
        fault.apply_to_stream(stream)
    with pytest.raises(ValueError, match=f"{fault.name}: a fault of the connection"):
        check_faults(lambda chunks: bool(list(chunks)), completed=bool, names=[fault.name])


@cache
def answer_of(name: str) -> Answer:
    """Return the answer of a server that serves an example."""
    capture = parse_capture((REPOSITORY / "examples" / f"{name}.capture.jsonl").read_bytes())
    headers = {"content-type": "text/event-stream", "request-id": "req_1"}
    return Answer(status=200, headers=headers, chunks=capture.chunks)


FIRST: Final = Asked(target="/v1/messages", accepts_gzip=True, number=1)
ELSEWHERE: Final = Asked(target="/elsewhere/v1/messages", accepts_gzip=False, number=2)
ONCE: Final = ("gzip", "429_once", "529_once", "redirect")
"""The faults that `ELSEWHERE` does not get.

This request does not accept gzip, is the second one, and has already been redirected.
"""


@pytest.mark.parametrize("fault", CONNECTION_FAULTS, ids=lambda fault: fault.name)
def test_a_fault_of_the_connection_changes_an_answer(fault: catalogue.Fault) -> None:
    answer = answer_of("text")
    changed = fault.apply_to_answer(answer, FIRST)
    assert changed != answer
    if changed.status == 200 and fault.name not in ("gzip", "html_200", "json_200"):
        assert changed.body in answer.body
        assert answer.body.startswith(changed.body)
    again = fault.apply_to_answer(answer, ELSEWHERE)
    assert (again == answer) is (fault.name in ONCE)
    empty = Answer(status=200, headers={"request-id": "req_1"}, chunks=())
    assert fault.apply_to_answer(empty, FIRST).headers["request-id"] == "req_1"


@pytest.mark.parametrize(
    "fault", [each for each in BYTE_FAULTS if not each.limit], ids=lambda fault: fault.name
)
def test_a_fault_of_the_bytes_changes_an_answer(fault: catalogue.Fault) -> None:
    bodies: list[bytes] = []
    for name in ("text", "parallel-tools", "thinking-and-tool-use"):
        answer = answer_of(name)
        try:
            changed = fault.apply_to_answer(answer, FIRST)
        except ValueError as error:
            assert (
                str(error) == f"the fault {fault.name} needs a stream with {', '.join(fault.needs)}"
            )
        else:
            assert (changed.status, changed.headers) == (answer.status, answer.headers)
            assert (changed.end is End.RESET) is (fault.name == "connection_reset")
            bodies.append(changed.body)
    assert bodies


def test_another_body_has_chunks_with_the_same_sizes_and_times() -> None:
    chunks = (Chunk(0.0, b"abc"), Chunk(1.0, b"de"), Chunk(2.0, b""))
    answer = Answer(status=200, headers={}, chunks=chunks)
    assert answer.with_body(b"ABCDEFG").chunks == (
        Chunk(0.0, b"ABC"),
        Chunk(1.0, b"DE"),
        Chunk(2.0, b"FG"),
    )
    assert answer.with_body(b"A").chunks == (Chunk(0.0, b"A"), Chunk(2.0, b""))
    empty = Answer(status=200, headers={}, chunks=())
    assert empty.with_body(b"A").chunks == (Chunk(None, b"A"),)


@pytest.mark.parametrize(
    "recorded",
    [
        PLAIN.body(HELLO).replace(b'{"type"', b'{  "type"'),
        b": comment\n" + PLAIN.body(HELLO) + b"data: [DONE]\n\n",
    ],
    ids=["spaces", "comment and end mark"],
)
def test_a_recorded_stream_keeps_its_frames(recorded: bytes) -> None:
    stream = LegalStream.of(recorded)
    assert stream.body() == recorded.partition(b"data: [DONE]")[0]
    stream.payloads[0] = {"type": "pong"}
    assert stream.frames()[0] == PLAIN.frame({"type": "pong"})


def test_a_recorded_stream_with_other_line_ends_is_written_in_the_plain_style() -> None:
    stream = LegalStream.of(Style(line_end="\r\n").body(HELLO))
    assert stream.payloads == list(HELLO)
    assert stream.body() == PLAIN.body(stream.payloads)


@pytest.mark.parametrize(
    "recorded",
    [
        PLAIN.body(HELLO[:4]),
        PLAIN.body([OVERLOADED]),
        PLAIN.body(HELLO[:2]) + PLAIN.frame_of("content_block_delta", "{"),
    ],
    ids=["cut", "error", "broken"],
)
def test_a_recorded_stream_must_be_a_complete_message(recorded: bytes) -> None:
    with pytest.raises(ValueError, match="needs a stream that is a complete message"):
        LegalStream.of(recorded)


def names_of_limits() -> set[str]:
    """Return the names of all limits."""
    return {field.name for field in attrs.fields(Limits)}


def test_faults_that_exceed_a_limit_are_only_generated_with_limits() -> None:
    seen: set[str] = set()

    @settings(max_examples=100, database=None, derandomize=True)
    @given(faults(style=PLAIN, max_blocks=0, unknown=False, pings=False, cut=False))
    def check(stream: FaultyStream) -> None:
        assert stream.chunks == (stream.data,)
        assert stream.limits == Limits()
        seen.add(stream.fault.name)

    check()
    assert seen
    assert not any(FAULTS[name].limit for name in seen)


def test_the_repr_of_a_faulty_stream_is_readable() -> None:
    reprs: list[str] = []

    @settings(max_examples=1, database=None)
    @given(faults("done_marker", style=PLAIN, cut=False, max_blocks=0, unknown=False, pings=False))
    def check(stream: FaultyStream) -> None:
        reprs.append(repr(stream))

    check()
    head, chunk = reprs[0].splitlines()
    assert head == "<done_marker: COMPLETE, done_marker"
    assert chunk.endswith("data: [DONE]\\n\\n'>")


# Fake sources.


def test_a_source_runs_its_steps_in_order_and_ends_after_an_exception() -> None:
    paused: list[int] = []
    source = ByteSource([b"ab", lambda: paused.append(1), b"c", OSError("gone"), b"never"])
    assert next(source) == b"ab"
    assert not paused
    assert next(source) == b"c"
    assert paused == [1]
    with pytest.raises(OSError, match="gone"):
        next(source)
    assert list(source) == []
    assert source.delivered == 3


@pytest.mark.parametrize("step", [ConnectionResetError, ConnectionResetError("gone")])
def test_a_source_delivers_nothing_after_an_exception(step: Step) -> None:
    def fail() -> None:
        raise ConnectionResetError("gone")

    for failing in (step, fail):
        source = ByteSource([b"a", failing, b"b"])
        assert next(source) == b"a"
        with pytest.raises(ConnectionResetError):
            next(source)
        assert list(source) == []


def test_a_closed_source_delivers_nothing() -> None:
    with ByteSource([b"a", b"b"]) as source:
        assert next(source) == b"a"
    assert source.closed
    assert list(source) == []


def test_an_asynchronous_source_behaves_like_a_synchronous_one() -> None:
    async def read() -> None:
        paused: list[int] = []

        async def pause() -> None:
            await asyncio.sleep(0)
            paused.append(1)

        steps: list[AsyncStep] = [b"ab", pause, b"c", OSError("gone"), b"never"]
        source = AsyncByteSource(steps)
        assert await anext(source) == b"ab"
        assert await anext(source) == b"c"
        with pytest.raises(OSError, match="gone"):
            await anext(source)
        assert (paused, source.delivered) == ([1], 3)
        assert [chunk async for chunk in source] == []
        async with AsyncByteSource([b"a", b"b"]) as source:
            assert await anext(source) == b"a"
        assert source.closed
        assert [chunk async for chunk in source] == []

    asyncio.run(read())


# Checks.


def message_of(chunks: Iterable[bytes]) -> Message:
    """Return a complete message, or raise. This is a correct consumer."""
    machine = StreamMachine(limits=SMALL)
    for chunk in chunks:
        for _ in machine.receive_data(chunk):
            pass
    for _ in machine.receive_eof():
        pass
    return machine.final_message()


def inputs_of(message: Message) -> dict[str, Any]:
    """Return the inputs of the tool calls that may be run, by id."""
    return {
        str(block.id): block.input
        for block in message.content
        if isinstance(block, ToolUseBlock) and block.input_state == "complete"
    }


def test_a_correct_consumer_passes_all_checks() -> None:
    from sansio_stream import APIError

    check_chunking(message_of, body(*HELLO))
    check_faults(
        message_of,
        raises=APIError,
        completed=lambda message: message.complete or message.stop_reason is not None,
        tool_inputs=inputs_of,
        limits=SMALL,
        examples=2,
        max_blocks=0,
        unknown=False,
    )


def complaints_of(
    consume: Callable[[Iterable[bytes]], Any], *names: str, **others: Any
) -> dict[str, str]:
    """Return the complaints about a consumer by the name of the fault."""
    options = {"raises": ProtocolError, "completed": bool, "examples": 10, "max_blocks": 0}
    try:
        check_faults(consume, names=names, shrink=False, **{**options, **others})
    except CheckError as error:
        return {finding.fault: finding.complaint for finding in error.findings}
    return {}


def end_of(chunks: Iterable[bytes]) -> bool:
    """Return whether the body contains message_stop. This is a broken consumer."""
    return b"message_stop" in b"".join(chunks)


def test_a_consumer_that_accepts_a_truncated_stream_is_found() -> None:
    def has_start(chunks: Iterable[bytes]) -> bool:
        return b"message_start" in b"".join(chunks)

    found = complaints_of(has_start, "missing_last_events", "empty_body")
    assert found == {
        "missing_last_events": "the message is reported as complete, but the verdict is TRUNCATED"
    }


def test_a_consumer_that_accepts_a_damaged_message_is_found() -> None:
    found = complaints_of(end_of, "truncated_delta", "misspelt_data_field")
    damaged = "the message is reported as complete, but the verdict is DAMAGED"
    assert found == {"truncated_delta": damaged, "misspelt_data_field": damaged}


def test_a_consumer_that_accepts_an_error_event_is_found() -> None:
    assert "ERRORED" in complaints_of(end_of, "events_after_an_error")["events_after_an_error"]


def test_a_consumer_with_an_undocumented_exception_is_found() -> None:
    def fragile(chunks: Iterable[bytes]) -> bool:
        for line in b"".join(chunks).splitlines():
            if b"[DONE]" in line:
                raise KeyError("type")
        return True

    assert complaints_of(fragile, "done_marker") == {
        "done_marker": "the consumer raises KeyError('type'), which is not in `raises`"
    }
    assert complaints_of(fragile, "done_marker", raises=KeyError) == {}


def test_a_consumer_may_raise_the_exception_of_the_source() -> None:
    assert complaints_of(end_of, "connection_reset") == {}

    def renamed(chunks: Iterable[bytes]) -> bool:
        try:
            return end_of(chunks)
        except ConnectionError as error:
            raise LookupError("lost") from error

    assert complaints_of(renamed, "connection_reset") == {
        "connection_reset": "the consumer raises LookupError('lost'), which is not in `raises`"
    }


def test_a_consumer_that_depends_on_the_cuts_is_found() -> None:
    def by_chunk(chunks: Iterable[bytes]) -> int:
        return sum(b"message_stop" in chunk for chunk in chunks)

    # Reported once, without the name of a fault.
    found = complaints_of(by_chunk, "done_marker")
    assert set(found) == {""}
    assert found[""].startswith("in one piece it returns 1,\n  in 3 pieces it returns 0")
    with pytest.raises(CheckError) as caught:
        check_chunking(by_chunk, b"a message_stop b")
    (finding,) = caught.value.findings
    # The smallest example: one cut inside the word.
    assert len(finding.chunks) == 2
    assert b"".join(finding.chunks) == b"a message_stop b"
    assert str(caught.value).startswith("in one piece it returns 1,\n  in 2 pieces it returns 0")


def test_a_consumer_that_only_depends_on_the_cuts_of_broken_streams_is_found() -> None:
    def count_pieces_of_errors(chunks: Iterable[bytes]) -> tuple[bool, int]:
        pieces = list(chunks)
        failed = b'"type": "error"' in b"".join(pieces)
        return not failed, len(pieces) * failed

    found = complaints_of(
        count_pieces_of_errors, "error_in_mid_stream", completed=lambda outcome: outcome[0]
    )
    assert set(found) == {"error_in_mid_stream"}
    sentence = "in one piece it returns (False, 1), in these pieces it returns (False, "
    assert found["error_in_mid_stream"].startswith(sentence)


def test_a_consumer_that_only_raises_for_some_cuts_is_found() -> None:
    def decode_each(chunks: Iterable[bytes]) -> str:
        return "".join(chunk.decode() for chunk in chunks)

    with pytest.raises(CheckError) as caught:
        check_chunking(decode_each, "é".encode())
    assert caught.value.findings[0].chunks == (b"\xc3", b"\xa9")
    assert "raises UnicodeDecodeError" in str(caught.value)


def test_a_consumer_that_refuses_legal_streams_is_found() -> None:
    def strict(chunks: Iterable[bytes]) -> bool:
        if b'"ping"' in b"".join(chunks):
            raise LookupError("ping")
        return True

    refused = "a legal stream is refused: the consumer raises LookupError('ping')"
    assert complaints_of(strict, "nothing") == {"nothing": refused}
    # A legal stream must not raise, not even an exception in `raises`.
    assert complaints_of(strict, "nothing", raises=LookupError)
    found = complaints_of(lambda chunks: bool(list(chunks)) and False, "nothing")
    assert found == {"nothing": "a legal stream is not reported as complete"}


def calls_of(chunks: Iterable[bytes]) -> dict[str, Any]:
    """Return the inputs of all tool calls, also incomplete ones. This is a broken consumer."""
    machine = StreamMachine()
    for _ in machine.receive_data(b"".join(chunks)):
        pass
    message = machine.snapshot
    blocks = message.content if message else ()
    calls = [block for block in blocks if isinstance(block, ToolUseBlock)]
    return {str(block.id): block.input or block.partial_input for block in calls}


def test_a_consumer_that_runs_a_tool_call_with_a_broken_input_is_found() -> None:
    found = complaints_of(
        calls_of,
        *("truncated_tool_input", "merged_tool_inputs", "interleaved_blocks"),
        completed=lambda _: True,
        tool_inputs=lambda inputs: inputs,
    )
    assert set(found) == {"truncated_tool_input", "merged_tool_inputs"}
    assert found["truncated_tool_input"].startswith("the call toolu_0 would run with {")


def test_a_consumer_that_runs_a_tool_call_with_another_input_is_found() -> None:
    found = complaints_of(
        calls_of,
        "halved_character_in_an_input",
        completed=lambda _: True,
        tool_inputs=lambda inputs: dict.fromkeys(inputs, "another"),
    )
    assert found["halved_character_in_an_input"].startswith(
        "the call toolu_0 would run with 'another', not with {"
    )


def test_a_finding_names_the_fault_and_shows_the_smallest_stream() -> None:
    with pytest.raises(CheckError) as caught:
        check_faults(
            lambda chunks: bool(list(chunks)),
            completed=bool,
            names=["html_body"],
            examples=10,
            max_blocks=0,
        )
    text = str(caught.value)
    assert text.splitlines()[:2] == [
        "html_body: A proxy sends its error page instead of the stream, under HTTP 200.",
        "  the message is reported as complete, but the verdict is NOT_AN_EVENT_STREAM",
    ]
    assert "<title>502" in text


def test_long_streams_are_not_shown_in_full() -> None:
    with pytest.raises(CheckError) as caught:
        check_chunking(lambda chunks: len(list(chunks)), b"a" * 50_000)
    assert "... " in str(caught.value)
    assert len(str(caught.value)) < 10_000

    def many(chunks: Iterable[bytes]) -> bool:
        return len(list(chunks)) > 50

    with pytest.raises(CheckError, match="and 31 more"):
        check_chunking(many, b"a" * 60)


def test_each_call_of_check_faults_uses_the_same_streams() -> None:
    def streams() -> list[bytes]:
        bodies: list[bytes] = []

        def consume(chunks: Iterable[bytes]) -> bool:
            bodies.append(b"".join(chunks))
            return end_of([bodies[-1]])

        assert complaints_of(consume, "cut_anywhere", "lost_delta", examples=5) == {}
        return bodies

    assert streams() == streams()


def test_a_consumer_whose_results_cannot_be_compared_is_found() -> None:
    class Anything:
        """An object that is only equal to itself."""

    assert set(complaints_of(lambda _: Anything(), "nothing", completed=lambda _: True)) == {""}
    with pytest.raises(CheckError, match="two readings of the same bytes are not equal"):
        check_chunking(lambda _: Anything(), b"")


def test_faults_that_cannot_be_generated_are_refused() -> None:
    with pytest.raises(ValueError, match="endless_line: pass `limits`"):
        check_faults(end_of, completed=bool, names=["endless_line"], limits=Limits(blocks=3))
    with pytest.raises(ValueError, match="for frames with `event:` lines"):
        find(faults("done_marker", style=Style(event_names=False)), lambda _: True)


def test_faults_that_exceed_a_limit_are_checked_if_limits_are_given() -> None:
    name = "endless_pings"
    found = complaints_of(end_of, name, limits=SMALL)
    assert found == {name: "the message is reported as complete, but the verdict is BROKEN"}
    assert complaints_of(message_of, name, limits=SMALL, raises=LimitError) == {}


# The package.


def test_the_package_exports_what_its_modules_export() -> None:
    modules = (writing, cutting, sources, catalogue, strategies, faulty, checks)
    assert set(sansio_stream.testing.__all__) == {
        name for module in modules for name in module.__all__
    }
    for name in sansio_stream.testing.__all__:
        assert getattr(sansio_stream.testing, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'missing'"):
        _ = sansio_stream.testing.missing


def test_hypothesis_is_not_imported_before_a_strategy_is_used() -> None:
    program = (
        "import sys, sansio_stream.testing as kit\n"
        "kit.FAULTS, kit.ByteSource, kit.PLAIN, kit.chunks_at\n"
        "assert 'hypothesis' not in sys.modules\n"
        "kit.messages\n"
        "assert 'hypothesis' in sys.modules\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    subprocess.run([sys.executable, "-c", program], check=True, env=environment)


@pytest.mark.parametrize(
    ("name", "options", "verdict"),
    [
        ("end_with_an_open_block", {"max_tokens"}, Verdict.UNTERMINATED),
        ("end_with_an_open_block", {"pause_turn"}, Verdict.TRUNCATED),
        ("lost_blank_line", {"ping"}, Verdict.DAMAGED),
        ("lost_blank_line", set(), Verdict.BROKEN),
    ],
)
def test_a_fault_with_two_verdicts_has_each_of_them(
    name: str, options: set[str], verdict: Verdict
) -> None:
    payloads = [copy.deepcopy(payload) for payload in HELLO if payload["type"] != "ping"]
    if "ping" in options:
        payloads.insert(4, {"type": "ping"})  # after the last delta

    def choose(among: Sequence[Any]) -> Any:
        wanted = [option for option in among if isinstance(option, str) and option in options]
        return wanted[0] if wanted else among[-1]

    damage = FAULTS[name].apply_to_stream(LegalStream(payloads, PLAIN, Limits(), choose))
    assert damage.verdict is verdict
    assert run([damage.data])[1].verdict is verdict
