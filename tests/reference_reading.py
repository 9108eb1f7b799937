"""The first half of the reference model: the bytes of a stream in; each event as a plain dict, and
what is wrong with it, out.

Obvious and slow, for a reader to check by eye against docs/violations.md. Knows nothing of the
library but two vocabularies; of the limits only the bound of the wire index.
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
"""What is wrong, and whether content of the message is lost by it."""

# Bytes -> frames.

BAD: Final = "\ue000"
"""What stands for a byte that is no UTF-8 where it must be found again; no test sends it."""


def frames_of(body: bytes, *, ended: bool) -> Iterator[Payload]:
    """Give each frame that has data, and if the body has ended, what stands behind the last one.

    A frame is its fields by name, its data with `BAD` in it, what was wrong so far, and whether a
    blank line has ended it.
    """
    known = ("event", "data", "id", "retry")
    *lines, rest = re.split(rb"\r\n|\r|\n", body.removeprefix(codecs.BOM_UTF8))
    fields: dict[str, list[str]] = {}
    marked: list[str] = []
    invalid: set[str] = set()  # names of fields that hold what is not UTF-8
    flaws: list[Flaw] = []  # those of a frame without data go to the next one
    for line, whole in [*((line, True) for line in lines), *([(rest, False)] if ended else [])]:
        # A character that the end has cut is no character, and a name that it has cut no line.
        text = codecs.getincrementaldecoder("utf-8")("replace").decode(line, final=whole)
        name, colon, value = text.partition(":")
        value = value.removeprefix(" ")
        if whole and not text:
            if "data" in fields:
                flaws += [(Code.INVALID_UTF8, False) for _ in invalid]
                yield {"fields": fields, "marked": marked, "flaws": flaws, "whole": True}
                flaws = []
            elif "id" in invalid:  # an id holds beyond its frame
                flaws.append((Code.INVALID_UTF8, False))
            fields, marked, invalid = {}, [], set()
        elif not whole and not colon and any(field.startswith(text) for field in known):
            fields |= {"cut": [text]} if text else {}
        elif name == "retry":
            if value.isascii() and value.isdigit():
                fields[name] = [value]
            elif whole or value:  # what the end has cut may go on with a digit
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
    """Read a line with `BAD` for each byte that is no UTF-8."""
    decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
    return re.sub("[\udc80-\udcff]", BAD, decoder.decode(line, final=whole))


# Frames -> events. The members of known objects, with the types of their values; null is any.

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
NOT_OF_THE_BLOCK: Final = ("input", "caller", "toolset_name")  # its input is told by its state
TOOLS: Final = {"tool_use", "server_tool_use", "mcp_tool_use"}
DELTAS: Final[dict[str, tuple[str, Any, set[str]]]] = {  # its payload, and the blocks that it fits
    "text_delta": ("text", str, {"text"}),
    "input_json_delta": ("partial_json", str, TOOLS),
    "thinking_delta": ("thinking", str, {"thinking"}),
    "signature_delta": ("signature", str, {"thinking", "compaction"}),
    "citations_delta": ("citation", dict, {"text"}),
    "compaction_delta": ("content", str, {"compaction"}),
}
INSTEAD: Final = {"thinking_delta": "signature", "compaction_delta": "encrypted_content"}
"""What a delta may bring without its payload."""
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
CONTENT: Final = ("message_start", "content_block_start", "content_block_delta")


def is_a(value: Any, kind: Any) -> bool:
    """Whether a value is of that type of JSON: true is no number."""
    if kind is OBJECTS:
        return type(value) is list and all(type(item) is dict for item in value)
    return type(value) is kind


def said(members: Payload, name: str, kind: Any, otherwise: Any) -> Any:
    """Return a member; one of another type says nothing."""
    return members[name] if is_a(members.get(name), kind) else otherwise


def wrong_types(members: Payload, types: dict[str, Any]) -> set[str]:
    """Return the names of members that are neither of their type nor null."""
    there = [name for name in types if members.get(name) is not None]
    return {name for name in there if not is_a(members[name], types[name])}


def is_nonempty(value: Any) -> bool:
    """Whether a value is neither null nor empty: 0 and false are values."""
    return value is not None and value not in ("", [], {})


def has_content(members: Payload) -> bool:
    """Whether a delta or a block has any content. What encoders write for nothing is none: 0, too.

    How many tokens a thought may have is no content.
    """
    others = {name: members[name] for name in members if name not in ("type", "estimated_tokens")}
    return any(others.values())


def json_object(text: str, *, finite: bool = False) -> Payload | None:
    """Read a JSON object by the letter; None for anything else.

    With `finite` a number that no float holds is no JSON either.
    """

    def refuse(constant: str) -> NoReturn:
        raise ValueError(constant)

    try:
        value = json.loads(text, parse_constant=refuse)
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
    """Whether data is [DONE] in some form: as a string, with its field's name twice."""
    text = text.strip().removeprefix("data:").strip()
    return text.removeprefix('"').removesuffix('"').upper() == "[DONE]"


def event_of(frame: Payload) -> tuple[str, Payload, list[Flaw], str]:
    """Return an event's kind and payload, what is wrong with them, and the code if it is fatal.

    Where a frame gives no event, the kind is "".
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
    if payload is not None and is_spoilt(frame, kind, payload):
        last = max(at for at, (code, _) in enumerate(flaws) if code is Code.INVALID_UTF8)
        flaws = [*flaws[:last], (Code.INVALID_UTF8, True), *flaws[last + 1 :]]
    if not name:
        flaws = [*flaws, (Code.MISSING_EVENT_NAME, False)]
    if payload is None:
        return kind, {}, flaws + flaws_of_text(kind, name, text), ""
    return kind, payload, [*flaws, *flaws_of_payload(kind, name, payload)], ""


def flaws_of_cut_frame(frame: Payload) -> list[Flaw]:
    """Say that the end has cut a frame, if there is one, and maybe that it is several."""
    if not frame["fields"]:
        return []
    several = len(payloads_in(frame)) > 1
    return [*([(Code.MISSING_BLANK_LINE, False)] if several else []), (Code.CUT_FRAME, False)]


def payloads_in(frame: Payload) -> list[Payload]:
    """Return the lines of data that are payloads each for itself."""
    lines = frame["fields"].get("data", [])
    there = [json_object(line) for line in lines] if len(lines) > 1 else []
    return [payload for payload in there if payload and is_a(payload.get("type"), str)]


def names_content(frame: Payload) -> bool:
    """Whether a frame that was cut is one of a content event: by its name, of which the end may
    have cut something off, or by a type in its data.
    """
    name = frame["fields"].get("event", [""])[0]
    meant = [kind for kind in EVENTS if kind.startswith(name)] if name else []
    text = "\n".join(frame["fields"].get("data", []))
    return bool(meant and {*meant} <= {*CONTENT}) or any(f'"{kind}"' in text for kind in CONTENT)


def flaws_of_text(kind: str, name: str, text: str) -> list[Flaw]:
    """Say what is wrong with data that is no JSON object."""
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
    """Whether one of the payloads is that of a content event."""
    return any(payload["type"] in CONTENT for payload in payloads)


def is_spoilt(frame: Payload, kind: str, payload: Payload) -> bool:
    """Whether a content event has bytes that are no UTF-8 elsewhere than in its visible text."""
    text = "\n".join(frame["marked"])
    marked = json_object(text)
    if BAD not in text or marked is None:
        return False
    wire_type = said(payload, "type", str, frame["fields"].get("event", [""])[0])
    if kind == "unknown" and (wire_type in CONTENT or looks_like_content(payload)):
        return True
    return kind in CONTENT and text.count(BAD) > visible_text(kind, marked).count(BAD)


def visible_text(kind: str, payload: Payload) -> str:
    """Return the text and the thinking of a content event."""
    if kind == "content_block_delta":
        delta = payload["delta"]
        name = {"text_delta": "text", "thinking_delta": "thinking"}.get(delta["type"], "")
        return "" if lacks_payload(delta) else str(said(delta, name, str, ""))
    if kind == "content_block_start":
        blocks = [payload["content_block"]]
    else:
        blocks = said(payload["message"], "content", OBJECTS, [])
    kinds = [block.get("type") for block in blocks]
    shown = zip(blocks, kinds, strict=True)
    return "".join(said(b, kind, str, "") for b, kind in shown if kind in ("text", "thinking"))


def flaws_of_payload(kind: str, name: str, payload: Payload) -> list[Flaw]:
    """Say what is wrong with an event of which the payload could be read."""
    tag = payload.get("type")
    wire_type = said(payload, "type", str, name)
    flaws: list[Flaw] = []
    if not is_a(tag, str):
        flaws.append((Code.MISSING_TYPE, looks_like_other(kind, name, payload)))
    elif name not in ("", tag):
        misnamed = name in CONTENT and (kind_of(name, payload) in ("ping", "unknown"))
        flaws.append((Code.EVENT_NAME_MISMATCH, misnamed))
    if kind == "unknown" and is_malformed(kind_of(name, payload), payload):
        return [*flaws, (Code.MALFORMED_EVENT, wire_type != "content_block_stop")]
    if kind == "content_block_delta":
        delta = payload["delta"]
        if lacks_payload(delta):
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
    """Say what is wrong with the members of a message_delta, but for their types."""
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
    """Return the `delta` of a message_delta; one that is missing says nothing."""
    return dict(said(payload, "delta", dict, {}))


def usage_in(payload: Payload) -> Payload:
    """Return the usage of a message_delta; that of `delta` counts where the event has none."""
    return dict(said(payload, "usage", dict, said(delta_in(payload), "usage", dict, {})))


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
    """Whether a known event lacks a usable index, or an object with a type.

    That of a message_delta may be missing.
    """
    of_block = kind.startswith("content_block")
    if of_block and not 0 <= said(payload, "index", int, -1) < Limits().blocks:
        return True
    if not EVENTS.get(kind):
        return False
    needed = payload.get(EVENTS[kind])
    if kind == "message_delta" and needed is None:
        return False
    return not isinstance(needed, dict) or (of_block and not is_a(needed.get("type"), str))


def looks_like_content(payload: Payload, *but: str) -> bool:
    """Whether a payload has an object with a type where content events have theirs."""
    places = [name for name in ("delta", "content_block", "message") if name not in but]
    return any(is_a(said(payload, name, dict, {}).get("type"), str) for name in places)


def looks_like_other(kind: str, name: str, payload: Payload) -> bool:
    """Whether a payload without a type looks like content that its event has no place for."""
    return kind != "error" and looks_like_content(payload, EVENTS.get(kind_of(name, payload), ""))


def lacks_payload(delta: Payload) -> bool:
    """Whether a known delta has no payload: null is none, but in a compaction.

    Without it a thinking may bring its signature, and a compaction its encrypted content.
    """
    if delta["type"] not in DELTAS:
        return False
    name, kind, _ = DELTAS[delta["type"]]
    value = delta.get(name)
    if value is not None:
        return not is_a(value, kind)
    is_null = delta["type"] == "compaction_delta" and name in delta
    return not is_null and not said(delta, INSTEAD.get(delta["type"], ""), str, "")


def mistyped_members(kind: str, payload: Payload) -> Iterator[bool]:
    """Say of each member of another type, of the message, its usage or a block, whether it is
    content that is lost.
    """
    if kind == "message_start":
        message = payload["message"]
        for name in wrong_types(message, MESSAGE):
            yield name == "content" and is_nonempty(message["content"])
        yield from [False] * (message.get("type") not in (None, "message"))
        yield from [False for _ in wrong_types(said(message, "usage", dict, {}), USAGE)]
        for wire in said(message, "content", OBJECTS, []):
            yield from mistyped_in_block(wire)
    if kind == "content_block_start":
        yield from mistyped_in_block(payload["content_block"])
    if kind == "content_block_delta" and not lacks_payload(payload["delta"]):
        delta = payload["delta"]
        other = INSTEAD.get(delta["type"], "")
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
    """Say it of the members of a block; of its input the block itself will tell."""
    types = {"type": str, **BLOCKS.get(said(wire, "type", str, ""), {})}
    for name in wrong_types(wire, types):
        yield name not in NOT_OF_THE_BLOCK and is_nonempty(wire[name])
