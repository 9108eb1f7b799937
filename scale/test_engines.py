"""All engines give the same rows for 20,000 bodies, even if one of their processes is killed.

`make scale` runs these tests. They take minutes.
"""

import importlib.util
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import bodies
from run_engine import ENGINES
from sansio_stream_tools.table import schema_of

ROWS: Final = 20_000

SCRIPT: Final = Path(__file__).with_name("run_engine.py")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bodies") / "bodies.parquet"
    bodies.write(path, ROWS)
    return path


def rows_by(engine: str, source: Path, folder: Path, *options: str) -> Any:
    """Return the rows of an engine, sorted by id."""
    if engine in {"ray", "dask"} and importlib.util.find_spec(engine) is None:
        pytest.skip(f"LEFT OUT: {engine} is not installed")
    destination = folder / engine
    command = [sys.executable, str(SCRIPT), engine, str(source), str(destination), *options]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=1800)
    assert done.returncode == 0, done.stderr[-4000:]
    if options:
        print(done.stderr.splitlines()[-1])
    table = pa.concat_tables([pq.read_table(part) for part in destination.rglob("*.parquet")])
    ids = pa.schema([("id", pa.string())])
    # Dask keeps text in the type large_string.
    return table.cast(schema_of(ids)).sort_by("id")


@pytest.fixture(scope="module")
def expected(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return rows_by("function", source, tmp_path_factory.mktemp("expected"))


def test_the_rows_have_the_shares_of_the_kinds(expected: Any) -> None:
    rows = expected.select(["id", "failure", "verdict"]).to_pylist()
    assert Counter(row["verdict"] for row in rows) == bodies.expected_verdicts(ROWS)
    for row in rows:
        kind = row["id"].partition("-")[0]
        assert row["verdict"] == bodies.KINDS[kind][2]
        assert (row["failure"] is not None) == (kind == "unreadable")


@pytest.mark.parametrize("engine", [name for name in ENGINES if name != "function"])
@pytest.mark.parametrize("options", [[], ["--kill"]], ids=["undisturbed", "killed"])
def test_an_engine_gives_the_same_rows(
    engine: str, options: list[str], source: Path, expected: Any, tmp_path: Path
) -> None:
    assert rows_by(engine, source, tmp_path, *options).equals(expected)
