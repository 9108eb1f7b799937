"""aiohttp: a response of its in, a stream out; and a client that sends the request.

A session that is passed in is used as it is: its pool, proxies, cookies and content-decoding are
its own. Redirects are not followed.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Unpack

import aiohttp

from sansio_stream.errors import APIConnectionError, APIError

from ._bridge import AsyncMessageStream, AsyncReply, StreamOptions
from ._client import AsyncBaseClient, ClientSettings
from ._concurrency import start
from ._feed import map_system_error, sentence

if TYPE_CHECKING:
    from sansio_stream.request import Request

    from ._timeout import Timeout

__all__ = ["AsyncClient", "from_response"]


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
            self._owns = weakref.finalize(self, start, self._session.close)
        response = await self._session.request(
            request.method,
            request.url,
            headers=request.headers,
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
        "chunks": Chunks(response.content, read_timeout),
        "status": response.status,
        "headers": response.headers.items(),
        "response": response,
        "close": close,
        "map_error": map_error,
    }


class Chunks(AsyncIterator[bytes]):
    """The body as it comes. Better than aiohttp's iterators (3.14) where the connection breaks.

    Those forget what came before: of a message that is read slowly, its end. And behind a chunk
    whose size is none they wait for ever, because aiohttp takes back its own read timeout there.
    """

    def __init__(self, content: aiohttp.StreamReader, read_timeout: float | None) -> None:
        self._content = content
        self._read_timeout = read_timeout

    async def __anext__(self) -> bytes:
        chunk = b""
        if self._content.exception() is not None:
            # Nothing public reads on behind an exception. If this is gone one day, no more is lost
            # than aiohttp loses.
            read_nowait = getattr(self._content, "_read_nowait", None)
            chunk = b"" if read_nowait is None else read_nowait(-1)
        if not chunk:
            async with asyncio.timeout(self._read_timeout):
                chunk = await self._content.readany()
        if not chunk:
            raise StopAsyncIteration
        return chunk
