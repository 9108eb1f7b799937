"""Runs a command, and measures the CPU time and the memory of it and all its descendants.

    python scale/process_usage.py COMMAND...

prints the result as JSON. It works only on Linux, because it reads /proc. The CPU time includes
that of daemons that outlive the command: this process becomes their parent, kills them and waits
for them.

The system adds up the times of the processes that were waited for. But a daemon may not wait for
its children. So the times of all processes are also read while they run, and the larger sum counts.
"""

import contextlib
import ctypes
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import attrs

__all__ = ["Usage", "cpu_of", "descendants", "measured"]

PR_SET_CHILD_SUBREAPER: Final = 36

SAMPLE_SECONDS: Final = 0.1


@attrs.frozen
class Usage:
    """What a command needed.

    Attributes:
        status: its exit status.
        cpu: the CPU time of all processes, in seconds.
        wall: the time until the command had ended, in seconds.
        command_rss: the peak memory of the command's own process, in bytes.
        other_rss: the largest peak memory of another process, in bytes.
    """

    status: int
    cpu: float
    wall: float
    command_rss: int
    other_rss: int


def measured(command: list[str], **environment: str) -> Usage:
    """Run a command in a process of its own that measures it. What it prints goes to stderr."""
    done = subprocess.run(
        [sys.executable, __file__, *command],
        stdout=subprocess.PIPE,
        check=True,
        env={**os.environ, **environment},
    )
    return Usage(**json.loads(done.stdout))


def measure(command: list[str]) -> Usage:
    """Run a command and measure it. This process must have no other children."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    start = time.monotonic()
    process = subprocess.Popen(command, stdout=sys.stderr)
    command_rss = other_rss = 0
    seconds: dict[int, float] = {}
    while process.poll() is None:
        for pid in descendants(os.getpid()):
            rss = peak_rss(pid)
            seconds[pid] = max(seconds.get(pid, 0.0), cpu_of(pid))
            if pid == process.pid:
                command_rss = max(command_rss, rss)
            else:
                other_rss = max(other_rss, rss)
        time.sleep(SAMPLE_SECONDS)
    wall = time.monotonic() - start
    kill_all()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = max(used.ru_utime + used.ru_stime, sum(seconds.values()))
    return Usage(process.returncode, cpu, wall, command_rss, other_rss)


def kill_all() -> None:
    """Kill the processes that are left, and wait for them, so that their time is counted."""
    with contextlib.suppress(ChildProcessError):
        while True:
            for pid in descendants(os.getpid()):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            os.waitpid(-1, 0)


def descendants(pid: int) -> Iterator[int]:
    """Yield the ids of all descendants of a process."""
    children: dict[int, list[int]] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # The name stands in parentheses, and may contain any characters.
            parent = int(status.read_text(errors="replace").rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(status.parent.name))
    waiting = [pid]
    while waiting:
        below = children.get(waiting.pop(), [])
        yield from below
        waiting.extend(below)


def cpu_of(pid: int) -> float:
    """Return the CPU time of a process so far, in seconds. 0 if it has ended."""
    with contextlib.suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return 0.0


def peak_rss(pid: int) -> int:
    """Return the peak memory of a process so far, in bytes. 0 if it has ended."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text(errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name == "VmHWM":
                return int(value.split()[0]) * 1024
    return 0


if __name__ == "__main__":
    sys.stdout.write(json.dumps(attrs.asdict(measure(sys.argv[1:]))))
