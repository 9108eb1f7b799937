"""The list of surviving mutants is about the code as it is. That they survive, another run says."""

import importlib.util
import inspect
from types import ModuleType

import pytest

from shared_data import REPOSITORY


@pytest.fixture(scope="module")
def make_page() -> ModuleType:
    path = REPOSITORY / "mutants" / "make_page.py"
    spec = importlib.util.spec_from_file_location("make_page", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_of_mutants_is_made_of_the_list(make_page: ModuleType) -> None:
    page = (REPOSITORY / "docs" / "mutants.md").read_text(encoding="utf-8")
    assert make_page.made(page) == page
    assert "→" in make_page.survivors()


def test_a_listed_mutant_changes_a_line_that_is_there(make_page: ModuleType) -> None:
    for module, groups in make_page.equivalent().items():
        source = inspect.getsource(importlib.import_module(f"sansio_stream.{module}"))
        there = " ".join(source.split())
        for group in groups:
            for where, was, now in group["mutants"]:
                assert was.partition(" #")[0] in there, f"{module}: {was}"
                assert was != now
                assert where.rpartition(".")[2] in there
