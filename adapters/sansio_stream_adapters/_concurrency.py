"""Waiting with an end: in a thread, in asyncio or in trio, whichever is running.

Imports neither of the loops: who runs us has done so.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator

__all__ = ["alarm", "at_most", "sleep", "start_soon"]


@contextlib.contextmanager
def alarm(seconds: float, wake: Callable[[], object] | None) -> Generator[None]:
    """Call `wake` from another thread if the block is not left after so long.

    Where there can be no other thread, and without `wake`, nothing is called.
    """
    if wake is None:
        yield
        return
    timer = threading.Timer(seconds, wake)
    timer.daemon = True
    with contextlib.suppress(RuntimeError):
        timer.start()
    try:
        yield
    finally:
        timer.cancel()


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


async def at_most(seconds: float, action: Callable[[], Awaitable[None]]) -> None:
    """Do something, but give it up after so long, without an exception."""
    trio = running_trio()
    if trio is not None:
        with trio.move_on_after(seconds):
            await action()
    else:
        with contextlib.suppress(TimeoutError):
            async with sys.modules["asyncio"].timeout(seconds):
                await action()


def start_soon(action: Callable[[], Awaitable[None]]) -> None:
    """Have the loop that runs now do something some time; without one nothing is done."""
    trio = running_trio()
    if trio is not None:
        trio.lowlevel.spawn_system_task(action)
        return
    asyncio = sys.modules.get("asyncio")
    if asyncio is not None:
        with contextlib.suppress(RuntimeError):  # no running event loop
            asyncio.get_running_loop().create_task(action())
