"""A capture keeps every byte, is readable after a crash, and never contains a credential."""

import copy
import json
import pickle
import re
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import example, given, strategies as st

from sansio_stream.capture import (
    Capture,
    CaptureEnd,
    CaptureError,
    CaptureHeader,
    CaptureWriter,
    Chunk,
    parse_capture,
)

Pair = tuple[float, bytes]
End = tuple[float, str | None]

EXAMPLES = Path(__file__).parent.parent / "examples"

HEADER_LINE = b'{"sansio_stream_capture": 1}\n'

times = st.floats(min_value=0, max_value=1e9)
texts = st.text(st.characters())  # also with lone surrogates
headers = st.builds(
    CaptureHeader,
    status=st.none() | st.integers(100, 599),
    headers=st.dictionaries(
        st.sampled_from(["content-type", "Request-Id", "anthropic-ratelimit-tokens-limit"]), texts
    ),
    request=st.none() | st.dictionaries(texts, st.integers() | texts | st.lists(st.none())),
)
chunks = st.tuples(times, st.binary() | st.text().map(str.encode))
ends = st.none() | st.tuples(times, st.none() | texts)


def joined_surrogates(text: str) -> str:
    """Join surrogate pairs to characters, because JSON cannot distinguish the two."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


def recording(header: CaptureHeader, pairs: list[Pair], end: End | None = None) -> bytes:
    writer = CaptureWriter(header)
    lines = [writer.begin()]
    lines += [writer.chunk(data, at) for at, data in pairs]
    if end is not None:
        lines.append(writer.end(*end))
    return b"".join(lines)


def lines(*values: object) -> bytes:
    return HEADER_LINE + b"".join(json.dumps(value).encode() + b"\n" for value in values)


# The format of captures


@given(headers, st.lists(chunks), ends)
@example(CaptureHeader(), [(0.0, b"\r\n\r\0\xef\xbb\xbf\xe2\x80\xa8\x85")], None)
@example(
    CaptureHeader(), [(0.0, b"\xf0\x9f"), (0.1, b"\x8c\x8a"), (0.1, b"")], (1, "broken \udc80")
)
def test_a_written_capture_is_read_byte_for_byte(
    header: CaptureHeader, pairs: list[Pair], end: End | None
) -> None:
    read = parse_capture(recording(header, pairs, end))
    assert [chunk.data for chunk in read.chunks] == [data for _, data in pairs]
    assert [chunk.at for chunk in read.chunks] == [round(at, 6) for at, _ in pairs]
    assert read.body == b"".join(data for _, data in pairs)
    assert read.source == "capture"
    if end is None:
        assert read.end is None
    else:
        at, error = end
        assert read.end == CaptureEnd(round(at, 6), error and joined_surrogates(error))


@given(headers)
def test_a_written_header_is_read_unchanged(header: CaptureHeader) -> None:
    expected = json.loads(json.dumps([header.status, header.headers, header.request]))
    read = parse_capture(CaptureWriter(header).begin()).header
    assert [read.status, read.headers, read.request] == expected
    assert read.version == 1


@given(st.lists(chunks, max_size=4), ends, st.data())
def test_a_capture_that_is_cut_anywhere_is_read_as_a_prefix(
    pairs: list[Pair], end: End | None, data: st.DataObject
) -> None:
    header = CaptureHeader(status=200, request={"messages": ["\N{WATER WAVE}"]})
    whole = recording(header, pairs, end)
    read = parse_capture(whole)
    cut = parse_capture(whole[: data.draw(st.integers(0, len(whole)))])
    assert cut.chunks == read.chunks[: len(cut.chunks)]
    assert cut.end in {None, read.end} or (not cut.chunks and cut.source == "body")
    assert cut.header in (header, CaptureHeader())


def test_a_cut_of_a_capture_only_removes_complete_lines() -> None:
    whole = recording(CaptureHeader(status=200), [(0.5, b"a"), (0.6, b"\xff")], (0.7, None))
    ends_of_lines = [match.start() for match in re.finditer(b"\n", whole)]
    for cut in range(1, len(whole) + 1):
        # A line is complete with its last brace. Its line end may be missing.
        complete = sum(cut >= end for end in ends_of_lines)
        read = parse_capture(whole[:cut])
        assert read.source == "capture"
        assert read.header == (CaptureHeader(status=200) if complete else CaptureHeader())
        assert read.chunks == (Chunk(0.5, b"a"), Chunk(0.6, b"\xff"))[: max(complete - 1, 0)]
        assert read.end == (CaptureEnd(0.7, None) if complete == 4 else None)


def test_a_capture_has_the_documented_format() -> None:
    writer = CaptureWriter(CaptureHeader(status=200, headers={"Request-Id": "req_1"}))
    assert writer.chunk(b"data: caf\xc3\xa9\n", 0.4120004) == (
        b'{"sansio_stream_capture": 1, "status": 200, "headers": {"request-id": "req_1"},'
        b' "request": null}\n'
        b'{"at": 0.412, "text": "data: caf\xc3\xa9\\n"}\n'
    )
    assert writer.chunk(b"\xc3", 1) == b'{"at": 1.0, "base64": "ww=="}\n'
    assert writer.end(1.5) == b'{"at": 1.5, "end": "eof"}\n'
    assert (
        CaptureWriter(CaptureHeader())
        .end(2, "reset")
        .endswith(b'\n{"at": 2.0, "end": "error", "error": "reset"}\n')
    )


def test_the_first_call_returns_the_header_line() -> None:
    writer = CaptureWriter(CaptureHeader())
    assert writer.begin().startswith(b'{"sansio_stream_capture": 1')
    assert writer.begin() == b""
    assert writer.chunk(b"", 0) == b'{"at": 0.0, "text": ""}\n'
    assert CaptureWriter(CaptureHeader()).end(0).count(b"\n") == 2


def test_after_the_end_every_call_raises() -> None:
    writer = CaptureWriter(CaptureHeader())
    writer.end(1)
    for call in (writer.begin, lambda: writer.chunk(b"", 2), lambda: writer.end(2)):
        with pytest.raises(RuntimeError, match="the end"):
            call()


@pytest.mark.parametrize("data", [3, "text", None, [1]])
def test_a_chunk_and_a_file_must_be_bytes(data: Any) -> None:
    writer = CaptureWriter(CaptureHeader())
    with pytest.raises(TypeError):
        writer.chunk(data, 0)
    with pytest.raises(TypeError):
        parse_capture(data)
    assert writer.chunk(b"", 0).startswith(
        b'{"sansio_stream_capture"'
    )  # the failed call has not consumed the header


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_a_chunk_and_a_file_may_be_any_bytes_like_object(kind: Any) -> None:
    written = CaptureWriter(CaptureHeader()).chunk(kind(b"ab\xff"), 0)
    assert parse_capture(kind(written)).body == b"ab\xff"


@pytest.mark.parametrize(
    "at", [-0.001, 1.1e9, float("nan"), float("inf"), 10**400, True, "1", None]
)
def test_an_invalid_time_is_refused_by_the_writer_and_the_reader(at: Any) -> None:
    writer = CaptureWriter(CaptureHeader())
    with pytest.raises(ValueError, match="the time is not"):
        writer.chunk(b"", at)
    with pytest.raises(ValueError, match="the time is not"):
        writer.end(at)
    with pytest.raises(CaptureError, match="line 2: the time is not"):
        parse_capture(lines({"at": at, "text": ""}))
    assert writer.begin() != b""


def test_a_request_that_json_cannot_express_is_refused_before_anything_is_written() -> None:
    with pytest.raises(TypeError):
        CaptureWriter(CaptureHeader(request={"tools": {1, 2}}))
    with pytest.raises(ValueError, match="JSON"):
        CaptureWriter(CaptureHeader(request={"temperature": float("nan")}))


# Credentials, which are never written

SECRETS = {
    "authorization": "Bearer secret",
    "x-api-key": "secret",
    "cookie": "secret",
    "set-cookie": "__cf_bm=secret",
    "anthropic-organization-id": "secret",
    "anthropic-workspace-id": "secret",
    "proxy-authorization": "secret",
    "x-content-type": "secret",
    "content-type-options": "secret",
}
RECORDED = {
    "content-type": "text/event-stream; charset=utf-8",
    "request-id": "req_011",
    "x-amzn-requestid": "c198e874",
    "cf-ray": "9d1c6e5f3b2a-ZRH",
    "retry-after": "15",
    "retry-after-ms": "15000",
    "x-should-retry": "true",
    "anthropic-ratelimit-input-tokens-remaining": "1999000",
}


@given(st.permutations(list((SECRETS | RECORDED).items())), st.booleans())
def test_only_headers_on_the_list_are_kept(pairs: list[tuple[str, str]], title_case: bool) -> None:
    pairs = [(name.title() if title_case else name, value) for name, value in pairs]
    for given_headers in (pairs, dict(pairs)):
        header = CaptureHeader(headers=given_headers)
        assert header.headers == RECORDED
        assert b"secret" not in CaptureWriter(header).begin()


def test_a_header_that_is_not_on_the_list_is_not_read_from_a_file() -> None:
    read = parse_capture(b'{"sansio_stream_capture": 1, "headers": {"X-Api-Key": "secret"}}\n')
    assert read.header.headers == {}


# An MCP server in a request, and the part of it that a capture may contain.
HARMLESS: Final = {"type": "url", "url": "https://mcp.example", "name": "notes"}
SERVER: Final = {
    **HARMLESS,
    "url": "https://user:secret@mcp.example:8443/secret?key=secret#secret",
    "authorization_token": "secret",
    "headers": {"authorization": "Bearer secret", "name": "secret"},
    "env": {"type": "secret", "name": "secret", "url": "https://secret"},
    "secret": True,
}
CONFIGURED: Final = {"tool_configuration": {"enabled": True, "allowed_tools": ["look", "find"]}}


@pytest.mark.parametrize(
    "contained",
    [
        lambda server: {"mcp_servers": [server, "secret", server]},
        lambda server: {"mcp_servers": (server, None, server)},
        lambda server: {"mcp_servers": {"secret": server, "b": server}},
        lambda server: {"mcp_servers": [[server], {"servers": {"c": [server]}}]},
        lambda server: {"mcpServers": {"a": server, "b": {"c": server, "secret": "secret"}}},
    ],
    ids=["list", "tuple", "dict", "nested", "other-name"],
)
def test_only_harmless_members_of_mcp_servers_are_kept(
    contained: Callable[[Any], dict[str, Any]],
) -> None:
    request = contained(SERVER | CONFIGURED)
    before = copy.deepcopy(request)
    for given_request in (request, {"model": "m", "extra": [request]}):
        header = CaptureHeader(request=given_request)
        line = CaptureWriter(header).begin()
        assert b"secret" not in line
        assert parse_capture(line).header == header
    kept = CaptureHeader(request=request).request
    assert kept is not None
    assert list(kept.values()) == [[HARMLESS | CONFIGURED] * 2]
    assert request == before  # the caller's object is not changed


@pytest.mark.parametrize(
    "configuration",
    ["secret", ["secret"], {"enabled": "secret", "secret": True}, {"allowed_tools": {"secret": 1}}],
)
def test_only_known_members_of_a_tool_configuration_are_kept(configuration: Any) -> None:
    server = {"name": "a", "type": "url", "tool_configuration": configuration}
    header = CaptureHeader(request={"mcp_servers": [server]})
    assert b"secret" not in CaptureWriter(header).begin()


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://mcp.example", "https://mcp.example"),
        ("HTTP://127.0.0.1:80/sse", "HTTP://127.0.0.1"),
        ("https://[::1]:1/sse", "https://[::1]"),
        ("https://mcp.example?secret", "https://mcp.example"),
        ("https://mcp.example#secret", "https://mcp.example"),
        ("https://mcp.example\\secret", "https://mcp.example"),
        ("https://secret@mcp.example", "https://mcp.example"),
        ("https://u:secret@mcp.example/", "https://mcp.example"),
        ("https:/\\u:secret@mcp.example/", "https://mcp.example"),
        ("https:u:secret@mcp.example", "https://mcp.example"),
        ("https:////u:secret@mcp.example", "https://mcp.example"),
        # Parsers disagree about the host of these URLs.
        ("https://secret/x@mcp.example", None),
        ("https://u:1/secret@mcp.example", None),
        ("https://mcp.example/@secret", None),
        ("https://mcp.example@secret@b", None),
        ("https://u:secret", None),
        ("https://secret%40mcp.example", None),
        ("ftp://secret", None),
        ("secret", None),
        ("", None),
    ],
)
def test_only_the_scheme_and_the_host_of_an_mcp_servers_url_are_kept(
    url: str, kept: str | None
) -> None:
    header = CaptureHeader(request={"mcp_servers": [{"name": "notes", "url": url}]})
    assert b"secret" not in CaptureWriter(header).begin()
    expected = {} if kept is None else {"url": kept}
    assert header.request == {"mcp_servers": [{"name": "notes", **expected}]}


@given(
    st.recursive(
        st.sampled_from(["secret", "https://u:secret@h", "https:/\\secret@h/secret"]) | st.none(),
        lambda inside: (
            st.lists(inside, max_size=3)
            | st.dictionaries(
                st.sampled_from(["url", "headers", "authorization_token", "env", "secret"]),
                inside,
                max_size=4,
            )
        ),
    )
)
def test_no_value_of_mcp_servers_puts_a_credential_into_a_file(value: Any) -> None:
    header = CaptureHeader(request={"mcp_servers": value})
    assert b"secret" not in CaptureWriter(header).begin()


def test_parameters_with_names_of_keys_are_not_kept() -> None:
    names = [
        *("api_key", "apiKey", "accessKey", "key", "x-goog-key", "auth_token", "password"),
        *("aws_secret_access_key", "vertex_credentials", "Headers", "extra_headers"),
    ]
    request = {"model": "m", "gateway": [dict.fromkeys(names, "secret")]}
    header = CaptureHeader(request={**request, **dict.fromkeys(names, ("secret",))})
    assert header.request == {"model": "m", "gateway": [{}]}


def test_the_known_parameters_of_a_request_are_kept_unchanged() -> None:
    schema = {"type": "object", "properties": {"api_key": {"type": "string"}}}
    deep: Any = {"password": "in a prompt"}
    for _ in range(100):
        deep = [deep]
    request = {
        "model": "m",
        "max_tokens": 5,
        "thinking": {"type": "enabled", "budget_tokens": 1024},
        "messages": [{"role": "user", "content": deep}],
        "system": [{"type": "text", "text": "s", "headers": {}}],
        "tools": [{"name": "look", "input_schema": schema, "cache_control": {"ttl": "5m"}}],
        "output_config": {"format": {"type": "json_schema", "schema": schema}},
        "mcp_servers": None,
    }
    assert CaptureHeader(request=request).request == request


def test_parameters_that_are_nested_too_deeply_are_left_out() -> None:
    deep: Any = "secret"
    for _ in range(900):
        deep = {"a": deep}
    for request in ({"odd": deep}, {"mcp_servers": deep}):
        line = b'{"sansio_stream_capture": 1, "request": %b}\n' % json.dumps(request).encode()
        assert b"secret" not in CaptureWriter(parse_capture(line).header).begin()


# Damage


def damaged(data: bytes) -> CaptureError:
    with pytest.raises(CaptureError) as caught:
        parse_capture(data)
    return caught.value


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"at": 1, "te', "not JSON in UTF-8: Unterminated string"),
        (b'{"at": 1, "text": "\xff"}', "not JSON in UTF-8: 'utf-8' codec"),
        (b"[1]", "not a JSON object"),
        (b'{"text": ""}', "is missing or has the wrong type"),
        (b'{"at": 1, "text": 1}', "is missing or has the wrong type"),
        (b'{"at": 1, "base64": null}', "is missing or has the wrong type"),
        (b'{"at": 1, "end": "later"}', "is missing or has the wrong type"),
        (b'{"at": 1, "end": "error"}', "is missing or has the wrong type"),
        (b'{"end": "eof"}', "is missing or has the wrong type"),
        (b'{"at": 1, "text": "\\ud800"}', "surrogates not allowed"),
        (b'{"at": 1, "base64": "!"}', "base64"),
        (b'{"at": 1, "base64": "\xc3\xa9"}', "ASCII"),
        (HEADER_LINE[:-1], "there is a second header"),
        (b"[" * 100_000, "nested too deeply"),
        (b"1" * 5_000, "not JSON in UTF-8: Exceeds the limit"),
    ],
)
def test_damage_in_the_middle_is_reported_with_its_line(line: bytes, reason: str) -> None:
    before = HEADER_LINE + b'{"at": 0, "text": ""}\n'
    error = damaged(before + line + b'\n{"at": 2, "end": "eof"}\n')
    assert error.line == 3
    assert reason in error.reason
    assert str(error) == f"line 3: {error.reason}"


@pytest.mark.parametrize("line", [{"at": 2, "text": ""}, {"at": 2, "end": "eof"}])
def test_a_line_after_the_end_is_damage(line: object) -> None:
    error = damaged(lines({"at": 1, "end": "eof"}, line))
    assert (error.line, error.reason) == (3, "there is a line after the end of the capture")


def test_a_later_version_of_the_format_is_refused() -> None:
    error = damaged(b'{"sansio_stream_capture": 2, "chunks": "elsewhere"}\n')
    assert str(error) == "line 1: the format version is 2; this reader supports version 1"


@pytest.mark.parametrize(
    "members",
    [
        {"sansio_stream_capture": 0},
        {"sansio_stream_capture": "1"},
        {"sansio_stream_capture": None},
        {"sansio_stream_capture": 1, "status": "200"},
        {"sansio_stream_capture": 1, "headers": []},
        {"sansio_stream_capture": 1, "headers": {"retry-after": 15}},
        {"sansio_stream_capture": 1, "request": []},
    ],
)
def test_a_header_with_wrong_types_is_damage(members: object) -> None:
    error = damaged(json.dumps(members).encode() + b"\n")
    assert (error.line, error.reason) == (1, "a member of the header has the wrong type")


def test_unknown_members_and_lines_of_a_later_writer_are_ignored() -> None:
    read = parse_capture(
        b'{"sansio_stream_capture":1,"host":"example.org"}\r\n\r\n'
        b'{"at": 1, "text": "a", "flags": []}\r\n'
        b'{"note": "a line of a later version"}\r\n'
        b'{"at": 2, "end": "eof", "trailers": {}}\r\n'
        b'{"note": "and another"}'
    )
    assert read == Capture(CaptureHeader(), (Chunk(1.0, b"a"),), CaptureEnd(2.0, None))


def error_line(data: bytes) -> int | None:
    try:
        parse_capture(data)
    except CaptureError as error:
        return error.line
    return None


@given(st.sampled_from([b"", b"{", HEADER_LINE, HEADER_LINE[:-2], b'{"type": ']), st.binary())
@example(b'{"type": ', b"[" * 100_000)
@example(HEADER_LINE, b'{"at": 1e999, "text": ""}')
def test_bytes_can_only_raise_capture_error(start: bytes, rest: bytes) -> None:
    data = start + rest
    assert error_line(data) in {None, *range(1, len(data.replace(b"\r", b"\n").split(b"\n")) + 1)}


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | texts,
    lambda inner: st.lists(inner) | st.dictionaries(texts, inner),
    max_leaves=5,
)
members = st.sampled_from(
    ["at", "text", "base64", "end", "error", "type", "sansio_stream_capture", "headers", "request"]
)
json_lines = st.lists(json_values | st.dictionaries(members, json_values | st.just("eof")))


@given(st.sampled_from([None, 1, 2]), json_lines)
def test_json_lines_can_only_raise_capture_error(version: int | None, values: list[Any]) -> None:
    first = [] if version is None else [{"sansio_stream_capture": version}]
    data = "".join(json.dumps(value) + "\n" for value in first + values).encode()
    assert error_line(data) in {None, *range(1, len(first + values) + 1)}


def test_a_capture_error_can_be_pickled_and_copied() -> None:
    error = CaptureError(7, "why")
    for other in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert (type(other), other.line, other.reason) == (CaptureError, 7, "why")


# Other files


@pytest.mark.parametrize(
    "body",
    [
        b"event: ping\r\ndata: {}\r\n\r\n",
        b"data: {",
        b"\xef\xbb\xbf{}",
        b"\n: comment",
        b"[1]",
        b"<html>{",
        b"\0{",
    ],
)
def test_any_other_file_is_a_body_byte_for_byte(body: bytes) -> None:
    whole = (Chunk(None, body),)
    assert parse_capture(body) == Capture(CaptureHeader(), whole, CaptureEnd(None, None), "body")


def test_an_empty_file_is_an_empty_body() -> None:
    assert parse_capture(b"") == Capture(CaptureHeader(), (), CaptureEnd(None, None), "body")


def test_each_line_with_a_payload_becomes_a_frame() -> None:
    read = parse_capture(
        b'\n {"type": "ping"}\r\n\n'
        b'{"type":"caf\xc3\xa9", "x": "\xe2\x80\xa8"}  \n'
        b'{"type":"two\\nlines"}\r'
        b'{"type":"\\ud800"}\n'
        b'{"type":7}\n'
        b'["no object"]\n'
        b'{"error":{"type":"api_error"}}'
    )
    assert [chunk.data for chunk in read.chunks] == [
        b'event: ping\ndata:  {"type": "ping"}\n\n',
        b'event: caf\xc3\xa9\ndata: {"type":"caf\xc3\xa9", "x": "\xe2\x80\xa8"}  \n\n',
        b'data: {"type":"two\\nlines"}\n\n',
        b'data: {"type":"\\ud800"}\n\n',
        b'data: {"type":7}\n\n',
        b'data: ["no object"]\n\n',
        b'data: {"error":{"type":"api_error"}}\n\n',
    ]
    assert {chunk.at for chunk in read.chunks} == {None}
    assert (read.source, read.end) == ("payloads", CaptureEnd(None, None))


def test_a_cut_payload_is_dropped_and_the_recording_has_no_end() -> None:
    read = parse_capture(b'{"type":"ping"}\n{"type":"message_st')
    assert read.body == b'event: ping\ndata: {"type":"ping"}\n\n'
    assert read.end is None


def test_a_payload_that_is_not_json_is_damage() -> None:
    assert damaged(b'{"type":"ping"}\n\ndata: [DONE]\n').line == 3
    assert damaged(b'{\n  "type": "error"\n}\n').line == 1


# The examples


def generated_examples() -> dict[str, bytes]:
    made: dict[str, bytes] = runpy.run_path(str(EXAMPLES / "make_examples.py"))["captures"]()
    return made


def test_the_table_of_examples_is_generated() -> None:
    made = runpy.run_path(str(EXAMPLES / "make_examples.py"))["table_of_bodies"]()
    assert made == (EXAMPLES / "bodies.jsonl").read_bytes()


def payloads(capture: Capture) -> list[dict[str, Any]]:
    found = re.findall(rb"(?m)^data: (\{.*\})\r?$", capture.body)
    return [json.loads(payload) for payload in found]


def deltas(capture: Capture, kind: str, member: str) -> list[str]:
    return [
        payload["delta"][member]
        for payload in payloads(capture)
        if payload.get("delta", {}).get("type") == kind
    ]


def example_capture(name: str) -> Capture:
    return parse_capture((EXAMPLES / f"{name}.capture.jsonl").read_bytes())


def test_the_example_files_are_the_output_of_the_script() -> None:
    made = generated_examples()
    assert {path.name: path.read_bytes() for path in EXAMPLES.glob("*.capture.jsonl")} == made


@pytest.mark.parametrize(
    "path", sorted(EXAMPLES.glob("*.capture.jsonl")), ids=lambda path: path.name
)
def test_an_example_looks_like_a_real_recording(path: Path) -> None:
    capture = parse_capture(path.read_bytes())
    assert capture.header.status == 200
    assert capture.header.headers.keys() == {"content-type", "request-id"}
    assert (capture.header.request or {})["stream"] is True
    moments = [ended.at or 0 for ended in (*capture.chunks, capture.end) if ended]
    assert 0.6 <= moments[0] <= 1.5
    assert moments == sorted(moments)
    assert b'"base64"' in path.read_bytes()  # a chunk that ends inside a character
    assert any(chunk.data.count(b"\n\n") > 1 for chunk in capture.chunks)  # a burst
    assert any(not chunk.data.endswith(b"\n") for chunk in capture.chunks[:-1])  # a cut frame
    assert path.name in (EXAMPLES / "README.md").read_text()


def test_the_text_example_is_complete() -> None:
    capture = example_capture("text")
    assert "".join(deltas(capture, "text_delta", "text")).startswith("Rivers *are* salty")
    assert payloads(capture)[-1] == {"type": "message_stop"}
    assert capture.end
    assert capture.end.error is None


def test_the_tool_use_example_takes_six_to_nine_seconds_and_has_a_cut_inside_an_escape() -> None:
    capture = example_capture("thinking-and-tool-use")
    assert capture.end
    assert capture.end.at
    assert 6 <= capture.end.at <= 9
    assert len(deltas(capture, "signature_delta", "signature")) == 1
    first, *fragments = deltas(capture, "input_json_delta", "partial_json")
    assert first == ""
    assert any(fragment.endswith("\\") for fragment in fragments)
    assert len(json.loads("".join(fragments))["stops"]) == 5


def test_the_parallel_example_calls_three_tools() -> None:
    blocks = [
        payload.get("content_block") for payload in payloads(example_capture("parallel-tools"))
    ]
    assert [block["type"] for block in blocks if block] == ["text", *["tool_use"] * 3]


def test_the_citations_of_the_search_example_precede_their_text() -> None:
    received = payloads(example_capture("web-search-with-citations"))
    citing = [
        payload["index"]
        for payload in received
        if payload.get("content_block", {}).get("citations") == []
    ]
    assert citing
    for index in citing:
        kinds = [
            payload["delta"]["type"]
            for payload in received
            if payload["type"] == "content_block_delta" and payload["index"] == index
        ]
        assert kinds[0] == "citations_delta"
        assert kinds == sorted(kinds)
    *_, totals, _ = received
    assert totals["usage"]["server_tool_use"] == {"web_search_requests": 1, "web_fetch_requests": 0}
    assert totals["usage"]["input_tokens"] > received[0]["message"]["usage"]["input_tokens"]


def test_the_cut_example_ends_inside_a_frame_of_tool_input() -> None:
    capture = example_capture("cut-stream")
    *_, last = capture.body.split(b"\n\n")
    assert b'"delta":{"type":"input' in last
    assert capture.end
    assert capture.end.error
    assert "peer closed connection" in capture.end.error


def test_the_overloaded_example_ends_with_an_error_event_and_a_clean_end() -> None:
    capture = example_capture("overloaded")
    assert payloads(capture)[-1] == {
        "type": "error",
        "error": {"details": None, "type": "overloaded_error", "message": "Overloaded"},
        "request_id": capture.header.headers["request-id"],
    }
    assert capture.end
    assert capture.end.error is None


def test_the_proxy_example_has_the_typical_faults_of_proxies() -> None:
    capture = example_capture("proxy-dirty")
    body = capture.body
    received = payloads(capture)
    starts = [payload for payload in received if payload.get("type") == "message_start"]
    assert len(starts) == 2
    assert starts[0] == starts[1]
    indexes = [
        payload["index"] for payload in received if payload.get("type") == "content_block_start"
    ]
    assert indexes == [0, 2]
    assert b"\r\n\r\n" in body  # line ends of both kinds
    assert b"\n\ndata: {" in body  # a frame without its name
    assert b"\nupstream-milliseconds: " in body  # an unknown field
    assert b"\n: keep-alive\n\n" in body  # a comment
    assert b"event: ping\ndata: {}\n\n" in body
    assert b"event: route\n" in body  # a vendor's event
    assert b'"stop_reason":"tool_use"' in body
    assert b"message_stop" not in body
    assert body.endswith(b"data: [DONE]\n\n")
