"""Text in UTF-16 or UTF-32 as UTF-8, if it begins with a byte order mark."""

from __future__ import annotations

import codecs
import itertools
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["utf8"]

# The mark of UTF-32 (little endian) begins with that of UTF-16, so UTF-32 is tried first.
ENCODINGS: Final = {
    codecs.BOM_UTF32_LE: "utf-32-le",
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}


def utf8(pieces: Iterator[bytes]) -> tuple[bytes, Iterator[bytes]]:
    """Return the byte order mark of a text in UTF-8, or b"", and the pieces of the text in UTF-8.

    The pieces have no byte order mark. A text without a mark is returned unchanged. In UTF-16 and
    UTF-32, data that is not valid becomes U+FFFD.
    """
    head = b""
    for piece in pieces:
        head += piece
        if len(head) >= len(codecs.BOM_UTF32_LE):
            break
    if head.startswith(codecs.BOM_UTF8):
        rest = itertools.chain([head[len(codecs.BOM_UTF8) :]], pieces)
        return codecs.BOM_UTF8, filter(None, rest)
    whole = filter(None, itertools.chain([head], pieces))
    for mark, encoding in ENCODINGS.items():
        if head.startswith(mark):
            return b"", transcoded(whole, encoding)
    return b"", whole


def transcoded(pieces: Iterator[bytes], encoding: str) -> Iterator[bytes]:
    """Yield a text that begins with a byte order mark as UTF-8, without the mark."""
    decoder = codecs.getincrementaldecoder(encoding)(errors="replace")
    is_first = True
    for piece in itertools.chain(pieces, [b""]):
        text = decoder.decode(piece, final=not piece)
        if is_first and text:
            text = text.removeprefix("\ufeff")
            is_first = False
        if text:
            yield text.encode()
