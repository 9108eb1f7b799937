"""What users of the transports see: they fit into the clients of both libraries."""

from typing import Any, assert_type

import httpx
import httpx2

from sansio_stream import Capture, Limits, Report
from sansio_stream_adapters.transports import (
    ReplayTransport,
    VerifyingTransport,
    asks_for_stream,
    verify,
)


def a_transport_fits_both_libraries(transport: VerifyingTransport | ReplayTransport) -> None:
    httpx.Client(transport=transport)
    httpx.AsyncClient(transport=transport)
    httpx2.Client(transport=transport, mounts={"all://": transport})
    httpx2.AsyncClient(transport=transport)


def verify_returns_the_client(
    client: httpx.Client,
    async_client: httpx.AsyncClient,
    client2: httpx2.Client,
    async_client2: httpx2.AsyncClient,
) -> None:
    assert_type(verify(client), httpx.Client)
    assert_type(verify(async_client), httpx.AsyncClient)
    assert_type(verify(client2, record_to="recordings"), httpx2.Client)
    assert_type(verify(async_client2), httpx2.AsyncClient)
    verify(object())  # type: ignore[type-var]  # pyright: ignore[reportArgumentType]


def options(limits: Limits) -> None:
    def on_end(report: Report) -> bool:
        return report.verdict.name == "COMPLETE"

    def record_to(request: httpx.Request) -> str | None:
        return None if request.url.host == "localhost" else "answer.capture.jsonl"

    VerifyingTransport(
        httpx.HTTPTransport(),
        record_to=record_to,
        on_end=on_end,
        raises="own",
        select=asks_for_stream,
        raise_unterminated=True,
        limits=limits,
    )
    VerifyingTransport(raises="theirs")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    VerifyingTransport(record_to=3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    VerifyingTransport(on_ned=on_end)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    VerifyingTransport(on_end=lambda: None)  # type: ignore[arg-type, misc]  # pyright: ignore[reportArgumentType]


def replays(capture: Capture) -> None:
    def choose(request: httpx2.Request) -> Capture:
        return {"a": capture}[request.url.path]

    transport = ReplayTransport("a.capture.jsonl", capture, b"data: {}\n\n", speed=1.0)
    assert_type(transport.requests, list[Any])
    transport.reqests = []  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    ReplayTransport(choose, cut_after=100, cut_into="bytes", fault="cut")
    ReplayTransport(3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
