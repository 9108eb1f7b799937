"""Verdicts, violations and limits: how a stream ended, what was tolerated, and the bounds."""

from __future__ import annotations

import enum
from typing import Final, NamedTuple, Self, TypeAlias, cast

import attrs

from ..frozen import HashableValue
from .printing import excerpt

__all__ = [
    "Limits",
    "Verdict",
    "Violation",
    "ViolationCode",
]


class Verdict(enum.Enum):
    """How a stream ended. A verdict other than PENDING never changes.

    The value of a member describes it for people. Some messages of exceptions begin with it.
    """

    PENDING = "the stream has not ended yet"
    COMPLETE = "message_stop was received"
    UNTERMINATED = "the stream ended after a stop_reason, without message_stop"
    DAMAGED = "the message ended, but some of its content was lost"
    TRUNCATED = "the message began and was cut"
    EMPTY = "the stream ended without a message"
    ERRORED = "the server sent an error"
    BROKEN = "the stream broke the protocol in a way that is fatal"
    NOT_AN_EVENT_STREAM = "the body is not an event stream"


class ViolationCode(enum.StrEnum):
    """The kinds of violations. Each member is a stable name and a `str`.

    Attributes:
        meaning: what was wrong.
        action: what the library did about it.
        loss: the condition under which content of the message was lost. "" means never.
    """

    meaning: str
    action: str
    loss: str

    def __new__(cls, value: str, meaning: str, action: str, loss: str = "") -> Self:
        """Create a member that equals its name and has the three attributes."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        member.action = action
        member.loss = loss
        return member

    @property
    def may_lose_content(self) -> bool:
        """Whether a violation with this code can mean that content was lost.

        `Violation.loses_content` is the answer for one violation.
        """
        return self.loss != ""

    @property
    def is_fatal_if_strict(self) -> bool:
        """Whether `StreamMachine(strict=True)` raises a violation with this code."""
        return self not in NEVER_FATAL

    # The bytes of a frame.
    INVALID_UTF8 = (
        "invalid_utf8",
        "the frame contains bytes that are not UTF-8",
        "each invalid sequence is decoded as U+FFFD",
        "in a content event, unless every U+FFFD is visible in its text or thinking",
    )
    UNKNOWN_FIELD = (
        "unknown_field",
        "a line is neither a comment nor one of the fields event, data, id and retry",
        "the line is ignored, as the specification requires, and quoted in the excerpt",
        "if the line contains `{` or `}`",
    )
    MISSING_EVENT_NAME = (
        "missing_event_name",
        "the frame has no `event:` line",
        "the payload's type determines the event",
    )
    INVALID_RETRY = (
        "invalid_retry",
        "a `retry:` field contains something other than ASCII digits",
        "the field is ignored, as the specification requires",
    )
    MISSING_BLANK_LINE = (
        "missing_blank_line",
        "a frame contains several payloads: the blank lines between frames are missing",
        "no payload of the frame is read",
        (
            "unless the stream ended inside that frame; if the frame has a vendor's own name, only"
            " if one of the payloads is content"
        ),
    )
    UNTERMINATED_FRAME = (
        "unterminated_frame",
        "the blank line after the last frame is missing, but the JSON of the frame is complete",
        "the event is delivered",
    )
    CUT_FRAME = (
        "cut_frame",
        "the stream ended inside a frame",
        "the incomplete frame is discarded",
    )
    # From frame to event.
    EVENT_NAME_MISMATCH = (
        "event_name_mismatch",
        "the `event:` line and the payload's type differ",
        "the payload's type determines the event, but `event: error` is always an error",
        "if a ping or an unknown event has the name of a content event",
    )
    MISSING_TYPE = (
        "missing_type",
        "the payload has no type",
        "the `event:` line determines the event; without a known name, members like `error` do",
        (
            "if the payload has a `delta`, `content_block` or `message` with a type, but the event"
            " has no such member"
        ),
    )
    MALFORMED_EVENT = (
        "malformed_event",
        "a known event lacks a required member: a usable index, or an object with a type",
        "the event is delivered as UnknownEvent and does not change the message",
        "unless the event is a content_block_stop",
    )
    MALFORMED_DELTA = (
        "malformed_delta",
        "the payload of a known delta is missing or has the wrong JSON type",
        "the delta is delivered as UnknownDelta and kept in the block's `unfolded`",
        "if the payload has the wrong JSON type, or if another member has content",
    )
    MISSING_DELTA = (
        "missing_delta",
        "the `delta` of a message_delta is missing or null",
        "the usage and the other members of the event are applied",
    )
    MISPLACED_MEMBER = (
        "misplaced_member",
        (
            "a message_delta has a member that belongs to the message or to another place in the"
            " message_delta"
        ),
        "the member stays on the event and does not change the message",
    )
    EMPTY_STOP_REASON = (
        "empty_stop_reason",
        "a stop_reason is an empty string",
        "it is treated as absent",
    )
    UNKNOWN_INPUT_DELTA = (
        "unknown_input_delta",
        "a delta of an unknown type has `partial_json`, which is a piece of a tool input",
        "the delta is kept in the block's `unfolded`, and the tool input is invalid",
        "always",
    )
    MALFORMED_MEMBER = (
        "malformed_member",
        "a member of the message, of its usage, of a block or of a delta has the wrong JSON type",
        "the member reads as absent and is kept as sent; the message does not change",
        (
            "if the member is content of a block, a delta or the message, or the stop_reason of a"
            " message_delta"
        ),
    )
    UNDECODABLE_PAYLOAD = (
        "undecodable_payload",
        "the data of an unknown event or of a ping is not a JSON object",
        "the event is delivered with its raw text",
        "if the data contains `{` or `}`, unless the event has a vendor's own name",
    )
    DONE_MARKER = (
        "done_marker",
        "the data is a form of `[DONE]`, the end marker of another protocol",
        "the frame is ignored",
    )
    # The order of events.
    BEFORE_MESSAGE_START = (
        "before_message_start",
        "the event came before any message_start",
        "the event is skipped",
        "if the event has content",
    )
    DUPLICATE_MESSAGE_START = (
        "duplicate_message_start",
        "a second message_start has the id of the open message",
        "the event is skipped",
        "if the event has content",
    )
    SECOND_MESSAGE = (
        "second_message",
        "another message begins after message_stop",
        "the event is skipped, and the first message is kept",
    )
    AFTER_MESSAGE_STOP = (
        "after_message_stop",
        "the event came after message_stop",
        "the event is skipped, and the message is kept",
    )
    AFTER_ERROR = (
        "after_error",
        "the event came after the error that ended the stream",
        "the event is skipped",
    )
    AFTER_STOP_REASON = (
        "after_stop_reason",
        "content came after the stop_reason",
        "the content is applied",
    )
    MISSING_STOP_REASON = (
        "missing_stop_reason",
        "message_stop came, but no stop_reason came before it",
        "message_stop is applied, and `stop_reason` stays None",
    )
    UNCLOSED_BLOCK = (
        "unclosed_block",
        "message_stop came while a content block was open, and the stop_reason was not max_tokens",
        "message_stop is applied; the input of an unstopped tool call is never complete",
    )
    MISSING_MESSAGE_STOP = (
        "missing_message_stop",
        "the stream ended without message_stop, after a stop_reason and with every block stopped",
        "the verdict is UNTERMINATED",
    )
    FALLING_USAGE = (
        "falling_usage",
        "a counter of input tokens fell to 0, and the usage has no iterations that explain it",
        "the last value is kept",
    )
    CONTRADICTORY_STOP_REASON = (
        "contradictory_stop_reason",
        (
            "the stop_reason is tool_use although the message has no tool_use block, or it is"
            " end_turn although the message has one"
        ),
        "the stop_reason is kept; rely on the blocks instead",
    )
    # The index of a block.
    INDEX_NOT_NEXT = (
        "index_not_next",
        "a block's index is not the next one after the highest index so far",
        "the block is applied, and the content is ordered by index",
    )
    INDEX_REUSED = (
        "index_reused",
        "a block starts at an index that another block already has",
        "the block is applied as a new one, and deltas go to the newest block of their index",
    )
    OVERLAPPING_BLOCKS = (
        "overlapping_blocks",
        "a block starts while another is open",
        "the block is applied, and each delta goes to the block with its index",
    )
    UNKNOWN_INDEX = (
        "unknown_index",
        "a delta or a stop has an index at which no block started",
        "the event is skipped",
        "if the event is a delta with content",
    )
    STOPPED_BLOCK = (
        "stopped_block",
        "a delta or a stop is for a block that has already stopped",
        "the event is skipped",
        "if the event is a delta with content other than the signature that the block already has",
    )
    # The fold.
    UNFIT_DELTA = (
        "unfit_delta",
        "the delta's type does not fit the block's type",
        "the delta is skipped",
        "if the delta has content",
    )
    SECOND_SIGNATURE = (
        "second_signature",
        "a block received a second, different signature",
        "the last signature is kept",
    )
    SECOND_COMPACTION = (
        "second_compaction",
        "a compaction block received a second, different summary",
        "the last summary is kept",
    )
    DUPLICATE_TOOL_USE_ID = (
        "duplicate_tool_use_id",
        "two tool calls have the same id",
        "both calls are kept; the API rejects such a message in a later request",
    )


NEVER_FATAL: Final = frozenset(
    {
        ViolationCode.CUT_FRAME,
        ViolationCode.MISSING_MESSAGE_STOP,
        ViolationCode.FALLING_USAGE,
    }
)
"""The codes that strict mode tolerates.

The verdict already reports the first two. The third does no harm: it only matters for billing.
"""


@attrs.frozen(eq=False, repr=False)
class Violation(HashableValue):
    """A breach of the protocol that was tolerated.

    Attributes:
        code: the kind of violation.
        message: a description for people: the code's `meaning` and its `action`.
        event_number: the number of the frame, counting frames with data from 1. 0 means before the
            first such frame.
        byte_offset: the offset in the body at which the frame begins. None for a payload that came
            without a frame.
        excerpt: the text that caused the violation, at most 1,024 characters.
        loses_content: whether content of the message was lost. If so, the verdict is never
            COMPLETE.
    """

    code: ViolationCode
    message: str
    event_number: int
    byte_offset: int | None
    excerpt: str
    loses_content: bool = False


class Flaw(NamedTuple):
    """What is wrong with one event, and whether content of the message was lost by it."""

    code: ViolationCode
    loses_content: bool = False


class LocatedFlaw(NamedTuple):
    """A violation that has no event number yet.

    Attributes:
        code: the kind of violation.
        excerpt: the text that caused it.
        offset: the offset in the body at which the frame begins. None for a payload that came
            without a frame.
        loses_content: whether content of the message was lost.
    """

    code: ViolationCode
    excerpt: str
    offset: int | None
    loses_content: bool = False

    def violation(self, event_number: int) -> Violation:
        """Return the `Violation` with this event number."""
        sentence = f"{self.code.meaning}; {self.code.action}"
        return Violation(
            self.code, sentence, event_number, self.offset, self.excerpt, self.loses_content
        )


UnreadViolation: TypeAlias = tuple[ViolationCode, bytes, int, int]
"""A violation that becomes a `Violation` only when somebody reads it. It loses no content.

The items are its code, the data of its frame (valid UTF-8), the offset of the frame in the body,
and the number of the frame.

A stream whose frames have no name has a violation for each frame. Making the excerpt and the
`Violation` would take longer than reading such a frame on the fast path.
"""


class ViolationLog:
    """The violations of one stream. Keeps the first `Limits.violations` and counts the rest.

    Attributes:
        count: the number of violations so far.
        first_loss: the first violation that lost content, or None. It is here even if the limit was
            reached before it.
    """

    __slots__ = ("_kept", "_limit", "_read", "count", "first_loss")

    def __init__(self, limits: Limits) -> None:
        self._limit = limits.violations
        self._kept: list[Violation | UnreadViolation] = []
        self._read = 0  # all violations before this index are `Violation`s
        self.count = 0
        self.first_loss: Violation | None = None

    @property
    def kept(self) -> tuple[Violation, ...]:
        """The violations that were kept, in the order in which they occurred."""
        for place in range(self._read, len(self._kept)):
            each = self._kept[place]
            if isinstance(each, tuple):
                code, data, offset, event_number = each
                flaw = LocatedFlaw(code, excerpt(data.decode()), offset)
                self._kept[place] = flaw.violation(event_number)
        self._read = len(self._kept)
        return tuple(cast("list[Violation]", self._kept))

    def keeps_one_more(self, *, loses_content: bool) -> bool:
        """Whether a further violation would be kept and not only counted.

        Args:
            loses_content: whether that violation loses content. The first loss is always kept.
        """
        return len(self._kept) < self._limit or (loses_content and self.first_loss is None)

    def count_more(self, count: int) -> None:
        """Count violations that are not kept."""
        self.count += count

    def add_unread(self, violation: UnreadViolation) -> None:
        """Count a violation that loses no content. Keep it if the limit allows it."""
        self.count += 1
        if len(self._kept) < self._limit:
            self._kept.append(violation)

    def add(self, flaw: LocatedFlaw, event_number: int) -> None:
        """Count a violation. Keep it if the limit allows it, and keep the first loss anyway."""
        self.count += 1
        if not self.keeps_one_more(loses_content=flaw.loses_content):
            return
        violation = flaw.violation(event_number)
        if len(self._kept) < self._limit:
            self._kept.append(violation)
        if flaw.loses_content and self.first_loss is None:
            self.first_loss = violation


@attrs.frozen(eq=False, repr=False)
class Limits(HashableValue):
    """Bounds on the memory that a peer can make a machine use.

    A stream that exceeds a bound raises `LimitError` at the exact place, except for `violations`.

    A partial frame is measured like a whole one: in bytes, from the first byte of the frame's first
    field. So the way the body is cut into chunks never decides whether a stream fits. If the caller
    exhausts each iterator, the unread bytes are at most `event_bytes` plus one chunk.

    The limits count bytes of the body. The Python objects that are made from them are larger. These
    are the highest measured amounts of memory while a frame is read, in bytes per byte of the frame
    (CPython 3.11):

    * 65 for a list of nearly empty content blocks or citations;
    * 33 for other JSON that consists of tiny objects;
    * 16 for many names;
    * 13 for tiny strings;
    * 10 for text that is not UTF-8;
    * 9 for text with characters beyond U+FFFF;
    * 3 for any other text.

    To stay below a given amount of memory, set `event_bytes` to a seventieth of it.

    Attributes:
        event_bytes: the bytes of one frame, with its line ends. The default leaves room for
            documents in web_fetch results: they are megabytes of base64 on one line.
        block_bytes: the bytes of all payloads of one content block: its start and all its deltas.
            All message_deltas of a message together have the same bound.
        total_bytes: the bytes of the whole body after content-decoding. None means no bound. No
            honest stream comes near the default of 1 GiB. A context of 1,000,000 tokens, with each
            token in its own delta of 200 bytes, is 200 MB, and the API generates at most 128,000
            tokens. A document in a web_fetch result must fit into a later request, and a request
            may have 32 MB: ten such documents are 320 MB.
        blocks: the number of content blocks in one message. It also bounds the index of a block.
        depth: the nesting of arrays and objects in a payload or a tool input. CPython's own limits
            begin at about 498 (pickle, deepcopy) and 990 (json), minus the depth of the caller. A
            tool input that is nested too deeply raises nothing: it is only invalid.
        violations: the number of violations that are kept. Further ones are only counted and raise
            nothing.
    """

    event_bytes: int = 64 * 2**20
    block_bytes: int = 64 * 2**20
    total_bytes: int | None = 2**30
    blocks: int = 10_000
    depth: int = 200
    violations: int = 1_000
