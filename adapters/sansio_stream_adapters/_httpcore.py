"""The connections of a synchronous httpx, watched: what waits for a head ends when it should.

httpx waits for a head in one call, which nothing ends: each read of it has its timeout anew, and
what it reads from is not known before the head is there. But httpcore, under it, tells whoever
traces a request of each connection that it makes, and there its reads and writes can be bounded.
A connection that was made for another request of the caller's client is not watched.
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
    NetworkStream = object  # whose it is, httpcore's or httpcore2's, is seen when there is one

__all__ = ["Watch", "shut_down"]

MADE: Final = ("connect_tcp.complete", "connect_unix_socket.complete")
"""How the events end that bring a connection."""


class Watch:
    """One request that is being sent: what httpcore tells of it, and how long it may wait.

    As the extension `trace` of the request it is called with each event.
    """

    def __init__(self, timeouts: Timeout) -> None:
        self._deadline = Deadline.of(timeouts.total)
        self._opening = current_opening()
        # Over HTTP/2 other requests share the connection, and who reads reads for them as well.
        self._is_alone = False

    def __call__(self, event: str, info: Mapping[str, Any]) -> None:
        if event.endswith(MADE):
            become_watched(info["return_value"])
        elif event.startswith(("http11.send_request_headers", "http2.")):
            self._is_alone = event.startswith("http11.")

    @contextlib.contextmanager
    def on(self) -> Generator[None]:
        """Watch what this thread waits for while the block runs."""
        token = WATCHING.set(self)
        try:
            yield
        finally:
            WATCHING.reset(token)

    def left(self, timeout: float | None) -> float | None:
        """Return how long a wait may be. Raises TimeoutError where `total` is over."""
        return left_of(timeout, self._deadline)

    def left_for(self, stream: Any, timeout: float | None) -> float | None:
        """The same for a wait on a stream, which can be woken from now on."""
        if not self._is_alone:
            return timeout
        self._opening.wakes(partial(shut_down, stream))
        return self.left(timeout)


WATCHING: Final[ContextVar[Watch | None]] = ContextVar("sansio_stream_adapters.watching")


class Watched(NetworkStream):
    """A network stream of httpcore. While a request is watched, what waits on it ends in time."""

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """As the stream itself does."""
        watch = WATCHING.get(None)
        left = timeout if watch is None else watch.left_for(self, timeout)
        return super().read(max_bytes, left)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """As the stream itself does."""
        watch = WATCHING.get(None)
        left = timeout if watch is None else watch.left_for(self, timeout)
        # A variable that holds it would be in the traceback of what fails, with the key.
        held = [buffer]
        del buffer
        super().write(held.pop(), left)

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> NetworkStream:
        """As the stream itself does; what it returns is watched, too."""
        watch = WATCHING.get(None)
        left = timeout if watch is None else watch.left(timeout)
        return become_watched(super().start_tls(ssl_context, server_hostname, left))


def become_watched(stream: NetworkStream) -> NetworkStream:
    """Have a stream watched from now on, where its class allows that; return it."""
    kind: Any = type(stream)
    if not isinstance(stream, Watched):
        with contextlib.suppress(TypeError):  # of a caller's own backend: written in C, say
            stream.__class__ = watched(kind)
    return stream


@cache
def watched(stream: type[NetworkStream]) -> type[Watched]:
    """Return the class of streams that are watched, and else are what the library has made."""
    return type(f"Watched{stream.__name__}", (Watched, stream), {})


def shut_down(stream: Any) -> None:
    """End what is waited for on a network stream, from any thread."""
    # It may have gone already, or be no socket, in a caller's own backend.
    with contextlib.suppress(OSError, TypeError):
        # Not the method of an SSLSocket: that takes the TLS away from under a read.
        socket.socket.shutdown(stream.get_extra_info("socket"), socket.SHUT_RDWR)
