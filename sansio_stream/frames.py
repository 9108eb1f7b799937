"""The result of a framing: frames, and the flaws of their bytes.

A framing cuts the bytes of a body into frames. A flaw is a fault that it found, and that is not yet
recorded as a violation. The machine takes frames through the protocol `FrameSource`, which
`framer.Framer` implements for event streams. Only the fast path reads the bytes of a frame itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import attrs

from .errors import EXCERPT_CHARACTERS, LocatedFlaw, ViolationCode, excerpt
from .frozen import Value

if TYPE_CHECKING:
    from .errors import Limits
    from .frame_buffer import FrameBuffer


@attrs.define(eq=False, repr=False)
class Frame(Value):
    """The fields between two blank lines.

    `FrameSource.next_frame` returns only frames with a `data` field. `FrameSource.finish` may
    return a frame without one.

    Attributes:
        name: the `event` field; "" if there is none.
        data: the values of the `data` lines, joined by LF. U+FFFD replaces bytes that are not
            UTF-8.
        offset: the offset of its first field in the body, in bytes.
        size: its length in bytes, including the blank line, whose line end counts as one byte.
        id: the last event id as of this frame, which may come from an earlier one.
        retry: the last valid `retry` field of the frame, in milliseconds, or None.
        flaws: the flaws of the frame, and those of lines before it that gave no frame.
        uncounted: the number of further flaws, which were not kept.
        sent: the bytes of the data if they are not UTF-8, else b"".
    """

    name: str
    data: str
    offset: int
    size: int
    id: str
    retry: int | None
    flaws: tuple[LocatedFlaw, ...]
    uncounted: int
    sent: bytes = b""


class FrameSource(Protocol):
    """The interface of a framing. `Framer` is the implementation for event streams.

    Another framing would return the frames of its own wire format, with the payload as `data`.

    Attributes:
        buffer: the received bytes.
    """

    buffer: FrameBuffer

    @property
    def at_frame_start(self) -> bool:
        """Whether the next byte of the buffer begins a frame, and no flaw waits to be reported."""
        ...

    @property
    def is_other_content(self) -> bool:
        """Whether the body has no frame yet, but has lines of another format."""
        ...

    def next_frame(self) -> Frame | None:
        """Return the next whole frame with data; None if more bytes are needed."""
        ...

    def finish(self) -> Frame | None:
        """Return the last frame if its end is missing, else None. Call it once, after the body."""
        ...

    def take_flaws(self) -> tuple[tuple[LocatedFlaw, ...], int]:
        """Remove and return the flaws that are in no frame, and the number of those not kept."""
        ...

    def discard(self) -> None:
        """Consume all received bytes without reading them."""
        ...


class FlawBuffer:
    """The flaws that the next frame will have: the first ones are kept, the others only counted.

    The number of kept flaws is bounded for the whole body, because a body may consist of endless
    lines that give no frame. Three kinds of flaws are always kept. The first flaw of the body is
    kept even if `Limits.violations` is 0, because strict mode raises it and must not only count it.
    The first flaw of a frame that loses content is kept because the verdict depends on it. The
    INVALID_UTF8 of a frame's data is kept because only its event shows whether content was lost.

    Attributes:
        capacity: how many more flaws are kept.
        is_empty: whether there is no flaw, neither kept nor only counted.
        has_loss: whether a flaw that was not taken yet loses content.

    Args:
        limits: `violations` applies.
    """

    __slots__ = ("_flaws", "_uncounted", "capacity", "has_loss", "is_empty")

    def __init__(self, limits: Limits) -> None:
        self._flaws: list[LocatedFlaw] = []
        self._uncounted = 0
        self.is_empty = True
        self.has_loss = False
        self.capacity = max(1, limits.violations)

    def add(
        self,
        code: ViolationCode,
        piece: bytes | bytearray,
        offset: int,
        *,
        loses_content: bool = False,
        is_kept: bool = False,
    ) -> None:
        """Add a flaw.

        Args:
            code: the violation.
            piece: the bytes that it is about. Their beginning becomes the excerpt.
            offset: the offset of their frame in the body.
            loses_content: whether content is lost by it.
            is_kept: whether the flaw is kept even if there is no capacity.
        """
        self.is_empty = False
        is_first_loss = loses_content and not self.has_loss
        if not self.capacity and not is_kept and not is_first_loss:
            self._uncounted += 1
            return
        self.capacity -= self.capacity > 0
        self.has_loss = self.has_loss or loses_content
        text = excerpt(piece[: 4 * EXCERPT_CHARACTERS].decode("utf-8", "replace"))
        self._flaws.append(LocatedFlaw(code, text, offset, loses_content))

    def decode(self, value: bytes | bytearray, offset: int, *, is_kept: bool = False) -> str:
        """Return bytes as text. If they are not UTF-8, replace the faults and add one flaw."""
        try:
            return value.decode()
        except UnicodeDecodeError as error:
            begin = max(0, error.start - 32)
            piece = value[begin : begin + 4 * EXCERPT_CHARACTERS]
        self.add(ViolationCode.INVALID_UTF8, piece, offset, is_kept=is_kept)
        return value.decode("utf-8", "replace")

    def count(self, more: int) -> None:
        """Count flaws that are not kept."""
        self._uncounted += more
        self.is_empty = self.is_empty and not more

    def take(self) -> tuple[tuple[LocatedFlaw, ...], int]:
        """Remove and return the flaws, and the number of those not kept."""
        flaws, uncounted = tuple(self._flaws), self._uncounted
        self._flaws, self._uncounted = [], 0
        self.is_empty, self.has_loss = True, False
        return flaws, uncounted
