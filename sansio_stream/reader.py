"""The reader: received bytes and payloads in, events out.

Strategy: received bytes are only stored. A frame is decoded, checked by `transitions.decide` and
folded into the message only when `next()` is called for its event. No iterator has state of its
own. This has five consequences:

* an event that is never taken costs only the memory of its bytes;
* the snapshot is exactly as of the last event taken;
* events that one iterator did not return are returned by the next one;
* an error is raised after all events before it;
* the machine can be pickled between any two events.

Decoding on receipt instead would need a queue of events, and a snapshot for each of them.

The steps for a frame are, in this order: `Inbox.next` returns it, `reading.read_frame` decodes it,
`transitions.decide` decides what to do with its event, `Fold.check_limits` compares the sizes with
the limits, and `Fold.apply` folds the event. `Outcome.note` records the violations, both those of
decoding and those of the decision. On the fast path, `DeltaTemplate.read` and `GrowingBlock.append`
replace all these steps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

import attrs

from .errors import (
    LimitError,
    Limits,
    LocatedFlaw,
    ProtocolError,
    UnreadViolation,
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
    is_whole,
    locate_flaw,
    names_content,
    payloads_in,
    read_frame,
    read_payload,
    replacement_loses_content,
)
from .transitions import Action, State, decide

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .frames import Frame
    from .payloads import Flaws
    from .reading import EventSource
    from .snapshot import Fold

Result = TypeVar("Result")

NOTHING: Final[Iterator[Any]] = iter(())
"""An iterator that is always empty, for calls after which no event can be whole."""

WINDOW: Final = 4096
"""How many bytes of the text are split into frames at once. More would be wasted if the iterator is
dropped, and the frames of a longer text would be copied while none of them is read.
"""

RUN_BYTES: Final = 65_536
"""The size of a run, in bytes. Between two runs the pieces of a text are joined to save memory."""

FEW_BYTES: Final = 512
"""The size up to which a text is tried as one frame before it is split. Splitting takes 814
instructions for each frame.
"""


class EventReader:
    """Reads the events of one stream.

    Args:
        limits: the limits of the stream.
        inbox: the received bytes and payloads. The reader consumes them.
        fold: the message. The reader folds events into it.
        outcome: the violations and the verdict. The reader adds to them.
        fast_path: whether to use the fast path and the shortcut for pings.
    """

    __slots__ = (
        "_content_was_cut",
        "_few",
        "_fold",
        "_frames_before_run",
        "_inbox",
        "_learn_attempts",
        "_limits",
        "_outcome",
        "_run",
        "_run_start",
        "_takes_pings",
        "_template",
        "_uses_fast_path",
        "_window",
        "_without_event",
    )

    def __init__(
        self, limits: Limits, inbox: Inbox, fold: Fold, outcome: Outcome, *, fast_path: bool
    ) -> None:
        self._limits = limits
        self._inbox = inbox
        self._fold = fold
        self._outcome = outcome
        # The template of the next delta, or None.
        self._template: DeltaTemplate | None = None
        # The run of deltas that the template reads; None without a template, and while an event is
        # decoded. It has the template, the list to which the text of each delta is appended, the
        # offset in the body up to which the run goes, and the size up to which a text is tried as
        # one frame.
        self._run: tuple[DeltaTemplate, list[str], int, int] | None = None
        # The offset at which the run began, plus the bytes of the pings since; and the number of
        # frames before it, plus the pings since.
        self._run_start = 0
        self._frames_before_run = 0
        self._few = min(FEW_BYTES, limits.event_bytes)
        self._window = min(WINDOW, limits.event_bytes)
        self._uses_fast_path = fast_path
        self._learn_attempts = MAX_LEARN_ATTEMPTS
        self._takes_pings = fast_path and len(PING) <= limits.event_bytes and limits.depth > 0
        # The number of frames and payloads that gave no event.
        self._without_event = 0
        # Whether the last frame was cut and has the name of a content event.
        self._content_was_cut = False

    @property
    def events_taken(self) -> int:
        """The number of events that the iterators have returned."""
        return self._inbox.number - self._without_event

    def events(self) -> Iterator[MessageStreamEvent]:
        """Return an iterator that reads one event at each `next()`.

        It keeps no state in local variables between two events, because another iterator may read
        the next one.
        """
        framer, buffer = self._inbox.framer, self._inbox.buffer
        while True:
            run = self._run
            if run is not None and framer.at_frame_start:
                template, pieces, limit, few = run
                text = buffer.text
                pos = buffer.pos
                size = len(text)
                if not pos and size <= few and buffer.base + size <= limit:
                    # The usual case: the chunk is one frame.
                    found = template.read(text, template.last_paddings)
                    if found is not None:
                        if template.code is not None:
                            self._count_violation(template, text)
                        buffer.advance(size)
                        event, piece = found
                        pieces.append(piece)
                        yield event
                        if buffer.partial_limit:  # `advance` sets it when nothing is left to read
                            return
                        continue
                # The limits are checked for a window, and not for each frame.
                window = self._window
                if buffer.base + pos + window <= limit:
                    end = template.end
                    frames = text[pos : pos + window].split(end)
                    frames.pop()  # a part of a frame, or nothing
                    number = buffer.frames
                    end_size = len(end)
                    paddings = template.paddings
                    for frame in frames:
                        found = template.read(frame, paddings)
                        if found is None:
                            break
                        if template.code is not None:
                            self._count_violation(template, frame)
                        pos += len(frame) + end_size
                        buffer.advance(pos)
                        event, piece = found
                        pieces.append(piece)
                        yield event
                        number += 1
                        if buffer.frames != number:  # another iterator has gone on
                            break
                    else:
                        if buffer.partial_limit:
                            return
                        if frames:
                            continue
                elif self._restart_run():
                    continue
            other = self._next_event()
            if other is None:
                return
            yield other

    def _count_violation(self, template: DeltaTemplate, frame: bytes) -> None:
        """Record the violation of a frame that the template matches, before it is consumed."""
        assert template.code is not None, "the template has a violation"
        buffer = self._inbox.buffer
        data = template.data_of(frame)
        violation = UnreadViolation(template.code, data, buffer.offset, self._inbox.number + 1)
        self._outcome.log.add_unread(violation)

    def _begin_run(self) -> None:
        """Begin a run of deltas that the template can read, if there is a template."""
        template = self._template
        if template is not None:
            pieces, size = self._fold.begin_run(template.index, template.member)
            buffer = self._inbox.buffer
            self._run_start = buffer.offset
            self._frames_before_run = buffer.frames
            limit = self._run_start + min(size, RUN_BYTES)
            self._run = template, pieces, limit, self._few

    def _restart_run(self) -> bool:
        """Begin a new run at the limit of one. Return whether a window fits into the new one."""
        self._end_run()
        self._begin_run()
        return self._run is not None and self._run_start + self._window <= self._run[2]

    def _end_run(self) -> None:
        """End the run, if there is one: add its size to that of its block."""
        if self._run is not None:
            template, *_ = self._run
            buffer = self._inbox.buffer
            frames = buffer.frames - self._frames_before_run
            self._fold.end_run(buffer.offset - self._run_start - frames * template.uncounted)
            self._run = None

    def _next_event(self) -> MessageStreamEvent | None:
        """Return the next event, or None if nothing is left.

        Raises:
            ProtocolError: a fatal error. It is latched: later calls raise a copy.
        """
        buffer = self._inbox.buffer
        if (
            self._takes_pings
            and buffer.text.startswith(PING, buffer.pos)
            and self._inbox.framer.at_frame_start
        ):
            # A ping as the API writes it. It is legal in every state, and changes nothing.
            buffer.advance(buffer.pos + len(PING))
            self._run_start += len(PING)  # a ping is not part of the run
            self._frames_before_run += 1
            return PingEvent()
        if self._inbox.mark_drained():
            return None
        self._outcome.fatal.raise_if_set()
        self._end_run()
        try:
            event = self._next_decoded()
        except ProtocolError as error:
            self._fail(error)
            # The latched error is never raised: its traceback would keep the caller's frames alive.
            raise copy_for_raise(error) from None
        self._begin_run()
        return event

    def _fail(self, error: ProtocolError) -> None:
        error.annotate(event_number=error.event_number or self._inbox.number)
        self._inbox.discard()
        self._template = None
        self._fold.fail()
        self._outcome.break_off()
        message, has_content = self._fold.snapshot(), self._fold.has_content
        self._outcome.fatal.set(self._outcome.in_context(error, message, has_content=has_content))

    def _next_decoded(self) -> MessageStreamEvent | None:
        """Return the next event that is not ignored, or None if nothing is left."""
        event: MessageStreamEvent | None = None
        while event is None:
            source = self._reporting_flaws(self._inbox.next)
            if source is None:
                return None
            if not isinstance(source, EofStage):
                event = self._decode_and_fold(source)
            elif source is EofStage.PARTIAL_FRAME:
                event = self._take_partial_frame()
            else:
                self._conclude()
        return event

    def _reporting_flaws(self, read: Callable[[], Result]) -> Result:
        """Return what `read` returns. If it raises LimitError, report the earlier flaws first."""
        try:
            return read()
        except LimitError as error:
            self._report(*self._inbox.framer.take_flaws())
            error.annotate(event_number=self._inbox.number + 1)
            raise

    def _take_partial_frame(self) -> MessageStreamEvent | None:
        """Read a last frame without its blank line. If its data was cut, it gives no event."""
        frame = self._reporting_flaws(self._inbox.finish)
        if frame is None:
            return None
        if is_whole(frame, self._limits):
            end = LocatedFlaw(ViolationCode.UNTERMINATED_FRAME, excerpt(frame.data), frame.offset)
            return self._decode_and_fold(attrs.evolve(frame, flaws=(*frame.flaws, end)))
        self._without_event += 1
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
        self._without_event += 1  # until the event is returned, because anything below may raise
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
                self._fold.record_loss(event)
            return None
        # A block that begins exists only after `apply`. A block that stops must be marked before.
        if loses and not isinstance(event, STARTS_BLOCKS):
            self._fold.record_loss(event)
        event = self._fold.apply(event, decision.state, source.size)
        if loses and isinstance(event, STARTS_BLOCKS):
            self._fold.record_loss(event)
        if self._uses_fast_path:
            is_clean = self._outcome.log.count == tolerated + len(flaws)
            offset = source.offset if is_clean else None
            self._update_template(event, offset, flaws)
        if isinstance(event, MessageStopEvent):
            self._outcome.stop(has_lost=self._fold.has_lost)
        elif isinstance(event, ErrorEvent):
            self._outcome.server_error(event)
        self._without_event -= 1
        return event

    def _update_template(self, event: MessageStreamEvent, offset: int | None, flaws: Flaws) -> None:
        """Set or drop the template of the next delta, after an event that was decoded and folded.

        Args:
            event: the event.
            offset: the offset of its frame; None for a payload, or if there were violations besides
                its flaws.
            flaws: the flaws with which the event was read.
        """
        template: DeltaTemplate | None = None
        if isinstance(event, ContentBlockDeltaEvent):
            if offset is None or not self._learn_attempts:
                return
            self._learn_attempts -= 1
            block = self._fold.find(event.index)
            if block is not None and not isinstance(block.start, UnknownBlock):
                raw = self._inbox.buffer.since(offset)
                template = learned_template(event, raw, self._limits, flaws)
        elif isinstance(event, PingEvent | UnknownEvent):
            return
        else:
            self._learn_attempts = MAX_LEARN_ATTEMPTS
            if isinstance(event, ContentBlockStartEvent) and self._fold.state is State.OPEN:
                template = expected_template(event)
        self._template = template

    def _read_flawed(self, frame: Frame) -> tuple[Reading, bool]:
        """Read a frame that has flaws, and record them.

        Returns:
            The reading of the frame, and whether content was lost by one of the flaws.
        """
        flaws = frame.flaws
        try:
            reading = read_frame(frame, self._limits)
            if frame.sent and replacement_loses_content(frame, reading[0], self._limits):
                # The framer decodes the data last, so the flaw of the data is the last of its code.
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


STARTS_BLOCKS: Final = (MessageStartEvent, ContentBlockStartEvent)
"""The events that add blocks to the message."""
