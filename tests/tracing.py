"""Context managers for measurements of work, and the peak of the memory that work allocates."""

import gc
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

__all__ = ["peak_of", "traced", "without_collections"]


@contextmanager
def without_collections() -> Iterator[None]:
    """Disable garbage collection while the block runs.

    Otherwise a measurement includes what a collection runs: the functions in `gc.callbacks`, of
    which Hypothesis registers some, and the end of generators that earlier tests left in a cycle.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@contextmanager
def traced(trace: Callable[[FrameType, str, Any], Any] | None) -> Iterator[None]:
    """Set `trace` as the trace function of this thread while the block runs.

    None disables tracing. Afterwards the previous trace function is set again. No garbage is
    collected in the block.
    """
    before = sys.gettrace()  # coverage has one
    with without_collections():
        sys.settrace(trace)
        try:
            yield
        finally:
            sys.settrace(before)


def peak_of(work: Callable[[], object]) -> int:
    """Return the peak of the memory that the work allocates, in bytes."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
