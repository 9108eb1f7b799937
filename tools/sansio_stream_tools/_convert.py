"""The subcommand `convert`: writes the streams in files as captures."""

from __future__ import annotations

import contextlib
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from sansio_stream_adapters._recordings import new_file

from ._options import ReadLimits, limit_option
from ._progress import FilePosition, ProgressBar, can_show_progress, size_of
from ._recording_file import CaptureFile, PrivateFile
from ._showing import HintPrinter, UnreadableError, reads
from ._text import unbroken
from ._views import GOOD, INTERRUPTED, UNUSABLE, complain
from .sources import open_sources

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sansio_stream.capture import Chunk

    from .sources import Source

__all__ = ["convert"]

EPILOG: Final = """\
Each stream gets a new file, which only you can read. Its name has the time, a number, and the id of
the request or, if that is unknown, the name of the FILE. No existing file is changed. Headers and
parameters that may contain credentials are left out; the text of the answer is not changed.

A capture has a time for each chunk. If a FILE has none, all times are 0.

\b
Examples:
  sansio-stream convert session.har -o recordings
  sansio-stream convert *.yaml.gz -o recordings

\b
Exit status:
  0    every stream was written
  2    a file cannot be read or written, or the usage
       is wrong
  130  the command was interrupted
"""


@click.command(epilog=EPILOG)
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@click.option(
    "-o",
    "--output",
    "folder",
    type=click.Path(path_type=Path),
    required=True,
    metavar="DIR",
    help="The folder for the captures. It is created if it does not exist.",
)
@limit_option
@click.pass_context
def convert(
    ctx: click.Context, files: tuple[str, ...], *, folder: Path, limits: ReadLimits
) -> None:
    """Write the streams in files as captures.

    FILE is any file that `replay` reads, or - for standard input. A line is printed for each
    stream.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        complain(f"{folder}: {reason}")
        ctx.exit(UNUSABLE)
    converter = Converter(folder, limits)
    status = GOOD
    for name in files:
        try:
            status = max(status, converter.convert_file(name))
        except KeyboardInterrupt:
            complain("interrupted")
            status = INTERRUPTED
            break
    ctx.exit(status)


class Converter:
    """Writes streams to new captures in a folder."""

    def __init__(self, folder: Path, limits: ReadLimits) -> None:
        self._folder = folder
        self._limits = limits
        self._hints = HintPrinter()

    def convert_file(self, name: str) -> int:
        """Write each stream of a file, and return the exit status."""
        is_shown = can_show_progress(prints=True)
        count = 0
        position = FilePosition()
        with ProgressBar(is_shown=is_shown, total=size_of(name)) as bar:
            try:
                opened = open_sources(name, self._limits.source, on_piece=position.add)
                for source in reads(opened):
                    bar.name(source.name)
                    self._hints.show(source.name, source.hints)
                    count += 1
                    if not self._convert(source, bar.watch(reads(source.chunks), position)):
                        return UNUSABLE
                    self._hints.show(source.name, source.hints)
            except UnreadableError as error:
                complain(f"{name}: {error}")
                return UNUSABLE
        if not count:
            complain(f"{name}: the file contains no stream")
        return GOOD if count else UNUSABLE

    def _convert(self, source: Source, chunks: Iterator[Chunk]) -> bool:
        """Write one stream. Return whether the file could be written.

        Raises:
            UnreadableError: if the source cannot be read. What was read before is kept.
        """
        # No file is made for a stream that cannot be read at all.
        first = next(chunks, None)
        try:
            path = new_file(self._folder, id_of(source))
            file = PrivateFile(path, replace=True)
        except OSError as error:
            complain(f"{self._folder}: {error.strerror}")
            return False
        with file:
            capture = CaptureFile(file, source.header)
            # The line is printed even after an error, because the file exists.
            with contextlib.ExitStack() as stack:
                stack.callback(announce, source.name, path)
                if first is not None:
                    capture.chunk(first)
                for chunk in chunks:
                    capture.chunk(chunk)
                capture.end(source.end)
        if file.failure is not None:
            complain(f"{path}: the capture is incomplete: {file.failure.strerror}")
            return False
        if capture.has_untimed:
            self._hints.show(source.name, ["the file has no times, so all times are 0"])
        return True


def announce(name: str, path: Path) -> None:
    """Print which file a stream was written to."""
    click.echo(unbroken(f"{name} -> {shlex.quote(str(path))}"))


def id_of(source: Source) -> str:
    """Return the id of the request, or else the name of the file without its folder and endings.

    A number after `#` is kept.
    """
    request_id = source.header.headers.get("request-id")
    if request_id:
        return request_id
    name, hash_, number = source.name.rpartition("#")
    if not hash_:
        name, number = source.name, ""
    stem = Path(name).name.partition(".")[0]
    return f"{stem[:48]}-{number}" if number else stem
