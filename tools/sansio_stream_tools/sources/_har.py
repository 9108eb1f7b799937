"""HAR files: the network logs of browsers and mitmproxy, and the recordings of Polly.js."""

from __future__ import annotations

import binascii
import re
from typing import TYPE_CHECKING, Any, Final

import attrs

from sansio_stream.capture import CaptureEnd, Chunk

from ._answers import Answer, header_pairs, nothing_found, request_of, stream_in
from ._json import elapsed, encoded, frame_of, is_list, members, parse_json, seconds, status_of
from ._source import Body, SourceError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["HARFormat"]

HEXADECIMAL: Final = re.compile(r"(?:[0-9a-f]{2})*+")
LOG: Final = re.compile(rb"\s*\{\s*\"log\"\s*:\s*\{")

NO_BODY: Final = (
    "the file does not have the body of this response: browsers and proxies often leave out"
    " the body of a stream; `curl -N` keeps it"
)
BODY_ELSEWHERE: Final = "the body of this response is in another file, {}, which is not read"
DAMAGED: Final = "the file does not have the body of this response: its base64 is damaged"


@attrs.frozen
class HARFormat:
    """A HAR file. Entries other than streams, messages and errors of the API are left out."""

    kind: str = "HAR"
    in_pieces: bool = False

    def matches(self, head: bytes) -> bool:
        """Whether a file that begins with these bytes has this format."""
        return LOG.match(head) is not None

    def bodies(self, pieces: Iterator[bytes]) -> Iterator[Body]:
        """Yield the streams in a file."""
        log = members(members(parse_json(b"".join(pieces), "the HAR file")).get("log"))
        entries = log.get("entries")
        if not is_list(entries):
            raise SourceError("the HAR file has no list of entries")
        count = 0
        for entry in entries:
            body = body_of(entry)
            if body is not None:
                count += 1
                yield body
        if not count:
            types = [content_type(response_of(entry)) for entry in entries]
            raise SourceError(nothing_found("the HAR file", "entries", types))


def response_of(entry: object) -> dict[str, Any]:
    return members(members(entry).get("response"))


def content_type(response: dict[str, Any]) -> str:
    """Return the content type in the headers. Without one, return that of `content`, or ""."""
    named = header_pairs(response.get("headers")).get("content-type")
    own = members(response.get("content")).get("mimeType")
    return named or (own if isinstance(own, str) else "")


def body_of(entry: object) -> Body | None:
    """Return the stream of an entry, or None if it has none."""
    response = response_of(entry)
    content = members(response.get("content"))
    messages = members(entry).get("_eventSourceMessages")
    headers = header_pairs(response.get("headers"))
    data, hint = content_bytes(content)
    chunks: Iterable[Chunk | CaptureEnd] = ()
    if data:
        end = CaptureEnd(duration(members(entry).get("timings")), None)
        chunks = (Chunk(None, data), end)
    elif is_list(messages) and messages:
        chunks = event_source_chunks(messages, members(entry).get("startedDateTime"))
    answer = Answer(
        status=status_of(response.get("status")),
        headers={**headers, "content-type": content_type(response)},
        request=request_of(
            members(members(members(entry).get("request")).get("postData")).get("text")
        ),
        chunks=chunks,
    )
    body = stream_in(answer)
    return body if body is None or chunks else attrs.evolve(body, hints=(hint,))


def content_bytes(content: dict[str, Any]) -> tuple[bytes, str]:
    """Return the bytes of a `content`, and the hint for the case that there are none."""
    text = content.get("text")
    if not isinstance(text, str) or not text:
        elsewhere = content.get("_file")
        return b"", BODY_ELSEWHERE.format(elsewhere) if isinstance(elsewhere, str) else NO_BODY
    if content.get("encoding") != "base64" and content.get("_isBinary") is not True:
        return encoded(text), NO_BODY
    try:
        return binary(text), NO_BODY
    except ValueError:
        return b"", DAMAGED


def binary(text: str) -> bytes:
    """Return the bytes of a base64 text.

    Polly.js writes a compressed body as the JSON text of a list, with one base64 text for each
    chunk. Older versions of Polly.js write the chunks in hexadecimal.

    Raises:
        ValueError: if the text is damaged.
    """
    if not text.startswith("["):
        return binascii.a2b_base64(text)
    value = parse_json(text, "the body")
    parts = [each for each in value if isinstance(each, str)] if is_list(value) else []
    if all(HEXADECIMAL.fullmatch(each) for each in parts):
        return b"".join(map(bytes.fromhex, parts))
    return b"".join(map(binascii.a2b_base64, parts))


def duration(timings: object) -> float | None:
    """Return the seconds from the start of the request to the end of the body, or None."""
    parts = [members(timings).get(name) for name in ("send", "wait", "receive")]
    numbers = [seconds(each) for each in parts]
    known = [each for each in numbers if each is not None]
    return sum(known) / 1000 if len(known) == len(numbers) else None


def event_source_chunks(messages: list[Any], started: object) -> Iterator[Chunk | CaptureEnd]:
    """Yield the events that Chrome adds to an entry. Their `time` is in seconds since 1970."""
    at: float | None = None
    for message in messages:
        match message:
            case {"data": str(data)}:
                name = message.get("eventName")
                at = elapsed(started, message.get("time"))
                yield Chunk(at, frame_of(data, None if name == "message" else name))
            case _:
                pass
    yield CaptureEnd(at, None)
