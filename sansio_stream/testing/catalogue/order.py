"""Faults of the order of events, and of the index of their block."""

from __future__ import annotations

import copy
from typing import Final

from ...errors import Verdict
from .damage import ANY_DELTA, Damage, LegalStream, fault

# The order of events.


@fault(
    Verdict.DAMAGED,
    problem="BerriAI/litellm#32478",
    codes=["before_message_start"],
    needs=["text"],
)
def missing_message_start(stream: LegalStream) -> bytes:
    """The stream begins with its content, without message_start."""
    del stream.payloads[stream.place("message_start")]
    return stream.body()


@fault(
    Verdict.DAMAGED,
    problem="anthropics/anthropic-sdk-python#1192",
    codes=["unknown_index"],
    may=["index_not_next"],
    needs=["text"],
)
def missing_block_start(stream: LegalStream) -> bytes:
    """The deltas of a block arrive, but its start is missing."""
    del stream.payloads[stream.block_around(stream.telling_place("text_delta"))[0]]
    return stream.body()


@fault(
    Verdict.DAMAGED,
    codes=["unknown_index"],
    may=["index_not_next", "contradictory_stop_reason"],
    needs=["tool_use"],
)
def missing_tool_start(stream: LegalStream) -> bytes:
    """The deltas of a tool call arrive, but its start is missing."""
    del stream.payloads[stream.tool_block()[0]]
    return stream.body()


@fault(Verdict.COMPLETE, codes=["unclosed_block"], may=["overlapping_blocks"], needs=["text"])
def missing_block_stop(stream: LegalStream) -> bytes:
    """The stop of a block is missing."""
    del stream.payloads[stream.block_around(stream.telling_place("text_delta"))[-1]]
    # With max_tokens, a missing stop would not be a violation.
    stream.last_message_delta()["delta"]["stop_reason"] = "pause_turn"
    return stream.body()


@fault(Verdict.COMPLETE, codes=["missing_stop_reason"])
def missing_stop_reason(stream: LegalStream) -> bytes:
    """message_stop arrives, but every message_delta is missing."""
    stream.payloads[:] = [each for each in stream.payloads if each["type"] != "message_delta"]
    return stream.body()


@fault(Verdict.COMPLETE, needs=["text"])
def lost_delta(stream: LegalStream) -> Damage:
    """A delta is missing. No reader can detect that, unless a tool's input is no longer JSON."""
    place = stream.telling_place(*ANY_DELTA)
    altered = stream.tool_id(place)
    del stream.payloads[place]
    return Damage(stream.body(), altered=altered)


@fault(Verdict.COMPLETE, needs=["text"])
def duplicated_delta(stream: LegalStream) -> Damage:
    """A delta arrives twice. No reader can detect that, unless a tool's input is no longer JSON."""
    place = stream.telling_place(*ANY_DELTA)
    stream.payloads.insert(place, stream.payloads[place])
    return Damage(stream.body(), altered=stream.tool_id(place))


@fault(Verdict.COMPLETE, problem="MoonshotAI/Kimi-K2.5#33", codes=["duplicate_message_start"])
def duplicated_message_start(stream: LegalStream) -> bytes:
    """message_start arrives again, anywhere before the end."""
    first, last = stream.place("message_start"), stream.place("message_stop")
    stream.payloads.insert(stream.choose(range(first, last)) + 1, stream.payloads[first])
    return stream.body()


@fault(Verdict.DAMAGED, codes=["duplicate_message_start"])
def message_start_again_with_content(stream: LegalStream) -> bytes:
    """message_start arrives again, and the second one has content."""
    first, last = stream.place("message_start"), stream.place("message_stop")
    again = copy.deepcopy(stream.payloads[first])
    again["message"]["content"] = [{"type": "text", "text": "more"}]
    stream.payloads.insert(stream.choose(range(first, last)) + 1, again)
    return stream.body()


@fault(
    Verdict.COMPLETE,
    codes=["index_reused", "overlapping_blocks"],
    may=["unclosed_block", "duplicate_tool_use_id"],
    needs=["text"],
)
def duplicated_block_start(stream: LegalStream) -> Damage:
    """The start of a block arrives twice."""
    place = stream.place("content_block_start")
    stream.payloads.insert(place, stream.payloads[place])
    codes = ("duplicate_tool_use_id",) if stream.tool_id(place) else ()
    return Damage(stream.body(), codes=codes)


@fault(Verdict.COMPLETE, codes=["stopped_block"], needs=["text"])
def duplicated_block_stop(stream: LegalStream) -> bytes:
    """The stop of a block arrives twice."""
    place = stream.place("content_block_stop")
    stream.payloads.insert(place, stream.payloads[place])
    return stream.body()


@fault(Verdict.COMPLETE, codes=["after_message_stop"])
def duplicated_message_stop(stream: LegalStream) -> bytes:
    """message_stop arrives twice."""
    stream.payloads.append({"type": "message_stop"})
    return stream.body()


@fault(Verdict.DAMAGED, codes=["unknown_index"], needs=["text"])
def delta_before_its_block(stream: LegalStream) -> Damage:
    """A delta arrives before the start of its block."""
    place = stream.telling_place(*ANY_DELTA)
    broken = stream.tool_id(place)
    stream.payloads.insert(stream.block_around(place)[0], stream.payloads.pop(place))
    return Damage(stream.body(), broken=broken)


@fault(Verdict.DAMAGED, codes=["stopped_block"], needs=["text"])
def delta_after_its_block(stream: LegalStream) -> Damage:
    """A delta arrives after the stop of its block."""
    place = stream.telling_place(*ANY_DELTA)
    broken = stream.tool_id(place)
    stream.payloads.insert(stream.block_around(place)[-1], stream.payloads.pop(place))
    return Damage(stream.body(), broken=broken)


@fault(Verdict.COMPLETE, codes=["stopped_block"], needs=["thinking"])
def signature_after_its_block(stream: LegalStream) -> bytes:
    """The signature of a block arrives again after its stop. No content is lost."""
    place = stream.signature_place()
    stop = stream.block_around(place)[-1]
    stream.payloads.insert(stop + 1, stream.payloads[place])
    return stream.body()


@fault(Verdict.COMPLETE, codes=["after_message_stop", "missing_stop_reason"])
def early_message_stop(stream: LegalStream) -> bytes:
    """message_stop arrives before the stop reason."""
    early = stream.payloads.pop(stream.place("message_stop"))
    stream.payloads.insert(stream.places("message_delta")[0], early)
    return stream.body()


@fault(Verdict.COMPLETE, codes=["after_stop_reason"], needs=["text"])
def early_stop_reason(stream: LegalStream) -> bytes:
    """Content arrives after the stop reason."""
    early = stream.payloads.pop(stream.places("message_delta")[-1])
    stream.payloads.insert(stream.place("content_block_stop"), early)
    return stream.body()


@fault(Verdict.COMPLETE, codes=["index_not_next"], needs=["text", "tool_use"])
def reordered_blocks(stream: LegalStream) -> bytes:
    """The last block arrives before the first."""
    first = stream.places("content_block_start")[0]
    last = stream.block_around(stream.places("content_block_start")[-1])
    block = [stream.payloads.pop(place) for place in reversed(last)]
    stream.payloads[first:first] = reversed(block)
    return stream.body()


@fault(
    Verdict.COMPLETE,
    problem="praxis-proxy/ai#266",
    codes=["overlapping_blocks"],
    needs=["text", "tool_use"],
)
def interleaved_blocks(stream: LegalStream) -> bytes:
    """A block starts before the previous one has stopped. Every delta has the right index."""
    number = stream.choose(range(len(stream.places("content_block_start")) - 1))
    before = stream.places("content_block_stop")[number]
    start = stream.places("content_block_start")[number + 1]
    after = stream.choose(range(start, stream.block_around(start)[-1] + 1))
    stream.payloads.insert(after, stream.payloads.pop(before))
    return stream.body()


@fault(
    Verdict.BROKEN,
    problem="vercel/ai#18331",
    codes=["spliced_message"],
)
def spliced_message(stream: LegalStream) -> bytes:
    """A proxy retries, and begins a second message inside the first."""
    start = stream.place("message_start")
    other = copy.deepcopy(stream.payloads[start])
    other["message"]["id"] = "msg_other"
    place = stream.choose(range(start, stream.place("message_stop")))
    stream.payloads[place + 1 :] = [other, *stream.payloads[start + 1 :]]
    return stream.body()


@fault(Verdict.COMPLETE, codes=["second_message", "after_message_stop"])
def second_message(stream: LegalStream) -> bytes:
    """A second stream follows the first in the same body."""
    second = copy.deepcopy(stream.payloads)
    second[stream.place("message_start")]["message"]["id"] = "msg_other"
    stream.payloads.extend(second)
    return stream.body()


# The index of a block.

DROPS_A_BLOCK: Final = ("index_not_next", "contradictory_stop_reason")
"""The codes that a machine may report if it ignored a whole block."""


@fault(
    Verdict.DAMAGED,
    problem="anthropics/anthropic-sdk-python#1145",
    codes=["malformed_event"],
    may=DROPS_A_BLOCK,
    needs=["text"],
)
def huge_index(stream: LegalStream) -> bytes:
    """A block has an index that is too large for any list."""
    for place in stream.block_around(stream.place("content_block_start")):
        stream.payloads[place]["index"] = 10**9
    return stream.body()


UNUSABLE: Final = (-1, None, "0", 0.5, True, [0])
"""Values that are not an index."""


@fault(Verdict.DAMAGED, codes=["malformed_event"], may=DROPS_A_BLOCK, needs=["text"])
def unusable_index(stream: LegalStream) -> bytes:
    """A block has an index that is not an integer of at least 0."""
    index = stream.choose(UNUSABLE)
    for place in stream.block_around(stream.place("content_block_start")):
        stream.payloads[place]["index"] = index
    return stream.body()


@fault(Verdict.DAMAGED, codes=["malformed_event"], needs=["text"])
def delta_without_index(stream: LegalStream) -> Damage:
    """A delta has no index, or one that is not an integer of at least 0."""
    place = stream.telling_place(*ANY_DELTA)
    broken = stream.tool_id(place)
    index = stream.choose([*UNUSABLE, ...])
    del stream.payloads[place]["index"]
    if index is not ...:
        stream.payloads[place]["index"] = index
    return Damage(stream.body(), broken=broken)


@fault(Verdict.COMPLETE, problem="jundot/omlx#1353", codes=["index_not_next"], needs=["text"])
def skipped_index(stream: LegalStream) -> bytes:
    """An index is skipped."""
    first = stream.place("content_block_start")
    for payload in stream.payloads[first:]:
        if payload["type"].startswith("content_block_"):
            payload["index"] += 1
    return stream.body()


@fault(
    Verdict.COMPLETE,
    problem="langchain-ai/langchain#35281",
    codes=["index_reused"],
    may=["index_not_next"],
    needs=["tool_use", "tool_use"],
)
def reused_index(stream: LegalStream) -> bytes:
    """A block has the index of an earlier block that has stopped."""
    later = stream.choose(stream.places("content_block_start")[1:])
    index = stream.choose(range(stream.payloads[later]["index"]))
    for place in stream.block_around(later):
        stream.payloads[place]["index"] = index
    return stream.body()


@fault(
    Verdict.DAMAGED,
    problem="NousResearch/hermes-agent#46016",
    codes=["unknown_index"],
    needs=["text"],
)
def delta_for_no_block(stream: LegalStream) -> Damage:
    """A delta has the index of no block."""
    place = stream.telling_place(*ANY_DELTA)
    broken = stream.tool_id(place)
    stream.payloads[place]["index"] = 99
    return Damage(stream.body(), broken=broken)


@fault(
    Verdict.DAMAGED,
    problem="Wei-Shaw/sub2api#4294",
    codes=["stopped_block"],
    needs=["tool_use", "tool_use"],
)
def delta_for_another_block(stream: LegalStream) -> Damage:
    """A delta has the index of an earlier block."""
    places = stream.telling_places("input_json_delta")
    place = stream.choose([place for place in places if stream.payloads[place]["index"] > 0])
    # A reader cannot know to which of the two calls the piece belongs.
    broken = (*stream.tool_id(place), *stream.tool_id(stream.places("content_block_start")[0]))
    stream.payloads[place]["index"] = 0
    return Damage(stream.body(), broken=broken)
