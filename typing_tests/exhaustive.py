"""A `match` can cover every union completely. A new class in a union is a type error here."""

from typing import assert_never

from sansio_stream import (
    AdvisorToolResultBlock,
    BashCodeExecutionToolResultBlock,
    CharLocationCitation,
    Citation,
    CitationsDelta,
    CodeExecutionToolResultBlock,
    CompactionBlock,
    CompactionDelta,
    ContainerUploadBlock,
    ContentBlock,
    ContentBlockDelta,
    ContentBlockDeltaEvent,
    ContentBlockLocationCitation,
    ContentBlockStartEvent,
    ContentBlockStopEvent,
    ErrorEvent,
    FallbackBlock,
    InputJSONDelta,
    InputState,
    MCPToolListingBlock,
    MCPToolResultBlock,
    MCPToolUseBlock,
    MessageDeltaEvent,
    MessageStartEvent,
    MessageStopEvent,
    MessageStreamEvent,
    PageLocationCitation,
    PingEvent,
    RedactedThinkingBlock,
    SearchResultLocationCitation,
    ServerToolUseBlock,
    SignatureDelta,
    State,
    TextBlock,
    TextDelta,
    TextEditorCodeExecutionToolResultBlock,
    ThinkingBlock,
    ThinkingDelta,
    ToolSearchToolResultBlock,
    ToolUseBlock,
    UnknownBlock,
    UnknownCitation,
    UnknownDelta,
    UnknownEvent,
    Verdict,
    WebFetchToolResultBlock,
    WebSearchResultLocationCitation,
    WebSearchToolResultBlock,
)


def events(event: MessageStreamEvent) -> str:
    match event:
        case MessageStartEvent(message=message):
            return message.id or ""
        case ContentBlockStartEvent(index=index, content_block=block):
            return f"{index} {block.type}"
        case ContentBlockDeltaEvent(index=index, delta=delta):
            # The outer match is on the event, the inner one on its delta.
            match delta:
                case TextDelta(text=text):
                    return text
                case InputJSONDelta(partial_json=fragment):
                    return fragment
                case ThinkingDelta(thinking=thinking):
                    return thinking
                case SignatureDelta(signature=signature):
                    return signature
                case CitationsDelta(citation=citation):
                    return f"{index} {citation.type}"
                case CompactionDelta(content=content):
                    return content or ""
                case UnknownDelta(wire_type=wire_type):
                    return wire_type
                case _:
                    assert_never(delta)
        case ContentBlockStopEvent(index=index):
            return str(index)
        case MessageDeltaEvent(delta=changes):
            return changes.stop_reason or ""
        case MessageStopEvent():
            return "stop"
        case PingEvent():
            return "ping"
        case ErrorEvent():
            return event.message
        case UnknownEvent(wire_type=wire_type):
            return wire_type
        case _:
            assert_never(event)


def events_by_type(event: MessageStreamEvent) -> int:
    match event.type:
        case "message_start" | "message_delta" | "message_stop":
            return 1
        case "content_block_start" | "content_block_delta" | "content_block_stop":
            return 2
        case "ping" | "error" | "unknown":
            return 3
        case _:
            assert_never(event.type)


def deltas_by_type(delta: ContentBlockDelta) -> int:
    match delta.type:
        case "text_delta" | "input_json_delta" | "thinking_delta" | "signature_delta":
            return 1
        case "citations_delta" | "compaction_delta" | "unknown":
            return 2
        case _:
            assert_never(delta.type)


def blocks(block: ContentBlock) -> object:
    match block:
        case TextBlock():
            return block.text
        case ThinkingBlock():
            return block.thinking
        case RedactedThinkingBlock():
            return block.data
        case ToolUseBlock() | ServerToolUseBlock() | MCPToolUseBlock():
            return block.input
        case (
            WebSearchToolResultBlock()
            | WebFetchToolResultBlock()
            | CodeExecutionToolResultBlock()
            | BashCodeExecutionToolResultBlock()
            | TextEditorCodeExecutionToolResultBlock()
            | ToolSearchToolResultBlock()
            | MCPToolResultBlock()
            | AdvisorToolResultBlock()
        ):
            return block.tool_use_id
        case ContainerUploadBlock():
            return block.file_id
        case MCPToolListingBlock():
            return block.tools
        case CompactionBlock():
            return block.content
        case FallbackBlock():
            return block.to
        case UnknownBlock():
            return block.extra
        case _:
            assert_never(block)


def citations(citation: Citation) -> object:
    match citation:
        case CharLocationCitation():
            return citation.start_char_index
        case PageLocationCitation():
            return citation.start_page_number
        case ContentBlockLocationCitation():
            return citation.start_block_index
        case WebSearchResultLocationCitation():
            return citation.url
        case SearchResultLocationCitation():
            return citation.search_result_index
        case UnknownCitation():
            return citation.wire_type
        case _:
            assert_never(citation)


def verdicts(verdict: Verdict) -> bool:
    match verdict:
        case Verdict.COMPLETE | Verdict.UNTERMINATED:
            return True
        case Verdict.PENDING | Verdict.TRUNCATED | Verdict.EMPTY | Verdict.ERRORED:
            return False
        case Verdict.DAMAGED | Verdict.BROKEN | Verdict.NOT_AN_EVENT_STREAM:
            return False
        case _:
            assert_never(verdict)


def states(state: State) -> bool:
    match state:
        case State.WAITING | State.OPEN | State.CLOSING:
            return False
        case State.DONE | State.FAILED:
            return True
        case _:
            assert_never(state)


def input_states(state: InputState) -> bool:
    match state:
        case "complete":
            return True
        case "invalid" | "incomplete":
            return False
        case _:
            assert_never(state)
