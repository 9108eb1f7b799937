"""The official SDK's clients on our machine have the SDK's types."""

from collections.abc import Iterator
from typing import assert_type

import anthropic
from anthropic.lib.streaming import (
    AsyncMessageStream,
    AsyncMessageStreamManager,
    BetaMessageStream,
    MessageStream,
    MessageStreamManager,
    ParsedMessageStreamEvent,
)
from anthropic.types import Message as SDKMessage, ParsedMessage, RawMessageStreamEvent
from anthropic.types.beta import BetaMessage, BetaRawMessageStreamEvent

from sansio_stream import APIError, Message, MessageStreamEvent
from sansio_stream_adapters.anthropic import (
    Anthropic,
    AsyncAnthropic,
    from_sdk_message,
    to_sdk_error,
    to_sdk_event,
    to_sdk_message,
)


class City:
    name: str


def takes_the_sdks(_client: anthropic.Anthropic) -> None: ...


def synchronous() -> None:
    client = Anthropic(api_key="k", timeout=7, max_retries=1)
    takes_the_sdks(client)
    assert_type(client.with_options(timeout=1), Anthropic)
    manager = client.messages.stream(model="m", max_tokens=1, messages=[], output_format=City)
    assert_type(manager, MessageStreamManager[City])
    with manager as stream:
        assert_type(stream, MessageStream[City])
        for event in stream:
            assert_type(event, ParsedMessageStreamEvent[City])
        assert_type(stream.text_stream, Iterator[str])
        assert_type(stream.get_final_message(), ParsedMessage[City])
    events = client.messages.create(model="m", max_tokens=1, messages=[], stream=True)
    assert_type(events, anthropic.Stream[RawMessageStreamEvent])
    assert_type(client.messages.create(model="m", max_tokens=1, messages=[]), SDKMessage)
    with client.beta.messages.stream(
        model="m", max_tokens=1, messages=[], output_format=City
    ) as beta:
        assert_type(beta, BetaMessageStream[City])
    Anthropic(api_kee="k")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    client.messages.create(model="m", max_tokens="1", messages=[])  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]


async def asynchronous(client: AsyncAnthropic) -> None:
    assert_type(client.copy(timeout=1), AsyncAnthropic)
    manager = client.messages.stream(model="m", max_tokens=1, messages=[], output_format=City)
    assert_type(manager, AsyncMessageStreamManager[City])
    async with manager as stream:
        assert_type(stream, AsyncMessageStream[City])
        assert_type(await stream.get_final_message(), ParsedMessage[City])
    events = await client.messages.create(model="m", max_tokens=1, messages=[], stream=True)
    assert_type(events, anthropic.AsyncStream[RawMessageStreamEvent])


def translated(event: MessageStreamEvent, message: Message, error: APIError) -> None:
    # Lists, because a union is compared member by member, and mypy sees through aliases.
    assert_type([to_sdk_event(event)], list[RawMessageStreamEvent])
    assert_type([to_sdk_event(event, beta=True)], list[BetaRawMessageStreamEvent])
    assert_type(to_sdk_message(message), SDKMessage)
    assert_type(to_sdk_message(message, beta=True), BetaMessage)
    assert_type(from_sdk_message(to_sdk_message(message)), Message)
    assert_type(to_sdk_error(error), anthropic.APIError)
    try:
        raise to_sdk_error(error)
    except anthropic.APIStatusError as caught:
        assert_type(caught.status_code, int)
