"""The four views of a stream: the result of each frame in, text out. Also the exit status.

This module reads no files and no network. The code that reads a stream passes the result of each
frame, a `FrameResult`, to a view.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click
from rich.console import Console
from rich.text import Text

from ._answer_view import Show
from ._summary import Summary
from ._text import to_json, unbroken
from ._trace_view import Trace

if TYPE_CHECKING:
    from ._reading import FrameResult, Reading

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
    """The base class of the views. Its methods print nothing; each view overrides some of them."""

    def __init__(self, reading: Reading, console: Console) -> None:
        self.reading = reading
        self._console = console

    def begin(self) -> None:
        """Print the part that precedes the first result."""

    def add(self, result: FrameResult) -> None:
        """Print the newest result."""

    def end(self) -> None:
        """Print the part that follows the last result."""


class Live(View):
    """Prints the answer while it grows, and then a table that summarises it."""

    def __init__(self, reading: Reading, console: Console, *, verbose: bool = False) -> None:
        super().__init__(reading, console)
        self._show = Show(console, verbose=verbose)
        self._summary = Summary(reading)

    def begin(self) -> None:
        """Print the HTTP status if it is not 2xx."""
        status = self.reading.header.status
        if status is not None and not 200 <= status < 300:
            self._console.print(Text(f"  HTTP {status}", style="bold red"))

    def add(self, result: FrameResult) -> None:
        """Print the new part of the answer."""
        self._show.add(result)

    def end(self) -> None:
        """Print the table."""
        self._show.end()
        self._console.print()
        self._console.print(self._summary.table())


class Events(View):
    """Prints the events, one JSON object per line."""

    def add(self, result: FrameResult) -> None:
        """Print the event if the result has one."""
        if result.event is not None:
            click.echo(to_json(result.event.to_dict()))


class Result(View):
    """Prints the final message as JSON, or its received part, or null if there is none."""

    def end(self) -> None:
        """Print the message."""
        snapshot = self.reading.machine.snapshot
        click.echo(to_json(None if snapshot is None else snapshot.to_dict(), indent=2))


class Traced(View):
    """Prints one line per frame, and its violations."""

    def __init__(self, reading: Reading, console: Console) -> None:
        super().__init__(reading, console)
        self._trace = Trace(console, reading.body)

    def begin(self) -> None:
        """Print the column headings."""
        self._trace.begin()

    def add(self, result: FrameResult) -> None:
        """Print the line of the frame."""
        self._trace.add(result)

    def end(self) -> None:
        """Print the verdict."""
        self._trace.end(self.reading.machine)


# Options.

VIEW_OPTIONS: Final = (
    click.option(
        "-v",
        "--verbose",
        is_flag=True,
        help="Also show pings, signatures, unknown data and violations.",
    ),
    click.option("--events", is_flag=True, help="Print the events, one JSON object per line."),
    click.option(
        "--message", is_flag=True, help="Print the final message as JSON, or its received part."
    ),
    click.option("--trace", is_flag=True, help="Print one line per frame, and its violations."),
)


def view_options(function: AnyFunction) -> AnyFunction:
    """Add the options that select a view to a command."""
    for option in reversed(VIEW_OPTIONS):
        function = option(function)
    return function


def wanted_view(*, events: bool, message: bool, trace: bool) -> str:
    """Return the name of the selected view. Raises UsageError if several are selected."""
    flags = {"events": events, "message": message, "trace": trace}
    match [name for name, is_set in flags.items() if is_set]:
        case []:
            return "show"
        case [name]:
            return name
        case _:
            raise click.UsageError("use only one of --events, --message and --trace")


def view_of(name: str, reading: Reading, console: Console, *, verbose: bool) -> View:
    """Return a new view of a reading, by the name of the view."""
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
    """Return a console for stdout. It prints text literally, even if it looks like rich markup."""
    return Console(markup=False, emoji=False, highlight=False)


# The exit status, and messages on stderr.


def judge(name: str, reading: Reading) -> int:
    """Print the failure or the remarks of a stream on stderr. Return the exit status."""
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
    """Return the reason why a file cannot be used, without the name of the file."""
    # A ValueError is a CaptureError, or the error about a file name that contains NUL.
    return error.strerror if isinstance(error, OSError) else error


def complain(sentence: str) -> None:
    """Print a sentence on stderr, as one line."""
    click.echo(f"sansio-stream: {unbroken(sentence)}", err=True)


def survive_broken_pipes() -> None:
    """Ignore SIGPIPE: a write to a closed connection must raise, not end the process."""
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
