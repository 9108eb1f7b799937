"""`sansio-stream report --body` reports a table of bodies. What is wrong is one sentence."""

import errno
import json
import os
import stat
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from signal import SIGINT
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import Result

import bodies
from commands import command
from processes import Start
from sansio_stream_tools import _batches, _parts, _table_run
from sansio_stream_tools._pool import Outcome
from sansio_stream_tools.table import report_table
from servers import PATIENCE, wait_until
from test_cli import rows
from wire import HELLO, body

HELLO_BODY = body(*HELLO)


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do the work of the processes in this one."""

    def results(function: Any, items: Any, _: int) -> Iterator[Outcome[Any, Any]]:
        for item in items:
            yield Outcome(item, function(item))

    monkeypatch.setattr(_table_run, "map_in_processes", results)


@pytest.fixture
def small_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make batches and parts small, so that a small table has many."""
    monkeypatch.setattr(_batches, "BATCH_ROWS", 4)
    monkeypatch.setattr(_batches, "ROWS_OF_A_READ", 2)
    monkeypatch.setattr(_parts, "PART_ROWS", 6)


def table_of(folder: Path, *values: bytes | None, name: str = "t.parquet", **options: Any) -> Path:
    path = folder / name
    ids = pa.array([f"id-{number}" for number in range(len(values))], pa.string())
    pq.write_table(pa.table({"id": ids, "body": pa.array(values, pa.binary())}), path, **options)
    return path


def report(source: object, out: Path, *options: str) -> Result:
    return command("report", str(source), "--body", "body", "--out", str(out), *options)


@pytest.mark.usefixtures("in_this_process", "small_sizes")
def test_the_rows_are_written_and_an_overview_is_printed(tmp_path: Path) -> None:
    source = table_of(tmp_path, HELLO_BODY, None, body(*HELLO[:4]), *[HELLO_BODY] * 9)
    out = tmp_path / "rows.parquet"
    result = report(source, out, "--id", "id", "--stall", "1")
    table = rows(result.stdout)
    assert table["streams"] == "12"
    assert table["verdicts"] == "10  COMPLETE 1  unreadable 1  TRUNCATED"
    assert "id-1: unreadable, the body is null" in result.stdout
    assert "id-2: TRUNCATED" in result.stdout
    assert (result.exit_code, result.stderr) == (1, "")
    written: pa.Table = pq.read_table(out)
    assert written.equals(report_table(pq.read_table(source)))
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert {path.name for path in tmp_path.iterdir()} == {"t.parquet", "rows.parquet"}


@pytest.mark.usefixtures("in_this_process")
def test_without_ids_the_rows_have_numbers_in_the_overview(tmp_path: Path) -> None:
    source = table_of(tmp_path, *[HELLO_BODY] * 10, b"")
    out = tmp_path / "rows.jsonl"
    assert "row 11: EMPTY" in report(source, out).stdout
    read = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["verdict"] for row in read] == ["COMPLETE"] * 10 + ["EMPTY"]
    assert "id" not in read[0]
    source = table_of(tmp_path, HELLO_BODY)
    assert report(source, out, "--force").exit_code == 0


@pytest.mark.usefixtures("in_this_process")
def test_the_rows_have_the_shares_of_the_kinds_of_bodies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A tenth of the bodies of each kind. The least common kind has one body.
    tenths = {kind: (share // 10, *rest) for kind, (share, *rest) in bodies.KINDS.items()}
    monkeypatch.setattr(bodies, "KINDS", tenths)
    source = tmp_path / "bodies.parquet"
    bodies.write(source, 1000)
    out = tmp_path / "rows.csv"
    result = report(source, out, "--id", "id")
    assert rows(result.stdout)["streams"] == "100"
    lines = out.read_text(encoding="utf-8").splitlines()
    verdict = lines[0].split(",").index("verdict")
    found = Counter(line.split(",")[verdict] for line in lines[1:] if "unreadable" not in line)
    expected = bodies.expected_verdicts(1000)
    del expected["PENDING"]
    assert found == expected
    assert sum("unreadable" in line for line in lines) == 1


@pytest.mark.usefixtures("in_this_process")
def test_an_empty_table_gives_no_rows(tmp_path: Path) -> None:
    out = tmp_path / "rows.csv"
    result = report(table_of(tmp_path), out, "--id", "id")
    assert (result.exit_code, result.stderr) == (0, "")
    assert rows(result.stdout)["streams"] == "0"
    assert out.read_text().startswith("id,failure,verdict,")


@pytest.mark.usefixtures("in_this_process")
def test_a_body_that_is_larger_than_the_largest_event_is_a_row(tmp_path: Path) -> None:
    big = b":" + bytes(2**26)
    # Without these options most of the time would go into writing the table.
    plain: dict[str, Any] = {
        "compression": "none",
        "use_dictionary": False,
        "write_statistics": False,
    }
    source = table_of(tmp_path, HELLO_BODY, big, HELLO_BODY, **plain)
    out = tmp_path / "rows.jsonl"
    assert report(source, out, "--id", "id").exit_code == 1
    read = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["verdict"] for row in read] == ["COMPLETE", "BROKEN", "COMPLETE"]
    assert read[1]["error_message"] == "an event is larger than 67108864 bytes"


def test_large_bodies_are_decoded_one_by_one() -> None:
    class Group:
        num_rows = 10
        num_columns = 2

        def column(self, number: int) -> Any:
            class Column:
                path_in_schema = ("id", "body")[number]
                total_uncompressed_size = (100, 10**9)[number]

            return Column

    group: Any = Group()
    assert _batches.rows_of_a_read(group, "body") == 1
    assert _batches.rows_of_a_read(group, "id") == _batches.ROWS_OF_A_READ
    assert _batches.rows_of_a_read(group, "other") == _batches.ROWS_OF_A_READ


# What can be wrong.


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--id", "name"], "there is no column 'name'; the columns are id, body"),
        (["--body", "id"], "the column 'id' has neither bytes nor text, but int64"),
        (["--id", "body"], "the column of ids cannot be 'body', because this is the name of"),
    ],
)
def test_a_wrong_column_is_one_sentence(options: list[str], reason: str, tmp_path: Path) -> None:
    source = tmp_path / "t.parquet"
    pq.write_table(pa.table({"id": [1], "body": [HELLO_BODY]}), source)
    result = report(source, tmp_path / "rows.csv", *options)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"sansio-stream: {source}: {reason}")
    assert result.stderr.count("\n") == 1
    assert [*tmp_path.iterdir()] == [source]


def test_a_column_of_ids_may_not_have_the_name_of_a_column_of_the_report(tmp_path: Path) -> None:
    source = tmp_path / "t.parquet"
    pq.write_table(pa.table({"model": [1], "body": [HELLO_BODY]}), source)
    result = report(source, tmp_path / "rows.csv", "--id", "model")
    assert result.exit_code == 2
    assert "the column of ids cannot be 'model'" in result.stderr
    with pytest.raises(ValueError, match="cannot have the name 'model'"):
        report_table(pq.read_table(source), id="model")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("missing.parquet", "it cannot be read: No such file or directory"),
        ("rubbish.parquet", "not a Parquet file: "),
        ("rubbish.jsonl", "line 1 is not JSON: "),
        ("rubbish.txt", "the format of the table is unknown: "),
        ("nothing://t.csv", "it cannot be opened: "),
    ],
)
def test_a_table_that_cannot_be_read_is_one_sentence(
    name: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for each in ("rubbish.parquet", "rubbish.jsonl", "rubbish.txt"):
        Path(each).write_bytes(b"rubbish" * 10)
    result = report(name, tmp_path / "rows.csv")
    assert result.exit_code == 2
    assert result.stderr.startswith(f"sansio-stream: {name}: {reason}")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "options",
    [
        ["t.csv", "--body", "body"],
        ["t.csv", "u.csv", "--body", "body", "--out", "rows.csv"],
        ["t.csv", "--body", "body", "--out", "rows.csv", "--json"],
        ["t.csv", "--body", "body", "--out", "rows.csv", "--arrival-times"],
        ["t.csv", "--body", "body", "--out", "rows.xlsx"],
        ["t.csv", "--id", "id"],
        ["t.csv", "--resume"],
        ["t.csv", "--out", "rows.parquet"],
    ],
)
def test_wrong_usage_has_the_exit_status_2(options: list[str]) -> None:
    result = command("report", *options)
    assert result.exit_code == 2
    assert "Usage: " in result.stderr


def test_without_pyarrow_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("_table_run", "_batches"):
        monkeypatch.delitem(sys.modules, f"sansio_stream_tools.{name}")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    result = report("t.parquet", tmp_path / "rows.parquet")
    assert result.exit_code == 2
    assert result.stderr == (
        "sansio-stream: pyarrow is not installed: pip install 'sansio-stream[table]'\n"
    )


@pytest.mark.usefixtures("in_this_process", "small_sizes")
def test_after_a_full_disk_resume_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = table_of(tmp_path, *[HELLO_BODY] * 20)
    out = tmp_path / "rows.jsonl"
    write = pq.write_table

    def full(table: Any, path: Path) -> None:
        if "000008" in path.name:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(table, path)

    with monkeypatch.context() as patch:
        patch.setattr(pq, "write_table", full)
        result = report(source, out, "--id", "id")
    assert result.exit_code == 2
    assert result.stderr.splitlines() == [
        f"sansio-stream: {out}: the rows cannot be written: No space left on device",
        "sansio-stream: 8 finished rows are kept; use --resume to go on",
    ]
    again = report(source, out, "--id", "id")
    assert again.exit_code == 2
    assert "has 8 rows of a run that was interrupted: use --resume" in again.stderr
    assert report(source, out, "--id", "id", "--resume").exit_code == 0
    assert len(out.read_text().splitlines()) == 20
    assert "already exists: use --force" in report(source, out, "--id", "id").stderr


def test_a_folder_that_does_not_exist_is_one_sentence(tmp_path: Path) -> None:
    out = tmp_path / "no" / "rows.csv"
    result = report(table_of(tmp_path, b""), out)
    assert (result.exit_code, result.stderr) == (
        2,
        f"sansio-stream: {out}: the rows cannot be written: No such file or directory\n",
    )


@pytest.mark.usefixtures("in_this_process", "small_sizes")
def test_rows_whose_process_was_killed_are_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def results(function: Any, items: Any, _: int) -> Iterator[Outcome[Any, Any]]:
        for number, item in enumerate(items):
            yield Outcome(item, function(item) if number == 1 else None)

    monkeypatch.setattr(_table_run, "map_in_processes", results)
    result = report(table_of(tmp_path, *[HELLO_BODY] * 60), tmp_path / "rows.csv")
    lines = result.stderr.splitlines()
    assert lines[0] == (
        "sansio-stream: rows 1 to 4 were not read, because the process that read them was killed,"
        " and so was a second one"
    )
    assert lines[1].startswith("sansio-stream: rows 9 to 12 were")
    assert lines[10:] == [
        "sansio-stream: 16 more rows were not read for this reason; their `failure` says so"
    ]
    assert rows(result.stdout)["verdicts"] == "56  unreadable 4  COMPLETE"
    assert result.exit_code == 1


@pytest.mark.usefixtures("in_this_process", "small_sizes")
def test_an_interruption_keeps_the_rows_before_the_first_that_is_not_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def results(function: Any, items: Any, _: int) -> Iterator[Outcome[Any, Any]]:
        batches = [*items]
        for number in (0, 1, 3):
            yield Outcome(batches[number], function(batches[number]))
        raise KeyboardInterrupt

    source = table_of(tmp_path, *[HELLO_BODY] * 20)
    out = tmp_path / "rows.jsonl"
    with monkeypatch.context() as patch:
        patch.setattr(_table_run, "map_in_processes", results)
        result = report(source, out, "--id", "id")
    assert (result.exit_code, result.stdout) == (130, "")
    assert result.stderr == (
        "sansio-stream: interrupted; 8 finished rows are kept; use --resume to go on\n"
    )
    assert report(source, out, "--id", "id", "--resume").exit_code == 0
    read = [json.loads(line)["id"] for line in out.read_text().splitlines()]
    assert read == [f"id-{number}" for number in range(20)]


def test_ctrl_c_ends_all_processes_and_keeps_the_finished_rows(
    start: Start, tmp_path: Path
) -> None:
    # The table is a pipe that does not end. Each row is an empty body.
    os.mkfifo(tmp_path / "t.jsonl")
    out = tmp_path / "rows.csv"
    process = start(
        "report", str(tmp_path / "t.jsonl"), "--body", "b", "--out", str(out), "--jobs", "1"
    )
    with (tmp_path / "t.jsonl").open("wb", buffering=0) as table:
        for _ in range(13):
            table.write(b'{"b": ""}\n' * 1024)
        part = tmp_path / "rows.csv.parts" / "rows-000000000000000.parquet"
        wait_until(part.exists, "a part is written")
        process.send_signal(SIGINT)
        stdout, stderr = process.communicate(timeout=PATIENCE)
    assert (process.returncode, stdout) == (130, b"")
    kept = sum(pq.read_metadata(each).num_rows for each in part.parent.glob("rows-*.parquet"))
    assert kept >= 10_000
    assert stderr.decode() == (
        f"sansio-stream: interrupted; {kept:,} finished rows are kept; use --resume to go on\n"
    )
