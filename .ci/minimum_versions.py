"""The oldest version of each package that users may have, as constraints for pip.

`python .ci/minimum_versions.py` prints them: for each of the dependencies and extras in
pyproject.toml its lower bound, exactly. What only the tests need is not among them.
"""

import re
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path

PYPROJECT = Path(__file__).resolve().parents[1] / "pyproject.toml"


def minimum_versions(requirements: Iterable[str]) -> dict[str, str]:
    """The lower bound of each package, by its name.

    Raises ValueError for a requirement that is not `name>=version`, and for a package that has two
    bounds: which of them is tested could then not be said.
    """
    found: dict[str, str] = {}
    for requirement in requirements:
        match = re.fullmatch(r"([A-Za-z0-9._-]+)>=([0-9.]+)", requirement)
        if match is None:
            raise ValueError(f"{requirement!r} has not the form name>=version")
        name, version = match.groups()
        if found.setdefault(name, version) != version:
            raise ValueError(f"{name} has two lower bounds: {found[name]} and {version}")
    return found


def constraints() -> list[str]:
    """What pip is to be told, a line each."""
    project = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"].values()
    requirements = [*project["dependencies"], *(each for extra in extras for each in extra)]
    return [f"{name}=={version}" for name, version in minimum_versions(requirements).items()]


if __name__ == "__main__":
    sys.stdout.write("".join(f"{line}\n" for line in constraints()))
