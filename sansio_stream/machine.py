"""Facade: the modules in a row. Bytes in; typed events and an evolving snapshot out.

Here are only the order of things, the latching of errors and the verdict; what a frame, an event, a
legal order or a fold is, the other modules say.

One rule gives laziness, lockstep, leftovers, the place of an error, and pickling in mid-stream
together: recognising may run ahead, folding happens only when `next()` returns the event, and no
iterator holds state of its own.
"""

from __future__ import annotations

import contextlib
import enum
from collections import deque
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import attrs

from .errors import (
    APIError,
    APIStatusError,
    Fault,
    IncompleteMessageError,
    LimitError,
    Limits,
    NotAnEventStreamError,
    ProtocolError,
    Verdict,
    Violation,
    ViolationCode,
    ViolationLog,
    check_type,
    copy_for_raise,
    equivalent_status,
    excerpt,
    status_error,
)
from .events import (
    ContentBlockStartEvent,
    ErrorEvent,
    MessageStartEvent,
    MessageStopEvent,
    MessageStreamEvent,
)
from .fast_path import FastPath
from .reading import (
    Payload,
    Reading,
    fault_of,
    is_whole,
    loses_by_replacement,
    measured,
    names_content,
    payloads_in,
    read_frame,
    read_payload,
)
from .snapshot import Fold
from .sse import CR, LF, Frame, Framer
from .transitions import Action, State

if TYPE_CHECKING:
    from collections.abc import Callable

    from .message import ContentBlock, Message

__all__ = ["StreamMachine"]

NOTHING: Final[Iterator[Any]] = iter(())
"""What is returned where nothing can be whole: an iterator that never has anything."""


class Mark(enum.Enum):
    """What stands in the inbox for the end of the stream: what is left of a frame, then nothing."""

    TAIL = "tail"
    END = "end"


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
        self._strict = strict
        self._limits = limits or Limits()
        self._framer = Framer(self._limits)
        self._fold = Fold(self._limits, partial_strings=partial_strings)
        self._fast_path = FastPath(self._framer, self._fold, self._limits, enabled=fast_path)
        # What was received and not looked at: chunks, payloads, the end.
        self._inbox: deque[bytes | Payload | Mark] = deque()
        self._ended = False
        self._lost: str | None = None
        self._error_event: ErrorEvent | None = None
        self._fatal: ProtocolError | None = None
        self._verdict = Verdict.PENDING
        self._log = ViolationLog(self._limits)
        # What is known of a last frame that was cut: whether it is one of a content event, and
        # whether it holds several payloads.
        self._content_was_cut = False
        self._blank_lines_are_missing = False
        self._events_taken = 0
        self._event_number = 0

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
        framer = self._framer
        room = framer.room
        if room and type(data) is bytes:
            if LF not in data and CR not in data:
                # Where chunks have a few bytes, this is all the work there is: it adds them to a
                # frame that has begun, and calls nothing (CPython 3.11: 0.13 µs a byte).
                held = framer.held
                held += data
                if len(held) <= room:
                    return NOTHING
                del held[len(held) - len(data) :]
            framer.receive(data)
            if framer.room:
                return NOTHING
            return self._fast_path.events(self._next_of_plain_path)
        check_type(data, bytes, bytearray, memoryview)
        self._refuse_if_over("data")
        if self._inbox:
            self._inbox.append(bytes(data))
            return self._take()
        framer.receive(bytes(data))
        return NOTHING if framer.room else self._take()

    def receive_event(self, payload: Mapping[str, Any]) -> Iterator[MessageStreamEvent]:
        """Take one payload that a source hands out as a mapping; return an iterator of the events.

        The same as `receive_data`, without the framing. The payload is not copied: leave it
        unchanged.
        """
        check_type(payload, Mapping)
        self._refuse_if_over("an event")
        self._inbox.append(measured(payload, self._limits))
        self._framer.leave_no_room()
        return self._take()

    def receive_eof(self) -> Iterator[MessageStreamEvent]:
        """Note the end of the body, and return an iterator of what is left. A second end is
        ignored.

        A last frame whose blank line is missing is delivered if its JSON is whole. The verdict
        falls when the iterator has come to its end; it is never a reason to raise.
        """
        self._raise_if_failed()
        return self._end(None)

    def connection_lost(self, exc: BaseException | None = None) -> Iterator[MessageStreamEvent]:
        """Note that the connection broke, and return an iterator of what is left, as `receive_eof`
        does.

        Of the exception its `repr` is kept, for the message of IncompleteMessageError. Made to be
        called where an exception is being handled: after a fatal error it does not raise it again,
        there is just nothing left.
        """
        return NOTHING if self._fatal is not None else self._end(exc)

    def _end(self, exc: BaseException | None) -> Iterator[MessageStreamEvent]:
        if not self._ended:
            self._ended = True
            self._framer.close()
            self._lost = None if exc is None else shown(exc)
            self._inbox.extend((Mark.TAIL, Mark.END))
        return self._take()

    def _refuse_if_over(self, what: str) -> None:
        self._raise_if_failed()
        if self._ended:
            raise RuntimeError(f"{what} after the end of the stream")

    def _raise_if_failed(self) -> None:
        if self._fatal is not None:
            raise copy_for_raise(self._fatal)

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
        return self._fold.course.state

    @property
    def verdict(self) -> Verdict:
        """How the stream ended; PENDING until the end was taken. It changes once, or never."""
        return self._verdict

    @property
    def violations(self) -> tuple[Violation, ...]:
        """What was tolerated, as of the event just taken: the first `Limits.violations` of it."""
        return self._log.kept

    @property
    def violation_count(self) -> int:
        """How many violations there were in all."""
        return self._log.count

    @property
    def first_loss(self) -> Violation | None:
        """The first violation by which content of the message was lost, or None.

        Known also where `violations` was full before. With one, the verdict is never COMPLETE.
        """
        return self._log.first_loss

    @property
    def error(self) -> ErrorEvent | ProtocolError | None:
        """What ended the stream: the server's error event or the fatal error; None for neither."""
        return self._error_event or self._fatal

    @property
    def bytes_received(self) -> int:
        """How many bytes were given to `receive_data`; moves on receipt."""
        waiting = sum(len(each) for each in self._inbox if isinstance(each, bytes))
        return self._framer.received + waiting

    @property
    def events_taken(self) -> int:
        """How many events iterators have returned."""
        return self._events_taken + self._fast_path.taken

    @property
    def event_number(self) -> int:
        """Which frame with data, or payload, was looked at last, from 1; skipped ones count."""
        return self._event_number + self._fast_path.taken

    @property
    def byte_offset(self) -> int | None:
        """Where that frame begins in the body; None for a payload."""
        return self._framer.place

    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__} {self.state.name} {self._verdict.name}:"
            f" {self.bytes_received} bytes received, {self.events_taken} events taken,"
            f" {self._log.count} violations>"
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
            deque(self._take(), maxlen=0)
        message = self.snapshot
        accepted = self._verdict is Verdict.COMPLETE or (
            self._verdict is Verdict.UNTERMINATED and not self._strict
        )
        if accepted and message is not None:
            return message
        raise self._failure()

    def _failure(self) -> APIError:
        """Return the exception that says why there is no final message."""
        if self._verdict is Verdict.ERRORED and self._error_event is not None:
            return self._with_context(status_error_of(self._error_event))
        if self._verdict is Verdict.BROKEN and self._fatal is not None:
            return copy_for_raise(self._fatal)
        if self._verdict is Verdict.NOT_AN_EVENT_STREAM:
            head = self._framer.head
            return self._with_context(
                NotAnEventStreamError(
                    f"{self._verdict.value}: {head[:80]!r} (`check_response`, asked before with"
                    " status and headers, says more)",
                    raw=head,
                )
            )
        loss = self._log.first_loss if self._verdict is Verdict.DAMAGED else None
        sentence = self._verdict.value
        if loss is not None:
            sentence += f": {loss.code.meaning} ({place_of(loss)})"
        elif self._blank_lines_are_missing:
            sentence += f": {ViolationCode.MISSING_BLANK_LINE.meaning}"
        if self._lost is not None:
            sentence += f": {self._lost}"
        return self._with_context(IncompleteMessageError(sentence, first_loss=loss))

    def _with_context(self, error: APIError) -> APIError:
        error.partial_message = self.snapshot
        error.verdict = self._verdict
        error.content_emitted = self._fold.has_content
        return error

    # Taking: one event at a time, each judged, recorded and folded before it is returned.

    def _take(self) -> Iterator[MessageStreamEvent]:
        return self._fast_path.events(self._next_of_plain_path)

    def _next_of_plain_path(self) -> MessageStreamEvent | None:
        """Return the next event, or None if nothing is left; latch what is raised."""
        if not self._inbox and self._framer.settle():
            return None
        self._raise_if_failed()
        try:
            event = self._next_event()
        except ProtocolError as error:
            self._fail(error)
            # What is latched is never raised itself: it would keep the frames of who called.
            raise copy_for_raise(error) from None
        self._events_taken += event is not None
        return event

    def _fail(self, error: ProtocolError) -> None:
        error.event_number = error.event_number or self.event_number
        for received in self._inbox:
            if isinstance(received, bytes):
                self._framer.receive(received)
        self._inbox.clear()
        self._framer.drop()
        self._framer.close()
        self._fast_path.forget()
        self._fold.course.fail()
        if self._verdict is Verdict.PENDING:
            self._verdict = Verdict.BROKEN
        self._with_context(error)
        self._fatal = copy_for_raise(error)

    def _next_event(self) -> MessageStreamEvent | None:
        """Return the next event that is not kept out of the message, or None if nothing is left."""
        while True:
            frame = self._from_framer(self._framer.next_frame)
            if frame is not None:
                event = self._admit(frame)
            elif self._inbox:
                event = self._from_inbox(self._inbox.popleft())
            else:
                return None
            if event is not None:
                return event

    def _from_inbox(self, received: bytes | Payload | Mark) -> MessageStreamEvent | None:
        match received:
            case bytes():
                self._framer.receive(received)
                self._framer.leave_no_room()  # for who comes in before what waits here
                return None
            case Payload():
                return self._admit(received)
            case Mark.TAIL:
                return self._take_tail()
            case _:
                self._conclude()
                return None

    def _from_framer(self, give: Callable[[], Frame | None]) -> Frame | None:
        try:
            return give()
        except LimitError as error:
            self._say(self._note, *self._framer.take_faults())
            # The framer does not know how many payloads came beside its frames.
            error.event_number = self.event_number + 1
            raise

    def _take_tail(self) -> MessageStreamEvent | None:
        """Take a last frame that lacks its blank line: whole it counts, else it was cut."""
        frame = self._from_framer(self._framer.finish)
        if frame is None:
            return None
        if is_whole(frame, self._limits):
            end = Fault(ViolationCode.UNTERMINATED_FRAME, excerpt(frame.data), frame.offset)
            frame = attrs.evolve(frame, faults=(*frame.faults, end))
            return self._admit(frame)
        self._event_number += 1
        self._say_at_the_end(frame.faults, frame.uncounted)
        self._content_was_cut = names_content(frame)
        # Never fatal, even if strict: the verdict says the rest.
        codes = [ViolationCode.CUT_FRAME]
        if len(payloads_in(frame.data, self._limits)) > 1:
            self._blank_lines_are_missing = True
            codes.insert(0, ViolationCode.MISSING_BLANK_LINE)
        for code in codes:
            self._record(fault_of(frame, code))
        return None

    def _conclude(self) -> None:
        """The end: what is still unsaid is said, and the verdict falls."""
        self._say_at_the_end(*self._framer.take_faults())
        if self._verdict is Verdict.PENDING:
            verdict = self._verdict_at_the_end()
            if verdict is Verdict.UNTERMINATED:
                end = self._framer.received or None
                self._record(Fault(ViolationCode.MISSING_MESSAGE_STOP, "", end))
            is_damaged = self._fold.has_lost and verdict in ENDED
            self._verdict = Verdict.DAMAGED if is_damaged else verdict

    def _verdict_at_the_end(self) -> Verdict:
        """Return what the end means where nothing has been said yet, and nothing was lost."""
        if self._is_other_content:
            return Verdict.NOT_AN_EVENT_STREAM
        verdict = VERDICTS[self.state]
        if verdict is not Verdict.UNTERMINATED:
            return verdict
        is_whole = self._fold.is_finished and not self._content_was_cut
        return verdict if is_whole else Verdict.TRUNCATED

    @property
    def _is_other_content(self) -> bool:
        return self.state is State.WAITING and self._framer.is_other_content

    def _say_at_the_end(self, faults: tuple[Fault, ...], uncounted: int) -> None:
        say = self._note
        if self._is_other_content:
            # That its lines are no fields is what the verdict says, and no message lost them.
            say = self._record
            faults = tuple(fault._replace(loses_content=False) for fault in faults)
        self._say(say, faults, uncounted)

    def _admit(self, origin: Frame | Payload) -> MessageStreamEvent | None:
        """Read, record, judge and fold. Returns the event, or None for what is kept out of the
        message.
        """
        self._event_number += 1
        tolerated = self._log.count
        loses = False
        if isinstance(origin, Payload):
            self._framer.place = None
            event, flaws = read_payload(origin, self._limits)
        elif origin.faults or origin.uncounted:
            (event, flaws), loses = self._read_faulty(origin)
        else:
            event, flaws = read_frame(origin, self._limits)
        for code, loses_content in flaws:
            loses |= self._note_of(origin, code, loses_content)
        if event is None:
            return None
        rulings = self._fold.judge(event, origin)
        for ruling in rulings:
            if ruling.code is not None:
                loses |= self._note_of(origin, ruling.code, ruling.loses_content)
        if rulings[-1].action is Action.SKIP:
            if loses:
                self._fold.lose(event)
            return None
        # A block that begins is there to lose its input only then; one that stops must know before.
        if loses and not isinstance(event, BEGINNINGS):
            self._fold.lose(event)
        event = self._fold.apply(event, rulings[0].state, origin.size)
        if loses and isinstance(event, BEGINNINGS):
            self._fold.lose(event)
        is_clean = self._log.count == tolerated
        frame = origin if is_clean and isinstance(origin, Frame) else None
        self._fast_path.learn(event, frame)
        if isinstance(event, MessageStopEvent):
            self._verdict = Verdict.DAMAGED if self._fold.has_lost else Verdict.COMPLETE
        elif isinstance(event, ErrorEvent):
            self._verdict = Verdict.ERRORED
            self._error_event = event
        return event

    def _read_faulty(self, frame: Frame) -> tuple[Reading, bool]:
        """Return what a frame with faults stands for, and whether bytes of it that were no UTF-8
        are a loss. Record the faults.
        """
        faults = frame.faults
        try:
            reading = read_frame(frame, self._limits)
            if frame.sent and loses_by_replacement(frame, reading[0], self._limits):
                # The data is read last, so its fault is the last one.
                codes = [fault.code for fault in faults]
                last = len(codes) - 1 - codes[::-1].index(ViolationCode.INVALID_UTF8)
                lost = faults[last]._replace(loses_content=True)
                faults = (*faults[:last], lost, *faults[last + 1 :])
        finally:
            # Before what is wrong with the event, and before what makes the frame unreadable.
            loses = self._say(self._note, faults, frame.uncounted)
        return reading, loses

    def _say(self, say: Callable[[Fault], bool], faults: tuple[Fault, ...], uncounted: int) -> bool:
        """Record faults of the framer. Return whether the event of their frame has lost content; of
        a line that was no field nobody knows to which event it belongs.
        """
        loses = False
        for fault in faults:
            if say(fault):
                if fault.code is ViolationCode.UNKNOWN_FIELD:
                    self._fold.lose(None)
                else:
                    loses = True
        # Not before: where the first one is fatal, none was tolerated.
        self._log.count += uncounted
        return loses

    def _note_of(self, origin: Frame | Payload, code: ViolationCode, loses_content: bool) -> bool:
        """Record a violation of a whole frame, as `_note` does. Where nobody keeps it, it costs no
        excerpt.
        """
        if self._strict or self._log.keeps_one_more(loses_content=loses_content):
            return self._note(fault_of(origin, code, loses_content))
        self._log.count += 1
        return loses_content and self._verdict is Verdict.PENDING

    def _note(self, fault: Fault) -> bool:
        """Record a violation, or in strict mode raise it. Return whether content was lost by it."""
        if self._strict and fault.code.is_fatal_if_strict:
            raise ProtocolError(
                fault.code.meaning, code=fault.code, byte_offset=fault.offset, raw=fault.excerpt
            )
        return self._record(fault)

    def _record(self, fault: Fault) -> bool:
        if fault.loses_content and self._verdict is not Verdict.PENDING:
            # What comes behind the end of the message is not part of it.
            fault = fault._replace(loses_content=False)
        self._log.add(fault, self.event_number)
        return fault.loses_content


BEGINNINGS: Final = (MessageStartEvent, ContentBlockStartEvent)
"""The events with which blocks begin."""

VERDICTS: Final[dict[State, Verdict]] = {
    State.WAITING: Verdict.EMPTY,
    State.OPEN: Verdict.TRUNCATED,
    State.CLOSING: Verdict.UNTERMINATED,
}
"""What the end means where nothing has been said yet, and nothing was lost."""

ENDED: Final = (Verdict.UNTERMINATED, Verdict.EMPTY)
"""The verdicts that an end gives, and that a loss makes DAMAGED, as it does with COMPLETE."""


def place_of(violation: Violation) -> str:
    """Return the words that say which violation it is, and where."""
    place = f"{violation.code}, event {violation.event_number}"
    if violation.byte_offset is not None:
        place += f", byte offset {violation.byte_offset}"
    return place


def status_error_of(event: ErrorEvent) -> APIStatusError:
    """Return the exception that an error event stands for, of its equivalent HTTP status."""
    return status_error(
        event.message or "the server sent an error",
        status_code=equivalent_status(event.error_type, default=event.code or 500),
        type=event.error_type,
        request_id=event.request_id,
        body=event.to_dict() if event.raw is None else event.raw,
    )


def shown(exc: BaseException) -> str:
    """Return the repr of a foreign exception, or of its class where that fails."""
    try:
        return repr(exc)
    except Exception:  # noqa: BLE001  (it is not ours, and it is being handled)
        return repr(type(exc))
