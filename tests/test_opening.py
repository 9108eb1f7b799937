"""Test on each adapter that a stream can be closed before its response has arrived."""

import threading
from collections.abc import Callable, Iterable
from typing import Any, Final

import pytest

from matrix import Adapter, ask, driven, text_of
from sansio_stream_adapters import IncompleteMessageError, Timeout, Verdict
from sansio_stream_adapters._opening import AsyncOpening
from servers import TLS, Do, RawServer, chunk, head, response, signalling
from wire import HELLO, body

StartServer = Callable[..., RawServer]

pytestmark = pytest.mark.usefixtures("nothing_is_left_open")

WHOLE: Final = body(*HELLO)
JSON: Final = {"content-type": "application/json", "transfer-encoding": "chunked"}

STEPS_BY_WAIT: Final[dict[str, Callable[[], Iterable[Any]]]] = {
    "the head": lambda: [Do.WAIT],
    "the end of the head": lambda: [
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n",
        Do.WAIT,
    ],
    "the first frame": lambda: [head(), Do.WAIT],
    "the body of a refusal": lambda: [head(400, JSON) + chunk(b'{"type":'), Do.WAIT],
    "the next attempt": lambda: [response(b"{}", 500, {"retry-after": "50"})],
}
"""The steps of a server. Each key names what the client then waits for."""


async def close_while_it_is_entered(
    adapter: Adapter, manager: Any, is_awaited: Callable[[], object], *, by_leaving: bool
) -> IncompleteMessageError:
    """Enter the manager in one thread or task, and close it in another. Return what is raised."""
    raised: list[IncompleteMessageError] = []

    async def enter() -> None:
        with pytest.raises(IncompleteMessageError, match="closed before its end") as caught:
            await manager.__aenter__()
        raised.append(caught.value)

    async def close() -> None:
        await adapter.until(is_awaited, "the request")
        for _ in range(2):
            if by_leaving:
                await manager.__aexit__(None, None, None)
            else:
                await manager.close()

    await adapter.gather(enter, close)
    return raised[0]


@pytest.mark.parametrize("by_leaving", [False, True], ids=["close", "leave"])
@pytest.mark.parametrize("what", STEPS_BY_WAIT)
@driven
async def test_closing_wakes_a_waiting_call(
    adapter: Adapter, raw_server: StartServer, what: str, by_leaving: bool
) -> None:
    server = raw_server(list(STEPS_BY_WAIT[what]()))
    async with adapter.client(server.url, timeout=None, max_retries=2) as client:
        error = await close_while_it_is_entered(
            adapter,
            client.messages.stream(**ask()),
            lambda: server.requests,
            by_leaving=by_leaving,
        )
    assert error.verdict is Verdict.PENDING
    assert error.partial_message is None
    await adapter.until_closed(server)
    assert len(server.requests) == 1


@driven
async def test_closing_wakes_a_waiting_call_over_tls(
    adapter: Adapter, raw_server: StartServer, tls: TLS
) -> None:
    server = raw_server([Do.WAIT], tls=tls)
    async with adapter.client(server.url, tls=tls.client, timeout=None, max_retries=2) as client:
        manager = client.messages.stream(**ask())
        await close_while_it_is_entered(adapter, manager, lambda: server.requests, by_leaving=False)
    await adapter.until_closed(server)


@driven
async def test_closing_wakes_a_waiting_call_on_a_reused_connection(
    adapter: Adapter, raw_server: StartServer
) -> None:
    server = raw_server([response(WHOLE)], [Do.WAIT])
    async with adapter.client(server.url, timeout=None) as client:
        async with client.messages.stream(**ask()) as stream:
            assert text_of(await stream.get_final_message())
        await close_while_it_is_entered(
            adapter,
            client.messages.stream(**ask()),
            lambda: len(server.requests) == 2,
            by_leaving=False,
        )
    await adapter.until(lambda: not server.open_connections, "all connections are closed")
    assert server.connections == (1 if adapter.pools else 2)


@driven
async def test_the_request_of_a_closed_manager_is_not_sent(
    adapter: Adapter, raw_server: StartServer
) -> None:
    server = raw_server([response(WHOLE)])
    async with adapter.client(server.url) as client:
        manager = client.messages.stream(**ask())
        await manager.close()
        with pytest.raises(IncompleteMessageError, match="closed before its end"):
            await manager.__aenter__()
    assert server.requests == []


@driven
async def test_closing_a_manager_closes_its_open_stream(
    adapter: Adapter, raw_server: StartServer
) -> None:
    server = raw_server([head() + chunk(body(*HELLO[:4])), Do.WAIT])
    async with adapter.client(server.url) as client:
        manager = client.messages.stream(**ask())
        stream = await manager.__aenter__()
        await manager.close()
        with pytest.raises(IncompleteMessageError, match="closed before its end"):
            await stream.until_done()
        await adapter.until_closed(server)


@driven
async def test_a_signal_handler_may_close_a_waiting_call(
    adapter: Adapter, raw_server: StartServer
) -> None:
    if adapter.loop:
        pytest.skip("an asynchronous stream belongs to its loop")
    server = raw_server([Do.WAIT])
    async with adapter.client(server.url, timeout=None) as client:
        manager = client.messages.stream(**ask())

        def press_when_it_waits(press: Callable[[], object]) -> None:
            while not server.requests:
                threading.Event().wait(0.002)
            press()

        with signalling(manager.sync.close) as press:
            presser = threading.Thread(target=press_when_it_waits, args=[press])
            presser.start()
            try:
                with pytest.raises(IncompleteMessageError, match="closed before its end"):
                    await manager.__aenter__()
            finally:
                presser.join()
    await adapter.until_closed(server)


# Openings that are not closed.


@driven
async def test_a_timeout_of_an_opening_that_is_not_closed_is_raised(
    adapter: Adapter, raw_server: StartServer
) -> None:
    server = raw_server([Do.WAIT])
    async with adapter.client(server.url, timeout=Timeout(read=0.05)) as client:
        with pytest.raises(Exception, match=r"head: no bytes of the response arrived for 0\.05 s"):
            await client.messages.stream(**ask()).__aenter__()


@pytest.mark.parametrize("error", [TimeoutError("its own"), ValueError("its own")])
def test_an_opening_raises_the_exception_of_its_action(adapter: Adapter, error: Exception) -> None:
    if not adapter.loop:
        pytest.skip("only an asynchronous adapter has an AsyncOpening")

    async def fail() -> None:
        raise error

    async def scenario() -> None:
        with pytest.raises(type(error), match="its own"):
            await AsyncOpening().run(fail)

    adapter.run(scenario)
