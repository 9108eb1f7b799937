"""Responses: status, headers and perhaps the body in; "read the stream" or an error out.

This module does not read the stream of a successful response. That is the task of a machine.
"""

import enum
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, overload

from ..codec import decode, is_object
from ..errors import (
    APIError,
    NotAnEventStreamError,
    Verdict,
    equivalent_status,
    excerpt,
    printable,
    status_error,
)
from ..events import ErrorEvent
from ..machine import StreamMachine
from ..partial_json import InvalidJSONError, loads
from ..payloads import kind_of
from .headers import Headers

__all__ = ["BODY_NEEDED", "BodyNeeded", "check_response"]


class BodyNeeded(enum.Enum):
    """The type of `BODY_NEEDED`."""

    BODY_NEEDED = "the body is needed: read it, and call again with it"


BODY_NEEDED: Final = BodyNeeded.BODY_NEEDED
"""The result of `check_response` if it needs the body to tell what went wrong."""


REFUSAL_BYTES: Final = 65_536
"""The number of bytes of a body that the clients and `Observer` keep for `check_response`. It is
enough, because an error is short.
"""


@overload
def check_response(
    status: int,
    headers: Mapping[str, str] | Iterable[tuple[str, str]],
    body: None = None,
) -> APIError | BodyNeeded | None: ...
@overload
def check_response(
    status: int,
    headers: Mapping[str, str] | Iterable[tuple[str, str]],
    body: bytes,
) -> APIError | None: ...
def check_response(
    status: int,
    headers: Mapping[str, str] | Iterable[tuple[str, str]],
    body: bytes | None = None,
) -> APIError | BodyNeeded | None:
    """Return None for a stream, the error to raise, or `BODY_NEEDED`. Never raises itself.

    None means: feed the body to a machine. A success without a content type also gives None, and so
    does one with `text/plain` or `application/octet-stream`, because some servers label their
    streams like that. The verdict of the machine then tells whether the body was a stream.

    `BODY_NEEDED` means: read the body, up to the size that you are willing to hold, and call again
    with it. A call with a body always gives a final result, even if the body is cut or broken:

    * If the status is not a success, the result is the `APIStatusError` of its class. The details
      are read from the body if it is JSON, or an event stream that contains an error.
    * If the status is a success, and the content type rules out an event stream (JSON, XML, HTML),
      the body decides. If it is an error in JSON, the result is the `APIStatusError` of the
      equivalent status. The error's `http_status` is the real one.
    * Any other body with such a content type gives a `NotAnEventStreamError`.

    A redirect is an error. Its body is not needed.

    Args:
        status: the HTTP status.
        headers: the headers, with names in any case.
        body: the body after content-decoding, or None if it has not been read.
    """
    head = Headers(headers)
    is_success = 200 <= status < 300
    content_type = head.get("content-type", "")
    if is_success and not rules_out_events(content_type):
        return None
    is_redirect = 300 <= status < 400 and "location" in head
    if body is None and not is_redirect:
        return BODY_NEEDED
    text = (body or b"").decode("utf-8-sig", "replace")
    payload = object_in(text)
    if payload is None and not is_success:
        payload = error_among_events(body or b"")
    if is_success and kind_of("", payload or {}) != "error":
        return NotAnEventStreamError(
            f"{Verdict.NOT_AN_EVENT_STREAM.value} but {printable(content_type, 100)}:"
            f" {undecoded(head, text) or repr(text[:80])}",
            raw=excerpt(text),
            verdict=Verdict.NOT_AN_EVENT_STREAM,
        )
    event = decode(ErrorEvent, payload or {})
    if is_redirect:
        # The query is left out, because it may contain a key.
        place = printable(head["location"].partition("?")[0], PLACE_CHARACTERS)
        message = f"HTTP {status} redirects to {place}, which was not followed"
    else:
        detail = undecoded(head, text) or excerpt(" ".join(text.split())) or "no body"
        message = event.message or f"HTTP {status}: {detail}"
    equivalent = equivalent_status(event.error_type, event.code or 500)
    return status_error(
        message,
        status_code=equivalent if is_success else status,
        http_status=status,
        type=event.error_type,
        request_id=head.get("request-id") or event.request_id,
        body=text if payload is None else payload,
        headers=head,
        verdict=Verdict.ERRORED,
    )


PLACE_CHARACTERS: Final = 500
"""The maximum length of a quoted URL. It leaves room for the rest of the message."""

OTHER_CONTENT: Final = r"[^/]+/(?:.*\+)?(?:json|xml)|text/html"


def rules_out_events(content_type: str) -> bool:
    """Whether no type in a `content-type` header can be that of an event stream.

    The header may be a comma-separated list, because some proxies append a type of their own.
    """
    names = [entry.partition(";")[0].strip().lower() for entry in content_type.split(",")]
    return all(re.fullmatch(OTHER_CONTENT, name) for name in names)


def undecoded(head: Headers, text: str) -> str:
    """Return a description of a body that is still content-encoded, or "".

    The description replaces an excerpt, because encoded bytes are unreadable. The result is "" if
    the body is not encoded, or if its beginning is valid UTF-8.
    """
    encoding = head.get("content-encoding", "")
    if encoding.strip().lower() in ("", "identity") or "\ufffd" not in text[:80]:
        return ""
    return f"a body with the content-encoding {encoding[:80]!r}, which was not decoded"


def error_among_events(body: bytes) -> dict[str, Any] | None:
    """Return the payload of the first error event, if the body is an event stream with one."""
    machine = StreamMachine()
    machine.receive_data(body)
    try:
        for event in machine.receive_eof():
            if isinstance(event, ErrorEvent) and event.raw is None:
                return event.to_dict()
    except APIError:
        pass
    return None


def object_in(text: str) -> dict[str, Any] | None:
    """Return the JSON object in `text`, or None if `text` is not a JSON object."""
    try:
        value = loads(text)
    except InvalidJSONError:
        return None
    return value if is_object(value) else None
