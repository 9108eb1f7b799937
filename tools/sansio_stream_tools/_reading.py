"""The chunks of a body in, the result of each of its frames out. This module prints nothing.

`Reading` reads a body. `Replay` reads a capture at its recorded speed; only this uses a clock.
"""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING, Final

import attrs

from sansio_stream.errors import APIError, APIStatusError, ProtocolError, Verdict, Violation
from sansio_stream.events import MessageStreamEvent
from sansio_stream.machine import StreamMachine
from sansio_stream.observer import Observer
from sansio_stream.transitions import State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from sansio_stream.capture import Capture, CaptureEnd, CaptureHeader, Chunk

__all__ = ["FrameResult", "Pace", "Reading", "Replay"]

LONGEST_PAUSE: Final = 60.0
"""The longest pause in seconds. A file may contain a pause of years, and the command would then
seem to hang.
"""


class Pace:
    """Waits as long as the recorded times of a capture say.

    The clock starts with the first wait, so the time that it takes to parse the file does not
    shorten the first pause. A pause of more than a minute is cut to a minute, and later pauses keep
    their recorded length.

    Args:
        speed: the speed as a factor of the recorded speed. 2 is twice as fast.
        clock: returns a monotonic time in seconds.
        sleep: waits for a number of seconds.
        notify: is called with a sentence before a pause that is cut.
    """

    def __init__(
        self,
        speed: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        notify: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._speed = speed
        self._clock = clock
        self._sleep = sleep
        self._notify = notify
        self._start: float | None = None

    def wait_until(self, at: float | None) -> None:
        """Wait until the replay reaches the recorded time `at`, in seconds.

        Returns at once if `at` is None, or if that time has passed.
        """
        if at is None:
            return
        now = self._clock()
        if self._start is None:
            self._start = now
        wait = self._start + at / self._speed - now
        if wait > LONGEST_PAUSE:
            self._notify(f"a pause of {wait:,.0f} s is cut to {LONGEST_PAUSE:.0f} s")
            self._start -= wait - LONGEST_PAUSE
            wait = LONGEST_PAUSE
        if wait > 0:
            self._sleep(wait)


@attrs.frozen
class FrameResult:
    """The result of one frame.

    Attributes:
        number: the number of the frame, as the machine counts. None for lines outside of frames.
        offset: the byte offset in the body at which the frame begins, or None if it is unknown.
        chunk: the number of the chunk that completed the frame. The first chunk is 1.
        at: the recorded time of this chunk in seconds, or None if the file contains no times.
        before: the state of the machine before the frame.
        after: the state of the machine after the frame.
        event: the event, or None if the frame gave none.
        violations: the tolerated violations in the frame.
        error: the fatal error in the frame, or None.
    """

    number: int | None
    offset: int | None
    chunk: int
    at: float | None
    before: State
    after: State
    event: MessageStreamEvent | None
    violations: tuple[Violation, ...]
    error: ProtocolError | None = None


class LostConnection(Exception):  # noqa: N818 - the name is never printed
    """The error that ended a recorded connection. Its `repr` is the recorded one."""

    def __repr__(self) -> str:
        return str(self)


class Reading:
    """One body and the machine that reads it. Feed each chunk, then call `finish`.

    Args:
        header: the header of the capture.
        body: the whole body. It may grow instead: append each chunk to it before feeding the chunk.
        strict: whether nearly every violation is fatal, as for the machine.

    Attributes:
        machine: the machine, in its current state.
        chunks_fed: the number of chunks so far.
        broken: the fatal error, or None. `machine.error` may be an earlier error of the server.
    """

    def __init__(
        self, header: CaptureHeader, body: bytes | bytearray, *, strict: bool = False
    ) -> None:
        self.header = header
        self.body = body
        self.machine = StreamMachine(strict=strict)
        self.chunks_fed = 0
        self.broken: ProtocolError | None = None
        self._end: CaptureEnd | None = None
        self._strict = strict
        self._observer: Observer | None = None
        self._at: float | None = None
        self._violations_seen = 0
        self._last_number = 0

    def observe(self) -> Observer:
        """Return an observer of all chunks that are fed from now on, and of the end.

        Like the machine, it reads the body as a stream, whatever the status and the headers say.
        """
        self._observer = Observer(strict=self._strict)
        return self._observer

    # Feeding. The caller must exhaust the returned iterator before the next call.

    def feed(self, chunk: Chunk) -> Iterator[FrameResult]:
        """Return the result of each frame that the chunk completes; after a fatal error, nothing.

        While the caller looks at a result, `machine` is in the state after this frame.
        """
        if self.broken is not None:
            return iter(())
        self.chunks_fed += 1
        self._at = chunk.at
        if self._observer is not None:
            self._observer.chunk(chunk.data, chunk.at)
        return self._take(self.machine.receive_data(chunk.data))

    def finish(self, end: CaptureEnd | None) -> Iterator[FrameResult]:
        """Process the end of the body, and return the results of the remaining frames.

        Args:
            end: the recorded end, or None if the recording has none because it was cut.
        """
        self._end = end
        error = None if self.lost is None else LostConnection(self.lost)
        if self._observer is not None:
            self._observer.end(error, None if end is None else end.at)
        if self.broken is not None:
            return iter(())
        return self._take(self.machine.connection_lost(error))

    def _take(self, events: Iterator[MessageStreamEvent]) -> Iterator[FrameResult]:
        machine = self.machine
        while True:
            before = machine.state
            event: MessageStreamEvent | None = None
            error: ProtocolError | None = None
            try:
                event = next(events, None)
            except ProtocolError as caught:
                self.broken = error = caught
            own = self._own_frame(event, error)
            violations = self._new_violations()
            for number, kept_out in itertools.groupby(violations, lambda each: each.event_number):
                if own is None or number != own.number:
                    yield self._without_event(number, tuple(kept_out), before)
            if own is None:
                return
            stray = own.number <= self._last_number
            self._last_number = own.number
            yield FrameResult(
                None if stray else own.number,
                own.offset,
                self.chunks_fed,
                self._at,
                before,
                machine.state,
                event,
                tuple(each for each in violations if each.event_number == own.number),
                error,
            )

    def _own_frame(
        self, event: MessageStreamEvent | None, error: ProtocolError | None
    ) -> Place | None:
        if error is not None:
            return Place(error.event_number, error.byte_offset)
        if event is not None:
            return Place(self.machine.event_number, self.machine.byte_offset)
        return None

    def _new_violations(self) -> tuple[Violation, ...]:
        # `machine.violations` copies a list, so it is read only if the count has changed.
        if self.machine.violation_count == self._violations_seen:
            return ()
        kept = self.machine.violations
        new = kept[self._violations_seen :]
        self._violations_seen = self.machine.violation_count
        return new

    def _without_event(
        self, number: int, violations: tuple[Violation, ...], state: State
    ) -> FrameResult:
        # The frame with this number already gave a result. So these violations are in lines that
        # follow it and belong to no frame.
        stray = number <= self._last_number
        self._last_number = max(self._last_number, number)
        return FrameResult(
            None if stray else number,
            violations[-1].byte_offset,
            self.chunks_fed,
            self._at,
            state,
            state,
            None,
            violations,
        )

    # The outcome, after `finish`.

    @property
    def lost(self) -> str | None:
        """The error that ended the connection, or None if the body ended in the regular way."""
        if self._end is None:
            return "the recording file is cut off here"
        return self._end.error

    @property
    def failure(self) -> str | None:
        """The reason why the stream gave no usable message, or None if it gave one."""
        machine = self.machine
        try:
            machine.final_message()
        except APIStatusError as error:
            return f"{machine.verdict.value}: {error.type or 'error'}: {error}"
        except ProtocolError as error:
            return f"{error} ({located(error)})"
        except APIError as error:
            return str(error)
        if self._strict and self.broken is not None:
            return f"{self.broken} ({located(self.broken)})"
        if self._strict and machine.violation_count:
            return machine.violations[0].message
        return None

    @property
    def remarks(self) -> tuple[str, ...]:
        """Sentences about the irregular end of a stream that nevertheless gave a message."""
        sentences: list[str] = []
        if self.machine.verdict is Verdict.UNTERMINATED:
            sentences.append(
                "message_stop is missing, but a stop_reason was received, and no block is open"
                " except one that max_tokens cut"
            )
        if self.broken is not None:
            sentences.append(f"after the message: {self.broken} ({located(self.broken)})")
        if self.lost is not None:
            sentences.append(f"the connection was lost: {self.lost}")
        return tuple(sentences)


class Replay(Reading):
    """Reads a capture at its recorded speed.

    Args:
        capture: the parsed file.
        chunks: its body in chunks: the recorded ones, or others.
        strict: whether nearly every violation is fatal, as for the machine.
        pace: waits before each chunk. None never waits.
    """

    def __init__(
        self,
        capture: Capture,
        chunks: Iterable[Chunk],
        *,
        strict: bool = False,
        pace: Pace | None = None,
    ) -> None:
        super().__init__(capture.header, capture.body, strict=strict)
        self._recorded_end = capture.end
        self._chunks = chunks
        self._pace = pace

    def results(self) -> Iterator[FrameResult]:
        """Return the result of each frame, as `feed` does."""
        for chunk in self._chunks:
            self._wait(chunk)
            yield from self.feed(chunk)
            if self.broken is not None:
                break
        end = self._recorded_end
        if end is not None and self.broken is None:
            self._wait(end)
        yield from self.finish(end)

    def _wait(self, until: Chunk | CaptureEnd) -> None:
        if self._pace is not None:
            self._pace.wait_until(until.at)


@attrs.frozen
class Place:
    """The number of a frame, and the byte offset at which it begins."""

    number: int
    offset: int | None


def located(error: ProtocolError) -> str:
    """Return the place of an error as words: the frame and the byte offset."""
    return f"frame {error.event_number}, byte {error.byte_offset}"
