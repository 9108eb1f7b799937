"""The policies of `to_param` and `build_request` for messages that the API refuses."""

import enum
import json
import types
from pathlib import Path
from typing import Any, Final
from unittest import mock

import pytest
from hypothesis import given, strategies as st

import vocabulary
from sansio_stream import (
    NOT_GIVEN,
    Message,
    TextBlock,
    ThinkingBlock,
    ToolUseBlock,
    build_request,
    message_from_dict,
    to_param,
)
from sansio_stream.request import body as request_body
from sansio_stream.testing import messages
from wire import block_start, block_stop, json_piece, message_delta, message_start, run

CALL: Final = {"type": "tool_use", "id": "toolu_1", "name": "lookup", "input": {"q": "tea"}}
SEARCH: Final = {
    "type": "server_tool_use",
    "id": "srvtoolu_1",
    "name": "web_search",
    "input": {"query": "tea"},
}
FOUND: Final = {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []}
MCP: Final = {
    "type": "mcp_tool_use",
    "id": "mcptoolu_1",
    "name": "echo",
    "server_name": "s",
    "input": {},
}
THINKING: Final = {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def message(*content: dict[str, Any], stop_reason: str | None = "end_turn") -> Message:
    return message_from_dict({"content": [*content], "stop_reason": stop_reason})


def content_of(
    *content: dict[str, Any], stop_reason: str | None = "end_turn", **policies: Any
) -> Any:
    """Return the content that is sent. It is the same for `to_param` and `build_request`."""
    param = to_param(message(*content, stop_reason=stop_reason), **policies)
    if param["content"]:
        params = {"messages": [message(*content, stop_reason=stop_reason)]}
        assert json.loads(build_request(params, **policies).body)["messages"] == [param]
    return param["content"]


# Server tool calls without a result.


@pytest.mark.parametrize("call", [SEARCH, MCP])
@pytest.mark.parametrize("stop_reason", ["end_turn", "max_tokens", "refusal", "tool_use", None])
def test_a_server_tool_call_without_its_result_is_refused_or_dropped(
    call: dict[str, Any], stop_reason: str | None
) -> None:
    cut = message(THINKING, text("Let me see."), call, stop_reason=stop_reason)
    for policy in ("raise", "wrap"):
        with pytest.raises(ValueError, match=r"^content\.2: .*its result is missing"):
            to_param(cut, policy)
    with pytest.raises(ValueError, match=r"^messages\.0\.content\.2: the block '.*toolu_1' cannot"):
        build_request({"messages": [cut]})
    kept = content_of(
        THINKING, text("Let me see."), call, stop_reason=stop_reason, broken_input="drop"
    )
    assert kept == [THINKING, text("Let me see.")]


def test_thinking_before_a_dropped_server_tool_call_is_dropped() -> None:
    assert content_of(THINKING, SEARCH, stop_reason=None, broken_input="drop") == []


def test_a_message_that_was_cut_inside_a_result_is_sent_without_the_call() -> None:
    start = {**SEARCH, "input": {}}
    cut, _ = run(
        [message_start(), block_start(0, start), json_piece(0, '{"query":"tea"}'), block_stop(0)]
    )
    assert cut.snapshot is not None
    assert to_param(cut.snapshot, "drop")["content"] == []
    with pytest.raises(ValueError, match="its result is missing"):
        to_param(cut.snapshot)


def test_a_server_tool_call_without_its_result_is_kept_after_pause_turn() -> None:
    assert content_of(SEARCH, stop_reason="pause_turn") == [SEARCH]
    assert content_of(SEARCH, stop_reason="pause_turn", broken_input="drop") == [SEARCH]


def test_a_server_tool_call_without_its_result_is_kept_beside_a_tool_use() -> None:
    assert content_of(SEARCH, CALL, stop_reason="tool_use") == [SEARCH, CALL]
    with pytest.raises(ValueError, match="its result is missing"):
        content_of(SEARCH, CALL, stop_reason="max_tokens")


def test_a_code_execution_that_has_called_a_tool_is_kept() -> None:
    code = {**SEARCH, "name": "code_execution"}
    waits = {**CALL, "caller": {"type": "code_execution_20260120", "tool_id": "srvtoolu_1"}}
    for stop_reason in ("tool_use", "max_tokens", None):
        assert content_of(code, waits, stop_reason=stop_reason) == [code, waits]
        assert content_of(code, waits, stop_reason=stop_reason, broken_input="drop") == [
            code,
            waits,
        ]
    snapshot = snapshot_of_cut_call(code, waits)
    assert to_param(snapshot, "drop")["content"] == []


def snapshot_of_cut_call(*content: dict[str, Any]) -> Message:
    """A message whose last block is a tool call that was cut."""
    *whole, last = content
    payloads = [message_start()]
    for index, block in enumerate(whole):
        payloads += [block_start(index, block), block_stop(index)]
    payloads += [block_start(len(whole), {**last, "input": {}}), json_piece(len(whole), '{"q"')]
    machine, _ = run(payloads)
    assert machine.snapshot is not None
    return machine.snapshot


def test_a_server_tool_call_with_its_result_is_kept() -> None:
    assert content_of(SEARCH, FOUND, text("Tea.")) == [SEARCH, FOUND, text("Tea.")]
    unknown = {"type": "telepathy_tool_result", "tool_use_id": "srvtoolu_1", "content": "…"}
    assert content_of(SEARCH, unknown) == [SEARCH, unknown]


def test_a_result_whose_call_is_in_an_earlier_message_is_kept() -> None:
    assert content_of(FOUND, text("Tea."), broken_input="drop") == [FOUND, text("Tea.")]


def test_the_result_of_a_dropped_call_is_dropped() -> None:
    broken = block_start(0, {**SEARCH, "input": {}})
    machine, _ = run(
        [
            message_start(),
            broken,
            json_piece(0, "{]"),
            block_stop(0),
            block_start(1, FOUND),
            block_stop(1),
            block_start(2, text("Tea.")),
            block_stop(2),
            message_delta("end_turn"),
        ]
    )
    assert machine.snapshot is not None
    assert to_param(machine.snapshot, "drop")["content"] == [text("Tea.")]


def test_a_dropped_call_without_an_id_drops_nothing_else() -> None:
    broken = {**CALL, "id": "", "input": 5}
    assert content_of(text("Tea."), broken, broken_input="drop") == [text("Tea.")]


def test_a_list_of_blocks_may_have_a_server_tool_call_without_its_result() -> None:
    """A list of blocks has no stop reason. It may be the content of a paused turn."""
    turn = {"role": "assistant", "content": message(SEARCH).content}
    body = json.loads(build_request({"messages": [turn]}).body)
    assert body["messages"] == [{"role": "assistant", "content": [SEARCH]}]


# White space.


def test_content_of_white_space_alone_is_left_out() -> None:
    for words in (" ", "\n\n", "\u2003\t"):
        assert content_of(text(words)) == []
        assert content_of(text(words), text(""), text("\n")) == []
        assert content_of(text(words), THINKING) == []
    assert to_param(TextBlock(" ")) == {"type": "text", "text": " "}


def test_white_space_beside_other_content_is_kept() -> None:
    cited = {**text("Tea."), "citations": [{"type": "hearsay"}]}
    assert content_of(cited, text("\n"), cited) == [cited, text("\n"), cited]
    assert content_of(text("\n\n"), CALL, stop_reason="tool_use") == [text("\n\n"), CALL]
    assert content_of(THINKING, text(" ")) == [THINKING, text(" ")]


@pytest.mark.parametrize("turn", [message(text(" ")), message(THINKING), message()])
def test_an_empty_turn_is_refused_with_its_path(turn: Message) -> None:
    question = {"role": "user", "content": "Hello"}
    for empty in (turn, to_param(turn), {"role": "user", "content": ""}):
        with pytest.raises(ValueError, match=r"^messages\.1: the turn has no content"):
            build_request({"messages": [question, empty, question]})
        with pytest.raises(ValueError, match=r"^messages\.0: the turn has no content"):
            build_request({"messages": (empty, {"content": [TextBlock("a")]})})
    listed = {"role": "assistant", "content": (TextBlock(" "), ThinkingBlock("", ""))}
    with pytest.raises(ValueError, match=r"^messages\.0: the turn has no content"):
        build_request({"messages": [listed]})


# Duplicate ids.


def test_two_calls_with_one_id_are_refused() -> None:
    again = {**CALL, "name": "write"}
    with pytest.raises(ValueError, match=r"^content\.1: .*'tool_use toolu_1'.* the same id.*dupl"):
        content_of(CALL, again, stop_reason="tool_use")
    with pytest.raises(
        ValueError, match=r"^messages\.0\.content\.1: .*an earlier call has the same"
    ):
        build_request({"messages": [{"content": message(CALL, again).content}]})
    kept = content_of(CALL, again, stop_reason="tool_use", duplicate_ids="keep")
    assert kept == [CALL, again]


def test_calls_without_an_id_are_no_duplicates() -> None:
    bare: dict[str, Any] = {"type": "tool_use", "id": None, "name": "lookup", "input": {}}
    assert content_of(bare, bare, stop_reason="tool_use") == [bare, bare]


# Lone surrogates.


def test_a_lone_surrogate_is_refused_with_the_path_of_its_member() -> None:
    with pytest.raises(ValueError, match=r"^content\.1\.text: the lone surrogate '\\ud83d' at"):
        content_of(text("a"), text("Hi \ud83d"))
    with pytest.raises(ValueError, match=r"^content\.0\.input\.q\.1: the lone surrogate '\\udc00'"):
        content_of({**CALL, "input": {"q": ["é", "\udc00"]}}, stop_reason="tool_use")
    with pytest.raises(ValueError, match=r"^text: the lone surrogate '\\ud83d' at index 0 "):
        to_param(TextBlock("\ud83d"))
    named: dict[str, Any] = {"input_schema": {"properties": {"\ud83d": {}}}}
    with pytest.raises(ValueError, match=r"^tools\.0\.input_schema\.properties\.\\ud83d: the lone"):
        build_request({"tools": [named]})
    with pytest.raises(ValueError, match=r"^messages\.0\.content\.0\.text: the lone surrogate"):
        build_request({"messages": [message(text("\ud83d"))]})


def test_replace_sends_u_fffd_for_a_lone_surrogate() -> None:
    replace: Any = {"surrogates": "replace"}
    assert content_of(text("Hi \ud83d!"), **replace) == [text("Hi \ufffd!")]
    call = {**CALL, "input": {"\ud83d": ["\udc00", "é", 1, None]}}
    assert content_of(call, stop_reason="tool_use", **replace) == [
        {**CALL, "input": {"\ufffd": ["\ufffd", "é", 1, None]}}
    ]
    body = build_request({"system": "\udfff", "messages": [{"content": "é"}]}, **replace).body
    assert body == '{"system":"\ufffd","stream":true,"messages":[{"content":"é"}]}'.encode()


def test_two_halves_of_one_character_become_one_character() -> None:
    assert content_of(text("\ud83d\ude00")) == [text("\U0001f600")]
    body = build_request({"system": "\ud83d\ude00"}).body
    assert body == '{"system":"\U0001f600","stream":true}'.encode()


def test_values_without_surrogates_are_not_copied() -> None:
    block = ToolUseBlock("a", "b", {"q": ["é", {"x": "y"}]})
    assert to_param(block)["input"] is block.input


def test_an_input_that_is_nested_too_deeply_is_refused() -> None:
    deep: Any = "\ud800"
    for _ in range(20_000):
        deep = [deep]
    with pytest.raises(ValueError, match="nested too deeply"):
        to_param(ToolUseBlock("a", "b", {"q": deep}))


# Policies.


@pytest.mark.parametrize("name", ["broken_input", "duplicate_ids", "surrogates"])
def test_an_unknown_value_of_a_policy_is_refused(name: str) -> None:
    wrong: Any = {name: "repair"}
    with pytest.raises(ValueError, match=rf"^{name} must be one of \('raise', .*not 'repair'"):
        to_param(message(text("a")), **wrong)
    with pytest.raises(ValueError, match=rf"^{name} must be one of \('raise', .*not 'repair'"):
        build_request({}, **wrong)


def test_build_request_accepts_the_policies_for_broken_input() -> None:
    cut = snapshot_of_cut_call(text("So."), CALL)
    with pytest.raises(ValueError, match=r"^messages\.0\.content\.1: .*its input is incomplete"):
        build_request({"messages": [cut]})
    for policy in ("drop", "wrap"):
        params = {"messages": [cut]}
        (turn,) = json.loads(build_request(params, broken_input=policy).body)["messages"]
        assert turn == to_param(cut, policy)


# The two ways to write a body.


@pytest.mark.parametrize("name", [1, None, True, 1.5])
def test_a_member_name_that_json_would_convert_is_refused(name: Any) -> None:
    for params in (
        {"a": [{"b": ({name: 1},)}]},
        {"messages": [{"role": "user", "content": {name: 1}}]},
    ):
        with pytest.raises(TypeError, match="the name of a member must be a str"):
            build_request(params)


def test_a_plain_history_is_written_without_a_pass_in_python(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """20,000 turns would otherwise block an event loop for a second."""
    monkeypatch.setattr(request_body, "json_of", None)
    question = {"role": "user", "content": [text("ä"), {"type": "image", "source": {"n": 1.5}}]}
    turns = [question, message(text("b")), {"role": "user", "content": "c"}] * 10
    params = {"model": "m", "max_tokens": 5, "temperature": NOT_GIVEN, "messages": turns}
    assert len(json.loads(build_request(params).body)["messages"]) == 30


def test_both_ways_to_write_a_body_give_the_same_bytes() -> None:
    turns = [
        {"role": "user", "content": [text("ä")]},
        message(text("b"), CALL, stop_reason="tool_use"),
    ]
    quick = build_request({"messages": turns}).body
    careful = build_request({"messages": turns, "metadata": types.MappingProxyType({})}).body
    assert careful.replace(b'"metadata":{},', b"") == quick


def written(params: dict[str, Any], **policies: Any) -> bytes | str:
    """Return the body, or the message of the error."""
    try:
        return build_request(params, **policies).body
    except (TypeError, ValueError) as error:
        return f"{type(error).__name__}: {error}"


NAMES: Final = st.text(max_size=3) | st.sampled_from([1, None, True])
VALUES: Final = vocabulary.JSON | st.sampled_from(
    [(), ("a", {"b": ()}), float("nan"), b"x", "\ud800", "\ud83d\ude00", NOT_GIVEN, 10**5000]
)
TURNS: Final = st.lists(
    messages() | st.dictionaries(st.sampled_from(["role", "content", "x"]), VALUES), max_size=3
)


@given(
    st.dictionaries(NAMES, VALUES, max_size=3),
    TURNS,
    st.sampled_from(["raise", "drop"]),
    st.sampled_from(["raise", "replace"]),
)
def test_both_ways_to_write_a_body_give_the_same_result(
    params: dict[str, Any], turns: list[Any], broken_input: str, surrogates: str
) -> None:
    params = {**params, "messages": turns}
    policies = {"broken_input": broken_input, "surrogates": surrogates}
    quick = written(params, **policies)
    with mock.patch.object(request_body, "plain_body", return_value=None):
        assert written(params, **policies) == quick


def test_members_of_enumerations_are_written_as_their_values() -> None:
    class Word(enum.StrEnum):
        HIGH = "high"

    class Number(enum.IntEnum):
        ONE = 1

    scalars = {"a": Word.HIGH, "b": Number.ONE, "c": 1.5, "d": 10**30}
    written = b'{"a":"high","b":1,"c":1.5,"d":1000000000000000000000000000000,"e":{},"stream":true}'
    assert build_request({**scalars, "e": types.MappingProxyType({})}).body == written
    assert build_request({**scalars, "e": {}}).body == written


# Objects of other libraries.


def test_an_object_without_a_json_form_is_refused_with_its_path() -> None:
    source = {"type": "base64", "data": Path("a.pdf")}
    turn = {"role": "user", "content": [{"type": "document", "source": source}]}
    kind = type(source["data"]).__name__
    path = rf"^messages\.0\.content\.0\.source\.data: {kind} cannot be written as JSON$"
    with pytest.raises(TypeError, match=path):
        build_request({"messages": [turn]})


class Model:
    """A stand-in for a pydantic model."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def model_dump(self, **options: Any) -> Any:
        assert options == {"mode": "json", "by_alias": True}
        if isinstance(self.value, Exception):
            raise self.value
        return self.value


class SDKModel(Model):
    """A stand-in for an object of the official SDK."""

    __module__ = "anthropic.types.text_block"

    def to_dict(self, **options: Any) -> Any:
        assert options == {"mode": "json"}
        return self.value


def test_models_and_objects_of_the_sdk_are_written_as_json() -> None:
    tool = {"name": "lookup", "input_schema": {"type": "object"}}
    whole = {"type": "message", "role": "assistant", "id": "msg_1", "usage": {}, "content": [CALL]}
    params = {
        "tools": [Model(tool), SDKModel(tool)],
        "system": [SDKModel(text("é"))],
        "messages": [SDKModel({**whole, "stop_reason": "tool_use"})],
    }
    assert json.loads(build_request(params).body) == {
        "tools": [tool, tool],
        "system": [text("é")],
        "stream": True,
        "messages": [{"role": "assistant", "content": [CALL]}],
    }


def test_a_model_that_cannot_be_written_is_refused_with_its_path() -> None:
    with pytest.raises(ValueError, match=r"^tools\.0: Model: no serializer"):
        build_request({"tools": [Model(ValueError("no serializer"))]})
    with pytest.raises(TypeError, match=r"^tools\.0\.x: object cannot be written as JSON"):
        build_request({"tools": [Model({"x": object()})]})
    with pytest.raises(TypeError, match=r"^tools\.0: type cannot be written as JSON"):
        build_request({"tools": [Model]})


# Headers and queries.


def test_the_error_about_a_value_of_a_wrong_type_names_the_header() -> None:
    wrong: Any
    for wrong, words in (
        ({"headers": {5: "x"}}, "the name of a header must be a str, not int: 5"),
        ({"headers": {"x": 5}}, "the value of 'x' must be a str, not int"),
        ({"betas": ["a", 5]}, "a beta must be a str, not int: 5"),
        ({"query": {"x": 5}}, "'x' has a name or a value of the type int"),
    ):
        with pytest.raises(TypeError, match=words):
            build_request({}, **wrong)
