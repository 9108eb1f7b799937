"""Applies a function to many items in several processes, in the order of the items."""

from __future__ import annotations

import multiprocessing
import signal
from collections import deque
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING, Generic, TypeVar

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = ["Outcome", "map_in_processes"]

Item = TypeVar("Item")
Result = TypeVar("Result")


@attrs.frozen
class Outcome(Generic[Item, Result]):
    """An item and its result. The result is None if the process that worked on it died twice."""

    item: Item
    result: Result | None


def map_in_processes(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int
) -> Iterator[Outcome[Item, Result]]:
    """Yield the outcome of each item, in the order of the items.

    A process may die, for example because the system kills it when memory runs out. The items that
    were in work at that time are tried once more, one after another.

    Memory: at most `2 * workers` items and their results at a time.

    Args:
        function: a function that can be pickled. An exception that it raises is raised here.
        items: objects that can be pickled. They are taken as they are needed.
        workers: the number of processes.
    """
    waiting = iter(items)
    in_work: deque[tuple[Item, Future[Result]]] = deque()
    pool = new_pool(workers)
    try:
        while True:
            while len(in_work) < 2 * workers:
                try:
                    item = next(waiting)
                except StopIteration:
                    break
                in_work.append((item, submitted(pool, function, item)))
            if not in_work:
                return
            item, future = in_work.popleft()
            try:
                result = future.result()
            except BrokenProcessPool:
                # The death of one process ends the whole pool, and the pool does not say which item
                # the process worked on.
                pool.shutdown(cancel_futures=True)
                for each, unfinished in [(item, future), *in_work]:
                    yield Outcome(each, result_after_death(function, each, unfinished))
                in_work.clear()
                pool = new_pool(workers)
            else:
                yield Outcome(item, result)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def new_pool(workers: int) -> ProcessPoolExecutor:
    """Return a pool whose processes end silently when the terminal sends them an interruption.

    The processes are spawned, because forking a process that has threads, as Arrow's, is unsafe.
    """
    return ProcessPoolExecutor(
        workers, multiprocessing.get_context("spawn"), initializer=end_on_interruption
    )


def end_on_interruption() -> None:
    """Let SIGINT end this process at once. By default, Python prints a traceback."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def submitted(
    pool: ProcessPoolExecutor, function: Callable[[Item], Result], item: Item
) -> Future[Result]:
    """Submit an item. In a pool that is broken, return a future that says so."""
    try:
        return pool.submit(function, item)
    except BrokenProcessPool as error:
        future: Future[Result] = Future()
        future.set_exception(error)
        return future


def result_after_death(
    function: Callable[[Item], Result], item: Item, future: Future[Result]
) -> Result | None:
    """Return the result of an item that was in work when a process died.

    If it was not finished, it is tried in a process of its own. Returns None if this one dies, too.
    """
    try:
        return future.result()
    except BrokenProcessPool:
        pass
    pool = new_pool(1)
    try:
        return pool.submit(function, item).result()
    except BrokenProcessPool:
        return None
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
