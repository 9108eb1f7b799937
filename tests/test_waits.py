"""Test properties of all adapters besides the scenarios of `test_adapters`.

Every wait has a bound. A request is not sent again after its response has begun. All adapters send
the same request and read the same head.
"""

import asyncio
import itertools
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final
from unittest import mock

import pytest

from matrix import Adapter, AsyncFacade, ask, driven, text_of
from sansio_stream import Verdict
from sansio_stream_adapters import (
    APIConnectionError,
    APIError,
    APITimeoutError,
    BadRequestError,
    ContentTooLargeError,
    InternalServerError,
    Timeout,
)
from servers import (
    PATIENCE,
    TLS,
    Do,
    RawServer,
    Sleep,
    chunk,
    head,
    interrupt,
    listening,
    port_of,
    read_request,
    response,
    signalling,
)
from wire import HELLO, body

StartServer = Callable[..., RawServer]

WHOLE: Final = body(*HELLO)
HALF: Final = body(*HELLO[:4])
"""The frames up to the text "Hel"."""
TEXT: Final = "Hello, wörld \N{PARTY POPPER}"
STREAM: Final = {"content-type": "text/event-stream"}
LARGE: Final = "x" * 12_000_000
"""More bytes than all buffers of a connection can store."""
HEAD_BYTES: Final = 102_400
"""The maximum size of a head. docs/clients.md states it."""

pytestmark = pytest.mark.usefixtures("nothing_is_left_open")

secure = pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])


# Sending.


class SilentServer:
    """A server that accepts one connection and reads no bytes until `may_read` is set."""

    def __init__(self, listener: socket.socket, tls: TLS | None) -> None:
        self._listener = listener
        self._tls = tls
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{port_of(listener)}"
        self.has_accepted = threading.Event()
        self.may_read = threading.Event()
        self.is_done = threading.Event()

    def run(self) -> None:
        with suppress(OSError):  # the client has closed the connection
            sock, _ = self._listener.accept()
            sock.settimeout(PATIENCE)
            with sock if self._tls is None else self._tls.server.wrap_socket(sock, True) as sock:
                self.has_accepted.set()
                self.may_read.wait(PATIENCE)
                while sock.recv(1_000_000):
                    pass
        self.is_done.set()


@contextmanager
def silent_server(tls: TLS | None) -> Iterator[SilentServer]:
    """Run a server that reads no bytes until `may_read` is set, and then reads to the end."""
    with listening() as listener:
        server = SilentServer(listener, tls)
        thread = threading.Thread(target=server.run)
        thread.start()
        try:
            yield server
        finally:
            server.may_read.set()
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)  # ends a pending `accept`
            thread.join()


@contextmanager
def event_of_sending() -> Iterator[threading.Event]:
    """Yield an event that is set when the main thread begins to send more than a head."""
    sends = threading.Event()

    def announced(send: Callable[..., Any]) -> Callable[..., Any]:
        def announce_and_send(sock: socket.socket, data: bytes, *flags: int) -> Any:
            if len(data) > 10_000 and threading.current_thread() is threading.main_thread():
                sends.set()
            return send(sock, data, *flags)

        return announce_and_send

    with ExitStack() as stack:
        for kind in (socket.socket, ssl.SSLSocket):
            for name in ("send", "sendall"):
                replaced = announced(getattr(kind, name))
                stack.enter_context(mock.patch.object(kind, name, replaced))
        yield sends


async def interrupt_while_sending(
    adapter: Adapter, server: SilentServer, action: Callable[[], Any]
) -> None:
    """Interrupt an action while it sends to a server that does not read.

    Check that the action raises the interruption.

    A task can be cancelled at any time. Ctrl-C must not be pressed before the action sends. The
    standard library may have made a socket then that is not yet stored anywhere. After an interrupt
    it would never be closed.
    """
    if adapter.loop == "asyncio":
        task = asyncio.create_task(action())
        await adapter.until(server.has_accepted.is_set, "the server has accepted")
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    elif adapter.loop == "trio":
        import trio

        async with trio.open_nursery() as nursery:
            nursery.start_soon(action)
            await adapter.until(server.has_accepted.is_set, "the server has accepted")
            await trio.sleep(0.1)
            nursery.cancel_scope.cancel()
        assert nursery.cancel_scope.cancelled_caught
    else:
        with event_of_sending() as sends, signalling(interrupt) as press:
            pressing = threading.Thread(target=lambda: sends.wait(PATIENCE) and press())
            pressing.start()
            try:
                with pytest.raises(KeyboardInterrupt):
                    await action()
            finally:
                pressing.join()


@secure
@driven
async def test_a_peer_that_does_not_read_causes_a_timeout_and_the_connection_is_closed(
    adapter: Adapter, tls: TLS, secure: bool
) -> None:
    with silent_server(tls if secure else None) as server:
        waits = Timeout(connect=PATIENCE, read=None, write=0.2, pool=PATIENCE)
        async with adapter.client(server.url, tls=tls.client, timeout=waits) as client:
            with pytest.raises(APITimeoutError):
                await client.messages.create(**ask(system=LARGE), stream=True)
            server.may_read.set()
            await adapter.until(server.is_done.is_set, "the connection is closed")


@secure
@driven
async def test_an_interruption_while_a_request_is_sent_closes_the_connection(
    adapter: Adapter, tls: TLS, secure: bool
) -> None:
    with silent_server(tls if secure else None) as server:
        async with adapter.client(server.url, tls=tls.client, timeout=10 * PATIENCE) as client:
            request = partial(client.messages.create, **ask(system=LARGE), stream=True)
            await interrupt_while_sending(adapter, server, request)
            server.may_read.set()
            await adapter.until(server.is_done.is_set, "the connection is closed")


@secure
@driven
async def test_a_large_request_is_sent_whole_with_its_length(
    adapter: Adapter, raw_server: StartServer, tls: TLS, secure: bool
) -> None:
    large = LARGE[:3_000_000]  # the server reads at once, so this only has to need many writes
    server = raw_server([response(WHOLE)], tls=tls if secure else None)
    async with (
        adapter.client(server.url, tls=tls.client) as client,
        client.messages.stream(**ask(system=large)) as stream,
    ):
        assert await stream.get_final_text() == TEXT
    (request,) = server.requests
    assert request.json["system"] == large
    assert int(request.headers["content-length"]) == len(request.body)
    assert "transfer-encoding" not in request.headers


@contextmanager
def refusing(until: threading.Event) -> Iterator[str]:
    """Refuse one request after ten bytes of it. Close the connection when `until` is set."""

    def refuse(listener: socket.socket) -> None:
        with suppress(OSError):  # no client connects
            sock, _ = listener.accept()
            with sock:
                sock.recv(10)
                sock.sendall(response(b"{}", 413))
                until.wait(PATIENCE)
            # Closing with unread data resets the connection.

    with listening() as listener:
        thread = threading.Thread(target=refuse, args=[listener])
        thread.start()
        try:
            yield f"http://127.0.0.1:{port_of(listener)}"
        finally:
            until.set()
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)  # ends a pending `accept`
            thread.join()


@driven
async def test_a_refusal_that_arrives_while_the_request_is_sent_is_raised(
    adapter: Adapter,
) -> None:
    may_close = threading.Event()
    if adapter.libraries[0] != "aiohttp":  # aiohttp reads a response while it sends
        may_close.set()
    if adapter.loop == "asyncio" and may_close.is_set():
        pytest.skip(
            "anyio does not read while it sends, and asyncio drops the response if a write fails"
        )
    with refusing(may_close) as url:
        async with adapter.client(url) as client:
            with pytest.raises(ContentTooLargeError):
                await client.messages.create(**ask(system=LARGE), stream=True)


@driven
async def test_httpx_gets_a_request_in_pieces_so_the_write_timeout_applies_to_each(
    adapter: Adapter,
) -> None:
    if not adapter.libraries[0].startswith("httpx"):
        pytest.skip("test_aiohttp and test_http11 test the other adapters")
    pieces: list[bytes] = []

    def answer(request: Any) -> Any:
        pieces.extend(request.stream)
        return adapter.library.Response(200, headers=STREAM, content=WHOLE)

    async def answer_in_a_loop(request: Any) -> Any:
        pieces.extend([piece async for piece in request.stream])
        return adapter.library.Response(200, headers=STREAM, content=WHOLE)

    kind = adapter.library.AsyncClient if adapter.loop else adapter.library.Client
    transport = adapter.library.MockTransport(answer_in_a_loop if adapter.loop else answer)
    client = adapter.make(http_client=kind(transport=transport), api_key="k", max_retries=0)
    async with client.messages.stream(**ask(system="x" * 200_000)) as stream:
        await stream.until_done()
    assert [len(piece) for piece in pieces[:-1]] == [65_536] * 3
    assert json.loads(b"".join(pieces))["system"] == "x" * 200_000


# Receiving.


@driven
async def test_idle_bounds_the_body_of_a_refusal(adapter: Adapter, raw_server: StartServer) -> None:
    long_head = head(500, {"content-type": "text/plain", "content-length": "99999999"})
    endless = itertools.chain([long_head], itertools.cycle([b"Oh. ", Sleep(0.01)]))
    server = raw_server(endless)
    # By this clock, each read takes ten seconds.
    clock = SimpleNamespace(monotonic=itertools.count(0, 10).__next__)
    async with adapter.client(server.url, timeout=Timeout(idle=55)) as client:
        with (
            mock.patch("sansio_stream_adapters._bridge.time", clock),
            pytest.raises(InternalServerError, match=r"Oh\. "),
        ):
            await client.messages.create(**ask(), stream=True)
        await adapter.until_closed(server)


@secure
@driven
async def test_a_connection_that_cannot_be_reused_is_closed_right_after_message_stop(
    adapter: Adapter,
    raw_server: StartServer,
    tls: TLS,
    secure: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sansio_stream_adapters._bridge.DRAIN_SECONDS", 10 * PATIENCE)
    closing = {**STREAM, "transfer-encoding": "chunked", "connection": "close"}
    if adapter.pools:
        server = raw_server(
            [head(headers=closing) + chunk(WHOLE), Do.WAIT], tls=tls if secure else None
        )
    else:
        server = raw_server([head() + chunk(WHOLE), Do.WAIT], tls=tls if secure else None)
    async with adapter.client(server.url, tls=tls.client) as client:
        async with client.messages.stream(**ask()) as stream:
            assert await stream.get_final_text() == TEXT
        await adapter.until_closed(server)


# A request is not sent again after its response has begun.

BROKEN_RESPONSES: Final[dict[str, Iterable[Any]]] = {
    "a bad chunk size after the head": [head() + b"zz\r\n", Do.WAIT],
    "a bad chunk size after a chunk": [head() + chunk(HALF) + b"zz\r\n", Do.WAIT],
    "a chunk that is longer than its size": [head() + b"2\r\n:ab\r\n", Do.WAIT],
    "a close after the head": [head(), Do.CLOSE],
    "a reset after the head": [head(), Sleep(0.02), Do.RESET],
    "another protocol": [b"SSH-2.0-OpenSSH_9.6\r\n\r\n", Do.WAIT],
    "a status that is not a number": [b"HTTP/1.1 OK\r\n\r\n", Do.WAIT],
    "a header without a name": [b"HTTP/1.1 200 OK\r\n: 1\r\n\r\n", Do.WAIT],
    "two lengths": [b"HTTP/1.1 200 OK\r\ncontent-length: 1, 2\r\n\r\n", Do.WAIT],
    "a head that is too long": [head(headers={"x-long": "x" * 3 * HEAD_BYTES}), Do.WAIT],
    "a body that is not compressed, but declared as gzip": [
        response(WHOLE, headers={**STREAM, "content-encoding": "gzip"})
    ],
}


@pytest.mark.parametrize("how", BROKEN_RESPONSES)
@driven
async def test_a_request_is_not_repeated_after_a_broken_response(
    adapter: Adapter,
    raw_server: StartServer,
    delays: list[float],
    monkeypatch: pytest.MonkeyPatch,
    how: str,
) -> None:
    server = raw_server(BROKEN_RESPONSES[how])
    if adapter.libraries[0] == "aiohttp":
        monkeypatch.setattr(adapter.module, "LOOK_SECONDS", 0.05)
    async with adapter.client(server.url, max_retries=2) as client:
        with pytest.raises(APIError):
            async with client.messages.stream(**ask()) as stream:
                await stream.until_done()
    assert len(server.requests) == 1
    assert delays == []


@pytest.mark.parametrize("fault", ["cut", "reset", "error-in-mid-stream", "missing-message-stop"])
@driven
async def test_a_request_is_not_repeated_after_a_broken_response_over_http2(
    adapter: Adapter, http2_example_server: str, tls: TLS, delays: list[float], fault: str
) -> None:
    if not adapter.libraries[0].startswith("httpx"):
        pytest.skip("only httpx speaks HTTP/2")
    pytest.importorskip("h2", reason="httpx needs h2 for HTTP/2")
    kind = adapter.library.AsyncClient if adapter.loop else adapter.library.Client
    http = kind(verify=tls.client, http2=True)
    client = adapter.make(
        base_url=http2_example_server, http_client=http, api_key="k", max_retries=2
    )
    async with AsyncFacade(http) if not adapter.loop else http:
        async with client.messages.stream(**ask(fault=fault)) as stream:
            assert stream.response.http_version == "HTTP/2"
            with suppress(APIError):
                await stream.until_done()
        assert stream.verdict is not Verdict.COMPLETE
    assert delays == []


@driven
async def test_content_before_a_bad_chunk_size_is_kept_even_if_both_arrive_at_once(
    adapter: Adapter, raw_server: StartServer
) -> None:
    server = raw_server([head() + chunk(HALF) + b"zz\r\n", Do.WAIT])
    async with (
        adapter.client(server.url, max_retries=2) as client,
        client.messages.stream(**ask()) as stream,
    ):
        with pytest.raises(APIConnectionError) as caught:
            await stream.until_done()
    assert caught.value.verdict is Verdict.TRUNCATED
    assert text_of(stream.snapshot) == "Hel"


TRAILING: Final = {
    "garbage": b"\x00garbage\r\n\r\n",
    "text": b"data: more\n\n",
    "another response": response(b"{}", 529, {}),
}


@pytest.mark.parametrize("trailing", TRAILING)
@pytest.mark.parametrize("framing", ["length", "chunks"])
@driven
async def test_a_whole_response_is_accepted_whatever_bytes_follow_it(
    adapter: Adapter, raw_server: StartServer, delays: list[float], framing: str, trailing: str
) -> None:
    answer = response(WHOLE) if framing == "length" else head() + chunk(WHOLE) + chunk(b"")
    continued = b"HTTP/1.1 100 Continue\r\n\r\n"
    server = raw_server([continued + answer + TRAILING[trailing]])
    async with (
        adapter.client(server.url, max_retries=2) as client,
        client.messages.stream(**ask()) as stream,
    ):
        assert await stream.get_final_text() == TEXT
    assert len(server.requests) == 1
    assert delays == []


# Heads and headers.


def head_of(size: int) -> bytes:
    """Return the head of a stream in chunked encoding. It has `size` bytes."""
    headers = {**STREAM, "transfer-encoding": "chunked", "x-long": ""}
    return head(headers={**headers, "x-long": "x" * (size - len(head(headers=headers)))})


@pytest.mark.parametrize("cut", [1_000, 65_536, 10**9])
@driven
async def test_a_head_longer_than_the_limit_is_refused_however_it_is_cut(
    adapter: Adapter, raw_server: StartServer, cut: int
) -> None:
    def script(size: int) -> list[Any]:
        data = head_of(size) + chunk(WHOLE) + chunk(b"")
        pieces = [data[at : at + cut] for at in range(0, len(data), cut)]
        return [step for piece in pieces for step in (piece, Sleep(0.0001))]

    # httpx reads 64 KiB at a time. It may accept a head that exceeds the limit by less than that.
    too_long = HEAD_BYTES + (70_000 if adapter.pools else 1)
    server = raw_server(script(HEAD_BYTES - 10), script(too_long))
    async with adapter.client(server.url) as client:
        async with client.messages.stream(**ask()) as stream:
            assert await stream.get_final_text() == TEXT
        with pytest.raises(APIConnectionError):
            await client.messages.create(**ask(), stream=True)


@driven
async def test_a_header_is_sent_in_utf_8(adapter: Adapter, raw_server: StartServer) -> None:
    server = raw_server([response(WHOLE)])
    async with (
        adapter.client(server.url, default_headers={"x-all": "Zoë"}) as client,
        client.messages.stream(**ask(), extra_headers={"x-one": "\xe9"}) as stream,
    ):
        await stream.until_done()
    lines = server.requests[0].head.lower().split(b"\r\n")
    assert "x-all: zoë".encode() in lines
    assert "x-one: é".encode() in lines


@driven
async def test_a_response_header_is_decoded_as_utf_8_or_else_as_latin_1(
    adapter: Adapter, raw_server: StartServer
) -> None:
    headers = b"x-one: Zo\xc3\xab\r\nx-two: Zo\xeb\r\ncontent-length: 2\r\n"
    server = raw_server([b"HTTP/1.1 400 No\r\n" + headers + b"\r\n{}"])
    async with adapter.client(server.url) as client:
        with pytest.raises(BadRequestError) as caught:
            await client.messages.create(**ask(), stream=True)
    assert (caught.value.headers["x-one"], caught.value.headers["x-two"]) == ("Zoë", "Zoë")


# The environment.


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment without proxy variables."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    return monkeypatch


@driven
async def test_a_proxy_of_the_environment_is_used_except_for_hosts_in_no_proxy(
    adapter: Adapter, raw_server: StartServer, environment: pytest.MonkeyPatch
) -> None:
    if not adapter.pools:
        pytest.skip("docs/clients.md says that this adapter does not use proxies")
    proxy, server = raw_server([response(WHOLE)]), raw_server([response(WHOLE)])
    environment.setenv("HTTP_PROXY", proxy.url.replace("://", "://user:secret@"))
    environment.setenv("NO_PROXY", "example.org,127.0.0.1")
    for url in ("http://example.com", server.url):
        async with adapter.client(url) as client, client.messages.stream(**ask()) as stream:
            assert await stream.get_final_text() == TEXT
    (request,) = proxy.requests
    assert request.line == "POST http://example.com/v1/messages HTTP/1.1"
    assert request.headers["proxy-authorization"] == "Basic dXNlcjpzZWNyZXQ="
    assert request.headers["x-api-key"] == "k"
    assert len(server.requests) == 1


@driven
async def test_a_proxy_that_refuses_connect_is_an_error_and_does_not_get_the_key(
    adapter: Adapter, raw_server: StartServer, environment: pytest.MonkeyPatch
) -> None:
    if not adapter.pools:
        pytest.skip("docs/clients.md says that this adapter does not use proxies")
    proxy = raw_server([response(b"", 403, {})])
    environment.setenv("HTTPS_PROXY", proxy.url.removeprefix("http://"))  # a common spelling
    async with adapter.client("https://example.com") as client:
        with pytest.raises(APIConnectionError):
            await client.messages.create(**ask(), stream=True)
    (request,) = proxy.requests
    assert request.line.startswith("CONNECT example.com:443 ")
    assert "x-api-key" not in request.headers


@contextmanager
def tunnel() -> Iterator[tuple[str, list[str]]]:
    """Run an HTTP proxy that tunnels one connection.

    Yields:
        Its URL, and the list to which it adds the host and port of the connection.
    """
    targets: list[str] = []

    def copy(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65_536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    def connect(listener: socket.socket) -> None:
        with suppress(OSError):  # no client connects
            near, _ = listener.accept()
            near.settimeout(PATIENCE)
            received = read_request(near, 1)
            assert received is not None
            target = received.line.split()[1]
            targets.append(target)
            host, _, port = target.partition(":")
            far = socket.create_connection((host, int(port)), PATIENCE)
            near.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
            with near, far:
                back = threading.Thread(target=copy, args=[far, near])
                back.start()
                copy(near, far)
                back.join()

    with listening() as listener:
        thread = threading.Thread(target=connect, args=[listener])
        thread.start()
        try:
            yield f"http://127.0.0.1:{port_of(listener)}", targets
        finally:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)  # ends a pending `accept`
            thread.join()


@driven
async def test_a_stream_over_tls_can_be_read_through_a_proxy(
    adapter: Adapter, raw_server: StartServer, environment: pytest.MonkeyPatch, tls: TLS
) -> None:
    if not adapter.pools:
        pytest.skip("docs/clients.md says that this adapter does not use proxies")
    server = raw_server([head() + chunk(WHOLE) + chunk(b"")], tls=tls)
    with tunnel() as (url, targets):
        environment.setenv("HTTPS_PROXY", url)
        async with (
            adapter.client(server.url, tls=tls.client, trust_env=True) as client,
            client.messages.stream(**ask()) as stream,
        ):
            assert await stream.get_final_text() == TEXT
    assert targets == [server.url.removeprefix("https://")]
    assert server.requests[0].line == "POST /v1/messages HTTP/1.1"


@driven
async def test_credentials_of_netrc_are_not_sent(
    adapter: Adapter,
    raw_server: StartServer,
    environment: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login user password secret\n")
    environment.setenv("NETRC", str(netrc))
    server = raw_server([response(WHOLE)])
    async with adapter.client(server.url) as client, client.messages.stream(**ask()) as stream:
        assert await stream.get_final_text() == TEXT
    assert "authorization" not in server.requests[0].headers


# No connection is still open when the loop has ended. A loop that has ended cannot close it, and
# Python would warn.


@pytest.mark.parametrize("received", [HALF, b""], ids=["half", "head"])
@driven
async def test_leaving_a_stream_over_tls_leaves_nothing_open(
    adapter: Adapter, raw_server: StartServer, tls: TLS, received: bytes
) -> None:
    server = raw_server([head() + (chunk(received) if received else b""), Do.WAIT], tls=tls)
    async with (
        adapter.client(server.url, tls=tls.client) as client,
        client.messages.stream(**ask()) as stream,
    ):
        if received:
            async for _ in stream:
                break


@driven
async def test_an_interrupted_request_over_tls_leaves_nothing_open(
    adapter: Adapter, raw_server: StartServer, tls: TLS
) -> None:
    server = raw_server([Do.WAIT], tls=tls)
    async with adapter.client(server.url, tls=tls.client) as client:

        async def request(is_about_to_wait: Callable[[], object]) -> None:
            is_about_to_wait()
            await client.messages.create(**ask(), stream=True)

        await adapter.interrupted(request, once=lambda: server.requests)
