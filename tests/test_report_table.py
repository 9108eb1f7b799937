"""`report_table` gives each body of an Arrow table its report, and no body stops it."""

import gzip
import pickle
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, strategies as st

from arrow import rows_in
from sansio_stream import (
    REPORT_COLUMNS,
    CaptureHeader,
    CaptureWriter,
    Limits,
    Report,
    parse_capture,
    report_of,
)
from sansio_stream_tools.table import FAILURE, REPORT_SCHEMA, failed_table, report_table, schema_of
from shared_data import REPOSITORY
from wire import HELLO, body, message_start

EXAMPLES = sorted((REPOSITORY / "examples").glob("*.capture.jsonl"))


def table_of(*bodies: bytes | str | None, type: Any = None) -> Any:
    ids = pa.array(range(len(bodies)), pa.int64())
    return pa.table({"id": ids, "body": pa.array(bodies, type or pa.binary())})


def only_row(data: bytes | str | None, **options: Any) -> dict[str, Any]:
    (row,) = rows_in(report_table(table_of(data), **options))
    return row


def report_in(row: dict[str, Any]) -> dict[str, Any]:
    """Return the members of the report in a row."""
    return {column.name: row[column.name] for column in REPORT_COLUMNS}


def test_the_columns_are_the_id_the_failure_and_those_of_a_report() -> None:
    result = report_table(table_of(b""))
    assert result.schema.names == ["id", FAILURE, *(column.name for column in REPORT_COLUMNS)]
    assert result.schema == schema_of(table_of().schema)
    assert (
        report_table(table_of(b""), id=None).schema
        == REPORT_SCHEMA
        == schema_of(pa.schema([]), None)
    )


def test_a_row_has_the_report_of_its_body() -> None:
    bodies = [path.read_bytes() for path in EXAMPLES]
    result = rows_in(report_table(table_of(*bodies)))
    assert [row["id"] for row in result] == [*range(len(bodies))]
    for row, data in zip(result, bodies, strict=True):
        assert row[FAILURE] is None
        assert report_in(row) == report_of(parse_capture(data)).to_dict()


@pytest.mark.parametrize(
    "type",
    [
        pa.binary(),
        pa.large_binary(),
        pa.binary_view(),
        pa.string(),
        pa.large_string(),
        pa.string_view(),
        pa.dictionary(pa.int32(), pa.string()),
    ],
    ids=str,
)
def test_bodies_may_be_bytes_or_text_of_every_arrow_type(type: Any) -> None:
    data = body(*HELLO)
    text = data if "binary" in str(type) else data.decode()
    (row,) = rows_in(report_table(table_of(text, type=type)))
    assert report_in(row) == report_of(parse_capture(data)).to_dict()


def test_a_body_may_be_compressed() -> None:
    data = EXAMPLES[0].read_bytes()
    assert only_row(gzip.compress(data)) == only_row(data)


def test_a_table_in_chunks_gives_the_same_rows_as_in_one_piece() -> None:
    tables = [table_of(path.read_bytes()) for path in EXAMPLES]
    table = pa.concat_tables(tables)
    assert table["body"].num_chunks == len(EXAMPLES)
    assert report_table(table).equals(report_table(table.combine_chunks()))


def test_an_empty_table_gives_an_empty_table() -> None:
    result = report_table(table_of())
    assert (len(result), result.schema) == (0, schema_of(table_of().schema))


@pytest.mark.parametrize(
    ("data", "failure"),
    [
        (None, "the body is null"),
        (b'{"sansio_stream_capture": 1}\nrubbish\n{"at": 1, "end": "eof"}\n', "line 2: not JSON"),
        (b'{"sansio_stream_capture": 2}\n', "line 1: the format version is 2"),
    ],
)
def test_a_body_that_cannot_be_read_is_a_row_that_says_why(
    data: bytes | None, failure: str
) -> None:
    row = only_row(data)
    assert failure in row[FAILURE]
    assert report_in(row) == Report().to_dict()


def test_a_body_that_cannot_be_read_does_not_change_the_other_rows() -> None:
    data = body(*HELLO)
    first, bad, last = rows_in(report_table(table_of(data, None, data)))
    assert bad[FAILURE] is not None
    assert report_in(first) == report_in(last) == report_of(parse_capture(data)).to_dict()


def test_an_unexpected_exception_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> Report:
        raise MemoryError("\ud800")

    monkeypatch.setattr("sansio_stream_tools.table.observer_of", fail)
    assert only_row(b"")[FAILURE] == "MemoryError: ?"


@pytest.mark.parametrize("place", ["input_tokens", "deep"])
def test_a_number_of_more_than_64_bits_is_a_failure(place: str) -> None:
    usage: dict[str, Any] = {"input_tokens": 1, "output_tokens": 1}
    usage |= {"deep": {"b": 2**63}} if place == "deep" else {place: -(2**63) - 1}
    start = message_start(usage=usage)
    assert only_row(body(start))[FAILURE] == (
        "OverflowError: a number in usage needs more than 64 bits"
    )
    assert only_row(body(message_start(usage={"input_tokens": 2**63 - 1})))[FAILURE] is None


def test_lone_surrogates_become_question_marks() -> None:
    row = only_row(body(message_start(model="a\ud800b")))
    assert (row["model"], row[FAILURE]) == ("a?b", None)


def test_limits_apply_to_each_body() -> None:
    rows = rows_in(report_table(table_of(body(*HELLO)), limits=Limits(total_bytes=100)))
    assert rows[0]["verdict"] == "BROKEN"


def test_times_and_stalls_are_those_of_the_capture() -> None:
    writer = CaptureWriter(CaptureHeader(status=200))
    frames = [body(frame) for frame in HELLO]
    lines = [writer.chunk(frame, at * 10) for at, frame in enumerate(frames)]
    data = b"".join([*lines, writer.end(1000)])
    row = only_row(data, stall=5)
    assert report_in(row) == report_of(parse_capture(data), stall=5).to_dict()
    assert row["end"] == 1000


def test_a_missing_column_and_a_column_of_numbers_raise() -> None:
    with pytest.raises(KeyError, match="bodies"):
        report_table(table_of(b""), body="bodies")
    with pytest.raises(KeyError, match="name"):
        report_table(table_of(b""), id="name")
    with pytest.raises(TypeError, match="'id' has neither bytes nor text, but int64"):
        report_table(table_of(b""), body="id")


def test_the_function_can_be_sent_to_another_process() -> None:
    assert pickle.loads(pickle.dumps(report_table)) is report_table


def test_a_failed_table_has_the_same_columns_and_a_reason_in_each_row() -> None:
    table = table_of(b"a", b"b")
    result = failed_table(table, "why")
    assert result.schema == report_table(table).schema
    assert [(row["id"], row[FAILURE]) for row in rows_in(result)] == [(0, "why"), (1, "why")]


@given(st.lists(st.binary(max_size=40) | st.just(body(message_start())), max_size=4))
def test_no_bytes_raise_and_rows_do_not_depend_on_their_neighbours(bodies: list[bytes]) -> None:
    together = rows_in(report_table(table_of(*bodies), id=None))
    assert together == [only_row(data, id=None) for data in bodies]
