"""What a capture contains, and the error of a damaged one."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

import attrs

from ..errors import printable
from ..frozen import HashableValue
from .header import CaptureHeader

__all__ = ["Capture", "CaptureEnd", "CaptureError", "Chunk"]

# The maximum of a time, in seconds: about thirty years. Up to it, a float distinguishes one
# microsecond from the next.
MAX_SECONDS: Final = 1e9

CaptureKind: TypeAlias = Literal["capture", "body", "payloads"]
"""The kinds of files; see `Capture`."""


class CaptureError(ValueError):
    """The capture is damaged, or its format version is newer than this reader supports.

    Attributes:
        line: the number of the line with the fault. The first line is 1.
        reason: what is wrong with the line.
    """

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(line, reason)
        self.line = line
        self.reason = reason

    def __str__(self) -> str:
        return f"line {self.line}: {printable(self.reason)}"


@attrs.frozen(eq=False, repr=False)
class Chunk(HashableValue):
    """The bytes of one read.

    Attributes:
        at: seconds since the request was sent; None if the file has no times.
        data: the bytes.
    """

    at: float | None
    data: bytes


@attrs.frozen(eq=False, repr=False)
class CaptureEnd(HashableValue):
    """How the body ended.

    Attributes:
        at: seconds since the request was sent; None if the file has no times.
        error: the text of the error that ended the body; None if the body ended cleanly.
    """

    at: float | None
    error: str | None


@attrs.frozen(eq=False, repr=False)
class Capture(HashableValue):
    """The contents of a file.

    Attributes:
        header: the header; empty unless `source` is "capture".
        chunks: the chunks, in order. Only those of a capture have times.
        end: how the body ended; None if the recording was cut off, for instance by a crash.
        source: the kind of file. "capture": a capture. "body": the plain body of a response, as one
            chunk. "payloads": one JSON payload per line, each as one chunk.
    """

    header: CaptureHeader
    chunks: tuple[Chunk, ...]
    end: CaptureEnd | None
    source: CaptureKind = "capture"

    @property
    def body(self) -> bytes:
        """The bytes of all chunks, joined."""
        return b"".join(chunk.data for chunk in self.chunks)


def seconds_from(at: object) -> float:
    """Return a time, rounded to the microsecond. Raises ValueError if it is not from 0 to 1e9."""
    if isinstance(at, int | float) and not isinstance(at, bool) and 0 <= at <= MAX_SECONDS:
        return round(float(at), 6)
    raise ValueError("the time is not a number of seconds from 0 to 1e9")
