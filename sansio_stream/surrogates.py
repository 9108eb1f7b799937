r"""Surrogate pairs: the two halves by which UTF-16 encodes one character, and how to join them.

JSON writes an escaped character beyond U+FFFF as a pair (`\ud83d\ude00`; RFC 8259, section 7).
Servers may cut a text between the two halves. Each half alone is a lone surrogate in a Python str,
which UTF-8 cannot encode.

Cost: adding a piece costs nothing extra if the piece is ASCII. The cost never depends on the length
of the text before the piece.
"""

from __future__ import annotations

import re
from typing import Final

FIRST_HIGH, LAST_HIGH = "\ud800", "\udbff"
FIRST_LOW, LAST_LOW = "\udc00", "\udfff"

pairs: Final = re.compile(f"[{FIRST_HIGH}-{LAST_HIGH}][{FIRST_LOW}-{LAST_LOW}]")


def is_high_surrogate(piece: str) -> bool:
    """Whether a piece is nothing but a high surrogate, the first half of a pair."""
    return len(piece) == 1 and FIRST_HIGH <= piece <= LAST_HIGH


def has_split_pair(piece: str) -> bool:
    """Whether a piece begins with the second half of a pair, or ends with the first."""
    return is_high_surrogate(piece[-1:]) or FIRST_LOW <= piece[:1] <= LAST_LOW


def joined_halves(text: str) -> str:
    """Return the text with each pair of halves joined. Cost: linear in the text."""
    return pairs.sub(lambda pair: pair[0].encode("utf-16", "surrogatepass").decode("utf-16"), text)


def add_piece(pieces: list[str], piece: str) -> None:
    """Add a piece to a text. A pair that is cut between two pieces becomes one character.

    A first half at the end of the text always stays a piece of its own, so that the next piece can
    complete it. Only empty pieces may follow it.
    """
    if piece.isascii():
        pieces.append(piece)
        return
    if FIRST_LOW <= piece[0] <= LAST_LOW:
        drop_empty(pieces)
        if pieces and is_high_surrogate(pieces[-1]):
            pieces.append(joined_halves(pieces.pop() + piece[0]))
            piece = piece[1:]
    if is_high_surrogate(piece[-1:]) and len(piece) > 1:
        pieces.append(piece[:-1])
        piece = piece[-1]
    pieces.append(piece)


def drop_empty(pieces: list[str]) -> None:
    """Drop the empty pieces at the end of a text, except its first piece.

    They would separate two halves, because an empty delta may come between the two.
    """
    while len(pieces) > 1 and not pieces[-1]:
        pieces.pop()
