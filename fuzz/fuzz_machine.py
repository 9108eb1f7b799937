"""StreamMachine: its promises, for any bytes and any cut."""

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
    MEMORY,
    PICKLES,
    RESTLESS,
    STRICT,
    WHOLE_STRINGS,
    Case,
    again,
    check_error,
    check_first_loss,
    check_violations,
    facts_of,
    pickled,
    raises,
    same,
    singles,
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

# There are more names than in a decoder. Measured: a content block that came as `{}` is held as 100
# bytes, one that has grown as 450; a citation that came as `{}` as 8 for each byte of the stream,
# which is the most of all.
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
"""What `final_message` raises where it returns nothing."""


@attrs.frozen
class Read:
    """All that a machine has to say of a body, the number of each event included; moments are kept
    where somebody looked.
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
    look: bool = False,
    restless: bool = False,
) -> tuple[StreamMachine, Read]:
    """Feed a body to a new machine and say what came of it.

    `look` looks at everything after each event. `restless` drops iterators, pickles and copies.
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
            assert verdict in (Verdict.PENDING, machine.verdict), "a verdict has changed"
            verdict = machine.verdict
            if look:
                moments.append(wire.Observation.of(machine, event))
            if restless and len(events) % 2:
                return

    error = None
    try:
        for number, chunk in enumerate(chunks):
            take(machine.receive_data(chunk))
            if restless and number < PICKLES:
                machine = pickled(machine) if number % 2 else copy.deepcopy(machine)
        take(machine.receive_eof())
        take(machine.connection_lost(OSError()))
        restless = False
        take(machine.receive_eof())
    except ProtocolError as caught:
        error = facts_of(caught)
        check_error(caught)
        raises(lambda: machine.receive_data(b""), caught)
        raises(lambda: machine.receive_event({"type": "ping"}), caught)
        raises(machine.receive_eof, caught)
        assert not list(machine.connection_lost()), "events after a fatal error"
        assert machine.state is State.FAILED, machine.state
    assert verdict in (Verdict.PENDING, machine.verdict), "a verdict has changed"
    assert machine.verdict is not Verdict.PENDING, "an end without a verdict"
    assert machine.events_taken == len(events), "events are miscounted"
    check_violations(machine.violations, machine.violation_count, limits)
    check_first_loss(machine.first_loss, machine.violations, machine.violation_count)
    check_losses(machine)
    return machine, Read(
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
    """What lost something is never complete, and what is damaged says by what."""
    verdict, loss, message = machine.verdict, machine.first_loss, machine.snapshot
    assert loss is None or verdict not in NOTHING_LOST, f"{verdict}, and {loss!r}"
    assert loss is not None or verdict is not Verdict.DAMAGED, "damaged, and by nothing"
    is_complete = message is not None and message.complete
    assert is_complete is (verdict is Verdict.COMPLETE), "complete without the proof"


def check_final_message(machine: StreamMachine, *, strict: bool) -> None:
    """The verdict says what `final_message` does, any number of times."""
    verdict = machine.verdict
    for _ in range(2):
        try:
            message = machine.final_message()
        except APIError as error:
            check_error(error)
            expected = RAISED.get(verdict)
            assert expected is not None, f"{verdict} raises {error!r}"
            assert isinstance(error, expected), f"{verdict} raises {error!r}"
            assert error.verdict is verdict, f"{verdict}, and the error says {error.verdict}"
            if isinstance(error, IncompleteMessageError):
                loss = machine.first_loss if verdict is Verdict.DAMAGED else None
                same("the loss that the error names", loss, error.first_loss)
            same("the partial message", machine.snapshot, error.partial_message)
        else:
            unterminated = verdict is Verdict.UNTERMINATED and not strict
            assert verdict is Verdict.COMPLETE or unterminated, f"{verdict} gives a final message"
            assert message.complete is (verdict is Verdict.COMPLETE), "complete without the proof"
            same("the final message", machine.snapshot, message)
        assert machine.verdict is verdict, "final_message has changed the verdict"


def check_lossless(seen: Read, limits: Limits) -> None:
    """Events and message say all that was read, and a stream of these events gives them again."""
    for event in seen.events:
        payload = event.to_dict()
        same("an event's payload", payload, event_from_dict(payload).to_dict())
    if seen.snapshot is not None:
        payload = seen.snapshot.to_dict()
        same("the message's payload", payload, message_from_dict(payload).to_dict())
    try:
        written = b"".join(map(encode_event, seen.events))
    except ValueError:  # infinity, or a name with a line end
        return
    # The other limits are of the bytes as they came.
    _, reread = read([written], Limits(blocks=limits.blocks), strict=False)
    if seen.first_loss is not None:
        # What was lost is not in the events: without it, inputs are whole that were not.
        payloads = [[event.to_dict() for event in each.events] for each in (seen, reread)]
        same("the payloads of events written and read again", *payloads)
        return
    same("events written and read again", seen.events, reread.events)
    same("the message of events read again", seen.snapshot, reread.snapshot)
    if seen.verdict not in (Verdict.BROKEN, Verdict.NOT_AN_EVENT_STREAM):
        # A last frame that was cut is not written, so it cannot say that there was to be more.
        kept = [violation.code for violation in seen.violations]
        was_cut = ViolationCode.CUT_FRAME in kept or seen.violation_count > len(kept)
        if not (was_cut and reread.verdict is Verdict.UNTERMINATED):
            same("the verdict of events read again", seen.verdict, reread.verdict)


def check_strict(lenient: Read, strict: Read) -> None:
    """Strict is lenient up to the first violation; it tolerates those of the end itself alone."""
    same("strict, up to its error", lenient.events[: len(strict.events)], strict.events)
    if strict.error is None or not lenient.violation_count:
        same("strict", attrs.evolve(lenient, moments=()), attrs.evolve(strict, moments=()))
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
        assert codes <= allowed, f"strict, and it tolerates {codes - allowed}"
    assert strict.first_loss is None, f"strict, and it tolerates a loss: {strict.first_loss!r}"
    assert strict.verdict is not Verdict.DAMAGED, "strict, and damaged"


@attrs.define
class Call:
    """A block that may have an input, while it is followed: the numbers of the frames in which it
    starts and stops.
    """

    index: int
    start: int
    stop: float = float("inf")


def calls_of(seen: Read) -> list[Call | None]:
    """Return where the blocks of the message began and ended, in the order of its content; None for
    one that came in message_start.
    """
    calls: list[Call | None] = []
    newest: dict[int, Call] = {}
    for number, event in zip(seen.numbers, seen.events, strict=True):
        match event:
            case MessageStartEvent(message=message):
                calls = [None] * len(message.content)
            case ContentBlockStartEvent(index=index):
                newest[index] = Call(index, number)
                behind = (
                    at
                    for at, call in enumerate(calls)
                    if (at if call is None else call.index) > index
                )
                calls.insert(next(behind, len(calls)), newest[index])
            case ContentBlockStopEvent(index=index) if index in newest:
                newest[index].stop = number
            case _:
                pass
    return calls


def lost_pieces(seen: Read, body: bytes, limits: Limits) -> Iterator[tuple[int, object]]:
    """Yield the pieces of inputs that no event has brought: the number of the frame, and what it
    has for an index. Read here once more, from the frames alone, up to the end of the message.
    """
    numbered = list(zip(seen.numbers, seen.events, strict=True))
    ends = (number for number, event in numbered if event.type in ("message_stop", "error"))
    last = next(ends, max(seen.numbers, default=0))
    folded = {
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
                } if piece and number not in folded:
                    yield number, members.get("index")
                case _:
                    pass


def check_inputs(seen: Read, body: bytes, limits: Limits) -> None:
    """No input is complete of which a piece was lost, whatever made it be lost."""
    if seen.snapshot is None or seen.first_loss is None:
        return
    content = dict(zip(map(id, calls := calls_of(seen)), seen.snapshot.content, strict=True))
    for number, index in lost_pieces(seen, body, limits):
        started = [call for call in calls if call and call.start < number]
        named = [call for call in started if type(index) is int and call.index == index][-1:]
        # A piece that names a call which is open is one of its input; any other may be of any.
        owners = [call for call in named if call.stop > number and has_input(content[id(call)])]
        owners = owners or [*named, *(call for call in started if call.stop > number)]
        for call in owners:
            block = content[id(call)]
            is_whole = isinstance(block, InputBlock) and block.input_state == "complete"
            assert not is_whole, f"an input is complete, and a piece of it was lost: {block!r}"


def has_input(block: ContentBlock) -> bool:
    """Whether a block has an input that grows."""
    return isinstance(block, InputBlock)


def stream_machine(data: bytes) -> None:
    """Read in several ways, look early and late, be strict or not, ask for the message."""
    case = Case.of(data)
    limits, strict, strings = case.limits, case.has(STRICT), not case.has(WHOLE_STRINGS)
    machine, whole = read([case.body], limits, strict=strict, partial_strings=strings, look=True)
    unseen = attrs.evolve(whole, moments=())
    _, in_bytes = read(singles(case.body), limits, strict=strict, partial_strings=strings)
    same("fed byte by byte, and nobody looks", unseen, in_bytes)
    _, in_pieces = read(
        case.cuts(case.body),
        limits,
        strict=strict,
        partial_strings=strings,
        look=True,
        restless=case.has(RESTLESS),
    )
    same("fed in pieces", whole, in_pieces)
    if whole.moments:
        at = case.choices[7] % len(whole.moments)
        fresh = StreamMachine(strict=strict, limits=limits, partial_strings=strings)
        same("the first look, after some events", whole.moments[at], look_at(fresh, case.body, at))
    _, plain = read(
        [case.body], limits, strict=strict, partial_strings=strings, fast_path=False, look=True
    )
    same("without the fast path", plain, whole)
    _, other = read([case.body], limits, strict=not strict)
    check_strict(*((other, unseen) if strict else (unseen, other)))
    check_final_message(machine, strict=strict)
    check_lossless(whole, limits)
    check_inputs(whole, case.body, limits)
    if case.has(MEMORY):
        check_memory(case.body, limits, strict=strict)


def look_at(machine: StreamMachine, body: bytes, at: int) -> wire.Observation:
    """Take events from a new machine, and look at it for the first time after the one at `at`."""
    events = (
        event
        for receive in (partial(machine.receive_data, body), machine.receive_eof)
        for event in receive()
    )
    return wire.Observation.of(machine, next(islice(events, at, None)))


def check_memory(body: bytes, limits: Limits, *, strict: bool) -> None:
    """However much comes, a machine holds what its limits say."""
    machine = StreamMachine(strict=strict, limits=limits)
    try:
        for chunk in again(body):
            for _ in machine.receive_data(chunk):
                pass
    except ProtocolError:
        pass
    held = len(pickle.dumps(machine))
    message = machine.snapshot
    blocks = 0 if message is None else len(message.content)
    assert blocks <= limits.blocks, f"{blocks} blocks"
    # The message as it began, what message_deltas say, each block as it began and as it grew, and
    # a frame that has begun.
    bytes_held = (2 + blocks) * limits.event_bytes + (1 + blocks) * limits.block_bytes
    bound = (
        MACHINE_OVERHEAD
        + FOR_A_VIOLATION * (1 + limits.violations)
        + FOR_A_BLOCK * blocks
        + FOR_A_BYTE * min(bytes_held, machine.bytes_received)
    )
    assert held <= bound, f"a machine holds {held} bytes, {bound} would be enough"
