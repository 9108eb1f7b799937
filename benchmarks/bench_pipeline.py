"""The whole pipeline against the least a reader of the stream could do.

    pipeline   StreamMachine: bytes in; every event taken; the final message out
    floor      json.loads of every payload, cut out in advance: no framing, no events, no message

Printed is pipeline ÷ floor. Both are measured in the same round, so that a slow machine slows both,
and the median of the rounds is taken; CPU time, so that waiting counts for nothing. Never fails:
how to read the table is in README.md beside this file.

    python benchmarks/bench_pipeline.py [--events 10000] [--rounds 9]
"""

import argparse
import gc
import json
import platform
from collections.abc import Callable, Sequence
from statistics import median
from time import process_time

from sansio_stream import StreamMachine
from synthetic import Stream, cut, stream

# One byte a chunk costs some ten times the floor: fewer events give the same ratio sooner.
ONE_BYTE_EVENTS = 1_000


def pipeline(chunks: Sequence[bytes]) -> StreamMachine:
    """Everything a program does that wants events and the message."""
    machine = StreamMachine()
    for chunk in chunks:
        for _event in machine.receive_data(chunk):
            pass
    for _event in machine.receive_eof():
        pass
    machine.final_message()
    return machine


def floor(payloads: Sequence[str]) -> None:
    """What no reader of JSON payloads can avoid."""
    for payload in payloads:
        json.loads(payload)


def seconds(work: Callable[[], object]) -> float:
    """CPU seconds of one run. The garbage collector stays on, as it does for users."""
    gc.collect()
    start = process_time()
    work()
    return process_time() - start


def ratio(source: Stream, chunks: Sequence[bytes], rounds: int) -> tuple[float, float]:
    """Pipeline ÷ floor, and the pipeline's CPU seconds: medians over the rounds."""
    samples = [
        (seconds(lambda: pipeline(chunks)), seconds(lambda: floor(source.payloads)))
        for _ in range(rounds)
    ]
    return median(ours / bare for ours, bare in samples), median(ours for ours, _ in samples)


def main() -> None:
    """Measure every chunk size and print the table."""
    parser = argparse.ArgumentParser(description="pipeline ÷ floor, by chunk size")
    parser.add_argument("--events", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()

    source = stream(options.events)
    body = b"".join(source.frames)
    short = stream(min(options.events, ONE_BYTE_EVENTS))
    rows = [
        ("one event", source, source.frames),
        ("1,400 B", source, cut(body, 1_400)),
        ("16 KiB", source, cut(body, 16_384)),
        ("64 B", source, cut(body, 64)),
        ("1 B", short, cut(b"".join(short.frames), 1)),
    ]
    print(
        f"{platform.python_implementation()} {platform.python_version()},"
        f" {len(source.payloads):,} events, {len(body):,} bytes,"
        f" medians of {options.rounds} rounds, CPU time\n"
    )
    print(f"{'chunks of':>10}  {'÷ floor':>8}  {'µs an event':>12}")
    for name, measured, chunks in rows:
        relative, absolute = ratio(measured, chunks, options.rounds)
        print(f"{name:>10}  {relative:8.2f}  {absolute / len(measured.payloads) * 1e6:12.2f}")


if __name__ == "__main__":
    main()
