"""What is raised. The tree is drawn in the package's docstring."""

from __future__ import annotations

import copy
import re
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

from .printing import excerpt, printable
from .violations import Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping

    # Only for annotations: an exception carries a message, it does not need to know one.
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
    """The base of everything that reports a stream which gave no usable answer.

    Attributes:
        message: the sentence; also `str(error)`. Of what it quotes, characters that are not seen
            stand there as escapes; it is cut at 1,024 characters.
        partial_message: the snapshot at the moment of the error, or None before message_start.
        verdict: the verdict at that moment.
        content_emitted: whether a content block was delivered. If not, a retry repeats nothing.
    """

    def __init__(
        self,
        message: str,
        *,
        partial_message: Message | None = None,
        verdict: Verdict = Verdict.PENDING,
        content_emitted: bool = False,
    ) -> None:
        # Here, so that no sentence of ours can forget it.
        self.message = printable(message)
        super().__init__(self.message)
        self.partial_message = partial_message
        self.verdict = verdict
        self.content_emitted = content_emitted

    def annotate(self, **attributes: object) -> Self:
        """Set attributes of the error to what is known where it passes. Returns the error."""
        for name, value in attributes.items():
            setattr(self, name, value)
        return self


class APIConnectionError(APIError):
    """The connection could not be made, or broke."""


class APITimeoutError(APIConnectionError):
    """Nothing came for longer than the caller wanted to wait."""


class IncompleteMessageError(APIConnectionError, RuntimeError):
    """There is no final message: it was cut, lost content, never came, or has not ended yet.

    Attributes:
        first_loss: the first violation that lost content, or None; see `Violation.loses_content`.
    """

    def __init__(self, message: str, *, first_loss: Violation | None = None, **common: Any) -> None:
        super().__init__(message, **common)
        self.first_loss = first_loss


class ProtocolError(APIError):
    """The peer broke the protocol beyond what may be tolerated. The snapshot stays readable.

    Attributes:
        code: a stable name; in strict mode the code of the violation.
        event_number: which frame with data, counted from 1.
        byte_offset: where that frame begins in the body; None for a payload without a frame.
        raw: the frame's data, at most 1,024 characters.
        position: index in the data at which it went wrong, where there is one place.
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
        limit: the name of the member of `Limits`; also the `code`.
        maximum: its value.
    """

    def __init__(self, message: str, *, limit: str = "", maximum: int = 0, **common: Any) -> None:
        common.setdefault("code", limit)
        super().__init__(message, **common)
        self.limit = limit
        self.maximum = maximum


class NotAnEventStreamError(APIError):
    """The body is something else: JSON, HTML, plain text. `raw` quotes its first bytes as text."""

    def __init__(self, message: str, *, raw: str = "", **common: Any) -> None:
        super().__init__(message, **common)
        self.raw = raw


class APIStatusError(APIError):
    """The server answered with an error, as an HTTP status or as an event in the stream.

    Attributes:
        status_code: the HTTP status; for an error inside a stream its equivalent (529, 429, ...).
        http_status: the real HTTP status; 200 for an error inside a stream.
        type: the server's `error.type`, or None.
        request_id: the server's name for the request, or None.
        body: the payload: a JSON object, or a string where it was not one.
        headers: the response's headers where they are known.
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
    """400."""


class AuthenticationError(APIStatusError):
    """401."""


class PaymentRequiredError(APIStatusError):
    """402."""


class PermissionDeniedError(APIStatusError):
    """403."""


class NotFoundError(APIStatusError):
    """404."""


class RequestTimeoutError(APIStatusError):
    """408."""


class ConflictError(APIStatusError):
    """409."""


class PreconditionFailedError(APIStatusError):
    """412."""


class ContentTooLargeError(APIStatusError):
    """413."""


class UnprocessableEntityError(APIStatusError):
    """422."""


class RateLimitError(APIStatusError):
    """429."""


class RequestHeaderFieldsTooLargeError(APIStatusError):
    """431."""


class ClientClosedRequestError(APIStatusError):
    """499."""


class InternalServerError(APIStatusError):
    """500, and every 5xx that has no class of its own."""


class HTTPNotImplementedError(InternalServerError):
    """501."""


class ServiceUnavailableError(InternalServerError):
    """503."""


class GatewayTimeoutError(InternalServerError):
    """504."""


class OverloadedError(InternalServerError):
    """529."""


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
    """Return the HTTP status that `error.type` stands for, or `default` if it is not known."""
    return EQUIVALENT_STATUS.get(error_type or "", default)


def status_error(message: str, *, status_code: int, **fields: Any) -> APIStatusError:
    """Make the error of the class that belongs to `status_code`; `fields` as in APIStatusError.

    Of HTML in the message one line is kept: `body` has all of it.
    """
    fallback = InternalServerError if status_code >= 500 else APIStatusError
    kind = STATUS_ERRORS.get(status_code, fallback)
    return kind(with_little_html(message), status_code=status_code, **fields)


HTML: Final = r"(?i)<(?:!doctype|html|head|body|title|center|h[1-6])\b"
HTML_CHARACTERS: Final = 200


def with_little_html(message: str) -> str:
    """Return the message, with the page of HTML that it ends in as one line, cut."""
    found = re.search(HTML, message)
    if found is None:
        return message
    page = " ".join(message[found.start() :].split())
    return message[: found.start()] + excerpt(page, HTML_CHARACTERS)


def copy_for_raise(error: AnyAPIError) -> AnyAPIError:
    """Return a copy to raise again: one object that is raised twice would grow its traceback.

    It has the cause of the first. The first is neither its cause nor its context: a traceback would
    print the same error twice.
    """
    again = copy.copy(error)
    again.__cause__ = error.__cause__  # setting it also suppresses the context
    return again
