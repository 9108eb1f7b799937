"""The base of all clients: a call in, an open stream out, with retries and mapped errors.

This module knows no HTTP library. The client of an adapter sends one request (`send`), maps the
exceptions of its library (`map_error`), and sets the timeouts of its library.
"""

from __future__ import annotations

from abc import abstractmethod
from functools import partial
from typing import TYPE_CHECKING, Generic, Self, TypeVar, Unpack

from attrs import frozen

from sansio_stream.events import MessageStreamEvent

from ._attempts import Attempts
from ._bridge import (
    AsyncMessageStream,
    AsyncReply,
    AsyncStream,
    MessageStream,
    Reply,
    Stream,
)
from ._concurrency import in_time, sleep
from ._opening import AsyncOpening, Opening
from ._settings import Call, Settings
from ._timeout import Deadline

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from sansio_stream.message import Message
    from sansio_stream.request import Request

    from ._parameters import CreateParameters, MessageParameters, Turn
    from ._timeout import Timeout

__all__ = [
    "AsyncBaseClient",
    "AsyncMessageStreamManager",
    "BaseClient",
    "MessageStreamManager",
]

AnyStream = TypeVar("AnyStream", bound="Stream[MessageStreamEvent]")
AnyAsyncStream = TypeVar("AnyAsyncStream", bound="AsyncStream[MessageStreamEvent]")


def check_stream(params: Mapping[str, object]) -> None:
    """Raise TypeError unless the parameter `stream` is True."""
    if params.get("stream") is not True:
        raise TypeError(
            "this client only streams: use create(stream=True), or"
            " messages.stream(...).get_final_message() for the whole message"
        )


# Synchronous.


class BaseClient(Settings):
    """A synchronous client; see `Settings`. At the end of a `with` block it is closed."""

    @property
    def messages(self) -> Messages:
        """`messages.stream(...)` and `messages.create(stream=True, ...)`."""
        return Messages(self)

    @property
    def beta(self) -> Beta[Messages]:
        """`beta.messages` is the same as `messages`, which accepts `betas=[...]`."""
        return Beta(self.messages)

    @abstractmethod
    def send(self, request: Request, timeouts: Timeout) -> Reply:
        """Send the request once. Return the reply as soon as its head has arrived."""

    @abstractmethod
    def close(self) -> None:
        """Close everything that the client has opened itself."""

    def open_stream(
        self, call: Call, kind: Callable[..., AnyStream], opening: Opening | None = None
    ) -> AnyStream:
        """Send the request and return an open stream.

        If the request fails with an error that can be retried, it is sent again, at most
        `max_retries` times.

        Raises:
            APIError: if the last attempt failed.
            IncompleteMessageError: if `opening` is closed in the meantime.
        """
        opening = opening or Opening()
        deadline = Deadline.of(call.timeouts.total)
        attempts = Attempts(call.retries, self.map_error, deadline)
        while True:
            opening.raise_if_closed()
            if call.recorder is not None:
                call.recorder.sent()
            options = call.options_of(attempts, deadline)
            try:
                with opening.as_current():
                    stream = kind(**self._sent(call, deadline), **options)
                opening.set_cancel(stream.close)
                return stream.open()
            except Exception as exc:  # noqa: BLE001  (`delay_after` raises it unless it retries)
                failure = exc
            finally:
                opening.set_cancel(None)  # `opening` must not keep a dropped stream alive
            # Outside the `except` block, so that a raised exception has no context but its cause.
            try:
                delay = 0.0 if opening.is_closed else attempts.delay_after(failure)
            finally:
                del failure
            opening.wait(delay)

    def _sent(self, call: Call, deadline: Deadline | None) -> Reply:
        reply = self.send(call.request, call.timeouts.within(deadline))
        # A garbage-collected client closes its pool, so a stream keeps its client alive.
        reply["owner"] = self
        return reply

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class Messages:
    """The attribute `messages` of a synchronous client."""

    def __init__(self, client: BaseClient) -> None:
        self._client = client

    def stream(
        self,
        *,
        model: str,
        max_tokens: int,
        messages: Sequence[Turn],
        **params: Unpack[MessageParameters],
    ) -> MessageStreamManager:
        """Return a context manager that sends the request and returns a `MessageStream`.

        Args:
            model: the member `model` of the body.
            max_tokens: the member `max_tokens` of the body.
            messages: the member `messages` of the body.
            params: the other members of the body, and the options of this call, which are not
                members: see `CallOptions`. Type checkers know the parameters of
                `MessageParameters`. At run time, a parameter of any other name is sent, too, unless
                it seems to be a misspelt option. A member that is NOT_GIVEN is left out. None is
                sent as null.

        Raises:
            ValueError: if the request cannot be sent. The call itself raises it. Its message names
                the path of the value, as `build_request` does.
            TypeError: if a value has no JSON form, or if a name seems to be a misspelt option. The
                call itself raises it.
            APIError: if the request fails after its retries. Entering the context raises it.
        """
        call = self._client.prepare(model=model, max_tokens=max_tokens, messages=messages, **params)
        return MessageStreamManager(partial(self._client.open_stream, call, MessageStream))

    def create(
        self,
        *,
        model: str,
        max_tokens: int,
        messages: Sequence[Turn],
        **params: Unpack[CreateParameters],
    ) -> Stream[MessageStreamEvent]:
        """Send the request and return a stream of its events only.

        Arguments and errors are those of `stream`. Raises TypeError unless `stream` is True.
        """
        check_stream(params)
        call = self._client.prepare(model=model, max_tokens=max_tokens, messages=messages, **params)
        return self._client.open_stream(call, Stream[MessageStreamEvent])


class MessageStreamManager:
    """Sends the request on entry and closes the stream on exit. It can be entered once.

    While one thread enters it, another thread or a signal handler may exit or `close` it.
    """

    def __init__(self, open_stream: Callable[[Opening], MessageStream]) -> None:
        self._open_stream: Callable[[Opening], MessageStream] | None = open_stream
        self._opening = Opening()
        self._stream: MessageStream | None = None

    def __enter__(self) -> MessageStream:
        open_stream, self._open_stream = self._open_stream, None
        if open_stream is None:
            raise RuntimeError(
                "the context was entered before: call stream() again for another request"
            )
        self._stream = open_stream(self._opening)
        if self._opening.is_closed:  # closed after the stream had opened
            self._stream.close()
        return self._stream

    def __exit__(self, *exc: object) -> None:
        if self._stream is not None:
            self._stream.__exit__(*exc)
        elif self._open_stream is None:  # another thread is entering it
            self._opening.close()

    def close(self) -> None:
        """Close the stream. If it is still opening, `__enter__` raises IncompleteMessageError.

        Another thread or a signal handler may call it. With sockets, and with httpx over HTTP/1.1,
        it ends a wait for the head at once. It cannot end a connection attempt, nor a wait for the
        head with other adapters. These last until they succeed or until their timeout expires. A
        second call does nothing.
        """
        self._opening.close()
        if self._stream is not None:
            self._stream.close()

    def get_final_message(self) -> Message:
        """Send the request, read the stream to its end, close it, and return the whole message."""
        with self as stream:
            return stream.get_final_message()


# Asynchronous: the same, with `await`.


class AsyncBaseClient(Settings):
    """An asynchronous client; see `Settings`. At the end of an `async with` block it is closed.

    It can be created outside an event loop. It belongs to the loop that sends its first request.
    """

    @property
    def messages(self) -> AsyncMessages:
        """`messages.stream(...)` and `await messages.create(stream=True, ...)`."""
        return AsyncMessages(self)

    @property
    def beta(self) -> Beta[AsyncMessages]:
        """`beta.messages` is the same as `messages`, which accepts `betas=[...]`."""
        return Beta(self.messages)

    @abstractmethod
    async def send(self, request: Request, timeouts: Timeout) -> AsyncReply:
        """Send the request once. Return the reply as soon as its head has arrived."""

    @abstractmethod
    async def close(self) -> None:
        """Close everything that the client has opened itself."""

    async def aclose(self) -> None:
        """Do the same as `close`."""
        await self.close()

    async def open_stream(self, call: Call, kind: Callable[..., AnyAsyncStream]) -> AnyAsyncStream:
        """Send the request and return an open stream.

        If the request fails with an error that can be retried, it is sent again, at most
        `max_retries` times. Raises APIError if the last attempt failed.
        """
        deadline = Deadline.of(call.timeouts.total)
        attempts = Attempts(call.retries, self.map_error, deadline)
        while True:
            if call.recorder is not None:
                call.recorder.sent()
            options = call.options_of(attempts, deadline)
            try:
                return await kind(**await self._sent(call, deadline), **options).open()
            except Exception as exc:  # noqa: BLE001  (`delay_after` raises it unless it retries)
                failure = exc
            try:
                delay = attempts.delay_after(failure)
            finally:
                del failure
            await sleep(delay)

    async def _sent(self, call: Call, deadline: Deadline | None) -> AsyncReply:
        send = partial(self.send, call.request, call.timeouts)
        reply = await in_time(deadline, "head", send)
        reply["owner"] = self
        return reply

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()


class AsyncMessages:
    """The attribute `messages` of an asynchronous client."""

    def __init__(self, client: AsyncBaseClient) -> None:
        self._client = client

    def stream(
        self,
        *,
        model: str,
        max_tokens: int,
        messages: Sequence[Turn],
        **params: Unpack[MessageParameters],
    ) -> AsyncMessageStreamManager:
        """Return an async context manager that sends the request.

        It returns an `AsyncMessageStream`. Arguments and errors are those of `Messages.stream`.
        """
        call = self._client.prepare(model=model, max_tokens=max_tokens, messages=messages, **params)
        return AsyncMessageStreamManager(
            partial(self._client.open_stream, call, AsyncMessageStream)
        )

    async def create(
        self,
        *,
        model: str,
        max_tokens: int,
        messages: Sequence[Turn],
        **params: Unpack[CreateParameters],
    ) -> AsyncStream[MessageStreamEvent]:
        """Send the request and return a stream of its events only.

        Arguments and errors are those of `stream`. Raises TypeError unless `stream` is True.
        """
        check_stream(params)
        call = self._client.prepare(model=model, max_tokens=max_tokens, messages=messages, **params)
        return await self._client.open_stream(call, AsyncStream[MessageStreamEvent])


class AsyncMessageStreamManager:
    """Sends the request on entry and closes the stream on exit. It can be entered once.

    While one task enters it, another task of its loop may exit or `close` it.
    """

    def __init__(self, open_stream: Callable[[], Awaitable[AsyncMessageStream]]) -> None:
        self._open_stream: Callable[[], Awaitable[AsyncMessageStream]] | None = open_stream
        self._opening = AsyncOpening()
        self._stream: AsyncMessageStream | None = None

    async def __aenter__(self) -> AsyncMessageStream:
        open_stream, self._open_stream = self._open_stream, None
        if open_stream is None:
            raise RuntimeError(
                "the context was entered before: call stream() again for another request"
            )
        self._stream = await self._opening.run(open_stream)
        if self._opening.is_closed:  # closed after the stream had opened
            await self._stream.close()
        return self._stream

    async def __aexit__(self, *exc: object) -> None:
        if self._stream is not None:
            await self._stream.__aexit__(*exc)
        elif self._open_stream is None:  # another task is entering it
            self._opening.close()

    async def close(self) -> None:
        """Close the stream. If it is still opening, `__aenter__` raises IncompleteMessageError.

        It raises at once, whatever it waits for. A second call of `close` does nothing.
        """
        self._opening.close()
        if self._stream is not None:
            await self._stream.close()

    aclose = close

    async def get_final_message(self) -> Message:
        """Send the request, read the stream to its end, close it, and return the whole message."""
        async with self as stream:
            return await stream.get_final_message()


AnyMessages = TypeVar("AnyMessages")


@frozen
class Beta(Generic[AnyMessages]):
    """The attribute `beta` of a client.

    Attributes:
        messages: the `messages` of the client, which accept `betas` too.
    """

    messages: AnyMessages
