"""Rules for the source code of the packages: length limits, and one owner for each state."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

import pytest

import sansio_stream
import sansio_stream_adapters
import sansio_stream_tools

LINES_OF_A_MODULE: Final = 500
LINES_OF_A_CLASS: Final = 300

FOLDERS: Final = [
    Path(str(package.__file__)).parent
    for package in (sansio_stream, sansio_stream_adapters, sansio_stream_tools)
]
MODULES: Final = [module for folder in FOLDERS for module in sorted(folder.rglob("*.py"))]


def name_of(module: Path) -> str:
    (folder,) = (folder for folder in FOLDERS if module.is_relative_to(folder))
    return module.relative_to(folder.parent).as_posix()


@cache
def parsed(source: str) -> ast.Module:
    """Return the tree of a module. Two tests read the tree of each module."""
    return ast.parse(source)


def too_long(source: str) -> Iterator[str]:
    """Yield each module or class that exceeds its limit, with its number of lines."""
    lines = len(source.splitlines())
    if lines > LINES_OF_A_MODULE:
        yield f"the module: {lines}"
    for node in ast.walk(parsed(source)):
        if isinstance(node, ast.ClassDef):
            first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
            lines = (node.end_lineno or first) - first + 1
            if lines > LINES_OF_A_CLASS:
                yield f"class {node.name}: {lines}"


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_a_module_and_its_classes_are_not_too_long(module: Path) -> None:
    assert [*too_long(module.read_text(encoding="utf-8"))] == []


def test_all_modules_of_the_packages_are_checked() -> None:
    names = {name_of(module) for module in MODULES}
    assert {
        "sansio_stream/__init__.py",
        "sansio_stream/errors/exceptions.py",
        "sansio_stream_adapters/_bridge.py",
        "sansio_stream_tools/_main.py",
    } <= names


def test_one_line_too_many_is_detected() -> None:
    body = "    x = 1\n"
    assert [*too_long("class A:\n" + body * 299)] == []
    assert [*too_long("class A:\n" + body * 300)] == ["class A: 301"]
    assert [*too_long("@final\nclass A:\n" + body * 299)] == ["class A: 301"]
    assert [*too_long("if True:\n" + body * 499)] == []
    assert [*too_long("if True:\n" + body * 500)] == ["the module: 501"]


# Each piece of state belongs to one object, and only the methods of this object change it.


def foreign_writes(source: str) -> Iterator[str]:
    """Yield the attributes of foreign objects that a module assigns or deletes.

    An object is foreign unless it is `self`, `cls`, or an object that the same function has made. A
    function makes an object by a call of a class, of `__new__`, or of one of `MAKERS`. Attributes
    that begin with two underscores are allowed, because Python defines them: `__cause__`,
    `__class__`.
    """
    yield from writes_of(parsed(source), {"self", "cls"})


def writes_of(scope: ast.AST, own: set[str]) -> Iterator[str]:
    """Yield the foreign writes of a module or function and of the functions inside it."""
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
    """Yield the nodes of a scope, without the nodes inside its functions."""
    for node in ast.iter_child_nodes(scope):
        yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from nodes_of(node)


# These functions return a new object: a copy of an exception, a request of httpx, and an object
# that is not frozen yet.
MAKERS: Final = frozenset({"copy_for_raise", "build_request", "new_delta", "new_unfinished"})


def made_by(node: ast.AST) -> Iterator[str]:
    """Yield the names to which an assignment binds a new object."""
    if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Call):
        made = node.value.func
        name = made.attr if isinstance(made, ast.Attribute) else getattr(made, "id", "")
        if name[:1].isupper() or name in {"cls", "__new__", *MAKERS}:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from (target.id for target in targets if isinstance(target, ast.Name))


# httpx has no other way to wrap the stream of a response. Its own client does the same.
ALLOWED_WRITES: Final = {"sansio_stream_adapters/httpx.py": ["response.stream"]}


# The modules in `catalogue` are left out: a fault changes the payloads of the stream on purpose.
CHECKED_MODULES: Final = [module for module in MODULES if "catalogue" not in module.parts]


@pytest.mark.parametrize("module", CHECKED_MODULES, ids=name_of)
def test_no_module_writes_an_attribute_of_a_foreign_object(module: Path) -> None:
    found = [*foreign_writes(module.read_text(encoding="utf-8"))]
    written = [each.partition(": ")[2] for each in found]
    assert written == ALLOWED_WRITES.get(name_of(module), []), found


def test_a_foreign_write_is_detected() -> None:
    for line in (
        "framer.pos = 1",
        "framer.pos += 1",
        "del framer.pos",
        "self.framer.pos = 1",
        "a, framer.pos = 1, 2",
        "framer.chunks[0] = 1",
        "del framer.chunks[:3]",
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
