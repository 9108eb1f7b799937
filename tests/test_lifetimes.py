"""Test on each adapter that a stream keeps its connection until its end, and then releases it."""

import _thread
import asyncio
import gc
import importlib
import operator
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterable
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
from sansio_stream_adapters._concurrency import to_its_end
from servers import PATIENCE, TLS, Do, RawServer, Sleep, chunk, head, response
from wire import HELLO, body

pytestmark = pytest.mark.usefixtures("nothing_is_left_open")

StartServer = Callable[..., RawServer]

WHOLE: Final = body(*HELLO)
HALF: Final = body(*HELLO[:4])
"""The frames up to the text "Hel"."""
REST: Final = body(*HELLO[4:])
TEXT: Final = "Hello, wörld \N{PARTY POPPER}"

SLOW: Final = [head() + chunk(HALF), Sleep(0.1), chunk(REST) + chunk(b"")]
"""A response whose end arrives long after its head."""
UNENDING: Final = [head() + chunk(HALF), Do.WAIT]
"""A response that never ends."""


@pytest.fixture(autouse=True)
def _prefer_httpx2_in_its_tests(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Use httpx2 for its own tests. A client prefers httpx if both are installed."""
    if "adapter" in request.fixturenames:
        adapter: Adapter = request.getfixturevalue("adapter")
        if adapter.libraries[0] == "httpx2":
            monkeypatch.setattr(adapter.module, "LIBRARIES", ("httpx2", "httpx"))


def client_of(adapter: Adapter, server: RawServer) -> Any:
    """Make a client with a pool of its own. No test closes this client."""
    return adapter.make(base_url=server.url, api_key="k", max_retries=0, timeout=PATIENCE)


def is_reading(stream: Any) -> bool:
    """Return whether a task or thread is reading. No public attribute shows it."""
    reading: bool = getattr(stream, "sync", stream)._is_reading
    return reading


def tasks() -> set[Any]:
    """Return the tasks of the running asyncio loop, or no tasks without one."""
    try:
        return asyncio.all_tasks()
    except RuntimeError:  # no running event loop
        return set()


# Clients without a reference to them.


async def in_a_block(adapter: Adapter, server: RawServer) -> str:
    async with client_of(adapter, server).messages.stream(**ask()) as stream:
        gc.collect()
        text: str = await stream.get_final_text()
        return text


async def in_one_expression(adapter: Adapter, server: RawServer) -> str:
    return text_of(await client_of(adapter, server).messages.stream(**ask()).get_final_message())


async def from_a_function(adapter: Adapter, server: RawServer) -> str:
    async def events() -> Any:
        client = client_of(adapter, server)
        return await client.messages.create(**ask(), stream=True)

    stream = await events()
    gc.collect()
    async for _ in stream:
        pass
    return text_of(stream.snapshot)


async def after_a_new_assignment(adapter: Adapter, server: RawServer) -> str:
    client = client_of(adapter, server)
    async with client.messages.stream(**ask()) as stream:
        async for _ in stream:
            break
        client = client_of(adapter, server)
        gc.collect()
        text: str = await stream.get_final_text()
    await client.close()
    return text


@pytest.mark.parametrize(
    "way",
    [
        in_a_block,
        in_one_expression,
        from_a_function,
        after_a_new_assignment,
    ],
    ids=lambda way: way.__name__,
)
@driven
async def test_a_stream_can_be_read_after_the_last_reference_to_its_client(
    adapter: Adapter, raw_server: StartServer, way: Any
) -> None:
    server = raw_server(SLOW)
    before = tasks()
    assert await way(adapter, server) == TEXT
    gc.collect()
    await adapter.until_closed(server)  # the pool of the client is closed along with the stream
    await adapter.until(lambda: tasks() <= before, "no new tasks are left")


def test_objects_dropped_when_the_loop_ends_are_closed(
    adapter: Adapter, raw_server: StartServer
) -> None:
    server = raw_server([response(WHOLE)], UNENDING)

    async def leave_everything_open() -> None:
        client = client_of(adapter, server)
        async with client.messages.stream(**ask()) as stream:
            await stream.until_done()
        dropped = await client.messages.create(**ask(), stream=True)
        async for _ in dropped:
            break

    adapter.run(leave_everything_open)
    server.wait_until_closed(1 if adapter.pools else 2)


# Streams without a reference to them.


@pytest.mark.parametrize("as_garbage", [False, True], ids=["at once", "as garbage"])
@pytest.mark.parametrize("events", [0, 1])
@driven
async def test_a_dropped_stream_releases_its_connection(
    adapter: Adapter, raw_server: StartServer, events: int, as_garbage: bool
) -> None:
    server = raw_server(UNENDING)
    before = tasks()
    async with adapter.client(server.url, limit=2) as client:
        for _ in range(5):
            references: list[Any] = [await client.messages.create(**ask(), stream=True)]
            if as_garbage:
                references.append(references)
            for _ in range(events):
                await anext(references[0])
            del references
            if as_garbage:
                gc.collect()
        await adapter.until_closed(server, 5)
        await adapter.until(lambda: tasks() <= before, "no new tasks are left")


@driven
async def test_a_dropped_stream_ends_its_recording(
    adapter: Adapter, raw_server: StartServer, tmp_path: Path
) -> None:
    server = raw_server(UNENDING)
    path = tmp_path / "answer.capture.jsonl"
    async with adapter.client(server.url) as client:
        await client.messages.create(**ask(), stream=True, record_to=path)
        await adapter.until(
            lambda: b"closed by the reader" in path.read_bytes(), "the end of the recording"
        )
        await adapter.until_closed(server)


# Closing.


@asynccontextmanager
async def http2_client(adapter: Adapter, url: str, tls: TLS, **settings: Any) -> AsyncIterator[Any]:
    """Yield a client that speaks HTTP/2. Skip the test if the adapter has none."""
    if not adapter.libraries[0].startswith("httpx"):
        pytest.skip("only httpx speaks HTTP/2")
    pytest.importorskip("h2", reason="httpx needs h2 for HTTP/2")
    kind = adapter.library.AsyncClient if adapter.loop else adapter.library.Client
    http = kind(verify=tls.client, http2=True)
    async with http if adapter.loop else AsyncFacade(http):
        yield adapter.make(base_url=url, http_client=http, max_retries=0, **settings)


async def read_and_leave(adapter: Adapter, manager: Any) -> None:
    """Read in one thread or task, and leave the `with` block in another one."""
    stream = await manager.__aenter__()

    async def read() -> None:
        with pytest.raises(IncompleteMessageError, match="closed before its end"):
            async for _ in stream:
                pass

    async def leave() -> None:
        await adapter.until(
            lambda: is_reading(stream) and stream.snapshot and text_of(stream.snapshot),
            "the reader waits for more",
        )
        await manager.__aexit__(None, None, None)

    await adapter.gather(read, leave)
    assert text_of(stream.snapshot)


@driven
async def test_leaving_the_block_wakes_a_blocked_reader(
    adapter: Adapter, raw_server: StartServer
) -> None:
    server = raw_server(UNENDING)
    async with adapter.client(server.url, timeout=None) as client:
        await read_and_leave(adapter, client.messages.stream(**ask()))
        await adapter.until_closed(server)


@driven
async def test_over_http2_leaving_the_block_ends_a_read_at_the_next_bytes(
    adapter: Adapter, http2_example_server: str, tls: TLS
) -> None:
    async with http2_client(adapter, http2_example_server, tls) as client:
        await read_and_leave(adapter, client.messages.stream(**ask("text", fault="ping-stall")))
        async with client.messages.stream(**ask("text")) as stream:
            assert await stream.get_final_message() == message_of("text")


@driven
async def test_a_closed_stream_cannot_be_opened(adapter: Adapter, raw_server: StartServer) -> None:
    server = raw_server(UNENDING)
    async with adapter.client(server.url) as client:
        stream = await client.messages.create(**ask(), stream=True)
        assert (await anext(stream)).type == "message_start"
        await stream.close()
        for _ in range(2):
            with pytest.raises(IncompleteMessageError, match="closed before its end") as caught:
                await stream.open()
            assert caught.value.partial_message == stream.snapshot
        assert (await anext(stream)).type == "content_block_start"  # it was received before
        await adapter.until_closed(server)


@driven
async def test_a_second_reader_is_refused_and_the_first_one_reads_on(
    adapter: Adapter, raw_server: StartServer
) -> None:
    second_was_refused = threading.Event()
    server = raw_server([head() + chunk(HALF), second_was_refused, chunk(REST) + chunk(b"")])
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
                    "the first reader waits for more",
                )
                for read in (partial(anext, stream), stream.get_final_message, stream.open):
                    with pytest.raises(RuntimeError, match="another task is reading"):
                        await read()
            finally:
                second_was_refused.set()
            return ""

        assert await adapter.gather(first, second) == [TEXT, ""]
        assert await stream.get_final_text() == TEXT


# Many streams.


async def misuse(adapter: Adapter, client: Any, way: int) -> None:
    """Open a stream and do not close it properly."""
    match way % 4:
        case 0:
            await client.messages.create(**ask(), stream=True)
        case 1:
            references: list[Any] = [await client.messages.create(**ask(), stream=True)]
            await anext(references[0])
            references.append(references)
            del references
            gc.collect()  # without it, later requests may wait for a connection of the pool
        case 2:

            async def read_on(is_about_to_wait: Callable[[], object]) -> None:
                async for _ in await client.messages.create(**ask(), stream=True):
                    is_about_to_wait()

            await adapter.interrupted(read_on)
        case _:
            await read_and_leave(adapter, client.messages.stream(**ask()))


def counts(adapter: Adapter, server: RawServer) -> tuple[int, int, int, int]:
    """Return the numbers of dropped streams, open files, threads and tasks.

    The number of open files is 0 if there is no /proc.
    """
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
async def test_streams_leave_nothing_open_even_if_a_third_of_them_is_misused(
    adapter: Adapter, raw_server: StartServer
) -> None:
    times = 1000 if os.environ.get("HYPOTHESIS_PROFILE") == "deep" else 12
    first = 12
    scripts = [[response(WHOLE)], [response(WHOLE)], UNENDING] * ((first + times) // 3)
    server = raw_server(*scripts)
    async with adapter.client(server.url, limit=4) as client:

        async def use(numbers: Iterable[int]) -> None:
            for number in numbers:
                if number % 3 == 2:
                    await misuse(adapter, client, number // 3)
                else:
                    async with client.messages.stream(**ask()) as stream:
                        assert await stream.get_final_text() == TEXT
            gc.collect()
            await adapter.until(
                lambda: server.threads <= adapter.pools, "all connections but the pooled one close"
            )

        await use(range(first))
        before = counts(adapter, server)
        await use(range(first, len(scripts)))
        await adapter.until(
            lambda: all(map(operator.le, counts(adapter, server), before)),
            "the counts are as low as before",
        )
        assert len(server.requests) == len(scripts)


# Async generators of httpx. If they are not closed, the event loop has to close them.


@driven
async def test_a_body_that_cannot_be_decoded_leaves_nothing_to_the_loop(
    adapter: Adapter, raw_server: StartServer
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
async def test_a_stream_left_early_over_http2_leaves_nothing_to_the_loop(
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
async def test_over_http2_a_dropped_stream_does_not_close_the_connection_of_the_others(
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
        await adapter.until(lambda: tasks() <= before, "no new tasks are left")


@pytest.mark.parametrize("is_read_whole", [True, False], ids=["whole", "break"])
@driven
async def test_a_connection_is_free_after_a_cancellation_while_its_response_was_closed(
    adapter: Adapter, example_server: str, is_read_whole: bool
) -> None:
    if not (adapter.libraries[0].startswith("httpx") and adapter.loop == "asyncio"):
        pytest.skip("only httpx closes a response in several steps, and shields them in trio")
    closing, has_cancelled = asyncio.Event(), asyncio.Event()

    async def trace(step: str, _: object) -> None:
        if step.endswith("response_closed.started"):
            closing.set()
            await has_cancelled.wait()

    async def trace_request(request: Any) -> None:
        request.extensions["trace"] = trace

    http = adapter.library.AsyncClient(
        limits=adapter.library.Limits(max_connections=1),
        event_hooks={"request": [trace_request]},
    )

    async def read() -> None:
        async with client.messages.stream(**ask("text")) as stream:
            async for _ in stream:
                if not is_read_whole:
                    break

    async with http:
        client = adapter.make(
            base_url=example_server, http_client=http, max_retries=0, timeout=PATIENCE
        )
        task = asyncio.create_task(read())
        await closing.wait()
        task.cancel()
        has_cancelled.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with client.messages.stream(**ask("text")) as stream:
            assert await stream.get_final_message() == message_of("text")


@pytest.mark.parametrize("library", ["httpx", "httpx2"])
def test_a_second_stream_of_a_response_reads_it_if_the_first_one_has_not(
    library: str, raw_server: StartServer
) -> None:
    httpx = pytest.importorskip(library, reason=f"this test needs {library}")
    adapters = importlib.import_module("sansio_stream_adapters.httpx")
    server = raw_server([response(WHOLE)])

    async def main() -> None:
        async with httpx.AsyncClient() as http, http.stream("POST", server.url) as answer:
            first = adapters.from_async_response(answer)
            second = adapters.from_async_response(answer)
            assert await second.get_final_text() == TEXT
            await first.close()

    asyncio.run(main())


def test_an_action_goes_to_its_end_and_only_a_second_cancellation_does_not_wait_for_it() -> None:
    ended: list[str] = []

    async def main(cancellations: int) -> None:
        begun, go_on, end = asyncio.Event(), asyncio.Event(), asyncio.Event()

        async def action() -> None:
            begun.set()
            await go_on.wait()
            ended.append("action")
            end.set()

        task = asyncio.create_task(to_its_end(action))
        task.add_done_callback(lambda _: ended.append("wait"))
        await begun.wait()
        for _ in range(cancellations):
            assert task.cancel()
            for _ in range(10):
                await asyncio.sleep(0)
        go_on.set()
        await end.wait()
        with pytest.raises(asyncio.CancelledError):
            await task

    for cancellations in (1, 2):
        asyncio.run(main(cancellations))
    assert ended == ["action", "wait", "wait", "action"]


# Clients of the library that the caller has made.


def client_with_timeout(adapter: Adapter, seconds: float | None) -> Any:
    """Make a client of the library with this timeout. None means the library's default."""
    if not adapter.pools:
        pytest.skip("this adapter does not take a client of the caller")
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
async def test_the_timeouts_of_a_client_of_the_caller_apply(
    adapter: Adapter, raw_server: StartServer
) -> None:
    server = raw_server(UNENDING)
    http = client_with_timeout(adapter, 0.2)
    client = adapter.make(base_url=server.url, http_client=http, max_retries=0)
    with pytest.raises(APITimeoutError):
        async with client.messages.stream(**ask()) as stream:
            await stream.until_done()
    await closed(http)


@driven
async def test_explicit_timeouts_replace_those_of_a_client_of_the_caller(
    adapter: Adapter, raw_server: StartServer
) -> None:
    server = raw_server([head() + chunk(HALF), Sleep(0.3), chunk(REST) + chunk(b"")])
    http = client_with_timeout(adapter, 0.1)
    for settings, more in (({"timeout": PATIENCE}, {}), ({}, {"timeout": PATIENCE})):
        client = adapter.make(base_url=server.url, http_client=http, max_retries=0, **settings)
        async with client.messages.stream(**ask(), **more) as stream:
            assert await stream.get_final_text() == TEXT
    await closed(http)


@driven
async def test_the_default_timeouts_of_the_library_do_not_apply(adapter: Adapter) -> None:
    http = client_with_timeout(adapter, None)
    client = adapter.make(http_client=http)
    assert getattr(client, "sync", client).timeout == Timeout()
    await closed(http)


@pytest.mark.parametrize("library", ["httpx", "httpx2"])
def test_a_redirect_followed_by_a_client_of_the_caller_sends_the_key(
    library: str, raw_server: StartServer
) -> None:
    httpx = pytest.importorskip(library, reason=f"this test needs {library}")
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
        assert text_of(client.messages.stream(**ask()).get_final_message()) == TEXT
    sent = other.requests[0].headers
    assert sent["x-api-key"] == "k"
    assert "authorization" not in sent
    page = (Path(__file__).parent.parent / "docs" / "clients.md").read_text()
    assert "`follow_redirects=True` sends `x-api-key` to the other host, too" in page
