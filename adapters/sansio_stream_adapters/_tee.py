"""A body that somebody else reads: each chunk goes on as it is, and an observer is told of it.

Changes nothing, holds nothing back, raises nothing of its own. It has the clock that the core has
not.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterable, AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any, Self, overload

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

    from sansio_stream.observer import Observer

__all__ = ["AsyncTee", "Tee", "tee"]


class Observed:
    """What both kinds share: an observer, and the time since the request was sent."""

    def __init__(self, observer: Observer, sent_at: float | None) -> None:
        self._observer = observer
        self._sent_at = time.monotonic() if sent_at is None else sent_at

    def _elapsed(self) -> float:
        return time.monotonic() - self._sent_at

    def _saw(self, chunk: bytes) -> None:
        self._observer.chunk(chunk, self._elapsed())

    def _ended(self, exc: BaseException | None = None) -> None:
        self._observer.end(exc, self._elapsed())

    def _left(self) -> None:
        self._observer.closed(self._elapsed())

    def __del__(self) -> None:
        # Where the construction failed there is no observer. After an end nothing is told again.
        with contextlib.suppress(AttributeError):
            self._left()


class Tee(Observed, Iterator[bytes]):
    """An iterator over the chunks of a body that tells an observer of each; see `tee`."""

    def __init__(
        self, chunks: Iterable[bytes], observer: Observer, sent_at: float | None = None
    ) -> None:
        super().__init__(observer, sent_at)
        self._chunks = iter(chunks)
        self._close: Callable[[], object] | None = getattr(chunks, "close", None)

    def __next__(self) -> bytes:
        try:
            chunk = next(self._chunks)
        except StopIteration:
            self._ended()
            self._close_source()
            raise
        except Exception as exc:
            self._ended(exc)
            self._close_source()
            raise
        except BaseException:
            # Ctrl-C, or a generator that is closed: the body has not failed, its reader goes away.
            self.close()
            raise
        self._saw(chunk)
        return chunk

    def close(self) -> None:
        """Note that the reader has left, if the body has not ended, and close the source."""
        self._left()
        self._close_source()

    def _close_source(self) -> None:
        close, self._close = self._close, None
        if close is not None:
            close()

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
    """An asynchronous iterator over the chunks of a body; see `tee`."""

    def __init__(
        self, chunks: AsyncIterable[bytes], observer: Observer, sent_at: float | None = None
    ) -> None:
        super().__init__(observer, sent_at)
        self._chunks = aiter(chunks)
        self._close: Callable[[], Any] | None = getattr(chunks, "aclose", None)

    async def __anext__(self) -> bytes:
        try:
            chunk = await anext(self._chunks)
        except StopAsyncIteration:
            self._ended()
            await self._close_source()
            raise
        except Exception as exc:
            self._ended(exc)
            await self._close_source()
            raise
        except BaseException:
            # A task that is cancelled: servers cancel the one that writes to a client that left.
            await self.aclose()
            raise
        self._saw(chunk)
        return chunk

    async def aclose(self) -> None:
        """Note that the reader has left, if the body has not ended, and close the source."""
        self._left()
        await self._close_source()

    async def _close_source(self) -> None:
        close, self._close = self._close, None
        if close is not None:
            await close()

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
    """Return the chunks as they come, and tell an observer of each and of how they end.

        with tee(response.iter_raw(), Observer(response.status_code, response.headers)) as chunks:
            for chunk in chunks:
                ...                              # pass it on

    Of an asynchronous iterable it returns an asynchronous iterator. Both are context managers. The
    source is closed (`close`, `aclose`) on every way out: its end, its exception, leaving the
    block, `close`, a cancellation or Ctrl-C while a chunk is awaited. One that is dropped tells the
    observer that the reader has left; its source is closed by whatever closes what is dropped.

    What the source raises is raised unchanged; the tee itself raises nothing. Cost of a chunk: that
    of the observer, and a look at the clock. Nothing is kept of a chunk.

    Args:
        chunks: bytes as they come, after content-decoding.
        observer: made from the status and the headers of the response.
        sent_at: when the request was sent, by `time.monotonic()`; without it, now.
    """
    if isinstance(chunks, AsyncIterable):
        return AsyncTee(chunks, observer, sent_at)
    return Tee(chunks, observer, sent_at)
