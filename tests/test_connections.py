"""What `sockets` and `trio` share, because both stand on a bare connection; see `_http11`.

What all adapters share is in `test_adapters`, what is special to one in its own module.
"""

import socket
import ssl
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("h11", reason="h11 speaks HTTP/1.1 on a bare connection")

import h11

from connections import ASKED, BEGUN, STREAM, TEXT, Bare, bare_driven, failure_of
from sansio_stream.errors import (
    APIConnectionError,
    APITimeoutError,
    ContentTooLargeError,
    RateLimitError,
)
from servers import PATIENCE, RawServer, chunk, head, listening, port_of, response

Start = Callable[..., RawServer]


# Requests and responses.


@bare_driven
async def test_each_request_has_a_connection_of_its_own(bare: Bare, raw_server: Start) -> None:
    server = raw_server([response(STREAM)])
    async with bare.adapter.client(server.url) as client:
        for _ in range(2):
            async with client.messages.stream(**ASKED) as stream:
                assert await stream.get_final_text() == TEXT
                assert stream.response.status_code == 200
                assert stream.response.headers["Content-Type"] == "text/event-stream"
    await bare.adapter.until_closed(server, 2)
    assert [received.connection for received in server.requests] == [1, 2]
    for received in server.requests:
        assert received.line == "POST /v1/messages HTTP/1.1"
        assert received.headers["accept-encoding"] == "gzip, deflate"
        assert received.json == {**ASKED, "stream": True}


@bare_driven
async def test_a_refusal_that_comes_before_the_whole_request_is_read(bare: Bare) -> None:
    def refuse(listener: socket.socket) -> None:
        sock, _ = listener.accept()
        with sock:
            sock.recv(10)
            sock.sendall(response(b"{}", 413))
        # What was not received is answered by a reset.

    with listening() as listener, ThreadPoolExecutor() as pool:
        refusal = pool.submit(refuse, listener)
        async with bare.adapter.client(f"http://127.0.0.1:{port_of(listener)}") as client:
            with pytest.raises(ContentTooLargeError):
                await client.messages.create(**ASKED, system="x" * 20_000_000, stream=True)
        refusal.result()


@bare_driven
async def test_twenty_streams_at_once(bare: Bare, raw_server: Start) -> None:
    halves = STREAM[:500], STREAM[500:]
    all_begun = threading.Barrier(20)
    server = raw_server([head(), chunk(halves[0]), all_begun, chunk(halves[1]), chunk(b"")])
    async with bare.adapter.client(server.url) as client:

        async def text() -> Any:
            async with client.messages.stream(**ASKED) as stream:
                return await stream.get_final_text()

        texts = await bare.adapter.gather(*[text] * 20)
    assert texts == [TEXT] * 20
    await bare.adapter.until_closed(server, 20)


# Connections of the caller's.


@bare_driven
async def test_a_connection_on_which_the_request_was_written(bare: Bare) -> None:
    async with bare.pair() as (ours, theirs):
        await bare.send(theirs, response(STREAM))
        async with await bare.stream_of(ours, strict=True) as stream:
            assert stream.response.status_code == 200
            assert await stream.get_final_text() == TEXT
        assert await bare.is_closed(ours, theirs)


@bare_driven
async def test_a_connection_of_the_caller_s_is_closed_with_its_stream(bare: Bare) -> None:
    async with bare.pair() as (ours, theirs):
        await bare.send(theirs, BEGUN)
        async with await bare.stream_of(ours) as stream:
            await anext(stream)
        assert await bare.is_closed(ours, theirs)
        assert stream.snapshot is not None


@bare_driven
async def test_a_refusal_is_raised_by_the_first_read(bare: Bare) -> None:
    async with bare.pair() as (ours, theirs):
        await bare.send(theirs, response(b'{"error": {"message": "slowly"}}', 429))
        async with await bare.stream_of(ours) as stream:
            with pytest.raises(RateLimitError, match="slowly"):
                await anext(stream)


@bare_driven
async def test_a_connection_that_says_no_http_is_closed(bare: Bare) -> None:
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
@bare_driven
async def test_mistakes_are_not_mapped_but_close_the_connection(
    bare: Bare, options: dict[str, Any], error: type[Exception]
) -> None:
    async with bare.pair() as (ours, theirs):
        await bare.send(theirs, BEGUN)
        with pytest.raises(error):
            await bare.stream_of(ours, **options)
        assert await bare.is_closed(ours, theirs)


# Whatever is raised inside.

FOREIGN = [
    OSError("it is broken"),
    ConnectionResetError("it was reset"),
    BrokenPipeError("nobody is there"),
    TimeoutError("it took too long"),
    socket.gaierror("who is that?"),
    socket.herror("who is that?"),
    ssl.SSLError("it is not secret"),
    ssl.SSLEOFError("it was cut"),
    ssl.SSLZeroReturnError("it was closed"),
    ssl.SSLCertVerificationError("it is not him"),
    UnicodeError("it is no name"),
    h11.RemoteProtocolError("it is no HTTP"),
    h11.LocalProtocolError("we speak no HTTP"),
]


@pytest.mark.parametrize("exc", FOREIGN, ids=lambda exc: type(exc).__name__)
@pytest.mark.parametrize("where", ["connecting", "sending", "head", "body"])
@bare_driven
async def test_no_foreign_exception_escapes(bare: Bare, where: str, exc: Exception) -> None:
    failure = await failure_of(bare, where, exc)
    assert type(exc).__name__ in str(failure)
    assert failure.__cause__ is not None
    assert isinstance(failure, APITimeoutError) is isinstance(exc, TimeoutError)


@pytest.mark.parametrize("where", ["connecting", "sending", "head"])
@bare_driven
async def test_even_a_mistake_comes_out_as_one_of_our_exceptions(bare: Bare, where: str) -> None:
    mistake = TypeError("of ours")
    failure = await failure_of(bare, where, mistake)
    assert "TypeError: of ours" in str(failure)
    assert failure.__cause__ is mistake
