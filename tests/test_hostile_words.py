"""Test that errors and the command show text of a server escaped, short and on one line."""

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

StartServer = Callable[..., RawServer]

pytestmark = pytest.mark.usefixtures("nothing_is_left_open")

HOSTILE: Final = "\x1b[2J\u202e\u2066\r\nHTTP 200\u2028\u200b" + 20_000 * "x"
C1: Final = "\x9b2J"
"""The beginning of an escape sequence as a single character, which a header may contain."""

ERROR: Final = {"type": "error", "error": {"type": HOSTILE, "message": HOSTILE}}
JSON: Final = {"content-type": "application/json"}
STREAM: Final = {"content-type": "text/event-stream"}


def with_header(status: int, **headers: str) -> bytes:
    """Return a response with hostile headers, encoded as Latin-1."""
    renamed = {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [
        f"HTTP/1.1 {status} Whatever",
        *(f"{name}: {value}" for name, value in renamed.items()),
    ]
    return "\r\n".join([*lines, "content-length: 2", "", "{}"]).encode("latin-1")


ANSWERS: Final[dict[str, list[Any]]] = {
    "an error": [response(json.dumps(ERROR).encode(), 400, JSON)],
    "text": [response(HOSTILE.encode(), 400, {"content-type": "text/plain"})],
    "a page": [response(f"<html>{HOSTILE}".encode(), headers={"content-type": "text/html"})],
    "a content-type": [with_header(200, content_type=f"text/{C1}")],
    "a content-encoding": [with_header(200, content_encoding=C1, **STREAM)],
    "a location": [with_header(302, location=f"http://{C1}/")],
    "a request-id": [with_header(400, request_id=C1)],
    "another protocol": [HOSTILE.encode() + b"\r\n\r\n", Do.CLOSE],
    "an invalid head": [b"HTTP/1.1 200 OK\r\n\x1b[2J\xe2\x80\xae: \x00\r\n\r\n", Do.CLOSE],
    "an error in the stream": [head() + chunk(body(*HELLO[:3], ERROR)) + chunk(b"")],
    "data that is not JSON": [
        head() + chunk(frame(HOSTILE.replace("\r\n", ""), "content_block_delta")) + chunk(b"")
    ],
    "a body that is not a stream": [response(HOSTILE.encode())],
    "a broken chunk": [head() + chunk(body(*HELLO[:3])) + HOSTILE.encode() + b"\r\n", Do.CLOSE],
}


@pytest.mark.parametrize("answer", ANSWERS)
@driven
async def test_the_message_of_an_error_is_one_short_printable_line(
    adapter: Adapter, raw_server: StartServer, answer: str
) -> None:
    server = raw_server(ANSWERS[answer])
    async with adapter.client(server.url) as client:
        error = await raised_by(client, ask())
    message = str(error)
    assert message.isprintable()
    assert 0 < len(message) <= 1024
    assert message == error.message


@driven
async def test_a_long_message_still_ends_with_the_wait_that_the_server_asks_for(
    adapter: Adapter, raw_server: StartServer
) -> None:
    headers = {**JSON, "retry-after": "9999"}
    server = raw_server([response(json.dumps(ERROR).encode(), 500, headers)])
    async with adapter.client(server.url, max_retries=2) as client:
        with pytest.raises(InternalServerError) as caught:
            await client.messages.create(**ask(), stream=True)
    message = str(caught.value)
    assert message.startswith(r"\x1b[2J\u202e")
    assert message.endswith("x… (the server asks to wait 9999 s; max_retry_after allows 60 s)")
    assert message.isprintable()
    assert len(message) <= 1024
    assert caught.value.args == (message,)


def test_a_warning_about_a_recording_is_one_short_printable_line() -> None:
    class FullDisk(io.BytesIO):
        def write(self, _: object) -> int:
            raise OSError(HOSTILE)

    with pytest.warns(RuntimeWarning, match="the recording stops here") as warnings:
        MessageStream([body(*HELLO)], record_to=FullDisk()).until_done()
    message = str(warnings[0].message)
    assert message.isprintable()
    assert len(message) <= 1024 + len("the recording stops here: ")


@pytest.fixture
def _restore_sigpipe() -> Iterator[None]:
    """Restore the action for SIGPIPE, which the command changes."""
    if not hasattr(signal, "SIGPIPE"):
        yield
        return
    before = signal.getsignal(signal.SIGPIPE)
    yield
    signal.signal(signal.SIGPIPE, before)


@pytest.mark.usefixtures("_restore_sigpipe")
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
def test_the_message_of_wrong_usage_is_printable(
    args: list[str],
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    pytest.importorskip("click", reason="the command needs click")
    pytest.importorskip("rich", reason="the command needs rich")
    from sansio_stream_tools import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["sansio-stream", *args])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.replace("\n", "").isprintable()
    assert len(err) < 10_000
