"""Reads a table of bodies in batches: Parquet, JSON Lines or CSV, from a file or a URL.

A batch is an Arrow table with the column of bodies and, if there is one, that of ids. It ends after
about 1,024 rows or 4 MiB, so the memory grows neither with the table nor with its row groups.
"""

from __future__ import annotations

# The stubs of pyarrow leave some types open.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
import csv
import importlib
import io
import json
from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, cast

import attrs
import pyarrow as pa
import pyarrow.parquet as pq

from ._table_work import Batch

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["TableError", "TableFile", "opened_table"]

BATCH_ROWS: Final = 1024
BATCH_BYTES: Final = 4 * 2**20

ROWS_OF_A_READ: Final = 64
"""The maximum number of rows that are decoded at a time."""

BUFFER_BYTES: Final = 2**20
"""The size of the buffer for a column of Parquet. Without one, Arrow reads a whole row group."""


class TableError(ValueError):
    """A table cannot be read. The message is one sentence for its user."""


@attrs.frozen
class TableFile:
    """An open table.

    Attributes:
        schema: the schema of the columns.
        rows: the number of rows, or None if it is not known before they are read.
        reads: the rows, in pieces of any size.
    """

    schema: pa.Schema
    rows: int | None
    reads: Generator[pa.Table]

    def batches(self, skip: int = 0) -> Iterator[Batch]:
        """Yield the rows in batches, without the first `skip` rows."""
        seen = 0
        pending: list[pa.Table] = []
        for read in self.reads:
            seen += len(read)
            if seen <= skip:
                continue
            pending.append(read.slice(max(len(read) - (seen - skip), 0)))
            if is_full(pending):
                yield joined(pending, seen)
                pending = []
        if pending:
            yield joined(pending, seen)


def is_full(tables: list[pa.Table]) -> bool:
    """Whether these tables are enough for a batch."""
    rows = sum(map(len, tables))
    return rows >= BATCH_ROWS or sum(table.nbytes for table in tables) >= BATCH_BYTES


def joined(tables: list[pa.Table], end: int) -> Batch:
    """Return a batch of tables that end after `end` rows of the file."""
    # A single chunk per column, because each chunk costs time when it is sent to another process.
    table = pa.concat_tables(tables).combine_chunks()
    return Batch(end - len(table), table)


@contextmanager
def opened_table(name: str, *, body: str, id: str | None) -> Generator[TableFile]:
    """Open a table. Its format follows from the end of the name.

    Args:
        name: a path; or a URL, if fsspec is installed.
        body: the name of the column of bodies.
        id: the name of the column of ids, or None.

    Raises:
        TableError: if the file cannot be read or is damaged, or if its format or a column is
            missing. Reading the rows may raise it, too.
    """
    wanted = [body] if id is None else [id, body]
    with ExitStack() as stack:
        with explained(name):
            file = stack.enter_context(opened_file(name))
            table = table_in(file, suffix_of(name), wanted)
        reads = stack.enter_context(closing(explained_reads(table.reads, name)))
        yield attrs.evolve(table, reads=reads)


@contextmanager
def explained(name: str) -> Generator[None]:
    """Raise a TableError instead of an error that reading a file has raised.

    For a path, only an OSError is replaced. For a URL, every exception is, because each library of
    fsspec has exceptions of its own.
    """
    try:
        yield
    except TableError:
        raise
    except OSError as error:
        raise TableError(f"it cannot be read: {error.strerror or error}") from error
    except Exception as error:
        if "://" not in name:
            raise
        raise TableError(f"it cannot be read: {type(error).__name__}: {error}") from error


def explained_reads(reads: Generator[pa.Table], name: str) -> Generator[pa.Table]:
    """Yield the same rows. Errors become a TableError, as in `explained`."""
    with closing(reads), explained(name):
        yield from reads


def table_in(file: IO[bytes], suffix: str, wanted: list[str]) -> TableFile:
    """Return the table in a file. Raises TableError as `opened_table` does."""
    match suffix:
        case ".parquet":
            return parquet_table(file, wanted)
        case ".jsonl" | ".ndjson":
            return text_table(json_rows(file, wanted), wanted)
        case ".csv":
            return text_table(csv_rows(file, wanted), wanted)
        case _:
            raise TableError(
                f"the format of the table is unknown: its name ends in {suffix!r}, not in .parquet,"
                " .jsonl or .csv"
            )


def suffix_of(name: str) -> str:
    """Return the end of a file name from its last dot on, in lower case."""
    return Path(name.partition("?")[0] if "://" in name else name).suffix.lower()


@contextmanager
def opened_file(name: str) -> Generator[IO[bytes]]:
    """Open a file to read it. A URL needs fsspec.

    Raises:
        OSError: if the file cannot be read.
        TableError: if fsspec, or a library that it needs for this URL, is not installed.
    """
    if "://" not in name:
        with Path(name).open("rb") as file:
            yield file
        return
    try:
        fsspec: Any = importlib.import_module("fsspec")  # only URLs need it, and it has no types
        remote = fsspec.open(name, "rb")
    except (ImportError, ValueError) as error:
        raise TableError(f"it cannot be opened: {error}") from error
    with remote as file:
        yield file


def parquet_table(file: IO[bytes], wanted: list[str]) -> TableFile:
    """Return the table in a Parquet file."""
    try:
        parquet = pq.ParquetFile(file, buffer_size=BUFFER_BYTES, pre_buffer=False)
    except pa.ArrowException as error:
        raise TableError(f"not a Parquet file: {error}") from error
    check_columns(wanted, parquet.schema_arrow.names)
    schema = pa.schema([parquet.schema_arrow.field(name) for name in wanted])

    def reads() -> Generator[pa.Table]:
        try:
            for number in range(parquet.num_row_groups):
                rows = rows_of_a_read(parquet.metadata.row_group(number), wanted[-1])
                for batch in parquet.iter_batches(
                    rows, row_groups=[number], columns=wanted, use_threads=False
                ):
                    yield pa.Table.from_batches([batch]).select(wanted)
        except (pa.ArrowException, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise  # an error of the disk; Arrow's own OSErrors have no number
            raise TableError(f"the Parquet file is damaged: {error}") from error

    return TableFile(schema, parquet.metadata.num_rows, reads())


def rows_of_a_read(group: pq.RowGroupMetaData, body: str) -> int:
    """Return how many rows of a row group are decoded at a time: fewer if its bodies are large."""
    columns = map(group.column, range(group.num_columns))
    size = sum(each.total_uncompressed_size for each in columns if each.path_in_schema == body)
    if size == 0:
        return ROWS_OF_A_READ
    return max(1, min(ROWS_OF_A_READ, BATCH_BYTES * group.num_rows // size))


def check_columns(wanted: Iterable[str], present: Iterable[str]) -> None:
    """Raise TableError if a column is missing. The message names those that are present."""
    names = list(present)
    for name in wanted:
        if name not in names:
            raise TableError(f"there is no column {name!r}; the columns are {', '.join(names)}")


def text_table(rows: Generator[list[str | None]], wanted: list[str]) -> TableFile:
    """Return a table of text columns from its rows."""
    schema = pa.schema([pa.field(name, pa.large_string()) for name in wanted])

    def reads() -> Generator[pa.Table]:
        pending: list[list[str | None]] = []
        size = 0
        with closing(rows):
            for row in rows:
                pending.append(row)
                size += len(row[-1] or "")
                if len(pending) == ROWS_OF_A_READ or size >= BATCH_BYTES:
                    yield table_of(pending, schema)
                    pending, size = [], 0
            if pending:
                yield table_of(pending, schema)

    return TableFile(schema, None, reads())


def table_of(rows: list[list[str | None]], schema: pa.Schema) -> pa.Table:
    """Return a table of text columns. A lone surrogate becomes a question mark."""
    columns = [
        [None if cell is None else cell.encode(errors="replace").decode() for cell in column]
        for column in zip(*rows, strict=True)
    ]
    return pa.table(columns, schema=schema)


def json_rows(file: IO[bytes], wanted: list[str]) -> Generator[list[str | None]]:
    """Yield the wanted members of each line as text. Other values than text and null become JSON.

    A missing member becomes null. In line 1, all wanted members must be present.
    """
    for number, line in enumerate(file, 1):
        if not line.strip():
            continue
        try:
            row: object = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise TableError(f"line {number} is not JSON: {error}") from error
        if not isinstance(row, dict):
            raise TableError(f"line {number} is not a JSON object")
        members = cast("dict[str, Any]", row)
        if number == 1:
            check_columns(wanted, members)
        yield [
            value if value is None or isinstance(value, str) else json.dumps(value)
            for value in map(members.get, wanted)
        ]


def csv_rows(file: IO[bytes], wanted: list[str]) -> Generator[list[str | None]]:
    """Yield the wanted cells of each row."""
    csv.field_size_limit(2**31 - 1)  # the default is 128 KiB, which a body may exceed
    text = io.TextIOWrapper(file, "utf-8-sig", newline="")
    rows = csv.reader(text)
    try:
        names = next(rows, list[str]())
        check_columns(wanted, names)
        places = [names.index(name) for name in wanted]
        for row in rows:
            if row:
                yield [row[place] if place < len(row) else None for place in places]
    except (csv.Error, UnicodeDecodeError) as error:
        raise TableError(f"line {rows.line_num + 1} is not CSV in UTF-8: {error}") from error
    finally:
        text.detach()  # otherwise the wrapper would close the file
