"""Faults of the end of a stream: it is whole, it is cut, or it ends with an error."""

from __future__ import annotations

from typing import Final

import attrs

from ...errors import Verdict
from .damage import OVERLOADED, Damage, LegalStream, Payload, fault

# How a stream ends.


@fault(Verdict.COMPLETE)
def nothing(stream: LegalStream) -> bytes:
    """Nothing goes wrong. The stream is legal and has one of the legal styles."""
    return stream.body()


CUT_OFF: Final = (
    *("cut_frame", "unterminated_frame"),
    # The last frame has these if its `event:` line is cut.
    *("event_name_mismatch", "missing_event_name"),
    "missing_message_stop",
)
"""The codes that a machine may report for a body that is cut after any byte."""

ENDS: Final = {
    "message_start": Verdict.TRUNCATED,
    "stop_reason": Verdict.UNTERMINATED,
    "message_stop": Verdict.COMPLETE,
}
"""The verdict at the end of a body, by the last of these that arrived."""


def cut_off(stream: LegalStream, exception: Exception | None = None) -> Damage:
    """Cut a body after any byte."""
    body = stream.body()
    cut = stream.choose(range(len(body)))
    verdict = Verdict.EMPTY
    frames = stream.frames()
    for count, (frame, payload) in enumerate(zip(frames, stream.payloads, strict=True), 1):
        # A frame counts as soon as its JSON is complete.
        behind = len(frame) - frame.rindex(b"}") - 1
        if len(stream.style.joined(frames[:count])) - behind <= cut:
            stopped = payload.get("delta", {}).get("stop_reason") is not None
            verdict = ENDS.get("stop_reason" if stopped else payload["type"], verdict)
    codes = ("missing_message_stop",) if verdict is Verdict.UNTERMINATED else ()
    return Damage(body[:cut], verdict, codes=codes, exception=exception)


@fault(
    *(Verdict.EMPTY, *ENDS.values()), problem="anthropics/anthropic-sdk-typescript#842", may=CUT_OFF
)
def cut_anywhere(stream: LegalStream) -> Damage:
    """The body ends after any byte. The connection closes as after a whole body."""
    return cut_off(stream)


@fault(
    *(Verdict.EMPTY, *ENDS.values()), problem="anthropics/anthropic-sdk-python#1919", may=CUT_OFF
)
def connection_reset(stream: LegalStream) -> Damage:
    """The connection breaks after any byte. The source of the bytes raises ConnectionResetError."""
    return cut_off(stream, ConnectionResetError("reset by peer"))


@fault(
    Verdict.UNTERMINATED,
    problem="esengine/DeepSeek-Reasonix#8756",
    codes=["missing_message_stop"],
)
def missing_message_stop(stream: LegalStream) -> bytes:
    """The stream ends after its stop reason, without message_stop."""
    del stream.payloads[stream.place("message_stop") :]
    return stream.body()


@fault(Verdict.TRUNCATED, problem="maximhq/bifrost#6081")
def missing_last_events(stream: LegalStream) -> bytes:
    """The stream ends after its content, without a stop reason and without message_stop."""
    del stream.payloads[stream.places("message_delta")[0] :]
    return stream.body()


@fault(
    *(Verdict.TRUNCATED, Verdict.UNTERMINATED),
    may=["missing_message_stop", "overlapping_blocks"],
    needs=["text"],
)
def end_with_an_open_block(stream: LegalStream) -> Damage:
    """The stream ends after its stop reason, and a block has no stop. For the last block, the
    stop reason max_tokens explains that.
    """
    del stream.payloads[stream.place("message_stop") :]
    reason = stream.choose(["pause_turn", "max_tokens"])
    stream.last_message_delta()["delta"]["stop_reason"] = reason
    open_block = stream.place("content_block_stop")
    is_last = open_block == stream.places("content_block_stop")[-1]
    del stream.payloads[open_block]
    if reason == "max_tokens" and is_last:
        return Damage(stream.body(), Verdict.UNTERMINATED, codes=("missing_message_stop",))
    codes = () if is_last else ("overlapping_blocks",)
    return Damage(stream.body(), Verdict.TRUNCATED, codes=codes)


@fault(Verdict.TRUNCATED, codes=["empty_stop_reason"])
def end_after_an_empty_stop_reason(stream: LegalStream) -> bytes:
    """The stream ends after a stop reason that is an empty string, without message_stop."""
    del stream.payloads[stream.place("message_stop") :]
    stream.last_message_delta()["delta"]["stop_reason"] = ""
    return stream.body()


@fault(Verdict.TRUNCATED, problem="cline/cline#13001", needs=["tool_use"])
def cut_in_a_tool_input(stream: LegalStream) -> Damage:
    """The stream ends inside a tool's input."""
    block = stream.cut_an_input()
    del stream.payloads[block[-1] :]
    return Damage(stream.body(), broken=stream.tool_id(block[0]))


@fault(Verdict.COMPLETE, codes=["unterminated_frame"])
def missing_last_blank_line(stream: LegalStream) -> bytes:
    """The last frame lacks its blank line."""
    return stream.body()[: -len(stream.style.line_end)]


@fault(Verdict.EMPTY, codes=["missing_blank_line", "cut_frame"])
def lost_blank_lines(stream: LegalStream) -> bytes:
    """A proxy has removed all blank lines, so the body is one frame without an end."""
    style = attrs.evolve(stream.style, between=(), indent=False)
    return b"".join(style.frame(each)[: -len(style.line_end)] for each in stream.payloads)


@fault(Verdict.EMPTY)
def empty_body(stream: LegalStream) -> bytes:
    """The body is empty."""
    return stream.style.body(())


@fault(Verdict.EMPTY, problem="frontman-ai/frontman#731")
def nothing_but_pings(stream: LegalStream) -> bytes:
    """The body has only pings and comments: a gateway has waited for an answer in vain."""
    stream.payloads[:] = [{"type": "ping"}] * 3
    return stream.body()


# Errors.


@fault(Verdict.ERRORED)
def error_first(stream: LegalStream) -> bytes:
    """The only frame of the stream is an overloaded_error."""
    stream.payloads[:] = [OVERLOADED]
    return stream.body()


@fault(Verdict.ERRORED, problem="anthropics/anthropic-sdk-python#1918")
def error_in_mid_stream(stream: LegalStream) -> bytes:
    """The server sends an error under HTTP 200, at any place, even before message_start."""
    end = stream.place("message_stop")
    stream.payloads[stream.choose(range(end + 1)) :] = [OVERLOADED]
    return stream.body()


@fault(Verdict.ERRORED, codes=["after_error"])
def events_after_an_error(stream: LegalStream) -> bytes:
    """The server sends an error, and events that it had already sent follow."""
    end = stream.place("message_stop")
    stream.payloads.insert(stream.choose(range(end + 1)), OVERLOADED)
    return stream.body()


@fault(Verdict.COMPLETE, codes=["after_message_stop"])
def error_after_message_stop(stream: LegalStream) -> bytes:
    """An error follows a complete message."""
    stream.payloads.append(OVERLOADED)
    return stream.body()


@fault(
    Verdict.ERRORED,
    problem="anomalyco/opencode#23960",
    codes=["missing_type", "missing_event_name"],
)
def error_of_another_shape(stream: LegalStream) -> bytes:
    """An error has the shape of another server, without a type."""
    shape: Payload = stream.choose(
        [{"error": {"message": "no slot"}}, {"code": 500, "message": "no"}, {"error": "no slot"}]
    )
    frames = stream.frames()[: stream.choose(range(stream.place("message_stop") + 1))]
    return stream.style.joined([*frames, stream.style.frame(shape, "")])


@fault(Verdict.ERRORED, problem="vercel/ai#2463")
def error_as_text(stream: LegalStream) -> bytes:
    """The data of an error is not JSON."""
    frames = stream.frames()[: stream.choose(range(stream.place("message_stop") + 1))]
    return stream.style.joined([*frames, stream.style.frame_of("error", "Internal Server Error")])
