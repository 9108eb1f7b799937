"""Tables of pages: rows in, Markdown out, into the places of a page that are marked for them."""

import re
from collections.abc import Callable

_MADE = re.compile(r"(?<=<!-- made: )(\w+) -->\n.*?(?=<!-- end -->)", re.DOTALL)


def table(*rows: tuple[str, ...]) -> str:
    """Return the rows as a Markdown table; the first is its head."""
    head, *body = (f"| {' | '.join(row)} |\n" for row in rows)
    return head + "| --- " * len(rows[0]) + "|\n" + "".join(body)


def made(page: str, table_of: Callable[[str], str]) -> str:
    """Return the page with its tables made anew, each by the name that stands in its mark."""
    return _MADE.sub(lambda part: f"{part[1]} -->\n\n{table_of(part[1])}\n", page)
