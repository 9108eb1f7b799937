"""Measures the cost of functions, as objects of the class `Work`: CPU time, memory, import time.

The module does not depend on streams. Works that are compared run interleaved in one process. A
round runs each work once. A ratio is the median of the ratios of the rounds. If the machine is slow
for a minute, both sides of a ratio are slow.
"""

import gc
import math
import os
import re
import subprocess
import sys
import sysconfig
import tracemalloc
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median, quantiles
from time import process_time
from typing import Any, Final, TypeAlias

import attrs

import sansio_stream

SHORTEST: Final = 0.01
"""The shortest sample, in seconds.

A work that takes less time runs several times for one sample, so that the clock is precise enough.
"""

PATIENCE: Final = 10.0
"""The time in seconds after which a work skips the remaining rounds."""

Samples: TypeAlias = dict[str, dict[int, float]]
"""CPU seconds of a run, by work and round. Round 0 is the warm-up.

The warm-up counts only if a work has no other round.
"""


@attrs.frozen
class Work:
    """A function to measure, with a check of its result.

    Attributes:
        run: the measured function.
        is_right: whether the result of `run` is correct. It is called after each sample and not
            timed, so that a work that does less than it should is found.
    """

    run: Callable[[], Any]
    is_right: Callable[[Any], bool]


@attrs.frozen
class Figure:
    """A measured value.

    Attributes:
        value: the median of the rounds.
        low: the lower quartile.
        high: the upper quartile.
        samples: the samples that the value was computed from.
    """

    value: float
    low: float
    high: float
    samples: Samples = attrs.field(factory=dict, repr=False)

    @classmethod
    def of(cls, values: list[float], samples: Samples) -> "Figure":
        """Return the median and the quartiles of some values."""
        if len(values) == 1:
            return cls(values[0], values[0], values[0], samples)
        low, middle, high = quantiles(values, n=4, method="inclusive")
        return cls(middle, low, high, samples)


def interleave(works: Mapping[str, Work], rounds: int) -> Samples:
    """Run every work once in a warm-up and once in each round. Each round has another order.

    The garbage collector is on, as it is for users. It runs before each sample, so that no sample
    includes the garbage of another. All older objects are frozen. So the cost of a collection
    depends on the objects of the work, not on the number of modules that the peers have loaded.
    """
    samples: Samples = {name: {} for name in works}
    gc.collect()
    gc.freeze()
    try:
        loops = {name: _sample(works[name], 1, samples[name], 0) for name in works}
        for number in range(1, rounds + 1):
            turn = number % len(works)
            order = [*works][turn:] + [*works][:turn]
            for name in order:
                if loops[name] * sum(samples[name].values()) < PATIENCE:
                    _sample(works[name], loops[name], samples[name], number)
    finally:
        gc.unfreeze()
    return samples


def _sample(work: Work, loops: int, into: dict[int, float], number: int) -> int:
    """Add one sample. Return the number of loops that make a sample of at least SHORTEST."""
    result = None
    gc.collect()
    start = process_time()
    for _ in range(loops):
        result = work.run()
    into[number] = (process_time() - start) / loops
    assert work.is_right(result), "the measured work returned a wrong result"
    return math.ceil(SHORTEST / max(into[number], 1e-6))


def ratio(samples: Samples, one: str, other: str) -> Figure:
    """Return the cost of one work ÷ the cost of another: the median of the rounds' ratios."""
    rounds = samples[one].keys() & samples[other].keys()
    warm = sorted(rounds - {0}) or [0]
    values = [samples[one][number] / samples[other][number] for number in warm]
    return Figure.of(values, {name: samples[name] for name in (one, other)})


def bytes_for(make: Callable[[], Any]) -> int:
    """Return the number of bytes that Python allocates for the result of `make`."""
    make()  # caches that the first call fills are not counted
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        result = make()
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
        del result
    finally:
        tracemalloc.stop()
    return after - before


def imports(rounds: int) -> tuple[list[float], list[float]]:
    """Measure the CPU milliseconds of two imports, each in as many new processes.

    Returns:
        The times of `import attrs, json, re`, and those of `import sansio_stream` after it.
    """
    code = (
        "import time; start = time.process_time(); import attrs, json, re;"
        "between = time.process_time(); import sansio_stream;"
        "print(1000 * (between - start), 1000 * (time.process_time() - between))"
    )
    package = Path(sansio_stream.__file__).parents[1]
    others: list[float] = []
    ours: list[float] = []
    for _ in range(rounds + 1):
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONPATH": str(package)},
            check=True,
            capture_output=True,
            text=True,
        )
        for times, printed in zip((others, ours), done.stdout.split(), strict=True):
            times.append(float(printed))
    return others, ours


def import_figure(rounds: int) -> Figure:
    """Measure the CPU milliseconds of `import sansio_stream` after attrs, json and re.

    The value is the fastest one, because it is repeatable. The other ones depend on what else the
    machine did.
    """
    times = [1_000 * ours for _, ours in import_seconds(rounds)]
    return Figure(min(times), min(times), median(times))


def import_ratio(rounds: int) -> Figure:
    """Measure `import sansio_stream` after attrs, json and re ÷ the import of these three.

    Both are measured in the same process, so that both are slow if the machine is slow. The value
    is the median of several processes.
    """
    return Figure.of([ours / theirs for theirs, ours in import_seconds(rounds)], {})


def import_seconds(rounds: int) -> list[tuple[float, float]]:
    """Measure the CPU seconds of two imports: of attrs, json and re, and then of sansio_stream.

    Each pair is measured in a new process.
    """
    code = (
        "from time import process_time as now; start = now(); import attrs, json, re;"
        "middle = now(); import sansio_stream; print(middle - start, now() - middle)"
    )
    # The first process writes missing bytecode files, even if the environment forbids it.
    package = str(Path(sansio_stream.__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": package, "PYTHONDONTWRITEBYTECODE": ""}
    pairs: list[tuple[float, float]] = []
    for _ in range(rounds + 2):
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=environment,
            check=True,
            capture_output=True,
            text=True,
        )
        theirs, ours = map(float, done.stdout.split())
        pairs.append((theirs, ours))
    return pairs[1:]


def build() -> str:
    """Return how this Python was compiled: the optimisation, and whether with PGO and LTO.

    PGO alone changes all counts of instructions by 5 %.
    """
    names = ("CONFIG_ARGS", "PY_CFLAGS", "PY_CFLAGS_NODIST", "PY_LDFLAGS_NODIST")
    flags = " ".join(str(sysconfig.get_config_var(name) or "") for name in names)
    levels = re.findall(r"(?<!\S)-O\w+", flags)
    has_pgo = "--enable-optimizations" in flags or "-fprofile-use" in flags
    has_lto = "--with-lto" in flags or "-flto" in flags
    parts = [*levels[-1:], "PGO" if has_pgo else "no PGO", "LTO" if has_lto else "no LTO"]
    return ", ".join(parts)
