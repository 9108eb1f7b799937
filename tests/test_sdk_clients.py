"""Test `sansio_stream_adapters.anthropic`: the official SDK's clients on our machine."""

import asyncio
import base64
import copy
import inspect
import json
import pickle
import warnings
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import pytest

from documentation import Block, blocks
from sansio_stream import (
    APIConnectionError,
    APIError,
    APIStatusError,
    APITimeoutError,
    Capture,
    IncompleteMessageError,
    LimitError,
    MessageStreamEvent,
    NotAnEventStreamError,
    OverloadedError,
    ProtocolError,
    StreamMachine,
    Verdict,
    encode_stream,
    event_from_dict,
    message_from_dict,
    parse_capture,
)
from sansio_stream.errors.exceptions import STATUS_ERRORS
from servers import EXAMPLES, Do, RawServer, chunk, head
from shared_data import REPOSITORY, load

anthropic: Any = pytest.importorskip("anthropic")
httpx2: Any = pytest.importorskip("httpx2")

from sansio_stream_adapters import anthropic as ours  # noqa: E402
from sansio_stream_adapters.transports import ReplayTransport  # noqa: E402

ASK: Final[Any] = {
    "model": "claude-test-1",
    "max_tokens": 64,
    "messages": [{"role": "user", "content": "Why is the sea salty?"}],
}
WHOLE: Final = ("text", "thinking-and-tool-use", "parallel-tools", "web-search-with-citations")
"""The examples that are as the API sends them."""


@pytest.fixture(autouse=True)
def _unexpected_types_do_not_warn() -> Iterator[None]:
    """The SDK's models warn of members that have another type."""
    with warnings.catch_warnings(action="ignore", category=UserWarning):
        yield


def example(name: str) -> Path:
    return EXAMPLES / f"{name}.capture.jsonl"


def sse(*payloads: Mapping[str, Any]) -> bytes:
    """The body of a stream, in which every payload is as it is here."""
    return b"".join(
        f"event: {payload['type']}\ndata: {json.dumps(payload)}\n\n".encode()
        for payload in payloads
    )


START: Final[Any] = {
    "type": "message_start",
    "message": {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-test-1",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 9, "output_tokens": 1},
    },
}
STOP: Final[Any] = {"type": "message_stop"}


def block(index: int, content_block: Mapping[str, Any], *deltas: Mapping[str, Any]) -> list[Any]:
    return [
        {"type": "content_block_start", "index": index, "content_block": content_block},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
    ]


def text(index: int, *texts: str) -> list[Any]:
    deltas = [{"type": "text_delta", "text": each} for each in texts]
    return block(index, {"type": "text", "text": ""}, *deltas)


def call(index: int, *pieces: str) -> list[Any]:
    start = {"type": "tool_use", "id": f"toolu_{index}", "name": "lookup", "input": {}}
    deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]
    return block(index, start, *deltas)


def stopped(reason: str) -> Any:
    delta = {"stop_reason": reason, "stop_sequence": None}
    return {"type": "message_delta", "delta": delta, "usage": {"output_tokens": 12}}


class Surface:
    """One of the eight ways to stream with the SDK: beta or not, async or not, helper or events."""

    def __init__(self, *, is_beta: bool, is_async: bool, is_helper: bool) -> None:
        self.is_beta = is_beta
        self.is_async = is_async
        self.is_helper = is_helper

    def __repr__(self) -> str:
        names = ("beta" * self.is_beta, "async" * self.is_async, "helper" * self.is_helper)
        return "-".join(filter(None, names)) or "events"

    def read(
        self, package: Any, captured: Any, *, into: list[Any] | None = None, **options: Any
    ) -> tuple[list[Any], Any]:
        """Read a stream, and return its events and, with a helper, its final message.

        Args:
            package: `anthropic`, or our module.
            captured: what a `ReplayTransport` takes.
            into: gets the events, also if this raises.
            options: options of the `ReplayTransport`.
        """
        transport = ReplayTransport(captured, **options)
        events: list[Any] = [] if into is None else into
        if self.is_async:
            return events, asyncio.run(self._read_async(package, transport, events))
        http = anthropic.DefaultHttpxClient(transport=transport)
        with package.Anthropic(api_key="k", max_retries=0, http_client=http) as client:
            messages = client.beta.messages if self.is_beta else client.messages
            if self.is_helper:
                with messages.stream(**ASK) as stream:
                    events.extend(stream)
                    return events, stream.get_final_message()
            with messages.create(**ASK, stream=True) as stream:
                events.extend(stream)
        return events, None

    async def _read_async(self, package: Any, transport: Any, events: list[Any]) -> Any:
        http = anthropic.DefaultAsyncHttpxClient(transport=transport)
        async with package.AsyncAnthropic(api_key="k", max_retries=0, http_client=http) as client:
            messages = client.beta.messages if self.is_beta else client.messages
            if self.is_helper:
                async with messages.stream(**ASK) as stream:
                    async for event in stream:
                        events.append(event)  # noqa: PERF401  (keeps the events before an exception)
                    return await stream.get_final_message()
            async with await messages.create(**ASK, stream=True) as stream:
                async for event in stream:
                    events.append(event)  # noqa: PERF401  (likewise)
        return None


SURFACES: Final = [
    Surface(is_beta=beta, is_async=asynchronous, is_helper=helper)
    for beta in (False, True)
    for asynchronous in (False, True)
    for helper in (False, True)
]
EVENTS: Final = SURFACES[0]
HELPER: Final = SURFACES[1]
on_every_surface: Final = pytest.mark.parametrize("surface", SURFACES, ids=repr)


def dicts(objects: list[Any]) -> list[Any]:
    return [(type(each).__name__, each.to_dict()) for each in objects]


# Whole streams.


@on_every_surface
@pytest.mark.parametrize("name", WHOLE)
def test_the_events_and_the_message_are_those_of_the_sdk(surface: Surface, name: str) -> None:
    events, message = surface.read(ours, example(name))
    expected_events, expected_message = surface.read(anthropic, example(name))
    assert dicts(events) == dicts(expected_events)
    assert message == expected_message
    assert type(message) is type(expected_message)


@pytest.mark.parametrize("name", WHOLE)
def test_how_the_body_is_cut_and_compressed_does_not_matter(name: str) -> None:
    _, expected = HELPER.read(anthropic, example(name))
    ways: list[dict[str, Any]] = [
        {"cut_into": "bytes"},
        {"fault": "gzip"},
        {"cut_into": "random:7"},
    ]
    for options in ways:
        assert HELPER.read(ours, example(name), **options)[1] == expected


def test_a_body_in_any_encoding_that_the_sdk_offers_is_read() -> None:
    brotli = pytest.importorskip("brotli")
    body = parse_capture(example("text").read_bytes()).body
    headers = {"content-type": "text/event-stream", "content-encoding": "br"}
    packed = brotli.compress(body)
    transport = httpx2.MockTransport(
        lambda _: httpx2.Response(200, headers=headers, content=packed)
    )
    with client_over(transport).messages.stream(**ASK) as stream:
        assert stream.get_final_message().stop_reason == "end_turn"


def client_over(transport: Any, **settings: Any) -> Any:
    http = anthropic.DefaultHttpxClient(transport=transport)
    return ours.Anthropic(**{"api_key": "k", "max_retries": 0, "http_client": http, **settings})


def test_the_helpers_properties_work_as_with_the_sdk() -> None:
    with client_over(ReplayTransport(example("text"))).messages.stream(**ASK) as stream:
        first = next(stream.text_stream)
        assert stream.current_message_snapshot.content[0].text == first
        rest = "".join(stream.text_stream)
        assert stream.get_final_text() == first + rest
        assert stream.request_id == stream.response.headers["request-id"]


def test_an_output_format_is_parsed_by_the_sdk() -> None:
    pydantic = pytest.importorskip("pydantic")
    city = pydantic.create_model("City", name=(str, ...), people=(int, ...))
    answer = message_from_dict(
        {
            **START["message"],
            "content": [{"type": "text", "text": '{"name": "Porto", "people": 232000}'}],
            "stop_reason": "end_turn",
        }
    )
    transport = ReplayTransport(encode_stream(answer, delta_characters=(1, 5)))
    with client_over(transport).messages.stream(**ASK, output_format=city) as stream:
        message = stream.get_final_message()
    assert message.parsed_output == city(name="Porto", people=232000)


def test_the_tool_runner_runs_the_tools_of_our_streams() -> None:
    asked: list[str] = []

    @anthropic.beta_tool  # type: ignore[untyped-decorator]
    def lookup(city: str) -> str:
        """Look up the weather."""
        asked.append(city)
        return "Sunny."

    body = sse(START, *call(0, '{"city": "Por', 'to"}'), stopped("tool_use"), STOP)
    transport = ReplayTransport(body, example("text"))
    runner = client_over(transport).beta.messages.tool_runner(**ASK, tools=[lookup], stream=True)
    reasons = [stream.get_final_message().stop_reason for stream in runner]
    assert reasons == ["tool_use", "end_turn"]
    assert asked == ["Porto"]


def test_raw_and_streaming_responses_parse_to_our_stream() -> None:
    client = client_over(ReplayTransport(example("text"), example("cut-stream")))
    raw = client.messages.with_raw_response.create(**ASK, stream=True)
    assert raw.retries_taken == 0
    assert [*raw.parse()][-1].type == "message_stop"
    with client.messages.with_streaming_response.create(**ASK, stream=True) as response:
        stream = response.parse()
        with pytest.raises(APIConnectionError):
            list(stream)


def test_retries_and_middleware_are_those_of_the_sdk() -> None:
    seen: list[str] = []

    def middleware(request: Any, call_next: Any) -> Any:
        seen.append(request.options.url)
        return call_next(request)

    transport = ReplayTransport(example("text"), fault="429-once")
    client = client_over(transport, max_retries=1, middleware=[middleware])
    with client.messages.stream(**ASK) as stream:
        assert stream.get_final_message().stop_reason == "end_turn"
    assert seen == ["/v1/messages"] * 2
    assert len(transport.requests) == 2


def test_answers_that_are_no_streams_and_other_streams_are_the_sdks() -> None:
    answer = message_from_dict({**START["message"], "stop_reason": "end_turn"})
    transport = httpx2.MockTransport(lambda _: httpx2.Response(200, json=answer.to_dict()))
    message = client_over(transport).messages.create(**ASK)
    assert message.stop_reason == "end_turn"

    body = b'event: span.started\ndata: {"type": "span.started"}\n\n'
    headers = {"content-type": "text/event-stream"}
    transport = httpx2.MockTransport(lambda _: httpx2.Response(200, headers=headers, content=body))
    stream = client_over(transport).post(
        "/v1/other", cast_to=object, stream=True, stream_cls=anthropic.Stream[object]
    )
    assert type(stream) is anthropic.Stream
    assert [*stream] == [{"type": "span.started"}]


# Streams that are not whole.


@on_every_surface
@pytest.mark.parametrize(
    ("name", "fault", "kind", "sdk_name"),
    [
        ("cut-stream", None, APIConnectionError, "APIConnectionError"),
        ("text", "cut", APIConnectionError, "APIConnectionError"),
        ("text", "reset", APIConnectionError, "APIConnectionError"),
        ("text", "stall", APITimeoutError, "APITimeoutError"),
        ("text", "html-200", NotAnEventStreamError, "APIResponseValidationError"),
        ("text", "json-200", NotAnEventStreamError, "APIResponseValidationError"),
        ("text", "error-in-mid-stream", OverloadedError, "OverloadedError"),
        ("overloaded", None, OverloadedError, "OverloadedError"),
    ],
)
def test_a_bad_end_raises_an_exception_of_both_libraries(
    surface: Surface, name: str, fault: str | None, kind: type[APIError], sdk_name: str
) -> None:
    with pytest.raises(kind) as caught:
        surface.read(ours, example(name), fault=fault)
    error: Any = caught.value
    assert issubclass(type(error), getattr(anthropic, sdk_name))
    assert issubclass(type(error), anthropic.APIError)
    assert type(error).__name__ == kind.__name__
    assert error.request.url.path == "/v1/messages"


BODIES: Final[list[tuple[str, bytes, type[APIError], Verdict]]] = [
    ("nothing", b"", IncompleteMessageError, Verdict.EMPTY),
    ("cut", sse(START, *text(0, "Hi")), IncompleteMessageError, Verdict.TRUNCATED),
    (
        "a lost delta",
        sse(START, *text(0, "Hi"), text(7, " there")[1], stopped("end_turn"), STOP),
        IncompleteMessageError,
        Verdict.DAMAGED,
    ),
    ("no JSON", sse(START) + b"event: message_delta\ndata: {\n\n", ProtocolError, Verdict.BROKEN),
]


@on_every_surface
@pytest.mark.parametrize(
    ("body", "kind", "verdict"), [row[1:] for row in BODIES], ids=[row[0] for row in BODIES]
)
def test_an_unusable_stream_raises_before_its_message_stop(
    surface: Surface, body: bytes, kind: type[APIError], verdict: Verdict
) -> None:
    events: list[Any] = []
    with pytest.raises(kind) as caught:
        surface.read(ours, body, into=events)
    assert caught.value.verdict is verdict
    assert isinstance(caught.value, anthropic.APIError)
    assert "message_stop" not in [event.type for event in events]


def test_the_part_that_arrived_can_be_read_after_the_exception() -> None:
    with client_over(ReplayTransport(example("cut-stream"))).messages.stream(**ASK) as stream:
        with pytest.raises(anthropic.APIConnectionError) as caught:
            stream.get_final_message()
        snapshot = stream.current_message_snapshot
        assert ours.from_sdk_message(snapshot).text == caught.value.partial_message.text
        assert isinstance(caught.value.__cause__, httpx2.RemoteProtocolError)


def test_a_stream_without_message_stop_is_usable() -> None:
    for surface in SURFACES:
        events, message = surface.read(ours, sse(START, *text(0, "Hi"), stopped("end_turn")))
        assert events[-1].type == "message_delta"
        assert message is None or message.stop_reason == "end_turn"


@pytest.mark.parametrize(
    "pieces",
    [('{"ci',), ('{"city": "Por',), ('{"city": "Porto"}', '{"city": "Faro"}')],
    ids=["no argument", "a part of one", "two objects"],
)
def test_lost_arguments_are_never_a_finished_call(pieces: tuple[str, ...]) -> None:
    body = sse(START, *call(0, *pieces), stopped("tool_use"), STOP)
    for surface in SURFACES:
        if surface.is_helper:
            with pytest.raises(IncompleteMessageError, match="toolu_0") as caught:
                surface.read(ours, body)
            error: Any = caught.value
            assert issubclass(type(error), anthropic.APIConnectionError)
            assert error.partial_message.content[0].input_json == "".join(pieces)
        else:  # The caller has the text, and the SDK makes no value of it.
            events, _ = surface.read(ours, body)
            assert events[-1].type == "message_stop"


def test_a_call_that_a_limit_or_a_refusal_cut_is_as_with_the_sdk() -> None:
    cut = [*call(0, '{"city": "Porto", "da')]
    fallback = block(
        1,
        {
            "type": "fallback",
            "from": {"model": "a"},
            "to": {"model": "b"},
            "trigger": {"type": "refusal"},
        },
    )
    for body in (
        sse(START, *cut, stopped("max_tokens"), STOP),
        sse(START, *cut, *fallback, *text(2, "Hi"), stopped("end_turn"), STOP),
    ):
        for surface in SURFACES:
            _, message = surface.read(ours, body)
            if message is not None:
                assert message == surface.read(anthropic, body)[1]
                assert message.content[0].input == {"city": "Porto"}


def test_indexes_become_positions() -> None:
    gap = sse(START, *text(0, "a"), *text(4, "b"), stopped("end_turn"), STOP)
    repeated = sse(START, *call(0, '{"a": 1}'), *call(0, '{"b": 2}'), stopped("tool_use"), STOP)
    for surface in SURFACES:
        events, message = surface.read(ours, gap)
        assert {event.index for event in events if hasattr(event, "index")} == {0, 1}
        if message is not None:
            assert [each.text for each in message.content] == ["a", "b"]
            _, message = surface.read(ours, repeated)
            assert [each.input for each in message.content] == [{"a": 1}, {"b": 2}]


def test_what_a_server_leaves_out_is_not_missed() -> None:
    body = sse(
        {"type": "message_start", "message": {"id": "msg_1", "model": "m", "role": "assistant"}},
        *block(0, {"type": "text"}, {"type": "text_delta", "text": "Hi"}),
        *block(1, {"type": "thinking"}, {"type": "thinking_delta", "thinking": "Hm"}),
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}},
        {"type": "message_delta", "usage": {"output_tokens": 5}},
        STOP,
    )
    for surface in SURFACES:
        events, message = surface.read(ours, body)
        assert events[-1].type == "message_stop"
        if message is not None:
            assert message.content[0].text == "Hi"
            assert message.content[1].thinking == "Hm"
            assert message.stop_reason == "end_turn"
            assert message.usage.output_tokens == 5


def test_content_in_the_start_of_the_message_keeps_its_places() -> None:
    start = {**START, "message": {**START["message"], "content": [{"type": "text", "text": "a"}]}}
    body = sse(start, *text(1, "b"), stopped("end_turn"), STOP)
    _, message = HELPER.read(ours, body)
    assert [each.text for each in message.content] == ["a", "b"]


def test_events_of_unknown_types_pass_and_those_not_understood_do_not() -> None:
    body = sse(
        START,
        {"type": "news", "text": "hello"},
        *text(0, "Hi"),
        stopped("end_turn"),
        STOP,
    )
    events, _ = EVENTS.read(ours, b"event: odd\ndata: no JSON\n\n" + body)
    assert [event.type for event in events][:2] == ["message_start", "news"]
    assert events[1].to_dict() == {"type": "news", "text": "hello"}

    no_index = {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "lost"}}
    with pytest.raises(IncompleteMessageError, match="malformed_event"):
        HELPER.read(ours, sse(START, no_index, stopped("end_turn"), STOP), into=events)
    no_text = block(0, {"type": "text", "text": ""}, {"type": "text_delta"})
    flawed, message = HELPER.read(ours, sse(START, *no_text, stopped("end_turn"), STOP))
    assert message.content[0].text == ""
    for event in (*events, *flawed):
        assert event.type != "content_block_delta" or event.delta.text == "Hi"


def test_a_payload_without_a_type_has_that_of_its_event_line() -> None:
    frames = [sse(each) for each in (START, *text(0, "Hi"), stopped("end_turn"), STOP)]
    body = b"".join(frames).replace(b'"type": "content_block_start", ', b"")
    assert HELPER.read(ours, body)[1].content[0].text == "Hi"


VERDICTS: Final = {Verdict.COMPLETE, Verdict.UNTERMINATED}
"""The verdicts of streams with a message."""

INVALID_INPUT: Final = "Unable to parse tool parameter JSON"
"""What the SDK's accumulators raise for the invalid input of a tool call: a ValueError."""


def test_every_test_vector_gives_its_message_or_an_exception_of_both_libraries() -> None:
    beta_helper = Surface(is_beta=True, is_async=False, is_helper=True)
    for row in load("vectors/messages.jsonl"):
        body = b"".join(map(base64.b64decode, row["chunks_b64"]))
        machine = StreamMachine()
        with suppress(ProtocolError):
            list(machine.receive_data(body))
            list(machine.receive_eof())
        for surface in (EVENTS, HELPER, beta_helper):
            try:
                _, message = surface.read(ours, body)
            except ValueError as error:
                assert INVALID_INPUT in str(error), row["name"]
            except APIError as error:
                assert issubclass(type(error), anthropic.APIError), row["name"]
                is_finished = machine.verdict in VERDICTS
                assert not is_finished or "the input of the tool call" in str(error), row["name"]
            else:
                assert machine.verdict in VERDICTS, row["name"]
                if message is not None:
                    read = ours.from_sdk_message(message)
                    expected = machine.final_message()
                    assert read.text == expected.text, row["name"]
                    assert read.stop_reason == expected.stop_reason, row["name"]
                    assert len(read.content) == len(expected.content), row["name"]


# Connections.


def test_a_connection_is_reused_after_message_stop_and_closed_before_it() -> None:
    body = parse_capture(example("text").read_bytes()).body
    whole = head() + chunk(body) + chunk(b"")
    with RawServer([whole], [whole], [head() + chunk(body[:2000]), Do.WAIT]) as server:
        client = ours.Anthropic(api_key="k", base_url=server.url, max_retries=0)
        with client.messages.create(**ASK, stream=True) as stream:
            for event in stream:
                if event.type == "message_stop":
                    break
        with client.messages.stream(**ASK) as stream:
            stream.until_done()
        with client.messages.stream(**ASK) as stream:
            next(stream.text_stream)
        server.wait_until_closed()
        assert [request.connection for request in server.requests] == [1, 1, 1]
        client.close()


def test_an_async_connection_is_reused_after_message_stop_and_closed_before_it() -> None:
    body = parse_capture(example("text").read_bytes()).body
    whole = head() + chunk(body) + chunk(b"")

    async def main(url: str) -> None:
        async with ours.AsyncAnthropic(api_key="k", base_url=url, max_retries=0) as client:
            async with await client.messages.create(**ASK, stream=True) as events:
                async for event in events:
                    if event.type == "message_stop":
                        break
            async with client.messages.stream(**ASK) as stream:
                await stream.until_done()
            async with client.messages.stream(**ASK) as stream:
                await anext(stream.text_stream)

    with RawServer([whole], [whole], [head() + chunk(body[:2000]), Do.WAIT]) as server:
        asyncio.run(main(server.url))
        server.wait_until_closed()
        assert [request.connection for request in server.requests] == [1, 1, 1]


def test_a_stream_that_is_dropped_closes_its_response() -> None:
    body = parse_capture(example("text").read_bytes()).body
    with RawServer([head() + chunk(body[:2000]), Do.WAIT]) as server:
        client = ours.Anthropic(api_key="k", base_url=server.url, max_retries=0)
        stream: Any = client.messages.create(**ASK, stream=True)
        next(stream)
        del stream
        server.wait_until_closed()
        client.close()


# Clients.


def test_the_names_of_the_sdk_that_are_not_public_exist() -> None:
    assert inspect.isfunction(anthropic.Stream._iter_events)
    assert inspect.isfunction(anthropic.AsyncStream._iter_events)
    event = anthropic._streaming.ServerSentEvent(event="ping", data="{}")
    assert (event.event, event.data, event.json()) == ("ping", "{}", {})
    for client in (anthropic.Anthropic, anthropic.AsyncAnthropic):
        assert "_extra_kwargs" in inspect.signature(client.copy).parameters
        assert "_token_cache" in inspect.signature(client.__init__).parameters
        assert set(ours.CREDENTIALS) <= inspect.signature(client.__init__).parameters.keys()
        assert client.with_options is client.copy
    transport = ReplayTransport(example("text"), example("text"))
    client = client_over(transport)
    with client.messages.stream(**ASK), client.messages.create(**ASK, stream=True):
        helper, events = transport.requests
    assert ours.HELPER_HEADER in helper.headers
    assert ours.HELPER_HEADER not in events.headers


def test_the_signatures_of_the_clients_are_those_of_the_sdk() -> None:
    for name in ("Anthropic", "AsyncAnthropic"):
        theirs, mine = getattr(anthropic, name), getattr(ours, name)
        assert issubclass(mine, theirs)
        for method in ("__init__", "copy", "with_options"):
            expected = inspect.signature(getattr(theirs, method))
            assert inspect.signature(getattr(mine, method)) == expected
            assert getattr(mine, method).__doc__ == getattr(theirs, method).__doc__


def test_a_copy_reads_by_the_machine_and_keeps_its_credentials() -> None:
    def provider(**_: Any) -> Any:
        raise NotImplementedError  # nothing is sent

    for kind in (ours.Anthropic, ours.AsyncAnthropic):
        client = kind(credentials=provider)
        for made in (client.with_options(timeout=7), client.copy(max_retries=1)):
            assert type(made) is kind
            assert made.credentials is provider
            assert made._token_cache is client._token_cache
        moved = client.with_options(base_url="http://other.test")
        assert moved.credentials is provider
        assert moved._token_cache is not client._token_cache
        assert client.with_options(api_key="k").credentials is None
        assert kind(api_key="k").with_options(timeout=7).api_key == "k"


def test_credentials_are_found_as_the_sdk_finds_them(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*ours.CREDENTIAL_VARIABLES, "ANTHROPIC_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    asked: list[dict[str, Any]] = []
    found: Any = SimpleNamespace(
        provider=lambda **_: None,
        extra_headers={"anthropic-workspace-id": "w"},
        base_url="http://profile.test",
    )

    def default_credentials(**where: Any) -> Any:
        asked.append(where)
        return found

    monkeypatch.setattr(ours, "default_credentials", default_credentials)
    for kind in (ours.Anthropic, ours.AsyncAnthropic):
        client = kind()
        assert client.credentials is found.provider
        assert client.base_url.host == "profile.test"
        assert client.default_headers["anthropic-workspace-id"] == "w"
        copied = client.with_options(timeout=7)
        assert copied.credentials is found.provider
        assert copied.base_url.host == "profile.test"
        assert copied.default_headers["anthropic-workspace-id"] == "w"
    assert asked == [{}, {}]
    assert ours.Anthropic(base_url="http://mine.test").base_url.host == "mine.test"
    assert asked[2:] == [{"base_url": "http://mine.test"}]
    found = None
    assert ours.Anthropic().credentials is None
    assert ours.Anthropic(api_key="k").api_key == "k"
    monkeypatch.setenv("ANTHROPIC_API_KEY", "from the environment")
    assert ours.Anthropic().api_key == "from the environment"
    assert len(asked) == 4


# Events, messages and errors by themselves.


def events_of(name: str) -> list[MessageStreamEvent]:
    capture: Capture = parse_capture(example(name).read_bytes())
    machine = StreamMachine()
    return [*machine.receive_data(capture.body), *machine.receive_eof()]


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("beta", [False, True])
def test_an_event_becomes_the_object_that_the_sdk_makes_of_it(name: str, beta: bool) -> None:
    surface = Surface(is_beta=beta, is_async=False, is_helper=False)
    expected, _ = surface.read(anthropic, example(name))
    made: list[Any] = [
        ours.to_sdk_event(event, beta=beta) for event in events_of(name) if event.type != "ping"
    ]
    assert dicts(made) == dicts(expected)
    assert made == expected


def test_events_without_a_class_of_the_sdk_have_the_members_of_the_payload() -> None:
    for payload in ({"type": "ping"}, {"type": "news", "text": "hello"}):
        made: Any = ours.to_sdk_event(event_from_dict(payload))
        assert isinstance(made, anthropic.BaseModel)
        assert made.to_dict() == payload


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("beta", [False, True])
def test_a_message_becomes_that_of_the_sdk_and_back(name: str, beta: bool) -> None:
    machine = StreamMachine()
    list(machine.receive_data(parse_capture(example(name).read_bytes()).body))
    message = machine.final_message()
    made: Any = ours.to_sdk_message(message, beta=beta)
    types = anthropic.types
    assert type(made) is (types.beta.BetaMessage if beta else types.Message)
    assert made.to_dict() == message.to_dict()
    assert made.content[-1].type == message.content[-1].type
    assert ours.from_sdk_message(made) == message
    accumulated = Surface(is_beta=beta, is_async=False, is_helper=True).read(ours, example(name))[1]
    assert ours.from_sdk_message(accumulated).content == message.content


def test_a_call_without_its_whole_input_has_none() -> None:
    machine = StreamMachine()
    body = sse(START, *call(0, '{"city": "Por'), stopped("max_tokens"), STOP)
    list(machine.receive_data(body))
    assert ours.to_sdk_message(machine.final_message()).content[0].input is None  # type: ignore[union-attr]


def test_what_the_sdks_helper_adds_is_not_in_the_message() -> None:
    _, message = HELPER.read(ours, example("text"))
    message.content[0].parsed_output = {"a": 1}
    assert "parsed_output" not in ours.from_sdk_message(message).to_dict()["content"][0]
    with pytest.raises(TypeError, match="expected Message or BetaMessage, not dict"):
        ours.from_sdk_message({})  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    "kind", [*STATUS_ERRORS.values(), APIStatusError], ids=lambda c: c.__name__
)
def test_an_error_status_has_the_sdks_class_of_the_same_name(kind: type[APIStatusError]) -> None:
    body = {"type": "error", "error": {"type": "odd_error", "message": "No."}}
    error = kind("No.", status_code=499, type="odd_error", body=body, headers={"request-id": "r"})
    made: Any = ours.to_sdk_error(error)
    assert issubclass(type(made), kind)
    assert issubclass(type(made), getattr(anthropic, kind.__name__))
    assert (made.status_code, made.http_status, made.type) == (499, 200, "odd_error")
    assert (made.message, made.api_message, made.body) == ("No.", "No.", body)
    assert made.response.headers["request-id"] == "r"
    assert made.request.method == "POST"


@pytest.mark.parametrize(
    ("error", "sdk_name"),
    [
        (APIConnectionError("lost"), "APIConnectionError"),
        (APITimeoutError("late"), "APITimeoutError"),
        (IncompleteMessageError("cut", verdict=Verdict.TRUNCATED), "APIConnectionError"),
        (ProtocolError("odd", code="x", raw="{"), "APIResponseValidationError"),
        (LimitError("big", limit="depth", maximum=3), "APIResponseValidationError"),
        (NotAnEventStreamError("html", raw="<html>"), "APIResponseValidationError"),
        (OverloadedError("busy", status_code=529), "OverloadedError"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_an_error_is_of_both_classes_and_stays_so(error: APIError, sdk_name: str) -> None:
    error.__cause__ = OSError("why")
    made: Any = ours.to_sdk_error(error)
    assert isinstance(made, getattr(anthropic, sdk_name))
    assert made.__cause__ is error.__cause__
    assert ours.to_sdk_error(made) is made
    assert type(ours.to_sdk_error(error)) is type(made)
    for again in (made, pickle.loads(pickle.dumps(made)), copy.copy(made)):
        assert type(again) is type(made)
        assert isinstance(again, type(error))
        assert str(again) == str(error)
        assert {**vars(again), **vars(error)} == vars(again)


# The page.

PAGE: Final = REPOSITORY / "docs" / "from-the-official-sdk.md"
SHOWN: Final = [
    block for block in blocks(PAGE) if block.not_run and "needs the official SDK" in block.not_run
]


@pytest.mark.parametrize("shown", SHOWN, ids=str)
def test_the_blocks_of_the_page_run(shown: Block, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    code = compile("\n" * (shown.line - 1) + shown.code, shown.path, "exec")
    exec(code, {"__name__": "__main__"})  # noqa: S102 - the point of the test


def test_the_page_shows_all_that_the_module_exports() -> None:
    assert len(SHOWN) == 5
    code = "".join(block.code for block in blocks(PAGE))
    for name in ours.__all__:
        assert name in code or f"`{name}(" in PAGE.read_text("utf-8"), name


def test_a_dump_of_an_event_of_the_sdk_adds_nulls() -> None:
    machines = {"to_dict": StreamMachine(), "model_dump": StreamMachine()}
    for event in EVENTS.read(anthropic, example("thinking-and-tool-use"))[0]:
        for method, machine in machines.items():
            list(machine.receive_event(getattr(event, method)()))
    expected = StreamMachine()
    list(expected.receive_data(parse_capture(example("thinking-and-tool-use").read_bytes()).body))
    assert machines["to_dict"].final_message() == expected.final_message()
    assert machines["model_dump"].final_message() != expected.final_message()
