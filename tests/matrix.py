"""Run one async scenario with every adapter, in the way that the users of that adapter run it.

A synchronous client gets an asynchronous facade. Its scenario runs without an event loop: each
`await` calls the synchronous method and is done at once.
"""

import asyncio
import gc
import importlib
import inspect
import signal
import ssl
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from functools import cache, partial, wraps
from typing import Any, Final, Literal, Self, TypeVar

import attrs
import pytest

from sansio_stream import APIError, Message, StreamMachine, TextBlock, parse_capture
from sansio_stream_adapters import Stream, _client
from sansio_stream_adapters._opening import Opening
from servers import (
    EXAMPLES,
    PATIENCE,
    RawServer,
    interrupt,
    signalling,
    while_main_receives,
)

__all__ = [
    "ADAPTERS",
    "PROMPT",
    "Adapter",
    "AsyncFacade",
    "adapter",
    "ask",
    "delays",
    "driven",
    "machine_of",
    "message_of",
    "nothing_is_left_open",
    "raised_by",
    "run_without_loop",
    "text_of",
]

Result = TypeVar("Result")

PROMPT: Final = {"role": "user", "content": "Why is the sea salty?"}

PATIENCE_IN_ALL: Final = 2 * PATIENCE
"""Seconds until a scenario fails. A single wait fails sooner, with a more precise message."""


class AsyncFacade:
    """The asynchronous counterpart of a synchronous object of the API."""

    AWAITED: Final = frozenset(
        {"aclose", "close", "create", "get_final_message", "get_final_text", "open", "until_done"}
    )
    WRAPPED: Final = frozenset({"beta", "messages", "text_stream"})

    def __init__(self, sync: Any) -> None:
        self.sync = sync

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.sync, name)
        if name in self.AWAITED:
            return partial(self._awaited, value)
        if name == "stream":
            return lambda **params: AsyncFacade(value(**params))
        return AsyncFacade(value) if name in self.WRAPPED else value

    @staticmethod
    async def _awaited(call: Callable[..., Any], **params: Any) -> Any:
        value = call(**params)
        return AsyncFacade(value) if isinstance(value, Stream) else value

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        for value in self.sync:
            return value
        raise StopAsyncIteration

    async def __aenter__(self) -> Self:
        return type(self)(self.sync.__enter__())

    async def __aexit__(self, *exc: object) -> Any:
        return self.sync.__exit__(*exc)


def run_without_loop(coroutine: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine that never suspends."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: Result = end.value
        return result
    coroutine.close()
    raise AssertionError("a coroutine of a synchronous client has suspended")


@attrs.frozen(kw_only=True)
class Adapter:
    """An adapter with one of its libraries and one of its event loops.

    Attributes:
        name: the id of the test parameter.
        module_name: the module of the adapter.
        column: the header of its column in the table of docs/clients.md.
        libraries: the libraries that must be installed. `http_client` uses the first one.
        loop: the library that runs the event loop; empty for a synchronous adapter.
        pools: whether a connection can serve several requests.
    """

    name: str
    module_name: str
    column: str
    libraries: tuple[str, ...]
    loop: Literal["", "asyncio", "trio"] = ""
    pools: bool = True

    # Modules, imported on first use.

    def require(self) -> None:
        """Skip the test if a library is missing."""
        for library in self.libraries:
            pytest.importorskip(library, reason=f"{self.name} needs {library}")
        pytest.importorskip(self.module_name, reason=f"{self.module_name} is not installed")

    @property
    def module(self) -> Any:
        """The module of the adapter."""
        return importlib.import_module(self.module_name)

    @property
    def library(self) -> Any:
        """The HTTP library. For an adapter without one, the first of its libraries."""
        return importlib.import_module(self.libraries[0])

    # Clients.

    @asynccontextmanager
    async def client(
        self,
        url: str,
        *,
        tls: ssl.SSLContext | None = None,
        limit: int | None = None,
        trust_env: bool = False,
        **settings: Any,
    ) -> AsyncIterator[Any]:
        """Make a client. By default it does not retry, and its timeout is `PATIENCE`.

        Args:
            url: the base URL.
            tls: the context of the client's TLS connections.
            limit: the maximum number of connections in its pool.
            trust_env: whether a session of aiohttp that `tls` needs uses the proxies of the
                environment. The other clients always do.
            settings: further arguments of the client.
        """
        settings = {"api_key": "k", "max_retries": 0, "timeout": PATIENCE, **settings}
        http = self.http_client(tls, limit, trust_env=trust_env)
        if http is not None:
            settings["http_client"] = http
        elif not self.pools:
            settings["ssl_context"] = tls or ssl.create_default_context()
        try:
            async with self.make(base_url=url, **settings) as client:
                yield client
        finally:
            if http is not None:
                close = http.aclose if hasattr(http, "aclose") else http.close
                closed = close()
                if inspect.isawaitable(closed):
                    await closed

    def make(self, **settings: Any) -> Any:
        """Make a client with these arguments only."""
        if self.loop:
            return self.module.AsyncClient(**settings)
        return AsyncFacade(self.module.Client(**settings))

    def http_client(
        self,
        tls: ssl.SSLContext | None = None,
        limit: int | None = None,
        *,
        trust_env: bool = False,
    ) -> Any:
        """Make a client of the library, or None if the adapter's default one is enough."""
        if not self.pools:
            return None
        if self.libraries[0] == "aiohttp":
            if tls is None and limit is None:
                return None
            connector = self.library.TCPConnector(ssl=tls or True, limit=limit or 100)
            return self.library.ClientSession(connector=connector, trust_env=trust_env)
        if self.libraries[0] == "httpx" and tls is None and limit is None:
            return None
        kind = self.library.AsyncClient if self.loop else self.library.Client
        limits = self.library.Limits(max_connections=limit)
        return kind(verify=True if tls is None else tls, limits=limits)

    # Running.

    def run(self, scenario: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
        """Run a scenario. It fails after `PATIENCE_IN_ALL` seconds."""
        if self.loop == "asyncio":
            return asyncio.run(asyncio.wait_for(scenario(), PATIENCE_IN_ALL))
        if self.loop == "trio":
            import trio

            async def in_time() -> Result:
                with trio.fail_after(PATIENCE_IN_ALL):
                    return await scenario()

            result: Result = trio.run(in_time)
            return result
        with alarm_after_patience():
            return run_without_loop(scenario())

    async def gather(self, *actions: Callable[[], Coroutine[Any, Any, Result]]) -> list[Result]:
        """Run all actions at the same time, in tasks or in threads. Return their results."""
        if self.loop == "asyncio":
            return list(await asyncio.gather(*(action() for action in actions)))
        if self.loop == "trio":
            import trio

            results: dict[int, Result] = {}

            async def keep(number: int, action: Callable[[], Awaitable[Result]]) -> None:
                results[number] = await action()

            async with trio.open_nursery() as nursery:
                for number, action in enumerate(actions):
                    nursery.start_soon(keep, number, action)
            return [results[number] for number in range(len(actions))]
        with ThreadPoolExecutor(len(actions)) as pool:
            return list(pool.map(lambda action: run_without_loop(action()), actions))

    async def sleep(self, seconds: float) -> None:
        """Suspend the task, or block the thread if there is no loop."""
        if self.loop:
            await importlib.import_module(self.loop).sleep(seconds)
        else:
            time.sleep(seconds)  # noqa: ASYNC251  (there is no loop)

    async def until(self, is_true: Callable[[], object], what: str) -> None:
        """Return when a condition is true. Meanwhile the loop goes on.

        It fails after `PATIENCE` seconds.

        Args:
            is_true: the condition.
            what: a description of the condition, for the failure.
        """
        patience = time.monotonic() + PATIENCE
        while not is_true():
            assert time.monotonic() < patience, f"still not true after {PATIENCE} s: {what}"
            await self.sleep(0.002)

    async def until_closed(self, server: RawServer, connections: int = 1) -> None:
        """Return when at least so many connections were accepted and all are closed."""
        await self.until(
            lambda: server.connections >= connections and not server.open_connections,
            "connections are closed",
        )

    async def interrupted(
        self,
        action: Callable[[Callable[[], object]], Coroutine[Any, Any, object]],
        *,
        once: Callable[[], object] = lambda: True,
    ) -> None:
        """Cancel an action, or press Ctrl-C, while it waits for something that never comes.

        Returns after the action has raised the interruption. Fails if it does not raise it.

        Args:
            action: calls its argument before it begins to wait.
            once: a condition for the interruption. It becomes true while the action waits.
        """
        if self.loop == "asyncio":
            waiting = asyncio.Event()
            task = asyncio.create_task(action(waiting.set))
            await waiting.wait()  # before this returns, the task runs until it waits
            await self.until(once, "the condition for the interruption")
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        elif self.loop == "trio":
            import trio
            import trio.testing

            outcome: list[type[BaseException] | None] = [None]

            async def note() -> None:
                try:
                    await action(trio_waiting.set)
                except BaseException as exc:
                    outcome[0] = type(exc)
                    raise

            trio_waiting = trio.Event()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(note)
                await trio_waiting.wait()
                await self.until(once, "the condition for the interruption")
                await trio.testing.wait_all_tasks_blocked()
                nursery.cancel_scope.cancel()
            assert outcome == [trio.Cancelled]
        else:
            begun: list[bool] = []
            with (
                signalling(interrupt) as press,
                while_main_receives(press, has_come=lambda: begun, and_then=once),
                pytest.raises(KeyboardInterrupt),
            ):
                await action(lambda: begun.append(True))


@contextmanager
def alarm_after_patience() -> Iterator[None]:
    """Fail if the block takes more than `PATIENCE_IN_ALL` seconds. Do nothing without SIGALRM."""

    def give_up(*_: object) -> None:
        pytest.fail(f"the scenario was not done after {PATIENCE_IN_ALL} s")

    if not hasattr(signal, "SIGALRM"):
        yield
        return
    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(PATIENCE_IN_ALL)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


HTTPX: Final = "sansio_stream_adapters.httpx"

ADAPTERS: Final = (
    Adapter(
        name="httpx",
        module_name=HTTPX,
        column="`httpx.Client`",
        libraries=("httpx",),
    ),
    Adapter(
        name="httpx2",
        module_name=HTTPX,
        column="`httpx.Client`",
        libraries=("httpx2",),
    ),
    Adapter(
        name="sockets",
        module_name="sansio_stream_adapters.sockets",
        column="`sockets.Client`",
        libraries=("h11",),
        pools=False,
    ),
    Adapter(
        name="httpx-asyncio",
        module_name=HTTPX,
        column="`httpx.AsyncClient`",
        libraries=("httpx",),
        loop="asyncio",
    ),
    Adapter(
        name="httpx-trio",
        module_name=HTTPX,
        column="`httpx.AsyncClient`",
        libraries=("httpx", "trio"),
        loop="trio",
    ),
    Adapter(
        name="httpx2-asyncio",
        module_name=HTTPX,
        column="`httpx.AsyncClient`",
        libraries=("httpx2",),
        loop="asyncio",
    ),
    Adapter(
        name="aiohttp",
        module_name="sansio_stream_adapters.aiohttp",
        column="`aiohttp.AsyncClient`",
        libraries=("aiohttp",),
        loop="asyncio",
    ),
    Adapter(
        name="trio",
        module_name="sansio_stream_adapters.trio",
        column="`trio.AsyncClient`",
        libraries=("trio", "h11"),
        loop="trio",
        pools=False,
    ),
)


def ask(model: str = "text", *, fault: str | None = None, **params: Any) -> dict[str, Any]:
    """Return the parameters of a request.

    The server that replays the examples selects an example by `model` and a fault by `fault`.
    """
    headers = {} if fault is None else {"extra_headers": {"x-fault": fault}}
    return {"model": model, "max_tokens": 64, "messages": [PROMPT], **headers, **params}


@cache
def machine_of(name: str) -> tuple[StreamMachine, list[Any]]:
    """Return a machine that has read an example, and its events. Tests only read both."""
    capture = parse_capture((EXAMPLES / f"{name}.capture.jsonl").read_bytes())
    machine = StreamMachine()
    events = [*machine.receive_data(capture.body), *machine.receive_eof()]
    return machine, events


def message_of(name: str) -> Message:
    """Return the message of an example."""
    return machine_of(name)[0].final_message()


def text_of(message: Message | None) -> str:
    """Return the text of a message, which may be partial."""
    assert message is not None
    return "".join(block.text for block in message.content if isinstance(block, TextBlock))


async def raised_by(client: Any, call: dict[str, Any]) -> APIError:
    """Return the APIError that opening a stream, or reading it to its end, raises."""
    with pytest.raises(APIError) as caught:
        async with client.messages.stream(**call) as stream:
            await stream.until_done()
    return caught.value


def driven(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Make a test of a scenario with the argument `adapter`. It runs once with each adapter."""

    @wraps(test)
    def driven_test(adapter: Adapter, **fixtures: Any) -> None:
        adapter.require()
        adapter.run(partial(test, adapter=adapter, **fixtures))

    return driven_test


# Fixtures. `conftest` makes them available to all tests.


@pytest.fixture(params=ADAPTERS, ids=lambda adapter: adapter.name)
def adapter(request: pytest.FixtureRequest) -> Adapter:
    """Each adapter in turn. It is skipped if one of its libraries is missing."""
    found: Adapter = request.param
    found.require()
    return found


@pytest.fixture
def nothing_is_left_open(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Fail if asyncio or aiohttp logs an unclosed resource or an exception that was not caught."""
    yield
    gc.collect(1)  # an unclosed resource causes a warning, which fails the test
    main = threading.main_thread().ident  # servers run in other threads and may log
    logged = [record.getMessage() for record in caplog.records if record.thread == main]
    assert logged == []


@pytest.fixture
def delays(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The delays between attempts, in seconds. Clients record them here and do not wait."""
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr(_client, "sleep", sleep)
    monkeypatch.setattr(Opening, "wait", lambda _, seconds: waited.append(seconds))
    return waited
