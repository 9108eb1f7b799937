"""What all clients share: what is sent, what is sent again, what is raised. No network."""

import asyncio
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


def failed(status: int, **headers: str) -> Answer:
    """An answer that is an error of the API."""
    payload = {"type": "error", "error": {"type": "some_error", "message": f"No: {status}"}}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return status, {"content-type": "application/json", **named}, json.dumps(payload).encode()


class TheirError(Exception):
    """What an HTTP library raises."""


def map_their_error(exc: Exception) -> APIError | None:
    return APIConnectionError("theirs") if isinstance(exc, TheirError) else None


class Desk:
    """Hands out the answers of a script, and keeps what was asked."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.requests: list[Request] = []
        self.timeouts: list[Timeout] = []
        self.closed: list[int] = []
        self.slept: list[float] = []

    def answer(self, request: Request, timeouts: Timeout) -> tuple[int, Any, bytes]:
        self.requests.append(request)
        self.timeouts.append(timeouts)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


class SyncClient(BaseClient):
    """A synchronous client without a network."""

    has_http_client = True  # so that nobody asks for a key

    def __init__(self, desk: Desk, **settings: Any) -> None:
        super().__init__(**settings)
        self.desk = desk

    def send(self, request: Request, timeouts: Timeout) -> Reply:
        status, headers, data = self.desk.answer(request, timeouts)
        return {
            "chunks": iter([data]),
            "status": status,
            "headers": headers,
            "response": None,
            "close": lambda: self.desk.closed.append(status),
            "abort": None,
            "map_error": map_their_error,
        }

    def close(self) -> None:
        self.desk.closed.append(0)

    map_error = staticmethod(map_their_error)


class AsyncClient(AsyncBaseClient):
    """An asynchronous client without a network."""

    has_http_client = True

    def __init__(self, desk: Desk, **settings: Any) -> None:
        super().__init__(**settings)
        self.desk = desk

    async def send(self, request: Request, timeouts: Timeout) -> AsyncReply:
        status, headers, data = self.desk.answer(request, timeouts)

        async def chunks() -> AsyncIterator[bytes]:
            yield data

        async def close() -> None:
            self.desk.closed.append(status)

        return {
            "chunks": chunks(),
            "status": status,
            "headers": headers,
            "response": None,
            "close": close,
            "map_error": map_their_error,
        }

    async def close(self) -> None:
        self.desk.closed.append(0)

    map_error = staticmethod(map_their_error)


class Caller:
    """A client of either kind, called and read in the same words."""

    def __init__(self, kind: type[SyncClient] | type[AsyncClient]) -> None:
        self._kind = kind

    def client(self, desk: Desk, **settings: Any) -> Any:
        return self._kind(desk, **settings)

    def read(self, manager: Any) -> Any:
        """Enter a manager, read to the end, leave it; return the stream."""
        if self._kind is SyncClient:
            with manager as stream:
                stream.until_done()
            return stream

        async def main() -> Any:
            async with manager as stream:
                await stream.until_done()
            return stream

        return asyncio.run(main())

    def ask(self, *answers: Answer, **call: Any) -> tuple[Desk, Any]:
        """Ask once, and return the desk and the stream."""
        desk = Desk(*answers)
        return desk, self.read(self.client(desk).messages.stream(**ASK, **call))

    def events(self, client: Any, **params: Any) -> list[str]:
        """The types of the events of `create`."""
        if self._kind is SyncClient:
            return [event.type for event in client.messages.create(**params)]

        async def main() -> list[str]:
            return [event.type async for event in await client.messages.create(**params)]

        return asyncio.run(main())


@pytest.fixture(params=[SyncClient, AsyncClient], ids=["sync", "async"])
def caller(request: pytest.FixtureRequest) -> Caller:
    return Caller(request.param)


@pytest.fixture(autouse=True)
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that were waited between attempts; nobody really waits."""
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr(Opening, "wait", lambda _, seconds: waits.append(seconds))
    monkeypatch.setattr(_client, "sleep", sleep)
    monkeypatch.setattr(random, "random", lambda: 0.0)
    for name in ("API_KEY", "AUTH_TOKEN", "BASE_URL"):
        monkeypatch.delenv(f"ANTHROPIC_{name}", raising=False)
    return waits


# What is sent.


def test_the_stream_has_the_message_and_the_request_all_that_was_asked(caller: Caller) -> None:
    desk, stream = caller.ask(
        GOOD, system="Be brief.", temperature=0.8, top_p=None, tools=NOT_GIVEN, new_parameter=[1]
    )
    assert stream.snapshot.complete
    (request,) = desk.requests
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
    assert desk.closed == [200]


def test_settings_and_what_a_call_adds_reach_the_request(caller: Caller) -> None:
    desk = Desk(GOOD)
    client = caller.client(
        desk,
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
    (request,) = desk.requests
    assert request.url == "http://localhost:1/prefix/v1/messages?beta=true"
    headers = request.headers
    assert headers["x-api-key"] == "key"
    assert headers["anthropic-version"] == "2026-10-21"
    assert headers["anthropic-beta"] == "a-1,b-2"
    assert (headers["x-one"], headers["x-two"], headers["x-three"]) == ("1", "two", "3")
    assert json.loads(request.body)["max_tokens"] == 1
    assert json.loads(request.body)["speed"] == "fast"


def test_options_may_be_none_or_not_given(caller: Caller) -> None:
    nothing = dict.fromkeys(("extra_headers", "extra_query", "extra_body", "betas", "record_to"))
    desk, _ = caller.ask(GOOD, **nothing)
    assert json.loads(desk.requests[0].body) == {**ASK, "stream": True}
    not_given = dict.fromkeys(("betas", "record_to", "timeout", "max_retries"), NOT_GIVEN)
    desk, _ = caller.ask(GOOD, **not_given)
    assert json.loads(desk.requests[0].body) == {**ASK, "stream": True}


def test_credentials_come_from_the_environment_unless_one_is_given(
    caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "key of the environment")
    monkeypatch.setenv("ANTHROPIC_AUTH_TOKEN", "token")
    monkeypatch.setenv("ANTHROPIC_BASE_URL", "http://localhost:2")
    desk = Desk(GOOD)
    caller.read(caller.client(desk).messages.stream(**ASK))
    settings = {"auth_token": "mine"}
    caller.read(caller.client(desk, **settings).messages.stream(**ASK))
    theirs, mine = desk.requests
    assert theirs.url == "http://localhost:2/v1/messages"
    assert theirs.headers["x-api-key"] == "key of the environment"
    assert theirs.headers["authorization"] == "Bearer token"
    assert mine.headers["authorization"] == "Bearer mine"
    assert "x-api-key" not in mine.headers


def test_a_message_goes_back_as_it_came(caller: Caller) -> None:
    _, stream = caller.ask(GOOD)
    said = {"role": "assistant", "content": stream.snapshot.content}
    desk = Desk(GOOD)
    caller.read(
        caller.client(desk).messages.stream(**{**ASK, "messages": [*ASK["messages"], said]})
    )
    sent = json.loads(desk.requests[0].body)["messages"]
    assert sent[1] == {
        "role": "assistant",
        "content": [{"type": "text", "text": "Hello, wörld 🎉"}],
    }


def test_what_cannot_be_sent_is_said_at_the_call(caller: Caller) -> None:
    cut = message_from_dict({"content": [{"type": "tool_use", "id": "t", "name": "n", "input": 5}]})
    client = caller.client(Desk(GOOD))
    with pytest.raises(ValueError, match="input"):
        client.messages.stream(**{**ASK, "messages": [cut]})
    with pytest.raises(ValueError, match="seconds"):
        client.messages.stream(**ASK, timeout=-1)


def test_create_gives_the_events_alone_and_wants_stream(caller: Caller) -> None:
    desk = Desk(GOOD)
    client = caller.client(desk)
    assert caller.events(client, stream=True, **ASK)[-1] == "message_stop"
    assert desk.closed == [200]
    with pytest.raises(TypeError, match=r"messages\.stream\(\.\.\.\)\.get_final_message\(\)"):
        caller.events(client, **ASK)
    assert len(desk.requests) == 1


def test_what_a_call_says_of_the_stream_reaches_it(caller: Caller) -> None:
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
def test_a_missing_key_is_said_at_the_call(caller: Caller) -> None:
    desk = Desk(GOOD)
    for settings in ({}, {"api_key": ""}, {"base_url": "https://api.anthropic.com/v1/"}):
        client = caller.client(desk, **settings)
        with pytest.raises(ValueError, match="there is no API key: pass api_key or auth_token"):
            client.messages.stream(**ASK, extra_query={"a": "b"})
    assert desk.requests == []


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
def test_no_key_is_missing_where_one_is_given_or_not_needed(
    caller: Caller, settings: dict[str, Any], call: dict[str, Any]
) -> None:
    desk = Desk(GOOD)
    caller.read(caller.client(desk, **settings).messages.stream(**ASK, **call))
    assert len(desk.requests) == 1


@pytest.mark.usefixtures("asks_for_keys")
def test_a_key_of_the_environment_is_a_key(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_AUTH_TOKEN", "t")
    caller.ask(GOOD)


@pytest.mark.parametrize("module", ["httpx", "aiohttp"])
def test_a_client_of_the_callers_may_add_the_key(module: str) -> None:
    adapter = pytest.importorskip(f"sansio_stream_adapters.{module}")
    theirs = SimpleNamespace(timeout=None)
    client = adapter.AsyncClient(http_client=theirs)
    assert client.messages.stream(**ASK) is not None
    with pytest.raises(ValueError, match="there is no API key"):
        adapter.AsyncClient().messages.stream(**ASK)


# Names that are misspelt.


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
def test_a_misspelt_option_is_not_sent(caller: Caller, name: str, option: str) -> None:
    client = caller.client(Desk(GOOD))
    with pytest.raises(TypeError, match=rf"argument '{name}': did you mean '{option}'\?"):
        client.messages.stream(**ASK, **{name: 1})
    desk, _ = caller.ask(GOOD, extra_body={name: 1})
    assert json.loads(desk.requests[0].body)[name] == 1


@pytest.mark.parametrize("name", ["title", "strict_tools", "extra", "temperature", "xtrict", "t"])
def test_a_name_that_is_not_like_an_option_is_sent(caller: Caller, name: str) -> None:
    desk, _ = caller.ask(GOOD, **{name: 1})
    assert json.loads(desk.requests[0].body)[name] == 1


def test_the_options_of_a_call_are_no_members_of_the_body(caller: Caller) -> None:
    options = {
        "partial_strings": False,
        "broken_input": "wrap",
        "duplicate_ids": "keep",
        "surrogates": "replace",
    }
    desk, stream = caller.ask(GOOD, **options)
    assert json.loads(desk.requests[0].body) == {**ASK, "stream": True}
    assert stream.verdict is Verdict.COMPLETE


def test_partial_strings_reach_the_machine(caller: Caller) -> None:
    cut = (200, SSE, body(*HELLO[:1], tool_start(0), json_piece(0, '{"a":"b')))
    for partial_strings, value in ((True, {"a": "b"}), (False, {})):
        manager = caller.client(Desk(cut)).messages.stream(**ASK, partial_strings=partial_strings)
        with pytest.raises(APIConnectionError) as caught:
            caller.read(manager)
        message = caught.value.partial_message
        assert message is not None
        assert message.content[0].partial_input == value  # type: ignore[union-attr]


def test_the_policies_stand_on_a_call(caller: Caller) -> None:
    client = caller.client(Desk(GOOD))
    call = {"type": "tool_use", "id": "t", "name": "n", "input": 5}
    cut = message_from_dict({"content": [call, {"type": "text", "text": "\ud800"}]})
    with pytest.raises(ValueError, match=r"^messages\.0\.content\.0: .*its input is invalid"):
        client.messages.stream(**{**ASK, "messages": [cut]})
    with pytest.raises(ValueError, match=r"^messages\.0\.content\.0\.text: the lone surrogate"):
        client.messages.stream(**{**ASK, "messages": [cut]}, broken_input="drop")
    desk = Desk(GOOD)
    asked = {**ASK, "messages": [cut]}
    policies = {"broken_input": "drop", "surrogates": "replace"}
    caller.read(caller.client(desk).messages.stream(**asked, **policies))
    (turn,) = json.loads(desk.requests[0].body)["messages"]
    assert turn["content"] == [{"type": "text", "text": "\ufffd"}]


def test_no_query_of_ours_is_added_for_betas(caller: Caller) -> None:
    desk = Desk(GOOD)
    caller.read(caller.client(desk).beta.messages.stream(**ASK, betas=["a"]))
    assert desk.requests[0].target == "/v1/messages"


# What is sent again.


@pytest.mark.parametrize("status", [408, 409, 429, 500, 503, 529])
def test_a_failure_that_may_pass_is_tried_again(
    caller: Caller, status: int, slept: list[float]
) -> None:
    desk, stream = caller.ask(failed(status), TheirError(), GOOD)
    assert stream.verdict is Verdict.COMPLETE
    assert len(desk.requests) == 3
    assert desk.requests[0] == desk.requests[2]
    assert slept == [0.5, 1.0]
    assert desk.closed == [status, 200]


def test_the_server_says_how_long_to_wait(caller: Caller, slept: list[float]) -> None:
    caller.ask(failed(429, retry_after="7"), failed(529, retry_after_ms="250"), GOOD)
    assert slept == [7.0, 0.25]


def test_attempts_end_and_the_last_failure_is_raised(caller: Caller, slept: list[float]) -> None:
    desk = Desk(failed(529))
    with pytest.raises(OverloadedError, match="No: 529") as caught:
        caller.read(caller.client(desk).messages.stream(**ASK))
    assert len(desk.requests) == 3
    assert caught.value.status_code == 529
    desk = Desk(failed(429))
    with pytest.raises(RateLimitError):
        caller.read(caller.client(desk, max_retries=0).messages.stream(**ASK))
    with pytest.raises(RateLimitError):
        caller.read(caller.client(desk).messages.stream(**ASK, max_retries=1))
    assert len(desk.requests) == 1 + 2
    error = TheirError()
    with pytest.raises(APIConnectionError, match="theirs") as lost:
        caller.ask(error, max_retries=0)
    assert lost.value.__cause__ is error


def test_what_will_not_pass_is_not_tried_again(caller: Caller, slept: list[float]) -> None:
    desk = Desk(failed(401), GOOD)
    with pytest.raises(AuthenticationError):
        caller.read(caller.client(desk).messages.stream(**ASK))
    assert len(desk.requests) == 1
    assert slept == []


def test_a_stream_that_has_opened_is_never_sent_again(caller: Caller, slept: list[float]) -> None:
    for data in (body(PING, OVERLOADED), body(*HELLO[:3]), b""):
        desk = Desk((200, SSE, data), GOOD)
        with pytest.raises(APIError):
            caller.read(caller.client(desk).messages.stream(**ASK))
        assert len(desk.requests) == 1
    assert slept == []


def test_what_no_adapter_knows_is_one_of_ours_too_and_not_tried_again(caller: Caller) -> None:
    unknown = KeyError("a bug")
    desk = Desk(unknown, GOOD)
    with pytest.raises(APIConnectionError, match="KeyError: 'a bug'") as caught:
        caller.read(caller.client(desk).messages.stream(**ASK))
    assert caught.value.__cause__ is unknown
    assert len(desk.requests) == 1


# Timeouts.


def test_a_timeout_is_the_calls_or_else_the_clients(caller: Caller) -> None:
    desk = Desk(GOOD)
    client = caller.client(desk, timeout=7)
    caller.read(client.messages.stream(**ASK))
    caller.read(client.messages.stream(**ASK, timeout=Timeout(connect=1, idle=3)))
    caller.read(caller.client(desk).messages.stream(**ASK, timeout=None))
    assert desk.timeouts == [
        Timeout(7, 7, 7, 7),
        Timeout(connect=1, read=3, idle=3),
        Timeout(None, None, None, None),
    ]
    desk = Desk(GOOD)
    client = caller.client(desk, timeout=Timeout(idle=90))
    caller.read(client.messages.stream(**ASK, timeout=30))
    caller.read(client.messages.stream(**ASK, timeout=Timeout(read=30)))
    assert [timeouts.idle for timeouts in desk.timeouts] == [90, None]
    assert caller.client(desk).timeout == Timeout(5, 600, 600, 600)


def test_a_timeout_is_made_of_what_is_like_one() -> None:
    theirs = SimpleNamespace(connect=1.0, read=2.0, write=None, pool=4.0)
    assert Timeout.of(theirs) == Timeout(1.0, 2.0, None, 4.0)
    mine = Timeout(idle=9)
    assert Timeout.of(mine) is mine
    with pytest.raises(TypeError, match="not str"):
        Timeout.of("5")
    for wrong in (0, -1, True, "5", float("nan"), float("inf"), 1e10):
        with pytest.raises(ValueError, match="read must be None, or seconds above 0"):
            Timeout(read=wrong)  # type: ignore[arg-type]  # what is tested


def test_silence_is_no_content_either() -> None:
    assert Timeout(read=5, idle=9).tightened == Timeout(read=5, idle=9)
    assert Timeout(read=600, idle=9).tightened == Timeout(read=9, idle=9)
    assert Timeout(read=None, idle=9).tightened == Timeout(read=9, idle=9)
    assert Timeout(read=None).tightened == Timeout(read=None)


def test_the_idle_timeout_reaches_the_stream(
    caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = iter(range(0, 1_000_000, 50))
    replace_time(monkeypatch, _bridge, monotonic=lambda: float(next(now)))
    ping = (200, SSE, body(PING))
    with pytest.raises(APITimeoutError, match="no content"):
        caller.ask(ping, timeout=Timeout(idle=20))


# Recording.


def test_a_recording_has_what_was_asked_and_the_answer_that_counted(
    caller: Caller, tmp_path: Path
) -> None:
    path = tmp_path / "answer.capture.jsonl"
    servers = [{"type": "url", "url": "https://a.example", "authorization_token": "secret"}]
    desk, _ = caller.ask(failed(529), GOOD, record_to=path, mcp_servers=servers)
    assert b"secret" in desk.requests[0].body
    assert b"secret" not in path.read_bytes()
    capture = parse_capture(path.read_bytes())
    assert capture.header.request is not None
    assert capture.header.request["messages"] == ASK["messages"]
    assert capture.header.headers == SSE
    assert capture.body == HELLO_BODY
    assert capture.end is not None


def test_a_recording_that_cannot_be_written_is_said_before_anything_is_sent(
    caller: Caller, tmp_path: Path
) -> None:
    desk = Desk(GOOD)
    with pytest.raises(OSError, match="missing"):
        caller.client(desk).messages.stream(**ASK, record_to=tmp_path / "missing" / "x")
    assert desk.requests == []


def test_a_path_that_is_empty_is_not_taken_for_none(caller: Caller) -> None:
    with pytest.raises(OSError, match="directory"):
        caller.client(Desk(GOOD)).messages.stream(**ASK, record_to="")


# Managers and clients.


def test_a_manager_works_once(caller: Caller) -> None:
    manager = caller.client(Desk(GOOD)).messages.stream(**ASK)
    caller.read(manager)
    with pytest.raises(RuntimeError, match="again for another request"):
        caller.read(manager)


def test_a_manager_may_be_entered_and_left_by_hand() -> None:
    desk = Desk(GOOD)
    manager = SyncClient(desk).messages.stream(**ASK)
    manager.__exit__(None, None, None)  # it was never entered
    stream = manager.__enter__()
    assert isinstance(stream, MessageStream)
    next(stream)
    manager.__exit__(None, None, None)
    assert desk.closed == [200]

    async def main() -> None:
        manager = AsyncClient(desk).messages.stream(**ASK)
        await manager.__aexit__(None, None, None)
        stream = await manager.__aenter__()
        await anext(stream)
        await manager.__aexit__(None, None, None)

    asyncio.run(main())
    assert desk.closed == [200, 200]


def test_a_manager_gives_the_message_at_once() -> None:
    desk = Desk(GOOD)
    message = SyncClient(desk).messages.stream(**ASK).get_final_message()
    assert message.stop_reason == "end_turn"
    assert asyncio.run(AsyncClient(desk).messages.stream(**ASK).get_final_message()) == message
    assert desk.closed == [200, 200]


@pytest.mark.parametrize("wrong", [-1, None, "2", 1.5, True])
def test_a_number_of_retries_that_is_none_is_said_at_once(caller: Caller, wrong: Any) -> None:
    with pytest.raises(ValueError, match="max_retries must be an integer"):
        caller.client(Desk(GOOD), max_retries=wrong)
    with pytest.raises(ValueError, match="max_retries must be an integer"):
        caller.client(Desk(GOOD)).messages.stream(**ASK, max_retries=wrong)


def test_a_client_is_a_context_manager_that_closes_it() -> None:
    desk = Desk(GOOD)
    with SyncClient(desk) as client:
        stream = client.messages.create(stream=True, **ASK)
        assert isinstance(stream, Stream)
        assert desk.closed == []
    assert desk.closed == [0]
    stream.close()
    assert desk.closed == [0, 200]

    async def main() -> None:
        async with AsyncClient(desk):
            pass
        await AsyncClient(desk).aclose()

    asyncio.run(main())
    assert desk.closed == [0, 200, 0, 0]


def test_both_kinds_of_client_take_the_same_words() -> None:
    for name in ("stream", "create"):
        one, other = (
            inspect.signature(getattr(kind, name))
            for kind in (_client.Messages, _client.AsyncMessages)
        )
        assert one.parameters.keys() == other.parameters.keys()


def test_the_environment_is_read_by_clients_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {})
    assert SyncClient(Desk(GOOD)).base_url == "https://api.anthropic.com"


def test_importing_the_adapters_imports_no_http_library_and_no_event_loop() -> None:
    code = "import sys, sansio_stream_adapters; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert not loaded & {"aiohttp", "anyio", "asyncio", "h11", "httpx", "httpx2", "trio"}
    assert not loaded & {"http", "socket", "ssl", "click", "rich", "hypothesis"}
