"""Whole files of JSON: arrays of events, indented events one after another, messages and errors."""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING, Any, Final

import attrs

from sansio_stream.capture import CaptureEnd, CaptureHeader
from sansio_stream.partial_json import PartialJSON

from ._answers import (
    ERROR_HINT,
    MESSAGE_HINT,
    error_chunk,
    is_error,
    is_message,
    message_chunks,
)
from ._events import Event, is_payload, is_wrapped, unwrapped, whole_bodies_of
from ._json import decoded, documents, first_document, is_list, members
from ._source import Body, SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["EventArrayFormat", "IndentedEventsFormat", "MessageFormat"]


def first_value(head: bytes) -> Any:
    """Return the first JSON value of a head. Of a value that is cut off, return what is there."""
    text = head.decode(errors="ignore")
    value, is_complete = first_document(text)
    if is_complete:
        return value
    partial = PartialJSON(partial_strings=False)
    partial.push(text)
    return partial.value


# Arrays.

ARRAY_START: Final = re.compile(rb"\s*\[\s*[\{\[\"]")


@attrs.frozen
class EventArrayFormat:
    """A JSON array of events. A stream begins with each message_start.

    `unwrapped` says what an item may be. In an array of arrays, each inner array
    has its own streams.
    """

    kind: str = "JSON array of events"
    in_pieces: bool = False

    def matches(self, head: bytes) -> bool:
        """Whether a file that begins with these bytes has this format."""
        if ARRAY_START.match(head) is None:
            return False
        value = first_value(head)
        items: list[Any] = value if is_list(value) else []
        if items and is_list(items[0]):
            items = items[0]
        return any(is_payload(each) or is_wrapped(each) or is_stream_text(each) for each in items)

    def bodies(self, pieces: Iterator[bytes]) -> Iterator[Body]:
        """Yield the streams in a file."""
        what = "the JSON array"
        for value in documents(decoded(b"".join(pieces), what), what):
            items: list[Any] = value if is_list(value) else [value]
            arrays = [each for each in items if is_list(each)]
            for array in arrays if len(arrays) == len(items) else [items]:
                yield from whole_bodies_of(events_in(array))


STREAM_TEXT: Final = re.compile(r"\s*(?:event|data|id|retry): ?")


def is_stream_text(value: object) -> bool:
    """Whether a JSON value is a text that begins like a stream."""
    return isinstance(value, str) and STREAM_TEXT.match(value) is not None


def events_in(values: list[Any]) -> Iterator[Event]:
    """Yield the events of values. A value that is no event is left out."""
    are_wrapped = any(map(is_wrapped, values))
    for value in values:
        event = unwrapped(value, may_be_unknown=not are_wrapped)
        if event is not None:
            yield event


# Objects on several lines.


@attrs.frozen
class IndentedEventsFormat:
    """The payloads of events, or wrapped events, one after another, each on several lines.

    `jq` writes such files.
    """

    kind: str = "indented JSON events"
    in_pieces: bool = False

    def matches(self, head: bytes) -> bool:
        """Whether a file that begins with these bytes has this format."""
        if not is_indented(head):
            return False
        values: list[Any] = [first_value(head)]
        with contextlib.suppress(SourceError):  # the end of the head may cut a value
            values.extend(documents(head.decode(errors="ignore"), "the head"))
        return any(is_payload(value) or is_wrapped(value) for value in values)

    def bodies(self, pieces: Iterator[bytes]) -> Iterator[Body]:
        """Yield the streams in a file."""
        what = "the file"
        return whole_bodies_of(events_in([*documents(decoded(b"".join(pieces), what), what)]))


def is_indented(head: bytes) -> bool:
    """Whether a text begins with an object that does not end on its first line."""
    first, line_end, _ = head.lstrip().partition(b"\n")
    is_object = bool(line_end) and first.startswith(b"{")
    return is_object and not first_document(first.decode(errors="replace"))[1]


# Messages and errors.


@attrs.frozen
class MessageFormat:
    """Whole messages, or the error that the API answers a request with, as JSON.

    A message becomes a stream whose events build up the message.
    """

    kind: str = "message"
    in_pieces: bool = False

    def matches(self, head: bytes) -> bool:
        """Whether a file that begins with these bytes has this format."""
        if not head.lstrip().startswith(b"{"):
            return False
        value = members(first_value(head))
        return value.get("type") == "message" or is_error(value)

    def bodies(self, pieces: Iterator[bytes]) -> Iterator[Body]:
        """Yield a stream for each message or error."""
        what = "the file"
        values = [*documents(decoded(b"".join(pieces), what), what)]
        if any(is_payload(value) and not is_error(value) for value in values):
            # The file has the events of a stream, and the first event is an error.
            yield from whole_bodies_of(events_in(values))
            return
        for value in values:
            end = CaptureEnd(None, None)
            if is_message(value):
                yield Body(CaptureHeader(), message_chunks(value), end, (MESSAGE_HINT,))
            elif is_error(value):
                yield Body(CaptureHeader(), (error_chunk(value),), end, (ERROR_HINT,))
            else:
                raise SourceError(
                    "the file has a JSON value that is neither a message nor an error of the API"
                )
