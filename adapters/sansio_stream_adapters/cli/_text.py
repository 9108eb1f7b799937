"""What may be shown: text of a stream in, text that is safe on a terminal and in a pipe out.

A model's text may hold anything: escape sequences that would move the cursor or rename the window,
characters that turn the order of others round or hide between them, and lone surrogates, which no
encoding can write.
"""

from __future__ import annotations

import itertools
import json
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
    "to_json",
    "unbroken",
]

NO_PICTURE: Final = 0xFFFD

# Characters that show nothing themselves and change how others are shown, or hide: Unicode's format
# characters (Cf), separators of lines and paragraphs, and default ignorable code points. Not here
# are the signs of Cf that are seen, such as U+0600, and the variation selectors up to U+FE0F, which
# choose the colours of emojis.
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

# C0 and DEL have pictures of their own in Unicode (ESC is ␛). All else that must not reach a
# terminal, C1 among it, which some terminals obey, has none.
PICTURES: Final = {
    **{code: 0x2400 + code for code in range(0x20) if chr(code) not in "\n\t"},
    0x7F: 0x2421,
    **dict.fromkeys(itertools.chain(range(0x80, 0xA0), INVISIBLE), NO_PICTURE),
}

# JSON escapes C0 by itself, and has surrogates for what is above U+FFFF.
ESCAPES: Final = {
    code: json.dumps(chr(code))[1:-1] for code in itertools.chain(range(0x7F, 0xA0), INVISIBLE)
} | {0x7F: "\\u007f"}

STRING_OR_INFINITY: Final = re.compile(r'"(?:[^"\\]|\\.)*"|Infinity')

CHARACTERS_IN_A_CELL: Final = 8
"""More than this at one place, accents over accents, nobody can read."""


def printable(text: str) -> str:
    """Return `text` with a picture for each character but newline and tab that shows nothing."""
    return text if text.isascii() and text.isprintable() else _pictured(text)


def _pictured(text: str) -> str:
    return without_surrogates(text).translate(PICTURES)


def unbroken(text: str, width: int = 2_000) -> str:
    """Return the beginning of `text` without an end of a line in it, of at most `width` cells.

    As `one_line`, but all white space is kept: a space as it is, others as pictures.
    """
    limit = CHARACTERS_IN_A_CELL * width
    line = printable(text[:limit]).translate({0x09: 0x2409, 0x0A: 0x240A})
    return fitting(line if len(text) <= limit else f"{line}…", width)


def one_line(text: str, width: int) -> str:
    """Return the beginning of `text` on one line of at most `width` cells."""
    # Nobody looks at the megabytes behind them.
    limit = CHARACTERS_IN_A_CELL * width
    line = " ".join(printable(text[:limit]).split())
    return fitting(line if len(text) <= limit else f"{line}…", width)


def fitting(text: str, width: int) -> str:
    """Return `text`, or as much of its beginning as fits into `width` cells, and an ellipsis.

    Cost: that of eight characters for each cell.
    """
    if fits(text, width):
        return text
    kept = text[: count_within(text, width)]
    # Characters may be wider together than alone: an emoji and what makes it coloured.
    while cell_len(kept) >= width:
        kept = kept[:-1]
    return kept.rstrip() + "…"


def ending(text: str, width: int) -> str:
    """Return `text`, or an ellipsis and as much of its end as fits into `width` cells."""
    if fits(text, width):
        return text
    kept = text[len(text) - count_within(reversed(text), width) :]
    while cell_len(kept) >= width:
        kept = kept[1:]
    return "…" + kept


def fits(text: str, width: int) -> bool:
    return len(text) <= CHARACTERS_IN_A_CELL * width and cell_len(text) <= width


def count_within(chars: Iterable[str], width: int) -> int:
    """Return how many characters take fewer than `width` cells one by one, and are not too many."""
    cells = count = 0
    for char in itertools.islice(chars, CHARACTERS_IN_A_CELL * width):
        cells += cell_len(char)
        if cells >= width:
            break
        count += 1
    return count


def to_json(value: Any, *, indent: int | None = None) -> str:
    """Return JSON that every reader takes, and every terminal: lone surrogates are replaced."""
    separators = (",", ":") if indent is None else None
    text = json.dumps(value, ensure_ascii=False, indent=indent, separators=separators)
    if "Infinity" in text:
        # What `1e999` was read as. Written as it came, because JSON has no other word for it.
        text = STRING_OR_INFINITY.sub(
            lambda match: "1e999" if match[0] == "Infinity" else match[0], text
        )
    return without_surrogates(text).translate(ESCAPES)


def without_surrogates(text: str) -> str:
    """Return `text` with its pairs of surrogates joined and U+FFFD for each lone one."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
