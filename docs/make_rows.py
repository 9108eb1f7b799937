"""Generates the table of columns in a-million-streams.md from `REPORT_SCHEMA`.

`python docs/make_rows.py` writes the table into the page. A test compares the two. Needs pyarrow.
"""

from pathlib import Path
from typing import Final

import tables
from sansio_stream import REPORT_COLUMNS
from sansio_stream_tools.table import FAILURE, REPORT_SCHEMA
from tables import table

PAGE: Final = Path(__file__).with_name("a-million-streams.md")

MEANINGS: Final = {
    FAILURE: "why the body could not be read, or null; then the other columns have their defaults",
    **{column.name: column.meaning for column in REPORT_COLUMNS},
}


def columns() -> str:
    """Return the table of columns with their Arrow types."""
    return table(
        ("column", "Arrow type", "meaning"),
        *((f"`{each.name}`", f"`{each.type}`", MEANINGS[each.name]) for each in REPORT_SCHEMA),
    )


TABLES: Final = {"columns": columns}


def made(page: str) -> str:
    """Return the page with its table generated anew."""
    return tables.made(page, lambda name: TABLES[name]())


if __name__ == "__main__":
    PAGE.write_text(made(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
