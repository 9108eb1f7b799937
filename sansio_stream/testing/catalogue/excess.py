"""Faults of size. They need a reader whose limits are known."""

from __future__ import annotations

from ...errors import Verdict
from .damage import LegalStream, fault


@fault(
    Verdict.BROKEN,
    problem="microsoft/Agents-for-python#507",
    codes=["event_bytes"],
    needs=["text"],
    limit="event_bytes",
)
def oversize_event(stream: LegalStream) -> bytes:
    """An event is larger than the limit of the reader."""
    return stream.body_with_text(b"a" * stream.limits.event_bytes)


@fault(Verdict.BROKEN, codes=["event_bytes"], limit="event_bytes")
def endless_line(stream: LegalStream) -> bytes:
    """A line never ends."""
    end = stream.choose(range(stream.place("message_stop")))
    return stream.style.joined(stream.frames()[:end]) + b"data: " + b"a" * stream.limits.event_bytes


@fault(Verdict.BROKEN, codes=["block_bytes"], needs=["text"], limit="block_bytes")
def endless_block(stream: LegalStream) -> bytes:
    """A block never ends."""
    place = stream.telling_place("text_delta")
    count = stream.limits.block_bytes // len(stream.style.frame(stream.payloads[place])) + 1
    stream.payloads[place:place] = [stream.payloads[place]] * count
    return stream.body()


@fault(Verdict.BROKEN, codes=["total_bytes"], limit="total_bytes")
def endless_pings(stream: LegalStream) -> bytes:
    """A stream sends pings and never ends."""
    ping = {"type": "ping"}
    count = (stream.limits.total_bytes or 0) // len(stream.style.frame(ping)) + 1
    end = stream.place("message_stop")
    stream.payloads[end:end] = [ping] * count
    return stream.body()


@fault(Verdict.BROKEN, codes=["blocks"], may=["index_reused"], needs=["text"], limit="blocks")
def too_many_blocks(stream: LegalStream) -> bytes:
    """A message has more blocks than the limit of the reader."""
    last = stream.places("content_block_stop")[-1]
    stop = stream.payloads[last]
    start = {
        "type": "content_block_start",
        "index": stop["index"],
        "content_block": {"type": "text", "text": ""},
    }
    stream.payloads[last + 1 : last + 1] = [start, stop] * stream.limits.blocks
    return stream.body()
