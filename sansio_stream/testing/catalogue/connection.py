"""Faults of the connection: other heads, late and missing ends, no stream at all.

These faults change the answer that a server sends, so only a reader with a connection sees them.
"""

from __future__ import annotations

import json
import zlib
from typing import Final

import attrs

from ...capture import Chunk
from .answer import Answer, Asked, Change, End, frames_of
from .damage import Fault

__all__ = ["FAULTS", "PING", "failure"]

# Answers that are not a stream.

JSON: Final = "application/json"
HTML: Final = "text/html; charset=utf-8"


def instead(answer: Answer, status: int, content_type: str, body: str, **headers: str) -> Answer:
    """Return another answer to the same request."""
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
    """Return an error response in the format of the API."""
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
    """Return a change of every other answer, from the first on, so that a retry succeeds."""
    return lambda answer, asked: change(answer, asked) if asked.number % 2 else answer


def redirect(answer: Answer, asked: Asked) -> Answer:
    if asked.target.startswith(ELSEWHERE):
        return answer
    return instead(answer, 307, "", "", location=ELSEWHERE + asked.target)


# Streams that go wrong.

ELSEWHERE: Final = "/elsewhere"
SECONDS_BEFORE_A_HEAD: Final = 1
PING: Final = b'event: ping\ndata: {"type": "ping"}\n\n'


def first(answer: Answer, size: int) -> tuple[Chunk, ...]:
    """Return the first bytes of a body, in their chunks and with their times."""
    kept: list[Chunk] = []
    for chunk in answer.chunks:
        if size > 0:
            kept.append(attrs.evolve(chunk, data=chunk.data[:size]))
        size -= len(chunk.data)
    return tuple(kept)


def middle_of(body: bytes) -> tuple[int, int]:
    """Return the start and the end of the middle frame. A body without frames is one frame."""
    frames = frames_of(body) or [(0, len(body))]
    return frames[len(frames) // 2]


def first_half(answer: Answer) -> tuple[Chunk, ...]:
    """Return the frames before the middle one."""
    border, _ = middle_of(answer.body)
    return first(answer, border)


def half(end: End) -> Change:
    """Return the change that sends the first half of the frames and then ends as given."""
    return lambda answer, _: attrs.evolve(answer, chunks=first_half(answer), end=end)


def whole(end: End) -> Change:
    """Return the change that sends all frames and then ends as given."""
    return lambda answer, _: attrs.evolve(answer, end=end)


def cut_in_frame(answer: Answer, _: Asked) -> Answer:
    start, end = middle_of(answer.body)
    return attrs.evolve(answer, chunks=first(answer, (start + end) // 2), end=End.CLOSED)


def drip(answer: Answer, _: Asked) -> Answer:
    pieces = (
        attrs.evolve(chunk, data=bytes([byte])) for chunk in answer.chunks for byte in chunk.data
    )
    return attrs.evolve(answer, chunks=tuple(pieces))


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


def of_connection(name: str, description: str, change: Change) -> Fault:
    """Return a fault that changes the connection."""
    return Fault(name=name, description=description, answer_function=change)


FAULTS: Final = (
    # Faults of the end and of the head.
    of_connection("cut", "Half the frames arrive, then the connection closes.", half(End.CLOSED)),
    of_connection("cut_in_frame", "The connection closes inside a frame.", cut_in_frame),
    of_connection(
        "reset", "Half the frames arrive, then the connection is reset.", half(End.RESET)
    ),
    of_connection(
        "truncated", "All the frames arrive, but not the end of the body.", whole(End.CLOSED)
    ),
    of_connection("stall", "Half the frames arrive, then nothing.", half(End.SILENCE)),
    of_connection("ping_stall", "Half the frames arrive, then only pings.", half(End.PINGS)),
    of_connection(
        "stays_open",
        "All the frames arrive, then nothing.",
        whole(End.SILENCE),
    ),
    of_connection(
        "stays_open_pings", "All the frames arrive, then pings without end.", whole(End.PINGS)
    ),
    of_connection("no_head", "The connection closes without an answer.", no_head),
    of_connection("slow_head", "The head arrives one second late.", slow_head),
    # Faults of the delivery of the body.
    of_connection("drip", "The body arrives byte by byte.", drip),
    of_connection("gzip", "The body is compressed with gzip, if the request accepts it.", zipped),
    # The status is 200, but the body is not a stream.
    of_connection("html_200", "An HTML page, with status 200.", answers(200, HTML, PAGE)),
    of_connection(
        "json_200", "A message that is not streamed, with status 200.", answers(200, JSON, MESSAGE)
    ),
    # Another status.
    of_connection("400", "An `invalid_request_error`.", fails(400, "invalid_request_error", "Bad")),
    of_connection("401", "An `authentication_error`.", fails(401, "authentication_error", "Who?")),
    of_connection("402", "A `billing_error`.", fails(402, "billing_error", "Not paid")),
    of_connection("403", "A `permission_error`.", fails(403, "permission_error", "Not allowed")),
    of_connection("404", "A `not_found_error`.", fails(404, "not_found_error", "No such model")),
    of_connection("409", "A `conflict_error`.", fails(409, "conflict_error", "Conflict")),
    of_connection("413", "A `request_too_large`.", fails(413, "request_too_large", "Too large")),
    of_connection(
        "429", "A `rate_limit_error`, with `retry-after: 1`.", fails(*RATE, retry_after="1")
    ),
    of_connection(
        "429_once",
        "A `rate_limit_error`, with `retry-after-ms: 20`, for every other request.",
        every_other(fails(*RATE, retry_after_ms="20", retry_after="1")),
    ),
    of_connection("500", "An `api_error`.", fails(500, "api_error", "Internal server error")),
    of_connection("500_empty", "Status 500 with an empty body.", answers(500, "", "")),
    of_connection("503_html", "An HTML page, with status 503.", answers(503, HTML, PAGE)),
    of_connection("504", "A `timeout_error`.", fails(504, "timeout_error", "Timed out")),
    of_connection("529", "An `overloaded_error`.", fails(*OVERLOAD)),
    of_connection(
        "529_once",
        "An `overloaded_error`, with `retry-after-ms: 20`, for every other request.",
        every_other(fails(*OVERLOAD, retry_after_ms="20")),
    ),
    of_connection("redirect", "A 307 to another path, which returns the answer.", redirect),
)
"""The faults of the connection, in the order in which the help and the page list them."""
