"""Recognises how data is compressed, by its first bytes.

gzip and zstd begin with a magic number. deflate and br do not. Data that is not text is taken for
deflate or br if its first bytes decode to text, or to the beginning of gzip or zstd.
"""

from __future__ import annotations

import codecs
import importlib
import itertools
import re
from typing import TYPE_CHECKING, Any, Final

from sansio_stream_adapters._codings import decoder_of
from sansio_stream_adapters._decoding import DecodingError, UnknownEncodingError

from ._source import HEAD_BYTES
from ._zstandard import ZstandardDecoder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sansio_stream.observer import BodyDecoder

__all__ = ["decoder_for", "is_decodable", "recognised_encoding"]

# The magic numbers of gzip, and of a frame and a skippable frame of zstd (RFC 8878, 3.1).
MAGIC: Final = re.compile(
    rb"(?P<gzip>\x1f\x8b\x08)|(?P<zstd>\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18)"
)

FIRST_STEP: Final = 8
"""An encoding is looked for in the first 8 bytes, then in the first 16, 32, and so on to 64 KiB.

These steps do not depend on how the file is cut into pieces, so neither does the result.
"""

TRIAL_BYTES: Final = 1_024
"""The output of deflate or br that is examined, in bytes."""

TEXT_BYTES: Final = 16
"""Fewer bytes do not tell text from compressed data, unless they are all bytes of the data."""

# What an event stream, an HTTP dump or JSON begins with. Such a beginning is never compressed.
TEXT_START: Final = re.compile(
    rb"(?:\xef\xbb\xbf)?\s*(?:(?:data|event|id|retry)?:|[{\[]\s*[\"{]|HTTP/)"
)

# The byte order marks of UTF-16 and UTF-32.
TEXT_MARKS: Final = (b"\xff\xfe", b"\xfe\xff", b"\0\0\xfe\xff")

# All control characters but tab, line ends, form feed and ESC. Colours in logs begin with ESC.
UNUSUAL_CONTROLS: Final = re.compile(rb"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f\x7f]")


def decoder_for(encoding: str) -> BodyDecoder:
    """Return a decoder for one encoding. It returns bounded pieces.

    Raises:
        UnknownEncodingError: the encoding is unknown, or its library is not installed.
    """
    try:
        return decoder_of(encoding)
    except UnknownEncodingError:
        # The adapters decode zstd by Python 3.14 or by `backports.zstd`.
        library = zstandard() if encoding == "zstd" else None
        if library is None:
            raise
        return ZstandardDecoder(library)


def zstandard() -> Any:
    """Return the module `zstandard`, or None if it is not installed."""
    try:
        return importlib.import_module("zstandard")
    except ImportError:
        return None


def is_decodable(encoding: str) -> bool:
    """Whether a decoder for a known encoding is installed."""
    try:
        decoder_for(encoding)
    except UnknownEncodingError:
        return False
    return True


def recognised_encoding(pieces: Iterator[bytes]) -> tuple[str, Iterator[bytes]]:
    """Return the encoding of data, or "" if it is not compressed, and all its pieces again.

    It reads as few pieces as it needs: at most the first 16 bytes of a text, and at most the first
    64 KiB of other data.
    """
    head = bytearray()
    step = FIRST_STEP
    for piece in pieces:
        head += piece
        while len(head) >= step:
            encoding = encoding_of(bytes(head[:step]), is_whole=False)
            step *= 2
            if encoding is not None or step > HEAD_BYTES:
                return encoding or "", itertools.chain([bytes(head)], pieces)
    whole = bytes(head)
    return encoding_of(whole, is_whole=True) or "", iter([whole] if whole else [])


def encoding_of(head: bytes, *, is_whole: bool) -> str | None:
    """Return the encoding of data, "" if it is not compressed, None if more bytes may tell.

    Args:
        head: its first bytes.
        is_whole: whether these are all bytes.
    """
    if magic := MAGIC.match(head):
        return magic.lastgroup
    if head.startswith(TEXT_MARKS) or TEXT_START.match(head):
        return ""
    if len(head) < TEXT_BYTES and not is_whole:
        return None
    if is_text(head):
        return ""
    for encoding in ("deflate", "br"):
        if decodes_to_text(head, encoding, is_whole=is_whole):
            return encoding
    return None


def decodes_to_text(head: bytes, encoding: str, *, is_whole: bool) -> bool:
    """Whether data without a magic number has this encoding, and contains text with a colon.

    All formats have a colon near their beginning, but random data rarely decodes to text with one.
    The decoded data may also be compressed with gzip or zstd, or be UTF-16.
    """
    out = b""
    try:
        decoder = decoder_for(encoding)
        decoder.receive(head)
        while decoder.has_more and len(out) < TRIAL_BYTES:
            out += decoder.piece()
    except (DecodingError, UnknownEncodingError):
        return False
    if MAGIC.match(out) or out.startswith(TEXT_MARKS):
        return True
    enough = is_whole or len(out) >= TEXT_BYTES
    return enough and b":" in out[:TRIAL_BYTES] and is_text(out[:TRIAL_BYTES])


def is_text(data: bytes) -> bool:
    """Whether data is the beginning of a text in UTF-8 without unusual control characters."""
    if UNUSUAL_CONTROLS.search(data):
        return False
    try:
        codecs.getincrementaldecoder("utf-8")().decode(data)
    except UnicodeDecodeError:
        return False
    return True
