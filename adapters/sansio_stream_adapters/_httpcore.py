"""Time limits and wake-ups for the connections of a synchronous httpx client.

httpx waits for a response head in one call. Nothing can end that call from outside: each read in it
starts its timeout anew, and the response, which gives access to the connection, does not exist yet.

Strategy: httpcore, which httpx uses, reports each new connection to the `trace` extension of a
request. The class of the connection is replaced there by a subclass that limits each read and
write. A connection that the caller's client has opened for an earlier request is not reported, so
it keeps the timeouts of httpx.
"""

from __future__ import annotations

import contextlib
import socket
from contextvars import ContextVar
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Final

from ._opening import current_opening
from ._timeout import Deadline, left_of

if TYPE_CHECKING:
    import ssl
    from collections.abc import Generator, Mapping

    from httpcore import NetworkStream

    from ._timeout import Timeout
else:
    NetworkStream = object  # the real class, of httpcore or httpcore2, is added by `watched`

__all__ = ["Watch", "shut_down"]

MADE: Final = ("connect_tcp.complete", "connect_unix_socket.complete")
"""The ends of the names of the events that report a new connection."""


class Watch:
    """Limits the waits of one request while it is sent, and lets the caller end them.

    An object of this class is the `trace` extension of the request: httpcore calls it with each
    event.
    """

    def __init__(self, timeouts: Timeout) -> None:
        self._deadline = Deadline.of(timeouts.total)
        self._opening = current_opening()
        # Over HTTP/2 other requests share the connection, and one read serves all of them.
        self._is_alone = False

    def __call__(self, event: str, info: Mapping[str, Any]) -> None:
        if event.endswith(MADE):
            become_watched(info["return_value"])
        elif event.startswith(("http11.send_request_headers", "http2.")):
            self._is_alone = event.startswith("http11.")

    @contextlib.contextmanager
    def on(self) -> Generator[None]:
        """Apply this watch to all watched connections in this thread while the block runs."""
        token = WATCHING.set(self)
        try:
            yield
        finally:
            WATCHING.reset(token)

    def left(self, timeout: float | None) -> float | None:
        """Return the longest allowed wait in seconds.

        Raises:
            TimeoutError: The `total` timeout has passed.
        """
        return left_of(timeout, self._deadline)

    def left_for(self, stream: Any, timeout: float | None) -> float | None:
        """Return the longest allowed wait on a stream, and let `Opening.close` wake that wait."""
        if not self._is_alone:
            return timeout
        self._opening.wakes(partial(shut_down, stream))
        return self.left(timeout)


WATCHING: Final[ContextVar[Watch | None]] = ContextVar("sansio_stream_adapters.watching")


class Watched(NetworkStream):
    """A network stream of httpcore whose waits are limited while a `Watch` is on."""

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Read as the network stream does, within the limits of the watch."""
        watch = WATCHING.get(None)
        left = timeout if watch is None else watch.left_for(self, timeout)
        return super().read(max_bytes, left)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Write as the network stream does, within the limits of the watch."""
        watch = WATCHING.get(None)
        left = timeout if watch is None else watch.left_for(self, timeout)
        # A traceback shows the variables of this frame, and the buffer contains the key.
        held = [buffer]
        del buffer
        super().write(held.pop(), left)

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> NetworkStream:
        """Start TLS as the network stream does. The returned stream is watched, too."""
        watch = WATCHING.get(None)
        left = timeout if watch is None else watch.left(timeout)
        return become_watched(super().start_tls(ssl_context, server_hostname, left))


def become_watched(stream: NetworkStream) -> NetworkStream:
    """Make a stream watched, if its class allows that, and return it."""
    kind: Any = type(stream)
    if not isinstance(stream, Watched):
        with contextlib.suppress(TypeError):  # a backend of the caller, written in C
            stream.__class__ = watched(kind)
    return stream


@cache
def watched(stream: type[NetworkStream]) -> type[Watched]:
    """Return a subclass of a stream class that is watched and otherwise unchanged."""
    return type(f"Watched{stream.__name__}", (Watched, stream), {})


def shut_down(stream: Any) -> None:
    """End a wait on a network stream, from any thread."""
    # The socket may be closed. In the caller's own backend there may be none.
    with contextlib.suppress(OSError, TypeError):
        # Not `SSLSocket.shutdown`: it removes the TLS object that a read is using.
        socket.socket.shutdown(stream.get_extra_info("socket"), socket.SHUT_RDWR)
