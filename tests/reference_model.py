"""A reference model: the bytes of a stream in, what a machine has to show out, as plain dicts.

Obvious and slow, for a reader to check by eye against docs/states.md, docs/violations.md,
docs/folding.md and docs/embedding.md. Knows nothing of the library but three vocabularies; of the
limits only the bound of the wire index; no offsets, excerpts or partial inputs.
"""

import codecs
import json
import re
from collections.abc import Iterator
from typing import Any, Final, NoReturn, TypeAlias

from sansio_stream import Limits, Verdict, ViolationCode as Code

Payload: TypeAlias = dict[str, Any]

# Bytes -> frames.


def frames_of(body: bytes, *, ended: bool) -> Iterator[Payload]:
    """Give each frame that has data, and if the body has ended, what stands behind the last one.

    A frame is its fields by name, what was wrong so far, and whether a blank line has ended it.
    """
    known = ("event", "data", "id", "retry")
    *lines, rest = re.split(rb"\r\n|\r|\n", body.removeprefix(codecs.BOM_UTF8))
    fields: dict[str, list[str]] = {}
    invalid: set[str] = set()  # names of fields that hold what is not UTF-8
    codes: list[Code] = []  # those of a frame without data go to the next one
    for line, whole in [*((line, True) for line in lines), *([(rest, False)] if ended else [])]:
        # A character that the end has cut is no character, and a name that it has cut no line.
        text = codecs.getincrementaldecoder("utf-8")("replace").decode(line, final=whole)
        name, colon, value = text.partition(":")
        if whole and not text:
            if "data" in fields:
                codes += [Code.INVALID_UTF8 for _ in invalid]
                yield {"fields": fields, "codes": codes, "whole": True}
                codes = []
            elif "id" in invalid:  # an id holds beyond its frame
                codes.append(Code.INVALID_UTF8)
            fields, invalid = {}, set()
        elif not whole and not colon and any(field.startswith(text) for field in known):
            fields |= {"cut": [text]} if text else {}
        elif name in known:
            if name != "data":
                fields[name] = []
                invalid.discard(name)
            fields.setdefault(name, []).append(value.removeprefix(" "))
            if name != "retry" and not line.startswith(text.encode()):
                invalid.add(name)
        elif name:
            codes.append(Code.UNKNOWN_FIELD)
    if ended and (fields or codes):
        codes += [Code.INVALID_UTF8 for _ in invalid]
        yield {"fields": fields, "codes": codes, "whole": False}


# Frames -> events. The members of known objects, with the types of their values; null is any.

OBJECTS: Final = list[Payload]
MESSAGE: Final = {
    "id": str, "role": str, "model": str, "content": OBJECTS, "stop_reason": str,
    "stop_sequence": str, "stop_details": dict, "usage": dict, "container": dict,
    "context_management": dict, "diagnostics": dict, "input_transformations": list,
}  # fmt: skip
IN_DELTA: Final = ("stop_reason", "stop_sequence", "stop_details", "container")
BESIDE_DELTA: Final = ("context_management", "input_transformations")
USAGE: Final = {
    "input_tokens": int, "output_tokens": int, "cache_creation_input_tokens": int,
    "cache_read_input_tokens": int, "cache_creation": dict, "output_tokens_details": dict,
    "server_tool_use": dict, "service_tier": str, "inference_geo": str, "speed": str,
    "iterations": list,
}  # fmt: skip
RESULTS: Final = (
    "web_search", "web_fetch", "code_execution", "bash_code_execution",
    "text_editor_code_execution", "tool_search", "mcp", "advisor",
)  # fmt: skip
BLOCKS: Final[dict[str, dict[str, Any]]] = {
    **{f"{tool}_tool_result": {"tool_use_id": str} for tool in RESULTS},
    "text": {"text": str, "citations": OBJECTS},
    "thinking": {"thinking": str, "signature": str},
    "redacted_thinking": {"data": str},
    "tool_use": {"id": str, "name": str, "caller": dict, "toolset_name": str},
    "server_tool_use": {"id": str, "name": str, "caller": dict},
    "mcp_tool_use": {"id": str, "name": str, "server_name": str},
    "web_search_tool_result": {"tool_use_id": str, "caller": dict},
    "web_fetch_tool_result": {"tool_use_id": str, "caller": dict},
    "mcp_tool_result": {"tool_use_id": str, "is_error": bool},
    "mcp_tool_listing": {"mcp_server_name": str, "tools": list},
    "container_upload": {"file_id": str},
    "compaction": {
        "content": str, "encrypted_content": str, "signature": str, "tool_changes": list,
    },
    "fallback": {"from": dict, "to": dict, "trigger": dict},
}  # fmt: skip
TOOLS: Final = {"tool_use", "server_tool_use", "mcp_tool_use"}
DELTAS: Final[dict[str, tuple[str, Any, set[str]]]] = {  # its payload, and the blocks that it fits
    "text_delta": ("text", str, {"text"}),
    "input_json_delta": ("partial_json", str, TOOLS),
    "thinking_delta": ("thinking", str, {"thinking"}),
    "signature_delta": ("signature", str, {"thinking", "compaction"}),
    "citations_delta": ("citation", dict, {"text"}),
    "compaction_delta": ("content", str, {"compaction"}),
}
EVENTS: Final = {  # the object that it needs
    "message_start": "message",
    "content_block_start": "content_block",
    "content_block_delta": "delta",
    "content_block_stop": "",
    "message_delta": "delta",
    "message_stop": "",
    "ping": "",
    "error": "",
}


def is_a(value: Any, kind: Any) -> bool:
    """Whether a value is of that type of JSON: true is no number."""
    if kind is OBJECTS:
        return type(value) is list and all(type(item) is dict for item in value)
    return type(value) is kind


def said(members: Payload, name: str, kind: Any, otherwise: Any) -> Any:
    """Return a member; one of another type says nothing."""
    return members[name] if is_a(members.get(name), kind) else otherwise


def mistyped(members: Payload, types: dict[str, Any]) -> bool:
    """Whether a member is neither of its type nor null."""
    there = [name for name in types if members.get(name) is not None]
    return any(not is_a(members[name], types[name]) for name in there)


def json_object(text: str) -> Payload | None:
    """Read a JSON object by the letter; None for anything else."""

    def refuse(constant: str) -> NoReturn:
        raise ValueError(constant)

    try:
        value = json.loads(text, parse_constant=refuse)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def event_of(frame: Payload) -> tuple[str, Payload, list[Code], str]:
    """Return an event's kind and payload, what is wrong with them, and the code if it is fatal.

    Where a frame gives no event, the kind is "".
    """
    fields, codes = frame["fields"], frame["codes"]
    name = fields.get("event", [""])[0]
    text = "\n".join(fields.get("data", []))
    payload = json_object(text)
    if not frame["whole"]:
        if payload is None and text != "[DONE]":
            return "", {}, codes + ([Code.CUT_FRAME] if fields else []), ""
        codes.append(Code.UNTERMINATED_FRAME)
    if text == "[DONE]":
        return "", {}, [*codes, Code.DONE_MARKER], ""
    if not name:
        codes.append(Code.MISSING_EVENT_NAME)
    if payload is None:
        if name in ("ping", "error"):
            return name, {}, codes, ""
        if name in EVENTS:
            return "", {}, codes, Code.UNDECODABLE_PAYLOAD
        return "unknown", {}, [*codes, Code.UNDECODABLE_PAYLOAD], ""
    if not is_a(payload.get("type"), str):
        codes.append(Code.MISSING_TYPE)
    elif name not in ("", payload["type"]):
        codes.append(Code.EVENT_NAME_MISMATCH)
    kind = kind_of(name, payload)
    if is_malformed(kind, payload):
        return "unknown", payload, [*codes, Code.MALFORMED_EVENT], ""
    if kind == "content_block_delta" and lacks_payload(payload["delta"]):
        codes.append(Code.MALFORMED_DELTA)
    if has_mistyped_member(kind, payload):
        codes.append(Code.MALFORMED_MEMBER)
    return kind, payload, codes, ""


def kind_of(name: str, payload: Payload) -> str:
    """Decide by the payload's type, else by the frame's name, else by the shape of an error."""
    tag = said(payload, "type", str, name)
    if "error" in (name, tag):
        return "error"
    if tag in EVENTS:
        return str(tag)
    error = payload.get("error")
    if is_a(error, dict) or (is_a(error, str) and error) or {"code", "message"} <= {*payload}:
        return "error"
    return "unknown"


def is_malformed(kind: str, payload: Payload) -> bool:
    """Whether a known event lacks a usable index, or an object with a type."""
    of_block = kind.startswith("content_block")
    if of_block and not 0 <= said(payload, "index", int, -1) < Limits().blocks:
        return True
    if not EVENTS.get(kind):
        return False
    needed = payload.get(EVENTS[kind])
    return not isinstance(needed, dict) or (of_block and not is_a(needed.get("type"), str))


def lacks_payload(delta: Payload) -> bool:
    """Whether a known delta has no payload; that of a compaction may be null, but not absent."""
    if delta["type"] not in DELTAS:
        return False
    name, kind, _ = DELTAS[delta["type"]]
    if delta["type"] == "compaction_delta" and name in delta and delta[name] is None:
        return False
    return not is_a(delta.get(name), kind)


def has_mistyped_member(kind: str, payload: Payload) -> bool:
    """Whether a member of the message, of its usage or of a block is of another type."""
    if kind == "message_start":
        message = payload["message"]
        return (
            message.get("type") not in (None, "message")
            or mistyped(message, MESSAGE)
            or mistyped(said(message, "usage", dict, {}), USAGE)
            or any(is_mistyped_block(wire) for wire in said(message, "content", OBJECTS, []))
        )
    if kind == "content_block_start":
        return is_mistyped_block(payload["content_block"])
    if kind == "message_delta":
        return (
            mistyped(payload["delta"], {name: MESSAGE[name] for name in IN_DELTA})
            or mistyped(payload, {name: MESSAGE[name] for name in ("usage", *BESIDE_DELTA)})
            or mistyped(said(payload, "usage", dict, {}), USAGE)
        )
    return False


def is_mistyped_block(wire: Payload) -> bool:
    """Whether a member of a block is of another type; of its input the block itself will tell."""
    return mistyped(wire, {"type": str, **BLOCKS.get(said(wire, "type", str, ""), {})})


# What is legal when.


def judge(now: Payload, kind: str, payload: Payload) -> tuple[str, list[Code]]:
    """Look an event up in the tables: "apply", "skip" or a fatal code, and the violations."""
    state = now["state"]
    if kind in ("ping", "unknown"):
        return "apply", []
    if state == "FAILED":
        return "skip", [Code.AFTER_ERROR]
    if state == "DONE":
        second = kind == "message_start"
        return "skip", [Code.SECOND_MESSAGE if second else Code.AFTER_MESSAGE_STOP]
    if kind == "error":
        return "apply", []
    if kind == "message_start":
        return judge_message_start(now, payload)
    if state == "WAITING":
        return "skip", [Code.BEFORE_MESSAGE_START]
    if kind == "message_delta":
        return "apply", []
    if kind == "message_stop":
        return "apply", codes_at_message_stop(now)
    late = [Code.AFTER_STOP_REASON] if state == "CLOSING" else []
    if kind == "content_block_start":
        return "apply", late + codes_of_index(now, payload["index"])
    action, codes = judge_growth(newest(now, payload["index"]), payload.get("delta"))
    return action, late + codes


def judge_message_start(now: Payload, payload: Payload) -> tuple[str, list[Code]]:
    """Tell the first message_start from the same again and from that of another message."""
    if now["state"] == "WAITING":
        return "apply", []
    again = said(now["message"], "id", str, None)
    if again is not None and payload["message"].get("id") == again:
        return "skip", [Code.DUPLICATE_MESSAGE_START]
    return "spliced_message", []


def codes_of_index(now: Payload, index: int) -> list[Code]:
    """Compare the index of a new block with those of the blocks so far."""
    codes = []
    used = [block["index"] for block in now["blocks"]]
    if index in used:
        codes.append(Code.INDEX_REUSED)
    elif index != max(used, default=-1) + 1:
        codes.append(Code.INDEX_NOT_NEXT)
    if any(block["open"] for block in now["blocks"]):
        codes.append(Code.OVERLAPPING_BLOCKS)
    return codes


def judge_growth(block: Payload | None, delta: Payload | None) -> tuple[str, list[Code]]:
    """Ask whether a block may grow by a delta, or without one whether it may stop."""
    if block is None:
        return "skip", [Code.UNKNOWN_INDEX]
    if not block["open"]:
        return "skip", [Code.STOPPED_BLOCK]
    if delta is None or not is_foldable(delta) or block["type"] not in BLOCKS:
        return "apply", []
    if block["type"] not in DELTAS[delta["type"]][2]:
        return "skip", [Code.UNFIT_DELTA]
    old, new = said(block["wire"], "signature", str, ""), signature_of(delta)
    return "apply", [Code.SECOND_SIGNATURE] if old and new and old != new else []


def codes_at_message_stop(now: Payload) -> list[Code]:
    """Look at the message that has come to its end."""
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


def newest(now: Payload, index: int) -> Any:
    """Return the block that started last at an index, or None."""
    return next((block for block in reversed(now["blocks"]) if block["index"] == index), None)


def is_foldable(delta: Payload) -> bool:
    """Whether anybody knows what to do with a delta."""
    return delta["type"] in DELTAS and not lacks_payload(delta)


def signature_of(delta: Payload) -> str:
    """Return the signature that comes with a delta; "" says nothing."""
    brings_one = delta["type"] in ("signature_delta", "thinking_delta")
    return str(said(delta, "signature", str, "")) if brings_one else ""


def fold(now: Payload, kind: str, payload: Payload) -> None:
    """Let an event that counts change what is to be seen."""
    if kind == "message_start":
        now["message"] = dict(payload["message"])
        filled = said(now["message"], "content", OBJECTS, [])
        for index, wire in enumerate(filled):
            now["blocks"].append({**new_block(index, wire), "open": False, "filled": True})
        ending = filled and said(now["message"], "stop_reason", str, None) is not None
        now["state"] = "CLOSING" if ending else "OPEN"
    elif kind == "content_block_start":
        now["blocks"].append(new_block(payload["index"], payload["content_block"]))
        if payload["content_block"]["type"] == "fallback":
            to = said(payload["content_block"], "to", dict, {})
            now["message"] |= {"model": to["model"]} if is_a(to.get("model"), str) else {}
    elif kind == "content_block_delta":
        fold_delta(newest(now, payload["index"]), payload["delta"])
    elif kind == "content_block_stop":
        newest(now, payload["index"])["open"] = False
    elif kind == "message_delta":
        fold_message_delta(now["message"], payload)
        if is_a(payload["delta"].get("stop_reason"), str):
            now["state"] = "CLOSING"
    elif kind == "message_stop":
        now["state"], now["verdict"] = "DONE", Verdict.COMPLETE
    elif kind == "error":
        now["state"], now["verdict"] = "FAILED", Verdict.ERRORED


def new_block(index: int, wire: Payload) -> Payload:
    """Return a block as it starts."""
    block = {"index": index, "type": said(wire, "type", str, ""), "wire": dict(wire), "open": True}
    return {**block, "filled": False, "input_json": [], "unfolded": []}


def fold_delta(block: Payload, delta: Payload) -> None:
    """Let a block grow."""
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
        wire[name] = said(wire, name, str, "") + delta[name]
    elif kind == "citations_delta":
        wire["citations"] = [*said(wire, "citations", OBJECTS, []), delta["citation"]]
    elif kind == "compaction_delta":
        for name in ("content", "encrypted_content"):
            if name in delta and not mistyped(delta, {name: str}):
                wire[name] = delta[name]


def fold_message_delta(message: Payload, payload: Payload) -> None:
    """Let what was said replace what was said before."""
    for members, names in ((payload["delta"], IN_DELTA), (payload, BESIDE_DELTA)):
        message |= {name: members[name] for name in names if is_a(members.get(name), MESSAGE[name])}
    if payload["delta"].get("stop_details", ...) is None:
        message["stop_details"] = None
    for name, value in said(payload, "usage", dict, {}).items():
        if value is not None and not mistyped({name: value}, USAGE):
            message["usage"] = {**said(message, "usage", dict, {}), name: value}


# All of it.


def input_of(block: Payload) -> tuple[Any, str, str]:
    """Return the input of a block, its raw text, and its state."""
    text = "".join(block["input_json"])
    value = json_object(text) if text else block["wire"].get("input")
    if block["open"] or (value is None and not text):
        return None, text, "incomplete"
    return (value, text, "complete") if is_a(value, dict) else (None, text, "invalid")


def wire_of(block: Payload) -> Payload:
    """Return a block as it would be on the wire. What came filled is as it came."""
    called = block["type"] in TOOLS and not block["filled"]
    streamed = {"input": input_of(block)[0]} if called or block["input_json"] else {}
    return {**block["wire"], **streamed}


def message_of(now: Payload) -> Payload | None:
    """Return the message as it would be on the wire, its blocks by index, then by arrival."""
    if now["message"] is None:
        return None
    blocks = sorted(now["blocks"], key=lambda block: int(block["index"]))
    content = {"content": [wire_of(block) for block in blocks]} if blocks else {}
    return {**now["message"], **content}


def read(body: bytes, *, ended: bool, strict: bool = False) -> Iterator[Payload]:
    """Give what is to be seen at first, after each event, and when no more events come.

    It is one dict that goes on changing: look at it before the next step.
    """
    now: Payload = {"message": None, "blocks": [], "violations": [], "error": None, "event": None}
    now |= {"state": "WAITING", "verdict": Verdict.PENDING}
    yield now
    number, came, odd = 0, False, False
    for frame in frames_of(body, ended=ended):
        number += bool(frame["fields"])
        came = came or "data" in frame["fields"]
        odd = odd or Code.UNKNOWN_FIELD in frame["codes"]
        kind, payload, codes, action = event_of(frame)
        if kind:
            action, more = judge(now, kind, payload)
            codes += more
        forgiven = {Code.CUT_FRAME} if came else {Code.CUT_FRAME, Code.UNKNOWN_FIELD}
        if strict and {*codes} - forgiven:
            action, codes = next(code for code in codes if code not in forgiven), []
        now["violations"] += [(code, number) for code in codes]
        if action == "apply":
            fold(now, kind, payload)
            now["event"] = payload
            yield now
        elif action not in ("skip", ""):
            now |= {"state": "FAILED", "error": action}
            if now["verdict"] is Verdict.PENDING:
                now["verdict"] = Verdict.BROKEN
            break
    if ended and now["verdict"] is Verdict.PENDING:
        now["verdict"] = {
            "WAITING": Verdict.NOT_AN_EVENT_STREAM if odd and not came else Verdict.EMPTY,
            "OPEN": Verdict.TRUNCATED,
            "CLOSING": Verdict.UNTERMINATED,
        }[now["state"]]
    now["event"] = None
    yield now
