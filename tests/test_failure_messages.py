"""The texts of errors: what went wrong, once and in one line, so that a reader knows what to do."""

import asyncio
import gzip
import re
import socket
import ssl
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, Final
from unittest import mock

import pytest

from matrix import Adapter, ask, driven
from sansio_stream import Limits, SSEDecoder, StreamMachine, Verdict, check_response
from sansio_stream_adapters import (
    APIConnectionError,
    APIStatusError,
    APITimeoutError,
    IncompleteMessageError,
    InternalServerError,
    MessageStream,
    NotAnEventStreamError,
    OverloadedError,
    ProtocolError,
    Timeout,
)
from servers import (
    TLS,
    Do,
    RawServer,
    Sleep,
    TooSoonError,
    chunk,
    head,
    response,
    with_seconds,
)
from wire import HELLO, OVERLOADED, body, frame

RawServers = Callable[..., RawServer]

pytestmark = pytest.mark.usefixtures("nothing_is_left_open")

LONG: Final = 60.0
"""A timeout in seconds that no phase of a test reaches."""

CUT_JSON: Final = b'event: content_block_delta\ndata: {"type": "content_block\n\n'


# An error that is raised several times is printed once.


def printed(error: BaseException) -> str:
    """Return the text that Python prints for an uncaught error."""
    return "".join(traceback.format_exception(error))


def calls_of_a_broken_machine() -> Iterator[Callable[[], Any]]:
    machine = StreamMachine()
    machine.receive_data(body(*HELLO[:4]) + CUT_JSON)
    yield machine.final_message
    yield lambda: list(machine.receive_data(b""))
    yield machine.receive_eof
    yield lambda: machine.receive_event({})
    yield machine.final_message


def calls_of_a_broken_decoder() -> Iterator[Callable[[], Any]]:
    decoder = SSEDecoder(Limits(event_bytes=20))
    yield lambda: list(decoder.receive_data(b"data: " + b"x" * 50))
    yield lambda: decoder.receive_data(b"")
    yield decoder.receive_eof


def calls_of_a_broken_stream() -> Iterator[Callable[[], Any]]:
    stream = MessageStream([body(*HELLO[:4]) + CUT_JSON])
    yield stream.until_done
    yield stream.get_final_message
    yield lambda: next(stream)
    yield stream.open


@pytest.mark.parametrize(
    "calls", [calls_of_a_broken_machine, calls_of_a_broken_decoder, calls_of_a_broken_stream]
)
def test_an_error_that_is_raised_again_is_printed_once(
    calls: Callable[[], Iterator[Callable[[], Any]]],
) -> None:
    for call in calls():
        with pytest.raises(ProtocolError) as caught:
            call()
        assert printed(caught.value).count(str(caught.value)) == 1


@pytest.mark.parametrize(
    "calls", [calls_of_a_broken_machine, calls_of_a_broken_decoder, calls_of_a_broken_stream]
)
def test_an_error_that_is_raised_again_in_an_except_block_is_printed_once(
    calls: Callable[[], Iterator[Callable[[], Any]]],
) -> None:
    first, *others = calls()
    try:
        first()
    except ProtocolError:
        for call in others:
            with pytest.raises(ProtocolError) as caught:
                call()
            assert printed(caught.value).count(str(caught.value)) == 1
    else:
        pytest.fail("nothing was raised")


# An error response whose body is an event stream.

SSE: Final = {"content-type": "text/event-stream"}


@driven
async def test_the_error_in_the_event_stream_of_an_error_response_is_raised(
    adapter: Adapter, raw_server: RawServers
) -> None:
    # The last frame of the second response lacks its blank line. The third is labelled as JSON.
    server = raw_server(
        [response(body(OVERLOADED), 529, SSE)],
        [response(b": hi\n\n" + body({"type": "ping"}, OVERLOADED)[:-2], 529, SSE)],
        [response(frame(OVERLOADED, ""), 529, {"content-type": "application/json"})],
    )
    async with adapter.client(server.url) as client:
        for _ in range(3):
            with pytest.raises(OverloadedError) as caught:
                await client.messages.create(**ask(), stream=True)
            error = caught.value
            assert (error.type, str(error)) == ("overloaded_error", "Overloaded")
            assert error.body == OVERLOADED


@driven
async def test_the_error_event_of_an_error_response_is_raised_before_the_body_ends(
    adapter: Adapter, raw_server: RawServers
) -> None:
    server = raw_server([head(529) + chunk(body(OVERLOADED)), Do.WAIT])
    async with adapter.client(server.url, timeout=Timeout.of(LONG)) as client:
        with pytest.raises(OverloadedError) as caught:
            await client.messages.create(**ask(), stream=True)
        assert caught.value.type == "overloaded_error"
        await adapter.until_closed(server)


@pytest.mark.parametrize(
    "data", [body(*HELLO), b"event: error\ndata: {", b"event: error\ndata: no\n\n", b"data: \n\n"]
)
def test_an_error_response_without_an_error_event_shows_its_text(data: bytes) -> None:
    error = check_response(500, SSE, data)
    assert type(error) is InternalServerError
    assert error.body == data.decode()
    assert str(error).startswith("HTTP 500: ")
    assert "\n" not in str(error)


# HTML.

PAGE: Final = (
    b"""<!DOCTYPE html>
<html>
<head><title>502 Bad Gateway</title></head>
<body>
<center><h1>502 Bad Gateway</h1></center>
"""
    + 100 * b"<!-- a padding to disable MSIE and Chrome friendly error page -->\n"
)
ONE_LINE: Final = "<!DOCTYPE html> <html> <head><title>502 Bad Gateway</title></head> <body>"


@driven
async def test_one_line_of_an_html_page_is_in_the_message(
    adapter: Adapter, raw_server: RawServers
) -> None:
    html = {"content-type": "text/html"}
    # Some gateways put the page that they received into JSON or into an event.
    error = {"type": "error", "error": {"type": "api_error", "message": f"Bad:\n{PAGE.decode()}"}}
    server = raw_server(
        [response(PAGE, 502, html)],
        [response(PAGE, 502, SSE)],
        [response(body(error), 502, SSE)],
        [response(body(error))],
        [response(b"event: error\ndata: " + b"data: ".join(PAGE.splitlines(True)) + b"\n\n")],
    )
    async with adapter.client(server.url) as client:
        for _ in server._scripts:
            with pytest.raises(APIStatusError) as caught:
                async with client.messages.stream(**ask()) as stream:
                    await stream.until_done()
            assert ONE_LINE in str(caught.value)
            assert len(str(caught.value)) < 250
            assert len(str(caught.value).splitlines()) <= 2  # the first line is "Bad:"
            assert "friendly" in str(caught.value.body)


def test_the_text_of_an_error_response_is_shown_in_one_line() -> None:
    error = check_response(503, {}, b"upstream connect error\r\n\treset: overflow\n")
    assert str(error) == "HTTP 503: upstream connect error reset: overflow"


# Responses without a message.


@pytest.mark.parametrize("status", [200, 202, 204])
@driven
async def test_the_error_of_an_empty_response_names_its_status(
    adapter: Adapter, status: int, raw_server: RawServers
) -> None:
    server = raw_server([response(b"", status, SSE)])
    async with adapter.client(server.url) as client:
        with pytest.raises(IncompleteMessageError) as caught:
            await client.messages.stream(**ask()).get_final_message()
    assert str(caught.value) == f"the stream ended without a message: HTTP {status}, no body"
    assert caught.value.verdict is Verdict.EMPTY


@driven
async def test_the_error_of_a_response_without_a_message_names_its_status(
    adapter: Adapter, raw_server: RawServers
) -> None:
    server = raw_server([response(b": hi\n\n")], [response(b"Bad\ngateway\n")])
    async with adapter.client(server.url) as client:
        with pytest.raises(IncompleteMessageError) as empty:
            await client.messages.stream(**ask()).get_final_message()
        with pytest.raises(NotAnEventStreamError) as other:
            await client.messages.stream(**ask()).get_final_message()
    assert str(empty.value) == "the stream ended without a message: HTTP 200"
    assert str(other.value) == r"the body is not an event stream: HTTP 200, 'Bad\ngateway\n'"
    assert other.value.raw == "Bad\ngateway\n"
    assert other.value.verdict is Verdict.NOT_AN_EVENT_STREAM


@pytest.mark.parametrize("status", [200, 502])
@pytest.mark.parametrize("content_type", ["text/event-stream", "text/html"])
@driven
async def test_a_content_encoding_that_was_not_decoded_is_named(
    adapter: Adapter, status: int, content_type: str, raw_server: RawServers
) -> None:
    headers = {"content-type": content_type, "content-encoding": "x-unknown"}
    server = raw_server([response(gzip.compress(body(*HELLO)), status, headers)])
    async with adapter.client(server.url) as client:
        with pytest.raises((NotAnEventStreamError, APIStatusError)) as caught:
            await client.messages.stream(**ask()).get_final_message()
    assert "the content-encoding 'x-unknown'" in str(caught.value)
    assert "\ufffd" not in str(caught.value)


def test_a_content_encoding_that_was_decoded_is_not_named() -> None:
    stream = MessageStream([b"<p>no</p>"], headers={"content-encoding": "gzip"})
    with pytest.raises(NotAnEventStreamError, match="HTTP 200, '<p>no</p>'"):
        stream.until_done()
    error = check_response(502, {"content-encoding": "gzip"}, b"<p>no</p>")
    assert str(error) == "HTTP 502: <p>no</p>"


# A machine that receives something other than an event stream.


@pytest.mark.parametrize("data", [b'{"type":"error","error":{"type":"overloaded_error"}}', PAGE])
def test_the_error_of_a_machine_points_to_check_response(data: bytes) -> None:
    machine = StreamMachine()
    machine.receive_data(data)
    machine.receive_eof()
    with pytest.raises(NotAnEventStreamError, match="call `check_response` with the status"):
        machine.final_message()
    # An adapter has called `check_response` already.
    with pytest.raises(NotAnEventStreamError) as caught:
        MessageStream([data]).until_done()
    assert "check_response" not in str(caught.value)


# Exceptions of other libraries.


def test_the_text_of_an_exception_of_another_library_is_shown_in_one_line() -> None:
    def chunks() -> Iterator[bytes]:
        yield body(*HELLO[:3])
        raise OSError("the proxy said:\n\n  <html>\n  no")

    with pytest.raises(APIConnectionError, match=r"^OSError: the proxy said: <html> no$"):
        MessageStream(chunks()).until_done()


# Timeouts: the error names the phase and the seconds.


@contextmanager
def full_listener() -> Iterator[str]:
    """Open a socket that accepts no connection, because its queue is full.

    The value is a host and a port.
    """
    with socket.create_server(("127.0.0.1", 0), backlog=0) as sock, ExitStack() as stack:
        address = sock.getsockname()
        for _ in range(64):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(address)
        yield f"{address[0]}:{address[1]}"


async def timeout_message(
    adapter: Adapter, url: str, *, tls: ssl.SSLContext | None = None, **timeouts: float
) -> str:
    """Send a request that exceeds the given timeouts, and return the text of its error.

    All other timeouts are long.
    """
    timeout = Timeout(**{**dict.fromkeys(("connect", "read", "write", "pool"), LONG), **timeouts})
    async with adapter.client(url, timeout=timeout, tls=tls) as client:
        with pytest.raises(APITimeoutError) as caught:
            await client.messages.create(**ask(), stream=True)
    assert caught.value.__cause__ is not None
    return str(caught.value)


@pytest.mark.skipif(
    sys.platform != "linux", reason="other systems refuse a connection if the queue is full"
)
@driven
async def test_a_connect_timeout_is_named(adapter: Adapter) -> None:
    with full_listener() as address:
        message = await timeout_message(adapter, f"http://{address}", connect=0.2)
    assert re.search(r": connect: no connection was made within 0\.2 s$", message)


@with_seconds
@driven
async def test_a_tls_timeout_is_named_if_the_library_distinguishes_it(
    adapter: Adapter, tls: TLS, seconds: float
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        url = f"https://127.0.0.1:{sock.getsockname()[1]}"
        message = await timeout_message(adapter, url, tls=tls.client, connect=seconds)
    # The other libraries have one timeout for connecting and TLS, and do not say which one it was.
    is_known = adapter.name in ("httpx", "httpx2", "sockets", "trio")
    if is_known and ": connect: " in message:
        raise TooSoonError
    assert f": {'TLS: ' if is_known else 'connect: '}" in message
    assert message.endswith(f" within {seconds:g} s")


@driven
async def test_a_send_timeout_is_named(adapter: Adapter) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        url = f"http://127.0.0.1:{sock.getsockname()[1]}"
        timeout = Timeout(connect=LONG, read=LONG, write=0.2, pool=LONG)
        async with adapter.client(url, timeout=timeout) as client:
            with pytest.raises(APITimeoutError) as caught:
                await client.messages.create(**ask(system="x" * 12_000_000), stream=True)
    assert ": send: the peer accepted no bytes of the request for 0.2 s" in str(caught.value)


@driven
async def test_a_timeout_of_the_response_head_is_named(
    adapter: Adapter, raw_server: RawServers
) -> None:
    server = raw_server([Do.WAIT])
    message = await timeout_message(adapter, server.url, read=0.2)
    assert re.search(r": head: no bytes of the response arrived for 0\.2 s$", message)


@with_seconds
@driven
async def test_a_read_timeout_is_named(
    adapter: Adapter, raw_server: RawServers, seconds: float
) -> None:
    server = raw_server([head() + chunk(body(*HELLO[:4])), Do.WAIT])
    timeout = Timeout(connect=LONG, read=seconds, write=LONG, pool=LONG)
    async with (
        adapter.client(server.url, timeout=timeout) as client,
        client.messages.stream(**ask()) as stream,
    ):
        with pytest.raises(APITimeoutError) as caught:
            await stream.until_done()
        if stream.snapshot is None:
            raise TooSoonError
    assert str(caught.value).endswith(
        f": read: no more bytes of the response arrived for {seconds:g} s"
    )


@driven
async def test_a_pool_timeout_is_named(adapter: Adapter, raw_server: RawServers) -> None:
    if "httpx" not in adapter.name:
        pytest.skip("there is no pool, or its timeout is that of connecting")
    server = raw_server([head() + chunk(body(*HELLO[:4])), Do.WAIT])
    timeout = Timeout(connect=LONG, read=LONG, write=LONG, pool=0.2)
    async with (
        adapter.client(server.url, limit=1, timeout=timeout) as client,
        client.messages.stream(**ask()),
    ):
        with pytest.raises(APITimeoutError, match=r": pool: no connection was free .* 0\.2 s$"):
            await client.messages.create(**ask(), stream=True)


@with_seconds
@driven
async def test_an_idle_timeout_is_named(
    adapter: Adapter, raw_server: RawServers, seconds: float
) -> None:
    pings = [chunk(body({"type": "ping"})), Sleep(seconds / 4)] * 8
    server = raw_server([head() + chunk(body(*HELLO[:4])), *pings, Do.WAIT])
    timeout = Timeout(connect=LONG, read=LONG, write=LONG, pool=LONG, idle=seconds)
    async with (
        adapter.client(server.url, timeout=timeout) as client,
        client.messages.stream(**ask()) as stream,
    ):
        with pytest.raises(APITimeoutError) as caught:
            await stream.until_done()
        if stream.snapshot is None or " read: " in str(caught.value):
            raise TooSoonError
    assert re.search(r": idle: no content for [0-9.]+ s$", str(caught.value))


def test_a_timeout_of_the_operating_system_is_raised_unchanged() -> None:
    from sansio_stream_adapters.sockets import within

    error_of_system = TimeoutError(110, "Connection timed out")
    with pytest.raises(TimeoutError, match="Connection timed out") as caught, within("connect", 5):
        raise error_of_system
    assert caught.value is error_of_system


# aiohttp's parser raises an error with the status 400 for a malformed response.


@pytest.mark.parametrize(
    "script",
    [
        [b"HTP/1.1 200 OK\r\n\r\n", Do.CLOSE],
        [b"HTTP/1.1 abc OK\r\n\r\n", Do.WAIT],
        [b"HTTP/1.1 200 OK\r\nno header\r\n\r\n", Do.CLOSE],
        [head() + chunk(body(*HELLO[:4])) + b"zz\r\n", Do.CLOSE],
        [head() + chunk(body(*HELLO[:4])), Do.CLOSE],
        [head() + chunk(body(*HELLO[:4])), Do.RESET],
    ],
    ids=["protocol", "status", "header", "chunk", "cut", "reset"],
)
@driven
async def test_the_error_of_a_malformed_response_does_not_show_status_400(
    adapter: Adapter, script: list[Any], raw_server: RawServers
) -> None:
    server = raw_server(script)
    async with adapter.client(server.url) as client:
        with pytest.raises(APIConnectionError) as caught:
            await client.messages.stream(**ask(), extra_query={"key": "secret"}).get_final_message()
    message = str(caught.value)
    assert "400" not in message
    assert "\n" not in message
    assert "secret" not in message
    if adapter.name == "aiohttp" and caught.value.partial_message is None:
        assert message.startswith("ClientResponseError: the answer is malformed: ")


@with_seconds
def test_a_read_timeout_of_the_callers_own_session_is_an_api_timeout_error(
    raw_server: RawServers, seconds: float
) -> None:
    aiohttp = pytest.importorskip("aiohttp", reason="the session is one of aiohttp")
    from sansio_stream_adapters.aiohttp import from_response

    server = raw_server([head() + chunk(body(*HELLO[:4])), Do.WAIT])

    async def main() -> None:
        timeout = aiohttp.ClientTimeout(sock_read=seconds)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            try:
                response = await session.post(server.url)
            except TimeoutError as exc:
                raise TooSoonError from exc
            stream = from_response(response)
            with pytest.raises(APITimeoutError, match="TimeoutError: read: timed out"):
                await stream.until_done()
            if stream.snapshot is None:
                raise TooSoonError

    asyncio.run(main())


def test_a_status_error_of_the_callers_session_becomes_the_error_of_that_status() -> None:
    aiohttp = pytest.importorskip("aiohttp", reason="the session is one of aiohttp")
    from sansio_stream_adapters.aiohttp import map_error

    response_error = partial(aiohttp.ClientResponseError, mock.Mock(), ())
    error = map_error(response_error(status=529, message="Busy", headers={"retry-after": "3"}))
    assert isinstance(error, OverloadedError)
    assert error.headers == {"retry-after": "3"}
    refused = aiohttp.ClientHttpProxyError(mock.Mock(), (), status=407, message="Who\nare you?")
    assert str(map_error(refused)).endswith("Error: the proxy answered 407 Who are you?")
