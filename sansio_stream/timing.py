"""Timing: the times at which a stream brought content.

Events and their times go in, and columns of a report come out.

There is no clock here: the caller passes the times in.
"""

from __future__ import annotations

import math
from array import array
from collections import deque
from typing import TYPE_CHECKING, Any, Final, TypeVar

from .errors import APIError
from .events import (
    ContentBlockDeltaEvent,
    ContentBlockStartEvent,
    InputJSONDelta,
    TextDelta,
    ThinkingDelta,
)
from .losses import adds_content, shows_progress
from .machine import buffer_of
from .message import TextBlock
from .report import Stall

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from .events import MessageStreamEvent
    from .machine import StreamMachine

__all__ = ["Timing"]

MOST_STALLS: Final = 100
"""The number of stalls that are listed. All stalls are counted."""

UNKNOWN: Final = math.nan
"""A time that is not known. `==`, `<` and `>` give False for it and any time."""

Received = TypeVar("Received")


class Timing:
    """Takes the events of a stream, and collects the times of content.

    All times are seconds since the request was sent. A time that is not finite is unknown.

    Args:
        machine: the machine that the events come from. It has the number and offset of each event.
        stall: a pause without content that is longer than this many seconds is a stall.

    Attributes:
        received: the number of bytes that the machine got.
        first_byte: the time of the first byte, or None.
    """

    __slots__ = (
        "_arrivals",
        "_at",
        "_buffer",
        "_end",
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
        "received",
    )

    def __init__(self, machine: StreamMachine, stall: float) -> None:
        self._machine = machine
        self._buffer = buffer_of(machine)
        self._stall = stall
        self.received = 0
        self.first_byte: float | None = None
        # The time of the chunk that the current event comes from, the offset of the end of this
        # chunk in the body, and the chunks after it whose events are not taken yet.
        self._at = UNKNOWN
        self._end: float = 0
        self._arrivals: deque[tuple[bytes, float]] = deque()
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
        receive: Callable[[bytes], Iterator[MessageStreamEvent]],
        data: bytes,
        chunks: Sequence[tuple[bytes, float]],
    ) -> bool:
        """Pass bytes to the machine, and record the times of content.

        Ctrl-C may interrupt this method. If `received` has not grown then, the machine did not get
        the bytes, and the caller passes them again. Otherwise the next call takes the remaining
        events.

        Args:
            receive: the method `receive_data` of the machine.
            data: the chunks, joined.
            chunks: the chunks, each with its time.

        Returns:
            Whether the machine takes more. If not, it keeps its fatal error.
        """
        self._arrivals.extend(chunks)
        try:
            can_go_on = self._follow(receive, data)
        except BaseException:
            if self._machine.bytes_received > self.received:
                self.received += len(data)
            else:
                for _ in chunks:
                    self._arrivals.pop()
            raise
        self._arrivals.clear()  # all events of these chunks are taken
        self.received += len(data)
        self._end = self.received
        return can_go_on

    def take_rest(
        self,
        receive: Callable[[BaseException | None], Iterator[MessageStreamEvent]],
        exc: BaseException | None,
        at: float,
    ) -> None:
        """Pass the end of the body to the machine, and record the times of content.

        Args:
            receive: the method `connection_lost` of the machine.
            exc: the exception that broke the connection, or None.
            at: the time of the end. An event whose frame has no blank line gets this time.
        """
        self._arrivals.clear()
        self._at, self._end = at, math.inf
        self._follow(receive, exc)

    def _follow(
        self, receive: Callable[[Received], Iterator[MessageStreamEvent]], received: Received
    ) -> bool:
        """Take all events, and record the times of content.

        One loop takes all events, because a call for each event would cost more than half of what
        the machine costs. For nearly all content, one of the first two branches of the last `if`
        applies.
        """
        buffer, stall, add_gap = self._buffer, self._stall, self._gaps.append
        next_arrival = self._arrivals.popleft
        at, end, last, zero_gaps = self._at, self._end, self._last_content, self._zero_gaps
        awaits_event, awaits_text = self._first_event is None, self._first_text is None
        can_go_on = True
        try:
            for event in receive(received):
                while buffer.base + buffer.pos > end:
                    chunk, at = next_arrival()
                    end += len(chunk)
                if awaits_event:
                    self._first_event = known(at)
                    awaits_event = self._first_event is None
                if type(event) is ContentBlockDeltaEvent:
                    delta: Any = event.delta
                    kind = type(delta)  # pyright: ignore[reportUnknownVariableType]
                    if kind is TextDelta:
                        if not delta.text:
                            continue
                        if awaits_text:
                            self._first_text = known(at)
                            awaits_text = self._first_text is None
                    elif kind is InputJSONDelta:
                        if not delta.partial_json:
                            continue
                    elif kind is ThinkingDelta and delta.thinking:
                        pass
                    elif not shows_progress(event):
                        continue
                elif type(event) is ContentBlockStartEvent and adds_content(event):
                    if awaits_text and type(event.content_block) is TextBlock:
                        self._first_text = known(at)
                        awaits_text = self._first_text is None
                else:
                    continue
                if at == last:
                    zero_gaps += 1
                elif 0.0 < (gap := at - last) < stall:
                    add_gap(gap)
                    last = at
                else:
                    last = self._unusual(at, last)
        except APIError:
            can_go_on = False
        finally:  # Ctrl-C may interrupt the loop
            self._at, self._end, self._last_content, self._zero_gaps = at, end, last, zero_gaps
        return can_go_on

    def _unusual(self, at: float, last: float) -> float:
        """Record an unusual time of content: the first, after a stall, unknown, or going back.

        Args:
            at: the time of the content.
            last: the time of the content before it, or `UNKNOWN` if there was none.

        Returns:
            The time of the last content.
        """
        gap = at - last
        if known(at) is None:
            return last
        if self._first_content is None:
            self._first_content = at
        elif gap <= 0.0:
            self._gaps.append(0.0)  # Some clocks go back. Such a gap counts as 0.
        elif gap < math.inf:  # The difference of two finite times may be too large for a float.
            self._gaps.append(gap)
            if gap > self._stall:
                self._stall_count += 1
                if len(self._stalls) < MOST_STALLS:
                    place = self._machine.event_number, self._machine.byte_offset
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
        that `_zero_gaps` counts have the length 0, and are not in the list.
        """
        rank = math.ceil(percent * (len(gaps) + self._zero_gaps) / 100)
        return gaps[rank - 1 - self._zero_gaps] if rank > self._zero_gaps else 0.0


def rate(tokens: int, seconds: float) -> float | None:
    """Return tokens per second, or None if the result is too large for a float."""
    try:
        return known(tokens / seconds)
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
