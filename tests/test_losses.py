"""Losses: which violations mean that content was lost, and the verdict and errors that follow.

A message with a loss is never complete.
"""

import copy
import json
import pickle
from typing import Any, Final

import pytest

from sansio_stream import (
    APIError,
    ContentBlockStopEvent,
    IncompleteMessageError,
    Limits,
    Message,
    MessageStopEvent,
    ProtocolError,
    StreamMachine,
    TextBlock,
    ToolUseBlock,
    Verdict,
    ViolationCode,
    message_from_dict,
)
from shared_data import SHARED, load, ran
from wire import (
    HELLO,
    MESSAGE_STOP,
    PING,
    Outcome,
    at_random,
    block_start,
    block_stop,
    body,
    delta,
    frame,
    in_bytes,
    json_piece,
    message_delta,
    message_start,
    run,
    text,
    tool_start,
)

START: Final = body(message_start())
END: Final = body(message_delta(), MESSAGE_STOP)


def run_however_cut(stream: bytes, **options: Any) -> tuple[StreamMachine, Outcome]:
    """Run a stream in one chunk and return the result.

    Other cuts, and a run without the fast path, must have the same result.
    """
    machine, outcome = run([stream], observe=True, **options)
    for chunks in (in_bytes(stream), at_random(stream)):
        assert run(chunks, observe=True, **options)[1] == outcome
    assert run([stream], observe=True, fast_path=False, **options)[1] == outcome
    return machine, outcome


def after_text(*frames: bytes) -> bytes:
    """Return a message with a text block. The frames follow the first delta of the block."""
    head = body(message_start(), block_start(0), text(0, "Do "))
    return head + b"".join(frames) + body(text(0, "it."), block_stop(0)) + END


def in_call(*frames: bytes, **members: Any) -> bytes:
    """Return a message with a tool call, and the frames between its start and its stop."""
    head = body(message_start(), tool_start(0, **members))
    end = body(block_stop(0), message_delta("tool_use"), MESSAGE_STOP)
    return head + b"".join(frames) + end


def check_loss(stream: bytes, code: str | None) -> None:
    """Check the code of the first loss of a stream and all consequences of this loss.

    If `code` is None, check that there is no loss and that the message is complete.
    """
    machine, outcome = run_however_cut(stream)
    losses = [each for each in outcome.violations if each.loses_content]
    assert all(each.code.may_lose_content for each in losses)
    assert [each.code for each in losses[:1]] == ([] if code is None else [code])
    assert machine.first_loss == (losses[0] if losses else None)
    if code is None:
        assert outcome.verdict is Verdict.COMPLETE
        assert machine.final_message().complete
        return
    check_damaged(machine, outcome)
    _, strict = run_however_cut(stream, strict=True)
    assert strict.verdict is Verdict.BROKEN
    keeps_none = StreamMachine(limits=Limits(violations=0))
    events = [*keeps_none.receive_data(stream), *keeps_none.receive_eof()]
    assert tuple(events) == outcome.events
    assert (keeps_none.verdict, keeps_none.first_loss) == (Verdict.DAMAGED, machine.first_loss)


def check_damaged(machine: StreamMachine, outcome: Outcome) -> None:
    assert outcome.verdict is Verdict.DAMAGED
    loss = machine.first_loss
    assert loss is not None
    with pytest.raises(IncompleteMessageError, match=loss.code) as caught:
        machine.final_message()
    assert caught.value.first_loss == loss
    assert caught.value.verdict is Verdict.DAMAGED
    assert caught.value.partial_message == machine.snapshot
    assert f"byte offset {loss.byte_offset}" in str(caught.value)
    assert machine.snapshot is None or not machine.snapshot.complete
    for event in outcome.events:
        if isinstance(event, MessageStopEvent):
            assert event.message is not None
            assert not event.message.complete
    for again in (pickle.loads(pickle.dumps(machine)), copy.deepcopy(machine)):
        assert (again.verdict, again.first_loss) == (Verdict.DAMAGED, loss)


# Damaged frames.

PAYLOAD: Final = json.dumps(text(0, "not "))

DAMAGED_DATA: Final = {
    "cut": PAYLOAD[:60],
    "cut at its end": PAYLOAD[:-1],
    "two payloads on two lines": f"{PAYLOAD}\ndata: {PAYLOAD}",
    "two payloads on one line": PAYLOAD + PAYLOAD,
    "inside an array": f"[{PAYLOAD}]",
    "inside a string": json.dumps(PAYLOAD),
    "after a second field name": f"data: {PAYLOAD}",
    "after a timestamp": f"12:00:01 {PAYLOAD}",
    "followed by other text": f"{PAYLOAD} upstream reset",
    "with single quotes": PAYLOAD.replace('"', "'"),
    "without its beginning": PAYLOAD.rpartition("{")[2],
}


@pytest.mark.parametrize("name", ["", "message", "data", "Message", " content_block_delta"])
@pytest.mark.parametrize("data", DAMAGED_DATA.values(), ids=list(DAMAGED_DATA))
def test_data_that_contains_a_brace_and_is_not_a_json_object_is_a_loss(
    name: str, data: str
) -> None:
    head = f"event: {name}\n" if name else ""
    stray = f"{head}data: {data}\n\n".encode()
    several = data.count("\n")
    check_loss(after_text(stray), "missing_blank_line" if several else "undecodable_payload")


def test_a_ping_whose_data_contains_a_brace_and_is_not_a_json_object_is_a_loss() -> None:
    cut = b"event: ping\ndata: " + PAYLOAD[:50].encode() + b"\n\n"
    check_loss(after_text(cut), "undecodable_payload")
    check_loss(after_text(b"event: ping\ndata: beat\n\n"), None)


@pytest.mark.parametrize("name", ["weather_report", "content_block_delto", "vertex_event"])
def test_invalid_data_of_an_event_with_an_unknown_name_is_not_a_loss(name: str) -> None:
    check_loss(after_text(f"event: {name}\ndata: {PAYLOAD[:50]}\n\n".encode()), None)


def test_invalid_data_of_an_event_with_an_invalid_name_is_a_loss() -> None:
    stray = b"event: content_block_d\xff\ndata: " + PAYLOAD[:50].encode() + b"\n\n"
    check_loss(after_text(stray), "undecodable_payload")


@pytest.mark.parametrize("data", ["null", "sunny", "5", '"x"', "[1]", "{}", ": PROCESSING"])
@pytest.mark.parametrize("name", ["", "message", "data"])
def test_data_without_content_is_not_a_loss(name: str, data: str) -> None:
    head = f"event: {name}\n" if name else ""
    check_loss(after_text(f"{head}data: {data}\n\n".encode()), None)


@pytest.mark.parametrize(
    "data",
    ["[DONE]", "[done]", ' "[DONE]"', "data: [DONE]", "data:[DONE]", '"[Done]" ', "[DONE] "],
)
@pytest.mark.parametrize("name", ["", "message", "data", "message_stop"])
def test_a_done_marker_in_any_form_is_neither_an_event_nor_a_loss(name: str, data: str) -> None:
    head = f"event: {name}\n" if name else ""
    stream = after_text() + f"{head}data: {data}\n\n".encode()
    check_loss(stream, None)
    assert [each.code for each in run([stream])[1].violations] == ["done_marker"]


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"dat: " + PAYLOAD.encode(), "unknown_field"),
        (PAYLOAD.encode(), "unknown_field"),
        (b'"text":"x"}}', "unknown_field"),
        (b"upstream error: read ECONNRESET", None),
        (b"data " + PAYLOAD.encode(), "unknown_field"),
        (b": " + PAYLOAD.encode(), None),
    ],
)
def test_a_line_that_contains_a_brace_and_is_not_a_field_is_a_loss(
    line: bytes, code: str | None
) -> None:
    check_loss(after_text(line + b"\n\n"), code)
    check_loss(after_text(line + b"\n" + frame(PING)), code)
    # The brace counts even if it is beyond the part of the line that the excerpt quotes.
    if code:
        check_loss(after_text(b"dat: " + 5_000 * b"a" + b"{\n\n"), code)


def test_a_line_with_a_loss_is_found_after_any_number_of_other_lines() -> None:
    stream = after_text(3_000 * b"a\n" + b"b{\n" + 3_000 * b"c{\n" + frame(PING))
    machine, outcome = run_however_cut(stream)
    assert outcome.verdict is Verdict.DAMAGED
    assert machine.first_loss is not None
    assert machine.first_loss.excerpt == "b{"
    assert machine.violation_count == 6_001
    keeps_none = StreamMachine(limits=Limits(violations=0))
    list(keeps_none.receive_data(stream))
    assert (keeps_none.verdict, keeps_none.first_loss) == (Verdict.DAMAGED, machine.first_loss)


def test_a_second_loss_marks_an_input_although_no_violation_is_kept() -> None:
    machine = StreamMachine(limits=Limits(violations=0))
    lost_piece = frame(delta(0, "input_json_delta", partial_json=5))
    list(machine.receive_data(in_call(frame(text(7, "stray")), lost_piece)))
    call = machine.block(0)
    assert isinstance(call, ToolUseBlock)
    assert call.input_state == "invalid"


def test_the_error_of_an_incomplete_message_says_why_it_is_incomplete() -> None:
    def error_after(stream: bytes) -> IncompleteMessageError:
        machine, _ = run_however_cut(stream)
        with pytest.raises(IncompleteMessageError) as caught:
            machine.final_message()
        return caught.value

    beginning = START_AND_BLOCK + frame(PING, "pong")
    truncated = error_after(beginning)
    assert (str(truncated), truncated.first_loss) == (Verdict.TRUNCATED.value, None)
    lost = frame({"type": "content_block_delta", "index": 0, "delta": "x"})
    # The end of the body explains more than the loss before it.
    truncated = error_after(beginning + lost)
    assert (str(truncated), truncated.first_loss) == (Verdict.TRUNCATED.value, None)
    damaged = error_after(beginning + lost + END)
    assert damaged.first_loss is not None
    meaning = damaged.first_loss.code.meaning
    assert str(damaged).startswith(f"{Verdict.DAMAGED.value}: {meaning} (")
    joined = error_after(body(*HELLO).replace(b"\n\n", b"\n"))
    assert str(joined) == f"{Verdict.EMPTY.value}: {ViolationCode.MISSING_BLANK_LINE.meaning}"


HIDDEN: Final = frame(delta(0, "citations_delta", citation={"cited_text": "<>"}))


@pytest.mark.parametrize(
    ("lost", "code"),
    [
        (PAYLOAD.encode() + b"\n\n", "unknown_field"),
        (b"odd\n" + PAYLOAD.encode() + b"\n" + frame(PING), "unknown_field"),
        (HIDDEN.replace(b"<>", b"\xff"), "invalid_utf8"),
        (HIDDEN.replace(b"<>", b"\xff").replace(b"event: ", b"event: \xff"), "invalid_utf8"),
        (b"odd\n" + HIDDEN.replace(b"<>", b"\xff"), "invalid_utf8"),
        (b"data: " + PAYLOAD[:50].encode() + b"\n\n", "undecodable_payload"),
    ],
)
@pytest.mark.parametrize("earlier", [b"odd\n", b"retry: x\n", b"odd\n\nretry: x\n"])
def test_a_loss_is_found_after_earlier_frames_had_more_violations_than_are_kept(
    earlier: bytes, lost: bytes, code: str
) -> None:
    stream = after_text(3 * (earlier + frame(PING)) + lost)
    machine, outcome = run([stream])
    assert machine.first_loss is not None
    assert machine.first_loss.code == code
    for violations in range(5):
        keeps_few, few = run([stream], limits=Limits(violations=violations))
        assert few.verdict is Verdict.DAMAGED
        assert few.events == outcome.events
        assert few.violations == outcome.violations[:violations]
        assert keeps_few.first_loss == machine.first_loss
        assert keeps_few.violation_count == machine.violation_count


def test_the_loss_of_a_payload_has_no_byte_offset() -> None:
    machine = StreamMachine()
    for payload in (*HELLO[:3], text(7, "lost"), *HELLO[3:]):
        list(machine.receive_event(payload))
    with pytest.raises(IncompleteMessageError, match=r"\(unknown_index, event 4\)"):
        machine.final_message()


# Missing blank lines.


def test_lines_with_objects_without_a_type_are_not_payloads() -> None:
    stray = b'data: {"type": 5}\ndata: {"type": null}\n\n'
    check_loss(after_text(stray), "undecodable_payload")


def test_payloads_behind_other_text_in_their_lines_are_one_damaged_payload() -> None:
    stray = f"data: 12:00:01 {PAYLOAD}\ndata: 12:00:02 {PAYLOAD}\n\n".encode()
    check_loss(after_text(stray), "undecodable_payload")


def test_a_payload_may_have_other_members_before_its_type() -> None:
    payload = json.dumps({"index": 0, "type": "content_block_delta"})
    stray = f"data: {payload}\ndata: {payload}\n\n".encode()
    check_loss(after_text(stray), "missing_blank_line")


def test_a_line_with_an_object_that_is_too_deep_is_not_a_payload() -> None:
    deep = json.dumps({"type": "a", "nest": [[[1]]]})
    for name in ("", "event: vertex_event\n"):
        machine = StreamMachine(limits=Limits(depth=3))
        list(machine.receive_data(f"{name}data: x\ndata: {deep}\ndata: {deep}\n\n".encode()))
        assert "undecodable_payload" in [violation.code for violation in machine.violations]
        assert "missing_blank_line" not in [violation.code for violation in machine.violations]


def test_a_named_frame_with_several_payloads_is_fatal_and_the_error_names_the_cause() -> None:
    stream = START + body(block_start(0), text(0, "a")).replace(b"\n\n", b"\n") + b"\n" + END
    machine, _ = run_however_cut(stream)
    assert machine.verdict is Verdict.BROKEN
    with pytest.raises(ProtocolError, match="the blank lines between frames are missing") as caught:
        machine.final_message()
    assert caught.value.code == "undecodable_payload"


def test_the_error_of_one_payload_beside_other_text_names_no_blank_line() -> None:
    stream = START + f"event: content_block_delta\ndata: {PAYLOAD}\ndata: x\n\n".encode()
    machine, _ = run_however_cut(stream)
    assert isinstance(machine.error, ProtocolError)
    assert "blank line" not in str(machine.error)


def test_the_error_says_that_all_blank_lines_are_missing() -> None:
    machine, outcome = run_however_cut(body(*HELLO).replace(b"\n\n", b"\n"))
    assert outcome.verdict is Verdict.EMPTY
    assert [each.code for each in outcome.violations] == ["missing_blank_line", "cut_frame"]
    with pytest.raises(IncompleteMessageError, match="blank lines between frames are missing"):
        machine.final_message()


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_cut_frame_lacks_blank_lines_if_it_has_several_payloads(count: int) -> None:
    lines = f"data: {json.dumps(PING)}\n" * count
    _, outcome = run_however_cut(START + f'{lines}data: {{"type'.encode())
    codes = [each.code for each in outcome.violations]
    assert codes == [*["missing_blank_line"] * (count > 1), "cut_frame"]


def test_a_payload_on_several_lines_is_one_payload() -> None:
    spread = json.dumps(text(0, "not "), indent=1).replace("\n", "\ndata: ")
    check_loss(after_text(f"event: content_block_delta\ndata: {spread}\n\n".encode()), None)


# Events without a required member.


@pytest.mark.parametrize(
    "payload",
    [
        {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "x"}},
        {"type": "content_block_delta", "index": "0", "delta": {"type": "text_delta", "text": "x"}},
        {"type": "content_block_delta", "index": 0, "delta": {"text": "x"}},
        {"type": "content_block_delta", "index": 0, "delta": "x"},
        {"type": "content_block_start", "index": 1},
        {"type": "content_block_start", "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_start", "index": 1, "content_block": {"text": "x"}},
        {"type": "message_start"},
        {"type": "message_start", "message": None},
        {"type": "message_delta", "delta": "end_turn"},
        {"type": "message_delta", "delta": [{"stop_reason": "end_turn"}]},
    ],
)
def test_a_content_event_without_a_required_member_is_a_loss(payload: dict[str, Any]) -> None:
    check_loss(after_text(frame(payload)), "malformed_event")
    check_loss(after_text(frame(payload, "")), "malformed_event")


def test_a_message_start_without_its_message_is_a_loss_and_makes_no_message() -> None:
    stream = body({"type": "message_start"}, *HELLO[1:])
    machine, outcome = run_however_cut(stream)
    assert machine.snapshot is None
    check_damaged(machine, outcome)


@pytest.mark.parametrize("index", [None, -1, 10_000, 0.0, True])
def test_a_block_stop_without_a_valid_index_is_not_a_loss(index: Any) -> None:
    check_loss(after_text(frame({"type": "content_block_stop", "index": index})), None)


def test_a_stop_reason_that_is_not_a_string_is_a_loss() -> None:
    changes = {"type": "message_delta", "delta": {"stop_reason": 5}}
    check_loss(after_text(frame(changes)), "malformed_member")
    check_loss(after_text(frame({"type": "message_delta", "delta": {"stop_reason": None}})), None)


@pytest.mark.parametrize("member", ["delta", "content_block", "message"])
def test_a_payload_without_a_type_is_a_loss_if_it_contains_a_typed_object(member: str) -> None:
    for name in ("", "message", "weather_report"):
        check_loss(after_text(frame({member: {"type": "text_delta"}}, name)), "missing_type")
        check_loss(after_text(frame({member: {"kind": "text_delta"}}, name)), None)


@pytest.mark.parametrize("name", ["message_start", "content_block_start", "content_block_delta"])
def test_a_ping_or_unknown_event_with_the_name_of_a_content_event_is_a_loss(name: str) -> None:
    for payload in (PING, {"type": "weather_report"}):
        check_loss(after_text(frame(payload, name)), "event_name_mismatch")
        check_loss(after_text(frame(payload, "message_delta")), None)


# Deltas.


@pytest.mark.parametrize(
    ("members", "code"),
    [
        ({"text": 5}, "malformed_delta"),
        ({"text": {"value": "x"}}, "malformed_delta"),
        ({"txt": "x"}, "malformed_delta"),
        ({"text": None, "content": ["x"]}, "malformed_delta"),
        ({}, None),
        ({"text": None}, None),
        ({"txt": "", "more": None}, None),
        ({"text": ""}, None),
    ],
)
def test_a_known_delta_without_its_value_is_a_loss_if_another_member_has_a_value(
    members: dict[str, Any], code: str | None
) -> None:
    check_loss(after_text(frame(delta(0, "text_delta", **members))), code)


def test_a_signature_alone_on_a_thinking_delta_is_folded() -> None:
    stream = body(
        message_start(),
        block_start(0, {"type": "thinking", "thinking": "", "signature": ""}),
        delta(0, "thinking_delta", thinking="hm"),
        delta(0, "thinking_delta", signature="EqQB"),
        block_stop(0),
    )
    machine, outcome = run_however_cut(stream + END)
    assert outcome.violations == ()
    assert machine.final_message().to_dict()["content"][0]["signature"] == "EqQB"


def test_an_encrypted_content_alone_on_a_compaction_delta_is_folded() -> None:
    stream = body(
        message_start(),
        block_start(0, {"type": "compaction", "content": None}),
        delta(0, "compaction_delta", encrypted_content="Ev4B"),
        block_stop(0),
    )
    machine, outcome = run_however_cut(stream + END)
    assert outcome.violations == ()
    assert machine.final_message().to_dict()["content"][0]["encrypted_content"] == "Ev4B"


@pytest.mark.parametrize(
    ("stray", "code"),
    [
        (text(7, "x"), "unknown_index"),
        (text(7, ""), None),
        (block_stop(7), None),
        (delta(0, "input_json_delta", partial_json="{"), "unfit_delta"),
        (delta(0, "input_json_delta", partial_json=""), None),
        (delta(0, "signature_delta", signature="s"), "unfit_delta"),
        (delta(7, "of_tomorrow", value=1), "unknown_index"),
        (delta(7, "of_tomorrow"), None),
        (delta(0, "of_tomorrow", value=1), None),
    ],
)
def test_a_delta_that_its_block_does_not_accept_is_a_loss_if_it_has_content(
    stray: dict[str, Any], code: str | None
) -> None:
    check_loss(after_text(frame(stray)), code)


def test_a_delta_for_a_block_that_has_stopped_is_a_loss() -> None:
    blocks = body(block_start(0), text(0, "Do it."), block_stop(0))
    check_loss(START + blocks + body(text(0, " Not!")) + END, "stopped_block")
    check_loss(START + blocks + body(text(0, ""), block_stop(0)) + END, None)


def test_after_its_stop_a_repeated_signature_of_a_block_is_not_a_loss() -> None:
    thinking = {"type": "thinking", "thinking": "", "signature": ""}
    signature = delta(0, "signature_delta", signature="EqQB")
    blocks = START + body(block_start(0, thinking), signature, block_stop(0))
    check_loss(blocks + body(signature) + END, None)
    check_loss(blocks + body(delta(0, "signature_delta", signature="Other")) + END, "stopped_block")


def test_deltas_without_the_start_of_their_block_are_a_loss() -> None:
    check_loss(START + body(text(0, "hi"), block_stop(0)) + END, "unknown_index")


@pytest.mark.parametrize(
    ("early", "code"),
    [
        (text(0, "x"), "before_message_start"),
        (text(0, ""), None),
        (tool_start(0), "before_message_start"),
        (block_start(0), None),
        (block_stop(0), None),
        (message_delta(), None),
    ],
)
def test_an_event_before_message_start_is_a_loss_if_it_has_content(
    early: dict[str, Any], code: str | None
) -> None:
    check_loss(frame(early) + after_text(), code)


def test_a_second_message_start_is_a_loss_if_it_has_content() -> None:
    check_loss(after_text(frame(message_start())), None)
    again = message_start(content=[{"type": "text", "text": "x"}])
    check_loss(after_text(frame(again)), "duplicate_message_start")
    empty = message_start(content=[{"type": "text", "text": ""}])
    check_loss(after_text(frame(empty)), None)


@pytest.mark.parametrize(
    ("block", "code"),
    [
        ({"type": "text", "text": ["x"]}, "malformed_member"),
        ({"type": "text", "text": []}, None),
        ({"type": "thinking", "thinking": "", "signature": {"a": 1}}, "malformed_member"),
        ({"type": "redacted_thinking", "data": 5}, "malformed_member"),
        ({"type": "of_tomorrow", "text": 5}, None),
    ],
)
def test_a_block_member_of_the_wrong_type_is_a_loss_unless_it_is_empty(
    block: dict[str, Any], code: str | None
) -> None:
    check_loss(START + body(block_start(0, block), block_stop(0)) + END, code)
    check_loss(body(message_start(content=[block])) + END, code)


def test_content_that_is_not_a_list_of_objects_is_a_loss_unless_it_is_null() -> None:
    check_loss(body(message_start(content="hello")) + END, "malformed_member")
    check_loss(body(message_start(content=None)) + END, None)


# Bytes that are not UTF-8.


@pytest.mark.parametrize(
    ("stray", "code"),
    [
        (text(0, "<>"), None),
        (delta(0, "citations_delta", citation={"cited_text": "<>"}), "invalid_utf8"),
        (delta(0, "text_<>", text="x"), "invalid_utf8"),
        (block_start(1, {"type": "text", "text": "<>"}), None),
        (
            block_start(1, {"type": "tool_use", "id": "<>", "name": "n", "input": {}}),
            "invalid_utf8",
        ),
        (block_start(1, {"type": "of_tomorrow", "text": "<>"}), "invalid_utf8"),
        ({"type": "weather_report", "text": "<>"}, None),
        ({**text(0, ""), "type": "content_block_d<>"}, "invalid_utf8"),
        (message_delta("<>"), None),
    ],
)
def test_invalid_utf8_is_a_loss_where_the_replacement_character_is_not_visible(
    stray: dict[str, Any], code: str | None
) -> None:
    names = ["", str(stray["type"])] if "<>" not in stray["type"] else [""]
    for name in names:
        stream = after_text(frame(stray, name).replace(b"<>", b"\xff\xfe"))
        check_loss(stream, code)
        assert "invalid_utf8" in {each.code for each in run([stream])[1].violations}


def test_invalid_utf8_in_a_text_of_message_start_is_not_a_loss() -> None:
    start = frame(message_start(content=[{"type": "text", "text": "<>"}]))
    check_loss(start.replace(b"<>", b"\xff") + END, None)
    check_loss(start.replace(b"claude-test-1", b"claude-\xff") + END, "invalid_utf8")


def test_invalid_utf8_in_an_event_name_is_not_a_loss() -> None:
    stream = after_text(frame(text(0, "not "), "content_<>").replace(b"<>", b"\xff"))
    check_loss(stream, None)


def test_invalid_utf8_in_a_hidden_member_is_a_loss_despite_a_visible_replacement() -> None:
    payload = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta"}}
    payload["delta"] = {"type": "text_delta", "text": "<>", "private": "<>"}
    check_loss(after_text(frame(payload).replace(b"<>", b"\xff")), "invalid_utf8")


# Verdicts.


def test_nothing_after_message_stop_is_a_loss() -> None:
    tail = b"dat: {\n\ndata: {\n\n" + body(text(0, "x"), {"type": "content_block_delta"})
    machine, outcome = run_however_cut(after_text() + tail)
    assert outcome.verdict is Verdict.COMPLETE
    assert machine.first_loss is None
    assert not any(each.loses_content for each in outcome.violations)


@pytest.mark.parametrize(
    ("stream", "verdict"),
    [
        (after_text(b"dat: {\n\n"), Verdict.DAMAGED),
        (after_text(b"dat: {\n\n").removesuffix(frame(MESSAGE_STOP)), Verdict.DAMAGED),
        (b"data: {\n\n", Verdict.DAMAGED),
        (after_text(b"dat: {\n\n").removesuffix(END), Verdict.TRUNCATED),
        (b'{"type": "error"}', Verdict.NOT_AN_EVENT_STREAM),
        (START + b"data: {\n\n" + b"event: error\ndata: {}\n\n", Verdict.ERRORED),
        (START + b"data: {\n\n" + b"event: message_stop\ndata: {\n\n", Verdict.BROKEN),
    ],
)
def test_a_loss_changes_the_verdict_only_of_a_message_that_has_ended(
    stream: bytes, verdict: Verdict
) -> None:
    machine, outcome = run_however_cut(stream)
    assert outcome.verdict is verdict
    assert (machine.first_loss is None) == (verdict is Verdict.NOT_AN_EVENT_STREAM)


def test_a_lost_connection_after_message_stop_does_not_hide_a_loss() -> None:
    machine = StreamMachine()
    events = [*machine.receive_data(after_text(b"dat: {\n\n"))]
    assert isinstance(events[-1], MessageStopEvent)
    assert machine.verdict is Verdict.DAMAGED
    assert list(machine.connection_lost(OSError("reset"))) == []
    with pytest.raises(IncompleteMessageError, match="unknown_field"):
        machine.final_message()


START_AND_BLOCK: Final = START + body(block_start(0), text(0, "hi"), block_stop(0))
WITHOUT_MESSAGE_STOP: Final = START_AND_BLOCK + body(message_delta())
CONTENT_OF_START: Final = [{"type": "text", "text": "given"}]
CUT_START: Final = b"event: content_block_start\ndata: {"
CUT_DELTA: Final = b'data: {"type":"content_block_delta","in'
CUT_STOP: Final = b'event: message_stop\ndata: {"ty'
OPEN_BLOCK: Final = body(block_start(0))
TWO_OPEN_BLOCKS: Final = body(block_start(0), block_start(1))


@pytest.mark.parametrize(
    ("stream", "verdict"),
    [
        (WITHOUT_MESSAGE_STOP, Verdict.UNTERMINATED),
        (WITHOUT_MESSAGE_STOP + CUT_STOP, Verdict.UNTERMINATED),
        (WITHOUT_MESSAGE_STOP + b"event: mess", Verdict.UNTERMINATED),
        (WITHOUT_MESSAGE_STOP + b"event: content_block_del", Verdict.TRUNCATED),
        (WITHOUT_MESSAGE_STOP + CUT_START, Verdict.TRUNCATED),
        (WITHOUT_MESSAGE_STOP + CUT_DELTA, Verdict.TRUNCATED),
        (WITHOUT_MESSAGE_STOP + b'data: {"of":"content_block_delta"', Verdict.TRUNCATED),
        (WITHOUT_MESSAGE_STOP + b'data: {"of":"content_block_deltas"', Verdict.UNTERMINATED),
        (WITHOUT_MESSAGE_STOP + b'data: {"of":"a content_block_delta"', Verdict.UNTERMINATED),
        (START + OPEN_BLOCK + body(message_delta()), Verdict.TRUNCATED),
        (START + OPEN_BLOCK + body(message_delta("max_tokens")), Verdict.UNTERMINATED),
        (START + TWO_OPEN_BLOCKS + body(message_delta("max_tokens")), Verdict.TRUNCATED),
        (
            START + TWO_OPEN_BLOCKS + body(block_stop(1), message_delta("max_tokens")),
            Verdict.TRUNCATED,
        ),
        (
            START + TWO_OPEN_BLOCKS + body(block_stop(0), message_delta("max_tokens")),
            Verdict.UNTERMINATED,
        ),
        (START_AND_BLOCK + body(message_delta("")), Verdict.TRUNCATED),
        (START_AND_BLOCK + body(message_delta(""), message_delta()), Verdict.UNTERMINATED),
        (START_AND_BLOCK + body(message_delta(), message_delta("")), Verdict.UNTERMINATED),
        (
            body(message_start(content=CONTENT_OF_START, stop_reason="end_turn")),
            Verdict.UNTERMINATED,
        ),
        (body(message_start(content=CONTENT_OF_START, stop_reason="")), Verdict.TRUNCATED),
    ],
)
def test_unterminated_requires_a_stop_reason_and_stopped_blocks(
    stream: bytes, verdict: Verdict
) -> None:
    machine, outcome = run_however_cut(stream)
    assert outcome.verdict is verdict
    codes = [each.code for each in outcome.violations]
    assert ("missing_message_stop" in codes) is (verdict is Verdict.UNTERMINATED)
    if verdict is Verdict.UNTERMINATED:
        assert not machine.final_message().complete
    else:
        with pytest.raises(IncompleteMessageError):
            machine.final_message()


def test_strict_reports_a_missing_message_stop_and_returns_no_message() -> None:
    for stream in (WITHOUT_MESSAGE_STOP, WITHOUT_MESSAGE_STOP + CUT_STOP):
        machine, outcome = run_however_cut(stream, strict=True)
        assert outcome.verdict is Verdict.UNTERMINATED
        assert outcome.violations[-1].code == "missing_message_stop"
        assert outcome.violations[-1].byte_offset == len(stream)
        with pytest.raises(IncompleteMessageError):
            machine.final_message()


def test_an_empty_stop_reason_is_reported_and_becomes_none() -> None:
    for beginning in (
        START_AND_BLOCK + body(message_delta("")),
        body(message_start(content=CONTENT_OF_START, stop_reason="")),
    ):
        machine, outcome = run_however_cut(beginning + body(MESSAGE_STOP))
        codes = [each.code for each in outcome.violations]
        assert codes == ["empty_stop_reason", "missing_stop_reason"]
        assert machine.final_message().stop_reason is None
    assert not message_from_dict({"stop_reason": ""}).complete


# Tool inputs.


def tool_call_of(stream: bytes) -> ToolUseBlock:
    machine, _ = run_however_cut(stream)
    call = machine.block(0)
    assert isinstance(call, ToolUseBlock)
    return call


@pytest.mark.parametrize("start", [{}, {"kept": 1}, None])
@pytest.mark.parametrize("rest", [b"", frame(json_piece(0, "{}"))])
@pytest.mark.parametrize(
    "lost",
    [
        frame(delta(0, "input_json_delta", partial_json={"a": 1})),
        frame(delta(0, "input_json_delta", json='{"a": 1}')),
        frame(delta(0, "input_delta", partial_json='{"a": 1}')),
        frame(json_piece(7, '{"a": 1}')),
        frame({"type": "content_block_delta", "delta": {"type": "input_json_delta"}}),
        frame({**json_piece(0, "{"), "index": "0"}),
        frame({"type": "content_block_delta", "index": 0, "delta": {"partial_json": "{"}}),
        frame({"type": "content_block_start", "index": 1, "content_block": {}}),
        frame(json_piece(0, "{"), "").replace(b'"}}\n', b"\n"),
        2 * frame(json_piece(0, "{"), "").replace(b"\n\n", b"\n") + b"\n",
        b"dat: " + json.dumps(json_piece(0, "{")).encode() + b"\n\n",
        frame({"delta": {"type": "input_json_delta", "partial_json": "{"}}, ""),
        frame(PING, "content_block_delta"),
        frame(text(0, "stray")),
        frame(json_piece(0, '{"a": "<>"}')).replace(b"<>", b"\xff"),
    ],
)
def test_a_tool_input_with_a_lost_piece_is_never_complete(
    lost: bytes, rest: bytes, start: Any
) -> None:
    stream = in_call(lost, rest, input=start)
    call = tool_call_of(stream)
    assert (call.input, call.input_state) == (None, "invalid")
    assert call.input_error is not None
    assert "lost" in call.input_error.reason
    assert call.to_dict()["input"] is None
    machine = StreamMachine()
    for event in machine.receive_data(stream):
        running = machine.block(0)
        if isinstance(event, ContentBlockStopEvent):
            break
        # The input becomes invalid at the stop of the block. Until then it is incomplete.
        assert not isinstance(running, ToolUseBlock) or running.input_state == "incomplete"


@pytest.mark.parametrize(
    "lost",
    [
        frame(text(7, "stray")),
        frame({"type": "content_block_delta", "delta": {"type": "text_delta", "text": "x"}}),
        frame(delta(7, "thinking_delta", thinking="x")),
        frame({"type": "message_start", "message": 5}),
        frame({"type": "message_delta", "delta": 5}),
        frame(message_start(content=[{"type": "text", "text": "x"}])),
    ],
)
def test_a_loss_outside_a_tool_input_keeps_the_input_valid(lost: bytes) -> None:
    stream = in_call(lost, frame(json_piece(0, '{"a": 1}')))
    assert tool_call_of(stream).input == {"a": 1}
    assert run_however_cut(stream)[1].verdict is Verdict.DAMAGED


def test_a_piece_after_the_stop_makes_the_input_invalid_from_then_on() -> None:
    head = body(message_start(), tool_start(0), json_piece(0, '{"a": 1}'), block_stop(0))
    machine = StreamMachine()
    list(machine.receive_data(head))
    before = machine.snapshot
    assert before is not None
    assert before.content[0].to_dict()["input"] == {"a": 1}
    list(machine.receive_data(frame(json_piece(0, ', "b": 2}'))))
    after = machine.block(0)
    assert isinstance(after, ToolUseBlock)
    assert (after.input, after.input_state, after.input_json) == (None, "invalid", '{"a": 1}')
    assert machine.snapshot is not None
    assert machine.snapshot.content == (after,)
    # A returned object never changes.
    assert before.content[0].to_dict()["input"] == {"a": 1}


@pytest.mark.parametrize("before", [b"", body(tool_start(0), json_piece(0, "{}"), block_stop(0))])
def test_a_piece_before_the_start_of_its_block_makes_the_input_invalid(before: bytes) -> None:
    head = START + before + frame(json_piece(0, '{"a": 1}'))
    stream = head + body(
        tool_start(0), json_piece(0, "{}"), block_stop(0), message_delta("tool_use")
    )
    call = run_however_cut(stream + frame(MESSAGE_STOP))[0].block(0)
    assert isinstance(call, ToolUseBlock)
    assert (call.input, call.input_state) == (None, "invalid")


def test_a_piece_for_an_unknown_block_makes_every_open_input_invalid_and_no_finished_one() -> None:
    stream = START + body(
        tool_start(0),
        json_piece(0, "{}"),
        block_stop(0),
        tool_start(1),
        tool_start(2),
        json_piece(1, "{}"),
        json_piece(2, "{}"),
        json_piece(7, "{}"),
        block_stop(1),
        block_stop(2),
        message_delta("tool_use"),
        MESSAGE_STOP,
    )
    machine, _ = run_however_cut(stream)
    assert machine.snapshot is not None
    states = [
        block.input_state for block in machine.snapshot.content if isinstance(block, ToolUseBlock)
    ]
    assert states == ["complete", "invalid", "invalid"]


def test_a_loss_makes_the_input_of_an_unknown_block_invalid_too() -> None:
    start = block_start(0, {"type": "of_tomorrow", "input": {"a": 1}})
    for pieces in ([], [json_piece(0, "{}")]):
        stream = START + body(start, *pieces) + b"data: {\n\n" + body(block_stop(0)) + END
        machine, _ = run_however_cut(stream)
        block = machine.block(0)
        assert block is not None
        assert block.type == "unknown"
        assert (block.input, block.input_state) == (None, "invalid")
        assert block.to_dict()["input"] is None


@pytest.mark.parametrize("number", ["1E400", "-1e999", "1" + 400 * "0" + ".5"])
def test_a_number_too_large_for_a_float_makes_an_input_invalid(number: str) -> None:
    call = tool_call_of(in_call(frame(json_piece(0, f'{{"a e9 1E999": "1E999", "b": {number}}}'))))
    assert (call.input, call.input_state) == (None, "invalid")
    assert call.input_error is not None
    assert (call.input_error.position, call.input_error.reason) == (
        29,
        "a number is too large for a float",
    )


@pytest.mark.parametrize("number", ["1E-400", "1e308", "9" * 400])
def test_a_number_that_python_can_represent_keeps_an_input_valid(number: str) -> None:
    call = tool_call_of(in_call(frame(json_piece(0, f'{{"b": {number}}}'))))
    assert call.input == {"b": json.loads(number)}


# Members of a message_delta.


def final_message_of(stream: bytes) -> Message:
    machine, outcome = run_however_cut(stream)
    assert outcome.verdict is Verdict.COMPLETE
    return machine.final_message()


def test_a_message_delta_without_delta_is_folded() -> None:
    usage = {"input_tokens": 250, "output_tokens": 166}
    for members in ({}, {"delta": None}):
        alone = {"type": "message_delta", "usage": usage, "context_management": {"a": 1}, **members}
        stream = START_AND_BLOCK + body(message_delta(), alone, MESSAGE_STOP)
        message = final_message_of(stream)
        assert (message.usage.input_tokens, message.usage.output_tokens) == (250, 166)
        assert message.context_management == {"a": 1}
        assert message.stop_reason == "end_turn"
        assert [each.code for each in run([stream])[1].violations] == ["missing_delta"]


def test_a_usage_inside_delta_is_used_if_the_event_has_none() -> None:
    changes = {"stop_reason": "end_turn", "usage": {"output_tokens": 7}}
    inner = {"type": "message_delta", "delta": changes}
    stream = START_AND_BLOCK + body(inner, MESSAGE_STOP)
    assert final_message_of(stream).usage.output_tokens == 7
    assert run([stream])[1].violations == ()
    both = {**inner, "usage": {"output_tokens": 9}}
    stream = START_AND_BLOCK + body(both, MESSAGE_STOP)
    assert final_message_of(stream).usage.output_tokens == 9
    assert [each.code for each in run([stream])[1].violations] == ["misplaced_member"]


def test_unknown_members_of_a_message_delta_become_members_of_the_message() -> None:
    changes = {
        "type": "message_delta",
        "delta": {"stop_reason": "end_turn", "private": 3, "glow": None},
        "usage": {"output_tokens": 1},
        "provider_metadata": {"cost": 1},
    }
    start = body(message_start(glow=7, private=1))
    message = final_message_of(start + body(changes, MESSAGE_STOP))
    assert message.extra == {"glow": 7, "private": 3, "provider_metadata": {"cost": 1}}
    assert message.to_dict()["private"] == 3


@pytest.mark.parametrize("place", ["event", "delta"])
@pytest.mark.parametrize("name", ["content", "id", "model", "role", "type", "diagnostics"])
def test_a_message_delta_cannot_change_members_such_as_id_and_model(name: str, place: str) -> None:
    changes = message_delta()
    if place == "delta":
        changes["delta"][name] = "other"
    elif name != "type":
        changes[name] = "other"
    else:
        return
    stream = START_AND_BLOCK + body(changes, MESSAGE_STOP)
    assert final_message_of(stream) == final_message_of(
        START_AND_BLOCK + body(message_delta(), MESSAGE_STOP)
    )
    assert [each.code for each in run([stream])[1].violations] == ["misplaced_member"]


def test_the_last_safeguard_results_that_are_not_null_win() -> None:
    results = [{"type": "dangerous_tool_use", "status": {"type": "available", "tool_uses": {}}}]
    start = body(message_start(safeguard_results=[]))
    changes = message_delta()
    changes["delta"]["safeguard_results"] = results
    nothing = message_delta()
    nothing["delta"]["safeguard_results"] = None
    message = final_message_of(start + body(changes, nothing, MESSAGE_STOP))
    assert message.safeguard_results == results
    assert message.extra == {}
    assert message.to_dict()["safeguard_results"] == results


@pytest.mark.parametrize(
    "counter", ["input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens"]
)
def test_a_counter_that_falls_to_zero_is_reported_and_is_never_fatal(counter: str) -> None:
    start = body(message_start(usage={counter: 15}))
    changes = message_delta(usage={counter: 0, "output_tokens": 1})
    for strict in (False, True):
        machine, outcome = run_however_cut(start + body(changes, MESSAGE_STOP), strict=strict)
        assert [each.code for each in outcome.violations] == ["falling_usage"]
        assert machine.final_message().usage.to_dict()[counter] == 0
    for usage in (
        {counter: 0, "iterations": [{"type": "compaction"}]},
        {counter: 1},
        {counter: None},
    ):
        stream = start + body(message_delta(usage=usage), MESSAGE_STOP)
        assert run_however_cut(stream)[1].violations == ()
    twice = body(message_delta(usage={counter: 0}), message_delta(usage={counter: 0}))
    assert len(run_however_cut(start + twice + body(MESSAGE_STOP))[1].violations) == 1


# Surrogates.


@pytest.mark.parametrize(
    "pieces",
    [
        ["\ud83d", "\ude00"],
        ["a\ud83d", "\ude00b"],
        ["\ud83d", "", "\ude00"],
        ["\ud83d", "\ude00\ud83d", "\ude00"],
        ["\ude00", "x", "\ud83d"],
        ["\ud83d", "a", "\ude00"],
        ["\ud83d\ud83d", "\ude00"],
        ["x\ud83d", "\ude00\ud83d", "y\ude00"],
    ],
)
def test_a_surrogate_pair_in_two_deltas_becomes_one_character_as_in_utf16(
    pieces: list[str],
) -> None:
    whole = joined(pieces)
    start = block_start(0, {"type": "text", "text": pieces[0]})
    texts = [text(0, piece) for piece in pieces]
    check_text([], [block_start(0), *texts], whole)
    check_text(pieces[:1], [start, *texts[1:]], whole)
    thinking = block_start(0, {"type": "thinking", "thinking": "", "signature": ""})
    deltas = [delta(0, "thinking_delta", thinking=piece) for piece in pieces]
    machine, _ = run_however_cut(START + body(thinking, *deltas, block_stop(0)) + END)
    assert machine.final_message().to_dict()["content"][0]["thinking"] == whole


def check_text(first: list[str], events: list[dict[str, Any]], whole: str) -> None:
    """Check that the text of a block is its pieces joined, after each event and at the end.

    Args:
        first: The pieces that the start of the block has.
        events: The events of the block, without its stop.
        whole: The expected text.
    """
    machine, outcome = run_however_cut(START + body(*events, block_stop(0)) + END)
    assert outcome.violations == ()
    assert machine.final_message().to_dict()["content"][0]["text"] == whole
    observed = StreamMachine()
    list(observed.receive_data(START))
    seen = first.copy()
    for payload in events:
        list(observed.receive_data(frame(payload)))
        seen.append(payload.get("delta", {}).get("text", ""))
        block = observed.block(0)
        assert isinstance(block, TextBlock)
        assert block.text == joined(seen)


def joined(pieces: list[str]) -> str:
    return "".join(pieces).encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


def test_a_surrogate_pair_in_a_tool_input_is_joined_and_older_snapshots_do_not_change() -> None:
    pieces = ['{"a": "\ud83d', '\ude00", "b": "', "\ud83d", '\ude00"}']
    machine = StreamMachine()
    list(machine.receive_data(START + body(tool_start(0))))
    snapshots: list[ToolUseBlock] = []
    for piece in pieces:
        list(machine.receive_data(frame(json_piece(0, piece))))
        block = machine.block(0)
        assert isinstance(block, ToolUseBlock)
        snapshots.append(block)
    live = snapshots[-1].partial_input
    assert live == {"a": "\N{GRINNING FACE}", "b": "\N{GRINNING FACE}"}
    assert [older.partial_input for older in snapshots[:-1]] == [
        {"a": ""},
        {"a": "\N{GRINNING FACE}", "b": ""},
        {"a": "\N{GRINNING FACE}", "b": ""},
    ]
    for count, older in enumerate(snapshots, 1):
        assert older.input_json == joined(pieces[:count])
    list(machine.receive_data(frame(block_stop(0))))
    finished = machine.block(0)
    assert isinstance(finished, ToolUseBlock)
    assert finished.input == {"a": "\N{GRINNING FACE}", "b": "\N{GRINNING FACE}"}


# Ids and compactions.


def test_two_tool_calls_with_the_same_id_are_reported() -> None:
    def codes(*payloads: dict[str, Any]) -> list[str]:
        _, outcome = run_however_cut(body(*payloads))
        return [each.code for each in outcome.violations if "duplicate" in each.code]

    twice = [tool_start(0, id="t"), block_stop(0), tool_start(1, id="t"), block_stop(1)]
    end = [message_delta("tool_use"), MESSAGE_STOP]
    assert codes(message_start(), *twice, *end) == ["duplicate_tool_use_id"]
    call = {"type": "tool_use", "id": "t", "name": "n", "input": {}}
    other = {**call, "type": "server_tool_use"}
    filled = message_start(content=[call, other], stop_reason="tool_use")
    assert codes(filled, MESSAGE_STOP) == ["duplicate_tool_use_id"]
    mixed = [message_start(content=[call]), block_start(1, other), block_stop(1)]
    assert codes(*mixed, *end) == ["duplicate_tool_use_id"]
    for nothing in ("", None):
        first, second = tool_start(0, id=nothing), tool_start(1, id=nothing)
        nameless = [first, block_stop(0), second, block_stop(1)]
        assert codes(message_start(), *nameless, *end) == []


@pytest.mark.parametrize(
    ("second", "codes"),
    [
        ({"content": "other"}, ["second_compaction"]),
        ({"content": None}, ["second_compaction"]),
        ({"content": "one", "encrypted_content": "y"}, ["second_compaction"]),
        ({"content": "one"}, []),
        ({"content": "one", "encrypted_content": "x"}, []),
        ({"content": "one", "encrypted_content": None}, ["second_compaction"]),
    ],
)
def test_a_compaction_that_replaces_a_different_one_is_reported(
    second: dict[str, Any], codes: list[str]
) -> None:
    stream = START + body(
        block_start(0, {"type": "compaction", "content": None}),
        delta(0, "compaction_delta", content="one", encrypted_content="x"),
        delta(0, "compaction_delta", **second),
        block_stop(0),
    )
    _, outcome = run_however_cut(stream + END)
    assert [each.code for each in outcome.violations] == codes


# The codes.


def test_each_code_that_may_lose_content_says_when() -> None:
    assert {code for code in ViolationCode if code.may_lose_content} == {
        code for code in ViolationCode if code.loss
    }
    assert not any(code.may_lose_content for code in ViolationCode if not code.is_fatal_if_strict)


# Streams of servers that imitate the API.

DIALECTS: Final = {row["name"]: row for row in load("dialects/expect.jsonl")}


@pytest.mark.parametrize("name", DIALECTS)
def test_each_recorded_dialect_has_its_expected_result_however_it_is_cut(name: str) -> None:
    row = DIALECTS[name]
    stream = (SHARED / "dialects" / f"{name}.sse").read_bytes()
    machine, outcome = run_however_cut(stream)
    ran("dialects/*.sse")
    verdicts = {"DAMAGED": ["DAMAGED", "BROKEN"]}.get(row["verdict"], [row["verdict"]])
    assert row["verdict"] is None or outcome.verdict.name in verdicts
    assert outcome.verdict.name not in row.get("not_verdict", [])
    assert {*row.get("codes", [])} <= {each.code for each in outcome.violations}
    if outcome.verdict not in (Verdict.COMPLETE, Verdict.UNTERMINATED):
        with pytest.raises(APIError) as caught:
            machine.final_message()
        assert "note" not in row or "blank lines" in str(caught.value)
    message = outcome.snapshot
    wire = {} if message is None else message.to_dict()
    blocks = wire.get("content", [])
    for member in ("text", "thinking"):
        if member in row:
            assert "".join(block.get(member, "") for block in blocks) == row[member]
    by_id = {block.get("id"): block for block in blocks}
    for tool_id, value in row.get("inputs", {}).items():
        assert by_id[tool_id]["input"] == value
    for counter, count in row.get("usage", {}).items():
        assert wire["usage"][counter] == count
    if "stop_reason" in row:
        assert wire["stop_reason"] == row["stop_reason"]
    assert row.get("extra", {}).items() <= wire.items()
    assert not row.get("safeguard") or wire["safeguard_results"]


@pytest.mark.parametrize("lost", [{"delta": {"stop_reason": 5}}, {"delta": "x"}])
def test_a_loss_in_a_message_delta_leaves_the_open_inputs_as_they_are(lost: dict[str, Any]) -> None:
    machine, _ = run_however_cut(
        body(
            *(message_start(), tool_start(0), json_piece(0, '{"a"')),
            {"type": "message_delta", "usage": {}, **lost},
            *(json_piece(0, ": 1}"), block_stop(0), MESSAGE_STOP),
        )
    )
    block = machine.block(0)
    assert isinstance(block, ToolUseBlock)
    assert (block.input_state, block.input) == ("complete", {"a": 1})
    assert machine.verdict is Verdict.DAMAGED
