"""Errors: verdicts, violations, limits, and a tree of exceptions.

This package imports no other module of the library. In the tree, each class stands beside the
attributes that it adds, its meaning or its HTTP status.

    APIError                                  partial_message, verdict, content_emitted
     ├── APIConnectionError                   the connection gave no complete answer
     │    ├── APITimeoutError
     │    └── IncompleteMessageError          first_loss; also a RuntimeError
     ├── ProtocolError                        code, event_number, byte_offset, raw, position
     │    └── LimitError                      limit, maximum
     ├── NotAnEventStreamError                raw
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

Every exception can be pickled and copied: its message is its only positional argument, and all
other arguments are keywords with defaults.

A message is one line of at most 1,024 characters without invisible characters, whatever a peer has
sent. The other attributes keep the original text.

Besides these, the library raises only RuntimeError for a call out of order, TypeError for a wrong
argument, and ValueError. Only functions that encode or parse raise ValueError: `encode_event`,
`encode_sse`, `build_request`, `to_param` and `CaptureWriter`. `CaptureError` and `InvalidJSONError`
are subclasses of ValueError.
"""

from .exceptions import *
from .exceptions import ErrorLatch as ErrorLatch, copy_for_raise as copy_for_raise
from .printing import (
    EXCERPT_CHARACTERS as EXCERPT_CHARACTERS,
    excerpt as excerpt,
    printable as printable,
)
from .violations import *
from .violations import (
    Flaw as Flaw,
    LocatedFlaw as LocatedFlaw,
    UnreadViolation as UnreadViolation,
    ViolationLog as ViolationLog,
    check_type as check_type,
)
