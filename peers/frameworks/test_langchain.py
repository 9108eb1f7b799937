"""langchain-anthropic's streaming interface over our clients, on our recordings."""

import asyncio
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import pytest

from sansio_stream import APIError, Message, OverloadedError, StreamMachine, parse_capture

langchain: Any = pytest.importorskip("langchain_anthropic")
anthropic: Any = pytest.importorskip("anthropic")

from sansio_stream_adapters.anthropic import Anthropic, AsyncAnthropic  # noqa: E402
from sansio_stream_adapters.transports import ReplayTransport  # noqa: E402

REPOSITORY: Final = Path(__file__).resolve().parents[2]
EXAMPLES: Final = REPOSITORY / "examples"


def message_of(name: str) -> Message:
    machine = StreamMachine()
    list(machine.receive_data(parse_capture(example(name).read_bytes()).body))
    return machine.final_message()


def example(name: str) -> Path:
    return EXAMPLES / f"{name}.capture.jsonl"


def chat_over(name: str, **options: Any) -> Any:
    transport = ReplayTransport(example(name), **options)

    class Chat(langchain.ChatAnthropic):  # type: ignore[misc]
        @cached_property
        def _client(self) -> Anthropic:
            http = anthropic.DefaultHttpxClient(transport=transport)
            return Anthropic(api_key="k", max_retries=0, http_client=http)

        @cached_property
        def _async_client(self) -> AsyncAnthropic:
            http = anthropic.DefaultAsyncHttpxClient(transport=transport)
            return AsyncAnthropic(api_key="k", max_retries=0, http_client=http)

    return Chat(model="claude-sonnet-5-5", api_key="k")


def streamed(chat: Any, *, is_async: bool) -> Any:
    """The sum of all chunks."""

    async def read() -> list[Any]:
        return [chunk async for chunk in chat.astream("Why is the sea salty?")]

    chunks = asyncio.run(read()) if is_async else [*chat.stream("Why is the sea salty?")]
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole += chunk
    return whole


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("name", ["text", "web-search-with-citations"])
def test_a_text_streams(name: str, is_async: bool) -> None:
    answer = streamed(chat_over(name), is_async=is_async)
    assert answer.text == message_of(name).text
    assert answer.response_metadata["stop_reason"] == "end_turn"


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("name", ["thinking-and-tool-use", "parallel-tools"])
def test_tool_calls_have_their_whole_arguments(name: str, is_async: bool) -> None:
    answer = streamed(chat_over(name, cut_into="random:3"), is_async=is_async)
    calls: list[Any] = [block for block in message_of(name).content if block.type == "tool_use"]
    assert answer.invalid_tool_calls == []
    assert [(call["name"], call["args"]) for call in answer.tool_calls] == [
        (call.name, call.input) for call in calls
    ]


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("fault", ["cut", "reset", "html-200", "error-in-mid-stream"])
def test_a_bad_end_raises(fault: str, is_async: bool) -> None:
    with pytest.raises(anthropic.APIError) as caught:
        streamed(chat_over("text", fault=fault), is_async=is_async)
    error: Any = caught.value
    assert isinstance(error if isinstance(error, APIError) else error.__cause__, APIError)


@pytest.mark.parametrize("is_async", [False, True])
def test_an_overloaded_server_raises_the_class_of_its_status(is_async: bool) -> None:
    with pytest.raises(anthropic.OverloadedError) as caught:
        streamed(chat_over("overloaded"), is_async=is_async)
    error: Any = caught.value
    assert isinstance(error if isinstance(error, APIError) else error.__cause__, OverloadedError)


def test_the_lines_of_the_page_use_our_clients() -> None:
    page = (REPOSITORY / "docs" / "from-the-official-sdk.md").read_text("utf-8")
    (block,) = (part for part in page.split("```") if "from langchain_anthropic import" in part)
    names: dict[str, Any] = {}
    exec(block.removeprefix("python"), names)  # noqa: S102 - the point of the test
    assert type(names["chat"]._client) is Anthropic  # noqa: SLF001 - langchain's name
    assert type(names["chat"]._async_client) is AsyncAnthropic  # noqa: SLF001
