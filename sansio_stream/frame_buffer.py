"""The receive buffer: bytes of a body in, the part of them that is whole out.

Knows where a frame or a line may end, and nothing of what they mean.

Strategy: `feed` looks for the last blank line of what came, and no further. What precedes it is the
text, which is read frame by frame. What follows it is the partial frame, a bytearray that grows in
place. So every byte is searched once, and a chunk without a line end is only appended. Where CRs
end lines, a blank line may be cut between two chunks in more than one way; then the text is
everything up to the last line end instead.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from .errors import EXCERPT_CHARACTERS

if TYPE_CHECKING:
    from .errors import Limits

BOM: Final = b"\xef\xbb\xbf"
CR, LF = b"\r\n"


class FrameBuffer:
    """The received bytes, and how far they were read.

    Others read the attributes and call the methods. They never write.

    Attributes:
        base: where the text begins in the body.
        text: bytes that are whole frames, or whole lines. Those before `pos` were consumed.
        pos: the index in `text` of the first byte that was not consumed.
        frames: how many frames with data were consumed.
        frame_offset: where the last one begins in the body; None before the first.
        frame_start: where the frame begins whose lines are being consumed; None between frames.
        partial_limit: how many bytes of a partial frame may be held before somebody must look at
            them, because of a limit; 0 while something waits to be looked at.

    Args:
        limits: `event_bytes` and `total_bytes` apply.
    """

    __slots__ = (
        "_by_lines",
        "_chunks",
        "_head",
        "_is_closed",
        "_limits",
        "_next_limit",
        "_partial",
        "_refused",
        "_unread",
        "base",
        "frame_offset",
        "frame_start",
        "frames",
        "partial_limit",
        "pos",
        "text",
    )

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        # The body in order: what was dropped (its length, and its first bytes while there was no
        # frame), the text, the partial frame, the chunks that nobody has looked at (and their
        # length), and the length of what exceeds the limit of the body.
        self.base = 0
        self._head = bytearray()
        self.text = b""
        self.pos = 0
        self._partial = bytearray()
        self._chunks: deque[bytes] = deque()
        self._unread = 0
        self._refused = 0
        self._is_closed = False
        # Whether line ends must be looked at one by one, because a CR ended the text.
        self._by_lines = False
        self.partial_limit: int = 0
        # The value of `partial_limit` once the text is consumed.
        self._next_limit: int = 0
        self.frames = 0
        self.frame_offset: int | None = None
        self.frame_start: int | None = None

    # Receiving.

    def feed(self, data: bytes) -> bool:
        """Add bytes. Return whether something must be looked at now."""
        limit = self.partial_limit
        if limit and CR not in data:
            # While a model writes nothing waits, and a chunk is a frame or a part of one.
            partial = self._partial
            if LF not in data:
                partial += data
                if len(partial) <= limit:
                    return False
                del partial[len(partial) - len(data) :]
            elif not self._by_lines and len(partial) + len(data) <= limit:
                if data.endswith(b"\n\n") and not partial:
                    # As `_add_frames` does it. Without the calls a frame costs a tenth less.
                    self.base += len(self.text)
                    self.text = data
                    self.pos = 0
                else:
                    self._add_frames(data)
                    if self.pos == len(self.text):
                        return False
                self.partial_limit = 0
                self._next_limit = limit - len(self.text)
                return True
        self._feed_slowly(data)
        return not self.partial_limit

    def _feed_slowly(self, data: bytes) -> None:
        self.mark_pending()
        total = self._limits.total_bytes
        if total is not None and self.position + len(data) > total:
            self._refused += self.position + len(data) - total
            data = data[: total - self.position]
        if not data:
            return
        if self.pos == len(self.text) and not self._chunks:
            self._add(data)
            if self.pos == len(self.text):
                self.mark_drained()
        else:
            self._chunks.append(data)
            self._unread += len(data)

    def _add(self, data: bytes) -> None:
        """Put bytes behind a text that was consumed, and make a new text of what is whole then."""
        if data[0] == LF and self.text.endswith(b"\r") and not self._partial:
            # "CRLF, LF, or CR" end a line. A CR at the end of a chunk has ended its line already:
            # to wait for the next chunk would hold back a finished event. The LF that follows
            # belongs to the same line end.
            self._set_text(data[:1])
            self._set_text(b"")
            data = data[1:]
        if self.frame_start is not None or CR in data:
            self._add_lines(data)
            is_blank = not self.text.strip(b"\r\n")
            if is_blank and self.frame_start is None and self._limits.event_bytes:
                self.pos = len(self.text)  # blank lines between frames
        else:
            self._add_frames(data)

    def _add_frames(self, data: bytes) -> None:
        partial = self._partial
        end = data.rfind(b"\n\n") + 2
        if end == 1 and not (data.startswith(b"\n") and partial.endswith(b"\n")):
            # Neither a blank line nor the rest of one. A bytearray grows in place: a line of 64 MB
            # that comes in small chunks stays linear.
            partial += data
            return
        text = data[:end]
        if partial:
            text = bytes(partial) + text
            partial.clear()
        if end < len(data):
            partial += data[end:]
        self._set_text(text)

    def _add_lines(self, data: bytes) -> None:
        partial = self._partial
        end = max(data.rfind(b"\n"), data.rfind(b"\r")) + 1
        if end:
            text = bytes(partial) + data[:end]
            partial.clear()
            self._set_text(text)
        partial += data[end:]

    def _set_text(self, text: bytes) -> None:
        if not self.frames:
            self._keep_head(self.text)
        self.base += len(self.text)
        self.text = text
        self.pos = 0

    def _keep_head(self, data: bytes) -> None:
        """Keep the bytes that are dropped before the first frame, for messages."""
        self._head += data[: max(0, EXCERPT_CHARACTERS - len(self._head))]

    # Where things are, in bytes from the beginning of the body.

    @property
    def offset(self) -> int:
        """Where the first byte is that was not consumed."""
        return self.base + self.pos

    @property
    def position(self) -> int:
        """Where the received bytes end; never beyond the limit of the body."""
        return self.base + len(self.text) + len(self._partial) + self._unread

    @property
    def received(self) -> int:
        """How many bytes were received, those beyond the limit too."""
        return self.position + self._refused

    @property
    def start_of_frame(self) -> int:
        """Where the partial frame begins, or where the next one will."""
        return self.offset if self.frame_start is None else self.frame_start

    @property
    def head(self) -> bytes:
        """The first bytes of a body without a frame, once all of it was consumed."""
        return (bytes(self._head) + self.text + self._partial)[:EXCERPT_CHARACTERS]

    def since(self, offset: int) -> bytes:
        """Return the consumed bytes from a place on, or none if they came apart."""
        return self.text[offset - self.base : self.pos] if offset >= self.base else b""

    # Consuming.

    def advance(self, end: int) -> None:
        """Consume a whole frame with data, which ends before the index `end` of the text."""
        self.frame_offset = self.base + self.pos
        self.pos = end
        self.frames += 1
        if end == len(self.text):
            self.partial_limit = self._next_limit

    def consume(self, end: int) -> None:
        """Consume lines, which end before the index `end` of the text."""
        self.pos = end

    def begin_frame(self, offset: int) -> None:
        """Note where a frame begins of which lines are consumed."""
        self.frame_start = offset

    def end_frame(self) -> None:
        """Note that the frame ends of which lines were consumed."""
        self.frame_start = None

    def give_frame(self, *, has_data: bool) -> None:
        """Note the same of a frame that is given out. One without data is not counted."""
        self.frame_offset = self.start_of_frame
        self.frames += has_data
        self.frame_start = None

    def has_text(self) -> bool:
        """Return whether there is text to consume.

        Looks at chunks that wait. Where a frame that has not ended exceeds the limit, its lines are
        the text, so that the limit is exceeded at the same byte for every way of cutting.
        """
        while self.pos == len(self.text):
            if self._chunks:
                chunk = self._chunks.popleft()
                self._unread -= len(chunk)
                self._add(chunk)
            elif not (self.is_too_long and self.take_lines()):
                return False
        return True

    @property
    def is_too_long(self) -> bool:
        """Whether the partial frame exceeds a limit, or the body does."""
        size = self.position - self.start_of_frame
        return self._refused > 0 or size > self._limits.event_bytes

    def take_lines(self) -> bool:
        """Make text of the whole lines of the partial frame. Return whether there are any."""
        end = self._partial.rfind(b"\n") + 1
        if end:
            self._set_text(bytes(self._partial[:end]))
            del self._partial[:end]
        return end > 0

    @property
    def partial(self) -> bytes:
        """The bytes that follow the text."""
        return bytes(self._partial)

    def partial_line(self) -> bytes | None:
        """Return the line that has begun; None if it may become no more than a byte order mark.

        A byte order mark is dropped: it does not count.
        """
        if self.offset == 0:
            if BOM.startswith(self._partial):
                return None
            if self._partial.startswith(BOM):
                del self._partial[: len(BOM)]
                self._set_text(BOM)
                self._set_text(b"")
        return bytes(self._partial)

    # What may be received without a look.

    def mark_drained(self) -> bool:
        """Set `partial_limit`, if nothing waits to be looked at. Return whether nothing does."""
        # The first bytes of a body are looked at: it may be no event stream.
        has_begun = self.frames > 0 or len(self._partial) > 0
        if self.pos == len(self.text) and not self._chunks and has_begun and not self._is_closed:
            limit = self._limits.event_bytes - (self.offset - self.start_of_frame)
            total = self._limits.total_bytes
            if total is not None:
                limit = min(limit, total - self.offset)
            if len(self._partial) <= limit and not self._refused:
                self.partial_limit = limit
                self._by_lines = self.frame_start is not None or self.text.endswith(b"\r")
        return self.partial_limit > 0

    def mark_pending(self) -> None:
        """Note that something else waits to be looked at."""
        self.partial_limit = self._next_limit = 0

    def close(self) -> None:
        """Note that nothing more comes."""
        self._is_closed = True
        self.mark_pending()

    def discard(self) -> None:
        """Consume everything without a look."""
        self.base = self.position
        self.text = b""
        self.pos = 0
        self._partial.clear()
        self._chunks.clear()
        self._unread = 0
        self.frame_start = None
