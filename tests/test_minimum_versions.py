"""Test the lower bounds in pyproject.toml, and that the tests use the oldest versions."""

import re
import runpy
import tomllib
from typing import Any, Final

import pytest

from shared_data import REPOSITORY

TEXT: Final = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
PROJECT: Final = tomllib.loads(TEXT)
INSTALLED: Final[list[str]] = [
    *PROJECT["project"]["dependencies"],
    *(each for extra in PROJECT["project"]["optional-dependencies"].values() for each in extra),
]
"""The requirements of the package and all its extras."""

SCRIPT: Final[dict[str, Any]] = runpy.run_path(str(REPOSITORY / ".ci" / "minimum_versions.py"))


def bounds(requirements: list[str]) -> dict[str, str]:
    """Return the lower bounds by name, without extras."""
    pairs = (re.sub(r"\[.*\]", "", each).partition(">=") for each in requirements)
    return {name: version for name, _, version in pairs}


@pytest.mark.parametrize("requirement", sorted(set(INSTALLED)))
def test_each_bound_has_a_reason_next_to_it(requirement: str) -> None:
    lines = TEXT.splitlines()
    index = next(
        index for index, line in enumerate(lines) if line.startswith(f'  "{requirement}",')
    )
    assert "#" in lines[index] or lines[index - 1].startswith("  # ")


def test_the_constraints_are_the_lower_bounds_of_all_requirements() -> None:
    expected = [f"{name}=={version}" for name, version in bounds(INSTALLED).items()]
    assert SCRIPT["constraints"]() == expected
    assert "aiohttp==3.14.4" in expected


@pytest.mark.parametrize(
    ("requirements", "flaw"),
    [
        (["h11"], "'h11' does not have the form name>=version"),
        (["h11==0.16"], "'h11==0.16' does not have"),
        (["h11>=0.16,<1"], "does not have the form"),
        (["h11>=0.16", "h11>=0.14"], "h11 has two lower bounds: 0.16 and 0.14"),
    ],
)
def test_a_requirement_needs_exactly_one_lower_bound(requirements: list[str], flaw: str) -> None:
    with pytest.raises(ValueError, match=flaw):
        SCRIPT["minimum_versions"](requirements)


def test_the_tests_have_the_same_lower_bounds_as_the_package() -> None:
    tested = bounds([each for each in PROJECT["dependency-groups"]["test"] if ">=" in each])
    installed = bounds(INSTALLED)
    both = tested.keys() & installed.keys()
    assert len(both) > 5
    assert {name: tested[name] for name in both} == {name: installed[name] for name in both}


def test_the_tests_that_check_wheel_omits_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(REPOSITORY / ".ci")
    check_wheel = runpy.run_path(str(REPOSITORY / ".ci" / "check_wheel.py"))
    with_servers = check_wheel["with_servers"]()
    assert {"adapters", "waits"} <= set(with_servers)
    assert {*check_wheel["WITHOUT_LIBRARIES"]} <= set(with_servers)
    for name in with_servers:
        assert (REPOSITORY / "tests" / f"test_{name}.py").is_file(), name
