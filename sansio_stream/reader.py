"""The reader: received bytes and payloads in, events out.

Strategy: receiving changes nothing but the buffer. A frame is decoded, checked by
`transitions.decide` and folded into the message only when `next()` is called for its event. No
iterator has state of its own. This has five consequences:

* an event that is never taken costs only the memory of its bytes;
* the snapshot is exactly as of the last event taken;
* events that one iterator did not return are returned by the next one;
* an error is raised after all events before it;
* the machine can be pickled between any two events.

Folding on receipt instead would need a queue of events, and a snapshot for each of them.

`plain_path` reads one event by decoding its frame. This module has the loop over the events, and
the runs of the fast path. A run is a sequence of frames that match the same `DeltaTemplate`. For
such a frame the reader only calls `DeltaTemplate.read` and appends the text to a list. It skips the
steps of the plain path. There are three ways to find the frames of a run:

* `receive` compares a small chunk with the template. A chunk that matches is one whole frame, and
  the iterator for the chunk only returns its event.
* `events` compares a small text with the template. Such a text consists of several smaller chunks.
* `events` splits any other text into frames, `WINDOW` bytes at a time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

from .events import (
    ContentBlockDeltaEvent,
    ContentBlockStartEvent,
    ContentBlockStopEvent,
    MessageStreamEvent,
    PingEvent,
    UnknownEvent,
)
from .fast_path import (
    MAX_LEARN_ATTEMPTS,
    DeltaTemplate,
    PingTemplate,
    data_of,
    expected_template,
    learned_ping,
    learned_template,
)
from .frame_buffer import FRAME_ENDS
from .plain_path import PlainReader
from .transitions import State

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .errors import Limits, ViolationCode
    from .inbox import Inbox
    from .outcome import Outcome
    from .snapshot import Fold

NOTHING: Final[Iterator[Any]] = iter(())
"""An iterator that is always empty, for calls after which no event can be whole."""

WINDOW: Final = 4096
"""How many bytes of the text are split into frames at once. `split` copies all these frames before
the first one is read. If the iterator is dropped, the other copies are wasted.
"""

RUN_BYTES: Final = 65_536
"""The maximum size of a run, in bytes. Between two runs the pieces of a text are joined, to save
memory.
"""

FEW_BYTES: Final = 512
"""A chunk or a text of up to this many bytes is compared with the template before it is split.
Splitting takes 814 instructions for each frame. A comparison that fails takes 2,000.
"""


Run: TypeAlias = tuple[DeltaTemplate, list[str], int, int]
"""A run: its template, the list to which the text of each delta is appended, the offset in the body
up to which the run may go, and the offset up to which `FrameBuffer.add_frames` may be called.
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
        "_buffer",
        "_few",
        "_fold",
        "_frames_before_run",
        "_inbox",
        "_learn_attempts",
        "_limits",
        "_outcome",
        "_ping",
        "_plain",
        "_run",
        "_run_start",
        "_template",
        "_uses_fast_path",
        "_window",
    )

    def __init__(
        self, limits: Limits, inbox: Inbox, fold: Fold, outcome: Outcome, *, fast_path: bool
    ) -> None:
        self._limits = limits
        self._inbox = inbox
        self._buffer = inbox.buffer
        self._fold = fold
        self._outcome = outcome
        self._plain = PlainReader(limits, inbox, fold, outcome)
        self._uses_fast_path = fast_path
        # The templates of the next delta and of the next ping; None without one.
        self._template: DeltaTemplate | None = None
        ping = PingTemplate()
        is_allowed = len(ping.frame) <= limits.event_bytes and limits.depth > 0
        self._ping: PingTemplate | None = ping if is_allowed else None
        self._learn_attempts = MAX_LEARN_ATTEMPTS
        # The run of deltas that the template reads; None before it and after it.
        self._run: Run | None = None
        # Pings inside a run do not count as parts of it. So their bytes are added to the offset at
        # which the run began, and their number is added to the number of frames before the run.
        self._run_start = 0
        self._frames_before_run = 0
        self._few = min(FEW_BYTES, limits.event_bytes)
        self._window = min(WINDOW, limits.event_bytes)

    @property
    def events_taken(self) -> int:
        """The number of events that the iterators have returned."""
        return self._inbox.number - self._plain.without_event

    def receive(self, data: bytes) -> Iterator[MessageStreamEvent]:
        """Add bytes to an idle buffer without a partial frame, and return an iterator of events.

        In a run, the chunk is first compared with the template. A chunk that matches is one whole
        frame. So the buffer need not search it, and the iterator need not look for the next frame.
        This saves 1,700 instructions for each frame. The message changes at `next()`, as it does
        for any other chunk.
        """
        buffer = self._buffer
        run = self._run
        if run is not None and len(data) <= FEW_BYTES:
            template, pieces, _, limit = run
            end = buffer.end + len(data)
            if end <= limit:
                event = template.read(data, template.last_paddings, None)
                if event is not None:
                    buffer.add_frames(data, end)
                    return self._events_from(template, pieces, event, buffer.frames)
        return self.events() if buffer.feed(data) else NOTHING

    def _events_from(
        self,
        template: DeltaTemplate,
        pieces: list[str],
        event: ContentBlockDeltaEvent,
        frames: int,
    ) -> Iterator[MessageStreamEvent]:
        """Return an iterator like `events`, for a text that `receive` has read already.

        Args:
            template: the template of the run.
            pieces: the list to which the run appends.
            event: the event of the text.
            frames: the number of frames before this one.
        """
        buffer = self._buffer
        if buffer.frames == frames:  # no other iterator has read the frame
            if template.code is not None:
                self._add_violation(template.code, buffer.text)
            buffer.take_frame()
            delta: Any = event.delta
            pieces.append(delta._text_of_delta)  # noqa: SLF001  (the name is for the fast path)
            yield event
            if buffer.is_idle:
                return
        yield from self.events()

    def events(self) -> Iterator[MessageStreamEvent]:
        """Return an iterator that reads one event at each `next()`.

        During a `yield`, another iterator may read the next event. So after each `yield` this one
        checks the buffer before it relies on a local variable.
        """
        buffer = self._buffer
        event: MessageStreamEvent | None
        while True:
            run = self._run
            if run is None and self._template is not None and buffer.pos < len(buffer.text):
                run = self._begin_run(self._template)
            if run is not None:
                template, pieces, limit, _ = run
                text = buffer.text
                pos = buffer.pos
                if not pos and len(text) <= self._few and buffer.end <= limit:
                    # The text is one frame if several small chunks together make a frame.
                    event = template.read(text, template.last_paddings, pieces)
                    if event is not None:
                        if template.code is not None:
                            self._add_violation(template.code, text)
                        buffer.take_frame()
                        yield event
                        if buffer.is_idle:
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
                    code = template.code
                    for frame in frames:
                        event = template.read(frame, paddings, pieces)
                        if event is None:
                            event = self._ping_of(frame, end)
                            if event is None:
                                break
                        elif code is not None:
                            self._add_violation(code, frame)
                        pos += len(frame) + end_size
                        buffer.advance(pos)
                        yield event
                        number += 1
                        if buffer.frames != number:  # another iterator has gone on
                            break
                    else:
                        buffer.update_is_idle()
                        if buffer.is_idle or self._is_drained():
                            return
                        if frames:
                            continue
                elif self._restart_run(template):
                    continue
            event = self._next_event() if self._uses_fast_path else self._plain.next_event()
            if event is None:
                return
            yield event
            if buffer.is_idle or self._is_drained():
                return

    def _is_drained(self) -> bool:
        """Return whether nothing is left to read, and no error to raise again.

        `_next_event` would find out the same. But it takes longer, and it ends the run.
        """
        buffer = self._buffer
        is_consumed = buffer.pos == len(buffer.text) and self._outcome.fatal.error is None
        return is_consumed and self._inbox.mark_drained()

    def _add_violation(self, code: ViolationCode, frame: bytes) -> None:
        """Record the violation of a frame that a template matches, before it is consumed."""
        buffer = self._buffer
        number = self._inbox.number + 1
        self._outcome.log.add_unread((code, data_of(frame), buffer.base + buffer.pos, number))

    def _begin_run(self, template: DeltaTemplate) -> Run | None:
        """Begin a run of deltas that a template can read, if a frame begins at the next byte."""
        if not self._inbox.framer.at_frame_start:
            return None
        pieces, size = self._fold.begin_run(template.index, template.member)
        buffer = self._buffer
        self._run_start = buffer.base + buffer.pos
        self._frames_before_run = buffer.frames
        limit = self._run_start + min(size, RUN_BYTES)
        # What `add_frames` requires: a chunk of FEW_BYTES exceeds no limit, and the end of the run
        # is at least `event_bytes` before `total_bytes`.
        event_bytes, total = self._limits.event_bytes, self._limits.total_bytes
        is_far_from_total = total is None or limit + event_bytes <= total
        chunk_limit = limit if event_bytes >= FEW_BYTES and is_far_from_total else 0
        self._run = template, pieces, limit, chunk_limit
        return self._run

    def _restart_run(self, template: DeltaTemplate) -> bool:
        """Replace a run near its limit. Return whether a window fits into the new one."""
        self._end_run(template)
        run = self._begin_run(template)
        return run is not None and self._run_start + self._window <= run[2]

    def _end_run(self, template: DeltaTemplate) -> None:
        """End the run of a template: add its size to that of its block."""
        buffer = self._buffer
        frames = buffer.frames - self._frames_before_run
        size = buffer.base + buffer.pos - self._run_start - frames * template.uncounted
        self._fold.end_run(size)
        self._run = None

    def _next_event(self) -> MessageStreamEvent | None:
        """Return the next event, without the template for deltas; None if nothing is left.

        A ping or a stop that matches a template is not decoded. The plain path reads all others.

        Raises:
            ProtocolError: as `PlainReader.next_event` does.
        """
        buffer, ping, template = self._buffer, self._ping, self._template
        begins_frame = self._inbox.framer.at_frame_start
        if ping is not None and begins_frame and buffer.text.startswith(ping.frame, buffer.pos):
            self._note_ping(ping)
            buffer.advance(buffer.pos + len(ping.frame))
            buffer.update_is_idle()
            return ping.event
        if self._run is not None:
            self._end_run(self._run[0])
        event: MessageStreamEvent | None = None
        if begins_frame and template and buffer.text.startswith(template.stop, buffer.pos):
            event = self._stop_block(template)
        event = event or self._plain.next_event()
        if event is not None:
            self._update_template(event)
        return event

    def _stop_block(self, template: DeltaTemplate) -> MessageStreamEvent | None:
        """Return the event of the next frame, which begins with `stop`; None if it does not match.

        It breaks no rule, see `fast_path`. The plain path would take 45,000 instructions more.
        """
        buffer, pos = self._buffer, self._buffer.pos
        end = template.end_of_stop(buffer.text, pos, self._limits.event_bytes)
        if not end:
            return None
        buffer.advance(end)
        buffer.update_is_idle()
        return self._fold.apply(ContentBlockStopEvent(template.index), None, end - pos)

    def _ping_of(self, frame: bytes, end: bytes) -> PingEvent | None:
        """Return the event of a frame in a window if the frame is the ping of `_ping`, else None.

        The loop over the frames of a window continues after a ping. To split the rest of the window
        again would add 2 % to the cost of a stream with a ping after every 50 events.
        """
        ping = self._ping
        if ping is None or ping.frame != frame + end:
            return None
        self._note_ping(ping)
        return ping.event

    def _note_ping(self, ping: PingTemplate) -> None:
        """Record the violation of a ping that is consumed next, and leave it out of the run."""
        if ping.code is not None:
            self._add_violation(ping.code, ping.frame)
        self._run_start += len(ping.frame)
        self._frames_before_run += 1

    def _update_template(self, event: MessageStreamEvent) -> None:
        """Set or drop a template after an event that no run and no ping template has read."""
        offset, flaws = self._plain.last_offset, self._plain.last_flaws
        template: DeltaTemplate | None = None
        if isinstance(event, ContentBlockDeltaEvent | PingEvent):
            raw = b"" if offset is None else self._buffer.since(offset)
            if not raw.endswith(FRAME_ENDS):
                # A payload has no frame, the text may have only a part of the frame, or the frame
                # has violations besides `flaws`.
                return
            if isinstance(event, PingEvent):
                self._ping = learned_ping(event, raw, flaws)
                return
            if not self._learn_attempts:
                return
            self._learn_attempts -= 1
            start = self._fold.newest[event.index].start
            template = learned_template(event, raw, self._limits, flaws, start)
        elif isinstance(event, UnknownEvent):
            return
        else:
            self._learn_attempts = MAX_LEARN_ATTEMPTS
            if isinstance(event, ContentBlockStartEvent) and self._fold.state is State.OPEN:
                template = expected_template(event)
        self._template = template
