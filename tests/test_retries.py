"""A request is sent again while nothing was given out, as often and as late as was agreed."""

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

RawServers = Callable[..., RawServer]

pytestmark = pytest.mark.usefixtures("certificates_are_read_once", "nothing_is_left_open")

SAID: Final = "Hello, wörld \N{PARTY POPPER}"
WHOLE: Final = body(*HELLO)
ERROR: Final = body(OVERLOADED)
GOOD: Final = [head() + chunk(WHOLE) + chunk(b"")]


# How long a server may ask to wait.


@driven
async def test_a_server_that_asks_for_a_longer_wait_is_not_asked_again_and_its_wait_is_told(
    adapter: Adapter, raw_server: RawServers, delays: list[float]
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
async def test_the_longest_wait_is_an_option_of_the_client_and_of_the_call(
    adapter: Adapter, raw_server: RawServers, delays: list[float]
) -> None:
    refusal = [response(b"", 529, {"retry-after-ms": "120000"})]
    server = raw_server(refusal, GOOD, refusal, GOOD, refusal)
    async with adapter.client(server.url, max_retries=1, max_retry_after=150) as client:
        for call in ({}, {"max_retry_after": 120}):
            async with client.messages.stream(**ask(), **call) as stream:
                assert await stream.get_final_text() == SAID
        with pytest.raises(OverloadedError, match=r"asks to wait 120 s.*1\.5 s"):
            await client.messages.create(**ask(), max_retry_after=1.5, stream=True)
    assert delays == [120, 120]
    assert len(server.requests) == 5
    assert all(b"max_retry_after" not in request.body for request in server.requests)


@driven
async def test_the_wait_is_told_too_where_there_are_no_retries(
    adapter: Adapter, raw_server: RawServers
) -> None:
    server = raw_server([response(b"", 503, {"retry-after": "3600"})])
    async with adapter.client(server.url, max_retries=0) as client:
        with pytest.raises(InternalServerError, match=r"HTTP 503: no body .*wait 3600 s"):
            await client.messages.create(**ask(), stream=True)


@pytest.mark.parametrize("wrong", [-1, True, "60", None, float("nan"), float("inf"), 1e9])
@driven
async def test_a_longest_wait_that_is_none_is_said_at_once(adapter: Adapter, wrong: Any) -> None:
    with pytest.raises(ValueError, match="max_retry_after must be seconds from 0"):
        adapter.make(max_retry_after=wrong)
    async with adapter.client("http://127.0.0.1:1") as client:
        with pytest.raises(ValueError, match="max_retry_after must be seconds from 0"):
            client.messages.stream(**ask(), max_retry_after=wrong)


# An error event that is the first frame.


@driven
async def test_an_error_that_is_the_first_frame_is_retried_as_its_status_would_be(
    adapter: Adapter, raw_server: RawServers, delays: list[float]
) -> None:
    # The server does not end the body: nothing behind the error is waited for.
    asked = {"content-type": "text/event-stream", "retry-after": "15"}
    scripts = [[head() + chunk(ERROR), Do.WAIT], [head(headers=asked) + ERROR, Do.WAIT], GOOD]
    server = raw_server(*scripts)
    file = io.BytesIO()
    async with adapter.client(server.url, max_retries=2) as client:
        async with client.messages.stream(**ask(), record_to=file) as stream:
            assert stream.snapshot is None  # nothing is taken before the reader takes it
            assert text_of(await stream.get_final_message()) == SAID
        assert len(server.requests) == 3
        assert 0.375 <= delays[0] <= 0.5
        assert delays[1:] == [15]
        # Only the answer that was given out is in the recording, and all of it.
        assert parse_capture(file.getvalue()).body == WHOLE
        await adapter.until(lambda: server.closed_by_client >= 2, "the refused ones are closed")


@driven
async def test_the_last_attempt_gives_its_error_out_and_records_it(
    adapter: Adapter, raw_server: RawServers, delays: list[float]
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
async def test_an_error_whose_status_would_not_be_retried_is_given_out(
    adapter: Adapter, raw_server: RawServers, delays: list[float]
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
async def test_an_error_that_asks_for_too_long_a_wait_is_raised_at_once_and_says_so(
    adapter: Adapter, raw_server: RawServers, delays: list[float]
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
async def test_the_first_frame_of_any_kind_ends_the_look(
    adapter: Adapter, first: bytes, raw_server: RawServers, delays: list[float]
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
async def test_without_retries_a_stream_opens_with_its_head(
    adapter: Adapter, raw_server: RawServers
) -> None:
    server = raw_server([head(), Do.WAIT])
    async with adapter.client(server.url, max_retries=0) as client:
        stream = await client.messages.create(**ask(), stream=True)
        await stream.close()


@driven
async def test_with_retries_a_stream_opens_with_its_first_frame_of_any_kind(
    adapter: Adapter, raw_server: RawServers
) -> None:
    server = raw_server(*([head() + chunk(first), Do.WAIT] for first in (body(PING), b":")))
    async with adapter.client(server.url, max_retries=1) as client:
        for _ in range(2):
            stream = await client.messages.create(**ask(), stream=True)
            await stream.close()
    assert len(server.requests) == 2


@with_seconds
@driven
async def test_what_fails_before_the_first_frame_is_raised_by_the_stream_and_not_retried(
    adapter: Adapter, raw_server: RawServers, delays: list[float], seconds: float
) -> None:
    server = raw_server([head() + chunk(ERROR[:20]), Do.WAIT], [head() + chunk(b"")])
    file = io.BytesIO()
    delays.clear()
    timeout = Timeout(read=seconds)
    async with adapter.client(server.url, max_retries=1, timeout=timeout) as client:
        for number, kind in enumerate((APITimeoutError, IncompleteMessageError), 1):
            async with client.messages.stream(**ask(), record_to=file) as stream:
                if len(server.requests) > number:
                    raise TooSoonError  # the head was not there in time
                with pytest.raises(kind):
                    await stream.until_done()
            assert parse_capture(file.getvalue()).end is not None
            file.seek(0)
            file.truncate()
    assert len(server.requests) == 2
    assert delays == []


@driven
async def test_a_call_that_is_interrupted_before_the_first_frame_leaves_no_connection(
    adapter: Adapter, raw_server: RawServers
) -> None:
    server = raw_server([head() + chunk(b"\n"), Do.WAIT])
    received = StreamCore.received

    async with adapter.client(server.url, max_retries=2) as client:

        async def call(looking: Callable[[], object]) -> None:
            def receive(feed: StreamCore, *args: Any) -> int:
                count = received(feed, *args)
                assert feed.is_undecided
                looking()
                return count

            with mock.patch.object(StreamCore, "received", receive):
                await client.messages.create(**ask(), stream=True)

        await adapter.interrupted(call)
        await adapter.until_closed(server)
    assert len(server.requests) == 1


# The look itself, without a network.


def decided(chunks: Iterable[bytes], *, ends: bool = True) -> Any:
    """What a look says of a body, of which an error is its class."""
    look = FirstFrame(200, {"content-type": "text/event-stream"})
    answer: Any = BODY_NEEDED
    for data in chunks:
        answer = look.receive(data)
    if ends:
        answer = look.end()
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
def test_how_the_bytes_are_cut_does_not_matter_to_a_look(
    data: bytes, line_end: bytes, seed: int
) -> None:
    data = data.replace(b"\n", line_end)
    for ends in (False, True):
        expected = decided([data], ends=ends)
        assert decided(at_random(data, seed), ends=ends) == expected
        assert decided([data[at : at + 1] for at in range(len(data))], ends=ends) == expected


def is_error_first(data: bytes) -> bool:
    """Whether a machine that is given these bytes gives an error event before anything else."""
    machine = StreamMachine()
    machine.receive_data(data)
    with contextlib.suppress(ProtocolError):
        event = next(machine.receive_eof(), None)
        return event is not None and event.type == "error"
    return False


@given(PIECES, LINE_ENDS, st.integers(0, 10**6))
@example(b'data: {"error": {"message": "m"}}\n' + WHOLE[:300], b"\n", 0)
def test_a_look_finds_the_error_that_a_machine_gives_first_and_nothing_else(
    data: bytes, line_end: bytes, seed: int
) -> None:
    data = data.replace(b"\n", line_end)
    answer = decided(at_random(data, seed))
    if answer is None:
        lines = data.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        before, blank, _ = lines.lstrip(b"\n").partition(b"\n\n")
        has_comment = any(line.startswith(b":") for line in before.split(b"\n"))
        assert has_comment or not is_error_first(before + blank)
    else:
        assert is_error_first(data)
        assert issubclass(answer, InternalServerError)


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("blank", [b"", b"\n", b"\n\n\n"])
def test_an_error_is_found_at_its_last_byte_and_not_before(
    line_end: bytes, mark: bytes, blank: bytes
) -> None:
    data = mark + (blank + ERROR).replace(b"\n", line_end)
    last = len(data) - (line_end == b"\r\n")
    assert decided([data[: last - 1]], ends=False) is BODY_NEEDED
    assert decided([data[:last]], ends=False) is OverloadedError
    assert decided([data + WHOLE], ends=False) is OverloadedError


def test_a_look_tells_of_the_error_what_the_head_says_too() -> None:
    look = FirstFrame(202, {"Request-Id": "req_head", "retry-after": "3"})
    error = look.receive(ERROR + WHOLE)
    assert isinstance(error, OverloadedError)
    assert (error.status_code, error.http_status) == (529, 202)
    assert (error.type, error.request_id) == ("overloaded_error", "req_head")
    assert error.headers == {"request-id": "req_head", "retry-after": "3"}
    assert error.verdict is Verdict.ERRORED
    assert look.receive(b"more") is look.end() is error


@pytest.mark.parametrize("size", [1, 1000, 65_536, 200_000])
def test_a_look_ends_after_64_kib_however_they_come(size: int) -> None:
    padding = {"type": "error", "error": {"type": "overloaded_error", "message": "x" * 70_000}}
    for data in (body(padding), b"\n" * 65_536 + ERROR, b"x" * 70_000):
        cut = [data[at : at + size] for at in range(0, len(data), size)]
        assert decided(cut, ends=False) is None
    assert decided([b"x" * 65_535], ends=False) is BODY_NEEDED


def test_a_first_frame_that_breaks_a_limit_is_for_the_machine_to_say() -> None:
    deep = b"event: error\ndata: " + b"[" * 5000 + b"\n\n"
    assert decided([deep]) in (None, InternalServerError)


@given(
    st.sampled_from([WHOLE, body(PING) + WHOLE, b"\n\n: hi\n\n" + WHOLE, ERROR, WHOLE[:700], b""]),
    st.integers(0, 10**6),
)
def test_nothing_that_is_read_in_a_look_is_lost(data: bytes, seed: int) -> None:
    def outcome(**options: Any) -> tuple[list[Any], str, bytes]:
        file = io.BytesIO()
        stream = MessageStream(at_random(data, seed), record_to=file, **options).open()
        events: list[Any] = []
        told = ""
        try:
            for event in stream:
                events.append(event)  # noqa: PERF402  (what came before an error counts)
        except APIError as error:
            told = repr(error)
        return events, told, parse_capture(file.getvalue()).body

    assert outcome(will_retry=lambda _: False) == outcome()


@given(st.sampled_from([b"", WHOLE]), st.integers(0, 10**6))
def test_an_error_that_will_be_retried_is_raised_by_open_and_leaves_no_record(
    behind: bytes, seed: int
) -> None:
    file = io.BytesIO()
    closed: list[bool] = []
    stream = MessageStream(
        at_random(ERROR + behind, seed),
        record_to=file,
        will_retry=lambda _: True,
        close=lambda: closed.append(True),
    )
    for _ in range(2):
        with pytest.raises(OverloadedError):
            stream.open()
    assert closed == [True]
    assert file.getvalue() == b""


def test_idle_ends_a_look_whose_first_frame_never_ends() -> None:
    feed = StreamCore(
        {"status": 200, "headers": {}, "response": None},
        None,
        idle=1.0,
        will_retry=lambda _: True,
    )
    looks: list[bool] = []
    for data in (b"event: err", b"or\n"):
        feed.received(data, 0.7)
        looks.append(feed.is_undecided)
    assert looks == [True, False]
    with pytest.raises(APITimeoutError, match=r"1\.4 s"):
        feed.take()


def test_a_look_that_is_closed_is_over() -> None:
    file = io.BytesIO()
    feed = StreamCore(
        {"status": 200, "headers": {}, "response": None},
        None,
        record_to=file,
        will_retry=lambda _: True,
    )
    feed.received(body(PING)[:10], 0)
    assert file.getvalue() == b""
    feed.closed()
    assert not feed.is_undecided
    assert parse_capture(file.getvalue()).body == body(PING)[:10]
    with pytest.raises(IncompleteMessageError, match="closed"):
        assert feed.take() is not ReadSignal.NEED_DATA
