"""The heads of HTTP responses, and the responses in a dump: heads and bytes in, bodies out."""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import attrs

from sansio_stream.capture import CaptureEnd, Chunk

from ._answers import Answer, body_in
from ._chunked import ChunkedBody, begins_chunked
from ._source import Body, SourceError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["Head", "HeadParser", "Part", "bodies_of"]

STATUS_LINE: Final = re.compile(rb"HTTP/\d(?:\.\d)? (\d{3})(?: [^\r\n]*)?\r?\n?\Z")
HEAD_START: Final = re.compile(rb"(?<=\n)HTTP/\d(?:\.\d)? \d{3}(?: [^\r\n]*)?\r?\n")

MOST_HEAD_BYTES: Final = 2**18
"""The largest head, in bytes. Clients and servers accept less."""

MOST_STATUS_LINE: Final = 256
"""The longest status line, in bytes. A longer line belongs to a body."""


@attrs.frozen
class Head:
    """The head of a response.

    Attributes:
        status: the HTTP status.
        headers: the headers, under lower-case names. Of several values the last one is kept.
        request: the body of the request, or None if it is unknown.
    """

    status: int
    headers: dict[str, str]
    request: dict[str, Any] | None = None


Part: TypeAlias = Head | Chunk | CaptureEnd
"""What a dump consists of: heads, the chunks after each, and maybe the error that ended it."""


class HeadParser:
    """Separates the heads of responses from their bodies. Bytes in, parts out.

    A head begins with a status line, at the start of the input or of any line. An event stream has
    no line that looks like a status line.

    Args:
        in_head: whether the input begins with a head. Otherwise it begins with a body.
    """

    def __init__(self, *, in_head: bool = True) -> None:
        self._in_head = in_head
        # The last byte of the body so far. A body begins at the start of a line.
        self._last = b"\n"
        self._held = b""
        self._at: float | None = None
        self._head: list[bytes] = []
        self._head_bytes = 0

    def feed(self, data: bytes, at: float | None = None) -> Iterator[Part]:
        """Yield the parts that these bytes complete.

        Args:
            data: the bytes.
            at: the time at which they arrived, if it is known.

        Raises:
            SourceError: if a head is too large.
        """
        data, self._held = self._held + data, b""
        self._at = at
        start = 0
        while start < len(data):
            if self._in_head:
                end = data.find(b"\n", start) + 1
                if not end:
                    self._hold(data[start:])
                    return
                yield from self._head_line(data[start:end])
                start = end
                continue
            # `HEAD_START` needs the byte before the data, to see whether a line begins here.
            text = self._last + data[start:]
            found = HEAD_START.search(text)
            if found is not None:
                self._in_head = True
                size = found.start() - 1
            else:
                size = len(text) - 1 - held_back(text)
                self._held = data[start + size :]
            if size:
                self._last = data[start + size - 1 : start + size]
                yield Chunk(at, data[start : start + size])
            start += size
            if not self._in_head:
                return

    def begin_head(self) -> Iterator[Part]:
        """Yield what is held back of a body. The next bytes are those of a head."""
        if not self._in_head:
            yield from self.end()
            self._in_head = True

    def end(self) -> Iterator[Part]:
        """Yield what is held back. The input ends here."""
        held, self._held = self._held, b""
        if self._in_head:
            yield from self._head_line(held)
            if self._head:
                yield self._finished()
        elif held:
            yield Chunk(self._at, held)

    def _hold(self, held: bytes) -> None:
        self._held = held
        self._check(self._head_bytes + len(held))

    def _head_line(self, line: bytes) -> Iterator[Head]:
        if line.strip():
            self._head.append(line)
            self._head_bytes += len(line)
            self._check(self._head_bytes)
        elif self._head and line:
            yield self._finished()

    def _check(self, size: int) -> None:
        if size > MOST_HEAD_BYTES:
            raise SourceError(f"the head of a response is larger than {MOST_HEAD_BYTES:,} bytes")

    def _finished(self) -> Head:
        lines, self._head, self._head_bytes = self._head, [], 0
        self._in_head = False
        self._last = b"\n"
        return head_of(lines)


def held_back(text: bytes) -> int:
    """Return how many bytes at the end of a text may be the start of a status line."""
    line = text[text.rfind(b"\n") + 1 :]
    is_begin = b"\n" in text and len(line) < MOST_STATUS_LINE
    return len(line) if is_begin and b"HTTP/".startswith(line[:5]) else 0


def head_of(lines: Iterable[bytes]) -> Head:
    """Return the head with these lines. Lines before the last status line are ignored.

    Lines that are not headers are ignored, because a terminal may have cut them.

    Raises:
        SourceError: if there is no status line.
    """
    status: int | None = None
    headers: dict[str, str] = {}
    for line in lines:
        if found := STATUS_LINE.match(line):
            status, headers = int(found[1]), {}
            continue
        name, colon, value = line.decode(errors="replace").partition(":")
        if colon and name and not name[0].isspace():
            headers[name.lower()] = value.strip()
    if status is None:
        raise SourceError("the head of a response has no status line")
    return Head(status, headers)


# Responses.


class Parts:
    """Iterates over parts. The last part that was taken can be put back.

    Args:
        parts: the parts.
    """

    def __init__(self, parts: Iterator[Part]) -> None:
        self._parts = parts
        self._returned: list[Part] = []

    def take(self) -> Part | None:
        """Return the next part, or None after the last one."""
        return self._returned.pop() if self._returned else next(self._parts, None)

    def put_back(self, part: Part) -> None:
        """Put a part back. `take` returns it next."""
        self._returned.append(part)


def bodies_of(parts: Iterator[Part]) -> Iterator[Body]:
    """Yield the body of each response in a dump.

    If several heads follow one another without a body, only the last one counts. The others are
    those of `100 Continue`, of redirects, and of a proxy's `200 Connection established`.
    """
    source = Parts(parts)
    while (head := last_head(source)) is not None:
        yield response_body(head, source)


def last_head(source: Parts) -> Answer | None:
    """Return the head of the next response, or None after the last response."""
    found: Head | None = None
    while (part := source.take()) is not None:
        if isinstance(part, Head):
            found = part
        elif isinstance(part, CaptureEnd) or part.data:
            source.put_back(part)
            break
    if found is not None:
        return Answer(status=found.status, headers=found.headers, request=found.request, chunks=())
    # `part` belongs to a body without a head, or is the error that prevented a response.
    return None if part is None else Answer(status=None, headers={}, request=None, chunks=())


def response_body(answer: Answer, source: Parts) -> Body:
    """Return the body of a response. Its chunks are read from `source`."""
    items = without_chunked_coding(answer, body_items(source))
    answer = attrs.evolve(answer, chunks=checked_length(answer, items))
    return body_in(answer)


def body_items(source: Parts) -> Iterator[Chunk | CaptureEnd]:
    """Yield the chunks up to the next head, and the end."""
    at: float | None = None
    while (part := source.take()) is not None:
        if isinstance(part, Head):
            source.put_back(part)
            break
        at = part.at if part.at is not None else at
        yield part
        if isinstance(part, CaptureEnd):
            return
    yield CaptureEnd(at, None)


def checked_length(
    answer: Answer, items: Iterator[Chunk | CaptureEnd]
) -> Iterator[Chunk | CaptureEnd]:
    """Yield the items. A body that is shorter than its content-length ends in an error.

    The length is that of the encoded body, so it is not compared if the body was encoded.
    """
    length = answer.headers.get("content-length", "")
    is_known = re.fullmatch(r"[0-9]{1,15}", length) and "content-encoding" not in answer.headers
    size = 0
    for item in items:
        if isinstance(item, Chunk):
            size += len(item.data)
        elif is_known and item.error is None and size < int(length):
            yield CaptureEnd(
                item.at, f"the body has {size:,} bytes, but its content-length is {int(length):,}"
            )
            return
        yield item


def without_chunked_coding(
    answer: Answer, items: Iterator[Chunk | CaptureEnd]
) -> Iterator[Chunk | CaptureEnd]:
    """Yield the items without the chunked coding of HTTP/1.1, if they have it.

    The first bytes tell whether they have it. The headers do not tell: curl removes the coding, but
    keeps the header that announces it.
    """
    read: list[Chunk | CaptureEnd] = []
    head = b""
    is_chunked: bool | None = None
    for item in items:
        read.append(item)
        head += item.data if isinstance(item, Chunk) else b""
        is_chunked = begins_chunked(head)
        if is_chunked is not None or isinstance(item, CaptureEnd):
            break
    everything = itertools.chain(read, items)
    announced = "chunked" in answer.headers.get("transfer-encoding", "").lower()
    if not is_chunked or not (announced or answer.status is None):
        yield from everything
        return
    coding = ChunkedBody()
    for item in everything:
        if isinstance(item, Chunk):
            for data in coding.feed(item.data):
                yield Chunk(item.at, data)
        elif item.error is None and coding.error is not None:
            yield CaptureEnd(item.at, coding.error)
        else:
            yield item
