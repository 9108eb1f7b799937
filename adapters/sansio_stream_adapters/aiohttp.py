"""aiohttp: a response of its in, a stream out; and a client that sends the request.

A session that is passed in is used as it is: its pool, proxies, cookies and the size of its heads
are its own. Redirects are not followed. Bodies that a client asked for are decoded here, in pieces.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import re
import time
import weakref
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, Final, Unpack
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

try:
    import aiohttp
    from aiohttp.client import DEFAULT_TIMEOUT
except ModuleNotFoundError as error:
    error.add_note("pip install 'sansio-stream[aiohttp]'")
    raise
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from sansio_stream.errors import APIConnectionError, APIError, Verdict, excerpt
from sansio_stream.request import check_response

from ._bridge import AsyncMessageStream, AsyncReply, StreamOptions
from ._client import AsyncBaseClient
from ._decoding import OFFERED
from ._dropped import handing_over
from ._errors import map_system_error, sentence
from ._reply import headers_in_text
from ._settings import ClientSettings, with_timeout
from ._timeout import Timeout, overdue

if TYPE_CHECKING:
    from sansio_stream.request import Request

__all__ = ["AsyncClient", "from_response"]

LOOK_SECONDS: Final = 2.0
"""How long a read waits before it looks whether there is still a connection."""

PIECE_BYTES: Final = 65_536
"""How much of a request is sent at once: each piece has its own timeout."""

HEAD_LINE_BYTES: Final = 102_400
"""How long a line of a response's head may be: as long as a head of the other adapters. aiohttp's
own 8,190 would refuse what they accept. It counts 128 lines at most, so a head has a bound, too.
"""


def from_response(
    response: aiohttp.ClientResponse, **options: Unpack[StreamOptions]
) -> AsyncMessageStream:
    """Return the stream of a response whose body is not read yet."""
    return AsyncMessageStream(**reply_of(response), **options)


def map_error(exc: Exception) -> APIError | None:
    """Return our exception for one of aiohttp, or of the system under it.

    aiohttp's own may hold the URL, the headers of the request and the password of a proxy, and show
    them. Of those the cause is a copy without.
    """
    error = known_error(exc)
    if error is not None:
        error.__cause__ = without_request(exc)
    return error


def known_error(exc: Exception) -> APIError | None:
    """Return our exception, in words that show nothing of the request."""
    if isinstance(exc, aiohttp.ClientHttpProxyError):
        return APIConnectionError(told(exc, f"the proxy answered {exc.status} {exc.message}"))
    if isinstance(exc, aiohttp.ClientResponseError):
        is_of_parser = isinstance(exc.__cause__, aiohttp.http.HttpProcessingError)
        if exc.status >= 400 and not is_of_parser:
            # Raised by a middleware of the caller's, for an answer that it has looked at.
            answer = check_response(exc.status, (exc.headers or {}).items(), b"")
            return answer if isinstance(answer, APIError) else None
        malformed = "" if "content-encoding" in exc.message else "the answer is malformed: "
        return APIConnectionError(told(exc, malformed + exc.message), verdict=Verdict.BROKEN)
    if isinstance(exc, aiohttp.InvalidURL):
        return APIConnectionError(told(exc, "the URL cannot be used"))
    if isinstance(exc, aiohttp.ClientError) and not isinstance(exc, TimeoutError):
        return APIConnectionError(re.sub(PARSERS_STATUS, "", sentence(exc)))
    return map_system_error(exc)


def without_request(exc: Exception) -> Exception:
    """Return an exception as it is, but for what aiohttp's hold of the request and the proxy."""
    copy: Exception
    if isinstance(exc, aiohttp.ClientResponseError):
        copy = type(exc)(NO_REQUEST, (), status=exc.status, message=exc.message)
    elif isinstance(exc, aiohttp.ClientConnectorError) and exc.args[0].proxy is not None:
        key = exc.args[0]._replace(proxy=None, proxy_auth=None)
        copy = type(exc)(key, *exc.args[1:])
    elif isinstance(exc, aiohttp.InvalidURL):
        copy = type(exc)("a URL", exc.description)
    else:
        return exc
    copy.__cause__ = exc.__cause__
    return copy.with_traceback(exc.__traceback__)


NOTHING: CIMultiDictProxy[str] = CIMultiDictProxy(CIMultiDict())
NO_REQUEST: Final = aiohttp.RequestInfo(URL(), "POST", NOTHING, URL())


PARSERS_STATUS: Final = r"\b400, message[:=] ?"
"""What stands before each fault that aiohttp's parser finds: the server has not said so."""


def told(exc: Exception, words: str) -> str:
    """Return what to say of an exception in one line, because its own words show the URL."""
    return f"{type(exc).__name__}: {excerpt(' '.join(words.split()))}"


class AsyncClient(AsyncBaseClient):
    """A client on `aiohttp.ClientSession`; `http_client` is one of yours, which stays open.

    Timeouts of yours hold unless others are asked for, here or by a call; aiohttp's default does
    not, which would end a long answer after five minutes.
    Its own session is closed by `close`; by its loop, when the client and its streams are dropped.
    """

    def __init__(
        self,
        *,
        http_client: aiohttp.ClientSession | None = None,
        **settings: Unpack[ClientSettings],
    ) -> None:
        theirs = None if http_client is None else http_client.timeout
        self._theirs = None if theirs == DEFAULT_TIMEOUT else theirs
        if self._theirs is not None:
            settings = with_timeout(settings, in_our_words(self._theirs))
        super().__init__(**settings)
        self._session = http_client
        self._owns: weakref.finalize[..., AsyncClient] | None = None

    async def send(self, request: Request, timeouts: Timeout) -> AsyncReply:
        """Send the request once; the body is read later."""
        if self._session is None:  # aiohttp wants a running loop to make one
            self._session = aiohttp.ClientSession(
                max_field_size=HEAD_LINE_BYTES, cookie_jar=aiohttp.DummyCookieJar()
            )
            self._owns = weakref.finalize(self, handing_over(), self._session.close)
        timeout = client_timeout(timeouts)
        if self._theirs is not None and timeouts == in_our_words(self._theirs):
            timeout = self._theirs  # with its `total`, which counts for each attempt anew
        body = RequestBody(request.body, timeouts.write)
        since = time.monotonic()
        try:
            response = await self._session.request(
                request.method,
                URL(request.url, encoded=True),  # else it is written anew, with %2F as a slash
                headers={"accept-encoding": OFFERED, **request.headers},
                skip_auto_headers=["content-type"],
                data=body,
                timeout=timeout,
                auto_decompress=False,  # it decodes layer upon layer, and each chunk whole
                raise_for_status=False,
                allow_redirects=False,  # to another host aiohttp would send the key as well
                # Not `trust_env`: that reads netrc, too, and sends what it finds beside the key.
                proxy=None if self._owns is None else proxy_of(request.url),
            )
        except aiohttp.ServerTimeoutError as exc:
            body.abort()
            if body.has_begun:
                raise TimeoutError(overdue("head", timeouts.read)) from exc
            in_all = timeout.connect
            if in_all is not None and time.monotonic() - since >= in_all:
                raise TimeoutError(overdue("pool", in_all)) from exc
            raise TimeoutError(overdue("connect", timeouts.connect)) from exc
        except BaseException:
            body.abort()
            raise
        return {**reply_of(response, timeouts.read), "is_raw": True}

    async def close(self) -> None:
        """Close the session, if it is ours."""
        if self._session is not None and self._owns is not None and self._owns.detach():
            await self._session.close()

    map_error = staticmethod(map_error)


def in_our_words(theirs: aiohttp.ClientTimeout) -> Timeout:
    """Return what can be said of aiohttp's timeouts in ours; its 0 is our None."""
    return Timeout(
        connect=theirs.sock_connect or None,
        read=theirs.sock_read or None,
        pool=theirs.connect or None,
    )


def client_timeout(timeouts: Timeout) -> aiohttp.ClientTimeout:
    """Return aiohttp's timeouts. It has none for writing: `RequestBody` has. Its `connect` waits
    for the pool, too, and its `total` would end a long answer after five minutes.
    """
    both = (timeouts.pool, timeouts.connect)
    return aiohttp.ClientTimeout(
        total=None,
        connect=None if None in both else sum(filter(None, both)),
        sock_connect=timeouts.connect,
        sock_read=timeouts.read,
    )


def proxy_of(url: str) -> str | None:
    """Return the URL of the proxy that the environment names for a URL; None where NO_PROXY names
    its host.
    """
    parts, proxies = urlsplit(url), getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if not proxy or proxy_bypass(parts.netloc):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def reply_of(response: aiohttp.ClientResponse, read_timeout: float | None = None) -> AsyncReply:
    """Return what a stream is made of."""
    transport = transport_of(response)

    async def close() -> None:
        abort(response)
        # At the end of a body aiohttp has given the connection back already, or closes it in its
        # own time, where something came behind the body: under TLS longer than the loop may run.
        if transport is not None and transport.is_closing():
            abort_transport(transport)

    return {
        "chunks": Chunks(response, read_timeout),
        "status": response.status,
        "headers": headers_in_text(response.raw_headers),
        "response": response,
        "close": close,
        "is_pooled": True,
        "map_error": map_error,
        "owner": response,
    }


def abort(response: aiohttp.ClientResponse) -> None:
    """Close a response, and its connection at once, if it has one still.

    aiohttp closes gracefully: what is not sent yet, and the end of TLS, keep the socket open for as
    long as the peer does not read.
    """
    transport = transport_of(response)
    response.close()
    if transport is not None:
        abort_transport(transport)


def transport_of(response: aiohttp.ClientResponse) -> asyncio.Transport | None:
    """Return the connection of a response; None where it has been given back."""
    connection = response.connection
    return None if connection is None else connection.transport


def abort_transport(transport: asyncio.WriteTransport) -> None:
    """Close a connection without sending anything."""
    with contextlib.suppress(RuntimeError):  # its loop is closed
        transport.abort()


class RequestBody(aiohttp.Payload):
    """The body of a request, sent in pieces, each of which must be taken within so many seconds.

    aiohttp sends bytes at once and waits for ever for a peer that takes none; of more than 1 MiB it
    warns. A body of known size goes out with a content-length.
    """

    def __init__(self, data: bytes, seconds: float | None) -> None:
        super().__init__(data, content_type="application/json")
        self._data = data
        self._size = len(data)
        self._seconds = seconds
        self._transport: asyncio.Transport | None = None
        self.has_begun = False
        """Whether there was a connection to send it on."""

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """Return the text, for who wants to look at it: a middleware of the caller's session."""
        return self._data.decode(encoding, errors)

    async def write(self, writer: Any) -> None:
        """Send all. Raises TimeoutError; the connection is closed then.

        Who answers before all is sent, and closes, may have said why: a 413, say. So that is no
        error here, and the head is read.
        """
        self._transport = writer.transport
        HeadFirst.put_before(writer.protocol, writer.transport)
        self.has_begun = True
        try:
            for at in range(0, len(self._data), PIECE_BYTES):
                # First the loop reads what has come: a write that fails drops what is not read.
                await asyncio.sleep(0)
                async with asyncio.timeout(self._seconds):
                    await writer.write(self._data[at : at + PIECE_BYTES])
                    await writer.drain()
        except ConnectionError:
            return
        except TimeoutError as exc:
            self.abort()
            raise TimeoutError(overdue("send", self._seconds)) from exc
        except BaseException:
            self.abort()
            raise

    async def write_with_length(self, writer: Any, content_length: int | None) -> None:  # noqa: ARG002
        """Send all: there is no other content-length than ours."""
        await self.write(writer)

    def abort(self) -> None:
        """Close the connection on which the body was sent, or began to be, if there is one."""
        if self._transport is not None:
            abort_transport(self._transport)


class HeadFirst(asyncio.Protocol):
    """Hands over the head of a response before what came with it.

    aiohttp parses all that has come at once, and where that breaks HTTP, behind a whole answer
    even, it forgets the head, too: the request seems not to have been answered. This stays on its
    connection, and looks for a head when a request is sent. It knows of HTTP where a head ends.
    """

    FINAL: Final = re.compile(rb"\s*HTTP/\d\.\d [2-9]")
    END: Final = re.compile(rb"\n\r?\n")

    def __init__(self, protocol: asyncio.Protocol, transport: asyncio.Transport) -> None:
        self._protocol = protocol
        self._transport = transport
        self._is_looking = False
        self._first = b""
        self._last = b""

    @classmethod
    def put_before(cls, protocol: asyncio.Protocol, transport: asyncio.Transport | None) -> None:
        """Stand between a connection and its protocol, and look for the next head."""
        if transport is None:
            return
        between = transport.get_protocol()
        if not isinstance(between, cls):
            between = cls(protocol, transport)
            transport.set_protocol(between)
        between._is_looking = True
        between._first = between._last = b""

    def data_received(self, data: bytes) -> None:
        """Hand over what has come, cut behind each head up to that of the answer."""
        while self._is_looking and data:
            end = self.END.search(self._last + data)
            here = len(data) if end is None else end.end() - len(self._last)
            head, data = data[:here], data[here:]
            self._first = (self._first + head[:32])[:32]
            if end is None:
                self._last = (self._last + head)[-3:]
            else:
                self._is_looking = self.FINAL.match(self._first) is None
                self._first = self._last = b""
            self._protocol.data_received(head)
            if self._transport.is_closing():  # it was no head
                return
        if data:
            self._protocol.data_received(data)

    def eof_received(self) -> bool | None:
        """Hand over that the peer sends no more."""
        return self._protocol.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """Hand over how the connection ended."""
        self._protocol.connection_lost(exc)

    def pause_writing(self) -> None:
        """Hand over that the peer does not keep up."""
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        """Hand over that it does again."""
        self._protocol.resume_writing()


class Chunks(AsyncIterator[bytes]):
    """The body as it comes. Better than aiohttp's iterators (3.14) where the connection breaks.

    Those forget what came before: of a message that is read slowly, its end. And behind a chunk
    whose size is none, or a session that another task closes, they wait for ever: aiohttp wakes
    nobody there, and takes back its own read timeout.
    """

    def __init__(self, response: aiohttp.ClientResponse, read_timeout: float | None) -> None:
        self._response = response
        self._content = response.content
        self._read_timeout = read_timeout

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
        left = math.inf if self._read_timeout is None else self._read_timeout
        while True:
            step = min(left, LOOK_SECONDS)
            waiting = asyncio.timeout(step)
            try:
                async with waiting:
                    return await self._content.readany()
            except aiohttp.ServerTimeoutError as exc:
                raise TimeoutError(overdue("read", self._read_timeout)) from exc
            except TimeoutError as exc:
                if not waiting.expired():
                    raise  # aiohttp's own, by the session's `total`
                left -= step
                connection = self._response.connection
                if connection is not None and connection.transport is None:
                    raise aiohttp.ClientPayloadError("the connection is gone") from None
                if left <= 0:
                    raise TimeoutError(overdue("read", self._read_timeout)) from exc
