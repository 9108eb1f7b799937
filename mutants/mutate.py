"""Mutants: the source of a module in, its mutants out. Each mutant has one small change.

Most of the changes are mutmut's. mutmut itself only changes plain functions. A table, a class body
and a property are behaviour too, so this module changes the whole source. It adds changes that
mutmut does not have: it forces a condition, removes a statement, changes a cell of a table, and
removes a character of a pattern. The module does not depend on the tests.
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
        where: the function or class that contains the change, "" for the module itself.
        before: the lines that differ, in the original, joined to one line.
        after: the same lines in the mutant.
        lines: the line numbers of the smallest statement that contains the change. It is empty if
            this statement is not in a function: then it runs when the module is imported.
        source: the whole text of the mutant.
    """

    where: str
    before: str
    after: str
    lines: range
    source: str = attrs.field(repr=False)


# The operators of this module. Like mutmut's, each takes a node and yields its replacements.


def force_condition(node: cst.If | cst.While | cst.CompIf) -> Iterator[cst.CSTNode]:
    """Take a branch always, or never."""
    for value in ("True", "False"):
        if not m.matches(node.test, m.Name(value)):
            yield node.with_changes(test=cst.Name(value))


def remove_statement(_: cst.BaseSmallStatement) -> Iterator[cst.CSTNode]:
    """Replace a statement by `pass`."""
    yield cst.Pass()


def return_none(node: cst.Return) -> Iterator[cst.CSTNode]:
    """Return None instead of a value. Replace a `return` without a value by `pass`."""
    if node.value is None:
        yield cst.Pass()
    elif not m.matches(node.value, m.Name("None")):
        yield node.with_changes(value=cst.Name("None"))


def change_cell(table: cst.Tuple | cst.Dict) -> Iterator[cst.CSTNode]:
    """Give each cell of a table the value of its neighbour."""
    cells = table.elements
    for at, cell in enumerate(cells):
        neighbour = cells[at + 1 if at + 1 < len(cells) else at - 1]
        if not cell.value.deep_equals(neighbour.value):
            changed = cell.with_changes(value=neighbour.value)
            yield table.with_changes(elements=[*cells[:at], changed, *cells[at + 1 :]])


def remove_character(pattern: cst.SimpleString | cst.FormattedStringText) -> Iterator[cst.CSTNode]:
    """Remove each character of a pattern in turn, except brackets, which need their other half.

    An escape counts as one character, and so does a repetition count, which is `{{2,3}}` in an
    f-string.
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


def remove_text(part: cst.FormattedStringText) -> Iterator[cst.CSTNode]:
    """Remove a text between the fields of an f-string."""
    yield part.with_changes(value="")


EVERYWHERE: Final[tuple[tuple[Any, Callable[[Any], Any]], ...]] = (
    *mutation_operators,
    (cst.If | cst.While | cst.CompIf, force_condition),
    (cst.Expr | cst.Raise | cst.Del, remove_statement),
    (cst.Return, return_none),
    (cst.FormattedStringText, remove_text),
)
IN_TABLES: Final = (*EVERYWHERE, (cst.Tuple | cst.Dict, change_cell))
IN_PATTERNS: Final = ((cst.SimpleString | cst.FormattedStringText, remove_character),)

# Nodes that are not changed. No behaviour depends on `_STATIC`. A change of `_TRIVIAL`, such as
# None as the argument of `len`, would make every test fail.
_STATIC: Final = (
    m.Annotation()
    | m.Decorator()
    | m.Import()
    | m.ImportFrom()
    | m.Assign(targets=[m.AssignTarget(m.Name("__all__") | m.Name("__slots__"))])
    | m.Assign(value=m.Call(m.Name("TypeVar")))
    | m.AnnAssign(annotation=m.Annotation(m.Name("TypeAlias")))
    | m.Expr(m.SimpleString() | m.Ellipsis() | m.Call(m.Name("assert_never")))
    | m.If(test=m.Name("TYPE_CHECKING"))
)
_TRIVIAL: Final = m.Call(m.Name("len") | m.Name("isinstance"))


def is_sentence(node: Any) -> bool:
    """Return whether a node is a text for people. Its wording is not behaviour."""
    return (
        isinstance(node, cst.SimpleString | cst.FormattedString)
        and "r" not in node.prefix
        and re.search(r"\w,? \w", cst.Module([]).code_for_node(node)) is not None
    )


def with_child(parent: Any, child: cst.CSTNode, new: cst.CSTNode) -> Any:
    """Return a node with one of its children replaced."""
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
    """Yield each change of a node and its descendants: the function, and the changed module.

    Args:
        node: the node.
        rebuild: returns the module with a replacement of the node. libcst's `deep_replace` would
            visit the whole module, which takes twice as long as everything else.
        where: the name of the function or class that contains the node.
        operators: the operators to apply.
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


def difference(original: list[str], mutated: list[str]) -> tuple[range, range]:
    """Return the indices of the lines that differ, in the original and in the mutant."""
    start = 0
    end = min(len(original), len(mutated))
    while start < end and original[start] == mutated[start]:
        start += 1
    same = 0
    while same < end - start and original[-1 - same] == mutated[-1 - same]:
        same += 1
    return range(start, len(original) - same), range(start, len(mutated) - same)


def replaces_false_by_none(before: str, after: str) -> bool:
    """Return whether the change is None instead of False. Both are false, so it has no effect."""
    falses = re.finditer(r"\bFalse\b", before)
    return any(f"{before[: each.start()]}None{before[each.end() :]}" == after for each in falses)


def lines_of_statement(module: ast.Module, changed: range) -> range:
    """Return the line numbers of the smallest statement around a change, as `Mutant.lines` does."""
    lines = range(0)
    in_function = False
    # `ast.walk` returns a statement before the statements in it.
    for node in ast.walk(module):
        if isinstance(node, ast.stmt):
            own = range(node.lineno, (node.end_lineno or node.lineno) + 1)
            if own.start <= changed.start + 1 and changed.stop <= own.stop - 1:
                in_function |= isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
                lines = own
    return lines if in_function else range(0)


def mutants_of(source: str) -> Iterator[Mutant]:
    """Yield all mutants of a module that are valid Python, each once."""
    seen = {source}
    original = source.splitlines()
    tree = ast.parse(source)
    for where, module in changes(cst.parse_module(source), lambda module: module):
        mutated = module.code
        if mutated in seen:
            continue
        seen.add(mutated)
        try:
            ast.parse(mutated)
        except SyntaxError:
            continue
        new = mutated.splitlines()
        lines_before, lines_after = difference(original, new)
        before = " ".join(" ".join(original[lines_before.start : lines_before.stop]).split())
        after = " ".join(" ".join(new[lines_after.start : lines_after.stop]).split())
        if not replaces_false_by_none(before, after):
            yield Mutant(where, before, after, lines_of_statement(tree, lines_before), mutated)
