"""`sansio-stream serve` serves the captured bytes. Each fault does exactly what its text says."""

import asyncio
import http.client
import json
import math
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import attrs
import pytest

import servers
from sansio_stream import APIError, StreamMachine, Verdict, parse_capture
from sansio_stream.capture import CaptureHeader, CaptureWriter, Chunk
from sansio_stream.testing import Answer, End
from sansio_stream.testing.catalogue import connection
from sansio_stream.testing.catalogue.connection import PING, failure
from sansio_stream_tools._app import SERVED, AnswerSender, App, Exchange, Request
from sansio_stream_tools._recordings import Recording
from servers import (
    EXAMPLES,
    PATIENCE,
    Do,
    RawServer,
    TooSoonError,
    app_of_examples,
    chunk,
    head,
    http_server,
    listening,
    port_of,
    recording_in,
    response,
    with_seconds,
)
from shared_data import REPOSITORY
from wire import HELLO, MESSAGE_STOP, OVERLOADED, body, in_bytes, message_start

PATHS: Final = sorted(EXAMPLES.glob("*.capture.jsonl"))
TEXT: Final = recording_in(EXAMPLES / "text.capture.jsonl").capture.body


# A reader from the standard library.


@attrs.frozen
class Fetched:
    """A received response.

    Attributes:
        status: the status, None without a head.
        headers: the headers, with names in lower case.
        pieces: the chunks of the body.
        ended: how the response ended: "whole", "closed", "reset", or "open" if it did not end.
    """

    status: int | None
    headers: dict[str, str]
    pieces: list[bytes]
    ended: str

    @property
    def body(self) -> bytes:
        return b"".join(self.pieces)


@contextmanager
def connected(url: str, timeout: float = PATIENCE) -> Iterator[http.client.HTTPConnection]:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=timeout)
    with closing(connection):
        yield connection


def fetch(
    url: str,
    parameters: Any = None,
    headers: dict[str, str] | None = None,
    *,
    path: str = "/v1/messages",
    method: str = "POST",
    timeout: float = PATIENCE,
    max_bytes: float = math.inf,
) -> Fetched:
    """Send a request and read its response.

    The function stops reading at the end, after `timeout` seconds without data, or after more than
    `max_bytes` bytes.
    """
    if parameters is None:
        parameters = {"model": "text", "stream": True}
    sent = parameters if isinstance(parameters, bytes) else json.dumps(parameters).encode()
    with connected(url, timeout) as connection:
        connection.request(method, path, sent, headers or {})
        try:
            answer = connection.getresponse()
        except TimeoutError:
            return Fetched(None, {}, [], "open")
        except http.client.RemoteDisconnected:
            return Fetched(None, {}, [], "closed")
        pieces: list[bytes] = []
        with answer:
            ended = read(answer, pieces, max_bytes)
        names = {name.lower(): value for name, value in answer.getheaders()}
        return Fetched(answer.status, names, pieces, ended)


def read(answer: http.client.HTTPResponse, pieces: list[bytes], max_bytes: float) -> str:
    length = 0
    try:
        while piece := answer.read1(65536):
            pieces.append(piece)
            length += len(piece)
            if length > max_bytes:
                return "open"
    except TimeoutError:
        return "open"
    except http.client.IncompleteRead:
        return "closed"
    except ConnectionResetError:
        return "reset"
    return "whole"


# The served bytes.


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.name)
def test_an_example_is_served_byte_for_byte(path: Path, example_server: str) -> None:
    recorded = parse_capture(path.read_bytes())
    fetched = fetch(example_server, {"model": path.name.partition(".")[0], "stream": True})
    assert fetched.body == recorded.body
    assert fetched.status == recorded.header.status
    assert recorded.header.headers.items() <= fetched.headers.items()
    assert recorded.end is not None
    assert fetched.ended == ("whole" if recorded.end.error is None else "closed")


def test_a_connection_is_used_again(example_server: str) -> None:
    with connected(example_server) as connection:
        for _ in range(2):
            connection.request("POST", "/v1/messages", b'{"stream": true, "model": "text"}')
            used = connection.sock
            with connection.getresponse() as answer:
                assert answer.read() == TEXT
            assert connection.sock is used


@pytest.mark.parametrize("path", ["/v1/messages?beta=true", "/proxy/anthropic/v1/messages"])
def test_a_prefix_and_a_query_do_not_change_the_answer(path: str, example_server: str) -> None:
    assert fetch(example_server, path=path).body == TEXT


# The choice of the file, and refused requests. These tests need no server.


def recording(name: str, requested: str | None = None, answered: str | None = None) -> Recording:
    """Return a recording with the model of the request and the model of the answer, if given."""
    request = None if requested is None else {"model": requested}
    data = b"" if answered is None else body(message_start(model=answered))
    writer = CaptureWriter(CaptureHeader(status=200, request=request))
    return recording_of(name, writer.chunk(data, 0) + writer.end(1))


def recording_of(name: str, data: bytes) -> Recording:
    return Recording.of(name, parse_capture(data))


def request_for(model: object = "any", **others: Any) -> Request:
    request = Request(
        method="POST",
        path="/v1/messages",
        target="/v1/messages",
        headers={},
        body=json.dumps({"model": model, "stream": True}).encode(),
    )
    return attrs.evolve(request, **others)


def app_of(*recordings: Recording, **options: Any) -> App:
    return App(recordings, **{"any_model": True, **options})


def chosen_files(app: App, *models: object) -> list[str]:
    choices = [app.reply(request_for(model)).choice for model in models]
    return [choice.rpartition(" -> ")[2] for choice in choices]


def test_the_stem_of_a_file_can_be_requested_as_a_model() -> None:
    files = [recording("a.x.jsonl", "b"), recording("b.jsonl", "a")]
    app = app_of(*files)
    assert chosen_files(app, "a", "b", "b") == ["a.x.jsonl", "b.jsonl", "b.jsonl"]


def test_the_model_of_a_recording_is_that_of_its_request_or_else_of_its_answer() -> None:
    files = [recording("1.sse", "alias", "model-1"), recording("2.sse", None, "model-2")]
    app = app_of(*files)
    assert chosen_files(app, "alias", "model-2", "model-1") == ["1.sse", "2.sse", "1.sse"]


def test_the_files_of_a_model_are_served_in_turn() -> None:
    files = [recording("1", "m"), recording("2", "n"), recording("3", "m")]
    app = app_of(*files)
    models = ["m", "other", "m", None, "m", 7, "n", "another"]
    assert chosen_files(app, *models) == ["1", "1", "3", "2", "1", "3", "2", "1"]


def test_a_body_that_breaks_the_protocol_is_served_unchanged() -> None:
    broken = recording_of("broken.sse", b"event: message_start\ndata: {\n\n")
    app = app_of(broken)
    assert app.reply(request_for()).answer.body == b"event: message_start\ndata: {\n\n"


def test_a_cut_recording_is_served_as_a_broken_connection() -> None:
    writer = CaptureWriter(CaptureHeader(status=200))
    app = app_of(recording_of("cut", writer.chunk(b"data", 0)))
    assert app.reply(request_for()).answer.end is End.CLOSED


def test_the_status_and_the_headers_are_those_of_the_capture() -> None:
    writer = CaptureWriter(CaptureHeader(status=529, headers={"Content-Type": "a/b"}))
    app = app_of(recording_of("529", writer.end(1)))
    answer = app.reply(request_for()).answer
    assert answer.status == 529
    assert answer.headers["content-type"] == "a/b"


def test_every_answer_has_a_request_id() -> None:
    app = app_of(recording("1"))
    answers = [app.reply(request_for()).answer, app.reply(request_for(method="GET")).answer]
    assert [each.headers["request-id"] for each in answers] == ["req_served_1", "req_served_2"]
    assert json.loads(answers[1].body)["request_id"] == "req_served_2"


REFUSED: Final[dict[str, tuple[dict[str, Any], int, str]]] = {
    "another path": ({"path": "/v1/messages/count_tokens"}, 404, "the only path is /v1/messages"),
    "another method": ({"method": "GET"}, 405, "only the method POST"),
    "not JSON": ({"body": b"{"}, 400, "not JSON"),
    "deep JSON": ({"body": b"[" * 100_000}, 400, "not JSON"),
    "not an object": ({"body": b"[]"}, 400, "the body is not a JSON object"),
    "stream is 1": ({"body": b'{"stream": 1}'}, 400, "stream: must be true or false"),
    "an unknown fault": (
        {"headers": {"x-fault": "none"}},
        400,
        "unknown fault 'none'. The faults are cut, ",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_request_that_cannot_be_answered_is_refused_with_an_error_like_the_apis(
    what: str,
) -> None:
    request, status, message = REFUSED[what]
    reply = app_of(recording("1")).reply(request_for(**request))
    answer = reply.answer
    assert answer.status == status
    assert answer.headers["content-type"] == "application/json"
    error = json.loads(answer.body)["error"]
    assert error["type"] == ("not_found_error" if status == 404 else "invalid_request_error")
    assert message in error["message"]
    assert reply.choice == "GET /v1/messages" if "method" in request else "POST /v1/messages"


def test_a_refusal_is_sent_over_the_connection(example_server: str) -> None:
    fetched = fetch(example_server, b"", method="GET")
    assert (fetched.status, fetched.headers["allow"], fetched.ended) == (405, "POST", "whole")


def test_a_reply_says_how_it_was_chosen() -> None:
    app = app_of(recording("1.sse", "m"), fault="cut")
    assert [
        app.reply(request).choice
        for request in (
            request_for("m", target="/v1/messages?beta=true"),
            request_for("m", headers={"x-fault": "529"}),
        )
    ] == [
        "POST /v1/messages?beta=true model=m -> 1.sse, cut",
        "POST /v1/messages model=m -> 1.sse, 529",
    ]


def test_a_request_for_an_unknown_model_is_refused_with_the_names_of_the_served_ones() -> None:
    app = app_of(recording("b.sse", "m"), recording("a.sse"), any_model=False)
    assert app.reply(request_for("m")).answer.status == 200
    for model, status, reason in (
        ("other", 404, "model: other is not served; the served models are a, b, m"),
        (None, 400, "model: is missing; the served models are a, b, m"),
        (7, 400, "model: is missing; the served models are a, b, m"),
    ):
        answer = app.reply(request_for(model)).answer
        assert answer.status == status
        assert json.loads(answer.body)["error"]["message"] == reason


# Calls that do not stream.


def unstreamed(data: bytes, **headers: str) -> Answer:
    request = request_for(body=b'{"model": "1"}', headers=headers)
    return app_of(recording_of("1.sse", data)).reply(request).answer


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.name)
def test_a_call_that_does_not_stream_gets_the_message_or_the_error_of_the_stream(
    path: Path,
) -> None:
    capture = parse_capture(path.read_bytes())
    machine = StreamMachine()
    answer = unstreamed(path.read_bytes())
    for _ in machine.receive_data(capture.body):
        pass
    with suppress(APIError):
        for _ in machine.receive_eof():
            pass
    if machine.verdict in {Verdict.COMPLETE, Verdict.UNTERMINATED}:
        assert answer.status == 200
        assert answer.headers["content-type"] == "application/json"
        assert json.loads(answer.body) == machine.final_message().to_dict()
        assert capture.end is not None
        assert answer.chunks[0].at == capture.end.at
    else:
        assert answer.status is not None
        assert answer.status >= 400
        assert json.loads(answer.body)["type"] == "error"


def test_without_a_message_the_error_is_that_of_the_stream_or_says_why() -> None:
    answer = unstreamed(body(OVERLOADED))
    assert (answer.status, json.loads(answer.body)["error"]["type"]) == (529, "overloaded_error")
    answer = unstreamed(body(*HELLO)[:300])
    error = json.loads(answer.body)["error"]
    assert (answer.status, error["type"]) == (500, "api_error")
    assert error["message"].startswith("1.sse: no message: ")


def test_a_recorded_error_answers_a_call_that_does_not_stream_unchanged() -> None:
    writer = CaptureWriter(CaptureHeader(status=400, headers={"content-type": "application/json"}))
    data = writer.chunk(b'{"type": "error"}', 0) + writer.end(1)
    answer = unstreamed(data)
    assert (answer.status, answer.body) == (400, b'{"type": "error"}')


def test_faults_of_the_connection_also_change_answers_that_are_not_streamed() -> None:
    assert unstreamed(body(*HELLO), **{"x-fault": "reset"}).end is End.RESET
    assert unstreamed(body(*HELLO), **{"x-fault": "529"}).status == 529
    assert unstreamed(body(*HELLO), **{"x-fault": "missing-message-stop"}).status == 400


# The log.


def exchanges_of(app_options: dict[str, Any], *, leaves: bool = False) -> list[Exchange]:
    """Return what an application logs of one request. The client may leave instead of waiting."""
    log: list[Exchange] = []
    ticks = iter([10.0, 12.5])
    app = app_of(
        recording_of("1.sse", TEXT), log=log.append, clock=lambda: next(ticks), **app_options
    )
    requests = [{"type": "http.request", "body": b'{"stream": true}'}]

    async def receive() -> Any:
        return requests.pop() if requests else {"type": "http.disconnect"}

    async def send(_: Any) -> None:
        pass

    scope = {"type": "http", "method": "POST", "path": "/v1/messages", "headers": []}
    asyncio.run(app({**scope, "raw_path": b"/v1/messages", "query_string": b""}, receive, send))
    return log


def test_the_log_has_the_status_the_bytes_and_the_duration_of_each_exchange() -> None:
    (exchange,) = exchanges_of({"speed": math.inf})
    assert exchange == Exchange("POST /v1/messages model=None -> 1.sse", 200, len(TEXT), 2.5, False)
    assert str(exchange) == (
        f"POST /v1/messages model=None -> 1.sse: 200, {len(TEXT):,} bytes in 2.500 s"
    )


def test_the_log_says_if_the_client_left_or_got_no_answer() -> None:
    (exchange,) = exchanges_of({"fault": "stays-open"})
    assert str(exchange).endswith(
        f"stays-open: 200, {len(TEXT):,} bytes in 2.500 s, the client left"
    )
    (exchange,) = exchanges_of({"fault": "no-head"})
    assert str(exchange).endswith("no-head: no answer, 0 bytes in 2.500 s")


# Timing. No test measures time, because the sender records its waits instead of waiting.


@attrs.frozen
class RecordingSender(AnswerSender):
    """A sender that records its waits instead of waiting.

    Attributes:
        waits: the recorded waits.
        gone_after: the number of waits after which the client is gone.
    """

    waits: list[float | None]
    gone_after: float = math.inf

    async def is_gone_within(self, seconds: float | None) -> bool:
        self.waits.append(seconds)
        return len(self.waits) > self.gone_after


def played(
    answer: Answer, speed: float = 1, gone_after: float = math.inf
) -> tuple[list[float | None], list[bytes]]:
    """Return the waits of the sender and the bodies that it sent."""
    sent: list[bytes] = []

    async def send(message: Any) -> None:
        sent.append(message.get("body", b"head"))

    async def receive() -> Any:
        raise AssertionError("the sender must not call receive")

    waits: list[float | None] = []
    sender = RecordingSender(receive, send, None, speed, waits, gone_after)
    asyncio.run(sender.send_answer(answer))
    return waits, sent


TIMED: Final = Answer(
    status=200, headers={}, chunks=(Chunk(100, b"a"), Chunk(200, b"b"), Chunk(None, b"c"))
)


@pytest.mark.parametrize("speed", [0.5, 1, 4])
def test_chunks_are_sent_at_their_recorded_times(speed: float) -> None:
    waits, sent = played(TIMED, speed)
    assert waits == [pytest.approx(at / speed, abs=10) for at in (100, 200)]
    assert sent == [b"head", b"a", b"b", b"c", b""]


def test_at_full_speed_there_are_no_waits() -> None:
    assert played(TIMED, math.inf) == ([], [b"head", b"a", b"b", b"c", b""])


def test_nothing_is_sent_to_a_client_that_has_gone() -> None:
    assert played(TIMED, gone_after=1)[1] == [b"head", b"a"]
    assert played(attrs.evolve(TIMED, head_after=1), gone_after=0)[1] == []
    pings = attrs.evolve(TIMED, chunks=(), end=End.PINGS)
    assert played(pings, gone_after=2) == ([0.1] * 3, [b"head", PING, PING])


def test_nothing_is_sent_on_a_lost_connection() -> None:
    class Lost:
        """A transport whose client is gone after the first body."""

        def is_closing(self) -> bool:
            return len(sent) > 1

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        raise AssertionError("the sender must not call receive")

    transport: Any = Lost()
    asyncio.run(AnswerSender(receive, send, transport, math.inf).send_answer(TIMED))
    assert len(sent) == 2


def test_the_end_has_its_recorded_time() -> None:
    app = app_of(recording("1", "m", "m"))
    assert app.reply(request_for()).answer.chunks[-1] == Chunk(1.0, b"")


# Faults. The tests check the effect of each fault on the example `text`.


FRAMES: Final = [frame + b"\n\n" for frame in TEXT.split(b"\n\n")[:-1]]
HALF: Final = b"".join(FRAMES[: len(FRAMES) // 2])


def is_half(fetched: Fetched) -> bool:
    return fetched.body == HALF


def is_whole(fetched: Fetched) -> bool:
    return fetched.body == TEXT


def is_half_of_the_bytes(fetched: Fetched) -> bool:
    return fetched.body == TEXT[: len(TEXT) // 2]


def is_empty(fetched: Fetched) -> bool:
    return fetched.body == b""


def has_error(kind: str) -> Callable[[Fetched], bool]:
    def check(fetched: Fetched) -> bool:
        parsed = json.loads(fetched.body)
        return (
            parsed["type"] == "error"
            and parsed["error"]["type"] == kind
            and parsed["request_id"] == fetched.headers["request-id"]
            and fetched.headers["content-type"] == "application/json"
        )

    return check


def is_html(fetched: Fetched) -> bool:
    return b"<h1>" in fetched.body and fetched.headers["content-type"].startswith("text/html")


def without_pings(fetched: Fetched) -> Fetched:
    stream = fetched.body
    while stream.endswith(PING):
        stream = stream.removesuffix(PING)
    assert stream != fetched.body
    return attrs.evolve(fetched, pieces=[stream])


def ends_in_an_error(fetched: Fetched) -> bool:
    stream, found, error = fetched.body.rpartition(b"event: error\n")
    return bool(found) and b"overloaded_error" in error and stream == HALF


# For each fault: the status, the end, and a check of the response.
EXPECTED: Final[dict[str, tuple[int | None, str, Callable[[Fetched], bool]]]] = {
    "cut": (200, "closed", is_half),
    "cut-in-frame": (
        200,
        "closed",
        lambda fetched: (
            HALF < fetched.body < HALF + FRAMES[len(FRAMES) // 2] and TEXT.startswith(fetched.body)
        ),
    ),
    "reset": (200, "reset", is_half),
    "truncated": (200, "closed", is_whole),
    "stall": (200, "open", is_half),
    "ping-stall": (200, "open", lambda fetched: is_half(without_pings(fetched))),
    "stays-open": (200, "open", is_whole),
    "stays-open-pings": (200, "open", lambda fetched: is_whole(without_pings(fetched))),
    "no-head": (None, "closed", is_empty),
    "slow-head": (None, "open", is_empty),
    "drip": (200, "whole", lambda fetched: fetched.pieces == in_bytes(TEXT)),
    "gzip": (
        200,
        "whole",
        lambda fetched: (
            zlib.decompress(fetched.body, wbits=31) == TEXT
            and fetched.headers["content-encoding"] == "gzip"
        ),
    ),
    "html-200": (200, "whole", is_html),
    "json-200": (200, "whole", lambda fetched: json.loads(fetched.body)["type"] == "message"),
    "400": (400, "whole", has_error("invalid_request_error")),
    "401": (401, "whole", has_error("authentication_error")),
    "402": (402, "whole", has_error("billing_error")),
    "403": (403, "whole", has_error("permission_error")),
    "404": (404, "whole", has_error("not_found_error")),
    "409": (409, "whole", has_error("conflict_error")),
    "413": (413, "whole", has_error("request_too_large")),
    "429": (
        429,
        "whole",
        lambda fetched: (
            has_error("rate_limit_error")(fetched) and fetched.headers["retry-after"] == "1"
        ),
    ),
    "429-once": (429, "whole", lambda fetched: fetched.headers["retry-after-ms"] == "20"),
    "500": (500, "whole", has_error("api_error")),
    "500-empty": (500, "whole", is_empty),
    "503-html": (503, "whole", is_html),
    "504": (504, "whole", has_error("timeout_error")),
    "529": (529, "whole", has_error("overloaded_error")),
    "529-once": (529, "whole", lambda fetched: fetched.headers["retry-after-ms"] == "20"),
    "redirect": (307, "whole", is_empty),
    # Some of the faults that change the bytes.
    "error-first": (200, "whole", lambda fetched: fetched.body.startswith(b"event: error\n")),
    "error-in-mid-stream": (200, "whole", ends_in_an_error),
    "missing-message-stop": (
        200,
        "whole",
        lambda fetched: fetched.body == b"".join(FRAMES[:-1]) and b"message_stop" in FRAMES[-1],
    ),
    "empty-body": (200, "whole", is_empty),
    "connection-reset": (200, "reset", is_half_of_the_bytes),
    "cut-anywhere": (200, "whole", is_half_of_the_bytes),
    "done-marker": (200, "whole", lambda fetched: b"[DONE]" in fetched.body),
    "missing-event-names": (200, "whole", lambda fetched: b"event:" not in fetched.body),
    "nothing": (200, "whole", is_whole),
}


CONNECTION_FAULTS: Final = [name for name, fault in SERVED.items() if fault.kind == "connection"]
BYTE_FAULTS: Final = [name for name, fault in SERVED.items() if fault.kind == "bytes"]


def test_every_fault_of_the_connection_has_an_expected_effect() -> None:
    assert list(EXPECTED)[: len(CONNECTION_FAULTS)] == CONNECTION_FAULTS
    assert set(EXPECTED) <= set(SERVED)


@pytest.fixture(scope="module")
def faulty_server() -> Iterator[str]:
    """A separate server, because some faults count the requests."""
    with http_server(app_of_examples()) as url:
        yield url


# The bytes before a silence, and the number of bytes before endless pings.
BEFORE_SILENCE: Final = {"stall": HALF, "stays-open": TEXT, "slow-head": b""}
UP_TO_PINGS: Final = {"ping-stall": len(HALF), "stays-open-pings": len(TEXT)}


@pytest.mark.parametrize("fault", EXPECTED)
@with_seconds
def test_a_fault_has_the_expected_effect(
    fault: str, faulty_server: str, seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The late head must arrive after the timeout of the client.
    monkeypatch.setattr(connection, "SECONDS_BEFORE_A_HEAD", PATIENCE)
    status, ended, is_as_expected = EXPECTED[fault]
    before = BEFORE_SILENCE.get(fault)
    fetched = fetch(
        faulty_server,
        headers={"x-fault": fault, "accept-encoding": "gzip"},
        timeout=PATIENCE if before is None else seconds,
        max_bytes=UP_TO_PINGS.get(fault, math.inf),
    )
    if before is not None and len(fetched.body) < len(before):
        raise TooSoonError
    assert (fetched.status, fetched.ended) == (status, ended)
    assert is_as_expected(fetched)


@pytest.mark.parametrize("fault", ["429-once", "529-once"])
def test_a_repeated_request_is_served(fault: str) -> None:
    app = app_of(recording("1"))
    statuses = [app.reply(request_for(headers={"x-fault": fault})).answer.status for _ in range(4)]
    assert statuses == [int(fault[:3]), 200, int(fault[:3]), 200]


def test_a_redirect_leads_to_the_answer(example_server: str) -> None:
    headers = {"x-fault": "redirect"}
    fetched = fetch(example_server, headers=headers, path="/v1/messages?beta=true")
    location = fetched.headers["location"]
    assert location.endswith("/v1/messages?beta=true")
    assert is_whole(fetch(example_server, headers=headers, path=location))


def test_a_body_is_not_compressed_without_accept_encoding(example_server: str) -> None:
    fetched = fetch(example_server, headers={"x-fault": "gzip"})
    assert is_whole(fetched)
    assert "content-encoding" not in fetched.headers


def test_the_fault_of_a_request_replaces_that_of_the_server() -> None:
    with http_server(app_of_examples(fault="529")) as url:
        assert fetch(url).status == 529
        assert fetch(url, headers={"x-fault": "401"}).status == 401


ADDING: Final = {"gzip", "html-200", "json-200"}


@pytest.mark.parametrize("fault", CONNECTION_FAULTS)
@pytest.mark.parametrize("data", [b"", b"rubbish", body(MESSAGE_STOP), body(*HELLO)])
def test_a_fault_of_the_connection_works_for_any_body(fault: str, data: bytes) -> None:
    app = app_of(recording_of("1.sse", data))
    answer = app.reply(request_for(headers={"x-fault": fault})).answer
    assert answer.status in {EXPECTED[fault][0], 200, None}
    assert answer.status != 200 or fault in ADDING or data.startswith(answer.body)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"rubbish", "1.sse: the fault needs a stream that is a complete message"),
        (body(OVERLOADED), "1.sse: the fault needs a stream that is a complete message"),
        (body(*HELLO), "1.sse: the fault broken_tool_input needs a stream with tool_use"),
    ],
)
def test_if_a_fault_cannot_be_applied_to_a_recording_the_request_is_refused(
    data: bytes, message: str
) -> None:
    app = app_of(recording_of("1.sse", data))
    reply = app.reply(request_for(headers={"x-fault": "broken-tool-input"}))
    answer = reply.answer
    assert answer.status == 400
    assert json.loads(answer.body)["error"] == {"type": "invalid_request_error", "message": message}
    assert reply.choice.endswith(f", broken-tool-input: {message.removeprefix('1.sse: ')}")


def test_half_a_stream_keeps_its_times() -> None:
    writer = CaptureWriter(CaptureHeader(status=200))
    data = body(*HELLO)
    lines = [writer.chunk(data[at : at + 50], at) for at in range(0, len(data), 50)]
    app = app_of(recording_of("1", b"".join([*lines, writer.end(10**6)])))
    answer = app.reply(request_for(headers={"x-fault": "cut-in-frame"})).answer
    for number, piece in enumerate(answer.chunks):
        assert piece.at == number * 50
        assert len(piece.data) == 50 or piece is answer.chunks[-1]
    assert answer.body == data[: len(answer.body)]


def test_a_failure_has_headers_with_hyphens() -> None:
    blank = Answer(status=None, headers={"request-id": "r"}, chunks=())
    assert failure(blank, 429, "a", "b", retry_after_ms="1").headers["retry-after-ms"] == "1"


# The page.


def test_the_page_describes_every_fault_of_the_connection() -> None:
    page = (REPOSITORY / "docs" / "serving.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(.+?)` \| (.+) \|$", page, re.MULTILINE)
    assert rows == [(name, SERVED[name].description) for name in CONNECTION_FAULTS]


# The command.

COMMAND: Final = [sys.executable, "-m", "sansio_stream_tools", "serve"]


@contextmanager
def command(*args: str, python: list[str] | None = None) -> Iterator["subprocess.Popen[str]"]:
    """Run `sansio-stream serve`. Kill the process at the end."""
    for module in ("click", "rich"):
        pytest.importorskip(module, reason="the command needs it")
    path = os.pathsep.join([str(REPOSITORY / each) for each in ("", "adapters", "tools")])
    process = subprocess.Popen(
        [*(COMMAND if python is None else python), *args],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": path},
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def in_this_process(*args: str) -> Any:
    """Run `sansio-stream serve`, which ends before it serves anything."""
    for module in ("click", "rich"):
        pytest.importorskip(module, reason="the command needs it")
    from commands import command

    return command("serve", *args)


def url_in(process: "subprocess.Popen[str]") -> str:
    pytest.importorskip("uvicorn", reason="the command serves by uvicorn")
    assert process.stdout is not None
    found = re.search(r"http://\S+\d", process.stdout.readline())
    assert found is not None
    return found[0]


def test_the_command_serves_until_it_is_interrupted() -> None:
    files = [str(EXAMPLES / f"{name}.capture.jsonl") for name in ("text", "overloaded")]
    with command("--port", "0", "--speed", "max", "--any-model", *files) as process:
        url = url_in(process)
        assert process.stdout is not None
        assert [process.stdout.readline() for _ in files] == [
            "  text.capture.jsonl  for model text, claude-sonnet-5\n",
            "  overloaded.capture.jsonl  for model overloaded, claude-sonnet-5\n",
        ]
        assert is_whole(fetch(url, {"model": "text\n\x1b[1m", "stream": True}))
        assert fetch(url, headers={"x-fault": "529"}).status == 529
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert stderr.strip() == ""
    lines = [re.sub(r"[0-9:.]+(?= POST| s)", "N", line) for line in stdout.splitlines()]
    served = f"200, {len(TEXT):,} bytes in N s"
    assert lines == [
        f"N POST /v1/messages model=text ␛[1m -> text.capture.jsonl: {served}",
        "N POST /v1/messages model=text -> text.capture.jsonl, 529: 529, 127 bytes in N s",
    ]


def test_an_interruption_does_not_wait_for_open_answers() -> None:
    path = str(EXAMPLES / "text.capture.jsonl")
    with (
        command("--port", "0", "--speed", "max", "--fault", "stall", path) as process,
        connected(url_in(process)) as connection,
    ):
        connection.request("POST", "/v1/messages", b'{"model": "text", "stream": true}')
        with connection.getresponse() as answer:
            assert answer.read1(10) == TEXT[:10]
            process.send_signal(signal.SIGINT)
            _, stderr = process.communicate(timeout=PATIENCE)
            assert read(answer, [], math.inf) in {"closed", "reset"}
    assert process.returncode == 130
    assert stderr.strip() == ""


def test_a_client_that_disconnects_early_does_not_stop_the_server() -> None:
    with http_server(app_of_examples()) as url:
        for _ in range(20):
            with connected(url) as connection:
                connection.request("POST", "/v1/messages", b'{"model": "text", "stream": true}')
                assert connection.sock.recv(1) == b"H"
        assert is_whole(fetch(url))


def test_if_the_server_cannot_start_the_exit_status_is_2(tmp_path: Path) -> None:
    pytest.importorskip("uvicorn", reason="the command serves by uvicorn")
    damaged = tmp_path / "damaged"
    damaged.write_bytes(b'{"sansio_stream_capture": 1}\nrubbish\n{"at": 1, "end": "eof"}\n')
    text_file = str(EXAMPLES / "text.capture.jsonl")
    with listening() as taken:
        port = str(port_of(taken))
        for args, reason in (
            ([str(tmp_path / "missing")], "missing: No such file or directory"),
            ([str(damaged)], "damaged: line 2: not JSON"),
            (["--port", port, text_file], f"127.0.0.1, port {port}: "),
            (["--fault", "none", text_file], "'none' is not one of"),
            (["--speed", "0", text_file], "a number above 0"),
            ([], "Missing argument"),
        ):
            result = in_this_process(*args)
            assert (result.exit_code, result.stdout) == (2, "")
            assert reason in result.stderr


def test_without_uvicorn_the_command_says_how_to_install_it() -> None:
    path = str(EXAMPLES / "text.capture.jsonl")
    code = """\
import sys
sys.modules["uvicorn"] = None
from sansio_stream_tools import main
_, path = sys.argv
for name in ("replay", "serve"):
    sys.argv = ["sansio-stream", name, path]
    try:
        main()
    except SystemExit as end:
        print(name, end.code)
"""
    with command(path, python=[sys.executable, "-c", code]) as process:
        stdout, stderr = process.communicate(timeout=PATIENCE)
    assert stdout.splitlines()[-2:] == ["replay 0", "serve 2"]
    assert stderr == "sansio-stream: uvicorn is not installed: pip install 'sansio-stream[cli]'\n"


def test_the_help_names_every_fault() -> None:
    stdout = in_this_process("--help").stdout
    assert re.findall(r"^    ([a-z0-9-]+)  +\S.*\.$", stdout, re.MULTILINE) == CONNECTION_FAULTS
    _, _, inside = stdout.partition("Faults of the bytes")
    assert re.findall(r"[a-z0-9-]+(?=,|$)", inside.partition("message:")[2]) == BYTE_FAULTS


# The other servers, which the tests of the adapters use.


def test_http2_is_served(http2_example_server: str, tls: Any) -> None:
    httpx = pytest.importorskip("httpx", reason="reads HTTP/2")
    pytest.importorskip("h2", reason="reads HTTP/2")
    parameters = {"model": "text", "stream": True}
    with httpx.Client(http2=True, verify=tls.client, base_url=http2_example_server) as client:
        answer = client.post("/v1/messages", json=parameters)
        assert (answer.http_version, answer.content) == ("HTTP/2", TEXT)
        with pytest.raises(httpx.RemoteProtocolError, match="StreamReset"):
            client.post("/v1/messages", json=parameters, headers={"x-fault": "cut"})


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
def test_a_raw_server_follows_its_script_and_stores_the_requests(
    raw_server: Callable[..., RawServer], secure: bool, request: pytest.FixtureRequest
) -> None:
    tls = request.getfixturevalue("tls") if secure else None
    hello = response(body(*HELLO))
    has_read = threading.Event()
    server = raw_server([hello], [head(), chunk(b"abc"), has_read, Do.CLOSE], tls=tls)
    with socket.create_connection(("127.0.0.1", server.port)) as plain:
        wrapped = tls.client.wrap_socket(plain, server_hostname="127.0.0.1") if tls else plain
        with wrapped as sock:
            sock.sendall(b"POST /a HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}")
            received = b""
            while len(received) < len(hello):
                received += sock.recv(65536)
            sock.sendall(b"GET /b HTTP/1.1\r\n\r\n")
            while piece := sock.recv(65536):
                received += piece
                if received.endswith(b"abc\r\n"):
                    has_read.set()
    assert received == hello + head() + b"3\r\nabc\r\n"
    server.wait_until_closed()
    first, second = server.requests
    assert (first.line, first.json, first.connection) == ("POST /a HTTP/1.1", {}, 1)
    assert (second.line, second.body, second.connection) == ("GET /b HTTP/1.1", b"", 1)
    assert server.closed_by_client == 0


def test_a_raw_server_can_reset_the_connection(raw_server: Callable[..., RawServer]) -> None:
    has_read = threading.Event()
    server = raw_server([head() + chunk(b"abc"), has_read, Do.RESET])
    with connected(server.url) as connection:
        connection.request("POST", "/", b"{}")
        with connection.getresponse() as answer:
            assert answer.read1(10) == b"abc"
            has_read.set()
            assert read(answer, [], math.inf) == "reset"


def test_a_raw_server_counts_connections_closed_by_the_client(
    raw_server: Callable[..., RawServer],
) -> None:
    server = raw_server([head() + chunk(b"abc"), Do.WAIT])
    assert fetch(server.url, max_bytes=2).ended == "open"
    server.wait_until_closed()
    assert server.closed_by_client == 1


def test_a_client_that_does_not_close_its_connection_fails_the_test(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(servers, "PATIENCE", 0.01)
    server = RawServer([head(), Do.WAIT])
    with pytest.raises(TimeoutError), server:
        fetch(server.url)
