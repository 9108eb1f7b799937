"""What the events hold: inputs of tools, members."""

from __future__ import annotations

import copy

import attrs

from ...errors import Verdict
from .damage import DEEP, Damage, LegalStream, fault

# Tools.


@fault(Verdict.COMPLETE, problem="zgsm-ai/costrict#1360", needs=["tool_use"])
def truncated_tool_input(stream: LegalStream) -> Damage:
    """A tool's input ends before its last brace, and everything else is as if it were whole."""
    block = stream.cut_an_input()
    return Damage(stream.body(), broken=stream.tool_id(block[0]))


@fault(Verdict.COMPLETE, problem="earendil-works/pi#3175", needs=["tool_use"])
def broken_tool_input(stream: LegalStream) -> Damage:
    """A tool's input is no JSON object."""
    text = stream.choose(
        [
            "{'q': 1}",
            '{"q": NaN}',
            '{"q": undefined}',
            '{"q": 1,}',
            '{"q": 1}}',
            '["q"]',
            '"q"',
            " ",
        ]
    )
    return stream.body_with_input(stream.tool_block(), text)


@fault(Verdict.COMPLETE, problem="sgl-project/sglang#39782", needs=["tool_use"])
def merged_tool_inputs(stream: LegalStream) -> Damage:
    """The inputs of two calls come in one block, one behind the other."""
    block = stream.tool_block()
    return stream.body_with_input(block, stream.input_text(block) + '{"q": "second"}')


@fault(Verdict.COMPLETE, needs=["tool_use"])
def deep_tool_input(stream: LegalStream) -> Damage:
    """A tool's input has thousands of arrays inside one another."""
    return stream.body_with_input(stream.tool_block(), '{"q": ' + DEEP * "[" + DEEP * "]" + "}")


@fault(
    Verdict.COMPLETE,
    problem="anthropics/anthropic-sdk-python#794",
    may=["overlapping_blocks"],
    needs=["tool_use"],
)
def max_tokens_in_a_tool_input(stream: LegalStream) -> Damage:
    """max_tokens has cut a tool's input: its block has no stop, the message has its end."""
    stream.last_message_delta()["delta"]["stop_reason"] = "max_tokens"
    block = stream.cut_an_input()
    del stream.payloads[block[-1]]
    return Damage(stream.body(), broken=stream.tool_id(block[0]))


@fault(
    Verdict.COMPLETE, problem="sgl-project/sglang#24293", codes=["unfit_delta"], needs=["tool_use"]
)
def unfit_delta(stream: LegalStream) -> bytes:
    """A text delta comes inside a tool call."""
    block = stream.tool_block()
    stray = copy.deepcopy(stream.payloads[block[1]])
    stray["delta"] = {"type": "text_delta", "text": "stray"}
    stream.payloads.insert(block[-1], stray)
    return stream.body()


@fault(
    Verdict.COMPLETE,
    problem="BerriAI/litellm#34692",
    codes=["contradictory_stop_reason"],
    needs=["tool_use"],
)
def contradictory_stop_reason(stream: LegalStream) -> bytes:
    """The stop reason is end_turn, and there is a tool call."""
    stream.last_message_delta()["delta"]["stop_reason"] = "end_turn"
    return stream.body()


# Members.


@fault(Verdict.COMPLETE, problem="coder/coder#23587", codes=["missing_event_name"])
def missing_event_names(stream: LegalStream) -> bytes:
    """No frame has an `event:` line."""
    return attrs.evolve(stream.style, event_names=False).body(stream.payloads)


@fault(Verdict.COMPLETE, codes=["event_name_mismatch"])
def wrong_event_name(stream: LegalStream) -> bytes:
    """The `event:` line says something else than the payload's type."""
    place = stream.choose(range(len(stream.payloads)))
    name = stream.choose(["message", "completion", "Message_Start"])
    return stream.body_with_frame(place, stream.style.frame(stream.payloads[place], name))


@fault(Verdict.COMPLETE, problem="decolua/9router#3409", codes=["missing_type"])
def missing_type(stream: LegalStream) -> bytes:
    """A payload has no type, as a ping that is `{}`."""
    place = stream.place(stream.choose(["message_start", "message_delta", "message_stop"]))
    payload = stream.payloads[place]
    name = payload.pop("type")
    return stream.body_with_frame(place, stream.style.frame(payload, name))


@fault(Verdict.COMPLETE, codes=["malformed_delta"], needs=["text"])
def malformed_delta(stream: LegalStream) -> bytes:
    """A delta says nothing: its text is null, missing, or no text."""
    place = stream.telling_place("text_delta")
    delta = {"type": "text_delta"}
    stream.payloads[place]["delta"] = stream.choose(
        [delta, {**delta, "text": None}, {**delta, "text": 5}]
    )
    return stream.body()


@fault(
    Verdict.COMPLETE,
    codes=["malformed_event", "unknown_index"],
    may=["index_not_next"],
    needs=["text"],
)
def malformed_block(stream: LegalStream) -> bytes:
    """A block starts with null, or with what has no type."""
    start = stream.block_around(stream.telling_place("text_delta"))[0]
    stream.payloads[start]["content_block"] = stream.choose([None, {}, "text", {"text": ""}])
    return stream.body()


@fault(Verdict.COMPLETE, problem="earendil-works/pi#6567")
def missing_usage(stream: LegalStream) -> bytes:
    """The usage is null, or not there."""
    usage = stream.choose([{}, {"usage": None}])
    for place in stream.places("message_delta"):
        del stream.payloads[place]["usage"]
        stream.payloads[place].update(usage)
    return stream.body()


@fault(Verdict.COMPLETE, codes=["malformed_member"])
def mistyped_member(stream: LegalStream) -> bytes:
    """A count of tokens is a string, or true."""
    stream.last_message_delta()["usage"] = {"output_tokens": stream.choose(["12", True, [12]])}
    return stream.body()


@fault(
    Verdict.COMPLETE, problem="pensarai/apex#534", codes=["second_signature"], needs=["thinking"]
)
def second_signature(stream: LegalStream) -> bytes:
    """A block of reasoning gets another signature than it had."""
    place = stream.choose(
        [
            at
            for at in stream.places("content_block_delta")
            if stream.payloads[at]["delta"]["type"] == "signature_delta"
        ]
    )
    second = copy.deepcopy(stream.payloads[place])
    second["delta"]["signature"] += "other"
    stream.payloads.insert(place + 1, second)
    return stream.body()
