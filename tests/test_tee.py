"""A tee passes on every chunk. Its observer has a correct report, however the reading ends."""

import asyncio
import gc
import threading
import weakref
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, strategies as st

from sansio_stream import Observer, StreamMachine, Verdict
from sansio_stream.testing import FaultyStream, faults
from sansio_stream_adapters import AsyncTee, Tee, tee
from servers import PATIENCE, wait_until
from tracing import without_collections
from wire import HELLO, frame

CHUNKS = [frame(step) for step in HELLO]


Raised = BaseException | type[BaseException] | None


class Source:
    """A source of chunks, followed by an exception if one is given. It counts calls of `close`."""

    def __init__(self, chunks: list[bytes], exc: Raised = None) -> None:
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

    def __init__(self, chunks: list[bytes], exc: Raised = None) -> None:
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


def interrupted_at(method: str) -> Observer:
    """Return an observer that Ctrl-C interrupts in one of its methods."""

    class Stopped(Observer):
        pass

    def stopped(self: Observer, *args: Any) -> None:
        getattr(Observer, method)(self, *args)
        raise KeyboardInterrupt

    setattr(Stopped, method, stopped)
    return Stopped()


@BOTH
@pytest.mark.parametrize(
    ("method", "exc", "ended"),
    [
        ("chunk", None, "reader"),
        ("end", None, "eof"),
        ("end", ConnectionResetError("reset"), "error"),
        ("closed", asyncio.CancelledError(), "reader"),
    ],
)
def test_ctrl_c_in_the_observer_closes_the_source_without_a_with_block(
    kind: Sources, method: str, exc: Raised, ended: str
) -> None:
    source, observer = kind(CHUNKS[:4], exc), interrupted_at(method)
    with pytest.raises(KeyboardInterrupt):
        read(source, observer)
    assert (observer.report.ended, source.closed) == (ended, 1)


def test_ctrl_c_while_the_end_is_recorded_is_a_reader_that_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupted(*_: object) -> Iterator[Any]:
        monkeypatch.undo()
        raise KeyboardInterrupt

    monkeypatch.setattr(StreamMachine, "connection_lost", interrupted)
    source, observer = Source(CHUNKS[:4]), Observer()
    with pytest.raises(KeyboardInterrupt):
        read(source, observer)
    assert (observer.report.ended, source.closed) == ("reader", 1)
    assert observer.report.verdict is Verdict.PENDING


@pytest.mark.parametrize("fails", [False, True])
def test_the_source_of_a_dropped_tee_is_closed_by_a_thread(fails: bool) -> None:
    class Failing(Source):
        def close(self) -> None:
            super().close()
            threads.append(threading.get_ident())
            if fails:
                raise ConnectionError

    threads: list[int] = []
    source, observer = Failing(CHUNKS), Observer()
    assert next(tee(source, observer)) == CHUNKS[0]
    wait_until(lambda: len(threads) == 1, "the source is closed")
    assert threads != [threading.get_ident()]
    assert (source.closed, observer.report.ended) == (1, "reader")


def test_the_source_of_a_dropped_async_tee_is_closed_by_a_task() -> None:
    class Told(AsyncSource):
        async def aclose(self) -> None:
            await super().aclose()
            is_closed.set()

    async def main() -> None:
        assert await anext(tee(source, observer)) == CHUNKS[0]
        await asyncio.wait_for(is_closed.wait(), PATIENCE)

    is_closed = asyncio.Event()
    source, observer = Told(CHUNKS), Observer()
    asyncio.run(main())
    assert (source.closed, observer.report.ended) == (1, "reader")
    late = AsyncSource(CHUNKS)
    tee(late, Observer())  # without a loop nothing can be closed, and nothing is raised
    assert late.closed == 0


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


# Nothing is left of a stream.

ENDS = {
    "its end": (CHUNKS, None, ("eof", Verdict.COMPLETE)),
    "a failure": (CHUNKS[:4], ConnectionResetError, ("error", Verdict.TRUNCATED)),
    "Ctrl-C": (CHUNKS[:4], KeyboardInterrupt, ("reader", Verdict.PENDING)),
    "Ctrl-C in the observer": (CHUNKS, None, ("reader", Verdict.PENDING)),
    "cancellation": (CHUNKS[:4], asyncio.CancelledError, ("reader", Verdict.PENDING)),
    "leaving": (CHUNKS, None, ("reader", Verdict.PENDING)),
    "dropping": (CHUNKS, None, ("reader", Verdict.PENDING)),
}


class Interrupted(Observer):
    """An observer that Ctrl-C interrupts while it reads the fifth chunk."""

    def chunk(self, data: bytes | bytearray | memoryview, at: float | None = None) -> None:
        super().chunk(data, at)
        if data == CHUNKS[4]:
            raise KeyboardInterrupt


class Silent(AsyncSource):
    """One that waits for ever where `exc` says that the task is cancelled."""

    async def __anext__(self) -> bytes:
        try:
            return await super().__anext__()
        except asyncio.CancelledError:
            await asyncio.get_running_loop().create_future()
            raise


@BOTH
def test_of_a_thousand_streams_nothing_is_left_and_every_report_is_true(kind: Sources) -> None:
    """Nothing waits for the garbage collector, so nothing refers to itself."""
    alive: list[weakref.ref[Any]] = []
    told: Counter[tuple[str, tuple[str, Verdict]]] = Counter()
    closed: Counter[str] = Counter()

    def source_of(how: str) -> Any:
        base: Any = Silent if kind is AsyncSource else Source

        class Counted(base):  # type: ignore[misc]
            def close(self) -> None:
                closed[how] += 1

            async def aclose(self) -> None:
                closed[how] += 1

        return Counted

    classes = {how: source_of(how) for how in ENDS}

    async def read_async(how: str, chunks: AsyncTee) -> None:
        with suppress(ConnectionResetError, KeyboardInterrupt, asyncio.CancelledError):
            async for _ in chunks:
                if how == "leaving":
                    await chunks.aclose()
                if how in ("leaving", "dropping"):
                    return

    def read_sync(how: str, chunks: Tee) -> None:
        with suppress(ConnectionResetError, KeyboardInterrupt, asyncio.CancelledError):
            for _ in chunks:
                if how == "leaving":
                    chunks.close()
                if how in ("leaving", "dropping"):
                    return

    async def read(how: str) -> None:
        chunks, exc, _ = ENDS[how]
        source = classes[how](chunks, exc)
        observer = Interrupted() if how == "Ctrl-C in the observer" else Observer()
        alive.extend(map(weakref.ref, (source, observer, observer.machine)))
        passed: Any = tee(source, observer)
        alive.append(weakref.ref(passed))
        try:
            await (read_async(how, passed) if kind is AsyncSource else asyncio.sleep(0))
            if kind is Source:
                read_sync(how, passed)
        finally:
            del passed
            report = observer.report
            told[how, (report.ended, report.verdict)] += 1

    async def main() -> None:
        tasks = [(how, asyncio.create_task(read(how))) for how in ENDS for _ in range(200)]
        for _ in range(3 * len(CHUNKS)):
            await asyncio.sleep(0)
        for how, task in tasks:
            if how == "cancellation":
                task.cancel()
        await asyncio.wait([task for _, task in tasks])
        for _ in range(100):  # a dropped source is closed by a task of its own
            await asyncio.sleep(0)

    gc.collect()
    with without_collections():
        asyncio.run(main())
        # Or by a thread of its own, which may still run.
        wait_until(lambda: closed == dict.fromkeys(ENDS, 200), "every source is closed once")
        wait_until(lambda: not any(each() for each in alive), "nothing is left of any stream")
    assert told == {(how, end): 200 for how, (_, _, end) in ENDS.items()}
    assert len(alive) == 4 * 200 * len(ENDS)
