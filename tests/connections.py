"""Helpers for tests of the two adapters without an HTTP library, `sockets` and `trio`."""

import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import partial, wraps
from typing import Any, Final
from unittest import mock

import pytest

from matrix import ADAPTERS, Adapter, AsyncFacade
from sansio_stream.errors import APIConnectionError
from servers import PATIENCE, chunk, head
from wire import HELLO, PING, body, message_start

__all__ = [
    "BARE",
    "BEGINNING",
    "REQUEST",
    "STREAM",
    "TEXT",
    "BareAdapter",
    "FakeSocket",
    "FakeStream",
    "failure_of",
    "fake_for",
    "text_from",
    "with_each_bare_adapter",
]

STREAM: Final = body(*HELLO)
BEGINNING: Final = head() + chunk(body(message_start(), PING))
"""The beginning of a response. Its body contains two events."""
TEXT: Final = "Hello, wörld \N{PARTY POPPER}"
REQUEST: Final[dict[str, Any]] = {"model": "m", "max_tokens": 9, "messages": []}


class Fake:
    """A fake connection that follows its steps. `receive` returns bytes or raises an exception."""

    def __init__(self, *steps: bytes | Exception, sending: Exception | None = None) -> None:
        self.steps = iter(steps)
        self.sending = sending
        self.is_closed = False

    def send(self) -> None:
        if self.sending is not None:
            raise self.sending

    def receive(self) -> bytes:
        step = next(self.steps)
        if isinstance(step, Exception):
            raise step
        return step


class FakeSocket(Fake):
    """A fake socket. `timeouts` records the values that were set."""

    def __init__(self, *steps: bytes | Exception, sending: Exception | None = None) -> None:
        super().__init__(*steps, sending=sending)
        self.timeouts: list[float | None] = []

    def settimeout(self, value: float | None) -> None:
        self.timeouts.append(value)

    def sendall(self, _data: bytes) -> None:
        self.send()

    def recv(self, _size: int) -> bytes:
        return self.receive()

    def close(self) -> None:
        self.is_closed = True


class FakeStream(Fake):
    """A fake stream of trio."""

    async def send_all(self, _data: object) -> None:
        self.send()

    async def receive_some(self, _max_bytes: int) -> bytes:
        return self.receive()

    async def aclose(self) -> None:
        self.is_closed = True


class BareAdapter:
    """An adapter without an HTTP library, and helpers for a connection that the test opens."""

    def __init__(self, name: str, fake: type[FakeSocket | FakeStream]) -> None:
        (self.adapter,) = (each for each in ADAPTERS if each.name == name)
        self.fake = fake

    @property
    def connected(self) -> str:
        """The name of the function that connects, for `mock.patch`."""
        return f"{self.adapter.module_name}.connected"

    @asynccontextmanager
    async def pair(self) -> AsyncIterator[tuple[Any, Any]]:
        """Yield a connection to read from, and its other end."""
        if self.adapter.loop:
            import trio.testing

            yield trio.testing.memory_stream_pair()
            return
        ours, theirs = socket.socketpair()
        theirs.settimeout(PATIENCE)
        with ours, theirs:
            yield ours, theirs

    async def stream_of(self, ours: Any, **options: Any) -> Any:
        """Make a stream from a connection on which the request was already written."""
        if self.adapter.loop:
            return await self.adapter.module.from_stream(ours, **options)
        return AsyncFacade(self.adapter.module.from_socket(ours, **options))

    async def send(self, theirs: Any, data: bytes) -> None:
        """Send bytes from the other end."""
        if self.adapter.loop:
            await theirs.send_all(data)
        else:
            theirs.sendall(data)

    async def is_closed(self, ours: Any, theirs: Any) -> bool:
        """Return whether our end is closed."""
        if self.adapter.loop:
            return bool(await theirs.receive_some(1) == b"")
        return bool(ours.fileno() == -1)


BARE: Final = (BareAdapter("sockets", FakeSocket), BareAdapter("trio", FakeStream))


def with_each_bare_adapter(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Make a test of a scenario with the argument `bare`. It runs once with each of `BARE`.

    The test is skipped if a library is missing.
    """

    @wraps(test)
    def driven_test(bare: BareAdapter, **fixtures: Any) -> None:
        bare.adapter.require()
        bare.adapter.run(partial(test, bare=bare, **fixtures))

    over_both = pytest.mark.parametrize("bare", BARE, ids=lambda bare: bare.adapter.name)
    parametrised: Callable[..., None] = over_both(driven_test)
    return parametrised


async def text_from(adapter: Adapter, url: str, **settings: Any) -> str:
    """Return the text of a response."""
    async with (
        adapter.client(url, **settings) as client,
        client.messages.stream(**REQUEST) as stream,
    ):
        text: str = await stream.get_final_text()
        return text


def fake_for(bare: BareAdapter, where: str, exc: Exception) -> Fake:
    """Make a fake connection that raises `exc` at the step `where`."""
    return {
        "connecting": partial(bare.fake),
        # The client could still read after a failed write. This connection also fails to read.
        "sending": partial(bare.fake, exc, sending=exc),
        "head": partial(bare.fake, b"HTTP/1.1 200", exc),
        "body": partial(bare.fake, BEGINNING, exc),
    }[where]()


async def failure_of(bare: BareAdapter, where: str, exc: Exception) -> APIConnectionError:
    """Return the error of a client whose connection raises `exc` at the step `where`.

    Check that the client closes the connection.
    """
    fake = fake_for(bare, where, exc)
    connecting = mock.patch(
        bare.connected,
        return_value=fake,
        side_effect=exc if where == "connecting" else None,
    )
    with connecting, pytest.raises(APIConnectionError) as caught:
        await text_from(bare.adapter, "http://127.0.0.1")
    assert fake.is_closed is (where != "connecting")
    return caught.value
