"""Work grows with the input and not faster, counted and not timed: twice the input, at most twice
the work.

Three measures. Calls: every call of a Python or C function inside the run. Characters: the lengths
of all texts and byte strings that a local variable of ours comes to hold, so that a loop that
copies what it has so far (and calls nothing for it) is found out. The first is cheap enough for
full sizes; the second looks at every line, and what looks there holds what it sees, so that CPython
adds to no text in place. Where that is what keeps the work small, the third is asked: the memory
for more deltas of a text that is long already, which is little unless somebody copies it.
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
from sansio_stream.blocks import joined
from tracing import traced
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

# Twice, and a little for what is rounded: tables that are resized, a last chunk that is full or
# not.
AT_MOST: Final = 2.05

# Adds to a text in place, unless somebody looks at it: see the tests of memory.
IN_PLACE: Final = joined.__code__

# Small, so that what is held of the last chunk is no part of the sum.
CHUNK: Final = 1400


def calls(work: Callable[[], Any]) -> int:
    """Count the calls of functions while `work` runs."""
    count = 0

    def profile(_frame: FrameType, event: str, _argument: Any) -> None:
        nonlocal count
        if event in ("call", "c_call"):
            count += 1

    # A collection calls what others have asked it to call: hypothesis has.
    gc.disable()
    sys.setprofile(profile)
    try:
        work()
    finally:
        sys.setprofile(None)
        gc.enable()
    return count


def characters(work: Callable[[], Any]) -> int:
    """Add up the lengths of the texts that come to be held by local variables of the core."""
    total = 0
    # Held, so that no id is used twice: a text is counted once, wherever it is handed on to.
    counted: dict[int, str | bytes] = {}

    def trace(frame: FrameType, _event: str, _argument: Any) -> Any:
        if "sansio_stream" not in frame.f_code.co_filename or frame.f_code is IN_PLACE:
            return None

        def look(frame: FrameType, _event: str, _argument: Any) -> Any:
            nonlocal total
            for value in frame.f_locals.values():
                if isinstance(value, str | bytes) and id(value) not in counted:
                    counted[id(value)] = value
                    total += len(value)
            return look

        return look

    with traced(trace):
        work()
    return total


def memory(work: Callable[[], Any]) -> int:
    """Return how much more memory is used at the most while `work` runs than before, once it has
    run already.
    """
    with traced(None):
        tracemalloc.start()
        try:
            work()
            held, _ = tracemalloc.get_traced_memory()
            tracemalloc.reset_peak()
            work()
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    return peak - held


def feed(
    chunks: list[bytes] | list[dict[str, Any]],
    look: Callable[[StreamMachine], Any] | None = None,
) -> None:
    machine = StreamMachine()
    for chunk in chunks:
        for _ in receive(machine, chunk):
            if look is not None:
                look(machine)
    for _ in machine.receive_eof():
        pass
    assert machine.verdict is (Verdict.COMPLETE if machine.first_loss is None else Verdict.DAMAGED)


def receive(
    machine: StreamMachine, received: bytes | dict[str, Any]
) -> Iterator[MessageStreamEvent]:
    if isinstance(received, bytes):
        return machine.receive_data(received)
    return machine.receive_event(received)


def sized(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


def script(*steps: dict[str, Any]) -> list[dict[str, Any]]:
    return [message_start(), *steps, block_stop(0), message_delta("max_tokens"), MESSAGE_STOP]


def answer(*steps: dict[str, Any]) -> bytes:
    return body(*script(*steps))


def as_the_api_writes(payload: dict[str, Any], padding: int = 0) -> bytes:
    data = json.dumps(payload, separators=(",", ":"))
    return f"event: {payload['type']}\ndata: {data[:-1]}{' ' * padding}}}\n\n".encode()


def one_huge_event(size: int) -> list[bytes]:
    return sized(answer(block_start(0), text(0, "x" * size)), 64)


def many_lines_that_are_one_event(size: int) -> list[bytes]:
    huge = frame(text(0, "x")).replace(b"data: {", b"data: {" + b"\ndata:" * size)
    return sized(answer(block_start(0)).replace(frame(block_stop(0)), huge), 64)


def many_lines_that_are_no_event(size: int) -> list[bytes]:
    return sized(answer(block_start(0)).replace(b"\n\n", b"\n\n" + b": hi\n" * size, 1), 64)


def many_tiny_events(size: int) -> list[bytes]:
    return sized(answer(block_start(0), *[{"type": "ping"}] * size), 1400)


def bytes_one_by_one(size: int) -> list[bytes]:
    return in_bytes(answer(block_start(0), *[text(0, "word ")] * size))


def one_block_of_deltas(size: int) -> list[bytes]:
    return sized(answer(block_start(0), *[text(0, "word ")] * size), CHUNK)


def deltas_as_the_api_writes_them(size: int) -> list[bytes]:
    steps = script(block_start(0), *[text(0, "word ")] * size)
    return [as_the_api_writes(step, padding=at % 16) for at, step in enumerate(steps)]


def deltas_in_layouts_that_change(size: int) -> list[bytes]:
    pair = frame(text(0, "word ")) + as_the_api_writes(text(0, "word "))
    stream = answer(block_start(0), text(0, "")).replace(frame(text(0, "")), pair * (size // 2))
    return sized(stream, CHUNK)


def deltas_with_carriage_returns(size: int) -> list[bytes]:
    return sized(answer(block_start(0), *[text(0, "word ")] * size).replace(b"\n", b"\r\n"), CHUNK)


def payloads_without_frames(size: int) -> list[dict[str, Any]]:
    return script(block_start(0), *[text(0, "word ")] * size)


def one_tool_input(size: int) -> list[bytes]:
    piece = "x" * 400
    pieces = ['{"a": "', *[piece] * (size // len(piece)), '"}']
    return sized(answer(tool_start(0), *[json_piece(0, each) for each in pieces]), CHUNK)


def one_tool_input_of_records(size: int) -> list[bytes]:
    record = '{"id": 12345, "name": "a name", "tags": ["x", "y"]}, '
    whole = '{"records": [' + record * (size // len(record)) + "null]}"
    pieces = [whole[at : at + 12] for at in range(0, len(whole), 12)]
    return sized(answer(tool_start(0), *(json_piece(0, each) for each in pieces)), CHUNK)


def many_blocks(size: int) -> list[bytes]:
    steps = [step for i in range(1, size) for step in (block_start(i), block_stop(i))]
    return sized(answer(*steps, block_start(0)), CHUNK)


def violations_all_over(size: int) -> list[bytes]:
    return sized(answer(block_start(0), *[text(7, "")] * size), CHUNK)


def losses_all_over(size: int) -> list[bytes]:
    lost = [text(7, "lost"), json_piece(7, "lost"), json_piece(0, "1")]
    return sized(answer(tool_start(0), *lost * (size // len(lost))), CHUNK)


@pytest.mark.parametrize(
    ("stream", "size"),
    [
        (one_huge_event, 1_000_000),
        (many_lines_that_are_one_event, 4_000),
        (many_lines_that_are_no_event, 4_000),
        (many_tiny_events, 3_000),
        (bytes_one_by_one, 150),
        (one_block_of_deltas, 10_000),
        (deltas_as_the_api_writes_them, 3_000),
        (deltas_in_layouts_that_change, 2_000),
        (deltas_with_carriage_returns, 2_000),
        (payloads_without_frames, 2_000),
        (one_tool_input, 500_000),
        (one_tool_input_of_records, 25_000),
        (many_blocks, 1_000),
        (violations_all_over, 1_000),
        (losses_all_over, 1_000),
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
        (one_huge_event, 10_000),
        (many_lines_that_are_one_event, 500),
        (many_lines_that_are_no_event, 500),
        (many_tiny_events, 200),
        (bytes_one_by_one, 30),
        (one_block_of_deltas, 300),
        (deltas_as_the_api_writes_them, 300),
        (deltas_in_layouts_that_change, 300),
        (deltas_with_carriage_returns, 100),
        (payloads_without_frames, 300),
        (one_tool_input, 50_000),
        (one_tool_input_of_records, 5_000),
        (many_blocks, 300),
        (violations_all_over, 400),
        (losses_all_over, 400),
    ],
)
def test_twice_the_input_makes_at_most_twice_the_characters_handled(
    stream: Callable[[int], list[bytes]], size: int
) -> None:
    once, twice = stream(size), stream(2 * size)
    assert characters(lambda: feed(twice)) <= AT_MOST * characters(lambda: feed(once))


SOME_TEXT: Final = 50_000 * "x"


def follow(
    machine: StreamMachine, steps: list[dict[str, Any]], look: Callable[[StreamMachine], object]
) -> None:
    for step in steps:
        for _ in machine.receive_data(frame(step)):
            look(machine)


def partial_input(machine: StreamMachine) -> object:
    block = machine.block(0)
    return block.partial_input if isinstance(block, ToolUseBlock) else None


def snapshot(machine: StreamMachine) -> object:
    return machine.snapshot


def newest_block(machine: StreamMachine) -> object:
    return machine.block(0)


@pytest.mark.parametrize(
    ("stream", "look", "size"),
    [
        (one_tool_input, partial_input, 1_000_000),
        (one_tool_input_of_records, partial_input, 15_000),
        (one_block_of_deltas, snapshot, 2_000),
        (deltas_as_the_api_writes_them, snapshot, 2_000),
        (deltas_as_the_api_writes_them, newest_block, 2_000),
    ],
)
def test_to_look_after_each_event_of_twice_the_input_makes_at_most_twice_the_calls(
    stream: Callable[[int], list[bytes]], look: Callable[[StreamMachine], object], size: int
) -> None:
    once, twice = stream(size), stream(2 * size)
    assert calls(lambda: feed(twice, look)) <= AT_MOST * calls(lambda: feed(once, look))


def test_to_read_the_partial_input_of_twice_the_records_handles_at_most_twice_the_characters() -> (
    None
):
    once, twice = (one_tool_input_of_records(size) for size in (5_000, 10_000))
    handled = characters(lambda: feed(twice, partial_input))
    assert handled <= AT_MOST * characters(lambda: feed(once, partial_input))


def nothing(_: StreamMachine) -> None:
    pass


@pytest.mark.parametrize("look", [snapshot, newest_block, nothing])
@pytest.mark.parametrize("fast_path", [True, False])
def test_to_look_after_each_delta_or_not_never_copies_the_text(
    look: Callable[[StreamMachine], object], fast_path: bool
) -> None:
    machine = StreamMachine(fast_path=fast_path)
    steps = [message_start(), block_start(0), *[text(0, SOME_TEXT)] * 20]
    follow(machine, steps, look)
    more = [text(0, "word ")] * 300
    assert memory(lambda: follow(machine, more, look)) < len(SOME_TEXT)


def test_to_read_the_partial_input_after_each_delta_never_copies_a_string_of_it() -> None:
    machine = StreamMachine()
    pieces = ['{"a": "', *[SOME_TEXT] * 20]
    steps = [message_start(), tool_start(0), *[json_piece(0, each) for each in pieces]]
    follow(machine, steps, partial_input)
    more = [json_piece(0, "word ")] * 300
    assert memory(lambda: follow(machine, more, partial_input)) < len(SOME_TEXT)


# The measures.


def test_the_measure_of_characters_finds_a_loop_that_copies_what_it_has() -> None:
    source = "def copying(n):\n    text = ''\n    for _ in range(n):\n        text = text + 'x'\n"
    scope: dict[str, Any] = {}
    exec(compile(source, "sansio_stream/copying.py", "exec"), scope)  # noqa: S102  (a file name of ours)
    once, twice = (characters(partial(scope["copying"], size)) for size in (100, 200))
    assert twice > 3 * once


def test_the_measure_of_memory_finds_a_look_that_copies() -> None:
    held = [SOME_TEXT]

    def copying() -> None:
        held[0] = "".join([held[0], "x"])

    assert memory(copying) >= len(SOME_TEXT)


# What a peer can make us do again and again. What a step costs must not depend on how much there
# is that it does not touch: the same steps, behind a start that is a thousand times as large.

MANY: Final = {f"member_{number}": number for number in range(20_000)}
CITATION: Final = delta(0, "citations_delta", citation={"cited_text": "x"})
FALLBACK: Final = {"type": "fallback", "from": {"model": "a"}, "to": {"model": "b"}}


def steps_of(kind: str) -> list[dict[str, Any]]:
    """Forty times the same event, or events, that a start of any size may be followed by."""
    count = range(40)
    match kind:
        case "message_delta":
            changes = {"stop_sequence": "###"}
            usage = [{"output_tokens": number} for number in count]
            return [{"type": "message_delta", "delta": changes, "usage": each} for each in usage]
        case "message_delta without usage":
            return [{"type": "message_delta", "delta": {}} for _ in count]
        case "stop_details that are null":
            return [{"type": "message_delta", "delta": {"stop_details": None}} for _ in count]
        case "members without a name":
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
        "stop_details that are null",
        "members without a name",
        "fallback",
        "citations",
        "text",
    ],
)
def test_a_step_costs_no_more_where_the_message_began_with_many_members(kind: str) -> None:
    steps = list(map(frame, steps_of(kind)))

    def work(members: dict[str, Any]) -> tuple[int, int]:
        usage = {"input_tokens": 1, **members}
        start = {"type": "text", "text": "", **members}
        machine = StreamMachine()
        first = steps_of(kind)[0]
        begun = message_start(usage=usage, **members), block_start(0, start), first
        list(machine.receive_data(body(*begun)))
        return copied(lambda: [list(machine.receive_data(step)) for step in steps])

    work({})  # what is derived once from a class is derived then
    assert work(MANY) == work({})


def copied(work: Callable[[], Any]) -> tuple[int, int]:
    """Return how many steps Python takes in loops and comprehensions of ours while `work` runs, and
    how many objects of a thousand members and more are made.
    """
    lines = 0
    made = 0

    def trace(frame: FrameType, _event: str, _argument: Any) -> Any:
        if "sansio_stream" not in frame.f_code.co_filename:
            return None

        def look(frame: FrameType, event: str, value: Any) -> Any:
            nonlocal lines, made
            lines += event == "line"
            if event == "return" and isinstance(value, dict | list | tuple):
                made += len(value) > 1_000
            return look

        return look

    with traced(trace):
        work()
    return lines, made


def test_looking_at_a_block_copies_none_of_the_members_that_it_began_with() -> None:
    def peak(members: dict[str, Any]) -> int:
        machine = StreamMachine()
        start = block_start(0, {"type": "text", "text": "", **members})
        list(machine.receive_data(body(message_start(), start, CITATION)))
        machine.block(0)

        def look() -> None:
            list(machine.receive_data(frame(CITATION)))
            machine.block(0)

        return memory(look)

    # A copy of the members alone would take more than half a megabyte.
    assert peak(MANY) - peak({}) < 100_000


@pytest.mark.parametrize("line", [b"\n", b"\r\n", b":\n", b": hold\r\n"])
def test_lines_that_mean_nothing_are_skipped_in_one_step(line: bytes) -> None:
    def work(times: int, inside: bytes) -> int:
        data = body(*HELLO[:3]) + inside + times * line + body(*HELLO[3:])
        return calls(lambda: feed([data]))

    work(10, b"")  # what is derived once from a class is derived then
    assert work(100_000, b"") <= work(10, b"") + 10
    if line.startswith(b":"):
        head = b"event: ping\n"
        # One step more: the first one takes 16 KiB of lines.
        assert work(100_000, head) <= work(10, head) + 30
