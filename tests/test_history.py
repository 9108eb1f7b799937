"""`check_messages` finds the problems for which the API would refuse a history."""

import json
from typing import Any, Final

import attrs
import pytest
from hypothesis import given, strategies as st

import vocabulary
from sansio_stream import (
    Message,
    Problem,
    ProblemCode,
    State,
    StreamMachine,
    TextBlock,
    ToolUseBlock,
    Verdict,
    build_request,
    check_messages,
    message_from_dict,
    tool_calls,
)
from sansio_stream.testing import messages as whole_messages
from shared_data import REPOSITORY, captures, ran
from test_docs import rows_of, section
from wire import block_start, delta, json_piece, message_start, run, text as text_delta, tool_start

Json = dict[str, Any]
PAGE: Final = REPOSITORY / "docs" / "requests.md"


def text(words: str, **members: Any) -> Json:
    return {"type": "text", "text": words, **members}


def call(name: str = "toolu_1", **members: Any) -> Json:
    return {"type": "tool_use", "id": name, "name": "lookup", "input": {"q": "tea"}, **members}


def result(name: str = "toolu_1", **members: Any) -> Json:
    return {"type": "tool_result", "tool_use_id": name, "content": "a drink", **members}


def search(name: str = "srvtoolu_1", **members: Any) -> Json:
    return {
        "type": "server_tool_use",
        "id": name,
        "name": "web_search",
        "input": {"query": "tea"},
        **members,
    }


def found(name: str = "srvtoolu_1") -> Json:
    return {"type": "web_search_tool_result", "tool_use_id": name, "content": []}


def by_program(name: str = "toolu_1") -> Json:
    return call(name, caller={"type": "code_execution_20260120", "tool_id": "srvtoolu_1"})


def user(*content: Any) -> Json:
    return {"role": "user", "content": [*content]}


def assistant(*content: Any) -> Json:
    return {"role": "assistant", "content": [*content]}


def message(*content: Any, stop_reason: str | None = "end_turn") -> Message:
    return message_from_dict({"content": [*content], "stop_reason": stop_reason})


def snapshot(*payloads: Json) -> Message:
    machine, _ = run([message_start(), *payloads])
    assert machine.snapshot is not None
    return machine.snapshot


THINKING: Final = {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}
CODE: Final = search(name="srvtoolu_1") | {"name": "code_execution", "input": {"code": "1"}}
RAN: Final = {
    "type": "code_execution_tool_result",
    "tool_use_id": "srvtoolu_1",
    "content": {
        "type": "code_execution_result",
        "stdout": "1",
        "stderr": "",
        "return_code": 0,
        "content": [],
    },
}
MCP: Final = {
    "type": "mcp_tool_use",
    "id": "mcptoolu_1",
    "name": "echo",
    "server_name": "s",
    "input": {},
}
ECHO: Final = {
    "type": "mcp_tool_result",
    "tool_use_id": "mcptoolu_1",
    "is_error": False,
    "content": [text("echo")],
}
DOCUMENT: Final = {
    "type": "document",
    "source": {"type": "text", "media_type": "text/plain", "data": "Tea."},
}
CITED: Final = text("Tea.", citations=[{"type": "char_location", "cited_text": "Tea."}])
COMPACTION: Final = {"type": "compaction", "content": "They spoke of tea."}
HI: Final[Json] = {"role": "user", "content": "Hi."}
HELLO: Final[Json] = {"role": "assistant", "content": "Hello."}

# Each history has exactly these certain problems: by path and code.
BAD: Final[dict[str, tuple[list[Any], dict[str, str]]]] = {
    "nothing": ([], {"messages": "no_messages"}),
    "a call without a result": (
        [HI, assistant(text("So."), call()), HI],
        {"messages.1.content.1": "call_without_result"},
    ),
    "a call at the end": ([HI, assistant(call())], {"messages.1.content.0": "call_without_result"}),
    "a call whose result comes too late": (
        [HI, assistant(call()), HI, HELLO, user(result())],
        {
            "messages.1.content.0": "call_without_result",
            "messages.4.content.0": "result_without_call",
        },
    ),
    "one of two calls without a result": (
        [HI, assistant(call(), call("toolu_2")), user(result("toolu_2"))],
        {"messages.1.content.0": "call_without_result"},
    ),
    "a result without a call": (
        [HI, HELLO, user(result())],
        {"messages.2.content.0": "result_without_call"},
    ),
    "a result at the beginning": (
        [user(result())],
        {"messages.0.content.0": "result_without_call"},
    ),
    "a result behind a text": (
        [HI, assistant(call()), user(text("Here."), result())],
        {"messages.2.content.1": "late_result"},
    ),
    "a result behind a turn of its own role": (
        [HI, assistant(call()), user(text("Here.")), user(result())],
        {"messages.3.content.0": "late_result"},
    ),
    "two results of one call": (
        [HI, assistant(call()), user(result(), result())],
        {"messages.2.content.1": "second_result"},
    ),
    "a text beside the results that a program waits for": (
        [HI, assistant(CODE, by_program()), user(result(), text("Here."))],
        {"messages.2.content.1": "content_beside_results"},
    ),
    "two calls with one id": (
        [HI, assistant(call(), call()), user(result())],
        {"messages.1.content.1.id": "duplicate_id"},
    ),
    "two calls with one id in merged turns": (
        [HI, assistant(search(), found()), assistant(search(), found(), text("So."))],
        {"messages.2.content.0.id": "duplicate_id"},
    ),
    "empty ids": (
        [HI, assistant(call("")), user(result(""), result(""))],
        {
            "messages.1.content.0.id": "empty_id",
            "messages.2.content.0.tool_use_id": "empty_id",
            "messages.2.content.1.tool_use_id": "empty_id",
        },
    ),
    "ids that are missing": (
        [HI, assistant({**search(), "id": None}, {**found(), "tool_use_id": 5}, text("So.")), HI],
        {"messages.1.content.0.id": "empty_id", "messages.1.content.1.tool_use_id": "empty_id"},
    ),
    "an empty turn": ([HI, assistant(), HI], {"messages.1": "empty_turn"}),
    "an empty turn of a text": (
        [{"role": "user", "content": ""}, HELLO, HI],
        {"messages.0": "empty_turn"},
    ),
    "an empty turn before another one of its role": ([user(), HI], {"messages.0": "empty_turn"}),
    "a message of which nothing is sent": (
        [HI, message(text(""), THINKING), HI],
        {"messages.1": "empty_turn"},
    ),
    "an empty text": ([user(text(""), text("Hi."))], {"messages.0.content.0": "empty_text"}),
    "an empty text in a result": (
        [HI, assistant(call()), user(result(content=[text("")]))],
        {"messages.2.content.0.content.0": "empty_text"},
    ),
    "white space alone": (
        [HI, assistant(text("\n\n")), HI],
        {"messages.1.content.0": "blank_text"},
    ),
    "white space alone, in merged turns": (
        [HI, {"role": "assistant", "content": " "}, assistant(text("\n")), HI],
        {"messages.1.content": "blank_text", "messages.2.content.0": "blank_text"},
    ),
    "an input that is a text": (
        [HI, assistant(call(input='{"q":')), user(result())],
        {"messages.1.content.0.input": "broken_input"},
    ),
    "an input that is missing": (
        [HI, assistant({**search(), "input": None}, found(), text("So.")), HI],
        {"messages.1.content.0.input": "broken_input"},
    ),
    "a message whose input was cut": (
        [HI, snapshot(tool_start(0), json_piece(0, '{"q')), user(result("toolu_0"))],
        {"messages.1.content.0.input": "broken_input"},
    ),
    "a message with a delta of unknown effect": (
        [HI, snapshot(block_start(0), text_delta(0, "a"), delta(0, "hologram_delta")), HI],
        {"messages.1.content.0": "unfolded_delta"},
    ),
    "a member of a delta": (
        [HI, assistant({**call(), "partial_json": ""}), user(result())],
        {"messages.1.content.0": "delta_member"},
    ),
    "a member of an event": (
        [user({**text("Hi."), "index": 0})],
        {"messages.0.content.0": "delta_member"},
    ),
    "a delta in the place of a block": (
        [HI, assistant({"type": "text_delta", "text": "Hello."}), HI],
        {"messages.1.content.0.type": "delta_member"},
    ),
    "a private member": (
        [HI, assistant({**call(), "__json_buf": "{}"}), user(result())],
        {"messages.1.content.0": "private_member"},
    ),
    "a member of this library": (
        [HI, assistant({**call(), "input_json": "{}"}), user(result())],
        {"messages.1.content.0": "private_member"},
    ),
    "a result of the server without its call": (
        [HI, assistant(found(), text("So.")), HI],
        {"messages.1.content.0": "server_result_without_call"},
    ),
    "a result of the server before its call": (
        [HI, assistant(found(), search(), text("So."))],
        {"messages.1.content.0": "server_result_without_call"},
    ),
    "a result of an MCP server without its call": (
        [HI, assistant(ECHO, text("So.")), HI],
        {"messages.1.content.0": "server_result_without_call"},
    ),
    "a call of the server's without its result": (
        [HI, assistant(text("So."), search()), HI],
        {"messages.1.content.1": "server_call_without_result"},
    ),
    "a call of an MCP server without its result": (
        [HI, assistant(MCP, text("So.")), HI],
        {"messages.1.content.0": "server_call_without_result"},
    ),
    "a message that was cut in a search": (
        [HI, message(search(), stop_reason=None)],
        {"messages.1.content.0": "server_call_without_result"},
    ),
    "a search that stopped with a call long ago": (
        [HI, assistant(search(), call()), user(result()), HELLO, HI],
        {"messages.1.content.0": "server_call_without_result"},
    ),
    "the last turn ends in thinking": (
        [HI, assistant(text("So."), THINKING)],
        {"messages.1.content.1": "ends_in_thinking"},
    ),
    "a result in an assistant turn": (
        [HI, assistant(call(), result()), HI],
        {
            "messages.1.content.0": "call_without_result",
            "messages.1.content.1": "misplaced_block",
        },
    ),
    "a call in a user turn": ([user(call())], {"messages.0.content.0": "misplaced_block"}),
    "thinking in a user turn": (
        [user(THINKING, text("Hi."))],
        {"messages.0.content.0": "misplaced_block"},
    ),
    "half of a character": (
        [HI, HELLO, user(text("Hi."), text("\ud83d"))],
        {"messages.2.content.1.text": "lone_surrogate"},
    ),
    "half of a character in an input": (
        [HI, assistant(call(input={"q": ["\udc00"]})), user(result())],
        {"messages.1.content.0.input.q.0": "lone_surrogate"},
    ),
    "members of a response": (
        [HI, {**HELLO, "id": "msg_1", "usage": {}}, HI],
        {"messages.1": "response_member"},
    ),
    "no role and no content": ([HI, {}, HI], {"messages.1": "missing_member"}),
    "an empty text of the system": (
        [{"role": "system", "content": [text("")]}, HI],
        {"messages.0.content.0": "empty_text"},
    ),
    "a turn of nobody": (
        [HI, {"content": "Hello."}, HI],
        {"messages.1": "missing_member"},
    ),
    "no type": ([user({"text": "Hi."})], {"messages.0.content.0": "missing_member"}),
    "no text": ([user({"type": "text"})], {"messages.0.content.0": "missing_member"}),
    "no name": (
        [HI, assistant(call(name_="x") | {"name": ""}), user(result())],
        {"messages.1.content.0.name": "missing_member"},
    ),
    "no turns": (["Hi.", 5], {"messages.0": "not_json", "messages.1": "not_json"}),
    "a block in the place of a turn": ([HI, TextBlock("a")], {"messages.1": "not_json"}),
    "no content that there can be": (
        [{"role": "user", "content": {"type": "text"}}],
        {"messages.0.content": "not_json"},
    ),
    "no block": ([user("Hi.")], {"messages.0.content.0": "not_json"}),
    "no JSON": (
        [user({"type": "image", "source": {"data": b"x"}}, {"type": "x", "y": float("nan")})],
        {"messages.0.content.0.source.data": "not_json", "messages.0.content.1.y": "not_json"},
    ),
}

GOOD: Final[dict[str, list[Any]]] = {
    "a question": [HI],
    "a question in blocks": [
        user(text("What is this?"), {"type": "image", "source": {}}, DOCUMENT)
    ],
    "several turns": [HI, HELLO, HI, HELLO, HI],
    "two turns of one role": [HI, HI, HELLO, HELLO, HI],
    "a call and its result": [HI, assistant(text("So."), call()), user(result())],
    "a call, its result and a text": [HI, assistant(call()), user(result(), text("And?"))],
    "parallel calls": [
        HI,
        assistant(THINKING, call(), call("toolu_2")),
        user(result("toolu_2"), result()),
    ],
    "results in two turns": [
        HI,
        assistant(call(), call("toolu_2")),
        user(result()),
        user(result("toolu_2")),
    ],
    "calls one after another": [
        HI,
        assistant(call()),
        user(result()),
        assistant(call("toolu_2")),
        user(result("toolu_2")),
        HELLO,
        HI,
    ],
    "a result without content": [HI, assistant(call()), user(result(content=[]))],
    "a call that was wrapped": [
        HI,
        assistant(call(input={"INVALID_JSON": '{"q'})),
        user(result(is_error=True)),
    ],
    "a message and its result": [HI, message(text(""), call(), THINKING), user(result())],
    "the content of a message": [
        HI,
        assistant(*message(text(""), text("So."), THINKING).content),
        HI,
    ],
    "a search": [HI, assistant(search(), found(), CITED), HI],
    "a paused turn": [HI, message(text("So."), search(), stop_reason="pause_turn")],
    "a paused turn that went on": [
        HI,
        message(text("So."), search(), stop_reason="pause_turn"),
        message(found(), text("Tea.")),
        HI,
    ],
    "a paused turn as a dict": [HI, assistant(text("So."), search())],
    "a search beside a call": [
        HI,
        message(search(), call(), stop_reason="tool_use"),
        user(result()),
    ],
    "a search beside a call, which was answered": [
        HI,
        message(search(), call(), stop_reason="tool_use"),
        user(result()),
        assistant(found(), text("Tea.")),
        HI,
    ],
    "a program that waits for a call": [HI, assistant(CODE, by_program()), user(result())],
    "a program that has called twice": [
        HI,
        message(CODE, by_program(), stop_reason="tool_use"),
        user(result()),
        message(by_program("toolu_2"), stop_reason="tool_use"),
        user(result("toolu_2")),
    ],
    "a program that has ended": [
        HI,
        assistant(CODE, by_program()),
        user(result()),
        assistant(RAN, text("One.")),
        HI,
    ],
    "a seam of a fallback": [
        HI,
        assistant(
            text("I"),
            {"type": "fallback", "from": {"model": "a"}, "to": {"model": "b"}},
            text("Tea."),
        ),
        HI,
    ],
    "a compaction": [assistant(COMPACTION, text("So.")), HI],
    "a compaction that failed": [HI, assistant({**COMPACTION, "content": None}, text("So.")), HI],
    "an MCP server": [
        HI,
        assistant({"type": "mcp_tool_listing", "mcp_server_name": "s", "tools": []}, MCP, ECHO),
        HI,
    ],
    "white space between cited texts": [HI, assistant(CITED, text(" "), CITED), HI],
    "thinking that is redacted": [
        HI,
        assistant({"type": "redacted_thinking", "data": "x"}, text("So.")),
        HI,
    ],
    "a last turn that is empty": [HI, assistant()],
    "a prefill": [HI, {"role": "assistant", "content": "Tea is"}],
    "an unknown block": [HI, assistant({"type": "hologram", "index": 1}, text("So.")), HI],
    "a document of the assistant": [HI, assistant(DOCUMENT, text("So.")), HI],
    "citations of the user": [user(CITED)],
    "system messages of a beta": [
        HI,
        assistant(call()),
        {"role": "system", "content": "Be brief."},
        user(result()),
        {"role": "system", "output_config": {"effort": "low"}},
    ],
    "a system message without content": [
        {"role": "system", "content": [], "output_config": {}},
        HI,
    ],
    "text with an emoji": [{"role": "user", "content": "\U0001f600"}],
}


def certain(problems: tuple[Problem, ...]) -> dict[str, str]:
    """Return the code of each certain problem by its path. No path may have two."""
    found = [problem for problem in problems if problem.certain]
    codes = {problem.path: str(problem.code) for problem in found}
    assert len(codes) == len(found), found
    return codes


@pytest.mark.parametrize("name", BAD)
def test_a_problem_is_found_at_its_place(name: str) -> None:
    history, expected = BAD[name]
    assert certain(check_messages(history)) == expected


@pytest.mark.parametrize("name", GOOD)
def test_a_good_history_has_no_certain_problem(name: str) -> None:
    assert certain(check_messages(GOOD[name])) == {}


@pytest.mark.parametrize("name", GOOD)
def test_a_good_history_can_be_built(name: str) -> None:
    if name != "a last turn that is empty":
        build_request({"messages": GOOD[name]})


def test_there_are_enough_histories() -> None:
    assert len(BAD) >= 25
    assert len(GOOD) >= 25


def test_a_history_is_not_modified() -> None:
    history = [HI, assistant(call(input="{"), text("")), user(result())]
    before = json.dumps(history)
    check_messages(history)
    assert json.dumps(history) == before


# Problems that are not certain.


@pytest.mark.parametrize(
    ("history", "expected"),
    [
        (
            [HI, assistant(text(" "), call()), user(result())],
            {"messages.1.content.0": "blank_text_beside_others"},
        ),
        (
            [HI, assistant({**THINKING, "signature": ""}, text("So.")), HI],
            {"messages.1.content.0": "missing_signature"},
        ),
        ([HI, HELLO], {"messages.1": "prefill"}),
        ([HI, assistant({"type": "hologram"}), HI], {"messages.1.content.0.type": "unknown_block"}),
        (
            [HI, assistant({"type": "hologram", "tool_use_id": "x"}), HI],
            {
                "messages.1.content.0.type": "unknown_block",
                "messages.1.content.0": "server_result_without_call",
            },
        ),
        ([{"role": "system", "content": "Be brief."}, HI], {"messages.0.role": "unknown_role"}),
        ([HI, assistant(THINKING), HI], {"messages.1.content.0": "ends_in_thinking"}),
        (
            [HI, assistant(call("functions.lookup:0")), user(result("functions.lookup:0"))],
            {"messages.1.content.0.id": "invalid_id"},
        ),
        (
            [HI, assistant(call()), user(result()), assistant(call()), user(result())],
            {"messages.3.content.0.id": "duplicate_id"},
        ),
        ([HI, assistant(CODE, by_program()), HI], {"messages.1.content.1": "call_without_result"}),
        ([HI, assistant()], {"messages.1": "empty_turn"}),
    ],
)
def test_a_problem_on_which_servers_differ_is_not_certain(
    history: list[Any], expected: dict[str, str]
) -> None:
    problems = check_messages(history)
    unsure = [(problem.path, problem.code) for problem in problems if not problem.certain]
    assert sorted(unsure) == sorted(expected.items())


# The version of the API, and tools.


def test_the_rules_of_the_api_version_are_checked() -> None:
    history = [user(CITED, DOCUMENT), assistant(DOCUMENT, CITED), HI]
    for version in ("2026-10-21", "2027-01-01"):
        assert certain(check_messages(history, api_version=version)) == {
            "messages.0.content.0.citations": "citations_of_user",
            "messages.1.content.0": "document_of_assistant",
        }
    assert check_messages(history) == ()
    assert check_messages(history, api_version="bedrock-2023-05-31") == ()
    assert check_messages([user(text("Hi.", citations=[]))], api_version="2026-10-21") == ()


def test_the_names_of_given_tools_are_checked() -> None:
    reference = {"type": "tool_reference", "tool_name": "brew"}
    found_tools = {"type": "tool_search_tool_search_result", "tool_references": [reference]}
    history = [
        HI,
        assistant(search(), {**found(), "type": "tool_search_tool_result", "content": found_tools}),
        user(text("Hi.")),
        assistant(call()),
        user(result(content=["no block", reference])),
    ]
    tool = {"name": "lookup", "input_schema": {}}
    assert check_messages(history) == ()
    assert check_messages(history, tools=[tool, {**tool, "name": "brew"}]) == ()
    problems = check_messages(history, tools=[tool, tool, {"x": b"x"}, {}, {}])
    assert [(each.path, each.code, each.certain) for each in problems] == [
        ("messages.1.content.1", "missing_tool", False),
        ("messages.4.content.0", "missing_tool", False),
        ("tools.1.name", "duplicate_tool", True),
        ("tools.2.x", "not_json", True),
    ]


# Objects of other libraries, and values that are no turns.


class Model:
    """A stand-in for a pydantic model."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def model_dump(self, **_: Any) -> Any:
        return self.value


def test_models_are_checked_by_their_json() -> None:
    history = [Model(HI), Model(assistant(call())), user(Model(text("Here.")), Model(result()))]
    assert certain(check_messages(history)) == {"messages.2.content.1": "late_result"}
    assert check_messages([HI], tools=[Model({"name": "a"})]) == ()
    assert certain(check_messages([Model(5)])) == {"messages.0": "not_json"}


def test_a_value_that_is_nested_too_deeply_is_a_problem() -> None:
    deep: Any = "x"
    for _ in range(20_000):
        deep = [deep]
    history = [user({"type": "x", "y": deep}), assistant(ToolUseBlock("a", "b", {"q": deep}))]
    assert certain(check_messages(history, tools=[{"x": deep}])) == {
        "messages.0": "not_json",
        "messages.1": "not_json",
        "tools.0": "not_json",
    }


def test_messages_that_cannot_be_iterated_raise_type_error() -> None:
    wrong: Any = None
    with pytest.raises(TypeError):
        check_messages(wrong)


KINDS: Final = st.sampled_from(
    [
        *("text", "tool_use", "tool_result", "server_tool_use", "web_search_tool_result"),
        *("thinking", "document", "text_delta", "hologram", "", None, 5),
    ]
)
MEMBERS: Final = st.sampled_from(
    ["id", "tool_use_id", "input", "content", "text", "caller", "name", "_x", "index", "citations"]
)
VALUES: Final = vocabulary.JSON | st.sampled_from(["a", "b", {"tool_id": "a"}, b"x", "\ud800"])
BLOCKS: Final = VALUES | st.builds(
    lambda kind, members: {"type": kind, **members}, KINDS, st.dictionaries(MEMBERS, VALUES)
)
TURNS: Final = VALUES | st.builds(
    lambda role, content, more: {"role": role, "content": content, **more},
    st.sampled_from(["user", "assistant", "system", "", None, 5]),
    st.lists(BLOCKS, max_size=4) | VALUES,
    st.dictionaries(st.sampled_from(["id", "usage", 1, None, ("a",), 1.5]), VALUES, max_size=1),
)


@given(st.lists(TURNS, max_size=4), st.lists(VALUES, max_size=2), st.booleans())
def test_no_value_in_a_history_raises(turns: list[Any], tools: list[Any], is_new: bool) -> None:
    version = "2026-10-21" if is_new else "2023-06-01"
    problems = check_messages(turns, tools=tools, api_version=version)
    assert len({(problem.path, problem.code) for problem in problems}) == len(problems)
    for problem in problems:
        assert problem.path.partition(".")[0] in ("messages", "tools")
        assert problem.sentence.isprintable()


# Problems.


def test_a_problem_has_a_path_a_code_and_a_sentence() -> None:
    (problem,) = check_messages([HI, HELLO, user(result("toolu_9"))])
    assert problem == Problem(
        "messages.2.content.0",
        ProblemCode.RESULT_WITHOUT_CALL,
        "no tool_use of the assistant turn before has the id 'toolu_9'",
        certain=True,
    )
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        problem.path = ""  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


def test_every_code_equals_its_name_and_has_a_meaning() -> None:
    for code in ProblemCode:
        assert code == code.value == code.name.lower() == str(code)
        assert code.meaning
        assert not code.meaning[0].isupper() or code.meaning.startswith("JSON")
        assert not code.meaning.endswith(".")


def test_the_page_lists_every_code() -> None:
    rows = rows_of(section(PAGE, "## Checking a history before it is sent"))
    assert rows == [
        [f"`{code}`", code.meaning, "yes" if code.is_certain else "no"] for code in ProblemCode
    ]


def test_problems_are_in_the_order_of_their_places() -> None:
    history = [*[user(text(""))] * 11, {"role": "user", "content": [text("a"), *[text("")] * 11]}]
    paths = [problem.path for problem in check_messages(history)]
    assert paths == [
        *(f"messages.{place}.content.0" for place in range(11)),
        *(f"messages.11.content.{place}" for place in range(1, 12)),
    ]


def test_a_history_of_8000_turns_has_no_certain_problem() -> None:
    history = [HI, assistant(call()), user(result()), HELLO] * 2_000
    unsure = [problem for problem in check_messages(history) if problem.certain]
    assert unsure == []


# Messages of the strategies.


@given(whole_messages(), st.sampled_from(["raise", "drop"]))
def test_a_request_with_a_complete_message_and_its_results_has_no_certain_problem(
    message: Message, broken_input: Any
) -> None:
    """Unless `to_param` refuses the message with a reason."""
    calls = [block for block in message.content if isinstance(block, ToolUseBlock)]
    answer = user(*(result(str(block.id)) for block in calls)) if calls else HI
    history = [HI, *pause_before(message), message]
    if message.stop_reason != "pause_turn":
        history.append(answer)
    try:
        body = build_request({"messages": history}, broken_input=broken_input).body
    except ValueError as error:
        reasons = ("its result is missing", "the turn has no content")
        assert any(reason in str(error) for reason in reasons)
        return
    assert certain(check_messages(json.loads(body)["messages"])) == {}
    if broken_input == "raise":
        assert certain(check_messages(history)) == {}


def test_the_messages_of_the_recordings_can_be_sent_back_or_are_refused() -> None:
    """A message whose blocks are all known to be accepted has no certain problem."""
    for capture in captures(".sse"):
        machine = StreamMachine()
        for _ in machine.receive_data(capture.body):
            if machine.state is State.DONE:
                break
        if machine.verdict is not Verdict.COMPLETE:
            continue
        message = machine.final_message()
        history = [HI, *pause_before(message), message]
        results = [result(each.id) for each in tool_calls(message)]
        if message.stop_reason != "pause_turn":
            history.append(user(*results) if results else HI)
        try:
            build_request({"messages": history})
        except ValueError:
            assert certain(check_messages(history)), capture
        else:
            assert certain(check_messages(history)) == {}, capture
        ran("captures/*.sse")


def pause_before(message: Message) -> list[Json]:
    """Return a paused turn with the calls whose results are in the message without a call."""
    called: set[Any] = set()
    missing: dict[str, None] = {}
    for block in message.content:
        written = block.to_dict()
        called.add(written.get("id"))
        name = written.get("tool_use_id")
        if name is not None and name not in called:
            missing[name] = None
    return [assistant(*(search(name) for name in missing))] if missing else []
