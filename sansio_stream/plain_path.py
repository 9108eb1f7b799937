"""The plain path: one frame or payload in, its event out. It defines what every frame means.

The steps for a frame are, in this order: `Inbox.next` returns it, `reading.read_frame` decodes it,
`transitions.decide` decides what to do with its event, `Fold.check_limits` compares the sizes with
the limits, and `Fold.apply` folds the event. The `Outcome` records the violations: those found by
decoding, and those that the decision returns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

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
    ContentBlockStartEvent,
    ErrorEvent,
    MessageStartEvent,
    MessageStopEvent,
    MessageStreamEvent,
)
from .inbox import EofStage, Inbox
from .outcome import Outcome, verdict_of_end
from .reading import (
    Payload,
    Reading,
    error_of,
    is_whole,
    locate_flaw,
    names_content,
    payloads_in,
    read_frame,
    read_payload,
    replacement_loses_content,
)
from .transitions import APPLY, Action, State, decide

if TYPE_CHECKING:
    from .frames import Frame
    from .payloads import Flaws
    from .reading import EventSource
    from .snapshot import Fold


class PlainReader:
    """Reads the events of one stream, one at a time.

    Attributes:
        without_event: the number of frames and payloads that gave no event.
        last_flaws: the flaws with which the last event was read.
        last_offset: the offset of the last event's frame in the body. None if the event came from
            a payload, or if the frame had violations besides `last_flaws`.

    Args:
        limits: the limits of the stream.
        inbox: the received bytes and payloads. The reader consumes them.
        fold: the message. The reader folds events into it.
        outcome: the violations and the verdict. The reader adds to them.
    """

    __slots__ = (
        "_content_was_cut",
        "_fold",
        "_inbox",
        "_limits",
        "_outcome",
        "last_flaws",
        "last_offset",
        "without_event",
    )

    def __init__(self, limits: Limits, inbox: Inbox, fold: Fold, outcome: Outcome) -> None:
        self._limits = limits
        self._inbox = inbox
        self._fold = fold
        self._outcome = outcome
        self.without_event = 0
        self.last_flaws: Flaws = ()
        self.last_offset: int | None = None
        # Whether the last frame was cut and has the name of a content event.
        self._content_was_cut = False

    def next_event(self) -> MessageStreamEvent | None:
        """Return the next event that is not ignored, or None if nothing is left.

        Raises:
            ProtocolError: a fatal error. `Outcome.fatal` keeps it, and later calls raise a copy.
        """
        if self._outcome.fatal.error is not None:
            self._outcome.fatal.raise_if_set()
        buffer = self._inbox.buffer
        if buffer.pos == len(buffer.text) and self._inbox.mark_drained():
            return None
        event: MessageStreamEvent | None = None
        try:
            while event is None:
                try:
                    source = self._inbox.next()
                except LimitError as error:
                    self._report_before(error)
                    raise
                if source is None:
                    break
                if not isinstance(source, EofStage):
                    event = self._decode_and_fold(source)
                elif source is EofStage.PARTIAL_FRAME:
                    event = self._take_partial_frame()
                else:
                    self._conclude()
        except ProtocolError as error:
            self._fail(error)
            # The kept error is never raised: its traceback would keep the caller's frames alive.
            raise copy_for_raise(error) from None
        return event

    def _fail(self, error: ProtocolError) -> None:
        error.annotate(event_number=error.event_number or self._inbox.number)
        self._inbox.discard()
        self._fold.fail()
        self._outcome.break_off()
        message, has_content = self._fold.snapshot(), self._fold.has_content
        self._outcome.fatal.set(self._outcome.in_context(error, message, has_content=has_content))

    def _report_before(self, error: LimitError) -> None:
        """Report the flaws that the framer had found when it raised an error."""
        self._report(*self._inbox.framer.take_flaws())
        error.annotate(event_number=self._inbox.number + 1)

    def _take_partial_frame(self) -> MessageStreamEvent | None:
        """Read a last frame without its blank line. If its data was cut, it gives no event."""
        try:
            frame = self._inbox.finish()
        except LimitError as error:
            self._report_before(error)
            raise
        if frame is None:
            return None
        if is_whole(frame, self._limits):
            end = LocatedFlaw(ViolationCode.UNTERMINATED_FRAME, excerpt(frame.data), frame.offset)
            return self._decode_and_fold(attrs.evolve(frame, flaws=(*frame.flaws, end)))
        self.without_event += 1
        self._report_at_the_end(frame.flaws, frame.uncounted)
        self._content_was_cut = names_content(frame)
        # Not fatal, even in strict mode: the verdict already shows that the body was cut.
        codes = [ViolationCode.CUT_FRAME]
        if len(payloads_in(frame.data, self._limits)) > 1:
            codes.insert(0, ViolationCode.MISSING_BLANK_LINE)
        for code in codes:
            self._outcome.record(locate_flaw(frame, code), self._inbox.number)
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
            # Not fatal, even in strict mode: the verdict already shows that the body is not an
            # event stream. No message began, so no content was lost.
            for flaw in flaws:
                self._outcome.record(flaw._replace(loses_content=False), self._inbox.number)
            self._outcome.log.count_more(uncounted)
        else:
            self._report(flaws, uncounted)

    def _decode_and_fold(self, source: EventSource) -> MessageStreamEvent | None:
        """Read a frame or a payload, record its violations, and fold its event.

        Returns:
            The event; None if there is none or if it is ignored.
        """
        self.without_event += 1  # until the event is returned, because anything below may raise
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
        is_applied = decision.action is APPLY
        if is_applied:
            self._fold.check_limits(event, source)
        elif decision.action is Action.ABORT:
            raise error_of(source, decision.sentence, decision.code)
        for code, loses_content in decision.flaws:
            loses |= self._note_of(source, code, loses_content)
        if not is_applied:
            if loses:
                self._fold.record_loss(event)
            return None
        # `record_loss` marks the inputs of blocks. A block that begins exists only after `apply`. A
        # block that stops must be marked before `apply`.
        if loses and not isinstance(event, STARTS_BLOCKS):
            self._fold.record_loss(event)
        event = self._fold.apply(event, decision.state, source.size)
        if loses and isinstance(event, STARTS_BLOCKS):
            self._fold.record_loss(event)
        self.last_flaws = flaws
        is_clean = self._outcome.log.count == tolerated + len(flaws)
        self.last_offset = source.offset if is_clean else None
        if type(event) in SETS_VERDICT:
            if isinstance(event, ErrorEvent):
                self._outcome.server_error(event)
            else:
                self._outcome.stop(has_lost=self._fold.has_lost)
        self.without_event -= 1
        return event

    def _read_flawed(self, frame: Frame) -> tuple[Reading, bool]:
        """Read a frame that has flaws, and record them.

        Returns:
            The reading of the frame, and whether content was lost by one of the flaws.
        """
        flaws = frame.flaws
        try:
            reading = read_frame(frame, self._limits)
            if frame.sent and replacement_loses_content(frame, reading[0], self._limits):
                # The framer decodes the data last, so the last INVALID_UTF8 is that of the data.
                codes = [flaw.code for flaw in flaws]
                last = len(codes) - 1 - codes[::-1].index(ViolationCode.INVALID_UTF8)
                lost = flaws[last]._replace(loses_content=True)
                flaws = (*flaws[:last], lost, *flaws[last + 1 :])
        finally:
            # The flaws come before the violations of the event, and before an error of the reading.
            loses = self._report(flaws, frame.uncounted)
        return reading, loses

    def _report(self, flaws: tuple[LocatedFlaw, ...], uncounted: int) -> bool:
        """Record flaws of the framer. Return whether their frame lost content.

        A line with an unknown field is reported with the next frame but may belong to any event.
        If it loses content, every open input may be incomplete.
        """
        loses = False
        for flaw in flaws:
            if self._outcome.note(flaw, self._inbox.number):
                if flaw.code is ViolationCode.UNKNOWN_FIELD:
                    self._fold.record_loss(None)
                else:
                    loses = True
        # After the loop: if the first flaw is fatal, the others must not be counted as tolerated.
        self._outcome.log.count_more(uncounted)
        return loses

    def _note_of(self, source: EventSource, code: ViolationCode, loses_content: bool) -> bool:
        """Record a violation of a frame or payload. Return whether content was lost by it."""
        # `locate_flaw` makes an excerpt, which would be wasted if the violation is only counted.
        if self._outcome.needs_excerpt(loses_content=loses_content):
            return self._outcome.note(locate_flaw(source, code, loses_content), self._inbox.number)
        return self._outcome.count(loses_content=loses_content)


SETS_VERDICT: Final = frozenset({MessageStopEvent, ErrorEvent})
"""The events that set the verdict."""

STARTS_BLOCKS: Final = (MessageStartEvent, ContentBlockStartEvent)
"""The events that add blocks to the message."""
