"""What holds for every test: hypothesis profiles, and the account of the shared data."""

import importlib.util
import os
import signal
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import pytest

import shared_data
from matrix import adapter, certificates_are_read_once, delays, nothing_is_left_open
from servers import example_server, http2_example_server, raw_server, tls

__all__ = [
    "adapter",
    "certificates_are_read_once",
    "delays",
    "example_server",
    "http2_example_server",
    "nothing_is_left_open",
    "raw_server",
    "tls",
]


class Missing:
    """Skips a test, or a module of them, that imports what is not installed, and says what that is.

    Asked last, for what nobody else has found. The libraries of the adapters are not here: to do
    without one of them is a thing that is tested.
    """

    def find_spec(
        self, name: str, _path: Sequence[str] | None = None, _target: ModuleType | None = None
    ) -> None:
        if name in {"click", "hypothesis", "rich"}:
            raise pytest.skip.Exception(f"{name} is not installed", allow_module_level=True)


# No deadlines: a loaded machine is slow, and what must not be slow is tested by counting work.
# `quick` is for what another run has proved already (the same tests on another Python, under
# coverage), `dev` for between two edits: the suite takes less than three minutes on two idle cores.
# `ci` repeats exactly, `deep` is for an evening (`make deep`).
if importlib.util.find_spec("hypothesis"):
    from hypothesis import HealthCheck, settings

    settings.register_profile("quick", deadline=None, max_examples=10, derandomize=True)
    settings.register_profile("dev", deadline=None, max_examples=25)
    settings.register_profile("ci", deadline=None, max_examples=50, derandomize=True)
    settings.register_profile(
        "deep", deadline=None, max_examples=5_000, suppress_health_check=[HealthCheck.too_slow]
    )
    settings.load_profile(
        os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") == "true" else "dev")
    )


sys.meta_path.append(Missing())

# A shell that runs tests in the background has them ignore interrupts, and all that they start too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One process more than there are processors, because tests wait for servers; 5 at most."""
    return min(5, (os.cpu_count() or 1) + 1)


# With pytest-xdist each process counts for itself; what it has counted it hands over at its end.


def pytest_sessionfinish(session: pytest.Session) -> None:
    handed_over = getattr(session.config, "workeroutput", None)
    if handed_over is not None:
        handed_over["counts"] = shared_data.counts()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    shared_data.add(getattr(node, "workeroutput", {}).get("counts", {}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    lines = shared_data.account()
    if lines:
        terminalreporter.section("shared data", sep="-")
        terminalreporter.write("".join(f"{line}\n" for line in lines))
