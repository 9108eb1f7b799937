"""docs/testing.md says what the kit says: its tables are compared, the naive reader is checked."""

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

INSIDE: Final = [fault for fault in FAULTS.values() if fault.kind == "bytes"]
WITHOUT_LIMITS: Final = [fault.name for fault in INSIDE if not fault.limit]
"""Those that are checked where no limits are given."""


# The catalogue.


def link_of(problem: str) -> str:
    repository, _, number = problem.partition("#")
    return f"[{problem}](https://github.com/{repository}/issues/{number})" if problem else ""


def test_every_fault_of_the_bytes_has_its_row_with_its_own_words() -> None:
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
        for fault in INSIDE
    ]


def test_the_faults_that_need_a_limit_are_named_with_it() -> None:
    rows = rows_of(section(PAGE, "## Limits"))
    assert [(name_of(name), name_of(limit)) for name, limit in rows] == [
        (fault.name, fault.limit) for fault in FAULTS.values() if fault.limit
    ]


# The strategies.


def test_every_strategy_has_its_row() -> None:
    rows = rows_of(section(PAGE, "## Strategies"))
    listed = [name_of(name).partition("(")[0] for name, *_ in rows]
    assert listed == ["messages", "events", "scripts", "wire", "styles", "cuts", "faults"]
    assert set(listed) <= set(testing.__all__)


# The readers that are not ours.


def found(consume: Any, names: Sequence[str], **how: Any) -> list[str]:
    """The faults that a reader handles badly, "" among them if cutting matters."""
    try:
        check_faults(consume, names=names, shrink=False, **how)
    except CheckError as error:
        return [finding.fault for finding in error.findings]
    return []


def assert_listed(listed: list[str], consume: Any, *, others_of_each: int, **how: Any) -> None:
    """Assert that these faults are found, in this order, and no others.

    Args:
        listed: the names of the faults.
        consume: the reader.
        others_of_each: how many streams of each other fault are tried. So many that what is wrong
            with legal streams is found, too: then faults are tried in the plainest style.
        how: as for `check_faults`.
    """
    assert found(consume, listed, examples=400, **how) == listed
    others = [name for name in WITHOUT_LIMITS if name not in listed]
    assert set(found(consume, others, examples=others_of_each, **how)) <= {"nothing"}


@pytest.mark.exhaustive
def test_the_list_of_the_naive_reader_is_what_the_kit_finds_in_it() -> None:
    code = next(block for block in blocks(PAGE) if "def naive_read" in block.code)
    page: dict[str, Any] = {}
    exec(compile(code.code, PAGE, "exec"), page)  # noqa: S102 - the page's own reader is meant
    listed = [name_of(name) for name, _ in rows_of(section(PAGE, NAIVE))]
    assert_listed(
        listed,
        page["naive_read"],
        others_of_each=max(3, settings().max_examples // 8),
        raises=(page["StreamError"], ValueError),
        completed=page["is_whole"],
        tool_inputs=page["naive_calls"],
        blocks=("text", "tool_use"),
    )
