"""Lower bounds of the dependencies and extras in pyproject.toml, as constraints for pip.

`python .ci/minimum_versions.py` prints one `name==version` per line. With these constraints, pip
installs the oldest version of each package that pyproject.toml allows. The dependency groups, which
only development needs, are not included.
"""

import re
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path

PYPROJECT = Path(__file__).resolve().parents[1] / "pyproject.toml"


def minimum_versions(requirements: Iterable[str]) -> dict[str, str]:
    """Return the lower bound of each package.

    Args:
        requirements: Requirements of the form `name>=version` or `name[extra]>=version`.

    Returns:
        The versions by package name.

    Raises:
        ValueError: If a requirement has another form, or if a package has two different bounds.
            With two bounds it would not be clear which one the tests have used.
    """
    found: dict[str, str] = {}
    for requirement in requirements:
        match = re.fullmatch(r"([A-Za-z0-9._-]+)(?:\[[a-z0-9,]+\])?>=([0-9.]+)", requirement)
        if match is None:
            raise ValueError(f"{requirement!r} does not have the form name>=version")
        name, version = match.groups()
        if found.setdefault(name, version) != version:
            raise ValueError(f"{name} has two lower bounds: {found[name]} and {version}")
    return found


def constraints() -> list[str]:
    """Return the lines of a pip constraints file."""
    project = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"].values()
    requirements = [*project["dependencies"], *(each for extra in extras for each in extra)]
    return [f"{name}=={version}" for name, version in minimum_versions(requirements).items()]


if __name__ == "__main__":
    sys.stdout.write("".join(f"{line}\n" for line in constraints()))
