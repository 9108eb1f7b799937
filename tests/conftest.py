"""What holds for every test: hypothesis profiles, and the account of the shared data."""

import os

import pytest
from hypothesis import HealthCheck, settings

import shared_data

# No deadlines: a loaded machine is slow, and what must not be slow is tested by counting work.
# `quick` is for what another run has proved already (the same tests on another Python, under
# coverage), `dev` for between two edits, `ci` repeats exactly, `deep` is for an evening
# (`make deep`).
settings.register_profile("quick", deadline=None, max_examples=10, derandomize=True)
settings.register_profile("dev", deadline=None, max_examples=40)
settings.register_profile("ci", deadline=None, max_examples=100, derandomize=True)
settings.register_profile(
    "deep", deadline=None, max_examples=5_000, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile(
    os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") == "true" else "dev")
)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    lines = shared_data.account()
    if lines:
        terminalreporter.section("shared data", sep="-")
        terminalreporter.write("".join(f"{line}\n" for line in lines))
