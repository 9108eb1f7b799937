"""Makes the text of a stream safe to print, on a terminal and in a pipe.

The text of a model may contain escape sequences that move the cursor or rename the window. It may
contain characters that are invisible or that reverse the order of others. It may contain lone
surrogates, which no encoding can write.

All widths are in cells. A cell is the place of one narrow character on a terminal. A wide
character, such as an emoji, takes two cells, and a combining character takes none.
"""

from __future__ import annotations

import itertools
import json
import math
import re
from typing import TYPE_CHECKING, Any, Final

from rich.cells import cell_len

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "CHARACTERS_IN_A_CELL",
    "ending",
    "fitting",
    "one_line",
    "printable",
    "seconds",
    "to_json",
    "unbroken",
]

REPLACEMENT: Final = 0xFFFD

# Invisible characters: the format characters (Cf) of Unicode, the line and paragraph separators,
# and the default ignorable code points. They can change how other characters are shown. This set
# excludes visible characters of Cf, such as U+0600. It also excludes U+FE00 to U+FE0F, because some
# of these variation selectors choose between a coloured emoji and plain text.
INVISIBLE: Final = frozenset(
    itertools.chain(
        (0x00AD, 0x034F, 0x061C, 0x115F, 0x1160, 0x17B4, 0x17B5),
        range(0x180B, 0x1810),
        range(0x200B, 0x2010),
        range(0x2028, 0x202F),
        range(0x2060, 0x2070),
        (0x3164, 0xFEFF, 0xFFA0),
        range(0xFFF0, 0xFFFC),
        range(0x13430, 0x13440),
        range(0x1BCA0, 0x1BCA4),
        range(0x1D173, 0x1D17B),
        range(0xE0000, 0xE1000),
    )
)

# Unicode has a symbol for each C0 character and for DEL (␛ for ESC). It has no symbols for C1
# characters, which some terminals execute, and none for invisible characters. Characters without a
# symbol become U+FFFD.
SYMBOLS: Final = {
    **{code: 0x2400 + code for code in range(0x20) if chr(code) not in "\n\t"},
    0x7F: 0x2421,
    **dict.fromkeys(itertools.chain(range(0x80, 0xA0), INVISIBLE), REPLACEMENT),
}

# `to_json` escapes these characters. `json.dumps` escapes C0 by itself, but never DEL. A character
# above U+FFFF is escaped as a surrogate pair.
ESCAPES: Final = {
    code: json.dumps(chr(code))[1:-1] for code in itertools.chain(range(0x7F, 0xA0), INVISIBLE)
} | {0x7F: "\\u007f"}

STRING_OR_INFINITY: Final = re.compile(r'"(?:[^"\\]|\\.)*"|Infinity')

CHARACTERS_IN_A_CELL: Final = 8
"""The maximum number of characters per cell. More combining characters are not readable."""


def printable(text: str) -> str:
    """Return `text` with a visible symbol for each control character and invisible character.

    Newline and tab stay. Lone surrogates become U+FFFD.
    """
    return text if text.isascii() and text.isprintable() else _with_symbols(text)


def _with_symbols(text: str) -> str:
    return without_surrogates(text).translate(SYMBOLS)


def unbroken(text: str, width: int = 2_000) -> str:
    """Return the beginning of `text` as one line of at most `width` cells.

    Spaces stay as they are. Newlines and tabs become symbols.
    """
    limit = CHARACTERS_IN_A_CELL * width
    line = printable(text[:limit]).translate({0x09: 0x2409, 0x0A: 0x240A})
    return fitting(line if len(text) <= limit else f"{line}…", width)


def one_line(text: str, width: int) -> str:
    """Return the beginning of `text` as one line of at most `width` cells.

    Each run of white space becomes one space.

    Cost: proportional to `width`, even if `text` has megabytes.
    """
    limit = CHARACTERS_IN_A_CELL * width
    line = " ".join(printable(text[:limit]).split())
    return fitting(line if len(text) <= limit else f"{line}…", width)


def fitting(text: str, width: int) -> str:
    """Return `text` if it fits into `width` cells, otherwise its beginning and an ellipsis.

    Cost: at most eight characters of `text` per cell are measured.
    """
    if fits(text, width):
        return text
    kept = text[: count_within(text, width)]
    # Characters may be wider together than alone: an emoji and its variation selector.
    while cell_len(kept) >= width:
        kept = kept[:-1]
    return kept.rstrip() + "…"


def ending(text: str, width: int) -> str:
    """Return `text` if it fits into `width` cells, otherwise an ellipsis and its end."""
    if fits(text, width):
        return text
    kept = text[len(text) - count_within(reversed(text), width) :]
    while cell_len(kept) >= width:
        kept = kept[1:]
    return "…" + kept


def fits(text: str, width: int) -> bool:
    return len(text) <= CHARACTERS_IN_A_CELL * width and cell_len(text) <= width


def count_within(chars: Iterable[str], width: int) -> int:
    """Return how many of the first characters are narrower than `width` cells in total.

    At most eight characters per cell are counted.
    """
    cells = count = 0
    for char in itertools.islice(chars, CHARACTERS_IN_A_CELL * width):
        cells += cell_len(char)
        if cells >= width:
            break
        count += 1
    return count


def seconds(value: float | None, digits: int = 2) -> str:
    """Return a number of seconds as text, or "" if it is None or not finite.

    The text has at most 8 cells, or 9 with a minus sign. A file may contain any time, and `1e308`
    written in full has 309 digits.
    """
    if value is None or not math.isfinite(value):
        return ""
    text = f"{value:.{digits}f}"
    if len(text) > 8:
        text = f"{value:.0f}" if abs(value) < 1e8 - 1 else f"{value:.1e}"
    return text


def to_json(value: Any, *, indent: int | None = None) -> str:
    """Return `value` as JSON that is safe to print. Lone surrogates are replaced by U+FFFD."""
    separators = (",", ":") if indent is None else None
    text = json.dumps(value, ensure_ascii=False, indent=indent, separators=separators)
    if "Infinity" in text:
        # `json.loads` reads `1e999` as infinity. JSON has no name for infinity, so write `1e999`.
        text = STRING_OR_INFINITY.sub(
            lambda match: "1e999" if match[0] == "Infinity" else match[0], text
        )
    return without_surrogates(text).translate(ESCAPES)


def without_surrogates(text: str) -> str:
    """Return `text` with its surrogate pairs joined, and with U+FFFD for each lone surrogate."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
