"""What observing costs a gateway: CPU time of the route of docs/gateways.md, with and without it.

    python benchmarks/gateway.py [--rounds 40]

The gateways run behind uvicorn, each in a process of its own; only their CPU time counts. The
streams come as a model writes them, an event at a time: the next one is sent when the client has
the last one, so that a gateway reads each from its socket alone, however slow the machine is. A
round asks the gateway with an observer and the one without for the same stream; the figure is the
median of the ratios of the rounds. The rounds are short and many, because the CPU time of so many
switches between processes depends on what else the machine does.
"""

import argparse
import asyncio
import importlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import quantiles
from typing import Any, Final

from fixtures import mixed

ROOT: Final = Path(__file__).parents[1]
PAGE: Final = ROOT / "docs" / "gateways.md"
EVENTS: Final = 1_000
LIMIT: Final = 1.15

ASK: Final = (
    b"POST /v1/messages HTTP/1.1\r\nhost: here\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}"
)
HEAD: Final = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n"
    b"transfer-encoding: chunked\r\n\r\n"
)


def route() -> str:
    """The code of the page."""
    text = PAGE.read_text(encoding="utf-8")
    (code,) = [each for each in text.split("```python\n")[1:] if "Starlette(" in each]
    return code.partition("```")[0]


def unobserved(code: str) -> str:
    """The same code without the observer: the body of a response is closed as before."""
    for before, after in (
        ("tee(upstream.aiter_raw(), self.observer, sent_at=sent_at)", "upstream.aiter_raw()"),
        ("async with self.chunks:", "async with contextlib.aclosing(self.chunks):"),
        ("keep(self.observer.report)", "pass"),
        ("self.observer = Observer(", "_ = ("),
        ("make_decoder=decoder_for", "decoder_for"),
    ):
        assert before in code, before
        code = code.replace(before, after)
    return code


def serve(code: str) -> None:
    """Run the gateway on a free port, print the port, and at the end of stdin the CPU time."""
    uvicorn = importlib.import_module("uvicorn")
    names: dict[str, Any] = {"__name__": "gateway"}
    exec(compile(code, str(PAGE), "exec"), names)  # noqa: S102 - the code of our own page
    names["keep"] = lambda report: json.dumps(report.to_dict())  # stdout is for the CPU times
    config = uvicorn.Config(names["app"], port=0, log_level="error", access_log=False)
    server = uvicorn.Server(config)

    def tell() -> None:
        while not server.started:
            time.sleep(0.01)
        print(server.servers[0].sockets[0].getsockname()[1], flush=True)
        for _ in sys.stdin:
            print(time.process_time(), flush=True)
        server.should_exit = True

    threading.Thread(target=tell).start()
    server.run()


class Gateway:
    """A gateway in a process of its own."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self.port = int(self._line())

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    def cpu(self) -> float:
        """The CPU seconds that it has used."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return float(self._line())


@contextmanager
def gateway(option: str, upstream: int) -> Iterator[Gateway]:
    """Start a gateway, and stop it in the end."""
    with subprocess.Popen(
        [sys.executable, __file__, option],
        env={**os.environ, "UPSTREAM": f"http://127.0.0.1:{upstream}"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield Gateway(process)
        assert process.stdin is not None
        process.stdin.close()


async def read(port: int, has_come: asyncio.Event) -> int:
    """Ask for a stream, and return how many bytes came. The event is set whenever some come."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(ASK)
    size = 0
    while data := await reader.read(65_536):
        size += len(data)
        has_come.set()
    writer.close()
    return size


async def measure(rounds: int) -> list[float]:
    """The ratios of the rounds."""
    frames = mixed(EVENTS).chunks(None)
    sent = [b"%x\r\n%b\r\n" % (len(frame), frame) for frame in frames]

    has_come = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n{}")
        writer.write(HEAD)
        for chunk in sent:
            has_come.clear()
            writer.write(chunk)
            await has_come.wait()
        writer.write(b"0\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port: int = server.sockets[0].getsockname()[1]
    ratios: list[float] = []
    with gateway("--observed", port) as with_it, gateway("--unobserved", port) as without:
        for number in range(rounds + 1):
            used: dict[Gateway, float] = {}
            for each in (with_it, without)[:: 1 if number % 2 else -1]:
                before = each.cpu()
                assert await read(each.port, has_come) > sum(map(len, frames))
                used[each] = each.cpu() - before
            if number:  # the first round is a warm-up
                ratios.append(used[with_it] / used[without])
    server.close()
    return ratios


def main() -> None:
    """Measure, and print the figure."""
    parser = argparse.ArgumentParser(description="the cost of observing in a gateway")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--observed", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--unobserved", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.observed or options.unobserved:
        serve(route() if options.observed else unobserved(route()))
        return
    low, figure, high = quantiles(asyncio.run(measure(options.rounds)), n=4)
    met = "met" if figure <= LIMIT else "NOT MET"
    print(
        f"observed ÷ unobserved gateway, an event at a time: {figure:.2f} × ≤ {LIMIT:.2f} ×"
        f"  {met}  {low:.3g} to {high:.3g}"
    )


if __name__ == "__main__":
    main()
