"""Configuration of all tests: hypothesis profiles, and the summary of the shared data."""

import gc
import importlib.util
import os
import signal
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import pytest

import shared_data
from matrix import adapter, delays, nothing_is_left_open
from processes import fork, forking, start
from servers import example_server, http2_example_server, raw_server, tls

__all__ = [
    "adapter",
    "delays",
    "example_server",
    "fork",
    "forking",
    "http2_example_server",
    "nothing_is_left_open",
    "raw_server",
    "start",
    "tls",
]


class SkipMissingLibrary:
    """An import finder that skips a test or test module if a library is not installed.

    Python asks this finder last, after no other finder has found the library. The libraries of the
    adapters are not listed, because tests check the behaviour without them.
    """

    def find_spec(
        self, name: str, _path: Sequence[str] | None = None, _target: ModuleType | None = None
    ) -> None:
        if name in {"click", "hypothesis", "pyarrow", "rich"}:
            raise pytest.skip.Exception(f"{name} is not installed", allow_module_level=True)


# The profiles have no deadlines, because a busy machine is slow. Other tests count the work.
# `quick` is for tests that another run has checked with more examples: on another Python version,
# or under coverage. `dev` is for use between two edits: the suite takes less than three minutes on
# two idle cores. `ci` has the same examples in each run. `deep` is for `make deep`, which may take
# hours.
if importlib.util.find_spec("hypothesis"):
    from hypothesis import HealthCheck, settings

    settings.register_profile("quick", deadline=None, max_examples=10, derandomize=True)
    settings.register_profile("dev", deadline=None, max_examples=15)
    settings.register_profile("ci", deadline=None, max_examples=50, derandomize=True)
    settings.register_profile(
        "deep", deadline=None, max_examples=5_000, suppress_health_check=[HealthCheck.too_slow]
    )
    settings.load_profile(
        os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") == "true" else "dev")
    )


sys.meta_path.append(SkipMissingLibrary())

# No test connects to a server with a certificate of a real authority. A client, and each command
# that a test starts, would take 40 ms to read the certificates of the system.
os.environ["SSL_CERT_FILE"] = str(shared_data.REPOSITORY / "tests" / "certificate.pem")

# A shell that runs the tests in the background makes them ignore SIGINT. Their subprocesses would
# inherit this.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Return one process more than there are processors, and at most 5.

    One more is useful because some tests wait for servers.
    """
    return min(5, (os.cpu_count() or 1) + 1)


@pytest.fixture(autouse=True, scope="module")
def _collect_only_new_objects() -> None:
    """Exclude older objects from the garbage collections of the tests of a module.

    These are imported modules and collected tests, about a million objects. Tests collect garbage
    hundreds of times, and each collection of all objects would take a quarter of a second.
    """
    gc.collect()
    gc.freeze()


# With pytest-xdist each worker process counts by itself and sends its counts when it ends.


def pytest_sessionfinish(session: pytest.Session) -> None:
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["counts"] = shared_data.counts()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    shared_data.add(getattr(node, "workeroutput", {}).get("counts", {}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    lines = shared_data.summary()
    if lines:
        terminalreporter.section("shared data", sep="-")
        terminalreporter.write("".join(f"{line}\n" for line in lines))
