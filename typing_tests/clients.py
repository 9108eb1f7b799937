"""The types of the arguments and results of the clients, as type checkers see them."""

from collections.abc import AsyncIterator, Iterator
from typing import Any, TypedDict, assert_type

import aiohttp as their_aiohttp
import httpx as their_httpx

from sansio_stream import ContentBlock, Limits, Message, MessageStreamEvent, Verdict, Violation
from sansio_stream_adapters import (
    NOT_GIVEN,
    AsyncMessageStream,
    AsyncMessageStreamManager,
    AsyncStream,
    MessageStream,
    MessageStreamManager,
    Stream,
    Timeout,
    aiohttp,
    httpx,
    sockets,
    trio,
)


class BaseModel:
    """The one method of pydantic's class of this name that matters here."""

    def model_dump(self, *, mode: str = "python", by_alias: bool | None = None) -> dict[str, Any]:
        raise NotImplementedError


class Ask(TypedDict):
    model: str
    max_tokens: int
    messages: list[dict[str, Any]]


def synchronous(client: httpx.Client | sockets.Client) -> None:
    manager = client.messages.stream(model="m", max_tokens=1, messages=[], temperature=NOT_GIVEN)
    assert_type(manager, MessageStreamManager)
    with manager as stream:
        assert_type(stream, MessageStream)
        for event in stream:
            assert_type(event, MessageStreamEvent)
        assert_type(stream.text_stream, Iterator[str])
        assert_type(stream.get_final_message(), Message)
        assert_type(stream.get_final_text(), str)
        assert_type(stream.current_message_snapshot, Message)
        assert_type(stream.snapshot, Message | None)
        assert_type(stream.block(0), ContentBlock | None)
        assert_type(stream.verdict, Verdict)
        assert_type(stream.violations, tuple[Violation, ...])
        assert_type(stream.request_id, str | None)
    events = client.messages.create(model="m", max_tokens=1, messages=[], stream=True)
    assert_type(events, Stream[MessageStreamEvent])
    assert_type(
        client.beta.messages.stream(model="m", max_tokens=1, messages=[]), MessageStreamManager
    )


async def asynchronous(client: httpx.AsyncClient | aiohttp.AsyncClient | trio.AsyncClient) -> None:
    manager = client.messages.stream(model="m", max_tokens=1, messages=[], timeout=Timeout())
    assert_type(manager, AsyncMessageStreamManager)
    async with manager as stream:
        assert_type(stream, AsyncMessageStream)
        async for event in stream:
            assert_type(event, MessageStreamEvent)
        assert_type(stream.text_stream, AsyncIterator[str])
        assert_type(await stream.get_final_message(), Message)
        assert_type(await stream.get_final_text(), str)
        assert_type(stream.current_message_snapshot, Message)
    events = await client.messages.create(model="m", max_tokens=1, messages=[], stream=True)
    assert_type(events, AsyncStream[MessageStreamEvent])


def settings(session: their_aiohttp.ClientSession) -> None:
    httpx.Client(api_key="k", base_url="http://localhost", timeout=3, max_retries=0)
    aiohttp.AsyncClient(http_client=session, default_headers={"x": None})
    httpx.Client(api_kee="k")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    httpx.Client(timeout=their_httpx.Timeout(5))
    sockets.Client(timeout="long")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    sockets.Client(max_retries="2")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def legal_calls(client: httpx.Client, answer: Message, model: BaseModel) -> None:
    """What people write is no error: the parameters of the API, options, messages of any kind."""
    messages: list[dict[str, Any]] = [{"role": "user", "content": "Write a story"}]
    with client.messages.stream(
        model="m", max_tokens=16000, thinking={"type": "adaptive"}, messages=messages
    ) as stream:
        assert_type(stream, MessageStream)
    kwargs: dict[str, Any] = {"model": "m", "max_tokens": 1, "messages": messages}
    client.messages.stream(**kwargs)
    client.messages.create(**kwargs, stream=True)
    tools = [{"name": "lookup", "input_schema": {"type": "object"}}]
    client.messages.stream(
        model="m",
        max_tokens=4096,
        tools=tools,
        tool_choice={"type": "auto"},
        system=[{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
        stop_sequences=["###"],
        metadata={"user_id": "u"},
        temperature=0.5,
        top_p=None,
        top_k=NOT_GIVEN,
        service_tier="auto",
        output_config={"effort": "low"},
        messages=[*messages, answer, {"role": "assistant", "content": answer.content}],
    )
    client.messages.stream(
        model="m",
        max_tokens=1,
        messages=[{"role": "user", "content": "Hi"}, model],
        tools=[model],
        system="Be brief.",
        timeout=3,
        max_retries=0,
        max_retry_after=1.5,
        extra_headers={"x-one": "1", "x-two": None},
        extra_query={"beta": "true"},
        extra_body={"newer": [1]},
        betas=["a-1"],
        record_to="x.capture.jsonl",
        strict=True,
        limits=Limits(blocks=5),
        partial_strings=False,
        broken_input="drop",
        duplicate_ids="keep",
        surrogates="replace",
    )
    client.messages.stream(model="m", max_tokens=1, messages=[], timeout=their_httpx.Timeout(5))
    client.beta.messages.stream(
        model="m", max_tokens=1, messages=[], betas=NOT_GIVEN, fallbacks=[{"model": "n"}]
    )


def wrong_calls(client: httpx.Client) -> None:
    # Each line is an error: an ignore that is not needed would be one too.
    stream, create = client.messages.stream, client.messages.create
    ask: Ask = {"model": "m", "max_tokens": 1, "messages": []}
    stream(**ask, record_too="x")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    stream(**ask, stric=True)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    stream(**ask, strict="yes")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    stream(**ask, limits=7)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    stream(**ask, max_retries="2")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    stream(**ask, max_retries=1.5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    stream(**ask, tools={})  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    stream(**ask, timeout="long")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    stream(**ask, surrogates="drop")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    stream(model="m", max_tokens="10", messages=[])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    stream(model="m", max_tokens=1, messages=["hello"])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
    create(**ask)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    create(**ask, stream=False)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def any_bytes(chunks: list[bytes]) -> None:
    assert_type(next(MessageStream(chunks, strict=True)), MessageStreamEvent)
    MessageStream(chunks, record_to="x.capture.jsonl", idle=3.0)
    MessageStream([""])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
    MessageStream(chunks, stict=True)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
