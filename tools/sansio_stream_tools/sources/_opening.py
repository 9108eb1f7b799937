"""Opens a file and returns the streams that it contains."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sansio_stream.capture import CaptureError, parse_capture

from ._source import Source, SourceError, SourceLimits

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["open_sources", "sources_of"]


def open_sources(name: str, limits: SourceLimits | None = None) -> Iterator[Source]:
    """Yield the streams in a file, in their order. `-` is standard input.

    Raises:
        OSError: if the file cannot be read.
        SourceError: if its content is not a recorded stream, or exceeds a limit.
    """
    data = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    yield from sources_of(data, name, limits)


def sources_of(data: bytes, name: str, limits: SourceLimits | None = None) -> Iterator[Source]:
    """Yield the streams in the bytes of a file."""
    del limits
    try:
        capture = parse_capture(data)
    except CaptureError as error:
        raise SourceError(str(error)) from error
    yield Source(name, capture.source, capture.header, iter(capture.chunks), capture.end)
