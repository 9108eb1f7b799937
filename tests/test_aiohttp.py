"""What only aiohttp does; what it does like the others is in test_adapters."""

import asyncio
import gc
from collections.abc import Callable
from typing import Any

import pytest

from matrix import ask
from sansio_stream_adapters import APIConnectionError, OverloadedError, Timeout
from servers import PATIENCE, Do, RawServer, chunk, head, response
from wire import HELLO, body

aiohttp = pytest.importorskip("aiohttp", reason="the adapter stands on aiohttp")

from sansio_stream_adapters.aiohttp import AsyncClient, client_timeout, from_response  # noqa: E402

RawServers = Callable[..., RawServer]
WHOLE = body(*HELLO)


def test_a_long_answer_has_no_timeout_as_a_whole() -> None:
    timeout = client_timeout(Timeout(connect=1, read=2, write=3, pool=4))
    assert timeout.total is None
    assert (timeout.connect, timeout.sock_connect, timeout.sock_read) == (5, 1, 2)


@pytest.mark.parametrize("missing", ["connect", "pool"])
def test_waiting_for_ever_for_one_is_waiting_for_ever_for_both(missing: str) -> None:
    parts: dict[str, Any] = {missing: None}
    assert client_timeout(Timeout(**parts)).connect is None


def test_a_session_that_raises_for_statuses_hides_no_error_of_the_api(
    raw_server: RawServers,
) -> None:
    server = raw_server([response(b"", 529, {})])

    async def main() -> None:
        async with (
            aiohttp.ClientSession(raise_for_status=True) as session,
            AsyncClient(base_url=server.url, http_client=session, max_retries=0) as client,
        ):
            with pytest.raises(OverloadedError):
                await client.messages.create(**ask(), stream=True)

    asyncio.run(main())


def test_a_client_may_be_made_and_closed_where_no_loop_runs(raw_server: RawServers) -> None:
    server = raw_server([response(WHOLE)])
    unused = AsyncClient(base_url=server.url)
    client = AsyncClient(base_url=server.url)

    async def main() -> None:
        async with client, client.messages.stream(**ask()) as stream:
            await stream.until_done()
        await unused.close()

    asyncio.run(main())
    assert server.connections == 1


def test_a_response_of_yours_that_breaks_brings_first_what_came_before(
    raw_server: RawServers,
) -> None:
    server = raw_server([head() + chunk(body(*HELLO[:4])), Do.CLOSE])
    texts: list[str] = []

    async def read(stream: Any) -> None:
        async for text in stream.text_stream:
            texts.append(text)  # noqa: PERF401  (what came before the exception counts)

    async def main() -> None:
        async with aiohttp.ClientSession() as session:
            got = await session.post(server.url)
            while got.content.exception() is None:  # noqa: ASYNC110  (nobody tells)
                await asyncio.sleep(0.001)
            with pytest.raises(APIConnectionError):
                await read(from_response(got))
            assert got.closed

    asyncio.run(asyncio.wait_for(main(), PATIENCE))
    assert texts == ["Hel"]


def test_a_response_of_yours_is_not_closed_because_its_stream_was_dropped(
    raw_server: RawServers,
) -> None:
    server = raw_server([head() + chunk(WHOLE) + chunk(b"")])

    async def main() -> bytes:
        async with aiohttp.ClientSession() as session, session.post(server.url) as got:
            from_response(got)
            gc.collect()
            read: bytes = await got.read()
            return read

    assert asyncio.run(main()) == WHOLE
