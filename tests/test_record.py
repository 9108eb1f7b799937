"""`sansio-stream record` records an answer and shows it like `replay`."""

import io
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
from click import UsageError
from click.testing import CliRunner, Result

from documentation import blocks, commands, shows
from processes import Fork, Forked, read_until
from sansio_stream import parse_capture
from sansio_stream.capture import Capture
from sansio_stream_tools import _main, _record, _record_call, _recording_file
from servers import (
    PATIENCE,
    SHORT,
    Do,
    RawServer,
    TooSoonError,
    chunk,
    head,
    refusing_url,
    response,
    wait_until,
    wait_until_it_waits,
    with_seconds,
)
from shared_data import REPOSITORY
from wire import HELLO, body

EXAMPLES: Final = REPOSITORY / "examples"
NAMES: Final = sorted(path.name.partition(".")[0] for path in EXAMPLES.glob("*.capture.jsonl"))
LIBRARIES: Final = {"httpx": "httpx", "aiohttp": "aiohttp", "trio": "trio", "sockets": "h11"}

pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture(params=LIBRARIES)
def adapter(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    for library in {LIBRARIES[name], "h11" if name == "trio" else LIBRARIES[name]}:
        pytest.importorskip(library, reason=f"the adapter {name} needs {library}")
    return name


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A new working directory. The environment has no key and no URL, and a fixed width."""
    monkeypatch.chdir(tmp_path)
    for name in ("API_KEY", "AUTH_TOKEN", "BASE_URL"):
        monkeypatch.delenv(f"ANTHROPIC_{name}", raising=False)
    monkeypatch.setenv("COLUMNS", "100")
    return tmp_path


def sansio_stream(*args: str, data: bytes | None = None) -> Result:
    """Run the command in this process."""
    return CliRunner().invoke(_main.command, args, input=data, catch_exceptions=False)


def record(url: str, *args: str, data: bytes | None = None) -> Result:
    """Record an answer in the file `it`. The default adapter is `sockets`."""
    adapter = () if "--adapter" in args else ("--adapter", "sockets")
    args = ("record", "--base-url", url, "-o", "it", *adapter, *args)
    return sansio_stream(*args, data=data)


def recorded(name: str = "it") -> Capture:
    return parse_capture(Path(name).read_bytes())


def example(name: str) -> Capture:
    return recorded(str(EXAMPLES / f"{name}.capture.jsonl"))


# The recording has the received bytes, and the command shows the recording.


@pytest.mark.parametrize("name", NAMES)
def test_every_adapter_records_byte_for_byte(adapter: str, name: str, example_server: str) -> None:
    result = record(example_server, "--adapter", adapter, "-m", name, "Hello?")
    capture = recorded()
    assert capture.body == example(name).body
    assert capture.header.status == 200
    assert capture.header.headers["request-id"]
    assert capture.header.request == {
        "model": name,
        "max_tokens": 1024,
        "messages": [{"role": "user", "content": "Hello?"}],
        "stream": True,
    }
    assert capture.end is not None
    # The server serves a capture that ended with an error by closing the connection too early.
    # After an error event, the client does not read any further.
    ends = {"cut-stream": True, "overloaded": capture.end.error == "closed by the reader"}
    assert (capture.end.error is not None) == ends.get(name, False)
    replayed = sansio_stream("replay", "it")
    assert (result.exit_code, result.stdout) == (replayed.exit_code, replayed.stdout)
    assert result.stderr == replayed.stderr + (
        "sansio-stream: the answer is recorded; show it again with: sansio-stream replay it\n"
    )


@pytest.mark.parametrize("view", ["--events", "--message", "-v"])
@pytest.mark.parametrize("name", ["proxy-dirty", "cut-stream", "thinking-and-tool-use"])
def test_every_view_equals_that_of_replay(name: str, view: str, example_server: str) -> None:
    pytest.importorskip("h11", reason="the adapter for sockets needs h11")
    result = record(example_server, "-m", name, view, "Hello?")
    replayed = sansio_stream("replay", view, "it")
    assert (result.exit_code, result.stdout) == (replayed.exit_code, replayed.stdout)
    assert result.stdout


FAULTS_WITH_A_STREAM: Final = {
    "cut": (1, "TRUNCATED"),
    "cut-in-frame": (1, "TRUNCATED"),
    "reset": (1, "TRUNCATED"),
    "error-first": (1, "ERRORED: the server sent an error"),
    "error-in-mid-stream": (1, "ERRORED: the server sent an error"),
    "empty-body": (1, "EMPTY"),
    "missing-message-stop": (0, "message_stop is missing"),
    "truncated": (0, ""),
    "drip": (0, ""),
    "429-once": (0, ""),
}


@pytest.mark.usefixtures("delays")
@pytest.mark.parametrize("fault", FAULTS_WITH_A_STREAM)
def test_a_stream_with_a_fault_is_recorded_and_has_the_exit_status_of_replay(
    adapter: str, fault: str, example_server: str
) -> None:
    options = ("--adapter", adapter, "-m", "short", "--header", f"X-Fault:{fault}")
    result = record(example_server, *options, "Hello?")
    status, message = FAULTS_WITH_A_STREAM[fault]
    assert result.exit_code == status
    assert message in result.stdout
    assert SHORT.capture.body.startswith(recorded().body) or "error" in fault
    replayed = sansio_stream("replay", "it")
    assert (result.exit_code, result.stdout) == (replayed.exit_code, replayed.stdout)


REFUSALS: Final = {
    "401": "HTTP 401, authentication_error: ",
    "413": "HTTP 413, request_too_large: ",
    "429": "HTTP 429, rate_limit_error: ",
    "529": "HTTP 529, overloaded_error: ",
    "500-empty": "HTTP 500: no body",
    "503-html": "HTTP 503: <!doctype html> <title>",
    "html-200": "not an event stream but text/html",
    "json-200": "not an event stream but application/json",
    "no-head": "",
}


@pytest.mark.parametrize("fault", REFUSALS)
def test_an_answer_that_is_not_a_stream_is_reported_and_not_recorded(
    adapter: str, fault: str, example_server: str
) -> None:
    options = ("--adapter", adapter, "-m", "text", "--header", f"x-fault: {fault}")
    result = record(example_server, *options, "--max-retries", "0", "Hello?")
    assert result.exit_code == 1
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"sansio-stream: {example_server}: ")
    assert REFUSALS[fault] in line
    assert ("(request req_" in line) == ("HTTP" in REFUSALS[fault])
    assert not Path("it").exists()


def test_if_the_server_refuses_the_connection_the_exit_status_is_1(adapter: str) -> None:
    with refusing_url() as url:
        result = record(url, "--adapter", adapter, "--max-retries", "0", "-m", "text", "Hello?")
    assert result.exit_code == 1
    assert result.stderr.startswith(f"sansio-stream: {url}: ")
    assert not Path("it").exists()


@pytest.mark.parametrize(
    ("fault", "option", "message"),
    [("stall", "--timeout", "Timeout"), ("ping-stall", "--idle", "no content for")],
)
@with_seconds
def test_the_options_timeout_and_idle_limit_a_silence(
    adapter: str, example_server: str, *, fault: str, option: str, message: str, seconds: float
) -> None:
    options = ("--adapter", adapter, "-m", "text", "--header", f"x-fault: {fault}", "--force")
    result = record(example_server, *options, option, str(seconds), "Hello?")
    assert result.exit_code == 1
    if "TRUNCATED" not in result.stdout:
        raise TooSoonError
    end = recorded().end
    assert end is not None
    assert end.error is not None
    if message not in end.error:
        raise TooSoonError  # the gap between two pings was too long


@with_seconds
def test_the_option_total_limits_the_whole_stream(
    adapter: str, example_server: str, *, seconds: float
) -> None:
    options = ("--adapter", adapter, "-m", "text", "--header", "x-fault: ping-stall", "--force")
    result = record(example_server, *options, "--total", str(seconds), "Hello?")
    assert result.exit_code == 1
    if "TRUNCATED" not in result.stdout:
        raise TooSoonError
    end = recorded().end
    assert end is not None
    assert end.error is not None
    assert f"total: the stream had not ended within {seconds:g} s" in end.error


@pytest.mark.parametrize(
    "name",
    [
        *("x-api-key", "Cookie", "X-Auth-Token", "apikey", "Ocp-Apim-Subscription-Key"),
        *("Proxy-Authorization", "x-my-secret", "X-PASSWORD", "x-amz-security-token"),
        *("cf-access-client-secret", "x-db-passwd", "x-credential"),
    ],
)
def test_a_header_that_may_be_a_credential_is_refused_and_not_printed(name: str) -> None:
    result = record("http://127.0.0.1:1", "-m", "m", "--header", f"{name}: pssst", "Hello?")
    assert result.exit_code == 2
    stderr = " ".join(result.stderr.split())
    assert f"{name.lower()} may be a credential, and other users can read command lines" in stderr
    assert "Set ANTHROPIC_API_KEY or ANTHROPIC_AUTH_TOKEN, or send the header from Python" in stderr
    assert "pssst" not in stderr


def test_the_limits_reach_the_client_and_the_view(example_server: str) -> None:
    pytest.importorskip("h11", reason="the adapter for sockets needs h11")
    result = record(example_server, "-m", "text", "--limit", "event_bytes=200", "Hello?")
    assert result.exit_code == 1
    assert "BROKEN" in result.stdout
    assert "200" in result.stdout


def test_frames_after_the_message_are_recorded_and_noted_if_the_adapter_reads_them(
    adapter: str, raw_server: Callable[..., RawServer]
) -> None:
    rest = [b"event: message_start\ndata: {\n\n", b"event: ping\ndata: {}\n\n"]
    chunks = [chunk(data) for data in (body(*HELLO), *rest, b"")]
    server = raw_server([head() + b"".join(chunks), Do.CLOSE])
    result = record(server.url, "--adapter", adapter, "-m", "m", "Hello?")
    assert result.exit_code == 0
    # An adapter without a pool cannot reuse the connection, so it does not read these frames.
    is_read = adapter in ("httpx", "aiohttp")
    note = "after the message: the data of message_start cannot be read"
    assert (note in result.stdout) == is_read
    assert recorded().body == body(*HELLO) + (b"".join(rest) if is_read else b"")
    replayed = sansio_stream("replay", "it")
    assert (result.exit_code, result.stdout) == (replayed.exit_code, replayed.stdout)


# The request.


@pytest.fixture
def server(raw_server: Callable[..., RawServer]) -> RawServer:
    """A server that gives every request the same answer and stores the requests."""
    pytest.importorskip("h11", reason="the adapter for sockets needs h11")
    return raw_server([response(body(*HELLO)), Do.CLOSE])


def test_the_options_and_the_prompt_become_the_request(server: RawServer) -> None:
    result = record(
        server.url,
        *("-m", "m", "--max-tokens", "7", "--system", "Be brief."),
        *("--param", "temperature=0.5", "--param", 'metadata={"user_id": "u"}'),
        *("--beta", "one", "--beta", "two", "--header", "X-Tag:  a: b "),
        "Hello?",
    )
    assert result.exit_code == 0
    (request,) = server.requests
    assert request.json == {
        "model": "m",
        "max_tokens": 7,
        "system": "Be brief.",
        "temperature": 0.5,
        "metadata": {"user_id": "u"},
        "messages": [{"role": "user", "content": "Hello?"}],
        "stream": True,
    }
    assert request.headers["anthropic-beta"] == "one,two"
    assert request.headers["x-tag"] == "a: b"
    assert recorded().header.request == request.json


def test_options_override_the_given_request(server: RawServer) -> None:
    # In a request file, the names of parameters of a client's method are members like others.
    given = {"model": "given", "max_tokens": 5, "timeout": 1, "record_to": "x", "stream": False}
    conversation = [{"role": "user", "content": [{"type": "text", "text": "Hi!"}]}]
    given = {**given, "messages": conversation}
    Path("request.json").write_text(json.dumps(given), encoding="utf-8")
    options = ("--request", "request.json", "--force")
    assert record(server.url, *options).exit_code == 0
    assert record(server.url, *options, "-m", "m", "--param", "timeout=2").exit_code == 0
    assert record(server.url, *options, "Hello?").exit_code == 0
    assert (
        record(server.url, "--request", "-", "--force", data=json.dumps(given).encode()).exit_code
        == 0
    )
    plain, other, prompted, from_stdin = [request.json for request in server.requests]
    assert plain == from_stdin == {**given, "stream": True}
    assert other == {**plain, "model": "m", "timeout": 2}
    assert prompted == {**plain, "messages": [{"role": "user", "content": "Hello?"}]}
    assert not Path("x").exists()


@pytest.mark.parametrize("args", [[], ["-"]])
def test_the_prompt_may_come_from_standard_input(args: list[str], server: RawServer) -> None:
    assert record(server.url, "-m", "m", *args, data="Wörds\n".encode()).exit_code == 0
    assert server.requests[0].json["messages"] == [{"role": "user", "content": "Wörds\n"}]


SENT_AS: Final = {
    "ANTHROPIC_API_KEY": ("x-api-key", "sk-secret"),
    "ANTHROPIC_AUTH_TOKEN": ("authorization", "Bearer sk-secret"),
}


@pytest.mark.parametrize("variable", SENT_AS)
def test_the_key_of_the_environment_is_only_in_the_request_header(
    variable: str, adapter: str, server: RawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "sk-secret")
    monkeypatch.setenv("ANTHROPIC_BASE_URL", server.url)
    servers = [{"type": "url", "name": "s", "url": "u", "authorization_token": "tk-secret"}]
    result = sansio_stream(
        *("record", "-m", "m", "--adapter", adapter, "-o", "it"),
        *("--param", f"mcp_servers={json.dumps(servers)}", "-v", "Hello?"),
    )
    assert result.exit_code == 0
    (request,) = server.requests
    header, value = SENT_AS[variable]
    assert request.headers[header] == value
    assert request.json["mcp_servers"] == servers
    for text in (result.stdout, result.stderr, Path("it").read_text(encoding="utf-8")):
        assert "secret" not in text


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["Hello?"], "the model is missing"),
        (["-m", "m", ""], "the prompt is empty"),
        (["-m", "m"], "the prompt is empty"),
        (["-m", "m", "--request", "-", "-"], "PROMPT and --request cannot both"),
        (["-m", "m", "--request", "object"], "the prompt is empty"),
        (["-m", "m", "--request", "missing", "Hello?"], "missing: No such file"),
        (
            ["-m", "m", "--request", "list", "Hello?"],
            "list: the file does not contain a JSON object",
        ),
        (["-m", "m", "--request", "deep", "Hello?"], "deep: the JSON is nested too deeply"),
        (["-m", "m", "--request", "rubbish", "Hello?"], "rubbish: Expecting value"),
        (["-m", "m", "--param", "temperature", "Hello?"], "does not have the form NAME=JSON"),
        (["-m", "m", "--param", "=1", "Hello?"], "does not have the form NAME=JSON"),
        (["-m", "m", "--param", "system=Hi", "Hello?"], "the value of system is not JSON"),
        (["-m", "m", "--param", "n=NaN", "Hello?"], "n: Out of range float"),
        (["-m", "m", "--header", "x-tag", "Hello?"], "'NAME: VALUE'"),
        (["-m", "m", "--header", ": a", "Hello?"], "'NAME: VALUE'"),
        (["-m", "m", "--header", "bad name: a", "Hello?"], "header"),
        (["-m", "m", "--header", "X-API-Key: k", "Hello?"], "x-api-key may be a credential"),
        (["-m", "m", "--header", "authorization: Bearer k", "Hello?"], "Set ANTHROPIC_API_KEY"),
        (["-m", "m", "--base-url", "nowhere", "Hello?"], "base_url must be http"),
        (["-m", "m", "--timeout", "1e5", "Hello?"], "must be above 0 and at most 86,400 (a day)"),
        (["-m", "m", "--idle", "nan", "Hello?"], "nan is out of range"),
        (["-m", "m", "--total", "0", "Hello?"], "0.0 is out of range"),
        (["-m", "m", "--max-retries", "-1", "Hello?"], "--max-retries"),
        (["-m", "m", "--adapter", "urllib", "Hello?"], "--adapter"),
        (
            ["-m", "m", "--events", "--message", "Hello?"],
            "use only one of --events and --message",
        ),
    ],
)
def test_wrong_usage_has_the_exit_status_2_and_leaves_no_file(
    args: list[str], message: str
) -> None:
    pytest.importorskip("h11", reason="the adapter for sockets needs h11")
    Path("object").write_text("{}", encoding="utf-8")
    Path("list").write_text("[]", encoding="utf-8")
    Path("deep").write_text("[" * 100_000, encoding="utf-8")
    Path("rubbish").write_text("rubbish", encoding="utf-8")
    result = record("http://127.0.0.1:1", *args)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())
    assert not Path("it").exists()


def test_without_a_key_the_command_says_so_before_it_reads_anything() -> None:
    pytest.importorskip("h11", reason="the adapter for sockets needs h11")
    for arguments in (["Hello?"], ["-m", "m"], ["-m", "m", "--request", "missing"]):
        result = sansio_stream("record", "--adapter", "sockets", *arguments)
        assert result.exit_code == 2
        message = "no API key: set the environment variable ANTHROPIC_API_KEY or ANTHROPIC_AUTH"
        assert message in " ".join(result.stderr.split())


def test_a_prompt_that_is_not_utf8_has_the_exit_status_2() -> None:
    pytest.importorskip("h11", reason="the adapter for sockets needs h11")
    result = record("http://127.0.0.1:1", "-m", "m", data=b"\xff")
    assert result.exit_code == 2
    assert "the prompt is not UTF-8" in result.stderr


def test_the_command_does_not_wait_for_a_prompt_from_a_terminal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    with pytest.raises(UsageError, match="the prompt is missing"):
        _record_call.prompted(None, None)


# The file.


def test_an_existing_file_is_only_replaced_with_force_and_only_by_an_answer(
    example_server: str,
) -> None:
    pytest.importorskip("h11", reason="the adapter for sockets needs h11")
    older = b"something older, and longer than what replaces it: " * 1000
    Path("it").write_bytes(older)
    options = ("-m", "text", "--max-retries", "0", "Hello?")
    result = record(example_server, *options)
    assert (result.exit_code, result.stdout) == (2, "")
    assert (
        result.stderr == "sansio-stream: it: the file already exists; use --force to replace it\n"
    )
    assert record(example_server, *options, "--force", "--header", "x-fault: 401").exit_code == 1
    assert Path("it").read_bytes() == older
    assert record(example_server, *options, "--force").exit_code == 0
    assert recorded().body == example("text").body


def test_the_default_name_of_a_recording_is_the_time(server: RawServer, folder: Path) -> None:
    result = sansio_stream("record", "-m", "m", "--base-url", server.url, "Hello?")
    assert result.exit_code == 0
    (path,) = folder.iterdir()
    assert re.fullmatch(r"answer-\d{8}-\d{6}\.capture\.jsonl", path.name)
    assert f"sansio-stream replay {path.name}\n" in result.stderr


def test_the_printed_name_is_quoted_for_a_shell(server: RawServer) -> None:
    result = record(server.url, "-o", "it is.jsonl", "-m", "m", "Hello?")
    assert "sansio-stream replay 'it is.jsonl'\n" in result.stderr


def test_if_the_file_cannot_be_created_the_exit_status_is_2(server: RawServer) -> None:
    for name, reason in (("no/where", "No such file or directory"), (".", "Is a directory")):
        result = record(server.url, "-m", "m", "-o", name, "--force", "Hello?")
        assert result.exit_code == 2
        assert reason in result.stderr
    assert server.requests == []


@pytest.mark.parametrize("free", [0, 200])
def test_after_a_full_disk_the_answer_goes_on_and_the_recording_is_readable(
    server: RawServer, monkeypatch: pytest.MonkeyPatch, free: int
) -> None:
    free_bytes = [free]

    class Disk(io.FileIO):
        """A file on a disk with `free` bytes. The last successful write may be partial."""

        def write(self, data: Any, /) -> int:
            if not free_bytes[0]:
                raise OSError(28, "No space left on device")
            written = super().write(bytes(data)[: free_bytes[0]])
            free_bytes[0] -= written
            return written

    class RecordingFile(_recording_file.RecordingFile, Disk):
        pass

    monkeypatch.setattr(_record, "RecordingFile", RecordingFile)
    result = record(server.url, "-m", "m", "Hello?")
    assert result.exit_code == 2
    assert "Hello, wörld" in result.stdout
    assert result.stderr == (
        "sansio-stream: it: the recording is incomplete: No space left on device\n"
    )
    if free:
        assert Path("it").stat().st_size == free
        assert recorded().end is None


# The adapters.


def test_the_default_adapter_is_the_first_that_is_installed(
    server: RawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("httpx", "httpx2", "aiohttp", "trio"):
        monkeypatch.setitem(sys.modules, name, None)
        monkeypatch.delitem(sys.modules, f"sansio_stream_adapters.{name}", raising=False)
    assert record(server.url, "-m", "m", "Hello?").exit_code == 0
    assert "accept-encoding: gzip, deflate" in server.requests[0].head.decode().lower()
    result = record(server.url, "--adapter", "aiohttp", "-m", "m", "Hello?")
    assert result.exit_code == 2
    assert "aiohttp is not installed: pip install 'sansio-stream[aiohttp]'" in result.stderr
    monkeypatch.setitem(sys.modules, "h11", None)
    for name in ("sockets", "_http11"):
        monkeypatch.delitem(sys.modules, f"sansio_stream_adapters.{name}", raising=False)
    result = sansio_stream("record", "-m", "m", "--base-url", server.url, "Hello?")
    assert result.exit_code == 2
    assert "httpx is not installed: pip install 'sansio-stream[httpx]'" in result.stderr


def test_if_a_module_of_the_package_is_missing_the_import_error_is_raised(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "sansio_stream_adapters.sockets", None)
    with pytest.raises(ModuleNotFoundError, match="sockets"):
        _record_call.client_of("sockets", {})


# The process: signals.


def started(fork: Fork, url: str, adapter: str) -> Forked:
    """Start to record an answer in the file `it`."""
    return fork(
        *("record", "--base-url", url, "--adapter", adapter, "-m", "m", "-o", "it", "Hello?"),
        env={"COLUMNS": "100"},
        imports=[f"sansio_stream_adapters.{adapter}"],
    )


def is_recorded(data: bytes, name: str = "it") -> bool:
    """Return whether a recording has this body and ends with a complete line."""
    path = Path(name)
    written = path.read_bytes() if path.exists() else b""
    return written.endswith(b"\n") and parse_capture(written).body == data


def test_an_interruption_keeps_the_received_bytes(
    adapter: str, raw_server: Callable[..., RawServer], fork: Fork
) -> None:
    sent = body(*HELLO[:5])
    server = raw_server([head(), chunk(sent), Do.WAIT])
    process = started(fork, server.url, adapter)
    assert process.stdout is not None
    stdout = read_until(process.stdout.fileno(), "\N{PARTY POPPER}".encode())
    wait_until_it_waits(process.pid)
    process.send_signal(signal.SIGINT)
    rest, stderr = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    server.wait_until_closed()
    capture = recorded()
    assert capture.body == sent
    assert capture.end is not None
    assert capture.end.error == "closed by the reader"
    replayed = sansio_stream("replay", "it")
    assert (stdout + rest).decode() == replayed.stdout
    assert stderr.decode().splitlines() == [
        "sansio-stream: interrupted",
        "sansio-stream: the answer is recorded; show it again with: sansio-stream replay it",
    ]


def test_an_interruption_before_the_answer_leaves_no_file(
    adapter: str, raw_server: Callable[..., RawServer], fork: Fork
) -> None:
    server = raw_server([Do.WAIT])
    process = started(fork, server.url, adapter)
    wait_until(lambda: server.requests, "the request has arrived")
    wait_until_it_waits(process.pid)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=PATIENCE)
    assert (process.returncode, stdout) == (130, b"")
    assert stderr == b"sansio-stream: interrupted before an answer arrived\n"
    assert not Path("it").exists()


def test_an_interruption_in_an_exception_group_of_trio_is_raised_alone() -> None:
    trio = pytest.importorskip("trio", reason="trio raises the groups")

    async def connecting() -> None:
        async with trio.open_nursery():
            raise KeyboardInterrupt

    async def failing() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(connecting)
            raise ZeroDivisionError

    with pytest.raises(KeyboardInterrupt):
        _record_call.run_trio(connecting)
    with pytest.raises(BaseExceptionGroup) as caught:
        _record_call.run_trio(failing)
    assert caught.value.subgroup(ZeroDivisionError) is not None


def test_the_recording_of_a_killed_process_is_readable(
    adapter: str, raw_server: Callable[..., RawServer], fork: Fork
) -> None:
    sent = body(*HELLO[:5])
    server = raw_server([head(), chunk(sent), Do.WAIT])
    process = started(fork, server.url, adapter)
    wait_until(lambda: is_recorded(sent), "the received bytes are recorded")
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    capture = recorded()
    assert capture.body == sent
    assert capture.end is None
    assert capture.header.request is not None
    replayed = sansio_stream("replay", "it")
    assert replayed.exit_code == 1
    assert "TRUNCATED: the message began and was cut" in replayed.stdout
    assert "the recording file is cut off here" in replayed.stdout


def test_if_the_output_cannot_be_written_the_recording_has_an_end(
    server: RawServer, fork: Fork
) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    with Path("/dev/full").open("wb") as full:
        process = fork(
            *("record", "-m", "m", "-o", "it", "--adapter", "sockets"),
            *("--base-url", server.url, "Hello?"),
            stdout=full,
        )
        _, stderr = process.communicate(timeout=PATIENCE)
    assert process.returncode == 2
    assert b"the output cannot be written: No space left on device" in stderr
    assert recorded().end is not None


# The page.

PAGE: Final = REPOSITORY / "docs" / "recording.md"


def test_the_page_shows_the_output_of_its_commands(
    example_server: str, monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    pytest.importorskip("h11", reason="the adapter for sockets needs h11")
    monkeypatch.setenv("ANTHROPIC_BASE_URL", example_server)
    bin_ = folder / "bin"
    bin_.mkdir()
    script = bin_ / "sansio-stream"
    script.write_text(f"#!{sys.executable}\nfrom sansio_stream_tools import main\nmain()\n")
    script.chmod(0o755)
    path = os.pathsep.join([str(REPOSITORY / each) for each in ("", "adapters", "tools")])
    environment = {
        **os.environ,
        "PATH": os.pathsep.join([str(bin_), os.environ["PATH"]]),
        "PYTHONPATH": path,
    }
    steps = [
        command
        for block in blocks(PAGE)
        if block.not_run == "it needs a server"
        for command in commands(block)
    ]
    assert len(steps) > 2
    for step in steps:
        if "|" in step.line:
            done = subprocess.run(
                ["sh", "-c", step.line],
                capture_output=True,
                text=True,
                check=False,
                env=environment,
            )
            status, output = done.returncode, done.stdout + done.stderr
        else:
            result = sansio_stream(*shlex.split(step.line)[1:])
            status, output = result.exit_code, result.stdout + result.stderr
        assert status == 0, output
        assert shows(step.shown, output), output
