"""Test what all clients have in common: requests, retries, errors. No network is used."""

import asyncio
import importlib
import inspect
import json
import os
import random
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import pytest

from sansio_stream import (
    NOT_GIVEN,
    APIConnectionError,
    APIError,
    APITimeoutError,
    AuthenticationError,
    LimitError,
    Limits,
    OverloadedError,
    ProtocolError,
    RateLimitError,
    Request,
    Verdict,
    message_from_dict,
    parse_capture,
)
from sansio_stream_adapters import (
    AsyncBaseClient,
    AsyncReply,
    BaseClient,
    MessageStream,
    Reply,
    Stream,
    Timeout,
    _bridge,
    _client,
)
from sansio_stream_adapters._opening import Opening
from servers import replace_time
from wire import HELLO, OVERLOADED, PING, body, json_piece, tool_start

HELLO_BODY: Final = body(*HELLO)
SSE: Final = {"content-type": "text/event-stream", "request-id": "req_1"}
ASK: Final[dict[str, Any]] = {
    "model": "claude-test-1",
    "max_tokens": 64,
    "messages": [{"role": "user", "content": "Hello"}],
}

Answer = tuple[int, Mapping[str, str], bytes] | Exception
GOOD: Final[Answer] = (200, SSE, HELLO_BODY)


def error_answer(status: int, **headers: str) -> Answer:
    """Make an answer that is an error of the API."""
    payload = {"type": "error", "error": {"type": "some_error", "message": f"No: {status}"}}
    extra = {name.replace("_", "-"): value for name, value in headers.items()}
    return status, {"content-type": "application/json", **extra}, json.dumps(payload).encode()


class LibraryError(Exception):
    """An exception of an HTTP library."""


def map_library_error(exc: Exception) -> APIError | None:
    return APIConnectionError("theirs") if isinstance(exc, LibraryError) else None


class FakeServer:
    """A fake server that gives its answers in order and records the requests."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.requests: list[Request] = []
        self.timeouts: list[Timeout] = []
        self.closed: list[int] = []
        self.delays: list[float] = []

    def answer(self, request: Request, timeouts: Timeout) -> tuple[int, Any, bytes]:
        self.requests.append(request)
        self.timeouts.append(timeouts)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


class SyncClient(BaseClient):
    """A synchronous client without a network."""

    has_http_client = True  # without it, each call would need a key

    def __init__(self, server: FakeServer, **settings: Any) -> None:
        super().__init__(**settings)
        self.server = server

    def send(self, request: Request, timeouts: Timeout) -> Reply:
        status, headers, data = self.server.answer(request, timeouts)
        return {
            "chunks": iter([data]),
            "status": status,
            "headers": headers,
            "response": None,
            "close": lambda: self.server.closed.append(status),
            "abort": None,
            "map_error": map_library_error,
        }

    def close(self) -> None:
        self.server.closed.append(0)

    map_error = staticmethod(map_library_error)


class AsyncClient(AsyncBaseClient):
    """An asynchronous client without a network."""

    has_http_client = True

    def __init__(self, server: FakeServer, **settings: Any) -> None:
        super().__init__(**settings)
        self.server = server

    async def send(self, request: Request, timeouts: Timeout) -> AsyncReply:
        status, headers, data = self.server.answer(request, timeouts)

        async def chunks() -> AsyncIterator[bytes]:
            yield data

        async def close() -> None:
            self.server.closed.append(status)

        return {
            "chunks": chunks(),
            "status": status,
            "headers": headers,
            "response": None,
            "close": close,
            "map_error": map_library_error,
        }

    async def close(self) -> None:
        self.server.closed.append(0)

    map_error = staticmethod(map_library_error)


class Caller:
    """Calls and reads a client of either kind, so that a test is written once."""

    def __init__(self, kind: type[SyncClient] | type[AsyncClient]) -> None:
        self._kind = kind

    def client(self, server: FakeServer, **settings: Any) -> Any:
        return self._kind(server, **settings)

    def read(self, manager: Any) -> Any:
        """Enter a manager, read to the end and leave it. Return the stream."""
        if self._kind is SyncClient:
            with manager as stream:
                stream.until_done()
            return stream

        async def main() -> Any:
            async with manager as stream:
                await stream.until_done()
            return stream

        return asyncio.run(main())

    def ask(self, *answers: Answer, **call: Any) -> tuple[FakeServer, Any]:
        """Send one request. Return the server and the stream."""
        server = FakeServer(*answers)
        return server, self.read(self.client(server).messages.stream(**ASK, **call))

    def events(self, client: Any, **params: Any) -> list[str]:
        """Return the types of the events of `create`."""
        if self._kind is SyncClient:
            return [event.type for event in client.messages.create(**params)]

        async def main() -> list[str]:
            return [event.type async for event in await client.messages.create(**params)]

        return asyncio.run(main())


@pytest.fixture(params=[SyncClient, AsyncClient], ids=["sync", "async"])
def caller(request: pytest.FixtureRequest) -> Caller:
    return Caller(request.param)


@pytest.fixture(autouse=True)
def delays(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The delays between attempts, in seconds. Clients record them here and do not wait."""
    delays: list[float] = []

    async def sleep(seconds: float) -> None:
        delays.append(seconds)

    monkeypatch.setattr(Opening, "wait", lambda _, seconds: delays.append(seconds))
    monkeypatch.setattr(_client, "sleep", sleep)
    monkeypatch.setattr(random, "random", lambda: 0.0)
    for name in ("API_KEY", "AUTH_TOKEN", "BASE_URL"):
        monkeypatch.delenv(f"ANTHROPIC_{name}", raising=False)
    return delays


# Requests.


def test_all_parameters_are_sent_and_the_stream_has_the_message(caller: Caller) -> None:
    server, stream = caller.ask(
        GOOD, system="Be brief.", temperature=0.8, top_p=None, tools=NOT_GIVEN, new_parameter=[1]
    )
    assert stream.snapshot.complete
    (request,) = server.requests
    assert (request.method, request.url) == ("POST", "https://api.anthropic.com/v1/messages")
    assert json.loads(request.body) == {
        **ASK,
        "system": "Be brief.",
        "temperature": 0.8,
        "top_p": None,
        "new_parameter": [1],
        "stream": True,
    }
    assert request.headers["anthropic-version"] == "2023-06-01"
    assert "x-api-key" not in request.headers
    assert "authorization" not in request.headers
    assert server.closed == [200]


def test_settings_of_the_client_and_options_of_the_call_are_sent(caller: Caller) -> None:
    server = FakeServer(GOOD)
    client = caller.client(
        server,
        api_key="key",
        base_url="http://localhost:1/prefix/",
        api_version="2026-10-21",
        default_headers={"x-one": "1", "x-two": "2"},
    )
    caller.read(
        client.beta.messages.stream(
            **ASK,
            betas=["a-1", "b-2"],
            extra_headers={"X-Two": "two", "x-three": "3"},
            extra_query={"beta": "true"},
            extra_body={"max_tokens": 1, "speed": "fast"},
        )
    )
    (request,) = server.requests
    assert request.url == "http://localhost:1/prefix/v1/messages?beta=true"
    headers = request.headers
    assert headers["x-api-key"] == "key"
    assert headers["anthropic-version"] == "2026-10-21"
    assert headers["anthropic-beta"] == "a-1,b-2"
    assert (headers["x-one"], headers["x-two"], headers["x-three"]) == ("1", "two", "3")
    assert json.loads(request.body)["max_tokens"] == 1
    assert json.loads(request.body)["speed"] == "fast"


def test_options_may_be_none_or_not_given(caller: Caller) -> None:
    none = dict.fromkeys(("extra_headers", "extra_query", "extra_body", "betas", "record_to"))
    server, _ = caller.ask(GOOD, **none)
    assert json.loads(server.requests[0].body) == {**ASK, "stream": True}
    not_given = dict.fromkeys(("betas", "record_to", "timeout", "max_retries"), NOT_GIVEN)
    server, _ = caller.ask(GOOD, **not_given)
    assert json.loads(server.requests[0].body) == {**ASK, "stream": True}


def test_credentials_are_taken_from_the_environment_if_none_is_given(
    caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "key of the environment")
    monkeypatch.setenv("ANTHROPIC_AUTH_TOKEN", "token")
    monkeypatch.setenv("ANTHROPIC_BASE_URL", "http://localhost:2")
    server = FakeServer(GOOD)
    caller.read(caller.client(server).messages.stream(**ASK))
    settings = {"auth_token": "mine"}
    caller.read(caller.client(server, **settings).messages.stream(**ASK))
    theirs, mine = server.requests
    assert theirs.url == "http://localhost:2/v1/messages"
    assert theirs.headers["x-api-key"] == "key of the environment"
    assert theirs.headers["authorization"] == "Bearer token"
    assert mine.headers["authorization"] == "Bearer mine"
    assert "x-api-key" not in mine.headers


def test_the_content_of_an_answer_can_be_sent_back_unchanged(caller: Caller) -> None:
    _, stream = caller.ask(GOOD)
    answer_of_assistant = {"role": "assistant", "content": stream.snapshot.content}
    server = FakeServer(GOOD)
    caller.read(
        caller.client(server).messages.stream(
            **{**ASK, "messages": [*ASK["messages"], answer_of_assistant]}
        )
    )
    sent = json.loads(server.requests[0].body)["messages"]
    assert sent[1] == {
        "role": "assistant",
        "content": [{"type": "text", "text": "Hello, wörld 🎉"}],
    }


def test_invalid_arguments_are_refused_at_the_call(caller: Caller) -> None:
    cut = message_from_dict({"content": [{"type": "tool_use", "id": "t", "name": "n", "input": 5}]})
    client = caller.client(FakeServer(GOOD))
    with pytest.raises(ValueError, match="input"):
        client.messages.stream(**{**ASK, "messages": [cut]})
    with pytest.raises(ValueError, match="seconds"):
        client.messages.stream(**ASK, timeout=-1)


def test_create_yields_events_and_requires_stream_true(caller: Caller) -> None:
    server = FakeServer(GOOD)
    client = caller.client(server)
    assert caller.events(client, stream=True, **ASK)[-1] == "message_stop"
    assert server.closed == [200]
    with pytest.raises(TypeError, match=r"messages\.stream\(\.\.\.\)\.get_final_message\(\)"):
        caller.events(client, **ASK)
    assert len(server.requests) == 1


def test_options_of_the_stream_are_passed_to_it(caller: Caller) -> None:
    with pytest.raises(ProtocolError):
        caller.ask((200, SSE, body(*HELLO[:2], *HELLO)), strict=True, limits=None)
    with pytest.raises(LimitError):
        caller.ask(GOOD, limits=Limits(event_bytes=20))


# Keys.


@pytest.fixture
def asks_for_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in (SyncClient, AsyncClient):
        monkeypatch.setattr(kind, "has_http_client", False)


@pytest.mark.usefixtures("asks_for_keys")
def test_a_call_without_a_key_raises_value_error(caller: Caller) -> None:
    server = FakeServer(GOOD)
    for settings in ({}, {"api_key": ""}, {"base_url": "https://api.anthropic.com/v1/"}):
        client = caller.client(server, **settings)
        with pytest.raises(ValueError, match="there is no API key: pass api_key or auth_token"):
            client.messages.stream(**ASK, extra_query={"a": "b"})
    assert server.requests == []


@pytest.mark.usefixtures("asks_for_keys")
@pytest.mark.parametrize(
    ("settings", "call"),
    [
        ({"api_key": "k"}, {}),
        ({"auth_token": "t"}, {}),
        ({"default_headers": {"Authorization": "Basic x"}}, {}),
        ({}, {"extra_headers": {"X-Api-Key": "k"}}),
        ({"default_headers": {"X-API-Key": None}}, {}),
        ({}, {"extra_headers": {"authorization": None}}),
        ({"base_url": "https://gateway.example"}, {}),
    ],
)
def test_a_call_with_a_key_or_a_decision_about_it_is_sent(
    caller: Caller, settings: dict[str, Any], call: dict[str, Any]
) -> None:
    server = FakeServer(GOOD)
    caller.read(caller.client(server, **settings).messages.stream(**ASK, **call))
    assert len(server.requests) == 1


@pytest.mark.usefixtures("asks_for_keys")
def test_a_key_of_the_environment_is_used(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_AUTH_TOKEN", "t")
    caller.ask(GOOD)


@pytest.mark.parametrize("module", ["httpx", "aiohttp"])
def test_a_given_http_client_may_add_the_key(module: str) -> None:
    pytest.importorskip(module)
    adapter = importlib.import_module(f"sansio_stream_adapters.{module}")
    theirs = SimpleNamespace(timeout=None)
    client = adapter.AsyncClient(http_client=theirs)
    assert client.messages.stream(**ASK) is not None
    with pytest.raises(ValueError, match="there is no API key"):
        adapter.AsyncClient().messages.stream(**ASK)


# Misspelt options, and policies.


@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("record_too", "record_to"),
        ("stric", "strict"),
        ("strictt", "strict"),
        ("limit", "limits"),
        ("beta", "betas"),
        ("timeouts", "timeout"),
        ("max_retires", "max_retries"),
        ("extra_header", "extra_headers"),
        ("partial_string", "partial_strings"),
        ("surrogate", "surrogates"),
    ],
)
def test_a_misspelt_option_raises_with_a_suggestion(caller: Caller, name: str, option: str) -> None:
    client = caller.client(FakeServer(GOOD))
    with pytest.raises(TypeError, match=rf"argument '{name}': did you mean '{option}'\?"):
        client.messages.stream(**ASK, **{name: 1})
    server, _ = caller.ask(GOOD, extra_body={name: 1})
    assert json.loads(server.requests[0].body)[name] == 1


@pytest.mark.parametrize("name", ["title", "strict_tools", "extra", "temperature", "xtrict", "t"])
def test_a_name_that_resembles_no_option_is_sent(caller: Caller, name: str) -> None:
    server, _ = caller.ask(GOOD, **{name: 1})
    assert json.loads(server.requests[0].body)[name] == 1


def test_options_of_a_call_are_not_sent(caller: Caller) -> None:
    options = {
        "partial_strings": False,
        "broken_input": "wrap",
        "duplicate_ids": "keep",
        "surrogates": "replace",
    }
    server, stream = caller.ask(GOOD, **options)
    assert json.loads(server.requests[0].body) == {**ASK, "stream": True}
    assert stream.verdict is Verdict.COMPLETE


def test_partial_strings_is_passed_to_the_machine(caller: Caller) -> None:
    cut = (200, SSE, body(*HELLO[:1], tool_start(0), json_piece(0, '{"a":"b')))
    for partial_strings, value in ((True, {"a": "b"}), (False, {})):
        manager = caller.client(FakeServer(cut)).messages.stream(
            **ASK, partial_strings=partial_strings
        )
        with pytest.raises(APIConnectionError) as caught:
            caller.read(manager)
        message = caught.value.partial_message
        assert message is not None
        assert message.content[0].partial_input == value  # type: ignore[union-attr]


def test_a_call_accepts_the_policies_of_to_param(caller: Caller) -> None:
    client = caller.client(FakeServer(GOOD))
    call = {"type": "tool_use", "id": "t", "name": "n", "input": 5}
    cut = message_from_dict({"content": [call, {"type": "text", "text": "\ud800"}]})
    with pytest.raises(ValueError, match=r"^messages\.0\.content\.0: .*its input is invalid"):
        client.messages.stream(**{**ASK, "messages": [cut]})
    with pytest.raises(ValueError, match=r"^messages\.0\.content\.0\.text: the lone surrogate"):
        client.messages.stream(**{**ASK, "messages": [cut]}, broken_input="drop")
    server = FakeServer(GOOD)
    asked = {**ASK, "messages": [cut]}
    policies = {"broken_input": "drop", "surrogates": "replace"}
    caller.read(caller.client(server).messages.stream(**asked, **policies))
    (turn,) = json.loads(server.requests[0].body)["messages"]
    assert turn["content"] == [{"type": "text", "text": "\ufffd"}]


def test_betas_add_no_query(caller: Caller) -> None:
    server = FakeServer(GOOD)
    caller.read(caller.client(server).beta.messages.stream(**ASK, betas=["a"]))
    assert server.requests[0].target == "/v1/messages"


# Retries.


@pytest.mark.parametrize("status", [408, 409, 429, 500, 503, 529])
def test_a_temporary_failure_is_retried(caller: Caller, status: int, delays: list[float]) -> None:
    server, stream = caller.ask(error_answer(status), LibraryError(), GOOD)
    assert stream.verdict is Verdict.COMPLETE
    assert len(server.requests) == 3
    assert server.requests[0] == server.requests[2]
    assert delays == [0.5, 1.0]
    assert server.closed == [status, 200]


def test_the_server_can_set_the_delay(caller: Caller, delays: list[float]) -> None:
    caller.ask(error_answer(429, retry_after="7"), error_answer(529, retry_after_ms="250"), GOOD)
    assert delays == [7.0, 0.25]


def test_after_the_last_attempt_its_failure_is_raised(caller: Caller, delays: list[float]) -> None:
    server = FakeServer(error_answer(529))
    with pytest.raises(OverloadedError, match="No: 529") as caught:
        caller.read(caller.client(server).messages.stream(**ASK))
    assert len(server.requests) == 3
    assert caught.value.status_code == 529
    server = FakeServer(error_answer(429))
    with pytest.raises(RateLimitError):
        caller.read(caller.client(server, max_retries=0).messages.stream(**ASK))
    with pytest.raises(RateLimitError):
        caller.read(caller.client(server).messages.stream(**ASK, max_retries=1))
    assert len(server.requests) == 1 + 2
    error = LibraryError()
    with pytest.raises(APIConnectionError, match="theirs") as connection_error:
        caller.ask(error, max_retries=0)
    assert connection_error.value.__cause__ is error


def test_a_permanent_failure_is_not_retried(caller: Caller, delays: list[float]) -> None:
    server = FakeServer(error_answer(401), GOOD)
    with pytest.raises(AuthenticationError):
        caller.read(caller.client(server).messages.stream(**ASK))
    assert len(server.requests) == 1
    assert delays == []


def test_a_request_is_not_retried_after_its_stream_is_open(
    caller: Caller, delays: list[float]
) -> None:
    for data in (body(PING, OVERLOADED), body(*HELLO[:3]), b""):
        server = FakeServer((200, SSE, data), GOOD)
        with pytest.raises(APIError):
            caller.read(caller.client(server).messages.stream(**ASK))
        assert len(server.requests) == 1
    assert delays == []


def test_an_unknown_exception_is_mapped_and_not_retried(caller: Caller) -> None:
    unknown = KeyError("a bug")
    server = FakeServer(unknown, GOOD)
    with pytest.raises(APIConnectionError, match="KeyError: 'a bug'") as caught:
        caller.read(caller.client(server).messages.stream(**ASK))
    assert caught.value.__cause__ is unknown
    assert len(server.requests) == 1


# Timeouts.


def test_a_timeout_of_the_call_replaces_that_of_the_client(caller: Caller) -> None:
    server = FakeServer(GOOD)
    client = caller.client(server, timeout=7)
    caller.read(client.messages.stream(**ASK))
    caller.read(client.messages.stream(**ASK, timeout=Timeout(connect=1, idle=3)))
    caller.read(caller.client(server).messages.stream(**ASK, timeout=None))
    assert server.timeouts == [
        Timeout(7, 7, 7, 7),
        Timeout(connect=1, read=3, idle=3),
        Timeout(None, None, None, None),
    ]
    server = FakeServer(GOOD)
    client = caller.client(server, timeout=Timeout(idle=90))
    caller.read(client.messages.stream(**ASK, timeout=30))
    caller.read(client.messages.stream(**ASK, timeout=Timeout(read=30)))
    assert [timeouts.idle for timeouts in server.timeouts] == [90, None]
    assert caller.client(server).timeout == Timeout(5, 600, 600, 600)


def test_a_timeout_can_be_made_from_a_similar_object() -> None:
    theirs = SimpleNamespace(connect=1.0, read=2.0, write=None, pool=4.0)
    assert Timeout.of(theirs) == Timeout(1.0, 2.0, None, 4.0)
    mine = Timeout(idle=9)
    assert Timeout.of(mine) is mine
    with pytest.raises(TypeError, match="not str"):
        Timeout.of("5")
    for wrong in (0, -1, True, "5", float("nan"), float("inf"), 1e10):
        with pytest.raises(ValueError, match="read must be None, or seconds above 0"):
            Timeout(read=wrong)  # type: ignore[arg-type]  # a wrong type on purpose


def test_idle_also_limits_the_read_timeout() -> None:
    assert Timeout(read=5, idle=9).tightened == Timeout(read=5, idle=9)
    assert Timeout(read=600, idle=9).tightened == Timeout(read=9, idle=9)
    assert Timeout(read=None, idle=9).tightened == Timeout(read=9, idle=9)
    assert Timeout(read=None).tightened == Timeout(read=None)


def test_the_idle_timeout_is_passed_to_the_stream(
    caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = iter(range(0, 1_000_000, 50))
    replace_time(monkeypatch, _bridge, monotonic=lambda: float(next(now)))
    ping = (200, SSE, body(PING))
    with pytest.raises(APITimeoutError, match="no content"):
        caller.ask(ping, timeout=Timeout(idle=20))


# Recording.


def test_a_recording_has_the_request_and_the_accepted_answer(
    caller: Caller, tmp_path: Path
) -> None:
    path = tmp_path / "answer.capture.jsonl"
    servers = [{"type": "url", "url": "https://a.example", "authorization_token": "secret"}]
    server, _ = caller.ask(error_answer(529), GOOD, record_to=path, mcp_servers=servers)
    assert b"secret" in server.requests[0].body
    assert b"secret" not in path.read_bytes()
    capture = parse_capture(path.read_bytes())
    assert capture.header.request is not None
    assert capture.header.request["messages"] == ASK["messages"]
    assert capture.header.headers == SSE
    assert capture.body == HELLO_BODY
    assert capture.end is not None


def test_an_unwritable_recording_is_refused_before_the_request_is_sent(
    caller: Caller, tmp_path: Path
) -> None:
    server = FakeServer(GOOD)
    with pytest.raises(OSError, match="missing"):
        caller.client(server).messages.stream(**ASK, record_to=tmp_path / "missing" / "x")
    assert server.requests == []


def test_an_empty_path_of_a_recording_is_an_error(caller: Caller) -> None:
    with pytest.raises(OSError, match="directory"):
        caller.client(FakeServer(GOOD)).messages.stream(**ASK, record_to="")


# Managers and clients.


def test_a_manager_can_be_entered_once(caller: Caller) -> None:
    manager = caller.client(FakeServer(GOOD)).messages.stream(**ASK)
    caller.read(manager)
    with pytest.raises(RuntimeError, match="again for another request"):
        caller.read(manager)


def test_a_manager_can_be_entered_and_left_without_a_with_block() -> None:
    server = FakeServer(GOOD)
    manager = SyncClient(server).messages.stream(**ASK)
    manager.__exit__(None, None, None)  # leaving it before entering it does nothing
    stream = manager.__enter__()
    assert isinstance(stream, MessageStream)
    next(stream)
    manager.__exit__(None, None, None)
    assert server.closed == [200]

    async def main() -> None:
        manager = AsyncClient(server).messages.stream(**ASK)
        await manager.__aexit__(None, None, None)
        stream = await manager.__aenter__()
        await anext(stream)
        await manager.__aexit__(None, None, None)

    asyncio.run(main())
    assert server.closed == [200, 200]


def test_a_manager_can_return_the_final_message_directly() -> None:
    server = FakeServer(GOOD)
    message = SyncClient(server).messages.stream(**ASK).get_final_message()
    assert message.stop_reason == "end_turn"
    assert asyncio.run(AsyncClient(server).messages.stream(**ASK).get_final_message()) == message
    assert server.closed == [200, 200]


@pytest.mark.parametrize("wrong", [-1, None, "2", 1.5, True])
def test_an_invalid_max_retries_is_refused_at_once(caller: Caller, wrong: Any) -> None:
    with pytest.raises(ValueError, match="max_retries must be an integer"):
        caller.client(FakeServer(GOOD), max_retries=wrong)
    with pytest.raises(ValueError, match="max_retries must be an integer"):
        caller.client(FakeServer(GOOD)).messages.stream(**ASK, max_retries=wrong)


def test_leaving_the_block_of_a_client_closes_it() -> None:
    server = FakeServer(GOOD)
    with SyncClient(server) as client:
        stream = client.messages.create(stream=True, **ASK)
        assert isinstance(stream, Stream)
        assert server.closed == []
    assert server.closed == [0]
    stream.close()
    assert server.closed == [0, 200]

    async def main() -> None:
        async with AsyncClient(server):
            pass
        await AsyncClient(server).aclose()

    asyncio.run(main())
    assert server.closed == [0, 200, 0, 0]


def test_both_kinds_of_client_take_the_same_parameters() -> None:
    for name in ("stream", "create"):
        one, other = (
            inspect.signature(getattr(kind, name))
            for kind in (_client.Messages, _client.AsyncMessages)
        )
        assert one.parameters.keys() == other.parameters.keys()


def test_a_client_reads_the_environment_when_it_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {})
    assert SyncClient(FakeServer(GOOD)).base_url == "https://api.anthropic.com"


def test_importing_the_adapters_imports_no_http_library_and_no_event_loop() -> None:
    code = "import sys, sansio_stream_adapters; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert not loaded & {"aiohttp", "anyio", "asyncio", "h11", "httpx", "httpx2", "trio"}
    assert not loaded & {"http", "socket", "ssl", "click", "rich", "hypothesis"}
