"""Test each name of the documented API with each adapter, and the table in docs/clients.md."""

import re
import signal
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeAlias

import pytest

import sansio_stream
import sansio_stream_adapters
from matrix import (
    ADAPTERS,
    Adapter,
    AsyncFacade,
    ask,
    driven,
    machine_of,
    message_of,
    text_of,
)
from sansio_stream_adapters import (
    NOT_GIVEN,
    APIConnectionError,
    APIError,
    APIStatusError,
    APITimeoutError,
    IncompleteMessageError,
    RateLimitError,
)
from servers import PATIENCE
from shared_data import REPOSITORY, SHARED
from test_docs import names_in, rows_of, section

PAGE: Final = REPOSITORY / "docs" / "clients.md"
HEADING: Final = "## Each name of the documented API"

Scenario: TypeAlias = Callable[[Adapter, str], Coroutine[Any, Any, None]]

SCENARIOS: Final[dict[tuple[str, ...], Scenario]] = {}
"""The scenarios, by the names in the first cell of a row."""


def uses(*names: str) -> Callable[[Scenario], Scenario]:
    """Register a scenario that uses these names."""

    def add(scenario: Scenario) -> Scenario:
        SCENARIOS[names] = scenario
        return scenario

    return add


def kind_for(adapter: Adapter, name: str) -> Any:
    """Return the class `name`, or its asynchronous counterpart."""
    return getattr(sansio_stream_adapters, f"Async{name}" if adapter.loop else name)


def plain(it: Any) -> Any:
    """Return the object behind an `AsyncFacade`."""
    return it.sync if isinstance(it, AsyncFacade) else it


@uses("Anthropic", "AsyncAnthropic")
async def client(adapter: Adapter, url: str) -> None:
    made = adapter.make(base_url=url, api_key="k", timeout=float(PATIENCE), max_retries=0)
    async with made.messages.stream(**ask()) as stream:
        await stream.until_done()
    await made.close()


@uses("client.messages.stream")
async def messages_stream(adapter: Adapter, url: str) -> None:
    tools = [{"name": "get_weather", "input_schema": {"type": "object"}}]
    more = {"system": "Be concise.", "temperature": 0.8, "thinking": {"type": "adaptive"}}
    async with (
        adapter.client(url) as client,
        client.messages.stream(**ask("thinking-and-tool-use"), **more, tools=tools) as stream,
    ):
        assert [event async for event in stream] == machine_of("thinking-and-tool-use")[1]


@uses("client.messages.create(stream=True)")
async def messages_create(adapter: Adapter, url: str) -> None:
    async with (
        adapter.client(url) as client,
        await client.messages.create(**ask(), stream=True) as stream,
    ):
        assert [event async for event in stream] == machine_of("text")[1]


@uses("client.beta.messages.stream")
async def beta_messages_stream(adapter: Adapter, url: str) -> None:
    async with (
        adapter.client(url) as client,
        client.beta.messages.stream(**ask(), betas=["some-beta"]) as stream,
    ):
        assert await stream.get_final_message() == message_of("text")


@uses("MessageStreamManager", "AsyncMessageStreamManager")
async def manager(adapter: Adapter, url: str) -> None:
    async with adapter.client(url) as client:
        manager = client.messages.stream(**ask())
        assert type(plain(manager)) is kind_for(adapter, "MessageStreamManager")
        stream = await manager.__aenter__()
        try:
            await stream.until_done()
        finally:
            await manager.__aexit__(None, None, None)


@uses("MessageStream", "AsyncMessageStream")
async def message_stream(adapter: Adapter, url: str) -> None:
    async with adapter.client(url) as client:
        manager = client.messages.stream(**ask())
        async with await manager.__aenter__() as stream:
            assert type(plain(stream)) is kind_for(adapter, "MessageStream")
            assert [event async for event in stream] == machine_of("text")[1]


@uses("Stream", "AsyncStream")
async def base_stream(adapter: Adapter, url: str) -> None:
    base = kind_for(adapter, "Stream")
    assert base[sansio_stream.MessageStreamEvent]
    async with (
        adapter.client(url) as client,
        await client.messages.create(**ask(), stream=True) as stream,
    ):
        assert type(plain(stream)) is base
        assert stream.response.headers["content-type"].startswith("text/event-stream")
        assert [event async for event in stream] == machine_of("text")[1]


@uses("stream.text_stream")
async def text_stream(adapter: Adapter, url: str) -> None:
    async with adapter.client(url) as client, client.messages.stream(**ask()) as stream:
        texts = [text async for text in stream.text_stream]
    assert len(texts) > 1
    assert "".join(texts) == text_of(message_of("text"))


@uses("stream.get_final_message")
async def get_final_message(adapter: Adapter, url: str) -> None:
    async with adapter.client(url) as client, client.messages.stream(**ask()) as stream:
        assert await stream.get_final_message() == message_of("text")
    assert await stream.get_final_message() == message_of("text")


@uses("stream.get_final_text")
async def get_final_text(adapter: Adapter, url: str) -> None:
    async with adapter.client(url) as client, client.messages.stream(**ask()) as stream:
        assert await stream.get_final_text() == text_of(message_of("text"))


@uses("stream.current_message_snapshot")
async def current_message_snapshot(adapter: Adapter, url: str) -> None:
    async with adapter.client(url) as client, client.messages.stream(**ask()) as stream:
        texts = [text_of(stream.current_message_snapshot) async for _ in stream]
    assert texts == sorted(texts, key=len)
    assert texts[-1] == text_of(message_of("text"))


@uses("stream.response")
async def response(adapter: Adapter, url: str) -> None:
    async with adapter.client(url) as client, client.messages.stream(**ask()) as stream:
        assert stream.response.headers.get("request-id").startswith("req_")


@uses("stream.close")
async def close(adapter: Adapter, url: str) -> None:
    async with (
        adapter.client(url) as client,
        client.messages.stream(**ask(fault="stall")) as stream,
    ):
        async for _ in stream.text_stream:
            break
        await stream.close()
        assert text_of(stream.current_message_snapshot)


async def raise_signals(stream: Any) -> None:
    """Press Ctrl-C at each event."""
    async for _ in stream:
        signal.raise_signal(signal.SIGINT)


@uses("stream.close in a signal handler")
async def close_in_a_signal_handler(adapter: Adapter, url: str) -> None:
    async with (
        adapter.client(url) as client,
        client.messages.stream(**ask(fault="stall")) as stream,
    ):
        before = signal.signal(signal.SIGINT, lambda *_: plain(stream).close())
        try:
            with pytest.raises(IncompleteMessageError):
                await raise_signals(stream)
        finally:
            signal.signal(signal.SIGINT, before)


async def events_of(adapter: Adapter, url: str) -> list[Any]:
    async with (
        adapter.client(url) as client,
        client.messages.stream(**ask("thinking-and-tool-use")) as stream,
    ):
        return [event async for event in stream]


@uses(
    "MessageStartEvent",
    "MessageDeltaEvent",
    "MessageStopEvent",
    "ContentBlockStartEvent",
    "ContentBlockDeltaEvent",
    "ContentBlockStopEvent",
    "MessageStreamEvent",
)
async def events(adapter: Adapter, url: str) -> None:
    kinds = {type(event).__name__ for event in await events_of(adapter, url)}
    assert kinds >= {name for name in names_of(events) if name != "MessageStreamEvent"}


@uses(
    "RawMessageStartEvent",
    "RawMessageDeltaEvent",
    "RawMessageStopEvent",
    "RawContentBlockStartEvent",
    "RawContentBlockDeltaEvent",
    "RawContentBlockStopEvent",
    "RawMessageStreamEvent",
)
async def raw_events(adapter: Adapter, url: str) -> None:
    kinds = {type(event) for event in await events_of(adapter, url)}
    for name in names_of(raw_events):
        if name != "RawMessageStreamEvent":
            assert getattr(sansio_stream, name) in kinds


@uses("MessageDelta", "MessageDeltaUsage", "TextDelta", "InputJSONDelta", "ContentBlockDelta")
async def deltas(adapter: Adapter, url: str) -> None:
    all_events = await events_of(adapter, url)
    kinds = {
        type(getattr(event, name, None)) for event in all_events for name in ("delta", "usage")
    }
    for name in names_of(deltas):
        if name != "ContentBlockDelta":
            assert getattr(sansio_stream, name) in kinds


def names_of(scenario: Scenario) -> tuple[str, ...]:
    """Return the names that a scenario uses."""
    return next(names for names, each in SCENARIOS.items() if each is scenario)


@uses("NOT_GIVEN")
async def not_given(adapter: Adapter, url: str) -> None:
    async with (
        adapter.client(url) as client,
        client.messages.stream(**ask(), system=NOT_GIVEN, tools=NOT_GIVEN) as stream,
    ):
        assert await stream.get_final_message() == message_of("text")


@uses("httpx.Timeout")
async def httpx_timeout(adapter: Adapter, url: str) -> None:
    httpx = pytest.importorskip("httpx", reason="an httpx.Timeout needs httpx")
    with pytest.raises(APITimeoutError):
        async with (
            adapter.client(url, timeout=httpx.Timeout(120.0, read=0.2)) as client,
            client.messages.stream(**ask(fault="stall")) as stream,
        ):
            await stream.until_done()


async def failure_of(adapter: Adapter, url: str, fault: str) -> APIError:
    """Return the APIError that a request with this fault raises."""
    timeout = 0.2 if fault == "stall" else PATIENCE
    try:
        async with (
            adapter.client(url, timeout=timeout) as client,
            client.messages.stream(**ask(fault=fault)) as stream,
        ):
            await stream.until_done()
    except APIError as error:
        return error
    raise AssertionError(f"the fault {fault} raised no APIError")


@uses("APIError")
async def api_error(adapter: Adapter, url: str) -> None:
    assert (await failure_of(adapter, url, "error-in-mid-stream")).message == "Overloaded"


@uses("APIStatusError")
async def api_status_error(adapter: Adapter, url: str) -> None:
    error = await failure_of(adapter, url, "400")
    assert isinstance(error, APIStatusError)
    assert error.status_code == 400


@uses("RateLimitError")
async def rate_limit_error(adapter: Adapter, url: str) -> None:
    assert isinstance(await failure_of(adapter, url, "429"), RateLimitError)


@uses("APIConnectionError")
async def api_connection_error(adapter: Adapter, url: str) -> None:
    assert isinstance(await failure_of(adapter, url, "cut"), APIConnectionError)


@uses("APITimeoutError")
async def api_timeout_error(adapter: Adapter, url: str) -> None:
    assert isinstance(await failure_of(adapter, url, "stall"), APITimeoutError)


# The page.

WORKS: Final = "✓"
COLUMNS: Final = list(dict.fromkeys(adapter.column for adapter in ADAPTERS))


def why_not(names: tuple[str, ...], adapter: Adapter) -> str | None:
    """Return why an adapter does not support a name, in the words of the page, or None."""
    if names == ("stream.close in a signal handler",) and adapter.loop:
        return "no: the stream belongs to its event loop; cancel the task"
    return None


def table() -> dict[tuple[str, ...], dict[str, str]]:
    """Return the table of the page: its cells by names and by column."""
    part = section(PAGE, HEADING)
    assert head_of(part)[1:] == COLUMNS
    return {
        tuple(names_in(names)): dict(zip(COLUMNS, cells, strict=True))
        for names, *cells in rows_of(part)
    }


def head_of(markdown: str) -> list[str]:
    """Return the cells of the header of the first table."""
    line = next(line for line in markdown.splitlines() if line.startswith("|"))
    return [cell.strip() for cell in line.split("|")[1:-1]]


def test_the_table_has_a_row_for_each_scenario() -> None:
    assert list(table()) == list(SCENARIOS)


def test_every_name_of_the_documents_is_in_the_table() -> None:
    folder = SHARED / "seeds"
    if not folder.is_dir():
        pytest.skip("the documents are missing: set SANSIO_STREAM_SHARED")
    documents = "\n".join(path.read_text(encoding="utf-8") for path in folder.glob("*.txt"))
    names = {
        *re.findall(r"^ *class (\w+)", documents, re.MULTILINE),
        *re.findall(r"\b(stream\.[a-z_]+|client\.[a-z_.]+)\b", documents),
        *re.findall(r"\banthropic\.([A-Z]\w+)", documents),
        *re.findall(r"\b(httpx\.Timeout|NOT_GIVEN)\b", documents),
        *(
            name
            for imported in re.findall(r"from anthropic import (.*)", documents)
            for name in re.findall(r"\w+", imported)
        ),
    }
    assert len(names) > 30
    assert names - {name for names in table() for name in names} == set()


@driven
async def test_the_page_states_for_each_name_whether_it_works(
    adapter: Adapter, example_server: str
) -> None:
    ran: dict[tuple[str, ...], str] = {}
    for names, scenario in SCENARIOS.items():
        reason = why_not(names, adapter)
        if reason is None:
            await scenario(adapter, example_server)
        ran[names] = reason or WORKS
    assert ran == {names: cells[adapter.column] for names, cells in table().items()}
