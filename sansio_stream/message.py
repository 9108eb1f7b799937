"""Vocabulary: the message and its content blocks, as frozen values.

JSON objects in, typed values out, and back without loss. This module knows no events, and its
values never change.

Every enumeration is open (`str`). Every member may be missing. A member that is absent or null
reads as None if its type allows None, else as the empty value of its type, for example as "".
Values that are nested below the typed members, such as a result's `content`, `caller` and
`container`, stay plain JSON values.

A new block type needs one class here, and its name in `__all__` and in `ContentBlock`. The classes
of citations and `Usage` can be imported from here, too.
"""

from typing import Any, ClassVar, Final, Literal, NamedTuple, TypeAlias

import attrs

from .citations import (
    CharLocationCitation,
    Citation,
    ContentBlockLocationCitation,
    PageLocationCitation,
    SearchResultLocationCitation,
    UnknownCitation,
    WebSearchResultLocationCitation,
)
from .codec import OFF_WIRE, WireObject, decode, is_array, is_object, on_wire_as, wire_object
from .copies import copy_with
from .deltas import ContentBlockDelta
from .frozen import lazy_member
from .growing import TextSoFar
from .schemas import core_schema, json_schema
from .tool_input import InputError, InputState, ToolInput, holds_infinity
from .usage import Usage

__all__ = [
    "AdvisorToolResultBlock",
    "BashCodeExecutionToolResultBlock",
    "CharLocationCitation",
    "Citation",
    "CodeExecutionToolResultBlock",
    "CompactionBlock",
    "ContainerUploadBlock",
    "ContentBlock",
    "ContentBlockLocationCitation",
    "FallbackBlock",
    "MCPToolListingBlock",
    "MCPToolResultBlock",
    "MCPToolUseBlock",
    "Message",
    "PageLocationCitation",
    "RedactedThinkingBlock",
    "SearchResultLocationCitation",
    "ServerToolUseBlock",
    "StopReason",
    "TextBlock",
    "TextEditorCodeExecutionToolResultBlock",
    "ThinkingBlock",
    "ToolSearchToolResultBlock",
    "ToolUseBlock",
    "UnknownBlock",
    "UnknownCitation",
    "Usage",
    "WebFetchToolResultBlock",
    "WebSearchResultLocationCitation",
    "WebSearchToolResultBlock",
]

StopReason: TypeAlias = str
"""Known values: end_turn, max_tokens, stop_sequence, tool_use, pause_turn, refusal, compaction,
model_context_window_exceeded. The API may add others at any time.
"""

# Content blocks.


@wire_object
class Block(WireObject):
    """The base class of all content blocks.

    Attributes:
        unfolded: every `UnknownDelta` of the block, in order. In an `UnknownBlock` it has every
            delta. It is not on the wire.
    """

    unfolded: tuple[ContentBlockDelta, ...] = attrs.field(
        default=(), kw_only=True, metadata=OFF_WIRE
    )


@wire_object
class InputBlock(Block):
    """The base class of blocks with a streamed input.

    What this class adds is neither on the wire nor compared.
    """

    _tool_input: ToolInput | None = attrs.field(
        default=None, kw_only=True, eq=False, repr=False, alias="tool_input", metadata=OFF_WIRE
    )

    @property
    def input_json(self) -> str:
        """The raw text of the input so far, or "". Cost: at most linear in the text."""
        return "" if self._tool_input is None else self._tool_input.text

    @property
    def input_state(self) -> InputState:
        """Whether a program may act on `input`; see `InputState`."""
        if self._tool_input is not None:
            return self._tool_input.state
        sent = self.to_dict().get("input")
        if sent is None:
            return "incomplete"
        is_whole = is_object(sent) and not holds_infinity(sent)
        return "complete" if is_whole else "invalid"

    @property
    def input_error(self) -> InputError | None:
        """Why `input_state` is "invalid".

        None if it has another value, or if no machine has built this block.
        """
        return None if self._tool_input is None else self._tool_input.error

    @property
    def partial_input(self) -> Any:
        """The value of the input so far, for display only: the input may still become invalid.

        It equals the result of the partial modes of the JSON parser jiter. On the newest snapshot
        and on `StreamMachine.block()` the value grows in place. The caller must not change it, and
        it is valid until the machine processes the next event. Never raises. Cost: there, all reads
        together take time linear in the text. On an earlier snapshot, each read does.
        """
        if self._tool_input is not None:
            return self._tool_input.partial_value()
        return self.to_dict().get("input")


@wire_object
class TextBlock(Block):
    """A text in the answer."""

    type: "ClassVar[Literal['text']]" = "text"
    text: str
    citations: tuple[Citation, ...] | None = None


@wire_object
class ThinkingBlock(Block):
    """Reasoning. The next request must send `thinking` and its `signature` back unchanged."""

    type: "ClassVar[Literal['thinking']]" = "thinking"
    thinking: str
    signature: str


@wire_object
class RedactedThinkingBlock(Block):
    """Encrypted reasoning."""

    type: "ClassVar[Literal['redacted_thinking']]" = "redacted_thinking"
    data: str | None


@wire_object
class ToolUseBlock(InputBlock):
    """A call of one of the caller's tools.

    Attributes:
        input: the arguments; None unless `input_state` is "complete".
    """

    type: "ClassVar[Literal['tool_use']]" = "tool_use"
    id: str | None
    name: str | None
    input: dict[str, Any] | None
    caller: dict[str, Any] | None = None
    toolset_name: str | None = None


@wire_object
class ServerToolUseBlock(InputBlock):
    """A call of a tool that the server runs itself. `input` is the same as in `ToolUseBlock`."""

    type: "ClassVar[Literal['server_tool_use']]" = "server_tool_use"
    id: str | None
    name: str | None
    input: dict[str, Any] | None
    caller: dict[str, Any] | None = None


@wire_object
class MCPToolUseBlock(InputBlock):
    """A call of a tool of an MCP server. `input` is the same as in `ToolUseBlock`."""

    type: "ClassVar[Literal['mcp_tool_use']]" = "mcp_tool_use"
    id: str | None
    name: str | None
    server_name: str | None
    input: dict[str, Any] | None


@wire_object
class WebSearchToolResultBlock(Block):
    """Web search results: a list, or an object with `error_code`."""

    type: "ClassVar[Literal['web_search_tool_result']]" = "web_search_tool_result"
    tool_use_id: str | None
    content: Any
    caller: dict[str, Any] | None = None


@wire_object
class WebFetchToolResultBlock(Block):
    """A fetched document, or an object with `error_code`."""

    type: "ClassVar[Literal['web_fetch_tool_result']]" = "web_fetch_tool_result"
    tool_use_id: str | None
    content: Any
    caller: dict[str, Any] | None = None


@wire_object
class CodeExecutionToolResultBlock(Block):
    """The output of a code execution, or an object with `error_code`."""

    type: "ClassVar[Literal['code_execution_tool_result']]" = "code_execution_tool_result"
    tool_use_id: str | None
    content: Any


@wire_object
class BashCodeExecutionToolResultBlock(Block):
    """The output of a shell command, or an object with `error_code`."""

    type: "ClassVar[Literal['bash_code_execution_tool_result']]" = "bash_code_execution_tool_result"
    tool_use_id: str | None
    content: Any


@wire_object
class TextEditorCodeExecutionToolResultBlock(Block):
    """The result of a file operation, or an object with `error_code`."""

    type: "ClassVar[Literal['text_editor_code_execution_tool_result']]" = (
        "text_editor_code_execution_tool_result"
    )
    tool_use_id: str | None
    content: Any


@wire_object
class ToolSearchToolResultBlock(Block):
    """References to the tools that a search found, or an object with `error_code`."""

    type: "ClassVar[Literal['tool_search_tool_result']]" = "tool_search_tool_result"
    tool_use_id: str | None
    content: Any


@wire_object
class ContainerUploadBlock(Block):
    """A file in the container."""

    type: "ClassVar[Literal['container_upload']]" = "container_upload"
    file_id: str | None


@wire_object
class MCPToolResultBlock(Block):
    """The result of a tool of an MCP server: a string or a list of text blocks."""

    type: "ClassVar[Literal['mcp_tool_result']]" = "mcp_tool_result"
    tool_use_id: str | None
    is_error: bool | None
    content: Any


@wire_object
class MCPToolListingBlock(Block):
    """The tools of an MCP server."""

    type: "ClassVar[Literal['mcp_tool_listing']]" = "mcp_tool_listing"
    mcp_server_name: str | None
    tools: list[Any] | None


@wire_object
class AdvisorToolResultBlock(Block):
    """The answer of the advisor, or an object with `error_code`."""

    type: "ClassVar[Literal['advisor_tool_result']]" = "advisor_tool_result"
    tool_use_id: str | None
    content: Any


@wire_object
class CompactionBlock(Block):
    """A summary that replaces earlier turns. `content` stays None if the compaction failed."""

    type: "ClassVar[Literal['compaction']]" = "compaction"
    content: str | None
    encrypted_content: str | None = None
    signature: str | None = None
    tool_changes: list[Any] | None = None


@wire_object
class FallbackBlock(Block):
    """The point at which another model continued. `from_` and `to` are objects with a `model`."""

    type: "ClassVar[Literal['fallback']]" = "fallback"
    from_: dict[str, Any] | None = attrs.field(metadata=on_wire_as("from"))
    to: dict[str, Any] | None
    trigger: dict[str, Any] | None = None


@wire_object
class UnknownBlock(InputBlock):
    """A block whose type has no class here. `extra` has its members, `unfolded` its deltas.

    If it gets an `input_json_delta`, it has an input like every tool call.
    """

    type: "ClassVar[Literal['unknown']]" = "unknown"
    wire_type: str = attrs.field(metadata=on_wire_as("type"))

    @property
    def input(self) -> dict[str, Any] | None:
        """The member `input`, if it is an object and `input_state` is "complete"; else None."""
        value = self.extra.get("input")
        return value if is_object(value) and self.input_state == "complete" else None


ContentBlock: TypeAlias = (
    TextBlock
    | ThinkingBlock
    | RedactedThinkingBlock
    | ToolUseBlock
    | ServerToolUseBlock
    | MCPToolUseBlock
    | WebSearchToolResultBlock
    | WebFetchToolResultBlock
    | CodeExecutionToolResultBlock
    | BashCodeExecutionToolResultBlock
    | TextEditorCodeExecutionToolResultBlock
    | ToolSearchToolResultBlock
    | ContainerUploadBlock
    | MCPToolResultBlock
    | MCPToolListingBlock
    | AdvisorToolResultBlock
    | CompactionBlock
    | FallbackBlock
    | UnknownBlock
)

# The message.


@wire_object
class Message(WireObject):
    """A message, finished or growing. A snapshot is the message as the events so far have built it.

    Attributes:
        content: the blocks, ordered by their index on the wire.
        complete: whether `message_stop` arrived and no content was lost before it. It is compared
            and pickled, but it is not on the wire.
    """

    type: "ClassVar[Literal['message']]" = "message"
    id: str | None
    role: str | None
    content: tuple[ContentBlock, ...]
    model: str | None
    stop_reason: StopReason | None
    stop_sequence: str | None
    usage: Usage
    stop_details: dict[str, Any] | None = None
    container: dict[str, Any] | None = None
    context_management: dict[str, Any] | None = None
    diagnostics: dict[str, Any] | None = None
    input_transformations: list[Any] | None = None
    safeguard_results: list[Any] | None = None
    complete: bool = attrs.field(default=False, kw_only=True, metadata=OFF_WIRE)

    @property
    def text(self) -> str:
        """The texts of all text blocks, joined. Cost: each read joins them."""
        return "".join(block.text for block in self.content if isinstance(block, TextBlock))

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> dict[str, Any]:
        """Return the schema by which pydantic validates and serialises members of this class.

        Messages stay as they are. A JSON object with a `content` is read as `message_from_dict`
        does. A message is written as `to_dict` does.
        """
        return core_schema(cls, message_of)

    @classmethod
    def __get_pydantic_json_schema__(cls, core: Any, handler: Any) -> dict[str, Any]:
        """Return the JSON schema for pydantic."""
        return json_schema(cls)


def message_of(value: Any) -> Message:
    """Return the message that a JSON object stands for. It is complete if it has a stop reason.

    Raises:
        ValueError: if the value is not the JSON object of a message.
    """
    if not is_object(value) or not is_array(value.get("content")):
        raise ValueError("a message must be an object with a list `content`")
    if value.get("type", "message") != "message":
        raise ValueError("the type of a message must be 'message'")
    message = decode(Message, value)
    return copy_with(message, complete=bool(message.stop_reason))


# Some members of a running block and of a snapshot are computed when they are read.


class ContentSoFar(NamedTuple):
    """The content of a message at one moment, as a snapshot stores it.

    Attributes:
        stopped: the first blocks, which have stopped. More blocks may have been added since.
        stopped_count: the number of these blocks at that moment.
        others: the other blocks.
    """

    stopped: list[ContentBlock]
    stopped_count: int
    others: tuple[ContentBlock, ...]


def read_text(_block: Any, stored: Any) -> Any:
    """Return a text, given what its block stores.

    The result is not stored in the block. A second reference would make CPython copy the text when
    it grows.
    """
    return stored.text if type(stored) is TextSoFar else stored


def read_content(message: Any, stored: Any) -> Any:
    """Return the blocks of a message, given what it stores. The message then stores the blocks."""
    if type(stored) is not ContentSoFar:
        return stored
    content = (*stored.stopped[: stored.stopped_count], *stored.others)
    set_content(message, content)
    return content


lazy_member(TextBlock, "text", read_text, "The text.")
lazy_member(ThinkingBlock, "thinking", read_text, "The reasoning.")
set_content: Final = lazy_member(
    Message, "content", read_content, "The blocks, ordered by their index on the wire."
)


def tool_input_of(block: Any) -> ToolInput | None:
    """Return the `ToolInput` of an `InputBlock`; None if no machine has built the block."""
    tool_input: ToolInput | None = block._tool_input  # noqa: SLF001  (this module's own)
    return tool_input
