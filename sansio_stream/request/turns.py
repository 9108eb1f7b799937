"""The turns of a history: messages of any kind in, roles and blocks as they would be sent out.

Consecutive turns of one role are merged, because the API merges them, too.
"""

from typing import Any, Final

from ..codec import is_object
from ..message import Block, Message
from .body import is_list, json_of
from .characters import with_encodable
from .foreign import json_of_foreign
from .headers import is_mapping
from .params import Placed, lost_deltas, sent_items, unanswered_calls, unsendable_reason
from .paths import Path, RefusedError
from .problems import ProblemCode, Problems, listed

__all__: list[str] = []


# Not classes of attrs: to derive the two would take a millisecond of each import.


class PlacedBlock:
    """A block of a turn, as it would be sent.

    Attributes:
        path: its place.
        block: its JSON object.
        type: its type, or "" if it has none.
        id: the id of a tool call, or "".
        tool_use_id: the id of the call that a result belongs to, or "".
        caller: the `caller` of a tool call, or an empty object.
    """

    __slots__ = ("block", "caller", "id", "path", "tool_use_id", "type")

    def __init__(self, path: Path, block: dict[str, Any]) -> None:
        caller = block.get("caller")
        self.path = path
        self.block = block
        self.type = str_of(block, "type")
        self.id = str_of(block, "id")
        self.tool_use_id = str_of(block, "tool_use_id")
        self.caller: dict[str, Any] = caller if is_object(caller) else {}


class Turn:
    """All consecutive turns of one role.

    Attributes:
        role: "user", "assistant", any other role, or "" if there is none.
        path: the place of the first turn.
        blocks: the blocks of all of them.
    """

    __slots__ = ("blocks", "path", "role")

    def __init__(self, role: str, path: Path, blocks: list[PlacedBlock]) -> None:
        self.role = role
        self.path = path
        self.blocks = blocks


def str_of(members: dict[str, Any], name: str) -> str:
    """Return a member that is a str, or ""."""
    value = members.get(name)
    return value if isinstance(value, str) else ""


RESPONSE_MEMBERS: Final = frozenset(
    {
        "container",
        "context_management",
        "id",
        "model",
        "stop_details",
        "stop_reason",
        "stop_sequence",
        "type",
        "usage",
    }
)
"""The members that a message has in a response, and must not have in a request."""


def turns_of(messages: list[Any], problems: Problems) -> tuple[list[Turn], list[Turn]]:
    """Return the turns of a history, and those of other roles than user and assistant.

    The former are merged. The latter, such as the system messages of a beta, may be anywhere
    between them. What is wrong with the form of a turn is a problem.
    """
    turns: list[Turn] = []
    others: list[Turn] = []
    for place, item in enumerate(messages):
        path: Path = ("messages", place)
        known = problems.count
        try:
            role, blocks = role_and_blocks(item, path, problems)
        except RefusedError as refused:
            refuse(problems, path, refused)
            continue
        except RecursionError:
            problems.add(path, ProblemCode.NOT_JSON, "the turn is nested too deeply")
            continue
        if role not in ("user", "assistant"):
            others.append(Turn(role, path, blocks))
            continue
        if not blocks and known == problems.count:
            # "All messages must have non-empty content except for the optional final assistant
            # message" (the API's error)
            is_optional = place == len(messages) - 1 and role == "assistant"
            problems.add(path, ProblemCode.EMPTY_TURN, certain=not is_optional)
        if turns and turns[-1].role == role:
            turns[-1].blocks.extend(blocks)
        else:
            turns.append(Turn(role, path, blocks))
    return turns, others


def role_and_blocks(item: Any, path: Path, problems: Problems) -> tuple[str, list[PlacedBlock]]:
    """Return the role and the blocks of a turn.

    Raises:
        RefusedError: if `item` is no turn.
    """
    if not isinstance(item, Message) and not is_mapping(item):
        item = json_of_foreign(item)
    if isinstance(item, Message):
        return item.role or "assistant", blocks_of_message(item, path, problems)
    if not is_mapping(item):
        raise RefusedError(TypeError, "a turn must be an object with role and content")
    role = str(item.get("role") or "")
    wanted = ("role",) if role == "system" else ("role", "content")
    missing = [name for name in wanted if item.get(name) is None]
    if missing:
        sentence = f"the turn has no {' and no '.join(missing)}"
        problems.add(path, ProblemCode.MISSING_MEMBER, sentence)
    extra = sorted(RESPONSE_MEMBERS & item.keys())
    if extra:
        sentence = f"the turn has members of a response, which the API rejects: {listed(extra)}"
        problems.add(path, ProblemCode.RESPONSE_MEMBER, sentence)
    if role not in ("user", "assistant", ""):
        sentence = (
            f"the role {role[:100]!r} is neither 'user' nor 'assistant' (a beta has 'system')"
        )
        problems.add((*path, "role"), ProblemCode.UNKNOWN_ROLE, sentence)
    return role, blocks_of_content(item.get("content"), (*path, "content"), problems)


def refuse(problems: Problems, path: Path, refused: RefusedError) -> None:
    """Add the problem of a value that has no JSON form."""
    problems.add((*path, *refused.path), ProblemCode.NOT_JSON, refused.reason)


def blocks_of_content(content: Any, path: Path, problems: Problems) -> list[PlacedBlock]:
    """Return the blocks of a content: a text is one block, and a list has one for each item."""
    blocks: list[PlacedBlock] = []
    if isinstance(content, str):
        if content:
            blocks.append(PlacedBlock(path, {"type": "text", "text": content}))
    elif is_list(content):
        has_blocks = any(isinstance(item, Block) for item in content)
        kept = sent_items(content) if has_blocks else list(enumerate(content))
        blocks.extend(blocks_of_items(kept, path, problems))
    elif content is not None:
        problems.add(path, ProblemCode.NOT_JSON, "the content must be a text or a list")
    return [each for each in blocks if is_sendable(each, problems)]


def blocks_of_message(message: Message, path: Path, problems: Problems) -> list[PlacedBlock]:
    """Return the blocks that are sent of a message, and the problems that `to_param` refuses."""
    path = (*path, "content")
    kept = sent_items(message.content)
    for place in unanswered_calls(kept, message.stop_reason):
        problems.add((*path, place), ProblemCode.SERVER_CALL_WITHOUT_RESULT)
    blocks = blocks_of_items(kept, path, problems)
    return [each for each in blocks if is_sendable(each, problems)]


def blocks_of_items(items: list[Placed], path: Path, problems: Problems) -> list[PlacedBlock]:
    """Return the items of a content as blocks."""
    blocks: list[PlacedBlock] = []
    for place, item in items:
        here = (*path, place)
        if isinstance(item, Block):
            lost = lost_deltas(item)
            if lost:
                problems.add(here, ProblemCode.UNFOLDED_DELTA, unsendable_reason(item))
            elif unsendable_reason(item):
                problems.add((*here, "input"), ProblemCode.BROKEN_INPUT, unsendable_reason(item))
            item = item.to_dict()  # noqa: PLW2901
        try:
            written = json_of(item, {"broken_input": "wrap", "duplicate_ids": "keep"})
        except RefusedError as refused:
            refuse(problems, here, refused)
            continue
        if is_object(written):
            blocks.append(PlacedBlock(here, written))
        else:
            problems.add(here, ProblemCode.NOT_JSON, "a content block must be an object")
    return blocks


def is_sendable(each: PlacedBlock, problems: Problems) -> bool:
    """Whether a block has a type. A lone surrogate in it is a problem of its own."""
    try:
        with_encodable(each.block, "raise")
    except RefusedError as refused:
        problems.add((*each.path, *refused.path), ProblemCode.LONE_SURROGATE, refused.reason)
    if each.type:
        return True
    problems.add(each.path, ProblemCode.MISSING_MEMBER, "the block has no type")
    return False
