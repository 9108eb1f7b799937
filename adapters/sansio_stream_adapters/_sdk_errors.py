"""Our exceptions as exceptions of the official SDK.

The SDK's users catch `anthropic.APIError` and its subclasses. Our exceptions have attributes that
those of the SDK do not have. So an exception of a client in `anthropic` is an instance of both
classes. An `except` clause for either of them catches it.
"""

from __future__ import annotations

from typing import Any, Final

import anthropic
import httpx2

from sansio_stream.errors import APIConnectionError, APIError, APIStatusError, APITimeoutError

__all__ = ["to_sdk_error"]

URL: Final = "https://api.anthropic.com/v1/messages"
"""The URL of the request of an error without a response. The SDK's errors must have a request."""


def to_sdk_error(error: APIError, response: httpx2.Response | None = None) -> anthropic.APIError:
    """Return an exception that is an instance of the class of `error` and of a class of the SDK.

    | ours | the SDK's |
    | --- | --- |
    | `APIStatusError` and its subclasses | the class of the same name |
    | `APITimeoutError` | `APITimeoutError` |
    | `APIConnectionError`, `IncompleteMessageError` | `APIConnectionError` |
    | `ProtocolError`, `LimitError`, `NotAnEventStreamError` | `APIResponseValidationError` |

    The result has the attributes of both classes. If both classes have the same attribute, the
    value is that of `error`. For example, an error event in a stream has the `status_code` that
    fits its type, such as 529, and not the 200 of the response. The cause is that of `error`. The
    result can be pickled.

    If `error` is already an instance of a class of the SDK, it is returned unchanged.

    Args:
        error: the exception of this library.
        response: the response that the error is about. Without it, the result has an empty one with
            the status and the headers of `error`.
    """
    if isinstance(error, anthropic.APIError):
        return error
    if response is None:
        response = empty_response(error)
    theirs = sdk_error(error, response)
    made = both(type(error), type(theirs), error.message)
    made.__dict__.update({**vars(theirs), **vars(error)})
    made.__cause__ = error.__cause__
    result: anthropic.APIError = made
    return result


def sdk_error(error: APIError, response: httpx2.Response) -> anthropic.APIError:
    """Return the SDK's own exception for an error."""
    if isinstance(error, APIStatusError):
        # The SDK has a class for each of ours, with the same name.
        kind: type[anthropic.APIStatusError] = getattr(anthropic, type(error).__name__)
        return kind(error.message, response=response, body=error.body)
    if isinstance(error, APITimeoutError):
        return anthropic.APITimeoutError(response.request)
    if isinstance(error, APIConnectionError):
        return anthropic.APIConnectionError(message=error.message, request=response.request)
    return anthropic.APIResponseValidationError(response, None, message=error.message)


def empty_response(error: APIError) -> httpx2.Response:
    """Return a response without a body, with the status and headers that the error has."""
    request = httpx2.Request("POST", URL)
    if isinstance(error, APIStatusError):
        return httpx2.Response(error.http_status, headers=error.headers, request=request)
    return httpx2.Response(200, request=request)


class SDKError:
    """The first base class of the classes that `both` makes.

    The constructors of the other two base classes take different arguments. So none of them is
    called, and `to_sdk_error` sets the attributes. The two classes also define different ways to
    pickle. Neither way can find a class that `both` has made.
    """

    def __init__(self, message: str) -> None:
        """Do nothing, because `BaseException.__new__` has stored the message."""

    def __reduce__(self) -> tuple[Any, ...]:
        _, ours, theirs = type(self).__bases__
        return both, (ours, theirs, str(self)), self.__dict__


CLASSES: Final[dict[tuple[Any, Any], Any]] = {}
"""The classes that `both` has made."""


def both(ours: Any, theirs: Any, message: str) -> Any:
    """Return an exception that is an instance of both classes. Its class has the name of `ours`."""
    made = CLASSES.get((ours, theirs))
    if made is None:
        made = type(ours.__name__, (SDKError, ours, theirs), {"__doc__": ours.__doc__})
        # If two threads get here at once, both use the class of the first.
        made = CLASSES.setdefault((ours, theirs), made)
    return made(message)
