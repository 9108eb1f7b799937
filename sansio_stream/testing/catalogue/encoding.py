"""What is in the bytes: text that is none, other content, JSON that is none."""

from __future__ import annotations

import json
from typing import Final

from ...errors import Verdict, ViolationCode
from .damage import DEEP, OVERLOADED, Damage, LegalStream, fault

# Bytes.


@fault(
    Verdict.COMPLETE, problem="zeroclaw-labs/zeroclaw#3723", codes=["invalid_utf8"], needs=["text"]
)
def invalid_utf8(stream: LegalStream) -> bytes:
    """Bytes that are not UTF-8 stand inside a text."""
    bad = stream.choose([b"\xff", b"\x80", b"\xc3", b"\xe2\x82", b"\xed\xa0\x80", b"\xf5\x80"])
    return stream.body_with_text(bad)


@fault(
    *(verdict for verdict in Verdict if verdict is not Verdict.PENDING),
    may=[*ViolationCode, "spliced_message"],
)
def flipped_bit(stream: LegalStream) -> Damage:
    """One bit is another, anywhere. What comes of it nobody can know, but nothing may crash."""
    body = bytearray(stream.body())
    body[stream.choose(range(len(body)))] ^= stream.choose([1, 2, 4, 8, 16, 32, 64, 128])
    starts = [stream.payloads[at]["content_block"] for at in stream.places("content_block_start")]
    return Damage(bytes(body), altered=tuple(start["id"] for start in starts if "id" in start))


@fault(Verdict.BROKEN, codes=["undecodable_payload"], needs=["text"])
def raw_control_character(stream: LegalStream) -> bytes:
    """A NUL stands unescaped inside a JSON string."""
    return stream.body_with_text(b"\0")


@fault(Verdict.BROKEN, codes=["undecodable_payload", "unknown_field"], needs=["text"])
def raw_line_end(stream: LegalStream) -> bytes:
    """A line end stands unescaped inside a JSON string, and so cuts the line."""
    return stream.body_with_text(stream.choose([b"\n", b"\r", b"\r\n"]))


@fault(Verdict.COMPLETE, needs=["text"])
def lone_surrogate(stream: LegalStream) -> bytes:
    """Half of a character is escaped inside a text: a str that no UTF-8 can hold."""
    return stream.body_with_text(stream.choose([rb"\ud83d", rb"\ude00"]))


@fault(Verdict.NOT_AN_EVENT_STREAM, codes=["unknown_field"])
def html_body(stream: LegalStream) -> bytes:
    """A proxy's error page in the place of the stream, under HTTP 200."""
    return stream.choose([HTML, HTML.replace(b"\n", b"")])


HTML: Final = b"<html>\n<head><title>502 Bad Gateway</title></head>\n<body>\n</body>\n</html>\n"


@fault(Verdict.NOT_AN_EVENT_STREAM, problem="anomalyco/opencode#23960", codes=["unknown_field"])
def json_body(stream: LegalStream) -> bytes:
    """A JSON error in the place of the stream, under HTTP 200."""
    return json.dumps(OVERLOADED, indent=stream.choose([None, 2])).encode()


@fault(Verdict.TRUNCATED, problem="tetsuo-ai/agenc-core#2492", codes=["unknown_field"])
def text_in_mid_stream(stream: LegalStream) -> bytes:
    """A proxy writes its own words into the stream, and closes it."""
    words = stream.choose([b"upstream error: read ECONNRESET", b"Internal Server Error\n", HTML])
    first, last = stream.place("message_start"), stream.places("message_delta")[0]
    return stream.style.joined(stream.frames()[: stream.choose(range(first, last)) + 1]) + words


@fault(Verdict.COMPLETE, problem="vllm-project/vllm#37510", codes=["done_marker"])
def done_marker(stream: LegalStream) -> bytes:
    """The end mark of another protocol follows message_stop."""
    return stream.style.joined([*stream.frames(), stream.style.frame_of("", "[DONE]")])


@fault(Verdict.UNTERMINATED, problem="huggingface/tau#692", codes=["done_marker"])
def done_marker_for_message_stop(stream: LegalStream) -> bytes:
    """The end mark of another protocol stands in the place of message_stop."""
    done = stream.style.frame_of("", "[DONE]")
    return stream.body_with_frame(stream.place("message_stop"), done)


# JSON.


@fault(
    Verdict.BROKEN, problem="anthropics/anthropic-sdk-python#1265", codes=["undecodable_payload"]
)
def truncated_json(stream: LegalStream) -> bytes:
    """The JSON of an event is cut, and its frame is not."""
    place = stream.place(stream.choose(["message_start", "message_delta", "message_stop"]))
    name, data = stream.payloads[place]["type"], stream.style.data(stream.payloads[place])
    cut = data[: stream.choose(range(1, len(data)))]
    return stream.body_with_frame(place, stream.style.frame_of(name, cut))


@fault(Verdict.BROKEN, codes=["undecodable_payload"])
def huge_integer(stream: LegalStream) -> bytes:
    """A number with more digits than Python converts."""
    place = stream.place("message_stop")
    data = stream.style.data({"type": "message_stop", "n": "<number>"})
    frame = stream.style.frame_of("message_stop", data.replace('"<number>"', "9" * 5_000))
    return stream.body_with_frame(place, frame)


@fault(Verdict.BROKEN, codes=["depth"])
def deep_nesting(stream: LegalStream) -> bytes:
    """An event with thousands of arrays inside one another."""
    place = stream.place("message_stop")
    data = '{"type": "message_stop", "deep": ' + DEEP * "[" + DEEP * "]" + "}"
    return stream.body_with_frame(place, stream.style.frame_of("message_stop", data))
