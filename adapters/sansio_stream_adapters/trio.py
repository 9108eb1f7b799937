"""trio: a stream of its bytes in, a stream of a message out; and a client that connects by itself.

HTTP/1.1 by h11, TLS by trio, and nothing more: each request has a connection of its own, there are
no proxies, and redirects are not followed.
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
    PIECE_BYTES,
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
    timeout: Any = DEFAULT_TIMEOUT,  # noqa: ASYNC109  (it holds for each read to come)
    **options: Unpack[StreamOptions],
) -> AsyncMessageStream:
    """Return the stream of a trio stream on which a request was just written; reads its head.

    The connection is the stream's from now on: it is closed with the stream, and if this raises.
    Of `timeout`, which is like a client's, `read`, `idle` and `total` count. Raises APIError.
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
    """Return our exception for one of trio, h11, or of the system; for a group, if it is of those.

    What trio says of TLS is in the exception's cause.
    """
    if isinstance(exc, trio.TooSlowError):
        return APITimeoutError("it took too long")
    if isinstance(exc, (trio.BrokenResourceError, trio.ClosedResourceError)):
        cause = exc.__cause__
        told = cause if not str(exc) and isinstance(cause, Exception) else exc
        return APIConnectionError(sentence(told))
    if isinstance(exc, ExceptionGroup):
        group = cast("ExceptionGroup[Exception]", exc)
        return (
            APIConnectionError(sentence(group)) if all(map(map_error, group.exceptions)) else None
        )
    return _http11.map_error(exc)


class AsyncClient(AsyncBaseClient):
    """A client on trio; `ssl_context` says whom it trusts, by default whom the system does.

    There is nothing to close but its streams.
    """

    def __init__(
        self, *, ssl_context: ssl.SSLContext | None = None, **settings: Unpack[ClientSettings]
    ) -> None:
        super().__init__(**settings)
        self._ssl_context = ssl_context or default_context()

    async def send(self, request: Request, timeouts: Timeout) -> AsyncReply:
        """Connect, send the request, and read the head; the body is read later."""
        exchange = Exchange(request)
        stream = await connected(Origin.of(request), self._ssl_context, timeouts.connect)
        try:
            # Who answers before all is sent, and closes, may have said why: a 413, say.
            with contextlib.suppress(trio.BrokenResourceError):
                while exchange.has_pieces:
                    with within("send", timeouts.write):
                        await stream.send_all(exchange.piece())
            return await reply_of(stream, exchange, timeouts.read)
        except BaseException:
            await trio.aclose_forcefully(stream)
            raise

    async def close(self) -> None:
        """Do nothing: connections belong to their streams."""

    map_error = staticmethod(map_error)


async def reply_of(stream: trio.abc.Stream, exchange: Exchange, read: float | None) -> AsyncReply:
    """Read the head, and return what a stream is made of."""
    reader = ResponseReader(exchange, partial(receive, stream, read))
    head = await reader.head()
    return {
        **head,
        "chunks": reader,
        # Gracefully, TLS would send something, which can hang, and which a cancellation stops.
        "close": partial(trio.aclose_forcefully, stream),
        "is_pooled": False,
        "is_raw": True,
        "map_error": map_error,
        "owner": stream,
        "wakes": True,
    }


async def receive(stream: trio.abc.Stream, read: float | None, phase: Phase) -> bytes | bytearray:
    """Return what a stream receives next. No scope stays open between two reads."""
    with within(phase, read):
        return await stream.receive_some(PIECE_BYTES)


async def connected(
    origin: Origin,
    context: ssl.SSLContext,
    timeout: float | None,  # noqa: ASYNC109  (it says of which phase it was)
) -> trio.abc.Stream:
    """Return a stream that is connected, with TLS where that is asked for."""
    since = trio.current_time()
    with within("connect", timeout):
        stream = await trio.open_tcp_stream(origin.host, origin.port)
    if not origin.is_secure:
        return stream
    # Not `https_compatible`: that takes a cut for the end of a body without a length.
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
    """Raise TimeoutError after so long, counted from now or from then; None waits for ever."""
    start = trio.current_time() if since is None else since
    with trio.CancelScope(deadline=start + (math.inf if seconds is None else seconds)) as scope:
        yield
    if scope.cancelled_caught:
        raise TimeoutError(overdue(phase, seconds))
