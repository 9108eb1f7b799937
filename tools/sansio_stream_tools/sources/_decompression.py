"""Decompression: gzip, zstd, deflate and br, recognised by content, in bounded pieces.

The encodings may be nested up to `MOST_ENCODINGS` deep. A piece is at most 64 KiB, and the bytes of
all pieces are counted, so a bomb ends in an error after a bounded time.

gzip and zstd begin with a magic number. deflate and br do not: bytes that are not text are taken
for one of them if their first bytes decode to text.
"""

from __future__ import annotations

import codecs
import importlib
import itertools
import re
from typing import TYPE_CHECKING, Any, Final

from sansio_stream.capture import CaptureEnd, Chunk
from sansio_stream_adapters._codings import MOST_ENCODINGS, decoder_of
from sansio_stream_adapters._decoding import (
    RESPONSE_PIECE_BYTES,
    DecodingError,
    UnknownEncodingError,
    names_in,
)

from ._source import HEAD_BYTES, SourceError, SourceLimits

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["Decompression", "EncodedDataCutError", "decompressed"]


class EncodedDataCutError(SourceError):
    """The file ends inside its compressed data. All bytes before this place were returned."""


GZIP_MAGIC: Final = b"\x1f\x8b\x08"
ZSTD_MAGIC: Final = b"\x28\xb5\x2f\xfd"
MAGIC: Final = {GZIP_MAGIC: "gzip", ZSTD_MAGIC: "zstd"}

FIRST_STEP: Final = 16
"""An encoding is looked for in the first 16 bytes, then in the first 32, 64, and so on to 64 KiB.

These steps do not depend on how the file is cut, so neither does the answer.
"""

TRIAL_BYTES: Final = 1_024
"""The most output of a trial of deflate or br."""

TEXT_BYTES: Final = 16
"""The least output by which a trial tells that it is text, unless it is the whole output."""

COST_OF_NO_OUTPUT: Final = 4_096
"""The bytes that a step without output counts for. A gzip file may consist of empty members."""

ZSTANDARD_WINDOW_BYTES: Final = 2**23
"""The largest window of zstd, as in the adapters: 8 MiB."""

# What an event stream, an HTTP dump or JSON begins with. Such a beginning is never compressed.
TEXT_START: Final = re.compile(
    rb"(?:\xef\xbb\xbf)?\s*(?:(?:data|event|id|retry)?:|[{\[]\s*[\"{]|HTTP/)"
)

# The byte order marks of UTF-16 and UTF-32.
TEXT_MARKS: Final = (b"\xff\xfe", b"\xfe\xff", b"\0\0\xfe\xff")

# All but tab, line ends, form feed, and escape, which begins the colours of a log.
UNUSUAL_CONTROLS: Final = re.compile(rb"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f\x7f]")


def decompressed(
    pieces: Iterable[bytes], encodings: str | None = None, limits: SourceLimits | None = None
) -> Iterator[bytes]:
    """Yield the decompressed bytes of one file or body, in pieces of at most 64 KiB.

    See `Decompression.pieces`. The decoded bytes of several calls are not counted together.
    """
    return Decompression(limits or SourceLimits()).pieces(pieces, encodings)


class Decompression:
    """Decompresses the parts of one file. It counts the decoded bytes of all parts together.

    Memory: one piece and one window for each encoding, of at most 16 MiB.

    Args:
        limits: the bounds of the file.
    """

    def __init__(self, limits: SourceLimits) -> None:
        self._most = limits.decoded_bytes
        self._left = limits.decoded_bytes

    def pieces(self, pieces: Iterable[bytes], encodings: str | None = None) -> Iterator[bytes]:
        """Yield the decompressed bytes. Data that is not compressed is returned as it is.

        Args:
            pieces: the data, cut anywhere.
            encodings: the value of a `content-encoding`, all of whose encodings are decoded. If it
                is None, the encodings are recognised by the content.

        Raises:
            EncodedDataCutError: if the data ends inside its compressed data. All decoded bytes
                were yielded before.
            SourceError: if the compressed data is damaged, has more than three encodings or an
                unknown one, needs a library that is not installed, or exceeds the limit.
        """
        if encodings is None:
            return self._recognised(iter(pieces))
        return self._named(iter(pieces), encodings)

    def chunks(self, items: Iterable[Chunk | CaptureEnd]) -> Iterator[Chunk | CaptureEnd]:
        """Yield the decompressed chunks of a body, each with the time at which it arrived.

        If the body ends inside its compressed data, the yielded end has an error.
        """
        at: float | None = None
        end: CaptureEnd | None = None

        def data() -> Iterator[bytes]:
            nonlocal at, end
            for item in items:
                at = item.at
                if isinstance(item, CaptureEnd):
                    end = item
                else:
                    yield item.data

        try:
            for piece in self.pieces(data()):
                yield Chunk(at, piece)
        except EncodedDataCutError as error:
            if end is None or end.error is None:
                end = CaptureEnd(at, str(error))
        if end is not None:
            yield end

    def _recognised(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        for _ in range(MOST_ENCODINGS):
            encoding, pieces = recognised_encoding(pieces)
            if not encoding:
                yield from pieces
                return
            pieces = self._decoded(pieces, encoding)
        encoding, pieces = recognised_encoding(pieces)
        if encoding:
            raise SourceError(
                f"the data is compressed more than {MOST_ENCODINGS} times, one encoding inside"
                " another"
            )
        yield from pieces

    def _named(self, pieces: Iterator[bytes], encodings: str) -> Iterator[bytes]:
        names = names_in(encodings)
        if len(names) > MOST_ENCODINGS:
            raise SourceError(
                f"the content-encoding {encodings[:80]!r} has more than {MOST_ENCODINGS} encodings"
            )
        for name in reversed(names):
            pieces = self._decoded(pieces, name)
        yield from pieces

    def _decoded(self, pieces: Iterator[bytes], encoding: str) -> Iterator[bytes]:
        try:
            for piece in decoded_pieces(pieces, encoding):
                self._left -= len(piece) or COST_OF_NO_OUTPUT
                if self._left < 0:
                    raise SourceError(
                        f"the decompressed data is larger than {self._most:,} bytes"
                        " (the limit decoded_bytes)"
                    )
                if piece:
                    yield piece
        except UnknownEncodingError as error:
            raise SourceError(missing_library(encoding) or str(error)) from error
        except DecodingError as error:
            raise SourceError(f"the {encoding} data is damaged: {error}") from error


def missing_library(encoding: str) -> str | None:
    """Return the sentence for an encoding whose library is not installed; None for others."""
    if encoding not in {"zstd", "br"}:
        return None
    return (
        f"the data is compressed with {encoding}, and the library that decodes it is not"
        " installed: pip install 'sansio-stream[formats]'"
    )


def decoded_pieces(pieces: Iterator[bytes], encoding: str) -> Iterator[bytes]:
    """Yield the decoded pieces, which may be empty.

    Raises DecodingError, EncodedDataCutError, or UnknownEncodingError if a library is missing.
    """
    try:
        decoder = decoder_of(encoding)
    except UnknownEncodingError:
        library = zstandard() if encoding == "zstd" else None
        if library is None:
            raise
        yield from zstandard_pieces(library, pieces)
        return
    for data in pieces:
        decoder.receive(data)
        while decoder.has_more:
            yield decoder.piece()
    if decoder.end() is not None:
        raise EncodedDataCutError(f"the data ends inside its {encoding} data")


def zstandard() -> Any:
    """Return the module `zstandard`, or None if it is not installed.

    The adapters use `compression.zstd` or `backports.zstd`, which bound what a call returns.
    """
    try:
        return importlib.import_module("zstandard")
    except ImportError:
        return None


class PiecesFile:
    """A file object over pieces, for a library that reads its input itself.

    Args:
        pieces: the pieces.
    """

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = b""

    def read(self, size: int) -> bytes:
        """Return the next bytes, at most `size`, as soon as there are some; b"" at the end."""
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return b""
            self._rest = piece
        data, self._rest = self._rest[:size], self._rest[size:]
        return data


def zstandard_pieces(library: Any, pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the pieces that the library `zstandard` decodes."""
    decompressor = library.ZstdDecompressor(max_window_size=ZSTANDARD_WINDOW_BYTES)
    reader = decompressor.stream_reader(PiecesFile(pieces), read_across_frames=True)
    try:
        while piece := reader.read1(RESPONSE_PIECE_BYTES):
            yield piece
    except library.ZstdError as error:
        raise DecodingError(str(error)) from error


# Recognising an encoding.


def recognised_encoding(pieces: Iterator[bytes]) -> tuple[str, Iterator[bytes]]:
    """Return the encoding of data, or "" if it is not compressed, and all its pieces again.

    It reads as few pieces as it needs: the first 16 bytes of text, up to 64 KiB of anything else.
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
    for magic, encoding in MAGIC.items():
        if head.startswith(magic):
            return encoding
    if head.startswith(TEXT_MARKS) or TEXT_START.match(head) or is_text(head):
        return ""
    for encoding in ("deflate", "br"):
        if decodes_to_text(head, encoding, is_whole=is_whole):
            return encoding
    return None


def decodes_to_text(head: bytes, encoding: str, *, is_whole: bool) -> bool:
    """Whether data without a magic number has this encoding, and contains text.

    The decoded data may also be compressed with gzip or zstd, or be UTF-16.
    """
    out = b""
    try:
        decoder = decoder_of(encoding)
        decoder.receive(head)
        while decoder.has_more and len(out) < TRIAL_BYTES:
            out += decoder.piece()
    except (DecodingError, UnknownEncodingError):
        return False
    if out.startswith((*MAGIC, *TEXT_MARKS)):
        return True
    return len(out) >= (1 if is_whole else TEXT_BYTES) and is_text(out[:TRIAL_BYTES])


def is_text(data: bytes) -> bool:
    """Whether data is the beginning of a text in UTF-8 without unusual control characters."""
    if UNUSUAL_CONTROLS.search(data):
        return False
    try:
        codecs.getincrementaldecoder("utf-8")().decode(data)
    except UnicodeDecodeError:
        return False
    return True
