"""Recordings: 270 bodies of the API, of gateways and of servers that imitate the API."""

import json
from typing import Any, Final

import pytest
from hypothesis import given, strategies as st

from sansio_stream import Verdict, ViolationCode, message_from_dict
from shared_data import CapturedBody, captures, ran
from wire import Outcome, at_random, in_bytes, run

BODIES: Final = {capture.file: capture for capture in captures(".sse")}
PAYLOADS: Final = {capture.file: capture for capture in captures(".jsonl")}
OTHER_FRAMING: Final = captures(".bin")


def payloads_of(capture: CapturedBody) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capture.body.splitlines() if line.strip()]


def is_spliced(file: str) -> bool:
    return "spliced" in file


def is_damaged(file: str) -> bool:
    """Whether this is the one body that was edited by hand. It has deltas for missing blocks."""
    return "anthropic-code-execution-pdf-skill.1@" in file


def check_verdict(capture: CapturedBody, outcome: Outcome) -> None:
    messages = capture.facts["events"].get("message_start", 0)
    codes = {violation.code for violation in outcome.violations}
    if is_spliced(capture.file):
        assert outcome.verdict is Verdict.BROKEN
        assert "spliced_message" in outcome.error
        return
    assert outcome.error == ""
    # In the manifest a body is complete if it ends with message_stop. One body has a ping after it.
    stopped = capture.facts["events"].get("message_stop", 0) > 0
    assert capture.facts["complete"] <= stopped
    expected = Verdict.DAMAGED if is_damaged(capture.file) else Verdict.COMPLETE
    assert (outcome.verdict is expected) == stopped
    assert any(violation.loses_content for violation in outcome.violations) == is_damaged(
        capture.file
    )
    if messages > 1:
        assert codes & {ViolationCode.SECOND_MESSAGE, ViolationCode.DUPLICATE_MESSAGE_START}
    if outcome.snapshot is not None and outcome.verdict is Verdict.COMPLETE:
        assert message_from_dict(outcome.snapshot.to_dict()).to_dict() == outcome.snapshot.to_dict()


@pytest.mark.parametrize("file", BODIES)
def test_a_recorded_body_has_the_verdict_of_its_manifest_however_it_is_cut(file: str) -> None:
    capture = BODIES[file]
    _, outcome = run(capture.chunks)
    check_verdict(capture, outcome)
    for chunks in ([capture.body], in_bytes(capture.body), at_random(capture.body)):
        assert run(chunks)[1] == outcome
    ran("captures/*.sse")


@pytest.mark.parametrize("file", PAYLOADS)
def test_recorded_payloads_have_the_verdict_of_their_manifest(file: str) -> None:
    capture = PAYLOADS[file]
    _, outcome = run(payloads_of(capture))
    check_verdict(capture, outcome)
    ran("captures/*.jsonl")


def test_bodies_in_another_framing_are_counted_and_not_read() -> None:
    assert len(OTHER_FRAMING) == 48
    ran("captures/*.bin (another framing: listed, not run)", 0)


@given(st.sampled_from(sorted(BODIES)), st.integers(0, 2**32))
def test_each_recording_has_the_same_result_however_it_is_cut(file: str, seed: int) -> None:
    body = BODIES[file].body
    assert run(at_random(body, seed))[1] == run([body])[1]


@given(st.sampled_from(sorted(BODIES)), st.data())
def test_a_cut_recording_is_never_complete(file: str, data: st.DataObject) -> None:
    body = BODIES[file].body
    end = data.draw(st.integers(0, len(body)))
    _, whole = run([body])
    machine, outcome = run([body[:end]])
    if outcome.verdict is Verdict.COMPLETE:
        assert outcome.snapshot == whole.snapshot
    else:
        assert outcome.verdict in {
            Verdict.EMPTY,
            Verdict.TRUNCATED,
            Verdict.UNTERMINATED,
            Verdict.ERRORED,
        }
    assert outcome.events == whole.events[: len(outcome.events)]
    assert machine.bytes_received == end
