"""Reading: the chunks of a body in, what came of each of its frames out. Knows no terminal.

A replay reads a capture at its own pace; the clock is here for nothing else.
"""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING, Final

import attrs

from sansio_stream.errors import APIError, APIStatusError, ProtocolError, Verdict, Violation
from sansio_stream.events import MessageStreamEvent
from sansio_stream.machine import StreamMachine
from sansio_stream.transitions import State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from sansio_stream.capture import Capture, CaptureEnd, CaptureHeader, Chunk

__all__ = ["Moment", "Pace", "Reading", "Replay"]

LONGEST_PAUSE: Final = 60.0
"""Seconds: a file may ask for years, and nobody would know that the command goes on at all."""


class Pace:
    """Waits until it is time for what was recorded at a time; `speed` 2 is twice as fast.

    The clock starts with the first wait, so that a long parse does not eat the first pause. A pause
    of more than a minute is cut to a minute, which is told before it, and not made up for.
    """

    def __init__(
        self,
        speed: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._speed = speed
        self._clock = clock
        self._sleep = sleep
        self._tell = tell
        self._start: float | None = None

    def wait_until(self, at: float | None) -> None:
        """Return when the recording is `at` seconds old; at once without a time, or when late."""
        if at is None:
            return
        now = self._clock()
        if self._start is None:
            self._start = now
        wait = self._start + at / self._speed - now
        if wait > LONGEST_PAUSE:
            self._tell(f"a pause of {wait:,.0f} s is cut to {LONGEST_PAUSE:.0f} s")
            self._start -= wait - LONGEST_PAUSE
            wait = LONGEST_PAUSE
        if wait > 0:
            self._sleep(wait)


@attrs.frozen
class Moment:
    """What came of one frame.

    Attributes:
        number: of the frame, as the machine counts; None for lines that belong to no frame.
        offset: where in the body it begins; None where that is not known.
        chunk: the number of the chunk that made it whole, from 1.
        at: the recorded time of that chunk.
        before: the state of the machine before it.
        after: and after it.
        event: the event; None for what was kept out of the message.
        violations: what was tolerated in it.
        error: what broke here.
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


class LostConnection(Exception):  # noqa: N818 - the name is not shown
    """A connection that was lost long ago: its `repr` is the recorded one."""

    def __repr__(self) -> str:
        return str(self)


class Reading:
    """One body and the machine that is fed with it: each chunk, then how it ended.

    Args:
        header: what was known before the body.
        body: all of it, or one that grows by each chunk before that is fed.
        strict: as for the machine.
    """

    def __init__(
        self, header: CaptureHeader, body: bytes | bytearray, *, strict: bool = False
    ) -> None:
        self.header = header
        self.body = body
        self.machine = StreamMachine(strict=strict)
        self.chunks_fed = 0
        # The fatal error. `machine.error` may be what the server had sent before it.
        self.broken: ProtocolError | None = None
        self._end: CaptureEnd | None = None
        self._strict = strict
        self._at: float | None = None
        self._violations_seen = 0
        self._last_number = 0

    # Feeding. What is returned has to be taken before the next call.

    def feed(self, chunk: Chunk) -> Iterator[Moment]:
        """Return what comes of each frame; `machine` is as of this moment. Nothing, once broken."""
        if self.broken is not None:
            return iter(())
        self.chunks_fed += 1
        self._at = chunk.at
        return self._take(self.machine.receive_data(chunk.data))

    def finish(self, end: CaptureEnd | None) -> Iterator[Moment]:
        """Take note of the end, None where the recording has none, and return what is left."""
        self._end = end
        if self.broken is not None:
            return iter(())
        lost = self.lost
        return self._take(
            self.machine.receive_eof()
            if lost is None
            else self.machine.connection_lost(LostConnection(lost))
        )

    def _take(self, events: Iterator[MessageStreamEvent]) -> Iterator[Moment]:
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
            yield Moment(
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
        # The machine copies its list for whoever asks, so ask only where there is something new.
        if self.machine.violation_count == self._violations_seen:
            return ()
        kept = self.machine.violations
        new = kept[self._violations_seen :]
        self._violations_seen = self.machine.violation_count
        return new

    def _without_event(
        self, number: int, violations: tuple[Violation, ...], state: State
    ) -> Moment:
        # A frame that was looked at earlier says nothing more: these are lines after it.
        stray = number <= self._last_number
        self._last_number = max(self._last_number, number)
        return Moment(
            None if stray else number,
            violations[-1].byte_offset,
            self.chunks_fed,
            self._at,
            state,
            state,
            None,
            violations,
        )

    # Looking, after the last moment.

    @property
    def lost(self) -> str | None:
        """How the connection was lost, None where the body ended by itself."""
        if self._end is None:
            return "the recording itself was cut here"
        return self._end.error

    @property
    def failure(self) -> str | None:
        """Why there is no message to rely on; None where there is one."""
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
        """What a person should know of a stream although it gave a message."""
        said: list[str] = []
        if self.machine.verdict is Verdict.UNTERMINATED:
            said.append(
                "message_stop is missing; a stop_reason came, and no block is open but one that"
                " max_tokens has cut"
            )
        if self.broken is not None:
            said.append(f"after the message: {self.broken} ({located(self.broken)})")
        if self.lost is not None:
            said.append(f"the connection was lost: {self.lost}")
        return tuple(said)


class Replay(Reading):
    """The reading of a capture, at its own pace.

    Args:
        capture: the file.
        chunks: its body, cut in the recorded places or in others.
        strict: as for the machine.
        pace: None for as fast as it goes.
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

    def moments(self) -> Iterator[Moment]:
        """Return what comes of each frame; `machine` is as of this moment."""
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
    """Which frame, and where it begins."""

    number: int
    offset: int | None


def located(error: ProtocolError) -> str:
    """Return where an error happened, for a sentence."""
    return f"frame {error.event_number}, byte {error.byte_offset}"
