"""The fast path: reads a delta by comparing the bytes of its frame with a template.

Nearly all frames of a stream are deltas of one block, and differ from each other in one string only
and in padding:

    event: content_block_delta⏎
    data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hello"}   }⏎⏎
    |----------------------------- prefix ---------------------------------------|string|---tail---|

Strategy: a `DeltaTemplate` has the prefix and the tail. Two functions make templates. When a block
begins, `expected_template` makes the one for the layout that the API writes. If the deltas have
another order of members or other blanks, `learned_template` makes one from a decoded delta. A frame
matches if it has the prefix, a string, and the tail, with any padding. Such a frame means the same
as the delta of the template, with another string. There are two reasons:

* Its JSON text is the same except for the string, and the string is the text of the delta. For the
  API's layout this is known. For a learned layout it is verified: `learned_template` decodes the
  frame once more with another string.
* `transitions.decide` would return the same decision: to fold it without a violation. The decision
  depends on the type and the index of the event, on the state of the stream, and on whether the
  block exists, is open and accepts the delta. An event that could change one of these is decoded,
  and then the reader drops the template.

The reader compares the size of each frame with the limits. It decodes every frame that does not
match completely, even if the bytes already show a fault. So the machine gives the same results
without the fast path, only slower.

Pure: a template is immutable, and has no reference to the buffer or the message.
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
from .surrogates import has_split_pair

if TYPE_CHECKING:
    from collections.abc import Callable

    from .errors import Limits

# For each class of deltas that a template can read, the member that has its text. In such a delta
# all other members are None.
TEXT_FIELDS: Final[dict[type[Any], str]] = {
    TextDelta: "text",
    ThinkingDelta: "thinking",
    InputJSONDelta: "partial_json",
}
# For each class of blocks, the class of deltas for which `expected_template` makes a template.
# UnknownBlock is left out, because it keeps every delta as an object.
EXPECTED: Final[dict[type[Any], type[Any]]] = {
    block: delta for delta in TEXT_FIELDS for block in FITTING[delta] - {UnknownBlock}
}

# The layout that the API writes.
PREFIX: Final = (
    "event: content_block_delta\n"
    'data: {{"type":"content_block_delta","index":{},"delta":{{"type":"{}","{}":"'
)
PING: Final = b'event: ping\ndata: {"type": "ping"}\n\n'

# STRING matches the characters of a JSON string within one line. It accepts any escape; the JSON
# scanner rejects invalid ones. PADDED_END matches the blanks with which the API pads its frames.
STRING: Final = rb'[^"\\\x00-\x1f]*+(?:\\[^\x00-\x1f][^"\\\x00-\x1f]*+)*+'
PADDED_END: Final = rb" *+\}\n\n"
expected_tail: Final = re.compile(rb'(%s)"\}%s' % (STRING, PADDED_END)).match
learned_tail: Final = re.compile(rb'(%s)("[^\n]*[^ \n])%s' % (STRING, PADDED_END)).match
begin_of_string: Final = re.compile(rb'"(?:text|thinking|partial_json)": ?"').search
BACKSLASH: Final = ord("\\")
# The string scanner of `json`, which CPython implements in C. Arguments: a text and the index after
# the opening quote. Result: the string and the index after the closing quote.
scan_string: Final = vars(JSONDecoder())["parse_string"]

MAX_LEARN_ATTEMPTS: Final = 4
"""The maximum number of calls of `learned_template` in a row: a call costs as much as decoding two
deltas. Every event that is not a delta, a ping or an unknown event resets the count.
"""


def setter_of(cls: type[Any], name: str) -> Callable[[Any, Any], None]:
    """Return a function that sets a member of a new object of a frozen class.

    Strategy: making an event with its delta by `__init__` takes 0.65 µs, because a frozen class
    calls `object.__setattr__` for each member. With these functions it takes 0.41 µs (CPython
    3.11). They may only be used before the object is returned to a caller.
    """
    setter: Callable[[Any, Any], None] = getattr(cls, name).__set__
    return setter


new: Final = object.__new__
set_index: Final = setter_of(ContentBlockDeltaEvent, "index")
set_delta: Final = setter_of(ContentBlockDeltaEvent, "delta")
set_rest: Final = setter_of(ContentBlockDeltaEvent, "_rest")
SETTERS: Final = {
    delta: (
        setter_of(delta, text),
        [setter_of(delta, each.name) for each in fields_of(delta) if each.name != text],
    )
    for delta, text in TEXT_FIELDS.items()
}


class DeltaTemplate:
    """The bytes around the string of a delta's frame, and the event that they encode.

    Attributes:
        index: the index of the block.
        member: the name of the text of the block to which the string is added.
        prefix: the bytes before the string.
        match_tail: the `match` method of the pattern for the rest of the frame. Its first group is
            the string, without quotes.
        suffix: the bytes that the second group must equal; None if the pattern has no second group.

    Args:
        prefix: the bytes before the string.
        suffix: the bytes between the string and the padding; None for the layout of the API.
        index: the index of the block.
        delta: the class of the delta.
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
        assert isinstance(rule, Append), "the first rule of a delta with a text is Append"
        self.member = rule.member
        self.prefix = prefix
        self.match_tail = expected_tail if suffix is None else learned_tail
        self.suffix = suffix
        self._delta = delta
        self._set_text, self._set_none = SETTERS[delta]

    def __reduce__(self) -> tuple[Any, ...]:
        # The match methods and the setters cannot be pickled. `__init__` sets them again.
        return DeltaTemplate, (self.prefix, self.suffix, self.index, self._delta)

    def read(self, buffer: bytes, pos: int) -> tuple[ContentBlockDeltaEvent, str, int] | None:
        """Return the event of the frame at `pos`, its text, and the index of its end.

        None if the bytes do not match, or if decoding them might give another result.
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
                if not text.isascii() and has_split_pair(text):
                    return None  # `GrowingBlock.grow` joins the half with the other one
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
    """Return the template for deltas in the API's layout, for the block that this event begins.

    None if no template can read the deltas of such a block.
    """
    delta = EXPECTED.get(type(event.content_block))
    if delta is None:
        return None
    prefix = PREFIX.format(event.index, delta.type, TEXT_FIELDS[delta])
    return DeltaTemplate(prefix.encode(), None, event.index, delta)


def learned_template(
    event: ContentBlockDeltaEvent, raw: bytes, limits: Limits
) -> DeltaTemplate | None:
    """Return the template for deltas in the layout of a decoded one, or None if there is none.

    Args:
        event: the decoded delta. The type of its block must be known.
        raw: the bytes of its frame.
        limits: the limits of the stream.
    """
    delta: type[Any] = type(event.delta)
    begun = begin_of_string(raw) if delta in TEXT_FIELDS else None
    tail = learned_tail(raw, begun.end()) if begun else None
    if begun is None or tail is None or not tail[1]:
        return None
    prefix, suffix = raw[: begun.end()], tail[2]
    # Verify by decoding the same frame with another string. The other string is one letter, so the
    # frame stays one frame, and exceeds no limit that the decoded one did not exceed.
    other = "x" if getattr(event.delta, TEXT_FIELDS[delta]) != "x" else "y"
    framer = Framer(limits)
    framer.buffer.feed(prefix + other.encode() + suffix + b"}\n\n")
    frame = framer.next_frame()
    assert frame is not None, "the decoded bytes were one frame, and so are these"
    expected = ContentBlockDeltaEvent(event.index, delta(other))
    if read_frame(frame, limits) != (expected, ()):
        return None
    return DeltaTemplate(prefix, suffix, event.index, delta)
