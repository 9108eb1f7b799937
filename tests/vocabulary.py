"""An example payload for every class, as the API sends it, and strategies that change payloads."""

import copy
from collections.abc import Callable
from typing import Any, get_args

from hypothesis import strategies as st

from sansio_stream import (
    Citation,
    ContentBlock,
    ContentBlockDelta,
    MessageStreamEvent,
    block_from_dict,
    event_from_dict,
    message_from_dict,
)

CALLER = {"type": "code_execution_20260120", "tool_id": "srvtoolu_1"}
DOCUMENT_SPAN = {"cited_text": "the grass", "document_index": 0, "document_title": None}

CITATIONS: list[dict[str, Any]] = [
    {
        "type": "char_location",
        **DOCUMENT_SPAN,
        "start_char_index": 0,
        "end_char_index": 9,
        "file_id": None,
    },
    {"type": "page_location", **DOCUMENT_SPAN, "start_page_number": 1, "end_page_number": 2},
    {
        "type": "content_block_location",
        **DOCUMENT_SPAN,
        "start_block_index": 0,
        "end_block_index": 1,
        "file_id": "file_1",
    },
    {
        "type": "web_search_result_location",
        "cited_text": "the grass",
        "url": "https://example.com/",
        "title": "Grass",
        "encrypted_index": "Eo8B",
    },
    {
        "type": "search_result_location",
        "cited_text": "the grass",
        "source": "notes",
        "title": None,
        "search_result_index": 0,
        "start_block_index": 0,
        "end_block_index": 1,
    },
    {"type": "moon_location", "crater": 7},
]

BLOCKS: list[dict[str, Any]] = [
    {"type": "text", "text": "Hello", "citations": CITATIONS},
    {"type": "thinking", "thinking": "Hm.", "signature": "EqQB"},
    {"type": "redacted_thinking", "data": "EmwK"},
    {
        "type": "tool_use",
        "id": "toolu_1",
        "name": "lookup",
        "input": {"q": ["x", {"y": 1}]},
        "caller": {"type": "direct"},
        "toolset_name": "browser",
    },
    {
        "type": "server_tool_use",
        "id": "srvtoolu_1",
        "name": "web_search",
        "input": {},
        "caller": CALLER,
    },
    {
        "type": "mcp_tool_use",
        "id": "mcptoolu_1",
        "name": "echo",
        "server_name": "s",
        "input": {"a": None},
    },
    {
        "type": "web_search_tool_result",
        "tool_use_id": "srvtoolu_1",
        "content": [{"type": "web_search_result", "url": "u", "page_age": None}],
        "caller": CALLER,
    },
    {
        "type": "web_fetch_tool_result",
        "tool_use_id": "srvtoolu_1",
        "content": {"type": "web_fetch_tool_result_error", "error_code": "url_not_allowed"},
    },
    {
        "type": "code_execution_tool_result",
        "tool_use_id": "srvtoolu_1",
        "content": {
            "type": "code_execution_result",
            "stdout": "4\n",
            "stderr": "",
            "return_code": 0,
        },
    },
    {
        "type": "bash_code_execution_tool_result",
        "tool_use_id": "srvtoolu_1",
        "content": {
            "type": "bash_code_execution_tool_result_error",
            "error_code": "unavailable",
        },
    },
    {
        "type": "text_editor_code_execution_tool_result",
        "tool_use_id": "srvtoolu_1",
        "content": {
            "type": "text_editor_code_execution_create_result",
            "is_file_update": False,
        },
    },
    {
        "type": "tool_search_tool_result",
        "tool_use_id": "srvtoolu_1",
        "content": {"type": "tool_search_tool_search_result", "tool_references": []},
    },
    {"type": "container_upload", "file_id": "file_1"},
    {
        "type": "mcp_tool_result",
        "tool_use_id": "mcptoolu_1",
        "is_error": False,
        "content": [{"type": "text", "text": "done"}],
    },
    {"type": "mcp_tool_listing", "mcp_server_name": "s", "tools": [{"name": "echo"}]},
    {
        "type": "advisor_tool_result",
        "tool_use_id": "srvtoolu_1",
        "content": {"type": "advisor_result", "text": "Go on.", "stop_reason": "end_turn"},
    },
    {
        "type": "compaction",
        "content": None,
        "encrypted_content": "Ev4B",
        "signature": "Eq",
        "tool_changes": [],
    },
    {
        "type": "fallback",
        "from": {"model": "claude-a"},
        "to": {"model": "claude-b"},
        "trigger": {"type": "refusal", "category": None},
    },
    {"type": "connector_text", "text": "?", "input": {"a": 1}},
]

USAGE: dict[str, Any] = {
    "input_tokens": 3,
    "output_tokens": 1,
    "cache_creation_input_tokens": 0,
    "cache_read_input_tokens": 20,
    "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
    "output_tokens_details": {"thinking_tokens": 1},
    "server_tool_use": {"web_search_requests": 2},
    "service_tier": "standard",
    "inference_geo": "us",
    "speed": "fast",
    "iterations": [{"type": "message", "input_tokens": 3}],
    "fallback_credit": {"granted": True},
}

MESSAGE: dict[str, Any] = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "content": BLOCKS,
    "model": "claude-test-1",
    "stop_reason": "refusal",
    "stop_sequence": "###",
    "usage": USAGE,
    "stop_details": {"type": "refusal", "category": None},
    "container": {"id": "container_1", "expires_at": "2026-11-21T00:00:00Z"},
    "context_management": {"applied_edits": []},
    "diagnostics": {"cache_miss_reason": None},
    "input_transformations": [{"type": "thinking_dropped"}],
    "safeguard_results": [{"type": "dangerous_tool_use", "status": {"type": "unsupported"}}],
}

DELTAS: list[dict[str, Any]] = [
    {"type": "text_delta", "text": "lo"},
    {"type": "input_json_delta", "partial_json": '{"q'},
    {"type": "thinking_delta", "thinking": "m.", "signature": "EqQB", "estimated_tokens": 2},
    {"type": "signature_delta", "signature": "EqQB"},
    *({"type": "citations_delta", "citation": citation} for citation in CITATIONS),
    {"type": "compaction_delta", "content": None, "encrypted_content": "Ev4B"},
    {"type": "moon_delta", "phase": "full"},
]

EVENTS: list[dict[str, Any]] = [
    {"type": "message_start", "message": MESSAGE},
    *({"type": "content_block_start", "index": 0, "content_block": block} for block in BLOCKS),
    *({"type": "content_block_delta", "index": 0, "delta": delta} for delta in DELTAS),
    {"type": "content_block_stop", "index": 0},
    {
        "type": "message_delta",
        "delta": {
            "stop_reason": "end_turn",
            "stop_sequence": None,
            "stop_details": None,
            "container": {"id": "container_1"},
            "safeguard_results": [],
        },
        "usage": {"output_tokens": 0, "input_tokens": 5, "iterations": []},
        "context_management": {"applied_edits": []},
        "input_transformations": [],
    },
    {"type": "message_stop"},
    {"type": "ping"},
    {
        "type": "error",
        "error": {"type": "overloaded_error", "message": "Overloaded", "details": None},
        "request_id": "req_1",
    },
    {"type": "moon_event", "phase": "full"},
]

PAYLOADS: list[tuple[Callable[[dict[str, Any]], Any], dict[str, Any]]] = [
    *((event_from_dict, payload) for payload in EVENTS),
    *((block_from_dict, payload) for payload in BLOCKS),
    (message_from_dict, MESSAGE),
]
"""Every payload with the function that decodes it."""

UNIONS: dict[str, tuple[Any, ...]] = {
    "MessageStreamEvent": get_args(MessageStreamEvent),
    "ContentBlockDelta": get_args(ContentBlockDelta),
    "ContentBlock": get_args(ContentBlock),
    "Citation": get_args(Citation),
}
"""The classes of each union."""


def objects_by_class() -> dict[type[Any], Any]:
    """Return one object of each class, decoded from its payload."""
    events = [event_from_dict(payload) for payload in EVENTS]
    deltas = [event.delta for event in events if event.type == "content_block_delta"]
    message = message_from_dict(MESSAGE)
    found = [
        *events,
        *deltas,
        *message.content,
        *(delta.citation for delta in deltas if delta.type == "citations_delta"),
        *(event.error for event in events if event.type == "error"),
        *(part for e in events if e.type == "message_delta" for part in (e.delta, e.usage)),
        message.usage,
        message,
    ]
    return {type(each): each for each in found}


# Strategies

NAMES = st.sampled_from(
    [
        *("type", "index", "message", "content_block", "delta", "error", "code", "usage", "text"),
        *("input", "content", "citations", "citation", "rest", "_rest", "extra", "raw", "from"),
        *("from_", "unfolded"),
    ]
)
TYPES = st.sampled_from(
    [payload["type"] for payload in (*EVENTS, *BLOCKS, *DELTAS, *CITATIONS)]
    + ["unknown", "", "message"]
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-2, 3)
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | TYPES
    | st.text(max_size=5)
)
JSON = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(NAMES | st.text(max_size=3), inner, max_size=4)
    ),
    max_leaves=12,
)
OBJECTS = st.dictionaries(NAMES | st.text(max_size=3), JSON, max_size=6)
TYPED_OBJECTS = st.builds(lambda members, tag: {**members, "type": tag}, OBJECTS, TYPES)


def objects_in(value: Any) -> list[dict[str, Any]]:
    """Return all JSON objects inside a value, including the value itself."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    here = [value] if isinstance(value, dict) else []
    return here + [place for each in inner for place in objects_in(each)]


@st.composite
def mutated(draw: st.DrawFn, payload: dict[str, Any]) -> dict[str, Any]:
    """Draw a payload in which one to four members are dropped, set to null, replaced or added."""
    payload = copy.deepcopy(payload)
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.sampled_from(objects_in(payload)))
        name = draw(st.sampled_from(sorted(place)) if place else NAMES)
        match draw(st.sampled_from(["drop", "null", "other", "add"])):
            case "drop":
                place.pop(name, None)
            case "null":
                place[name] = None
            case "other":
                place[name] = draw(JSON)
            case _:
                place[draw(NAMES | st.text(max_size=3))] = draw(JSON)
    return payload
