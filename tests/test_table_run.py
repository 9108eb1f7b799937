"""A run over a table loses no finished row, whatever ends it, and says what is wrong."""

import csv
import errno
import json
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import wait
from pathlib import Path
from threading import Thread
from typing import Any

import attrs
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from arrow import rows_in
from killing import Killing, killed_while_its_result_is_sent
from sansio_stream_tools import _batches, _parts, _table_run
from sansio_stream_tools._batches import TableError, TableFile, opened_table
from sansio_stream_tools._parts import PartsError, folder_of
from sansio_stream_tools._pool import (
    Outcome,
    end_pool,
    map_in_processes,
    new_pool,
    sigpipe_blocked,
)
from sansio_stream_tools._table_run import DIED, TableRun
from sansio_stream_tools._table_work import Batch
from sansio_stream_tools.table import report_table
from wire import HELLO, body

HELLO_BODY = body(*HELLO)


# Processes.


def test_the_results_are_in_the_order_of_the_items(tmp_path: Path) -> None:
    outcomes = map_in_processes(Killing(tmp_path, {}), iter(range(20)), workers=2)
    assert [*outcomes] == [Outcome(item, item * item) for item in range(20)]


def test_an_item_whose_process_dies_is_tried_once_more(tmp_path: Path) -> None:
    function = Killing(tmp_path, {1: 1, 6: 2})
    outcomes = map_in_processes(function, iter(range(9)), workers=2)
    assert [*outcomes] == [Outcome(n, None if n == 6 else n * n) for n in range(9)]
    assert (tmp_path / "6").stat().st_size == 2
    assert all((tmp_path / str(n)).stat().st_size <= 2 for n in range(9))


def test_an_exception_of_the_function_is_raised_and_ends_the_processes() -> None:
    with pytest.raises(ValueError, match="not a number"):
        list(map_in_processes(int, ["not a number"], workers=1))
    assert_nothing_is_left()


def test_a_caller_that_goes_away_ends_the_processes(tmp_path: Path) -> None:
    outcomes = map_in_processes(Killing(tmp_path, {}), iter(range(20)), workers=2)
    next(outcomes)
    del outcomes
    assert_nothing_is_left()


def test_a_pool_ends_although_a_process_died_while_it_sent_its_result() -> None:
    pool = new_pool(1)
    pool.submit(killed_while_its_result_is_sent)
    (process,) = multiprocessing.active_children()
    wait([process.sentinel])
    end_pool(pool, is_done=False)
    assert_nothing_is_left()


def assert_nothing_is_left() -> None:
    """Assert that no process and no thread of a pool is left."""
    assert multiprocessing.active_children() == []
    assert [thread for thread in threading.enumerate() if "Executor" in type(thread).__name__] == []


@pytest.mark.skipif(not hasattr(signal, "SIGPIPE"), reason="this system has no SIGPIPE")
def test_a_write_to_a_process_that_has_ended_does_not_end_this_process() -> None:
    reader, writer = os.pipe()
    os.close(reader)

    def mask() -> set[int]:
        return signal.pthread_sigmask(signal.SIG_BLOCK, ())

    masks: list[set[int]] = []
    signals: list[int] = []
    before = signal.signal(signal.SIGPIPE, lambda number, _: signals.append(number))
    try:
        with sigpipe_blocked():
            thread = Thread(target=lambda: masks.append(mask()))
            thread.start()
            with pytest.raises(BrokenPipeError):
                os.write(writer, b"x")
        thread.join()
        assert signals == []
        assert signal.SIGPIPE in masks[0]
        assert signal.SIGPIPE not in mask()
    finally:
        signal.signal(signal.SIGPIPE, before)
        os.close(writer)


# Reading tables. Small sizes stand for large tables.


@pytest.fixture
def small_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_batches, "BATCH_ROWS", 4)
    monkeypatch.setattr(_batches, "ROWS_OF_A_READ", 2)
    monkeypatch.setattr(_parts, "PART_ROWS", 6)


def write_table(path: Path, bodies: Iterable[str | None]) -> str:
    """Write a table in the format that the name selects. Return the name."""
    rows = [{"id": f"id-{n}", "body": each, "other": 1} for n, each in enumerate(bodies)]
    match path.suffix:
        case ".parquet":
            fields = {"id": pa.string(), "body": pa.string(), "other": pa.int8()}
            schema = pa.schema([pa.field(name, kind) for name, kind in fields.items()])
            pq.write_table(pa.Table.from_pylist(rows, schema), path, row_group_size=5)
        case ".jsonl":
            path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        case _:
            with path.open("w", encoding="utf-8-sig", newline="") as file:
                writer = csv.DictWriter(file, ["id", "body", "other"])
                writer.writeheader()
                writer.writerows(rows)
    return str(path)


def batches_in(name: str, skip: int = 0, id: str | None = "id") -> list[Batch]:
    with opened_table(name, body="body", id=id) as table:
        return [*table.batches(skip)]


FORMATS = (".parquet", ".jsonl", ".csv")


@pytest.mark.usefixtures("small_sizes")
@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("skip", [0, 1, 4, 10, 11, 12])
def test_the_batches_have_all_rows_behind_the_skipped_ones(
    suffix: str, skip: int, tmp_path: Path
) -> None:
    bodies = [f"data: é{n}\r\n\n" for n in range(11)]
    batches = batches_in(write_table(tmp_path / f"t{suffix}", bodies), skip)
    rows = [row for batch in batches for row in batch.table.to_pylist()]
    assert rows == [{"id": f"id-{n}", "body": bodies[n]} for n in range(skip, 11)]
    assert all(len(batch.table) <= 5 for batch in batches)
    starts = [skip]
    for batch in batches:
        assert batch.start == starts[-1]
        starts.append(batch.start + len(batch.table))


@pytest.mark.usefixtures("small_sizes")
@pytest.mark.parametrize("suffix", FORMATS)
def test_a_batch_ends_with_the_read_that_makes_its_bodies_large(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_batches, "BATCH_BYTES", 100)
    name = write_table(tmp_path / f"t{suffix}", ["a" * 60] * 9)
    assert [len(batch.table) for batch in batches_in(name)] == [2, 2, 2, 2, 1]


@pytest.mark.parametrize("suffix", FORMATS)
def test_an_empty_table_has_no_batches(suffix: str, tmp_path: Path) -> None:
    assert batches_in(write_table(tmp_path / f"t{suffix}", [])) == []


def test_the_ids_can_be_left_out(tmp_path: Path) -> None:
    (batch,) = batches_in(write_table(tmp_path / "t.jsonl", ["a"]), id=None)
    assert batch.table.schema.names == ["body"]


def test_members_of_json_that_are_no_text_are_kept_as_json_and_blank_lines_are_skipped(
    tmp_path: Path,
) -> None:
    path = tmp_path / "t.JSONL"
    path.write_text(
        '{"id": 7, "body": "a"}\n\n{"id": {"b": [1]}, "body": "\\ud800"}\n{"id": "c"}\n'
    )
    (batch,) = batches_in(str(path))
    assert batch.table.to_pylist() == [
        {"id": "7", "body": "a"},
        {"id": '{"b": [1]}', "body": "?"},
        {"id": "c", "body": None},
    ]


def test_a_short_row_of_csv_has_nulls_and_a_blank_line_is_skipped(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("id,body\n\n1\n2,b\n")
    (batch,) = batches_in(str(path))
    assert batch.table.to_pylist() == [{"id": "1", "body": None}, {"id": "2", "body": "b"}]


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("t.parquet", b"rubbish", "not a Parquet file: "),
        ("t.jsonl", b"rubbish", "line 1 is not JSON: "),
        ("t.jsonl", b'{"id": 1, "body": ""}\n' + b"[" * 100_000, "line 2 is not JSON: "),
        ("t.jsonl", b"[]", "line 1 is not a JSON object"),
        ("t.jsonl", b'{"id": 1}', "there is no column 'body'; the columns are id"),
        ("t.csv", b"id,text\n", "there is no column 'body'; the columns are id, text"),
        ("t.csv", b"", "there is no column 'id'; the columns are "),
        ("t.csv", b"id,body\n1,\xff\n", "is not CSV in UTF-8: "),
        ("t.tsv", b"", "its name ends in '.tsv', not in .parquet, .jsonl or .csv"),
    ],
)
def test_a_table_that_cannot_be_read_is_explained_in_one_sentence(
    name: str, data: bytes, reason: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(TableError, match=reason.replace("(", r"\(")):
        batches_in(str(path))


def test_a_parquet_file_without_the_column_names_those_that_it_has(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"a": [1], "b": [2]}), path)
    with pytest.raises(TableError, match="there is no column 'id'; the columns are a, b"):
        batches_in(str(path))


def test_a_damaged_parquet_file_is_explained_when_its_rows_are_read(tmp_path: Path) -> None:
    path = Path(write_table(tmp_path / "t.parquet", ["a" * 1000] * 20))
    data = bytearray(path.read_bytes())
    data[4:400] = b"\xff" * 396
    path.write_bytes(data)
    with pytest.raises(TableError, match="the Parquet file is damaged: "):
        batches_in(str(path))


# Runs. All but one of them call the function in this process.


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def results(
        function: Callable[[Any], Any], items: Iterable[Any], workers: int
    ) -> Iterator[Outcome[Any, Any]]:
        assert workers == 2
        for item in items:
            yield Outcome(item, function(item))

    monkeypatch.setattr(_table_run, "map_in_processes", results)


def run_of(source: str, destination: Path) -> TableRun:
    return TableRun(
        source=source,
        destination=destination,
        body="body",
        id="id",
        limits=None,
        source_limits=None,
        stall=2.0,
        workers=2,
    )


@attrs.define
class Calls:
    """What a run has told its caller."""

    advanced: list[tuple[int, int | None]] = attrs.field(factory=list)
    died: list[range] = attrs.field(factory=list)
    seen: list[Any] = attrs.field(factory=list)

    def start(self, run: TableRun, **options: Any) -> int:
        def advanced(done: int, rows: int | None) -> None:
            self.advanced.append((done, rows))

        given = {"resume": False, "force": False, "advanced": advanced, **options}
        return run.run(died=self.died.append, see=self.seen.append, **given)


BODIES = [HELLO_BODY.decode(), None, "rubbish", *[HELLO_BODY.decode()] * 14]


def read_rows(path: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]]
    match path.suffix:
        case ".parquet":
            rows = rows_in(pq.read_table(path))
        case ".jsonl":
            rows = [json.loads(line) for line in path.read_text().splitlines()]
        case _:
            with path.open(newline="") as file:
                rows = [*csv.DictReader(file)]
    return rows


def expected_rows(source: str = ".parquet") -> list[dict[str, Any]]:
    """Return the rows of `BODIES`. A cell of CSV cannot be null, but it can be empty."""
    ids = [f"id-{n}" for n in range(len(BODIES))]
    bodies = [each or "" for each in BODIES] if source == ".csv" else BODIES
    table = pa.table({"id": ids, "body": pa.array(bodies, pa.string())})
    return rows_in(report_table(table))


@pytest.mark.usefixtures("small_sizes", "in_this_process")
@pytest.mark.parametrize("source", FORMATS)
@pytest.mark.parametrize("destination", FORMATS)
def test_each_row_has_its_report_in_every_format(
    source: str, destination: str, tmp_path: Path
) -> None:
    out = tmp_path / f"rows{destination}"
    calls = Calls()
    assert calls.start(run_of(write_table(tmp_path / f"t{source}", BODIES), out)) == len(BODIES)
    rows, expected = read_rows(out), expected_rows(source)
    if destination == ".csv":
        for row in expected:
            for name in ("violations", "blocks", "usage", "stalls"):
                row[name] = json.dumps(row[name], separators=(",", ":"))
        expected = [{n: "" if v is None else str(v) for n, v in row.items()} for row in expected]
    assert rows == expected
    assert [row["id"] for table in calls.seen for row in table.to_pylist()] == [
        row["id"] for row in expected
    ]
    assert calls.advanced[-1] == (len(BODIES), len(BODIES) if source == ".parquet" else None)
    assert {path.name for path in tmp_path.iterdir()} == {f"t{source}", out.name}


@pytest.mark.usefixtures("small_sizes", "in_this_process")
@pytest.mark.parametrize("suffix", FORMATS)
def test_the_rows_of_an_empty_table_are_an_empty_table(suffix: str, tmp_path: Path) -> None:
    out = tmp_path / f"rows{suffix}"
    assert Calls().start(run_of(write_table(tmp_path / "t.parquet", []), out)) == 0
    assert read_rows(out) == []


def test_a_run_in_two_processes_gives_the_same_rows(tmp_path: Path) -> None:
    out = tmp_path / "rows.parquet"
    Calls().start(run_of(write_table(tmp_path / "t.parquet", BODIES), out))
    assert read_rows(out) == expected_rows()


class Interruption:
    """Interrupts a run when it has finished a number of rows."""

    def __init__(self, after: int, error: BaseException) -> None:
        self.after = after
        self.error = error

    def __call__(self, done: int, _: int | None) -> None:
        if done >= self.after:
            raise self.error


@pytest.mark.usefixtures("small_sizes", "in_this_process")
@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("after", [0, 1, 8, 17])
def test_after_an_interruption_resume_reads_only_the_other_rows(
    suffix: str, after: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "rows.parquet"
    run = run_of(write_table(tmp_path / f"t{suffix}", BODIES), out)
    with pytest.raises(KeyboardInterrupt):
        Calls().start(run, advanced=Interruption(after, KeyboardInterrupt()))
    assert not out.exists()
    done = sum(len(pq.read_table(part)) for part in folder_of(out).glob("rows-*.parquet"))
    assert done >= after

    started: list[int] = []
    batches = TableFile.batches

    def counting(self: TableFile, skip: int = 0) -> Iterator[Batch]:
        started.append(skip)
        return batches(self, skip)

    monkeypatch.setattr(TableFile, "batches", counting)
    calls = Calls()
    assert calls.start(run, resume=True) == len(BODIES)
    assert started == [done]
    assert calls.advanced[0][0] == done
    assert read_rows(out) == expected_rows(suffix)
    assert sum(map(len, calls.seen)) == len(BODIES)
    assert not folder_of(out).exists()


@pytest.mark.usefixtures("small_sizes", "in_this_process")
def test_a_full_disk_costs_only_the_rows_of_one_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "rows.jsonl"
    run = run_of(write_table(tmp_path / "t.parquet", BODIES), out)
    write = pq.write_table
    written: list[Path] = []

    def full(table: Any, path: Path) -> None:
        if written:
            path.write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
        written.append(path)
        write(table, path)

    with monkeypatch.context() as patch:
        patch.setattr(pq, "write_table", full)
        with pytest.raises(OSError, match="No space left"):
            Calls().start(run)
    assert len(written) == 1
    assert sorted(path.name for path in folder_of(out).iterdir()) == [
        "rows-000000000000000.parquet",
        "run.json",
    ]
    assert Calls().start(run, resume=True) == len(BODIES)
    assert [row["id"] for row in read_rows(out)] == [row["id"] for row in expected_rows()]


@pytest.mark.usefixtures("small_sizes", "in_this_process")
def test_if_the_destination_cannot_be_written_the_parts_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full(_parts.JSONRows):
        def write(self, table: Any) -> None:
            super().write(table)
            raise OSError(errno.ENOSPC, "No space left on device")

    out = tmp_path / "rows.jsonl"
    run = run_of(write_table(tmp_path / "t.parquet", BODIES), out)
    with monkeypatch.context() as patch:
        patch.setitem(_parts.WRITERS, ".jsonl", Full)
        with pytest.raises(OSError, match="No space left"):
            Calls().start(run)
    assert {path.name for path in tmp_path.iterdir()} == {"t.parquet", "rows.jsonl.parts"}
    calls = Calls()
    assert calls.start(run, resume=True) == len(BODIES)
    assert calls.advanced[0][0] == len(BODIES)


@pytest.mark.usefixtures("small_sizes")
def test_the_rows_of_a_batch_whose_process_dies_have_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def results(function: Any, items: Iterable[Batch], workers: int) -> Iterator[Any]:
        del workers
        for item in items:
            yield Outcome(item, None if item.start == 4 else function(item))

    monkeypatch.setattr(_table_run, "map_in_processes", results)
    out = tmp_path / "rows.parquet"
    calls = Calls()
    calls.start(run_of(write_table(tmp_path / "t.parquet", BODIES), out))
    assert calls.died == [range(4, 9)]
    rows = read_rows(out)
    assert [row["failure"] for row in rows[4:9]] == [DIED] * 5
    assert [*rows[:4], *rows[9:]] == [*expected_rows()[:4], *expected_rows()[9:]]


@pytest.mark.usefixtures("small_sizes", "in_this_process")
def test_earlier_results_are_only_replaced_with_force(tmp_path: Path) -> None:
    out = tmp_path / "rows.parquet"
    source = write_table(tmp_path / "t.parquet", BODIES)
    run = run_of(source, out)
    with pytest.raises(KeyboardInterrupt):
        Calls().start(run, advanced=Interruption(12, KeyboardInterrupt()))
    with pytest.raises(
        PartsError, match=r"has 14 rows of a run that was interrupted: use --resume"
    ):
        Calls().start(run)
    with pytest.raises(PartsError, match="belongs to a run with another table or other options"):
        Calls().start(attrs.evolve(run, stall=9.0), resume=True)
    calls = Calls()
    calls.start(run, force=True)
    assert calls.advanced[0][0] == 0
    with pytest.raises(PartsError, match=r"rows\.parquet already exists: use --force"):
        Calls().start(run)
    assert Calls().start(run, force=True) == len(BODIES)


@pytest.mark.usefixtures("small_sizes", "in_this_process")
def test_a_changed_table_is_not_resumed(tmp_path: Path) -> None:
    out = tmp_path / "rows.parquet"
    run = run_of(write_table(tmp_path / "t.jsonl", BODIES), out)
    with pytest.raises(KeyboardInterrupt):
        Calls().start(run, advanced=Interruption(4, KeyboardInterrupt()))
    write_table(tmp_path / "t.jsonl", BODIES[:-1])
    with pytest.raises(PartsError, match="another table"):
        Calls().start(run, resume=True)


def test_the_destination_must_have_a_known_format(tmp_path: Path) -> None:
    run = run_of(write_table(tmp_path / "t.jsonl", BODIES), tmp_path / "rows.xlsx")
    with pytest.raises(PartsError, match=r"must end in \.parquet, \.jsonl, \.csv"):
        Calls().start(run)


@pytest.mark.usefixtures("in_this_process")
def test_no_cell_of_csv_begins_a_formula(tmp_path: Path) -> None:
    source = tmp_path / "t.jsonl"
    source.write_text('{"id": "=1+1", "body": ""}\n{"id": "-a", "body": ""}\n')
    out = tmp_path / "rows.csv"
    Calls().start(run_of(str(source), out))
    assert [row["id"] for row in read_rows(out)] == ["'=1+1", "'-a"]


def test_a_url_is_read_by_fsspec(tmp_path: Path) -> None:
    fsspec = pytest.importorskip("fsspec", reason="URLs need fsspec")
    name = write_table(tmp_path / "t.parquet", BODIES)
    with fsspec.open("memory://t.parquet", "wb") as file:
        file.write(Path(name).read_bytes())
    (batch,) = batches_in("memory://t.parquet")
    assert len(batch.table) == len(BODIES)


def test_a_url_that_cannot_be_opened_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TableError, match="it cannot be opened: "):
        batches_in("nothing://t.csv")
    monkeypatch.setitem(__import__("sys").modules, "fsspec", None)
    with pytest.raises(TableError, match="it cannot be opened: "):
        batches_in("memory://t.csv")
