"""The subcommand `replay`: shows captured streams as they arrived."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs
import click
from rich.rule import Rule
from rich.text import Text

from sansio_stream.capture import Capture, parse_capture
from sansio_stream_adapters._cut import recut, sizes_from

from ._options import read_cut, read_speed
from ._reading import Pace, Replay
from ._text import one_line
from ._views import (
    UNUSABLE,
    complain,
    console_of_stdout,
    judge,
    reason_of,
    view_of,
    view_options,
    wanted_view,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from sansio_stream.capture import Chunk

__all__ = ["replay"]


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


@click.command(epilog=EPILOG)
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
