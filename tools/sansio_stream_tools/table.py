"""Reports of many streams at once: an Arrow table of bodies in, an Arrow table of reports out.

`report_table` is a function without side effects, so any engine that maps a function over batches
of a table can run it. Each row of the result belongs to the row of the input at the same place.

Needs pyarrow: `pip install 'sansio-stream[table]'`.
"""

from __future__ import annotations

# The stubs of pyarrow leave some types open.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa

from sansio_stream.capture import Capture, CaptureEnd, CaptureHeader
from sansio_stream.observer import report_of
from sansio_stream.report import REPORT_COLUMNS, Report

from .sources import SourceError, SourceLimits, sources_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from sansio_stream.errors import Limits

__all__ = ["FAILURE", "REPORT_SCHEMA", "failed_table", "report_table", "schema_of"]

FAILURE: Final = "failure"
"""The name of the column that says why a body could not be read. It is null if it could be read."""

STALL: Final = pa.struct(
    [
        ("at", pa.float64()),
        ("seconds", pa.float64()),
        ("event_number", pa.int64()),
        ("byte_offset", pa.int64()),
    ]
)

ARROW_TYPES: Final[dict[str, Any]] = {
    "string": pa.string(),
    "int": pa.int64(),
    "float": pa.float64(),
    "bool": pa.bool_(),
    "map<string, int>": pa.map_(pa.string(), pa.int64()),
    "list<struct>": pa.list_(STALL),
}
"""The Arrow type of each type that a column of a report may have."""

REPORT_SCHEMA: Final = pa.schema(
    [
        pa.field(FAILURE, pa.string()),
        *(pa.field(column.name, ARROW_TYPES[column.type]) for column in REPORT_COLUMNS),
    ]
)
"""The columns of the result of `report_table`, without the id."""

INT64: Final = range(-(2**63), 2**63)


def report_table(
    table: pa.Table,
    *,
    body: str = "body",
    id: str | None = "id",
    limits: Limits | None = None,
    source_limits: SourceLimits | None = None,
    stall: float = 2.0,
) -> pa.Table:
    """Return a table with the report of each body.

    A body is a capture, the plain body of a response, or any other format that `replay` reads,
    compressed or not. Its status, headers and times are those that the format contains.

    No body raises an exception: the row of a body that cannot be read has a `failure`, and the
    columns of its report have their defaults. A body that contains several streams, or none, cannot
    be read, because it has one row.

    Memory: one body at a time, and the rows of the result.

    Args:
        table: the bodies, and their ids if there is a column of ids.
        body: the name of the column of bodies: binary or text, or a dictionary of these.
        id: the name of the column that is copied to the result, or None.
        limits: the bounds on what the machine holds for one body.
        source_limits: the bounds on what is read from one body.
        stall: a pause without content that is longer than this many seconds is a stall.

    Returns:
        The column of ids, if there is one, and the columns of `REPORT_SCHEMA`.

    Raises:
        KeyError: if a column is missing.
        TypeError: if the column of bodies has neither bytes nor text.
    """
    bodies = table.column(body)
    of_bodies = bodies.type.value_type if pa.types.is_dictionary(bodies.type) else bodies.type
    if not any(is_type(of_bodies) for is_type in BODY_TYPES):
        raise TypeError(f"the column {body!r} has neither bytes nor text, but {bodies.type}")
    rows = (report_row(data, limits, source_limits, stall) for data in bytes_of(bodies))
    return table_of(rows, table, id)


def failed_table(table: pa.Table, failure: str, *, id: str | None = "id") -> pa.Table:
    """Return the result of `report_table` for bodies that cannot be read, for the same reason."""
    row = {FAILURE: failure, **arrow_values(Report())}
    return table_of([row] * len(table), table, id)


def table_of(rows: Iterable[Mapping[str, Any]], table: pa.Table, id: str | None) -> pa.Table:
    """Return a table of the rows, with the column of ids from `table`."""
    values: dict[str, list[Any]] = {name: [] for name in REPORT_SCHEMA.names}
    for row in rows:
        for name, column in values.items():
            column.append(row[name])
    ids = [] if id is None else [table.column(id)]
    arrays = [pa.array(values[field.name], field.type) for field in REPORT_SCHEMA]
    return pa.Table.from_arrays([*ids, *arrays], schema=schema_of(table.schema, id))


def schema_of(schema: pa.Schema, id: str | None = "id") -> pa.Schema:
    """Return the schema of `report_table`'s result for a table with the given schema.

    Raises KeyError if there is no column with the name `id`.
    """
    return REPORT_SCHEMA if id is None else pa.schema([schema.field(id), *REPORT_SCHEMA])


BODY_TYPES: Final[tuple[Callable[[pa.DataType], bool], ...]] = (
    pa.types.is_binary,
    pa.types.is_large_binary,
    pa.types.is_binary_view,
    pa.types.is_fixed_size_binary,
    pa.types.is_string,
    pa.types.is_large_string,
    pa.types.is_string_view,
    pa.types.is_null,
)


def bytes_of(bodies: pa.ChunkedArray[Any]) -> Iterator[bytes | None]:
    """Yield each body of a column as bytes, or None if it is null."""
    for array in bodies.iterchunks():
        for scalar in array:
            value: Any = scalar.as_py()
            yield value.encode() if isinstance(value, str) else value


def report_row(
    data: bytes | None, limits: Limits | None, source_limits: SourceLimits | None, stall: float
) -> Mapping[str, Any]:
    """Return the row of one body: the members of its report, and the failure or None."""
    try:
        capture = capture_in(data, source_limits)
        return {FAILURE: None, **arrow_values(report_of(capture, limits=limits, stall=stall))}
    except SourceError as error:
        failure = str(error)
    except Exception as error:  # noqa: BLE001 - a row must not cost the others
        failure = f"{type(error).__name__}: {error}"
    return {FAILURE: storable(failure), **arrow_values(Report())}


def capture_in(data: bytes | None, limits: SourceLimits | None) -> Capture:
    """Return the only stream in a body. An empty body is a stream that ended before its first byte.

    Raises SourceError if there is none, or more than one, or if the body cannot be read.
    """
    if data is None:
        raise SourceError("the body is null")
    if not data:
        return Capture(CaptureHeader(), (), CaptureEnd(None, None))
    sources = sources_of(data, "body", limits)
    source = next(sources, None)
    if source is None:
        raise SourceError("the body contains no stream")
    chunks = tuple(source.chunks)
    if next(sources, None) is not None:
        raise SourceError("the body contains several streams")
    return Capture(source.header, chunks, source.end)


def arrow_values(report: Report) -> dict[str, Any]:
    """Return the members of a report as values that the columns can store.

    Raises OverflowError if a number needs more than 64 bits.
    """
    row = report.to_dict()
    for column in REPORT_COLUMNS:
        value = row[column.name]
        if column.type == "map<string, int>":
            in_range(value.values(), column.name)
            row[column.name] = [(storable(name), number) for name, number in value.items()]
        elif isinstance(value, str):
            row[column.name] = storable(value)
        elif isinstance(value, int):
            in_range([value], column.name)
    return row


def in_range(numbers: Iterable[int], name: str) -> None:
    """Raise OverflowError if one of the numbers in a column needs more than 64 bits."""
    if not all(number in INT64 for number in numbers):
        raise OverflowError(f"a number in {name} needs more than 64 bits")


def storable(text: str) -> str:
    """Return a text without lone surrogates, because UTF-8 cannot encode them."""
    return text.encode(errors="replace").decode()
