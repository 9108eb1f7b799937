"""Waiting with an end: in a thread, in asyncio or in trio, whichever is running.

Imports neither of the loops: who runs us has done so.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Awaitable, Callable, Generator
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar

if TYPE_CHECKING:
    from ._timeout import Deadline

__all__ = ["Action", "alarm", "at_most", "in_time", "quietly", "running_trio", "sleep", "timer"]

Result = TypeVar("Result")

Action: TypeAlias = Callable[[], Awaitable[object]]
"""What is awaited, and whose value nobody needs."""


@contextlib.contextmanager
def alarm(seconds: float, wake: Callable[[], object] | None) -> Generator[None]:
    """Call `wake` from another thread if the block is not left after so long.

    Where there can be no other thread, and without `wake`, nothing is called.
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
    """Call `wake` from another thread after so long, unless what is returned is cancelled before.

    Where there can be no other thread, it is not called.
    """
    running = threading.Timer(seconds, wake)
    running.daemon = True
    with contextlib.suppress(RuntimeError):
        running.start()
    return running


def running_trio() -> Any:
    """Return the module trio if its loop runs this task, else None."""
    trio = sys.modules.get("trio")
    if trio is not None:
        with contextlib.suppress(RuntimeError):  # "must be called from async context"
            trio.lowlevel.current_task()
            return trio
    return None


async def sleep(seconds: float) -> None:
    """Wait so long."""
    await (running_trio() or sys.modules["asyncio"]).sleep(seconds)


async def at_most(seconds: float, action: Action) -> None:
    """Do something, but give it up after so long, without an exception."""
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
    """Return what an action does; raise the deadline's TimeoutError if it is over before."""
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
            raise  # of the action itself
        raise deadline.error(what) from exc


async def quietly(action: Action | None) -> None:
    """Do something that nothing hangs on: its exceptions are nobody's business."""
    if action is not None:
        with contextlib.suppress(Exception):
            await action()
