"""Checks: a consumer of bytes in; nothing, or an AssertionError with the smallest stream that it
handles badly, out.

A consumer is a function that takes an iterable of bytes and returns a value: whatever its users
get. It is called many times, so it must not keep anything between two calls.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias, TypeVar

import attrs
from hypothesis import Phase, find, settings, strategies as st
from hypothesis.errors import NoSuchExample

from ..encode import events_from_message
from ..errors import Limits, Verdict
from ..payloads import message_from_dict
from .catalogue import FAULTS
from .cutting import WAYS_TO_CUT, chunks_at, places_to_cut
from .faulty import FaultyStream, faults, is_possible, shown
from .sources import ByteSource
from .writing import PLAIN, Style

__all__ = ["CheckError", "Finding", "check_chunking", "check_faults"]

Result = TypeVar("Result")
Consume: TypeAlias = Callable[[Iterable[bytes]], Result]

USABLE: Final = (Verdict.COMPLETE, Verdict.UNTERMINATED, None)
"""The verdicts of streams that a reader may take for whole; None is for what nobody can know."""


@attrs.frozen
class Finding:
    """Something that a consumer does wrong, with the smallest stream for which it does.

    Attributes:
        fault: the name of what goes wrong in the stream, a key of `FAULTS`; "" where nothing does,
            and the way of cutting makes a difference.
        complaint: what the consumer does.
        chunks: the stream, as it was cut.
    """

    fault: str
    complaint: str
    chunks: tuple[bytes, ...]

    def __str__(self) -> str:
        head = f"{self.fault}: {FAULTS[self.fault].description}\n  " if self.fault else ""
        return f"{head}{self.complaint}{shown(self.chunks)}"


class CheckError(AssertionError):
    """A consumer handles some streams badly; `findings` has one smallest example of each kind."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        super().__init__("\n\n".join(map(str, findings)))
        self.findings = tuple(findings)


# What came of a stream.


@attrs.frozen
class Outcome:
    """What a consumer returned, or what it raised."""

    result: Any = None
    error: Exception | None = None

    @classmethod
    def of(cls, consume: Consume[Any], source: Iterable[bytes]) -> Outcome:
        """Call the consumer."""
        try:
            return cls(result=consume(source))
        except Exception as error:  # noqa: BLE001  (whatever comes is what is looked at)
            return cls(error=error)

    def differs(self, other: Outcome) -> bool:
        """Whether two outcomes are not the same: other results, or errors of other types."""
        if self.error is None and other.error is None:
            return bool(self.result != other.result)
        return type(self.error) is not type(other.error)

    def __str__(self) -> str:
        return f"returns {self.result!r}" if self.error is None else f"raises {self.error!r}"


# Cutting.


def check_chunking(consume: Consume[Any], data: bytes) -> None:
    """Check that the way in which a stream is cut makes no difference to a consumer.

    `data` is consumed in one piece, byte by byte, cut at every place that matters (see
    `WAYS_TO_CUT`), with empty chunks, and in two pieces at up to 1,000 places. Results must be
    equal, or exceptions of one type.

    Raises CheckError with as few cuts as make a difference.
    """
    finding = difference_by_cutting(consume, data, in_two=True)
    if finding is not None:
        raise CheckError([finding])


def difference_by_cutting(
    consume: Consume[Any], data: bytes, *, in_two: bool = False
) -> Finding | None:
    """Return how a way of cutting makes a difference, or None."""
    whole = Outcome.of(consume, ByteSource([data]))

    def differs(places: Sequence[int]) -> bool:
        return Outcome.of(consume, ByteSource(chunks_at(data, places))).differs(whole)

    if differs(()):
        complaint = f"two readings of the same bytes are not equal: each {whole}"
        return Finding("", complaint, (data,))
    for places in ways_to_cut(data, in_two=in_two):
        if differs(places):
            chunks = tuple(chunks_at(data, smallest(places, differs)))
            cut = Outcome.of(consume, ByteSource(chunks))
            complaint = f"in one piece it {whole},\n  in {len(chunks)} pieces it {cut}"
            return Finding("", complaint, chunks)
    return None


def ways_to_cut(data: bytes, *, in_two: bool) -> Iterator[list[int]]:
    """Yield the places of each way, and those of cutting in two wherever it may be."""
    for way in WAYS_TO_CUT:
        places = places_to_cut(data, way)
        yield places
        yield [place for place in places for _ in range(2)]
    for place in range(1, len(data) if in_two else 0, len(data) // 1_000 + 1):
        yield [place]


def smallest(places: Sequence[int], differs: Callable[[Sequence[int]], bool]) -> Sequence[int]:
    """Return as few of these places as still make a difference, as far as `TRIES` show it."""
    tries = TRIES
    size = len(places)
    start = 0
    while size and tries:
        tries -= 1
        fewer = [*places[:start], *places[start + size :]]
        if differs(fewer):
            places = fewer
        else:
            start += size
        if start >= len(places):
            start, size = 0, size // 2
    return places


TRIES: Final = 1_000
"""How often a consumer is called again to find fewer cuts."""


# Faults.


def check_faults(
    consume: Consume[Result],
    *,
    raises: type[Exception] | tuple[type[Exception], ...] = (),
    completed: Callable[[Result], bool],
    tool_inputs: Callable[[Result], Mapping[str, Any]] = lambda _: {},
    names: Sequence[str] = (),
    limits: Limits | None = None,
    examples: int = 50,
    shrink: bool = True,
    **of_scripts: Any,
) -> None:
    """Check that a consumer is not fooled by what goes wrong on the way.

    For each fault of the catalogue, streams that have it are made from scripts and consumed whole
    and cut. Checked:

    * the result, or the type of the exception, is the same for every way of cutting;
    * nothing but `raises` escapes, and what the source of the bytes raised;
    * `completed(result)` is False where the verdict is neither COMPLETE nor UNTERMINATED;
    * a legal stream is completed;
    * no tool input is handed out that is not the one that was meant.

    Args:
        consume: what is checked.
        raises: what it may raise for a stream that is broken.
        completed: whether a result says that the message is whole.
        tool_inputs: the tool calls of a result that its users would run: by id, the input.
        names: of the faults; by default all of `FAULTS`, but those that exceed a limit only if that
            limit is given. ValueError for one that is named and has none.
        limits: what the consumer tolerates: the members that are not the default ones count.
        examples: how many streams are tried for each fault.
        shrink: whether the smallest stream is looked for that is handled badly; without it, the
            first one is shown. Takes about as long as everything else.
        of_scripts: `blocks`, `max_blocks`, `unknown`, `pings`, as for `scripts`.

    Raises CheckError with one stream for each fault that is handled badly. The same streams are
    tried at each call.
    """
    impossible = [name for name in names if not is_possible(FAULTS[name], limits)]
    if impossible:
        raise ValueError(f"{', '.join(impossible)}: give the limit that is exceeded")
    wanted = names or [fault.name for fault in FAULTS.values() if is_possible(fault, limits)]
    wanted = [name for name in wanted if name != "nothing"]
    examiner = Examiner(consume, raises, completed, tool_inputs)

    def finding(name: str, **how: Any) -> list[Finding]:
        stream = first_example(
            faults(name, limits=limits, **how, **of_scripts),
            lambda each: examiner.complaint(each) is not None,
            examples,
            shrink=shrink,
        )
        if stream is None:
            return []
        return [Finding(name, examiner.complaint(stream) or "", stream.chunks)]

    # What a consumer does wrong with legal streams is said once, not again with each fault.
    unread = finding("nothing", cut=False)
    miscut = next(filter(None, (difference_by_cutting(consume, body) for body in LEGAL)), None)
    findings = [*unread, *([] if miscut is None else [miscut])]
    for name in wanted:
        findings += finding(name, style=PLAIN if unread else None, cut=miscut is None)
    if findings:
        raise CheckError(findings)


LEGAL: Final = tuple(
    style.body(
        event.to_dict()
        for event in events_from_message(
            message_from_dict(
                {
                    "id": "msg_1",
                    "type": "message",
                    "role": "assistant",
                    "model": "claude-test-1",
                    "content": [{"type": "text", "text": '\u00e9 \N{PARTY POPPER}\n"\x00'}],
                    "stop_reason": "end_turn",
                    "stop_sequence": None,
                    "usage": {"input_tokens": 12, "output_tokens": 34},
                }
            ),
            [3],
        )
    )
    for style in (
        PLAIN,
        Style(ascii=True),
        Style(line_end="\r\n"),
        Style(line_end="\r"),
        Style(byte_order_mark=True),
    )
)
"""Streams with places for all ways to cut, and nothing else that is hard to read: what a consumer
raises for the whole hides what it raises for the pieces.
"""


def first_example(
    strategy: st.SearchStrategy[FaultyStream],
    condition: Callable[[FaultyStream], bool],
    examples: int,
    *,
    shrink: bool,
) -> FaultyStream | None:
    """Return a stream of which the condition is true, or None: always the same."""
    how = settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate, *([Phase.shrink] if shrink else [])],
    )
    try:
        return find(strategy, condition, settings=how)
    except NoSuchExample:
        return None


@attrs.frozen
class Examiner:
    """A consumer, what is known of it, and what there is to complain of."""

    consume: Consume[Any]
    raises: type[Exception] | tuple[type[Exception], ...]
    completed: Callable[[Any], bool]
    tool_inputs: Callable[[Any], Mapping[str, Any]]

    def outcome(self, stream: FaultyStream, chunks: Iterable[bytes]) -> Outcome:
        """Let the consumer read a stream."""
        end = () if stream.exception is None else (stream.exception,)
        return Outcome.of(self.consume, ByteSource([*chunks, *end]))

    def complaint(self, stream: FaultyStream) -> str | None:
        """Return what it does wrong, or None."""
        whole = self.outcome(stream, [stream.data])
        complaint = self.of_the_whole(stream, whole)
        if complaint is None and len(stream.chunks) > 1:
            cut = self.outcome(stream, stream.chunks)
            if cut.differs(whole):
                return f"in one piece it {whole}, in these pieces it {cut}"
        return complaint

    def of_the_whole(self, stream: FaultyStream, outcome: Outcome) -> str | None:
        """Return what is wrong with the outcome of a stream that came in one piece, or None."""
        legal = stream.fault.name == "nothing"
        if outcome.error is not None:
            if legal:
                return f"a legal stream is refused: it {outcome}"
            known = isinstance(outcome.error, self.raises) or outcome.error is stream.exception
            return None if known else f"{outcome.error!r} escapes"
        completed = self.completed(outcome.result)
        if legal and not completed:
            return "a legal stream is not taken for whole"
        if completed and stream.verdict not in USABLE:
            return f"taken for whole, but it is {stream.verdict.name}"
        for id, value in self.tool_inputs(outcome.result).items():
            if id in stream.broken:
                return f"the call {id} would run with {value!r}, but its input is broken"
            if stream.inputs.get(id, value) != value:
                return f"the call {id} would run with {value!r}, not with {stream.inputs[id]!r}"
        return None
