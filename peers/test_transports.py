"""The official client over our transports: what it makes of a stream, with them and without."""

import asyncio
import subprocess
import sys
import warnings
import zlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Final

import anthropic
import attrs
import httpx2
import pytest

from documentation import Block, blocks
from matrix import message_of, text_of
from sansio_stream import APIError, Report, Verdict
from sansio_stream_adapters._answers import SERVED
from sansio_stream_adapters.httpx import Client
from sansio_stream_adapters.transports import ReplayTransport, VerifyingTransport, verify
from servers import EXAMPLES
from shared_data import REPOSITORY
from test_transports import model_for

ASKED: Final[Any] = {
    "model": "claude-test-1",
    "max_tokens": 64,
    "messages": [{"role": "user", "content": "Why is the sea salty?"}],
}


@pytest.fixture(autouse=True)
def _unexpected_types_do_not_warn() -> Iterator[None]:
    """The official client's models warn of members that have another type."""
    with warnings.catch_warnings(action="ignore", category=UserWarning):
        yield


@attrs.frozen
class Outcome:
    """What a program with the official client has at the end.

    Attributes:
        text: the text of the answer that it takes for whole; None if it got an exception.
        tools: the names and inputs of the tool calls that it would run.
        error: the exception.
        reports: those of the transport.
        requests: how many were sent.
    """

    text: str | None
    tools: tuple[Any, ...]
    error: Exception | None
    reports: tuple[Report, ...]
    requests: int

    @property
    def cause(self) -> APIError:
        """Our error, behind the library's."""
        assert isinstance(self.error, httpx2.RemoteProtocolError)
        assert isinstance(self.error.__cause__, APIError)
        return self.error.__cause__


@attrs.frozen
class Surface:
    """One of the four ways to stream with the official client."""

    name: str
    is_async: bool
    is_create: bool

    def outcome(
        self,
        replay: ReplayTransport,
        *,
        is_verified: bool,
        is_compressed: bool = False,
        hooks: Any = None,
        **settings: Any,
    ) -> Outcome:
        """Ask once, and take what comes for the answer as programs do: up to its last event."""
        reports: list[Report] = []
        kind: Any = (
            anthropic.DefaultAsyncHttpxClient if self.is_async else anthropic.DefaultHttpxClient
        )
        transport = Compressing(replay) if is_compressed else replay
        http_client = kind(transport=transport, event_hooks=hooks)
        if is_verified:
            http_client = verify(http_client, on_end=reports.append)
        settings = {"api_key": "x", "max_retries": 0, "http_client": http_client, **settings}
        text: str | None = None
        tools: tuple[Any, ...] = ()
        error: Exception | None = None
        try:
            if self.is_async:
                text, tools = asyncio.run(self._ask_async(settings))
            else:
                text, tools = self._ask(settings)
        except Exception as caught:  # noqa: BLE001 - whatever it is, the test looks at it
            error = caught
        return Outcome(text, tools, error, tuple(reports), len(replay.requests))

    def _ask(self, settings: Any) -> tuple[str, tuple[Any, ...]]:
        with anthropic.Anthropic(**settings) as client:
            if self.is_create:
                with client.messages.create(**ASKED, stream=True) as events:
                    return text_in(list(events))
            with client.messages.stream(**ASKED) as stream:
                return content_of(stream.get_final_message())

    async def _ask_async(self, settings: Any) -> tuple[str, tuple[Any, ...]]:
        async with anthropic.AsyncAnthropic(**settings) as client:
            if self.is_create:
                async with await client.messages.create(**ASKED, stream=True) as events:
                    return text_in([event async for event in events])
            async with client.messages.stream(**ASKED) as stream:
                return content_of(await stream.get_final_message())


class Compressing:
    """A transport that compresses the bodies of another one, as a server does."""

    def __init__(self, inner: ReplayTransport) -> None:
        self._inner = inner

    def handle_request(self, request: Any) -> Any:
        """Answer a request of a synchronous client."""
        return self._compressed(self._inner.handle_request(request))

    async def handle_async_request(self, request: Any) -> Any:
        """Answer a request of an asynchronous client."""
        return self._compressed(await self._inner.handle_async_request(request))

    def _compressed(self, response: Any) -> Any:
        if "content-encoding" in response.headers:
            return response
        headers = {**response.headers, "content-encoding": "gzip"}
        body = CompressedBody(response.stream)
        return httpx2.Response(response.status_code, headers=headers, stream=body)

    def close(self) -> None:
        """Do nothing: the inner transport holds no connection."""

    async def aclose(self) -> None:
        """Do nothing: the inner transport holds no connection."""


class CompressedBody(httpx2.SyncByteStream, httpx2.AsyncByteStream):
    """A body whose chunks are compressed one by one, so each can be decoded when it has come."""

    def __init__(self, body: Any) -> None:
        self._body = body
        self._gzip = zlib.compressobj(wbits=31)

    def _compress(self, chunk: bytes) -> bytes:
        return self._gzip.compress(chunk) + self._gzip.flush(zlib.Z_SYNC_FLUSH)

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._body:
            yield self._compress(chunk)
        yield self._gzip.flush()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._body:
            yield self._compress(chunk)
        yield self._gzip.flush()

    def close(self) -> None:
        """Close the other body."""
        self._body.close()

    async def aclose(self) -> None:
        """Close the other body."""
        await self._body.aclose()


def text_in(events: list[Any]) -> tuple[str, tuple[Any, ...]]:
    """The text in the deltas."""
    deltas = [event.delta for event in events if event.type == "content_block_delta"]
    return "".join(str(getattr(delta, "text", "")) for delta in deltas), ()


def content_of(message: Any) -> tuple[str, tuple[Any, ...]]:
    """The text and the tool calls of a final message."""
    text = "".join(block.text for block in message.content if block.type == "text")
    calls = (block for block in message.content if block.type == "tool_use")
    return text, tuple((call.name, call.input) for call in calls)


SURFACES: Final = [
    Surface("stream", is_async=False, is_create=False),
    Surface("create", is_async=False, is_create=True),
    Surface("async stream", is_async=True, is_create=False),
    Surface("async create", is_async=True, is_create=True),
]


@pytest.fixture(params=SURFACES, ids=lambda surface: surface.name)
def surface(request: pytest.FixtureRequest) -> Surface:
    """One after the other."""
    surface: Surface = request.param
    return surface


def replay(model: str = "text", **options: Any) -> ReplayTransport:
    """Answer every request with an example."""
    return ReplayTransport(lambda _: EXAMPLES / f"{model}.capture.jsonl", **options)


@pytest.fixture(params=[False, True], ids=["plain", "gzip"])
def is_compressed(request: pytest.FixtureRequest) -> bool:
    """Whether the server compresses its bodies."""
    is_compressed: bool = request.param
    return is_compressed


def both(
    surface: Surface, model: str = "text", *, is_compressed: bool = False, **options: Any
) -> tuple[Outcome, Outcome]:
    """What comes without the transport, and with it."""
    without, with_it = (
        surface.outcome(
            replay(model, **options), is_verified=is_verified, is_compressed=is_compressed
        )
        for is_verified in (False, True)
    )
    return without, with_it


# Whole streams: the transport changes nothing.


@pytest.mark.parametrize("model", ["text", "thinking-and-tool-use", "parallel-tools"])
@pytest.mark.parametrize("fault", [None, "gzip", "drip"])
def test_a_whole_stream_is_the_same_with_the_transport(
    surface: Surface, is_compressed: bool, model: str, fault: str | None
) -> None:
    without, with_it = both(surface, model, fault=fault, is_compressed=is_compressed)
    assert with_it.error is without.error is None
    assert (with_it.text, with_it.tools) == (without.text, without.tools)
    assert with_it.text == text_of(message_of(model))
    (report,) = with_it.reports
    assert (report.verdict, report.ended) == (Verdict.COMPLETE, "eof")


# Streams with a fault.


def test_an_answer_that_is_cut_without_a_sound_is_an_answer_without_the_transport(
    surface: Surface, is_compressed: bool
) -> None:
    without, with_it = both(surface, fault="missing-last-events", is_compressed=is_compressed)
    assert without.error is None
    assert without.text
    assert with_it.cause.verdict is Verdict.TRUNCATED
    assert with_it.cause.partial_message is not None


def test_without_it_a_tool_call_that_was_cut_would_be_run(
    surface: Surface, is_compressed: bool
) -> None:
    fault = "cut-in-a-tool-input"
    without, with_it = both(surface, "parallel-tools", fault=fault, is_compressed=is_compressed)
    assert without.error is None
    assert without.tools or surface.is_create  # which leaves it to its reader to collect the input
    assert with_it.cause.verdict is Verdict.TRUNCATED
    assert with_it.reports[0].tool_calls_broken == 1


@pytest.mark.parametrize("fault", ["delta-after-its-block", "misspelt-data-field", "untyped-delta"])
def test_without_it_a_message_that_lost_content_is_whole(
    surface: Surface, is_compressed: bool, fault: str
) -> None:
    model = model_for(fault) or ""
    without, with_it = both(surface, model, fault=fault, is_compressed=is_compressed)
    assert without.error is None
    assert with_it.cause.verdict is Verdict.DAMAGED
    assert with_it.reports[0].first_loss_code is not None


@pytest.mark.parametrize("fault", ["html-200", "json-200", "empty-body"])
def test_without_it_what_is_no_stream_is_an_assertion_or_nothing(
    surface: Surface, is_compressed: bool, fault: str
) -> None:
    without, with_it = both(surface, fault=fault, is_compressed=is_compressed)
    if surface.is_create:
        assert (without.text, without.error) == ("", None)
    else:
        assert type(without.error) is AssertionError
    assert with_it.cause.verdict in {Verdict.NOT_AN_EVENT_STREAM, Verdict.EMPTY}


def test_without_it_an_error_without_a_name_is_an_answer(
    surface: Surface, is_compressed: bool
) -> None:
    without, with_it = both(surface, fault="error-of-another-shape", is_compressed=is_compressed)
    assert without.error is None
    assert with_it.cause.verdict is Verdict.ERRORED


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("error-first", anthropic.APIStatusError),
        ("error-in-mid-stream", anthropic.APIStatusError),
        ("401", anthropic.AuthenticationError),
        ("429", anthropic.RateLimitError),
        ("529", anthropic.InternalServerError),
        ("503-html", anthropic.InternalServerError),
    ],
)
def test_errors_of_the_server_are_raised_as_ever(
    surface: Surface, is_compressed: bool, fault: str, kind: type[Exception]
) -> None:
    for outcome in both(surface, fault=fault, is_compressed=is_compressed):
        assert isinstance(outcome.error, kind)
        assert {report.verdict for report in outcome.reports} <= {Verdict.ERRORED}


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("cut", httpx2.RemoteProtocolError),
        ("reset", httpx2.ReadError),
        ("stall", httpx2.ReadTimeout),
        ("no-head", anthropic.APIConnectionError),
    ],
)
def test_so_is_what_the_connection_raises(
    surface: Surface, is_compressed: bool, fault: str, kind: type[Exception]
) -> None:
    for outcome in both(surface, fault=fault, is_compressed=is_compressed):
        assert type(outcome.error) is kind


ENDLESS: Final = {"ping-stall", "stays-open-pings"}
"""Nothing but a deadline of the reader ends these."""


@pytest.mark.parametrize("fault", [name for name in SERVED if name not in ENDLESS])
def test_no_fault_passes_as_an_answer_and_none_is_sent_again(fault: str) -> None:
    model = model_for(fault)
    assert model is not None
    for surface in SURFACES:
        without, with_it = both(surface, model, fault=fault)
        assert with_it.requests == without.requests
        if with_it.error is None:
            assert with_it.reports[-1].verdict in {Verdict.COMPLETE, Verdict.UNTERMINATED}
            assert (with_it.text, with_it.tools) == (without.text, without.tools)
        else:
            # What it raises itself it goes on to raise, or the transport has seen it first.
            assert type(with_it.error) in {type(without.error), httpx2.RemoteProtocolError}


def test_with_its_retries_a_stream_with_a_bad_end_is_sent_once(surface: Surface) -> None:
    for fault in ("missing-last-events", "delta-after-its-block", "html-200", "json-200", "cut"):
        asked = replay(model_for(fault) or "", fault=fault)
        outcome = surface.outcome(asked, is_verified=True, max_retries=2)
        assert isinstance(outcome.error, httpx2.RemoteProtocolError)
        assert outcome.requests == 1
    outcome = surface.outcome(replay(fault="529-once"), is_verified=True, max_retries=2)
    assert (outcome.error, outcome.requests) == (None, 2)
    assert [report.http_status for report in outcome.reports] == [529, 200]


@pytest.mark.parametrize("retries", [0, 2])
def test_if_a_hook_reads_the_body_the_official_client_sends_the_request_again(
    surface: Surface, retries: int
) -> None:
    """The error comes while it sends, and it takes that for a failed connection."""

    def read(response: Any) -> None:
        response.read()

    async def read_async(response: Any) -> None:
        await response.aread()

    asked = replay(fault="missing-last-events")
    hooks = {"response": [read_async if surface.is_async else read]}
    outcome = surface.outcome(asked, is_verified=True, hooks=hooks, max_retries=retries)
    assert isinstance(outcome.error, anthropic.APIConnectionError)
    assert isinstance(outcome.error.__cause__, httpx2.RemoteProtocolError)
    assert outcome.requests == 1 + retries


def test_it_may_raise_our_error_instead() -> None:
    http_client = verify(
        anthropic.DefaultHttpxClient(transport=replay(fault="missing-last-events")), raises="own"
    )
    with (
        anthropic.Anthropic(api_key="x", http_client=http_client) as client,
        pytest.raises(APIError) as caught,
        client.messages.stream(**ASKED) as stream,
    ):
        stream.until_done()
    assert caught.value.verdict is Verdict.TRUNCATED


# What the official client sets is kept.


@pytest.mark.parametrize("kind", [anthropic.DefaultHttpxClient, anthropic.DefaultAsyncHttpxClient])
def test_the_defaults_of_the_official_client_are_kept(
    kind: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "localhost")
    client = kind()
    transport, mounts = client._transport, dict(client._mounts)  # noqa: SLF001
    timeout, follows = client.timeout, client.follow_redirects
    verify(client)
    assert client._transport._inner is transport  # noqa: SLF001
    assert list(client._mounts) == list(mounts)  # noqa: SLF001
    for pattern, mounted in client._mounts.items():  # noqa: SLF001
        before = mounts[pattern]
        assert before is None if mounted is None else mounted._inner is before  # noqa: SLF001
    assert any(mounted is not None for mounted in mounts.values())
    assert (client.timeout, client.follow_redirects) == (timeout, follows)
    assert timeout.read == 600
    assert follows


def test_the_official_client_takes_both_transports_themselves() -> None:
    for transport in (replay(), VerifyingTransport(replay())):
        http_client = anthropic.DefaultHttpxClient(transport=transport)
        with anthropic.Anthropic(api_key="x", http_client=http_client) as client:
            assert client.messages.create(**ASKED, stream=True)


def test_what_is_not_streamed_is_untouched() -> None:
    reports: list[Report] = []
    answer = httpx2.MockTransport(
        lambda _: httpx2.Response(200, json={"type": "message", "content": []})
    )
    http_client = verify(anthropic.DefaultHttpxClient(transport=answer), on_end=reports.append)
    with anthropic.Anthropic(api_key="x", http_client=http_client) as client:
        assert client.messages.create(**ASKED).content == []
    assert reports == []


# Replayed for others, too.


def test_one_transport_serves_the_official_client_ours_and_a_plain_one() -> None:
    said = text_of(message_of("text"))
    assert SURFACES[0].outcome(replay(), is_verified=False).text == said
    with httpx2.Client(transport=replay()) as plain:
        assert (
            Client(http_client=plain, api_key="x")
            .messages.stream(**ASKED)
            .__enter__()
            .get_final_text()
            == said
        )
    with httpx2.Client(transport=replay()) as plain:
        assert b"message_stop" in plain.post("http://api.test", json={}).content


# The pages.


def page_blocks(page: str) -> list[Block]:
    """The blocks of a page that show the official client."""
    return [
        block
        for block in blocks(REPOSITORY / page)
        if block.language == "python" and "import anthropic" in block.code
    ]


PAGES: Final = [
    block for page in ("README.md", "docs/with-the-official-sdk.md") for block in page_blocks(page)
]


@pytest.mark.parametrize("block", PAGES, ids=str)
def test_what_the_pages_show_of_the_official_client_runs(
    block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "examples").symlink_to(EXAMPLES)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ANTHROPIC_API_KEY", "x")
    if "def test_" in block.code:
        tests = tmp_path / "test_page.py"
        tests.write_text(block.code, "utf-8")
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tests)]
        assert subprocess.run(command, check=False).returncode == 0  # noqa: S603 - ourselves
        return
    code = compile("\n" * (block.line - 1) + block.code, block.path, "exec")
    exec(code, {"__name__": "__main__"})  # noqa: S102 - the point of the test
