"""Finds the code blocks of a Markdown page. The module does not run them."""

import re
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import attrs

_FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\w*)[^\n]*$")
_NOT_RUN = re.compile(r"^<!-- not run: (?P<reason>.+?) -->$")


@attrs.frozen
class Block:
    """A fenced code block.

    Attributes:
        path: the page.
        line: the number of the first line of code.
        language: the language after the fence.
        code: the code, without indentation of the block.
        not_run: the reason of the page for not running it, None if it must run.
    """

    path: Path
    line: int
    language: str
    code: str = attrs.field(repr=False)
    not_run: str | None = None

    def __str__(self) -> str:
        return f"{self.path.parent.name}/{self.path.name}:{self.line}"


@attrs.frozen
class Command:
    """A command in a console block.

    Attributes:
        line: the command after `$ `.
        shown: the lines of output that the page shows.
    """

    line: str
    shown: tuple[str, ...]


def blocks(path: Path) -> Iterator[Block]:
    """Yield the fenced blocks of a page, in order.

    A block is not run if the last line above it that is not blank is `<!-- not run: reason -->`.
    """
    lines = path.read_text(encoding="utf-8").splitlines()
    above = ""
    number = 0
    while number < len(lines):
        fence = _FENCE.match(lines[number])
        number += 1
        if fence is None:
            above = lines[number - 1].strip() or above
            continue
        start = number
        while lines[number].strip() != "```":
            number += 1
        mark = _NOT_RUN.match(above)
        yield Block(
            path,
            start + 1,
            fence["language"],
            dedent("".join(f"{line}\n" for line in lines[start:number])),
            mark and mark["reason"],
        )
        above = ""
        number += 1


def commands(block: Block) -> Iterator[Command]:
    """Yield the commands of a console block.

    A command with a backslash at the end of its line continues on the next line.
    """
    code = block.code.replace("\\\n", "")
    for piece in re.split(r"^\$ ", code, flags=re.MULTILINE)[1:]:
        line, *shown = piece.splitlines()
        yield Command(line.strip(), tuple(shown))


def shows(shown: tuple[str, ...], output: str) -> bool:
    """Return whether the output contains the shown lines in order.

    Trailing spaces do not matter. The output may have other lines between the shown ones. A shown
    line `...` tells this to the reader and is ignored here.
    """
    rest = iter(line.rstrip() for line in output.splitlines())
    return all(line.rstrip() in rest for line in shown if line.strip() not in {"", "..."})
