"""The core is pure: it performs no I/O and needs only attrs.

Each test runs the core in a separate interpreter. The tests check the modules that an import loads,
and the audit events while a recorded stream is read. `make contracts` checks the import statements
in the source.
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

# Reads a recorded stream with a machine. The tests run this source in several interpreters.
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
    """Return a folder that contains only attrs."""
    folder = tmp_path / "only_attrs"
    folder.mkdir()
    for file in (attr.__file__, attrs.__file__):
        package = Path(file).parent
        (folder / package.name).symlink_to(package)
    return folder


def run_isolated(code: str, *folders: Path, stdin: bytes = b"") -> Any:
    """Run code in a new interpreter that can import only the standard library and `folders`.

    Returns:
        The JSON value that the code prints.
    """
    prologue = f"import json, sys\nsys.path += {[str(folder) for folder in folders]!r}\n"
    # -I ignores the environment and the working directory. -S omits site-packages.
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
    """Modules that attrs loads itself are not counted.

    One of them is `threading`, which the import contracts exclude.
    """
    modules = "print(json.dumps(sorted(sys.modules)))"
    before = run_isolated("import attrs, enum, re, typing\n" + modules, only_attrs)
    after = run_isolated("import sansio_stream\n" + modules, only_attrs, CORE.parent)
    loaded = set(after) - set(before)
    assert "sansio_stream.machine" in loaded
    assert loaded.isdisjoint(
        {
            *("asyncio", "selectors", "socket", "ssl", "subprocess", "tempfile"),
            *("concurrent.futures", "logging", "multiprocessing", "queue", "random"),
            *("datetime", "email", "http", "urllib", "urllib.request"),
            *("aiohttp", "anyio", "click", "h11", "httpx", "hypothesis", "rich", "trio"),
            *("sansio_stream_adapters", "sansio_stream_tools"),
        }
    )


def test_the_core_runs_where_only_attrs_is_installed(only_attrs: Path) -> None:
    code = REPLAY + "import sansio_stream as core\n"
    code += "print(json.dumps(replay(core, sys.stdin.buffer.read())))"
    assert (
        run_isolated(code, only_attrs, CORE.parent, stdin=CAPTURE.read_bytes()) == expected_replay()
    )


def test_reading_a_stream_raises_no_audit_event(only_attrs: Path) -> None:
    """There is no audit event: no file, socket, process, late import or compiled code.

    Assigning a `__class__` is an audit event, too. It does nothing outside the process, and the
    module `frozen` makes objects that way.
    """
    code = REPLAY + (
        "import sansio_stream as core\n"
        "log = sys.stdin.buffer.read()\n"
        "events = []\n"
        "recording = True\n"
        "def hook(name, args):\n"
        "    is_class = name == 'object.__setattr__' and args[1] == '__class__'\n"
        "    if recording and not is_class:\n"
        "        events.append(name)\n"
        "sys.addaudithook(hook)\n"
        "types, *_ = replay(core, log)\n"
        "recording = False\n"
        "print(json.dumps([len(types), events]))"
    )
    count, events = run_isolated(code, only_attrs, CORE.parent, stdin=CAPTURE.read_bytes())
    assert count > 0
    assert events == []


def test_the_audit_hook_records_an_import_and_an_opened_file(only_attrs: Path) -> None:
    code = (
        "events = []\n"
        "sys.addaudithook(lambda name, args: events.append(name))\n"
        "import colorsys\n"
        "open(colorsys.__file__).close()\n"
        "print(json.dumps(events))"
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
    """In this interpreter an HTTP library cannot be imported."""
    import sansio_stream_adapters

    adapters = Path(sansio_stream_adapters.__file__).parent
    code = "import sansio_stream_adapters\nprint(json.dumps(sansio_stream_adapters.__name__))"
    assert run_isolated(code, only_attrs, CORE.parent, adapters.parent) == "sansio_stream_adapters"
