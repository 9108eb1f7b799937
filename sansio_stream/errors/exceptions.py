"""The exceptions of the library. The docstring of the package shows them as a tree."""

from __future__ import annotations

import copy
import re
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

from .printing import excerpt, printable
from .violations import Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping

    # Only for annotations. An exception carries a message but uses nothing of it.
    from ..message import Message
    from .violations import Violation

__all__ = [
    "APIConnectionError",
    "APIError",
    "APIStatusError",
    "APITimeoutError",
    "AuthenticationError",
    "BadRequestError",
    "ClientClosedRequestError",
    "ConflictError",
    "ContentTooLargeError",
    "GatewayTimeoutError",
    "HTTPNotImplementedError",
    "IncompleteMessageError",
    "InternalServerError",
    "LimitError",
    "NotAnEventStreamError",
    "NotFoundError",
    "OverloadedError",
    "PaymentRequiredError",
    "PermissionDeniedError",
    "PreconditionFailedError",
    "ProtocolError",
    "RateLimitError",
    "RequestHeaderFieldsTooLargeError",
    "RequestTimeoutError",
    "RequestTooLargeError",
    "ServiceUnavailableError",
    "UnprocessableEntityError",
    "equivalent_status",
    "status_error",
]

AnyAPIError = TypeVar("AnyAPIError", bound="APIError")


class APIError(Exception):
    """The base class of all exceptions which report that a stream gave no usable answer.

    Attributes:
        message: a description for people; also `str(error)`. It has at most 1,024 characters.
            Invisible characters in the text that it quotes are replaced by escapes.
        partial_message: the snapshot at the time of the error. None before message_start.
        verdict: the verdict at the time of the error.
        content_emitted: whether a content block was delivered. If False, a retry repeats nothing.
    """

    def __init__(
        self,
        message: str,
        *,
        partial_message: Message | None = None,
        verdict: Verdict = Verdict.PENDING,
        content_emitted: bool = False,
    ) -> None:
        # Done here and not by each caller, so that no message is left out.
        self.message = printable(message)
        super().__init__(self.message)
        self.partial_message = partial_message
        self.verdict = verdict
        self.content_emitted = content_emitted

    def annotate(self, **attributes: object) -> Self:
        """Set attributes of the error, and return it.

        Each function that the error passes sets what is known there.
        """
        for name, value in attributes.items():
            setattr(self, name, value)
        return self


class APIConnectionError(APIError):
    """The connection could not be opened, or it broke."""


class APITimeoutError(APIConnectionError):
    """A wait took longer than the caller allowed."""


class IncompleteMessageError(APIConnectionError, RuntimeError):
    """There is no final message: it was cut, lost content, never began, or has not ended yet.

    Attributes:
        first_loss: the first violation that lost content, or None. See `Violation.loses_content`.
    """

    def __init__(self, message: str, *, first_loss: Violation | None = None, **common: Any) -> None:
        super().__init__(message, **common)
        self.first_loss = first_loss


class ProtocolError(APIError):
    """The peer broke the protocol in a way that is not tolerated. The snapshot stays readable.

    Attributes:
        code: a stable name of the error. In strict mode it is the code of the violation.
        event_number: the number of the frame, counting frames with data from 1.
        byte_offset: the offset in the body at which the frame begins. None for a payload that came
            without a frame.
        raw: the data of the frame, cut to at most 1,024 characters.
        position: the index in the data at which the error is. None if there is no single place.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str = "",
        event_number: int = 0,
        byte_offset: int | None = None,
        raw: str = "",
        position: int | None = None,
        **common: Any,
    ) -> None:
        super().__init__(message, **common)
        self.code = code
        self.event_number = event_number
        self.byte_offset = byte_offset
        self.raw = raw
        self.position = position


class LimitError(ProtocolError):
    """The peer sent more than a limit allows.

    Attributes:
        limit: the name of the attribute of `Limits`. It is also the `code`.
        maximum: the value of that limit.
    """

    def __init__(self, message: str, *, limit: str = "", maximum: int = 0, **common: Any) -> None:
        common.setdefault("code", limit)
        super().__init__(message, **common)
        self.limit = limit
        self.maximum = maximum


class NotAnEventStreamError(APIError):
    """The body is not an event stream but JSON, HTML or plain text, for example.

    Attributes:
        raw: the beginning of the body as text.
    """

    def __init__(self, message: str, *, raw: str = "", **common: Any) -> None:
        super().__init__(message, **common)
        self.raw = raw


class APIStatusError(APIError):
    """The server answered with an error: as an HTTP status, or as an error event in the stream.

    Attributes:
        status_code: the HTTP status. For an error event it is the HTTP status that is equivalent to
            the type of the error (529, 429, ...).
        http_status: the status that the HTTP response really had. It is 200 for an error event.
        type: the `error.type` that the server sent, or None.
        request_id: the id that the server gave the request, or None.
        body: the payload as a JSON object, or as a string if it was not a JSON object.
        headers: the headers of the response. Empty if they are not known.
    """

    def __init__(
        self,
        message: str,
        *,
        status_code: int = 500,
        http_status: int = 200,
        type: str | None = None,
        request_id: str | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        **common: Any,
    ) -> None:
        super().__init__(message, **common)
        self.status_code = status_code
        self.http_status = http_status
        self.type = type
        self.request_id = request_id
        self.body = body
        self.headers = dict(headers or {})


class BadRequestError(APIStatusError):
    """HTTP status 400."""


class AuthenticationError(APIStatusError):
    """HTTP status 401."""


class PaymentRequiredError(APIStatusError):
    """HTTP status 402."""


class PermissionDeniedError(APIStatusError):
    """HTTP status 403."""


class NotFoundError(APIStatusError):
    """HTTP status 404."""


class RequestTimeoutError(APIStatusError):
    """HTTP status 408."""


class ConflictError(APIStatusError):
    """HTTP status 409."""


class PreconditionFailedError(APIStatusError):
    """HTTP status 412."""


class ContentTooLargeError(APIStatusError):
    """HTTP status 413."""


class UnprocessableEntityError(APIStatusError):
    """HTTP status 422."""


class RateLimitError(APIStatusError):
    """HTTP status 429."""


class RequestHeaderFieldsTooLargeError(APIStatusError):
    """HTTP status 431."""


class ClientClosedRequestError(APIStatusError):
    """HTTP status 499."""


class InternalServerError(APIStatusError):
    """HTTP status 500, and every other 5xx status that has no class of its own."""


class HTTPNotImplementedError(InternalServerError):
    """HTTP status 501."""


class ServiceUnavailableError(InternalServerError):
    """HTTP status 503."""


class GatewayTimeoutError(InternalServerError):
    """HTTP status 504."""


class OverloadedError(InternalServerError):
    """HTTP status 529."""


RequestTooLargeError = ContentTooLargeError

STATUS_ERRORS: Final[dict[int, type[APIStatusError]]] = {
    400: BadRequestError,
    401: AuthenticationError,
    402: PaymentRequiredError,
    403: PermissionDeniedError,
    404: NotFoundError,
    408: RequestTimeoutError,
    409: ConflictError,
    412: PreconditionFailedError,
    413: ContentTooLargeError,
    422: UnprocessableEntityError,
    429: RateLimitError,
    431: RequestHeaderFieldsTooLargeError,
    499: ClientClosedRequestError,
    501: HTTPNotImplementedError,
    503: ServiceUnavailableError,
    504: GatewayTimeoutError,
    529: OverloadedError,
}

EQUIVALENT_STATUS: Final[dict[str, int]] = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "conflict_error": 409,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}


def equivalent_status(error_type: str | None, default: int = 500) -> int:
    """Return the HTTP status that is equivalent to `error.type`, or `default` for other types."""
    return EQUIVALENT_STATUS.get(error_type or "", default)


def status_error(message: str, *, status_code: int, **fields: Any) -> APIStatusError:
    """Return an error of the class that belongs to `status_code`.

    An HTML page in the message is shortened to one line, because `body` has the whole page.

    Args:
        message: the description for people.
        status_code: the HTTP status, or the equivalent of an error event.
        **fields: the other arguments of `APIStatusError`.
    """
    fallback = InternalServerError if status_code >= 500 else APIStatusError
    kind = STATUS_ERRORS.get(status_code, fallback)
    return kind(with_little_html(message), status_code=status_code, **fields)


HTML: Final = r"(?i)<(?:!doctype|html|head|body|title|center|h[1-6])\b"
"""A pattern for the tag with which a page of HTML begins."""

HTML_CHARACTERS: Final = 200
"""The maximum length of a page of HTML in a message."""


def with_little_html(message: str) -> str:
    """Return the message, with an HTML page at its end shortened to one line."""
    found = re.search(HTML, message)
    if found is None:
        return message
    page = " ".join(message[found.start() :].split())
    return message[: found.start()] + excerpt(page, HTML_CHARACTERS)


def copy_for_raise(error: AnyAPIError) -> AnyAPIError:
    """Return a copy of an exception that can be raised again.

    Why a copy: each time the same object is raised, its traceback grows.

    The copy has the cause of the original. The original is neither its cause nor its context,
    because a traceback would then print the same error twice.
    """
    again = copy.copy(error)
    again.__cause__ = error.__cause__  # setting it also suppresses the context
    return again


class ErrorLatch:
    """Keeps the error that ended a stream, and raises copies of it.

    Attributes:
        error: a copy of the error, or None. It is never raised itself, because it would keep the
            frames of the caller.
    """

    __slots__ = ("error",)

    def __init__(self) -> None:
        self.error: ProtocolError | None = None

    def set(self, error: ProtocolError) -> None:
        """Keep an error."""
        self.error = copy_for_raise(error)

    def raise_if_set(self) -> None:
        """Raise a copy of the error, if there is one."""
        if self.error is not None:
            raise copy_for_raise(self.error)


def check_type(value: object, *kinds: type) -> None:
    """Raise TypeError if `value` has none of these types.

    Without the check a wrong argument may seem to work: `bytes(5)` is five zero bytes.
    """
    if not isinstance(value, kinds):
        wanted = " or ".join(kind.__name__ for kind in kinds)
        raise TypeError(f"expected {wanted}, not {type(value).__name__}")
