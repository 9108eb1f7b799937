"""A machine and the reference model have the same values after every step.

The first tests read whole bodies. The last one is a state machine of hypothesis, which calls the
methods of a machine in any order.
"""

import base64
import copy
import functools
import json
import pickle
import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeAlias

import attrs
import pytest
from hypothesis import given, seed, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from reference_model import first_loss, input_of, message_of, newest, read, wire_of
from reference_reading import BLOCKS, DELTAS, EVENTS, MESSAGE, OBJECTS, TOOLS, USAGE, Payload
from sansio_stream import (
    APIError,
    APIStatusError,
    IncompleteMessageError,
    MCPToolUseBlock,
    Message,
    MessageStreamEvent,
    NotAnEventStreamError,
    ProtocolError,
    ServerToolUseBlock,
    StreamMachine,
    ToolUseBlock,
    UnknownBlock,
    Verdict,
    ViolationCode,
)
from sansio_stream.testing import faults
from shared_data import captures, load, ran
from test_machine import bodies
from wire import (
    MESSAGE_STOP,
    PING,
    block_start,
    block_stop,
    delta,
    frame,
    message_delta,
    message_start,
)

pytestmark = pytest.mark.exhaustive

Payloads: TypeAlias = st.SearchStrategy[Payload]

# The compared values.

INDEXES: Final = range(6)
KNOWN: Final = {*MESSAGE, "type"}


def values_of_model(now: Payload) -> Payload:
    blocks = sorted(now["blocks"], key=lambda block: int(block["index"]))
    message = message_of(now)
    return {
        "message": message,
        "extra": {name: value for name, value in (message or {}).items() if name not in KNOWN},
        "complete": message is not None and now["complete"],
        "newest": {i: wire_of(block) for i in INDEXES if (block := newest(now, i))},
        "inputs": [
            input_of(block)
            for block in blocks
            if block["type"] in TOOLS or block["type"] not in BLOCKS
        ],
        "unfolded": [block["unfolded"] for block in blocks],
        "violations": now["violations"],
        "first loss": first_loss(now),
        "state": now["state"],
        "verdict": now["verdict"],
    }


def inputs_in(message: Message | None) -> list[Any]:
    return [
        (block.input, block.input_json, block.input_state)
        for block in (message.content if message else ())
        if isinstance(block, ToolUseBlock | ServerToolUseBlock | MCPToolUseBlock | UnknownBlock)
    ]


def unfolded_in(message: Message | None) -> list[Any]:
    content = message.content if message else ()
    return [[delta.to_dict() for delta in block.unfolded] for block in content]


READERS: Final[dict[str, Callable[[StreamMachine], Any]]] = {
    "message": lambda machine: machine.snapshot and machine.snapshot.to_dict(),
    "extra": lambda machine: machine.snapshot.extra if machine.snapshot else {},
    "complete": lambda machine: machine.snapshot is not None and machine.snapshot.complete,
    "newest": lambda machine: {i: block.to_dict() for i in INDEXES if (block := machine.block(i))},
    "inputs": lambda machine: inputs_in(machine.snapshot),
    "unfolded": lambda machine: unfolded_in(machine.snapshot),
    "violations": lambda machine: [
        (each.code, each.event_number, each.loses_content) for each in machine.violations
    ],
    "first loss": lambda machine: (
        machine.first_loss and (machine.first_loss.code, machine.first_loss.event_number)
    ),
    "state": lambda machine: machine.state.name,
    "verdict": lambda machine: machine.verdict,
}


def values_of_machine(machine: StreamMachine) -> Payload:
    return {name: read_value(machine) for name, read_value in READERS.items()}


def is_event_of(payload: Payload, event: MessageStreamEvent) -> bool:
    """Whether an event has this payload. An event with invalid data has an empty payload."""
    return event.to_dict() == payload or (not payload and getattr(event, "raw", None) is not None)


@functools.lru_cache(maxsize=256)
def model_steps(body: bytes, *, ended: bool, strict: bool) -> list[tuple[Any, Payload, str | None]]:
    """Return the event, the values and the error of the model for each step.

    The steps are the start, each event, and the time after the last event.
    """
    return [
        (now["event"], copy.deepcopy(values_of_model(now)), now["error"])
        for now in read(body, ended=ended, strict=strict)
    ]


# Bodies. Those of `bodies` have many events in wrong orders and many damaged bytes. Those of
# `odd_bodies` have all known blocks, deltas and members, and some values of a wrong type.

HUGE: Final = 1.25e300  # in the body 1E400 replaces it, which is too large for a float
BLOCK_OF_START: Final = {"type": "text", "text": "in"}
ANYTHING: Final = st.sampled_from(
    [
        None,
        0,
        5,
        False,
        True,
        HUGE,
        "",
        "x",
        {},
        {"model": "m"},
        [],
        [BLOCK_OF_START],
        [5],
        {"a": HUGE},
    ]
)
SURROGATES: Final = ("\ud83d", "\ude00", "o\ud83d", "\ude00k", "\ud83d\ud83d")
OF_TYPE: Final[dict[Any, st.SearchStrategy[Any]]] = {
    str: st.sampled_from(
        ["", "x", '{"a": ', "1}", '{"b": 2}', '{"c": 1E400}', "\ufffd", *SURROGATES]
    ),
    int: st.integers(0, 3),
    bool: st.booleans(),
    dict: st.sampled_from([{}, {"model": "m"}, {"a": HUGE}, {"type": "page_location"}]),
    list: st.sampled_from([[], [5]]),
    OBJECTS: st.sampled_from([[], [{"type": "page_location"}], [BLOCK_OF_START]]),
}


def members(types: Payload, *more: str) -> Payloads:
    """Draw some of the known members, and sometimes other members or values of any type."""
    return st.builds(
        lambda fitting, others: fitting | others,
        st.fixed_dictionaries({}, optional={name: OF_TYPE[types[name]] for name in types}),
        st.just({}) | st.dictionaries(st.sampled_from([*types, *more]), ANYTHING, max_size=2),
    )


def typed(kind: str, parts: Payloads) -> Payloads:
    return parts.map(lambda parts: {**parts, "type": kind})


def payload(kind: str, **parts: st.SearchStrategy[Any]) -> Payloads:
    return typed(kind, st.fixed_dictionaries(parts))


def members_except(types: Payload, *but: str) -> Payload:
    return {name: types[name] for name in types if name not in but}


INDEX: Final = st.sampled_from([0, 0, 0, 0, 1, 1, 1, 2, 2, 5, 9_999])
BLOCK_OF: Final = {
    kind: typed(kind, members({**types, "input": dict}, "content"))
    for kind, types in {**BLOCKS, "hologram": {}}.items()
}
DELTA_OF: Final = {
    kind: st.builds(
        lambda needed, others: needed | others,
        payload(kind, **{name: OF_TYPE[of_type]}),
        members({}, name, "signature", "content", "encrypted_content", "partial_json"),
    )
    for kind, (name, of_type, _) in {**DELTAS, "sparkle_delta": ("text", str, set())}.items()
}
BLOCK: Final = st.one_of([*BLOCK_OF.values()])
DELTA: Final = st.one_of([*DELTA_OF.values()])
DELTAS_OF_BLOCK: Final = {
    "text": DELTA_OF["text_delta"] | DELTA_OF["citations_delta"],
    "thinking": DELTA_OF["thinking_delta"] | DELTA_OF["signature_delta"],
    "tool_use": DELTA_OF["input_json_delta"],
    "mcp_tool_use": DELTA_OF["input_json_delta"],
    "compaction": DELTA_OF["compaction_delta"] | DELTA_OF["signature_delta"],
    "hologram": DELTA,
}
MESSAGE_START: Final = payload(
    "message_start",
    message=st.builds(
        lambda others, message: others | message,
        members(members_except(MESSAGE, "id", "content", "usage"), "type"),
        st.fixed_dictionaries(
            {"id": st.just("msg_1"), "content": st.lists(BLOCK, max_size=2) | ANYTHING},
            optional={"usage": members(USAGE, "photons") | ANYTHING},
        ),
    ),
)
MESSAGE_DELTA: Final = st.builds(
    lambda beside, needed: beside | needed,
    members(MESSAGE),
    payload(
        "message_delta",
        delta=members(MESSAGE),
        usage=members(USAGE, "photons") | ANYTHING,
    ),
)
SHAPES: Final = members({}, "type", "index", "message", "delta", "error", "code")
ODD_PAYLOAD: Final = st.one_of(
    payload("content_block_start", index=INDEX, content_block=BLOCK),
    payload("content_block_delta", index=INDEX, delta=DELTA),
    payload("content_block_stop", index=INDEX),
    MESSAGE_DELTA,
    MESSAGE_START,
    st.builds(lambda parts, kind: parts | {"type": kind}, SHAPES, st.sampled_from([*EVENTS, "?"])),
    SHAPES,
)


LEGAL_END: Final = st.builds(
    message_delta, st.sampled_from(["end_turn", "end_turn", "tool_use", "max_tokens", "", None])
)


@st.composite
def odd_bodies(draw: st.DrawFn) -> bytes:
    """Draw the body of a message whose blocks grow in parallel.

    Some bodies lack their last events. Some have odd payloads, damaged frames or odd lines between
    the events.
    """
    kinds = draw(st.lists(st.sampled_from([*DELTAS_OF_BLOCK]), min_size=1, max_size=3))
    indexes = range(len(kinds))
    blocks = [block_start(index, draw(BLOCK_OF[kinds[index]])) for index in indexes]
    deltas = [
        {
            "type": "content_block_delta",
            "index": index,
            "delta": draw(DELTAS_OF_BLOCK[kinds[index]]),
        }
        for index in draw(st.lists(st.sampled_from(indexes), min_size=1, max_size=8))
    ]
    ends = [*map(block_stop, indexes), draw(LEGAL_END | LEGAL_END | MESSAGE_DELTA), MESSAGE_STOP]
    missing = draw(st.sampled_from([0, 0, 0, 0, 1, 1, 1, 2, 3]))
    payloads = [draw(MESSAGE_START), *blocks, *deltas, *ends[: len(ends) - missing]]
    for odd in draw(st.lists(ODD_PAYLOAD, max_size=2)):
        payloads.insert(draw(st.integers(0, len(payloads))), odd)
    for place in draw(st.lists(st.sampled_from(range(len(payloads))), max_size=2)):
        payloads[place] = draw(changed_payloads(payloads[place]))
    unnamed = draw(st.sampled_from([False, False, True]))
    frames = [frame_of(payload, "" if unnamed else None) for payload in payloads]
    for place in draw(st.lists(st.sampled_from(range(len(payloads))), max_size=2)):
        frames[place] = draw(damaged_frames(payloads[place]))
    for line in draw(st.lists(st.sampled_from(ODD_LINES), max_size=2)):
        frames.insert(draw(st.integers(0, len(frames))), line)
    body = b"".join(frames).replace(b"1.25e+300", b"1E400")
    body = body[: len(body) - draw(st.sampled_from([0, 0, 0, 0, 1, 2, 9, 40]))]
    return body.replace(b"\n", draw(st.sampled_from([b"\n", b"\r\n", b"\r"])))


@st.composite
def changed_payloads(draw: st.DrawFn, payload: Payload) -> Payload:
    """Draw a changed payload: a member is missing, or has another name or another value."""
    payload = copy.deepcopy(payload)
    within = [value for value in payload.values() if isinstance(value, dict)]
    place = draw(st.sampled_from([payload, *within]))
    name = draw(st.sampled_from([*place] or ["type"]))
    value = place.pop(name, None)
    match draw(st.sampled_from(["missing", "other name", "other value"])):
        case "other name":
            place[draw(st.sampled_from([f"{name}s", "json", "delta", "partial_json"]))] = value
        case "other value":
            place[name] = draw(ANYTHING | st.sampled_from(["0", -1, 10_000]))
        case _:
            pass
    return payload


# {head} is the start of the data. {rest} is what follows after one dropped character.
DAMAGED_DATA: Final = (
    *("{data}", "{head}", "{head}{rest}", "{head}\ndata: {rest}", "OK {data}", "null\n{data}"),
    *("{data}\ndata: {data}", "{data}\n\ndata: {head}", "[{data}]", "{quoted}", "data: {data}"),
    *("{data}\nevent: content_block_delta\ndata: {data}", "{data}\nid: 7\nretry: 2x"),
    *("null", "{{}}", "sunny"),
)
NAMES: Final = ("", "", "message", "Message", "data", "vertex_event", "ping", *EVENTS)
ODD_LINES: Final = (
    *(b"data: [DONE]\n\n", b'data: "[done]"\n\n', b"data: data: [DONE]\n\n"),
    *(b"event: ping\ndata: {\n\n", b"event: ping\ndata: alive\n\n", b"ping\n\n"),
    *(b"retry: 2x\n", b"retry:\n\n", b"retry: 250\n", b"id: \xff\n\n"),
    *(
        frame(message_start(content=[BLOCK_OF_START])),
        frame(delta(0, "sparkle_delta", partial_json="x")),
    ),
    *(b"event: message_start\ndata: {}\n\n", frame(PING, "content_block_start")),
    *(frame({"type": "weather_report"}, "content_block_delta"), b": {\n"),
    *(b'{"error": \n', b"oops\n", b"event: content_block_delta\ndata: {", b"data: null\n\n"),
)


@st.composite
def damaged_frames(draw: st.DrawFn, payload: Payload) -> bytes:
    """Draw a frame with another event name, other data, another field name or other bytes."""
    name = draw(st.sampled_from([str(payload.get("type")), *NAMES]))
    data = json.dumps(payload)
    cut = draw(st.integers(1, len(data)))
    pieces = {"head": data[:cut], "rest": data[cut + 1 :], "quoted": json.dumps(data)}
    data = draw(st.sampled_from(DAMAGED_DATA)).format(data=data, **pieces)
    written = (f"event: {name}\n" * bool(name) + f"data: {data}\n\n").encode()
    at = draw(st.integers(0, len(written)))
    field, others = draw(st.sampled_from([(b"data: ", ())] * 3 + [(b"data: ", DATA_FIELDS)]))
    if others:
        written = written.replace(field, draw(st.sampled_from(others)))
    match draw(st.sampled_from(["", "", "byte", "character", "no blank line"])):
        case "byte":
            return written[:at] + b"\xff" + written[at:]
        case "character":
            return written[:at] + b"\xf0\x9f\x8e" + written[at:]
        case "no blank line":
            return written[:-1]
        case _:
            return written


DATA_FIELDS: Final = (b"dat: ", b"data", b"", b"DATA: ", b"d\xffta: ", b": ", b"event: ")


def frame_of(payload: Payload, name: str | None = None) -> bytes:
    kind = payload.get("type")
    return frame(payload, (kind if isinstance(kind, str) else "") if name is None else name)


def can_be_compared(body: bytes) -> bool:
    """Whether a body has no null for `encrypted_content`, which only the model would keep."""
    return b'"encrypted_content": null' not in body


BODIES: Final = (odd_bodies() | odd_bodies() | bodies()).filter(can_be_compared)
FAULTY_BODIES: Final = (
    faults()
    .filter(lambda stream: not stream.fault.name.startswith("deep"))  # the model has no depth limit
    .map(lambda stream: stream.data)
    .filter(can_be_compared)
)


def test_the_bodies_have_several_verdicts_and_every_loss() -> None:
    counts: Counter[Verdict] = Counter()
    losses: set[str] = set()

    def count(body: bytes) -> None:
        *_, now = read(body, ended=True)
        counts[now["verdict"]] += 1
        losses.update(code for code, _, loses in now["violations"] if loses)

    ends = (Verdict.COMPLETE, Verdict.DAMAGED, Verdict.TRUNCATED, Verdict.UNTERMINATED)
    of_losses = {code for code in ViolationCode if code.may_lose_content}
    # Old versions of hypothesis make longer bodies, of which fewer are complete.
    for number in range(48):
        counted = settings(max_examples=25, database=None)(given(odd_bodies())(count))
        seed(number)(counted)()
        if min(counts[verdict] for verdict in ends) >= 3 and losses == of_losses:
            break
    assert min(counts[verdict] for verdict in ends) >= 3, counts
    assert losses == of_losses


# Whole bodies.


def check(body: bytes, *, strict: bool = False) -> None:
    """Compare after each event, after the last event, and at the end of the body."""
    machine = StreamMachine(strict=strict)
    taken, error = 0, None
    for ended in (False, True):
        expected = model_steps(body, ended=ended, strict=strict)
        try:
            for event in machine.receive_eof() if ended else machine.receive_data(body):
                taken += 1
                assert is_event_of(expected[taken][0], event)
                assert values_of_machine(machine) == expected[taken][1]
        except ProtocolError as caught:
            error = caught.code
        assert taken == len(expected) - 2
        assert (values_of_machine(machine), error) == expected[-1][1:]
        if error:
            break


def check_the_end(body: bytes, *, strict: bool = False) -> None:
    """Compare only at the end of the body. This is for large bodies."""
    machine = StreamMachine(strict=strict)
    machine.receive_data(body)
    error = None
    try:
        for _ in machine.receive_eof():
            pass
    except ProtocolError as caught:
        error = caught.code
    *_, now = read(body, ended=True, strict=strict)
    assert (values_of_machine(machine), error) == (values_of_model(now), now["error"])


@given(BODIES, st.booleans())
def test_machine_and_model_agree_after_each_event(body: bytes, strict: bool) -> None:
    check(body, strict=strict)


@given(FAULTY_BODIES, st.booleans())
def test_machine_and_model_agree_on_every_fault(body: bytes, strict: bool) -> None:
    check(body, strict=strict)


@pytest.mark.parametrize("strict", [False, True])
def test_machine_and_model_agree_on_every_vector(strict: bool) -> None:
    rows = load("vectors/messages.jsonl")
    for row in rows:
        check(b"".join(map(base64.b64decode, row["chunks_b64"])), strict=strict)
    ran("vectors/messages.jsonl", len(rows))


@pytest.mark.parametrize("strict", [False, True])
def test_machine_and_model_agree_on_every_recording(strict: bool) -> None:
    for capture in captures(".sse"):
        check_the_end(capture.body, strict=strict)
        ran("captures/*.sse")
    for capture in captures(".jsonl"):
        lines = capture.body.splitlines()
        check_the_end(b"".join(b"data: " + line + b"\n\n" for line in lines), strict=strict)
        ran("captures/*.jsonl")


# Calls in any order.


def contents_of(value: Message | MessageStreamEvent) -> tuple[Any, ...]:
    """Return the JSON of a value, and for a message also the inputs and unfolded deltas."""
    message = getattr(value, "message", value)  # some events have a message
    if not isinstance(message, Message):
        return (value.to_dict(),)
    return value.to_dict(), inputs_in(message), unfolded_in(message)


ERRORS_OF_FINAL_MESSAGE: Final[dict[Verdict, type[APIError] | None]] = {
    Verdict.PENDING: IncompleteMessageError,
    Verdict.COMPLETE: None,
    Verdict.UNTERMINATED: None,
    Verdict.DAMAGED: IncompleteMessageError,
    Verdict.TRUNCATED: IncompleteMessageError,
    Verdict.EMPTY: IncompleteMessageError,
    Verdict.ERRORED: APIStatusError,
    Verdict.BROKEN: ProtocolError,
    Verdict.NOT_AN_EVENT_STREAM: NotAnEventStreamError,
}
COPIERS: Final[list[Callable[[StreamMachine], StreamMachine]]] = [
    copy.deepcopy,
    lambda machine: pickle.loads(pickle.dumps(machine)),
]

KINDS: Final = st.sampled_from([bytes, bytearray, memoryview])


@attrs.define(eq=False)
class ComparedMachine:
    """A machine, and the model's values for the bytes that the machine has received.

    Attributes:
        machine: The machine.
        body: The body that the machine reads.
        strict: Whether the machine is strict.
        received: The part of the body that the machine has received.
        ended: Whether the machine knows the end of the body.
        taken: The number of events taken.
        values: The values that the model expects now.
        events: The iterator to continue, or None for a new one.
        error: The error that the machine has raised.
    """

    machine: StreamMachine
    body: bytes
    strict: bool
    received: bytes = b""
    ended: bool = False
    taken: int = 0
    values: Payload = attrs.Factory(lambda: model_steps(b"", ended=False, strict=False)[0][1])
    events: Iterator[MessageStreamEvent] | None = None
    error: ProtocolError | None = None

    @property
    def expected(self) -> list[tuple[Any, Payload, str | None]]:
        return model_steps(self.received, ended=self.ended, strict=self.strict)

    @property
    def rest(self) -> bytes:
        return self.body[len(self.received) :]

    def receive(self, size: int, kind: type = bytes, *, keep_the_iterator: bool = False) -> None:
        """Give the machine bytes. Afterwards overwrite the buffer that contained them."""
        data = self.rest[:size]
        self.received += data
        buffer = bytearray(data)
        chunks: dict[type, Any] = {bytes: data, bytearray: buffer, memoryview: memoryview(buffer)}
        events = self.machine.receive_data(chunks[kind])
        self.events = self.events if keep_the_iterator else events
        if self.taken == len(self.expected) - 2:
            self.events = None  # an iterator without an event may stay empty
        buffer[:] = b"x" * len(buffer)

    def end(self, exception: Exception | None) -> None:
        self.ended = True
        if exception is None:
            self.events = self.machine.receive_eof()
        else:
            self.events = self.machine.connection_lost(exception)

    def take(self) -> MessageStreamEvent | None:
        """Take one event from the current iterator, or from a new one."""
        if self.events is None:
            machine = self.machine
            self.events = machine.receive_eof() if self.ended else machine.receive_data(b"")
        try:
            event = next(self.events, None)
        except ProtocolError as error:
            event, self.error = None, error
        if event is None:
            self.events = None
            assert self.taken == len(self.expected) - 2
            self.values = self.expected[-1][1]
            assert (self.error and self.error.code) == self.expected[-1][2]
        else:
            self.taken += 1
            assert self.taken < len(self.expected) - 1
            payload, self.values, _ = self.expected[self.taken]
            assert is_event_of(payload, event)
        return event

    def compare(self, *names: str) -> None:
        for name in names:
            assert READERS[name](self.machine) == self.values[name], name
        assert self.machine.events_taken == self.taken
        assert self.machine.bytes_received == len(self.received)

    def finish(self) -> None:
        """Call `final_message`, and check the message or the error.

        The call applies all received events.
        """
        _, self.values, code = self.expected[-1]
        self.taken = len(self.expected) - 2
        self.events = None
        verdict, message = self.values["verdict"], self.values["message"]
        error = ERRORS_OF_FINAL_MESSAGE[verdict]
        if verdict is Verdict.UNTERMINATED and self.strict:
            error = IncompleteMessageError
        if error is None:
            final = self.machine.final_message()
            assert final.to_dict() == message
            assert final.complete == (verdict is Verdict.COMPLETE)
        else:
            with pytest.raises(error) as raised:
                self.machine.final_message()
            partial = raised.value.partial_message
            assert (partial and partial.to_dict()) == message
            assert raised.value.verdict is verdict
            assert raised.value.content_emitted == bool(self.values["unfolded"])
        if code is not None and self.error is None:
            with pytest.raises(ProtocolError) as failure:
                self.machine.receive_eof()
            assert failure.value.code == code
            self.error = failure.value


class MachineAndModel(RuleBasedStateMachine):
    """Steps in any order, on several machines in turn."""

    def __init__(self) -> None:
        super().__init__()
        self.machines: list[ComparedMachine] = []
        # Each returned event and snapshot, with a copy of its contents at that time.
        self.returned: list[tuple[Any, Any]] = []

    @property
    def current(self) -> ComparedMachine:
        return self.machines[-1]

    def is_open(self) -> bool:
        return self.current.error is None

    def can_receive(self) -> bool:
        return self.is_open() and not self.current.ended and bool(self.current.rest)

    def has_received(self) -> bool:
        return self.is_open() and bool(self.current.received)

    def has_received_all(self) -> bool:
        return self.is_open() and not self.current.rest

    def has_taken(self) -> bool:
        return bool(self.current.taken) or self.is_over()

    def is_over(self) -> bool:
        return not self.is_open() or self.current.ended

    @initialize(body=BODIES, strict=st.sampled_from([False, False, True]))
    def begin(self, body: bytes, strict: bool) -> None:
        self.machines.append(ComparedMachine(StreamMachine(strict=strict), body, strict))

    @precondition(is_over)
    @rule(body=BODIES)
    def begin_another(self, body: bytes) -> None:
        self.begin(body, strict=False)

    @precondition(can_receive)
    @rule(size=st.integers(0, 20), kind=KINDS, keep=st.booleans())
    def receive_a_few_bytes(self, size: int, kind: type, keep: bool) -> None:
        self.current.receive(size, kind, keep_the_iterator=keep)

    @precondition(can_receive)
    @rule(kind=KINDS, keep=st.booleans())
    def receive_to_the_next_line_end(self, kind: type, keep: bool) -> None:
        line_end = re.search(rb"[\r\n]", self.current.rest)
        self.current.receive(line_end.end() if line_end else 1, kind, keep_the_iterator=keep)

    @precondition(can_receive)
    @rule(size=st.integers(100, 1500), kind=KINDS, keep=st.booleans())
    def receive_many_bytes(self, size: int, kind: type, keep: bool) -> None:
        self.current.receive(size, kind, keep_the_iterator=keep)

    @precondition(has_received)
    @rule(compare=st.booleans(), fresh=st.booleans())
    def take_one(self, compare: bool, fresh: bool) -> None:
        if fresh:
            self.current.events = None
        event = self.current.take()
        if event is not None:
            self.returned.append((event, copy.deepcopy(contents_of(event))))
        if compare:
            self.compare_all_values()

    @precondition(has_received)
    @rule(count=st.integers(2, 8), compare=st.booleans())
    def take_some(self, count: int, compare: bool) -> None:
        for _ in range(count):
            if self.is_open():
                self.take_one(compare=compare, fresh=False)

    @precondition(has_taken)
    @rule(names=st.sets(st.sampled_from([*READERS]), min_size=1))
    def compare(self, names: set[str]) -> None:
        self.current.compare(*names)

    @precondition(has_taken)
    @rule()
    def compare_all_values(self) -> None:
        self.current.compare(*READERS)
        message = self.current.machine.snapshot
        if message is not None:
            self.returned.append((message, copy.deepcopy(contents_of(message))))

    @precondition(has_taken)
    @rule(duplicate=st.sampled_from(COPIERS), continue_with_it=st.booleans())
    def copy_the_machine(
        self, duplicate: Callable[[StreamMachine], StreamMachine], continue_with_it: bool
    ) -> None:
        twin = attrs.evolve(self.current, machine=duplicate(self.current.machine), events=None)
        self.machines.insert(len(self.machines) - (not continue_with_it), twin)

    @precondition(lambda self: len(self.machines) > 1)
    @rule()
    def continue_with_another(self) -> None:
        self.machines.insert(0, self.machines.pop())

    # Many bodies are cut, so the end may come anywhere in a stream.
    @precondition(has_received_all)
    @rule(exception=st.sampled_from([None, OSError("gone")]))
    def end(self, exception: Exception | None) -> None:
        self.current.end(exception)

    @precondition(has_taken)
    @rule()
    def call_final_message(self) -> None:
        self.current.finish()

    @precondition(lambda self: self.current.ended and self.current.error is None)
    @rule(data=st.sampled_from([b"", b"x"]))
    def receive_after_the_end(self, data: bytes) -> None:
        with pytest.raises(RuntimeError, match="after the end"):
            self.current.machine.receive_data(data)
        with pytest.raises(RuntimeError, match="after the end"):
            self.current.machine.receive_event({})

    @precondition(lambda self: self.current.error is not None)
    @rule()
    def continue_after_the_error(self) -> None:
        machine = self.current.machine
        calls: list[Callable[[], Any]] = [
            lambda: machine.receive_data(b"x"),
            lambda: machine.receive_event({}),
            machine.receive_eof,
        ]
        for call in calls:
            with pytest.raises(ProtocolError) as again:
                call()
            assert again.value is not self.current.error
            assert vars(again.value) == vars(self.current.error)
        assert list(machine.connection_lost(OSError())) == []

    def teardown(self) -> None:
        for each in self.machines:
            if each.error is None and not each.ended:
                each.receive(len(each.rest))
                each.end(None)
            while each.error is None and each.take() is not None:
                each.compare(*READERS)
            each.compare(*READERS)
            each.finish()
        for value, contents in self.returned:
            assert contents_of(value) == contents


# Most runs end before their stream does. So this test has twice the examples of other tests.
MachineAndModel.TestCase.settings = settings(
    max_examples=2 * settings().max_examples, stateful_step_count=50
)
TestMachineAndModel = MachineAndModel.TestCase
