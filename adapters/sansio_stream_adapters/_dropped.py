"""Closes streams and pools that were dropped without being closed.

A garbage collection may drop the last reference to a stream. It runs in any thread, and that
thread may hold any lock. So the stream is not closed by this thread. A new thread or the event loop
closes it. Passing the work on to them waits for no lock that the thread may hold.

This module imports neither asyncio nor trio. Its callers have imported the one that they use.
"""

from __future__ import annotations

import _thread
import contextlib
import sys
from collections.abc import Callable, Coroutine, Generator
from functools import partial
from typing import Any, Final, TypeAlias

from ._concurrency import Action, quietly, running_trio

__all__ = ["HandOver", "handing_over", "hold", "in_a_thread", "let_go_of"]


HandOver: TypeAlias = Callable[[Action], bool]
"""Schedules an action on an event loop, from any thread. Returns False if the loop has ended."""


HELD: Final[dict[int, object]] = {}
"""Objects that a garbage collection must not collect, by their `id`."""


def hold(chunks: object) -> None:
    """Keep the chunks of a stream alive until `let_go_of`, even if the stream becomes garbage.

    A garbage collection would otherwise finalize the stream and its chunks together. Then chunks
    that are a generator would end before their source is closed.
    """
    HELD[id(chunks)] = chunks


def let_go_of(chunks: object) -> None:
    """Stop keeping the chunks alive. Does nothing if they were not kept."""
    HELD.pop(id(chunks), None)


def in_a_thread(action: Callable[[], object]) -> None:
    """Run an action in a new thread, or in this one if no thread can be started.

    While the interpreter exits, the function does nothing.
    """
    if sys.is_finalizing():
        return
    try:
        # Not `threading.Thread`: it takes locks, and it waits until the thread has started.
        _thread.start_new_thread(action, ())
    except RuntimeError:  # "can't start new thread"
        action()


def handing_over() -> HandOver:
    """Return a function that schedules actions on the running event loop.

    Without a running event loop, the function does nothing and returns False.
    """
    trio = running_trio()
    if trio is not None:
        return partial(hand_over_to_trio, trio, trio.lowlevel.current_trio_token())
    asyncio = sys.modules.get("asyncio")
    if asyncio is not None:
        with contextlib.suppress(RuntimeError):  # no running event loop
            return partial(hand_over_to_asyncio, asyncio.get_running_loop())
    return lambda _: False


def hand_over_to_trio(trio: Any, token: Any, action: Action) -> bool:
    """Schedule an action on an event loop of trio. Return False if that loop has ended."""

    def start() -> None:
        with contextlib.suppress(RuntimeError):  # the loop ends: "Nursery is closed"
            trio.lowlevel.spawn_system_task(quietly, action)

    if running_trio() is not None and trio.lowlevel.current_trio_token() is token:
        start()  # if the main task ends now, a scheduled call would be lost
        return True
    try:
        token.run_sync_soon(start)
    except trio.RunFinishedError:
        return False
    return True


def hand_over_to_asyncio(loop: Any, action: Action) -> bool:
    """Schedule an action on an event loop of asyncio. Return False if that loop is closed."""

    def start() -> None:
        task = loop.create_task(AlwaysStarted(quietly(action)))
        HANDED_OVER.add(task)
        task.add_done_callback(HANDED_OVER.discard)

    try:
        loop.call_soon_threadsafe(start)
    except RuntimeError:  # "Event loop is closed"
        return False
    return True


HANDED_OVER: Final[set[Any]] = set()
"""Running tasks of asyncio, which itself keeps only weak references to them."""


class AlwaysStarted(Coroutine[Any, Any, None]):
    """A coroutine that starts even if its task is cancelled before its first step.

    `asyncio.run` cancels all tasks when the main task ends. Without this class, a stream that is
    dropped in the last step of the main task would not be closed.
    """

    def __init__(self, coroutine: Coroutine[Any, Any, None]) -> None:
        self._coroutine = coroutine
        self._has_begun = False

    def send(self, value: Any, /) -> Any:
        """Run the coroutine up to its next `await`."""
        self._has_begun = True
        return self._coroutine.send(value)

    def throw(self, *exc: Any) -> Any:
        """Raise an exception in the coroutine, or start it if it has not started."""
        return self._coroutine.throw(*exc) if self._has_begun else self.send(None)

    def close(self) -> None:
        """Close the coroutine."""
        self._coroutine.close()

    def __await__(self) -> Generator[Any, Any, None]:
        return self._coroutine.__await__()
