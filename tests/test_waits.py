"""Every wait has a bound, nothing is sent again once an answer has begun, and a request and a head
are the same to every adapter.
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

RawServers = Callable[..., RawServer]

WHOLE: Final = body(*HELLO)
HALF: Final = body(*HELLO[:4])
"""Up to the text "Hel"."""
SAID: Final = "Hello, wörld \N{PARTY POPPER}"
STREAM: Final = {"content-type": "text/event-stream"}
LARGE: Final = "x" * 12_000_000
"""More than all buffers between two ends of a connection hold."""
HEAD_BYTES: Final = 102_400
"""How long a head may be, says docs/clients.md."""

pytestmark = pytest.mark.usefixtures("certificates_are_read_once", "nothing_is_left_open")

secure = pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])


# Sending.


class Deaf:
    """A server that accepts one connection and reads nothing of it."""

    def __init__(self, listener: socket.socket, tls: TLS | None) -> None:
        self._listener = listener
        self._tls = tls
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{port_of(listener)}"
        self.has_accepted = threading.Event()
        self.may_read = threading.Event()
        self.is_done = threading.Event()

    def run(self) -> None:
        with suppress(OSError):  # the client gives up
            sock, _ = self._listener.accept()
            sock.settimeout(PATIENCE)
            with sock if self._tls is None else self._tls.server.wrap_socket(sock, True) as sock:
                self.has_accepted.set()
                self.may_read.wait(PATIENCE)
                while sock.recv(1_000_000):
                    pass
        self.is_done.set()


@contextmanager
def deaf(tls: TLS | None) -> Iterator[Deaf]:
    """Run a server that reads nothing, until `may_read` is set; then until the client has gone."""
    with listening() as listener:
        server = Deaf(listener, tls)
        thread = threading.Thread(target=server.run)
        thread.start()
        try:
            yield server
        finally:
            server.may_read.set()
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)  # wakes who still accepts
            thread.join()


@contextmanager
def told_of_sending() -> Iterator[threading.Event]:
    """Set an event when the main thread sends more than a head."""
    sends = threading.Event()

    def telling(send: Callable[..., Any]) -> Callable[..., Any]:
        def tell_and_send(sock: socket.socket, data: bytes, *flags: int) -> Any:
            if len(data) > 10_000 and threading.current_thread() is threading.main_thread():
                sends.set()
            return send(sock, data, *flags)

        return tell_and_send

    with ExitStack() as stack:
        for kind in (socket.socket, ssl.SSLSocket):
            for name in ("send", "sendall"):
                told = telling(getattr(kind, name))
                stack.enter_context(mock.patch.object(kind, name, told))
        yield sends


async def interrupted_while_it_sends(
    adapter: Adapter, server: Deaf, action: Callable[[], Any]
) -> None:
    """Interrupt what sends to a server that reads nothing; the interruption comes out of it.

    A task may be cancelled at any time. Ctrl-C comes while it sends: before, it may hit the
    standard library where that has made a socket which nobody holds.
    """
    if adapter.loop == "asyncio":
        task = asyncio.create_task(action())
        await adapter.until(server.has_accepted.is_set, "there is a connection")
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    elif adapter.loop == "trio":
        import trio

        async with trio.open_nursery() as nursery:
            nursery.start_soon(action)
            await adapter.until(server.has_accepted.is_set, "there is a connection")
            await trio.sleep(0.1)
            nursery.cancel_scope.cancel()
        assert nursery.cancel_scope.cancelled_caught
    else:
        with told_of_sending() as sends, signalling(interrupt) as press:
            pressing = threading.Thread(target=lambda: sends.wait(PATIENCE) and press())
            pressing.start()
            try:
                with pytest.raises(KeyboardInterrupt):
                    await action()
            finally:
                pressing.join()


@secure
@driven
async def test_a_peer_that_takes_nothing_of_a_request_is_a_timeout_and_no_connection_is_left(
    adapter: Adapter, tls: TLS, secure: bool
) -> None:
    with deaf(tls if secure else None) as server:
        waits = Timeout(connect=PATIENCE, read=None, write=0.2, pool=PATIENCE)
        async with adapter.client(server.url, tls=tls.client, timeout=waits) as client:
            with pytest.raises(APITimeoutError):
                await client.messages.create(**ask(system=LARGE), stream=True)
            server.may_read.set()
            await adapter.until(server.is_done.is_set, "the connection is closed")


@secure
@driven
async def test_an_interruption_while_a_request_is_sent_leaves_no_connection(
    adapter: Adapter, tls: TLS, secure: bool
) -> None:
    with deaf(tls if secure else None) as server:
        async with adapter.client(server.url, tls=tls.client, timeout=10 * PATIENCE) as client:
            asks = partial(client.messages.create, **ask(system=LARGE), stream=True)
            await interrupted_while_it_sends(adapter, server, asks)
            server.may_read.set()
            await adapter.until(server.is_done.is_set, "the connection is closed")


@secure
@driven
async def test_a_large_request_arrives_whole_with_its_length_and_without_a_warning(
    adapter: Adapter, raw_server: RawServers, tls: TLS, secure: bool
) -> None:
    server = raw_server([response(WHOLE)], tls=tls if secure else None)
    async with (
        adapter.client(server.url, tls=tls.client) as client,
        client.messages.stream(**ask(system=LARGE)) as stream,
    ):
        assert await stream.get_final_text() == SAID
    (request,) = server.requests
    assert request.json["system"] == LARGE
    assert int(request.headers["content-length"]) == len(request.body)
    assert "transfer-encoding" not in request.headers


@contextmanager
def refusing(until: threading.Event) -> Iterator[str]:
    """Refuse a request when ten bytes of it have come, and hang up after an event."""

    def refuse(listener: socket.socket) -> None:
        with suppress(OSError):  # nobody comes
            sock, _ = listener.accept()
            with sock:
                sock.recv(10)
                sock.sendall(response(b"{}", 413))
                until.wait(PATIENCE)
            # What was not received is answered by a reset.

    with listening() as listener:
        thread = threading.Thread(target=refuse, args=[listener])
        thread.start()
        try:
            yield f"http://127.0.0.1:{port_of(listener)}"
        finally:
            until.set()
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)  # wakes who still accepts
            thread.join()


@driven
async def test_a_refusal_that_comes_before_the_whole_request_is_read_is_heard(
    adapter: Adapter,
) -> None:
    hangs_up = threading.Event()
    if adapter.libraries[0] != "aiohttp":  # which hears it while it sends
        hangs_up.set()
    if adapter.loop == "asyncio" and hangs_up.is_set():
        pytest.skip("anyio reads nothing while it sends; asyncio drops it when a write fails")
    with refusing(hangs_up) as url:
        async with adapter.client(url) as client:
            with pytest.raises(ContentTooLargeError):
                await client.messages.create(**ask(system=LARGE), stream=True)


@driven
async def test_httpx_is_given_a_request_in_pieces_each_of_which_has_the_timeout(
    adapter: Adapter,
) -> None:
    if not adapter.libraries[0].startswith("httpx"):
        pytest.skip("of aiohttp see test_aiohttp, of the others test_http11")
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
async def test_the_body_of_a_refusal_must_come_within_idle(
    adapter: Adapter, raw_server: RawServers
) -> None:
    lengthy = head(500, {"content-type": "text/plain", "content-length": "99999999"})
    dripping = itertools.chain([lengthy], itertools.cycle([b"Oh. ", Sleep(0.01)]))
    server = raw_server(dripping)
    # To read takes ten seconds, by this clock.
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
async def test_behind_message_stop_nothing_is_waited_for_where_no_pool_wants_the_connection(
    adapter: Adapter,
    raw_server: RawServers,
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
            assert await stream.get_final_text() == SAID
        await adapter.until_closed(server)


# Nothing is sent again once an answer has begun.

BEGUN: Final[dict[str, Iterable[Any]]] = {
    "a bad chunk size behind the head": [head() + b"zz\r\n", Do.WAIT],
    "a bad chunk size behind a chunk": [head() + chunk(HALF) + b"zz\r\n", Do.WAIT],
    "a chunk that is longer than its size": [head() + b"2\r\n:ab\r\n", Do.WAIT],
    "the end behind the head": [head(), Do.CLOSE],
    "a reset behind the head": [head(), Sleep(0.02), Do.RESET],
    "no HTTP": [b"SSH-2.0-OpenSSH_9.6\r\n\r\n", Do.WAIT],
    "a status that is no number": [b"HTTP/1.1 OK\r\n\r\n", Do.WAIT],
    "a header without a name": [b"HTTP/1.1 200 OK\r\n: 1\r\n\r\n", Do.WAIT],
    "two lengths": [b"HTTP/1.1 200 OK\r\ncontent-length: 1, 2\r\n\r\n", Do.WAIT],
    "a head that is too long": [head(headers={"x-long": "x" * 3 * HEAD_BYTES}), Do.WAIT],
    "a body that is not compressed as it says": [
        response(WHOLE, headers={**STREAM, "content-encoding": "gzip"})
    ],
}


@pytest.mark.parametrize("how", BEGUN)
@driven
async def test_a_request_is_sent_once_however_its_answer_breaks(
    adapter: Adapter,
    raw_server: RawServers,
    delays: list[float],
    monkeypatch: pytest.MonkeyPatch,
    how: str,
) -> None:
    server = raw_server(BEGUN[how])
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
async def test_over_http2_a_request_is_sent_once_as_well(
    adapter: Adapter, http2_example_server: str, tls: TLS, delays: list[float], fault: str
) -> None:
    if not adapter.libraries[0].startswith("httpx"):
        pytest.skip("only httpx speaks HTTP/2")
    pytest.importorskip("h2", reason="httpx speaks HTTP/2 by h2")
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
async def test_what_came_before_a_bad_chunk_size_is_there_even_if_all_came_at_once(
    adapter: Adapter, raw_server: RawServers
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


BEHIND: Final = {
    "garbage": b"\x00garbage\r\n\r\n",
    "text": b"data: more\n\n",
    "another response": response(b"{}", 529, {}),
}


@pytest.mark.parametrize("behind", BEHIND)
@pytest.mark.parametrize("framing", ["length", "chunks"])
@driven
async def test_a_whole_answer_is_accepted_whatever_comes_with_it_behind_its_end(
    adapter: Adapter, raw_server: RawServers, delays: list[float], framing: str, behind: str
) -> None:
    answer = response(WHOLE) if framing == "length" else head() + chunk(WHOLE) + chunk(b"")
    continued = b"HTTP/1.1 100 Continue\r\n\r\n"
    server = raw_server([continued + answer + BEHIND[behind]])
    async with (
        adapter.client(server.url, max_retries=2) as client,
        client.messages.stream(**ask()) as stream,
    ):
        assert await stream.get_final_text() == SAID
    assert len(server.requests) == 1
    assert delays == []


# Heads and headers.


def head_of(size: int) -> bytes:
    """A head of a stream in chunks, of so many bytes."""
    headers = {**STREAM, "transfer-encoding": "chunked", "x-long": ""}
    return head(headers={**headers, "x-long": "x" * (size - len(head(headers=headers)))})


@pytest.mark.parametrize("cut", [1_000, 65_536, 10**9])
@driven
async def test_a_long_head_is_read_or_refused_however_it_is_cut(
    adapter: Adapter, raw_server: RawServers, cut: int
) -> None:
    def script(size: int) -> list[Any]:
        data = head_of(size) + chunk(WHOLE) + chunk(b"")
        pieces = [data[at : at + cut] for at in range(0, len(data), cut)]
        return [step for piece in pieces for step in (piece, Sleep(0.0001))]

    # httpx refuses for certain only what is longer by another read of 64 KiB.
    too_long = HEAD_BYTES + (70_000 if adapter.pools else 1)
    server = raw_server(script(HEAD_BYTES - 10), script(too_long))
    async with adapter.client(server.url) as client:
        async with client.messages.stream(**ask()) as stream:
            assert await stream.get_final_text() == SAID
        with pytest.raises(APIConnectionError):
            await client.messages.create(**ask(), stream=True)


@driven
async def test_a_header_goes_out_in_utf_8(adapter: Adapter, raw_server: RawServers) -> None:
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
async def test_a_header_of_a_response_is_read_as_utf_8_or_else_as_latin_1(
    adapter: Adapter, raw_server: RawServers
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
    """An environment that names no proxies."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    return monkeypatch


@driven
async def test_a_proxy_of_the_environment_is_used_but_for_hosts_that_it_excepts(
    adapter: Adapter, raw_server: RawServers, environment: pytest.MonkeyPatch
) -> None:
    if not adapter.pools:
        pytest.skip("it has no proxies, says docs/clients.md")
    proxy, server = raw_server([response(WHOLE)]), raw_server([response(WHOLE)])
    environment.setenv("HTTP_PROXY", proxy.url.replace("://", "://user:secret@"))
    environment.setenv("NO_PROXY", "example.org,127.0.0.1")
    for url in ("http://example.com", server.url):
        async with adapter.client(url) as client, client.messages.stream(**ask()) as stream:
            assert await stream.get_final_text() == SAID
    (request,) = proxy.requests
    assert request.line == "POST http://example.com/v1/messages HTTP/1.1"
    assert request.headers["proxy-authorization"] == "Basic dXNlcjpzZWNyZXQ="
    assert request.headers["x-api-key"] == "k"
    assert len(server.requests) == 1


@driven
async def test_a_proxy_that_does_not_connect_is_no_answer_and_is_not_shown_the_key(
    adapter: Adapter, raw_server: RawServers, environment: pytest.MonkeyPatch
) -> None:
    if not adapter.pools:
        pytest.skip("it has no proxies, says docs/clients.md")
    proxy = raw_server([response(b"", 403, {})])
    environment.setenv("HTTPS_PROXY", proxy.url.removeprefix("http://"))  # many write it so
    async with adapter.client("https://example.com") as client:
        with pytest.raises(APIConnectionError):
            await client.messages.create(**ask(), stream=True)
    (request,) = proxy.requests
    assert request.line.startswith("CONNECT example.com:443 ")
    assert "x-api-key" not in request.headers


@contextmanager
def tunnel() -> Iterator[str]:
    """Connect one client to whom it asks for, as a proxy does for TLS; the value is its URL."""

    def copy(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65_536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    def connect(listener: socket.socket) -> None:
        with suppress(OSError):  # nobody comes
            near, _ = listener.accept()
            near.settimeout(PATIENCE)
            received = read_request(near, 1)
            assert received is not None
            host, _, port = received.line.split()[1].partition(":")
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
            yield f"http://127.0.0.1:{port_of(listener)}"
        finally:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)  # wakes who still accepts
            thread.join()


@driven
async def test_a_stream_by_tls_through_a_proxy_is_like_any_other(
    adapter: Adapter, raw_server: RawServers, environment: pytest.MonkeyPatch, tls: TLS
) -> None:
    if not adapter.pools:
        pytest.skip("it has no proxies, says docs/clients.md")
    server = raw_server([head() + chunk(WHOLE) + chunk(b"") + b"garbage\r\n\r\n"], tls=tls)
    with tunnel() as url:
        environment.setenv("HTTPS_PROXY", url)
        async with (
            adapter.client(server.url, tls=tls.client) as client,
            client.messages.stream(**ask()) as stream,
        ):
            assert await stream.get_final_text() == SAID
    assert server.requests[0].line == "POST /v1/messages HTTP/1.1"


@driven
async def test_no_credential_of_netrc_goes_along(
    adapter: Adapter,
    raw_server: RawServers,
    environment: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login user password secret\n")
    environment.setenv("NETRC", str(netrc))
    server = raw_server([response(WHOLE)])
    async with adapter.client(server.url) as client, client.messages.stream(**ask()) as stream:
        assert await stream.get_final_text() == SAID
    assert "authorization" not in server.requests[0].headers


# Nothing warns: not as soon as there is no loop that could still close something.


@pytest.mark.parametrize("comes", [HALF, b""], ids=["half", "head"])
@driven
async def test_leaving_a_stream_under_tls_leaves_nothing_open(
    adapter: Adapter, raw_server: RawServers, tls: TLS, comes: bytes
) -> None:
    server = raw_server([head() + (chunk(comes) if comes else b""), Do.WAIT], tls=tls)
    async with (
        adapter.client(server.url, tls=tls.client) as client,
        client.messages.stream(**ask()) as stream,
    ):
        if comes:
            async for _ in stream:
                break


@driven
async def test_an_interrupted_request_under_tls_leaves_nothing_open(
    adapter: Adapter, raw_server: RawServers, tls: TLS
) -> None:
    server = raw_server([Do.WAIT], tls=tls)
    async with adapter.client(server.url, tls=tls.client) as client:

        async def asks(is_about_to_wait: Callable[[], object]) -> None:
            is_about_to_wait()
            await client.messages.create(**ask(), stream=True)

        await adapter.interrupted(asks, once=lambda: server.requests)
