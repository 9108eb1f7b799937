"""Streams and a client for aiohttp.

A session that is passed in keeps its settings: its pool, its proxies, its cookies and its limits
for response heads. Redirects are not followed. This module decodes the responses to requests of
its `AsyncClient`, in pieces.
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
from ._timeout import REQUEST_PIECE_BYTES, Timeout, overdue

if TYPE_CHECKING:
    from sansio_stream.request import Request

__all__ = ["AsyncClient", "from_response"]

LOOK_SECONDS: Final = 2.0
"""The interval in seconds at which a waiting read checks whether its connection still exists."""

HEAD_LINE_BYTES: Final = 102_400
"""The longest line of a response head in bytes. Other adapters limit the whole head to this size.

aiohttp's default of 8,190 would refuse heads that the others accept. aiohttp accepts at most 128
lines, so a head stays bounded.
"""


def from_response(
    response: aiohttp.ClientResponse, **options: Unpack[StreamOptions]
) -> AsyncMessageStream:
    """Return the stream of a response whose body is not yet read."""
    return AsyncMessageStream(**reply_of(response), **options)


def map_error(exc: Exception) -> APIError | None:
    """Return the APIError for an exception of aiohttp or the system, or None.

    An exception of aiohttp may contain and show the URL, the headers of the request and the
    password of a proxy. The cause of the APIError is then a copy without them.
    """
    error = known_error(exc)
    if error is not None:
        error.__cause__ = without_request(exc)
    return error


def known_error(exc: Exception) -> APIError | None:
    """Return the APIError for an exception. Its message shows nothing of the request."""
    if isinstance(exc, aiohttp.ClientHttpProxyError):
        return APIConnectionError(error_text(exc, f"the proxy answered {exc.status} {exc.message}"))
    if isinstance(exc, aiohttp.ClientResponseError):
        is_of_parser = isinstance(exc.__cause__, aiohttp.http.HttpProcessingError)
        if exc.status >= 400 and not is_of_parser:
            # A middleware of the caller raised it for a response that it has checked.
            answer = check_response(exc.status, (exc.headers or {}).items(), b"")
            return answer if isinstance(answer, APIError) else None
        malformed = "" if "content-encoding" in exc.message else "the answer is malformed: "
        return APIConnectionError(error_text(exc, malformed + exc.message), verdict=Verdict.BROKEN)
    if isinstance(exc, aiohttp.InvalidURL):
        return APIConnectionError(error_text(exc, "the URL cannot be used"))
    if isinstance(exc, aiohttp.ClientError) and not isinstance(exc, TimeoutError):
        return APIConnectionError(re.sub(PARSERS_STATUS, "", sentence(exc)))
    return map_system_error(exc)


def without_request(exc: Exception) -> Exception:
    """Return an exception without the request and the proxy: a copy if it contains them."""
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
"""The prefix of an error of aiohttp's parser. The server did not send this 400."""


def error_text(exc: Exception, words: str) -> str:
    """Return the class of an exception and `words` in one line. Its own text may show the URL."""
    return f"{type(exc).__name__}: {excerpt(' '.join(words.split()))}"


class AsyncClient(AsyncBaseClient):
    """A client on `aiohttp.ClientSession`.

    `http_client` is your own session. It stays open. Its timeouts apply unless this client or a
    call sets others. aiohttp's default timeout does not apply, because it would end a long answer
    after five minutes.

    Without `http_client` this client has its own session. The session is closed by `close`, or by
    its event loop when the client and its streams are dropped.
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
            settings = with_timeout(settings, from_client_timeout(self._theirs))
        super().__init__(**settings)
        self.has_http_client = http_client is not None
        self._session = http_client
        self._owns: weakref.finalize[..., AsyncClient] | None = None

    async def send(self, request: Request, timeouts: Timeout) -> AsyncReply:
        """Send the request once, and return the response before its body is read."""
        if self._session is None:  # made here: it needs a running loop
            self._session = aiohttp.ClientSession(
                max_field_size=HEAD_LINE_BYTES, cookie_jar=aiohttp.DummyCookieJar()
            )
            self._owns = weakref.finalize(self, handing_over(), self._session.close)
        timeout = client_timeout(timeouts)
        if self._theirs is not None and timeouts == from_client_timeout(self._theirs):
            timeout = self._theirs  # it has a `total`, which starts anew with each attempt
        body = RequestBody(request.body, timeouts.write)
        since = time.monotonic()
        try:
            response = await self._session.request(
                request.method,
                URL(request.url, encoded=True),  # else aiohttp turns %2F into a slash
                headers={"accept-encoding": OFFERED, **request.headers},
                skip_auto_headers=["content-type"],
                data=body,
                timeout=timeout,
                auto_decompress=False,  # aiohttp decodes each chunk as a whole
                raise_for_status=False,
                allow_redirects=False,  # aiohttp would send the key there, too
                # Not `trust_env`: it would also send credentials from netrc, beside the key.
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
        """Close the session, unless `http_client` was passed in."""
        if self._session is not None and self._owns is not None and self._owns.detach():
            await self._session.close()

    map_error = staticmethod(map_error)


def from_client_timeout(theirs: aiohttp.ClientTimeout) -> Timeout:
    """Return aiohttp's timeouts as a `Timeout`, without its `total`. Its 0 becomes None."""
    return Timeout(
        connect=theirs.sock_connect or None,
        read=theirs.sock_read or None,
        pool=theirs.connect or None,
    )


def client_timeout(timeouts: Timeout) -> aiohttp.ClientTimeout:
    """Return a `Timeout` as aiohttp's timeouts.

    aiohttp has no write timeout, so `RequestBody` applies that one. aiohttp's `connect` includes
    the wait for the pool. Its `total` is None, because its default would end a long answer after
    five minutes.
    """
    both = (timeouts.pool, timeouts.connect)
    return aiohttp.ClientTimeout(
        total=None,
        connect=None if None in both else sum(filter(None, both)),
        sock_connect=timeouts.connect,
        sock_read=timeouts.read,
    )


def proxy_of(url: str) -> str | None:
    """Return the URL of the proxy that the environment sets for a URL, or None.

    None is also returned if NO_PROXY names the host.
    """
    parts, proxies = urlsplit(url), getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if not proxy or proxy_bypass(parts.netloc):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def reply_of(response: aiohttp.ClientResponse, read_timeout: float | None = None) -> AsyncReply:
    """Return the arguments of an `AsyncMessageStream`."""
    transport = transport_of(response)

    async def close() -> None:
        abort(response)
        # At the end of a body aiohttp gives the connection back to its pool. If more bytes follow
        # the body, aiohttp starts to close the connection instead. Under TLS it may not finish that
        # before the event loop ends.
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
    """Close a response, and close its connection at once, if it still has one.

    aiohttp closes gracefully: unsent bytes and the end of TLS keep the socket open until the peer
    reads.
    """
    transport = transport_of(response)
    response.close()
    if transport is not None:
        abort_transport(transport)


def transport_of(response: aiohttp.ClientResponse) -> asyncio.Transport | None:
    """Return the transport of a response, or None if its connection was given back."""
    connection = response.connection
    return None if connection is None else connection.transport


def abort_transport(transport: asyncio.WriteTransport) -> None:
    """Close a connection at once, without sending anything."""
    with contextlib.suppress(RuntimeError):  # its loop is closed
        transport.abort()


class RequestBody(aiohttp.Payload):
    """A request body that is sent in pieces. The peer must accept each within `seconds`.

    aiohttp's own class sends bytes as a whole. It waits for ever for a peer that accepts no
    bytes, and it warns about more than 1 MiB. The size of this body is known, so aiohttp sends a
    content-length.
    """

    def __init__(self, data: bytes, seconds: float | None) -> None:
        super().__init__(data, content_type="application/json")
        self._data = data
        self._size = len(data)
        self._seconds = seconds
        self._transport: asyncio.Transport | None = None
        self.has_begun = False
        """Whether sending has started. If so, there was a connection."""

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """Return the body as str, for example for a middleware of the caller's session."""
        return self._data.decode(encoding, errors)

    async def write(self, writer: Any) -> None:
        """Send the whole body.

        A server may answer and close before it has the whole body, for example with a 413. So a
        broken connection raises nothing here, and the head is read next.

        Raises:
            TimeoutError: The peer did not accept a piece in time. The connection is closed.
        """
        self._transport = writer.transport
        HeadFirst.put_before(writer.protocol, writer.transport)
        self.has_begun = True
        try:
            for at in range(0, len(self._data), REQUEST_PIECE_BYTES):
                # Let the loop read first: a failing write drops received bytes that are not read.
                await asyncio.sleep(0)
                async with asyncio.timeout(self._seconds):
                    await writer.write(self._data[at : at + REQUEST_PIECE_BYTES])
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
        """Send the whole body. `content_length` can only be its size."""
        await self.write(writer)

    def abort(self) -> None:
        """Close the connection that the body is sent on, if sending has started."""
        if self._transport is not None:
            abort_transport(self._transport)


class HeadFirst(asyncio.Protocol):
    """Passes the head of a response to aiohttp separately from the bytes that follow it.

    aiohttp parses all received bytes at once. If any of them break HTTP, it drops the head, too,
    even if the fault is after a complete response. The request then seems to be unanswered.

    The object stays on its connection, and looks for a head after each request. Of HTTP it knows
    only where a head ends.
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
        """Insert a HeadFirst between a connection and its protocol, and look for the next head."""
        if transport is None:
            return
        between = transport.get_protocol()
        if not isinstance(between, cls):
            between = cls(protocol, transport)
            transport.set_protocol(between)
        between._is_looking = True
        between._first = between._last = b""

    def data_received(self, data: bytes) -> None:
        """Pass received bytes on, split after each head up to that of the final response."""
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
            if self._transport.is_closing():  # aiohttp refused the head
                return
        if data:
            self._protocol.data_received(data)

    def eof_received(self) -> bool | None:
        """Pass on that the peer sends no more."""
        return self._protocol.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """Pass on how the connection ended."""
        self._protocol.connection_lost(exc)

    def pause_writing(self) -> None:
        """Pass on that the peer reads too slowly."""
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        """Pass on that the peer reads again."""
        self._protocol.resume_writing()


class Chunks(AsyncIterator[bytes]):
    """The body as it arrives. Handles a broken connection better than aiohttp's iterators (3.14).

    The iterators drop received bytes that are not read yet, such as the end of a message that is
    read slowly. After an invalid chunk size, or after another task closes the session, they wait
    for ever: aiohttp wakes no reader then, and stops its own read timeout.
    """

    def __init__(self, response: aiohttp.ClientResponse, read_timeout: float | None) -> None:
        self._response = response
        self._content = response.content
        self._read_timeout = read_timeout

    async def __anext__(self) -> bytes:
        chunk = b""
        if self._content.exception() is not None:
            # No public method reads on after an exception. If aiohttp removes this private one,
            # as many bytes are lost as with aiohttp's own iterators.
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
                    raise  # raised by the `total` of the session
                left -= step
                connection = self._response.connection
                if connection is not None and connection.transport is None:
                    raise aiohttp.ClientPayloadError("the connection is closed") from None
                if left <= 0:
                    raise TimeoutError(overdue("read", self._read_timeout)) from exc
