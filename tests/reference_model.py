"""A reference model: the bytes of a stream in, the expected values of a machine out.

The code is simple and slow, so that a reader can compare it with docs/states.md,
docs/violations.md, docs/folding.md and docs/embedding.md. Its first half is `reference_reading`.
All values are plain dicts. From the library the code uses only the violation codes, the verdicts
and the default limit of the wire index. It has no byte offsets, no excerpts and no partial inputs.
"""

from collections.abc import Iterator
from typing import Any

from reference_reading import (
    BESIDE_DELTA,
    BLOCKS,
    DELTAS,
    IN_DELTA,
    MESSAGE,
    OBJECTS,
    TOOLS,
    USAGE,
    Flaw,
    Payload,
    delta_in,
    event_of,
    frames_of,
    has_content,
    is_a,
    is_cut_content_frame,
    is_infinite,
    json_object,
    lacks_value,
    member_of,
    usage_in,
    wrong_types,
)
from sansio_stream import Verdict, ViolationCode as Code

# The decision about each event.


def decide(now: Payload, kind: str, payload: Payload) -> tuple[str, list[Flaw]]:
    """Return "apply", "skip" or the code of a fatal error, and the violations of an event."""
    state = now["state"]
    if kind in ("ping", "unknown"):
        return "apply", []
    if state == "FAILED":
        return "skip", [(Code.AFTER_ERROR, False)]
    if state == "DONE":
        second = kind == "message_start"
        return "skip", [(Code.SECOND_MESSAGE if second else Code.AFTER_MESSAGE_STOP, False)]
    if kind == "error":
        return "apply", []
    if kind == "message_start":
        return decide_message_start(now, payload)
    if state == "WAITING":
        return "skip", [(Code.BEFORE_MESSAGE_START, adds_content(kind, payload))]
    if kind == "message_delta":
        return "apply", [(Code.FALLING_USAGE, False)] if usage_falls(now, payload) else []
    if kind == "message_stop":
        return "apply", [(code, False) for code in codes_at_message_stop(now)]
    flaws_of_state = [(Code.AFTER_STOP_REASON, False)] if state == "CLOSING" else []
    if kind == "content_block_start":
        return "apply", flaws_of_state + [(code, False) for code in codes_of_start(now, payload)]
    action, flaws = decide_delta_or_stop(newest(now, payload["index"]), payload.get("delta"))
    return action, flaws_of_state + flaws


def adds_content(kind: str, payload: Payload) -> bool:
    """Whether content is lost if the event is skipped."""
    if kind == "message_start":
        return any(map(has_content, member_of(payload["message"], "content", OBJECTS, [])))
    part = {"content_block_start": "content_block", "content_block_delta": "delta"}.get(kind)
    return part is not None and has_content(payload[part])


def decide_message_start(now: Payload, payload: Payload) -> tuple[str, list[Flaw]]:
    """Decide about a message_start: the first one, a repetition, or one of another message."""
    if now["state"] == "WAITING":
        ids = ids_of(member_of(payload["message"], "content", OBJECTS, []))
        again = len(ids) > len({*ids})
        return "apply", [(Code.DUPLICATE_TOOL_USE_ID, False)] if again else []
    again = member_of(now["message"], "id", str, None)
    if again is not None and payload["message"].get("id") == again:
        loses = adds_content("message_start", payload)
        return "skip", [(Code.DUPLICATE_MESSAGE_START, loses)]
    return "spliced_message", []


def ids_of(wires: list[Payload]) -> list[str]:
    """Return the ids of the tool calls among these blocks, without empty ids."""
    ids = [member_of(wire, "id", str, "") for wire in wires if wire.get("type") in [*TOOLS]]
    return [each for each in ids if each]


def usage_falls(now: Payload, payload: Payload) -> bool:
    """Whether a counter of input tokens falls to 0, and there are no iterations that explain it."""
    usage, before = usage_in(payload), member_of(now["message"], "usage", dict, {})
    names = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
    fallen = [
        member_of(usage, name, int, 1) == 0 < member_of(before, name, int, 0) for name in names
    ]
    return any(fallen) and not is_a(usage.get("iterations"), list)


def codes_of_start(now: Payload, payload: Payload) -> list[Code]:
    """Return the violations of the start of a block."""
    codes = []
    index, used = payload["index"], [block["index"] for block in now["blocks"]]
    if index in used:
        codes.append(Code.INDEX_REUSED)
    elif index != max(used, default=-1) + 1:
        codes.append(Code.INDEX_NOT_NEXT)
    if any(block["open"] for block in now["blocks"]):
        codes.append(Code.OVERLAPPING_BLOCKS)
    if {*ids_of([payload["content_block"]])} & {*ids_of([each["wire"] for each in now["blocks"]])}:
        codes.append(Code.DUPLICATE_TOOL_USE_ID)
    return codes


def decide_delta_or_stop(block: Payload | None, delta: Payload | None) -> tuple[str, list[Flaw]]:
    """Decide about a delta of a block, or about its stop if `delta` is None."""
    if block is None:
        return "skip", [(Code.UNKNOWN_INDEX, delta is not None and has_content(delta))]
    missed = delta is not None and has_content(delta) and not repeats_signature(block, delta)
    if not block["open"]:
        return "skip", [(Code.STOPPED_BLOCK, missed)]
    if delta is None or not is_foldable(delta) or block["type"] not in BLOCKS:
        return "apply", []
    if block["type"] not in DELTAS[delta["type"]][2]:
        return "skip", [(Code.UNFIT_DELTA, missed)]
    old, new = member_of(block["wire"], "signature", str, ""), signature_of(delta)
    if old and new and old != new:
        return "apply", [(Code.SECOND_SIGNATURE, False)]
    return "apply", [(Code.SECOND_COMPACTION, False)] if replaces_summary(block, delta) else []


def repeats_signature(block: Payload, delta: Payload) -> bool:
    """Whether a delta has only the signature that its block already has."""
    alone = not has_content({**delta, "signature": None})
    has_one = "signature" in BLOCKS.get(block["type"], {})
    return (
        alone and has_one and signature_of(delta) == member_of(block["wire"], "signature", str, "")
    )


def replaces_summary(block: Payload, delta: Payload) -> bool:
    """Whether a compaction replaces another one."""
    if delta["type"] != "compaction_delta":
        return False
    names = [name for name in SUMMARY if name in delta and not wrong_types(delta, {name: str})]
    return any(member_of(block["wire"], name, str, "") not in ("", delta[name]) for name in names)


def codes_at_message_stop(now: Payload) -> list[Code]:
    """Return the violations of a message that ends."""
    codes = []
    reason = now["message"].get("stop_reason")
    calls = any(block["type"] == "tool_use" for block in now["blocks"])
    if not is_a(reason, str):
        codes.append(Code.MISSING_STOP_REASON)
    if any(block["open"] for block in now["blocks"]) and reason != "max_tokens":
        codes.append(Code.UNCLOSED_BLOCK)
    if reason == ("end_turn" if calls else "tool_use"):
        codes.append(Code.CONTRADICTORY_STOP_REASON)
    return codes


# The fold.

SUMMARY = ("content", "encrypted_content")


def newest(now: Payload, index: int) -> Any:
    """Return the block that started last at an index, or None."""
    return next((block for block in reversed(now["blocks"]) if block["index"] == index), None)


def is_foldable(delta: Payload) -> bool:
    """Whether a delta has a known type and a value."""
    return delta["type"] in DELTAS and not lacks_value(delta)


def signature_of(delta: Payload) -> str:
    """Return the signature of a delta, or "" if it has none."""
    brings_one = delta["type"] in ("signature_delta", "thinking_delta")
    return str(member_of(delta, "signature", str, "")) if brings_one else ""


def fold(now: Payload, kind: str, payload: Payload) -> None:
    """Apply an event to the model."""
    if kind == "message_start":
        now["message"] = dict(payload["message"])
        if now["message"].get("stop_reason") == "":
            now["message"]["stop_reason"] = None
        blocks_of_start = member_of(now["message"], "content", OBJECTS, [])
        for index, wire in enumerate(blocks_of_start):
            now["blocks"].append({**new_block(index, wire), "open": False, "from_start": True})
        ending = blocks_of_start and member_of(now["message"], "stop_reason", str, None) is not None
        now["state"] = "CLOSING" if ending else "OPEN"
    elif kind == "content_block_start":
        block = new_block(payload["index"], payload["content_block"])
        # An earlier piece without a block was lost. It may belong to this input.
        block["lost"] = has_input(block) and payload["index"] in now["lost_before"]
        now["blocks"].append(block)
        if payload["content_block"]["type"] == "fallback":
            to = member_of(payload["content_block"], "to", dict, {})
            now["message"] |= {"model": to["model"]} if is_a(to.get("model"), str) else {}
    elif kind == "content_block_delta":
        fold_delta(newest(now, payload["index"]), payload["delta"])
    elif kind == "content_block_stop":
        newest(now, payload["index"])["open"] = False
    elif kind == "message_delta":
        fold_message_delta(now["message"], payload)
        if member_of(delta_in(payload), "stop_reason", str, ""):
            now["state"] = "CLOSING"
    elif kind == "message_stop":
        now["complete"] = first_loss(now) is None
        now["state"] = "DONE"
        now["verdict"] = Verdict.COMPLETE if now["complete"] else Verdict.DAMAGED
    elif kind == "error":
        now["state"], now["verdict"] = "FAILED", Verdict.ERRORED


def new_block(index: int, wire: Payload) -> Payload:
    """Return the block of a content_block_start."""
    block = {
        "index": index,
        "type": member_of(wire, "type", str, ""),
        "wire": dict(wire),
        "open": True,
    }
    return {**block, "from_start": False, "input_json": [], "unfolded": [], "lost": False}


def fold_delta(block: Payload, delta: Payload) -> None:
    """Apply a delta to a block."""
    wire, kind = block["wire"], delta["type"]
    if kind == "input_json_delta" and is_foldable(delta):
        block["input_json"].append(delta["partial_json"])
    if not is_foldable(delta) or block["type"] not in BLOCKS:
        block["unfolded"].append(delta)
        return
    if signature_of(delta):
        wire["signature"] = delta["signature"]
    if kind in ("text_delta", "thinking_delta"):
        name = DELTAS[kind][0]
        wire[name] = joined(member_of(wire, name, str, "") + member_of(delta, name, str, ""))
    elif kind == "citations_delta":
        wire["citations"] = [*member_of(wire, "citations", OBJECTS, []), delta["citation"]]
    elif kind == "compaction_delta":
        for name in SUMMARY:
            if name in delta and not wrong_types(delta, {name: str}):
                wire[name] = delta[name]


def joined(text: str) -> str:
    """Join surrogate pairs."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


def fold_message_delta(message: Payload, payload: Payload) -> None:
    """Apply a message_delta to the message."""
    inside = delta_in(payload)
    before = {name: message[name] for name in message if name == "stop_reason"}
    beside = {name: payload[name] for name in payload if name != "delta"}
    for members, own in ((beside, BESIDE_DELTA), (inside, IN_DELTA)):
        message |= {name: members[name] for name in own if is_a(members.get(name), MESSAGE[name])}
        more = {name: members[name] for name in members if name not in {*MESSAGE, "type"}}
        message |= {name: value for name, value in more.items() if value is not None}
    if inside.get("stop_reason") == "":
        del message["stop_reason"]
        message |= before
    if inside.get("stop_details", ...) is None:
        message["stop_details"] = None
    for name, value in usage_in(payload).items():
        if value is not None and not wrong_types({name: value}, USAGE):
            message["usage"] = {**member_of(message, "usage", dict, {}), name: value}


# Losses.


def first_loss(now: Payload) -> tuple[Code, int] | None:
    """Return the code and the frame number of the first violation with a loss, or None."""
    losses = [(code, number) for code, number, loses in now["violations"] if loses]
    return losses[0] if losses else None


def has_input(block: Payload) -> bool:
    """Whether a block is a tool call, or an unknown block, which may be one."""
    return block["type"] in TOOLS or block["type"] not in BLOCKS


def mark_open_inputs_lost(now: Payload) -> None:
    """Mark every open input: the lost content may be a piece of it."""
    for block in now["blocks"]:
        block["lost"] = block["lost"] or (block["open"] and has_input(block))


def mark_inputs_lost(now: Payload, kind: str, payload: Payload, name: str) -> None:
    """Mark the inputs that may lack a piece because of an event with a loss."""
    if kind == "message_start":
        for block in now["blocks"]:
            block["lost"] = block["lost"] or has_input(block)
    elif kind == "content_block_start":
        block = newest(now, payload["index"])
        block["lost"] = has_input(block)
    elif kind == "content_block_delta":
        block = newest(now, payload["index"])
        if block is not None and has_input(block):
            block["lost"] = True
        has_owner = block is not None and block["open"] and has_input(block)
        if not has_owner and may_be_input(payload["delta"]):
            mark_open_inputs_lost(now)
            if block is None or not block["open"]:
                now["lost_before"].add(payload["index"])
    elif kind != "message_delta":
        wire_type = member_of(payload, "type", str, name)
        known = wire_type in ("message_start", "message_delta")
        if not known and may_be_input(member_of(payload, "delta", dict, {})):
            mark_open_inputs_lost(now)


def may_be_input(delta: Payload) -> bool:
    """Whether a delta may be a piece of an input: its type does not exclude it."""
    tag = member_of(delta, "type", str, "")
    return tag not in DELTAS or tag == "input_json_delta"


# The whole stream.


def input_of(block: Payload) -> tuple[Any, str, str]:
    """Return the input of a block, its raw text, and its state."""
    text = joined("".join(block["input_json"]))
    value = json_object(text, finite=True) if text else block["wire"].get("input")
    if not is_shown_as_call(block) and block["lost"]:
        return None, text, "incomplete"
    if block["open"] or (value is None and not text and not block["lost"]):
        return None, text, "incomplete"
    is_whole = is_a(value, dict) and not is_infinite(value) and not block["lost"]
    return (value, text, "complete") if is_whole else (None, text, "invalid")


def is_shown_as_call(block: Payload) -> bool:
    """Whether a block is a tool call. An unknown block is one if it has an input."""
    has_one = block["input_json"] or block["wire"].get("input") is not None
    return block["type"] in TOOLS or bool(has_one)


def wire_of(block: Payload) -> Payload:
    """Return a block as JSON. A block of message_start is unchanged unless its input is invalid."""
    called = block["type"] in TOOLS and not block["from_start"]
    lost = block["lost"] and not block["open"] and is_shown_as_call(block)
    unfit = block["type"] in TOOLS and is_infinite(block["wire"].get("input"))
    has_streamed_input = called or block["input_json"] or lost or unfit
    streamed = {"input": input_of(block)[0]} if has_streamed_input else {}
    return {**block["wire"], **streamed}


def message_of(now: Payload) -> Payload | None:
    """Return the message as JSON, with the blocks by index and then by arrival."""
    if now["message"] is None:
        return None
    blocks = sorted(now["blocks"], key=lambda block: int(block["index"]))
    content = {"content": [wire_of(block) for block in blocks]} if blocks else {}
    return {**now["message"], **content}


def read(body: bytes, *, ended: bool, strict: bool = False) -> Iterator[Payload]:
    """Yield the values of the model at the start, after each event, and after the last event.

    All of them are the same dict, which the next step changes.
    """
    now: Payload = {"message": None, "blocks": [], "violations": [], "error": None, "event": None}
    now["lost_before"] = set()
    now |= {"state": "WAITING", "verdict": Verdict.PENDING, "complete": False}
    yield now
    number, has_data, has_unknown_lines, cut_content = 0, False, False, False
    for frame in frames_of(body, ended=ended):
        number += bool(frame["fields"])
        has_data = has_data or "data" in frame["fields"]
        has_unknown_lines = has_unknown_lines or Code.UNKNOWN_FIELD in dict(frame["flaws"])
        kind, payload, flaws, action = event_of(frame)
        cut_content = Code.CUT_FRAME in dict(flaws) and is_cut_content_frame(frame)
        if kind:
            action, more = decide(now, kind, payload)
            flaws += more
        forgiven = {*TOLERATED} if has_data else {*TOLERATED, Code.UNKNOWN_FIELD}
        if Code.CUT_FRAME in dict(flaws):
            forgiven.add(Code.MISSING_BLANK_LINE)
        if strict and {code for code, _ in flaws} - forgiven:
            action, flaws = next(code for code, _ in flaws if code not in forgiven), []
        if now["verdict"] is not Verdict.PENDING:  # nothing after the end is a loss
            flaws = [(code, False) for code, _ in flaws]
        now["violations"] += [(code, number, loses) for code, loses in flaws]
        if (Code.UNKNOWN_FIELD, True) in flaws:
            mark_open_inputs_lost(now)
        loses = any(loses for code, loses in flaws if code is not Code.UNKNOWN_FIELD)
        name = frame["fields"].get("event", [""])[0]
        if loses and not kind.endswith("_start"):
            mark_inputs_lost(now, kind, payload, name)
        if action == "apply":
            fold(now, kind, payload)
            if loses and kind.endswith("_start"):  # the blocks exist only now
                mark_inputs_lost(now, kind, payload, name)
            now["event"] = payload
            yield now
        elif action not in ("skip", ""):
            now |= {"state": "FAILED", "error": action}
            if now["verdict"] is Verdict.PENDING:
                now["verdict"] = Verdict.BROKEN
            break
    if ended and now["verdict"] is Verdict.PENDING:
        verdict = verdict_at_the_end(
            now, has_unknown_lines=has_unknown_lines and not has_data, cut_content=cut_content
        )
        if verdict is Verdict.NOT_AN_EVENT_STREAM:  # a body of another type has no losses
            now["violations"] = [(code, at, False) for code, at, _ in now["violations"]]
        if verdict is Verdict.UNTERMINATED:
            now["violations"].append((Code.MISSING_MESSAGE_STOP, number, False))
        is_damaged = verdict in (Verdict.UNTERMINATED, Verdict.EMPTY) and first_loss(now)
        now["verdict"] = Verdict.DAMAGED if is_damaged else verdict
    now["event"] = None
    yield now


TOLERATED = (Code.CUT_FRAME, Code.FALLING_USAGE)
"""The codes that are not fatal in strict mode, without those that are reported at the end."""


def verdict_at_the_end(now: Payload, *, has_unknown_lines: bool, cut_content: bool) -> Verdict:
    """Return the verdict at the end of a body that no event has ended, without regard to losses."""
    if now["state"] == "WAITING":
        return Verdict.NOT_AN_EVENT_STREAM if has_unknown_lines else Verdict.EMPTY
    blocks = sorted(now["blocks"], key=lambda block: int(block["index"]))
    if now["state"] == "CLOSING" and now["message"]["stop_reason"] == "max_tokens":
        blocks = blocks[:-1]  # max_tokens may cut the last block, which then has no stop
    is_whole = not any(block["open"] for block in blocks) and not cut_content
    return Verdict.UNTERMINATED if now["state"] == "CLOSING" and is_whole else Verdict.TRUNCATED
