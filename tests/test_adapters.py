"""Each adapter reads each answer, good or bad, as the others do: one scenario, all adapters."""

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
from functools import partial
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
    nobody_listens,
    response,
    signalling,
    while_main_receives,
    with_seconds,
)
from wire import HELLO, OVERLOADED, PING, body

RawServers = Callable[..., RawServer]

WHOLE: Final = body(*HELLO)
HALF: Final = body(*HELLO[:4])
"""Up to the text "Hel"."""
SAID: Final = "Hello, wörld \N{PARTY POPPER}"


def encoded(name: str, content_type: str = "text/event-stream") -> dict[str, str]:
    """The headers of a body with a content-encoding."""
    return {"content-type": content_type, "content-encoding": name}


pytestmark = pytest.mark.usefixtures("certificates_are_read_once", "nothing_is_left_open")


@pytest.fixture
def _short_lingering(monkeypatch: pytest.MonkeyPatch) -> None:
    """A body that does not end is left sooner than is good for connections that are far away."""
    monkeypatch.setattr("sansio_stream_adapters._bridge.LINGER_SECONDS", 0.05)


# What the documents show.


@driven
async def test_the_texts_come_as_they_were_sent(adapter: Adapter, example_server: str) -> None:
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
async def test_all_events_come_in_their_order(adapter: Adapter, example_server: str) -> None:
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
async def test_the_final_message_and_its_text_are_there_after_the_with_block(
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
async def test_the_final_message_needs_no_loop_before_it(
    adapter: Adapter, example_server: str
) -> None:
    async with (
        adapter.client(example_server) as client,
        client.messages.stream(**ask("text")) as stream,
    ):
        assert await stream.get_final_text() == text_of(message_of("text"))


@driven
async def test_tool_calls_come_in_pieces_and_end_as_input(
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
async def test_thinking_comes_as_it_is_thought(adapter: Adapter, example_server: str) -> None:
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
async def test_the_usage_is_seen_while_it_grows(adapter: Adapter, example_server: str) -> None:
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
async def test_the_snapshot_is_that_of_the_event_just_taken(
    adapter: Adapter, example_server: str
) -> None:
    async with (
        adapter.client(example_server) as client,
        client.messages.stream(**ask("text")) as stream,
    ):
        with pytest.raises(RuntimeError, match="message_start"):
            _ = stream.current_message_snapshot
        said = ""
        async for event in stream:
            if event.type == "content_block_delta" and event.delta.type == "text_delta":
                said += event.delta.text
            assert text_of(stream.current_message_snapshot) == said
        assert said
        assert stream.block(0).text == said


@driven
async def test_a_conversation_goes_on_with_the_content_of_the_answer(
    adapter: Adapter, raw_server: RawServers
) -> None:
    server = raw_server([response(WHOLE)])
    conversation: list[Any] = []
    async with adapter.client(server.url) as client:
        for said in ("Hi, I'm Alice", "What's my name?"):
            conversation.append({"role": "user", "content": said})
            async with client.messages.stream(**ask(messages=conversation)) as stream:
                async for _ in stream.text_stream:
                    pass
            message = await stream.get_final_message()
            conversation.append({"role": "assistant", "content": message.content})
    assert server.requests[1].json["messages"] == [
        {"role": "user", "content": "Hi, I'm Alice"},
        {"role": "assistant", "content": [{"type": "text", "text": SAID}]},
        {"role": "user", "content": "What's my name?"},
    ]


@driven
async def test_every_parameter_arrives_in_the_body_but_those_of_the_call(
    adapter: Adapter, raw_server: RawServers, tmp_path: Path
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
            unheard_of={"yes": True},
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
        "unheard_of": {"yes": True},
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
async def test_what_cannot_be_sent_is_refused_before_anything_is(
    adapter: Adapter, raw_server: RawServers
) -> None:
    server = raw_server([response(WHOLE)])
    async with adapter.client(server.url) as client:
        with pytest.raises(ValueError, match="temperature"):
            client.messages.stream(**ask(temperature=math.nan))
    assert server.connections == 0


@driven
async def test_the_environment_says_where_to_and_who_asks(
    adapter: Adapter, raw_server: RawServers
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
        assert await stream.get_final_text() == SAID
    (request,) = server.requests
    assert request.line == "POST /gateway/v1/messages HTTP/1.1"
    assert request.headers["x-api-key"] == "from the environment"


@driven
async def test_beta_features_go_into_their_header(adapter: Adapter, raw_server: RawServers) -> None:
    server = raw_server([response(WHOLE)])
    async with (
        adapter.client(server.url) as client,
        client.beta.messages.stream(**ask(), betas=["one-2026", "two-2026"]) as stream,
    ):
        assert await stream.get_final_text() == SAID
    (request,) = server.requests
    assert request.headers["anthropic-beta"] == "one-2026,two-2026"
    assert "betas" not in request.json


@driven
async def test_create_gives_the_events_alone(adapter: Adapter, example_server: str) -> None:
    async with adapter.client(example_server) as client:
        async with await client.messages.create(**ask("text"), stream=True) as stream:
            events = [event async for event in stream]
        assert events == machine_of("text")[1]
        for made in ({}, {"stream": False}):
            with pytest.raises(TypeError, match=r"stream\(\.\.\.\)\.get_final_message\(\)"):
                await client.messages.create(**ask("text"), **made)


@driven
async def test_twenty_streams_at_once_do_not_mix(adapter: Adapter, example_server: str) -> None:
    names = ("text", "parallel-tools", "thinking-and-tool-use", "web-search-with-citations") * 5

    async with adapter.client(example_server) as client:

        async def one(name: str) -> Message:
            async with client.messages.stream(**ask(name)) as stream:
                message: Message = await stream.get_final_message()
                return message

        messages = await adapter.gather(*(partial(one, name) for name in names))
    assert messages == [message_of(name) for name in names]


@driven
async def test_a_display_may_buffer_the_texts(adapter: Adapter, example_server: str) -> None:
    shown: list[str] = []
    buffer = ""
    async with (
        adapter.client(example_server) as client,
        client.messages.stream(**ask("text")) as stream,
    ):
        async for text in stream.text_stream:
            buffer += text
            if len(buffer) >= 10 or text in ".!?\n":
                shown.append(buffer)
                buffer = ""
                await adapter.sleep(0)
    assert "".join([*shown, buffer]) == text_of(message_of("text"))


@driven
async def test_the_manager_may_be_entered_and_left_by_hand(
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
async def test_the_response_is_at_hand_with_its_headers(
    adapter: Adapter, raw_server: RawServers
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
async def test_a_refused_request_raises_its_class_from_entering(
    adapter: Adapter, example_server: str
) -> None:
    async with adapter.client(example_server) as client:
        try:
            async with client.messages.stream(**ask("text", fault="429")):
                pytest.fail("there is no stream")
        except APIConnectionError:
            pytest.fail("the connection is well")
        except RateLimitError as error:
            assert error.status_code == 429
            assert error.message == "Too many requests"
        with pytest.raises(APIStatusError) as caught:
            await client.messages.create(**ask("text", fault="400"), stream=True)
        assert caught.value.status_code == 400


# Answers that go wrong.

FAULTS: Final[dict[str, tuple[type[APIError], Verdict]]] = {
    "cut": (APIConnectionError, Verdict.TRUNCATED),
    "cut-in-frame": (APIConnectionError, Verdict.TRUNCATED),
    "reset": (APIConnectionError, Verdict.TRUNCATED),
    "stall": (APITimeoutError, Verdict.TRUNCATED),
    "ping-stall": (APITimeoutError, Verdict.TRUNCATED),
    "error-in-mid-stream": (OverloadedError, Verdict.ERRORED),
}
"""What happens in the middle of a message, and what is raised then."""


@pytest.mark.parametrize("fault", FAULTS)
@with_seconds
@driven
async def test_what_goes_wrong_in_the_middle_is_raised_and_what_came_is_kept(
    adapter: Adapter, example_server: str, fault: str, seconds: float
) -> None:
    kind, verdict = FAULTS[fault]
    timeout = Timeout(read=seconds, idle=seconds) if "stall" in fault else PATIENCE
    texts: list[str] = []

    async def read(stream: Any) -> None:
        async for text in stream.text_stream:
            texts.append(text)  # noqa: PERF401  (what came before the exception counts)

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
    said = "".join(texts)
    assert said == text_of(stream.snapshot) != ""
    assert text_of(message_of("text")).startswith(said)


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


NO_STREAM: Final[dict[str, type[APIError]]] = {
    "no-head": APIConnectionError,
    "html-200": NotAnEventStreamError,
    "json-200": NotAnEventStreamError,
    "empty-body": IncompleteMessageError,
}


@pytest.mark.parametrize("fault", NO_STREAM)
@driven
async def test_what_is_no_stream_is_never_an_empty_message(
    adapter: Adapter, example_server: str, fault: str
) -> None:
    async with adapter.client(example_server) as client:
        with pytest.raises(NO_STREAM[fault]) as caught:
            async with client.messages.stream(**ask("text", fault=fault)) as stream:
                await stream.get_final_message()
    assert caught.value.partial_message is None


@pytest.mark.usefixtures("_short_lingering")
@pytest.mark.parametrize("fault", ["drip", "gzip", "truncated", "stays-open", "stays-open-pings"])
@driven
async def test_a_whole_message_is_read_however_its_body_comes_and_ends(
    adapter: Adapter, example_server: str, fault: str
) -> None:
    async with adapter.client(example_server, limit=1) as client:
        for _ in range(1 if fault == "drip" else 2):
            async with client.messages.stream(**ask("text", fault=fault)) as stream:
                message = await stream.get_final_message()
            assert message == message_of("text")
            assert stream.verdict is Verdict.COMPLETE


@driven
async def test_without_message_stop_a_message_with_its_stop_reason_is_used_and_marked(
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


def cuts_that_http_sees(has_read: threading.Event) -> dict[str, Script]:
    """The scripts; `has_read` is to be set when the half has been read."""
    return {
        "between chunks": [head() + chunk(HALF), Do.CLOSE],
        "inside a chunk": [head() + chunk(WHOLE)[: len(HALF) + 9], Do.CLOSE],
        "a chunk whose size is none": [head() + chunk(HALF), has_read, b"zz\r\n", Do.WAIT],
        "before the length": [
            head(200, {**STREAM, "content-length": str(len(WHOLE))}) + HALF,
            Do.CLOSE,
        ],
    }


CUTS_THAT_HTTP_DOES_NOT_SEE: Final[dict[str, Script]] = {
    "no length at all": [head(200, STREAM) + HALF, Do.CLOSE],
    "a length, of half the message": [response(HALF)],
}


@pytest.mark.parametrize(
    "cut", [*cuts_that_http_sees(threading.Event()), *CUTS_THAT_HTTP_DOES_NOT_SEE]
)
@driven
async def test_no_cut_ends_a_stream_silently_even_if_http_does_not_see_it(
    adapter: Adapter, raw_server: RawServers, cut: str
) -> None:
    has_read = threading.Event()
    seen = cuts_that_http_sees(has_read)
    is_seen = cut in seen
    server = raw_server({**seen, **CUTS_THAT_HTTP_DOES_NOT_SEE}[cut])
    async with (
        adapter.client(server.url, max_retries=2) as client,
        client.messages.stream(**ask()) as stream,
    ):
        with pytest.raises(APIConnectionError) as caught:
            await read_to_hel_and_on(stream, has_read.set)
    assert isinstance(caught.value, IncompleteMessageError) is not is_seen
    assert (caught.value.__cause__ is not None) is is_seen
    assert caught.value.verdict is Verdict.TRUNCATED
    assert text_of(stream.snapshot) == "Hel"
    assert len(server.requests) == 1  # an open stream is never asked for again


@driven
async def test_a_slow_reader_loses_nothing_that_came_before_a_cut(
    adapter: Adapter, raw_server: RawServers
) -> None:
    for script, said in (
        ([head() + chunk(HALF), Do.CLOSE], "Hel"),
        ([head() + chunk(WHOLE), Do.CLOSE], SAID),
    ):
        server = raw_server(script)
        async with (
            adapter.client(server.url) as client,
            client.messages.stream(**ask()) as stream,
        ):
            await adapter.until_closed(server)  # all has come, the cut too
            texts = ""
            try:
                async for text in stream.text_stream:
                    texts += text
                    await adapter.sleep(0)
            except APIConnectionError:
                assert said == "Hel"
        assert texts == said


@driven
async def test_a_head_that_never_comes_is_a_timeout(
    adapter: Adapter, raw_server: RawServers
) -> None:
    for script in ([Do.WAIT], [b"HTTP/1.1 200 OK\r\ncontent-", Do.WAIT]):
        server = raw_server(script)
        async with adapter.client(server.url, timeout=Timeout(read=0.1)) as client:
            with pytest.raises(APITimeoutError):
                await client.messages.create(**ask(), stream=True)
        await adapter.until_closed(server)


@with_seconds
@driven
async def test_idle_counts_also_where_nothing_comes_at_all(
    adapter: Adapter, raw_server: RawServers, seconds: float
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
async def test_a_compressed_body_is_asked_for_and_decoded(
    adapter: Adapter, raw_server: RawServers
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
                assert await stream.get_final_text() == SAID
    assert {sent.headers["accept-encoding"] for sent in server.requests} == {"gzip, deflate"}


@driven
async def test_what_is_accepted_is_the_caller_s_to_say(
    adapter: Adapter, raw_server: RawServers
) -> None:
    server = raw_server([response(WHOLE)])
    async with adapter.client(server.url) as client:
        asked = ask(extra_headers={"Accept-Encoding": "identity"})
        async with client.messages.stream(**asked) as stream:
            await stream.until_done()
    assert server.requests[0].headers["accept-encoding"] == "identity"
    assert server.requests[0].head.lower().count(b"accept-encoding") == 1


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip", "x-unknown"])
@driven
async def test_what_is_not_decoded_is_refused_by_its_head_and_not_asked_for_again(
    adapter: Adapter, raw_server: RawServers, encoding: str
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
async def test_a_compressed_refusal_is_read(adapter: Adapter, raw_server: RawServers) -> None:
    said = b'{"type":"error","error":{"type":"api_error","message":"no"}}'
    server = raw_server([response(gzip.compress(said), 500, encoded("gzip", "application/json"))])
    async with adapter.client(server.url) as client:
        with pytest.raises(InternalServerError, match="no") as caught:
            await client.messages.create(**ask(), stream=True)
    assert caught.value.body == json.loads(said)


@pytest.mark.parametrize("status", [200, 500])
@driven
async def test_a_body_that_unpacks_to_very_much_holds_what_an_ordinary_one_does(
    adapter: Adapter, raw_server: RawServers, status: int
) -> None:
    line = b":" * 1023 + b"\n"
    bomb, ordinary = gzip.compress(line * 2**13), gzip.compress(line * 2**11, compresslevel=0)
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
async def test_a_body_that_is_not_compressed_as_it_says_is_a_broken_connection(
    adapter: Adapter, raw_server: RawServers
) -> None:
    server = raw_server([response(WHOLE, headers=encoded("gzip"))])
    async with adapter.client(server.url) as client:
        with pytest.raises(APIConnectionError, match="the body is not gzip"):
            async with client.messages.stream(**ask()) as stream:
                await stream.until_done()


@driven
async def test_strictness_and_limits_are_those_of_the_core(
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


@pytest.mark.parametrize("made_of", ["JSON", "HTML", "nothing"])
@driven
async def test_every_status_raises_its_class_with_all_that_is_known(
    adapter: Adapter, raw_server: RawServers, made_of: str
) -> None:
    scripts: list[Script] = []
    for status, kind, _ in ERRORS:
        told = {"type": kind or "other_error", "message": f"It was {status}"}
        data = {
            "JSON": json.dumps({"type": "error", "error": told}).encode(),
            "HTML": HTML,
            "nothing": b"",
        }[made_of]
        types = {"JSON": "application/json", "HTML": "text/html; charset=utf-8", "nothing": None}
        headers = {"content-type": types[made_of], "request-id": f"req_{status}"}
        sent = {name: value for name, value in headers.items() if value is not None}
        scripts.append([response(data, status, sent)])
    server = raw_server(*scripts)
    async with adapter.client(server.url) as client:
        for status, kind, expected in ERRORS:
            with pytest.raises(APIStatusError) as caught:
                await client.messages.create(**ask(), stream=True)
            error = caught.value
            assert type(error) is expected
            assert (error.status_code, error.http_status) == (status, status)
            assert error.request_id == error.headers["request-id"] == f"req_{status}"
            assert error.verdict is Verdict.ERRORED
            assert not error.content_emitted
            match made_of:
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
        assert server.connections == 1  # the body of an error was read to its end, too


@with_seconds
@driven
async def test_the_body_of_an_error_may_break_off_or_never_end(
    adapter: Adapter, raw_server: RawServers, seconds: float
) -> None:
    lengthy = head(500, {"content-type": "text/plain", "content-length": "99999999"})
    server = raw_server(
        [lengthy + b"Internal", Do.CLOSE],
        [lengthy + b"Internal", Do.WAIT],
        [lengthy + b"Internal" * 20_000, Do.WAIT],
    )
    async with adapter.client(server.url, timeout=Timeout(read=seconds)) as client:
        for number in range(1, 4):
            with pytest.raises(InternalServerError) as caught:
                await client.messages.create(**ask(), stream=True)
            if not caught.value.body:
                raise TooSoonError
            assert "Internal" in caught.value.message
            await adapter.until_closed(server, number)


# Asking again.


@driven
async def test_what_may_be_sent_again_is_and_waits_as_long_as_the_server_says(
    adapter: Adapter, raw_server: RawServers, delays: list[float]
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
        assert await stream.get_final_text() == SAID
    assert delays[:2] == [7, 1.5]
    assert 1.5 <= delays[2] <= 2
    assert 3 <= delays[3] <= 4
    assert 6 <= delays[4] <= 8
    assert len(server.requests) == 6
    assert len({request.body for request in server.requests}) == 1


@driven
async def test_nothing_is_sent_more_often_than_the_call_allows(
    adapter: Adapter, raw_server: RawServers, delays: list[float]
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
async def test_what_would_fail_again_is_not_sent_again(
    adapter: Adapter, raw_server: RawServers, delays: list[float]
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
async def test_once_refused_and_then_served_is_served(
    adapter: Adapter, example_server: str
) -> None:
    async with adapter.client(example_server, max_retries=1) as client:
        for fault in ("429-once", "529-once"):
            async with client.messages.stream(**ask("text", fault=fault)) as stream:
                assert await stream.get_final_message() == message_of("text")


@driven
async def test_nobody_listening_is_a_connection_error_after_all_attempts(
    adapter: Adapter, delays: list[float]
) -> None:
    with nobody_listens() as url:
        async with adapter.client(url, max_retries=2) as client:
            with pytest.raises(APIConnectionError) as caught:
                await client.messages.create(**ask(), stream=True)
    assert not isinstance(caught.value, APITimeoutError)
    assert caught.value.__cause__ is not None
    assert len(delays) == 2


@driven
async def test_a_host_that_does_not_exist_is_a_connection_error(adapter: Adapter) -> None:
    failure = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    with mock.patch.object(socket, "getaddrinfo", side_effect=failure):
        async with adapter.client("http://nowhere.invalid") as client:
            with pytest.raises(APIConnectionError):
                await client.messages.create(**ask(), stream=True)


@driven
async def test_a_redirect_is_not_followed_because_the_key_would_go_along(
    adapter: Adapter, example_server: str
) -> None:
    async with adapter.client(example_server) as client:
        with pytest.raises(APIStatusError, match=r"/elsewhere/.*not followed") as caught:
            await client.messages.create(**ask("text", fault="redirect"), stream=True)
        assert caught.value.status_code == 307


@driven
async def test_aiohttps_own_server_is_read_as_any_other(adapter: Adapter) -> None:
    with aiohttp_server(WHOLE) as url:
        async with adapter.client(url) as client:
            for _ in range(2):
                async with client.messages.stream(**ask()) as stream:
                    assert await stream.get_final_text() == SAID


# Connections.


@driven
async def test_after_message_stop_the_connection_serves_the_next_request(
    adapter: Adapter, raw_server: RawServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sansio_stream_adapters._bridge.LINGER_SECONDS", PATIENCE)
    # The end of the body comes late, behind a ping: it is waited for.
    stopped = [threading.Event() for _ in range(3)]
    end = [chunk(body(PING)), chunk(b"")]
    server = raw_server(*([head() + chunk(WHOLE), event, *end] for event in stopped))
    async with adapter.client(server.url) as client:
        for event in stopped:
            async with client.messages.stream(**ask()) as stream:
                async for taken in stream:
                    if taken.type == "message_stop":
                        event.set()
                assert await stream.get_final_text() == SAID
    assert server.connections == (1 if adapter.pools else 3)
    await adapter.until_closed(server)


@driven
async def test_leaving_early_frees_the_only_connection_of_the_pool(
    adapter: Adapter, raw_server: RawServers
) -> None:
    server = raw_server([head() + chunk(HALF), Do.WAIT], [response(WHOLE)])
    async with adapter.client(server.url, limit=1) as client:
        async with client.messages.stream(**ask()) as stream:
            async for _ in stream:
                break
        async with client.messages.stream(**ask()) as stream:
            assert await stream.get_final_text() == SAID
    await adapter.until_closed(server, 2)


@driven
async def test_leaving_before_anything_was_read_closes_too(
    adapter: Adapter, raw_server: RawServers
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
async def test_an_exception_of_the_body_of_the_with_block_closes_and_goes_on(
    adapter: Adapter, raw_server: RawServers
) -> None:
    server = raw_server([head() + chunk(HALF), Do.WAIT])
    async with adapter.client(server.url) as client:
        manager = client.messages.stream(**ask())

        async def leaves(streams: list[Any]) -> None:
            async with manager as stream:
                streams.append(stream)
                async for text in stream.text_stream:
                    assert text == "Hel"
                    raise ZeroDivisionError

        left: list[Any] = []
        with pytest.raises(ZeroDivisionError):
            await leaves(left)
        await adapter.until_closed(server)
        assert text_of(left[0].snapshot) == "Hel"


async def read_to_hel_and_on(stream: Any, is_about_to_wait: Callable[[], object]) -> None:
    """Read to the end, and tell when all that comes for now has come."""
    async for _ in stream:
        if text_of(stream.snapshot) == "Hel":
            is_about_to_wait()


@driven
async def test_an_interrupted_read_closes_and_leaves_the_snapshot(
    adapter: Adapter, raw_server: RawServers
) -> None:
    server = raw_server([head() + chunk(HALF), Do.WAIT])
    streams: list[Any] = []

    async with adapter.client(server.url) as client:

        async def reads(is_about_to_wait: Callable[[], object]) -> None:
            # Without a `with`: the read itself has closed the connection.
            streams.append(await client.messages.create(**ask(), stream=True))
            await read_to_hel_and_on(streams[0], is_about_to_wait)

        await adapter.interrupted(reads)
        await adapter.until_closed(server)
        assert text_of(streams[0].snapshot) == "Hel"
        assert streams[0].verdict is Verdict.PENDING
        with pytest.raises(IncompleteMessageError):
            await anext(streams[0])


@driven
async def test_an_interrupted_request_leaves_nothing_open(
    adapter: Adapter, raw_server: RawServers
) -> None:
    server = raw_server([Do.WAIT], [response(WHOLE)])

    async with adapter.client(server.url, limit=1) as client:

        async def asks(is_about_to_wait: Callable[[], object]) -> None:
            is_about_to_wait()
            await client.messages.create(**ask(), stream=True)

        await adapter.interrupted(asks, once=lambda: server.requests)
        async with client.messages.stream(**ask()) as stream:
            await stream.until_done()
    await adapter.until_closed(server)


@pytest.mark.parametrize("closer", ["another thread", "a signal handler"])
@driven
async def test_closing_from_outside_wakes_the_reader(
    adapter: Adapter, raw_server: RawServers, closer: str
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
            await read_to_hel_and_on(stream, lambda: waiting.append(True))
        assert text_of(stream.snapshot) == "Hel"
        await adapter.until_closed(server)


@driven
async def test_one_client_may_be_closed_twice_and_one_of_yours_stays_open(
    adapter: Adapter, raw_server: RawServers
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
        if adapter.pools:  # adapter.client has passed one
            async with client.messages.stream(**ask()) as stream:
                await stream.until_done()


@driven
async def test_a_client_that_is_dropped_leaves_nothing_open(
    adapter: Adapter, raw_server: RawServers
) -> None:
    server = raw_server([response(WHOLE)])
    if adapter.libraries[0] == "httpx2":
        pytest.skip("its pool is passed in here, and belongs to whoever has made it")

    async def ask_and_forget() -> None:
        client = adapter.make(base_url=server.url, max_retries=0)
        async with client.messages.stream(**ask()) as stream:
            await stream.until_done()

    await ask_and_forget()
    gc.collect()
    await adapter.until_closed(server)


def open_files() -> int:
    """How many files the process has open, where the system tells."""
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.is_dir() else 0


@driven
async def test_many_streams_leak_neither_files_nor_memory(
    adapter: Adapter, raw_server: RawServers
) -> None:
    times = 1000 if os.environ.get("HYPOTHESIS_PROFILE") == "deep" else 30
    server = raw_server([response(WHOLE)])
    async with adapter.client(server.url) as client:

        async def some(count: int) -> None:
            for _ in range(count):
                async with client.messages.stream(**ask()) as stream:
                    assert await stream.get_final_text() == SAID

        async def held() -> tuple[int, int]:
            await adapter.until(lambda: server.threads <= adapter.pools, "connections are closed")
            server.requests.clear()
            gc.collect()
            return open_files(), tracemalloc.get_traced_memory()[0]

        grown: list[int] = []
        tracemalloc.start()
        try:
            await some(20)
            files, memory = await held()
            # A leak grows each time. Caches, and threads of other servers, do once.
            while not grown or (grown[-1] >= 500 * times and len(grown) < 5):
                await some(times)
                files_then, memory_then = await held()
                assert files_then <= files
                grown.append(memory_then - memory)
                memory = memory_then
        finally:
            tracemalloc.stop()
    assert min(grown) < 500 * times  # a machine alone is several times as much


# TLS.


def causes_of(error: BaseException) -> Iterator[BaseException]:
    """An exception, and those that it came of."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


@driven
async def test_tls_is_spoken_with_whom_the_context_trusts(
    adapter: Adapter, raw_server: RawServers, tls: TLS
) -> None:
    server = raw_server([response(WHOLE)], tls=tls)
    for host in ("127.0.0.1", "localhost"):
        url = f"https://{host}:{server.port}"
        async with (
            adapter.client(url, tls=tls.client) as client,
            client.messages.stream(**ask()) as stream,
        ):
            assert await stream.get_final_text() == SAID
    async with adapter.client(server.url) as client:
        with pytest.raises(APIConnectionError) as caught:
            await client.messages.create(**ask(), stream=True)
    assert any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes_of(caught.value))


@pytest.mark.parametrize("how", [Do.DROP, Do.CLOSE])
@driven
async def test_under_tls_a_cut_is_no_end_either(
    adapter: Adapter, raw_server: RawServers, tls: TLS, how: Do
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
async def test_a_server_that_speaks_no_http_or_no_tls_is_a_connection_error(
    adapter: Adapter, raw_server: RawServers, tls: TLS
) -> None:
    server = raw_server([b"SSH-2.0-OpenSSH_9.6\r\n", Do.CLOSE])
    async with adapter.client(server.url) as client:
        with pytest.raises(APIConnectionError):
            await client.messages.create(**ask(), stream=True)
    # The first thing that comes from a client of TLS ends in no blank line: this server hears it
    # out, and says nothing until the client gives up.
    async with adapter.client(
        server.url.replace("http:", "https:"), tls=tls.client, timeout=Timeout(connect=0.1)
    ) as client:
        with pytest.raises(APITimeoutError):
            await client.messages.create(**ask(), stream=True)


# HTTP/2, by httpx.


@pytest.mark.parametrize("fault", [None, "cut", "reset", "stall"])
@with_seconds
@driven
async def test_http2_is_no_different(
    adapter: Adapter, http2_example_server: str, tls: TLS, fault: str | None, seconds: float
) -> None:
    if not adapter.libraries[0].startswith("httpx"):
        pytest.skip("only httpx speaks HTTP/2")
    pytest.importorskip("h2", reason="httpx speaks HTTP/2 by h2")
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
        # What became of one stream is nothing to the next one on the same connection.
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
async def test_a_recording_of_a_cut_says_how_it_was_cut(
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


# Responses that the caller has got.


@driven
async def test_a_response_that_was_got_elsewhere_is_a_stream(
    adapter: Adapter, raw_server: RawServers
) -> None:
    if not adapter.pools:
        pytest.skip("tested with the connection, which is given in place of a response")
    packed = response(gzip.compress(WHOLE), headers=encoded("gzip"))
    server = raw_server([response(WHOLE)], [response(b"", 529, {})], [packed])
    async with adapter.client(server.url, limit=1) as client:
        http = getattr(client, "sync", client)
        library_client = getattr(http, "_http", None) or http._session
        for is_refused in (False, True, False):
            got = await response_of(adapter, library_client, f"{server.url}/v1/messages")
            stream = stream_of(adapter, got)
            assert stream.response is got
            if is_refused:
                with pytest.raises(OverloadedError):
                    await stream.until_done()
            else:
                async with stream:
                    assert await stream.get_final_text() == SAID


async def response_of(adapter: Adapter, http: Any, url: str) -> Any:
    """What the library gives to those who ask for a stream."""
    if adapter.libraries[0] == "aiohttp":
        return await http.post(url, data=b"{}")
    sent = http.send(http.build_request("POST", url, content=b"{}"), stream=True)
    return await sent if adapter.loop else sent


def stream_of(adapter: Adapter, got: Any) -> Any:
    """What the adapter makes of it."""
    if adapter.libraries[0] != "aiohttp" and adapter.loop:
        return adapter.module.from_async_response(got)
    stream = adapter.module.from_response(got)
    return stream if adapter.loop else AsyncFacade(stream)


@driven
async def test_a_response_that_a_hook_has_read_is_taken_as_the_library_has_decoded_it(
    adapter: Adapter, raw_server: RawServers
) -> None:
    if not adapter.module_name.endswith("httpx"):
        pytest.skip("hooks that may read a response are httpx's")

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
        assert await stream.get_final_text() == SAID
    closed = http.aclose() if adapter.loop else http.close()
    if inspect.isawaitable(closed):
        await closed


@driven
async def test_a_pool_of_ours_keeps_no_cookies_and_sends_the_caller_s(
    adapter: Adapter, raw_server: RawServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    if adapter.module_name.endswith("httpx"):
        monkeypatch.setattr(adapter.module, "LIBRARIES", adapter.libraries[:1])
    given = {"content-type": "text/event-stream", "set-cookie": "a=1; path=/; max-age=999"}
    server = raw_server(*([response(WHOLE, headers=given)] for _ in range(3)))
    # Of an address, aiohttp keeps no cookies anyway.
    url = server.url.replace("127.0.0.1", "localhost")
    async with adapter.make(base_url=url, api_key="k", max_retries=0, timeout=PATIENCE) as client:
        for own in ({}, {}, {"cookie": "b=2"}):
            async with client.messages.stream(**ask(extra_headers=own)) as stream:
                await stream.until_done()
    assert [sent.headers.get("cookie") for sent in server.requests] == [None, None, "b=2"]


# No exception but ours.

SOURCES: Final = ("httpx", "httpx2", "aiohttp", "trio", "h11", "h2.exceptions", "ssl", "socket")

OTHER_USES: Final = frozenset(
    {
        # Of trio: channels, nurseries, and two tasks that use one thing.
        "BusyResourceError",
        "EndOfChannel",
        "NeedHandshakeError",
        "RunFinishedError",
        "TrioInternalError",
        "WouldBlock",
        # Of httpx: when cookies are looked at by name.
        "CookieConflict",
        # Of aiohttp: WebSockets, and reading a stream to its end.
        "EofStream",
        "WSMessageTypeError",
        "WebSocketError",
    }
)
"""Exceptions that do not come of sending a request."""


def exceptions_of(name: str) -> list[Exception]:
    """One of each class of exceptions that a library shows."""
    module = pytest.importorskip(name, reason=f"{name} raises what is raised here")
    kinds = {
        kind
        for name, kind in vars(module).items()
        if isinstance(kind, type) and issubclass(kind, Exception) and not issubclass(kind, Warning)
        if not name.startswith("_")
        # h11 has it to be caught, and refuses to make one.
        and kind.__module__ + name != "h11._utilProtocolError"
        # A hook of the caller's raises it, and it is an error of the API; see below.
        and name != "HTTPStatusError"
    }
    return [made(kind) for kind in sorted(kinds, key=lambda kind: kind.__name__)]


def made(kind: Any) -> Exception:
    """An exception, by the first arguments that it takes."""
    anything = mock.MagicMock()
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
        except Exception:  # noqa: BLE001, S112  (it takes others, then)
            continue
        return exception
    raise AssertionError(f"no arguments for {kind}")


def stream_that_raises(adapter: Adapter, exception: Exception) -> Any:
    """A stream of the adapter whose source breaks in the middle."""

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
async def test_no_exception_of_a_library_comes_out_of_a_stream(
    adapter: Adapter, source: str
) -> None:
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
    """The cause is what was raised; of aiohttp, what may hold the request comes as a copy."""
    cause = error.__cause__
    is_of_aiohttp = type(exception).__module__.startswith("aiohttp")
    assert cause is exception or (is_of_aiohttp and type(cause) is type(exception))


@driven
async def test_no_exception_of_its_own_libraries_comes_out_of_a_request(adapter: Adapter) -> None:
    client = adapter.make(api_key="k", max_retries=0)
    sends = type(getattr(client, "sync", client))
    for source in (*adapter.libraries, "ssl", "socket"):
        if source == "trio" and adapter.pools:
            continue  # httpx raises its own there
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
async def test_what_nobody_knows_is_one_of_our_exceptions_and_not_tried_again(
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
def test_a_hook_that_raises_for_the_status_raises_the_error_of_that_status(
    library: str, raw_server: RawServers
) -> None:
    httpx = pytest.importorskip(library, reason=f"the hook is one of {library}")
    adapters = importlib.import_module("sansio_stream_adapters.httpx")
    server = raw_server([response(b"{}", 400, {"request-id": "req_1"})])
    hooks = {"response": [lambda answer: answer.raise_for_status()]}
    with httpx.Client(event_hooks=hooks) as theirs:
        client = adapters.Client(base_url=server.url, http_client=theirs)
        with pytest.raises(BadRequestError) as caught:
            client.messages.create(**ask(), stream=True)
    assert caught.value.request_id == "req_1"
    assert len(server.requests) == 1
