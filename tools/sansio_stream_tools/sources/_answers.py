"""A recorded answer in, its stream out. HAR files, cassettes and HTTP dumps consist of answers.

A message or an error of the API that was not streamed becomes a stream, too.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

import attrs

from sansio_stream.capture import CaptureEnd, CaptureHeader, Chunk
from sansio_stream.encode import encode_event, events_from_message
from sansio_stream.payloads import message_from_dict
from sansio_stream.sse import is_event_stream

from ._decompression import decompressed
from ._json import encoded, frame_of, is_list, is_object, json_text, members, parse_json
from ._source import Body, SourceError, SourceLimits

__all__ = [
    "ERROR_HINT",
    "MESSAGE_HINT",
    "Answer",
    "body_in",
    "error_chunk",
    "header_pairs",
    "is_error",
    "is_message",
    "message_chunks",
    "nothing_found",
    "request_of",
    "stream_in",
]

MESSAGE_HINT: Final = (
    "this is a whole message, not a stream: it is shown as a stream that has the same content"
)
ERROR_HINT: Final = "this is the answer to a request that failed, not a stream"

MOST_JSON_BYTES: Final = 2**26
"""The largest JSON answer that is read, in bytes. No message is nearly as large."""

JSON_LIMITS: Final = SourceLimits(decoded_bytes=MOST_JSON_BYTES)

# A line that a stream of server-sent events may begin with.
STREAM_START: Final = re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:event|data|id|retry)?:")

# A JSON object begins with one of these bytes: a brace, or white space before it.
JSON_BEGIN: Final = (b"{", b" ", b"\t", b"\r", b"\n")

AMAZON_STREAM: Final = "application/vnd.amazon.eventstream"


@attrs.frozen(kw_only=True)
class Answer:
    """The answer to one recorded request.

    Attributes:
        status: the HTTP status, or None if it is unknown.
        headers: the headers, under lower-case names.
        request: the body of the request, or None if it is unknown.
        chunks: the chunks of the body, maybe still compressed. The last item may be its end.
    """

    status: int | None
    headers: dict[str, str]
    request: dict[str, Any] | None
    chunks: Iterable[Chunk | CaptureEnd]

    @property
    def header(self) -> CaptureHeader:
        """The facts that are known before the body."""
        return CaptureHeader(status=self.status, headers=self.headers, request=self.request)

    @property
    def is_stream(self) -> bool:
        """Whether the headers say that the body is a stream of events."""
        return is_event_stream(self.headers.get("content-type"))


def stream_in(answer: Answer) -> Body | None:
    """Return the body of an answer: a stream, or a message or an error that is shown as one.

    The result is None if the body is none of these. The function reads only the beginning of the
    chunks, or all of them if they are JSON.
    """
    body, is_known = recognised(answer)
    return body if is_known else None


def body_in(answer: Answer) -> Body:
    """Return the body of an answer as `stream_in` does, and any other body as it is."""
    return recognised(answer)[0]


def recognised(answer: Answer) -> tuple[Body, bool]:
    """Return the body of an answer, and whether it is a stream, a message or an error."""
    first, chunks = peeked(iter(answer.chunks))
    found = Body(answer.header, chunks, may_be_compressed=True)
    if not first or (answer.is_stream and not first.startswith(b"{")):
        return found, answer.is_stream
    if STREAM_START.match(first):
        return found, True
    items, text = decoded(chunks)
    found = attrs.evolve(found, chunks=items)
    if STREAM_START.match(text):
        return found, True
    value = parsed_or_none(text)
    is_refusal = is_error(value) and answer.status is not None and answer.status >= 400
    if is_refusal or not (is_message(value) or is_error(value)):
        hints = (ERROR_HINT,) if is_refusal else ()
        return attrs.evolve(found, hints=hints), is_refusal or answer.is_stream
    try:
        frames = message_chunks(value) if is_message(value) else (error_chunk(value),)
    except SourceError:
        return found, True  # JSON cannot represent a value
    ends = (item for item in items if isinstance(item, CaptureEnd))
    hint = MESSAGE_HINT if is_message(value) else ERROR_HINT
    return Body(stream_header(answer), (*frames, *ends), hints=(hint,)), True


def stream_header(answer: Answer) -> CaptureHeader:
    """Return the header of an answer with the content type of a stream, which replaces its body."""
    return attrs.evolve(
        answer.header, headers={**answer.headers, "content-type": "text/event-stream"}
    )


def nothing_found(file: str, items: str, types: list[str]) -> str:
    """Return the sentence that explains why a file contains no stream.

    Args:
        file: the file, for example "the HAR file".
        items: what it consists of, for example "entries".
        types: the content types of all its responses.
    """
    if not types:
        return f"{file} has no {items}"
    if any(AMAZON_STREAM in each for each in types):
        return (
            f"{file} has streams of Amazon Bedrock, which are binary and are not read;"
            f" none of its {items} is an event stream"
        )
    return f"none of the {items} of {file} ({len(types):,}) is an event stream"


# Whole messages and errors.


def is_message(value: object) -> bool:
    """Whether a JSON value is a message that was not streamed."""
    message = members(value)
    return message.get("type") == "message" and is_list(message.get("content"))


def is_error(value: object) -> bool:
    """Whether a JSON value is the body with which the API answers a request that failed."""
    error = members(value)
    return error.get("type") == "error" and is_object(error.get("error"))


def message_chunks(value: dict[str, Any]) -> tuple[Chunk, ...]:
    """Return a stream whose events build up a message, one chunk for each event.

    Raises:
        SourceError: if JSON cannot represent a value of the message.
    """
    try:
        events = [*events_from_message(message_from_dict(value), ())]
        return tuple(Chunk(None, encode_event(event)) for event in events)
    except (ValueError, RecursionError) as error:
        raise SourceError("the message has a value that JSON cannot represent") from error


def error_chunk(value: dict[str, Any]) -> Chunk:
    """Return the frame that an error has in a stream."""
    return Chunk(None, frame_of(json_text(value), "error"))


# The body of an answer.


def peeked(
    chunks: Iterator[Chunk | CaptureEnd],
) -> tuple[bytes, Iterator[Chunk | CaptureEnd]]:
    """Return the first bytes that are not white space, or b"", and all chunks again."""
    read: list[Chunk | CaptureEnd] = []
    for item in chunks:
        read.append(item)
        if isinstance(item, Chunk) and (first := item.data.lstrip()):
            return first, itertools.chain(read, chunks)
    return b"", iter(read)


def decoded(
    chunks: Iterator[Chunk | CaptureEnd],
) -> tuple[Iterable[Chunk | CaptureEnd], bytes]:
    """Return the chunks again, and their decompressed text. Other text than JSON is cut early.

    The text is b"" if the compressed data is damaged, or if JSON has more than 64 MiB.
    """
    read: list[Chunk | CaptureEnd] = []

    def data() -> Iterator[bytes]:
        for item in chunks:
            read.append(item)
            if isinstance(item, Chunk):
                yield item.data

    text = bytearray()
    try:
        for piece in decompressed(data(), None, JSON_LIMITS):
            text += piece
            if not text.startswith(JSON_BEGIN) or len(text) > MOST_JSON_BYTES:
                break
        else:
            read.extend(chunks)
            return read, bytes(text)
    except SourceError:
        # The data is damaged, or JSON has more than 64 MiB. Damaged data raises the error again
        # when the chunks are decompressed.
        text.clear()
    begin = b"" if len(text) > MOST_JSON_BYTES else bytes(text)
    return itertools.chain(read, chunks), begin


def parsed_or_none(text: bytes) -> Any:
    try:
        return parse_json(text, "the body") if text else None
    except SourceError:
        return None


# The other parts of an answer, in whatever types the recorders write them.


def request_of(body: object) -> dict[str, Any] | None:
    """Return the parameters of a request from its body: JSON text, or a value that was JSON."""
    if isinstance(body, str):
        body = encoded(body)
    if isinstance(body, bytes):
        body = parsed_or_none(body)
    return body if is_object(body) else None


def header_pairs(headers: object) -> dict[str, str]:
    """Return headers under lower-case names.

    They may be an object whose values are texts or lists of texts, or a list of objects with the
    members `name` and `value`. Of several values of a name, the last one is kept.
    """
    pairs: Iterable[tuple[object, object]] = ()
    if is_object(headers):
        pairs = headers.items()
    elif is_list(headers):
        pairs = ((members(each).get("name"), members(each).get("value")) for each in headers)
    found: dict[str, str] = {}
    for name, values in pairs:
        value = values[-1] if is_list(values) and values else values
        if isinstance(name, str) and isinstance(value, str):
            found[name.lower()] = value
    return found
