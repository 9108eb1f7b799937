"""Test what the adapters `sockets` and `trio` have in common; both use `_http11`.

`test_adapters` tests what all adapters have in common. `test_sockets` and `test_trio` test the
rest.
"""

import socket
import ssl
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("h11", reason="sockets and trio need h11")

import h11

from connections import (
    BEGINNING,
    REQUEST,
    STREAM,
    TEXT,
    BareAdapter,
    failure_of,
    with_each_bare_adapter,
)
from sansio_stream.errors import (
    APIConnectionError,
    APITimeoutError,
    ContentTooLargeError,
    RateLimitError,
)
from servers import PATIENCE, RawServer, chunk, head, listening, port_of, response

StartServer = Callable[..., RawServer]


# Requests and responses.


@with_each_bare_adapter
async def test_each_request_has_a_connection_of_its_own(
    bare: BareAdapter, raw_server: StartServer
) -> None:
    server = raw_server([response(STREAM)])
    async with bare.adapter.client(server.url) as client:
        for _ in range(2):
            async with client.messages.stream(**REQUEST) as stream:
                assert await stream.get_final_text() == TEXT
                assert stream.response.status_code == 200
                assert stream.response.headers["Content-Type"] == "text/event-stream"
    await bare.adapter.until_closed(server, 2)
    assert [received.connection for received in server.requests] == [1, 2]
    for received in server.requests:
        assert received.line == "POST /v1/messages HTTP/1.1"
        assert received.headers["accept-encoding"] == "gzip, deflate"
        assert received.json == {**REQUEST, "stream": True}


@with_each_bare_adapter
async def test_a_refusal_that_arrives_while_the_request_is_sent_is_raised(
    bare: BareAdapter,
) -> None:
    def refuse(listener: socket.socket) -> None:
        sock, _ = listener.accept()
        with sock:
            sock.recv(10)
            sock.sendall(response(b"{}", 413))
        # The client is still sending. Closing with unread data resets the connection.

    with listening() as listener, ThreadPoolExecutor() as pool:
        refusal = pool.submit(refuse, listener)
        async with bare.adapter.client(f"http://127.0.0.1:{port_of(listener)}") as client:
            with pytest.raises(ContentTooLargeError):
                await client.messages.create(**REQUEST, system="x" * 20_000_000, stream=True)
        refusal.result()


@with_each_bare_adapter
async def test_twenty_streams_can_be_read_at_once(
    bare: BareAdapter, raw_server: StartServer
) -> None:
    halves = STREAM[:500], STREAM[500:]
    all_begun = threading.Barrier(20)
    server = raw_server([head(), chunk(halves[0]), all_begun, chunk(halves[1]), chunk(b"")])
    async with bare.adapter.client(server.url) as client:

        async def text() -> Any:
            async with client.messages.stream(**REQUEST) as stream:
                return await stream.get_final_text()

        texts = await bare.adapter.gather(*[text] * 20)
    assert texts == [TEXT] * 20
    await bare.adapter.until_closed(server, 20)


# Connections that the caller has opened.


@with_each_bare_adapter
async def test_a_stream_can_be_made_from_a_connection(bare: BareAdapter) -> None:
    async with bare.pair() as (ours, theirs):
        await bare.send(theirs, response(STREAM))
        async with await bare.stream_of(ours, strict=True) as stream:
            assert stream.response.status_code == 200
            assert await stream.get_final_text() == TEXT
        assert await bare.is_closed(ours, theirs)


@with_each_bare_adapter
async def test_closing_a_stream_closes_the_caller_s_connection(bare: BareAdapter) -> None:
    async with bare.pair() as (ours, theirs):
        await bare.send(theirs, BEGINNING)
        async with await bare.stream_of(ours) as stream:
            await anext(stream)
        assert await bare.is_closed(ours, theirs)
        assert stream.snapshot is not None


@with_each_bare_adapter
async def test_a_refusal_is_raised_by_the_first_read(bare: BareAdapter) -> None:
    async with bare.pair() as (ours, theirs):
        await bare.send(theirs, response(b'{"error": {"message": "slowly"}}', 429))
        async with await bare.stream_of(ours) as stream:
            with pytest.raises(RateLimitError, match="slowly"):
                await anext(stream)


@with_each_bare_adapter
async def test_a_connection_that_does_not_speak_http_is_closed(bare: BareAdapter) -> None:
    async with bare.pair() as (ours, theirs):
        await bare.send(theirs, b"220 smtp.example.com ready\r\n\r\n")
        with pytest.raises(APIConnectionError, match="RemoteProtocolError"):
            await bare.stream_of(ours, timeout=PATIENCE)
        assert await bare.is_closed(ours, theirs)


@pytest.mark.parametrize(
    ("options", "error"),
    [({"timeout": "soon"}, TypeError), ({"record_to": Path("/")}, IsADirectoryError)],
    ids=["timeout", "record_to"],
)
@with_each_bare_adapter
async def test_a_wrong_argument_raises_its_own_exception_and_closes_the_connection(
    bare: BareAdapter, options: dict[str, Any], error: type[Exception]
) -> None:
    async with bare.pair() as (ours, theirs):
        await bare.send(theirs, BEGINNING)
        with pytest.raises(error):
            await bare.stream_of(ours, **options)
        assert await bare.is_closed(ours, theirs)


# Every exception is mapped.

FOREIGN = [
    OSError("broken"),
    ConnectionResetError("reset"),
    BrokenPipeError("closed by the peer"),
    TimeoutError("too slow"),
    socket.gaierror("unknown host"),
    socket.herror("unknown host"),
    ssl.SSLError("not encrypted"),
    ssl.SSLEOFError("ended early"),
    ssl.SSLZeroReturnError("closed"),
    ssl.SSLCertVerificationError("not trusted"),
    UnicodeError("not a host name"),
    h11.RemoteProtocolError("the peer violates HTTP"),
    h11.LocalProtocolError("we violate HTTP"),
]


@pytest.mark.parametrize("exc", FOREIGN, ids=lambda exc: type(exc).__name__)
@pytest.mark.parametrize("where", ["connecting", "sending", "head", "body"])
@with_each_bare_adapter
async def test_every_foreign_exception_is_mapped(
    bare: BareAdapter, where: str, exc: Exception
) -> None:
    failure = await failure_of(bare, where, exc)
    assert type(exc).__name__ in str(failure)
    assert failure.__cause__ is not None
    assert isinstance(failure, APITimeoutError) is isinstance(exc, TimeoutError)


@pytest.mark.parametrize("where", ["connecting", "sending", "head"])
@with_each_bare_adapter
async def test_an_unexpected_exception_is_mapped(bare: BareAdapter, where: str) -> None:
    mistake = TypeError("a bug of ours")
    failure = await failure_of(bare, where, mistake)
    assert "TypeError: a bug of ours" in str(failure)
    assert failure.__cause__ is mistake
