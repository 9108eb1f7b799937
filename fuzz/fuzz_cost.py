"""The work of a machine: bounded by what it was given, for any bytes and any cut.

Work is counted in Python's own steps (opcodes), so that it is the same on every machine. What is
allowed is ten times what ordinary deltas cost, as counted in the same process: for each byte, for
each frame, and for each chunk; and a floor, for what is done once in a stream. All of it is in
multiples of ordinary deltas, because a fuzzer adds steps of its own to what it looks into.
"""

import functools
import json
from collections.abc import Callable, Iterable
from types import FrameType
from typing import Any, Final

import attrs

import wire
from cases import STRICT, Case
from sansio_stream import APIError, Limits, SSEDecoder, StreamMachine
from sansio_stream.codec import WireObject, schema_of
from tracing import traced

AT_MOST: Final = 10

# In ordinary deltas, of some 190 steps each.
# What is done once: the violations that are kept, an error that ends the stream, the verdict.
FLOOR: Final = 300
FOR_A_VIOLATION: Final = 3

# An object in a payload may be a block or a citation, which is made however few bytes it has.
# Measured: 540 steps for a block that came as `{}` in a message_start.
FOR_AN_OBJECT: Final = 3

# To count each step takes twenty times as long as to take it.
LONGEST: Final = 2_000
SINGLE_BYTES: Final = 400

BEGIN: Final = wire.body(wire.message_start(), wire.block_start(0))
DELTA: Final = wire.frame(wire.text(0, "Hello, wor"))


def steps(work: Callable[[], object]) -> int:
    """Count the steps that Python takes while `work` runs, in any function.

    To compile a pattern does not count: it is done once in a process, when it is first used.
    """
    count = 0

    def step(_frame: FrameType, event: str, _argument: Any) -> Any:
        nonlocal count
        count += event == "opcode"
        return step

    def trace(frame: FrameType, _event: str, _argument: Any) -> Any:
        if frame.f_globals["__name__"].startswith("re."):
            return None
        frame.f_trace_lines = False
        frame.f_trace_opcodes = True
        return step

    with traced(trace):
        work()
    return count


def feed(machine: StreamMachine, chunks: Iterable[bytes]) -> None:
    """Give a body to a machine, and take what comes of it."""
    try:
        for chunk in chunks:
            for _ in machine.receive_data(chunk):
                pass
        for _ in machine.receive_eof():
            pass
    except APIError:
        pass


def work_of(chunks: Iterable[bytes], **options: Any) -> int:
    """Count the steps of one body."""
    machine = StreamMachine(**options)
    return steps(lambda: feed(machine, chunks))


@attrs.frozen
class Ordinary:
    """What ordinary deltas cost: a byte that is read, a frame that is recognised, a chunk."""

    byte: float
    frame: float
    chunk: float


@functools.cache
def ordinary() -> Ordinary:
    """Count what a delta more costs, read as any frame, recognised, and fed by the byte."""

    def one(chunks: Callable[[bytes], list[bytes]], **options: Any) -> float:
        few, many = (work_of([BEGIN, *chunks(DELTA * times)], **options) for times in (20, 40))
        return (many - few) / 20

    derive_all(WireObject)
    read = one(lambda data: [data], fast_path=False)
    recognised = one(lambda data: [data])
    by_bytes = one(wire.in_bytes)
    return Ordinary(read / len(DELTA), recognised, (by_bytes - recognised) / len(DELTA))


def derive_all(cls: type[Any]) -> None:
    """Derive what is derived from each class when it is first used: it is no work of a body."""
    for each in cls.__subclasses__():
        if attrs.has(each):
            schema_of(each)
        derive_all(each)


def allowed(body: bytes, chunks: int, limits: Limits) -> float:
    """Return how many steps a body may cost in that many chunks."""
    usual = ordinary()
    decoder = SSEDecoder(attrs.evolve(limits, event_bytes=len(body) + 3, total_bytes=None))
    events = [*decoder.receive_data(body + b"\n\n"), *decoder.receive_eof()]
    objects = sum(event.data.count("{") for event in events if is_json(event.data))
    told = min(limits.violations, decoder.violation_count + 3 * len(events))
    return usual.frame * (FLOOR + FOR_A_VIOLATION * told + FOR_AN_OBJECT * objects) + AT_MOST * (
        usual.byte * len(body) + usual.frame * len(events) + usual.chunk * chunks
    )


def is_json(text: str) -> bool:
    """Whether a text is JSON."""
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def cost(data: bytes) -> None:
    """Feed a body whole, in single bytes and in pieces, in a message that has begun and in none."""
    case = Case.of(data)
    body = case.body[:LONGEST]
    ordinary()  # derives what is derived once
    options: dict[str, Any] = {"limits": case.limits, "strict": case.has(STRICT)}
    cuts = [[body], wire.in_bytes(body[:SINGLE_BYTES])]
    in_pieces = list(case.cuts(body))
    if in_pieces != [body]:
        cuts.append(in_pieces)
    for chunks in cuts:
        for begin in ([], [BEGIN]):
            work = work_of([*begin, *chunks], **options)
            bound = allowed(b"".join([*begin, *chunks]), len(begin) + len(chunks), case.limits)
            assert work <= bound, f"{work} steps, {bound:.0f} would be enough"
