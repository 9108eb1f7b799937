"""Measures the engines one after another, and prints a table.

    python scale/figures.py [--runs 3]

The CPU time per row is the slope between 1,000 and 20,000 bodies, and the fixed CPU time is the
rest. Of several runs, the one with the least CPU time counts. Ray and Dask run once.
"""

import argparse
import importlib.util
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Final

import bodies
from process_usage import Usage, measured
from run_engine import ENGINES

SMALL, LARGE = 1_000, 20_000

SCRIPT: Final = Path(__file__).with_name("run_engine.py")

GOAL: Final = 0.85
"""The command must report at least this fraction of the rows per CPU second that `report_table`
reports in one process.
"""


def usage_of(engine: str, source: Path, folder: Path, runs: int) -> Usage:
    """Return the usage of the run with the least CPU time."""
    found: list[Usage] = []
    for _ in range(runs):
        destination = folder / "rows"
        command = [sys.executable, str(SCRIPT), engine, str(source), str(destination)]
        usage = measured(command, RAY_DISABLE_IMPORT_WARNING="1")
        if usage.status:
            raise SystemExit(f"{engine} has failed")
        shutil.rmtree(destination)
        found.append(usage)
    return min(found, key=lambda usage: usage.cpu)


def main(runs: int) -> None:
    """Measure and print."""
    rates: dict[str, float] = {}
    print(f"Python {sys.version.split()[0]}, {os.cpu_count()} cores, {LARGE:,} bodies")
    print("| engine | rows per CPU second | CPU per row | fixed CPU | wall | memory | workers |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for rows in (SMALL, LARGE):
            bodies.write(folder / f"{rows}.parquet", rows)
        for engine in ENGINES:
            if engine in {"ray", "dask"} and importlib.util.find_spec(engine) is None:
                print(f"LEFT OUT: {engine} is not installed")
                continue
            times = 1 if engine in {"ray", "dask"} else runs
            small = usage_of(engine, folder / f"{SMALL}.parquet", folder, times)
            large = usage_of(engine, folder / f"{LARGE}.parquet", folder, times)
            slope = (large.cpu - small.cpu) / (LARGE - SMALL)
            rates[engine] = 1 / slope
            print(
                f"| {engine} | {1 / slope:,.0f} | {slope * 1e6:,.0f} µs |"
                f" {max(small.cpu - SMALL * slope, 0):.1f} s | {large.wall:.0f} s |"
                f" {large.command_rss / 2**20:,.0f} MiB | {large.other_rss / 2**20:,.0f} MiB |",
                flush=True,
            )
    ratio = rates["local"] / rates["function"]
    print(f"local / function: {ratio:.2f}; the goal is at least {GOAL}")
    if ratio < GOAL:
        sys.exit(1)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, default=3)
    main(parser.parse_args().runs)
