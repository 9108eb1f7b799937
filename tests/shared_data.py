"""The shared data folder: test vectors and captured bodies, read where they are, never copied here.

`SANSIO_STREAM_SHARED` says where it is; without it `../shared`, beside the repository.
Tests that need it are skipped where it is missing, and what did run is counted and printed at the
end, so that "all passed" cannot mean "nothing was read".
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
    """The rows of a JSON Lines file of the shared folder, as `load("vectors/sse.jsonl")`.

    Where it is missing, the test that asks (or the module, when asked at import) is skipped.
    """
    path = SHARED / name
    if not path.is_file():
        pytest.skip(
            f"{name} is not there: set SANSIO_STREAM_SHARED to the shared data folder",
            allow_module_level=True,
        )
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


@attrs.frozen(unsafe_hash=False)
class CapturedBody:
    """A recorded response body and what MANIFEST.jsonl knows of it."""

    file: str
    facts: dict[str, Any] = attrs.field(repr=False)

    @property
    def body(self) -> bytes:
        """The whole body, read when asked for."""
        return (SHARED / "captures" / self.file).read_bytes()

    @property
    def chunks(self) -> list[bytes]:
        """The body as its HTTP client received it, or in one piece where that was not recorded."""
        body = self.body
        cuts = accumulate(self.facts.get("chunk_bytes") or [len(body)], initial=0)
        return [body[start:end] for start, end in pairwise(cuts)]


def captures(suffix: str = ".sse") -> list[CapturedBody]:
    """The recorded bodies of one kind, in the manifest's order.

    `.sse` are bodies on the wire, `.jsonl` payloads a line, `.bin` event streams of Amazon Bedrock.
    """
    return [
        CapturedBody(facts["file"], facts)
        for facts in load("captures/MANIFEST.jsonl")
        if facts["file"].endswith(suffix)
    ]


# Counting. By data file and test function: [rows run, rows skipped].
Counts: TypeAlias = dict[tuple[str, str], list[int]]
_counts: Counts = {}


def ran(name: str, rows: int = 1, *, skipped: int = 0) -> None:
    """Note that the running test has put `rows` rows of a data file to the test, and left some out.

    A parametrized test notes its one row, a looping one all of them; the counts add up.
    """
    test = os.environ.get("PYTEST_CURRENT_TEST", "").partition(" (")[0].partition("[")[0]
    add({(name, test): [rows, skipped]})


def counts() -> Counts:
    """What was counted in this process."""
    return _counts


def add(counted: Counts) -> None:
    """Add what was counted in another process."""
    for key, (rows, skipped) in counted.items():
        count = _counts.setdefault(key, [0, 0])
        count[0] += rows
        count[1] += skipped


def account() -> list[str]:
    """A line for each data file and test: what was run, what was left out."""
    return [
        f"shared data: {name} {rows} rows run, {skipped} skipped ({test})"
        for (name, test), (rows, skipped) in sorted(_counts.items())
    ]
