"""Rows as lines of a file: the values of a row in, one line of JSON or CSV out."""

from __future__ import annotations

import csv
import io
import re
from typing import TYPE_CHECKING, Any, Final

from ._text import printable, to_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["csv_heading", "csv_line", "json_line"]


def json_line(row: Mapping[str, Any]) -> str:
    """Return a row as one line of JSON."""
    return to_json(row) + "\n"


def csv_heading(names: Iterable[str]) -> str:
    """Return the names of columns as one line of CSV."""
    return csv_of(map(cell_of, names))


def csv_line(row: Mapping[str, Any]) -> str:
    """Return the values of a row as one line of CSV. Maps and lists are JSON, None is empty."""
    return csv_of(map(cell_of, row.values()))


def csv_of(cells: Iterable[object]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()


# A spreadsheet takes a cell that begins with one of these characters for a formula. A formula may
# read other cells and send them somewhere. Some programs ignore white space before the character.
# The four code points are the full-width forms of the four characters before them.
FORMULA: Final = re.compile(r"\s*[=+\-@\uff1d\uff0b\uff0d\uff20]|[\t\r\n]")


def cell_of(value: Any) -> object:
    """Return a value as a cell of CSV. A text that looks like a formula gets a quote before it."""
    match value:
        case dict() | list():
            return to_json(value)
        case str():
            text = printable(value).replace("\n", " ").replace("\t", " ")
            return f"'{text}" if FORMULA.match(value) else text
        case _:
            return value
