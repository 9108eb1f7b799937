"""A text that grows: pieces in, the text as it was at any moment out.

A `GrowingText` belongs to one block. A snapshot has a `TextSoFar`: the growing text and its length
at that moment. The text itself is joined when somebody reads it. So a snapshot costs the same
however long its text is, and thousands of snapshots share one copy of the text.

Strategy: the pieces are stored, and pieces are only added. The joined text is a cache. CPython
appends to a str in place if a local variable has the only reference to it. So a program that reads
the text after each delta and drops it pays, in total, time linear in the length of the text. A
program that keeps each text pays for its copies.

Threads: one thread adds pieces. Other threads may meanwhile read the text of earlier moments. A
piece never changes, and a list of pieces is replaced by their joined text in one step.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple, TypeAlias, cast

from .surrogates import has_split_pair, is_high_surrogate, joined_halves

MANY_PIECES: Final = 256
"""More pieces than this are joined, to save memory. A character takes 5.8 bytes in pieces of 12
characters, and 1.1 bytes in one string.
"""


Place: TypeAlias = tuple[int, list[str] | None, int]
"""A place in a growing text, from which reading goes on. It has three parts:

* position: the number of characters before the place;
* batch: the list of the newest pieces if the whole text ended at this place when the place was
  made; else None;
* number: how many pieces of this list are before the place.

It is a plain tuple, because each read after a delta makes one. A NamedTuple takes 2,600
instructions more.
"""

BEGINNING: Final[Place] = (0, None, 0)
NOTHING_READ: Final = ("", "", BEGINNING)


class GrowingText:
    """The text of a block, from its start to its end.

    Attributes:
        pieces: the newest pieces. Only the owner of the text may append to this list. A piece
            that begins or ends with half of a surrogate pair needs the method `append`.
        has_halves: whether a surrogate pair may be cut between two pieces.

    Args:
        pieces: the text with which the block began, if there is one.
    """

    __slots__ = ("_batches", "_begun", "_joined", "_measured", "has_halves", "pieces")

    def __init__(self, *pieces: str) -> None:
        self.pieces: list[str] = []
        self.has_halves = False
        # The text in batches, each with its position. A batch is a list of pieces, or a str if the
        # pieces were joined. The last batch is `pieces`.
        self._batches: list[tuple[int, str | list[str]]] = [(0, self.pieces)]
        # The batch that was measured last, how many of its pieces, and the position after these.
        self._measured = self.pieces, 0, 0
        # What was read last: the text without a first half of a surrogate pair at its end, this
        # half or "", and the place after both.
        self._joined = NOTHING_READ
        for piece in pieces:
            self.append(piece)
        self._begun = len(pieces)

    def append(self, piece: str) -> None:
        """Append a piece, which may begin or end with half of a surrogate pair."""
        self.pieces.append(piece)
        if not piece.isascii() and has_split_pair(piece):
            self.has_halves = True

    @property
    def has_grown(self) -> bool:
        """Whether a piece was appended since the block began, even an empty one."""
        return len(self.pieces) > self._begun or len(self._batches) > 1

    def length(self) -> int:
        """Return the number of characters. A surrogate pair that two pieces share counts as two."""
        pieces, count, position = self._measured
        if pieces is not self.pieces:
            position, pieces = self._last_batch
            count = 0
        if len(pieces) == count + 1:  # a program that reads after each delta comes here
            position += len(pieces[count])
            self._measured = pieces, count + 1, position
        elif len(pieces) > count:
            more = pieces[count:]
            position += sum(map(len, more))
            self._measured = pieces, count + len(more), position
        return position

    @property
    def _last_batch(self) -> tuple[int, list[str]]:
        start, pieces = self._batches[-1]
        return start, cast("list[str]", pieces)  # only the batches before the last one are joined

    def so_far(self) -> TextSoFar:
        """Return the text of this moment."""
        return TextSoFar(self, self.length())

    def join_pieces(self) -> None:
        """Join the newest pieces, if they are many. `pieces` is then another list."""
        if len(self.pieces) > MANY_PIECES:
            start, pieces = self._last_batch
            text = "".join(pieces)
            self.pieces = []
            self._batches[-1:] = (start, text), (start + len(text), self.pieces)

    def text(self, length: int) -> str:
        """Return the text of the moment at which it had this length."""
        # Nothing else may refer to `text` when it grows, or it would be copied. If two threads come
        # here at once, both have a reference, and the text is copied.
        joined, self._joined = self._joined, NOTHING_READ
        text, half, place = joined
        del joined
        position, _, _ = place
        if length < position:
            self._joined = text, half, place
            if not self.has_halves:
                return text[:length]
            earlier, _ = self.read(BEGINNING, length)
            return joined_halves(earlier)
        if length > position:
            more, place = self.read(place, length)
            if self.has_halves:
                more = joined_halves(half + more)
                half = more[-1] if is_high_surrogate(more[-1:]) else ""
                more = more.removesuffix(half)
            text += more
        self._joined = text, half, place
        return text + half

    def read(self, place: Place, end: int) -> tuple[str, Place]:
        """Return the characters from a place up to a position, and the place there.

        Halves of surrogate pairs are not joined. Cost: at most linear in the text from the batch
        of the place to the end of the whole text.
        """
        position, pieces, number = place
        newest = self.pieces
        if pieces is newest:
            new = newest[number:]
            text = "".join(new)
            if position + len(text) == end:
                return text, (end, newest, number + len(new))
        first = len(self._batches) - 1
        while self._batches[first][0] > position:
            first -= 1
        batches = self._batches[first:]
        start, last = batches[0][0], batches[-1][1]
        number = len(last)  # another thread may append pieces from now on
        texts = [each if isinstance(each, str) else "".join(each[:number]) for _, each in batches]
        text = "".join(texts)
        more = text[position - start : end - start]
        if isinstance(last, list) and start + len(text) == end:
            return more, (end, last, number)
        return more, (end, None, 0)

    def whole(self) -> str:
        """Return the whole text."""
        if self._joined is not NOTHING_READ or self.has_halves:
            return self.text(self.length())
        # The text was never read. So its length is not needed, which would take 120 instructions
        # for each piece.
        batches = [each if isinstance(each, str) else "".join(each) for _, each in self._batches]
        text = "".join(batches)
        self._joined = text, "", (len(text), self.pieces, len(self.pieces))
        return text

    def __getstate__(self) -> tuple[Any, ...]:
        # The cache is left out: the pieces have the text already.
        return self.pieces, self.has_halves, self._batches, self._measured, self._begun

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.pieces, self.has_halves, self._batches, self._measured, self._begun = state
        self._joined = NOTHING_READ


class TextSoFar(NamedTuple):
    """A growing text at one moment.

    Attributes:
        growing: the text, which may have grown since.
        length: its length at that moment.
    """

    growing: GrowingText
    length: int

    @property
    def text(self) -> str:
        """The text."""
        return self.growing.text(self.length)
