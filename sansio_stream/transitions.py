"""Legality: which event may come when, and what happens if it does not.

`decide` answers once for an event: from a table of events and states, and from rules about the
blocks of the message. It changes nothing. The message gives it a view of itself (`MessageView`),
and moves to the state of the decision when the event is folded.

The rows of the table are steps: what an event means for the order of the stream. The columns are
states. A cell is one of

* `goto(STATE)`: the event counts, and the stream goes on in that state;
* `tolerate(CODE)`: the event counts, the state stays, and a violation is recorded;
* `ignore(CODE)`: the event is kept out of the message, and a violation is recorded;
* `abort(code, sentence)`: the stream is broken;
* `__`: this cannot happen.

In strict mode every violation is fatal. First-party streams are clean and strictly ordered. Proxies
and compatible servers are not, and much of the traffic is theirs.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any, Final, Protocol

import attrs

from .errors import Flaw, ViolationCode
from .events import (
    ContentBlockDeltaEvent,
    ContentBlockStartEvent,
    ContentBlockStopEvent,
    ErrorEvent,
    MessageDeltaEvent,
    MessageStartEvent,
    MessageStopEvent,
    MessageStreamEvent,
    PingEvent,
    UnknownEvent,
)
from .losses import carries_content, says_something
from .message import InputBlock
from .payloads import usage_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Set as AbstractSet

    from .events import ContentBlockDelta, MessageDeltaUsage
    from .message import ContentBlock

__all__ = ["State"]


class State(enum.Enum):
    """Where a stream is. The values are sentences."""

    WAITING = "no message has begun"
    OPEN = "in a message"
    CLOSING = "a stop_reason was taken"
    DONE = "message_stop was taken"
    FAILED = "an error ended the stream"


class Step(enum.Enum):
    """What an event means for the order of the stream. It may depend on what the event holds."""

    MESSAGE_START = "message_start"
    MESSAGE_START_WHOLE = "message_start with content and a stop_reason"
    MESSAGE_START_AGAIN = "message_start with the id of the open message"
    BLOCK_START = "content_block_start"
    BLOCK_DELTA = "content_block_delta"
    BLOCK_STOP = "content_block_stop"
    MESSAGE_DELTA = "message_delta without a stop_reason"
    MESSAGE_DELTA_STOP = "message_delta with a stop_reason"
    MESSAGE_STOP = "message_stop"
    PING = "ping"
    ERROR = "error"
    UNKNOWN = "unknown event"


class Action(enum.Enum):
    """What is done with an event."""

    APPLY = "fold it into the message"
    IGNORE = "keep it out of the message"
    ABORT = "end the stream: the protocol is broken"


@attrs.frozen
class Decision:
    """What is done with an event, and why.

    Attributes:
        action: fold the event, keep it out, or end the stream.
        flaws: what the event violates, in the order in which it is reported.
        state: the next state; None to stay.
        code: why the stream ends, where the action is to end it.
        sentence: the same for a person.
    """

    action: Action
    flaws: tuple[Flaw, ...] = ()
    state: State | None = None
    code: str = ""
    sentence: str = ""


def goto(state: State) -> Decision:
    """Fold the event, and go on in `state`."""
    return Decision(Action.APPLY, state=state)


def tolerate(*codes: ViolationCode) -> Decision:
    """Fold the event, record violations, and stay."""
    return Decision(Action.APPLY, tuple(map(Flaw, codes)))


def ignore(code: ViolationCode, *, loses_content: bool = False) -> Decision:
    """Keep the event out of the message, and record a violation."""
    return Decision(Action.IGNORE, (Flaw(code, loses_content),))


def abort(code: str, sentence: str) -> Decision:
    """End the stream."""
    return Decision(Action.ABORT, code=code, sentence=sentence)


# A second generation inside the first is fatal. To merge two would sign the reasoning of one with
# the signature of the other. A message without an id is never taken for the same one again.

# fmt: off
WAITING      = goto(State.WAITING)
OPEN         = goto(State.OPEN)
CLOSING      = goto(State.CLOSING)
DONE         = goto(State.DONE)
FAILED       = goto(State.FAILED)
SPLICED      = abort("spliced_message", "a second message begins inside the first")
BEFORE_START = ignore(ViolationCode.BEFORE_MESSAGE_START)
DUPLICATE    = ignore(ViolationCode.DUPLICATE_MESSAGE_START)
SECOND       = ignore(ViolationCode.SECOND_MESSAGE)
AFTER_STOP   = ignore(ViolationCode.AFTER_MESSAGE_STOP)
AFTER_ERROR  = ignore(ViolationCode.AFTER_ERROR)
AFTER_REASON = tolerate(ViolationCode.AFTER_STOP_REASON)
__           = None

STATES: Final = (            State.WAITING, State.OPEN, State.CLOSING, State.DONE, State.FAILED)
TRANSITIONS: Final[dict[Step, tuple[Decision | None, ...]]] = {
    Step.MESSAGE_START:       (OPEN,         SPLICED,   SPLICED,      SECOND,     AFTER_ERROR),
    Step.MESSAGE_START_WHOLE: (CLOSING,      SPLICED,   SPLICED,      SECOND,     AFTER_ERROR),
    Step.MESSAGE_START_AGAIN: (__,           DUPLICATE, DUPLICATE,    SECOND,     AFTER_ERROR),
    Step.BLOCK_START:         (BEFORE_START, OPEN,      AFTER_REASON, AFTER_STOP, AFTER_ERROR),
    Step.BLOCK_DELTA:         (BEFORE_START, OPEN,      AFTER_REASON, AFTER_STOP, AFTER_ERROR),
    Step.BLOCK_STOP:          (BEFORE_START, OPEN,      AFTER_REASON, AFTER_STOP, AFTER_ERROR),
    Step.MESSAGE_DELTA:       (BEFORE_START, OPEN,      CLOSING,      AFTER_STOP, AFTER_ERROR),
    Step.MESSAGE_DELTA_STOP:  (BEFORE_START, CLOSING,   CLOSING,      AFTER_STOP, AFTER_ERROR),
    Step.MESSAGE_STOP:        (BEFORE_START, DONE,      DONE,         AFTER_STOP, AFTER_ERROR),
    Step.PING:                (WAITING,      OPEN,      CLOSING,      DONE,       FAILED),
    Step.ERROR:               (FAILED,       FAILED,    FAILED,       AFTER_STOP, AFTER_ERROR),
    Step.UNKNOWN:             (WAITING,      OPEN,      CLOSING,      DONE,       FAILED),
}
# fmt: on

STEPS: Final[dict[type[MessageStreamEvent], Step]] = {
    ContentBlockStartEvent: Step.BLOCK_START,
    ContentBlockDeltaEvent: Step.BLOCK_DELTA,
    ContentBlockStopEvent: Step.BLOCK_STOP,
    MessageStopEvent: Step.MESSAGE_STOP,
    PingEvent: Step.PING,
    ErrorEvent: Step.ERROR,
    UnknownEvent: Step.UNKNOWN,
}
"""The steps of the events whose step does not depend on what they hold."""

LOSES_CONTENT: Final = (ViolationCode.BEFORE_MESSAGE_START, ViolationCode.DUPLICATE_MESSAGE_START)
"""The cells that keep content out of a message that has not ended."""


class BlockView(Protocol):
    """What the rules ask of a block that grows."""

    @property
    def is_stopped(self) -> bool:
        """Whether the block has stopped."""
        ...

    def accepts(self, delta: ContentBlockDelta) -> bool:
        """Whether a delta of that class folds into a block of this class."""
        ...

    def second_value(self, delta: ContentBlockDelta) -> ViolationCode | None:
        """Return the violation if the delta replaces another value that the block has."""
        ...

    def has_signature_of(self, delta: ContentBlockDelta) -> bool:
        """Whether the delta holds nothing but the signature that the block has already."""
        ...


class MessageView(Protocol):
    """What the table and the rules ask of the message so far."""

    @property
    def state(self) -> State:
        """Where the stream is."""
        ...

    @property
    def message_id(self) -> str | None:
        """The id of the open message."""
        ...

    @property
    def stop_reason(self) -> str | None:
        """The stop reason so far."""
        ...

    @property
    def next_index(self) -> int:
        """The index that a new block should have."""
        ...

    @property
    def open_blocks(self) -> int:
        """How many blocks have not stopped."""
        ...

    @property
    def tool_ids(self) -> AbstractSet[str]:
        """The ids of the tool calls so far."""
        ...

    @property
    def has_tool_use(self) -> bool:
        """Whether a block is a call of a client tool."""
        ...

    def find(self, index: int) -> BlockView | None:
        """Return the newest block with that index, or None."""
        ...

    def counters_fall(self, usage: MessageDeltaUsage) -> bool:
        """Whether a counter of input tokens falls to 0 without a reason."""
        ...


def decide(event: MessageStreamEvent, message: MessageView) -> Decision:
    """Return what is done with an event that comes after the message so far. Changes nothing."""
    cell = TRANSITIONS[step_of(event, message)][STATES.index(message.state)]
    assert cell is not None, f"{event} cannot happen in {message.state}"
    if cell.action is Action.APPLY:
        rule = RULES.get(type(event))
        found = None if rule is None else rule(event, message)
        if found is None:
            return cell
        return attrs.evolve(found, state=cell.state, flaws=(*cell.flaws, *found.flaws))
    if cell.action is Action.IGNORE:
        (code, _), *_ = cell.flaws
        if code in LOSES_CONTENT and carries_content(event):
            return ignore(code, loses_content=True)
    return cell


def step_of(event: MessageStreamEvent, message: MessageView) -> Step:
    """Return what an event means for the order of the stream."""
    match event:
        case MessageStartEvent(message=begun):
            if begun.id is not None and begun.id == message.message_id:
                return Step.MESSAGE_START_AGAIN
            is_whole = begun.content and begun.stop_reason
            return Step.MESSAGE_START_WHOLE if is_whole else Step.MESSAGE_START
        case MessageDeltaEvent(delta=delta):
            return Step.MESSAGE_DELTA_STOP if delta.stop_reason else Step.MESSAGE_DELTA
        case _:
            return STEPS[type(event)]


# The rules of the blocks: what the table cannot say, because it depends on which blocks there are.
# First-party indexes are 0, 1, 2, ... with one block open at a time. Blocks that came filled in
# message_start own 0 to n-1. Each rule returns None where it has nothing to say.


def rule_of_message_start(event: MessageStartEvent, _message: MessageView) -> Decision | None:
    """Two tool calls of the content must not have the same id."""
    ids = tool_ids_of(event.message.content)
    return tolerate(ViolationCode.DUPLICATE_TOOL_USE_ID) if len(ids) > len(set(ids)) else None


def rule_of_block_start(event: ContentBlockStartEvent, message: MessageView) -> Decision | None:
    """A used index means a new block all the same: deltas go to the newest."""
    codes: list[ViolationCode] = []
    if message.find(event.index) is not None:
        codes.append(ViolationCode.INDEX_REUSED)
    elif event.index != message.next_index:
        codes.append(ViolationCode.INDEX_NOT_NEXT)
    if message.open_blocks:
        codes.append(ViolationCode.OVERLAPPING_BLOCKS)
    if not message.tool_ids.isdisjoint(tool_ids_of([event.content_block])):
        codes.append(ViolationCode.DUPLICATE_TOOL_USE_ID)
    return tolerate(*codes) if codes else None


def rule_of_block_delta(event: ContentBlockDeltaEvent, message: MessageView) -> Decision | None:
    """A delta never falls back on the last block. Without a block of its own it is kept out, and
    its content is lost.
    """
    delta = event.delta
    block = message.find(event.index)
    if block is None:
        code = ViolationCode.UNKNOWN_INDEX
    elif block.is_stopped:
        code = ViolationCode.STOPPED_BLOCK
    elif not block.accepts(delta):
        code = ViolationCode.UNFIT_DELTA
    else:
        second = block.second_value(delta)
        return None if second is None else tolerate(second)
    is_known = block is not None and block.has_signature_of(delta)
    return ignore(code, loses_content=says_something(delta) and not is_known)


def rule_of_block_stop(event: ContentBlockStopEvent, message: MessageView) -> Decision | None:
    """A block stops once."""
    block = message.find(event.index)
    if block is None:
        return ignore(ViolationCode.UNKNOWN_INDEX)
    return ignore(ViolationCode.STOPPED_BLOCK) if block.is_stopped else None


def rule_of_message_delta(event: MessageDeltaEvent, message: MessageView) -> Decision | None:
    """First-party counters fall where a compaction has run; then the usage has `iterations`."""
    falls = message.counters_fall(usage_of(event))
    return tolerate(ViolationCode.FALLING_USAGE) if falls else None


def rule_of_message_stop(_event: MessageStopEvent, message: MessageView) -> Decision | None:
    """A block that max_tokens has cut may lack its stop: the first party sends that, too."""
    codes: list[ViolationCode] = []
    reason = message.stop_reason
    if reason is None:
        codes.append(ViolationCode.MISSING_STOP_REASON)
    if message.open_blocks and reason != "max_tokens":
        codes.append(ViolationCode.UNCLOSED_BLOCK)
    contradicts = {"tool_use": not message.has_tool_use, "end_turn": message.has_tool_use}
    if contradicts.get(reason or ""):
        codes.append(ViolationCode.CONTRADICTORY_STOP_REASON)
    return tolerate(*codes) if codes else None


RULES: Final[dict[type, Callable[[Any, MessageView], Decision | None]]] = {
    MessageStartEvent: rule_of_message_start,
    ContentBlockStartEvent: rule_of_block_start,
    ContentBlockDeltaEvent: rule_of_block_delta,
    ContentBlockStopEvent: rule_of_block_stop,
    MessageDeltaEvent: rule_of_message_delta,
    MessageStopEvent: rule_of_message_stop,
}


def tool_ids_of(content: Iterable[ContentBlock]) -> list[str]:
    """Return the ids of the tool calls among blocks. An empty id is none."""
    ids = [getattr(block, "id", None) for block in content if isinstance(block, InputBlock)]
    return [id for id in ids if id]
