"""Test what only the adapter `trio` does.

`test_adapters` tests what all adapters have in common. `test_connections` tests what `sockets` and
`trio` have in common.
"""

import ssl
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest

pytest.importorskip("trio", reason="these tests need trio")
pytest.importorskip("h11", reason="the adapter needs h11")

import trio
import trio.testing

from connections import BARE, BEGINNING, REQUEST, failure_of
from sansio_stream.errors import (
    APITimeoutError,
    IncompleteMessageError,
)
from sansio_stream_adapters import AsyncMessageStream, Timeout
from sansio_stream_adapters.trio import AsyncClient, from_stream, map_error
from servers import (
    PATIENCE,
    TLS,
    Do,
    RawServer,
    wait_until,
)

StartServer = Callable[..., RawServer]


def client_of(url: str, **settings: Any) -> AsyncClient:
    settings = {"max_retries": 0, "timeout": PATIENCE, **settings}
    return AsyncClient(base_url=url, **settings)


def run_with_mock_clock(main: Callable[[], Awaitable[None]]) -> None:
    """Run `main` with a clock that jumps to the next deadline when all tasks wait."""
    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


# Timeouts.


def test_a_timeout_of_the_caller_raises_its_own_exception(raw_server: StartServer) -> None:
    server = raw_server([BEGINNING, Do.WAIT])

    async def main() -> None:
        async with client_of(server.url).messages.stream(**REQUEST) as stream:
            with trio.fail_after(0.1):
                await stream.until_done()

    with pytest.raises(trio.TooSlowError):
        trio.run(main)
    server.wait_until_closed()


# Cancelling and closing.


async def until_reader_waits(stream: AsyncMessageStream) -> None:
    """Return when the stream has begun and its reader waits for more bytes."""
    with trio.fail_after(PATIENCE):
        while stream.snapshot is None:  # noqa: ASYNC110  (there is no event to wait for)
            await trio.sleep(0.001)
        await trio.testing.wait_all_tasks_blocked()


@pytest.mark.parametrize("secure", [False, True])
def test_a_cancelled_stream_keeps_its_snapshot_and_closes_its_connection(
    raw_server: StartServer, tls: TLS, secure: bool
) -> None:
    server = raw_server([BEGINNING, Do.WAIT], tls=tls if secure else None)

    async def main() -> None:
        client = client_of(server.url, ssl_context=tls.client)
        async with client.messages.stream(**REQUEST) as stream:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(stream.until_done)
                await until_reader_waits(stream)
                nursery.cancel_scope.cancel()
            assert nursery.cancel_scope.cancelled_caught
            assert stream.current_message_snapshot.id == "msg_1"
            await trio.to_thread.run_sync(server.wait_until_closed)

    trio.run(main)


def test_a_cancelled_request_leaves_no_connection_open(raw_server: StartServer) -> None:
    server = raw_server([Do.WAIT])

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(
                partial(client_of(server.url).messages.create, **REQUEST, stream=True)
            )
            await trio.to_thread.run_sync(wait_until, lambda: server.requests, "the request")
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        assert nursery.cancel_scope.cancelled_caught
        await trio.to_thread.run_sync(server.wait_until_closed)

    trio.run(main)


@pytest.mark.parametrize("secure", [False, True])
def test_a_stream_can_be_closed_in_a_cancelled_scope(
    raw_server: StartServer, tls: TLS, secure: bool
) -> None:
    server = raw_server([BEGINNING, Do.WAIT], tls=tls if secure else None)

    async def main() -> None:
        client = client_of(server.url, ssl_context=tls.client)
        stream = await client.messages.create(**REQUEST, stream=True)
        with trio.CancelScope() as scope:
            scope.cancel()
            await stream.close()
        await trio.to_thread.run_sync(server.wait_until_closed)

    trio.run(main)


@pytest.mark.parametrize("secure", [False, True])
def test_another_task_can_close_a_stream(raw_server: StartServer, tls: TLS, secure: bool) -> None:
    server = raw_server([BEGINNING, Do.WAIT], tls=tls if secure else None)

    async def main() -> None:
        client = client_of(server.url, ssl_context=tls.client)
        async with client.messages.stream(**REQUEST) as stream, trio.open_nursery() as nursery:

            async def read() -> None:
                # Without the close, a later timeout would end the read with another message.
                with pytest.raises(IncompleteMessageError, match="closed before its end"):
                    await stream.until_done()

            nursery.start_soon(read)
            await until_reader_waits(stream)
            await stream.close()
        assert stream.current_message_snapshot.id == "msg_1"

    trio.run(main)
    server.wait_until_closed()


def test_closing_does_not_wait_for_a_peer_that_does_not_read(tls: TLS) -> None:
    async def main() -> None:
        ours, theirs = trio.testing.lockstep_stream_pair()  # a send waits until it is received
        ours_by_tls = trio.SSLStream(ours, tls.client, server_hostname="localhost")
        theirs_by_tls = trio.SSLStream(theirs, tls.server, server_side=True)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(theirs_by_tls.send_all, BEGINNING)
            stream = await from_stream(ours_by_tls)
        with trio.fail_after(1):
            await stream.close()

    run_with_mock_clock(main)


# Streams that the caller has opened.


@pytest.mark.parametrize(
    ("timeout", "seconds"),
    [(3, 3), (Timeout(read=4), 4), (Timeout(idle=5), 5), (Timeout(), 600)],
    ids=["seconds", "read", "idle", "default"],
)
@pytest.mark.parametrize("begun", [b"", BEGINNING], ids=["head", "body"])
def test_timeouts_apply_to_a_stream_of_the_caller(
    begun: bytes, timeout: Any, seconds: float
) -> None:
    async def main() -> None:
        ours, theirs = trio.testing.memory_stream_pair()
        if begun:
            await theirs.send_all(begun)
        since = trio.current_time()
        with pytest.raises(APITimeoutError):
            await (await from_stream(ours, timeout=timeout)).until_done()
        assert trio.current_time() - since == pytest.approx(seconds)
        assert await theirs.receive_some(1) == b""

    run_with_mock_clock(main)


# Every exception is mapped.


TLS_FAILURE = trio.BrokenResourceError()
TLS_FAILURE.__cause__ = ssl.SSLEOFError(8, "ended early")

FOREIGN = [
    pytest.param(exc, message, id=message)
    for exc, message in [
        (trio.BrokenResourceError("broken"), "BrokenResourceError: broken"),
        (TLS_FAILURE, "SSLEOFError"),
        (trio.ClosedResourceError(), "ClosedResourceError"),
        (trio.TooSlowError(), "the operation timed out"),
        (ExceptionGroup("both", [OSError("one"), trio.BrokenResourceError()]), "ExceptionGroup"),
    ]
]

(TRIO,) = (each for each in BARE if each.adapter.name == "trio")


@pytest.mark.parametrize(("exc", "message"), FOREIGN)
@pytest.mark.parametrize("where", ["connecting", "sending", "head", "body"])
def test_every_exception_of_trio_is_mapped(where: str, exc: Exception, message: str) -> None:
    failure = trio.run(failure_of, TRIO, where, exc)
    assert message in str(failure)
    assert failure.__cause__ is not None
    assert isinstance(failure, APITimeoutError) is isinstance(exc, trio.TooSlowError)


def test_a_group_with_an_unexpected_exception_is_mapped() -> None:
    group = ExceptionGroup("mixed", [OSError(), TypeError("a bug of ours")])
    assert map_error(TypeError("a bug of ours")) is None
    assert map_error(group) is None
    failure = trio.run(failure_of, TRIO, "head", group)
    assert "ExceptionGroup" in str(failure)
    assert failure.__cause__ is group
