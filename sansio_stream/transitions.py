"""Legality: which events are legal in which state, and what happens to an illegal event.

`decide` is called once for each decoded event. It looks the event up in a table of steps and
states, and then applies the rules about the blocks of the message. It reads the message through the
protocol `MessageView` and changes nothing. The caller folds the event, which means that it changes
the message by the event, and sets the new state.

A row of the table is a step: the event's role in the order of the stream. A column is a state. A
cell is one of

* `goto(STATE)`: the event is folded, and `STATE` is the next state;
* `tolerate(CODE)`: the event is folded, the state stays, and a violation is recorded;
* `ignore(CODE)`: the event is not folded, and a violation is recorded;
* `abort(code, sentence)`: the stream fails with a ProtocolError;
* `__`: the step cannot occur in this state.

In strict mode nearly every violation is fatal; see `ViolationCode.is_fatal_if_strict`. The default
is lenient: first-party streams are clean and strictly ordered, but many streams come from proxies
and compatible servers, and those are not.
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
from .frozen import HashableValue
from .losses import adds_content, has_content
from .message import InputBlock
from .payloads import usage_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Set as AbstractSet

    from .events import ContentBlockDelta, MessageDeltaUsage
    from .message import ContentBlock

__all__ = ["State"]


class State(enum.Enum):
    """The state of a stream. Each value describes the state in words."""

    WAITING = "no message has begun"
    OPEN = "in a message"
    CLOSING = "a stop_reason was taken"
    DONE = "message_stop was taken"
    FAILED = "an error ended the stream"


class Step(enum.Enum):
    """The role of an event in the order of the stream: its type, refined by its members."""

    # Each event looks up its step in `TRANSITIONS`, and the hash of Enum is a function in Python.
    __hash__ = object.__hash__

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
    """What the machine does with an event."""

    APPLY = "fold the event into the message"
    IGNORE = "do not fold the event"
    ABORT = "end the stream with a ProtocolError"


APPLY: Final = Action.APPLY
"""The action of nearly every event. To get it from its class takes 900 instructions (CPython 3.11).
"""


@attrs.frozen(eq=False, repr=False)
class Decision(HashableValue):
    """What the machine does with an event, and why.

    Attributes:
        action: fold the event, ignore it, or end the stream.
        flaws: the violations of the event, in the order in which they are reported.
        state: the next state; None if the state stays.
        code: the code of the ProtocolError if the action is ABORT, else "".
        sentence: the message of the ProtocolError if the action is ABORT, else "".
    """

    action: Action
    flaws: tuple[Flaw, ...] = ()
    state: State | None = None
    code: str = ""
    sentence: str = ""


def goto(state: State) -> Decision:
    """Return the decision to fold the event and to set the state."""
    return Decision(Action.APPLY, state=state)


def tolerate(*codes: ViolationCode) -> Decision:
    """Return the decision to fold the event, to record violations, and to keep the state."""
    return Decision(Action.APPLY, tuple(map(Flaw, codes)))


def ignore(code: ViolationCode, *, loses_content: bool = False) -> Decision:
    """Return the decision to ignore the event and to record a violation.

    Args:
        code: the violation.
        loses_content: whether the event has content, which is lost with it.
    """
    return Decision(Action.IGNORE, (Flaw(code, loses_content),))


def abort(code: str, sentence: str) -> Decision:
    """Return the decision to end the stream with a ProtocolError."""
    return Decision(Action.ABORT, code=code, sentence=sentence)


# A second message inside the first is fatal (SPLICED). Merging the two could put the signature of
# one message on the thinking of the other. Only an equal id shows that a message_start repeats the
# open message (DUPLICATE), so a message_start without an id is always SPLICED.
#
# A cell `TO_...` sets a state. Every other cell has the name of its violation or error.

# fmt: off
TO_WAITING   = goto(State.WAITING)
TO_OPEN      = goto(State.OPEN)
TO_CLOSING   = goto(State.CLOSING)
TO_DONE      = goto(State.DONE)
TO_FAILED    = goto(State.FAILED)
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
    Step.MESSAGE_START:       (TO_OPEN,      SPLICED,     SPLICED,      SECOND,     AFTER_ERROR),
    Step.MESSAGE_START_WHOLE: (TO_CLOSING,   SPLICED,     SPLICED,      SECOND,     AFTER_ERROR),
    Step.MESSAGE_START_AGAIN: (__,           DUPLICATE,   DUPLICATE,    SECOND,     AFTER_ERROR),
    Step.BLOCK_START:         (BEFORE_START, TO_OPEN,     AFTER_REASON, AFTER_STOP, AFTER_ERROR),
    Step.BLOCK_DELTA:         (BEFORE_START, TO_OPEN,     AFTER_REASON, AFTER_STOP, AFTER_ERROR),
    Step.BLOCK_STOP:          (BEFORE_START, TO_OPEN,     AFTER_REASON, AFTER_STOP, AFTER_ERROR),
    Step.MESSAGE_DELTA:       (BEFORE_START, TO_OPEN,     TO_CLOSING,   AFTER_STOP, AFTER_ERROR),
    Step.MESSAGE_DELTA_STOP:  (BEFORE_START, TO_CLOSING,  TO_CLOSING,   AFTER_STOP, AFTER_ERROR),
    Step.MESSAGE_STOP:        (BEFORE_START, TO_DONE,     TO_DONE,      AFTER_STOP, AFTER_ERROR),
    Step.PING:                (TO_WAITING,   TO_OPEN,     TO_CLOSING,   TO_DONE,    TO_FAILED),
    Step.ERROR:               (TO_FAILED,    TO_FAILED,   TO_FAILED,    AFTER_STOP, AFTER_ERROR),
    Step.UNKNOWN:             (TO_WAITING,   TO_OPEN,     TO_CLOSING,   TO_DONE,    TO_FAILED),
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
"""The steps of the events whose step depends only on their type. `step_of` computes the others."""

LOSES_CONTENT: Final = (ViolationCode.BEFORE_MESSAGE_START, ViolationCode.DUPLICATE_MESSAGE_START)
"""The codes of the events that the table ignores before the message has ended. If such an event has
content, the message loses it.
"""


class BlockView(Protocol):
    """The part of a growing block that the rules read."""

    @property
    def is_stopped(self) -> bool:
        """Whether the block has stopped."""
        ...

    @property
    def accepted(self) -> frozenset[type]:
        """The classes of deltas that can be folded into the block."""
        ...

    @property
    def replacing(self) -> AbstractSet[type]:
        """The classes of deltas that may replace a value of the block."""
        ...

    def second_value(self, delta: ContentBlockDelta) -> ViolationCode | None:
        """Return the violation if the delta would replace a different value, else None."""
        ...

    def has_signature_of(self, delta: ContentBlockDelta) -> bool:
        """Return whether the delta's only content is a signature that the block already has."""
        ...


class MessageView(Protocol):
    """The part of the message that the table and the rules read, as of the event before."""

    @property
    def state(self) -> State:
        """The state of the stream."""
        ...

    @property
    def message_id(self) -> str | None:
        """The id of the message; None if it has none or has not begun."""
        ...

    @property
    def stop_reason(self) -> str | None:
        """The stop reason; None if none was received."""
        ...

    @property
    def next_index(self) -> int:
        """The index that the next block should have."""
        ...

    @property
    def open_blocks(self) -> int:
        """How many blocks have not stopped."""
        ...

    @property
    def tool_ids(self) -> AbstractSet[str]:
        """The ids of the tool calls."""
        ...

    @property
    def has_tool_use(self) -> bool:
        """Whether the message has a call of a client tool."""
        ...

    @property
    def newest(self) -> Mapping[int, BlockView]:
        """The newest block with each index."""
        ...

    def counters_fall(self, usage: MessageDeltaUsage) -> bool:
        """Return whether a counter of input tokens falls to 0, and no `iterations` explain it."""
        ...


def decide(event: MessageStreamEvent, message: MessageView) -> Decision:
    """Return what to do with an event, given the message so far. Changes nothing."""
    step = STEPS.get(type(event)) or step_of(event, message)
    cell = TRANSITIONS[step][STATES.index(message.state)]
    assert cell is not None, f"{event} cannot happen in {message.state}"
    if cell.action is APPLY:
        rule = RULES.get(type(event))
        found = None if rule is None else rule(event, message)
        if found is None:
            return cell
        return attrs.evolve(found, state=cell.state, flaws=(*cell.flaws, *found.flaws))
    if cell.action is Action.IGNORE:
        (code, _), *_ = cell.flaws
        if code in LOSES_CONTENT and adds_content(event):
            return ignore(code, loses_content=True)
    return cell


def step_of(event: MessageStreamEvent, message: MessageView) -> Step:
    """Return the step of an event whose type does not determine it alone."""
    if isinstance(event, MessageStartEvent):
        begun = event.message
        if begun.id is not None and begun.id == message.message_id:
            return Step.MESSAGE_START_AGAIN
        is_whole = begun.content and begun.stop_reason
        return Step.MESSAGE_START_WHOLE if is_whole else Step.MESSAGE_START
    assert isinstance(event, MessageDeltaEvent), "`STEPS` has the other types"
    return Step.MESSAGE_DELTA_STOP if event.delta.stop_reason else Step.MESSAGE_DELTA


# The rules depend on the message so far, which the table does not know. A rule is applied only if
# the cell of the table folds the event. It returns None if the event obeys the rule.
# First-party indexes are 0, 1, 2, ..., and one block is open at a time. The n blocks that are
# already in the content of a message_start have the indexes 0 to n-1.


def rule_of_message_start(event: MessageStartEvent, _message: MessageView) -> Decision | None:
    """Require different ids of the tool calls in the content."""
    ids = tool_ids_of(event.message.content)
    return tolerate(ViolationCode.DUPLICATE_TOOL_USE_ID) if len(ids) > len(set(ids)) else None


def rule_of_block_start(event: ContentBlockStartEvent, message: MessageView) -> Decision | None:
    """Require the next index, no open block, and a new tool id.

    A block whose index is already used is nevertheless added: later deltas with this index are
    folded into the newest block.
    """
    codes: list[ViolationCode] = []
    if event.index in message.newest:
        codes.append(ViolationCode.INDEX_REUSED)
    elif event.index != message.next_index:
        codes.append(ViolationCode.INDEX_NOT_NEXT)
    if message.open_blocks:
        codes.append(ViolationCode.OVERLAPPING_BLOCKS)
    if not message.tool_ids.isdisjoint(tool_ids_of([event.content_block])):
        codes.append(ViolationCode.DUPLICATE_TOOL_USE_ID)
    return tolerate(*codes) if codes else None


def rule_of_block_delta(event: ContentBlockDeltaEvent, message: MessageView) -> Decision | None:
    """Require an open block with this index that accepts the delta, and no replaced value.

    A delta without such a block is ignored. Its content is lost, unless it only repeats the
    signature of the block. The delta is never folded into another block instead, for example the
    last one: that could mix the texts of two blocks.
    """
    delta = event.delta
    block = message.newest.get(event.index)
    if block is None:
        code = ViolationCode.UNKNOWN_INDEX
    elif block.is_stopped:
        code = ViolationCode.STOPPED_BLOCK
    elif type(delta) not in block.accepted:
        code = ViolationCode.UNFIT_DELTA
    elif type(delta) not in block.replacing:
        return None
    else:
        second = block.second_value(delta)
        return None if second is None else tolerate(second)
    is_known = block is not None and block.has_signature_of(delta)
    return ignore(code, loses_content=has_content(delta) and not is_known)


def rule_of_block_stop(event: ContentBlockStopEvent, message: MessageView) -> Decision | None:
    """Require an open block with this index."""
    block = message.newest.get(event.index)
    if block is None:
        return ignore(ViolationCode.UNKNOWN_INDEX)
    return ignore(ViolationCode.STOPPED_BLOCK) if block.is_stopped else None


def rule_of_message_delta(event: MessageDeltaEvent, message: MessageView) -> Decision | None:
    """Require that no counter of input tokens is reset to 0 without explanation.

    First-party servers reset counters after a compaction. The usage then has `iterations`.
    """
    falls = message.counters_fall(usage_of(event))
    return tolerate(ViolationCode.FALLING_USAGE) if falls else None


def rule_of_message_stop(_event: MessageStopEvent, message: MessageView) -> Decision | None:
    """Require a stop reason that agrees with the content, and that every block has stopped.

    With the stop reason max_tokens, open blocks are accepted. The first-party API, too, may omit
    the content_block_stop of a block that max_tokens has cut.
    """
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
    """Return the ids of the tool calls among blocks, without empty ids."""
    ids = [getattr(block, "id", None) for block in content if isinstance(block, InputBlock)]
    return [id for id in ids if id]
