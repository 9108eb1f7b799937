"""Decompresses files and bodies in bounded pieces: gzip, zstd, deflate and br.

The encodings may be nested up to three deep. A piece has at most 64 KiB, and the bytes of all
pieces are counted. So a decompression bomb ends in an error after a bounded time.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final

from sansio_stream.capture import CaptureEnd, Chunk
from sansio_stream_adapters._codings import MOST_ENCODINGS
from sansio_stream_adapters._decoding import DecodingError, UnknownEncodingError, names_in

from ._encodings import decoder_for, recognised_encoding
from ._source import SourceError, SourceLimits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = ["Decompression", "EncodedDataCutError", "decompressed"]


class EncodedDataCutError(SourceError):
    """The file ends inside its compressed data. All bytes before this place were returned."""


COST_OF_NO_OUTPUT: Final = 4_096
"""A step without output counts as this many bytes. Otherwise a gzip file of empty members would
never reach the limit.
"""


def decompressed(
    pieces: Iterable[bytes], encodings: str | None = None, limits: SourceLimits | None = None
) -> Iterator[bytes]:
    """Yield the decompressed bytes of one file or body, in pieces of at most 64 KiB.

    See `Decompression.pieces`. Each call counts its decoded bytes anew.
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

    def chunks(
        self, items: Iterable[Chunk | CaptureEnd], end: CaptureEnd | None = None
    ) -> Iterator[Chunk | CaptureEnd]:
        """Yield the decompressed chunks of a body, each with the time at which it arrived.

        If nothing is compressed, the items are yielded unchanged. Otherwise the last item is the
        end, if it is known. If the body ends inside its compressed data, its end has an error.

        Args:
            items: the chunks, and possibly the end.
            end: the end, unless it is one of the items.
        """
        items = iter(items)
        first: list[Chunk | CaptureEnd] = []
        encoding, _ = recognised_encoding(bytes_of(items, first.append))
        items = itertools.chain(first, items)
        if not encoding:
            yield from items
            return
        at: float | None = None

        def note(item: Chunk | CaptureEnd) -> None:
            nonlocal at, end
            at = item.at
            if isinstance(item, CaptureEnd):
                end = item

        try:
            for piece in self.pieces(bytes_of(items, note)):
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
            raise SourceError(f"the file cannot be decompressed: {error}") from error


def bytes_of(
    items: Iterable[Chunk | CaptureEnd], on_item: Callable[[Chunk | CaptureEnd], object]
) -> Iterator[bytes]:
    """Yield the bytes of each chunk, and call `on_item` with each item first."""
    for item in items:
        on_item(item)
        if isinstance(item, Chunk):
            yield item.data


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
    decoder = decoder_for(encoding)
    for data in pieces:
        decoder.receive(data)
        while decoder.has_more:
            yield decoder.piece()
    if decoder.end() is not None:
        raise EncodedDataCutError(f"the data ends inside its {encoding} data")
