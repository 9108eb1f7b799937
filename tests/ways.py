"""Readers through a transport: both libraries, synchronous and asynchronous, driven alike."""

import asyncio
import importlib
from collections.abc import Callable
from typing import Any, Final, TypeAlias

import attrs
import pytest

__all__ = ["ASK", "WAYS", "Read", "Way", "stops_at"]

ASK: Final[dict[str, Any]] = {"model": "text", "max_tokens": 9, "messages": [], "stream": True}

Enough: TypeAlias = Callable[[bytes], object]
"""Whether a reader has read enough, by what it has read."""


def to_the_end(_: bytes) -> bool:
    """Read until the body ends."""
    return False


def stops_at(text: bytes) -> Enough:
    """Read until this has come, as readers stop at message_stop."""
    return lambda data: text in data


@attrs.frozen
class Read:
    """What a reader got: a head, the chunks, and the exception that ended them, if one did."""

    status: int
    headers: Any
    chunks: list[bytes]
    error: Any

    @property
    def data(self) -> bytes:
        """All chunks joined."""
        return b"".join(self.chunks)


@attrs.frozen
class Way:
    """A library, and one of its two kinds of clients."""

    library: str
    is_async: bool

    def require(self) -> Any:
        """The library; the test is skipped without it."""
        return pytest.importorskip(self.library, reason="the transports are for it")

    def client(self, **settings: Any) -> Any:
        """A client of the library."""
        kind = "AsyncClient" if self.is_async else "Client"
        return getattr(self.require(), kind)(**settings)

    def inner(self, **settings: Any) -> Any:
        """The transport that really sends."""
        kind = "AsyncHTTPTransport" if self.is_async else "HTTPTransport"
        return getattr(self.require(), kind)(**settings)

    def read(self, client: Any, url: str, **options: Any) -> Read:
        """Ask once, read, and close the client."""
        if self.is_async:
            return asyncio.run(read_async(client, url, **options))
        return read_sync(client, url, **options)

    def close(self, client: Any) -> None:
        """Close a client that nobody reads from."""
        if self.is_async:
            asyncio.run(client.aclose())
        else:
            client.close()

    def error(self, name: str) -> Any:
        """An exception of the library."""
        return getattr(importlib.import_module(self.library), name)


WAYS: Final = [Way(library, kind) for library in ("httpx", "httpx2") for kind in (False, True)]


def asked(url: str, json: Any, headers: Any, method: str, path: str) -> dict[str, Any]:
    return {"method": method, "url": f"{url}{path}", "json": json, "headers": headers}


def read_sync(
    client: Any,
    url: str,
    *,
    json: Any = ASK,
    headers: Any = None,
    method: str = "POST",
    path: str = "/v1/messages",
    enough: Enough = to_the_end,
    is_raw: bool = True,
) -> Read:
    with (
        client,
        client.stream(**asked(url, json, headers, method, path)) as response,
    ):
        chunks: list[bytes] = []
        try:
            for chunk in response.iter_raw() if is_raw else response.iter_bytes():
                chunks.append(chunk)
                if enough is not to_the_end and enough(b"".join(chunks)):
                    break
        except Exception as error:  # noqa: BLE001 - whatever it is, the test looks at it
            return Read(response.status_code, response.headers, chunks, error)
        return Read(response.status_code, response.headers, chunks, None)


async def read_async(
    client: Any,
    url: str,
    *,
    json: Any = ASK,
    headers: Any = None,
    method: str = "POST",
    path: str = "/v1/messages",
    enough: Enough = to_the_end,
    is_raw: bool = True,
) -> Read:
    async with (
        client,
        client.stream(**asked(url, json, headers, method, path)) as response,
    ):
        chunks: list[bytes] = []
        try:
            async for chunk in response.aiter_raw() if is_raw else response.aiter_bytes():
                chunks.append(chunk)
                if enough is not to_the_end and enough(b"".join(chunks)):
                    break
        except Exception as error:  # noqa: BLE001 - whatever it is, the test looks at it
            return Read(response.status_code, response.headers, chunks, error)
        return Read(response.status_code, response.headers, chunks, None)
