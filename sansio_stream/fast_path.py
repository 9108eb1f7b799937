"""The fast path: recognises a frame that differs from a known one in a single string, by its bytes.

Nearly all frames of a stream are deltas of the block that is growing, and nearly all their bytes
are those of the delta before:

    event: content_block_delta⏎
    data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hello"}   }⏎⏎
    |----------------------------- prefix ---------------------------------------|string|---tail---|

Strategy: a `DeltaTemplate` holds the prefix and the tail. When a block has begun, they are expected
as the API writes them. Where deltas have another order or other blanks, they are learned from one
that was decoded. A frame with the same prefix, a string, and the same tail but for padding, means
the same with another string, because

* it is the same JSON text but for that string, and the string is the text of the delta and nothing
  else. As the API writes it, that can be seen. For anything else the frame is decoded once more
  with another string;
* what decoding would ask has the same answer: the name, the types, the index, the state, and
  whether the block is there, runs, and takes such a delta. An event that could change one of these
  is decoded, and the machine drops the template with it.

The machine compares each frame with the limits. A frame that is not recognised to the last byte is
decoded, even where it could be told from its bytes what is wrong with it. So the fast path may be
switched off, and nothing changes but the time.

Pure: a template is immutable, and knows neither the buffer nor the message.
"""

from __future__ import annotations

import re
from json import JSONDecoder
from typing import TYPE_CHECKING, Any, Final

from .blocks import FITTING, FOLDS, Append
from .codec import fields_of
from .events import (
    ContentBlockDeltaEvent,
    ContentBlockStartEvent,
    InputJSONDelta,
    TextDelta,
    ThinkingDelta,
)
from .framer import Framer
from .message import UnknownBlock
from .reading import read_frame
from .surrogates import ends_in_half

if TYPE_CHECKING:
    from collections.abc import Callable

    from .errors import Limits

# The deltas that are recognised, with the member that has their text; all others are None. And the
# blocks that expect them. A block of an unknown type keeps each delta, so it expects none.
TEXT_FIELDS: Final[dict[type[Any], str]] = {
    TextDelta: "text",
    ThinkingDelta: "thinking",
    InputJSONDelta: "partial_json",
}
EXPECTED: Final[dict[type[Any], type[Any]]] = {
    block: delta for delta in TEXT_FIELDS for block in FITTING[delta] - {UnknownBlock}
}

# As the API writes them.
PREFIX: Final = (
    "event: content_block_delta\n"
    'data: {{"type":"content_block_delta","index":{},"delta":{{"type":"{}","{}":"'
)
PING: Final = b'event: ping\ndata: {"type": "ping"}\n\n'

# A string's characters, which never leave their line, and padding. Which escapes there are is left
# to the JSON scanner.
STRING: Final = rb'[^"\\\x00-\x1f]*+(?:\\[^\x00-\x1f][^"\\\x00-\x1f]*+)*+'
PADDED_END: Final = rb" *+\}\n\n"
expected_tail: Final = re.compile(rb'(%s)"\}%s' % (STRING, PADDED_END)).match
learned_tail: Final = re.compile(rb'(%s)("[^\n]*[^ \n])%s' % (STRING, PADDED_END)).match
begin_of_string: Final = re.compile(rb'"(?:text|thinking|partial_json)": ?"').search
BACKSLASH: Final = ord("\\")
# As `json` has it, in C: a text and where a string begins in it -> the string, and its end.
scan_string: Final = vars(JSONDecoder())["parse_string"]

MAX_LEARN_ATTEMPTS: Final = 4
"""How often the layout of deltas is learned, until an event comes that changes more than a block:
each attempt costs as much as decoding two deltas.
"""


def slot(cls: type[Any], name: str) -> Callable[[Any, Any], None]:
    """Return what sets a member of an object of a frozen class, before anybody else has it.

    The `__init__` of a frozen class goes by way of `object.__setattr__`: 0.65 µs for a delta in its
    event where this takes 0.41 (CPython 3.11).
    """
    setter: Callable[[Any, Any], None] = getattr(cls, name).__set__
    return setter


new: Final = object.__new__
set_index: Final = slot(ContentBlockDeltaEvent, "index")
set_delta: Final = slot(ContentBlockDeltaEvent, "delta")
set_rest: Final = slot(ContentBlockDeltaEvent, "_rest")
SETTERS: Final = {
    delta: (
        slot(delta, text),
        [slot(delta, each.name) for each in fields_of(delta) if each.name != text],
    )
    for delta, text in TEXT_FIELDS.items()
}


class DeltaTemplate:
    """The bytes of a delta around its string, and what it means.

    Attributes:
        index: the index of the block.
        member: the text of the block that grows.
        prefix: what precedes the string.
        match_tail: matches the string, as its first group, and what follows it; None for no frame.
        suffix: what the second group must be; None if there is no second group.
    """

    __slots__ = (
        "_delta",
        "_set_none",
        "_set_text",
        "index",
        "match_tail",
        "member",
        "prefix",
        "suffix",
    )

    def __init__(self, prefix: bytes, suffix: bytes | None, index: int, delta: type[Any]) -> None:
        self.index = index
        rule = FOLDS[delta][0]
        assert isinstance(rule, Append), "its text is added to a text"
        self.member = rule.member
        self.prefix = prefix
        self.match_tail = expected_tail if suffix is None else learned_tail
        self.suffix = suffix
        self._delta = delta
        self._set_text, self._set_none = SETTERS[delta]

    def __reduce__(self) -> tuple[Any, ...]:
        # What matches and what sets members is derived.
        return DeltaTemplate, (self.prefix, self.suffix, self.index, self._delta)

    def read(self, buffer: bytes, pos: int) -> tuple[ContentBlockDeltaEvent, str, int] | None:
        """Read a frame that begins at `pos`: return its event, its text, and where it ends.

        None for anything that decoding might read in another way.
        """
        if not buffer.startswith(self.prefix, pos):
            return None
        tail = self.match_tail(buffer, pos + len(self.prefix))
        if tail is None or (self.suffix is not None and tail[2] != self.suffix):
            return None
        raw = tail[1]
        try:
            if BACKSLASH in raw:
                text = scan_string(tail[0].decode(), 0)[0]
                if not text.isascii() and ends_in_half(text):
                    return None  # the block joins it with the other half
            else:
                text = raw.decode()
        except ValueError:  # not UTF-8, or an escape that JSON does not have
            return None
        delta = new(self._delta)
        self._set_text(delta, text)
        for set_none in self._set_none:
            set_none(delta, None)
        event = new(ContentBlockDeltaEvent)
        set_index(event, self.index)
        set_delta(event, delta)
        set_rest(event, None)
        return event, text, tail.end()


def expected_template(event: ContentBlockStartEvent) -> DeltaTemplate | None:
    """Return the template of a delta as the API writes it, for a block that has just begun."""
    delta = EXPECTED.get(type(event.content_block))
    if delta is None:
        return None
    prefix = PREFIX.format(event.index, delta.type, TEXT_FIELDS[delta])
    return DeltaTemplate(prefix.encode(), None, event.index, delta)


def learned_template(
    event: ContentBlockDeltaEvent, raw: bytes, limits: Limits
) -> DeltaTemplate | None:
    """Return the template of more deltas like one that was decoded, None for another form.

    Args:
        event: what was decoded, of a block of a known type.
        raw: the bytes of its frame.
        limits: those of the stream.
    """
    delta: type[Any] = type(event.delta)
    begun = begin_of_string(raw) if delta in TEXT_FIELDS else None
    tail = learned_tail(raw, begun.end()) if begun else None
    if begun is None or tail is None or not tail[1]:
        return None
    prefix, suffix = raw[: begun.end()], tail[2]
    # Verify by decoding the same frame with another string. That string is no longer and stays in
    # its line, so that the frame is a frame again, and exceeds no limit.
    other = "x" if getattr(event.delta, TEXT_FIELDS[delta]) != "x" else "y"
    framer = Framer(limits)
    framer.buffer.feed(prefix + other.encode() + suffix + b"}\n\n")
    frame = framer.next_frame()
    assert frame is not None, "it was one before"
    expected = ContentBlockDeltaEvent(event.index, delta(other))
    if read_frame(frame, limits) != (expected, ()):
        return None
    return DeltaTemplate(prefix, suffix, event.index, delta)
