"""Legality, through the machine: each cell of the table, and the rules of the index."""

from typing import Any, Final

import pytest

from sansio_stream import ProtocolError, State, UnknownEvent, Verdict, ViolationCode
from sansio_stream.transitions import STATES, TRANSITIONS, Action, Decision, Step
from wire import (
    MESSAGE_STOP,
    OVERLOADED,
    PING,
    block_start,
    block_stop,
    body,
    json_piece,
    message_delta,
    message_start,
    run,
    text,
    tool_start,
)

CELLS: Final = [
    (step, state, decision)
    for step, row in TRANSITIONS.items()
    for state, decision in zip(STATES, row, strict=True)
]

# A stream that leads into each state with text block 0 open where there can be one.
LEADING_TO: Final[dict[State, tuple[dict[str, Any], ...]]] = {
    State.WAITING: (),
    State.OPEN: (message_start(), block_start(0)),
    State.CLOSING: (message_start(), block_start(0), message_delta()),
    State.DONE: (
        message_start(),
        block_start(0),
        block_stop(0),
        message_delta(),
        MESSAGE_STOP,
    ),
    State.FAILED: (message_start(), block_start(0), OVERLOADED),
}
GIVEN: Final = [{"type": "text", "text": "given"}]
OF_STEP: Final[dict[Step, dict[str, Any]]] = {
    Step.MESSAGE_START: message_start("msg_2"),
    Step.MESSAGE_START_WHOLE: message_start("msg_2", content=GIVEN, stop_reason="end_turn"),
    Step.MESSAGE_START_AGAIN: message_start(),
    Step.BLOCK_START: block_start(1),
    Step.BLOCK_DELTA: text(0, "more"),
    Step.BLOCK_STOP: block_stop(0),
    Step.MESSAGE_DELTA: message_delta(None),
    Step.MESSAGE_DELTA_STOP: message_delta("max_tokens"),
    Step.MESSAGE_STOP: MESSAGE_STOP,
    Step.PING: PING,
    Step.ERROR: OVERLOADED,
    Step.UNKNOWN: {"type": "weather_report"},
}


def test_the_table_has_a_row_for_each_step_and_a_column_for_each_state() -> None:
    assert tuple(TRANSITIONS) == tuple(Step)
    assert tuple(State) == STATES
    assert {len(row) for row in TRANSITIONS.values()} == {len(STATES)}
    assert tuple(OF_STEP) == tuple(Step)


@pytest.mark.parametrize(
    ("step", "state", "decision"),
    [pytest.param(*cell, id=f"{cell[0].name} in {cell[1].name}") for cell in CELLS],
)
def test_a_cell_of_the_table_is_what_happens(
    step: Step, state: State, decision: Decision | None
) -> None:
    before, _ = run([*LEADING_TO[state]])
    assert state in (before.state, State.FAILED)
    machine, outcome = run([*LEADING_TO[state], OF_STEP[step]])
    event_was_taken = machine.events_taken == len(LEADING_TO[state]) + 1
    codes = [violation.code for violation in outcome.violations]
    if decision is None:  # an id cannot come again before it has come
        assert (step, state) == (Step.MESSAGE_START_AGAIN, State.WAITING)
    elif decision.action is Action.ABORT:
        assert outcome.verdict is Verdict.BROKEN
        assert outcome.state is State.FAILED
        assert "spliced_message" in outcome.error
        assert not event_was_taken
    elif decision.action is Action.IGNORE:
        assert codes == [flaw.code for flaw in decision.flaws]
        assert outcome.state is state
        assert not event_was_taken
        assert outcome.snapshot == before.snapshot
    else:
        assert {flaw.code for flaw in decision.flaws} <= set(codes)
        assert outcome.state is (decision.state or state)
        assert event_was_taken


@pytest.mark.parametrize(
    ("step", "state", "decision"),
    [pytest.param(*cell, id=f"{cell[0].name} in {cell[1].name}") for cell in CELLS],
)
def test_strict_makes_each_violation_fatal(
    step: Step, state: State, decision: Decision | None
) -> None:
    stream = [*LEADING_TO[state], OF_STEP[step]]
    _, tolerant = run(stream)
    machine, outcome = run(stream, strict=True)
    assert not any(violation.code.is_fatal_if_strict for violation in outcome.violations)
    fatal = [each for each in tolerant.violations if each.code.is_fatal_if_strict]
    if decision is not None and decision.action is Action.ABORT:
        assert outcome.error == tolerant.error
    elif fatal:
        first = fatal[0]
        assert f"'code': {first.code!r}" in outcome.error
        assert f"'event_number': {first.event_number}" in outcome.error
        assert machine.state is State.FAILED
    else:
        assert outcome == tolerant


# The same without a look at the table: what it has to say is said once more, in rules.

STARTS: Final = (Step.MESSAGE_START, Step.MESSAGE_START_WHOLE, Step.MESSAGE_START_AGAIN)
CONTENT: Final = (Step.BLOCK_START, Step.BLOCK_DELTA, Step.BLOCK_STOP)
ENDS: Final = (Step.MESSAGE_DELTA, Step.MESSAGE_DELTA_STOP, Step.MESSAGE_STOP)


def happens(state: State, step: Step) -> tuple[bool, list[str], State]:
    """Whether an event is taken in a state, what it violates, and the state that follows."""
    machine, outcome = run([*LEADING_TO[state], OF_STEP[step]])
    is_taken = machine.events_taken > len(LEADING_TO[state])
    codes = [violation.code.value for violation in outcome.violations]
    # What the end violates is no matter of the event.
    return is_taken, [code for code in codes if code != "missing_message_stop"], machine.state


@pytest.mark.parametrize("state", State)
def test_pings_and_unknown_events_are_taken_anywhere_and_move_nothing(state: State) -> None:
    assert happens(state, Step.PING) == (True, [], state)
    assert happens(state, Step.UNKNOWN) == (True, [], state)


def test_nothing_of_a_message_is_taken_before_it_begins() -> None:
    for step in (*CONTENT, *ENDS):
        kept_out = (False, ["before_message_start"], State.WAITING)
        assert happens(State.WAITING, step) == kept_out
    assert happens(State.WAITING, Step.MESSAGE_START) == (True, [], State.OPEN)
    assert happens(State.WAITING, Step.MESSAGE_START_WHOLE) == (True, [], State.CLOSING)


def test_content_leaves_a_message_open_and_a_stop_reason_closes_it() -> None:
    for step in (Step.BLOCK_DELTA, Step.BLOCK_STOP, Step.MESSAGE_DELTA):
        assert happens(State.OPEN, step) == (True, [], State.OPEN)
    assert happens(State.OPEN, Step.BLOCK_START) == (True, ["overlapping_blocks"], State.OPEN)
    assert happens(State.OPEN, Step.MESSAGE_DELTA_STOP) == (True, [], State.CLOSING)


def test_content_after_a_stop_reason_counts_and_is_reported() -> None:
    for step in CONTENT:
        is_taken, codes, state = happens(State.CLOSING, step)
        assert (is_taken, codes[0], state) == (True, "after_stop_reason", State.CLOSING)
    for step in (Step.MESSAGE_DELTA, Step.MESSAGE_DELTA_STOP):
        assert happens(State.CLOSING, step) == (True, [], State.CLOSING)


def test_message_stop_ends_a_message_whether_a_stop_reason_came_or_not() -> None:
    for state in (State.OPEN, State.CLOSING):
        is_taken, _, after = happens(state, Step.MESSAGE_STOP)
        assert (is_taken, after) == (True, State.DONE)


@pytest.mark.parametrize("state", [State.OPEN, State.CLOSING])
def test_a_message_inside_a_message_breaks_the_stream_unless_it_is_the_same(state: State) -> None:
    for step in (Step.MESSAGE_START, Step.MESSAGE_START_WHOLE):
        assert happens(state, step) == (False, [], State.FAILED)
    again = happens(state, Step.MESSAGE_START_AGAIN)
    assert again == (False, ["duplicate_message_start"], state)


def test_after_message_stop_nothing_more_of_any_message_is_taken() -> None:
    for step in (*CONTENT, *ENDS, Step.ERROR):
        assert happens(State.DONE, step) == (False, ["after_message_stop"], State.DONE)
    for step in STARTS:
        assert happens(State.DONE, step) == (False, ["second_message"], State.DONE)


def test_an_error_ends_what_is_not_over_and_nothing_is_taken_after_it() -> None:
    for state in (State.WAITING, State.OPEN, State.CLOSING):
        assert happens(state, Step.ERROR) == (True, [], State.FAILED)
    for step in (*STARTS, *CONTENT, *ENDS, Step.ERROR):
        assert happens(State.FAILED, step) == (False, ["after_error"], State.FAILED)


def codes_of(*payloads: dict[str, Any]) -> list[ViolationCode]:
    _, outcome = run([body(*payloads)])
    return [violation.code for violation in outcome.violations]


def test_indexes_from_zero_upwards_one_block_at_a_time_are_clean() -> None:
    blocks = [step for i in range(5) for step in (block_start(i), text(i, "x"), block_stop(i))]
    assert codes_of(message_start(), *blocks, message_delta(), MESSAGE_STOP) == []


def test_a_gap_between_indexes_is_reported_and_content_is_ordered_by_index() -> None:
    stream = body(
        message_start(),
        block_start(5),
        text(5, "five"),
        block_stop(5),
        block_start(2),
        text(2, "two"),
        block_stop(2),
    )
    machine, outcome = run([stream])
    assert [violation.code for violation in outcome.violations] == ["index_not_next"] * 2
    assert outcome.snapshot is not None
    assert [block.to_dict()["text"] for block in outcome.snapshot.content] == ["two", "five"]
    assert machine.block(5) is outcome.snapshot.content[1]


def test_a_reused_index_is_a_new_block_and_deltas_go_to_the_newest() -> None:
    stream = [
        message_start(),
        tool_start(0),
        json_piece(0, '{"a": 1}'),
        tool_start(0, id="toolu_second"),
        json_piece(0, '{"b": 2}'),
        block_stop(0),
    ]
    machine, outcome = run(stream)
    codes = [violation.code for violation in outcome.violations]
    assert codes == ["index_reused", "overlapping_blocks"]
    assert outcome.snapshot is not None
    first, second = (block.to_dict() for block in outcome.snapshot.content)
    assert (first["input"], second["input"]) == (None, {"b": 2})
    newest = machine.block(0)
    assert newest is not None
    assert newest.to_dict()["id"] == "toolu_second"


def test_interleaved_blocks_get_their_own_deltas() -> None:
    stream = [
        message_start(),
        tool_start(0),
        tool_start(1),
        json_piece(1, '{"b": '),
        json_piece(0, '{"a": '),
        json_piece(1, "2}"),
        json_piece(0, "1}"),
        block_stop(1),
        block_stop(0),
    ]
    _, outcome = run(stream)
    assert outcome.snapshot is not None
    assert [block.to_dict()["input"] for block in outcome.snapshot.content] == [{"a": 1}, {"b": 2}]
    assert [violation.code for violation in outcome.violations] == ["overlapping_blocks"]


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (text(7, "lost"), ViolationCode.UNKNOWN_INDEX),
        (block_stop(7), ViolationCode.UNKNOWN_INDEX),
        (text(0, "late"), ViolationCode.STOPPED_BLOCK),
        (block_stop(0), ViolationCode.STOPPED_BLOCK),
        (json_piece(1, "{}"), ViolationCode.UNFIT_DELTA),
    ],
)
def test_what_has_no_block_of_its_own_is_kept_out_and_reported(
    payload: dict[str, Any], code: ViolationCode
) -> None:
    stream = [message_start(), block_start(0), block_stop(0), block_start(1)]
    _, before = run(stream)
    _, outcome = run([*stream, payload])
    assert outcome.events == before.events
    assert outcome.snapshot == before.snapshot
    (violation,) = outcome.violations
    assert violation.code is code
    assert violation.event_number == 5


def test_blocks_that_came_with_message_start_own_their_indexes_and_are_stopped() -> None:
    start = message_start(content=GIVEN)
    assert codes_of(start, text(0, "more")) == ["stopped_block"]
    assert codes_of(start, block_stop(0)) == ["stopped_block"]
    assert codes_of(start, block_start(0)) == ["index_reused"]
    assert codes_of(start, block_start(1), text(1, "x"), block_stop(1)) == []


def test_a_message_that_came_whole_needs_no_blocks_and_no_message_delta() -> None:
    call = {"type": "tool_use", "id": "toolu_1", "name": "lookup", "input": {"a": 1}}
    start = message_start(content=[call], stop_reason="tool_use")
    machine, outcome = run([start])
    assert outcome.verdict is Verdict.UNTERMINATED
    machine, outcome = run([start, MESSAGE_STOP])
    assert outcome.verdict is Verdict.COMPLETE
    assert outcome.violations == ()
    message = machine.final_message()
    assert message.to_dict()["content"] == [call]
    assert message.stop_reason == "tool_use"


def test_a_stop_reason_without_content_does_not_close_the_message() -> None:
    _, outcome = run([message_start(stop_reason="end_turn")])
    assert outcome.state is State.OPEN
    assert outcome.verdict is Verdict.TRUNCATED


def test_a_stop_reason_that_contradicts_the_blocks_is_reported() -> None:
    call = (tool_start(0), json_piece(0, "{}"), block_stop(0))
    words = (block_start(0), text(0, "x"), block_stop(0))
    for blocks, reason, expected in (
        (call, "tool_use", []),
        (call, "max_tokens", []),
        (call, "end_turn", ["contradictory_stop_reason"]),
        (words, "tool_use", ["contradictory_stop_reason"]),
        (words, "end_turn", []),
    ):
        assert codes_of(message_start(), *blocks, message_delta(reason), MESSAGE_STOP) == expected


def test_a_block_that_was_never_stopped_is_reported_when_the_message_stops() -> None:
    for reason, codes in (("end_turn", ["unclosed_block"]), ("max_tokens", [])):
        stream = (message_start(), block_start(0), message_delta(reason), MESSAGE_STOP)
        assert codes_of(*stream) == codes
    several = (message_start(), *(block_start(index) for index in range(4)))
    for stopped in range(5):
        stops = (block_stop(index) for index in range(stopped))
        codes = ["overlapping_blocks"] * 3 + ["unclosed_block"] * (stopped < 4)
        assert codes_of(*several, *stops, message_delta(), MESSAGE_STOP) == codes


def test_a_stop_reason_may_be_missing_only_if_none_ever_came() -> None:
    assert codes_of(message_start(), MESSAGE_STOP) == ["missing_stop_reason"]
    assert codes_of(message_start(stop_reason="end_turn"), MESSAGE_STOP) == []


def test_messages_without_an_id_are_never_taken_for_the_same() -> None:
    _, outcome = run([message_start(None), block_start(0), message_start(None)])  # type: ignore[arg-type]
    assert outcome.verdict is Verdict.BROKEN
    assert "spliced_message" in outcome.error


def test_a_second_message_inside_the_first_is_named_and_described() -> None:
    machine, _ = run([message_start(), message_start("msg_2")])
    assert isinstance(machine.error, ProtocolError)
    assert machine.error.code == "spliced_message"
    assert str(machine.error) == "a second message begins inside the first"


def test_the_first_message_is_a_message_even_if_its_id_is_empty() -> None:
    _, outcome = run([message_start(""), block_start(0)])
    assert (outcome.state, outcome.violations) == (State.OPEN, ())
    _, outcome = run([message_start(""), message_start("")])
    assert [violation.code for violation in outcome.violations] == ["duplicate_message_start"]


def test_unknown_events_are_legal_everywhere_and_change_nothing() -> None:
    for leading in LEADING_TO.values():
        _, before = run([*leading])
        _, outcome = run([*leading, {"type": "vertex_event", "usage": {"output_tokens": 7}}])
        assert isinstance(outcome.events[-1], UnknownEvent)
        assert outcome.snapshot == before.snapshot
        assert outcome.violations == before.violations
