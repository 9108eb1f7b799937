"""The table of transitions, checked with a machine, and the rules for indexes and ends.

One test checks every cell of the table. Others state the same rules without the table.
"""

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

# For each state, a stream that leads to it. Text block 0 is open, if the state allows it.
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
CONTENT_OF_START: Final = [{"type": "text", "text": "given"}]
PAYLOADS: Final[dict[Step, dict[str, Any]]] = {
    Step.MESSAGE_START: message_start("msg_2"),
    Step.MESSAGE_START_WHOLE: message_start(
        "msg_2", content=CONTENT_OF_START, stop_reason="end_turn"
    ),
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
    assert tuple(PAYLOADS) == tuple(Step)


@pytest.mark.parametrize(
    ("step", "state", "decision"),
    [pytest.param(*cell, id=f"{cell[0].name} in {cell[1].name}") for cell in CELLS],
)
def test_the_machine_follows_each_cell_of_the_table(
    step: Step, state: State, decision: Decision | None
) -> None:
    before, _ = run([*LEADING_TO[state]])
    assert state in (before.state, State.FAILED)
    machine, outcome = run([*LEADING_TO[state], PAYLOADS[step]])
    event_was_applied = machine.events_taken == len(LEADING_TO[state]) + 1
    codes = [violation.code for violation in outcome.violations]
    if decision is None:  # in this state no id can be repeated
        assert (step, state) == (Step.MESSAGE_START_AGAIN, State.WAITING)
    elif decision.action is Action.ABORT:
        assert outcome.verdict is Verdict.BROKEN
        assert outcome.state is State.FAILED
        assert "spliced_message" in outcome.error
        assert not event_was_applied
    elif decision.action is Action.IGNORE:
        assert codes == [flaw.code for flaw in decision.flaws]
        assert outcome.state is state
        assert not event_was_applied
        assert outcome.snapshot == before.snapshot
    else:
        assert {flaw.code for flaw in decision.flaws} <= set(codes)
        assert outcome.state is (decision.state or state)
        assert event_was_applied


@pytest.mark.parametrize(
    ("step", "state", "decision"),
    [pytest.param(*cell, id=f"{cell[0].name} in {cell[1].name}") for cell in CELLS],
)
def test_strict_makes_each_violation_fatal(
    step: Step, state: State, decision: Decision | None
) -> None:
    stream = [*LEADING_TO[state], PAYLOADS[step]]
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


# The same rules, stated without the table.

STARTS: Final = (Step.MESSAGE_START, Step.MESSAGE_START_WHOLE, Step.MESSAGE_START_AGAIN)
CONTENT: Final = (Step.BLOCK_START, Step.BLOCK_DELTA, Step.BLOCK_STOP)
ENDS: Final = (Step.MESSAGE_DELTA, Step.MESSAGE_DELTA_STOP, Step.MESSAGE_STOP)


def result_of(state: State, step: Step) -> tuple[bool, list[str], State]:
    """Return whether an event is applied in a state, its violations, and the next state."""
    machine, outcome = run([*LEADING_TO[state], PAYLOADS[step]])
    is_applied = machine.events_taken > len(LEADING_TO[state])
    codes = [violation.code.value for violation in outcome.violations]
    # The end of the body adds `missing_message_stop`, which does not belong to the event.
    return is_applied, [code for code in codes if code != "missing_message_stop"], machine.state


@pytest.mark.parametrize("state", State)
def test_pings_and_unknown_events_are_accepted_in_each_state_and_keep_it(state: State) -> None:
    assert result_of(state, Step.PING) == (True, [], state)
    assert result_of(state, Step.UNKNOWN) == (True, [], state)


def test_events_of_a_message_are_ignored_before_its_start() -> None:
    for step in (*CONTENT, *ENDS):
        ignored = (False, ["before_message_start"], State.WAITING)
        assert result_of(State.WAITING, step) == ignored
    assert result_of(State.WAITING, Step.MESSAGE_START) == (True, [], State.OPEN)
    assert result_of(State.WAITING, Step.MESSAGE_START_WHOLE) == (True, [], State.CLOSING)


def test_content_keeps_a_message_open_and_a_stop_reason_closes_it() -> None:
    for step in (Step.BLOCK_DELTA, Step.BLOCK_STOP, Step.MESSAGE_DELTA):
        assert result_of(State.OPEN, step) == (True, [], State.OPEN)
    assert result_of(State.OPEN, Step.BLOCK_START) == (True, ["overlapping_blocks"], State.OPEN)
    assert result_of(State.OPEN, Step.MESSAGE_DELTA_STOP) == (True, [], State.CLOSING)


def test_content_after_a_stop_reason_is_applied_and_reported() -> None:
    for step in CONTENT:
        is_applied, codes, state = result_of(State.CLOSING, step)
        assert (is_applied, codes[0], state) == (True, "after_stop_reason", State.CLOSING)
    for step in (Step.MESSAGE_DELTA, Step.MESSAGE_DELTA_STOP):
        assert result_of(State.CLOSING, step) == (True, [], State.CLOSING)


def test_message_stop_ends_a_message_with_or_without_a_stop_reason() -> None:
    for state in (State.OPEN, State.CLOSING):
        is_applied, _, after = result_of(state, Step.MESSAGE_STOP)
        assert (is_applied, after) == (True, State.DONE)


@pytest.mark.parametrize("state", [State.OPEN, State.CLOSING])
def test_a_message_inside_a_message_is_fatal_unless_it_has_the_same_id(state: State) -> None:
    for step in (Step.MESSAGE_START, Step.MESSAGE_START_WHOLE):
        assert result_of(state, step) == (False, [], State.FAILED)
    again = result_of(state, Step.MESSAGE_START_AGAIN)
    assert again == (False, ["duplicate_message_start"], state)


def test_events_of_any_message_are_ignored_after_message_stop() -> None:
    for step in (*CONTENT, *ENDS, Step.ERROR):
        assert result_of(State.DONE, step) == (False, ["after_message_stop"], State.DONE)
    for step in STARTS:
        assert result_of(State.DONE, step) == (False, ["second_message"], State.DONE)


def test_an_error_ends_the_stream_and_later_events_are_ignored() -> None:
    for state in (State.WAITING, State.OPEN, State.CLOSING):
        assert result_of(state, Step.ERROR) == (True, [], State.FAILED)
    for step in (*STARTS, *CONTENT, *ENDS, Step.ERROR):
        assert result_of(State.FAILED, step) == (False, ["after_error"], State.FAILED)


def codes_of(*payloads: dict[str, Any]) -> list[ViolationCode]:
    _, outcome = run([body(*payloads)])
    return [violation.code for violation in outcome.violations]


def test_indexes_from_zero_with_one_block_at_a_time_have_no_violations() -> None:
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


def test_a_reused_index_starts_a_new_block_that_receives_the_later_deltas() -> None:
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
def test_an_event_without_an_open_fitting_block_is_ignored_and_reported(
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


def test_blocks_of_message_start_have_indexes_and_are_stopped() -> None:
    start = message_start(content=CONTENT_OF_START)
    assert codes_of(start, text(0, "more")) == ["stopped_block"]
    assert codes_of(start, block_stop(0)) == ["stopped_block"]
    assert codes_of(start, block_start(0)) == ["index_reused"]
    assert codes_of(start, block_start(1), text(1, "x"), block_stop(1)) == []


def test_a_message_start_with_a_whole_message_needs_no_blocks_and_no_message_delta() -> None:
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
    text_block = (block_start(0), text(0, "x"), block_stop(0))
    for blocks, reason, expected in (
        (call, "tool_use", []),
        (call, "max_tokens", []),
        (call, "end_turn", ["contradictory_stop_reason"]),
        (text_block, "tool_use", ["contradictory_stop_reason"]),
        (text_block, "end_turn", []),
    ):
        assert codes_of(message_start(), *blocks, message_delta(reason), MESSAGE_STOP) == expected


def test_a_block_without_a_stop_is_reported_at_message_stop() -> None:
    for reason, codes in (("end_turn", ["unclosed_block"]), ("max_tokens", [])):
        stream = (message_start(), block_start(0), message_delta(reason), MESSAGE_STOP)
        assert codes_of(*stream) == codes
    several = (message_start(), *(block_start(index) for index in range(4)))
    for stopped in range(5):
        stops = (block_stop(index) for index in range(stopped))
        codes = ["overlapping_blocks"] * 3 + ["unclosed_block"] * (stopped < 4)
        assert codes_of(*several, *stops, message_delta(), MESSAGE_STOP) == codes


def test_a_missing_stop_reason_is_reported_unless_message_start_has_one() -> None:
    assert codes_of(message_start(), MESSAGE_STOP) == ["missing_stop_reason"]
    assert codes_of(message_start(stop_reason="end_turn"), MESSAGE_STOP) == []


def test_messages_without_an_id_are_never_the_same_message() -> None:
    _, outcome = run([message_start(None), block_start(0), message_start(None)])  # type: ignore[arg-type]
    assert outcome.verdict is Verdict.BROKEN
    assert "spliced_message" in outcome.error


def test_the_error_of_a_second_message_inside_the_first_has_a_code_and_a_text() -> None:
    machine, _ = run([message_start(), message_start("msg_2")])
    assert isinstance(machine.error, ProtocolError)
    assert machine.error.code == "spliced_message"
    assert str(machine.error) == "a second message begins inside the first"


def test_an_empty_id_is_a_valid_id() -> None:
    _, outcome = run([message_start(""), block_start(0)])
    assert (outcome.state, outcome.violations) == (State.OPEN, ())
    _, outcome = run([message_start(""), message_start("")])
    assert [violation.code for violation in outcome.violations] == ["duplicate_message_start"]


def test_unknown_events_have_no_violations_and_change_nothing() -> None:
    for leading in LEADING_TO.values():
        _, before = run([*leading])
        _, outcome = run([*leading, {"type": "vertex_event", "usage": {"output_tokens": 7}}])
        assert isinstance(outcome.events[-1], UnknownEvent)
        assert outcome.snapshot == before.snapshot
        assert outcome.violations == before.violations
