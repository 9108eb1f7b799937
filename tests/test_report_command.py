"""`sansio-stream report` describes one stream, or has a row for each stream and an overview."""

import csv
import io
import json
import math
import multiprocessing
import os
import signal
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st
from rich.cells import cell_len
from rich.console import Console

from commands import CONTROLS, capture, command, tool_call
from processes import Start, kill_this_process
from sansio_stream import Report, Verdict, parse_capture, report_of
from sansio_stream.report import REPORT_COLUMNS
from sansio_stream_tools import _file_rows, _overview, _pool, _rows
from sansio_stream_tools._counts import NameCounts, Percentiles
from sansio_stream_tools._options import ReadLimits
from sansio_stream_tools._row_lines import cell_of
from sansio_stream_tools._rows import ReportOptions, ReportRow, files_in, rows_of_file
from sansio_stream_tools._summary import Outcome, summary_table
from servers import PATIENCE, wait_until
from test_cli import CAPTURES, CUT, CUT_STREAMS, DIRTY, ENDS, EVIL, EVIL_STREAM, EXAMPLES, rows
from wire import HELLO, MESSAGE_STOP, OVERLOADED, body, message_delta, message_start

OPTIONS = ReportOptions(limits=ReadLimits(), stall=2.0)


# One stream.


@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: path.name)
def test_json_is_the_report_of_the_stream(path: Path) -> None:
    result = command("report", "--json", str(path))
    assert json.loads(result.stdout) == report_of(parse_capture(path.read_bytes())).to_dict()
    assert result.stderr == ""


@pytest.mark.parametrize("verdict", ENDS)
def test_the_exit_status_is_that_of_replay(verdict: Verdict) -> None:
    data, status = ENDS[verdict]
    result = command("report", "-", data=data)
    assert result.exit_code == status
    assert rows(result.stdout)["verdict"] == f"{verdict.name}: {verdict.value}"
    assert result.stderr == ""


SLOW = capture(
    (0.5, body(*HELLO[:3])), (1.0, body(HELLO[3])), (4.5, body(HELLO[4])), (9.0, body(*HELLO[5:]))
)


def test_the_report_names_stalls_with_their_place() -> None:
    table = rows(command("report", "-", data=SLOW).stdout)
    offset = len(body(*HELLO[:4]))
    assert table["stalls"] == f"1 longer than 2 s 3.50 s until 4.50 s (event 5, byte {offset})"
    assert "stalls" not in rows(command("report", "--stall", "3.5", "-", data=SLOW).stdout)
    table = rows(command("report", "--stall", "0", "-", data=SLOW).stdout)
    assert table["stalls"].startswith("1 longer than 0 s")


def test_the_report_has_no_counters_that_are_0() -> None:
    usage = {"input_tokens": 5, "cache_read_input_tokens": 0, "server_tool_use": {"x": 0, "y": 2}}
    data = body(message_start(usage=usage), {**message_delta(), "usage": {}}, MESSAGE_STOP)
    assert rows(command("report", "-", data=data).stdout)["usage"] == (
        "5  input_tokens 2  server_tool_use.y"
    )
    data = body(message_start(usage={"input_tokens": 0}), {**message_delta(), "usage": {}})
    assert rows(command("report", "-", data=data).stdout)["usage"] == "nothing"


def test_the_report_says_what_was_lost_and_counts_violations_by_code() -> None:
    data, _ = ENDS[Verdict.DAMAGED]
    table = rows(command("report", "-", data=data).stdout)
    offset = len(body(*HELLO[:4]))
    assert table["lost"] == f"content was first lost by undecodable_payload at byte {offset}"
    assert "1  undecodable_payload" in table["violations"]
    table = rows(command("report", "-", data=tool_call("[")).stdout)
    assert table["tool calls"] == "1 broken"
    assert table["input"] == "lookup (content[0]) is invalid"


def test_a_response_that_is_no_stream_is_reported_with_its_error() -> None:
    error = b'{"type":"error","error":{"type":"overloaded_error","message":"Busy"}}'
    table = rows(command("report", "-", data=capture((0.1, error), status=529)).stdout)
    assert table["verdict"].startswith("ERRORED")
    assert "overloaded_error" in table["reason"]
    assert table["HTTP"] == "529"


def test_a_recording_that_was_cut_off_has_no_verdict_before_the_end_of_its_message() -> None:
    lines = SLOW.splitlines(keepends=True)
    for count, verdict, status in ((4, "PENDING", 1), (5, "COMPLETE", 0)):
        result = command("report", "-", data=b"".join(lines[:count]))
        assert rows(result.stdout)["verdict"].startswith(verdict)
        assert rows(result.stdout)["remark"] == "the recording file is cut off here"
        assert result.exit_code == status


def test_a_connection_that_was_lost_is_named() -> None:
    cut = capture((0.1, body(*HELLO[:4])), end="ReadError()")
    assert rows(command("report", "-", data=cut).stdout)["reason"] == "ReadError()"
    whole = capture((0.1, body(*HELLO)), end="ReadError()")
    assert "ReadError()" in rows(command("report", "-", data=whole).stdout)["remark"]


# Several streams.


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with streams in two folders, and with other files."""
    (tmp_path / "logs" / "deep").mkdir(parents=True)
    (tmp_path / "logs" / ".git").mkdir()
    (tmp_path / "logs" / ".git" / "config").write_text("hidden")
    (tmp_path / "logs" / "a.sse").write_bytes(body(*HELLO))
    (tmp_path / "logs" / "deep" / "b.capture.jsonl").write_bytes(SLOW)
    (tmp_path / "logs" / "deep" / "c.sse").write_bytes(body(*HELLO[:4], OVERLOADED))
    damaged = b'{"sansio_stream_capture": 1}\nrubbish\n{}\n'
    (tmp_path / "logs" / "z.capture.jsonl").write_bytes(damaged)
    os.mkfifo(tmp_path / "logs" / "pipe")
    (tmp_path / "logs" / "loop").symlink_to(tmp_path / "logs")
    return tmp_path / "logs"


NAMES = ["a.sse", "z.capture.jsonl", "deep/b.capture.jsonl", "deep/c.sse"]


def test_a_folder_means_the_regular_files_in_it_and_in_its_folders(folder: Path) -> None:
    expected = [str(folder / name) for name in NAMES]
    assert list(files_in([str(folder)])) == expected
    assert list(files_in([str(folder / "**" / "*.sse")])) == [expected[0], expected[3]]
    assert list(files_in([str(folder / "d*")])) == expected[2:]
    # What does not exist is opened, so that the reason is reported.
    assert list(files_in(["missing", "no*thing", "-"])) == ["missing", "no*thing", "-"]
    odd = folder / "odd[1].sse"
    odd.write_bytes(b"")
    assert list(files_in([str(odd)])) == [str(odd)]


def test_there_is_a_line_for_each_stream_and_an_overview(folder: Path) -> None:
    result = command("report", str(folder))
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["stream", "verdict", "first", "gap", "tokens"]
    assert [line.split()[1] for line in lines[1:5]] == [
        "COMPLETE",
        "unreadable",
        "COMPLETE",
        "ERRORED",
    ]
    assert lines[3].split()[2:7] == ["1.00", "3.50", "9", "1", "stall,"]
    assert "line 2" in lines[2]
    table = rows(result.stdout)
    assert table["streams"] == "4"
    assert table["verdicts"] == "2  COMPLETE 1  unreadable 1  ERRORED"
    assert table["errors"] == "1  overloaded_error"
    assert table["models"] == "3  claude-test-1"
    assert table["tokens"] == "19  output_tokens 9  input_tokens"
    assert table["stalls"] == "1 longer than 2 s, in 1 stream"
    assert table["first token"] == "1.00 │ 1.00 │ 1.00 │ 1.00 │       1"
    worst = result.stdout[result.stdout.index("the worst streams") :]
    order = [worst.index(name) for name in ("z.capture", "c.sse", "b.capture")]
    assert order == sorted(order)
    assert "a.sse" not in worst
    assert result.exit_code == 2


def test_json_has_a_row_on_each_line_and_no_overview(folder: Path) -> None:
    result = command("report", "--json", str(folder))
    read = [json.loads(line) for line in result.stdout.splitlines()]
    assert [row["name"] for row in read] == [str(folder / name) for name in NAMES]
    columns = ["name", "kind", "unreadable", *(column.name for column in REPORT_COLUMNS)]
    assert all(list(row) == columns for row in read)
    assert read[2] == {
        "name": str(folder / NAMES[2]),
        "kind": "capture",
        "unreadable": None,
        **report_of(parse_capture(SLOW)).to_dict(),
    }
    assert read[1]["verdict"] is None
    assert read[1]["unreadable"].startswith("line 2")


@pytest.mark.parametrize("ending", [".jsonl", ".csv"])
def test_rows_are_written_to_a_private_file(folder: Path, ending: str) -> None:
    out = folder.parent / f"rows{ending}"
    result = command("report", str(folder), "--out", str(out))
    assert result.exit_code == 2
    assert rows(result.stdout)["streams"] == "4"
    assert "stream  " not in result.stdout
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    written = out.read_text(encoding="utf-8")
    if ending == ".jsonl":
        assert written == command("report", "--json", str(folder)).stdout
    else:
        read = list(csv.DictReader(written.splitlines()))
        assert [row["name"] for row in read] == [str(folder / name) for name in NAMES]
        assert json.loads(read[2]["usage"]) == {"input_tokens": 3, "output_tokens": 9}
        assert (read[2]["gap_max"], read[1]["gap_max"]) == ("3.5", "")
    # An existing file is kept without --force.
    assert "use --force" in command("report", str(folder), "--out", str(out)).stderr
    assert out.read_text(encoding="utf-8") == written
    assert command("report", CUT, "--force", "--out", str(out)).exit_code == 1
    assert CUT in out.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "sent", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", " =1", "\uff1d1", "\uff201", "\n=1"]
)
def test_a_cell_is_never_a_formula(sent: str) -> None:
    cell = cell_of(sent)
    assert isinstance(cell, str)
    assert cell.startswith("'")


@given(st.text())
def test_a_cell_is_one_line_without_control_characters(sent: str) -> None:
    cell = cell_of(sent)
    assert isinstance(cell, str)
    assert CONTROLS.search(cell) is None
    assert "\n" not in cell
    assert not cell.startswith(("=", "+", "-", "@"))


def test_the_cells_of_a_hostile_stream_are_quoted(tmp_path: Path) -> None:
    evil = tmp_path / "=evil.sse"
    start = message_start("=cmd|' /C calc'!A0", model="@model")
    evil.write_bytes(body(start, message_delta("+1", usage={"=x": 1}), MESSAGE_STOP))
    out = tmp_path / "rows.csv"
    command("report", str(evil), "--out", str(out))
    (row,) = csv.DictReader(out.read_text(encoding="utf-8").splitlines())
    assert row["message_id"] == "'=cmd|' /C calc'!A0"
    assert (row["model"], row["stop_reason"]) == ("'@model", "'+1")
    assert all(cell[:1] not in "=+-@" for cell in row.values() if cell)


@pytest.mark.parametrize(
    "args",
    [
        ["--out", "rows.xlsx", DIRTY],
        ["--json", "--out", "rows.csv", DIRTY],
        ["--arrival-times", DIRTY, CUT],
        ["--jobs", "0", DIRTY],
        ["--stall", "inf", DIRTY],
        [],
    ],
)
def test_wrong_usage_has_the_exit_status_2(args: list[str]) -> None:
    result = command("report", *args)
    assert result.exit_code == 2
    assert "Usage: " in result.stderr


def test_an_empty_folder_is_an_error(tmp_path: Path) -> None:
    result = command("report", str(tmp_path))
    assert result.exit_code == 2
    assert "there is no file" in result.stderr


def test_a_file_that_does_not_exist_is_a_row(tmp_path: Path) -> None:
    result = command("report", DIRTY, str(tmp_path / "missing"))
    assert "unreadable, No such file or directory" in " ".join(result.stdout.split())
    alone = command("report", str(tmp_path / "missing"))
    assert (alone.exit_code, alone.stdout) == (2, "")
    assert "No such file or directory" in alone.stderr


# The overview.


def row_with(name: str, **columns: Any) -> ReportRow:
    report = Report(**{"verdict": Verdict.COMPLETE, "ended": "eof", **columns})
    return ReportRow(name=name, kind="capture", report=report)


def test_the_ten_worst_streams_are_ordered_by_severity_and_then_by_pause() -> None:
    overview = _overview.Overview(stall=2.0)
    for number in range(30):
        overview.add(row_with(f"slow-{number}", stall_count=1, gap_max=3.0 + number))
    overview.add(row_with("cut", verdict=Verdict.TRUNCATED))
    overview.add(ReportRow(name="lost", unreadable="no"))
    overview.add(row_with("open", verdict=Verdict.UNTERMINATED))
    overview.add(row_with("fine", gap_max=1.0))
    names = [entry[1] for entry in sorted(overview._worst, reverse=True)]
    assert names == ["lost", "cut", "open", *(f"slow-{number}" for number in range(29, 22, -1))]


@given(st.lists(st.floats(0, 100), min_size=1, max_size=50), st.sampled_from([50, 95, 99, 100]))
def test_a_percentile_is_the_smallest_value_that_is_not_exceeded_by_that_share(
    values: list[float], percent: int
) -> None:
    percentiles = Percentiles()
    for value in values:
        percentiles.add(value)
    (found,) = percentiles.at(percent)
    rank = math.ceil(percent * len(values) / 100)
    assert found == pytest.approx(sorted(values)[rank - 1], rel=0.0005, abs=0.0005)
    assert percentiles.at(0, percent, 100)[1] == found


def test_the_memory_of_an_overview_does_not_grow_with_the_rows() -> None:
    percentiles, names = Percentiles(), NameCounts()
    for number in range(60_000):
        percentiles.add(1e9 / (number + 1))
        names.add(f"name-{number}")
    assert len(percentiles) == 60_000
    assert len(vars(percentiles)["_counts"]) < 45_000
    assert percentiles.at(100) == [1e9]
    assert names.most_common(1) == [("(other names)", 50_000)]
    assert len(names) == 10_001
    percentiles.add(1e300)
    assert percentiles.at(100) == [1e12]


def test_many_names_and_huge_numbers_are_bounded() -> None:
    overview = _overview.Overview(stall=2.0)
    for number in range(1_000):
        overview.add(row_with(f"{number}", model=f"m{number}", usage={f"u{number}": 10**4_000}))
    facts = dict(overview._facts())
    assert facts["models"][-1] == "990 more names"
    assert "tokens" not in facts


@pytest.mark.parametrize("at", [1e308, 1e9, 99_999.996])
def test_a_huge_time_takes_little_room(at: float) -> None:
    row = row_with("x", first_content=at, gap_p50=at, gap_p95=at, gap_max=at, end=at)
    assert len(_overview.line_of_row(row, 100)) < 100
    overview = _overview.Overview(stall=2.0)
    overview.add(row)
    console = Console(file=io.StringIO(), width=80)
    overview.print(console)
    assert row.report is not None
    console.print(summary_table(row.report, None, Outcome()))
    assert "0" * 20 not in console.file.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize("columns", [40, 60, 80, 100, 140])
def test_every_line_fits_the_width(folder: Path, columns: int) -> None:
    (folder / f"{'n' * 100}=漢字.sse").write_bytes(EVIL_STREAM)
    lines = command("report", str(folder), columns=columns).stdout.splitlines()
    assert max(map(cell_len, lines)) <= columns


def test_no_control_character_is_printed(tmp_path: Path) -> None:
    evil = tmp_path / "evil\x1b[2J.sse"
    evil.write_bytes(EVIL_STREAM)
    (tmp_path / "capture").write_bytes(capture((0.1, EVIL_STREAM), end=EVIL))
    out = tmp_path / "rows.csv"
    for args in ([], ["--json"], ["--out", str(out)]):
        result = command("report", *args, str(evil), str(tmp_path / "capture"))
        assert CONTROLS.search(result.stdout + result.stderr) is None
    assert CONTROLS.search(out.read_text(encoding="utf-8")) is None


@given(CUT_STREAMS, st.sampled_from([[], ["--json"]]))
def test_no_bytes_cause_a_traceback(data: bytes, args: list[str]) -> None:
    result = command("report", "-", *args, data=data)
    assert result.exit_code in {0, 1, 2}


# Processes.


def test_processes_give_the_same_rows_in_the_same_order(folder: Path) -> None:
    names = [*files_in([str(folder)]), str(folder / "missing"), *files_in([str(EXAMPLES)])]
    alone = [tuple(rows_of_file(name, OPTIONS)) for name in names]
    assert list(_file_rows.rows_of_files(names, OPTIONS, jobs=1)) == alone
    with _pool.sigint_blocked():
        assert list(_file_rows.rows_of_files(names, OPTIONS, jobs=2)) == alone
    assert multiprocessing.active_children() == []


def test_processes_are_started_only_for_large_files(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = list(files_in([str(folder)]))
    assert not _file_rows.is_worth_a_pool(names)
    monkeypatch.setattr(_file_rows, "WORTH_A_POOL", 100)
    assert _file_rows.is_worth_a_pool(names)
    assert not _file_rows.is_worth_a_pool(names[:1])


def test_a_process_that_is_killed_gives_rows_that_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_file_rows, "all_rows", kill_this_process)
    with _pool.sigint_blocked():
        made = list(_file_rows.rows_of_files([DIRTY, CUT], OPTIONS, jobs=2))
    assert [row.name for (row,) in made] == [DIRTY, CUT]
    assert all("was killed, and so was a second one" in str(row.unreadable) for (row,) in made)


def test_an_interruption_keeps_the_rows_that_are_done(start: Start, tmp_path: Path) -> None:
    # Two processes read. The third file is a pipe whose writer never writes, so it is never done.
    for name in "ab":
        (tmp_path / name).write_bytes(body(*HELLO))
    os.mkfifo(tmp_path / "pipe")
    out = tmp_path / "rows.jsonl"
    paths = [str(tmp_path / name) for name in ("a", "b", "pipe")]
    process = start("report", "--jobs", "2", "--out", str(out), *paths)
    writer = os.open(tmp_path / "pipe", os.O_WRONLY)  # returns once the pipe is read
    wait_until(lambda: out.read_bytes().count(b"\n") == 2, "two rows are written")
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=PATIENCE)
    os.close(writer)
    assert process.returncode == 130
    assert stderr == b"sansio-stream: interrupted; the rows that were done are kept\n"
    assert [json.loads(line)["name"] for line in out.read_text().splitlines()] == paths[:2]
    assert rows(stdout.decode())["streams"] == "2"


def test_an_interruption_without_processes_keeps_the_rows_that_are_done(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def interrupted(name: str, options: ReportOptions) -> Iterator[ReportRow]:
        if name == CUT:
            raise KeyboardInterrupt
        return rows_of_file(name, options)

    monkeypatch.setattr(_file_rows, "rows_of_file", interrupted)
    out = tmp_path / "rows.jsonl"
    result = command("report", "--out", str(out), DIRTY, CUT, DIRTY)
    assert result.exit_code == 130
    assert len(out.read_text().splitlines()) == 1
    assert rows(result.stdout)["streams"] == "1"


def test_a_report_is_the_same_with_and_without_a_row(tmp_path: Path) -> None:
    ((row,),) = _file_rows.rows_of_files([DIRTY], OPTIONS)
    assert row.report is not None
    assert row.report == report_of(parse_capture(Path(DIRTY).read_bytes()))
    assert row.to_dict() == {
        "name": DIRTY,
        "kind": row.kind,
        "unreadable": None,
        **row.report.to_dict(),
    }
    assert tuple(row.to_dict()) == _rows.COLUMNS


def test_the_limits_apply(tmp_path: Path) -> None:
    result = command("report", "--limit", "blocks=1", "-", data=body(*HELLO[:2], *HELLO[1:]))
    assert result.exit_code == 1
