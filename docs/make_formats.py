"""Generates the tables of formats.md: a sample of each format is read, as the command reads it.

`python docs/make_formats.py` writes the tables into the page. A test compares the two.
"""

from pathlib import Path
from typing import Final

import tables
from format_samples import MESSAGE, SAMPLES, Sample
from sansio_stream import Observer, Report, Verdict, message_from_dict
from sansio_stream_tools._reading import Reading
from sansio_stream_tools.sources import Source, sources_of
from sansio_stream_tools.sources._unreadable import KINDS
from tables import table

PAGE: Final = Path(__file__).with_name("formats.md")


def formats() -> str:
    """Return the table with a row for each sample."""
    head = ("format", "name", "`replay` shows", "`report` knows")
    return table(head, *(row(sample) for sample in SAMPLES.values()))


def row(sample: Sample) -> tuple[str, str, str, str]:
    """Return the row of a sample."""
    source, shown = replayed(sample)
    _, report = reported(sample)
    known = [report.verdict.name, *facts(source, report)]
    return sample.format, source.kind, shown, ", ".join(known)


def replayed(sample: Sample) -> tuple[Source, str]:
    """Return a sample that was read as `replay` reads it, and what it shows."""
    source = next(sources_of(sample.data, "sample"))
    reading = Reading(source.header)
    for chunk in source.chunks:
        list(reading.feed(chunk))
    list(reading.finish(source.end))
    message = reading.machine.snapshot
    if message is None:
        return source, "the error" if reading.machine.verdict is Verdict.ERRORED else "nothing"
    whole = message_from_dict(MESSAGE).to_dict() == message.to_dict()
    return source, "the message" if whole else "the message, with dots"


def reported(sample: Sample) -> tuple[Source, Report]:
    """Return a sample that was read as `report` reads it, and its report."""
    source = next(sources_of(sample.data, "sample"))
    header = source.header
    observer = Observer(header.status or 200, header.headers)
    for chunk in source.chunks:
        observer.chunk(chunk.data, chunk.at)
    observer.end(None, source.end.at if source.end else None)
    return source, observer.report


def facts(source: Source, report: Report) -> list[str]:
    """Return the names of the facts that a file has besides the stream."""
    found = {
        "status": source.header.status is not None,
        "request id": report.request_id is not None,
        "request": source.header.request is not None,
        "times": report.first_byte is not None,
        "time of the end": report.first_byte is None and report.end is not None,
    }
    return [name for name, is_known in found.items() if is_known]


def unreadable() -> str:
    """Return the table of files that are not read."""
    looks: dict[str, list[str]] = {}
    for _, looks_like, help in KINDS:
        looks.setdefault(help, []).append(looks_like)
    rows = (("; ".join(names), help) for help, names in looks.items())
    return table(("what a file looks like", "what helps"), *rows)


TABLES: Final = {"formats": formats, "unreadable": unreadable}


def made(page: str) -> str:
    """Return the page with its tables generated anew."""
    return tables.made(page, lambda name: TABLES[name]())


if __name__ == "__main__":
    PAGE.write_text(made(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
