"""The commands that show a stream read it while it arrives, save it, and survive every ending."""

import json
import os
import re
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from rich.cells import cell_len

from commands import CONTROLS, capture, command
from processes import COLOURS, COMMAND, Fork, Start, read_until
from sansio_stream.capture import CaptureEnd, CaptureHeader, Chunk, parse_capture
from sansio_stream_tools import _main, _progress, _recording_file, _report, _rows, _showing
from sansio_stream_tools._demo import DEMO
from sansio_stream_tools._reading import Reading
from sansio_stream_tools.sources import Source, SourceError, SourceLimits
from servers import PATIENCE, wait_until_it_waits
from shared_data import REPOSITORY
from test_cli import CUT, DIRTY, replay
from tracing import peak_of
from wire import HELLO, MESSAGE_STOP, PING, body, message_delta, message_start, text

pty = pytest.importorskip("pty", reason="a terminal is needed")

# The name of a command, and its options.
VIEWS = [
    ["replay"],
    ["replay", "--events"],
    ["trace"],
    ["trace", "--json"],
]


# Live.


@pytest.mark.parametrize(
    ("view", "kind"),
    [*((view, "body") for view in VIEWS), (["replay"], "capture")],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_each_event_is_shown_before_the_next_one_is_sent(
    fork: Fork, view: list[str], kind: str
) -> None:
    process = fork(*view, "-", stdin=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    whole = [body(*HELLO[:4]), body(HELLO[4]), body(*HELLO[5:])]
    if kind == "capture":
        lines = capture(*((0.1, data) for data in whole)).splitlines(keepends=True)
        whole = [lines[0] + lines[1], lines[2], lines[3] + lines[4]]
    shown = b""
    for data, word in zip(whole, (b"Hel", b"lo, w"), strict=False):
        process.stdin.write(data)
        process.stdin.flush()
        shown = read_until(process.stdout.fileno(), word, seen=shown)
    stdout, stderr = process.communicate(whole[2], timeout=PATIENCE)
    assert process.returncode == 0
    assert stderr == b""
    assert b"COMPLETE" in stdout or "--events" in view or "--json" in view


def test_a_stream_on_standard_input_can_be_saved_while_it_is_shown(
    fork: Fork, tmp_path: Path
) -> None:
    saved = tmp_path / "saved.capture.jsonl"
    process = fork("replay", "--save", str(saved), "-", stdin=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(body(*HELLO[:4]))
    process.stdin.flush()
    shown = read_until(process.stdout.fileno(), b"Hel")
    # Each line is passed to the system at once, so a crash loses none of them.
    assert parse_capture(saved.read_bytes()).body == body(*HELLO[:4])
    stdout, _ = process.communicate(body(*HELLO[4:]), timeout=PATIENCE)
    recorded = parse_capture(saved.read_bytes())
    assert recorded.body == body(*HELLO)
    times = [chunk.at for chunk in recorded.chunks]
    assert None not in times
    assert times == sorted(times, key=lambda at: at or 0.0)
    assert recorded.end is not None
    assert stat.S_IMODE(saved.stat().st_mode) == 0o600
    # The file shows the same, and with the same times.
    assert command("replay", str(saved), columns=80).stdout.encode() == shown + stdout


def test_saving_keeps_the_times_and_leaves_out_credentials(tmp_path: Path) -> None:
    lines = capture((0.25, body(*HELLO[:4])), (7.5, body(*HELLO[4:]))).splitlines(keepends=True)
    header = {"status": 200, "headers": {"x-api-key": "sk-1"}, "request": {"api_key": "sk-2"}}
    lines[0] = json.dumps({"sansio_stream_capture": 1, **header}).encode() + b"\n"
    saved = tmp_path / "saved"
    assert command("trace", "--save", str(saved), "-", data=b"".join(lines)).exit_code == 0
    recorded = parse_capture(saved.read_bytes())
    assert [chunk.at for chunk in recorded.chunks] == [0.25, 7.5]
    assert recorded.end == CaptureEnd(7.5, None)
    assert b"sk-" not in saved.read_bytes()


def test_saving_replaces_a_file_only_with_force(tmp_path: Path) -> None:
    saved = tmp_path / "saved"
    saved.write_text("precious")
    result = command("replay", "--save", str(saved), "-", data=body(*HELLO))
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "the file already exists; use --force to replace it" in result.stderr
    assert saved.read_text() == "precious"
    assert command("replay", "--save", str(saved), "--force", "-", data=capture()).exit_code == 1
    assert command("replay", "--save", str(saved), "--force", DIRTY).exit_code == 0
    assert saved.read_bytes().startswith(b'{"sansio_stream_capture"')
    target = tmp_path / "target"
    (tmp_path / "link").symlink_to(target)
    result = command("replay", "--save", str(tmp_path / "link"), "--force", DIRTY)
    assert result.exit_code == 2
    assert "symbolic link" in result.stderr
    assert not target.exists()


def test_a_broken_stream_is_saved_to_its_end(tmp_path: Path) -> None:
    saved = tmp_path / "saved"
    data = capture((0.1, b"event: message_start\ndata: {\n\n"), (0.2, body(*HELLO)))
    assert command("replay", "--save", str(saved), "-", data=data).exit_code == 1
    assert parse_capture(saved.read_bytes()).body == parse_capture(data).body


def test_only_one_stream_is_saved(tmp_path: Path) -> None:
    saved = tmp_path / "saved"
    result = command("replay", "--save", str(saved), DIRTY, CUT)
    assert result.exit_code == 2
    assert "`sansio-stream convert` writes every stream to a file of its own" in result.stderr
    assert "TRUNCATED" in result.stdout
    assert parse_capture(saved.read_bytes()).body == parse_capture(Path(DIRTY).read_bytes()).body


def test_a_disk_that_is_full_does_not_stop_the_view(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(_recording_file.PrivateFile, "_write_all", full)
    result = command("replay", "--save", str(tmp_path / "saved"), DIRTY)
    assert result.exit_code == 2
    assert "the recording is incomplete: No space left on device" in result.stderr
    assert "UNTERMINATED" in result.stdout


def test_arrival_times_are_only_given_to_chunks_without_times() -> None:
    now = iter([10.0, 10.5, 12.0])
    clock = _showing.ArrivalClock(lambda: next(now))
    chunks = [Chunk(None, b"a"), Chunk(7.0, b"b")]
    assert list(clock.chunks(chunks)) == [Chunk(0.5, b"a"), Chunk(7.0, b"b")]
    assert clock.end(CaptureEnd(None, None)) == CaptureEnd(2.0, None)
    assert clock.end(None) is None
    assert "time" in command("trace", "--arrival-times", "-", data=body(*HELLO)).stdout
    assert "time" not in command("trace", "-", data=body(*HELLO)).stdout


# Several streams, hints, and files that fail while they are read.


@pytest.fixture
def sources(monkeypatch: pytest.MonkeyPatch) -> list[Callable[[], Source]]:
    """A list of functions, each of which makes one source of every file that is opened."""
    makers: list[Callable[[], Source]] = []

    def opened(name: str, limits: SourceLimits | None = None, **_: Any) -> Iterator[Source]:
        for make in makers:
            yield make()

    for module in (_showing, _rows, _report):
        monkeypatch.setattr(module, "open_sources", opened)
    return makers


def source(
    name: str, *chunks: bytes, hints: tuple[str, ...] = (), failure: Exception | None = None
) -> Source:
    def pieces() -> Iterator[Chunk]:
        for data in chunks:
            yield Chunk(None, data)
        if failure is not None:
            raise failure

    return Source(name, "HAR", CaptureHeader(), pieces(), CaptureEnd(None, None), hints)


def test_several_streams_of_a_file_have_headings_and_an_overview(
    sources: list[Callable[[], Source]],
) -> None:
    sources += [lambda: source("x.har#1", body(*HELLO)), lambda: source("x.har#2", b"")]
    result = command("replay", "x.har")
    assert re.findall(r"═ (\S+) ═", result.stdout) == ["x.har#1", "x.har#2", "overview"]
    assert "2 streams: 1 COMPLETE, 1 EMPTY\nx.har#2: EMPTY: " in result.stdout
    assert result.exit_code == 1
    # JSON has no headings.
    lines = command("replay", "--events", "x.har").stdout.splitlines()
    assert [json.loads(line) for line in lines] == list(HELLO)


def test_a_hint_is_printed_once(sources: list[Callable[[], Source]]) -> None:
    hint = "the lines were indented"
    sources += [partial(source, f"x#{n}", body(*HELLO), hints=(hint,)) for n in (1, 2)]
    for view in (["replay"], ["trace"], ["report"]):
        result = command(*view, "x")
        assert result.stderr == f"sansio-stream: x#1: {hint}\n"


def test_a_file_that_fails_shows_what_was_read_and_then_the_reason(
    sources: list[Callable[[], Source]],
) -> None:
    failure = SourceError("line 7 is damaged")
    sources.append(lambda: source("x", body(*HELLO[:4]), failure=failure))
    for view in (["replay"], ["trace"], ["report"]):
        result = command(*view, "x")
        assert result.exit_code == 2
        assert result.stderr == "sansio-stream: x: line 7 is damaged\n"
        assert "PENDING: the stream has not ended yet" in result.stdout
    # Nothing is shown of a file that cannot be read at all.
    sources[0] = lambda: source("x", failure=failure)
    for view in (["replay"], ["replay", "--message"], ["trace"], ["report"]):
        result = command(*view, "x")
        assert (result.exit_code, result.stdout) == (2, "")
        assert result.stderr == "sansio-stream: x: line 7 is damaged\n"


def test_a_fatal_error_ends_the_reading(sources: list[Callable[[], Source]]) -> None:
    failure = SourceError("more was read")
    sources.append(lambda: source("x", b"event: message_start\ndata: {\n\n", failure=failure))
    result = command("replay", "x")
    assert result.exit_code == 1
    assert "BROKEN: " in result.stdout
    assert result.stderr == ""


def test_the_limits_reach_the_machine_and_the_file(
    sources: list[Callable[[], Source]], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Any] = []

    def remember(name: str, limits: SourceLimits | None = None, **_: Any) -> Iterator[Source]:
        opened.append(limits)
        yield source(name, body(*HELLO))

    for module in (_showing, _report):
        monkeypatch.setattr(module, "open_sources", remember)
    limits = ("--limit", "file_bytes=2KiB", "--limit", "blocks=1", "--limit", "event_bytes=30")
    for view in (["replay"], ["trace"], ["report"]):
        result = command(*view, *limits, "x")
        assert result.exit_code == 1
        assert "BROKEN" in result.stdout
        assert opened.pop() == SourceLimits(file_bytes=2048)


# Memory.


def test_a_long_stream_is_not_kept() -> None:
    piece = body(*[PING] * 10) + b": " + b"x" * 4_000 + b"\n\n"

    def read() -> None:
        reading = Reading(CaptureHeader())
        reading.keep_frames()
        reading.observe()
        for _ in range(500):
            for _ in reading.feed(Chunk(None, piece)):
                pass

    read()  # the first run also fills caches
    assert peak_of(read) < 300_000  # the stream has two megabytes


# Terminals.


def on_terminal(fork: Fork, *args: str, env: Mapping[str, str] | None = None) -> tuple[int, str]:
    """Run the command on a terminal. Return its exit status and its output."""
    our_end, its_end = pty.openpty()
    settings = {"COLUMNS": "80", "TERM": "xterm", **(env or {})}
    process = fork(*args, stdout=its_end, stderr=its_end, env=settings)
    os.close(its_end)
    output = b""
    try:
        while piece := os.read(our_end, 65_536):
            output += piece
    except OSError:
        pass  # Linux reports that the other end is closed
    os.close(our_end)
    return process.wait(timeout=PATIENCE), output.decode("utf-8", "replace")


@pytest.mark.parametrize("columns", [40, 60, 80, 100, 140])
@pytest.mark.parametrize(
    "args",
    [["replay", "-v", DIRTY], ["replay", DIRTY, CUT], ["trace", CUT], ["report", DIRTY]],
    ids=" ".join,
)
def test_the_output_fits_the_width(args: list[str], columns: int) -> None:
    args = [arg.replace(str(Path(DIRTY).parent.parent), ".") for arg in args]
    lines = command(*args, columns=columns).stdout.splitlines()
    # In a pipe, the text of an answer is not wrapped.
    shown = [line for line in lines if args[0] != "replay" or re.match(r"[│╭╰═]", line)]
    assert shown
    assert max(map(cell_len, shown)) <= columns


@pytest.mark.parametrize("name", ["replay", "trace", "report", "convert"])
def test_help_fits_60_columns(name: str) -> None:
    result = CliRunner().invoke(_main.command, [name, "--help"], terminal_width=60)
    lines = result.stdout.splitlines()
    assert max(map(len, lines)) <= 60
    assert "Exit status:" in " ".join(lines)


@pytest.mark.parametrize(
    ("env", "has_colours"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)],
    ids=["colour", "no colour", "dumb"],
)
def test_a_terminal_gets_only_the_escape_sequences_that_it_knows(
    fork: Fork, env: dict[str, str], has_colours: bool
) -> None:
    status, output = on_terminal(fork, "trace", DIRTY, env=env)
    assert status == 0
    colours = re.findall(r"\x1b\[[0-9;]*m", output)
    assert any(re.search(r"[\[;]3[0-7][m;]", each) for each in colours) == has_colours
    assert CONTROLS.search(COLOURS.sub("", output.replace("\r\n", "\n"))) is None
    assert "UNTERMINATED: " in output
    if env.get("TERM") == "dumb":
        assert colours == []


def test_a_locale_without_utf8_replaces_characters(start: Start) -> None:
    process = start(
        *("report", DIRTY, CUT),
        command=[sys.executable, "-X", "utf8=0", *COMMAND[1:]],
        env={"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"},
    )
    stdout, stderr = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert stdout.isascii()
    assert stderr == b""


def test_a_progress_bar_is_shown_only_where_nothing_else_is(fork: Fork, tmp_path: Path) -> None:
    long = tmp_path / "long.sse"
    long.write_bytes(body(message_start(), *[PING] * 5_000, message_delta(), MESSAGE_STOP))
    _, shown = on_terminal(fork, "replay", "--message", str(long))
    assert "long.sse"[-8:] in shown
    assert "━" in shown
    # Another program may show what comes through a pipe, on the same terminal.
    our_end, its_end = pty.openpty()
    process = fork("replay", "--events", CUT, stderr=its_end, env={"TERM": "xterm"})
    process.communicate(timeout=PATIENCE)
    os.write(its_end, b"end")
    assert "━" not in read_until(our_end, b"end").decode()
    os.close(its_end)
    os.close(our_end)
    _, dumb = on_terminal(fork, "replay", "--message", str(long), env={"TERM": "dumb"})
    assert "━" not in dumb


def test_the_bar_shows_the_position_in_the_file() -> None:
    position = _progress.FilePosition()

    def read() -> Iterator[Chunk]:
        for _ in range(3):
            position.add(b"x" * 70_000)
            yield Chunk(None, b"x" * 700_000)  # the file is compressed

    bar = _progress.ProgressBar(is_shown=False, total=100)
    with bar:
        bar.name("x")
        assert sum(len(chunk.data) for chunk in bar.watch(read(), position)) == 2_100_000
    assert bar._shown == 210_000  # no public name shows the count


# Interruptions.


@pytest.mark.parametrize("view", [["replay"], ["trace"], ["report"]], ids=" ".join)
def test_an_interruption_shows_the_summary_so_far(fork: Fork, view: list[str]) -> None:
    process = fork(*view, "-", stdin=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(body(*HELLO[:4]))
    process.stdin.flush()
    if view != ["report"]:
        read = read_until(process.stdout.fileno(), b"Hel")
        assert b"PENDING" not in read
    else:
        wait_until_it_waits(process.pid)
        # The first chunk is not visible, but a process that waits with an empty pipe has read it.
        wait_until_empty(process.stdin.fileno())
        wait_until_it_waits(process.pid)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert stderr == b"sansio-stream: interrupted\n"
    assert b"PENDING: the stream has not ended yet" in stdout
    assert b"Traceback" not in stderr


def wait_until_empty(descriptor: int) -> None:
    """Return when everything that was written to a pipe has been read."""
    import array
    import fcntl
    import termios

    count = array.array("i", [1])
    while count[0]:
        fcntl.ioctl(descriptor, termios.FIONREAD, count)


def test_an_interrupted_recording_counts_as_cut_off(fork: Fork, tmp_path: Path) -> None:
    saved = tmp_path / "saved"
    process = fork("trace", "--save", str(saved), "-", stdin=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(body(*HELLO[:4]))
    process.stdin.flush()
    read_until(process.stdout.fileno(), b"Hel")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=PATIENCE)
    recorded = parse_capture(saved.read_bytes())
    assert (recorded.body, recorded.end) == (body(*HELLO[:4]), None)


def test_words_of_a_long_answer_are_shown_before_its_end_on_a_terminal(fork: Fork) -> None:
    our_end, its_end = pty.openpty()
    process = fork("replay", "-", stdin=subprocess.PIPE, stdout=its_end, env={"TERM": "xterm"})
    os.close(its_end)
    assert process.stdin is not None
    process.stdin.write(body(*HELLO[:3], text(0, "One word ")))
    process.stdin.flush()
    read_until(our_end, b"One word")
    process.communicate(body(*HELLO[5:]), timeout=PATIENCE)
    os.close(our_end)


# The recording that comes with the command.


def test_the_demo_is_one_of_the_examples() -> None:
    example = REPOSITORY / "examples" / "thinking-and-tool-use.capture.jsonl"
    assert example.read_bytes() == DEMO
    shown = replay("--demo", "--events")
    assert (shown.exit_code, shown.stdout) == (0, replay(str(example), "--events").stdout)


def test_a_file_or_the_demo_must_be_given_and_not_both() -> None:
    for arguments in ((), ("--demo", "a.sse")):
        result = replay(*arguments)
        assert result.exit_code == 2
        assert "give at least one FILE, or --demo and no FILE" in result.stderr
