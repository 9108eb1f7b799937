"""Linear work: twice the input takes at most twice the work.

The tests count the work instead of timing it, because a count is the same on every machine. There
are three measures:

* `calls` counts the calls of Python and C functions. It is cheap enough for large inputs.
* `characters` adds up the lengths of the strings and byte strings that are assigned to local
  variables of the core. It finds a loop that copies all data so far without calling a function.
  It inspects the variables at every line and keeps a reference to each string. Because of these
  references CPython cannot append to a string in place.
* `memory` measures the additional memory of further deltas after a long text. It is for the code
  that relies on appending in place. A copy of the text would show as much memory as the text.
"""

import gc
import json
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from functools import partial
from types import FrameType
from typing import Any, Final

import pytest

from sansio_stream import MessageStreamEvent, StreamMachine, ToolUseBlock, Verdict
from sansio_stream.growing import GrowingText
from sansio_stream.reader import RUN_BYTES
from tracing import traced, without_collections
from wire import (
    HELLO,
    MESSAGE_STOP,
    block_start,
    block_stop,
    body,
    delta,
    frame,
    in_bytes,
    json_piece,
    message_delta,
    message_start,
    text,
    tool_start,
)

pytestmark = pytest.mark.exhaustive

# Twice, plus a margin for effects of rounding: the resizing of hash tables, and a last chunk that
# is or is not full.
AT_MOST: Final = 2.05

# The sizes are small. A copy of all data so far in each chunk would still make the characters of
# twice the input 2.5 to 3.7 times as many, for most inputs.

# CPython appends to a string in place in this function, but not if `characters` inspects it. The
# tests with `memory` measure this function instead.
APPENDS_IN_PLACE: Final = GrowingText.text.__code__

# The size of a chunk in bytes. It is small, so that the buffered end of the last chunk does not
# affect the result.
CHUNK: Final = 1400


def calls(work: Callable[[], Any]) -> int:
    """Count the calls of functions while `work` runs."""
    count = 0

    def profile(_frame: FrameType, event: str, _argument: Any) -> None:
        nonlocal count
        if event in ("call", "c_call"):
            count += 1

    with without_collections():
        sys.setprofile(profile)
        try:
            work()
        finally:
            sys.setprofile(None)
    return count


def characters(work: Callable[[], Any]) -> int:
    """Add up the lengths of the strings that are assigned to local variables of the core.

    Each string object counts once, even if several variables refer to it.
    """
    total = 0
    # The references keep the strings alive, so that no two strings have the same id.
    counted: dict[int, str | bytes] = {}

    def trace(frame: FrameType, _event: str, _argument: Any) -> Any:
        if "sansio_stream" not in frame.f_code.co_filename or frame.f_code is APPENDS_IN_PLACE:
            return None

        def inspect(frame: FrameType, _event: str, _argument: Any) -> Any:
            nonlocal total
            for value in frame.f_locals.values():
                if isinstance(value, str | bytes) and id(value) not in counted:
                    counted[id(value)] = value
                    total += len(value)
            return inspect

        return inspect

    with traced(trace):
        work()
    return total


def memory(work: Callable[[], Any]) -> int:
    """Return the peak of the additional memory, in bytes, during the second run of `work`."""
    with traced(None):
        tracemalloc.start()
        try:
            work()
            before, _ = tracemalloc.get_traced_memory()
            tracemalloc.reset_peak()
            work()
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    return peak - before


@pytest.mark.parametrize("measure", [calls, characters])
def test_no_garbage_is_collected_while_work_is_measured(
    measure: Callable[[Callable[[], object]], int],
) -> None:
    collections: list[str] = []

    def note(phase: str, _: object) -> None:
        collections.append(phase)

    gc.callbacks.append(note)
    try:
        measure(lambda: [[] for _ in range(20_000)])
    finally:
        gc.callbacks.remove(note)
    assert collections == []


def read_stream(
    chunks: list[bytes] | list[dict[str, Any]],
    read: Callable[[StreamMachine], Any] | None = None,
) -> None:
    machine = StreamMachine()
    for chunk in chunks:
        for _ in receive(machine, chunk):
            if read is not None:
                read(machine)
    for _ in machine.receive_eof():
        pass
    assert machine.verdict is (Verdict.COMPLETE if machine.first_loss is None else Verdict.DAMAGED)


def receive(
    machine: StreamMachine, received: bytes | dict[str, Any]
) -> Iterator[MessageStreamEvent]:
    if isinstance(received, bytes):
        return machine.receive_data(received)
    return machine.receive_event(received)


def in_chunks(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


def payloads_with(*steps: dict[str, Any]) -> list[dict[str, Any]]:
    return [message_start(), *steps, block_stop(0), message_delta("max_tokens"), MESSAGE_STOP]


def body_with(*steps: dict[str, Any]) -> bytes:
    return body(*payloads_with(*steps))


def as_the_api_writes(payload: dict[str, Any], padding: int = 0) -> bytes:
    data = json.dumps(payload, separators=(",", ":"))
    return f"event: {payload['type']}\ndata: {data[:-1]}{' ' * padding}}}\n\n".encode()


def one_huge_event(size: int) -> list[bytes]:
    return in_chunks(body_with(block_start(0), text(0, "x" * size)), 64)


def one_event_of_many_lines(size: int) -> list[bytes]:
    huge = frame(text(0, "x")).replace(b"data: {", b"data: {" + b"\ndata:" * size)
    return in_chunks(body_with(block_start(0)).replace(frame(block_stop(0)), huge), 64)


def many_comments(size: int) -> list[bytes]:
    return in_chunks(body_with(block_start(0)).replace(b"\n\n", b"\n\n" + b": hi\n" * size, 1), 64)


def many_tiny_events(size: int) -> list[bytes]:
    return in_chunks(body_with(block_start(0), *[{"type": "ping"}] * size), 1400)


def bytes_one_by_one(size: int) -> list[bytes]:
    return in_bytes(body_with(block_start(0), *[text(0, "word ")] * size))


def one_block_of_deltas(size: int) -> list[bytes]:
    return in_chunks(body_with(block_start(0), *[text(0, "word ")] * size), CHUNK)


def deltas_in_the_layout_of_the_api(size: int) -> list[bytes]:
    steps = payloads_with(block_start(0), *[text(0, "word ")] * size)
    return [as_the_api_writes(step, padding=at % 16) for at, step in enumerate(steps)]


def deltas_in_alternating_layouts(size: int) -> list[bytes]:
    pair = frame(text(0, "word ")) + as_the_api_writes(text(0, "word "))
    stream = body_with(block_start(0), text(0, "")).replace(frame(text(0, "")), pair * (size // 2))
    return in_chunks(stream, CHUNK)


def deltas_with_carriage_returns(size: int) -> list[bytes]:
    return in_chunks(
        body_with(block_start(0), *[text(0, "word ")] * size).replace(b"\n", b"\r\n"), CHUNK
    )


def payloads_without_frames(size: int) -> list[dict[str, Any]]:
    return payloads_with(block_start(0), *[text(0, "word ")] * size)


def one_tool_input(size: int) -> list[bytes]:
    piece = "x" * 400
    pieces = ['{"a": "', *[piece] * (size // len(piece)), '"}']
    return in_chunks(body_with(tool_start(0), *[json_piece(0, each) for each in pieces]), CHUNK)


def one_tool_input_of_records(size: int) -> list[bytes]:
    record = '{"id": 12345, "name": "a name", "tags": ["x", "y"]}, '
    whole = '{"records": [' + record * (size // len(record)) + "null]}"
    pieces = [whole[at : at + 12] for at in range(0, len(whole), 12)]
    return in_chunks(body_with(tool_start(0), *(json_piece(0, each) for each in pieces)), CHUNK)


def many_blocks(size: int) -> list[bytes]:
    steps = [step for i in range(1, size) for step in (block_start(i), block_stop(i))]
    return in_chunks(body_with(*steps, block_start(0)), CHUNK)


def many_violations(size: int) -> list[bytes]:
    return in_chunks(body_with(block_start(0), *[text(7, "")] * size), CHUNK)


def many_losses(size: int) -> list[bytes]:
    lost = [text(7, "lost"), json_piece(7, "lost"), json_piece(0, "1")]
    return in_chunks(body_with(tool_start(0), *lost * (size // len(lost))), CHUNK)


@pytest.mark.parametrize(
    ("stream", "size"),
    [
        (one_huge_event, 400_000),
        (one_event_of_many_lines, 4_000),
        (many_comments, 4_000),
        (many_tiny_events, 3_000),
        (bytes_one_by_one, 50),
        (one_block_of_deltas, 3_000),
        (deltas_in_the_layout_of_the_api, 3_000),
        (deltas_in_alternating_layouts, 1_000),
        (deltas_with_carriage_returns, 2_000),
        (payloads_without_frames, 700),
        (one_tool_input, 300_000),
        (one_tool_input_of_records, 25_000),
        (many_blocks, 500),
        (many_violations, 600),
        (many_losses, 600),
    ],
)
def test_twice_the_input_makes_at_most_twice_the_calls(
    stream: Callable[[int], list[bytes]], size: int
) -> None:
    once, twice = stream(size), stream(2 * size)
    assert calls(lambda: read_stream(twice)) <= AT_MOST * calls(lambda: read_stream(once))


@pytest.mark.parametrize(
    ("stream", "size"),
    [
        (one_huge_event, 10_000),
        (one_event_of_many_lines, 500),
        (many_comments, 500),
        (many_tiny_events, 200),
        (bytes_one_by_one, 10),
        (one_block_of_deltas, 100),
        (deltas_in_the_layout_of_the_api, 100),
        (deltas_in_alternating_layouts, 100),
        (deltas_with_carriage_returns, 100),
        (payloads_without_frames, 100),
        (one_tool_input, 50_000),
        (one_tool_input_of_records, 2_000),
        (many_blocks, 100),
        (many_violations, 120),
        (many_losses, 120),
    ],
)
def test_twice_the_input_handles_at_most_twice_the_characters(
    stream: Callable[[int], list[bytes]], size: int
) -> None:
    once, twice = stream(size), stream(2 * size)
    assert characters(lambda: read_stream(twice)) <= AT_MOST * characters(lambda: read_stream(once))


SOME_TEXT: Final = 50_000 * "x"

# After this many short deltas the large pieces before them are joined. That happens once, so it
# must happen before the tests measure what further deltas cost.
SHORT_DELTAS: Final = 2 * RUN_BYTES // len(frame(text(0, "word ")))


def read_events(
    machine: StreamMachine, steps: list[dict[str, Any]], read: Callable[[StreamMachine], object]
) -> None:
    for step in steps:
        for _ in machine.receive_data(frame(step)):
            read(machine)


def partial_input(machine: StreamMachine) -> object:
    block = machine.block(0)
    return block.partial_input if isinstance(block, ToolUseBlock) else None


def snapshot(machine: StreamMachine) -> object:
    return machine.snapshot


def newest_block(machine: StreamMachine) -> object:
    return machine.block(0)


@pytest.mark.parametrize(
    ("stream", "read", "size"),
    [
        (one_tool_input, partial_input, 300_000),
        (one_tool_input_of_records, partial_input, 10_000),
        (one_block_of_deltas, snapshot, 2_000),
        (deltas_in_the_layout_of_the_api, snapshot, 2_000),
        (deltas_in_the_layout_of_the_api, newest_block, 2_000),
    ],
)
def test_reading_a_property_after_each_event_of_twice_the_input_makes_at_most_twice_the_calls(
    stream: Callable[[int], list[bytes]], read: Callable[[StreamMachine], object], size: int
) -> None:
    once, twice = stream(size), stream(2 * size)
    read_stream(once, read)  # compiles the patterns of the scanner, which happens only once
    assert calls(lambda: read_stream(twice, read)) <= AT_MOST * calls(
        lambda: read_stream(once, read)
    )


def test_reading_the_partial_input_of_twice_the_records_handles_at_most_twice_the_characters() -> (
    None
):
    once, twice = (one_tool_input_of_records(size) for size in (1_500, 3_000))
    handled = characters(lambda: read_stream(twice, partial_input))
    assert handled <= AT_MOST * characters(lambda: read_stream(once, partial_input))


def read_nothing(_: StreamMachine) -> None:
    pass


@pytest.mark.parametrize("read", [snapshot, newest_block, read_nothing])
@pytest.mark.parametrize("fast_path", [True, False])
def test_a_delta_does_not_copy_the_text_whether_a_property_is_read_or_not(
    read: Callable[[StreamMachine], object], fast_path: bool
) -> None:
    machine = StreamMachine(fast_path=fast_path)
    more = [text(0, "word ")] * 300
    steps = [message_start(), block_start(0), *[text(0, SOME_TEXT)] * 20]
    read_events(machine, steps + more[:1] * SHORT_DELTAS, read)
    assert memory(lambda: read_events(machine, more, read)) < len(SOME_TEXT)


def test_reading_the_partial_input_after_each_delta_does_not_copy_its_strings() -> None:
    machine = StreamMachine()
    more = [json_piece(0, "word ")] * 300
    pieces = ['{"a": "', *[SOME_TEXT] * 20]
    steps = [message_start(), tool_start(0), *[json_piece(0, each) for each in pieces]]
    read_events(machine, steps + more[:1] * SHORT_DELTAS, partial_input)
    assert memory(lambda: read_events(machine, more, partial_input)) < len(SOME_TEXT)


# Tests of the measures.


def test_characters_detects_a_loop_that_copies_all_data_so_far() -> None:
    source = "def copying(n):\n    text = ''\n    for _ in range(n):\n        text = text + 'x'\n"
    scope: dict[str, Any] = {}
    exec(compile(source, "sansio_stream/copying.py", "exec"), scope)  # noqa: S102  (our own source, under a file name of the core)
    once, twice = (characters(partial(scope["copying"], size)) for size in (100, 200))
    assert twice > 3 * once


def test_memory_detects_a_copy() -> None:
    kept = [SOME_TEXT]

    def copying() -> None:
        kept[0] = "".join([kept[0], "x"])

    assert memory(copying) >= len(SOME_TEXT)


# The work of an event must not depend on the size of data that the event does not change. The tests
# compare the same events after a small start of the message and after one with 20,000 more members.

MANY: Final = {f"member_{number}": number for number in range(20_000)}
CITATION: Final = delta(0, "citations_delta", citation={"cited_text": "x"})
FALLBACK: Final = {"type": "fallback", "from": {"model": "a"}, "to": {"model": "b"}}


def steps_of(kind: str) -> list[dict[str, Any]]:
    """Return 40 events of one kind. A `fallback` block is two events."""
    count = range(40)
    match kind:
        case "message_delta":
            changes = {"stop_sequence": "###"}
            usage = [{"output_tokens": number} for number in count]
            return [{"type": "message_delta", "delta": changes, "usage": each} for each in usage]
        case "message_delta without usage":
            return [{"type": "message_delta", "delta": {}} for _ in count]
        case "null stop_details":
            return [{"type": "message_delta", "delta": {"stop_details": None}} for _ in count]
        case "unknown members":
            return [{"type": "message_delta", "delta": {"private": number}} for number in count]
        case "fallback":
            starts = (block_start(number, FALLBACK) for number in range(1, 41))
            return [event for start in starts for event in (start, block_stop(start["index"]))]
        case "citations":
            return [CITATION for _ in count]
        case _:
            return [text(0, "x") for _ in count]


@pytest.mark.parametrize(
    "kind",
    [
        "message_delta",
        "message_delta without usage",
        "null stop_details",
        "unknown members",
        "fallback",
        "citations",
        "text",
    ],
)
def test_an_event_costs_no_more_after_a_start_with_many_members(kind: str) -> None:
    steps = list(map(frame, steps_of(kind)))

    def work(members: dict[str, Any]) -> tuple[int, int]:
        usage = {"input_tokens": 1, **members}
        start = {"type": "text", "text": "", **members}
        machine = StreamMachine()
        first = steps_of(kind)[0]
        beginning = message_start(usage=usage, **members), block_start(0, start), first
        list(machine.receive_data(body(*beginning)))
        return lines_and_large_results(lambda: [list(machine.receive_data(step)) for step in steps])

    work({})  # the first use of a class derives its schema
    assert work(MANY) == work({})


def lines_and_large_results(work: Callable[[], Any]) -> tuple[int, int]:
    """Count the work of the core while `work` runs.

    Returns:
        The number of executed lines, and the number of returned dicts, lists and tuples with more
        than 1,000 items.
    """
    lines = 0
    large = 0

    def trace(frame: FrameType, _event: str, _argument: Any) -> Any:
        if "sansio_stream" not in frame.f_code.co_filename:
            return None

        def inspect(frame: FrameType, event: str, value: Any) -> Any:
            nonlocal lines, large
            lines += event == "line"
            if event == "return" and isinstance(value, dict | list | tuple):
                large += len(value) > 1_000
            return inspect

        return inspect

    with traced(trace):
        work()
    return lines, large


def test_reading_a_block_does_not_copy_the_members_of_its_start() -> None:
    def peak(members: dict[str, Any]) -> int:
        machine = StreamMachine()
        start = block_start(0, {"type": "text", "text": "", **members})
        list(machine.receive_data(body(message_start(), start, CITATION)))
        machine.block(0)

        def add_and_read() -> None:
            list(machine.receive_data(frame(CITATION)))
            machine.block(0)

        return memory(add_and_read)

    # A copy of the members would take more than 500,000 bytes.
    assert peak(MANY) - peak({}) < 100_000


@pytest.mark.parametrize("line", [b"\n", b"\r\n", b":\n", b": hold\r\n"])
def test_lines_without_effect_are_skipped_in_one_step(line: bytes) -> None:
    def work(times: int, inside: bytes) -> int:
        data = body(*HELLO[:3]) + inside + times * line + body(*HELLO[3:])
        return calls(lambda: read_stream([data]))

    work(10, b"")  # the first use of a class derives its schema
    assert work(100_000, b"") <= work(10, b"") + 10
    if line.startswith(b":"):
        head = b"event: ping\n"
        # The first step skips 16 KiB of lines, so that a second step is necessary.
        assert work(100_000, head) <= work(10, head) + 30
