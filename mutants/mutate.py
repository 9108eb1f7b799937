"""Mutants: the source of a module in, its mutants out, one small change each. Knows no test.

Most of the changes are mutmut's. mutmut itself makes them inside plain functions only; a table, the
body of a class and a property are behaviour too, so here they are made in all of a module. What it
does not make is made here: a condition forced, a statement left out, a cell of a table changed, a
character of a pattern lost.
"""

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import fields
from typing import Any, Final

import attrs
import libcst as cst
from libcst import matchers as m
from mutmut.mutation.mutators import mutation_operators


@attrs.frozen
class Mutant:
    """A module with one small change.

    Attributes:
        where: the function or class that holds the change, "" for the module itself.
        was: the lines that differ, as they are in the module, in one line.
        now: the same lines, changed.
        source: the whole text of the module, changed.
    """

    where: str
    was: str
    now: str
    source: str = attrs.field(repr=False)


# Our operators, of the kind of mutmut's: a node in, what may stand in its place out.


def force_condition(node: cst.If | cst.While | cst.CompIf) -> Iterator[cst.CSTNode]:
    """Take a branch always, and never."""
    for value in ("True", "False"):
        if not m.matches(node.test, m.Name(value)):
            yield node.with_changes(test=cst.Name(value))


def leave_out(_: cst.BaseSmallStatement) -> Iterator[cst.CSTNode]:
    """Do nothing in the place of a statement."""
    yield cst.Pass()


def return_nothing(node: cst.Return) -> Iterator[cst.CSTNode]:
    """Return None in the place of a value; go on where there is no value."""
    if node.value is None:
        yield cst.Pass()
    elif not m.matches(node.value, m.Name("None")):
        yield node.with_changes(value=cst.Name("None"))


def change_cell(table: cst.Tuple | cst.Dict) -> Iterator[cst.CSTNode]:
    """Put into each cell of a table what stands beside it."""
    cells = table.elements
    for at, cell in enumerate(cells):
        beside = cells[at + 1 if at + 1 < len(cells) else at - 1]
        if not cell.value.deep_equals(beside.value):
            changed = cell.with_changes(value=beside.value)
            yield table.with_changes(elements=[*cells[:at], changed, *cells[at + 1 :]])


def drop_character(pattern: cst.SimpleString | cst.FormattedStringText) -> Iterator[cst.CSTNode]:
    """Lose each character of a pattern in turn, but no bracket, whose other half would be alone.

    An escape counts as one character, and so does a number of times.
    """
    text = pattern.value
    first, last = 0, len(text)
    if isinstance(pattern, cst.SimpleString):
        first += len(pattern.prefix + pattern.quote)
        last -= len(pattern.quote)
    tokens = re.compile(r"(?P<bracket>\(\?(?:P<\w+>|.)|[()\[\]])|\\.|\{\{.*?\}\}|.")
    for token in tokens.finditer(text, first, last):
        if token["bracket"] is None:
            yield pattern.with_changes(value=text[: token.start()] + text[token.end() :])


def drop_text(part: cst.FormattedStringText) -> Iterator[cst.CSTNode]:
    """Lose what stands between the holes of an f-string."""
    yield part.with_changes(value="")


EVERYWHERE: Final[tuple[tuple[Any, Callable[[Any], Any]], ...]] = (
    *mutation_operators,
    (cst.If | cst.While | cst.CompIf, force_condition),
    (cst.Expr | cst.Raise | cst.Del, leave_out),
    (cst.Return, return_nothing),
    (cst.FormattedStringText, drop_text),
)
IN_TABLES: Final = (*EVERYWHERE, (cst.Tuple | cst.Dict, change_cell))
IN_PATTERNS: Final = ((cst.SimpleString | cst.FormattedStringText, drop_character),)

# What is left as it is, beside sentences: nothing that runs depends on it, or, as with None for the
# argument of `len`, no test could fail to notice.
_STATIC: Final = (
    m.Annotation()
    | m.Decorator()
    | m.Import()
    | m.ImportFrom()
    | m.Assign(targets=[m.AssignTarget(m.Name("__all__") | m.Name("__slots__"))])
    | m.AnnAssign(annotation=m.Annotation(m.Name("TypeAlias")))
    | m.Expr(m.SimpleString() | m.Call(m.Name("assert_never")))
    | m.If(test=m.Name("TYPE_CHECKING"))
)
_TRIVIAL: Final = m.Call(m.Name("len") | m.Name("isinstance"))


def is_sentence(node: Any) -> bool:
    """Whether a node is a text for people: how that is worded is not behaviour."""
    return (
        isinstance(node, cst.SimpleString | cst.FormattedString)
        and "r" not in node.prefix
        and re.search(r"\w,? \w", cst.Module([]).code_for_node(node)) is not None
    )


def with_child(parent: Any, child: cst.CSTNode, new: cst.CSTNode) -> Any:
    """Return a node with one of its children exchanged."""
    for field in fields(parent):
        value = getattr(parent, field.name)
        if value is child:
            return parent.with_changes(**{field.name: new})
        if isinstance(value, list | tuple) and any(each is child for each in value):
            changed = [new if each is child else each for each in value]
            return parent.with_changes(**{field.name: changed})
    raise LookupError(child)


def changes(
    node: Any, rebuild: Callable[[Any], cst.Module], where: str = "", operators: Any = IN_TABLES
) -> Iterator[tuple[str, cst.Module]]:
    """Yield the module with each change of a node or below it, and the function that it is in.

    `rebuild` makes the module with something else in the place of the node: libcst's `deep_replace`
    visits all of the module, which takes twice as long as all the rest.
    """
    if m.matches(node, _STATIC) or is_sentence(node) or is_sentence(getattr(node, "value", None)):
        return
    if isinstance(node, cst.SimpleString | cst.FormattedString) and "r" in node.prefix:
        operators = IN_PATTERNS
    if isinstance(node, cst.FunctionDef | cst.ClassDef):
        where = f"{where}.{node.name.value}".lstrip(".")
        operators = EVERYWHERE if isinstance(node, cst.FunctionDef) else operators
    for kinds, operator in operators:
        if isinstance(node, kinds) and not m.matches(node, _TRIVIAL):
            yield from ((where, rebuild(changed)) for changed in operator(node))
    for child in node.children:

        def rebuild_child(new: Any, child: cst.CSTNode = child) -> cst.Module:
            return rebuild(with_child(node, child, new))

        yield from changes(child, rebuild_child, where, operators)


def difference(was: str, now: str) -> tuple[str, str]:
    """Return the lines that differ, each side as one line."""
    before, after = was.splitlines(), now.splitlines()
    while before and after and before[0] == after[0]:
        del before[0], after[0]
    while before and after and before[-1] == after[-1]:
        del before[-1], after[-1]
    return " ".join(" ".join(before).split()), " ".join(" ".join(after).split())


def mutants_of(source: str) -> Iterator[Mutant]:
    """Yield all mutants of a module that are Python, each once."""
    seen = {source}
    for where, module in changes(cst.parse_module(source), lambda module: module):
        mutated = module.code
        if mutated in seen:
            continue
        seen.add(mutated)
        try:
            ast.parse(mutated)
        except SyntaxError:
            continue
        was, now = difference(source, mutated)
        yield Mutant(where, was, now, mutated)
