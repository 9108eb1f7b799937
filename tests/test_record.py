"""The command records what a server answers, and shows what `replay` shows of the recording."""

import io
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from click import UsageError
from click.testing import CliRunner, Result

from documentation import blocks, commands, shows
from sansio_stream import parse_capture
from sansio_stream.capture import Capture
from sansio_stream_adapters.cli import _command, _record, _recording_file
from servers import (
    PATIENCE,
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
        pytest.importorskip(library, reason=f"the adapter {name} stands on {library}")
    return name


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of one's own to be in, and no key, URL or width from outside."""
    monkeypatch.chdir(tmp_path)
    for name in ("API_KEY", "AUTH_TOKEN", "BASE_URL"):
        monkeypatch.delenv(f"ANTHROPIC_{name}", raising=False)
    monkeypatch.setenv("COLUMNS", "100")
    return tmp_path


def sansio_stream(*args: str, data: bytes | None = None) -> Result:
    """Run the command in this process."""
    return CliRunner().invoke(_command.command, args, input=data, catch_exceptions=False)


def record(url: str, *args: str, data: bytes | None = None) -> Result:
    """Record in `it`; what is not said otherwise is the adapter that is always there."""
    adapter = () if "--adapter" in args else ("--adapter", "sockets")
    args = ("record", "--base-url", url, "-o", "it", *adapter, *args)
    return sansio_stream(*args, data=data)


def recorded(name: str = "it") -> Capture:
    return parse_capture(Path(name).read_bytes())


def example(name: str) -> Capture:
    return recorded(str(EXAMPLES / f"{name}.capture.jsonl"))


# What is recorded is what came, and what is shown is what is recorded.


@pytest.mark.parametrize("name", NAMES)
def test_every_adapter_records_byte_for_byte(adapter: str, name: str, example_server: str) -> None:
    result = record(example_server, "--adapter", adapter, "-m", name, "Hello?")
    kept = recorded()
    assert kept.body == example(name).body
    assert kept.header.status == 200
    assert kept.header.headers["request-id"]
    assert kept.header.request == {
        "model": name,
        "max_tokens": 1024,
        "messages": [{"role": "user", "content": "Hello?"}],
        "stream": True,
    }
    assert kept.end is not None
    # A capture that ended by an error is served as a connection that is closed too early.
    # Behind an error of the server nobody reads on.
    ends = {"cut-stream": True, "overloaded": kept.end.error == "closed by the reader"}
    assert (kept.end.error is not None) == ends.get(name, False)
    again = sansio_stream("replay", "it")
    assert (result.exit_code, result.stdout) == (again.exit_code, again.stdout)
    assert result.stderr == again.stderr + (
        "sansio-stream: the answer is recorded; show it again with: sansio-stream replay it\n"
    )


@pytest.mark.parametrize("view", ["--events", "--message", "--trace", "-v"])
@pytest.mark.parametrize("name", ["proxy-dirty", "cut-stream", "thinking-and-tool-use"])
def test_every_view_is_that_of_a_replay(name: str, view: str, example_server: str) -> None:
    pytest.importorskip("h11", reason="the adapter for sockets stands on h11")
    result = record(example_server, "-m", name, view, "Hello?")
    again = sansio_stream("replay", view, "it")
    assert (result.exit_code, result.stdout) == (again.exit_code, again.stdout)
    assert result.stdout


FAULTS_WITH_A_STREAM: Final = {
    "cut": (1, "TRUNCATED"),
    "cut-in-frame": (1, "TRUNCATED"),
    "reset": (1, "TRUNCATED"),
    "error-first": (1, "ERRORED: the server sent an error: overloaded_error"),
    "error-in-mid-stream": (1, "ERRORED: the server sent an error: overloaded_error"),
    "empty-body": (1, "EMPTY"),
    "missing-message-stop": (0, "message_stop is missing"),
    "truncated": (0, ""),
    "drip": (0, ""),
    "429-once": (0, ""),
}


@pytest.mark.usefixtures("delays")
@pytest.mark.parametrize("fault", FAULTS_WITH_A_STREAM)
def test_a_stream_that_goes_wrong_is_recorded_and_its_status_says_so(
    adapter: str, fault: str, example_server: str
) -> None:
    asked = ("--adapter", adapter, "-m", "text", "--header", f"X-Fault:{fault}")
    result = record(example_server, *asked, "Hello?")
    status, said = FAULTS_WITH_A_STREAM[fault]
    assert result.exit_code == status
    assert said in result.stderr
    assert example("text").body.startswith(recorded().body) or "error" in fault
    again = sansio_stream("replay", "it")
    assert (result.exit_code, result.stdout) == (again.exit_code, again.stdout)


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
def test_what_is_no_stream_is_said_and_not_recorded(
    adapter: str, fault: str, example_server: str
) -> None:
    asked = ("--adapter", adapter, "-m", "text", "--header", f"x-fault: {fault}")
    result = record(example_server, *asked, "--max-retries", "0", "Hello?")
    assert result.exit_code == 1
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"sansio-stream: {example_server}: ")
    assert REFUSALS[fault] in line
    assert ("(request req_" in line) == ("HTTP" in REFUSALS[fault])
    assert not Path("it").exists()


def test_a_server_that_is_not_there_is_status_1(adapter: str) -> None:
    with refusing_url() as url:
        result = record(url, "--adapter", adapter, "--max-retries", "0", "-m", "text", "Hello?")
    assert result.exit_code == 1
    assert result.stderr.startswith(f"sansio-stream: {url}: ")
    assert not Path("it").exists()


@pytest.mark.parametrize(
    ("fault", "option", "said"),
    [("stall", "--timeout", "Timeout"), ("ping-stall", "--idle", "no content for")],
)
@with_seconds
def test_silence_is_waited_for_as_long_as_is_asked(
    adapter: str, example_server: str, *, fault: str, option: str, said: str, seconds: float
) -> None:
    asked = ("--adapter", adapter, "-m", "text", "--header", f"x-fault: {fault}", "--force")
    result = record(example_server, *asked, option, str(seconds), "Hello?")
    assert result.exit_code == 1
    if "TRUNCATED" not in result.stderr:
        raise TooSoonError
    end = recorded().end
    assert end is not None
    assert end.error is not None
    if said not in end.error:
        raise TooSoonError  # the gap between two pings was too long


@with_seconds
def test_all_of_it_takes_no_longer_than_is_asked(
    adapter: str, example_server: str, *, seconds: float
) -> None:
    asked = ("--adapter", adapter, "-m", "text", "--header", "x-fault: ping-stall", "--force")
    result = record(example_server, *asked, "--total", str(seconds), "Hello?")
    assert result.exit_code == 1
    if "TRUNCATED" not in result.stderr:
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
def test_a_header_that_may_be_a_credential_is_refused_and_not_shown(name: str) -> None:
    result = record("http://127.0.0.1:1", "-m", "m", "--header", f"{name}: pssst", "Hello?")
    assert result.exit_code == 2
    said = " ".join(result.stderr.split())
    assert f"{name.lower()} may be a credential, and other users can read command lines" in said
    assert "Set ANTHROPIC_API_KEY or ANTHROPIC_AUTH_TOKEN, or send the header from Python" in said
    assert "pssst" not in said


def test_what_comes_behind_the_message_is_recorded_and_remarked(
    adapter: str, raw_server: Callable[..., RawServer]
) -> None:
    behind = [b"event: message_start\ndata: {\n\n", b"event: ping\ndata: {}\n\n"]
    chunks = [chunk(data) for data in (body(*HELLO), *behind, b"")]
    server = raw_server([head() + b"".join(chunks), Do.CLOSE])
    result = record(server.url, "--adapter", adapter, "-m", "m", "Hello?")
    assert result.exit_code == 0
    # Who has no pool to save the connection for reads nothing behind the message.
    is_read = adapter in ("httpx", "aiohttp")
    remark = "after the message: the data of message_start cannot be read"
    assert (remark in result.stderr) == is_read
    assert recorded().body == body(*HELLO) + (b"".join(behind) if is_read else b"")
    again = sansio_stream("replay", "it")
    assert (result.exit_code, result.stdout) == (again.exit_code, again.stdout)


# The request.


@pytest.fixture
def server(raw_server: Callable[..., RawServer]) -> RawServer:
    """Answers everything alike, and keeps what was asked."""
    pytest.importorskip("h11", reason="the adapter for sockets stands on h11")
    return raw_server([response(body(*HELLO)), Do.CLOSE])


def test_options_and_prompt_become_the_request(server: RawServer) -> None:
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


def test_options_win_over_the_request_that_is_given(server: RawServer) -> None:
    # Names that mean something to a client's method are members of a body like others.
    given = {"model": "given", "max_tokens": 5, "timeout": 1, "record_to": "x", "stream": False}
    conversation = [{"role": "user", "content": [{"type": "text", "text": "Hi!"}]}]
    given = {**given, "messages": conversation}
    Path("request.json").write_text(json.dumps(given), encoding="utf-8")
    asked = ("--request", "request.json", "--force")
    assert record(server.url, *asked).exit_code == 0
    assert record(server.url, *asked, "-m", "m", "--param", "timeout=2").exit_code == 0
    assert record(server.url, *asked, "Hello?").exit_code == 0
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
def test_the_key_comes_from_the_environment_and_goes_nowhere_else(
    variable: str, adapter: str, server: RawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "sk-secret")
    monkeypatch.setenv("ANTHROPIC_BASE_URL", server.url)
    servers = [{"type": "url", "name": "s", "url": "u", "authorization_token": "tk-secret"}]
    result = sansio_stream(
        *("record", "-m", "m", "--adapter", adapter, "-o", "it"),
        *("--param", f"mcp_servers={json.dumps(servers)}", "--trace", "Hello?"),
    )
    assert result.exit_code == 0
    (request,) = server.requests
    header, value = SENT_AS[variable]
    assert request.headers[header] == value
    assert request.json["mcp_servers"] == servers
    for said in (result.stdout, result.stderr, Path("it").read_text(encoding="utf-8")):
        assert "secret" not in said


@pytest.mark.parametrize(
    ("args", "said"),
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
            ["-m", "m", "--events", "--trace", "Hello?"],
            "use only one of --events, --message and --trace",
        ),
    ],
)
def test_wrong_usage_is_status_2_and_leaves_no_file(args: list[str], said: str) -> None:
    pytest.importorskip("h11", reason="the adapter for sockets stands on h11")
    Path("object").write_text("{}", encoding="utf-8")
    Path("list").write_text("[]", encoding="utf-8")
    Path("deep").write_text("[" * 100_000, encoding="utf-8")
    Path("rubbish").write_text("rubbish", encoding="utf-8")
    result = record("http://127.0.0.1:1", *args)
    assert result.exit_code == 2
    assert said in " ".join(result.stderr.split())
    assert not Path("it").exists()


def test_a_prompt_that_is_not_utf8_is_status_2() -> None:
    pytest.importorskip("h11", reason="the adapter for sockets stands on h11")
    result = record("http://127.0.0.1:1", "-m", "m", data=b"\xff")
    assert result.exit_code == 2
    assert "the prompt is not UTF-8" in result.stderr


def test_nobody_at_a_terminal_is_left_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    with pytest.raises(UsageError, match="the prompt is missing"):
        _record.prompted(None, None)


# The file.


def test_an_older_file_is_replaced_only_if_asked_and_only_by_an_answer(
    example_server: str,
) -> None:
    pytest.importorskip("h11", reason="the adapter for sockets stands on h11")
    older = b"something older, and longer than what replaces it: " * 1000
    Path("it").write_bytes(older)
    asked = ("-m", "text", "--max-retries", "0", "Hello?")
    result = record(example_server, *asked)
    assert (result.exit_code, result.stdout) == (2, "")
    assert (
        result.stderr == "sansio-stream: it: the file already exists; use --force to replace it\n"
    )
    assert record(example_server, *asked, "--force", "--header", "x-fault: 401").exit_code == 1
    assert Path("it").read_bytes() == older
    assert record(example_server, *asked, "--force").exit_code == 0
    assert recorded().body == example("text").body


def test_without_a_name_a_recording_is_named_by_the_time(server: RawServer, folder: Path) -> None:
    result = sansio_stream("record", "-m", "m", "--base-url", server.url, "Hello?")
    assert result.exit_code == 0
    (path,) = folder.iterdir()
    assert re.fullmatch(r"answer-\d{8}-\d{6}\.capture\.jsonl", path.name)
    assert f"sansio-stream replay {path.name}\n" in result.stderr


def test_the_name_can_be_copied_into_a_shell(server: RawServer) -> None:
    result = record(server.url, "-o", "it is.jsonl", "-m", "m", "Hello?")
    assert "sansio-stream replay 'it is.jsonl'\n" in result.stderr


def test_a_file_that_cannot_be_made_is_status_2(server: RawServer) -> None:
    for name, reason in (("no/where", "No such file or directory"), (".", "Is a directory")):
        result = record(server.url, "-m", "m", "-o", name, "--force", "Hello?")
        assert result.exit_code == 2
        assert reason in result.stderr
    assert server.requests == []


@pytest.mark.parametrize("free", [0, 200])
def test_a_full_disk_ends_the_recording_and_not_the_answer_and_what_was_written_stays_readable(
    server: RawServer, monkeypatch: pytest.MonkeyPatch, free: int
) -> None:
    room = [free]

    class Disk(io.FileIO):
        """Has room for some bytes; in the last call there is room for a part."""

        def write(self, data: Any, /) -> int:
            if not room[0]:
                raise OSError(28, "No space left on device")
            written = super().write(bytes(data)[: room[0]])
            room[0] -= written
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


def test_without_being_told_it_takes_the_first_that_is_installed(
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


def test_what_else_is_missing_is_a_fault_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sansio_stream_adapters.sockets", None)
    with pytest.raises(ModuleNotFoundError, match="sockets"):
        _record.client_of("sockets", {})


# The process: signals.

COMMAND: Final = [sys.executable, "-m", "sansio_stream_adapters.cli"]


@contextmanager
def command(*args: str) -> Iterator["subprocess.Popen[bytes]"]:
    """Run the real command; what is left of it is ended."""
    path = os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "adapters")])
    process = subprocess.Popen(
        [*COMMAND, *args],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": path},
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def holds(begun: bytes, name: str = "it") -> bool:
    """Whether a recording has what has come, with its last line whole."""
    path = Path(name)
    data = path.read_bytes() if path.exists() else b""
    return data.endswith(b"\n") and parse_capture(data).body == begun


def test_an_interruption_keeps_what_has_come(
    adapter: str, raw_server: Callable[..., RawServer]
) -> None:
    begun = body(*HELLO[:5])
    server = raw_server([head(), chunk(begun), Do.WAIT])
    asked = ("--base-url", server.url, "--adapter", adapter, "-m", "m", "-o", "it", "Hello?")
    with command("record", *asked) as process:
        assert process.stdout is not None
        shown = b""
        while "\N{PARTY POPPER}".encode() not in shown:
            shown += os.read(process.stdout.fileno(), 4096)
        wait_until_it_waits(process.pid)
        process.send_signal(signal.SIGINT)
        rest, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    server.wait_until_closed()
    kept = recorded()
    assert kept.body == begun
    assert kept.end is not None
    assert kept.end.error == "closed by the reader"
    again = sansio_stream("replay", "it")
    assert (shown + rest).decode() == again.stdout
    assert said.decode().splitlines() == [
        "sansio-stream: interrupted",
        "sansio-stream: the answer is recorded; show it again with: sansio-stream replay it",
    ]


def test_an_interruption_before_the_answer_leaves_no_file(
    adapter: str, raw_server: Callable[..., RawServer]
) -> None:
    server = raw_server([Do.WAIT])
    asked = ("--base-url", server.url, "--adapter", adapter, "-m", "m", "-o", "it", "Hello?")
    with command("record", *asked) as process:
        wait_until(lambda: server.requests, "the request has come")
        wait_until_it_waits(process.pid)
        process.send_signal(signal.SIGINT)
        shown, said = process.communicate(timeout=PATIENCE)
    assert (process.returncode, shown) == (130, b"")
    assert said == b"sansio-stream: interrupted before an answer arrived\n"
    assert not Path("it").exists()


def test_an_interruption_in_a_group_of_trios_is_one() -> None:
    trio = pytest.importorskip("trio", reason="trio makes the groups")

    async def connecting() -> None:
        async with trio.open_nursery():
            raise KeyboardInterrupt

    async def failing() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(connecting)
            raise ZeroDivisionError

    with pytest.raises(KeyboardInterrupt):
        _record.run_trio(connecting)
    with pytest.raises(BaseExceptionGroup) as caught:
        _record.run_trio(failing)
    assert caught.value.subgroup(ZeroDivisionError) is not None


def test_a_killed_recording_is_readable_up_to_the_cut(
    adapter: str, raw_server: Callable[..., RawServer]
) -> None:
    begun = body(*HELLO[:5])
    server = raw_server([head(), chunk(begun), Do.WAIT])
    asked = ("--base-url", server.url, "--adapter", adapter, "-m", "m", "-o", "it", "Hello?")
    with command("record", *asked) as process:
        wait_until(lambda: holds(begun), "what has come is recorded")
        process.kill()
        process.communicate()
    assert process.returncode == -signal.SIGKILL
    kept = recorded()
    assert kept.body == begun
    assert kept.end is None
    assert kept.header.request is not None
    again = sansio_stream("replay", "it")
    assert again.exit_code == 1
    assert "TRUNCATED" in again.stderr
    assert "the recording file is cut off here" in again.stderr
    assert "the message began and was cut" in again.stdout


def test_an_output_that_is_full_ends_it_and_the_recording_says_why(server: RawServer) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("/dev/full is not there")
    line = f"exec {sys.executable} -m sansio_stream_adapters.cli record -m m -o it "
    line += f"--adapter sockets --base-url {server.url} Hello? >/dev/full"
    path = os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "adapters")])
    done = subprocess.run(
        ["sh", "-c", line],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert done.returncode == 2
    assert b"the output cannot be written: No space left on device" in done.stderr
    assert recorded().end is not None


# The page.

PAGE: Final = REPOSITORY / "docs" / "recording.md"


def test_the_page_shows_what_the_command_does(
    example_server: str, monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    pytest.importorskip("h11", reason="the adapter for sockets stands on h11")
    monkeypatch.setenv("ANTHROPIC_BASE_URL", example_server)
    bin_ = folder / "bin"
    bin_.mkdir()
    script = bin_ / "sansio-stream"
    script.write_text(f"#!{sys.executable}\nfrom sansio_stream_adapters.cli import main\nmain()\n")
    script.chmod(0o755)
    path = os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "adapters")])
    environment = {
        **os.environ,
        "PATH": os.pathsep.join([str(bin_), os.environ["PATH"]]),
        "PYTHONPATH": path,
    }
    asked = [
        command
        for block in blocks(PAGE)
        if block.not_run == "it needs a server"
        for command in commands(block)
    ]
    assert len(asked) > 2
    for step in asked:
        done = subprocess.run(
            ["sh", "-c", step.line], capture_output=True, text=True, check=False, env=environment
        )
        assert done.returncode == 0, done.stderr
        assert shows(step.shown, done.stdout + done.stderr), done.stdout + done.stderr
