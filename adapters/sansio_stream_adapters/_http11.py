"""HTTP/1.1 for those who have a connection only: received bytes in; a head, then a body out.

One request on one connection, by h11. An adapter brings the I/O: how bytes are received, and how
long that may take. There is no pool behind it, so the server is told to close the connection;
redirects are not followed. The body comes as it was sent, compressed where it is.
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
from ._timeout import Deadline, Timeout

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Generator

    from ._errors import MapError
    from ._stream_core import Head, StreamOptions
    from ._timeout import Phase

__all__ = [
    "ALREADY_SENT",
    "DEFAULT_TIMEOUT",
    "HEAD_BYTES",
    "PIECE_BYTES",
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

PIECE_BYTES: Final = 65_536
"""How much is sent, or received, at once: each piece of a long request has its own timeout."""

HEAD_BYTES: Final = 102_400
"""How long a head may be, and so may what stands around a chunk, however they are cut. As much as
httpx always accepts.
"""

INTERIM_COUNT: Final = 20
"""How many interim responses (1xx) may come before the answer: an honest server sends one or two,
and each of them restarts the wait for the head.
"""

DEFAULT_TIMEOUT: Final = Timeout()

ALREADY_SENT: Final = Request("POST", "http://somewhere/", {}, b"")
"""Stands for a request that somebody else has written."""

DEFAULT_PORTS: Final = {"http": 80, "https": 443}


@frozen
class Origin:
    """Where a request goes.

    Attributes:
        is_secure: whether by TLS.
        host: a name, or an address without brackets.
        port: the scheme's own, where the URL names none.
        authority: host and port as the header `host` has them: without the scheme's own port.
    """

    is_secure: bool
    host: str
    port: int
    authority: str

    @classmethod
    def of(cls, request: Request) -> Self:
        """Return where a request goes. Raises ValueError for brackets without an IPv6 address."""
        url = urlsplit(request.url)
        default = DEFAULT_PORTS[url.scheme]
        return cls(
            url.scheme == "https",
            url.hostname or "",
            default if url.port is None else url.port,
            url.netloc.removesuffix(f":{default}"),
        )


def default_context() -> ssl.SSLContext:
    """Return the TLS of a client that nobody has told whom to trust: whom the system does.

    It says that it speaks HTTP/1.1 (ALPN, RFC 7301): a server that would take another protocol for
    granted, or answer one that was mixed up with it, refuses then.
    """
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


class Exchange:
    """One request and its response: bytes to send; then received bytes in, head and body out.

    Cost: one pass over the bytes, and a copy.
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
        """Whether something of the request is still to be sent."""
        return self._sent < len(self._to_send)

    def piece(self) -> bytes:
        """Return what is to be sent next. To be handed on at once: a variable that holds it would
        be in the traceback of what fails, with the key.
        """
        self._sent += PIECE_BYTES
        return self._to_send[self._sent - PIECE_BYTES : self._sent]

    def received(self, data: bytes | bytearray) -> None:
        """Take what was received; b"" is the end of it."""
        self._unread += data
        self._has_ended = not data

    def head(self) -> Head | None:
        """Return the head of the response; None: receive more. Informational ones are skipped.

        Raises:
            h11.RemoteProtocolError: for what is no HTTP/1.1, or is longer than `HEAD_BYTES`, and
                for more than `INTERIM_COUNT` informational ones.
            ConnectionError: where the connection ended before the head did.
        """
        event = self._next_event()
        while isinstance(event, h11.InformationalResponse):
            self._interim_count += 1
            if self._interim_count > INTERIM_COUNT:
                raise h11.RemoteProtocolError(
                    f"more than {INTERIM_COUNT} interim responses came, and no answer"
                )
            event = self._next_event()
        if not isinstance(event, h11.Response):
            if self._has_ended:
                raise ConnectionError("the connection was closed before a response came")
            return None
        headers = headers_in_text(event.headers)
        return {"status": event.status_code, "headers": headers, "response": None}

    def chunk(self) -> bytes | None:
        """Return the next bytes of the body; b"" once it has ended; None: receive more.

        A body that says neither how long it is nor where it ends, ends with the connection.
        Raises h11.RemoteProtocolError where the body breaks its promise of either.
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

        h11 compares what it holds with its limit when it is asked, so that a head beyond it passes
        if it is received at once. Given no more than the limit, it refuses what is longer always.
        """
        while (event := self._connection.next_event()) is h11.NEED_DATA and self._unread:
            held = len(self._connection.trailing_data[0])
            if held == HEAD_BYTES:
                raise h11.RemoteProtocolError(
                    f"a head, or what stands around a chunk, is longer than {HEAD_BYTES:,} bytes"
                )
            self._connection.receive_data(bytes(self._unread[: HEAD_BYTES - held]))
            del self._unread[: HEAD_BYTES - held]
        return event


Receive: TypeAlias = "Callable[[Phase], Awaitable[bytes | bytearray]]"
"""Returns the bytes that a connection receives next, b"" at their end. It is told whether the head
or the body is waited for. Raises TimeoutError.
"""


class ResponseReader(AsyncIterator[bytes]):
    """Reads the response of an exchange: `head` once, then the body as an iterator.

    Args:
        exchange: what the request was sent with.
        receive: see `Receive`.
    """

    def __init__(self, exchange: Exchange, receive: Receive) -> None:
        self._exchange = exchange
        self._receive = receive

    async def head(self) -> Head:
        """Return the head. Raises what `Exchange.head` and `receive` raise."""
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
    """The body of a `ResponseReader` whose `receive` blocks."""

    def __init__(self, reader: ResponseReader) -> None:
        self._reader = reader

    def __next__(self) -> bytes:
        try:
            return run_blocking(self._reader.__anext__())
        except StopAsyncIteration:
            raise StopIteration from None


def run_blocking(coroutine: Coroutine[Any, Any, Found]) -> Found:
    """Return what a coroutine returns that awaits nothing which suspends it, and so runs at once.

    With it one coroutine reads a response from a blocking socket and from a loop's stream.
    Raises what the coroutine raises; RuntimeError where it is suspended after all.
    """
    try:
        coroutine.send(None)
    except StopIteration as stop:
        found: Found = stop.value
        return found
    coroutine.close()
    raise RuntimeError("a coroutine that should block was suspended")


def map_error(exc: Exception) -> APIError | None:
    """Return our exception for one of h11, or of the system; a UnicodeError is a host's name."""
    if isinstance(exc, h11.RemoteProtocolError):
        return APIConnectionError(sentence(exc), verdict=Verdict.BROKEN)
    if isinstance(exc, (h11.ProtocolError, UnicodeError)):
        return APIConnectionError(sentence(exc))
    return map_system_error(exc)


@contextlib.contextmanager
def mapped(map_error: MapError) -> Generator[None]:
    """Raise one of our exceptions in the place of what it is known for."""
    try:
        yield
    except Exception as exc:
        failure = map_error(exc)
        if failure is None:
            raise
        raise failure from exc


def waits_of(timeout: Any, options: StreamOptions) -> Timeout:
    """Return the timeouts of a stream; `idle` and `total` may be in either.

    `idle` is then in both, and of `total` the deadline, which runs from now, is in the options.
    """
    timeouts = Timeout.of(timeout)
    options["idle"] = options.get("idle", timeouts.idle)
    options["total"] = Deadline.of(options.get("total", timeouts.total))
    return evolve(timeouts, idle=options["idle"]).tightened
