"""The decoder and the encoder of event streams, and the framer below them.

The test vectors of the WHATWG standard give the expected events. Most other tests check that the
results do not depend on how the body is cut.
"""

import base64
import copy
import pickle
import re
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import pairwise, product
from typing import Any, Final

import attrs
import pytest
from hypothesis import given, strategies as st

import sansio_stream.frame_buffer as buffer_module
import sansio_stream.framer as module
import sansio_stream.sse as sse_module
import shared_data
from sansio_stream import (
    LimitError,
    Limits,
    ServerSentEvent,
    SSEDecoder,
    Violation,
    ViolationCode,
    encode_sse,
    is_event_stream,
)
from sansio_stream.frame_buffer import FrameBuffer, ReceivedBytes
from sansio_stream.framer import Framer
from sansio_stream.frames import Frame
from sansio_stream.sse import encode_frame
from tracing import peak_of, without_collections

# Helpers


@attrs.frozen(unsafe_hash=False)
class Outcome:
    """All results of a decoder for one stream."""

    events: list[ServerSentEvent]
    last_event_id: str
    reconnection_time: int | None
    violations: tuple[Violation, ...]
    violation_count: int
    error: dict[str, Any] | None


def run(chunks: Iterable[bytes], limits: Limits | None = None) -> Outcome:
    """Decode a stream with a new decoder and return the results."""
    decoder = SSEDecoder(limits)
    events: list[ServerSentEvent] = []
    error = None
    try:
        for chunk in chunks:
            events.extend(decoder.receive_data(chunk))
        events.extend(decoder.receive_eof())
    except LimitError as caught:
        error = vars(caught)
    return outcome_of(decoder, events, error)


def outcome_of(
    decoder: SSEDecoder, events: list[ServerSentEvent], error: dict[str, Any] | None = None
) -> Outcome:
    return Outcome(
        events,
        decoder.last_event_id,
        decoder.reconnection_time,
        decoder.violations,
        decoder.violation_count,
        error,
    )


def events_of(*chunks: bytes, limits: Limits | None = None) -> list[ServerSentEvent]:
    """Return the events of some chunks, before the end of the body."""
    decoder = SSEDecoder(limits)
    return [event for chunk in chunks for event in decoder.receive_data(chunk)]


def in_bytes(body: bytes) -> list[bytes]:
    return [body[at : at + 1] for at in range(len(body))]


def cut(body: bytes, at: list[int]) -> list[bytes]:
    """Cut the body at these positions, modulo its length. Some chunks may be empty."""
    edges = [0, *sorted(position % (len(body) + 1) for position in at), len(body)]
    return [body[start:end] for start, end in pairwise(edges)]


def pickled(thing: Any) -> Any:
    return pickle.loads(pickle.dumps(thing))


def chunks_of(row: dict[str, Any]) -> list[bytes]:
    return [base64.b64decode(chunk) for chunk in row["chunks_b64"]]


CUTS = st.lists(st.integers(0, 10_000), max_size=12)
PIECES = st.sampled_from(
    [
        *(b"data:", b"data: ", b"data", b"event:", b"event: ", b"id:", b"id: ", b"retry: ", b"dat"),
        *(b"\n", b"\r", b"\r\n", b"\n\n", b"\r\r", b"\r\n\r\n", b"\n\r", b":", b" ", b": ", b"::"),
        *(b"\xef\xbb\xbf", b"\xef\xbb", b"\0", b"\xff", b"\xc3", b"\xf0\x9f\x8e", "🎉é".encode()),
        *(
            b"12",
            b"+5",
            b"x",
            b"bogus",
            b"Data:",
            "\u2028\x85\x0b".encode(),
            b"a line of some length",
        ),
        *(b"data: x\n", b"data: yy\r\n", b"data: z\r", b": comment\n", b"\xef\xbb\xbf: c\r\n"),
    ]
)
BODIES = st.lists(PIECES | st.binary(max_size=3), max_size=40).map(b"".join)
SMALL_LIMITS = st.builds(
    Limits,
    event_bytes=st.integers(1, 60),
    total_bytes=st.none() | st.integers(0, 80),
    violations=st.integers(0, 4),
)


# The test vectors


@pytest.mark.parametrize(
    "recut",
    [list, lambda chunks: [b"".join(chunks)], lambda chunks: in_bytes(b"".join(chunks))],
    ids=["as given", "whole", "in bytes"],
)
def test_each_vector_has_its_events_id_and_reconnection_time(
    recut: Callable[[list[bytes]], list[bytes]],
) -> None:
    rows = shared_data.load("vectors/sse.jsonl")
    for row in rows:
        outcome = run(recut(chunks_of(row)))
        assert outcome.error is None, row["name"]
        assert outcome.events == [ServerSentEvent(**event) for event in row["events"]], row["name"]
        assert outcome.last_event_id == row["last_event_id"], row["name"]
        assert outcome.reconnection_time == row["reconnect_ms"], row["name"]
    shared_data.ran("vectors/sse.jsonl", len(rows))


def by_the_standard(body: bytes) -> tuple[list[ServerSentEvent], str, int | None]:
    """Return the events, the last event id and the reconnection time, step by step.

    The steps are those of the WHATWG HTML standard, sections 9.2.5 and 9.2.6.
    """
    lines = re.split("\r\n|\n|\r", body.decode("utf-8", "replace").removeprefix("\ufeff"))
    events: list[ServerSentEvent] = []
    name = data = new_id = last_id = ""
    retry = reconnection_time = None
    for line in lines[:-1]:  # the last one has no line end
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line:
            last_id = new_id
            if data:
                events.append(ServerSentEvent(name or "message", data[:-1], last_id, retry))
            name, data, retry = "", "", None
        elif field == "event":
            name = value
        elif field == "data":
            data += value + "\n"
        elif field == "id" and "\0" not in value:
            new_id = value
        elif field == "retry" and re.fullmatch("[0-9]+", value):
            retry = reconnection_time = int(value)
    return events, last_id, reconnection_time


@given(BODIES)
def test_any_body_is_decoded_as_the_standard_says(body: bytes) -> None:
    outcome = run([body])
    expected = by_the_standard(body)
    assert (outcome.events, outcome.last_event_id, outcome.reconnection_time) == expected


# With "data:" these would be frames in the usual layout, which are not read as lines.
SEQUENCES: Final = tuple(map(b"".join, product([b"data", b":", b"\n", b"\r"], repeat=5)))


@pytest.mark.parametrize("before", [b"", b"\n"])
def test_each_sequence_of_lines_comments_and_line_ends_is_decoded_exactly(before: bytes) -> None:
    for sequence in SEQUENCES:
        body = before + sequence + b"data:x\n\n"
        assert events_of(body) == by_the_standard(body)[0], body


@pytest.mark.parametrize("size", [1, 4, 5, 6, 10])
def test_how_many_lines_are_read_at_once_does_not_change_the_events(
    size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LINES_AT_ONCE", size)
    for sequence in SEQUENCES:
        body = b"\n" + sequence + b"data:x\n\n"
        assert events_of(body) == by_the_standard(body)[0], body


@given(st.data())
def test_each_vector_has_the_same_result_however_it_is_cut(data: st.DataObject) -> None:
    row = data.draw(st.sampled_from(shared_data.load("vectors/sse.jsonl")))
    body = b"".join(chunks_of(row))
    assert run(cut(body, data.draw(CUTS))) == run([body])


def test_each_content_type_vector_is_classified() -> None:
    rows = shared_data.load("vectors/content_type.jsonl")
    for row in rows:
        assert is_event_stream(row["content_type"]) is row["is_event_stream"], row["name"]
    shared_data.ran("vectors/content_type.jsonl", len(rows))


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        ("text/event-stream, */*", True),
        ("text/event-stream,", True),
        ('application/json, TEXT/Event-Stream ; charset="utf-8"', True),
        ("text/event-stream, application/json", False),
        ("*/*", False),
        ("event-stream", False),
    ],
)
def test_in_a_comma_separated_list_the_last_type_wins(content_type: str, expected: bool) -> None:
    assert is_event_stream(content_type) is expected


# Chunks and iterators


@given(BODIES, CUTS)
def test_the_result_does_not_depend_on_how_the_body_is_cut(body: bytes, at: list[int]) -> None:
    whole = run([body])
    assert run(cut(body, at)) == whole
    assert run(in_bytes(body)) == whole


@given(BODIES, CUTS, SMALL_LIMITS)
def test_limits_apply_at_the_same_byte_however_the_body_is_cut(
    body: bytes, at: list[int], limits: Limits
) -> None:
    whole = run([body], limits)
    assert run(cut(body, at), limits) == whole
    assert run(in_bytes(body), limits) == whole


@pytest.mark.parametrize(
    ("body", "event_bytes"),
    [
        (b"data: x\r\ndata: y\r\n\r\n", 8),
        (b"\n\ndata: x\r\ndata: y\r\n\r\n", 8),
        (b"\n\ndata: x\r\n: comment\r\n", 8),
        (b"data: x\r\n\r\n", 8),
        (b"data: x\r\n\r\n", 9),
        (b"\xef\xbb\xbfdata: x\n\n", 8),
        (b"\xef\xbb\xbfdata: x\n\n", 9),
        (b"\xef\xbb\xbf: comment\ndata: x\n\n", 10),
        (b"\xef\xbb\xbf\n", 1),
        (b"\xef\xbbdata: x\n\n", 2),
        (b"data: \xc3\xa9\xc3\xa9\xc3\xa9\n\n", 7),
    ],
)
def test_a_limit_is_exact_for_every_cut(body: bytes, event_bytes: int) -> None:
    limits = Limits(event_bytes=event_bytes)
    whole = run([body], limits)
    assert run(in_bytes(body), limits) == whole
    for at in range(len(body)):
        assert run([body[:at], body[at:]], limits) == whole


@given(BODIES, CUTS, st.lists(st.integers(0, 3), max_size=20))
def test_an_abandoned_iterator_does_not_drop_events(
    body: bytes, at: list[int], takes: list[int]
) -> None:
    decoder = SSEDecoder()
    events: list[ServerSentEvent] = []
    counts = iter(takes)
    for chunk in cut(body, at):
        iterator = decoder.receive_data(chunk)
        events.extend(event for _, event in zip(range(next(counts, 0)), iterator, strict=False))
    events.extend(decoder.receive_eof())
    assert outcome_of(decoder, events) == run([body])


def test_lines_behind_an_event_that_nobody_took_are_reported_at_the_end() -> None:
    decoder = SSEDecoder()
    assert len(list(decoder.receive_data(b"data: 1\n\n"))) == 1
    decoder.receive_data(b"data: 2\n\noops\n")  # nobody iterates
    assert [event.data for event in decoder.receive_eof()] == ["2"]
    assert decoder.violation_count == 1


def test_a_new_iterator_continues_after_an_abandoned_one() -> None:
    decoder = SSEDecoder()
    first = decoder.receive_data(b"data: 1\n\ndata: 2\n\ndata: 3\n\n")
    second = decoder.receive_data(b"data: 4\n\n")
    events = [next(first), next(second), next(first), *decoder.receive_data(b"")]
    assert [event.data for event in events] == ["1", "2", "3", "4"]
    assert list(first) == list(second) == []


def test_bytes_are_decoded_only_when_an_event_is_taken() -> None:
    decoder = SSEDecoder()
    iterator = decoder.receive_data(b"id: 1\nretry: 5\nbogus\ndata: x\n\n")
    assert outcome_of(decoder, []) == Outcome([], "", None, (), 0, None)
    next(iterator)
    assert (decoder.last_event_id, decoder.reconnection_time) == ("1", 5)
    assert decoder.violation_count == len(decoder.violations) == 1


def test_an_event_is_returned_after_the_cr_of_its_blank_line() -> None:
    decoder = SSEDecoder()
    assert list(decoder.receive_data(b"data: x\r\n")) == []
    assert list(decoder.receive_data(b"\r")) == [ServerSentEvent(data="x")]
    assert list(decoder.receive_data(b"\n")) == []
    assert list(decoder.receive_data(b"data: y\n\n")) == [ServerSentEvent(data="y")]


def test_a_crlf_in_two_chunks_is_one_line_end_even_if_no_event_was_taken() -> None:
    decoder = SSEDecoder()
    for chunk in in_bytes(b"data: x\r\ndata: y\r\n\r\n"):
        decoder.receive_data(chunk)
    assert list(decoder.receive_eof()) == [ServerSentEvent(data="x\ny")]


def test_bytearrays_and_memoryviews_are_accepted_and_may_change_afterwards() -> None:
    decoder = SSEDecoder()
    buffer = bytearray(b"data: one\n\ndata: t")
    iterator = decoder.receive_data(buffer)
    buffer[:] = b"!" * len(buffer)
    assert [event.data for event in iterator] == ["one"]
    buffer[:] = b"-wo\n\n--"
    iterator = decoder.receive_data(memoryview(buffer)[1:5])
    buffer[:] = b"!" * len(buffer)
    assert [event.data for event in iterator] == ["two"]


@pytest.mark.parametrize("data", [5, "data: x", None, [100], iter(b"x")])
def test_an_argument_of_the_wrong_type_raises_a_type_error(data: Any) -> None:
    decoder = SSEDecoder()
    with pytest.raises(TypeError, match="bytes or bytearray or memoryview"):
        decoder.receive_data(data)
    assert [event.data for event in decoder.receive_data(b"data: x\n\n")] == ["x"]


# The end


def test_an_event_without_its_blank_line_is_discarded_at_the_end() -> None:
    outcome = run([b"id: 1\ndata: x\n\nid: 2\ndata: y\n"])
    assert outcome.events == [ServerSentEvent(data="x", id="1")]
    assert outcome.last_event_id == "1"


def test_receive_eof_returns_the_events_that_were_not_taken() -> None:
    decoder = SSEDecoder()
    decoder.receive_data(b"data: x\n\n")
    assert list(decoder.receive_eof()) == [ServerSentEvent(data="x")]


def test_data_after_the_end_is_a_runtime_error_and_a_second_end_is_ignored() -> None:
    decoder = SSEDecoder()
    decoder.receive_data(b"data: x\n\n")
    decoder.receive_eof()
    with pytest.raises(RuntimeError, match="after the end"):
        decoder.receive_data(b"data: y\n\n")
    assert [event.data for event in decoder.receive_eof()] == ["x"]
    assert list(decoder.receive_eof()) == []


# The fields


@pytest.mark.parametrize(
    ("retry", "expected"),
    [
        (b"5", 5),
        (b"007", 7),
        (b"+5", None),
        (b"-5", None),
        (b"1_000", None),
        (b" 5", None),
        (b"5 ", None),
        (b"5.0", None),
        (b"", None),
        ("\u0665".encode(), None),
        (b"9" * 5000, None),
    ],
)
def test_a_retry_field_is_used_only_if_it_consists_of_ascii_digits(
    retry: bytes, expected: int | None
) -> None:
    decoder = SSEDecoder()
    (event,) = decoder.receive_data(b"retry: " + retry + b"\ndata: x\n\n")
    assert event.retry == decoder.reconnection_time == expected
    codes = [violation.code for violation in decoder.violations]
    assert codes == ([] if expected is not None else ["invalid_retry"])


def test_an_invalid_retry_does_not_replace_the_valid_one_before_it() -> None:
    decoder = SSEDecoder()
    iterator = decoder.receive_data(b"retry: 1\nretry: x\ndata: a\n\ndata: b\n\n")
    assert [event.retry for event in iterator] == [1, None]
    assert decoder.reconnection_time == 1


@pytest.mark.parametrize(
    ("head", "event", "is_named"),
    [
        (b"", "message", False),
        (b"event:\n", "message", False),
        (b"event: message\n", "message", True),
        (b"event: ping\n", "ping", True),
    ],
)
def test_is_named_shows_whether_the_frame_has_an_event_name(
    head: bytes, event: str, is_named: bool
) -> None:
    (decoded,) = SSEDecoder().receive_data(head + b"data: x\n\n")
    assert (decoded.event, decoded.is_named) == (event, is_named)
    assert decoded.name == (event if is_named else None)
    assert decoded == ServerSentEvent(event, "x")
    (again,) = SSEDecoder().receive_data(encode_sse(decoded))
    assert (again.event, again.is_named) == (event, is_named)


def test_an_id_with_nul_is_ignored_and_a_valid_one_persists() -> None:
    events = events_of(b"id: a\ndata: 1\n\nid: b\0\ndata: 2\n\nid\ndata: 3\n\ndata: 4\n\n")
    assert [event.id for event in events] == ["a", "a", "", ""]


def test_an_id_is_used_even_without_data() -> None:
    outcome = run([b"id: a\n\n"])
    assert outcome.events == []
    assert outcome.last_event_id == "a"


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\x00"])
def test_only_cr_and_lf_end_a_line(separator: str) -> None:
    data = f"a{separator}b"
    for chunks in ([f"data: {data}\n\n".encode()], in_bytes(f"data: {data}\n\n".encode())):
        assert events_of(*chunks) == [ServerSentEvent(data=data)]


def test_only_its_end_is_removed_from_a_line() -> None:
    for byte in set(range(256)) - {*b"\r\n"}:
        data = b"a" + bytes([byte])
        assert events_of(b"data: " + data + b"\r\n\n")[0].data == data.decode("utf-8", "replace")


def test_a_frame_with_only_an_empty_data_field_is_a_message_without_text() -> None:
    assert events_of(b"data\n\n") == [ServerSentEvent()] == [ServerSentEvent("message", "", "")]


def test_one_byte_order_mark_is_dropped_and_a_second_is_not() -> None:
    mark = "\ufeff".encode()
    assert events_of(mark + b"data: x\n\n") == [ServerSentEvent(data="x")]
    assert events_of(*in_bytes(mark + b"data: x\n\n")) == [ServerSentEvent(data="x")]
    assert events_of(mark + mark + b"data: x\n\n") == []
    assert events_of(b"data: x\n\n" + mark + b"data: y\n\n") == [ServerSentEvent(data="x")]


# Violations


def test_violations_are_reported_with_their_event() -> None:
    decoder = SSEDecoder()
    body = b": hello\nbogus: 1\n\nevent: \xff\ndata: a\xc3\n\ndata: ok\n\n"
    iterator = decoder.receive_data(body)
    assert next(iterator) == ServerSentEvent(
        "\N{REPLACEMENT CHARACTER}", "a\N{REPLACEMENT CHARACTER}"
    )
    assert [(v.code, v.event_number, v.byte_offset, v.excerpt) for v in decoder.violations] == [
        (ViolationCode.UNKNOWN_FIELD, 1, 8, "bogus: 1"),
        (ViolationCode.INVALID_UTF8, 1, 18, "\N{REPLACEMENT CHARACTER}"),
        (ViolationCode.INVALID_UTF8, 1, 18, "a\N{REPLACEMENT CHARACTER}"),
    ]
    for violation in decoder.violations:
        assert violation.message == f"{violation.code.meaning}; {violation.code.action}"
    assert list(iterator) == [ServerSentEvent(data="ok")]
    assert decoder.violation_count == 3


def test_events_are_numbered_from_one_and_later_violations_have_the_last_number() -> None:
    decoder = SSEDecoder()
    list(decoder.receive_data(b"data: 1\n\nbogus\ndata: 2\n\nid: 1\n\ndata: 3\xff\n\nbogus\n"))
    assert [violation.event_number for violation in decoder.violations] == [2, 3]
    list(decoder.receive_eof())
    assert [violation.event_number for violation in decoder.violations] == [2, 3, 3]


def test_an_invalid_line_that_no_event_follows_is_reported_at_the_end() -> None:
    decoder = SSEDecoder()
    assert list(decoder.receive_data(b"<html>\n")) == []
    assert decoder.violation_count == 0
    assert list(decoder.receive_eof()) == []
    (violation,) = decoder.violations
    assert (violation.code, violation.event_number) == (ViolationCode.UNKNOWN_FIELD, 0)


def test_the_offset_of_a_frame_is_that_of_its_first_field() -> None:
    body = b"\xef\xbb\xbf: c\r\n\r\nx\r\ndata: 1\r\n\r\n"
    for chunks in ([body], in_bytes(body)):
        decoder = SSEDecoder()
        assert len([event for chunk in chunks for event in decoder.receive_data(chunk)]) == 1
        assert [violation.byte_offset for violation in decoder.violations] == [body.index(b"x")]


@pytest.mark.parametrize("line", [b"bogus", b"retry: x", b"id: \xff", b"bogus\nretry: x"])
@pytest.mark.parametrize(
    ("before", "inside"),
    [
        (b"", b""),
        (b"\xef\xbb\xbf", b""),
        (b"\xef\xbb\xbf: c\n", b""),
        (b"data: 0\n\n", b""),
        (b"", b"event: e\n"),
        (b"data: 0\n\n", b"event: e\r: c\r\n"),
    ],
)
def test_a_violation_has_the_offset_of_its_frame_however_long_its_line_is(
    line: bytes, before: bytes, inside: bytes
) -> None:
    for length in (0, module.LINES_AT_ONCE):
        body = before + inside + line + b"y" * length + b"\ndata: x\n\n"
        offsets = [violation.byte_offset for violation in run([body]).violations]
        assert offsets == [len(before)] * len(line.splitlines())


def test_invalid_utf8_in_an_id_without_data_is_reported_with_the_next_event() -> None:
    outcome = run([b"id: \xff\n\ndata: x\n\n"])
    assert outcome.last_event_id == "\N{REPLACEMENT CHARACTER}"
    assert [(v.code, v.byte_offset) for v in outcome.violations] == [
        (ViolationCode.INVALID_UTF8, 0)
    ]


def test_invalid_utf8_in_an_id_with_data_has_the_offset_of_its_frame() -> None:
    outcome = run([b"data: 0\n\nid: \xff\ndata: x\n\n"])
    assert [violation.byte_offset for violation in outcome.violations] == [9]


def test_an_excerpt_is_bounded_and_contains_the_invalid_byte() -> None:
    outcome = run([b"data: " + b"a" * 5000 + b"\xff" + b"b" * 5000 + b"\n\n"])
    (violation,) = outcome.violations
    assert len(violation.excerpt) == 1024
    assert violation.excerpt.startswith("a" * 32 + "\N{REPLACEMENT CHARACTER}b")
    outcome = run([b"x" * 5000 + b"\ndata: 1\n\n"])
    assert outcome.violations[0].excerpt == "x" * 1023 + "…"


def test_kept_violations_are_bounded_and_all_are_counted() -> None:
    limits = Limits(violations=3)
    outcome = run([b"bogus\n" * 10 + b"data: x\n\n" + b"bogus\ndata: y\n\n" * 5], limits)
    assert len(outcome.violations) == 3
    assert outcome.violation_count == 15
    assert len(outcome.events) == 6


def test_violations_of_a_frame_are_in_order_and_those_beyond_the_limit_are_only_counted() -> None:
    body = b"\nbogus\nretry: x\nbogus\nretry: y\ndata: z\n\n"
    for violations in range(6):
        outcome = run([body], Limits(violations=violations))
        codes = [str(violation.code) for violation in outcome.violations]
        assert codes == (["unknown_field", "invalid_retry"] * 2)[:violations]
        assert outcome.violation_count == 4


@pytest.mark.parametrize("line", [b"bogus\n", b"retry: x\n", b"id: \xff\n\n"])
@pytest.mark.parametrize(("violations", "kept"), [(0, 1), (1, 1), (3, 3), (10, 10), (11, 10)])
def test_a_framer_keeps_at_most_as_many_flaws_as_the_limit_but_at_least_one(
    line: bytes, violations: int, kept: int
) -> None:
    framer = Framer(Limits(violations=violations))
    framer.buffer.feed(line * 10)
    assert framer.next_frame() is framer.finish() is None
    flaws, uncounted = framer.take_flaws()
    assert (len(flaws), uncounted) == (kept, 10 - kept)
    assert framer.take_flaws() == ((), 0)


@pytest.mark.parametrize("before", [b"", b"bogus\r"])
def test_of_the_lines_with_a_loss_only_the_first_is_kept_beyond_the_limit(before: bytes) -> None:
    framer = Framer(Limits(violations=1))
    for chunk in (before, *(b"b%d{\r" % count for count in range(10))):
        framer.buffer.feed(chunk)
        assert framer.next_frame() is None
    flaws, uncounted = framer.take_flaws()
    lines = [line.decode() for line in before.split()]
    assert [flaw.excerpt for flaw in flaws] == [*lines, "b0{"]
    assert uncounted == 9


def test_invalid_utf8_in_data_is_kept_beyond_the_limit_and_in_a_name_only_counted() -> None:
    framer = Framer(Limits(violations=1))
    framer.buffer.feed(b"bogus\n" + 3 * b"event: \xff\ndata: \xfe\n\n")
    frames = list(iter(framer.next_frame, None))
    codes = [[str(flaw.code) for flaw in frame.flaws] for frame in frames]
    assert codes == [["unknown_field", "invalid_utf8"], ["invalid_utf8"], ["invalid_utf8"]]
    assert [frame.uncounted for frame in frames] == [1, 1, 1]


@pytest.mark.parametrize("name", [b"", b"event: e\n", b"event: \xff\n"])
@pytest.mark.parametrize("data", [b"x", b"x\xff", "é".encode(), b""])
def test_a_frame_has_the_bytes_of_its_data_only_if_they_are_not_utf8(
    name: bytes, data: bytes
) -> None:
    framer = Framer(Limits())
    framer.buffer.feed(name + b"data: " + data + b"\n\n")
    frame = framer.next_frame()
    assert frame is not None
    assert frame.sent == (data if b"\xff" in data else b"")
    assert frame.data == data.decode("utf-8", "replace")


# Limits


def limit_error_of(*chunks: bytes, limits: Limits) -> tuple[list[str], LimitError]:
    """Return the data of the events before the LimitError, and the error."""
    decoder = SSEDecoder(limits)
    seen: list[str] = []

    def decode() -> None:
        for chunk in chunks:
            # With a comprehension the error would discard the events before it.
            for event in decoder.receive_data(chunk):
                seen.append(event.data)  # noqa: PERF401

    with pytest.raises(LimitError) as caught:
        decode()
    return seen, caught.value


@pytest.mark.parametrize(
    ("frame", "size"),
    [
        (b"data: x\n\n", 9),
        (b"data: x\r\r", 9),
        (b"data: x\r\n\r\n", 10),  # an LF may follow the last CR
        (b"event: e\ndata: x\n\n", 18),
        (b"data: x\n: a comment inside\n\n", 28),
    ],
)
def test_an_event_of_exactly_the_limit_fits_and_one_byte_more_does_not(
    frame: bytes, size: int
) -> None:
    for prefix in (b"", b": comment\n", b"data: 0\n\n", b"\xef\xbb\xbf", b"\r\n\n"):
        body = prefix + frame
        for chunks in ([body], in_bytes(body)):
            limits = Limits(event_bytes=max(size, 10))
            assert events_of(*chunks, limits=limits)[-1].data == "x"
            if size > 10:
                _, error = limit_error_of(*chunks, limits=Limits(event_bytes=size - 1))
                assert (error.limit, error.maximum, error.code) == (
                    "event_bytes",
                    size - 1,
                    "event_bytes",
                )
                assert error.byte_offset == len(prefix)


def test_an_event_of_nine_bytes_exceeds_a_limit_of_eight() -> None:
    seen, error = limit_error_of(b"data: 0\n\n", limits=Limits(event_bytes=8))
    assert seen == []
    assert str(error) == "an event is larger than 8 bytes"
    assert (error.event_number, error.byte_offset, error.raw) == (1, 0, "")


def test_comments_between_events_do_not_count() -> None:
    body = b": ping\n" * 100 + b"data: x\n\n"
    assert [event.data for event in events_of(body, limits=Limits(event_bytes=9))] == ["x"]


def test_a_comment_without_a_line_end_exceeds_the_limit() -> None:
    _, error = limit_error_of(b": ", b"x" * 50, limits=Limits(event_bytes=20))
    assert error.raw == ": " + "x" * 18


def test_a_limit_error_is_raised_after_the_events_before_it_and_has_its_offset() -> None:
    body = b"data: 1\n\nevent: e\ndata: " + b"2" * 50 + b"\n\ndata: 3\n\n"
    for chunks in ([body], in_bytes(body)):
        seen, error = limit_error_of(*chunks, limits=Limits(event_bytes=30))
        assert seen == ["1"]
        assert error.event_number == 2
        assert error.byte_offset == 9
        assert error.raw == "data: " + "2" * 15
        assert error.position is None


def test_the_excerpt_in_a_limit_error_is_bounded() -> None:
    _, error = limit_error_of(b"data: " + b"x" * 9000, limits=Limits(event_bytes=5000))
    assert error.raw == "data: " + "x" * 1018


def test_the_total_limit_is_exact_and_events_within_it_are_returned() -> None:
    body = b"data: 1\n\ndata: 2\n\n"
    assert len(events_of(body, limits=Limits(total_bytes=18))) == 2
    for chunks in ([body], in_bytes(body)):
        seen, error = limit_error_of(*chunks, limits=Limits(total_bytes=17))
        assert seen == ["1"]
        assert (error.limit, error.maximum, error.byte_offset) == ("total_bytes", 17, 17)
        assert str(error) == "the body is larger than 17 bytes"
        seen, _ = limit_error_of(*chunks, b"data: 3\n\n", limits=Limits(total_bytes=18))
        assert seen == ["1", "2"]


def test_a_total_limit_of_zero_admits_only_an_empty_body() -> None:
    assert events_of(b"", limits=Limits(total_bytes=0)) == []
    _, error = limit_error_of(b"x", limits=Limits(total_bytes=0))
    assert (error.byte_offset, error.maximum) == (0, 0)


@pytest.mark.parametrize("body", [b"\n", b"\r", b"x"])
def test_an_event_limit_of_zero_admits_not_even_a_line_end(body: bytes) -> None:
    _, error = limit_error_of(body, limits=Limits(event_bytes=0))
    assert (error.byte_offset, error.raw) == (0, "")


@pytest.mark.parametrize("partial", [b"\xef", b"\xef\xbb", b"\xef\xbb\xbf"])
def test_a_byte_order_mark_counts_towards_the_limit_except_at_the_start_of_the_body(
    partial: bytes,
) -> None:
    assert events_of(partial, limits=Limits(event_bytes=1)) == []
    size = len(b"data: x\n" + partial)
    assert events_of(b"data: x\n" + partial, limits=Limits(event_bytes=size)) == []
    _, error = limit_error_of(b"data: x\n" + partial, limits=Limits(event_bytes=size - 1))
    assert error.byte_offset == 0


def test_data_beyond_the_total_limit_is_dropped_before_events_are_taken() -> None:
    decoder = SSEDecoder(Limits(total_bytes=9))
    decoder.receive_data(b"data: 1\n\nda")
    iterator = decoder.receive_data(b"ta: 2\n\n")
    assert next(iterator).data == "1"
    with pytest.raises(LimitError):
        next(iterator)


def test_lines_before_the_total_limit_are_checked_however_the_body_is_cut() -> None:
    for body in (b"data: 1\n\nbogus\ndata: 22", b"data: 1\r\n\nbogus\ndata: 2"):
        limits = Limits(total_bytes=len(body) - 1)
        for chunks in ([body], in_bytes(body), [body[:9], body[9:]]):
            outcome = run(chunks, limits)
            assert outcome.error is not None
            framer = Framer(limits)
            for chunk in chunks:
                framer.buffer.feed(chunk)
            with pytest.raises(LimitError):
                list(iter(framer.next_frame, None))
            ((flaw,), uncounted) = framer.take_flaws()
            assert (flaw.code, flaw.offset, uncounted) == (
                ViolationCode.UNKNOWN_FIELD,
                body.index(b"bogus"),
                0,
            )


def test_every_later_call_raises_a_new_copy_of_the_limit_error() -> None:
    decoder = SSEDecoder(Limits(event_bytes=20))
    dropped = decoder.receive_data(b"data: 1\n\n")
    iterator = decoder.receive_data(b"data: " + b"2" * 50 + b"\n\ndata: 3\n\n")
    assert next(iterator).data == "1"
    with pytest.raises(LimitError) as first:
        next(iterator)
    errors = [first.value]
    calls: list[Callable[[], Any]] = [
        lambda: decoder.receive_data(b""),
        lambda: decoder.receive_data(b"data: 4\n\n"),
        decoder.receive_eof,
        lambda: next(dropped),
    ]
    for call in calls * 2:
        if call is calls[-1] and len(errors) > len(calls):
            assert next(dropped, None) is None  # a generator ends when it raises
            continue
        with pytest.raises(LimitError) as again:
            call()
        assert vars(again.value) == vars(first.value)
        assert all(again.value is not error for error in errors)
        errors.append(again.value)


# Frames in the usual layout, which the framer reads without splitting them into lines


@pytest.mark.parametrize(
    ("frame", "event"),
    [
        (b"event: e\ndata: x\n\n", ServerSentEvent("e", "x")),
        (b"event:e\ndata:x\n\n", ServerSentEvent("e", "x")),
        (b"event:  e\ndata:  x\n\n", ServerSentEvent(" e", " x")),
        (b"event: e\ndata: \n\n", ServerSentEvent("e", "")),
        (b"event:\ndata: x\n\n", ServerSentEvent("message", "x")),
        (b"data: x\n\n", ServerSentEvent("message", "x")),
        (b"data:x\n\n", ServerSentEvent("message", "x")),
        (b"data:\n\n", ServerSentEvent("message", "")),
        (b"data:: :\n\n", ServerSentEvent("message", ": :")),
    ],
)
def test_a_usual_frame_is_not_read_line_by_line(
    frame: bytes, event: ServerSentEvent, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run_line_by_line(frame).events == [event]
    monkeypatch.delattr(Framer, "_take_line")
    assert events_of(3 * frame) == 3 * [event]
    assert events_of(*in_bytes(frame)) == [event]


def test_a_cr_before_or_after_a_usual_frame_does_not_change_how_it_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(Framer, "_take_lines")
    frames = b"data: x\n\nevent: e\ndata: y\n\n"
    expected = [ServerSentEvent(data="x"), ServerSentEvent("e", "y")]
    for before, after in ((b": c\r\n", b""), (b"\r\n", b""), (b"", b": c\r\n"), (b"", b"\r")):
        assert events_of(before + frames + after) == expected


def run_line_by_line(body: bytes, limits: Limits | None = None) -> Outcome:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "usual_frame", lambda *_: None)
        return run([body], limits)


@pytest.mark.parametrize("frame", [b"event: e\ndata: x\n\n", b"data: x\n\n"])
def test_a_usual_frame_with_one_changed_byte_is_read_exactly(frame: bytes) -> None:
    changed = [frame[:at] + frame[at + 1 :] for at in range(len(frame))]
    for byte in (b"\r", b"\n", b" ", b":", b"a"):
        changed += [frame[:at] + byte + frame[at:] for at in range(len(frame) + 1)]
        changed += [frame[:at] + byte + frame[at + 1 :] for at in range(len(frame))]
    for each in changed:
        for body in (each, b"\xef\xbb\xbf" + each, b"id: 1\n" + each, each + frame):
            assert run([body]) == run_line_by_line(body)


@given(BODIES, SMALL_LIMITS | st.just(Limits()))
def test_reading_usual_frames_at_once_does_not_change_the_result(
    body: bytes, limits: Limits
) -> None:
    assert run([body], limits) == run_line_by_line(body, limits)


def test_since_returns_the_bytes_of_a_frame_that_was_not_read_line_by_line() -> None:
    framer = Framer(Limits())
    for before in (b"", b": comment\n", b"\n"):
        framer.buffer.feed(before + b"data: x\n\nevent: e\ndata: y\n: c\n\n" + b"data: z")
        for raw in (b"data: x\n\n", b"event: e\ndata: y\n: c\n\n"):
            frame = framer.next_frame()
            assert frame is not None
            assert framer.buffer.since(frame.offset) == raw
        assert framer.next_frame() is None
        framer.buffer.feed(b"\n\n")
        frame = framer.next_frame()
        assert frame is not None
        assert framer.buffer.since(frame.offset) == b"data: z\n\n"
    framer.buffer.feed(b"data: x\rdata: y")
    assert framer.next_frame() is None
    framer.buffer.feed(b"\r\r")
    frame = framer.next_frame()
    assert frame is not None
    assert framer.buffer.since(frame.offset) == b""


@pytest.mark.parametrize("count", [0, 1, 2])
def test_discard_removes_all_data_and_flaws_from_a_framer(count: int) -> None:
    framer = Framer(Limits())
    framer.buffer.feed(b"data: x\n\njunk\rid: 1\rdata: y\r")
    for _ in range(count):
        framer.next_frame()
    framer.buffer.feed(1_000 * b"data: z")
    received = framer.buffer.received
    framer.discard()
    assert framer.buffer.position == framer.buffer.received == received
    assert framer.next_frame() is None
    assert framer.finish() is None
    assert framer.take_flaws() == ((), 0)
    assert len(pickle.dumps(framer)) < 2_000
    framer.buffer.feed(b"data: 1\n\n")
    (frame,) = iter(framer.next_frame, None)
    assert (frame.data, frame.offset, frame.id, frame.flaws) == ("1", received, "", ())


# The drained state: the framer need not inspect the pieces of an incomplete frame


def frames_of(
    chunks: Iterable[bytes], limits: Limits, *, marks_drained: bool, late: bool = False
) -> list[Any]:
    """Return all results of a framer for a body.

    Args:
        chunks: The body.
        limits: The limits of the framer.
        marks_drained: Calls `mark_drained` after each chunk. Then `feed` returns True only if there
            may be a frame, and `next_frame` is called only if it does.
        late: Takes at most one frame after each chunk, and does not call `mark_drained`.
    """
    framer = Framer(limits)
    results: list[Any] = []
    try:
        for chunk in chunks:
            if framer.buffer.feed(chunk):
                results += [framer.next_frame()] if late else iter(framer.next_frame, None)
            if marks_drained and not late:
                framer.buffer.mark_drained()
        framer.buffer.close()
        results += iter(framer.next_frame, None)
        results += [framer.finish(), framer.buffer.received]
    except LimitError as error:
        results.append(vars(error))
    frames = [each for each in results if each is not None]
    return [frames, framer.take_flaws(), framer.buffer.frames, framer.buffer.frame_offset]


@given(BODIES, st.lists(CUTS, min_size=1, max_size=3), SMALL_LIMITS | st.just(Limits()))
def test_mark_drained_between_frames_does_not_change_the_result(
    body: bytes, cuts: list[list[int]], limits: Limits
) -> None:
    body = b"data: 0\n\n" + body
    limits = attrs.evolve(limits, event_bytes=10 + limits.event_bytes)
    whole = frames_of([body], limits, marks_drained=False)
    frame_by_frame = re.split(rb"(?<=\n\n)", body)
    for chunks in (in_bytes(body), frame_by_frame, *(cut(body, at) for at in cuts)):
        for late in (False, True):
            assert frames_of(chunks, limits, marks_drained=True, late=late) == whole


def test_a_framer_is_drained_if_no_frame_waits_and_the_body_has_begun() -> None:
    framer = Framer(Limits(event_bytes=20))
    assert not framer.buffer.mark_drained()
    for chunk, count, limit in (
        (b"data: x", 0, 20),
        (b"\n\n", 1, 20),
        (b"data: y", 0, 20),
        (b"\n", 0, 20),
        (b"\ndata: z", 1, 20),
        (b"\n\ndata: z\n\n", 2, 20),
        # A line that is read before its frame is complete reduces the limit of the partial frame.
        (b"data: z\r", 0, 12),
        (b"data", 0, 12),
        (b"\r", 0, 7),
        (b"\r", 1, 20),
        (b"\n", 0, 20),
        (b": c\n\n", 0, 20),
    ):
        framer.buffer.feed(chunk)
        assert len(list(iter(framer.next_frame, None))) == count
        assert framer.buffer.mark_drained() is (limit > 0)
        assert framer.buffer.partial_limit == limit
    framer.buffer.close()
    assert not framer.buffer.mark_drained()
    assert not framer.buffer.is_idle


def test_a_drained_framer_has_the_offsets_of_later_frames() -> None:
    framer = Framer(Limits())
    assert Framer(Limits()).buffer.frame_offset is None
    for at, data in enumerate([b"x", b"y", b"z", b"x\n\ndata: y"]):
        framer.buffer.feed(b"data: " + data + b"\n\n")
        offsets = [frame.offset for frame in iter(framer.next_frame, None)]
        assert offsets == [9 * at] + [9 * at + 9] * (len(data) > 1)
        assert framer.buffer.frame_offset == offsets[-1]
        assert framer.buffer.mark_drained()
    assert framer.buffer.position == framer.buffer.received == 45


@pytest.mark.parametrize("frames", [b"data: x\n\n", b"data: x\n\ndata: y\n\n"])
@pytest.mark.parametrize("partial", [b"", b"data: z"])
def test_a_buffer_is_idle_after_its_last_frame_unless_data_is_pending(
    frames: bytes, partial: bytes
) -> None:
    for is_pending in (False, True):
        buffer = drained_buffer(Limits(event_bytes=60))
        assert buffer.feed(frames + partial)
        assert (buffer.text, bytes(buffer.partial), buffer.is_idle) == (frames, partial, False)
        if is_pending:
            buffer.mark_pending()
        buffer.advance(9)
        buffer.update_is_idle()
        assert buffer.is_idle is (len(frames) == 9 and not is_pending)
        buffer.advance(len(frames))
        buffer.update_is_idle()
        assert buffer.is_idle is not is_pending
        # The consumed frames reduce the limit until the next call of `mark_drained`.
        assert buffer.partial_limit == 60 - len(frames)


def drained_buffer(limits: Limits, body: bytes = b"data: 0\n\n") -> FrameBuffer:
    """Return a drained buffer whose first frame was read."""
    framer = Framer(limits)
    framer.buffer.feed(body)
    assert framer.next_frame() is not None
    assert framer.next_frame() is None
    framer.buffer.mark_pending()
    assert framer.buffer.mark_drained()
    return framer.buffer


@pytest.mark.parametrize(
    ("chunk", "whole", "limit"),
    [
        (b"data: y", b"", 60),
        (b"data: y\ndata: z", b"", 60),
        (b"data: y\n" + b"data: 45678\n", b"", 60),
        (b"data: y\r\n", b"", 60),
        (b"\r\n", b"", 60),
        (b"\r\r", b"", 60),
        (b"data: y\n\n" + b"data: y\ndata: 45678\n", b"data: y\n\n", 51),
        (b"data: y\n\n" + b"data: " + 45 * b"y", b"data: y\n\n", 51),
    ],
)
def test_feed_returns_false_until_a_frame_is_complete(
    chunk: bytes, whole: bytes, limit: int
) -> None:
    buffer = drained_buffer(Limits(event_bytes=60))
    assert buffer.feed(chunk) is (whole != b"")
    if whole:
        assert buffer.text == whole
        buffer.advance(len(whole))
        buffer.update_is_idle()
    assert buffer.is_idle
    assert buffer.partial_limit == limit


def test_a_buffer_with_a_partial_frame_of_exactly_the_limit_is_drained() -> None:
    buffer = drained_buffer(Limits(event_bytes=20), b"data: x\n\n" + b"data: 901234567890")
    assert not buffer.feed(b"12")
    buffer.mark_pending()
    assert buffer.mark_drained()
    assert buffer.feed(b"3")
    assert not buffer.mark_drained()


def test_position_includes_the_bytes_that_were_not_read() -> None:
    framer = Framer(Limits())
    for count in range(1, 5):
        framer.buffer.feed(b"data: x\n\n")
        assert framer.buffer.position == framer.buffer.received == 9 * count
        assert framer.buffer.offset == 0


def test_received_includes_the_bytes_beyond_the_total_limit() -> None:
    framer = Framer(Limits(total_bytes=10))
    for size, position in ((4, 4), (5, 9), (6, 10), (7, 10)):
        framer.buffer.feed(size * b"x")
        assert framer.buffer.position == position
    assert framer.buffer.received == 22


def test_at_frame_start_is_true_if_no_line_of_an_incomplete_frame_was_read() -> None:
    framer = Framer(Limits())
    assert framer.at_frame_start is True
    for chunk, count, expected in (
        (b"data: x", 0, True),
        (b"\r", 0, False),
        (b"\r", 1, True),
        (b"junk\n\n", 0, False),
        (b"data: y\n\n", 1, True),
        (b": comment\r\r", 0, True),
    ):
        framer.buffer.feed(chunk)
        for _ in range(count):
            assert framer.next_frame() is not None
            assert framer.at_frame_start is True
        assert framer.next_frame() is None
        assert framer.at_frame_start is expected


def test_partial_limit_is_never_more_than_the_rest_of_the_total_limit() -> None:
    framer = Framer(Limits(total_bytes=30, event_bytes=20))
    for chunk, limit in (
        (b"data: x\n\n", 20),
        (b"data: x\n\n", 12),
        (b"data: x", 12),
        (b"\n\n", 3),
        (b"abc", 3),
    ):
        framer.buffer.feed(chunk)
        while framer.next_frame():
            pass
        assert framer.buffer.mark_drained()
        assert framer.buffer.partial_limit == limit
    framer.buffer.feed(b"d")
    assert not framer.buffer.is_idle
    assert (bytes(framer.buffer.partial), framer.buffer.received) == (b"abc", 31)
    assert not framer.buffer.mark_drained()
    with pytest.raises(LimitError, match="larger than 30 bytes"):
        framer.next_frame()


@pytest.mark.parametrize(
    "chunk",
    [b"data: " + 9 * b"y" + b"\ndata: zz", b"data: y\n\ndata: " + 20 * b"z", 30 * b"data\n"],
)
def test_a_drained_framer_detects_a_frame_that_is_too_long(chunk: bytes) -> None:
    framer = Framer(Limits(event_bytes=20))
    framer.buffer.feed(b"data: x\n\n")
    assert framer.next_frame() is not None
    assert framer.buffer.mark_drained()
    framer.buffer.feed(chunk)
    assert not framer.buffer.is_idle
    with pytest.raises(LimitError, match="larger than 20 bytes"):
        deque(iter(framer.next_frame, None))


# The incomplete frame at the end of the body


def incomplete_frame(*chunks: bytes) -> Frame | None:
    """Return the incomplete frame at the end of the body."""
    framer = Framer(Limits())
    for chunk in chunks:
        framer.buffer.feed(chunk)
    while framer.next_frame():
        pass
    return framer.finish()


@pytest.mark.parametrize(
    ("body", "name", "data"),
    [
        (b"event: e\ndata: x\ndata: y\n", "e", "x\ny"),
        (b"event: e\ndata: x\ndata: y", "e", "x\ny"),
        (b"event: e\ndata: x\nda", "e", "x"),
        (b"event: e\ndata: x\ndata", "e", "x"),
        (b"event: e\ndata: x\n: comm", "e", "x"),
        (b"event: e\n", "e", ""),
        (b"id: 1\n", "", ""),
        (b"retry: 1", "", ""),
        (b"e", "", ""),
        (b"dat", "", ""),
        (b"i", "", ""),
        (b"retr", "", ""),
    ],
)
def test_finish_returns_a_frame_without_its_blank_line(body: bytes, name: str, data: str) -> None:
    before = b": c\r\ndata: 0\n\n"
    for chunks in ([before + body], in_bytes(before + body)):
        frame = incomplete_frame(*chunks)
        assert frame is not None
        assert (frame.name, frame.data) == (name, data)
        assert (frame.offset, frame.size) == (len(before), len(body))


def test_a_cut_field_name_directly_after_the_byte_order_mark_is_recognised() -> None:
    for partial in (b"d", b"data", b"even", b"i", b"retry"):
        for chunks in ([b"\xef\xbb\xbf" + partial], in_bytes(b"\xef\xbb\xbf" + partial)):
            frame = incomplete_frame(*chunks)
            assert frame is not None
            assert (frame.name, frame.data, frame.flaws) == ("", "", ())


@pytest.mark.parametrize("before", [b"data: 0\n\n", b"\xef\xbb\xbf", b""])
@pytest.mark.parametrize("line", [b"event: e", b"data: x", b"id: 1", b"retry: 5", b": comment"])
def test_a_line_that_the_end_of_the_body_cuts_is_not_invalid(before: bytes, line: bytes) -> None:
    for length in range(len(line) + 1):
        for inside in (b"", b"data: x\n"):
            framer = Framer(Limits())
            framer.buffer.feed(before + inside + line[:length])
            deque(iter(framer.next_frame, None))
            frame = framer.finish()
            assert frame is None or frame.flaws == ()
            assert frame is not None or not inside
            assert framer.take_flaws() == ((), 0)


@pytest.mark.parametrize("before", [b"data: 0\n\n", b"\xef\xbb\xbf", b"", b"id: 1\n"])
@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"retry: x", "invalid_retry"),
        (b"retry:x", "invalid_retry"),
        (b"retry:  ", "invalid_retry"),
        (b"retries", "unknown_field"),
        (b"Data", "unknown_field"),
        (b"dat:", "unknown_field"),
        (b" :", "unknown_field"),
    ],
)
def test_a_line_without_its_end_is_invalid_if_nothing_could_complete_it(
    before: bytes, line: bytes, code: str
) -> None:
    framer = Framer(Limits())
    framer.buffer.feed(before + line)
    deque(iter(framer.next_frame, None))
    frame = framer.finish()
    flaws = framer.take_flaws()[0] if frame is None else frame.flaws
    offset = 0 if before == b"id: 1\n" else len(before)
    assert [(flaw.code, flaw.offset) for flaw in flaws] == [(code, offset)]


def test_a_byte_order_mark_is_no_line_at_the_start_of_the_body_only() -> None:
    mark = "\ufeff".encode()
    for before, count in ((b"", 0), (b"\n", 1), (mark, 1)):
        for length in (1, 2, 3):
            framer = Framer(Limits(event_bytes=4 if before else 0))
            framer.buffer.feed(before + mark[:length])
            assert framer.next_frame() is framer.finish() is None
            # A part of the mark is a character that was cut.
            assert len(framer.take_flaws()[0]) == (count if length == 3 else 0)


@pytest.mark.parametrize("frame", [b"data: x\n\n", b"data: x\r\r", b"data: x\r\n\r"])
def test_the_size_of_a_frame_ends_with_the_first_byte_that_completes_it(frame: bytes) -> None:
    for before in (b"", b"\xef\xbb\xbf", b": comment\n\n", b"data: 0\n\n"):
        for chunks in ([before + frame + b"\n"], in_bytes(before + frame + b"\n")):
            framer = Framer(Limits())
            for chunk in chunks:
                framer.buffer.feed(chunk)
            *_, last = iter(framer.next_frame, None)
            assert (last.offset, last.size) == (len(before), len(frame))


@pytest.mark.parametrize("character", ["\x7f", "\x80", "\u07ff", "\u0800", "\uffff", "\U00010000"])
def test_finish_drops_a_character_that_is_cut_at_the_end_of_the_body(character: str) -> None:
    encoded = character.encode()
    for length in range(1, len(encoded) + 1):
        frame = incomplete_frame(b"data: x" + encoded[:length])
        assert frame is not None
        assert frame.data == ("x" + character if length == len(encoded) else "x")
        assert frame.flaws == ()


@pytest.mark.parametrize(
    ("data", "decoded"),
    [
        (b"\x80", "\ufffd"),
        (b"\xc3\xa9\xa9", "é\ufffd"),
        (b"\xe2\x82\xac\x80", "€\ufffd"),
        (b"\xf0\x9f\x8e\x89\x80", "\N{PARTY POPPER}\ufffd"),
        (b"\xbf\xbf\xbf\xbf", "\ufffd" * 4),
        (b"\xe2a", "\ufffda"),
        (b"\xf0\x9fa", "\ufffda"),
        (b"\xf5", "\ufffd"),
        (b"\xff", "\ufffd"),
        (b"\xff\x80", "\ufffd\ufffd"),
    ],
)
def test_finish_replaces_invalid_bytes_that_are_not_a_cut_character(
    data: bytes, decoded: str
) -> None:
    frame = incomplete_frame(b"data: " + data)
    assert frame is not None
    assert frame.data == decoded
    assert [flaw.code for flaw in frame.flaws] == [ViolationCode.INVALID_UTF8]


@pytest.mark.parametrize(
    "rest",
    [b"", b"\n", b": c\n", b": c", b"bogus", b"bogus: 1\n", b"data: 1\n\n", b"\n\xef\xbb\xbfdata"],
)
def test_finish_returns_none_without_the_start_of_a_field(rest: bytes) -> None:
    assert incomplete_frame(rest) is None
    assert incomplete_frame(b"data: 0\n\n" + rest) is None


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"type": "error"}\n', True),
        (b"<html>\n\n", True),
        (b"<html>\n\ndata: x\n\n", False),
        (b": comment\n\nid: 1\n\n", False),
        (b"", False),
    ],
)
def test_a_framer_detects_a_body_that_is_not_an_event_stream(body: bytes, expected: bool) -> None:
    framer = Framer(Limits())
    for chunk in in_bytes(body):
        framer.buffer.feed(chunk)
    while framer.next_frame():
        pass
    framer.finish()
    assert framer.is_other_content is expected
    assert framer.buffer.head == body


def test_the_head_of_a_body_is_bounded() -> None:
    framer = Framer(Limits())
    for _ in range(3):
        framer.buffer.feed(b"\xff" + b"x" * 600)
    assert framer.buffer.head == b"\xff" + b"x" * 600 + b"\xff" + b"x" * 422


@pytest.mark.parametrize("size", [1, 10, 2_000])
def test_the_head_of_a_body_without_frames_is_its_beginning_however_it_is_cut(size: int) -> None:
    body = b"".join(b"<p>%d</p>\r\n\r\n<br>\n\n" % number for number in range(100))
    framer = Framer(Limits())
    for at in range(0, len(body), size):
        framer.buffer.feed(body[at : at + size])
        assert framer.next_frame() is None
    framer.finish()
    assert framer.buffer.head == body[:1_024]


# Pickles and copies


@given(BODIES, st.integers(0, 300), st.integers(0, 2))
def test_a_decoder_can_be_pickled_and_copied_in_mid_stream(
    body: bytes, at: int, takes: int
) -> None:
    limits = Limits(event_bytes=40, total_bytes=200)
    at %= len(body) + 1
    decoder = SSEDecoder(limits)
    events: list[ServerSentEvent] = []
    with suppress(LimitError):
        for _, event in zip(range(takes), decoder.receive_data(body[:at]), strict=False):
            events.append(event)

    def decode_rest(other: SSEDecoder) -> Outcome:
        rest = list(events)
        error = None
        try:
            rest.extend(other.receive_data(body[at:]))
            rest.extend(other.receive_eof())
        except LimitError as caught:
            error = vars(caught)
        return outcome_of(other, rest, error)

    outcomes = [decode_rest(other) for other in (pickled(decoder), copy.deepcopy(decoder), decoder)]
    assert outcomes[0] == outcomes[1] == outcomes[2]
    if outcomes[0].error is None:
        assert outcomes[0] == run([body], limits)


def test_an_event_is_a_value() -> None:
    event = ServerSentEvent("e", "d", "i", 1)
    assert pickled(event) == copy.deepcopy(event) == event
    assert len({event, pickled(event)}) == 1
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        event.data = ""  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


# Encoding

ENCODABLE = st.characters(exclude_categories=["Cs"], exclude_characters="\r\n\0")
EVENTS = st.builds(
    ServerSentEvent,
    event=st.sampled_from(["message", " spaced", ":", "error"]) | st.text(ENCODABLE, min_size=1),
    data=st.text(ENCODABLE | st.sampled_from("\n\0")),
    id=st.text(ENCODABLE),
    retry=st.none() | st.integers(0, 10**30),
)


@given(EVENTS, CUTS)
def test_an_encoded_event_decodes_to_the_same(event: ServerSentEvent, at: list[int]) -> None:
    assert events_of(*cut(encode_sse(event), at)) == [event]


def test_an_event_is_encoded_without_fields_that_have_their_default() -> None:
    assert encode_sse(ServerSentEvent(data="a\n\nb")) == b"data: a\ndata: \ndata: b\n\n"
    assert encode_sse(ServerSentEvent("e", "x", "7", 5)) == (
        b"event: e\nid: 7\nretry: 5\ndata: x\n\n"
    )
    assert encode_sse(ServerSentEvent(retry=0)) == b"retry: 0\ndata: \n\n"
    assert encode_frame("e", "x") == b"event: e\ndata: x\n\n"


@pytest.mark.parametrize(
    "event",
    [
        ServerSentEvent(event=""),
        ServerSentEvent(event="a\nb"),
        ServerSentEvent(event="a\rb"),
        ServerSentEvent(id="a\nb"),
        ServerSentEvent(id="a\rb"),
        ServerSentEvent(id="a\0b"),
        ServerSentEvent(data="a\rb"),
        ServerSentEvent(data="a\r\nb"),
        ServerSentEvent(data="\ud800"),
        ServerSentEvent(event="\udfff"),
        ServerSentEvent(retry=-1),
    ],
)
def test_a_value_that_the_format_cannot_express_raises_a_value_error(
    event: ServerSentEvent,
) -> None:
    with pytest.raises(ValueError, match=r"must not|milliseconds|surrogates not allowed"):
        encode_sse(event)


# Work


def work(chunks: Iterable[bytes], monkeypatch: pytest.MonkeyPatch) -> tuple[int, int]:
    """Decode a stream. Return the number of function calls and of copied bytes."""
    calls = copied = 0

    def count_call(frame: Any, event: str, argument: Any) -> None:
        nonlocal calls
        calls += event in {"call", "c_call"}

    class Counting(type):
        def __call__(cls, data: Any) -> bytes:
            nonlocal copied
            copied += len(data)
            return bytes(data)

        def __instancecheck__(cls, thing: object) -> bool:
            return isinstance(thing, bytes)

    class CountingBytes(metaclass=Counting):
        """Replaces `bytes` in the modules and counts the bytes that it copies."""

    decoder = SSEDecoder()
    with monkeypatch.context() as patched, without_collections():
        for each in (module, buffer_module, sse_module):
            patched.setattr(each, "bytes", CountingBytes, raising=False)
        sys.setprofile(count_call)
        try:
            for chunk in chunks:
                for _ in decoder.receive_data(chunk):
                    pass
        finally:
            sys.setprofile(None)
    return calls, copied


def one_byte_chunks(size: int) -> Iterator[bytes]:
    yield from in_bytes(b"event: e\ndata: some text\n\n" * size)


def one_huge_line(size: int) -> Iterator[bytes]:
    yield b"data: "
    for _ in range(20 * size):
        yield b"x" * 64
    yield b"\n\n"


def many_tiny_events(size: int) -> Iterator[bytes]:
    yield b"data:x\n\n" * (20 * size)


def many_lines_in_one_event(size: int) -> Iterator[bytes]:
    for _ in range(20 * size):
        yield b"data: x\n"
    yield b"\n"


def a_cut_in_every_line_end(size: int) -> Iterator[bytes]:
    for _ in range(5 * size):
        yield from (b"data: x\r", b"\n\r", b"\n")


def test_a_partial_line_grows_in_place_even_after_another_line() -> None:
    buffer = Framer(Limits()).buffer
    buffer.feed(b"data: x\ndata: y")
    # `work` does not count a copy that `+=` makes. So this test checks that the object is the same.
    (before,) = bytearrays_of(buffer)
    buffer.feed(b"y")
    (after,) = bytearrays_of(buffer)
    assert after is before


def bytearrays_of(buffer: FrameBuffer) -> list[bytearray]:
    """Return the bytearrays of a buffer that are not empty."""
    names = (*ReceivedBytes.__slots__, *FrameBuffer.__slots__)
    values = (getattr(buffer, name) for name in names)
    return [value for value in values if isinstance(value, bytearray) and value]


@pytest.mark.parametrize(
    "stream",
    [
        one_byte_chunks,
        one_huge_line,
        many_tiny_events,
        many_lines_in_one_event,
        a_cut_in_every_line_end,
    ],
)
def test_twice_the_bytes_take_twice_the_work(
    stream: Callable[[int], Iterator[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, copied = work(stream(100), monkeypatch)
    twice_the_calls, twice_the_copied = work(stream(200), monkeypatch)
    assert 1.9 * calls < twice_the_calls < 2.1 * calls
    assert copied < twice_the_copied < 2.1 * copied


@pytest.mark.parametrize("before", [b"", b"id: 1\n"])
@pytest.mark.parametrize("line", [b":\n", b": comment\r\n", b":\r", b":\n\n"])
def test_skipping_lines_takes_at_most_three_times_the_memory_of_their_bytes(
    before: bytes, line: bytes
) -> None:
    body = before + line * (20_000 // len(line)) + b"\n"
    events_of(body)  # what a process does once does not count
    found: list[ServerSentEvent] = []
    assert peak_of(lambda: found.extend(SSEDecoder().receive_data(body))) < 3 * len(body)
    assert found == []
