"""Blocking sockets: what is special to them. What all adapters share is in `test_adapters`."""

import itertools
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

pytest.importorskip("h11", reason="h11 speaks HTTP/1.1 on bare sockets")

import h11

from sansio_stream.errors import (
    APIConnectionError,
    APITimeoutError,
    ContentTooLargeError,
    IncompleteMessageError,
    RateLimitError,
)
from sansio_stream_adapters import MessageStream, Timeout, _bridge
from sansio_stream_adapters.sockets import Client, from_socket
from servers import (
    PATIENCE,
    TLS,
    Do,
    RawServer,
    chunk,
    head,
    interrupt,
    listening,
    port_of,
    replace_time,
    response,
    signalling,
    while_main_receives,
)
from wire import HELLO, PING, body, message_start

Start = Callable[..., RawServer]

STREAM = body(*HELLO)
BEGUN = head() + chunk(body(message_start(), PING))
"""The beginning of an answer, which is two events."""
TEXT = "Hello, wörld \N{PARTY POPPER}"
ASKED: dict[str, Any] = {"model": "m", "max_tokens": 9, "messages": []}


def client_of(url: str, **settings: Any) -> Client:
    settings = {"max_retries": 0, "timeout": PATIENCE, **settings}
    return Client(base_url=url, **settings)


def text_from(url: str, **settings: Any) -> str:
    with client_of(url, **settings) as client, client.messages.stream(**ASKED) as stream:
        return stream.get_final_text()


# Requests and responses.


def test_each_request_has_a_connection_of_its_own(raw_server: Start) -> None:
    server = raw_server([response(STREAM)])
    with client_of(server.url) as client:
        for _ in range(2):
            with client.messages.stream(**ASKED) as stream:
                assert stream.get_final_text() == TEXT
                assert stream.response.status_code == 200
                assert stream.response.headers["Content-Type"] == "text/event-stream"
    server.wait_until_closed(2)
    assert [received.connection for received in server.requests] == [1, 2]
    for received in server.requests:
        assert received.line == "POST /v1/messages HTTP/1.1"
        assert received.headers["accept-encoding"] == "gzip, deflate"
        assert received.json == {**ASKED, "stream": True}


def test_a_refusal_that_comes_before_the_whole_request_is_read() -> None:
    def refuse(listener: socket.socket) -> None:
        sock, _ = listener.accept()
        with sock:
            sock.recv(10)
            sock.sendall(response(b"{}", 413))
        # What was not received is answered by a reset.

    with listening() as listener, ThreadPoolExecutor() as pool:
        refusal = pool.submit(refuse, listener)
        client = client_of(f"http://127.0.0.1:{port_of(listener)}")
        with pytest.raises(ContentTooLargeError):
            client.messages.create(**ASKED, system="x" * 20_000_000, stream=True)
        refusal.result()


def test_twenty_streams_at_once(raw_server: Start) -> None:
    halves = STREAM[:500], STREAM[500:]
    all_begun = threading.Barrier(20)
    server = raw_server([head(), chunk(halves[0]), all_begun, chunk(halves[1]), chunk(b"")])
    with client_of(server.url) as client, ThreadPoolExecutor(20) as pool:

        def text() -> str:
            with client.messages.stream(**ASKED) as stream:
                return stream.get_final_text()

        texts = [pool.submit(text) for _ in range(20)]
    assert [each.result() for each in texts] == [TEXT] * 20
    server.wait_until_closed(20)


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


# Closing wakes who reads. Were it not so, the server would wait in vain for the connection's end;
# only much later a timeout would end the read.


def shown(stream: MessageStream) -> bool:
    """Whether the beginning of the answer was taken, behind which nothing comes."""
    return stream.snapshot is not None


@pytest.mark.parametrize("secure", [False, True])
def test_another_thread_closes(raw_server: Start, tls: TLS, secure: bool) -> None:
    server = raw_server([BEGUN, Do.WAIT], tls=tls if secure else None)
    client = client_of(server.url, ssl_context=tls.client)
    with client.messages.stream(**ASKED) as stream:

        def close() -> None:
            stream.close()
            server.wait_until_closed()

        with (
            while_main_receives(close, has_come=partial(shown, stream)),
            pytest.raises(IncompleteMessageError, match="closed before its end"),
        ):
            stream.until_done()
    assert stream.current_message_snapshot.id == "msg_1"


@pytest.mark.parametrize("secure", [False, True])
def test_a_signal_handler_closes(raw_server: Start, tls: TLS, secure: bool) -> None:
    server = raw_server([BEGUN, Do.WAIT], tls=tls if secure else None)
    client = client_of(server.url, ssl_context=tls.client)
    with client.messages.stream(**ASKED) as stream:
        with (
            signalling(stream.close) as send,
            while_main_receives(send, has_come=partial(shown, stream)),
            pytest.raises(IncompleteMessageError, match="closed before its end"),
        ):
            stream.until_done()
        server.wait_until_closed()
    assert stream.current_message_snapshot.id == "msg_1"


def test_an_interrupt_before_the_head_leaves_no_connection_open(raw_server: Start) -> None:
    server = raw_server([Do.WAIT])
    with (
        signalling(interrupt) as send,
        while_main_receives(send, and_then=lambda: server.requests),
        pytest.raises(KeyboardInterrupt),
    ):
        text_from(server.url)
    server.wait_until_closed()


def test_an_interrupt_in_the_body_leaves_no_connection_open(raw_server: Start) -> None:
    server = raw_server([BEGUN, Do.WAIT])
    with client_of(server.url) as client, client.messages.stream(**ASKED) as stream:
        with (
            signalling(interrupt) as send,
            while_main_receives(send, has_come=partial(shown, stream)),
            pytest.raises(KeyboardInterrupt),
        ):
            stream.until_done()
        server.wait_until_closed()


def test_an_interrupt_of_the_handshake_leaves_no_connection_open() -> None:
    def accept_and_send(listener: socket.socket, send: Callable[[], None]) -> bytes:
        sock, _ = listener.accept()
        with sock:
            sock.settimeout(PATIENCE)
            assert sock.recv(1)  # what has said hello waits for an answer
            send()
            while sock.recv(65536):
                pass
        return b"closed"

    with listening() as listener, ThreadPoolExecutor() as pool, signalling(interrupt) as send:
        accepting = pool.submit(accept_and_send, listener, send)
        with pytest.raises(KeyboardInterrupt):
            text_from(f"https://127.0.0.1:{port_of(listener)}")
        assert accepting.result() == b"closed"


# Sockets of the caller's.


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """A socket to read from, and its other end."""
    ours, theirs = socket.socketpair()
    theirs.settimeout(PATIENCE)
    with ours, theirs:
        yield ours, theirs


Pair = tuple[socket.socket, socket.socket]


def test_a_socket_on_which_the_request_was_written(pair: Pair) -> None:
    ours, theirs = pair
    theirs.sendall(response(STREAM))
    with from_socket(ours, strict=True) as stream:
        assert stream.response.status_code == 200
        assert stream.get_final_text() == TEXT
    assert theirs.recv(1) == b""


def test_a_socket_of_the_caller_s_is_closed_with_its_stream(pair: Pair) -> None:
    ours, theirs = pair
    theirs.sendall(BEGUN)
    with from_socket(ours) as stream:
        next(stream)
    assert ours.fileno() == -1
    assert stream.snapshot is not None


def test_a_refusal_is_raised_by_the_first_read(pair: Pair) -> None:
    ours, theirs = pair
    theirs.sendall(response(b'{"error": {"message": "slowly"}}', 429))
    with from_socket(ours) as stream, pytest.raises(RateLimitError, match="slowly"):
        next(stream)


@pytest.mark.parametrize(
    "timeout",
    [0.1, Timeout(read=0.1), Timeout(idle=0.1)],
    ids=["seconds", "read", "idle"],
)
def test_a_socket_of_the_caller_s_has_timeouts(pair: Pair, timeout: Any) -> None:
    ours, theirs = pair
    with pytest.raises(APITimeoutError):
        from_socket(ours, timeout=timeout)
    assert ours.fileno() == -1
    assert theirs.recv(1) == b""


def test_pings_do_not_hide_that_nothing_comes(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = itertools.count()
    # From look to look a second passes.
    replace_time(monkeypatch, _bridge, monotonic=lambda: next(seconds))
    ours, theirs = pair
    theirs.sendall(BEGUN + chunk(body(PING)) * 20)
    with (
        from_socket(ours, idle=10) as stream,
        pytest.raises(APITimeoutError, match="no content"),
    ):
        stream.until_done()


def test_a_socket_that_says_no_http_is_closed(pair: Pair) -> None:
    ours, theirs = pair
    theirs.sendall(b"220 smtp.example.com ready\r\n\r\n")
    with pytest.raises(APIConnectionError, match="RemoteProtocolError"):
        from_socket(ours, timeout=PATIENCE)
    assert ours.fileno() == -1


def test_mistakes_are_not_mapped_but_close_the_socket(pair: Pair, tmp_path: Path) -> None:
    ours, theirs = pair
    with pytest.raises(TypeError, match="a Timeout, a number or None"):
        from_socket(ours, timeout="soon")
    assert ours.fileno() == -1
    ours, theirs = socket.socketpair()
    with closing(theirs):
        theirs.sendall(BEGUN)
        with pytest.raises(IsADirectoryError):
            from_socket(ours, record_to=tmp_path)
    assert ours.fileno() == -1


# Whatever is raised inside.


class FakeSocket:
    """A socket that does what it is told: gives bytes, or raises."""

    def __init__(self, *steps: bytes | Exception, sending: Exception | None = None) -> None:
        self.steps = iter(steps)
        self.sending = sending
        self.timeouts: list[float | None] = []
        self.is_closed = False

    def settimeout(self, value: float | None) -> None:
        self.timeouts.append(value)

    def sendall(self, _data: bytes) -> None:
        if self.sending is not None:
            raise self.sending

    def recv(self, _size: int) -> bytes:
        step = next(self.steps)
        if isinstance(step, Exception):
            raise step
        return step

    def close(self) -> None:
        self.is_closed = True


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
def test_no_foreign_exception_escapes(where: str, exc: Exception) -> None:
    sock = {
        "connecting": FakeSocket(),
        # Who cannot be written to may still be read from; not here.
        "sending": FakeSocket(exc, sending=exc),
        "head": FakeSocket(b"HTTP/1.1 200", exc),
        "body": FakeSocket(BEGUN, exc),
    }[where]
    connecting = mock.patch(
        "sansio_stream_adapters.sockets.connected",
        return_value=sock,
        side_effect=exc if where == "connecting" else None,
    )
    with connecting, pytest.raises(APIConnectionError, match=type(exc).__name__) as caught:
        text_from("http://127.0.0.1")
    assert caught.value.__cause__ is not None
    assert isinstance(caught.value, APITimeoutError) is isinstance(exc, TimeoutError)
    assert sock.is_closed is (where != "connecting")


@pytest.mark.parametrize("where", ["connecting", "sending", "head"])
def test_even_a_mistake_comes_out_as_one_of_our_exceptions(where: str) -> None:
    mistake: Any = TypeError("of ours")
    sock = FakeSocket(mistake, sending=mistake if where == "sending" else None)
    connecting = mock.patch(
        "sansio_stream_adapters.sockets.connected",
        return_value=sock,
        side_effect=mistake if where == "connecting" else None,
    )
    with connecting, pytest.raises(APIConnectionError, match="TypeError: of ours") as caught:
        text_from("http://127.0.0.1")
    assert caught.value.__cause__ is mistake
    assert sock.is_closed is (where != "connecting")


def test_each_timeout_is_for_what_it_says() -> None:
    sock = FakeSocket(response(STREAM))
    connecting = mock.patch("sansio_stream_adapters.sockets.connected", return_value=sock)
    with connecting as connected:
        assert text_from("http://127.0.0.1", timeout=Timeout(connect=1, write=2, read=3)) == TEXT
    assert connected.call_args.args[2] == 1
    assert sock.timeouts == [2, 3]
