"""Starts the command `sansio-stream` as a process. This module needs no library."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO

import pytest

__all__ = ["COMMAND", "ENVIRONMENT", "Start", "kill_this_process", "start"]

# The environment variables of the shell must not affect colours and widths.
ENVIRONMENT: dict[str, str | None] = {
    "COLUMNS": "100",
    "FORCE_COLOR": None,
    "NO_COLOR": None,
    "TTY_COMPATIBLE": None,
    "TTY_INTERACTIVE": None,
}

COMMAND = [sys.executable, "-m", "sansio_stream_tools"]
Start = Callable[..., "subprocess.Popen[bytes]"]


def kill_this_process(*_: object, **__: object) -> None:
    """Kill the process that calls this, as the system does if memory is short."""
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture
def start() -> Iterator[Start]:
    """Return a function that starts the command as a process. Kill the processes at the end."""
    started: list[subprocess.Popen[bytes]] = []
    root = Path(__file__).parent.parent
    path = os.pathsep.join(map(str, (root, root / "adapters", root / "tools")))
    environment = {k: v for k, v in os.environ.items() if k not in ENVIRONMENT}

    def popen(
        *args: str,
        command: list[str] = COMMAND,
        stdin: int = subprocess.DEVNULL,
        stdout: IO[bytes] | int = subprocess.PIPE,
        stderr: int = subprocess.PIPE,
        env: Mapping[str, str] = {},
    ) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [*command, *args],
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            env={**environment, "PYTHONPATH": path, **env},
        )
        started.append(process)
        return process

    yield popen
    for process in started:
        process.kill()
        process.wait()
        for pipe in filter(None, (process.stdin, process.stdout, process.stderr)):
            pipe.close()
