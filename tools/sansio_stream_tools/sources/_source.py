"""One stream of a file, the interface of a format, and the error of a file that cannot be read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

import attrs

from sansio_stream.capture import CaptureEnd, CaptureHeader, Chunk

__all__ = ["HEAD_BYTES", "Body", "Format", "Source", "SourceError", "SourceLimits"]

HEAD_BYTES = 65_536
"""The format of a file is recognised by at most this many bytes from its beginning."""


class SourceError(ValueError):
    """A file cannot be read as a recorded stream. The message is one sentence for its user."""


@attrs.frozen(kw_only=True)
class SourceLimits:
    """The bounds on what is read from one file.

    Attributes:
        decoded_bytes: the maximum number of bytes that decompression produces, for all streams of
            the file together. A file that is not compressed may be larger.
        file_bytes: the maximum size, after decompression, of a file whose format cannot be read in
            pieces.
    """

    decoded_bytes: int = 2**30
    file_bytes: int = 2**28


@attrs.frozen
class Body:
    """One stream that a format has found in a file.

    Attributes:
        header: the status, the headers and the request, as far as they are known.
        chunks: the chunks of the body. A format that is read in pieces knows the end only after
            them, so it yields the end as the last item.
        end: how the body ended, if that is known before the chunks are read. It is ignored if
            `chunks` yields an end.
        hints: sentences for the user, for example that a prefix of each line was removed.
        may_be_compressed: whether the chunks may still have their content-encoding. They are then
            decompressed by their content, not by the header: a browser stores decoded text beside
            the header of the encoded one.
    """

    header: CaptureHeader
    chunks: Iterable[Chunk | CaptureEnd]
    end: CaptureEnd | None = None
    hints: tuple[str, ...] = ()
    may_be_compressed: bool = False


class Format(Protocol):
    """A format of files that contain streams. An object has no state, so it can read many files."""

    @property
    def kind(self) -> str:
        """The name of the format for users, for example "HAR"."""
        ...

    @property
    def in_pieces(self) -> bool:
        """Whether `bodies` reads the file piece by piece, and keeps nothing of what it has read.

        If it does not, the file may have at most `SourceLimits.file_bytes`.
        """
        ...

    def matches(self, head: bytes) -> bool:
        """Whether a file that begins with these bytes has this format.

        The head is UTF-8 without a byte order mark, and not compressed. It is the whole file, or
        its first `HEAD_BYTES`, or fewer bytes that end after a line: a live stream is recognised by
        the lines that have arrived. The method returns True only if the rest of the file cannot
        change its answer.
        """
        ...

    def bodies(self, pieces: Iterator[bytes]) -> Iterator[Body]:
        """Yield the streams in a file.

        The caller reads the chunks of a body to their end before it takes the next body. So the
        chunks may read from `pieces`.

        Args:
            pieces: the file from its first byte, cut anywhere. UTF-8 without a byte order mark, and
                not compressed.

        Raises:
            SourceError: if the file is damaged. Iterating over `pieces` or over the chunks of a
                body may raise it, too.
        """
        ...


@attrs.define(init=False, eq=False)
class Source:
    """One recorded stream.

    Attributes:
        name: the name of the file, with `#` and a number if the file contains several streams.
        kind: the name of the format, for people: "capture", "HAR", ...
        header: the status, the headers and the request, as far as they are known.
        chunks: the chunks of the body. They can be read once, before the next source is taken.
            Reading them raises OSError or SourceError if the file is damaged at this point.
        end: how the body ended, or None if the recording was cut off. It is known once `chunks`
            has been read to its end.
        hints: sentences about the format that help its user, for example that lines were indented.
    """

    name: str
    kind: str
    header: CaptureHeader
    chunks: Iterator[Chunk]
    end: CaptureEnd | None
    hints: tuple[str, ...]

    def __init__(  # noqa: PLR0917 - the attributes in their order
        self,
        name: str,
        kind: str,
        header: CaptureHeader,
        chunks: Iterable[Chunk | CaptureEnd],
        end: CaptureEnd | None = None,
        hints: tuple[str, ...] = (),
    ) -> None:
        """Take the chunks of a body. If the last item of `chunks` is an end, it becomes `end`."""
        self.name = name
        self.kind = kind
        self.header = header
        self.chunks = self._chunks_of(chunks)
        self.end = end
        self.hints = hints

    def _chunks_of(self, items: Iterable[Chunk | CaptureEnd]) -> Iterator[Chunk]:
        for item in items:
            if isinstance(item, CaptureEnd):
                self.end = item
            else:
                yield item
