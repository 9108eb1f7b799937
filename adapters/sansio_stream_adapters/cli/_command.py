"""The commands `replay` and `serve` with their options, and the exit statuses.

`_record` defines the command `record`. The exit status is 0 if the stream gave a usable message,
1 if it did not, 2 if a file or an option cannot be used, and 130 after an interruption.
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

from .._cut import recut, sizes_from
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
    """Run the command with the arguments of the process. Return its exit status."""
    if hasattr(signal, "SIGPIPE"):
        # `| head` ends other programs at once and silently, by SIGPIPE. This command does the same.
        # `record` and `serve` ignore the signal again, because a closed socket also causes it.
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # closed by the shell: `>&-`
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal that does not use UTF-8 shows "?". The default is a UnicodeEncodeError.
            stream.reconfigure(errors="replace")
    try:
        status = command.main(prog_name="sansio-stream", standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as error:
        # The message quotes arguments, and these may contain control characters.
        vars(error)["message"] = unbroken(error.message)
        error.show()
        return error.exit_code
    except click.Abort:
        return INTERRUPTED
    except OSError as error:
        # The disk is full, or a pipe is closed on a system without SIGPIPE. Python flushes stdout
        # again when it exits. That must not fail a second time, so stdout becomes /dev/null.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        complain(f"the output cannot be written: {error.strerror}")
        return UNUSABLE
    return status if isinstance(status, int) else GOOD


# Options.


def read_speed(_: click.Context, __: click.Parameter, value: str | None) -> float | None:
    """Return the value of `--speed` as a factor of the recorded speed. `max` is infinity.

    Raises BadParameter if the value is neither a number above 0 nor `max`.
    """
    if value is None:
        return None
    try:
        speed = math.inf if value == "max" else float(value)
    except ValueError:
        speed = math.nan
    if not speed > 0:
        raise click.BadParameter(f"{value!r} is neither a number above 0 nor 'max'")
    return speed


def read_cut(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    """Return the value of `--cut` unchanged. Raises BadParameter if it is not valid."""
    try:
        if value is not None:
            sizes_from(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
    return value


@attrs.frozen
class Options:
    """The options of `replay`; see `sansio-stream replay --help`.

    Attributes:
        view: the name of a view, as `wanted_view` returns it.
        verbose: whether the live view also shows pings, signatures, unknown data and violations.
        speed: the value of `--speed` as a factor of the recorded speed, or None for the default.
        cut: the value of `--cut`, or None for the recorded chunks.
        strict: whether nearly every violation is fatal.
    """

    view: str
    verbose: bool
    speed: float | None
    cut: str | None
    strict: bool

    def chunks(self, capture: Capture) -> Iterator[Chunk]:
        """Return the chunks to feed: those of the capture, or others if `--cut` is given."""
        if self.cut is None:
            return iter(capture.chunks)
        return recut(capture.chunks, sizes_from(self.cut))

    def pace(self, name: str) -> Pace | None:
        """Return the pace of a replay, or None if it never waits.

        The default is the recorded speed only if a person watches the live view on a terminal.
        """
        speed = self.speed
        if speed is None:
            speed = 1.0 if self.view == "show" and is_terminal() else math.inf
        if math.isinf(speed):
            return None
        return Pace(speed, notify=lambda sentence: complain(f"{name}: {sentence}"))


def is_terminal() -> bool:
    """Whether stdout is a terminal. FORCE_COLOR changes rich's answer, so rich is not asked."""
    return sys.stdout.isatty()


def version() -> str:
    """Return the installed version for `--version`, or a note that none is installed."""
    try:
        return importlib.metadata.version("sansio-stream")
    except importlib.metadata.PackageNotFoundError:
        return "(not installed, run from a source tree)"


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(
    version(), "-V", "--version", prog_name="sansio-stream", message="%(prog)s %(version)s"
)
def command() -> None:
    """Show, record and serve streams of the Anthropic Messages API."""


command.add_command(record)

EPILOG: Final = """\
\b
Examples:
  sansio-stream replay examples/text.capture.jsonl
  curl -N https://... | sansio-stream replay -
  sansio-stream replay --trace --cut bytes odd.sse | less
  sansio-stream replay --speed 4 -v slow.capture.jsonl
  sansio-stream replay --message a.sse | jq .usage
  sansio-stream replay --strict --message *.sse >/dev/null && echo all files are fine

\b
Exit status:
  0    the stream gave a usable message (a note is printed if only message_stop was missing)
  1    it gave none: it was cut or broken, or contained an error (with --strict: any violation)
  2    a file cannot be read, or the usage is wrong
  130  the command was interrupted

If several files are given, the status is the highest one.
"""


@command.command(epilog=EPILOG)
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@click.option(
    "--speed",
    callback=read_speed,
    metavar="N|max",
    help="Replay N times as fast as recorded. A pause of more than a minute is cut to a minute."
    " Default: 1 on a terminal, otherwise max.",
)
@click.option(
    "--cut",
    callback=read_cut,
    metavar="SIZE|bytes|random:SEED",
    help="Cut the body into other chunks. This must not change the events.",
)
@click.option("--strict", is_flag=True, help="Make nearly every violation fatal.")
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
    """Show captured streams as they arrived.

    FILE is a capture (as `record_to=` writes it), the plain body of a response (as `curl -N`
    prints it), a file with one JSON payload per line, or - for standard input. By default, the
    command shows the answer while it grows, and then prints a table that summarises it.
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

A request is answered with the file whose name, up to the first dot, equals the request's `model`.
If there is none, it is answered with a file that was recorded with this model.
If there is none either, all files take turns.
The body of a request must contain `"stream": true`.
The header `x-fault` of a request replaces the value of --fault for this request.

\b
Faults of the connection:
{around}

\b
Faults of the bytes. They need a recording of a complete message:
{inside}
""".format(
    around="\n".join(
        f"  {name:18}{fault.description}"
        for name, fault in SERVED.items()
        if fault.kind == "connection"
    ),
    inside=textwrap.fill(
        ", ".join(name for name, fault in SERVED.items() if fault.kind == "bytes"),
        width=76,
        initial_indent="  ",
        subsequent_indent="  ",
        break_on_hyphens=False,
    ),
)


@command.command(epilog=SERVE_EPILOG)
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=Path)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8080,
    show_default=True,
    help="The port to listen on. 0 selects any free port.",
)
@click.option(
    "--speed",
    callback=read_speed,
    default="1",
    show_default=True,
    metavar="N|max",
    help="Send N times as fast as recorded.",
)
@click.option(
    "--fault",
    type=click.Choice(list(SERVED)),
    metavar="NAME",
    help="The fault to apply to each answer. The names are listed below.",
)
def serve(files: tuple[Path, ...], *, host: str, port: int, speed: float, fault: str | None) -> int:
    """Answer POST /v1/messages with captured streams, at their recorded speed.

    Use it to try a client without an API key. FILE may have any format that `replay` reads.
    """
    survive_broken_pipes()
    from ._uvicorn import server_of  # noqa: PLC0415 - `replay` must work without uvicorn

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
        port = listening.getsockname()[1]
        click.echo(f"Serving at http://{shown}:{port} (press Ctrl-C to stop)")
        for recording in recordings:
            models = ", ".join([recording.stem, *sorted(recording.models)])
            click.echo(unbroken(f"  {recording.name}  for model {models}", 500))
        server_of(app).run(sockets=[listening])
    return GOOD


# One file.


def replay_file(name: str, options: Options, console: Console) -> int:
    """Show one file, print its errors and notes on stderr, and return its exit status."""
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
    for result in replay.results():
        view.add(result)
    view.end()
    return judge(name, replay)
