"""What can go wrong: verdicts, violations, limits, and a closed tree of exceptions.

Imports nothing of ours.

    APIError                                  partial_message, verdict, content_emitted
     ├── APIConnectionError                   the connection gave no (whole) answer
     │    ├── APITimeoutError
     │    └── IncompleteMessageError          no whole message; also a RuntimeError
     ├── ProtocolError                        code, event_number, byte_offset, raw, position
     │    └── LimitError                      limit, maximum
     ├── NotAnEventStreamError                raw: the body's first bytes
     └── APIStatusError                       status_code, http_status, type, body, ...
          ├── BadRequestError            400
          ├── AuthenticationError        401
          ├── PaymentRequiredError       402
          ├── PermissionDeniedError      403
          ├── NotFoundError              404
          ├── RequestTimeoutError        408
          ├── ConflictError              409
          ├── PreconditionFailedError    412
          ├── ContentTooLargeError       413  (RequestTooLargeError is the same class)
          ├── UnprocessableEntityError   422
          ├── RateLimitError             429
          ├── RequestHeaderFieldsTooLargeError 431
          ├── ClientClosedRequestError   499
          └── InternalServerError        500, and every other 5xx
               ├── HTTPNotImplementedError 501
               ├── ServiceUnavailableError 503
               ├── GatewayTimeoutError     504
               └── OverloadedError         529

Every exception can be pickled and copied: its message is its only positional argument, everything
else is a keyword with a default. Beside the tree only RuntimeError (a call out of order) and
TypeError (a wrong argument) leave the library, and `InvalidJSONError`, `CaptureError` (both
ValueErrors) leave the rooms that define them.
"""

from __future__ import annotations

import copy
import enum
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

import attrs

if TYPE_CHECKING:
    from collections.abc import Mapping

    # Only for annotations: an exception carries a message, it does not need to know one.
    from .message import Message

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
    "Limits",
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
    "Verdict",
    "Violation",
    "ViolationCode",
    "equivalent_status",
    "status_error",
]

AnyAPIError = TypeVar("AnyAPIError", bound="APIError")

EXCERPT_CHARACTERS: Final = 1024
"""Bound of every quoted piece of the stream: enough to see what it was, not to fill a log."""


def excerpt(text: str) -> str:
    """Return `text`, or if it is longer than `EXCERPT_CHARACTERS` its beginning and a mark."""
    if len(text) <= EXCERPT_CHARACTERS:
        return text
    return text[: EXCERPT_CHARACTERS - 1] + "…"


class Verdict(enum.Enum):
    """How a stream ended. Once it is not PENDING it never changes."""

    PENDING = "the end has not been seen"
    COMPLETE = "message_stop was received"
    UNTERMINATED = "ended after a stop_reason, without message_stop"
    TRUNCATED = "the message began and was cut"
    EMPTY = "ended without a message"
    ERRORED = "the server sent an error"
    BROKEN = "the bytes broke the protocol beyond what may be tolerated"
    NOT_AN_EVENT_STREAM = "the body is no event stream"


class ViolationCode(enum.StrEnum):
    """What was wrong and was tolerated: a stable name, its `meaning`, and the `action` taken."""

    meaning: str
    action: str

    def __new__(cls, value: str, meaning: str, action: str) -> Self:
        """Make a member that is its name as a string, and that knows what it means."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        member.action = action
        return member

    # The bytes of a frame.
    INVALID_UTF8 = (
        "invalid_utf8",
        "the frame holds bytes that are not UTF-8",
        "each bad sequence is read as U+FFFD",
    )
    UNKNOWN_FIELD = (
        "unknown_field",
        "a line is neither a comment nor one of event, data, id, retry",
        "the line is ignored, as the specification says; its text is quoted",
    )
    MISSING_EVENT_NAME = (
        "missing_event_name",
        "the frame has no `event:` line",
        "the payload's type decides",
    )
    UNTERMINATED_FRAME = (
        "unterminated_frame",
        "the last frame lacks its blank line, but its JSON is whole",
        "the event is delivered",
    )
    CUT_FRAME = (
        "cut_frame",
        "the stream ended inside a frame",
        "what came of the frame is discarded",
    )
    # From frame to event.
    EVENT_NAME_MISMATCH = (
        "event_name_mismatch",
        "the `event:` line and the payload's type differ",
        "the payload's type wins, except that `event: error` is always an error",
    )
    MISSING_TYPE = (
        "missing_type",
        "the payload has no type",
        "the `event:` line decides, or the shape of an error",
    )
    MALFORMED_EVENT = (
        "malformed_event",
        "a known event lacks what it needs: a usable index, or an object with a type",
        "it is delivered as UnknownEvent and changes nothing",
    )
    MALFORMED_DELTA = (
        "malformed_delta",
        "a known delta lacks its payload",
        "it is delivered as UnknownDelta and kept in the block's `unfolded`",
    )
    UNDECODABLE_PAYLOAD = (
        "undecodable_payload",
        "the data of an unknown event is not a JSON object",
        "it is delivered as UnknownEvent with its raw text",
    )
    DONE_MARKER = (
        "done_marker",
        "`data: [DONE]`, the end mark of another protocol",
        "ignored",
    )
    # The order of events.
    BEFORE_MESSAGE_START = (
        "before_message_start",
        "the event came before any message_start",
        "skipped",
    )
    DUPLICATE_MESSAGE_START = (
        "duplicate_message_start",
        "a second message_start with the id of the open message",
        "skipped",
    )
    SECOND_MESSAGE = (
        "second_message",
        "another message begins after message_stop",
        "skipped; the first message stands",
    )
    AFTER_MESSAGE_STOP = (
        "after_message_stop",
        "the event came after message_stop",
        "skipped; the message stands",
    )
    AFTER_ERROR = (
        "after_error",
        "the event came after the error that ended the stream",
        "skipped",
    )
    AFTER_STOP_REASON = (
        "after_stop_reason",
        "content came after the stop_reason",
        "applied",
    )
    MISSING_STOP_REASON = (
        "missing_stop_reason",
        "message_stop came, a stop_reason never did",
        "applied; `stop_reason` stays None",
    )
    UNCLOSED_BLOCK = (
        "unclosed_block",
        "message_stop came while a content block was open",
        "applied; the input of an unstopped tool call is never complete",
    )
    CONTRADICTORY_STOP_REASON = (
        "contradictory_stop_reason",
        "stop_reason is tool_use without a tool_use block, or end_turn with one",
        "applied; trust the blocks",
    )
    # The index of a block.
    INDEX_NOT_NEXT = (
        "index_not_next",
        "a block's index is not the one that follows the highest so far",
        "applied; content is ordered by index",
    )
    INDEX_REUSED = (
        "index_reused",
        "a block starts at an index that another block had",
        "applied as a new block; deltas go to the newest",
    )
    OVERLAPPING_BLOCKS = (
        "overlapping_blocks",
        "a block starts while another is open",
        "applied; deltas go by index",
    )
    UNKNOWN_INDEX = (
        "unknown_index",
        "a delta or stop for an index at which no block started",
        "skipped",
    )
    STOPPED_BLOCK = (
        "stopped_block",
        "a delta or stop for a block that was stopped",
        "skipped",
    )
    # The fold.
    UNFIT_DELTA = (
        "unfit_delta",
        "the delta's kind does not fit the block's",
        "skipped",
    )
    SECOND_SIGNATURE = (
        "second_signature",
        "a block got a second, different signature",
        "applied: the last one stands",
    )


@attrs.frozen
class Violation:
    """Something that the protocol does not allow and that was tolerated.

    Attributes:
        code: what it was; a member of `ViolationCode`, which is a `str`.
        message: the sentence for a person.
        event_number: which frame with data it was, counted from 1; 0 before the first.
        byte_offset: where its frame begins in the body; None for a payload without a frame.
        excerpt: the text that it is about, at most 1,024 characters.
    """

    code: ViolationCode
    message: str
    event_number: int
    byte_offset: int | None
    excerpt: str


@attrs.frozen
class Fault:
    """A violation before it has its number: what, the text, and where its frame begins."""

    code: ViolationCode
    excerpt: str
    offset: int | None

    def violation(self, event_number: int) -> Violation:
        """Return the public form."""
        sentence = f"{self.code.meaning}; {self.code.action}"
        return Violation(self.code, sentence, event_number, self.offset, self.excerpt)


@attrs.frozen
class Limits:
    """Bounds on what a peer may make us hold. Exceeding one is a `LimitError` at its exact place.

    The measure is the same for a whole and a partial frame (bytes from the first byte of the
    frame's first field), so the way a stream is cut never decides whether it fits. A caller that
    drains the iterators holds at most one limit plus one chunk.

    Attributes:
        event_bytes: one frame with its line ends. Documents in web_fetch results are base64 on one
            line: megabytes.
        block_bytes: the payloads of all deltas of one content block together.
        total_bytes: the whole body; None for no bound, because a long answer is not an attack.
        blocks: content blocks in one message. Also bounds the wire index.
        depth: nesting of arrays and objects in a payload or a tool input. CPython's own limits
            begin at about 498 (pickle, deepcopy) and 990 (json) minus the depth of the caller.
        violations: how many violations are kept; further ones are counted.
    """

    event_bytes: int = 64 * 2**20
    block_bytes: int = 64 * 2**20
    total_bytes: int | None = None
    blocks: int = 10_000
    depth: int = 200
    violations: int = 1_000


class APIError(Exception):
    """The base of everything that reports a stream which gave no usable answer.

    Attributes:
        message: the sentence; also `str(error)`.
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
        super().__init__(message)
        self.message = message
        self.partial_message = partial_message
        self.verdict = verdict
        self.content_emitted = content_emitted


class APIConnectionError(APIError):
    """The connection could not be made, or broke."""


class APITimeoutError(APIConnectionError):
    """Nothing came for longer than the caller wanted to wait."""


class IncompleteMessageError(APIConnectionError, RuntimeError):
    """There is no final message: it was cut, never came, or its end has not been seen yet."""


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
        limit: the name of the member of `Limits`.
        maximum: its value.
    """

    def __init__(self, message: str, *, limit: str = "", maximum: int = 0, **common: Any) -> None:
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


def equivalent_status(error_type: str | None) -> int:
    """Return the HTTP status that `error.type` stands for; 500 if it is missing or unknown."""
    return EQUIVALENT_STATUS.get(error_type or "", 500)


def status_error(message: str, *, status_code: int, **fields: Any) -> APIStatusError:
    """Make the error of the class that belongs to `status_code`; `fields` as in APIStatusError."""
    fallback = InternalServerError if status_code >= 500 else APIStatusError
    return STATUS_ERRORS.get(status_code, fallback)(message, status_code=status_code, **fields)


def fresh(error: AnyAPIError) -> AnyAPIError:
    """Return a copy to raise `from error`: one object raised twice would grow its traceback."""
    return copy.copy(error)


def demand(value: object, *kinds: type) -> None:
    """Raise TypeError for a value of another type: `bytes(5)` would be five zeros."""
    if not isinstance(value, kinds):
        wanted = " or ".join(kind.__name__ for kind in kinds)
        raise TypeError(f"{wanted} is needed, not {type(value).__name__}")
