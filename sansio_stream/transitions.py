"""Legality: which event may come when, and what happens if it does not. A table, and the rules of
the index.

Everything that moves the state lives here, and nothing else does: no event is applied, no block is
kept.

Steps are what an event means for the order of things; rows are steps, columns are states, a cell is
one of

* the next state;
* `apply(CODE)`: the event counts, the state stays, and a violation is recorded;
* `skip(CODE)`: the event is kept out of the message, and a violation says so;
* `fatal(name, sentence)`: the stream is broken;
* `__`: cannot happen.

In strict mode every violation is fatal. First-party streams are clean and strictly ordered; proxies
and compatible servers are not, and they are much of the traffic. The rules are those of the
reference's section 2.2.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Final

import attrs

from .errors import ViolationCode
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
from .losses import carries_content

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["State"]


class State(enum.Enum):
    """Where a stream is. The values are sentences."""

    WAITING = "no message has begun"
    OPEN = "in a message"
    CLOSING = "a stop_reason was taken"
    DONE = "message_stop was taken"
    FAILED = "an error ended the stream"


class Step(enum.Enum):
    """What an event means for the order of things; it may depend on what the event holds."""

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

    APPLY = enum.auto()
    SKIP = enum.auto()
    FAIL = enum.auto()


@attrs.frozen
class Ruling:
    """What is done with an event, and why.

    Attributes:
        action: apply it, skip it, or give up.
        code: what it violates, or None.
        loses_content: whether content of the message is lost by it.
        state: the next state; None to stay.
        fatal: the name of what broke the stream, where the action is to give up; and the sentence.
    """

    action: Action
    code: ViolationCode | None = None
    state: State | None = None
    fatal: str = ""
    sentence: str = ""
    loses_content: bool = False


def to(state: State) -> Ruling:
    """Apply, and go on in `state`."""
    return Ruling(Action.APPLY, state=state)


def apply(code: ViolationCode) -> Ruling:
    """Apply, record the violation, and stay."""
    return Ruling(Action.APPLY, code)


def skip(code: ViolationCode, *, loses_content: bool = False) -> Ruling:
    """Keep it out, and record the violation."""
    return Ruling(Action.SKIP, code, loses_content=loses_content)


def fatal(name: str, sentence: str) -> Ruling:
    """Give up."""
    return Ruling(Action.FAIL, fatal=name, sentence=sentence)


# A second generation inside the first is fatal: merging two would sign the reasoning of one with
# the signature of the other. Without an id nobody can say that it is the same message again.

# fmt: off
WAITING = to(State.WAITING)
OPEN    = to(State.OPEN)
CLOSING = to(State.CLOSING)
DONE    = to(State.DONE)
FAILED  = to(State.FAILED)
SPLICED = fatal("spliced_message", "a second message begins inside the first")
EARLY   = skip(ViolationCode.BEFORE_MESSAGE_START)
TWICE   = skip(ViolationCode.DUPLICATE_MESSAGE_START)
SECOND  = skip(ViolationCode.SECOND_MESSAGE)
OVER    = skip(ViolationCode.AFTER_MESSAGE_STOP)
DEAD    = skip(ViolationCode.AFTER_ERROR)
LATE    = apply(ViolationCode.AFTER_STOP_REASON)
__      = None

STATES: Final = (              State.WAITING, State.OPEN, State.CLOSING, State.DONE, State.FAILED)
TRANSITIONS: Final[dict[Step, tuple[Ruling | None, ...]]] = {
    Step.MESSAGE_START:       (OPEN,          SPLICED,    SPLICED,       SECOND,     DEAD),
    Step.MESSAGE_START_WHOLE: (CLOSING,       SPLICED,    SPLICED,       SECOND,     DEAD),
    Step.MESSAGE_START_AGAIN: (__,            TWICE,      TWICE,         SECOND,     DEAD),
    Step.BLOCK_START:         (EARLY,         OPEN,       LATE,          OVER,       DEAD),
    Step.BLOCK_DELTA:         (EARLY,         OPEN,       LATE,          OVER,       DEAD),
    Step.BLOCK_STOP:          (EARLY,         OPEN,       LATE,          OVER,       DEAD),
    Step.MESSAGE_DELTA:       (EARLY,         OPEN,       CLOSING,       OVER,       DEAD),
    Step.MESSAGE_DELTA_STOP:  (EARLY,         CLOSING,    CLOSING,       OVER,       DEAD),
    Step.MESSAGE_STOP:        (EARLY,         DONE,       DONE,          OVER,       DEAD),
    Step.PING:                (WAITING,       OPEN,       CLOSING,       DONE,       FAILED),
    Step.ERROR:               (FAILED,        FAILED,     FAILED,        OVER,       DEAD),
    Step.UNKNOWN:             (WAITING,       OPEN,       CLOSING,       DONE,       FAILED),
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
"""What the events mean for which it never depends on what they hold."""

LOSING: Final = (ViolationCode.BEFORE_MESSAGE_START, ViolationCode.DUPLICATE_MESSAGE_START)
"""The cells that keep content out of a message which has not ended: what they skip is lost."""


class Course:
    """Where one stream is: the only object whose state moves, and the only one that moves it."""

    __slots__ = ("message_id", "state")

    def __init__(self) -> None:
        self.state = State.WAITING
        self.message_id: str | None = None

    def judge(self, event: MessageStreamEvent) -> Ruling:
        """Return what the table says of an event, now. Changes nothing."""
        step = self._step_of(event)
        ruling = TRANSITIONS[step][STATES.index(self.state)]
        assert ruling is not None, f"{step} cannot happen in {self.state}"
        if ruling.action is Action.SKIP and ruling.code in LOSING and carries_content(event):
            return attrs.evolve(ruling, loses_content=True)
        return ruling

    def move(self, event: MessageStreamEvent, state: State | None) -> None:
        """Go where an event that was applied leads; None stays."""
        if isinstance(event, MessageStartEvent):
            self.message_id = event.message.id
        self.state = state or self.state

    def fail(self) -> None:
        """Stop for ever: what was received broke the protocol."""
        self.state = State.FAILED

    def _step_of(self, event: MessageStreamEvent) -> Step:
        match event:
            case MessageStartEvent(message=message):
                if message.id is not None and message.id == self.message_id:
                    return Step.MESSAGE_START_AGAIN
                stopped = message.content and message.stop_reason
                return Step.MESSAGE_START_WHOLE if stopped else Step.MESSAGE_START
            case MessageDeltaEvent(delta=delta):
                return Step.MESSAGE_DELTA_STOP if delta.stop_reason else Step.MESSAGE_DELTA
            case _:
                return STEPS[type(event)]


# The rules of the index: what the table cannot say, because it depends on which blocks there are.
# First-party indexes are 0, 1, 2, ... with one block open at a time. Blocks that came filled in
# message_start own 0 to n-1.


def judge_block_start(
    *, index: int, next_index: int, is_used: bool, others_open: bool, has_used_id: bool
) -> Iterator[Ruling]:
    """Judge a new block. A used index means a new block all the same: deltas go to the newest."""
    if is_used:
        yield apply(ViolationCode.INDEX_REUSED)
    elif index != next_index:
        yield apply(ViolationCode.INDEX_NOT_NEXT)
    if others_open:
        yield apply(ViolationCode.OVERLAPPING_BLOCKS)
    if has_used_id:
        yield apply(ViolationCode.DUPLICATE_TOOL_USE_ID)


def judge_block_delta(
    *,
    is_known: bool,
    is_stopped: bool,
    fits: bool,
    says_something: bool,
    second: ViolationCode | None,
) -> Iterator[Ruling]:
    """Judge a delta. Never "the last block": what has no block of its own is kept out, and what it
    says is lost.
    """
    if not is_known:
        yield skip(ViolationCode.UNKNOWN_INDEX, loses_content=says_something)
    elif is_stopped:
        yield skip(ViolationCode.STOPPED_BLOCK, loses_content=says_something)
    elif not fits:
        yield skip(ViolationCode.UNFIT_DELTA, loses_content=says_something)
    elif second is not None:
        yield apply(second)


def judge_block_stop(*, is_known: bool, is_stopped: bool) -> Iterator[Ruling]:
    """Judge the end of a block."""
    return judge_block_delta(
        is_known=is_known, is_stopped=is_stopped, fits=True, says_something=False, second=None
    )


def judge_message_start(*, has_used_id: bool) -> Iterator[Ruling]:
    """Judge a message that came with content."""
    if has_used_id:
        yield apply(ViolationCode.DUPLICATE_TOOL_USE_ID)


def judge_message_delta(*, usage_falls: bool) -> Iterator[Ruling]:
    """Judge a change of the message. First-party counters fall where a compaction has run; then the
    usage has `iterations`.
    """
    if usage_falls:
        yield apply(ViolationCode.FALLING_USAGE)


def judge_message_stop(
    *, stop_reason: str | None, blocks_open: bool, has_tool_use: bool
) -> Iterator[Ruling]:
    """Judge the end of the message against its blocks.

    A block that max_tokens has cut may lack its stop: the first party sends that, too.
    """
    if stop_reason is None:
        yield apply(ViolationCode.MISSING_STOP_REASON)
    if blocks_open and stop_reason != "max_tokens":
        yield apply(ViolationCode.UNCLOSED_BLOCK)
    if stop_reason == "tool_use" and not has_tool_use:
        yield apply(ViolationCode.CONTRADICTORY_STOP_REASON)
    if stop_reason == "end_turn" and has_tool_use:
        yield apply(ViolationCode.CONTRADICTORY_STOP_REASON)
