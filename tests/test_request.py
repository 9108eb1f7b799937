"""Requests, responses and retries, without a connection."""

import copy
import json
import pickle
import time
import types
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any, get_args
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given, strategies as st

import shared_data
import vocabulary
from sansio_stream import (
    BODY_NEEDED,
    NOT_GIVEN,
    APIConnectionError,
    APIError,
    APIStatusError,
    APITimeoutError,
    BadRequestError,
    BodyNeeded,
    CharLocationCitation,
    ContentBlock,
    ContentBlockDelta,
    Headers,
    IncompleteMessageError,
    InternalServerError,
    Message,
    NotAnEventStreamError,
    NotFoundError,
    NotGiven,
    OverloadedError,
    ProtocolError,
    RateLimitError,
    RedactedThinkingBlock,
    Request,
    ServiceUnavailableError,
    TextBlock,
    TextDelta,
    ThinkingBlock,
    ToolUseBlock,
    UnknownBlock,
    Verdict,
    block_from_dict,
    build_request,
    check_response,
    message_from_dict,
    retry_after,
    retry_delay,
    status_error,
    to_param,
)
from sansio_stream.codec import schema_of
from sansio_stream.copies import copy_with
from sansio_stream.testing import messages
from wire import block_start, block_stop, delta, json_piece, message_start, run, text, tool_start

KEY = "sk-ant-api03-secret"


def sent(params: dict[str, Any], **options: Any) -> Any:
    """Return the JSON body of a request, without `stream`."""
    body = json.loads(build_request(params, **options).body)
    assert body.pop("stream") is True
    return body


def snapshot_of(*payloads: dict[str, Any]) -> Message:
    """Return the message of a stream that is cut after these events."""
    machine, _ = run([message_start(), *payloads])
    assert machine.snapshot is not None
    return machine.snapshot


def message_with(*blocks: ContentBlock, **members: Any) -> Message:
    """Return a message with this content."""
    message = message_from_dict({"role": "assistant", "stop_reason": "end_turn", **members})
    content = [block.to_dict() for block in blocks]
    return message_from_dict({**message.to_dict(), "content": content})


TEXT = TextBlock("Hello.")
THINKING = ThinkingBlock("Hm.", "c2ln")
REDACTED = RedactedThinkingBlock("ZGF0YQ==")
CALL = ToolUseBlock("toolu_1", "lookup", {"q": "tea"})
CUT = snapshot_of(tool_start(0), json_piece(0, '{"path": "men')).content[0]
INVALID = snapshot_of(tool_start(0), json_piece(0, "{]"), block_stop(0)).content[0]
UNFOLDED = snapshot_of(block_start(0), text(0, "Hi."), delta(0, "hologram_delta", z=1)).content[0]


# NOT_GIVEN.


def test_copies_and_pickles_of_not_given_are_the_same_object() -> None:
    assert pickle.loads(pickle.dumps(NOT_GIVEN)) is NOT_GIVEN
    assert copy.deepcopy(NOT_GIVEN) is copy.copy(NOT_GIVEN) is NOT_GIVEN
    assert isinstance(NOT_GIVEN, NotGiven)
    assert not NOT_GIVEN
    assert repr(NOT_GIVEN) == "NOT_GIVEN"


def test_not_given_is_left_out_and_none_becomes_null() -> None:
    inside = {"a": NOT_GIVEN, "b": None, "c": [{"d": NOT_GIVEN}]}
    params = {"system": NOT_GIVEN, "top_k": None, "metadata": inside}
    assert sent(params) == {"top_k": None, "metadata": {"b": None, "c": [{}]}}
    assert params["system"] is NOT_GIVEN
    assert inside["a"] is NOT_GIVEN


def test_not_given_is_refused_as_an_item_of_a_list() -> None:
    with pytest.raises(TypeError, match=r"^tools\.1: NotGiven cannot be written as JSON"):
        build_request({"tools": [{}, NOT_GIVEN]})


# Headers.


def test_the_names_of_headers_are_case_insensitive() -> None:
    headers = Headers({"Content-Type": "text/event-stream", "request-id": "req_1"})
    assert headers["content-type"] == headers["CONTENT-TYPE"] == "text/event-stream"
    assert headers.get("Request-ID") == "req_1"
    assert "REQUEST-ID" in headers
    assert headers.get("retry-after") is None
    assert list(headers) == ["content-type", "request-id"]
    assert len(headers) == 2


def test_the_values_of_a_repeated_header_are_joined() -> None:
    headers = Headers([("Vary", "a"), ("X", "1"), ("vary", "b"), ("VARY", "c")])
    assert dict(headers) == {"vary": "a, b, c", "x": "1"}


def test_headers_are_equal_if_their_names_and_values_are() -> None:
    headers = Headers({"A": "1"})
    assert headers == Headers([("a", "1")]) == {"a": "1"}
    assert headers != Headers({"A": "2"})
    assert pickle.loads(pickle.dumps(headers)) == copy.deepcopy(headers) == headers
    assert Headers(headers) == headers


def test_headers_cannot_be_changed() -> None:
    headers: Any = Headers({"A": "1"})
    with pytest.raises(TypeError):
        headers["a"] = "2"
    with pytest.raises(AttributeError):
        headers.b = "2"


@pytest.mark.parametrize(
    "name", ["X-API-Key", "Authorization", "Cookie", "Set-Cookie", "Proxy-Authorization", "api-key"]
)
def test_a_repr_does_not_show_a_credential(name: str) -> None:
    shown = repr(Headers({name: KEY, "server": "x"}))
    assert KEY not in shown
    assert name.lower() in shown
    assert "'server': 'x'" in shown
    request = build_request({"metadata": KEY}, headers={name: KEY}, query={"key": KEY})
    assert KEY not in repr(request)
    assert request.headers[name.lower()] == KEY


def test_a_repr_does_not_show_the_value_of_an_unknown_header() -> None:
    request = build_request({}, headers={"x-gateway-secret": KEY, "user-agent": "mine"})
    assert KEY not in repr(request)
    assert "'user-agent': 'mine'" in repr(request)


@pytest.mark.parametrize("name", ["Content-Length", "transfer-encoding", "Connection", "te"])
def test_a_header_about_the_framing_of_the_body_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"only the HTTP client may set the header '{name}'"):
        build_request({}, headers={name: "5"})
    build_request({}, headers={name: None})


def test_a_query_must_consist_of_strings() -> None:
    for query in ({"a": 1}, [(1, "a")]):
        wrong: Any = query
        with pytest.raises(TypeError, match=r"query must .*: 'a' has|query must .*: 1 has .* int"):
            build_request({}, query=wrong)


# The URL of a request.


def test_a_request_has_everything_that_the_api_needs() -> None:
    request = build_request({"model": "claude-test-1", "messages": []}, api_key=KEY)
    assert request == Request(
        "POST",
        "https://api.anthropic.com/v1/messages",
        {
            "accept": "text/event-stream",
            "anthropic-version": "2023-06-01",
            "content-type": "application/json",
            "x-api-key": KEY,
        },
        b'{"model":"claude-test-1","stream":true,"messages":[]}',
    )
    assert request.target == "/v1/messages"
    assert pickle.loads(pickle.dumps(request)) == request
    assert repr(request).endswith("body=<53 bytes>)")


@pytest.mark.parametrize(
    ("base_url", "url", "target"),
    [
        ("http://localhost", "http://localhost/v1/messages", "/v1/messages"),
        ("HTTP://[::1]:8080/", "HTTP://[::1]:8080/v1/messages", "/v1/messages"),
        ("https://h/a:b/@c/", "https://h/a:b/@c/v1/messages", "/a:b/@c/v1/messages"),
        ("http://h/v1", "http://h/v1/messages", "/v1/messages"),
        ("http://h/a/v1/", "http://h/a/v1/messages", "/a/v1/messages"),
        ("http://h/v1/messages", "http://h/v1/messages", "/v1/messages"),
        ("http://h/v10//", "http://h/v10/v1/messages", "/v10/v1/messages"),
        ("http://my_proxy:65535", "http://my_proxy:65535/v1/messages", "/v1/messages"),
    ],
)
def test_a_base_url_may_have_a_port_and_a_path(base_url: str, url: str, target: str) -> None:
    request = build_request({}, base_url=base_url)
    assert (request.url, request.target) == (url, target)


@pytest.mark.parametrize(
    "base_url",
    [
        "http://a..b",
        f"http://{64 * 'a'}.example",
        "",
        "api.anthropic.com",
        "ftp://host",
        "https://",
        "https:///path",
        "https://:80",
        "https://host:port",
        "https://host:65536",
        "https://host:",
        f"https://user:{KEY}@host",
        f"https://host?key={KEY}",
        "https://host/a?b",
        "https://host/a#b",
        "https://host\\evil",
        "https://host/a\\b",
        "https://host/a b",
        "https://host/a\r\nHost: evil",
        "https://host\n",
        " https://host",
        "https://höst",
        "https://host/ö",
        "https://[::1",
    ],
)
def test_an_invalid_base_url_is_refused_and_not_quoted(base_url: str) -> None:
    with pytest.raises(ValueError, match=r"^base_url must be ") as caught:
        build_request({}, base_url=base_url)
    assert KEY not in str(caught.value)


PAIRS = st.lists(st.tuples(st.text(min_size=1), st.text(min_size=1)))


@given(PAIRS)
def test_a_parsed_query_equals_the_given_pairs(pairs: list[tuple[str, str]]) -> None:
    request = build_request({}, query=pairs)
    assert request.url.isascii()
    assert parse_qsl(urlsplit(request.url).query, strict_parsing=bool(pairs)) == pairs
    assert request.url.endswith(request.target)


def test_a_query_is_percent_encoded() -> None:
    request = build_request({}, query={"beta": "true", "a b": "ö&=/?~-._+"})
    assert request.target == "/v1/messages?beta=true&a%20b=%C3%B6%26%3D%2F%3F~-._%2B"
    with pytest.raises(ValueError, match="surrogates"):
        build_request({}, query={"a": "\ud800"})


# The headers of a request.


def test_an_auth_token_is_sent_as_a_bearer_token() -> None:
    headers = build_request({}, auth_token=KEY, api_version="2026-10-21").headers
    assert headers["authorization"] == f"Bearer {KEY}"
    assert headers["anthropic-version"] == "2026-10-21"
    assert "x-api-key" not in headers


@pytest.mark.parametrize("betas", [["a-1", "b-2"], ("a-1", "b-2"), iter(["a-1", "b-2"]), "a-1,b-2"])
def test_betas_are_sent_as_one_list_with_commas(betas: Any) -> None:
    assert build_request({}, betas=betas).headers["anthropic-beta"] == "a-1,b-2"


def test_a_given_header_replaces_a_default_and_none_removes_it() -> None:
    headers = {"X-Api-Key": None, "CONTENT-TYPE": "application/vnd", "X-Mine": "1", "x-mine": "2"}
    made = build_request({}, api_key=KEY, betas=["a"], headers=headers).headers
    assert made == {
        "accept": "text/event-stream",
        "anthropic-beta": "a",
        "anthropic-version": "2023-06-01",
        "content-type": "application/vnd",
        "x-mine": "2",
    }
    pairs: list[tuple[str, str | None]] = [("Accept", None), ("accept", "a"), ("X-B", None)]
    assert build_request({}, headers=pairs).headers["accept"] == "a"
    assert "x-b" not in build_request({}, headers=pairs).headers


NAME_CHARACTERS = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


@given(st.text(st.sampled_from(NAME_CHARACTERS) | st.characters(codec="latin-1"), max_size=4))
def test_a_header_name_that_is_invalid_in_http_is_refused(name: str) -> None:
    if name and set(name) <= set(NAME_CHARACTERS):
        assert build_request({}, headers={name: "x"}).headers[name.lower()] == "x"
    else:
        with pytest.raises(ValueError, match="is not a valid header name"):
            build_request({}, headers={name: "x"})


def test_a_header_name_that_becomes_ascii_in_lower_case_is_refused() -> None:
    assert "\N{KELVIN SIGN}".lower() == "k"
    with pytest.raises(ValueError, match="valid header name"):
        build_request({}, headers={"\N{KELVIN SIGN}": "x"})


@given(st.text(st.characters(max_codepoint=0x17F), max_size=4))
def test_a_header_value_that_is_invalid_in_http_is_refused(value: str) -> None:
    controls = {*map(chr, range(32)), *map(chr, range(0x7F, 0x80))} - {"\t"}
    is_valid = (
        value == value.strip(" \t") and not controls & set(value) and max(value, default="") < "Ā"
    )
    if is_valid:
        assert build_request({}, headers={"x": value}).headers["x"] == value
    else:
        with pytest.raises(ValueError, match="of the header 'x'"):
            build_request({}, headers={"x": value})


@pytest.mark.parametrize("end", ["\n", "\r\nX-Evil: 1", "\0", " ", "…"])
@pytest.mark.parametrize(
    "options",
    [
        {"api_key": KEY},
        {"auth_token": KEY},
        {"headers": {"Cookie": KEY}},
        {"headers": [("anything", KEY)]},
    ],
)
def test_a_refused_credential_is_not_quoted(options: dict[str, Any], end: str) -> None:
    broken = json.loads(json.dumps(options).replace(KEY, KEY + json.dumps(end)[1:-1]))
    with pytest.raises(ValueError, match="cannot be sent") as caught:
        build_request({}, **broken)
    assert KEY not in str(caught.value)
    assert caught.value.__cause__ is caught.value.__context__ is None


# The body of a request.


@given(st.dictionaries(st.text(max_size=5), vocabulary.JSON, max_size=4))
def test_any_json_is_sent_unchanged(params: dict[str, Any]) -> None:
    before = copy.deepcopy(params)
    params.pop("stream", None)
    before.pop("stream", None)
    assert sent(params) == before == params


@pytest.mark.parametrize("stream", [False, None, NOT_GIVEN, 1])
def test_the_body_always_requests_a_stream(stream: Any) -> None:
    assert sent({"stream": stream}) == {}


def test_the_body_is_compact_utf8() -> None:
    assert build_request({"a": ["ö", 1]}).body == '{"a":["ö",1],"stream":true}'.encode()


def test_messages_are_the_last_member_of_the_body() -> None:
    params = {"messages": [], "model": "m", "system": "s", "tools": []}
    body = b'{"model":"m","system":"s","tools":[],"stream":true,"messages":[]}'
    assert build_request(params).body == body
    assert build_request({**params, "metadata": NOT_GIVEN}).body == body
    assert build_request({**params, "tools": ()}).body == body


def test_tuples_are_sent_as_lists_and_mappings_as_objects() -> None:
    tool = types.MappingProxyType({"name": "lookup"})
    assert sent({"tools": (tool, {"a": ()})}) == {"tools": [{"name": "lookup"}, {"a": []}]}


@pytest.mark.parametrize(
    "value",
    [float("nan"), float("inf"), -float("inf"), 10**5000],
    ids=["nan", "inf", "-inf", "huge"],
)
def test_a_number_that_json_cannot_express_is_refused_with_its_path(value: Any) -> None:
    with pytest.raises(ValueError, match=r"^messages\.1\.content\.0\.n: "):
        build_request({"messages": [{}, {"content": [{"n": value}]}]})


@pytest.mark.parametrize(
    "value", [b"x", {1}, object(), datetime.now(UTC), iter(()), TextDelta("x")]
)
def test_a_value_that_json_cannot_express_is_refused_with_its_path(value: Any) -> None:
    with pytest.raises(
        TypeError, match=rf"^system\.0\.x: {type(value).__name__} cannot be written as JSON$"
    ):
        build_request({"system": [{"x": value}]})


@pytest.mark.parametrize("name", [1, None, b"x", ("a",)])
def test_a_member_name_that_is_not_a_string_is_refused_with_its_path(name: Any) -> None:
    with pytest.raises(TypeError, match=r"^metadata\..*: the name of a member must be a str, not "):
        build_request({"metadata": {"a": 1, name: 2}})


def test_parameters_that_contain_themselves_or_are_too_deep_are_refused() -> None:
    loop: list[Any] = []
    loop.append(loop)
    deep: Any = "x"
    for _ in range(20_000):
        deep = [deep]
    for value in (loop, deep):
        with pytest.raises(ValueError, match="nested too deeply or contain themselves"):
            build_request({"a": value})


# Our messages and blocks in a request.


def test_a_message_is_sent_as_a_turn_and_a_block_as_an_object() -> None:
    message = message_with(THINKING, TEXT, CALL, TextBlock(""), id="msg_1", model="m", usage={})
    answer = {"type": "tool_result", "tool_use_id": "toolu_1", "content": [TEXT, TextBlock("")]}
    turns = [{"role": "user", "content": "Hi."}, message, {"role": "user", "content": (answer,)}]
    assert sent({"messages": turns, "system": [TEXT], "tools": (TEXT,)}) == {
        "messages": [
            turns[0],
            {"role": "assistant", "content": [each.to_dict() for each in (THINKING, TEXT, CALL)]},
            {"role": "user", "content": [{**answer, "content": [TEXT.to_dict()]}]},
        ],
        "system": [TEXT.to_dict()],
        "tools": [TEXT.to_dict()],
    }


def test_the_content_of_a_message_is_trimmed_in_a_turn_of_the_caller() -> None:
    content = (TEXT, TextBlock(""), THINKING, REDACTED)
    turn = {"role": "assistant", "content": content}
    assert sent({"messages": [turn]}) == {
        "messages": [{"role": "assistant", "content": [TEXT.to_dict()]}]
    }
    assert turn["content"] is content


def test_blocks_that_are_dicts_are_sent_unchanged() -> None:
    content = [{"type": "text", "text": ""}, {"type": "thinking", "thinking": "", "signature": ""}]
    assert sent({"messages": [{"content": content}]}) == {"messages": [{"content": content}]}
    mixed = [THINKING, *content]
    assert sent({"x": mixed}) == {"x": [THINKING.to_dict(), *content]}


def test_a_block_outside_a_list_and_a_citation_are_sent() -> None:
    citation = CharLocationCitation("tea", 0, None, 0, 3)
    params = {"a": TextBlock(""), "b": {"citations": (citation,)}}
    assert sent(params) == {
        "a": {"type": "text", "text": ""},
        "b": {"citations": [citation.to_dict()]},
    }


@pytest.mark.parametrize(
    ("block", "words"),
    [
        (CUT, "'tool_use toolu_0' cannot be sent: its input is incomplete"),
        (INVALID, "'tool_use toolu_0' cannot be sent: its input is invalid"),
        (UNFOLDED, "'text' cannot be sent: the effect of its 'hologram_delta' is unknown"),
    ],
)
def test_a_broken_block_is_refused_with_its_path(block: ContentBlock, words: str) -> None:
    for params, path in (
        (
            {"messages": [{}, {"role": "assistant", "content": [TEXT, block]}]},
            "messages.1.content.1",
        ),
        (
            {"messages": [{}, {"content": [{"content": (block,)}]}]},
            "messages.1.content.0.content.0",
        ),
        ({"system": block}, "system"),
    ):
        with pytest.raises(ValueError, match="cannot be sent") as caught:
            build_request(params)
        assert str(caught.value).startswith(f"{path}: the block {words}")


def test_a_broken_block_of_a_message_is_refused_with_its_path() -> None:
    cut = snapshot_of(block_start(0), text(0, "Hi."), block_stop(0), tool_start(1))
    with pytest.raises(ValueError, match=r"^messages\.0\.content\.1: the block 'tool_use"):
        build_request({"messages": [cut]})
    with pytest.raises(ValueError, match=r"^content\.1: the block 'tool_use"):
        to_param(cut)


def test_a_block_with_a_value_that_json_cannot_express_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^messages\.0\.content\.0\.input\.q: "):
        build_request({"messages": [{"content": [ToolUseBlock("a", "b", {"q": float("nan")})]}]})


@given(messages())
def test_every_complete_message_can_be_sent_back(message: Message) -> None:
    param = to_param(message, "drop")
    if not param["content"]:
        for turn in (param, message):
            with pytest.raises(ValueError, match=r"^messages\.0: the turn has no content"):
                build_request({"messages": [turn]}, broken_input="drop")
        return
    assert sent({"messages": [param]}) == {"messages": [param]}
    assert sent({"messages": [message]}, broken_input="drop") == {"messages": [param]}
    if message.stop_reason == "pause_turn":
        turn = {"role": "assistant", "content": message.content}
        assert sent({"messages": [turn]}) == {"messages": [param]}


# to_param.


@given(messages())
def test_a_message_param_has_the_role_and_the_content_that_the_api_accepts(
    message: Message,
) -> None:
    message = copy_with(message, stop_reason="pause_turn")
    before = message.to_dict()
    param = to_param(message)
    assert param["role"] == "assistant"
    assert set(param) == {"role", "content"}
    full = [block.to_dict() for block in message.content if block != TextBlock("")]
    kept = [block for block in full if block["type"] != "text" or block["text"]]
    thinking = ("thinking", "redacted_thinking")
    while kept and kept[-1]["type"] in thinking:
        kept.pop()
    if all(block["type"] == "text" and not block["text"].strip() for block in kept):
        kept = []
    assert param["content"] == kept
    assert message.to_dict() == before


@given(st.sampled_from(vocabulary.BLOCKS))
def test_a_single_block_is_written_verbatim(payload: dict[str, Any]) -> None:
    block = block_from_dict({**payload, "cache_control": {"type": "ephemeral"}})
    assert to_param(block) == to_param(block, "drop") == to_param(block, "wrap") == block.to_dict()
    assert to_param(TextBlock("")) == {"type": "text", "text": ""}


def test_the_default_role_of_a_message_is_assistant() -> None:
    assert to_param(message_from_dict({})) == {"role": "assistant", "content": []}
    assert to_param(message_with(TEXT, role="user"))["role"] == "user"


def test_thinking_is_sent_with_its_signature_except_at_the_end_of_a_message() -> None:
    message = message_with(THINKING, REDACTED, TEXT, THINKING, TextBlock(""), REDACTED)
    assert to_param(message)["content"] == [
        {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"},
        {"type": "redacted_thinking", "data": "ZGF0YQ=="},
        TEXT.to_dict(),
    ]
    assert to_param(message_with(THINKING))["content"] == []


def test_thinking_at_the_end_is_left_out_even_if_it_is_broken() -> None:
    cut = snapshot_of(
        block_start(0, {"type": "thinking", "thinking": "", "signature": ""}),
        delta(0, "hologram_delta", z=1),
    )
    assert cut.content[0].unfolded
    assert to_param(cut)["content"] == []


CUT_IN_A_CALL = (
    block_start(0, {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}),
    block_stop(0),
    tool_start(1),
    json_piece(1, '{"path": "men'),
)


def test_a_broken_call_is_dropped_with_the_thinking_before_it() -> None:
    assert to_param(snapshot_of(*CUT_IN_A_CALL), "drop")["content"] == []
    text_block = (block_start(2), text(2, "So."))
    kept = to_param(snapshot_of(*CUT_IN_A_CALL, *text_block), "drop")["content"]
    assert [block["type"] for block in kept] == ["thinking", "text"]
    assert to_param(INVALID, "drop") is None
    assert to_param(UNFOLDED, "drop") is None


def test_a_broken_call_is_wrapped_with_its_raw_text() -> None:
    _, call = to_param(snapshot_of(*CUT_IN_A_CALL), "wrap")["content"]
    assert call["input"] == {"INVALID_JSON": '{"path": "men'}
    assert call["id"] == "toolu_1"
    assert to_param(INVALID, "wrap")["input"] == {"INVALID_JSON": "{]"}
    assert to_param(CALL, "wrap") == CALL.to_dict()


@pytest.mark.parametrize(
    ("sent_input", "raw"), [([1, "ö"], '[1,"ö"]'), ("text", '"text"'), (None, ""), ({}, "{}")]
)
def test_a_broken_input_in_the_start_of_a_block_is_wrapped_as_json(
    sent_input: Any, raw: str
) -> None:
    stop = [] if sent_input == {} else [block_stop(0)]
    (block,) = snapshot_of(tool_start(0, input=sent_input), *stop).content
    with pytest.raises(ValueError, match="its input is in"):
        to_param(block)
    assert to_param(block, "wrap")["input"] == {"INVALID_JSON": raw}


def test_unfolded_deltas_are_refused_even_if_there_is_an_input_to_wrap() -> None:
    cut = snapshot_of(tool_start(0), json_piece(0, "{"), delta(0, "hologram_delta", z=1))
    for policy in ("raise", "wrap"):
        with pytest.raises(ValueError, match=r"^content\.0: .*'hologram_delta'"):
            to_param(cut, policy)
    assert to_param(cut, "drop")["content"] == []


def test_an_empty_text_with_unfolded_deltas_is_not_left_out() -> None:
    with pytest.raises(ValueError, match=r"^content\.0: the block 'text'"):
        to_param(snapshot_of(block_start(0), delta(0, "hologram_delta", z=1)))


HOLOGRAM = {"type": "hologram", "frames": []}


def test_an_unknown_block_is_sent_back_unchanged() -> None:
    for payload in (HOLOGRAM, {**HOLOGRAM, "input": 5}, {**HOLOGRAM, "input": None}):
        assert to_param(block_from_dict(payload)) == payload
        assert to_param(snapshot_of(block_start(0, payload)))["content"] == [payload]


def test_the_complete_input_of_an_unknown_block_is_sent_back() -> None:
    pieces = (block_start(0, HOLOGRAM), json_piece(0, '{"a":'), json_piece(0, "1}"))
    (whole,) = snapshot_of(*pieces, block_stop(0)).content
    assert isinstance(whole, UnknownBlock)
    assert len(whole.unfolded) == 2
    assert to_param(whole) == {**HOLOGRAM, "input": {"a": 1}}
    (running,) = snapshot_of(*pieces).content
    assert to_param(running, "drop") is None
    assert to_param(running, "wrap")["input"] == {"INVALID_JSON": '{"a":1}'}
    with pytest.raises(ValueError, match="'hologram' cannot be sent: its input is incomplete"):
        to_param(running)
    (empty,) = snapshot_of(block_start(0, HOLOGRAM), json_piece(0, ""), block_stop(0)).content
    with pytest.raises(ValueError, match="incomplete"):
        to_param(empty)


KNOWN_BLOCKS = [cls for cls in get_args(ContentBlock) if cls is not UnknownBlock]
KNOWN_TYPES = {cls.type for cls in get_args(ContentBlockDelta)}
KNOWN_DELTAS = [each for each in vocabulary.DELTAS if each["type"] in KNOWN_TYPES]


@pytest.mark.parametrize("cls", KNOWN_BLOCKS, ids=lambda cls: cls.__name__)
def test_a_block_is_sent_without_members_that_the_api_does_not_know(cls: Any) -> None:
    deltas = [{"type": "content_block_delta", "index": 0, "delta": each} for each in KNOWN_DELTAS]
    (block,) = snapshot_of(block_start(0, {"type": cls.type}), *deltas).content
    assert set(to_param(block, "wrap")) <= schema_of(cls).wires


def test_to_param_refuses_wrong_arguments() -> None:
    wrong: Any = to_param
    with pytest.raises(TypeError, match="dict is neither a message nor a block"):
        wrong({"role": "user"})
    with pytest.raises(ValueError, match="not 'repair'"):
        wrong(CALL, "repair")


# Responses.

JSON_HEAD = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "",
        "text/event-stream",
        "Text/Event-Stream; charset=utf-8",
        "text/plain",
        "application/octet-stream",
        "application/x-ndjson",
        "nonsense",
        "application/json, text/event-stream",
        "text/event-stream, application/json",
    ],
)
def test_a_success_that_may_be_a_stream_is_not_an_error(content_type: str | None) -> None:
    headers = {} if content_type is None else {"content-TYPE": content_type}
    for status in (200, 201, 299):
        assert check_response(status, headers) is None
        assert check_response(status, list(headers.items()), b'{"type":"error"}') is None


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "Application/JSON; charset=utf-8",
        "application/problem+json",
        "text/html;charset=x",
        "application/xhtml+xml",
        "application/xml",
        "text/xml",
        "text/html, application/json",
    ],
)
def test_a_success_that_cannot_be_a_stream_is_an_error_with_its_first_bytes(
    content_type: str,
) -> None:
    head = {"content-type": content_type}
    assert check_response(200, head) is BODY_NEEDED
    page = b"<html>\xff" + 3000 * b"x"
    error = check_response(200, head, page)
    assert isinstance(error, NotAnEventStreamError)
    assert error.verdict is Verdict.NOT_AN_EVENT_STREAM
    assert error.raw == "<html>�" + 1016 * "x" + "…"
    assert content_type in error.message
    assert "<html>" in error.message
    assert len(error.message) < 200


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"type":"message","error":null}', b"\xff"])
def test_a_json_response_without_an_error_is_reported_as_not_an_event_stream(body: bytes) -> None:
    error = check_response(200, JSON_HEAD, body)
    assert isinstance(error, NotAnEventStreamError)
    assert error.raw == body.decode("utf-8", "replace")


@pytest.mark.parametrize(
    ("payload", "cls", "kind", "message"),
    [
        (
            {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}},
            OverloadedError,
            "overloaded_error",
            "Overloaded",
        ),
        ({"error": "no slot"}, InternalServerError, None, "no slot"),
        ({"error": {"code": 503, "message": "no"}}, ServiceUnavailableError, None, "no"),
        (
            {"code": 404, "message": "no model", "type": "no_model"},
            NotFoundError,
            "no_model",
            "no model",
        ),
    ],
)
def test_an_error_in_a_success_has_the_equivalent_status(
    payload: dict[str, Any], cls: type[Any], kind: str | None, message: str
) -> None:
    error = check_response(200, JSON_HEAD, json.dumps(payload).encode())
    assert type(error) is cls
    assert isinstance(error, APIStatusError)
    assert (error.http_status, error.type, error.message) == (200, kind, message)
    assert error.body == payload
    assert error.verdict is Verdict.ERRORED
    assert retry_delay(0, error, 0) is None


@pytest.mark.parametrize("status", [100, 300, 304, 400, 404, 429, 500, 529, 599, 999])
def test_the_error_of_a_failed_request_needs_the_body(status: int) -> None:
    needed = check_response(status, {"content-type": "text/event-stream"})
    assert needed is BODY_NEEDED
    assert isinstance(needed, BodyNeeded)
    error = check_response(status, {}, b"")
    assert isinstance(error, APIStatusError)
    assert (error.status_code, error.http_status, error.body) == (status, status, "")
    assert error.message == f"HTTP {status}: no body"


def test_the_error_of_a_redirect_has_its_location_and_needs_no_body() -> None:
    headers = {"Location": "https://elsewhere/v1/messages"}
    for status in (301, 302, 303, 307, 308):
        error = check_response(status, headers)
        assert isinstance(error, APIStatusError)
        assert error.status_code == error.http_status == status
        assert error.message == (
            f"HTTP {status} redirects to https://elsewhere/v1/messages, which was not followed"
        )
        assert retry_delay(0, error, 0) is None
    with_body = check_response(307, headers, b'{"error":{"type":"gone"}}')
    assert isinstance(with_body, APIStatusError)
    assert "elsewhere" in with_body.message
    assert with_body.type == "gone"


@pytest.mark.parametrize(
    ("body", "kept", "message"),
    [
        (b"<h1>Bad Gateway</h1>\n", "<h1>Bad Gateway</h1>\n", "HTTP 502: <h1>Bad Gateway</h1>"),
        (
            b'{"error":{"type":"api_er',
            '{"error":{"type":"api_er',
            'HTTP 502: {"error":{"type":"api_er',
        ),
        (b"\xef\xbb\xbf{}", {}, "HTTP 502: {}"),
        (b'{"detail":"Not here"}', {"detail": "Not here"}, 'HTTP 502: {"detail":"Not here"}'),
        (b'"no"', '"no"', 'HTTP 502: "no"'),
        (b"\xff\xfe", "��", "HTTP 502: ��"),
        (b" \n", " \n", "HTTP 502: no body"),
        (b'{"error":"why","message":"because"}', {"error": "why", "message": "because"}, "because"),
        (b'{"error":{"message":5},"message":[]}', {"error": {"message": 5}, "message": []}, None),
        (b"[" * 5000, "[" * 5000, "HTTP 502: " + "[" * 1013 + "…"),
    ],
)
def test_a_body_of_any_kind_gives_an_error_with_a_readable_message(
    body: bytes, kept: Any, message: str | None
) -> None:
    error = check_response(502, [("Server", "a"), ("server", "b")], body)
    assert type(error) is InternalServerError
    assert error.body == kept
    assert error.message == (message or f"HTTP 502: {body.decode()}")
    assert error.headers == {"server": "a, b"}
    assert (error.type, error.request_id) == (None, None)


def test_an_error_response_that_is_an_event_stream_has_the_error_of_its_event() -> None:
    body = b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error"}}\n\n'
    error = check_response(500, {"content-type": "text/event-stream"}, body)
    assert isinstance(error, APIStatusError)
    assert error.type == "overloaded_error"


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"event: ping\ndata: {}\n\n", id="no error"),
        pytest.param(b"event: message_start\ndata: {\n\n", id="broken"),
        pytest.param(b"", id="empty"),
    ],
)
def test_an_error_response_whose_stream_has_no_error_event_has_the_error_of_its_status(
    body: bytes,
) -> None:
    error = check_response(500, {"content-type": "text/event-stream"}, body)
    assert isinstance(error, InternalServerError)
    assert error.type is None


def test_the_request_id_of_the_header_takes_precedence_over_that_of_the_body() -> None:
    body = b'{"type":"error","error":{"type":"api_error"},"request_id":"req_body"}'
    in_body = check_response(500, {}, body)
    in_head = check_response(500, {"Request-Id": "req_head"}, body)
    assert isinstance(in_body, APIStatusError)
    assert isinstance(in_head, APIStatusError)
    assert (in_body.request_id, in_head.request_id) == ("req_body", "req_head")


@given(
    st.integers(100, 599),
    st.sampled_from(["application/json", "text/html", "text/plain", ""]),
    st.binary(max_size=20)
    | vocabulary.JSON.map(lambda value: json.dumps(value).encode())
    | vocabulary.OBJECTS.map(lambda value: json.dumps({"error": value}).encode()),
)
def test_check_response_does_not_raise_for_any_body(
    status: int, content_type: str, body: bytes
) -> None:
    answer = check_response(status, {"content-type": content_type}, body)
    if answer is None:
        assert 200 <= status < 300
    else:
        assert isinstance(answer, (APIStatusError, NotAnEventStreamError))
        assert answer.message
        assert not isinstance(answer, APIStatusError) or answer.http_status == status
        assert str(pickle.loads(pickle.dumps(answer))) == str(answer)


def test_every_recorded_failure_has_its_class_its_type_and_its_message() -> None:
    rows = shared_data.load("captures/http_errors.jsonl")
    for row in rows:
        is_empty = row["body"] in ({"kind": "empty"}, '{"kind": "empty"}')
        body = "" if is_empty else row["body"]
        assert check_response(row["status"], row["headers"]) is BODY_NEEDED
        error = check_response(row["status"], row["headers"], body.encode())
        assert isinstance(error, APIStatusError)
        made = status_error("", status_code=row["status"])
        assert type(error) is type(made)
        assert type(error) is not APIStatusError
        assert error.status_code == error.http_status == row["status"]
        assert error.type == row["error_type"]
        assert error.headers == {name.lower(): value for name, value in row["headers"].items()}
        try:
            payload = json.loads(body)
        except ValueError:
            payload = {}
        payload = payload if isinstance(payload, dict) else {}
        assert error.body == (payload or body)
        message = payload.get("error", payload).get("message")
        assert error.message == (message or f"HTTP {row['status']}: {body or 'no body'}")
        assert error.request_id == (error.headers.get("request-id") or payload.get("request_id"))
        should_retry = error.headers.get("x-should-retry")
        retried = row["status"] in (408, 409, 429) or row["status"] >= 500
        expected = retried if should_retry is None else should_retry == "true"
        expected = expected and (retry_after(error) or 0) <= 60
        assert (retry_delay(0, error, 0.5) is not None) is expected
    shared_data.ran("captures/http_errors.jsonl", len(rows))


# Retries.


def failure(status: int, **headers: str) -> APIStatusError:
    """Return an error with these headers."""
    return status_error(
        "no",
        status_code=status,
        http_status=status,
        headers={name.replace("_", "-"): value for name, value in headers.items()},
    )


@pytest.mark.parametrize(
    ("status", "is_retried"),
    [
        *((status, True) for status in (408, 409, 429, 500, 502, 503, 504, 529, 599)),
        *((status, False) for status in (101, 301, 400, 401, 403, 404, 413, 422, 499)),
    ],
)
def test_a_retry_depends_on_the_status_and_on_the_header_x_should_retry(
    status: int, is_retried: bool
) -> None:
    assert (retry_delay(0, failure(status), 0) is not None) is is_retried
    assert (retry_delay(0, failure(status, X_Should_Retry="yes"), 0) is not None) is is_retried
    assert retry_delay(0, failure(status, X_Should_Retry="true"), 0) is not None
    assert retry_delay(0, failure(status, x_should_retry="false"), 0) is None


def test_a_failed_connection_is_retried_and_a_started_stream_is_not() -> None:
    message = message_with(TEXT)
    for retried in (APIConnectionError("refused"), APITimeoutError("too slow")):
        assert retry_delay(0, retried, 0) == 0.5
    for not_retried in (
        IncompleteMessageError("cut"),
        APITimeoutError("stalled", partial_message=message),
        APIConnectionError("reset", content_emitted=True),
        status_error("no", status_code=529, http_status=200, headers={"x-should-retry": "true"}),
        status_error("no", status_code=529, http_status=529, content_emitted=True),
        ProtocolError("broken"),
        NotAnEventStreamError("html"),
        APIError("whatever"),
    ):
        assert retry_delay(0, not_retried, 0) is None


@given(st.integers(0, 10**6), st.floats(0, 1, exclude_max=True))
def test_delays_double_up_to_eight_seconds_minus_a_random_quarter(
    attempt: int, rand: float
) -> None:
    delay = retry_delay(attempt, APIConnectionError("refused"), rand)
    assert delay == min(0.5 * 2 ** min(attempt, 100), 8) * (1 - 0.25 * rand)


@pytest.mark.parametrize(
    ("headers", "delay"),
    [
        ({"retry_after_ms": "1500", "retry_after": "7"}, 1.5),
        ({"retry_after_ms": "12.5"}, 0.0125),
        ({"retry_after_ms": "soon", "retry_after": "7"}, 7),
        ({"retry_after": "7"}, 7),
        ({"Retry_After": "0.25"}, 0.25),
        ({"retry_after": "60"}, 60),
        ({"retry_after": "60.001"}, None),
        ({"retry_after": "65"}, None),
        ({"retry_after_ms": "60001", "retry_after": "7"}, None),
        ({"retry_after": "0"}, 0.5),
        ({"retry_after": "-1"}, 0.5),
        ({"retry_after": "nan"}, 0.5),
        ({"retry_after": "inf"}, 0.5),
        ({"retry_after": "1_0"}, 0.5),
        ({"retry_after": "٣"}, 0.5),
        ({"retry_after": 400 * "9"}, None),
        ({"retry_after": ""}, 0.5),
        ({"retry_after": "Sun, 06 Nov 1994 08:49:37 GMT"}, 0.5),
        (
            {
                "retry_after": "Sun, 06 Nov 1994 08:49:37 GMT",
                "date": "Sun, 06 Nov 1994 08:49:30 GMT",
            },
            7,
        ),
        (
            {
                "retry_after": "Sun, 06 Nov 1994 08:49:37 GMT",
                "date": "Sunday, 06-Nov-94 08:49:30 GMT",
            },
            0.5,
        ),
        (
            {
                "retry_after": "Wed, 01 Jan 2025 00:00:10 GMT",
                "date": "Tue, 31 Dec 2024 23:59:59 GMT",
            },
            11,
        ),
        (
            {
                "retry_after": "Wed, 01 Jan 2025 00:00:10 GMT",
                "date": "Wed, 01 Jan 2025 00:00:11 GMT",
            },
            0.5,
        ),
    ],
)
def test_the_delay_is_that_of_the_server_if_it_is_at_most_a_minute(
    headers: dict[str, str], delay: float | None
) -> None:
    assert retry_delay(0, failure(429, **headers), 0) == delay


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry_after": "120"}, 120),
        ({"retry_after_ms": "120500"}, 120.5),
        ({"retry_after": "10000000000"}, 1e10),
        ({"retry_after": "0"}, None),
        ({"retry_after": "soon"}, None),
        ({}, None),
    ],
)
def test_retry_after_returns_the_seconds_of_the_headers(
    headers: dict[str, str], seconds: float | None
) -> None:
    assert retry_after(failure(429, **headers)) == seconds
    assert retry_after(failure(400, **headers)) == seconds


def test_retry_after_is_none_for_a_connection_error() -> None:
    assert retry_after(APIConnectionError("refused")) is None


@pytest.mark.parametrize("maximum", [0, 1, 119.9, 120, 1e9])
def test_a_delay_above_max_retry_after_means_no_retry(maximum: float) -> None:
    retried = failure(429, retry_after="120")
    delay = retry_delay(0, retried, 0, max_retry_after=maximum)
    assert delay == (120 if maximum >= 120 else None)
    assert retry_delay(0, failure(429), 0, max_retry_after=maximum) == 0.5
    assert retry_delay(0, failure(400, retry_after="1"), 0, max_retry_after=maximum) is None


DATES = st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31, 23, 58)).map(  # noqa: DTZ001
    lambda date: date.replace(microsecond=0, tzinfo=UTC)
)
LEAP_DAYS = st.sampled_from([4, 1900, 2000, 2023, 2024, 2100, 2400]).map(
    lambda year: datetime(year, 3, 1, tzinfo=UTC) - timedelta(seconds=30)
)


@given(DATES | LEAP_DAYS, st.integers(1, 60))
def test_the_difference_of_two_dates_agrees_with_the_calendar(date: datetime, seconds: int) -> None:
    later = date + timedelta(seconds=seconds)
    headers = {
        "date": format_datetime(date, usegmt=True),
        "retry_after": format_datetime(later, usegmt=True),
    }
    assert retry_delay(3, failure(503, **headers), 0) == seconds


@given(DATES, DATES)
def test_the_delay_between_any_two_dates_is_used_if_it_is_at_most_a_minute(
    date: datetime, later: datetime
) -> None:
    seconds = (later - date).total_seconds()
    headers = {
        "date": format_datetime(date, usegmt=True),
        "retry_after": format_datetime(later, usegmt=True),
    }
    delay = retry_delay(0, failure(503, **headers), 0)
    assert delay == (0.5 if seconds <= 0 else seconds if seconds <= 60 else None)


def test_the_delay_of_a_response_is_that_of_its_headers() -> None:
    body = b'{"type":"error","error":{"type":"rate_limit_error","message":"Slow down."}}'
    error = check_response(429, [("Retry-After", "9")], body)
    assert isinstance(error, RateLimitError)
    assert retry_delay(0, error, 0.9) == 9
    bad = check_response(400, {}, body)
    assert isinstance(bad, BadRequestError)
    assert retry_delay(0, bad, 0.9) is None


def test_the_error_of_a_redirect_has_its_location_without_the_query() -> None:
    failure = check_response(307, {"location": "https://other.example/v1?key=SECRET"})
    assert isinstance(failure, APIError)
    assert "https://other.example/v1, which was not followed" in str(failure)
    assert "SECRET" not in str(failure)


@pytest.mark.parametrize("name", ["api_key", "auth_token"])
def test_a_key_of_type_bytes_is_refused_and_not_shown(name: str) -> None:
    keys: dict[str, Any] = {name: b"secret"}
    with pytest.raises(TypeError, match=f"^{name} must be a str or None, not bytes$"):
        build_request({}, **keys)


def test_a_header_of_type_bytes_is_refused_and_not_shown() -> None:
    headers: Any = {"x-own": b"secret"}
    with pytest.raises(TypeError, match=r"^the value of 'x-own' must be a str, not bytes$"):
        build_request({}, headers=headers)


def test_the_cost_of_a_base_url_with_many_slashes_is_linear() -> None:
    def cost(path: str) -> float:
        since = time.process_time()
        url = build_request({}, base_url=f"https://h/{path}x/").url
        assert url == f"https://h/{path}x/v1/messages"
        return time.process_time() - since

    # An earlier regular expression started again at each slash. Slashes then cost about a thousand
    # times as much as letters.
    assert cost(20_000 * "/") < 100 * max(cost(20_000 * "a"), 1e-4)


def test_a_host_that_is_named_v1_is_not_a_path() -> None:
    assert build_request({}, base_url="https://v1").url == "https://v1/v1/messages"


def test_the_error_of_a_compressed_body_names_its_encoding() -> None:
    error = check_response(500, {"content-encoding": "br"}, b"\x8b\xff\x80")
    assert isinstance(error, InternalServerError)
    assert error.message == "HTTP 500: a body with the content-encoding 'br', which was not decoded"


def test_an_error_response_whose_events_break_the_protocol_has_the_error_of_its_status() -> None:
    body = b"event: message_start\ndata: {\n\n"
    error = check_response(529, {"content-type": "text/event-stream"}, body)
    assert isinstance(error, OverloadedError)
    assert error.type is None
    assert "HTTP 529" in error.message
