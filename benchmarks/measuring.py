"""Works in, their cost out: CPU time, memory, the time of an import. Knows nothing of streams.

What is compared is measured interleaved in one process: a round runs each work once, and a ratio is
the median of the ratios of the rounds. A machine that is slow for a minute is slow for both sides
of a ratio.
"""

import gc
import math
import os
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median, quantiles
from time import process_time
from typing import Any, Final, TypeAlias

import attrs

import sansio_stream

SHORTEST: Final = 0.01
"""Seconds: what takes less is run several times for one sample, so that clocks are fine enough."""

PATIENCE: Final = 10.0
"""Seconds: a work that has taken so long sits out the rounds that are left."""

Samples: TypeAlias = dict[str, dict[int, float]]
"""CPU seconds of a run, by work and round. Round 0 is the warm-up, kept where nothing else is."""


@attrs.frozen
class Work:
    """Something to measure.

    Attributes:
        run: what is measured.
        is_right: whether what it returned is what was asked for; looked at after each sample,
            outside of the time measured, so that nothing can be fast by doing less.
    """

    run: Callable[[], Any]
    is_right: Callable[[Any], bool]


@attrs.frozen
class Figure:
    """What was measured.

    Attributes:
        value: the median of the rounds.
        low: the lower quartile.
        high: the upper quartile.
        samples: what it was made of.
    """

    value: float
    low: float
    high: float
    samples: Samples = attrs.field(factory=dict, repr=False)

    @classmethod
    def of(cls, values: list[float], samples: Samples) -> "Figure":
        """The figure that some values make."""
        if len(values) == 1:
            return cls(values[0], values[0], values[0], samples)
        low, middle, high = quantiles(values, n=4, method="inclusive")
        return cls(middle, low, high, samples)


def interleave(works: Mapping[str, Work], rounds: int) -> Samples:
    """Run every work once a round, after a warm-up, each round in another order.

    The garbage collector is on, as it is for users. It has run before each sample, so that none
    pays for what another has left, and what was there before is frozen, so that a collection costs
    what the work itself has made, however many modules the peers have loaded.
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
    """Add one sample, and return how many loops make one that is long enough."""
    result = None
    gc.collect()
    start = process_time()
    for _ in range(loops):
        result = work.run()
    into[number] = (process_time() - start) / loops
    assert work.is_right(result), "what was measured has gone wrong"
    return math.ceil(SHORTEST / max(into[number], 1e-6))


def ratio(samples: Samples, one: str, other: str) -> Figure:
    """One work's cost ÷ another's, by round."""
    rounds = samples[one].keys() & samples[other].keys()
    warm = sorted(rounds - {0}) or [0]
    values = [samples[one][number] / samples[other][number] for number in warm]
    return Figure.of(values, {name: samples[name] for name in (one, other)})


def bytes_for(make: Callable[[], Any]) -> int:
    """How many bytes stay allocated by Python while what `make` returns is held."""
    make()  # what is made once and kept is not counted
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        held = make()
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
        del held
    finally:
        tracemalloc.stop()
    return after - before


def import_figure(rounds: int) -> Figure:
    """CPU milliseconds of `import sansio_stream` after attrs, json and re, in fresh processes.

    The value is the best one: it repeats, while the others tell what else the machine did.
    """
    code = (
        "import time, attrs, json, re; start = time.process_time(); import sansio_stream;"
        "print(1000 * (time.process_time() - start))"
    )
    package = Path(sansio_stream.__file__).parents[1]
    times = [
        float(
            subprocess.run(
                [sys.executable, "-c", code],
                env={**os.environ, "PYTHONPATH": str(package)},
                check=True,
                capture_output=True,
                text=True,
            ).stdout
        )
        for _ in range(rounds + 1)
    ]
    return Figure(min(times), min(times), median(times))
