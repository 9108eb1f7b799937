"""Shows a run over a table of bodies: its progress, the overview, and what went wrong."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

from sansio_stream.errors import Verdict
from sansio_stream.report import Report

from ._overview import TIMINGS, Overview, status_of
from ._pool import sigint_blocked
from ._progress import ProgressBar, can_show_progress
from ._rows import ReportOptions, ReportRow
from ._views import BAD, GOOD, INTERRUPTED, UNUSABLE, complain, console_of_stdout

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pyarrow as pa

__all__ = ["report_rows_of_table"]

OVERVIEW_COLUMNS: Final = (
    "verdict",
    "ended",
    "error_type",
    "error_message",
    "first_loss_code",
    "violation_count",
    "violations",
    "model",
    "usage",
    "stall_count",
    "tool_calls_broken",
    *TIMINGS.values(),
)
"""The columns of a report that the overview needs."""

MOST_RANGES: Final = 10
"""The maximum number of messages about rows whose process died. Each is about a range of rows."""


def report_rows_of_table(
    source: str,
    destination: Path,
    options: ReportOptions,
    *,
    body: str,
    id: str | None,
    resume: bool,
    force: bool,
    jobs: int | None,
) -> int:
    """Write the report of each body in a table to a file, and print the overview.

    Args:
        source: the path or the URL of the table.
        destination: the file for the rows.
        options: how the reports are made.
        body: the name of the column of bodies.
        id: the name of the column that is copied to the rows, or None.
        resume: whether to continue after the rows of an interrupted run.
        force: whether to replace the results of earlier runs.
        jobs: the number of processes. None means one for each core.

    Returns:
        The exit status.
    """
    try:
        from ._table_run import PartsError, TableError, TableRun  # noqa: PLC0415 - need pyarrow
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "pyarrow":
            raise
        complain("pyarrow is not installed: pip install 'sansio-stream[table]'")
        return UNUSABLE
    run = TableRun(
        source=source,
        destination=destination,
        body=body,
        id=id,
        limits=options.limits.machine,
        source_limits=options.limits.source,
        stall=options.stall,
        workers=jobs or os.cpu_count() or 1,
    )
    seen = SeenRows(options.stall, id)
    died: list[range] = []
    try:
        with (
            sigint_blocked(),
            ProgressBar(
                is_shown=can_show_progress(prints=False), total=None, counts_items=True
            ) as bar,
        ):
            bar.name(source)
            run.run(
                resume=resume, force=force, advanced=bar.set_done, died=died.append, see=seen.add
            )
    except KeyboardInterrupt:
        complain(f"interrupted; {kept(run.rows_kept())}")
        return INTERRUPTED
    except TableError as error:
        complain(f"{source}: {error}")
        return UNUSABLE
    except PartsError as error:
        complain(str(error))
        return UNUSABLE
    except OSError as error:
        complain(f"{destination}: the rows cannot be written: {error.strerror or error}")
        rows = run.rows_kept()
        if rows:
            complain(kept(rows))
        return UNUSABLE
    for unread in died[:MOST_RANGES]:
        complain(
            f"rows {unread[0] + 1:,} to {unread[-1] + 1:,} were not read, because the process that"
            " read them was killed, and so was a second one"
        )
    if len(died) > MOST_RANGES:
        number = sum(map(len, died[MOST_RANGES:]))
        complain(f"{number:,} more rows were not read for this reason; their `failure` says so")
    seen.overview.print(console_of_stdout())
    return seen.status


def kept(rows: int) -> str:
    """Return the sentence about the finished rows of a run that has ended early."""
    return f"{rows:,} finished row{'s are' if rows != 1 else ' is'} kept; use --resume to go on"


class SeenRows:
    """Collects what is shown about the rows.

    Attributes:
        overview: the overview of the rows.
        status: the exit status: 1 if a body gave no usable message, else 0.
    """

    def __init__(self, stall: float, id: str | None) -> None:
        self.overview = Overview(stall=stall)
        self.status = GOOD
        self._id = id
        self._count = 0

    def add(self, table: pa.Table) -> None:
        """Add rows."""
        for row in self._rows_of(table):
            self.overview.add(row)
            if status_of(row) != GOOD:
                self.status = BAD

    def _rows_of(self, table: pa.Table) -> Iterator[ReportRow]:
        names: list[str]
        if self._id is None:
            names = [f"row {self._count + place:,}" for place in range(1, len(table) + 1)]
        else:
            names = [str(each) for each in table.column(self._id).to_pylist()]
        self._count += len(table)
        failures: list[str | None] = table.column("failure").to_pylist()
        columns = [column_of(table, name) for name in OVERVIEW_COLUMNS]
        for name, failure, *values in zip(names, failures, *columns, strict=True):
            members = dict(zip(OVERVIEW_COLUMNS, values, strict=True))
            yield ReportRow(name=name, unreadable=failure, report=Report(**members))


def column_of(table: pa.Table, name: str) -> list[Any]:
    """Return a column as the values that a `Report` has."""
    values: list[Any] = table.column(name).to_pylist()
    match name:
        case "verdict":
            return [Verdict[value] for value in values]
        case "violations" | "usage":
            return [dict(pairs) for pairs in values]
        case _:
            return values
