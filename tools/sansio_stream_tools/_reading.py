"""The chunks of a body in, the result of each of its frames out. This module prints nothing.

`Reading` reads a body. `Pace` waits as long as the recorded times say. Only `Pace` uses a clock.
"""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING, Final

import attrs

from sansio_stream.errors import (
    APIError,
    APIStatusError,
    Limits,
    ProtocolError,
    Verdict,
    Violation,
)
from sansio_stream.events import MessageStreamEvent
from sansio_stream.machine import StreamMachine
from sansio_stream.observer import Observer
from sansio_stream.request.responses import REFUSAL_BYTES, check_response
from sansio_stream.transitions import State

from ._frame_bytes import FrameBytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sansio_stream.capture import CaptureEnd, CaptureHeader, Chunk

__all__ = ["CUT_OFF", "FrameResult", "LostConnection", "Pace", "Reading", "failure_of"]

CUT_OFF: Final = "the recording file is cut off here"
"""What is reported in place of the error of a connection, if a recording has no end."""

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

    Memory: that of the machine. `observe` and `keep_frames` need more.

    Args:
        header: the header of the capture.
        strict: whether nearly every violation is fatal, as for the machine.
        limits: the bounds on what the machine holds.

    Attributes:
        machine: the machine, in its current state.
        chunks_fed: the number of chunks so far.
        broken: the fatal error, or None. `machine.error` may be an earlier error of the server.
    """

    def __init__(
        self, header: CaptureHeader, *, strict: bool = False, limits: Limits | None = None
    ) -> None:
        self.header = header
        self.machine = StreamMachine(strict=strict, limits=limits)
        self.chunks_fed = 0
        self.broken: ProtocolError | None = None
        self._end: CaptureEnd | None = None
        self._is_stopped = False
        self._strict = strict
        self._limits = limits or Limits()
        self._observer: Observer | None = None
        self._frames: FrameBytes | None = None
        status = header.status
        self._is_refused = status is not None and not 200 <= status < 300
        self._refusal = bytearray()
        self._at: float | None = None
        self._violations_seen = 0
        self._last_number = 0
        self._last_offset = 0

    def observe(self, stall: float = 2.0) -> Observer:
        """Return an observer of all chunks that are fed from now on, and of the end.

        Like the machine, it reads the body of a success as a stream, whatever the headers say.

        Args:
            stall: a pause without content that is longer than this many seconds is a stall.
        """
        status, headers = 200, dict[str, str]()
        if self._is_refused:
            status, headers = self.header.status or status, self.header.headers
        self._observer = Observer(
            status, headers, strict=self._strict, limits=self._limits, stall=stall
        )
        return self._observer

    def keep_frames(self) -> FrameBytes:
        """Keep the bytes of the newest frames from now on. Return the object that keeps them."""
        self._frames = FrameBytes(self._limits.event_bytes)
        return self._frames

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
        if self._frames is not None:
            self._frames.add(chunk.data)
        if self._is_refused and len(self._refusal) < REFUSAL_BYTES:
            self._refusal += chunk.data[:REFUSAL_BYTES]
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

    def stop(self) -> None:
        """Stop before the end of the body. Without a fatal error, the verdict stays PENDING."""
        self._is_stopped = True
        if self._observer is not None:
            self._observer.closed(self._at)

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
            for number, group in itertools.groupby(violations, lambda each: each.event_number):
                if own is None or number != own.number:
                    yield self._without_event(number, tuple(group), before)
            if own is None:
                if self._frames is not None:
                    self._frames.drop_before(self._last_offset)
                return
            stray = own.number <= self._last_number
            self._last_number = own.number
            self._last_offset = own.offset or 0
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
        # If the frame with this number already gave a result, these violations are in lines after
        # it that belong to no frame.
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
            return None if self._is_stopped else CUT_OFF
        return self._end.error

    @property
    def verdict(self) -> Verdict:
        """The verdict of the machine. If the status was not a success: ERRORED."""
        return Verdict.ERRORED if self._is_refused else self.machine.verdict

    @property
    def failure(self) -> str | None:
        """The reason why the stream gave no usable message, or None if it gave one."""
        if self._is_refused:
            return self._refusal_reason()
        machine = self.machine
        failure = failure_of(machine)
        if failure is None and self._strict and self.broken is not None:
            return f"{self.broken} ({located(self.broken)})"
        if failure is None and self._strict and machine.violation_count:
            return machine.violations[0].message
        return failure

    def _refusal_reason(self) -> str:
        """Return what the server said in a response whose status was not a success."""
        header = self.header
        error = check_response(header.status or 500, header.headers, bytes(self._refusal))
        kind = f"{error.type}: " if isinstance(error, APIStatusError) and error.type else ""
        return f"{Verdict.ERRORED.value}: {kind}{error}"

    @property
    def outcome(self) -> str:
        """The verdict and the reason for it, as one sentence."""
        failure, http = self.failure, f"HTTP {self.header.status}"
        prefix = f"{http}, " if self._is_refused and http not in str(failure) else ""
        return f"{prefix}{self.verdict.name}: {failure or self.verdict.value}"

    @property
    def remarks(self) -> tuple[str, ...]:
        """Sentences about the irregular end of a stream that nevertheless gave a message."""
        sentences: list[str] = []
        if self.verdict is Verdict.UNTERMINATED:
            sentences.append(
                "message_stop is missing, but a stop_reason was received, and no block is open"
                " except one that max_tokens cut"
            )
        if self.broken is not None:
            sentences.append(f"after the message: {self.broken} ({located(self.broken)})")
        if self.lost is not None:
            sentences.append(f"the connection was lost: {self.lost}")
        return tuple(sentences)


@attrs.frozen
class Place:
    """The number of a frame, and the byte offset at which the frame begins."""

    number: int
    offset: int | None


def located(error: ProtocolError) -> str:
    """Return the place of an error as words: the frame and the byte offset."""
    return f"frame {error.event_number}, byte {error.byte_offset}"


def failure_of(machine: StreamMachine) -> str | None:
    """Return the reason why a machine has no usable message, or None if it has one."""
    try:
        machine.final_message()
    except APIStatusError as error:
        return f"{machine.verdict.value}: {error.type or 'error'}: {error}"
    except ProtocolError as error:
        return f"{error} ({located(error)})"
    except APIError as error:
        return str(error)
    return None
