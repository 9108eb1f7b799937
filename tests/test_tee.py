"""A tee passes on every chunk. Its observer has a correct report, however the reading ends."""

import asyncio
import gc
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from hypothesis import given, strategies as st

from sansio_stream import Observer, Verdict
from sansio_stream.testing import FaultyStream, faults
from sansio_stream_adapters import AsyncTee, Tee, tee
from wire import HELLO, frame

CHUNKS = [frame(step) for step in HELLO]


class Source:
    """A source of chunks, followed by an exception if one is given. It counts calls of `close`."""

    def __init__(self, chunks: list[bytes], exc: BaseException | None = None) -> None:
        self.chunks = iter(chunks)
        self.exc = exc
        self.closed = 0

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        for chunk in self.chunks:
            return chunk
        raise self.exc or StopIteration

    def close(self) -> None:
        self.closed += 1


class AsyncSource:
    """An asynchronous `Source`."""

    def __init__(self, chunks: list[bytes], exc: BaseException | None = None) -> None:
        self.chunks = iter(chunks)
        self.exc = exc
        self.closed = 0

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        await asyncio.sleep(0)
        for chunk in self.chunks:
            return chunk
        raise self.exc or StopAsyncIteration

    async def aclose(self) -> None:
        self.closed += 1


Sources = type[Source] | type[AsyncSource]


def read(source: Source | AsyncSource, observer: Observer) -> list[bytes]:
    """Read a source to its end through a tee."""
    if isinstance(source, Source):
        return list(tee(source, observer))
    return asyncio.run(everything(tee(source, observer)))


async def everything(chunks: AsyncTee) -> list[bytes]:
    return [chunk async for chunk in chunks]


BOTH = pytest.mark.parametrize("kind", [Source, AsyncSource])


@BOTH
def test_every_chunk_is_passed_on_unchanged_and_the_end_is_reported(kind: Sources) -> None:
    source, observer = kind(CHUNKS), Observer()
    assert read(source, observer) == CHUNKS
    report = observer.report
    assert (report.verdict, report.ended, source.closed) == (Verdict.COMPLETE, "eof", 1)
    assert report.first_byte is not None
    assert report.end is not None
    assert 0 <= report.first_byte <= report.end


@BOTH
def test_an_exception_of_the_source_is_passed_on_and_reported(kind: Sources) -> None:
    source, observer = kind(CHUNKS[:4], ConnectionResetError("reset")), Observer()
    with pytest.raises(ConnectionResetError) as caught:
        read(source, observer)
    assert caught.value is source.exc
    report = observer.report
    assert (report.verdict, report.ended, source.closed) == (Verdict.TRUNCATED, "error", 1)
    assert report.error_type == "ConnectionResetError"


@pytest.mark.parametrize("exc", [KeyboardInterrupt(), asyncio.CancelledError(), SystemExit()])
def test_an_interruption_is_reported_as_closed_by_the_reader(exc: BaseException) -> None:
    source, observer = Source(CHUNKS[:4], exc), Observer()
    with pytest.raises(type(exc)):
        read(source, observer)
    assert (observer.report.ended, source.closed) == ("reader", 1)
    assert observer.report.verdict is Verdict.PENDING


def test_a_cancellation_is_reported_as_closed_by_the_reader() -> None:
    class Silent(AsyncSource):
        async def __anext__(self) -> bytes:
            for chunk in self.chunks:
                return chunk
            waits.set()
            await asyncio.get_running_loop().create_future()
            raise AssertionError

    async def main() -> None:
        task = asyncio.ensure_future(everything(tee(source, observer)))
        await waits.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    waits = asyncio.Event()
    source, observer = Silent(CHUNKS[:4]), Observer()
    asyncio.run(main())
    assert (observer.report.ended, source.closed) == ("reader", 1)


def test_the_end_of_the_with_block_closes_the_source() -> None:
    source, observer = Source(CHUNKS), Observer()
    with tee(source, observer) as chunks:
        assert next(chunks) == CHUNKS[0]
    assert (observer.report.ended, source.closed) == ("reader", 1)
    chunks.close()
    assert source.closed == 1


def test_the_end_of_the_async_with_block_closes_the_source() -> None:
    async def main() -> None:
        async with tee(source, observer) as chunks:
            assert await anext(chunks) == CHUNKS[0]
        await chunks.aclose()

    source, observer = AsyncSource(CHUNKS), Observer()
    asyncio.run(main())
    assert (observer.report.ended, source.closed) == ("reader", 1)


def test_closing_after_the_end_changes_nothing() -> None:
    source, observer = Source(CHUNKS), Observer()
    with tee(source, observer) as chunks:
        list(chunks)
    assert (observer.report.ended, source.closed) == ("eof", 1)
    assert list(chunks) == []


@pytest.mark.parametrize(("tee_of", "kind"), [(Tee, Source), (AsyncTee, AsyncSource)])
def test_the_deletion_of_a_tee_is_reported_as_closed_by_the_reader(tee_of: Any, kind: Any) -> None:
    observer = Observer()
    chunks = tee_of(kind(CHUNKS), observer)
    del chunks
    gc.collect()
    assert observer.report.ended == "reader"
    with pytest.raises(TypeError):
        tee_of(3, observer)


def test_a_source_without_close_can_be_read() -> None:
    observer = Observer()
    assert list(tee(CHUNKS, observer)) == CHUNKS
    assert observer.report.verdict is Verdict.COMPLETE


@given(faults(), st.sampled_from([Source, AsyncSource]))
def test_every_chunk_and_exception_of_any_stream_is_passed_on(
    stream: FaultyStream, kind: Any
) -> None:
    observer = Observer()
    source = kind(list(stream.chunks), stream.exception)
    if stream.exception is None:
        assert read(source, observer) == list(stream.chunks)
    else:
        with pytest.raises(type(stream.exception)):
            read(source, observer)
    assert stream.verdict in (None, observer.report.verdict)
    assert observer.report.bytes == len(b"".join(stream.chunks))


def test_times_are_relative_to_the_time_of_the_request(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("sansio_stream_adapters._tee.time.monotonic", lambda: now[0])
    observer = Observer()
    for _ in tee(CHUNKS, observer, sent_at=98.0):
        now[0] += 1
    assert (observer.report.first_byte, observer.report.end) == (2.0, 2.0 + len(CHUNKS))
