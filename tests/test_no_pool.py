"""Test the clients of `sockets` and `trio`, which open a connection for each request."""

import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias
from unittest import mock

import pytest

from sansio_stream.errors import (
    APIConnectionError,
    APIStatusError,
    APITimeoutError,
    IncompleteMessageError,
    Verdict,
)
from sansio_stream_adapters import Timeout
from servers import (
    PATIENCE,
    TLS,
    Do,
    RawServer,
    TooSoonError,
    chunk,
    head,
    listening,
    make_tls,
    port_of,
    refusing_url,
    response,
    with_seconds,
)
from wire import HELLO, PING, body, message_start

StartServer = Callable[..., RawServer]
TextFrom: TypeAlias = Callable[..., str]

EVENTS = {"content-type": "text/event-stream"}
STREAM = body(*HELLO)
BEGINNING = head() + chunk(body(message_start(), PING))
TEXT = "Hello, wörld \N{PARTY POPPER}"
REQUEST: dict[str, Any] = {"model": "m", "max_tokens": 9, "messages": []}


def from_sockets(url: str, *, system: str = "", **settings: Any) -> str:
    from sansio_stream_adapters.sockets import Client

    with (
        Client(base_url=url, **settings) as client,
        client.messages.stream(**REQUEST, system=system) as stream,
    ):
        return stream.get_final_text()


def from_trio(url: str, *, system: str = "", **settings: Any) -> str:
    trio = pytest.importorskip("trio", reason="the adapter needs trio")
    from sansio_stream_adapters.trio import AsyncClient

    async def main() -> str:
        async with (
            AsyncClient(base_url=url, **settings) as client,
            client.messages.stream(**REQUEST, system=system) as stream,
        ):
            return await stream.get_final_text()

    text: str = trio.run(main)
    return text


@pytest.fixture(params=[from_sockets, from_trio], ids=["sockets", "trio"])
def text_from(request: pytest.FixtureRequest) -> TextFrom:
    """A function that sends a request and returns the text of the answer.


    The test runs once with each client.
    """
    pytest.importorskip("h11", reason="sockets and trio need h11")
    ask: TextFrom = request.param

    def text_from(url: str, **settings: Any) -> str:
        return ask(url, **{"max_retries": 0, "timeout": PATIENCE, **settings})

    return text_from


# Requests and responses.


def test_a_long_request_arrives_whole(text_from: TextFrom, raw_server: StartServer) -> None:
    server = raw_server([response(STREAM)])
    long = "wörd " * 500_000
    assert text_from(server.url, system=long) == TEXT
    assert server.requests[0].json["system"] == long


def test_informational_responses_are_skipped(text_from: TextFrom, raw_server: StartServer) -> None:
    server = raw_server([b"HTTP/1.1 100 Continue\r\n\r\n", head(103, {}), response(STREAM)])
    assert text_from(server.url) == TEXT


def test_redirects_are_not_followed(text_from: TextFrom, raw_server: StartServer) -> None:
    server = raw_server([response(b"", 307, {"location": "/elsewhere"})])
    with pytest.raises(APIStatusError, match="/elsewhere, which was not followed"):
        text_from(server.url)
    server.wait_until_closed()
    assert len(server.requests) == 1


def test_a_body_without_a_length_ends_with_the_connection(
    text_from: TextFrom, raw_server: StartServer
) -> None:
    assert text_from(raw_server([head(headers=EVENTS) + STREAM, Do.CLOSE]).url) == TEXT


# Connections that fail.


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_refused_connection_is_a_connection_error(text_from: TextFrom, host: str) -> None:
    with refusing_url() as url, pytest.raises(APIConnectionError) as caught:
        text_from(url.replace("127.0.0.1", host))
    assert not isinstance(caught.value, APITimeoutError)
    assert isinstance(caught.value.__cause__, OSError)


@pytest.mark.parametrize(
    "unknown",
    [
        socket.gaierror(socket.EAI_NONAME, "Name or service not known"),
        UnicodeError("label empty or too long"),
    ],
    ids=["unknown name", "invalid name"],
)
def test_a_host_name_without_an_address_is_a_connection_error(
    text_from: TextFrom, unknown: Exception
) -> None:
    with (
        mock.patch.object(socket, "getaddrinfo", side_effect=unknown),
        pytest.raises(APIConnectionError) as caught,
    ):
        text_from("http://invalid.")
    assert not isinstance(caught.value, APITimeoutError)
    assert caught.value.__cause__ is unknown


# Timeouts. The listener never accepts a connection. The system establishes it, but reads nothing.


def test_the_connect_timeout_includes_the_tls_handshake(text_from: TextFrom) -> None:
    with listening() as listener, pytest.raises(APITimeoutError):
        text_from(f"https://127.0.0.1:{port_of(listener)}", timeout=Timeout(connect=0.1))


def test_the_write_timeout_applies_to_a_long_request(text_from: TextFrom) -> None:
    with listening() as listener:
        url = f"http://127.0.0.1:{port_of(listener)}"
        with pytest.raises(APITimeoutError):
            text_from(url, system="x" * 20_000_000, timeout=Timeout(write=0.1))


def test_the_read_timeout_applies_to_the_head(text_from: TextFrom) -> None:
    with listening() as listener, pytest.raises(APITimeoutError):
        text_from(f"http://127.0.0.1:{port_of(listener)}", timeout=Timeout(read=0.1))


@pytest.mark.parametrize("secure", [False, True])
@with_seconds
def test_the_read_timeout_applies_to_the_body(
    text_from: TextFrom, raw_server: StartServer, tls: TLS, secure: bool, seconds: float
) -> None:
    server = raw_server([BEGINNING, Do.WAIT], tls=tls if secure else None)
    with pytest.raises(APITimeoutError) as caught:
        text_from(server.url, ssl_context=tls.client, timeout=Timeout(read=seconds))
    if caught.value.partial_message is None:
        raise TooSoonError
    assert caught.value.verdict is Verdict.TRUNCATED
    server.wait_until_closed()


# TLS.


def test_a_stream_can_be_read_over_tls(
    text_from: TextFrom, raw_server: StartServer, tls: TLS
) -> None:
    server = raw_server([head() + chunk(STREAM) + chunk(b""), Do.DROP], tls=tls)
    assert text_from(server.url, ssl_context=tls.client) == TEXT


def test_a_certificate_of_an_unknown_authority_is_refused(
    text_from: TextFrom, raw_server: StartServer, tls: TLS
) -> None:
    server = raw_server([response(STREAM)], tls=tls)
    with pytest.raises(APIConnectionError, match="certificate verify failed"):
        text_from(server.url)
    server.wait_until_closed()
    assert server.requests == []


def test_a_certificate_of_another_host_is_refused(
    text_from: TextFrom, raw_server: StartServer, tls: TLS
) -> None:
    server = raw_server([response(STREAM)], tls=tls)
    with pytest.raises(APIConnectionError, match=r"not valid for '127\.1'"):
        text_from(server.url.replace("127.0.0.1", "127.1"), ssl_context=tls.client)
    assert server.requests == []


@pytest.mark.parametrize(
    ("step", "message"),
    [(Do.CLOSE, "began and was cut"), (Do.DROP, "SSLEOFError")],
    ids=["close", "drop"],
)
def test_a_close_without_close_notify_is_an_error_over_tls(
    text_from: TextFrom, raw_server: StartServer, tls: TLS, step: Do, message: str
) -> None:
    server = raw_server([head(headers=EVENTS) + body(*HELLO[:3]), step], tls=tls)
    with pytest.raises(APIConnectionError, match=message) as caught:
        text_from(server.url, ssl_context=tls.client)
    assert isinstance(caught.value, IncompleteMessageError) is (step is Do.CLOSE)
    assert caught.value.verdict is Verdict.TRUNCATED


# ALPN.


def test_alpn_offers_http_1_1(
    text_from: TextFrom, raw_server: StartServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    selected: list[str | None] = []

    class RecordingSocket(ssl.SSLSocket):
        def do_handshake(self, block: bool = False) -> None:
            super().do_handshake(block)
            selected.append(self.selected_alpn_protocol())

    tls = make_tls(tmp_path)
    tls.server.set_alpn_protocols(["h2", "http/1.1"])
    tls.server.sslsocket_class = RecordingSocket
    monkeypatch.setenv("SSL_CERT_FILE", str(tls.ca_file))
    server = raw_server([response(STREAM)], tls=tls)
    assert text_from(server.url) == TEXT
    assert selected == ["http/1.1"]
