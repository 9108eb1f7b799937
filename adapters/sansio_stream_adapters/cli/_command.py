"""Options in, exit statuses out: which file is shown how, or served; `record` is a module beside.

0 is a message to rely on, 1 none, 2 a file or an option that cannot be used, 130 an interruption.
"""

from __future__ import annotations

import importlib.metadata
import io
import math
import os
import signal
import socket
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs
import click
from rich.rule import Rule
from rich.text import Text

from sansio_stream.capture import Capture, parse_capture

from ._cut import recut, sizes_from
from ._record import record
from ._replay import Pace, Replay
from ._serve import SERVED, App, Recording, is_loopback
from ._text import one_line, unbroken
from ._views import (
    GOOD,
    INTERRUPTED,
    UNUSABLE,
    complain,
    console_of_stdout,
    judge,
    reason_of,
    survive_broken_pipes,
    view_of,
    view_options,
    wanted_view,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from sansio_stream.capture import Chunk

__all__ = ["command", "run"]


def run() -> int:
    """Run the command with the arguments of the process, and return its exit status."""
    if hasattr(signal, "SIGPIPE"):
        # `| head` ends us as it ends other programs: at once, silently, by the signal. Commands
        # with sockets take it back, because these would end them as well.
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # closed by the shell: `>&-`
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal that is not in UTF-8 shows "?", which is better than nothing.
            stream.reconfigure(errors="replace")
    try:
        status = command.main(prog_name="sansio-stream", standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as error:
        vars(error)["message"] = unbroken(error.message)  # it quotes arguments, which may hold all
        error.show()
        return error.exit_code
    except click.Abort:
        return INTERRUPTED
    except OSError as error:
        # A full disk, or a pipe where there are no signals. What is still to be written cannot be.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        complain(f"the output cannot be written: {error.strerror}")
        return UNUSABLE
    return status if isinstance(status, int) else GOOD


# Options.


def read_speed(_: click.Context, __: click.Parameter, value: str | None) -> float | None:
    """Return how many times as fast as recorded; infinity for `max`."""
    if value is None:
        return None
    try:
        speed = math.inf if value == "max" else float(value)
    except ValueError:
        speed = math.nan
    if not speed > 0:
        raise click.BadParameter(f"{value!r} is neither 'max' nor a number above 0")
    return speed


def read_cut(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    """Return the value as it is, once it is known to mean something."""
    try:
        if value is not None:
            sizes_from(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
    return value


@attrs.frozen
class Options:
    """What the options ask for; see `sansio-stream replay --help`."""

    view: str
    verbose: bool
    speed: float | None
    cut: str | None
    strict: bool

    def chunks(self, capture: Capture) -> Iterator[Chunk]:
        """Return the body in the chunks to feed."""
        if self.cut is None:
            return iter(capture.chunks)
        return recut(capture.chunks, sizes_from(self.cut))

    def pace(self, name: str) -> Pace | None:
        """Return how to wait; recorded timing is for eyes, unless it is asked for."""
        speed = self.speed
        if speed is None:
            speed = 1.0 if self.view == "show" and is_terminal() else math.inf
        if math.isinf(speed):
            return None
        return Pace(speed, tell=lambda sentence: complain(f"{name}: {sentence}"))


def is_terminal() -> bool:
    """Whether somebody watches. Not what rich says, which FORCE_COLOR can change."""
    return sys.stdout.isatty()


def version() -> str:
    try:
        return importlib.metadata.version("sansio-stream")
    except importlib.metadata.PackageNotFoundError:
        return "of a source tree that is not installed"


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(
    version(), "-V", "--version", prog_name="sansio-stream", message="%(prog)s %(version)s"
)
def command() -> None:
    """Look at streams of the Anthropic Messages API, record them, and serve them."""


command.add_command(record)

EPILOG: Final = """\
\b
Examples:
  sansio-stream replay examples/text.capture.jsonl
  curl -N https://... | sansio-stream replay -
  sansio-stream replay --trace --cut bytes odd.sse | less
  sansio-stream replay --speed 4 -v slow.capture.jsonl
  sansio-stream replay --message a.sse | jq .usage
  sansio-stream replay --strict --message *.sse >/dev/null && echo all of them are fine

\b
Exit status:
  0    a message to rely on (if only message_stop was missing, a note says so)
  1    no such message: cut, broken, an error of the server; with --strict any violation
  2    a file that cannot be read, or wrong usage
  130  interrupted

Of several files the worst status counts.
"""


@command.command(epilog=EPILOG)
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@click.option(
    "--speed",
    callback=read_speed,
    metavar="N|max",
    help="Times as fast as recorded, but for pauses of more than a minute."
    " Default: 1 on a terminal, else max.",
)
@click.option(
    "--cut",
    callback=read_cut,
    metavar="SIZE|bytes|random:SEED",
    help="Cut the body into other chunks; the events must be the same.",
)
@click.option("--strict", is_flag=True, help="Make every violation fatal.")
@view_options
@click.pass_context
def replay(
    ctx: click.Context,
    files: tuple[str, ...],
    *,
    verbose: bool,
    speed: float | None,
    cut: str | None,
    strict: bool,
    events: bool,
    message: bool,
    trace: bool,
) -> None:
    """Show captured streams as they came.

    FILE is a capture (as `record_to=` writes it), the plain body of a response (as `curl -N`
    prints it), one JSON payload a line, or - for standard input. By default the answer is shown
    as it grows, and then a table sums it up.
    """
    view = wanted_view(events=events, message=message, trace=trace)
    options = Options(view, verbose, speed, cut, strict)
    console = console_of_stdout()
    statuses: list[int] = []
    for number, name in enumerate(files):
        if len(files) > 1 and options.view in {"show", "trace"}:
            if number:
                console.print()
            console.print(Rule(Text(one_line(name, max(console.width - 8, 8))), characters="═"))
        statuses.append(replay_file(name, options, console))
    ctx.exit(max(statuses))


SERVE_EPILOG: Final = """\
\b
Examples:
  sansio-stream serve examples/*.capture.jsonl
  sansio-stream serve --port 0 --speed max text.sse
  sansio-stream serve --fault ping-stall examples/text.capture.jsonl

The file that answers is the one whose name, up to the first dot, is the request's `model`; else one
that was recorded with this model; else each in turn. Requests must have `"stream": true`.
A request may ask for a fault of its own by the header `x-fault`.

\b
Faults of the connection:
{around}

\b
Faults of the bytes, which need a recording of a whole message:
{inside}
""".format(
    around="\n".join(
        f"  {name:18}{fault.description}"
        for name, fault in SERVED.items()
        if fault.changes == "connection"
    ),
    inside=textwrap.fill(
        ", ".join(name for name, fault in SERVED.items() if fault.changes == "bytes"),
        width=76,
        initial_indent="  ",
        subsequent_indent="  ",
        break_on_hyphens=False,
    ),
)


@command.command(epilog=SERVE_EPILOG)
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=Path)
@click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8080,
    show_default=True,
    help="Where to listen; 0 is any port that is free.",
)
@click.option(
    "--speed",
    callback=read_speed,
    default="1",
    show_default=True,
    metavar="N|max",
    help="Times as fast as recorded.",
)
@click.option(
    "--fault",
    type=click.Choice(list(SERVED)),
    metavar="NAME",
    help="What goes wrong with each answer; see below.",
)
def serve(files: tuple[Path, ...], *, host: str, port: int, speed: float, fault: str | None) -> int:
    """Answer POST /v1/messages with captured streams, at their own pace.

    For trying a client without a key. FILE is of any kind that `replay` reads.
    """
    survive_broken_pipes()
    from ._uvicorn import server_of  # noqa: PLC0415 - replaying does without it

    recordings: list[Recording] = []
    for path in files:
        try:
            recordings.append(Recording.read(path))
        except (OSError, ValueError) as error:
            complain(f"{path}: {reason_of(error)}")
            return UNUSABLE
    app = App(
        recordings,
        speed=speed,
        fault=fault,
        is_local=is_loopback(host),
        log=lambda line: click.echo(one_line(line, 500)),
    )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family)
    except OSError as error:
        complain(f"{host}, port {port}: {error.strerror}")
        return UNUSABLE
    with listening:
        shown = f"[{host}]" if ":" in host else host
        click.echo(f"Serving at http://{shown}:{listening.getsockname()[1]}; Ctrl-C ends it.")
        for recording in recordings:
            models = ", ".join([recording.stem, *sorted(recording.models)])
            click.echo(unbroken(f"  {recording.name}  for model {models}", 500))
        server_of(app).run(sockets=[listening])
    return GOOD


# One file.


def replay_file(name: str, options: Options, console: Console) -> int:
    """Show one file, say on stderr what a script should know, and return its status."""
    try:
        data = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
        capture = parse_capture(data)
    except (OSError, ValueError) as error:
        complain(f"{name}: {reason_of(error)}")
        return UNUSABLE
    replay = Replay(
        capture, options.chunks(capture), strict=options.strict, pace=options.pace(name)
    )
    view = view_of(options.view, replay, console, verbose=options.verbose)
    view.begin()
    for moment in replay.moments():
        view.see(moment)
    view.end()
    return judge(name, replay)
