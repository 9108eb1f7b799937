"""The receive buffer: bytes of a body in, whole frames or whole lines of it out.

The buffer only searches for the ends of frames and lines. `framer` reads the frames and lines.

Strategy: `feed` searches the new chunk for its last blank line. The bytes up to this blank line are
the text, which consists of whole frames. The framer reads it frame by frame. The bytes after it are
the partial frame, a bytearray that grows in place. So each byte is searched for a blank line only
once, and a chunk without a line end is only appended. If a chunk comes while a part of the text is
not consumed, the chunk is stored, and searched later. Two kinds of chunks are not searched:

* If the buffer is idle and a frame begins with the chunk, a chunk that ends in a blank line
  consists of whole frames. So `add_frames` makes the chunk the text.
* A chunk with a CR can end inside a blank line in several ways. So the text ends at the last line
  end of the chunk, whether that line is blank or not. There is one exception, `_search_crlf`.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from .errors import EXCERPT_CHARACTERS

if TYPE_CHECKING:
    from .errors import Limits

BOM: Final = b"\xef\xbb\xbf"
CR, LF = b"\r\n"
FRAME_ENDS: Final = (b"\n\n", b"\r\n\r\n")
SINGLE_BYTES: Final = frozenset(bytes([byte]) for byte in range(256) if byte not in (CR, LF))
"""All chunks of one byte that end no line. To look a chunk up in this set takes 100 instructions.
To search it for CR and LF takes 500.
"""


class ReceivedBytes:
    """The received bytes of a body, in order, and their offsets in it.

    In the order of the body, they are: bytes that were consumed and dropped, the text, the partial
    frame, chunks that were not searched yet, and bytes beyond `Limits.total_bytes`. Bytes of the
    last kind are only counted.

    Attributes:
        text: whole frames, or whole lines. The bytes before `pos` are consumed.
        pos: the index in `text` of the first byte that is not consumed.
        base: the offset of the text in the body.
        end: the offset of the end of the text.
        partial: the bytes of the partial frame.
        frames: the number of consumed frames with data.
    """

    __slots__ = (
        "_chunks",
        "_excess",
        "_head",
        "_unread",
        "base",
        "end",
        "frames",
        "partial",
        "pos",
        "text",
    )

    def __init__(self) -> None:
        # The first bytes that were dropped before the first frame.
        self._head: bytearray = bytearray()
        self.base: int = 0
        self.text: bytes = b""
        self.pos: int = 0
        self.end: int = 0
        self.partial: bytearray = bytearray()
        self._chunks: deque[bytes] = deque()
        self._unread: int = 0  # the size of `_chunks`
        self._excess: int = 0
        self.frames: int = 0

    def _set_text(self, text: bytes) -> None:
        """Drop the text. Make `text`, which follows it in the body, the new text."""
        if not self.frames:
            # These bytes are kept for error messages.
            self._head += self.text[: max(0, EXCERPT_CHARACTERS - len(self._head))]
        self.base = self.end
        self.end += len(text)
        self.text = text
        self.pos = 0

    @property
    def offset(self) -> int:
        """The offset of the first byte that is not consumed."""
        return self.base + self.pos

    @property
    def position(self) -> int:
        """The offset of the end of the received bytes, at most `Limits.total_bytes`."""
        return self.end + len(self.partial) + self._unread

    @property
    def received(self) -> int:
        """The number of received bytes, including those beyond `Limits.total_bytes`."""
        return self.position + self._excess

    @property
    def is_consumed(self) -> bool:
        """Whether all received bytes are consumed."""
        return self.pos == len(self.text) and not (self.partial or self._chunks or self._excess)

    @property
    def head(self) -> bytes:
        """The first bytes of a body without frames. Valid once the whole body was read."""
        return (bytes(self._head) + self.text + self.partial)[:EXCERPT_CHARACTERS]

    def since(self, offset: int) -> bytes:
        """Return the consumed bytes from an offset on; b"" if `text` has only a part of them."""
        return self.text[offset - self.base : self.pos] if offset >= self.base else b""


class FrameBuffer(ReceivedBytes):
    """The received bytes of a body, of which the framer and the fast path consume whole frames.

    Attributes:
        is_idle: whether nothing is left to read, and no limit must be checked.
        partial_limit: a size in bytes. A partial frame up to this size exceeds no limit. Valid
            while `is_idle`.
        frame_offset: the offset of the last consumed frame in the body; None before the first.
        frame_start: the offset of the frame whose lines are being consumed; None between frames.

    Args:
        limits: `event_bytes` and `total_bytes` apply.
    """

    __slots__ = (
        "_by_lines",
        "_is_closed",
        "_is_last_text",
        "_limits",
        "frame_offset",
        "frame_start",
        "is_idle",
        "partial_limit",
    )

    def __init__(self, limits: Limits) -> None:
        super().__init__()
        self._limits = limits
        self._is_closed = False
        self._by_lines = False  # whether a frame is consumed in part, or the text ends in a CR
        self.is_idle = False
        # Whether `is_idle` becomes true once the text is consumed: nothing was received behind it.
        self._is_last_text = False
        self.partial_limit = 0
        self.frame_offset: int | None = None
        self.frame_start: int | None = None

    def feed(self, data: bytes) -> bool:
        """Add bytes. Return whether there may be something to read, or a limit to check."""
        if not self.is_idle:
            self._feed_slowly(data)
            return not self.is_idle
        size = len(data)
        if not self.partial and not self._by_lines and size <= self.partial_limit:
            tail = data[-2:]  # `endswith` takes 450 instructions more
            if tail == b"\n\n" or (tail == b"\r\n" and data.endswith(b"\r\n\r\n")):
                # The chunk ends in LF. So it cuts no line end, even if it contains a CR.
                self.add_frames(data, self.end + size)
                self.partial_limit -= size
                return True
        return self.extend(data)

    def extend(self, data: bytes) -> bool:
        """Do the same as `feed`, for an idle buffer, without its shortcut for whole frames.

        The machine calls this method if the buffer has a partial frame. If each chunk has one byte,
        the method takes most of the time.
        """
        partial = self.partial
        if data in SINGLE_BYTES if len(data) == 1 else (LF not in data and CR not in data):
            partial += data
            if len(partial) <= self.partial_limit:
                return False
            del partial[len(partial) - len(data) :]
        elif (
            not self._by_lines and CR not in data and len(partial) + len(data) <= self.partial_limit
        ):
            self._search(data)
            if self.pos == len(self.text):
                return False
            self.is_idle = False
            self.partial_limit -= len(self.text)
            return True
        self._feed_slowly(data)
        return not self.is_idle

    def add_frames(self, frames: bytes, end: int) -> None:
        """Add a chunk of whole frames, without searching it.

        Requires that the buffer is idle, that the next byte begins a frame, and that the chunk
        exceeds no limit. `partial_limit` stays as it is. So the caller must lower it by the size of
        the chunk, unless the end of the chunk is at least `event_bytes` before `total_bytes`.

        Args:
            frames: the chunk.
            end: the offset of its end in the body.
        """
        self.base = self.end
        self.end = end
        self.text = frames
        self.pos = 0
        self.is_idle = False

    def _feed_slowly(self, data: bytes) -> None:
        """Do the same as `feed`, in any state and near any limit."""
        self.mark_pending()
        total = self._limits.total_bytes
        if total is not None:
            allowed = total - self.position
            self._excess += max(0, len(data) - allowed)
            data = data[:allowed]
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
        """Add bytes after a consumed text, and make the whole frames or lines the new text."""
        if data[0] == LF and self.text.endswith(b"\r") and not self.partial:
            # The WHATWG HTML standard: "CRLF, LF, or CR" end a line. A CR at the end of a chunk
            # ends its line at once, because waiting for the next chunk would delay a finished
            # event. So an LF that follows belongs to the same line end, and is dropped.
            self._set_text(data[:1])
            self._set_text(b"")
            data = data[1:]
        if self.frame_start is None and self._search_crlf(data):
            return
        if self.frame_start is not None or CR in data:
            self._add_lines(data)
            is_blank = not self.text.strip(b"\r\n")
            if is_blank and self.frame_start is None and self._limits.event_bytes:
                self.pos = len(self.text)  # blank lines between frames
        else:
            self._search(data)

    def _search(self, data: bytes) -> None:
        """Add bytes, and make the whole frames up to the last blank line the new text."""
        partial = self.partial
        end = data.rfind(b"\n\n") + 2
        if end == 1 and not (data.startswith(b"\n") and partial.endswith(b"\n")):
            # No blank line ends here. A bytearray grows in place, so a line of 64 MB that comes in
            # small chunks takes linear time.
            partial += data
            return
        text = data[:end]
        if partial:
            text = bytes(partial) + text
            partial.clear()
        if end < len(data):
            partial += data[end:]
        self._set_text(text)

    def _search_crlf(self, data: bytes) -> bool:
        """Do the same as `_search`, if the data has CRLF line ends and begins with no line end.

        Without this method, each frame that is cut would be read line by line, on the plain path.

        Returns:
            Whether the data was added. It is not added if it is of another kind, or if there is a
            CR without LF or a blank line after the last CRLF CRLF. The last blank line may then be
            a different one.
        """
        if CR not in data or data[0] in (CR, LF):
            return False
        text, blank_line, rest = data.rpartition(b"\r\n\r\n")
        lines = rest.replace(b"\r\n", b"\n")
        if CR in lines or b"\n\n" in lines:
            return False
        if blank_line:
            self._set_text(bytes(self.partial) + text + blank_line)
            self.partial.clear()
        self.partial += rest
        return True

    def _add_lines(self, data: bytes) -> None:
        """Add bytes, and make the whole lines up to the last line end the new text."""
        partial = self.partial
        end = max(data.rfind(b"\n"), data.rfind(b"\r")) + 1
        if end:
            text = bytes(partial) + data[:end]
            partial.clear()
            self._set_text(text)
        partial += data[end:]

    @property
    def start_of_frame(self) -> int:
        """The offset of the frame that is being consumed, or else of the next byte."""
        return self.offset if self.frame_start is None else self.frame_start

    def advance(self, end: int) -> None:
        """Consume a whole frame with data, up to the index `end` of the text.

        `is_idle` stays false until `update_is_idle` is called.
        """
        self.frame_offset = self.base + self.pos
        self.pos = end
        self.frames += 1

    def update_is_idle(self) -> None:
        """Set `is_idle` if frames were consumed up to the end of the text and nothing is left."""
        if self.pos == len(self.text):
            self.is_idle = self._is_last_text

    def take_frame(self) -> None:
        """Consume the text, which is one frame with data."""
        self.frame_offset = self.base
        self.pos = len(self.text)
        self.frames += 1
        self.is_idle = self._is_last_text

    def consume(self, end: int) -> None:
        """Consume lines, up to the index `end` of the text."""
        self.pos = end

    def set_frame_start(self, offset: int | None) -> None:
        """Set the offset of the frame whose lines are consumed; None after one without data."""
        self.frame_start = offset

    def finish_frame(self, *, has_data: bool) -> None:
        """End the frame whose lines were consumed. Count it if it has data."""
        self.frame_offset = self.start_of_frame
        self.frames += has_data
        self.frame_start = None

    def fill_text(self) -> bool:
        """Search the waiting chunks for text to consume. Return whether there is any.

        If a partial frame exceeds a limit, its whole lines become the text. So the framer finds the
        excess at the same byte, however the body was cut into chunks.
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
        """Whether the partial frame exceeds `event_bytes`, or the body `total_bytes`."""
        size = self.position - self.start_of_frame
        return self._excess > 0 or size > self._limits.event_bytes

    def take_lines(self) -> bool:
        """Move the whole lines of the partial frame to the text. Return whether there were any."""
        end = self.partial.rfind(b"\n") + 1
        if end:
            self._set_text(bytes(self.partial[:end]))
            del self.partial[:end]
        return end > 0

    def partial_line(self) -> bytes | None:
        """Return the partial line, without a byte order mark.

        None if it is only a byte order mark or a part of one. The mark counts towards no limit, so
        this method consumes it.
        """
        if self.offset == 0:
            if BOM.startswith(self.partial):
                return None
            if self.partial.startswith(BOM):
                del self.partial[: len(BOM)]
                self._set_text(BOM)
                self._set_text(b"")
        return bytes(self.partial)

    def mark_drained(self) -> bool:
        """Set `is_idle` if nothing is left to read. Return whether it is set."""
        # Before the first frame, no chunk may take the shortcut of `feed`, because that shortcut
        # does not keep the first bytes for `head`.
        has_begun = self.frames > 0 or len(self.partial) > 0
        if self.pos == len(self.text) and not self._chunks and has_begun and not self._is_closed:
            limit = self._limits.event_bytes - (self.offset - self.start_of_frame)
            total = self._limits.total_bytes
            if total is not None:
                limit = min(limit, total - self.offset)
            if len(self.partial) <= limit and not self._excess:
                self.partial_limit = limit
                self._by_lines = self.frame_start is not None or self.text.endswith(b"\r")
                self.is_idle = self._is_last_text = True
        return self.is_idle

    def mark_pending(self) -> None:
        """Set `is_idle` to false, because something is waiting to be read."""
        self.is_idle = self._is_last_text = False

    def close(self) -> None:
        """Record the end of the body. From now on `is_idle` stays false."""
        self._is_closed = True
        self.mark_pending()

    def discard(self) -> None:
        """Consume all received bytes without reading them."""
        self.base = self.end = self.position
        self.text = b""
        self.pos = 0
        self.partial.clear()
        self._chunks.clear()
        self._unread = 0
        self.frame_start = None
