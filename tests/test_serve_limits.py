"""`sansio-stream serve` limits the memory, the connections and the hosts of its requests."""

import asyncio
import gzip
import json
import math
import re
import socket
import urllib.parse
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Final

import pytest

pytest.importorskip("uvicorn", reason="the command serves by uvicorn")

from sansio_stream.capture import CaptureHeader, CaptureWriter
from sansio_stream.testing.catalogue.connection import PING
from sansio_stream_tools import _app, _uvicorn
from sansio_stream_tools._app import Exchange, is_loopback
from servers import (
    EXAMPLES,
    PATIENCE,
    TooSoonError,
    app_of_examples,
    http_server,
    recording_in,
    wait_until,
    with_seconds,
)
from test_serve import HALF, app_of, command, fetch, recording, request_for, url_in
from wire import HELLO, body

MAX_BYTES: Final = 32 * 2**20
REQUEST: Final = b'{"model": "text", "stream": true}'


# Bodies.


def test_a_request_may_have_32_mib_and_no_more(example_server: str) -> None:
    assert fetch(example_server, REQUEST.ljust(MAX_BYTES)).status == 200
    refused = fetch(example_server, REQUEST.ljust(MAX_BYTES + 1))
    assert refused.status == 413
    assert json.loads(refused.body)["error"]["type"] == "request_too_large"


def test_the_server_stops_reading_an_endless_request_after_32_mib() -> None:
    received: list[int] = []
    sent: list[Any] = []

    async def receive() -> Any:
        received.append(2**20)
        return {"type": "http.request", "body": b" " * 2**20, "more_body": True}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/v1/messages", "headers": []}
    log: list[Exchange] = []
    app = app_of(recording("1"), log=log.append)
    asyncio.run(app({**scope, "raw_path": b"/v1/messages", "query_string": b""}, receive, send))
    assert sum(received) == MAX_BYTES + 2**20
    assert sent[0]["status"] == 413
    assert [(exchange.choice, exchange.status) for exchange in log] == [("POST /v1/messages", 413)]


# Hosts.

LOCAL: Final = ("localhost", "LocalHost.", "a.localhost", "127.0.0.1", "127.1.2.3", "[::1]")
FOREIGN: Final = (
    "evil.example",
    "localhost.evil.example",
    "127.0.0.1.evil.example",
    "10.0.0.1",
    "",
)


@pytest.mark.parametrize("port", ["", ":8080"])
def test_a_local_server_only_answers_requests_for_a_local_host(port: str) -> None:
    app = app_of(recording("1"), is_local=True)
    for host in LOCAL:
        assert app.reply(request_for(headers={"host": host + port})).answer.status == 200
    for headers in ({}, {"host": "[::1"}, *({"host": host + port} for host in FOREIGN)):
        answer = app.reply(request_for(headers=headers)).answer
        assert answer.status == 403
        assert json.loads(answer.body)["error"]["type"] == "permission_error"


def test_another_server_answers_requests_for_any_host() -> None:
    app = app_of(recording("1"))
    for host in (*LOCAL, *FOREIGN):
        assert app.reply(request_for(headers={"host": host})).answer.status == 200


def test_loopback_hosts_are_recognised_by_their_names() -> None:
    for host in LOCAL:
        assert is_loopback(host)
    for host in (*FOREIGN, "0.0.0.0", "::", "[::]"):  # noqa: S104  (no socket listens on it)
        assert not is_loopback(host)


def test_the_command_on_the_loopback_interface_refuses_other_hosts() -> None:
    with command("--port", "0", "--speed", "max", str(EXAMPLES / "text.capture.jsonl")) as process:
        url = url_in(process)
        assert fetch(url).status == 200
        assert fetch(url, headers={"host": "evil.example"}).status == 403


# Connections.


@pytest.fixture
def connect() -> Iterator[Any]:
    """Return a function that connects to a URL. Close all connections at the end."""
    with ExitStack() as stack:

        def connect(url: str) -> socket.socket:
            port = urllib.parse.urlsplit(url).port
            sock = socket.create_connection(("127.0.0.1", port or 0), PATIENCE)
            return stack.enter_context(sock)

        yield connect


def is_closed(sock: socket.socket) -> bool:
    """Wait for the next byte. Return whether the server has closed the connection instead."""
    with suppress(ConnectionError):
        return not sock.recv(1)
    return True


HEAD: Final = b"POST /v1/messages HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n"


def gets_an_answer(sock: socket.socket) -> bool:
    """Send a small request and read its answer. Return False if the server closes first."""
    sock.sendall(HEAD % 2 + b"{}")
    received = b""
    while re.search(rb'"request_id": "[^"]*"}$', received) is None:
        piece = sock.recv(65536)
        if not piece:
            return False
        received += piece
    return True


@pytest.mark.parametrize("start", [b"", b"P", HEAD[:-2]])
def test_a_connection_with_an_unfinished_head_is_closed(
    connect: Any, monkeypatch: pytest.MonkeyPatch, start: bytes
) -> None:
    monkeypatch.setattr(_uvicorn, "HEAD_SECONDS", 0.05)
    with http_server(app_of_examples()) as url:
        sock = connect(url)
        sock.sendall(start)
        assert is_closed(sock)


def test_the_second_head_of_a_connection_has_the_same_time_limit(
    connect: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_uvicorn, "HEAD_SECONDS", PATIENCE)
    with http_server(app_of_examples()) as url:
        sock = connect(url)
        assert gets_an_answer(sock)
        monkeypatch.setattr(_uvicorn, "HEAD_SECONDS", 0.05)
        sock.sendall(b"P")
        assert is_closed(sock)


@with_seconds
def test_the_time_limit_of_a_head_does_not_end_an_answer(
    seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_uvicorn, "HEAD_SECONDS", seconds)
    monkeypatch.setattr(_app, "SECONDS_BETWEEN_PINGS", seconds)
    with http_server(app_of_examples()) as url:
        fetched = fetch(url, headers={"x-fault": "ping-stall"}, max_bytes=len(HALF) + 2 * len(PING))
    if fetched.status is None:
        raise TooSoonError
    assert fetched.ended == "open"


def test_a_connection_beyond_the_maximum_is_closed_until_another_one_ends(
    connect: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_uvicorn, "MOST_CONNECTIONS", 2)
    with http_server(app_of_examples()) as url:
        connections = [connect(url) for _ in range(2)]
        assert all(map(gets_an_answer, connections))
        assert is_closed(connect(url))
        assert all(map(gets_an_answer, connections))
        connections[0].close()

        def is_served() -> bool:
            with suppress(ConnectionError):
                return gets_an_answer(connect(url))
            return False

        wait_until(is_served, "another connection is served")


# Captures that cannot be sent.

UNSENDABLE: Final[dict[str, dict[str, Any]]] = {
    "the value of the header request-id cannot be sent": {
        "headers": {"request-id": "a\r\nx-forged: 1"}
    },
    "the header request-id cannot": {"headers": {"request-id": "a\0"}},
    "the value of the header content-type cannot be sent": {
        "headers": {"content-type": " text/plain"}
    },
    "the status 99999 cannot be served": {"status": 99999},
    "the status 100 cannot be served": {"status": 100},
    "the status 204 cannot be served": {"status": 204},
    "the status 0 cannot be served": {"status": 0},
    "the status -1 cannot be served": {"status": -1},
}


@pytest.mark.parametrize("message", UNSENDABLE)
def test_a_capture_with_a_head_that_cannot_be_sent_is_refused_when_it_is_read(
    message: str, tmp_path: Path
) -> None:
    path = tmp_path / "it.capture.jsonl"
    writer = CaptureWriter(CaptureHeader(**{"status": 200, **UNSENDABLE[message]}))
    path.write_bytes(writer.begin() + writer.chunk(body(*HELLO), 0) + writer.end(1))
    with pytest.raises(ValueError, match=message):
        recording_in(path)


def test_the_command_names_the_file_with_a_head_that_cannot_be_sent(tmp_path: Path) -> None:
    path = tmp_path / "it.capture.jsonl"
    writer = CaptureWriter(CaptureHeader(status=99999))
    path.write_bytes(writer.begin() + writer.end(1))
    with command("--port", "0", str(path)) as process:
        stdout, stderr = process.communicate(timeout=PATIENCE)
    assert (process.returncode, stdout) == (2, "")
    assert f"{path}: the status 99999 cannot be served" in stderr


@pytest.mark.parametrize("status", [200, 299, 301, 400, 429, 529, 599])
def test_every_status_with_a_body_is_served(status: int, tmp_path: Path) -> None:
    path = tmp_path / "it.capture.jsonl"
    headers = {"request-id": "a b\t\xe9 \N{PARTY POPPER}", "content-type": ""}
    writer = CaptureWriter(CaptureHeader(status=status, headers=headers))
    path.write_bytes(writer.begin() + writer.chunk(b"body", 0) + writer.end(1))
    with http_server(_app.App([recording_in(path)], speed=math.inf, any_model=True)) as url:
        fetched = fetch(url)
    assert (fetched.status, fetched.body) == (status, b"body")


def test_a_file_that_exceeds_a_limit_of_the_command_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.sse.gz"
    path.write_bytes(gzip.compress(body(*HELLO) * 100))
    with command("--port", "0", "--limit", "decoded_bytes=10KiB", str(path)) as process:
        _, stderr = process.communicate(timeout=PATIENCE)
    assert process.returncode == 2
    assert "bomb.sse.gz: the decompressed data is larger than 10,240 bytes" in stderr
