"""The official SDK's clients, whose streams of messages are read by the machine of this library.

    from sansio_stream_adapters.anthropic import Anthropic

    client = Anthropic()

`Anthropic` and `AsyncAnthropic` are subclasses of the SDK's clients of the same names. Only the
streams of messages are different: those of `messages.stream` and `messages.create(stream=True)`, of
the same methods of `beta.messages`, and of what the SDK builds on them, such as its tool runner.
The machine of this library reads the bytes of their responses. Its events go into the SDK's own
loop and accumulators. An accumulator is the code of the SDK that builds a message from events.
Requests, authentication, retries, middleware, timeouts and types are the SDK's.

A stream raises an exception unless its message arrived in full. Each exception is an instance of a
class of the SDK and of a class of this library; see `to_sdk_error`.

This module uses these names of the SDK although they are not public. `tests/test_sdk_clients.py`
fails if one is missing:

- `Stream._iter_events` and `AsyncStream._iter_events` return the events of a response, before the
  SDK decodes their JSON. This module overrides them.
- `anthropic._streaming.ServerSentEvent` is the class of these events.
- `_token_cache` and the argument `_extra_kwargs` of `copy` let a copy of a client keep its
  credentials. The SDK does this only for its own classes.
- The header `x-stainless-stream-helper` of a request tells whether an accumulator reads the stream.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator, Mapping
from functools import wraps
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

import anthropic
from anthropic._streaming import ServerSentEvent
from anthropic.lib.credentials import default_credentials
from anthropic.types import RawMessageStreamEvent
from anthropic.types.beta import BetaRawMessageStreamEvent

from sansio_stream.errors import APIError, Verdict
from sansio_stream.events import MessageDeltaEvent, MessageStopEvent, MessageStreamEvent

from ._sdk_errors import to_sdk_error
from ._sdk_events import (
    FoldablePayloads,
    from_sdk_message,
    in_json,
    raise_if_unfinished,
    to_sdk_event,
    to_sdk_message,
)
from .httpx import from_async_response, from_response

if TYPE_CHECKING:
    import httpx2

    from ._bridge import AsyncMessageStream, MessageStream

__all__ = [
    "Anthropic",
    "AsyncAnthropic",
    "from_sdk_message",
    "to_sdk_error",
    "to_sdk_event",
    "to_sdk_message",
]

Item = TypeVar("Item")

HELPER_HEADER: Final = "x-stainless-stream-helper"


class EventTranslation:
    """Turns the events of our stream into those for the SDK's loop. It does no I/O.

    Args:
        response: the response of the stream.
        messages: our stream.
    """

    def __init__(
        self, response: httpx2.Response, messages: MessageStream | AsyncMessageStream
    ) -> None:
        self._response = response
        self._messages = messages
        self._payloads = FoldablePayloads()
        self._has_accumulator = HELPER_HEADER in response.request.headers

    def translate(self, event: MessageStreamEvent) -> ServerSentEvent | None:
        """Return the event for the SDK's loop, or None if the loop must not get it.

        Raises:
            IncompleteMessageError: see `raise_if_unfinished`.
        """
        message = None
        if isinstance(event, MessageStopEvent):
            if self._messages.verdict is not Verdict.COMPLETE:
                return None  # Content was lost. The next read of `_messages` raises.
            self.check_end()
        elif isinstance(event, MessageDeltaEvent):
            message = self._messages.snapshot
        payload = self._payloads.of(event, message)
        if payload is None:
            return None
        return ServerSentEvent(event=payload["type"], data=in_json(payload))

    def check_end(self) -> None:
        """Raise at the end of the events if an accumulator would return an unfinished tool call.

        Raises:
            IncompleteMessageError: see `raise_if_unfinished`.
        """
        if self._has_accumulator:
            raise_if_unfinished(self._messages.snapshot)

    def to_sdk_error(self, error: APIError) -> anthropic.APIError:
        """Return the exception of the SDK for an exception of the stream."""
        return to_sdk_error(error, self._response)


class Events(Iterator[ServerSentEvent]):
    """The events of one response, for the loop of `MachineStream`.

    It is not a generator. Python would have to finish a generator that is dropped before its end,
    and an async generator can only be finished by the event loop.
    """

    def __init__(self, response: httpx2.Response, messages: MessageStream) -> None:
        self._messages = messages
        self._translation = EventTranslation(response, messages)

    def __next__(self) -> ServerSentEvent:
        try:
            for event in self._messages:
                if (translated := self._translation.translate(event)) is not None:
                    return translated
            self._translation.check_end()
        except APIError as error:
            raise self._translation.to_sdk_error(error) from error.__cause__
        raise StopIteration


class AsyncEvents(AsyncIterator[ServerSentEvent]):
    """The events of one response, for the loop of `AsyncMachineStream`; see `Events`."""

    def __init__(self, response: httpx2.Response, messages: AsyncMessageStream) -> None:
        self._messages = messages
        self._translation = EventTranslation(response, messages)

    async def __anext__(self) -> ServerSentEvent:
        try:
            async for event in self._messages:
                if (translated := self._translation.translate(event)) is not None:
                    return translated
            self._translation.check_end()
        except APIError as error:
            raise self._translation.to_sdk_error(error) from error.__cause__
        raise StopAsyncIteration


class MachineStream(anthropic.Stream[Item]):
    """The SDK's stream of events, whose response is read by the machine of this library."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._messages = from_response(self.response, is_decoded=True)

    def _iter_events(self) -> Iterator[ServerSentEvent]:
        return Events(self.response, self._messages)

    def close(self) -> None:
        """Close the response. After message_stop, the connection stays open for other requests."""
        self._messages.__exit__()
        super().close()


class AsyncMachineStream(anthropic.AsyncStream[Item]):
    """The async version of `MachineStream`."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._messages = from_async_response(self.response, is_decoded=True)

    def _iter_events(self) -> AsyncIterator[ServerSentEvent]:
        return AsyncEvents(self.response, self._messages)

    async def close(self) -> None:
        """Close the response. After message_stop, the connection stays open for other requests."""
        await self._messages.__aexit__()
        await super().close()


STREAMS: Final[Mapping[Any, Any]] = {
    anthropic.Stream[RawMessageStreamEvent]: MachineStream[RawMessageStreamEvent],
    anthropic.Stream[BetaRawMessageStreamEvent]: MachineStream[BetaRawMessageStreamEvent],
    anthropic.AsyncStream[RawMessageStreamEvent]: AsyncMachineStream[RawMessageStreamEvent],
    anthropic.AsyncStream[BetaRawMessageStreamEvent]: AsyncMachineStream[BetaRawMessageStreamEvent],
}
"""The SDK's classes of streams of messages, each with the class that replaces it."""

CREDENTIALS: Final = ("api_key", "auth_token", "credentials", "config", "profile")
"""The arguments that give a client its credentials, or tell it where to find them."""

CREDENTIAL_VARIABLES: Final = ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN")
"""The environment variables that give a client its credentials."""


def with_credentials(settings: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of a client, with the credentials that the SDK finds for its own clients.

    Without a key, the SDK's clients look for a profile and for a workload identity. Subclasses of
    these clients do not.
    """
    is_set = any(settings.get(name) is not None for name in CREDENTIALS)
    if is_set or any(os.environ.get(name) for name in CREDENTIAL_VARIABLES):
        return settings
    chosen = settings.get("base_url") or os.environ.get("ANTHROPIC_BASE_URL")
    found = default_credentials(**({"base_url": str(chosen)} if chosen else {}))
    if found is None:
        return settings
    return {
        **settings,
        "credentials": found.provider,
        "base_url": chosen or found.base_url,
        "default_headers": {**found.extra_headers, **(settings.get("default_headers") or {})},
    }


def with_own_credentials(client: Any, changes: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of `copy`, with the credentials of the client.

    They are not added if the client has a key, or if `changes` has other credentials.
    """
    has_key = client.api_key is not None or client.auth_token is not None
    is_set = any(changes.get(name) is not None for name in CREDENTIALS) or "credentials" in changes
    if client.credentials is None or has_key or is_set:
        return changes
    kept = {"credentials": client.credentials}
    if changes.get("base_url") is None:
        kept["_token_cache"] = client._token_cache  # noqa: SLF001  (the tokens are for this host)
    return {**changes, "_extra_kwargs": {**kept, **changes.get("_extra_kwargs", {})}}


class Anthropic(anthropic.Anthropic):
    """`anthropic.Anthropic`, whose streams of messages are read by the machine of this library.

    All arguments and methods are those of the SDK's class.
    """

    # For type checkers, the signatures are those of the SDK.
    if not TYPE_CHECKING:

        @wraps(anthropic.Anthropic.__init__)
        def __init__(self, **settings: Any) -> None:
            super().__init__(**with_credentials(settings))

        def request(
            self, cast_to: Any, options: Any, *, stream: bool = False, stream_cls: Any = None
        ) -> Any:
            """Send a request. The SDK's methods call this one, with the class of the stream."""
            kind = STREAMS.get(stream_cls, stream_cls)
            return super().request(cast_to, options, stream=stream, stream_cls=kind)

        @wraps(anthropic.Anthropic.copy)
        def copy(self, **changes: Any) -> Self:  # noqa: D102  (the SDK's docstring)
            return super().copy(**with_own_credentials(self, changes))

        with_options = copy


class AsyncAnthropic(anthropic.AsyncAnthropic):
    """`anthropic.AsyncAnthropic`, whose streams of messages are read by the machine.

    All arguments and methods are those of the SDK's class.
    """

    if not TYPE_CHECKING:

        @wraps(anthropic.AsyncAnthropic.__init__)
        def __init__(self, **settings: Any) -> None:
            super().__init__(**with_credentials(settings))

        async def request(
            self, cast_to: Any, options: Any, *, stream: bool = False, stream_cls: Any = None
        ) -> Any:
            """Send a request; see `Anthropic.request`."""
            kind = STREAMS.get(stream_cls, stream_cls)
            return await super().request(cast_to, options, stream=stream, stream_cls=kind)

        @wraps(anthropic.AsyncAnthropic.copy)
        def copy(self, **changes: Any) -> Self:  # noqa: D102  (the SDK's docstring)
            return super().copy(**with_own_credentials(self, changes))

        with_options = copy
