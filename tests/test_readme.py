"""The code blocks of the READMEs and the docs work. Each block runs alone, as a reader copies it.

    python    runs in a new namespace
    console   each `$ sansio-stream ...` runs and must print the lines shown below it;
              `make` and `pip install` must name an existing target and existing extras

A block after `<!-- not run: reason -->` is only compiled. Such a block needs a network or a key.
"""

import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from documentation import Block, Command, blocks, commands, shows
from shared_data import REPOSITORY

PATTERNS = ("README.md", "benchmarks/README.md", "examples/README.md", "docs/*.md")
PAGES = [page for place in PATTERNS for page in sorted(REPOSITORY.glob(place))]
BLOCKS = [block for page in PAGES for block in blocks(page)]
PYTHON = [block for block in BLOCKS if block.language == "python"]
CONSOLE = [block for block in BLOCKS if block.language == "console" and not block.not_run]

TARGETS = set(re.findall(r"^([a-z]+):", (REPOSITORY / "Makefile").read_text("utf-8"), re.MULTILINE))
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["project"]


@pytest.fixture
def working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A new working directory with the examples, and `sansio-stream` on PATH."""
    (tmp_path / "examples").symlink_to(REPOSITORY / "examples")
    bin_ = tmp_path / "bin"
    bin_.mkdir()
    module, _, function = PROJECT["scripts"]["sansio-stream"].partition(":")
    script = bin_ / "sansio-stream"
    # As pip writes it. Processes that the command starts import the script, too.
    guard = f'if __name__ == "__main__":\n    {function}()\n'
    script.write_text(f"#!{sys.executable}\nfrom {module} import {function}\n{guard}")
    script.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{bin_}{os.pathsep}{os.environ['PATH']}")
    return tmp_path


@pytest.mark.parametrize("block", PYTHON, ids=str)
def test_every_python_block_runs(block: Block, working_directory: Path) -> None:
    # Empty lines before the code, so that a traceback has the line number of the page.
    code = compile("\n" * (block.line - 1) + block.code, block.path, "exec")
    if not block.not_run:
        exec(code, {"__name__": "__main__"})  # noqa: S102 - the test must run the code


@pytest.mark.parametrize("block", CONSOLE, ids=str)
def test_every_console_block_prints_the_shown_lines(block: Block, working_directory: Path) -> None:
    status = 0
    for command in commands(block):
        program, *_ = command.line.split()
        assert program in PROGRAMS, f"mark the block as not run, or add `{program}` to PROGRAMS"
        assert status == 0 or command.line == "echo $?", f"the page must show {status} by `echo $?`"
        status = PROGRAMS[program](command, status)
    assert status == 0, f"the page must show {status} by `echo $?`"


def _run(command: Command, _previous: int) -> int:
    """Run a command: in this process, but as a process if it starts others."""
    for library in ("click", "rich"):
        pytest.importorskip(library, reason=f"the command needs {library}")
    if "--body" in command.line:
        done = subprocess.run(
            ["sh", "-c", command.line], capture_output=True, text=True, check=False
        )
        status, output = done.returncode, done.stdout + done.stderr
    else:
        from commands import command as run_here

        _, *words = shlex.split(command.line)
        result = run_here(*(name for word in words for name in _expanded(word)), columns=80)
        status, output = result.exit_code, result.stdout + result.stderr
    assert shows(command.shown, output), f"$ {command.line}\n{output}"
    return status


def _expanded(word: str) -> list[str]:
    """Return the words that a shell makes of a word. The pages use no other feature of it."""
    assert not set(word) & set("|&;<>()$`?[~"), f"a shell has to run {word}"
    return sorted(map(str, Path().glob(word))) if "*" in word else [word]


def _echo(command: Command, previous: int) -> int:
    assert (command.line, command.shown) == ("echo $?", (str(previous),))
    return 0


def _make(command: Command, _previous: int) -> int:
    _, *words = command.line.split()
    assert {word for word in words if "=" not in word} <= TARGETS
    return 0


def _pip(command: Command, _previous: int) -> int:
    for extras in re.findall(r"\[([\w,-]+)\]", command.line):
        assert set(extras.split(",")) <= PROJECT["optional-dependencies"].keys()
    return 0


PROGRAMS: dict[str, Callable[[Command, int], int]] = {
    "sansio-stream": _run,
    "echo": _echo,
    "make": _make,
    "pip": _pip,
}


PAGE = """\
# A page

    ```python
    indented = 1
    ```

Some prose.

<!-- not run: needs a key -->

```python
client = Client()
```

```console
$ sansio-stream replay \\
    log.jsonl
first

...
last
$ echo $?
0
```
"""


def test_the_blocks_of_a_page_are_found_with_their_line_numbers(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    indented, marked, console = blocks(page)
    assert indented == Block(page, 4, "python", "indented = 1\n")
    assert marked == Block(page, 12, "python", "client = Client()\n", "needs a key")
    assert (console.line, console.language, console.not_run) == (16, "console", None)
    assert list(commands(console)) == [
        Command("sansio-stream replay     log.jsonl", ("first", "", "...", "last")),
        Command("echo $?", ("0",)),
    ]


def test_the_shown_output_must_be_printed_in_order() -> None:
    assert shows(("first", "...", "last"), "first  \nmiddle\nlast\n")
    assert not shows(("last", "first"), "first\nlast\n")
    assert not shows(("firs",), "first\n")
