"""The subcommand `trace`: shows a line for each frame of a stream, for debugging."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import click

from ._frame_text import FrameFilter, Position
from ._options import (
    EXIT_STATUS,
    ReadLimits,
    arrival_option,
    limit_option,
    reading_options,
    save_options,
    stall_option,
)
from ._showing import Showing, ShowOptions
from ._trace_view import TraceOptions
from ._views import console_of_stdout, trace_view

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["trace"]


def read_pattern(
    _: click.Context, __: click.Parameter, value: str | None
) -> re.Pattern[str] | None:
    """Return the value of `--grep` as a pattern. Raises BadParameter if it is not one."""
    try:
        return None if value is None else re.compile(value)
    except (re.error, RecursionError, OverflowError) as error:
        raise click.BadParameter(f"{value!r} is not a regular expression: {error}") from error


def read_position(_: click.Context, __: click.Parameter, value: str | None) -> Position | None:
    """Return the value of `--from` or `--to`. Raises BadParameter if it is not a position."""
    try:
        return None if value is None else Position.parse(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


EPILOG: Final = """\
The columns are the offset of the frame in the body, the time of the chunk that completed it, the
gap (the time since the previous content), the name of the event or delta, the index of its block,
and its text. A name in parentheses is that of a frame that gave no event. An arrow shows that the
state of the stream changed. Violations follow their frame, with a caret under the place. If the
file has no times, the columns time and gap are left out.

\b
A position (--from, --to) is one of:
  12     the number of an event, counted from 1
  b1200  an offset in the body, in bytes
  1.5s   a time in seconds

\b
Examples:
  sansio-stream trace odd.sse
  curl -N https://... | sansio-stream trace -
  sansio-stream trace --only text_delta a.capture.jsonl
  sansio-stream trace --only 2 --wide a.sse | less -S
  sansio-stream trace --from 9s --to 12.5s a.capture.jsonl
  sansio-stream trace --json a.sse | jq 'select(.gap > 2)'
"""


@click.command(epilog=EPILOG + EXIT_STATUS)
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@click.option("-w", "--wide", is_flag=True, help="Show all columns, and cut no text.")
@click.option(
    "--only",
    multiple=True,
    metavar="TYPE|BLOCK",
    help="Show only frames of this event (message_delta), delta (text_delta), type of block"
    " (tool_use) or index of a block (2). May be repeated.",
)
@click.option(
    "--grep",
    callback=read_pattern,
    metavar="RE",
    help="Show only frames whose text contains a match of this regular expression.",
)
@click.option(
    "--from",
    "first",
    callback=read_position,
    metavar="POSITION",
    help="Show no frame before this position.",
)
@click.option(
    "--to",
    "last",
    callback=read_position,
    metavar="POSITION",
    help="Show no frame after this position.",
)
@click.option("--no-ping", is_flag=True, help="Do not show pings.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per frame.")
@stall_option
@reading_options
@arrival_option
@save_options
@limit_option
@click.pass_context
def trace(
    ctx: click.Context,
    files: tuple[str, ...],
    *,
    wide: bool,
    only: tuple[str, ...],
    grep: re.Pattern[str] | None,
    first: Position | None,
    last: Position | None,
    no_ping: bool,
    as_json: bool,
    stall: float,
    cut: str | None,
    strict: bool,
    arrival_times: bool,
    save: Path | None,
    force: bool,
    limits: ReadLimits,
) -> None:
    """Show a line for each frame of a stream, and its violations.

    FILE is any file that `replay` reads, or - for standard input. The verdict at the end is about
    the whole stream, whichever frames are shown.
    """
    shown = TraceOptions(
        filter=FrameFilter(frozenset(only), grep, first, last, pings=not no_ping),
        stall=stall,
        is_wide=wide,
        as_json=as_json,
    )
    options = ShowOptions(
        limits=limits,
        strict=strict,
        cut=cut,
        arrival_times=arrival_times or save is not None,
        save=save,
        force=force,
    )
    console = console_of_stdout()
    showing = Showing(options, console, lambda reading: trace_view(reading, console, shown))
    ctx.exit(showing.run(files))
