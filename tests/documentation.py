"""Markdown in, the code blocks that a reader would copy out. Knows nothing of what they do."""

import re
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import attrs

_FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\w*)[^\n]*$")
_NOT_RUN = re.compile(r"^<!-- not run: (?P<reason>.+?) -->$")


@attrs.frozen
class Block:
    """A fenced block: where its first line of code is, and the page's reason not to run it."""

    path: Path
    line: int
    language: str
    code: str = attrs.field(repr=False)
    not_run: str | None = None

    def __str__(self) -> str:
        return f"{self.path.parent.name}/{self.path.name}:{self.line}"


@attrs.frozen
class Command:
    """What follows a `$ ` in a console block, and the lines of output that the page shows."""

    line: str
    shown: tuple[str, ...]


def blocks(path: Path) -> Iterator[Block]:
    """The fenced blocks of a page, in order.

    `<!-- not run: reason -->` on the nearest line above that is not blank marks a block.
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
    """The commands of a console block; one that ends in a backslash goes on on the next line."""
    code = block.code.replace("\\\n", "")
    for piece in re.split(r"^\$ ", code, flags=re.MULTILINE)[1:]:
        line, *shown = piece.splitlines()
        yield Command(line.strip(), tuple(shown))


def shows(shown: tuple[str, ...], output: str) -> bool:
    """Whether the output has the lines shown, in order; trailing blanks and lines between are free.

    A line `...` says so to the reader and is itself not looked for.
    """
    rest = iter(line.rstrip() for line in output.splitlines())
    return all(line.rstrip() in rest for line in shown if line.strip() not in {"", "..."})
