"""Timing: the times at which a stream brought content. Events and their times in, columns out.

There is no clock here: the caller passes the times in.
"""

from __future__ import annotations

import math
from array import array
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

from .errors import APIError
from .events import ContentBlockDeltaEvent, ContentBlockStartEvent, TextDelta
from .losses import PROGRESS, carries_content
from .message import TextBlock
from .report import Stall

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .events import MessageStreamEvent
    from .machine import StreamMachine

__all__ = ["Timing"]

MOST_STALLS: Final = 100
"""The number of stalls that are listed. All stalls are counted."""

UNKNOWN: Final = math.nan
"""A time that is not known. Every comparison with it is false."""

Place: TypeAlias = "tuple[int, int | None]"
"""The number of an event, and the offset of its frame in the body (None if it had no frame)."""

Received = TypeVar("Received")


class Timing:
    """Takes the events of a stream, and collects the times of content.

    All times are seconds since the request was sent. A time that is not finite is unknown.

    Args:
        machine: the machine that the events come from. It tells their places.
        stall: a pause without content that is longer than this many seconds is a stall.

    Attributes:
        first_byte: the time of the first byte, or None.
    """

    __slots__ = (
        "_first_content",
        "_first_event",
        "_first_text",
        "_gaps",
        "_last_content",
        "_machine",
        "_stall",
        "_stall_count",
        "_stalls",
        "_zero_gaps",
        "first_byte",
    )

    def __init__(self, machine: StreamMachine, stall: float) -> None:
        self._machine = machine
        self._stall = stall
        self.first_byte: float | None = None
        self._first_event: float | None = None
        self._first_content: float | None = None
        self._first_text: float | None = None
        self._last_content = UNKNOWN
        self._gaps = array("d")
        self._zero_gaps = 0
        self._stalls: list[Stall] = []
        self._stall_count = 0

    def began(self, at: float) -> None:
        """Record the time of the first byte."""
        self.first_byte = known(at)

    def take(
        self,
        receive: Callable[[Received], Iterator[MessageStreamEvent]],
        received: Iterator[tuple[Received, float]],
    ) -> bool:
        """Pass what was received to the machine, and record the times of content.

        One loop takes all events of a chunk, and a chunk with one event ends in the first branch
        below the loop. A call for each event would cost more than half of what the machine does.

        Args:
            receive: the method of the machine that takes what was received.
            received: what was received, each part with its time. If the machine raises a fatal
                error, the parts after the faulty one are not consumed.

        Returns:
            Whether the machine takes more. If not, it keeps its fatal error.
        """
        machine, stall, add_gap = self._machine, self._stall, self._gaps.append
        last = self._last_content
        awaits_event, awaits_text = self._first_event is None, self._first_text is None
        can_go_on = True
        try:
            for part, at in received:
                gap = at - last
                ends_stall = gap > stall
                count = 0
                place: Place | None = None
                try:
                    for event in receive(part):
                        if type(event) is ContentBlockDeltaEvent:
                            delta = event.delta
                            if type(delta) is TextDelta:
                                if not delta.text:
                                    continue
                                if awaits_text:
                                    self._first_text = at
                                    awaits_text = False
                            elif not PROGRESS[type(delta)](delta):
                                continue
                        elif type(event) is ContentBlockStartEvent and carries_content(event):
                            if awaits_text and type(event.content_block) is TextBlock:
                                self._first_text = at
                                awaits_text = False
                        else:
                            continue
                        count += 1
                        if ends_stall and place is None:
                            place = machine.event_number, machine.byte_offset
                except APIError:
                    can_go_on = False
                if awaits_event and machine.events_taken:
                    self._first_event = known(at)
                    awaits_event = self._first_event is None
                if count == 1 and 0.0 < gap < stall:
                    add_gap(gap)
                    last = at
                elif count:
                    last = self._content(at, last, count, place)
                    awaits_text = self._first_text is None
                if not can_go_on:
                    break
        finally:  # Ctrl-C may interrupt the loop
            self._last_content = last
        return can_go_on

    def _content(self, at: float, last: float, count: int, place: Place | None) -> float:
        """Record the time of events with content. Return the time of the last content.

        Args:
            at: the time of the events.
            last: the time of the content before them, or `UNKNOWN` if there was none.
            count: the number of the events, at least 1.
            place: the number of the first event and the offset of its frame if the gap before it is
                a stall, else None.
        """
        if known(at) is None:
            self._first_text = self._first_text and known(self._first_text)
            return last
        gap = at - last
        self._zero_gaps += count - 1
        if self._first_content is None:
            self._first_content = at
        elif gap <= 0.0:  # Some clocks go back. Such a gap counts as 0.
            self._zero_gaps += 1
        elif gap < math.inf:  # The difference of two finite times may be too large for a float.
            self._gaps.append(gap)
            if place is not None:
                self._stall_count += 1
                if len(self._stalls) < MOST_STALLS:
                    self._stalls.append(Stall(at, gap, *place))
        return at

    def facts(self, output_tokens: int | None) -> Iterator[tuple[str, Any]]:
        """Yield the columns of a report that describe times.

        Args:
            output_tokens: the number of output tokens, or None if it is not final.
        """
        yield "first_byte", self.first_byte
        yield "first_event", self._first_event
        yield "first_content", self._first_content
        yield "first_text", self._first_text
        yield "last_content", known(self._last_content)
        gaps = sorted(self._gaps)
        if gaps or self._zero_gaps:
            yield "gap_p50", self._percentile(gaps, 50)
            yield "gap_p95", self._percentile(gaps, 95)
            yield "gap_max", self._percentile(gaps, 100)
        yield "stall_count", self._stall_count
        yield "stalls", tuple(self._stalls)
        first, last = self._first_content, self._last_content
        if output_tokens is not None and first is not None and last > first:
            yield "output_tokens_per_second", rate(output_tokens, last - first)

    def _percentile(self, gaps: list[float], percent: int) -> float:
        """Return a percentile by nearest rank.

        It is the smallest gap such that at least `percent` % of all gaps are not longer. The gaps
        of length 0 are counted, but are not in the list.
        """
        rank = math.ceil(percent * (len(gaps) + self._zero_gaps) / 100)
        return gaps[rank - 1 - self._zero_gaps] if rank > self._zero_gaps else 0.0


def rate(tokens: int, seconds: float) -> float | None:
    """Return tokens per second, or None if the result is too large for a float."""
    try:
        return tokens / seconds
    except OverflowError:
        return None


def seconds_of(at: object) -> float:
    """Return `at` as a float, or `UNKNOWN` if it is not a number or too large for a float."""
    if isinstance(at, int | float) and not isinstance(at, bool):
        try:
            return float(at)
        except OverflowError:
            return UNKNOWN
    return UNKNOWN


def known(at: float) -> float | None:
    """Return a time, or None if it is not finite."""
    return at if math.isfinite(at) else None
