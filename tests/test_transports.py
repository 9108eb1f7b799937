"""A transport beneath any client of httpx and httpx2: a bad end is an error, all else is as it was.

The streams come from servers, or from a `ReplayTransport`, which has tests of its own.
"""

import asyncio
import contextlib
import gc
import gzip
import json
import logging
import math
import os
import re
import stat
import time
import tracemalloc
import warnings
import weakref
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest

from matrix import text_of
from sansio_stream import (
    APIStatusError,
    IncompleteMessageError,
    Limits,
    NotAnEventStreamError,
    Report,
    Verdict,
    parse_capture,
)
from sansio_stream.capture import Capture, CaptureHeader, CaptureWriter
from sansio_stream.testing import Asked, End
from sansio_stream.testing.catalogue import connection
from sansio_stream_adapters import APIConnectionError, APIError, APITimeoutError
from sansio_stream_adapters._answers import SERVED, answer_of
from sansio_stream_adapters._recordings import new_file
from sansio_stream_adapters.transports import (
    ReplayTransport,
    VerifyingTransport,
    asks_for_stream,
    verify,
)
from sansio_stream_tools._app import App, Reply, Request
from servers import (
    EXAMPLES,
    PATIENCE,
    SHORT,
    Do,
    RawServer,
    TooSoonError,
    chunk,
    example_recordings,
    head,
    http_server,
    response as response_of,
    wait_until,
    with_seconds,
)
from ways import ASK, WAYS, Read, Way, stops_at
from wire import HELLO, MESSAGE_STOP, body, frame, text

RawServers = Callable[..., RawServer]

pytestmark = pytest.mark.usefixtures("nothing_is_left_open")

URL: Final = "http://api.test"
WHOLE: Final = body(*HELLO)
STOP: Final = b'"message_stop"'
EVENTS: Final = {"content-type": "text/event-stream"}
LOST: Final = body(*HELLO[:4], text(7, "for no block"), *HELLO[4:])
"""A delta that no block takes: its text is lost."""
UNENDED: Final = body(*HELLO[:-1])
"""Nothing is missing but message_stop."""


@pytest.fixture(params=WAYS, ids=lambda way: f"{way.library}{'-async' if way.is_async else ''}")
def way(request: pytest.FixtureRequest) -> Way:
    """One library and kind of client after the other."""
    way: Way = request.param
    way.require()
    return way


class Given:
    """An inner transport that answers with bytes, without a network. It counts."""

    def __init__(
        self,
        *chunks: bytes | BaseException,
        status: int = 200,
        headers: dict[str, str] | None = None,
    ) -> None:
        self.chunks = chunks
        self.status = status
        self.headers = EVENTS if headers is None else headers
        self.requests = 0
        self.closed = 0
        self.response: Any = None

    def _response(self, request: Any) -> Any:
        module = type(request).__module__.partition(".")[0]
        library = __import__(module)
        given = self

        class Body(library.SyncByteStream, library.AsyncByteStream):  # type: ignore[name-defined,misc]
            def __iter__(self) -> Iterator[bytes]:
                for each in given.chunks:
                    if isinstance(each, BaseException):
                        raise each
                    yield each

            async def __aiter__(self) -> Any:
                for each in given.chunks:
                    await asyncio.sleep(0)
                    if isinstance(each, BaseException):
                        raise each
                    yield each

            def close(self) -> None:
                given.closed += 1

            async def aclose(self) -> None:
                given.closed += 1

        self.requests += 1
        self.response = library.Response(self.status, headers=self.headers, stream=Body())
        return self.response

    def handle_request(self, request: Any) -> Any:
        return self._response(request)

    async def handle_async_request(self, request: Any) -> Any:
        return self._response(request)

    def close(self) -> None: ...

    async def aclose(self) -> None: ...


def through(way: Way, inner: Any, *, options: Any = None, **how: Any) -> Read:
    """Read what an inner transport gives, through a verifying one."""
    given: dict[str, Any] = options or {}
    transport = VerifyingTransport(inner, **given)
    return way.read(way.client(transport=transport), URL, **how)


def reported(way: Way, inner: Any, **how: Any) -> tuple[Read, Report]:
    """The same, with the only report."""
    reports: list[Report] = []
    options: dict[str, Any] = {"on_end": reports.append, **how.pop("options", {})}
    read = through(way, inner, options=options, **how)
    (report,) = reports
    return read, report


# What is observed.


@pytest.mark.parametrize(
    ("method", "path", "content", "is_one"),
    [
        ("POST", "/v1/messages", b'{"stream": true}', True),
        ("POST", "/any/prefix/messages?beta=true", b'{"stream": true}', True),
        ("POST", "/v1/projects/p/models/m:streamRawPredict", b'{"stream": true}', True),
        ("POST", "/model/m/invoke-with-response-stream", b'{"stream": true}', True),
        ("GET", "/v1/messages", b'{"stream": true}', False),
        ("POST", "/v1/messages/count_tokens", b'{"stream": true}', False),
        ("POST", "/v1/messages/batches", b'{"stream": true}', False),
        ("POST", "/v1/messages", b'{"stream": false}', False),
        ("POST", "/v1/messages", b'{"stream": 1}', False),
        ("POST", "/v1/messages", b"{}", False),
        ("POST", "/v1/messages", b"[true]", False),
        ("POST", "/v1/messages", b"", False),
        ("POST", "/v1/messages", b"\xff", False),
        ("POST", "/v1/messages", b"[" * 100_000, False),
    ],
)
def test_a_request_asks_for_a_stream_by_its_method_path_and_body(
    way: Way, method: str, path: str, content: bytes, is_one: bool
) -> None:
    request = way.require().Request(method, URL + path, content=content)
    assert asks_for_stream(request) is is_one


def test_a_body_that_can_be_read_once_only_is_not_looked_at(way: Way) -> None:
    pieces = iter([b'{"stream": true}'])
    request = way.require().Request("POST", URL + "/v1/messages", content=pieces)
    assert not asks_for_stream(request)
    assert list(pieces) == [b'{"stream": true}']


@pytest.mark.parametrize(
    "asked",
    [
        {"json": {**ASK, "stream": False}},
        {"path": "/v1/messages/batches/b/results"},
        {"path": "/v1/events"},
        {"method": "GET"},
    ],
)
def test_what_did_not_ask_for_a_message_is_untouched(way: Way, asked: dict[str, Any]) -> None:
    inner = Given(b"data: other events\n\n", b"data: cut")
    reports: list[Report] = []
    read = through(way, inner, options={"on_end": reports.append}, **asked)
    assert (read.chunks, read.error, reports) == (list(inner.chunks), None, [])
    assert "Verified" not in repr(vars(inner.response.stream))


def test_select_says_what_is_observed_instead(way: Way) -> None:
    options = {"select": lambda request: request.url.path == "/other"}
    cut = HELLO[:4]
    assert through(way, Given(body(*cut)), options=options).error is None
    assert through(way, Given(body(*cut)), options=options, path="/other").error is not None


def test_a_request_of_no_library_is_refused() -> None:
    with pytest.raises(TypeError, match="neither httpx nor httpx2"):
        VerifyingTransport().handle_request(object())


# The ends of streams.


def test_a_whole_stream_passes_chunk_by_chunk(way: Way) -> None:
    chunks = [frame(step) for step in HELLO]
    read, report = reported(way, Given(*chunks))
    assert (read.chunks, read.error) == (chunks, None)
    assert (report.verdict, report.ended, report.chunks) == (Verdict.COMPLETE, "eof", len(chunks))
    assert report.first_byte is not None
    assert report.end is not None


CUT: Final[dict[str, tuple[bytes, Verdict, type[APIError]]]] = {
    "in mid-message": (body(*HELLO[:4]), Verdict.TRUNCATED, IncompleteMessageError),
    "before anything": (b"", Verdict.EMPTY, IncompleteMessageError),
    "and only pings came": (body({"type": "ping"}) * 3, Verdict.EMPTY, IncompleteMessageError),
    "and it is a text": (b"Bad gateway", Verdict.NOT_AN_EVENT_STREAM, NotAnEventStreamError),
}


@pytest.mark.parametrize("how", CUT)
def test_a_stream_that_ends_too_early_raises_from_its_body(way: Way, how: str) -> None:
    data, verdict, kind = CUT[how]
    inner = Given(*([data] if data else []))
    read, report = reported(way, inner)
    assert read.status == 200
    assert type(read.error) is way.error("RemoteProtocolError")
    cause = read.error.__cause__
    assert isinstance(cause, kind)
    assert cause.verdict is verdict
    assert str(read.error) == str(cause)
    assert read.error.request.url.path == "/v1/messages"
    assert (report.verdict, report.ended) == (verdict, "eof")
    assert (inner.requests, inner.closed > 0) == (1, True)


@pytest.mark.parametrize("how", CUT)
def test_it_raises_our_own_error_if_that_is_wanted(way: Way, how: str) -> None:
    data, verdict, kind = CUT[how]
    read = through(way, Given(data), options={"raises": "own"})
    assert type(read.error) is kind
    assert read.error.verdict is verdict
    if verdict is Verdict.TRUNCATED:
        assert text_of(read.error.partial_message) == "Hel"


def test_every_later_read_raises_again(way: Way) -> None:
    body = VerifyingTransport(Given(WHOLE[:400])).handle_request(
        way.require().Request("POST", URL + "/v1/messages", json=ASK)
    )
    chunks = iter(body.stream)
    assert next(chunks) == WHOLE[:400]
    for _ in range(2):
        with pytest.raises(way.error("RemoteProtocolError")):
            next(chunks)


def test_raises_is_one_of_two() -> None:
    with pytest.raises(ValueError, match="raises must be"):
        VerifyingTransport(raises="theirs")  # type: ignore[arg-type]


def test_what_only_lacks_message_stop_is_an_error_if_that_is_wanted(way: Way) -> None:
    read, report = reported(way, Given(UNENDED))
    assert (read.data, read.error) == (UNENDED, None)
    assert report.verdict is Verdict.UNTERMINATED
    read = through(way, Given(UNENDED), options={"raise_unterminated": True, "raises": "own"})
    assert isinstance(read.error, IncompleteMessageError)
    assert read.error.verdict is Verdict.UNTERMINATED
    assert read.error.partial_message is not None


def test_the_message_stop_of_a_damaged_message_is_not_delivered(way: Way) -> None:
    *chunks, stop = (frame(step) for step in (*HELLO[:4], text(7, "lost"), *HELLO[4:]))
    read, report = reported(way, Given(*chunks, stop), enough=stops_at(STOP))
    assert read.chunks == chunks
    assert isinstance(read.error, way.error("RemoteProtocolError"))
    cause = read.error.__cause__
    assert isinstance(cause, IncompleteMessageError)
    assert cause.verdict is Verdict.DAMAGED
    assert cause.first_loss is not None
    assert report.verdict is Verdict.DAMAGED
    assert report.first_loss_code == "unknown_index"


def test_nor_is_any_of_the_chunk_that_it_is_in(way: Way) -> None:
    read = through(way, Given(LOST[:300], LOST[300:]), enough=stops_at(STOP))
    assert read.chunks == [LOST[:300]]
    assert read.error is not None


@pytest.mark.parametrize("size", [1, 10, 1000])
def test_a_message_stop_without_a_message_is_not_delivered(way: Way, size: int) -> None:
    data = body(*HELLO[1:])
    chunks = [data[at : at + size] for at in range(0, len(data), size)]
    read, report = reported(way, Given(*chunks), enough=stops_at(STOP))
    assert STOP not in read.data
    assert isinstance(read.error, way.error("RemoteProtocolError"))
    assert report.verdict is Verdict.DAMAGED


def test_a_broken_stream_raises_where_it_breaks(way: Way) -> None:
    bad = b'event: content_block_delta\ndata: {"type": "content_block_delta", \n\n'
    read, report = reported(way, Given(*map(frame, HELLO[:4]), bad, frame(MESSAGE_STOP)))
    assert read.data == body(*HELLO[:4])
    assert isinstance(read.error, way.error("RemoteProtocolError"))
    assert (report.verdict, report.error_type) == (Verdict.BROKEN, "ProtocolError")


def test_what_comes_behind_message_stop_makes_no_whole_message_bad(way: Way) -> None:
    data = WHOLE + b"data: {\n\n" + WHOLE
    read, report = reported(way, Given(data))
    assert (read.data, read.error, report.verdict) == (data, None, Verdict.COMPLETE)


def test_limits_hold(way: Way) -> None:
    options = {"limits": Limits(total_bytes=300), "raises": "own"}
    read, report = reported(way, Given(WHOLE[:200], WHOLE[200:]), options=options)
    assert read.chunks == [WHOLE[:200]]
    assert report.error_type == "LimitError"


ERROR: Final = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}


def test_an_error_event_is_the_readers_to_raise(way: Way) -> None:
    data = body(*HELLO[:4], ERROR)
    read, report = reported(way, Given(data))
    assert (read.data, read.error) == (data, None)
    assert (report.verdict, report.error_type) == (Verdict.ERRORED, "overloaded_error")


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (ERROR, ""),
        (ERROR, "message"),
        (ERROR, "message_delta"),
        ({"error": {"message": "no slot"}}, ""),
    ],
)
def test_one_that_its_name_hides_is_raised(way: Way, error: dict[str, Any], name: str) -> None:
    chunks = [*map(frame, HELLO[:4]), frame(error, name)]
    read, report = reported(way, Given(*chunks, frame(MESSAGE_STOP)), options={"raises": "own"})
    assert read.chunks == chunks[:-1]
    assert isinstance(read.error, APIStatusError)
    assert report.verdict is Verdict.ERRORED


# What is no stream.


@pytest.mark.parametrize(
    ("content_type", "data", "kind"),
    [
        ("text/html", b"<h1>Bad gateway</h1>", NotAnEventStreamError),
        ("application/json", b'{"type": "message"}', NotAnEventStreamError),
        ("application/json", json.dumps(ERROR).encode(), APIError),
        ("application/json", b"", NotAnEventStreamError),
    ],
)
def test_a_200_that_is_json_or_html_is_no_stream(
    way: Way, content_type: str, data: bytes, kind: type[APIError], tmp_path: Path
) -> None:
    inner = Given(data, headers={"content-type": content_type})
    options = {"raises": "own", "record_to": tmp_path}
    read, report = reported(way, inner, options=options)
    assert read.chunks == []
    assert isinstance(read.error, kind)
    assert report.ended == "eof"
    assert report.http_status == 200
    assert list(tmp_path.iterdir()) == []


def test_of_an_endless_page_no_more_is_read_than_its_head(way: Way) -> None:
    inner = Given(*[b"x" * 1000] * 1_000, headers={"content-type": "text/html"})
    read, report = reported(way, inner)
    assert read.chunks == []
    assert isinstance(read.error, way.error("RemoteProtocolError"))
    assert report.ended == "reader"
    assert report.bytes == 66_000
    assert inner.closed


@pytest.mark.parametrize("status", [400, 401, 429, 500, 529])
def test_an_error_status_passes_untouched_and_is_reported(way: Way, status: int) -> None:
    data = json.dumps(ERROR).encode()
    inner = Given(data[:20], data[20:], status=status, headers={"content-type": "application/json"})
    for options in ({}, {"raises": "own"}):
        read, report = reported(way, inner, options=options)
        assert (read.status, read.chunks, read.error) == (status, [data[:20], data[20:]], None)
        assert (report.http_status, report.error_type) == (status, "overloaded_error")


def test_a_body_of_an_error_that_breaks_raises_what_it_raised(way: Way) -> None:
    broken = ConnectionResetError("reset")
    read = through(way, Given(b"{", broken, status=500), options={"raises": "own"})
    assert read.error is broken


def test_bedrocks_own_framing_is_not_read(way: Way) -> None:
    inner = Given(b"\0\0\0\x10", headers={"content-type": "application/vnd.amazon.eventstream"})
    read = through(way, inner)
    assert (read.chunks, read.error) == ([b"\0\0\0\x10"], None)


# What the inner transport raises.


def test_what_the_body_raises_goes_on_and_is_reported(way: Way) -> None:
    lost = way.error("ReadError")("reset")
    read, report = reported(way, Given(body(*HELLO[:4]), lost))
    assert read.error is lost
    assert (report.verdict, report.ended) == (Verdict.TRUNCATED, "error")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("ReadError", APIConnectionError),
        ("RemoteProtocolError", APIConnectionError),
        ("ReadTimeout", APITimeoutError),
    ],
)
def test_or_comes_as_our_own(way: Way, name: str, kind: type[APIError]) -> None:
    lost: Exception = way.error(name)("lost")
    read = through(way, Given(body(*HELLO[:4]), lost), options={"raises": "own"})
    behind = through(way, Given(WHOLE, lost), options={"raises": "own"})
    assert isinstance(read.error, kind)
    assert read.error.__cause__ is lost
    assert read.error.verdict is Verdict.TRUNCATED
    assert text_of(read.error.partial_message) == "Hel"
    assert isinstance(behind.error, kind)
    assert (behind.data, behind.error.verdict) == (WHOLE, Verdict.COMPLETE)


def test_what_sending_raises_goes_on(way: Way) -> None:
    class Unreachable(Given):
        def _response(self, request: Any) -> Any:  # noqa: ARG002
            raise failure

    failure = way.error("ConnectError")("nobody listens")
    for options in ({}, {"raises": "own"}):
        with pytest.raises(way.error("ConnectError")) as caught:
            through(way, Unreachable(), options=options)
        assert caught.value is failure


# Whatever is wrong with what was passed in, an answer that is billed comes through.


def failing(*_: object) -> Any:
    raise ValueError("this is wrong")


def test_what_on_end_raises_is_logged(way: Way, caplog: pytest.LogCaptureFixture) -> None:
    read = through(way, Given(WHOLE), options={"on_end": failing})
    assert (read.data, read.error) == (WHOLE, None)
    (record,) = caplog.records
    assert record.exc_info is not None
    assert str(record.exc_info[1]) == "this is wrong"
    caplog.clear()


@pytest.mark.parametrize(
    "target",
    [failing, lambda _: 3, lambda _: "/no/such/folder/x"],
    ids=["raises", "gives no file", "gives no folder"],
)
def test_a_recording_that_cannot_be_made_is_a_warning(
    way: Way, target: Any, caplog: pytest.LogCaptureFixture
) -> None:
    read = through(way, Given(WHOLE), options={"record_to": target})
    assert (read.data, read.error) == (WHOLE, None)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage().startswith("the stream is not recorded: ")
    caplog.clear()


# Compressed bodies.


def zipped(data: bytes, encoding: str = "gzip") -> bytes:
    return gzip.compress(data, mtime=0) if encoding == "gzip" else zlib.compress(data)


def encoded(data: bytes, encoding: str = "gzip", size: int = 100) -> Given:
    """A body with a content-encoding, in pieces."""
    pieces = (data[at : at + size] for at in range(0, len(data), size))
    return Given(*pieces, headers={**EVENTS, "content-encoding": encoding})


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_compressed_body_passes_as_it_is_and_is_verified(
    way: Way, encoding: str, tmp_path: Path
) -> None:
    inner = encoded(zipped(WHOLE, encoding), encoding)
    read, report = reported(way, inner, options={"record_to": tmp_path})
    assert read.chunks == list(inner.chunks)
    assert read.headers["content-encoding"] == encoding
    assert (report.verdict, report.bytes) == (Verdict.COMPLETE, len(WHOLE))
    (path,) = tmp_path.iterdir()
    assert parse_capture(path.read_bytes()).body == WHOLE
    assert through(way, encoded(zipped(WHOLE, encoding), encoding), is_raw=False).data == WHOLE
    assert through(way, encoded(zipped(body(*HELLO[:4]), encoding), encoding)).error is not None
    assert through(way, encoded(zipped(LOST, encoding), encoding)).error is not None


def test_a_compressed_body_that_is_cut_or_faulty_raises(way: Way) -> None:
    whole = zipped(WHOLE)
    flushed = zlib.compressobj(wbits=31)
    begun = flushed.compress(body(*HELLO[:4])) + flushed.flush(zlib.Z_SYNC_FLUSH)
    for data in (whole[:-60], begun, begun + b"\xff" * 50):
        read, report = reported(way, encoded(data), options={"raises": "own"})
        assert isinstance(read.error, APIConnectionError)
        assert report.error_type == "DecodingError" or report.verdict is Verdict.TRUNCATED
    behind = through(way, encoded(whole + b"\xff" * 50))
    assert (behind.data, behind.error) == (whole + b"\xff" * 50, None)


def test_an_encoding_that_is_not_known_raises_and_is_named(way: Way) -> None:
    read, report = reported(way, encoded(WHOLE, "compress"), options={"raises": "own"})
    assert isinstance(read.error, NotAnEventStreamError)
    assert "'compress'" in str(read.error)
    assert read.chunks == []
    assert (report.ended, report.error_type) == ("error", "UnknownEncodingError")
    refused = Given(b"x", status=500, headers={"content-encoding": "compress"})
    assert through(way, refused).error is None


def test_a_bomb_costs_no_more_memory_than_a_piece() -> None:
    httpx = pytest.importorskip("httpx")
    squeezed = zlib.compressobj(9, wbits=31)
    bomb = squeezed.compress(body(*HELLO[:1]))
    for _ in range(32):
        bomb += squeezed.compress(b": " + b"x" * 2**20 + b"\n\n")
    bomb += squeezed.compress(body(*HELLO[1:])) + squeezed.flush()
    inner = encoded(bomb, size=len(bomb))
    response = VerifyingTransport(inner).handle_request(
        httpx.Request("POST", URL + "/v1/messages", json=ASK)
    )
    chunks = iter(response.stream)
    tracemalloc.start()
    try:
        assert next(chunks) == bomb
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 6 * 2**20, "32 MiB were decoded"
    assert list(chunks) == []


# A body that the inner transport has read.


def test_a_response_that_was_read_already_is_verified_too(way: Way) -> None:
    library = way.require()

    class Reading(Given):
        def handle_request(self, request: Any) -> Any:
            response = self._response(request)
            response.read()
            return response

        async def handle_async_request(self, request: Any) -> Any:
            response = self._response(request)
            await response.aread()
            return response

    compressed = {**EVENTS, "content-encoding": "gzip"}
    read = through(way, Reading(zipped(WHOLE), headers=compressed), is_raw=False)
    assert (read.data, read.error) == (WHOLE, None)
    assert through(way, Reading(zipped(WHOLE[:400]), headers=compressed)).error is not None
    mock = library.MockTransport(
        lambda _: library.Response(200, headers=compressed, content=zipped(WHOLE))
    )
    assert through(way, mock).data == zipped(WHOLE)


# Readers that leave.


def test_a_reader_that_leaves_is_reported_and_closes_the_body(way: Way) -> None:
    inner = Given(*map(frame, HELLO))
    read, report = reported(way, inner, enough=stops_at(b"Hel"))
    assert read.data == body(*HELLO[:4])
    assert (report.verdict, report.ended, report.events) == (Verdict.PENDING, "reader", 4)
    assert inner.closed


def test_a_reader_that_leaves_at_message_stop_has_a_whole_message(way: Way, tmp_path: Path) -> None:
    inner = Given(*map(frame, HELLO), b": more\n\n")
    options = {"record_to": tmp_path}
    _, report = reported(way, inner, options=options, enough=stops_at(STOP))
    assert (report.verdict, report.ended) == (Verdict.COMPLETE, "reader")
    (path,) = tmp_path.iterdir()
    end = parse_capture(path.read_bytes()).end
    assert end is not None
    assert end.error is None


def test_a_response_that_is_closed_unread_is_reported(way: Way) -> None:
    reports: list[Report] = []
    transport = VerifyingTransport(Given(WHOLE), on_end=reports.append)
    request = way.require().Request("POST", URL + "/v1/messages", json=ASK)
    if way.is_async:

        async def main() -> None:
            response = await transport.handle_async_request(request)
            await response.aclose()

        asyncio.run(main())
    else:
        transport.handle_request(request).close()
    assert [(each.ended, each.chunks) for each in reports] == [("reader", 0)]


@pytest.mark.parametrize("exc", [KeyboardInterrupt(), SystemExit()])
def test_ctrl_c_leaves_a_true_report(exc: BaseException) -> None:
    for way in WAYS:
        if way.is_async:
            continue  # Ctrl-C cancels the task
        reports: list[Report] = []
        inner = Given(*map(frame, HELLO[:4]), exc)
        with pytest.raises(type(exc)):
            through(way, inner, options={"on_end": reports.append})
        (report,) = reports
        assert (report.ended, report.verdict, report.events) == ("reader", Verdict.PENDING, 4)
        assert inner.closed


def test_a_task_that_is_cancelled_leaves_a_true_report(way: Way, raw_server: RawServers) -> None:
    if not way.is_async:
        pytest.skip("only tasks are cancelled")
    server = raw_server([head() + chunk(body(*HELLO[:4])), Do.WAIT])
    reports: list[Report] = []

    async def main() -> None:
        transport = VerifyingTransport(on_end=reports.append)
        reading = asyncio.Event()

        async def read() -> None:
            async with (
                way.client(transport=transport, timeout=PATIENCE) as client,
                client.stream("POST", server.url + "/v1/messages", json=ASK) as response,
            ):
                async for _ in response.aiter_raw():
                    reading.set()

        task = asyncio.create_task(read())
        await reading.wait()  # returns when the task waits for the next chunk
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    (report,) = reports
    assert (report.ended, report.verdict, report.events) == ("reader", Verdict.PENDING, 4)
    server.wait_until_closed()


@pytest.mark.parametrize("library", ["httpx", "httpx2"])
def test_under_trio_nothing_is_left_unfinished(library: str, raw_server: RawServers) -> None:
    trio = pytest.importorskip("trio")
    way = Way(library, is_async=True)
    way.require()
    server = raw_server([head() + chunk(body(*HELLO[:4])), Do.WAIT])
    reports: list[Report] = []

    async def main() -> None:
        transport = VerifyingTransport(on_end=reports.append)
        async with way.client(transport=transport, timeout=PATIENCE) as client:
            with trio.CancelScope() as scope:
                async with client.stream("POST", server.url + "/v1/messages", json=ASK) as response:
                    async for _ in response.aiter_raw():
                        scope.cancel()

    trio.run(main)
    assert [each.ended for each in reports] == ["reader"]


@pytest.mark.parametrize("library", ["httpx", "httpx2"])
def test_who_leaves_early_leaves_no_more_generators_than_without_it(
    library: str, raw_server: RawServers
) -> None:
    trio = pytest.importorskip("trio")
    way = Way(library, is_async=True)
    way.require()
    server = raw_server([head() + chunk(body(*HELLO[:4])), Do.WAIT])

    async def main(client: Any) -> None:
        async with (
            client,
            client.stream("POST", server.url + "/v1/messages", json=ASK) as response,
        ):
            async for _ in response.aiter_raw():
                break

    def unfinished(client: Any) -> set[str]:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            trio.run(main, client)
            gc.collect()
        return {re.sub("0x[0-9a-f]+", "", str(each.message)) for each in caught}

    plain = unfinished(way.client(timeout=PATIENCE))
    assert unfinished(verify(way.client(timeout=PATIENCE))) <= plain


# Leaks.


@pytest.mark.parametrize("is_replayed", [False, True], ids=["given", "replayed"])
def test_of_a_thousand_streams_nothing_is_left_and_every_report_is_true(
    way: Way, is_replayed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whole, cut, damaged and failing streams, readers that leave, and readers that are stopped.

    Each library and kind of client has a quarter of them.
    """
    interrupt = asyncio.CancelledError if way.is_async else KeyboardInterrupt
    kinds: dict[str, tuple[tuple[Any, ...], tuple[str, str]]] = {
        "whole": (tuple(map(frame, HELLO)), ("eof", "COMPLETE")),
        "cut": (tuple(map(frame, HELLO[:4])), ("eof", "TRUNCATED")),
        "damaged": ((LOST,), ("reader", "DAMAGED")),
        "failing": ((UNENDED[:300], way.error("ReadError")), ("error", "TRUNCATED")),
        "left": (tuple(map(frame, HELLO)), ("reader", "PENDING")),
        "unread": (tuple(map(frame, HELLO)), ("reader", "PENDING")),
        "interrupted": ((*map(frame, HELLO[:4]), interrupt), ("reader", "PENDING")),
    }
    names = list(kinds)
    told: Counter[tuple[str, tuple[str, str]]] = Counter()
    kept: list[weakref.ref[Any]] = []
    current = ""

    def on_end(report: Report) -> None:
        told[current, (report.ended, report.verdict.name)] += 1

    class Fresh(Given):
        """One that keeps no response, and makes each exception when it is due."""

        def _response(self, request: Any) -> Any:
            chunks = kinds[current][0]
            made = [each if isinstance(each, bytes) else each("stopped") for each in chunks]
            given = Given(*made)
            kept.append(weakref.ref(given))
            return Given._response(given, request)

    def captured(name: str) -> Capture:
        writer = CaptureWriter(CaptureHeader(status=200, headers=EVENTS))
        lines = writer.begin()
        for each in kinds[name][0]:
            if isinstance(each, bytes):
                lines += writer.chunk(each, 0)
            elif each is interrupt:
                lines += writer.chunk(frame(HELLO[4]), 10**6)  # the reader is stopped before it
        return parse_capture(lines + writer.end(0, "reset" if name == "failing" else None))

    def stopped(_: float) -> None:
        raise interrupt

    async def stopped_async(_: float) -> None:
        raise interrupt

    captures = {name: captured(name) for name in names}
    replaying = ReplayTransport(lambda _: captures[current], speed=1)
    if is_replayed:
        monkeypatch.setattr("sansio_stream_adapters._replay.time.sleep", stopped)
        monkeypatch.setattr("sansio_stream_adapters._replay.sleep", stopped_async)
    inner = replaying if is_replayed else Fresh()
    transport = VerifyingTransport(inner, on_end=on_end)
    expected = (way.error("TransportError"), KeyboardInterrupt, asyncio.CancelledError)

    def sync(client: Any) -> None:
        with client.stream("POST", URL + "/v1/messages", json=ASK) as response:
            kept.append(weakref.ref(response.stream))
            if current == "unread":
                return
            for _ in response.iter_raw():
                if current == "left":
                    return

    async def asynchronously(client: Any) -> None:
        async with client.stream("POST", URL + "/v1/messages", json=ASK) as response:
            kept.append(weakref.ref(response.stream))
            if current == "unread":
                return
            async for _ in response.aiter_raw():
                if current == "left":
                    return

    async def main() -> None:
        nonlocal current
        client = way.client(transport=transport)
        for number in range(250):
            current = names[number % len(names)]
            with contextlib.suppress(*expected):
                if way.is_async:
                    await asynchronously(client)
                else:
                    sync(client)
        await client.aclose() if way.is_async else client.close()

    asyncio.run(main())
    gc.collect()
    assert set(told) == {(name, kinds[name][1]) for name in names}
    assert told.total() == 250
    assert len(kept) >= 250
    assert [ref for ref in kept if ref() is not None] == []


def test_nor_do_those_of_a_server(way: Way, served: tuple[str, list[str]]) -> None:
    url, _ = served
    faults = ("nothing", "gzip", "cut", "missing-last-events", "html-200", "529")
    reports: list[str] = []
    transport = VerifyingTransport(on_end=lambda report: reports.append(report.verdict.name))

    async def read(client: Any, number: int) -> None:
        headers = {"x-fault": faults[number % len(faults)], "accept-encoding": "gzip"}
        asked = {"json": ASK, "headers": headers}
        with contextlib.suppress(way.error("TransportError")):
            if not way.is_async:
                with client.stream("POST", f"{url}/v1/messages", **asked) as response:
                    for _ in response.iter_raw():
                        if number % 9 == 0:
                            break
                return
            async with client.stream("POST", f"{url}/v1/messages", **asked) as response:
                async for _ in response.aiter_raw():
                    if number % 9 == 0:
                        break

    async def main() -> None:
        client = way.client(transport=transport, timeout=PATIENCE)
        for number in range(60):
            await read(client, number)
        await client.aclose() if way.is_async else client.close()

    gc.collect()
    before = open_files()
    asyncio.run(main())
    gc.collect()
    assert len(reports) == 60
    assert {"COMPLETE", "TRUNCATED", "ERRORED", "NOT_AN_EVENT_STREAM"} <= set(reports)
    wait_until(lambda: open_files() <= before, "the server has closed its ends")


def open_files() -> int:
    """How many files this process has open, where the system tells; sockets are files."""
    files = Path("/proc/self/fd")
    return len(list(files.iterdir())) if files.exists() else 0


def test_a_body_that_is_dropped_is_reported_too(way: Way) -> None:
    if way.is_async:
        pytest.skip("the same code; a generator of asyncio is ended by its loop")
    reports: list[Report] = []
    transport = VerifyingTransport(Given(WHOLE), on_end=reports.append)
    request = way.require().Request("POST", URL + "/v1/messages", json=ASK)
    response = transport.handle_request(request)
    assert next(iter(response.stream)) == WHOLE
    del response
    gc.collect()
    assert [each.ended for each in reports] == ["reader"]


# Recordings.

NAME: Final = r"\d{8}T\d{6}Z-\d{6}(-[A-Za-z0-9_-]{1,64})?\.capture\.jsonl"


def test_a_folder_gets_a_file_for_each_stream(way: Way, tmp_path: Path) -> None:
    headers = {**EVENTS, "request-id": "req_1", "set-cookie": "secret"}
    transport = VerifyingTransport(Given(WHOLE, headers=headers), record_to=tmp_path)
    for _ in range(3):
        way.read(way.client(transport=transport), URL, headers={"x-api-key": "sk-secret"})
    paths = sorted(tmp_path.iterdir())
    assert len(paths) == 3
    for path in paths:
        assert re.fullmatch(NAME, path.name)
        assert path.name.endswith("-req_1.capture.jsonl")
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        capture = parse_capture(path.read_bytes())
        assert capture.body == WHOLE
        assert capture.header.request == ASK
        assert capture.header.status == 200
        assert capture.end is not None
        assert capture.end.error is None
        assert b"secret" not in path.read_bytes()


def test_a_recording_is_scrubbed_as_captures_are(way: Way, tmp_path: Path) -> None:
    asked = {**ASK, "api_key": "sk-secret", "mcp_servers": [{"authorization_token": "sk-secret"}]}
    through(way, Given(WHOLE), options={"record_to": tmp_path}, json=asked)
    (path,) = tmp_path.iterdir()
    assert b"secret" not in path.read_bytes()


@pytest.mark.parametrize(
    ("id", "kept"),
    [
        ("../../etc/passwd", "etcpasswd"),
        ("x" * 100, "x" * 64),
        ("", ""),
        ("\N{SNOWMAN}/\0\n", ""),
        (None, ""),
    ],
)
def test_of_an_id_only_what_is_harmless_is_in_a_name(
    tmp_path: Path, id: str | None, kept: str
) -> None:
    path = new_file(tmp_path, id)
    assert path.parent == tmp_path
    assert re.fullmatch(NAME, path.name)
    assert path.name.endswith(f"{f'-{kept}' if kept else ''}.capture.jsonl")
    assert path.name.count("-") == 1 + bool(kept)


def test_a_name_that_is_taken_is_neither_opened_nor_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "strftime", lambda *_: "20260101T000000Z")
    monkeypatch.setattr("sansio_stream_adapters._recordings.NUMBERS", iter(range(1, 9)))
    taken = tmp_path / "20260101T000000Z-000001.capture.jsonl"
    taken.touch()
    elsewhere = tmp_path / "elsewhere"
    (tmp_path / "20260101T000000Z-000002.capture.jsonl").symlink_to(elsewhere)
    assert new_file(tmp_path).name == "20260101T000000Z-000003.capture.jsonl"
    assert not elsewhere.exists()


def test_a_file_takes_one_stream_and_says_so_of_the_next(
    way: Way, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "one.capture.jsonl"
    transport = VerifyingTransport(Given(WHOLE), record_to=path)
    for _ in range(2):
        assert way.read(way.client(transport=transport), URL).data == WHOLE
    assert parse_capture(path.read_bytes()).body == WHOLE
    (record,) = caplog.records
    assert "the file has another stream; to record each stream, pass a folder" in record.message
    caplog.clear()


def test_a_file_that_is_there_already_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    path = tmp_path / "old.capture.jsonl"
    path.write_bytes(b"precious")
    with pytest.raises(FileExistsError):
        VerifyingTransport(record_to=path)
    assert path.read_bytes() == b"precious"
    link = tmp_path / "link.capture.jsonl"
    link.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic link"):
        VerifyingTransport(record_to=link)
    with pytest.raises(TypeError):
        VerifyingTransport(record_to=3)  # type: ignore[arg-type]


def test_a_function_of_the_request_says_where_it_is_recorded(way: Way, tmp_path: Path) -> None:
    def where(request: Any) -> Path | None:
        model = json.loads(request.content)["model"]
        if model == "none":
            return None
        return tmp_path if model == "folder" else tmp_path / f"{model}.capture.jsonl"

    for model in ("a", "b", "none", "folder"):
        through(way, Given(WHOLE), options={"record_to": where}, json={**ASK, "model": model})
    names = sorted(path.name for path in tmp_path.iterdir())
    assert len(names) == 3
    assert names[1:] == ["a.capture.jsonl", "b.capture.jsonl"]


def test_the_times_of_a_recording_begin_when_the_request_was_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    for module in ("_tee", "_recording", "transports"):
        monkeypatch.setattr(f"sansio_stream_adapters.{module}.time.monotonic", lambda: now[0])

    class Slow(Given):
        def handle_request(self, request: Any) -> Any:
            now[0] += 3
            return self._response(request)

    httpx = pytest.importorskip("httpx")
    reports: list[Report] = []
    transport = VerifyingTransport(Slow(WHOLE), record_to=tmp_path, on_end=reports.append)
    request = httpx.Request("POST", URL + "/v1/messages", json=ASK)
    assert list(transport.handle_request(request).stream) == [WHOLE]
    (path,) = tmp_path.iterdir()
    assert parse_capture(path.read_bytes()).chunks[0].at == 3.0
    assert reports[0].first_byte == 3.0


def test_a_cut_stream_is_recorded_as_far_as_it_came(way: Way, tmp_path: Path) -> None:
    lost = way.error("ReadError")("reset")
    for given, said in (
        (Given(body(*HELLO[:4]), lost), "reset"),
        (Given(LOST), None),
        (Given(body(*HELLO[:4])), None),
    ):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        through(way, given, options={"record_to": folder})
        (path,) = folder.iterdir()
        capture = parse_capture(path.read_bytes())
        assert capture.body == b"".join(each for each in given.chunks if isinstance(each, bytes))
        assert capture.end is not None
        assert (said is None) is (capture.end.error is None)


# An existing client.


def test_verify_wraps_a_client_and_returns_it(way: Way, raw_server: RawServers) -> None:
    server = raw_server([response_of(body(*HELLO[:4]))])
    client = way.client(timeout=PATIENCE, headers={"x-mine": "1"})
    transport = client._transport
    assert verify(client) is client
    read = way.read(client, server.url)
    assert isinstance(read.error, way.error("RemoteProtocolError"))
    assert server.requests[0].headers["x-mine"] == "1"
    assert client._transport._inner is transport
    assert client.timeout.read == PATIENCE


def test_verify_takes_nothing_but_a_client() -> None:
    for other in (object(), VerifyingTransport()):
        with pytest.raises(TypeError, match="a client of httpx or httpx2"):
            verify(other)  # type: ignore[type-var]


def test_a_misspelt_option_is_refused_and_changes_nothing(way: Way) -> None:
    client = way.client(timeout=PATIENCE)
    transport = client._transport
    with pytest.raises(TypeError, match="on_ned"):
        verify(client, on_ned=print)  # type: ignore[call-arg]
    assert client._transport is transport
    way.close(client)


def test_redirects_are_followed_as_the_client_says_and_their_end_is_verified(
    way: Way, raw_server: RawServers
) -> None:
    moved = response_of(b"", 307, {"location": "/elsewhere/v1/messages"})
    server = raw_server([moved], [response_of(body(*HELLO[:4]))])
    reports: list[Report] = []
    client = verify(way.client(follow_redirects=True), on_end=reports.append)
    read = way.read(client, server.url)
    assert isinstance(read.error, way.error("RemoteProtocolError"))
    assert [each.line for each in server.requests] == [
        "POST /v1/messages HTTP/1.1",
        "POST /elsewhere/v1/messages HTTP/1.1",
    ]
    assert [each.http_status for each in reports] == [200]


def test_the_proxies_of_the_environment_are_kept_and_verified(
    way: Way, raw_server: RawServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = raw_server([response_of(body(*HELLO[:4]))])
    direct = raw_server([response_of(body(*HELLO[:4]))])
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    for url, server in ((URL, proxy), (direct.url, direct)):
        read = way.read(verify(way.client(timeout=PATIENCE)), url)
        assert isinstance(read.error, way.error("RemoteProtocolError"))
        assert len(server.requests) == 1
    assert proxy.requests[0].line == f"POST {URL}/v1/messages HTTP/1.1"


def test_a_proxy_for_https_is_asked_for_a_tunnel(
    way: Way, raw_server: RawServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = raw_server([response_of(b"", 503)])
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    with pytest.raises(way.error("ProxyError")):
        way.read(verify(way.client(timeout=PATIENCE)), "https://api.test")
    assert proxy.requests[0].line == "CONNECT api.test:443 HTTP/1.1"


def test_without_an_inner_transport_it_makes_one_and_closes_it(
    way: Way, raw_server: RawServers
) -> None:
    server = raw_server([response_of(WHOLE)])
    transport = VerifyingTransport()
    assert way.read(way.client(transport=transport), server.url).data == WHOLE
    server.wait_until_closed()
    if not way.is_async:
        with VerifyingTransport() as transport:
            request = way.require().Request("POST", server.url + "/v1/messages", json=ASK)
            assert transport.handle_request(request).read() == WHOLE
        server.wait_until_closed(2)


# Every fault of the server.

MODELS: Final = [path.name.partition(".")[0] for path in sorted(EXAMPLES.glob("*.capture.jsonl"))]
STOPPED: Final = re.compile(rb'"message_stop"[^\n]*\n\n')
"""A reader takes an event once the blank line behind it has come."""

SLOW: Final = ("stall", "ping-stall", "stays-open", "stays-open-pings")


@cache
def model_for(fault: str) -> str | None:
    """A recording that can have the fault."""
    if fault == "drip":
        return SHORT.stem
    asked = Asked(target="/v1/messages", accepts_gzip=True, number=1)
    for model in ("text", *MODELS):
        capture = parse_capture((EXAMPLES / f"{model}.capture.jsonl").read_bytes())
        answer = answer_of(capture, "req_1")
        if answer.end is End.WHOLE:
            try:
                SERVED[fault].apply_to_answer(answer, asked)
            except ValueError:
                continue
            return model
    return None


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[str, list[str]]]:
    """The base URL of a server of examples, and the target of each request that it got."""
    targets: list[str] = []

    class CountingApp(App):
        def reply(self, request: Request) -> Reply:
            targets.append(request.target)
            return super().reply(request)

    with http_server(CountingApp([*example_recordings(), SHORT], speed=math.inf)) as url:
        yield url, targets


def ways_for(fault: str) -> list[Way]:
    """The ways in which a test reads a fault.

    The library and the kind of client decide how a connection is read and how it ends, so each of
    them reads each fault of the connection. Bytes are the same for all of them, and so is the
    `Verification` that reads them: the faults of the bytes are dealt out to the ways in turn.
    """
    if SERVED[fault].kind == "connection":
        return WAYS
    return [WAYS[[*SERVED].index(fault) % len(WAYS)]]


@pytest.mark.parametrize("fault", [name for name in SERVED if name not in SLOW])
def test_no_fault_passes_as_an_answer_and_none_is_sent_twice(
    fault: str,
    served: tuple[str, list[str]],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection, "SECONDS_BEFORE_A_HEAD", 0.05)
    model = model_for(fault)
    if model is None:
        pytest.skip("no example has what this fault needs")
    for way in ways_for(fault):
        check_fault(way, fault, model, served, PATIENCE)
    caplog.clear()


@pytest.mark.parametrize("fault", SLOW)
@with_seconds
def test_nor_does_one_that_only_a_timeout_ends(
    fault: str, served: tuple[str, list[str]], seconds: float
) -> None:
    for way in WAYS:
        check_fault(way, fault, "text", served, seconds)


def check_fault(
    way: Way, fault: str, model: str, served: tuple[str, list[str]], seconds: float
) -> None:
    """Ask for a fault, and read up to message_stop or, of endless pings, some."""
    way.require()
    url, lines = served
    lines.clear()
    reports: list[Report] = []
    client = verify(way.client(timeout=seconds), on_end=reports.append)
    try:
        read = way.read(
            client,
            url,
            json={**ASK, "model": model},
            headers={"x-fault": fault, "accept-encoding": "gzip, deflate"},
            is_raw=False,
            enough=lambda data: STOPPED.search(data) or data.count(b"ping") > 6,
        )
    except way.error("TimeoutException"):
        raise TooSoonError from None
    except way.error("TransportError"):
        assert fault == "no-head"
        assert reports == []
        return
    assert len(lines) == 1, "it was sent twice"
    if read.status == 307:
        assert reports == []
        return
    (report,) = reports
    assert report.http_status == read.status
    if not read.error and read.status == 200 and fault != "ping-stall":
        assert report.verdict in {Verdict.COMPLETE, Verdict.UNTERMINATED, Verdict.ERRORED}
    if report.verdict.name in {"DAMAGED", "BROKEN", "TRUNCATED", "EMPTY", "NOT_AN_EVENT_STREAM"}:
        assert read.error is not None
        assert not STOPPED.search(read.data)
