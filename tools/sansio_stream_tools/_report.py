"""The subcommand `report`: says how streams ended, how fast they were and what was wrong."""

from __future__ import annotations

import itertools
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final

import click
from rich.text import Text

from sansio_stream.errors import Verdict
from sansio_stream.observer import observe_end

from ._file_rows import rows_of_files
from ._options import ReadLimits, arrival_option, limit_option, stall_option
from ._overview import USABLE, Overview, line_of_row, row_heading, status_of
from ._pool import sigint_blocked
from ._progress import FilePosition, ProgressBar, can_show_progress, size_of
from ._reading import CUT_OFF, failure_of
from ._recording_file import PrivateFile
from ._row_lines import json_line
from ._rows import (
    FORMATS,
    ReportOptions,
    ReportRow,
    files_in,
    read_row,
    row_of,
    source_observer,
)
from ._showing import ArrivalClock, HintPrinter, UnreadableError, cannot_save, reads
from ._summary import Outcome, summary_table
from ._table_report import report_rows_of_table
from ._text import to_json
from ._views import BAD, GOOD, INTERRUPTED, UNUSABLE, complain, console_of_stdout
from .sources import open_sources

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import Console

    from sansio_stream.capture import Chunk
    from sansio_stream.machine import StreamMachine
    from sansio_stream.observer import Observer
    from sansio_stream.report import Report

    from .sources import Source

__all__ = ["report"]


PARQUET: Final = ".parquet"


def read_out(_: click.Context, __: click.Parameter, value: Path | None) -> Path | None:
    """Return the value of `--out`. Raises BadParameter if its ending is not that of a format."""
    if value is not None and value.suffix.lower() not in {*FORMATS, PARQUET}:
        raise click.BadParameter(f"the name must end in {', '.join(FORMATS)} or {PARQUET}: {value}")
    return value


EPILOG: Final = """\
If the only PATH is a file with one stream, the report is a table, or with --json the object that
`Report.to_dict()` returns. Otherwise there is a row for each stream, and an overview at the end;
with --json, each row is an object on one line, and there is no overview.

With --body, the only PATH is a table: a file or a URL that ends in .parquet, .jsonl or .csv. There
is a row for each body in it. If the command is interrupted, --resume continues where it stopped.

\b
Examples:
  sansio-stream report slow.capture.jsonl
  curl -N https://... |
    sansio-stream report --arrival-times -
  sansio-stream report --json a.sse | jq .usage
  sansio-stream report recordings/
  sansio-stream report 'logs/**/*.har' --out rows.csv
  sansio-stream report bodies.parquet --body body
    --id id --out rows.parquet

\b
Exit status:
  0    each stream gave a usable message
  1    one gave no usable message: it was cut or broken,
       or contained an error; or a body of a table cannot
       be read
  2    a file cannot be read or written, or the usage
       is wrong
  130  the command was interrupted; the rows that were
       done are kept
"""


@click.command(epilog=EPILOG)
@click.argument("paths", metavar="PATH...", nargs=-1, required=True)
@stall_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    callback=read_out,
    metavar="FILE",
    help="Write the rows to this file, as .jsonl or .csv, and print only the overview. The rows of"
    " a table can also be written as .parquet.",
)
@click.option("--force", is_flag=True, help="Replace the file of --out if it exists.")
@click.option("--body", metavar="COLUMN", help="PATH is a table, and this is its column of bodies.")
@click.option("--id", metavar="COLUMN", help="Copy this column of the table to the rows.")
@click.option(
    "--resume", is_flag=True, help="Continue after the rows of a table that are already done."
)
@click.option(
    "-j",
    "--jobs",
    "--workers",
    "jobs",
    type=click.IntRange(min=1, max=256),
    metavar="N",
    help="The number of processes that read files. Default: one for each core, or a single one"
    " for small files.",
)
@arrival_option
@limit_option
@click.pass_context
def report(
    ctx: click.Context,
    paths: tuple[str, ...],
    *,
    stall: float,
    as_json: bool,
    out: Path | None,
    force: bool,
    body: str | None,
    id: str | None,
    resume: bool,
    jobs: int | None,
    arrival_times: bool,
    limits: ReadLimits,
) -> None:
    """Say how streams ended, how fast they were, and what was wrong.

    PATH is a file that `replay` reads, - for standard input, a folder (with all folders in it), or
    a pattern such as 'logs/**/*.sse'.
    """
    options = ReportOptions(limits=limits, stall=stall)
    if body is not None:
        if len(paths) != 1 or out is None or as_json or arrival_times:
            raise click.UsageError(
                "--body needs one table and --out, and neither --json nor --arrival-times"
            )
        ctx.exit(
            report_rows_of_table(
                paths[0], out, options, body=body, id=id, resume=resume, force=force, jobs=jobs
            )
        )
    if id is not None or resume or (out is not None and out.suffix.lower() == PARQUET):
        raise click.UsageError(f"--id, --resume and {PARQUET} are for a table; it needs --body")
    files = list(files_in(paths))
    # A single file is read in this process, because its message is shown, too.
    if paths == tuple(files) and len(files) == 1 and out is None:
        clock = ArrivalClock() if arrival_times else None
        ctx.exit(report_file(files[0], options, as_json=as_json, clock=clock))
    if arrival_times:
        raise click.UsageError("--arrival-times needs a single PATH that is a file")
    if out is not None and as_json:
        raise click.UsageError("use only one of --json and --out")
    if out is None:
        printer = JsonPrinter() if as_json else TextPrinter(console_of_stdout(), stall)
        ctx.exit(report_files(files, options, printer, jobs))
    try:
        file = PrivateFile(out, replace=force)
    except OSError as error:
        complain(cannot_save(out, error))
        ctx.exit(UNUSABLE)
    with file:
        writer = FileWriter(file, console_of_stdout(), stall)
        status = report_files(files, options, writer, jobs)
        if file.failure is not None:
            complain(f"{out}: the rows are incomplete: {file.failure.strerror}")
            status = UNUSABLE
    ctx.exit(status)


# One file.


def report_file(
    name: str, options: ReportOptions, *, as_json: bool, clock: ArrivalClock | None
) -> int:
    """Print the report of the stream in a file, or a row for each if there are several.

    Returns the exit status.
    """
    hints = HintPrinter()
    position = FilePosition()
    bar = ProgressBar(is_shown=can_show_progress(prints=False), total=size_of(name))
    try:
        sources = reads(open_sources(name, options.limits.source, on_piece=position.add))
        first = next(sources, None)
        if first is None:
            complain(f"{name}: the file contains no stream")
            return UNUSABLE
        hints.show(first.name, first.hints)
        observer = source_observer(first, options)
        with bar:
            bar.name(first.name)
            failure = observe(first, observer, partial(bar.watch, position=position), clock)
        second = None if failure is not None else next(sources, None)
    except UnreadableError as error:
        complain(f"{name}: {error}")
        return UNUSABLE
    except KeyboardInterrupt:
        complain("interrupted")
        return INTERRUPTED
    if second is not None:
        row = row_of(first, observer)
        others = (read_row(source, options) for source in itertools.chain([second], sources))
        rows = itertools.chain([row], guarded(others, name))
        printer = JsonPrinter() if as_json else TextPrinter(console_of_stdout(), options.stall)
        return report_rows(((row,) for row in rows), printer, hints=hints)
    hints.show(first.name, first.hints)
    report = observer.report
    if isinstance(failure, UnreadableError) and not report.chunks:
        complain(f"{first.name}: {failure}")
        return UNUSABLE
    if as_json:
        click.echo(to_json(report.to_dict()))
    else:
        machine = observer.machine
        outcome = outcome_of(report, machine)
        console_of_stdout().print(
            summary_table(report, machine.snapshot, outcome, stall=options.stall)
        )
    if isinstance(failure, KeyboardInterrupt):
        complain("interrupted")
        return INTERRUPTED
    if failure is not None:
        complain(f"{first.name}: {failure}")
        return UNUSABLE
    return status_of(row_of(first, observer))


def observe(
    source: Source,
    observer: Observer,
    watch: Callable[[Iterator[Chunk]], Iterator[Chunk]],
    clock: ArrivalClock | None,
) -> UnreadableError | KeyboardInterrupt | None:
    """Pass a stream to an observer. Return the exception that ended the reading early, or None."""
    chunks = reads(source.chunks)
    try:
        for chunk in watch(chunks if clock is None else clock.chunks(chunks)):
            observer.chunk(chunk.data, chunk.at)
    except (UnreadableError, KeyboardInterrupt) as error:
        observer.closed()
        return error
    observe_end(observer, source.end if clock is None else clock.end(source.end))
    return None


def guarded(rows: Iterator[ReportRow], name: str) -> Iterator[ReportRow]:
    """Yield the same rows. If the file cannot be read further, yield a row with the reason."""
    try:
        yield from rows
    except UnreadableError as error:
        yield ReportRow(name=name, unreadable=str(error))


def outcome_of(report: Report, machine: StreamMachine) -> Outcome:
    """Return how a stream ended, in words."""
    if report.ended == "pending":
        return Outcome(remarks=(CUT_OFF,))
    if report.verdict is Verdict.PENDING:
        return Outcome()
    if report.verdict in USABLE:
        parts = [report.error_type, report.error_message]
        lost = ": ".join(part for part in parts if part)
        return Outcome(remarks=(f"after the message: {lost}",) if lost else ())
    if report.ended == "error" and report.verdict in {Verdict.TRUNCATED, Verdict.EMPTY}:
        return Outcome(report.error_message)
    if machine.verdict is report.verdict:
        return Outcome(failure_of(machine))
    # The response was not a stream, so the machine got nothing.
    return Outcome(f"{report.error_type}: {report.error_message}")


# Rows.


class RowPrinter:
    """The base class of the classes that print or write rows.

    Attributes:
        is_shown: whether rows are printed to stdout, where a person may see them.
    """

    is_shown: ClassVar[bool] = True

    def begin(self) -> None:
        """Print what precedes the rows."""

    def add(self, row: ReportRow) -> None:
        """Print a row."""

    def end(self) -> None:
        """Print what follows the rows."""


class JsonPrinter(RowPrinter):
    """Prints each row as one line of JSON."""

    def add(self, row: ReportRow) -> None:
        """Print a row."""
        click.echo(json_line(row.to_dict()), nl=False)


class TextPrinter(RowPrinter):
    """Prints each row as one line of text, and then the overview."""

    def __init__(self, console: Console, stall: float) -> None:
        self._console = console
        self._overview = Overview(stall=stall)
        self._width = max(console.width, 40)

    def begin(self) -> None:
        """Print the heading."""
        self._console.print(Text(row_heading(self._width), style="bold"), soft_wrap=True)

    def add(self, row: ReportRow) -> None:
        """Print a row."""
        self._overview.add(row)
        style = STYLES[status_of(row)]
        self._console.print(Text(line_of_row(row, self._width), style=style), soft_wrap=True)

    def end(self) -> None:
        """Print the overview."""
        self._console.print()
        self._overview.print(self._console)


STYLES: Final = {GOOD: "", BAD: "red", UNUSABLE: "bold red"}


class FileWriter(RowPrinter):
    """Writes each row to a file, and then prints the overview."""

    is_shown = False

    def __init__(self, file: PrivateFile, console: Console, stall: float) -> None:
        self._file = file
        self._console = console
        self._overview = Overview(stall=stall)
        self._heading, self._line_of = FORMATS[file.path.suffix.lower()]

    def begin(self) -> None:
        """Write the line before the rows."""
        self._file.write(self._heading.encode())

    def add(self, row: ReportRow) -> None:
        """Write a row. It is not buffered, so it is kept if the command is interrupted."""
        self._overview.add(row)
        self._file.write(self._line_of(row.to_dict()).encode())

    def end(self) -> None:
        """Print the overview."""
        self._overview.print(self._console)


def report_files(
    files: list[str], options: ReportOptions, printer: RowPrinter, jobs: int | None
) -> int:
    """Print or write the rows of files. Return the exit status."""
    if not files:
        complain("there is no file in these folders")
        return UNUSABLE
    rows_by_file = rows_of_files(files, options, jobs=jobs)
    return report_rows(rows_by_file, printer, hints=HintPrinter(), total=len(files))


def report_rows(
    rows_by_file: Iterator[tuple[ReportRow, ...]],
    printer: RowPrinter,
    *,
    hints: HintPrinter,
    total: int | None = None,
) -> int:
    """Print or write the rows of files. Return the exit status.

    Args:
        rows_by_file: the rows of each file.
        printer: prints or writes the rows.
        hints: prints the hints of the rows.
        total: the number of files, if it is known.
    """
    status, done = GOOD, 0
    is_shown = can_show_progress(prints=printer.is_shown)
    printer.begin()
    try:
        with (
            sigint_blocked(),
            ProgressBar(is_shown=is_shown, total=total, counts_items=True) as bar,
        ):
            for rows in rows_by_file:
                for row in rows:
                    bar.name(row.name)
                    printer.add(row)
                    hints.show(row.name, row.hints)
                    status = max(status, status_of(row))
                done += 1
                bar.advance_to(done)
    except KeyboardInterrupt:
        complain("interrupted; the rows that were done are kept")
        status = INTERRUPTED
    printer.end()
    return status
