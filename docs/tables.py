"""Writes Markdown tables into the marked places of a page."""

import re
from collections.abc import Callable

_MADE = re.compile(r"(?<=<!-- made: )(\w+) -->\n.*?(?=<!-- end -->)", re.DOTALL)


def table(*rows: tuple[str, ...]) -> str:
    """Return the rows as a Markdown table. The first row is its head."""
    head, *body = (f"| {' | '.join(row)} |\n" for row in rows)
    return head + "| --- " * len(rows[0]) + "|\n" + "".join(body)


def made(page: str, table_of: Callable[[str], str]) -> str:
    """Return the page with its tables generated anew.

    `table_of` returns the table for the name in a mark: `<!-- made: NAME -->`.
    """
    return _MADE.sub(lambda part: f"{part[1]} -->\n\n{table_of(part[1])}\n", page)
