"""Server-sent events alone: a decoder and an encoder for any event stream. Knows no messages."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from .errors import LimitError, Limits, Violation, ViolationLog, check_type, copy_for_raise
from .framer import Framer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .errors import LocatedFlaw

__all__ = ["SSEDecoder", "ServerSentEvent", "encode_sse", "is_event_stream"]


@attrs.frozen
class ServerSentEvent:
    """One event of an event stream.

    Attributes:
        event: its type; "message" where the stream names none.
        data: its `data` lines, joined by LF.
        id: the last event id at that moment; it persists from event to event.
        retry: the last valid `retry` inside this event, in milliseconds, or None.
        is_named: whether the stream names the type. It tells `event: message` from no `event:`
            line, which are the same event by the standard; so it is not compared.
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


class SSEDecoder:
    """A decoder for any event stream, by the letter of the standard.

    Feed it raw bytes as they come, never lines. `receive_data` takes the bytes at once and returns
    an iterator of the events; iterators hold no state of their own, so one may be dropped and
    another goes on.

    Args:
        limits: `event_bytes`, `total_bytes` and `violations` apply.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._framer = Framer(self._limits)
        self._ended = False
        self._error: LimitError | None = None
        self._log = ViolationLog(self._limits)

    def receive_data(self, data: bytes | bytearray | memoryview) -> Iterator[ServerSentEvent]:
        """Take bytes and return an iterator of the events that are whole now.

        Raises:
            LimitError: from the iterator, after the events before it; and at every later call.
            RuntimeError: after `receive_eof`.
        """
        self._raise_if_failed()
        if self._ended:
            raise RuntimeError("data after the end of the stream")
        check_type(data, bytes, bytearray, memoryview)
        self._framer.buffer.feed(bytes(data))
        return self._take()

    def receive_eof(self) -> Iterator[ServerSentEvent]:
        """Note the end, and return an iterator of the events that were not taken yet.

        An event without its blank line is discarded. A second end is ignored. Raises LimitError
        as `receive_data` does.
        """
        self._raise_if_failed()
        self._ended = True
        return self._take()

    @property
    def last_event_id(self) -> str:
        """What a reconnecting client would send: the id as of the last blank line looked at."""
        return self._framer.last_event_id

    @property
    def reconnection_time(self) -> int | None:
        """The last valid `retry`, in milliseconds, or None."""
        return self._framer.reconnection_time

    @property
    def violations(self) -> tuple[Violation, ...]:
        """What was wrong with the bytes so far: the first `Limits.violations` faults. A line that
        gives no event is reported with the next one, or at the end.
        """
        return self._log.kept

    @property
    def violation_count(self) -> int:
        """How many there were in all."""
        return self._log.count

    def _raise_if_failed(self) -> None:
        if self._error is not None:
            raise copy_for_raise(self._error)

    def _take(self) -> Iterator[ServerSentEvent]:
        while True:
            self._raise_if_failed()
            try:
                frame = self._framer.next_frame()
            except LimitError as error:
                error.annotate(event_number=self._framer.buffer.frames + 1)
                self._error = error
                raise copy_for_raise(error) from None
            if frame is None:
                if self._ended:
                    self._framer.take_partial_lines()
                    self._note(*self._framer.take_flaws())
                return
            self._note(frame.flaws, frame.uncounted)
            yield ServerSentEvent(
                frame.name or "message",
                frame.data,
                frame.id,
                frame.retry,
                is_named=frame.name != "",
            )

    def _note(self, flaws: tuple[LocatedFlaw, ...], uncounted: int) -> None:
        for flaw in flaws:
            self._log.add(flaw, self._framer.buffer.frames)
        self._log.count_more(uncounted)


def encode_sse(event: ServerSentEvent) -> bytes:
    """Return the frame of one event, blank line included.

    Decoding it gives the event again. Raises ValueError for what the format cannot hold: an empty
    `event`, a line end in `event` or `id`, a CR in `data`, a NUL in `id`, a negative `retry`, a
    lone surrogate.
    """
    if not event.event:
        raise ValueError("an event stream cannot hold an event without a type")
    name = event.event if event.is_named else ""
    return encode_frame(name, event.data, event.id, event.retry)


def encode_frame(name: str, data: str, id: str = "", retry: int | None = None) -> bytes:
    """Return a frame; with the name "" it has no `event` field. Raises as `encode_sse` does."""
    if "\r" in data:
        raise ValueError("an event stream cannot hold a carriage return in data")
    if any(character in name + id for character in "\r\n") or "\0" in id:
        raise ValueError("an event stream cannot hold a line end in event or id, nor NUL in id")
    if retry is not None and retry < 0:
        raise ValueError("retry is a number of milliseconds, from 0")
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
    """Whether a Content-Type header names an event stream; parameters and case do not matter.

    Of a list the last type counts, as in Fetch's "extract a MIME type": proxies append one.
    """
    types = [entry.partition(";")[0].strip().lower() for entry in (content_type or "").split(",")]
    valid = [name for name in types if "/" in name and name != "*/*"]
    return bool(valid) and valid[-1] == "text/event-stream"
