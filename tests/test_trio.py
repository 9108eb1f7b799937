"""trio: what is special to it.

What all adapters share is in `test_adapters`, what bare connections share in `test_connections`.
"""

import ssl
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest

pytest.importorskip("trio", reason="trio runs what is tested here")
pytest.importorskip("h11", reason="h11 speaks HTTP/1.1 on trio's streams")

import trio
import trio.testing

from connections import ASKED, BARE, BEGUN, failure_of
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

Start = Callable[..., RawServer]


def client_of(url: str, **settings: Any) -> AsyncClient:
    settings = {"max_retries": 0, "timeout": PATIENCE, **settings}
    return AsyncClient(base_url=url, **settings)


def in_trio(main: Callable[[], Awaitable[None]]) -> None:
    """Run it, by a clock that jumps where all wait for it."""
    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


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


# Whatever is raised inside.


BY_TLS = trio.BrokenResourceError()
BY_TLS.__cause__ = ssl.SSLEOFError(8, "it was cut")

FOREIGN = [
    pytest.param(exc, said, id=said)
    for exc, said in [
        (trio.BrokenResourceError("it is broken"), "BrokenResourceError: it is broken"),
        (BY_TLS, "SSLEOFError"),
        (trio.ClosedResourceError(), "ClosedResourceError"),
        (trio.TooSlowError(), "the operation timed out"),
        (ExceptionGroup("both", [OSError("one"), trio.BrokenResourceError()]), "ExceptionGroup"),
    ]
]

(TRIO,) = (each for each in BARE if each.adapter.name == "trio")


@pytest.mark.parametrize(("exc", "said"), FOREIGN)
@pytest.mark.parametrize("where", ["connecting", "sending", "head", "body"])
def test_no_exception_of_trio_escapes(where: str, exc: Exception, said: str) -> None:
    failure = trio.run(failure_of, TRIO, where, exc)
    assert said in str(failure)
    assert failure.__cause__ is not None
    assert isinstance(failure, APITimeoutError) is isinstance(exc, trio.TooSlowError)


def test_a_mistake_in_a_group_comes_out_as_one_of_our_exceptions() -> None:
    group = ExceptionGroup("mixed", [OSError(), TypeError("of ours")])
    assert map_error(TypeError("of ours")) is None
    assert map_error(group) is None
    failure = trio.run(failure_of, TRIO, "head", group)
    assert "ExceptionGroup" in str(failure)
    assert failure.__cause__ is group
