"""The tables of docs/testing.md agree with the kit, and its naive reader has the listed faults."""

from collections.abc import Sequence
from typing import Any, Final

import pytest
from hypothesis import settings

from documentation import blocks
from sansio_stream import testing
from sansio_stream.testing import FAULTS, CheckError, check_faults
from shared_data import REPOSITORY
from test_docs import name_of, names_in, rows_of, section

PAGE: Final = REPOSITORY / "docs" / "testing.md"
NAIVE: Final = "## A naive reader"

BYTE_FAULTS: Final = [fault for fault in FAULTS.values() if fault.kind == "bytes"]
WITHOUT_LIMITS: Final = [fault.name for fault in BYTE_FAULTS if not fault.limit]
"""The faults that are checked if no limits are given."""


# The catalogue.


def link_of(problem: str) -> str:
    repository, _, number = problem.partition("#")
    return f"[{problem}](https://github.com/{repository}/issues/{number})" if problem else ""


def test_every_fault_of_the_bytes_has_a_row_with_its_description() -> None:
    rows = rows_of(section(PAGE, "## The catalogue"))
    assert [
        (name_of(name), happens, names_in(verdicts), names_in(codes), report)
        for name, happens, verdicts, codes, report in rows
    ] == [
        (
            fault.name,
            fault.description,
            [verdict.name for verdict in fault.verdicts],
            sorted(fault.codes),
            link_of(fault.problem),
        )
        for fault in BYTE_FAULTS
    ]


def test_the_page_lists_the_faults_that_need_a_limit() -> None:
    rows = rows_of(section(PAGE, "## Limits"))
    assert [(name_of(name), name_of(limit)) for name, limit in rows] == [
        (fault.name, fault.limit) for fault in FAULTS.values() if fault.limit
    ]


# The strategies.


def test_every_strategy_has_a_row() -> None:
    rows = rows_of(section(PAGE, "## Strategies"))
    listed = [name_of(name).partition("(")[0] for name, *_ in rows]
    assert listed == ["messages", "events", "scripts", "wire", "styles", "cuts", "faults"]
    assert set(listed) <= set(testing.__all__)


# Readers outside this library.


def faults_found(consume: Any, names: Sequence[str], **options: Any) -> list[str]:
    """Return the faults that a reader handles wrongly, with "" if it depends on the cuts."""
    try:
        check_faults(consume, names=names, shrink=False, **options)
    except CheckError as error:
        return [finding.fault for finding in error.findings]
    return []


def assert_listed(
    listed: list[str], consume: Any, *, examples_of_others: int, **options: Any
) -> None:
    """Assert that exactly these faults are found, in this order.

    Args:
        listed: the names of the faults.
        consume: the reader.
        examples_of_others: the number of streams for each other fault. It must be so large that a
            failure on a legal stream is found, if there is one. Faults are then tried in the plain
            style.
        options: other arguments of `check_faults`.
    """
    assert faults_found(consume, listed, examples=400, **options) == listed
    others = [name for name in WITHOUT_LIMITS if name not in listed]
    assert set(faults_found(consume, others, examples=examples_of_others, **options)) <= {"nothing"}


@pytest.mark.exhaustive
def test_the_page_lists_what_the_kit_finds_in_the_naive_reader() -> None:
    code = next(block for block in blocks(PAGE) if "def naive_read" in block.code)
    page: dict[str, Any] = {}
    exec(compile(code.code, PAGE, "exec"), page)  # noqa: S102 - the code is on our own page
    listed = [name_of(name) for name, _ in rows_of(section(PAGE, NAIVE))]
    assert_listed(
        listed,
        page["naive_read"],
        examples_of_others=max(3, settings().max_examples // 8),
        raises=(page["StreamError"], ValueError),
        completed=page["is_whole"],
        tool_inputs=page["naive_calls"],
        blocks=("text", "tool_use"),
    )
