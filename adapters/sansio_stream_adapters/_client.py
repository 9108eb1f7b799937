"""What all clients share: a call in, an open stream out; retries, errors.

Knows no HTTP library: an adapter's client says how one request is sent (`send`), what its
library's exceptions mean (`map_error`), and how long its library waits.
"""

from __future__ import annotations

from abc import abstractmethod
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

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
    from collections.abc import Awaitable, Callable, Sequence

    from sansio_stream.message import Message
    from sansio_stream.request import Request

    from ._timeout import Timeout

__all__ = [
    "AsyncBaseClient",
    "AsyncMessageStreamManager",
    "BaseClient",
    "MessageStreamManager",
]

AnyStream = TypeVar("AnyStream", bound="Stream[MessageStreamEvent]")
AnyAsyncStream = TypeVar("AnyAsyncStream", bound="AsyncStream[MessageStreamEvent]")


def check_stream(stream: object) -> None:
    """Raise TypeError unless it is True."""
    if stream is not True:
        raise TypeError(
            "only streams are made here: use create(stream=True), or"
            " messages.stream(...).get_final_message() for the whole message"
        )


# Synchronous.


class BaseClient(Settings):
    """A synchronous client; see `Settings`. Also a context manager that closes."""

    @property
    def messages(self) -> Messages:
        """`messages.stream(...)` and `messages.create(stream=True, ...)`."""
        return Messages(self)

    @property
    def beta(self) -> Beta[Messages]:
        """`beta.messages` is `messages`, which takes `betas=[...]`."""
        return Beta(self.messages)

    @abstractmethod
    def send(self, request: Request, timeouts: Timeout) -> Reply:
        """Send the request once, and return what came when the head is there."""

    @abstractmethod
    def close(self) -> None:
        """Close what the client has opened itself."""

    def open_stream(
        self, call: Call, kind: Callable[..., AnyStream], opening: Opening | None = None
    ) -> AnyStream:
        """Return an open stream. What may be sent again is, as often as the call allows.

        Raises APIError; IncompleteMessageError where `opening` is closed meanwhile.
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
                opening.wakes(stream.close)
                return stream.open()
            except Exception as exc:  # noqa: BLE001  (raised again, if nothing can be done)
                failure = exc
            finally:
                opening.wakes(None)  # nobody's business: a stream that is dropped must go at once
            # Out here, so that what is raised has no other context than its cause.
            try:
                delay = 0.0 if opening.is_closed else attempts.delay_after(failure)
            finally:
                del failure
            opening.wait(delay)

    def _sent(self, call: Call, deadline: Deadline | None) -> Reply:
        reply = self.send(call.request, call.timeouts.within(deadline))
        reply["owner"] = self  # who is dropped while its stream is read closes its pool
        return reply

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class Messages:
    """What a synchronous client has as `messages`."""

    def __init__(self, client: BaseClient) -> None:
        self._client = client

    def stream(
        self, *, model: str, max_tokens: int, messages: Sequence[Any], **params: Any
    ) -> MessageStreamManager:
        """Return a context manager that sends the request and gives a `MessageStream`.

        Args:
            model: goes into the body,
            max_tokens: and so does this,
            messages: and this,
            params: and all of these but `timeout`, `max_retries` and `max_retry_after` (of this
                call), `extra_headers`, `extra_query`, `extra_body`, `betas` (a list), `record_to`,
                `strict` and `limits` (see `StreamOptions`). NOT_GIVEN is dropped, None is sent as
                null.

        Raises:
            ValueError: for what cannot be sent, at the call.
            APIError: from entering the context. What may be sent again has been by then.
        """
        call = self._client.prepare(model=model, max_tokens=max_tokens, messages=messages, **params)
        return MessageStreamManager(partial(self._client.open_stream, call, MessageStream))

    def create(
        self,
        *,
        model: str,
        max_tokens: int,
        messages: Sequence[Any],
        stream: bool = False,
        **params: Any,
    ) -> Stream[MessageStreamEvent]:
        """Send the request, and return the events alone; arguments and errors as for `stream`.

        TypeError without `stream=True`.
        """
        check_stream(stream)
        call = self._client.prepare(model=model, max_tokens=max_tokens, messages=messages, **params)
        return self._client.open_stream(call, Stream[MessageStreamEvent])


class MessageStreamManager:
    """Sends the request when it is entered, closes the stream when it is left. Works once.

    Another thread, or a signal handler, may leave or `close` it while it is being entered.
    """

    def __init__(self, open_stream: Callable[[Opening], MessageStream]) -> None:
        self._open_stream: Callable[[Opening], MessageStream] | None = open_stream
        self._opening = Opening()
        self._stream: MessageStream | None = None

    def __enter__(self) -> MessageStream:
        open_stream, self._open_stream = self._open_stream, None
        if open_stream is None:
            raise RuntimeError("entered before: another request needs another stream()")
        self._stream = open_stream(self._opening)
        if self._opening.is_closed:  # in the last moment
            self._stream.close()
        return self._stream

    def __exit__(self, *exc: object) -> None:
        if self._stream is not None:
            self._stream.__exit__(*exc)
        elif self._open_stream is None:  # it is being entered
            self._opening.close()

    def close(self) -> None:
        """Close the stream, or have who waits for it raise IncompleteMessageError.

        May be called from another thread or a signal handler. A wait for the head is ended at once
        where the adapter can (sockets, httpx over HTTP/1.1); a connection that is being made, else
        the head, comes first, or its timeout does. A second call does nothing.
        """
        self._opening.close()
        if self._stream is not None:
            self._stream.close()

    def get_final_message(self) -> Message:
        """Send the request, read the stream to its end and close it; return the whole message."""
        with self as stream:
            return stream.get_final_message()


# Asynchronous: the same, with `await`.


class AsyncBaseClient(Settings):
    """An asynchronous client; see `Settings`. Also an async context manager that closes.

    It may be made anywhere; it belongs to the loop that sends its first request.
    """

    @property
    def messages(self) -> AsyncMessages:
        """`messages.stream(...)` and `await messages.create(stream=True, ...)`."""
        return AsyncMessages(self)

    @property
    def beta(self) -> Beta[AsyncMessages]:
        """`beta.messages` is `messages`, which takes `betas=[...]`."""
        return Beta(self.messages)

    @abstractmethod
    async def send(self, request: Request, timeouts: Timeout) -> AsyncReply:
        """Send the request once, and return what came when the head is there."""

    @abstractmethod
    async def close(self) -> None:
        """Close what the client has opened itself."""

    async def aclose(self) -> None:
        """The same as `close`."""
        await self.close()

    async def open_stream(self, call: Call, kind: Callable[..., AnyAsyncStream]) -> AnyAsyncStream:
        """Return an open stream. What may be sent again is, as often as the call allows."""
        deadline = Deadline.of(call.timeouts.total)
        attempts = Attempts(call.retries, self.map_error, deadline)
        while True:
            if call.recorder is not None:
                call.recorder.sent()
            options = call.options_of(attempts, deadline)
            try:
                return await kind(**await self._sent(call, deadline), **options).open()
            except Exception as exc:  # noqa: BLE001  (raised again, if nothing can be done)
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
    """What an asynchronous client has as `messages`."""

    def __init__(self, client: AsyncBaseClient) -> None:
        self._client = client

    def stream(
        self, *, model: str, max_tokens: int, messages: Sequence[Any], **params: Any
    ) -> AsyncMessageStreamManager:
        """Return an async context manager that gives an `AsyncMessageStream`.

        Arguments and errors as for `Messages.stream`.
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
        messages: Sequence[Any],
        stream: bool = False,
        **params: Any,
    ) -> AsyncStream[MessageStreamEvent]:
        """Send the request, and return the events alone; arguments and errors as for `stream`.

        TypeError without `stream=True`.
        """
        check_stream(stream)
        call = self._client.prepare(model=model, max_tokens=max_tokens, messages=messages, **params)
        return await self._client.open_stream(call, AsyncStream[MessageStreamEvent])


class AsyncMessageStreamManager:
    """Sends the request when it is entered, closes the stream when it is left. Works once.

    Another task of its loop may leave or `close` it while it is being entered.
    """

    def __init__(self, open_stream: Callable[[], Awaitable[AsyncMessageStream]]) -> None:
        self._open_stream: Callable[[], Awaitable[AsyncMessageStream]] | None = open_stream
        self._opening = AsyncOpening()
        self._stream: AsyncMessageStream | None = None

    async def __aenter__(self) -> AsyncMessageStream:
        open_stream, self._open_stream = self._open_stream, None
        if open_stream is None:
            raise RuntimeError("entered before: another request needs another stream()")
        self._stream = await self._opening.run(open_stream)
        if self._opening.is_closed:  # in the last moment
            await self._stream.close()
        return self._stream

    async def __aexit__(self, *exc: object) -> None:
        if self._stream is not None:
            await self._stream.__aexit__(*exc)
        elif self._open_stream is None:  # it is being entered
            self._opening.close()

    async def close(self) -> None:
        """Close the stream, or have who waits for it raise IncompleteMessageError at once.

        A second call does nothing.
        """
        self._opening.close()
        if self._stream is not None:
            await self._stream.close()

    aclose = close

    async def get_final_message(self) -> Message:
        """Send the request, read the stream to its end and close it; return the whole message."""
        async with self as stream:
            return await stream.get_final_message()


AnyMessages = TypeVar("AnyMessages")


@frozen
class Beta(Generic[AnyMessages]):
    """What a client has as `beta`: the same `messages`, which take `betas` anyway."""

    messages: AnyMessages
