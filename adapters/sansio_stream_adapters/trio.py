"""trio: a byte stream in, a message stream out; and a client that opens its connections.

This module uses h11 for HTTP/1.1 and trio for TLS. Each request has its own connection. Proxies
are not supported, and redirects are not followed.
"""

from __future__ import annotations

import contextlib
import math
from functools import partial
from typing import TYPE_CHECKING, Any, Unpack, cast

try:
    import trio
except ModuleNotFoundError as error:
    error.add_note("pip install 'sansio-stream[trio]'")
    raise

from sansio_stream.errors import APIConnectionError, APITimeoutError

from . import _http11
from ._bridge import AsyncMessageStream, AsyncReply, StreamOptions
from ._client import AsyncBaseClient
from ._concurrency import in_time
from ._errors import sentence
from ._http11 import (
    DEFAULT_TIMEOUT,
    RECEIVE_BYTES,
    Exchange,
    Origin,
    ResponseReader,
    default_context,
    mapped,
    waits_of,
)
from ._timeout import Deadline, overdue

if TYPE_CHECKING:
    import ssl
    from collections.abc import Generator

    from sansio_stream.errors import APIError
    from sansio_stream.request import Request

    from ._settings import ClientSettings
    from ._timeout import Phase, Timeout

__all__ = ["AsyncClient", "from_stream"]


async def from_stream(
    stream: trio.abc.Stream,
    *,
    timeout: Any = DEFAULT_TIMEOUT,  # noqa: ASYNC109  (it applies to each later read)
    **options: Unpack[StreamOptions],
) -> AsyncMessageStream:
    """Return the message stream of a trio stream to which the caller has just written a request.

    This function reads the head of the response. From now on the result owns the trio stream:
    closing the result closes the trio stream. If this function raises, it closes the trio stream.

    Args:
        stream: the connected trio stream.
        timeout: as for a client. Only its `read`, `idle` and `total` have an effect.
        options: the options of the stream; see `StreamOptions`.

    Raises:
        APIError: if the head cannot be read or does not arrive in time.
    """
    try:
        read = waits_of(timeout, options).read
        with mapped(map_error):
            head = partial(reply_of, stream, Exchange(), read)
            reply = await in_time(Deadline.of(options.get("total")), "head", head)
        return AsyncMessageStream(**reply, **options)
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise


def map_error(exc: Exception) -> APIError | None:
    """Return the APIError for an exception of trio, of h11 or of the system; None for any other.

    An ExceptionGroup gets one if each of its exceptions does. If an exception of trio has no
    message, as for errors of TLS, the message is that of its cause.
    """
    if isinstance(exc, trio.TooSlowError):
        return APITimeoutError("the operation timed out")
    if isinstance(exc, (trio.BrokenResourceError, trio.ClosedResourceError)):
        cause = exc.__cause__
        reported = cause if not str(exc) and isinstance(cause, Exception) else exc
        return APIConnectionError(sentence(reported))
    if isinstance(exc, ExceptionGroup):
        group = cast("ExceptionGroup[Exception]", exc)
        return (
            APIConnectionError(sentence(group)) if all(map(map_error, group.exceptions)) else None
        )
    return _http11.map_error(exc)


class AsyncClient(AsyncBaseClient):
    """A client on trio. Only its streams must be closed: the client itself owns no connection.

    Args:
        ssl_context: the TLS context. The default trusts the certificates of the system.
        settings: see `ClientSettings`.
    """

    def __init__(
        self, *, ssl_context: ssl.SSLContext | None = None, **settings: Unpack[ClientSettings]
    ) -> None:
        super().__init__(**settings)
        self._ssl_context = ssl_context or default_context()

    async def send(self, request: Request, timeouts: Timeout) -> AsyncReply:
        """Connect, send the request, and read the head. The stream reads the body later."""
        exchange = Exchange(request)
        stream = await connected(Origin.of(request), self._ssl_context, timeouts.connect)
        try:
            # A server may respond and close before it has read the whole request, for example with
            # a 413. The response explains the error better than the exception of the send does.
            with contextlib.suppress(trio.BrokenResourceError):
                while exchange.has_pieces:
                    with within("send", timeouts.write):
                        await stream.send_all(exchange.piece())
            return await reply_of(stream, exchange, timeouts.read)
        except BaseException:
            await trio.aclose_forcefully(stream)
            raise

    async def close(self) -> None:
        """Do nothing: the streams own the connections."""

    map_error = staticmethod(map_error)


async def reply_of(stream: trio.abc.Stream, exchange: Exchange, read: float | None) -> AsyncReply:
    """Read the head, and return the reply from which a stream is built."""
    reader = ResponseReader(exchange, partial(receive, stream, read))
    head = await reader.head()
    return {
        **head,
        "chunks": reader,
        # A graceful close was rejected: TLS would send a close_notify, which can block and which a
        # cancellation interrupts.
        "close": partial(trio.aclose_forcefully, stream),
        "is_pooled": False,
        "is_raw": True,
        "map_error": map_error,
        "owner": stream,
        "close_ends_read": True,
    }


async def receive(stream: trio.abc.Stream, read: float | None, phase: Phase) -> bytes | bytearray:
    """Return the next bytes that a stream receives.

    The cancel scope of the timeout is closed on return, so none is open between two reads.
    """
    with within(phase, read):
        return await stream.receive_some(RECEIVE_BYTES)


async def connected(
    origin: Origin,
    context: ssl.SSLContext,
    timeout: float | None,  # noqa: ASYNC109  (its error names the phase)
) -> trio.abc.Stream:
    """Return a connected stream, with TLS if the origin is secure."""
    since = trio.current_time()
    with within("connect", timeout):
        stream = await trio.open_tcp_stream(origin.host, origin.port)
    if not origin.is_secure:
        return stream
    # `https_compatible` was rejected: it would treat a cut as the end of a body without a length.
    secured = trio.SSLStream(stream, context, server_hostname=origin.host)
    try:
        with within("TLS", timeout, since):
            await secured.do_handshake()
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise
    return secured


@contextlib.contextmanager
def within(phase: Phase, seconds: float | None, since: float | None = None) -> Generator[None]:
    """Cancel the block and raise TimeoutError after `seconds`, counted from `since` or from now.

    None for `seconds` means no timeout.
    """
    start = trio.current_time() if since is None else since
    with trio.CancelScope(deadline=start + (math.inf if seconds is None else seconds)) as scope:
        yield
    if scope.cancelled_caught:
        raise TimeoutError(overdue(phase, seconds))
