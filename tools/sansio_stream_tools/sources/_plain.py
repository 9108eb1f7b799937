"""The formats of this project: captures, plain bodies, and files with one JSON payload per line."""

from __future__ import annotations

import itertools
import json
import re
from typing import TYPE_CHECKING, Final

import attrs

from sansio_stream.capture import CaptureEnd, CaptureError, CaptureHeader, CaptureReader, Chunk
from sansio_stream.capture.reader import FIRST_BYTES

from ._lines import LINE_BYTES
from ._source import Body, SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["BODY", "CAPTURE", "EVENT_TYPES", "PAYLOADS", "first_line"]

# A line of an event stream (WHATWG HTML, 9.2.6). The first line that is not blank must match.
FIELD: Final = re.compile(rb"(?:event|data|id|retry)?:|(?:event|data|id|retry)$")

# The types of the payloads of a stream. `error` is also the type of a response without a stream.
EVENT_TYPES: Final = frozenset(
    {
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
        "ping",
        "error",
    }
)


@attrs.frozen
class CaptureFormat:
    """A capture, as `CaptureWriter` writes it."""

    kind: str = "capture"
    in_pieces: bool = True

    def matches(self, head: bytes) -> bool:
        """Whether the file begins with the header of a capture, which may be cut off."""
        return head.startswith(FIRST_BYTES) or FIRST_BYTES.startswith(head)

    def bodies(self, pieces: Iterator[bytes]) -> Iterator[Body]:
        """Yield the one stream in the file."""
        return body_of(pieces)


@attrs.frozen
class BodyFormat:
    """The plain body of a response, as `curl -N` prints it."""

    kind: str = "plain body"
    in_pieces: bool = True

    def matches(self, head: bytes) -> bool:
        """Whether the first line that is not blank is a line of an event stream."""
        return FIELD.match(first_line(head)) is not None

    def bodies(self, pieces: Iterator[bytes]) -> Iterator[Body]:
        """Yield the one stream in the file."""
        items: Iterator[Chunk | CaptureEnd] = (Chunk(None, piece) for piece in pieces)
        end = CaptureEnd(None, None)
        yield Body(CaptureHeader(), itertools.chain(items, [end]))


@attrs.frozen
class PayloadsFormat:
    """One JSON payload of an event per line."""

    kind: str = "payloads"
    in_pieces: bool = True

    def matches(self, head: bytes) -> bool:
        """Whether the first line that is not blank is the payload of a known event."""
        try:
            payload = json.loads(first_line(head).decode())
        except (ValueError, RecursionError):
            return False
        match payload:
            case {"type": str(type)}:
                return type in EVENT_TYPES
            case _:
                return False

    def bodies(self, pieces: Iterator[bytes]) -> Iterator[Body]:
        """Yield the one stream in the file."""
        return body_of(pieces)


CAPTURE: Final = CaptureFormat()
BODY: Final = BodyFormat()
PAYLOADS: Final = PayloadsFormat()


def first_line(head: bytes) -> bytes:
    """Return the first line that is not blank, without its line end."""
    start = len(head) - len(head.lstrip())
    line_begin = max(head.rfind(b"\n", 0, start), head.rfind(b"\r", 0, start)) + 1
    return re.split(rb"[\r\n]", head[line_begin:], maxsplit=1)[0]


def body_of(pieces: Iterator[bytes]) -> Iterator[Body]:
    """Yield the one stream in a file that `CaptureReader` reads."""
    reader = CaptureReader(max_line_bytes=LINE_BYTES)
    items = items_of(reader, pieces)
    first = next(items, None)  # after the first item, the reader knows the header
    chunks = items if first is None else itertools.chain([first], items)
    yield Body(reader.header or CaptureHeader(), chunks)


def items_of(reader: CaptureReader, pieces: Iterator[bytes]) -> Iterator[Chunk | CaptureEnd]:
    """Yield the chunks in a file, and its end if it has one."""
    try:
        for piece in pieces:
            yield from reader.feed(piece)
        yield from reader.close()
    except CaptureError as error:
        raise SourceError(str(error)) from error
    if reader.end is not None:
        yield reader.end
