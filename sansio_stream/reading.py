"""From frame to event: a frame or a payload in; the event it stands for, and what was wrong with
it, out.

Knows no order and keeps nothing. What cannot be tolerated is an error in the result, not an
exception, so that whoever asks can record the rest first.
"""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import attrs

from .codec import is_array, is_object
from .errors import Fault, LimitError, Limits, ProtocolError, ViolationCode, demand, excerpt
from .events import MessageStreamEvent, UnknownEvent, event_from_payload, event_from_text
from .partial_json import InvalidJSONError, TooDeepError, loads

if TYPE_CHECKING:
    from .sse import Frame

DONE_MARKER: Final = "[DONE]"


@attrs.frozen
class Origin:
    """Where an event comes from.

    Attributes:
        data: the frame's data, or the payload that came without a frame.
        offset: where the frame begins in the body, in bytes; None without one.
        size: of the frame in bytes, or of the payload in characters.
    """

    data: str | Mapping[str, Any]
    offset: int | None
    size: int

    def fault(self, code: ViolationCode) -> Fault:
        """Return a fault of the whole frame."""
        return Fault(code, self.excerpt(), self.offset)

    def excerpt(self) -> str:
        """Return the beginning of the data."""
        return excerpt(self.data if isinstance(self.data, str) else shortened(self.data))

    def error(self, sentence: str, code: str, position: int | None = None) -> ProtocolError:
        """Return the error that the frame cannot be tolerated."""
        return ProtocolError(
            sentence, code=code, byte_offset=self.offset, raw=self.excerpt(), position=position
        )

    def limit_error(
        self, sentence: str, limit: str, maximum: int, position: int | None = None
    ) -> LimitError:
        """Return the error that the frame exceeds a limit."""
        return LimitError(
            sentence.format(maximum),
            limit=limit,
            maximum=maximum,
            byte_offset=self.offset,
            raw=self.excerpt(),
            position=position,
        )


@attrs.frozen
class Reading:
    """What came of a frame.

    Attributes:
        origin: where it stands.
        event: what it stands for; None for what is no event.
        faults: what was wrong with it and is tolerated.
        error: what was wrong with it and cannot be tolerated.
    """

    origin: Origin
    event: MessageStreamEvent | None
    faults: tuple[Fault, ...]
    error: ProtocolError | None = None


TOO_DEEP: Final = "an event has more than {} arrays and objects inside one another"
TOO_LARGE: Final = "an event is larger than {} characters"


def read_frame(frame: Frame, limits: Limits) -> Reading:
    """Return the event of a frame.

    A payload that is not a JSON object is an error under a name that promises one; `ping` and
    `error` keep it raw, and under any other name it is an unknown event.
    """
    origin = Origin(frame.data, frame.offset, frame.size)
    if frame.data == DONE_MARKER:
        return Reading(origin, None, (*frame.faults, origin.fault(ViolationCode.DONE_MARKER)))
    codes: tuple[ViolationCode, ...] = () if frame.name else (ViolationCode.MISSING_EVENT_NAME,)
    reason, position = "not a JSON object", None
    try:
        payload = loads(frame.data, limits.depth)
    except TooDeepError as error:
        too_deep = origin.limit_error(TOO_DEEP, "depth", limits.depth, error.position)
        return Reading(origin, None, frame.faults, too_deep)
    except InvalidJSONError as error:
        payload, reason, position = None, error.reason, error.position
    event: MessageStreamEvent | None
    if is_object(payload):
        event, wrong = event_from_payload(frame.name, payload, limits.blocks)
        codes = (*codes, *wrong)
    else:
        event = event_from_text(frame.name, frame.data)
        if event is None:
            sentence = f"the data of {frame.name} cannot be read: {reason}"
            unreadable = origin.error(sentence, ViolationCode.UNDECODABLE_PAYLOAD, position)
            return Reading(origin, None, frame.faults, unreadable)
        if isinstance(event, UnknownEvent):
            codes = (*codes, ViolationCode.UNDECODABLE_PAYLOAD)
    return Reading(origin, event, (*frame.faults, *map(origin.fault, codes)))


@attrs.frozen
class Payload:
    """A payload that came without a frame, its size in characters and its depth."""

    members: Mapping[str, Any]
    size: int
    depth: int


def read_payload(payload: Payload, limits: Limits) -> Reading:
    """Return the event of a payload that came without a frame."""
    origin = Origin(payload.members, None, payload.size)
    if payload.depth > limits.depth:
        too_deep = origin.limit_error(TOO_DEEP, "depth", limits.depth)
        return Reading(origin, None, (), too_deep)
    if payload.size > limits.event_bytes:
        too_large = origin.limit_error(TOO_LARGE, "event_bytes", limits.event_bytes)
        return Reading(origin, None, (), too_large)
    event, codes = event_from_payload("", payload.members, limits.blocks)
    return Reading(origin, event, tuple(map(origin.fault, codes)))


def is_whole(frame: Frame, limits: Limits) -> bool:
    """Whether a frame that lacks its end is whole all the same: a JSON object or the end mark."""
    try:
        return frame.data == DONE_MARKER or is_object(loads(frame.data, limits.depth))
    except TooDeepError:
        return True  # it exceeds a limit, whatever may follow
    except InvalidJSONError:
        return False


def measured(payload: Mapping[str, Any], limits: Limits) -> Payload:
    """Return a payload with its size and depth, each right unless it exceeds its limit.

    Level by level: no recursion on what a peer sends, and an end even where a payload holds itself.
    Raises TypeError for what is not JSON: other keys than strings, other containers than dict and
    list.
    """
    size = depth = 0
    level: list[Any] = [payload]
    while level and depth <= limits.depth and size <= limits.event_bytes:
        depth += 1
        values: list[Any] = []
        for container in level:
            if is_array(container):
                values.extend(container)
                continue
            for name, value in container.items():
                demand(name, str)
                size += len(name)
                values.append(value)
        for value in values:
            demand(value, *JSON_TYPES)
        size += sum(len(value) if isinstance(value, str) else 1 for value in values)
        level = [value for value in values if isinstance(value, (dict, list))]
    return Payload(payload, size, depth)


JSON_TYPES: Final = (dict, list, str, int, float, type(None))

_shortener = reprlib.Repr()
_shortener.maxdict = _shortener.maxlist = 20
_shortener.maxstring = _shortener.maxother = 200


def shortened(payload: Mapping[str, Any]) -> str:
    """Return the beginning of what a payload looks like, at no cost for what is left out."""
    try:
        return _shortener.repr(payload)
    except ValueError:  # an integer that Python refuses to write
        return "a payload that cannot be shown"
