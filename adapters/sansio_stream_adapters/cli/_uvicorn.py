"""The server: an ASGI application in, answers on a socket out. The only room that knows uvicorn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    import asyncio

    from ._serve import App

__all__ = ["server_of"]


class Protocol(H11Protocol):
    """HTTP/1.1 whose applications can take the transport, to break a connection."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Put the transport into the state that each request's scope has a copy of."""
        self.app_state = {**self.app_state, "transport": transport}
        super().connection_made(transport)

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
