"""One content block while it grows: the block as it was sent and its deltas in, the block as of the
last delta out.

The table `FOLDS` says which delta folds into which member. A delta fits the blocks that have its
members.

Strategy: texts are lists of fragments, and a fragment is added in constant time. They are joined
when somebody looks at the block. A block that is looked at after every delta is copied from the
block of the look before, with another text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, get_args

import attrs

from .codec import CopyTemplate, copy_with, evolve, said_null, schema_of, with_wire
from .errors import ViolationCode
from .events import (
    CitationsDelta,
    CompactionDelta,
    ContentBlockDelta,
    InputJSONDelta,
    SignatureDelta,
    TextDelta,
    ThinkingDelta,
)
from .losses import content_of
from .message import ContentBlock, InputBlock, UnknownBlock
from .surrogates import add_piece, drop_empty, is_high_half
from .tool_input import GrowingText, InputError, ToolInput, holds_infinity

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .message import Message

# How a delta changes a block: one object for each member that it touches.


@attrs.frozen
class Append:
    """The delta's text is added to a text of the block.

    Attributes:
        member: of the block. For `input` the text is the JSON of the input.
        source: the member of the delta, if its name is another.
    """

    member: str
    source: str = attrs.field(
        default=attrs.Factory(lambda self: self.member, takes_self=True), kw_only=True
    )

    def fold(self, block: GrowingBlock, delta: Any) -> None:
        """Add a fragment."""
        block.add_text(self.member, getattr(delta, self.source))


@attrs.frozen
class Replace:
    """The delta's value takes the block's place; null and "" only where they mean something.

    Attributes:
        second: the violation where the block had another value, that was not empty.
    """

    member: str
    second: ViolationCode
    or_null: bool = False

    def fold(self, block: GrowingBlock, delta: Any) -> None:
        """Take the value over, if there is one."""
        if self.has_value(delta):
            block.set_value(self.member, getattr(delta, self.member))

    def has_value(self, delta: Any) -> bool:
        """Whether the delta says something of this member."""
        value = getattr(delta, self.member)
        if value or not self.or_null:
            return bool(value)
        return value is not None or said_null(delta, self.member)

    def changes(self, block: GrowingBlock, delta: Any) -> bool:
        """Whether the delta would replace another value."""
        if not self.has_value(delta):
            return False
        present = block.value_of(self.member)
        return bool(present) and present != getattr(delta, self.member)


@attrs.frozen
class Collect:
    """The delta's value is added to the block's tuple."""

    member: str
    item: str

    def fold(self, block: GrowingBlock, delta: Any) -> None:
        """Add an item."""
        block.add_item(self.member, getattr(delta, self.item))


SIGNATURE: Final = ViolationCode.SECOND_SIGNATURE
COMPACTION: Final = ViolationCode.SECOND_COMPACTION

# fmt: off
FOLDS: Final[dict[type, tuple[Append | Replace | Collect, ...]]] = {
    TextDelta:       (Append("text"),),
    ThinkingDelta:   (Append("thinking"), Replace("signature", SIGNATURE)),
    SignatureDelta:  (Replace("signature", SIGNATURE),),
    CitationsDelta:  (Collect("citations", "citation"),),
    CompactionDelta: (
        Replace("content", COMPACTION, or_null=True),
        Replace("encrypted_content", COMPACTION, or_null=True),
    ),
    InputJSONDelta:  (Append("input", source="partial_json"),),
}
# fmt: on


def members_of(block: Any) -> set[str]:
    """Return the names of what a class of blocks has."""
    return {member.name for member in schema_of(block).members}


FITTING: Final[dict[type, frozenset[type]]] = {
    delta: frozenset(
        block
        for block in get_args(ContentBlock)
        if block is UnknownBlock
        or all(rule.member in members_of(block) for rule in FOLDS.get(delta, ()))
    )
    for delta in get_args(ContentBlockDelta)
}
"""The classes of blocks that a class of deltas fits: those that have all the members it touches,
and the block that nobody knows, which takes every delta and keeps it.
"""


REPLACING: Final[dict[type, tuple[Replace, ...]]] = {
    delta: tuple(rule for rule in rules if isinstance(rule, Replace))
    for delta, rules in FOLDS.items()
}
"""What a class of deltas replaces."""


# One block.


class GrowingBlock:
    """A content block as of the last event: the block as it was sent, and what came since.

    Attributes:
        index: its index on the wire.
        start: the block as it was sent.
        is_stopped: whether it has stopped.
        size: the bytes of its start and its deltas.
        latest: the block of a snapshot as of now; None if it must be made first.
        message: the last snapshot of the message, until something is appended.
        run: the fragments that `append` adds to.
        input_text: the JSON text of its input, if it is a block with an input.

    Args:
        size: the bytes of its start.
    """

    __slots__ = (
        "_grows_input",
        "_items",
        "_lost_input",
        "_sent_input",
        "_template",
        "_texts",
        "_unfolded",
        "_values",
        "_varied",
        "index",
        "input_text",
        "is_stopped",
        "latest",
        "message",
        "run",
        "size",
        "start",
    )

    def __init__(
        self,
        index: int,
        start: ContentBlock,
        input_text: GrowingText | None = None,
        *,
        size: int = 0,
        is_stopped: bool = False,
    ) -> None:
        self.index = index
        self.start = start
        self.is_stopped = is_stopped
        self.size = size
        self.run: list[str] = []
        self.message: Message | None = None
        self._texts: dict[str, list[str]] = {}
        self._items: dict[str, list[Any]] = {}
        self._values: dict[str, Any] = {}
        self._unfolded: list[ContentBlockDelta] = []
        self.input_text = input_text
        self._sent_input = start.to_dict().get("input") if isinstance(start, InputBlock) else None
        # Why the input can never be complete, where a piece of it was lost.
        self._lost_input: InputError | None = None
        # What came whole is as it was sent, unless it holds an input that nobody could send back.
        is_as_sent = is_stopped and not holds_infinity(self._sent_input)
        self.latest: ContentBlock | None = start if is_as_sent else None
        # What makes the next block as long as only what has grown grows; and what that is.
        self._template: CopyTemplate[Any] | None = None
        self._varied: tuple[str, ...] = ()
        is_call = input_text is not None and not isinstance(start, UnknownBlock)
        self._grows_input = is_call and not is_stopped

    def accepts(self, delta: ContentBlockDelta) -> bool:
        """Whether a delta of that class folds into a block of this class."""
        return type(self.start) in FITTING[type(delta)]

    def begin_run(self, member: str) -> None:
        """Have `append` add to this text of the block, until another one begins or it stops."""
        self.run = self._fragments_of(member)

    def append(self, text: str, size: int) -> None:
        """Fold a delta that adds a text to the run, of so many bytes.

        The text does not end with the first half of a surrogate pair: `grow` takes such a delta.
        """
        self.run.append(text)
        self.size += size
        self.latest = self.message = None

    def keep(self, message: Message | None) -> None:
        """Keep a snapshot of the message until something is appended; None for none.

        It is kept here because `append` must drop it: a text that a snapshot holds cannot grow in
        place.
        """
        self.message = message

    def join_run(self) -> None:
        """Join the fragments of the run. Those of an input stay: its moments count them."""
        if self.input_text is None or self.run is not self.input_text.fragments:
            joined(self.run)

    def _fragments_of(self, member: str) -> list[str]:
        """Return the list of the fragments of a member, always the same one until the block stops.

        It is created at the first call, with the text that the block was sent with.
        """
        if member == "input":
            assert self.input_text is not None, "a block that it fits has an input"
            return self.input_text.fragments
        if member not in self._texts:
            fragments: list[str] = []
            add_piece(fragments, getattr(self.start, member))
            self._texts[member] = fragments
        return self._texts[member]

    def add_text(self, member: str, text: str) -> None:
        """Add a fragment, which may end with half of a surrogate pair."""
        if member == "input":
            assert self.input_text is not None, "a block that it fits has an input"
            self.input_text.append(text)
        else:
            add_piece(self._fragments_of(member), text)

    def add_item(self, member: str, item: Any) -> None:
        """Add an item to a tuple of the block. An absent or null one is empty."""
        if member not in self._items:
            self._items[member] = list(getattr(self.start, member) or ())
        self._items[member].append(item)

    def set_value(self, member: str, value: Any) -> None:
        """Set a member of the block."""
        self._values[member] = value

    def grow(self, delta: ContentBlockDelta, size: int) -> None:
        """Fold a delta that was admitted."""
        self.latest = self._template = None
        self.size += size
        rules = FOLDS.get(type(delta), ())
        if isinstance(self.start, UnknownBlock):
            # In a block of an unknown type only the input is folded. Every delta is kept as well.
            rules = tuple(rule for rule in rules if rule.member == "input")
            self._unfolded.append(delta)
        elif not rules:
            self._unfolded.append(delta)
        for rule in rules:
            rule.fold(self, delta)

    def stop(self) -> None:
        """End the block: its texts are joined, and the fragments are dropped."""
        self.latest = self._template = None
        self.is_stopped = True
        self._grows_input = False
        if self.input_text is not None:
            self.input_text = self.input_text.joined()
        self.latest = self.block()
        self._texts = {}
        self.run = []

    def block(self) -> ContentBlock:
        """Return the block as of now; the same object until the next change."""
        if self.latest is not None:
            return self.latest
        grown: dict[str, Any] = {}
        for member, fragments in self._texts.items():
            if len(fragments) > 1:  # else nothing has been added yet
                grown[member] = joined(fragments)
        if self._grows_input and self.input_text is not None:
            grown["tool_input"] = ToolInput.running(self.input_text, self._sent_input)
        block: ContentBlock
        varied = tuple(grown)
        if self._template is not None and varied == self._varied:
            block = self._template.make(*grown.values())
        else:
            block = self._changed(grown)
            if not self.is_stopped:
                # As long as nothing else changes, the next block is a copy with other texts.
                self._template, self._varied = CopyTemplate(block, *varied), varied
        if self.input_text is not None and not self._grows_input:
            block = self._with_input(block, self.input_text)
        self.latest = block
        return block

    def _changed(self, grown: Mapping[str, Any]) -> ContentBlock:
        """Return the block with all that has changed."""
        changes: dict[str, Any] = {**self._values, **grown}
        for member, items in self._items.items():
            changes[member] = tuple(items)
        if self._unfolded:
            changes["unfolded"] = tuple(self._unfolded)
        if "tool_input" in grown:
            changes["input"] = None
        return copy_with(self.start, **changes) if changes else self.start

    def lose_input(self) -> None:
        """Note that a piece of the input was lost: it is never complete. A running block shows it
        when it stops, one that has stopped at once.
        """
        if self.input_text is not None and self._lost_input is None:
            position = len(self.input_text.text(len(self.input_text)))
            self._lost_input = InputError(position, "a piece of the text was lost")
            self.latest = self._template = None

    def value_of(self, member: str) -> Any:
        """Return a member that deltas replace, as of now."""
        sent = getattr(self.start, member, None)
        return self._values.get(member, sent)

    def second_value(self, delta: ContentBlockDelta) -> ViolationCode | None:
        """Return the violation where a delta replaces another value that the block has, or None."""
        for rule in REPLACING.get(type(delta), ()):
            if rule.changes(self, delta):
                return rule.second
        return None

    def has_signature_of(self, delta: ContentBlockDelta) -> bool:
        """Whether a delta says nothing but the signature that the block has already."""
        if not isinstance(delta, (SignatureDelta, ThinkingDelta)):
            return False
        is_alone = content_of(delta) == {"signature"}
        return is_alone and delta.signature == self.value_of("signature")

    def _with_input(self, block: ContentBlock, text: GrowingText) -> Any:
        lost = self._lost_input
        is_as_sent = isinstance(block, UnknownBlock) and not len(text)
        if is_as_sent and (lost is None or not self.is_stopped or self._sent_input is None):
            # As it was sent, whatever it may mean by its input; without one none was lost.
            return evolve(block, tool_input=None) if self.is_stopped else block
        if not self.is_stopped:
            tool_input = ToolInput.running(text, self._sent_input)
        elif lost is not None:
            tool_input = ToolInput.broken(text, self._sent_input, lost)
        else:
            tool_input = ToolInput.stopped(text, self._sent_input)
        if isinstance(block, UnknownBlock):
            return evolve(with_wire(block, input=tool_input.value), tool_input=tool_input)
        changes: dict[str, Any] = {"input": tool_input.value, "tool_input": tool_input}
        return copy_with(block, **changes)


def joined(fragments: list[str]) -> str:
    """Return the whole text, and keep it as the second of two fragments.

    CPython adds to a str in place while a local variable holds the only reference to it: to look at
    a text after each delta, and to let go of it, costs as much as the text is long and no more.
    Half of a surrogate pair at the end stays a fragment of its own: the other half may come.
    """
    drop_empty(fragments)
    if is_high_half(fragments[-1]):
        half = fragments.pop()
        text = "".join(fragments)
        fragments[:] = "", text, half
        return text + half
    more = fragments[2:]
    text = fragments[0] + (fragments[1] if len(fragments) > 1 else "")
    fragments.clear()
    text += "".join(more)
    fragments += "", text
    return text
