"""Fold: the events so far in, the message as of the last one out.

Owns the blocks; asks `transitions` what is legal. `judge` says what would become of an event and
changes nothing; `apply` folds an event that was admitted. Between two events the snapshot never
changes, so it is built when somebody looks, and kept. How a block grows is in `blocks`.

Cost: constant for each event that nobody looks at; a snapshot joins the fragments of the blocks
that have grown, and copies the members of the message if a message_delta has changed one.
"""

from __future__ import annotations

import bisect
import operator
from typing import TYPE_CHECKING, Any, Final

from .blocks import FITTING, GrowingBlock
from .codec import CopyTemplate, copy_with, decode, evolve, said_null, with_wire, wrong_types
from .events import (
    ContentBlockDelta,
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
from .losses import may_be_input, may_hold_input, says_something
from .message import ContentBlock, FallbackBlock, InputBlock, ToolUseBlock, Usage
from .payloads import added_members, usage_of
from .reading import Origin, error_of, limit_error_of
from .tool_input import GrowingText
from .transitions import (
    Action,
    Course,
    Ruling,
    State,
    judge_block_delta,
    judge_block_start,
    judge_block_stop,
    judge_message_delta,
    judge_message_start,
    judge_message_stop,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .errors import Limits
    from .events import MessageDeltaUsage, MessageStreamEvent
    from .message import Message


APART: Final = (PingEvent, ErrorEvent, UnknownEvent)
"""The events that change nothing of the message."""


class Fold:
    """The message as of the last event that was applied.

    `latest` is the snapshot as of now, None where it must be made first; `has_lost` is whether
    content of the message was lost.

    Args:
        limits: `blocks` and `block_bytes` apply, and `depth` to tool inputs.
        partial_strings: whether `partial_input` shows the beginning of a cut string.
    """

    __slots__ = (
        "_blocks",
        "_changes",
        "_limits",
        "_lost_indexes",
        "_newest",
        "_next_index",
        "_open_blocks",
        "_open_inputs",
        "_partial_strings",
        "_size",
        "_start",
        "_template",
        "_tool_ids",
        "_usage",
        "_wire_changes",
        "course",
        "has_lost",
        "latest",
    )

    def __init__(self, limits: Limits, *, partial_strings: bool) -> None:
        self._limits = limits
        self._partial_strings = partial_strings
        self.course = Course()
        # The message as it began, and what has changed in it since, by member: values of typed
        # members, and what is on the wire for others. Kept apart until somebody looks, because a
        # copy of the message costs as much as it has members.
        self._start: Message | None = None
        self._changes: dict[str, Any] = {}
        self._wire_changes: dict[str, Any] = {}
        self._template: CopyTemplate[Message] | None = None
        # All blocks, ordered by (index, arrival), and the newest of each index.
        self._blocks: list[GrowingBlock] = []
        self._newest: dict[int, GrowingBlock] = {}
        self._next_index = 0
        self._open_blocks = 0
        # The open blocks whose input may still become complete.
        self._open_inputs: set[GrowingBlock] = set()
        # The indexes for which a piece of an input was lost while no block was open there: it may
        # belong to the one that starts there later.
        self._lost_indexes: set[int] = set()
        self._tool_ids: set[str] = set()
        # What message_deltas have said: the usage, merged, and how much it was in bytes.
        self._usage: dict[str, Any] | None = None
        self._size = 0
        self.latest: Message | None = None
        self.has_lost = False

    @property
    def has_content(self) -> bool:
        """Whether a content block was delivered."""
        return bool(self._blocks)

    @property
    def is_finished(self) -> bool:
        """Whether every block has stopped; the last one may be open where max_tokens has cut it."""
        if self._open_blocks == 1 and self._stop_reason == "max_tokens":
            return not self._blocks[-1].is_stopped
        return self._open_blocks == 0

    def snapshot(self) -> Message | None:
        """Return the message as of now, None before it began; one object until the next change."""
        if self.latest is None and self._start is not None:
            content = tuple([each.latest or each.block() for each in self._blocks])
            if self._template is not None:
                self.latest = self._template.make(content)
                return self.latest
            changes = dict(self._changes)
            if content:
                changes["content"] = content
            if self._usage is not None:
                changes["usage"] = decode(Usage, self._usage)
            message = copy_with(self._start, **changes) if changes else self._start
            if self._wire_changes:
                message = with_wire(message, **self._wire_changes)
            self.latest = message
            if self._open_blocks:
                # As long as no event changes the message itself, only its blocks do.
                self._template = CopyTemplate(self.latest, "content")
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
        assert self._start is not None, "the table admits nothing of a message before its start"
        return self._start

    @property
    def _stop_reason(self) -> str | None:
        """The stop reason as of now; an empty one is none."""
        return self._changes.get("stop_reason", self._begun.stop_reason) or None

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
        if ruling.action is Action.SKIP or isinstance(event, APART):
            return (ruling,)
        return (ruling, *self._judge_content(event, origin))

    def _judge_content(self, event: MessageStreamEvent, origin: Origin) -> Iterator[Ruling]:
        match event:
            case ContentBlockDeltaEvent(index=index, delta=delta):
                block = self._newest.get(index)
                fits = block is not None and type(block.start) in FITTING[type(delta)]
                is_stopped = block is not None and block.is_stopped
                is_taken = fits and not is_stopped
                rulings = judge_block_delta(
                    is_known=block is not None,
                    is_stopped=is_stopped,
                    fits=fits,
                    says_something=not is_taken and self._is_missed(block, delta),
                    second=block.second_value(delta) if is_taken and block else None,
                )
                for ruling in rulings:
                    yield ruling
                    if ruling.action is Action.SKIP:
                        return
                self._check_size(block.size if block else 0, origin)
            case ContentBlockStartEvent(index=index, content_block=start):
                self._check_blocks(len(self._blocks) + 1, origin)
                self._check_size(0, origin)
                yield from judge_block_start(
                    index=index,
                    next_index=self._next_index,
                    is_used=index in self._newest,
                    others_open=self._open_blocks > 0,
                    has_used_id=self._tool_ids.intersection(tool_ids_of([start])) != set(),
                )
            case ContentBlockStopEvent(index=index):
                block = self._newest.get(index)
                yield from judge_block_stop(
                    is_known=block is not None, is_stopped=block is not None and block.is_stopped
                )
            case MessageStartEvent(message=message):
                self._check_blocks(len(message.content), origin)
                ids = tool_ids_of(message.content)
                yield from judge_message_start(has_used_id=len(ids) > len(set(ids)))
            case MessageDeltaEvent():
                self._check_size(self._size, origin)
                yield from judge_message_delta(usage_falls=self._usage_falls(usage_of(event)))
            case _:
                yield from judge_message_stop(
                    stop_reason=self._stop_reason,
                    blocks_open=self._open_blocks > 0,
                    has_tool_use=any(
                        isinstance(block.start, ToolUseBlock) for block in self._blocks
                    ),
                )

    @staticmethod
    def _is_missed(block: GrowingBlock | None, delta: ContentBlockDelta) -> bool:
        """Whether something is lost with a delta that its block, if there is one, does not take."""
        return says_something(delta) and not (block is not None and block.has_signature_of(delta))

    def _usage_falls(self, usage: MessageDeltaUsage) -> bool:
        """Whether a counter of input tokens falls to 0 without `iterations` that explain it."""
        if usage.iterations is not None:
            return False
        return any(getattr(usage, name) == 0 and (self._counter(name) or 0) > 0 for name in FALLING)

    def _counter(self, name: str) -> int | None:
        """Return a counter of the usage as of now; None where none was said."""
        if self._usage is None:
            count: int | None = getattr(self._begun.usage, name)
            return count
        # What message_start had in its place may have another type.
        said = self._usage.get(name)
        return said if type(said) is int else None

    def _check_size(self, size: int, origin: Origin) -> None:
        if size + origin.size > self._limits.block_bytes:
            sentence = "a content block, or what changes the message, is larger than {} bytes"
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
        it has finished. A message that stops is complete, unless it `has_lost` something.
        """
        if isinstance(event, APART):
            self.course.move(event, state)
            return event
        self.latest = None
        if not isinstance(event, ContentBlockDeltaEvent):
            self._template = None
        match event:
            case ContentBlockDeltaEvent(index=index, delta=delta):
                self._newest[index].grow(delta, size)
            case ContentBlockStartEvent(index=index, content_block=block):
                self._start_block(index, block, size)
            case ContentBlockStopEvent(index=index):
                self._newest[index].stop()
                self._open_blocks -= 1
                self._open_inputs.discard(self._newest[index])
                event = evolve(event, content_block=self._newest[index].block())
            case MessageStartEvent(message=message):
                self._start = message
                if message.stop_reason == "":
                    self._changes["stop_reason"] = None
                self._tool_ids.update(tool_ids_of(message.content))
                for index, block in enumerate(message.content):
                    text = self._new_input_text() if isinstance(block, InputBlock) else None
                    self._add_block(GrowingBlock(index, block, text, is_stopped=True))
            case MessageDeltaEvent():
                self._size += size
                self._amend_message(event)
            case _:
                self._changes["complete"] = not self.has_lost
                event = evolve(event, message=self.snapshot())
        self.course.move(event, state)
        return event

    def lose(self, event: MessageStreamEvent | None) -> None:
        """Note that content was lost: by an event, or by bytes that gave none (None). A tool input
        that may have been part of it is never complete.

        A piece of an input that belongs to no open block may belong to any, and to the next one
        that starts at its index. Of the blocks that came with a message_start nobody knows which
        one has lost something.
        """
        self.latest = None
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
                for each in self._blocks if message is self._start else ():
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
        growing = GrowingBlock(index, block, text)
        growing.size = size
        self._add_block(growing)
        self._open_blocks += 1
        if text is not None and index in self._lost_indexes:
            growing.lose_input()
        elif text is not None:
            self._open_inputs.add(growing)
        if isinstance(block, FallbackBlock):
            model = (block.to or {}).get("model")
            if isinstance(model, str):
                self._changes["model"] = model
        self._tool_ids.update(tool_ids_of([block]))

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
        delta = event.delta
        said = {
            "stop_reason": delta.stop_reason or None,
            "stop_sequence": delta.stop_sequence,
            "stop_details": delta.stop_details,
            "container": delta.container,
            "safeguard_results": delta.safeguard_results,
            "context_management": event.context_management,
            "input_transformations": event.input_transformations,
        }
        self._wire_changes.update(added_members(event))
        if said_null(delta, "stop_details"):
            self._changes["stop_details"] = self._wire_changes["stop_details"] = None
        elif delta.stop_details is not None:
            self._wire_changes.pop("stop_details", None)
        self._changes.update((name, value) for name, value in said.items() if value is not None)
        # Totals: they replace, they are never added; 0 is a value. Counters that we do not know are
        # kept. Decoded when somebody looks: they are merged in the size of what was said.
        usage = usage_of(event)
        mute = wrong_types(usage)
        counts = {
            name: value
            for name, value in usage.to_dict().items()
            if value is not None and name not in mute
        }
        if counts:
            self._usage = self._usage or self._begun.usage.to_dict()
            self._usage.update(counts)


FALLING: Final = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
"""The counters that never fall to 0 by themselves."""


def tool_ids_of(content: Iterable[ContentBlock]) -> list[str]:
    """Return the ids of the tool calls among the blocks; an empty one is none."""
    ids = [getattr(block, "id", None) for block in content if isinstance(block, InputBlock)]
    return [id for id in ids if id]
