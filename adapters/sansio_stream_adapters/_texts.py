"""Text pieces: events in, the text of each event out, in whole characters only.

A surrogate pair may be split over two deltas of a block. The first half is then kept until the
second arrives, and both are returned as one piece.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from sansio_stream.events import (
    ContentBlockDeltaEvent,
    ContentBlockStartEvent,
    ContentBlockStopEvent,
    MessageStartEvent,
    TextDelta,
)
from sansio_stream.message import TextBlock
from sansio_stream.surrogates import is_high_surrogate, joined_halves

if TYPE_CHECKING:
    from sansio_stream.events import MessageStreamEvent
    from sansio_stream.message import Message

__all__ = ["AsyncTexts", "TextPieces", "joined_text"]


class TextPieces:
    """The texts of one stream, event by event. Keeps at most one half of a pair for each block."""

    __slots__ = ("_halves",)

    def __init__(self) -> None:
        self._halves: dict[int, str] = {}

    def of(self, event: MessageStreamEvent) -> str:
        """Return the text of an event, including the text at the start of a block or message.

        A kept half is returned with the next text of its block, or when the block stops.
        """
        match event:
            case ContentBlockDeltaEvent(index=index, delta=TextDelta(text=text)):
                return self._joined(index, text)
            case ContentBlockStartEvent(index=index, content_block=TextBlock(text=text)):
                return self._joined(index, text)
            case ContentBlockStopEvent(index=index):
                return self._halves.pop(index, "")
            case MessageStartEvent(message=message):
                return joined_text(message)
            case _:
                return ""

    def _joined(self, index: int, text: str) -> str:
        if text.isascii() and not self._halves:
            return text
        text = joined_halves(self._halves.pop(index, "") + text)
        if is_high_surrogate(text[-1:]):
            self._halves[index] = text[-1]
            return text[:-1]
        return text


def joined_text(message: Message) -> str:
    """Return the text of all text blocks as one str."""
    return "".join(block.text for block in message.content if isinstance(block, TextBlock))


class AsyncTexts(AsyncIterator[str]):
    """The texts of a stream. It has no state: another iterator can continue where it stopped."""

    def __init__(self, events: AsyncIterator[MessageStreamEvent], texts: TextPieces) -> None:
        self._events = events
        self._texts = texts

    async def __anext__(self) -> str:
        async for event in self._events:
            if text := self._texts.of(event):
                return text
        raise StopAsyncIteration
