"""Fold: events in, the message as of the last event out.

`Fold` owns the state of the stream, the message and its blocks. `transitions.decide` reads it (as a
`MessageView`) and decides whether an event is folded. `Fold.apply` then folds the event. The module
`blocks` has the code for one block, and `members` the code for the other members of the message.

Strategy: the snapshot does not change between two events. So it is built when it is read, and the
same object is returned until the next change. Folding a content_block_delta takes constant time. A
content_block_stop joins the texts of its block. Building a snapshot takes constant time, too, if
only the last block is open: it copies neither the texts nor the blocks that have stopped. The other
members of the message are computed again only after an event that is not a content_block_delta.
"""

from __future__ import annotations

import bisect
import operator
from typing import TYPE_CHECKING, Final

from .blocks import GrowingBlock
from .copies import CopyTemplate, evolve
from .events import (
    ContentBlockDeltaEvent,
    ContentBlockStartEvent,
    ContentBlockStopEvent,
    ErrorEvent,
    MessageDeltaEvent,
    MessageStartEvent,
    PingEvent,
    UnknownDelta,
    UnknownEvent,
)
from .losses import may_be_input, may_hold_input
from .members import GrowingMembers
from .message import ContentBlock, ContentSoFar, FallbackBlock, InputBlock, ToolUseBlock
from .reading import EventSource, limit_error_of
from .tool_input import GrowingInput
from .transitions import State, tool_ids_of

if TYPE_CHECKING:
    from .errors import Limits
    from .events import MessageDeltaUsage, MessageStreamEvent
    from .message import Message


WITHOUT_CHANGE: Final = (PingEvent, ErrorEvent, UnknownEvent)
"""The events that do not change the message."""


class OpenInputs:
    """The open blocks whose input may still become complete."""

    __slots__ = ("_blocks", "_lost_indexes")

    def __init__(self) -> None:
        self._blocks: set[GrowingBlock] = set()
        # The indexes at which a piece of an input was lost while no block was open there. The piece
        # may belong to the block that starts there later.
        self._lost_indexes: set[int] = set()

    def start(self, block: GrowingBlock) -> None:
        """Add a block with an input. Its input is lost if a piece was lost at its index before."""
        if block.index in self._lost_indexes:
            block.record_input_loss()
        else:
            self._blocks.add(block)

    def stop(self, block: GrowingBlock) -> None:
        """Remove a block, if it is there."""
        self._blocks.discard(block)

    def lose_all(self) -> None:
        """Record for each block that a piece of its input was lost, and remove all blocks."""
        for block in self._blocks:
            block.record_input_loss()
        self._blocks.clear()

    def lose_at(self, index: int) -> None:
        """Record that a piece of an input was lost at an index at which no block is open."""
        self._lost_indexes.add(index)


class Fold:
    """The message as of the last event that was folded.

    Attributes:
        state: the state of the stream.
        message_id: the id of the message; None if it has none or has not begun.
        newest: the newest block with each index.
        next_index: the index that the next block should have.
        open_blocks: how many blocks have not stopped.
        tool_ids: the ids of the tool calls.
        has_lost: whether content of the message was lost.

    Args:
        limits: `blocks` and `block_bytes` apply to the message, `depth` to the tool inputs.
        partial_strings: whether `partial_input` has the beginning of an unfinished string.
    """

    __slots__ = (
        "_blocks",
        "_copy_template",
        "_latest",
        "_limits",
        "_members",
        "_open_inputs",
        "_partial_strings",
        "_running",
        "_running_block",
        "_stopped",
        "has_lost",
        "message_id",
        "newest",
        "next_index",
        "open_blocks",
        "state",
        "tool_ids",
    )

    def __init__(self, limits: Limits, *, partial_strings: bool) -> None:
        self._limits = limits
        self._partial_strings = partial_strings
        self.state = State.WAITING
        self.message_id: str | None = None
        self._members: GrowingMembers | None = None
        self._copy_template: CopyTemplate[Message] | None = None
        # All blocks, ordered by index and then by arrival.
        self._blocks: list[GrowingBlock] = []
        self.newest: dict[int, GrowingBlock] = {}
        self.next_index = 0
        self.open_blocks = 0
        self._open_inputs = OpenInputs()
        self.tool_ids: set[str] = set()
        # The first blocks, as far as they have stopped and a snapshot has needed them. Snapshots
        # share this list, so blocks are only added at its end. Another list replaces it if one of
        # these blocks may change, or if a block is inserted before another.
        self._stopped: list[ContentBlock] = []
        # The last snapshot; None if something other than a run has changed the message since.
        self._latest: Message | None = None
        # The block that grows in the present run, or that grew in the last one, and its value in
        # `_latest`. The fast path calls no method here during a run. So only a comparison with this
        # value tells whether the message has changed.
        self._running: GrowingBlock | None = None
        self._running_block: ContentBlock | None = None
        self.has_lost = False

    @property
    def has_content(self) -> bool:
        """Whether the message has a content block."""
        return bool(self._blocks)

    @property
    def is_finished(self) -> bool:
        """Whether every block has stopped, except a last one that max_tokens has cut."""
        if self.open_blocks == 1 and self.stop_reason == "max_tokens":
            return not self._blocks[-1].is_stopped
        return self.open_blocks == 0

    def snapshot(self) -> Message | None:
        """Return the current message; None before message_start.

        The object is the same until the next change.
        """
        if self._members is None:
            return None
        if self._running is not None:
            block = self._running.block()
            if block is not self._running_block:
                self._running_block = block
                self._latest = None
        if self._latest is None:
            self._latest = self._message_of(self._members)
        return self._latest

    def _message_of(self, members: GrowingMembers) -> Message:
        blocks, stopped = self._blocks, self._stopped
        while len(stopped) < len(blocks) and blocks[len(stopped)].is_stopped:
            stopped.append(blocks[len(stopped)].block())
        count = len(stopped)
        others = tuple([each.block() for each in blocks[count:]])
        content = ContentSoFar(stopped, count, others) if blocks else ()
        if self._copy_template is not None:
            return self._copy_template.make(content)
        message = members.message(content)
        if self.open_blocks:
            # Only the blocks of the message change until an event other than a delta is folded.
            self._copy_template = CopyTemplate(message, "content")
        return message

    def block(self, index: int) -> ContentBlock | None:
        """Return the current value of the newest block with this index, or None."""
        block = self.newest.get(index)
        return None if block is None else block.block()

    def begin_run(self, index: int, member: str) -> tuple[list[str], int]:
        """Begin a run: deltas that only add to one text of the newest block with this index.

        Args:
            index: the index of a block that exists.
            member: the name of the text.

        Returns:
            The list to which the text of each delta must be appended, see `GrowingBlock.begin_run`,
            and the size of the deltas at which the block is at its limit, in bytes.
        """
        block = self.newest[index]
        if block is not self._running:
            self._latest = None
            self._running = block
        return block.begin_run(member), self._limits.block_bytes - block.size

    def end_run(self, size: int) -> None:
        """End the run. Its deltas had this size on the wire, in bytes."""
        assert self._running is not None, "a run has begun"
        self._running.end_run(size)

    @property
    def _begun(self) -> GrowingMembers:
        assert self._members is not None, "the table ignores these events before message_start"
        return self._members

    @property
    def stop_reason(self) -> str | None:
        """The current stop reason; None if there is none or if it is empty."""
        return self._begun.stop_reason

    @property
    def has_tool_use(self) -> bool:
        """Whether the message has a call of a client tool."""
        return any(isinstance(block.start, ToolUseBlock) for block in self._blocks)

    def counters_fall(self, usage: MessageDeltaUsage) -> bool:
        """Return whether a counter of input tokens falls to 0, and no `iterations` explain it."""
        return self._begun.counters_fall(usage)

    def check_limits(self, event: MessageStreamEvent, source: EventSource) -> None:
        """Check that the message would not exceed a limit with this event folded into it.

        Args:
            event: an event for which `decide` returned APPLY.
            source: its frame or payload.

        Raises:
            LimitError: the message would exceed `Limits.blocks` or `Limits.block_bytes`.
        """
        if type(event) is ContentBlockDeltaEvent:  # a `match` takes 500 instructions more
            size = self.newest[event.index].size
            if size + source.size > self._limits.block_bytes:  # saves the call
                require_size(size, source, self._limits)
        elif isinstance(event, ContentBlockStartEvent):
            require_blocks(len(self._blocks) + 1, source, self._limits)
            require_size(0, source, self._limits)
        elif isinstance(event, MessageStartEvent):
            require_blocks(len(event.message.content), source, self._limits)
        elif isinstance(event, MessageDeltaEvent):
            require_size(self._begun.size, source, self._limits)

    # Folding.

    def apply(
        self, event: MessageStreamEvent, state: State | None, size: int
    ) -> MessageStreamEvent:
        """Fold an event for which `decide` returned APPLY.

        Args:
            event: the event.
            state: the next state; None if the state stays.
            size: the size of its frame or payload on the wire, in bytes.

        Returns:
            The event. A content_block_stop has the whole block in it, and a message_stop the whole
            message. This message is `complete`, unless content was lost.
        """
        self.state = state or self.state
        if type(event) is ContentBlockDeltaEvent:
            self._latest = None
            self.newest[event.index].grow(event.delta, size)
            return event
        if isinstance(event, WITHOUT_CHANGE):
            return event
        self._latest = self._copy_template = None
        match event:
            case ContentBlockStartEvent(index=index, content_block=block):
                self._start_block(index, block, size)
            case ContentBlockStopEvent(index=index):
                self.newest[index].stop()
                self.open_blocks -= 1
                self._open_inputs.stop(self.newest[index])
                event = evolve(event, content_block=self.newest[index].block())
            case MessageStartEvent(message=message):
                self._members = GrowingMembers(message)
                self.message_id = message.id
                self.tool_ids.update(tool_ids_of(message.content))
                for index, block in enumerate(message.content):
                    text = self._new_input_text() if isinstance(block, InputBlock) else None
                    self._add_block(GrowingBlock(index, block, text, is_stopped=True))
            case MessageDeltaEvent():
                self._begun.amend(event, size)
            case _:
                self._begun.set("complete", not self.has_lost)
                event = evolve(event, message=self.snapshot())
        return event

    def fail(self) -> None:
        """Set the state FAILED, after a fatal error."""
        self.state = State.FAILED

    def record_loss(self, event: MessageStreamEvent | None) -> None:
        """Record that content was lost, and mark the tool inputs that may lack a piece of it.

        A marked input is never complete. Which inputs are marked depends on the event:

        * a content_block_delta: the input of its block. If the delta may be a piece of an input,
          more inputs are marked in two cases. If its block is not an open block with an input, all
          open inputs are marked. If no block is open at its index, each input that starts there
          later is marked too;
        * a content_block_start: the input of the block with its index;
        * a message_start: all inputs in its content, because the loss cannot be assigned to one;
        * a message_delta, or an unknown event that cannot hold an input: none;
        * any other event, or None: all open inputs.

        Args:
            event: the event whose content was lost; None if the lost bytes gave no event.
        """
        self._latest = None
        self._stopped = []
        self.has_lost = True
        match event:
            case ContentBlockDeltaEvent(index=index, delta=delta):
                block = self.newest.get(index)
                if block is not None:
                    block.record_input_loss()
                    if block.input_text is not None and not block.is_stopped:
                        return
                wire_type = delta.wire_type if isinstance(delta, UnknownDelta) else delta.type
                if not may_be_input(wire_type):
                    return
                if block is None or block.is_stopped:
                    self._open_inputs.lose_at(index)
            case ContentBlockStartEvent(index=index):
                if index in self.newest:
                    self.newest[index].record_input_loss()
                return
            case MessageStartEvent(message=message):
                # A second message_start was ignored, so none of its blocks is here.
                is_first = self._members is not None and message is self._members.start
                for each in self._blocks if is_first else ():
                    each.record_input_loss()
                return
            case MessageDeltaEvent():
                return
            case UnknownEvent() if not may_hold_input(event):
                return
            case _:
                pass
        self._open_inputs.lose_all()

    def _start_block(self, index: int, block: ContentBlock, size: int) -> None:
        text = self._new_input_text() if isinstance(block, InputBlock) else None
        growing = GrowingBlock(index, block, text, size=size)
        self._add_block(growing)
        self.open_blocks += 1
        if text is not None:
            self._open_inputs.start(growing)
        if isinstance(block, FallbackBlock):
            model = (block.to or {}).get("model")
            if isinstance(model, str):
                self._begun.set("model", model)
        self.tool_ids.update(tool_ids_of([block]))

    def _add_block(self, block: GrowingBlock) -> None:
        bisect.insort_right(self._blocks, block, key=operator.attrgetter("index"))
        if self._blocks[-1] is not block:
            self._stopped = []
        self.newest[block.index] = block
        self.next_index = max(self.next_index, block.index + 1)

    def _new_input_text(self) -> GrowingInput:
        return GrowingInput(partial_strings=self._partial_strings, max_depth=self._limits.depth)


def require_size(size: int, source: EventSource, limits: Limits) -> None:
    """Raise LimitError if a block, or all message_deltas, would exceed `block_bytes`.

    Args:
        size: the size of the block without the frame or payload, in bytes.
        source: the frame or payload.
        limits: the limits.
    """
    if size + source.size > limits.block_bytes:
        sentence = "a content block, or all message_deltas together, exceed {} bytes"
        raise limit_error_of(source, sentence, "block_bytes", limits.block_bytes)


def require_blocks(count: int, source: EventSource, limits: Limits) -> None:
    """Raise LimitError if a message would have more blocks than it may have."""
    if count > limits.blocks:
        sentence = "a message has more than {} content blocks"
        raise limit_error_of(source, sentence, "blocks", limits.blocks)
