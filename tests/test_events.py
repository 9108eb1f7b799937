"""The vocabulary of events: which event a payload is, and nothing lost of any of them."""

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
    events,
    message_from_dict,
)
from sansio_stream.events import EVENTS, event_from_payload, event_from_text, kind_of
from sansio_stream.partial_json import loads

MISMATCH = (ViolationCode.EVENT_NAME_MISMATCH,)
NO_TYPE = (ViolationCode.MISSING_TYPE,)
MALFORMED = (ViolationCode.MALFORMED_EVENT,)

# The unions


@pytest.mark.parametrize("union", ["MessageStreamEvent", "ContentBlockDelta"])
def test_every_class_of_a_union_has_its_own_type_and_an_example(union: str) -> None:
    classes = vocabulary.UNIONS[union]
    types = [cls.type for cls in classes]
    assert len(set(types)) == len(classes)
    assert types[-1] == "unknown"
    assert vocabulary.objects_by_class().keys() >= set(classes)


@pytest.mark.parametrize("payload", vocabulary.EVENTS)
def test_types_tell_events_and_what_is_in_them_apart(payload: dict[str, Any]) -> None:
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


def test_the_names_of_raw_events_are_the_same_classes() -> None:
    for cls in vocabulary.UNIONS["MessageStreamEvent"]:
        raw = getattr(library, f"Raw{cls.__name__}", None)
        assert raw in ({cls} if cls.__name__.startswith(("Message", "Content")) else {None})
    assert library.RawMessageStreamEvent == library.MessageStreamEvent


# From payload to event: the first rule that fits decides

START = {"type": "message_start", "message": vocabulary.MESSAGE}
LLAMA = {"code": 500, "message": "no slot", "type": "server_error"}
UNTYPED = {"code": "x", "message": "no slot", "request_id": "req_1"}


@pytest.mark.parametrize(
    ("name", "payload", "cls", "faults"),
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
        # 5. the shape is that of an error
        ("", LLAMA, ErrorEvent, ()),
        ("message", LLAMA, ErrorEvent, MISMATCH),
        ("", UNTYPED, ErrorEvent, NO_TYPE),
        ("moon_event", UNTYPED, ErrorEvent, NO_TYPE),
        ("", {"error": "text"}, ErrorEvent, NO_TYPE),
        ("ping", {"type": "server_error", "error": {}}, ErrorEvent, MISMATCH),
        # 6. anything else
        ("", {}, UnknownEvent, NO_TYPE),
        ("", {"error": None}, UnknownEvent, NO_TYPE),
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
    name: str, payload: dict[str, Any], cls: type[Any], faults: tuple[ViolationCode, ...]
) -> None:
    event, found = event_from_payload(name, payload, 10_000)
    assert type(event) is cls
    assert found == faults
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
def test_data_that_is_no_object_is_kept_raw_where_the_name_promises_none(
    name: str, cls: type[Any]
) -> None:
    event = event_from_text(name, "not json")
    assert type(event) is cls
    assert isinstance(event, (PingEvent, ErrorEvent, UnknownEvent))
    assert event.raw == "not json"
    assert "not json" in repr(event)
    if isinstance(event, UnknownEvent):
        assert event.wire_type == name


def test_data_that_is_no_object_gives_no_event_where_the_name_promises_one() -> None:
    for cls in vocabulary.UNIONS["MessageStreamEvent"]:
        gives_one = cls in {PingEvent, ErrorEvent, UnknownEvent}
        assert (event_from_text(cls.type, "not json") is not None) is gives_one


def test_an_unknown_event_is_called_as_its_type_or_else_as_its_frame() -> None:
    def wire_type(name: str, payload: dict[str, Any]) -> str:
        event, _ = event_from_payload(name, payload, 10_000)
        assert isinstance(event, UnknownEvent)
        assert event.to_dict() == payload
        return event.wire_type

    assert wire_type("a", {"type": "b"}) == "b"
    assert wire_type("a", {}) == "a"
    assert wire_type("a", {"type": 5}) == "a"
    assert wire_type("a", {"type": None}) == "a"
    assert wire_type("a", {"type": ""}) == ""
    assert wire_type("", {}) == ""


# Events that lack what they need

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
        {"type": "message_delta"},
        {"type": "message_delta", "delta": None},
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
def test_a_known_event_that_lacks_what_it_needs_is_unknown(payload: dict[str, Any]) -> None:
    event, faults = event_from_payload(payload["type"], payload, 10_000)
    assert isinstance(event, UnknownEvent)
    assert event.wire_type == payload["type"]
    assert event.to_dict() == payload
    assert faults == MALFORMED
    assert event_from_dict(payload) == event


def test_an_index_is_bounded_by_the_limit_of_blocks() -> None:
    for index, cls in ((0, ContentBlockStopEvent), (2, ContentBlockStopEvent), (3, UnknownEvent)):
        event, _ = event_from_payload("", {"type": "content_block_stop", "index": index}, 3)
        assert type(event) is cls


def test_both_faults_are_named() -> None:
    _, faults = event_from_payload("message", {"type": "content_block_stop"}, 3)
    assert faults == MISMATCH + MALFORMED
    _, faults = event_from_payload("content_block_stop", {}, 3)
    assert faults == NO_TYPE + MALFORMED


@pytest.mark.parametrize(
    "payload",
    [
        # As the official SDK dumps its events, and as some servers send them.
        {"type": "message_stop", "message": vocabulary.MESSAGE},
        {"type": "content_block_stop", "index": 0, "content_block": BLOCK},
        {"type": "ping", "index": "?"},
        {"type": "error", "error": {}, "message": "no slot", "index": None},
        {"type": "message_delta", "delta": {"type": "?"}, "usage": {}, "message": 1},
        {"type": "message_start", "message": {}, "index": "?", "delta": 1},
        # Members that say nothing about where the event belongs.
        {"type": "message_delta", "delta": {}},
        {"type": "message_delta", "delta": {}, "usage": None},
        {"type": "error"},
        {"type": "error", "error": "text"},
        {"type": "message_start", "message": {"content": None, "usage": None}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text"}},
    ],
)
def test_members_that_do_not_belong_to_an_event_do_not_spoil_it(payload: dict[str, Any]) -> None:
    event, faults = event_from_payload("", payload, 10_000)
    assert event.type == payload["type"]
    assert event.to_dict() == payload
    assert faults == ()


@pytest.mark.parametrize(
    "payload",
    [
        {"type": "message_delta", "delta": {}, "usage": "x"},
        {"type": "message_delta", "delta": {"stop_reason": 5}},
        {"type": "message_delta", "delta": {}, "usage": {"output_tokens": "12"}},
        {"type": "message_start", "message": {"content": "x"}},
        {"type": "message_start", "message": {"content": [{"type": "text", "text": 5}]}},
        {"type": "message_start", "message": {"usage": {"input_tokens": 1.5}}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": 5}},
    ],
)
def test_a_member_of_another_type_is_reported_and_kept(payload: dict[str, Any]) -> None:
    event, faults = event_from_payload("", payload, 10_000)
    assert event.to_dict() == payload
    assert faults == (ViolationCode.MALFORMED_MEMBER,)


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
def test_a_known_delta_without_its_payload_is_unknown(kind: str, member: str) -> None:
    for members in ({}, {member: 5}, {member: [1]}, {member: None}):
        if members == {"content": None}:
            continue  # a compaction that failed
        payload = {"type": "content_block_delta", "index": 0, "delta": {"type": kind, **members}}
        event, faults = event_from_payload("content_block_delta", payload, 10_000)
        assert isinstance(event, ContentBlockDeltaEvent)
        assert isinstance(event.delta, UnknownDelta)
        assert event.delta.wire_type == kind
        assert event.delta.extra == members
        assert event.to_dict() == payload
        assert faults == (ViolationCode.MALFORMED_DELTA,)


def test_other_members_of_a_delta_do_not_spoil_it() -> None:
    delta = {"type": "thinking_delta", "thinking": "", "signature": 5, "estimated_tokens": None}
    payload = {"type": "content_block_delta", "index": 0, "delta": delta}
    event, faults = event_from_payload("content_block_delta", payload, 10_000)
    assert event.to_dict()["delta"] == delta
    assert event.type == "content_block_delta"
    assert event.delta.type == "thinking_delta"
    assert event.delta.signature is None
    assert faults == ()


def test_a_citation_of_any_type_is_a_payload() -> None:
    delta = {"type": "citations_delta", "citation": {"crater": 7}}
    event = event_from_dict({"type": "content_block_delta", "index": 0, "delta": delta})
    assert isinstance(event, ContentBlockDeltaEvent)
    assert isinstance(event.delta, CitationsDelta)
    assert event.delta.citation.extra == {"crater": 7}


@given(st.data())
def test_to_find_no_fault_with_a_delta_at_a_glance_is_a_shortcut(data: st.DataObject) -> None:
    delta = data.draw(st.sampled_from(vocabulary.DELTAS))
    good = {"type": "content_block_delta", "index": data.draw(st.integers(-1, 4)), "delta": delta}
    payload = data.draw(st.just(good) | vocabulary.mutated(good))
    name = data.draw(st.sampled_from(["content_block_delta", "", "ping", "error"]))
    quick = event_from_payload(name, payload, 4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(events, "is_exact", lambda _: False)
        careful = event_from_payload(name, payload, 4)
    assert quick == careful
    assert repr(quick) == repr(careful)


@pytest.mark.parametrize("name", EVENTS)
@given(payload=vocabulary.OBJECTS)
def test_no_rule_speaks_against_a_name_and_a_type_that_agree(
    name: str, payload: dict[str, Any]
) -> None:
    assert kind_of(name, {**payload, "type": name}) == name


@given(st.text(max_size=5) | vocabulary.TYPES, vocabulary.OBJECTS | vocabulary.TYPED_OBJECTS)
def test_any_object_in_any_frame_is_an_event(name: str, payload: dict[str, Any]) -> None:
    event, _ = event_from_payload(name, payload, 10_000)
    assert json.dumps(event.to_dict(), sort_keys=True) == json.dumps(payload, sort_keys=True)


# Errors of all servers


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
def test_an_error_is_read_in_every_shape_that_servers_give_it(
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


def test_an_error_of_plain_text_is_its_own_message() -> None:
    event = event_from_text("error", "upstream died")
    assert isinstance(event, ErrorEvent)
    assert event.message == event.raw == "upstream died"
    assert (event.error_type, event.code, event.error) == (None, None, ErrorDetail())


def test_an_error_under_another_type_says_that_type() -> None:
    event, _ = event_from_payload("error", {"type": "server_error"}, 10_000)
    assert isinstance(event, ErrorEvent)
    assert event.error_type == "server_error"


# What a machine adds


def test_finished_values_are_neither_compared_nor_shown_nor_on_the_wire() -> None:
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


def test_a_message_delta_tells_null_from_absent() -> None:
    event = event_from_dict({"type": "message_delta", "delta": {"stop_details": None}, "usage": {}})
    assert isinstance(event, MessageDeltaEvent)
    assert event.delta.to_dict() == {"stop_details": None}


# The recordings


def payloads(body: bytes) -> list[tuple[str, Any]]:
    """Name and JSON value of each frame that has one."""
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
