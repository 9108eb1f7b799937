"""What a peer can make us do and hold, beside an ordinary stream: counted in steps of Python, and
in bytes for a byte of a frame. Never timed.

What a step costs depends on the machine, how many there are does not. An ordinary stream are the
deltas of a text, as the API writes them; what they cost is counted in the same process.
"""

import contextlib
import tracemalloc
from collections.abc import Callable
from typing import Any, Final

import pytest

import wire
from fuzz_cost import AT_MOST, BEGIN, DELTA, ordinary, work_of
from sansio_stream import APIError, Limits, StreamMachine

pytestmark = pytest.mark.exhaustive

Cut = Callable[[bytes], list[bytes]]


def whole(data: bytes) -> list[bytes]:
    return [data]


def in_frames(data: bytes) -> list[bytes]:
    """Cut behind each frame."""
    return [each + b"\n\n" for each in data.split(b"\n\n")[:-1]]


# Kept violations cost more than those that are only counted, and there is a bound of them.
FEW: Final = Limits(violations=5)


def each(unit: bytes, cut: Cut, **options: Any) -> float:
    """Count the steps that one unit more costs, inside of a message."""
    times = 1 + 1_500 // len(unit)
    work_of([BEGIN, *cut(unit)], limits=FEW, **options)  # what is derived from a class is derived
    few, more = (
        work_of([BEGIN, *cut(unit * count)], limits=FEW, **options)
        for count in (20 + times, 20 + 2 * times)
    )
    return (more - few) / times


LINES: Final = [
    *(b"\n", b"\r", b"\r\n", b":\n", b": x\r\n"),
    *(b"a\n", b"a\r", b"{\n", b"ab:\n", b"\xff\n", b"\0\n"),
    *(b"data\n", b"data:\n", b"data: x\r\n", b"data:\xff\n", b"data:{\n", b": x\ndata\n"),
    *(b"event\n", b"event:x\n", b"id\n", b"id:\0\n", b"id:x\r", b"retry:1\n", b"retry:x\n"),
    *(b"id\na\n", b"retry\na\n", b"event\n{\n:\n", b"data\nid\nevent\na\n"),
]

FRAMES: Final = [
    *(b"event\n\n", b"id\n\n", b"id:\xff\n\n", b"a\n\n", b"{\n\n", b"retry:x\n\n"),
    *(b"data\n\n", b"data\r\r", b"data:x\n\n", b"data:{}\n\n", b"data:[]\n\n", b"data:1\n\n"),
    *(b"data:{\n\n", b"data:}\r\n\r\n", b"data:\xff\n\n", b'data:"\xff"\n\n', b'data:{"a":1}x\n\n'),
    *(b"event:x\ndata:\n\n", b"event:\xff\ndata:\xff\n\n", b"event:ping\ndata:{\n\n"),
    *(
        b"event:error\ndata:\n\n",
        b"data:[DONE]\n\n",
        b'data:{"type":"x"}\n\n',
        b"data:{}\ndata:{}\n\n",
    ),
    b'data:{"type":"content_block_delta"}\n\n',
    *(b"event:" + name.encode() + b"\ndata:{}\n\n" for name in ("message_stop", "ping", "x")),
    *(
        wire.frame(wire.text(9, "x")),
        wire.frame(wire.block_stop(9)),
        wire.frame(wire.delta(0, "x")),
    ),
    *(DELTA.replace(b"\n", b"\r\n"), DELTA.replace(b"Hello", b"\xff"), DELTA.replace(b"0", b"-1")),
]


@pytest.mark.parametrize("line", LINES)
def test_a_byte_of_a_line_costs_no_more_than_ten_of_a_delta(line: bytes) -> None:
    assert each(line, whole) / len(line) <= AT_MOST * ordinary().frame / len(DELTA)


@pytest.mark.parametrize("frame", FRAMES)
def test_a_frame_costs_no_more_than_ten_deltas(frame: bytes) -> None:
    of_its_bytes = AT_MOST * ordinary().frame * len(frame) / len(DELTA)
    assert each(frame, whole) <= AT_MOST * ordinary().frame + of_its_bytes


def test_a_damaged_change_of_the_message_costs_no_more_than_two_of_the_api() -> None:
    damaged = b'data:{"type":"message_delta"}\n\n'
    assert each(damaged, whole) <= 2 * each(wire.frame(wire.message_delta()), whole)


@pytest.mark.parametrize("unit", LINES + FRAMES)
def test_a_byte_that_comes_alone_costs_no_more_than_ten_of_a_delta_that_do(unit: bytes) -> None:
    assert each(unit, wire.in_bytes) / len(unit) <= AT_MOST * each(DELTA, wire.in_bytes) / len(
        DELTA
    )


@pytest.mark.parametrize("begun", [b"event: message_start\ndata: {", b"data: ", b"<html>", b"\xef"])
def test_a_byte_of_the_first_frame_costs_no_more_than_one_of_a_delta_when_it_comes_alone(
    begun: bytes,
) -> None:
    few, more = (work_of(wire.in_bytes(begun + b"a" * count)) for count in (20, 220))
    assert (more - few) / 200 <= each(DELTA, wire.in_bytes) / len(DELTA)


def test_a_bound_of_the_body_costs_an_ordinary_stream_nothing() -> None:
    unbounded, bounded = Limits(total_bytes=None), Limits()
    for cut in (whole, wire.in_bytes, in_frames):
        stream = [BEGIN, *cut(DELTA * 50)]
        work_of(stream, limits=bounded)
        assert work_of(stream, limits=bounded) <= 1.01 * work_of(stream, limits=unbounded)


# What ends a stream is read to the place where it goes wrong.


@pytest.mark.parametrize(
    "item", [b"[],", b"{},", b"1,", b'"",', b'{"":1},', b"[1,1],", b'"\\n",', b"[[1]],", b'"":1,']
)
def test_a_byte_of_what_is_no_json_costs_no_more_than_ten_of_a_delta_that_is_read(
    item: bytes,
) -> None:
    def work(count: int) -> int:
        opened = b'{"":1,' if item.startswith(b'"":') else b"["
        data = b"event: content_block_delta\ndata: " + opened + item * count + b"\n\n"
        return work_of([BEGIN, data])

    count = 2_000 // len(item)
    work(count)
    more = work(2 * count) - work(count)
    assert more <= AT_MOST * ordinary().byte * count * len(item)


# Memory.

SIZE: Final = 300_000


def many(item: bytes, size: int = SIZE) -> bytes:
    return item * (size // len(item))


def in_place_of_x(payload: dict[str, Any], value: bytes) -> bytes:
    return wire.frame(payload).replace(b'"X"', value)


TEXT_WITH: Final = wire.block_start(1, {"type": "text", "text": "", "citations": ["X"]})


@pytest.mark.parametrize(
    ("frame", "times"),
    [
        (in_place_of_x(wire.text(0, "X"), b'"' + many(b"x") + b'"'), 3.2),
        (in_place_of_x(wire.text(0, "X"), b'"' + many(b"\xff") + b'"'), 10),
        (in_place_of_x(wire.text(0, "X"), b'"\xf0\x9f\x98\x80' + many(b"x") + b'"'), 10),
        (b"data: " + many(b"\xff") + b"\n\n", 6),
        (many(b"data\n") + b"\n", 3.2),
        (many(b"data:ab\r") + b"\r", 3.2),
        (many(b'data:{"type"\n') + b"\n", 3.2),
        (many(b"a\n") + b"data\n\n", 5),
        (b"data: [" + many(b"{},") + b"{}]\n\n", 3.2),
        (b"event: content_block_delta\ndata: [" + many(b"{},", 60_000) + b"\n\n", 28),
        (b'data: {"":[' + many(b'{"":{}},') + b"1]}\n\n", 35),
        (in_place_of_x(TEXT_WITH, many(b"{},") + b"{}"), 50),
        (in_place_of_x(TEXT_WITH, many(b'{"":0},') + b"{}"), 70),
    ],
    ids=range(13),
)
def test_a_frame_takes_no_more_memory_than_limits_say(frame: bytes, times: float) -> None:
    machine = StreamMachine()
    take(machine, [BEGIN])
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        take(machine, [frame])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak - before <= times * len(frame)


def take(machine: StreamMachine, chunks: list[bytes]) -> None:
    with contextlib.suppress(APIError):
        for chunk in chunks:
            for _ in machine.receive_data(chunk):
                pass
