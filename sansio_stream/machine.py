"""The state machine: bytes in; typed events and an evolving snapshot out.

The public class only. What a frame, an event, a legal order, a fold and a verdict are, the other
modules say.
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
    from .message import ContentBlock, Message
    from .transitions import State

__all__ = ["StreamMachine"]


class StreamMachine:
    """One stream of the Anthropic Messages API: give it bytes, take events, look at the message.

        machine = StreamMachine()
        for chunk in chunks:
            for event in machine.receive_data(chunk):
                ...                              # machine.snapshot is exactly as of this event
        for event in machine.receive_eof():      # or connection_lost(exc)
            ...
        message = machine.final_message()        # raises if there is no whole message

    Nothing that was received is lost: an iterator may be dropped and another goes on. How the bytes
    are cut never matters. Only `APIError`s leave the machine, RuntimeError for a call out of order,
    TypeError for a wrong argument. A machine can be pickled and deep-copied at any time and goes on
    the same. It is not thread-safe.

    Args:
        strict: make every violation fatal, and accept no message without `message_stop`.
        limits: what a peer may make us hold.
        partial_strings: whether `partial_input` shows the beginning of a string that is not
            finished.
        fast_path: whether frames that are like the one before may be recognised by their bytes. It
            changes nothing but the time; to switch it off is for tests and for doubt.
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
        """Take bytes of the body, and return an iterator of the events that are whole now.

        The bytes are taken at once, the iterator decodes as it goes. Where nothing is whole it may
        be empty for good, so take from the newest. No bytes add nothing, but what is left is
        returned.

        Raises:
            ProtocolError: from the iterator that reaches the fault, after every event that came
                before; and at the call ever after. The snapshot stays readable.
            RuntimeError: after the end.
            TypeError: for anything but bytes.
        """
        buffer = self._buffer
        if buffer.partial_limit and type(data) is bytes:
            # Nothing waits, neither here nor there.
            return self._reader.events() if buffer.feed(data) else NOTHING
        check_type(data, bytes, bytearray, memoryview)
        self._refuse_if_over("data")
        return self._reader.events() if self._inbox.receive(bytes(data)) else NOTHING

    def receive_event(self, payload: Mapping[str, Any]) -> Iterator[MessageStreamEvent]:
        """Take one payload that a source hands out as a mapping; return an iterator of the events.

        The same as `receive_data`, without the framing. The payload is not copied: leave it
        unchanged.
        """
        check_type(payload, Mapping)
        self._refuse_if_over("an event")
        self._inbox.receive_payload(measured(payload, self._limits))
        return self._reader.events()

    def receive_eof(self) -> Iterator[MessageStreamEvent]:
        """Note the end of the body, and return an iterator of what is left. A second end is
        ignored.

        A last frame whose blank line is missing is delivered if its JSON is whole. The verdict
        falls when the iterator has come to its end; it is never a reason to raise.
        """
        self._outcome.raise_if_failed()
        return self._end(None)

    def connection_lost(self, exc: BaseException | None = None) -> Iterator[MessageStreamEvent]:
        """Note that the connection broke, and return an iterator of what is left, as `receive_eof`
        does.

        Of the exception its `repr` is kept, for the message of IncompleteMessageError. Made to be
        called where an exception is being handled: after a fatal error it does not raise it again,
        there is just nothing left.
        """
        return NOTHING if self._outcome.fatal is not None else self._end(exc)

    def _end(self, exc: BaseException | None) -> Iterator[MessageStreamEvent]:
        if not self._ended:
            self._ended = True
            self._inbox.close()
            if exc is not None:
                self._outcome.lost_connection(exc)
        return self._reader.events()

    def _refuse_if_over(self, what: str) -> None:
        self._outcome.raise_if_failed()
        if self._ended:
            raise RuntimeError(f"{what} after the end of the stream")

    # Looking.

    @property
    def snapshot(self) -> Message | None:
        """The message as of the event just taken, None before message_start. Immutable.

        Cost: nothing while nobody looks; else the blocks that grew since the last look are joined.
        A text grows in place where the snapshot before was let go, and is copied where it is kept.
        """
        return self._fold.snapshot()

    def block(self, index: int) -> ContentBlock | None:
        """Return the newest block with that wire index as of the event just taken, or None.

        Cheaper than `snapshot`, and right where indexes have gaps: `snapshot.content[event.index]`
        is not.
        """
        return self._fold.block(index)

    @property
    def state(self) -> State:
        """Where the stream is, as of the event just taken."""
        return self._fold.state

    @property
    def verdict(self) -> Verdict:
        """How the stream ended; PENDING until the end was taken. It changes once, or never."""
        return self._outcome.verdict

    @property
    def violations(self) -> tuple[Violation, ...]:
        """What was tolerated, as of the event just taken: the first `Limits.violations` of it."""
        return self._outcome.log.kept

    @property
    def violation_count(self) -> int:
        """How many violations there were in all."""
        return self._outcome.log.count

    @property
    def first_loss(self) -> Violation | None:
        """The first violation by which content of the message was lost, or None.

        Known also where `violations` was full before. With one, the verdict is never COMPLETE.
        """
        return self._outcome.log.first_loss

    @property
    def error(self) -> ErrorEvent | ProtocolError | None:
        """What ended the stream: the server's error event or the fatal error; None for neither."""
        return self._outcome.error_event or self._outcome.fatal

    @property
    def bytes_received(self) -> int:
        """How many bytes were given to `receive_data`; moves on receipt."""
        return self._inbox.bytes_received

    @property
    def events_taken(self) -> int:
        """How many events iterators have returned."""
        return self._reader.events_taken

    @property
    def event_number(self) -> int:
        """Which frame with data, or payload, was looked at last, from 1; skipped ones count."""
        return self._inbox.number

    @property
    def byte_offset(self) -> int | None:
        """Where that frame begins in the body; None for a payload."""
        return self._inbox.byte_offset

    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__} {self.state.name} {self.verdict.name}:"
            f" {self.bytes_received} bytes received, {self.events_taken} events taken,"
            f" {self._outcome.log.count} violations>"
        )

    def final_message(self) -> Message:
        """Return the whole message, after taking whatever was received.

        Raises:
            IncompleteMessageError: the end has not been seen, the message was cut, content of it
                was lost (`first_loss` says which), or there is none; in strict mode also where
                `message_stop` is missing.
            APIStatusError: the server sent an error; of the class of its equivalent status.
            ProtocolError: the stream is broken: the latched error again.
            NotAnEventStreamError: the body was something else.
        """
        # What is fatal is raised again below, unless the message was complete before it came.
        with contextlib.suppress(ProtocolError):
            deque(self._reader.events(), maxlen=0)
        message = self.snapshot
        if self._outcome.accepts_message and message is not None:
            return message
        if self.verdict is Verdict.BROKEN:
            self._outcome.raise_if_failed()
        failure = self._outcome.failure(self._buffer.head)
        raise self._outcome.in_context(failure, message, has_content=self._fold.has_content)
