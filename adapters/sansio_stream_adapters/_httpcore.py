"""Time limits and wake-ups for the connections of a synchronous httpx client.

httpx waits for a response head in one call, and nothing can end that call. Each read in it starts
its timeout anew. The connection is reachable only through the response, which does not exist yet.

Strategy: httpcore, the transport of httpx, passes each new connection to the `trace` extension of a
request. There this module replaces the class of the connection by a subclass that limits each read
and write. A connection that the caller's client opened for an earlier request is not passed, so it
keeps the timeouts of httpx.
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
    NetworkStream = object  # `watched` adds the real class, httpcore's or httpcore2's

__all__ = ["Watch", "shut_down"]

MADE: Final = ("connect_tcp.complete", "connect_unix_socket.complete")
"""The suffixes of the events that report a new connection."""


class Watch:
    """Limits the waits of one request while it is sent. `Opening.close` can end them.

    An object of this class is the `trace` extension of the request: httpcore calls it with each
    event.
    """

    def __init__(self, timeouts: Timeout) -> None:
        self._deadline = Deadline.of(timeouts.total)
        self._opening = current_opening()
        # False over HTTP/2: other requests share the connection, and a read serves all of them.
        self._is_alone = False

    def __call__(self, event: str, info: Mapping[str, Any]) -> None:
        if event.endswith(MADE):
            become_watched(info["return_value"])
        elif event.startswith(("http11.send_request_headers", "http2.")):
            self._is_alone = event.startswith("http11.")

    @contextlib.contextmanager
    def on(self) -> Generator[None]:
        """Limit the waits of this thread while the block runs."""
        token = WATCHING.set(self)
        try:
            yield
        finally:
            WATCHING.reset(token)

    def left(self, timeout: float | None) -> float | None:
        """Return the longest allowed wait in seconds: `timeout`, or less if `total` ends first.

        Raises:
            TimeoutError: The `total` timeout has passed.
        """
        return left_of(timeout, self._deadline)

    def left_for(self, stream: Any, timeout: float | None) -> float | None:
        """Return the longest allowed wait on a stream, and let `Opening.close` end that wait.

        Over HTTP/2 the timeout is returned unchanged, and the wait cannot be ended.
        """
        if not self._is_alone:
            return timeout
        self._opening.set_cancel(partial(shut_down, stream))
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
    """Turn a stream into a `Watched` one, if its class allows that, and return it."""
    kind: Any = type(stream)
    if not isinstance(stream, Watched):
        with contextlib.suppress(TypeError):  # a caller's class, written in C
            stream.__class__ = watched(kind)
    return stream


@cache
def watched(stream: type[NetworkStream]) -> type[Watched]:
    """Return the subclass of `Watched` and of a stream class."""
    return type(f"Watched{stream.__name__}", (Watched, stream), {})


def shut_down(stream: Any) -> None:
    """End a wait on a network stream, from any thread."""
    # The socket may be closed. A backend of the caller may have none.
    with contextlib.suppress(OSError, TypeError):
        # Not `SSLSocket.shutdown`: it removes the TLS object that a read is using.
        socket.socket.shutdown(stream.get_extra_info("socket"), socket.SHUT_RDWR)
