"""Faults of the bytes: invalid text, foreign content, invalid JSON."""

from __future__ import annotations

import copy
import json
from typing import Final

import attrs

from ...errors import Verdict, ViolationCode
from .damage import ANY_DELTA, DEEP, OVERLOADED, OWN_NAMES, Damage, LegalStream, fault

# Bytes.


@fault(
    Verdict.COMPLETE, problem="zeroclaw-labs/zeroclaw#3723", codes=["invalid_utf8"], needs=["text"]
)
def invalid_utf8(stream: LegalStream) -> bytes:
    """A text contains bytes that are not UTF-8."""
    bad = stream.choose([b"\xff", b"\x80", b"\xc3", b"\xe2\x82", b"\xed\xa0\x80", b"\xf5\x80"])
    return stream.body_with_text(bad)


@fault(Verdict.DAMAGED, codes=["invalid_utf8"], needs=["tool_use"])
def invalid_utf8_in_an_input(stream: LegalStream) -> Damage:
    """A string of a tool's input contains bytes that are not UTF-8. It is still JSON."""
    block = stream.tool_block()
    stream.set_input(block, '{"q": "<raw>"}')
    place = stream.telling_places("input_json_delta", of=block)[0]
    bad = stream.choose([b"\xff", b"\x80", b"\xc3", b"\xe2\x82"])
    return Damage(stream.body_with_raw(place, bad), broken=stream.tool_id(place))


@fault(
    *(verdict for verdict in Verdict if verdict is not Verdict.PENDING),
    may=[*ViolationCode, "spliced_message"],
)
def flipped_bit(stream: LegalStream) -> Damage:
    """One bit is flipped, anywhere. The result cannot be predicted, but no reader may crash."""
    body = bytearray(stream.body())
    body[stream.choose(range(len(body)))] ^= stream.choose([1, 2, 4, 8, 16, 32, 64, 128])
    starts = [stream.payloads[at]["content_block"] for at in stream.places("content_block_start")]
    return Damage(bytes(body), altered=tuple(start["id"] for start in starts if "id" in start))


@fault(Verdict.BROKEN, codes=["undecodable_payload"], needs=["text"])
def raw_control_character(stream: LegalStream) -> bytes:
    """A JSON string contains an unescaped NUL."""
    return stream.body_with_text(b"\0")


@fault(Verdict.BROKEN, codes=["undecodable_payload", "unknown_field"], needs=["text"])
def raw_line_end(stream: LegalStream) -> bytes:
    """A JSON string contains an unescaped line end, which cuts the `data:` line."""
    return stream.body_with_text(stream.choose([b"\n", b"\r", b"\r\n"]))


@fault(Verdict.COMPLETE, needs=["text"])
def lone_surrogate(stream: LegalStream) -> bytes:
    """A text contains the escape of half a character, which UTF-8 cannot encode."""
    return stream.body_with_text(stream.choose([rb"\ud83d", rb"\ude00"]))


@fault(Verdict.COMPLETE, problem="elie222/rakazo#416", needs=["text"])
def halved_character(stream: LegalStream) -> bytes:
    """A character is cut between two text deltas. Each has the escape of one half of it."""
    place = stream.telling_place("text_delta")
    second = copy.deepcopy(stream.payloads[place])
    stream.payloads[place]["delta"]["text"] += "\ud83d"
    second["delta"]["text"] = "\ude00"
    stream.payloads.insert(place + 1, second)
    return stream.body()


@fault(Verdict.COMPLETE, needs=["tool_use"])
def halved_character_in_an_input(stream: LegalStream) -> Damage:
    """A character of a tool's input is cut between two deltas."""
    block = stream.tool_block()
    stream.set_input(block, '{"q": "\ud83d')
    second = copy.deepcopy(stream.payloads[block[1]])
    second["delta"] = {"type": "input_json_delta", "partial_json": '\ude00"}'}
    stream.payloads.insert(block[-1], second)
    return Damage(
        stream.body(), inputs={id: {"q": "\U0001f600"} for id in stream.tool_id(block[0])}
    )


@fault(Verdict.NOT_AN_EVENT_STREAM, codes=["unknown_field"])
def html_body(stream: LegalStream) -> bytes:
    """A proxy sends its error page instead of the stream, under HTTP 200."""
    return stream.choose([HTML, HTML.replace(b"\n", b"")])


HTML: Final = b"<html>\n<head><title>502 Bad Gateway</title></head>\n<body>\n</body>\n</html>\n"


@fault(Verdict.NOT_AN_EVENT_STREAM, problem="anomalyco/opencode#23960", codes=["unknown_field"])
def json_body(stream: LegalStream) -> bytes:
    """A server sends a JSON error instead of the stream, under HTTP 200."""
    return json.dumps(OVERLOADED, indent=stream.choose([None, 2])).encode()


@fault(Verdict.TRUNCATED, problem="tetsuo-ai/agenc-core#2492", codes=["unknown_field"])
def text_in_mid_stream(stream: LegalStream) -> bytes:
    """A proxy writes an error text into the stream, and closes it."""
    words = stream.choose([b"upstream error: read ECONNRESET", b"Internal Server Error\n", HTML])
    first, last = stream.place("message_start"), stream.places("message_delta")[0]
    return stream.style.joined(stream.frames()[: stream.choose(range(first, last)) + 1]) + words


@fault(Verdict.COMPLETE, problem="vllm-project/vllm#37510", codes=["done_marker"])
def done_marker(stream: LegalStream) -> bytes:
    """The end marker of another protocol follows message_stop, in any form and under any name."""
    mark = stream.choose(["[DONE]", "[done]", '"[DONE]"', " [DONE] ", "data: [DONE]"])
    name = stream.choose([*OWN_NAMES, "done", "message_stop"])
    return stream.style.joined([*stream.frames(), stream.style.frame_of(name, mark)])


@fault(
    Verdict.UNTERMINATED,
    problem="huggingface/tau#692",
    codes=["done_marker", "missing_message_stop"],
)
def done_marker_for_message_stop(stream: LegalStream) -> bytes:
    """The end marker of another protocol replaces message_stop."""
    done = stream.style.frame_of("", "[DONE]")
    return stream.body_with_frame(stream.place("message_stop"), done)


@fault(Verdict.COMPLETE, codes=["invalid_retry"])
def bad_retry(stream: LegalStream) -> bytes:
    """The value of a `retry:` field is not a sequence of digits."""
    retry = stream.choose(["retry: 2000x", "retry:", "retry: -1", "retry: 2.5"])
    place = stream.choose(range(len(stream.payloads) + 1))
    frames = stream.frames()
    frames.insert(place, stream.style.lines(retry, ""))
    return stream.style.joined(frames)


@fault(Verdict.COMPLETE, codes=["undecodable_payload"], may=["missing_event_name"])
def comment_as_data(stream: LegalStream) -> Damage:
    """The data of a frame is a text that should be a comment, or should not be sent."""
    text = stream.choose([": OPENROUTER PROCESSING", "keep-alive", "null", "0", '""', "[]"])
    name = stream.choose([*OWN_NAMES, "vertex_event"])
    place = stream.choose(range(len(stream.payloads) + 1))
    frames = stream.frames()
    frames.insert(place, stream.style.frame_of(name, text))
    return Damage(stream.style.joined(frames), codes=() if name else ("missing_event_name",))


@fault(Verdict.COMPLETE, codes=["undecodable_payload"])
def text_of_a_vendor(stream: LegalStream) -> bytes:
    """The data of a vendor's own event is not JSON, though it may have braces."""
    text = stream.choose(["{cost: 1}", '{"cost": 1', "usage={}"])
    place = stream.choose(range(len(stream.payloads) + 1))
    frames = stream.frames()
    frames.insert(place, stream.style.frame_of("vertex_event", text))
    return stream.style.joined(frames)


# A line of a payload.


@fault(Verdict.DAMAGED, codes=["unknown_field"], needs=["text"])
def misspelt_data_field(stream: LegalStream) -> Damage:
    """The line of a delta has no `data:`, or a misspelt one."""
    place = stream.telling_place(*ANY_DELTA)
    name, data = stream.payloads[place]["type"], stream.compact(stream.payloads[place])
    field = stream.choose(["", "dat: ", "Data: ", "data : "])
    frame = stream.style.lines(f"event: {name}", field + data, "")
    return Damage(stream.body_with_frame(place, frame), broken=stream.tool_id(place))


@fault(Verdict.COMPLETE, needs=["text"])
def payload_in_a_comment(stream: LegalStream) -> Damage:
    """A colon precedes the line of a delta, so it is a comment. No reader can detect that."""
    place = stream.telling_place(*ANY_DELTA)
    frame = stream.style.lines(": data: " + stream.compact(stream.payloads[place]), "")
    return Damage(stream.body_with_frame(place, frame), altered=stream.tool_id(place))


@fault(
    *(Verdict.BROKEN, Verdict.DAMAGED),
    codes=["undecodable_payload"],
    may=["missing_blank_line"],
    needs=["text"],
)
def lost_blank_line(stream: LegalStream) -> Damage:
    """The blank line after a delta is missing, so its frame includes the next one."""
    plain = attrs.evolve(stream, style=attrs.evolve(stream.style, between=(), indent=False))
    place = stream.telling_place(*ANY_DELTA)
    broken = stream.tool_id(place)
    frame = plain.style.frame(stream.payloads[place])[: -len(stream.style.line_end)]
    body = plain.body_with_frame(place, frame)
    # The frame has the event name of its second part. The message is BROKEN if it needs that event,
    # because the payload is unreadable. It does not need a ping or an unknown event.
    if stream.payloads[place + 1]["type"] in ("ping", "weather_report"):
        return Damage(body, Verdict.DAMAGED, broken=broken, codes=("missing_blank_line",))
    return Damage(body, Verdict.BROKEN, broken=broken)


# JSON.

UNREADABLE: Final = "undecodable_payload"
UNNAMED: Final = "missing_event_name"


def unreadable_delta(stream: LegalStream, place: int, data: str) -> Damage:
    """Return the body with unreadable data instead of a delta.

    The frame has a generic event name or none, so the name does not show that it was a delta.
    """
    name = stream.choose(OWN_NAMES)
    body = stream.body_with_frame(place, stream.style.frame_of(name, data))
    return Damage(body, broken=stream.tool_id(place), codes=() if name else (UNNAMED,))


@fault(
    Verdict.DAMAGED,
    problem="agentjido/req_llm#718",
    codes=[UNREADABLE],
    may=[UNNAMED],
    needs=["text"],
)
def truncated_delta(stream: LegalStream) -> Damage:
    """The JSON of a delta is cut, and its frame has no event name of the API."""
    place = stream.telling_place(*ANY_DELTA)
    data = stream.compact(stream.payloads[place])
    return unreadable_delta(stream, place, data[: stream.choose(range(1, len(data)))])


@fault(
    Verdict.DAMAGED,
    problem="rexxars/eventsource-parser#31",
    codes=[UNREADABLE, "missing_blank_line"],
    may=[UNNAMED],
    needs=["text"],
)
def two_payloads_in_a_frame(stream: LegalStream) -> Damage:
    """A frame has the lines of a delta and of a second payload, and no event name of the API."""
    place = stream.telling_place(*ANY_DELTA)
    second = stream.choose([stream.payloads[place], {"type": "ping"}])
    data = f"{stream.compact(stream.payloads[place])}\n{stream.compact(second)}"
    return unreadable_delta(stream, place, data)


@fault(Verdict.DAMAGED, codes=[UNREADABLE], may=[UNNAMED], needs=["text"])
def wrapped_delta(stream: LegalStream) -> Damage:
    """A delta is inside a JSON string or an array, and its frame has no event name of the API."""
    place = stream.telling_place(*ANY_DELTA)
    data = stream.compact(stream.payloads[place])
    return unreadable_delta(stream, place, stream.choose([json.dumps(data), f"[{data}]"]))


@fault(Verdict.DAMAGED, codes=[UNREADABLE], may=[UNNAMED], needs=["text"])
def glued_delta(stream: LegalStream) -> Damage:
    """Other text precedes or follows a delta, and its frame has no event name of the API."""
    place = stream.telling_place(*ANY_DELTA)
    data = stream.compact(stream.payloads[place])
    glued = stream.choose(
        [f"data: {data}", f"OK{data}", f"\ufeff{data}", f"{data},", f"{data}{{}}"]
    )
    return unreadable_delta(stream, place, glued)


@fault(
    Verdict.DAMAGED,
    codes=[UNREADABLE, "overlapping_blocks"],
    may=[UNNAMED],
    needs=["tool_use", "tool_use"],
)
def damage_between_interleaved_calls(stream: LegalStream) -> Damage:
    """A piece of an input is cut while two calls are open. It may belong to either of them."""
    first, second, *_ = stream.tool_starts()
    broken = (*stream.tool_id(first), *stream.tool_id(second))
    stop = stream.payloads.pop(stream.block_around(first)[-1])
    place = stream.telling_places("input_json_delta", of=stream.block_around(second - 1))[0]
    stream.payloads.insert(place + 1, stop)
    damage = unreadable_delta(stream, place, stream.compact(stream.payloads[place])[:-1])
    return attrs.evolve(damage, broken=broken)


@fault(
    Verdict.BROKEN, problem="anthropics/anthropic-sdk-python#1265", codes=["undecodable_payload"]
)
def truncated_json(stream: LegalStream) -> bytes:
    """The JSON of an event is cut, but its frame is complete."""
    place = stream.place(stream.choose(["message_start", "message_delta", "message_stop"]))
    name, data = stream.payloads[place]["type"], stream.style.data(stream.payloads[place])
    cut = data[: stream.choose(range(1, len(data)))]
    return stream.body_with_frame(place, stream.style.frame_of(name, cut))


@fault(Verdict.BROKEN, codes=["undecodable_payload"])
def huge_integer(stream: LegalStream) -> bytes:
    """An event contains an integer with more digits than Python converts."""
    place = stream.place("message_stop")
    data = stream.style.data({"type": "message_stop", "n": "<number>"})
    frame = stream.style.frame_of("message_stop", data.replace('"<number>"', "9" * 5_000))
    return stream.body_with_frame(place, frame)


@fault(Verdict.BROKEN, codes=["depth"])
def deep_nesting(stream: LegalStream) -> bytes:
    """An event contains thousands of nested arrays."""
    place = stream.place("message_stop")
    data = '{"type": "message_stop", "deep": ' + DEEP * "[" + DEEP * "]" + "}"
    return stream.body_with_frame(place, stream.style.frame_of("message_stop", data))
