"""Applies a function to many items in several processes, in the order of the items."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
from collections import deque
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator
    from multiprocessing.process import BaseProcess
    from multiprocessing.queues import SimpleQueue

__all__ = ["Outcome", "map_in_processes", "sigint_allowed", "sigint_blocked", "sigpipe_blocked"]

Item = TypeVar("Item")
Result = TypeVar("Result")


@attrs.frozen
class Outcome(Generic[Item, Result]):
    """An item and its result. The result is None if the process that worked on it died twice."""

    item: Item
    result: Result | None


def map_in_processes(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int, *, waiting: int = 2
) -> Iterator[Outcome[Item, Result]]:
    """Yield the outcome of each item, in the order of the items.

    A process may die, for example because the system kills it when memory runs out. The items that
    were in work at that time are tried once more, one after another.

    Iterate inside `sigint_blocked`. Then Ctrl-C has an effect only while this function takes an
    item or waits. It then yields the outcomes of all items that are finished, and raises
    KeyboardInterrupt. The items between them may not be finished.

    Memory: at most `waiting * workers` items and their results at a time.

    Args:
        function: a function that can be pickled. An exception that it raises is raised here.
        items: objects that can be pickled. They are taken as they are needed.
        workers: the number of processes.
        waiting: the number of items that wait, are in work or are finished, for each process.
    """
    remaining = iter(items)
    in_work: deque[tuple[Item, Future[Result]]] = deque()
    pool = new_pool(workers)
    is_done = False
    try:
        while True:
            while len(in_work) < waiting * workers:
                try:
                    with sigint_allowed():
                        item = next(remaining)
                except StopIteration:
                    break
                in_work.append((item, submitted(pool, function, item)))
            if not in_work:
                is_done = True
                return
            # The item stays in the queue until its result is known, so that an interruption keeps
            # its result.
            item, future = in_work[0]
            try:
                with sigint_allowed():
                    result = future.result()
            except BrokenProcessPool:
                # The death of one process ends the whole pool, and the pool does not say which item
                # the process worked on.
                with sigpipe_blocked():
                    pool.shutdown(cancel_futures=True)
                while in_work:
                    item, future = in_work[0]
                    if is_finished(future):
                        retried: Result | None = future.result()
                    else:
                        retried = result_of_retry(function, item)
                    in_work.popleft()
                    yield Outcome(item, retried)
                pool = new_pool(workers)
            else:
                in_work.popleft()
                yield Outcome(item, result)
    except KeyboardInterrupt:
        for item, future in in_work:
            if is_finished(future):
                yield Outcome(item, future.result())
        raise
    finally:
        end_pool(pool, is_done=is_done)


def is_finished(future: Future[Result]) -> bool:
    """Whether a future has a result, and no exception."""
    return future.done() and not future.cancelled() and future.exception() is None


def new_pool(workers: int) -> ProcessPoolExecutor:
    """Return a pool of processes. They ignore SIGINT if it is blocked in this thread.

    The processes are spawned: to fork a process that has threads, such as that of a progress bar or
    those of Arrow, is unsafe. A process inherits that SIGINT is blocked. So Ctrl-C, which the
    terminal sends to all processes, interrupts only this one.
    """
    return ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"))


def end_pool(pool: ProcessPoolExecutor, *, is_done: bool) -> None:
    """End a pool, and wait for its processes. Unless all its work is done, they are terminated."""
    if not is_done:
        # These attributes are private. Python 3.14 has `terminate_workers` instead. Other children
        # of this process, such as those of another pool, must go on.
        # Both are None in a pool that has been shut down.
        running: dict[int, BaseProcess] | None = vars(pool)["_processes"]
        results: SimpleQueue[Any] | None = vars(pool)["_result_queue"]
        if results is not None:
            # A process that dies may leave a part of a result in the pipe. The pool's thread would
            # wait for the rest as long as there is an open writer.
            vars(results)["_writer"].close()
        for process in [*(running or {}).values()]:
            process.terminate()
    with sigpipe_blocked():
        # Python 3.11 to 3.13: without the wait, the end of this process may write to a pipe that
        # the pool's thread closes at the same time, and print a traceback.
        pool.shutdown(cancel_futures=True)


def submitted(
    pool: ProcessPoolExecutor, function: Callable[[Item], Result], item: Item
) -> Future[Result]:
    """Submit an item. In a pool that is broken, return a future that says so."""
    try:
        with sigpipe_blocked():
            return pool.submit(function, item)
    except BrokenProcessPool as error:
        future: Future[Result] = Future()
        future.set_exception(error)
        return future


def result_of_retry(function: Callable[[Item], Result], item: Item) -> Result | None:
    """Return the result of an item, from a process of its own. None if this process dies, too."""
    pool = new_pool(1)
    is_done = False
    try:
        future = submitted(pool, function, item)
        with sigint_allowed():
            result = future.result()
        is_done = True
    except BrokenProcessPool:
        return None
    else:
        return result
    finally:
        end_pool(pool, is_done=is_done)


# Signals: SIGINT, which Ctrl-C sends, and SIGPIPE, which a write to a closed pipe sends.


@contextlib.contextmanager
def sigint_blocked() -> Generator[None]:
    """Delay Ctrl-C until the block ends. Processes that are started in the block ignore it."""
    with masked("SIG_BLOCK", "SIGINT"):
        yield


@contextlib.contextmanager
def sigint_allowed() -> Generator[None]:
    """Allow Ctrl-C until the block ends. A delayed Ctrl-C interrupts at once."""
    with masked("SIG_UNBLOCK", "SIGINT"):
        yield


@contextlib.contextmanager
def sigpipe_blocked() -> Generator[None]:
    """Block SIGPIPE in this thread. Threads that are started in the block keep it blocked.

    The command lets SIGPIPE end the process, so that `| head` ends it silently. But when a process
    of a pool has ended, the threads of the pool may still write to it.
    """
    with masked("SIG_BLOCK", "SIGPIPE"):
        yield
        if hasattr(signal, "sigtimedwait"):
            # Otherwise a pending SIGPIPE would be delivered at the end of the block.
            signal.sigtimedwait({signal.SIGPIPE}, 0)


@contextlib.contextmanager
def masked(how: str, name: str) -> Generator[None]:
    """Block or unblock a signal in this thread. At the end, restore the signal mask from before.

    Does nothing on a system without signal masks.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    # The next call returns this mask, too. But it may raise KeyboardInterrupt instead.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        signal.pthread_sigmask(getattr(signal, how), {getattr(signal, name)})
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
