"""The problems of a history: what `check_messages` can find, and how sure it is."""

import enum
from collections.abc import Iterable
from typing import Self

import attrs

from ..frozen import HashableValue
from .paths import Path, named

__all__ = ["Problem", "ProblemCode"]


class ProblemCode(enum.StrEnum):
    """The kinds of problems. Each member is a stable name and a `str`.

    Attributes:
        meaning: what is wrong.
        is_certain: whether the API refuses every history with such a problem. Some problems are
            certain only in some places, so `Problem.certain` is what counts.
    """

    meaning: str
    is_certain: bool

    def __new__(cls, value: str, meaning: str, is_certain: bool = True) -> Self:
        """Create a member that equals its name and has the two attributes."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        member.is_certain = is_certain
        return member

    # The form of a history.
    NO_MESSAGES = "no_messages", "there is no turn"
    NOT_JSON = "not_json", "a value has no JSON form, or does not belong in its place"
    MISSING_MEMBER = "missing_member", "a turn or a block lacks a member that it must have"
    RESPONSE_MEMBER = "response_member", "a turn has a member that only a response has"
    DELTA_MEMBER = "delta_member", "a block has a member or a type that only a delta has"
    PRIVATE_MEMBER = "private_member", "a block has a member that a library keeps for itself"
    LONE_SURROGATE = "lone_surrogate", "a text has half of a character (a lone surrogate)"
    UNKNOWN_ROLE = "unknown_role", "a role is neither user nor assistant", False
    UNKNOWN_BLOCK = "unknown_block", "a block has a type that this library does not know", False
    MISPLACED_BLOCK = "misplaced_block", "a block must not be in a turn of this role"
    # Texts.
    EMPTY_TURN = "empty_turn", "a turn has no content"
    EMPTY_TEXT = "empty_text", "a text block is empty"
    BLANK_TEXT = "blank_text", "a text of white space is all that there is"
    BLANK_TEXT_BESIDE_OTHERS = (
        "blank_text_beside_others",
        "a text of white space is beside other content",
        False,
    )
    CITATIONS_OF_USER = (
        "citations_of_user",
        "a text in a user turn has citations, which the API version does not allow",
    )
    DOCUMENT_OF_ASSISTANT = (
        "document_of_assistant",
        "a document is in an assistant turn, which the API version does not allow",
    )
    # Calls of the caller's tools.
    CALL_WITHOUT_RESULT = (
        "call_without_result",
        "a tool_use has no tool_result in the next user turn",
    )
    RESULT_WITHOUT_CALL = (
        "result_without_call",
        "a tool_result has no tool_use in the assistant turn before",
    )
    LATE_RESULT = "late_result", "a tool_result comes after other content of its turn"
    SECOND_RESULT = "second_result", "a tool_use has two results"
    CONTENT_BESIDE_RESULTS = (
        "content_beside_results",
        "a program of the server waits for results, and their turn has other content, too",
    )
    DUPLICATE_ID = "duplicate_id", "two tool calls have the same id"
    EMPTY_ID = "empty_id", "a tool call or a result has no id"
    INVALID_ID = "invalid_id", "an id has characters that the API does not allow", False
    BROKEN_INPUT = "broken_input", "the input of a tool call is broken, unfinished or not an object"
    UNFOLDED_DELTA = "unfolded_delta", "the effect of a delta of the block is unknown"
    # Calls of the server's tools.
    SERVER_CALL_WITHOUT_RESULT = (
        "server_call_without_result",
        "a call of a tool of the server has no result, and the server does not wait for it",
    )
    SERVER_RESULT_WITHOUT_CALL = (
        "server_result_without_call",
        "a result of a tool of the server has no call before it",
    )
    # Thinking, and the end of a history.
    MISSING_SIGNATURE = "missing_signature", "a thinking block has no signature", False
    ENDS_IN_THINKING = "ends_in_thinking", "an assistant turn ends in thinking"
    PREFILL = (
        "prefill",
        "the last turn is the assistant's: many models refuse to continue it",
        False,
    )
    # Tools.
    DUPLICATE_TOOL = "duplicate_tool", "two tools have the same name"
    MISSING_TOOL = "missing_tool", "a tool that a block refers to is not among the tools", False


@attrs.frozen(eq=False, repr=False)
class Problem(HashableValue):
    """One problem of a history.

    Attributes:
        path: the place, as the API writes it in its errors, for example "messages.1.content.0".
        code: the kind of the problem.
        sentence: what is wrong there.
        certain: whether the API refuses the history for it. If not, servers and models differ.
    """

    path: str
    code: ProblemCode
    sentence: str
    certain: bool


class Problems:
    """The problems that were found so far. Each kind is kept once for each place."""

    def __init__(self) -> None:
        self._found: dict[tuple[Path, ProblemCode], Problem] = {}

    def add(
        self, path: Path, code: ProblemCode, sentence: str = "", *, certain: bool | None = None
    ) -> None:
        """Add a problem. Its sentence is the meaning of the code unless another one is given."""
        is_certain = code.is_certain if certain is None else certain
        problem = Problem(named(path), code, sentence or code.meaning, is_certain)
        self._found.setdefault((path, code), problem)

    @property
    def count(self) -> int:
        """The number of problems so far."""
        return len(self._found)

    def in_order(self) -> tuple[Problem, ...]:
        """Return the problems in the order of their places."""
        return tuple(self._found[key] for key in sorted(self._found, key=place_of))


def place_of(key: tuple[Path, ProblemCode]) -> list[tuple[bool, int, str]]:
    """Return a sort key: indexes in their order, before the names of members."""
    return [(False, step, "") if isinstance(step, int) else (True, 0, str(step)) for step in key[0]]


def listed(names: Iterable[str]) -> str:
    """Return names for a sentence: "'a', 'b'"."""
    return ", ".join(map(repr, names))
