"""Markdown tables of the pages: formats rows, and replaces the generated parts of a page.

A generated part begins with `<!-- made: NAME -->` and ends with `<!-- end -->`. Generated tables
cannot differ from the code. Tables written by hand would need a test for each cell.
"""

import re
from collections.abc import Callable

_MADE = re.compile(r"(?<=<!-- made: )(\w+) -->\n.*?(?=<!-- end -->)", re.DOTALL)


def table(*rows: tuple[str, ...]) -> str:
    """Return the rows as a Markdown table. The first row is the table's header."""
    head, *body = (f"| {' | '.join(row)} |\n" for row in rows)
    return head + "| --- " * len(rows[0]) + "|\n" + "".join(body)


def made(page: str, table_of: Callable[[str], str]) -> str:
    """Return the page with each generated part replaced.

    Args:
        page: The text of the page.
        table_of: Returns the Markdown table for the NAME in the comment that begins a part.
    """
    return _MADE.sub(lambda part: f"{part[1]} -->\n\n{table_of(part[1])}\n", page)
