"""HAR files: the network logs of browsers and mitmproxy, and the recordings of Polly.js."""

from __future__ import annotations

import binascii
import datetime as dt
import re
from typing import TYPE_CHECKING, Any, Final

import attrs

from sansio_stream.capture import CaptureEnd, Chunk

from ._answers import Answer, header_pairs, request_of, stream_in
from ._json import encoded, frame_of, is_list, members, parse_json, seconds, status_of
from ._source import Body, SourceError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["HARFormat"]

LOG: Final = re.compile(rb"\s*\{\s*\"log\"\s*:\s*\{")

NO_BODY: Final = (
    "the file does not have the body of this response: browsers and proxies often leave out"
    " the body of a stream; `curl -N` keeps it"
)
BODY_ELSEWHERE: Final = "the body of this response is in another file, {}, which is not read"
AMAZON: Final = "application/vnd.amazon.eventstream"


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
            raise SourceError(none_found(entries))


def none_found(entries: list[Any]) -> str:
    """Return the sentence for a file without any stream."""
    if not entries:
        return "the HAR file has no entries"
    types = [content_type(response_of(entry)) for entry in entries]
    if any(AMAZON in each for each in types):
        return (
            "the HAR file has streams of Amazon Bedrock, which are binary and are not read;"
            " none of its entries is an event stream"
        )
    return f"none of the entries of the HAR file ({len(entries):,}) is an event stream"


def response_of(entry: object) -> dict[str, Any]:
    return members(members(entry).get("response"))


def content_type(response: dict[str, Any]) -> str:
    """Return the content type: that of the headers, or that of `content`, if only it has one."""
    named = header_pairs(response.get("headers")).get("content-type")
    own = members(response.get("content")).get("mimeType")
    return named or (own if isinstance(own, str) else "")


def body_of(entry: object) -> Body | None:
    """Return the stream of an entry, or None if it has none."""
    response = response_of(entry)
    content = members(response.get("content"))
    end = CaptureEnd(duration(members(entry).get("timings")), None)
    messages = members(entry).get("_eventSourceMessages")
    data = content_bytes(content)
    chunks: Iterable[Chunk | CaptureEnd] = (*([Chunk(None, data)] if data else ()), end)
    if not data and is_list(messages) and messages:
        chunks = event_source_chunks(messages, members(entry).get("startedDateTime"))
    answer = Answer(
        status=status_of(response.get("status")),
        headers={
            **header_pairs(response.get("headers")),
            "content-type": content_type(response),
        },
        request=request_of(
            members(members(members(entry).get("request")).get("postData")).get("text")
        ),
        chunks=chunks,
    )
    if not data and not messages and answer.is_stream:
        elsewhere = content.get("_file")
        hint = BODY_ELSEWHERE.format(elsewhere) if isinstance(elsewhere, str) else NO_BODY
        return Body(answer.header, (), hints=(hint,))
    return stream_in(answer)


def content_bytes(content: dict[str, Any]) -> bytes:
    """Return the bytes of a `content`; b"" if it has none.

    Raises:
        SourceError: if its base64 is damaged.
    """
    text = content.get("text")
    if not isinstance(text, str):
        return b""
    if content.get("encoding") == "base64" or content.get("_isBinary") is True:
        return binary(text)
    return encoded(text)


def binary(text: str) -> bytes:
    """Return the bytes of a base64 text.

    Polly.js writes a compressed body as the JSON text of a list, with one base64 text for each
    chunk. Its older versions write them in hexadecimal.
    """
    parts = [text]
    if text.startswith("["):
        value = parse_json(text, "the body of a response")
        parts = [each for each in value if isinstance(each, str)] if is_list(value) else []
    try:
        if text.startswith("[") and all(re.fullmatch(r"(?:[0-9a-f]{2})*", each) for each in parts):
            return b"".join(map(bytes.fromhex, parts))
        return b"".join(map(binascii.a2b_base64, parts))
    except ValueError as error:
        raise SourceError("the body of a response is not valid base64") from error


def duration(timings: object) -> float | None:
    """Return the seconds from the begin of the request to the end of the body, or None."""
    parts = [members(timings).get(name) for name in ("send", "wait", "receive")]
    numbers = [seconds(each) for each in parts]
    known = [each for each in numbers if each is not None]
    return sum(known) / 1000 if len(known) == len(numbers) else None


def event_source_chunks(messages: list[Any], started: object) -> Iterator[Chunk | CaptureEnd]:
    """Yield the events that Chrome writes beside an entry. `time` is seconds since 1970."""
    begin = since_1970(started)
    at: float | None = None
    for message in messages:
        match message:
            case {"data": str(data)}:
                name = message.get("eventName")
                time = seconds_or_more(message.get("time"))
                at = (
                    None
                    if begin is None or time is None
                    else seconds(round(max(time - begin, 0.0), 6))
                )
                yield Chunk(at, frame_of(data, None if name == "message" else name))
            case _:
                pass
    yield CaptureEnd(at, None)


def seconds_or_more(value: object) -> float | None:
    """Return a time since 1970 in seconds, which is more than a capture's times can be."""
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e11:
        return float(value)
    return None


def since_1970(text: object) -> float | None:
    """Return the seconds since 1970 of an ISO 8601 time, or None."""
    if not isinstance(text, str):
        return None
    try:
        time = dt.datetime.fromisoformat(text)
        # A time without a zone is local to the recorder, and its zone is unknown.
        return time.timestamp() if time.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None
