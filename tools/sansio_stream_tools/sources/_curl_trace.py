"""The dumps of `curl --trace` and `curl --trace-ascii`: each read of the socket and its time."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final

import attrs

from sansio_stream.capture import CaptureEnd, Chunk

from ._answers import request_of
from ._curl import Clock
from ._heads import Head, HeadParser, Part, bodies_of
from ._lines import lines_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ._source import Body

__all__ = ["TraceASCIIFormat", "TraceFormat"]

# A record begins with such a line. If the body goes to the same terminal, a part of the body may
# precede the line. `--trace-time` writes the time, and `--trace-ids` the numbers in brackets.
RECORD: Final = re.compile(
    rb"(?:(?P<time>\d\d:\d\d:\d\d\.\d{6}) )?(?:\[[\w-]+\] )?"
    rb"(?:(?:=>|<=) (?P<verb>Send|Recv) (?P<what>header|data|SSL data),"
    rb" (?P<size>\d{1,12}) bytes \(0x[0-9a-f]+\)|== Info: (?P<info>.*))\r?\n?\Z"
)
FIRST_RECORD: Final = re.compile(
    rb"^(?:\d\d:\d\d:\d\d\.\d{6} )?(?:\[[\w-]+\] )?"
    rb"(?:=> Send|<= Recv) (?:header|data|SSL data), \d+ bytes \(0x[0-9a-f]+\)\r?\n"
    rb"0000: (?P<row>[^\n]*)",
    re.MULTILINE,
)
ROW: Final = re.compile(rb"(?P<offset>[0-9a-f]{4,12}): (?P<text>[^\r\n]*)\r?\n?\Z")
HEX_ROW: Final = re.compile(rb"(?:[0-9a-f]{2} ){1,16}")
IN_HEX: Final = re.compile(rb"(?:[0-9a-f]{2} ){1,16}(?: |\S|\Z)")
# curl writes this before it gives up: "transfer closed ...", "Recv failure: ...".
FAILURE: Final = re.compile(
    rb"transfer closed with|Recv failure:|OpenSSL SSL_read:|.* was not closed cleanly"
    rb"|Operation timed out|end of response with"
)

DOTS_HINT: Final = (
    "--trace-ascii writes a dot for each byte that is not printable ASCII: the line ends are"
    " restored, other such characters stay dots; `curl --trace` keeps them"
)


@attrs.frozen
class Record:
    """One record of a dump.

    Attributes:
        is_received: whether the bytes came from the server.
        what: "header" or "data". "info" is a note of curl, and the bytes are its text.
        at: the time in seconds, from any origin; None if the dump has no times.
        data: the bytes.
    """

    is_received: bool
    what: str
    at: float | None
    data: bytes


@attrs.frozen
class TraceFormat:
    """What `curl --trace FILE` writes: all bytes in hexadecimal."""

    kind: str = "curl --trace"
    in_pieces: bool = True

    def matches(self, head: bytes) -> bool:
        """Whether a file that begins with these bytes has this format."""
        row = FIRST_RECORD.search(head)
        return row is not None and IN_HEX.match(row["row"]) is not None

    def bodies(self, pieces: Iterator[bytes]) -> Iterator[Body]:
        """Yield the body of each response."""
        return bodies_of(parts_of(records(lines_of(pieces), is_hex=True)))


@attrs.frozen
class TraceASCIIFormat:
    """What `curl --trace-ascii FILE` writes: text, with dots for all other bytes."""

    kind: str = "curl --trace-ascii"
    in_pieces: bool = False

    def matches(self, head: bytes) -> bool:
        """Whether a file that begins with these bytes has this format."""
        row = FIRST_RECORD.search(head)
        return row is not None and IN_HEX.match(row["row"]) is None

    def bodies(self, pieces: Iterator[bytes]) -> Iterator[Body]:
        """Yield the body of each response."""
        parts = parts_of(records(lines_of(pieces), is_hex=False))
        for body in bodies_of(parts):
            yield attrs.evolve(
                body,
                chunks=restored([*body.chunks]),
                hints=(DOTS_HINT, *body.hints),
                may_be_compressed=False,
            )


def records(lines: Iterator[bytes], *, is_hex: bool) -> Iterator[Record]:
    """Yield the records of a dump. Lines that belong to no record are ignored."""
    clock = Clock()
    current: RecordReader | None = None
    for line in lines:
        begin = RECORD.search(line)
        if begin is None:
            if current is not None:
                current.take(line)
                if current.is_complete:
                    yield current.record
                    current = None
            continue
        if current is not None:
            yield current.record
            current = None
        at = clock.seconds(begin["time"])
        if begin["info"] is not None:
            yield Record(False, "info", at, begin["info"].strip())
        elif begin["what"] != b"SSL data":
            record = Record(begin["verb"] == b"Recv", begin["what"].decode(), at, b"")
            current = RecordReader(record, int(begin["size"]), is_hex=is_hex)
    if current is not None:
        yield current.record


class RecordReader:
    """Reads the rows of one record.

    Args:
        record: the record, still without bytes.
        size: its size in bytes.
        is_hex: whether the rows have hexadecimal numbers. Otherwise they have text.
    """

    def __init__(self, record: Record, size: int, *, is_hex: bool) -> None:
        self._record = record
        self._size = size
        self._is_hex = is_hex
        self._data = bytearray()

    @property
    def is_complete(self) -> bool:
        """Whether no rows are missing."""
        return len(self._data) >= self._size

    @property
    def record(self) -> Record:
        """The record with its bytes. Read it only after the last row."""
        # A row of text ends before a CR LF and does not show it. No next row may follow to show
        # that two bytes are missing.
        is_line_end = not self._is_hex and self._size - len(self._data) == 2
        return attrs.evolve(self._record, data=bytes(self._data) + b"\r\n" * is_line_end)

    def take(self, line: bytes) -> None:
        """Take a line. It is a row of the record if its offset is the number of bytes so far."""
        row = ROW.match(line)
        if row is None:
            return
        skipped = int(row["offset"], 16) - len(self._data)
        if skipped == 2 and not self._is_hex:
            self._data += b"\r\n"
        elif skipped:
            return
        left = self._size - len(self._data)
        if not self._is_hex:
            self._data += row["text"][:left]
        elif pairs := HEX_ROW.match(row["text"]):
            self._data += bytes.fromhex(pairs[0][: 3 * left].decode())


def parts_of(records: Iterable[Record]) -> Iterator[Part]:
    """Yield the heads and chunks, with times since the header of the request was sent."""
    parser = HeadParser()
    sent_at: float | None = None
    request = b""
    has_response = False
    for record in records:
        at = None if record.at is None or sent_at is None else round(record.at - sent_at, 6)
        match record:
            case Record(False, "header"):
                sent_at = record.at
                request = b""
                has_response = False
            case Record(False, "data"):
                request += record.data
            case Record(True, "header"):
                has_response = True
                if record.data.startswith(b"HTTP/"):
                    parser = HeadParser()
                for part in parser.feed(record.data):
                    if isinstance(part, Head):  # otherwise it is a trailer
                        yield attrs.evolve(part, request=request_of(request))
            case Record(True, "data"):
                yield Chunk(at, record.data)
            case Record(False, "info") if has_response and FAILURE.match(record.data):
                yield CaptureEnd(at, record.data.decode(errors="replace"))
                has_response = False
            case _:
                pass


# The line ends of --trace-ascii.

FIELD: Final = re.compile(r"(?:event|data|id|retry)?:")
# Not `[DONE]`, with which other APIs end a stream.
VALUE: Final = re.compile(r"data: ?(?=\{ *[\"}]|\[ *[\"{\[\]\d\-tfn])")
LINE_END: Final = re.compile(r"[\r\n]|\.(?=\.|(?:event|data|id|retry):|\Z)")
FRAME_END: Final = re.compile(r"[\r\n]|\.\.(?=(?:event|data): )")
DECODER: Final = json.JSONDecoder()


def restored(items: list[Chunk | CaptureEnd]) -> Iterator[Chunk | CaptureEnd]:
    """Yield the chunks of a stream, with LF where a dot stands for one."""
    text = b"".join(item.data for item in items if isinstance(item, Chunk)).decode("latin-1")
    data = with_line_ends(text).encode("latin-1")
    at = 0
    for item in items:
        if isinstance(item, Chunk):
            yield Chunk(item.at, data[at : at + len(item.data)])
            at += len(item.data)
        else:
            yield item


def with_line_ends(text: str) -> str:
    """Return a stream with LF instead of each dot that stands for one. The length stays the same.

    Dots after a JSON value and dots before the name of a field are line ends. Dots inside JSON stay
    as they are.
    """
    if FIELD.match(text) is None:
        return text
    pieces: list[str] = []
    at = 0
    while at < len(text):
        end = line_end(text, at)
        pieces.append(text[at:end])
        while text.startswith(".", end):
            pieces.append("\n")
            end += 1
        # The offsets of the rows have shown where a carriage return and a line feed are.
        while text.startswith(("\r", "\n"), end):
            pieces.append(text[end])
            end += 1
        at = end
    return "".join(pieces)


def line_end(text: str, at: int) -> int:
    """Return the index at which a line ends."""
    value = VALUE.match(text, at)
    if value is None:
        found = LINE_END.search(text, at + 1)
        return found.start() if found else len(text)
    try:
        return DECODER.raw_decode(text, value.end())[1]
    except (ValueError, RecursionError):
        # The value is cut or damaged. `FRAME_END` matches at the next frame, and JSON rarely
        # contains such a text.
        found = FRAME_END.search(text, at + 1)
        return found.start() if found else len(text)
