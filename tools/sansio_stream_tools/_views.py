"""The views of a stream: the result of each frame in, text out. Also the exit statuses.

This module reads no files and no network. The code that reads a stream passes the result of each
frame, a `FrameResult`, to a view.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeVar

import attrs
import click
from rich.console import Console
from rich.text import Text

from ._answer_view import Show
from ._summary import Outcome, summary_table
from ._text import to_json, unbroken
from ._trace_view import Trace, TraceOptions

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
    "trace_view",
    "view_of",
    "view_options",
    "wanted_view",
]

# The exit statuses: a usable message; no usable message; a file or an argument that cannot be used;
# an interruption by Ctrl-C.
GOOD, BAD, UNUSABLE, INTERRUPTED = 0, 1, 2, 130

AnyFunction = TypeVar("AnyFunction", bound=Callable[..., Any])


class View:
    """The base class of the views. Its methods print nothing; each view overrides some of them.

    Attributes:
        reading: the reading whose results are shown.
        is_for_people: whether the view is text for people. Such a view also shows the verdict, and
            it gets a heading if there are several streams. Any other view prints only JSON.
        is_live: whether the view prints something for each frame, not only at the end.
    """

    is_for_people: ClassVar[bool] = False
    is_live: ClassVar[bool] = True

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

    is_for_people = True

    def __init__(self, reading: Reading, console: Console, *, verbose: bool = False) -> None:
        super().__init__(reading, console)
        self._show = Show(console, verbose=verbose)
        self._observer = reading.observe()

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
        reading = self.reading
        # For a success, `observe` gave the observer neither the recorded status nor the headers.
        status, request_id = reading.header.status, reading.header.headers.get("request-id")
        failure = reading.failure
        self._console.print()
        self._console.print(
            summary_table(
                attrs.evolve(self._observer.report, http_status=status, request_id=request_id),
                reading.machine.snapshot,
                Outcome(failure, () if failure else reading.remarks),
            )
        )


class Events(View):
    """Prints the events, one JSON object per line."""

    def add(self, result: FrameResult) -> None:
        """Print the event if the result has one."""
        if result.event is not None:
            click.echo(to_json(result.event.to_dict()))


class Result(View):
    """Prints the final message as JSON, or its received part, or null if there is none."""

    is_live = False

    def end(self) -> None:
        """Print the message."""
        snapshot = self.reading.machine.snapshot
        click.echo(to_json(None if snapshot is None else snapshot.to_dict(), indent=2))


class Traced(View):
    """Prints one line per frame, and its violations."""

    is_for_people = True

    def __init__(self, reading: Reading, console: Console, options: TraceOptions) -> None:
        super().__init__(reading, console)
        self._trace = Trace(console, reading, options)

    def add(self, result: FrameResult) -> None:
        """Print the line of the frame."""
        self._trace.add(result)

    def end(self) -> None:
        """Print the verdict."""
        self._trace.end()


class TracedAsJson(Traced):
    """Prints one JSON object per frame."""

    is_for_people = False


def trace_view(reading: Reading, console: Console, options: TraceOptions) -> View:
    """Return the view that traces a reading."""
    return (TracedAsJson if options.as_json else Traced)(reading, console, options)


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
)


def view_options(function: AnyFunction) -> AnyFunction:
    """Add the options that select a view to a command."""
    for option in reversed(VIEW_OPTIONS):
        function = option(function)
    return function


def wanted_view(*, events: bool, message: bool) -> str:
    """Return the name of the selected view. Raises UsageError if several are selected."""
    if events and message:
        raise click.UsageError("use only one of --events and --message")
    return "events" if events else "message" if message else "show"


def view_of(name: str, reading: Reading, console: Console, *, verbose: bool) -> View:
    """Return a new view of a reading, by the name of the view."""
    match name:
        case "events":
            return Events(reading, console)
        case "message":
            return Result(reading, console)
        case _:
            return Live(reading, console, verbose=verbose)


def console_of_stdout() -> Console:
    """Return a console for stdout. It prints text literally, even if it looks like rich markup."""
    return Console(markup=False, emoji=False, highlight=False)


# The exit status, and messages on stderr.


def judge(name: str, view: View) -> int:
    """Return the exit status of a finished stream.

    A view for people has already shown the verdict and the remarks. For any other view, this
    function prints on stderr why the stream gave no usable message, or the remarks if it gave one.
    """
    reading = view.reading
    failure = reading.failure
    if not view.is_for_people:
        for sentence in reading.remarks if failure is None else (reading.outcome,):
            complain(f"{name}: {sentence}")
    return GOOD if failure is None else BAD


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
