"""Starts the command `sansio-stream` as a process. This module needs no library.

The fixture `start` starts a new interpreter. `fork` takes a tenth of the CPU time. It is for tests
in which the start of the interpreter, its options and the imports do not matter.
"""

import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import IO, Any

import pytest

from servers import PATIENCE

__all__ = [
    "COLOURS",
    "COMMAND",
    "ENVIRONMENT",
    "Fork",
    "Forked",
    "Start",
    "fork",
    "forking",
    "kill_this_process",
    "read_until",
    "start",
]

# The environment variables of the shell must not affect colours and widths.
ENVIRONMENT: dict[str, str | None] = {
    "COLUMNS": "100",
    "FORCE_COLOR": None,
    "NO_COLOR": None,
    "TTY_COMPATIBLE": None,
    "TTY_INTERACTIVE": None,
}

COLOURS = re.compile(r"\x1b\[[0-9;]*m")
COMMAND = [sys.executable, "-m", "sansio_stream_tools"]
Start = Callable[..., "subprocess.Popen[bytes]"]
Fork = Callable[..., "Forked"]


def kill_this_process(*_: object, **__: object) -> None:
    """Kill the process that calls this, as the system does if memory is short."""
    os.kill(os.getpid(), signal.SIGKILL)


def environment_of_command() -> dict[str, str]:
    """Return the environment of the tests, without what would change the output."""
    root = Path(__file__).parent.parent
    path = os.pathsep.join(map(str, (root, root / "adapters", root / "tools")))
    kept = {name: value for name, value in os.environ.items() if name not in ENVIRONMENT}
    return {**kept, "PYTHONPATH": path}


@pytest.fixture
def start() -> Iterator[Start]:
    """Return a function that starts the command as a process. Kill the processes at the end."""
    started: list[subprocess.Popen[bytes]] = []
    environment = environment_of_command()

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
            env={**environment, **env},
        )
        started.append(process)
        return process

    yield popen
    end(started)


class Forked:
    """A process that `forking` has forked, with those methods of `Popen` that tests use."""

    def __init__(
        self,
        channel: socket.socket,
        *args: str,
        stdin: int = subprocess.DEVNULL,
        stdout: IO[bytes] | int = subprocess.PIPE,
        stderr: IO[bytes] | int = subprocess.PIPE,
        env: Mapping[str, str] = {},
        imports: Sequence[str] = (),
    ) -> None:
        self._channel = channel
        self.args = args
        self.returncode: int | None = None
        its_ends: list[int] = []
        self.stdin = self._pipe(its_ends, stdin, "wb")
        self.stdout = self._pipe(its_ends, stdout, "rb")
        self.stderr = self._pipe(its_ends, stderr, "rb")
        environment = {**environment_of_command(), **env}
        asked = {"args": args, "env": environment, "cwd": str(Path.cwd()), "imports": imports}
        socket.send_fds(channel, [json.dumps(asked).encode()], its_ends)
        self.pid = int(channel.recv(64))
        for descriptor in its_ends:
            os.close(descriptor)

    @staticmethod
    def _pipe(its_ends: list[int], given: IO[bytes] | int, mode: str) -> IO[bytes] | None:
        """Add a standard stream of the process. Return our end of it if it is a pipe."""
        if given == subprocess.DEVNULL:
            its_ends.append(os.open(os.devnull, os.O_RDWR))
        elif given != subprocess.PIPE:
            its_ends.append(os.dup(given if isinstance(given, int) else given.fileno()))
        else:
            reading, writing = os.pipe()
            its_ends.append(reading if mode == "wb" else writing)
            return os.fdopen(writing if mode == "wb" else reading, mode)
        return None

    def communicate(self, data: bytes = b"", timeout: float = PATIENCE) -> tuple[bytes, bytes]:
        """Write `data`, read both outputs to their ends, and wait for the process."""

        def write() -> None:
            if self.stdin is not None:
                self.stdin.write(data)
                self.stdin.close()

        def read(pipe: IO[bytes] | None) -> bytes:
            return b"" if pipe is None else pipe.read()

        with ThreadPoolExecutor(3) as pool:
            reading = [pool.submit(read, pipe) for pipe in (self.stdout, self.stderr)]
            writing: Future[Any] = pool.submit(write)
            _, late = wait([writing, *reading], timeout)
            if late:
                self.kill()
                raise subprocess.TimeoutExpired(self.args, timeout)
        self.wait(timeout)
        stdout, stderr = (each.result() for each in reading)
        return stdout, stderr

    def wait(self, timeout: float = PATIENCE) -> int:
        """Return the exit status, once there is one."""
        if self.returncode is None:
            self._channel.settimeout(timeout)
            self._channel.sendall(json.dumps({"wait": self.pid}).encode())
            try:
                self.returncode = int(self._channel.recv(64))
            except TimeoutError:
                self.kill()
                self._channel.settimeout(None)
                self.returncode = int(self._channel.recv(64))
                raise
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal. Until `wait` returns, no other process can have the id."""
        if self.returncode is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill the process, if it has not ended."""
        self.send_signal(signal.SIGKILL)


@pytest.fixture(scope="session")
def forking() -> Iterator[socket.socket]:
    """The channel to a process that forks; see `forking`."""
    for library in ("click", "rich"):
        pytest.importorskip(library, reason="the command needs it")
    if not hasattr(os, "fork"):
        pytest.skip("this system cannot fork")
    ours, its = socket.socketpair()
    script = str(Path(__file__).parent / "forking.py")
    with ours:
        with its:
            process = subprocess.Popen(
                [sys.executable, script, str(its.fileno())],
                pass_fds=[its.fileno()],
                env=environment_of_command(),
            )
        yield ours
    process.wait()


@pytest.fixture
def fork(forking: socket.socket) -> Iterator[Fork]:
    """Return a function that forks the command. Kill the processes at the end."""
    forked: list[Forked] = []

    def fork_command(*args: str, **options: object) -> Forked:
        process = Forked(forking, *args, **options)  # type: ignore[arg-type]
        forked.append(process)
        return process

    yield fork_command
    end(forked)


def read_until(descriptor: int, word: bytes, *, seen: bytes = b"") -> bytes:
    """Read until a word has arrived. Return everything that was read, with `seen` before it."""
    while word not in COLOURS.sub("", seen.decode("utf-8", "replace")).encode():
        ready, _, _ = select.select([descriptor], [], [], PATIENCE)
        assert ready, f"{word!r} has not arrived, only {seen!r}"
        piece = os.read(descriptor, 65_536)
        assert piece, f"the output ended before {word!r}: {seen!r}"
        seen += piece
    return seen


def end(processes: "Iterable[subprocess.Popen[bytes] | Forked]") -> None:
    """Kill processes, and close their pipes."""
    for process in processes:
        process.kill()
        process.wait()
        for pipe in filter(None, (process.stdin, process.stdout, process.stderr)):
            pipe.close()
