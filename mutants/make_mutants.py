"""Mutation testing: changes a module in a copy of the project and checks whether a test fails.

`python mutants/make_mutants.py [module ...]` needs a POSIX system. It prints the survivors and the
score of each module. The exit code is 0 if at least 95 % of all mutants were killed.

Each result is written to a file in `.mutants` at once. The next run continues there, unless the
core has changed. If a test has changed, it tries the survivors again. Several runs can work on
different modules at the same time.
"""

import contextlib
import gc
import hashlib
import importlib
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
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
    # From bytes to frames.
    "sse": ("test_sse", "test_machine"),
    "frames": ("test_sse", "test_fast_path", "test_machine", "test_losses"),
    "framer": ("test_sse", "test_fast_path", "test_machine", "test_losses"),
    "frame_buffer": ("test_sse", "test_fast_path", "test_machine", "test_losses"),
    # From frames to events.
    "inbox": ("test_machine", "test_fast_path", "test_losses"),
    "fast_path": ("test_fast_path", "test_machine"),
    "plain_path": ("test_fast_path", "test_machine", "test_losses"),
    "reading": ("test_machine", "test_fast_path", "test_losses"),
    "reader": ("test_fast_path", "test_machine", "test_losses", "test_kept_looks"),
    "machine": ("test_machine", "test_fast_path", "test_losses"),
    "payloads": ("test_codec", "test_events", "test_machine", "test_losses"),
    "codec": ("test_codec", "test_events", "test_message"),
    "members": ("test_codec", "test_events", "test_message"),
    "fields": ("test_codec", "test_events", "test_message"),
    "events": ("test_events", "test_codec", "test_machine"),
    # The state of a stream, and what ends it.
    "transitions": ("test_transitions", "test_docs"),
    "losses": ("test_losses", "test_machine"),
    "outcome": ("test_machine", "test_losses", "test_snapshot"),
    # From events to the message.
    "message": ("test_message", "test_snapshot", "test_kept_looks"),
    "blocks": ("test_snapshot", "test_losses", "test_kept_looks", "test_machine"),
    "growing": ("test_kept_looks", "test_snapshot", "test_message"),
    "frozen": ("test_frozen", "test_message", "test_events"),
    "copies": ("test_kept_looks", "test_message", "test_snapshot"),
    "tool_input": ("test_tool_input", "test_snapshot", "test_losses"),
    "snapshot": ("test_snapshot", "test_losses", "test_transitions", "test_machine"),
    "partial_json.errors": ("test_partial_json",),
    "partial_json.tokens": ("test_partial_json",),
    "partial_json.value": ("test_partial_json",),
    "partial_json.scanner": ("test_partial_json",),
    "partial_json.decoding": ("test_partial_json",),
    "partial_json.parser": ("test_partial_json",),
    "partial_json.whole": ("test_partial_json",),
}

# These tests take as long as all others together. No known mutant is killed only by them.
EXCLUDED: Final = "recorded_rows"

KEPT: Final = REPOSITORY / ".mutants"

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
            record = {"seconds": watchdog.seconds, "libraries": [*loaded_libraries()]}
            Path(f"{module}.json").write_text(json.dumps(record), encoding="utf-8")
    finally:
        os._exit(code)


class Results:
    """The results for the present core, in a file that several processes may extend.

    A killed mutant counts as killed although tests have changed since. So after a test has been
    removed or weakened, remove the file.
    """

    def __init__(self) -> None:
        self._tests = digest_of("adapters", "tools", "tests", "benchmarks", "fuzz", "docs")
        KEPT.mkdir(exist_ok=True)
        self._path = KEPT / f"{digest_of('sansio_stream')}.txt"
        self._path.touch()
        self._survived: dict[str, bool] = {}
        for line in self._path.read_text(encoding="utf-8").splitlines():
            name, result = line.split(" ")
            if result in ("killed", self._tests):
                self._survived[name] = result != "killed"

    def find(self, name: str) -> bool | None:
        """Return whether a mutant survived, or None if these tests have not tried it."""
        return self._survived.get(name)

    def add(self, name: str, *, survived: bool) -> None:
        """Write whether a mutant survived."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(f"{name} {self._tests if survived else 'killed'}\n")


def digest_of(*folders: str) -> str:
    """Return a digest of the modules in these folders."""
    digest = hashlib.sha256()
    for path in sorted(path for each in folders for path in REPOSITORY.glob(f"{each}/**/*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def survivors(module: str, results: Results) -> Iterator[tuple[Mutant, bool]]:
    """Yield each mutant of a module, and whether it survived."""
    tests: dict[str, dict[str, float]] = {}
    path = Path("sansio_stream", *module.split(".")).with_suffix(".py")
    source = path.read_text(encoding="utf-8")
    for mutant in mutants_of(source):
        name = f"{module}:{hashlib.sha256(mutant.source.encode()).hexdigest()}"
        survived = results.find(name)
        if survived is None:
            tests = tests or durations(MODULES[module])
            path.write_text(mutant.source, encoding="utf-8")
            survived = all(passes(test, seconds) for test, seconds in tests.items())
            path.write_text(source, encoding="utf-8")
            results.add(name, survived=survived)
        yield mutant, survived


def durations(tests: Sequence[str]) -> dict[str, dict[str, float]]:
    """Return the duration of each test of these modules without a mutant, in seconds."""
    found = {}
    for test in tests:
        if not passes(test, {}):
            sys.exit(f"tests/{test}.py fails without any mutant")
        record = json.loads(Path(f"{test}.json").read_text(encoding="utf-8"))
        found[test] = record["seconds"]
        # Then the forks need not import them.
        for name in record["libraries"]:
            with contextlib.suppress(ImportError):
                importlib.import_module(name)
    return found


def loaded_libraries() -> Iterator[str]:
    """Yield the names of the loaded modules that are not part of the copy."""
    here = Path.cwd()
    for name, module in sys.modules.items():
        file = getattr(module, "__file__", None)
        if file and not Path(file).is_relative_to(here):
            yield name


def examine(module: str, results: Results) -> tuple[int, int]:
    """Print the survivors of a module. Return the number of its mutants and of the killed ones."""
    start = time.monotonic()
    total = killed = 0
    for mutant, survived in survivors(module, results):
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
        sys.path[:0] = [str(copy), str(copy / "adapters"), str(copy / "tools")]
        results = Results()
        totals, killed = zip(*(examine(module, results) for module in modules), strict=True)
    print(f"{sum(killed) / sum(totals):.1%} of {sum(totals)} mutants were killed")
    sys.exit(sum(killed) < REQUIRED * sum(totals))


if __name__ == "__main__":
    main()
