"""The command `sansio-stream`: shows captured streams, records them, and serves them.

No other part of the project uses a terminal. The modules of this package, in reading order:

    _text            makes text safe to print: no control characters, no lone surrogates
    _replay          feeds a body to a machine and returns the result of each frame
    _json            lays out a growing JSON text while it arrives
    _show            the live view
    _trace           the view with one line per frame, for debugging
    _summary         the table at the end of the live view
    _views           selects a view, and computes the exit status
    _recording_file  the file that a recording is written to
    _record          sends a request, shows the answer and records it
    _serve           an ASGI application that answers with captures
    _uvicorn         the HTTP server that runs this application
    _command         options and exit statuses
"""

import sys
from typing import NoReturn

__all__ = ["main"]


def main() -> NoReturn:
    """Run the command with the arguments of the process. Exit with the status of the command."""
    try:
        from ._command import run  # noqa: PLC0415 - its dependencies may be missing

        status = run()
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in {"click", "rich", "uvicorn"}:
            raise
        print(
            f"sansio-stream: {missing} is not installed: pip install 'sansio-stream[cli]'",
            file=sys.stderr,
        )
        sys.exit(2)
    sys.exit(status)
