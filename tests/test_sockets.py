"""Test what only the adapter `sockets` does.

`test_adapters` tests what all adapters have in common. `test_connections` tests what `sockets` and
`trio` have in common.
"""

import itertools
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any
from unittest import mock

import pytest

pytest.importorskip("h11", reason="sockets needs h11")

from connections import BEGINNING, REQUEST, STREAM, TEXT, FakeSocket
from sansio_stream.errors import (
    APIConnectionError,
    APITimeoutError,
    IncompleteMessageError,
)
from sansio_stream_adapters import MessageStream, Timeout, _bridge
from sansio_stream_adapters.sockets import Client, from_socket
from servers import (
    PATIENCE,
    TLS,
    Do,
    RawServer,
    chunk,
    interrupt,
    listening,
    port_of,
    replace_time,
    response,
    signalling,
    while_main_receives,
)
from wire import PING, body

StartServer = Callable[..., RawServer]


def client_of(url: str, **settings: Any) -> Client:
    settings = {"max_retries": 0, "timeout": PATIENCE, **settings}
    return Client(base_url=url, **settings)


def text_from(url: str, **settings: Any) -> str:
    with client_of(url, **settings) as client, client.messages.stream(**REQUEST) as stream:
        return stream.get_final_text()


# TLS.


def test_a_server_without_tls_is_refused() -> None:
    def answer(listener: socket.socket) -> None:
        sock, _ = listener.accept()
        with sock:
            sock.recv(10_000)
            sock.sendall(response(STREAM))

    with listening() as listener, ThreadPoolExecutor() as pool:
        answering = pool.submit(answer, listener)
        with pytest.raises(APIConnectionError, match="SSL"):
            text_from(f"https://127.0.0.1:{port_of(listener)}")
        answering.result()


# Closing wakes a blocked reader. Otherwise the reader would keep the connection open until a much
# later timeout, and `wait_until_closed` would fail.


def beginning_was_read(stream: MessageStream) -> bool:
    """Return whether the beginning of the response was read. The server sends nothing after it."""
    return stream.snapshot is not None


@pytest.mark.parametrize("secure", [False, True])
def test_another_thread_can_close_a_stream(raw_server: StartServer, tls: TLS, secure: bool) -> None:
    server = raw_server([BEGINNING, Do.WAIT], tls=tls if secure else None)
    client = client_of(server.url, ssl_context=tls.client)
    with client.messages.stream(**REQUEST) as stream:

        def close() -> None:
            stream.close()
            server.wait_until_closed()

        with (
            while_main_receives(close, has_come=partial(beginning_was_read, stream)),
            pytest.raises(IncompleteMessageError, match="closed before its end"),
        ):
            stream.until_done()
    assert stream.current_message_snapshot.id == "msg_1"


@pytest.mark.parametrize("secure", [False, True])
def test_a_signal_handler_can_close_a_stream(
    raw_server: StartServer, tls: TLS, secure: bool
) -> None:
    server = raw_server([BEGINNING, Do.WAIT], tls=tls if secure else None)
    client = client_of(server.url, ssl_context=tls.client)
    with client.messages.stream(**REQUEST) as stream:
        with (
            signalling(stream.close) as send,
            while_main_receives(send, has_come=partial(beginning_was_read, stream)),
            pytest.raises(IncompleteMessageError, match="closed before its end"),
        ):
            stream.until_done()
        server.wait_until_closed()
    assert stream.current_message_snapshot.id == "msg_1"


def test_an_interrupt_before_the_head_leaves_no_connection_open(raw_server: StartServer) -> None:
    server = raw_server([Do.WAIT])
    with (
        signalling(interrupt) as send,
        while_main_receives(send, and_then=lambda: server.requests),
        pytest.raises(KeyboardInterrupt),
    ):
        text_from(server.url)
    server.wait_until_closed()


def test_an_interrupt_in_the_body_leaves_no_connection_open(raw_server: StartServer) -> None:
    server = raw_server([BEGINNING, Do.WAIT])
    with client_of(server.url) as client, client.messages.stream(**REQUEST) as stream:
        with (
            signalling(interrupt) as send,
            while_main_receives(send, has_come=partial(beginning_was_read, stream)),
            pytest.raises(KeyboardInterrupt),
        ):
            stream.until_done()
        server.wait_until_closed()


def test_an_interrupt_in_the_handshake_leaves_no_connection_open() -> None:
    def accept_and_send(listener: socket.socket, send: Callable[[], None]) -> bytes:
        sock, _ = listener.accept()
        with sock:
            sock.settimeout(PATIENCE)
            assert sock.recv(1)  # after its ClientHello the client waits for an answer
            send()
            while sock.recv(65536):
                pass
        return b"closed"

    with listening() as listener, ThreadPoolExecutor() as pool, signalling(interrupt) as send:
        accepting = pool.submit(accept_and_send, listener, send)
        with pytest.raises(KeyboardInterrupt):
            text_from(f"https://127.0.0.1:{port_of(listener)}")
        assert accepting.result() == b"closed"


# Sockets that the caller has connected.


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """A socket to read from, and its other end."""
    ours, theirs = socket.socketpair()
    theirs.settimeout(PATIENCE)
    with ours, theirs:
        yield ours, theirs


Pair = tuple[socket.socket, socket.socket]


@pytest.mark.parametrize(
    "timeout",
    [0.1, Timeout(read=0.1), Timeout(idle=0.1)],
    ids=["seconds", "read", "idle"],
)
def test_timeouts_apply_to_a_socket_of_the_caller(pair: Pair, timeout: Any) -> None:
    ours, theirs = pair
    with pytest.raises(APITimeoutError):
        from_socket(ours, timeout=timeout)
    assert ours.fileno() == -1
    assert theirs.recv(1) == b""


def test_pings_do_not_reset_the_idle_timeout(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = itertools.count()
    # One second passes between two calls of the clock.
    replace_time(monkeypatch, _bridge, monotonic=lambda: next(seconds))
    ours, theirs = pair
    theirs.sendall(BEGINNING + chunk(body(PING)) * 20)
    with (
        from_socket(ours, idle=10) as stream,
        pytest.raises(APITimeoutError, match="no content"),
    ):
        stream.until_done()


def test_each_timeout_applies_to_its_step() -> None:
    sock = FakeSocket(response(STREAM))
    connecting = mock.patch("sansio_stream_adapters.sockets.connected", return_value=sock)
    with connecting as connected:
        assert text_from("http://127.0.0.1", timeout=Timeout(connect=1, write=2, read=3)) == TEXT
    assert connected.call_args.args[2] == 1
    assert sock.timeouts == [2, 3]
