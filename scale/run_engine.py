"""Reports a table of bodies by one engine.

    python scale/run_engine.py ENGINE bodies.parquet rows [--kill]

The engine is `function` (`report_table` in one process, without any engine), `local` (the command
`sansio-stream report`), `ray` or `dask`. With `--kill`, one worker process is killed while it
works.
"""

import argparse
import importlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pyarrow.parquet as pq

from process_usage import cpu_of, descendants
from sansio_stream_tools.engines import dask_report, ray_report
from sansio_stream_tools.table import report_table

__all__ = ["ENGINES"]

WORKERS: Final = 2

KILL_AFTER_SECONDS: Final = 3.0
"""The CPU time after which a process is killed. The start and the imports take one or two seconds.
"""

NOBODY_KILLED: Final = 3
"""The exit status if no process reached this CPU time."""


def by_function(source: str, destination: Path) -> None:
    destination.mkdir()
    with pq.ParquetFile(source) as bodies:
        for number in range(bodies.num_row_groups):
            rows = report_table(bodies.read_row_group(number))
            pq.write_table(rows, destination / f"{number}.parquet")


def by_local(source: str, destination: Path) -> None:
    destination.mkdir()
    out = str(destination / "rows.parquet")
    command = [sys.executable, "-m", "sansio_stream_tools", "report", source, "--out", out]
    options = ["--body", "body", "--id", "id", "--workers", str(WORKERS)]
    # 1 means that some bodies gave no usable message.
    if subprocess.run([*command, *options], check=False, stdout=sys.stderr).returncode != 1:
        raise RuntimeError("the command has failed")


def by_ray(source: str, destination: Path) -> None:
    ray: Any = importlib.import_module("ray")
    ray.init(num_cpus=WORKERS, include_dashboard=False, log_to_driver=False)
    ray_report(source, str(destination))
    ray.shutdown()


def by_dask(source: str, destination: Path) -> None:
    distributed: Any = importlib.import_module("distributed")
    cluster = distributed.LocalCluster(
        n_workers=WORKERS, threads_per_worker=1, dashboard_address=None
    )
    with cluster, distributed.Client(cluster):
        dask_report(source, str(destination))


ENGINES: Final[dict[str, Callable[[str, Path], None]]] = {
    "function": by_function,
    "local": by_local,
    "ray": by_ray,
    "dask": by_dask,
}


class Killer(threading.Thread):
    """Kills one worker process once it has used some CPU time.

    Attributes:
        killed: the command of the process, or None as long as none was killed.
    """

    def __init__(self, mark: str) -> None:
        """Choose among the processes whose command contains `mark`."""
        super().__init__(daemon=True)
        self.killed: str | None = None
        self._mark = mark

    def run(self) -> None:
        """Wait for such a process and kill it."""
        while True:
            for pid in descendants(os.getpid()):
                command = command_of(pid)
                if self._mark in command and cpu_of(pid) >= KILL_AFTER_SECONDS:
                    os.kill(pid, signal.SIGKILL)
                    self.killed = command
                    return
            time.sleep(0.05)


MARKS: Final = {"local": "spawn_main", "ray": "ray::", "dask": "spawn_main"}
"""A text that the commands of the worker processes of an engine contain."""


def command_of(pid: int) -> str:
    """Return the command of a process. "" if it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace").replace("\0", " ").strip()
    except OSError:
        return ""


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("engine", choices=ENGINES)
    parser.add_argument("source")
    parser.add_argument("destination", type=Path)
    parser.add_argument("--kill", action="store_true")
    arguments = parser.parse_args()
    killer = Killer(MARKS.get(arguments.engine, ""))
    if arguments.kill:
        killer.start()
    ENGINES[arguments.engine](arguments.source, arguments.destination)
    if arguments.kill:
        if killer.killed is None:
            sys.exit(NOBODY_KILLED)
        print(f"killed: {killer.killed}", file=sys.stderr)
