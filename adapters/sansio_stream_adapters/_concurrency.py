"""Waits with a time limit: in a thread, in asyncio or in trio, whichever is running.

The module imports neither asyncio nor trio. The code that calls it has imported its own.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Awaitable, Callable, Generator
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar

if TYPE_CHECKING:
    from ._timeout import Deadline

__all__ = [
    "Action",
    "alarm",
    "at_most",
    "in_time",
    "quietly",
    "running_trio",
    "sleep",
    "timer",
    "to_its_end",
]

Result = TypeVar("Result")

Action: TypeAlias = Callable[[], Awaitable[object]]
"""A coroutine function without arguments. Its result is not used."""


@contextlib.contextmanager
def alarm(seconds: float, wake: Callable[[], object] | None) -> Generator[None]:
    """Call `wake` from another thread if the block runs for longer than `seconds`.

    Nothing is called if `wake` is None, or if the thread cannot be started.
    """
    if wake is None:
        yield
        return
    running = timer(seconds, wake)
    try:
        yield
    finally:
        running.cancel()


def timer(seconds: float, wake: Callable[[], object]) -> threading.Timer:
    """Call `wake` from another thread after `seconds`, unless the returned timer is cancelled.

    Nothing is called if the thread cannot be started.
    """
    running = threading.Timer(seconds, wake)
    running.daemon = True
    with contextlib.suppress(RuntimeError):
        running.start()
    return running


def running_trio() -> Any:
    """Return the module trio if a trio event loop runs this task, else None."""
    trio = sys.modules.get("trio")
    if trio is not None:
        with contextlib.suppress(RuntimeError):  # "must be called from async context"
            trio.lowlevel.current_task()
            return trio
    return None


async def sleep(seconds: float) -> None:
    """Sleep in the event loop that runs this task."""
    await (running_trio() or sys.modules["asyncio"]).sleep(seconds)


async def at_most(seconds: float, action: Action) -> None:
    """Await an action, and cancel it after `seconds` without raising an exception."""
    trio = running_trio()
    if trio is not None:
        with trio.move_on_after(seconds):
            await action()
    else:
        with contextlib.suppress(TimeoutError):
            async with sys.modules["asyncio"].timeout(seconds):
                await action()


async def in_time(
    deadline: Deadline | None,
    what: Literal["head", "stream"],
    action: Callable[[], Awaitable[Result]],
) -> Result:
    """Await an action, and return its result.

    Args:
        deadline: The time until which to wait. None waits without a limit.
        what: What the action waits for. The error names it.
        action: The coroutine function to await.

    Raises:
        TimeoutError: The deadline passed first.
    """
    if deadline is None:
        return await action()
    trio = running_trio()
    if trio is not None:
        with trio.move_on_after(deadline.left):
            return await action()
        raise deadline.error(what)
    waiting = sys.modules["asyncio"].timeout(deadline.left)
    try:
        async with waiting:
            return await action()
    except TimeoutError as exc:
        if not waiting.expired():
            raise  # the action itself raised it
        raise deadline.error(what) from exc


async def to_its_end(action: Action) -> None:
    """Await an action, and let no cancellation interrupt it.

    In asyncio, a first cancellation is raised when the action has ended. A second one is raised at
    once, and the action goes on. In trio, the action must shield itself.
    """
    if running_trio() is not None:
        await action()
        return
    asyncio = sys.modules["asyncio"]
    task = asyncio.ensure_future(action())
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise


async def quietly(action: Action | None) -> None:
    """Await an action, and ignore its exceptions. None does nothing."""
    if action is not None:
        with contextlib.suppress(Exception):
            await action()
