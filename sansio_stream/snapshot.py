"""Fold: the events so far in, the message as of the last one out.

The fold owns the state of the stream, the message and its blocks. `transitions.decide` looks at it
(`MessageView`) and says what is done with an event; `apply` folds an event that was admitted. How a
block grows is in `blocks`.

Strategy: the snapshot does not change between two events. So it is built when somebody looks, and
kept until the next change. An event that nobody looks at costs a constant. A snapshot joins the
fragments of the blocks that have grown, and copies the members of the message if a message_delta
has changed one.
"""

from __future__ import annotations

import bisect
import operator
from typing import TYPE_CHECKING, Final

from .blocks import GrowingBlock
from .codec import CopyTemplate, evolve
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
from .message import ContentBlock, FallbackBlock, InputBlock, ToolUseBlock
from .reading import EventSource, limit_error_of
from .tool_input import GrowingText
from .transitions import State, tool_ids_of

if TYPE_CHECKING:
    from .errors import Limits
    from .events import MessageDeltaUsage, MessageStreamEvent
    from .message import Message


APART: Final = (PingEvent, ErrorEvent, UnknownEvent)
"""The events that change nothing of the message."""


class Fold:
    """The message as of the last event that was applied.

    Attributes:
        state: where the stream is.
        message_id: the id of the message; None before it began, and where it has none.
        next_index: the index that a new block should have.
        open_blocks: how many blocks have not stopped.
        tool_ids: the ids of the tool calls.
        has_lost: whether content of the message was lost.

    Args:
        limits: `blocks` and `block_bytes` apply, and `depth` to tool inputs.
        partial_strings: whether `partial_input` shows the beginning of a cut string.
    """

    __slots__ = (
        "_blocks",
        "_latest",
        "_limits",
        "_lost_indexes",
        "_members",
        "_newest",
        "_open_inputs",
        "_partial_strings",
        "_running",
        "_template",
        "has_lost",
        "message_id",
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
        self._template: CopyTemplate[Message] | None = None
        # All blocks, ordered by (index, arrival), and the newest of each index.
        self._blocks: list[GrowingBlock] = []
        self._newest: dict[int, GrowingBlock] = {}
        self.next_index = 0
        self.open_blocks = 0
        # The open blocks whose input may still become complete.
        self._open_inputs: set[GrowingBlock] = set()
        # The indexes for which a piece of an input was lost while no block was open there: it may
        # belong to the one that starts there later.
        self._lost_indexes: set[int] = set()
        self.tool_ids: set[str] = set()
        # The block that texts are appended to, which keeps the last snapshot; without one it is
        # kept here. None if the message has changed since.
        self._running: GrowingBlock | None = None
        self._latest: Message | None = None
        self.has_lost = False

    @property
    def has_content(self) -> bool:
        """Whether a content block was delivered."""
        return bool(self._blocks)

    @property
    def is_finished(self) -> bool:
        """Whether every block has stopped; the last one may be open where max_tokens has cut it."""
        if self.open_blocks == 1 and self.stop_reason == "max_tokens":
            return not self._blocks[-1].is_stopped
        return self.open_blocks == 0

    def snapshot(self) -> Message | None:
        """Return the message as of now, None before it began; one object until the next change."""
        if self._members is None:
            return None
        running = self._running
        latest = self._latest if running is None else running.message
        if latest is not None:
            return latest
        content = tuple([each.latest or each.block() for each in self._blocks])
        if self._template is not None:
            message = self._template.make(content)
        else:
            message = self._members.message(content)
        if running is None:
            self._latest = message
        else:
            running.keep(message)
        if self._template is None and self.open_blocks:
            # The next message differs in its blocks only, until an event changes the message.
            self._template = CopyTemplate(message, "content")
        return message

    def _forget_snapshot(self) -> None:
        self._latest = None
        if self._running is not None:
            self._running.keep(None)

    def block(self, index: int) -> ContentBlock | None:
        """Return the newest block with that index as of now, or None."""
        block = self._newest.get(index)
        return None if block is None else block.block()

    def running(self, index: int, member: str) -> GrowingBlock:
        """Return the newest block with that index, which must be there, to `append` to a member."""
        self._forget_snapshot()
        self._running = block = self._newest[index]
        block.begin_run(member)
        return block

    def find(self, index: int) -> GrowingBlock | None:
        """Return the newest block with that index, or None."""
        return self._newest.get(index)

    @property
    def _begun(self) -> GrowingMembers:
        assert self._members is not None, "the table admits nothing of a message before its start"
        return self._members

    @property
    def stop_reason(self) -> str | None:
        """The stop reason as of now; None for an empty one."""
        return self._begun.stop_reason

    @property
    def has_tool_use(self) -> bool:
        """Whether a block is a call of a client tool."""
        return any(isinstance(block.start, ToolUseBlock) for block in self._blocks)

    def counters_fall(self, usage: MessageDeltaUsage) -> bool:
        """Whether a counter of input tokens falls to 0 without a reason."""
        return self._begun.counters_fall(usage)

    def check_limits(self, event: MessageStreamEvent, source: EventSource) -> None:
        """Raise LimitError if the message would be too large with an event folded into it."""
        match event:
            case ContentBlockDeltaEvent(index=index):
                self._check_size(self._newest[index].size, source)
            case ContentBlockStartEvent():
                self._check_blocks(len(self._blocks) + 1, source)
                self._check_size(0, source)
            case MessageStartEvent(message=message):
                self._check_blocks(len(message.content), source)
            case MessageDeltaEvent():
                self._check_size(self._begun.size, source)
            case _:
                pass

    def _check_size(self, size: int, source: EventSource) -> None:
        if size + source.size > self._limits.block_bytes:
            sentence = "a content block, or what changes the message, is larger than {} bytes"
            raise limit_error_of(source, sentence, "block_bytes", self._limits.block_bytes)

    def _check_blocks(self, count: int, source: EventSource) -> None:
        if count > self._limits.blocks:
            sentence = "a message has more than {} content blocks"
            raise limit_error_of(source, sentence, "blocks", self._limits.blocks)

    # Folding.

    def apply(
        self, event: MessageStreamEvent, state: State | None, size: int
    ) -> MessageStreamEvent:
        """Fold an event that was admitted, and go on in `state` (None: stay).

        Returns the event. A block that stops, and a message that stops, are in it. A message that
        stops is complete, unless it `has_lost` something.
        """
        self.state = state or self.state
        if isinstance(event, APART):
            return event
        self._forget_snapshot()
        if not isinstance(event, ContentBlockDeltaEvent):
            self._template = None
        match event:
            case ContentBlockDeltaEvent(index=index, delta=delta):
                self._newest[index].grow(delta, size)
            case ContentBlockStartEvent(index=index, content_block=block):
                self._start_block(index, block, size)
            case ContentBlockStopEvent(index=index):
                self._newest[index].stop()
                self.open_blocks -= 1
                self._open_inputs.discard(self._newest[index])
                event = evolve(event, content_block=self._newest[index].block())
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
        """End the stream: what was received broke the protocol."""
        self.state = State.FAILED

    def lose(self, event: MessageStreamEvent | None) -> None:
        """Note that content was lost: by an event, or by bytes that gave none (None). A tool input
        that may have been part of it is never complete.

        A piece of an input that belongs to no open block may belong to any, and to the next one
        that starts at its index. Of the blocks that came with a message_start nobody knows which
        one has lost something.
        """
        self._forget_snapshot()
        self.has_lost = True
        match event:
            case ContentBlockDeltaEvent(index=index, delta=delta):
                block = self._newest.get(index)
                if block is not None:
                    block.lose_input()
                    if block.input_text is not None and not block.is_stopped:
                        return
                wire_type = delta.wire_type if isinstance(delta, UnknownDelta) else delta.type
                if not may_be_input(wire_type):
                    return
                if block is None or block.is_stopped:
                    self._lost_indexes.add(index)
            case ContentBlockStartEvent(index=index):
                if index in self._newest:
                    self._newest[index].lose_input()
                return
            case MessageStartEvent(message=message):
                # A second one is kept out, and has no block here.
                is_first = self._members is not None and message is self._members.start
                for each in self._blocks if is_first else ():
                    each.lose_input()
                return
            case MessageDeltaEvent():
                return
            case UnknownEvent() if not may_hold_input(event):
                return
            case _:
                pass
        for block in self._open_inputs:
            block.lose_input()
        self._open_inputs.clear()

    def _start_block(self, index: int, block: ContentBlock, size: int) -> None:
        text = self._new_input_text() if isinstance(block, InputBlock) else None
        growing = GrowingBlock(index, block, text, size=size)
        self._add_block(growing)
        self.open_blocks += 1
        if text is not None and index in self._lost_indexes:
            growing.lose_input()
        elif text is not None:
            self._open_inputs.add(growing)
        if isinstance(block, FallbackBlock):
            model = (block.to or {}).get("model")
            if isinstance(model, str):
                self._begun.set("model", model)
        self.tool_ids.update(tool_ids_of([block]))

    def _add_block(self, block: GrowingBlock) -> None:
        bisect.insort_right(self._blocks, block, key=operator.attrgetter("index"))
        self._newest[block.index] = block
        self.next_index = max(self.next_index, block.index + 1)

    def _new_input_text(self) -> GrowingText:
        return GrowingText(partial_strings=self._partial_strings, max_depth=self._limits.depth)
