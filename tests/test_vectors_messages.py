"""The message vectors: the results of the official SDKs for 186 streams.

The tables in this module list the streams for which this library has other results.
"""

import base64
from typing import Any, Final

import pytest
from hypothesis import given, strategies as st

from sansio_stream import (
    ErrorEvent,
    MCPToolUseBlock,
    MessageStopEvent,
    ServerToolUseBlock,
    ToolUseBlock,
    UnknownEvent,
    Verdict,
    ViolationCode,
    event_from_dict,
)
from shared_data import REPOSITORY, load, ran
from wire import Outcome, at_random, in_bytes, run

ROWS: Final = {row["name"]: row for row in load("vectors/messages.jsonl")}

# The rows in which the SDKs and this library differ by choice. The values are the verdict, the
# violations, and the text or input of each block. For the other rows with the mark `sdk_specific`,
# this library has the results of the SDKs.
DIFFERENT_BY_CHOICE: Final[dict[str, tuple[Verdict, set[str], list[str | None]]]] = {
    "basic/data-only-no-event-lines": (Verdict.COMPLETE, {"missing_event_name"}, ["Good day."]),
    "basic/payload-without-type": (Verdict.COMPLETE, {"missing_type"}, ["hi"]),
    "unknown/event-not-json": (Verdict.COMPLETE, {"undecodable_payload"}, ["a"]),
    "unknown/usage-key-in-message-delta": (Verdict.COMPLETE, set(), ["a"]),
    "tool/whitespace-only": (Verdict.COMPLETE, set(), [None]),
    "tool-bad/single-quotes": (Verdict.COMPLETE, set(), [None]),
    "tool-bad/nan": (Verdict.COMPLETE, set(), [None]),
    "tool-bad/raw-newline-in-string": (Verdict.COMPLETE, set(), [None]),
    "tool-bad/bad-escape": (Verdict.COMPLETE, set(), [None]),
    "tool-bad/bom-in-json": (Verdict.COMPLETE, set(), [None]),
    "usage/missing-in-delta": (Verdict.COMPLETE, set(), ["a"]),
    "error/without-data": (Verdict.TRUNCATED, set(), []),
    "error/type-under-message-event": (Verdict.ERRORED, {"event_name_mismatch"}, []),
    "bad/json-in-delta": (Verdict.BROKEN, set(), ["a"]),
    "bad/json-in-start": (Verdict.BROKEN, set(), []),
    "bad/data-is-array": (Verdict.BROKEN, set(), []),
    "bad/data-is-null": (Verdict.BROKEN, set(), []),
    "order/delta-before-start": (Verdict.DAMAGED, {"before_message_start"}, ["a"]),
    "order/delta-without-block": (Verdict.DAMAGED, {"unknown_index"}, []),
    "order/delta-beyond-index": (Verdict.DAMAGED, {"unknown_index"}, ["a"]),
    "order/stop-without-block": (Verdict.COMPLETE, {"unknown_index"}, []),
    "order/index-gap": (Verdict.COMPLETE, {"index_not_next"}, ["x"]),
    "order/index-repeated": (Verdict.COMPLETE, {"index_reused"}, ["a", "b"]),
    "order/index-missing": (Verdict.DAMAGED, {"malformed_event"}, [""]),
    "order/delta-after-block-stop": (Verdict.DAMAGED, {"stopped_block"}, ["a"]),
    "order/events-after-stop": (Verdict.COMPLETE, {"after_message_stop"}, ["a"]),
}

# The rows with a delta that does not fit its block. The SDKs drop it silently. This library reports
# that its content is lost, so the message is not complete.
WITH_LOSSES: Final[dict[str, tuple[Verdict, set[str], list[str | None]]]] = {
    "mismatch/thinking-on-text": (Verdict.DAMAGED, {"unfit_delta"}, ["hi"]),
    "mismatch/text-on-tool": (
        Verdict.DAMAGED,
        {"unfit_delta", "contradictory_stop_reason"},
        [None],
    ),
    "mismatch/json-on-text": (Verdict.DAMAGED, {"unfit_delta"}, ["hi"]),
    "mismatch/citation-on-tool": (
        Verdict.DAMAGED,
        {"unfit_delta", "contradictory_stop_reason"},
        [None],
    ),
    "mismatch/text-on-redacted": (Verdict.DAMAGED, {"unfit_delta"}, [None]),
}

# The unknown members of a message_delta that this library adds to the message. The SDKs drop them.
KEPT_MEMBERS: Final[dict[str, dict[str, Any]]] = {
    "unknown/extra-fields": {"y": 2},
    "unknown/delta-key-in-message-delta": {"glow": 9},
}
CODES_OF_IGNORED_EVENTS: Final = {
    ViolationCode.BEFORE_MESSAGE_START,
    ViolationCode.DUPLICATE_MESSAGE_START,
    ViolationCode.SECOND_MESSAGE,
    ViolationCode.AFTER_MESSAGE_STOP,
    ViolationCode.AFTER_ERROR,
    ViolationCode.UNKNOWN_INDEX,
    ViolationCode.STOPPED_BLOCK,
    ViolationCode.UNFIT_DELTA,
    ViolationCode.DONE_MARKER,
}


def chunks_of(row: dict[str, Any]) -> list[bytes]:
    return [base64.b64decode(chunk) for chunk in row["chunks_b64"]]


def run_however_cut(row: dict[str, Any]) -> Outcome:
    # The SDKs use the trailing-strings mode of jiter if the request has the header for fine-grained
    # tool streaming, and else the other mode.
    strings = row.get("fine_grained_tool_streaming", False)
    chunks = chunks_of(row)
    whole = b"".join(chunks)
    _, as_given = run(chunks, observe=True, partial_strings=strings)
    for recut in ([whole], in_bytes(whole), at_random(whole, seed=len(whole))):
        assert run(recut, observe=True, partial_strings=strings)[1] == as_given
    return as_given


def types_of(outcome: Outcome) -> list[str]:
    return [
        event.wire_type if isinstance(event, UnknownEvent) else event.type
        for event in outcome.events
    ]


def content_in_the_form_of_the_sdk(outcome: Outcome, expected: list[Any]) -> list[Any]:
    """Return the blocks as JSON, with `partial_input` for each input that is not complete."""
    assert outcome.snapshot is not None
    content: list[Any] = []
    for block, expected_block in zip(outcome.snapshot.content, expected, strict=True):
        payload = block.to_dict()
        if isinstance(block, ToolUseBlock | ServerToolUseBlock | MCPToolUseBlock):
            assert (block.input is None) == (block.input_state != "complete")
            if block.input_state != "complete":
                payload["input"] = block.partial_input
        content.append(without_added_nulls(payload, expected_block))
    return content


def without_added_nulls(message: dict[str, Any], expected: dict[str, Any]) -> dict[str, Any]:
    """Remove the nulls that the vector does not have. It calls them `sdk_added_nulls_removed`."""
    return {key: value for key, value in message.items() if value is not None or key in expected}


@pytest.mark.parametrize("name", ROWS)
def test_every_stream_has_the_message_and_the_events_of_its_vector(name: str) -> None:
    row = ROWS[name]
    expect = row["expect"]
    outcome = run_however_cut(row)
    ran("vectors/messages.jsonl")
    if name in DIFFERENT_BY_CHOICE or name in WITH_LOSSES:
        verdict, codes, content = (DIFFERENT_BY_CHOICE | WITH_LOSSES)[name]
        blocks = outcome.snapshot.to_dict()["content"] if outcome.snapshot else []
        assert [block.get("text", block.get("input")) for block in blocks] == content
        assert outcome.verdict is verdict
        assert {violation.code for violation in outcome.violations} == codes
        return
    complete = row.get("complete_at_eof_lenient", expect["complete"])
    assert (outcome.verdict is Verdict.COMPLETE) == complete
    expected_types = row.get("event_types_at_eof_lenient", expect["event_types"])
    if any(violation.code is ViolationCode.CUT_FRAME for violation in outcome.violations):
        expected_types = expect["event_types"]  # the JSON of the last line is cut, too
    ignored = sum(violation.code in CODES_OF_IGNORED_EVENTS for violation in outcome.violations)
    if ignored or row.get("sdk_specific"):
        assert len(types_of(outcome)) == len(expected_types) - ignored
    else:
        assert types_of(outcome) == expected_types
    expected = expect["final_message"] or expect["partial_message"]
    lenient = "event_types_at_eof_lenient" in row
    if expected is None or lenient:
        assert (outcome.snapshot is None) == (expected is None)
    else:
        assert outcome.snapshot is not None
        message = outcome.snapshot.to_dict()
        message["content"] = content_in_the_form_of_the_sdk(outcome, expected["content"])
        assert without_added_nulls(message, expected) == {**expected, **KEPT_MEMBERS.get(name, {})}
    if expect["error"] is not None:
        error = outcome.events[-1]
        assert isinstance(error, ErrorEvent)
        assert outcome.verdict is Verdict.ERRORED
        assert error.error_type == expect["error"]["type"]


def test_each_difference_from_the_sdks_is_explained_in_the_docs() -> None:
    page = (REPOSITORY / "docs" / "from-the-official-sdk.md").read_text(encoding="utf-8")
    specific = {name for name, row in ROWS.items() if row.get("sdk_specific")}
    assert set(DIFFERENT_BY_CHOICE) <= specific
    assert [name for name in sorted(specific) if f"`{name}`" not in page] == []


def test_the_message_of_message_stop_is_complete_only_if_the_verdict_is() -> None:
    for row in ROWS.values():
        _, outcome = run(chunks_of(row))
        for event in outcome.events:
            if isinstance(event, MessageStopEvent):
                assert event.message is not None
                assert event.message.complete is (outcome.verdict is Verdict.COMPLETE)
                assert event == event_from_dict(event.to_dict())


@given(st.sampled_from(sorted(ROWS)), st.integers(0, 2**32))
def test_each_vector_has_the_same_result_however_it_is_cut(name: str, seed: int) -> None:
    whole = b"".join(chunks_of(ROWS[name]))
    assert run(at_random(whole, seed), observe=True)[1] == run([whole], observe=True)[1]
