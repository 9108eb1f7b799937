"""Opens a file and returns the streams that it contains."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, cast

from sansio_stream.capture import CaptureError, parse_capture

from ._source import Source, SourceError, SourceLimits

if TYPE_CHECKING:
    import io
    from collections.abc import Callable, Iterator

__all__ = ["open_sources"]


def open_sources(
    name: str,
    limits: SourceLimits | None = None,
    *,
    on_piece: Callable[[bytes], object] = lambda _: None,
) -> Iterator[Source]:
    """Yield the streams in a file, in their order. `-` is standard input.

    Args:
        name: the path of the file, or `-`.
        limits: the bounds on what is read.
        on_piece: is called with each piece of the file as it was read.

    Raises:
        OSError: if the file cannot be read.
        SourceError: if its content is not a recorded stream, or exceeds a limit.
    """
    del limits
    stdin = cast("io.BufferedReader", sys.stdin.buffer)
    data = stdin.read() if name == "-" else Path(name).read_bytes()
    on_piece(data)
    try:
        capture = parse_capture(data)
    except CaptureError as error:
        raise SourceError(str(error)) from error
    yield Source(name, capture.source, capture.header, iter(capture.chunks), capture.end)
