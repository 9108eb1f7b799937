"""The shared data folder with test vectors and recorded bodies, which are not in this repository.

The environment variable `SANSIO_STREAM_SHARED` names the folder. The default is `../shared`, beside
the repository. Without the folder, the tests that need it are skipped. Each test counts the rows
that it has read, and the counts are printed at the end of the run. They show that a run in which
all tests pass has read the data.
"""

import json
import os
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any, TypeAlias

import attrs
import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("SANSIO_STREAM_SHARED") or REPOSITORY.parent / "shared")


def load(name: str) -> list[dict[str, Any]]:
    """Return the rows of a JSON Lines file in the shared folder.

    If the file does not exist, the running test is skipped, or the module that is being imported.

    Args:
        name: The path within the folder, such as `vectors/sse.jsonl`.
    """
    path = SHARED / name
    if not path.is_file():
        pytest.skip(
            f"{name} does not exist: set SANSIO_STREAM_SHARED to the shared data folder",
            allow_module_level=True,
        )
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


@attrs.frozen(unsafe_hash=False)
class CapturedBody:
    """A recorded response body.

    Attributes:
        file: The path within the folder `captures`.
        facts: The row of the file in MANIFEST.jsonl.
    """

    file: str
    facts: dict[str, Any] = attrs.field(repr=False)

    @property
    def body(self) -> bytes:
        """The whole body. Each access reads the file."""
        return (SHARED / "captures" / self.file).read_bytes()

    @property
    def chunks(self) -> list[bytes]:
        """The chunks that the HTTP client received, or one chunk if they were not recorded."""
        body = self.body
        cuts = accumulate(self.facts.get("chunk_bytes") or [len(body)], initial=0)
        return [body[start:end] for start, end in pairwise(cuts)]


def captures(suffix: str = ".sse") -> list[CapturedBody]:
    """Return the recorded bodies of one kind, in the order of the manifest.

    Args:
        suffix: `.sse` for event streams, `.jsonl` for files with one payload in each line, `.bin`
            for the binary event streams of Amazon Bedrock.
    """
    return [
        CapturedBody(facts["file"], facts)
        for facts in load("captures/MANIFEST.jsonl")
        if facts["file"].endswith(suffix)
    ]


# For each data file and test function: the number of rows that were read and that were skipped.
Counts: TypeAlias = dict[tuple[str, str], list[int]]
_counts: Counts = {}


def ran(name: str, rows: int = 1, *, skipped: int = 0) -> None:
    """Count the rows of a data file that the running test has read or skipped.

    The counts of several calls add up, so that a parametrized test can count one row each time.
    """
    test = os.environ.get("PYTEST_CURRENT_TEST", "").partition(" (")[0].partition("[")[0]
    add({(name, test): [rows, skipped]})


def counts() -> Counts:
    """Return the counts of this process."""
    return _counts


def add(counted: Counts) -> None:
    """Add the counts of another process."""
    for key, (rows, skipped) in counted.items():
        count = _counts.setdefault(key, [0, 0])
        count[0] += rows
        count[1] += skipped


def summary() -> list[str]:
    """Return a line for each data file and test, with the numbers of rows."""
    return [
        f"shared data: {name} {rows} rows run, {skipped} skipped ({test})"
        for (name, test), (rows, skipped) in sorted(_counts.items())
    ]
