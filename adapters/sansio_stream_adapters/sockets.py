"""Blocking sockets: a connected socket in, a stream out; and a client that opens its connections.

This module uses h11 for HTTP/1.1 and `ssl` for TLS. Each request has its own connection. Proxies
are not supported, and redirects are not followed.
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
    RECEIVE_BYTES,
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
    """Return the stream of a socket to which the caller has just written a request.

    This function reads the head of the response. From now on the stream owns the socket: closing
    the stream closes the socket. If this function raises, it closes the socket.

    Args:
        sock: the connected socket.
        timeout: as for a client. Only its `read`, `idle` and `total` have an effect.
        options: the options of the stream; see `StreamOptions`.

    Raises:
        APIError: if the head cannot be read or does not arrive in time.
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
    """A client on blocking sockets.

    Only its streams must be closed, because the client itself owns no connection. The lookup of a
    host name has no timeout, and each of its addresses has the full `connect` timeout. That is how
    `socket.create_connection` works.

    Args:
        ssl_context: the TLS context. The default trusts the certificates of the system.
        settings: see `ClientSettings`.
    """

    def __init__(
        self, *, ssl_context: ssl.SSLContext | None = None, **settings: Unpack[ClientSettings]
    ) -> None:
        super().__init__(**settings)
        self._ssl_context = ssl_context or default_context()

    def send(self, request: Request, timeouts: Timeout) -> Reply:
        """Connect, send the request, and read the head. The stream reads the body later."""
        exchange = Exchange(request)
        deadline = Deadline.of(timeouts.total)
        sock = connected(Origin.of(request), self._ssl_context, timeouts.connect)
        try:
            # A server may respond and close before it has read the whole request, for example with
            # a 413. The response explains the error better than the exception of the send does.
            with contextlib.suppress(ConnectionError), within("send", timeouts.write, deadline):
                while exchange.has_pieces:
                    sock.settimeout(left_of(timeouts.write, deadline))
                    sock.sendall(exchange.piece())
            return reply_of(sock, exchange, timeouts.read, deadline)
        except BaseException:
            sock.close()
            raise

    def close(self) -> None:
        """Do nothing: the streams own the connections."""

    map_error = staticmethod(map_error)


def connected(origin: Origin, context: ssl.SSLContext, timeout: float | None) -> socket.socket:
    """Return a connected socket, with TLS if the origin is secure."""
    since = time.monotonic()
    opening = current_opening()
    with within("connect", timeout):
        sock = socket.create_connection((origin.host, origin.port), timeout)
    try:
        opening.set_cancel(partial(shut_down, sock))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if origin.is_secure:
            sock = context.wrap_socket(
                sock,
                server_hostname=origin.host,
                do_handshake_on_connect=False,
                suppress_ragged_eofs=False,  # a cut is an error, even for a body without a length
            )
            opening.set_cancel(partial(shut_down, sock))
            if timeout is not None:
                left = timeout - (time.monotonic() - since)
                sock.settimeout(max(left, 0.001))  # 0 would make the socket non-blocking
            with within("TLS", timeout):
                sock.do_handshake()
    except BaseException:
        sock.close()
        raise
    return sock


def shut_down(sock: socket.socket) -> None:
    """End a wait on a socket. Any thread may call this."""
    with contextlib.suppress(OSError):  # the socket is closed already
        # `SSLSocket.shutdown` was rejected: it removes the TLS object while another thread reads.
        socket.socket.shutdown(sock, socket.SHUT_RDWR)


@contextlib.contextmanager
def within(
    phase: Phase, seconds: float | None, deadline: Deadline | None = None
) -> Generator[None]:
    """Replace a timeout of the block by one whose message names the phase.

    If the deadline is over, the error of the deadline replaces it. This function sets no timeout.
    """
    try:
        yield
    except TimeoutError as exc:
        if exc.errno is not None:  # ETIMEDOUT of the system, not the timeout of the socket
            raise
        if deadline is not None and deadline.is_over:
            raise deadline.error("stream" if phase == "read" else "head") from exc
        raise TimeoutError(overdue(phase, seconds)) from exc


def reply_of(
    sock: socket.socket, exchange: Exchange, read: float | None, deadline: Deadline | None
) -> Reply:
    """Read the head, and return the reply from which a stream is built."""
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
    """Return the next bytes that a socket receives. It blocks: only `run_blocking` may run it."""
    with within(phase, read, deadline):
        if deadline is not None:
            sock.settimeout(left_of(read, deadline))
        return sock.recv(RECEIVE_BYTES)
