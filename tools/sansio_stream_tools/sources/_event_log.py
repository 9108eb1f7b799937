"""Logs with one JSON object on each line: Claude Code, claude-trace, and wrapped events."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import attrs

from sansio_stream.capture import CaptureEnd, Chunk

from ._answers import Answer, header_pairs, request_of, stream_in
from ._events import Cut, Event, bodies_of, is_wrapped, unwrapped
from ._json import (
    elapsed,
    encoded,
    first_document,
    is_object,
    json_text,
    members,
    parse_json,
    status_of,
)
from ._lines import lines_of
from ._source import Body, SourceError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["ClaudeCodeFormat", "ClaudeTraceFormat", "EventLogFormat"]


def values_of(pieces: Iterator[bytes], what: str) -> Iterator[Any]:
    """Yield the value of each line that is a JSON object.

    Lines that do not begin with `{` are left out, because programs print other things between the
    objects. If the last line is not complete JSON, its value is `Cut()`.

    Raises:
        SourceError: if another line begins with `{` and is not JSON.
    """
    lines = lines_of(pieces)
    for number, line in enumerate(lines, 1):
        if not line.lstrip().startswith(b"{"):
            continue
        try:
            value = parse_json(line, f"line {number:,} of {what}")
        except SourceError:
            if next(lines, None) is not None:
                raise
            value = Cut()
        yield value


def first_lines(head: bytes) -> Iterator[Any]:
    """Yield the value of each line that begins with `{`, or None if the line is not whole JSON."""
    for line in head.decode(errors="replace").split("\n"):
        if line.lstrip().startswith("{"):
            yield first_document(line)[0]


# Claude Code.

# A line that `claude --output-format stream-json` prints, or a line of the transcript that Claude
# Code keeps of each session. The types of both are listed.
CLAUDE_CODE_LINE: Final = re.compile(
    rb"^[ \t]*\{(?=[^\n]*\"(?:session_id|sessionId|leafUuid|parentUuid)\"\s*:)"
    rb"(?=[^\n]*\"type\"\s*:\s*\"(?:stream_event|system|assistant|user|result|summary|progress"
    rb"|file-history-snapshot|queue-operation)\")",
    re.MULTILINE,
)
OTHER_LINES_HINT: Final = (
    "the events of Claude Code's stream_event lines are shown; its other lines are left out"
)


@attrs.frozen
class ClaudeCodeFormat:
    """What Claude Code prints with `--output-format stream-json --include-partial-messages`.

    The events of the main conversation and of each subagent are separate streams.
    """

    kind: str = "Claude Code log"
    in_pieces: bool = True

    def matches(self, head: bytes) -> bool:
        """Whether a file that begins with these bytes has this format."""
        return CLAUDE_CODE_LINE.search(head) is not None

    def bodies(self, pieces: Iterator[bytes]) -> Iterator[Body]:
        """Yield the streams in a file."""
        types: set[object] = set()
        count = 0
        for body in bodies_of(stream_events(pieces, types), (OTHER_LINES_HINT,)):
            count += 1
            yield body
        if not count:
            raise SourceError(
                "the Claude Code log has no stream_event lines: run Claude Code with"
                " --output-format stream-json --verbose --include-partial-messages"
                if types
                else "the Claude Code log has no complete line"
            )


def stream_events(pieces: Iterator[bytes], types: set[object]) -> Iterator[Event | Cut]:
    """Yield the events, and add the types of all lines to `types`."""
    for value in values_of(pieces, "the Claude Code log"):
        if isinstance(value, Cut):
            yield value
            return
        type = members(value).get("type")
        types.add(type if isinstance(type, str) else None)
        if type == "stream_event" and (event := unwrapped(value)) is not None:
            yield event


# Wrapped events.


@attrs.frozen
class EventLogFormat:
    """One JSON object on each line, with an event in it. A stream begins with each message_start.

    Objects without an event are left out.
    """

    kind: str = "wrapped events"
    in_pieces: bool = True

    def matches(self, head: bytes) -> bool:
        """Whether a file that begins with these bytes has this format."""
        return any(is_wrapped(value) for value in first_lines(head))

    def bodies(self, pieces: Iterator[bytes]) -> Iterator[Body]:
        """Yield the streams in a file."""
        return bodies_of(wrapped_events(pieces))


def wrapped_events(pieces: Iterator[bytes]) -> Iterator[Event | Cut]:
    for value in values_of(pieces, "the file"):
        event = value if isinstance(value, Cut) else unwrapped(value, may_be_unknown=False)
        if event is not None:
            yield event


# claude-trace.

TRACE_LINE: Final = re.compile(
    rb"\s*\{\s*\"request\"\s*:\s*\{\s*\"timestamp\"\s*:\s*[\d.]+\s*,\s*\"method\"\s*:"
)


@attrs.frozen
class ClaudeTraceFormat:
    """A log of claude-trace: a request and its response on each line.

    Responses that are no streams, messages or errors of the API are left out.

    Its only exact times are those of the request and of the end of the body.
    """

    kind: str = "claude-trace log"
    in_pieces: bool = True

    def matches(self, head: bytes) -> bool:
        """Whether a file that begins with these bytes has this format."""
        return TRACE_LINE.match(head) is not None

    def bodies(self, pieces: Iterator[bytes]) -> Iterator[Body]:
        """Yield the streams in a file."""
        count = 0
        for pair in values_of(pieces, "the claude-trace log"):
            body = None if isinstance(pair, Cut) else trace_body(pair)
            if body is not None:
                count += 1
                yield body
        if not count:
            raise SourceError(
                "the claude-trace log has no event stream, message or error of the API"
            )


def trace_body(pair: object) -> Body | None:
    """Return the stream of a line, or None if it has none."""
    request = members(members(pair).get("request"))
    response = members(members(pair).get("response"))
    # The line is written as soon as the body has ended.
    end = elapsed(request.get("timestamp"), members(pair).get("logged_at"))
    raw, value = response.get("body_raw"), response.get("body")
    data = encoded(raw) if isinstance(raw, str) else b""
    if is_object(value):
        data = json_text(value).encode()
    chunks: Iterable[Chunk | CaptureEnd] = (
        *([Chunk(None, data)] if data else ()),
        CaptureEnd(end, None),
    )
    return stream_in(
        Answer(
            status=status_of(response.get("status_code")),
            headers=header_pairs(response.get("headers")),
            request=request_of(request.get("body")),
            chunks=chunks,
        )
    )
