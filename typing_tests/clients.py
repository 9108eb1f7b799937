"""The types of the arguments and results of the clients, as type checkers see them."""

from collections.abc import AsyncIterator, Iterator
from typing import assert_type

import aiohttp as their_aiohttp

from sansio_stream import ContentBlock, Message, MessageStreamEvent, Verdict, Violation
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
    sockets.Client(max_retries="2")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def any_bytes(chunks: list[bytes]) -> None:
    assert_type(next(MessageStream(chunks, strict=True)), MessageStreamEvent)
    MessageStream(chunks, record_to="x.capture.jsonl", idle=3.0)
    MessageStream([""])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
    MessageStream(chunks, stict=True)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
