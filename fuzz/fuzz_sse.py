"""SSEDecoder: events or a LimitError, the same for every cut, within the limits."""

import pickle
from collections.abc import Iterable
from itertools import islice
from typing import Any, Final

import attrs

from cases import (
    FOR_A_VIOLATION,
    MEMORY,
    PICKLES,
    RESTLESS,
    Case,
    again,
    check_error,
    check_violations,
    facts_of,
    pickled,
    raises,
    same,
    singles,
)
from sansio_stream import (
    LimitError,
    Limits,
    ServerSentEvent,
    SSEDecoder,
    Violation,
    encode_sse,
)

# Beside the bytes of the stream: names of classes and members, the first kibibyte of the body, a
# reconnection time of 4,300 digits.
DECODER_OVERHEAD: Final = 4_000
# A byte that is not UTF-8 becomes three.
FOR_A_BYTE_OF_A_FRAME: Final = 4


@attrs.frozen
class Decoded:
    """All that a decoder has to say of a body."""

    events: tuple[ServerSentEvent, ...]
    last_event_id: str
    reconnection_time: int | None
    violations: tuple[Violation, ...]
    violation_count: int
    error: dict[str, Any] | None


def decode(chunks: Iterable[bytes], limits: Limits, *, restless: bool = False) -> Decoded:
    """Feed a body to a new decoder, say what came of it; `restless` drops iterators and pickles."""
    decoder = SSEDecoder(limits)
    events: list[ServerSentEvent] = []
    error = None
    try:
        for number, chunk in enumerate(chunks):
            taken = decoder.receive_data(chunk)
            if restless and number < PICKLES:
                events.extend(islice(taken, 1))
                decoder = pickled(decoder)
            else:
                events.extend(taken)
        events.extend(decoder.receive_eof())
        events.extend(decoder.receive_eof())
    except LimitError as caught:
        error = facts_of(caught)
        check_error(caught)
        raises(lambda: decoder.receive_data(b""), caught)
        raises(lambda: decoder.receive_data(b"data: x\n\n"), caught)
        raises(decoder.receive_eof, caught)
    check_violations(decoder.violations, decoder.violation_count, limits)
    return Decoded(
        tuple(events),
        decoder.last_event_id,
        decoder.reconnection_time,
        decoder.violations,
        decoder.violation_count,
        error,
    )


def sse_decoder(data: bytes) -> None:
    """Decode in several ways, and write each event again."""
    case = Case.of(data)
    limits = case.limits
    whole = decode([case.body], limits)
    same("fed byte by byte", whole, decode(singles(case.body), limits))
    in_pieces = decode(case.cuts(case.body), limits, restless=case.has(RESTLESS))
    same("fed in pieces", whole, in_pieces)
    for event in whole.events:
        reread = decode([encode_sse(event)], Limits())
        same("an event written and read again", (event,), reread.events)
    if case.has(MEMORY):
        check_memory_of_decoder(case.body, limits)


def check_memory_of_decoder(body: bytes, limits: Limits) -> None:
    """However much comes, a decoder holds a frame that has begun, the last id, and violations."""
    decoder = SSEDecoder(limits)
    try:
        for chunk in again(body):
            for _ in decoder.receive_data(chunk):
                pass
    except LimitError:
        return
    held = len(pickle.dumps(decoder))
    bound = (
        DECODER_OVERHEAD
        + FOR_A_VIOLATION * (1 + limits.violations)
        + FOR_A_BYTE_OF_A_FRAME * 2 * limits.event_bytes
    )
    assert held <= bound, f"a decoder holds {held} bytes, {bound} would be enough"
