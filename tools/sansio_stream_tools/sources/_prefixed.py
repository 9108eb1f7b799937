"""Event streams in logs: each line has text before its field, or is indented."""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING, Final

import attrs

from sansio_stream.capture import CaptureEnd, CaptureHeader, Chunk
from sansio_stream.errors import excerpt

from ._lines import LINE_END, lines_of
from ._source import Body

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["PREFIXED"]

# At most 200 characters before a field. They contain no quote and no brace, because these would
# begin a JSON text that contains the field. The value of `data` must be a JSON object or [DONE],
# and that of `event` a name, because other lines of a log may contain these words.
LINE: Final = re.compile(
    rb"(?P<prefix>[^\"'{}]{0,200}?)(?<![A-Za-z0-9_-])"
    rb"(?P<name>data|event): ?"
    rb"(?P<value>(?<=data: )\{.*|(?<=data:)\{.*|(?<=data: )\[DONE\]|(?<=event: )[a-z_]+(?=\s*$))",
    re.DOTALL,
)


@attrs.frozen
class PrefixedFormat:
    """An event stream in a log, or an indented one.

    Each `data` line becomes a frame, with the name in the `event` line before it. Other lines are
    ignored: a log may omit blank lines, and may contain lines about other things.
    """

    kind: str = "log"
    in_pieces: bool = True

    def matches(self, head: bytes) -> bool:
        """Whether a line has a `data` or `event` field after a prefix."""
        lines = (LINE.match(line) for line in LINE_END.split(head))
        return any(line is not None and line["prefix"] for line in lines)

    def bodies(self, pieces: Iterator[bytes]) -> Iterator[Body]:
        """Yield the one stream in the file."""
        fields = (field for line in lines_of(pieces) if (field := LINE.match(line)))
        early: list[re.Match[bytes]] = []
        for field in fields:
            early.append(field)
            if field["prefix"]:
                break
        prefix = early[-1]["prefix"] if early else b""
        chunks = frames_of(itertools.chain(early, fields))
        yield Body(CaptureHeader(), chunks, hints=(hint_about(prefix),))


def frames_of(fields: Iterator[re.Match[bytes]]) -> Iterator[Chunk | CaptureEnd]:
    """Yield the frame of each `data` line, and the end."""
    event = b""
    for field in fields:
        if field["name"] == b"event":
            event = b"event: %b\n" % field["value"]
        else:
            yield Chunk(None, b"%bdata: %b\n\n" % (event, field["value"]))
            event = b""
    yield CaptureEnd(None, None)


def hint_about(prefix: bytes) -> str:
    """Return the sentence that says what was removed from the lines."""
    if not prefix.strip():
        return "the lines are indented: the indentation was removed, and each data line is a frame"
    text = prefix.decode(errors="replace").strip()
    return (
        f"the lines begin with other text, such as {excerpt(text)!r}: it was removed, each data"
        " line is a frame, and lines without an event are ignored"
    )


PREFIXED: Final = PrefixedFormat()
