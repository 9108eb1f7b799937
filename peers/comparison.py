"""Compares one stream as both sides read it. "Ours" is this library, "theirs" the official client.

Frames in, the names of the differences out, and a text for each difference without a name.
"""

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
    IGNORED_BY_SDK,
    IGNORED_BY_US,
    MEMBERS,
    Ending,
    Member,
    byte_order_mark,
    index_is_position,
)
from .readers import SSE, FrameResult, Frames, Ours, Surface, Theirs, read_ours, read_theirs

WAYS: Final = ((Surface.BETA, True), (Surface.BETA, False), (Surface.GENERAL, False))
"""Pairs of a surface of the official client and whether both sides show unfinished strings.

Only the beta surface can show unfinished strings.
"""

NOTHING: Final = b":\n\n"
"""A frame without an event. It replaces a frame, so that the other frames keep their numbers."""


@attrs.define
class Comparison:
    """The comparison of one stream.

    Attributes:
        surface: the surface of the official client.
        strings: whether both sides show unfinished strings.
        found: the names of the differences of the stream.
        unexplained: a text for each difference that has no name.
    """

    surface: Surface
    strings: bool
    found: set[str] = attrs.field(factory=set)
    unexplained: list[str] = attrs.field(factory=list)

    def run(self, frames: Frames) -> "Comparison":
        """Compare, and return this object."""
        our_frames, their_frames = self._frames_of_each(frames)
        ours = read_ours(our_frames, strings=self.strings)
        theirs = read_theirs(their_frames, self.surface, strings=self.strings)
        is_damaged = read_ours(frames, strings=self.strings).verdict is Verdict.DAMAGED
        self._compare_endings(Ending(ours, theirs, their_frames, self.strings, is_damaged))
        failures = [at for at in (ours.failed_at, theirs.failed_at) if at is not None]
        if failures:
            at = min(failures)
            ours = read_ours(our_frames[:at], strings=self.strings)
            theirs = read_theirs(their_frames[:at], self.surface, strings=self.strings)
        self._compare_messages(ours, theirs)
        return self

    def _frames_of_each(self, frames: Frames) -> tuple[Frames, Frames]:
        our_frames = list(frames)
        if byte_order_mark(frames):
            self.found.add("byte_order_mark")
            our_frames[0] = FIRST_LINE.sub(b"", our_frames[0], count=1)
        # Repeated, because this library reads nothing after an error. If an error that only this
        # library recognises is removed, more frames are read.
        while hidden := self._where(IGNORED_BY_SDK, our_frames):
            for number in hidden:
                our_frames[number] = NOTHING
        position = 0
        for number, result in enumerate(self._results(our_frames)):
            if index_is_position(result, position):
                self.found.add("index_is_position")
                sse = SSE.of(result.frame)
                our_frames[number] = frame_of({**sse.payload, "index": position}, sse.name)
            position = len(result.snapshot.content) if result.snapshot else 0
        their_frames = list(frames)
        for number in self._where(IGNORED_BY_US, our_frames):
            their_frames[number] = NOTHING
        return tuple(our_frames), tuple(their_frames)

    def _results(self, frames: list[bytes]) -> list[FrameResult]:
        return read_ours(tuple(frames), strings=self.strings).results

    def _where(
        self, differences: Iterable[Callable[[FrameResult], bool]], frames: list[bytes]
    ) -> set[int]:
        """Return the numbers of the frames which have one of the differences."""
        numbers: set[int] = set()
        for difference in differences:
            for number, result in enumerate(self._results(frames)):
                if difference(result):
                    self.found.add(difference.__name__)
                    # The result after the last frame is that of the end of the stream.
                    numbers.add(min(number, len(frames) - 1))
        return numbers

    def _compare_endings(self, end: Ending) -> None:
        accepted = {Verdict.COMPLETE, Verdict.UNTERMINATED}
        if not end.is_damaged:
            accepted.add(Verdict.DAMAGED)
        if end.ours.verdict in accepted and not end.error:
            return
        for difference in ENDINGS:
            if difference(end):
                self.found.add(difference.__name__)
                return
        self.unexplained.append(f"{end.ours.verdict} {end.ours.error!r} / {end.theirs.error!r}")

    def _compare_messages(self, ours: Ours, theirs: Theirs) -> None:
        if ours.message is None or theirs.message is None:
            if ours.message or theirs.message:
                self.unexplained.append(f"{ours.message} / {theirs.message}")
            return
        for path, one, other in differing(ours.message.to_dict(), theirs.message):
            member = Member(
                path, one, other, ours.message, ours.results, self.surface, self.strings
            )
            for difference in MEMBERS:
                if difference(member):
                    self.found.add(difference.__name__)
                    break
            else:
                self.unexplained.append(f"{path}: {one!r:.120} / {other!r:.120}")


def differing(
    ours: Any, theirs: Any, path: tuple[str | int, ...] = ()
) -> Iterator[tuple[Any, ...]]:
    """Yield the members in which two messages differ: the path and both values.

    The members of the message, of its usage and of its blocks are compared one by one. A deeper
    value is compared as a whole.
    """
    if path in {(), ("usage",)} or (len(path) == 2 and path[0] == "content"):
        for name in {**ours, **theirs}:
            yield from differing(ours.get(name, ABSENT), theirs.get(name, ABSENT), (*path, name))
    elif path == ("content",) and len(ours) == len(theirs):
        for number, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            yield from differing(one, other, (*path, number))
    elif repr_of(ours) != repr_of(theirs):
        yield path, ours, theirs


def repr_of(value: Any) -> str:
    """Return a text that is equal for equal JSON values.

    It distinguishes 1, 1.0 and True, and a character from its two surrogates. It does not
    distinguish orders of keys.
    """
    return repr(value) if value is ABSENT else json.dumps(value, sort_keys=True, ensure_ascii=False)
