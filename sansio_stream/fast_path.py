"""The fast path: frames that differ from a known one in a single string, recognised by comparing
bytes. Takes them from the framer, folds them, and gives their events.

Nearly all frames of a stream are deltas of the block that is growing, and nearly all their bytes
are those of the delta before:

    event: content_block_delta⏎
    data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hello"}   }⏎⏎
    |----------------------------- prefix ---------------------------------------|string|---rest---|

Where a block has just begun, the prefix is expected as the API writes it; where deltas have another
order or other blanks, it is learned from one that went the plain path, through all other modules. A
frame with the same prefix, a string, and the same rest but for padding, means the same with another
string, because

* it is the same JSON text but for that string, and the string is the delta's text and nothing else:
  as the API writes it that can be seen; of anything else the plain path is asked, with the same
  frame and another string;
* what the plain path would ask has the same answer: the name, the types, the index, the state, and
  whether the block is there, runs, and takes such a delta. An event that could change one of these
  goes the plain path, and what is expected or learned is forgotten with it;
* what may change is asked for each frame: the limits, and whether anything waits in the framer.

Whatever is not recognised to the last byte goes the plain path, also where this one could say what
is wrong with it. So this module may be switched off, and nothing but the time tells.
"""

from __future__ import annotations

import re
from json import JSONDecoder
from typing import TYPE_CHECKING, Any, Final

from .blocks import FITTING, FOLDS, joined
from .codec import fields_of
from .events import (
    ContentBlockDeltaEvent,
    ContentBlockStartEvent,
    InputJSONDelta,
    PingEvent,
    TextDelta,
    ThinkingDelta,
    UnknownEvent,
)
from .message import UnknownBlock
from .reading import read_frame
from .sse import Framer
from .surrogates import ends_in_half
from .transitions import State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .blocks import GrowingBlock
    from .errors import Limits
    from .events import MessageStreamEvent
    from .snapshot import Fold
    from .sse import Frame

# The deltas that are recognised, with the member that has their text; all others are None. And the
# blocks that expect them: one that nobody knows keeps each delta, so that is for the plain path.
TEXTS: Final[dict[type[Any], str]] = {
    TextDelta: "text",
    ThinkingDelta: "thinking",
    InputJSONDelta: "partial_json",
}
EXPECTED: Final[dict[type[Any], type[Any]]] = {
    block: delta for delta in TEXTS for block in FITTING[delta] - {UnknownBlock}
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
rest_as_expected: Final = re.compile(rb'(%s)"\}%s' % (STRING, PADDED_END)).match
rest_as_learned: Final = re.compile(rb'(%s)("[^\n]*[^ \n])%s' % (STRING, PADDED_END)).match
begin_of_string: Final = re.compile(rb'"(?:text|thinking|partial_json)": ?"').search
BACKSLASH: Final = ord("\\")
# As `json` has it, in C: a text and where a string begins in it -> the string, and its end.
scan_string: Final = vars(JSONDecoder())["parse_string"]

MANY_FRAGMENTS: Final = 256
"""How many pieces of a text are kept before they are joined: in pieces of 12 characters it takes
5.8 bytes a character, and 1.1 in one piece.
"""

PATIENCE: Final = 4
"""How often it is worth trying to learn the layout of deltas, until an event comes that changes
more than a block: each try costs as much as the plain path of two deltas.
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
    for delta, text in TEXTS.items()
}


class Route:
    """By which bytes to know the next delta of a block, and what it means.

    Attributes:
        prefix: what stands before the string.
        rest: matches the string, as its first group, and what stands behind it; None for no frame.
        suffix: what the second group of `rest` must be; None where it has none.
        block: what grows by it; `add` takes the string.
        text: the fragments, if they may be joined.
        index, delta: the index of the block, and the class of the delta.
        set_text, set_none: set the members of the delta: one to the string, the others to None.
    """

    __slots__ = (
        "add",
        "block",
        "delta",
        "index",
        "prefix",
        "rest",
        "set_none",
        "set_text",
        "suffix",
        "text",
    )

    def __init__(
        self, prefix: bytes, suffix: bytes | None, block: GrowingBlock, delta: type[Any]
    ) -> None:
        self.prefix = prefix
        self.rest = rest_as_expected if suffix is None else rest_as_learned
        self.suffix = suffix
        self.block = block
        fragments = block.fragments_of(FOLDS[delta][0].member)
        self.add = fragments.append
        # The moments of a tool input are counted in fragments, so those stay as they are.
        self.text = fragments if delta is not InputJSONDelta else []
        self.index = block.index
        self.delta = delta
        self.set_text, self.set_none = SETTERS[delta]


class FastPath:
    """Takes what it recognises, and learns from what the plain path took.

    Args:
        framer: whose text it reads.
        fold: the message that it adds to.
        limits: `event_bytes` and `block_bytes` apply.
        enabled: whether to recognise anything.

    Attributes:
        taken: how many events it has given.
    """

    __slots__ = ("_enabled", "_fold", "_framer", "_limits", "_patience", "_route", "taken")

    def __init__(self, framer: Framer, fold: Fold, limits: Limits, *, enabled: bool) -> None:
        self._framer = framer
        self._fold = fold
        self._limits = limits
        self._enabled = enabled
        self._route: Route | None = None
        self._patience = PATIENCE
        self.taken = 0

    def __getstate__(self) -> tuple[Any, ...]:
        # What sets slots cannot be pickled; what was learned is learned again.
        return self._framer, self._fold, self._limits, self._enabled, self.taken

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self._framer, self._fold, self._limits, self._enabled, self.taken = state
        self._route = None
        self._patience = PATIENCE

    def events(
        self, take_other: Callable[[], MessageStreamEvent | None]
    ) -> Iterator[MessageStreamEvent]:
        """Take what was received, each event when it is asked for, and return the events.

        Args:
            take_other: the plain path: takes the next event, whatever it is; None if nothing is
                left.
        """
        framer = self._framer
        fold = self._fold
        event_bytes = self._limits.event_bytes
        block_bytes = self._limits.block_bytes
        route = self._route
        if route is not None and len(route.text) > MANY_FRAGMENTS:
            joined(route.text)
        while True:
            # Left at the first doubt. Nothing is kept from one event to the next: another iterator
            # may have gone on.
            while (route := self._route) is not None and framer.is_between_frames:
                text = framer.text
                at = framer.at
                prefix = route.prefix
                if not text.startswith(prefix, at):
                    break
                rest = route.rest(text, at + len(prefix))
                if rest is None or (route.suffix is not None and rest[2] != route.suffix):
                    break
                end = rest.end()
                raw = rest[1]
                block = route.block
                size = block.size + end - at
                if end - at > event_bytes or size > block_bytes:
                    break
                try:
                    if BACKSLASH in raw:
                        string = scan_string(rest[0].decode(), 0)[0]
                        if not string.isascii() and ends_in_half(string):
                            break  # the plain path joins it with the other half
                    else:
                        string = raw.decode()
                except ValueError:  # no UTF-8, or an escape that JSON does not have
                    break

                # As `Framer.take` does it.
                framer.place = framer.base + at
                framer.at = end
                framer.frames += 1
                if end == len(text):
                    framer.room = framer.room_after
                route.add(string)
                block.size = size
                block.latest = fold.latest = None
                self.taken += 1

                delta = new(route.delta)
                route.set_text(delta, string)
                for set_none in route.set_none:
                    set_none(delta, None)
                event = new(ContentBlockDeltaEvent)
                set_index(event, route.index)
                set_delta(event, delta)
                set_rest(event, None)
                yield event
                if framer.room:
                    return

            other = self._take_ping() or take_other()
            if other is None:
                return
            yield other

    def _take_ping(self) -> PingEvent | None:
        """Take a ping as the API writes it: legal everywhere, and it changes nothing."""
        framer, limits = self._framer, self._limits
        if (
            framer.text.startswith(PING, framer.at)
            and framer.is_between_frames
            and self._enabled
            and len(PING) <= limits.event_bytes
            and limits.depth > 0
        ):
            framer.take(len(PING))
            self.taken += 1
            return PingEvent()
        return None

    def learn(self, event: MessageStreamEvent, frame: Frame | None) -> None:
        """Note an event that the plain path has just applied: forget what it may have changed, and
        see what may be recognised next.

        Args:
            event: what was applied.
            frame: where it came from, if there was nothing to say against it.
        """
        if not self._enabled:
            return
        if isinstance(event, ContentBlockDeltaEvent):
            if frame is not None and self._patience:
                self._patience -= 1
                self._route = self._learned(event, self._framer.bytes_of(frame))
        elif not isinstance(event, (PingEvent, UnknownEvent)):
            self._patience = PATIENCE
            self._route = None
            if isinstance(event, ContentBlockStartEvent):
                self._route = self._expected(event)

    def forget(self) -> None:
        """Recognise nothing until there is another event to learn from."""
        self._route = None

    def _expected(self, event: ContentBlockStartEvent) -> Route | None:
        """Return how to recognise a delta as the API writes it, of a block that has just begun."""
        delta = EXPECTED.get(type(event.content_block))
        if delta is None or self._fold.course.state is not State.OPEN:
            return None
        prefix = PREFIX.format(event.index, delta.type, TEXTS[delta])
        return Route(prefix.encode(), None, self._fold.growing(event.index), delta)

    def _learned(self, event: ContentBlockDeltaEvent, raw: bytes) -> Route | None:
        """Return how to recognise more of the same, or None for what has another form."""
        delta: type[Any] = type(event.delta)
        block = self._fold.growing(event.index)
        if delta not in TEXTS or isinstance(block.start, UnknownBlock):  # it keeps each delta, too
            return None
        begun = begin_of_string(raw)
        rest = rest_as_learned(raw, begun.end()) if begun else None
        if begun is None or rest is None or not rest[1]:
            return None
        prefix, suffix = raw[: begun.end()], rest[2]
        # Whether the string is the text and nothing else, the plain path knows best: it reads the
        # same frame with another one. That is no longer and stays in its line, so that the frame is
        # a frame again, and no limit is in its way.
        other = "x" if getattr(event.delta, TEXTS[delta]) != "x" else "y"
        framer = Framer(self._limits)
        framer.receive(prefix + other.encode() + suffix + b"}\n\n")
        frame = framer.next_frame()
        assert frame is not None, "it was one before"
        expected = ContentBlockDeltaEvent(event.index, delta(other))
        if read_frame(frame, self._limits) != (expected, ()):
            return None
        return Route(prefix, suffix, block, delta)
