"""Reports of many streams at once: an Arrow table of bodies in, an Arrow table of reports out.

`report_table` is a function without side effects, so any engine that maps a function over batches
of a table can run it. Each row of the result belongs to the row of the input at the same place.

Needs pyarrow: `pip install 'sansio-stream[table]'`.
"""

from __future__ import annotations

# The stubs of pyarrow leave some types open.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa

from sansio_stream.capture import CaptureEnd, CaptureHeader
from sansio_stream.observer import observe_end, observer_of
from sansio_stream.report import REPORT_COLUMNS, Report

from .sources import SourceError, SourceLimits, sources_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from sansio_stream.errors import Limits
    from sansio_stream.report import Stall

__all__ = ["FAILURE", "REPORT_SCHEMA", "failed_table", "is_body_type", "report_table", "schema_of"]

FAILURE: Final = "failure"
"""The name of the column that says why a body could not be read.

The value is null for a body that could be read.
"""

STALL_TYPE: Final = pa.struct(
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
    "list<struct>": pa.list_(STALL_TYPE),
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


def places_of(type: str) -> tuple[int, ...]:
    """Return the places of the columns of a report that have this type."""
    return tuple(place for place, each in enumerate(REPORT_COLUMNS) if each.type == type)


TEXTS: Final = places_of("string")
NUMBERS: Final = places_of("int")
MAPS: Final = places_of("map<string, int>")
LISTS: Final = places_of("list<struct>")
VERDICT: Final = REPORT_SCHEMA.get_field_index("verdict") - 1

values_of: Final = attrgetter(*(column.name for column in REPORT_COLUMNS))


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
    columns of its report have their defaults. A body has exactly one row, so a body with several
    streams, or with none, counts as one that cannot be read.

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
        ValueError: if the column of ids has the name of a column of `REPORT_SCHEMA`.
    """
    bodies = table.column(body)
    if not is_body_type(bodies.type):
        raise TypeError(f"the column {body!r} has neither bytes nor text, but {bodies.type}")
    rows = (report_row(data, limits, source_limits, stall) for data in bytes_of(bodies))
    return table_of(rows, table, id)


def failed_table(table: pa.Table, failure: str, *, id: str | None = "id") -> pa.Table:
    """Return the result of `report_table` for bodies that cannot be read, for the same reason."""
    row = [failure, *arrow_values(Report())]
    return table_of([row] * len(table), table, id)


def table_of(rows: Iterable[Sequence[Any]], table: pa.Table, id: str | None) -> pa.Table:
    """Return a table of the rows, with the column of ids from `table`."""
    columns: list[list[Any]] = [[] for _ in REPORT_SCHEMA]
    for row in rows:
        for column, value in zip(columns, row, strict=True):
            column.append(value)
    ids = [] if id is None else [table.column(id)]
    arrays = [
        pa.array(column, field.type) for column, field in zip(columns, REPORT_SCHEMA, strict=True)
    ]
    return pa.Table.from_arrays([*ids, *arrays], schema=schema_of(table.schema, id))


def schema_of(schema: pa.Schema, id: str | None = "id") -> pa.Schema:
    """Return the schema of `report_table`'s result for a table with the given schema.

    Raises KeyError if there is no column with the name `id`, and ValueError if the result has
    another column with this name.
    """
    if id in REPORT_SCHEMA.names:
        raise ValueError(f"the column of ids cannot have the name {id!r}: the report has it")
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


def is_body_type(type: pa.DataType) -> bool:
    """Whether a column of this type can have bodies: bytes, text, or only nulls."""
    values: pa.DataType = type.value_type if pa.types.is_dictionary(type) else type
    return any(is_type(values) for is_type in BODY_TYPES)


def bytes_of(bodies: pa.ChunkedArray[Any]) -> Iterator[bytes | None]:
    """Yield each body of a column as bytes, or None if it is null."""
    for array in bodies.iterchunks():
        for scalar in array:
            value: Any = scalar.as_py()
            yield value.encode() if isinstance(value, str) else value


def report_row(
    data: bytes | None, limits: Limits | None, source_limits: SourceLimits | None, stall: float
) -> Sequence[Any]:
    """Return the row of one body: the failure or None, and the values of its report."""
    try:
        return [None, *arrow_values(report_in(data, limits, source_limits, stall))]
    except SourceError as error:
        failure = str(error)
    except Exception as error:  # noqa: BLE001 - the other rows are reported anyway
        failure = f"{type(error).__name__}: {error}"
    return [storable(failure), *arrow_values(Report())]


def report_in(
    data: bytes | None, limits: Limits | None, source_limits: SourceLimits | None, stall: float
) -> Report:
    """Return the report of the only stream in a body.

    An empty body is a stream that ended before its first byte.

    Raises SourceError if there is no stream, or more than one, or if the body cannot be read.
    """
    if data is None:
        raise SourceError("the body is null")
    if not data:
        observer = observer_of(CaptureHeader(), limits=limits, stall=stall)
        observe_end(observer, CaptureEnd(None, None))
        return observer.report
    sources = sources_of(data, "body", source_limits)
    source = next(sources, None)
    if source is None:
        raise SourceError("the body contains no stream")
    observer = observer_of(source.header, limits=limits, stall=stall)
    for chunk in source.chunks:
        observer.chunk(chunk.data, chunk.at)
    observe_end(observer, source.end)
    if next(sources, None) is not None:
        raise SourceError("the body contains several streams")
    return observer.report


def arrow_values(report: Report) -> list[Any]:
    """Return the members of a report as values that the columns can store.

    Raises OverflowError if a number needs more than 64 bits.
    """
    # `to_dict` would make a dict of 35 members first, which takes longer. This runs for each body.
    values: list[Any] = [*values_of(report)]
    values[VERDICT] = report.verdict.name
    for place in TEXTS:
        text: str | None = values[place]
        if text is not None:
            values[place] = storable(text)
    for place in NUMBERS:
        if values[place] is not None:
            in_range(values[place], place)
    for place in MAPS:
        pairs: list[tuple[str, int]] = []
        for name, number in values[place].items():
            in_range(number, place)
            pairs.append((storable(name), number))
        values[place] = pairs
    for place in LISTS:
        values[place] = [stall_values(stall) for stall in values[place]]
    return values


def stall_values(stall: Stall) -> dict[str, Any]:
    """Return the members of a stall."""
    return {field.name: getattr(stall, field.name) for field in STALL_TYPE}


def in_range(number: int, place: int) -> None:
    """Raise OverflowError if a number in a column needs more than 64 bits."""
    if number not in INT64:
        name = REPORT_COLUMNS[place].name
        raise OverflowError(f"a number in {name} needs more than 64 bits")


def storable(text: str) -> str:
    """Return a text with `?` for each lone surrogate, because UTF-8 cannot encode these."""
    return text if text.isascii() else text.encode(errors="replace").decode()
