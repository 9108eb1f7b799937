"""Runs tests with our subclasses of the official SDK's clients in the place of these clients.

    python peers/other_suites.py .venv/other-suites

The tests are:

- the official SDK's own tests of streams, and the tests of langchain-anthropic that replay
  recordings. pip downloads the sources of both from the package registry. No file of them is part
  of this repository.
- `peers/frameworks`: our tests of the streaming interfaces of pydantic-ai and langchain-anthropic.

The environment and the sources are made once, in the folder that is passed. If one of them cannot
be made, the script leaves out the tests that need it, and prints LEFT OUT with the reason. The
script fails in three cases:

- a test fails, and no pattern in `SUITES` matches its name;
- no test fails that a pattern in `SUITES` matches;
- no test of a suite passes.
"""

import os
import re
import subprocess
import sys
import tarfile
import venv
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import attrs

REPOSITORY: Final = Path(__file__).resolve().parents[1]
FRAMEWORKS: Final = REPOSITORY / "peers" / "frameworks"

SDK: Final = "anthropic==2.14.*"
LANGCHAIN: Final = "langchain-anthropic==1.7.*"
INSTALLED: Final = (
    *(SDK, LANGCHAIN, "pydantic-ai-slim[anthropic]==2.68.*", "langchain<2", "attrs>=23.2"),
    # What the tests import.
    *("pytest", "pytest-asyncio", "respx", "inline-snapshot>=0.28"),
    *("http-snapshot[httpx]==0.1.9", "dirty-equals", "time-machine", "opentelemetry-sdk"),
    *("langchain-tests>=1.1.9,<2", "requests", "brotli"),
)
"""The projects whose tests run are pinned, because other versions may have other tests."""

STREAMS: Final = "  streams of messages read by our machine"
"""The beginning of the line that the pytest plugin `over_our_machine` prints."""

LEFT_OUT: Final = "LEFT OUT: pydantic-ai's own tests: its sources in the registry have no tests"

PIP_SECONDS: Final = 180
SUITE_SECONDS: Final = 180
"""The timeouts, many times what a step needs on an idle machine. A step that takes longer is LEFT
OUT.
"""


@attrs.frozen
class Known:
    """Tests of other projects that fail with our clients, and the reason.

    Attributes:
        tests: a pattern for their names, with their class and parameters.
        reason: a sentence.
    """

    tests: str
    reason: str


@attrs.frozen
class Suite:
    """Tests that run together.

    Attributes:
        name: whose tests they are.
        requirement: what pip downloads, or None for tests of this repository.
        options: arguments for pytest.
        known: the tests that fail.
    """

    name: str
    requirement: str | None
    options: Sequence[str]
    known: Sequence[Known] = ()


SUITES: Final = (
    Suite(
        "the official SDK's tests of streams",
        SDK,
        (
            *("-p", "tests._alias_httpx", "-p", "over_our_machine"),
            *("tests/lib/streaming", "tests/lib/test_refusal_fallback_streaming.py"),
            "tests/lib/tools/test_runner_eager_tools.py",
        ),
        (
            Known(
                r"test_(basic_response|tool_use|server_tool_use|compaction|fallback_relabels_model"
                r"|incomplete_response)$",
                "their body ends without the blank line of its last frame, a message_stop; the SDK "
                "drops that frame, and our machine delivers it",
            ),
            Known(
                r"test_unknown_events_are_passed_through\[False\]$",
                "a content_block_stop before message_start has no block; our machine leaves it out",
            ),
            Known(
                r"test_runs_no_call_once_reading_the_reply_has_failed",
                "a lost connection raises anthropic.APIConnectionError, with httpx2's exception as "
                "its cause, instead of that exception",
            ),
        ),
    ),
    Suite(
        "langchain-anthropic's tests with recordings",
        LANGCHAIN,
        (
            *("-p", "over_our_machine", "-m", "vcr", "--record-mode=none", "--block-network"),
            "tests/integration_tests",
        ),
        (
            Known(
                r"test_compaction$",
                "its recording has no answer to the request that it sends; it fails with the SDK's "
                "own client, too",
            ),
        ),
    ),
    Suite(
        "pydantic-ai and langchain-anthropic on our recordings",
        None,
        ("--noconftest", "--import-mode=importlib", str(FRAMEWORKS)),
    ),
)


def run(command: Sequence[object], folder: Path, seconds: int) -> str | None:
    """Run a command, and write its output to `folder/log`. Return None, or why it failed."""
    variables = {
        **{name: value for name, value in os.environ.items() if "ANTHROPIC" not in name},
        "PYTHONPATH": os.pathsep.join(map(str, (REPOSITORY, REPOSITORY / "adapters", FRAMEWORKS))),
        "ANTHROPIC_API_KEY": "none is needed",
        "LANGSMITH_TRACING": "false",
    }
    with (folder / "log").open("w") as log:
        try:
            code = subprocess.run(  # noqa: S603 - commands of this module
                [str(each) for each in command],
                cwd=folder,
                env=variables,
                stdout=log,
                stderr=log,
                timeout=seconds,
                check=False,
            ).returncode
        except subprocess.TimeoutExpired:
            return f"it took longer than {seconds} s"
    return None if code == 0 else f"exit code {code}"


def environment(folder: Path) -> Path | str:
    """Return the path of the environment's Python, or the reason why there is none."""
    python = folder / "venv" / "bin" / "python"
    stamp = folder / "installed"
    wanted = "\n".join(INSTALLED)
    if stamp.is_file() and stamp.read_text() == wanted:
        return python
    folder.mkdir(parents=True, exist_ok=True)
    try:
        venv.create(folder / "venv", with_pip=True, clear=True)
    except (OSError, subprocess.SubprocessError) as exc:
        return f"no environment can be made: {exc}"
    failure = run([python, "-m", "pip", "install", "--quiet", *INSTALLED], folder, PIP_SECONDS)
    if failure is not None:
        return f"pip cannot install the environment: {failure}"
    stamp.write_text(wanted)
    return python


def sources(python: Path, requirement: str, folder: Path) -> Path | str:
    """Return the folder with the sources of a package, or why there is none."""
    name = re.split(r"[=<>\[]", requirement)[0]
    target = folder / name
    stamp = target / "downloaded"
    if not (stamp.is_file() and stamp.read_text() == requirement):
        target.mkdir(parents=True, exist_ok=True)
        command = [python, "-m", "pip", "download", "--quiet", "--no-deps"]
        failure = run([*command, "--no-binary", name, requirement], target, PIP_SECONDS)
        archives = [*target.glob("*.tar.gz")]
        if failure is not None or not archives:
            return f"pip cannot download the sources: {failure or 'there are none'}"
        try:
            with tarfile.open(archives[0]) as archive:
                archive.extractall(target, filter="data")
        except (OSError, tarfile.TarError) as exc:
            return f"the sources cannot be unpacked: {exc}"
        stamp.write_text(requirement)
    unpacked = [path.parent for path in target.glob("*/tests")]
    return unpacked[0] if unpacked else "its sources have no tests"


def failures_in(report: Path) -> tuple[int, list[str]]:
    """Return how many tests passed, and the names of those that failed."""
    cases = [*ET.parse(report).getroot().iter("testcase")]  # noqa: S314 - pytest has written it
    failed = [
        f"{case.get('classname')}.{case.get('name')}"
        for case in cases
        if case.find("failure") is not None or case.find("error") is not None
    ]
    skipped = sum(case.find("skipped") is not None for case in cases)
    return len(cases) - len(failed) - skipped, failed


def result_of(suite: Suite, python: Path, folder: Path) -> Iterator[str]:
    """Run a suite, and yield the lines of its result. A line with FAILED is a failure."""
    where: Path | str = folder
    if suite.requirement is not None:
        where = sources(python, suite.requirement, folder)
    if isinstance(where, str):
        yield f"LEFT OUT: {suite.name}: {where}"
        return
    report = folder / "report.xml"
    report.unlink(missing_ok=True)
    command = [python, "-m", "pytest", "-q", "--tb=short", "-p", "no:cacheprovider"]
    options = ["-o", "addopts=", "-o", "filterwarnings=default", f"--junitxml={report}"]
    failure = run([*command, *options, *suite.options], where, SUITE_SECONDS)
    if not report.is_file():
        yield f"LEFT OUT: {suite.name}: {failure} (see {where / 'log'})"
        return
    passed, failed = failures_in(report)
    yield f"{suite.name}: {passed} passed, {len(failed)} differ"
    yield from re.findall(rf"{STREAMS}.*", (where / "log").read_text("utf-8", "replace"))
    for known in suite.known:
        matching = [name for name in failed if re.search(known.tests, name)]
        failed = [name for name in failed if name not in matching]
        yield f"  {len(matching)} differ: {known.reason}"
        if not matching:
            yield f"  FAILED: no test differs for this reason any more: {known.tests}"
    yield from (f"  FAILED: {name} (see {where / 'log'})" for name in failed)
    if passed == 0:
        yield f"  FAILED: no test has passed (see {where / 'log'})"


def main(folder: Path) -> int:
    """Run all suites, and print the results. Return the exit code."""
    python = environment(folder)
    if isinstance(python, str):
        print(f"LEFT OUT: all suites of other projects: {python}")
        return 0
    has_failed = False
    for suite in SUITES:
        for line in result_of(suite, python, folder):
            print(line, flush=True)
            has_failed |= "FAILED" in line
    print(LEFT_OUT)
    return int(has_failed)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).resolve()))
