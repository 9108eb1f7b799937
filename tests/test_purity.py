"""The core is pure: watched from outside, in interpreters of their own.

Who may import whom is a matter of the source and checked by `make contracts`; here is what happens
when the core runs: what importing it loads, what a replay asks of the system, what it needs around.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import attr
import attrs
import pytest

import sansio_stream
from sansio_stream import StreamMachine, parse_capture
from shared_data import REPOSITORY

CORE = Path(sansio_stream.__file__).parent
CAPTURE = REPOSITORY / "examples" / "thinking-and-tool-use.capture.jsonl"

# Read off the machine as a program would; run below in three surroundings.
REPLAY = """
def replay(core, log):
    machine = core.StreamMachine()
    types = []
    for chunk in core.parse_capture(log).chunks:
        for event in machine.receive_data(chunk.data):
            types.append(event.type)
            machine.snapshot
    types += [event.type for event in machine.receive_eof()]
    return [types, machine.verdict.name, machine.final_message().to_dict()]
"""


@pytest.fixture
def only_attrs(tmp_path: Path) -> Path:
    """A folder with attrs in it and nothing else."""
    folder = tmp_path / "only_attrs"
    folder.mkdir()
    for file in (attr.__file__, attrs.__file__):
        package = Path(file).parent
        (folder / package.name).symlink_to(package)
    return folder


def run_isolated(code: str, *folders: Path, stdin: bytes = b"") -> Any:
    """The JSON value that `code` prints where there is the standard library, `folders`, no more."""
    prologue = f"import json, sys\nsys.path += {[str(folder) for folder in folders]!r}\n"
    # -I: neither the environment nor the working directory counts; -S: no site-packages.
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", prologue + code],
        input=stdin,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)


def expected_replay() -> Any:
    capture = parse_capture(CAPTURE.read_bytes())
    machine = StreamMachine()
    events = [event for chunk in capture.chunks for event in machine.receive_data(chunk.data)]
    events += machine.receive_eof()
    return [[e.type for e in events], machine.verdict.name, machine.final_message().to_dict()]


def test_importing_the_core_loads_no_io_no_clock_no_threads_and_no_http(only_attrs: Path) -> None:
    """Beyond what attrs loads for itself; `threading` is of these, and left to the contracts."""
    modules = "print(json.dumps(sorted(sys.modules)))"
    before = run_isolated("import attrs, enum, re, typing\n" + modules, only_attrs)
    after = run_isolated("import sansio_stream\n" + modules, only_attrs, CORE.parent)
    brought = set(after) - set(before)
    assert "sansio_stream.machine" in brought
    assert brought.isdisjoint(
        {
            *("asyncio", "selectors", "socket", "ssl", "subprocess", "tempfile"),
            *("concurrent.futures", "logging", "multiprocessing", "queue", "random"),
            *("datetime", "email", "http", "urllib", "urllib.request"),
            *("aiohttp", "anyio", "click", "h11", "httpx", "hypothesis", "rich", "trio"),
            "sansio_stream_adapters",
        }
    )


def test_the_core_runs_where_only_attrs_is_installed(only_attrs: Path) -> None:
    code = REPLAY + "import sansio_stream as core\n"
    code += "print(json.dumps(replay(core, sys.stdin.buffer.read())))"
    assert (
        run_isolated(code, only_attrs, CORE.parent, stdin=CAPTURE.read_bytes()) == expected_replay()
    )


def test_a_replay_asks_nothing_of_the_system(only_attrs: Path) -> None:
    """No audit event at all: no file, socket or process, no import put off, no code made."""
    code = REPLAY + (
        "import sansio_stream as core\n"
        "log = sys.stdin.buffer.read()\n"
        "asked = []\n"
        "watching = True\n"
        "sys.addaudithook(lambda name, args: asked.append(name) if watching else None)\n"
        "types, *_ = replay(core, log)\n"
        "watching = False\n"
        "print(json.dumps([len(types), asked]))"
    )
    events, asked = run_isolated(code, only_attrs, CORE.parent, stdin=CAPTURE.read_bytes())
    assert events > 0
    assert asked == []


def test_the_audit_hook_does_see_a_program_that_asks(only_attrs: Path) -> None:
    """The test above can fail."""
    code = (
        "asked = []\n"
        "sys.addaudithook(lambda name, args: asked.append(name))\n"
        "import colorsys\n"
        "open(colorsys.__file__).close()\n"
        "print(json.dumps(asked))"
    )
    assert {"import", "open"} <= set(run_isolated(code, only_attrs))


def test_an_sdk_can_vendor_the_folder_under_another_name(only_attrs: Path, tmp_path: Path) -> None:
    vendored = tmp_path / "sdk" / "acme_sdk" / "_vendor" / "stream"
    for source in CORE.rglob("*.py"):
        copy = vendored / source.relative_to(CORE)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(source.read_bytes())
    (tmp_path / "sdk" / "acme_sdk" / "__init__.py").touch()
    code = REPLAY + (
        "import acme_sdk._vendor.stream as core\n"
        "result = replay(core, sys.stdin.buffer.read())\n"
        "assert 'sansio_stream' not in sys.modules\n"
        "print(json.dumps(result))"
    )
    result = run_isolated(code, only_attrs, tmp_path / "sdk", stdin=CAPTURE.read_bytes())
    assert result == expected_replay()


def test_importing_the_adapters_imports_no_http_library(only_attrs: Path) -> None:
    """Nor could it, where only attrs is installed."""
    import sansio_stream_adapters

    adapters = Path(sansio_stream_adapters.__file__).parent
    code = "import sansio_stream_adapters\nprint(json.dumps(sansio_stream_adapters.__name__))"
    assert run_isolated(code, only_attrs, CORE.parent, adapters.parent) == "sansio_stream_adapters"
