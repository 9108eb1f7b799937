"""A context manager that sets a trace function and afterwards restores the previous one."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

__all__ = ["traced"]


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
