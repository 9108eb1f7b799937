"""Counts instructions per event with valgrind. Other programs on the machine do not change a count.

    python benchmarks/icount.py [--keep]

Prints each count and its difference from the count in icount.toml for this version of Python. The
exit code is 1 if a count is higher by more than the tolerance in icount.toml. If valgrind is
missing, the command prints a message and counts nothing.
"""

import argparse
import gc
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Final

import sansio_stream
from contenders import floor, pipeline, pipeline_of_payloads, pipeline_with_partial_inputs
from fixtures import (
    mixed,
    mixed_backwards,
    mixed_by_dumps,
    mixed_with_crlf,
    mixed_with_late_blanks,
    mixed_without_names,
    records_input,
    string_input,
    text_only,
)
from measuring import build

KEPT: Final = Path(__file__).with_name("icount.toml")
CALLGRIND: Final = ("valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null")
EVENTS: Final = 1_000
FEW_EVENTS: Final = 500
CHARACTERS: Final = 12_000
SIZES: Final = {None: "one event a chunk", 1_400: "1,400 B", 16_384: "16 KiB"}
AGAIN: Final = 2

LIMITS: Final = {
    "text, one event a chunk": 0.92,
    "text, 1,400 B": 0.90,
    "text, 16 KiB": 0.78,
    "mixed, one event a chunk": 0.98,
    "mixed, 1,400 B": 0.90,
    "mixed, 16 KiB": 0.84,
    "text, 64 B": 1.75,
    "text, 1 B": 18.7,
    "mixed, CRLF": 1.2,
    "mixed, no event line": 1.35,
    "mixed, blanks after the brace": 1.2,
    "mixed, keys in another order": 1.1,
    "mixed, plain path": 5.0,
    "string input, never read": 0.95,
    "string input, read after each delta": 2.5,
    "records input, never read": 1.2,
    "records input, read after each delta": 4.1,
}
"""The targets: the largest ratio to the floor, for the cases that have a target."""

FLOOR: Final = "mixed: floor"
SAME_BUILD: Final = 0.06
"""The limit for the difference between the floor and its stored count, as a fraction.

The position of data in memory alone has changed the floor by 5 %.
"""


def cases() -> dict[str, tuple[Callable[[], object], int]]:
    """What is counted, and how many events are in it. The floor touches no line of ours."""
    counted: dict[str, tuple[Callable[[], object], int]] = {}
    for kind, fixture in {"text": text_only(EVENTS), "mixed": mixed(EVENTS)}.items():
        events = len(fixture.payloads)
        counted[f"{kind}: floor"] = partial(floor, fixture.payloads), events
        for size, name in SIZES.items():
            counted[f"{kind}, {name}"] = partial(pipeline, fixture.chunks(size)), events
    text = text_only(EVENTS)
    counted["text, 64 B"] = partial(pipeline, text.chunks(64)), len(text.payloads)
    text = text_only(FEW_EVENTS)
    counted["text, 1 B"] = partial(pipeline, text.chunks(1)), len(text.payloads)
    for name, fixture in {
        "CRLF": mixed_with_crlf(EVENTS),
        "no event line": mixed_without_names(EVENTS),
        "blanks after the brace": mixed_with_late_blanks(EVENTS),
        "keys in another order": mixed_backwards(EVENTS),
        "json.dumps": mixed_by_dumps(EVENTS),
    }.items():
        counted[f"mixed, {name}"] = partial(pipeline, fixture.chunks(None)), len(fixture.payloads)
    plain = partial(pipeline, mixed(EVENTS).chunks(None), fast_path=False)
    counted["mixed, plain path"] = plain, len(mixed(EVENTS).payloads)
    payloads = [json.loads(payload) for payload in mixed(EVENTS).payloads]
    counted["mixed, receive_event"] = partial(pipeline_of_payloads, payloads), len(payloads)
    for kind, fixture in {
        "string input": string_input(CHARACTERS),
        "records input": records_input(CHARACTERS),
    }.items():
        events = len(fixture.payloads)
        chunks = fixture.chunks(None)
        counted[f"{kind}: floor"] = partial(floor, fixture.payloads), events
        counted[f"{kind}, never read"] = partial(pipeline, chunks), events
        counted[f"{kind}, read after each delta"] = (
            partial(pipeline_with_partial_inputs, chunks),
            events,
        )
    return counted


def run(again: str) -> None:
    """Run each case once. Run the case `again` more often, by `AGAIN` times.

    valgrind counts the instructions of this process.
    """
    everything = cases()
    gc.collect()
    gc.freeze()  # a collection then depends on the objects of a case, not on the imported modules
    for name, (work, _) in everything.items():
        for _ in range(1 + AGAIN * (name == again)):
            work()


def start(again: str, *, before: tuple[str, ...] = ()) -> str:
    """Call `run` in a new process and return its stderr.

    Args:
        again: the argument of `run`.
        before: the command that starts the process, such as valgrind with its options.
    """
    done = subprocess.run(
        [*before, sys.executable, __file__, "--run", again],
        # No other variables: the size of the environment moves data in memory, which changes a
        # count by 1 %.
        env={
            "PATH": os.defpath,
            "PYTHONHASHSEED": "0",
            "PYTHONPATH": str(Path(sansio_stream.__file__).parents[1]),
        },
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stderr


def instructions(again: str) -> int:
    """Count the instructions of a process that calls `run`."""
    output = start(again, before=CALLGRIND)
    found = re.search(r"Collected : (\d+)", output)
    assert found is not None, output
    return int(found[1])


def per_event() -> dict[str, int]:
    """Count the instructions per event, without the start of Python and the making of streams."""
    start("")  # writes missing bytecode files, so that no counted process compiles a module
    once = instructions("")
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        counts = pool.map(instructions, cases())
    return {
        name: round((count - once) / (AGAIN * events))
        for count, (name, (_, events)) in zip(counts, cases().items(), strict=True)
    }


def kept() -> dict[str, Any]:
    """Read icount.toml: the tolerance, and the counts by version of Python."""
    return tomllib.loads(KEPT.read_text(encoding="utf-8"))


def keep(figures: dict[str, int]) -> None:
    """Write the counts of this Python, and how it was compiled, to icount.toml."""
    all_kept = kept()
    version = platform.python_version()
    versions = {**all_kept["instructions"], version: figures}
    builds = {**all_kept.get("builds", {}), version: build()}
    text = KEPT.read_text(encoding="utf-8").partition("\n[")[0]
    text += "\n[builds]\n"
    text += "".join(f'"{version}" = "{builds[version]}"\n' for version in sorted(builds))
    for version in sorted(versions):
        text += f'\n[instructions."{version}"]\n'
        text += "".join(f'"{name}" = {count:_}\n' for name, count in versions[version].items())
    KEPT.write_text(text, encoding="utf-8")


def floor_case(name: str) -> str:
    """Return the name of the floor with which a case is compared: the one of the same stream."""
    stream = name.partition(",")[0].partition(":")[0]
    return f"{stream}: floor"


def compare(figures: dict[str, int], before: dict[str, int], tolerance: float) -> bool:
    """Print the figures; return whether one is worse, as far as that can be said."""
    is_same_build = abs(figures[FLOOR] / before.get(FLOOR, 1) - 1) < SAME_BUILD
    worse = False
    for name, count in figures.items():
        line = f"{name:<40} {count:>9,}  {count / figures[floor_case(name)]:5.2f} × floor"
        if name in before:
            change = count / before[name] - 1
            is_worse = is_same_build and change > tolerance
            worse = worse or is_worse
            line += f"  {change:+7.1%}{'  TOO MUCH' if is_worse else ''}"
        print(line)
    if before and not is_same_build:
        print(
            "The floor differs too much: this is another build of Python, so the differences are"
            " not judged"
        )
    return worse


def main() -> None:
    """Count and compare. Store the counts if `--keep` is given."""
    parser = argparse.ArgumentParser(description="Count instructions per event.")
    parser.add_argument("--keep", action="store_true", help="write the counts to icount.toml")
    parser.add_argument("--run", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run is not None:
        run(options.run)
    elif shutil.which("valgrind") is None:
        print("Nothing is counted: valgrind is not installed (on Debian, the package valgrind)")
    else:
        version = platform.python_version()
        figures = per_event()
        before = kept()["instructions"].get(version, {})
        if not before:
            print(f"icount.toml has no counts for Python {version} yet")
        worse = compare(figures, before, kept()["tolerance"])
        if options.keep:
            keep(figures)
        elif worse:
            sys.exit(1)


if __name__ == "__main__":
    main()
