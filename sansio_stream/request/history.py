"""Histories: all messages of a request in, what the API would refuse out. Nothing is repaired.

The rules are those of the API's documentation, and of the errors that people have reported. A
history without a problem may still be refused for another reason.

Cost: one pass over the messages, and a few over their blocks.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final, get_args

from ..codec import is_array, is_object
from ..deltas import ContentBlockDelta
from ..message import ContentBlock
from .body import json_of
from .paths import Path, RefusedError
from .problems import Problem, ProblemCode, Problems, listed
from .turns import PlacedBlock, Turn, refuse, str_of, turns_of

__all__ = ["check_messages"]

SERVER_CALLS: Final = frozenset({"server_tool_use", "mcp_tool_use"})
CALLS: Final = SERVER_CALLS | {"tool_use"}
THINKING: Final = frozenset({"thinking", "redacted_thinking"})

KNOWN_TYPES: Final = frozenset(
    {
        *(cls.type for cls in get_args(ContentBlock)),
        # Blocks that only the caller writes.
        *("document", "image", "search_result", "tool_addition", "tool_reference"),
        *("tool_removal", "tool_result"),
    }
) - {"unknown"}

ONLY_OF_USER: Final = frozenset({"tool_result"})
ONLY_OF_ASSISTANT: Final = CALLS | THINKING

DELTA_TYPES: Final = frozenset(cls.type for cls in get_args(ContentBlockDelta)) - {"unknown"}
DELTA_MEMBERS: Final = frozenset({"delta", "estimated_tokens", "index", "partial_json"})
OWN_MEMBERS: Final = frozenset(
    {"input_error", "input_json", "input_state", "partial_input", "unfolded"}
)
"""The attributes of this library's blocks that are not on the wire."""

TOOL_ID: Final = "[a-zA-Z0-9_-]+"

NEW_RULES: Final = "2026-10-21"
"""The first version of the API that refuses documents of the assistant and citations of the user.
Versions end in a date, as "bedrock-2023-05-31" does, so their ends can be compared as texts.
"""


def check_messages(
    messages: Iterable[Any], *, tools: Iterable[Any] = (), api_version: str = "2023-06-01"
) -> tuple[Problem, ...]:
    """Return the problems for which the API would refuse a history, in the order of their places.

    Consecutive turns of one role count as one turn. A message of this library is judged as it would
    be sent: without the blocks that `to_param` leaves out. Its broken blocks are problems.

    Args:
        messages: the turns: JSON objects, messages of this library, objects of the official SDK and
            pydantic models. They are not modified.
        tools: the tools of the request, if their names are to be checked, too.
        api_version: the header `anthropic-version` of the request.

    Returns:
        The problems. `Problem.certain` says whether the API refuses the history for it. If it is
        False, servers and models differ.

    Raises:
        TypeError: if `messages` or `tools` cannot be iterated. No value inside of them raises.
    """
    problems = Problems()
    messages = [*messages]
    if not messages:
        problems.add(("messages",), ProblemCode.NO_MESSAGES)
    turns, others = turns_of(messages, problems)
    for turn in [*turns, *others]:
        check_texts(turn, problems)
        for each in turn.blocks:
            check_block(each, turn.role, problems)
            if api_version[-len(NEW_RULES) :] >= NEW_RULES:
                check_new_rules(each, turn.role, problems)
    check_ids(turns, problems)
    check_results(turns, problems)
    check_server_calls(turns, problems)
    check_end(turns, problems)
    check_tools([*tools], turns, problems)
    return problems.in_order()


# A single turn.


def check_texts(turn: Turn, problems: Problems) -> None:
    """Check that the content is more than white space."""
    blank: list[tuple[Path, str]] = []
    for each in turn.blocks:
        text = each.block.get("text") if each.type == "text" else None
        if isinstance(text, str) and not text.strip():
            blank.append((each.path, text))
    is_all = len(blank) == len(turn.blocks)
    code = ProblemCode.BLANK_TEXT if is_all else ProblemCode.BLANK_TEXT_BESIDE_OTHERS
    for path, text in blank:
        problems.add(path, code if text else ProblemCode.EMPTY_TEXT)


def check_block(each: PlacedBlock, role: str, problems: Problems) -> None:
    """Check one block, apart from what it has to do with others."""
    block, type = each.block, each.type
    if type in DELTA_TYPES:
        sentence = f"{type!r} is the type of a delta, not of a block"
        problems.add((*each.path, "type"), ProblemCode.DELTA_MEMBER, sentence)
        return
    if role == "user" and type in ONLY_OF_ASSISTANT:
        sentence = f"a {type} must not be in a user turn"
        problems.add(each.path, ProblemCode.MISPLACED_BLOCK, sentence)
    if role == "assistant" and type in ONLY_OF_USER:
        sentence = f"a {type} must not be in an assistant turn"
        problems.add(each.path, ProblemCode.MISPLACED_BLOCK, sentence)
    private = [name for name in block if name.startswith("_") or name in OWN_MEMBERS]
    if private:
        sentence = f"the block has members that a library keeps for itself: {listed(private)}"
        problems.add(each.path, ProblemCode.PRIVATE_MEMBER, sentence)
    if type not in KNOWN_TYPES:
        sentence = f"this library does not know the type {type[:100]!r}"
        problems.add((*each.path, "type"), ProblemCode.UNKNOWN_BLOCK, sentence)
        return
    of_delta = sorted(DELTA_MEMBERS & block.keys())
    if of_delta:
        sentence = f"the block has members that only a delta has: {listed(of_delta)}"
        problems.add(each.path, ProblemCode.DELTA_MEMBER, sentence)
    if type == "text" and not isinstance(block.get("text"), str):
        problems.add(each.path, ProblemCode.MISSING_MEMBER, "the block has no text")
    if type == "thinking" and not block.get("signature"):
        problems.add(each.path, ProblemCode.MISSING_SIGNATURE)
    if type in CALLS:
        check_call(each, problems)
    elif type.endswith("tool_result") and not each.tool_use_id:
        problems.add((*each.path, "tool_use_id"), ProblemCode.EMPTY_ID, "the result has no id")
    if type == "tool_result":
        for place, inner in objects_in(block.get("content")):
            if inner.get("type") == "text" and not inner.get("text"):
                problems.add((*each.path, "content", place), ProblemCode.EMPTY_TEXT)


def check_call(each: PlacedBlock, problems: Problems) -> None:
    """Check the id, the name and the input of a tool call."""
    if not each.id:
        problems.add((*each.path, "id"), ProblemCode.EMPTY_ID, "the call has no id")
    elif not re.fullmatch(TOOL_ID, each.id):
        problems.add((*each.path, "id"), ProblemCode.INVALID_ID)
    if not str_of(each.block, "name"):
        problems.add((*each.path, "name"), ProblemCode.MISSING_MEMBER, "the call has no name")
    given = each.block.get("input")
    if not is_object(given):
        kind = "missing" if given is None else f"not an object but {type(given).__name__}"
        problems.add((*each.path, "input"), ProblemCode.BROKEN_INPUT, f"the input is {kind}")


def check_new_rules(each: PlacedBlock, role: str, problems: Problems) -> None:
    """Check what versions of the API from 2026-10-21 on refuse."""
    if role == "assistant" and each.type == "document":
        problems.add(each.path, ProblemCode.DOCUMENT_OF_ASSISTANT)
    if role == "user" and each.type == "text" and each.block.get("citations"):
        problems.add((*each.path, "citations"), ProblemCode.CITATIONS_OF_USER)


# Calls and results.


def check_ids(turns: list[Turn], problems: Problems) -> None:
    """Check that no two calls have the same id. It is certain within one turn only."""
    places: dict[str, int] = {}
    for place, turn in enumerate(turns):
        for each in turn.blocks:
            if each.type not in CALLS or not each.id:
                continue
            if each.id in places:
                sentence = f"another call has the id {each.id[:100]!r}, too"
                is_certain = places[each.id] == place
                path = (*each.path, "id")
                problems.add(path, ProblemCode.DUPLICATE_ID, sentence, certain=is_certain)
            places[each.id] = place


def check_results(turns: list[Turn], problems: Problems) -> None:
    """Check the calls of the caller's tools, and their results in the next user turn."""
    nobody = Turn("", (), [])
    for before, turn, after in zip([nobody, *turns], turns, [*turns[1:], nobody], strict=False):
        if turn.role == "assistant":
            answered = {each.tool_use_id for each in results_in(after)}
            for each in turn.blocks:
                if each.type == "tool_use" and each.id and each.id not in answered:
                    check_unanswered(each, problems)
        calls = {each.id: each for each in before.blocks if each.type == "tool_use"}
        if turn.role == "user":
            check_user_turn(turn, calls if before.role == "assistant" else {}, problems)


def check_unanswered(call: PlacedBlock, problems: Problems) -> None:
    """Add the problem of a call without a result.

    It is not certain for a call that a program of the server has made, because the program may
    still wait for it.
    """
    sentence = f"the tool_use {call.id[:100]!r} has no tool_result in the next user turn"
    is_certain = not is_of_program(call)
    problems.add(call.path, ProblemCode.CALL_WITHOUT_RESULT, sentence, certain=is_certain)


def check_user_turn(turn: Turn, calls: dict[str, PlacedBlock], problems: Problems) -> None:
    """Check the results of a user turn. `calls` are those of the assistant turn before, by id."""
    seen: set[str] = set()
    others: list[PlacedBlock] = []
    waits = False
    for each in turn.blocks:
        if each.type != "tool_result":
            others.append(each)
            continue
        name = each.tool_use_id
        if others:
            problems.add(each.path, ProblemCode.LATE_RESULT)
        if not name:
            continue  # the block itself is a problem
        if name not in calls:
            sentence = f"no tool_use of the assistant turn before has the id {name[:100]!r}"
            problems.add(each.path, ProblemCode.RESULT_WITHOUT_CALL, sentence)
        elif name in seen:
            problems.add(each.path, ProblemCode.SECOND_RESULT)
        else:
            waits = waits or is_of_program(calls[name])
        seen.add(name)
    if waits and others:
        problems.add(others[0].path, ProblemCode.CONTENT_BESIDE_RESULTS)


def is_of_program(call: PlacedBlock) -> bool:
    """Whether a program that the server runs has made a call."""
    return str_of(call.caller, "type").startswith("code_execution")


def results_in(turn: Turn) -> list[PlacedBlock]:
    """Return the results of the caller's tools in a user turn."""
    is_user = turn.role == "user"
    return [each for each in turn.blocks if is_user and each.type == "tool_result"]


def check_server_calls(turns: list[Turn], problems: Problems) -> None:
    """Check the calls of the server's tools, and their results anywhere behind them."""
    seen: set[str] = set()
    # The turn of each call that has no result yet, or the last turn in which a program has called
    # a tool and waits for it.
    waiting: dict[str, tuple[int, PlacedBlock]] = {}
    for place, turn in enumerate(turns):
        for each in turn.blocks:
            if each.type in SERVER_CALLS:
                seen.add(each.id)
                waiting[each.id] = place, each
            elif each.type == "tool_use" and (program := str_of(each.caller, "tool_id")) in waiting:
                waiting[program] = place, waiting[program][1]
            elif each.tool_use_id and each.type != "tool_result":
                waiting.pop(each.tool_use_id, None)
                if each.tool_use_id not in seen:
                    sentence = f"no call before has the id {each.tool_use_id[:100]!r}"
                    code = ProblemCode.SERVER_RESULT_WITHOUT_CALL
                    is_certain = each.type in KNOWN_TYPES
                    problems.add(each.path, code, sentence, certain=is_certain)
    for place, call in waiting.values():
        # The server goes on with the last turn. If the caller's tools were called in it, too, the
        # server goes on after their results.
        is_last = place == len(turns) - 1
        has_results = place == len(turns) - 2 and results_in(turns[-1]) != []
        if call.id and not is_last and not has_results:
            sentence = (
                f"the call {call.id[:100]!r} has no result, and the server does not wait for it"
            )
            problems.add(call.path, ProblemCode.SERVER_CALL_WITHOUT_RESULT, sentence)


# The end of a history, and the tools.


def check_end(turns: list[Turn], problems: Problems) -> None:
    """Check how the assistant turns end, and whether the last turn is one of them."""
    for turn in turns:
        if turn.role == "assistant" and turn.blocks and turn.blocks[-1].type in THINKING:
            is_certain = turn is turns[-1]
            path = turn.blocks[-1].path
            problems.add(path, ProblemCode.ENDS_IN_THINKING, certain=is_certain)
    last = turns[-1] if turns else None
    if last is None or last.role != "assistant" or not last.blocks:
        return
    # A turn with a call of a tool of the server may be paused. It is sent back to be continued.
    if not any(each.type in SERVER_CALLS or each.tool_use_id for each in last.blocks):
        problems.add(last.path, ProblemCode.PREFILL)


def check_tools(tools: list[Any], turns: list[Turn], problems: Problems) -> None:
    """Check the names of the tools, and that the tools which blocks refer to are among them."""
    names: set[str] = set()
    for place, tool in enumerate(tools):
        try:
            written = json_of(tool, {})
        except RefusedError as refused:
            refuse(problems, ("tools", place), refused)
            continue
        except RecursionError:
            problems.add(("tools", place), ProblemCode.NOT_JSON, "it is nested too deeply")
            continue
        name = str_of(written, "name") if is_object(written) else ""
        if name in names and name:
            sentence = f"another tool has the name {name[:100]!r}, too"
            problems.add(("tools", place, "name"), ProblemCode.DUPLICATE_TOOL, sentence)
        names.add(name)
    for turn in turns if tools else ():
        for each in turn.blocks:
            content = each.block.get("content")
            inside = content.get("tool_references") if is_object(content) else content
            for _, item in objects_in(inside):
                name = str_of(item, "tool_name")
                if item.get("type") == "tool_reference" and name not in names:
                    sentence = f"the tool {name[:100]!r} is not among the tools"
                    problems.add(each.path, ProblemCode.MISSING_TOOL, sentence)


def objects_in(value: Any) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the JSON objects of a list, with their places. Yield nothing for any other value."""
    for place, item in enumerate(value if is_array(value) else ()):
        if is_object(item):
            yield place, item
