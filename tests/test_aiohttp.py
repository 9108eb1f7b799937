"""What only aiohttp does; what it does like the others is in test_adapters."""

import asyncio
import gc
import itertools
from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest

from matrix import ask
from sansio_stream_adapters import (
    APIConnectionError,
    APITimeoutError,
    OverloadedError,
    Timeout,
)
from servers import PATIENCE, Do, RawServer, chunk, head, response
from wire import HELLO, body

aiohttp = pytest.importorskip("aiohttp", reason="the adapter stands on aiohttp")

from sansio_stream_adapters.aiohttp import (  # noqa: E402
    AsyncClient,
    HeadFirst,
    RequestBody,
    client_timeout,
    from_response,
)

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


def test_a_timeout_of_the_pool_says_so(raw_server: RawServers) -> None:
    server = raw_server([head() + chunk(body(*HELLO[:4])), Do.WAIT])

    async def main() -> None:
        async with (
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1)) as session,
            AsyncClient(
                base_url=server.url, http_client=session, timeout=PATIENCE, max_retries=0
            ) as client,
            client.messages.stream(**ask()),
        ):
            timeout = Timeout(connect=0.1, pool=0.2)
            with pytest.raises(APITimeoutError, match=r": pool: no connection .* 0\.3 s$"):
                await client.messages.create(**ask(), timeout=timeout, stream=True)

    asyncio.run(main())


class Writer:
    """What a body is written to; tells the sizes of what was written, and of waits by a 0."""

    transport = protocol = None

    def __init__(self) -> None:
        self.told: list[int] = []

    async def write(self, piece: bytes) -> None:
        self.told.append(len(piece))

    async def drain(self) -> None:
        self.told.append(0)


def test_a_request_is_written_in_pieces_and_each_is_waited_for() -> None:
    body = RequestBody(b"x" * 150_000, 1.0)
    writer = Writer()
    asyncio.run(body.write(writer))
    assert writer.told == [65_536, 0, 65_536, 0, 18_928, 0]
    assert body.size == 150_000
    assert body.decode() == "x" * 150_000


class Heard(asyncio.Protocol):
    """A protocol that remembers what it was given."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []

    def data_received(self, data: bytes) -> None:
        self.pieces.append(data)


CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
ANSWERS = {
    "all at once": (b"HTTP/1.1 200 OK\r\na: b\r\n\r\n", b"body\r\n\r\nmore"),
    "behind informational heads": (CONTINUE + CONTINUE + b"HTTP/1.1 200 OK\r\n\r\n", b"body"),
    "lines without CR": (b"HTTP/1.1 200 OK\na: b\n\n", b"body\n\nmore"),
    "blank lines first": (b"\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", b"body"),
    "no body": (b"HTTP/1.1 200 OK\r\n\r\n", b""),
}


@pytest.mark.parametrize(("heads", "rest"), ANSWERS.values(), ids=ANSWERS)
@pytest.mark.parametrize("cut", [1, 2, 3, 7, 1000])
def test_a_head_comes_alone_and_nothing_is_lost_however_it_is_cut(
    heads: bytes, rest: bytes, cut: int
) -> None:
    heard, transport = Heard(), mock.Mock()
    transport.is_closing.return_value = False
    HeadFirst.put_before(heard, transport)
    ((between,), _) = transport.set_protocol.call_args
    data = heads + rest
    for at in range(0, len(data), cut):
        between.data_received(data[at : at + cut])
    assert b"".join(heard.pieces) == data
    ends = list(itertools.accumulate(map(len, heard.pieces)))
    assert len(heads) in ends
