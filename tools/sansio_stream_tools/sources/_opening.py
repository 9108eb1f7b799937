"""Opens a file and returns the streams that it contains."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from sansio_stream.capture import CaptureEnd, Chunk

from ._decompression import Decompression, EncodedDataCutError
from ._plain import BODY
from ._sniffing import recognised_format
from ._source import Body, Format, Source, SourceError, SourceLimits
from ._unicode import utf8

if TYPE_CHECKING:
    import io
    from collections.abc import Callable, Iterable, Iterator

__all__ = ["open_sources", "sources_of"]

PIECE_BYTES: Final = 65_536
"""The maximum number of bytes that are read at once."""


def open_sources(
    name: str,
    limits: SourceLimits | None = None,
    *,
    on_piece: Callable[[bytes], object] = lambda _: None,
) -> Iterator[Source]:
    """Yield the streams in a file, in their order. `-` is standard input.

    The file is read while the chunks of the sources are read, in pieces of at most 64 KiB, and each
    chunk is yielded as soon as it has arrived. If a format cannot be read in pieces (HAR, YAML, a
    JSON array), the file is read to its end before the first source is yielded.

    If a file contains several streams, their names are `FILE#1`, `FILE#2`, ... If its format is
    read in pieces, the first stream begins before it is known that others follow, so its name is
    `FILE`.

    Args:
        name: the path of the file, or `-`.
        limits: the bounds on what is read.
        on_piece: is called with each piece of the file before it is decompressed.

    Raises:
        OSError: if the file cannot be read.
        SourceError: if its content is not a recorded stream, or exceeds a limit. Reading the chunks
            of a source may raise it, too.
    """
    yield from named_sources(
        with_callback(pieces_of(name), on_piece), name, limits or SourceLimits()
    )


def sources_of(data: bytes, name: str, limits: SourceLimits | None = None) -> Iterator[Source]:
    """Yield the streams in the content of a file, as `open_sources` does.

    Args:
        data: the content of the file.
        name: the name of the file, for the names of the sources.
        limits: the bounds on what is read.

    Raises:
        SourceError: as `open_sources` does.
    """
    pieces = (data[at : at + PIECE_BYTES] for at in range(0, len(data), PIECE_BYTES))
    yield from named_sources(pieces, name, limits or SourceLimits())


def pieces_of(name: str) -> Iterator[bytes]:
    """Yield the content of a file, each piece as soon as it has arrived."""
    if name == "-":
        stdin = cast("io.BufferedReader", sys.stdin.buffer)
        while piece := stdin.read1(PIECE_BYTES):  # `read` would wait for all these bytes
            yield piece
        return
    path = Path(name)
    if path.is_dir():
        raise SourceError("this is a folder: give the files in it")
    # Without a buffer, reading from a pipe returns what has arrived.
    with path.open("rb", buffering=0) as file:
        while piece := file.read(PIECE_BYTES):
            yield piece


def with_callback(pieces: Iterator[bytes], on_piece: Callable[[bytes], object]) -> Iterator[bytes]:
    """Yield the pieces, and call `on_piece` with each of them first."""
    for piece in pieces:
        on_piece(piece)
        yield piece


def named_sources(pieces: Iterator[bytes], name: str, limits: SourceLimits) -> Iterator[Source]:
    """Yield the streams in the pieces of a file, with their names."""
    decompression = Decompression(limits)
    whole = UntilCut(decompression.pieces(pieces))
    mark, text = utf8(iter(whole))
    first = next(text, None)
    if first is not None:
        format, text = recognised_format(itertools.chain([first], text))
    elif whole.cut is not None:
        raise SourceError(whole.cut)
    else:
        format = BODY  # an empty file is a body that ended before its first byte
    if format is BODY and mark:
        text = itertools.chain([mark], text)  # a plain body is returned byte for byte
    if format.in_pieces:
        yield from one_by_one(format, text, name, decompression, whole)
    else:
        text = bounded(text, limits.file_bytes, format.kind)
        yield from together(format, whole.demanded(text), name, decompression)


class UntilCut:
    """The decoded pieces of a file. They stop without an error where compressed data is cut off.

    Attributes:
        cut: the sentence about the cut; None if there is none so far.
    """

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self.cut: str | None = None

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._pieces
        except EncodedDataCutError as error:
            self.cut = str(error)

    def demanded(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        """Yield `pieces`, which must be made from the pieces of this object.

        Raises SourceError at the end if the compressed data was cut off.
        """
        yield from pieces
        if self.cut is not None:
            raise SourceError(self.cut)

    def chunks(
        self, items: Iterable[Chunk | CaptureEnd], end: CaptureEnd | None
    ) -> Iterator[Chunk | CaptureEnd]:
        """Yield the items of a body, with an error as their end if the file was cut off.

        An end with a time or an error is kept, because the file itself contains it.

        Args:
            items: the chunks, and possibly the end.
            end: the end, unless it is one of the items.
        """
        for item in items:
            if isinstance(item, CaptureEnd):
                end = item
            else:
                yield item
        if self.cut is not None and (end is None or end == CaptureEnd(None, None)):
            end = CaptureEnd(None, self.cut)
        if end is not None:
            yield end


def one_by_one(
    format: Format, text: Iterator[bytes], name: str, decompression: Decompression, whole: UntilCut
) -> Iterator[Source]:
    """Yield the streams of a file that is read in pieces."""
    number = 0
    for number, body in enumerate(format.bodies(text), 1):
        items = whole.chunks(items_of(body, decompression), body.end)
        source = Source(
            name if number == 1 else f"{name}#{number}",
            format.kind,
            body.header,
            items,
            body.end,
            hints=body.hints,
        )
        yield source
        for _ in source.chunks:  # unread chunks stand before the next body
            pass
    demand_some(number, format)


def together(
    format: Format, text: Iterator[bytes], name: str, decompression: Decompression
) -> Iterator[Source]:
    """Yield the streams of a file that is read as a whole."""
    bodies = list(format.bodies(text))
    for number, body in enumerate(bodies, 1):
        yield Source(
            name if len(bodies) == 1 else f"{name}#{number}",
            format.kind,
            body.header,
            items_of(body, decompression),
            body.end,
            hints=body.hints,
        )
    demand_some(len(bodies), format)


def items_of(body: Body, decompression: Decompression) -> Iterable[Chunk | CaptureEnd]:
    """Return the chunks of a body, decompressed."""
    if body.may_be_compressed:
        return decompression.chunks(body.chunks, body.end)
    return body.chunks


def demand_some(number: int, format: Format) -> None:
    """Raise a SourceError if a file contains no stream."""
    if not number:
        raise SourceError(f"the file ({format.kind}) contains no recorded stream")


def bounded(pieces: Iterator[bytes], most: int, kind: str) -> Iterator[bytes]:
    """Yield the pieces. Raises a SourceError if they have more than `most` bytes."""
    size = 0
    for piece in pieces:
        size += len(piece)
        if size > most:
            raise SourceError(
                f"the file ({kind}) is larger than {most:,} bytes (the limit file_bytes), and its"
                " format cannot be read in pieces"
            )
        yield piece
