"""One event in, its name and its text for one line of the trace out.

`FrameFilter` decides which frames the trace shows. This module prints nothing.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Final

import attrs

from sansio_stream.events import (
    CitationsDelta,
    ContentBlockDeltaEvent,
    ContentBlockStartEvent,
    ContentBlockStopEvent,
    ErrorEvent,
    MessageDeltaEvent,
    MessageStartEvent,
    MessageStreamEvent,
    PingEvent,
    UnknownDelta,
    UnknownEvent,
)
from sansio_stream.losses import adds_content, shows_progress, text_of
from sansio_stream.message import InputBlock
from sansio_stream.report import is_call

from ._answer_view import digest, name_of, source_of
from ._text import to_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sansio_stream.message import ContentBlock

    from ._reading import FrameResult

__all__ = ["FrameFilter", "Gaps", "Position", "index_of", "label_of", "payload_text"]


def label_of(event: MessageStreamEvent) -> str:
    """Return the type of the delta if the event is a delta, otherwise the type of the event."""
    match event:
        case ContentBlockDeltaEvent(delta=UnknownDelta(wire_type=name)):
            return name
        case ContentBlockDeltaEvent(delta=delta):
            return delta.type
        case _:
            return type_on_the_wire(event)


def type_on_the_wire(event: MessageStreamEvent) -> str:
    return event.wire_type if isinstance(event, UnknownEvent) else event.type


def index_of(event: MessageStreamEvent | None) -> int | None:
    """Return the index of the block that an event belongs to, or None."""
    match event:
        case (
            ContentBlockStartEvent(index=index)
            | ContentBlockDeltaEvent(index=index)
            | ContentBlockStopEvent(index=index)
        ):
            return index
        case _:
            return None


def payload_text(event: MessageStreamEvent) -> str:
    """Return what an event adds, as text: the text or the fragment itself, not its JSON."""
    match event:
        case MessageStartEvent(message=message):
            parts = [message.model, message.id, tokens(message.usage.input_tokens, "input")]
            return "  ".join(part for part in parts if part)
        case ContentBlockStartEvent(content_block=block):
            return start_text(block)
        case ContentBlockDeltaEvent():
            return delta_text(event)
        case ContentBlockStopEvent(content_block=block):
            return stop_text(block)
        case MessageDeltaEvent(delta=delta, usage=usage):
            parts = [delta.stop_reason, tokens(usage.output_tokens, "output")]
            return "  ".join(part for part in parts if part)
        case ErrorEvent():
            return f"{event.error_type or 'error'}: {event.message}"
        case PingEvent(raw=raw):
            return raw or ""
        case UnknownEvent(raw=raw):
            return to_json(event.to_dict()) if raw is None else raw
        case _:
            rest = {name: each for name, each in event.to_dict().items() if name != "type"}
            return to_json(rest) if rest else ""


def tokens(count: int | None, kind: str) -> str:
    return "" if count is None else f"{count:,} {kind} token{'s' * (count != 1)}"


def start_text(block: ContentBlock) -> str:
    """Return the type of a block, the tool of a call, and the content at the start of the block."""
    name = name_of(block)
    if is_call(block):
        given = getattr(block, "input", None)
        return f"{name}  {to_json(given)}" if given else name
    content = text_of(block) or digest(block.to_dict())
    return f"{name}  {content}" if content else name


def delta_text(event: ContentBlockDeltaEvent) -> str:
    delta = event.delta
    if isinstance(delta, CitationsDelta):
        return source_of(delta.citation)
    members = {name: value for name, value in delta.to_dict().items() if name != "type"}
    texts = [value for value in members.values() if isinstance(value, str)]
    if len(texts) == 1 and not isinstance(delta, UnknownDelta):
        return texts[0]
    return to_json(members)


def stop_text(block: ContentBlock | None) -> str:
    """Return the state of the input of a call, or "" if the input is complete."""
    if isinstance(block, InputBlock) and (is_call(block) or block.input_json):
        return "" if block.input_state == "complete" else f"the input is {block.input_state}"
    return ""


class Gaps:
    """Measures the time from one content event to the next, as a report does."""

    def __init__(self) -> None:
        self._last: float | None = None

    def before(self, result: FrameResult) -> float | None:
        """Return the time in seconds from the previous content to the content of this result.

        Returns None if the result has no content, if it is the first content, or if a time is not
        known. If the clock went back, the gap is 0. Call it once for each result, in order.
        """
        if not is_content(result.event) or result.at is None or not math.isfinite(result.at):
            return None
        last, self._last = self._last, result.at
        return None if last is None else max(0.0, result.at - last)


def is_content(event: MessageStreamEvent | None) -> bool:
    match event:
        case ContentBlockDeltaEvent():
            return shows_progress(event)
        case ContentBlockStartEvent():
            return adds_content(event)
        case _:
            return False


# Which frames are shown.

POSITION: Final = re.compile(
    r"(?P<number>[0-9]{1,18})|b(?P<offset>[0-9]{1,18})|(?P<at>[0-9]{1,10}(?:\.[0-9]{1,9})?)s"
)


@attrs.frozen
class Position:
    """A position in a stream. Exactly one attribute is not None.

    Attributes:
        number: the number of an event, counted from 1.
        offset: an offset in the body, in bytes.
        at: a time in seconds.
    """

    number: int | None = None
    offset: int | None = None
    at: float | None = None

    @classmethod
    def parse(cls, text: str) -> Position:
        """Return the position that `12`, `b1200` or `1.5s` means. Raises ValueError."""
        match = POSITION.fullmatch(text)
        if match is None:
            raise ValueError(
                f"{text!r} is not the number of an event (12), an offset in bytes (b1200) or a"
                " time (1.5s)"
            )
        if match["number"]:
            return cls(number=int(match["number"]))
        if match["offset"]:
            return cls(offset=int(match["offset"]))
        return cls(at=float(match["at"]))

    def distance(self, result: FrameResult, number: int) -> float | None:
        """Return how far a result is after this position, or None if that is unknown.

        Args:
            result: the result.
            number: the number of its frame. If it belongs to no frame, that of the last frame.

        Returns:
            A number of frames, bytes or seconds. It is negative before this position.
        """
        if self.number is not None:
            return number - self.number
        if self.offset is not None:
            return None if result.offset is None else result.offset - self.offset
        assert self.at is not None, "one attribute is set"  # noqa: S101
        return None if result.at is None else result.at - self.at


@attrs.frozen
class FrameFilter:
    """Decides which results the trace shows.

    Attributes:
        only: names of events, deltas or types of blocks, and indexes of blocks. Empty for all.
        grep: a pattern that the text of the line contains, or None.
        first: the first position, or None.
        last: the last position, inclusive, or None.
        pings: whether pings are shown.
    """

    only: frozenset[str] = frozenset()
    grep: re.Pattern[str] | None = None
    first: Position | None = None
    last: Position | None = None
    pings: bool = True

    def accepts(
        self, result: FrameResult, *, number: int, names: Iterable[str], text: Callable[[], str]
    ) -> bool:
        """Whether a result is shown.

        Args:
            result: the result.
            number: the number of its frame. If it belongs to no frame, that of the last frame.
            names: its names: those of its event, its delta and its block, and the index.
            text: returns its text, in full. It is called only if `grep` needs it.
        """
        if not self.pings and isinstance(result.event, PingEvent):
            return False
        if self.only and self.only.isdisjoint(names):
            return False
        if self.first is not None:
            distance = self.first.distance(result, number)
            if distance is None or distance < 0:
                return False
        if self.last is not None:
            distance = self.last.distance(result, number)
            if distance is None or distance > 0:
                return False
        return self.grep is None or self.grep.search(text()) is not None
