"""What a caller is told where a stream gives no message: our exceptions for what went wrong.

Reads nothing, waits for nothing, knows no HTTP library.
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
from sansio_stream.machine import shown
from sansio_stream.request import check_response
from sansio_stream.request.responses import undecoded

if TYPE_CHECKING:
    from sansio_stream.machine import StreamMachine
    from sansio_stream.request import Headers

__all__ = ["map_system_error"]

MapError: TypeAlias = Callable[[Exception], "APIError | None"]
"""What a source raised in, one of our exceptions out; None for what it does not know. What was
raised becomes its cause, unless it has another one already, which shows less.
"""

LEFT: Final = "the stream was closed before its end"
"""What is told to whoever waits for a stream that somebody else has closed."""


class StreamErrors:
    """The exceptions of one stream. Changes nothing of it.

    Args:
        status: of the response.
        headers: of the response.
        machine: what the stream is read with.
        map_error: see `MapError`; None for a source whose exceptions are not known.
    """

    def __init__(
        self, status: int, headers: Headers, machine: StreamMachine, map_error: MapError | None
    ) -> None:
        self._status = status
        self._headers = headers
        self._machine = machine
        self._map_error = map_error

    def refused(self, told: str) -> APIError:
        """Return the error for a body that cannot be read, and is not."""
        answer = check_response(self._status, self._headers, told.encode())
        if isinstance(answer, APIStatusError):
            return answer
        told = f"HTTP {self._status}: {told}"
        return NotAnEventStreamError(told, verdict=Verdict.NOT_AN_EVENT_STREAM)

    def failure_of_stream(self, lost: Exception | None) -> APIError | None:
        """Return what `final_message` raises, with what else is known; None if it does not raise.

        Args:
            lost: what the source raised, None if the body just ended. It explains a cut.
        """
        try:
            self._machine.final_message()
        except APIStatusError as error:
            error.http_status = self._status
            error.headers = dict(self._headers)
            error.request_id = error.request_id or self._headers.get("request-id")
            return error.with_traceback(None)
        except IncompleteMessageError as error:
            if lost is not None and error.verdict is not Verdict.DAMAGED:
                return self._in_context(self._mapped(lost))
            if error.verdict is Verdict.PENDING:
                return self.left_before_its_end()
            if error.verdict is Verdict.EMPTY:
                told = f"{error.message}: HTTP {self._status}"
                told += "" if self._machine.bytes_received else ", no body"
                return self._in_context(IncompleteMessageError(told))
            return error.with_traceback(None)
        except NotAnEventStreamError as error:
            # The machine advises to ask for what the head says; that has been done.
            told = undecoded(self._headers, error.raw) or repr(error.raw[:80])
            told = f"{error.verdict.value}: HTTP {self._status}, {told}"
            return self._in_context(NotAnEventStreamError(told, raw=error.raw))
        except APIError as error:
            return error.with_traceback(None)
        return None

    def told(self, exc: Exception) -> str:
        """Return what a recording says of a foreign exception: ours in its place, if there is one,
        because the library's own may show the request.
        """
        known = None if self._map_error is None else self._map_error(exc)
        return shown(known or exc)

    def left_before_its_end(self) -> APIError:
        """Return the error of a stream that nobody has read on."""
        return self._in_context(IncompleteMessageError(LEFT))

    def _mapped(self, exc: Exception) -> APIError:
        known = None if self._map_error is None else self._map_error(exc)
        error = known or map_system_error(exc) or APIConnectionError(sentence(exc))
        error.__cause__ = error.__cause__ or exc
        return error

    def _in_context(self, error: APIError) -> APIError:
        message = self._machine.snapshot
        error.partial_message = message
        error.verdict = self._machine.verdict
        error.content_emitted = message is not None and message.content != ()
        return error


def sentence(exc: Exception) -> str:
    """Return what to say of a foreign exception: its words, or those of its nearest cause, in one
    line.
    """
    told: BaseException | None = exc
    while told is not None and not str(told):
        told = told.__cause__ or told.__context__
    words = "" if told is None else excerpt(" ".join(str(told).split()))
    return f"{type(exc).__name__}: {words}" if words else type(exc).__name__


def map_system_error(exc: Exception) -> APIError | None:
    """Return our exception for one of the system's (sockets, TLS, DNS); None for another."""
    if isinstance(exc, TimeoutError):
        return APITimeoutError(sentence(exc))
    return APIConnectionError(sentence(exc)) if isinstance(exc, OSError) else None
