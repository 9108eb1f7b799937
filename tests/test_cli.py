"""`sansio-stream replay` shows a capture on terminals and in pipes, with a reliable exit status."""

import base64
import io
import json
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
from click.testing import Result
from hypothesis import example, given, strategies as st
from rich.cells import cell_len
from rich.console import Console

import sansio_stream_tools
from commands import CONTROLS, block_only, capture, command, results_of, tool_call
from processes import COLOURS, COMMAND, Fork, Start, read_until
from sansio_stream import StreamMachine, Verdict, event_from_dict
from sansio_stream.capture import Chunk, parse_capture
from sansio_stream.codec import WireObject, wire_object
from sansio_stream.copies import evolve
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
from sansio_stream_adapters._cut import recut, sizes_from
from sansio_stream_tools import _replay, _showing
from sansio_stream_tools._answer_view import Show, Writer
from sansio_stream_tools._json import Layout
from sansio_stream_tools._reading import FrameResult, Pace, Reading
from sansio_stream_tools._summary import unusable_inputs
from sansio_stream_tools._text import one_line, printable, to_json
from sansio_stream_tools._views import view_of
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


def replay(*args: str, data: bytes | None = None) -> Result:
    """Run `replay` in this process. `data` is its standard input, for the argument `-`."""
    return command("replay", *args, data=data)


# Exit statuses.

ENDS = {
    Verdict.COMPLETE: (body(*HELLO), 0),
    Verdict.UNTERMINATED: (body(*HELLO[:-1]), 0),
    Verdict.DAMAGED: (body(*HELLO[:4]) + b"data: {\n\n" + body(*HELLO[5:]), 1),
    Verdict.TRUNCATED: (body(*HELLO[:4]), 1),
    Verdict.EMPTY: (capture(), 1),
    Verdict.ERRORED: (body(*HELLO[:4], OVERLOADED), 1),
    Verdict.BROKEN: (b"event: message_start\ndata: {\n\n", 1),
    Verdict.NOT_AN_EVENT_STREAM: (capture((0.1, b"<html>")), 1),
}


@pytest.mark.parametrize("verdict", ENDS)
@pytest.mark.parametrize("view", [[], ["-v"], ["--events"], ["--message"]])
def test_the_exit_status_tells_whether_there_is_a_message(
    verdict: Verdict, view: list[str]
) -> None:
    data, status = ENDS[verdict]
    result = replay("-", *view, data=data)
    assert result.exit_code == status
    if view in (["--events"], ["--message"]):
        if verdict is Verdict.COMPLETE:
            assert result.stderr == ""
        elif verdict is Verdict.UNTERMINATED:
            assert "message_stop is missing" in result.stderr
        else:
            assert f"-: {verdict.name}: " in result.stderr
    else:
        assert result.stderr == ""
        assert f"{verdict.name}: " in result.stdout


@pytest.mark.parametrize("view", [[], ["-v"], ["--events"], ["--message"]])
@pytest.mark.parametrize("verdict", ENDS)
def test_the_verdict_is_shown_once(verdict: Verdict, view: list[str]) -> None:
    result = replay("-", *view, data=ENDS[verdict][0])
    assert (result.stdout + result.stderr).count(f"{verdict.name}: ") <= 1


def test_every_verdict_except_pending_has_an_exit_status() -> None:
    assert {*ENDS, Verdict.PENDING} == set(Verdict)


def test_the_reason_contains_the_error_of_the_server() -> None:
    result = replay("-", data=ENDS[Verdict.ERRORED][0])
    assert rows(result.stdout)["reason"] == "overloaded_error: Overloaded"
    assert "The server sent an error: overloaded_error: Overloaded" in result.stdout


def test_the_reason_contains_the_position_of_a_fatal_error() -> None:
    result = replay("-", data=b": hi\n\nevent: message_start\ndata: {\n\n")
    assert "frame 1, byte 6" in result.stdout


@pytest.mark.parametrize("view", [[], ["--events"], ["--message"]])
def test_strict_refuses_any_violation(view: list[str]) -> None:
    dirty = body(*HELLO[:4], *HELLO[3:])
    odd = dirty.replace(b"event: ping\n", b"")
    assert replay("-", *view, data=odd).exit_code == 0
    result = replay("-", "--strict", *view, data=odd)
    assert result.exit_code == 1
    assert "no `event:` line" in " ".join((result.stderr or rows(result.stdout)["reason"]).split())


@pytest.mark.parametrize(
    ("after", "message"),
    [(b"data: [DONE]\n\n", "[DONE]"), (b"event: ping\nda", "ended inside a frame")],
)
def test_strict_refuses_a_violation_after_the_message(after: bytes, message: str) -> None:
    data = body(*HELLO) + after
    assert replay("-", data=data).exit_code == 0
    result = replay("-", "--strict", data=data)
    assert result.exit_code == 1
    assert message in rows(result.stdout)["reason"]


def test_strict_needs_message_stop() -> None:
    assert replay("-", "--strict", data=body(*HELLO[:-1])).exit_code == 1
    assert replay("-", "--strict", data=body(*HELLO)).exit_code == 0


def test_an_error_after_the_message_is_noted_and_is_not_a_failure() -> None:
    result = replay("-", data=body(*HELLO) + b"event: message_start\ndata: {\n\n")
    assert result.exit_code == 0
    assert result.stderr == ""
    assert "after the message: the data of message_start cannot be read" in result.stdout


def test_the_reason_contains_the_recorded_connection_error() -> None:
    data = capture((0.1, body(*HELLO[:4])), end="ReadError('reset by peer')")
    result = replay("-", data=data)
    assert result.exit_code == 1
    assert rows(result.stdout)["reason"] == "ReadError('reset by peer')"
    result = replay("-", "--events", data=data)
    assert "TRUNCATED: the message began and was cut: ReadError('reset by peer')" in result.stderr


def test_a_connection_that_was_lost_after_the_message_is_noted() -> None:
    result = replay("-", data=capture((0.1, body(*HELLO)), end="ReadError()"))
    assert result.exit_code == 0
    assert "the connection was lost: ReadError()" in result.stdout


def test_a_cut_recording_counts_as_a_lost_connection() -> None:
    whole = capture((0.1, body(*HELLO[:4])), (0.2, body(*HELLO[4:])))
    lines = whole.splitlines(keepends=True)
    result = replay("-", data=b"".join([*lines[:2], lines[2][:30]]))
    assert result.exit_code == 1
    assert "the recording file is cut off here" in result.stdout
    assert "Hel" in result.stdout


def test_the_exit_status_is_the_worst_one_of_all_files(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.sse", tmp_path / "bad.sse"
    good.write_bytes(body(*HELLO))
    bad.write_bytes(capture())
    missing = str(tmp_path / "missing.sse")
    assert replay(str(good), str(good)).exit_code == 0
    assert replay(str(good), str(bad), str(good)).exit_code == 1
    result = command("replay", missing, str(bad), str(good), columns=300)
    assert result.exit_code == 2
    assert "Hello, wörld" in result.stdout  # a failing file does not stop the others
    for name in ("good.sse", "bad.sse"):
        assert f"{name} ═" in result.stdout
    overview = result.stdout[result.stdout.index("═ overview ═") :].splitlines()
    assert overview[1:] == [
        "3 streams: 1 unreadable, 1 EMPTY, 1 COMPLETE",
        f"{missing}: No such file or directory",
        f"{bad}: EMPTY: the stream ended without a message",
    ]


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
        ["--events", "--message", DIRTY],
        ["--trace", DIRTY],
        ["--limit", "depth", DIRTY],
        ["--limit", "height=3", DIRTY],
        ["--limit", "depth=-1", DIRTY],
        ["--limit", "depth=1KiB", DIRTY],
        ["--limit", "depth=1000", DIRTY],
        ["--limit", "event_bytes=none", DIRTY],
        ["--wrong", DIRTY],
    ],
)
def test_wrong_usage_has_the_exit_status_2(args: list[str]) -> None:
    result = replay(*args)
    assert result.exit_code == 2
    assert "Usage: " in result.stderr


def test_an_unreadable_file_has_the_exit_status_2(tmp_path: Path) -> None:
    for name, reason in (
        (tmp_path / "missing", "No such file or directory"),
        (tmp_path, "(Is a directory|this is a folder)"),
        ("a\0b", "null byte"),
    ):
        result = replay(str(name))
        assert result.exit_code == 2
        assert re.search(reason, result.stderr)


def test_a_damaged_capture_has_the_exit_status_2_and_its_line_is_named() -> None:
    result = replay("-", data=b'{"sansio_stream_capture": 1}\nrubbish\n{"at": 1, "end": "eof"}\n')
    assert result.exit_code == 2
    assert "-: line 2: not JSON" in result.stderr


# Kinds of files.


def test_all_kinds_of_files_give_the_same_output(tmp_path: Path) -> None:
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
def test_the_printed_lines_can_be_read_as_the_same_events(path: Path) -> None:
    recorded = parse_capture(path.read_bytes())
    machine = StreamMachine()
    events = [event for chunk in recorded.chunks for event in machine.receive_data(chunk.data)]
    lines = replay("--events", str(path)).stdout.splitlines()
    read = [event_from_dict(json.loads(line)) for line in lines]
    assert [event.to_dict() for event in read] == [event.to_dict() for event in events]
    # A payload without a type cannot be recognised without its frame.
    assert [event for event in read if event.to_dict()] == [
        event for event in events if event.to_dict()
    ]


@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: path.name)
@pytest.mark.parametrize("cut", ["1", "bytes", "7", "1000000", "random:7", "random:sea"])
def test_other_chunks_do_not_change_the_events(path: Path, cut: str) -> None:
    plain = replay("--events", str(path))
    recut = replay("--events", "--cut", cut, str(path))
    assert (recut.stdout, recut.stderr) == (plain.stdout, plain.stderr)


def test_the_message_is_json() -> None:
    result = replay("--message", "-", data=body(*HELLO))
    message = json.loads(result.stdout)
    assert message["content"] == [{"type": "text", "text": "Hello, wörld \N{PARTY POPPER}"}]


def test_a_partial_message_is_printed_and_has_the_exit_status_1() -> None:
    result = replay("--message", "-", data=body(*HELLO[:4]))
    assert json.loads(result.stdout)["content"] == [{"type": "text", "text": "Hel"}]
    assert result.exit_code == 1


def test_without_a_message_null_is_printed() -> None:
    assert json.loads(replay("--message", "-", data=capture()).stdout) is None


def test_json_has_no_control_characters_surrogates_or_infinities() -> None:
    value = {"a": "\ud83d\ude00 \ud83d \x1b\x9b\x7f Infinity", "b": [float("inf"), -float("inf")]}
    written = to_json(value)
    assert CONTROLS.search(written) is None
    assert json.loads(written) == {**value, "a": "\U0001f600 \ufffd \x1b\x9b\x7f Infinity"}
    assert re.findall(r"-?1e999", written) == ["1e999", "-1e999"]


def test_lone_surrogates_do_not_crash_a_view() -> None:
    data = body(*HELLO[:2], text(0, "\ud800 and \ud83d"), *HELLO[5:])
    for view in ([], ["--events"], ["--message"]):
        assert replay("-", *view, data=data).exit_code == 0


# Cutting into other chunks.


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


def test_random_sizes_depend_only_on_the_seed() -> None:
    chunks = [Chunk(None, bytes(5000))]

    def sizes(seed: str) -> list[int]:
        return [len(chunk.data) for chunk in recut(chunks, sizes_from(f"random:{seed}"))]

    assert sizes("1") == sizes("1") != sizes("2")
    assert len(set(sizes("1"))) > 2


# Timing. No test measures time, because the clock and the sleep function are fake.


class FakeClock:
    """A clock that only its own sleep function advances."""

    def __init__(self) -> None:
        self.now = 100.0
        self.waits: list[float] = []
        self.notes: list[str] = []

    def sleep(self, seconds: float) -> None:
        self.waits.append(round(seconds, 6))
        self.now += seconds

    def pace(self, speed: float, *, notify: Callable[[str], None] | None = None) -> Pace:
        notify = self.notes.append if notify is None else notify
        return Pace(speed, clock=lambda: self.now, sleep=self.sleep, notify=notify)


TIMED = capture((1.0, body(*HELLO[:3])), (1.5, body(*HELLO[3:])), (1.5, b"\n"), (3.0, b"\n"))


@pytest.mark.parametrize(
    ("speed", "waits"), [(1, [1.0, 0.5, 1.5]), (2, [0.5, 0.25, 0.75]), (0.5, [2.0, 1.0, 3.0])]
)
def test_chunks_are_replayed_at_their_recorded_times(
    speed: float, waits: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = FakeClock()
    monkeypatch.setattr(_showing, "Pace", clock.pace)
    assert replay("-", "--speed", str(speed), data=TIMED).exit_code == 0
    assert clock.waits == waits


def test_a_delay_shortens_the_next_pauses() -> None:
    clock = FakeClock()
    pace = clock.pace(1)
    pace.wait_until(1)
    clock.now += 0.75
    pace.wait_until(2)
    clock.now += 5
    pace.wait_until(3)
    pace.wait_until(None)
    assert clock.waits == [1, 0.25]


def test_a_pause_is_cut_to_a_minute_with_a_note_and_the_next_pauses_are_not_changed() -> None:
    clock = FakeClock()
    pace = clock.pace(1)
    for at in (0, 60, 1e9, 1e9 + 2):
        pace.wait_until(at)
    assert clock.waits == [60, 60, 2]
    assert clock.notes == ["a pause of 999,999,940 s is cut to 60 s"]
    slow = FakeClock()
    slow.pace(1e-300).wait_until(1e9)
    assert slow.waits == [60]


def test_the_note_of_a_cut_pause_is_on_stderr(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = FakeClock()
    monkeypatch.setattr(_showing, "Pace", clock.pace)
    result = replay("-", "--speed", "1", data=capture((1e9, body(*HELLO))))
    assert result.stderr == "sansio-stream: -: a pause of 1,000,000,000 s is cut to 60 s\n"
    assert clock.waits == [60]


@pytest.mark.parametrize(
    ("args", "is_terminal", "waits"),
    [
        ([], True, [1.0, 0.5, 1.5]),
        (["--speed", "2"], True, [0.5, 0.25, 0.75]),
        (["--speed", "max"], True, []),
        (["--events"], True, []),
        ([], False, []),
        (["--speed", "2"], False, [0.5, 0.25, 0.75]),
        (["--events", "--speed", "1"], False, [1.0, 0.5, 1.5]),
    ],
)
def test_the_recorded_timing_is_the_default_only_for_the_view_of_a_terminal(
    args: list[str], is_terminal: bool, waits: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = FakeClock()
    monkeypatch.setattr(_showing, "Pace", clock.pace)
    monkeypatch.setattr(_replay, "is_terminal", lambda: is_terminal)
    assert replay("-", *args, data=TIMED).exit_code == 0
    assert clock.waits == waits


def test_a_body_without_times_never_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = FakeClock()
    monkeypatch.setattr(_showing, "Pace", clock.pace)
    assert replay("-", "--speed", "1", data=body(*HELLO)).exit_code == 0
    assert clock.waits == []


# The view.


def on_terminal(
    data: bytes, *, width: int = 60, verbose: bool = False, colour: bool = False
) -> str:
    """Return the output for a file on a terminal of that width."""
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
    reading = Reading(parse_capture(data).header)
    view = view_of("show", reading, console, verbose=verbose)
    view.begin()
    for result in results_of(data, reading=reading):
        view.add(result)
    view.end()
    return COLOURS.sub("", file.getvalue()) if not colour else file.getvalue()


def test_text_in_a_pipe_is_not_wrapped() -> None:
    poem = "a\tb  c\n\n    indented " + "long " * 50
    data = block_only({"type": "text", "text": ""}, *(text(0, piece) for piece in poem))
    assert poem in replay("-", data=data).stdout


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_text_on_a_terminal_is_wrapped_between_words(size: int) -> None:
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
def test_no_line_is_wider_than_the_terminal_and_no_character_is_missing(
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
def test_wrapping_does_not_depend_on_the_pieces_of_the_text(sent: str, size: int) -> None:
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


def test_thinking_is_dimmed_and_text_is_not() -> None:
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


def test_tool_input_is_laid_out_while_it_grows() -> None:
    data = tool_call("", '{"a"', ": [1,", ' {}], "b": "x\\', 'n\\"y', '"', "}")
    laid_out = '{\n  "a": [\n    1,\n    {}\n  ],\n  "b": "x\\n\\"y"\n}\n'
    assert laid_out in replay("-", data=data).stdout
    assert '  "b": "x\\n\n'.replace("\n", "\n      ") in on_terminal(data)


def test_an_input_in_the_start_of_its_block_is_shown() -> None:
    assert '{\n  "q": "now"\n}\n' in replay("-", data=tool_call(input={"q": "now"})).stdout
    assert "\n{}\n" in replay("-", data=tool_call("")).stdout


def test_an_invalid_input_is_shown_and_reported() -> None:
    result = replay("-", data=tool_call("I will", " look ", '{"a" 1}'))
    assert 'I will look {\n  "a" 1\n}' in result.stdout
    assert "The input is not valid JSON: " in result.stdout
    assert "lookup (content[0]) is invalid" in result.stdout
    assert result.exit_code == 0  # the message is complete, whatever its input is


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    ),
    st.lists(st.integers(1, 5)),
    st.booleans(),
)
def test_the_layout_of_a_value_is_json_of_the_same_value(
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
def test_the_layout_only_changes_spaces_and_does_not_depend_on_cuts(sent: str, size: int) -> None:
    whole, pieces = Layout(), Layout()
    once = "".join(piece for piece, _ in whole.feed(sent))
    cut = "".join(
        piece
        for start in range(0, len(sent), size)
        for piece, _ in pieces.feed(sent[start : start + size])
    )
    assert cut == once
    assert "".join(once.split()) == "".join(sent.split())


def test_the_layout_of_deep_input_is_not_quadratic() -> None:
    pieces = list(Layout().feed("[" * 10_000))
    assert sum(len(piece) for piece, _ in pieces) < 10_000 * 60


def test_the_heading_of_an_interrupted_block_is_repeated() -> None:
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
def test_a_block_without_deltas_is_shown_on_one_line(block: dict[str, Any], line: str) -> None:
    shown = replay("-", data=block_only(block)).stdout
    assert re.search(rf"^0 {block['type']} ─+\n *{re.escape(line)}\n", shown, re.MULTILINE)


def test_citations_follow_the_text_that_they_support() -> None:
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


def test_content_in_message_start_is_shown() -> None:
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


def test_only_verbose_shows_pings_unknown_events_signatures_and_violations() -> None:
    notes = [
        'unknown event route: {"type":"route","provider":2}',
        "ping",
        'unknown delta: {"type":"vendor_delta","glow":1}',
        "! unknown_index: a delta or a stop has an index at which no block started; the event",
        "signature, 12 characters",
        'unknown event odd: "not an object"',
        "! undecodable_payload: ",
    ]
    verbose, quiet = (replay("-", *args, data=ODDITIES).stdout for args in (["-v"], []))
    for note in notes:
        assert f"\n  {note}" in verbose
        assert f"\n  {note}" not in quiet
    assert "Long ago." in quiet


# Classes of a later version of the API. The command does not know them.


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


def output_for(*events: Any, verbose: bool) -> str:
    console = Console(file=io.StringIO(), width=100, force_terminal=False)
    show = Show(console, verbose=verbose)
    for event in events:
        state = State.OPEN
        show.add(FrameResult(1, 0, 1, None, state, state, event, ()))
    show.end()
    shown: str = console.file.getvalue()  # type: ignore[attr-defined]
    return shown


def test_classes_of_a_later_version_are_shown() -> None:
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
    quiet = output_for(*events, verbose=False)
    assert re.search(r"^0 voice ─+\nHello!\n", quiet, re.MULTILINE)
    assert re.search(r'^1 plugin_use look␛up ─+\n\{\n  "q": 1\n\}\n', quiet, re.MULTILINE)
    assert re.search(r'^2 nameless_use ─+\n\{\n  "q": 2', quiet, re.MULTILINE)
    assert "xxx" not in quiet
    verbose = output_for(*events, verbose=True)
    for note in (
        "encrypted_audio, 12 characters",
        "milliseconds 250",
        'event: {"type":"farewell","words":"bye"}',
    ):
        assert f"\n  {note}\n" in verbose
        assert note not in quiet


def test_tool_calls_of_a_later_version_are_counted_and_named() -> None:
    content: list[Any] = [PluginUseBlock("p1", "lookup", None), NamelessUseBlock(None)]
    message = evolve(message_from_dict({}), content=(*content, VoiceBlock("Hi", None)))
    assert list(unusable_inputs(message)) == [
        "lookup (content[0]) is incomplete",
        "nameless_use (content[1]) is incomplete",
    ]
    facts = facts_of(message)
    assert facts["tool_calls_broken"] == 2
    assert facts["blocks"] == {"plugin_use": 1, "nameless_use": 1, "voice": 1}


def test_an_http_status_that_is_not_a_success_is_shown() -> None:
    sent = capture((0.1, b"<html>busy"), status=529)
    result = replay("-", data=sent)
    assert "  HTTP 529\n" in result.stdout
    failure = "-: ERRORED: the server sent an error: HTTP 529: <html>busy"
    assert failure in replay("-", "--events", data=sent).stderr
    error = b'{"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}'
    failure = "-: HTTP 529, ERRORED: the server sent an error: overloaded_error: Overloaded"
    assert failure in replay("-", "--events", data=capture((0.1, error), status=529)).stderr
    assert "HTTP 200" not in replay("-", data=TIMED).stdout


# The table.


def rows(shown: str) -> dict[str, str]:
    """Return the rows of the table by their names. Continuation lines are joined."""
    found: dict[str, str] = {}
    name = ""
    for line in shown.splitlines():
        if line.startswith("│"):
            left, right = (cell.strip() for cell in line.strip("│").split("│", 1))
            name = left or name
            found[name] = f"{found.get(name, '')} {right}".strip()
    return found


def test_the_table_is_a_summary_of_the_answer() -> None:
    table = rows(replay(str(EXAMPLES / "web-search-with-citations.capture.jsonl")).stdout)
    assert table["verdict"] == "COMPLETE: message_stop was received"
    assert table["HTTP"].startswith("200  req_")
    assert table["message"].startswith("msg_01")
    assert table["model"] == "claude-sonnet-5"
    assert table["stop reason"] == "end_turn"
    assert table["blocks"] == "6 text, 1 server_tool_use, 1 web_search_tool_result"
    assert "7,597  input_tokens" in table["usage"]
    assert "1  server_tool_use.web_search_requests" in table["usage"]
    assert "standard" not in table["usage"]  # the service tier is not a counter
    assert table["received"] == "64 events, 13,386 bytes, 43 chunks"
    assert table["violations"] == "none"
    assert "input" not in table


def test_the_table_names_errors_unusable_inputs_and_violations() -> None:
    table = rows(replay(CUT).stdout)
    assert table["verdict"].startswith("TRUNCATED")
    assert table["reason"].startswith("RemoteProtocolError(")
    assert table["input"] == "write_file (content[1]) is incomplete"
    assert table["violations"] == "1  cut_frame"
    assert "3  missing_type" in rows(replay(DIRTY).stdout)["violations"]


def test_the_timing_is_computed_from_the_times_of_the_capture() -> None:
    data = capture(
        (0.5, body(*HELLO[:3])),
        (1.0, body(HELLO[3])),
        (4.0, body(HELLO[4])),
        (9.0, body(*HELLO[5:])),
    )
    table = rows(replay("-", data=data).stdout)
    assert table["timing"] == (
        "first token after 1.00 s, then 3.0 output tokens per second"
        " first byte 0.50 s, last token 4.00 s, end 9.00 s"
    )
    assert table["gaps"] == "half of them up to 3.000 s, 95 % up to 3.000 s, the longest 3.000 s"
    offset = len(body(*HELLO[:4]))
    assert table["stalls"] == f"1 longer than 2 s 3.00 s until 4.00 s (event 5, byte {offset})"
    cut = capture((0.5, body(*HELLO[:3])), (1.0, body(HELLO[3])), (4.0, body(HELLO[4])))
    assert rows(replay("-", data=cut).stdout)["timing"].startswith("first token after 1.00 s first")
    assert "timing" not in rows(replay("-", data=body(*HELLO)).stdout)


def test_missing_values_are_shown_as_unknown() -> None:
    start = message_start(usage={}, id=None, model=None)
    table = rows(replay("-", data=body(start, {**message_delta("pause_turn"), "usage": {}})).stdout)
    assert table["usage"] == "unknown"
    assert table["message"] == "no id"
    assert table["model"] == "unknown"
    assert table["blocks"] == "none"
    sequence = {"stop_reason": "stop_sequence", "stop_sequence": "END\x1b"}
    stopped = body(message_start(), {**message_delta(), "delta": sequence})
    assert rows(replay("-", data=stopped).stdout)["stop reason"] == r"stop_sequence 'END\x1b'"


def test_the_number_of_violations_beyond_the_limit_is_shown() -> None:
    data = body(*HELLO[:2]) + body(*[text(5, "x")] * 1100) + body(*HELLO[5:])
    assert rows(replay("-", data=data).stdout)["violations"] == "1,000  unknown_index 100  more"
    assert "100 more violations" in command("trace", "-", data=data).stdout


def test_an_unknown_block_with_an_invalid_input_is_named() -> None:
    odd = tool_call("[", type="vendor_call")
    assert rows(replay("-", data=odd).stdout)["input"] == "vendor_call (content[0]) is invalid"
    assert "input" not in rows(replay("-", data=block_only({"type": "hologram"})).stdout)


# Only text of the stream reaches the terminal, no control characters.

EVIL = "\x1b]0;owned\x07\x1b[2J\x9b31m\x7f\r\0 [bold]no[/bold] :smile: \ud800"

# The frames have no names, because a control character would end the `event:` line. The type in
# the payload is enough.
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
    ["--strict"],
]


@pytest.mark.parametrize("view", VIEWS, ids=" ".join)
def test_no_control_character_is_printed(view: list[str]) -> None:
    for data in (
        EVIL_STREAM,
        capture((0.1, EVIL_STREAM), end=EVIL),
        EVIL.encode("utf-8", "replace"),
        b'{"sansio_stream_capture": "\x1b"}',
    ):
        result = replay("-", *view, data=data)
        assert CONTROLS.search(result.stdout) is None
        assert CONTROLS.search(result.stderr) is None


def test_a_terminal_gets_colours_and_no_other_escape_sequence() -> None:
    shown = on_terminal(EVIL_STREAM, colour=True, verbose=True)
    assert "\x1b[" in shown
    assert CONTROLS.search(COLOURS.sub("", shown)) is None
    assert "[bold]no[/bold]" in COLOURS.sub("", shown)
    assert ":smile:" in COLOURS.sub("", shown)


def test_control_characters_are_replaced_by_visible_characters() -> None:
    assert printable("\x1b[2J\r\n\t\x7f\x85\ud800") == "␛[2J␍\n\t␡\ufffd\ufffd"


@given(st.text(), st.integers(1, 30))
def test_one_line_returns_one_line_that_fits(sent: str, width: int) -> None:
    line = one_line(sent, width)
    assert "\n" not in line
    assert cell_len(line) <= width


# No input causes a traceback.

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
    view = Show(console, verbose=True)
    for result in results_of(data):
        view.add(result)
    view.end()
    assert all(cell_len(line) <= max(width, 20) for line in file.getvalue().splitlines())


@given(CUT_STREAMS, st.booleans())
def test_every_frame_and_every_violation_is_in_one_result(data: bytes, strict: bool) -> None:
    played = Reading(parse_capture(data).header, strict=strict)
    results = list(results_of(data, reading=played))
    numbers = [result.number for result in results if result.number is not None]
    assert numbers == list(range(1, len(numbers) + 1))
    assert sum(result.event is not None for result in results) == played.machine.events_taken
    violations = [violation for result in results for violation in result.violations]
    assert violations == list(played.machine.violations)


# The process: signals, pipes, terminals.


def test_a_broken_pipe_ends_the_command_silently(fork: Fork, tmp_path: Path) -> None:
    long = tmp_path / "long.sse"
    long.write_bytes(body(*HELLO[:2], *[text(0, "word " * 20)] * 3000, *HELLO[5:]))
    for view in (["replay"], ["replay", "--events"], ["trace"], ["trace", "--json"]):
        process = fork(*view, str(long))
        assert process.stdout is not None
        assert process.stdout.readline()
        process.stdout.close()
        assert process.wait() == -signal.SIGPIPE
        assert process.stderr is not None
        assert process.stderr.read() == b""


def test_an_interruption_ends_the_command_with_130(fork: Fork, tmp_path: Path) -> None:
    slow = tmp_path / "slow.capture.jsonl"
    slow.write_bytes(capture((0.0, body(*HELLO[:4])), (3600.0, body(*HELLO[4:]))))
    process = fork("replay", "--speed", "1", str(slow))
    assert process.stdout is not None
    output = read_until(process.stdout.fileno(), b"Hel")
    wait_until_it_waits(process.pid)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    output += stdout
    assert stderr.splitlines() == [
        f"sansio-stream: {slow}: a pause of 3,600 s is cut to 60 s".encode(),
        b"sansio-stream: interrupted",
    ]
    assert "PENDING: the stream has not ended yet" in output.decode()


def test_a_terminal_gets_colours_and_the_whole_output(fork: Fork, tmp_path: Path) -> None:
    pty = pytest.importorskip("pty")
    timed = tmp_path / "timed.capture.jsonl"
    timed.write_bytes(capture((0.01, body(*HELLO[:5])), (0.02, body(*HELLO[5:]))))
    our_end, its_end = pty.openpty()
    process = fork("replay", str(timed), stdout=its_end, stderr=its_end)
    os.close(its_end)
    output = b""
    try:
        while piece := os.read(our_end, 4096):
            output += piece
    except OSError:
        pass  # Linux reports that the other end is closed
    os.close(our_end)
    assert process.wait() == 0
    assert b"\x1b[" in output
    assert "Hello, wörld" in COLOURS.sub("", output.decode())


def test_a_full_disk_is_reported_without_a_traceback(fork: Fork) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    with Path("/dev/full").open("wb") as full:
        process = fork("replay", "--events", DIRTY, stdout=full)
        _, stderr = process.communicate()
    assert process.returncode == 2
    assert stderr == b"sansio-stream: the output cannot be written: No space left on device\n"


def test_closed_standard_streams_do_not_crash_the_command(start: Start) -> None:
    shell = ["sh", "-c", '"$0" "$@" <&- >&- 2>&-', *COMMAND]
    for name in (DIRTY, "-"):
        process = start("replay", name, command=shell)
        assert process.communicate(timeout=PATIENCE) == (b"", b"")
        assert process.returncode in ({0} if name == DIRTY else {1, 2})


def test_characters_that_the_encoding_lacks_are_replaced(start: Start) -> None:
    latin = [sys.executable, "-X", "utf8=0", *COMMAND[1:]]
    environment = ["env", "PYTHONIOENCODING=ascii", *latin]
    process = start("trace", DIRTY, command=environment)
    shown, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    assert shown.isascii()


@pytest.mark.parametrize("module", ["click", "rich"])
def test_a_missing_dependency_is_named_with_the_command_to_install_it(
    start: Start, module: str
) -> None:
    hide = f"import sys; sys.modules[{module!r}] = None"
    code = f"{hide}; from sansio_stream_tools import main; main()"
    process = start(command=[sys.executable, "-c", code])
    _, stderr = process.communicate(timeout=PATIENCE)
    assert process.returncode == 2
    assert stderr.decode() == (
        f"sansio-stream: {module} is not installed: pip install 'sansio-stream[cli]'\n"
    )


def test_if_a_module_of_the_package_is_missing_the_import_error_is_raised(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, "sansio_stream_tools._main")
    monkeypatch.setitem(sys.modules, "sansio_stream_tools._views", None)
    monkeypatch.delattr(sansio_stream_tools, "_main")
    with pytest.raises(ModuleNotFoundError):
        sansio_stream_tools.main()


# The entry point, in this process.


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., int]]:
    """Return a function that calls the entry point and returns its exit status."""
    before = signal.getsignal(signal.SIGPIPE)

    def run(*args: str) -> int:
        monkeypatch.setattr(sys, "argv", ["sansio-stream", *args])
        with pytest.raises(SystemExit) as exit_:
            sansio_stream_tools.main()
        assert isinstance(exit_.value.code, int)
        return exit_.value.code

    yield run
    signal.signal(signal.SIGPIPE, before)


def test_the_entry_point_exits_with_the_status_of_the_command(
    call: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("replay", DIRTY) == 0
    assert call("replay", CUT) == 1
    assert call("replay", "--cut", "0", DIRTY) == 2
    assert call("--version") == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("sansio-stream ")


def test_help_has_examples(call: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert call("replay", "--help") == 0
    output = capsys.readouterr().out
    assert "sansio-stream replay examples/text.capture.jsonl" in output
    assert "--cut SIZE|bytes|random:SEED" in output
    assert "Exit status:" in output


def test_an_interruption_has_no_traceback(
    call: Callable[..., int], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> Iterator[Any]:
        raise KeyboardInterrupt

    monkeypatch.setattr(_showing, "open_sources", interrupted)
    assert call("replay", DIRTY) == 130
    assert capsys.readouterr().err == "sansio-stream: interrupted\n"


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
