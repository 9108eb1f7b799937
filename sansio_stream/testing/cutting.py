"""Ways to cut the bytes of a body into chunks, as a connection may deliver them.

The cuts must never change what a reader returns. A reader that looks at each chunk alone fails if a
cut is at one of the places below.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["WAYS_TO_CUT", "chunks_at", "places_to_cut"]

PATTERNS: Final[dict[str, re.Pattern[bytes]]] = {
    "after every line": re.compile(rb"(?<=\n)|(?<=\r)(?!\n)"),
    "before every line end": re.compile(rb"(?=[\r\n])(?<!\r)"),
    "inside every CRLF": re.compile(rb"(?<=\r)(?=\n)"),
    "between two line ends": re.compile(rb"(?<=\n)(?=\n)|(?<=\n)(?=\r)|(?<=\r)(?=\r)"),
    "inside every field name": re.compile(rb"(?<=\bda)(?=ta:)|(?<=\bev)(?=ent:)"),
    "after every colon of a field": re.compile(rb"(?<=\bdata:)|(?<=\bevent:)"),
    "inside every character": re.compile(rb"(?=[\x80-\xbf])"),
    "after every backslash": re.compile(rb"(?<=\\)"),
    "inside every escape": re.compile(rb"(?<=\\u..)(?=..)", re.DOTALL),
    "inside every number": re.compile(rb"(?<=\d)(?=\d)"),
    "inside every word of JSON": re.compile(rb"(?<=tr)(?=ue)|(?<=fal)(?=se)|(?<=nu)(?=ll)"),
    "after every quotation mark": re.compile(rb'(?<=")'),
    "before every last brace": re.compile(rb"(?=\}\s*[\r\n])"),
}

WAYS_TO_CUT: Final = ("nowhere", "at every byte", *PATTERNS)
"""The names of the ways to cut."""


def places_to_cut(data: bytes, way: str) -> list[int]:
    """Return the places at which one of `WAYS_TO_CUT` cuts.

    A place is the number of bytes before the cut. Every place is inside the body. There may be no
    place at all.
    """
    if way == "nowhere":
        return []
    if way == "at every byte":
        return list(range(1, len(data)))
    places = [match.start() for match in PATTERNS[way].finditer(data)]
    return [place for place in places if 0 < place < len(data)]


def chunks_at(data: bytes, places: Iterable[int]) -> list[bytes]:
    """Return bytes cut at places in any order. A place that is given twice gives an empty chunk."""
    edges = [0, *sorted(places), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]
