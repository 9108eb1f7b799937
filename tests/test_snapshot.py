"""The fold: how each delta and each message_delta changes the message.

The tests read streams with a machine and compare its snapshots.
"""

import json
import pickle
from typing import Any

import pytest
from hypothesis import given, strategies as st

from sansio_stream import (
    CompactionBlock,
    ContentBlockStartEvent,
    LimitError,
    Limits,
    StreamMachine,
    TextBlock,
    ThinkingBlock,
    ToolUseBlock,
    UnknownBlock,
    Verdict,
    ViolationCode,
)
from sansio_stream.blocks import ACCEPTED, FOLDS
from sansio_stream.codec import schema_of
from wire import (
    MESSAGE_STOP,
    OVERLOADED,
    PING,
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


def block_of(start: dict[str, Any], *deltas: tuple[str, dict[str, Any]]) -> Any:
    """Return the stopped block of a start and its deltas, and the codes of the violations."""
    changes = [delta(0, kind, **members) for kind, members in deltas]
    machine, _ = run([message_start(), block_start(0, start), *changes, block_stop(0)])
    return machine.block(0), [violation.code for violation in machine.violations]


def message_after(*payloads: dict[str, Any], start: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the JSON of the message after these payloads."""
    machine, _ = run([start or message_start(), *payloads])
    assert machine.snapshot is not None
    return machine.snapshot.to_dict()


# Deltas of a block.


def test_text_deltas_are_added_to_the_text_of_the_start() -> None:
    block, codes = block_of(
        {"type": "text", "text": "Once"},
        ("text_delta", {"text": " upon"}),
        ("text_delta", {"text": " a time"}),
    )
    assert (block, codes) == (TextBlock("Once upon a time"), [])


@pytest.mark.parametrize("absent", [{}, {"text": None}, {"text": 5}])
def test_text_begins_empty_if_the_start_has_none(absent: dict[str, Any]) -> None:
    block, _ = block_of({"type": "text", **absent}, ("text_delta", {"text": "x"}))
    assert block.to_dict() == {"type": "text", "text": "x"}


def test_citations_are_added_to_none_or_to_a_list() -> None:
    cited = {"type": "char_location", "cited_text": "c"}
    for before, expected in ((None, [cited]), ([], [cited]), ([cited], [cited, cited])):
        block, _ = block_of(
            {"type": "text", "text": "", "citations": before},
            ("citations_delta", {"citation": cited}),
        )
        assert block.to_dict()["citations"] == expected
    other = {"type": "char_location", "cited_text": "d"}
    block, _ = block_of(
        {"type": "text", "text": ""},
        ("citations_delta", {"citation": cited}),
        ("citations_delta", {"citation": other}),
    )
    assert block.to_dict()["citations"] == [cited, other]


def test_a_new_signature_replaces_the_old_one_and_is_reported() -> None:
    start = {"type": "thinking", "thinking": "", "signature": ""}
    thought = ("thinking_delta", {"thinking": "hm"})
    block, codes = block_of(start, thought, ("signature_delta", {"signature": "A"}))
    assert (block, codes) == (ThinkingBlock("hm", "A"), [])
    block, codes = block_of(
        start, ("signature_delta", {"signature": "A"}), ("signature_delta", {"signature": "B"})
    )
    assert (block.signature, codes) == ("B", [ViolationCode.SECOND_SIGNATURE])
    for second in (
        ("signature_delta", {"signature": "B"}),
        ("thinking_delta", {"thinking": "hm", "signature": "B"}),
    ):
        block, codes = block_of({**start, "signature": "A"}, second)
        assert (block.signature, codes) == ("B", [ViolationCode.SECOND_SIGNATURE])


def test_a_signature_may_come_in_the_start_block_or_on_a_thinking_delta() -> None:
    start = {"type": "thinking", "thinking": "", "signature": "A"}
    block, codes = block_of(start, ("thinking_delta", {"thinking": "hm"}))
    assert (block, codes) == (ThinkingBlock("hm", "A"), [])
    block, codes = block_of(
        {"type": "thinking", "thinking": ""},
        ("thinking_delta", {"thinking": "hm", "signature": "B"}),
    )
    assert (block, codes) == (ThinkingBlock("hm", "B"), [])
    block, codes = block_of(
        start,
        ("thinking_delta", {"thinking": "hm", "signature": "A"}),
        ("thinking_delta", {"thinking": "m", "signature": None}),
        ("signature_delta", {"signature": "A"}),
    )
    assert (block, codes) == (ThinkingBlock("hmm", "A"), [])


def test_an_empty_signature_changes_nothing() -> None:
    start = {"type": "thinking", "thinking": "", "signature": "SIG"}
    for change in (
        ("thinking_delta", {"thinking": "a", "signature": ""}),
        ("signature_delta", {"signature": ""}),
    ):
        block, codes = block_of(start, change)
        assert (block.signature, codes) == ("SIG", [])


def test_a_compaction_delta_replaces_the_summary_even_by_null() -> None:
    start = {"type": "compaction", "content": None}
    block, _ = block_of(start, ("compaction_delta", {"content": "sum", "encrypted_content": "e"}))
    assert block == CompactionBlock("sum", "e")
    block, _ = block_of(
        start,
        ("compaction_delta", {"content": "sum", "encrypted_content": "e"}),
        ("compaction_delta", {"content": None}),
    )
    assert block == CompactionBlock(None, "e")
    block, _ = block_of(
        start,
        ("compaction_delta", {"content": "sum", "encrypted_content": "e"}),
        ("compaction_delta", {"content": "", "encrypted_content": None}),
    )
    assert block == CompactionBlock("", None)
    block, _ = block_of(start, ("signature_delta", {"signature": "s"}))
    assert block.signature == "s"


def test_a_delta_without_a_fold_rule_is_kept_as_unfolded() -> None:
    sparkle = ("sparkle_delta", {"sparkle": "*"})
    block, codes = block_of({"type": "text", "text": "a"}, sparkle, ("text_delta", {"text": "b"}))
    assert (block.text, codes) == ("ab", [])
    assert [each.to_dict() for each in block.unfolded] == [
        {"type": "sparkle_delta", "sparkle": "*"}
    ]
    assert block.to_dict() == {"type": "text", "text": "ab"}
    assert block != TextBlock("ab")


def test_a_delta_without_its_value_is_kept_as_unfolded() -> None:
    block, codes = block_of({"type": "text", "text": "a"}, ("text_delta", {"txet": "b"}))
    assert block.text == "a"
    assert [each.wire_type for each in block.unfolded] == ["text_delta"]
    assert codes == [ViolationCode.MALFORMED_DELTA]


def test_an_unknown_block_keeps_every_delta_without_a_violation() -> None:
    start = {"type": "hologram", "frames": [], "text": ""}
    kinds = ("text_delta", "frame_delta", "signature_delta")
    block, codes = block_of(
        start,
        ("text_delta", {"text": "x"}),
        ("frame_delta", {"frame": 1}),
        ("signature_delta", {"signature": "s"}),
    )
    assert isinstance(block, UnknownBlock)
    assert codes == []
    assert tuple(each.to_dict()["type"] for each in block.unfolded) == kinds
    assert block.to_dict() == start
    assert (block.input, block.input_json, block.input_state) == (None, "", "incomplete")


def test_an_unknown_block_with_input_deltas_has_an_input() -> None:
    start = {"type": "future_tool_use", "id": "x", "input": {}}
    block, _ = block_of(
        start,
        ("input_json_delta", {"partial_json": '{"a"'}),
        ("input_json_delta", {"partial_json": ": 1}"}),
    )
    assert (block.input, block.input_json, block.input_state) == ({"a": 1}, '{"a": 1}', "complete")
    assert block.to_dict() == {**start, "input": {"a": 1}}
    assert len(block.unfolded) == 2


def test_an_unknown_block_with_an_input_in_its_start_is_not_changed() -> None:
    start = {"type": "warp_tool_use", "input": {"a": 1}}
    machine, _ = run([message_start(), block_start(0, start)])
    running: Any = machine.block(0)
    assert (running.input, running.input_state) == (None, "incomplete")
    assert running.to_dict() == start
    block, _ = block_of(start)
    assert (block.input, block.input_state) == ({"a": 1}, "complete")
    block, _ = block_of({"type": "hologram", "input": [1, 2]})
    assert block.to_dict()["input"] == [1, 2]
    assert block.input is None


def test_block_returns_the_same_object_until_the_next_delta() -> None:
    for start, piece in ((block_start(0), text(0, "x")), (tool_start(0), json_piece(0, "{"))):
        machine, _ = run([message_start(), start, piece])
        assert machine.snapshot is not None
        assert machine.block(0) is machine.block(0) is machine.snapshot.content[0]
    machine = StreamMachine()
    list(machine.receive_data(body(message_start(), block_start(0), text(0, "x"))))
    before = machine.block(0)
    list(machine.receive_data(body(text(0, "y"))))
    assert (before, machine.block(0)) == (TextBlock("x"), TextBlock("xy"))


def test_every_fold_rule_names_existing_members() -> None:
    for kind, rules in FOLDS.items():
        for rule in rules:
            item = {"citations": "citation", "input": "partial_json"}.get(rule.member, rule.member)
            assert item in {member.name for member in schema_of(kind).members}
        assert sum(kind in accepted for accepted in ACCEPTED.values()) > 1
        assert kind in ACCEPTED[UnknownBlock]


# Tool input.


def call(*pieces: str, stop: bool = True, **start: Any) -> ToolUseBlock:
    steps = [message_start(), tool_start(0, **start), *(json_piece(0, piece) for piece in pieces)]
    machine, outcome = run([*steps, block_stop(0)] if stop else steps)
    assert outcome.violations == ()
    block = machine.block(0)
    assert isinstance(block, ToolUseBlock)
    return block


@pytest.mark.parametrize(
    ("pieces", "start", "value", "state"),
    [
        ([], {}, {}, "complete"),
        ([""], {}, {}, "complete"),
        (["", ""], {"input": {"given": 1}}, {"given": 1}, "complete"),
        (['{"a": 1}'], {"input": {"given": 1}}, {"a": 1}, "complete"),
        (['{"a"', ": 1", "}"], {}, {"a": 1}, "complete"),
        (['{"a": 1, "a": 2}'], {}, {"a": 2}, "complete"),
        ([' {"a": 1} '], {}, {"a": 1}, "complete"),
        (['{"a": 1'], {}, None, "invalid"),
        (['{"a": 1}{"b": 2}'], {}, None, "invalid"),
        (["{'a': 1}"], {}, None, "invalid"),
        (['{"a": NaN}'], {}, None, "invalid"),
        (["[1]"], {}, None, "invalid"),
        (['"words"'], {}, None, "invalid"),
        ([" "], {}, None, "invalid"),
        ([], {"input": None}, None, "incomplete"),
        ([""], {"input": None}, None, "incomplete"),
        ([], {"input": "words"}, None, "invalid"),
        ([""], {"input": [1]}, None, "invalid"),
    ],
)
def test_an_input_is_the_parsed_text_or_the_input_of_the_start_or_none(
    pieces: list[str], start: dict[str, Any], value: dict[str, Any] | None, state: str
) -> None:
    block = call(*pieces, **start)
    assert (block.input, block.input_state) == (value, state)
    assert block.input_json == "".join(pieces)
    assert block.to_dict()["input"] == value
    assert (block.input_error is not None) == (state == "invalid")


def test_an_invalid_input_has_a_position_and_a_reason_and_other_blocks_stay_valid() -> None:
    steps = [
        message_start(),
        tool_start(0),
        json_piece(0, '{"a": bad}'),
        block_stop(0),
        tool_start(1),
        json_piece(1, '{"b": 2}'),
        block_stop(1),
        message_delta("tool_use"),
        MESSAGE_STOP,
    ]
    machine, outcome = run(steps, strict=True)
    assert outcome.error == ""
    first, second = machine.final_message().content
    assert isinstance(first, ToolUseBlock)
    assert isinstance(second, ToolUseBlock)
    assert first.input_error is not None
    assert first.input_error.position == 6
    assert first.input_error.reason
    assert second.input == {"b": 2}
    assert second.input_error is None


def test_an_input_nested_deeper_than_the_limit_is_invalid_and_not_fatal() -> None:
    deep = '{"a": ' * 300 + "1" + "}" * 300
    machine, outcome = run([message_start(), tool_start(0), json_piece(0, deep), block_stop(0)])
    assert outcome.error == ""
    block = machine.block(0)
    assert isinstance(block, ToolUseBlock)
    assert block.input_state == "invalid"


def test_the_input_of_an_open_call_is_none_and_its_partial_input_shows_the_progress() -> None:
    block = call('{"a": [1, "tw', stop=False)
    assert (block.input, block.input_state) == (None, "incomplete")
    assert block.partial_input == {"a": [1, "tw"]}
    assert block.to_dict()["input"] is None
    block = call(stop=False, input={"given": 1})
    assert (block.input, block.input_state) == (None, "incomplete")
    assert block.partial_input == {"given": 1}


def test_the_block_of_a_start_event_has_the_input_of_the_start() -> None:
    _, outcome = run([message_start(), tool_start(0, input={"given": 1})])
    event = outcome.events[1]
    assert isinstance(event, ContentBlockStartEvent)
    assert isinstance(event.content_block, ToolUseBlock)
    assert event.content_block.input == event.content_block.partial_input == {"given": 1}
    assert event.content_block.input_state == "incomplete"


def test_partial_input_has_incomplete_strings_only_with_that_option() -> None:
    for wanted, expected in ((True, {"a": "b"}), (False, {})):
        machine = StreamMachine(partial_strings=wanted)
        steps = (message_start(), tool_start(0), json_piece(0, '{"a": "b'))
        list(machine.receive_data(body(*steps)))
        block = machine.block(0)
        assert isinstance(block, ToolUseBlock)
        assert block.partial_input == expected
        list(machine.receive_data(body(block_stop(0))))
        block = machine.block(0)
        assert isinstance(block, ToolUseBlock)
        assert (block.input_state, block.partial_input) == ("invalid", expected)


@given(st.lists(st.text(st.sampled_from('{}[]":,a1 \\'), max_size=4), max_size=8))
def test_blocks_that_differ_only_in_the_raw_text_of_the_input_are_equal(pieces: list[str]) -> None:
    block = call(*pieces)
    same = ToolUseBlock("toolu_0", "lookup", block.input)
    assert block == same
    copied = pickle.loads(pickle.dumps(block))
    assert copied == block
    assert (copied.input_json, copied.partial_input, copied.input_state) == (
        block.input_json,
        block.partial_input,
        block.input_state,
    )


# The message.


def test_a_null_in_message_delta_resets_only_stop_details() -> None:
    refusal = {"type": "refusal", "category": None}
    first = {
        "type": "message_delta",
        "delta": {
            "stop_reason": "refusal",
            "stop_sequence": "###",
            "stop_details": refusal,
            "container": {"id": "c"},
        },
        "usage": {"output_tokens": 5},
        "context_management": {"applied_edits": []},
        "input_transformations": [1],
    }
    nothing = {
        "type": "message_delta",
        "delta": {"stop_reason": None, "stop_sequence": None, "container": None},
        "usage": {"output_tokens": None},
        "context_management": None,
        "input_transformations": None,
    }
    message = message_after(first, nothing)
    assert message["stop_reason"] == "refusal"
    assert message["stop_sequence"] == "###"
    assert message["stop_details"] == refusal
    assert message["container"] == {"id": "c"}
    assert message["context_management"] == {"applied_edits": []}
    assert message["input_transformations"] == [1]
    assert message["usage"]["output_tokens"] == 5
    taken_back = {"type": "message_delta", "delta": {"stop_details": None}}
    assert message_after(first, taken_back)["stop_details"] is None
    without = {"type": "message_delta", "delta": {}}
    assert message_after(first, taken_back, without)["stop_details"] is None
    assert message_after(first, taken_back, first)["stop_details"] == refusal
    machine, _ = run([message_start(), first, taken_back])
    assert machine.snapshot is not None
    assert machine.snapshot.stop_details is None


def test_usage_is_replaced_and_not_added_and_zero_replaces_too() -> None:
    usage = {"input_tokens": 10, "output_tokens": 1, "cache_read_input_tokens": 7, "photons": 1}
    message = message_after(
        message_delta(usage={"output_tokens": 4, "cache_read_input_tokens": 0, "photons": 2}),
        message_delta(usage={"output_tokens": 6, "input_tokens": None, "quarks": 3}),
        start=message_start(usage=usage),
    )
    assert message["usage"] == {
        "input_tokens": 10,
        "output_tokens": 6,
        "cache_read_input_tokens": 0,
        "photons": 2,
        "quarks": 3,
    }


def test_a_member_of_the_wrong_type_keeps_the_earlier_value() -> None:
    odd = {
        "type": "message_delta",
        "delta": {"stop_reason": 5, "container": "c", "stop_details": "why"},
        "usage": {"output_tokens": "12", "input_tokens": 4},
    }
    message = message_after(message_delta(container=None), odd)
    assert message["stop_reason"] == "end_turn"
    assert message["usage"] == {"input_tokens": 4, "output_tokens": 9}
    assert "stop_details" not in message
    _, outcome = run([message_start(content="hello")])
    assert [violation.code for violation in outcome.violations] == ["malformed_member"]


def test_usage_may_be_missing_in_message_start_and_message_delta() -> None:
    start = message_start()
    del start["message"]["usage"]
    bare = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}}
    assert "usage" not in message_after(start=start)
    assert "usage" not in message_after(bare, start=start)
    machine, _ = run([start, bare, MESSAGE_STOP])
    assert machine.final_message().usage.output_tokens is None


def test_a_fallback_block_changes_the_model_of_the_message() -> None:
    for to, model in (
        ({"model": "claude-b"}, "claude-b"),
        ({}, "claude-test-1"),
        (None, "claude-test-1"),
    ):
        seam = {"type": "fallback", "from": {"model": "claude-test-1"}, "to": to}
        assert message_after(block_start(0, seam))["model"] == model


def test_unknown_members_stay_in_the_message_and_its_blocks() -> None:
    start = message_start(glow=7)
    message = message_after(
        block_start(0, {"type": "text", "text": "", "tint": "red"}),
        text(0, "a"),
        block_stop(0),
        message_delta(),
        start=start,
    )
    assert message["glow"] == 7
    assert message["content"] == [{"type": "text", "text": "a", "tint": "red"}]


def test_snapshot_returns_the_same_object_until_an_event_changes_the_message() -> None:
    machine = StreamMachine()
    list(machine.receive_data(body(message_start(), block_start(0), text(0, "x"))))
    before = machine.snapshot
    list(machine.receive_data(body(PING, {"type": "weather_report"})))
    assert machine.snapshot is before
    list(machine.receive_data(body(text(0, "y"))))
    changed = machine.snapshot
    assert changed != before
    list(machine.receive_data(body(OVERLOADED)))
    assert machine.snapshot is changed


def as_the_api_writes(payload: dict[str, Any]) -> bytes:
    data = json.dumps(payload, separators=(",", ":"))
    return f"event: {payload['type']}\ndata: {data}\n\n".encode()


@pytest.mark.parametrize("fast_path", [True, False])
def test_a_snapshot_after_every_event_has_the_current_text_of_each_block(fast_path: bool) -> None:
    machine = StreamMachine(fast_path=fast_path)
    members = ("text", "thinking", "partial_json")
    starts = (
        block_start(0, {"type": "text", "text": "1"}),
        block_start(1, {"type": "thinking", "thinking": ""}),
        tool_start(2),
    )
    expected: list[str] = []

    def check_snapshots(*payloads: dict[str, Any]) -> None:
        for _ in machine.receive_data(b"".join(map(as_the_api_writes, payloads))):
            assert machine.snapshot is not None
            content = [block.to_dict() for block in machine.snapshot.content]
            texts = [block.get("text", block.get("thinking")) for block in content]
            assert [text for text in texts if text is not None] == expected[:2]
            calls = [b for b in machine.snapshot.content if isinstance(b, ToolUseBlock)]
            assert [call.input_json for call in calls] == expected[2:]

    check_snapshots(message_start())
    for index, start in enumerate(starts):
        expected.append("1" if index == 0 else "")
        check_snapshots(start)
        for piece in ("{", "", "23", "}"):
            for changed in range(index + 1):
                kind = f"{members[changed]}_delta".replace("partial_json", "input_json")
                expected[changed] += piece
                check_snapshots(delta(changed, kind, **{members[changed]: piece}))
            check_snapshots(PING, message_delta(None), PING)
    for index in range(3):
        check_snapshots(block_stop(index))
    assert expected == ["1" + 3 * "{23}", 2 * "{23}", "{23}"]


@pytest.mark.parametrize("content", [None, "text", {"type": "text"}, [5]])
def test_invalid_content_of_message_start_is_kept_until_a_block_starts(content: Any) -> None:
    start = message_start(content=content)
    assert message_after(start=start)["content"] == content
    assert message_after(message_delta(None), start=start)["content"] == content
    after_text = message_after(block_start(0), text(0, "hi"), start=start)
    assert after_text["content"] == [{"type": "text", "text": "hi"}]


def test_a_message_is_complete_only_after_message_stop() -> None:
    steps = [message_start(), message_delta(), MESSAGE_STOP]
    seen = [run(steps[: count + 1])[0].snapshot for count in range(3)]
    assert [message.complete for message in seen if message is not None] == [False, False, True]
    assert seen[1] != seen[2]


@given(st.permutations(range(6)))
def test_content_is_ordered_by_index_and_not_by_arrival(order: list[int]) -> None:
    steps = [step for i in order for step in (block_start(i), text(i, str(i)), block_stop(i))]
    message = message_after(*steps)
    assert [block["text"] for block in message["content"]] == list("012345")


def test_block_bytes_limits_a_block_with_its_deltas() -> None:
    deltas = [text(0, "x" * size) for size in (1, 20, 300)]
    size = len(body(block_start(0), *deltas))
    stream = body(message_start(), block_start(0), *deltas, block_start(1), *[text(1, "y")] * 3)
    _, outcome = run([stream], limits=Limits(block_bytes=size))
    assert outcome.error == ""
    machine, outcome = run([stream], limits=Limits(block_bytes=size - 1))
    assert isinstance(machine.error, LimitError)
    assert (machine.error.limit, machine.error.maximum) == ("block_bytes", size - 1)
    assert len(outcome.events) == 4


def test_block_bytes_includes_the_start_of_a_block() -> None:
    start = block_start(0, {"type": "web_fetch_tool_result", "content": "x" * 500})
    size = len(body(start))
    stream = body(message_start(), start, block_stop(0))
    assert run([stream], limits=Limits(block_bytes=size))[1].error == ""
    machine, outcome = run([stream], limits=Limits(block_bytes=size - 1))
    assert isinstance(machine.error, LimitError)
    assert (machine.error.limit, len(outcome.events)) == ("block_bytes", 1)
    limits = Limits()
    assert limits.total_bytes is not None
    assert limits.total_bytes < limits.blocks * limits.block_bytes


def test_block_bytes_includes_a_folded_delta_with_a_violation() -> None:
    start = block_start(0, {"type": "thinking", "thinking": "", "signature": "A"})
    second = delta(0, "signature_delta", signature="B" * 50)
    size = len(body(start, second))
    _, outcome = run([body(message_start(), start, second)], limits=Limits(block_bytes=size))
    assert (outcome.error, len(outcome.violations)) == ("", 1)
    machine, _ = run([body(message_start(), start, second)], limits=Limits(block_bytes=size - 1))
    assert isinstance(machine.error, LimitError)


def test_block_bytes_limits_all_message_deltas_together() -> None:
    changes = [message_delta(None, usage={"output_tokens": count}) for count in (1, 22, 333)]
    size = len(body(*changes))
    stream = body(message_start(), *changes)
    assert run([stream], limits=Limits(block_bytes=size))[1].error == ""
    machine, outcome = run([stream], limits=Limits(block_bytes=size - 1))
    assert isinstance(machine.error, LimitError)
    assert (machine.error.limit, len(outcome.events)) == ("block_bytes", 3)


def test_blocks_limits_the_number_of_blocks_of_a_message() -> None:
    steps = [step for i in range(10_000) for step in (block_start(i), block_stop(i))]
    machine, outcome = run([body(message_start(), *steps, block_start(9_999))], limits=Limits())
    assert len(outcome.events) == 20_001
    assert "limit" in outcome.error
    assert machine.verdict is Verdict.BROKEN
