"""The views: what came of each frame in, one of four ways to look at a stream out; then the status.

Knows no files and no network: whoever reads a stream shows each moment of it to a view.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click
from rich.console import Console
from rich.text import Text

from ._show import Show
from ._summary import Summary
from ._text import to_json, unbroken
from ._trace import Trace

if TYPE_CHECKING:
    from ._replay import Moment, Reading

__all__ = [
    "BAD",
    "GOOD",
    "INTERRUPTED",
    "UNUSABLE",
    "View",
    "complain",
    "console_of_stdout",
    "judge",
    "reason_of",
    "survive_broken_pipes",
    "view_of",
    "view_options",
    "wanted_view",
]

GOOD, BAD, UNUSABLE, INTERRUPTED = 0, 1, 2, 130

AnyFunction = TypeVar("AnyFunction", bound=Callable[..., Any])


class View:
    """One way to look at a stream. This one shows nothing: each other shows what it is about."""

    def __init__(self, reading: Reading, console: Console) -> None:
        self.reading = reading
        self._console = console

    def begin(self) -> None:
        """Show what is known before the first moment."""

    def see(self, moment: Moment) -> None:
        """Show a moment, the newest."""

    def end(self) -> None:
        """Show what there is to say behind the last one."""


class Live(View):
    """The answer as it grows, then a table that sums it up."""

    def __init__(self, reading: Reading, console: Console, *, verbose: bool = False) -> None:
        super().__init__(reading, console)
        self._show = Show(console, verbose=verbose)
        self._summary = Summary()

    def begin(self) -> None:
        """Print the status where it is no success."""
        status = self.reading.header.status
        if status is not None and not 200 <= status < 300:
            self._console.print(Text(f"  HTTP {status}", style="bold red"))

    def see(self, moment: Moment) -> None:
        """Show what came."""
        self._show.see(moment)
        self._summary.see(moment)

    def end(self) -> None:
        """Print the table."""
        self._show.end()
        self._console.print()
        self._console.print(self._summary.table(self.reading))


class Events(View):
    """The events, one JSON object a line."""

    def see(self, moment: Moment) -> None:
        """Print the event, if there is one."""
        if moment.event is not None:
            click.echo(to_json(moment.event.to_dict()))


class Result(View):
    """The final message as JSON, or what there is of it; null for none."""

    def end(self) -> None:
        """Print it."""
        snapshot = self.reading.machine.snapshot
        click.echo(to_json(None if snapshot is None else snapshot.to_dict(), indent=2))


class Traced(View):
    """One line per frame, and what was wrong with it."""

    def __init__(self, reading: Reading, console: Console) -> None:
        super().__init__(reading, console)
        self._trace = Trace(console, reading.body)

    def begin(self) -> None:
        """Print the headings."""
        self._trace.begin()

    def see(self, moment: Moment) -> None:
        """Print the line."""
        self._trace.see(moment)

    def end(self) -> None:
        """Print how it ended."""
        self._trace.end(self.reading.machine)


# Options.

VIEW_OPTIONS: Final = (
    click.option(
        "-v",
        "--verbose",
        is_flag=True,
        help="Show pings, signatures, unknown things and violations in line.",
    ),
    click.option("--events", is_flag=True, help="Print the events, one JSON object a line."),
    click.option(
        "--message", is_flag=True, help="Print the final message as JSON, or what there is of it."
    ),
    click.option(
        "--trace", is_flag=True, help="Print one line per frame, and what was wrong with it."
    ),
)


def view_options(function: AnyFunction) -> AnyFunction:
    """Give a command the options that choose a view."""
    for option in reversed(VIEW_OPTIONS):
        function = option(function)
    return function


def wanted_view(*, events: bool, message: bool, trace: bool) -> str:
    """Return the name of the view that was asked for; raises UsageError for two of them."""
    flags = {"events": events, "message": message, "trace": trace}
    match [name for name, is_set in flags.items() if is_set]:
        case []:
            return "show"
        case [name]:
            return name
        case _:
            raise click.UsageError("--events, --message and --trace exclude one another")


def view_of(name: str, reading: Reading, console: Console, *, verbose: bool) -> View:
    """Return a view by its name."""
    match name:
        case "events":
            return Events(reading, console)
        case "message":
            return Result(reading, console)
        case "trace":
            return Traced(reading, console)
        case _:
            return Live(reading, console, verbose=verbose)


def console_of_stdout() -> Console:
    """Return what is written to: nothing in a stream is taken for rich's own markup."""
    return Console(markup=False, emoji=False, highlight=False)


# What a script should know.


def judge(name: str, reading: Reading) -> int:
    """Say on stderr what is wrong with a stream, and return the status."""
    failure = reading.failure
    if failure is not None:
        status = reading.header.status
        http = "" if status is None or 200 <= status < 300 else f"HTTP {status}, "
        complain(f"{name}: {http}{reading.machine.verdict.name}: {failure}")
        return BAD
    for remark in reading.remarks:
        complain(f"{name}: {remark}")
    return GOOD


def reason_of(error: OSError | ValueError) -> object:
    """Return why a file cannot be used."""
    # ValueError: a CaptureError, or a name with a NUL in it.
    return error.strerror if isinstance(error, OSError) else error


def complain(sentence: str) -> None:
    """Say something on stderr, in one line."""
    click.echo(f"sansio-stream: {unbroken(sentence)}", err=True)


def survive_broken_pipes() -> None:
    """Have a write to a connection that is gone raise, instead of ending the process."""
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
