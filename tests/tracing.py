"""Tracing: what looks at each call and line while something runs, and coverage's look after it."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

__all__ = ["traced"]


@contextmanager
def traced(trace: Callable[[FrameType, str, Any], Any] | None) -> Iterator[None]:
    """Have `sys.settrace` call this while the block runs; None has it call nothing."""
    before = sys.gettrace()  # coverage's, when it is measured
    sys.settrace(trace)
    try:
        yield
    finally:
        sys.settrace(before)
