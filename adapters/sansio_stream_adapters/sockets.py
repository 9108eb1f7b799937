"""Blocking sockets: a connected one in, a stream out; and a client that connects by itself.

HTTP/1.1 by h11, TLS by `ssl`, and nothing more: each request has a connection of its own, there are
no proxies, and redirects are not followed.
"""

from __future__ import annotations

import contextlib
import socket
import time
from functools import partial
from typing import TYPE_CHECKING, Any, Unpack

from ._bridge import MessageStream, Reply, StreamOptions
from ._client import BaseClient
from ._http11 import (
    DEFAULT_TIMEOUT,
    PIECE_BYTES,
    BlockingBody,
    Exchange,
    Origin,
    ResponseReader,
    default_context,
    map_error,
    mapped,
    run_blocking,
    waits_of,
)
from ._opening import current_opening
from ._timeout import Deadline, left_of, overdue

if TYPE_CHECKING:
    import ssl
    from collections.abc import Generator

    from sansio_stream.request import Request

    from ._settings import ClientSettings
    from ._timeout import Phase, Timeout

__all__ = ["Client", "from_socket"]


def from_socket(
    sock: socket.socket, *, timeout: Any = DEFAULT_TIMEOUT, **options: Unpack[StreamOptions]
) -> MessageStream:
    """Return the stream of a socket on which a request was just written; its head is read here.

    The socket is the stream's from now on: it is closed with the stream, and if this raises.
    Of `timeout`, which is like a client's, `read`, `idle` and `total` count. Raises APIError.
    """
    try:
        read = waits_of(timeout, options).read
        with mapped(map_error):
            reply = reply_of(sock, Exchange(), read, Deadline.of(options.get("total")))
        return MessageStream(**reply, **options)
    except BaseException:
        sock.close()
        raise


class Client(BaseClient):
    """A client on sockets; `ssl_context` says whom it trusts, by default whom the system does.

    There is nothing to close but its streams. Looking up a name has no timeout, and each of its
    addresses has `connect` for itself: that is how `socket.create_connection` is.
    """

    def __init__(
        self, *, ssl_context: ssl.SSLContext | None = None, **settings: Unpack[ClientSettings]
    ) -> None:
        super().__init__(**settings)
        self._ssl_context = ssl_context or default_context()

    def send(self, request: Request, timeouts: Timeout) -> Reply:
        """Connect, send the request, and read the head; the body is read later."""
        exchange = Exchange(request)
        deadline = Deadline.of(timeouts.total)
        sock = connected(Origin.of(request), self._ssl_context, timeouts.connect)
        try:
            # Who answers before all is sent, and closes, may have said why: a 413, say.
            with contextlib.suppress(ConnectionError), within("send", timeouts.write, deadline):
                while exchange.has_pieces:
                    sock.settimeout(left_of(timeouts.write, deadline))
                    sock.sendall(exchange.piece())
            return reply_of(sock, exchange, timeouts.read, deadline)
        except BaseException:
            sock.close()
            raise

    def close(self) -> None:
        """Do nothing: connections belong to their streams."""

    map_error = staticmethod(map_error)


def connected(origin: Origin, context: ssl.SSLContext, timeout: float | None) -> socket.socket:
    """Return a socket that is connected, with TLS where that is asked for."""
    since = time.monotonic()
    opening = current_opening()
    with within("connect", timeout):
        sock = socket.create_connection((origin.host, origin.port), timeout)
    try:
        opening.wakes(partial(shut_down, sock))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if origin.is_secure:
            sock = context.wrap_socket(
                sock,
                server_hostname=origin.host,
                do_handshake_on_connect=False,
                suppress_ragged_eofs=False,  # a cut is no end, not even of a body without a length
            )
            opening.wakes(partial(shut_down, sock))
            if timeout is not None:
                left = timeout - (time.monotonic() - since)
                sock.settimeout(max(left, 0.001))  # 0 would be for non-blocking sockets
            with within("TLS", timeout):
                sock.do_handshake()
    except BaseException:
        sock.close()
        raise
    return sock


def shut_down(sock: socket.socket) -> None:
    """End what is waited for on a socket, from any thread."""
    with contextlib.suppress(OSError):  # it has gone already
        # Not the method of an SSLSocket: that takes the TLS away from under a read.
        socket.socket.shutdown(sock, socket.SHUT_RDWR)


@contextlib.contextmanager
def within(
    phase: Phase, seconds: float | None, deadline: Deadline | None = None
) -> Generator[None]:
    """Say of a timeout of a socket in which phase it was, or that the deadline is over; it does not
    set it.
    """
    try:
        yield
    except TimeoutError as exc:
        if exc.errno is not None:  # the system's own: it gives up a connection, too
            raise
        if deadline is not None and deadline.is_over:
            raise deadline.error("stream" if phase == "read" else "head") from exc
        raise TimeoutError(overdue(phase, seconds)) from exc


def reply_of(
    sock: socket.socket, exchange: Exchange, read: float | None, deadline: Deadline | None
) -> Reply:
    """Read the head, and return what a stream is made of."""
    sock.settimeout(read)
    reader = ResponseReader(exchange, partial(receive, sock, read, deadline))
    head = run_blocking(reader.head())
    return {
        **head,
        "chunks": BlockingBody(reader),
        "close": sock.close,
        "abort": partial(shut_down, sock),
        "is_pooled": False,
        "is_raw": True,
        "map_error": map_error,
        "owner": sock,
    }


async def receive(
    sock: socket.socket, read: float | None, deadline: Deadline | None, phase: Phase
) -> bytes:
    """Return what a socket receives next. It blocks: only `run_blocking` runs it."""
    with within(phase, read, deadline):
        if deadline is not None:
            sock.settimeout(left_of(read, deadline))
        return sock.recv(PIECE_BYTES)
