"""Test HTTP/1.1 without a connection: requests as bytes, and responses from bytes."""

import asyncio
import ssl
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TypeVar

import attrs
import pytest
from hypothesis import given, strategies as st

pytest.importorskip("h11", reason="_http11 needs h11")

import h11

from sansio_stream.errors import (
    APIConnectionError,
    APIError,
    APITimeoutError,
    OverloadedError,
)
from sansio_stream.request import Request, build_request
from sansio_stream_adapters import Timeout
from sansio_stream_adapters._http11 import (
    HEAD_BYTES,
    BlockingBody,
    Exchange,
    Origin,
    ResponseReader,
    map_error,
    mapped,
    waits_of,
)
from sansio_stream_adapters._stream_core import Head, StreamOptions
from sansio_stream_adapters._timeout import REQUEST_PIECE_BYTES
from servers import chunk, head, response
from wire import HELLO, at_random, body, in_bytes

STREAM = body(*HELLO)
EVENTS = {"content-type": "text/event-stream"}
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
HINTS = head(103, {"link": "</style.css>; rel=preload"})
CHUNKED = head() + b"".join(chunk(each) for each in at_random(STREAM) if each)

Result = TypeVar("Result")


def read(received: Iterable[bytes]) -> tuple[Head, bytes]:
    """Read a response to its end. Ignore the bytes after it."""
    exchange = Exchange()
    pieces = iter(received)

    def until(take: Callable[[], Result | None]) -> Result:
        while (found := take()) is None:
            exchange.received(next(pieces))
        return found

    response_head = until(exchange.head)
    chunks: list[bytes] = []
    while piece := until(exchange.chunk):
        chunks.append(piece)
    assert {type(each) for each in chunks} <= {bytes}
    assert exchange.chunk() == exchange.chunk() == b""
    return response_head, b"".join(chunks)


# Requests.


def pieces_of(exchange: Exchange) -> Iterator[bytes]:
    while exchange.has_pieces:
        yield exchange.piece()


def bytes_sent(request: Request) -> bytes:
    return b"".join(pieces_of(Exchange(request)))


def test_a_request_has_the_format_of_http_1_1() -> None:
    request = build_request(
        {"model": "m"}, base_url="http://example.com/proxy", api_key="k", query={"a": "b"}
    )
    assert bytes_sent(request) == (
        b"POST /proxy/v1/messages?a=b HTTP/1.1\r\n"
        b"host: example.com\r\n"
        b"user-agent: sansio-stream\r\n"
        b"accept-encoding: gzip, deflate\r\n"
        b"accept: text/event-stream\r\n"
        b"anthropic-version: 2023-06-01\r\n"
        b"content-type: application/json\r\n"
        b"x-api-key: k\r\n"
        b"connection: close\r\n"
        b"content-length: %d\r\n"
        b"\r\n"
        b"%b" % (len(request.body), request.body)
    )


@pytest.mark.parametrize(
    ("base_url", "origin"),
    [
        ("https://api.anthropic.com", Origin(True, "api.anthropic.com", 443, "api.anthropic.com")),
        ("http://localhost/", Origin(False, "localhost", 80, "localhost")),
        ("http://localhost:80/a", Origin(False, "localhost", 80, "localhost")),
        ("http://localhost:443", Origin(False, "localhost", 443, "localhost:443")),
        ("HTTPS://127.0.0.1:443", Origin(True, "127.0.0.1", 443, "127.0.0.1")),
        ("http://[::1]:8080/a:b", Origin(False, "::1", 8080, "[::1]:8080")),
        ("https://[2001:db8::443]", Origin(True, "2001:db8::443", 443, "[2001:db8::443]")),
        ("http://localhost:0", Origin(False, "localhost", 0, "localhost:0")),
    ],
)
def test_the_host_header_omits_the_default_port_of_the_scheme(
    base_url: str, origin: Origin
) -> None:
    request = build_request({}, base_url=base_url)
    assert Origin.of(request) == origin
    assert f"\r\nhost: {origin.authority}\r\n".encode() in bytes_sent(request)


def test_a_host_header_of_the_caller_replaces_ours() -> None:
    request = build_request({}, base_url="http://127.0.0.1:1", headers={"Host": "example.com"})
    assert bytes_sent(request).count(b"host: example.com\r\n") == 1
    assert b"127.0.0.1" not in bytes_sent(request)


@pytest.mark.parametrize("name", ["accept-encoding", "user-agent"])
def test_a_header_of_the_caller_replaces_ours(name: str) -> None:
    named = bytes_sent(build_request({}, headers={name: "mine"}))
    assert named.count(f"{name}: mine\r\n".encode()) == named.count(name.encode()) == 1


def test_a_header_is_sent_in_utf_8() -> None:
    assert "x-name: Zoë\r\n".encode() in bytes_sent(build_request({}, headers={"x-name": "Zoë"}))


@pytest.mark.parametrize(
    "size", [0, REQUEST_PIECE_BYTES - 1, REQUEST_PIECE_BYTES, 3 * REQUEST_PIECE_BYTES + 1]
)
def test_a_long_request_is_sent_in_pieces(size: int) -> None:
    request = attrs.evolve(build_request({}), body=b"x" * size)
    pieces = list(pieces_of(Exchange(request)))
    assert all(0 < len(piece) <= REQUEST_PIECE_BYTES for piece in pieces)
    assert b"".join(pieces).partition(b"\r\n\r\n")[2] == request.body


# Responses.

WHOLE = {
    "content-length": [response(STREAM)],
    "chunked": [CHUNKED + chunk(b"")],
    "chunk extensions and trailers": [
        head() + b"%x;a=b\r\n%b\r\n0\r\nx-took: 7\r\n\r\n" % (len(STREAM), STREAM)
    ],
    "neither, so the connection ends it": [head(headers=EVENTS) + STREAM, b""],
    "HTTP/1.0": [(head(headers=EVENTS) + STREAM).replace(b"HTTP/1.1", b"HTTP/1.0"), b""],
    "informational responses first": [CONTINUE + HINTS + CONTINUE + response(STREAM)],
    "more bytes after it": [response(STREAM) + b"HTTP/1.1 200 OK\r\n"],
}
CUTS: dict[str, Callable[[bytes], list[bytes]]] = {
    "whole": lambda data: [data],
    "byte by byte": in_bytes,
    **{f"at random, {seed}": partial(at_random, seed=seed) for seed in range(5)},
}


def received(pieces: list[bytes], how: str) -> list[bytes]:
    """Cut the first piece. The second piece, if any, is empty: it ends the connection."""
    return [part for part in CUTS[how](pieces[0]) if part] + pieces[1:]


@pytest.mark.parametrize("pieces", WHOLE.values(), ids=WHOLE)
@pytest.mark.parametrize("how", CUTS)
def test_a_response_does_not_depend_on_how_it_is_cut(pieces: list[bytes], how: str) -> None:
    response_head, response_body = read(received(pieces, how))
    assert response_head["status"] == 200
    assert ("content-type", "text/event-stream") in list(response_head["headers"])
    assert response_body == STREAM


@pytest.mark.parametrize("status", [204, 304])
def test_a_response_without_a_body_ends_with_its_head(status: int) -> None:
    assert read([head(status, EVENTS)])[1] == b""


def test_repeated_headers_are_all_kept() -> None:
    exchange = Exchange()
    exchange.received(b"HTTP/1.1 200 OK\r\nX-A: 1\r\nx-a: Zo\xeb\r\n\r\n")
    assert exchange.head() == {
        "status": 200,
        "headers": [("x-a", "1"), ("x-a", "Zoë")],
        "response": None,
    }


def test_at_most_twenty_informational_responses_are_skipped() -> None:
    for count in (20, 21, 5_000):
        data = CONTINUE * count + response(STREAM)
        for size in (10, len(data)):
            pieces = [data[at : at + size] for at in range(0, len(data), size)]
            if count == 20:
                assert read(pieces)[1] == STREAM
            else:
                with pytest.raises(h11.RemoteProtocolError, match="more than 20 interim"):
                    read(pieces)


def head_of(size: int) -> bytes:
    """Return a head of `size` bytes."""
    empty = head(headers={**EVENTS, "x-long": ""})
    return head(headers={**EVENTS, "x-long": "x" * (size - len(empty))})


LONG = [1_000, 16_384, 65_536, HEAD_BYTES - 1, HEAD_BYTES, HEAD_BYTES + 1, 10**9]


@pytest.mark.parametrize("cut", LONG)
def test_the_size_of_a_head_is_limited(cut: int) -> None:
    for before in (b"", CONTINUE, head_of(HEAD_BYTES).replace(b" 200 ", b" 103 ")):
        data = before + head_of(HEAD_BYTES) + STREAM
        pieces = [data[at : at + cut] for at in range(0, len(data), cut)]
        assert read([*pieces, b""])[1] == STREAM
        data = before + head_of(HEAD_BYTES + 1) + STREAM
        pieces = [data[at : at + cut] for at in range(0, len(data), cut)]
        with pytest.raises(h11.RemoteProtocolError, match="longer than 102,400 bytes"):
            read([*pieces, b""])


@pytest.mark.parametrize("cut", LONG)
def test_the_size_of_chunk_extensions_and_trailers_is_limited(cut: int) -> None:
    for too_long in (
        b"1;" + b"x" * HEAD_BYTES + b"\r\na\r\n" + chunk(b""),
        b"0\r\nx-long: " + b"x" * HEAD_BYTES + b"\r\n\r\n",
    ):
        data = CHUNKED + too_long
        pieces = [data[at : at + cut] for at in range(0, len(data), cut)]
        with pytest.raises(h11.RemoteProtocolError):
            read([*pieces, b""])


BROKEN = {
    "no bytes": b"",
    "no bytes after an informational response": CONTINUE,
    "half a head": head()[:-2],
    "another protocol": b"SSH-2.0-OpenSSH_9.9\r\n\r\n",
    "binary": b"\x15\x03\x01\x00\x02\x02\x16",
    "a switch of protocols": b"HTTP/1.1 101 Switching Protocols\r\nupgrade: h2c\r\n\r\n",
    "a head without an end": b"HTTP/1.1 200 OK\r\n" + b"x-filler: 0123456789\r\n" * 50_000,
    "a length of 5,000 digits": head(headers={"content-length": "9" * 5_000}),
    "a negative length": head(headers={"content-length": "-1"}),
    "two lengths": head(headers={"content-length": "1, 2"}),
    "gzip as a transfer-encoding": head(headers={"transfer-encoding": "gzip, chunked"}),
    "less than its length": response(STREAM)[:-1],
    "no last chunk": CHUNKED,
    "half a chunk": CHUNKED[:-3],
    "a chunk size that is not a number": CHUNKED + b"size\r\n",
    "a chunk longer than its size": CHUNKED.replace(b"\r\n\r\n", b"\r\n\r\n1\r\nxyz\r\n", 1),
}


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize("how", CUTS)
def test_broken_framing_is_a_connection_error(data: bytes, how: str) -> None:
    with pytest.raises(APIConnectionError), mapped(map_error):
        read([*received([data], how), b""])


@given(st.sampled_from(["content-length", "chunked"]), st.floats(0, 1, exclude_max=True))
def test_a_truncated_body_is_a_connection_error(name: str, share: float) -> None:
    data = WHOLE[name][0]
    with pytest.raises(APIConnectionError), mapped(map_error):
        read([data[: int(share * len(data))], b""])


@given(st.data())
def test_received_bytes_raise_only_exceptions_of_ours(data: st.DataObject) -> None:
    changed = bytearray(data.draw(st.sampled_from([*WHOLE.values()]))[0])
    for _ in range(data.draw(st.integers(1, 5))):
        changed[data.draw(st.integers(0, min(200, len(changed) - 1)))] = data.draw(
            st.integers(0, 255) | st.sampled_from(b"\r\n:0123456789")
        )
    try:
        with mapped(map_error):
            read([*in_bytes(bytes(changed)), b""])
    except APIError:
        pass
    except StopIteration:
        pytest.fail("the exchange needs more bytes after the end of the connection")


def test_a_compressed_body_is_not_decoded() -> None:
    headers = {**EVENTS, "content-encoding": "gzip", "content-length": "2"}
    assert read([head(headers=headers) + b"\x1f\x8b"])[1] == b"\x1f\x8b"


# Exceptions and timeouts.


@pytest.mark.parametrize(
    "exc",
    [
        h11.RemoteProtocolError("not HTTP"),
        h11.LocalProtocolError("an invalid header"),
        UnicodeError("label too long"),
        ConnectionResetError(104, "reset"),
        ssl.SSLCertVerificationError("not trusted"),
    ],
)
def test_foreign_exceptions_are_mapped_to_ours(exc: Exception) -> None:
    with pytest.raises(APIConnectionError, match=type(exc).__name__) as caught, mapped(map_error):
        raise exc
    assert caught.value.__cause__ is exc
    assert not isinstance(caught.value, APITimeoutError)


def test_a_builtin_timeout_error_is_mapped_to_ours() -> None:
    with pytest.raises(APITimeoutError, match="timed out"), mapped(map_error):
        raise TimeoutError("timed out")


@pytest.mark.parametrize("exc", [TypeError("not bytes"), OverloadedError("busy")])
def test_unexpected_exceptions_and_our_own_are_not_mapped(exc: Exception) -> None:
    with pytest.raises(type(exc)) as caught, mapped(map_error):
        raise exc
    assert caught.value is exc


@pytest.mark.parametrize(
    ("timeout", "options", "read_gap", "idle"),
    [
        (Timeout(), {}, 600.0, None),
        (3, {}, 3, None),
        (None, {}, None, None),
        (None, {"idle": 5.0}, 5.0, 5.0),
        (Timeout(idle=5.0), {}, 5.0, 5.0),
        (Timeout(idle=5.0, read=2.0), {"idle": None}, 2.0, None),
        (Timeout(idle=5.0), {"idle": 7.0}, 7.0, 7.0),
    ],
)
def test_idle_can_be_set_by_the_timeout_or_by_an_option(
    timeout: object, options: StreamOptions, read_gap: float | None, idle: float | None
) -> None:
    assert waits_of(timeout, options).read == read_gap
    assert options.get("idle", "missing") == idle


def test_a_blocking_body_must_not_suspend() -> None:
    async def receive(_: str) -> bytes:
        await asyncio.sleep(0)
        return b""

    body = BlockingBody(ResponseReader(Exchange(), receive))
    with pytest.raises(RuntimeError, match="a coroutine that suspends"):
        next(body)
