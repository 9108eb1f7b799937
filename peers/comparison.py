"""One stream, read twice: frames in; the names of its differences, and what none explains, out."""

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

import attrs

from sansio_stream import Verdict
from wire import frame as frame_of

from .differences import (
    ABSENT,
    ENDINGS,
    FIRST_LINE,
    MEMBERS,
    UNSEEN_HERE,
    UNSEEN_THERE,
    Ending,
    Member,
    byte_order_mark,
    index_is_position,
)
from .readers import SSE, Frames, Here, Surface, Take, There, read_here, read_there

WAYS: Final = ((Surface.BETA, True), (Surface.BETA, False), (Surface.GENERAL, False))
"""How to read there, and whether both show unfinished strings: only the beta surface can."""

NOTHING: Final = b":\n\n"
"""A frame without an event, in the place of one: the others keep their numbers."""


@attrs.define
class Comparison:
    """One stream, read twice.

    Attributes:
        found: the names of the differences that it has.
        unexplained: what no difference explains, as text.
    """

    surface: Surface
    strings: bool
    found: set[str] = attrs.field(factory=set)
    unexplained: list[str] = attrs.field(factory=list)

    def run(self, frames: Frames) -> "Comparison":
        """Compare; returns itself."""
        ours, theirs = self._what_each_may_see(frames)
        here = read_here(ours, strings=self.strings)
        there = read_there(theirs, self.surface, strings=self.strings)
        is_damaged = read_here(frames, strings=self.strings).verdict is Verdict.DAMAGED
        self._compare_endings(Ending(here, there, theirs, self.strings, is_damaged))
        failures = [at for at in (here.failed_at, there.failed_at) if at is not None]
        if failures:
            at = min(failures)
            here = read_here(ours[:at], strings=self.strings)
            there = read_there(theirs[:at], self.surface, strings=self.strings)
        self._compare_messages(here, there)
        return self

    def _what_each_may_see(self, frames: Frames) -> tuple[Frames, Frames]:
        ours = list(frames)
        if byte_order_mark(frames):
            self.found.add("byte_order_mark")
            ours[0] = FIRST_LINE.sub(b"", ours[0], count=1)
        # Again, because nothing is seen of what comes after an error that is seen here only.
        while hidden := self._where(UNSEEN_THERE, ours):
            for number in hidden:
                ours[number] = NOTHING
        position = 0
        for number, take in enumerate(self._takes(ours)):
            if index_is_position(take, position):
                self.found.add("index_is_position")
                sse = SSE.of(take.frame)
                ours[number] = frame_of({**sse.payload, "index": position}, sse.name)
            position = len(take.snapshot.content) if take.snapshot else 0
        theirs = list(frames)
        for number in self._where(UNSEEN_HERE, ours):
            theirs[number] = NOTHING
        return tuple(ours), tuple(theirs)

    def _takes(self, frames: list[bytes]) -> list[Take]:
        return read_here(tuple(frames), strings=self.strings).takes

    def _where(
        self, differences: Iterable[Callable[[Take], bool]], frames: list[bytes]
    ) -> set[int]:
        """The numbers of the frames for which a difference holds."""
        numbers: set[int] = set()
        for difference in differences:
            for number, take in enumerate(self._takes(frames)):
                if difference(take):
                    self.found.add(difference.__name__)
                    numbers.add(min(number, len(frames) - 1))  # the end is about the last frame
        return numbers

    def _compare_endings(self, end: Ending) -> None:
        whole = {Verdict.COMPLETE, Verdict.UNTERMINATED}
        if not end.is_damaged:
            whole.add(Verdict.DAMAGED)
        if end.here.verdict in whole and not end.error:
            return
        for difference in ENDINGS:
            if difference(end):
                self.found.add(difference.__name__)
                return
        self.unexplained.append(f"{end.here.verdict} {end.here.error!r} / {end.there.error!r}")

    def _compare_messages(self, here: Here, there: There) -> None:
        if here.message is None or there.message is None:
            if here.message or there.message:
                self.unexplained.append(f"{here.message} / {there.message}")
            return
        for path, one, other in differing(here.message.to_dict(), there.message):
            member = Member(path, one, other, here.message, here.takes, self.surface, self.strings)
            for difference in MEMBERS:
                if difference(member):
                    self.found.add(difference.__name__)
                    break
            else:
                self.unexplained.append(f"{path}: {one!r:.120} / {other!r:.120}")


def differing(here: Any, there: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The members of two messages that differ: their path, and both values.

    Members of the message, of its usage and of its blocks; what is deeper is compared whole.
    """
    if path in {(), ("usage",)} or (len(path) == 2 and path[0] == "content"):
        for name in {**here, **there}:
            yield from differing(here.get(name, ABSENT), there.get(name, ABSENT), (*path, name))
    elif path == ("content",) and len(here) == len(there):
        for number, (one, other) in enumerate(zip(here, there, strict=True)):
            yield from differing(one, other, (*path, number))
    elif repr_of(here) != repr_of(there):
        yield path, here, there


def repr_of(value: Any) -> str:
    """What tells 1 from 1.0 and from True, a character from its halves, but not orders of keys."""
    return repr(value) if value is ABSENT else json.dumps(value, sort_keys=True, ensure_ascii=False)
