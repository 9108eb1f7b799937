"""Messages to send back: a message or a block in, a parameter of the next request out.

A block is refused if its tool input is broken, or if one of its deltas has an unknown effect. The
caller can decide otherwise.
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
"""The place of a value in the parameters, for example ("messages", 1, "content", 0)."""

NAME_CHARACTERS: Final = 200
"""The maximum length of a name in an error message.

A peer chooses the names of blocks and of their members, so they may be of any length.
"""


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
    """Return a message or a block as a parameter of the next request.

    A message becomes its role and its content. Empty text blocks and thinking at the end of the
    content are left out, because the API rejects both. The content may be empty afterwards. A block
    that is passed alone is never left out for these reasons.

    Everything else is kept verbatim, including signatures and unknown members. Nested values are
    shared with the message, so treat the result as read-only.

    `broken_input` decides about two kinds of broken blocks. The first kind has a tool input that is
    not complete and valid: its `input_state` is not "complete". The second kind has `unfolded`
    deltas: the effect of such a delta is unknown.

    Args:
        message_or_block: a message or a block of any origin: a final message, the snapshot of a cut
            message, or one that was made by hand.
        broken_input: what to do with broken blocks. "raise" refuses them. "drop" leaves them out
            and then removes thinking at the end of the content. For a single broken block it
            returns None. "wrap" sends the raw text of a broken input as `{"INVALID_JSON": text}`,
            as Anthropic's documentation advises. Answer such a call with a `tool_result` that has
            `is_error`. "wrap" refuses blocks with unfolded deltas, because they have no input to
            wrap.

    Raises:
        ValueError: if a block is refused. The error names the block and the reason. Also if
            `broken_input` is none of the three values.
        TypeError: if the argument is neither a message nor a block.
    """
    if broken_input not in get_args(BrokenInput):
        allowed = get_args(BrokenInput)
        raise ValueError(f"broken_input must be one of {allowed}, not {broken_input!r}")
    if isinstance(message_or_block, Message):
        return message_param(message_or_block, broken_input, ())
    if not isinstance(message_or_block, Block):
        raise TypeError(f"{type(message_or_block).__name__} is neither a message nor a block")
    if broken_input == "drop" and unsendable_reason(message_or_block):
        return None
    return block_param(message_or_block, broken_input, ())


def message_param(message: Message, broken_input: BrokenInput, path: Path) -> dict[str, Any]:
    """Return a message as a parameter. `path` is its place, for error messages."""
    return {
        # Some compatible servers send no role. A streamed message is always the assistant's.
        "role": message.role or "assistant",
        "content": [
            block_param(block, broken_input, (*path, "content", place))
            for place, block in trimmed(message.content, broken_input)
        ],
    }


def trimmed(items: Iterable[AnyValue], broken_input: BrokenInput) -> list[tuple[int, AnyValue]]:
    """Return the items of a list that are sent, each with its index in that list.

    Only blocks of this library are left out. Dicts are always kept.
    """
    kept = [
        (place, item)
        for place, item in enumerate(items)
        if not is_empty(item)
        and not (broken_input == "drop" and isinstance(item, Block) and unsendable_reason(item))
    ]
    while kept and isinstance(kept[-1][1], (ThinkingBlock, RedactedThinkingBlock)):
        kept.pop()
    return kept


def is_empty(item: object) -> bool:
    """Whether `item` is a text block without text and without unfolded deltas."""
    return isinstance(item, TextBlock) and not item.text and not item.unfolded


def block_param(block: Block, broken_input: BrokenInput, path: Path) -> dict[str, Any]:
    """Return a block as a parameter, or refuse it. `path` is its place, for error messages.

    Raises:
        ValueError: if the block is broken and `broken_input` does not say how to send it.
    """
    reason = unsendable_reason(block)
    if not reason:
        return block.to_dict()
    if broken_input == "wrap" and isinstance(block, InputBlock) and not lost_deltas(block):
        return {**block.to_dict(), "input": {"INVALID_JSON": raw_input(block)}}
    written = block.to_dict()
    name = " ".join(str(written[key]) for key in ("type", "id") if written.get(key) is not None)
    name = printable(name, NAME_CHARACTERS)
    place = f"{named(path)}: " if path else ""
    raise ValueError(
        f"{place}the block '{name}' cannot be sent: {reason}"
        " (see `broken_input` of `to_param` for alternatives)"
    )


def named(path: Path) -> str:
    """Return a path as the API writes it in its errors: "messages.1.content.0"."""
    return printable(".".join(map(str, path)), NAME_CHARACTERS)


def unsendable_reason(block: Block) -> str:
    """Return the reason why a block cannot be sent as it is, or "" if it can."""
    lost = lost_deltas(block)
    if lost:
        return f"the effect of its '{printable(lost[0], NAME_CHARACTERS)}' is unknown"
    if isinstance(block, InputBlock) and has_input(block) and block.input_state != "complete":
        return f"its input is {block.input_state}"
    return ""


def lost_deltas(block: Block) -> list[str]:
    """Return the types of the deltas that did not change the block.

    An unknown block keeps all its deltas in `unfolded`. Its input_json_deltas are not returned,
    because they did change its input.
    """
    folded = InputJSONDelta if isinstance(block, UnknownBlock) else ()
    return [delta.to_dict()["type"] for delta in block.unfolded if not isinstance(delta, folded)]


def has_input(block: InputBlock) -> bool:
    """Whether the state of the block's input counts.

    The `input` of an unknown block is an ordinary member unless deltas have been added to it.
    """
    return not isinstance(block, UnknownBlock) or bool(block.unfolded)


def raw_input(block: InputBlock) -> str:
    """Return the text of a broken input; without one, the JSON of the value that was sent."""
    sent = block.partial_input
    return block.input_json or ("" if sent is None else encode_json(sent))
