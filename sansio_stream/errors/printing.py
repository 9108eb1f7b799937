"""Quoting a peer's text: it becomes one line that is safe in a terminal and in a log.

A peer's text may move the cursor of a terminal. It may contain line ends, so that a log seems to
have lines that nobody wrote. It may reverse the order of characters, or be megabytes long. This
module is for the messages of exceptions. Their attributes keep the text as it was sent.
"""

from __future__ import annotations

import unicodedata
from typing import Final

EXCERPT_CHARACTERS: Final = 1024
"""The maximum length of an excerpt from the stream, and of the message of an exception.

It is long enough to recognise the text, and short enough not to fill a log.
"""

HIDDEN: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""The Unicode categories of invisible characters.

They are controls, format characters (bidirectional marks and zero-width characters among them),
surrogates, line separators and paragraph separators.
"""


def excerpt(text: str, length: int = EXCERPT_CHARACTERS) -> str:
    """Return `text`, cut to `length` characters. A cut text ends in "…"."""
    if len(text) <= length:
        return text
    return text[: length - 1] + "…"


def printable(text: str, length: int = EXCERPT_CHARACTERS) -> str:
    r"""Return `text` with Python's escapes for invisible characters, cut like an `excerpt`.

    Escapes are written as `\n`, `\x1b` or `\u202e`. A text that is printable already stays as it
    is, so a second call changes nothing. The cost is linear in `length`, however long the text is.
    """
    text = excerpt(text, length)
    return text if text.isprintable() else excerpt("".join(map(shown, text)), length)


def shown(character: str) -> str:
    """Return a character, or its escape if the character is invisible."""
    if unicodedata.category(character) not in HIDDEN:
        return character
    return character.encode("unicode_escape").decode()
