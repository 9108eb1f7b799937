"""What is raised shows no key: neither it, nor what it comes from, nor frames of ours."""

import logging
import pickle
import socket
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Final

import pytest

from matrix import Adapter, ask, driven, raised_by
from sansio_stream_adapters import APIError, Timeout
from servers import PATIENCE, TLS, Do, RawServer, chunk, head, nobody_listens, response
from wire import HELLO, body

RawServers = Callable[..., RawServer]

pytestmark = pytest.mark.usefixtures("certificates_are_read_once", "nothing_is_left_open")

SECRET: Final = "sk-pssst"  # noqa: S105  (one that is none)
SETTINGS: Final[dict[str, Any]] = {
    "api_key": SECRET,
    "auth_token": SECRET,
    "default_headers": {"x-gateway": SECRET},
}
CALL: Final[dict[str, Any]] = ask(extra_query={"key": SECRET})
"""Some gateways want their key there."""

HALF: Final = body(*HELLO[:4])
JSON: Final = {"content-type": "application/json"}
REFUSAL: Final = b'{"type":"error","error":{"type":"authentication_error","message":"no"}}'

ANSWERS: Final[dict[str, list[Any]]] = {
    "refused with 401": [response(REFUSAL, 401, JSON)],
    "refused with 500, again and again": [response(REFUSAL, 500, JSON)],
    "no answer": [Do.CLOSE],
    "no HTTP": [b"nonsense\r\n\r\n", Do.CLOSE],
    "a head that is none": [b"HTTP/1.1 200 OK\r\nbroken\x00: y\r\n\r\n", Do.CLOSE],
    "a body that is cut": [head() + chunk(HALF), Do.CLOSE],
    "a body that breaks HTTP": [head() + chunk(HALF) + b"zz\r\n", Do.CLOSE],
    "a body with an encoding of its own": [response(b"x", headers={"content-encoding": "br"})],
    "a body that is no gzip": [
        response(b"x", headers={"content-type": "text/event-stream", "content-encoding": "gzip"})
    ],
    "a redirect": [response(b"", 302, {"location": "http://127.0.0.1:1/"})],
}

TIMEOUTS: Final[dict[str, list[Any]]] = {
    "the head does not come": [Do.WAIT],
    "the body does not end": [head() + chunk(HALF), Do.WAIT],
}


def chain_of(error: BaseException) -> Iterator[BaseException]:
    """The exception, and all that it comes from."""
    seen: set[int] = set()
    following: list[BaseException | None] = [error]
    while following:
        each = following.pop()
        if each is not None and id(each) not in seen:
            seen.add(id(each))
            yield each
            following += [each.__cause__, each.__context__]
            if isinstance(each, BaseExceptionGroup):
                following += each.exceptions


def frames_of(trace: TracebackType | None) -> Iterator[Any]:
    """The frames of a traceback that are of our packages."""
    while trace is not None:
        name = trace.tb_frame.f_globals.get("__name__", "")
        if name.startswith("sansio_stream"):
            yield trace.tb_frame
        trace = trace.tb_next


def assert_no_secret(error: APIError) -> None:
    assert SECRET not in "".join(traceback.format_exception(error))
    assert SECRET.encode() not in pickle.dumps(error)
    for each in chain_of(error):
        assert SECRET not in str(each), type(each)
        assert SECRET not in repr(each), type(each)
        assert SECRET not in repr(each.args), type(each)
        for frame in frames_of(each.__traceback__):
            for name, value in frame.f_locals.items():
                place = f"{frame.f_code.co_qualname}: {name}"
                assert SECRET not in repr(value), place


@pytest.mark.parametrize("answer", ANSWERS)
@driven
async def test_what_is_raised_shows_no_key(
    adapter: Adapter, raw_server: RawServers, delays: list[float], answer: str
) -> None:
    server = raw_server(ANSWERS[answer])
    async with adapter.client(server.url, max_retries=1, **SETTINGS) as client:
        assert_no_secret(await raised_by(client, CALL))
    assert SECRET in str(server.requests[0])


@pytest.mark.parametrize("silence", TIMEOUTS)
@driven
async def test_what_a_timeout_raises_shows_no_key(
    adapter: Adapter, raw_server: RawServers, silence: str
) -> None:
    server = raw_server(TIMEOUTS[silence])
    async with adapter.client(server.url, timeout=Timeout(read=0.05), **SETTINGS) as client:
        assert_no_secret(await raised_by(client, CALL))
    async with adapter.client(server.url, timeout=Timeout(total=0.3), **SETTINGS) as client:
        assert_no_secret(await raised_by(client, CALL))


@driven
async def test_what_is_raised_without_a_connection_shows_no_key(adapter: Adapter) -> None:
    with nobody_listens() as url:
        async with adapter.client(url, **SETTINGS) as client:
            assert_no_secret(await raised_by(client, CALL))


def test_a_url_that_aiohttp_cannot_use_is_not_shown() -> None:
    aiohttp = pytest.importorskip("aiohttp", reason="the exception is its own")
    from sansio_stream_adapters.aiohttp import map_error

    error = map_error(aiohttp.InvalidURL(f"http://[{SECRET}", "no address"))
    assert error is not None
    assert str(error) == "InvalidURL: the URL cannot be used"
    assert "no address" in str(error.__cause__)
    assert_no_secret(error)


@driven
async def test_what_is_raised_without_a_proxy_shows_no_password(
    adapter: Adapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not adapter.pools:
        pytest.skip("it has no proxies, says docs/clients.md")
    for name in ("NO_PROXY", "no_proxy", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    with nobody_listens() as url:
        monkeypatch.setenv("HTTP_PROXY", url.replace("//", f"//user:{SECRET}@"))
        async with adapter.client("http://somewhere.invalid", **SETTINGS) as client:
            assert_no_secret(await raised_by(client, CALL))


@driven
async def test_what_is_raised_without_trust_shows_no_key(
    adapter: Adapter, raw_server: RawServers, tls: TLS
) -> None:
    server = raw_server([response(HALF)], tls=tls)
    async with adapter.client(server.url, **SETTINGS) as client:
        assert_no_secret(await raised_by(client, CALL))


@contextmanager
def nobody_reads() -> Iterator[str]:
    """A base URL where connections are taken, and nothing of a request."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@driven
async def test_what_is_raised_while_a_request_is_sent_shows_no_key(adapter: Adapter) -> None:
    waits = Timeout(connect=PATIENCE, read=PATIENCE, write=0.1, pool=PATIENCE)
    with nobody_reads() as url:
        async with adapter.client(url, timeout=waits, **SETTINGS) as client:
            with pytest.raises(APIError, match="send: the peer accepted no bytes") as caught:
                async with client.messages.stream(**CALL, system=SECRET * 2_000_000):
                    pass
            assert_no_secret(caught.value)


@driven
async def test_what_cannot_be_sent_is_raised_without_the_key(adapter: Adapter) -> None:
    async with adapter.client("http://127.0.0.1:1", **SETTINGS) as client:
        with pytest.raises(ValueError, match="top_p") as caught:
            client.messages.stream(**ask(top_p=float("nan")))
    for each in chain_of(caught.value):
        for frame in frames_of(each.__traceback__):
            for name, value in frame.f_locals.items():
                assert SECRET not in repr(value), f"{frame.f_code.co_qualname}: {name}"


# What libraries log.


@driven
async def test_httpx_logs_urls_with_their_query_until_it_is_told_not_to(
    adapter: Adapter, raw_server: RawServers, caplog: pytest.LogCaptureFixture
) -> None:
    server = raw_server([response(body(*HELLO))])
    library = adapter.libraries[0]
    logs = library.startswith("httpx")
    async with adapter.client(server.url, **SETTINGS) as client:
        for level in (logging.DEBUG, logging.WARNING):
            with caplog.at_level(logging.DEBUG), caplog.at_level(level, logger=library):
                async with client.messages.stream(**CALL) as stream:
                    await stream.until_done()
                assert (SECRET in caplog.text) == (logs and level == logging.DEBUG)
                caplog.clear()
