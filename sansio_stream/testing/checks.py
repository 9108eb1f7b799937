"""Checks of a consumer of bytes: they find the smallest streams that it handles badly.

A consumer is a function that takes an iterable of bytes and returns the value that its users get.
The other modules call it a reader. The checks run it many times, so it must not keep any state
between two runs.
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
"""The verdicts of streams whose message a reader may report as complete. None means that the fault
of the stream does not determine its verdict.
"""


@attrs.frozen
class Finding:
    """Something that a consumer does wrong, with the smallest stream for which it does so.

    Attributes:
        fault: the name of the fault in the stream, a key of `FAULTS`. "" if the stream has no fault
            and the way of cutting makes a difference.
        complaint: what the consumer does wrong.
        chunks: the chunks of the stream.
    """

    fault: str
    complaint: str
    chunks: tuple[bytes, ...]

    def __str__(self) -> str:
        head = f"{self.fault}: {FAULTS[self.fault].description}\n  " if self.fault else ""
        return f"{head}{self.complaint}{shown(self.chunks)}"


class CheckError(AssertionError):
    """A consumer handles some streams badly.

    Attributes:
        findings: one finding for each fault that is handled badly, each with its smallest stream.
            If the way of cutting makes a difference for a legal stream, one finding says so.
    """

    def __init__(self, findings: Sequence[Finding]) -> None:
        super().__init__("\n\n".join(map(str, findings)))
        self.findings = tuple(findings)


# The outcome of a stream.


@attrs.frozen
class Outcome:
    """The result that a consumer has returned, or the exception that it has raised."""

    result: Any = None
    error: Exception | None = None

    @classmethod
    def of(cls, consume: Consume[Any], source: Iterable[bytes]) -> Outcome:
        """Call the consumer and return the outcome."""
        try:
            return cls(result=consume(source))
        except Exception as error:  # noqa: BLE001  (any exception is an outcome)
            return cls(error=error)

    def differs(self, other: Outcome) -> bool:
        """Whether two outcomes differ: in their results, or in the types of their exceptions."""
        if self.error is None and other.error is None:
            return bool(self.result != other.result)
        return type(self.error) is not type(other.error)

    def __str__(self) -> str:
        return f"returns {self.result!r}" if self.error is None else f"raises {self.error!r}"


# Cutting.


def check_chunking(consume: Consume[Any], data: bytes) -> None:
    """Check that the way in which a stream is cut makes no difference to a consumer.

    The consumer gets `data` in one piece. It gets `data` cut in each of `WAYS_TO_CUT` (for example,
    byte by byte), with and without empty chunks. It gets `data` in two pieces, cut in turn at each
    of up to 1,000 places. The results must be equal, or the exceptions must have the same type.

    Raises:
        CheckError: if a way of cutting makes a difference. The finding has as few cuts as possible.
    """
    finding = difference_by_cutting(consume, data, in_two=True)
    if finding is not None:
        raise CheckError([finding])


def difference_by_cutting(
    consume: Consume[Any], data: bytes, *, in_two: bool = False
) -> Finding | None:
    """Return a finding if a way of cutting makes a difference, else None."""
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
    """Yield the places of each way of cutting: without and with empty chunks, and in two pieces."""
    for way in WAYS_TO_CUT:
        places = places_to_cut(data, way)
        yield places
        yield [place for place in places for _ in range(2)]
    for place in range(1, len(data) if in_two else 0, len(data) // 1_000 + 1):
        yield [place]


def smallest(places: Sequence[int], differs: Callable[[Sequence[int]], bool]) -> Sequence[int]:
    """Return as few of the places as still make a difference, found in at most `TRIES` calls."""
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
"""The maximum number of calls of a consumer to find fewer cuts."""


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
    """Check that a consumer handles faults in streams correctly.

    The check makes streams with each fault that changes the bytes, from `scripts`. The consumer
    gets each stream in one piece and in chunks. The check fails unless all of this is true:

    * The result, or the type of the exception, is the same for every way of cutting.
    * The consumer raises only the exceptions in `raises`, and the one that its source has raised.
    * `completed(result)` is False if the verdict is neither COMPLETE nor UNTERMINATED.
    * `completed(result)` is True for a legal stream.
    * `tool_inputs(result)` has no input that is broken, or that differs from the correct one.

    The same streams are tried at each call.

    Args:
        consume: the consumer.
        raises: the exceptions that the consumer may raise for a broken stream.
        completed: a function that tells whether a result reports a complete message.
        tool_inputs: a function that returns the inputs of the tool calls in a result, by the id of
            the call. It returns only the calls that the users of the consumer would run.
        names: the names of the faults. By default all of `FAULTS` that change the bytes, except
            those that exceed a limit which `limits` does not change.
        limits: the limits of the consumer. Only those that differ from the default ones count.
        examples: the number of streams for each fault.
        shrink: whether to search for the smallest stream that is handled badly. If not, the first
            one is reported. The search takes about as long as everything else.
        of_scripts: `blocks`, `max_blocks`, `unknown` and `pings`, as for `scripts`.

    Raises:
        CheckError: if a fault is handled badly, with one stream for each such fault.
        ValueError: if `names` has a fault that changes the connection, or one that exceeds a limit
            which `limits` does not change.
    """
    around = [name for name in names if FAULTS[name].kind != "bytes"]
    if around:
        raise ValueError(f"{', '.join(around)}: a fault of the connection is not in the bytes")
    impossible = [name for name in names if not is_possible(FAULTS[name], limits)]
    if impossible:
        raise ValueError(f"{', '.join(impossible)}: pass `limits` with the limit to exceed")
    wanted = names or [fault.name for fault in FAULTS.values() if is_possible(fault, limits)]
    wanted = [name for name in wanted if name != "nothing"]
    check = ConsumerCheck(consume, raises, completed, tool_inputs)

    def finding(name: str, **how: Any) -> list[Finding]:
        stream = first_example(
            faults(name, limits=limits, **how, **of_scripts),
            lambda each: check.complaint(each) is not None,
            examples,
            shrink=shrink,
        )
        if stream is None:
            return []
        return [Finding(name, check.complaint(stream) or "", stream.chunks)]

    # A mistake with legal streams is reported once, not again with each fault.
    legal_findings = finding("nothing", cut=False)
    differences = (difference_by_cutting(consume, body) for body in LEGAL)
    difference = next(filter(None, differences), None)
    findings = [*legal_findings, *([] if difference is None else [difference])]
    for name in wanted:
        findings += finding(name, style=PLAIN if legal_findings else None, cut=difference is None)
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
"""Legal streams in which, together, each way to cut has a place. Else they are easy to read: if a
consumer raised for a whole stream, its mistakes with chunks would stay hidden.
"""


def first_example(
    strategy: st.SearchStrategy[FaultyStream],
    condition: Callable[[FaultyStream], bool],
    examples: int,
    *,
    shrink: bool,
) -> FaultyStream | None:
    """Return a stream for which the condition is true, or None. The result is always the same."""
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
class ConsumerCheck:
    """A consumer, and the arguments of `check_faults` that describe it."""

    consume: Consume[Any]
    raises: type[Exception] | tuple[type[Exception], ...]
    completed: Callable[[Any], bool]
    tool_inputs: Callable[[Any], Mapping[str, Any]]

    def outcome(self, stream: FaultyStream, chunks: Iterable[bytes]) -> Outcome:
        """Return the outcome of a stream that arrives in these chunks."""
        end = () if stream.exception is None else (stream.exception,)
        return Outcome.of(self.consume, ByteSource([*chunks, *end]))

    def complaint(self, stream: FaultyStream) -> str | None:
        """Return what the consumer does wrong with a stream, or None."""
        whole = self.outcome(stream, [stream.data])
        complaint = self.complaint_in_one_piece(stream, whole)
        if complaint is None and len(stream.chunks) > 1:
            cut = self.outcome(stream, stream.chunks)
            if cut.differs(whole):
                return f"in one piece it {whole}, in these pieces it {cut}"
        return complaint

    def complaint_in_one_piece(self, stream: FaultyStream, outcome: Outcome) -> str | None:
        """Return what is wrong with the outcome of a stream in one piece, or None."""
        legal = stream.fault.name == "nothing"
        if outcome.error is not None:
            if legal:
                return f"a legal stream is refused: the consumer {outcome}"
            known = isinstance(outcome.error, self.raises) or outcome.error is stream.exception
            return None if known else f"the consumer {outcome}, which is not in `raises`"
        completed = self.completed(outcome.result)
        if legal and not completed:
            return "a legal stream is not reported as complete"
        if completed and stream.verdict not in USABLE:
            return f"the message is reported as complete, but the verdict is {stream.verdict.name}"
        for id, value in self.tool_inputs(outcome.result).items():
            if id in stream.broken:
                return f"the call {id} would run with {value!r}, but its input is broken"
            if stream.inputs.get(id, value) != value:
                return f"the call {id} would run with {value!r}, not with {stream.inputs[id]!r}"
        return None
