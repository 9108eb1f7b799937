"""Events inside other JSON values: which event a value is, and to which stream it belongs."""

from __future__ import annotations

import binascii
from collections import deque
from collections.abc import Hashable, Iterable, Iterator
from typing import Final

import attrs

from sansio_stream.capture import CaptureEnd, CaptureHeader, Chunk

from ._json import encoded, first_document, frame_of, is_object, json_text, members
from ._plain import EVENT_TYPES
from ._source import Body, SourceError

__all__ = [
    "Cut",
    "Event",
    "bodies_of",
    "is_payload",
    "is_wrapped",
    "unwrapped",
    "whole_bodies_of",
]


@attrs.frozen
class Cut:
    """Stands after the last event of a file that ends within an event."""


@attrs.frozen
class Event:
    """An event that a JSON value stands for.

    Attributes:
        frame: the bytes of the frame.
        type: the type of the payload; "" if it has none.
        stream: distinguishes streams whose events are mixed in a file.
        ends_at_stop: whether a `message_stop` is always the last event of its stream.
        is_known: whether it has the payload of a known event.
    """

    frame: bytes
    type: str
    stream: Hashable = None
    ends_at_stop: bool = False
    is_known: bool = False


def is_payload(value: object) -> bool:
    """Whether a JSON value is the payload of a known event."""
    match value:
        case {"type": "error"}:
            return is_object(members(value).get("error"))
        case {"type": str(type)}:
            return type in EVENT_TYPES
        case _:
            return False


def is_wrapped(value: object) -> bool:
    """Whether a JSON value has the payload of a known event in it, and is not the payload itself.

    Texts and pings do not count: other programs have them, too.
    """
    if isinstance(value, str) or is_payload(value):
        return False
    try:
        event = unwrapped(value)
    except SourceError:
        return False
    return event is not None and event.is_known and event.type != "ping"


def unwrapped(value: object, *, may_be_unknown: bool = True) -> Event | None:
    """Return the event that a JSON value stands for, or None if it is none.

    It is one of these:

    * a payload: `{"type": "message_start", ...}`
    * a line of Claude Code: `{"type": "stream_event", "event": {...}, "session_id": ...}`
    * another object around a payload: `{"event": {...}, ...}`
    * the fields of an event: `{"event": "message_start", "data": "{...}"}`, or `Type` and `Data`,
      as Go writes them, then with base64. `data` may also be the payload itself.
    * a text: a part of the stream as it was on the wire

    Args:
        value: the value.
        may_be_unknown: whether an object with an unknown `type` and no event in it is the payload
            of an event. In files with wrapped events, it is something else.

    Raises:
        SourceError: if the value nests too deeply, or if its base64 is damaged.
    """
    parts = members(value)
    match value:
        case {"type": "stream_event", "event": dict()}:
            stream = (hashable(parts.get("session_id")), hashable(parts.get("parent_tool_use_id")))
            return attrs.evolve(of_payload(parts["event"]), stream=stream, ends_at_stop=True)
        case {"event": dict()}:
            return of_payload(parts["event"])
        case {"event": str(name)} if "data" in parts:
            return of_fields(name, parts["data"])
        case {"Type": str(name)} if "Data" in parts:
            return of_fields(name, parts["Data"])
        case {"data": str(data)} if "type" not in parts:
            return of_fields(None, data)
        case {"type": str()} if may_be_unknown or is_payload(value):
            return of_payload(parts)
        case str() if value:
            return Event(encoded(value), "message_start" if begins(value) else "")
        case _:
            return None


def begins(text: str) -> bool:
    """Whether a part of a stream begins with a `message_start`."""
    return text.lstrip().startswith(("event: message_start", "event:message_start"))


def hashable(value: object) -> Hashable:
    return value if isinstance(value, str | int | float | None) else None


def of_payload(payload: object, name: str | None = None) -> Event:
    """Return the event with this payload. Its name is the type of the payload by default."""
    type = members(payload).get("type")
    frame = frame_of(json_text(payload), type if name is None else name)
    return Event(frame, type if isinstance(type, str) else "", is_known=is_payload(payload))


def of_fields(name: str | None, data: object) -> Event | None:
    """Return the event with this name and data.

    Args:
        name: the name. An event that has no name on the wire is called "message". If the name is
            None, the type of the payload is used.
        data: the data: text, or the payload.
    """
    name = "" if name == "message" else name
    if is_object(data):
        return of_payload(data, name)
    if not isinstance(data, str):
        return None
    if name in EVENT_TYPES and data and not data.lstrip().startswith(("{", "[")):
        try:
            data = binascii.a2b_base64(data, strict_mode=True).decode()
        except ValueError as error:
            raise SourceError(
                f"the data of a {name} is neither JSON nor the base64 of JSON"
            ) from error
    payload, _ = first_document(data)
    type = members(payload).get("type")
    type = type if isinstance(type, str) else ""
    return Event(
        frame_of(data, type if name is None else name),
        type or name or "",
        is_known=is_payload(payload),
    )


# The events of several streams to their bodies.

MOST_WAITING_BYTES: Final = 2**26
"""The maximum number of bytes that are kept until the current stream has ended."""


class Stream:
    """One stream, while its events are read.

    Attributes:
        frames: the frames that were read, but not taken yet.
        has_message: whether its `message_start` has been read.
        has_ended: whether all its events have been read.
        is_cut: whether the file ends within the last event.
    """

    def __init__(self) -> None:
        self.frames: deque[bytes] = deque()
        self.has_message = False
        self.has_ended = False
        self.is_cut = False

    def add(self, event: Event) -> None:
        """Add an event that was read."""
        self.frames.append(event.frame)
        self.has_message = self.has_message or event.type == "message_start"

    def end(self, *, is_cut: bool = False) -> None:
        """Note that no more events follow."""
        self.has_ended = True
        self.is_cut = is_cut


class Streams:
    """Distributes events to their streams. A second `message_start` begins another stream.

    Args:
        events: the events of a file, and maybe `Cut`.
    """

    def __init__(self, events: Iterable[Event | Cut]) -> None:
        self._events = iter(events)
        self._open: dict[Hashable, Stream] = {}
        self._waiting: deque[Stream] = deque()
        self._waiting_bytes = 0

    def next(self) -> Stream | None:
        """Return the next stream, in the order of their first events; None after the last one."""
        while not self._waiting:
            if not self.read():
                return None
        return self._waiting.popleft()

    def read(self) -> bool:
        """Read one event. Return False if there are no more."""
        event = next(self._events, None)
        if not isinstance(event, Event):
            for unended in self._open.values():
                unended.end(is_cut=event is not None)
            self._open.clear()
            return False
        stream: Stream | None = self._open.get(event.stream)
        if stream is not None and stream.has_message and event.type == "message_start":
            stream.end()
            stream = None
        if stream is None:
            stream = Stream()
            self._open[event.stream] = stream
            self._waiting.append(stream)
        stream.add(event)
        self._waiting_bytes += len(event.frame)
        if self._waiting_bytes > MOST_WAITING_BYTES:
            raise SourceError(
                "the events of several streams are mixed, and more than"
                f" {MOST_WAITING_BYTES:,} bytes would wait for the end of the first one"
            )
        if event.ends_at_stop and event.type == "message_stop":
            stream.end()
            del self._open[event.stream]
        return True

    def take(self, stream: Stream) -> bytes | None:
        """Return the next frame of a stream, or None after the last one."""
        while not stream.frames:
            if stream.has_ended:
                return None
            self.read()
        frame = stream.frames.popleft()
        self._waiting_bytes -= len(frame)
        return frame


def bodies_of(events: Iterable[Event | Cut], hints: tuple[str, ...] = ()) -> Iterator[Body]:
    """Yield the streams that events belong to. Each event is a chunk.

    Args:
        events: the events of a file, and maybe `Cut`.
        hints: the hints of each body.
    """
    streams = Streams(events)
    while (stream := streams.next()) is not None:
        yield Body(CaptureHeader(), chunks_of(streams, stream), hints=hints)


def whole_bodies_of(events: Iterable[Event]) -> Iterator[Body]:
    """Yield the streams that events belong to, each with all its chunks."""
    for body in bodies_of(events):
        yield attrs.evolve(body, chunks=tuple(body.chunks))


def chunks_of(streams: Streams, stream: Stream) -> Iterator[Chunk | CaptureEnd]:
    while (frame := streams.take(stream)) is not None:
        yield Chunk(None, frame)
    if not stream.is_cut:
        yield CaptureEnd(None, None)
