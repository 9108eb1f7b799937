"""Recognises the format of a file by as few of its first bytes as possible."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Final

from ._foreign import FOREIGN_FORMATS
from ._lines import LINE_END
from ._plain import BODY, CAPTURE, PAYLOADS, first_line
from ._prefixed import PREFIXED
from ._source import HEAD_BYTES, Format, SourceError
from ._unreadable import reason_against

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["FORMATS", "recognised_format"]

FORMATS: Final[tuple[Format, ...]] = (CAPTURE, *FOREIGN_FORMATS, BODY, PAYLOADS, PREFIXED)
"""All formats, in the order in which they are tried."""


def recognised_format(pieces: Iterator[bytes]) -> tuple[Format, Iterator[bytes]]:
    """Return the format of a file, and all its pieces again.

    The formats are tried on the first line of the file, then on the first 2, 4, 8, ... lines, and
    at last on the first 64 KiB or the whole file. So a live stream is recognised by its first
    lines, and the result does not depend on how the file is cut into pieces.

    Args:
        pieces: the file: not empty, UTF-8 without a byte order mark, and not compressed.

    Raises:
        SourceError: if the file contains no recorded stream. The message says what the file looks
            like, and what would help.
    """
    head = bytearray()
    steps = LineSteps()
    for piece in pieces:
        head += piece
        for size in steps.sizes(head):
            found = format_of(bytes(head[:size]))
            if found is not None:
                return found, itertools.chain([bytes(head)], pieces)
        if len(head) >= HEAD_BYTES:
            return final_format(bytes(head[:HEAD_BYTES])), itertools.chain([bytes(head)], pieces)
    whole = bytes(head)
    return final_format(whole), iter([whole] if whole else [])


class LineSteps:
    """Finds the places in the head of a file at which the formats are tried."""

    def __init__(self) -> None:
        self._searched = 0  # no line ends before this position, except those already found
        self._line_begin = 0
        self._lines = 0
        self._next = 1

    def sizes(self, head: bytearray) -> Iterator[int]:
        """Yield the sizes of the prefixes of a growing head that end after 1, 2, 4, ... lines.

        Blank lines are not counted. No prefix is longer than `HEAD_BYTES`. Each is yielded once.
        """
        while line_end := LINE_END.search(head, self._searched, HEAD_BYTES):
            if line_end[0] == b"\r" and line_end.end() == len(head) < HEAD_BYTES:
                self._searched = line_end.start()
                return  # a line feed that belongs to this line end may follow
            is_blank = not head[self._line_begin : line_end.start()].strip()
            self._searched = self._line_begin = line_end.end()
            self._lines += not is_blank
            if self._lines >= self._next:
                self._next = 2 * self._lines
                yield self._searched
        self._searched = min(len(head), HEAD_BYTES)


def format_of(head: bytes) -> Format | None:
    """Return the first format that matches, or None."""
    return next((each for each in FORMATS if each.matches(head)), None)


def final_format(head: bytes) -> Format:
    """Return the format of a file by its whole head. Text of an unknown format is a plain body."""
    found = format_of(head)
    if found is not None:
        return found
    if begins_with_object(head):
        return PAYLOADS
    reason = reason_against(head)
    if reason is not None:
        raise SourceError(reason)
    return BODY


def begins_with_object(head: bytes) -> bool:
    """Whether the first line that is not blank is a JSON object, or is cut off inside one."""
    line = first_line(head)
    if not line.lstrip().startswith(b"{"):
        return False
    try:
        json.loads(line.decode())
    except (ValueError, RecursionError):
        return not LINE_END.search(head.lstrip())
    return True
