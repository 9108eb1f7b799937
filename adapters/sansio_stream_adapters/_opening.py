"""A call whose stream is not there yet: whoever wants its end meanwhile can have it.

Knows no HTTP library. Imports neither of the loops: who runs us has done so.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

from sansio_stream.errors import IncompleteMessageError

from ._concurrency import running_trio
from ._errors import LEFT

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator

__all__ = ["AsyncOpening", "Opening", "current_opening"]

Result = TypeVar("Result")


class Opening:
    """A synchronous call until its stream is open.

    An adapter says what wakes its wait for a head (`wakes`); `close` may be called by another
    thread or a signal handler, at any time.
    """

    def __init__(self) -> None:
        self.is_closed = False
        """Whether somebody has closed it: nothing may be waited for any more."""
        self._wake: Callable[[], object] | None = None
        # A lock, because of what wakes a thread nothing else may be used in a signal handler.
        self._gate = threading.Lock()
        self._gate.acquire()

    def close(self) -> None:
        """Have the call end. A second call does nothing."""
        if self.is_closed:
            return
        self.is_closed = True
        with contextlib.suppress(RuntimeError):  # another thread has closed it at the same time
            self._gate.release()
        wake = self._wake
        if wake is not None:
            wake()

    def wakes(self, wake: Callable[[], object] | None) -> None:
        """Note what ends the wait that follows: called at once where it is closed already, else
        from any thread, and perhaps when that wait is over. None where nothing is waited for.
        """
        # Each side writes its own before it looks at the other's.
        self._wake = wake
        if self.is_closed and wake is not None:
            wake()

    def wait(self, seconds: float) -> None:
        """Wait so long, or until it is closed."""
        if self._gate.acquire(timeout=seconds):
            self._gate.release()

    def raise_if_closed(self) -> None:
        """Raise IncompleteMessageError where somebody has closed it."""
        if self.is_closed:
            raise IncompleteMessageError(LEFT)

    @contextlib.contextmanager
    def as_current(self) -> Generator[None]:
        """Be the one that `current_opening` returns, in this thread, while the block runs."""
        token = CURRENT.set(self)
        try:
            yield
        finally:
            CURRENT.reset(token)


CURRENT: Final[ContextVar[Opening | None]] = ContextVar("sansio_stream_adapters.opening")


def current_opening() -> Opening:
    """Return the call that is being sent in this thread; one that nobody closes if there is none.

    Not an argument of `send`, because adapters of other people have none.
    """
    return CURRENT.get(None) or Opening()


class AsyncOpening:
    """An asynchronous call until its stream is open. It belongs to its loop."""

    def __init__(self) -> None:
        self.is_closed = False
        self._cancel: Callable[[], object] | None = None

    def close(self) -> None:
        """Have the call end: its wait is cancelled. A second call does nothing."""
        if not self.is_closed:
            self.is_closed = True
            if self._cancel is not None:
                self._cancel()

    async def run(self, action: Callable[[], Awaitable[Result]]) -> Result:
        """Return what an action does. Raises IncompleteMessageError if this is closed before."""
        if self.is_closed:
            raise IncompleteMessageError(LEFT)
        trio = running_trio()
        try:
            if trio is not None:
                with trio.CancelScope() as scope:
                    self._cancel = scope.cancel
                    return await action()
            else:
                # A timeout without an end: it cancels this task alone, and tells whose doing it is.
                async with sys.modules["asyncio"].timeout(None) as waiting:
                    self._cancel = partial(waiting.reschedule, 0.0)
                    return await action()
        except Exception:
            if not self.is_closed:
                raise
        finally:
            self._cancel = None
        raise IncompleteMessageError(LEFT)
