"""What an exception shows: text of a peer in, one line that is safe on a terminal and in a log out.

A peer's text may move the cursor, begin lines that look like those of another, turn the order of
characters round, or be megabytes long. What was sent stays in attributes; this is for sentences.
"""

from __future__ import annotations

import unicodedata
from typing import Final

EXCERPT_CHARACTERS: Final = 1024
"""Bound of every quoted piece of the stream, and of every sentence: enough to see what it was, not
to fill a log.
"""

HIDDEN: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Unicode's categories of what is not seen itself: controls, format characters (bidirectional marks
and zero widths among them), surrogates, separators of lines and of paragraphs.
"""


def excerpt(text: str, length: int = EXCERPT_CHARACTERS) -> str:
    """Return `text`, or if it has more than `length` characters its beginning and a mark."""
    if len(text) <= length:
        return text
    return text[: length - 1] + "…"


def printable(text: str, length: int = EXCERPT_CHARACTERS) -> str:
    r"""Return `text` for a sentence: characters that are not seen as Python's escapes (`\n`,
    `\x1b`, `\u202e`), and cut as an `excerpt` is.

    What was made printable once stays as it is. Cost: that of `length` characters.
    """
    text = excerpt(text, length)
    return text if text.isprintable() else excerpt("".join(map(shown, text)), length)


def shown(character: str) -> str:
    """Return a character, or its escape where it cannot be seen."""
    if unicodedata.category(character) not in HIDDEN:
        return character
    return character.encode("unicode_escape").decode()
