"""The work of the other processes in a run over a table: a batch of bodies in, its rows out.

A new process imports this module, and none of the modules that read tables or show results.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import pyarrow as pa

from .table import report_table

if TYPE_CHECKING:
    from sansio_stream.errors import Limits

    from .sources import SourceLimits

__all__ = ["Batch", "report_batch"]


@attrs.frozen
class Batch:
    """Some consecutive rows of a table of bodies.

    Attributes:
        start: the number of rows before these.
        table: the rows: the column of ids, if there is one, and the column of bodies.
    """

    start: int
    table: pa.Table


def report_batch(
    batch: Batch,
    *,
    body: str,
    id: str | None,
    limits: Limits | None,
    source_limits: SourceLimits | None,
    stall: float,
) -> pa.Table:
    """Return the rows of a batch."""
    return report_table(
        batch.table, body=body, id=id, limits=limits, source_limits=source_limits, stall=stall
    )
