"""The testing kit: what it makes is what it says, and its checks find what they are for."""

import asyncio
import copy
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, get_args

import attrs
import pytest
from hypothesis import find, given, settings, strategies as st

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
"""For the faults that exceed a limit: large enough for every script."""

EXAMPLES = max(5, settings().max_examples // 4)
"""How many streams are tried for each fault: there are more than a hundred faults."""


# What is made.


@given(st.data())
def test_a_script_is_legal_in_every_style_and_however_it_is_cut(data: st.DataObject) -> None:
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
def test_in_a_given_style_a_script_is_written_as_that_style_writes(data: st.DataObject) -> None:
    script, style = data.draw(scripts(pings=False)), data.draw(styles(line_end="\r"))
    body = data.draw(wire(script, style))
    assert style.line_end == "\r"
    assert b"\n" not in body
    _, outcome = run([body])
    assert {violation.code for violation in outcome.violations} == style.codes
    # Without pings it is the body that the style makes, byte by byte.
    if b'"ping"' not in body:
        assert body == style.body(event.to_dict() for event in script)


def types_of(script: Script) -> set[str]:
    """The types of all events, blocks and deltas."""
    payloads = [event.to_dict() for event in script]
    inner = [payload.get("content_block") or payload.get("delta") or {} for payload in payloads]
    return {each["type"] for each in [*payloads, *inner] if "type" in each}


@given(scripts(blocks=["text", "hologram"], unknown=False, pings=False, max_blocks=2))
def test_scripts_are_restricted_to_what_was_asked_for(script: Script) -> None:
    assert types_of(script) <= {
        *("message_start", "content_block_start", "content_block_delta", "content_block_stop"),
        *("message_delta", "message_stop", "text", "text_delta", "citations_delta"),
    }
    assert sum(event.type == "content_block_start" for event in script) <= 2


@given(scripts(blocks=[], having=["thinking", "tool_use", "text"]))
def test_scripts_have_what_they_were_asked_to_have(script: Script) -> None:
    assert types_of(script) >= {
        "thinking_delta",
        "signature_delta",
        "input_json_delta",
        "text_delta",
    }


def test_every_type_of_block_event_and_delta_is_made_at_some_time() -> None:
    seen: set[str] = set()

    @settings(max_examples=400, database=None, derandomize=True)
    @given(scripts(), events())
    def look(script: Script, event: MessageStreamEvent) -> None:
        seen.update(types_of((*script, event)))

    look()
    assert seen >= set(BLOCK_TYPES)
    assert seen >= {"ping", "error", "weather_report", "hologram_delta", "compaction_delta"}


def test_every_block_that_the_library_knows_is_made() -> None:
    known = {block.type for block in get_args(ContentBlock)} - {"unknown"}
    assert set(BLOCK_TYPES) == known | {"hologram"}


@given(events())
def test_single_events_are_what_their_payloads_stand_for(event: MessageStreamEvent) -> None:
    assert event_from_dict(event.to_dict()) == event
    assert isinstance(event, ErrorEvent | UnknownEvent) or event.type in event.to_dict()["type"]


@given(messages(max_blocks=3))
def test_messages_are_whole_and_without_contradictions(message: Message) -> None:
    assert message.complete
    assert len(message.content) <= 3
    calls = any(isinstance(block, ToolUseBlock) for block in message.content)
    assert (message.stop_reason == "tool_use") == calls


@given(st.binary(max_size=200), st.data())
def test_chunks_are_the_whole_body_for_every_way_of_cutting(
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
def test_a_way_of_cutting_cuts_where_its_name_says(way: str, chunks: list[str]) -> None:
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
def test_a_way_of_cutting_cuts_inside_of_what_its_name_says(
    way: str, data: str, chunks: list[bytes]
) -> None:
    assert chunks_at(data.encode(), places_to_cut(data.encode(), way)) == chunks


def test_a_place_that_is_named_twice_gives_an_empty_chunk() -> None:
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
    """A machine that has read a faulty stream, and all codes it has to say."""
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


INSIDE: Final = [fault for fault in FAULTS.values() if fault.kind == "bytes"]
AROUND: Final = [fault for fault in FAULTS.values() if fault.kind == "connection"]


@pytest.mark.parametrize("name", [fault.name for fault in INSIDE])
def test_what_must_come_of_a_fault_comes_of_it(name: str) -> None:
    @settings(max_examples=EXAMPLES)
    @given(faults(name, limits=SMALL, max_blocks=2))
    def look(stream: FaultyStream) -> None:
        machine, codes = machine_after(stream)
        assert stream.verdict in (None, machine.verdict)
        assert stream.codes <= codes <= stream.codes | stream.may
        # What the damage says more exactly, the fault allows.
        assert stream.codes <= stream.fault.codes | stream.fault.may
        message = machine.snapshot
        for block in message.content if message else ():
            if isinstance(block, ToolUseBlock) and block.input_state == "complete":
                assert block.id not in stream.broken
                assert block.input == stream.inputs.get(str(block.id), block.input)

    look()


@pytest.mark.parametrize("name", ["halved_character", "halved_character_in_an_input"])
def test_a_character_that_was_cut_in_two_is_one_again(name: str) -> None:
    @settings(max_examples=EXAMPLES)
    @given(faults(name, max_blocks=1))
    def look(stream: FaultyStream) -> None:
        assert rb"\ud83d" in stream.data
        machine, _ = machine_after(stream)
        message = machine.final_message()
        text = "".join(block.text for block in message.content if isinstance(block, TextBlock))
        inputs = "".join(repr(value) for value in inputs_of(message).values())
        assert "\U0001f600" in text + inputs
        assert "\ud83d" not in text

    look()


@pytest.mark.parametrize("fault", INSIDE, ids=lambda fault: fault.name)
def test_the_facts_of_a_fault_are_facts(fault: catalogue.Fault) -> None:
    known = {*map(str, ViolationCode), "spliced_message", *names_of_limits()}
    assert fault.codes | fault.may <= known
    assert fault.description.endswith((".", "!"))
    assert fault.verdicts
    assert Verdict.PENDING not in fault.verdicts
    owner, _, number = fault.problem.partition("#")
    assert not fault.problem or (owner.count("/") == 1 and number.isdigit())
    assert (fault.limit in fault.codes) == bool(fault.limit)


@pytest.mark.parametrize("fault", AROUND, ids=lambda fault: fault.name)
def test_a_fault_of_the_connection_changes_no_bytes(fault: catalogue.Fault) -> None:
    assert fault.description.endswith(".")
    assert not any((fault.verdicts, fault.codes, fault.may, fault.needs, fault.limit))
    stream = LegalStream.of(PLAIN.body(HELLO))
    with pytest.raises(ValueError, match=f"{fault.name} changes the connection"):
        fault.apply_to_stream(stream)
    with pytest.raises(ValueError, match=f"{fault.name}: a fault of the connection"):
        check_faults(lambda chunks: bool(list(chunks)), completed=bool, names=[fault.name])


def answer_of(name: str) -> Answer:
    """What a server sends that has recorded an example."""
    capture = parse_capture((REPOSITORY / "examples" / f"{name}.capture.jsonl").read_bytes())
    headers = {"content-type": "text/event-stream", "request-id": "req_1"}
    return Answer(status=200, headers=headers, chunks=capture.chunks)


FIRST: Final = Asked(target="/v1/messages", accepts_gzip=True, number=1)
ELSEWHERE: Final = Asked(target="/elsewhere/v1/messages", accepts_gzip=False, number=2)
ONCE: Final = ("gzip", "429_once", "529_once", "redirect")
"""What `ELSEWHERE` does not get: it accepts no gzip, is the second, and has been redirected."""


@pytest.mark.parametrize("fault", AROUND, ids=lambda fault: fault.name)
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
    "fault", [each for each in INSIDE if not each.limit], ids=lambda fault: fault.name
)
def test_a_fault_of_the_bytes_changes_an_answer_that_can_have_it(fault: catalogue.Fault) -> None:
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


def test_another_body_comes_in_chunks_of_the_same_sizes_and_times() -> None:
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


def test_a_recorded_stream_with_other_line_ends_is_written_anew() -> None:
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
def test_a_recorded_stream_is_a_whole_message(recorded: bytes) -> None:
    with pytest.raises(ValueError, match="needs a stream that is a complete message"):
        LegalStream.of(recorded)


def names_of_limits() -> set[str]:
    """The names of all limits."""
    return {field.name for field in attrs.fields(Limits)}


def test_faults_that_exceed_a_limit_need_one() -> None:
    seen: set[str] = set()

    @settings(max_examples=100, database=None, derandomize=True)
    @given(faults(max_blocks=0, cut=False))
    def look(stream: FaultyStream) -> None:
        assert stream.chunks == (stream.data,)
        assert stream.limits == Limits()
        seen.add(stream.fault.name)

    look()
    assert seen
    assert not any(FAULTS[name].limit for name in seen)


def test_a_faulty_stream_shows_itself_as_a_person_reads_it() -> None:
    shown: list[str] = []

    @settings(max_examples=1, database=None)
    @given(faults("done_marker", style=PLAIN, cut=False, max_blocks=0, unknown=False, pings=False))
    def look(stream: FaultyStream) -> None:
        shown.append(repr(stream))

    look()
    head, chunk = shown[0].splitlines()
    assert head == "<done_marker: COMPLETE, done_marker"
    assert chunk.endswith("data: [DONE]\\n\\n'>")


# Fake sources.


def test_a_source_delivers_pauses_raises_and_then_ends() -> None:
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
def test_after_whatever_raises_a_source_delivers_nothing_more(step: Step) -> None:
    def fail() -> None:
        raise ConnectionResetError("gone")

    for failing in (step, fail):
        source = ByteSource([b"a", failing, b"b"])
        assert next(source) == b"a"
        with pytest.raises(ConnectionResetError):
            next(source)
        assert list(source) == []


def test_a_source_that_was_closed_delivers_nothing_more() -> None:
    with ByteSource([b"a", b"b"]) as source:
        assert next(source) == b"a"
    assert source.closed
    assert list(source) == []


def test_an_asynchronous_source_does_the_same() -> None:
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
    """A good consumer: returns a whole message, or raises."""
    machine = StreamMachine(limits=SMALL)
    for chunk in chunks:
        for _ in machine.receive_data(chunk):
            pass
    for _ in machine.receive_eof():
        pass
    return machine.final_message()


def inputs_of(message: Message) -> dict[str, Any]:
    """The tool calls that may be run."""
    return {
        str(block.id): block.input
        for block in message.content
        if isinstance(block, ToolUseBlock) and block.input_state == "complete"
    }


def test_a_good_consumer_passes_all_checks() -> None:
    from sansio_stream import APIError

    check_chunking(message_of, body(*HELLO))
    check_faults(
        message_of,
        raises=APIError,
        completed=lambda message: message.complete or message.stop_reason is not None,
        tool_inputs=inputs_of,
        limits=SMALL,
        examples=2,
        max_blocks=1,
    )


def faulted(consume: Callable[[Iterable[bytes]], Any], *names: str, **more: Any) -> dict[str, str]:
    """What is found for each fault: its name, and the complaint."""
    how: dict[str, Any] = {"raises": ProtocolError, "completed": bool, "max_blocks": 0}
    try:
        check_faults(consume, names=names, **{"examples": 10, **how, **more})
    except CheckError as error:
        return {finding.fault: finding.complaint for finding in error.findings}
    return {}


def end_of(chunks: Iterable[bytes]) -> bool:
    """Whether the end of a message was seen, anywhere."""
    return b"message_stop" in b"".join(chunks)


def test_a_truncated_stream_that_is_taken_for_whole_is_found() -> None:
    def began(chunks: Iterable[bytes]) -> bool:
        return b"message_start" in b"".join(chunks)

    found = faulted(began, "missing_last_events", "empty_body")
    assert found == {
        "missing_last_events": "the message is reported as complete, but the verdict is TRUNCATED"
    }


def test_a_message_that_lost_something_and_is_taken_for_whole_is_found() -> None:
    found = faulted(end_of, "truncated_delta", "misspelt_data_field")
    damaged = "the message is reported as complete, but the verdict is DAMAGED"
    assert found == {"truncated_delta": damaged, "misspelt_data_field": damaged}


def test_an_error_that_is_taken_for_an_answer_is_found() -> None:
    assert "ERRORED" in faulted(end_of, "events_after_an_error")["events_after_an_error"]


def test_an_exception_that_was_not_announced_is_found() -> None:
    def fragile(chunks: Iterable[bytes]) -> bool:
        for line in b"".join(chunks).splitlines():
            if b"[DONE]" in line:
                raise KeyError("type")
        return True

    assert faulted(fragile, "done_marker") == {
        "done_marker": "the consumer raises KeyError('type'), which is not in `raises`"
    }
    assert faulted(fragile, "done_marker", raises=KeyError) == {}


def test_the_exception_of_the_source_may_escape() -> None:
    assert faulted(end_of, "connection_reset") == {}

    def renamed(chunks: Iterable[bytes]) -> bool:
        try:
            return end_of(chunks)
        except ConnectionError as error:
            raise LookupError("lost") from error

    assert faulted(renamed, "connection_reset") == {
        "connection_reset": "the consumer raises LookupError('lost'), which is not in `raises`"
    }


def test_a_consumer_that_depends_on_the_cuts_is_found() -> None:
    def by_chunk(chunks: Iterable[bytes]) -> int:
        return sum(b"message_stop" in chunk for chunk in chunks)

    # Said once, under no fault's name, and not again with every fault.
    found = faulted(by_chunk, "done_marker")
    assert set(found) == {""}
    assert found[""].startswith("in one piece it returns 1,\n  in 3 pieces it returns 0")
    with pytest.raises(CheckError) as caught:
        check_chunking(by_chunk, b"a message_stop b")
    (finding,) = caught.value.findings
    # The smallest: one cut, inside the word.
    assert len(finding.chunks) == 2
    assert b"".join(finding.chunks) == b"a message_stop b"
    assert str(caught.value).startswith("in one piece it returns 1,\n  in 2 pieces it returns 0")


def test_a_consumer_that_depends_on_the_cuts_of_broken_streams_only_is_found() -> None:
    def counting_if_it_failed(chunks: Iterable[bytes]) -> tuple[bool, int]:
        pieces = list(chunks)
        failed = b'"type": "error"' in b"".join(pieces)
        return not failed, len(pieces) * failed

    found = faulted(
        counting_if_it_failed, "error_in_mid_stream", completed=lambda outcome: outcome[0]
    )
    assert set(found) == {"error_in_mid_stream"}
    sentence = "in one piece it returns (False, 1), in these pieces it returns (False, "
    assert found["error_in_mid_stream"].startswith(sentence)


def test_an_exception_for_some_cuts_only_is_found() -> None:
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
    assert faulted(strict, "nothing") == {"nothing": refused}
    # Its own exception is no excuse: the stream is legal.
    assert faulted(strict, "nothing", raises=LookupError)
    found = faulted(lambda chunks: bool(list(chunks)) and False, "nothing")
    assert found == {"nothing": "a legal stream is not reported as complete"}


def calls_of(chunks: Iterable[bytes]) -> dict[str, Any]:
    """The inputs of the tool calls, whole or not, as somebody would take them who asks nothing."""
    machine = StreamMachine()
    for _ in machine.receive_data(b"".join(chunks)):
        pass
    message = machine.snapshot
    blocks = message.content if message else ()
    calls = [block for block in blocks if isinstance(block, ToolUseBlock)]
    return {str(block.id): block.input or block.partial_input for block in calls}


def test_a_tool_call_with_a_broken_input_is_found() -> None:
    found = faulted(
        calls_of,
        *("truncated_tool_input", "merged_tool_inputs", "interleaved_blocks"),
        completed=lambda _: True,
        tool_inputs=lambda inputs: inputs,
    )
    assert set(found) == {"truncated_tool_input", "merged_tool_inputs"}
    assert found["truncated_tool_input"].startswith("the call toolu_0 would run with {")


def test_a_tool_call_with_another_input_is_found() -> None:
    found = faulted(
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
        check_faults(lambda chunks: bool(list(chunks)), completed=bool, names=["html_body"])
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


def test_the_same_streams_are_tried_at_each_call() -> None:
    def seen() -> list[bytes]:
        bodies: list[bytes] = []

        def consume(chunks: Iterable[bytes]) -> bool:
            bodies.append(b"".join(chunks))
            return end_of([bodies[-1]])

        assert faulted(consume, "cut_anywhere", "lost_delta", examples=5) == {}
        return bodies

    assert seen() == seen()


def test_a_consumer_whose_results_cannot_be_compared_is_found() -> None:
    class Anything:
        """Equal to itself only."""

    assert set(faulted(lambda _: Anything(), "nothing", completed=lambda _: True)) == {""}
    with pytest.raises(CheckError, match="two readings of the same bytes are not equal"):
        check_chunking(lambda _: Anything(), b"")


def test_what_cannot_be_made_is_refused() -> None:
    with pytest.raises(ValueError, match="endless_line: pass `limits`"):
        check_faults(end_of, completed=bool, names=["endless_line"], limits=Limits(blocks=3))
    with pytest.raises(ValueError, match="for frames with `event:` lines"):
        find(faults("done_marker", style=Style(event_names=False)), lambda _: True)


def test_faults_that_exceed_a_limit_are_checked_where_the_limits_are_known() -> None:
    name = "endless_pings"
    found = faulted(end_of, name, limits=SMALL)
    assert found == {name: "the message is reported as complete, but the verdict is BROKEN"}
    assert faulted(message_of, name, limits=SMALL, raises=LimitError) == {}


# The package.


def test_the_package_exports_what_its_modules_export() -> None:
    modules = (writing, cutting, sources, catalogue, strategies, faulty, checks)
    assert set(sansio_stream.testing.__all__) == {
        name for module in modules for name in module.__all__
    }
    for name in sansio_stream.testing.__all__:
        assert getattr(sansio_stream.testing, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'sharks'"):
        _ = sansio_stream.testing.sharks


def test_hypothesis_is_imported_when_a_strategy_is_used_and_not_before() -> None:
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
def test_a_fault_that_can_end_in_two_ways_ends_in_each(
    name: str, options: set[str], verdict: Verdict
) -> None:
    payloads = [copy.deepcopy(payload) for payload in HELLO if payload["type"] != "ping"]
    if "ping" in options:
        payloads.insert(4, {"type": "ping"})  # behind the last delta

    def choose(among: Sequence[Any]) -> Any:
        wanted = [option for option in among if isinstance(option, str) and option in options]
        return wanted[0] if wanted else among[-1]

    damage = FAULTS[name].apply_to_stream(LegalStream(payloads, PLAIN, Limits(), choose))
    assert damage.verdict is verdict
    assert run([damage.data])[1].verdict is verdict
