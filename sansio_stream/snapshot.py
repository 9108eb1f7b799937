"""Fold: the events so far in, the message as of the last one out.

Owns the blocks; asks `transitions` what is legal. `judge` says what would become of an event and
changes nothing; `apply` folds an event that was admitted. Between two events the snapshot never
changes, so it is built when somebody looks, and kept.

Which delta folds into which member is the table `FOLDS`: a delta fits the blocks that have its
members.

Cost: constant for each event that nobody looks at; a snapshot joins the fragments of the blocks
that have grown.
"""

from __future__ import annotations

import bisect
import operator
from typing import TYPE_CHECKING, Any, Final, get_args

import attrs

from .codec import Mold, amended, decode, evolve, mistyped, plan_of, said_null, with_wire
from .events import (
    CitationsDelta,
    CompactionDelta,
    ContentBlockDelta,
    ContentBlockDeltaEvent,
    ContentBlockStartEvent,
    ContentBlockStopEvent,
    ErrorEvent,
    InputJSONDelta,
    MessageDeltaEvent,
    MessageStartEvent,
    MessageStopEvent,
    PingEvent,
    SignatureDelta,
    TextDelta,
    ThinkingDelta,
    UnknownEvent,
)
from .message import ContentBlock, FallbackBlock, InputBlock, ToolUseBlock, UnknownBlock, Usage
from .reading import Origin, error_of, limit_error_of
from .tool_input import GrowingText, ToolInput
from .transitions import (
    Action,
    Course,
    Ruling,
    State,
    judge_block_delta,
    judge_block_start,
    judge_block_stop,
    judge_message_stop,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from .errors import Limits
    from .events import MessageStreamEvent
    from .message import Message

# How a delta changes a block: one object for each member that it touches.


@attrs.frozen
class Append:
    """The delta's text is added to the block's."""

    member: str

    def fold(self, block: GrowingBlock, delta: Any) -> None:
        """Add a fragment; the text it begins with came in the start block."""
        block.fragments_of(self.member).append(getattr(delta, self.member))


@attrs.frozen
class Replace:
    """The delta's value takes the block's place; null and "" only where they mean something."""

    member: str
    or_null: bool = False

    def fold(self, block: GrowingBlock, delta: Any) -> None:
        """Take the value over, if there is one."""
        value = getattr(delta, self.member)
        if value or (self.or_null and (value is not None or said_null(delta, self.member))):
            block.values[self.member] = value


@attrs.frozen
class Collect:
    """The delta's value is added to the block's tuple."""

    member: str
    item: str

    def fold(self, block: GrowingBlock, delta: Any) -> None:
        """Add an item; absent and null mean that there are none so far."""
        items = block.items.get(self.member)
        if items is None:
            items = block.items[self.member] = list(getattr(block.start, self.member) or ())
        items.append(getattr(delta, self.item))


@attrs.frozen
class GrowInput:
    """The delta is more of the JSON text of the block's input."""

    member: str = "input"

    def fold(self, block: GrowingBlock, delta: Any) -> None:
        """Add a fragment."""
        block.fragments_of(self.member).append(delta.partial_json)


# fmt: off
FOLDS: Final[dict[type, tuple[Append | Replace | Collect | GrowInput, ...]]] = {
    TextDelta:       (Append("text"),),
    ThinkingDelta:   (Append("thinking"), Replace("signature")),
    SignatureDelta:  (Replace("signature"),),
    CitationsDelta:  (Collect("citations", "citation"),),
    CompactionDelta: (Replace("content", or_null=True), Replace("encrypted_content", or_null=True)),
    InputJSONDelta:  (GrowInput(),),
}
# fmt: on


def members_of(block: Any) -> set[str]:
    """Return the names of what a class of blocks has."""
    return {member.name for member in plan_of(block).members}


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


# One block.


class GrowingBlock:
    """A content block as of the last event: the block as it was sent, and what came since.

    `latest` is the block of a snapshot as of now, None where it must be made first.
    """

    __slots__ = (
        "_grows_input",
        "_mold",
        "_sent_input",
        "_varied",
        "fragments",
        "index",
        "input_text",
        "is_stopped",
        "items",
        "latest",
        "size",
        "start",
        "unfolded",
        "values",
    )

    def __init__(
        self,
        index: int,
        start: ContentBlock,
        input_text: GrowingText | None = None,
        *,
        is_stopped: bool = False,
    ) -> None:
        self.index = index
        self.start = start
        self.is_stopped = is_stopped
        self.size = 0
        self.fragments: dict[str, list[str]] = {}
        self.items: dict[str, list[Any]] = {}
        self.values: dict[str, Any] = {}
        self.unfolded: list[ContentBlockDelta] = []
        self.input_text = input_text
        self._sent_input = start.to_dict().get("input") if isinstance(start, InputBlock) else None
        self.latest: ContentBlock | None = start if is_stopped else None
        # What makes the next block as long as only what has grown grows; and what that is.
        self._mold: Mold[Any] | None = None
        self._varied: tuple[str, ...] = ()
        self._grows_input = input_text is not None and not isinstance(start, UnknownBlock)

    def fragments_of(self, member: str) -> list[str]:
        """Return the list that a text which is added to this member is added to: always the same
        one, until the block has stopped. To ask for it begins it, with the text that was sent.
        """
        if member == "input":
            assert self.input_text is not None, "a block that it fits has an input"
            return self.input_text.fragments
        if member not in self.fragments:
            # The text it begins with came in the start block.
            self.fragments[member] = [getattr(self.start, member)]
        return self.fragments[member]

    def grow(self, delta: ContentBlockDelta, size: int) -> None:
        """Fold a delta that was admitted."""
        self.latest = self._mold = None
        self.size += size
        rules = FOLDS.get(type(delta), ())
        if isinstance(self.start, UnknownBlock):
            # Of a block that nobody knows only the input is folded; every delta is kept as well.
            rules = tuple(rule for rule in rules if isinstance(rule, GrowInput))
            self.unfolded.append(delta)
        elif not rules:
            self.unfolded.append(delta)
        for rule in rules:
            rule.fold(self, delta)

    def stop(self) -> None:
        """Note that nothing more comes; keep the joined texts and let go of the fragments."""
        self.latest = self._mold = None
        self.is_stopped = True
        self._grows_input = False
        if self.input_text is not None:
            self.input_text = self.input_text.joined()
        self.latest = self.block()
        self.fragments = {}

    def block(self) -> ContentBlock:
        """Return the block as of now; the same object until the next change."""
        if self.latest is not None:
            return self.latest
        grown: dict[str, Any] = {}
        for member, fragments in self.fragments.items():
            if len(fragments) > 1:  # else nothing has been added yet
                grown[member] = joined(fragments)
        if self._grows_input and self.input_text is not None:
            grown["tool_input"] = ToolInput.running(self.input_text, self._sent_input)
        block: ContentBlock
        varied = tuple(grown)
        if self._mold is not None and varied == self._varied:
            block = self._mold.cast(*grown.values())
        else:
            block = self._changed(grown)
            if not self.is_stopped:
                # As long as nothing else changes, the next block is a copy with other texts.
                self._mold, self._varied = Mold(block, *varied), varied
        if self.input_text is not None and not self._grows_input:
            block = self._with_input(block, self.input_text)
        self.latest = block
        return block

    def _changed(self, grown: Mapping[str, Any]) -> ContentBlock:
        """Return the block with all that has changed."""
        changes: dict[str, Any] = {**self.values, **grown}
        for member, items in self.items.items():
            changes[member] = tuple(items)
        if self.unfolded:
            changes["unfolded"] = tuple(self.unfolded)
        if "tool_input" in grown:
            changes["input"] = None
        return amended(self.start, **changes) if changes else self.start

    def signature_differs(self, delta: ContentBlockDelta) -> bool:
        """Whether a delta brings a signature and the block has another one already."""
        if not isinstance(delta, (SignatureDelta, ThinkingDelta)) or not delta.signature:
            return False
        present = self.values.get("signature") or getattr(self.start, "signature", "")
        return present not in ("", None, delta.signature)

    def _with_input(self, block: ContentBlock, text: GrowingText) -> Any:
        if isinstance(block, UnknownBlock) and not len(text):
            # As it was sent, whatever it may mean by its input.
            return evolve(block, tool_input=None) if self.is_stopped else block
        make = ToolInput.stopped if self.is_stopped else ToolInput.running
        tool_input = make(text, self._sent_input)
        if isinstance(block, UnknownBlock):
            return evolve(with_wire(block, input=tool_input.value), tool_input=tool_input)
        changes: dict[str, Any] = {"input": tool_input.value, "tool_input": tool_input}
        return amended(block, **changes)


def joined(fragments: list[str]) -> str:
    """Return the whole text, and keep it as the second of two fragments.

    CPython adds to a str in place while a local variable holds the only reference to it: to look at
    a text after each delta, and to let go of it, costs as much as the text is long and no more.
    """
    more = fragments[2:]
    text = fragments[0] + fragments[1]
    fragments.clear()
    text += "".join(more)
    fragments += "", text
    return text


# The message.


class Fold:
    """The message as of the last event that was applied.

    `latest` is the snapshot as of now, None where it must be made first.

    Args:
        limits: `blocks` and `block_bytes` apply, and `depth` to tool inputs.
        partial_strings: whether `partial_input` shows the beginning of a cut string.
    """

    __slots__ = (
        "_blocks",
        "_limits",
        "_message",
        "_mold",
        "_newest",
        "_next_index",
        "_open_blocks",
        "_partial_strings",
        "_size",
        "_usage",
        "course",
        "latest",
    )

    def __init__(self, limits: Limits, *, partial_strings: bool) -> None:
        self._limits = limits
        self._partial_strings = partial_strings
        self.course = Course()
        self._message: Message | None = None
        self._mold: Mold[Message] | None = None
        # All blocks, ordered by (index, arrival), and the newest of each index.
        self._blocks: list[GrowingBlock] = []
        self._newest: dict[int, GrowingBlock] = {}
        self._next_index = 0
        self._open_blocks = 0
        # What message_deltas have said: the usage, merged, and how much it was in bytes.
        self._usage: dict[str, Any] | None = None
        self._size = 0
        self.latest: Message | None = None

    @property
    def has_content(self) -> bool:
        """Whether a content block was delivered."""
        return bool(self._blocks)

    def snapshot(self) -> Message | None:
        """Return the message as of now, None before it began; one object until the next change."""
        if self.latest is None and self._message is not None:
            content = tuple([each.latest or each.block() for each in self._blocks])
            if self._mold is not None:
                self.latest = self._mold.cast(content)
                return self.latest
            changes: dict[str, Any] = {"content": content} if content else {}
            if self._usage is not None:
                changes["usage"] = decode(Usage, self._usage)
            self.latest = amended(self._message, **changes) if changes else self._message
            if self._open_blocks:
                # As long as no event changes the message itself, only its blocks do.
                self._mold = Mold(self.latest, "content")
        return self.latest

    def block(self, index: int) -> ContentBlock | None:
        """Return the newest block with that index as of now, or None."""
        block = self._newest.get(index)
        return None if block is None else block.block()

    def growing(self, index: int) -> GrowingBlock:
        """Return what the newest block with that index, which must be there, is made from."""
        return self._newest[index]

    @property
    def _begun(self) -> Message:
        assert self._message is not None, "the table admits nothing of a message before its start"
        return self._message

    # What would become of an event.

    def judge(self, event: MessageStreamEvent, origin: Origin) -> tuple[Ruling, ...]:
        """Return what would become of an event: what the table says, and what the blocks say.
        One that skips it is the last. Changes nothing.

        Raises LimitError where applying it would exceed a limit, ProtocolError where it must not be
        applied.
        """
        ruling = self.course.judge(event)
        if ruling.action is Action.FAIL:
            raise error_of(origin, ruling.sentence, ruling.fatal)
        if ruling.action is Action.SKIP:
            return (ruling,)
        return (ruling, *self._judge_content(event, origin))

    def _judge_content(self, event: MessageStreamEvent, origin: Origin) -> Iterator[Ruling]:
        match event:
            case ContentBlockDeltaEvent(index=index, delta=delta):
                block = self._newest.get(index)
                rulings = judge_block_delta(
                    is_known=block is not None,
                    is_stopped=block is not None and block.is_stopped,
                    fits=block is not None and type(block.start) in FITTING[type(delta)],
                    signature_differs=block is not None and block.signature_differs(delta),
                )
                for ruling in rulings:
                    yield ruling
                    if ruling.action is Action.SKIP:
                        return
                self._check_size(block.size if block else 0, origin)
            case ContentBlockStartEvent(index=index):
                self._check_blocks(len(self._blocks) + 1, origin)
                yield from judge_block_start(
                    index=index,
                    next_index=self._next_index,
                    is_used=index in self._newest,
                    others_open=self._open_blocks > 0,
                )
            case ContentBlockStopEvent(index=index):
                block = self._newest.get(index)
                yield from judge_block_stop(
                    is_known=block is not None, is_stopped=block is not None and block.is_stopped
                )
            case MessageStartEvent(message=message):
                self._check_blocks(len(message.content), origin)
            case MessageDeltaEvent():
                self._check_size(self._size, origin)
            case MessageStopEvent():
                yield from judge_message_stop(
                    stop_reason=self._begun.stop_reason,
                    blocks_open=self._open_blocks > 0,
                    has_tool_use=any(
                        isinstance(block.start, ToolUseBlock) for block in self._blocks
                    ),
                )
            case _:
                return

    def _check_size(self, size: int, origin: Origin) -> None:
        if size + origin.size > self._limits.block_bytes:
            sentence = "the deltas of a content block, or of the message, are larger than {} bytes"
            raise limit_error_of(origin, sentence, "block_bytes", self._limits.block_bytes)

    def _check_blocks(self, count: int, origin: Origin) -> None:
        if count > self._limits.blocks:
            sentence = "a message has more than {} content blocks"
            raise limit_error_of(origin, sentence, "blocks", self._limits.blocks)

    # Folding.

    def apply(
        self, event: MessageStreamEvent, state: State | None, size: int
    ) -> MessageStreamEvent:
        """Fold an event that was admitted, and move to `state`. Returns the event; a stop with what
        it has finished.
        """
        if not isinstance(event, (PingEvent, ErrorEvent, UnknownEvent)):
            self.latest = None
            if not isinstance(event, ContentBlockDeltaEvent):
                self._mold = None
        match event:
            case ContentBlockDeltaEvent(index=index, delta=delta):
                self._newest[index].grow(delta, size)
            case ContentBlockStartEvent(index=index, content_block=block):
                self._start_block(index, block)
            case ContentBlockStopEvent(index=index):
                self._newest[index].stop()
                self._open_blocks -= 1
                event = evolve(event, content_block=self._newest[index].block())
            case MessageStartEvent(message=message):
                self._message = message
                for index, block in enumerate(message.content):
                    self._add_block(GrowingBlock(index, block, is_stopped=True))
            case MessageDeltaEvent():
                self._size += size
                self._amend_message(event)
            case MessageStopEvent():
                self._message = evolve(self._begun, complete=True)
                event = evolve(event, message=self.snapshot())
            case _:
                pass
        self.course.move(event, state)
        return event

    def _start_block(self, index: int, block: ContentBlock) -> None:
        text = self._new_input_text() if isinstance(block, InputBlock) else None
        self._add_block(GrowingBlock(index, block, text))
        self._open_blocks += 1
        if isinstance(block, FallbackBlock):
            model = (block.to or {}).get("model")
            if isinstance(model, str):
                self._message = amended(self._begun, model=model)

    def _add_block(self, block: GrowingBlock) -> None:
        bisect.insort_right(self._blocks, block, key=operator.attrgetter("index"))
        self._newest[block.index] = block
        self._next_index = max(self._next_index, block.index + 1)

    def _new_input_text(self) -> GrowingText:
        return GrowingText(partial_strings=self._partial_strings, max_depth=self._limits.depth)

    def _amend_message(self, event: MessageDeltaEvent) -> None:
        """Merge a message_delta: what was said replaces what was said before, null says nothing.

        An explicit null of `stop_details` counts: a refusal may be taken back.
        """
        message, delta = self._begun, event.delta
        said = {
            "stop_reason": delta.stop_reason,
            "stop_sequence": delta.stop_sequence,
            "stop_details": delta.stop_details,
            "container": delta.container,
            "context_management": event.context_management,
            "input_transformations": event.input_transformations,
        }
        if said_null(delta, "stop_details"):
            message = with_wire(amended(message, stop_details=None), stop_details=None)
        changes = {name: value for name, value in said.items() if value is not None}
        self._message = amended(message, **changes) if changes else message
        # Totals: they replace, they are never added; 0 is a value. Counters that we do not know are
        # kept. Decoded when somebody looks: they are merged in the size of what was said.
        mute = mistyped(event.usage)
        counts = {
            name: value
            for name, value in event.usage.to_dict().items()
            if value is not None and name not in mute
        }
        if counts:
            self._usage = self._usage or message.usage.to_dict()
            self._usage.update(counts)
