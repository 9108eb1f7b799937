"""The result of a long run: parts that are kept while it runs, and one file at its end.

The parts are Parquet files in a folder beside the destination. A file gets the name of a part only
when it is complete. So all parts are valid, whatever ends the run, and a later run can continue
after the last part.
"""

from __future__ import annotations

# The stubs of pyarrow leave some types open.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
import json
import shutil
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

import attrs
import pyarrow as pa
import pyarrow.parquet as pq

from sansio_stream_adapters._recording import open_private

from ._row_lines import csv_heading, csv_line, json_line
from .table import REPORT_SCHEMA

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["PartsError", "ResultParts", "folder_of"]

PART_ROWS: Final = 10_000
"""The number of rows of a part. A run that is killed loses up to this many rows of its work."""


class PartsError(ValueError):
    """A run cannot use its destination or the parts of an earlier run. The message says why."""


def folder_of(destination: Path) -> Path:
    """Return the folder for the parts of a destination."""
    return destination.with_name(f"{destination.name}.parts")


@attrs.define
class ResultParts:
    """The parts of one run.

    Attributes:
        folder: the folder with the parts.
        rows_done: the number of rows in the parts.
    """

    folder: Path
    rows_done: int = 0
    _pending: list[pa.Table] = attrs.field(factory=list[pa.Table])

    @classmethod
    def begin(cls, folder: Path, settings: dict[str, Any], *, resume: bool) -> ResultParts:
        """Make the folder, or continue with the parts that it has.

        Args:
            folder: the folder.
            settings: JSON values on which the rows depend: the input and the options.
            resume: whether to continue after the parts of an earlier run.

        Raises:
            PartsError: if the folder exists and `resume` is false, or if its settings differ.
            OSError: if the folder cannot be made or read.
        """
        file = folder / "run.json"
        if not file.exists():
            folder.mkdir(mode=0o700, exist_ok=True)
            write_whole(file, lambda path: path.write_text(json.dumps(settings), encoding="utf-8"))
            return cls(folder)
        parts = cls(folder)
        parts.rows_done = parts.count()
        if not resume:
            raise PartsError(
                f"{folder} has {parts.rows_done:,} rows of a run that was interrupted: use"
                " --resume to continue after them, or --force to start again"
            )
        if json.loads(file.read_text(encoding="utf-8")) != settings:
            raise PartsError(
                f"{folder} belongs to a run with another table or other options: use --force to"
                " start again"
            )
        return parts

    def count(self) -> int:
        """Return the number of rows in the folder."""
        return sum(pq.read_metadata(part).num_rows for part in self.files())

    def files(self) -> list[Path]:
        """Return the parts, in the order of their rows."""
        return sorted(self.folder.glob("rows-*.parquet"))

    def add(self, table: pa.Table) -> None:
        """Add the next rows. They are written as soon as there are enough rows for a part.

        Raises OSError if a part cannot be written. Then the rows of this part are lost. All other
        parts stay valid.
        """
        self._pending.append(table)
        if sum(map(len, self._pending)) >= PART_ROWS:
            self.write()

    def write(self) -> None:
        """Write the rows that are not in a part yet. Raises OSError as `add` does."""
        if not self._pending:
            return
        table = pa.concat_tables(self._pending)
        self._pending = []
        part = self.folder / f"rows-{self.rows_done:015d}.parquet"
        write_whole(part, lambda path: pq.write_table(table, path))
        self.rows_done += len(table)

    def tables(self) -> Iterator[pa.Table]:
        """Yield the rows of each part."""
        for part in self.files():
            yield pq.read_table(part)

    def finish(self, destination: Path, schema: pa.Schema, see: Callable[[pa.Table], None]) -> None:
        """Write all rows to the destination, and call `see` with the rows of each part.

        The parts are kept. Only its owner can read the destination. The end of the name selects the
        format: `.parquet`, `.jsonl` or `.csv`.

        Raises OSError if the destination cannot be written.
        """

        def write(path: Path) -> None:
            # `Path.open` has no opener.
            with open(path, "wb", opener=open_private) as file:
                writer = WRITERS[destination.suffix.lower()](file, schema)
                for table in self.tables():
                    see(table)
                    writer.write(table)
                writer.close()

        write_whole(destination, write)

    def remove(self) -> None:
        """Remove the parts and their folder."""
        shutil.rmtree(self.folder)


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file that gets its name only when it is complete."""
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        write(unfinished)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


class ParquetRows:
    """Writes rows as Parquet, with a row group for each table."""

    def __init__(self, file: IO[bytes], schema: pa.Schema) -> None:
        self._writer = pq.ParquetWriter(file, schema)

    def write(self, table: pa.Table) -> None:
        """Write the rows."""
        self._writer.write_table(table)

    def close(self) -> None:
        """Write the end of the file."""
        self._writer.close()


class JSONRows:
    """Writes rows as JSON Lines."""

    def __init__(self, file: IO[bytes], _: pa.Schema) -> None:
        self._file = file

    def write(self, table: pa.Table) -> None:
        """Write the rows."""
        self._file.writelines(json_line(row).encode() for row in plain_rows(table))

    def close(self) -> None:
        """Do nothing: nothing follows the last line."""


class CSVRows:
    """Writes rows as CSV. Maps and lists are JSON. No cell begins a formula of a spreadsheet."""

    def __init__(self, file: IO[bytes], schema: pa.Schema) -> None:
        self._file = file
        self._file.write(csv_heading(schema.names).encode())

    def write(self, table: pa.Table) -> None:
        """Write the rows."""
        self._file.writelines(csv_line(row).encode() for row in plain_rows(table))

    def close(self) -> None:
        """Do nothing: nothing follows the last line."""


def plain_rows(table: pa.Table) -> Iterator[dict[str, Any]]:
    """Yield each row as JSON values. `plain_id` converts the id."""
    names = table.schema.names
    columns = [plain_values(name, table.column(name)) for name in names]
    for values in zip(*columns, strict=True):
        yield dict(zip(names, values, strict=True))


def plain_values(name: str, column: pa.ChunkedArray[Any]) -> list[Any]:
    """Return the values of a column as JSON values."""
    values: list[Any] = column.to_pylist()
    if name not in REPORT_SCHEMA.names:
        return [*map(plain_id, values)]
    return [dict(pairs) for pairs in values] if pa.types.is_map(column.type) else values


def plain_id(value: Any) -> Any:
    """Return an id as a JSON value.

    None, text and whole numbers stay as they are. Bytes are decoded as UTF-8. Any other value, such
    as a date or a float, becomes text.
    """
    match value:
        case None | str() | int():
            return value
        case bytes():
            return value.decode(errors="replace")
        case _:
            return str(value)


WRITERS: Final[dict[str, type[ParquetRows | JSONRows | CSVRows]]] = {
    ".parquet": ParquetRows,
    ".jsonl": JSONRows,
    ".csv": CSVRows,
}
"""The writer for each format, by the end of a file name."""
