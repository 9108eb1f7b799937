"""What was received, in its order: bytes and payloads in, frames and payloads out."""

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
    """What comes at the end of the body, one after the other."""

    PARTIAL_FRAME = "what is left of a frame without its blank line"
    VERDICT = "the verdict"


class Inbox:
    """The frames and payloads of one stream, numbered from 1.

    Attributes:
        framer: cuts the body into frames.
        buffer: its bytes.

    Args:
        limits: those of the framer.
    """

    __slots__ = ("_frameless", "_payload_number", "_waiting", "buffer", "framer")

    def __init__(self, limits: Limits) -> None:
        self.framer: FrameSource = Framer(limits)
        self.buffer = self.framer.buffer
        # What follows the bytes in the buffer.
        self._waiting: deque[bytes | Payload | EofStage] = deque()
        # How many things have a number beside the frames that the buffer counts; and the number of
        # the last payload.
        self._frameless = 0
        self._payload_number = 0

    def receive(self, data: bytes) -> bool:
        """Take bytes of the body. Return whether something must be looked at."""
        if self._waiting:
            self._waiting.append(data)
            return True
        return self.buffer.feed(data)

    def receive_payload(self, payload: Payload) -> None:
        """Take a payload without a frame."""
        self._waiting.append(payload)
        self.buffer.mark_pending()

    def close(self) -> None:
        """Note the end of the body."""
        self.buffer.close()
        self._waiting.extend(EofStage)

    def is_drained(self) -> bool:
        """Return whether nothing waits to be looked at."""
        return not self._waiting and self.buffer.mark_drained()

    def next(self) -> Frame | Payload | EofStage | None:
        """Return what comes next; None if more must be received.

        Raises:
            LimitError: a frame or the body exceeds its limit.
        """
        while (frame := self.framer.next_frame()) is None and self._waiting:
            received = self._waiting.popleft()
            if not isinstance(received, bytes):
                if isinstance(received, Payload):
                    self._frameless += 1
                    self._payload_number = self.number
                return received
            self.buffer.feed(received)
            self.buffer.mark_pending()  # new bytes must wait for the rest of the inbox
        return frame

    def finish(self) -> Frame | None:
        """Return what is left of a frame without its blank line, at the end of the body."""
        before = self.buffer.frames
        frame = self.framer.finish()
        if frame is not None:
            self._frameless += self.buffer.frames == before  # the buffer counts frames with data
        return frame

    def discard(self) -> None:
        """Drop everything, and note the end of the body. It still counts as received."""
        for received in self._waiting:
            if isinstance(received, bytes):
                self.buffer.feed(received)
        self._waiting.clear()
        self.framer.discard()
        self.buffer.close()

    @property
    def bytes_received(self) -> int:
        """How many bytes were received."""
        waiting = sum(len(each) for each in self._waiting if isinstance(each, bytes))
        return self.buffer.received + waiting

    @property
    def number(self) -> int:
        """The number of the last frame or payload."""
        return self.buffer.frames + self._frameless

    @property
    def byte_offset(self) -> int | None:
        """Where that frame begins in the body; None for a payload."""
        return None if self._payload_number == self.number else self.buffer.frame_offset
