"""Hypothesis strategies for legal streams.

They make messages, legal scripts of events, their bytes in every legal style, and chunks of these
bytes. This module needs hypothesis; `import sansio_stream.testing` alone does not.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from hypothesis import strategies as st

from ..encode import events_from_message
from ..events import (
    ContentBlockStopEvent,
    MessageDelta,
    MessageDeltaEvent,
    MessageDeltaUsage,
    MessageStreamEvent,
    PingEvent,
)
from ..payloads import event_from_dict, message_from_dict
from .cutting import WAYS_TO_CUT, chunks_at, places_to_cut
from .writing import BETWEEN_FRAMES, Style

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from ..message import Message

__all__ = [
    "BLOCK_TYPES",
    "Script",
    "cuts",
    "events",
    "messages",
    "scripts",
    "styles",
    "wire",
]

Script: TypeAlias = tuple[MessageStreamEvent, ...]
"""The events of one stream, in order."""

Payload: TypeAlias = dict[str, Any]

# What is in a block.

CHARACTERS: Final = st.sampled_from(
    "ab e,:[]{}0\"'\\/\n\t\0\x7f\x85\u00e9\u2028\ufeff\ufffd\N{PARTY POPPER}"
)
"""Characters that reveal bugs in parsers: quotes, backslashes, controls, line separators of
Unicode, characters of one to four bytes.
"""
WORDS: Final = st.text(CHARACTERS, max_size=12)
SOME_WORDS: Final = st.text(CHARACTERS, min_size=1, max_size=12)
NAMES: Final = st.sampled_from(["name", "q", "path", "type", "input", "text", "\u00e9"])
SCALARS: Final = (
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | WORDS
)
OBJECTS: Final = st.dictionaries(
    NAMES,
    SCALARS | st.lists(SCALARS, max_size=2) | st.dictionaries(NAMES, SCALARS, max_size=2),
    max_size=3,
)
FILLED_OBJECTS: Final = st.fixed_dictionaries(
    {"q": SOME_WORDS}, optional={"path": SCALARS, "\u00e9": st.lists(SCALARS, max_size=2)}
)


def payloads(type: str, optional: Any = None, **members: Any) -> Any:
    """Return a strategy for JSON objects with this type."""
    required: dict[str, Any] = {"type": st.just(type), **members}
    return st.fixed_dictionaries(required, optional=optional)


SPAN: Final[dict[str, Any]] = {
    "cited_text": WORDS,
    "document_index": st.integers(0, 3),
    "document_title": WORDS,
}
CITATIONS: Final = st.one_of(
    payloads(
        "char_location",
        **SPAN,
        start_char_index=st.just(0),
        end_char_index=st.just(9),
        file_id=st.none(),
    ),
    payloads("page_location", **SPAN, start_page_number=st.just(1), end_page_number=st.just(2)),
    payloads(
        "content_block_location", **SPAN, start_block_index=st.just(0), end_block_index=st.just(1)
    ),
    payloads(
        "web_search_result_location",
        cited_text=WORDS,
        url=WORDS,
        title=WORDS,
        encrypted_index=WORDS,
    ),
    payloads(
        "search_result_location",
        cited_text=WORDS,
        source=WORDS,
        title=st.none(),
        search_result_index=st.just(0),
        start_block_index=st.just(0),
        end_block_index=st.just(1),
    ),
    payloads("satellite_location", orbit=SCALARS),
)
CALLERS: Final = st.sampled_from([{"type": "direct"}, {"type": "robot", "tool_id": "srvtoolu_0"}])


def tool_calls(type: str, **members: Any) -> Any:
    """Return a strategy for tool calls. `messages` sets their ids, which depend on their places."""
    return payloads(
        type,
        {"caller": CALLERS},
        id=st.just(""),
        name=st.sampled_from(["lookup", "write_file"]),
        **{"input": OBJECTS, **members},
    )


def results(type: str) -> Any:
    """Return a strategy for results of a tool that the server runs."""
    return payloads(
        type,
        {"caller": CALLERS},
        tool_use_id=st.just("srvtoolu_0"),
        content=OBJECTS | st.lists(OBJECTS, max_size=2),
    )


MODELS: Final = st.fixed_dictionaries({"model": st.sampled_from(["claude-a", "claude-b"])})

BLOCKS: Final[dict[str, Any]] = {
    "text": payloads(
        "text", {"citations": st.none() | st.lists(CITATIONS, max_size=2)}, text=WORDS
    ),
    "thinking": payloads("thinking", thinking=WORDS, signature=WORDS),
    "redacted_thinking": payloads("redacted_thinking", data=WORDS),
    "tool_use": tool_calls("tool_use"),
    "server_tool_use": tool_calls("server_tool_use"),
    "mcp_tool_use": tool_calls("mcp_tool_use", server_name=WORDS),
    **{
        type: results(type)
        for type in (
            "web_search_tool_result",
            "web_fetch_tool_result",
            "code_execution_tool_result",
            "bash_code_execution_tool_result",
            "text_editor_code_execution_tool_result",
            "tool_search_tool_result",
            "advisor_tool_result",
        )
    },
    "container_upload": payloads("container_upload", file_id=WORDS),
    "mcp_tool_result": payloads(
        "mcp_tool_result",
        tool_use_id=st.just("mcptoolu_0"),
        is_error=st.booleans(),
        content=WORDS | st.lists(OBJECTS, max_size=2),
    ),
    "mcp_tool_listing": payloads(
        "mcp_tool_listing", mcp_server_name=WORDS, tools=st.lists(OBJECTS, max_size=2)
    ),
    "compaction": payloads(
        "compaction",
        {"encrypted_content": st.none() | WORDS, "signature": WORDS},
        content=st.none() | WORDS,
    ),
    "fallback": payloads(
        "fallback",
        {"trigger": st.just({"type": "refusal", "category": None})},
        **{"from": MODELS, "to": MODELS},
    ),
    "hologram": payloads("hologram", {"input": OBJECTS}, frames=st.lists(SCALARS, max_size=2)),
}
"""For each type, a strategy for blocks as they are in a complete message."""

BLOCK_TYPES: Final = tuple(BLOCKS)
"""The types of blocks that the strategies make: all types that the library knows, and "hologram",
which is unknown to every reader.
"""

WITH_CONTENT: Final[dict[str, Any]] = {
    "text": payloads("text", text=st.text(CHARACTERS, min_size=2, max_size=12)),
    "thinking": payloads("thinking", thinking=SOME_WORDS, signature=st.just("c2ln")),
    "tool_use": tool_calls("tool_use", input=FILLED_OBJECTS),
}
"""For each type, a strategy for blocks that are sure to have a delta with content."""

# A message.

COUNTS: Final = st.integers(0, 9_999)
USAGES: Final = st.fixed_dictionaries(
    {"input_tokens": COUNTS, "output_tokens": COUNTS},
    optional={
        "cache_read_input_tokens": COUNTS | st.none(),
        "cache_creation_input_tokens": COUNTS,
        "cache_creation": st.just({"ephemeral_5m_input_tokens": 0}),
        "output_tokens_details": st.just({"thinking_tokens": 1}),
        "server_tool_use": st.just({"web_search_requests": 1}),
        "service_tier": st.just("standard"),
        "iterations": st.just([{"type": "message"}]),
        "photons": COUNTS,
    },
)
LATE_MEMBERS: Final[dict[str, Any]] = {
    "stop_details": st.none() | st.just({"type": "refusal", "category": None}),
    "container": st.none() | st.just({"id": "container_1", "expires_at": "2027-01-01T00:00:00Z"}),
    "context_management": st.just({"applied_edits": [{"type": "clear_thinking"}]}),
    "diagnostics": st.none() | st.just({"cache_miss_reason": None}),
    "input_transformations": st.just([{"type": "thinking_dropped", "path": "0"}]),
    "weather": SCALARS,
}
STOP_REASONS: Final = st.sampled_from(
    ["end_turn", "max_tokens", "stop_sequence", "pause_turn", "refusal", "a_later_reason"]
)
ID_PREFIXES: Final = {"server_tool_use": "srvtoolu", "mcp_tool_use": "mcptoolu"}


@st.composite
def messages(
    draw: st.DrawFn,
    *,
    blocks: Collection[str] = BLOCK_TYPES,
    having: Sequence[str] = (),
    max_blocks: int = 4,
) -> Message:
    """Make complete and consistent messages, as they are after `message_stop`.

    Args:
        blocks: the types of their blocks. See `BLOCK_TYPES`.
        having: types of which the message has at least one block with deltas: any of "text",
            "thinking", "tool_use".
        max_blocks: the maximum number of other blocks.
    """
    kinds = draw(st.lists(st.sampled_from(sorted(blocks)), max_size=max_blocks)) if blocks else []
    content = [draw(BLOCKS[kind]) for kind in kinds]
    for kind in having:
        content.insert(draw(st.integers(0, len(content))), draw(WITH_CONTENT[kind]))
    model = "claude-test-1"
    for index, block in enumerate(content):
        if "id" in block:
            block["id"] = f"{ID_PREFIXES.get(block['type'], 'toolu')}_{index}"
        if block["type"] == "fallback":
            model = block["to"]["model"]
    calls_a_tool = any(block["type"] == "tool_use" for block in content)
    stop_reason = "tool_use" if calls_a_tool else draw(STOP_REASONS)
    return message_from_dict(
        {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": model,
            "content": content,
            "stop_reason": stop_reason,
            "stop_sequence": "###" if stop_reason == "stop_sequence" else None,
            "usage": draw(USAGES),
            **draw(st.fixed_dictionaries({}, optional=LATE_MEMBERS)),
        }
    )


# Events.

UNKNOWN_EVENTS: Final = payloads("weather_report", {"index": st.just(0)}, sky=SCALARS)
UNKNOWN_DELTAS: Final = payloads("hologram_delta", {"text": WORDS}, phase=SCALARS)
ERRORS: Final = payloads(
    "error",
    {"request_id": st.just("req_1")},
    error=payloads(
        "overloaded_error", {"details": st.none() | OBJECTS}, message=st.just("Overloaded")
    ),
)


@st.composite
def scripts(
    draw: st.DrawFn,
    *,
    blocks: Collection[str] = BLOCK_TYPES,
    having: Sequence[str] = (),
    max_blocks: int = 4,
    unknown: bool = True,
    pings: bool = True,
) -> Script:
    """Make legal scripts: the events of one complete message, in an order that the API allows.

    A machine that reads a script gives a complete message and reports no violation.

    Args:
        blocks, having, max_blocks: as for `messages`.
        unknown: whether a script may have events, blocks and deltas of unknown types.
        pings: whether a script may have pings, in any place.
    """
    kinds = blocks if unknown else [kind for kind in blocks if kind != "hologram"]
    message = draw(messages(blocks=kinds, having=having, max_blocks=max_blocks))
    # A size of 0 gives an empty delta, which is legal.
    sizes = [*draw(st.lists(st.integers(0, 12), max_size=2)), draw(st.integers(1, 12))]
    script = list(events_from_message(message, itertools.cycle(sizes)))
    if draw(st.booleans()):
        early = MessageDelta(None, None), MessageDeltaUsage(message.usage.output_tokens)
        script.insert(len(script) - 2, MessageDeltaEvent(*early))
    if unknown:
        for event in draw(st.lists(UNKNOWN_EVENTS, max_size=1)):
            script.insert(draw(st.integers(0, len(script))), event_from_dict(event))
        stops = [event for event in script if isinstance(event, ContentBlockStopEvent)]
        if stops:
            stop = draw(st.sampled_from(stops))
            delta = draw(UNKNOWN_DELTAS)
            event = {"type": "content_block_delta", "index": stop.index, "delta": delta}
            script.insert(script.index(stop), event_from_dict(event))
    if pings:
        for place in draw(st.lists(st.integers(0, 99), max_size=2)):
            script.insert(place % len(script), PingEvent())
    return tuple(script)


def events() -> st.SearchStrategy[MessageStreamEvent]:
    """Make single events of every type, including errors and unknown events."""
    return st.one_of(
        scripts().flatmap(st.sampled_from),
        ERRORS.map(event_from_dict),
        UNKNOWN_EVENTS.map(event_from_dict),
    )


# Bytes.


def styles(**fixed: Any) -> st.SearchStrategy[Style]:
    """Make legal styles. `fixed` are the members of `Style` that do not vary, with their values."""
    free: dict[str, st.SearchStrategy[Any]] = {
        "line_end": st.sampled_from(["\n", "\r\n", "\r"]),
        "event_names": st.sampled_from([True, True, False]),
        "ascii": st.booleans(),
        "sort_keys": st.booleans(),
        "padding": st.integers(0, 16),
        "indent": st.booleans(),
        "space": st.booleans(),
        "data_first": st.booleans(),
        "between": st.lists(st.sampled_from(BETWEEN_FRAMES), max_size=3).map(tuple),
        "byte_order_mark": st.booleans(),
    }
    return st.builds(Style, **free | {name: st.just(value) for name, value in fixed.items()})


@st.composite
def wire(draw: st.DrawFn, script: Script, style: Style | None = None) -> bytes:
    """Make the bytes of a script, with up to two more pings in any places.

    Args:
        script: the events.
        style: the style to write them in. By default any legal style.
    """
    payloads = [event.to_dict() for event in script]
    for place in draw(st.lists(st.integers(0, len(payloads)), max_size=2)):
        payloads.insert(place, {"type": "ping"})
    return (draw(styles()) if style is None else style).body(payloads)


@st.composite
def cuts(draw: st.DrawFn, data: bytes) -> list[bytes]:
    """Make lists of chunks that together are `data`.

    The data is whole, or cut in one of `WAYS_TO_CUT`: for example, at every byte, at every
    delimiter, or inside characters and escapes. Or it is cut at random places, which may give empty
    chunks.
    """
    way = draw(st.sampled_from([*WAYS_TO_CUT, *ANYWHERE]))
    if way in ANYWHERE:
        return chunks_at(data, draw(st.lists(st.integers(0, len(data)), max_size=8)))
    return chunks_at(data, places_to_cut(data, way))


ANYWHERE: Final = 8 * ("anywhere",)
"""Cuts at random places. They are drawn eight times as often as each of `WAYS_TO_CUT`."""
