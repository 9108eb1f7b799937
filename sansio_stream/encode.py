"""Encoding: events in, bytes of a stream out. For servers, gateways and tests."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from .events import ErrorEvent, PingEvent, UnknownEvent
from .sse import encode_frame

if TYPE_CHECKING:
    from .events import MessageStreamEvent

__all__ = ["encode_event"]


def encode_event(event: MessageStreamEvent) -> bytes:
    """Return the one canonical frame of an event: its name, compact JSON on one line, a blank line.

    Reading it gives an equal event; an event that was kept raw is written raw. Lone surrogates are
    written as escapes, because UTF-8 has no place for them. Raises ValueError for values that JSON
    cannot hold (NaN), and for an unknown event whose type or raw text an event stream cannot hold.
    """
    raw = event.raw if isinstance(event, (PingEvent, ErrorEvent, UnknownEvent)) else None
    name = event.wire_type if isinstance(event, UnknownEvent) else event.type
    data = encode_json(event.to_dict()) if raw is None else raw
    return encode_frame(name, data)


def encode_json(value: object) -> str:
    """Return compact JSON that UTF-8 can hold."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text
