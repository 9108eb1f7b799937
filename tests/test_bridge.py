"""Test `Stream` and `AsyncStream` on an iterable of bytes: events, errors, closing, recording."""

import asyncio
import gc
import io
import threading
import warnings
import weakref
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, Final

import attrs
import pytest
from hypothesis import given, strategies as st

from sansio_stream import (
    APIConnectionError,
    APIError,
    APIStatusError,
    APITimeoutError,
    BadRequestError,
    ErrorEvent,
    IncompleteMessageError,
    InternalServerError,
    LimitError,
    Limits,
    Message,
    MessageStreamEvent,
    NotAnEventStreamError,
    OverloadedError,
    ProtocolError,
    StreamMachine,
    Verdict,
    encode_stream,
    message_from_dict,
    parse_capture,
)
from sansio_stream.testing import (
    AsyncByteSource,
    ByteSource,
    FaultyStream,
    cuts,
    faults,
    scripts,
    wire,
)
from sansio_stream_adapters import (
    AsyncMessageStream,
    AsyncStream,
    MessageStream,
    Stream,
    _bridge,
    _dropped,
    _recording,
)
from servers import PATIENCE, replace_time, wait_until
from wire import (
    HELLO,
    OVERLOADED,
    PING,
    block_start,
    block_stop,
    body,
    json_piece,
    message_delta,
    message_start,
    text,
    tool_start,
)

HELLO_BODY: Final = body(*HELLO)
TRUNCATED_BODY: Final = body(*HELLO[:4])
SSE: Final = {"content-type": "text/event-stream", "request-id": "req_1"}
JSON: Final = {"content-type": "application/json"}


@attrs.frozen
class Outcome:
    """The result of reading a stream to its end."""

    events: tuple[MessageStreamEvent, ...]
    error: APIError | None
    verdict: Verdict
    message: Message | None
    closed: int


# `Sync` and `Async` have the same methods, so that one test can use both kinds of stream.


class Sync:
    """Reads with `MessageStream`."""

    name = "sync"

    def __init__(self, steps: Sequence[Any], **arguments: Any) -> None:
        self.closed = 0
        self.source = ByteSource(steps)
        self.stream = MessageStream(self.source, close=self._close, **arguments)

    def _close(self) -> None:
        self.closed += 1

    def next(self) -> MessageStreamEvent | None:
        return next(self.stream, None)

    def drain(self, events: list[MessageStreamEvent]) -> None:
        for event in self.stream:
            events.append(event)  # noqa: PERF402  (keeps the events before an error)

    def until_done(self) -> None:
        self.stream.until_done()

    def texts(self) -> list[str]:
        return list(self.stream.text_stream)

    def first_text(self) -> str:
        return next(self.stream.text_stream)

    def message(self) -> Message:
        return self.stream.get_final_message()

    def text(self) -> str:
        return self.stream.get_final_text()

    def close(self) -> None:
        self.stream.close()

    def leave(self) -> None:
        with self.stream:
            pass

    def open(self) -> None:
        assert self.stream.open() is self.stream


class Async:
    """Reads with `AsyncMessageStream`. Each step runs in a new event loop."""

    name = "async"

    def __init__(self, steps: Sequence[Any], **arguments: Any) -> None:
        self.closed = 0
        self.source = AsyncByteSource([awaited(step) for step in steps])
        self.stream = AsyncMessageStream(self.source, close=self._close, **arguments)

    async def _close(self) -> None:
        self.closed += 1

    def next(self) -> MessageStreamEvent | None:
        async def step() -> MessageStreamEvent | None:
            return await anext(self.stream, None)

        return asyncio.run(step())

    def drain(self, events: list[MessageStreamEvent]) -> None:
        async def step() -> None:
            async for event in self.stream:
                events.append(event)  # noqa: PERF401  (keeps the events before an error)

        asyncio.run(step())

    def until_done(self) -> None:
        asyncio.run(self.stream.until_done())

    def texts(self) -> list[str]:
        async def step() -> list[str]:
            return [piece async for piece in self.stream.text_stream]

        return asyncio.run(step())

    def first_text(self) -> str:
        async def step() -> str:
            return await anext(self.stream.text_stream)

        return asyncio.run(step())

    def message(self) -> Message:
        return asyncio.run(self.stream.get_final_message())

    def text(self) -> str:
        return asyncio.run(self.stream.get_final_text())

    def close(self) -> None:
        asyncio.run(self.stream.close())

    def leave(self) -> None:
        async def step() -> None:
            async with self.stream:
                pass

        asyncio.run(step())

    def open(self) -> None:
        async def step() -> None:
            assert await self.stream.open() is self.stream

        asyncio.run(step())


def awaited(step: Any) -> Any:
    """Convert a step for the asynchronous source. A function becomes a coroutine function."""
    if isinstance(step, (bytes, BaseException, type)):
        return step

    async def call() -> None:
        step()

    return call


Reader = type[Sync] | type[Async]


@pytest.fixture(params=[Sync, Async], ids=lambda reader: reader.name)
def reader(request: pytest.FixtureRequest) -> Any:
    return request.param


def read(reader: Reader, steps: Sequence[Any], **arguments: Any) -> Outcome:
    it = reader(steps, **arguments)
    events: list[MessageStreamEvent] = []
    error: APIError | None = None
    try:
        it.drain(events)
    except APIError as raised:
        error = raised
    return Outcome(tuple(events), error, it.stream.verdict, it.stream.snapshot, it.closed)


# The happy path.


def test_the_events_are_those_of_the_machine(reader: Reader) -> None:
    machine = StreamMachine()
    expected = (*machine.receive_data(HELLO_BODY), *machine.receive_eof())
    outcome = read(reader, [HELLO_BODY])
    assert outcome.events == expected
    assert outcome.error is None
    assert outcome.verdict is Verdict.COMPLETE
    assert outcome.message == machine.final_message()
    assert outcome.closed == 1


def test_all_ways_to_read_share_one_position(reader: Reader) -> None:
    it = reader([HELLO_BODY])
    assert it.first_text() == "Hel"
    assert it.texts() == ["lo, wörld 🎉"]
    assert it.texts() == []
    assert it.text() == "Hello, wörld 🎉"
    assert it.message() is it.stream.snapshot


def test_the_text_stream_has_the_text_of_starts_and_no_empty_text(reader: Reader) -> None:
    start = message_start(
        content=[{"type": "text", "text": "one "}, {"type": "text", "text": "two "}]
    )
    block = block_start(2, {"type": "text", "text": "three "})
    stream = body(
        start, block, text(2, ""), text(2, "four"), block_stop(2), message_delta(), HELLO[-1]
    )
    it = reader([stream])
    assert it.texts() == ["one two ", "three ", "four"]
    assert it.text() == "one two three four"


def test_the_partial_message_can_be_read_during_the_stream(reader: Reader) -> None:
    it = reader([HELLO_BODY[:-10], HELLO_BODY[-10:]], headers=SSE)
    with pytest.raises(RuntimeError, match="no message_start"):
        _ = it.stream.current_message_snapshot
    assert it.first_text() == "Hel"
    block = it.stream.block(0)
    assert block is not None
    assert block.type == "text"
    assert block.text == "Hel"
    assert it.stream.current_message_snapshot.content[0] == block
    assert it.stream.verdict is Verdict.PENDING
    assert it.stream.request_id == "req_1"
    assert it.stream.violations == ()
    assert "OPEN" in repr(it.stream)


def test_without_a_response_of_a_library_the_stream_makes_one(reader: Reader) -> None:
    response = reader([b""], status=200, headers={"Request-ID": "req_2"}).stream.response
    assert response.status_code == 200
    assert response.headers["request-id"] == "req_2"
    assert reader([b""], response="theirs").stream.response == "theirs"


def test_a_message_without_text_has_an_empty_text(reader: Reader) -> None:
    stream = body(
        message_start(), tool_start(0), block_stop(0), message_delta("tool_use"), HELLO[-1]
    )
    assert reader([stream]).text() == ""


def test_the_message_can_be_read_after_the_block(reader: Reader) -> None:
    it = reader([HELLO_BODY])
    it.until_done()
    it.leave()
    assert it.message().stop_reason == "end_turn"
    assert it.closed == 1


def test_a_plain_stream_yields_events_only() -> None:
    stream = Stream[MessageStreamEvent]([HELLO_BODY])
    with stream as entered:
        assert entered is stream
        assert [event.type for event in stream][-1] == "message_stop"
    assert not hasattr(stream, "text_stream")

    async def main() -> None:
        stream = AsyncStream[MessageStreamEvent](AsyncByteSource([HELLO_BODY]))
        async with stream as entered:
            assert entered is stream
            assert [event.type async for event in stream][-1] == "message_stop"

    asyncio.run(main())


# The end of a stream.


@pytest.mark.parametrize("ending", [[], [ConnectionResetError("gone")]], ids=["eof", "reset"])
def test_a_truncated_stream_raises_after_its_last_event_and_raises_again(
    reader: Reader, ending: list[Any]
) -> None:
    it = reader([TRUNCATED_BODY, *ending])
    assert taken_until_error(it)[-1] == "content_block_delta"
    kind = APIConnectionError if ending else IncompleteMessageError
    for _ in range(2):
        with pytest.raises(kind) as caught:
            it.message()
        error = caught.value
        assert type(error) is kind
        assert error.verdict is Verdict.TRUNCATED
        assert error.partial_message == it.stream.snapshot
        assert error.content_emitted
        if ending:
            assert error.__cause__ is ending[0]
            assert str(error) == "ConnectionResetError: gone"
    with pytest.raises(kind):
        it.next()
    assert it.closed == 1


def taken_until_error(it: Any) -> list[str]:
    """Return the types of the events before the error."""
    events: list[MessageStreamEvent] = []
    with pytest.raises(APIError):
        it.drain(events)
    return [event.type for event in events]


def test_an_unmapped_exception_of_a_source_is_a_connection_error(reader: Reader) -> None:
    class LibraryError(Exception):
        pass

    outcome = read(reader, [TRUNCATED_BODY, TimeoutError()])
    assert type(outcome.error) is APITimeoutError
    assert str(outcome.error) == "TimeoutError"
    outcome = read(reader, [TRUNCATED_BODY, LibraryError("bad day")])
    assert type(outcome.error) is APIConnectionError
    assert str(outcome.error) == "LibraryError: bad day"
    outcome = read(reader, [LibraryError()], map_error=lambda _: APITimeoutError("theirs"))
    assert type(outcome.error) is APITimeoutError
    assert outcome.error.verdict is Verdict.EMPTY
    assert not outcome.error.content_emitted


def test_a_missing_message_stop_is_an_error_only_in_strict_mode(
    reader: Reader,
) -> None:
    for ending in ([], [TimeoutError("read")], [ConnectionResetError()]):
        steps = [body(*HELLO[:-1]), *ending]
        outcome = read(reader, steps)
        assert outcome.error is None
        assert outcome.verdict is Verdict.UNTERMINATED
        assert reader(steps).message().stop_reason == "end_turn"
        error = read(reader, steps, strict=True).error
        assert isinstance(error, APIConnectionError)
        assert isinstance(error, IncompleteMessageError) == (not ending)


# Lost content.

LOSSY_BODY: Final = body(*HELLO[:4]) + b"data: {\n\n" + body(*HELLO[5:])


@pytest.mark.parametrize("end", [[], [ConnectionResetError("reset")]])
def test_a_stream_with_lost_content_raises_after_its_last_event(
    reader: Reader, end: list[Exception]
) -> None:
    stream = reader([LOSSY_BODY, *end])
    events: list[MessageStreamEvent] = []
    for _ in range(2):
        with pytest.raises(IncompleteMessageError, match="undecodable_payload") as caught:
            stream.drain(events)
        assert events[-1].type == "message_stop"
        assert caught.value.verdict is Verdict.DAMAGED
        assert caught.value.first_loss is not None
        assert caught.value.first_loss.byte_offset == len(body(*HELLO[:4]))
        assert caught.value.partial_message is not None
        assert not caught.value.partial_message.complete
    with pytest.raises(IncompleteMessageError, match="undecodable_payload"):
        stream.message()
    assert stream.closed == 1


@pytest.mark.parametrize(
    ("pieces", "texts"),
    [
        (["a\ud83d", "\ude00b"], ["a", "\N{GRINNING FACE}b"]),
        (["\ud83d", "", "\ude00"], ["\N{GRINNING FACE}"]),
        (["\ud83d", "b"], ["\ud83db"]),
        (["a\ud83d"], ["a", "\ud83d"]),
    ],
)
def test_the_two_surrogates_of_a_character_are_joined(
    reader: Reader, pieces: list[str], texts: list[str]
) -> None:
    events = [message_start(), block_start(0), *(text(0, piece) for piece in pieces)]
    stream = reader([body(*events, block_stop(0), message_delta(), HELLO[-1])])
    assert stream.texts() == texts


def test_surrogates_are_joined_within_their_block(reader: Reader) -> None:
    events = [message_start(), block_start(0), block_start(1)]
    events += [text(0, "a\ud83d"), text(1, "b\ud83e"), text(1, "\udd16"), text(0, "\ude00")]
    ends = [block_stop(0), block_stop(1), message_delta(), HELLO[-1]]
    assert reader([body(*events, *ends)]).texts() == [
        "a",
        "b",
        "\N{ROBOT FACE}",
        "\N{GRINNING FACE}",
    ]


def test_a_pending_surrogate_is_kept_for_the_next_iterator(reader: Reader) -> None:
    events = [message_start(), block_start(0), text(0, "a\ud83d"), text(0, "\ude00")]
    stream = reader([body(*events, block_stop(0), message_delta(), HELLO[-1])])
    assert [stream.first_text(), stream.first_text()] == ["a", "\N{GRINNING FACE}"]


def test_an_error_event_is_raised_and_not_yielded(reader: Reader) -> None:
    outcome = read(reader, [TRUNCATED_BODY + body(OVERLOADED)], status=202, headers=SSE)
    assert not any(isinstance(event, ErrorEvent) for event in outcome.events)
    error = outcome.error
    assert isinstance(error, OverloadedError)
    assert (error.status_code, error.http_status) == (529, 202)
    assert error.request_id == "req_1"
    assert error.headers["content-type"] == "text/event-stream"
    assert error.partial_message == outcome.message
    assert error.content_emitted
    own = {**OVERLOADED, "request_id": "req_of_the_event"}
    error = read(reader, [body(own)], headers=SSE).error
    assert isinstance(error, OverloadedError)
    assert error.request_id == "req_of_the_event"
    assert not error.content_emitted


def test_a_protocol_error_is_raised_even_if_the_connection_is_lost_after_it(
    reader: Reader,
) -> None:
    broken = TRUNCATED_BODY + b"event: content_block_delta\ndata: {\n\n"
    error = read(reader, [broken, ConnectionResetError()]).error
    assert isinstance(error, ProtocolError)
    assert error.byte_offset == len(TRUNCATED_BODY)
    error = read(reader, [HELLO_BODY], limits=Limits(event_bytes=60)).error
    assert isinstance(error, LimitError)


def test_options_are_passed_to_the_machine(reader: Reader) -> None:
    strict = read(reader, [body(PING, *HELLO, PING).replace(b"event: ping\n", b"")], strict=True)
    assert isinstance(strict.error, ProtocolError)
    tool = body(message_start(), tool_start(0), json_piece(0, '{"a": 1'), block_stop(0))
    it = reader([tool])
    for _ in range(4):
        it.next()
    block = it.stream.block(0)
    assert block is not None
    assert block.type == "tool_use"
    assert block.input_state == "invalid"


@given(st.data())
def test_both_kinds_of_stream_read_a_legal_stream_like_the_machine(
    data: st.DataObject,
) -> None:
    chunks = data.draw(cuts(data.draw(wire(data.draw(scripts())))))
    machine = StreamMachine()
    events = [event for chunk in chunks for event in machine.receive_data(chunk)]
    while events[-1].type != "message_stop":  # the streams yield no event after it
        events.pop()
    for reader in (Sync, Async):
        outcome = read(reader, chunks)
        assert outcome.error is None
        assert list(outcome.events) == events
        assert outcome.verdict is Verdict.COMPLETE
        assert outcome.message == machine.final_message()
        assert outcome.closed == 1


@given(faults())
def test_both_kinds_of_stream_end_a_faulty_stream_like_the_machine(stream: FaultyStream) -> None:
    machine = StreamMachine()
    failure: APIError | None = None
    try:
        for chunk in stream.chunks:
            list(machine.receive_data(chunk))
        exception = stream.exception
        list(machine.receive_eof() if exception is None else machine.connection_lost(exception))
        machine.final_message()
    except APIError as error:
        failure = error
    steps = [*stream.chunks, *([] if stream.exception is None else [stream.exception])]
    for reader in (Sync, Async):
        outcome = read(reader, steps)
        assert outcome.verdict is machine.verdict
        assert outcome.message == machine.snapshot
        assert outcome.closed == 1
        if stream.exception is None or not isinstance(failure, IncompleteMessageError):
            assert type(outcome.error) is type(failure)
            # If the body was not a stream, the error also names the status.
            no_stream = outcome.verdict in (Verdict.EMPTY, Verdict.NOT_AN_EVENT_STREAM)
            expected = outcome.verdict.value if no_stream else str(failure)
            assert str(outcome.error).startswith(expected)
            assert ("HTTP 200" in str(outcome.error)) == no_stream
        else:
            assert isinstance(outcome.error, APIConnectionError)
            assert outcome.error.__cause__ is stream.exception


class Clock:
    """A clock that shows `now`. Only the test changes it."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    replace_time(monkeypatch, _bridge, _recording, monotonic=clock)
    return clock


class Silence:
    """A step that never ends, so that a task can be cancelled while it waits."""

    def __init__(self) -> None:
        self._waits = asyncio.Event()

    async def __call__(self) -> None:
        self._waits.set()
        await asyncio.Event().wait()

    async def cancel(self, reading: Coroutine[Any, Any, object]) -> None:
        """Cancel a task when it waits in this step. Return when it has raised CancelledError."""
        task = asyncio.create_task(reading)
        await self._waits.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


# After message_stop. Only tests that set DRAIN_SECONDS limit the time.


@pytest.fixture(autouse=True)
def _drain_without_a_time_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_bridge, "DRAIN_SECONDS", PATIENCE)


def pooled(reader: Reader) -> dict[str, Any]:
    """Return the arguments of a pooled stream. A synchronous one needs `abort` to end a read."""
    return {"is_pooled": True, **({"abort": lambda: None} if reader is Sync else {})}


def test_a_pooled_stream_is_read_to_its_end_and_its_violations_are_kept(
    reader: Reader,
) -> None:
    it = reader([HELLO_BODY, body(message_start("msg_2")), b""], **pooled(reader))
    it.until_done()
    assert [str(violation.code) for violation in it.stream.violations] == ["second_message"]
    assert it.message().id == "msg_1"
    assert it.source.delivered == len(HELLO_BODY + body(message_start("msg_2")))
    assert it.closed == 1


def test_a_failure_after_message_stop_is_ignored(reader: Reader) -> None:
    for rest in (b"event: message_start\ndata: {\n\n", ConnectionResetError()):
        outcome = read(reader, [HELLO_BODY, rest, HELLO_BODY], **pooled(reader))
        assert outcome.error is None
        assert outcome.verdict is Verdict.COMPLETE
        assert outcome.closed == 1


def test_an_endless_body_after_message_stop_is_left_after_some_bytes(
    reader: Reader,
) -> None:
    comment = b":" + 1000 * b"." + b"\n"
    it = reader([HELLO_BODY, *([comment] * 1000)], **pooled(reader))
    it.until_done()
    assert it.source.delivered < len(HELLO_BODY) + 70_000
    assert it.closed == 1


def test_a_silent_body_after_message_stop_is_left_after_some_time(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_bridge, "DRAIN_SECONDS", 0.02)
    aborted = threading.Event()

    def wait() -> None:
        assert aborted.wait(PATIENCE)
        clock.now += 1  # until then the clock stands still, so only the alarm ends the wait

    it = Sync([HELLO_BODY, wait, body(PING)], abort=aborted.set, is_pooled=True)
    it.until_done()
    assert aborted.is_set()
    assert it.closed == 1


def test_a_silent_asynchronous_body_after_message_stop_is_left_after_some_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_bridge, "DRAIN_SECONDS", 0.02)

    async def main() -> None:
        source = AsyncByteSource([HELLO_BODY, asyncio.Event().wait])
        stream = AsyncMessageStream(source, is_pooled=True)
        await stream.until_done()
        assert source.closed

    asyncio.run(main())


def test_the_end_is_read_even_if_no_thread_can_be_started(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    it = Sync([HELLO_BODY, body(PING)], abort=lambda: None, is_pooled=True)
    it.until_done()
    assert it.source.delivered == len(HELLO_BODY + body(PING))


def test_a_slow_source_after_message_stop_is_left_after_some_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_bridge, "DRAIN_SECONDS", 0.0)
    it = Sync([HELLO_BODY, *([body(PING)] * 100)], abort=lambda: None, is_pooled=True)
    it.until_done()
    assert it.source.delivered < len(HELLO_BODY + body(PING) * 100)
    assert it.closed == 1


def test_a_stream_without_abort_does_not_wait_after_message_stop() -> None:
    it = Sync([HELLO_BODY, b"more"], is_pooled=True)
    it.until_done()
    assert it.source.delivered == len(HELLO_BODY)
    assert it.closed == 1


def test_a_stream_without_a_pool_reads_nothing_after_message_stop(reader: Reader) -> None:
    it = reader([HELLO_BODY, b"more"], **{**pooled(reader), "is_pooled": False})
    it.until_done()
    assert it.source.delivered == len(HELLO_BODY)
    assert it.closed == 1


def test_a_stream_with_connection_close_reads_nothing_after_message_stop(
    reader: Reader,
) -> None:
    headers = {**SSE, "Connection": "Close"}
    it = reader([HELLO_BODY, b"more"], headers=headers, **pooled(reader))
    it.until_done()
    assert it.source.delivered == len(HELLO_BODY)
    assert it.closed == 1


def test_an_interruption_after_message_stop_closes_the_stream(reader: Reader) -> None:
    file = io.BytesIO()
    it = reader([HELLO_BODY, KeyboardInterrupt()], record_to=file, **pooled(reader))
    with pytest.raises(KeyboardInterrupt):
        it.until_done()
    assert it.closed == 1
    assert parse_capture(file.getvalue()).end is not None
    assert it.message().stop_reason == "end_turn"


def test_a_cancellation_after_message_stop_closes_the_stream() -> None:
    async def main() -> None:
        silence = Silence()
        source = AsyncByteSource([HELLO_BODY, silence])
        stream = AsyncMessageStream(source, is_pooled=True)
        await silence.cancel(stream.until_done())
        assert source.closed
        assert stream.verdict is Verdict.COMPLETE

    asyncio.run(main())


# Refused responses.


def test_an_error_status_raises_an_error_with_its_body(
    reader: Reader,
) -> None:
    error_body = (
        b'{"type":"error","error":{"type":"invalid_request_error","message":"No such model"}}'
    )
    it = reader(
        [error_body[:20], error_body[20:]], status=400, headers={**JSON, "request-id": "req_3"}
    )
    with pytest.raises(BadRequestError, match="No such model") as caught:
        it.next()
    assert (caught.value.status_code, caught.value.http_status) == (400, 400)
    assert caught.value.type == "invalid_request_error"
    assert caught.value.request_id == "req_3"
    assert it.closed == 1
    with pytest.raises(BadRequestError):
        it.message()


def test_the_body_of_an_error_may_be_truncated_or_endless(reader: Reader) -> None:
    outcome = read(reader, [b"upstream ", ConnectionResetError()], status=500)
    assert isinstance(outcome.error, InternalServerError)
    assert outcome.error.body == "upstream "
    endless = [b"x" * 10_000] * 1000
    it = reader(endless, status=500)
    with pytest.raises(InternalServerError):
        it.next()
    assert it.source.delivered < 100_000


def test_a_content_type_other_than_an_event_stream_is_refused(reader: Reader) -> None:
    outcome = read(reader, [b'{"id": "msg_1"}'], headers=JSON)
    assert isinstance(outcome.error, NotAnEventStreamError)
    assert outcome.error.raw == '{"id": "msg_1"}'
    assert outcome.events == ()


def test_open_raises_the_error_of_the_head_and_does_not_read_a_stream(reader: Reader) -> None:
    it = reader([HELLO_BODY], headers=SSE)
    it.open()
    assert it.source.delivered == 0
    refused = reader([b"no"], status=503)
    with pytest.raises(APIStatusError):
        refused.open()
    assert refused.closed == 1


def test_a_closed_response_still_raises_the_error_of_its_status(reader: Reader) -> None:
    refused = reader([b"no"], status=503, headers={"request-id": "req_4"})
    refused.close()
    for _ in range(2):
        with pytest.raises(APIStatusError) as caught:
            refused.open()
        assert (caught.value.status_code, caught.value.request_id) == (503, "req_4")
        with pytest.raises(APIStatusError):
            refused.next()
    assert refused.closed == 1
    assert refused.source.delivered == 0


def test_open_raises_if_the_stream_was_closed_before_its_end_and_takes_no_event(
    reader: Reader,
) -> None:
    it = reader([TRUNCATED_BODY, HELLO_BODY[len(TRUNCATED_BODY) :]], headers=SSE)
    it.next()
    it.close()
    for _ in range(2):
        with pytest.raises(IncompleteMessageError, match="closed before its end"):
            it.open()
    assert taken_until_error(it) == [payload["type"] for payload in HELLO[1:4]]
    whole = reader([HELLO_BODY], headers=SSE)
    whole.until_done()
    whole.close()
    whole.open()  # it raises nothing, because the stream is complete


# Closing.


def test_a_closed_stream_yields_its_received_events_and_then_raises(reader: Reader) -> None:
    it = reader([TRUNCATED_BODY, HELLO_BODY[len(TRUNCATED_BODY) :]])
    it.next()
    it.close()
    it.close()
    assert taken_until_error(it) == [payload["type"] for payload in HELLO[1:4]]
    with pytest.raises(IncompleteMessageError, match="closed before its end") as caught:
        it.message()
    assert caught.value.verdict is Verdict.PENDING
    assert caught.value.partial_message == it.stream.snapshot
    assert it.closed == 1


def test_a_wholly_received_message_can_be_read_after_an_early_leave(reader: Reader) -> None:
    it = reader([HELLO_BODY, b""])
    it.next()
    it.leave()
    assert it.text() == "Hello, wörld 🎉"
    assert it.stream.verdict is Verdict.COMPLETE


def test_an_exception_of_close_is_ignored(reader: Reader) -> None:
    it: Any = reader([HELLO_BODY])
    it.closed = "not a number"
    it.until_done()
    it.close()


def test_without_a_close_argument_the_iterable_of_chunks_is_closed() -> None:
    source = ByteSource([TRUNCATED_BODY])
    with MessageStream(source) as stream:
        next(stream)
    assert source.closed
    list(MessageStream([HELLO_BODY]))  # a list has no `close`

    async def main() -> None:
        closed = False

        async def chunks() -> AsyncIterator[bytes]:
            nonlocal closed
            try:
                yield TRUNCATED_BODY
                yield TRUNCATED_BODY
            finally:
                closed = True

        async with AsyncMessageStream(chunks()) as stream:
            await anext(stream)
        assert closed

    asyncio.run(main())


def test_closing_from_another_thread_wakes_the_reader() -> None:
    woken, waiting = threading.Event(), threading.Event()

    def wait() -> None:
        waiting.set()
        assert woken.wait(PATIENCE)

    it = Sync([TRUNCATED_BODY, wait, body(PING), HELLO_BODY], abort=woken.set)

    def close() -> None:
        waiting.wait(PATIENCE)
        it.close()

    closer = threading.Thread(target=close)
    closer.start()
    with pytest.raises(IncompleteMessageError, match="closed before its end"):
        it.until_done()
    closer.join()
    assert it.closed == 1
    assert it.source.delivered == len(TRUNCATED_BODY + body(PING))
    assert it.stream.verdict is Verdict.PENDING


@pytest.mark.parametrize("wakes", [OSError("shut down"), None], ids=["raises", "ends"])
def test_a_read_that_fails_or_ends_after_close_raises_that_the_stream_was_closed(
    wakes: Exception | None,
) -> None:
    it: Sync
    steps = [TRUNCATED_BODY, lambda: it.close(), *([] if wakes is None else [wakes])]  # noqa: PLW0108
    it = Sync(steps)
    with pytest.raises(IncompleteMessageError, match="closed before its end"):
        it.until_done()
    assert it.closed == 1
    assert it.stream.verdict is Verdict.PENDING


def test_another_task_may_close_a_stream_that_is_being_read() -> None:
    async def main() -> None:
        waiting, gone = asyncio.Event(), asyncio.Event()

        async def wait() -> None:
            waiting.set()
            await gone.wait()
            raise OSError("closed under me")

        async def close() -> None:
            gone.set()

        stream = AsyncMessageStream(AsyncByteSource([TRUNCATED_BODY, wait]), close=close)
        reading = asyncio.create_task(stream.until_done())
        await waiting.wait()
        await stream.close()
        with pytest.raises(IncompleteMessageError, match="closed before its end"):
            await reading

    asyncio.run(main())


def test_an_interruption_closes_the_stream_and_keeps_its_snapshot(reader: Reader) -> None:
    it = reader([TRUNCATED_BODY, KeyboardInterrupt()])
    with pytest.raises(KeyboardInterrupt):
        it.until_done()
    assert it.closed == 1
    assert it.stream.verdict is Verdict.PENDING
    assert it.stream.current_message_snapshot.content
    with pytest.raises(IncompleteMessageError):
        it.next()


def test_an_interruption_of_open_closes_the_stream(reader: Reader) -> None:
    it = reader([KeyboardInterrupt()], status=500)
    with pytest.raises(KeyboardInterrupt):
        it.open()
    assert it.closed == 1


def test_a_cancellation_closes_the_stream_and_keeps_its_snapshot() -> None:
    async def main() -> None:
        closed = asyncio.Event()

        async def close() -> None:
            closed.set()

        silence = Silence()
        stream = AsyncMessageStream(AsyncByteSource([TRUNCATED_BODY, silence]), close=close)
        await silence.cancel(stream.until_done())
        assert closed.is_set()
        assert stream.current_message_snapshot.content
        assert stream.verdict is Verdict.PENDING

    asyncio.run(main())


def test_trio_limits_the_wait_after_message_stop_and_cancels_like_asyncio(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trio = pytest.importorskip("trio", reason="this test needs trio")
    pytest.importorskip("trio.testing")
    monkeypatch.setattr(_bridge, "DRAIN_SECONDS", 0.02)

    async def main() -> None:
        source = AsyncByteSource([HELLO_BODY, trio.sleep_forever])
        stream = AsyncMessageStream(source, is_pooled=True)
        await stream.until_done()
        assert source.closed
        source = AsyncByteSource([TRUNCATED_BODY, trio.sleep_forever])
        stream = AsyncMessageStream(source)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.until_done)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        assert nursery.cancel_scope.cancelled_caught
        assert source.closed
        assert stream.current_message_snapshot.content

    trio.run(main)


# Waiting.


def waits(clock: Clock, seconds: float) -> Callable[[], None]:
    def wait() -> None:
        clock.now += seconds

    return wait


def test_pings_do_not_reset_idle(reader: Reader, clock: Clock) -> None:
    pings = [waits(clock, 4), body(PING)] * 5
    it = reader([TRUNCATED_BODY, *pings, HELLO_BODY[len(TRUNCATED_BODY) :]], idle=10)
    with pytest.raises(APITimeoutError, match="no content for 12") as caught:
        it.message()
    assert caught.value.verdict is Verdict.TRUNCATED
    assert caught.value.partial_message == it.stream.snapshot
    assert it.closed == 1
    assert reader([TRUNCATED_BODY, *pings, HELLO_BODY[len(TRUNCATED_BODY) :]]).message()


def test_any_other_event_resets_idle(reader: Reader, clock: Clock) -> None:
    steps: list[Any] = []
    for payload in HELLO:
        steps += [waits(clock, 9), body(payload)]
    assert reader(steps, idle=10).message()


def test_idle_counts_only_the_time_of_reads(reader: Reader, clock: Clock) -> None:
    it = reader([TRUNCATED_BODY, body(PING), HELLO_BODY[len(TRUNCATED_BODY) :]], idle=10)
    while (event := it.next()) is not None and event.type != "ping":
        clock.now += 1000
    assert it.message()


def test_idle_after_a_stop_reason_ends_the_stream_as_unterminated(
    reader: Reader, clock: Clock
) -> None:
    steps = [body(*HELLO[:-1]), *([waits(clock, 4), body(PING)] * 5)]
    outcome = read(reader, steps, idle=10)
    assert outcome.error is None
    assert outcome.verdict is Verdict.UNTERMINATED


# Recording.


def test_a_recording_has_the_chunks_with_their_times_and_the_end(
    reader: Reader, clock: Clock, tmp_path: Path
) -> None:
    path = tmp_path / "answer.capture.jsonl"
    chunks = [HELLO_BODY[:50], HELLO_BODY[50:]]
    steps = [waits(clock, 0.5), chunks[0], waits(clock, 0.25), chunks[1], waits(clock, 0.125)]
    headers = {**SSE, "x-api-key": "secret", "set-cookie": "secret"}
    read(reader, steps, record_to=path, headers=headers, **pooled(reader))
    assert b"secret" not in path.read_bytes()
    capture = parse_capture(path.read_bytes())
    assert capture.header.status == 200
    assert capture.header.headers == SSE
    assert [(chunk.at, chunk.data) for chunk in capture.chunks] == [
        (0.5, chunks[0]),
        (0.75, chunks[1]),
    ]
    assert capture.end is not None
    assert (capture.end.at, capture.end.error) == (0.875, None)


@pytest.mark.parametrize(
    ("ending", "error"),
    [
        ([ConnectionResetError("gone")], "ConnectionResetError('gone')"),
        ([KeyboardInterrupt()], "closed by the reader"),
    ],
)
def test_a_recording_has_the_error_that_ended_the_stream(
    reader: Reader, ending: list[Any], error: str
) -> None:
    file = io.BytesIO()
    it = reader([TRUNCATED_BODY, *ending], record_to=file)
    with pytest.raises((APIError, KeyboardInterrupt)):
        it.until_done()
    capture = parse_capture(file.getvalue())
    assert capture.body == TRUNCATED_BODY
    assert capture.end is not None
    assert capture.end.error == error
    assert not file.closed


def test_each_chunk_is_in_the_file_before_its_first_event(reader: Reader, tmp_path: Path) -> None:
    path = tmp_path / "answer.capture.jsonl"
    it = reader([TRUNCATED_BODY, HELLO_BODY[len(TRUNCATED_BODY) :]], record_to=str(path))
    it.next()
    capture = parse_capture(path.read_bytes())
    assert capture.body == TRUNCATED_BODY
    assert capture.end is None
    it.close()


def test_a_refused_response_is_not_recorded(reader: Reader, tmp_path: Path) -> None:
    path = tmp_path / "answer.capture.jsonl"
    read(reader, [b"no"], status=500, record_to=path)
    assert path.read_bytes() == b""
    read(reader, [HELLO_BODY], record_to=path)  # a second attempt may record to the same path
    assert parse_capture(path.read_bytes()).body == HELLO_BODY


def test_a_path_that_cannot_be_written_is_refused_at_once(reader: Reader, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="missing"):
        reader([HELLO_BODY], record_to=tmp_path / "missing" / "x.jsonl")


@pytest.mark.parametrize("target", [io.StringIO(), 3, object()], ids=["text", "int", "object"])
def test_an_invalid_target_of_a_recording_is_refused_at_once(reader: Reader, target: Any) -> None:
    with pytest.raises(TypeError, match="must be a path or a binary file, not"):
        reader([HELLO_BODY], record_to=target)


def test_two_threads_may_close_a_recorded_stream_at_the_same_time(tmp_path: Path) -> None:
    for number in range(50):
        path = tmp_path / f"{number}.capture.jsonl"
        started = threading.Barrier(3)
        it = Sync([TRUNCATED_BODY, *([body(PING)] * 50)], record_to=path, abort=lambda: None)

        def close(it: Sync = it, started: threading.Barrier = started) -> None:
            started.wait(PATIENCE)
            it.close()

        closers = [threading.Thread(target=close) for _ in range(2)]
        for closer in closers:
            closer.start()
        started.wait(PATIENCE)
        with pytest.raises(IncompleteMessageError):
            it.until_done()
        for closer in closers:
            closer.join()
        assert it.closed == 1
        assert parse_capture(path.read_bytes()).end is not None


def test_a_failed_recording_causes_a_warning_and_the_stream_goes_on(reader: Reader) -> None:
    class FullDisk(io.BytesIO):
        def write(self, data: Any) -> int:
            if b"message_start" in data:
                raise OSError(28, "No space left on device")
            return super().write(data)

    with pytest.warns(RuntimeWarning, match="the recording stops here: .*No space left"):
        outcome = read(reader, [HELLO_BODY[:5], HELLO_BODY[5:], b""], record_to=FullDisk())
    assert outcome.error is None
    assert outcome.verdict is Verdict.COMPLETE
    closed = io.BytesIO()
    closed.close()
    with pytest.warns(RuntimeWarning, match="closed file"):
        assert read(reader, [HELLO_BODY], record_to=closed).error is None


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this test needs /dev/full")
def test_a_full_disk_causes_a_warning_and_the_stream_goes_on(reader: Reader) -> None:
    with (
        pytest.warns(RuntimeWarning, match="the recording stops here: .*No space left"),
        Path("/dev/full").open("wb", buffering=0) as full,
    ):
        outcome = read(reader, [HELLO_BODY], record_to=full)
    assert outcome.error is None
    assert outcome.verdict is Verdict.COMPLETE


# Streams leave nothing open.


def test_a_failed_stream_keeps_no_references_to_the_frames_of_its_reader() -> None:
    class LocalObject:
        pass

    def use() -> "Sync":
        local_object = LocalObject()
        it = Sync([TRUNCATED_BODY])
        with pytest.raises(IncompleteMessageError):
            it.until_done()
        assert local_object
        return it

    it = use()
    assert not [each for each in gc.get_objects() if isinstance(each, LocalObject)]
    assert it.stream.snapshot is not None


class Owner:
    """An object that a stream must keep alive."""


def test_a_stream_keeps_its_owner_alive_until_it_is_closed(reader: Reader) -> None:
    for closes in ("close", "leave", "until_done"):
        owner = Owner()
        is_alive = weakref.ref(owner)
        it = reader([HELLO_BODY], owner=owner)
        del owner
        gc.collect()
        it.next()
        assert is_alive() is not None
        getattr(it, closes)()
        gc.collect()
        assert is_alive() is None


@pytest.mark.parametrize("as_garbage", [False, True], ids=["at once", "as garbage"])
def test_a_dropped_stream_is_closed_once_and_releases_its_owner(as_garbage: bool) -> None:
    closed: list[int | None] = []
    owner = Owner()
    is_alive = weakref.ref(owner)
    references: list[Any] = [
        MessageStream(
            ByteSource([TRUNCATED_BODY]),
            close=lambda: closed.append(threading.current_thread().ident),
            owner=owner,
        )
    ]
    del owner
    next(references[0])
    if as_garbage:
        references.append(references)
    del references
    gc.collect()
    wait_until(lambda: closed and is_alive() is None, "the stream is closed")
    assert len(closed) == 1
    assert closed[0] != threading.main_thread().ident


def test_a_dropped_stream_is_closed_even_if_no_thread_can_be_started(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("_thread.start_new_thread", refuse)
    it = Sync([TRUNCATED_BODY])
    it.next()
    it.stream = MessageStream([])
    assert it.closed == 1


def test_a_garbage_collection_does_not_wait_for_the_lock_that_close_takes() -> None:
    lock, is_closed = threading.Lock(), threading.Event()

    def close() -> None:
        with lock:  # a connection pool takes such a lock
            is_closed.set()

    references: list[Any] = [MessageStream(ByteSource([TRUNCATED_BODY]), close=close)]
    next(references[0])
    references.append(references)
    with lock:
        del references
        gc.collect()
        assert not is_closed.is_set()
    assert is_closed.wait(PATIENCE)


def test_asyncio_closes_a_dropped_stream() -> None:
    async def main() -> None:
        closed = asyncio.Event()

        async def close() -> None:
            closed.set()

        async def drop() -> None:
            await anext(AsyncMessageStream(AsyncByteSource([TRUNCATED_BODY]), close=close))

        await drop()
        await closed.wait()
        closed.clear()
        stream = [AsyncMessageStream(AsyncByteSource([TRUNCATED_BODY]), close=close)]
        await asyncio.to_thread(stream.clear)  # any thread may drop the last reference
        await closed.wait()

    asyncio.run(main())


def test_trio_closes_a_dropped_stream() -> None:
    trio = pytest.importorskip("trio", reason="this test needs trio")

    async def main() -> None:
        closed = trio.Event()

        async def close() -> None:
            closed.set()

        async def drop() -> None:
            await anext(AsyncMessageStream(AsyncByteSource([TRUNCATED_BODY]), close=close))

        await drop()
        await closed.wait()
        closed = trio.Event()
        stream = [AsyncMessageStream(AsyncByteSource([TRUNCATED_BODY]), close=close)]
        await trio.to_thread.run_sync(stream.clear)
        await closed.wait()
        kept.append(AsyncMessageStream(AsyncByteSource([TRUNCATED_BODY]), close=close))

    kept: list[Any] = []
    trio.run(main)
    kept.clear()  # its event loop has ended, so the stream cannot be closed


def test_a_stream_dropped_after_its_loop_has_ended_still_ends_its_recording(
    tmp_path: Path,
) -> None:
    path = tmp_path / "answer.capture.jsonl"

    async def main() -> AsyncMessageStream:
        stream = AsyncMessageStream(
            AsyncByteSource([TRUNCATED_BODY]), record_to=path, owner=Owner()
        )
        await anext(stream)
        return stream

    stream = asyncio.run(main())
    before = len(_dropped.HELD)
    del stream
    assert parse_capture(path.read_bytes()).end is not None
    assert len(_dropped.HELD) == before - 1


def test_a_dropped_stream_causes_no_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        MessageStream([HELLO_BODY]).close()
        next(MessageStream([HELLO_BODY]))
        gc.collect()


def test_encoded_streams_of_a_message_yield_its_content(reader: Reader) -> None:
    message = message_from_dict(
        {"id": "msg_1", "content": [{"type": "text", "text": "Hi."}], "stop_reason": "end_turn"}
    )
    stream = encode_stream(message)
    for _ in range(20):
        assert reader([stream]).message().content == message.content


def test_chunks_that_are_not_bytes_are_a_type_error() -> None:
    chunks: Any = ["text"]
    with pytest.raises(TypeError, match="bytes"):
        next(MessageStream(chunks))


@pytest.mark.parametrize("kind", [MessageStream, AsyncMessageStream])
@pytest.mark.parametrize("option", ["idle", "total"])
@pytest.mark.parametrize("wrong", [True, 0, -1, "5", float("nan")])
def test_a_wrong_number_of_seconds_raises_at_once(kind: Any, option: str, wrong: Any) -> None:
    with pytest.raises(ValueError, match=rf"{option} must be None, or seconds above 0"):
        kind([], **{option: wrong})
