"""Faults of the members of events: tool inputs, names, types, texts, usage."""

from __future__ import annotations

import copy

import attrs

from ...errors import Verdict
from .damage import ANY_DELTA, DEEP, Damage, LegalStream, Payload, fault

# Tools.


@fault(Verdict.COMPLETE, problem="zgsm-ai/costrict#1360", needs=["tool_use"])
def truncated_tool_input(stream: LegalStream) -> Damage:
    """A tool's input ends before its last brace. Everything else is as if it were complete."""
    block = stream.cut_an_input()
    return Damage(stream.body(), broken=stream.tool_id(block[0]))


@fault(Verdict.COMPLETE, problem="earendil-works/pi#3175", needs=["tool_use"])
def broken_tool_input(stream: LegalStream) -> Damage:
    """A tool's input is not a JSON object."""
    text = stream.choose(
        [
            "{'q': 1}",
            '{"q": NaN}',
            '{"q": undefined}',
            '{"q": 1,}',
            '{"q": 1}}',
            '{"q": 1E400}',
            '["q"]',
            '"q"',
            " ",
        ]
    )
    return stream.body_with_input(stream.tool_block(), text)


@fault(Verdict.COMPLETE, problem="sgl-project/sglang#39782", needs=["tool_use"])
def merged_tool_inputs(stream: LegalStream) -> Damage:
    """The inputs of two calls arrive in one block, one after the other."""
    block = stream.tool_block()
    return stream.body_with_input(block, stream.input_text(block) + '{"q": "second"}')


@fault(Verdict.COMPLETE, needs=["tool_use"])
def deep_tool_input(stream: LegalStream) -> Damage:
    """A tool's input contains thousands of nested arrays."""
    return stream.body_with_input(stream.tool_block(), '{"q": ' + DEEP * "[" + DEEP * "]" + "}")


@fault(
    Verdict.COMPLETE,
    problem="anthropics/anthropic-sdk-python#794",
    may=["overlapping_blocks"],
    needs=["tool_use"],
)
def max_tokens_in_a_tool_input(stream: LegalStream) -> Damage:
    """max_tokens has cut a tool's input. Its block has no stop, but the message has its end."""
    stream.last_message_delta()["delta"]["stop_reason"] = "max_tokens"
    block = stream.cut_an_input()
    del stream.payloads[block[-1]]
    return Damage(stream.body(), broken=stream.tool_id(block[0]))


@fault(
    Verdict.DAMAGED, problem="sgl-project/sglang#24293", codes=["unfit_delta"], needs=["tool_use"]
)
def unfit_delta(stream: LegalStream) -> Damage:
    """A text delta arrives inside a tool call."""
    block = stream.tool_block()
    broken = stream.tool_id(block[0])
    stray = copy.deepcopy(stream.payloads[block[1]])
    stray["delta"] = {"type": "text_delta", "text": "stray"}
    stream.payloads.insert(block[-1], stray)
    return Damage(stream.body(), broken=broken)


@fault(Verdict.DAMAGED, codes=["malformed_delta"], needs=["tool_use"])
def malformed_input_delta(stream: LegalStream) -> Damage:
    """A piece of a tool's input is an object, or has another key."""
    place = stream.telling_place("input_json_delta")
    piece = stream.payloads[place]["delta"].pop("partial_json")
    stream.payloads[place]["delta"] |= stream.choose(
        [{"partial_json": {"q": piece}}, {"json": piece}, {"partial_json": None, "text": piece}]
    )
    return Damage(stream.body(), broken=stream.tool_id(place))


@fault(Verdict.DAMAGED, codes=["unknown_input_delta"], needs=["tool_use"])
def unknown_input_delta(stream: LegalStream) -> Damage:
    """A piece of a tool's input arrives in a delta of an unknown type."""
    place = stream.telling_place("input_json_delta")
    stream.payloads[place]["delta"]["type"] = "tool_input_delta"
    return Damage(stream.body(), broken=stream.tool_id(place))


@fault(
    Verdict.COMPLETE,
    problem="HKUDS/nanobot#4442",
    codes=["duplicate_tool_use_id"],
    needs=["tool_use", "tool_use"],
)
def duplicate_tool_use_id(stream: LegalStream) -> Damage:
    """Two tool calls have the same id, so the id does not tell their inputs apart."""
    calls = [stream.payloads[at]["content_block"] for at in stream.tool_starts()]
    later = stream.choose(range(1, len(calls)))
    altered = calls[0]["id"], calls[later]["id"]
    calls[later]["id"] = calls[0]["id"]
    return Damage(stream.body(), altered=altered)


@fault(
    Verdict.COMPLETE,
    problem="BerriAI/litellm#34692",
    codes=["contradictory_stop_reason"],
    needs=["tool_use"],
)
def contradictory_stop_reason(stream: LegalStream) -> bytes:
    """The stop reason is end_turn, but the message has a tool call."""
    stream.last_message_delta()["delta"]["stop_reason"] = "end_turn"
    return stream.body()


# Members.


@fault(Verdict.COMPLETE, problem="coder/coder#23587", codes=["missing_event_name"])
def missing_event_names(stream: LegalStream) -> bytes:
    """No frame has an `event:` line."""
    return attrs.evolve(stream.style, event_names=False).body(stream.payloads)


@fault(Verdict.COMPLETE, codes=["event_name_mismatch"])
def wrong_event_name(stream: LegalStream) -> bytes:
    """The `event:` line and the type of the payload differ."""
    place = stream.choose(range(len(stream.payloads)))
    name = stream.choose(["message", "completion", "Message_Start"])
    return stream.body_with_frame(place, stream.style.frame(stream.payloads[place], name))


@fault(Verdict.COMPLETE, problem="decolua/9router#3409", codes=["missing_type"])
def missing_type(stream: LegalStream) -> bytes:
    """A payload has no type."""
    place = stream.place(stream.choose(["message_start", "message_delta", "message_stop"]))
    payload = stream.payloads[place]
    name = payload.pop("type")
    return stream.body_with_frame(place, stream.style.frame(payload, name))


@fault(
    Verdict.DAMAGED,
    codes=["missing_event_name", "missing_type"],
    needs=["text"],
)
def untyped_delta(stream: LegalStream) -> Damage:
    """A delta has no type and no event name. Only its members show that it is a delta."""
    place = stream.telling_place(*ANY_DELTA)
    untyped = {name: value for name, value in stream.payloads[place].items() if name != "type"}
    frame = stream.style.frame(untyped, "")
    return Damage(stream.body_with_frame(place, frame), broken=stream.tool_id(place))


@fault(Verdict.DAMAGED, codes=["event_name_mismatch"], needs=["text"])
def ping_under_a_content_name(stream: LegalStream) -> Damage:
    """A ping or an unknown event replaces a delta, under the delta's event name."""
    place = stream.telling_place(*ANY_DELTA)
    broken = stream.tool_id(place)
    payload = {"type": stream.choose(["ping", "content_block_dleta"])}
    name = stream.payloads[place]["type"]
    return Damage(stream.body_with_frame(place, stream.style.frame(payload, name)), broken=broken)


@fault(Verdict.COMPLETE, codes=["event_name_mismatch"], needs=["text"])
def misspelt_type(stream: LegalStream) -> Damage:
    """A delta's type is misspelt, and its event name is generic. No reader can identify it."""
    place = stream.telling_place(*ANY_DELTA)
    altered = stream.tool_id(place)
    payload = {**stream.payloads[place], "type": "content_block_dleta"}
    frame = stream.style.frame(payload, "message")
    return Damage(stream.body_with_frame(place, frame), altered=altered)


@fault(*(Verdict.COMPLETE, Verdict.DAMAGED), codes=["malformed_delta"], needs=["text"])
def malformed_delta(stream: LegalStream) -> Damage:
    """The text of a delta is null or missing, or it has another type or another key. In the last
    two cases it is lost.
    """
    place = stream.telling_place("text_delta")
    empty: list[Payload] = [{}, {"text": None}, {"text": None, "value": ""}]
    lost: list[Payload] = [{"text": 5}, {"text": ["word"]}, {"value": "word"}]
    delta = stream.choose([*empty, *lost])
    stream.payloads[place]["delta"] = {"type": "text_delta", **delta}
    return Damage(stream.body(), Verdict.DAMAGED if delta in lost else Verdict.COMPLETE)


@fault(Verdict.DAMAGED, codes=["malformed_member"], needs=["text"])
def mistyped_content(stream: LegalStream) -> bytes:
    """A block starts with a text that is not a string."""
    start = stream.block_around(stream.telling_place("text_delta"))[0]
    stream.payloads[start]["content_block"]["text"] = stream.choose([5, ["word"], {"text": "word"}])
    return stream.body()


@fault(Verdict.DAMAGED, codes=["malformed_event", "before_message_start"])
def message_start_without_message(stream: LegalStream) -> bytes:
    """message_start has no message, or a value that is not an object instead."""
    start = stream.payloads[stream.place("message_start")]
    del start["message"]
    start.update(stream.choose([{}, {"message": None}, {"message": "msg_1"}]))
    return stream.body()


@fault(
    Verdict.DAMAGED,
    codes=["malformed_event", "unknown_index"],
    may=["index_not_next"],
    needs=["text"],
)
def malformed_block(stream: LegalStream) -> bytes:
    """A block starts with null, or with a value without a type."""
    start = stream.block_around(stream.telling_place("text_delta"))[0]
    stream.payloads[start]["content_block"] = stream.choose([None, {}, "text", {"text": ""}])
    return stream.body()


@fault(Verdict.COMPLETE, problem="earendil-works/pi#6567")
def missing_usage(stream: LegalStream) -> bytes:
    """The usage is null or missing."""
    usage = stream.choose([{}, {"usage": None}])
    for place in stream.places("message_delta"):
        del stream.payloads[place]["usage"]
        stream.payloads[place].update(usage)
    return stream.body()


@fault(Verdict.COMPLETE, problem="Oaklight/llm-rosetta#52", codes=["missing_delta"])
def message_delta_without_delta(stream: LegalStream) -> bytes:
    """The usage arrives in a message_delta of its own, without `delta`."""
    last = stream.last_message_delta()
    usage = {"type": "message_delta", "usage": last.pop("usage")}
    usage.update(stream.choose([{}, {"delta": None}]))
    stream.payloads.insert(stream.places("message_delta")[-1] + 1, usage)
    return stream.body()


@fault(Verdict.COMPLETE)
def usage_inside_the_delta(stream: LegalStream) -> bytes:
    """The usage is inside the `delta` of a message_delta."""
    last = stream.last_message_delta()
    last["delta"]["usage"] = last.pop("usage")
    return stream.body()


@fault(Verdict.COMPLETE, codes=["misplaced_member"])
def misplaced_member(stream: LegalStream) -> bytes:
    """A message_delta has a model, an id or content, inside `delta` or beside it."""
    last = stream.last_message_delta()
    members: list[Payload] = [{"model": "another"}, {"id": "msg_2"}, {"content": []}]
    stream.choose([last, last["delta"]]).update(stream.choose(members))
    return stream.body()


@fault(Verdict.DAMAGED, codes=["malformed_event", "missing_stop_reason"])
def message_delta_of_another_type(stream: LegalStream) -> bytes:
    """The `delta` of a message_delta is not an object, so the stop reason is lost."""
    stream.last_message_delta()["delta"] = stream.choose(["end_turn", 5, ["end_turn"]])
    return stream.body()


@fault(Verdict.DAMAGED, codes=["malformed_member", "missing_stop_reason"])
def mistyped_stop_reason(stream: LegalStream) -> bytes:
    """The stop reason is not a string."""
    reason = stream.choose([1, ["end_turn"], {"type": "end_turn"}])
    stream.last_message_delta()["delta"]["stop_reason"] = reason
    return stream.body()


@fault(Verdict.COMPLETE, codes=["empty_stop_reason", "missing_stop_reason"])
def empty_stop_reason(stream: LegalStream) -> bytes:
    """The stop reason is an empty string, so the message has none."""
    stream.last_message_delta()["delta"]["stop_reason"] = ""
    return stream.body()


@fault(Verdict.COMPLETE, codes=["falling_usage"])
def falling_usage(stream: LegalStream) -> bytes:
    """A counter of input tokens falls to 0 at the end. The 0 is a placeholder, not a count."""
    counter = stream.choose(
        ["input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens"]
    )
    stream.payloads[stream.place("message_start")]["message"]["usage"][counter] = 15
    for place in stream.places("message_delta"):
        stream.payloads[place]["usage"] = {"output_tokens": 1}
    stream.last_message_delta()["usage"][counter] = 0
    return stream.body()


@fault(Verdict.COMPLETE, codes=["malformed_member"])
def mistyped_member(stream: LegalStream) -> bytes:
    """A count of tokens is a string, true or a list."""
    stream.last_message_delta()["usage"] = {"output_tokens": stream.choose(["12", True, [12]])}
    return stream.body()


@fault(
    Verdict.COMPLETE, problem="pensarai/apex#534", codes=["second_signature"], needs=["thinking"]
)
def second_signature(stream: LegalStream) -> bytes:
    """A block of reasoning gets a second signature, which differs."""
    place = stream.signature_place()
    second = copy.deepcopy(stream.payloads[place])
    second["delta"]["signature"] += "other"
    stream.payloads.insert(place + 1, second)
    return stream.body()


@fault(Verdict.COMPLETE, codes=["second_compaction"])
def second_compaction(stream: LegalStream) -> bytes:
    """A compaction gets a second summary, which differs."""
    first = {"type": "compaction_delta", "content": "first"}
    stream.add_block({"type": "compaction", "content": None}, first, {**first, "content": "second"})
    return stream.body()
