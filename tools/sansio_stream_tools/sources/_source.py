"""One stream of a file, and the error of a file that cannot be read."""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from sansio_stream.capture import CaptureEnd, CaptureHeader, Chunk

__all__ = ["Source", "SourceError", "SourceLimits"]


class SourceError(ValueError):
    """A file cannot be read as a recorded stream. The message is one sentence for its user."""


@attrs.frozen(kw_only=True)
class SourceLimits:
    """The bounds on what is read from one file.

    Attributes:
        decoded_bytes: the maximum number of bytes after decompression, of all streams together.
        file_bytes: the maximum size of a file whose format cannot be read in pieces.
    """

    decoded_bytes: int = 2**30
    file_bytes: int = 2**28


@attrs.define
class Source:
    """One recorded stream.

    Attributes:
        name: the name of the file, with `#` and a number if the file contains several streams.
        kind: the name of the format, for people: "capture", "HAR", ...
        header: the status, the headers and the request, as far as they are known.
        chunks: the chunks of the body. They can be read once, before the next source is taken.
        end: how the body ended, or None if the recording was cut off. It is known once `chunks`
            has been read to its end.
        hints: sentences about the format that help its user, for example that lines were indented.
    """

    name: str
    kind: str
    header: CaptureHeader
    chunks: Iterator[Chunk]
    end: CaptureEnd | None = None
    hints: tuple[str, ...] = ()
