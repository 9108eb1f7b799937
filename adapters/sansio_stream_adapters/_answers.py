"""Answers: a capture in, the answer that a server or a transport gives from it out.

The module does no I/O and knows no clock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sansio_stream.capture import Chunk
from sansio_stream.testing import FAULTS, Answer, End, Fault

if TYPE_CHECKING:
    from sansio_stream.capture import Capture

__all__ = ["SECONDS_BETWEEN_PINGS", "SERVED", "answer_of"]

SECONDS_BETWEEN_PINGS: Final = 0.1

SERVED: Final[dict[str, Fault]] = {
    fault.name.replace("_", "-"): fault
    for kind in ("connection", "bytes")
    for fault in FAULTS.values()
    if fault.kind == kind and not fault.limit
}
"""The faults that can be selected for an answer, by their name with hyphens.

The faults that exceed a limit are left out, because the limits of the reader are not known.
"""


def answer_of(capture: Capture, request_id: str) -> Answer:
    """Return the recorded answer. `request_id` is used if the capture contains none."""
    header, end = capture.header, capture.end
    head = {
        "content-type": "text/event-stream; charset=utf-8",
        "cache-control": "no-cache",
        "request-id": request_id,
    }
    chunks = capture.chunks
    if end is not None:
        chunks = (*chunks, Chunk(end.at, b""))  # the pause before the end is replayed too
    return Answer(
        status=header.status or 200,
        headers={**head, **header.headers},
        chunks=chunks,
        # If the capture has no end, the rest of the answer is unknown. A closed connection is the
        # only end that does not pretend that the answer is complete.
        end=End.CLOSED if end is None or end.error is not None else End.WHOLE,
    )
