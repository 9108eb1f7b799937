"""pydantic-ai's streaming interface over our `AsyncAnthropic`, on our recordings."""

import asyncio
from pathlib import Path
from typing import Any, Final

import pytest

from sansio_stream import APIError, Message, OverloadedError, StreamMachine, parse_capture

pydantic_ai: Any = pytest.importorskip("pydantic_ai")
anthropic: Any = pytest.importorskip("anthropic")
models: Any = pytest.importorskip("pydantic_ai.models.anthropic")
providers: Any = pytest.importorskip("pydantic_ai.providers.anthropic")

from sansio_stream_adapters.anthropic import AsyncAnthropic  # noqa: E402
from sansio_stream_adapters.transports import ReplayTransport  # noqa: E402

REPOSITORY: Final = Path(__file__).resolve().parents[2]
EXAMPLES: Final = REPOSITORY / "examples"


def message_of(name: str) -> Message:
    machine = StreamMachine()
    list(machine.receive_data(parse_capture(example(name).read_bytes()).body))
    return machine.final_message()


def example(name: str) -> Path:
    return EXAMPLES / f"{name}.capture.jsonl"


def model_over(*names: str, **options: Any) -> Any:
    transport = ReplayTransport(*map(example, names), **options)
    http = anthropic.DefaultAsyncHttpxClient(transport=transport)
    client = AsyncAnthropic(api_key="k", max_retries=0, http_client=http)
    provider = providers.AnthropicProvider(anthropic_client=client)
    return models.AnthropicModel("claude-sonnet-5-5", provider=provider)


async def output_of(agent: Any) -> str:
    """The output of a run that streams each request, and runs the tools between them."""
    async with agent.run_stream_events("Plan a day.") as events:
        *_, last = [event async for event in events]
    output: str = last.result.output
    return output


@pytest.mark.parametrize("options", [{}, {"cut_into": "bytes"}, {"fault": "gzip"}], ids=str)
def test_a_text_streams(options: dict[str, Any]) -> None:
    agent = pydantic_ai.Agent(model_over("text", **options))

    async def main() -> tuple[str, str]:
        async with agent.run_stream("Why is the sea salty?") as result:
            streamed = [text async for text in result.stream_text(delta=True)]
            return "".join(streamed), await result.get_output()

    streamed, output = asyncio.run(main())
    assert streamed == output == message_of("text").text


@pytest.mark.parametrize("name", ["thinking-and-tool-use", "parallel-tools"])
def test_tools_run_with_their_whole_arguments(name: str) -> None:
    called: list[dict[str, Any]] = []

    def tool_named(title: str) -> Any:
        def run(**arguments: Any) -> str:
            called.append(arguments)
            return "Done."

        schema = {"type": "object", "properties": {}, "additionalProperties": True}
        return pydantic_ai.Tool.from_schema(run, title, "A tool.", schema)

    calls: list[Any] = [block for block in message_of(name).content if block.type == "tool_use"]
    tools = [tool_named(title) for title in sorted({call.name for call in calls})]
    agent = pydantic_ai.Agent(model_over(name, "text"), tools=tools)

    assert asyncio.run(output_of(agent)) == message_of("text").text
    expected = [call.input for call in calls]
    assert sorted(called, key=repr) == sorted(expected, key=repr)


def test_a_server_tool_and_its_citations_stream() -> None:
    agent = pydantic_ai.Agent(model_over("web-search-with-citations"))

    last: Any = message_of("web-search-with-citations").content[-1]
    assert asyncio.run(output_of(agent)).endswith(last.text)


@pytest.mark.parametrize("fault", ["cut", "reset", "html-200", "error-in-mid-stream"])
def test_a_bad_end_raises(fault: str) -> None:
    agent = pydantic_ai.Agent(model_over("text", fault=fault))

    async def main() -> None:
        async with agent.run_stream("Why is the sea salty?") as result:
            await result.get_output()

    with pytest.raises((pydantic_ai.exceptions.ModelAPIError, anthropic.APIError)) as caught:
        asyncio.run(main())
    error: Any = caught.value
    error = error if isinstance(error, APIError) else error.__cause__
    assert isinstance(error, APIError)
    assert isinstance(error, anthropic.APIError)


def test_an_overloaded_server_is_reported_as_by_its_status() -> None:
    agent = pydantic_ai.Agent(model_over("overloaded"))

    async def main() -> None:
        async with agent.run_stream("Why is the sea salty?") as result:
            await result.get_output()

    with pytest.raises(pydantic_ai.exceptions.ModelHTTPError) as caught:
        asyncio.run(main())
    assert caught.value.status_code == 529
    assert isinstance(caught.value.__cause__, OverloadedError)


def test_the_lines_of_the_page_use_our_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "k")
    page = (REPOSITORY / "docs" / "from-the-official-sdk.md").read_text("utf-8")
    (block,) = (part for part in page.split("```") if "from pydantic_ai import" in part)
    names: dict[str, Any] = {}
    exec(block.removeprefix("python"), names)  # noqa: S102 - the point of the test
    assert type(names["agent"].model.client) is AsyncAnthropic
