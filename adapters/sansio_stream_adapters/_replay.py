"""ReplayTransport: a transport that answers requests with captures, without a network."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

import attrs

from sansio_stream.capture import Capture, Chunk, parse_capture
from sansio_stream.testing import Asked, End
from sansio_stream.testing.catalogue.connection import PING

from ._answers import SECONDS_BETWEEN_PINGS, SERVED, answer_of
from ._concurrency import sleep
from ._cut import recut, sizes_from
from ._transport import Transport, body_class, library_of

if TYPE_CHECKING:
    from sansio_stream.testing import Answer

__all__ = ["Captured", "ReplayTransport"]

Captured: TypeAlias = "Capture | str | os.PathLike[str] | bytes"
"""A capture, the path of its file, or the content of the file.

The file may also be the plain body of a response; see `parse_capture`.
"""

FAILURES: Final = {
    End.CLOSED: (
        "RemoteProtocolError",
        "peer closed connection without sending complete message body (incomplete chunked read)",
    ),
    End.RESET: ("ReadError", "[Errno 104] Connection reset by peer"),
    End.SILENCE: ("ReadTimeout", "The read operation timed out"),
}
"""The exception of the library for each way in which a body fails, with the library's message."""


class ReplayTransport(Transport):
    """A transport that answers each request with the next capture. It sends nothing.

        transport = ReplayTransport("first.capture.jsonl", "second.capture.jsonl")
        client = httpx.Client(transport=transport)

    The answer has the recorded status, headers and chunks. If the capture has no end, or ended with
    an error, the body ends with the library's exception for a connection that was closed.

    A fault is one of `sansio_stream.testing.FAULTS`, applied to each answer. An answer that a fault
    puts in the place of a capture, such as a 429, does not use up the capture.

    Nothing waits for the silence of a stalled stream: the read times out at once.

    Attributes:
        requests: the requests in order, with their bodies read.

    Args:
        *captures: the captures in the order of the requests; or a single function that takes the
            request and returns its capture.
        speed: the speed as a factor of the recorded speed. None never waits.
        cut_after: the number of bytes of each body after which its connection closes.
        cut_into: the sizes of the chunks: a number of bytes, "bytes" for one, or "random:SEED". By
            default the chunks are the recorded ones.
        fault: the name of a fault, with hyphens or underscores.

    Raises:
        ValueError: an argument has a value that is not possible, or a capture is damaged.
        OSError: a file cannot be read.
    """

    def __init__(
        self,
        *captures: Captured | Callable[[Any], Captured],
        speed: float | None = None,
        cut_after: int | None = None,
        cut_into: int | str | None = None,
        fault: str | None = None,
    ) -> None:
        if not captures:
            raise ValueError("ReplayTransport needs a capture, or a function that returns one")
        if speed is not None and not speed > 0:
            raise ValueError(f"speed must be above 0, not {speed!r}")
        if cut_after is not None and cut_after < 0:
            raise ValueError(f"cut_after must be a number of bytes, not {cut_after!r}")
        name = None if fault is None else fault.replace("_", "-")
        if name is not None and name not in SERVED:
            raise ValueError(f"unknown fault {fault!r}. The faults are {', '.join(SERVED)}")
        self.requests: list[Any] = []
        self._choose: Callable[[Any], Captured] | None = None
        self._left: list[Capture] = []
        if len(captures) == 1 and callable(captures[0]):
            self._choose = captures[0]
        else:
            self._left = [parsed(cast("Captured", each)) for each in captures]
        self._count = len(self._left)
        self._speed = speed
        self._cut_after = cut_after
        self._cut_into = None if cut_into is None else str(cut_into)
        if self._cut_into is not None:
            sizes_from(self._cut_into)
        self._fault = None if name is None else SERVED[name]
        self._lock = threading.Lock()

    def handle_request(self, request: Any) -> Any:
        """Answer a request.

        Raises:
            RuntimeError: no capture is left.
            ValueError: the fault needs another stream, or a chosen capture is damaged.
        """
        request.read()
        library, answer = library_of(request), self._answer(request)
        wait = self._wait_for_head(library, request, answer)
        if wait:
            time.sleep(wait)
        return self._response(library, request, answer, ReplayedBody)

    async def handle_async_request(self, request: Any) -> Any:
        """Answer a request; see `handle_request`."""
        await request.aread()
        library, answer = library_of(request), self._answer(request)
        wait = self._wait_for_head(library, request, answer)
        if wait:
            await sleep(wait)
        return self._response(library, request, answer, AsyncReplayedBody)

    def _answer(self, request: Any) -> Answer:
        """Return the answer to a request, with the fault and the cuts."""
        with self._lock:
            self.requests.append(request)
            number = len(self.requests)
            recorded = answer_of(self._capture(request), f"req_replayed_{number}")
            answer = self._with_fault(recorded, request, number)
            if self._choose is None and answer.status == recorded.status:
                del self._left[0]
        return self._with_cuts(answer)

    def _capture(self, request: Any) -> Capture:
        if self._choose is not None:
            return parsed(self._choose(request))
        if not self._left:
            raise RuntimeError(
                f"request {len(self.requests)} came, but all captures are used up: "
                f"ReplayTransport was given {self._count}"
            )
        return self._left[0]

    def _with_fault(self, answer: Answer, request: Any, number: int) -> Answer:
        if self._fault is None:
            return answer
        asked = Asked(
            target=request.url.raw_path.decode("latin-1"),
            accepts_gzip="gzip" in request.headers.get("accept-encoding", ""),
            number=number,
        )
        return self._fault.apply_to_answer(answer, asked)

    def _with_cuts(self, answer: Answer) -> Answer:
        chunks, end = answer.chunks, answer.end
        if self._cut_after is not None and len(answer.body) > self._cut_after:
            kept: list[Chunk] = []
            left = self._cut_after
            for chunk in chunks:
                kept.append(attrs.evolve(chunk, data=chunk.data[:left]))
                left -= len(kept[-1].data)
            chunks, end = tuple(kept), End.CLOSED
        if self._cut_into is not None:
            chunks = tuple(recut(chunks, sizes_from(self._cut_into)))
        return attrs.evolve(answer, chunks=chunks, end=end)

    def _wait_for_head(self, library: Any, request: Any, answer: Answer) -> float:
        """Return the seconds before the head. Raises the library's exception if none comes."""
        if answer.status is None:
            message = "Server disconnected without sending a response."
            raise library.RemoteProtocolError(message, request=request)
        patience = request.extensions.get("timeout", {}).get("read")
        if patience is not None and patience < answer.head_after:
            raise library.ReadTimeout("The read operation timed out", request=request)
        return 0 if self._speed is None else answer.head_after / self._speed

    def _response(self, library: Any, request: Any, answer: Answer, kind: Any) -> Any:
        def error(name: str, message: str) -> Exception:
            failure: Exception = getattr(library, name)(message, request=request)
            return failure

        body = body_class(kind, library)(answer, self._speed, error)
        headers = [(name.encode(), value.encode()) for name, value in answer.headers.items()]
        return library.Response(answer.status, headers=headers, stream=body)


def parsed(captured: Captured) -> Capture:
    """Return the capture in a file or in its content. Returns a capture unchanged."""
    match captured:
        case Capture():
            return captured
        case bytes():
            return parse_capture(captured)
        case str() | os.PathLike():
            return parse_capture(Path(captured).read_bytes())
        case _:
            raise TypeError(f"a {type(captured).__name__} is not a capture")


class Replayed:
    """The common part of both bodies: the chunks of an answer, and the wait before each.

    Args:
        answer: the answer.
        speed: the speed as a factor of the recorded speed. None never waits.
        error: makes the exception of the library with a name and a message.
    """

    def __init__(
        self, answer: Answer, speed: float | None, error: Callable[[str, str], Exception]
    ) -> None:
        self._chunks = iter(answer.chunks)
        self._end = answer.end
        self._speed = speed
        self._error = error
        self._start = time.monotonic()

    def _next(self) -> tuple[float, bytes] | None:
        """Return the seconds to wait and the next chunk, or None at the end of the body.

        Raises:
            Exception: the library's exception for a body that fails.
        """
        for chunk in self._chunks:
            if self._speed is None or chunk.at is None:
                return 0, chunk.data
            return self._start + chunk.at / self._speed - time.monotonic(), chunk.data
        if self._end is End.WHOLE:
            return None
        if self._end is End.PINGS:
            return SECONDS_BETWEEN_PINGS, PING
        raise self._error(*FAILURES[self._end])


class ReplayedBody(Replayed, Iterator[bytes]):
    """The body of an answer."""

    def __next__(self) -> bytes:
        step = self._next()
        if step is None:
            raise StopIteration
        wait, data = step
        if wait > 0:
            time.sleep(wait)
        return data

    def close(self) -> None:
        """End the body."""
        self._chunks, self._end = iter(()), End.WHOLE


class AsyncReplayedBody(Replayed, AsyncIterator[bytes]):
    """The body of an answer, asynchronously."""

    async def __anext__(self) -> bytes:
        step = self._next()
        if step is None:
            raise StopAsyncIteration
        wait, data = step
        if wait > 0:
            await sleep(wait)
        return data

    async def aclose(self) -> None:
        """End the body."""
        self._chunks, self._end = iter(()), End.WHOLE
