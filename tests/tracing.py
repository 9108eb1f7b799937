"""A context manager that sets a trace function, and the peak of the memory that work allocates."""

import sys
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

__all__ = ["peak_of", "traced"]


@contextmanager
def traced(trace: Callable[[FrameType, str, Any], Any] | None) -> Iterator[None]:
    """Set `trace` as the trace function of this thread while the block runs.

    None disables tracing. Afterwards the previous trace function is set again.
    """
    before = sys.gettrace()  # coverage has one
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
