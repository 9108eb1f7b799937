"""Reports of many streams as rows: the names of files in, a row for each stream out."""

from __future__ import annotations

import os
from glob import has_magic
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs

from sansio_stream.observer import observe_end, observer_of
from sansio_stream.report import REPORT_COLUMNS, Report

from ._options import ReadLimits
from ._row_lines import csv_heading, csv_line, json_line
from ._views import reason_of
from .sources import open_sources

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from sansio_stream.observer import Observer

    from .sources import Source

__all__ = [
    "FORMATS",
    "ReportOptions",
    "ReportRow",
    "files_in",
    "read_row",
    "row_of",
    "rows_of_file",
    "source_observer",
]


@attrs.frozen(kw_only=True)
class ReportOptions:
    """How reports are made. The object can be pickled.

    Attributes:
        limits: the bounds on what is read.
        stall: a pause without content that is longer than this many seconds is a stall.
    """

    limits: ReadLimits
    stall: float


@attrs.frozen(kw_only=True)
class ReportRow:
    """The report of one stream, or the reason why a file could not be read.

    Attributes:
        name: the name of the file, with `#` and a number if the file contains several streams.
        kind: the name of the format, or None if the file could not be read.
        unreadable: the reason why the file could not be read to its end, or None.
        report: the report, or None if nothing could be read.
        hints: sentences about the format that help its user.
    """

    name: str
    kind: str | None = None
    unreadable: str | None = None
    report: Report | None = None
    hints: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the row as a dict of JSON values: the columns of this class and of the report.

        The columns of the report are None if there is no report.
        """
        report = dict.fromkeys(column.name for column in REPORT_COLUMNS)
        return {
            "name": self.name,
            "kind": self.kind,
            "unreadable": self.unreadable,
            **(report if self.report is None else self.report.to_dict()),
        }


COLUMNS: Final = tuple(ReportRow(name="").to_dict())


# From a file to its rows.


def source_observer(source: Source, options: ReportOptions) -> Observer:
    """Return the observer of a stream."""
    return observer_of(source.header, limits=options.limits.machine, stall=options.stall)


def row_of(source: Source, observer: Observer, unreadable: str | None = None) -> ReportRow:
    """Return the row of a stream that was read. `unreadable` says why its end was not read."""
    report = observer.report
    return ReportRow(
        name=source.name,
        kind=source.kind,
        unreadable=unreadable,
        report=report if unreadable is None or report.chunks else None,
        hints=tuple(source.hints),
    )


def read_row(source: Source, options: ReportOptions) -> ReportRow:
    """Read a stream to its end, and return its row."""
    observer = source_observer(source, options)
    try:
        for chunk in source.chunks:
            observer.chunk(chunk.data, chunk.at)
    except (OSError, ValueError) as error:
        return row_of(source, observer, str(reason_of(error)))
    observe_end(observer, source.end)
    return row_of(source, observer)


def rows_of_file(name: str, options: ReportOptions) -> Iterator[ReportRow]:
    """Yield a row for each stream in a file. If the file cannot be read, a row has the reason."""
    try:
        for source in open_sources(name, options.limits.source):
            yield read_row(source, options)
    except (OSError, ValueError) as error:
        yield ReportRow(name=name, unreadable=str(reason_of(error)))


# From arguments to files.


def files_in(paths: Iterable[str]) -> Iterator[str]:
    """Yield the files that arguments mean, in order.

    A folder means the regular files in it and in its folders, sorted by name. Names that begin with
    a dot are left out, and links to folders are not followed. A pattern that the shell has not
    replaced, such as `logs/**/*.sse`, means the files that match it. Anything else is yielded
    unchanged, so that opening it gives the reason why it cannot be read.
    """
    for path in paths:
        if path != "-" and os.path.isdir(path):  # noqa: PTH112 - a name may be any text
            yield from files_below(path)
        elif path != "-" and has_magic(path) and not os.path.lexists(path):
            yield from files_matching(path) or (path,)
        else:
            yield path


def files_matching(pattern: str) -> list[str]:
    """Return the files that match a pattern, each once, and those in matching folders."""
    path = Path(pattern)
    try:
        # In `Path.glob`, `**` does not follow links to folders. Such a link may lead in a circle.
        matches = sorted(Path(path.anchor).glob(str(path.relative_to(path.anchor))))
    except (OSError, ValueError, NotImplementedError):
        return []
    files: dict[str, None] = {}
    for match in matches:
        if match.is_dir():
            files.update(dict.fromkeys(files_below(str(match))))
        else:
            files[str(match)] = None
    return list(files)


def files_below(folder: str) -> Iterator[str]:
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = os.path.join(parent, name)  # noqa: PTH118 - `Path` would change "./a"
            if not name.startswith(".") and Path(path).is_file():
                yield path


# From rows to lines of a file.

FORMATS: Final[dict[str, tuple[str, Callable[[dict[str, Any]], str]]]] = {
    ".jsonl": ("", json_line),
    ".csv": (csv_heading(COLUMNS), csv_line),
}
"""For each ending of a file name: the line before all rows, and the function that writes a row."""
