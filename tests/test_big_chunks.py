"""A chunk of megabytes without an event: other tasks run, a cancellation is heard, nothing is lost.

Turns of the loop are counted, never time.
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
COMMENTS: Final = b":\n" * 4_000_000
PIECES: Final = len(COMMENTS) // RESPONSE_PIECE_BYTES
HELLO_BODY: Final = body(*HELLO)
WHOLE: Final = body(*HELLO[:4]) + COMMENTS + body(*HELLO[4:])
SAID: Final = "Hello, wörld \N{PARTY POPPER}"


async def run_in_asyncio(
    reads: Callable[[], Coroutine[Any, Any, None]],
    meanwhile: Callable[[], None],
    cancel_at: int | None = None,
) -> None:
    """Run a reader, and call something in each turn of the loop until the reader has ended."""
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
    """Runs a reader in a loop, beside something that is called in each turn of it."""
    if request.param == "asyncio":
        return lambda *arguments: asyncio.run(run_in_asyncio(*arguments))
    trio = pytest.importorskip("trio")
    return lambda *arguments: trio.run(run_in_trio, *arguments)


def test_a_chunk_of_megabytes_without_an_event_lets_other_tasks_run(
    runs: Callable[..., None],
) -> None:
    turns: list[None] = []
    said: list[str] = []

    async def read() -> None:
        stream = AsyncMessageStream(AsyncByteSource([WHOLE]))
        said.append(await stream.get_final_text())

    runs(read, lambda: turns.append(None))
    assert said == [SAID]
    assert len(turns) >= PIECES


def test_a_cancellation_within_a_chunk_is_heard_and_what_came_stays_readable(
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
    # Twenty turns let twenty pieces through, and a few more or less, but not most of them.
    received = int(ended[0].split(": ")[1].split()[0])
    assert RESPONSE_PIECE_BYTES < received < 40 * RESPONSE_PIECE_BYTES
    # What had been received can still be taken.
    assert asyncio.run(stream.get_final_text()) == SAID


def test_a_source_that_has_its_chunks_ready_lets_other_tasks_run(
    runs: Callable[..., None],
) -> None:
    turns: list[None] = []
    many = [COMMENTS[:100]] * 10_000

    async def read() -> None:
        await AsyncMessageStream(AsyncByteSource([*many, HELLO_BODY])).until_done()

    runs(read, lambda: turns.append(None))
    assert len(turns) >= sum(map(len, many)) // RESPONSE_PIECE_BYTES


@pytest.mark.parametrize("frame", [b"data\n\n", b"data:{\n\n", b"event:x\ndata:{}\n\n"])
def test_tiny_events_let_other_tasks_run_after_a_thousand_or_little_more(
    runs: Callable[..., None], frame: bytes
) -> None:
    """Most of the work is done for a frame, however short it is, and for one that is skipped."""
    turns: list[None] = []
    count = 20_000

    async def read() -> None:
        stream = AsyncMessageStream(AsyncByteSource([body(*HELLO[:4]), frame * count]))
        with pytest.raises(APIError):
            await stream.until_done()

    runs(read, lambda: turns.append(None))
    assert count / len(turns) < 1_500


def test_another_reader_is_refused_while_the_first_lets_others_run() -> None:
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
        assert await first == SAID

    asyncio.run(main())


def test_who_closes_within_a_chunk_finds_what_came_and_then_an_error() -> None:
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
        assert stream.current_message_snapshot.content[0].to_dict()["text"] == SAID

    asyncio.run(main())


PINGS: Final = body(PING) * 20_000
LONG_BODY: Final = body(*HELLO[:4]) + PINGS + body(*HELLO[4:])


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_events_of_a_big_chunk_come_in_their_order_and_none_is_lost(
    kind: Callable[[bytes], bytes],
) -> None:
    expected = [
        event.type
        for event in MessageStream(
            [LONG_BODY[at : at + 1000] for at in range(0, len(LONG_BODY), 1000)]
        )
    ]
    assert expected.count("ping") > 20_000
    assert [event.type for event in MessageStream([kind(LONG_BODY)])] == expected

    async def chunks() -> AsyncIterator[bytes]:
        yield kind(LONG_BODY)

    async def main() -> list[str]:
        return [event.type async for event in AsyncMessageStream(chunks())]

    assert asyncio.run(main()) == expected


def test_events_are_decoded_as_they_are_taken_and_no_piece_is_read_ahead() -> None:
    source = ByteSource([LONG_BODY])
    stream = MessageStream(source)
    next(stream)
    assert source.delivered == len(LONG_BODY)
    assert f": {STEP_BYTES} bytes received, 1 events taken" in repr(stream)


def test_what_stands_in_a_chunk_that_was_waited_for_too_long_is_given_out_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Each read takes a hundred seconds, by this clock.
    replace_time(monkeypatch, _bridge, monotonic=itertools.count(0, 100).__next__)
    assert MessageStream([COMMENTS + HELLO_BODY], idle=10).get_final_text() == SAID


class Lines(io.BytesIO):
    """A file that knows how long what was written at once was."""

    def __init__(self) -> None:
        super().__init__()
        self.lengths: list[int] = []

    def write(self, data: Any, /) -> int:
        self.lengths.append(len(data))
        return super().write(data)


@pytest.mark.parametrize("headers", [SSE, {**SSE, "content-encoding": "gzip"}])
def test_a_recording_has_a_big_chunk_in_pieces(headers: dict[str, str]) -> None:
    file = Lines()
    is_raw = "content-encoding" in headers
    chunks = [gzip.compress(WHOLE)] if is_raw else [WHOLE[:100], WHOLE[100:]]
    MessageStream(chunks, record_to=file, headers=headers, is_raw=is_raw).until_done()
    capture = parse_capture(file.getvalue())
    assert capture.body == WHOLE
    assert max(len(each.data) for each in capture.chunks) <= RESPONSE_PIECE_BYTES
    assert max(file.lengths) < 2 * RESPONSE_PIECE_BYTES


def test_while_a_big_chunk_is_recorded_other_tasks_run(runs: Callable[..., None]) -> None:
    file = Lines()
    written: list[int] = []

    async def read() -> None:
        await AsyncMessageStream(AsyncByteSource([WHOLE]), record_to=file).until_done()

    runs(read, lambda: written.append(len(file.lengths)))
    assert parse_capture(file.getvalue()).body == WHOLE
    in_a_turn = [later - now for now, later in itertools.pairwise(written)]
    assert max(in_a_turn) <= 4


def test_what_is_no_bytes_is_a_type_error_however_long_it_is() -> None:
    for chunk in ("x" * 100_000, [1] * 100_000):
        with pytest.raises(TypeError):
            MessageStream([chunk]).until_done()  # type: ignore[list-item]  # what is tested
