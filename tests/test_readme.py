"""What the READMEs and the docs say runs. Each block is run as a reader would: copied, by itself.

    python    executed in a fresh namespace
    console   each `$ sansio-stream ...` is run and must print the lines shown below it;
              `make` and `pip install` must name a target and extras that exist

A block under `<!-- not run: reason -->` (a network, a key) is only compiled.
"""

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from documentation import Block, Command, blocks, commands, shows
from shared_data import REPOSITORY

PLACES = ("README.md", "benchmarks/README.md", "examples/README.md", "docs/*.md")
PAGES = [page for place in PLACES for page in sorted(REPOSITORY.glob(place))]
BLOCKS = [block for page in PAGES for block in blocks(page)]
PYTHON = [block for block in BLOCKS if block.language == "python"]
CONSOLE = [block for block in BLOCKS if block.language == "console" and not block.not_run]

TARGETS = set(re.findall(r"^([a-z]+):", (REPOSITORY / "Makefile").read_text("utf-8"), re.MULTILINE))
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["project"]


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of one's own with the examples in it, and `sansio-stream` on PATH."""
    (tmp_path / "examples").symlink_to(REPOSITORY / "examples")
    bin_ = tmp_path / "bin"
    bin_.mkdir()
    module, _, function = PROJECT["scripts"]["sansio-stream"].partition(":")
    script = bin_ / "sansio-stream"
    script.write_text(f"#!{sys.executable}\nfrom {module} import {function}\n{function}()\n")
    script.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{bin_}{os.pathsep}{os.environ['PATH']}")
    return tmp_path


@pytest.mark.parametrize("block", PYTHON, ids=str)
def test_every_python_block_runs_as_it_stands(block: Block, reader: Path) -> None:
    # As many lines above as on the page: a traceback then names the page's own line.
    code = compile("\n" * (block.line - 1) + block.code, block.path, "exec")
    if not block.not_run:
        exec(code, {"__name__": "__main__"})  # noqa: S102 - the point of the test


@pytest.mark.parametrize("block", CONSOLE, ids=str)
def test_every_console_block_does_what_it_shows(block: Block, reader: Path) -> None:
    status = 0
    for command in commands(block):
        program, *_ = command.line.split()
        assert program in PROGRAMS, f"mark the block as not run, or teach the test `{program}`"
        assert status == 0 or command.line == "echo $?", f"exit code {status} is not on the page"
        status = PROGRAMS[program](command, status)
    assert status == 0, f"exit code {status} is not on the page"


def _run(command: Command, previous: int) -> int:
    """Run it in a shell that takes `previous` for the status of the command before."""
    for library in ("click", "rich"):
        pytest.importorskip(library, reason=f"the command needs {library}")
    done = subprocess.run(
        ["sh", "-c", f"(exit {previous}); {command.line}"],
        capture_output=True,
        text=True,
        check=False,
    )
    output = done.stdout + done.stderr
    assert shows(command.shown, output), f"$ {command.line}\n{output}"
    return done.returncode


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
    "echo": _run,
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


def test_the_blocks_of_a_page_are_found_where_they_are(tmp_path: Path) -> None:
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


def test_output_shown_must_be_printed_in_order() -> None:
    assert shows(("first", "...", "last"), "first  \nmiddle\nlast\n")
    assert not shows(("last", "first"), "first\nlast\n")
    assert not shows(("firs",), "first\n")
