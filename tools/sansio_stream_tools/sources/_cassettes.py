"""Cassettes: the recordings of VCR, pytest-recording and related libraries, in YAML and in JSON."""

from __future__ import annotations

import binascii
import re
from typing import TYPE_CHECKING, Any, Final

import attrs

from sansio_stream.capture import CaptureEnd, Chunk

from ._answers import Answer, header_pairs, nothing_found, request_of, stream_in
from ._json import encoded, is_list, members, parse_json
from ._source import Body, SourceError
from ._yaml import parse_yaml

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["CassetteFormat"]

# The beginning of a cassette up to its interactions. Lines or members with plain values may precede
# them.
YAML_START: Final = re.compile(
    rb"(?:(?:#[^\n]*|---[^\n]*|version:[^\n]*|recorded_with:[^\n]*|[ \t\r]*)\n)*+"
    rb"(?:http_)?interactions:"
)
JSON_START: Final = re.compile(
    rb"\s*+\{\s*+(?:\"\w+\"\s*+:\s*+(?:\"[^\"\\]*+\"|[\w.]++)\s*+,\s*+)*+"
    rb"\"(?:http_)?interactions\"\s*+:"
)
JSON_LIST_START: Final = re.compile(rb"\s*+\[\s*+\{\s*+\"(?:request|response)\"\s*+:\s*+\{")


@attrs.frozen
class CassetteFormat:
    """A cassette. Interactions that are no streams, messages or errors of the API are left out.

    The file has a list of interactions under the name `interactions` (vcrpy, go-vcr) or
    `http_interactions` (VCR for Ruby, betamax), or the whole file is such a list (ExVCR).

    Attributes:
        is_json: whether the file is JSON. Otherwise it is YAML.
    """

    is_json: bool
    kind: str = "VCR cassette"
    in_pieces: bool = False

    def matches(self, head: bytes) -> bool:
        """Whether a file that begins with these bytes has this format."""
        if self.is_json:
            return any(start.match(head) for start in (JSON_START, JSON_LIST_START))
        return YAML_START.match(head) is not None

    def bodies(self, pieces: Iterator[bytes]) -> Iterator[Body]:
        """Yield the streams in a file."""
        parse = parse_json if self.is_json else parse_yaml
        value = parse(b"".join(pieces), "the cassette")
        named = members(value)
        interactions = named.get("interactions", named.get("http_interactions", value))
        if not is_list(interactions):
            raise SourceError("the cassette has no list of interactions")
        count = 0
        for interaction in interactions:
            body = stream_in(answer_of(interaction))
            if body is not None:
                count += 1
                yield body
        if not count:
            types = [answer_of(each).headers.get("content-type", "") for each in interactions]
            raise SourceError(nothing_found("the cassette", "interactions", types))


def answer_of(interaction: object) -> Answer:
    """Return the answer of an interaction. A part with an unexpected type counts as missing."""
    response = members(members(interaction).get("response"))
    request = members(members(interaction).get("request"))
    # Old versions of vcrpy have `content` for clients on httpx.
    chunks: tuple[Chunk | CaptureEnd, ...]
    try:
        data = body_bytes(response.get("body")) or body_bytes(response.get("content"))
        chunks = (*([Chunk(None, data)] if data else ()), CaptureEnd(None, None))
    except ValueError:
        chunks = (CaptureEnd(None, "the cassette has the body in damaged base64"),)
    return Answer(
        status=status_of(response),
        headers=header_pairs(response.get("headers")),
        request=sent_request(request.get("body")),
        chunks=chunks,
    )


def sent_request(body: object) -> dict[str, Any] | None:
    """Return the parameters of a request, or None if they are not known."""
    try:
        return request_of(body_bytes(body))
    except ValueError:
        return None


def status_of(response: dict[str, Any]) -> int | None:
    """Return the HTTP status: `{code: 200}`, `code: 200`, `status_code: 200` or `200 OK`."""
    status = response.get("status")
    for value in (
        members(status).get("code"),
        response.get("code"),
        response.get("status_code"),
        status,
    ):
        # `parse_yaml` returns numbers as text.
        number = str(value) if isinstance(value, int) else value
        if isinstance(number, str) and (found := re.match(r"[1-5][0-9]{2}(?!\w)", number)):
            return int(found[0])
    return None


def body_bytes(body: object) -> bytes:
    """Return the bytes of a body.

    A body is text, or bytes (`!!binary`), or an object with one of them as `string`, or with base64
    as `base64_string`. Rails writes `encoding: "base64"` beside a `string`.

    Raises:
        ValueError: if its base64 is damaged.
    """
    match body:
        case bytes():
            return body
        case str():
            return encoded(body)
        case {"base64_string": str(text)} | {"string": str(text), "encoding": "base64"}:
            return binascii.a2b_base64(text)
        case {"string": bytes(data)} | {"base64_string": bytes(data)}:
            return data
        case {"string": str(text)}:
            return encoded(text)
        case _:
            return b""
