"""Fuzzes SSEDecoder. Every cut gives the same events or the same LimitError, within the limits."""

import pickle
from collections.abc import Iterable
from itertools import islice
from typing import Any, Final

import attrs

from cases import (
    FOR_A_VIOLATION,
    INTERRUPTED,
    MEMORY,
    PICKLES,
    Case,
    check_equal,
    check_error,
    check_raises_again,
    check_violations,
    facts_of,
    pickled,
    repeated,
    single_bytes,
)
from sansio_stream import (
    LimitError,
    Limits,
    ServerSentEvent,
    SSEDecoder,
    Violation,
    encode_sse,
)

# A pickle contains more than bytes of the stream: the names of classes and members, the first
# kibibyte of the body, a reconnection time of 4,300 digits.
DECODER_OVERHEAD: Final = 4_000
# A byte that is not UTF-8 becomes three.
FOR_A_BYTE_OF_A_FRAME: Final = 4


@attrs.frozen
class Decoded:
    """All results of a decoder for a body."""

    events: tuple[ServerSentEvent, ...]
    last_event_id: str
    reconnection_time: int | None
    violations: tuple[Violation, ...]
    violation_count: int
    error: dict[str, Any] | None


def decode(chunks: Iterable[bytes], limits: Limits, *, interrupted: bool = False) -> Decoded:
    """Decode a body with a new decoder, and return its results.

    Args:
        chunks: the body.
        limits: the limits of the decoder.
        interrupted: whether iterators are dropped and the decoder is pickled.
    """
    decoder = SSEDecoder(limits)
    events: list[ServerSentEvent] = []
    error = None
    try:
        for number, chunk in enumerate(chunks):
            taken = decoder.receive_data(chunk)
            if interrupted and number < PICKLES:
                events.extend(islice(taken, 1))
                decoder = pickled(decoder)
            else:
                events.extend(taken)
        events.extend(decoder.receive_eof())
        events.extend(decoder.receive_eof())
    except LimitError as caught:
        error = facts_of(caught)
        check_error(caught)
        check_raises_again(lambda: decoder.receive_data(b""), caught)
        check_raises_again(lambda: decoder.receive_data(b"data: x\n\n"), caught)
        check_raises_again(decoder.receive_eof, caught)
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
    """Decode a body in several ways. Encode each event and decode it again."""
    case = Case.of(data)
    limits = case.limits
    whole = decode([case.body], limits)
    check_equal("read in single bytes", whole, decode(single_bytes(case.body), limits))
    in_pieces = decode(case.cuts(case.body), limits, interrupted=case.has(INTERRUPTED))
    check_equal("read in pieces", whole, in_pieces)
    for event in whole.events:
        reread = decode([encode_sse(event)], Limits())
        check_equal("an event written and read again", (event,), reread.events)
    if case.has(MEMORY):
        check_memory_of_decoder(case.body, limits)


def check_memory_of_decoder(body: bytes, limits: Limits) -> None:
    """Check that a decoder only stores an unfinished frame, the last id and violations.

    This is true however long the stream is.
    """
    decoder = SSEDecoder(limits)
    try:
        for chunk in repeated(body):
            for _ in decoder.receive_data(chunk):
                pass
    except LimitError:
        return
    size = len(pickle.dumps(decoder))
    bound = (
        DECODER_OVERHEAD
        + FOR_A_VIOLATION * (1 + limits.violations)
        + FOR_A_BYTE_OF_A_FRAME * 2 * limits.event_bytes
    )
    assert size <= bound, f"a decoder takes {size} bytes, and the bound is {bound}"
