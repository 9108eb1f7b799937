"""Build the sdist and the wheel, check the wheel's contents, and run the tests against the wheel.

The tests run in a folder without the source code, so they import the installed packages.

They run on each Python version in the classifiers of pyproject.toml that is installed on this
machine, either on PATH or in pyenv. On the oldest version, the dependencies have the oldest
versions that pyproject.toml allows; see `minimum_versions`.

Tests that wait for servers take as long as all other tests together. So all of them run on the
newest Python only. On the oldest Python, only those run that an old library can break. Tests with
the mark `exhaustive` run on the newest Python only, and not if this script itself runs on it,
because `make test` has run them there.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
import zipfile
from collections.abc import Sequence
from pathlib import Path

from minimum_versions import constraints

REPOSITORY = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]

START = time.monotonic()

# The folder in the repository that contains each import package of the wheel.
PACKAGES = {
    "sansio_stream": ".",
    "sansio_stream_adapters": "adapters",
    "sansio_stream_tools": "tools",
}

# Files and folders that the tests need. The packages are missing on purpose: the tests must
# import them from the wheel.
WITH_THE_TESTS = (
    *(
        ".ci",
        "tests",
        "benchmarks",
        "docs",
        "examples",
        "fuzz",
        "mutants",
        "peers",
        "scale",
        "typing_tests",
    ),
    *("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "Makefile", "SECURITY.md"),
    "pyproject.toml",
)

# These tests wait for servers, but they only test files, our own loops and our own limits. Their
# results do not depend on the version of a library. They take half of the time of all server tests.
WITHOUT_LIBRARIES = (
    *("big_chunks", "bridge", "decoding", "hostile_files", "record", "recording_files"),
    *("recordings", "serve_limits"),
)


def so_far() -> str:
    """Return how long this script has run, for its output."""
    return f"(at {time.monotonic() - START:.0f} s)"


def run(*command: str | Path, cwd: Path = REPOSITORY) -> None:
    """Run a command. If it fails, end this script with its exit code.

    Raises:
        SystemExit: If the command's exit code is not 0.
    """
    code = subprocess.run(command, cwd=cwd, check=False).returncode
    if code != 0:
        sys.exit(code)


def build(to: Path) -> Path:
    """Build the sdist, then the wheel from the sdist, and return the path of the wheel.

    A wheel that is built from the sdist also shows that the sdist is complete.
    """
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", to, ".")
    (wheel,) = to.glob("*.whl")
    return wheel


def check_contents(wheel: Path) -> None:
    """Check that the wheel contains all files of the packages, its metadata and nothing else.

    Raises:
        SystemExit: If a file is missing or unexpected.
    """
    expected = {
        path.relative_to(REPOSITORY / folder).as_posix()
        for package, folder in PACKAGES.items()
        for path in (REPOSITORY / folder / package).rglob("*")
        if path.suffix == ".py" or path.name == "py.typed"
    }
    names = zipfile.ZipFile(wheel).namelist()
    found = {name for name in names if ".dist-info/" not in name}
    if found != expected or not {f"{package}/py.typed" for package in PACKAGES} <= found:
        unexpected, missing = sorted(found - expected), sorted(expected - found)
        sys.exit(f"{wheel.name} contains unexpected files {unexpected} and lacks {missing}")
    print(f"{wheel.name} contains {len(found)} files of {', '.join(PACKAGES)}, and metadata")


def interpreter(version: str) -> str | None:
    """Return the path of a working Python of this version, or None.

    Each candidate is run, because pyenv puts shims on PATH even for versions that are not active.

    Args:
        version: Major and minor version, such as `3.11`.
    """
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    built = [str(path) for path in pyenv.glob(f"versions/{version}.*/bin/python")]
    for candidate in filter(None, [shutil.which(f"python{version}"), *built]):
        probe = [candidate, "-c", "import ensurepip, sys; print('%d.%d' % sys.version_info[:2])"]
        done = subprocess.run(probe, capture_output=True, text=True, check=False)
        if done.stdout.strip() == version:
            return candidate
    return None


def with_servers() -> list[str]:
    """Return the names of the test files that wait for servers, from the Makefile.

    Returns:
        The names without `test_` and `.py`.
    """
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    (names,) = re.findall(r"^WITH_SERVERS := ((?:.*\\\n)*.*)$", makefile, re.MULTILINE)
    return str(names).replace("\\\n", " ").split()


def run_tests(
    wheel: Path,
    python: str,
    folder: Path,
    *,
    limits: Sequence[str],
    without: Sequence[str],
    marked: str,
) -> None:
    """Install the wheel into a new virtual environment and run the tests without the source code.

    Args:
        wheel: The wheel to install.
        python: The path of the interpreter.
        folder: An existing, empty folder for the environment and for a copy of the tests.
        limits: Constraints for pip.
        without: Names of test files to leave out, without `test_` and `.py`.
        marked: The expression for pytest's option `-m`; "" runs all tests.

    Raises:
        SystemExit: If the installation or a test fails.
    """
    constraints_file = folder / "constraints.txt"
    constraints_file.write_text("".join(f"{limit}\n" for limit in limits), encoding="utf-8")
    run(python, "-m", "venv", folder / "venv")
    installed = folder / "venv" / "bin" / "python"
    pip = (installed, "-m", "pip", "install", "--quiet")
    run(*pip, "--upgrade", "pip>=25.1")
    run(*pip, f"{wheel}[cli,testing]", "--constraint", constraints_file, "--group", "test")
    checkout = folder / "checkout"
    checkout.mkdir()
    for name in WITH_THE_TESTS:
        source = REPOSITORY / name
        if source.is_dir():
            shutil.copytree(source, checkout / name, ignore=shutil.ignore_patterns("__pycache__"))
        elif source.is_file():
            shutil.copy(source, checkout / name)
    print(f"Installed {so_far()}", flush=True)
    where = "import {0}; assert {0}.__file__.startswith({1!r}), {0}.__file__"
    for package in PACKAGES:
        run(installed, "-c", where.format(package, str(folder / "venv")), cwd=checkout)
    # Plain asserts: to explain why one fails, pytest rewrites each test module in each process.
    options = ["--quiet", "-x", "--assert", "plain", "--numprocesses", "auto", "-m", marked]
    ignored = [f"--ignore=tests/test_{name}.py" for name in without]
    run(installed, "-m", "pytest", *options, *ignored, cwd=checkout)


def main() -> None:
    """Build the wheel, check its contents, and test it on every Python version."""
    versions = re.findall(r"Python :: (3\.\d+)", "\n".join(PROJECT["classifiers"]))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        wheel = build(folder / "dist")
        check_contents(wheel)
        for version in versions:
            python = interpreter(version)
            if python is None:
                print(f"\nPython {version} is not installed: the wheel is not tested on it")
                continue
            limits, without, marked = [], with_servers(), "not exhaustive"
            if version == versions[0]:
                limits, without = constraints(), list(WITHOUT_LIBRARIES)
            elif version == versions[-1]:
                has_run_all = version == f"3.{sys.version_info.minor}"
                without, marked = [], "not exhaustive" if has_run_all else ""
            print(f"\nThe wheel on Python {version} {so_far()}", *limits, flush=True)
            (folder / version).mkdir()
            run_tests(
                wheel,
                python,
                folder / version,
                limits=limits,
                without=without,
                marked=marked,
            )


if __name__ == "__main__":
    main()
