"""An observer reads several chunks at once, and nobody can see it; times of every kind are told."""

from contextlib import suppress
from itertools import accumulate, pairwise
from random import Random
from typing import Any, Final

import pytest
from hypothesis import given, strategies as st

from sansio_stream import (
    ContentBlockDeltaEvent,
    ContentBlockStartEvent,
    Limits,
    MessageStreamEvent,
    Observer,
    ProtocolError,
    Report,
    StreamMachine,
    encode_event,
)
from sansio_stream.losses import adds_content, shows_progress
from sansio_stream.testing import FaultyStream, cuts, faults, scripts
from tracing import peak_of
from wire import HELLO, block_start, body, frame, message_start, text

STREAM: Final = {"content-type": "text/event-stream"}


def report_for(*chunks: tuple[bytes, float | None], end: float | None = None) -> Report:
    """Return the report of a stream with these chunks and times, after its end."""
    observer = Observer(200, STREAM)
    for data, at in chunks:
        observer.chunk(data, at)
    observer.end(at=end)
    return observer.report


def encoded(script: Any) -> list[bytes]:
    """Return the frames of a script."""
    return [encode_event(event) for event in script]


# Several chunks are read at once.


def chunks_of(data: st.DataObject) -> list[bytes]:
    """Draw a stream in chunks, as it was sent or cut anywhere, with line ends of any kind."""
    stream = data.draw(faults() | scripts().map(encoded))
    chunks = [*(stream.chunks if isinstance(stream, FaultyStream) else stream)]
    newline = data.draw(st.sampled_from([b"\n", b"\n", b"\r\n", b"\r"]))
    if newline != b"\n":
        chunks = [chunk.replace(b"\n", newline) for chunk in chunks]
    if data.draw(st.booleans()) and sum(map(len, chunks)) < 10_000:
        chunks = data.draw(cuts(b"".join(chunks)))
    return chunks


@given(st.data())
def test_an_observer_that_reads_several_chunks_at_once_reports_as_one_that_reads_each(
    data: st.DataObject,
) -> None:
    """One whose machine was asked for reads each chunk at once, and so does one that reports."""
    chunks = chunks_of(data)
    random = Random(data.draw(st.integers(0, 10**6)))
    limits = Limits(
        event_bytes=data.draw(st.sampled_from([400, 2**26])),
        total_bytes=data.draw(st.sampled_from([900, 2**30])),
    )
    late, shown, asked = (Observer(stall=2, limits=limits) for _ in range(3))
    machine = shown.machine
    received = 0
    for chunk in chunks:
        at = random.choice([None, float("nan"), 0, 1.5, 4.0, 9, received / 100])
        for observer in (late, shown, asked):
            observer.chunk(chunk, at)
        received += len(chunk)
        assert shown.report.bytes == received
        if isinstance(machine.error, ProtocolError):
            continue
        assert machine.bytes_received == received
        if random.random() < 0.1:
            assert asked.report == shown.report
    for observer in (late, shown, asked):
        observer.end(at=10)
    assert late.report == shown.report == asked.report


def brings_content(event: MessageStreamEvent) -> bool:
    """Return whether an event is content, as a report means it."""
    if isinstance(event, ContentBlockDeltaEvent):
        return shows_progress(event)
    return isinstance(event, ContentBlockStartEvent) and adds_content(event)


@given(st.data())
def test_the_time_of_an_event_is_that_of_the_chunk_with_which_a_machine_returns_it(
    data: st.DataObject,
) -> None:
    """However the body is cut, and wherever its line ends are."""
    chunks = chunks_of(data)
    observer, machine = Observer(stall=10**6), StreamMachine()
    times: list[float] = []
    first: float | None = None
    for number, chunk in enumerate(chunks):
        observer.chunk(chunk, float(number))
        with suppress(ProtocolError):  # the next chunk raises it again
            for event in machine.receive_data(chunk):
                first = float(number) if first is None else first
                if brings_content(event):
                    times.append(float(number))
    observer.closed()
    report = observer.report
    assert report.first_event == first
    assert report.first_content == (times[0] if times else None)
    assert report.last_content == (times[-1] if times else None)
    gaps = sorted(later - earlier for earlier, later in pairwise(times))
    assert report.gap_p50 == (gaps[(len(gaps) - 1) // 2] if gaps else None)
    assert report.gap_max == (gaps[-1] if gaps else None)


def test_the_line_end_that_two_chunks_share_belongs_to_the_first() -> None:
    steps = [frame(step).replace(b"\n", b"\r\n") for step in HELLO]
    data = b"".join(steps)
    ends = [*accumulate(map(len, steps))]
    cuts = [0, *(end - 1 for end in ends), len(data)]
    report = report_for(*((data[a:b], float(i)) for i, (a, b) in enumerate(pairwise(cuts))))
    assert (report.first_event, report.first_text, report.last_content) == (0.0, 3.0, 4.0)


def test_the_machine_is_never_seen_late() -> None:
    observer = Observer()
    for step in HELLO[:4]:
        observer.chunk(frame(step))
    machine = observer.machine
    assert machine.events_taken == 4
    observer.chunk(frame(HELLO[4]))
    assert machine.events_taken == 5


INTERRUPTS: Final = ["before the machine has them", "after that", "while their events are taken"]


@pytest.mark.parametrize("when", INTERRUPTS)
@pytest.mark.parametrize("call", [1, 2])
@pytest.mark.parametrize("newline", [b"\n", b"\r\n"])
def test_ctrl_c_while_chunks_are_read_loses_none_of_them(
    monkeypatch: pytest.MonkeyPatch, when: str, call: int, newline: bytes
) -> None:
    receive_data = StreamMachine.receive_data
    calls = 0

    def interrupted(machine: StreamMachine, data: bytes) -> Any:
        nonlocal calls
        calls += 1
        if calls != call or when == INTERRUPTS[2]:
            yield from receive_data(machine, data) if calls != call else cut(machine, data)
        elif when == INTERRUPTS[0]:
            raise KeyboardInterrupt
        else:
            receive_data(machine, data)
            raise KeyboardInterrupt

    def cut(machine: StreamMachine, data: bytes) -> Any:
        yield next(receive_data(machine, data))
        raise KeyboardInterrupt

    chunks = [(frame(step).replace(b"\n", newline), float(at)) for at, step in enumerate(HELLO)]
    expected = report_for(*chunks, end=20)
    monkeypatch.setattr(StreamMachine, "receive_data", interrupted)
    observer = Observer(200, STREAM)
    interrupts = 0
    for data, at in chunks[:6]:
        try:
            observer.chunk(data, at)
        except KeyboardInterrupt:
            interrupts += 1
    try:
        _ = observer.report
    except KeyboardInterrupt:
        interrupts += 1
    assert interrupts == 1
    for data, at in chunks[6:]:
        observer.chunk(data, at)
    observer.end(at=20)
    assert observer.report == expected


def test_few_chunks_are_stored_and_no_large_one() -> None:
    observer = Observer()
    observer.chunk(body(message_start(), block_start(0)))
    stored = 0
    for size in (*range(80), 5_000, 70_000, *range(80)):
        observer.chunk(frame(text(0, "x" * size)))
        pending = observer._pending  # nobody else knows what is stored
        assert len(pending) < 64
        assert all(len(chunk) <= 2_048 for chunk, _ in pending)
        stored = max(stored, len(pending))
    assert stored == 63
    observer.closed()
    assert (observer._pending, observer.report.events) == ([], 164)


def test_chunks_without_an_event_leave_nothing_behind() -> None:
    def observe() -> None:
        observer = Observer()
        observer.chunk(body(message_start(), block_start(0)))
        for at in range(20_000):
            observer.chunk(b"x", float(at))

    observe()
    assert peak_of(observe) < 200_000, "a number is kept for each chunk"


# Times.


def test_a_gap_that_no_float_holds_is_left_out() -> None:
    steps = body(message_start(), block_start(0))
    report = report_for((steps, 0.0), (frame(text(0, "a")), -1e308), (frame(text(0, "b")), 1e308))
    assert (report.first_content, report.last_content) == (-1e308, 1e308)
    assert (report.gap_max, report.stall_count) == (None, 0)


def test_a_block_that_begins_with_text_brings_the_first_text() -> None:
    begins = block_start(0, {"type": "text", "text": "Hi"})
    report = report_for((frame(message_start()), 1.0), (frame(begins), 2.0), (frame(begins), 3.0))
    assert (report.first_text, report.first_content, report.last_content) == (2.0, 2.0, 3.0)


def test_a_text_without_a_time_is_not_the_first_one_that_is_timed() -> None:
    chunks = [
        (frame(step), at) for step, at in zip(HELLO, [1.0, 1.0, 2.0, None, 4.0], strict=False)
    ]
    report = report_for(*chunks)
    assert (report.first_text, report.first_content) == (4.0, 4.0)


def test_of_two_events_in_a_chunk_the_second_has_no_gap() -> None:
    first = body(message_start(), block_start(0), text(0, "a"))
    report = report_for((first, 1.0), (body(text(0, "b"), text(0, "c")), 2.0))
    assert (report.gap_p50, report.gap_max, report.last_content) == (0.0, 1.0, 2.0)


def test_a_gap_as_long_as_the_threshold_is_no_stall() -> None:
    first = body(message_start(), block_start(0), text(0, "a"))
    report = report_for((first, 1.0), (frame(text(0, "b")), 3.0))
    assert (report.gap_max, report.stall_count) == (2.0, 0)
