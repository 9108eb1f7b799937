"""httpx and httpx2: a response of theirs in, a stream out; and clients that send the request.

Works with whichever of the two is installed, or with the client that is passed in, as it is: its
pool, proxies, redirects and HTTP/2 are its own. Bodies are decoded here, in pieces.
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
from ._concurrency import at_most
from ._decoding import OFFERED
from ._dropped import handing_over
from ._errors import map_system_error, sentence
from ._httpcore import Watch, shut_down
from ._reply import headers_in_text
from ._settings import ClientSettings, with_timeout
from ._timeout import overdue

if TYPE_CHECKING:
    from collections.abc import Callable

    from sansio_stream.request import Request

    from ._timeout import Phase, Timeout

__all__ = ["AsyncClient", "Client", "from_async_response", "from_response"]

LIBRARIES = ("httpx", "httpx2")

PHASES: Final[dict[str, Phase]] = {"connect": "connect", "pool": "pool", "write": "send"}
"""Of which phase a timeout is, by its name."""

PIECE_BYTES: Final = 65_536
"""How much of a request is sent at once: each piece has its own timeout."""


def from_response(response: Any, **options: Unpack[StreamOptions]) -> MessageStream:
    """Return the stream of a response that was got with `stream=True`, and is not read yet."""
    return MessageStream(**reply_of(response), **options)


def from_async_response(response: Any, **options: Unpack[StreamOptions]) -> AsyncMessageStream:
    """Return the stream of a response that an AsyncClient got with `stream=True`."""
    return AsyncMessageStream(**async_reply_of(response), **options)


def map_error(exc: Exception, awaited: Phase = "read") -> APIError | None:
    """Return our exception for one of httpx, httpx2, or of the system under them. `awaited` is what
    it read.
    """
    for name in LIBRARIES:
        httpx = sys.modules.get(name)
        if httpx is None:
            continue
        if isinstance(exc, httpx.HTTPStatusError):  # by a hook of the caller's client
            refused: Any = exc
            response = refused.response
            return check_response(response.status_code, response.headers.multi_items(), b"")
        if isinstance(exc, httpx.TimeoutException):
            return APITimeoutError(f"{type(exc).__name__}: {told_of_timeout(exc, awaited)}")
        if isinstance(exc, (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError)):
            verdict = Verdict.BROKEN if is_of_h11(exc) else Verdict.PENDING
            return APIConnectionError(sentence(exc), verdict=verdict)
    return map_system_error(exc)


def map_head_error(exc: Exception) -> APIError | None:
    """The same for one that came before the head did."""
    return map_error(exc, "head")


def told_of_timeout(exc: Any, awaited: Phase) -> str:
    """Return what to say of a timeout: httpx itself says little, and trio's are "Cancelled"."""
    seconds: dict[str, float | None] = {}
    with contextlib.suppress(RuntimeError):  # a transport of the caller's may not say of what it is
        seconds = exc.request.extensions.get("timeout", {})
    name = type(exc).__name__.removesuffix("Timeout").lower()
    phase: Phase = "TLS" if "handshake" in str(exc) else PHASES.get(name, awaited)
    return overdue(phase, seconds.get(name))


def is_of_h11(exc: BaseException) -> bool:
    """Whether what came is no HTTP/1.1. Of a connection that has just ended h11 is not asked."""
    h11 = sys.modules.get("h11")
    cause: BaseException | None = exc
    while cause is not None and h11 is not None:
        if isinstance(cause, h11.RemoteProtocolError):
            return True
        cause = cause.__cause__ or cause.__context__
    return False


class Client(BaseClient):
    """A client on `httpx.Client`; `http_client` is one of yours, which stays open.

    Timeouts of yours hold unless others are asked for, here or by a call; httpx's default does not.
    Its own pool is closed by `close`, or when the client and its streams are dropped.
    """

    def __init__(self, *, http_client: Any = None, **settings: Unpack[ClientSettings]) -> None:
        super().__init__(**with_timeouts_of(http_client, settings))
        self._http = http_client or library().Client(cookies=no_cookies())
        self._owns = None if http_client else weakref.finalize(self, self._http.close)

    def send(self, request: Request, timeouts: Timeout) -> Reply:
        """Send the request once; the body is read later."""
        watch = Watch(timeouts)
        with watch.on():
            # No variable of ours holds what shows the URL or the key: it would be in the traceback.
            return reply_of(
                self._http.send(built(self._http, request, timeouts, trace=watch), stream=True)
            )

    def close(self) -> None:
        """Close the pool, if it is ours."""
        if self._owns is not None:
            self._owns()

    map_error = staticmethod(map_head_error)


class AsyncClient(AsyncBaseClient):
    """A client on `httpx.AsyncClient`, in asyncio or trio; `http_client` is one of yours.

    Timeouts of yours hold unless others are asked for, here or by a call; httpx's default does not.
    Its own pool is closed by `close`, or by its loop when the client and its streams are dropped.
    """

    def __init__(self, *, http_client: Any = None, **settings: Unpack[ClientSettings]) -> None:
        super().__init__(**with_timeouts_of(http_client, settings))
        self._http = http_client or library().AsyncClient(cookies=no_cookies())
        self._is_ours = not http_client
        self._owns: weakref.finalize[..., AsyncClient] | None = None

    async def send(self, request: Request, timeouts: Timeout) -> AsyncReply:
        """Send the request once; the body is read later."""
        if self._is_ours and self._owns is None:
            self._owns = weakref.finalize(self, handing_over(), self._http.aclose)
        return async_reply_of(
            await self._http.send(built(self._http, request, timeouts), stream=True)
        )

    async def close(self) -> None:
        """Close the pool, if it is ours."""
        if self._owns is not None:
            self._owns.detach()
        if self._is_ours:
            await self._http.aclose()

    map_error = staticmethod(map_head_error)


def with_timeouts_of(http_client: Any, settings: ClientSettings) -> ClientSettings:
    """Return the settings; where they have no timeout, with that of the caller's client.

    Not where it is httpx's default: 5 s, chosen by nobody, would cut most answers. The official SDK
    does the same.
    """
    theirs = getattr(http_client, "timeout", None)
    is_chosen = theirs is not None and theirs != type(theirs)(5.0)
    return with_timeout(settings, theirs) if is_chosen else settings


def library() -> Any:
    """Return httpx, or httpx2 where only that is installed."""
    for name in LIBRARIES:
        with contextlib.suppress(ModuleNotFoundError):
            return importlib.import_module(name)
    error = ModuleNotFoundError("neither httpx nor httpx2 is installed", name="httpx")
    error.add_note("pip install 'sansio-stream[httpx]'")
    raise error


def no_cookies() -> CookieJar:
    """Return a jar that keeps nothing: what a server sets would be sent with all later requests."""
    return CookieJar(DefaultCookiePolicy(allowed_domains=()))


def built(http: Any, request: Request, timeouts: Timeout, **extensions: Any) -> Any:
    """Return the library's request. Headers go in bytes, because of a str it takes ASCII only."""
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
    sent.stream = in_pieces(sent.stream.__class__)(request.body)
    return sent


@cache
def in_pieces(stream: type[object]) -> Any:
    """Return the class of bodies in pieces that the library takes for one of its own."""
    return type("InPieces", (InPieces, stream), {})


class InPieces:
    """The body of a request, which is given in pieces.

    The library's own gives all at once, and its timeout of writing holds for what it is given: a
    long request on a slow line would be given up, although it goes on. Nor is it a generator: one
    that is left in the middle, where sending fails, trio warns of.
    """

    def __init__(self, body: bytes) -> None:
        self._body = body

    def __iter__(self) -> Iterator[bytes]:
        return Pieces(self._body)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return Pieces(self._body)


class Pieces(Iterator[bytes], AsyncIterator[bytes]):
    """The pieces of a body, for who waits and for who does not."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._at = 0

    def __next__(self) -> bytes:
        piece = self._body[self._at : self._at + PIECE_BYTES]
        if not piece:
            raise StopIteration
        self._at += PIECE_BYTES
        return piece

    async def __anext__(self) -> bytes:
        for piece in self:
            return piece
        raise StopAsyncIteration


def reply_of(response: Any) -> Reply:
    """Return what a stream is made of."""
    is_raw = not is_read(response)
    return {
        "chunks": response.iter_raw() if is_raw else response.iter_bytes(PIECE_BYTES),
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


def async_reply_of(response: Any) -> AsyncReply:
    """Return what an async stream is made of."""
    raw = None if is_read(response) else Raw(response.aiter_raw())

    async def close() -> None:
        await response.aclose()
        if raw is not None:
            await raw.end()

    return {
        "chunks": response.aiter_bytes(PIECE_BYTES) if raw is None else raw,
        "status": response.status_code,
        "headers": headers_in_text(response.headers.raw),
        "response": response,
        "close": close,
        "is_pooled": True,
        "is_raw": raw is not None,
        "map_error": map_error,
        "owner": response,
        "wakes": connection_of(response) is not None,
    }


def is_read(response: Any) -> bool:
    """Whether somebody has read the body already, such as a hook of the caller's client. Then the
    library has decoded it, and holds it whole.
    """
    with contextlib.suppress(RuntimeError):  # httpx.ResponseNotRead, or httpx2's
        return response.content is not None
    return False


class Raw(AsyncIterator[bytes]):
    """The body as it was sent, by httpx's generators, each of which reads another one.

    Where the outermost is left, by a `break`, the inner ones stay in the middle: of those trio
    warns, and asyncio ends them some time, in tasks. So here they are held, and ended from within.
    """

    def __init__(self, generator: AsyncIterator[bytes]) -> None:
        self._generator = generator

    async def __anext__(self) -> bytes:
        chunk: bytes = await anext(self._generator)
        return chunk

    async def aclose(self) -> None:
        """Do nothing: httpx2 closes what it has left, and that ends not all of them."""

    async def end(self) -> None:
        """End all of them: what is raised in the innermost, here a cancellation, passes them all.

        The response must be closed, or else a read might take bytes of another one over HTTP/2.
        """
        await at_most(0, self._read_on)

    async def _read_on(self) -> None:
        async for _ in self._generator:
            pass


def abort_of(response: Any) -> Callable[[], None] | None:
    """Return what wakes a read of the response, None where there is no such thing."""
    connection = connection_of(response)
    if connection is None:
        return None

    def abort() -> None:
        # Once it is closed, the pool may have given the connection to somebody else.
        if not response.is_closed:
            shut_down(connection)

    return abort


def connection_of(response: Any) -> Any:
    """Return the connection, if it is one and carries this response alone, as HTTP/2's does not."""
    connection = response.extensions.get("network_stream")
    return None if response.http_version == "HTTP/2" else connection
