"""aiohttp: a response of its in, a stream out; and a client that sends the request.

A session that is passed in is used as it is: its pool, proxies, cookies and content-decoding are
its own. Redirects are not followed.
"""

from __future__ import annotations

import asyncio
import math
import weakref
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Final, Unpack

try:
    import aiohttp
except ModuleNotFoundError as error:
    error.add_note("pip install 'sansio-stream[aiohttp]'")
    raise
from yarl import URL

from sansio_stream.errors import APIConnectionError, APIError

from ._bridge import AsyncMessageStream, AsyncReply, StreamOptions
from ._client import AsyncBaseClient, ClientSettings
from ._concurrency import start_soon
from ._feed import map_system_error, sentence

if TYPE_CHECKING:
    from sansio_stream.request import Request

    from ._timeout import Timeout

__all__ = ["AsyncClient", "from_response"]

LOOK_SECONDS: Final = 2.0
"""How long a read waits before it looks whether there is still a connection."""


def from_response(
    response: aiohttp.ClientResponse, **options: Unpack[StreamOptions]
) -> AsyncMessageStream:
    """Return the stream of a response whose body is not read yet."""
    return AsyncMessageStream(**reply_of(response), **options)


def map_error(exc: Exception) -> APIError | None:
    """Return our exception for one of aiohttp, or of the system under it."""
    if isinstance(exc, aiohttp.ClientError) and not isinstance(exc, TimeoutError):
        return APIConnectionError(sentence(exc))
    return map_system_error(exc)


class AsyncClient(AsyncBaseClient):
    """A client on `aiohttp.ClientSession`; `http_client` is one of yours, which stays open.

    Its own session is closed by `close`; when the client is dropped, by the loop that runs then.
    """

    def __init__(
        self,
        *,
        http_client: aiohttp.ClientSession | None = None,
        **settings: Unpack[ClientSettings],
    ) -> None:
        super().__init__(**settings)
        self._session = http_client
        self._owns: weakref.finalize[..., AsyncClient] | None = None

    async def send(self, request: Request, timeouts: Timeout) -> AsyncReply:
        """Send the request once; the body is read later."""
        if self._session is None:  # aiohttp wants a running loop to make one
            self._session = aiohttp.ClientSession()
            self._owns = weakref.finalize(self, start_soon, self._session.close)
        response = await self._session.request(
            request.method,
            URL(request.url, encoded=True),  # else it is written anew, with %2F as a slash
            headers=request.headers,
            skip_auto_headers=["content-type"],
            data=request.body,
            timeout=client_timeout(timeouts),
            raise_for_status=False,
            allow_redirects=False,  # to another host aiohttp would send the key as well
        )
        reply = reply_of(response, timeouts.read)
        # aiohttp itself keeps a response that nobody holds, until the server sends or the read
        # times out.
        weakref.finalize(reply["chunks"], response.close)
        return reply

    async def close(self) -> None:
        """Close the session, if it is ours."""
        if self._session is not None and self._owns is not None and self._owns.detach():
            await self._session.close()

    map_error = staticmethod(map_error)


def client_timeout(timeouts: Timeout) -> aiohttp.ClientTimeout:
    """Return aiohttp's timeouts. It has none for writing; its `connect` waits for the pool, too.

    Its `total` would end a long answer after five minutes.
    """
    both = (timeouts.pool, timeouts.connect)
    return aiohttp.ClientTimeout(
        total=None,
        connect=None if None in both else sum(filter(None, both)),
        sock_connect=timeouts.connect,
        sock_read=timeouts.read,
    )


def reply_of(response: aiohttp.ClientResponse, read_timeout: float | None = None) -> AsyncReply:
    """Return what a stream is made of."""

    async def close() -> None:
        response.close()  # at the end of a body aiohttp has given the connection back already

    return {
        "chunks": Chunks(response, read_timeout),
        "status": response.status,
        "headers": response.headers.items(),
        "response": response,
        "close": close,
        "map_error": map_error,
    }


class Chunks(AsyncIterator[bytes]):
    """The body as it comes. Better than aiohttp's iterators (3.14) where the connection breaks.

    Those forget what came before: of a message that is read slowly, its end. And behind a chunk
    whose size is none, or a session that another task closes, they wait for ever: aiohttp wakes
    nobody there, and takes back its own read timeout.
    """

    def __init__(self, response: aiohttp.ClientResponse, read_timeout: float | None) -> None:
        self._response = response
        self._content = response.content
        self._read_timeout = math.inf if read_timeout is None else read_timeout

    async def __anext__(self) -> bytes:
        chunk = b""
        if self._content.exception() is not None:
            # Nothing public reads on behind an exception. If this is gone one day, no more is lost
            # than aiohttp loses.
            read_nowait = getattr(self._content, "_read_nowait", None)
            chunk = b"" if read_nowait is None else read_nowait(-1)
        chunk = chunk or await self._read()
        if not chunk:
            raise StopAsyncIteration
        return chunk

    async def _read(self) -> bytes:
        left = self._read_timeout
        while True:
            step = min(left, LOOK_SECONDS)
            try:
                async with asyncio.timeout(step):
                    return await self._content.readany()
            except TimeoutError:
                left -= step
                connection = self._response.connection
                if connection is not None and connection.transport is None:
                    raise aiohttp.ClientPayloadError("the connection is gone") from None
                if left <= 0:
                    raise
