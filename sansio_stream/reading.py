"""From frame to event: a frame or a payload in; the event it stands for, and what was wrong with
it, out.

Knows no order and keeps nothing.
"""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeAlias

import attrs

from .codec import is_array, is_object
from .errors import Fault, LimitError, Limits, ProtocolError, ViolationCode, demand, excerpt
from .events import MessageStreamEvent, UnknownEvent, event_from_payload, event_from_text
from .partial_json import InvalidJSONError, TooDeepError, loads

if TYPE_CHECKING:
    from .sse import Frame

DONE_MARKER: Final = "[DONE]"


@attrs.define
class Payload:
    """A payload that came without a frame, its size in characters and its depth."""

    offset: ClassVar[None] = None

    data: Mapping[str, Any]
    size: int
    depth: int


Origin: TypeAlias = "Frame | Payload"
"""Where an event comes from: its data, its offset in the body (None without a frame), its size (in
bytes, or characters of a payload).
"""


def fault_of(origin: Origin, code: ViolationCode) -> Fault:
    """Return a fault of the whole frame."""
    return Fault(code, excerpt_of(origin), origin.offset)


def excerpt_of(origin: Origin) -> str:
    """Return the beginning of the data."""
    data = origin.data
    return excerpt(data if isinstance(data, str) else shortened(data))


def error_of(
    origin: Origin, sentence: str, code: str, position: int | None = None
) -> ProtocolError:
    """Return the error that the frame cannot be tolerated."""
    return ProtocolError(
        sentence,
        code=code,
        byte_offset=origin.offset,
        raw=excerpt_of(origin),
        position=position,
    )


def limit_error_of(
    origin: Origin, sentence: str, limit: str, maximum: int, position: int | None = None
) -> LimitError:
    """Return the error that the frame exceeds a limit."""
    return LimitError(
        sentence.format(maximum),
        limit=limit,
        maximum=maximum,
        byte_offset=origin.offset,
        raw=excerpt_of(origin),
        position=position,
    )


TOO_DEEP: Final = "an event has more than {} arrays and objects inside one another"
TOO_LARGE: Final = "an event is larger than {} characters"


Reading: TypeAlias = tuple[MessageStreamEvent | None, tuple[ViolationCode, ...]]
"""What came of a frame: the event, None for what is no event; and what was wrong with it and is
tolerated.
"""


def read_frame(frame: Frame, limits: Limits) -> Reading:
    """Return what a frame stands for.

    A payload that is not a JSON object cannot be tolerated under a name that promises one; `ping`
    and `error` keep it raw, and under any other name it is an unknown event.

    Raises:
        ProtocolError: for what cannot be tolerated. What the framer found is not said yet.
    """
    if frame.data == DONE_MARKER:
        return None, (ViolationCode.DONE_MARKER,)
    reason, position = "not a JSON object", None
    try:
        payload = loads(frame.data, limits.depth)
    except TooDeepError as error:
        raise limit_error_of(frame, TOO_DEEP, "depth", limits.depth, error.position) from None
    except InvalidJSONError as error:
        payload, reason, position = None, error.reason, error.position
    unnamed = () if frame.name else (ViolationCode.MISSING_EVENT_NAME,)
    if is_object(payload):
        event, codes = event_from_payload(frame.name, payload, limits.blocks)
        return event, (*unnamed, *codes)
    text_event = event_from_text(frame.name, frame.data)
    if text_event is None:
        sentence = f"the data of {frame.name} cannot be read: {reason}"
        raise error_of(frame, sentence, ViolationCode.UNDECODABLE_PAYLOAD, position)
    if isinstance(text_event, UnknownEvent):
        return text_event, (*unnamed, ViolationCode.UNDECODABLE_PAYLOAD)
    return text_event, unnamed


def read_payload(payload: Payload, limits: Limits) -> Reading:
    """Return what a payload stands for that came without a frame. Raises LimitError."""
    if payload.depth > limits.depth:
        raise limit_error_of(payload, TOO_DEEP, "depth", limits.depth)
    if payload.size > limits.event_bytes:
        raise limit_error_of(payload, TOO_LARGE, "event_bytes", limits.event_bytes)
    return event_from_payload("", payload.data, limits.blocks)


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
