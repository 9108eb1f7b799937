"""A message with a loss is never complete: one property for each rule.

The examples are legal scripts, written in any style and cut into any chunks. One event of each is
damaged. Some tests replace the machine by a copy between two chunks.
"""

import copy
import json
import pickle
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, Final, TypeAlias

import attrs
import pytest
from hypothesis import assume, given, strategies as st

from sansio_stream import (
    IncompleteMessageError,
    Limits,
    Message,
    MessageStopEvent,
    ProtocolError,
    StreamMachine,
    TextBlock,
    ToolUseBlock,
    UnknownBlock,
    Verdict,
    Violation,
    ViolationCode as Code,
)
from sansio_stream.testing import Script, Style, cuts, scripts, styles
from wire import (
    MESSAGE_STOP,
    block_start,
    block_stop,
    body,
    delta,
    json_piece,
    message_delta,
    message_start,
    run,
    text,
    tool_start,
)

Payload: TypeAlias = dict[str, Any]

# The damages.

# Arguments: the payload of a content event, the style of the stream, and a number from 0 to 1 that
# selects the place of a cut. Result: the bytes that replace the frame.
Write: TypeAlias = Callable[[Payload, Style, float], bytes]


@attrs.frozen
class Damage:
    """A way to damage one content event.

    Attributes:
        write: Returns the bytes that replace the frame of the event.
        code: The code of the violation that reports the loss.
        kinds: The types of the events or deltas that can be damaged in this way.
        is_fatal_if_named: Whether the damage is fatal if the frame has the name of a content
            event.
    """

    write: Write
    code: Code
    kinds: tuple[str, ...]
    is_fatal_if_named: bool = False


PIECES: Final = {
    "text_delta": "text",
    "thinking_delta": "thinking",
    "input_json_delta": "partial_json",
}
STARTS: Final = ("content_block_start", "message_start")
PARTS: Final = {
    "content_block_delta": "delta",
    "content_block_start": "content_block",
    "message_start": "message",
}


def with_changed_data(change: Callable[[str, float], str]) -> Write:
    """Make a `Write` that changes the JSON text of the frame."""

    def write(payload: Payload, style: Style, where: float) -> bytes:
        return style.frame_of(payload["type"], change(json.dumps(payload), where))

    return write


def with_changed_payload(change: Callable[[Payload], None]) -> Write:
    """Make a `Write` that changes the payload and keeps the event name."""

    def write(payload: Payload, style: Style, _where: float) -> bytes:
        name = payload["type"]
        changed = copy.deepcopy(payload)
        change(changed)
        return style.frame(changed, name)

    return write


def piece_of(payload: Payload) -> str:
    return PIECES[payload["delta"]["type"]]


def cut(data: str, where: float) -> str:
    return data[: 1 + int(where * (len(data) - 2))]


def without(name: str) -> Callable[[Payload], None]:
    return lambda payload: payload.pop(name)


def with_member(name: str, value: Any) -> Callable[[Payload], None]:
    return lambda payload: payload.update({name: value})


def in_part(change: Callable[[Payload], None]) -> Callable[[Payload], None]:
    return lambda payload: change(payload[PARTS[payload["type"]]])


def in_piece(change: Callable[[str], Any]) -> Callable[[Payload], None]:
    def change_piece(payload: Payload) -> None:
        name = piece_of(payload)
        payload["delta"][name] = change(payload["delta"][name])

    return change_piece


def misspell(payload: Payload) -> None:
    payload["delta"]["json"] = payload["delta"].pop(piece_of(payload))


def replace_by_unfit_delta(payload: Payload) -> None:
    is_input = payload["delta"]["type"] == "input_json_delta"
    payload["delta"] = (
        {"type": "text_delta", "text": "x"}
        if is_input
        else {"type": "input_json_delta", "partial_json": '{"a": 1}'}
    )


def without_field(payload: Payload, style: Style, _where: float) -> bytes:
    return style.frame_of(payload["type"], json.dumps(payload)).replace(b"data:", b"", 1)


def misspelt_field(payload: Payload, style: Style, _where: float) -> bytes:
    return style.frame_of(payload["type"], json.dumps(payload)).replace(b"data:", b"dat:", 1)


def invalid_byte_in(old: bytes) -> Write:
    def write(payload: Payload, style: Style, _where: float) -> bytes:
        frame = style.frame_of(payload["type"], json.dumps(payload))
        return frame.replace(old, old[:2] + b"\xff" + old[2:], 1)

    return write


def invalid_byte_in_piece(payload: Payload, style: Style, _where: float) -> bytes:
    changed = copy.deepcopy(payload)
    in_piece(lambda piece: piece + "<bad>")(changed)
    return style.frame_of(payload["type"], json.dumps(changed)).replace(b"<bad>", b"\xf0\x9f")


CONTENT_EVENTS: Final = ("content_block_delta", *STARTS)
DELTA_EVENTS: Final = ("content_block_delta",)
UNREADABLE: Final = (Code.UNDECODABLE_PAYLOAD, CONTENT_EVENTS, True)
MALFORMED: Final = Code.MALFORMED_EVENT

DAMAGES: Final = {
    "cut": Damage(with_changed_data(cut), *UNREADABLE),
    "glued": Damage(with_changed_data(lambda data, _: f"OK{data}"), *UNREADABLE),
    "doubled brace": Damage(with_changed_data(lambda data, _: f"{data}}}"), *UNREADABLE),
    "in an array": Damage(with_changed_data(lambda data, _: f"[{data}]"), *UNREADABLE),
    "in a string": Damage(with_changed_data(lambda data, _: json.dumps(data)), *UNREADABLE),
    "data twice": Damage(with_changed_data(lambda data, _: f"data: {data}"), *UNREADABLE),
    "cut between lines": Damage(
        with_changed_data(lambda data, where: f"{cut(data, where)}\n{data}"), *UNREADABLE
    ),
    "two payloads": Damage(
        with_changed_data(lambda data, _: f"{data}\n{data}"),
        Code.MISSING_BLANK_LINE,
        CONTENT_EVENTS,
        True,
    ),
    "without its field": Damage(without_field, Code.UNKNOWN_FIELD, CONTENT_EVENTS),
    "misspelt field": Damage(misspelt_field, Code.UNKNOWN_FIELD, CONTENT_EVENTS),
    "without index": Damage(with_changed_payload(without("index")), MALFORMED, CONTENT_EVENTS[:2]),
    "index of another type": Damage(
        with_changed_payload(with_member("index", "0")), MALFORMED, CONTENT_EVENTS[:2]
    ),
    "index that is true": Damage(
        with_changed_payload(with_member("index", True)), MALFORMED, CONTENT_EVENTS[:2]
    ),
    "index below 0": Damage(
        with_changed_payload(with_member("index", -1)), MALFORMED, CONTENT_EVENTS[:2]
    ),
    "index of no block": Damage(
        with_changed_payload(with_member("index", 7_777)), Code.UNKNOWN_INDEX, DELTA_EVENTS
    ),
    "without its part": Damage(
        with_changed_payload(lambda payload: payload.pop(PARTS[payload["type"]])),
        MALFORMED,
        CONTENT_EVENTS,
    ),
    "part of another type": Damage(
        with_changed_payload(lambda payload: payload.update({PARTS[payload["type"]]: 5})),
        MALFORMED,
        CONTENT_EVENTS,
    ),
    "untyped part": Damage(
        with_changed_payload(in_part(without("type"))), MALFORMED, CONTENT_EVENTS[:2]
    ),
    "misspelt piece": Damage(with_changed_payload(misspell), Code.MALFORMED_DELTA, DELTA_EVENTS),
    "piece as an object": Damage(
        with_changed_payload(in_piece(lambda piece: {"piece": piece})),
        Code.MALFORMED_DELTA,
        DELTA_EVENTS,
    ),
    "piece as a number": Damage(
        with_changed_payload(in_piece(lambda _: 0)), Code.MALFORMED_DELTA, DELTA_EVENTS
    ),
    "piece as an array": Damage(
        with_changed_payload(in_piece(lambda _: [])), Code.MALFORMED_DELTA, DELTA_EVENTS
    ),
    "unfit": Damage(with_changed_payload(replace_by_unfit_delta), Code.UNFIT_DELTA, DELTA_EVENTS),
    "another type of input": Damage(
        with_changed_payload(in_part(with_member("type", "tool_delta"))),
        Code.UNKNOWN_INPUT_DELTA,
        ("input_json_delta",),
    ),
    "invalid byte in a member": Damage(
        invalid_byte_in(b'"type"'), Code.INVALID_UTF8, CONTENT_EVENTS
    ),
    "invalid byte in the input": Damage(
        invalid_byte_in_piece, Code.INVALID_UTF8, ("input_json_delta",)
    ),
}
ONLY_NAMED: Final = {
    "taken for a ping": Damage(
        with_changed_payload(with_member("type", "ping")), Code.EVENT_NAME_MISMATCH, CONTENT_EVENTS
    ),
    "taken for another event": Damage(
        with_changed_payload(with_member("type", "weather_report")),
        Code.EVENT_NAME_MISMATCH,
        CONTENT_EVENTS,
    ),
}
ONLY_UNNAMED: Final = {
    "without type": Damage(
        with_changed_payload(without("type")), Code.MISSING_TYPE, CONTENT_EVENTS
    ),
}

# Damaged streams.


@attrs.frozen
class DamagedStream:
    """A legal stream in which one content event was damaged.

    Attributes:
        name: The name of the damage.
        data: The body.
        damage: The damage.
        style: The style of the body.
        number: The number of the damaged frame among the frames with data, from 1.
        offset: The byte offset of the damaged frame.
        tool_id: The id of the tool call whose start or piece was damaged, or None.
    """

    name: str
    data: bytes
    damage: Damage
    style: Style
    number: int
    offset: int
    tool_id: str | None

    @property
    def is_fatal(self) -> bool:
        return self.damage.is_fatal_if_named and self.style.event_names

    @property
    def place(self) -> tuple[Code, int, int | None]:
        return self.damage.code, self.number, self.offset


def can_be_damaged(payload: Payload, damage: Damage) -> bool:
    if payload["type"] != "content_block_delta":
        return payload["type"] in damage.kinds
    kind = payload["delta"]["type"]
    is_piece = kind in PIECES and payload["delta"][PIECES[kind]] != ""
    return is_piece and ("content_block_delta" in damage.kinds or kind in damage.kinds)


@st.composite
def damaged_streams(draw: st.DrawFn, /, **fixed: Any) -> DamagedStream:
    """Draw a damaged stream in any style.

    There is nothing between the frames, so that the offset of the damaged frame is known.
    """
    style = draw(styles(between=(), **fixed))
    damages = DAMAGES | (ONLY_NAMED if style.event_names else ONLY_UNNAMED)
    name = draw(st.sampled_from([*damages]))
    damage = damages[name]
    script = draw(scripts(having=["text", "thinking", "tool_use"], max_blocks=2))
    payloads = [event.to_dict() for event in script]
    place = draw(
        st.sampled_from(
            [at for at, payload in enumerate(payloads) if can_be_damaged(payload, damage)]
        )
    )
    frames = [style.frame(payload) for payload in payloads]
    # Only this frame is changed, so the damage is the first loss of the stream.
    frames[place] = damage.write(payloads[place], style, draw(st.floats(0, 1)))
    data = style.joined(frames)
    offset = len(style.joined(frames[:place])) or 3 * style.byte_order_mark
    return DamagedStream(
        name, data, damage, style, place + 1, offset, tool_id_of(payloads, payloads[place])
    )


def tool_id_of(payloads: Sequence[Payload], damaged: Payload) -> str | None:
    """Return the id of the tool call to which the damaged event belongs, or None."""
    starts = {
        payload["index"]: payload["content_block"]
        for payload in payloads
        if payload["type"] == "content_block_start"
    }
    block = starts.get(damaged.get("index"), {})
    return block.get("id") if block.get("type") == "tool_use" else None


# The results of a machine that is replaced by copies.

COPIERS: Final[list[Callable[[StreamMachine], StreamMachine]]] = [
    lambda machine: machine,
    copy.deepcopy,
    lambda machine: pickle.loads(pickle.dumps(machine)),
]
MACHINES: Final = st.fixed_dictionaries(
    {
        "fast_path": st.booleans(),
        "limits": st.sampled_from([Limits(), Limits(violations=0), Limits(violations=1)]),
    }
)


def run_with_copies(
    chunks: Sequence[bytes], copiers: Sequence[int], **options: Any
) -> tuple[StreamMachine, Message | None]:
    """Give a machine the chunks, and replace it by a copy between them.

    A copy takes longer the more the machine has read. So there are at most 50 copies of a body that
    is cut into many chunks, at equal distances.

    Args:
        chunks: The body.
        copiers: Indexes of `COPIERS`, used in turn.
        **options: The options of the machine.

    Returns:
        The last machine, and the message of the message_stop event, or None.
    """
    machine, message = StreamMachine(**options), None
    distance = len(chunks) // 50 + 1
    for at, chunk in enumerate(chunks):
        for event in machine.receive_data(chunk):
            message = event.message if isinstance(event, MessageStopEvent) else message
        if at % distance == 0:
            machine = COPIERS[copiers[at // distance % len(copiers)]](machine)
    for event in machine.receive_eof():
        message = event.message if isinstance(event, MessageStopEvent) else message
    return machine, message


COPIER_INDEXES: Final = st.lists(st.integers(0, 2), min_size=1, max_size=4)


def place_of(violation: Violation | None) -> tuple[Code, int, int | None] | None:
    if violation is None:
        return None
    return violation.code, violation.event_number, violation.byte_offset


@given(st.data(), damaged_streams(), COPIER_INDEXES, MACHINES)
def test_a_message_with_a_damaged_content_event_is_never_complete(
    data: st.DataObject, stream: DamagedStream, copiers: list[int], options: dict[str, Any]
) -> None:
    chunks = data.draw(cuts(stream.data))
    if stream.is_fatal:
        with pytest.raises(ProtocolError) as raised:
            run_with_copies(chunks, copiers, **options)
        assert raised.value.verdict is Verdict.BROKEN
        assert raised.value.code == Code.UNDECODABLE_PAYLOAD
        assert (raised.value.event_number, raised.value.byte_offset) == stream.place[1:]
        return
    machine, message = run_with_copies(chunks, copiers, **options)
    assert machine.verdict is Verdict.DAMAGED
    assert place_of(machine.first_loss) == stream.place
    assert machine.first_loss is not None
    assert machine.first_loss.loses_content
    assert machine.snapshot is None or not machine.snapshot.complete
    assert message is None or (not message.complete and message == machine.snapshot)
    with pytest.raises(IncompleteMessageError) as incomplete:
        machine.final_message()
    error = pickle.loads(pickle.dumps(incomplete.value))
    assert error.verdict is Verdict.DAMAGED
    assert error.first_loss == machine.first_loss
    assert error.partial_message == machine.snapshot
    assert stream.damage.code in str(error)


@given(damaged_streams(event_names=True), st.data())
def test_a_strict_machine_raises_an_error_for_the_loss_that_a_lenient_one_reports(
    stream: DamagedStream, data: st.DataObject
) -> None:
    with pytest.raises(ProtocolError) as raised:
        run_with_copies(data.draw(cuts(stream.data)), [0], strict=True)
    error = raised.value
    code = Code.UNDECODABLE_PAYLOAD if stream.is_fatal else stream.damage.code
    assert (error.code, error.event_number, error.byte_offset) == (code, *stream.place[1:])


@given(damaged_streams(), st.data(), COPIER_INDEXES)
def test_a_tool_input_with_a_damaged_piece_is_never_complete(
    stream: DamagedStream, data: st.DataObject, copiers: list[int]
) -> None:
    assume(stream.tool_id is not None and not stream.is_fatal)
    machine, _ = run_with_copies(data.draw(cuts(stream.data)), copiers)
    blocks = machine.snapshot.content if machine.snapshot else ()
    calls = [block for block in blocks if isinstance(block, ToolUseBlock)]
    states = [block.input_state for block in calls if block.id == stream.tool_id]
    assert "complete" not in states
    assert [block.input for block in calls if block.id == stream.tool_id] == [None] * len(states)


@given(scripts(having=["text"]), styles(), st.data(), COPIER_INDEXES, MACHINES)
def test_an_undamaged_stream_is_complete(
    script: Script, style: Style, data: st.DataObject, copiers: list[int], options: dict[str, Any]
) -> None:
    body = style.body([event.to_dict() for event in script])
    machine, message = run_with_copies(data.draw(cuts(body)), copiers, **options)
    assert machine.verdict is Verdict.COMPLETE
    assert machine.first_loss is None
    assert message is not None
    assert message.complete
    assert machine.final_message() == message


# Nothing after the end belongs to the message.


@given(damaged_streams(event_names=False), st.data())
def test_a_damaged_event_after_message_stop_is_not_a_loss(
    stream: DamagedStream, data: st.DataObject
) -> None:
    whole = body(message_start("msg_0"), MESSAGE_STOP)
    frames = stream.data.removeprefix(b"\xef\xbb\xbf")
    machine, _ = run_with_copies(data.draw(cuts(whole + frames)), [0])
    assert machine.verdict is Verdict.COMPLETE
    assert machine.first_loss is None
    assert not any(violation.loses_content for violation in machine.violations)
    assert machine.final_message().complete


# A tool input that may lack a piece.


def input_state(*payloads: Payload | bytes) -> list[str]:
    """Run a stream of tool calls and return the state of each input."""
    frames = [each if isinstance(each, bytes) else body(each) for each in payloads]
    machine, _ = run([b"".join(frames)])
    content = machine.snapshot.content if machine.snapshot else ()
    return [each.input_state for each in content if isinstance(each, ToolUseBlock | UnknownBlock)]


LOST_PIECE: Final = delta(0, "input_json_delta", partial_json={"a": 1})


def test_a_lost_piece_after_the_stop_makes_the_input_invalid_from_then_on() -> None:
    called = (message_start(), tool_start(0), json_piece(0, '{"a": 1}'), block_stop(0))
    assert input_state(*called) == ["complete"]
    assert input_state(*called, json_piece(0, "2")) == ["invalid"]
    assert input_state(*called, json_piece(0, "")) == ["complete"]
    filled = message_start(content=[tool_start(0)["content_block"]])
    assert input_state(filled, json_piece(0, '{"a": 1}')) == ["invalid"]


def test_a_piece_for_an_unknown_block_makes_every_open_input_invalid_and_no_stopped_one() -> None:
    beginning = (message_start(), tool_start(0), block_stop(0), tool_start(1), tool_start(2))
    stops = (block_stop(1), block_stop(2))
    for lost in (
        json_piece(7, "{"),
        {**json_piece(1, "{"), "index": "1"},
        {"type": "content_block_delta", "index": 1, "delta": {"partial_json": "{"}},
        {"type": "content_block_start", "index": 3, "content_block": {"id": "toolu_3"}},
        b"data: {\n\n",
        b"event: ping\ndata: {\n\n",
        b'{"type":"content_block_delta"}\n\n',
    ):
        assert input_state(*beginning, lost) == ["complete", "incomplete", "incomplete"], lost
        assert input_state(*beginning, lost, *stops) == ["complete", "invalid", "invalid"], lost


def test_an_unfit_delta_makes_only_the_input_of_its_own_block_invalid() -> None:
    beginning = (message_start(), tool_start(0), tool_start(1))
    stops = (block_stop(0), block_stop(1))
    assert input_state(*beginning, text(1, "x"), *stops) == ["complete", "invalid"]
    assert input_state(*beginning, {**LOST_PIECE, "index": 1}, *stops) == ["complete", "invalid"]


def test_a_loss_in_the_start_of_a_block_makes_only_its_input_invalid() -> None:
    starts = (tool_start(0), tool_start(1, name=5), tool_start(2))
    pieces = tuple(json_piece(index, "{}") for index in range(3))
    stops = tuple(block_stop(index) for index in range(3))
    states = ["complete", "invalid", "complete"]
    assert input_state(message_start(), *starts, *pieces, *stops) == states


def test_a_damaged_line_before_a_frame_makes_every_open_input_invalid() -> None:
    starts = (message_start(), tool_start(0), tool_start(1), tool_start(2), block_stop(2))
    line = b"dat: " + json.dumps(json_piece(0, "{")).encode() + b"\n"
    pieces = (json_piece(0, "{}"), json_piece(1, "{}"), block_stop(0), block_stop(1))
    states = ["invalid", "invalid", "complete"]
    assert input_state(body(*starts) + line + body(*pieces)) == states


def test_an_invalid_byte_in_a_piece_makes_only_its_input_invalid() -> None:
    starts = (message_start(), tool_start(0), tool_start(1))
    damaged = body(json_piece(1, '{"a": "?"}')).replace(b"?", b"\xff")
    rest = (json_piece(0, "{}"), block_stop(0), block_stop(1))
    assert input_state(body(*starts) + damaged + body(*rest)) == ["complete", "invalid"]


def test_a_loss_in_message_start_makes_each_input_in_its_content_invalid() -> None:
    calls = [tool_start(index)["content_block"] for index in range(2)]
    filled = message_start(content=[*calls, {"type": "text", "text": 5}])
    assert input_state(filled) == ["invalid", "invalid"]
    rest = (tool_start(3), json_piece(3, "{}"), block_stop(3))
    assert input_state(filled, *rest) == ["invalid", "invalid", "complete"]
    # A second message_start is ignored, so none of its content is in the message.
    assert input_state(message_start(content=calls), filled) == ["complete", "complete"]


def test_a_piece_for_an_open_block_without_an_input_marks_no_later_block() -> None:
    beginning = (message_start(), block_start(0), json_piece(0, "{"), block_stop(0))
    call = (tool_start(0), json_piece(0, "{}"), block_stop(0))
    assert input_state(*beginning, *call) == ["complete"]
    assert input_state(message_start(), json_piece(0, "{"), *call) == ["invalid"]


@pytest.mark.parametrize("number", ["1E400", "-1e999", "[1E400]"])
def test_a_number_too_large_for_a_float_makes_an_input_invalid(number: str) -> None:
    value = f'{{"a": {number}}}'
    in_text = (message_start(), tool_start(0), json_piece(0, value), block_stop(0))
    assert input_state(*in_text) == ["invalid"]
    in_start = body(tool_start(0, input={"a": "?"})).replace(b'"?"', number.encode())
    assert input_state(message_start(), in_start, block_stop(0)) == ["invalid"]
    filled = body(message_start(content=[tool_start(0, input={"a": "?"})["content_block"]]))
    filled = filled.replace(b'"?"', number.encode())
    assert input_state(filled) == ["invalid"]
    machine = StreamMachine()
    list(machine.receive_data(filled))
    block = machine.block(0)
    assert isinstance(block, ToolUseBlock)
    assert (block.input, block.to_dict()["input"]) == (None, None)


# A stream that ends after its stop_reason.


@given(scripts(having=["text"], pings=False, unknown=False), styles(event_names=True), st.data())
def test_a_finished_message_without_message_stop_is_unterminated(
    script: Script, style: Style, data: st.DataObject
) -> None:
    payloads = [event.to_dict() for event in script]
    last_stop = max(at for at, each in enumerate(payloads) if each["type"] == "content_block_stop")
    del payloads[-1]
    machine, _ = run_with_copies(data.draw(cuts(style.body(payloads))), [0, 1, 2])
    assert machine.verdict is Verdict.UNTERMINATED
    assert [violation.code for violation in machine.violations] == [Code.MISSING_MESSAGE_STOP]
    assert not machine.final_message().complete

    del payloads[last_stop]
    machine, _ = run_with_copies(data.draw(cuts(style.body(payloads))), [0, 1, 2])
    is_cut_by_max_tokens = payloads[-1]["delta"]["stop_reason"] == "max_tokens"
    verdict = Verdict.UNTERMINATED if is_cut_by_max_tokens else Verdict.TRUNCATED
    assert machine.verdict is verdict

    payloads[-1]["delta"]["stop_reason"] = ""
    machine, _ = run_with_copies(data.draw(cuts(style.body(payloads))), [0, 1, 2])
    assert machine.verdict is Verdict.TRUNCATED
    assert Code.EMPTY_STOP_REASON in [violation.code for violation in machine.violations]


# The members of a message_delta.

ADDED: Final = st.dictionaries(
    st.sampled_from(["provider_metadata", "private_field", "weather"]),
    st.none() | st.integers() | st.text(max_size=3) | st.just({"cost": 1}),
)


@given(ADDED, ADDED, st.integers(1, 99), st.sampled_from([{}, {"delta": None}]))
def test_a_message_delta_without_delta_or_with_unknown_members_is_folded(
    beside: dict[str, Any], inside: dict[str, Any], tokens: int, missing: dict[str, Any]
) -> None:
    alone = {"type": "message_delta", **missing, **beside, "usage": {"output_tokens": tokens}}
    ends = {"type": "message_delta", "delta": {"stop_reason": "end_turn", **inside}}
    machine, outcome = run([body(message_start(), alone, ends, MESSAGE_STOP)])
    message = machine.final_message()
    assert message.usage.output_tokens == tokens
    both = {name: value for name, value in (beside | inside).items() if value is not None}
    kept = {name: value for name, value in beside.items() if value is not None}
    assert message.extra == kept | {name: both[name] for name in inside if inside[name] is not None}
    assert [violation.code for violation in outcome.violations] == [Code.MISSING_DELTA]


# Surrogates.


@given(st.text(st.sampled_from("a\N{PARTY POPPER}\N{PILE OF POO}é"), max_size=6), st.data())
def test_surrogate_pairs_are_joined_however_the_text_is_cut(
    whole: str, data: st.DataObject
) -> None:
    units = whole.encode("utf-16-le")
    surrogates = [
        units[at : at + 2].decode("utf-16-le", "surrogatepass") for at in range(0, len(units), 2)
    ]
    places = data.draw(st.lists(st.integers(0, len(surrogates)), max_size=8))
    pieces = ["".join(surrogates[slice(*edges)]) for edges in edges_at(places, len(surrogates))]
    # A pair within one piece is one character already, as in JSON.
    pieces = [joined(piece) for piece in pieces]
    json_pieces = ['{"a": "', *pieces, '"}']
    stream = body(
        message_start(),
        *(block_start(0), *(text(0, piece) for piece in pieces), block_stop(0)),
        *(tool_start(1), *(json_piece(1, piece) for piece in json_pieces), block_stop(1)),
        *(message_delta("tool_use"), MESSAGE_STOP),
    )
    for fast_path in (True, False):
        machine, _ = run_with_copies(data.draw(cuts(stream)), [0, 1, 2], fast_path=fast_path)
        text_block, tool_call = machine.final_message().content
        assert isinstance(text_block, TextBlock)
        assert text_block.text == whole
        assert isinstance(tool_call, ToolUseBlock)
        assert tool_call.input == {"a": whole}


def edges_at(places: Sequence[int], end: int) -> list[tuple[int, int]]:
    edges = [0, *sorted(places), end]
    return list(pairwise(edges))


def joined(piece: str) -> str:
    return piece.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


# Minimal streams that once violated one of these rules.

BEGINNING: Final = body(message_start(), block_start(0))
ENDING: Final = body(block_stop(0), message_delta(), MESSAGE_STOP)


def losses(stream: bytes) -> list[Code]:
    """Run a complete stream and return the codes of its losses."""
    _, outcome = run([stream])
    lost = [violation.code for violation in outcome.violations if violation.loses_content]
    assert outcome.verdict is (Verdict.DAMAGED if lost else Verdict.COMPLETE)
    return lost


@pytest.mark.parametrize(
    ("raw", "lost"),
    [
        (b'{"type":"thinking_delta","thinking":"\\ufffd","signature":"a\xffb"}', True),
        (b'{"type":"thinking_delta","thinking":"\xef\xbf\xbd","signature":"a\xffb"}', True),
        (b'{"type":"thinking_delta","thinking":"\\udcff","signature":"a\xffb"}', True),
        (b'{"type":"thinking_delta","thinking":"\xff","signature":"\\ufffd"}', False),
        (b'{"type":"thinking_delta","thinking":"\xff","signature":"\xef\xbf\xbd"}', False),
    ],
)
def test_a_replacement_character_that_was_sent_does_not_hide_an_invalid_byte(
    raw: bytes, lost: bool
) -> None:
    start = body(message_start(), block_start(0, {"type": "thinking", "thinking": ""}))
    head = b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":'
    assert losses(start + head + raw + b"}\n\n" + ENDING) == [Code.INVALID_UTF8] * lost


def test_an_invalid_byte_in_an_event_that_is_as_deep_as_the_limit_is_reported() -> None:
    member = b"[" * 600 + b'"\xff"' + b"]" * 600
    delta = b'{"type":"thinking_delta","thinking":"hm","more":%b}' % member
    data = b'{"type":"content_block_delta","index":0,"delta":%b}' % delta
    start = body(message_start(), block_start(0, {"type": "thinking", "thinking": ""}))
    machine = StreamMachine(limits=Limits(depth=602))
    list(machine.receive_data(start + b"event: content_block_delta\ndata: " + data + b"\n\n"))
    assert [violation.code for violation in machine.violations] == [Code.INVALID_UTF8]


def test_a_loss_in_a_last_frame_without_its_blank_line_keeps_its_code() -> None:
    piece = json.dumps(json_piece(0, "<bad>")).encode().replace(b"<bad>", b"\xff")
    stream = body(message_start(), tool_start(0)) + b"event: content_block_delta\ndata: " + piece
    machine, _ = run([stream])
    assert place_of(machine.first_loss) == (Code.INVALID_UTF8, 3, stream.rindex(b"event:"))


def test_two_payloads_in_a_frame_with_an_unknown_name_are_a_loss() -> None:
    lines = [json.dumps(text(0, piece)) for piece in ("a", "b")]
    joined_frames = "event: vertex_event\n" + "".join(f"data: {line}\n" for line in lines) + "\n"
    assert losses(BEGINNING + joined_frames.encode() + ENDING) == [Code.MISSING_BLANK_LINE]
    assert losses(BEGINNING + b"event: vertex_event\ndata: {\ndata: }x\n\n" + ENDING) == []


@pytest.mark.parametrize("name", ["ping", "message_stop", "content_block_stop", "weather_report"])
def test_content_without_a_type_is_a_loss_if_the_event_name_does_not_fit(name: str) -> None:
    untyped = {"index": 0, "delta": {"type": "text_delta", "text": "x"}}
    frame = f"event: {name}\ndata: {json.dumps(untyped)}\n\n".encode()
    machine, _ = run([BEGINNING + frame])
    assert place_of(machine.first_loss) == (Code.MISSING_TYPE, 3, len(BEGINNING))


@pytest.mark.parametrize("head", ["", "event: data\n", "event: vertex_event\n", "event: message\n"])
def test_a_cut_frame_with_a_content_type_makes_the_message_truncated(head: str) -> None:
    ending = BEGINNING + body(block_stop(0), message_delta())
    cut_frame = head + 'data: {"type":"content_block_delta","index":1,"delta":'
    assert run([ending + cut_frame.encode()])[1].verdict is Verdict.TRUNCATED
    assert run([ending + head.encode()])[1].verdict is Verdict.UNTERMINATED


@pytest.mark.parametrize("value", [0, False, 1.5, [5], {"a": 1}])
def test_content_of_the_wrong_type_is_a_loss_unless_it_is_empty(value: Any) -> None:
    block = body(block_start(0, {"type": "text", "text": value}))
    assert losses(body(message_start()) + block + ENDING) == [Code.MALFORMED_MEMBER]
    piece = delta(0, "text_delta", text=value)
    assert losses(BEGINNING + body(piece) + ENDING) == [Code.MALFORMED_DELTA]
    reason = {"type": "message_delta", "delta": {"stop_reason": value}}
    assert losses(BEGINNING + body(reason) + ENDING) == [Code.MALFORMED_MEMBER]
    filled = message_start(content=value)
    assert losses(body(filled, block_start(0)) + ENDING) == [Code.MALFORMED_MEMBER]


def test_a_repeated_signature_is_not_a_loss_unless_the_delta_has_other_content() -> None:
    block = {"type": "thinking", "thinking": "", "signature": "s"}
    stopped = body(message_start(), block_start(0, block), block_stop(0))
    end = body(message_delta(), MESSAGE_STOP)
    again = delta(0, "signature_delta", signature="s")
    assert losses(stopped + body(again) + end) == []
    assert losses(stopped + body(delta(0, "thinking_delta", signature="s")) + end) == []
    more = delta(0, "thinking_delta", thinking="x", signature="s")
    assert losses(stopped + body(more) + end) == [Code.STOPPED_BLOCK]
    assert losses(stopped + body(delta(0, "signature_delta", signature="t")) + end) == [
        Code.STOPPED_BLOCK
    ]


def codes(*payloads: Payload) -> list[Code]:
    return [violation.code for violation in run([body(*payloads)])[1].violations]


def test_a_falling_counter_is_reported_once_and_only_if_it_was_a_number() -> None:
    def with_usage(**usage: Any) -> Payload:
        return {"type": "message_delta", "delta": {}, "usage": usage}

    start = message_start(usage={"input_tokens": 5, "cache_read_input_tokens": "7"})
    fall = with_usage(input_tokens=0, cache_read_input_tokens=0)
    assert codes(start, with_usage(output_tokens=1), fall, fall) == [
        Code.MALFORMED_MEMBER,
        Code.FALLING_USAGE,
    ]
    assert codes(message_start(), with_usage(input_tokens=0, iterations=[])) == []


def test_a_new_compaction_after_null_is_not_a_second_compaction() -> None:
    start = block_start(0, {"type": "compaction", "content": "a"})
    summaries = [delta(0, "compaction_delta", content=value) for value in (None, "b", "b")]
    assert codes(message_start(), start, *summaries) == [Code.SECOND_COMPACTION]


def test_a_usage_in_delta_that_is_not_an_object_is_reported() -> None:
    end = {"type": "message_delta", "delta": {"stop_reason": "end_turn", "usage": 5}}
    assert codes(message_start(), end, MESSAGE_STOP) == [Code.MISPLACED_MEMBER]


@pytest.mark.parametrize("cut_line", [b"retry:", b"retry: ", b"retry: 2", b"retr"])
def test_a_cut_retry_field_is_not_reported_as_invalid(cut_line: bytes) -> None:
    _, outcome = run([BEGINNING + cut_line], strict=True)
    assert outcome.error == ""
    assert outcome.verdict is Verdict.TRUNCATED
    assert Code.INVALID_RETRY in [v.code for v in run([BEGINNING + b"retry:\n"])[0].violations]


def test_a_loss_does_not_add_an_input_to_an_unknown_block() -> None:
    hologram = block_start(0, {"type": "hologram", "frames": [1]})
    sent = block_start(1, {"type": "hologram", "input": {"a": 1}})
    beginning = body(message_start(), hologram, sent) + b"data: {\n\n"
    machine, _ = run([beginning])
    assert machine.snapshot is not None
    assert [block.to_dict() for block in machine.snapshot.content] == [
        hologram["content_block"],
        sent["content_block"],
    ]
    assert input_state(beginning, block_stop(0), block_stop(1)) == ["incomplete", "invalid"]


def test_a_surrogate_pair_is_joined_across_empty_deltas() -> None:
    pieces = [text(0, piece) for piece in ("a\ud83d", "", "", "\ude00b")]
    machine, _ = run([BEGINNING + body(*pieces)], observe=True)
    block = machine.block(0)
    assert isinstance(block, TextBlock)
    assert block.text == "a\N{GRINNING FACE}b"
