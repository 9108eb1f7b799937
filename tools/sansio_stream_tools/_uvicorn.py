"""The HTTP server that runs the ASGI application. No other module imports uvicorn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    import asyncio

    from ._app import App

__all__ = ["server_of"]


HEAD_SECONDS: Final = 10.0
"""The longest time for the head of a request, in seconds.

For the first request of a connection, the time starts with the connection. For a later request, it
starts with the first byte of the head.
"""

MOST_CONNECTIONS: Final = 256
"""The maximum number of open connections. Further ones are closed at once.

Each connection uses a file descriptor, and the process needs some for other files.
"""


class Protocol(H11Protocol):
    """HTTP/1.1 of uvicorn. It gives the application the transport, and limits idle connections.

    The application needs the transport to reset or close a connection. uvicorn itself limits
    neither the time for a head nor the number of connections that send no request.
    """

    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Put the transport into the state. uvicorn copies it into the scope of each request."""
        self.app_state = {**self.app_state, "transport": transport}
        super().connection_made(transport)
        if len(self.connections) > MOST_CONNECTIONS:
            transport.abort()
        self._start_or_stop_head_timer()

    def data_received(self, data: bytes) -> None:
        """Process received data. The first byte of a head starts the timer for this head."""
        super().data_received(data)
        self._start_or_stop_head_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timer for the head."""
        self._stop_head_timer()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """Stop the timer for the head. uvicorn itself limits the time between two requests."""
        self._stop_head_timer()
        super().on_response_complete()

    def _start_or_stop_head_timer(self) -> None:
        if self.conn.their_state is not h11.IDLE:
            self._stop_head_timer()
        elif self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_SECONDS, self.transport.abort)

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def shutdown(self) -> None:
        """Abort the connection, even during an answer: an answer that stalls would never end."""
        super().shutdown()
        self.transport.abort()


def server_of(app: App) -> uvicorn.Server:
    """Return a server that runs on listening sockets. It logs errors and nothing else."""
    return uvicorn.Server(
        uvicorn.Config(
            app,
            http=Protocol,
            ws="none",
            loop="asyncio",
            lifespan="off",
            log_config=None,
            log_level="error",
            access_log=False,
        )
    )
