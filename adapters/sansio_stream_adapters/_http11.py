"""HTTP/1.1 for adapters that only have a connection: received bytes in, a head and a body out.

One connection carries one request, by h11. The adapter does the I/O: it sends and receives bytes
and sets timeouts. There is no pool, so the request asks the server to close the connection. This
module does not follow redirects and does not decompress the body.
"""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any, Final, Self, TypeAlias, TypeVar
from urllib.parse import urlsplit

try:
    import h11
except ModuleNotFoundError as error:
    error.add_note("pip install 'sansio-stream[sockets]'")
    raise
from attrs import evolve, frozen

from sansio_stream.errors import APIConnectionError, APIError, Verdict
from sansio_stream.request import Request

from ._decoding import OFFERED
from ._errors import map_system_error, sentence
from ._reply import headers_in_text
from ._timeout import REQUEST_PIECE_BYTES, Deadline, Timeout

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Generator

    from ._errors import MapError
    from ._stream_core import Head, StreamOptions
    from ._timeout import Phase

__all__ = [
    "ALREADY_SENT",
    "DEFAULT_TIMEOUT",
    "HEAD_BYTES",
    "RECEIVE_BYTES",
    "BlockingBody",
    "Exchange",
    "Origin",
    "ResponseReader",
    "default_context",
    "map_error",
    "mapped",
    "run_blocking",
    "waits_of",
]

Found = TypeVar("Found")

RECEIVE_BYTES: Final = 65_536
"""The largest number of bytes that are received at once."""

HEAD_BYTES: Final = 102_400
"""The maximum length of a head, and of the framing around a chunk, in bytes.

The limit applies in the same way however the input is cut. httpx always accepts heads up to the
same length.
"""

INTERIM_COUNT: Final = 20
"""How many interim responses (1xx) may precede the final response.

An honest server sends one or two. Each of them restarts the timeout for the head, so without a
limit a server could delay the final response for ever.
"""

DEFAULT_TIMEOUT: Final = Timeout()

ALREADY_SENT: Final = Request("POST", "http://somewhere/", {}, b"")
"""The placeholder for a request that the caller has already written to the connection."""

DEFAULT_PORTS: Final = {"http": 80, "https": 443}


@frozen
class Origin:
    """The server of a request.

    Attributes:
        is_secure: whether the connection uses TLS.
        host: a name, or an address without brackets.
        port: the port of the URL, or else the default port of its scheme.
        authority: the value of the header `host`. It omits the default port of the scheme.
    """

    is_secure: bool
    host: str
    port: int
    authority: str

    @classmethod
    def of(cls, request: Request) -> Self:
        """Return the server of a request.

        Raises ValueError if its URL has brackets without an IPv6 address.
        """
        url = urlsplit(request.url)
        default = DEFAULT_PORTS[url.scheme]
        return cls(
            url.scheme == "https",
            url.hostname or "",
            default if url.port is None else url.port,
            url.netloc.removesuffix(f":{default}"),
        )


def default_context() -> ssl.SSLContext:
    """Return the default TLS context of a client. It trusts the certificates of the system.

    It offers only HTTP/1.1 by ALPN (RFC 7301), so a server of another protocol refuses the
    handshake. Without ALPN, such a server might use its own protocol, or answer a connection that
    an attacker redirected to it.
    """
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


class Exchange:
    """One request and its response: bytes to send, then received bytes in, head and body out.

    Cost: one pass over the received bytes, and one copy of them.

    Args:
        request: the request to send, or `ALREADY_SENT`.
    """

    def __init__(self, request: Request = ALREADY_SENT) -> None:
        self._connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD_BYTES)
        self._unread = bytearray()
        self._has_ended = False
        self._interim_count = 0
        headers = {
            "host": Origin.of(request).authority,
            "user-agent": "sansio-stream",
            "accept-encoding": OFFERED,
            **request.headers,
            "connection": "close",
            "content-length": str(len(request.body)),
        }
        events = (
            h11.Request(
                method=request.method,
                target=request.target,
                headers=[(name.encode(), value.encode()) for name, value in headers.items()],
            ),
            h11.Data(data=request.body),
            h11.EndOfMessage(),
        )
        self._to_send = b"".join(self._connection.send(event) or b"" for event in events)
        self._sent = 0

    @property
    def has_pieces(self) -> bool:
        """Whether a part of the request is not sent yet."""
        return self._sent < len(self._to_send)

    def piece(self) -> bytes:
        """Return the next part of the request to send.

        The caller must not keep it in a variable: a tool that reports a traceback with its
        variables would show the API key.
        """
        self._sent += REQUEST_PIECE_BYTES
        return self._to_send[self._sent - REQUEST_PIECE_BYTES : self._sent]

    def received(self, data: bytes | bytearray) -> None:
        """Add received bytes. b"" means that the connection has ended."""
        self._unread += data
        self._has_ended = not data

    def head(self) -> Head | None:
        """Return the head of the final response; None if more bytes must be received first.

        Interim responses are skipped.

        Raises:
            h11.RemoteProtocolError: if the response is not HTTP/1.1, if its head is longer than
                `HEAD_BYTES`, or if there are more than `INTERIM_COUNT` interim responses.
            ConnectionError: if the connection ended before the end of the head.
        """
        event = self._next_event()
        while isinstance(event, h11.InformationalResponse):
            self._interim_count += 1
            if self._interim_count > INTERIM_COUNT:
                raise h11.RemoteProtocolError(
                    f"the server sent more than {INTERIM_COUNT} interim responses (1xx)"
                    " before the final one"
                )
            event = self._next_event()
        if not isinstance(event, h11.Response):
            if self._has_ended:
                raise ConnectionError("the connection was closed before a response arrived")
            return None
        headers = headers_in_text(event.headers)
        return {"status": event.status_code, "headers": headers, "response": None}

    def chunk(self) -> bytes | None:
        """Return the next bytes of the body; b"" after its end.

        None means that more bytes must be received first. A body with neither a `content-length`
        nor chunked encoding ends with the connection. For other bodies, the end of the connection
        before the end of the body raises h11.RemoteProtocolError, as do malformed chunks.
        """
        if self._connection.their_state in (h11.DONE, h11.MUST_CLOSE):
            return b""
        event = self._next_event()
        if event is h11.NEED_DATA and self._has_ended:
            self._connection.receive_data(b"")
            event = self._connection.next_event()
        if isinstance(event, h11.Data):
            return bytes(event.data)
        return b"" if isinstance(event, h11.EndOfMessage) else None

    def _next_event(self) -> object:
        """Return h11's next event, which may be `h11.NEED_DATA`.

        Strategy: h11 gets at most as many bytes as its limit. h11 compares the length of its
        buffer with the limit only if it finds no complete event there. So it would accept a longer
        head that arrives at once, and the result would depend on how the input is cut.
        """
        while (event := self._connection.next_event()) is h11.NEED_DATA and self._unread:
            held = len(self._connection.trailing_data[0])
            if held == HEAD_BYTES:
                raise h11.RemoteProtocolError(
                    "the head of the response, or the framing of a chunk,"
                    f" is longer than {HEAD_BYTES:,} bytes"
                )
            self._connection.receive_data(bytes(self._unread[: HEAD_BYTES - held]))
            del self._unread[: HEAD_BYTES - held]
        return event


Receive: TypeAlias = "Callable[[Phase], Awaitable[bytes | bytearray]]"
"""A function that returns the next received bytes, or b"" at the end of the connection.

Its argument is the phase: "head", or "read" for the body. It may raise TimeoutError.
"""


class ResponseReader(AsyncIterator[bytes]):
    """Reads the response of an exchange.

    The caller awaits `head` once, then iterates over the body.

    Args:
        exchange: the exchange that has sent the request.
        receive: receives bytes; see `Receive`.
    """

    def __init__(self, exchange: Exchange, receive: Receive) -> None:
        self._exchange = exchange
        self._receive = receive

    async def head(self) -> Head:
        """Return the head. Raises the errors of `Exchange.head` and `receive`."""
        return await self._received("head", self._exchange.head)

    async def __anext__(self) -> bytes:
        chunk = await self._received("read", self._exchange.chunk)
        if not chunk:
            raise StopAsyncIteration
        return chunk

    async def _received(self, phase: Phase, look: Callable[[], Found | None]) -> Found:
        """Receive until `look` returns something."""
        while (found := look()) is None:
            self._exchange.received(await self._receive(phase))
        return found


class BlockingBody(Iterator[bytes]):
    """The body of a `ResponseReader` with a blocking `receive`, as a synchronous iterator."""

    def __init__(self, reader: ResponseReader) -> None:
        self._reader = reader

    def __next__(self) -> bytes:
        try:
            return run_blocking(self._reader.__anext__())
        except StopAsyncIteration:
            raise StopIteration from None


def run_blocking(coroutine: Coroutine[Any, Any, Found]) -> Found:
    """Run a coroutine that never suspends, and return its result.

    Strategy: blocking sockets and asynchronous streams share one coroutine that reads a response.

    Raises:
        RuntimeError: if the coroutine suspends. Other errors are those of the coroutine.
    """
    try:
        coroutine.send(None)
    except StopIteration as stop:
        found: Found = stop.value
        return found
    coroutine.close()
    raise RuntimeError(
        "run_blocking was given a coroutine that suspends: it can run only one that blocks"
    )


def map_error(exc: Exception) -> APIError | None:
    """Return the APIError for an exception of h11 or of the system; None for any other.

    A UnicodeError also gets one: it means that the host name cannot be encoded.
    """
    if isinstance(exc, h11.RemoteProtocolError):
        return APIConnectionError(sentence(exc), verdict=Verdict.BROKEN)
    if isinstance(exc, (h11.ProtocolError, UnicodeError)):
        return APIConnectionError(sentence(exc))
    return map_system_error(exc)


@contextlib.contextmanager
def mapped(map_error: MapError) -> Generator[None]:
    """Replace an exception that the block raises by its APIError, if `map_error` returns one."""
    try:
        yield
    except Exception as exc:
        failure = map_error(exc)
        if failure is None:
            raise
        raise failure from exc


def waits_of(timeout: Any, options: StreamOptions) -> Timeout:
    """Return the timeouts of a stream. `idle` and `total` in `options` override those of `timeout`.

    Afterwards `options["idle"]` equals `idle` of the result. `options["total"]` is the deadline of
    `total`, which starts now.
    """
    timeouts = Timeout.of(timeout)
    options["idle"] = options.get("idle", timeouts.idle)
    options["total"] = Deadline.of(options.get("total", timeouts.total))
    return evolve(timeouts, idle=options["idle"]).tightened
