"""A type checker infers the class of an event, a delta, a block or a citation from its `type`."""

from collections.abc import Callable
from typing import Any, assert_type

from sansio_stream import (
    Citation,
    ContentBlock,
    ContentBlockDeltaEvent,
    ContentBlockStartEvent,
    ErrorEvent,
    InputJSONDelta,
    MessageDeltaEvent,
    MessageStartEvent,
    MessageStopEvent,
    MessageStreamEvent,
    StreamMachine,
    TextBlock,
    TextDelta,
    ThinkingDelta,
    ToolUseBlock,
    UnknownBlock,
    UnknownCitation,
    UnknownDelta,
    UnknownEvent,
)


def show_answer(machine: StreamMachine, chunk: bytes, show: Callable[[str], object]) -> int:
    """The loop of a typical program."""
    total_tokens = 0
    for event in machine.receive_data(chunk):
        if event.type == "content_block_start":
            assert_type(event, ContentBlockStartEvent)
            if event.content_block.type == "thinking":
                show("\n[Thinking...]")
            elif event.content_block.type == "text":
                show(f"\n[Response:] {event.content_block.text}")
        elif event.type == "content_block_delta":
            if event.delta.type == "thinking_delta":
                show(event.delta.thinking)
            elif event.delta.type == "text_delta":
                show(event.delta.text)
        elif event.type == "message_delta":
            total_tokens = event.usage.output_tokens or total_tokens
    return total_tokens


def events(event: MessageStreamEvent) -> None:
    if event.type == "message_start":
        assert_type(event, MessageStartEvent)
    elif event.type == "message_delta":
        assert_type(event, MessageDeltaEvent)
    elif event.type == "message_stop":
        assert_type(event, MessageStopEvent)
    elif event.type == "error":
        assert_type(event, ErrorEvent)
    elif event.type == "unknown":
        assert_type(event, UnknownEvent)
        assert_type(event.wire_type, str)


def deltas(event: MessageStreamEvent) -> None:
    if event.type == "content_block_delta":
        assert_type(event, ContentBlockDeltaEvent)
        if event.delta.type == "text_delta":
            assert_type(event.delta, TextDelta)
            assert_type(event.delta.text, str)
        elif event.delta.type == "thinking_delta":
            assert_type(event.delta, ThinkingDelta)
            assert_type(event.delta.thinking, str)
        elif event.delta.type == "input_json_delta":
            assert_type(event.delta, InputJSONDelta)
            assert_type(event.delta.partial_json, str)
        elif event.delta.type == "unknown":
            assert_type(event.delta, UnknownDelta)


def in_one_condition(event: MessageStreamEvent) -> None:
    if event.type == "content_block_delta" and event.delta.type == "text_delta":
        assert_type(event.delta.text, str)


def blocks(block: ContentBlock) -> None:
    if block.type == "tool_use":
        assert_type(block, ToolUseBlock)
        assert_type(block.input, dict[str, Any] | None)
    elif block.type == "text":
        assert_type(block, TextBlock)
        assert_type(block.citations, tuple[Citation, ...] | None)
    elif block.type == "unknown":
        assert_type(block, UnknownBlock)
        assert_type(block.wire_type, str)


def citations(citation: Citation) -> None:
    if citation.type == "web_search_result_location":
        assert_type(citation.url, str | None)
    elif citation.type == "unknown":
        assert_type(citation, UnknownCitation)
