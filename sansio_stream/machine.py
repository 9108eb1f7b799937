"""The state machine: bytes in, typed events and an evolving snapshot out.

This module has only the public class. It delegates to four private parts: `inbox.Inbox` stores what
was received, `reader.EventReader` reads events from it, `snapshot.Fold` has the message, and
`outcome.Outcome` has the violations and the verdict.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from .errors import Limits, ProtocolError, Verdict, Violation, check_type
from .inbox import Inbox
from .outcome import Outcome
from .reader import NOTHING, EventReader
from .reading import measured
from .snapshot import Fold

if TYPE_CHECKING:
    from .events import ErrorEvent, MessageStreamEvent
    from .frame_buffer import FrameBuffer
    from .message import ContentBlock, Message
    from .transitions import State

__all__ = ["StreamMachine"]


class StreamMachine:
    """One stream of the Anthropic Messages API: feed it bytes, take events, read the message.

        machine = StreamMachine()
        for chunk in chunks:
            for event in machine.receive_data(chunk):
                ...                              # machine.snapshot is exactly as of this event
        for event in machine.receive_eof():      # or connection_lost(exc)
            ...
        message = machine.final_message()        # raises if there is no whole message

    The result does not depend on how the body is cut into chunks. Nothing that was received is
    lost: if you drop an iterator before its end, the next one returns the remaining events. A
    machine can be pickled and deep-copied at any time; the copy continues like the original. It is
    not thread-safe.

    The machine raises only `APIError`s, RuntimeError for a call in the wrong order, and TypeError
    for an argument of a wrong type.

    Args:
        strict: make nearly every violation fatal (see `ViolationCode.is_fatal_if_strict`), and
            accept no message without `message_stop`.
        limits: limits on the memory that a peer can make the machine use.
        partial_strings: whether `partial_input` has the beginning of an unfinished string.
        fast_path: whether frames may be recognised by comparing their bytes with a template. This
            saves time and changes no result. Switch it off for tests, or to exclude it as the
            cause of a problem.
    """

    def __init__(
        self,
        *,
        strict: bool = False,
        limits: Limits | None = None,
        partial_strings: bool = True,
        fast_path: bool = True,
    ) -> None:
        self._limits = limits or Limits()
        self._fold = Fold(self._limits, partial_strings=partial_strings)
        self._outcome = Outcome(self._limits, strict=strict)
        self._inbox = Inbox(self._limits)
        self._buffer = self._inbox.buffer
        self._reader = EventReader(
            self._limits, self._inbox, self._fold, self._outcome, fast_path=fast_path
        )
        self._ended = False

    # Receiving.

    def receive_data(self, data: bytes | bytearray | memoryview) -> Iterator[MessageStreamEvent]:
        """Add bytes of the body, and return an iterator of the events that are whole now.

        The bytes are stored immediately. The iterator decodes one event at each `next()`. If no
        event is whole, the iterator may stay empty even after later calls, so use the iterator of
        the last call. Empty bytes add nothing; their iterator returns the remaining events.

        Raises:
            ProtocolError: the stream is broken, or exceeds a limit. The iterator raises it when it
                reaches the fault, after every event before it. Every later call raises it again.
                The snapshot stays readable.
            RuntimeError: the end of the stream was received before.
            TypeError: the argument is not a bytes-like object.
        """
        buffer = self._buffer
        if buffer.is_idle and type(data) is bytes:
            # After an error and after the end the buffer is never idle, so these need no check.
            if buffer.partial:
                return self._reader.events() if buffer.extend(data) else NOTHING
            return self._reader.receive(data)
        check_type(data, bytes, bytearray, memoryview)
        self._check_not_ended("receive_data")
        return self._reader.events() if self._inbox.receive(bytes(data)) else NOTHING

    def receive_event(self, payload: Mapping[str, Any]) -> Iterator[MessageStreamEvent]:
        """Add one payload as a mapping, and return an iterator of the events that are whole now.

        Use it for a source whose transport is not an event stream. It differs from `receive_data`
        only in its argument. The payload is not copied, so do not change it.

        Raises:
            ProtocolError: as `receive_data` does.
            RuntimeError: the end of the stream was received before.
            TypeError: the payload is not a mapping, or a part of it is not JSON.
        """
        if payload.__class__ is not dict:
            check_type(payload, Mapping)
        self._check_not_ended("receive_event")
        self._inbox.receive_payload(measured(payload, self._limits))
        return self._reader.events()

    def receive_eof(self) -> Iterator[MessageStreamEvent]:
        """Signal the end of the body, and return an iterator of the remaining events.

        A second end is ignored.

        The last frame may lack its blank line. Its event is returned if its JSON is whole. The
        iterator sets the verdict when it is exhausted. It raises no error because of a verdict.

        Raises:
            ProtocolError: as `receive_data` does.
        """
        self._outcome.fatal.raise_if_set()
        return self._end(None)

    def connection_lost(self, exc: BaseException | None = None) -> Iterator[MessageStreamEvent]:
        """Signal a broken connection, and return an iterator of the remaining events.

        Does the same as `receive_eof`, with two differences. It keeps the `repr` of the exception
        for the message of IncompleteMessageError. And after a fatal error it returns an empty
        iterator instead of raising, so that it can be called in an `except` block.

        Args:
            exc: the exception that broke the connection, if there is one.
        """
        return NOTHING if self._outcome.fatal.error is not None else self._end(exc)

    def _end(self, exc: BaseException | None) -> Iterator[MessageStreamEvent]:
        if not self._ended:
            self._ended = True
            self._inbox.close()
            if exc is not None:
                self._outcome.lost_connection(exc)
        return self._reader.events()

    def _check_not_ended(self, method: str) -> None:
        self._outcome.fatal.raise_if_set()
        if self._ended:
            raise RuntimeError(f"{method} was called after the end of the stream")

    # Reading the state. All of these are as of the event taken last, except `bytes_received`.

    @property
    def snapshot(self) -> Message | None:
        """The message as of the event taken last; None before message_start. Immutable.

        Cost: none for events after which it is not read. Reading it copies no text. A text is
        joined when you read it from its block. If you no longer hold the text that you read before,
        it grows in place; otherwise it is copied.
        """
        return self._fold.snapshot()

    def block(self, index: int) -> ContentBlock | None:
        """Return the newest block with this index on the wire, or None.

        Cheaper than `snapshot`. It is also correct if the indexes have gaps; in that case
        `snapshot.content[index]` is another block.
        """
        return self._fold.block(index)

    @property
    def state(self) -> State:
        """The state of the stream."""
        return self._fold.state

    @property
    def verdict(self) -> Verdict:
        """How the stream ended; PENDING until its end was taken. It changes at most once."""
        return self._outcome.verdict

    @property
    def violations(self) -> tuple[Violation, ...]:
        """The first `Limits.violations` violations."""
        return self._outcome.log.kept

    @property
    def violation_count(self) -> int:
        """The number of all violations, including those that `violations` does not keep."""
        return self._outcome.log.count

    @property
    def first_loss(self) -> Violation | None:
        """The first violation by which content of the message was lost, or None.

        It is kept even if `violations` was full before. After it the verdict is never COMPLETE.
        """
        return self._outcome.log.first_loss

    @property
    def error(self) -> ErrorEvent | ProtocolError | None:
        """The server's error event or the fatal error that ended the stream, or None."""
        return self._outcome.error_event or self._outcome.fatal.error

    @property
    def bytes_received(self) -> int:
        """The number of bytes that `receive_data` has received, whether they were read or not."""
        return self._inbox.bytes_received

    @property
    def events_taken(self) -> int:
        """The number of events that the iterators have returned."""
        return self._reader.events_taken

    @property
    def event_number(self) -> int:
        """The number of the frame or payload that was read last: 1 for the first, 0 before it.

        The frames with data and the payloads are counted, whether they gave an event or not.
        """
        return self._inbox.number

    @property
    def byte_offset(self) -> int | None:
        """The offset in the body of the frame that was read last, in bytes; None for a payload."""
        return self._inbox.byte_offset

    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__} {self.state.name} {self.verdict.name}:"
            f" {self.bytes_received} bytes received, {self.events_taken} events taken,"
            f" {self._outcome.log.count} violations>"
        )

    def final_message(self) -> Message:
        """Return the whole message. First takes all remaining events.

        Raises:
            IncompleteMessageError: the stream has not ended, the message was cut, some of its
                content was lost (see `first_loss`), or there is no message. In strict mode also if
                `message_stop` is missing.
            APIStatusError: the server sent an error. The class is that of the equivalent status.
            ProtocolError: the stream is broken. This is a copy of the error raised before.
            NotAnEventStreamError: the body is not an event stream.
        """
        # A fatal error is raised below, unless the message was complete before it.
        with contextlib.suppress(ProtocolError):
            deque(self._reader.events(), maxlen=0)
        message = self.snapshot
        if self._outcome.accepts_message and message is not None:
            return message
        if self.verdict is Verdict.BROKEN:
            self._outcome.fatal.raise_if_set()
        failure = self._outcome.failure(self._buffer.head)
        raise self._outcome.in_context(failure, message, has_content=self._fold.has_content)


def buffer_of(machine: StreamMachine) -> FrameBuffer:
    """Return the buffer of a machine, to read how far it has consumed the body.

    `timing` asks this after every event. A property of the machine would cost 3 % of an event.
    """
    inside: Any = machine
    buffer: FrameBuffer = inside._buffer  # noqa: SLF001  (this module's own)
    return buffer
