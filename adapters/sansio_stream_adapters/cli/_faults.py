"""Faults: an answer in, the answer with one thing wrong with it out. Knows no server and no clock.

An answer is a value: a head, chunks with their times, and how it ends. What becomes of it on a
connection is decided by who sends it.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Callable
from enum import Enum
from typing import Final, TypeAlias

import attrs

from sansio_stream.capture import Chunk

from ._cut import recut, sizes_from

__all__ = ["FAULTS", "PING", "Answer", "Asked", "End", "Fault", "failure"]


class End(Enum):
    """What comes after the last chunk of an answer."""

    WHOLE = "the end of the body, as HTTP marks it"
    CLOSED = "no end of the body: the connection is closed"
    RESET = "no end of the body: the connection is reset"
    SILENCE = "nothing, and the connection stays open"
    PINGS = "pings without end"


@attrs.frozen(kw_only=True)
class Answer:
    """What is sent for one request.

    Attributes:
        status: None for no head at all: only `end` comes.
        chunks: the body; a chunk without a time comes at once.
        head_after: seconds before the head.
    """

    status: int | None
    headers: dict[str, str]
    chunks: tuple[Chunk, ...]
    end: End = End.WHOLE
    head_after: float = 0

    @property
    def body(self) -> bytes:
        """All chunks joined."""
        return b"".join(chunk.data for chunk in self.chunks)


@attrs.frozen(kw_only=True)
class Asked:
    """What a fault may depend on; `number` counts the requests that asked for it, from 1."""

    target: str
    accepts_gzip: bool
    number: int


Change: TypeAlias = Callable[[Answer, Asked], Answer]


@attrs.frozen
class Fault:
    """A name to ask for it, a sentence that says what one gets, and what makes it."""

    name: str
    sentence: str
    change: Change


# Answers that are no stream.

JSON: Final = "application/json"
HTML: Final = "text/html; charset=utf-8"


def instead(answer: Answer, status: int, content_type: str, body: str, **headers: str) -> Answer:
    """Return an answer of another kind to the same request."""
    data = body.encode()
    head = {"content-type": content_type} if content_type else {}
    return Answer(
        status=status,
        headers={
            **head,
            "content-length": str(len(data)),
            "request-id": answer.headers["request-id"],
            **{name.replace("_", "-"): value for name, value in headers.items()},
        },
        chunks=(Chunk(None, data),),
    )


def failure(answer: Answer, status: int, kind: str, message: str, **headers: str) -> Answer:
    """Return a failure in the API's shape."""
    body = {
        "type": "error",
        "error": {"type": kind, "message": message},
        "request_id": answer.headers["request-id"],
    }
    return instead(answer, status, JSON, json.dumps(body), **headers)


def fails(status: int, kind: str, message: str, **headers: str) -> Change:
    return lambda answer, _: failure(answer, status, kind, message, **headers)


def answers(status: int, content_type: str, body: str) -> Change:
    return lambda answer, _: instead(answer, status, content_type, body)


def every_other(change: Change) -> Change:
    """Return a change of the first request, the third, ..., so that who asks again is served."""
    return lambda answer, asked: change(answer, asked) if asked.number % 2 else answer


def redirect(answer: Answer, asked: Asked) -> Answer:
    if asked.target.startswith(ELSEWHERE):
        return answer
    return instead(answer, 307, "", "", location=ELSEWHERE + asked.target)


# Streams that go wrong.

BLANK_LINE: Final = re.compile(rb"(?>\r\n?|\n){2}")
ELSEWHERE: Final = "/elsewhere"
SECONDS_BEFORE_A_HEAD: Final = 1
PING: Final = b'event: ping\ndata: {"type": "ping"}\n\n'
OVERLOADED: Final = (
    b'event: error\ndata: {"type":"error","error":'
    b'{"type":"overloaded_error","message":"Overloaded"}}\n\n'
)


def first(answer: Answer, size: int) -> tuple[Chunk, ...]:
    """Return the first bytes of a body, in the chunks and at the times in which they came."""
    kept: list[Chunk] = []
    for chunk in answer.chunks:
        if size > 0:
            kept.append(attrs.evolve(chunk, data=chunk.data[:size]))
        size -= len(chunk.data)
    return tuple(kept)


def frames_of(body: bytes) -> list[tuple[int, int]]:
    """Return where each frame begins and ends."""
    ends = [blank.end() for blank in BLANK_LINE.finditer(body)]
    return list(zip([0, *ends], ends, strict=False))


def middle_of(body: bytes) -> tuple[int, int]:
    """Return where the middle frame begins and ends; a body without frames is one."""
    frames = frames_of(body) or [(0, len(body))]
    return frames[len(frames) // 2]


def first_half(answer: Answer) -> tuple[Chunk, ...]:
    """Return the frames before the middle one."""
    border, _ = middle_of(answer.body)
    return first(answer, border)


def half(end: End) -> Change:
    """Return the change that sends the first half, and then ends so."""
    return lambda answer, _: attrs.evolve(answer, chunks=first_half(answer), end=end)


def whole(end: End) -> Change:
    """Return the change that sends all, and then ends so."""
    return lambda answer, _: attrs.evolve(answer, end=end)


def cut_in_frame(answer: Answer, _: Asked) -> Answer:
    start, end = middle_of(answer.body)
    return attrs.evolve(answer, chunks=first(answer, (start + end) // 2), end=End.CLOSED)


def drip(answer: Answer, _: Asked) -> Answer:
    return attrs.evolve(answer, chunks=tuple(recut(answer.chunks, sizes_from("bytes"))))


def zipped(answer: Answer, asked: Asked) -> Answer:
    if not asked.accepts_gzip:
        return answer
    gzip = zlib.compressobj(wbits=31)
    chunks = [
        attrs.evolve(chunk, data=gzip.compress(chunk.data) + gzip.flush(zlib.Z_SYNC_FLUSH))
        for chunk in answer.chunks
    ]
    return attrs.evolve(
        answer,
        headers={**answer.headers, "content-encoding": "gzip"},
        chunks=(*chunks, Chunk(None, gzip.flush())),
    )


def error_first(answer: Answer, _: Asked) -> Answer:
    return attrs.evolve(answer, chunks=(Chunk(None, OVERLOADED),), end=End.WHOLE)


def error_in_stream(answer: Answer, _: Asked) -> Answer:
    chunks = (*first_half(answer), Chunk(None, OVERLOADED))
    return attrs.evolve(answer, chunks=chunks, end=End.WHOLE)


def no_message_stop(answer: Answer, _: Asked) -> Answer:
    body = answer.body
    for start, end in reversed(frames_of(body)):
        if b'"message_stop"' in body[start:end]:
            return attrs.evolve(answer, chunks=first(answer, start), end=End.WHOLE)
    return answer


def no_head(answer: Answer, _: Asked) -> Answer:
    return attrs.evolve(answer, status=None, chunks=(), end=End.CLOSED)


def slow_head(answer: Answer, _: Asked) -> Answer:
    return attrs.evolve(answer, head_after=SECONDS_BEFORE_A_HEAD)


PAGE: Final = "<!doctype html>\n<title>Bad gateway</title>\n<h1>Bad gateway</h1>\n"
MESSAGE: Final = json.dumps(
    {
        "id": "msg_not_streamed",
        "type": "message",
        "role": "assistant",
        "model": "claude-not-streamed",
        "content": [{"type": "text", "text": "This answer is not streamed."}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 8, "output_tokens": 8},
    }
)

RATE: Final = (429, "rate_limit_error", "Too many requests")
OVERLOAD: Final = (529, "overloaded_error", "Overloaded")

FAULTS: Final = {
    fault.name: fault
    for fault in (
        # What the connection does.
        Fault("cut", "Half the frames, then the connection is closed.", half(End.CLOSED)),
        Fault("cut-in-frame", "The connection is closed inside a frame.", cut_in_frame),
        Fault("reset", "Half the frames, then the connection is reset.", half(End.RESET)),
        Fault("truncated", "All the frames, but no end of the body.", whole(End.CLOSED)),
        Fault("stall", "Half the frames, then silence.", half(End.SILENCE)),
        Fault("ping-stall", "Half the frames, then nothing but pings.", half(End.PINGS)),
        Fault("stays-open", "All the frames, then silence.", whole(End.SILENCE)),
        Fault("stays-open-pings", "All the frames, then pings without end.", whole(End.PINGS)),
        Fault("no-head", "The connection is closed without an answer.", no_head),
        Fault("slow-head", "The head comes a second late.", slow_head),
        # How the body comes.
        Fault("drip", "Each byte comes by itself.", drip),
        Fault("gzip", "The body is compressed, if the request accepts that.", zipped),
        # What a stream says.
        Fault("error-first", "A stream whose only frame is an overloaded_error.", error_first),
        Fault("error-in-stream", "Half the frames, then an overloaded_error.", error_in_stream),
        Fault("no-message-stop", "The body ends before message_stop.", no_message_stop),
        # No stream, though the status is 200.
        Fault("html-200", "A page of HTML.", answers(200, HTML, PAGE)),
        Fault("json-200", "A message that is not streamed.", answers(200, JSON, MESSAGE)),
        Fault("empty-200", "A stream without a byte.", answers(200, "text/event-stream", "")),
        # Another status.
        Fault("400", "An invalid_request_error.", fails(400, "invalid_request_error", "Bad")),
        Fault("401", "An authentication_error.", fails(401, "authentication_error", "Who?")),
        Fault("402", "A billing_error.", fails(402, "billing_error", "Not paid")),
        Fault("403", "A permission_error.", fails(403, "permission_error", "Not allowed")),
        Fault("404", "A not_found_error.", fails(404, "not_found_error", "No such model")),
        Fault("409", "A conflict_error.", fails(409, "conflict_error", "Conflict")),
        Fault("413", "A request_too_large.", fails(413, "request_too_large", "Too large")),
        Fault("429", "A rate_limit_error, with `retry-after: 1`.", fails(*RATE, retry_after="1")),
        Fault(
            "429-once",
            "The same with `retry-after-ms: 20`, to every other request only.",
            every_other(fails(*RATE, retry_after_ms="20", retry_after="1")),
        ),
        Fault("500", "An api_error.", fails(500, "api_error", "Internal server error")),
        Fault("500-empty", "No body at all.", answers(500, "", "")),
        Fault("503-html", "A page of HTML.", answers(503, HTML, PAGE)),
        Fault("504", "A timeout_error.", fails(504, "timeout_error", "Timed out")),
        Fault("529", "An overloaded_error.", fails(*OVERLOAD)),
        Fault(
            "529-once",
            "The same with `retry-after-ms: 20`, to every other request only.",
            every_other(fails(*OVERLOAD, retry_after_ms="20")),
        ),
        Fault("redirect", "307 to another path, where the answer is.", redirect),
    )
}
"""By name, in the order in which to show them."""
