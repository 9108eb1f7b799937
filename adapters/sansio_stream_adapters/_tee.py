"""A tee for the body of a response: it passes each chunk on and notifies an observer.

It changes no chunk, delays none, and raises no exception of its own. It supplies the time of each
chunk, because `sansio_stream` has no clock.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterable, AsyncIterator, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, Self, overload

from ._dropped import handing_over, in_a_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

    from sansio_stream.observer import Observer

__all__ = ["AsyncTee", "Tee", "tee"]


class Follower(Protocol):
    """The object that a tee notifies: an `Observer`, or another object with these methods."""

    def chunk(self, data: bytes, at: float | None = None) -> None:
        """Record bytes of the body."""
        ...

    def end(self, exc: Exception | None = None, at: float | None = None) -> None:
        """Record the end of the body."""
        ...

    def closed(self, at: float | None = None) -> None:
        """Record that the reader stopped reading."""
        ...


class Observed:
    """The common part of both tees: the observer, and the time since the request was sent."""

    def __init__(self, observer: Follower, sent_at: float | None) -> None:
        self._observer = observer
        self._sent_at = time.monotonic() if sent_at is None else sent_at

    def _elapsed(self) -> float:
        return time.monotonic() - self._sent_at

    def _notify_chunk(self, chunk: bytes) -> None:
        self._observer.chunk(chunk, self._elapsed())

    def _notify_end(self, exc: Exception | None = None) -> None:
        self._observer.end(exc, self._elapsed())

    def _notify_closed(self) -> None:
        self._observer.closed(self._elapsed())

    def __del__(self) -> None:
        # If `__init__` failed, there is no observer. After the end, the observer ignores this call.
        with contextlib.suppress(AttributeError):
            self._notify_closed()


def call_quietly(close: Callable[[], object]) -> None:
    """Close a source, and ignore its exceptions, which nobody could catch."""
    with contextlib.suppress(Exception):
        close()


class Tee(Observed, Iterator[bytes]):
    """An iterator over the chunks of a body that notifies an observer of each. See `tee`."""

    def __init__(
        self, chunks: Iterable[bytes], observer: Follower, sent_at: float | None = None
    ) -> None:
        super().__init__(observer, sent_at)
        self._chunks = iter(chunks)
        self._close: Callable[[], object] | None = getattr(chunks, "close", None)

    def __next__(self) -> bytes:
        try:
            try:
                chunk = next(self._chunks)
            except StopIteration:
                self._notify_end()
                raise
            except Exception as exc:
                self._notify_end(exc)
                raise
            self._notify_chunk(chunk)
        except BaseException:
            # After the end of the body, the observer ignores the notice that `close` gives. Before
            # it, the exception is Ctrl-C or the GeneratorExit of a closed generator. Then the
            # reader left, and the body did not fail.
            self.close()
            raise
        return chunk

    def close(self) -> None:
        """Close the source. If the body has not ended, the observer notes that the reader left."""
        try:
            self._notify_closed()
        finally:
            close, self._close = self._close, None
            if close is not None:
                close()

    def __del__(self) -> None:
        super().__del__()
        close = getattr(self, "_close", None)
        if close is not None:
            in_a_thread(partial(call_quietly, close))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class AsyncTee(Observed, AsyncIterator[bytes]):
    """An asynchronous iterator over the chunks of a body. See `tee`."""

    def __init__(
        self, chunks: AsyncIterable[bytes], observer: Follower, sent_at: float | None = None
    ) -> None:
        super().__init__(observer, sent_at)
        self._chunks = aiter(chunks)
        self._close: Callable[[], Any] | None = getattr(chunks, "aclose", None)
        self._hand_over = handing_over()

    async def __anext__(self) -> bytes:
        try:
            try:
                chunk = await anext(self._chunks)
            except StopAsyncIteration:
                self._notify_end()
                raise
            except Exception as exc:
                self._notify_end(exc)
                raise
            self._notify_chunk(chunk)
        except BaseException:
            # After the end of the body, the observer ignores the notice that `aclose` gives. Before
            # it, the exception is Ctrl-C or a cancellation. For example, a server cancels the task
            # that writes to a client when this client has left.
            await self.aclose()
            raise
        return chunk

    async def aclose(self) -> None:
        """Close the source. If the body has not ended, the observer notes that the reader left."""
        try:
            self._notify_closed()
        finally:
            close, self._close = self._close, None
            if close is not None:
                await close()

    def __del__(self) -> None:
        super().__del__()
        close = getattr(self, "_close", None)
        if close is not None:
            self._hand_over(close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()


@overload
def tee(chunks: Iterable[bytes], observer: Observer, *, sent_at: float | None = None) -> Tee: ...
@overload
def tee(
    chunks: AsyncIterable[bytes], observer: Observer, *, sent_at: float | None = None
) -> AsyncTee: ...
def tee(
    chunks: Iterable[bytes] | AsyncIterable[bytes],
    observer: Observer,
    *,
    sent_at: float | None = None,
) -> Tee | AsyncTee:
    """Pass the chunks of a body on, and notify an observer of each chunk and of the end.

        with tee(response.iter_raw(), Observer(response.status_code, response.headers)) as chunks:
            for chunk in chunks:
                ...                              # pass it on

    An asynchronous iterable gives an asynchronous iterator. Both kinds are context managers. The
    tee closes its source with the method `close` or `aclose` of the source. It does so at the end
    of the source, at the end of the `with` block, when the tee itself is closed, and at any
    exception in the tee. Such an exception may come from the source. It may also be a cancellation
    or Ctrl-C.

    If a tee is dropped without being closed, it notifies the observer that the reader has left. A
    new thread or a new task of the event loop then closes the source. A tee may be dropped
    anywhere, even while a lock is held that the source needs, so the source is not closed at that
    place. If the event loop has ended, an asynchronous source is not closed.

    An exception of the source passes unchanged. The tee raises none of its own. A chunk costs what
    the observer costs, and one reading of the clock. The tee keeps no chunk.

    Args:
        chunks: the body as it arrives, after content-decoding. It may be before content-decoding if
            the observer was made with `make_decoder`.
        observer: an observer made from the status and the headers of the response.
        sent_at: the `time.monotonic()` at which the request was sent. Default: now.
    """
    if isinstance(chunks, AsyncIterable):
        return AsyncTee(chunks, observer, sent_at)
    return Tee(chunks, observer, sent_at)
