"""What is sent back: a message or a block in; a parameter of the next request, or a refusal that
says why, out. Knows neither the other parameters nor HTTP.
"""

from collections.abc import Iterable
from typing import Any, Final, Literal, TypeAlias, TypeVar, get_args, overload

from ..encode import encode_json
from ..errors import printable
from ..events import InputJSONDelta
from ..message import (
    Block,
    ContentBlock,
    InputBlock,
    Message,
    RedactedThinkingBlock,
    TextBlock,
    ThinkingBlock,
    UnknownBlock,
)

__all__ = ["to_param"]

AnyValue = TypeVar("AnyValue")

BrokenInput: TypeAlias = Literal["raise", "drop", "wrap"]

Path: TypeAlias = tuple[str | int, ...]
"""Where in the parameters something stands: ("messages", 1, "content", 0)."""

NAME_CHARACTERS: Final = 200
"""How much of a name is shown in a sentence: those of blocks and of their members are a peer's."""


@overload
def to_param(message_or_block: Message, broken_input: BrokenInput = "raise") -> dict[str, Any]: ...
@overload
def to_param(
    message_or_block: ContentBlock, broken_input: Literal["raise", "wrap"] = "raise"
) -> dict[str, Any]: ...
@overload
def to_param(
    message_or_block: ContentBlock, broken_input: Literal["drop"]
) -> dict[str, Any] | None: ...
def to_param(
    message_or_block: object, broken_input: BrokenInput = "raise"
) -> dict[str, Any] | None:
    """Return a message or a block as a next request takes it: JSON, but for what is refused there.

    Of a message that is its role and its content, without empty text blocks and without the
    thinking that it ends in, because the API refuses both. It may have no content then. A block
    alone is written whatever it is. What is kept is kept verbatim, signatures and unknown members
    included; what is nested inside is shared with the message, so treat it as read-only.

    Two kinds of blocks are not sent unless `broken_input` says how: those whose input is not whole
    and valid (`input_state` is not "complete"), and those with `unfolded` deltas, of which nobody
    knows what they change.

    Args:
        message_or_block: of any origin: a final message, a snapshot of a cut one, made by hand.
        broken_input: "raise" refuses both. "drop" leaves both out, and trims what then ends in
            thinking; of a block alone it makes None. "wrap" sends `{"INVALID_JSON": text}` as the
            input, as Anthropic's documentation advises, with the raw text; answer it with a
            `tool_result` that says `is_error`. It refuses unfolded deltas: there is nothing to
            wrap.

    Raises:
        ValueError: for a block that is refused; it says which, and why.
        TypeError: for what is neither a message nor a block.
    """
    if broken_input not in get_args(BrokenInput):
        raise ValueError(f"broken_input is one of {get_args(BrokenInput)}, not {broken_input!r}")
    if isinstance(message_or_block, Message):
        return message_param(message_or_block, broken_input, ())
    if not isinstance(message_or_block, Block):
        raise TypeError(f"{type(message_or_block).__name__} is neither a message nor a block")
    if broken_input == "drop" and flaw_of(message_or_block):
        return None
    return block_param(message_or_block, broken_input, ())


def message_param(message: Message, broken_input: BrokenInput, path: Path) -> dict[str, Any]:
    """Return a message as a parameter; `path` says where it stands."""
    return {
        # Some compatible servers name no role. Whoever streams a message is the assistant.
        "role": message.role or "assistant",
        "content": [
            block_param(block, broken_input, (*path, "content", place))
            for place, block in trimmed(message.content, broken_input)
        ],
    }


def trimmed(items: Iterable[AnyValue], broken_input: BrokenInput) -> list[tuple[int, AnyValue]]:
    """Return the items that are sent, each with its place. Only blocks of ours are left out."""
    kept = [
        (place, item)
        for place, item in enumerate(items)
        if not is_empty(item)
        and not (broken_input == "drop" and isinstance(item, Block) and flaw_of(item))
    ]
    while kept and isinstance(kept[-1][1], (ThinkingBlock, RedactedThinkingBlock)):
        kept.pop()
    return kept


def is_empty(item: object) -> bool:
    """Whether it is a text block without text."""
    return isinstance(item, TextBlock) and not item.text and not item.unfolded


def block_param(block: Block, broken_input: BrokenInput, path: Path) -> dict[str, Any]:
    """Return a block as a parameter; `path` says where it stands."""
    flaw = flaw_of(block)
    if not flaw:
        return block.to_dict()
    if broken_input == "wrap" and isinstance(block, InputBlock) and not lost_deltas(block):
        return {**block.to_dict(), "input": {"INVALID_JSON": raw_input(block)}}
    written = block.to_dict()
    name = " ".join(str(written[key]) for key in ("type", "id") if written.get(key) is not None)
    name = printable(name, NAME_CHARACTERS)
    place = f"{named(path)}: " if path else ""
    raise ValueError(f"{place}the block '{name}' is refused: {flaw} (`to_param` has policies)")


def named(path: Path) -> str:
    """Return a path as the API's own errors write it."""
    return printable(".".join(map(str, path)), NAME_CHARACTERS)


def flaw_of(block: Block) -> str:
    """Return why a block cannot be sent as it is, or ""."""
    lost = lost_deltas(block)
    if lost:
        return f"nobody knows what its '{printable(lost[0], NAME_CHARACTERS)}' changed"
    if isinstance(block, InputBlock) and has_input(block) and block.input_state != "complete":
        return f"its input is {block.input_state}"
    return ""


def lost_deltas(block: Block) -> list[str]:
    """Return the types of the deltas that changed nothing. An unknown block's input was folded,
    though its deltas are kept like all others.
    """
    folded = InputJSONDelta if isinstance(block, UnknownBlock) else ()
    return [delta.to_dict()["type"] for delta in block.unfolded if not isinstance(delta, folded)]


def has_input(block: InputBlock) -> bool:
    """Whether there is an input to judge. An unknown block's is as it was sent, unless it grew."""
    return not isinstance(block, UnknownBlock) or bool(block.unfolded)


def raw_input(block: InputBlock) -> str:
    """Return the text of a broken input, or what was sent in its place."""
    sent = block.partial_input
    return block.input_json or ("" if sent is None else encode_json(sent))
