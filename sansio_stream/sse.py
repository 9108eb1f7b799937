"""Server-sent events: a decoder and an encoder for any event stream, with any data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs

from .errors import (
    ErrorLatch,
    LimitError,
    Limits,
    Violation,
    ViolationLog,
    check_type,
    copy_for_raise,
)
from .framer import Framer
from .frozen import WeaklyReferable, make

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .errors import LocatedFlaw

__all__ = ["SSEDecoder", "ServerSentEvent", "encode_sse", "is_event_stream"]


@attrs.frozen(eq=False, repr=False)
class ServerSentEvent(WeaklyReferable):
    """One event of an event stream.

    Attributes:
        event: its type; "message" if it has no `event` field.
        data: the values of its `data` lines, joined by LF.
        id: the last event id as of this event. An event without an `id` field has the one before.
        retry: the last valid `retry` of this event, in milliseconds, or None.
        is_named: whether the event has a non-empty `event` field. `event: message` and no `event`
            field mean the same event by the standard, so comparisons ignore this attribute.
    """

    event: str = "message"
    data: str = ""
    id: str = ""
    retry: int | None = None
    is_named: bool = attrs.field(
        default=attrs.Factory(lambda self: self.event != "message", takes_self=True),
        kw_only=True,
        eq=False,
        repr=False,
    )

    @property
    def name(self) -> str | None:
        """The value of the `event` field on the wire; None if there is none, or an empty one."""
        return self.event if self.is_named else None


EVENT_MEMBERS: Final = ("event", "data", "id", "retry", "is_named")


class SSEDecoder:
    """A decoder for any event stream, which follows the WHATWG HTML standard exactly.

    Feed it the bytes of the body in chunks of any size. Do not split the body into lines.
    `receive_data` stores the bytes immediately and returns an iterator of the events. The iterators
    have no state. If you drop one before its end, the next one returns the remaining events.

    Args:
        limits: `event_bytes`, `total_bytes` and `violations` apply.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._framer = Framer(self._limits)
        self._ended = False
        self._latch = ErrorLatch()
        self._log = ViolationLog(self._limits)

    def receive_data(self, data: bytes | bytearray | memoryview) -> Iterator[ServerSentEvent]:
        """Add bytes, and return an iterator of the events that are whole now.

        Raises:
            LimitError: an event or the body exceeds its limit. The iterator raises it, after the
                events before the excess. Every later call raises it again.
            RuntimeError: `receive_eof` was called before.
            TypeError: the argument is not a bytes-like object.
        """
        self._latch.raise_if_set()
        if self._ended:
            raise RuntimeError("receive_data was called after the end of the stream")
        if type(data) is not bytes:
            check_type(data, bytes, bytearray, memoryview)
        self._framer.buffer.feed(bytes(data))
        return self._take()

    def receive_eof(self) -> Iterator[ServerSentEvent]:
        """Signal the end of the stream, and return an iterator of the events not taken yet.

        An event without its blank line is discarded. A second call is allowed.

        Raises:
            LimitError: as `receive_data` does.
        """
        self._latch.raise_if_set()
        self._ended = True
        self._framer.buffer.close()  # so that `_take` goes on behind the last event
        return self._take()

    @property
    def last_event_id(self) -> str:
        """The last event id, as of the last blank line that was read.

        A client that reconnects sends it as `Last-Event-ID`.
        """
        return self._framer.last_event_id

    @property
    def reconnection_time(self) -> int | None:
        """The last valid `retry`, in milliseconds, or None."""
        return self._framer.reconnection_time

    @property
    def violations(self) -> tuple[Violation, ...]:
        """The first `Limits.violations` violations so far.

        The violations of lines that give no event are reported with the next event, or at the end.
        """
        return self._log.kept

    @property
    def violation_count(self) -> int:
        """The number of all violations so far."""
        return self._log.count

    def _take(self) -> Iterator[ServerSentEvent]:
        buffer = self._framer.buffer
        while True:
            if self._latch.error is not None:
                self._latch.raise_if_set()
            try:
                frame = self._framer.next_frame()
            except LimitError as error:
                error.annotate(event_number=self._framer.buffer.frames + 1)
                self._latch.set(error)
                raise copy_for_raise(error) from None
            if frame is None:
                if self._ended:
                    self._framer.take_partial_lines()
                    self._note(*self._framer.take_flaws())
                else:
                    buffer.mark_drained()  # makes the next `feed` cheaper
                return
            if frame.flaws or frame.uncounted:
                self._note(frame.flaws, frame.uncounted)
            name = frame.name
            values = (name or "message", frame.data, frame.id, frame.retry, name != "")
            yield make(ServerSentEvent, EVENT_MEMBERS, values)
            if buffer.is_idle:
                return

    def _note(self, flaws: tuple[LocatedFlaw, ...], uncounted: int) -> None:
        for flaw in flaws:
            self._log.add(flaw, self._framer.buffer.frames)
        self._log.count_more(uncounted)


def encode_sse(event: ServerSentEvent) -> bytes:
    """Return the frame of one event, including its blank line. Decoding it gives an equal event.

    Raises:
        ValueError: the format cannot express the event: an empty `event`, a line end in `event` or
            `id`, a CR in `data`, a NUL in `id`, a negative `retry`, or a lone surrogate.
    """
    if not event.event:
        raise ValueError("the `event` of a ServerSentEvent must not be empty")
    name = event.event if event.is_named else ""
    return encode_frame(name, event.data, event.id, event.retry)


def encode_frame(name: str, data: str, id: str = "", retry: int | None = None) -> bytes:
    """Return a frame, including its blank line. If the name is "", it has no `event` field.

    Raises:
        ValueError: as `encode_sse` does.
    """
    if "\r" in data:
        raise ValueError("the `data` of an event must not have a carriage return")
    if any(character in name + id for character in "\r\n") or "\0" in id:
        raise ValueError("the `event` and the `id` must not have a line end, nor the `id` a NUL")
    if retry is not None and retry < 0:
        raise ValueError("`retry` must be a number of milliseconds, 0 or more")
    lines: list[str] = []
    if name:
        lines.append(f"event: {name}")
    if id:
        lines.append(f"id: {id}")
    if retry is not None:
        lines.append(f"retry: {retry}")
    lines.extend(f"data: {line}" for line in data.split("\n"))
    return ("\n".join(lines) + "\n\n").encode()


def is_event_stream(content_type: str | None) -> bool:
    """Return whether a Content-Type header names an event stream. Ignores parameters and case.

    In a comma-separated list the last valid type wins, as in Fetch's "extract a MIME type":
    proxies may append a type.
    """
    types = [entry.partition(";")[0].strip().lower() for entry in (content_type or "").split(",")]
    valid = [name for name in types if "/" in name and name != "*/*"]
    return bool(valid) and valid[-1] == "text/event-stream"
