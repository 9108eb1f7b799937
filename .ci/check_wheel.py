"""Build sdist and wheel once, check what is in the wheel, test it where no source is in reach.

The Pythons are those of the classifiers in pyproject.toml, as far as they are on this machine: on
PATH, or in a pyenv. On the oldest of them everything that users install has the oldest version that
pyproject.toml allows; see `minimum_versions`. The tests that wait for servers take as long as all
others together: they are run on the newest one, and on the oldest those that a library may break.
What is marked exhaustive is run on the newest one only.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from collections.abc import Sequence
from pathlib import Path

from minimum_versions import constraints

REPOSITORY = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]

# Where each import package of the wheel is in the repository.
PACKAGES = {"sansio_stream": ".", "sansio_stream_adapters": "adapters"}

# What the tests need beside the installed packages. Not the packages.
WITH_THE_TESTS = (
    *(".ci", "tests", "benchmarks", "docs", "examples", "fuzz", "mutants", "peers", "typing_tests"),
    *("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "Makefile", "SECURITY.md"),
    "pyproject.toml",
)

# Of the tests that wait for servers, those that are about files, about our own loops and our own
# limits. They take half of the time, and no version of a library changes what comes of them.
WITHOUT_LIBRARIES = (
    *("big_chunks", "bridge", "decoding", "hostile_files", "record", "recording_files"),
    *("recordings", "serve_limits"),
)


def run(*command: str | Path, cwd: Path = REPOSITORY) -> None:
    """Run to success or end this script with the command's exit code."""
    code = subprocess.run(command, cwd=cwd, check=False).returncode
    if code != 0:
        sys.exit(code)


def build(to: Path) -> Path:
    """The wheel, made from the sdist, so that both are known to be whole."""
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", to, ".")
    (wheel,) = to.glob("*.whl")
    return wheel


def check_contents(wheel: Path) -> None:
    """The two packages and the metadata: no module is missing, nothing else is installed."""
    expected = {
        path.relative_to(REPOSITORY / folder).as_posix()
        for package, folder in PACKAGES.items()
        for path in (REPOSITORY / folder / package).rglob("*")
        if path.suffix == ".py" or path.name == "py.typed"
    }
    names = zipfile.ZipFile(wheel).namelist()
    found = {name for name in names if ".dist-info/" not in name}
    if found != expected or not {f"{package}/py.typed" for package in PACKAGES} <= found:
        sys.exit(f"{wheel.name} has {sorted(found - expected)} too many, lacks {expected - found}")
    print(f"{wheel.name}: {len(found)} files, those of {' and '.join(PACKAGES)}, and metadata")


def interpreter(version: str) -> str | None:
    """A Python of this version that runs (pyenv's shims are on PATH for versions switched off)."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    built = [str(path) for path in pyenv.glob(f"versions/{version}.*/bin/python")]
    for candidate in filter(None, [shutil.which(f"python{version}"), *built]):
        probe = [candidate, "-c", "import ensurepip, sys; print('%d.%d' % sys.version_info[:2])"]
        done = subprocess.run(probe, capture_output=True, text=True, check=False)
        if done.stdout.strip() == version:
            return candidate
    return None


def with_servers() -> list[str]:
    """What the tests that wait for servers are about, as the Makefile names them."""
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
    """Install the wheel into a new virtual environment and run the tests where no source is.

    Args:
        wheel: what is installed.
        python: the interpreter.
        folder: where everything goes.
        limits: constraints for pip.
        without: the names of test files that are left out.
        marked: which of the others are run, as pytest's `-m` has it.
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
    where = "import {0}; assert {0}.__file__.startswith({1!r}), {0}.__file__"
    for package in PACKAGES:
        run(installed, "-c", where.format(package, str(folder / "venv")), cwd=checkout)
    options = ["--quiet", "-x", "--numprocesses", "auto", "-m", marked]
    ignored = [f"--ignore=tests/test_{name}.py" for name in without]
    run(installed, "-m", "pytest", *options, *ignored, cwd=checkout)


def main() -> None:
    """Build, look, and test on every version."""
    versions = re.findall(r"Python :: (3\.\d+)", "\n".join(PROJECT["classifiers"]))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        wheel = build(folder / "dist")
        check_contents(wheel)
        for version in versions:
            python = interpreter(version)
            if python is None:
                print(f"\nNo Python {version} here: the wheel is not tested on it")
                continue
            limits, without, marked = [], with_servers(), "not exhaustive"
            if version == versions[0]:
                limits, without = constraints(), list(WITHOUT_LIBRARIES)
            elif version == versions[-1]:
                without, marked = [], ""
            print(f"\nThe wheel on Python {version}", *limits, flush=True)
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
