"""Reports all bodies in a table, in several processes: a file of bodies in, a file of rows out.

This module prints nothing. It passes its progress to functions of its caller.
"""

from __future__ import annotations

# The stubs of pyarrow leave some types open.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs

from sansio_stream.errors import Limits

from ._batches import TableError, opened_table
from ._parts import WRITERS, PartsError, ResultParts, folder_of
from ._pool import map_in_processes, sigint_allowed
from ._table_work import report_batch
from .sources import SourceLimits
from .table import REPORT_SCHEMA, failed_table, is_body_type, schema_of

if TYPE_CHECKING:
    from collections.abc import Callable

    import pyarrow as pa

__all__ = ["PartsError", "TableError", "TableRun"]

DIED: Final = "the process that read the body died, and so did a second one"


@attrs.frozen(kw_only=True)
class TableRun:
    """A run over a table of bodies.

    Attributes:
        source: the path or the URL of the table: Parquet, JSON Lines or CSV.
        destination: the file for the rows. The end of its name selects one of the same formats.
        body: the name of the column of bodies.
        id: the name of the column that is copied to the rows, or None.
        limits: the bounds on what the machine holds for one body.
        source_limits: the bounds on what is read from one body.
        stall: a pause without content that is longer than this many seconds is a stall.
        workers: the number of processes.
    """

    source: str
    destination: Path
    body: str
    id: str | None
    limits: Limits | None
    source_limits: SourceLimits | None
    stall: float
    workers: int

    def run(
        self,
        *,
        resume: bool,
        force: bool,
        advanced: Callable[[int, int | None], None],
        died: Callable[[range], None],
        see: Callable[[pa.Table], None],
    ) -> int:
        """Report all bodies. Return the number of rows.

        The finished rows are kept in parts beside the destination until all rows are finished. The
        parts stay after an exception, such as KeyboardInterrupt, and `resume` continues after them.

        Call it inside `sigint_blocked`, so that Ctrl-C loses no finished row.

        Args:
            resume: whether to continue after the parts of an earlier run.
            force: whether to remove the parts of an earlier run, and to replace the destination.
            advanced: is called with the number of finished rows and the number of all rows, which
                is None if it is unknown.
            died: is called with a range of rows, counted from 0, whose process died twice. These
                rows have a `failure`.
            see: is called at the end with the rows of each part, in order.

        Raises:
            OSError: if the rows cannot be written.
            TableError: if the table cannot be read, or if a column has an unsuitable name or type.
            PartsError: if the name of the destination selects no format, if the destination or
                parts exist and neither `force` nor `resume` allows that, or if the parts belong to
                another table or other options.
        """
        if self.destination.suffix.lower() not in WRITERS:
            raise PartsError(
                f"{self.destination}: the name must end in {', '.join(WRITERS)}, which selects the"
                " format"
            )
        if self.destination.exists() and not force:
            raise PartsError(f"{self.destination} already exists: use --force to replace it")
        if self.id == self.body or self.id in REPORT_SCHEMA.names:
            raise TableError(
                f"the column of ids cannot be {self.id!r}, because this is the name of another"
                " column"
            )
        with opened_table(self.source, body=self.body, id=self.id) as table:
            check_type(table.schema, self.body)
            parts = self._parts(resume=resume, force=force)
            work = partial(
                report_batch,
                body=self.body,
                id=self.id,
                limits=self.limits,
                source_limits=self.source_limits,
                stall=self.stall,
            )
            done = parts.rows_done
            advanced(done, table.rows)
            try:
                for outcome in map_in_processes(work, table.batches(done), self.workers):
                    rows = outcome.result
                    batch = outcome.item
                    if batch.start > done:
                        # After an interruption, the rows before this batch may not be done. The
                        # parts must not have a gap.
                        continue
                    done += len(batch.table)
                    if rows is None:
                        died(range(batch.start, done))
                        rows = failed_table(batch.table, DIED, id=self.id)
                    parts.add(rows)
                    advanced(done, table.rows)
            finally:
                parts.write()
            with sigint_allowed():
                parts.finish(self.destination, schema_of(table.schema, self.id), see)
            parts.remove()
        return done

    def rows_kept(self) -> int:
        """Return the number of finished rows that are kept in parts for `resume`."""
        return ResultParts(folder_of(self.destination)).count()

    def _parts(self, *, resume: bool, force: bool) -> ResultParts:
        """Return the parts of this run: new ones, or those of an earlier run."""
        folder = folder_of(self.destination)
        if force and not resume and folder.exists():
            ResultParts(folder).remove()
        return ResultParts.begin(folder, self._settings(), resume=resume)

    def _settings(self) -> dict[str, object]:
        """Return the values on which the rows depend, as JSON values.

        They include the size and the modification time of a local table, so that `resume` refuses a
        table that has changed.
        """
        options = attrs.asdict(self)
        for name in ("destination", "workers"):
            del options[name]
        if "://" not in self.source:
            status = Path(self.source).stat()
            options |= {"size": status.st_size, "modified": status.st_mtime_ns}
        return options


def check_type(schema: pa.Schema, body: str) -> None:
    """Raise TableError if the column of bodies has neither bytes nor text."""
    field: Any = schema.field(body)
    if not is_body_type(field.type):
        raise TableError(f"the column {body!r} has neither bytes nor text, but {field.type}")
