"""The exceptions of a stream that gives no message.

The module does no I/O, does not wait, and depends on no HTTP library.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeAlias

from sansio_stream.errors import (
    APIConnectionError,
    APIError,
    APIStatusError,
    APITimeoutError,
    IncompleteMessageError,
    NotAnEventStreamError,
    Verdict,
    excerpt,
)
from sansio_stream.outcome import shown
from sansio_stream.request import check_response
from sansio_stream.request.responses import undecoded

if TYPE_CHECKING:
    from sansio_stream.machine import StreamMachine
    from sansio_stream.request import Headers

__all__ = ["map_system_error"]

MapError: TypeAlias = Callable[[Exception], "APIError | None"]
"""Turns an exception of the byte source into an APIError, or returns None if it does not know it.

The exception becomes the cause of the APIError, unless the APIError has a cause already. An adapter
sets another cause if the exception would show too much, such as the key.
"""

CLOSED_EARLY: Final = "the stream was closed before its end"
"""The message for code that waits for a stream which other code has closed."""


class StreamErrors:
    """Makes the exceptions of one stream. It does not change the stream.

    Args:
        status: the status of the response.
        headers: the headers of the response.
        machine: the machine that reads the stream.
        map_error: see `MapError`; None for a source whose exceptions are not known.
    """

    def __init__(
        self, status: int, headers: Headers, machine: StreamMachine, map_error: MapError | None
    ) -> None:
        self._status = status
        self._headers = headers
        self._machine = machine
        self._map_error = map_error

    def undecodable(self, message: str) -> APIError:
        """Return the error for a body with an unsupported encoding. Such a body is not read."""
        answer = check_response(self._status, self._headers, message.encode())
        if isinstance(answer, APIStatusError):
            return answer
        message = f"HTTP {self._status}: {message}"
        return NotAnEventStreamError(message, verdict=Verdict.NOT_AN_EVENT_STREAM)

    def failure_of_stream(self, source_error: Exception | None) -> APIError | None:
        """Return the error that `final_message` raises, with details of the response, or None.

        Args:
            source_error: the exception of the source, or None if the body simply ended. It explains
                why a stream is cut.
        """
        try:
            self._machine.final_message()
        except APIStatusError as error:
            return error.annotate(
                http_status=self._status,
                headers=dict(self._headers),
                request_id=error.request_id or self._headers.get("request-id"),
            ).with_traceback(None)
        except IncompleteMessageError as error:
            if source_error is not None and error.verdict is not Verdict.DAMAGED:
                return self.of_source(source_error)
            if error.verdict is Verdict.PENDING:
                return self.closed_early()
            if error.verdict is Verdict.EMPTY:
                message = f"{error.message}: HTTP {self._status}"
                message += "" if self._machine.bytes_received else ", no body"
                return self._in_context(IncompleteMessageError(message))
            return error.with_traceback(None)
        except NotAnEventStreamError as error:
            # The machine's message advises to check the response head. That was done already.
            message = undecoded(self._headers, error.raw) or repr(error.raw[:80])
            message = f"{error.verdict.value}: HTTP {self._status}, {message}"
            return self._in_context(NotAnEventStreamError(message, raw=error.raw))
        except APIError as error:
            return error.with_traceback(None)
        return None

    def recorded_text(self, exc: Exception) -> str:
        """Return the text of an exception for a recording.

        The text of the mapped error is preferred, because the exception may show the request.
        """
        known = None if self._map_error is None else self._map_error(exc)
        return shown(known or exc)

    def closed_early(self) -> APIError:
        """Return the error of a stream that was closed before its end."""
        return self._in_context(IncompleteMessageError(CLOSED_EARLY))

    def unterminated(self) -> APIError:
        """Return the error of a stream without message_stop, for a reader that demands one."""
        return self._in_context(IncompleteMessageError(self._machine.verdict.value))

    def of_source(self, exc: Exception) -> APIError:
        """Return the error for an exception that the source raised."""
        known = None if self._map_error is None else self._map_error(exc)
        error = known or map_system_error(exc) or APIConnectionError(sentence(exc))
        error.__cause__ = error.__cause__ or exc
        return self._in_context(error)

    def _in_context(self, error: APIError) -> APIError:
        message = self._machine.snapshot
        return error.annotate(
            partial_message=message,
            verdict=self._machine.verdict,
            content_emitted=message is not None and message.content != (),
        )


def sentence(exc: Exception) -> str:
    """Return an exception in one line: its class and its text.

    If it has no text, that of the nearest cause or context is used.
    """
    message: BaseException | None = exc
    while message is not None and not str(message):
        message = message.__cause__ or message.__context__
    words = "" if message is None else excerpt(" ".join(str(message).split()))
    return f"{type(exc).__name__}: {words}" if words else type(exc).__name__


def map_system_error(exc: Exception) -> APIError | None:
    """Return the APIError for an exception of sockets, TLS or DNS, and None for any other."""
    if isinstance(exc, TimeoutError):
        return APITimeoutError(sentence(exc))
    return APIConnectionError(sentence(exc)) if isinstance(exc, OSError) else None
