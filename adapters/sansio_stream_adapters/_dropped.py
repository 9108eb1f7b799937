"""What was dropped unclosed is closed soon, by a thread or by its loop.

Whoever drops something may be a garbage collection, which runs in any thread, under any lock that
the thread holds just then. So nothing is closed there and then: it is handed over, without a lock.
Imports neither of the loops: who runs us has done so.
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
"""Has something done soon, from any thread and ever after; says whether there is still a loop."""


HELD: Final[dict[int, object]] = {}
"""What no garbage collection may take, by its identity."""


def hold(chunks: object) -> None:
    """Keep the chunks of a stream until `let_go_of`, also where the stream itself is garbage.

    A garbage collection takes both at once, and would end the chunks, such as a generator, before
    anybody could close what they come from.
    """
    HELD[id(chunks)] = chunks


def let_go_of(chunks: object) -> None:
    """Keep them no longer, if they were kept."""
    HELD.pop(id(chunks), None)


def in_a_thread(action: Callable[[], object]) -> None:
    """Do something in a thread of its own; here, where there can be none. Not while Python ends."""
    if sys.is_finalizing():
        return
    try:
        # `threading.Thread` takes locks, and waits for the thread.
        _thread.start_new_thread(action, ())
    except RuntimeError:  # "can't start new thread"
        action()


def handing_over() -> HandOver:
    """Return what hands over to the loop that runs now. Where none does, it does nothing."""
    trio = running_trio()
    if trio is not None:
        return partial(hand_over_to_trio, trio, trio.lowlevel.current_trio_token())
    asyncio = sys.modules.get("asyncio")
    if asyncio is not None:
        with contextlib.suppress(RuntimeError):  # no running event loop
            return partial(hand_over_to_asyncio, asyncio.get_running_loop())
    return lambda _: False


def hand_over_to_trio(trio: Any, token: Any, action: Action) -> bool:
    """Have a loop of trio do something soon."""

    def start() -> None:
        with contextlib.suppress(RuntimeError):  # the loop ends: "Nursery is closed"
            trio.lowlevel.spawn_system_task(quietly, action)

    if running_trio() is not None and trio.lowlevel.current_trio_token() is token:
        start()  # what has to be called first is forgotten if the main task ends now
        return True
    try:
        token.run_sync_soon(start)
    except trio.RunFinishedError:
        return False
    return True


def hand_over_to_asyncio(loop: Any, action: Action) -> bool:
    """Have a loop of asyncio do something soon."""

    def start() -> None:
        task = loop.create_task(Begun(quietly(action)))
        HANDED_OVER.add(task)
        task.add_done_callback(HANDED_OVER.discard)

    try:
        loop.call_soon_threadsafe(start)
    except RuntimeError:  # "Event loop is closed"
        return False
    return True


HANDED_OVER: Final[set[Any]] = set()
"""Tasks of asyncio, which holds none itself."""


class Begun(Coroutine[Any, Any, None]):
    """A coroutine that begins, even if its task is cancelled before it does.

    `asyncio.run` cancels all tasks when the main one ends, and so would forget what was dropped in
    the main one's last step.
    """

    def __init__(self, coroutine: Coroutine[Any, Any, None]) -> None:
        self._coroutine = coroutine
        self._has_begun = False

    def send(self, value: Any, /) -> Any:
        """Go on."""
        self._has_begun = True
        return self._coroutine.send(value)

    def throw(self, *exc: Any) -> Any:
        """Go on with an exception, or begin without one."""
        return self._coroutine.throw(*exc) if self._has_begun else self.send(None)

    def close(self) -> None:
        """Go on no more."""
        self._coroutine.close()

    def __await__(self) -> Generator[Any, Any, None]:
        return self._coroutine.__await__()
