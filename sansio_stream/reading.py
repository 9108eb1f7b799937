"""From frame to event: a frame or a payload in; the event it stands for, and what was wrong with
it, out.

Knows no order and keeps nothing.
"""

from __future__ import annotations

import contextlib
import itertools
import re
import reprlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeAlias

import attrs

from .codec import is_array
from .errors import (
    Fault,
    Flaw,
    LimitError,
    Limits,
    ProtocolError,
    ViolationCode,
    check_type,
    excerpt,
)
from .events import ErrorEvent, MessageStreamEvent, PingEvent
from .losses import CONTENT_EVENTS, may_be_content, visible_text
from .partial_json import InvalidJSONError, TooDeepError, loads, object_in
from .payloads import EVENTS, Flaws, event_from_payload, event_from_text

if TYPE_CHECKING:
    from .sse import Frame

done_marker: Final = re.compile(r'\s*(?:data:\s*)?"?\[DONE\]"?\s*', re.IGNORECASE).fullmatch
MARKER_CHARACTERS: Final = 32
"""What is longer is no end mark: to ask for the length first is all that it costs most frames."""

OWN_NAMES: Final = frozenset(EVENTS) | {"", "message", "data"}
"""The names under which the API, or a server that is compatible with it, sends its events. Any
other one is a vendor's own, unless it is damaged: it holds U+FFFD.
"""

REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"


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


def fault_of(origin: Origin, code: ViolationCode, loses_content: bool = False) -> Fault:
    """Return a fault of the whole frame."""
    return Fault(code, excerpt_of(origin), origin.offset, loses_content)


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


Reading: TypeAlias = tuple[MessageStreamEvent | None, Flaws]
"""What came of a frame: the event, None for what is no event; and what was wrong with it and is
tolerated.
"""


def is_done_marker(data: str) -> bool:
    """Whether data is the end mark of another protocol: alone, quoted, or with its field's name
    twice.
    """
    return done_marker(data) is not None


def read_frame(frame: Frame, limits: Limits) -> Reading:
    """Return what a frame stands for.

    A payload that is not a JSON object cannot be tolerated under a name that promises one; `ping`
    and `error` keep it raw, and under any other name it is an unknown event.

    Raises:
        ProtocolError: for what cannot be tolerated. What the framer found is not said yet.
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
    """Return what a frame stands for whose data is not a JSON object."""
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
    # A brace is a sign of a payload that was cut, glued to something, or wrapped.
    loses = ("{" in frame.data or "}" in frame.data) and is_own_name(frame.name)
    if len(parts) > 1:
        # Of several frames in one only the last name is known: a vendor's says nothing of others.
        lost_content = loses or any(part["type"] in CONTENT_EVENTS for part in parts)
        flaws = (*flaws, Flaw(ViolationCode.MISSING_BLANK_LINE, lost_content))
    if loses or not isinstance(event, PingEvent):
        flaws = (*flaws, Flaw(ViolationCode.UNDECODABLE_PAYLOAD, loses))
    return event, flaws


def is_own_name(name: str) -> bool:
    """Whether a frame with that name is the API's, or may be, because the name is damaged."""
    return name.strip().lower() in OWN_NAMES or REPLACEMENT in name


def reason_against(data: str, limits: Limits) -> tuple[str, int | None]:
    """Return why data is not a JSON object, and where it goes wrong if it is no JSON.

    Asked once in a stream, which ends with it: to find the place takes ten times as long as to see
    that there is one.
    """
    try:
        loads(data, limits.depth)
    except InvalidJSONError as error:
        return error.reason, error.position
    return "not a JSON object", None


def payloads_in(data: str, limits: Limits) -> list[dict[str, Any]]:
    """Return the lines of data that are payloads, objects with a type, where it has many lines.

    No more than the first `MANY_LINES` that may be one are read: a peer may send a million.
    """
    found: list[dict[str, Any]] = []
    lines = lines_like_payloads(data) if "\n" in data else ()
    for line in itertools.islice(lines, MANY_LINES):
        with contextlib.suppress(TooDeepError):
            value = object_in(line[0], limits.depth)
            if value is not None and isinstance(value.get("type"), str):
                found.append(value)
    return found


MANY_LINES: Final = 100
lines_like_payloads: Final = re.compile(r'^[^\S\n]*+\{.*"type".*', re.MULTILINE).finditer


def names_content(frame: Frame) -> bool:
    """Whether a frame that was cut is one of a content event, as far as can be seen: by its name,
    which may be cut, too, or by a type in its data.
    """
    meant = {name for name in EVENTS if frame.name and name.startswith(frame.name)}
    is_named = meant != set() and meant <= CONTENT_EVENTS
    return is_named or any(f'"{name}"' in frame.data for name in CONTENT_EVENTS)


def loses_by_replacement(frame: Frame, event: MessageStreamEvent | None, limits: Limits) -> bool:
    """Whether a content event has bytes that were no UTF-8 elsewhere than in its text or thinking,
    where U+FFFD can be seen.
    """
    if event is None or not may_be_content(event):
        return False
    # Read once more with such bytes as lone surrogates: U+FFFD may have been sent, too. Surrogates
    # can be sent as escapes only, which are in both texts.
    data = frame.sent.decode("utf-8", "surrogateescape")
    escaped, _ = event_from_payload(frame.name, loads(data, limits.depth), limits.blocks)
    visible = count_escaped(visible_text(escaped)) - count_escaped(visible_text(event))
    return count_escaped(data) > visible


def count_escaped(text: str) -> int:
    """Return how many bytes of a text that was read with "surrogateescape" were no UTF-8."""
    return len(text) - len(without_escaped("", text))  # a list of them would take 90 bytes for each


without_escaped: Final = re.compile("[\udc80-\udcff]++").sub


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
        return is_done_marker(frame.data) or object_in(frame.data, limits.depth) is not None
    except TooDeepError:
        return True  # it exceeds a limit, whatever may follow


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
                check_type(name, str)
                size += len(name)
                values.append(value)
        for value in values:
            check_type(value, *JSON_TYPES)
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
