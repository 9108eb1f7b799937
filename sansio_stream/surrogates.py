r"""Surrogate pairs: the two halves by which UTF-16 encodes one character, and how to join them.

JSON writes an escaped character beyond U+FFFF as a pair (`\ud83d\ude00`; RFC 8259, section 7).
Servers may cut a text between the two halves. Each half alone is a lone surrogate in a Python str,
which UTF-8 cannot encode.
"""

from __future__ import annotations

import functools
import re

FIRST_HIGH, LAST_HIGH = "\ud800", "\udbff"
FIRST_LOW, LAST_LOW = "\udc00", "\udfff"


@functools.cache
def pairs() -> re.Pattern[str]:
    """Return a pattern for two halves. It is compiled at the first call: few texts have any."""
    return re.compile(f"[{FIRST_HIGH}-{LAST_HIGH}][{FIRST_LOW}-{LAST_LOW}]")


def is_high_surrogate(piece: str) -> bool:
    """Whether a piece is nothing but a high surrogate, the first half of a pair."""
    return len(piece) == 1 and FIRST_HIGH <= piece <= LAST_HIGH


def has_split_pair(piece: str) -> bool:
    """Whether a piece begins with the second half of a pair, or ends with the first."""
    return is_high_surrogate(piece[-1:]) or FIRST_LOW <= piece[:1] <= LAST_LOW


def joined_halves(text: str) -> str:
    """Return the text with each pair of halves joined. Cost: linear in the text."""
    return pairs().sub(joined_pair, text)


def joined_pair(pair: re.Match[str]) -> str:
    """Return the character of a pair of halves."""
    return pair[0].encode("utf-16", "surrogatepass").decode("utf-16")
