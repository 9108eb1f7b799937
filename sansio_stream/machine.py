"""The state machine: bytes in; typed events and an evolving snapshot out.

The machine owns the loop, the counters, the latched error and the verdict. What a frame, an event,
a legal order or a fold is, the other modules say.

Strategy: one rule gives laziness, exact snapshots, leftovers, the place of an error, and pickling
in mid-stream together. Bytes are only buffered when they are received. A frame is read, judged and
folded when `next()` asks for its event, and no iterator holds state of its own.
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
    IncompleteMessageError,
    LimitError,
    Limits,
    LocatedFlaw,
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
    ContentBlockDeltaEvent,
    ContentBlockStartEvent,
    ErrorEvent,
    MessageStartEvent,
    MessageStopEvent,
    MessageStreamEvent,
    PingEvent,
    UnknownEvent,
)
from .fast_path import MAX_LEARN_ATTEMPTS, PING, DeltaTemplate, expected_template, learned_template
from .framer import Framer
from .message import UnknownBlock
from .reading import (
    Payload,
    Reading,
    error_of,
    flaw_of,
    is_whole,
    loses_by_replacement,
    measured,
    names_content,
    payloads_in,
    read_frame,
    read_payload,
)
from .snapshot import Fold
from .transitions import Action, State, decide

if TYPE_CHECKING:
    from collections.abc import Callable

    from .blocks import GrowingBlock
    from .errors.exceptions import AnyAPIError
    from .frames import Frame, FrameSource
    from .message import ContentBlock, Message
    from .reading import EventSource

__all__ = ["StreamMachine"]

NOTHING: Final[Iterator[Any]] = iter(())
"""What is returned where nothing can be whole: an iterator that never has anything."""


MANY_FRAGMENTS: Final = 256
"""How many pieces of a text are kept before they are joined: in pieces of 12 characters it takes
5.8 bytes a character, and 1.1 in one piece.
"""


class EofStage(enum.Enum):
    """What stands in the inbox for the end of the body, one after the other."""

    PARTIAL_FRAME = "what is left of a frame without its blank line"
    VERDICT = "the verdict"


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
        self._framer: FrameSource = Framer(self._limits)
        self._buffer = self._framer.buffer
        self._fold = Fold(self._limits, partial_strings=partial_strings)
        # The next delta by its bytes, and the block that it grows; None for none.
        self._next_delta: tuple[DeltaTemplate, GrowingBlock] | None = None
        self._uses_fast_path = fast_path
        self._learn_attempts = MAX_LEARN_ATTEMPTS
        self._takes_pings = (
            fast_path and len(PING) <= self._limits.event_bytes and self._limits.depth > 0
        )
        # What was received and not looked at: chunks, payloads, the end.
        self._inbox: deque[bytes | Payload | EofStage] = deque()
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
        # Beside the frames that the buffer counts: what else has a number, the number of the last
        # one of those that is a payload, and how many of all gave no event.
        self._frameless = 0
        self._payload_number = 0
        self._withheld = 0

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
            return self._events() if buffer.feed(data) else NOTHING
        check_type(data, bytes, bytearray, memoryview)
        self._refuse_if_over("data")
        if self._inbox:
            self._inbox.append(bytes(data))
            return self._events()
        return self._events() if buffer.feed(bytes(data)) else NOTHING

    def receive_event(self, payload: Mapping[str, Any]) -> Iterator[MessageStreamEvent]:
        """Take one payload that a source hands out as a mapping; return an iterator of the events.

        The same as `receive_data`, without the framing. The payload is not copied: leave it
        unchanged.
        """
        check_type(payload, Mapping)
        self._refuse_if_over("an event")
        self._inbox.append(measured(payload, self._limits))
        self._buffer.mark_pending()
        return self._events()

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
            self._buffer.close()
            self._lost = None if exc is None else shown(exc)
            self._inbox.extend((EofStage.PARTIAL_FRAME, EofStage.VERDICT))
        return self._events()

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
        return self._fold.state

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
        return self._buffer.received + waiting

    @property
    def events_taken(self) -> int:
        """How many events iterators have returned."""
        return self.event_number - self._withheld

    @property
    def event_number(self) -> int:
        """Which frame with data, or payload, was looked at last, from 1; skipped ones count."""
        return self._buffer.frames + self._frameless

    @property
    def byte_offset(self) -> int | None:
        """Where that frame begins in the body; None for a payload."""
        return None if self._payload_number == self.event_number else self._buffer.frame_offset

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
            deque(self._events(), maxlen=0)
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
            head = self._buffer.head.decode("utf-8", "replace")
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

    def _with_context(self, error: AnyAPIError) -> AnyAPIError:
        return error.annotate(
            partial_message=self.snapshot,
            verdict=self._verdict,
            content_emitted=self._fold.has_content,
        )

    # Taking: one event at a time, each judged, recorded and folded before it is returned.

    def _events(self) -> Iterator[MessageStreamEvent]:
        """Return the events of what was received, each read when it is asked for.

        Nothing is kept in local variables from one event to the next: another iterator may go on.
        """
        framer = self._framer
        buffer = self._buffer
        event_bytes, block_bytes = self._limits.event_bytes, self._limits.block_bytes
        if self._next_delta is not None and len(self._next_delta[1].run) > MANY_FRAGMENTS:
            self._next_delta[1].join_run()
        while True:
            # The fast path. Any doubt leaves it: what follows reads every frame.
            while framer.at_frame_start and self._next_delta is not None:
                template, block = self._next_delta
                pos = buffer.pos
                found = template.read(buffer.text, pos)
                if found is None:
                    break
                event, text, end = found
                size = end - pos
                if size > event_bytes or block.size + size > block_bytes:
                    break
                buffer.advance(end)
                block.append(text, size)
                yield event
                if buffer.partial_limit:
                    return
            other = self._next_event()
            if other is None:
                return
            yield other

    def _next_event(self) -> MessageStreamEvent | None:
        """Return the next event, or None if nothing is left. Latches what it raises."""
        buffer = self._buffer
        if (
            self._takes_pings
            and buffer.text.startswith(PING, buffer.pos)
            and self._framer.at_frame_start
        ):
            # As the API writes it. It is legal everywhere, and changes nothing.
            buffer.advance(buffer.pos + len(PING))
            return PingEvent()
        if not self._inbox and buffer.mark_drained():
            return None
        self._raise_if_failed()
        try:
            return self._next_admitted()
        except ProtocolError as error:
            self._fail(error)
            # What is latched is never raised itself: it would keep the frames of the caller.
            raise copy_for_raise(error) from None

    def _fail(self, error: ProtocolError) -> None:
        error.annotate(event_number=error.event_number or self.event_number)
        for received in self._inbox:
            if isinstance(received, bytes):
                self._buffer.feed(received)
        self._inbox.clear()
        self._framer.discard()
        self._buffer.close()
        self._next_delta = None
        self._fold.fail()
        if self._verdict is Verdict.PENDING:
            self._verdict = Verdict.BROKEN
        self._fatal = copy_for_raise(self._with_context(error))

    def _next_admitted(self) -> MessageStreamEvent | None:
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

    def _from_inbox(self, received: bytes | Payload | EofStage) -> MessageStreamEvent | None:
        match received:
            case bytes():
                self._buffer.feed(received)
                self._buffer.mark_pending()  # what comes now must wait for the rest of the inbox
                return None
            case Payload():
                return self._admit(received)
            case EofStage.PARTIAL_FRAME:
                return self._take_partial_frame()
            case _:
                self._conclude()
                return None

    def _from_framer(self, give: Callable[[], Frame | None]) -> Frame | None:
        try:
            return give()
        except LimitError as error:
            self._report(self._note, *self._framer.take_flaws())
            # The framer does not know how many payloads came beside its frames.
            error.annotate(event_number=self.event_number + 1)
            raise

    def _take_partial_frame(self) -> MessageStreamEvent | None:
        """Read a last frame without its blank line. If it is whole it counts, else it was cut."""
        frame = self._from_framer(self._framer.finish)
        if frame is None:
            return None
        if is_whole(frame, self._limits):
            end = LocatedFlaw(ViolationCode.UNTERMINATED_FRAME, excerpt(frame.data), frame.offset)
            return self._admit(attrs.evolve(frame, flaws=(*frame.flaws, end)))
        self._frameless += not frame.data  # the buffer counts frames with data
        self._withheld += 1
        self._report_at_the_end(frame.flaws, frame.uncounted)
        self._content_was_cut = names_content(frame)
        # Never fatal, even if strict: the verdict says that the frame was cut.
        codes = [ViolationCode.CUT_FRAME]
        if len(payloads_in(frame.data, self._limits)) > 1:
            self._blank_lines_are_missing = True
            codes.insert(0, ViolationCode.MISSING_BLANK_LINE)
        for code in codes:
            self._record(flaw_of(frame, code))
        return None

    def _conclude(self) -> None:
        """End the stream: report the remaining flaws, then set the verdict."""
        self._report_at_the_end(*self._framer.take_flaws())
        if self._verdict is Verdict.PENDING:
            verdict = self._verdict_at_the_end()
            if verdict is Verdict.UNTERMINATED:
                end = self._buffer.received or None
                self._record(LocatedFlaw(ViolationCode.MISSING_MESSAGE_STOP, "", end))
            is_damaged = self._fold.has_lost and verdict in ENDED
            self._verdict = Verdict.DAMAGED if is_damaged else verdict

    def _verdict_at_the_end(self) -> Verdict:
        """Return the verdict of a body that ends now, if nothing was lost."""
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

    def _report_at_the_end(self, flaws: tuple[LocatedFlaw, ...], uncounted: int) -> None:
        note = self._note
        if self._is_other_content:
            # The verdict says that the lines are no fields, and no message lost them.
            note = self._record
            flaws = tuple(flaw._replace(loses_content=False) for flaw in flaws)
        self._report(note, flaws, uncounted)

    def _admit(self, source: EventSource) -> MessageStreamEvent | None:
        """Read a frame or a payload, record its violations, and fold its event.

        Returns the event, None if it is kept out of the message.
        """
        self._withheld += 1
        tolerated = self._log.count
        loses = False
        if isinstance(source, Payload):
            self._frameless += 1
            self._payload_number = self.event_number
            event, flaws = read_payload(source, self._limits)
        elif source.flaws or source.uncounted:
            (event, flaws), loses = self._read_flawed(source)
        else:
            event, flaws = read_frame(source, self._limits)
        for code, loses_content in flaws:
            loses |= self._note_of(source, code, loses_content)
        if event is None:
            return None
        decision = decide(event, self._fold)
        if decision.action is Action.ABORT:
            raise error_of(source, decision.sentence, decision.code)
        if decision.action is Action.APPLY:
            self._fold.check_limits(event, source)
        for code, loses_content in decision.flaws:
            loses |= self._note_of(source, code, loses_content)
        if decision.action is Action.IGNORE:
            if loses:
                self._fold.lose(event)
            return None
        # A block that begins exists only after `apply`. One that stops must know before.
        if loses and not isinstance(event, BEGINNINGS):
            self._fold.lose(event)
        event = self._fold.apply(event, decision.state, source.size)
        if loses and isinstance(event, BEGINNINGS):
            self._fold.lose(event)
        if self._uses_fast_path:
            is_clean = self._log.count == tolerated and not isinstance(source, Payload)
            self._expect_more(event, source.offset if is_clean else None)
        if isinstance(event, MessageStopEvent):
            self._verdict = Verdict.DAMAGED if self._fold.has_lost else Verdict.COMPLETE
        elif isinstance(event, ErrorEvent):
            self._verdict = Verdict.ERRORED
            self._error_event = event
        self._withheld -= 1
        return event

    def _expect_more(self, event: MessageStreamEvent, offset: int | None) -> None:
        """Set the template of the next delta, after an event that may have changed what the present
        one relies on.

        Args:
            event: what was folded.
            offset: where its frame begins, if there was no violation; else None.
        """
        template: DeltaTemplate | None = None
        if isinstance(event, ContentBlockDeltaEvent):
            if offset is None or not self._learn_attempts:
                return
            self._learn_attempts -= 1
            block = self._fold.find(event.index)
            if block is not None and not isinstance(block.start, UnknownBlock):
                template = learned_template(event, self._buffer.since(offset), self._limits)
        elif isinstance(event, PingEvent | UnknownEvent):
            return
        else:
            self._learn_attempts = MAX_LEARN_ATTEMPTS
            if isinstance(event, ContentBlockStartEvent) and self._fold.state is State.OPEN:
                template = expected_template(event)
        self._next_delta = None
        if template is not None:
            self._next_delta = template, self._fold.running(template.index, template.member)

    def _read_flawed(self, frame: Frame) -> tuple[Reading, bool]:
        """Read a frame with flaws, and record them.

        Returns what the frame stands for, and whether bytes that are not UTF-8 are a loss.
        """
        flaws = frame.flaws
        try:
            reading = read_frame(frame, self._limits)
            if frame.sent and loses_by_replacement(frame, reading[0], self._limits):
                # The data is decoded last, so its flaw is the last one.
                codes = [flaw.code for flaw in flaws]
                last = len(codes) - 1 - codes[::-1].index(ViolationCode.INVALID_UTF8)
                lost = flaws[last]._replace(loses_content=True)
                flaws = (*flaws[:last], lost, *flaws[last + 1 :])
        finally:
            # Before the violations of the event, and before an error about the frame.
            loses = self._report(self._note, flaws, frame.uncounted)
        return reading, loses

    def _report(
        self, note: Callable[[LocatedFlaw], bool], flaws: tuple[LocatedFlaw, ...], uncounted: int
    ) -> bool:
        """Record flaws of the framer with `note`. Return whether their frame lost content.

        A line whose field is unknown may belong to any event: then all inputs may be incomplete.
        """
        loses = False
        for flaw in flaws:
            if note(flaw):
                if flaw.code is ViolationCode.UNKNOWN_FIELD:
                    self._fold.lose(None)
                else:
                    loses = True
        # After the loop: if the first one is fatal, none was tolerated.
        self._log.count_more(uncounted)
        return loses

    def _note_of(self, source: EventSource, code: ViolationCode, loses_content: bool) -> bool:
        """Record a violation of a whole frame, as `_note` does.

        The excerpt is made only if it is kept.
        """
        if self._strict or self._log.keeps_one_more(loses_content=loses_content):
            return self._note(flaw_of(source, code, loses_content))
        self._log.count_more(1)
        return loses_content and self._verdict is Verdict.PENDING

    def _note(self, flaw: LocatedFlaw) -> bool:
        """Record a violation, or in strict mode raise it. Return whether content was lost by it."""
        if self._strict and flaw.code.is_fatal_if_strict:
            raise ProtocolError(
                flaw.code.meaning, code=flaw.code, byte_offset=flaw.offset, raw=flaw.excerpt
            )
        return self._record(flaw)

    def _record(self, flaw: LocatedFlaw) -> bool:
        if flaw.loses_content and self._verdict is not Verdict.PENDING:
            # What follows the end of the message is not part of it.
            flaw = flaw._replace(loses_content=False)
        self._log.add(flaw, self.event_number)
        return flaw.loses_content


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
