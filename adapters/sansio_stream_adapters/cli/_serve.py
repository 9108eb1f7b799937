"""Serving: captures in, an ASGI application that answers requests with them out.

Knows no command line and no server. Two things no ASGI application can do: to reset a connection,
and to close one without an answer. For them it takes the transport, where the server has put it
into the scope's state, as `_uvicorn` does; elsewhere it just stops sending.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import math
import re
import socket
import struct
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import attrs

from sansio_stream.capture import Capture, CaptureHeader, Chunk, parse_capture
from sansio_stream.errors import ProtocolError
from sansio_stream.machine import StreamMachine
from sansio_stream.testing import FAULTS, Answer, Asked, End, Fault
from sansio_stream.testing.catalogue.connection import PING, failure

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["SERVED", "App", "Recording", "is_loopback"]

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]

PATH: Final = "/v1/messages"

MOST_BYTES: Final = 32 * 2**20
"""Of a request's body: the API takes no more either."""

SERVED: Final[dict[str, Fault]] = {
    fault.name.replace("_", "-"): fault
    for kind in ("connection", "bytes")
    for fault in FAULTS.values()
    if fault.changes == kind and not fault.limit
}
"""The faults that can be asked for, by the name that a header and an option have: with hyphens.

Those that exceed a limit are left out: they need a reader whose limits are known.
"""

# What HTTP can send as the value of a header, and the statuses behind which a body comes.
SENDABLE: Final = re.compile(r"(?![ \t])[\t\x20-\x7e\x80-\U0010ffff]*(?<![ \t])")
STATUSES_WITH_A_BODY: Final = frozenset(range(200, 600)) - {204, 205, 304}

HOST: Final = re.compile(r"(\[[^\]]*\]|[^:]*)(?::\d*)?")
SECONDS_BETWEEN_PINGS: Final = 0.1

# What was sent and not read yet is lost with some systems when the reset comes.
SECONDS_BEFORE_A_RESET: Final = 0.1


@attrs.frozen
class Recording:
    """A capture, and the models for which it answers: `stem` before the others."""

    name: str
    stem: str
    models: frozenset[str]
    capture: Capture

    @classmethod
    def read(cls, path: Path) -> Recording:
        """Read a file; raises OSError, or ValueError for one that is damaged or cannot be sent."""
        capture = parse_capture(path.read_bytes())
        demand_sendable(capture.header)
        return cls(path.name, path.name.partition(".")[0], models_of(capture), capture)

    def answer(self, request_id: str) -> Answer:
        """Return what was recorded; `request_id` is for a recording without one."""
        header, end = self.capture.header, self.capture.end
        head = {
            "content-type": "text/event-stream; charset=utf-8",
            "cache-control": "no-cache",
            "request-id": request_id,
        }
        chunks = self.capture.chunks
        if end is not None:
            chunks = (*chunks, Chunk(end.at, b""))  # the end has its time too
        return Answer(
            status=header.status or 200,
            headers={**head, **header.headers},
            chunks=chunks,
            # A recording that was cut itself says no more than that the rest is missing.
            end=End.CLOSED if end is None or end.error is not None else End.WHOLE,
        )


def demand_sendable(header: CaptureHeader) -> None:
    """Raise ValueError for a head that HTTP has no way to send, and say which part of it."""
    if header.status is not None and header.status not in STATUSES_WITH_A_BODY:
        raise ValueError(f"the status {header.status} cannot be served: no body comes behind it")
    for name, value in header.headers.items():
        if SENDABLE.fullmatch(value) is None:
            raise ValueError(f"the header {name} cannot be sent: {value!r}")


def is_loopback(host: str) -> bool:
    """Whether a host is this machine for everybody, whatever a name server says."""
    name = host.lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False


def models_of(capture: Capture) -> frozenset[str]:
    """Return the model that was asked for, and the one that answered."""
    machine = StreamMachine()
    with suppress(ProtocolError):
        for _ in machine.receive_data(capture.body):
            if machine.snapshot is not None:
                break
    asked = (capture.header.request or {}).get("model")
    answered = None if machine.snapshot is None else machine.snapshot.model
    return frozenset(model for model in (asked, answered) if isinstance(model, str))


@attrs.frozen
class Request:
    """A request that has come whole; `target` is the path and the query as they were sent.

    The names of `headers` are in lower case; `body` is None if it is larger than 32 MiB.
    """

    method: str
    path: str
    target: str
    headers: dict[str, str]
    body: bytes | None


class App:
    """The ASGI application.

    Args:
        recordings: at least one; where several fit a request, they take turns.
        speed: times as fast as recorded; infinity for without waiting.
        fault: the name of what goes wrong with each answer, where a request asks for nothing else.
        is_local: whether only requests are answered whose Host is a name or an address of the
            loopback. Else a page of the Web could ask for whatever is served here, in the browser
            of somebody who looks at it, by a name that its owner has led to 127.0.0.1.
        log: gets a line for each request.
    """

    def __init__(
        self,
        recordings: Iterable[Recording],
        *,
        speed: float = 1.0,
        fault: str | None = None,
        is_local: bool = False,
        log: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._recordings = list(recordings)
        self._speed = speed
        self._fault = fault
        self._is_local = is_local
        self._log = log
        self._requests = 0
        self._turns: Counter[str] = Counter()
        self._faults_asked: Counter[str] = Counter()
        stems: defaultdict[str, list[Recording]] = defaultdict(list)
        models: defaultdict[str, list[Recording]] = defaultdict(list)
        for recording in self._recordings:
            stems[recording.stem].append(recording)
            for model in recording.models:
                models[model].append(recording)
        self._by_model = {**models, **stems}

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            raise RuntimeError(f"only http is answered, not {scope['type']}")
        request = await read_request(scope, receive)
        if request is not None:
            transport = scope.get("state", {}).get("transport")
            player = Player(receive, send, transport, self._speed)
            await player.play(self.answer(request))

    # From a request to its answer.

    def answer(self, request: Request) -> Answer:
        """Return what to send, and log it."""
        self._requests += 1
        request_id = f"req_served_{self._requests}"
        blank = Answer(status=None, headers={"request-id": request_id}, chunks=())
        line = f"{request.method} {request.target}"
        try:
            model, fault = self._read(request)
        except RefusedError as refusal:
            self._log(f"{line} -> {refusal.status}")
            return failure(blank, refusal.status, refusal.kind, str(refusal), **refusal.headers)
        recording = self._choose(model)
        answer = recording.answer(request_id)
        line = f"{line} model={model} -> {recording.name}{f', {fault}' if fault else ''}"
        if fault is None:
            self._log(line)
            return answer
        self._faults_asked[fault] += 1
        asked = Asked(
            target=request.target,
            accepts_gzip="gzip" in request.headers.get("accept-encoding", ""),
            number=self._faults_asked[fault],
        )
        try:
            answer = SERVED[fault].changed(answer, asked)
        except ValueError as error:
            self._log(f"{line} -> 400: {error}")
            return failure(blank, 400, "invalid_request_error", f"{recording.name}: {error}")
        self._log(line)
        return answer

    def _read(self, request: Request) -> tuple[str | None, str | None]:
        """Return the model and the fault that are asked for; raises RefusedError."""
        host = HOST.fullmatch(request.headers.get("host", ""))
        if self._is_local and not (host and is_loopback(host[1])):
            message = "only requests for this machine are answered, by localhost or its address"
            raise RefusedError(403, "permission_error", message)
        if not request.path.endswith(PATH):
            raise RefusedError(404, "not_found_error", f"only {PATH} is served")
        if request.method != "POST":
            message = f"{PATH} takes POST only"
            raise RefusedError(405, "invalid_request_error", message, allow="POST")
        if request.body is None:
            message = f"a body of more than {MOST_BYTES:,} bytes is not taken"
            raise RefusedError(413, "request_too_large", message)
        try:
            body = json.loads(request.body)
        except (ValueError, RecursionError) as error:
            raise RefusedError(400, "invalid_request_error", "the body is not JSON") from error
        match body:
            case {"stream": True, **parameters}:
                model = parameters.get("model")
            case _:
                message = 'only streams are served: the body needs "stream": true'
                raise RefusedError(400, "invalid_request_error", message)
        fault = request.headers.get("x-fault", self._fault)
        if fault is not None and fault not in SERVED:
            message = f"x-fault: {fault!r} is none of {', '.join(SERVED)}"
            raise RefusedError(400, "invalid_request_error", message)
        return (model if isinstance(model, str) else None), fault

    def _choose(self, model: str | None) -> Recording:
        fitting = self._by_model.get(model or "")
        turn = (model or "") if fitting else ""
        self._turns[turn] += 1
        candidates = fitting or self._recordings
        return candidates[(self._turns[turn] - 1) % len(candidates)]


class RefusedError(Exception):
    """A request that is answered by a failure."""

    def __init__(self, status: int, kind: str, message: str, **headers: str) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.headers = headers


async def read_request(scope: Message, receive: Receive) -> Request | None:
    """Return the whole request, or None if the client went away before it had sent it."""
    body = bytearray()
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        more = message.get("more_body", False) and len(body) <= MOST_BYTES
    path, query = scope["raw_path"].decode("latin-1"), scope["query_string"].decode("latin-1")
    return Request(
        method=scope["method"],
        path=scope["path"],
        target=f"{path}?{query}" if query else path,
        headers={
            name.decode("latin-1").lower(): value.decode("latin-1")
            for name, value in scope["headers"]
        },
        body=bytes(body) if len(body) <= MOST_BYTES else None,
    )


# From an answer to what happens on the connection.


@attrs.frozen
class Player:
    """Plays one answer to one client, until that goes away."""

    receive: Receive
    send: Send
    transport: asyncio.Transport | None
    speed: float

    async def play(self, answer: Answer) -> None:
        """Return when everything has happened, or nobody is there to see it."""
        start = asyncio.get_running_loop().time()
        if answer.head_after and await self.is_gone_within(answer.head_after):
            return
        if answer.status is not None:
            headers = [(name.encode(), value.encode()) for name, value in answer.headers.items()]
            await self.send(
                {"type": "http.response.start", "status": answer.status, "headers": headers}
            )
        for chunk in answer.chunks:
            if await self.is_gone_at(start, chunk.at):
                return
            await self.send_body(chunk.data)
        await self.end(answer.end)

    async def end(self, end: End) -> None:
        """Do what comes after the chunks."""
        match end:
            case End.WHOLE:
                await self.send_body(b"", more_body=False)
            case End.CLOSED:
                await self.close()
            case End.RESET:
                await self.reset()
            case End.SILENCE:
                await self.is_gone_within(None)
            case End.PINGS:
                while not await self.is_gone_within(SECONDS_BETWEEN_PINGS):
                    await self.send_body(PING)

    async def send_body(self, data: bytes, *, more_body: bool = True) -> None:
        """Send a part of the body."""
        await self.send({"type": "http.response.body", "body": data, "more_body": more_body})

    async def close(self) -> None:
        """Close the connection once all is sent."""
        if self.transport is not None:
            self.transport.close()
            await self.is_gone_within(None)

    async def reset(self) -> None:
        """Reset the connection, once the client has had the time to read what was sent."""
        if self.transport is not None and not await self.is_gone_within(SECONDS_BEFORE_A_RESET):
            # Without lingering, closing a socket sends RST in place of FIN.
            self.transport.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
            )
            self.transport.abort()
            await self.is_gone_within(None)

    async def is_gone_at(self, start: float, at: float | None) -> bool:
        """Wait until it is time for what was recorded at a time; was the client gone by then?"""
        if self.transport is not None and self.transport.is_closing():
            return True
        if at is None or math.isinf(self.speed):
            return False
        wait = start + at / self.speed - asyncio.get_running_loop().time()
        return wait > 0 and await self.is_gone_within(wait)

    async def is_gone_within(self, seconds: float | None) -> bool:
        """Wait; return early, and True, if the client goes away. None is for ever."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while (await self.receive())["type"] != "http.disconnect":
                    pass
                return True
        return False
