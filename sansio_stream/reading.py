"""Frame to event: which event a frame or a payload stands for, and what is wrong with it.

This module knows no order of events, and keeps nothing from one frame to the next.
"""

from __future__ import annotations

import contextlib
import itertools
import re
import reprlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeAlias

import attrs

from .codec import is_array
from .errors import (
    Flaw,
    LimitError,
    Limits,
    LocatedFlaw,
    ProtocolError,
    ViolationCode,
    check_type,
    excerpt,
)
from .events import ErrorEvent, MessageStreamEvent, PingEvent
from .frozen import Value
from .losses import CONTENT_EVENTS, may_add_content, visible_text
from .partial_json import InvalidJSONError, TooDeepError, loads, object_in
from .payloads import EVENTS, Flaws, event_from_payload, event_from_text

if TYPE_CHECKING:
    from .frames import Frame

done_marker: Final = re.compile(r'\s*(?:data:\s*)?"?\[DONE\]"?\s*', re.IGNORECASE).fullmatch
MARKER_CHARACTERS: Final = 32
"""The maximum length of an end mark. Most frames are longer. For these, the search for an end mark
costs only the comparison of the length.
"""

OWN_NAMES: Final = frozenset(EVENTS) | {"", "message", "data"}
"""The names that the API, or a compatible server, gives to its events. Any other name is a vendor's
own, unless the name is damaged. A damaged name contains U+FFFD.
"""

REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"


@attrs.define(eq=False, repr=False)
class Payload(Value):
    """A payload that came without a frame.

    Attributes:
        offset: None, because there is no body.
        data: the payload.
        size: its size in characters.
        depth: how deep its arrays and objects nest.
    """

    offset: ClassVar[None] = None

    data: Mapping[str, Any]
    size: int
    depth: int


EventSource: TypeAlias = "Frame | Payload"
"""Where an event comes from: its data, its offset in the body (None without a frame), its size (in
bytes, or characters of a payload).
"""


def locate_flaw(
    source: EventSource, code: ViolationCode, loses_content: bool = False
) -> LocatedFlaw:
    """Return a flaw with the place and the excerpt of its frame or payload."""
    return LocatedFlaw(code, excerpt_of(source), source.offset, loses_content)


def excerpt_of(source: EventSource) -> str:
    """Return the beginning of the data."""
    data = source.data
    return excerpt(data if isinstance(data, str) else shortened(data))


def error_of(
    source: EventSource, sentence: str, code: str, position: int | None = None
) -> ProtocolError:
    """Return the error for a frame that cannot be tolerated."""
    return ProtocolError(
        sentence,
        code=code,
        byte_offset=source.offset,
        raw=excerpt_of(source),
        position=position,
    )


def limit_error_of(
    source: EventSource, sentence: str, limit: str, maximum: int, position: int | None = None
) -> LimitError:
    """Return the error for a frame that exceeds a limit. `{}` in the sentence is the maximum."""
    return LimitError(
        sentence.format(maximum),
        limit=limit,
        maximum=maximum,
        byte_offset=source.offset,
        raw=excerpt_of(source),
        position=position,
    )


TOO_DEEP: Final = "the arrays and objects of an event are nested more than {} levels deep"
TOO_LARGE: Final = "an event is larger than {} characters"


Reading: TypeAlias = tuple[MessageStreamEvent | None, Flaws]
"""The event of a frame (None if the frame is not an event), and the flaws that are tolerated."""


def is_done_marker(data: str) -> bool:
    """Whether data is `[DONE]`, the end mark of another protocol.

    It may also be in quotation marks, or follow a second `data:`.
    """
    return done_marker(data) is not None


def read_frame(frame: Frame, limits: Limits) -> Reading:
    """Return the event that a frame stands for, and its flaws.

    If the data is not a JSON object, the name of the frame decides. A `ping` and an `error` keep
    the data as `raw`. For the name of any other known event, this function raises ProtocolError.
    Any other name, or no name, gives an `UnknownEvent`.

    Raises:
        ProtocolError: if the frame cannot be tolerated. The caller must still report the flaws that
            the framer has found.
    """
    if len(frame.data) <= MARKER_CHARACTERS and is_done_marker(frame.data):
        return None, (Flaw(ViolationCode.DONE_MARKER),)
    try:
        payload = object_in(frame.data, limits.depth)
    except TooDeepError as error:
        raise limit_error_of(frame, TOO_DEEP, "depth", limits.depth, error.position) from None
    if payload is None:
        return read_text(frame, limits)
    event, flaws = event_from_payload(frame.name, payload, limits.blocks)
    return event, flaws if frame.name else (UNNAMED, *flaws)


UNNAMED: Final = Flaw(ViolationCode.MISSING_EVENT_NAME)


def read_text(frame: Frame, limits: Limits) -> Reading:
    """Return the event of a frame whose data is not a JSON object, and its flaws."""
    event = event_from_text(frame.name, frame.data)
    parts = payloads_in(frame.data, limits)
    if event is None:
        reason, position = reason_against(frame.data, limits)
        if len(parts) > 1:
            reason = ViolationCode.MISSING_BLANK_LINE.meaning
        sentence = f"the data of {frame.name} cannot be read: {reason}"
        raise error_of(frame, sentence, ViolationCode.UNDECODABLE_PAYLOAD, position)
    flaws: Flaws = () if frame.name else (UNNAMED,)
    if isinstance(event, ErrorEvent):
        return event, flaws
    # A brace suggests that the data is a payload that was cut, wrapped or joined to other text.
    loses = ("{" in frame.data or "}" in frame.data) and is_own_name(frame.name)
    if len(parts) > 1:
        # Only the last name of several merged frames is known. If it is a vendor's name, it tells
        # nothing about the other frames.
        lost_content = loses or any(part["type"] in CONTENT_EVENTS for part in parts)
        flaws = (*flaws, Flaw(ViolationCode.MISSING_BLANK_LINE, lost_content))
    if loses or not isinstance(event, PingEvent):
        flaws = (*flaws, Flaw(ViolationCode.UNDECODABLE_PAYLOAD, loses))
    return event, flaws


def is_own_name(name: str) -> bool:
    """Whether a frame with this name is from the API, or may be because the name is damaged."""
    return name.strip().lower() in OWN_NAMES or REPLACEMENT in name


def reason_against(data: str, limits: Limits) -> tuple[str, int | None]:
    """Return why data is not a JSON object, and where the error is if it is not JSON.

    To find the position takes ten times as long as to find that there is an error. This function
    runs at most once per stream, because the stream ends with this error.
    """
    try:
        loads(data, limits.depth)
    except InvalidJSONError as error:
        return error.reason, error.position
    return "not a JSON object", None


def payloads_in(data: str, limits: Limits) -> list[dict[str, Any]]:
    """Return the payloads among the lines of data: JSON objects with a type.

    The result is empty if data is a single line. Only the first `MANY_LINES` lines that look like
    payloads are parsed, because a peer may send a million of them.
    """
    found: list[dict[str, Any]] = []
    lines = re.finditer(LINES_LIKE_PAYLOADS, data) if "\n" in data else ()
    for line in itertools.islice(lines, MANY_LINES):
        with contextlib.suppress(TooDeepError):
            value = object_in(line[0], limits.depth)
            if value is not None and isinstance(value.get("type"), str):
                found.append(value)
    return found


MANY_LINES: Final = 100
# `re` compiles these two patterns at their first use, because few streams need them.
LINES_LIKE_PAYLOADS: Final = r'(?m)^[^\S\n]*+\{.*"type".*'


def names_content(frame: Frame) -> bool:
    """Whether a frame that was cut off seems to be of a content event.

    It seems so if its name, which may also be cut off, can only be the name of a content event. It
    also seems so if its data contains the type of a content event.
    """
    meant = {name for name in EVENTS if frame.name and name.startswith(frame.name)}
    is_named = meant != set() and meant <= CONTENT_EVENTS
    return is_named or any(f'"{name}"' in frame.data for name in CONTENT_EVENTS)


def replacement_loses_content(
    frame: Frame, event: MessageStreamEvent | None, limits: Limits
) -> bool:
    """Whether a content event has invalid UTF-8 outside of its text or thinking.

    Invalid UTF-8 in text or thinking is not a silent loss, because a person can see the U+FFFD.
    """
    if event is None or not may_add_content(event):
        return False
    # The data is decoded again, with the invalid bytes as lone surrogates. To count U+FFFD instead
    # would be wrong, because the peer may have sent it. The peer can send surrogates only as
    # escapes of JSON. `event` and `escaped` both have these, so they do not change the difference.
    data = frame.sent.decode("utf-8", "surrogateescape")
    escaped, _ = event_from_payload(frame.name, loads(data, limits.depth), limits.blocks)
    visible = count_escaped(visible_text(escaped)) - count_escaped(visible_text(event))
    return count_escaped(data) > visible


def count_escaped(text: str) -> int:
    """Return how many bytes of a text that was decoded with "surrogateescape" were invalid."""
    # A list of the matches would take 90 bytes for each of them.
    return len(text) - len(re.sub(ESCAPED, "", text))


ESCAPED: Final = "[\udc80-\udcff]++"


def read_payload(payload: Payload, limits: Limits) -> Reading:
    """Return the event of a payload that came without a frame, and its flaws.

    Raises:
        LimitError: if the payload is too deep or too large.
    """
    if payload.depth > limits.depth:
        raise limit_error_of(payload, TOO_DEEP, "depth", limits.depth)
    if payload.size > limits.event_bytes:
        raise limit_error_of(payload, TOO_LARGE, "event_bytes", limits.event_bytes)
    return event_from_payload("", payload.data, limits.blocks)


def is_whole(frame: Frame, limits: Limits) -> bool:
    """Whether a frame without its blank line is complete: a JSON object or an end mark."""
    try:
        return is_done_marker(frame.data) or object_in(frame.data, limits.depth) is not None
    except TooDeepError:
        return True  # the frame exceeds a limit, whatever may follow


def measured(payload: Mapping[str, Any], limits: Limits) -> Payload:
    """Return a payload with its size and depth. Each is exact unless it exceeds its limit.

    The payload is measured level by level. Recursion is not used, because the peer chooses the
    depth. The measuring ends even if a payload contains itself.

    Raises:
        TypeError: if the payload is not JSON: a key is not a string, or a value has a type that
            JSON does not have. The only containers are dict and list.
    """
    size = depth = 0
    level: list[Any] = [payload]
    while level and depth <= limits.depth and size <= limits.event_bytes:
        depth += 1
        inner: list[Any] = []
        for container in level:
            values: Any = container
            if not is_array(container):
                try:
                    size += len("".join(container))
                except TypeError:
                    check_type(next(name for name in container if not isinstance(name, str)), str)
                values = container.values()
            for value in values:
                kind = type_of(value)  # a load of `__class__` takes 100 instructions more
                if kind is str:
                    size += len(value)
                elif kind is dict or kind is list:
                    size += 1
                    inner.append(value)
                elif kind in SCALARS:
                    size += 1
                else:
                    check_type(value, *JSON_TYPES)
                    size += len(value) if isinstance(value, str) else 1
                    if isinstance(value, (dict, list)):
                        inner.append(value)
        level = inner
    return Payload(payload, size, depth)


type_of: Final[Callable[[object], Any]] = type
SCALARS: Final[tuple[type, ...]] = (int, float, bool, type(None))
JSON_TYPES: Final = (dict, list, str, *SCALARS)

_shortener = reprlib.Repr()
_shortener.maxdict = _shortener.maxlist = 20
_shortener.maxstring = _shortener.maxother = 200


def shortened(payload: Mapping[str, Any]) -> str:
    """Return the beginning of the repr of a payload. The part left out costs nothing."""
    try:
        return _shortener.repr(payload)
    except ValueError:  # Python refuses to write an integer with too many digits
        return "a payload that cannot be shown"
