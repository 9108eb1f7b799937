"""The two packages: how long a module and a class may be, and who writes which state."""

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


# Each piece of state has one owner, and only its owner writes it.


def foreign_writes(source: str) -> Iterator[str]:
    """The attributes that a module assigns or deletes of an object that is not its own.

    Its own are `self`, `cls`, and what the same function has made: by a call of a class, of
    `__new__`, or of one of `MAKERS`. Attributes with two underscores are Python's: the
    cause of an exception, a class.
    """
    yield from writes_of(ast.parse(source), {"self", "cls"})


def writes_of(scope: ast.AST, own: set[str]) -> Iterator[str]:
    """The foreign writes of a module or a function, and of those inside of it."""
    inside = [*nodes_of(scope)]
    own = own | {name for node in inside for name in made_by(node)}
    for node in inside:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from writes_of(node, own)
            continue
        written: ast.AST = node
        if not isinstance(getattr(node, "ctx", None), ast.Store | ast.Del):
            continue
        while isinstance(written, ast.Subscript):
            written = written.value
        if not isinstance(written, ast.Attribute) or written.attr.startswith("__"):
            continue
        if not (isinstance(written.value, ast.Name) and written.value.id in own):
            yield f"{written.lineno}: {ast.unparse(written)}"


def nodes_of(scope: ast.AST) -> Iterator[ast.AST]:
    """What stands in a scope; of a function inside of it only that it is there."""
    for node in ast.iter_child_nodes(scope):
        yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from nodes_of(node)


# They return a new object, which nobody else has: a copy, and httpx's request.
MAKERS: Final = frozenset({"copy_for_raise", "build_request"})


def made_by(node: ast.AST) -> Iterator[str]:
    """The names that an assignment gives to an object which it makes."""
    if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Call):
        made = node.value.func
        name = made.attr if isinstance(made, ast.Attribute) else getattr(made, "id", "")
        if name[:1].isupper() or name in {"cls", "__new__", *MAKERS}:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from (target.id for target in targets if isinstance(target, ast.Name))


# The faults change the payloads of the stream that they are given: that is what it is for.
OWNERS: Final = [module for module in MODULES if "catalogue" not in module.parts]


@pytest.mark.parametrize("module", OWNERS, ids=name_of)
def test_no_module_writes_an_attribute_of_an_object_of_another(module: Path) -> None:
    assert [*foreign_writes(module.read_text(encoding="utf-8"))] == []


def test_a_foreign_write_is_found() -> None:
    for line in (
        "framer.pos = 1",
        "framer.pos += 1",
        "del framer.pos",
        "self.framer.pos = 1",
        "a, framer.pos = 1, 2",
        "framer.held[0] = 1",
        "del framer.held[:3]",
        "block.values['x'] |= {}",
        "for framer.pos in (1, 2): pass",
        "frame = next_frame()\nframe.flaws = ()",
        "def f():\n    buffer = Buffer()\ndef g(buffer):\n    buffer.pos = 1",
    ):
        assert [*foreign_writes(line)] != [], line
    for line in (
        "self.pos = 1",
        "self.values['x'] = 1",
        "values['x'] = 1",
        "error.__cause__ = None",
        "timer = Timer()\ntimer.daemon = True",
        "print(framer.pos)",
    ):
        assert [*foreign_writes(line)] == [], line
