"""What can go wrong: verdicts, violations, limits, and a closed tree of exceptions.

Imports of ours only `Message`, and that for annotations.

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
else is a keyword with a default. A message is one line of at most 1,024 characters, in which no
character hides, whatever a peer has sent; what was sent is in the other attributes.

Beside the tree only RuntimeError (a call out of order), TypeError (a wrong argument) and ValueError
leave the library: the latter from what encodes and parses alone (`encode_event`, `encode_sse`,
`build_request`, `to_param`, `CaptureWriter`; `CaptureError` and `InvalidJSONError` are such).
"""

from .exceptions import *
from .exceptions import copy_for_raise as copy_for_raise
from .printing import (
    EXCERPT_CHARACTERS as EXCERPT_CHARACTERS,
    excerpt as excerpt,
    printable as printable,
)
from .violations import *
from .violations import (
    Fault as Fault,
    Flaw as Flaw,
    ViolationLog as ViolationLog,
    check_type as check_type,
)
