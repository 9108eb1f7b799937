"""The loops: any iterable, or async iterable, of bytes in; events, texts and a message out.

Knows no HTTP library. What is not a loop is in `Feed`, which reads nothing: the two streams below
it are the same steps twice, once with `await`. No tasks, no async generators: an iterator here is
an object that may be dropped, closed or cancelled at any time, and its snapshot stays readable.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from typing import (
    TYPE_CHECKING,
    Any,
    Final,
    Generic,
    NotRequired,
    Self,
    TypeVar,
    Unpack,
)

from sansio_stream.events import MessageStreamEvent

from ._concurrency import alarm, at_most
from ._feed import Feed, Head, MapError, Need, Response, StreamOptions
from ._texts import joined_text

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Iterable

    from sansio_stream.errors import Verdict, Violation
    from sansio_stream.message import ContentBlock, Message

    from ._texts import TextPieces

__all__ = [
    "AsyncMessageStream",
    "AsyncReply",
    "AsyncStream",
    "MessageStream",
    "Reply",
    "Response",
    "Stream",
    "StreamOptions",
]

Event = TypeVar("Event")

# After message_stop come a ping at most, and the end of the body. Whoever sends more than this, or
# makes us wait longer, gets the connection closed instead of having it used again.
LINGER_BYTES: Final = 65_536
LINGER_SECONDS: Final = 1.0


class Reply(Head):
    """What an adapter knows when the head has come: what a `Stream` is made of."""

    chunks: Iterable[bytes]
    close: Callable[[], object] | None
    abort: Callable[[], object] | None
    is_pooled: NotRequired[bool]
    map_error: MapError | None


class AsyncReply(Head):
    """What an `AsyncStream` is made of."""

    chunks: AsyncIterable[bytes]
    close: Callable[[], Awaitable[object]] | None
    is_pooled: NotRequired[bool]
    map_error: MapError | None


class StreamView:
    """What both streams show without reading on."""

    _feed: Feed

    @property
    def response(self) -> Any:
        """The HTTP library's response; else a `Response` with `status_code` and `headers`."""
        return self._feed.response

    @property
    def request_id(self) -> str | None:
        """The header `request-id`: the server's name for the request."""
        return self._feed.request_id

    @property
    def snapshot(self) -> Message | None:
        """The message as of the event just taken, None before message_start. Immutable."""
        return self._feed.machine.snapshot

    @property
    def verdict(self) -> Verdict:
        """How the stream ended; PENDING until then, and for ever if it was closed before."""
        return self._feed.machine.verdict

    @property
    def violations(self) -> tuple[Violation, ...]:
        """What was tolerated, as of the event just taken."""
        return self._feed.machine.violations

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._feed.machine!r}>"


class MessageStreamView(StreamView):
    """What both message streams show beside that."""

    @property
    def current_message_snapshot(self) -> Message:
        """As `snapshot`, but raises RuntimeError before message_start."""
        message = self.snapshot
        if message is None:
            raise RuntimeError("no message_start has come yet")
        return message

    def block(self, index: int) -> ContentBlock | None:
        """Return the newest block with that wire index, as of the event just taken, or None."""
        return self._feed.machine.block(index)


# Synchronous.


class Stream(StreamView, Generic[Event]):
    """The events of one response, in the order they came; also a context manager that closes.

    Iteration ends behind `message_stop`; it raises at anything else that ends the stream, an error
    of the server and a cut included, so it never just ends. What raised once is raised ever after.

    Args:
        chunks: the body, after content-decoding; cut anywhere.
        status: of the response. One that is not 2xx raises its APIStatusError from the first read.
        headers: of the response.
        response: the HTTP library's response, for `stream.response`.
        close: gives the connection back or closes it; called once. Without it, `chunks.close`.
        abort: wakes a read that is waiting, from any thread; may be called at any time.
        is_pooled: whether the connection serves other requests once the body is read to its end.
            Then what stands behind `message_stop` is read, within small bounds; without `abort` it
            is not, because nothing could end the wait for a body that does not end there.
        map_error: makes one of our exceptions of what `chunks` raises. What it returns None for is
            an APITimeoutError if it is a TimeoutError, and else an APIConnectionError.
        options: see `StreamOptions`.

    Raises APIError and its subclasses only, beside what is no Exception (KeyboardInterrupt), after
    which the connection is closed and the snapshot readable. When it is made, OSError where
    `record_to` cannot be opened, and TypeError where it is neither a path nor a binary file.
    """

    def __init__(
        self,
        chunks: Iterable[bytes],
        *,
        status: int = 200,
        headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
        response: Any = None,
        close: Callable[[], object] | None = None,
        abort: Callable[[], object] | None = None,
        is_pooled: bool = False,
        map_error: MapError | None = None,
        **options: Unpack[StreamOptions],
    ) -> None:
        head: Head = {"status": status, "headers": headers, "response": response}
        self._feed = Feed(head, map_error, **options)
        self._chunks = iter(chunks)
        self._close: Callable[[], object] | None = close or getattr(self._chunks, "close", None)
        self._abort = abort
        self._is_pooled = is_pooled
        # Whoever closes may be another thread or a signal handler. Each side writes its own flag
        # before it looks at the other's; where both let go, the lock makes it one, and never waits.
        self._is_reading = False
        self._is_closing = False
        self._is_held = threading.Lock()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Event:
        try:
            while (event := self._feed.take()) is Need.MORE:
                self._read()
        except BaseException:
            self._release()
            raise
        if event is Need.OVER:
            self._release()
            raise StopIteration
        return event  # type: ignore[return-value]  # pyright: ignore[reportReturnType]

    def open(self) -> Self:
        """Return the stream, once it is known to be one; else raise.

        Its head says so; with `will_retry`, its first frame.
        """
        try:
            while self._feed.is_undecided:
                self._read()
            self._feed.raise_if_refused()
        except BaseException:
            self._release()
            raise
        return self

    def _read(self) -> None:
        """Read once, and tell the feed what came: bytes, the end, or an exception."""
        self._is_reading = True
        since = time.monotonic()
        failure: Exception | None = None
        chunk: bytes | None = None
        try:
            try:
                if not self._is_closing:
                    chunk = next(self._chunks, None)
            except Exception as exc:  # noqa: BLE001  (it becomes one of ours)
                failure = exc
            if chunk is not None:
                self._feed.received(chunk, time.monotonic() - since)
            elif self._is_closing:
                self._feed.closed()
            else:
                self._feed.ended(failure)
        finally:
            self._is_reading = False
        if self._is_closing:
            self._release()

    def close(self) -> None:
        """Close the response. What has come can still be taken, then iteration raises.

        May be called from another thread or a signal handler while a read waits: it wakes that read
        where the adapter can (sockets, HTTP/1.1), else the read ends with the next bytes or its
        timeout. The reader then closes. A second call does nothing.
        """
        was_closing, self._is_closing = self._is_closing, True
        if not self._is_reading:
            self._release()
        elif self._abort is not None and not was_closing:
            self._abort()

    def _release(self) -> None:
        """Let the connection go, once: for another request, where its body was read to the end."""
        if not self._is_held.acquire(blocking=False):
            return
        try:
            self._linger()
        finally:
            self._feed.closed()
            if self._close is not None:
                with contextlib.suppress(Exception):  # nothing hangs on it any more
                    self._close()

    def _linger(self) -> None:
        """Read the end of the body behind `message_stop`, within small bounds."""
        if self._abort is None or not self._is_pooled or not self._feed.lingers:
            return
        limit = self._feed.machine.bytes_received + LINGER_BYTES
        until = time.monotonic() + LINGER_SECONDS
        # Nothing else bounds the wait of a blocking read, whose timeout is the library's.
        with alarm(LINGER_SECONDS, self._abort):
            while self._feed.lingers_below(limit) and time.monotonic() < until:
                self._read()
        self._feed.take_trailing()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._release()


class MessageStream(Stream[MessageStreamEvent], MessageStreamView):
    """A stream with the message in mind.

        for text in MessageStream(chunks).text_stream: ...

    All that reads shares one position: what one has taken, another does not see again.
    """

    @property
    def text_stream(self) -> Iterator[str]:
        """The texts, as they come; also those that came whole at the start of a block or message.

        A character that came in two halves comes whole. Raises at a cut or an error, as iteration
        does.
        """
        return filter(None, map(self._feed.texts.of, self))

    def until_done(self) -> None:
        """Read to the end. Raises as iteration does."""
        for _ in self:
            pass

    def get_final_message(self) -> Message:
        """Read to the end, and return the whole message; raise, each time, if there is none.

        Once the stream was read to its end this works without the connection, too.
        """
        self.until_done()
        return self._feed.machine.final_message()

    def get_final_text(self) -> str:
        """As `get_final_message`, but only the text of all text blocks; "" if there are none."""
        return joined_text(self.get_final_message())


# Asynchronous: the same steps. What reads is awaited, what looks is not.


class AsyncStream(StreamView, Generic[Event]):
    """As `Stream`, for an async iterable of bytes, in asyncio or trio.

    `close` is awaited, belongs to the loop that reads, and needs no `abort`. A cancelled read has
    closed the connection when the cancellation comes out of it; the snapshot stays readable.
    """

    def __init__(
        self,
        chunks: AsyncIterable[bytes],
        *,
        status: int = 200,
        headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
        response: Any = None,
        close: Callable[[], Awaitable[object]] | None = None,
        is_pooled: bool = False,
        map_error: MapError | None = None,
        **options: Unpack[StreamOptions],
    ) -> None:
        head: Head = {"status": status, "headers": headers, "response": response}
        self._feed = Feed(head, map_error, **options)
        self._chunks = aiter(chunks)
        self._close = close
        self._is_pooled = is_pooled
        self._is_reading = False
        self._is_closing = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        try:
            while (event := self._feed.take()) is Need.MORE:
                await self._read()
        except BaseException:
            await self._release()
            raise
        if event is Need.OVER:
            await self._release()
            raise StopAsyncIteration
        return event  # type: ignore[return-value]  # pyright: ignore[reportReturnType]

    async def open(self) -> Self:
        """Return the stream, once it is known to be one; else raise.

        Its head says so; with `will_retry`, its first frame.
        """
        try:
            while self._feed.is_undecided:
                await self._read()
            self._feed.raise_if_refused()
        except BaseException:
            await self._release()
            raise
        return self

    async def _read(self) -> None:
        self._is_reading = True
        since = time.monotonic()
        failure: Exception | None = None
        chunk: bytes | None = None
        try:
            if not self._is_closing:
                chunk = await anext(self._chunks, None)
        except Exception as exc:  # noqa: BLE001  (it becomes one of ours)
            failure = exc
        finally:
            self._is_reading = False
        if chunk is not None:
            self._feed.received(chunk, time.monotonic() - since)
        elif self._is_closing:
            self._feed.closed()
        else:
            self._feed.ended(failure)

    async def close(self) -> None:
        """Close the response. What has come can still be taken, then iteration raises.

        A second call does nothing.
        """
        self._is_closing = True
        await self._release()

    aclose = close

    async def _release(self) -> None:
        """Let the connection go; see `Stream`. It goes, too, where this is cancelled."""
        try:
            if self._is_pooled and self._feed.lingers:
                await at_most(LINGER_SECONDS, self._linger)
        finally:
            self._feed.closed()
            # An async generator that is left in the middle must be told: nobody else may close it.
            # It cannot be told while another task reads; closing the response will end that read.
            aclose = None if self._is_reading else getattr(self._chunks, "aclose", None)
            close, self._close = self._close, None
            try:
                await self._quietly(close)
            finally:
                await self._quietly(aclose)

    @staticmethod
    async def _quietly(let_go: Callable[[], Awaitable[object]] | None) -> None:
        if let_go is not None:
            with contextlib.suppress(Exception):  # nothing hangs on it any more
                await let_go()

    async def _linger(self) -> None:
        limit = self._feed.machine.bytes_received + LINGER_BYTES
        while self._feed.lingers_below(limit):
            await self._read()
        self._feed.take_trailing()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._release()


class AsyncMessageStream(AsyncStream[MessageStreamEvent], MessageStreamView):
    """As `MessageStream`; what reads is a coroutine, what looks is a plain property."""

    @property
    def text_stream(self) -> AsyncIterator[str]:
        """The texts, as they come; see `MessageStream.text_stream`."""
        return AsyncTexts(self, self._feed.texts)

    async def until_done(self) -> None:
        """Read to the end. Raises as iteration does."""
        async for _ in self:
            pass

    async def get_final_message(self) -> Message:
        """Read to the end, and return the whole message; see `MessageStream.get_final_message`."""
        await self.until_done()
        return self._feed.machine.final_message()

    async def get_final_text(self) -> str:
        """As `get_final_message`, but only the text of all text blocks; "" if there are none."""
        return joined_text(await self.get_final_message())


class AsyncTexts(AsyncIterator[str]):
    """The texts of a stream. Holds nothing: it may be dropped, and another goes on."""

    def __init__(self, events: AsyncIterator[MessageStreamEvent], texts: TextPieces) -> None:
        self._events = events
        self._texts = texts

    async def __anext__(self) -> str:
        async for event in self._events:
            if text := self._texts.of(event):
                return text
        raise StopAsyncIteration
