"""The first half of the reference model: the bytes of a stream in, events and violations out.

The code is simple and slow, so that a reader can compare it with docs/violations.md. An event is a
plain dict. From the library the code uses only the violation codes and the default limit of the
wire index.
"""

import codecs
import json
import math
import re
from collections.abc import Iterator
from typing import Any, Final, NoReturn, TypeAlias

from sansio_stream import Limits, ViolationCode as Code

Payload: TypeAlias = dict[str, Any]
Flaw: TypeAlias = tuple[Code, bool]
"""A violation code, and whether this violation means that content was lost."""

# Bytes -> frames.

BAD: Final = "\ue000"
"""The mark for an invalid UTF-8 byte in data that is searched for such bytes. No test sends it."""


def frames_of(body: bytes, *, ended: bool) -> Iterator[Payload]:
    """Yield each frame with data, and at the end of the body the incomplete frame after them.

    A frame is a dict with the fields by name, the lines of data in which `BAD` marks invalid bytes,
    the flaws so far, and whether a blank line has ended the frame.
    """
    known = ("event", "data", "id", "retry")
    *lines, rest = re.split(rb"\r\n|\r|\n", body.removeprefix(codecs.BOM_UTF8))
    fields: dict[str, list[str]] = {}
    marked: list[str] = []
    invalid: set[str] = set()  # names of fields with invalid UTF-8
    flaws: list[Flaw] = []  # the flaws of a frame without data belong to the next frame
    for line, whole in [*((line, True) for line in lines), *([(rest, False)] if ended else [])]:
        # At the end of the body, a cut character is dropped, and a cut field name is not an unknown
        # field.
        text = codecs.getincrementaldecoder("utf-8")("replace").decode(line, final=whole)
        name, colon, value = text.partition(":")
        value = value.removeprefix(" ")
        if whole and not text:
            if "data" in fields:
                flaws += [(Code.INVALID_UTF8, False) for _ in invalid]
                yield {"fields": fields, "marked": marked, "flaws": flaws, "whole": True}
                flaws = []
            elif "id" in invalid:  # an id applies to later frames, too
                flaws.append((Code.INVALID_UTF8, False))
            fields, marked, invalid = {}, [], set()
        elif not whole and not colon and any(field.startswith(text) for field in known):
            fields |= {"cut": [text]} if text else {}
        elif name == "retry":
            if value.isascii() and value.isdigit():
                fields[name] = [value]
            elif whole or value:  # a cut value could have continued with a digit
                flaws.append((Code.INVALID_RETRY, False))
        elif name in known:
            if name != "data":
                fields[name] = []
                invalid.discard(name)
            fields.setdefault(name, []).append(value)
            if not line.startswith(text.encode()):
                invalid.add(name)
            if name == "data":
                marked.append(with_marks(line, whole=whole).partition(":")[2].removeprefix(" "))
        elif name:
            flaws.append((Code.UNKNOWN_FIELD, "{" in text or "}" in text))
    if ended and (fields or flaws):
        flaws += [(Code.INVALID_UTF8, False) for _ in invalid]
        yield {"fields": fields, "marked": marked, "flaws": flaws, "whole": False}


def with_marks(line: bytes, *, whole: bool) -> str:
    """Decode a line, with `BAD` for each byte that is not UTF-8."""
    decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
    return re.sub("[\udc80-\udcff]", BAD, decoder.decode(line, final=whole))


# Frames -> events.

# The members of known objects, with the types of their values. Null is allowed for each of them.

OBJECTS: Final = list[Payload]
MESSAGE: Final = {
    "id": str, "role": str, "model": str, "content": OBJECTS, "stop_reason": str,
    "stop_sequence": str, "stop_details": dict, "usage": dict, "container": dict,
    "context_management": dict, "diagnostics": dict, "input_transformations": list,
    "safeguard_results": list,
}  # fmt: skip
IN_DELTA: Final = (
    "stop_reason", "stop_sequence", "stop_details", "container", "safeguard_results",
)  # fmt: skip
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
# A wrong type of these members is not a loss. The loss of an input is in the state of the input.
MEMBERS_WITHOUT_LOSS: Final = ("input", "caller", "toolset_name")
TOOLS: Final = {"tool_use", "server_tool_use", "mcp_tool_use"}
# For each delta, the member with its value, the type of this value, and the blocks that accept it.
DELTAS: Final[dict[str, tuple[str, Any, set[str]]]] = {
    "text_delta": ("text", str, {"text"}),
    "input_json_delta": ("partial_json", str, TOOLS),
    "thinking_delta": ("thinking", str, {"thinking"}),
    "signature_delta": ("signature", str, {"thinking", "compaction"}),
    "citations_delta": ("citation", dict, {"text"}),
    "compaction_delta": ("content", str, {"compaction"}),
}
INSTEAD_OF_VALUE: Final = {"thinking_delta": "signature", "compaction_delta": "encrypted_content"}
"""For a type of deltas, the member that it may have instead of its value."""
# For each event, the member that must be an object.
EVENTS: Final = {
    "message_start": "message",
    "content_block_start": "content_block",
    "content_block_delta": "delta",
    "content_block_stop": "",
    "message_delta": "delta",
    "message_stop": "",
    "ping": "",
    "error": "",
}
CONTENT: Final = ("message_start", "content_block_start", "content_block_delta")


def is_a(value: Any, kind: Any) -> bool:
    """Whether a value has this JSON type. A boolean is not a number."""
    if kind is OBJECTS:
        return type(value) is list and all(type(item) is dict for item in value)
    return type(value) is kind


def member_of(members: Payload, name: str, kind: Any, default: Any) -> Any:
    """Return a member, or `default` if it is missing or has another type."""
    return members[name] if is_a(members.get(name), kind) else default


def wrong_types(members: Payload, types: dict[str, Any]) -> set[str]:
    """Return the names of the members that neither have their type nor are null."""
    there = [name for name in types if members.get(name) is not None]
    return {name for name in there if not is_a(members[name], types[name])}


def is_nonempty(value: Any) -> bool:
    """Whether a value is neither null nor empty. 0 and false are not empty."""
    return value is not None and value not in ("", [], {})


def has_content(members: Payload) -> bool:
    """Whether a delta or a block has any content.

    Empty values and 0 are not content, because encoders write them for missing values. The
    estimated number of tokens of a thinking_delta is not content either.
    """
    others = {name: members[name] for name in members if name not in ("type", "estimated_tokens")}
    return any(others.values())


def json_object(text: str, *, finite: bool = False) -> Payload | None:
    """Parse a JSON object strictly. Return None for any other text.

    With `finite`, return None also if a number is too large for a float.
    """

    def reject(constant: str) -> NoReturn:
        raise ValueError(constant)

    try:
        value = json.loads(text, parse_constant=reject)
    except ValueError:
        return None
    return value if isinstance(value, dict) and not (finite and is_infinite(value)) else None


def is_infinite(value: Any) -> bool:
    """Whether a number in a JSON value was too large for a float."""
    if isinstance(value, float):
        return math.isinf(value)
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return any(map(is_infinite, inner))


def is_done_marker(text: str) -> bool:
    """Whether data is `[DONE]`, also in quotes or after a second field name."""
    text = text.strip().removeprefix("data:").strip()
    return text.removeprefix('"').removesuffix('"').upper() == "[DONE]"


def event_of(frame: Payload) -> tuple[str, Payload, list[Flaw], str]:
    """Return the kind and the payload of an event, its flaws, and the code of a fatal error or "".

    If the frame is not an event, the kind is "".
    """
    fields, flaws = frame["fields"], frame["flaws"]
    name = fields.get("event", [""])[0]
    text = "\n".join(fields.get("data", []))
    payload = json_object(text)
    if not frame["whole"]:
        if payload is None and not is_done_marker(text):
            return "", {}, flaws + flaws_of_cut_frame(frame), ""
        flaws = [*flaws, (Code.UNTERMINATED_FRAME, False)]
    if is_done_marker(text):
        return "", {}, [*flaws, (Code.DONE_MARKER, False)], ""
    if payload is None and name in EVENTS and name not in ("ping", "error"):
        return "", {}, flaws, Code.UNDECODABLE_PAYLOAD
    kind = kind_of(name, payload or {}) if payload is not None else "unknown"
    if payload is None and name in ("ping", "error"):
        kind = name
    if payload is not None and is_malformed(kind, payload):
        kind = "unknown"
    if payload is not None and has_hidden_invalid_utf8(frame, kind, payload):
        last = max(at for at, (code, _) in enumerate(flaws) if code is Code.INVALID_UTF8)
        flaws = [*flaws[:last], (Code.INVALID_UTF8, True), *flaws[last + 1 :]]
    if not name:
        flaws = [*flaws, (Code.MISSING_EVENT_NAME, False)]
    if payload is None:
        return kind, {}, flaws + flaws_of_text(kind, name, text), ""
    return kind, payload, [*flaws, *flaws_of_payload(kind, name, payload)], ""


def flaws_of_cut_frame(frame: Payload) -> list[Flaw]:
    """Return the flaws of a frame that the end of the body has cut."""
    if not frame["fields"]:
        return []
    several = len(payloads_in(frame)) > 1
    return [*([(Code.MISSING_BLANK_LINE, False)] if several else []), (Code.CUT_FRAME, False)]


def payloads_in(frame: Payload) -> list[Payload]:
    """Return the lines of data that are payloads, if there are several lines of data."""
    lines = frame["fields"].get("data", [])
    there = [json_object(line) for line in lines] if len(lines) > 1 else []
    return [payload for payload in there if payload and is_a(payload.get("type"), str)]


def is_cut_content_frame(frame: Payload) -> bool:
    """Whether a cut frame is one of a content event, by its name or by a type in its data.

    The name may be cut, too.
    """
    name = frame["fields"].get("event", [""])[0]
    meant = [kind for kind in EVENTS if kind.startswith(name)] if name else []
    text = "\n".join(frame["fields"].get("data", []))
    return bool(meant and {*meant} <= {*CONTENT}) or any(f'"{kind}"' in text for kind in CONTENT)


def flaws_of_text(kind: str, name: str, text: str) -> list[Flaw]:
    """Return the flaws of data that is not a JSON object."""
    if kind == "error":
        return []
    own = name.strip().lower() in {*EVENTS, "", "message", "data"} or "\ufffd" in name
    loses = own and ("{" in text or "}" in text)
    several = payloads_in({"fields": {"data": text.split("\n")}})
    return [
        *(
            [(Code.MISSING_BLANK_LINE, loses or has_content_event(several))]
            if len(several) > 1
            else []
        ),
        *([(Code.UNDECODABLE_PAYLOAD, loses)] if loses or kind != "ping" else []),
    ]


def has_content_event(payloads: list[Payload]) -> bool:
    """Whether one of the payloads belongs to a content event."""
    return any(payload["type"] in CONTENT for payload in payloads)


def has_hidden_invalid_utf8(frame: Payload, kind: str, payload: Payload) -> bool:
    """Whether a content event has invalid UTF-8 outside its visible text."""
    text = "\n".join(frame["marked"])
    marked = json_object(text)
    if BAD not in text or marked is None:
        return False
    wire_type = member_of(payload, "type", str, frame["fields"].get("event", [""])[0])
    if kind == "unknown" and (wire_type in CONTENT or looks_like_content(payload)):
        return True
    return kind in CONTENT and text.count(BAD) > visible_text(kind, marked).count(BAD)


def visible_text(kind: str, payload: Payload) -> str:
    """Return the text and the thinking of a content event."""
    if kind == "content_block_delta":
        delta = payload["delta"]
        name = {"text_delta": "text", "thinking_delta": "thinking"}.get(delta["type"], "")
        return "" if lacks_value(delta) else str(member_of(delta, name, str, ""))
    if kind == "content_block_start":
        blocks = [payload["content_block"]]
    else:
        blocks = member_of(payload["message"], "content", OBJECTS, [])
    kinds = [block.get("type") for block in blocks]
    blocks_with_type = zip(blocks, kinds, strict=True)
    return "".join(
        member_of(b, kind, str, "") for b, kind in blocks_with_type if kind in ("text", "thinking")
    )


def flaws_of_payload(kind: str, name: str, payload: Payload) -> list[Flaw]:
    """Return the flaws of an event whose data is a JSON object."""
    tag = payload.get("type")
    wire_type = member_of(payload, "type", str, name)
    flaws: list[Flaw] = []
    if not is_a(tag, str):
        flaws.append((Code.MISSING_TYPE, looks_like_other_content(kind, name, payload)))
    elif name not in ("", tag):
        misnamed = name in CONTENT and (kind_of(name, payload) in ("ping", "unknown"))
        flaws.append((Code.EVENT_NAME_MISMATCH, misnamed))
    if kind == "unknown" and is_malformed(kind_of(name, payload), payload):
        return [*flaws, (Code.MALFORMED_EVENT, wire_type != "content_block_stop")]
    if kind == "content_block_delta":
        delta = payload["delta"]
        if lacks_value(delta):
            other = delta.get(DELTAS[delta["type"]][0]) is not None
            flaws.append((Code.MALFORMED_DELTA, other or has_content(delta)))
        elif delta["type"] not in DELTAS and is_nonempty(delta.get("partial_json")):
            flaws.append((Code.UNKNOWN_INPUT_DELTA, True))
    if kind == "message_delta":
        flaws += [(code, False) for code in codes_of_message_delta(payload)]
    if kind == "message_start" and payload["message"].get("stop_reason") == "":
        flaws.append((Code.EMPTY_STOP_REASON, False))
    found = list(mistyped_members(kind, payload))
    return flaws + ([(Code.MALFORMED_MEMBER, any(found))] if found else [])


def codes_of_message_delta(payload: Payload) -> list[Code]:
    """Return the violations in the members of a message_delta, except those of their types."""
    inside = delta_in(payload)
    beside = {name: payload[name] for name in payload if name not in ("type", "delta")}
    misplaced = [
        name
        for members, own in ((beside, ("usage", *BESIDE_DELTA)), (inside, IN_DELTA))
        for name, value in members.items()
        if value is not None and name in {*MESSAGE, "type"} and name not in own
    ]
    if not is_a(payload.get("usage"), dict) and is_a(inside.get("usage"), dict):
        misplaced = [name for name in misplaced if name != "usage"]
    return [
        *([Code.MISSING_DELTA] if payload.get("delta") is None else []),
        *([Code.EMPTY_STOP_REASON] if inside.get("stop_reason") == "" else []),
        *([Code.MISPLACED_MEMBER] if misplaced else []),
    ]


def delta_in(payload: Payload) -> Payload:
    """Return the `delta` of a message_delta, or an empty dict if it is missing."""
    return dict(member_of(payload, "delta", dict, {}))


def usage_in(payload: Payload) -> Payload:
    """Return the usage of a message_delta, or the usage in its `delta` if the event has none."""
    return dict(member_of(payload, "usage", dict, member_of(delta_in(payload), "usage", dict, {})))


def kind_of(name: str, payload: Payload) -> str:
    """Return the kind of an event.

    The type of the payload decides, then the name of the frame, then the members of an error.
    """
    tag = member_of(payload, "type", str, name)
    if "error" in (name, tag):
        return "error"
    if tag in EVENTS:
        return str(tag)
    error = payload.get("error")
    if is_a(error, dict) or (is_a(error, str) and error) or {"code", "message"} <= {*payload}:
        return "error"
    return "unknown"


def is_malformed(kind: str, payload: Payload) -> bool:
    """Whether a known event lacks a valid index, or its object, or the type of this object.

    The `delta` of a message_delta may be missing.
    """
    of_block = kind.startswith("content_block")
    if of_block and not 0 <= member_of(payload, "index", int, -1) < Limits().blocks:
        return True
    if not EVENTS.get(kind):
        return False
    needed = payload.get(EVENTS[kind])
    if kind == "message_delta" and needed is None:
        return False
    return not isinstance(needed, dict) or (of_block and not is_a(needed.get("type"), str))


def looks_like_content(payload: Payload, *ignored: str) -> bool:
    """Whether a payload has an object with a type, under a name that content events use."""
    places = [name for name in ("delta", "content_block", "message") if name not in ignored]
    return any(is_a(member_of(payload, name, dict, {}).get("type"), str) for name in places)


def looks_like_other_content(kind: str, name: str, payload: Payload) -> bool:
    """Whether a payload without a type looks like content that its event name does not fit."""
    return kind != "error" and looks_like_content(payload, EVENTS.get(kind_of(name, payload), ""))


def lacks_value(delta: Payload) -> bool:
    """Whether a known delta lacks its value.

    Null is not a value, except in a compaction_delta. Without its value, a thinking_delta may have
    a signature, and a compaction_delta an encrypted content.
    """
    if delta["type"] not in DELTAS:
        return False
    name, kind, _ = DELTAS[delta["type"]]
    value = delta.get(name)
    if value is not None:
        return not is_a(value, kind)
    is_null = delta["type"] == "compaction_delta" and name in delta
    return not is_null and not member_of(delta, INSTEAD_OF_VALUE.get(delta["type"], ""), str, "")


def mistyped_members(kind: str, payload: Payload) -> Iterator[bool]:
    """For each member of the wrong type, yield whether it is lost content.

    The members are those of the message, of its usage and of its blocks.
    """
    if kind == "message_start":
        message = payload["message"]
        for name in wrong_types(message, MESSAGE):
            yield name == "content" and is_nonempty(message["content"])
        yield from [False] * (message.get("type") not in (None, "message"))
        yield from [False for _ in wrong_types(member_of(message, "usage", dict, {}), USAGE)]
        for wire in member_of(message, "content", OBJECTS, []):
            yield from mistyped_in_block(wire)
    if kind == "content_block_start":
        yield from mistyped_in_block(payload["content_block"])
    if kind == "content_block_delta" and not lacks_value(payload["delta"]):
        delta = payload["delta"]
        other = INSTEAD_OF_VALUE.get(delta["type"], "")
        for name in wrong_types(delta, {other: str} if other else {}):
            yield is_nonempty(delta[name])
        yield from [False] * (
            delta["type"] == "thinking_delta"
            and bool(wrong_types(delta, {"estimated_tokens": int}))
        )
    if kind == "message_delta":
        for name in wrong_types(delta_in(payload), {name: MESSAGE[name] for name in IN_DELTA}):
            yield name == "stop_reason"
        beside = {name: MESSAGE[name] for name in ("usage", *BESIDE_DELTA)}
        yield from [False for _ in wrong_types(payload, beside)]
        yield from [False for _ in wrong_types(usage_in(payload), USAGE)]


def mistyped_in_block(wire: Payload) -> Iterator[bool]:
    """Do the same for the members of a block, except its input."""
    types = {"type": str, **BLOCKS.get(member_of(wire, "type", str, ""), {})}
    for name in wrong_types(wire, types):
        yield name not in MEMBERS_WITHOUT_LOSS and is_nonempty(wire[name])
