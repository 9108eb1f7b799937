"""The loop: received bytes and payloads in, events out, each read, judged and folded when it is
asked for.

Strategy: one rule gives laziness, exact snapshots, leftovers, the place of an error, and pickling
in mid-stream together. Bytes are only buffered when they are received. A frame is read, judged and
folded when `next()` asks for its event, and no iterator holds state of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

import attrs

from .errors import (
    LimitError,
    Limits,
    LocatedFlaw,
    ProtocolError,
    Verdict,
    ViolationCode,
    copy_for_raise,
    excerpt,
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
from .inbox import EofStage, Inbox
from .message import UnknownBlock
from .outcome import Outcome, verdict_of_end
from .reading import (
    Payload,
    Reading,
    error_of,
    flaw_of,
    is_whole,
    loses_by_replacement,
    names_content,
    payloads_in,
    read_frame,
    read_payload,
)
from .transitions import Action, State, decide

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .blocks import GrowingBlock
    from .frames import Frame
    from .reading import EventSource
    from .snapshot import Fold

Given = TypeVar("Given")

NOTHING: Final[Iterator[Any]] = iter(())
"""What is returned if nothing can be whole: an iterator that is always empty."""

MANY_FRAGMENTS: Final = 256
"""How many pieces of a text are kept before they are joined. In pieces of 12 characters a character
takes 5.8 bytes, and 1.1 in one piece.
"""


class EventReader:
    """Reads the events of one stream.

    Args:
        limits: what a peer may make us hold.
        inbox: what was received.
        fold: the message. The reader folds events into it.
        outcome: the violations and the verdict. The reader reports to it.
        fast_path: whether frames may be recognised by their bytes.
    """

    __slots__ = (
        "_content_was_cut",
        "_fold",
        "_inbox",
        "_learn_attempts",
        "_limits",
        "_next_delta",
        "_outcome",
        "_takes_pings",
        "_uses_fast_path",
        "_withheld",
    )

    def __init__(
        self, limits: Limits, inbox: Inbox, fold: Fold, outcome: Outcome, *, fast_path: bool
    ) -> None:
        self._limits = limits
        self._inbox = inbox
        self._fold = fold
        self._outcome = outcome
        # The next delta by its bytes, and the block that it grows; None for none.
        self._next_delta: tuple[DeltaTemplate, GrowingBlock] | None = None
        self._uses_fast_path = fast_path
        self._learn_attempts = MAX_LEARN_ATTEMPTS
        self._takes_pings = fast_path and len(PING) <= limits.event_bytes and limits.depth > 0
        # How many frames and payloads gave no event.
        self._withheld = 0
        # Whether the last frame was cut and belongs to a content event.
        self._content_was_cut = False

    @property
    def events_taken(self) -> int:
        """How many events iterators have returned."""
        return self._inbox.number - self._withheld

    # Taking: one event at a time, each judged, recorded and folded before it is returned.

    def events(self) -> Iterator[MessageStreamEvent]:
        """Return the events of what was received, each read when it is asked for.

        Nothing is kept in local variables from one event to the next: another iterator may go on.
        """
        framer, buffer = self._inbox.framer, self._inbox.buffer
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
        buffer = self._inbox.buffer
        if (
            self._takes_pings
            and buffer.text.startswith(PING, buffer.pos)
            and self._inbox.framer.at_frame_start
        ):
            # As the API writes it. It is legal everywhere, and changes nothing.
            buffer.advance(buffer.pos + len(PING))
            return PingEvent()
        if self._inbox.is_drained():
            return None
        self._outcome.raise_if_failed()
        try:
            return self._next_admitted()
        except ProtocolError as error:
            self._fail(error)
            # What is latched is never raised itself: it would keep the frames of the caller.
            raise copy_for_raise(error) from None

    def _fail(self, error: ProtocolError) -> None:
        error.annotate(event_number=error.event_number or self._inbox.number)
        self._inbox.discard()
        self._next_delta = None
        self._fold.fail()
        self._outcome.break_off()
        message, has_content = self._fold.snapshot(), self._fold.has_content
        self._outcome.latch(self._outcome.in_context(error, message, has_content=has_content))

    def _next_admitted(self) -> MessageStreamEvent | None:
        """Return the next event that is not kept out of the message, or None if nothing is left."""
        event: MessageStreamEvent | None = None
        while event is None:
            source = self._framed(self._inbox.next)
            if source is None:
                return None
            if not isinstance(source, EofStage):
                event = self._admit(source)
            elif source is EofStage.PARTIAL_FRAME:
                event = self._take_partial_frame()
            else:
                self._conclude()
        return event

    def _framed(self, give: Callable[[], Given]) -> Given:
        """Return what `give` returns. Report the flaws that wait if it exceeds a limit."""
        try:
            return give()
        except LimitError as error:
            self._report(*self._inbox.framer.take_flaws())
            error.annotate(event_number=self._inbox.number + 1)
            raise

    def _take_partial_frame(self) -> MessageStreamEvent | None:
        """Read a last frame without its blank line. If it is whole it counts, else it was cut."""
        frame = self._framed(self._inbox.finish)
        if frame is None:
            return None
        if is_whole(frame, self._limits):
            end = LocatedFlaw(ViolationCode.UNTERMINATED_FRAME, excerpt(frame.data), frame.offset)
            return self._admit(attrs.evolve(frame, flaws=(*frame.flaws, end)))
        self._withheld += 1
        self._report_at_the_end(frame.flaws, frame.uncounted)
        self._content_was_cut = names_content(frame)
        # Never fatal, even if strict: the verdict says that the frame was cut.
        codes = [ViolationCode.CUT_FRAME]
        if len(payloads_in(frame.data, self._limits)) > 1:
            codes.insert(0, ViolationCode.MISSING_BLANK_LINE)
        for code in codes:
            self._outcome.record(flaw_of(frame, code), self._inbox.number)
        return None

    def _conclude(self) -> None:
        """End the stream: report the remaining flaws, then set the verdict."""
        self._report_at_the_end(*self._inbox.framer.take_flaws())
        is_whole = self._fold.is_finished and not self._content_was_cut
        verdict = verdict_of_end(self._fold.state, is_whole=is_whole)
        if self._is_other_content:
            verdict = Verdict.NOT_AN_EVENT_STREAM
        if verdict is Verdict.UNTERMINATED and self._outcome.verdict is Verdict.PENDING:
            end = self._inbox.bytes_received or None
            flaw = LocatedFlaw(ViolationCode.MISSING_MESSAGE_STOP, "", end)
            self._outcome.record(flaw, self._inbox.number)
        self._outcome.end(verdict, has_lost=self._fold.has_lost)

    @property
    def _is_other_content(self) -> bool:
        return self._fold.state is State.WAITING and self._inbox.framer.is_other_content

    def _report_at_the_end(self, flaws: tuple[LocatedFlaw, ...], uncounted: int) -> None:
        if self._is_other_content:
            # Not even fatal in strict mode: the verdict says that the lines are not fields, and no
            # message lost them.
            for flaw in flaws:
                self._outcome.record(flaw._replace(loses_content=False), self._inbox.number)
            self._outcome.log.count_more(uncounted)
        else:
            self._report(flaws, uncounted)

    def _admit(self, source: EventSource) -> MessageStreamEvent | None:
        """Read a frame or a payload, record its violations, and fold its event.

        Returns the event, None if it is kept out of the message.
        """
        self._withheld += 1
        tolerated = self._outcome.log.count
        loses = False
        if isinstance(source, Payload):
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
            is_clean = self._outcome.log.count == tolerated and not isinstance(source, Payload)
            self._expect_more(event, source.offset if is_clean else None)
        if isinstance(event, MessageStopEvent):
            self._outcome.stop(has_lost=self._fold.has_lost)
        elif isinstance(event, ErrorEvent):
            self._outcome.server_error(event)
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
                template = learned_template(event, self._inbox.buffer.since(offset), self._limits)
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
            loses = self._report(flaws, frame.uncounted)
        return reading, loses

    def _report(self, flaws: tuple[LocatedFlaw, ...], uncounted: int) -> bool:
        """Record flaws of the framer. Return whether their frame lost content.

        A line whose field is unknown may belong to any event: then all inputs may be incomplete.
        """
        loses = False
        for flaw in flaws:
            if self._outcome.note(flaw, self._inbox.number):
                if flaw.code is ViolationCode.UNKNOWN_FIELD:
                    self._fold.lose(None)
                else:
                    loses = True
        # After the loop: if the first one is fatal, none was tolerated.
        self._outcome.log.count_more(uncounted)
        return loses

    def _note_of(self, source: EventSource, code: ViolationCode, loses_content: bool) -> bool:
        """Record a violation of a whole frame. Return whether content was lost by it."""
        # The excerpt is made only if it is kept.
        if self._outcome.needs_excerpt(loses_content=loses_content):
            return self._outcome.note(flaw_of(source, code, loses_content), self._inbox.number)
        return self._outcome.count(loses_content=loses_content)


BEGINNINGS: Final = (MessageStartEvent, ContentBlockStartEvent)
"""The events with which blocks begin."""
