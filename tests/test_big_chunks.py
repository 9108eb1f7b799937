"""Test a chunk of megabytes without an event: other tasks run, and it can be cancelled.

The tests count turns of the event loop. They measure no time.
"""

import asyncio
import gzip
import io
import itertools
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, Final

import pytest

from sansio_stream import APIError, Verdict, parse_capture
from sansio_stream.testing import AsyncByteSource, ByteSource
from sansio_stream_adapters import AsyncMessageStream, MessageStream, _bridge
from servers import replace_time
from wire import HELLO, PING, body

RESPONSE_PIECE_BYTES: Final = 65_536
STEP_BYTES: Final = 8_192
SSE: Final = {"content-type": "text/event-stream"}
COMMENTS: Final = b":\n" * 2_000_000
PIECES: Final = len(COMMENTS) // RESPONSE_PIECE_BYTES
HELLO_BODY: Final = body(*HELLO)
WHOLE: Final = body(*HELLO[:4]) + COMMENTS + body(*HELLO[4:])
TEXT: Final = "Hello, wörld \N{PARTY POPPER}"


async def run_in_asyncio(
    reads: Callable[[], Coroutine[Any, Any, None]],
    meanwhile: Callable[[], None],
    cancel_at: int | None = None,
) -> None:
    """Run a reader, and call `meanwhile` in each turn of the loop until the reader has ended."""
    reader = asyncio.create_task(reads())
    turns = 0
    while not reader.done():
        meanwhile()
        turns += 1
        if turns == cancel_at:
            reader.cancel()
        await asyncio.sleep(0)
    assert reader.cancelled() == (cancel_at is not None)
    if cancel_at is None:
        reader.result()


async def run_in_trio(
    reads: Callable[[], Coroutine[Any, Any, None]],
    meanwhile: Callable[[], None],
    cancel_at: int | None = None,
) -> None:
    import trio

    ended = trio.Event()

    async def read() -> None:
        try:
            await reads()
        finally:
            ended.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        turns = 0
        while not ended.is_set():
            meanwhile()
            turns += 1
            if turns == cancel_at:
                nursery.cancel_scope.cancel()
            with trio.CancelScope(shield=True):
                await trio.lowlevel.checkpoint()
    assert nursery.cancel_scope.cancelled_caught == (cancel_at is not None)


@pytest.fixture(params=["asyncio", "trio"])
def runs(request: pytest.FixtureRequest) -> Callable[..., None]:
    """A function that runs a reader in an event loop and calls `meanwhile` in each turn."""
    if request.param == "asyncio":
        return lambda *arguments: asyncio.run(run_in_asyncio(*arguments))
    trio = pytest.importorskip("trio")
    return lambda *arguments: trio.run(run_in_trio, *arguments)


def test_a_chunk_of_megabytes_without_an_event_lets_other_tasks_run(
    runs: Callable[..., None],
) -> None:
    turns: list[None] = []
    texts: list[str] = []

    async def read() -> None:
        stream = AsyncMessageStream(AsyncByteSource([WHOLE]))
        texts.append(await stream.get_final_text())

    runs(read, lambda: turns.append(None))
    assert texts == [TEXT]
    assert len(turns) >= PIECES


def test_a_stream_can_be_cancelled_within_a_chunk_and_read_on_later(
    runs: Callable[..., None],
) -> None:
    source = AsyncByteSource([WHOLE])
    stream = AsyncMessageStream(source)
    ended: list[str] = []

    async def read() -> None:
        try:
            await stream.until_done()
        finally:
            ended.append(repr(stream))

    runs(read, lambda: None, 20)
    assert source.closed
    assert stream.verdict is Verdict.PENDING
    assert len(stream.current_message_snapshot.content) == 1
    # In twenty turns the stream reads about twenty pieces, a small part of the chunk.
    received = int(ended[0].split(": ")[1].split()[0])
    assert RESPONSE_PIECE_BYTES < received < 40 * RESPONSE_PIECE_BYTES
    # What had been received can still be taken.
    assert asyncio.run(stream.get_final_text()) == TEXT


def test_other_tasks_run_even_if_every_chunk_is_ready(
    runs: Callable[..., None],
) -> None:
    turns: list[None] = []
    many = [COMMENTS[:100]] * 10_000

    async def read() -> None:
        await AsyncMessageStream(AsyncByteSource([*many, HELLO_BODY])).until_done()

    runs(read, lambda: turns.append(None))
    assert len(turns) >= sum(map(len, many)) // RESPONSE_PIECE_BYTES


@pytest.mark.parametrize("frame", [b"data\n\n", b"data:{\n\n", b"event:x\ndata:{}\n\n"])
def test_other_tasks_run_after_at_most_1500_tiny_events(
    runs: Callable[..., None], frame: bytes
) -> None:
    """Each frame costs work, even if it is short or skipped."""
    turns: list[None] = []
    count = 10_000

    async def read() -> None:
        stream = AsyncMessageStream(AsyncByteSource([body(*HELLO[:4]), frame * count]))
        with pytest.raises(APIError):
            await stream.until_done()

    runs(read, lambda: turns.append(None))
    before_reading = 1
    assert count / (len(turns) - before_reading) < 1_500


def test_a_second_reader_is_refused_while_the_first_one_is_within_a_chunk() -> None:
    async def main() -> None:
        stream = AsyncMessageStream(AsyncByteSource([WHOLE]))
        first = asyncio.create_task(stream.get_final_text())
        refused = 0
        for _ in range(PIECES // 2):
            await asyncio.sleep(0)
            with pytest.raises(RuntimeError, match="another task is reading"):
                await anext(stream)
            refused += 1
        assert refused == PIECES // 2
        assert await first == TEXT

    asyncio.run(main())


def test_closing_within_a_chunk_raises_in_the_reader_and_keeps_received_content() -> None:
    async def main() -> None:
        source = AsyncByteSource([WHOLE[:-10], WHOLE[-10:]])
        stream = AsyncMessageStream(source)
        reading = asyncio.create_task(stream.until_done())
        for _ in range(10):
            await asyncio.sleep(0)
        await stream.close()
        with pytest.raises(APIError, match="closed before its end"):
            await reading
        assert source.closed
        assert stream.current_message_snapshot.content[0].to_dict()["text"] == TEXT

    asyncio.run(main())


PINGS: Final = body(PING) * 5_000
LONG_BODY: Final = body(*HELLO[:4]) + PINGS + body(*HELLO[4:])


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_the_events_of_a_big_chunk_are_complete_and_in_order(
    kind: Callable[[bytes], bytes],
) -> None:
    expected = [
        event.type
        for event in MessageStream(
            [LONG_BODY[at : at + 1000] for at in range(0, len(LONG_BODY), 1000)]
        )
    ]
    assert expected.count("ping") > 5_000
    assert [event.type for event in MessageStream([kind(LONG_BODY)])] == expected

    async def chunks() -> AsyncIterator[bytes]:
        yield kind(LONG_BODY)

    async def main() -> list[str]:
        return [event.type async for event in AsyncMessageStream(chunks())]

    assert asyncio.run(main()) == expected


def test_events_are_decoded_when_they_are_taken_and_not_ahead() -> None:
    source = ByteSource([LONG_BODY])
    stream = MessageStream(source)
    next(stream)
    assert source.delivered == len(LONG_BODY)
    assert f": {STEP_BYTES} bytes received, 1 events taken" in repr(stream)


def test_events_of_a_chunk_that_arrives_after_idle_are_given_out_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # By this clock, each read takes a hundred seconds.
    replace_time(monkeypatch, _bridge, monotonic=itertools.count(0, 100).__next__)
    assert MessageStream([COMMENTS + HELLO_BODY], idle=10).get_final_text() == TEXT


class RecordingFile(io.BytesIO):
    """A file that records the length of each write."""

    def __init__(self) -> None:
        super().__init__()
        self.lengths: list[int] = []

    def write(self, data: Any, /) -> int:
        self.lengths.append(len(data))
        return super().write(data)


@pytest.mark.parametrize("headers", [SSE, {**SSE, "content-encoding": "gzip"}])
def test_a_big_chunk_is_recorded_in_pieces(headers: dict[str, str]) -> None:
    file = RecordingFile()
    is_raw = "content-encoding" in headers
    chunks = [gzip.compress(WHOLE)] if is_raw else [WHOLE[:100], WHOLE[100:]]
    MessageStream(chunks, record_to=file, headers=headers, is_raw=is_raw).until_done()
    capture = parse_capture(file.getvalue())
    assert capture.body == WHOLE
    assert max(len(each.data) for each in capture.chunks) <= RESPONSE_PIECE_BYTES
    assert max(file.lengths) < 2 * RESPONSE_PIECE_BYTES


def test_other_tasks_run_while_a_big_chunk_is_recorded(runs: Callable[..., None]) -> None:
    file = RecordingFile()
    written: list[int] = []

    async def read() -> None:
        await AsyncMessageStream(AsyncByteSource([WHOLE]), record_to=file).until_done()

    runs(read, lambda: written.append(len(file.lengths)))
    assert parse_capture(file.getvalue()).body == WHOLE
    writes_per_turn = [later - now for now, later in itertools.pairwise(written)]
    assert max(writes_per_turn) <= 4


def test_a_chunk_that_is_not_bytes_is_a_type_error() -> None:
    for chunk in ("x" * 100_000, [1] * 100_000):
        with pytest.raises(TypeError):
            MessageStream([chunk]).until_done()  # type: ignore[list-item]  # a wrong type on purpose
