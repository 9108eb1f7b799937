"""Fuzzes the cost of a machine. The size of the input bounds the cost, for any bytes and any cut.

Cost is counted in steps of Python (opcodes), so that it is the same on every machine. The bound is
a multiple of the cost of ordinary deltas, for each byte, each frame and each chunk. A constant is
added for the work that is done once in a stream. The cost of ordinary deltas is counted in the same
process, because a fuzzer adds steps to the code that it instruments. The deltas are decoded: the
fast path makes them cheaper, but nothing else.
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

# How many ordinary deltas a frame, and how many of their bytes a byte of a line may cost.
AT_MOST: Final = 2
# The same for a byte of invalid JSON, and for a byte in a chunk of its own.
AT_MOST_BYTES: Final = 10

# These are in ordinary deltas of about 1,000 steps each.
# Work that is done once: the kept violations, an error that ends the stream, the verdict.
FLOOR: Final = 60
FOR_A_VIOLATION: Final = 0.6

# An object in a payload may be a block or a citation. It costs steps even if it has few bytes.
# Measured: 540 steps for a block that is `{}` in a message_start.
FOR_AN_OBJECT: Final = 0.6

# Bodies are cut to these lengths, because counting the steps takes twenty times as long as running
# them.
LONGEST: Final = 2_000
SINGLE_BYTES: Final = 400

BEGIN: Final = wire.body(wire.message_start(), wire.block_start(0))
DELTA: Final = wire.frame(wire.text(0, "Hello, wor"))


def steps(work: Callable[[], object]) -> int:
    """Count the steps that Python takes while `work` runs, in any function.

    Compiling a pattern does not count, because a process does it once, at the first use. Neither
    does the end of the counting, which is traced only if something else traces this process.
    """
    count = 0

    def step(_frame: FrameType, event: str, _argument: Any) -> Any:
        nonlocal count
        count += event == "opcode"
        return step

    def trace(frame: FrameType, _event: str, _argument: Any) -> Any:
        module = frame.f_globals["__name__"]
        if module.startswith("re.") or module in ("contextlib", "tracing"):
            return None
        frame.f_trace_lines = False
        frame.f_trace_opcodes = True
        return step

    with traced(trace):
        work()
    return count


def read_all(machine: StreamMachine, chunks: Iterable[bytes]) -> None:
    """Read a body with a machine."""
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
    return steps(lambda: read_all(machine, chunks))


@attrs.frozen
class Ordinary:
    """The cost of ordinary deltas, which are decoded: of a byte, of a frame, of a chunk."""

    byte: float
    frame: float
    chunk: float


@functools.cache
def ordinary() -> Ordinary:
    """Count the cost of one more delta: in one chunk, and in single bytes."""

    def one(chunks: Callable[[bytes], list[bytes]]) -> float:
        few, many = (
            work_of([BEGIN, *chunks(DELTA * times)], fast_path=False) for times in (20, 40)
        )
        return (many - few) / 20

    derive_all(WireObject)
    frame = one(lambda data: [data])
    by_bytes = one(wire.in_bytes)
    return Ordinary(frame / len(DELTA), frame, (by_bytes - frame) / len(DELTA))


def derive_all(cls: type[Any]) -> None:
    """Derive the schemas of all classes. Otherwise the first body that uses a class pays for it."""
    for each in cls.__subclasses__():
        if attrs.has(each):
            schema_of(each)
        derive_all(each)


def allowed(body: bytes, chunks: int, limits: Limits) -> float:
    """Return the number of steps that a body in `chunks` chunks may cost."""
    usual = ordinary()
    decoder = SSEDecoder(attrs.evolve(limits, event_bytes=len(body) + 3, total_bytes=None))
    events = [*decoder.receive_data(body + b"\n\n"), *decoder.receive_eof()]
    objects = sum(event.data.count("{") for event in events if is_json(event.data))
    violations = min(limits.violations, decoder.violation_count + 3 * len(events))
    return usual.frame * (
        FLOOR + FOR_A_VIOLATION * violations + FOR_AN_OBJECT * objects + AT_MOST * len(events)
    ) + AT_MOST_BYTES * (usual.byte * len(body) + usual.chunk * chunks)


def is_json(text: str) -> bool:
    """Return whether a text is JSON."""
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def cost(data: bytes) -> None:
    """Read a body whole, in single bytes and in pieces, alone and after the start of a message."""
    case = Case.of(data)
    body = case.body[:LONGEST]
    ordinary()  # derives the schemas before any body is counted
    options: dict[str, Any] = {"limits": case.limits, "strict": case.has(STRICT)}
    cuts = [[body], wire.in_bytes(body[:SINGLE_BYTES])]
    in_pieces = list(case.cuts(body))
    if in_pieces != [body]:
        cuts.append(in_pieces)
    for chunks in cuts:
        for begin in ([], [BEGIN]):
            work = work_of([*begin, *chunks], **options)
            bound = allowed(b"".join([*begin, *chunks]), len(begin) + len(chunks), case.limits)
            assert work <= bound, f"{work} steps, and the bound is {bound:.0f}"
