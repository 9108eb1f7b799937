"""Calls whose stream is not open yet. Other code can end such a call.

The module depends on no HTTP library. It imports neither asyncio nor trio, because the code that
calls it has imported its own.
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
from ._errors import CLOSED_EARLY

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator

__all__ = ["AsyncOpening", "Opening", "current_opening"]

Result = TypeVar("Result")


class Opening:
    """A synchronous call from its start until its stream is open.

    An adapter passes to `set_cancel` the function that ends its wait for a head. Another thread or
    a signal handler may call `close` at any time.
    """

    def __init__(self) -> None:
        self.is_closed = False
        """Whether `close` was called. After that the call must not wait any more."""
        self._cancel: Callable[[], object] | None = None
        # A signal handler may use nothing but a lock to wake a thread.
        self._gate = threading.Lock()
        self._gate.acquire()

    def close(self) -> None:
        """End the call. A second call does nothing."""
        if self.is_closed:
            return
        self.is_closed = True
        with contextlib.suppress(RuntimeError):  # another thread closed it at the same time
            self._gate.release()
        cancel = self._cancel
        if cancel is not None:
            cancel()

    def set_cancel(self, cancel: Callable[[], object] | None) -> None:
        """Set the function that ends the wait that follows. None means that nothing waits.

        The function is called at once if the call is closed already. Otherwise it may be called
        from any thread, and even after the wait has ended.
        """
        # `close` and `set_cancel` each set their own attribute before they read that of the other.
        self._cancel = cancel
        if self.is_closed and cancel is not None:
            cancel()

    def wait(self, seconds: float) -> None:
        """Sleep for `seconds`, or until the call is closed."""
        if self._gate.acquire(timeout=seconds):
            self._gate.release()

    def raise_if_closed(self) -> None:
        """Raise IncompleteMessageError if the call is closed."""
        if self.is_closed:
            raise IncompleteMessageError(CLOSED_EARLY)

    @contextlib.contextmanager
    def as_current(self) -> Generator[None]:
        """Make `current_opening` return this object in this thread while the block runs."""
        token = CURRENT.set(self)
        try:
            yield
        finally:
            CURRENT.reset(token)


CURRENT: Final[ContextVar[Opening | None]] = ContextVar("sansio_stream_adapters.opening")


def current_opening() -> Opening:
    """Return the call that this thread is sending, or a new one that is never closed.

    It is not an argument of `send`, because the adapters of other projects do not have such an
    argument.
    """
    return CURRENT.get(None) or Opening()


class AsyncOpening:
    """An asynchronous call until its stream is open. Only its event loop may use it."""

    def __init__(self) -> None:
        self.is_closed = False
        self._cancel: Callable[[], object] | None = None

    def close(self) -> None:
        """End the call by cancelling its wait. A second call does nothing."""
        if not self.is_closed:
            self.is_closed = True
            if self._cancel is not None:
                self._cancel()

    async def run(self, action: Callable[[], Awaitable[Result]]) -> Result:
        """Await an action and return its result.

        Raises:
            IncompleteMessageError: The call was closed before the action ended.
        """
        if self.is_closed:
            raise IncompleteMessageError(CLOSED_EARLY)
        trio = running_trio()
        try:
            if trio is not None:
                with trio.CancelScope() as scope:
                    self._cancel = scope.cancel
                    return await action()
            else:
                # A timeout without a limit: it cancels this task only, and turns its own
                # cancellation into a TimeoutError.
                async with sys.modules["asyncio"].timeout(None) as waiting:
                    self._cancel = partial(waiting.reschedule, 0.0)
                    return await action()
        except Exception:
            if not self.is_closed:
                raise
        finally:
            self._cancel = None
        raise IncompleteMessageError(CLOSED_EARLY)
