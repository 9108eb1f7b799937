"""What a framing gives: frames, and the flaws of their bytes.

The machine knows a framing only as a `FrameSource`. `Framer` is the one for event streams.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import attrs

from .errors import EXCERPT_CHARACTERS, LocatedFlaw, ViolationCode, excerpt

if TYPE_CHECKING:
    from .errors import Limits
    from .frame_buffer import FrameBuffer


@attrs.define
class Frame:
    """What stands between two blank lines and has data.

    Attributes:
        name: the `event` field, "" if there is none.
        data: the `data` lines, joined by LF.
        offset: where its first field begins in the body, in bytes.
        size: its length in bytes up to the end mark.
        id: the last event id.
        retry: the last valid `retry` field of the frame, in milliseconds, or None.
        flaws: what was wrong with it, or with lines before it that gave no frame.
        uncounted: how many more flaws there were than are kept.
        sent: the data as it was sent if not all of it is UTF-8, else b"". In `data` U+FFFD stands
            for what is not UTF-8.
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
    """What the machine asks of a framing. `Framer` is the one for event streams.

    Another framing gives the frames of its own wire format, with the payload as `data`.
    """

    buffer: FrameBuffer

    @property
    def at_frame_start(self) -> bool:
        """Whether the next byte of the buffer begins a frame, and no flaw waits for it."""
        ...

    @property
    def is_other_content(self) -> bool:
        """Whether the body has no frame, and something in it is of another format."""
        ...

    def next_frame(self) -> Frame | None:
        """Return the next whole frame with data; None if more bytes are needed."""
        ...

    def finish(self) -> Frame | None:
        """Return what is left of a frame without its end, once, at the end of the body."""
        ...

    def take_flaws(self) -> tuple[tuple[LocatedFlaw, ...], int]:
        """Return the flaws that no frame carried, and how many more there were. Forget them."""
        ...

    def discard(self) -> None:
        """Consume everything without a look."""
        ...


class FlawBuffer:
    """The flaws that wait for the next frame: the first ones kept, the others counted.

    The number of those that are kept is bounded for the whole body, because lines that give no
    frame could go on for ever. One is always kept: with a limit of 0 violations it is still counted
    correctly. The first of a frame that loses content is kept, too: the verdict depends on it.
    """

    __slots__ = ("_flaws", "_has_loss", "_uncounted", "capacity")

    def __init__(self, limits: Limits) -> None:
        self._flaws: list[LocatedFlaw] = []
        self._uncounted = 0
        self._has_loss = False
        # How many more flaws are kept.
        self.capacity = max(1, limits.violations)

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self._flaws) or self._uncounted > 0

    @property
    def has_loss(self) -> bool:
        """Whether one of those that wait loses content."""
        return self._has_loss

    def add(
        self,
        code: ViolationCode,
        piece: bytes | bytearray,
        offset: int,
        *,
        loses_content: bool = False,
        is_kept: bool = False,
    ) -> None:
        """Add a flaw with the beginning of the bytes that it is about; with `is_kept` always."""
        is_first_loss = loses_content and not self._has_loss
        if not self.capacity and not is_kept and not is_first_loss:
            self._uncounted += 1
            return
        self.capacity -= self.capacity > 0
        self._has_loss = self._has_loss or loses_content
        text = excerpt(piece[: 4 * EXCERPT_CHARACTERS].decode("utf-8", "replace"))
        self._flaws.append(LocatedFlaw(code, text, offset, loses_content))

    def decode(self, value: bytes | bytearray, offset: int, *, is_kept: bool = False) -> str:
        """Return bytes as text, and add a flaw where they are not UTF-8."""
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

    def take(self) -> tuple[tuple[LocatedFlaw, ...], int]:
        """Return the flaws, and how many more there were. Forget them."""
        flaws, uncounted = tuple(self._flaws), self._uncounted
        self._flaws, self._uncounted, self._has_loss = [], 0, False
        return flaws, uncounted
