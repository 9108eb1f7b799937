"""`Timeout(total=…)` bounds a call, whatever the peer sends; `idle` is reset by content alone."""

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

RawServers = Callable[..., RawServer]

HALF: Final = body(*HELLO[:4])
"""Up to the text "Hel"."""
REST: Final = body(*HELLO[4:])

pytestmark = pytest.mark.usefixtures("certificates_are_read_once", "nothing_is_left_open")


class Clock:
    """Stands still until it is told to go on."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock that deadlines look at."""
    clock = Clock()
    replace_time(monkeypatch, _timeout, monotonic=clock)
    return clock


# The deadline of a stream.


@driven
async def test_a_stream_that_goes_on_for_ever_ends_at_its_deadline(
    adapter: Adapter, raw_server: RawServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = body(text(0, "lo"))
    dripping = itertools.chain([head() + chunk(HALF)], itertools.cycle([chunk(more), Sleep(0.001)]))
    server = raw_server(dripping)
    # Each look at the clock takes a minute, so the hour is soon over; libraries wait by their own.
    replace_time(monkeypatch, _timeout, monotonic=itertools.count(0.0, 60.0).__next__)
    async with (
        adapter.client(server.url, timeout=Timeout(total=3600)) as client,
        client.messages.stream(**ask()) as stream,
    ):
        with pytest.raises(APITimeoutError, match="total: the stream had not ended within 3600 s"):
            await stream.until_done()
        assert text_of(stream.snapshot).startswith("Hello")
    await adapter.until_closed(server)


DRIPPED: Final[dict[str, Callable[[], Iterable[Any]]]] = {
    "a head that is dripped": lambda: itertools.chain(
        [b"HTTP/1.1 200 OK\r\n"], itertools.cycle([b"x: y\r\n", Sleep(0.02)])
    ),
    "interim answers": lambda: itertools.cycle([b"HTTP/1.1 100 Continue\r\n\r\n", Sleep(0.02)]),
    "nothing": lambda: [Do.WAIT],
}


@pytest.mark.parametrize("how", DRIPPED)
@driven
async def test_a_head_that_does_not_end_is_given_up_at_the_deadline(
    adapter: Adapter, raw_server: RawServers, how: str, delays: list[float]
) -> None:
    server = raw_server(DRIPPED[how]())
    async with adapter.client(server.url, timeout=Timeout(total=0.3), max_retries=2) as client:
        with pytest.raises(APITimeoutError, match=r"total: the head had not arrived within 0\.3 s"):
            await client.messages.create(**ask(), stream=True)
    await adapter.until(lambda: not server.open_connections, "connections are closed")
    assert len(server.requests) <= 1
    assert delays == []


@driven
async def test_a_head_is_given_up_on_a_connection_that_has_served_before(
    adapter: Adapter, raw_server: RawServers
) -> None:
    server = raw_server([response(HALF + REST)], DRIPPED["a head that is dripped"]())
    async with adapter.client(server.url) as client:
        async with client.messages.stream(**ask()) as stream:
            await stream.until_done()
        with pytest.raises(APITimeoutError, match=r"total: the head had not arrived within 0\.3 s"):
            await client.messages.create(**ask(), stream=True, timeout=Timeout(total=0.3))
    assert server.connections == (1 if adapter.pools else 2)
    await adapter.until(lambda: not server.open_connections, "connections are closed")


@pytest.mark.parametrize("count", [20, 21])
@driven
async def test_without_a_pool_twenty_interim_answers_are_read_and_no_more(
    adapter: Adapter, raw_server: RawServers, count: int
) -> None:
    if adapter.pools:
        pytest.skip("this is the library's: `total` bounds it")
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
async def test_a_body_that_falls_silent_is_given_up_at_the_deadline(
    adapter: Adapter, raw_server: RawServers
) -> None:
    server = raw_server([head() + chunk(HALF), Do.WAIT])
    waits = Timeout(PATIENCE, PATIENCE, PATIENCE, PATIENCE, total=0.3)
    async with adapter.client(server.url, timeout=waits) as client:
        with pytest.raises(APITimeoutError, match=r"total: the (head|stream) had not .* 0\.3 s"):
            async with client.messages.stream(**ask()) as stream:
                await stream.until_done()
    await adapter.until(lambda: not server.open_connections, "connections are closed")


@driven
async def test_a_retry_that_would_come_after_the_deadline_is_not_waited_for(
    adapter: Adapter, raw_server: RawServers, delays: list[float], clock: Clock
) -> None:
    server = raw_server([response(b"{}", 500, {"retry-after": "30"})])
    async with adapter.client(server.url, timeout=Timeout(total=20), max_retries=2) as client:
        with pytest.raises(InternalServerError):
            await client.messages.create(**ask(), stream=True)
    assert delays == []
    assert len(server.requests) == 1


def test_the_deadline_counts_what_the_reader_does_and_what_has_come_is_given_out_first(
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


def test_within_its_deadline_a_stream_ends_well(clock: Clock) -> None:
    def chunks() -> Any:
        yield HALF
        clock.now = 59.0
        yield REST

    assert MessageStream(chunks(), total=60).get_final_text().startswith("Hello")


def test_the_deadline_holds_within_a_chunk_of_megabytes(clock: Clock) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield HALF + b":\n" * 1_000_000 + REST
        raise AssertionError("nothing more is read")

    async def main() -> None:
        stream = AsyncMessageStream(chunks(), total=60)
        while (await anext(stream)).type != "content_block_delta":
            pass
        clock.now = 61.0
        with pytest.raises(APITimeoutError, match="total"):
            await stream.until_done()
        assert text_of(stream.snapshot) == "Hel"

    asyncio.run(main())


def test_a_stream_that_is_whole_at_its_deadline_is_whole(clock: Clock) -> None:
    stream = MessageStream([HALF + REST], total=60)
    next(stream)
    clock.now = 61.0
    assert stream.get_final_text().startswith("Hello")


@pytest.mark.parametrize("status", [200, 500])
def test_the_body_of_a_refusal_and_a_look_for_an_error_end_at_the_deadline(
    clock: Clock, status: int
) -> None:
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
def test_a_deadline_that_is_no_time_is_refused(wrong: Any) -> None:
    with pytest.raises(ValueError, match="total must be None, or seconds above 0"):
        Timeout(total=wrong)


# Of what `idle` counts.

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


def waiting(clock: Clock, payload: Any) -> Any:
    """Twenty times a wait of four seconds, and an event."""
    yield HALF
    for _ in range(20):
        clock.now += 4
        yield body(payload)
    yield REST


@pytest.mark.parametrize("kind", NO_CONTENT)
def test_what_brings_no_content_does_not_keep_a_stream_from_being_idle(
    monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    clock = Clock()
    replace_time(monkeypatch, _bridge, monotonic=clock)
    with pytest.raises(APITimeoutError, match=r"idle: no content for 12\.0 s"):
        MessageStream(waiting(clock, NO_CONTENT[kind]), idle=10).until_done()
    assert MessageStream(waiting(clock, NO_CONTENT[kind])).get_final_text().startswith("Hello")


def test_what_brings_content_does(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    replace_time(monkeypatch, _bridge, monotonic=clock)
    stream = MessageStream(waiting(clock, text(0, "l")), idle=10)
    assert stream.get_final_text().startswith("Hel" + 20 * "l")
