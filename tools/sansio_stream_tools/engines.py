"""Reports of tables that are too large for one machine, by Ray or Dask.

Both functions map `report_table` over a data set. The engine's own reader reads the data set in
pieces, and its own writer writes one file of rows per piece. Use the functions if you already have
such a cluster. On one machine, `sansio-stream report` needs less time; docs/a-million-streams.md
has the figures.

`ray_report` needs `pip install 'sansio-stream[ray]'`, and `dask_report` needs
`pip install 'sansio-stream[dask]'`, on all machines.
"""

from __future__ import annotations

# pyarrow's stubs do not know the types of pandas.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
import importlib
from functools import partial
from typing import Any, Final

import pyarrow as pa

from .table import report_table, schema_of

__all__ = ["dask_report", "ray_report"]

BLOCK_ROWS: Final = 4096
"""The number of rows of a task of Ray, and of a file that the task writes.

By default, a task of Ray has 128 MiB of bodies. These are minutes of work for one core, and Ray
does all of it again if a process dies.
"""

BATCH_ROWS: Final = 1024
"""The number of rows that Ray passes to a call of `report_table`. It bounds its memory."""


def ray_report(
    source: str, destination: str, *, body: str = "body", id: str = "id", **options: Any
) -> None:
    """Write the report of each body in a Parquet data set, by Ray Data.

    Ray tries a piece again whose worker died. The rows may have another order than the bodies.

    Args:
        source: the path or the URL of a Parquet file, or of a folder of them.
        destination: the path or the URL of the folder for the rows, as Parquet.
        body: the name of the column of bodies.
        id: the name of the column that is copied to the rows.
        **options: the other arguments of `report_table`.
    """
    data: Any = importlib.import_module("ray.data")
    work = partial(report_table, body=body, id=id, **options)
    bodies = data.read_parquet(source, columns=[id, body])
    bodies = bodies.repartition(target_num_rows_per_block=BLOCK_ROWS)
    rows = bodies.map_batches(work, batch_format="pyarrow", batch_size=BATCH_ROWS)
    rows.write_parquet(destination)


def dask_report(
    source: str, destination: str, *, body: str = "body", id: str = "id", **options: Any
) -> None:
    """Write the report of each body in a Parquet data set, by Dask.

    A piece is a row group of the source. With a cluster of `dask.distributed`, Dask tries a piece
    again whose worker died.

    Args:
        source: the path or the URL of a Parquet file, or of a folder of them.
        destination: the path or the URL of the folder for the rows, as Parquet.
        body: the name of the column of bodies.
        id: the name of the column that is copied to the rows.
        **options: the other arguments of `report_table`.
    """
    frames: Any = importlib.import_module("dask.dataframe")
    bodies = frames.read_parquet(
        source, columns=[id, body], split_row_groups=True, dtype_backend="pyarrow"
    )
    pandas: Any = importlib.import_module("pandas")
    empty = pandas.DataFrame({id: pandas.Series(dtype=bodies.dtypes[id])})
    schema = schema_of(pa.Schema.from_pandas(empty), id)
    rows = bodies.map_partitions(
        report_frame, body=body, id=id, meta=as_frame(schema.empty_table()), **options
    )
    rows.to_parquet(destination, schema=schema, write_index=False)


def report_frame(frame: Any, **options: Any) -> Any:
    """Return the rows of the bodies in a frame of pandas."""
    return as_frame(report_table(pa.Table.from_pandas(frame, preserve_index=False), **options))


def as_frame(table: pa.Table) -> Any:
    """Return a table as a frame of pandas whose columns keep their Arrow types."""
    pandas: Any = importlib.import_module("pandas")
    return table.to_pandas(types_mapper=pandas.ArrowDtype)
