"""The route of docs/gateways.md: what a server sends arrives, and each report is true.

It runs behind uvicorn, in front of `serve`, with many clients at once.
"""

import asyncio
import gzip
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

import attrs
import pytest

from documentation import blocks
from sansio_stream import ProtocolError, Report, StreamMachine
from sansio_stream.testing import FAULTS
from sansio_stream_tools._app import App
from servers import (
    EXAMPLES,
    PATIENCE,
    SHORT,
    http_server,
    listening,
    port_of,
    recording_in,
    wait_until,
)
from shared_data import REPOSITORY

httpx = pytest.importorskip("httpx", reason="the gateway reads with httpx")
pytest.importorskip("starlette", reason="the gateway is a route of Starlette")
uvicorn = pytest.importorskip(
    "uvicorn",
    minversion="0.32.1",
    reason="the gateway runs behind uvicorn, and older ones do not say that a client has left",
)

PAGE: Final = REPOSITORY / "docs" / "gateways.md"
STREAMS: Final = 200
# The number of kinds is a multiple of three, so each of them has one of these. `drip`, which costs
# the most for each byte, has the shortest.
RECORDINGS: Final = [
    SHORT,
    *(recording_in(EXAMPLES / f"{name}.capture.jsonl") for name in ("parallel-tools", "text")),
]


class Upstream:
    """`serve`, which also keeps what it has sent of each body, by the id of the request."""

    def __init__(self) -> None:
        # Of a recording's own headers none is kept: the server then counts the ids of its requests.
        self.app = App(
            [
                attrs.evolve(
                    read,
                    capture=attrs.evolve(
                        read.capture, header=attrs.evolve(read.capture.header, headers={})
                    ),
                )
                for read in RECORDINGS
            ],
            speed=float("inf"),
        )
        self.sent: dict[str, bytearray] = {}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body = bytearray()

        async def send_and_keep(message: Any) -> None:
            if message["type"] == "http.response.start":
                ids = [value for name, value in message["headers"] if name == b"request-id"]
                self.sent[ids[0].decode()] = body
            body.extend(message.get("body", b""))
            await send(message)

        await self.app(scope, receive, send_and_keep)


class Gateway:
    """The route of the page, and the reports that it has kept, by the id of the request."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.reports: dict[str | None, Report] = {}

    def keep(self, report: Report) -> None:
        assert report.request_id not in self.reports
        self.reports[report.request_id] = report


@contextmanager
def gateway_to(url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gateway]:
    """Run the route of the page in front of a server."""
    monkeypatch.setenv("UPSTREAM", url)
    (code,) = [block.code for block in blocks(PAGE) if "Starlette(" in block.code]
    names: dict[str, Any] = {"__name__": "gateway"}
    exec(compile(code, str(PAGE), "exec"), names)  # noqa: S102 - the point of the test
    config = uvicorn.Config(names["app"], log_config=None, log_level="critical", ws="none")
    server = uvicorn.Server(config)
    sock = listening()
    gateway = Gateway(f"http://127.0.0.1:{port_of(sock)}")
    names["keep"] = gateway.keep
    thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]}, daemon=True)
    thread.start()
    try:
        wait_until(lambda: server.started or not thread.is_alive(), "uvicorn has started")
        yield gateway
    finally:
        server.should_exit = True
        thread.join(PATIENCE)
        left = [*server.server_state.connections]
        server.force_exit = True
        thread.join(PATIENCE)
    assert left == []
    assert not thread.is_alive()


@attrs.frozen
class Kind:
    """What happens to a stream, and what its report says.

    Attributes:
        fault: what the server does; None for a whole answer.
        verdict: that of the report.
        ended: how the body ended.
        headers: what the client asks for besides.
        leaves: whether the client leaves when the first bytes have come.
    """

    fault: str | None
    verdict: str
    ended: str = "eof"
    headers: dict[str, str] = attrs.field(factory=dict[str, str])
    leaves: bool = False


GZIP: Final = {"accept-encoding": "gzip"}
KINDS: Final = (
    Kind(None, "COMPLETE"),
    Kind("gzip", "COMPLETE", headers=GZIP),
    Kind("cut", "TRUNCATED", "error"),
    Kind("cut-in-frame", "TRUNCATED", "error"),
    Kind("reset", "TRUNCATED", "error"),
    Kind("truncated", "COMPLETE", "error"),
    Kind("cut-anywhere", "TRUNCATED"),
    Kind("529", "ERRORED"),
    Kind("503-html", "ERRORED"),
    Kind("html-200", "NOT_AN_EVENT_STREAM"),
    Kind("html-body", "NOT_AN_EVENT_STREAM"),
    Kind("error-in-mid-stream", "ERRORED"),
    Kind("truncated-delta", "DAMAGED"),
    Kind("lost-blank-line", "BROKEN"),
    Kind("missing-message-stop", "UNTERMINATED"),
    Kind("drip", "COMPLETE"),
    Kind("stall", "PENDING", "reader", leaves=True),
    Kind("ping-stall", "PENDING", "reader", leaves=True),
)


@attrs.define
class Answer:
    """What a client has got."""

    request_id: str
    status: int
    body: bytes = b""
    encoding: str = ""
    was_cut: bool = False


async def ask(client: Any, number: int, everyone: asyncio.Barrier) -> Answer:
    """Ask for one stream, and read it once everybody has the head of theirs."""
    kind = KINDS[number % len(KINDS)]
    headers = {**kind.headers, **({} if kind.fault is None else {"x-fault": kind.fault})}
    asked = {"model": RECORDINGS[number % len(RECORDINGS)].stem, "stream": True}
    if not kind.headers:
        headers["accept-encoding"] = "identity"
    request = client.build_request("POST", "/v1/messages", json=asked, headers=headers)
    response = await client.send(request, stream=True)
    answer = Answer(
        response.headers["request-id"],
        response.status_code,
        encoding=response.headers.get("content-encoding", ""),
    )
    try:
        await everyone.wait()
        async for chunk in response.aiter_raw():
            answer.body += chunk
            if kind.leaves:
                break
    except httpx.RemoteProtocolError:
        answer.was_cut = True
    finally:
        await response.aclose()
    return answer


async def ask_all(url: str) -> list[Answer]:
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=url, timeout=PATIENCE, limits=limits) as client:
        everyone = asyncio.Barrier(STREAMS)
        asking = (ask(client, number, everyone) for number in range(STREAMS))
        return await asyncio.gather(*asking)


def verdict_of(answer: Answer) -> str:
    """The verdict of a machine that reads what the client got."""
    machine = StreamMachine()
    body = gzip.decompress(answer.body) if answer.encoding else answer.body
    with suppress(ProtocolError):
        list(machine.receive_data(body))
        list(
            machine.connection_lost(ConnectionError()) if answer.was_cut else machine.receive_eof()
        )
    return machine.verdict.name


def test_two_hundred_streams_arrive_as_they_were_sent_and_each_report_is_true(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    upstream = Upstream()
    with http_server(upstream) as url, gateway_to(url, monkeypatch) as gateway:
        answers = asyncio.run(ask_all(gateway.url))
        wait_until(lambda: len(gateway.reports) == STREAMS, "every stream has its report")
    assert {answer.request_id for answer in answers} == set(gateway.reports)
    seen: Counter[str] = Counter()
    for number, answer in enumerate(answers):
        kind = KINDS[number % len(KINDS)]
        report = gateway.reports[answer.request_id]
        sent = bytes(upstream.sent[answer.request_id])
        told = (report.verdict.name, report.ended, report.http_status)
        assert told == (kind.verdict, kind.ended, answer.status), (kind.fault, report)
        assert answer.was_cut is (kind.ended == "error"), kind.fault
        if kind.leaves or kind.fault == "reset":
            # What had been sent when the client left; a reset may destroy what is not read yet.
            assert sent.startswith(answer.body)
        else:
            assert answer.body == sent
        if not kind.leaves:
            decoded = gzip.decompress(answer.body) if answer.encoding else answer.body
            assert report.bytes == len(decoded)
        if answer.status == 200 and kind.fault != "html-200" and not kind.leaves:
            assert report.verdict.name == verdict_of(answer)
        assert (answer.encoding == "gzip") is (kind.fault == "gzip")
        seen[kind.verdict] += 1
    assert seen.total() == STREAMS
    assert len(seen) == 8


def test_no_answer_of_the_server_is_an_answer_of_the_gateway(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = {"model": "text", "stream": True}
    with http_server(Upstream()) as url, gateway_to(url, monkeypatch) as gateway:
        answer = httpx.post(
            f"{gateway.url}/v1/messages", json=asked, headers={"x-fault": "no-head"}
        )
        assert (answer.status_code, gateway.reports) == (502, {})
        assert answer.text == "no answer from upstream: RemoteProtocolError"


def test_the_faults_are_those_of_the_catalogue() -> None:
    names = {kind.fault.replace("-", "_") for kind in KINDS if kind.fault is not None}
    assert names <= set(FAULTS)
