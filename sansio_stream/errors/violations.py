"""What is tolerated, and how much: verdicts, violations, limits."""

from __future__ import annotations

import enum
from typing import Final, NamedTuple, Self

import attrs

__all__ = [
    "Limits",
    "Verdict",
    "Violation",
    "ViolationCode",
]

EXCERPT_CHARACTERS: Final = 1024
"""Bound of every quoted piece of the stream: enough to see what it was, not to fill a log."""


def excerpt(text: str) -> str:
    """Return `text`, or if it is longer than `EXCERPT_CHARACTERS` its beginning and a mark."""
    if len(text) <= EXCERPT_CHARACTERS:
        return text
    return text[: EXCERPT_CHARACTERS - 1] + "…"


class Verdict(enum.Enum):
    """How a stream ended. Once it is not PENDING it never changes."""

    PENDING = "the end has not been seen"
    COMPLETE = "message_stop was received"
    UNTERMINATED = "ended after a stop_reason, without message_stop"
    TRUNCATED = "the message began and was cut"
    EMPTY = "ended without a message"
    ERRORED = "the server sent an error"
    BROKEN = "the bytes broke the protocol beyond what may be tolerated"
    NOT_AN_EVENT_STREAM = "the body is no event stream"


class ViolationCode(enum.StrEnum):
    """What was wrong and was tolerated: a stable name, its `meaning`, and the `action` taken."""

    meaning: str
    action: str

    def __new__(cls, value: str, meaning: str, action: str) -> Self:
        """Make a member that is its name as a string, and that knows what it means."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        member.action = action
        return member

    # The bytes of a frame.
    INVALID_UTF8 = (
        "invalid_utf8",
        "the frame holds bytes that are not UTF-8",
        "each bad sequence is read as U+FFFD",
    )
    UNKNOWN_FIELD = (
        "unknown_field",
        "a line is neither a comment nor one of event, data, id, retry",
        "the line is ignored, as the specification says; its text is quoted",
    )
    MISSING_EVENT_NAME = (
        "missing_event_name",
        "the frame has no `event:` line",
        "the payload's type decides",
    )
    UNTERMINATED_FRAME = (
        "unterminated_frame",
        "the last frame lacks its blank line, but its JSON is whole",
        "the event is delivered",
    )
    CUT_FRAME = (
        "cut_frame",
        "the stream ended inside a frame",
        "what came of the frame is discarded",
    )
    # From frame to event.
    EVENT_NAME_MISMATCH = (
        "event_name_mismatch",
        "the `event:` line and the payload's type differ",
        "the payload's type wins, except that `event: error` is always an error",
    )
    MISSING_TYPE = (
        "missing_type",
        "the payload has no type",
        "the `event:` line decides, or the shape of an error",
    )
    MALFORMED_EVENT = (
        "malformed_event",
        "a known event lacks what it needs: a usable index, or an object with a type",
        "it is delivered as UnknownEvent and changes nothing",
    )
    MALFORMED_DELTA = (
        "malformed_delta",
        "a known delta lacks its payload",
        "it is delivered as UnknownDelta and kept in the block's `unfolded`",
    )
    MALFORMED_MEMBER = (
        "malformed_member",
        "a member of the message, of its usage or of a block holds a value of another type",
        "it reads as absent, is kept as it came, and changes nothing",
    )
    UNDECODABLE_PAYLOAD = (
        "undecodable_payload",
        "the data of an unknown event is not a JSON object",
        "it is delivered as UnknownEvent with its raw text",
    )
    DONE_MARKER = (
        "done_marker",
        "`data: [DONE]`, the end mark of another protocol",
        "ignored",
    )
    # The order of events.
    BEFORE_MESSAGE_START = (
        "before_message_start",
        "the event came before any message_start",
        "skipped",
    )
    DUPLICATE_MESSAGE_START = (
        "duplicate_message_start",
        "a second message_start with the id of the open message",
        "skipped",
    )
    SECOND_MESSAGE = (
        "second_message",
        "another message begins after message_stop",
        "skipped; the first message stands",
    )
    AFTER_MESSAGE_STOP = (
        "after_message_stop",
        "the event came after message_stop",
        "skipped; the message stands",
    )
    AFTER_ERROR = (
        "after_error",
        "the event came after the error that ended the stream",
        "skipped",
    )
    AFTER_STOP_REASON = (
        "after_stop_reason",
        "content came after the stop_reason",
        "applied",
    )
    MISSING_STOP_REASON = (
        "missing_stop_reason",
        "message_stop came, a stop_reason never did",
        "applied; `stop_reason` stays None",
    )
    UNCLOSED_BLOCK = (
        "unclosed_block",
        "message_stop came while a content block was open, and max_tokens had not cut it",
        "applied; the input of an unstopped tool call is never complete",
    )
    CONTRADICTORY_STOP_REASON = (
        "contradictory_stop_reason",
        "stop_reason is tool_use without a tool_use block, or end_turn with one",
        "applied; trust the blocks",
    )
    # The index of a block.
    INDEX_NOT_NEXT = (
        "index_not_next",
        "a block's index is not the one that follows the highest so far",
        "applied; content is ordered by index",
    )
    INDEX_REUSED = (
        "index_reused",
        "a block starts at an index that another block had",
        "applied as a new block; deltas go to the newest",
    )
    OVERLAPPING_BLOCKS = (
        "overlapping_blocks",
        "a block starts while another is open",
        "applied; deltas go by index",
    )
    UNKNOWN_INDEX = (
        "unknown_index",
        "a delta or stop for an index at which no block started",
        "skipped",
    )
    STOPPED_BLOCK = (
        "stopped_block",
        "a delta or stop for a block that was stopped",
        "skipped",
    )
    # The fold.
    UNFIT_DELTA = (
        "unfit_delta",
        "the delta's kind does not fit the block's",
        "skipped",
    )
    SECOND_SIGNATURE = (
        "second_signature",
        "a block got a second, different signature",
        "applied: the last one stands",
    )


@attrs.frozen
class Violation:
    """Something that the protocol does not allow and that was tolerated.

    Attributes:
        code: what it was; a member of `ViolationCode`, which is a `str`.
        message: the sentence for a person.
        event_number: which frame with data it was, counted from 1; 0 before the first.
        byte_offset: where its frame begins in the body; None for a payload without a frame.
        excerpt: the text that it is about, at most 1,024 characters.
    """

    code: ViolationCode
    message: str
    event_number: int
    byte_offset: int | None
    excerpt: str


class Fault(NamedTuple):
    """A violation before it has its number: what, the text, and where its frame begins."""

    code: ViolationCode
    excerpt: str
    offset: int | None

    def violation(self, event_number: int) -> Violation:
        """Return the public form."""
        sentence = f"{self.code.meaning}; {self.code.action}"
        return Violation(self.code, sentence, event_number, self.offset, self.excerpt)


class ViolationLog:
    """The violations so far: the first ones kept, the others counted."""

    __slots__ = ("_kept", "_limit", "count")

    def __init__(self, limits: Limits) -> None:
        self._limit = limits.violations
        self._kept: list[Violation] = []
        self.count = 0

    @property
    def kept(self) -> tuple[Violation, ...]:
        """The first ones, as many as the limit says."""
        return tuple(self._kept)

    def add(self, fault: Fault, event_number: int) -> None:
        """Record one."""
        self.count += 1
        if len(self._kept) < self._limit:
            self._kept.append(fault.violation(event_number))


@attrs.frozen
class Limits:
    """Bounds on what a peer may make us hold. Exceeding one is a `LimitError` at its exact place.

    The measure is the same for a whole and a partial frame (bytes from the first byte of the
    frame's first field), so the way a stream is cut never decides whether it fits. A caller that
    drains the iterators holds at most one limit plus one chunk.

    Attributes:
        event_bytes: one frame with its line ends. Documents in web_fetch results are base64 on one
            line: megabytes.
        block_bytes: the payloads of all deltas of one content block together; those of all
            message_deltas have the same bound.
        total_bytes: the whole body; None for no bound, because a long answer is not an attack.
        blocks: content blocks in one message. Also bounds the wire index.
        depth: nesting of arrays and objects in a payload or a tool input. CPython's own limits
            begin at about 498 (pickle, deepcopy) and 990 (json) minus the depth of the caller.
        violations: how many violations are kept; further ones are counted.
    """

    event_bytes: int = 64 * 2**20
    block_bytes: int = 64 * 2**20
    total_bytes: int | None = None
    blocks: int = 10_000
    depth: int = 200
    violations: int = 1_000


def demand(value: object, *kinds: type) -> None:
    """Raise TypeError for a value of another type: `bytes(5)` would be five zeros."""
    if not isinstance(value, kinds):
        wanted = " or ".join(kind.__name__ for kind in kinds)
        raise TypeError(f"{wanted} is needed, not {type(value).__name__}")
