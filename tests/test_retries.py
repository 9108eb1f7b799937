"""Test retries: their number, their delay, and that none follows any output of the stream."""

import contextlib
import io
from collections.abc import Callable, Iterable
from typing import Any, Final
from unittest import mock

import pytest
from hypothesis import example, given, strategies as st

from matrix import Adapter, ask, driven, text_of
from sansio_stream import (
    BODY_NEEDED,
    FirstFrame,
    ProtocolError,
    StreamMachine,
    Verdict,
    parse_capture,
)
from sansio_stream_adapters import (
    APIError,
    APIStatusError,
    APITimeoutError,
    BadRequestError,
    IncompleteMessageError,
    InternalServerError,
    MessageStream,
    OverloadedError,
    RateLimitError,
    Timeout,
)
from sansio_stream_adapters._stream_core import ReadSignal, StreamCore
from servers import Do, RawServer, TooSoonError, chunk, head, response, with_seconds
from wire import HELLO, OVERLOADED, PING, at_random, body

StartServer = Callable[..., RawServer]

pytestmark = pytest.mark.usefixtures("nothing_is_left_open")

TEXT: Final = "Hello, wörld \N{PARTY POPPER}"
WHOLE: Final = body(*HELLO)
ERROR: Final = body(OVERLOADED)
GOOD: Final = [head() + chunk(WHOLE) + chunk(b"")]


# The longest wait that a server may ask for.


@driven
async def test_a_longer_wait_than_allowed_is_named_in_the_error_and_not_waited_for(
    adapter: Adapter, raw_server: StartServer, delays: list[float]
) -> None:
    server = raw_server([response(b"", 429, {"retry-after": "120"})])
    async with adapter.client(server.url, max_retries=2) as client:
        with pytest.raises(RateLimitError, match=r"asks to wait 120 s.*60 s") as caught:
            await client.messages.create(**ask(), stream=True)
    assert len(server.requests) == 1
    assert delays == []
    assert caught.value.headers["retry-after"] == "120"
    assert caught.value.args == (caught.value.message,)


@driven
async def test_max_retry_after_is_an_option_of_the_client_and_of_the_call(
    adapter: Adapter, raw_server: StartServer, delays: list[float]
) -> None:
    refusal = [response(b"", 529, {"retry-after-ms": "120000"})]
    server = raw_server(refusal, GOOD, refusal, GOOD, refusal)
    async with adapter.client(server.url, max_retries=1, max_retry_after=150) as client:
        for call in ({}, {"max_retry_after": 120}):
            async with client.messages.stream(**ask(), **call) as stream:
                assert await stream.get_final_text() == TEXT
        with pytest.raises(OverloadedError, match=r"asks to wait 120 s.*1\.5 s"):
            await client.messages.create(**ask(), max_retry_after=1.5, stream=True)
    assert delays == [120, 120]
    assert len(server.requests) == 5
    assert all(b"max_retry_after" not in request.body for request in server.requests)


@driven
async def test_the_error_names_the_wait_even_without_retries(
    adapter: Adapter, raw_server: StartServer
) -> None:
    server = raw_server([response(b"", 503, {"retry-after": "3600"})])
    async with adapter.client(server.url, max_retries=0) as client:
        with pytest.raises(InternalServerError, match=r"HTTP 503: no body .*wait 3600 s"):
            await client.messages.create(**ask(), stream=True)


@pytest.mark.parametrize("wrong", [-1, True, "60", None, float("nan"), float("inf"), 1e9])
@driven
async def test_an_invalid_max_retry_after_is_refused_at_once(adapter: Adapter, wrong: Any) -> None:
    with pytest.raises(ValueError, match="max_retry_after must be seconds from 0"):
        adapter.make(max_retry_after=wrong)
    async with adapter.client("http://127.0.0.1:1") as client:
        with pytest.raises(ValueError, match="max_retry_after must be seconds from 0"):
            client.messages.stream(**ask(), max_retry_after=wrong)


# An error event as the first frame.


@driven
async def test_an_error_as_the_first_frame_is_retried_like_its_status(
    adapter: Adapter, raw_server: StartServer, delays: list[float]
) -> None:
    # The server does not end the body. The client does not wait for bytes after the error.
    headers = {"content-type": "text/event-stream", "retry-after": "15"}
    scripts = [[head() + chunk(ERROR), Do.WAIT], [head(headers=headers) + ERROR, Do.WAIT], GOOD]
    server = raw_server(*scripts)
    file = io.BytesIO()
    async with adapter.client(server.url, max_retries=2) as client:
        async with client.messages.stream(**ask(), record_to=file) as stream:
            assert stream.snapshot is None  # opening applies no event
            assert text_of(await stream.get_final_message()) == TEXT
        assert len(server.requests) == 3
        assert 0.375 <= delays[0] <= 0.5
        assert delays[1:] == [15]
        # The recording contains the accepted answer only.
        assert parse_capture(file.getvalue()).body == WHOLE
        await adapter.until(
            lambda: server.closed_by_client >= 2, "the connections of refused attempts are closed"
        )


@driven
async def test_the_error_of_the_last_attempt_is_raised_and_recorded(
    adapter: Adapter, raw_server: StartServer, delays: list[float]
) -> None:
    server = raw_server([head() + chunk(ERROR) + chunk(b"")])
    file = io.BytesIO()
    async with (
        adapter.client(server.url, max_retries=2) as client,
        client.messages.stream(**ask(), record_to=file) as stream,
    ):
        with pytest.raises(OverloadedError) as caught:
            await stream.until_done()
    assert (caught.value.http_status, caught.value.verdict) == (200, Verdict.ERRORED)
    assert len(server.requests) == 3
    assert len(delays) == 2
    assert parse_capture(file.getvalue()).body == ERROR


@driven
async def test_an_error_event_that_is_not_retryable_is_raised_at_once(
    adapter: Adapter, raw_server: StartServer, delays: list[float]
) -> None:
    refused = {"type": "error", "error": {"type": "invalid_request_error", "message": "blocked"}}
    never = {"content-type": "text/event-stream", "x-should-retry": "false"}
    server = raw_server(
        [head() + chunk(body(refused)) + chunk(b"")],
        [head(headers={**never, "connection": "close"}) + ERROR, Do.CLOSE],
    )
    async with adapter.client(server.url, max_retries=2) as client:
        for kind, data in ((BadRequestError, body(refused)), (OverloadedError, ERROR)):
            file = io.BytesIO()
            async with client.messages.stream(**ask(), record_to=file) as stream:
                with pytest.raises(kind):
                    await stream.until_done()
            assert parse_capture(file.getvalue()).body == data
    assert len(server.requests) == 2
    assert delays == []


@driven
async def test_an_error_event_with_too_long_a_wait_names_it_and_is_raised_at_once(
    adapter: Adapter, raw_server: StartServer, delays: list[float]
) -> None:
    headers = {"content-type": "text/event-stream", "retry-after": "120"}
    server = raw_server([head(headers=headers) + ERROR, Do.WAIT])
    async with adapter.client(server.url, max_retries=2) as client:
        with pytest.raises(OverloadedError, match=r"Overloaded .*asks to wait 120 s"):
            await client.messages.create(**ask(), stream=True)
    assert len(server.requests) == 1
    assert delays == []


@pytest.mark.parametrize(
    "first", [body(PING), b": hello\n\n", b"retry: 3000\n\n", b"event: error\n: hello\n"]
)
@driven
async def test_an_error_after_another_first_frame_is_not_retried(
    adapter: Adapter, first: bytes, raw_server: StartServer, delays: list[float]
) -> None:
    server = raw_server([head() + chunk(first), chunk(ERROR), chunk(b"")])
    async with (
        adapter.client(server.url, max_retries=2) as client,
        client.messages.stream(**ask()) as stream,
    ):
        with pytest.raises(OverloadedError):
            await stream.until_done()
    assert len(server.requests) == 1
    assert delays == []


@driven
async def test_without_retries_a_stream_is_open_after_its_head(
    adapter: Adapter, raw_server: StartServer
) -> None:
    server = raw_server([head(), Do.WAIT])
    async with adapter.client(server.url, max_retries=0) as client:
        stream = await client.messages.create(**ask(), stream=True)
        await stream.close()


@driven
async def test_with_retries_a_stream_is_open_after_its_first_frame(
    adapter: Adapter, raw_server: StartServer
) -> None:
    server = raw_server(*([head() + chunk(first), Do.WAIT] for first in (body(PING), b":")))
    async with adapter.client(server.url, max_retries=1) as client:
        for _ in range(2):
            stream = await client.messages.create(**ask(), stream=True)
            await stream.close()
    assert len(server.requests) == 2


@with_seconds
@driven
async def test_a_failure_before_the_first_frame_is_raised_by_the_stream_and_not_retried(
    adapter: Adapter, raw_server: StartServer, delays: list[float], seconds: float
) -> None:
    server = raw_server([head() + chunk(ERROR[:20]), Do.WAIT], [head() + chunk(b"")])
    file = io.BytesIO()
    delays.clear()
    timeout = Timeout(read=seconds)
    async with adapter.client(server.url, max_retries=1, timeout=timeout) as client:
        for number, kind in enumerate((APITimeoutError, IncompleteMessageError), 1):
            async with client.messages.stream(**ask(), record_to=file) as stream:
                if len(server.requests) > number:
                    raise TooSoonError  # the timeout ended before the head arrived
                with pytest.raises(kind):
                    await stream.until_done()
            assert parse_capture(file.getvalue()).end is not None
            file.seek(0)
            file.truncate()
    assert len(server.requests) == 2
    assert delays == []


@driven
async def test_a_call_interrupted_before_the_first_frame_closes_its_connection(
    adapter: Adapter, raw_server: StartServer
) -> None:
    server = raw_server([head() + chunk(b"\n"), Do.WAIT])
    received = StreamCore.received

    async with adapter.client(server.url, max_retries=2) as client:

        async def call(is_about_to_wait: Callable[[], object]) -> None:
            def receive(core: StreamCore, *args: Any) -> int:
                count = received(core, *args)
                assert core.is_undecided
                is_about_to_wait()
                return count

            with mock.patch.object(StreamCore, "received", receive):
                await client.messages.create(**ask(), stream=True)

        await adapter.interrupted(call)
        await adapter.until_closed(server)
    assert len(server.requests) == 1


# FirstFrame, without a network.


def decision_of(chunks: Iterable[bytes], *, ends: bool = True) -> Any:
    """Return the decision of FirstFrame on a body. For an error, return its class."""
    first_frame = FirstFrame(200, {"content-type": "text/event-stream"})
    answer: Any = BODY_NEEDED
    for data in chunks:
        answer = first_frame.receive(data)
    if ends:
        answer = first_frame.end()
    return type(answer) if isinstance(answer, APIStatusError) else answer


LINE_ENDS: Final = st.sampled_from([b"\n", b"\r\n", b"\r"])
PIECES: Final = st.lists(
    st.sampled_from(
        [
            *(ERROR, body(PING), WHOLE[:300], b": a comment\n", b":\n\n", b"\n", b"\n\n"),
            *(b"retry: 10\n\n", b"event: error\n", b'data: {"error": {"message": "m"}}\n'),
            *(b"data: <html>\n\n", b"data: [DONE]\n\n", b"id: 3\n", b"\xef\xbb\xbf", b"\xff\n"),
        ]
    ),
    max_size=5,
).map(b"".join)


@given(PIECES, LINE_ENDS, st.integers(0, 10**6))
@example(ERROR, b"\r\n", 1)
@example(b"\xef\xbb\xbf" + ERROR, b"\r", 2)
def test_the_decision_does_not_depend_on_how_the_bytes_are_cut(
    data: bytes, line_end: bytes, seed: int
) -> None:
    data = data.replace(b"\n", line_end)
    for ends in (False, True):
        expected = decision_of([data], ends=ends)
        assert decision_of(at_random(data, seed), ends=ends) == expected
        assert decision_of([data[at : at + 1] for at in range(len(data))], ends=ends) == expected


def is_error_first(data: bytes) -> bool:
    """Return whether the first event that a machine yields for these bytes is an error event."""
    machine = StreamMachine()
    machine.receive_data(data)
    with contextlib.suppress(ProtocolError):
        event = next(machine.receive_eof(), None)
        return event is not None and event.type == "error"
    return False


@given(PIECES, LINE_ENDS, st.integers(0, 10**6))
@example(b'data: {"error": {"message": "m"}}\n' + WHOLE[:300], b"\n", 0)
@example(b'\n\xef\xbb\xbfdata: {"error": {"message": "m"}}\n', b"\n", 0)
@example(b'\xef\xbb\xbf\xef\xbb\xbfdata: {"error": {"message": "m"}}\n', b"\n", 0)
def test_first_frame_finds_exactly_the_errors_that_a_machine_yields_first(
    data: bytes, line_end: bytes, seed: int
) -> None:
    data = data.replace(b"\n", line_end)
    answer = decision_of(at_random(data, seed))
    if answer is None:
        lines = data.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        before, blank, _ = lines.lstrip(b"\n").partition(b"\n\n")
        has_comment = any(line.startswith(b":") for line in before.split(b"\n"))
        # The blank line keeps a byte order mark in `before` from being the first bytes of a body.
        assert has_comment or not is_error_first(b"\n" + before + blank)
    else:
        assert is_error_first(data)
        assert issubclass(answer, InternalServerError)


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("blank", [b"", b"\n", b"\n\n\n"])
def test_an_error_is_found_exactly_at_its_last_byte(
    line_end: bytes, mark: bytes, blank: bytes
) -> None:
    data = mark + (blank + ERROR).replace(b"\n", line_end)
    last = len(data) - (line_end == b"\r\n")
    assert decision_of([data[: last - 1]], ends=False) is BODY_NEEDED
    assert decision_of([data[:last]], ends=False) is OverloadedError
    assert decision_of([data + WHOLE], ends=False) is OverloadedError


def test_the_error_has_the_fields_of_the_head() -> None:
    first_frame = FirstFrame(202, {"Request-Id": "req_head", "retry-after": "3"})
    error = first_frame.receive(ERROR + WHOLE)
    assert isinstance(error, OverloadedError)
    assert (error.status_code, error.http_status) == (529, 202)
    assert (error.type, error.request_id) == ("overloaded_error", "req_head")
    assert error.headers == {"request-id": "req_head", "retry-after": "3"}
    assert error.verdict is Verdict.ERRORED
    assert first_frame.receive(b"more") is first_frame.end() is error


@pytest.mark.parametrize("size", [1, 1000, 65_536, 200_000])
def test_first_frame_decides_after_64_kib_at_the_latest(size: int) -> None:
    padding = {"type": "error", "error": {"type": "overloaded_error", "message": "x" * 70_000}}
    for data in (body(padding), b"\n" * 65_536 + ERROR, b"x" * 70_000):
        cut = [data[at : at + size] for at in range(0, len(data), size)]
        assert decision_of(cut, ends=False) is None
    assert decision_of([b"x" * 65_535], ends=False) is BODY_NEEDED


def test_first_frame_may_leave_an_exceeded_limit_to_the_machine() -> None:
    deep = b"event: error\ndata: " + b"[" * 5000 + b"\n\n"
    assert decision_of([deep]) in (None, InternalServerError)


@given(
    st.sampled_from([WHOLE, body(PING) + WHOLE, b"\n\n: hi\n\n" + WHOLE, ERROR, WHOLE[:700], b""]),
    st.integers(0, 10**6),
)
def test_bytes_read_before_the_decision_are_not_lost(data: bytes, seed: int) -> None:
    def outcome(**options: Any) -> tuple[list[Any], str, bytes]:
        file = io.BytesIO()
        stream = MessageStream(at_random(data, seed), record_to=file, **options).open()
        events: list[Any] = []
        error_text = ""
        try:
            for event in stream:
                events.append(event)  # noqa: PERF402  (keeps the events before an error)
        except APIError as error:
            error_text = repr(error)
        return events, error_text, parse_capture(file.getvalue()).body

    assert outcome(will_retry=lambda _: False) == outcome()


@given(st.sampled_from([b"", WHOLE]), st.integers(0, 10**6))
def test_an_error_that_will_be_retried_is_raised_by_open_and_not_recorded(
    rest: bytes, seed: int
) -> None:
    file = io.BytesIO()
    closed: list[bool] = []
    stream = MessageStream(
        at_random(ERROR + rest, seed),
        record_to=file,
        will_retry=lambda _: True,
        close=lambda: closed.append(True),
    )
    for _ in range(2):
        with pytest.raises(OverloadedError):
            stream.open()
    assert closed == [True]
    assert file.getvalue() == b""


def test_idle_bounds_the_wait_for_the_end_of_the_first_frame() -> None:
    core = StreamCore(
        {"status": 200, "headers": {}, "response": None},
        None,
        idle=1.0,
        will_retry=lambda _: True,
    )
    undecided: list[bool] = []
    for data in (b"event: err", b"or\n"):
        core.received(data, 0.7)
        undecided.append(core.is_undecided)
    assert undecided == [True, False]
    with pytest.raises(APITimeoutError, match=r"1\.4 s"):
        core.take()


def test_closing_ends_the_wait_for_a_decision() -> None:
    file = io.BytesIO()
    core = StreamCore(
        {"status": 200, "headers": {}, "response": None},
        None,
        record_to=file,
        will_retry=lambda _: True,
    )
    core.received(body(PING)[:10], 0)
    assert file.getvalue() == b""
    core.closed()
    assert not core.is_undecided
    assert parse_capture(file.getvalue()).body == body(PING)[:10]
    with pytest.raises(IncompleteMessageError, match="closed"):
        assert core.take() is not ReadSignal.NEED_DATA
