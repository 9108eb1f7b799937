"""Work grows with the input and not faster, counted and not timed: twice the input, at most twice
the work.

Two measures. Calls: every call of a Python or C function inside the run. Characters: the lengths of
all texts and byte strings that a local variable of ours comes to hold, so that a loop that copies
what it has so far (and calls nothing for it) is found out. The first is cheap enough for full
sizes; the second looks at every line.
"""

import sys
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any, Final

import pytest

from sansio_stream import StreamMachine, ToolUseBlock
from wire import (
    MESSAGE_STOP,
    block_start,
    block_stop,
    body,
    in_bytes,
    json_piece,
    message_delta,
    message_start,
    text,
    tool_start,
)

# Twice, and a little for what is rounded: tables that are resized, a last chunk that is full or
# not.
AT_MOST: Final = 2.05


def calls(work: Callable[[], Any]) -> int:
    """Count the calls of functions while `work` runs."""
    count = 0

    def profile(_frame: FrameType, event: str, _argument: Any) -> None:
        nonlocal count
        if event in ("call", "c_call"):
            count += 1

    sys.setprofile(profile)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


def characters(work: Callable[[], Any]) -> int:
    """Add up the lengths of the texts that come to be held by local variables of the core."""
    total = 0
    # Held, so that no id is used twice: a text is counted once, wherever it is handed on to.
    counted: dict[int, str | bytes] = {}

    def trace(frame: FrameType, _event: str, _argument: Any) -> Any:
        if "sansio_stream" not in frame.f_code.co_filename:
            return None

        def look(frame: FrameType, _event: str, _argument: Any) -> Any:
            nonlocal total
            for value in frame.f_locals.values():
                if isinstance(value, str | bytes) and id(value) not in counted:
                    counted[id(value)] = value
                    total += len(value)
            return look

        return look

    before = sys.gettrace()  # coverage's, when it is measured
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return total


def feed(chunks: list[bytes], look: Callable[[StreamMachine], Any] | None = None) -> None:
    machine = StreamMachine()
    for chunk in chunks:
        for _ in machine.receive_data(chunk):
            if look is not None:
                look(machine)
    for _ in machine.receive_eof():
        pass
    assert machine.final_message().complete


def sized(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


def answer(*steps: dict[str, Any]) -> bytes:
    return body(message_start(), *steps, block_stop(0), message_delta("max_tokens"), MESSAGE_STOP)


def one_huge_event(size: int) -> list[bytes]:
    return sized(answer(block_start(0), text(0, "x" * size)), 64)


def many_tiny_events(size: int) -> list[bytes]:
    return sized(answer(block_start(0), *[{"type": "ping"}] * size), 1400)


def bytes_one_by_one(size: int) -> list[bytes]:
    return in_bytes(answer(block_start(0), *[text(0, "word ")] * size))


def one_block_of_deltas(size: int) -> list[bytes]:
    return sized(answer(block_start(0), *[text(0, "word ")] * size), 16_384)


def one_tool_input(size: int) -> list[bytes]:
    piece = "x" * 400
    pieces = ['{"a": "', *[piece] * (size // len(piece)), '"}']
    return sized(answer(tool_start(0), *[json_piece(0, each) for each in pieces]), 16_384)


def many_blocks(size: int) -> list[bytes]:
    steps = [step for i in range(1, size) for step in (block_start(i), block_stop(i))]
    return sized(answer(*steps, block_start(0)), 16_384)


def violations_all_over(size: int) -> list[bytes]:
    return sized(answer(block_start(0), *[text(7, "lost")] * size), 16_384)


@pytest.mark.parametrize(
    ("stream", "size"),
    [
        (one_huge_event, 1_000_000),
        (many_tiny_events, 10_000),
        (bytes_one_by_one, 500),
        (one_block_of_deltas, 50_000),
        (one_tool_input, 2_000_000),
        (many_blocks, 2_000),
        (violations_all_over, 3_000),
    ],
)
def test_twice_the_input_makes_at_most_twice_the_calls(
    stream: Callable[[int], list[bytes]], size: int
) -> None:
    once, twice = stream(size), stream(2 * size)
    assert calls(lambda: feed(twice)) <= AT_MOST * calls(lambda: feed(once))


@pytest.mark.parametrize(
    ("stream", "size"),
    [
        (one_huge_event, 30_000),
        (many_tiny_events, 300),
        (bytes_one_by_one, 60),
        (one_block_of_deltas, 500),
        (one_tool_input, 100_000),
        (many_blocks, 600),
        (violations_all_over, 900),
    ],
)
def test_twice_the_input_makes_at_most_twice_the_characters_handled(
    stream: Callable[[int], list[bytes]], size: int
) -> None:
    once, twice = stream(size), stream(2 * size)
    assert characters(lambda: feed(twice)) <= AT_MOST * characters(lambda: feed(once))


def test_reading_the_partial_input_after_each_delta_is_linear_in_total() -> None:
    def look(machine: StreamMachine) -> None:
        block = machine.block(0)
        if isinstance(block, ToolUseBlock):
            assert block.partial_input is not None

    for measure, size in ((calls, 60_000), (characters, 10_000)):
        once, twice = call_of_records(size), call_of_records(2 * size)
        assert measure(partial(feed, twice, look)) <= AT_MOST * measure(partial(feed, once, look))


def call_of_records(size: int) -> list[bytes]:
    steps = [tool_start(0), *(json_piece(0, each) for each in records(size))]
    return sized(answer(*steps), 16_384)


def records(size: int) -> list[str]:
    record = '{"id": 12345, "name": "a name", "tags": ["x", "y"]}, '
    whole = '{"records": [' + record * (size // len(record)) + "null]}"
    return [whole[at : at + 12] for at in range(0, len(whole), 12)]


def test_the_measure_of_characters_finds_a_loop_that_copies_what_it_has() -> None:
    source = "def copying(n):\n    text = ''\n    for _ in range(n):\n        text = text + 'x'\n"
    scope: dict[str, Any] = {}
    exec(compile(source, "sansio_stream/copying.py", "exec"), scope)  # noqa: S102  (a file name of ours)
    once, twice = (characters(partial(scope["copying"], size)) for size in (100, 200))
    assert twice > 3 * once
