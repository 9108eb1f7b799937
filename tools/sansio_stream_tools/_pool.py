"""Makes the rows of many files on all cores: the names of files in, rows in the same order out."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
from collections import deque
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING, Final

from ._progress import size_of
from ._rows import ReportOptions, ReportRow, rows_of_file

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

__all__ = ["rows_of_files", "sigint_blocked"]

WORTH_A_POOL: Final = 16 * 2**20
"""The size in bytes of all files from which other processes are started.

To start a process takes as long as to read some megabytes.
"""

FILES_PER_PROCESS: Final = 4
"""How many files wait or are done for each process. It bounds the rows that are kept."""


def rows_of_files(
    names: Sequence[str], options: ReportOptions, *, jobs: int | None = None
) -> Iterator[tuple[ReportRow, ...]]:
    """Yield the rows of each file, in order.

    Iterate inside `sigint_blocked`. Then Ctrl-C has an effect only while this function reads or
    waits. It then yields the rows of the files that are done, and raises KeyboardInterrupt.

    Args:
        names: the names of the files.
        options: how the reports are made.
        jobs: the number of processes. By default one for each core, or none but this one if the
            files are small or if standard input is one of them.
    """
    if jobs is None:
        jobs = min(os.cpu_count() or 1, len(names)) if is_worth_a_pool(names) else 1
    if jobs < 2 or "-" in names:
        for name in names:
            with sigint_allowed():
                rows = tuple(rows_of_file(name, options))
            yield rows
    else:
        yield from rows_from_pool(names, options, jobs)


def is_worth_a_pool(names: Sequence[str]) -> bool:
    if len(names) < 2:
        return False
    total = 0
    for name in names:
        total += size_of(name) or 0
        if total >= WORTH_A_POOL:
            return True
    return False


def rows_from_pool(
    names: Sequence[str], options: ReportOptions, jobs: int
) -> Iterator[tuple[ReportRow, ...]]:
    # "spawn" works on every system, and in a process that has threads, such as that of a progress
    # bar. The processes inherit that SIGINT is blocked. So Ctrl-C, which the terminal sends to all
    # of them, interrupts only this process.
    context = multiprocessing.get_context("spawn")
    waiting: deque[tuple[str, Future[tuple[ReportRow, ...]]]] = deque()
    remaining = iter(names)
    executor = ProcessPoolExecutor(jobs, mp_context=context)
    is_done = False
    try:
        while True:
            while len(waiting) < FILES_PER_PROCESS * jobs:
                name = next(remaining, None)
                if name is None:
                    break
                waiting.append((name, submitted(executor, name, options)))
            if not waiting:
                is_done = True
                return
            # The file stays in the queue until its rows are known, so that an interruption keeps
            # them.
            with sigint_allowed():
                rows = result_of(*waiting[0])
            waiting.popleft()
            yield rows
    except KeyboardInterrupt:
        for name, future in waiting:
            if future.done() and not future.cancelled():
                yield result_of(name, future)
        raise
    finally:
        executor.shutdown(wait=is_done, cancel_futures=True)
        if not is_done:
            for process in multiprocessing.active_children():
                process.terminate()


def submitted(
    executor: ProcessPoolExecutor, name: str, options: ReportOptions
) -> Future[tuple[ReportRow, ...]]:
    """Return the future of the rows of a file."""
    try:
        return executor.submit(all_rows, name, options)
    except BrokenProcessPool as error:
        future: Future[tuple[ReportRow, ...]] = Future()
        future.set_exception(error)
        return future


def all_rows(name: str, options: ReportOptions) -> tuple[ReportRow, ...]:
    """Return the rows of a file. Another process runs this function."""
    return tuple(rows_of_file(name, options))


def result_of(name: str, future: Future[tuple[ReportRow, ...]]) -> tuple[ReportRow, ...]:
    try:
        return future.result()
    except BrokenProcessPool:
        reason = "a process was killed while it read this file or another one; try --jobs 1"
    except MemoryError:
        reason = "there is not enough memory to read it"
    return (ReportRow(name=name, unreadable=reason),)


@contextlib.contextmanager
def sigint_blocked() -> Generator[None]:
    """Delay Ctrl-C until the block ends. Processes that are started in the block ignore it."""
    with masked("SIG_BLOCK"):
        yield


@contextlib.contextmanager
def sigint_allowed() -> Generator[None]:
    """Allow Ctrl-C until the block ends, also one that was delayed by `sigint_blocked`."""
    with masked("SIG_UNBLOCK"):
        yield


@contextlib.contextmanager
def masked(how: str) -> Generator[None]:
    """Block or unblock SIGINT in this thread. At the end of the block, restore what was before.

    Does nothing on a system without signal masks.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    # Not the result of the next call: it may raise KeyboardInterrupt, and return nothing.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        signal.pthread_sigmask(getattr(signal, how), {signal.SIGINT})
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
