"""What is raised and printed is one line, bounded, and hides nothing, whatever a server says."""

import io
import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from matrix import Adapter, ask, driven, raised_by
from sansio_stream_adapters import InternalServerError, MessageStream
from servers import Do, RawServer, chunk, head, response
from wire import HELLO, body, frame

RawServers = Callable[..., RawServer]

pytestmark = pytest.mark.usefixtures("certificates_are_read_once", "nothing_is_left_open")

HOSTILE: Final = "\x1b[2J\u202e\u2066\r\nHTTP 200\u2028\u200b" + 20_000 * "x"
C1: Final = "\x9b2J"
"""What a header can hold: the beginning of an escape sequence, in one character."""

ERROR: Final = {"type": "error", "error": {"type": HOSTILE, "message": HOSTILE}}
JSON: Final = {"content-type": "application/json"}
STREAM: Final = {"content-type": "text/event-stream"}


def with_header(status: int, **headers: str) -> bytes:
    """A response of which a header is hostile, in the bytes that HTTP has for it."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"HTTP/1.1 {status} Whatever", *(f"{name}: {value}" for name, value in sent.items())]
    return "\r\n".join([*lines, "content-length: 2", "", "{}"]).encode("latin-1")


ANSWERS: Final[dict[str, list[Any]]] = {
    "an error": [response(json.dumps(ERROR).encode(), 400, JSON)],
    "text": [response(HOSTILE.encode(), 400, {"content-type": "text/plain"})],
    "a page": [response(f"<html>{HOSTILE}".encode(), headers={"content-type": "text/html"})],
    "a content-type": [with_header(200, content_type=f"text/{C1}")],
    "a content-encoding": [with_header(200, content_encoding=C1, **STREAM)],
    "a location": [with_header(302, location=f"http://{C1}/")],
    "a request-id": [with_header(400, request_id=C1)],
    "no HTTP": [HOSTILE.encode() + b"\r\n\r\n", Do.CLOSE],
    "a head that is none": [b"HTTP/1.1 200 OK\r\n\x1b[2J\xe2\x80\xae: \x00\r\n\r\n", Do.CLOSE],
    "an error in the stream": [head() + chunk(body(*HELLO[:3], ERROR)) + chunk(b"")],
    "no JSON": [
        head() + chunk(frame(HOSTILE.replace("\r\n", ""), "content_block_delta")) + chunk(b"")
    ],
    "no stream": [response(HOSTILE.encode())],
    "a broken chunk": [head() + chunk(body(*HELLO[:3])) + HOSTILE.encode() + b"\r\n", Do.CLOSE],
}


@pytest.mark.parametrize("answer", ANSWERS)
@driven
async def test_what_is_raised_is_one_bounded_line_in_which_nothing_hides(
    adapter: Adapter, raw_server: RawServers, answer: str
) -> None:
    server = raw_server(ANSWERS[answer])
    async with adapter.client(server.url) as client:
        error = await raised_by(client, ask())
    said = str(error)
    assert said.isprintable()
    assert 0 < len(said) <= 1024
    assert said == error.message


@driven
async def test_how_long_a_server_asks_to_wait_is_told_however_much_else_it_says(
    adapter: Adapter, raw_server: RawServers
) -> None:
    headers = {**JSON, "retry-after": "9999"}
    server = raw_server([response(json.dumps(ERROR).encode(), 500, headers)])
    async with adapter.client(server.url, max_retries=2) as client:
        with pytest.raises(InternalServerError) as caught:
            await client.messages.create(**ask(), stream=True)
    said = str(caught.value)
    assert said.startswith(r"\x1b[2J\u202e")
    assert said.endswith("x… (the server asks to wait 9999 s; max_retry_after allows 60 s)")
    assert said.isprintable()
    assert len(said) <= 1024
    assert caught.value.args == (said,)


def test_what_a_file_says_of_itself_is_warned_of_in_one_line() -> None:
    class Full(io.BytesIO):
        def write(self, _: object) -> int:
            raise OSError(HOSTILE)

    with pytest.warns(RuntimeWarning, match="the recording stops here") as warned:
        MessageStream([body(*HELLO)], record_to=Full()).until_done()
    said = str(warned[0].message)
    assert said.isprintable()
    assert len(said) <= 1024 + len("the recording stops here: ")


@pytest.fixture
def _pipes_are_as_before() -> Iterator[None]:
    """The command takes over what a broken pipe does to the process."""
    if not hasattr(signal, "SIGPIPE"):
        yield
        return
    before = signal.getsignal(signal.SIGPIPE)
    yield
    signal.signal(signal.SIGPIPE, before)


@pytest.mark.usefixtures("_pipes_are_as_before")
@pytest.mark.parametrize(
    "args",
    [
        ["record", "-m", "m", "--request", HOSTILE],
        ["record", "-m", "m", "--header", f"{HOSTILE}-key: x", "Hello"],
        ["record", "-m", "m", "--param", HOSTILE, "Hello"],
        ["record", "-m", "m", "--base-url", HOSTILE, "Hello"],
        ["record", "-m", "m", "--adapter", HOSTILE, "Hello"],
        ["replay", HOSTILE],
        ["serve", "--port", "0", HOSTILE],
        [HOSTILE],
    ],
    ids=lambda args: " ".join(args)[:24],
)
def test_wrong_usage_is_said_without_what_hides(
    args: list[str],
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    pytest.importorskip("click", reason="the command is made with click")
    pytest.importorskip("rich", reason="the command shows by rich")
    from sansio_stream_adapters.cli import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["sansio-stream", *args])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.replace("\n", "").isprintable()
    assert len(err) < 10_000
