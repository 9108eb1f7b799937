"""Bounds on the work and the memory that hostile bytes can cause.

Work is counted in steps of Python, because the number of steps is the same on every machine. It is
compared with the work of an ordinary stream: deltas of text in the layout of the API, counted in
the same process. Memory is counted in bytes for each byte of a frame.
"""

import contextlib
import functools
import tracemalloc
from collections.abc import Callable
from typing import Any, Final

import pytest

import wire
from fuzz_cost import AT_MOST, AT_MOST_BYTES, BEGIN, DELTA, ordinary, work_of
from sansio_stream import APIError, Limits, StreamMachine

pytestmark = pytest.mark.exhaustive

Cut = Callable[[bytes], list[bytes]]


def in_one_chunk(data: bytes) -> list[bytes]:
    return [data]


def in_frames(data: bytes) -> list[bytes]:
    """Cut after each frame."""
    return [each + b"\n\n" for each in data.split(b"\n\n")[:-1]]


# A violation that is kept costs more than one that is only counted. The limit bounds how many are
# kept.
FEW_VIOLATIONS: Final = Limits(violations=5)


def cost_of_a_unit(
    unit: bytes, cut: Cut, *, before: int = 20, size: int = 600, **options: Any
) -> float:
    """Return how many steps one more unit costs inside a message.

    Args:
        unit: the bytes that are repeated.
        cut: cuts them into chunks.
        before: how many units, at least, the machine has read before.
        size: the bytes of the units whose steps are counted.
        options: options of the machine.
    """
    times = 1 + size // len(unit)
    work_of(
        [BEGIN, *cut(unit)], limits=FEW_VIOLATIONS, **options
    )  # derives the schema of each class
    few, more = (
        work_of([BEGIN, *cut(unit * count)], limits=FEW_VIOLATIONS, **options)
        for count in (before + times, before + 2 * times)
    )
    return (more - few) / times


def cost_of_a_byte(unit: bytes) -> float:
    """Return how many steps a byte of one more unit costs, if each byte is a chunk of its own.

    Fewer units are enough: the result differs from that of 500 bytes by less than 0.1 %.
    """
    return cost_of_a_unit(unit, wire.in_bytes, before=6, size=150) / len(unit)


@functools.cache
def cost_of_a_byte_of_a_delta() -> float:
    return cost_of_a_byte(DELTA)


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
def test_a_byte_of_a_line_costs_at_most_two_bytes_of_a_decoded_delta(line: bytes) -> None:
    assert cost_of_a_unit(line, in_one_chunk) / len(line) <= AT_MOST * ordinary().byte


@pytest.mark.parametrize("frame", FRAMES)
def test_a_frame_costs_at_most_two_decoded_deltas(frame: bytes) -> None:
    of_its_bytes = AT_MOST * ordinary().byte * len(frame)
    assert cost_of_a_unit(frame, in_one_chunk) <= AT_MOST * ordinary().frame + of_its_bytes


def test_an_invalid_message_delta_costs_at_most_two_valid_ones() -> None:
    damaged = b'data:{"type":"message_delta"}\n\n'
    assert cost_of_a_unit(damaged, in_one_chunk) <= 2 * cost_of_a_unit(
        wire.frame(wire.message_delta()), in_one_chunk
    )


@pytest.mark.parametrize("unit", LINES + FRAMES)
def test_a_byte_in_a_chunk_of_its_own_costs_at_most_10_2_such_bytes_of_a_delta(unit: bytes) -> None:
    # A line feed costs the most: 9.9 on CPython 3.11, 10.1 on 3.12 and 10.0 on 3.13.
    assert cost_of_a_byte(unit) <= 10.2 * cost_of_a_byte_of_a_delta()


@pytest.mark.parametrize(
    "beginning", [b"event: message_start\ndata: {", b"data: ", b"<html>", b"\xef"]
)
def test_single_bytes_of_the_first_frame_cost_no_more_than_those_of_a_delta(
    beginning: bytes,
) -> None:
    few, more = (work_of(wire.in_bytes(beginning + b"a" * count)) for count in (20, 220))
    assert (more - few) / 200 <= cost_of_a_byte_of_a_delta()


def test_the_total_bytes_limit_costs_an_ordinary_stream_nothing() -> None:
    unbounded, bounded = Limits(total_bytes=None), Limits()
    for cut in (in_one_chunk, wire.in_bytes, in_frames):
        stream = [BEGIN, *cut(DELTA * 50)]
        work_of(stream, limits=bounded)
        assert work_of(stream, limits=bounded) <= 1.01 * work_of(stream, limits=unbounded)


# The data of a frame that is not valid JSON is read up to the error.


@pytest.mark.parametrize(
    "item", [b"[],", b"{},", b"1,", b'"",', b'{"":1},', b"[1,1],", b'"\\n",', b"[[1]],", b'"":1,']
)
def test_a_byte_of_invalid_json_costs_at_most_ten_bytes_of_a_decoded_delta(
    item: bytes,
) -> None:
    def work(count: int) -> int:
        opened = b'{"":1,' if item.startswith(b'"":') else b"["
        data = b"event: content_block_delta\ndata: " + opened + item * count + b"\n\n"
        return work_of([BEGIN, data])

    count = 2_000 // len(item)
    work(count)
    more = work(2 * count) - work(count)
    assert more <= AT_MOST_BYTES * ordinary().byte * count * len(item)


# Memory.

SIZE: Final = 300_000
# For objects a smaller size shows the same bytes for each byte.
OF_OBJECTS: Final = 100_000


def repeated(item: bytes, size: int = SIZE) -> bytes:
    return item * (size // len(item))


def in_place_of_x(payload: dict[str, Any], value: bytes) -> bytes:
    return wire.frame(payload).replace(b'"X"', value)


TEXT_WITH: Final = wire.block_start(1, {"type": "text", "text": "", "citations": ["X"]})


@pytest.mark.parametrize(
    ("frame", "times"),
    [
        (in_place_of_x(wire.text(0, "X"), b'"' + repeated(b"x") + b'"'), 3.2),
        (in_place_of_x(wire.text(0, "X"), b'"' + repeated(b"\xff") + b'"'), 10),
        (in_place_of_x(wire.text(0, "X"), b'"\xf0\x9f\x98\x80' + repeated(b"x") + b'"'), 10),
        (b"data: " + repeated(b"\xff") + b"\n\n", 6),
        (repeated(b"data\n") + b"\n", 3.2),
        (repeated(b"data:ab\r") + b"\r", 3.2),
        (repeated(b'data:{"type"\n') + b"\n", 3.2),
        (repeated(b"a\n") + b"data\n\n", 5),
        (b"data: [" + repeated(b"{},", OF_OBJECTS) + b"{}]\n\n", 3.2),
        (b"event: content_block_delta\ndata: [" + repeated(b"{},", 60_000) + b"\n\n", 28),
        (b'data: {"":[' + repeated(b'{"":{}},', OF_OBJECTS) + b"1]}\n\n", 35),
        (in_place_of_x(TEXT_WITH, repeated(b"{},", OF_OBJECTS) + b"{}"), 50),
        (in_place_of_x(TEXT_WITH, repeated(b'{"":0},', OF_OBJECTS) + b"{}"), 70),
    ],
    ids=range(13),
)
def test_a_frame_takes_no_more_memory_than_documented(frame: bytes, times: float) -> None:
    read_chunks(StreamMachine(), [BEGIN, frame])  # what a process does once does not count
    machine = StreamMachine()
    read_chunks(machine, [BEGIN])
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        read_chunks(machine, [frame])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak - before <= times * len(frame)


def read_chunks(machine: StreamMachine, chunks: list[bytes]) -> None:
    with contextlib.suppress(APIError):
        for chunk in chunks:
            for _ in machine.receive_data(chunk):
                pass
