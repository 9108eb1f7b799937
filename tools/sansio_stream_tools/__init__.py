"""The command `sansio-stream`: shows captured streams, records them, and serves them.

The library and its adapters never use a terminal; only this package does. The modules, in reading
order:

    _demo            the recording that `replay --demo` shows
    _text            makes text safe to print: no control characters, no lone surrogates
    _frame_bytes     keeps the bytes of the newest frame
    _reading         feeds a body to a machine and returns the result of each frame; can also wait
                     as long as the recorded times say
    _json            lays out a growing JSON text while it arrives
    _answer_view     the view of the answer while it grows
    _frame_text      the name and the text of one event, and the choice of frames to show
    _trace_view      the view with one line per frame, for debugging
    _summary         the table that summarises a stream
    _views           the views and the options that select one, the exit statuses, and messages on
                     stderr
    sources          reads recorded streams from files of many formats
    _options         the options that several subcommands share
    _progress        a progress bar on stderr
    _recording_file  new files that only their owner can read, and the file of a recording
    _row_lines       rows as lines of JSON or CSV
    _rows            the files that arguments mean, and a row with the report of each stream
    _counts          counts of names and percentiles, in bounded memory
    _overview        the overview of many rows
    _pool            applies a function to many items in several processes; masks signals
    _file_rows       makes the rows of many files, in several processes if that saves time
    table            reports of the bodies in an Arrow table (public)
    engines          reports of the bodies in a data set, by Ray or Dask (public)
    _table_work      the work of the other processes in a run over a table
    _batches         reads a table of bodies in batches
    _parts           the parts of a long run, and its result
    _table_run       reports all bodies in a table, in several processes
    _table_report    shows the progress and the result of a run over a table
    _showing         shows the streams of files in a view, as they arrive
    _replay          the subcommand `replay`: shows captured streams as they arrived
    _trace           the subcommand `trace`: shows a line for each frame
    _report          the subcommand `report`: says how streams ended and how fast they were
    _convert         the subcommand `convert`: writes the streams in files as captures
    _record_call     the call of `record`: its body, its client, the loops that read the answer
    _record          the subcommand `record`: sends a request, shows the answer and records it
    _recordings      recordings to serve: the models that they answer, and their answers
    _app             an ASGI application that answers with captures
    _uvicorn         the HTTP server that runs the application of `_app`
    _serve           the subcommand `serve`: answers requests with captured streams
    _main            the command with its subcommands
    __main__         runs the command with `python -m sansio_stream_tools`
"""

import sys
from typing import NoReturn

__all__ = ["main"]


def main() -> NoReturn:
    """Run the command with the arguments of the process. Exit with the status of the command."""
    try:
        from ._main import run  # noqa: PLC0415 - its dependencies may be missing

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
    except KeyboardInterrupt:  # while the modules are imported
        sys.exit(130)
    sys.exit(status)
