"""Fuzzes the targets with atheris. Prints the number of executions and the findings.

    python fuzz/run.py [--seconds 600] [TARGET ...]

The corpus stays in `.fuzz/TARGET/corpus`, and the next run begins with it. A finding is written to
`fuzz/findings/TARGET`. From then on, the tests run it.
"""

import argparse
import hashlib
import importlib
import importlib.util
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import attrs

REPOSITORY: Final = Path(__file__).resolve().parents[1]
FOLDER: Final = REPOSITORY / ".fuzz"
FINDINGS: Final = REPOSITORY / "fuzz" / "findings"

# The targets use the tests' helpers.
sys.path.append(str(REPOSITORY / "tests"))

# An input of this size has a dozen frames. Longer inputs take longer and find nothing more.
LONGEST: Final = 4_096

# The limits of seconds for one input and of megabytes for the process. Exceeding one is a finding.
HANGS_AFTER: Final = 60
MEGABYTES: Final = 1_024

# The number of attempts to shorten a failing input.
SHORTENINGS: Final = 3_000


@attrs.frozen
class Result:
    """The result of fuzzing one target."""

    executions: int
    coverage: str
    artifacts: list[Path]
    exit_code: int


def fuzz_here(target: str, options: list[str]) -> None:
    """Fuzz one target in this process. The process ends with the fuzzer."""
    atheris: Any = importlib.import_module("atheris")
    # atheris cannot instrument modules that were imported before this line.
    with atheris.instrument_imports(include=["sansio_stream"]):
        import targets
    import mutator

    def mutate(data: bytes, max_size: int, seed: int) -> bytes:
        chance = random.Random(seed)
        if chance.random() < 0.5:
            return bytes(atheris.Mutate(data, max_size))
        return mutator.mutate(data, chance)[:max_size]

    mutators = {"custom_mutator": mutate} if target in mutator.TARGETS else {}
    atheris.Setup([sys.argv[0], *options], targets.TARGETS[target], **mutators)
    atheris.Fuzz()


def fuzz(target: str, seconds: int) -> Result:
    """Fuzz one target in a new process."""
    import seeds

    folder = FOLDER / target
    for name in ("seeds", "artifacts"):
        shutil.rmtree(folder / name, ignore_errors=True)
    for name in ("seeds", "artifacts", "corpus"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for data in seeds.seeds(target):
        (folder / "seeds" / name_of(data)).write_bytes(data)
    words = folder / "words"
    words.write_text(seeds.dictionary(), encoding="ascii")
    log = folder / "log"
    command = [
        *(sys.executable, __file__, "--here", target, "--"),
        *(f"-max_total_time={seconds}", f"-max_len={LONGEST}", f"-dict={words}"),
        *(f"-timeout={HANGS_AFTER}", f"-report_slow_units={HANGS_AFTER}"),
        *(f"-rss_limit_mb={MEGABYTES}", "-print_final_stats=1"),
        f"-artifact_prefix={folder / 'artifacts'}/",
        *(str(folder / "corpus"), str(folder / "seeds")),
    ]
    with log.open("wb") as output:
        done = subprocess.run(command, stdout=output, stderr=output, check=False)
    output_text = log.read_text(encoding="utf-8", errors="replace")
    executions = re.findall(r"^stat::number_of_executed_units: *(\d+)", output_text, re.MULTILINE)
    coverage = re.findall(r"cov: \d+ ft: \d+", output_text)
    return Result(
        executions=int(executions[-1]) if executions else 0,
        coverage=coverage[-1] if coverage else "no coverage",
        artifacts=sorted((folder / "artifacts").iterdir()),
        exit_code=done.returncode,
    )


def name_of(data: bytes) -> str:
    """Return the file name that libFuzzer gives an input."""
    return hashlib.sha1(data, usedforsecurity=False).hexdigest()


def failure_of(target: Callable[[bytes], None], data: bytes) -> str:
    """Return the class and message of the exception of a target, "" if it raises none."""
    try:
        target(data)
    except Exception as error:  # noqa: BLE001  (any exception is a finding)
        return f"{type(error).__name__}: {error}"
    return ""


def shortened(target: Callable[[bytes], None], data: bytes, head: int) -> bytes:
    """Return a shorter input that fails in the same way, if there is one."""
    # Only the class and the first words are compared, because the rest quotes the input.
    failure = failure_of(target, data)[:40]
    size = len(data) - head
    tries = 0
    while failure and size > 0:
        start = head
        while start < len(data) and tries < SHORTENINGS:
            tries += 1
            shorter = data[:start] + data[start + size :]
            if failure_of(target, shorter)[:40] == failure:
                data = shorter
            else:
                start += size
        size //= 2
    return data


def keep(target: str, artifact: Path) -> Path:
    """Shorten a failing input and write it to the folder of findings."""
    import cases
    import targets

    data = artifact.read_bytes()
    if artifact.name.startswith("crash-"):
        data = shortened(targets.TARGETS[target], data, cases.HEAD)
    kept = FINDINGS / target / name_of(data)
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_bytes(data)
    return kept


def main() -> None:
    """Fuzz the targets and print the results. Exit with 1 if there is a finding."""
    parser = argparse.ArgumentParser(description="Fuzz the targets with atheris.")
    parser.add_argument(
        "--seconds", type=int, default=600, help="the time for all targets together"
    )
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("names", nargs="*", metavar="TARGET", help="the default is all targets")
    given = parser.parse_args()
    if given.here:
        fuzz_here(given.names[0], given.names[1:])
        return
    if importlib.util.find_spec("atheris") is None:
        sys.exit(
            "atheris is not installed: install it with pip."
            " It does not have a wheel for every Python and platform"
        )
    import targets

    names: list[str] = given.names or list(targets.TARGETS)
    found: list[Path] = []
    for name in names:
        seconds = max(1, given.seconds // len(names))
        print(f"{name}: {seconds} s ...", flush=True)
        result = fuzz(name, seconds)
        print(f"{name}: {result.executions} executions ({result.coverage})", flush=True)
        kept = [keep(name, artifact) for artifact in result.artifacts]
        if result.exit_code and not kept:
            sys.exit(
                f"the fuzzer of {name} exited with {result.exit_code}: see {FOLDER}/{name}/log"
            )
        found += kept
        for path in kept:
            failure = failure_of(targets.TARGETS[name], path.read_bytes())
            print(f"\n{name}: FOUND {failure or result.artifacts[0].name}")
            print(f"  the input:     {path.relative_to(REPOSITORY)}")
            print(f"  how it failed: {(FOLDER / name / 'log').relative_to(REPOSITORY)}")
            print(f"  to reproduce:  python -m pytest tests/test_fuzz_targets.py -k {path.name}")
            print("  This test is also the regression test: commit the input with the repair.\n")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
