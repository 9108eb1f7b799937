"""`sansio-stream trace` shows a line for each frame, with its text, its gap and its violations."""

import json
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st
from rich.cells import cell_len

from commands import CONTROLS, capture, command, results_of, tool_call
from sansio_stream import event_from_dict, parse_capture, report_of
from sansio_stream_tools._frame_bytes import FrameBytes
from sansio_stream_tools._frame_text import Gaps
from test_cli import CAPTURES, CUT, CUT_STREAMS, DIRTY, EVIL, EVIL_STREAM
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
    message_delta,
    message_start,
    text,
    tool_start,
)


def trace(data: bytes, *args: str, columns: int = 100) -> list[str]:
    return command("trace", "-", *args, data=data, columns=columns).stdout.splitlines()


TIMED = capture((0.25, body(*HELLO[:3])), (0.5, body(HELLO[3])), (3.75, body(*HELLO[4:])))


# The lines.


def test_a_line_has_the_offset_the_time_the_gap_the_name_the_index_and_the_text() -> None:
    lines = trace(TIMED)
    assert lines[0].split() == ["offset", "time", "gap", "event", "ix", "text"]
    offsets = [0]
    for payload in HELLO:
        offsets.append(offsets[-1] + len(frame(payload)))
    assert [line.split() for line in lines[1:9]] == [
        [
            "0",
            "0.250",
            "message_start",
            "->",
            "open",
            "claude-test-1",
            "msg_1",
            "3",
            "input",
            "tokens",
        ],
        [str(offsets[1]), "0.250", "content_block_start", "0", "text"],
        [str(offsets[2]), "0.250", "ping"],
        [str(offsets[3]), "0.500", "text_delta", "0", "Hel"],
        [str(offsets[4]), "3.750", "3.250", "text_delta", "0", "lo,", "wörld", "\N{PARTY POPPER}"],
        [str(offsets[5]), "3.750", "content_block_stop", "0"],
        [
            str(offsets[6]),
            "3.750",
            "message_delta",
            "->",
            "closing",
            "end_turn",
            "9",
            "output",
            "tokens",
        ],
        [str(offsets[7]), "3.750", "message_stop", "->", "done"],
    ]
    assert lines[9:] == ["", "COMPLETE: message_stop was received"]


def test_a_file_without_times_has_no_columns_for_them() -> None:
    lines = trace(body(*HELLO))
    assert lines[0].split() == ["offset", "event", "ix", "text"]
    assert lines[1].split()[:2] == ["0", "message_start"]


def test_the_text_keeps_its_white_space() -> None:
    lines = trace(body(message_start(), block_start(0), text(0, " two  spaces\n\tand")))
    assert lines[3].endswith(" 0  two  spaces␊␉and")


CITATION = {"type": "page_location", "cited_text": "so", "document_title": "Book"}


@pytest.mark.parametrize(
    ("payload", "name", "shown"),
    [
        (delta(0, "thinking_delta", thinking="hm"), "thinking_delta", "hm"),
        (delta(0, "signature_delta", signature="c2ln"), "signature_delta", "c2ln"),
        (delta(0, "citations_delta", citation=CITATION), "citations_delta", "[Book] “so”"),
        (delta(0, "vendor_delta", glow=1), "vendor_delta", '{"glow":1}'),
        (delta(0, "vendor_delta", glow="x"), "vendor_delta", '{"glow":"x"}'),
        (OVERLOADED, "error", "overloaded_error: Overloaded"),
        ({"type": "route", "to": "b"}, "route", '{"type":"route","to":"b"}'),
        (block_start(1, {"type": "text", "text": "now"}), "content_block_start", "text  now"),
        (tool_start(1, input={"a": 1}), "content_block_start", 'tool_use lookup  {"a":1}'),
        (block_start(1, {"type": "hologram", "x": 2}), "content_block_start", "hologram  x 2"),
    ],
)
def test_the_text_of_an_event_is_not_its_json(payload: Any, name: str, shown: str) -> None:
    kind = {"thinking_delta": "thinking", "signature_delta": "thinking"}.get(name, "text")
    lines = trace(body(message_start(), block_start(0, {"type": kind, kind: ""}), payload))
    line = next(line for line in reversed(lines) if f" {name} " in line)
    assert line.endswith(f" {shown}")


def test_the_stop_of_a_call_with_an_unusable_input_says_so() -> None:
    assert any(line.endswith(" 0 the input is invalid") for line in trace(tool_call("[")))
    assert any(line.endswith("content_block_stop   0") for line in trace(tool_call("{}")))


@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: path.name)
def test_the_gaps_are_those_of_the_report(path: Path) -> None:
    data = path.read_bytes()
    gaps = Gaps()
    measured = [gap for each in results_of(data) if (gap := gaps.before(each)) is not None]
    report = report_of(parse_capture(data))
    assert max(measured, default=None) == report.gap_max


def test_a_time_that_goes_back_or_is_huge_is_shown_in_its_column() -> None:
    data = capture((5.0, body(*HELLO[:4])), (1.0, body(HELLO[4])), (1e9, body(*HELLO[5:])))
    lines = trace(data, columns=80)
    assert lines[5].split()[1:3] == ["1.000", "0.000"]
    assert lines[6].split()[1] == "1.0e+09"
    assert max(map(cell_len, lines)) <= 80


def test_the_trace_counts_the_chunks_after_cutting() -> None:
    lines = trace(capture((0.25, body(*HELLO))), "--cut", "bytes", "--wide")
    assert lines[0].split()[:3] == ["frame", "chunk", "offset"]
    assert lines[1].split()[:3] == ["1", str(len(frame(HELLO[0]))), "0"]


@pytest.mark.parametrize("columns", [40, 60, 80, 100, 140])
@pytest.mark.parametrize("timed", [True, False])
def test_every_line_fits_the_width(columns: int, timed: bool) -> None:
    for data in (Path(DIRTY).read_bytes(), Path(CUT).read_bytes(), EVIL_STREAM, body(*HELLO)):
        sent = data if timed else parse_capture(data).body
        assert max(map(cell_len, trace(sent, columns=columns))) <= columns


def test_a_narrow_terminal_shows_which_event_of_a_block_it_is() -> None:
    shown = "\n".join(trace(TIMED, columns=40))
    assert " block_start " in shown
    assert " block_stop " in shown


def test_wide_shows_the_whole_text() -> None:
    data = body(message_start(), block_start(0), text(0, "word " * 100 + "end"))
    assert any(line.endswith("word end") for line in trace(data, "--wide"))
    assert not any(line.endswith("end") for line in trace(data))


def test_the_verdict_is_the_last_line_and_comes_with_its_remarks() -> None:
    lines = trace(capture((0.1, body(*HELLO)), end="ReadError()"))
    assert lines[-2:] == [
        "COMPLETE: message_stop was received",
        "the connection was lost: ReadError()",
    ]
    assert trace(capture((0.1, body(*HELLO[:4])), end="ReadError()"))[-1] == (
        "TRUNCATED: the message began and was cut: ReadError()"
    )


# Which frames are shown.


def names(lines: list[str]) -> list[str]:
    """Return the names of the events in a trace of a file without times."""
    end = lines.index("")
    return [line.split()[1] for line in lines[1:end] if re.match(r" *\d", line)]


TWO_BLOCKS = body(
    message_start(),
    block_start(0),
    PING,
    text(0, "Hello there"),
    block_stop(0),
    tool_start(1),
    delta(1, "input_json_delta", partial_json="{}"),
    block_stop(1),
    message_delta("tool_use"),
    MESSAGE_STOP,
)


@pytest.mark.parametrize(
    ("args", "shown"),
    [
        (["--only", "ping"], ["ping"]),
        (["--only", "content_block_delta"], ["text_delta", "input_json_delta"]),
        (["--only", "text_delta", "--only", "ping"], ["ping", "text_delta"]),
        (["--only", "1"], ["content_block_start", "input_json_delta", "content_block_stop"]),
        (["--only", "tool_use"], ["content_block_start", "input_json_delta", "content_block_stop"]),
        (["--grep", "there$"], ["text_delta"]),
        (["--grep", "(?i)hello"], ["text_delta"]),
        (["--from", "9"], ["message_delta", "message_stop"]),
        (["--to", "2"], ["message_start", "content_block_start"]),
        (["--from", "3", "--to", "4"], ["ping", "text_delta"]),
        (["--from", "3", "--to", "4", "--no-ping"], ["text_delta"]),
        (["--to", "b0"], ["message_start"]),
        (["--from", f"b{len(TWO_BLOCKS) - len(frame(MESSAGE_STOP))}"], ["message_stop"]),
    ],
)
def test_options_choose_the_frames(args: list[str], shown: list[str]) -> None:
    result = command("trace", "-", *args, data=TWO_BLOCKS)
    assert names(result.stdout.splitlines()) == shown
    # The verdict is about the whole stream.
    assert "COMPLETE: message_stop was received" in result.stdout
    assert result.exit_code == 0


def test_times_choose_the_frames() -> None:
    assert [line.split()[2] for line in trace(TIMED, "--to", "0.25s")[1:-2]] == [
        "message_start",
        "content_block_start",
        "ping",
    ]
    lines = trace(TIMED, "--from", "0.3s", "--to", "1s")
    assert len(lines) == 4
    assert "Hel" in lines[1]


def test_the_gap_of_a_shown_frame_does_not_depend_on_the_hidden_ones() -> None:
    assert trace(TIMED, "--from", "5", "--to", "5")[1] == trace(TIMED)[5]


def test_if_no_frame_matches_the_trace_says_so() -> None:
    lines = trace(body(*HELLO), "--only", "thinking")
    assert lines[0] == "none of the 8 frames matches"
    assert trace(body(*HELLO), "--from", "1s")[0] == "none of the 8 frames matches"


@pytest.mark.parametrize(
    "args",
    [
        ["--grep", "("],
        ["--from", "first"],
        ["--from", "-1"],
        ["--to", "b"],
        ["--to", "1e3s"],
        ["--stall", "nan"],
        ["--stall", "-1"],
        ["--events"],
    ],
)
def test_wrong_usage_has_the_exit_status_2(args: list[str]) -> None:
    result = command("trace", *args, DIRTY)
    assert result.exit_code == 2
    assert "Usage: " in result.stderr


# JSON.


def test_json_has_an_object_for_each_frame() -> None:
    result = command("trace", "--json", "-", data=TIMED)
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert len(rows) == len(HELLO)
    assert [event_from_dict(row["event"]).to_dict() for row in rows] == list(HELLO)
    assert [row["frame"] for row in rows] == list(range(1, 9))
    assert rows[4] == {
        "time": 3.75,
        "gap": 3.25,
        "offset": len(body(*HELLO[:4])),
        "chunk": 3,
        "frame": 5,
        "state": "open",
        "event": HELLO[4],
    }
    assert result.stderr == ""


def test_json_has_the_violations_and_the_data_of_frames_without_an_event() -> None:
    data = body(*HELLO[:2]) + b"data: [DONE]\n\n" + body(message_start("msg_2"))
    result = command("trace", "--json", "-", data=data)
    done, fatal = [json.loads(line) for line in result.stdout.splitlines()][2:]
    assert (done["event"], done["data"]) == (None, "[DONE]")
    (violation,) = done["violations"]
    assert violation["code"] == "done_marker"
    assert violation["offset"] == done["offset"]
    assert fatal["error"]["code"] == "spliced_message"
    assert result.stderr.startswith("sansio-stream: -: BROKEN: ")
    assert result.exit_code == 1


def test_json_can_be_filtered() -> None:
    result = command("trace", "--json", "--only", "ping", "-", data=TIMED)
    assert [json.loads(line)["event"] for line in result.stdout.splitlines()] == [PING]


@given(CUT_STREAMS, st.sampled_from([[], ["--wide"], ["--json"], ["--strict"], ["--only", "0"]]))
def test_no_bytes_cause_a_traceback(data: bytes, args: list[str]) -> None:
    result = command("trace", "-", *args, data=data)
    assert result.exit_code in {0, 1, 2}
    assert CONTROLS.search(result.stdout) is None


@pytest.mark.parametrize("args", [[], ["--wide"], ["--json"], ["--strict"]])
def test_no_control_character_is_printed(args: list[str]) -> None:
    for data in (EVIL_STREAM, capture((0.1, EVIL_STREAM), end=EVIL)):
        result = command("trace", "-", *args, data=data)
        assert CONTROLS.search(result.stdout) is None
        assert CONTROLS.search(result.stderr) is None


# The bytes of the frame at hand.


def test_only_the_bytes_of_the_frame_at_hand_are_kept() -> None:
    frames = FrameBytes(1_000)
    piece = frame(PING)
    for number in range(1_000):
        frames.add(piece)
        assert [line.raw for line in frames.lines_at(number * len(piece))] == piece.split(b"\n")[:2]
        frames.drop_before(number * len(piece))
        assert len(frames._kept) <= len(piece)  # no public name shows what is kept
    assert frames.lines_at(0) == []


def test_comments_are_not_kept_beyond_the_size_of_a_frame() -> None:
    frames = FrameBytes(1_000)
    for _ in range(100):
        frames.add(b": keep-alive\n" * 10)
        frames.drop_before(0)
    assert len(frames._kept) == 1_000


# Violations.


def carets(lines: list[str]) -> list[str]:
    """Return the text above each caret, from the column of the caret to the end."""
    return [above[caret.index("^") :] for above, caret in pairwise(lines) if caret.strip() == "^"]


def test_the_trace_shows_frames_that_were_ignored() -> None:
    data = body(text(0, "early"), *HELLO[:2]) + b"data: [DONE]\n\n" + body(text(9, "lost"))
    lines = trace(data)
    assert re.match(r" +0 \(block_delta\) +\{", lines[1])
    assert lines[2].strip().startswith("! before_message_start: ")
    assert any(re.match(r" +\d+ \(\[DONE\]\) +\[DONE\]", line) for line in lines)
    assert any(re.match(r" +\d+ \(block_delta\) +\{", line) for line in lines)
    assert carets(lines)[:2] == ["event: content_block_delta", "data: [DONE]"]


def test_the_caret_points_at_the_position_of_a_violation() -> None:
    first = b"\xef\xbb\xbf" + frame(HELLO[0]).replace(b"\n", b"\r\n").replace(b"_1", b"\xff", 1)
    odd = frame(HELLO[1]).replace(b"data:", b"x-odd: 1\rdata:")
    lines = trace(first + odd, columns=140)
    before, invalid = next(line for line in lines if "msg�" in line and "data:" in line).split("�")
    assert carets(lines) == [f"�{invalid}", "x-odd: 1"]
    assert before.strip().startswith("data: ")


def test_lines_without_a_frame_are_traced_at_their_offset() -> None:
    lines = trace(body(*HELLO[:2]) + b"x-late: 1\n\n", "--wide")
    late = next(line for line in lines if line.lstrip().startswith("- "))
    assert late.split()[2] == str(len(body(*HELLO[:2])))
    assert carets(lines) == ["x-late: 1"]
    strict = trace(body(*HELLO[:2]) + b"x-late: 1\n\n", "--strict", "--wide")
    assert any(line.lstrip().startswith("- ") for line in strict)
    assert carets(strict) == ["x-late: 1"]


def test_the_trace_quotes_the_lines_before_a_frame_that_have_a_violation() -> None:
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
def test_a_fatal_error_has_a_caret_at_its_position(data: str, rest: str) -> None:
    lines = trace(f": hi\n\nevent: message_start\ndata: {data}\n\n".encode())
    (at_caret,) = carets_by_cells(lines)
    assert at_caret.rstrip("…").startswith(rest) or rest.startswith(at_caret.rstrip("…"))
    assert any(line.startswith("BROKEN: ") for line in lines)


def carets_by_cells(lines: list[str]) -> list[str]:
    """Do the same as `carets` for lines with characters that are two cells wide."""
    found: list[str] = []
    for above, caret in pairwise(lines):
        if caret.strip() == "^":
            column = caret.index("^")
            cut = next(n for n in range(len(above) + 1) if cell_len(above[:n]) == column)
            found.append(above[cut:])
    return found


def test_an_error_without_a_position_has_a_caret_at_the_beginning_of_the_frame() -> None:
    lines = trace(body(*HELLO[:2], message_start("msg_2")))
    assert carets(lines) == ["event: message_start"]
    assert any("ProtocolError spliced_message: " in line for line in lines)


def test_a_cut_frame_is_traced() -> None:
    lines = trace(body(*HELLO[:2]) + b"event: content_block_delta\ndata: {")
    assert carets(lines) == ["event: content_block_delta"]
    assert any("(block_delta) " in line and line.endswith("{") for line in lines)


def test_payloads_that_are_not_json_are_traced() -> None:
    lines = trace(b"event: ping\ndata: alive\n\nevent: odd\ndata: what\n\n")
    assert lines[1].endswith("alive")
    assert any(line.endswith("what") and " odd " in line for line in lines)


def test_the_trace_shows_which_violation_lost_content() -> None:
    data = body(*HELLO[:4]) + b"data: {\n\n" + body(*HELLO[5:])
    result = command("trace", "-", data=data)
    (lost,) = (part for part in result.stdout.split("! ") if "content was lost" in part)
    assert lost.startswith("undecodable_payload")
