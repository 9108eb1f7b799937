"""Streams and clients for httpx and httpx2.

The module uses whichever of the two is installed, or the client that is passed in. It changes no
setting of that client: pool, proxies, redirects and HTTP/2 stay as they are. Bodies are decoded
here, in pieces.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
import weakref
from collections.abc import AsyncIterator, Iterator
from functools import cache
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import TYPE_CHECKING, Any, Final, Unpack

from sansio_stream.errors import APIConnectionError, APIError, APITimeoutError, Verdict
from sansio_stream.request import check_response

from ._bridge import AsyncMessageStream, AsyncReply, MessageStream, Reply, StreamOptions
from ._client import AsyncBaseClient, BaseClient
from ._concurrency import at_most, to_its_end
from ._decoding import OFFERED, RESPONSE_PIECE_BYTES
from ._dropped import handing_over
from ._errors import map_system_error, sentence
from ._httpcore import Watch, shut_down
from ._reply import headers_in_text
from ._settings import ClientSettings, with_timeout
from ._timeout import REQUEST_PIECE_BYTES, overdue

if TYPE_CHECKING:
    from collections.abc import Callable

    from sansio_stream.request import Request

    from ._timeout import Phase, Timeout

__all__ = ["AsyncClient", "Client", "from_async_response", "from_response"]

LIBRARIES = ("httpx", "httpx2")

PHASES: Final[dict[str, Phase]] = {"connect": "connect", "pool": "pool", "write": "send"}
"""The phase of a timeout, by the name of its exception class."""


def from_response(
    response: Any, *, is_decoded: bool = False, **options: Unpack[StreamOptions]
) -> MessageStream:
    """Return the stream of a response that was requested with `stream=True` and is not yet read.

    Args:
        response: the response of httpx or httpx2.
        is_decoded: whether the library decodes the body, with all encodings that it has offered. By
            default it is decoded here, in pieces, and only gzip and deflate are known.
        options: see `StreamOptions`.
    """
    return MessageStream(**reply_of(response, is_decoded=is_decoded), **options)


def from_async_response(
    response: Any, *, is_decoded: bool = False, **options: Unpack[StreamOptions]
) -> AsyncMessageStream:
    """Return the stream of a response that an AsyncClient requested with `stream=True`.

    For the arguments, see `from_response`.
    """
    return AsyncMessageStream(**async_reply_of(response, is_decoded=is_decoded), **options)


def map_error(exc: Exception, awaited: Phase = "read") -> APIError | None:
    """Return the APIError for an exception of httpx, httpx2 or the system, or None.

    `awaited` is the phase that a read timeout belongs to.
    """
    for name in LIBRARIES:
        httpx = sys.modules.get(name)
        if httpx is None:
            continue
        if isinstance(exc, httpx.HTTPStatusError):  # raised by a hook of the caller's client
            refused: Any = exc
            response = refused.response
            return check_response(response.status_code, response.headers.multi_items(), b"")
        if isinstance(exc, httpx.TimeoutException):
            return APITimeoutError(f"{type(exc).__name__}: {timeout_text(exc, awaited)}")
        if isinstance(exc, (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError)):
            verdict = Verdict.BROKEN if is_of_h11(exc) else Verdict.PENDING
            return APIConnectionError(sentence(exc), verdict=verdict)
    return map_system_error(exc)


def map_head_error(exc: Exception) -> APIError | None:
    """Return the APIError for an exception that was raised before the response head arrived."""
    return map_error(exc, "head")


def timeout_text(exc: Any, awaited: Phase) -> str:
    """Return the message of a timeout. httpx's own says little; with trio it is "Cancelled"."""
    seconds: dict[str, float | None] = {}
    with contextlib.suppress(RuntimeError):  # a transport of the caller has not set `request`
        seconds = exc.request.extensions.get("timeout", {})
    name = type(exc).__name__.removesuffix("Timeout").lower()
    phase: Phase = "TLS" if "handshake" in str(exc) else PHASES.get(name, awaited)
    return overdue(phase, seconds.get(name))


def is_of_h11(exc: BaseException) -> bool:
    """Whether the peer sent invalid HTTP/1.1. False if it closed without a response."""
    h11 = sys.modules.get("h11")
    cause: BaseException | None = exc
    while cause is not None and h11 is not None:
        if isinstance(cause, h11.RemoteProtocolError):
            return True
        cause = cause.__cause__ or cause.__context__
    return False


class Client(BaseClient):
    """A client on `httpx.Client`.

    `http_client` is your own client. It stays open. Its timeouts apply unless this client or a call
    sets others, but httpx's default timeout does not apply.

    Without `http_client` this client has its own pool. The pool is closed by `close`, or when the
    client and its streams are dropped.
    """

    def __init__(self, *, http_client: Any = None, **settings: Unpack[ClientSettings]) -> None:
        super().__init__(**with_timeouts_of(http_client, settings))
        self.has_http_client = bool(http_client)
        self._http = http_client or library().Client(cookies=no_cookies())
        self._owns = None if http_client else weakref.finalize(self, self._http.close)

    def send(self, request: Request, timeouts: Timeout) -> Reply:
        """Send the request once, and return the response before its body is read."""
        watch = Watch(timeouts)
        with watch.on():
            # No variable here holds the URL or the key, because a traceback would show it.
            return reply_of(
                self._http.send(built(self._http, request, timeouts, trace=watch), stream=True)
            )

    def close(self) -> None:
        """Close the pool, unless `http_client` was passed in."""
        if self._owns is not None:
            self._owns()

    map_error = staticmethod(map_head_error)


class AsyncClient(AsyncBaseClient):
    """A client on `httpx.AsyncClient`, in asyncio or trio.

    `http_client` is your own client. It stays open. Its timeouts apply unless this client or a call
    sets others, but httpx's default timeout does not apply.

    Without `http_client` this client has its own pool. The pool is closed by `close`, or by its
    event loop when the client and its streams are dropped.
    """

    def __init__(self, *, http_client: Any = None, **settings: Unpack[ClientSettings]) -> None:
        super().__init__(**with_timeouts_of(http_client, settings))
        self.has_http_client = bool(http_client)
        self._http = http_client or library().AsyncClient(cookies=no_cookies())
        self._is_ours = not http_client
        self._owns: weakref.finalize[..., AsyncClient] | None = None

    async def send(self, request: Request, timeouts: Timeout) -> AsyncReply:
        """Send the request once, and return the response before its body is read."""
        if self._is_ours and self._owns is None:
            self._owns = weakref.finalize(self, handing_over(), self._http.aclose)
        return async_reply_of(
            await self._http.send(built(self._http, request, timeouts), stream=True)
        )

    async def close(self) -> None:
        """Close the pool, unless `http_client` was passed in."""
        if self._owns is not None:
            self._owns.detach()
        if self._is_ours:
            await self._http.aclose()

    map_error = staticmethod(map_head_error)


def with_timeouts_of(http_client: Any, settings: ClientSettings) -> ClientSettings:
    """Return the settings, with the timeout of the caller's client if they have none.

    httpx's default of 5 s is ignored. The caller did not choose it, and it would end most answers
    early. The official SDK ignores it, too.
    """
    theirs = getattr(http_client, "timeout", None)
    is_chosen = theirs is not None and theirs != type(theirs)(5.0)
    return with_timeout(settings, theirs) if is_chosen else settings


def library() -> Any:
    """Return httpx, or httpx2 if only that is installed."""
    for name in LIBRARIES:
        with contextlib.suppress(ModuleNotFoundError):
            return importlib.import_module(name)
    error = ModuleNotFoundError("neither httpx nor httpx2 is installed", name="httpx")
    error.add_note("pip install 'sansio-stream[httpx]'")
    raise error


def no_cookies() -> CookieJar:
    """Return a cookie jar that stores nothing. Stored cookies would go with all later requests."""
    return CookieJar(DefaultCookiePolicy(allowed_domains=()))


def built(http: Any, request: Request, timeouts: Timeout, **extensions: Any) -> Any:
    """Return the library's request. Headers are bytes, because it accepts only ASCII in a str."""
    sent = http.build_request(
        request.method,
        request.url,
        headers=[
            (name.encode(), value.encode())
            for name, value in {"accept-encoding": OFFERED, **request.headers}.items()
        ],
        content=request.body,
        timeout=(timeouts.connect, timeouts.read, timeouts.write, timeouts.pool),
        extensions=extensions,
    )
    sent.stream = accepted(InPieces, sent.stream.__class__)(request.body)
    return sent


@cache
def accepted(ours: type[object], theirs: type[object]) -> Any:
    """Return our class of streams as a subclass of the library's class, so that it is accepted."""
    return type(ours.__name__, (ours, theirs), {})


class InPieces:
    """A request body that is given to the library in pieces.

    The library's own class gives the whole body at once, under a single write timeout. A long
    request on a slow line would then time out while it makes progress.

    The iterators are not generators. If sending fails, a generator is left unfinished, and trio
    warns about it.
    """

    def __init__(self, body: bytes) -> None:
        self._body = body

    def __iter__(self) -> Iterator[bytes]:
        return Pieces(self._body)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return Pieces(self._body)


class Pieces(Iterator[bytes], AsyncIterator[bytes]):
    """The pieces of a body, as an iterator and as an asynchronous iterator."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._at = 0

    def __next__(self) -> bytes:
        piece = self._body[self._at : self._at + REQUEST_PIECE_BYTES]
        if not piece:
            raise StopIteration
        self._at += REQUEST_PIECE_BYTES
        return piece

    async def __anext__(self) -> bytes:
        for piece in self:
            return piece
        raise StopAsyncIteration


def reply_of(response: Any, *, is_decoded: bool = False) -> Reply:
    """Return the arguments of a `MessageStream`."""
    is_raw = not (is_decoded or is_read(response))
    size = RESPONSE_PIECE_BYTES if is_read(response) else None
    return {
        "chunks": response.iter_raw() if is_raw else response.iter_bytes(size),
        "status": response.status_code,
        "headers": headers_in_text(response.headers.raw),
        "response": response,
        "close": response.close,
        "abort": abort_of(response),
        "is_pooled": True,
        "is_raw": is_raw,
        "map_error": map_error,
        "owner": response,
    }


def async_reply_of(response: Any, *, is_decoded: bool = False) -> AsyncReply:
    """Return the arguments of an `AsyncMessageStream`."""
    body: Body | None = None
    if not is_read(response):
        stream = response.stream
        if not isinstance(stream, ClosedToItsEnd):  # a caller may take two streams of a response
            response.stream = accepted(ClosedToItsEnd, stream.__class__)(stream)
        body = Body(response.aiter_bytes() if is_decoded else response.aiter_raw())

    async def close() -> None:
        await response.aclose()
        if body is not None:
            await body.end()

    return {
        "chunks": response.aiter_bytes(RESPONSE_PIECE_BYTES) if body is None else body,
        "status": response.status_code,
        "headers": headers_in_text(response.headers.raw),
        "response": response,
        "close": close,
        "is_pooled": True,
        "is_raw": body is not None and not is_decoded,
        "map_error": map_error,
        "owner": response,
        "close_ends_read": connection_of(response) is not None,
    }


def is_read(response: Any) -> bool:
    """Whether the body was read before, for example by a hook of the caller's client.

    If so, the library has decoded it and holds it as a whole.
    """
    with contextlib.suppress(RuntimeError):  # httpx.ResponseNotRead, or httpx2's
        return response.content is not None
    return False


class ClosedToItsEnd:
    """The stream of a response. No cancellation interrupts its `aclose`.

    The library closes a response in several steps, and waits between them. It shields them only
    from cancellations by trio and anyio. If asyncio cancelled between two steps, the pool would
    count the connection as used forever.
    """

    def __init__(self, stream: Any) -> None:
        self._response_stream = stream

    def __aiter__(self) -> AsyncIterator[bytes]:
        return aiter(self._response_stream)

    async def aclose(self) -> None:
        """Close the response."""
        await to_its_end(self._response_stream.aclose)


class Body(AsyncIterator[bytes]):
    """A body, read from nested async generators of httpx.

    If a caller leaves the outermost generator with `break`, the inner ones stay unfinished. trio
    warns about them, and asyncio ends them later, in other tasks. So this class keeps the
    outermost generator, and `end` ends all of them.
    """

    def __init__(self, generator: AsyncIterator[bytes]) -> None:
        self._generator = generator

    async def __anext__(self) -> bytes:
        chunk: bytes = await anext(self._generator)
        return chunk

    async def aclose(self) -> None:
        """Do nothing. Closing the outermost generator, as httpx2 does, would not end them all."""

    async def end(self) -> None:
        """End all generators: a cancellation of the innermost one passes through all of them.

        The response must be closed first. Otherwise a read over HTTP/2 might take bytes of another
        response.
        """
        await at_most(0, self._read_on)

    async def _read_on(self) -> None:
        async for _ in self._generator:
            pass


def abort_of(response: Any) -> Callable[[], None] | None:
    """Return a function that wakes a read of the response, or None if nothing can wake it."""
    connection = connection_of(response)
    if connection is None:
        return None

    def abort() -> None:
        # After the response is closed, another request may use the connection.
        if not response.is_closed:
            shut_down(connection)

    return abort


def connection_of(response: Any) -> Any:
    """Return the connection if it serves only this response, else None, as over HTTP/2."""
    connection = response.extensions.get("network_stream")
    return None if response.http_version == "HTTP/2" else connection
