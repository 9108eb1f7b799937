"""A ReplayTransport answers as the server did, or with a fault, and nothing is sent."""

import asyncio
import inspect
import json
import re
import time
from pathlib import Path
from typing import Any, Final

import pytest

from documentation import Block, blocks
from matrix import ask, message_of, text_of
from sansio_stream import (
    Capture,
    CaptureEnd,
    CaptureHeader,
    Chunk,
    IncompleteMessageError,
    OverloadedError,
    Verdict,
    parse_capture,
)
from sansio_stream_adapters import APIConnectionError, APITimeoutError
from sansio_stream_adapters._answers import SERVED
from sansio_stream_adapters.transports import ReplayTransport, VerifyOptions, verify
from servers import EXAMPLES, SHORT
from shared_data import REPOSITORY
from test_transports import model_for
from ways import ASK, WAYS, Read, Way
from wire import HELLO, body

pytestmark = pytest.mark.usefixtures("nothing_is_left_open")

URL: Final = "http://api.test"
WHOLE: Final = body(*HELLO)
TEXT: Final = EXAMPLES / "text.capture.jsonl"
SALT: Final = parse_capture(TEXT.read_bytes())


@pytest.fixture(params=WAYS, ids=lambda way: f"{way.library}{'-async' if way.is_async else ''}")
def way(request: pytest.FixtureRequest) -> Way:
    """One library and kind of client after the other."""
    way: Way = request.param
    way.require()
    return way


def replayed(way: Way, *captures: Any, how: Any = None, **options: Any) -> Read:
    """Ask a transport once."""
    transport = ReplayTransport(*captures, **options)
    return way.read(way.client(transport=transport), URL, **(how or {}))


# What is answered.


@pytest.mark.parametrize(
    "captured", [TEXT, str(TEXT), TEXT.read_bytes(), SALT], ids=["path", "str", "bytes", "capture"]
)
def test_the_answer_is_the_recorded_one(way: Way, captured: Any) -> None:
    read = replayed(way, captured)
    assert read.status == 200
    assert read.headers["content-type"].startswith("text/event-stream")
    assert read.headers["request-id"] == SALT.header.headers["request-id"]
    assert [each for each in read.chunks if each] == [chunk.data for chunk in SALT.chunks]
    assert read.error is None


def test_the_plain_body_of_a_response_will_do(way: Way) -> None:
    read = replayed(way, WHOLE)
    assert (read.data, read.headers["request-id"]) == (WHOLE, "req_replayed_1")


def test_each_request_gets_the_next_capture_and_is_kept(way: Way) -> None:
    other = body(*HELLO[:3])
    transport = ReplayTransport(WHOLE, other)
    first = way.read(way.client(transport=transport), URL, json={**ASK, "model": "a"})
    second = way.read(way.client(transport=transport), URL, json={**ASK, "model": "b"})
    assert (first.data, second.data) == (WHOLE, other)
    assert [json.loads(each.content)["model"] for each in transport.requests] == ["a", "b"]
    assert [each.url.path for each in transport.requests] == ["/v1/messages"] * 2
    with pytest.raises(RuntimeError, match=r"request 3 came, .* was given 2"):
        way.read(way.client(transport=transport), URL)


def test_a_function_of_the_request_chooses(way: Way) -> None:
    def choose(request: Any) -> Any:
        return WHOLE if json.loads(request.content)["model"] == "hello" else TEXT

    transport = ReplayTransport(choose)
    for model, data in (("hello", WHOLE), ("sea", SALT.body), ("hello", WHOLE)):
        assert way.read(
            way.client(transport=transport), URL, json={**ASK, "model": model}
        ).data == (data)


def test_a_recorded_status_is_answered(way: Way) -> None:
    refused = Capture(
        CaptureHeader(status=529, headers={"content-type": "application/json"}),
        (Chunk(None, b"{}"),),
        CaptureEnd(None, None),
    )
    transport = ReplayTransport(refused, WHOLE)
    assert way.read(way.client(transport=transport), URL).status == 529
    assert way.read(way.client(transport=transport), URL).status == 200


@pytest.mark.parametrize("end", [None, CaptureEnd(None, "ReadError: reset")])
def test_a_capture_that_broke_off_breaks_off(way: Way, end: CaptureEnd | None) -> None:
    read = replayed(way, Capture(SALT.header, SALT.chunks[:3], end))
    assert isinstance(read.error, way.error("RemoteProtocolError"))
    assert read.data == b"".join(chunk.data for chunk in SALT.chunks[:3])


# Arguments.


@pytest.mark.parametrize(
    ("captures", "options", "said"),
    [
        ([], {}, "needs a capture"),
        ([WHOLE], {"speed": 0}, "speed"),
        ([WHOLE], {"speed": -1.0}, "speed"),
        ([WHOLE], {"cut_after": -1}, "cut_after"),
        ([WHOLE], {"cut_into": 0}, "not a number of bytes"),
        ([WHOLE], {"cut_into": "some"}, "not a number of bytes"),
        ([WHOLE], {"fault": "flood"}, "unknown fault 'flood'. The faults are cut, "),
        ([b'{"sansio_stream_capture": 9}\n'], {}, "format version"),
    ],
)
def test_what_cannot_be_meant_is_refused_at_once(
    captures: list[Any], options: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        ReplayTransport(*captures, **options)


def test_so_is_what_is_no_capture() -> None:
    with pytest.raises(TypeError, match="int is not a capture"):
        ReplayTransport(3)  # type: ignore[arg-type]
    with pytest.raises(FileNotFoundError):
        ReplayTransport("no/such.capture.jsonl")


# Cuts and times.


@pytest.mark.parametrize("size", [0, 1, 500])
def test_a_body_is_cut_after_so_many_bytes(way: Way, size: int) -> None:
    read = replayed(way, WHOLE, cut_after=size)
    assert read.data == WHOLE[:size]
    assert isinstance(read.error, way.error("RemoteProtocolError"))


def test_what_is_shorter_is_not_cut(way: Way) -> None:
    assert replayed(way, WHOLE, cut_after=len(WHOLE)).error is None


def test_a_body_is_cut_into_other_chunks(way: Way) -> None:
    assert replayed(way, TEXT, cut_into=7).chunks == [
        SALT.body[at : at + 7] for at in range(0, len(SALT.body), 7)
    ]
    assert {*map(len, replayed(way, WHOLE, cut_into="bytes").chunks)} == {1}
    twice = [replayed(way, TEXT, cut_into="random:4") for _ in range(2)]
    assert twice[0].chunks == twice[1].chunks != [chunk.data for chunk in SALT.chunks]


TIMED: Final = Capture(
    CaptureHeader(),
    (Chunk(0.5, WHOLE[:9]), Chunk(2.0, WHOLE[9:])),
    CaptureEnd(2.5, None),
)


def test_it_waits_only_if_a_speed_is_given(way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    now, waited = [100.0], []

    def sleep(seconds: float) -> None:
        waited.append(round(seconds, 6))
        now[0] += seconds

    async def sleep_async(seconds: float) -> None:
        sleep(seconds)

    replay = "sansio_stream_adapters._replay"
    monkeypatch.setattr(f"{replay}.time", type(time)("time"))
    monkeypatch.setattr(f"{replay}.time.sleep", sleep, raising=False)
    monkeypatch.setattr(f"{replay}.time.monotonic", lambda: now[0], raising=False)
    monkeypatch.setattr(f"{replay}.sleep", sleep_async)
    assert replayed(way, TIMED).data == WHOLE
    assert waited == []
    assert replayed(way, TIMED, speed=2).data == WHOLE
    assert waited == [0.25, 0.75, 0.25]
    waited.clear()
    assert replayed(way, TIMED, speed=1, fault="slow-head").data == WHOLE
    assert waited == [1.0, 0.5, 1.5, 0.5]


# Faults.


def test_a_head_that_comes_later_than_the_reader_waits_is_a_timeout(way: Way) -> None:
    transport = ReplayTransport(WHOLE, fault="slow_head")
    with pytest.raises(way.error("ReadTimeout")):
        way.read(way.client(transport=transport, timeout=0.5), URL)


@pytest.mark.parametrize(
    ("fault", "error"),
    [("cut", "RemoteProtocolError"), ("reset", "ReadError"), ("stall", "ReadTimeout")],
)
def test_the_end_of_a_fault_is_the_exception_of_the_library(
    way: Way, fault: str, error: str
) -> None:
    read = replayed(way, TEXT, fault=fault)
    assert type(read.error) is way.error(error)
    assert SALT.body.startswith(read.data)
    assert 0 < len(read.data) < len(SALT.body)


def test_without_a_head_sending_raises(way: Way) -> None:
    with pytest.raises(way.error("RemoteProtocolError"), match="disconnected without"):
        replayed(way, TEXT, fault="no_head")


def test_pings_without_end_come_in_their_time(way: Way) -> None:
    read = replayed(way, TEXT, fault="ping_stall", how={"enough": lambda d: d.count(b"ping") > 3})
    assert read.error is None


def test_a_body_is_compressed_for_who_accepts_it(way: Way) -> None:
    gzip = {"headers": {"accept-encoding": "gzip"}, "is_raw": False}
    assert replayed(way, TEXT, fault="gzip", how=gzip).headers["content-encoding"] == "gzip"
    assert replayed(way, TEXT, fault="gzip", how=gzip).data == SALT.body
    plain = {"headers": {"accept-encoding": "identity"}}
    assert "content-encoding" not in replayed(way, TEXT, fault="gzip", how=plain).headers


@pytest.mark.parametrize(("fault", "status"), [("429_once", 429), ("redirect", 307)])
def test_what_a_fault_answers_instead_uses_up_no_capture(way: Way, fault: str, status: int) -> None:
    transport = ReplayTransport(TEXT, fault=fault)
    statuses = [
        way.read(way.client(transport=transport), URL, path=path).status
        for path in ("/v1/messages", "/elsewhere/v1/messages")
    ]
    assert statuses == [status, 200]


def test_a_fault_that_needs_another_stream_says_so(way: Way) -> None:
    with pytest.raises(ValueError, match="broken_tool_input needs a stream with tool_use"):
        replayed(way, TEXT, fault="broken_tool_input")


@pytest.mark.parametrize("fault", SERVED)
def test_every_fault_of_the_catalogue_is_answered(fault: str) -> None:
    model = model_for(fault)
    capture = SHORT.capture if model == SHORT.stem else EXAMPLES / f"{model}.capture.jsonl"
    for way in WAYS:
        way.require()
        how: dict[str, Any] = {"headers": {"accept-encoding": "gzip"}}
        if "ping" in fault:  # the pings never end
            how["enough"] = lambda data: data.count(b"ping") > 2
        try:
            read = replayed(way, capture, fault=fault, how=how)
        except way.error("TransportError"):
            assert fault == "no-head"
        else:
            assert read.status >= 200


def test_concurrent_requests_get_each_its_own(way: Way) -> None:
    if not way.is_async:
        pytest.skip("tasks show it as well as threads")

    async def main() -> list[bytes]:
        transport = ReplayTransport(*(body(*HELLO[:n]) for n in range(1, 8)))
        async with way.client(transport=transport) as client:
            responses = [client.post(URL, json=ASK) for _ in range(7)]
            return [response.content for response in await asyncio.gather(*responses)]

    answers = asyncio.run(main())
    assert sorted(answers, key=len) == [body(*HELLO[:n]) for n in range(1, 8)]


# Under our client.


def client_of(way: Way, http_client: Any, **settings: Any) -> Any:
    from sansio_stream_adapters.httpx import AsyncClient, Client

    kind = AsyncClient if way.is_async else Client
    return kind(http_client=http_client, api_key="k", base_url=URL, **settings)


def message_from(client: Any) -> Any:
    """The final message of one call, by either kind of client."""
    manager = client.messages.stream(**ask())
    if hasattr(manager, "__enter__"):
        with manager as stream:
            return stream.get_final_message()

    async def main() -> Any:
        async with manager as stream:
            return await stream.get_final_message()

    return asyncio.run(main())


def test_our_client_reads_it(way: Way, delays: list[float]) -> None:
    transport = ReplayTransport(TEXT, fault="529-once")
    client = client_of(way, way.client(transport=transport))
    assert text_of(message_from(client)) == text_of(message_of("text"))
    assert len(transport.requests) == 2
    assert len(delays) == 1


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("cut", APIConnectionError),
        ("stall", APITimeoutError),
        ("529", OverloadedError),
        ("missing-last-events", IncompleteMessageError),
    ],
)
@pytest.mark.parametrize("is_verified", [False, True])
def test_our_client_raises_the_same_with_and_without_verifying(
    way: Way, fault: str, kind: type[Exception], is_verified: bool, delays: list[float]
) -> None:
    transport = ReplayTransport(lambda _: TEXT, fault=fault)
    http_client = way.client(transport=transport)
    if is_verified:
        http_client = verify(http_client, raises="own")
    with pytest.raises(APIConnectionError if is_verified and fault != "529" else kind) as caught:
        message_from(client_of(way, http_client))
    if isinstance(caught.value, APIConnectionError):
        assert caught.value.verdict is Verdict.TRUNCATED
        assert len(transport.requests) == 1


# The page.

PAGE: Final = REPOSITORY / "docs" / "with-the-official-sdk.md"
OF_HTTPX: Final = [block for block in blocks(PAGE) if "import httpx\n" in block.code]


@pytest.mark.parametrize("block", OF_HTTPX, ids=str)
def test_what_the_page_shows_of_httpx_runs(
    block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("httpx", reason="the page's clients are of it")
    (tmp_path / "examples").symlink_to(EXAMPLES)
    monkeypatch.chdir(tmp_path)
    exec(compile(block.code, PAGE.name, "exec"), {})  # noqa: S102 - the point of the test


def test_the_page_has_every_option() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", PAGE.read_text("utf-8"), re.MULTILINE)
    replay = inspect.signature(ReplayTransport).parameters.keys() - {"captures"}
    assert len(rows) == len(set(rows))
    assert set(rows) == {*VerifyOptions.__annotations__, *replay}
