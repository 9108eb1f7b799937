"""Makes the rows of many files in several processes: names of files in, rows in their order out."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Final

from ._pool import map_in_processes, sigint_allowed
from ._progress import size_of
from ._rows import ReportOptions, ReportRow, rows_of_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["rows_of_files"]

WORTH_A_POOL: Final = 16 * 2**20
"""By default, other processes are started if the files have this many bytes together.

To start a process takes as long as to read some megabytes.
"""

FILES_PER_PROCESS: Final = 4
"""The number of files that wait or are done, for each process. It bounds the rows in memory."""


def rows_of_files(
    names: Sequence[str], options: ReportOptions, *, jobs: int | None = None
) -> Iterator[tuple[ReportRow, ...]]:
    """Yield the rows of each file, in order.

    Iterate inside `sigint_blocked`. Then Ctrl-C has an effect only while this function reads or
    waits. It then yields the rows of the files that are done, and raises KeyboardInterrupt.

    Args:
        names: the names of the files.
        options: how the reports are made.
        jobs: the number of processes. By default one for each core, or only this process if the
            files are small. If standard input is one of the files, this process reads all of them.
    """
    if jobs is None:
        jobs = min(os.cpu_count() or 1, len(names)) if is_worth_a_pool(names) else 1
    if jobs < 2 or "-" in names:
        for name in names:
            with sigint_allowed():
                rows = tuple(rows_of_file(name, options))
            yield rows
        return
    work = partial(all_rows, options=options)
    for outcome in map_in_processes(work, names, jobs, waiting=FILES_PER_PROCESS):
        if outcome.result is None:
            reason = "the process that read this file was killed, and so was a second one"
            yield (ReportRow(name=outcome.item, unreadable=reason),)
        else:
            yield outcome.result


def is_worth_a_pool(names: Sequence[str]) -> bool:
    if len(names) < 2:
        return False
    total = 0
    for name in names:
        total += size_of(name) or 0
        if total >= WORTH_A_POOL:
            return True
    return False


def all_rows(name: str, options: ReportOptions) -> tuple[ReportRow, ...]:
    """Return the rows of a file. Another process runs this function."""
    try:
        return tuple(rows_of_file(name, options))
    except MemoryError:
        return (ReportRow(name=name, unreadable="there is not enough memory to read it"),)
