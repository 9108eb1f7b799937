"""Fuzzes StreamMachine. Its promises are true for any bytes and any cut."""

import contextlib
import copy
import pickle
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import islice
from typing import Any, Final

import attrs

import wire
from cases import (
    FOR_A_VIOLATION,
    INTERRUPTED,
    MEMORY,
    PICKLES,
    STRICT,
    WHOLE_STRINGS,
    Case,
    check_equal,
    check_error,
    check_first_loss,
    check_raises_again,
    check_violations,
    facts_of,
    pickled,
    repeated,
    single_bytes,
)
from sansio_stream import (
    APIError,
    APIStatusError,
    ContentBlock,
    ContentBlockDeltaEvent,
    ContentBlockStartEvent,
    ContentBlockStopEvent,
    IncompleteMessageError,
    InputJSONDelta,
    InvalidJSONError,
    Limits,
    Message,
    MessageStartEvent,
    MessageStreamEvent,
    NotAnEventStreamError,
    ProtocolError,
    SSEDecoder,
    State,
    StreamMachine,
    Verdict,
    Violation,
    ViolationCode,
    encode_event,
    event_from_dict,
    message_from_dict,
)
from sansio_stream.message import InputBlock
from sansio_stream.partial_json import loads

# The overhead is larger than that of a decoder, because a pickle of a machine has more names.
# Measured: a content block that is `{}` in the stream takes 100 bytes, and one that has grown takes
# 450. A citation that is `{}` takes 8 bytes for each byte of the stream, which is the maximum.
MACHINE_OVERHEAD: Final = 6_000
FOR_A_BLOCK: Final = 500
FOR_A_BYTE: Final = 10

RAISED: Final[dict[Verdict, type[APIError]]] = {
    Verdict.PENDING: IncompleteMessageError,
    Verdict.UNTERMINATED: IncompleteMessageError,
    Verdict.DAMAGED: IncompleteMessageError,
    Verdict.TRUNCATED: IncompleteMessageError,
    Verdict.EMPTY: IncompleteMessageError,
    Verdict.ERRORED: APIStatusError,
    Verdict.BROKEN: ProtocolError,
    Verdict.NOT_AN_EVENT_STREAM: NotAnEventStreamError,
}
"""The exceptions of `final_message` by verdict."""


@attrs.frozen
class ReadResult:
    """All results of a machine for a body.

    Attributes:
        events: the events.
        numbers: the number of each event.
        moments: the state of the machine after each event, if it was observed.
    """

    events: tuple[MessageStreamEvent, ...]
    numbers: tuple[int, ...]
    moments: tuple[wire.Observation, ...]
    violations: tuple[Violation, ...]
    violation_count: int
    first_loss: Violation | None
    verdict: Verdict
    state: State
    error: dict[str, Any] | None
    snapshot: Message | None


def read(
    chunks: Iterable[bytes],
    limits: Limits,
    *,
    strict: bool,
    partial_strings: bool = True,
    fast_path: bool = True,
    observe: bool = False,
    interrupted: bool = False,
) -> tuple[StreamMachine, ReadResult]:
    """Read a body with a new machine, and return the machine and its results.

    Args:
        chunks: the body.
        limits: the limits of the machine.
        strict: whether the machine is strict.
        partial_strings: whether the machine shows unfinished strings.
        fast_path: whether the machine uses the fast path.
        observe: whether all attributes of the machine are read after each event.
        interrupted: whether iterators are dropped and the machine is pickled and copied.
    """
    machine = StreamMachine(
        strict=strict, limits=limits, partial_strings=partial_strings, fast_path=fast_path
    )
    events: list[MessageStreamEvent] = []
    numbers: list[int] = []
    moments: list[wire.Observation] = []
    verdict = Verdict.PENDING

    def take(taken: Iterator[MessageStreamEvent]) -> None:
        nonlocal verdict
        for event in taken:
            events.append(event)
            numbers.append(machine.event_number)
            assert verdict in (Verdict.PENDING, machine.verdict), "the verdict has changed"
            verdict = machine.verdict
            if observe:
                moments.append(wire.Observation.of(machine, event))
            if interrupted and len(events) % 2:
                return

    error = None
    try:
        for number, chunk in enumerate(chunks):
            take(machine.receive_data(chunk))
            if interrupted and number < PICKLES:
                machine = pickled(machine) if number % 2 else copy.deepcopy(machine)
        take(machine.receive_eof())
        take(machine.connection_lost(OSError()))
        interrupted = False
        take(machine.receive_eof())
    except ProtocolError as caught:
        error = facts_of(caught)
        check_error(caught)
        check_raises_again(lambda: machine.receive_data(b""), caught)
        check_raises_again(lambda: machine.receive_event({"type": "ping"}), caught)
        check_raises_again(machine.receive_eof, caught)
        assert not list(machine.connection_lost()), "events after a fatal error"
        assert machine.state is State.FAILED, machine.state
    assert verdict in (Verdict.PENDING, machine.verdict), "the verdict has changed"
    assert machine.verdict is not Verdict.PENDING, "the stream has ended without a verdict"
    assert machine.events_taken == len(events), "events_taken is wrong"
    check_violations(machine.violations, machine.violation_count, limits)
    check_first_loss(machine.first_loss, machine.violations, machine.violation_count)
    check_losses(machine)
    return machine, ReadResult(
        tuple(events),
        tuple(numbers),
        tuple(moments),
        machine.violations,
        machine.violation_count,
        machine.first_loss,
        machine.verdict,
        machine.state,
        error,
        machine.snapshot,
    )


NOTHING_LOST: Final = (Verdict.COMPLETE, Verdict.UNTERMINATED, Verdict.EMPTY)


def check_losses(machine: StreamMachine) -> None:
    """Check that a stream with a loss is never complete and that a damaged one names its loss."""
    verdict, loss, message = machine.verdict, machine.first_loss, machine.snapshot
    assert loss is None or verdict not in NOTHING_LOST, f"{verdict} in spite of {loss!r}"
    assert loss is not None or verdict is not Verdict.DAMAGED, "DAMAGED without a loss"
    is_complete = message is not None and message.complete
    assert is_complete is (verdict is Verdict.COMPLETE), "`complete` contradicts the verdict"


def check_final_message(machine: StreamMachine, *, strict: bool) -> None:
    """Check that `final_message` agrees with the verdict, also when it is called twice."""
    verdict = machine.verdict
    for _ in range(2):
        try:
            message = machine.final_message()
        except APIError as error:
            check_error(error)
            expected = RAISED.get(verdict)
            assert expected is not None, f"{verdict} raises {error!r}"
            assert isinstance(error, expected), f"{verdict} raises {error!r}"
            assert error.verdict is verdict, f"{verdict}, but the error has {error.verdict}"
            if isinstance(error, IncompleteMessageError):
                loss = machine.first_loss if verdict is Verdict.DAMAGED else None
                check_equal("the loss that the error names", loss, error.first_loss)
            check_equal("the partial message", machine.snapshot, error.partial_message)
        else:
            unterminated = verdict is Verdict.UNTERMINATED and not strict
            assert verdict is Verdict.COMPLETE or unterminated, f"{verdict} gives a final message"
            is_complete = verdict is Verdict.COMPLETE
            assert message.complete is is_complete, "`complete` contradicts the verdict"
            check_equal("the final message", machine.snapshot, message)
        assert machine.verdict is verdict, "final_message has changed the verdict"


def check_lossless(result: ReadResult, limits: Limits) -> None:
    """Check that a stream written from the events gives the same events and the same message."""
    for event in result.events:
        payload = event.to_dict()
        check_equal("an event's payload", payload, event_from_dict(payload).to_dict())
    if result.snapshot is not None:
        payload = result.snapshot.to_dict()
        check_equal("the message's payload", payload, message_from_dict(payload).to_dict())
    try:
        written = b"".join(map(encode_event, result.events))
    except ValueError:  # encode_event rejects infinity and a name with a line end
        return
    # The other limits are about the bytes of the original stream.
    _, reread = read([written], Limits(blocks=limits.blocks), strict=False)
    if result.first_loss is not None:
        # The lost content is not in the events. So an input that had a loss is complete here.
        payloads = [[event.to_dict() for event in each.events] for each in (result, reread)]
        check_equal("the payloads of events written and read again", *payloads)
        return
    check_equal("events written and read again", result.events, reread.events)
    check_equal("the message of events read again", result.snapshot, reread.snapshot)
    if result.verdict not in (Verdict.BROKEN, Verdict.NOT_AN_EVENT_STREAM):
        # A cut last frame is not written, so the new stream does not show that more should follow.
        kept = [violation.code for violation in result.violations]
        was_cut = ViolationCode.CUT_FRAME in kept or result.violation_count > len(kept)
        if not (was_cut and reread.verdict is Verdict.UNTERMINATED):
            check_equal("the verdict of events read again", result.verdict, reread.verdict)


def check_strict(lenient: ReadResult, strict: ReadResult) -> None:
    """Check that strict reading equals lenient reading up to the first violation.

    Strict reading only tolerates violations of the end of the stream.
    """
    check_equal("strict, before its error", lenient.events[: len(strict.events)], strict.events)
    if strict.error is None or not lenient.violation_count:
        check_equal("strict", attrs.evolve(lenient, moments=()), attrs.evolve(strict, moments=()))
        allowed = {
            ViolationCode.CUT_FRAME,
            ViolationCode.MISSING_MESSAGE_STOP,
            ViolationCode.FALLING_USAGE,
        }
        codes = {violation.code for violation in strict.violations}
        if ViolationCode.CUT_FRAME in codes:
            allowed.add(ViolationCode.MISSING_BLANK_LINE)
        if strict.verdict is Verdict.NOT_AN_EVENT_STREAM:
            allowed |= {
                ViolationCode.UNKNOWN_FIELD,
                ViolationCode.INVALID_UTF8,
                ViolationCode.INVALID_RETRY,
            }
        assert codes <= allowed, f"strict reading tolerates {codes - allowed}"
    assert strict.first_loss is None, f"strict reading tolerates a loss: {strict.first_loss!r}"
    assert strict.verdict is not Verdict.DAMAGED, "strict reading ends with DAMAGED"


@attrs.define
class Call:
    """A block that may have an input.

    Attributes:
        index: its index.
        start: the number of the frame in which it starts.
        stop: the number of the frame in which it stops.
    """

    index: int
    start: int
    stop: float = float("inf")


def calls_of(result: ReadResult) -> list[Call | None]:
    """Return the calls of the message, in the order of its content.

    A block that was already in message_start is None.
    """
    calls: list[Call | None] = []
    newest: dict[int, Call] = {}
    for number, event in zip(result.numbers, result.events, strict=True):
        match event:
            case MessageStartEvent(message=message):
                calls = [None] * len(message.content)
            case ContentBlockStartEvent(index=index):
                newest[index] = Call(index, number)
                later = (
                    at
                    for at, call in enumerate(calls)
                    if (at if call is None else call.index) > index
                )
                calls.insert(next(later, len(calls)), newest[index])
            case ContentBlockStopEvent(index=index) if index in newest:
                newest[index].stop = number
            case _:
                pass
    return calls


def lost_pieces(result: ReadResult, body: bytes, limits: Limits) -> Iterator[tuple[int, object]]:
    """Yield the pieces of inputs that are in no event: the number of the frame, and its index.

    The function reads the frames itself, up to the end of the message.
    """
    numbered = list(zip(result.numbers, result.events, strict=True))
    ends = (number for number, event in numbered if event.type in ("message_stop", "error"))
    last = next(ends, max(result.numbers, default=0))
    in_events = {
        number
        for number, event in numbered
        if isinstance(event, ContentBlockDeltaEvent) and isinstance(event.delta, InputJSONDelta)
    }
    for number, frame in enumerate(islice(SSEDecoder(limits).receive_data(body), last), 1):
        with contextlib.suppress(InvalidJSONError):
            match loads(frame.data, limits.depth):
                case {
                    "type": "content_block_delta",
                    "delta": {"type": "input_json_delta", "partial_json": piece},
                    **members,
                } if piece and number not in in_events:
                    yield number, members.get("index")
                case _:
                    pass


def check_inputs(result: ReadResult, body: bytes, limits: Limits) -> None:
    """Check that no input with a lost piece is complete, whatever the reason of the loss is."""
    if result.snapshot is None or result.first_loss is None:
        return
    content = dict(zip(map(id, calls := calls_of(result)), result.snapshot.content, strict=True))
    for number, index in lost_pieces(result, body, limits):
        started = [call for call in calls if call and call.start < number]
        named = [call for call in started if type(index) is int and call.index == index][-1:]
        # If the index of a piece is that of an open call, the piece belongs to this call.
        # Otherwise it may belong to any open call.
        owners = [call for call in named if call.stop > number and has_input(content[id(call)])]
        owners = owners or [*named, *(call for call in started if call.stop > number)]
        for call in owners:
            block = content[id(call)]
            is_whole = isinstance(block, InputBlock) and block.input_state == "complete"
            assert not is_whole, f"an input is complete, although a piece was lost: {block!r}"


def has_input(block: ContentBlock) -> bool:
    """Return whether a block has an input that grows."""
    return isinstance(block, InputBlock)


def stream_machine(data: bytes) -> None:
    """Read a body in several ways, observe it early and late, and compare all results."""
    case = Case.of(data)
    limits, strict, strings = case.limits, case.has(STRICT), not case.has(WHOLE_STRINGS)
    machine, whole = read([case.body], limits, strict=strict, partial_strings=strings, observe=True)
    unobserved = attrs.evolve(whole, moments=())
    _, in_bytes = read(single_bytes(case.body), limits, strict=strict, partial_strings=strings)
    check_equal("read in single bytes, not observed", unobserved, in_bytes)
    _, in_pieces = read(
        case.cuts(case.body),
        limits,
        strict=strict,
        partial_strings=strings,
        observe=True,
        interrupted=case.has(INTERRUPTED),
    )
    check_equal("read in pieces", whole, in_pieces)
    if whole.moments:
        at = case.choices[7] % len(whole.moments)
        fresh = StreamMachine(strict=strict, limits=limits, partial_strings=strings)
        moment = first_moment(fresh, case.body, at)
        check_equal("first observed after some events", whole.moments[at], moment)
    _, plain = read(
        [case.body], limits, strict=strict, partial_strings=strings, fast_path=False, observe=True
    )
    check_equal("without the fast path", plain, whole)
    _, other = read([case.body], limits, strict=not strict)
    check_strict(*((other, unobserved) if strict else (unobserved, other)))
    check_final_message(machine, strict=strict)
    check_lossless(whole, limits)
    check_inputs(whole, case.body, limits)
    if case.has(MEMORY):
        check_memory(case.body, limits, strict=strict)


def first_moment(machine: StreamMachine, body: bytes, at: int) -> wire.Observation:
    """Take events from a new machine. Observe it for the first time after event `at`."""
    events = (
        event
        for receive in (partial(machine.receive_data, body), machine.receive_eof)
        for event in receive()
    )
    return wire.Observation.of(machine, next(islice(events, at, None)))


def check_memory(body: bytes, limits: Limits, *, strict: bool) -> None:
    """Check that the memory of a machine stays within its limits, however long the stream is."""
    machine = StreamMachine(strict=strict, limits=limits)
    try:
        for chunk in repeated(body):
            for _ in machine.receive_data(chunk):
                pass
    except ProtocolError:
        pass
    size = len(pickle.dumps(machine))
    message = machine.snapshot
    blocks = 0 if message is None else len(message.content)
    assert blocks <= limits.blocks, f"{blocks} blocks"
    # The start of the message, the data of the message_deltas, the start and the content of each
    # block, and an unfinished frame.
    bytes_held = (2 + blocks) * limits.event_bytes + (1 + blocks) * limits.block_bytes
    bound = (
        MACHINE_OVERHEAD
        + FOR_A_VIOLATION * (1 + limits.violations)
        + FOR_A_BLOCK * blocks
        + FOR_A_BYTE * min(bytes_held, machine.bytes_received)
    )
    assert size <= bound, f"a machine takes {size} bytes, and the bound is {bound}"
