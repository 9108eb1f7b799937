"""The command `sansio-stream`: captured streams in, something to watch or a server of them out.

The only place of the project that reads files, clocks and terminals. Its modules, in reading order:

    _text     what may be shown: no control characters, no lone surrogates
    _cut      the body cut in other places
    _replay   a body fed to a machine, a capture at its own pace; what came of each frame
    _json     a growing JSON text laid out while it comes
    _show     the live view
    _trace    one line per frame, for the person who asks why
    _summary  the table at the end
    _views    these and plainer ones, one of which is chosen; the exit status
    _record   a request sent, its answer shown and kept
    _serve    an ASGI application that answers with captures
    _uvicorn  the server that runs it
    _command  options and exit statuses
"""

import sys
from typing import NoReturn

__all__ = ["main"]


def main() -> NoReturn:
    """Run the command with the arguments of the process, and exit with its status."""
    try:
        from ._command import run  # noqa: PLC0415 - what it needs may be missing

        status = run()
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in {"click", "rich", "uvicorn"}:
            raise
        print(
            f"sansio-stream: {missing} is missing: pip install 'sansio-stream[cli]'",
            file=sys.stderr,
        )
        sys.exit(2)
    sys.exit(status)
