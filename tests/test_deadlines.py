"""Test `Timeout(total=…)`, which bounds a whole call, and `idle`, which only content resets."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any, Final

import pytest

from matrix import Adapter, ask, driven, text_of
from sansio_stream import APIConnectionError, APITimeoutError, Verdict
from sansio_stream_adapters import (
    AsyncMessageStream,
    InternalServerError,
    MessageStream,
    Timeout,
    _bridge,
    _timeout,
)
from servers import PATIENCE, Do, RawServer, Sleep, chunk, head, replace_time, response
from wire import HELLO, body, text

StartServer = Callable[..., RawServer]

HALF: Final = body(*HELLO[:4])
"""The frames up to the text "Hel"."""
REST: Final = body(*HELLO[4:])

pytestmark = pytest.mark.usefixtures("nothing_is_left_open")


class Clock:
    """A clock that shows `now`. Only the test changes it."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of deadlines."""
    clock = Clock()
    replace_time(monkeypatch, _timeout, monotonic=clock)
    return clock


# The deadline of a stream.


@driven
async def test_an_endless_stream_ends_at_its_deadline(
    adapter: Adapter, raw_server: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = body(text(0, "lo"))
    endless = itertools.chain([head() + chunk(HALF)], itertools.cycle([chunk(more), Sleep(0.001)]))
    server = raw_server(endless)
    # Each call of this clock adds a minute, so the hour ends soon. The libraries use another clock.
    replace_time(monkeypatch, _timeout, monotonic=itertools.count(0.0, 60.0).__next__)
    async with (
        adapter.client(server.url, timeout=Timeout(total=3600)) as client,
        client.messages.stream(**ask()) as stream,
    ):
        with pytest.raises(APITimeoutError, match="total: the stream had not ended within 3600 s"):
            await stream.until_done()
        assert text_of(stream.snapshot).startswith("Hello")
    await adapter.until_closed(server)


ENDLESS_HEADS: Final[dict[str, Callable[[], Iterable[Any]]]] = {
    "a head, line by line": lambda: itertools.chain(
        [b"HTTP/1.1 200 OK\r\n"], itertools.cycle([b"x: y\r\n", Sleep(0.02)])
    ),
    "informational responses": lambda: itertools.cycle(
        [b"HTTP/1.1 100 Continue\r\n\r\n", Sleep(0.02)]
    ),
    "no bytes": lambda: [Do.WAIT],
}


@pytest.mark.parametrize("how", ENDLESS_HEADS)
@driven
async def test_an_endless_head_ends_at_the_deadline(
    adapter: Adapter, raw_server: StartServer, how: str, delays: list[float]
) -> None:
    server = raw_server(ENDLESS_HEADS[how]())
    async with adapter.client(server.url, timeout=Timeout(total=0.3), max_retries=2) as client:
        with pytest.raises(APITimeoutError, match=r"total: the head had not arrived within 0\.3 s"):
            await client.messages.create(**ask(), stream=True)
    await adapter.until(lambda: not server.open_connections, "all connections are closed")
    assert len(server.requests) <= 1
    assert delays == []


@driven
async def test_an_endless_head_on_a_reused_connection_ends_at_the_deadline(
    adapter: Adapter, raw_server: StartServer
) -> None:
    server = raw_server([response(HALF + REST)], ENDLESS_HEADS["a head, line by line"]())
    async with adapter.client(server.url) as client:
        async with client.messages.stream(**ask()) as stream:
            await stream.until_done()
        with pytest.raises(APITimeoutError, match=r"total: the head had not arrived within 0\.3 s"):
            await client.messages.create(**ask(), stream=True, timeout=Timeout(total=0.3))
    assert server.connections == (1 if adapter.pools else 2)
    await adapter.until(lambda: not server.open_connections, "all connections are closed")


@pytest.mark.parametrize("count", [20, 21])
@driven
async def test_without_a_pool_at_most_twenty_informational_responses_are_read(
    adapter: Adapter, raw_server: StartServer, count: int
) -> None:
    if adapter.pools:
        pytest.skip("a client with a pool leaves informational responses to its library")
    server = raw_server([count * b"HTTP/1.1 103 Early Hints\r\n\r\n" + response(HALF + REST)])
    async with adapter.client(server.url, max_retries=2) as client:
        if count == 20:
            async with client.messages.stream(**ask()) as stream:
                assert await stream.get_final_text()
        else:
            with pytest.raises(APIConnectionError, match="more than 20 interim") as caught:
                await client.messages.create(**ask(), stream=True)
            assert caught.value.verdict is Verdict.BROKEN
    assert len(server.requests) == 1


@driven
async def test_a_silent_body_ends_at_the_deadline(
    adapter: Adapter, raw_server: StartServer
) -> None:
    server = raw_server([head() + chunk(HALF), Do.WAIT])
    waits = Timeout(PATIENCE, PATIENCE, PATIENCE, PATIENCE, total=0.3)
    async with adapter.client(server.url, timeout=waits) as client:
        with pytest.raises(APITimeoutError, match=r"total: the (head|stream) had not .* 0\.3 s"):
            async with client.messages.stream(**ask()) as stream:
                await stream.until_done()
    await adapter.until(lambda: not server.open_connections, "all connections are closed")


@driven
async def test_there_is_no_retry_after_the_deadline(
    adapter: Adapter, raw_server: StartServer, delays: list[float], clock: Clock
) -> None:
    server = raw_server([response(b"{}", 500, {"retry-after": "30"})])
    async with adapter.client(server.url, timeout=Timeout(total=20), max_retries=2) as client:
        with pytest.raises(InternalServerError):
            await client.messages.create(**ask(), stream=True)
    assert delays == []
    assert len(server.requests) == 1


def test_the_deadline_includes_the_reader_s_time_and_received_events_come_first(
    clock: Clock,
) -> None:
    stream = MessageStream([HALF, REST], total=60)
    next(stream)
    clock.now = 61.0
    events: list[str] = []
    with pytest.raises(APITimeoutError, match=r"total: .* within 60 s") as caught:
        events.extend(event.type for event in stream)
    assert events == [payload["type"] for payload in HELLO[1:4]]
    assert caught.value.verdict is Verdict.TRUNCATED
    assert text_of(caught.value.partial_message) == "Hel"
    with pytest.raises(APITimeoutError, match="total"):
        stream.get_final_message()


def test_a_stream_that_ends_before_its_deadline_is_complete(clock: Clock) -> None:
    def chunks() -> Any:
        yield HALF
        clock.now = 59.0
        yield REST

    assert MessageStream(chunks(), total=60).get_final_text().startswith("Hello")


def test_the_deadline_applies_within_a_chunk_of_megabytes(clock: Clock) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield HALF + b":\n" * 1_000_000 + REST
        raise AssertionError("the stream has read after its deadline")

    async def main() -> None:
        stream = AsyncMessageStream(chunks(), total=60)
        while (await anext(stream)).type != "content_block_delta":
            pass
        clock.now = 61.0
        with pytest.raises(APITimeoutError, match="total"):
            await stream.until_done()
        assert text_of(stream.snapshot) == "Hel"

    asyncio.run(main())


def test_a_stream_that_was_received_before_its_deadline_can_be_read_after_it(clock: Clock) -> None:
    stream = MessageStream([HALF + REST], total=60)
    next(stream)
    clock.now = 61.0
    assert stream.get_final_text().startswith("Hello")


@pytest.mark.parametrize("status", [200, 500])
def test_opening_a_stream_ends_at_the_deadline(clock: Clock, status: int) -> None:
    def chunks() -> Any:
        yield b"event: "
        while True:
            yield b"o"
            clock.now += 10

    headers = {"content-type": "text/plain" if status == 500 else "text/event-stream"}
    stream = MessageStream(
        chunks(), status=status, headers=headers, total=60, will_retry=lambda _: True
    )
    with pytest.raises(InternalServerError if status == 500 else APITimeoutError):
        stream.open().until_done()
    assert clock.now <= 80


@pytest.mark.parametrize("wrong", [0, -1, True, "5", float("nan")])
def test_an_invalid_total_is_refused(wrong: Any) -> None:
    with pytest.raises(ValueError, match="total must be None, or seconds above 0"):
        Timeout(total=wrong)


# The events that reset `idle`.

UNKNOWN_DELTA: Final = {
    "type": "content_block_delta",
    "index": 0,
    "delta": {"type": "gesture_delta", "gesture": "waves"},
}

NO_CONTENT: Final = {
    "pings": {"type": "ping"},
    "unknown events": {"type": "weather", "sun": True},
    "empty texts": text(0, ""),
    "unknown deltas": UNKNOWN_DELTA,
}


def slow_stream(clock: Clock, payload: Any) -> Any:
    """Yield the event twenty times, each after four seconds."""
    yield HALF
    for _ in range(20):
        clock.now += 4
        yield body(payload)
    yield REST


@pytest.mark.parametrize("kind", NO_CONTENT)
def test_an_event_without_content_does_not_reset_idle(
    monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    clock = Clock()
    replace_time(monkeypatch, _bridge, monotonic=clock)
    with pytest.raises(APITimeoutError, match=r"idle: no content for 12\.0 s"):
        MessageStream(slow_stream(clock, NO_CONTENT[kind]), idle=10).until_done()
    assert MessageStream(slow_stream(clock, NO_CONTENT[kind])).get_final_text().startswith("Hello")


def test_content_resets_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    replace_time(monkeypatch, _bridge, monotonic=clock)
    stream = MessageStream(slow_stream(clock, text(0, "l")), idle=10)
    assert stream.get_final_text().startswith("Hel" + 20 * "l")
