"""An ASGI application that answers requests with captures.

This module depends neither on the command line nor on a server. ASGI has no way to reset a
connection, and none to close it without an answer. For these faults, the application uses the
transport that `_uvicorn` puts into the state of the scope. With another server, it only stops
sending.
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

from sansio_stream.capture import Capture, CaptureHeader, parse_capture
from sansio_stream.errors import ProtocolError
from sansio_stream.machine import StreamMachine
from sansio_stream.testing import Answer, Asked, End
from sansio_stream.testing.catalogue.connection import PING, failure
from sansio_stream_adapters._answers import SECONDS_BETWEEN_PINGS, SERVED, answer_of

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["SERVED", "App", "Recording", "is_loopback"]

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]

PATH: Final = "/v1/messages"

MOST_BYTES: Final = 32 * 2**20
"""The maximum size of a request's body. The API has the same limit."""

# The header values that HTTP allows, and the status codes of responses that have a body.
SENDABLE: Final = re.compile(r"(?![ \t])[\t\x20-\x7e\x80-\U0010ffff]*(?<![ \t])")
STATUSES_WITH_A_BODY: Final = frozenset(range(200, 600)) - {204, 205, 304}

HOST: Final = re.compile(r"(\[[^\]]*\]|[^:]*)(?::\d*)?")

# On some systems, a reset discards the data that the client has received but not yet read.
SECONDS_BEFORE_A_RESET: Final = 0.1


@attrs.frozen
class Recording:
    """A capture, and the models for which it is the answer.

    Attributes:
        name: the name of the file.
        stem: its name up to the first dot. For a request with this model, the recording takes
            precedence over those that have the model only in `models`.
        models: the model in the recorded request, and the one in the recorded answer, if known.
        capture: the parsed file.
    """

    name: str
    stem: str
    models: frozenset[str]
    capture: Capture

    @classmethod
    def read(cls, path: Path) -> Recording:
        """Read a file.

        Raises:
            OSError: if the file cannot be read.
            ValueError: if it is damaged, or if HTTP cannot send its status or a header.
        """
        capture = parse_capture(path.read_bytes())
        demand_sendable(capture.header)
        return cls(path.name, path.name.partition(".")[0], models_of(capture), capture)

    def answer(self, request_id: str) -> Answer:
        """Return the recorded answer. `request_id` is used if the recording contains none."""
        return answer_of(self.capture, request_id)


def demand_sendable(header: CaptureHeader) -> None:
    """Raise a ValueError that names the part of the head if HTTP cannot send it."""
    if header.status is not None and header.status not in STATUSES_WITH_A_BODY:
        raise ValueError(
            f"the status {header.status} cannot be served: it is not the status of a response"
            " with a body"
        )
    for name, value in header.headers.items():
        if SENDABLE.fullmatch(value) is None:
            raise ValueError(f"the value of the header {name} cannot be sent: {value!r}")


def is_loopback(host: str) -> bool:
    """Whether a host is always this machine, independently of any name server."""
    name = host.lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False


def models_of(capture: Capture) -> frozenset[str]:
    """Return the model in the recorded request, and the one in the recorded answer."""
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
    """A complete request.

    Attributes:
        method: the HTTP method.
        path: the decoded path.
        target: the path and the query as they were sent.
        headers: the headers, with names in lower case.
        body: the body, or None if it is larger than 32 MiB.
    """

    method: str
    path: str
    target: str
    headers: dict[str, str]
    body: bytes | None


class App:
    """The ASGI application.

    Args:
        recordings: at least one recording. If several match a request, they take turns.
        speed: the speed of an answer as a factor of the recorded speed. Infinity never waits.
        fault: the name of the fault of each answer. The header `x-fault` of a request overrides it.
        is_local: whether to refuse requests whose Host is not a name or an address of the loopback.
            Without this check, a web page could read the recordings (DNS rebinding): its owner lets
            the page's host name resolve to 127.0.0.1, and the visitor's browser sends the requests.
        log: is called with a line for each request.
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
            raise RuntimeError(f"the ASGI scope {scope['type']} is not supported, only http is")
        request = await read_request(scope, receive)
        if request is not None:
            transport = scope.get("state", {}).get("transport")
            sender = AnswerSender(receive, send, transport, self._speed)
            await sender.send_answer(self.answer(request))

    # From a request to its answer.

    def answer(self, request: Request) -> Answer:
        """Return the answer to a request, and log the request."""
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
            answer = SERVED[fault].apply_to_answer(answer, asked)
        except ValueError as error:
            self._log(f"{line} -> 400: {error}")
            return failure(blank, 400, "invalid_request_error", f"{recording.name}: {error}")
        self._log(line)
        return answer

    def _read(self, request: Request) -> tuple[str | None, str | None]:
        """Return the model and the fault that a request selects. Raises RefusedError."""
        host = HOST.fullmatch(request.headers.get("host", ""))
        if self._is_local and not (host and is_loopback(host[1])):
            message = "the Host of the request must be localhost or a loopback address"
            raise RefusedError(403, "permission_error", message)
        if not request.path.endswith(PATH):
            raise RefusedError(404, "not_found_error", f"the only path is {PATH}")
        if request.method != "POST":
            message = f"only the method POST is allowed for {PATH}"
            raise RefusedError(405, "invalid_request_error", message, allow="POST")
        if request.body is None:
            message = f"the body is too large: the limit is {MOST_BYTES:,} bytes"
            raise RefusedError(413, "request_too_large", message)
        try:
            body = json.loads(request.body)
        except (ValueError, RecursionError) as error:
            raise RefusedError(400, "invalid_request_error", "the body is not JSON") from error
        match body:
            case {"stream": True, **parameters}:
                model = parameters.get("model")
            case _:
                message = 'only streams are served: the body must contain "stream": true'
                raise RefusedError(400, "invalid_request_error", message)
        fault = request.headers.get("x-fault", self._fault)
        if fault is not None and fault not in SERVED:
            message = f"x-fault: unknown fault {fault!r}. The faults are {', '.join(SERVED)}"
            raise RefusedError(400, "invalid_request_error", message)
        return (model if isinstance(model, str) else None), fault

    def _choose(self, model: str | None) -> Recording:
        fitting = self._by_model.get(model or "")
        turn = (model or "") if fitting else ""
        self._turns[turn] += 1
        candidates = fitting or self._recordings
        return candidates[(self._turns[turn] - 1) % len(candidates)]


class RefusedError(Exception):
    """A request that is answered with an error response.

    Attributes:
        status: the HTTP status.
        kind: the type of the error in the body.
        headers: additional headers.
    """

    def __init__(self, status: int, kind: str, message: str, **headers: str) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.headers = headers


async def read_request(scope: Message, receive: Receive) -> Request | None:
    """Return the complete request, or None if the client disconnects before it has sent it.

    Stops reading once the body has more than 32 MiB.
    """
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


# From an answer to the connection.


@attrs.frozen
class AnswerSender:
    """Sends one answer to one client.

    Attributes:
        receive: the ASGI callable of the request.
        send: the ASGI callable of the request.
        transport: the transport of the connection, or None if the server does not provide it.
        speed: the speed of the answer as a factor of the recorded speed.
    """

    receive: Receive
    send: Send
    transport: asyncio.Transport | None
    speed: float

    async def send_answer(self, answer: Answer) -> None:
        """Send the answer. Returns when it is finished, or when the client disconnects."""
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
        """End the answer in the given way."""
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
        """Close the connection after all data is sent."""
        if self.transport is not None:
            self.transport.close()
            await self.is_gone_within(None)

    async def reset(self) -> None:
        """Reset the connection, after a pause in which the client can read the sent data."""
        if self.transport is not None and not await self.is_gone_within(SECONDS_BEFORE_A_RESET):
            # With SO_LINGER and a time of 0, closing a socket sends RST instead of FIN.
            self.transport.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
            )
            self.transport.abort()
            await self.is_gone_within(None)

    async def is_gone_at(self, start: float, at: float | None) -> bool:
        """Wait until the recorded time `at`. Return whether the client has disconnected.

        Does not wait if `at` is None, or if that time has passed.
        """
        if self.transport is not None and self.transport.is_closing():
            return True
        if at is None or math.isinf(self.speed):
            return False
        wait = start + at / self.speed - asyncio.get_running_loop().time()
        return wait > 0 and await self.is_gone_within(wait)

    async def is_gone_within(self, seconds: float | None) -> bool:
        """Wait for a number of seconds, or without end if None.

        Returns True as soon as the client disconnects, and False if it stays connected that long.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while (await self.receive())["type"] != "http.disconnect":
                    pass
                return True
        return False
