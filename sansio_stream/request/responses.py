"""Responses: the head of one in, with its body if asked for; "go on" or an error out. Knows no
request and no stream: what a success carries, a machine says.
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

    BODY_NEEDED = "the head alone does not say what went wrong: read the body, and ask again"


BODY_NEEDED: Final = BodyNeeded.BODY_NEEDED
"""What `check_response` says where the error is in the body."""


REFUSAL_BYTES: Final = 65_536
"""How much of a body the clients and `Observer` keep for `check_response`: an error is a sentence.
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
    """Say what a response is, by its head: a stream, or an error to raise. Never raises itself.

    None means: go on, and feed the body to a machine. That is also said of a success without a
    content type, or with one that says nothing (`text/plain`, `application/octet-stream`), because
    some servers label their streams so; in the end the machine's verdict decides.

    `BODY_NEEDED` means: read the body, as much as you care to hold, and ask again with it. With a
    body, cut or broken as it may be, the answer is final:

    * for a status that is no success, the `APIStatusError` of its class, of which the body says
      more in JSON or as an event stream with an error in it;
    * for a success whose head rules out an event stream (JSON, XML, HTML) and whose body is an
      error in JSON, the one of the equivalent status; `http_status` is the real one;
    * for any other such body, a `NotAnEventStreamError`.

    A redirect is an error, and needs no body.

    Args:
        status: the HTTP status.
        headers: names in any case.
        body: after content-decoding; None where it has not been read.
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
        # Without its query, which may hold a key.
        place = printable(head["location"].partition("?")[0], PLACE_CHARACTERS)
        message = f"HTTP {status} points to {place}, which was not followed"
    else:
        told = undecoded(head, text) or excerpt(" ".join(text.split())) or "no body"
        message = event.message or f"HTTP {status}: {told}"
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
"""How much of a place is quoted, so that the sentence around it is not cut."""

OTHER_CONTENT: Final = r"[^/]+/(?:.*\+)?(?:json|xml)|text/html"


def rules_out_events(content_type: str) -> bool:
    """Whether every type that the header names is another one. Proxies append theirs to a list."""
    names = [entry.partition(";")[0].strip().lower() for entry in content_type.split(",")]
    return all(re.fullmatch(OTHER_CONTENT, name) for name in names)


def undecoded(head: Headers, text: str) -> str:
    """Return what to say of a body that is still encoded: its bytes would say nothing. "" where it
    is not, or nobody can tell.
    """
    encoding = head.get("content-encoding", "")
    if encoding.strip().lower() in ("", "identity") or "\ufffd" not in text[:80]:
        return ""
    return f"a body with the content-encoding {encoding[:80]!r}, which was not decoded"


def error_among_events(body: bytes) -> dict[str, Any] | None:
    """Return the payload of the error event in a body, if it is an event stream with one in it."""
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
    """Return the JSON object that a text is, or None."""
    try:
        value = loads(text)
    except InvalidJSONError:
        return None
    return value if is_object(value) else None
