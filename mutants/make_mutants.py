"""Mutation testing: changes a module in a copy of the project and checks whether a test fails.

`python mutants/make_mutants.py [module ...]` needs a POSIX system. It prints the survivors and the
score of each module. The exit code is 0 if at least 95 % of all mutants were killed.
"""

import gc
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NoReturn

import hypothesis
import pytest
from mutate import Mutant, mutants_of

REPOSITORY: Final = Path(__file__).resolve().parents[1]
SHARED: Final = Path(os.environ.get("SANSIO_STREAM_SHARED", REPOSITORY.parent / "shared")).resolve()
REQUIRED: Final = 0.95
MEMORY: Final = 4 << 30

# The test modules for each module, in the order in which they run. The first one kills most
# mutants.
MODULES: Final = {
    "sse": ("test_sse", "test_machine"),
    "partial_json.errors": ("test_partial_json",),
    "partial_json.tokens": ("test_partial_json",),
    "partial_json.value": ("test_partial_json",),
    "partial_json.scanner": ("test_partial_json",),
    "partial_json.decoding": ("test_partial_json",),
    "partial_json.parser": ("test_partial_json",),
    "partial_json.whole": ("test_partial_json",),
    "transitions": ("test_transitions", "test_docs"),
    "blocks": ("test_snapshot", "test_losses", "test_machine"),
    "snapshot": ("test_snapshot", "test_losses", "test_transitions", "test_machine"),
}

# These tests take as long as all others together. No known mutant is killed only by them.
EXCLUDED: Final = "recorded_rows"

# A failing example is not shrunk, because its existence is enough.
hypothesis.settings.register_profile(
    "mutants",
    deadline=None,
    max_examples=40,
    derandomize=True,
    database=None,
    phases=(hypothesis.Phase.explicit, hypothesis.Phase.generate),
)


class Watchdog:
    """A plugin of pytest that runs the fastest test first and ends the process if a test hangs.

    Args:
        seconds: the duration of each test without a mutant. If it is empty, the plugin fills it.
    """

    def __init__(self, seconds: dict[str, float]) -> None:
        self.seconds = seconds
        self.measures = not seconds

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Sort the tests by their duration."""
        items.sort(key=lambda item: self.seconds.get(item.nodeid, 0))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[Any]:
        """Measure a test. End the process if a test takes ten times as long as before."""
        # CPU seconds of this process, so that other work on the machine does not look like a hang.
        limit = 600 if self.measures else 2 + 10 * self.seconds.get(item.nodeid, 0)
        signal.setitimer(signal.ITIMER_PROF, limit)
        start = time.process_time()
        result = yield
        signal.setitimer(signal.ITIMER_PROF, 20)
        if self.measures:
            self.seconds[item.nodeid] = time.process_time() - start
        return result


def passes(module: str, seconds: dict[str, float]) -> bool:
    """Return whether a module of tests passes. It runs in the copy, in a fork of this process."""
    sys.stdout.flush()
    process = os.fork()
    if process == 0:
        run(module, seconds)
    return os.waitpid(process, 0)[1] == 0


def run(module: str, seconds: dict[str, float]) -> NoReturn:
    """Run a module of tests and end the process, also after an exception."""
    code = 1
    try:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
        # pytest collects garbage a few times. This line reduced the time of a mutant from 250 ms to
        # 150 ms.
        gc.freeze()
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        signal.setitimer(signal.ITIMER_PROF, 20)
        sys.dont_write_bytecode = bool(seconds)
        watchdog = Watchdog(seconds)
        options = ("-x", "-q", "--tb=no", "--assert=plain", "-p", "no:cacheprovider")
        which = ("-k", f"not {EXCLUDED}", f"tests/{module}.py")
        code = pytest.main([*options, *which], plugins=[watchdog])
        if watchdog.measures:
            Path(f"{module}.json").write_text(json.dumps(watchdog.seconds), encoding="utf-8")
    finally:
        os._exit(code)


def survivors(module: str) -> Iterator[tuple[Mutant, bool]]:
    """Yield each mutant of a module, and whether it survived."""
    tests = {}
    for test in MODULES[module]:
        if not passes(test, {}):
            sys.exit(f"tests/{test}.py fails without any mutant")
        tests[test] = json.loads(Path(f"{test}.json").read_text(encoding="utf-8"))
    path = Path("sansio_stream", *module.split(".")).with_suffix(".py")
    source = path.read_text(encoding="utf-8")
    for mutant in mutants_of(source):
        path.write_text(mutant.source, encoding="utf-8")
        yield mutant, all(passes(test, seconds) for test, seconds in tests.items())
    path.write_text(source, encoding="utf-8")


def examine(module: str) -> tuple[int, int]:
    """Print the survivors of a module. Return the number of its mutants and of the killed ones."""
    start = time.monotonic()
    total = killed = 0
    for mutant, survived in survivors(module):
        total += 1
        killed += not survived
        if survived:
            print(f"{module}: {mutant.where}\n  - {mutant.before}\n  + {mutant.after}", flush=True)
    seconds = time.monotonic() - start
    print(f"{module}: {killed} of {total} mutants killed, {killed / total:.1%}, in {seconds:.0f} s")
    return total, killed


def main() -> None:
    """Mutate the modules on the command line, or all modules."""
    modules = sys.argv[1:] or list(MODULES)
    os.environ["SANSIO_STREAM_SHARED"] = str(SHARED)
    os.environ["HYPOTHESIS_PROFILE"] = "mutants"
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "copy")
        shutil.copytree(REPOSITORY, copy, ignore=shutil.ignore_patterns(".*", "__pycache__"))
        os.chdir(copy)
        # Before the folder of an editable installation, so that the copy is imported.
        sys.path[:0] = [str(copy), str(copy / "adapters")]
        totals, killed = zip(*map(examine, modules), strict=True)
    print(f"{sum(killed) / sum(totals):.1%} of {sum(totals)} mutants were killed")
    sys.exit(sum(killed) < REQUIRED * sum(totals))


if __name__ == "__main__":
    main()
