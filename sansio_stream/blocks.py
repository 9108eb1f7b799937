"""A growing content block: content_block_start and deltas in, the block as of the last delta out.

The table `FOLDS` defines into which members of a block each delta is folded. A delta fits a block
that has all these members.

Strategy: a text is a `GrowingText`, so adding a piece takes constant time. A block that is read
(`GrowingBlock.block`) has the growing text and its length at that moment. The text itself is joined
when the member of the block is read. If the block is read after every delta, each result is a copy
of the previous result with another length.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, get_args

import attrs

from . import frozen
from .codec import inexact_part, said_null
from .copies import CopyTemplate, copy_with, evolve, with_wire
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
from .growing import MANY_PIECES, GrowingText
from .losses import content_of
from .message import ContentBlock, InputBlock, ToolUseBlock, UnknownBlock
from .tool_input import GrowingInput, InputError, ToolInput, holds_infinity

if TYPE_CHECKING:
    from collections.abc import Mapping

# The rules of the table `FOLDS`. A rule changes one member of a block.


@attrs.frozen(eq=False, repr=False)
class Append(frozen.HashableValue):
    """Append a text of the delta to a text of the block.

    Attributes:
        member: the name of the member of the block. For `input` the text is the JSON of the input.
        source: the name of the member of the delta; the same name by default.
    """

    member: str
    source: str = attrs.field(
        default=attrs.Factory(lambda self: self.member, takes_self=True), kw_only=True
    )

    def fold(self, block: GrowingBlock, delta: Any) -> None:
        """Add the delta's text as a piece."""
        piece = getattr(delta, self.source)
        text = block.growing_text(self.member)
        if len(text.pieces) > MANY_PIECES:
            text.join_pieces()
        if piece.isascii():
            text.pieces.append(piece)
        else:
            text.append(piece)


@attrs.frozen(eq=False, repr=False)
class Replace(frozen.HashableValue):
    """Replace a value of the block by the value of the delta, if the delta has one.

    Attributes:
        member: the name of the member, in the delta and in the block.
        second: the violation to record if the block has a different value that is not empty.
        or_null: whether null and "" are values too, if the delta has them on the wire.
    """

    member: str
    second: ViolationCode
    or_null: bool = False

    def fold(self, block: GrowingBlock, delta: Any) -> None:
        """Set the member of the block, if the delta has a value for it."""
        if self.has_value(delta):
            block.set_value(self.member, getattr(delta, self.member))

    def has_value(self, delta: Any) -> bool:
        """Return whether the delta has a value for this member."""
        value = getattr(delta, self.member)
        if value or not self.or_null:
            return bool(value)
        return value is not None or said_null(delta, self.member)

    def changes(self, block: GrowingBlock, delta: Any) -> bool:
        """Return whether the delta would replace a different value that is not empty."""
        if not self.has_value(delta):
            return False
        present = block.value_of(self.member)
        return bool(present) and present != getattr(delta, self.member)


@attrs.frozen(eq=False, repr=False)
class Collect(frozen.HashableValue):
    """Add a value of the delta to a tuple of the block.

    Attributes:
        member: the name of the tuple in the block.
        item: the name of the value in the delta.
    """

    member: str
    item: str

    def fold(self, block: GrowingBlock, delta: Any) -> None:
        """Add the delta's value as an item."""
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


ACCEPTED: Final[dict[type, frozenset[type]]] = {
    block: frozenset(
        delta
        for delta in get_args(ContentBlockDelta)
        if block is UnknownBlock
        or all(hasattr(block, rule.member) for rule in FOLDS.get(delta, ()))
    )
    for block in get_args(ContentBlock)
}
"""For each class of blocks, the classes of deltas that fit it. A delta fits if the block has all
members of the delta's rules. An `UnknownDelta` has no rules, so it fits every block. An
`UnknownBlock` accepts and keeps every delta. The members are looked up in the classes and not in
their schemas, because deriving the schemas would take 2 % of the time of the import.
"""


REPLACING: Final[dict[type, tuple[Replace, ...]]] = {
    delta: tuple(rule for rule in rules if isinstance(rule, Replace))
    for delta, rules in FOLDS.items()
    if any(isinstance(rule, Replace) for rule in rules)
}
"""For each class of deltas that may replace values, its `Replace` rules."""

MAY_REPLACE: Final = frozenset(REPLACING)


class ToolUseTemplate:
    """A template for copies of a `ToolUseBlock` that differ only in their `ToolInput`.

    A `CopyTemplate` makes the same copies, but sets the members in a loop. This takes 600
    instructions for each member. Here the interpreter specialises each assignment, so that a member
    takes 40.
    """

    __slots__ = ("_block",)

    def __init__(self, block: ToolUseBlock) -> None:
        self._block = block

    def make(self, tool_input: ToolInput) -> ToolUseBlock:
        """Return a copy with this input."""
        block = self._block
        if not frozen.CLASS_CHANGES_ARE_CHEAP:
            return evolve(block, tool_input=tool_input)
        made = frozen.new_unfinished(ToolUseBlock)
        made._rest = inexact_part(block)  # noqa: SLF001  (no other code has this object yet)
        made._tool_input = tool_input  # noqa: SLF001  (as above)
        made.unfolded = block.unfolded
        made.id = block.id
        made.name = block.name
        made.input = block.input
        made.caller = block.caller
        made.toolset_name = block.toolset_name
        made.__class__ = ToolUseBlock
        finished: ToolUseBlock = made
        return finished


def template_of(
    block: ContentBlock, varied: tuple[str, ...]
) -> CopyTemplate[Any] | ToolUseTemplate:
    """Return a template for copies of a block that differ only in these arguments."""
    if isinstance(block, ToolUseBlock) and varied == ("tool_input",):
        return ToolUseTemplate(block)
    return CopyTemplate(block, *varied)


class GrowingBlock:
    """A content block as of the last event.

    Attributes:
        index: its index on the wire.
        start: the block as content_block_start or message_start sent it.
        accepted: the classes of deltas that can be folded into it.
        replacing: the classes of deltas that may replace a value.
        is_stopped: whether it has stopped.
        size: the size of its start and its deltas on the wire, in bytes. During a run it lacks the
            deltas of the run, see `begin_run`.
        input_text: the JSON text of its input; None for a block without an input.

    Args:
        size: the size of its start on the wire, in bytes.
    """

    __slots__ = (
        "_copy_template",
        "_count",
        "_grows_input",
        "_items",
        "_latest",
        "_lost_input",
        "_run_pieces",
        "_sent_input",
        "_texts",
        "_unfolded",
        "_values",
        "_varied",
        "accepted",
        "index",
        "input_text",
        "is_stopped",
        "replacing",
        "size",
        "start",
    )

    def __init__(
        self,
        index: int,
        start: ContentBlock,
        input_text: GrowingInput | None = None,
        *,
        size: int = 0,
        is_stopped: bool = False,
    ) -> None:
        self.index = index
        self.start = start
        self.accepted = ACCEPTED[type(start)]
        self.replacing = MAY_REPLACE
        self.is_stopped = is_stopped
        self.size = size
        self._texts: dict[str, GrowingText] = {}
        self._items: dict[str, list[Any]] = {}
        self._values: dict[str, Any] = {}
        self._unfolded: list[ContentBlockDelta] = []
        self.input_text = input_text
        self._sent_input = start.to_dict().get("input") if isinstance(start, InputBlock) else None
        # The error of the input if a piece of it was lost. Such an input is never complete.
        self._lost_input: InputError | None = None
        # The pieces of the text that grows in the present run, or that grew in the last one.
        self._run_pieces: list[str] = []
        # The current block if it was made already, and the length of `_run_pieces` at that moment.
        # A block of a message_start is returned unchanged, unless its input has an infinite number:
        # JSON cannot express it, so the block could not be sent back.
        is_as_sent = is_stopped and not holds_infinity(self._sent_input)
        self._latest: ContentBlock | None = start if is_as_sent else None
        self._count = 0
        # A template makes the next block as long as only the members in `_varied` change.
        self._copy_template: CopyTemplate[Any] | ToolUseTemplate | None = None
        self._varied: tuple[str, ...] = ()
        is_call = input_text is not None and not isinstance(start, UnknownBlock)
        self._grows_input = is_call and not is_stopped

    def growing_text(self, member: str) -> GrowingText:
        """Return the growing text of a member: the same object until the block stops.

        It begins with the text with which the block was sent.
        """
        if member == "input":
            assert self.input_text is not None, "the delta fits, so the block has an input"
            return self.input_text
        if member not in self._texts:
            self._texts[member] = GrowingText(getattr(self.start, member))
        return self._texts[member]

    def begin_run(self, member: str) -> list[str]:
        """Begin a run: deltas that only add to one text, as the fast path recognises them.

        Returns:
            The list to which the text of each delta of the run must be appended. A delta whose text
            begins or ends with half of a surrogate pair must be folded by `grow` instead.
        """
        text = self.growing_text(member)
        text.join_pieces()
        if text.pieces is not self._run_pieces:
            if len(self._run_pieces) != self._count:
                self._latest = None
            self._run_pieces = text.pieces
            self._count = len(self._run_pieces)
        return self._run_pieces

    def end_run(self, size: int) -> None:
        """End the run. Its deltas had this size on the wire, in bytes."""
        self.size += size

    def add_item(self, member: str, item: Any) -> None:
        """Add an item to a tuple of the block. An absent tuple or null counts as empty."""
        if member not in self._items:
            self._items[member] = list(getattr(self.start, member) or ())
        self._items[member].append(item)

    def set_value(self, member: str, value: Any) -> None:
        """Set a member of the block."""
        self._values[member] = value

    def grow(self, delta: ContentBlockDelta, size: int) -> None:
        """Fold a delta for which `transitions.decide` returned APPLY.

        Args:
            delta: the delta.
            size: the size of its frame or payload on the wire, in bytes.
        """
        self._latest = self._copy_template = None
        self.size += size
        rules = FOLDS.get(type(delta), ())
        if isinstance(self.start, UnknownBlock):
            # In a block of an unknown type only the input is folded, and every delta is kept.
            rules = tuple(rule for rule in rules if rule.member == "input")
            self._unfolded.append(delta)
        elif not rules:
            self._unfolded.append(delta)
        for rule in rules:
            rule.fold(self, delta)

    def stop(self) -> None:
        """End the block: join its texts, and drop their pieces."""
        self._copy_template = None
        self.is_stopped = True
        self._grows_input = False
        if self.input_text is not None:
            self.input_text = self.input_text.joined()
        self._run_pieces = []
        self._latest = None
        self._latest = self.block()
        self._texts = {}

    def block(self) -> ContentBlock:
        """Return the current block: the same object until the next change."""
        if self._latest is not None and len(self._run_pieces) == self._count:
            return self._latest
        self._count = len(self._run_pieces)
        block: ContentBlock
        if self._grows_input and self._copy_template is not None and not self._texts:
            # Only the input has changed since the template was made. To find that out below takes
            # 3,000 instructions.
            assert self.input_text is not None, "`_grows_input` says so"
            tool_input = ToolInput.running(self.input_text, self._sent_input)
            block = self._copy_template.make(tool_input)
            self._latest = block
            return block
        grown: dict[str, Any] = {}
        for member, text in self._texts.items():
            if text.has_grown:
                grown[member] = text.whole() if self.is_stopped else text.so_far()
        if self._grows_input and self.input_text is not None:
            grown["tool_input"] = ToolInput.running(self.input_text, self._sent_input)
        varied = tuple(grown)
        if self._copy_template is not None and varied == self._varied:
            block = self._copy_template.make(*grown.values())
        else:
            block = self._changed(grown)
            if not self.is_stopped:
                # If only texts change, the next call copies this block with other texts.
                self._copy_template, self._varied = template_of(block, varied), varied
        if self.input_text is not None and not self._grows_input:
            block = self._with_input(block, self.input_text)
        self._latest = block
        return block

    def _changed(self, grown: Mapping[str, Any]) -> ContentBlock:
        """Return the block as it was sent, with all changes since."""
        changes: dict[str, Any] = {**self._values, **grown}
        for member, items in self._items.items():
            changes[member] = tuple(items)
        if self._unfolded:
            changes["unfolded"] = tuple(self._unfolded)
        if "tool_input" in grown:
            changes["input"] = None
        return copy_with(self.start, **changes) if changes else self.start

    def record_input_loss(self) -> None:
        """Record that a piece of the input was lost, so that the input is never complete.

        A block that has stopped shows the error at once. An open block shows it when it stops.
        """
        if self.input_text is not None and self._lost_input is None:
            position = len(self.input_text.whole())
            self._lost_input = InputError(position, "a piece of the text was lost")
            self._latest = self._copy_template = None

    def value_of(self, member: str) -> Any:
        """Return the current value of a member that deltas replace."""
        sent = getattr(self.start, member, None)
        return self._values.get(member, sent)

    def second_value(self, delta: ContentBlockDelta) -> ViolationCode | None:
        """Return the violation if the delta would replace a different value, else None.

        Args:
            delta: a delta whose class is in `replacing`.
        """
        for rule in REPLACING[type(delta)]:
            if rule.changes(self, delta):
                return rule.second
        return None

    def has_signature_of(self, delta: ContentBlockDelta) -> bool:
        """Return whether the delta's only content is a signature that the block already has."""
        if not isinstance(delta, (SignatureDelta, ThinkingDelta)):
            return False
        is_alone = content_of(delta) == {"signature"}
        return is_alone and delta.signature == self.value_of("signature")

    def _with_input(self, block: ContentBlock, text: GrowingInput) -> Any:
        lost = self._lost_input
        is_as_sent = isinstance(block, UnknownBlock) and not text.has_grown
        if is_as_sent and (lost is None or not self.is_stopped or self._sent_input is None):
            # No delta changed the input of this block of an unknown type, so its value stays as it
            # was sent. A block that was sent without an input lost none.
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
