"""Test what only the adapter `aiohttp` does. `test_adapters` tests what all adapters do."""

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

aiohttp = pytest.importorskip("aiohttp", reason="the adapter needs aiohttp")

from sansio_stream_adapters.aiohttp import (  # noqa: E402
    AsyncClient,
    HeadFirst,
    RequestBody,
    client_timeout,
    from_response,
)

StartServer = Callable[..., RawServer]
WHOLE = body(*HELLO)


def test_there_is_no_timeout_for_a_whole_response() -> None:
    timeout = client_timeout(Timeout(connect=1, read=2, write=3, pool=4))
    assert timeout.total is None
    assert (timeout.connect, timeout.sock_connect, timeout.sock_read) == (5, 1, 2)


@pytest.mark.parametrize("missing", ["connect", "pool"])
def test_connecting_has_no_timeout_if_connect_or_pool_is_none(missing: str) -> None:
    parts: dict[str, Any] = {missing: None}
    assert client_timeout(Timeout(**parts)).connect is None


def test_an_error_of_the_api_is_raised_even_if_the_session_raises_for_statuses(
    raw_server: StartServer,
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


def test_a_client_may_be_made_outside_of_a_loop(raw_server: StartServer) -> None:
    server = raw_server([response(WHOLE)])
    unused = AsyncClient(base_url=server.url)
    client = AsyncClient(base_url=server.url)

    async def main() -> None:
        async with client, client.messages.stream(**ask()) as stream:
            await stream.until_done()
        await unused.close()

    asyncio.run(main())
    assert server.connections == 1


def test_a_broken_response_of_the_caller_yields_its_text_before_the_error(
    raw_server: StartServer,
) -> None:
    server = raw_server([head() + chunk(body(*HELLO[:4])), Do.CLOSE])
    texts: list[str] = []

    async def read(stream: Any) -> None:
        async for text in stream.text_stream:
            texts.append(text)  # noqa: PERF401  (keeps the texts before the exception)

    async def main() -> None:
        async with aiohttp.ClientSession() as session:
            answer = await session.post(server.url)
            while answer.content.exception() is None:  # noqa: ASYNC110  (there is no event)
                await asyncio.sleep(0.001)
            with pytest.raises(APIConnectionError):
                await read(from_response(answer))
            assert answer.closed

    asyncio.run(asyncio.wait_for(main(), PATIENCE))
    assert texts == ["Hel"]


def test_a_response_of_the_caller_stays_open_if_its_unused_stream_is_collected(
    raw_server: StartServer,
) -> None:
    server = raw_server([head() + chunk(WHOLE) + chunk(b"")])

    async def main() -> bytes:
        async with (
            aiohttp.ClientSession() as session,
            session.post(server.url) as answer,
        ):
            from_response(answer)
            gc.collect()
            read: bytes = await answer.read()
            return read

    assert asyncio.run(main()) == WHOLE


def test_the_message_of_a_pool_timeout_names_the_pool(raw_server: StartServer) -> None:
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
    """A fake writer of aiohttp. `calls` records the size of each write, and 0 for each drain."""

    transport = protocol = None

    def __init__(self) -> None:
        self.calls: list[int] = []

    async def write(self, piece: bytes) -> None:
        self.calls.append(len(piece))

    async def drain(self) -> None:
        self.calls.append(0)


def test_a_request_is_written_in_pieces_with_a_drain_after_each() -> None:
    body = RequestBody(b"x" * 150_000, 1.0)
    writer = Writer()
    asyncio.run(body.write(writer))
    assert writer.calls == [65_536, 0, 65_536, 0, 18_928, 0]
    assert body.size == 150_000
    assert body.decode() == "x" * 150_000


class RecordingProtocol(asyncio.Protocol):
    """A protocol that records the data it receives."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []

    def data_received(self, data: bytes) -> None:
        self.pieces.append(data)


CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
ANSWERS = {
    "all at once": (b"HTTP/1.1 200 OK\r\na: b\r\n\r\n", b"body\r\n\r\nmore"),
    "after informational heads": (CONTINUE + CONTINUE + b"HTTP/1.1 200 OK\r\n\r\n", b"body"),
    "lines without CR": (b"HTTP/1.1 200 OK\na: b\n\n", b"body\n\nmore"),
    "blank lines first": (b"\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", b"body"),
    "no body": (b"HTTP/1.1 200 OK\r\n\r\n", b""),
}


@pytest.mark.parametrize(("heads", "rest"), ANSWERS.values(), ids=ANSWERS)
@pytest.mark.parametrize("cut", [1, 2, 3, 7, 1000])
def test_a_head_is_passed_on_apart_from_its_body_however_the_bytes_are_cut(
    heads: bytes, rest: bytes, cut: int
) -> None:
    recorder, transport = RecordingProtocol(), mock.Mock()
    transport.is_closing.return_value = False
    HeadFirst.put_before(recorder, transport)
    ((between,), _) = transport.set_protocol.call_args
    data = heads + rest
    for at in range(0, len(data), cut):
        between.data_received(data[at : at + cut])
    assert b"".join(recorder.pieces) == data
    ends = list(itertools.accumulate(map(len, recorder.pieces)))
    assert len(heads) in ends
