"""Forks the command `sansio-stream` from a process that has imported it.

The fixture `fork` in `processes` runs this file. A new process of Python takes 0.3 s of CPU time
for its imports, a forked one a tenth of that. From there on the forked process is like a new one:
it has its own arguments, environment, working directory and standard streams, and it ends as an
interpreter ends.

A request is a JSON object, and the three standard streams of the process to fork. The answer is its
id. The request `{"wait": id}` is answered with the exit status, once there is one.
"""

import gc
import importlib
import json
import os
import signal
import socket
import sys
from typing import Any


def next_process(channel: socket.socket) -> Any:
    """Answer requests. Return in each forked process, with the request for it."""
    while True:
        data, descriptors, _, _ = socket.recv_fds(channel, 2**20, 3)
        if not data:
            os._exit(0)
        asked = json.loads(data)
        if "wait" in asked:
            _, status = os.waitpid(asked["wait"], 0)
            answer = os.waitstatus_to_exitcode(status)
        else:
            for name in asked["imports"]:
                importlib.import_module(name)
            gc.freeze()  # or the first collection in the new process would copy all memory
            answer = os.fork()
            if answer == 0:
                for number, descriptor in enumerate(descriptors):
                    os.dup2(descriptor, number)
            for descriptor in descriptors:
                os.close(descriptor)
            if answer == 0:
                return asked
        channel.sendall(str(answer).encode())


def prepare(asked: Any) -> None:
    """Make this process like a new one."""
    os.environ.clear()
    os.environ.update(asked["env"])
    os.chdir(asked["cwd"])
    sys.argv = ["sansio-stream", *asked["args"]]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", 1, "utf-8", "backslashreplace", closefd=False)  # noqa: SIM115


if __name__ == "__main__":
    from sansio_stream_tools import _main, main  # noqa: F401  (`main` imports `_main` when called)

    # Ctrl-C reaches all processes of a terminal. pytest ends this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with socket.socket(fileno=int(sys.argv[1])) as to_tests:
        request = next_process(to_tests)
    prepare(request)
    main()
