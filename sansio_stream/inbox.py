"""The inbox: received bytes and payloads in, frames and payloads out in the same order."""

from __future__ import annotations

import enum
from collections import deque
from typing import TYPE_CHECKING

from .framer import Framer
from .reading import Payload

if TYPE_CHECKING:
    from .errors import Limits
    from .frames import Frame, FrameSource


class EofStage(enum.Enum):
    """The last steps of reading a body, in their order. `Inbox.next` returns each of them once."""

    PARTIAL_FRAME = "read the last frame if its blank line is missing"
    VERDICT = "set the verdict"


class Inbox:
    """The frames and payloads of one stream, numbered from 1.

    Attributes:
        framer: cuts the body into frames.
        buffer: the buffer of the framer, with the received bytes.

    Args:
        limits: the limits of the framer.
    """

    __slots__ = ("_frameless", "_payload_number", "_waiting", "buffer", "framer")

    def __init__(self, limits: Limits) -> None:
        self.framer: FrameSource = Framer(limits)
        self.buffer = self.framer.buffer
        # What was received after the bytes in the buffer. Bytes are put here only if a payload came
        # before them, because the buffer would return their frames before that payload.
        self._waiting: deque[bytes | Payload | EofStage] = deque()
        # The buffer counts frames with data. `_frameless` counts what else has a number: payloads,
        # and a last frame without data. `_payload_number` is the number of the last payload.
        self._frameless = 0
        self._payload_number = 0

    def receive(self, data: bytes) -> bool:
        """Add bytes of the body. Return whether there may be something to read."""
        if self._waiting:
            self._waiting.append(data)
            return True
        return self.buffer.feed(data)

    def receive_payload(self, payload: Payload) -> None:
        """Add a payload that has no frame."""
        self._waiting.append(payload)
        self.buffer.mark_pending()

    def close(self) -> None:
        """Record the end of the body."""
        self.buffer.close()
        self._waiting.extend(EofStage)

    def mark_drained(self) -> bool:
        """Return whether nothing is left to read. Set `is_idle` of the buffer if possible."""
        return not self._waiting and (self.buffer.mark_drained() or self.buffer.is_consumed)

    def next(self) -> Frame | Payload | EofStage | None:
        """Return the next frame, payload or stage of the end; None if more must be received.

        Raises:
            LimitError: a frame or the body exceeds its limit.
        """
        # If there is nothing to frame, as in a stream of payloads, the call is saved.
        skips_framer = self._waiting and self.buffer.is_consumed
        frame = None if skips_framer else self.framer.next_frame()
        while frame is None and self._waiting:
            received = self._waiting.popleft()
            if not isinstance(received, bytes):
                if isinstance(received, Payload):
                    self._frameless += 1
                    self._payload_number = self.number
                return received
            self.buffer.feed(received)
            self.buffer.mark_pending()  # later bytes must come after the rest of `_waiting`
            frame = self.framer.next_frame()
        return frame

    def finish(self) -> Frame | None:
        """Return the last frame if its blank line is missing, else None. Call it after the body."""
        before = self.buffer.frames
        frame = self.framer.finish()
        if frame is not None:
            self._frameless += self.buffer.frames == before  # the buffer counts frames with data
        return frame

    def discard(self) -> None:
        """Drop everything that was not read, and record the end of the body.

        The dropped bytes still count in `bytes_received`.
        """
        for received in self._waiting:
            if isinstance(received, bytes):
                self.buffer.feed(received)
        self._waiting.clear()
        self.framer.discard()
        self.buffer.close()

    @property
    def bytes_received(self) -> int:
        """The number of received bytes."""
        waiting = sum(len(each) for each in self._waiting if isinstance(each, bytes))
        return self.buffer.received + waiting

    @property
    def number(self) -> int:
        """The number of the frame or payload that was read last; 0 before the first."""
        return self.buffer.frames + self._frameless

    @property
    def byte_offset(self) -> int | None:
        """The offset in the body of the frame that was read last; None for a payload."""
        return None if self._payload_number == self.number else self.buffer.frame_offset
