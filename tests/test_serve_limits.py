"""A server for trying clients holds and does no more for a stranger than it must."""

import asyncio
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

pytest.importorskip("uvicorn", reason="uvicorn serves what is read here")

from sansio_stream.capture import CaptureHeader, CaptureWriter
from sansio_stream.testing.catalogue.connection import PING
from sansio_stream_adapters.cli import _serve, _uvicorn
from sansio_stream_adapters.cli._serve import Recording, is_loopback
from servers import (
    EXAMPLES,
    PATIENCE,
    TooSoonError,
    app_of_examples,
    http_server,
    wait_until,
    with_seconds,
)
from test_serve import HALF, asking, command, logging_app, recording, see, url_in
from wire import HELLO, body

MOST: Final = 32 * 2**20
QUESTION: Final = b'{"model": "text", "stream": true}'


# Bodies.


def test_a_body_of_32_mib_is_taken_and_one_more_byte_is_not(example_server: str) -> None:
    assert see(example_server, QUESTION.ljust(MOST)).status == 200
    refused = see(example_server, QUESTION.ljust(MOST + 1))
    assert refused.status == 413
    assert json.loads(refused.body)["error"]["type"] == "request_too_large"


def test_of_a_body_that_does_not_end_no_more_is_held_than_32_mib() -> None:
    received: list[int] = []
    sent: list[Any] = []

    async def receive() -> Any:
        received.append(2**20)
        return {"type": "http.request", "body": b" " * 2**20, "more_body": True}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/v1/messages", "headers": []}
    app, log = logged()
    asyncio.run(app({**scope, "raw_path": b"/v1/messages", "query_string": b""}, receive, send))
    assert sum(received) == MOST + 2**20
    assert sent[0]["status"] == 413
    assert log == ["POST /v1/messages -> 413"]


def logged(**options: Any) -> tuple[_serve.App, list[str]]:
    with logging_app(recording("1"), speed=math.inf, **options) as (app, lines):
        return app, lines


# Who asks.

LOCAL: Final = ("localhost", "LocalHost.", "a.localhost", "127.0.0.1", "127.1.2.3", "[::1]")
FOREIGN: Final = (
    "evil.example",
    "localhost.evil.example",
    "127.0.0.1.evil.example",
    "10.0.0.1",
    "",
)


@pytest.mark.parametrize("port", ["", ":8080"])
def test_on_the_loopback_only_requests_for_the_loopback_are_answered(port: str) -> None:
    app, _ = logged(is_local=True)
    for host in LOCAL:
        assert app.answer(asking(headers={"host": host + port})).status == 200
    for headers in ({}, {"host": "[::1"}, *({"host": host + port} for host in FOREIGN)):
        answer = app.answer(asking(headers=headers))
        assert answer.status == 403
        assert json.loads(answer.body)["error"]["type"] == "permission_error"


def test_elsewhere_any_name_is_answered() -> None:
    app, _ = logged()
    for host in (*LOCAL, *FOREIGN):
        assert app.answer(asking(headers={"host": host})).status == 200


def test_what_is_the_loopback_is_known_without_a_name_server() -> None:
    for host in LOCAL:
        assert is_loopback(host)
    for host in (*FOREIGN, "0.0.0.0", "::", "[::]"):  # noqa: S104  (it is not listened on)
        assert not is_loopback(host)


def test_the_command_that_listens_on_the_loopback_answers_no_other_name() -> None:
    with command("--port", "0", "--speed", "max", str(EXAMPLES / "text.capture.jsonl")) as process:
        url = url_in(process)
        assert see(url).status == 200
        assert see(url, headers={"host": "evil.example"}).status == 403


# Connections.


@pytest.fixture
def connect() -> Iterator[Any]:
    """Connect to a URL; what is left open is closed."""
    with ExitStack() as stack:

        def connect(url: str) -> socket.socket:
            port = urllib.parse.urlsplit(url).port
            sock = socket.create_connection(("127.0.0.1", port or 0), PATIENCE)
            return stack.enter_context(sock)

        yield connect


def ends(sock: socket.socket) -> bool:
    """Wait until the server has ended a connection on which nothing more comes."""
    with suppress(ConnectionError):
        return not sock.recv(1)
    return True


HEAD: Final = b"POST /v1/messages HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n"


def answered(sock: socket.socket) -> bool:
    """Ask for something small, and read the whole answer."""
    sock.sendall(HEAD % 2 + b"{}")
    received = b""
    while re.search(rb'"request_id": "[^"]*"}$', received) is None:
        piece = sock.recv(65536)
        if not piece:
            return False
        received += piece
    return True


@pytest.mark.parametrize("begun", [b"", b"P", HEAD[:-2]])
def test_a_head_that_does_not_end_ends_the_connection(
    connect: Any, monkeypatch: pytest.MonkeyPatch, begun: bytes
) -> None:
    monkeypatch.setattr(_uvicorn, "HEAD_SECONDS", 0.05)
    with http_server(app_of_examples()) as url:
        sock = connect(url)
        sock.sendall(begun)
        assert ends(sock)


def test_the_second_head_of_a_connection_has_its_time_too(
    connect: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_uvicorn, "HEAD_SECONDS", PATIENCE)
    with http_server(app_of_examples()) as url:
        sock = connect(url)
        assert answered(sock)
        monkeypatch.setattr(_uvicorn, "HEAD_SECONDS", 0.05)
        sock.sendall(b"P")
        assert ends(sock)


@with_seconds
def test_the_time_of_a_head_is_not_that_of_an_answer(
    seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_uvicorn, "HEAD_SECONDS", seconds)
    monkeypatch.setattr(_serve, "SECONDS_BETWEEN_PINGS", seconds)
    with http_server(app_of_examples()) as url:
        seen = see(url, headers={"x-fault": "ping-stall"}, at_most=len(HALF) + 2 * len(PING))
    if seen.status is None:
        raise TooSoonError
    assert seen.ended == "open"


def test_what_comes_beside_the_most_connections_is_closed_until_one_has_gone(
    connect: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_uvicorn, "MOST_CONNECTIONS", 2)
    with http_server(app_of_examples()) as url:
        held = [connect(url) for _ in range(2)]
        assert all(map(answered, held))
        assert ends(connect(url))
        assert all(map(answered, held))
        held[0].close()

        def is_served() -> bool:
            with suppress(ConnectionError):
                return answered(connect(url))
            return False

        wait_until(is_served, "there is room for another one")


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


@pytest.mark.parametrize("said", UNSENDABLE)
def test_a_capture_whose_head_cannot_be_sent_is_refused_by_name_when_it_is_read(
    said: str, tmp_path: Path
) -> None:
    path = tmp_path / "it.capture.jsonl"
    writer = CaptureWriter(CaptureHeader(**{"status": 200, **UNSENDABLE[said]}))
    path.write_bytes(writer.begin() + writer.chunk(body(*HELLO), 0) + writer.end(1))
    with pytest.raises(ValueError, match=said):
        Recording.read(path)


def test_the_command_names_the_file_whose_head_cannot_be_sent(tmp_path: Path) -> None:
    path = tmp_path / "it.capture.jsonl"
    writer = CaptureWriter(CaptureHeader(status=99999))
    path.write_bytes(writer.begin() + writer.end(1))
    with command("--port", "0", str(path)) as process:
        shown, said = process.communicate(timeout=PATIENCE)
    assert (process.returncode, shown) == (2, "")
    assert f"{path}: the status 99999 cannot be served" in said


@pytest.mark.parametrize("status", [200, 299, 301, 400, 429, 529, 599])
def test_every_status_with_a_body_is_served(status: int, tmp_path: Path) -> None:
    path = tmp_path / "it.capture.jsonl"
    headers = {"request-id": "a b\t\xe9 \N{PARTY POPPER}", "content-type": ""}
    writer = CaptureWriter(CaptureHeader(status=status, headers=headers))
    path.write_bytes(writer.begin() + writer.chunk(b"body", 0) + writer.end(1))
    with http_server(_serve.App([Recording.read(path)], speed=math.inf)) as url:
        seen = see(url)
    assert (seen.status, seen.body) == (status, b"body")
