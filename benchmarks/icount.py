"""Counts instructions per event with valgrind. Other programs on the machine do not change a count.

    python benchmarks/icount.py [--keep]

Prints each count and its difference from the count in icount.toml for this version of Python. The
exit code is 1 if a count is higher by more than the tolerance in icount.toml. If valgrind is
missing, the command prints a message and counts nothing.
"""

import argparse
import gc
import os
import platform
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import sansio_stream
from contenders import floor, pipeline
from fixtures import mixed, mixed_backwards, text_only

KEPT: Final = Path(__file__).with_name("icount.toml")
CALLGRIND: Final = ("valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null")
EVENTS: Final = 1_000
AGAIN: Final = 2
SAME_BUILD: Final = 0.06
"""The limit for the difference between the floor and its stored count, as a fraction.

The position of data in memory alone has changed the floor by 5 %.
"""


def cases() -> dict[str, tuple[Callable[[], object], int]]:
    """Return each counted function with its number of events. The floor runs no code of ours."""
    streams = {
        "text only, 16 KiB": (text_only(EVENTS), 16_384),
        "text only, one event a chunk": (text_only(EVENTS), None),
        "mixed, one event a chunk": (mixed(EVENTS), None),
        "off the fast path, one event a chunk": (mixed_backwards(EVENTS), None),
    }
    payloads = mixed(EVENTS).payloads
    counted: dict[str, tuple[Callable[[], object], int]] = {
        "floor": (partial(floor, payloads), len(payloads))
    }
    for name, (fixture, size) in streams.items():
        counted[name] = (partial(pipeline, fixture.chunks(size)), len(fixture.payloads))
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
    return {
        name: round((instructions(name) - once) / (AGAIN * events))
        for name, (_, events) in cases().items()
    }


def kept() -> dict[str, Any]:
    """Read icount.toml: the tolerance, and the counts by version of Python."""
    return tomllib.loads(KEPT.read_text(encoding="utf-8"))


def keep(figures: dict[str, int]) -> None:
    """Write the counts of this Python to icount.toml."""
    all_kept = kept()
    versions = {**all_kept["instructions"], platform.python_version(): figures}
    text = KEPT.read_text(encoding="utf-8").partition("\n[")[0]
    for version in sorted(versions):
        text += f'\n[instructions."{version}"]\n'
        text += "".join(f'"{name}" = {count:_}\n' for name, count in versions[version].items())
    KEPT.write_text(text, encoding="utf-8")


def compare(figures: dict[str, int], before: dict[str, int], tolerance: float) -> bool:
    """Print the counts. Return whether one is too high. On another build of Python, none is."""
    is_same_build = abs(figures["floor"] / before.get("floor", 1) - 1) < SAME_BUILD
    worse = False
    for name, count in figures.items():
        line = f"{name:<40} {count:>9,}  {count / figures['floor']:5.2f} × floor"
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
