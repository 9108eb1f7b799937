"""Test that no exception shows a key: not in its text, its causes or the frames of this library."""

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
from servers import PATIENCE, TLS, Do, RawServer, chunk, head, refusing_url, response
from wire import HELLO, body

StartServer = Callable[..., RawServer]

pytestmark = pytest.mark.usefixtures("nothing_is_left_open")

SECRET: Final = "sk-pssst"  # noqa: S105  (not a real key)
SETTINGS: Final[dict[str, Any]] = {
    "api_key": SECRET,
    "auth_token": SECRET,
    "default_headers": {"x-gateway": SECRET},
}
CALL: Final[dict[str, Any]] = ask(extra_query={"key": SECRET})
"""A call with the key in the query. Some gateways expect it there."""

HALF: Final = body(*HELLO[:4])
JSON: Final = {"content-type": "application/json"}
REFUSAL: Final = b'{"type":"error","error":{"type":"authentication_error","message":"no"}}'

ANSWERS: Final[dict[str, list[Any]]] = {
    "a status 401": [response(REFUSAL, 401, JSON)],
    "a status 500 for each attempt": [response(REFUSAL, 500, JSON)],
    "a close without an answer": [Do.CLOSE],
    "another protocol": [b"nonsense\r\n\r\n", Do.CLOSE],
    "an invalid head": [b"HTTP/1.1 200 OK\r\nbroken\x00: y\r\n\r\n", Do.CLOSE],
    "a truncated body": [head() + chunk(HALF), Do.CLOSE],
    "a body that violates HTTP": [head() + chunk(HALF) + b"zz\r\n", Do.CLOSE],
    "an unknown encoding": [response(b"x", headers={"content-encoding": "br"})],
    "a body that is not gzip": [
        response(b"x", headers={"content-type": "text/event-stream", "content-encoding": "gzip"})
    ],
    "a redirect": [response(b"", 302, {"location": "http://127.0.0.1:1/"})],
}

TIMEOUTS: Final[dict[str, list[Any]]] = {
    "no head": [Do.WAIT],
    "no end of the body": [head() + chunk(HALF), Do.WAIT],
}


def chain_of(error: BaseException) -> Iterator[BaseException]:
    """Yield the exception and all its causes, contexts and members of groups."""
    visited: set[int] = set()
    pending: list[BaseException | None] = [error]
    while pending:
        each = pending.pop()
        if each is not None and id(each) not in visited:
            visited.add(id(each))
            yield each
            pending += [each.__cause__, each.__context__]
            if isinstance(each, BaseExceptionGroup):
                pending += each.exceptions


def frames_of(trace: TracebackType | None) -> Iterator[Any]:
    """Yield the frames of a traceback that belong to our packages."""
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
async def test_an_error_after_a_bad_answer_shows_no_key(
    adapter: Adapter, raw_server: StartServer, delays: list[float], answer: str
) -> None:
    server = raw_server(ANSWERS[answer])
    async with adapter.client(server.url, max_retries=1, **SETTINGS) as client:
        assert_no_secret(await raised_by(client, CALL))
    assert SECRET in str(server.requests[0])


@pytest.mark.parametrize("silence", TIMEOUTS)
@driven
async def test_a_timeout_error_shows_no_key(
    adapter: Adapter, raw_server: StartServer, silence: str
) -> None:
    server = raw_server(TIMEOUTS[silence])
    async with adapter.client(server.url, timeout=Timeout(read=0.05), **SETTINGS) as client:
        assert_no_secret(await raised_by(client, CALL))
    async with adapter.client(server.url, timeout=Timeout(total=0.3), **SETTINGS) as client:
        assert_no_secret(await raised_by(client, CALL))


@driven
async def test_the_error_of_a_refused_connection_shows_no_key(adapter: Adapter) -> None:
    with refusing_url() as url:
        async with adapter.client(url, **SETTINGS) as client:
            assert_no_secret(await raised_by(client, CALL))


def test_the_error_of_an_invalid_url_does_not_show_it() -> None:
    aiohttp = pytest.importorskip("aiohttp", reason="this test needs an exception of aiohttp")
    from sansio_stream_adapters.aiohttp import map_error

    error = map_error(aiohttp.InvalidURL(f"http://[{SECRET}", "not an address"))
    assert error is not None
    assert str(error) == "InvalidURL: the URL cannot be used"
    assert "not an address" in str(error.__cause__)
    assert_no_secret(error)


@driven
async def test_the_error_of_an_unreachable_proxy_shows_no_password(
    adapter: Adapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not adapter.pools:
        pytest.skip("docs/clients.md says that this adapter does not use proxies")
    for name in ("NO_PROXY", "no_proxy", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    with refusing_url() as url:
        monkeypatch.setenv("HTTP_PROXY", url.replace("//", f"//user:{SECRET}@"))
        async with adapter.client("http://somewhere.invalid", **SETTINGS) as client:
            assert_no_secret(await raised_by(client, CALL))


@driven
async def test_the_error_of_an_untrusted_certificate_shows_no_key(
    adapter: Adapter, raw_server: StartServer, tls: TLS
) -> None:
    server = raw_server([response(HALF)], tls=tls)
    async with adapter.client(server.url, **SETTINGS) as client:
        assert_no_secret(await raised_by(client, CALL))


@contextmanager
def unread_url() -> Iterator[str]:
    """Yield a base URL that accepts connections and never reads a request."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@driven
async def test_the_error_of_a_failed_send_shows_no_key(adapter: Adapter) -> None:
    waits = Timeout(connect=PATIENCE, read=PATIENCE, write=0.1, pool=PATIENCE)
    with unread_url() as url:
        async with adapter.client(url, timeout=waits, **SETTINGS) as client:
            with pytest.raises(APIError, match="send: the peer accepted no bytes") as caught:
                async with client.messages.stream(**CALL, system=SECRET * 1_000_000):
                    pass
            assert_no_secret(caught.value)


@driven
async def test_the_error_of_an_invalid_argument_shows_no_key(adapter: Adapter) -> None:
    async with adapter.client("http://127.0.0.1:1", **SETTINGS) as client:
        with pytest.raises(ValueError, match="top_p") as caught:
            client.messages.stream(**ask(top_p=float("nan")))
    for each in chain_of(caught.value):
        for frame in frames_of(each.__traceback__):
            for name, value in frame.f_locals.items():
                assert SECRET not in repr(value), f"{frame.f_code.co_qualname}: {name}"


# The logs of libraries.


@driven
async def test_httpx_logs_the_query_of_urls_unless_its_log_level_is_raised(
    adapter: Adapter, raw_server: StartServer, caplog: pytest.LogCaptureFixture
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
