"""Mutation testing: changes a module in a copy of the project and checks whether a test fails.

`python mutants/make_mutants.py [--share 1.0] [module ...]` needs a POSIX system. It prints the
survivors and the score of each module. The exit code is 0 if at least 95 % of all mutants were
killed.

Each result is written to a file in `.mutants` at once. The next run continues there, unless the
core has changed. If a test has changed, it tries the survivors again. Several runs can work on
different modules at the same time.
"""

import argparse
import compileall
import contextlib
import functools
import gc
import hashlib
import importlib
import inspect
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any, Final

import attrs
import hypothesis
import pytest
from coverage import Coverage
from mutate import Mutant, mutants_of

REPOSITORY: Final = Path(__file__).resolve().parents[1]
SHARED: Final = Path(os.environ.get("SANSIO_STREAM_SHARED", REPOSITORY.parent / "shared")).resolve()
REQUIRED: Final = 0.95
MEMORY: Final = 4 << 30

# Properties of whole streams.
STREAMS: Final = ("test_losses_properties", "test_reference_model")

# The test modules that are about each module. They run first if the core must be imported again,
# because to collect all tests takes some seconds.
MODULES: Final = {
    # From bytes to frames.
    "sse": ("test_sse",),
    "frames": ("test_sse", "test_fast_path"),
    "framer": ("test_sse", "test_fast_path"),
    "frame_buffer": ("test_sse", "test_fast_path"),
    # From frames to events.
    "inbox": ("test_machine", "test_fast_path"),
    "fast_path": ("test_fast_path",),
    "plain_path": ("test_fast_path", *STREAMS),
    "reading": ("test_machine", "test_fast_path", *STREAMS),
    "reader": ("test_fast_path", "test_kept_looks"),
    "machine": ("test_machine", *STREAMS),
    "payloads": ("test_events", *STREAMS),
    "codec": ("test_codec",),
    "members": ("test_codec", *STREAMS),
    "fields": ("test_sse", "test_fast_path"),
    "events": ("test_events", "test_schemas"),
    # The state of a stream, and what ends it.
    "transitions": ("test_transitions", "test_docs", *STREAMS),
    "losses": ("test_losses", "test_report", *STREAMS),
    "outcome": ("test_machine", *STREAMS),
    # From events to the message.
    "message": ("test_message", "test_kept_looks", "test_schemas"),
    "blocks": ("test_snapshot", "test_kept_looks", *STREAMS),
    "growing": ("test_kept_looks",),
    "frozen": ("test_frozen",),
    "copies": ("test_kept_looks",),
    "tool_input": ("test_tool_input", "test_partial_json"),
    "snapshot": ("test_snapshot", "test_fast_path", *STREAMS),
    "partial_json.errors": ("test_partial_json",),
    "partial_json.tokens": ("test_partial_json",),
    "partial_json.value": ("test_partial_json",),
    "partial_json.scanner": ("test_partial_json",),
    "partial_json.decoding": ("test_partial_json",),
    "partial_json.parser": ("test_partial_json",),
    "partial_json.whole": ("test_partial_json",),
}

# These test modules try the mutants of each module, because they are strict and fast.
ALL: Final = (
    *("test_losses", "test_machine", "test_policies", "test_snapshot", "test_message"),
    *("test_codec", "test_events", "test_history", "test_vectors_messages", "test_captures"),
    *("test_transitions", "test_tool_input", "test_message_json", "test_verification"),
    *("test_cost", "test_steps", "test_frozen"),
)

# These tests take as long as all others together. No known mutant is killed only by them.
EXCLUDED: Final = "recorded_rows"

# Of the cases of one test function, as many are run as take this many seconds while their lines
# are traced, which takes three times as long. Otherwise a survivor would take half a minute.
SECONDS: Final = 0.5

# If so few tests execute a statement, all tests are run. It may be in a function whose results are
# cached, so that only the first test executes it, but later ones depend on it.
FEW: Final = 30

KEPT: Final = REPOSITORY / ".mutants"

# A failing example is not shrunk, because its existence is enough.
hypothesis.settings.register_profile(
    "mutants",
    deadline=None,
    max_examples=20,
    derandomize=True,
    database=None,
    phases=(hypothesis.Phase.explicit, hypothesis.Phase.generate),
    # A busy machine kills no mutant.
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)


@attrs.frozen
class Baseline:
    """A module of tests, run without a mutant.

    Attributes:
        seconds: the duration of each test, while its lines are traced.
        covers: for each test, the line numbers of each module of the core that it executes. The
            key "" has the lines that ran before the first test.
        always: the tests that are run for each mutant, because they execute code that was not
            traced: in another process, or under a trace function of their own.
        libraries: the names of the imported modules that are not part of the copy.
    """

    seconds: dict[str, float] = attrs.Factory(dict)
    covers: dict[str, dict[str, list[int]]] = attrs.Factory(dict)
    always: list[str] = attrs.Factory(list)
    libraries: list[str] = attrs.Factory(list)

    def runs_before_tests(self, module: str, lines: range) -> bool:
        """Return whether one of these lines of a module runs before the first test."""
        return any(line in lines for line in self.covers[""].get(module, ()))

    def tests_of(self, module: str, lines: range) -> list[str]:
        """Return the tests that execute one of these lines of a module, as far as was traced."""

        def executes(test: str) -> bool:
            return any(line in lines for line in self.covers.get(test, {}).get(module, ()))

        return [test for test in self.seconds if executes(test)]


class Measuring:
    """A plugin of pytest that measures each test for a `Baseline`."""

    # These audit events show that code runs that is not traced.
    UNTRACED: Final = frozenset({"sys.settrace", "os.fork", "os.posix_spawn", "subprocess.Popen"})

    def __init__(self) -> None:
        self.baseline = Baseline()
        self._untraced = False
        self._coverage = Coverage(data_file=None)
        self._coverage.set_option("run:disable_warnings", ["trace-changed"])
        sys.addaudithook(self._audit)
        self._start("")

    def _audit(self, event: str, _: object) -> None:
        if event in self.UNTRACED:
            self._untraced = True

    def _start(self, context: str) -> None:
        self._coverage.start()
        self._coverage.switch_context(context)
        self._untraced = False

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[Any]:
        """Measure the duration and the lines of a test."""
        self._start(item.nodeid)
        start = time.process_time()
        result = yield
        self.baseline.seconds[item.nodeid] = time.process_time() - start
        if self._untraced:
            self.baseline.always.append(item.nodeid)
        self._coverage.stop()
        return result

    def pytest_collection_finish(self) -> None:
        """Trace no longer what runs before the first test."""
        self._coverage.stop()

    def pytest_sessionfinish(self) -> None:
        """Fill the baseline."""
        data = self._coverage.get_data()
        for file in data.measured_files():
            module = ".".join(Path(file).relative_to(core()).with_suffix("").parts)
            for line, contexts in data.contexts_by_lineno(file).items():
                for context in contexts:
                    lines = self.baseline.covers.setdefault(context, {})
                    lines.setdefault(module, []).append(line)
        self.baseline.libraries.extend(loaded_libraries())


class Trial:
    """A plugin of pytest that runs some of the collected tests, the fastest first.

    Of a test function with many cases, it runs as many as take `SECONDS`, but at least one.
    It ends the process at the first test that fails or hangs.

    Args:
        tests: the tests to run, with their durations without a mutant.
    """

    def __init__(self, tests: dict[str, float]) -> None:
        self._tests = tests

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Run the tests. This replaces pytest's own loop."""
        items = list(self._select(session.items))
        for item, following in zip(items, [*items[1:], None], strict=True):
            # CPU seconds of this process, so that other work on the machine does not look like a
            # hang. A test hangs if it takes ten times as long as before.
            signal.setitimer(signal.ITIMER_PROF, 2 + 10 * self._tests[item.nodeid])
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if session.testsfailed:
                os._exit(1)
        return True

    def _select(self, collected: Sequence[pytest.Item]) -> Iterator[pytest.Item]:
        spent: defaultdict[str, float] = defaultdict(float)
        items = [item for item in collected if item.nodeid in self._tests]
        for item in sorted(items, key=lambda item: self._tests[item.nodeid]):
            function = item.nodeid.partition("[")[0]
            if spent[function] < SECONDS:
                spent[function] += self._tests[item.nodeid]
                yield item


class Trials:
    """A plugin of pytest that tries many mutants of functions on tests that are collected once.

    Each mutant gets a fork. There, the code of the function is replaced, so nothing is imported
    again. The first fork has no mutant. If a test fails there, the process ends.

    Args:
        source: the original text of the module.
        path: its file.
        mutants: the mutants with their tests.
        tests: all tests, with their durations without a mutant.
        report: is called with each mutant and whether it survived. None means that the mutant
            cannot be tried in this way.
    """

    def __init__(
        self,
        source: str,
        path: Path,
        mutants: list[tuple[Mutant, dict[str, float]]],
        tests: dict[str, float],
        report: Callable[[Mutant, bool | None], None],
    ) -> None:
        self._path = path
        self._mutants = mutants
        self._tests = tests
        self._report = report
        self._old = list(functions_of(compile(source, path, "exec")))

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Try each mutant. This replaces pytest's own loop."""
        # Before `gc.freeze`, which hides them.
        functions = [each for each in gc.get_objects() if isinstance(each, FunctionType)]
        gc.freeze()
        if not in_fork(lambda: Trial(self._tests).pytest_runtestloop(session)):
            os._exit(1)
        for mutant, tests in self._mutants:
            old, new = self._codes(mutant)
            changed = [
                function
                for function in functions
                if (function.__code__.co_filename, function.__code__.co_qualname)
                == (str(self._path), old.co_qualname)
                and function.__code__.co_firstlineno == old.co_firstlineno
            ]
            if not changed or new == old or len(new.co_freevars) != len(old.co_freevars):
                self._report(mutant, None)
                continue

            def attempt(
                changed: list[FunctionType] = changed,
                new: CodeType = new,
                tests: dict[str, float] = tests,
            ) -> bool:
                for function in changed:
                    function.__code__ = new
                return Trial(tests).pytest_runtestloop(session)

            self._report(mutant, in_fork(attempt))
        return True

    def _codes(self, mutant: Mutant) -> tuple[CodeType, CodeType]:
        """Return the code of the function around a change, in the original and in the mutant."""
        mutated = functions_of(compile(mutant.source, self._path, "exec"))
        pairs = zip(self._old, mutated, strict=True)
        return [pair for pair in pairs if pair[0].co_firstlineno <= mutant.lines.start][-1]


def functions_of(code: CodeType) -> Iterator[CodeType]:
    """Yield the code of each function that is not in another function, in the order of lines."""
    found: list[CodeType] = []
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            # The body of a class is code, too, but it has no fast local variables.
            is_function = constant.co_flags & inspect.CO_OPTIMIZED
            found += [constant] if is_function else functions_of(constant)
    yield from sorted(found, key=lambda code: code.co_firstlineno)


def in_fork(run: Callable[[], bool]) -> bool:
    """Call a function in a fork of this process, without output, and return its result.

    The result is False if the function raises, or if the process ends early.
    """
    sys.stdout.flush()
    process = os.fork()
    if process == 0:
        code = 1
        try:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, 1)
            os.dup2(null, 2)
            resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
            code = not run()
        finally:
            os._exit(code)
    return os.waitpid(process, 0)[1] == 0


def run_tests(modules: Sequence[str], plugin: object) -> bool:
    """Run modules of tests with a plugin, and return whether all passed."""
    # pytest collects garbage a few times. This line reduced the time of a mutant from 250 ms to
    # 150 ms.
    gc.freeze()
    options = ("-q", "--tb=no", "--assert=plain", "-p", "no:cacheprovider")
    which = ("-k", f"not {EXCLUDED}", *(f"tests/{module}.py" for module in modules))
    return pytest.main([*options, *which], plugins=[plugin]) == 0


class Results:
    """The results for the present core, in a file that several processes may extend.

    A killed mutant counts as killed although tests have changed since. So after a test has been
    removed or weakened, remove the file.
    """

    def __init__(self) -> None:
        self._tests = digest_of("adapters", "tools", "tests", "benchmarks")
        KEPT.mkdir(exist_ok=True)
        self._path = KEPT / f"{digest_of('sansio_stream')}.txt"
        self._path.touch()

    def survived(self) -> dict[str, bool]:
        """Return whether each mutant survived that has been tried with these tests."""
        found = {}
        for line in self._path.read_text(encoding="utf-8").splitlines():
            name, result = line.split(" ")
            if result in ("killed", self._tests):
                found[name] = result != "killed"
        return found

    def add(self, name: str, *, survived: bool) -> None:
        """Write whether a mutant survived."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(f"{name} {self._tests if survived else 'killed'}\n")

    @functools.cache  # noqa: B019  (there is one object, which lives as long as the process)
    def baseline_of(self, module: str) -> Baseline:
        """Return the baseline of a module of tests. It is measured again if the module changes."""
        digest = digest_of(f"tests/{module}.py")
        path = self._path.with_name(f"{self._path.stem}-{module}-{digest}.json")

        def measure() -> bool:
            signal.setitimer(signal.ITIMER_PROF, 600)
            measuring = Measuring()
            passed = run_tests([module], measuring)
            if passed:
                path.write_text(json.dumps(attrs.asdict(measuring.baseline)), encoding="utf-8")
            return passed

        if not path.exists() and not in_fork(measure):
            sys.exit(f"tests/{module}.py fails without any mutant")
        baseline = Baseline(**json.loads(path.read_text(encoding="utf-8")))
        # Then the forks need not import them.
        for name in baseline.libraries:
            with contextlib.suppress(ImportError):
                importlib.import_module(name)
        return baseline


def digest_of(*paths: str) -> str:
    """Return a digest of these modules and of the modules in these folders."""
    digest = hashlib.sha256()
    for path in map(REPOSITORY.joinpath, paths):
        for module in sorted(path.rglob("*.py")) or [path]:
            digest.update(module.read_bytes())
    return digest.hexdigest()[:16]


def core() -> Path:
    """Return the folder of the core in the copy, which is the current folder."""
    return Path.cwd() / "sansio_stream"


def file_of(module: str) -> Path:
    """Return the file of a module of the core in the copy."""
    return core().joinpath(*module.split(".")).with_suffix(".py")


def try_mutants(module: str, mutants: list[Mutant], results: Results) -> None:
    """Try mutants of a module, and write the results."""
    path = file_of(module)
    source = path.read_text(encoding="utf-8")
    baselines = {test: results.baseline_of(test) for test in tests_of(module)}
    every_test = {test: each for base in baselines.values() for test, each in base.seconds.items()}
    untraced = [test for each in baselines.values() for test in each.always]
    in_functions: list[tuple[Mutant, dict[str, float]]] = []
    for mutant in mutants:
        lines = mutant.lines
        if lines and not any(each.runs_before_tests(module, lines) for each in baselines.values()):
            known = [test for each in baselines.values() for test in each.tests_of(module, lines)]
            tests = {test: every_test[test] for test in (*known, *untraced)}
            in_functions.append((mutant, tests if len(known) > FEW else every_test))

    def report(mutant: Mutant, survived: bool | None) -> None:
        if survived is not None:
            results.add(name_of(module, mutant), survived=survived)

    def try_functions() -> bool:
        trials = Trials(source, path, in_functions, every_test, report)
        return run_tests(tests_of(module), trials)

    def passes(tests: Sequence[str]) -> bool:
        def run() -> bool:
            signal.setitimer(signal.ITIMER_PROF, 20)
            sys.dont_write_bytecode = True
            seconds = {
                test: each for name in tests for test, each in baselines[name].seconds.items()
            }
            return run_tests(tests, Trial(seconds))

        return in_fork(run)

    if in_functions and not in_fork(try_functions):
        sys.exit("a test fails without any mutant")
    tried = results.survived()
    for mutant in mutants:
        if name_of(module, mutant) not in tried:
            path.write_text(mutant.source, encoding="utf-8")
            first, others = MODULES[module], tests_of(module)[len(MODULES[module]) :]
            survived = passes(first) and passes(others)
            path.write_text(source, encoding="utf-8")
            results.add(name_of(module, mutant), survived=survived)


def tests_of(module: str) -> list[str]:
    """Return the modules of tests that try the mutants of a module."""
    return list(dict.fromkeys([*MODULES[module], *ALL]))


def name_of(module: str, mutant: Mutant) -> str:
    """Return the name of a mutant in the results."""
    return f"{module}:{hashlib.sha256(mutant.source.encode()).hexdigest()}"


def loaded_libraries() -> Iterator[str]:
    """Yield the names of the loaded modules that are not part of the copy."""
    here = Path.cwd()
    for name, module in sys.modules.items():
        file = getattr(module, "__file__", None)
        if file and not Path(file).is_relative_to(here):
            yield name


def is_in_sample(name: str, share: float) -> bool:
    """Return whether a mutant belongs to a sample: its digest is a random number."""
    return int(name.partition(":")[2][:8], 16) < share * (1 << 32)


def examine(module: str, share: float, results: Results) -> tuple[int, int]:
    """Print the survivors of a module. Return the number of its mutants and of the killed ones."""
    start = time.monotonic()
    path = file_of(module)
    every = mutants_of(path.read_text(encoding="utf-8"))
    mutants = [mutant for mutant in every if is_in_sample(name_of(module, mutant), share)]
    tried = results.survived()
    pending = [mutant for mutant in mutants if name_of(module, mutant) not in tried]
    if pending:
        try_mutants(module, pending, results)
    survived = results.survived()
    survivors = [mutant for mutant in mutants if survived[name_of(module, mutant)]]
    for mutant in survivors:
        print(f"{module}: {mutant.where}\n  - {mutant.before}\n  + {mutant.after}", flush=True)
    total, killed = len(mutants), len(mutants) - len(survivors)
    seconds = time.monotonic() - start
    share_killed = f"{killed / total:.1%}, " if total else ""
    print(f"{module}: {killed} of {total} mutants killed, {share_killed}in {seconds:.0f} s")
    return total, killed


def main() -> None:
    """Mutate the modules on the command line, or all modules."""
    parser = argparse.ArgumentParser(description="Change the core and see whether a test fails.")
    parser.add_argument("--share", type=float, default=1.0, help="try this share of all mutants")
    parser.add_argument("modules", nargs="*", metavar="MODULE", help="the default is all modules")
    given = parser.parse_args()
    modules: list[str] = given.modules or list(MODULES)
    os.environ["SANSIO_STREAM_SHARED"] = str(SHARED)
    os.environ["HYPOTHESIS_PROFILE"] = "mutants"
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "copy")
        shutil.copytree(REPOSITORY, copy, ignore=shutil.ignore_patterns(".*", "__pycache__"))
        os.chdir(copy)
        # The forks compile nothing but the mutant.
        compileall.compile_dir(copy, quiet=1)
        # Before the folder of an editable installation, so that the copy is imported.
        sys.path[:0] = [str(copy), str(copy / "adapters"), str(copy / "tools")]
        results = Results()
        totals, killed = zip(
            *(examine(each, given.share, results) for each in modules), strict=True
        )
    print(f"{sum(killed) / max(1, sum(totals)):.1%} of {sum(totals)} mutants were killed")
    sys.exit(sum(killed) < REQUIRED * sum(totals))


if __name__ == "__main__":
    main()
