"""Every adapter, driven alike: an async scenario in, run as the users of that adapter would run it.

A synchronous client is made to seem asynchronous, and its scenario is run without any loop: all
that it awaits is there at once.
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
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from functools import cache, partial, wraps
from typing import Any, Final, Literal, Self, TypeVar
from unittest import mock

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
    "certificates_are_read_once",
    "delays",
    "drive",
    "driven",
    "machine_of",
    "message_of",
    "nothing_is_left_open",
    "raised_by",
    "text_of",
]

Result = TypeVar("Result")

PROMPT: Final = {"role": "user", "content": "Why is the sea salty?"}

PATIENCE_IN_ALL: Final = 2 * PATIENCE
"""Seconds after which a scenario is given up: longer than one wait of it, which says more."""


class AsyncFacade:
    """A synchronous object of the API that seems to be its asynchronous counterpart."""

    AWAITED: Final = frozenset(
        {"aclose", "close", "create", "get_final_message", "get_final_text", "open", "until_done"}
    )
    LEADING_ON: Final = frozenset({"beta", "messages", "text_stream"})

    def __init__(self, sync: Any) -> None:
        self.sync = sync

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.sync, name)
        if name in self.AWAITED:
            return partial(self._awaited, value)
        if name == "stream":
            return lambda **params: AsyncFacade(value(**params))
        return AsyncFacade(value) if name in self.LEADING_ON else value

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


def drive(coroutine: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine that never waits."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: Result = end.value
        return result
    coroutine.close()
    raise AssertionError("a synchronous client has waited for a loop")


@attrs.frozen(kw_only=True)
class Adapter:
    """An adapter with one of its libraries, on one of its loops.

    Attributes:
        name: of the parameter of the test.
        column: its place in the table of docs/clients.md.
        libraries: what has to be installed; the first one is what `http_client` belongs to.
        loop: what runs it.
        pools: whether a connection is used for one request after another.
    """

    name: str
    module_name: str
    column: str
    libraries: tuple[str, ...]
    loop: Literal["", "asyncio", "trio"] = ""
    pools: bool = True

    # What is imported, when it is needed.

    def require(self) -> None:
        """Skip the test if a library is missing."""
        for library in self.libraries:
            pytest.importorskip(library, reason=f"{self.name} stands on {library}")
        pytest.importorskip(self.module_name, reason=f"{self.module_name} is not there")

    @property
    def module(self) -> Any:
        """The module of the adapter."""
        return importlib.import_module(self.module_name)

    @property
    def library(self) -> Any:
        """The HTTP library, or what does its work."""
        return importlib.import_module(self.libraries[0])

    # Clients.

    @asynccontextmanager
    async def client(
        self,
        url: str,
        *,
        tls: ssl.SSLContext | None = None,
        limit: int | None = None,
        **settings: Any,
    ) -> AsyncIterator[Any]:
        """A client that retries nothing and waits not long, unless `settings` says otherwise.

        Args:
            url: the base URL.
            tls: which certificates it trusts.
            limit: how many connections its pool may hold.
            settings: for the client.
        """
        settings = {"api_key": "k", "max_retries": 0, "timeout": PATIENCE, **settings}
        http = self.http_client(tls, limit)
        if http is not None:
            settings["http_client"] = http
        elif not self.pools:
            settings["ssl_context"] = tls or context_of_the_system()
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
        """A client, with nothing but what is given."""
        if self.loop:
            return self.module.AsyncClient(**settings)
        return AsyncFacade(self.module.Client(**settings))

    def http_client(self, tls: ssl.SSLContext | None = None, limit: int | None = None) -> Any:
        """The library's own client where another one than the adapter's is needed, else None."""
        if not self.pools:
            return None
        if self.libraries[0] == "aiohttp":
            if tls is None and limit is None:
                return None
            connector = self.library.TCPConnector(ssl=tls or True, limit=limit or 100)
            return self.library.ClientSession(connector=connector)
        if self.libraries[0] == "httpx" and tls is None and limit is None:
            return None
        kind = self.library.AsyncClient if self.loop else self.library.Client
        limits = self.library.Limits(max_connections=limit)
        return kind(verify=True if tls is None else tls, limits=limits)

    # Running.

    def run(self, scenario: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
        """Run a scenario to its end."""
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
            return drive(scenario())

    async def gather(self, *actions: Callable[[], Coroutine[Any, Any, Result]]) -> list[Result]:
        """Do all at the same time: in tasks, or in threads."""
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
            return list(pool.map(lambda action: drive(action()), actions))

    async def sleep(self, seconds: float) -> None:
        """Let time pass."""
        if self.loop:
            await importlib.import_module(self.loop).sleep(seconds)
        else:
            time.sleep(seconds)  # noqa: ASYNC251  (there is no loop)

    async def until(self, is_true: Callable[[], object], what: str) -> None:
        """Return when something has become true elsewhere; the loop goes on meanwhile."""
        patience = time.monotonic() + PATIENCE
        while not is_true():
            assert time.monotonic() < patience, f"{what}: not within {PATIENCE} s"
            await self.sleep(0.002)

    async def until_closed(self, server: RawServer, connections: int = 1) -> None:
        """Return when so many connections have come and all are closed."""
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
        """Cancel an action, or press Ctrl-C at it, while it waits for what does not come.

        Returns when the interruption has come out of the action; fails if it does not.

        Args:
            action: calls its argument before it begins to wait.
            once: becomes true while it waits.
        """
        if self.loop == "asyncio":
            waiting = asyncio.Event()
            task = asyncio.create_task(action(waiting.set))
            await waiting.wait()  # the task goes on until it waits itself before this returns
            await self.until(once, "it is interrupted")
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
                await self.until(once, "it is interrupted")
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
    """Fail what blocks for too long, where the system has alarms."""

    def give_up(*_: object) -> None:
        pytest.fail(f"not within {PATIENCE_IN_ALL} s")

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


@cache
def context_of_the_system() -> ssl.SSLContext:
    """The one that a client makes itself, which takes longer than most tests."""
    return ssl.create_default_context()


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
    """The parameters of a request; the server of examples looks at the model and the fault."""
    headers = {} if fault is None else {"extra_headers": {"x-fault": fault}}
    return {"model": model, "max_tokens": 64, "messages": [PROMPT], **headers, **params}


def machine_of(name: str) -> tuple[StreamMachine, list[Any]]:
    """What the core makes of an example, and the events."""
    capture = parse_capture((EXAMPLES / f"{name}.capture.jsonl").read_bytes())
    machine = StreamMachine()
    events = [*machine.receive_data(capture.body), *machine.receive_eof()]
    return machine, events


def message_of(name: str) -> Message:
    """The message that an example holds."""
    return machine_of(name)[0].final_message()


def text_of(message: Message | None) -> str:
    """Its text, as far as it has come."""
    assert message is not None
    return "".join(block.text for block in message.content if isinstance(block, TextBlock))


async def raised_by(client: Any, call: dict[str, Any]) -> APIError:
    """What a call with these parameters raises, until its stream is read to the end."""
    with pytest.raises(APIError) as caught:
        async with client.messages.stream(**call) as stream:
            await stream.until_done()
    return caught.value


def driven(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Make a test of a scenario that takes `adapter`."""

    @wraps(test)
    def driven_test(adapter: Adapter, **fixtures: Any) -> None:
        adapter.require()
        adapter.run(partial(test, adapter=adapter, **fixtures))

    return driven_test


# Fixtures; `conftest` has them for all tests.


@pytest.fixture(params=ADAPTERS, ids=lambda adapter: adapter.name)
def adapter(request: pytest.FixtureRequest) -> Adapter:
    """One after the other; skipped where its library is missing."""
    found: Adapter = request.param
    found.require()
    return found


@pytest.fixture(scope="module")
def certificates_are_read_once() -> Iterator[None]:
    """httpx reads the system's for each client, which takes longer than most tests."""
    with ExitStack() as stack:
        for name in ("httpx", "httpx2"):
            with suppress(ModuleNotFoundError):
                default = importlib.import_module(f"{name}._transports.default")
                once = cache(default.create_ssl_context)
                stack.enter_context(mock.patch.object(default, "create_ssl_context", once))
        yield


@pytest.fixture
def nothing_is_left_open(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """asyncio and aiohttp log what was left open, and what nobody has caught."""
    yield
    gc.collect(1)  # what was left open warns, which fails the test
    main = threading.main_thread().ident  # servers run in others: what they log is their business
    told = [record.getMessage() for record in caplog.records if record.thread == main]
    assert told == []


@pytest.fixture
def delays(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that clients would have waited between attempts; they don't."""
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr(_client, "sleep", sleep)
    monkeypatch.setattr(Opening, "wait", lambda _, seconds: waited.append(seconds))
    return waited
