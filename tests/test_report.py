"""A report describes a stream. An observer never raises, and reads like the machine."""

import contextlib
import gc
import json
import pickle
import weakref
from collections import Counter
from itertools import pairwise
from random import Random
from typing import Any, ClassVar, Final, cast

import attrs
import pytest
from hypothesis import given, strategies as st

import vocabulary
from sansio_stream import (
    REPORT_COLUMNS,
    ContentBlockDeltaEvent,
    Limits,
    MessageStreamEvent,
    Observer,
    ProtocolError,
    Report,
    StreamMachine,
    UnknownDelta,
    UnknownEvent,
    Verdict,
    encode_event,
    event_from_dict,
    parse_capture,
    report_of,
)
from sansio_stream.capture import CaptureHeader, CaptureWriter
from sansio_stream.codec import WireObject, wire_object
from sansio_stream.losses import shows_progress, visible_text
from sansio_stream.testing import FaultyStream, faults, scripts
from shared_data import captures, ran
from wire import (
    HELLO,
    MESSAGE_STOP,
    OVERLOADED,
    PING,
    block_start,
    block_stop,
    body,
    delta,
    frame,
    json_piece,
    message_delta,
    message_start,
    text,
    tool_start,
)

STREAM: Final = {"content-type": "text/event-stream", "Request-Id": "req_1"}


def report_for(*chunks: tuple[bytes, float | None], end: float | None = None, **how: Any) -> Report:
    """Return the report of a stream with these chunks and times, after its end."""
    observer = Observer(200, STREAM, **how)
    for data, at in chunks:
        observer.chunk(data, at)
    observer.end(at=end)
    return observer.report


# The columns.


def test_the_report_of_a_complete_stream_has_all_values() -> None:
    steps = [
        message_start(
            "msg_1", model="claude-test-1", usage={"input_tokens": 9, "output_tokens": 1}
        ),
        PING,
        block_start(0),
        text(0, "Hi"),
        block_stop(0),
        tool_start(1),
        json_piece(1, '{"a": 1}'),
        block_stop(1),
        {**message_delta("tool_use"), "usage": {"output_tokens": 40, "nested": {"deep": 3}}},
        MESSAGE_STOP,
    ]
    times = [0.5, 0.5, 0.6, 1.0, 1.0, 1.5, 6.0, 6.0, 6.5, 6.5]
    report = report_for(*((frame(step), at) for step, at in zip(steps, times, strict=True)), end=7)
    assert report.verdict is Verdict.COMPLETE
    assert (report.ended, report.http_status, report.request_id) == ("eof", 200, "req_1")
    assert (report.message_id, report.model) == ("msg_1", "claude-test-1")
    assert (report.stop_reason, report.usage_is_final) == ("tool_use", True)
    assert report.usage == {"input_tokens": 9, "output_tokens": 40, "nested.deep": 3}
    assert report.blocks == {"text": 1, "tool_use": 1}
    assert (report.tool_calls_complete, report.tool_calls_broken) == (1, 0)
    assert (report.chunks, report.events) == (10, 10)
    assert report.bytes == sum(len(frame(step)) for step in steps)
    assert (report.first_byte, report.first_event, report.end) == (0.5, 0.5, 7.0)
    # The text, the start of the call, and its input.
    assert (report.first_content, report.first_text, report.last_content) == (1.0, 1.0, 6.0)
    assert (report.gap_p50, report.gap_p95, report.gap_max) == (0.5, 4.5, 4.5)
    (stall,) = report.stalls
    assert (stall.at, stall.seconds, stall.event_number) == (6.0, 4.5, 7)
    assert stall.byte_offset == sum(len(frame(step)) for step in steps[:6])
    assert report.stall_count == 1
    assert report.output_tokens_per_second == 40 / 5.0
    assert (report.error_type, report.violation_count, report.first_loss_code) == (None, 0, None)


def test_a_report_has_the_offsets_of_the_first_violation_and_the_first_loss() -> None:
    steps = [message_start(), block_start(0), text(7, "lost"), text(0, "x"), text(7, "lost")]
    rest = [block_stop(0), message_delta(), MESSAGE_STOP]
    data = b"data: {}\n\n" + body(*steps, *rest)
    report = report_for((data, None))
    assert report.verdict is Verdict.DAMAGED
    assert report.first_violation_code == "missing_event_name"
    assert report.first_violation_offset == 0
    assert report.first_loss_code == "unknown_index"
    assert report.first_loss_offset == data.index(frame(text(7, "lost")))
    assert report.violations["unknown_index"] == 2
    assert report.violation_count == sum(report.violations.values())


def test_a_tool_call_with_a_cut_input_counts_as_broken() -> None:
    data = body(message_start(), tool_start(0), json_piece(0, '{"a'))
    assert report_for((data, None)).tool_calls_broken == 1
    data += body(block_stop(0), message_delta("tool_use"), MESSAGE_STOP)
    assert report_for((data, None)).tool_calls_broken == 1


def test_an_error_of_the_server_is_reported_on_one_line() -> None:
    sent = {"type": "error", "error": {"type": "overloaded_error", "message": "a\nb\u202e"}}
    report = report_for((body(message_start(), sent), None))
    assert (report.verdict, report.ended) == (Verdict.ERRORED, "eof")
    assert (report.error_type, report.error_message) == ("overloaded_error", r"a\nb\u202e")


def test_bytes_and_chunks_after_a_protocol_error_are_counted() -> None:
    observer = Observer(limits=Limits(event_bytes=500))
    observer.chunk(body(*HELLO[:3]))
    observer.chunk(b"data: " + b"x" * 1_000)
    observer.chunk(b"more")
    observer.end()
    report = observer.report
    assert (report.verdict, report.chunks) == (Verdict.BROKEN, 3)
    assert report.bytes == len(body(*HELLO[:3])) + 1_010
    assert report.error_type == "LimitError"
    assert "500 bytes" in str(report.error_message)


def test_the_column_ended_distinguishes_end_of_body_lost_connection_and_reader() -> None:
    for ended, error in (("eof", None), ("error", "ConnectionResetError"), ("reader", None)):
        observer = Observer()
        observer.chunk(body(*HELLO[:4]), at=1.0)
        assert observer.report.ended == "pending"
        if ended == "reader":
            observer.closed(at=2.0)
        else:
            observer.end(ConnectionResetError("reset\n") if error else None, at=2.0)
        report = observer.report
        assert (report.ended, report.end, report.error_type) == (ended, 2.0, error)
        # If the reader stops early, the rest of the stream is unknown.
        assert report.verdict is (Verdict.PENDING if ended == "reader" else Verdict.TRUNCATED)
        assert report.error_message == (r"reset\n" if error else None)


def test_the_time_of_a_last_frame_without_its_blank_line_is_that_of_the_end() -> None:
    data = body(message_start(), block_start(0), text(0, "a"))
    last = frame(text(0, "b"))
    report = report_for((data, 1.0), (last[:-2], 2.0), end=3.5)
    assert (report.last_content, report.gap_max, report.events) == (3.5, 2.5, 4)
    assert report.chunks == 2


def test_an_exception_whose_str_raises_is_reported_by_its_class() -> None:
    class UnprintableError(Exception):
        def __str__(self) -> str:
            raise ValueError

        __repr__ = __str__

    observer = Observer()
    observer.end(UnprintableError())
    assert (observer.report.error_type, observer.report.error_message) == ("UnprintableError", "")


def test_at_most_a_hundred_stalls_are_listed_and_all_are_counted() -> None:
    chunks = [(body(message_start(), block_start(0)), 0.0)]
    chunks += [(frame(text(0, "x")), 3.0 * at) for at in range(150)]
    report = report_for(*chunks)
    assert (report.stall_count, len(report.stalls)) == (149, 100)
    assert report.stalls[99].at == 300.0


@pytest.mark.parametrize(
    ("at", "expected"),
    [(1, 1.0), (2.5, 2.5), (True, None), ("1", None), (float("nan"), None), (10**400, None)],
)
def test_a_time_that_is_not_a_finite_number_is_none(at: Any, expected: float | None) -> None:
    observer = Observer()
    observer.chunk(body(*HELLO), at)
    assert observer.report.first_content == expected
    assert observer.machine.verdict is Verdict.COMPLETE


def test_an_observer_does_not_keep_the_exception() -> None:
    class LostError(ConnectionError):
        """An exception that supports weak references."""

    observer = Observer()
    error = LostError("reset")
    reference = weakref.ref(error)
    observer.end(error)
    del error
    gc.collect()
    assert reference() is None
    assert observer.report.error_message == "reset"


# Responses that are not streams.


@pytest.mark.parametrize(
    ("status", "headers", "sent", "verdict", "kind"),
    [
        (529, {}, json.dumps(OVERLOADED).encode(), Verdict.ERRORED, "overloaded_error"),
        (502, {"content-type": "text/html"}, b"<html>", Verdict.ERRORED, "InternalServerError"),
        (429, {}, b"", Verdict.ERRORED, "RateLimitError"),
        (
            200,
            {"content-type": "text/html"},
            b"<html>",
            Verdict.NOT_AN_EVENT_STREAM,
            "NotAnEventStreamError",
        ),
        (
            200,
            {"content-type": "application/json"},
            json.dumps(OVERLOADED).encode(),
            Verdict.ERRORED,
            "overloaded_error",
        ),
    ],
)
def test_the_report_of_a_response_that_is_not_a_stream_has_the_error_of_the_body(
    status: int, headers: dict[str, str], sent: bytes, verdict: Verdict, kind: str
) -> None:
    observer = Observer(status, headers)
    for at in range(len(sent)):
        observer.chunk(sent[at : at + 1], at=1.0 + at)
    assert observer.report.verdict is Verdict.PENDING
    observer.end(at=99)
    report = observer.report
    assert (report.verdict, report.error_type, report.http_status) == (verdict, kind, status)
    assert (report.bytes, report.end) == (len(sent), 99.0)
    assert report.first_byte == (1.0 if sent else None)


def test_an_observer_keeps_at_most_64_kib_of_a_response_that_is_not_a_stream() -> None:
    observer = Observer(500)
    for _ in range(100):
        observer.chunk(b"x" * 10_000)
    observer.end(ConnectionError("lost"))
    assert observer.report.bytes == 1_000_000
    assert len(observer._head) == 65_536  # no public attribute shows it
    assert observer.report.error_type == "InternalServerError"


# An observer never raises.

ANY_DATA: Final = st.one_of(
    st.binary(max_size=40),
    st.sampled_from([frame(step) for step in HELLO]),
    st.none(),
    st.text(max_size=3),
    st.integers(),
    st.just(bytearray(b"data: {}\n\n")),
)
TIMES: Final = st.one_of(
    st.none(), st.floats(), st.integers(-(10**400), 10**400), st.booleans(), st.text(max_size=2)
)
CALLS: Final = st.lists(
    st.tuples(st.sampled_from(["chunk", "chunk", "chunk", "end", "closed"]), ANY_DATA, TIMES)
)


@given(CALLS, st.sampled_from([200, 200, 500, 304]), st.booleans(), st.floats())
def test_an_observer_never_raises_and_its_report_is_always_available(
    calls: list[tuple[str, Any, Any]], status: int, strict: bool, stall: float
) -> None:
    observer = Observer(status, strict=strict, stall=stall, limits=Limits(event_bytes=50))
    for method, data, at in calls:
        if method == "chunk":
            observer.chunk(data, at)
        elif method == "end":
            observer.end(ConnectionError(data) if isinstance(data, str) else None, at)
        else:
            observer.closed(at)
        assert json.loads(json.dumps(observer.report.to_dict(), allow_nan=False)) is not None


def test_a_memoryview_that_was_released_is_ignored() -> None:
    observer = Observer()
    view = memoryview(body(*HELLO))
    view.release()
    observer.chunk(view, at=1)
    assert (observer.report.bytes, observer.report.ended) == (0, "pending")


def test_a_delta_of_a_new_class_shows_progress_if_it_has_content() -> None:
    @wire_object
    class NewDelta(WireObject):
        type: ClassVar[str] = "new_delta"
        token: str

    for token in ("", "x"):
        event: Any = ContentBlockDeltaEvent(0, cast("Any", NewDelta(token)))
        assert shows_progress(event) is bool(token)


def test_calls_after_the_end_change_nothing() -> None:
    observer = Observer()
    observer.closed(at=1)
    observer.end(ValueError("late"), at=2)
    observer.chunk(body(*HELLO), at=3)
    assert observer.report == Report(ended="reader", http_status=200, end=1.0)


@pytest.mark.parametrize(("tokens", "seconds"), [(10**400, 1.0), (10**308, 1e-3)])
def test_a_rate_that_is_too_large_for_a_float_is_left_out(tokens: int, seconds: float) -> None:
    huge = {**message_delta(), "usage": {"output_tokens": tokens}}
    steps = [*HELLO[:4], *HELLO[3:-2], huge, MESSAGE_STOP]
    report = report_for(*((frame(step), seconds * at) for at, step in enumerate(steps)))
    assert report.usage["output_tokens"] == tokens
    assert report.output_tokens_per_second is None


@pytest.mark.parametrize(
    ("times", "stops", "tokens", "rate"),
    [
        ((1.0, 3.0), True, 8, 4.0),
        ((1.0, 3.0), True, 0, 0.0),
        ((1.0, 3.0), False, 8, None),  # the usage is not final
        ((1.0, 3.0), True, None, None),
        ((1.0,), True, 8, None),
        ((1.0, 1.0), True, 8, None),
        ((3.0, 1.0), True, 8, None),  # the clock went back
        ((1.0, None), True, 8, None),
        ((None, 1.0, None, 3.0), True, 8, 4.0),
    ],
)
def test_the_rate_is_that_of_the_final_tokens_from_the_first_content_to_the_last(
    times: tuple[float | None, ...], stops: bool, tokens: int | None, rate: float | None
) -> None:
    usage = {} if tokens is None else {"output_tokens": tokens}
    start = body(message_start(usage=usage), block_start(0))
    chunks: list[tuple[bytes, float | None]] = [(start, 0.5)]
    chunks += [(frame(text(0, "x")), at) for at in times]
    if stops:
        chunks.append((body(block_stop(0), message_delta(usage=usage), MESSAGE_STOP), 9.0))
    report = report_for(*chunks)
    assert report.output_tokens_per_second == rate


# An observer reads like the machine.


@given(st.data())
def test_times_and_counts_agree_with_a_machine_that_reads_the_same_chunks(
    data: st.DataObject,
) -> None:
    stream = data.draw(faults() | scripts().map(encoded))
    chunks = stream.chunks if isinstance(stream, FaultyStream) else stream
    # hypothesis does not draw the list, because there may be tens of thousands of chunks.
    times = sorted(Random(data.draw(st.integers(0, 10**6))).choices(range(41), k=len(chunks)))
    observer = Observer(stall=2)
    machine = StreamMachine()
    contents: list[float] = []
    for chunk, quarter in zip(chunks, times, strict=True):
        observer.chunk(chunk, quarter / 4)
        with contextlib.suppress(ProtocolError):  # the next chunk raises it again
            for event in machine.receive_data(chunk):
                contents += [quarter / 4] * (is_known(event) and has_content(event.to_dict()))
    report = observer.report
    assert report.events == machine.events_taken
    assert report.first_content == (contents[0] if contents else None)
    assert report.last_content == (contents[-1] if contents else None)
    gaps = sorted(later - earlier for earlier, later in pairwise(contents))
    if not gaps:
        assert (report.gap_p50, report.gap_p95, report.gap_max) == (None, None, None)
        return
    for quantile, share in ((report.gap_p50, 0.5), (report.gap_p95, 0.95), (report.gap_max, 1)):
        # The definition of a quantile: it is one of the gaps, at least this share of the gaps is
        # not above it, and less than this share is below it.
        assert quantile in gaps
        assert sum(gap <= quantile for gap in gaps) >= share * len(gaps)
        assert sum(gap < quantile for gap in gaps) < share * len(gaps)
    assert report.stall_count == sum(gap > 2 for gap in gaps)
    assert [stall.seconds for stall in report.stalls] == [
        later - earlier for earlier, later in pairwise(contents) if later - earlier > 2
    ][:100]


def encoded(script: Any) -> list[bytes]:
    return [encode_event(event) for event in script]


def is_known(event: MessageStreamEvent) -> bool:
    """Return whether an event and its delta have known types and all their members."""
    is_known_event = not isinstance(event, UnknownEvent)
    return is_known_event and not isinstance(getattr(event, "delta", None), UnknownDelta)


def has_content(payload: dict[str, Any]) -> bool:
    """Return whether a payload has content, as docs/reports.md defines it."""
    known: dict[str, dict[str, type]] = {
        "text_delta": {"text": str},
        "input_json_delta": {"partial_json": str},
        "thinking_delta": {"thinking": str, "signature": str, "estimated_tokens": int},
        "signature_delta": {"signature": str},
        "citations_delta": {"citation": dict},
        "compaction_delta": {"content": str, "encrypted_content": str},
    }
    match payload:
        case {"type": "content_block_delta", "delta": {"type": str(kind), **members}}:
            types = known.get(kind, {})
            return any(type(members.get(name)) is types[name] and members[name] for name in types)
        case {"type": "content_block_start", "content_block": {"type": _, **members}}:
            return any(members.values())
    return False


def test_the_report_of_every_recording_agrees_with_the_machine() -> None:
    count = 0
    for recorded in captures():
        observer = Observer()
        machine = StreamMachine()
        for chunk in recorded.chunks:
            observer.chunk(chunk)
            taken = list(machine.receive_data(chunk))
            assert taken is not None
        observer.end()
        list(machine.receive_eof())
        report = observer.report
        assert report.verdict is machine.verdict
        assert report.bytes == len(recorded.body)
        assert report.events == machine.events_taken
        assert report.violation_count == machine.violation_count
        if machine.snapshot is not None:
            kinds = Counter(block["type"] for block in machine.snapshot.to_dict()["content"])
            assert report.blocks == kinds
        count += 1
    ran("captures/*.sse", count)


# Captures and tables.


def captured(*chunks: tuple[bytes, float], end: tuple[float, str | None] | None) -> bytes:
    writer = CaptureWriter(CaptureHeader(status=200, headers=STREAM))
    lines = writer.begin() + b"".join(writer.chunk(data, at) for data, at in chunks)
    return lines + (b"" if end is None else writer.end(*end))


def test_a_capture_has_the_report_of_its_stream() -> None:
    chunks = [(frame(step), 0.25 * at) for at, step in enumerate(HELLO)]
    for end, ended in (((9.0, None), "eof"), ((9.0, "it broke"), "error"), (None, "pending")):
        report = report_of(parse_capture(captured(*chunks, end=end)))
        assert (report.verdict, report.ended) == (Verdict.COMPLETE, ended)
        assert (report.request_id, report.http_status) == ("req_1", 200)
        assert report.first_byte == 0.0
        assert report.end == (None if end is None else 9.0)
        assert report.error_message == ("it broke" if ended == "error" else None)


def test_a_plain_body_has_a_report_without_times() -> None:
    report = report_of(parse_capture(body(*HELLO)))
    assert (report.verdict, report.ended, report.first_byte) == (Verdict.COMPLETE, "eof", None)


def test_a_row_is_json_with_a_member_for_each_column() -> None:
    steps = [message_start(), block_start(0), text(0, "a"), text(0, "b"), delta(0, "new_delta")]
    report = report_for(*((frame(step), 3.0 * at) for at, step in enumerate(steps)))
    row = report.to_dict()
    assert list(row) == [each.name for each in REPORT_COLUMNS]
    assert json.loads(json.dumps(row, allow_nan=False)) == row
    assert row["verdict"] == "TRUNCATED"
    assert row["stalls"] == [
        {"at": 9.0, "seconds": 3.0, "event_number": 4, "byte_offset": len(body(*steps[:3]))}
    ]
    kinds: dict[str, Any] = {
        "string": str,
        "int": int,
        "float": float,
        "bool": bool,
        "map<string, int>": dict,
        "list<struct>": list,
    }
    for each in REPORT_COLUMNS:
        assert row[each.name] is None or isinstance(row[each.name], kinds[each.type])
        assert each.meaning
        assert not each.unit or each.type not in ("string", "bool")


def test_a_report_is_immutable_hashable_and_can_be_pickled() -> None:
    report = report_for((body(*HELLO), 1.0))
    copied = pickle.loads(pickle.dumps(report))
    assert copied == report
    assert hash(copied) == hash(report)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        report.bytes = 3  # type: ignore[misc]


def test_a_clock_that_goes_back_gives_no_negative_gap() -> None:
    steps = body(message_start(), block_start(0))
    chunks = [(steps, 1.0), (frame(text(0, "a")), 5.0), (frame(text(0, "b")), 4.0)]
    report = report_for(*chunks)
    assert (report.gap_max, report.stall_count) == (0.0, 0)


@pytest.mark.parametrize("number", range(len(vocabulary.DELTAS)))
def test_each_member_of_a_known_delta_shows_progress_if_it_is_not_empty(number: int) -> None:
    delta = vocabulary.DELTAS[number]
    members = delta.keys() - {"type"}
    empty = {"type": delta["type"], **{member: type(delta[member])() for member in members}}
    for member in (None, *members):
        sent = empty if member is None else {**empty, member: delta[member]}
        event: Any = event_from_dict({"type": "content_block_delta", "index": 0, "delta": sent})
        shows = any(map(sent.get, members)) and delta["type"] != "moon_delta"
        # A citation is an object, and so it is never empty.
        assert shows_progress(event) is (shows or delta["type"] == "citations_delta"), sent


@pytest.mark.parametrize("number", range(len(vocabulary.EVENTS)))
def test_only_texts_and_thinking_are_visible(number: int) -> None:
    payload = vocabulary.EVENTS[number]
    event = event_from_dict(payload)
    parts: list[dict[str, Any]] = [
        payload.get("delta", {}),
        payload.get("content_block", {}),
        *payload.get("message", {}).get("content", ()),
    ]
    texts = [
        part.get("text", part.get("thinking", ""))
        for part in parts
        if part.get("type") in ("text", "thinking", "text_delta", "thinking_delta")
    ]
    assert visible_text(event) == "".join(texts)
