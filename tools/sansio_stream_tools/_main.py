"""The command `sansio-stream`: its subcommands, and the exit statuses.

The exit status is 0 if the stream gave a usable message, 1 if it did not, 2 if a file or an option
cannot be used, and 130 after an interruption.
"""

from __future__ import annotations

import io
import os
import signal
import sys
from pathlib import Path

import click

from sansio_stream import __version__

from ._convert import convert
from ._record import record
from ._replay import replay
from ._report import report
from ._serve import serve
from ._text import unbroken
from ._trace import trace
from ._views import GOOD, INTERRUPTED, UNUSABLE, complain

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


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(
    __version__, "-V", "--version", prog_name="sansio-stream", message="%(prog)s %(version)s"
)
def command() -> None:
    """Show, record and serve streams of the Anthropic Messages API."""


for subcommand in (replay, trace, report, convert, record, serve):
    command.add_command(subcommand)
