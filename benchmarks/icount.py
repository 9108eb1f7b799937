"""Instructions per event, counted by valgrind: a figure that no other work on the machine moves.

Prints each figure and by how much it differs from the one that icount.toml keeps for this version
of Python. Ends in failure if one is higher by more than the tolerance that stands there. Where
there is no valgrind, nothing is counted, and that is said.

    python benchmarks/icount.py [--keep]
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
"""How far the floor may be from what is kept: where things lie in memory has moved it by 5 %."""


def cases() -> dict[str, tuple[Callable[[], object], int]]:
    """What is counted, and how many events are in it. The floor touches no line of ours."""
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
    """Run each case once, and one of them AGAIN; what is counted is this process."""
    everything = cases()
    gc.collect()
    gc.freeze()  # a collection counts what a case has made, not what was imported
    for name, (work, _) in everything.items():
        for _ in range(1 + AGAIN * (name == again)):
            work()


def start(again: str, *, before: tuple[str, ...] = ()) -> str:
    """Run such a process, under another program if one is named; return what that one said."""
    done = subprocess.run(
        [*before, sys.executable, __file__, "--run", again],
        # Nothing else: the size of the environment moves what is in memory, and so a count by 1 %.
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
    """How many instructions such a process takes."""
    said = start(again, before=CALLGRIND)
    found = re.search(r"Collected : (\d+)", said)
    assert found is not None, said
    return int(found[1])


def per_event() -> dict[str, int]:
    """Count: what the start of a process takes, and the streams are made with, falls out."""
    start("")  # compiles what is not compiled yet
    once = instructions("")
    return {
        name: round((instructions(name) - once) / (AGAIN * events))
        for name, (_, events) in cases().items()
    }


def kept() -> dict[str, Any]:
    """What icount.toml holds: the tolerance, and the figures by version of Python."""
    return tomllib.loads(KEPT.read_text(encoding="utf-8"))


def keep(figures: dict[str, int]) -> None:
    """Write the figures of this Python into icount.toml."""
    all_kept = kept()
    versions = {**all_kept["instructions"], platform.python_version(): figures}
    text = KEPT.read_text(encoding="utf-8").partition("\n[")[0]
    for version in sorted(versions):
        text += f'\n[instructions."{version}"]\n'
        text += "".join(f'"{name}" = {count:_}\n' for name, count in versions[version].items())
    KEPT.write_text(text, encoding="utf-8")


def compare(figures: dict[str, int], before: dict[str, int], tolerance: float) -> bool:
    """Print the figures; return whether one is worse, as far as that can be said."""
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
        print("The floor is another: so is this build of Python, and nothing follows from the rest")
    return worse


def main() -> None:
    """Count, compare, keep if asked to."""
    parser = argparse.ArgumentParser(description="instructions per event")
    parser.add_argument("--keep", action="store_true", help="write the figures into icount.toml")
    parser.add_argument("--run", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run is not None:
        run(options.run)
    elif shutil.which("valgrind") is None:
        print("Nothing is counted: there is no valgrind here (Debian has it as a package)")
    else:
        version = platform.python_version()
        figures = per_event()
        before = kept()["instructions"].get(version, {})
        if not before:
            print(f"Nothing is kept for Python {version} yet")
        worse = compare(figures, before, kept()["tolerance"])
        if options.keep:
            keep(figures)
        elif worse:
            sys.exit(1)


if __name__ == "__main__":
    main()
