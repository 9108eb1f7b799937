"""Events: the class of a payload, its violations, and its members, none of which is lost."""

import json
from typing import Any

import pytest
from hypothesis import given, strategies as st

import sansio_stream as library
import shared_data
import vocabulary
from sansio_stream import (
    CitationsDelta,
    ContentBlockDeltaEvent,
    ContentBlockStartEvent,
    ContentBlockStopEvent,
    ErrorDetail,
    ErrorEvent,
    MessageDeltaEvent,
    MessageStartEvent,
    MessageStopEvent,
    PingEvent,
    SSEDecoder,
    TextBlock,
    TextDelta,
    UnknownDelta,
    UnknownEvent,
    ViolationCode,
    event_from_dict,
    message_from_dict,
)
from sansio_stream.errors import Flaw
from sansio_stream.partial_json import loads
from sansio_stream.payloads import EVENTS, event_from_payload, event_from_text, kind_of
from wire import block_start

MISMATCH = (Flaw(ViolationCode.EVENT_NAME_MISMATCH),)
NO_TYPE = (Flaw(ViolationCode.MISSING_TYPE),)
MALFORMED = (Flaw(ViolationCode.MALFORMED_EVENT),)
MALFORMED_LOSS = (Flaw(ViolationCode.MALFORMED_EVENT, loses_content=True),)

# The unions


@pytest.mark.parametrize("union", ["MessageStreamEvent", "ContentBlockDelta"])
def test_every_class_of_a_union_has_its_own_type_and_an_example(union: str) -> None:
    classes = vocabulary.UNIONS[union]
    types = [cls.type for cls in classes]
    assert len(set(types)) == len(classes)
    assert types[-1] == "unknown"
    assert vocabulary.objects_by_class().keys() >= set(classes)


@pytest.mark.parametrize("payload", vocabulary.EVENTS)
def test_the_type_selects_the_class_of_an_event_and_of_its_delta(payload: dict[str, Any]) -> None:
    event = event_from_dict(payload)
    assert type(event) in vocabulary.UNIONS["MessageStreamEvent"]
    if event.type == "unknown":
        assert event.wire_type == payload["type"]
    else:
        assert event.type == payload["type"]
    if event.type == "content_block_delta":
        wire_type = payload["delta"]["type"]
        if event.delta.type == "unknown":
            assert event.delta.wire_type == wire_type
        else:
            assert event.delta.type == wire_type
            assert event.delta.extra == {}


def test_the_raw_names_of_events_are_the_same_classes() -> None:
    for cls in vocabulary.UNIONS["MessageStreamEvent"]:
        raw = getattr(library, f"Raw{cls.__name__}", None)
        assert raw in ({cls} if cls.__name__.startswith(("Message", "Content")) else {None})
    assert library.RawMessageStreamEvent == library.MessageStreamEvent


# From payload to event: the first matching rule decides

START = {"type": "message_start", "message": vocabulary.MESSAGE}
LLAMA = {"code": 500, "message": "no slot", "type": "server_error"}
UNTYPED = {"code": "x", "message": "no slot", "request_id": "req_1"}


@pytest.mark.parametrize(
    ("name", "payload", "cls", "flaws"),
    [
        # 1. the frame's name is error
        ("error", {"type": "error", "error": {}}, ErrorEvent, ()),
        ("error", LLAMA, ErrorEvent, MISMATCH),
        ("error", START, ErrorEvent, MISMATCH),
        ("error", {}, ErrorEvent, NO_TYPE),
        # 2. the payload's type is error
        ("message", {"type": "error", "error": {}}, ErrorEvent, MISMATCH),
        ("ping", {"type": "error"}, ErrorEvent, MISMATCH),
        ("", {"type": "error"}, ErrorEvent, ()),
        # 3. the payload's type is known
        ("ping", START, MessageStartEvent, MISMATCH),
        ("moon_event", {"type": "ping"}, PingEvent, MISMATCH),
        ("", {"type": "ping", "error": {}, "code": 1, "message": ""}, PingEvent, ()),
        ("message_stop", {"type": "message_stop"}, MessageStopEvent, ()),
        # 4. the frame's name is known, and the payload has no type
        ("ping", {}, PingEvent, NO_TYPE),
        ("ping", {"type": None}, PingEvent, NO_TYPE),
        ("message_stop", {"type": 5, "error": {}}, MessageStopEvent, NO_TYPE),
        ("message_start", {"message": {}}, MessageStartEvent, NO_TYPE),
        ("content_block_stop", {"index": 0}, ContentBlockStopEvent, NO_TYPE),
        # 5. the payload has the members of an error
        ("", LLAMA, ErrorEvent, ()),
        ("message", LLAMA, ErrorEvent, MISMATCH),
        ("", UNTYPED, ErrorEvent, NO_TYPE),
        ("moon_event", UNTYPED, ErrorEvent, NO_TYPE),
        ("", {"error": "text"}, ErrorEvent, NO_TYPE),
        ("ping", {"type": "server_error", "error": {}}, ErrorEvent, MISMATCH),
        # 6. anything else
        ("", {}, UnknownEvent, NO_TYPE),
        ("", {"error": None}, UnknownEvent, NO_TYPE),
        ("", {"error": ""}, UnknownEvent, NO_TYPE),
        ("", {"error": 5}, UnknownEvent, NO_TYPE),
        ("", {"code": 1}, UnknownEvent, NO_TYPE),
        ("", {"message": "x"}, UnknownEvent, NO_TYPE),
        ("moon_event", {}, UnknownEvent, NO_TYPE),
        ("moon_event", {"type": "moon_event"}, UnknownEvent, ()),
        ("ping", {"type": "moon_event"}, UnknownEvent, MISMATCH),
        ("", {"type": "unknown"}, UnknownEvent, ()),
        ("", {"type": "completion"}, UnknownEvent, ()),
    ],
)
def test_the_kind_of_an_event_is_decided_in_this_order(
    name: str, payload: dict[str, Any], cls: type[Any], flaws: tuple[Flaw, ...]
) -> None:
    event, found = event_from_payload(name, payload, 10_000)
    assert type(event) is cls
    assert found == flaws
    assert event.to_dict() == payload
    if not name:
        assert event_from_dict(payload) == event


@pytest.mark.parametrize(
    ("name", "cls"),
    [
        ("ping", PingEvent),
        ("error", ErrorEvent),
        ("moon_event", UnknownEvent),
        ("message", UnknownEvent),
        ("", UnknownEvent),
    ],
)
def test_data_that_is_not_an_object_is_kept_as_raw_if_the_event_name_allows_it(
    name: str, cls: type[Any]
) -> None:
    event = event_from_text(name, "not json")
    assert type(event) is cls
    assert isinstance(event, (PingEvent, ErrorEvent, UnknownEvent))
    assert event.raw == "not json"
    assert "not json" in repr(event)
    if isinstance(event, UnknownEvent):
        assert event.wire_type == name


def test_data_that_is_not_an_object_is_an_event_only_if_the_event_name_allows_it() -> None:
    for cls in vocabulary.UNIONS["MessageStreamEvent"]:
        expected = cls in {PingEvent, ErrorEvent, UnknownEvent}
        assert (event_from_text(cls.type, "not json") is not None) is expected


def test_the_wire_type_of_an_unknown_event_is_its_type_or_else_its_event_name() -> None:
    def wire_type(name: str, payload: dict[str, Any]) -> str:
        event, _ = event_from_payload(name, payload, 10_000)
        assert isinstance(event, UnknownEvent)
        assert event.to_dict() == payload
        return event.wire_type

    assert wire_type("a", {"type": "b"}) == "b"
    assert wire_type("a", {}) == "a"
    assert wire_type("content_block_stop", {"index": "0"}) == "content_block_stop"
    assert wire_type("a", {"type": 5}) == "a"
    assert wire_type("a", {"type": None}) == "a"
    assert wire_type("a", {"type": ""}) == ""
    assert wire_type("", {}) == ""


# Events without a required member

BLOCK = {"type": "text", "text": ""}
DELTA = {"type": "text_delta", "text": "x"}


@pytest.mark.parametrize(
    "payload",
    [
        {"type": "message_start"},
        {"type": "message_start", "message": None},
        {"type": "message_start", "message": []},
        {"type": "message_start", "message": "x"},
        {"type": "content_block_start", "index": 0},
        {"type": "content_block_start", "content_block": BLOCK},
        {"type": "content_block_start", "index": 0, "content_block": [BLOCK]},
        {"type": "content_block_start", "index": 0, "content_block": {}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": None}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": 5}},
        {"type": "content_block_delta", "index": 0},
        {"type": "content_block_delta", "delta": DELTA},
        {"type": "content_block_delta", "index": 0, "delta": "x"},
        {"type": "content_block_delta", "index": 0, "delta": {"text": "x"}},
        {"type": "content_block_stop"},
        {"type": "message_delta", "delta": "x"},
        {"type": "message_delta", "delta": []},
        *(
            payload
            for index in (-1, 10_000, 10**30, None, True, 0.0, "0", [0])
            for payload in (
                {"type": "content_block_start", "index": index, "content_block": BLOCK},
                {"type": "content_block_delta", "index": index, "delta": DELTA},
                {"type": "content_block_stop", "index": index},
            )
        ),
    ],
)
def test_a_known_event_without_a_required_member_is_an_unknown_event(
    payload: dict[str, Any],
) -> None:
    event, flaws = event_from_payload(payload["type"], payload, 10_000)
    assert isinstance(event, UnknownEvent)
    assert event.wire_type == payload["type"]
    assert event.to_dict() == payload
    is_stop = payload["type"] == "content_block_stop"
    assert flaws == (MALFORMED if is_stop else MALFORMED_LOSS)
    assert event_from_dict(payload) == event


def test_an_index_is_bounded_by_the_limit_of_blocks() -> None:
    for index, cls in ((0, ContentBlockStopEvent), (2, ContentBlockStopEvent), (3, UnknownEvent)):
        event, _ = event_from_payload("", {"type": "content_block_stop", "index": index}, 3)
        assert type(event) is cls


def test_an_event_can_have_two_flaws() -> None:
    _, flaws = event_from_payload("message", {"type": "content_block_stop"}, 3)
    assert flaws == MISMATCH + MALFORMED
    _, flaws = event_from_payload("content_block_stop", {}, 3)
    assert flaws == NO_TYPE + MALFORMED


@pytest.mark.parametrize(
    "payload",
    [
        # The official SDK writes events like these, and some servers send them.
        {"type": "message_stop", "message": vocabulary.MESSAGE},
        {"type": "content_block_stop", "index": 0, "content_block": BLOCK},
        {"type": "ping", "index": "?"},
        {"type": "error", "error": {}, "message": "no slot", "index": None},
        {"type": "message_delta", "delta": {}, "usage": {}, "message": 1},
        {"type": "message_start", "message": {}, "index": "?", "delta": 1},
        # Members that do not determine the block or message of the event.
        {"type": "message_delta", "delta": {}},
        {"type": "message_delta", "delta": {}, "usage": None},
        {"type": "error"},
        {"type": "error", "error": "text"},
        {"type": "message_start", "message": {"content": None, "usage": None}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text"}},
    ],
)
def test_unexpected_members_of_an_event_are_not_violations(payload: dict[str, Any]) -> None:
    event, flaws = event_from_payload("", payload, 10_000)
    assert event.type == payload["type"]
    assert event.to_dict() == payload
    assert flaws == ()


@pytest.mark.parametrize(
    ("payload", "loses"),
    [
        ({"type": "message_delta", "delta": {}, "usage": "x"}, False),
        ({"type": "message_delta", "delta": {"stop_reason": 5}}, True),
        ({"type": "message_delta", "delta": {"stop_sequence": 5}}, False),
        ({"type": "message_delta", "delta": {}, "usage": {"output_tokens": "12"}}, False),
        ({"type": "message_delta", "delta": {"usage": {"output_tokens": "12"}}}, False),
        ({"type": "message_start", "message": {"content": "x"}}, True),
        ({"type": "message_start", "message": {"content": ""}}, False),
        ({"type": "message_start", "message": {"content": {}}}, False),
        ({"type": "message_start", "message": {"stop_reason": 5}}, False),
        ({"type": "message_start", "message": {"content": [{"type": "text", "text": 5}]}}, True),
        ({"type": "message_start", "message": {"usage": {"input_tokens": 1.5}}}, False),
        (block_start(0, {"type": "text", "text": 5}), True),
        (block_start(0, {"type": "text", "text": []}), False),
        (block_start(0, {"type": "text", "text": "", "citations": "x"}), True),
        (block_start(0, {"type": "thinking", "thinking": "", "signature": {"a": 1}}), True),
        (block_start(0, {"type": "tool_use", "id": "i", "name": 5, "input": {}}), True),
        (block_start(0, {"type": "tool_use", "id": "i", "name": "n", "caller": "me"}), False),
        (block_start(0, {"type": "tool_use", "id": "i", "name": "n", "toolset_name": [5]}), False),
    ],
)
def test_a_member_of_the_wrong_type_is_reported_and_kept(
    payload: dict[str, Any], loses: bool
) -> None:
    event, flaws = event_from_payload("", payload, 10_000)
    assert event.to_dict() == payload
    assert flaws == (Flaw(ViolationCode.MALFORMED_MEMBER, loses),)


@pytest.mark.parametrize("name", ["message_start", "content_block_start", "content_block_delta"])
@pytest.mark.parametrize("payload", [{"type": "ping"}, {"type": "moon_event", "text": "x"}])
def test_a_ping_or_unknown_event_with_the_name_of_a_content_event_is_a_loss(
    name: str, payload: dict[str, Any]
) -> None:
    _, flaws = event_from_payload(name, payload, 10_000)
    assert flaws == (Flaw(ViolationCode.EVENT_NAME_MISMATCH, loses_content=True),)


@pytest.mark.parametrize("name", ["message_delta", "content_block_stop", "message_stop", "message"])
def test_an_unknown_event_with_any_other_name_is_not_a_loss(name: str) -> None:
    _, flaws = event_from_payload(name, {"type": "moon_event"}, 10_000)
    assert flaws == MISMATCH


@pytest.mark.parametrize(
    ("payload", "loses"),
    [
        ({"index": 0, "delta": {"type": "text_delta", "text": "x"}}, True),
        ({"type": 5, "content_block": {"type": "text"}}, True),
        ({"type": None, "message": {"type": "message"}}, True),
        ({"delta": {"text": "x"}}, False),
        ({"delta": "x", "message": "x"}, False),
        ({"choices": [{"delta": {"content": "x"}}]}, False),
    ],
)
def test_a_payload_without_a_type_is_a_loss_if_it_looks_like_content(
    payload: dict[str, Any], loses: bool
) -> None:
    for name in ("", "message", "moon_event"):
        event, flaws = event_from_payload(name, payload, 10_000)
        assert isinstance(event, UnknownEvent)
        assert flaws == (Flaw(ViolationCode.MISSING_TYPE, loses),)


@pytest.mark.parametrize(
    ("payload", "codes"),
    [
        ({}, ["missing_delta"]),
        ({"delta": None, "usage": {"output_tokens": 1}}, ["missing_delta"]),
        ({"delta": {"stop_reason": ""}}, ["empty_stop_reason"]),
        ({"delta": {}, "id": "msg_2"}, ["misplaced_member"]),
        ({"delta": {}, "stop_reason": "end_turn"}, ["misplaced_member"]),
        ({"delta": {"type": "x"}}, ["misplaced_member"]),
        ({"delta": {"usage": {"output_tokens": 1}}}, []),
        ({"delta": {"usage": {"output_tokens": 1}}, "usage": {}}, ["misplaced_member"]),
        ({"delta": {"role": None, "private": 1}, "content": None}, []),
        ({"id": "x", "delta": None}, ["missing_delta", "misplaced_member"]),
    ],
)
def test_violations_in_the_members_of_a_message_delta_are_reported(
    payload: dict[str, Any], codes: list[str]
) -> None:
    payload = {"type": "message_delta", **payload}
    event, flaws = event_from_payload("message_delta", payload, 10_000)
    assert isinstance(event, MessageDeltaEvent)
    assert event.to_dict() == payload
    assert [flaw.code for flaw in flaws] == codes
    assert not any(flaw.loses_content for flaw in flaws)


@pytest.mark.parametrize(
    ("kind", "member"),
    [
        ("text_delta", "text"),
        ("input_json_delta", "partial_json"),
        ("thinking_delta", "thinking"),
        ("signature_delta", "signature"),
        ("citations_delta", "citation"),
        ("compaction_delta", "content"),
    ],
)
def test_a_known_delta_without_its_value_is_an_unknown_delta(kind: str, member: str) -> None:
    with_content: list[dict[str, Any]] = [{member: 5}, {member: [1]}, {"other": "x"}]
    without_content: list[dict[str, Any]] = [{}, {member: None}, {"other": "", "more": []}]
    for members in without_content + with_content:
        if members == {"content": None}:
            continue  # null means that the compaction failed
        payload = {"type": "content_block_delta", "index": 0, "delta": {"type": kind, **members}}
        event, flaws = event_from_payload("content_block_delta", payload, 10_000)
        assert isinstance(event, ContentBlockDeltaEvent)
        assert isinstance(event.delta, UnknownDelta)
        assert event.delta.wire_type == kind
        assert event.delta.extra == members
        assert event.to_dict() == payload
        assert flaws == (Flaw(ViolationCode.MALFORMED_DELTA, members in with_content),)


@pytest.mark.parametrize(
    ("kind", "members"),
    [
        ("thinking_delta", {"signature": "s"}),
        ("thinking_delta", {"thinking": None, "signature": "s"}),
        ("compaction_delta", {"encrypted_content": "e"}),
    ],
)
def test_a_delta_with_a_signature_or_encrypted_content_needs_no_other_value(
    kind: str, members: dict[str, Any]
) -> None:
    payload = {"type": "content_block_delta", "index": 0, "delta": {"type": kind, **members}}
    event, flaws = event_from_payload("", payload, 10_000)
    assert isinstance(event, ContentBlockDeltaEvent)
    assert event.delta.type == kind
    assert event.to_dict() == payload
    assert flaws == ()


def test_a_delta_with_a_payload_of_another_type_is_unknown_despite_its_signature() -> None:
    delta = {"type": "thinking_delta", "thinking": 5, "signature": "s"}
    payload = {"type": "content_block_delta", "index": 0, "delta": delta}
    event, flaws = event_from_payload("", payload, 10_000)
    assert isinstance(event, ContentBlockDeltaEvent)
    assert isinstance(event.delta, UnknownDelta)
    assert event.to_dict() == payload
    assert flaws == (Flaw(ViolationCode.MALFORMED_DELTA, loses_content=True),)


def test_a_thinking_delta_with_only_estimated_tokens_is_malformed_and_not_a_loss() -> None:
    delta = {"type": "thinking_delta", "estimated_tokens": 50}
    payload = {"type": "content_block_delta", "index": 0, "delta": delta}
    _, flaws = event_from_payload("", payload, 10_000)
    assert flaws == (Flaw(ViolationCode.MALFORMED_DELTA),)


@pytest.mark.parametrize("piece", ["{", {"a": 1}])
def test_a_piece_of_input_in_a_delta_of_an_unknown_type_is_a_loss(piece: Any) -> None:
    delta = {"type": "input_delta", "partial_json": piece}
    payload = {"type": "content_block_delta", "index": 0, "delta": delta}
    event, flaws = event_from_payload("", payload, 10_000)
    assert event.to_dict() == payload
    assert flaws == (Flaw(ViolationCode.UNKNOWN_INPUT_DELTA, loses_content=True),)
    delta["partial_json"] = ""
    assert event_from_payload("", payload, 10_000)[1] == ()


@pytest.mark.parametrize(
    ("members", "flaws"),
    [
        ({"signature": 5}, [True]),
        ({"signature": ""}, []),
        ({"signature": []}, [False]),
        ({"estimated_tokens": "many"}, [False]),
        ({"estimated_tokens": None, "signature": None}, []),
    ],
)
def test_a_second_member_of_the_wrong_type_is_a_loss_if_it_has_content(
    members: dict[str, Any], flaws: list[bool]
) -> None:
    delta = {"type": "thinking_delta", "thinking": "hm", **members}
    payload = {"type": "content_block_delta", "index": 0, "delta": delta}
    event, found = event_from_payload("", payload, 10_000)
    assert isinstance(event, ContentBlockDeltaEvent)
    assert event.delta.type == "thinking_delta"
    assert event.to_dict() == payload
    assert found == tuple(Flaw(ViolationCode.MALFORMED_MEMBER, loses) for loses in flaws)


def test_other_members_of_a_delta_are_not_violations() -> None:
    delta = {"type": "thinking_delta", "thinking": "", "signature": None, "more": [5]}
    payload = {"type": "content_block_delta", "index": 0, "delta": delta}
    event, flaws = event_from_payload("content_block_delta", payload, 10_000)
    assert event.to_dict()["delta"] == delta
    assert event.type == "content_block_delta"
    assert event.delta.type == "thinking_delta"
    assert event.delta.signature is None
    assert flaws == ()


def test_a_citation_without_a_type_is_accepted() -> None:
    delta = {"type": "citations_delta", "citation": {"crater": 7}}
    event = event_from_dict({"type": "content_block_delta", "index": 0, "delta": delta})
    assert isinstance(event, ContentBlockDeltaEvent)
    assert isinstance(event.delta, CitationsDelta)
    assert event.delta.citation.extra == {"crater": 7}


@given(st.data())
def test_checking_for_exact_deltas_first_does_not_change_the_result(data: st.DataObject) -> None:
    delta = data.draw(st.sampled_from(vocabulary.DELTAS))
    good = {"type": "content_block_delta", "index": data.draw(st.integers(-1, 4)), "delta": delta}
    payload = data.draw(st.just(good) | vocabulary.mutated(good))
    name = data.draw(st.sampled_from(["content_block_delta", "", "ping", "error"]))
    with_shortcut = event_from_payload(name, payload, 4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sansio_stream.payloads.inexact_part", lambda _: {"x": 0})
        without_shortcut = event_from_payload(name, payload, 4)
    assert with_shortcut == without_shortcut
    assert repr(with_shortcut) == repr(without_shortcut)


@pytest.mark.parametrize("name", EVENTS)
@given(payload=vocabulary.OBJECTS)
def test_an_equal_event_name_and_type_are_the_kind(name: str, payload: dict[str, Any]) -> None:
    assert kind_of(name, {**payload, "type": name}) == name


@given(st.text(max_size=5) | vocabulary.TYPES, vocabulary.OBJECTS | vocabulary.TYPED_OBJECTS)
def test_any_object_with_any_event_name_is_an_event_and_is_kept(
    name: str, payload: dict[str, Any]
) -> None:
    event, _ = event_from_payload(name, payload, 10_000)
    assert json.dumps(event.to_dict(), sort_keys=True) == json.dumps(payload, sort_keys=True)


# Error events


@pytest.mark.parametrize(
    ("payload", "error_type", "message", "code", "request_id"),
    [
        (
            {
                "type": "error",
                "error": {"type": "overloaded_error", "message": "Overloaded", "details": None},
                "request_id": "req_1",
            },
            *("overloaded_error", "Overloaded", None, "req_1"),
        ),
        (LLAMA, "server_error", "no slot", 500, None),
        (
            {"error": {"code": 400, "message": "bad", "type": "invalid_request_error"}},
            *("invalid_request_error", "bad", 400, None),
        ),
        (UNTYPED, None, "no slot", None, "req_1"),
        ({"code": 429, "message": "slow", "request_id": None}, None, "slow", 429, None),
        ({"error": "it broke"}, None, "it broke", None, None),
        ({"type": "error", "error": "it broke"}, None, "it broke", None, None),
        ({"type": "error", "message": "it broke"}, None, "it broke", None, None),
        ({"type": "error", "error": {"message": 5}, "message": 6}, None, "", None, None),
        ({"type": "error", "error": {"type": 5}}, None, "", None, None),
        ({"type": "error", "code": True}, None, "", None, None),
        ({"type": "error", "code": 200}, None, "", None, None),
        ({"type": "error", "code": 600}, None, "", None, None),
        ({"type": "error", "code": "500"}, None, "", None, None),
        ({"type": "error", "error": {"message": ""}, "message": "other"}, None, "", None, None),
    ],
)
def test_an_error_is_read_in_every_form_that_servers_send(
    payload: dict[str, Any],
    error_type: str | None,
    message: str,
    code: int | None,
    request_id: str | None,
) -> None:
    event = event_from_dict(payload)
    assert isinstance(event, ErrorEvent)
    assert event.error_type == error_type
    assert event.message == message
    assert event.code == code
    assert event.request_id == request_id
    assert event.raw is None
    assert event.to_dict() == payload


def test_the_plain_text_of_an_error_is_its_message() -> None:
    event = event_from_text("error", "upstream died")
    assert isinstance(event, ErrorEvent)
    assert event.message == event.raw == "upstream died"
    assert (event.error_type, event.code, event.error) == (None, None, ErrorDetail())


def test_an_error_event_with_another_type_has_that_error_type() -> None:
    event, _ = event_from_payload("error", {"type": "server_error"}, 10_000)
    assert isinstance(event, ErrorEvent)
    assert event.error_type == "server_error"


# Members that a machine adds


def test_the_finished_block_or_message_is_not_compared_shown_or_encoded() -> None:
    block_stop = ContentBlockStopEvent(0, content_block=TextBlock("x"))
    assert block_stop == ContentBlockStopEvent(0)
    assert repr(block_stop) == "ContentBlockStopEvent(index=0)"
    assert block_stop.to_dict() == {"type": "content_block_stop", "index": 0}
    message_stop = MessageStopEvent(message=message_from_dict(vocabulary.MESSAGE))
    assert message_stop == MessageStopEvent()
    assert repr(message_stop) == "MessageStopEvent()"
    assert message_stop.to_dict() == {"type": "message_stop"}


def test_events_can_be_made_by_hand() -> None:
    start = ContentBlockStartEvent(0, TextBlock(""))
    assert event_from_dict(start.to_dict()) == start
    delta = ContentBlockDeltaEvent(0, TextDelta("x"))
    assert event_from_dict(delta.to_dict()) == delta
    assert event_from_dict({"type": "ping"}) == PingEvent()


def test_a_message_delta_distinguishes_null_from_absent() -> None:
    event = event_from_dict({"type": "message_delta", "delta": {"stop_details": None}, "usage": {}})
    assert isinstance(event, MessageDeltaEvent)
    assert event.delta.to_dict() == {"stop_details": None}


# The recordings


def payloads(body: bytes) -> list[tuple[str, Any]]:
    """Return the event name and the JSON value of each frame, without [DONE] markers."""
    return [
        ("" if event.event == "message" else event.event, loads(event.data, 200))
        for event in SSEDecoder().receive_data(body)
        if event.data != "[DONE]"
    ]


@pytest.mark.parametrize("suffix", [".sse", ".jsonl"])
def test_every_recorded_payload_is_lossless(suffix: str) -> None:
    for capture in shared_data.captures(suffix):
        if suffix == ".sse":
            rows = payloads(capture.body)
        else:
            rows = [("", loads(line, 200)) for line in capture.body.decode().splitlines() if line]
        for name, payload in rows:
            event, _ = event_from_payload(name, payload, 10_000)
            assert event.to_dict() == payload, capture.file
            assert list(event.to_dict()) or not payload
            assert event_from_dict(event.to_dict()).to_dict() == payload, capture.file
        shared_data.ran(f"captures, payloads of *{suffix}", len(rows))
