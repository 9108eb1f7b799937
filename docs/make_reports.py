"""Generates the table of reports.md from `REPORT_COLUMNS`.

`python docs/make_reports.py` writes the table into the page. A test compares the two.
"""

from pathlib import Path
from typing import Final

import tables
from sansio_stream import REPORT_COLUMNS
from tables import table

PAGE: Final = Path(__file__).with_name("reports.md")
HEAD: Final = ("column", "type", "unit", "meaning", "OpenTelemetry")


def columns() -> str:
    """Return the table of columns with their meanings."""
    return table(
        HEAD,
        *(
            (f"`{each.name}`", f"`{each.type}`", each.unit, each.meaning, quoted(each.otel))
            for each in REPORT_COLUMNS
        ),
    )


def quoted(otel: str) -> str:
    """Return the first word formatted as code, followed by the rest of the text."""
    name, _, rest = otel.partition(" ")
    return f"`{name}` {rest}".strip() if name else ""


TABLES: Final = {"columns": columns}


def made(page: str) -> str:
    """Return the page with its table generated anew."""
    return tables.made(page, lambda name: TABLES[name]())


if __name__ == "__main__":
    PAGE.write_text(made(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
