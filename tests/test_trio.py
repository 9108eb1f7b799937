"""trio: what is special to it. What all adapters share is in `test_adapters`."""

import socket
import ssl
import threading
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

pytest.importorskip("trio", reason="trio runs what is tested here")
pytest.importorskip("h11", reason="h11 speaks HTTP/1.1 on trio's streams")

import h11
import trio
import trio.testing

from sansio_stream.errors import (
    APIConnectionError,
    APITimeoutError,
    ContentTooLargeError,
    IncompleteMessageError,
    RateLimitError,
)
from sansio_stream_adapters import AsyncMessageStream, Timeout
from sansio_stream_adapters.trio import AsyncClient, from_stream, map_error
from servers import (
    PATIENCE,
    TLS,
    Do,
    RawServer,
    chunk,
    head,
    response,
    wait_until,
)
from wire import HELLO, PING, body, message_start

Start = Callable[..., RawServer]

STREAM = body(*HELLO)
BEGUN = head() + chunk(body(message_start(), PING))
"""The beginning of an answer, which is two events."""
TEXT = "Hello, wörld \N{PARTY POPPER}"
ASKED: dict[str, Any] = {"model": "m", "max_tokens": 9, "messages": []}


def client_of(url: str, **settings: Any) -> AsyncClient:
    settings = {"max_retries": 0, "timeout": PATIENCE, **settings}
    return AsyncClient(base_url=url, **settings)


def text_from(url: str, *, system: str = "", **settings: Any) -> str:
    async def main() -> str:
        async with (
            client_of(url, **settings) as client,
            client.messages.stream(**ASKED, system=system) as stream,
        ):
            return await stream.get_final_text()

    return trio.run(main)


def in_trio(main: Callable[[], Awaitable[None]]) -> None:
    """Run it, by a clock that jumps where all wait for it."""
    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


# Requests and responses.


def test_each_request_has_a_connection_of_its_own(raw_server: Start) -> None:
    server = raw_server([response(STREAM)])

    async def main() -> None:
        async with client_of(server.url) as client:
            for _ in range(2):
                async with client.messages.stream(**ASKED) as stream:
                    assert await stream.get_final_text() == TEXT
                    assert stream.response.status_code == 200
                    assert stream.response.headers["Content-Type"] == "text/event-stream"

    trio.run(main)
    server.wait_until_closed(2)
    assert [received.connection for received in server.requests] == [1, 2]
    for received in server.requests:
        assert received.line == "POST /v1/messages HTTP/1.1"
        assert received.headers["accept-encoding"] == "gzip, deflate"
        assert received.json == {**ASKED, "stream": True}


def test_twenty_streams_at_once(raw_server: Start) -> None:
    halves = STREAM[:500], STREAM[500:]
    all_begun = threading.Barrier(20)
    server = raw_server([head(), chunk(halves[0]), all_begun, chunk(halves[1]), chunk(b"")])
    texts: list[str] = []

    async def main() -> None:
        client = client_of(server.url)

        async def text() -> None:
            async with client.messages.stream(**ASKED) as stream:
                texts.append(await stream.get_final_text())

        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(text)

    trio.run(main)
    assert texts == [TEXT] * 20
    server.wait_until_closed(20)


# Timeouts.


def test_a_timeout_of_the_caller_s_stays_the_caller_s(raw_server: Start) -> None:
    server = raw_server([BEGUN, Do.WAIT])

    async def main() -> None:
        async with client_of(server.url).messages.stream(**ASKED) as stream:
            with trio.fail_after(0.1):
                await stream.until_done()

    with pytest.raises(trio.TooSlowError):
        trio.run(main)
    server.wait_until_closed()


# Cancelling and closing.


async def until_waits(stream: AsyncMessageStream) -> None:
    """Return when a message has begun, and whoever reads it waits for more."""
    with trio.fail_after(PATIENCE):
        while stream.snapshot is None:  # noqa: ASYNC110  (nobody tells)
            await trio.sleep(0.001)
        await trio.testing.wait_all_tasks_blocked()


@pytest.mark.parametrize("secure", [False, True])
def test_a_cancelled_stream_is_readable_and_its_connection_closed(
    raw_server: Start, tls: TLS, secure: bool
) -> None:
    server = raw_server([BEGUN, Do.WAIT], tls=tls if secure else None)

    async def main() -> None:
        client = client_of(server.url, ssl_context=tls.client)
        async with client.messages.stream(**ASKED) as stream:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(stream.until_done)
                await until_waits(stream)
                nursery.cancel_scope.cancel()
            assert nursery.cancel_scope.cancelled_caught
            assert stream.current_message_snapshot.id == "msg_1"
            await trio.to_thread.run_sync(server.wait_until_closed)

    trio.run(main)


def test_a_cancelled_request_leaves_no_connection_open(raw_server: Start) -> None:
    server = raw_server([Do.WAIT])

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(client_of(server.url).messages.create, **ASKED, stream=True))
            await trio.to_thread.run_sync(wait_until, lambda: server.requests, "it is asked")
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        assert nursery.cancel_scope.cancelled_caught
        await trio.to_thread.run_sync(server.wait_until_closed)

    trio.run(main)


@pytest.mark.parametrize("secure", [False, True])
def test_closing_works_while_cancelled(raw_server: Start, tls: TLS, secure: bool) -> None:
    server = raw_server([BEGUN, Do.WAIT], tls=tls if secure else None)

    async def main() -> None:
        client = client_of(server.url, ssl_context=tls.client)
        stream = await client.messages.create(**ASKED, stream=True)
        with trio.CancelScope() as scope:
            scope.cancel()
            await stream.close()
        await trio.to_thread.run_sync(server.wait_until_closed)

    trio.run(main)


@pytest.mark.parametrize("secure", [False, True])
def test_another_task_closes(raw_server: Start, tls: TLS, secure: bool) -> None:
    server = raw_server([BEGUN, Do.WAIT], tls=tls if secure else None)

    async def main() -> None:
        client = client_of(server.url, ssl_context=tls.client)
        async with client.messages.stream(**ASKED) as stream, trio.open_nursery() as nursery:

            async def read() -> None:
                # Were it not woken, a timeout would end the read after a while, and say so.
                with pytest.raises(IncompleteMessageError, match="closed before its end"):
                    await stream.until_done()

            nursery.start_soon(read)
            await until_waits(stream)
            await stream.close()
        assert stream.current_message_snapshot.id == "msg_1"

    trio.run(main)
    server.wait_until_closed()


def test_closing_does_not_wait_for_a_peer_that_does_not_read(tls: TLS) -> None:
    async def main() -> None:
        ours, theirs = trio.testing.lockstep_stream_pair()  # whoever sends waits for who receives
        ours_by_tls = trio.SSLStream(ours, tls.client, server_hostname="localhost")
        theirs_by_tls = trio.SSLStream(theirs, tls.server, server_side=True)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(theirs_by_tls.send_all, BEGUN)
            stream = await from_stream(ours_by_tls)
        with trio.fail_after(1):
            await stream.close()

    in_trio(main)


# Streams of the caller's.


def test_a_stream_on_which_the_request_was_written() -> None:
    async def main() -> None:
        ours, theirs = trio.testing.memory_stream_pair()
        await theirs.send_all(response(STREAM))
        async with await from_stream(ours, strict=True) as stream:
            assert stream.response.status_code == 200
            assert await stream.get_final_text() == TEXT
        assert await theirs.receive_some(1) == b""

    in_trio(main)


def test_a_stream_of_the_caller_s_is_closed_with_ours() -> None:
    async def main() -> None:
        ours, theirs = trio.testing.memory_stream_pair()
        await theirs.send_all(BEGUN)
        async with await from_stream(ours) as stream:
            await anext(stream)
        assert await theirs.receive_some(1) == b""
        assert stream.snapshot is not None

    in_trio(main)


def test_a_refusal_is_raised_by_the_first_read() -> None:
    async def main() -> None:
        ours, theirs = trio.testing.memory_stream_pair()
        await theirs.send_all(response(b'{"error": {"message": "slowly"}}', 429))
        async with await from_stream(ours) as stream:
            with pytest.raises(RateLimitError, match="slowly"):
                await anext(stream)

    in_trio(main)


@pytest.mark.parametrize(
    ("timeout", "seconds"),
    [(3, 3), (Timeout(read=4), 4), (Timeout(idle=5), 5), (Timeout(), 600)],
    ids=["seconds", "read", "idle", "default"],
)
@pytest.mark.parametrize("begun", [b"", BEGUN], ids=["head", "body"])
def test_a_stream_of_the_caller_s_has_timeouts(begun: bytes, timeout: Any, seconds: float) -> None:
    async def main() -> None:
        ours, theirs = trio.testing.memory_stream_pair()
        if begun:
            await theirs.send_all(begun)
        since = trio.current_time()
        with pytest.raises(APITimeoutError):
            await (await from_stream(ours, timeout=timeout)).until_done()
        assert trio.current_time() - since == pytest.approx(seconds)
        assert await theirs.receive_some(1) == b""

    in_trio(main)


def test_a_stream_that_speaks_no_http_is_closed() -> None:
    async def main() -> None:
        ours, theirs = trio.testing.memory_stream_pair()
        await theirs.send_all(b"220 smtp.example.com ready\r\n\r\n")
        with pytest.raises(APIConnectionError, match="RemoteProtocolError"):
            await from_stream(ours)
        assert await theirs.receive_some(1) == b""

    in_trio(main)


@pytest.mark.parametrize("options", [{"timeout": "soon"}, {"record_to": Path("/")}])
def test_mistakes_are_not_mapped_but_close_the_stream(options: Any) -> None:
    async def main() -> None:
        ours, theirs = trio.testing.memory_stream_pair()
        await theirs.send_all(BEGUN)
        with pytest.raises((TypeError, OSError)):
            await from_stream(ours, **options)
        assert await theirs.receive_some(1) == b""

    in_trio(main)


# Whatever is raised inside.


class FakeStream(trio.abc.Stream):
    """A stream that does what it is told: gives bytes, or raises."""

    def __init__(self, *steps: bytes | Exception, sending: Exception | None = None) -> None:
        self.steps = iter(steps)
        self.sending = sending
        self.is_closed = False

    async def send_all(self, data: object) -> None:  # noqa: ARG002
        if self.sending is not None:
            raise self.sending

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:  # noqa: ARG002
        step = next(self.steps)
        if isinstance(step, Exception):
            raise step
        return step

    async def aclose(self) -> None:
        self.is_closed = True


BY_TLS = trio.BrokenResourceError()
BY_TLS.__cause__ = ssl.SSLEOFError(8, "it was cut")

FOREIGN = [
    pytest.param(exc, said, id=said)
    for exc, said in [
        (trio.BrokenResourceError("it is broken"), "BrokenResourceError: it is broken"),
        (BY_TLS, "SSLEOFError"),
        (trio.ClosedResourceError(), "ClosedResourceError"),
        (trio.TooSlowError(), "it took too long"),
        (OSError("it is broken"), "OSError"),
        (ConnectionResetError("it was reset"), "ConnectionResetError"),
        (TimeoutError("it took too long"), "TimeoutError"),
        (socket.gaierror("who is that?"), "gaierror"),
        (ssl.SSLCertVerificationError("it is not him"), "SSLCertVerificationError"),
        (UnicodeError("it is no name"), "UnicodeError"),
        (h11.RemoteProtocolError("it is no HTTP"), "RemoteProtocolError"),
        (h11.LocalProtocolError("we speak no HTTP"), "LocalProtocolError"),
        (ExceptionGroup("both", [OSError("one"), trio.BrokenResourceError()]), "ExceptionGroup"),
    ]
]


@pytest.mark.parametrize(("exc", "said"), FOREIGN)
@pytest.mark.parametrize("where", ["connecting", "sending", "head", "body"])
def test_no_foreign_exception_escapes(where: str, exc: Exception, said: str) -> None:
    stream = {
        "connecting": FakeStream(),
        # Who cannot be written to may still be read from; not here.
        "sending": FakeStream(exc, sending=exc),
        "head": FakeStream(b"HTTP/1.1 200", exc),
        "body": FakeStream(BEGUN, exc),
    }[where]
    connecting = mock.patch(
        "sansio_stream_adapters.trio.connected",
        return_value=stream,
        side_effect=exc if where == "connecting" else None,
    )
    with connecting, pytest.raises(APIConnectionError, match=said) as caught:
        text_from("http://127.0.0.1")
    assert caught.value.__cause__ is not None
    is_timeout = isinstance(exc, TimeoutError | trio.TooSlowError)
    assert isinstance(caught.value, APITimeoutError) is is_timeout
    assert stream.is_closed is (where != "connecting")


@pytest.mark.parametrize(
    "exc", [TypeError("of ours"), ExceptionGroup("mixed", [OSError(), TypeError("of ours")])]
)
def test_even_a_mistake_comes_out_as_one_of_our_exceptions(exc: Exception) -> None:
    assert map_error(exc) is None
    stream = FakeStream(exc)
    connecting = mock.patch("sansio_stream_adapters.trio.connected", return_value=stream)
    with connecting, pytest.raises(APIConnectionError, match=type(exc).__name__) as caught:
        text_from("http://127.0.0.1")
    assert caught.value.__cause__ is exc
    assert stream.is_closed


def test_a_refusal_that_comes_before_the_whole_request_is_read() -> None:
    stream = FakeStream(response(b"{}", 413), sending=trio.BrokenResourceError())
    connecting = mock.patch("sansio_stream_adapters.trio.connected", return_value=stream)
    with connecting, pytest.raises(ContentTooLargeError):
        text_from("http://127.0.0.1")
    assert stream.is_closed
