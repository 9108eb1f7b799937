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


class Verdict(enum.Enum):
    """How a stream ended. Once it is not PENDING it never changes."""

    PENDING = "the end has not been seen"
    COMPLETE = "message_stop was received"
    UNTERMINATED = "ended after a stop_reason, without message_stop"
    DAMAGED = "the message ended, but content was lost on the way"
    TRUNCATED = "the message began and was cut"
    EMPTY = "ended without a message"
    ERRORED = "the server sent an error"
    BROKEN = "the bytes broke the protocol beyond what may be tolerated"
    NOT_AN_EVENT_STREAM = "the body is no event stream"


class ViolationCode(enum.StrEnum):
    """What was wrong and was tolerated: a stable name, which is a `str`.

    Attributes:
        meaning: what was wrong.
        action: what was done.
        loss: when it means that content of the message was lost; "" for never.
    """

    meaning: str
    action: str
    loss: str

    def __new__(cls, value: str, meaning: str, action: str, loss: str = "") -> Self:
        """Make a member that is its name as a string, and that knows what it means."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        member.action = action
        member.loss = loss
        return member

    @property
    def may_lose_content(self) -> bool:
        """Whether a violation with this code can mean that content was lost.

        `Violation.loses_content` says it of one violation.
        """
        return self.loss != ""

    @property
    def is_fatal_if_strict(self) -> bool:
        """Whether `StreamMachine(strict=True)` raises it. The verdict says what the others mean."""
        return self not in NEVER_FATAL

    # The bytes of a frame.
    INVALID_UTF8 = (
        "invalid_utf8",
        "the frame holds bytes that are not UTF-8",
        "each bad sequence is read as U+FFFD",
        "in a content event, unless each U+FFFD stands visibly in its text or thinking",
    )
    UNKNOWN_FIELD = (
        "unknown_field",
        "a line is neither a comment nor one of event, data, id, retry",
        "the line is ignored, as the specification says; its text is quoted",
        "if the line holds `{` or `}`",
    )
    MISSING_EVENT_NAME = (
        "missing_event_name",
        "the frame has no `event:` line",
        "the payload's type decides",
    )
    INVALID_RETRY = (
        "invalid_retry",
        "a `retry:` field holds something else than ASCII digits",
        "the field is ignored, as the specification says",
    )
    MISSING_BLANK_LINE = (
        "missing_blank_line",
        "a frame holds several payloads: the blank lines between frames are missing",
        "none of the payloads is read",
        "unless the stream ended inside that frame; under a vendor's own name if one is content",
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
        "if a ping or an unknown event has the name of a content event",
    )
    MISSING_TYPE = (
        "missing_type",
        "the payload has no type",
        "the `event:` line decides, or the shape of an error",
        "if its `delta`, `content_block` or `message` has a type, and its event has no such member",
    )
    MALFORMED_EVENT = (
        "malformed_event",
        "a known event lacks what it needs: a usable index, or an object with a type",
        "it is delivered as UnknownEvent and changes nothing",
        "unless it is a content_block_stop",
    )
    MALFORMED_DELTA = (
        "malformed_delta",
        "a known delta lacks its payload",
        "it is delivered as UnknownDelta and kept in the block's `unfolded`",
        "if its payload has another type, or another member says something",
    )
    MISSING_DELTA = (
        "missing_delta",
        "a message_delta has no `delta`, or null",
        "its usage and its other members count",
    )
    MISPLACED_MEMBER = (
        "misplaced_member",
        "a message_delta has a member that belongs to the message, or to another place in it",
        "it stays on the event and changes nothing",
    )
    EMPTY_STOP_REASON = (
        "empty_stop_reason",
        "a stop_reason is an empty string",
        "it counts as none",
    )
    UNKNOWN_INPUT_DELTA = (
        "unknown_input_delta",
        "a delta of an unknown type has `partial_json`, a piece of a tool input",
        "it is kept in the block's `unfolded`, and the input is invalid",
        "always",
    )
    MALFORMED_MEMBER = (
        "malformed_member",
        "a member of the message, of its usage, of a block or of a delta has another type",
        "it reads as absent, is kept as it came, and changes nothing",
        "if it is content of a block, a delta or the message, or a message_delta's stop_reason",
    )
    UNDECODABLE_PAYLOAD = (
        "undecodable_payload",
        "the data of an unknown event, or of a ping, is not a JSON object",
        "it is delivered with its raw text",
        "if the data holds `{` or `}`, unless the name is a vendor's own",
    )
    DONE_MARKER = (
        "done_marker",
        "`data: [DONE]` in some form, the end mark of another protocol",
        "ignored",
    )
    # The order of events.
    BEFORE_MESSAGE_START = (
        "before_message_start",
        "the event came before any message_start",
        "skipped",
        "if the event carries content",
    )
    DUPLICATE_MESSAGE_START = (
        "duplicate_message_start",
        "a second message_start with the id of the open message",
        "skipped",
        "if it carries content",
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
    MISSING_MESSAGE_STOP = (
        "missing_message_stop",
        "the stream ended after a stop_reason, with every block stopped, without message_stop",
        "the verdict is UNTERMINATED",
    )
    FALLING_USAGE = (
        "falling_usage",
        "a counter of input tokens fell to 0, and no iterations explain it",
        "applied: the last value stands",
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
        "if it is a delta that carries something",
    )
    STOPPED_BLOCK = (
        "stopped_block",
        "a delta or stop for a block that was stopped",
        "skipped",
        "if it is a delta that carries something other than the signature that the block has",
    )
    # The fold.
    UNFIT_DELTA = (
        "unfit_delta",
        "the delta's kind does not fit the block's",
        "skipped",
        "if it carries something",
    )
    SECOND_SIGNATURE = (
        "second_signature",
        "a block got a second, different signature",
        "applied: the last one stands",
    )
    SECOND_COMPACTION = (
        "second_compaction",
        "a compaction block got a second, different summary",
        "applied: the last one stands",
    )
    DUPLICATE_TOOL_USE_ID = (
        "duplicate_tool_use_id",
        "two tool calls have the same id",
        "applied; the API refuses such a message in a later request",
    )


NEVER_FATAL: Final = frozenset(
    {
        ViolationCode.CUT_FRAME,
        ViolationCode.MISSING_MESSAGE_STOP,
        ViolationCode.FALLING_USAGE,
    }
)
"""What strict mode tolerates: the first two because the verdict says what they mean, the third
because it harms nothing and is reported for billing only.
"""


@attrs.frozen
class Violation:
    """Something that the protocol does not allow and that was tolerated.

    Attributes:
        code: what it was; a member of `ViolationCode`, which is a `str`.
        message: the sentence for a person.
        event_number: which frame with data it was, counted from 1; 0 before the first.
        byte_offset: where its frame begins in the body; None for a payload without a frame.
        excerpt: the text that it is about, at most 1,024 characters.
        loses_content: whether content of the message was lost; then it is never COMPLETE.
    """

    code: ViolationCode
    message: str
    event_number: int
    byte_offset: int | None
    excerpt: str
    loses_content: bool = False


class Flaw(NamedTuple):
    """What is wrong with an event, and whether content of the message was lost by it."""

    code: ViolationCode
    loses_content: bool = False


class LocatedFlaw(NamedTuple):
    """A violation before it has its number: what, the text, where its frame begins, and whether
    content of the message was lost.
    """

    code: ViolationCode
    excerpt: str
    offset: int | None
    loses_content: bool = False

    def violation(self, event_number: int) -> Violation:
        """Return the public form."""
        sentence = f"{self.code.meaning}; {self.code.action}"
        return Violation(
            self.code, sentence, event_number, self.offset, self.excerpt, self.loses_content
        )


class ViolationLog:
    """The violations so far: the first ones kept, the others counted.

    Attributes:
        count: how many there were.
        first_loss: the first one that lost content, also where the list was full before; or None.
    """

    __slots__ = ("_kept", "_limit", "count", "first_loss")

    def __init__(self, limits: Limits) -> None:
        self._limit = limits.violations
        self._kept: list[Violation] = []
        self.count = 0
        self.first_loss: Violation | None = None

    @property
    def kept(self) -> tuple[Violation, ...]:
        """The first ones, as many as the limit says."""
        return tuple(self._kept)

    def keeps_one_more(self, *, loses_content: bool) -> bool:
        """Whether another one would be kept, and not only counted."""
        return len(self._kept) < self._limit or (loses_content and self.first_loss is None)

    def count_more(self, count: int) -> None:
        """Count violations that are not kept."""
        self.count += count

    def add(self, flaw: LocatedFlaw, event_number: int) -> None:
        """Record one."""
        self.count += 1
        if not self.keeps_one_more(loses_content=flaw.loses_content):
            return
        violation = flaw.violation(event_number)
        if len(self._kept) < self._limit:
            self._kept.append(violation)
        if flaw.loses_content and self.first_loss is None:
            self.first_loss = violation


@attrs.frozen
class Limits:
    """Bounds on what a peer may make us hold. Exceeding one is a `LimitError` at its exact place.

    The measure is the same for a whole and a partial frame (bytes from the first byte of the
    frame's first field), so the way a stream is cut never decides whether it fits. A caller that
    drains the iterators holds at most one limit plus one chunk.

    Bytes are those of the body. Objects that Python makes from them are larger. While a frame is
    read, the most that was measured, in bytes for a byte of the frame (CPython 3.11): 65 for a
    list of content blocks or citations that are all but empty, 33 for other JSON that consists of
    tiny objects, 16 for many names, 13 for tiny strings, 10 for a text that is no UTF-8, 9 for a
    text with characters beyond U+FFFF, 3 for any other text. Who must stay below an amount of
    memory sets `event_bytes` to a sixtieth of it.

    Attributes:
        event_bytes: one frame with its line ends. Documents in web_fetch results are base64 on one
            line: megabytes.
        block_bytes: the payloads of one content block together, its start and all its deltas; those
            of all message_deltas have the same bound.
        total_bytes: the whole body, decoded; None for no bound. No honest stream comes near 1 GiB.
            A context of 1,000,000 tokens, each in a delta of its own of 200 bytes, is 200 MB, and
            the API gives out 128,000 tokens at most. A document in a web_fetch result must fit into
            a request again, which may have 32 MB: ten of them are 320 MB.
        blocks: content blocks in one message. Also bounds the wire index.
        depth: nesting of arrays and objects in a payload or a tool input. CPython's own limits
            begin at about 498 (pickle, deepcopy) and 990 (json) minus the depth of the caller.
        violations: how many violations are kept; further ones are counted.
    """

    event_bytes: int = 64 * 2**20
    block_bytes: int = 64 * 2**20
    total_bytes: int | None = 2**30
    blocks: int = 10_000
    depth: int = 200
    violations: int = 1_000


def check_type(value: object, *kinds: type) -> None:
    """Raise TypeError for a value of another type: `bytes(5)` would be five zeros."""
    if not isinstance(value, kinds):
        wanted = " or ".join(kind.__name__ for kind in kinds)
        raise TypeError(f"{wanted} is needed, not {type(value).__name__}")
