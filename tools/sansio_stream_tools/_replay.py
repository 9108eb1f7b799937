"""The subcommand `replay`: shows captured streams as they arrived."""

from __future__ import annotations

import math
import sys
from functools import partial
from typing import TYPE_CHECKING, Final

import click

from ._demo import DEMO
from ._options import (
    EXIT_STATUS,
    ReadLimits,
    arrival_option,
    limit_option,
    read_speed,
    reading_options,
    save_options,
)
from ._showing import Showing, ShowOptions
from ._views import console_of_stdout, view_of, view_options, wanted_view
from .sources import Source, SourceLimits, sources_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["replay"]

EPILOG: Final = """\
\b
Examples:
  sansio-stream replay --demo
  sansio-stream replay examples/text.capture.jsonl
  curl -N https://... | sansio-stream replay -
  curl -N https://... |
    sansio-stream replay --save a.capture.jsonl -
  sansio-stream replay --speed 4 -v slow.capture.jsonl
  sansio-stream replay --message a.sse | jq .usage
  sansio-stream replay --strict --message *.sse \\
    >/dev/null && echo all files are fine
"""


@click.command(epilog=EPILOG + EXIT_STATUS)
@click.argument("files", metavar="FILE...", nargs=-1)
@click.option("--demo", is_flag=True, help="Show a recording that comes with the command.")
@click.option(
    "--speed",
    callback=read_speed,
    metavar="N|max",
    help="Replay N times as fast as recorded. A pause of more than a minute is cut to a minute."
    " Default: 1 on a terminal, otherwise max.",
)
@reading_options
@view_options
@arrival_option
@save_options
@limit_option
@click.pass_context
def replay(
    ctx: click.Context,
    files: tuple[str, ...],
    *,
    demo: bool,
    verbose: bool,
    speed: float | None,
    cut: str | None,
    strict: bool,
    events: bool,
    message: bool,
    arrival_times: bool,
    save: Path | None,
    force: bool,
    limits: ReadLimits,
) -> None:
    """Show captured streams as they arrived.

    FILE is a capture (as `record_to=` writes it), the body of a response (as `curl -N` prints it),
    a file in another format that contains streams, or - for standard input. By default, the command
    shows the answer while it grows, and then prints a table that summarises it. What comes through
    a pipe is shown as it arrives.
    """
    if bool(files) is demo:
        raise click.UsageError("give at least one FILE, or --demo and no FILE")
    view = wanted_view(events=events, message=message)
    options = ShowOptions(
        limits=limits,
        strict=strict,
        speed=factor_of(speed, view),
        cut=cut,
        arrival_times=arrival_times or save is not None,
        save=save,
        force=force,
    )
    console = console_of_stdout()
    showing = Showing(
        options,
        console,
        partial(view_of, view, console=console, verbose=verbose),
        sources_in=demo_sources if demo else None,
    )
    ctx.exit(showing.run(("demo",) if demo else files))


def demo_sources(name: str, limits: SourceLimits, **_: object) -> Iterator[Source]:
    """Return the recording that comes with the command."""
    return sources_of(DEMO, name, limits)


def factor_of(speed: float | None, view: str) -> float | None:
    """Return the speed as a factor of the recorded speed, or None to never wait.

    The default is the recorded speed only if a person watches the live view on a terminal.
    """
    if speed is None:
        return 1.0 if view == "show" and is_terminal() else None
    return None if math.isinf(speed) else speed


def is_terminal() -> bool:
    """Whether stdout is a terminal. rich would also say so if FORCE_COLOR is set."""
    return sys.stdout.isatty()
