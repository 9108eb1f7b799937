"""Reads Arrow tables as Python values."""

from typing import Any

import pyarrow as pa

__all__ = ["rows_in"]


def rows_in(table: Any) -> list[dict[str, Any]]:
    """Return the rows of a table, with maps as dicts.

    `Table.to_pylist` can do this only in newer versions of pyarrow than the oldest one we allow.
    """
    columns = [
        [dict(value) for value in column.to_pylist()]
        if pa.types.is_map(column.type)
        else column.to_pylist()
        for column in table.columns
    ]
    names = table.schema.names
    return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]
