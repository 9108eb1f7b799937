"""Each module and each class of the two packages has a bounded number of lines."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

import sansio_stream
import sansio_stream_adapters

LINES_OF_A_MODULE: Final = 500
LINES_OF_A_CLASS: Final = 300

FOLDERS: Final = [
    Path(str(package.__file__)).parent for package in (sansio_stream, sansio_stream_adapters)
]
MODULES: Final = [module for folder in FOLDERS for module in sorted(folder.rglob("*.py"))]


def name_of(module: Path) -> str:
    (folder,) = (folder for folder in FOLDERS if module.is_relative_to(folder))
    return module.relative_to(folder.parent).as_posix()


def too_long(source: str) -> Iterator[str]:
    """What exceeds its limit, with its lines."""
    lines = len(source.splitlines())
    if lines > LINES_OF_A_MODULE:
        yield f"the module: {lines}"
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ClassDef):
            first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
            lines = (node.end_lineno or first) - first + 1
            if lines > LINES_OF_A_CLASS:
                yield f"class {node.name}: {lines}"


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_a_module_and_its_classes_are_not_too_long(module: Path) -> None:
    assert [*too_long(module.read_text(encoding="utf-8"))] == []


def test_all_modules_of_both_packages_are_looked_at() -> None:
    names = {name_of(module) for module in MODULES}
    assert {
        "sansio_stream/__init__.py",
        "sansio_stream/errors/exceptions.py",
        "sansio_stream_adapters/_bridge.py",
        "sansio_stream_adapters/cli/_show.py",
    } <= names


def test_what_is_one_line_too_long_is_found() -> None:
    body = "    x = 1\n"
    assert [*too_long("class A:\n" + body * 299)] == []
    assert [*too_long("class A:\n" + body * 300)] == ["class A: 301"]
    assert [*too_long("@final\nclass A:\n" + body * 299)] == ["class A: 301"]
    assert [*too_long("if True:\n" + body * 499)] == []
    assert [*too_long("if True:\n" + body * 500)] == ["the module: 501"]
