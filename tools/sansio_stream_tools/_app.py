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
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

import attrs

from sansio_stream.testing import Answer, Asked, End
from sansio_stream.testing.catalogue.connection import PING, failure
from sansio_stream_adapters._answers import SECONDS_BETWEEN_PINGS, SERVED

if TYPE_CHECKING:
    from ._recordings import Recording

__all__ = ["SERVED", "App", "Exchange", "is_loopback"]

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]

PATH: Final = "/v1/messages"

MOST_BYTES: Final = 32 * 2**20
"""The maximum size of a request's body. The API has the same limit."""

HOST: Final = re.compile(r"(\[[^\]]*\]|[^:]*)(?::\d*)?")

# On some systems, a reset discards the data that the client has received but not yet read.
SECONDS_BEFORE_A_RESET: Final = 0.1


def is_loopback(host: str) -> bool:
    """Whether a host is always this machine, independently of any name server."""
    name = host.lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False


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

    A request is answered with the recording whose stem is its model, or else with one that was
    recorded with this model. If several match, they take turns.

    Args:
        recordings: at least one recording.
        speed: the speed of an answer as a factor of the recorded speed. Infinity never waits.
        fault: the name of the fault of each answer. The header `x-fault` of a request overrides it.
        any_model: whether a request for an unknown model, or without a model, is answered with all
            recordings in turn. Otherwise its answer is a 404 or a 400.
        is_local: whether to refuse requests whose Host is not a name or an address of the loopback.
            Without this check, a web page could read the recordings by DNS rebinding: the owner of
            the page lets its host name resolve to 127.0.0.1, and the browser sends the requests.
        log: is called with each exchange when it has ended.
        clock: returns a monotonic time in seconds, for the log.
    """

    def __init__(
        self,
        recordings: Iterable[Recording],
        *,
        speed: float = 1.0,
        fault: str | None = None,
        any_model: bool = False,
        is_local: bool = False,
        log: Callable[[Exchange], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._recordings = list(recordings)
        self._speed = speed
        self._fault = fault
        self._any_model = any_model
        self._is_local = is_local
        self._log = log
        self._clock = clock
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
        if request is None:
            return
        begun = self._clock()
        reply = self.reply(request)
        sent = 0

        async def send_counted(message: Message) -> None:
            nonlocal sent
            await send(message)
            sent += len(message.get("body", b""))

        client_left = True  # also if the server stops and cancels this task
        transport = scope.get("state", {}).get("transport")
        sender = AnswerSender(receive, send_counted, transport, self._speed)
        try:
            client_left = await sender.send_answer(reply.answer)
        finally:
            seconds = self._clock() - begun
            self._log(Exchange(reply.choice, reply.answer.status, sent, seconds, client_left))

    # From a request to its answer.

    def reply(self, request: Request) -> Reply:
        """Return the answer to a request, and the words that say how it was chosen."""
        self._requests += 1
        request_id = f"req_served_{self._requests}"
        blank = Answer(status=None, headers={"request-id": request_id}, chunks=())
        words = f"{request.method} {request.target}"
        try:
            asked = self._read(request)
            recording = self._choose(asked.model)
        except RefusedError as refusal:
            answer = failure(blank, refusal.status, refusal.kind, str(refusal), **refusal.headers)
            return Reply(answer, words)
        answer = (recording.stream if asked.wants_stream else recording.message)(request_id)
        words = f"{words} model={asked.model} -> {recording.name}"
        if asked.fault is None:
            return Reply(answer, words)
        words = f"{words}, {asked.fault}"
        self._faults_asked[asked.fault] += 1
        facts = Asked(
            target=request.target,
            accepts_gzip="gzip" in request.headers.get("accept-encoding", ""),
            number=self._faults_asked[asked.fault],
        )
        try:
            return Reply(SERVED[asked.fault].apply_to_answer(answer, facts), words)
        except ValueError as error:
            reason = f"{recording.name}: {error}"
            return Reply(failure(blank, 400, "invalid_request_error", reason), f"{words}: {error}")

    def _read(self, request: Request) -> Call:
        """Return what a request asks for. Raises RefusedError."""
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
        if not isinstance(body, dict):
            raise RefusedError(400, "invalid_request_error", "the body is not a JSON object")
        parameters = cast("dict[str, object]", body)
        wants_stream = parameters.get("stream", False)
        if not isinstance(wants_stream, bool):
            raise RefusedError(400, "invalid_request_error", "stream: must be true or false")
        fault = request.headers.get("x-fault", self._fault)
        if fault is not None and fault not in SERVED:
            message = f"x-fault: unknown fault {fault!r}. The faults are {', '.join(SERVED)}"
            raise RefusedError(400, "invalid_request_error", message)
        model = parameters.get("model")
        return Call(model if isinstance(model, str) else None, fault, wants_stream)

    def _choose(self, model: str | None) -> Recording:
        """Return the recording that answers a request for a model. Raises RefusedError."""
        fitting = self._by_model.get(model or "")
        if not fitting and not self._any_model:
            known = f"the served models are {', '.join(sorted(self._by_model))}"
            if model is None:
                raise RefusedError(400, "invalid_request_error", f"model: is missing; {known}")
            raise RefusedError(404, "not_found_error", f"model: {model} is not served; {known}")
        turn = (model or "") if fitting else ""
        self._turns[turn] += 1
        candidates = fitting or self._recordings
        return candidates[(self._turns[turn] - 1) % len(candidates)]


@attrs.frozen
class Call:
    """What a request asks for.

    Attributes:
        model: the model, or None if the request names none.
        fault: the fault to apply to the answer, or None.
        wants_stream: whether the answer is to be a stream, not a message.
    """

    model: str | None
    fault: str | None
    wants_stream: bool


@attrs.frozen
class Reply:
    """The answer to a request, and the words that say how it was chosen, for the log."""

    answer: Answer
    choice: str


@attrs.frozen
class Exchange:
    """A request and its answer, for the log.

    Attributes:
        choice: the request, and the recording and the fault of the answer.
        status: the HTTP status, or None if the connection was closed without a head.
        sent_bytes: the number of bytes of the body that were sent.
        seconds: the time from the complete request to the end of the answer.
        client_left: whether the client closed the connection before the answer ended.
    """

    choice: str
    status: int | None
    sent_bytes: int
    seconds: float
    client_left: bool

    def __str__(self) -> str:
        status = "no answer" if self.status is None else str(self.status)
        left = ", the client left" if self.client_left else ""
        return f"{self.choice}: {status}, {self.sent_bytes:,} bytes in {self.seconds:.3f} s{left}"


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

    async def send_answer(self, answer: Answer) -> bool:
        """Send the answer. Return whether the client disconnected before its end."""
        start = asyncio.get_running_loop().time()
        if answer.head_after and await self.is_gone_within(answer.head_after):
            return True
        if answer.status is not None:
            headers = [(name.encode(), value.encode()) for name, value in answer.headers.items()]
            await self.send(
                {"type": "http.response.start", "status": answer.status, "headers": headers}
            )
        for chunk in answer.chunks:
            if await self.is_gone_at(start, chunk.at):
                return True
            await self.send_body(chunk.data)
        return await self.end(answer.end)

    async def end(self, end: End) -> bool:
        """End the answer in the given way. Return whether it ended only because the client left."""
        match end:
            case End.WHOLE:
                await self.send_body(b"", more_body=False)
            case End.CLOSED:
                await self.close()
            case End.RESET:
                await self.reset()
            case End.SILENCE:
                return await self.is_gone_within(None)
            case End.PINGS:
                while not await self.is_gone_within(SECONDS_BETWEEN_PINGS):
                    await self.send_body(PING)
                return True
        return False

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
