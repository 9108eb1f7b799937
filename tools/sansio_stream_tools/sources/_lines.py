"""Cuts the pieces of a file into lines."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from ._source import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["LINE_BYTES", "lines_of"]

LINE_BYTES: Final = 2**26
"""The maximum size of a line: 64 MiB. The default limit of an event is the same."""

LINE_END: Final = re.compile(rb"\r\n|\n|\r")


def lines_of(pieces: Iterable[bytes], most: int = LINE_BYTES) -> Iterator[bytes]:
    r"""Yield each line of a file, without its line end: \n, \r\n or \r.

    A line is yielded as soon as its line end has arrived. The last line may have none. Memory: one
    line and one piece.

    Raises:
        SourceError: if a line is longer than `most` bytes.
    """
    line = bytearray()
    number = 1
    after_cr = False  # whether the last byte was \r, so that a \n belongs to it
    for piece in pieces:
        at = 1 if after_cr and piece.startswith(b"\n") else 0
        after_cr = piece.endswith(b"\r") if piece else after_cr
        for line_end in LINE_END.finditer(piece, at):
            line += piece[at : line_end.start()]
            demand_short(line, number, most)
            yield bytes(line)
            line.clear()
            number += 1
            at = line_end.end()
        line += piece[at:]
        demand_short(line, number, most)
    if line:
        yield bytes(line)


def demand_short(line: bytearray, number: int, most: int) -> None:
    """Raise a SourceError if a line is too long."""
    if len(line) > most:
        raise SourceError(f"line {number} is longer than {most:,} bytes")
