"""What `curl -i`, `curl -v` and `curl --raw` print, and what `nc` writes: a response as text."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import attrs

from sansio_stream.capture import CaptureEnd

from ._heads import HeadParser, Part, bodies_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ._source import Body

__all__ = ["ChunkedFormat", "Clock", "IncludeFormat", "VerboseFormat"]

STATUS_LINE: Final = re.compile(rb"\s*HTTP/\d(?:\.\d)? \d{3}[ \r\n]")
CHUNK_START: Final = re.compile(rb"[0-9A-Fa-f]{1,12}[ \t]*\r?\n(?:(?:event|data|id|retry)?:|\{\")")


@attrs.frozen
class IncludeFormat:
    """What `curl -i` prints, or a dump of a socket: the heads of responses, and their bodies."""

    kind: str = "curl -i"
    in_pieces: bool = True

    def matches(self, head: bytes) -> bool:
        """Whether a file that begins with these bytes has this format."""
        return STATUS_LINE.match(head) is not None

    def bodies(self, pieces: Iterator[bytes]) -> Iterator[Body]:
        """Yield the body of each response."""
        return bodies_of(parts_of(pieces, HeadParser()))


@attrs.frozen
class ChunkedFormat:
    """What `curl --raw` prints: a body with its chunked coding, and no head."""

    kind: str = "curl --raw"
    in_pieces: bool = True

    def matches(self, head: bytes) -> bool:
        """Whether a file that begins with these bytes has this format."""
        return CHUNK_START.match(head) is not None

    def bodies(self, pieces: Iterator[bytes]) -> Iterator[Body]:
        """Yield the body."""
        return bodies_of(parts_of(pieces, HeadParser(in_head=False)))


def parts_of(pieces: Iterator[bytes], parser: HeadParser) -> Iterator[Part]:
    """Yield the parts of a dump."""
    for piece in pieces:
        yield from parser.feed(piece)
    yield from parser.end()


# What curl -v prints. Its notes and the body are mixed, because both go to the terminal.

# `--trace-time` and `--trace-ids` write this before each note.
PREFIX: Final = rb"(?:(?P<time>\d\d:\d\d:\d\d\.\d{6}) )?(?:\[[\w-]+\] )?"
REQUEST_OR_RESPONSE: Final = re.compile(
    rb"^" + PREFIX + rb"(?:> [A-Z]+ \S+ HTTP/\d|< HTTP/\d)", re.MULTILINE
)
STREAM_OR_JSON: Final = re.compile(rb"\s*(?:(?:event|data|id|retry):|:|[\[{]\s*[\"{])")

# A space follows the mark. At the end of a line, an editor may have removed the space.
NOTE: Final = re.compile(
    PREFIX + rb"(?P<mark>[*<>](?= |\r?\n?\Z)|[{}](?= \[\d+ bytes data\])) ?(?P<text>.*)",
    re.DOTALL,
)
# Notes that curl writes after a body or between two of its chunks, even within a line.
NOTE_IN_LINE: Final = re.compile(
    PREFIX
    + rb"(?:(?P<data>\{ \[\d+ bytes data\])|\* Connection #\d+ to host [^\n]* left intact"
    + rb"|\* [Cc]losing connection[^\n]*|curl: \(\d+\) (?P<error>[^\n]*?))\r?\n?\Z"
)
# The progress meter begins with a carriage return and has a fixed width.
METER: Final = re.compile(
    rb"\r[ \d]{3} .{5}  [ \d]{3} .{5}  [ \d]{3} .{5}  .{5}  .{5}(?: [-:dhms\d ]{8}){3} .{5}"
)
METER_HEAD: Final = re.compile(
    rb"  % Total    % Received % Xferd  Average Speed   Time    Time     Time  Current\r?\n"
    rb"|                                 Dload  Upload   Total   Spent    Left  Speed\r?\n"
)


@attrs.frozen
class VerboseFormat:
    """What `curl -v` prints on a terminal or with `2>&1`: the heads as notes, and the body.

    With `--trace-time` the chunks have times.
    """

    kind: str = "curl -v"
    in_pieces: bool = True

    def matches(self, head: bytes) -> bool:
        """Whether a file that begins with these bytes has this format."""
        return STREAM_OR_JSON.match(head) is None and REQUEST_OR_RESPONSE.search(head) is not None

    def bodies(self, pieces: Iterator[bytes]) -> Iterator[Body]:
        """Yield the body of each response."""
        return bodies_of(verbose_parts(pieces))


MOST_HELD_BYTES: Final = 2**16
"""The most bytes of a line that are held back to see whether the line is a note."""


def held_lines(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Yield lines as soon as they are complete, and very long lines in pieces."""
    held = b""
    for piece in pieces:
        *lines, held = (held + piece).split(b"\n")
        yield from (line + b"\n" for line in lines)
        if len(held) > MOST_HELD_BYTES:
            yield held
            held = b""
    if held:
        yield held


def verbose_parts(pieces: Iterator[bytes]) -> Iterator[Part]:
    """Yield the heads and the chunks, without the notes."""
    parser = HeadParser(in_head=False)
    clock = Clock()
    sent_at: float | None = None
    at: float | None = None
    has_head = is_in_head = False
    for line in held_lines(pieces):
        if METER_HEAD.fullmatch(line):
            continue
        line = METER.sub(b"", line)  # noqa: PLW2901 - the rest of the line
        note = NOTE.fullmatch(line)
        if note is None:
            ending = NOTE_IN_LINE.search(line)
            if has_head:
                body = line if ending is None else line[: ending.start()]
                yield from parser.feed(body, at)
            if ending is not None:
                time = clock.seconds(ending["time"])
                at = round(time - sent_at, 6) if time is not None and sent_at is not None else at
                if ending["error"] is not None:
                    yield from parser.end()
                    yield CaptureEnd(at, ending["error"].decode(errors="replace"))
                    has_head = False
            continue
        time = clock.seconds(note["time"])
        match note["mark"], note["text"]:
            case b"<", text:
                if text.startswith(b"HTTP/"):
                    yield from parser.begin_head()
                    has_head = is_in_head = True
                if is_in_head:  # otherwise it is a trailer
                    yield from parser.feed(text)
                is_in_head = is_in_head and bool(text.strip())
            case b">", text if re.match(rb"[A-Z]+ \S+ HTTP/", text):
                sent_at = time
                at = None
            case b"{", _ if time is not None and sent_at is not None:
                at = round(time - sent_at, 6)
            case _:
                pass
    yield from parser.end()


class Clock:
    """Turns times of day into seconds that never decrease, also after midnight."""

    def __init__(self) -> None:
        self._last = 0.0
        self._days = 0

    def seconds(self, text: bytes | None) -> float | None:
        """Return a time `HH:MM:SS.ffffff` as seconds since the midnight before the first time."""
        if text is None:
            return None
        time = time_of_day(text) + self._days * 86_400
        if time < self._last - 43_200:
            self._days += 1
            time += 86_400
        self._last = max(self._last, round(time, 6))
        return self._last


def time_of_day(text: bytes) -> float:
    """Return the seconds since midnight of a time `HH:MM:SS.ffffff`."""
    hours, minutes, seconds = text.split(b":")
    return int(hours) * 3_600 + int(minutes) * 60 + float(seconds)
