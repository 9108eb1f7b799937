"""Test that all adapters behave alike. Each scenario runs with each adapter."""

import gc
import gzip
import importlib
import inspect
import io
import json
import math
import os
import socket
import ssl
import threading
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any, Final
from unittest import mock
from urllib.parse import parse_qsl, urlsplit

import pytest

from matrix import (
    PROMPT,
    Adapter,
    AsyncFacade,
    ask,
    driven,
    machine_of,
    message_of,
    text_of,
)
from sansio_stream import (
    ContentBlockDeltaEvent,
    InputJSONDelta,
    Limits,
    Message,
    MessageDeltaEvent,
    StreamMachine,
    TextDelta,
    ThinkingDelta,
    ToolUseBlock,
    Verdict,
    parse_capture,
)
from sansio_stream_adapters import (
    NOT_GIVEN,
    APIConnectionError,
    APIError,
    APIStatusError,
    APITimeoutError,
    AsyncMessageStream,
    AuthenticationError,
    BadRequestError,
    ClientClosedRequestError,
    ConflictError,
    ContentTooLargeError,
    GatewayTimeoutError,
    HTTPNotImplementedError,
    IncompleteMessageError,
    InternalServerError,
    LimitError,
    MessageStream,
    NotAnEventStreamError,
    NotFoundError,
    OverloadedError,
    PaymentRequiredError,
    PermissionDeniedError,
    PreconditionFailedError,
    ProtocolError,
    RateLimitError,
    RequestHeaderFieldsTooLargeError,
    RequestTimeoutError,
    ServiceUnavailableError,
    Timeout,
    UnprocessableEntityError,
)
from servers import (
    PATIENCE,
    TLS,
    Do,
    RawServer,
    Script,
    TooSoonError,
    aiohttp_server,
    chunk,
    head,
    refusing_url,
    response,
    signalling,
    while_main_receives,
    with_seconds,
)
from wire import HELLO, OVERLOADED, PING, body

StartServer = Callable[..., RawServer]

WHOLE: Final = body(*HELLO)
HALF: Final = body(*HELLO[:4])
"""The frames up to the text "Hel"."""
TEXT: Final = "Hello, wörld \N{PARTY POPPER}"


def encoded(name: str, content_type: str = "text/event-stream") -> dict[str, str]:
    """Make the headers of a body with a content-encoding."""
    return {"content-type": content_type, "content-encoding": name}


pytestmark = pytest.mark.usefixtures("nothing_is_left_open")


@pytest.fixture
def _drain_briefly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for the end of a body for 0.05 s only. A distant server needs more time."""
    monkeypatch.setattr("sansio_stream_adapters._bridge.DRAIN_SECONDS", 0.05)


# Uses that the documentation shows.


@driven
async def test_the_text_stream_yields_the_text_deltas(
    adapter: Adapter, example_server: str
) -> None:
    async with (
        adapter.client(example_server) as client,
        client.messages.stream(**ask("text")) as stream,
    ):
        texts = [text async for text in stream.text_stream]
    _, events = machine_of("text")
    assert texts == [
        event.delta.text
        for event in events
        if isinstance(event, ContentBlockDeltaEvent) and isinstance(event.delta, TextDelta)
    ]


@driven
async def test_all_events_are_yielded_in_order(adapter: Adapter, example_server: str) -> None:
    async with adapter.client(example_server) as client:
        for name in (
            "text",
            "thinking-and-tool-use",
            "parallel-tools",
            "web-search-with-citations",
        ):
            async with client.messages.stream(**ask(name)) as stream:
                events = [event async for event in stream]
            assert events == machine_of(name)[1]
            assert stream.verdict is Verdict.COMPLETE


@driven
async def test_the_final_message_and_its_text_can_be_read_after_the_with_block(
    adapter: Adapter, example_server: str
) -> None:
    async with (
        adapter.client(example_server) as client,
        client.messages.stream(**ask("text")) as stream,
    ):
        async for _ in stream.text_stream:
            pass
    message = await stream.get_final_message()
    assert message == message_of("text")
    assert message.usage.output_tokens > 0
    assert await stream.get_final_text() == text_of(message)
    assert stream.snapshot is message


@driven
async def test_the_final_message_can_be_read_without_iteration(
    adapter: Adapter, example_server: str
) -> None:
    async with (
        adapter.client(example_server) as client,
        client.messages.stream(**ask("text")) as stream,
    ):
        assert await stream.get_final_text() == text_of(message_of("text"))


@driven
async def test_the_pieces_of_a_tool_call_add_up_to_its_input(
    adapter: Adapter, example_server: str
) -> None:
    tools = [{"name": "get_weather", "input_schema": {"type": "object"}}]
    pieces: dict[int, str] = {}
    async with (
        adapter.client(example_server) as client,
        client.messages.stream(**ask("parallel-tools", tools=tools)) as stream,
    ):
        async for event in stream:
            if isinstance(event, ContentBlockDeltaEvent) and isinstance(
                event.delta, InputJSONDelta
            ):
                pieces[event.index] = pieces.get(event.index, "") + event.delta.partial_json
        message = await stream.get_final_message()
    calls = {
        place: block.input
        for place, block in enumerate(message.content)
        if isinstance(block, ToolUseBlock)
    }
    assert len(calls) > 1
    assert {index: json.loads(text) for index, text in pieces.items()} == calls


@driven
async def test_thinking_deltas_add_up_to_the_thinking_block(
    adapter: Adapter, example_server: str
) -> None:
    thoughts = ""
    async with (
        adapter.client(example_server) as client,
        client.messages.stream(
            **ask("thinking-and-tool-use", thinking={"type": "adaptive"})
        ) as stream,
    ):
        async for event in stream:
            if event.type == "content_block_delta" and isinstance(event.delta, ThinkingDelta):
                thoughts += event.delta.thinking
        message = await stream.get_final_message()
    assert thoughts
    assert message.content[0].thinking == thoughts


@driven
async def test_the_usage_is_in_the_message_delta(adapter: Adapter, example_server: str) -> None:
    tokens = 0
    async with (
        adapter.client(example_server) as client,
        client.messages.stream(**ask("text")) as stream,
    ):
        async for event in stream:
            if isinstance(event, MessageDeltaEvent):
                tokens = event.usage.output_tokens or 0
        assert tokens == (await stream.get_final_message()).usage.output_tokens > 0


@driven
async def test_the_snapshot_includes_the_last_event_taken(
    adapter: Adapter, example_server: str
) -> None:
    async with (
        adapter.client(example_server) as client,
        client.messages.stream(**ask("text")) as stream,
    ):
        with pytest.raises(RuntimeError, match="message_start"):
            _ = stream.current_message_snapshot
        so_far = ""
        async for event in stream:
            if event.type == "content_block_delta" and event.delta.type == "text_delta":
                so_far += event.delta.text
            assert text_of(stream.current_message_snapshot) == so_far
        assert so_far
        assert stream.block(0).text == so_far


@driven
async def test_the_content_of_an_answer_can_be_sent_back(
    adapter: Adapter, raw_server: StartServer
) -> None:
    server = raw_server([response(WHOLE)])
    conversation: list[Any] = []
    async with adapter.client(server.url) as client:
        for question in ("Hi, I'm Alice", "What's my name?"):
            conversation.append({"role": "user", "content": question})
            async with client.messages.stream(**ask(messages=conversation)) as stream:
                async for _ in stream.text_stream:
                    pass
            message = await stream.get_final_message()
            conversation.append({"role": "assistant", "content": message.content})
    assert server.requests[1].json["messages"] == [
        {"role": "user", "content": "Hi, I'm Alice"},
        {"role": "assistant", "content": [{"type": "text", "text": TEXT}]},
        {"role": "user", "content": "What's my name?"},
    ]


@driven
async def test_all_parameters_are_in_the_body_except_options_of_the_call(
    adapter: Adapter, raw_server: StartServer, tmp_path: Path
) -> None:
    server = raw_server([response(WHOLE)])
    async with (
        adapter.client(server.url, default_headers={"x-all": "1"}) as client,
        client.messages.stream(
            **ask("claude-ü"),
            system="Be concise.",
            temperature=0.8,
            metadata=None,
            tools=NOT_GIVEN,
            unknown_parameter={"yes": True},
            timeout=float(PATIENCE),
            max_retries=1,
            strict=True,
            record_to=tmp_path / "recording",
            extra_headers={"x-one": "2"},
            extra_query={"a b": "c&d/ü+%"},
            extra_body={"more": [1]},
        ) as stream,
    ):
        await stream.until_done()
    (request,) = server.requests
    assert request.json == {
        "model": "claude-ü",
        "max_tokens": 64,
        "messages": [PROMPT],
        "stream": True,
        "system": "Be concise.",
        "temperature": 0.8,
        "metadata": None,
        "unknown_parameter": {"yes": True},
        "more": [1],
    }
    assert request.line.startswith("POST /v1/messages?")
    assert dict(parse_qsl(urlsplit(request.line.split()[1]).query)) == {"a b": "c&d/ü+%"}
    sent = {name: request.headers.get(name) for name in ("x-api-key", "x-all", "x-one")}
    assert sent == {"x-api-key": "k", "x-all": "1", "x-one": "2"}
    assert request.headers["content-type"] == "application/json"
    assert request.headers["anthropic-version"] == "2023-06-01"
    assert request.headers["host"] == f"127.0.0.1:{server.port}"


@driven
async def test_an_invalid_argument_is_refused_before_a_connection_is_made(
    adapter: Adapter, raw_server: StartServer
) -> None:
    server = raw_server([response(WHOLE)])
    async with adapter.client(server.url) as client:
        with pytest.raises(ValueError, match="temperature"):
            client.messages.stream(**ask(temperature=math.nan))
    assert server.connections == 0


@driven
async def test_the_environment_provides_the_base_url_and_the_key(
    adapter: Adapter, raw_server: StartServer
) -> None:
    server = raw_server([response(WHOLE)])
    environment = {
        "ANTHROPIC_BASE_URL": f"{server.url}/gateway/",
        "ANTHROPIC_API_KEY": "from the environment",
        "ANTHROPIC_AUTH_TOKEN": "",
    }
    with mock.patch.dict(os.environ, environment):
        client = adapter.make(max_retries=0)
    async with client, client.messages.stream(**ask()) as stream:
        assert await stream.get_final_text() == TEXT
    (request,) = server.requests
    assert request.line == "POST /gateway/v1/messages HTTP/1.1"
    assert request.headers["x-api-key"] == "from the environment"


@driven
async def test_betas_are_sent_as_a_header(adapter: Adapter, raw_server: StartServer) -> None:
    server = raw_server([response(WHOLE)])
    async with (
        adapter.client(server.url) as client,
        client.beta.messages.stream(**ask(), betas=["one-2026", "two-2026"]) as stream,
    ):
        assert await stream.get_final_text() == TEXT
    (request,) = server.requests
    assert request.headers["anthropic-beta"] == "one-2026,two-2026"
    assert "betas" not in request.json


@driven
async def test_create_yields_events_and_requires_stream_true(
    adapter: Adapter, example_server: str
) -> None:
    async with adapter.client(example_server) as client:
        async with await client.messages.create(**ask("text"), stream=True) as stream:
            events = [event async for event in stream]
        assert events == machine_of("text")[1]
        for options in ({}, {"stream": False}):
            with pytest.raises(TypeError, match=r"stream\(\.\.\.\)\.get_final_message\(\)"):
                await client.messages.create(**ask("text"), **options)


@driven
async def test_twelve_streams_at_once_do_not_mix_their_events(
    adapter: Adapter, example_server: str
) -> None:
    names = ("text", "parallel-tools", "proxy-dirty", "web-search-with-citations") * 3

    async with adapter.client(example_server) as client:

        async def one(name: str) -> Message:
            async with client.messages.stream(**ask(name)) as stream:
                message: Message = await stream.get_final_message()
                return message

        messages = await adapter.gather(*(partial(one, name) for name in names))
    assert messages == [message_of(name) for name in names]


@driven
async def test_the_texts_can_be_buffered(adapter: Adapter, example_server: str) -> None:
    displayed: list[str] = []
    buffer = ""
    async with (
        adapter.client(example_server) as client,
        client.messages.stream(**ask("text")) as stream,
    ):
        async for text in stream.text_stream:
            buffer += text
            if len(buffer) >= 10 or text in ".!?\n":
                displayed.append(buffer)
                buffer = ""
                await adapter.sleep(0)
    assert "".join([*displayed, buffer]) == text_of(message_of("text"))


@driven
async def test_the_manager_can_be_entered_and_left_without_a_with_block(
    adapter: Adapter, example_server: str
) -> None:
    async with adapter.client(example_server) as client:
        manager = client.messages.stream(**ask("text"))
        stream = await manager.__aenter__()
        try:
            events = [event async for event in stream]
        finally:
            await manager.__aexit__(None, None, None)
        assert events[-1].type == "message_stop"
        with pytest.raises(RuntimeError, match="entered before"):
            await manager.__aenter__()
        never_entered = client.messages.stream(**ask("text"))
        await never_entered.__aexit__(None, None, None)


@driven
async def test_the_stream_has_the_response_with_its_headers(
    adapter: Adapter, raw_server: StartServer
) -> None:
    headers = {"content-type": "text/event-stream", "Request-Id": "req_1", "x-more": "yes"}
    server = raw_server([response(WHOLE, headers=headers)])
    async with (
        adapter.client(server.url) as client,
        client.messages.stream(**ask()) as stream,
    ):
        assert stream.response.headers.get("request-id") == "req_1"
        assert stream.response.headers["X-More"] == "yes"
        assert stream.request_id == "req_1"
        async for _ in stream.text_stream:
            pass


@driven
async def test_entering_the_block_of_a_refused_request_raises_its_error(
    adapter: Adapter, example_server: str
) -> None:
    async with adapter.client(example_server) as client:
        try:
            async with client.messages.stream(**ask("text", fault="429")):
                pytest.fail("a refused request has entered the block")
        except APIConnectionError:
            pytest.fail("a refused request has raised APIConnectionError")
        except RateLimitError as error:
            assert error.status_code == 429
            assert error.message == "Too many requests"
        with pytest.raises(APIStatusError) as caught:
            await client.messages.create(**ask("text", fault="400"), stream=True)
        assert caught.value.status_code == 400


# Faulty answers.

FAULTS: Final[dict[str, tuple[type[APIError], Verdict]]] = {
    "cut": (APIConnectionError, Verdict.TRUNCATED),
    "cut-in-frame": (APIConnectionError, Verdict.TRUNCATED),
    "reset": (APIConnectionError, Verdict.TRUNCATED),
    "stall": (APITimeoutError, Verdict.TRUNCATED),
    "ping-stall": (APITimeoutError, Verdict.TRUNCATED),
    "error-in-mid-stream": (OverloadedError, Verdict.ERRORED),
}
"""Faults in the middle of a message, with the exception and the verdict they cause."""


@pytest.mark.parametrize("fault", FAULTS)
@with_seconds
@driven
async def test_a_fault_in_the_middle_is_raised_and_the_partial_message_is_kept(
    adapter: Adapter, example_server: str, fault: str, seconds: float
) -> None:
    kind, verdict = FAULTS[fault]
    timeout = Timeout(read=seconds, idle=seconds) if "stall" in fault else PATIENCE
    texts: list[str] = []

    async def read(stream: Any) -> None:
        async for text in stream.text_stream:
            texts.append(text)  # noqa: PERF401  (keeps the texts before the exception)

    async with (
        adapter.client(example_server, timeout=timeout) as client,
        client.messages.stream(**ask("text", fault=fault)) as stream,
    ):
        with pytest.raises(kind) as first:
            await read(stream)
        if "stall" in fault and not texts:
            raise TooSoonError
        with pytest.raises(kind) as second:
            await stream.get_final_message()
    with pytest.raises(kind) as third:
        await stream.get_final_text()
    assert type(first.value) is type(second.value) is type(third.value)
    assert str(first.value) == str(second.value) == str(third.value)
    assert first.value.partial_message == stream.snapshot
    assert first.value.verdict is stream.verdict is verdict
    assert first.value.content_emitted
    received = "".join(texts)
    assert received == text_of(stream.snapshot) != ""
    assert text_of(message_of("text")).startswith(received)


@driven
async def test_an_error_in_a_stream_has_both_statuses(
    adapter: Adapter, example_server: str
) -> None:
    async with adapter.client(example_server) as client:
        for fault, begun in (("error-first", False), ("error-in-mid-stream", True)):
            async with client.messages.stream(**ask("text", fault=fault)) as stream:
                with pytest.raises(OverloadedError) as caught:
                    await stream.until_done()
            error = caught.value
            assert (error.status_code, error.http_status) == (529, 200)
            assert (error.type, error.message) == ("overloaded_error", "Overloaded")
            assert error.request_id == stream.response.headers["request-id"]
            assert error.headers["request-id"] == error.request_id
            assert error.content_emitted is begun
            assert (error.partial_message is not None) is begun


NOT_A_STREAM: Final[dict[str, type[APIError]]] = {
    "no-head": APIConnectionError,
    "html-200": NotAnEventStreamError,
    "json-200": NotAnEventStreamError,
    "empty-body": IncompleteMessageError,
}


@pytest.mark.parametrize("fault", NOT_A_STREAM)
@driven
async def test_an_answer_that_is_not_a_stream_is_an_error(
    adapter: Adapter, example_server: str, fault: str
) -> None:
    async with adapter.client(example_server) as client:
        with pytest.raises(NOT_A_STREAM[fault]) as caught:
            async with client.messages.stream(**ask("text", fault=fault)) as stream:
                await stream.get_final_message()
    assert caught.value.partial_message is None


@pytest.mark.usefixtures("_drain_briefly")
@pytest.mark.parametrize("fault", ["drip", "gzip", "truncated", "stays-open", "stays-open-pings"])
@driven
async def test_a_whole_message_is_read_however_its_body_arrives_and_ends(
    adapter: Adapter, example_server: str, fault: str
) -> None:
    async with adapter.client(example_server, limit=1) as client:
        for _ in range(2):
            async with client.messages.stream(**ask("short", fault=fault)) as stream:
                message = await stream.get_final_message()
            assert text_of(message) == TEXT
            assert message.stop_reason == "end_turn"
            assert stream.verdict is Verdict.COMPLETE


@driven
async def test_a_message_with_a_stop_reason_is_returned_without_message_stop(
    adapter: Adapter, example_server: str
) -> None:
    async with (
        adapter.client(example_server) as client,
        client.messages.stream(**ask("text", fault="missing-message-stop")) as stream,
    ):
        message = await stream.get_final_message()
        assert text_of(message) == text_of(message_of("text"))
        assert message.stop_reason == "end_turn"
        assert stream.verdict is Verdict.UNTERMINATED


STREAM: Final = {"content-type": "text/event-stream"}


def truncations_that_http_detects(has_read: threading.Event) -> dict[str, Script]:
    """Return the scripts. The test sets `has_read` after it has read the first half."""
    return {
        "between chunks": [head() + chunk(HALF), Do.CLOSE],
        "inside a chunk": [head() + chunk(WHOLE)[: len(HALF) + 9], Do.CLOSE],
        "an invalid chunk size": [head() + chunk(HALF), has_read, b"zz\r\n", Do.WAIT],
        "before the length": [
            head(200, {**STREAM, "content-length": str(len(WHOLE))}) + HALF,
            Do.CLOSE,
        ],
    }


TRUNCATIONS_THAT_HTTP_DOES_NOT_DETECT: Final[dict[str, Script]] = {
    "no length": [head(200, STREAM) + HALF, Do.CLOSE],
    "the length of half the message": [response(HALF)],
}


@pytest.mark.parametrize(
    "cut",
    [*truncations_that_http_detects(threading.Event()), *TRUNCATIONS_THAT_HTTP_DOES_NOT_DETECT],
)
@driven
async def test_a_truncated_body_is_an_error_even_if_http_does_not_detect_it(
    adapter: Adapter, raw_server: StartServer, cut: str
) -> None:
    has_read = threading.Event()
    detected = truncations_that_http_detects(has_read)
    is_detected = cut in detected
    server = raw_server({**detected, **TRUNCATIONS_THAT_HTTP_DOES_NOT_DETECT}[cut])
    async with (
        adapter.client(server.url, max_retries=2) as client,
        client.messages.stream(**ask()) as stream,
    ):
        with pytest.raises(APIConnectionError) as caught:
            await read_on_after_hel(stream, has_read.set)
    assert isinstance(caught.value, IncompleteMessageError) is not is_detected
    assert (caught.value.__cause__ is not None) is is_detected
    assert caught.value.verdict is Verdict.TRUNCATED
    assert text_of(stream.snapshot) == "Hel"
    assert len(server.requests) == 1  # a request is not retried after its stream is open


@driven
async def test_a_slow_reader_gets_everything_that_was_sent_before_a_truncation(
    adapter: Adapter, raw_server: StartServer
) -> None:
    for script, expected in (
        ([head() + chunk(HALF), Do.CLOSE], "Hel"),
        ([head() + chunk(WHOLE), Do.CLOSE], TEXT),
    ):
        server = raw_server(script)
        async with (
            adapter.client(server.url) as client,
            client.messages.stream(**ask()) as stream,
        ):
            await adapter.until_closed(server)  # all bytes and the end have arrived
            texts = ""
            try:
                async for text in stream.text_stream:
                    texts += text
                    await adapter.sleep(0)
            except APIConnectionError:
                assert expected == "Hel"
        assert texts == expected


@driven
async def test_a_head_that_never_ends_is_a_timeout(
    adapter: Adapter, raw_server: StartServer
) -> None:
    for script in ([Do.WAIT], [b"HTTP/1.1 200 OK\r\ncontent-", Do.WAIT]):
        server = raw_server(script)
        async with adapter.client(server.url, timeout=Timeout(read=0.1)) as client:
            with pytest.raises(APITimeoutError):
                await client.messages.create(**ask(), stream=True)
        await adapter.until_closed(server)


@with_seconds
@driven
async def test_idle_also_applies_to_silence(
    adapter: Adapter, raw_server: StartServer, seconds: float
) -> None:
    server = raw_server([head() + chunk(HALF), Do.WAIT])
    async with (
        adapter.client(server.url) as client,
        client.messages.stream(**ask(), timeout=Timeout(idle=seconds)) as stream,
    ):
        with pytest.raises(APITimeoutError):
            await stream.until_done()
        if stream.snapshot is None:
            raise TooSoonError
        assert text_of(stream.snapshot) == "Hel"
    await adapter.until_closed(server)


@driven
async def test_a_compressed_body_is_requested_and_decoded(
    adapter: Adapter, raw_server: StartServer
) -> None:
    bodies = {"gzip": gzip.compress(WHOLE), "deflate": zlib.compress(WHOLE), "identity": WHOLE}
    server = raw_server(
        *([response(sent, headers=encoded(name))] for name, sent in bodies.items()),
        [head(headers={**encoded("gzip"), "transfer-encoding": "chunked"})]
        + [chunk(bytes([byte])) for byte in bodies["gzip"]]
        + [chunk(b"")],
    )
    async with adapter.client(server.url) as client:
        for _ in range(4):
            async with client.messages.stream(**ask()) as stream:
                assert await stream.get_final_text() == TEXT
    assert {sent.headers["accept-encoding"] for sent in server.requests} == {"gzip, deflate"}


@driven
async def test_the_caller_can_set_accept_encoding(
    adapter: Adapter, raw_server: StartServer
) -> None:
    server = raw_server([response(WHOLE)])
    async with adapter.client(server.url) as client:
        call = ask(extra_headers={"Accept-Encoding": "identity"})
        async with client.messages.stream(**call) as stream:
            await stream.until_done()
    assert server.requests[0].headers["accept-encoding"] == "identity"
    assert server.requests[0].head.lower().count(b"accept-encoding") == 1


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip", "x-unknown"])
@driven
async def test_an_unknown_encoding_is_refused_after_the_head_and_not_retried(
    adapter: Adapter, raw_server: StartServer, encoding: str
) -> None:
    server = raw_server(
        [head(headers={**encoded(encoding), "transfer-encoding": "chunked"}), Do.WAIT],
        [head(413, {**encoded(encoding), "transfer-encoding": "chunked"}), Do.WAIT],
    )
    async with adapter.client(server.url, max_retries=2) as client:
        with pytest.raises(NotAnEventStreamError, match=f"content-encoding '{encoding}'"):
            await client.messages.create(**ask(), stream=True)
        with pytest.raises(ContentTooLargeError, match=f"content-encoding '{encoding}'"):
            await client.messages.create(**ask(), stream=True)
    await adapter.until_closed(server, 2)
    assert len(server.requests) == 2


@driven
async def test_the_compressed_body_of_an_error_is_decoded(
    adapter: Adapter, raw_server: StartServer
) -> None:
    refusal = b'{"type":"error","error":{"type":"api_error","message":"no"}}'
    server = raw_server(
        [response(gzip.compress(refusal), 500, encoded("gzip", "application/json"))]
    )
    async with adapter.client(server.url) as client:
        with pytest.raises(InternalServerError, match="no") as caught:
            await client.messages.create(**ask(), stream=True)
    assert caught.value.body == json.loads(refusal)


@cache
def bombs() -> tuple[bytes, bytes]:
    """Return 8 MiB that are compressed well, and 2 MiB that are not compressed."""
    line = b":" * 1023 + b"\n"
    return gzip.compress(line * 2**13), gzip.compress(line * 2**11, compresslevel=0)


@pytest.mark.parametrize("status", [200, 500])
@driven
async def test_a_decompression_bomb_takes_little_memory(
    adapter: Adapter, raw_server: StartServer, status: int
) -> None:
    bomb, ordinary = bombs()
    sent = [response(each, status, encoded("gzip")) for each in (ordinary, ordinary, bomb)]
    server = raw_server(*([each] for each in sent))
    peaks: list[int] = []
    async with adapter.client(server.url) as client:
        for _ in sent:
            tracemalloc.start()
            try:
                with pytest.raises((LimitError, InternalServerError)):
                    async with client.messages.stream(
                        **ask(limits=Limits(total_bytes=2**20))
                    ) as stream:
                        await stream.until_done()
                peaks.append(tracemalloc.get_traced_memory()[1])
            finally:
                tracemalloc.stop()
    assert peaks[2] < 3 * peaks[1]


@driven
async def test_a_body_that_is_not_compressed_as_declared_is_a_connection_error(
    adapter: Adapter, raw_server: StartServer
) -> None:
    server = raw_server([response(WHOLE, headers=encoded("gzip"))])
    async with adapter.client(server.url) as client:
        with pytest.raises(APIConnectionError, match="the body is not gzip"):
            async with client.messages.stream(**ask()) as stream:
                await stream.until_done()


@driven
async def test_strict_and_limits_are_passed_to_the_machine(
    adapter: Adapter, example_server: str
) -> None:
    async with adapter.client(example_server) as client:
        async with client.messages.stream(**ask("proxy-dirty")) as stream:
            await stream.until_done()
            assert stream.violations == machine_of("proxy-dirty")[0].violations != ()
        async with client.messages.stream(**ask("proxy-dirty", strict=True)) as stream:
            with pytest.raises(ProtocolError):
                await stream.until_done()
        async with client.messages.stream(**ask("text", limits=Limits(total_bytes=99))) as stream:
            with pytest.raises(LimitError):
                await stream.until_done()


# The table of errors.

ERRORS: Final[tuple[tuple[int, str | None, type[APIStatusError]], ...]] = (
    (400, "invalid_request_error", BadRequestError),
    (401, "authentication_error", AuthenticationError),
    (402, "billing_error", PaymentRequiredError),
    (403, "permission_error", PermissionDeniedError),
    (404, "not_found_error", NotFoundError),
    (405, None, APIStatusError),
    (408, None, RequestTimeoutError),
    (409, "conflict_error", ConflictError),
    (412, None, PreconditionFailedError),
    (413, "request_too_large", ContentTooLargeError),
    (418, None, APIStatusError),
    (422, None, UnprocessableEntityError),
    (429, "rate_limit_error", RateLimitError),
    (431, None, RequestHeaderFieldsTooLargeError),
    (499, None, ClientClosedRequestError),
    (500, "api_error", InternalServerError),
    (501, None, HTTPNotImplementedError),
    (502, None, InternalServerError),
    (503, None, ServiceUnavailableError),
    (504, "timeout_error", GatewayTimeoutError),
    (529, "overloaded_error", OverloadedError),
)

HTML: Final = b"<!doctype html><title>Bad gateway</title>"


@pytest.mark.parametrize("body_kind", ["JSON", "HTML", "nothing"])
@driven
async def test_each_status_raises_its_class_with_the_details_of_the_response(
    adapter: Adapter, raw_server: StartServer, body_kind: str
) -> None:
    # Each adapter gets each status, with a body that names the error. The other bodies come with
    # every fourth status: no adapter reads a body in another way because of its status.
    errors = ERRORS if body_kind == "JSON" else ERRORS[::4]
    scripts: list[Script] = []
    for status, kind, _ in errors:
        details = {"type": kind or "other_error", "message": f"It was {status}"}
        data = {
            "JSON": json.dumps({"type": "error", "error": details}).encode(),
            "HTML": HTML,
            "nothing": b"",
        }[body_kind]
        types = {"JSON": "application/json", "HTML": "text/html; charset=utf-8", "nothing": None}
        headers = {"content-type": types[body_kind], "request-id": f"req_{status}"}
        sent = {name: value for name, value in headers.items() if value is not None}
        scripts.append([response(data, status, sent)])
    server = raw_server(*scripts)
    async with adapter.client(server.url) as client:
        for status, kind, expected in errors:
            with pytest.raises(APIStatusError) as caught:
                await client.messages.create(**ask(), stream=True)
            error = caught.value
            assert type(error) is expected
            assert (error.status_code, error.http_status) == (status, status)
            assert error.request_id == error.headers["request-id"] == f"req_{status}"
            assert error.verdict is Verdict.ERRORED
            assert not error.content_emitted
            match body_kind:
                case "JSON":
                    assert error.type == (kind or "other_error")
                    assert error.message == f"It was {status}"
                    assert error.body["type"] == "error"
                case "HTML":
                    assert error.type is None
                    assert error.body == HTML.decode()
                    assert "Bad gateway" in error.message
                case _:
                    assert (error.type, error.body) == (None, "")
    if adapter.pools:
        assert server.connections == 1  # the body of each error was read to its end


@with_seconds
@driven
async def test_the_body_of_an_error_may_be_truncated_or_endless(
    adapter: Adapter, raw_server: StartServer, seconds: float
) -> None:
    long_head = head(500, {"content-type": "text/plain", "content-length": "99999999"})
    server = raw_server(
        [long_head + b"Internal", Do.CLOSE],
        [long_head + b"Internal", Do.WAIT],
        [long_head + b"Internal" * 20_000, Do.WAIT],
    )
    async with adapter.client(server.url, timeout=Timeout(read=seconds)) as client:
        for number in range(1, 4):
            with pytest.raises(InternalServerError) as caught:
                await client.messages.create(**ask(), stream=True)
            if not caught.value.body:
                raise TooSoonError
            assert "Internal" in caught.value.message
            await adapter.until_closed(server, number)


# Retries.


@driven
async def test_temporary_failures_are_retried_after_the_delay_that_the_server_asks_for(
    adapter: Adapter, raw_server: StartServer, delays: list[float]
) -> None:
    failures = [
        response(b"", status, headers)
        for status, headers in (
            (429, {"retry-after": "7"}),
            (529, {"retry-after-ms": "1500"}),
            (503, {"retry-after": "soon"}),
            (408, {}),
        )
    ]
    server = raw_server(*([failure] for failure in failures), [Do.CLOSE], [response(WHOLE)])
    async with (
        adapter.client(server.url, max_retries=5) as client,
        client.messages.stream(**ask()) as stream,
    ):
        assert await stream.get_final_text() == TEXT
    assert delays[:2] == [7, 1.5]
    assert 1.5 <= delays[2] <= 2
    assert 3 <= delays[3] <= 4
    assert 6 <= delays[4] <= 8
    assert len(server.requests) == 6
    assert len({request.body for request in server.requests}) == 1


@driven
async def test_max_retries_limits_the_number_of_requests(
    adapter: Adapter, raw_server: StartServer, delays: list[float]
) -> None:
    server = raw_server([response(b"", 529, {})])
    async with adapter.client(server.url, max_retries=2) as client:
        for times, more in ((3, {}), (1, {"max_retries": 0}), (4, {"max_retries": 3})):
            already = len(server.requests)
            with pytest.raises(OverloadedError):
                await client.messages.create(**ask(), **more, stream=True)
            assert len(server.requests) - already == times
    assert len(delays) == 5


@driven
async def test_permanent_failures_are_not_retried(
    adapter: Adapter, raw_server: StartServer, delays: list[float]
) -> None:
    server = raw_server(
        [response(b"", 400, {})],
        [response(b"", 529, {"x-should-retry": "false"})],
        [response(HTML, 200, {"content-type": "text/html"})],
        [response(body(PING, OVERLOADED))],
    )
    async with adapter.client(server.url, max_retries=5) as client:
        for kind in (BadRequestError, OverloadedError, NotAnEventStreamError, OverloadedError):
            with pytest.raises(kind):
                async with client.messages.stream(**ask()) as stream:
                    await stream.until_done()
    assert len(server.requests) == 4
    assert delays == []


@driven
async def test_a_request_that_is_refused_once_succeeds_at_the_second_attempt(
    adapter: Adapter, example_server: str
) -> None:
    async with adapter.client(example_server, max_retries=1) as client:
        for fault in ("429-once", "529-once"):
            async with client.messages.stream(**ask("text", fault=fault)) as stream:
                assert await stream.get_final_message() == message_of("text")


@driven
async def test_a_refused_connection_is_retried_and_then_raises_a_connection_error(
    adapter: Adapter, delays: list[float]
) -> None:
    with refusing_url() as url:
        async with adapter.client(url, max_retries=2) as client:
            with pytest.raises(APIConnectionError) as caught:
                await client.messages.create(**ask(), stream=True)
    assert not isinstance(caught.value, APITimeoutError)
    assert caught.value.__cause__ is not None
    assert len(delays) == 2


@driven
async def test_an_unknown_host_is_a_connection_error(adapter: Adapter) -> None:
    failure = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    with mock.patch.object(socket, "getaddrinfo", side_effect=failure):
        async with adapter.client("http://nowhere.invalid") as client:
            with pytest.raises(APIConnectionError):
                await client.messages.create(**ask(), stream=True)


@driven
async def test_a_redirect_is_not_followed_because_the_other_server_would_get_the_key(
    adapter: Adapter, example_server: str
) -> None:
    async with adapter.client(example_server) as client:
        with pytest.raises(APIStatusError, match=r"/elsewhere/.*not followed") as caught:
            await client.messages.create(**ask("text", fault="redirect"), stream=True)
        assert caught.value.status_code == 307


@driven
async def test_the_answer_of_a_server_of_aiohttp_can_be_read(adapter: Adapter) -> None:
    with aiohttp_server(WHOLE) as url:
        async with adapter.client(url) as client:
            for _ in range(2):
                async with client.messages.stream(**ask()) as stream:
                    assert await stream.get_final_text() == TEXT


# Connections.


@driven
async def test_a_pooled_connection_is_reused_after_message_stop(
    adapter: Adapter, raw_server: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sansio_stream_adapters._bridge.DRAIN_SECONDS", PATIENCE)
    # The end of the body arrives late, after a ping. The client must wait for it.
    stopped = [threading.Event() for _ in range(3)]
    end = [chunk(body(PING)), chunk(b"")]
    server = raw_server(*([head() + chunk(WHOLE), event, *end] for event in stopped))
    async with adapter.client(server.url) as client:
        for event in stopped:
            async with client.messages.stream(**ask()) as stream:
                async for taken in stream:
                    if taken.type == "message_stop":
                        event.set()
                assert await stream.get_final_text() == TEXT
    assert server.connections == (1 if adapter.pools else 3)
    await adapter.until_closed(server)


@driven
async def test_leaving_early_frees_the_only_connection_of_the_pool(
    adapter: Adapter, raw_server: StartServer
) -> None:
    server = raw_server([head() + chunk(HALF), Do.WAIT], [response(WHOLE)])
    async with adapter.client(server.url, limit=1) as client:
        async with client.messages.stream(**ask()) as stream:
            async for _ in stream:
                break
        async with client.messages.stream(**ask()) as stream:
            assert await stream.get_final_text() == TEXT
    await adapter.until_closed(server, 2)


@driven
async def test_leaving_an_unread_stream_closes_its_connection(
    adapter: Adapter, raw_server: StartServer
) -> None:
    server = raw_server([head() + chunk(HALF), Do.WAIT])
    async with adapter.client(server.url) as client:
        async with client.messages.stream(**ask()):
            pass
        await adapter.until_closed(server)
        stream = await client.messages.create(**ask(), stream=True)
        await stream.close()
        await stream.close()
        with pytest.raises(IncompleteMessageError, match="closed"):
            async for _ in stream:
                pass
        await adapter.until_closed(server, 2)


@driven
async def test_an_exception_in_the_with_block_closes_the_connection_and_is_raised(
    adapter: Adapter, raw_server: StartServer
) -> None:
    server = raw_server([head() + chunk(HALF), Do.WAIT])
    async with adapter.client(server.url) as client:
        manager = client.messages.stream(**ask())

        async def read_and_raise(streams: list[Any]) -> None:
            async with manager as stream:
                streams.append(stream)
                async for text in stream.text_stream:
                    assert text == "Hel"
                    raise ZeroDivisionError

        streams_left: list[Any] = []
        with pytest.raises(ZeroDivisionError):
            await read_and_raise(streams_left)
        await adapter.until_closed(server)
        assert text_of(streams_left[0].snapshot) == "Hel"


async def read_on_after_hel(stream: Any, is_about_to_wait: Callable[[], object]) -> None:
    """Read to the end. Call `is_about_to_wait` after the last event that arrives for now."""
    async for _ in stream:
        if text_of(stream.snapshot) == "Hel":
            is_about_to_wait()


@driven
async def test_an_interrupted_read_closes_the_connection_and_keeps_the_snapshot(
    adapter: Adapter, raw_server: StartServer
) -> None:
    server = raw_server([head() + chunk(HALF), Do.WAIT])
    streams: list[Any] = []

    async with adapter.client(server.url) as client:

        async def reads(is_about_to_wait: Callable[[], object]) -> None:
            # Without a `with` block: the interrupted read must close the connection itself.
            streams.append(await client.messages.create(**ask(), stream=True))
            await read_on_after_hel(streams[0], is_about_to_wait)

        await adapter.interrupted(reads)
        await adapter.until_closed(server)
        assert text_of(streams[0].snapshot) == "Hel"
        assert streams[0].verdict is Verdict.PENDING
        with pytest.raises(IncompleteMessageError):
            await anext(streams[0])


@driven
async def test_an_interrupted_request_leaves_nothing_open(
    adapter: Adapter, raw_server: StartServer
) -> None:
    server = raw_server([Do.WAIT], [response(WHOLE)])

    async with adapter.client(server.url, limit=1) as client:

        async def request(is_about_to_wait: Callable[[], object]) -> None:
            is_about_to_wait()
            await client.messages.create(**ask(), stream=True)

        await adapter.interrupted(request, once=lambda: server.requests)
        async with client.messages.stream(**ask()) as stream:
            await stream.until_done()
    await adapter.until_closed(server)


@pytest.mark.parametrize("closer", ["another thread", "a signal handler"])
@driven
async def test_closing_wakes_a_blocked_reader(
    adapter: Adapter, raw_server: StartServer, closer: str
) -> None:
    if adapter.loop:
        pytest.skip("an asynchronous stream belongs to its loop")
    server = raw_server([head() + chunk(HALF), Do.WAIT])
    waiting: list[bool] = []
    async with (
        adapter.client(server.url, timeout=None) as client,
        client.messages.stream(**ask()) as stream,
    ):
        close = stream.sync.close
        with (
            signalling(close) as send,
            while_main_receives(
                close if closer == "another thread" else send, has_come=lambda: waiting
            ),
            pytest.raises(IncompleteMessageError, match="closed"),
        ):
            await read_on_after_hel(stream, lambda: waiting.append(True))
        assert text_of(stream.snapshot) == "Hel"
        await adapter.until_closed(server)


@driven
async def test_a_client_can_be_closed_twice_and_does_not_close_a_client_of_the_caller(
    adapter: Adapter, raw_server: StartServer
) -> None:
    server = raw_server([response(WHOLE)])
    async with adapter.client(server.url) as client:
        await client.close()
        await client.close()
    async with adapter.client(server.url) as client, client.messages.stream(**ask()) as stream:
        await stream.until_done()
    async with adapter.client(server.url, limit=1) as client:
        async with client.messages.stream(**ask()) as stream:
            await stream.until_done()
        await client.close()
        if adapter.pools:  # `adapter.client` has passed a client of the library
            async with client.messages.stream(**ask()) as stream:
                await stream.until_done()


@driven
async def test_a_dropped_client_leaves_nothing_open(
    adapter: Adapter, raw_server: StartServer
) -> None:
    server = raw_server([response(WHOLE)])
    if adapter.libraries[0] == "httpx2":
        pytest.skip("in this test the caller makes the pool of httpx2 and must close it")

    async def ask_and_forget() -> None:
        client = adapter.make(base_url=server.url, max_retries=0)
        async with client.messages.stream(**ask()) as stream:
            await stream.until_done()

    await ask_and_forget()
    gc.collect()
    await adapter.until_closed(server)


def open_files() -> int:
    """Return the number of open files of the process, or 0 if it is unknown."""
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.is_dir() else 0


@driven
async def test_many_streams_leak_neither_files_nor_memory(
    adapter: Adapter, raw_server: StartServer
) -> None:
    times = 1000 if os.environ.get("HYPOTHESIS_PROFILE") == "deep" else 15
    server = raw_server([response(WHOLE)])
    async with adapter.client(server.url) as client:

        async def some(count: int) -> None:
            for _ in range(count):
                async with client.messages.stream(**ask()) as stream:
                    assert await stream.get_final_text() == TEXT

        async def measure() -> tuple[int, int]:
            await adapter.until(
                lambda: server.threads <= adapter.pools, "all connections but the pooled one close"
            )
            server.requests.clear()
            gc.collect()
            return open_files(), tracemalloc.get_traced_memory()[0]

        growth: list[int] = []
        tracemalloc.start()
        try:
            await some(10)
            files, memory = await measure()
            # A leak grows each time. Caches and the threads of other servers grow once.
            while not growth or (growth[-1] >= 500 * times and len(growth) < 5):
                await some(times)
                files_then, memory_then = await measure()
                assert files_then <= files
                growth.append(memory_then - memory)
                memory = memory_then
        finally:
            tracemalloc.stop()
    assert min(growth) < 500 * times  # a machine takes several times as much


# TLS.


def causes_of(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception and the exceptions that caused it."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


@driven
async def test_tls_works_only_with_servers_that_the_context_trusts(
    adapter: Adapter, raw_server: StartServer, tls: TLS
) -> None:
    server = raw_server([response(WHOLE)], tls=tls)
    for host in ("127.0.0.1", "localhost"):
        url = f"https://{host}:{server.port}"
        async with (
            adapter.client(url, tls=tls.client) as client,
            client.messages.stream(**ask()) as stream,
        ):
            assert await stream.get_final_text() == TEXT
    async with adapter.client(server.url) as client:
        with pytest.raises(APIConnectionError) as caught:
            await client.messages.create(**ask(), stream=True)
    assert any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes_of(caught.value))


@pytest.mark.parametrize("how", [Do.DROP, Do.CLOSE])
@driven
async def test_a_truncated_body_is_an_error_over_tls(
    adapter: Adapter, raw_server: StartServer, tls: TLS, how: Do
) -> None:
    server = raw_server([head() + chunk(HALF), how], tls=tls)
    async with (
        adapter.client(server.url, tls=tls.client) as client,
        client.messages.stream(**ask()) as stream,
    ):
        with pytest.raises(APIConnectionError):
            await stream.until_done()
        assert text_of(stream.snapshot) == "Hel"


@driven
async def test_a_server_that_does_not_speak_http_or_tls_is_a_connection_error(
    adapter: Adapter, raw_server: StartServer, tls: TLS
) -> None:
    server = raw_server([b"SSH-2.0-OpenSSH_9.6\r\n", Do.CLOSE])
    async with adapter.client(server.url) as client:
        with pytest.raises(APIConnectionError):
            await client.messages.create(**ask(), stream=True)
    # The first bytes of a TLS client contain no blank line. So the server reads on and is silent
    # until the client gives up.
    async with adapter.client(
        server.url.replace("http:", "https:"), tls=tls.client, timeout=Timeout(connect=0.1)
    ) as client:
        with pytest.raises(APITimeoutError):
            await client.messages.create(**ask(), stream=True)


# HTTP/2 with httpx.


@pytest.mark.parametrize("fault", [None, "cut", "reset", "stall"])
@with_seconds
@driven
async def test_a_stream_can_be_read_over_http2(
    adapter: Adapter, http2_example_server: str, tls: TLS, fault: str | None, seconds: float
) -> None:
    if not adapter.libraries[0].startswith("httpx"):
        pytest.skip("only httpx speaks HTTP/2")
    pytest.importorskip("h2", reason="httpx needs h2 for HTTP/2")
    kind = adapter.library.AsyncClient if adapter.loop else adapter.library.Client
    http = kind(verify=tls.client, http2=True)
    timeout = Timeout(read=seconds) if fault == "stall" else PATIENCE
    client = adapter.make(
        base_url=http2_example_server, http_client=http, max_retries=0, timeout=timeout
    )
    async with AsyncFacade(http) if not adapter.loop else http:
        async with client.messages.stream(**ask("text", fault=fault)) as stream:
            assert stream.response.http_version == "HTTP/2"
            if fault is not None:
                with pytest.raises(FAULTS[fault][0]):
                    await stream.get_final_message()
                if fault == "stall" and stream.snapshot is None:
                    raise TooSoonError
                assert text_of(stream.snapshot)
        # The fault of one stream does not affect the next one on the same connection.
        async with client.messages.stream(**ask("text"), timeout=PATIENCE) as stream:
            assert await stream.get_final_message() == message_of("text")


# Recording.


@driven
async def test_a_recording_replays_to_the_same_message(
    adapter: Adapter, example_server: str, tmp_path: Path
) -> None:
    path, file = tmp_path / "a.capture.jsonl", io.BytesIO()
    async with adapter.client(example_server) as client:
        for target in (path, file):
            async with client.messages.stream(**ask("text"), record_to=target) as stream:
                assert await stream.get_final_message() == message_of("text")
    for data in (path.read_bytes(), file.getvalue()):
        capture = parse_capture(data)
        machine = StreamMachine()
        for chunk_of_capture in capture.chunks:
            for _ in machine.receive_data(chunk_of_capture.data):
                pass
        assert machine.final_message() == message_of("text")
        assert capture.header.status == 200
        assert capture.header.request is not None
        assert capture.header.request["model"] == "text"
        assert capture.end is not None
        assert capture.end.error is None
        assert b'"k"' not in data


@driven
async def test_the_recording_of_a_truncated_stream_has_its_error(
    adapter: Adapter, example_server: str
) -> None:
    file = io.BytesIO()
    async with (
        adapter.client(example_server) as client,
        client.messages.stream(**ask("text", fault="cut"), record_to=file) as stream,
    ):
        with pytest.raises(APIConnectionError):
            await stream.until_done()
    capture = parse_capture(file.getvalue())
    assert capture.end is not None
    assert capture.end.error
    assert text_of(message_of("text")).startswith(text_of(stream.snapshot))


# Responses of the caller.


@driven
async def test_a_stream_can_be_made_from_a_response_of_the_caller(
    adapter: Adapter, raw_server: StartServer
) -> None:
    if not adapter.pools:
        pytest.skip("this adapter takes a connection instead; test_connections tests it")
    compressed = response(gzip.compress(WHOLE), headers=encoded("gzip"))
    server = raw_server([response(WHOLE)], [response(b"", 529, {})], [compressed])
    async with adapter.client(server.url, limit=1) as client:
        http = getattr(client, "sync", client)
        library_client = getattr(http, "_http", None) or http._session
        for is_refused in (False, True, False):
            library_response = await response_of(
                adapter, library_client, f"{server.url}/v1/messages"
            )
            stream = stream_of(adapter, library_response)
            assert stream.response is library_response
            if is_refused:
                with pytest.raises(OverloadedError):
                    await stream.until_done()
            else:
                async with stream:
                    assert await stream.get_final_text() == TEXT


async def response_of(adapter: Adapter, http: Any, url: str) -> Any:
    """Send a request with the library's client and return the unread response."""
    if adapter.libraries[0] == "aiohttp":
        return await http.post(url, data=b"{}")
    sent = http.send(http.build_request("POST", url, content=b"{}"), stream=True)
    return await sent if adapter.loop else sent


def stream_of(adapter: Adapter, library_response: Any) -> Any:
    """Make a stream of the adapter from a response."""
    if adapter.libraries[0] != "aiohttp" and adapter.loop:
        return adapter.module.from_async_response(library_response)
    stream = adapter.module.from_response(library_response)
    return stream if adapter.loop else AsyncFacade(stream)


@driven
async def test_a_response_that_a_hook_has_read_is_not_decoded_again(
    adapter: Adapter, raw_server: StartServer
) -> None:
    if not adapter.module_name.endswith("httpx"):
        pytest.skip("only httpx has hooks that may read a response")

    async def read_async(answer: Any) -> None:
        await answer.aread()

    def read(answer: Any) -> None:
        answer.read()

    server = raw_server([response(gzip.compress(WHOLE), headers=encoded("gzip"))])
    http = (adapter.library.AsyncClient if adapter.loop else adapter.library.Client)(
        event_hooks={"response": [read_async if adapter.loop else read]}
    )
    client = adapter.make(base_url=server.url, api_key="k", max_retries=0, http_client=http)
    async with client.messages.stream(**ask()) as stream:
        assert await stream.get_final_text() == TEXT
    closed = http.aclose() if adapter.loop else http.close()
    if inspect.isawaitable(closed):
        await closed


@driven
async def test_our_pool_stores_no_cookies_and_sends_those_of_the_caller(
    adapter: Adapter, raw_server: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    if adapter.module_name.endswith("httpx"):
        monkeypatch.setattr(adapter.module, "LIBRARIES", adapter.libraries[:1])
    given = {"content-type": "text/event-stream", "set-cookie": "a=1; path=/; max-age=999"}
    server = raw_server(*([response(WHOLE, headers=given)] for _ in range(3)))
    # For an IP address aiohttp never keeps cookies, so the URL needs a name.
    url = server.url.replace("127.0.0.1", "localhost")
    async with adapter.make(base_url=url, api_key="k", max_retries=0, timeout=PATIENCE) as client:
        for own in ({}, {}, {"cookie": "b=2"}):
            async with client.messages.stream(**ask(extra_headers=own)) as stream:
                await stream.until_done()
    assert [sent.headers.get("cookie") for sent in server.requests] == [None, None, "b=2"]


# Foreign exceptions are mapped.

SOURCES: Final = ("httpx", "httpx2", "aiohttp", "trio", "h11", "h2.exceptions", "ssl", "socket")

OTHER_USES: Final = frozenset(
    {
        # trio: channels, nurseries, and two tasks that use one object.
        "BusyResourceError",
        "EndOfChannel",
        "NeedHandshakeError",
        "RunFinishedError",
        "TrioInternalError",
        "WouldBlock",
        # httpx: access to cookies by name.
        "CookieConflict",
        # aiohttp: WebSockets, and reading a stream to its end.
        "EofStream",
        "WSMessageTypeError",
        "WebSocketError",
    }
)
"""The names of exceptions that sending a request cannot raise."""


def exceptions_of(name: str) -> list[Exception]:
    """Make one exception of each public class of a library."""
    module = pytest.importorskip(name, reason=f"this test needs the exceptions of {name}")
    kinds = {
        kind
        for name, kind in vars(module).items()
        if isinstance(kind, type) and issubclass(kind, Exception) and not issubclass(kind, Warning)
        if not name.startswith("_")
        # h11 defines this class only for `except` and refuses to make an instance.
        and kind.__module__ + name != "h11._utilProtocolError"
        # A hook of the caller raises it. It is an error of the API; see the last test.
        and name != "HTTPStatusError"
    }
    return [instance_of(kind) for kind in sorted(kinds, key=lambda kind: kind.__name__)]


ANYTHING: Final = mock.MagicMock()
"""A request, a response or a connection of any library. To make one takes a millisecond."""


def instance_of(kind: Any) -> Exception:
    """Make an exception with the first arguments that its class accepts."""
    anything = ANYTHING
    for make in (
        partial(kind, 5, "boom"),
        partial(kind, "boom"),
        partial(kind, anything, OSError(5, "boom")),
        partial(kind, anything, ssl.SSLCertVerificationError(5, "boom")),
        partial(kind, anything, (), message="boom"),
        partial(kind, b"expected", b"got", "host", 443),
        partial(kind, "boom", request=anything, response=anything),
        kind,
    ):
        try:
            exception: Exception = make()
            str(exception)
        except Exception:  # noqa: BLE001, S112  (the class needs other arguments)
            continue
        return exception
    raise AssertionError(f"no arguments for {kind} are known")


def stream_that_raises(adapter: Adapter, exception: Exception) -> Any:
    """Make a stream of the adapter whose source raises in the middle."""

    def chunks() -> Iterator[bytes]:
        yield HALF
        raise exception

    async def async_chunks() -> AsyncIterator[bytes]:
        yield HALF
        raise exception

    if adapter.loop:
        return AsyncMessageStream(async_chunks(), map_error=adapter.module.AsyncClient.map_error)
    return AsyncFacade(MessageStream(chunks(), map_error=adapter.module.Client.map_error))


@pytest.mark.parametrize("source", SOURCES)
@driven
async def test_a_stream_maps_every_exception_of_a_library(adapter: Adapter, source: str) -> None:
    raised = exceptions_of(source)
    assert raised
    for exception in raised:
        stream = stream_that_raises(adapter, exception)
        for _ in range(2):
            with pytest.raises(APIConnectionError) as caught:
                await stream.until_done()
            assert_cause(caught.value, exception)
            assert str(caught.value)
        assert text_of(stream.snapshot) == "Hel"


def assert_cause(error: APIConnectionError, exception: Exception) -> None:
    """Check the cause of an error. It may be a copy for aiohttp.

    An exception of aiohttp may refer to the request.
    """
    cause = error.__cause__
    is_of_aiohttp = type(exception).__module__.startswith("aiohttp")
    assert cause is exception or (is_of_aiohttp and type(cause) is type(exception))


@driven
async def test_a_request_maps_every_exception_of_its_libraries(adapter: Adapter) -> None:
    client = adapter.make(api_key="k", max_retries=0)
    sends = type(getattr(client, "sync", client))
    for source in (*adapter.libraries, "ssl", "socket"):
        if source == "trio" and adapter.pools:
            continue  # httpx replaces exceptions of trio with its own
        for exception in exceptions_of(source):
            if type(exception).__name__ in OTHER_USES:
                continue
            with (
                mock.patch.object(sends, "send", side_effect=exception),
                pytest.raises(APIConnectionError) as caught,
            ):
                await client.messages.create(**ask(), stream=True)
            assert_cause(caught.value, exception)
            is_timeout = isinstance(exception, TimeoutError) or type(exception).__name__ in {
                "ConnectTimeout",
                "PoolTimeout",
                "ReadTimeout",
                "TimeoutException",
                "TooSlowError",
                "WriteTimeout",
            }
            assert isinstance(caught.value, APITimeoutError) is is_timeout, exception
    await client.close()


@driven
async def test_an_unknown_exception_of_a_request_is_mapped_and_not_retried(
    adapter: Adapter,
) -> None:
    client = adapter.make(api_key="k", max_retries=2)
    sends = type(getattr(client, "sync", client))
    with (
        mock.patch.object(sends, "send", side_effect=ZeroDivisionError) as send,
        pytest.raises(APIConnectionError, match="ZeroDivisionError"),
    ):
        await client.messages.create(**ask(), stream=True)
    assert send.call_count == 1
    await client.close()


@pytest.mark.parametrize("library", ["httpx", "httpx2"])
def test_a_hook_that_raises_for_a_status_causes_the_error_of_that_status(
    library: str, raw_server: StartServer
) -> None:
    httpx = pytest.importorskip(library, reason=f"this test needs {library}")
    adapters = importlib.import_module("sansio_stream_adapters.httpx")
    server = raw_server([response(b"{}", 400, {"request-id": "req_1"})])
    hooks = {"response": [lambda answer: answer.raise_for_status()]}
    with httpx.Client(event_hooks=hooks) as theirs:
        client = adapters.Client(base_url=server.url, http_client=theirs)
        with pytest.raises(BadRequestError) as caught:
            client.messages.create(**ask(), stream=True)
    assert caught.value.request_id == "req_1"
    assert len(server.requests) == 1
