"""Measures this library, the floor and the peers. Prints the table of targets and the peers' costs.

    python benchmarks/bench.py [--rounds 9 | --quick] [--only pipeline input ...]
        [--record | --json FILE] [--samples FILE]

The exit code is 0 even if a figure misses its target. README.md in this directory explains how to
read the figures.
"""

import argparse
import importlib
import json
import os
import platform
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from contenders import by_floor
from curves import CURVES, Curve, readers_of_streams
from fixtures import mixed
from goals import GOALS, shown
from measuring import Figure, build

PEERS: Final = ("anthropic", "assel", "httpx-sse", "jiter", "sseclient-py")
RESULTS: Final = Path(__file__).with_name("results")
MINE: Final = ".".join(platform.python_version_tuple()[:2]) + ".json"
NAMES: Final = (*GOALS, "peers", *CURVES)


def conditions(rounds: int) -> dict[str, Any]:
    """Return the date, the Python and its build, the machine, the rounds and the versions."""
    versions: dict[str, str] = {}
    for name in ("sansio-stream", "attrs", *PEERS):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "python": f"{platform.python_implementation()} {platform.python_version()} ({build()})",
        "machine": f"{processor()}, {os.cpu_count()} cores, {platform.system()}",
        "rounds": rounds,
        "versions": versions,
    }


def processor() -> str:
    """Return the model name of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def keep(figures: dict[str, Figure]) -> dict[str, list[float]]:
    """Return the figures as they are recorded: the median, the lower and the upper quartile."""
    return {
        name: [float(f"{value:.3g}") for value in (figure.value, figure.low, figure.high)]
        for name, figure in figures.items()
    }


def measured_goals(names: list[str], rounds: int) -> dict[str, Figure]:
    """Measure some groups of the table. Print each row as soon as it is measured."""
    figures: dict[str, Figure] = {}
    for goal in (goal for name in names for goal in GOALS.get(name, ())):
        try:
            figure = figures[goal.what] = goal.measure(rounds)
        except ImportError as error:
            print(f"{goal.what:<78}  left out: {error}")
            continue
        met = "" if goal.limit is None else "met" if goal.is_met(figure.value) else "NOT MET"
        print(
            f"{goal.what:<78} {shown(figure.value, goal.unit):>10} {goal.target:>10}"
            f"  {met:<7}  {figure.low:.3g} to {figure.high:.3g}",
            flush=True,
        )
    return figures


def measured_peers(rounds: int) -> dict[str, Figure]:
    """Measure this library and all peers on one stream, and print their costs."""
    print("\n3,000 events, one a chunk: each library ÷ floor")
    figures = by_floor(readers_of_streams(), mixed(3_000), None, rounds)
    for name, figure in sorted(figures.items(), key=lambda item: item[1].value):
        print(f"{name:<78} {shown(figure.value, '×'):>10}", flush=True)
    return figures


def measured_curve(curve: Curve, rounds: int) -> dict[str, dict[str, list[float]]]:
    """Measure the data of a plot and print it. Return it by contender and size."""
    print(f"\n{curve.title} ÷ floor\n{curve.axis:>20}")
    found: dict[str, dict[str, list[float]]] = {}
    for size, figures in curve.points(rounds):
        line = "   ".join(f"{name} {shown(figure.value, '×')}" for name, figure in figures.items())
        print(f"{size:>20,}   {line}", flush=True)
        for name, values in keep(figures).items():
            found.setdefault(name, {})[str(size)] = values
    return found


def write_samples(path: Path, figures: dict[str, Figure]) -> None:
    """Write every sample in the format of pyperf, so that the commands of pyperf can read it."""
    pyperf = importlib.import_module("pyperf")
    benchmarks = [
        pyperf.Benchmark(
            [
                pyperf.Run(
                    [*seconds.values()],
                    metadata={"name": f"{what}: {work}", "unit": "second"},
                    collect_metadata=False,
                )
            ]
        )
        for what, figure in figures.items()
        for work, seconds in figure.samples.items()
    ]
    pyperf.BenchmarkSuite(benchmarks).dump(str(path), replace=True)


def main() -> None:
    """Measure the chosen groups, print the figures, and write them to the chosen files."""
    parser = argparse.ArgumentParser(
        description="Measure this library, the floor and the peers, and print ratios."
    )
    parser.add_argument("--rounds", type=int, default=9, help="the number of rounds")
    parser.add_argument("--quick", action="store_const", const=2, dest="rounds", help="two rounds")
    parser.add_argument("--only", nargs="+", choices=NAMES, help="measure these groups only")
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--json", type=Path, help="write the figures to this file")
    output.add_argument(
        "--record",
        action="store_const",
        const=RESULTS / MINE,
        dest="json",
        help="write the figures to benchmarks/results",
    )
    parser.add_argument("--samples", type=Path, help="write every sample to this file, for pyperf")
    options = parser.parse_args()
    if options.json == RESULTS / MINE and options.only:
        parser.error("--record measures all groups: leave out --only")
    names = options.only or [*NAMES]

    setting = conditions(options.rounds)
    versions = ", ".join(f"{name} {version}" for name, version in setting["versions"].items())
    print(f"{setting['python']}, {setting['machine']}; {setting['date']}; {versions}")
    print(f"CPU time, medians of the ratios of {options.rounds} rounds, and their quartiles\n")

    goals = measured_goals(names, options.rounds)
    peers = measured_peers(options.rounds) if "peers" in names else {}
    curves = {
        name: measured_curve(curve, options.rounds)
        for name, curve in CURVES.items()
        if name in names
    }
    if options.json is not None:
        results = {
            "conditions": setting,
            "goals": keep(goals),
            "peers": keep(peers),
            "curves": curves,
        }
        text = json.dumps(results, ensure_ascii=False, indent=1)
        options.json.write_text(f"{text}\n", encoding="utf-8")
    if options.samples is not None:
        write_samples(options.samples, {**goals, **peers})


if __name__ == "__main__":
    main()
