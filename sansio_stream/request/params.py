"""Messages to send back: a message or a block in, a parameter of the next request out.

The API refuses some messages that it has sent itself, and every message that was cut in the wrong
place. What it is known to refuse is left out or refused here. The caller can decide otherwise.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final, Literal, TypeAlias, TypedDict, get_args, overload

from ..encode import encode_json
from ..errors import printable
from ..events import InputJSONDelta
from ..message import (
    Block,
    ContentBlock,
    InputBlock,
    MCPToolUseBlock,
    Message,
    RedactedThinkingBlock,
    ServerToolUseBlock,
    TextBlock,
    ThinkingBlock,
    ToolUseBlock,
    UnknownBlock,
)
from .characters import Surrogates, with_encodable
from .paths import NAME_CHARACTERS, RefusedError

__all__ = ["ParamPolicies", "to_param"]

BrokenInput: TypeAlias = Literal["raise", "drop", "wrap"]
DuplicateIds: TypeAlias = Literal["raise", "keep"]

Placed: TypeAlias = tuple[int, Any]
"""An item of a list, and its index in the list that the caller has."""


class ParamPolicies(TypedDict, total=False):
    """What to do with messages and blocks that the API refuses. `to_param` describes each policy.

    Attributes:
        broken_input: "raise" (the default), "drop" or "wrap".
        duplicate_ids: "raise" (the default) or "keep".
        surrogates: "raise" (the default) or "replace".
    """

    broken_input: BrokenInput
    duplicate_ids: DuplicateIds
    surrogates: Surrogates


CHOICES: Final[dict[str, tuple[str, ...]]] = {
    "broken_input": get_args(BrokenInput),
    "duplicate_ids": get_args(DuplicateIds),
    "surrogates": get_args(Surrogates),
}


def check_policies(policies: ParamPolicies) -> None:
    """Raise ValueError if a policy has a value that it cannot have."""
    for name, value in policies.items():
        if value not in CHOICES[name]:
            raise ValueError(f"{name} must be one of {CHOICES[name]}, not {value!r}")


@overload
def to_param(
    message_or_block: Message,
    broken_input: BrokenInput = "raise",
    *,
    duplicate_ids: DuplicateIds = "raise",
    surrogates: Surrogates = "raise",
) -> dict[str, Any]: ...
@overload
def to_param(
    message_or_block: ContentBlock,
    broken_input: Literal["raise", "wrap"] = "raise",
    *,
    duplicate_ids: DuplicateIds = "raise",
    surrogates: Surrogates = "raise",
) -> dict[str, Any]: ...
@overload
def to_param(
    message_or_block: ContentBlock,
    broken_input: Literal["drop"],
    *,
    duplicate_ids: DuplicateIds = "raise",
    surrogates: Surrogates = "raise",
) -> dict[str, Any] | None: ...
def to_param(
    message_or_block: object,
    broken_input: BrokenInput = "raise",
    *,
    duplicate_ids: DuplicateIds = "raise",
    surrogates: Surrogates = "raise",
) -> dict[str, Any] | None:
    """Return a message or a block as a parameter of the next request.

    A message becomes its role and its content. Three kinds of blocks are left out of the content,
    because the API rejects them: an empty text, thinking at the end, and texts of white space if
    the content has nothing else. The content may be empty afterwards. A block that is passed alone
    is never left out for these reasons.

    Everything else is kept verbatim, including signatures and unknown members. Nested values are
    shared with the message, so treat the result as read-only.

    `broken_input` decides about three kinds of broken blocks. The first kind has a tool input that
    is not complete and valid: its `input_state` is not "complete". The second kind has `unfolded`
    deltas: the effect of such a delta is unknown. The third kind is a call of a tool of the server,
    in a message that does not have its result. Such a call is not broken if the server still waits:
    the `stop_reason` is "pause_turn", or it is "tool_use" and the message has a `tool_use`, or the
    call is the `caller` of a `tool_use` of the message.

    Args:
        message_or_block: a message or a block of any origin: a final message, the snapshot of a cut
            message, or one that was made by hand.
        broken_input: what to do with broken blocks. "raise" refuses them. "drop" leaves them out,
            and also the results of calls that it leaves out, and then thinking at the end of the
            content. For a single broken block it returns None. "wrap" sends the raw text of a
            broken input as `{"INVALID_JSON": text}`, as Anthropic's documentation advises. Answer
            such a call with a `tool_result` that has `is_error`. "wrap" refuses the other two kinds
            of broken blocks, because they have no input to wrap.
        duplicate_ids: what to do with two tool calls that have one id. "raise" refuses them, as the
            API does. "keep" sends them, for servers that accept them.
        surrogates: what to do with lone surrogates, which are halves of characters. "raise" refuses
            them, as the API does. "replace" sends U+FFFD in the place of each.

    Raises:
        ValueError: if a block is refused. The error names the block, or the path of the member, and
            the reason. Also if a policy has none of the values above, or if an input is nested too
            deeply.
        TypeError: if the argument is neither a message nor a block.
    """
    policies: ParamPolicies = {
        "broken_input": broken_input,
        "duplicate_ids": duplicate_ids,
        "surrogates": surrogates,
    }
    check_policies(policies)
    try:
        if isinstance(message_or_block, Message):
            param = message_param(message_or_block, policies)
        elif not isinstance(message_or_block, Block):
            raise TypeError(f"{type(message_or_block).__name__} is neither a message nor a block")
        elif broken_input == "drop" and unsendable_reason(message_or_block):
            return None
        else:
            param = block_param(message_or_block, policies)
        written: dict[str, Any] = with_encodable(param, surrogates)
    except RefusedError as refused:
        raise refused.error from None
    except RecursionError:
        raise ValueError("the input of a tool call is nested too deeply") from None
    return written


def message_param(message: Message, policies: ParamPolicies) -> dict[str, Any]:
    """Return a message as a parameter.

    Raises:
        RefusedError: if a block is refused.
    """
    try:
        content = content_params(message.content, policies, message.stop_reason)
    except RefusedError as refused:
        refused.below("content")
        raise
    # Some compatible servers send no role. A streamed message is always the assistant's.
    return {"role": message.role or "assistant", "content": [param for _, param in content]}


ASSUMED_REASON: Final = "pause_turn"
"""The stop reason that is assumed for a list of blocks, which has none. It refuses no call."""


def content_params(
    items: Sequence[Any], policies: ParamPolicies, stop_reason: str | None = ASSUMED_REASON
) -> list[Placed]:
    """Return the items of a list that are sent. Blocks of this library are written as parameters.

    Raises:
        RefusedError: if a block is refused. Its path begins with the index of the block.
    """
    kept = [(place, item) for place, item in enumerate(items) if not is_empty(item)]
    drops = policies.get("broken_input") == "drop"
    if drops:
        kept = [(place, item) for place, item in kept if not is_unsendable(item)]
    unanswered = unanswered_calls(kept, stop_reason)
    if drops and len(kept) - len(unanswered) < len(items):
        kept = [(place, item) for place, item in kept if place not in unanswered]
        # A result without a call may belong to the message before this one. Only if its call was
        # left out here, it is certain that the API would not find it.
        left_out = {call_id(item) for item in items} - {call_id(item) for _, item in kept} - {""}
        kept = [(place, item) for place, item in kept if answered_id(item) not in left_out]
        unanswered.clear()
    kept = trimmed(kept)
    params: list[Placed] = []
    ids: set[str] = set()
    for place, item in kept:
        try:
            param = block_param(item, policies) if isinstance(item, Block) else item
            if place in unanswered:
                raise refusal(item, "its result is missing", "broken_input")
            if policies.get("duplicate_ids") != "keep" and (name := call_id(item)) is not None:
                if name in ids:
                    raise refusal(item, "an earlier call has the same id", "duplicate_ids")
                ids.add(name)
        except RefusedError as refused:
            refused.below(place)
            raise
        params.append((place, param))
    return params


def sent_items(items: Iterable[Any]) -> list[Placed]:
    """Return the items of a list that the API does not reject for being empty or at the end."""
    return trimmed([(place, item) for place, item in enumerate(items) if not is_empty(item)])


def trimmed(items: list[Placed]) -> list[Placed]:
    """Return the items without thinking at the end; none if the rest is only white space."""
    end = len(items)
    while end and isinstance(items[end - 1][1], (ThinkingBlock, RedactedThinkingBlock)):
        end -= 1
    return [] if all(is_blank(item) for _, item in items[:end]) else items[:end]


def unanswered_calls(items: list[Placed], stop_reason: str | None) -> set[int]:
    """Return the places of the calls that the server has not answered and does not wait for.

    "If Claude calls one of your client tools at the same time, the server_tool_use block appears
    without its result, and the response ends with stop_reason: "tool_use"" (Anthropic's
    documentation of server tools). A program that the server runs may also wait for a tool that it
    has called. The `caller` of the `tool_use` then names the call of the program.
    """
    calls = [item for _, item in items if isinstance(item, ToolUseBlock)]
    if stop_reason == "pause_turn" or (stop_reason == "tool_use" and calls):
        return set()
    answered = {
        *(answered_id(item) for _, item in items),
        *((item.caller or {}).get("tool_id") for item in calls),
    }
    return {
        place
        for place, item in items
        if isinstance(item, (ServerToolUseBlock, MCPToolUseBlock)) and item.id not in answered
    }


def call_id(item: object) -> str | None:
    """Return the id of a tool call of any kind; None for everything else."""
    if isinstance(item, (ToolUseBlock, ServerToolUseBlock, MCPToolUseBlock)):
        return item.id
    return None


def answered_id(item: object) -> str:
    """Return the id of the call whose result the block is; "" if it is no result."""
    name = item.to_dict().get("tool_use_id") if isinstance(item, Block) else None
    return name if isinstance(name, str) else ""


def is_empty(item: object) -> bool:
    """Whether `item` is a text block without text and without unfolded deltas."""
    return isinstance(item, TextBlock) and not item.text and not item.unfolded


def is_blank(item: object) -> bool:
    """Whether `item` is a text block with nothing but white space."""
    return isinstance(item, TextBlock) and not item.text.strip() and not item.unfolded


def block_param(block: Block, policies: ParamPolicies) -> dict[str, Any]:
    """Return a block as a parameter.

    Raises:
        RefusedError: if the block is broken and the policies do not say how to send it.
    """
    reason = unsendable_reason(block)
    if not reason:
        return block.to_dict()
    is_wrapped = policies.get("broken_input") == "wrap"
    if is_wrapped and isinstance(block, InputBlock) and not lost_deltas(block):
        return {**block.to_dict(), "input": {"INVALID_JSON": raw_input(block)}}
    raise refusal(block, reason, "broken_input")


def refusal(block: Block, reason: str, policy: str) -> RefusedError:
    """Return the error for a block that is not sent. `policy` names what can decide otherwise."""
    written = block.to_dict()
    name = " ".join(str(written[key]) for key in ("type", "id") if written.get(key) is not None)
    return RefusedError(
        ValueError,
        f"the block '{printable(name, NAME_CHARACTERS)}' cannot be sent: {reason}"
        f" (see `{policy}` of `to_param` for alternatives)",
    )


def is_unsendable(item: object) -> bool:
    """Whether `item` is a block that cannot be sent as it is."""
    return isinstance(item, Block) and unsendable_reason(item) != ""


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
