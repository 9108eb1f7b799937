"""A loop of tool calls: the calls that may be run, and an answer of several turns as one message.

The loop itself is the caller's: it runs the tools and sends the requests.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Any, Final

import attrs

from ..copies import copy_with, evolve
from ..frozen import Value
from ..message import Message, ToolUseBlock
from ..usage import Usage
from .params import call_id, unsendable_reason

__all__ = ["ToolCall", "merge_turns", "tool_calls"]


@attrs.frozen(eq=False, repr=False)
class ToolCall(Value):
    """A call of one of the caller's tools that may be run.

    Attributes:
        id: the `tool_use_id` of its result.
        name: the name of the tool.
        input: the arguments. They are shared with the message, so treat them as read-only.
    """

    id: str
    name: str
    input: dict[str, Any]


def tool_calls(message: Message) -> tuple[ToolCall, ...]:
    """Return the calls of the caller's tools that may be run, in their order.

    A call may be run if its input is complete and valid, if it has an id and a name, if no other
    call of the message has the same id, and if no delta of it has an unknown effect. Other calls
    are left out. The message may be whole, cut, or a snapshot.
    """
    times = Counter(map(call_id, message.content))
    return tuple(
        ToolCall(block.id, block.name, block.input)
        for block in message.content
        if isinstance(block, ToolUseBlock)
        if block.id and block.name and block.input is not None
        if times[block.id] == 1 and not unsendable_reason(block)
    )


COUNTERS: Final = (
    "input_tokens",
    "output_tokens",
    "cache_creation_input_tokens",
    "cache_read_input_tokens",
)


def merge_turns(messages: Iterable[Message]) -> Message:
    """Return one message for an answer that came in several: after "pause_turn", it goes on.

    The message has all blocks in their order. Of its `usage`, the counters of input, output and
    cache tokens are the sums, because each request is billed. It is `complete` if all messages are.
    Everything else is that of the last message: `id`, `model`, `stop_reason` and the other members.

    A single message is returned as it is.

    Raises:
        ValueError: if there is no message.
    """
    turns = [*messages]
    if not turns:
        raise ValueError("there is no message to merge")
    last = turns[-1]
    if len(turns) == 1:
        return last
    usage = copy_with(last.usage, **sums([turn.usage for turn in turns]))
    content = tuple(block for turn in turns for block in turn.content)
    merged = copy_with(last, content=content, usage=usage)
    return evolve(merged, complete=all(turn.complete for turn in turns))


def sums(usages: list[Usage]) -> dict[str, int]:
    """Return the sum of each counter that at least one usage has."""
    totals: dict[str, int] = {}
    for name in COUNTERS:
        sent = [getattr(usage, name) for usage in usages if getattr(usage, name) is not None]
        if sent:
            totals[name] = sum(sent)
    return totals
