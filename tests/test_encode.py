"""Encoding events: a machine decodes an encoded event to the same event."""

import json
from typing import Any

import pytest
from hypothesis import assume, given, strategies as st

import shared_data
import vocabulary
import wire
from sansio_stream import (
    ContentBlockDeltaEvent,
    ErrorDetail,
    ErrorEvent,
    Limits,
    MessageStreamEvent,
    PingEvent,
    ServerSentEvent,
    SSEDecoder,
    StreamMachine,
    TextDelta,
    UnknownEvent,
    encode_event,
    event_from_dict,
)
from sansio_stream.framer import Framer
from sansio_stream.payloads import event_from_payload, event_from_text


def read(data: bytes) -> MessageStreamEvent | None:
    """Decode the only frame in `data` with the framer of the machine, and return its event."""
    framer = Framer(Limits())
    framer.buffer.feed(data)
    frame = framer.next_frame()
    assert frame is not None
    assert framer.next_frame() is None
    assert framer.finish() is None
    try:
        value = json.loads(frame.data)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        return event_from_text(frame.name, frame.data)
    return event_from_payload(frame.name, value, Limits().blocks)[0]


def test_an_event_is_encoded_as_its_name_compact_json_and_a_blank_line() -> None:
    event = ContentBlockDeltaEvent(0, TextDelta("line\nbreak, wörld \N{PARTY POPPER}"))
    assert (
        encode_event(event)
        == (
            "event: content_block_delta\n"
            'data: {"type":"content_block_delta","index":0,'
            '"delta":{"type":"text_delta","text":"line\\nbreak, wörld \N{PARTY POPPER}"}}\n\n'
        ).encode()
    )


@pytest.mark.parametrize("payload", vocabulary.EVENTS)
def test_every_event_is_decoded_unchanged(payload: dict[str, Any]) -> None:
    event = event_from_dict(payload)
    assert read(encode_event(event)) == event
    (frame,) = SSEDecoder().receive_data(encode_event(event))
    assert frame.event == payload["type"]
    assert json.loads(frame.data) == payload


@given(
    st.sampled_from(["", "ping", "error", "message", "moon_event"]) | vocabulary.TYPES,
    st.one_of(
        vocabulary.OBJECTS,
        vocabulary.TYPED_OBJECTS,
        st.sampled_from(vocabulary.EVENTS).flatmap(vocabulary.mutated),
    ),
)
def test_any_decoded_event_is_encoded_and_decoded_unchanged(
    name: str, payload: dict[str, Any]
) -> None:
    event, _ = event_from_payload(name, payload, Limits().blocks)
    tag = payload.get("type")
    # A type with a line end or a surrogate cannot be encoded. Another test checks this.
    assume(not isinstance(tag, str) or tag.isprintable())
    assert read(encode_event(event)) == event


RAW = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r")).map(
    "raw {}".format
)


@given(RAW, st.sampled_from(["", "ping", "error", "message", "moon_event", " spaced"]))
def test_an_event_with_raw_data_is_encoded_with_this_data(raw: str, name: str) -> None:
    event = event_from_text(name, raw)
    assert event is not None
    assert read(encode_event(event)) == event


@pytest.mark.parametrize("raw", ["", "text", "[1]", "null", "two\nlines", "[DONE"])
def test_a_machine_decodes_events_with_raw_data_unchanged(raw: str) -> None:
    machine = StreamMachine()
    events: list[MessageStreamEvent] = [
        PingEvent(raw=raw),
        UnknownEvent("x", raw=raw),
        ErrorEvent(ErrorDetail(), raw=raw),
    ]
    body = b"".join(map(encode_event, events))
    assert list(machine.receive_data(body)) == events


def test_a_stream_that_is_encoded_again_has_the_same_message() -> None:
    first, second = StreamMachine(), StreamMachine(strict=True)
    events = list(first.receive_data(wire.body(*wire.HELLO)))
    decoded_again = list(second.receive_data(b"".join(map(encode_event, events))))
    assert decoded_again == events
    assert second.final_message() == first.final_message()


def test_every_recorded_event_is_encoded_and_decoded_unchanged() -> None:
    for capture in shared_data.captures():
        events = list(StreamMachine().receive_data(capture.body))
        decoded_again = StreamMachine().receive_data(b"".join(map(encode_event, events)))
        assert list(decoded_again) == events, capture.file
        shared_data.ran("captures, events of *.sse", len(events))


def test_lone_surrogates_are_encoded_as_escapes() -> None:
    event = ContentBlockDeltaEvent(0, TextDelta("\ud83d half, é"))
    data = encode_event(event)
    assert b"\\ud83d half, \\u00e9" in data
    assert read(data) == event


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("text", ["", "\ud800"])
def test_a_number_that_json_cannot_express_raises_a_value_error(number: float, text: str) -> None:
    with pytest.raises(ValueError, match="Out of range float"):
        encode_event(event_from_dict({"type": "moon_event", "phase": number, "text": text}))


@pytest.mark.parametrize(
    "event",
    [
        UnknownEvent("a\nb"),
        UnknownEvent("a\rb"),
        UnknownEvent("\ud800"),
        UnknownEvent("a", raw="\r"),
        PingEvent(raw="\ud800"),
    ],
)
def test_a_value_that_an_event_stream_cannot_express_raises_a_value_error(
    event: MessageStreamEvent,
) -> None:
    with pytest.raises(ValueError, match=r"must not|surrogates not allowed"):
        encode_event(event)


def test_an_event_without_a_name_has_no_event_line() -> None:
    assert encode_event(UnknownEvent("", raw="x")) == b"data: x\n\n"
    assert encode_event(UnknownEvent("message", raw="x")) == b"event: message\ndata: x\n\n"
    (frame,) = SSEDecoder().receive_data(b"data: x\n\n")
    assert frame == ServerSentEvent("message", "x")
