"""The tables of docs/peers.md have all differences in the order of the code, with true examples."""

import re
from importlib.metadata import version
from typing import Final

import pytest

from shared_data import REPOSITORY
from test_docs import name_of, rows_of, section

from . import partial_values
from .differences import DIFFERENCES, ENDINGS, MEMBERS
from .streams import MADE
from .test_anthropic_sdk import compared

PAGE: Final = REPOSITORY / "docs" / "peers.md"
FRAMES_ROWS, ENDINGS_ROWS, MEMBERS_ROWS, JITER_ROWS = (
    rows_of(section(PAGE, f"## {heading}")) for heading in ("Frames", "Endings", "Members", "jiter")
)
SDK_ROWS: Final = [*FRAMES_ROWS, *ENDINGS_ROWS, *MEMBERS_ROWS]


def names(rows: list[list[str]]) -> list[str]:
    return [name_of(name) for name, *_ in rows]


def test_the_table_has_every_difference_in_the_order_of_the_code() -> None:
    assert names(SDK_ROWS) == [difference.__name__ for difference in DIFFERENCES]
    assert names(ENDINGS_ROWS) == [difference.__name__ for difference in ENDINGS]
    assert names(MEMBERS_ROWS) == [difference.__name__ for difference in MEMBERS]
    assert names(JITER_ROWS) == [each.__name__ for each in partial_values.DIFFERENCES]


@pytest.mark.parametrize("row", SDK_ROWS, ids=lambda row: name_of(row[0]))
def test_the_example_of_a_row_has_the_difference(row: list[str]) -> None:
    assert name_of(row[0]) in compared(name_of(row[-1]))[0]


def test_every_made_stream_is_the_example_of_a_row() -> None:
    assert {name_of(row[-1]) for row in SDK_ROWS} >= set(MADE)


@pytest.mark.parametrize("row", JITER_ROWS, ids=lambda row: name_of(row[0]))
def test_the_example_of_a_row_about_jiter_has_the_difference(row: list[str]) -> None:
    count = re.match(r"([\d,]+) × ", row[-1])
    text = name_of(row[-1]) * (int(count[1].replace(",", "")) if count else 1)
    parser = partial_values.parser_of(text, strings=True)
    shown = partial_values.Shown.of(text, parser, strings=True)
    assert name_of(row[0]) in set(partial_values.differences_of(shown))


def test_the_page_names_the_compared_versions() -> None:
    page = PAGE.read_text("utf-8")
    measured = re.search(r"Measured with anthropic (\S+) for Python and jiter (\S+)\.\n", page)
    assert measured is not None
    assert version("anthropic").startswith(f"{measured[1]}.")
    assert version("jiter").startswith(f"{measured[2]}.")
