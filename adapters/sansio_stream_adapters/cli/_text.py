"""What may be shown: text of a stream in, text that is safe on a terminal and in a pipe out.

A model's text may hold anything: escape sequences that would move the cursor or rename the window,
and lone surrogates, which no encoding can write.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

from rich.cells import cell_len, set_cell_size

__all__ = ["one_line", "printable", "to_json"]

# C0 and DEL have pictures of their own in Unicode (ESC is ␛); C1, which some terminals obey, has
# none.
PICTURES: Final = {
    **{code: 0x2400 + code for code in range(0x20) if chr(code) not in "\n\t"},
    0x7F: 0x2421,
    **dict.fromkeys(range(0x80, 0xA0), 0xFFFD),
}

# JSON escapes C0 by itself.
ESCAPES: Final = {code: f"\\u{code:04x}" for code in range(0x7F, 0xA0)}

STRING_OR_INFINITY: Final = re.compile(r'"(?:[^"\\]|\\.)*"|Infinity')


def printable(text: str) -> str:
    """Return `text` with a picture for each control character but newline and tab."""
    return without_surrogates(text).translate(PICTURES)


def one_line(text: str, width: int) -> str:
    """Return the beginning of `text` on one line of at most `width` cells."""
    # A cell holds at most a few characters, and nobody looks at the megabytes behind them.
    line = " ".join(printable(text[: 8 * width]).split())
    if cell_len(line) <= width and len(text) <= 8 * width:
        return line
    return set_cell_size(line, min(width - 1, cell_len(line))).rstrip() + "…"


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
