"""The loops: any iterable, or async iterable, of bytes in; events, texts and a message out.

Knows no HTTP library. What is not a loop is in `StreamCore`, which reads nothing. The two streams
below are the same steps twice, once with `await`. No tasks, no async generators: an iterator here
is an object that may be dropped, closed or cancelled at any time, and its snapshot stays readable.
"""

from __future__ import annotations

import contextlib
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Generic, Self, TypeVar, Unpack

from sansio_stream.events import MessageStreamEvent

from ._concurrency import alarm, at_most, in_time, quietly, sleep, timer
from ._dropped import handing_over, hold, in_a_thread, let_go_of
from ._reply import AsyncReply, Reply
from ._stream_core import (
    PIECE_BYTES,
    Head,
    ReadSignal,
    Response,
    StreamCore,
    StreamOptions,
)
from ._texts import AsyncTexts, joined_text
from ._view import MessageStreamView, StreamView

if TYPE_CHECKING:
    from collections.abc import (
        AsyncIterable,
        AsyncIterator,
        Awaitable,
        Callable,
        Iterable,
        Iterator,
        Mapping,
    )

    from sansio_stream.message import Message

    from ._errors import MapError

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

READ_COST: Final = 256
"""A read costs at least as much as so many bytes, however few it brings (about 60 µs, CPython)."""

EVENT_COST: Final = 64
"""An event costs at least as much as so many bytes more, also one that is skipped (10 µs)."""


ANOTHER_READER: Final = "another task is reading this stream: one task, or thread, at a time"

# Synchronous.


class Stream(StreamView, Generic[Event]):
    """The events of one response, in the order they came; also a context manager that closes.

    Iteration ends behind `message_stop`; it raises at anything else that ends the stream, an error
    of the server and a cut included, so it never just ends. What raised once is raised ever after.

    Args:
        chunks: the body, after content-decoding unless `is_raw`; cut anywhere.
        status: of the response. One that is not 2xx raises its APIStatusError from the first read.
        headers: of the response.
        response: the HTTP library's response, for `stream.response`.
        close: gives the connection back or closes it; called once. Without it, `chunks.close`.
        abort: wakes a read that is waiting, from any thread; may be called at any time.
        is_pooled: whether the connection serves other requests once the body is read to its end.
            Then what stands behind `message_stop` is read, within small bounds; without `abort` it
            is not, because nothing could end the wait for a body that does not end there.
        is_raw: whether chunks are as `content-encoding` says: gzip or deflate, once; else refused.
        owner: what the chunks come from: a client, a response. It lives until the stream is closed,
            and so do the chunks, which must not hold the stream.
        map_error: makes one of our exceptions of what `chunks` raises. What it returns None for is
            an APITimeoutError if it is a TimeoutError, and else an APIConnectionError.
        options: see `StreamOptions`.

    A stream that is dropped is closed, too: in a thread of its own, because `close` may wait for a
    lock that whoever drops it holds.

    Raises APIError and its subclasses only, beside what is no Exception (KeyboardInterrupt), after
    which the connection is closed and the snapshot readable; and RuntimeError from a second reader
    while a first one reads, which goes on. When it is made, OSError where `record_to` cannot be
    opened, and TypeError where it is neither a path nor a binary file.
    """

    _is_released = True  # if `__init__` raises

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
        is_raw: bool = False,
        map_error: MapError | None = None,
        owner: object = None,
        **options: Unpack[StreamOptions],
    ) -> None:
        head: Head = {"status": status, "headers": headers, "response": response}
        self._core = StreamCore(head, map_error, is_raw=is_raw, **options)
        self._chunks = iter(chunks)
        self._close: Callable[[], object] | None = close or getattr(self._chunks, "close", None)
        self._abort = abort
        self._is_pooled = is_pooled
        self._owner = owner
        if owner is not None:
            hold(self._chunks)
        self._turn = threading.Lock()
        # Whoever closes may be another thread or a signal handler. Each side writes its own flag
        # before it looks at the other's; where both let go, the lock makes it one, and never waits.
        self._is_reading = False
        self._is_closing = False
        self._release_once = threading.Lock()
        deadline = self._core.deadline
        self._alarm = None if deadline is None or abort is None else timer(deadline.left, abort)
        self._is_released = False

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Event:
        if not self._turn.acquire(blocking=False):
            raise RuntimeError(ANOTHER_READER)
        try:
            while (event := self._core.take()) is ReadSignal.NEED_DATA:
                self._read()
        except BaseException:
            self._release()
            raise
        finally:
            self._turn.release()
        if event is ReadSignal.END_OF_STREAM:
            self._release()
            raise StopIteration
        return event  # type: ignore[return-value]  # pyright: ignore[reportReturnType]

    def open(self) -> Self:
        """Return the stream, once it is known to be one; else raise.

        Its head says so; with `will_retry`, its first frame. One that was closed before its end
        raises, too.
        """
        if not self._turn.acquire(blocking=False):
            raise RuntimeError(ANOTHER_READER)
        try:
            while self._core.is_undecided:
                self._read()
            self._core.raise_if_refused()
        except BaseException:
            self._release()
            raise
        finally:
            self._turn.release()
        return self

    def _read(self) -> None:
        """Read once, and tell the feed what came: bytes, the end, or an exception.

        Where a chunk has pieces left, have the feed take the next one instead.
        """
        self._is_reading = True
        since = time.monotonic()
        failure: Exception | None = None
        chunk: bytes | None = None
        try:
            try:
                if not (self._is_closing or self._core.has_pieces):
                    chunk = next(self._chunks, None)
            except Exception as exc:  # noqa: BLE001  (it becomes one of ours)
                failure = exc
            if self._core.has_pieces:
                self._core.go_on()
            elif chunk is not None:
                self._core.received(chunk, time.monotonic() - since)
            elif self._is_closing:
                self._core.closed()
            else:
                self._core.ended(failure)
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
        if not self._release_once.acquire(blocking=False):
            return
        try:
            self._linger()
        finally:
            if self._alarm is not None:
                self._alarm.cancel()
            self._is_released = True
            self._core.closed()
            try:
                if self._close is not None:
                    with contextlib.suppress(Exception):  # nothing hangs on it any more
                        self._close()
            finally:
                self._owner = None
                let_go_of(self._chunks)

    def _linger(self) -> None:
        """Read the end of the body behind `message_stop`, within small bounds."""
        if self._abort is None or not self._is_pooled or not self._core.lingers:
            return
        limit = self._core.machine.bytes_received + LINGER_BYTES
        until = time.monotonic() + LINGER_SECONDS
        # Nothing else bounds the wait of a blocking read, whose timeout is the library's.
        with alarm(LINGER_SECONDS, self._abort):
            while self._core.lingers_below(limit) and time.monotonic() < until:
                self._read()
        self._core.take_trailing()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._core.lingers:
            self._release()  # the message is there, and the pool would like to have the connection
        else:
            self.close()

    def __del__(self) -> None:
        if not self._is_released:
            if self._close is None:
                self.close()
            else:
                in_a_thread(self.close)


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
        return filter(None, map(self._core.texts.of, self))

    def until_done(self) -> None:
        """Read to the end. Raises as iteration does."""
        for _ in self:
            pass

    def get_final_message(self) -> Message:
        """Read to the end, and return the whole message; raise, each time, if there is none.

        Once the stream was read to its end this works without the connection, too.
        """
        self.until_done()
        return self._core.machine.final_message()

    def get_final_text(self) -> str:
        """As `get_final_message`, but only the text of all text blocks; "" if there are none."""
        return joined_text(self.get_final_message())


# Asynchronous: the same steps. What reads is awaited, what looks is not.


class AsyncStream(StreamView, Generic[Event]):
    """As `Stream`, for an async iterable of bytes, in asyncio or trio.

    `close` is awaited, and belongs to the loop that reads. Without `wakes` it does not end a read
    that waits in another task, and is called only when that has ended. A cancelled read has closed
    the connection when the cancellation comes out of it; the snapshot stays readable. A stream that
    is dropped is closed by the loop in which it was made.
    """

    _is_released = True  # if `__init__` raises

    def __init__(
        self,
        chunks: AsyncIterable[bytes],
        *,
        status: int = 200,
        headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
        response: Any = None,
        close: Callable[[], Awaitable[object]] | None = None,
        is_pooled: bool = False,
        is_raw: bool = False,
        map_error: MapError | None = None,
        owner: object = None,
        wakes: bool = True,
        **options: Unpack[StreamOptions],
    ) -> None:
        head: Head = {"status": status, "headers": headers, "response": response}
        self._core = StreamCore(head, map_error, is_raw=is_raw, **options)
        self._chunks = aiter(chunks)
        self._wakes = wakes
        self._close = close
        self._is_pooled = is_pooled
        self._owner = owner
        if owner is not None:
            hold(self._chunks)
        self._is_reading = False
        self._is_closing = False
        self._unyielded = 0
        self._events_counted = 0
        self._hand_over = handing_over()
        self._is_released = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        if self._is_reading and not self._core.lingers:
            raise RuntimeError(ANOTHER_READER)
        try:
            while (event := self._core.take()) is ReadSignal.NEED_DATA:
                await self._read()
        except BaseException:
            await self._release()
            raise
        if event is ReadSignal.END_OF_STREAM:
            await self._release()
            raise StopAsyncIteration
        return event  # type: ignore[return-value]  # pyright: ignore[reportReturnType]

    async def open(self) -> Self:
        """Return the stream, once it is known to be one; else raise.

        Its head says so; with `will_retry`, its first frame. One that was closed before its end
        raises, too.
        """
        if self._is_reading:
            raise RuntimeError(ANOTHER_READER)
        try:
            while self._core.is_undecided:
                await self._read()
            self._core.raise_if_refused()
        except BaseException:
            await self._release()
            raise
        return self

    async def _read(self) -> None:
        """As `Stream` does; after 64 KiB, or as much work, other tasks run and a cancellation is
        raised.

        A source may have its chunks ready, and then awaiting them lets nobody else run.
        """
        events = self._core.machine.event_number
        self._unyielded += EVENT_COST * (events - self._events_counted)
        self._events_counted = events
        self._is_reading = True
        since = time.monotonic()
        failure: Exception | None = None
        chunk: bytes | None = None
        try:
            if self._unyielded >= PIECE_BYTES:
                self._unyielded = 0
                await sleep(0)
                since = time.monotonic()  # what others do meanwhile is no wait for content
            if not (self._is_closing or self._core.has_pieces):
                following = partial(anext, self._chunks, None)
                chunk = await in_time(self._core.deadline, "stream", following)
        except Exception as exc:  # noqa: BLE001  (it becomes one of ours)
            failure = exc
        finally:
            self._is_reading = False
        if self._core.has_pieces:
            self._unyielded += self._core.go_on()
        elif chunk is not None:
            self._unyielded += READ_COST + self._core.received(chunk, time.monotonic() - since)
        elif self._is_closing:
            self._core.closed()
        else:
            self._core.ended(failure)
        if self._is_closing:
            await self._release()

    async def close(self) -> None:
        """Close the response. What has come can still be taken, then iteration raises.

        A second call does nothing.
        """
        self._is_closing = True
        await self._release()

    aclose = close

    async def _release(self) -> None:
        """Let the connection go; see `Stream`. It goes, too, where this is cancelled."""
        is_to_linger = self._is_pooled and self._core.lingers and not self._is_closing
        if self._is_released or (self._is_reading and (is_to_linger or not self._wakes)):
            return  # another task reads, and lets go then
        try:
            if is_to_linger:
                await at_most(LINGER_SECONDS, self._linger)
        finally:
            self._core.closed()
            close, self._close = self._close, None
            try:
                await quietly(close)
            finally:
                if not self._is_reading:  # else that read ends now, and its task comes here
                    await self._release_chunks()

    async def _release_chunks(self) -> None:
        """Tell an async generator that is left in the middle, because nobody else will."""
        try:
            await quietly(getattr(self._chunks, "aclose", None))
        finally:
            self._is_released = True
            self._owner = None
            let_go_of(self._chunks)

    async def _linger(self) -> None:
        limit = self._core.machine.bytes_received + LINGER_BYTES
        while self._core.lingers_below(limit):
            await self._read()
        self._core.take_trailing()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._core.lingers:
            await self._release()
        else:
            await self.close()

    def __del__(self) -> None:
        if not self._is_released and not self._hand_over(self.close):
            self._core.closed()
            let_go_of(self._chunks)


class AsyncMessageStream(AsyncStream[MessageStreamEvent], MessageStreamView):
    """As `MessageStream`; what reads is a coroutine, what looks is a plain property."""

    @property
    def text_stream(self) -> AsyncIterator[str]:
        """The texts, as they come; see `MessageStream.text_stream`."""
        return AsyncTexts(self, self._core.texts)

    async def until_done(self) -> None:
        """Read to the end. Raises as iteration does."""
        async for _ in self:
            pass

    async def get_final_message(self) -> Message:
        """Read to the end, and return the whole message; see `MessageStream.get_final_message`."""
        await self.until_done()
        return self._core.machine.final_message()

    async def get_final_text(self) -> str:
        """As `get_final_message`, but only the text of all text blocks; "" if there are none."""
        return joined_text(await self.get_final_message())
