"""Recordings that a client writes: no credentials, and no effect of their errors on the stream."""

import io
import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from matrix import Adapter, ask, driven, text_of
from sansio_stream import Verdict, parse_capture
from sansio_stream_adapters import APIConnectionError, MessageStream
from servers import Do, RawServer, chunk, head
from wire import HELLO, body

RawServers = Callable[..., RawServer]

WHOLE: Final = [head() + chunk(body(*HELLO)) + chunk(b""), Do.CLOSE]
TEXT_OF_HELLO: Final = "Hello, wörld \N{PARTY POPPER}"

# Warnings are errors, as with `python -W error`. pyproject.toml does this for pytest itself.
pytestmark = pytest.mark.filterwarnings("error")


class FailingFile(io.BytesIO):
    """A file whose `write` raises an exception after some successful calls."""

    def __init__(self, failure: Exception, writes: int) -> None:
        super().__init__()
        self._failure = failure
        self._writes = writes

    def write(self, data: Any) -> int:
        if not self._writes:
            raise self._failure
        self._writes -= 1
        return super().write(data)


class FileLibraryError(Exception):
    """An exception of the library that provides the file."""


FAILURES: Final = {
    "full": OSError(28, "No space left on device"),
    "closed": ValueError("I/O operation on closed file"),
    "library": FileLibraryError("the bucket is gone"),
}


@pytest.mark.parametrize("writes", [0, 1, 2], ids=["header", "chunk", "end"])
@pytest.mark.parametrize("failure", FAILURES)
@driven
async def test_a_failing_recording_does_not_affect_the_stream(
    adapter: Adapter,
    failure: str,
    writes: int,
    raw_server: RawServers,
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = raw_server(WHOLE)
    file = FailingFile(FAILURES[failure], writes)
    async with (
        adapter.client(server.url, max_retries=2) as client,
        client.messages.stream(**ask(), record_to=file) as stream,
    ):
        message = await stream.get_final_message()
    assert text_of(message) == TEXT_OF_HELLO
    assert stream.verdict is Verdict.COMPLETE
    assert len(server.requests) == 1
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage() == f"the recording stops here: {FAILURES[failure]}"
    assert len(file.getvalue().splitlines()) == writes


def test_a_failing_recording_warns_if_warnings_are_not_errors() -> None:
    file = FailingFile(FAILURES["library"], 1)
    with pytest.warns(RuntimeWarning, match="the recording stops here: the bucket is gone"):
        assert MessageStream([body(*HELLO)], record_to=file).get_final_message().complete


def test_an_exception_while_showing_the_warning_does_not_affect_the_stream(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise FileLibraryError

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        monkeypatch.setattr(warnings, "showwarning", fail)
        stream = MessageStream([body(*HELLO)], record_to=FailingFile(FAILURES["full"], 0))
        assert stream.get_final_message().complete
    assert len(caplog.records) == 1


def test_an_exception_whose_repr_raises_does_not_affect_the_recording() -> None:
    class UnshownError(OSError):
        def __repr__(self) -> str:
            raise FileLibraryError

    def chunks() -> Any:
        yield body(*HELLO[:4])
        raise UnshownError

    file = io.BytesIO()
    stream = MessageStream(chunks(), record_to=file)
    with pytest.raises(APIConnectionError):
        stream.until_done()
    assert parse_capture(file.getvalue()).body == body(*HELLO[:4])


@driven
async def test_a_recording_contains_no_credential(
    adapter: Adapter, raw_server: RawServers, tmp_path: Path
) -> None:
    # The exceptions of some libraries show the request. The recorded error must not show it.
    server = raw_server([head() + chunk(body(*HELLO[:4])), Do.RESET])
    path = tmp_path / "it"
    mcp = {
        "type": "url",
        "name": "notes",
        "url": "https://u:secret@mcp.example/secret#secret",
        "authorization_token": "secret",
        "headers": {"x-key": "secret"},
    }
    credentials: dict[str, Any] = dict.fromkeys(("api_key", "auth_token"), "secret")
    async with adapter.client(server.url, **credentials) as client:
        stream = client.messages.stream(
            **ask(),
            mcp_servers={"notes": [mcp]},
            extra_headers={"x-gateway-key": "secret"},
            extra_query={"key": "secret"},
            record_to=path,
        )
        with pytest.raises(APIConnectionError):
            await stream.get_final_message()
    (request,) = server.requests
    assert request.head.count(b"secret") == 4
    assert request.body.count(b"secret") == 5
    assert b"secret" not in path.read_bytes()
    capture = parse_capture(path.read_bytes())
    assert capture.header.request is not None
    assert capture.header.request["mcp_servers"] == [
        {"type": "url", "name": "notes", "url": "https://mcp.example"}
    ]
    assert capture.end is not None
    assert capture.end.error
