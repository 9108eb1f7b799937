"""The read loops: they turn an iterable of byte chunks into events, texts and a message.

The module depends on no HTTP library. `StreamCore` does everything except the reading. `Stream` and
`AsyncStream` are the same loop twice, once with `await`: change both together.

A stream is a plain iterator, without tasks and async generators. It can be dropped, closed or
cancelled at any time, and its snapshot stays readable.
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
    RESPONSE_PIECE_BYTES,
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

# Only a ping and the end of the body may follow message_stop. If the end does not come within
# DRAIN_BYTES and DRAIN_SECONDS, the connection is closed and not reused.
DRAIN_BYTES: Final = 65_536
DRAIN_SECONDS: Final = 1.0

# An AsyncStream lets other tasks run after RESPONSE_PIECE_BYTES of work, counted in bytes.
READ_COST: Final = 256
"""The work of a read, in bytes, besides its chunk. A small read takes about 60 µs (CPython)."""

EVENT_COST: Final = 64
"""The work of an event, in bytes. An event takes about 10 µs, even if it is skipped."""

ANOTHER_READER: Final = "another task is reading this stream; only one may read at a time"

# Synchronous.


class Stream(StreamView, Generic[Event]):
    """The events of one response, in order. Also a context manager that closes the response.

    Iteration ends without an exception only after `message_stop`. Any other end raises, including
    an error event and a broken connection. Every later read raises the same exception again.

    Args:
        chunks: The body, split anywhere. It is content-decoded already unless `is_raw` is true.
        status: The HTTP status. If it is not 2xx, the first read raises its APIStatusError.
        headers: The headers of the response.
        response: The response object of the HTTP library, for `stream.response`.
        close: Returns the connection to its pool, or closes it. Called once. Default:
            `chunks.close`.
        abort: Wakes a read that waits. It may be called from any thread and at any time.
        is_pooled: Whether the connection is reused once the body is read to its end. If so, the
            stream also reads what follows `message_stop`, within small bounds. This needs `abort`,
            because nothing else could end the wait for a body that does not end.
        is_raw: Whether `chunks` are still encoded as `content-encoding` says. A single gzip or
            deflate encoding is decoded. For any other encoding the first read raises.
        owner: The object that owns `chunks`, such as a client or a response. It and `chunks` stay
            alive until the stream is closed. `chunks` must not reference the stream.
        map_error: Turns an exception of `chunks` into an APIError. If it returns None, a
            TimeoutError becomes an APITimeoutError, any other exception an APIConnectionError.
        options: See `StreamOptions`.

    A dropped stream is closed in a new thread. Closing may need a lock, and the thread that drops
    the stream may hold that lock.

    Raises:
        APIError: A read failed. Every Exception of `chunks` becomes an APIError. KeyboardInterrupt
            and the like pass unchanged. They close the connection; the snapshot stays readable.
        RuntimeError: Another thread reads at the same time. That other read goes on.
        OSError: The constructor cannot open the file of `record_to`.
        TypeError: `record_to` is neither a path nor a binary file. Raised by the constructor.
    """

    _is_released = True  # for `__del__`, if `__init__` raises

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
        # `close` may run in another thread or in a signal handler. It and `_read` each set their
        # own flag before they read the other. If both call `_release`, one does it. Neither waits.
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
        """Return the stream once the response is known to be an event stream.

        The head of the response decides this. With `will_retry`, the first frame decides it.

        Raises:
            APIError: The response was refused, or the stream was closed before its end.
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
        """Read once, and pass the result to the core: bytes, the end, or an exception.

        If the last chunk has pieces left, pass on the next piece instead.
        """
        self._is_reading = True
        since = time.monotonic()
        failure: Exception | None = None
        chunk: bytes | None = None
        try:
            try:
                if not (self._is_closing or self._core.has_pieces):
                    chunk = next(self._chunks, None)
            except Exception as exc:  # noqa: BLE001  (the core maps it to an APIError)
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
        """Close the response. Received events can still be taken; after them iteration raises.

        Another thread or a signal handler may call this while a read waits. With sockets, and with
        httpx over HTTP/1.1, this wakes that read. Else the read ends with the next bytes or by its
        timeout. Then the reader closes the response. A second call does nothing.
        """
        was_closing, self._is_closing = self._is_closing, True
        if not self._is_reading:
            self._release()
        elif self._abort is not None and not was_closing:
            self._abort()

    def _release(self) -> None:
        """Release the connection, once. It is reused if its body was read to the end."""
        if not self._release_once.acquire(blocking=False):
            return
        try:
            self._drain()
        finally:
            if self._alarm is not None:
                self._alarm.cancel()
            self._is_released = True
            self._core.closed()
            try:
                if self._close is not None:
                    with contextlib.suppress(Exception):  # no result depends on it now
                        self._close()
            finally:
                self._owner = None
                let_go_of(self._chunks)

    def _drain(self) -> None:
        """Read the rest of the body after `message_stop`, within small bounds."""
        if self._abort is None or not self._is_pooled or not self._core.is_drainable:
            return
        limit = self._core.machine.bytes_received + DRAIN_BYTES
        until = time.monotonic() + DRAIN_SECONDS
        # The read timeout of the library may be much longer, so only the alarm ends a blocked read.
        with alarm(DRAIN_SECONDS, self._abort):
            while self._core.is_drainable_below(limit) and time.monotonic() < until:
                self._read()
        self._core.take_trailing()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._core.is_drainable:
            self._release()  # the message is complete, so the connection may be reused
        else:
            self.close()

    def __del__(self) -> None:
        if not self._is_released:
            if self._close is None:
                self.close()
            else:
                in_a_thread(self.close)


class MessageStream(Stream[MessageStreamEvent], MessageStreamView):
    """A stream of message events, with its texts and its final message.

        for text in MessageStream(chunks).text_stream: ...

    All readers share one position: an event that one reader has taken reaches no other reader.
    """

    @property
    def text_stream(self) -> Iterator[str]:
        """The texts as they arrive, including text in the start of a block or of a message.

        A character that is split over two deltas arrives as a whole. A broken connection
        or an error event raises, as in iteration.
        """
        return filter(None, map(self._core.texts.of, self))

    def until_done(self) -> None:
        """Read to the end. Raises as iteration does."""
        for _ in self:
            pass

    def get_final_message(self) -> Message:
        """Read to the end, and return the complete message. If there is none, every call raises.

        After the stream was read to its end, this needs no connection.
        """
        self.until_done()
        return self._core.machine.final_message()

    def get_final_text(self) -> str:
        """Return the text of all text blocks of the final message; "" if there are none."""
        return joined_text(self.get_final_message())


# Asynchronous: the same loop, with `await` at each read.


class AsyncStream(StreamView, Generic[Event]):
    """The async version of `Stream`, for an async iterable of bytes, in asyncio or trio.

    `close` is awaited in the event loop that reads. `close_ends_read` is whether `close` ends a
    read of another task. If not, `close` is called after that read has ended. A cancelled read
    closes the connection before it raises the cancellation, and the snapshot stays readable. A
    dropped stream is closed by the event loop in which it was made.
    """

    _is_released = True  # for `__del__`, if `__init__` raises

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
        close_ends_read: bool = True,
        **options: Unpack[StreamOptions],
    ) -> None:
        head: Head = {"status": status, "headers": headers, "response": response}
        self._core = StreamCore(head, map_error, is_raw=is_raw, **options)
        self._chunks = aiter(chunks)
        self._close_ends_read = close_ends_read
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
        if self._is_reading and not self._core.is_drainable:
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
        """Return the stream once it is known to be an event stream; see `Stream.open`."""
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
        """Read as `Stream` does, but yield to the event loop after 64 KiB or equally much work.

        This lets other tasks run and raises a pending cancellation. Awaiting a chunk may do
        neither, because the source may have its chunks ready.
        """
        events = self._core.machine.event_number
        self._unyielded += EVENT_COST * (events - self._events_counted)
        self._events_counted = events
        self._is_reading = True
        since = time.monotonic()
        failure: Exception | None = None
        chunk: bytes | None = None
        try:
            if self._unyielded >= RESPONSE_PIECE_BYTES:
                self._unyielded = 0
                await sleep(0)
                since = time.monotonic()  # the time of other tasks does not count
            if not (self._is_closing or self._core.has_pieces):
                following = partial(anext, self._chunks, None)
                chunk = await in_time(self._core.deadline, "stream", following)
        except Exception as exc:  # noqa: BLE001  (the core maps it to an APIError)
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
        """Close the response, as `Stream.close` does. A second call does nothing."""
        self._is_closing = True
        await self._release()

    aclose = close

    async def _release(self) -> None:
        """Release the connection as `Stream` does, even if this call is cancelled."""
        should_drain = self._is_pooled and self._core.is_drainable and not self._is_closing
        if self._is_released or (self._is_reading and (should_drain or not self._close_ends_read)):
            return  # another task is reading; it releases the connection when its read ends
        try:
            if should_drain:
                await at_most(DRAIN_SECONDS, self._drain)
        finally:
            self._core.closed()
            close, self._close = self._close, None
            try:
                await quietly(close)
            finally:
                if not self._is_reading:  # else the reading task ends now and calls this
                    await self._release_chunks()

    async def _release_chunks(self) -> None:
        """Close `chunks`: nothing else closes an async generator that is left unfinished."""
        try:
            await quietly(getattr(self._chunks, "aclose", None))
        finally:
            self._is_released = True
            self._owner = None
            let_go_of(self._chunks)

    async def _drain(self) -> None:
        limit = self._core.machine.bytes_received + DRAIN_BYTES
        while self._core.is_drainable_below(limit):
            await self._read()
        self._core.take_trailing()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._core.is_drainable:
            await self._release()
        else:
            await self.close()

    def __del__(self) -> None:
        if not self._is_released and not self._hand_over(self.close):
            self._core.closed()
            let_go_of(self._chunks)


class AsyncMessageStream(AsyncStream[MessageStreamEvent], MessageStreamView):
    """The async version of `MessageStream`. Methods that read are coroutines."""

    @property
    def text_stream(self) -> AsyncIterator[str]:
        """The texts as they arrive; see `MessageStream.text_stream`."""
        return AsyncTexts(self, self._core.texts)

    async def until_done(self) -> None:
        """Read to the end. Raises as iteration does."""
        async for _ in self:
            pass

    async def get_final_message(self) -> Message:
        """Read to the end, and return the complete message. See `MessageStream`."""
        await self.until_done()
        return self._core.machine.final_message()

    async def get_final_text(self) -> str:
        """Return the text of all text blocks of the final message; "" if there are none."""
        return joined_text(await self.get_final_message())
