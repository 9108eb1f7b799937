"""The server: an ASGI application in, answers on a socket out. No other module knows uvicorn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    import asyncio

    from ._serve import App

__all__ = ["server_of"]


HEAD_SECONDS: Final = 10.0
"""How long a request's head may take from its first byte, or from the connection."""

MOST_CONNECTIONS: Final = 256
"""At once: what comes beside them is closed, so that files are left for the rest of the process."""


class Protocol(H11Protocol):
    """HTTP/1.1 whose applications can take the transport, to break a connection.

    Nobody keeps a connection without asking for something: uvicorn has no bound of its own on the
    time that a head takes, nor on connections on which nothing was asked.
    """

    _late_head: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Put the transport into the state that each request's scope has a copy of."""
        self.app_state = {**self.app_state, "transport": transport}
        super().connection_made(transport)
        if len(self.connections) > MOST_CONNECTIONS:
            transport.abort()
        self._watch_head()

    def data_received(self, data: bytes) -> None:
        """Take what came; from its first byte on a head is waited for."""
        super().data_received(data)
        self._watch_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for no head any more."""
        self._forget_head()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """Wait for no head before the first byte of the next one: uvicorn does that."""
        self._forget_head()
        super().on_response_complete()

    def _watch_head(self) -> None:
        if self.conn.their_state is not h11.IDLE:
            self._forget_head()
        elif self._late_head is None:
            self._late_head = self.loop.call_later(HEAD_SECONDS, self.transport.abort)

    def _forget_head(self) -> None:
        if self._late_head is not None:
            self._late_head.cancel()
            self._late_head = None

    def shutdown(self) -> None:
        """Break off what is still being answered: a stall would never end by itself."""
        super().shutdown()
        self.transport.abort()


def server_of(app: App) -> uvicorn.Server:
    """Return a server to be run on sockets that listen; it says nothing but what goes wrong."""
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
