"""The fast path: reads a delta by comparing the bytes of its frame with a template.

Nearly all frames of a stream are deltas. The deltas of one block differ from each other only in one
string and in their padding:

    event: content_block_delta⏎
    data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hello"}   }⏎⏎
    |------------------------------------- prefix ------------------------------------|TTTTTSSPPPPPP

The prefix includes the line of the event name. T is the string with the text, S is the suffix, and
P is the padding. The padding has blanks, the last brace, more blanks in some layouts, and the end
of the frame.

Strategy: a `DeltaTemplate` has the prefix, the suffix and the end of the frame. Two functions make
templates. When a block begins, `expected_template` makes the one for the layout that the API
writes. The deltas may have another order of members, other blanks, other line ends or no event
name. Then `learned_template` makes a template from a decoded delta. A frame matches if it has the
prefix, a string, the suffix, and any padding. A frame that matches encodes the event of the
template with its own text. There are two reasons:

* Its JSON text is the same except for the string, and the string is the text of the delta. For the
  API's layout this is known. For a learned layout it is verified: `learned_template` decodes the
  frame once more with another string.
* `transitions.decide` would return the same decision: to fold the event without a violation. The
  decision depends on the type and the index of the event, on the state of the stream, and on
  whether the block exists, is open and accepts the delta. The reader decodes each event that could
  change one of these, and drops the template after it.

Two other frames are compared with their bytes: a ping, with those of a `PingTemplate`, and the
content_block_stop of the block in the API's layout. While there is a template, the message and its
block are open, so this stop breaks no rule. It also drops the template.

The reader uses a template only for bytes that cannot exceed a limit. It decodes every frame that
does not match completely, even if the bytes already show a fault. So the machine gives the same
results without the fast path, only slower.

A template is immutable, and has no reference to the buffer or the message.
"""

from __future__ import annotations

import functools
import re
from json import JSONDecoder
from typing import TYPE_CHECKING, Any, Final

import attrs

from . import frozen
from .blocks import ACCEPTED, FOLDS, Append
from .errors import ViolationCode  # attrs evaluates the annotation of `Layout`
from .events import (
    ContentBlockDeltaEvent,
    ContentBlockStartEvent,
    InputJSONDelta,
    PingEvent,
    TextDelta,
    ThinkingDelta,
)
from .framer import Framer
from .message import UnknownBlock
from .reading import UNNAMED, read_frame
from .surrogates import has_split_pair

if TYPE_CHECKING:
    from .errors import Limits
    from .message import ContentBlock
    from .payloads import Flaws

# For each class of deltas that a template can read, the member that has its text. In such a delta
# all other members are None.
TEXT_FIELDS: Final[dict[type[Any], str]] = {
    TextDelta: "text",
    ThinkingDelta: "thinking",
    InputJSONDelta: "partial_json",
}
# For each class of blocks, the class of deltas that a template can read. UnknownBlock is left out,
# because it keeps every delta as an object.
EXPECTED: Final[dict[type[Any], type[Any]]] = {
    block: delta
    for block, accepted in ACCEPTED.items()
    for delta in TEXT_FIELDS
    if delta in accepted and block is not UnknownBlock
}

# The layout that the API writes.
PREFIX: Final = (
    "event: content_block_delta\n"
    'data: {{"type":"content_block_delta","index":{},"delta":{{"type":"{}","{}":"'
)
STOP: Final = 'event: content_block_stop\ndata: {{"type":"content_block_stop","index":{}'

# STRING matches the characters of a JSON string within one line. It accepts any escape; the JSON
# scanner rejects invalid ones.
STRING: Final = rb'[^"\\\x00-\x1f]*+(?:\\[^\x00-\x1f][^"\\\x00-\x1f]*+)*+'
# The rest of a frame from the beginning of its string on: the string, the suffix, blanks, the last
# brace, blanks, and the end of the frame. The first blanks and the brace are not captured.
learned_rest: Final = re.compile(
    rb'(%s)("[^\r\n]*[^ \r\n]) *+\}( *+)(\n\n|\r\n\r\n)' % STRING
).fullmatch
begin_of_string: Final = re.compile(rb'"(?:text|thinking|partial_json)": ?"').search
BEGIN_OF_DATA: Final = len(b"data: ")
# The string scanner of `json`, which CPython implements in C. Arguments: a text and the index after
# the opening quote. Result: the string and the index after the closing quote.
scan_string: Final = vars(JSONDecoder())["parse_string"]
# A table for `bytes.translate` that changes exactly the bytes that a JSON string does not have, or
# has only in escapes.
CHANGE_SPECIAL: Final = bytes(
    (byte + 1) % 256 if byte < 0x20 or byte in b'"\\' else byte for byte in range(256)
)

MAX_LEARN_ATTEMPTS: Final = 4
"""The maximum number of calls of `learned_template` in a row. A call costs as much as decoding two
deltas. Deltas, pings and unknown events do not reset the count; every other event does.
"""

MAX_BLANKS: Final = 32
"""A frame with more blanks before or after its last brace is decoded. The API writes at most 15."""


@functools.cache
def paddings(end: bytes, *, is_after_brace: bool) -> frozenset[bytes]:
    """Return all that may follow the suffix: blanks, the last brace, and the end of the frame.

    Args:
        end: the end of the frame; b"" for a frame without its end.
        is_after_brace: whether blanks may follow the brace, too.
    """
    blanks = [b" " * count for count in range(MAX_BLANKS + 1)]
    behind = blanks if is_after_brace else [b""]
    return frozenset(before + b"}" + after + end for before in blanks for after in behind)


def unescaped(raw: bytes) -> str:
    """Return the string that the bytes between two quotes of a JSON text stand for.

    Raises:
        ValueError: the bytes are not such a string, or it begins or ends with half of a surrogate
            pair, which `GrowingText.append` joins with the other half.
    """
    text = raw.decode()
    string: str
    string, end = scan_string(text + '"', 0)
    if end <= len(text):
        raise ValueError(end)
    # Bytes that are UTF-8 have no halves of pairs, so only an escape can stand for one.
    if not string.isascii() and "\\u" in text and has_split_pair(string):
        raise ValueError(string)
    return string


# A twin makes objects that can be written to until they get their frozen class: see `frozen`.
EventTwin: Final = frozen.twin_of(ContentBlockDeltaEvent)
DELTA_TWINS: Final = {delta: frozen.twin_of(delta) for delta in TEXT_FIELDS}
for _delta, _text in TEXT_FIELDS.items():
    # With a second name, one line of code sets or gets the text in objects of all classes.
    frozen.name_member(DELTA_TWINS[_delta], _text, "_text_of_delta")
    frozen.name_member(_delta, _text, "_text_of_delta")


@attrs.frozen(eq=False, repr=False)
class Layout(frozen.HashableValue):
    """The bytes of a frame around the string of its delta.

    Attributes:
        prefix: the bytes before the string.
        suffix: the bytes between the string and the padding.
        end: the end of the frame.
        is_padded_after_brace: whether blanks may follow the last brace.
        code: the violation of every such frame, or None.
    """

    prefix: bytes
    suffix: bytes = b'"}'
    end: bytes = b"\n\n"
    is_padded_after_brace: bool = False
    code: ViolationCode | None = None


class DeltaTemplate:
    """The layout of the frames of a block's deltas, and the event that such a frame encodes.

    Attributes:
        index: the index of the block.
        member: the name of the member of the block that grows by the string.
        end: the end of a frame.
        paddings: what may follow the suffix, without the end of the frame.
        last_paddings: what may follow the suffix, with the end of the frame.
        stop: the content_block_stop of the block in the API's layout, up to its padding.
        uncounted: the number of bytes of each frame that do not count in its size. The framer
            counts the line end of a blank line as one byte, even if it is CRLF.
        code: the violation of every such frame, or None.

    Args:
        layout: the layout.
        index: the index of the block.
        delta: the class of the delta.
    """

    __slots__ = (
        "_delta",
        "_is_thinking",
        "_layout",
        "_new_delta",
        "_prefix",
        "_suffix",
        "code",
        "end",
        "index",
        "last_paddings",
        "member",
        "paddings",
        "stop",
        "uncounted",
    )

    def __init__(self, layout: Layout, index: int, delta: type[Any]) -> None:
        rule = FOLDS[delta][0]
        assert isinstance(rule, Append), "the first rule of a delta with a text is Append"
        self.index = index
        self.member = rule.member
        self.end = layout.end
        self.paddings = paddings(b"", is_after_brace=layout.is_padded_after_brace)
        self.last_paddings = paddings(layout.end, is_after_brace=layout.is_padded_after_brace)
        self.uncounted = layout.end.count(b"\r\n\r\n")
        self.code = layout.code
        self._layout = layout
        self._prefix = layout.prefix
        self._suffix = layout.suffix
        self.stop = STOP.format(index).encode()
        self._delta = delta
        self._new_delta = DELTA_TWINS[delta]
        self._is_thinking = delta is ThinkingDelta

    def __reduce__(self) -> tuple[Any, ...]:
        # A twin cannot be pickled. `__init__` sets it again.
        return DeltaTemplate, (self._layout, self.index, self._delta)

    def read(
        self, frame: bytes, paddings: frozenset[bytes], pieces: list[str] | None
    ) -> ContentBlockDeltaEvent | None:
        """Return the event of a frame.

        None if the bytes do not match, or if decoding them might give another result.

        Args:
            frame: the bytes of the frame, with or without its end.
            paddings: `last_paddings` for a frame with its end, else `paddings`.
            pieces: the list to which the text is appended; None to append nothing.
        """
        # `removeprefix` takes 490 instructions and `rpartition` 930. A pattern for the whole frame
        # takes 4,200 to 4,900.
        rest = frame.removeprefix(self._prefix)
        if rest is frame:
            return None
        raw, suffix, padding = rest.rpartition(self._suffix)
        # Without a suffix, all of `rest` is the padding.
        if padding not in paddings or not suffix:
            return None
        try:
            # `translate` returns the same object if it changes nothing. To search for the bytes one
            # by one, or with a pattern, takes twice as long.
            text = raw.decode() if raw.translate(CHANGE_SPECIAL) is raw else unescaped(raw)
        except ValueError:
            return None
        if pieces is not None:
            pieces.append(text)
        if not frozen.CLASS_CHANGES_ARE_CHEAP:
            return ContentBlockDeltaEvent(self.index, self._delta(text))
        # CPython 3.11 does not specialise the call of an attribute. This saves 150 instructions.
        new_delta = self._new_delta
        delta = new_delta()
        delta._text_of_delta = text  # noqa: SLF001  (no other code has this object yet)
        delta._rest = None  # noqa: SLF001  (as above)
        if self._is_thinking:
            delta.signature = None
            delta.estimated_tokens = None
        delta.__class__ = self._delta
        event = EventTwin()
        event.index = self.index
        event.delta = delta
        event._rest = None  # noqa: SLF001  (as above)
        event.__class__ = ContentBlockDeltaEvent
        finished: ContentBlockDeltaEvent = event
        return finished

    def end_of_stop(self, text: bytes, pos: int, maximum: int) -> int:
        """Return the index of the end of a frame that begins with `stop`; 0 if it does not match.

        Args:
            text: the bytes with the frame.
            pos: the index of its beginning.
            maximum: the maximum size of a frame.
        """
        end = text.find(b"\n\n", pos, pos + maximum) + 2
        return end if text[pos + len(self.stop) : end] in self.last_paddings else 0


@attrs.frozen(eq=False, repr=False)
class PingTemplate(frozen.HashableValue):
    """The bytes of a ping. A ping is legal in every state, and changes nothing.

    Attributes:
        frame: the bytes of the frame.
        event: the event.
        code: the violation of every such frame, or None.
    """

    frame: bytes = b'event: ping\ndata: {"type": "ping"}\n\n'
    event: PingEvent = attrs.field(factory=PingEvent)
    code: ViolationCode | None = None


def data_of(frame: bytes) -> bytes:
    """Return the data of a frame whose template has a violation. The frame has one line of data."""
    return frame[BEGIN_OF_DATA:].rstrip(b"\r\n")


def learned_ping(event: PingEvent, raw: bytes, flaws: Flaws) -> PingTemplate | None:
    """Return the template for pings with these bytes, or None if there can be none.

    Args:
        event: the decoded ping.
        raw: the bytes of its frame.
        flaws: the flaws of the frame.
    """
    if flaws in ((), (UNNAMED,)):
        code = flaws[0].code if flaws else None
        if code is None or is_one_line(raw.rstrip(b"\r\n")):
            return PingTemplate(raw, event, code)
    return None


def is_one_line(begin: bytes) -> bool:
    """Return whether the beginning of a frame is a single `data` line, as `data_of` needs it."""
    return begin.startswith(b"data: {") and b"\n" not in begin


def expected_template(event: ContentBlockStartEvent) -> DeltaTemplate | None:
    """Return the template for deltas in the API's layout, for the block that this event begins.

    None if no template can read the deltas of such a block.
    """
    delta: Any = EXPECTED.get(type(event.content_block))
    return None if delta is None else template_of_api(event.index, delta)


@functools.lru_cache(maxsize=64)
def template_of_api(index: int, delta: type[Any]) -> DeltaTemplate:
    """Return the template for deltas of a class in the API's layout.

    The blocks of most streams have the same few indexes. With the cache, a mixed stream takes
    17,900 instructions for each event, and without it 18,020.
    """
    prefix = PREFIX.format(index, delta.type, TEXT_FIELDS[delta])
    return DeltaTemplate(Layout(prefix.encode()), index, delta)


def learned_template(
    event: ContentBlockDeltaEvent, raw: bytes, limits: Limits, flaws: Flaws, start: ContentBlock
) -> DeltaTemplate | None:
    """Return the template for deltas in the layout of a decoded one, or None if there is none.

    Args:
        event: the decoded delta.
        raw: the bytes of its frame.
        limits: the limits of the stream.
        flaws: the flaws of the frame.
        start: the block as its content_block_start sent it.
    """
    delta: type[Any] = type(event.delta)
    begun = begin_of_string(raw) if delta is EXPECTED.get(type(start)) else None
    rest = learned_rest(raw, begun.end()) if begun else None
    if begun is None or rest is None or not rest[1]:
        return None
    _, suffix, blanks, end = rest.groups()
    prefix = raw[: begun.end()]
    code = None
    if flaws:
        # Frames without a name are common enough to have a template.
        if flaws != (UNNAMED,) or not is_one_line(prefix):
            return None
        code = UNNAMED.code
    # Verify the layout: decode the same frame with another string. This string is one letter, so
    # the bytes stay one frame, which exceeds no limit that the first frame did not exceed.
    other = "x" if getattr(event.delta, TEXT_FIELDS[delta]) != "x" else "y"
    framer = Framer(limits)
    framer.buffer.feed(prefix + other.encode() + suffix + b"}" + end)
    frame = framer.next_frame()
    assert frame is not None, "the decoded bytes were one frame, and so are these"
    expected = ContentBlockDeltaEvent(event.index, delta(other))
    if read_frame(frame, limits) != (expected, flaws):
        return None
    layout = Layout(prefix, suffix, end, blanks != b"", code)
    return DeltaTemplate(layout, event.index, delta)
