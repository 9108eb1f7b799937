"""A stream holds what it needs for as long as it needs it, and leaves nothing, on each adapter."""

import _thread
import asyncio
import gc
import importlib
import operator
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest

from matrix import Adapter, AsyncFacade, ask, driven, message_of, text_of
from sansio_stream_adapters import (
    APIError,
    APITimeoutError,
    IncompleteMessageError,
    Timeout,
    _dropped,
)
from servers import PATIENCE, TLS, Do, RawServer, Sleep, chunk, head, response
from wire import HELLO, body

pytestmark = pytest.mark.usefixtures("certificates_are_read_once", "nothing_is_left_open")

RawServers = Callable[..., RawServer]

WHOLE: Final = body(*HELLO)
HALF: Final = body(*HELLO[:4])
"""Up to the text "Hel"."""
REST: Final = body(*HELLO[4:])
SAID: Final = "Hello, wörld \N{PARTY POPPER}"

SLOWLY: Final = [head() + chunk(HALF), Sleep(0.1), chunk(REST) + chunk(b"")]
"""The end comes when the head has been read for long."""
UNENDING: Final = [head() + chunk(HALF), Do.WAIT]


@pytest.fixture(autouse=True, scope="module")
def _collections_are_quick() -> Iterator[None]:
    """What was there before these tests is not looked at: they collect garbage often."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(autouse=True)
def _httpx2_is_taken_where_it_is_meant(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client without a client of the caller's takes httpx, where both are installed."""
    if "adapter" in request.fixturenames:
        adapter: Adapter = request.getfixturevalue("adapter")
        if adapter.libraries[0] == "httpx2":
            monkeypatch.setattr(adapter.module, "LIBRARIES", ("httpx2", "httpx"))


def own(adapter: Adapter, server: RawServer) -> Any:
    """A client that has made its pool itself, and that nobody closes."""
    return adapter.make(base_url=server.url, api_key="k", max_retries=0, timeout=PATIENCE)


def is_reading(stream: Any) -> bool:
    """Whether somebody reads from the connection; nobody else knows it."""
    reading: bool = getattr(stream, "sync", stream)._is_reading
    return reading


def tasks() -> set[Any]:
    """The tasks of asyncio, if it runs us."""
    try:
        return asyncio.all_tasks()
    except RuntimeError:  # no running event loop
        return set()


# A client that nobody holds any more.


async def the_block(adapter: Adapter, server: RawServer) -> str:
    async with own(adapter, server).messages.stream(**ask()) as stream:
        gc.collect()
        text: str = await stream.get_final_text()
        return text


async def one_expression(adapter: Adapter, server: RawServer) -> str:
    return text_of(await own(adapter, server).messages.stream(**ask()).get_final_message())


async def a_function_that_returns_the_stream(adapter: Adapter, server: RawServer) -> str:
    async def events() -> Any:
        client = own(adapter, server)
        return await client.messages.create(**ask(), stream=True)

    stream = await events()
    gc.collect()
    async for _ in stream:
        pass
    return text_of(stream.snapshot)


async def a_variable_that_is_bound_anew(adapter: Adapter, server: RawServer) -> str:
    client = own(adapter, server)
    async with client.messages.stream(**ask()) as stream:
        async for _ in stream:
            break
        client = own(adapter, server)
        gc.collect()
        text: str = await stream.get_final_text()
    await client.close()
    return text


@pytest.mark.parametrize(
    "way",
    [
        the_block,
        one_expression,
        a_function_that_returns_the_stream,
        a_variable_that_is_bound_anew,
    ],
    ids=lambda way: way.__name__,
)
@driven
async def test_a_stream_outlives_the_variable_of_its_client(
    adapter: Adapter, raw_server: RawServers, way: Any
) -> None:
    server = raw_server(SLOWLY)
    before = tasks()
    assert await way(adapter, server) == SAID
    gc.collect()
    await adapter.until_closed(server)  # with the stream, its client's pool has gone
    await adapter.until(lambda: tasks() <= before, "nothing is done any more")


def test_what_is_dropped_in_the_last_step_of_a_loop_is_closed(
    adapter: Adapter, raw_server: RawServers
) -> None:
    server = raw_server([response(WHOLE)], UNENDING)

    async def leave_all_behind() -> None:
        client = own(adapter, server)
        async with client.messages.stream(**ask()) as stream:
            await stream.until_done()
        dropped = await client.messages.create(**ask(), stream=True)
        async for _ in dropped:
            break

    adapter.run(leave_all_behind)
    server.wait_until_closed(1 if adapter.pools else 2)


# A stream that nobody holds any more.


@pytest.mark.parametrize("as_garbage", [False, True], ids=["at once", "as garbage"])
@pytest.mark.parametrize("events", [0, 1])
@driven
async def test_a_stream_that_is_dropped_gives_its_connection_back(
    adapter: Adapter, raw_server: RawServers, events: int, as_garbage: bool
) -> None:
    server = raw_server(UNENDING)
    before = tasks()
    async with adapter.client(server.url, limit=2) as client:
        for _ in range(5):
            held: list[Any] = [await client.messages.create(**ask(), stream=True)]
            if as_garbage:
                held.append(held)
            for _ in range(events):
                await anext(held[0])
            del held
            if as_garbage:
                gc.collect()
        await adapter.until_closed(server, 5)
        await adapter.until(lambda: tasks() <= before, "nothing is done any more")


@driven
async def test_a_stream_that_is_dropped_ends_its_recording(
    adapter: Adapter, raw_server: RawServers, tmp_path: Path
) -> None:
    server = raw_server(UNENDING)
    path = tmp_path / "answer.capture.jsonl"
    async with adapter.client(server.url) as client:
        await client.messages.create(**ask(), stream=True, record_to=path)
        await adapter.until(lambda: b"closed by the reader" in path.read_bytes(), "it is ended")
        await adapter.until_closed(server)


# Closing.


@asynccontextmanager
async def http2_client(adapter: Adapter, url: str, tls: TLS, **settings: Any) -> AsyncIterator[Any]:
    """A client that speaks HTTP/2; skips the test where there is none."""
    if not adapter.libraries[0].startswith("httpx"):
        pytest.skip("only httpx speaks HTTP/2")
    pytest.importorskip("h2", reason="httpx speaks HTTP/2 by h2")
    kind = adapter.library.AsyncClient if adapter.loop else adapter.library.Client
    http = kind(verify=tls.client, http2=True)
    async with http if adapter.loop else AsyncFacade(http):
        yield adapter.make(base_url=url, http_client=http, max_retries=0, **settings)


async def read_and_leave(adapter: Adapter, manager: Any) -> None:
    """Read in one thread, or task, and leave the `with` in another one."""
    stream = await manager.__aenter__()

    async def read() -> None:
        with pytest.raises(IncompleteMessageError, match="closed before its end"):
            async for _ in stream:
                pass

    async def leave() -> None:
        await adapter.until(
            lambda: is_reading(stream) and stream.snapshot and text_of(stream.snapshot),
            "somebody waits for more",
        )
        await manager.__aexit__(None, None, None)

    await adapter.gather(read, leave)
    assert text_of(stream.snapshot)


@driven
async def test_who_leaves_the_block_wakes_whoever_reads_in_it(
    adapter: Adapter, raw_server: RawServers
) -> None:
    server = raw_server(UNENDING)
    async with adapter.client(server.url, timeout=None) as client:
        await read_and_leave(adapter, client.messages.stream(**ask()))
        await adapter.until_closed(server)


@driven
async def test_over_http2_who_leaves_the_block_ends_the_read_with_the_next_bytes(
    adapter: Adapter, http2_example_server: str, tls: TLS
) -> None:
    async with http2_client(adapter, http2_example_server, tls) as client:
        await read_and_leave(adapter, client.messages.stream(**ask("text", fault="ping-stall")))
        async with client.messages.stream(**ask("text")) as stream:
            assert await stream.get_final_message() == message_of("text")


@driven
async def test_what_was_closed_cannot_be_opened(adapter: Adapter, raw_server: RawServers) -> None:
    server = raw_server(UNENDING)
    async with adapter.client(server.url) as client:
        stream = await client.messages.create(**ask(), stream=True)
        assert (await anext(stream)).type == "message_start"
        await stream.close()
        for _ in range(2):
            with pytest.raises(IncompleteMessageError, match="closed before its end") as caught:
                await stream.open()
            assert caught.value.partial_message == stream.snapshot
        assert (await anext(stream)).type == "content_block_start"  # it had come
        await adapter.until_closed(server)


@driven
async def test_a_second_reader_is_refused_and_the_first_one_reads_on(
    adapter: Adapter, raw_server: RawServers
) -> None:
    go_on = threading.Event()
    server = raw_server([head() + chunk(HALF), go_on, chunk(REST) + chunk(b"")])
    async with (
        adapter.client(server.url) as client,
        client.messages.stream(**ask()) as stream,
    ):

        async def first() -> str:
            text: str = await stream.get_final_text()
            return text

        async def second() -> str:
            try:
                await adapter.until(
                    lambda: is_reading(stream) and stream.snapshot and text_of(stream.snapshot),
                    "the first one waits for more",
                )
                for read in (partial(anext, stream), stream.get_final_message, stream.open):
                    with pytest.raises(RuntimeError, match="another task is reading"):
                        await read()
            finally:
                go_on.set()
            return ""

        assert await adapter.gather(first, second) == [SAID, ""]
        assert await stream.get_final_text() == SAID


# Many of them.


async def mistreat(adapter: Adapter, client: Any, way: int) -> None:
    """Open a stream, and do with it what nobody should."""
    match way % 4:
        case 0:
            await client.messages.create(**ask(), stream=True)
        case 1:
            held: list[Any] = [await client.messages.create(**ask(), stream=True)]
            await anext(held[0])
            held.append(held)
            del held
            gc.collect()  # else some time, while requests wait for the pool
        case 2:

            async def read_on(is_about_to_wait: Callable[[], object]) -> None:
                async for _ in await client.messages.create(**ask(), stream=True):
                    is_about_to_wait()

            await adapter.interrupted(read_on)
        case _:
            await read_and_leave(adapter, client.messages.stream(**ask()))


def what_is_there(adapter: Adapter, server: RawServer) -> tuple[int, int, int, int]:
    """How many streams, files, threads and tasks there are, as far as the system tells."""
    gc.collect()
    files = Path("/proc/self/fd")
    living = len(tasks())
    if adapter.loop == "trio":
        living = importlib.import_module("trio").lowlevel.current_statistics().tasks_living
    return (
        len(_dropped.HELD),
        len(list(files.iterdir())) if files.is_dir() else 0,
        _thread._count() - server.threads,
        living,
    )


@driven
async def test_of_many_streams_nothing_is_left_whatever_was_done_with_a_third_of_them(
    adapter: Adapter, raw_server: RawServers
) -> None:
    times = 1000 if os.environ.get("HYPOTHESIS_PROFILE") == "deep" else 60
    first = 12
    scripts = [[response(WHOLE)], [response(WHOLE)], UNENDING] * ((first + times) // 3)
    server = raw_server(*scripts)
    async with adapter.client(server.url, limit=4) as client:

        async def use(numbers: Iterable[int]) -> None:
            for number in numbers:
                if number % 3 == 2:
                    await mistreat(adapter, client, number // 3)
                else:
                    async with client.messages.stream(**ask()) as stream:
                        assert await stream.get_final_text() == SAID
            gc.collect()
            await adapter.until(lambda: server.threads <= adapter.pools, "connections are closed")

        await use(range(first))
        before = what_is_there(adapter, server)
        await use(range(first, len(scripts)))
        await adapter.until(
            lambda: all(map(operator.le, what_is_there(adapter, server), before)),
            "all is as before",
        )
        assert len(server.requests) == len(scripts)


# Generators of httpx, which only a loop can end.


@driven
async def test_a_body_that_cannot_be_decoded_leaves_nothing_to_the_loop(
    adapter: Adapter, raw_server: RawServers
) -> None:
    headers = {"content-type": "text/event-stream", "content-encoding": "gzip"}
    server = raw_server([response(WHOLE, headers=headers)])
    async with adapter.client(server.url) as client:
        before = tasks()
        with pytest.raises(APIError):
            async with client.messages.stream(**ask()) as stream:
                await stream.until_done()
        gc.collect()
        assert tasks() <= before


@pytest.mark.parametrize("is_closed_at_once", [False, True], ids=["break", "unread"])
@driven
async def test_what_is_left_early_over_http2_leaves_nothing_to_the_loop(
    adapter: Adapter, http2_example_server: str, tls: TLS, is_closed_at_once: bool
) -> None:
    async with http2_client(adapter, http2_example_server, tls) as client:
        for _ in range(2):
            before = tasks()
            async with client.messages.stream(**ask("text")) as stream:
                assert stream.response.http_version == "HTTP/2"
                async for _ in stream:
                    if not is_closed_at_once:
                        break
            gc.collect()
            assert tasks() <= before
        async with client.messages.stream(**ask("text")) as stream:
            assert await stream.get_final_message() == message_of("text")


@driven
async def test_over_http2_a_dropped_stream_leaves_the_connection_to_the_others(
    adapter: Adapter, http2_example_server: str, tls: TLS
) -> None:
    async with http2_client(adapter, http2_example_server, tls) as client:
        before = tasks()
        for events in (0, 1, 1, 0):
            stream = await client.messages.create(**ask("text", fault="stall"), stream=True)
            for _ in range(events):
                await anext(stream)
            del stream
            async with client.messages.stream(**ask("text")) as other:
                assert await other.get_final_message() == message_of("text")
        await adapter.until(lambda: tasks() <= before, "nothing is done any more")


# The caller's own client.


def impatient(adapter: Adapter, seconds: float | None) -> Any:
    """A client of the library's, which gives up so soon; None: with the library's default."""
    if not adapter.pools:
        pytest.skip("there is no client of the caller's")
    if adapter.libraries[0] == "aiohttp":
        timeout = adapter.library.ClientTimeout(total=seconds)
        return adapter.library.ClientSession(**({} if seconds is None else {"timeout": timeout}))
    kind = adapter.library.AsyncClient if adapter.loop else adapter.library.Client
    return kind(**({} if seconds is None else {"timeout": seconds}))


async def closed(http: Any) -> None:
    closing = http.aclose() if hasattr(http, "aclose") else http.close()
    if closing is not None:
        await closing


@driven
async def test_timeouts_of_the_callers_own_client_hold(
    adapter: Adapter, raw_server: RawServers
) -> None:
    server = raw_server(UNENDING)
    http = impatient(adapter, 0.2)
    client = adapter.make(base_url=server.url, http_client=http, max_retries=0)
    with pytest.raises(APITimeoutError):
        async with client.messages.stream(**ask()) as stream:
            await stream.until_done()
    await closed(http)


@driven
async def test_timeouts_that_were_asked_for_hold_all_the_same(
    adapter: Adapter, raw_server: RawServers
) -> None:
    server = raw_server([head() + chunk(HALF), Sleep(0.3), chunk(REST) + chunk(b"")])
    http = impatient(adapter, 0.1)
    for settings, more in (({"timeout": PATIENCE}, {}), ({}, {"timeout": PATIENCE})):
        client = adapter.make(base_url=server.url, http_client=http, max_retries=0, **settings)
        async with client.messages.stream(**ask(), **more) as stream:
            assert await stream.get_final_text() == SAID
    await closed(http)


@driven
async def test_a_librarys_default_is_no_wish_of_the_caller(adapter: Adapter) -> None:
    http = impatient(adapter, None)
    client = adapter.make(http_client=http)
    assert getattr(client, "sync", client).timeout == Timeout()
    await closed(http)


@pytest.mark.parametrize("library", ["httpx", "httpx2"])
def test_a_redirect_that_the_caller_has_followed_takes_the_key_along(
    library: str, raw_server: RawServers
) -> None:
    httpx = pytest.importorskip(library, reason=f"the redirect is followed by {library}")
    other = raw_server([response(WHOLE)])
    elsewhere = {"location": f"http://localhost:{other.port}/v1/messages", "content-length": "0"}
    server = raw_server([head(307, elsewhere)])
    adapters = importlib.import_module("sansio_stream_adapters.httpx")
    with httpx.Client(follow_redirects=True) as http:
        client = adapters.Client(
            base_url=server.url,
            http_client=http,
            api_key="k",
            auth_token="not sent on",  # noqa: S106
        )
        assert text_of(client.messages.stream(**ask()).get_final_message()) == SAID
    sent = other.requests[0].headers
    assert sent["x-api-key"] == "k"
    assert "authorization" not in sent
    page = (Path(__file__).parent.parent / "docs" / "clients.md").read_text()
    assert "`follow_redirects=True` sends `x-api-key` to the other host, too" in page
