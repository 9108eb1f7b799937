r"""Surrogate halves: one character that came as two, joined as UTF-16 joins it.

JSON writes a character beyond U+FFFF as an escaped pair (`\ud83d\ude00`), and servers cut between
the two (RFC 8259, section 7). Each half alone is a lone surrogate in a Python str, which no UTF-8
can hold.

Cost: nothing that grows with the text, and nothing for pieces that are ASCII.
"""

from __future__ import annotations

import re
from typing import Final

FIRST_HIGH, LAST_HIGH = "\ud800", "\udbff"
FIRST_LOW, LAST_LOW = "\udc00", "\udfff"

pairs: Final = re.compile(f"[{FIRST_HIGH}-{LAST_HIGH}][{FIRST_LOW}-{LAST_LOW}]")


def is_high_half(piece: str) -> bool:
    """Whether a piece is the first half of a pair and nothing else."""
    return len(piece) == 1 and FIRST_HIGH <= piece <= LAST_HIGH


def ends_in_half(piece: str) -> bool:
    """Whether a piece begins with the second half of a pair, or ends with the first."""
    return is_high_half(piece[-1:]) or FIRST_LOW <= piece[:1] <= LAST_LOW


def joined_halves(text: str) -> str:
    """Return the text with each pair of halves as one character. Cost: as long as the text."""
    return pairs.sub(lambda pair: pair[0].encode("utf-16", "surrogatepass").decode("utf-16"), text)


def add_piece(pieces: list[str], piece: str) -> None:
    """Add a piece of a text; a pair that is cut between two pieces becomes one character.

    The first half of a pair at the end of the text is always a piece of its own; only empty pieces
    may follow it.
    """
    if piece.isascii():
        pieces.append(piece)
        return
    if FIRST_LOW <= piece[0] <= LAST_LOW:
        drop_empty(pieces)
        if pieces and is_high_half(pieces[-1]):
            pieces.append(joined_halves(pieces.pop() + piece[0]))
            piece = piece[1:]
    if is_high_half(piece[-1:]) and len(piece) > 1:
        pieces.append(piece[:-1])
        piece = piece[-1]
    pieces.append(piece)


def drop_empty(pieces: list[str]) -> None:
    """Drop the empty pieces at the end of a text, but for its first piece: an empty delta may come
    between two halves.
    """
    while len(pieces) > 1 and not pieces[-1]:
        pieces.pop()
