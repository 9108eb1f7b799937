"""The message vectors: what the official SDKs make of 186 streams, and where and why we differ."""

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

# The rows whose expectation records a choice of the SDKs where we choose otherwise: the verdict,
# the violations, and the text or input of each block. Rows that are marked `sdk_specific` and are
# not in this table come out as the SDKs have it.
OURS: Final[dict[str, tuple[Verdict, set[str], list[str | None]]]] = {
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

# The rows in which a delta comes that its block does not take. The SDKs drop it without a word.
# What it says is lost, so the message is not complete.
LOSING: Final[dict[str, tuple[Verdict, set[str], list[str | None]]]] = {
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

# Members of a message_delta that have no name: the SDKs leave them out of the message.
KEPT: Final[dict[str, dict[str, Any]]] = {
    "unknown/extra-fields": {"y": 2},
    "unknown/delta-key-in-message-delta": {"glow": 9},
}
SKIPPING: Final = {
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


def run_all_ways(row: dict[str, Any]) -> Outcome:
    # jiter's trailing-strings mode goes with the header, the other mode without it.
    strings = row.get("fine_grained_tool_streaming", False)
    chunks = chunks_of(row)
    whole = b"".join(chunks)
    _, as_given = run(chunks, observe=True, partial_strings=strings)
    for otherwise in ([whole], in_bytes(whole), at_random(whole, seed=len(whole))):
        assert run(otherwise, observe=True, partial_strings=strings)[1] == as_given
    return as_given


def types_of(outcome: Outcome) -> list[str]:
    return [
        event.wire_type if isinstance(event, UnknownEvent) else event.type
        for event in outcome.events
    ]


def content_as_the_sdk_has_it(outcome: Outcome, expected: list[Any]) -> list[Any]:
    """Our blocks as JSON; an input that is not complete is None, and `partial_input` compared."""
    assert outcome.snapshot is not None
    content: list[Any] = []
    for block, wanted in zip(outcome.snapshot.content, expected, strict=True):
        shown = block.to_dict()
        if isinstance(block, ToolUseBlock | ServerToolUseBlock | MCPToolUseBlock):
            assert (block.input is None) == (block.input_state != "complete")
            if block.input_state != "complete":
                shown["input"] = block.partial_input
        content.append(without_added_nulls(shown, wanted))
    return content


def without_added_nulls(ours: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
    """Leave out nulls that the vector does not have: what it calls `sdk_added_nulls_removed`."""
    return {key: value for key, value in ours.items() if value is not None or key in wanted}


@pytest.mark.parametrize("name", ROWS)
def test_every_stream_gives_the_message_and_the_events_of_its_vector(name: str) -> None:
    row = ROWS[name]
    expect = row["expect"]
    outcome = run_all_ways(row)
    ran("vectors/messages.jsonl")
    if name in OURS or name in LOSING:
        verdict, codes, content = (OURS | LOSING)[name]
        blocks = outcome.snapshot.to_dict()["content"] if outcome.snapshot else []
        assert [block.get("text", block.get("input")) for block in blocks] == content
        assert outcome.verdict is verdict
        assert {violation.code for violation in outcome.violations} == codes
        return
    complete = row.get("complete_at_eof_lenient", expect["complete"])
    assert (outcome.verdict is Verdict.COMPLETE) == complete
    wanted_types = row.get("event_types_at_eof_lenient", expect["event_types"])
    if any(violation.code is ViolationCode.CUT_FRAME for violation in outcome.violations):
        wanted_types = expect["event_types"]  # the last line's JSON is cut, too
    kept_out = sum(violation.code in SKIPPING for violation in outcome.violations)
    if kept_out or row.get("sdk_specific"):
        assert len(types_of(outcome)) == len(wanted_types) - kept_out
    else:
        assert types_of(outcome) == wanted_types
    wanted = expect["final_message"] or expect["partial_message"]
    lenient = "event_types_at_eof_lenient" in row
    if wanted is None or lenient:
        assert (outcome.snapshot is None) == (wanted is None)
    else:
        assert outcome.snapshot is not None
        ours = outcome.snapshot.to_dict()
        ours["content"] = content_as_the_sdk_has_it(outcome, wanted["content"])
        assert without_added_nulls(ours, wanted) == {**wanted, **KEPT.get(name, {})}
    if expect["error"] is not None:
        error = outcome.events[-1]
        assert isinstance(error, ErrorEvent)
        assert outcome.verdict is Verdict.ERRORED
        assert error.error_type == expect["error"]["type"]


def test_each_difference_from_the_sdks_is_explained_in_the_docs() -> None:
    page = (REPOSITORY / "docs" / "from-the-official-sdk.md").read_text(encoding="utf-8")
    specific = {name for name, row in ROWS.items() if row.get("sdk_specific")}
    assert set(OURS) <= specific
    assert [name for name in sorted(specific) if f"`{name}`" not in page] == []


def test_a_message_that_is_complete_says_so_in_its_stop_event_and_no_other_does() -> None:
    for row in ROWS.values():
        _, outcome = run(chunks_of(row))
        for event in outcome.events:
            if isinstance(event, MessageStopEvent):
                assert event.message is not None
                assert event.message.complete is (outcome.verdict is Verdict.COMPLETE)
                assert event == event_from_dict(event.to_dict())


@given(st.sampled_from(sorted(ROWS)), st.integers(0, 2**32))
def test_no_cut_changes_what_comes_of_a_vector(name: str, seed: int) -> None:
    whole = b"".join(chunks_of(ROWS[name]))
    assert run(at_random(whole, seed), observe=True)[1] == run([whole], observe=True)[1]
