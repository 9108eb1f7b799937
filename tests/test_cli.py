"""The command shows what is in a capture, on terminals and in pipes; its status is reliable."""

import base64
import io
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import IO, Any, ClassVar, Literal

import pytest
from click.testing import CliRunner, Result
from hypothesis import example, given, strategies as st
from rich.cells import cell_len
from rich.console import Console

from sansio_stream import StreamMachine, Verdict, event_from_dict
from sansio_stream.capture import CaptureHeader, CaptureWriter, Chunk, parse_capture
from sansio_stream.codec import WireObject, evolve, wire_object
from sansio_stream.events import (
    ContentBlockDeltaEvent,
    ContentBlockStartEvent,
    ContentBlockStopEvent,
    InputJSONDelta,
)
from sansio_stream.message import Block, InputBlock
from sansio_stream.payloads import message_from_dict
from sansio_stream.report import facts_of
from sansio_stream.transitions import State
from sansio_stream_adapters import cli
from sansio_stream_adapters._cut import recut, sizes_from
from sansio_stream_adapters.cli import _command
from sansio_stream_adapters.cli._json import Layout
from sansio_stream_adapters.cli._replay import Moment, Pace, Replay
from sansio_stream_adapters.cli._show import Show, Writer
from sansio_stream_adapters.cli._summary import unusable_inputs
from sansio_stream_adapters.cli._text import one_line, printable, to_json
from sansio_stream_adapters.cli._views import view_of
from servers import PATIENCE, wait_until_it_waits
from wire import (
    HELLO,
    MESSAGE_STOP,
    OVERLOADED,
    PING,
    block_start,
    block_stop,
    body,
    delta,
    frame,
    json_piece,
    message_delta,
    message_start,
    text,
    tool_start,
)

EXAMPLES = Path(__file__).parent.parent / "examples"
CAPTURES = sorted(EXAMPLES.glob("*.capture.jsonl"))
DIRTY = str(EXAMPLES / "proxy-dirty.capture.jsonl")
CUT = str(EXAMPLES / "cut-stream.capture.jsonl")

# What a shell may have set must not decide about colours and widths here.
ENVIRONMENT: dict[str, str | None] = {
    "COLUMNS": "100",
    "FORCE_COLOR": None,
    "NO_COLOR": None,
    "TTY_COMPATIBLE": None,
    "TTY_INTERACTIVE": None,
}

CONTROLS = re.compile(r"[\0-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def replay(*args: str, data: bytes | None = None) -> Result:
    """Run the command in this process; `data` is a file of its own, or standard input for `-`."""
    runner = CliRunner(env=ENVIRONMENT)
    return runner.invoke(_command.command, ["replay", *args], input=data, catch_exceptions=False)


def capture(
    *chunks: tuple[float, bytes], end: str | None = None, status: int | None = 200
) -> bytes:
    """A capture that ended, by an error or not."""
    writer = CaptureWriter(CaptureHeader(status=status))
    lines = [writer.begin(), *(writer.chunk(data, at) for at, data in chunks)]
    return b"".join([*lines, writer.end(chunks[-1][0] if chunks else 0, end)])


def tool_call(*pieces: str, **members: Any) -> bytes:
    """An answer that is one tool call."""
    deltas = (json_piece(0, piece) for piece in pieces)
    return body(
        message_start(),
        tool_start(0, **members),
        *deltas,
        block_stop(0),
        message_delta("tool_use"),
        MESSAGE_STOP,
    )


def block_only(block: dict[str, Any], *deltas: dict[str, Any]) -> bytes:
    """An answer that is one block."""
    return body(
        message_start(),
        block_start(0, block),
        *deltas,
        block_stop(0),
        message_delta(),
        MESSAGE_STOP,
    )


# Exit statuses.

ENDS = {
    Verdict.COMPLETE: (body(*HELLO), 0),
    Verdict.UNTERMINATED: (body(*HELLO[:-1]), 0),
    Verdict.DAMAGED: (body(*HELLO[:4]) + b"data: {\n\n" + body(*HELLO[5:]), 1),
    Verdict.TRUNCATED: (body(*HELLO[:4]), 1),
    Verdict.EMPTY: (b"", 1),
    Verdict.ERRORED: (body(*HELLO[:4], OVERLOADED), 1),
    Verdict.BROKEN: (b"event: message_start\ndata: {\n\n", 1),
    Verdict.NOT_AN_EVENT_STREAM: (b"<html>", 1),
}


@pytest.mark.parametrize("verdict", ENDS)
@pytest.mark.parametrize("view", [[], ["-v"], ["--events"], ["--message"], ["--trace"]])
def test_the_exit_status_tells_a_message_from_none(verdict: Verdict, view: list[str]) -> None:
    data, status = ENDS[verdict]
    result = replay("-", *view, data=data)
    assert result.exit_code == status
    if verdict is Verdict.COMPLETE:
        assert result.stderr == ""
    elif verdict is Verdict.UNTERMINATED:
        assert "message_stop is missing" in result.stderr
    else:
        assert f"-: {verdict.name}: " in result.stderr


def test_every_verdict_of_an_end_has_a_status() -> None:
    assert {*ENDS, Verdict.PENDING} == set(Verdict)


def test_a_trace_says_which_violation_lost_content() -> None:
    result = replay("-", "--trace", data=ENDS[Verdict.DAMAGED][0])
    (lost,) = (part for part in result.stdout.split("! ") if "content was lost" in part)
    assert lost.startswith("undecodable_payload")


def test_the_reason_says_what_the_server_sent() -> None:
    result = replay("-", data=ENDS[Verdict.ERRORED][0])
    assert "overloaded_error: Overloaded" in result.stderr
    assert "The server sent an error: overloaded_error: Overloaded" in result.stdout


def test_the_reason_says_where_it_broke() -> None:
    result = replay("-", data=b": hi\n\nevent: message_start\ndata: {\n\n")
    assert "frame 1, byte 6" in result.stderr


@pytest.mark.parametrize("view", [[], ["--events"], ["--message"], ["--trace"]])
def test_strict_refuses_any_violation(view: list[str]) -> None:
    dirty = body(*HELLO[:4], *HELLO[3:])
    odd = dirty.replace(b"event: ping\n", b"")
    assert replay("-", *view, data=odd).exit_code == 0
    result = replay("-", "--strict", *view, data=odd)
    assert result.exit_code == 1
    assert "no `event:` line" in result.stderr


@pytest.mark.parametrize(
    ("after", "said"),
    [(b"data: [DONE]\n\n", "[DONE]"), (b"event: ping\nda", "ended inside a frame")],
)
def test_strict_refuses_a_violation_after_the_message(after: bytes, said: str) -> None:
    data = body(*HELLO) + after
    assert replay("-", data=data).exit_code == 0
    result = replay("-", "--strict", data=data)
    assert result.exit_code == 1
    assert said in result.stderr


def test_strict_needs_message_stop() -> None:
    assert replay("-", "--strict", data=body(*HELLO[:-1])).exit_code == 1
    assert replay("-", "--strict", data=body(*HELLO)).exit_code == 0


def test_what_breaks_after_the_message_is_remarked_and_no_failure() -> None:
    result = replay("-", data=body(*HELLO) + b"event: message_start\ndata: {\n\n")
    assert result.exit_code == 0
    assert "after the message: the data of message_start cannot be read" in result.stderr
    assert "after the message: the data of message_start cannot be read" in result.stdout


def test_a_recorded_connection_error_is_the_reason() -> None:
    data = capture((0.1, body(*HELLO[:4])), end="ReadError('reset by peer')")
    result = replay("-", data=data)
    assert result.exit_code == 1
    assert "TRUNCATED: the message began and was cut: ReadError('reset by peer')" in result.stderr
    assert "ReadError('reset by peer')" in result.stdout


def test_a_connection_that_was_lost_after_the_message_is_remarked() -> None:
    result = replay("-", data=capture((0.1, body(*HELLO)), end="ReadError()"))
    assert result.exit_code == 0
    assert "the connection was lost: ReadError()" in result.stderr


def test_a_recording_that_was_cut_counts_as_a_lost_connection() -> None:
    whole = capture((0.1, body(*HELLO[:4])), (0.2, body(*HELLO[4:])))
    lines = whole.splitlines(keepends=True)
    result = replay("-", data=b"".join([*lines[:2], lines[2][:30]]))
    assert result.exit_code == 1
    assert "the recording file is cut off here" in result.stderr
    assert "Hel" in result.stdout


def test_of_several_files_the_worst_status_counts(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.sse", tmp_path / "bad.sse"
    good.write_bytes(body(*HELLO))
    bad.write_bytes(b"")
    missing = str(tmp_path / "missing.sse")
    assert replay(str(good), str(good)).exit_code == 0
    assert replay(str(good), str(bad), str(good)).exit_code == 1
    result = replay(missing, str(bad), str(good))
    assert result.exit_code == 2
    assert "Hello, wörld" in result.stdout  # one that fails stops no other
    for name in ("good.sse", "bad.sse", "missing.sse"):
        assert f"{name} ═" in result.stdout


def test_views_for_pipes_have_no_headings() -> None:
    result = replay("--message", DIRTY, CUT)
    first, second = result.stdout.split("\n}\n")[:2]
    assert json.loads(first + "}")["stop_reason"] == "tool_use"
    assert json.loads(second + "}")["stop_reason"] is None


@pytest.mark.parametrize(
    "args",
    [
        [],
        ["--speed", "0", DIRTY],
        ["--speed", "nan", DIRTY],
        ["--speed", "quick", DIRTY],
        ["--cut", "0", DIRTY],
        ["--cut", "-1", DIRTY],
        ["--cut", "random", DIRTY],
        ["--cut", "random:", DIRTY],
        ["--cut", "²", DIRTY],
        ["--events", "--trace", DIRTY],
        ["--wrong", DIRTY],
    ],
)
def test_wrong_usage_is_status_2(args: list[str]) -> None:
    result = replay(*args)
    assert result.exit_code == 2
    assert "Usage: " in result.stderr


def test_an_unreadable_file_is_status_2(tmp_path: Path) -> None:
    for name, reason in (
        (tmp_path / "missing", "No such file or directory"),
        (tmp_path, "Is a directory"),
        ("a\0b", "null byte"),
    ):
        result = replay(str(name))
        assert result.exit_code == 2
        assert reason in result.stderr


def test_a_damaged_capture_is_status_2_and_says_where() -> None:
    result = replay("-", data=b'{"sansio_stream_capture": 1}\nrubbish\n{"at": 1, "end": "eof"}\n')
    assert result.exit_code == 2
    assert "-: line 2: not JSON" in result.stderr


# What kind of file.


def test_all_kinds_of_files_are_shown_alike(tmp_path: Path) -> None:
    kinds = {
        "capture": capture((0.1, body(*HELLO))),
        "body": body(*HELLO),
        "payloads": b"\n".join(json.dumps(payload).encode() for payload in HELLO),
    }
    shown: set[str] = set()
    for name, data in kinds.items():
        path = tmp_path / name
        path.write_bytes(data)
        shown.add(replay("--events", str(path)).stdout)
    assert len(shown) == 1
    assert replay("--events", "-", data=kinds["body"]).stdout in shown


# Events and messages for pipes.


@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: path.name)
def test_events_come_back_from_their_lines(path: Path) -> None:
    recorded = parse_capture(path.read_bytes())
    machine = StreamMachine()
    events = [event for chunk in recorded.chunks for event in machine.receive_data(chunk.data)]
    lines = replay("--events", str(path)).stdout.splitlines()
    read = [event_from_dict(json.loads(line)) for line in lines]
    assert [event.to_dict() for event in read] == [event.to_dict() for event in events]
    # Of a payload without a type nobody knows what it was, once its frame is gone.
    assert [event for event in read if event.to_dict()] == [
        event for event in events if event.to_dict()
    ]


@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: path.name)
@pytest.mark.parametrize("cut", ["1", "bytes", "7", "1000000", "random:7", "random:sea"])
def test_cutting_elsewhere_changes_no_event(path: Path, cut: str) -> None:
    plain = replay("--events", str(path))
    again = replay("--events", "--cut", cut, str(path))
    assert (again.stdout, again.stderr) == (plain.stdout, plain.stderr)


def test_the_message_is_json() -> None:
    result = replay("--message", "-", data=body(*HELLO))
    message = json.loads(result.stdout)
    assert message["content"] == [{"type": "text", "text": "Hello, wörld \N{PARTY POPPER}"}]


def test_a_partial_message_is_printed_and_the_status_says_it() -> None:
    result = replay("--message", "-", data=body(*HELLO[:4]))
    assert json.loads(result.stdout)["content"] == [{"type": "text", "text": "Hel"}]
    assert result.exit_code == 1


def test_no_message_is_null() -> None:
    assert json.loads(replay("--message", "-", data=b"").stdout) is None


def test_json_is_written_for_every_reader() -> None:
    value = {"a": "\ud83d\ude00 \ud83d \x1b\x9b\x7f Infinity", "b": [float("inf"), -float("inf")]}
    written = to_json(value)
    assert CONTROLS.search(written) is None
    assert json.loads(written) == {**value, "a": "\U0001f600 \ufffd \x1b\x9b\x7f Infinity"}
    assert re.findall(r"-?1e999", written) == ["1e999", "-1e999"]


def test_lone_surrogates_crash_no_view() -> None:
    data = body(*HELLO[:2], text(0, "\ud800 and \ud83d"), *HELLO[5:])
    for view in ([], ["--events"], ["--message"], ["--trace"]):
        assert replay("-", *view, data=data).exit_code == 0


# Re-cutting.


@given(st.lists(st.tuples(st.floats(0, 9), st.binary(max_size=9))), st.integers(1, 12))
def test_a_new_chunk_has_the_time_of_its_last_byte(
    pairs: list[tuple[float, bytes]], size: int
) -> None:
    chunks = [Chunk(at, data) for at, data in pairs]
    times = [at for at, data in pairs for _ in data]
    end = 0
    for chunk in recut(chunks, sizes_from(str(size))):
        end += len(chunk.data)
        assert chunk.at == times[end - 1]
        assert len(chunk.data) == size or end == len(times)
    assert b"".join(c.data for c in recut(chunks, sizes_from(str(size)))) == b"".join(
        data for _, data in pairs
    )


def test_random_sizes_are_those_of_the_seed() -> None:
    chunks = [Chunk(None, bytes(5000))]

    def sizes(seed: str) -> list[int]:
        return [len(chunk.data) for chunk in recut(chunks, sizes_from(f"random:{seed}"))]

    assert sizes("1") == sizes("1") != sizes("2")
    assert len(set(sizes("1"))) > 2


# Timing. No test measures time: the clock and the sleeper are ours.


class Bed:
    """A sleeper whose clock stands still while nobody sleeps."""

    def __init__(self) -> None:
        self.now = 100.0
        self.waits: list[float] = []
        self.told: list[str] = []

    def sleep(self, seconds: float) -> None:
        self.waits.append(round(seconds, 6))
        self.now += seconds

    def pace(self, speed: float, *, notify: Callable[[str], None] | None = None) -> Pace:
        notify = self.told.append if notify is None else notify
        return Pace(speed, clock=lambda: self.now, sleep=self.sleep, notify=notify)


TIMED = capture((1.0, body(*HELLO[:3])), (1.5, body(*HELLO[3:])), (1.5, b"\n"), (3.0, b"\n"))


@pytest.mark.parametrize(
    ("speed", "waits"), [(1, [1.0, 0.5, 1.5]), (2, [0.5, 0.25, 0.75]), (0.5, [2.0, 1.0, 3.0])]
)
def test_chunks_come_when_they_came(speed: float, waits: list[float]) -> None:
    bed = Bed()
    recorded = parse_capture(TIMED)
    for _ in Replay(recorded, recorded.chunks, pace=bed.pace(speed)).moments():
        pass
    assert bed.waits == waits


def test_time_that_was_lost_is_made_up_for() -> None:
    bed = Bed()
    pace = bed.pace(1)
    pace.wait_until(1)
    bed.now += 0.75
    pace.wait_until(2)
    bed.now += 5
    pace.wait_until(3)
    pace.wait_until(None)
    assert bed.waits == [1, 0.25]


def test_a_pause_of_years_is_cut_to_a_minute_and_told_and_the_next_ones_are_as_recorded() -> None:
    bed = Bed()
    pace = bed.pace(1)
    for at in (0, 60, 1e9, 1e9 + 2):
        pace.wait_until(at)
    assert bed.waits == [60, 60, 2]
    assert bed.told == ["a pause of 999,999,940 s is cut to 60 s"]
    slow = Bed()
    slow.pace(1e-300).wait_until(1e9)
    assert slow.waits == [60]


def test_the_note_of_a_cut_pause_is_on_stderr(monkeypatch: pytest.MonkeyPatch) -> None:
    bed = Bed()
    monkeypatch.setattr(_command, "Pace", bed.pace)
    result = replay("-", "--speed", "1", data=capture((1e9, body(*HELLO))))
    assert result.stderr == "sansio-stream: -: a pause of 1,000,000,000 s is cut to 60 s\n"
    assert bed.waits == [60]


@pytest.mark.parametrize(
    ("args", "is_terminal", "waits"),
    [
        ([], True, [1.0, 0.5, 1.5]),
        (["--speed", "2"], True, [0.5, 0.25, 0.75]),
        (["--speed", "max"], True, []),
        (["--events"], True, []),
        (["--trace"], True, []),
        ([], False, []),
        (["--speed", "2"], False, [0.5, 0.25, 0.75]),
        (["--events", "--speed", "1"], False, [1.0, 0.5, 1.5]),
    ],
)
def test_eyes_get_the_recorded_timing_and_pipes_what_they_ask_for(
    args: list[str], is_terminal: bool, waits: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    bed = Bed()
    monkeypatch.setattr(_command, "Pace", bed.pace)
    monkeypatch.setattr(_command, "is_terminal", lambda: is_terminal)
    assert replay("-", *args, data=TIMED).exit_code == 0
    assert bed.waits == waits


def test_a_body_without_times_never_waits() -> None:
    bed = Bed()
    recorded = parse_capture(body(*HELLO))
    for _ in Replay(recorded, recorded.chunks, pace=bed.pace(1)).moments():
        pass
    assert bed.waits == []


# The view.


def on_terminal(
    data: bytes, *, width: int = 60, verbose: bool = False, colour: bool = False
) -> str:
    """What a terminal of that width gets to see of a file."""
    file = io.StringIO()
    console = Console(
        file=file,
        force_terminal=True,
        width=width,
        color_system="truecolor" if colour else None,
        markup=False,
        emoji=False,
        highlight=False,
        _environ={},
    )
    played = Replay(recorded := parse_capture(data), recorded.chunks)
    view = view_of("show", played, console, verbose=verbose)
    view.begin()
    for moment in played.moments():
        view.see(moment)
    view.end()
    return COLOURS.sub("", file.getvalue()) if not colour else file.getvalue()


def test_text_in_a_pipe_is_the_text() -> None:
    poem = "a\tb  c\n\n    indented " + "long " * 50
    data = block_only({"type": "text", "text": ""}, *(text(0, piece) for piece in poem))
    assert poem in replay("-", data=data).stdout


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_a_terminal_gets_wrapped_words(size: int) -> None:
    poem = "  - The quick brown fox\njumps over " + "x" * 60 + " and 漢字漢字漢字 end"
    pieces = (text(0, poem[start : start + size]) for start in range(0, len(poem), size))
    data = block_only({"type": "text", "text": "So:\n"}, *pieces)
    shown = on_terminal(data, width=20)
    assert (
        "\n".join(
            [
                "  So:",
                "    - The quick",
                "    brown fox",
                "  jumps over",
                *["  " + "x" * 18] * 3,
                "  xxxxxx and",
                "  漢字漢字漢字 end",
            ]
        )
        in shown
    )


@given(
    st.lists(st.text(st.sampled_from('ab é漢🥧\n\t"{}[]:,\\n'), max_size=30), max_size=9),
    st.integers(1, 70),
    st.booleans(),
)
def test_no_line_is_wider_than_the_terminal_and_nothing_is_lost(
    pieces: list[str], width: int, hangs: bool
) -> None:
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=width, color_system=None, _environ={})
    writer = Writer(console)
    for piece in pieces:
        writer.write(piece, hang=2 if hangs else 0)
        writer.flush()
    writer.end_line()
    writer.flush()
    lines = file.getvalue().split("\n")
    assert all(cell_len(line) <= max(width, 20) for line in lines)
    assert "".join(file.getvalue().split()) == "".join("".join(pieces).split())


@given(st.text(st.sampled_from("ab c漢\n\t"), max_size=120), st.integers(1, 9))
@example("x" * 99, 7)
def test_wrapping_does_not_mind_how_the_text_came(sent: str, size: int) -> None:
    def wrapped(pieces: list[str]) -> str:
        file = io.StringIO()
        writer = Writer(Console(file=file, force_terminal=True, width=24, _environ={}))
        for piece in pieces:
            writer.write(piece)
            writer.flush()
        writer.end_line()
        writer.flush()
        return file.getvalue()

    assert wrapped([sent]) == wrapped(
        [sent[start : start + size] for start in range(0, len(sent), size)]
    )


def test_thoughts_are_dimmed_and_text_is_not() -> None:
    data = body(
        message_start(),
        block_start(0, {"type": "thinking", "thinking": "", "signature": ""}),
        delta(0, "thinking_delta", thinking="hmmmm "),
        delta(0, "signature_delta", signature="c2ln"),
        block_stop(0),
        block_start(1),
        text(1, "aloud "),
        block_stop(1),
    )
    shown = on_terminal(data, colour=True)
    assert re.search(r"\x1b\[2m *hmmmm", shown)
    assert re.search(r"\n *aloud", shown)


def test_each_block_has_a_heading() -> None:
    shown = replay(str(EXAMPLES / "web-search-with-citations.capture.jsonl")).stdout
    for heading in ("0 text", "1 server_tool_use web_search", "2 web_search_tool_result", "7 text"):
        assert re.search(rf"^{heading} ─+$", shown, re.MULTILINE)
    named = tool_call("{}", type="mcp_tool_use", server_name="git", name="log")
    assert "0 mcp_tool_use git/log ─" in replay("-", data=named).stdout


def test_tool_input_is_laid_out_as_it_grows() -> None:
    data = tool_call("", '{"a"', ": [1,", ' {}], "b": "x\\', 'n\\"y', '"', "}")
    laid_out = '{\n  "a": [\n    1,\n    {}\n  ],\n  "b": "x\\n\\"y"\n}\n'
    assert laid_out in replay("-", data=data).stdout
    assert '  "b": "x\\n\n'.replace("\n", "\n      ") in on_terminal(data)


def test_an_input_that_came_whole_is_shown_too() -> None:
    assert '{\n  "q": "now"\n}\n' in replay("-", data=tool_call(input={"q": "now"})).stdout
    assert "\n{}\n" in replay("-", data=tool_call("")).stdout


def test_a_broken_input_is_shown_as_it_is_and_named() -> None:
    result = replay("-", data=tool_call("I will", " look ", '{"a" 1}'))
    assert 'I will look {\n  "a" 1\n}' in result.stdout
    assert "The input is not valid JSON: " in result.stdout
    assert "lookup (content[0]) is invalid" in result.stdout
    assert result.exit_code == 0  # a whole message, whose input is data


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    ),
    st.lists(st.integers(1, 5)),
    st.booleans(),
)
def test_the_layout_of_a_value_is_that_value(
    value: Any, sizes: list[int], ascii_only: bool
) -> None:
    sent = json.dumps(value, ensure_ascii=ascii_only)
    layout = Layout()
    laid_out, at = "", 0
    for size in [*sizes, len(sent)]:
        laid_out += "".join(piece for piece, _ in layout.feed(sent[at : at + size]))
        at += size
    assert json.loads(laid_out) == value


@given(st.text('{}[],:"\\n 1'), st.integers(1, 9))
def test_the_layout_loses_nothing_but_spaces_and_does_not_mind_cuts(sent: str, size: int) -> None:
    whole, pieces = Layout(), Layout()
    once = "".join(piece for piece, _ in whole.feed(sent))
    cut = "".join(
        piece
        for start in range(0, len(sent), size)
        for piece, _ in pieces.feed(sent[start : start + size])
    )
    assert cut == once
    assert "".join(once.split()) == "".join(sent.split())


def test_deep_input_costs_no_square() -> None:
    pieces = list(Layout().feed("[" * 10_000))
    assert sum(len(piece) for piece, _ in pieces) < 10_000 * 60


def test_blocks_that_take_turns_say_so() -> None:
    data = body(
        message_start(),
        block_start(0),
        tool_start(1),
        text(0, "one"),
        json_piece(1, '{"a":'),
        text(0, "two"),
        block_stop(0),
        json_piece(1, "1}"),
        block_stop(1),
        message_delta("tool_use"),
        MESSAGE_STOP,
    )
    shown = replay("-", data=data).stdout
    headings = re.findall(r"^(\d .*?) ─+$", shown, re.MULTILINE)
    assert headings == [
        "0 text",
        "1 tool_use lookup",
        "0 text (continued)",
        "1 tool_use lookup (continued)",
        "0 text (continued)",
        "1 tool_use lookup (continued)",
    ]


RESULTS: list[tuple[dict[str, Any], str]] = [
    (
        {
            "type": "web_search_tool_result",
            "tool_use_id": "srvtoolu_1",
            "content": [
                {"type": "web_search_result", "title": "Ferries", "url": "https://a.example"},
                {"type": "web_search_result", "url": "https://b.example"},
                {"type": "web_search_result"},
                3,
            ],
        },
        "4 items: Ferries; https://b.example",
    ),
    (
        {
            "type": "web_search_tool_result",
            "content": {"type": "web_search_tool_result_error", "error_code": "max_uses_exceeded"},
        },
        "error_code max_uses_exceeded",
    ),
    (
        {
            "type": "bash_code_execution_tool_result",
            "content": {"type": "x", "stdout": "one\ntwo", "return_code": 0, "content": []},
        },
        "stdout one two, return_code 0, content 0 items",
    ),
    ({"type": "mcp_tool_result", "is_error": True, "content": "no"}, "is_error true, content no"),
    ({"type": "redacted_thinking", "data": "x" * 1234}, "1,234 encrypted characters"),
    ({"type": "compaction", "content": "We talked."}, "We talked."),
    ({"type": "container_upload", "file_id": "file_1"}, "file_id file_1"),
    (
        {"type": "fallback", "from": {"model": "large"}, "to": {"model": "small"}},
        "from large to small",
    ),
    ({"type": "hologram", "rays": [1, 2]}, "rays 2 items"),
]


@pytest.mark.parametrize(("block", "line"), RESULTS, ids=[line[:20] for _, line in RESULTS])
def test_a_block_that_came_whole_is_one_line(block: dict[str, Any], line: str) -> None:
    shown = replay("-", data=block_only(block)).stdout
    assert re.search(rf"^0 {block['type']} ─+\n *{re.escape(line)}\n", shown, re.MULTILINE)


def test_citations_follow_the_words_they_support() -> None:
    citation = {
        "type": "char_location",
        "cited_text": " Sundays: 17:40. ",
        "document_title": "Timetable",
        "document_index": 0,
    }
    data = block_only(
        {"type": "text", "text": "", "citations": [{"type": "odd"}]},
        delta(0, "citations_delta", citation=citation),
        text(0, "At 17:40."),
    )
    shown = replay("-", data=data).stdout
    assert "At 17:40.\n  [odd]\n  [Timetable] “Sundays: 17:40.”\n" in shown


def test_content_that_came_with_message_start_is_shown() -> None:
    data = body(message_start(content=[{"type": "text", "text": "at once"}]))
    assert re.search(r"^0 text ─+\nat once\n", replay("-", data=data).stdout, re.MULTILINE)


ODDITIES = body(
    message_start(),
    {"type": "route", "provider": 2},
    block_start(0, {"type": "compaction", "content": None}),
    PING,
    delta(0, "compaction_delta", content="Long ago."),
    delta(0, "vendor_delta", glow=1),
    delta(7, "text_delta", text="lost"),
    block_stop(0),
    block_start(1, {"type": "thinking", "thinking": "", "signature": ""}),
    delta(1, "signature_delta", signature="c2lnbmF0dXJl"),
    block_stop(1),
    message_delta(),
    MESSAGE_STOP,
) + frame("not an object", "odd")


def test_verbose_shows_what_the_answer_is_not_made_of() -> None:
    asides = [
        'unknown event route: {"type":"route","provider":2}',
        "ping",
        'unknown delta: {"type":"vendor_delta","glow":1}',
        "! unknown_index: a delta or a stop has an index at which no block started; the event",
        "signature, 12 characters",
        'unknown event odd: "not an object"',
        "! undecodable_payload: ",
    ]
    verbose, quiet = (replay("-", *args, data=ODDITIES).stdout for args in (["-v"], []))
    for aside in asides:
        assert f"\n  {aside}" in verbose
        assert f"\n  {aside}" not in quiet
    assert "Long ago." in quiet


# Classes of a later version of the vocabulary, of which no module of the command knows.


@wire_object
class VoiceBlock(Block):
    type: ClassVar[Literal["voice"]] = "voice"
    transcript: str
    speaker: str | None


@wire_object
class VoiceDelta(WireObject):
    type: ClassVar[Literal["voice_delta"]] = "voice_delta"
    transcript: str
    encrypted_audio: str | None = None
    milliseconds: int | None = None


@wire_object
class PluginUseBlock(InputBlock):
    type: ClassVar[Literal["plugin_use"]] = "plugin_use"
    id: str | None
    name: str | None
    input: dict[str, Any] | None


@wire_object
class NamelessUseBlock(InputBlock):
    type: ClassVar[Literal["nameless_use"]] = "nameless_use"
    input: dict[str, Any] | None


@wire_object
class FarewellEvent(WireObject):
    type: ClassVar[Literal["farewell"]] = "farewell"
    words: str


def shown_of(*events: Any, verbose: bool) -> str:
    console = Console(file=io.StringIO(), width=100, force_terminal=False)
    show = Show(console, verbose=verbose)
    for event in events:
        state = State.OPEN
        show.see(Moment(1, 0, 1, None, state, state, event, ()))
    show.end()
    shown: str = console.file.getvalue()  # type: ignore[attr-defined]
    return shown


def test_classes_that_the_command_does_not_know_are_shown() -> None:
    voice: Any = VoiceBlock("", None)
    deltas: list[Any] = [VoiceDelta("Hel"), VoiceDelta("lo!", "x" * 12, 250)]
    plugin: Any = PluginUseBlock("p1", "look\x1bup", {"q": 1})
    nameless: Any = NamelessUseBlock({})
    events = [
        ContentBlockStartEvent(0, voice),
        *(ContentBlockDeltaEvent(0, delta) for delta in deltas),
        ContentBlockStopEvent(0, content_block=voice),
        ContentBlockStartEvent(1, plugin),
        ContentBlockStopEvent(1, content_block=plugin),
        ContentBlockStartEvent(2, nameless),
        ContentBlockDeltaEvent(2, InputJSONDelta('{"q": 2')),
        ContentBlockStopEvent(2, content_block=nameless),
        FarewellEvent("bye"),
    ]
    quiet = shown_of(*events, verbose=False)
    assert re.search(r"^0 voice ─+\nHello!\n", quiet, re.MULTILINE)
    assert re.search(r'^1 plugin_use look␛up ─+\n\{\n  "q": 1\n\}\n', quiet, re.MULTILINE)
    assert re.search(r'^2 nameless_use ─+\n\{\n  "q": 2', quiet, re.MULTILINE)
    assert "xxx" not in quiet
    verbose = shown_of(*events, verbose=True)
    for aside in (
        "encrypted_audio, 12 characters",
        "milliseconds 250",
        'event: {"type":"farewell","words":"bye"}',
    ):
        assert f"\n  {aside}\n" in verbose
        assert aside not in quiet


def test_calls_that_the_command_does_not_know_are_counted_and_named() -> None:
    content: list[Any] = [PluginUseBlock("p1", "lookup", None), NamelessUseBlock(None)]
    message = evolve(message_from_dict({}), content=(*content, VoiceBlock("Hi", None)))
    assert list(unusable_inputs(message)) == [
        "lookup (content[0]) is incomplete",
        "nameless_use (content[1]) is incomplete",
    ]
    facts = facts_of(message)
    assert facts["tool_calls_broken"] == 2
    assert facts["blocks"] == {"plugin_use": 1, "nameless_use": 1, "voice": 1}


def test_a_status_that_is_no_success_is_shown() -> None:
    sent = capture((0.1, b"<html>busy"), status=529)
    result = replay("-", data=sent)
    assert "  HTTP 529\n" in result.stdout
    assert "-: HTTP 529, NOT_AN_EVENT_STREAM: the body is not an event stream: '<html>busy'" in (
        result.stderr
    )
    assert "HTTP 200" not in replay("-", data=TIMED).stdout


# The table.


def rows(shown: str) -> dict[str, str]:
    """The table's rows, continuation lines joined."""
    found: dict[str, str] = {}
    name = ""
    for line in shown.splitlines():
        if line.startswith("│"):
            left, right = (cell.strip() for cell in line.strip("│").split("│", 1))
            name = left or name
            found[name] = f"{found.get(name, '')} {right}".strip()
    return found


def test_the_table_sums_up() -> None:
    table = rows(replay(str(EXAMPLES / "web-search-with-citations.capture.jsonl")).stdout)
    assert table["verdict"] == "COMPLETE: message_stop was received"
    assert table["HTTP"].startswith("200  req_")
    assert table["message"].startswith("msg_01")
    assert table["model"] == "claude-sonnet-5"
    assert table["stop reason"] == "end_turn"
    assert table["blocks"] == "6 text, 1 server_tool_use, 1 web_search_tool_result"
    assert "7,597  input_tokens" in table["usage"]
    assert "1  server_tool_use.web_search_requests" in table["usage"]
    assert "standard" not in table["usage"]  # a tier is no counter
    assert table["received"] == "64 events, 13,386 bytes, 43 chunks"
    assert table["violations"] == "none"
    assert "input" not in table


def test_the_table_names_what_is_wrong() -> None:
    table = rows(replay(CUT).stdout)
    assert table["verdict"].startswith("TRUNCATED")
    assert table["reason"].startswith("RemoteProtocolError(")
    assert table["input"] == "write_file (content[1]) is incomplete"
    assert table["violations"] == "1 cut_frame"
    assert "3 missing_type" in rows(replay(DIRTY).stdout)["violations"]


def test_timing_comes_from_the_log() -> None:
    data = capture(
        (0.5, body(*HELLO[:3])),
        (1.0, body(HELLO[3])),
        (4.0, body(HELLO[4])),
        (9.0, body(*HELLO[5:])),
    )
    timing = "first token after 1.00 s, then 3.0 output tokens per second"
    assert rows(replay("-", data=data).stdout)["timing"] == timing
    cut = capture((0.5, body(*HELLO[:3])), (1.0, body(HELLO[3])), (4.0, body(HELLO[4])))
    assert rows(replay("-", data=cut).stdout)["timing"] == "first token after 1.00 s"
    assert "timing" not in rows(replay("-", data=body(*HELLO)).stdout)


def test_counters_that_were_not_said_are_not_shown() -> None:
    start = message_start(usage={}, id=None, model=None)
    table = rows(replay("-", data=body(start, {**message_delta("pause_turn"), "usage": {}})).stdout)
    assert table["usage"] == "unknown"
    assert table["message"] == "no id"
    assert table["model"] == "unknown"
    assert table["blocks"] == "none"
    sequence = {"stop_reason": "stop_sequence", "stop_sequence": "END\x1b"}
    stopped = body(message_start(), {**message_delta(), "delta": sequence})
    assert rows(replay("-", data=stopped).stdout)["stop reason"] == r"stop_sequence 'END\x1b'"


def test_violations_that_are_only_counted_are_counted() -> None:
    data = body(*HELLO[:2]) + body(*[text(5, "x")] * 1100) + body(*HELLO[5:])
    assert rows(replay("-", data=data).stdout)["violations"] == "1000 unknown_index, 100 more"
    assert "100 more violations" in replay("--trace", "-", data=data).stdout


def test_an_unknown_block_with_a_broken_input_is_named() -> None:
    odd = tool_call("[", type="vendor_call")
    assert rows(replay("-", data=odd).stdout)["input"] == "vendor_call (content[0]) is invalid"
    assert "input" not in rows(replay("-", data=block_only({"type": "hologram"})).stdout)


# The trace.


def trace(data: bytes, *args: str) -> list[str]:
    return replay("--trace", "-", *args, data=data).stdout.splitlines()


def test_the_trace_has_a_line_for_each_frame() -> None:
    sent = capture((0.25, body(*HELLO[:3])), (0.5, body(*HELLO[3:])))
    lines = trace(sent)
    assert lines[0].split() == [
        "frame",
        "offset",
        "chunk",
        "time",
        "state",
        "event",
        "ix",
        "payload",
    ]
    offset = 0
    for number, payload in enumerate(HELLO, 1):
        words = lines[number].split()
        at = ["1", "0.250"] if number <= 3 else ["2", "0.500"]
        assert words[:4] == [str(number), str(offset), *at]
        assert payload["type"] in words
        offset += len(frame(payload))
    assert " waiting -> open " in lines[1]
    assert " closing -> done " in lines[8]
    assert ' 0 {"type":"text_delta","text":"Hel"}' in lines[4]
    assert lines[10] == "COMPLETE: message_stop was received"


def test_the_trace_counts_the_chunks_that_were_fed() -> None:
    lines = trace(capture((0.25, body(*HELLO))), "--cut", "bytes")
    assert lines[1].split()[2] == str(len(frame(HELLO[0])))


def carets(lines: list[str]) -> list[str]:
    """The character above each caret and what follows it."""
    return [above[caret.index("^") :] for above, caret in pairwise(lines) if caret.strip() == "^"]


def test_the_trace_shows_frames_that_were_kept_out() -> None:
    data = body(text(0, "early"), *HELLO[:2]) + b"data: [DONE]\n\n" + body(text(9, "lost"))
    lines = trace(data)
    assert re.match(r" +1 +0 +1 +waiting +\(content_block_delta\) +\{", lines[1])
    assert lines[2].strip().startswith("! before_message_start: ")
    assert any(re.match(r" +4 +\d+ +1 +open +\(\[DONE\]\) +\[DONE\]", line) for line in lines)
    assert any(re.match(r" +5 +\d+ +1 +open +\(content_block_delta\)", line) for line in lines)
    assert carets(lines)[:2] == ["event: content_block_delta", "data: [DONE]"]


def test_the_trace_points_at_the_line_that_is_meant() -> None:
    first = b"\xef\xbb\xbf" + frame(HELLO[0]).replace(b"\n", b"\r\n").replace(b"_1", b"\xff", 1)
    odd = frame(HELLO[1]).replace(b"data:", b"x-odd: 1\rdata:")
    lines = trace(first + odd)
    before, invalid = next(line for line in lines if "msg�" in line and "data:" in line).split("�")
    assert carets(lines) == [f"�{invalid}", "x-odd: 1"]
    assert before.strip().startswith("data: ")


def test_lines_without_a_frame_are_traced_where_they_stand() -> None:
    lines = trace(body(*HELLO[:2]) + b"x-late: 1\n\n")
    late = next(line for line in lines if line.lstrip().startswith("- "))
    assert late.split()[1] == str(len(body(*HELLO[:2])))
    assert carets(lines) == ["x-late: 1"]
    strict = trace(body(*HELLO[:2]) + b"x-late: 1\n\n", "--strict")
    assert any(line.lstrip().startswith("- ") for line in strict)
    assert carets(strict) == ["x-late: 1"]


def test_a_violation_of_lines_before_a_frame_quotes_those_lines() -> None:
    lines = trace(b"x-early: 1\n\n" + body(*HELLO))
    assert carets(lines) == ["x-early: 1"]


@pytest.mark.parametrize(
    ("data", "rest"),
    [
        ('{"type":"message_start", oops}', "oops}"),
        ('{"type":"message_start",\ndata: oops}', "oops}"),
        ('{"a":"\x1b"}', '␛"}'),
        ('{"é漢":"🥧", oops}', "oops}"),
        ("[" * 300, "[" * 100),
        ('{"a":"' + "é" * 300 + '", oops}', "oops}"),
    ],
)
def test_a_fatal_error_has_a_caret_at_its_place(data: str, rest: str) -> None:
    lines = trace(f": hi\n\nevent: message_start\ndata: {data}\n\n".encode())
    (at_caret,) = carets_by_cells(lines)
    assert at_caret.rstrip("…").startswith(rest) or rest.startswith(at_caret.rstrip("…"))
    assert "BROKEN: " in lines[-1]


def carets_by_cells(lines: list[str]) -> list[str]:
    """As `carets`, where characters may be two cells wide."""
    found: list[str] = []
    for above, caret in pairwise(lines):
        if caret.strip() == "^":
            column = caret.index("^")
            cut = next(n for n in range(len(above) + 1) if cell_len(above[:n]) == column)
            found.append(above[cut:])
    return found


def test_an_error_without_a_place_points_at_the_beginning_of_the_frame() -> None:
    lines = trace(body(*HELLO[:2], message_start("msg_2")))
    assert carets(lines) == ["event: message_start"]
    assert any("ProtocolError spliced_message: " in line for line in lines)


def test_a_cut_frame_is_traced() -> None:
    lines = trace(body(*HELLO[:2]) + b"event: content_block_delta\ndata: {")
    assert carets(lines) == ["event: content_block_delta"]
    assert any("(content_block_delta) " in line and line.endswith("{") for line in lines)


def test_payloads_that_are_no_json_are_traced() -> None:
    lines = trace(b"event: ping\ndata: alive\n\nevent: odd\ndata: what\n\n")
    assert lines[1].endswith("alive")
    assert any(line.endswith("what") and " odd " in line for line in lines)


# Nothing of the stream reaches the terminal but text.

EVIL = "\x1b]0;owned\x07\x1b[2J\x9b31m\x7f\r\0 [bold]no[/bold] :smile: \ud800"

# Names of frames are lines; none here, because a payload's type is enough.
EVIL_STREAM = b"".join(
    frame(payload, "")
    for payload in (
        message_start(f"msg{EVIL}", model=EVIL),
        {"type": f"odd{EVIL}", "x": EVIL},
        block_start(0),
        text(0, EVIL),
        delta(0, "citations_delta", citation={"type": EVIL, "title": EVIL, "cited_text": EVIL}),
        delta(0, f"odd{EVIL}", x=EVIL),
        delta(4, f"odd{EVIL}", x=EVIL),
        block_stop(0),
        tool_start(1, name=EVIL),
        json_piece(1, EVIL),
        block_stop(1),
        block_start(2, {"type": EVIL, "content": EVIL}),
        block_stop(2),
        message_delta(EVIL, usage={EVIL: 1}),
        {"type": "error", "error": {"type": EVIL, "message": EVIL}},
    )
) + f"x{EVIL}: 1\nevent: message_start\ndata: {{{EVIL}\n\n".encode("utf-8", "replace")

VIEWS: list[list[str]] = [
    [],
    ["-v"],
    ["--events"],
    ["--message"],
    ["--trace"],
    ["--strict", "--trace"],
]


@pytest.mark.parametrize("view", VIEWS, ids=" ".join)
def test_no_control_character_gets_through(view: list[str]) -> None:
    for data in (
        EVIL_STREAM,
        capture((0.1, EVIL_STREAM), end=EVIL),
        EVIL.encode("utf-8", "replace"),
        b'{"sansio_stream_capture": "\x1b"}',
    ):
        result = replay("-", *view, data=data)
        assert CONTROLS.search(result.stdout) is None
        assert CONTROLS.search(result.stderr) is None


def test_a_terminal_gets_colours_and_no_other_sequence() -> None:
    shown = on_terminal(EVIL_STREAM, colour=True, verbose=True)
    assert "\x1b[" in shown
    assert CONTROLS.search(COLOURS.sub("", shown)) is None
    assert "[bold]no[/bold]" in COLOURS.sub("", shown)
    assert ":smile:" in COLOURS.sub("", shown)


def test_control_characters_have_pictures() -> None:
    assert printable("\x1b[2J\r\n\t\x7f\x85\ud800") == "␛[2J␍\n\t␡\ufffd\ufffd"


@given(st.text(), st.integers(1, 30))
def test_one_line_is_one_line_and_fits(sent: str, width: int) -> None:
    line = one_line(sent, width)
    assert "\n" not in line
    assert cell_len(line) <= width


# Whatever comes, there is no traceback.

PAYLOADS: list[dict[str, Any]] = [
    *HELLO,
    OVERLOADED,
    message_start("msg_2"),
    message_start(content=[{"type": "thinking"}, {"type": "odd", "input": 3}, {"type": "text"}]),
    tool_start(0),
    tool_start(1, name=None, input=None),
    tool_start(1, type="mcp_tool_use", input={"a": 1}),
    *(block_start(2, block) for block, _ in RESULTS),
    block_start(2, {"type": "fallback", "from": None, "to": {}}),
    block_start(0, {"type": "text", "text": "x", "citations": [{"type": "odd"}]}),
    json_piece(0, '{"a": "'),
    json_piece(1, "}]"),
    json_piece(2, "\\n"),
    delta(0, "thinking_delta", thinking="hm"),
    delta(0, "signature_delta", signature="s"),
    delta(0, "signature_delta", signature="t"),
    delta(0, "citations_delta", citation={"type": "page_location", "cited_text": None}),
    delta(2, "compaction_delta", content=None),
    delta(2, "vendor_delta"),
    delta(0, "text_delta"),
    block_stop(1),
    block_stop(2),
    message_delta(None),
    {"type": "message_delta", "delta": {"stop_sequence": ""}, "usage": {"a": {"b": 1e400}}},
    {"type": "odd", "x": "\ud800"},
    {"no": "type"},
]

SEPARATORS = st.sampled_from(
    [
        b"",
        b": note\n\n",
        b"x: y\n\n",
        b"\r\n",
        b"data: [DONE]\n\n",
        b"\xff",
        b"event: ping\ndata: \n\n",
    ]
)
STREAMS = st.lists(st.tuples(SEPARATORS, st.sampled_from(PAYLOADS)), max_size=14).map(
    lambda parts: b"".join(
        separator + frame(payload, payload.get("type", "")) for separator, payload in parts
    )
)
CUT_STREAMS = st.tuples(STREAMS, st.integers(0, 60)).map(lambda pair: pair[0][: -pair[1] or None])


@given(CUT_STREAMS | st.binary(), st.sampled_from(VIEWS), st.sampled_from(["1", "9", "random:3"]))
@example(b"", [], "1")
@example(b'{"sansio_stream_capture"', [], "1")
def test_no_bytes_cause_a_traceback(data: bytes, view: list[str], cut: str) -> None:
    result = replay("-", "--cut", cut, *view, data=data)
    assert result.exit_code in {0, 1, 2}
    assert (result.exit_code == 0) <= ("Traceback" not in result.stderr)
    assert CONTROLS.search(result.stdout) is None


@given(CUT_STREAMS, st.integers(1, 120))
def test_no_bytes_break_the_view_of_a_terminal(data: bytes, width: int) -> None:
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=width, color_system=None, _environ={})
    recorded = parse_capture(data)
    view = Show(console, verbose=True)
    for moment in Replay(recorded, recorded.chunks).moments():
        view.see(moment)
    view.end()
    assert all(cell_len(line) <= max(width, 20) for line in file.getvalue().splitlines())


@given(CUT_STREAMS, st.booleans())
def test_every_frame_and_every_violation_is_in_one_moment(data: bytes, strict: bool) -> None:
    recorded = parse_capture(data)
    played = Replay(recorded, recorded.chunks, strict=strict)
    moments = list(played.moments())
    numbers = [moment.number for moment in moments if moment.number is not None]
    assert numbers == list(range(1, len(numbers) + 1))
    assert sum(moment.event is not None for moment in moments) == played.machine.events_taken
    told = [violation for moment in moments for violation in moment.violations]
    assert told == list(played.machine.violations)


# The process: signals, pipes, terminals.

COMMAND = [sys.executable, "-m", "sansio_stream_adapters.cli"]
Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start the real command; what is left of it is ended."""
    started: list[subprocess.Popen[bytes]] = []
    root = Path(__file__).parent.parent
    path = os.pathsep.join([str(root), str(root / "adapters")])
    environment = {k: v for k, v in os.environ.items() if k not in ENVIRONMENT}

    def popen(
        *args: str,
        command: list[str] = COMMAND,
        stdout: IO[bytes] | int = subprocess.PIPE,
        stderr: int = subprocess.PIPE,
    ) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [*command, *args],
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            env={**environment, "PYTHONPATH": path},
        )
        started.append(process)
        return process

    yield popen
    for process in started:
        process.kill()
        process.wait()
        for pipe in filter(None, (process.stdout, process.stderr)):
            pipe.close()


def test_a_broken_pipe_ends_it_silently(start: Start, tmp_path: Path) -> None:
    long = tmp_path / "long.sse"
    long.write_bytes(body(*HELLO[:2], *[text(0, "word " * 20)] * 3000, *HELLO[5:]))
    for view in ([], ["--events"], ["--trace"]):
        process = start("replay", *view, str(long))
        assert process.stdout is not None
        assert process.stdout.readline()
        process.stdout.close()
        assert process.wait() == -signal.SIGPIPE
        assert process.stderr is not None
        assert process.stderr.read() == b""


def test_an_interruption_ends_it_with_130(start: Start, tmp_path: Path) -> None:
    slow = tmp_path / "slow.capture.jsonl"
    slow.write_bytes(capture((0.0, body(*HELLO[:4])), (3600.0, body(*HELLO[4:]))))
    process = start("replay", "--speed", "1", str(slow))
    assert process.stdout is not None
    seen = b""
    while b"Hel" not in seen:
        seen += os.read(process.stdout.fileno(), 4096)
    wait_until_it_waits(process.pid)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    (note,) = said.strip().splitlines()
    assert note.endswith(b"a pause of 3,600 s is cut to 60 s")


def test_a_terminal_is_drawn_with_colours_and_waits(start: Start, tmp_path: Path) -> None:
    pty = pytest.importorskip("pty")
    timed = tmp_path / "timed.capture.jsonl"
    timed.write_bytes(capture((0.01, body(*HELLO[:5])), (0.02, body(*HELLO[5:]))))
    ours, theirs = pty.openpty()
    process = start("replay", str(timed), stdout=theirs, stderr=theirs)
    os.close(theirs)
    seen = b""
    try:
        while piece := os.read(ours, 4096):
            seen += piece
    except OSError:
        pass  # Linux's way to say that the other side is closed
    os.close(ours)
    assert process.wait() == 0
    assert b"\x1b[" in seen
    assert "Hello, wörld" in COLOURS.sub("", seen.decode())


def test_a_full_disk_is_said_in_a_sentence(start: Start) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("/dev/full is not there")
    with Path("/dev/full").open("wb") as full:
        process = start("replay", "--events", DIRTY, stdout=full)
        _, said = process.communicate()
    assert process.returncode == 2
    assert said == b"sansio-stream: the output cannot be written: No space left on device\n"


def test_closed_streams_do_not_matter(start: Start) -> None:
    shell = ["sh", "-c", '"$0" "$@" <&- >&- 2>&-', *COMMAND]
    for name in (DIRTY, "-"):
        process = start("replay", name, command=shell)
        assert process.communicate() == (b"", b"")
        assert process.returncode == (name == "-")


def test_an_encoding_without_the_characters_gets_others(start: Start) -> None:
    latin = [sys.executable, "-X", "utf8=0", *COMMAND[1:]]
    environment = ["env", "PYTHONIOENCODING=ascii", *latin]
    process = start("replay", "--trace", DIRTY, command=environment)
    shown, _ = process.communicate()
    assert process.returncode == 0
    assert shown.isascii()


@pytest.mark.parametrize("module", ["click", "rich"])
def test_what_is_missing_is_named_with_the_way_to_get_it(start: Start, module: str) -> None:
    hide = f"import sys; sys.modules[{module!r}] = None"
    code = f"{hide}; from sansio_stream_adapters.cli import main; main()"
    process = start(command=[sys.executable, "-c", code])
    _, said = process.communicate()
    assert process.returncode == 2
    assert said.decode() == (
        f"sansio-stream: {module} is not installed: pip install 'sansio-stream[cli]'\n"
    )


def test_what_else_is_missing_is_a_fault_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "sansio_stream_adapters.cli._command")
    monkeypatch.setitem(sys.modules, "sansio_stream_adapters.cli._views", None)
    monkeypatch.delattr(cli, "_command")
    with pytest.raises(ModuleNotFoundError):
        cli.main()


# The entry point, in this process.


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., int]]:
    """Call the entry point with arguments and return the status it exits with."""
    before = signal.getsignal(signal.SIGPIPE)

    def run(*args: str) -> int:
        monkeypatch.setattr(sys, "argv", ["sansio-stream", *args])
        with pytest.raises(SystemExit) as exit_:
            cli.main()
        assert isinstance(exit_.value.code, int)
        return exit_.value.code

    yield run
    signal.signal(signal.SIGPIPE, before)


def test_the_entry_point_exits_with_the_status(
    call: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("replay", DIRTY) == 0
    assert call("replay", CUT) == 1
    assert call("replay", "--cut", "0", DIRTY) == 2
    assert call("--version") == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("sansio-stream ")


def test_help_has_examples(call: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert call("replay", "--help") == 0
    said = capsys.readouterr().out
    assert "sansio-stream replay examples/text.capture.jsonl" in said
    assert "--cut SIZE|bytes|random:SEED" in said
    assert "Exit status:" in said


def test_an_interruption_has_no_traceback(
    call: Callable[..., int], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_: object) -> bytes:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "read_bytes", interrupted)
    assert call("replay", DIRTY) == 130
    assert capsys.readouterr().err.strip() == ""


def test_a_chunk_that_is_not_utf8_is_replayed() -> None:
    data = body(*HELLO)
    lines = capture((0.1, b"")).splitlines(keepends=True)
    encoded = [
        json.dumps({"at": 0.1, "base64": base64.b64encode(data[n : n + 1]).decode()}).encode()
        + b"\n"
        for n in range(len(data))
    ]
    shown = replay("-", data=b"".join([lines[0], *encoded, lines[-1]])).stdout
    assert "Hello, wörld \N{PARTY POPPER}" in shown
