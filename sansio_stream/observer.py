"""Observer: follows a response that other code reads. Chunks and their times in, a report out.

The observer has no clock: the caller passes the times in. It never raises an exception, because an
exception would break the code that it only observes.
"""

from __future__ import annotations

import math
from array import array
from collections import Counter
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

from .errors import APIError, APIStatusError, NotAnEventStreamError, Verdict, printable
from .events import ContentBlockDeltaEvent, ContentBlockStartEvent, ErrorEvent, TextDelta
from .losses import PROGRESS, carries_content
from .machine import StreamMachine
from .message import TextBlock
from .report import Report, Stall, facts_of
from .request.headers import Headers
from .request.responses import REFUSAL_BYTES, check_response

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from .capture import Capture
    from .errors import Limits
    from .events import MessageStreamEvent
    from .report import Ended

__all__ = ["BodyDecoder", "Observer", "report_of"]

MOST_STALLS: Final = 100
"""The number of stalls that are listed. All stalls are counted."""

Place: TypeAlias = "tuple[int, int | None]"
"""The number of an event, and the offset of its frame in the body (None if it had no frame)."""

UNKNOWN: Final = math.nan
"""A time that is not known. Every comparison with it is false."""


class BodyDecoder(Protocol):
    """A decoder of one `content-encoding`, which an `Observer` can use. It returns bounded pieces.

    The core has none. `sansio_stream_adapters.decoder_for` makes one.
    """

    def receive(self, data: bytes, /) -> None:
        """Take bytes of the body, split anywhere. Called only while `has_more` is false."""
        ...

    @property
    def has_more(self) -> bool:
        """Whether received bytes are not decoded yet. Decoding them may return nothing."""
        ...

    def piece(self) -> bytes:
        """Return the next decoded bytes. Raises any exception if the bytes are faulty."""
        ...

    def end(self) -> Exception | None:
        """Return the error if the body ends here, or None if its encoded data is complete."""
        ...


class Observer:
    """An observer of one response that other code reads. It turns chunks and times into a report.

        observer = Observer(response.status_code, response.headers)
        for chunk in response.iter_bytes():
            observer.chunk(chunk, at=clock() - sent_at)
            ...                                          # pass the chunk on
        observer.end(at=clock() - sent_at)
        observer.report                                  # `observer.machine` has the details

    The status and the headers tell the observer whether the response is a stream, an error or
    something else. If it is not a stream, the observer keeps only the first 64 KiB of the body.

    No method raises an exception, whatever its arguments are and in whatever order the methods are
    called. Calls after the end are ignored. An observer is not thread-safe.

    Cost: that of the machine, plus a few instructions for each event that brings content. Memory:
    that of the machine, plus 8 bytes for each chunk that had content and a time. With a decoder,
    also its cost and one decoded piece.

    Args:
        status: the HTTP status of the response.
        headers: the headers of the response, with names in any case.
        limits: the bounds on what the machine holds. `total_bytes` counts decoded bytes.
        strict: whether the machine is strict, so that nearly every violation is fatal to it.
        stall: a pause without content that is longer than this many seconds is a stall.
        make_decoder: given if the chunks still have their `content-encoding`. It is called with the
            value of that header ("" without one), and returns a decoder, or None if nothing is
            encoded. The observer decodes a copy of each chunk. If the function raises an exception,
            the observer decodes nothing, and the report has the exception. If the decoder raises
            one, the observer reads no further, and the stream counts as cut there.
    """

    def __init__(
        self,
        status: int = 200,
        headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
        *,
        limits: Limits | None = None,
        strict: bool = False,
        stall: float = 2.0,
        make_decoder: Callable[[str], BodyDecoder | None] | None = None,
    ) -> None:
        self._status = status
        self._headers = Headers(headers)
        self._is_stream = check_response(status, self._headers) is None
        self._machine = StreamMachine(strict=strict, limits=limits)
        self._timing = Timing(stall)
        self._ended: Ended = "pending"
        self._end_at: float | None = None
        self._chunks = 0
        # Whether the machine gets each chunk as it is.
        self._is_read = self._is_stream
        self._is_broken = False
        self._head = bytearray()
        # The number of bytes that the machine did not get.
        self._other_bytes = 0
        # The columns about the exception that ended the body. The exception itself is not kept,
        # because its traceback would keep the reader's frames and their variables alive.
        self._failure: dict[str, Any] = {}
        self._decoder: BodyDecoder | None = None
        # Whether the encoding is unknown. Then the end of the body tells nothing about the stream.
        self._is_opaque = False
        if make_decoder is not None:
            self._make_decoder(make_decoder)

    def _make_decoder(self, make_decoder: Callable[[str], BodyDecoder | None]) -> None:
        try:
            self._decoder = make_decoder(self._headers.get("content-encoding", ""))
        except Exception as exc:  # noqa: BLE001  (a foreign function, and an observer must not raise)
            self._failure = error_facts(exc)
            self._is_opaque = self._is_stream
        if self._is_opaque:
            self._decoder = NoDecoder()
        self._is_read = self._is_stream and self._decoder is None

    @property
    def machine(self) -> StreamMachine:
        """The machine that reads the observed bytes. Read its attributes, but pass it no data."""
        return self._machine

    def chunk(self, data: bytes | bytearray | memoryview, at: float | None = None) -> None:
        """Record bytes of the body.

        Args:
            data: the bytes after content-decoding (with `make_decoder`: before it), cut anywhere.
                Values of other types are ignored.
            at: the time at which they came, in seconds since the request was sent. None if it is
                not known.
        """
        if type(data) is not bytes:
            data = bytes(data) if isinstance(data, bytearray | memoryview) else b""
        if not data:
            return
        if self._ended != "pending":
            return
        if type(at) is not float:
            at = seconds_of(at)
        if not self._chunks:
            self._timing.first_byte = known(at)
        self._chunks += 1
        if self._is_read:
            self._take(self._machine.receive_data(data), at)
        elif self._decoder is None:
            self._take_decoded(data, at)
        else:
            self._decode(self._decoder, data, at)

    def _take_decoded(self, data: bytes, at: float) -> None:
        """Take bytes after content-decoding, whatever the response is."""
        if self._is_stream and not self._is_broken:
            self._take(self._machine.receive_data(data), at)
            return
        self._other_bytes += len(data)
        if not self._is_stream:
            self._head += data[: REFUSAL_BYTES - len(self._head)]

    def _decode(self, decoder: BodyDecoder, data: bytes, at: float) -> None:
        """Decode a chunk, and take its pieces one by one. None of them is kept."""
        try:
            decoder.receive(data)
            while decoder.has_more:
                if piece := decoder.piece():
                    self._take_decoded(piece, at)
                if self._is_broken or len(self._head) == REFUSAL_BYTES:
                    # The report has all that it needs. The rest may be a bomb.
                    self._decoder = NoDecoder()
                    return
        except Exception as exc:  # noqa: BLE001  (a foreign decoder, and an observer must not raise)
            self._lose(exc, at)

    def _lose(self, exc: Exception, at: float) -> None:
        """Record that the body cannot be decoded from here on."""
        self._decoder = NoDecoder()
        self._failure = error_facts(exc)
        if self._is_stream:
            self._take(self._machine.connection_lost(exc), at)

    def end(self, exc: BaseException | None = None, at: float | None = None) -> None:
        """Record the end of the body: normally, or by the exception that broke the connection.

        Args:
            exc: the exception, or None for a normal end.
            at: the time of the end, in seconds since the request was sent, or None.
        """
        if self._ended != "pending":
            return
        self._ended = "eof" if exc is None else "error"
        time = seconds_of(at)
        self._end_at = known(time)
        if exc is None:
            exc = None if self._decoder is None else end_of(self._decoder)
        # A body that could not be decoded was lost before its connection.
        if exc is not None and (self._is_opaque or not self._failure):
            self._failure = error_facts(exc)
        if self._is_stream and not self._is_opaque:
            self._take(self._machine.connection_lost(exc), time)

    def closed(self, at: float | None = None) -> None:
        """Record that the reader stopped reading, so the rest of the body is unknown.

        Args:
            at: the time at which it stopped, in seconds since the request was sent, or None.
        """
        if self._ended == "pending":
            self._ended = "reader"
            self._end_at = known(seconds_of(at))

    def _take(self, events: Iterator[MessageStreamEvent], at: float) -> None:
        """Take events that came at the same time, and record the times of content.

        One loop takes the events of a chunk, and nearly all chunks end in the first branch below
        it. With one call for each event, observing took 2.7 times as long as the machine alone.
        """
        timing = self._timing
        gap = at - timing.last_content
        count = 0
        place: Place | None = None
        try:
            for event in events:
                if type(event) is ContentBlockDeltaEvent:
                    delta = event.delta
                    if type(delta) is TextDelta:
                        if not delta.text:
                            continue
                        if timing.first_text is None:
                            timing.first_text = at
                    elif not PROGRESS[type(delta)](delta):
                        continue
                elif type(event) is ContentBlockStartEvent and carries_content(event):
                    if timing.first_text is None and type(event.content_block) is TextBlock:
                        timing.first_text = at
                else:
                    continue
                count += 1
                if place is None and gap > timing.stall:
                    place = self._machine.event_number, self._machine.byte_offset
        except APIError:
            # The machine keeps a fatal error, and the report reads it from there.
            self._is_broken = True
            self._is_read = False
        if timing.first_event is None and self._machine.events_taken:
            timing.first_event = known(at)
        if count == 1 and 0.0 < gap < timing.stall:
            timing.gaps.append(gap)
            timing.last_content = at
        elif count:
            timing.content(at, count, place)

    @property
    def report(self) -> Report:
        """The report as of now.

        Cost: joins the blocks that grew since the last report, and sorts the gaps.
        """
        facts: dict[str, Any] = {
            "ended": self._ended,
            "http_status": self._status,
            "request_id": self._headers.get("request-id"),
            "bytes": self._machine.bytes_received + self._other_bytes,
            "chunks": self._chunks,
            "end": self._end_at,
        }
        if self._is_stream:
            facts.update(self._facts_of_stream())
        elif self._ended != "pending":
            facts.update(self._facts_of_error())
        return Report(**{**self._failure, **facts})

    def _facts_of_stream(self) -> Iterator[tuple[str, Any]]:
        machine = self._machine
        yield "verdict", machine.verdict
        yield "events", machine.events_taken
        message = machine.snapshot
        if message is not None:
            yield from facts_of(message).items()
        violations = machine.violations
        yield "violation_count", machine.violation_count
        yield "violations", dict(Counter(str(violation.code) for violation in violations))
        if violations:
            yield "first_violation_code", str(violations[0].code)
            yield "first_violation_offset", violations[0].byte_offset
        loss = machine.first_loss
        if loss is not None:
            yield "first_loss_code", str(loss.code)
            yield "first_loss_offset", loss.byte_offset
        error = machine.error
        if isinstance(error, ErrorEvent):
            yield "error_type", error.error_type
            yield "error_message", printable(error.message)
        elif error is not None:
            yield from error_facts(error).items()
        tokens = message.usage.output_tokens if message and message.stop_reason else None
        yield from self._timing.facts(tokens)

    def _facts_of_error(self) -> dict[str, Any]:
        error = check_response(self._status, self._headers, bytes(self._head))
        assert error is not None, "the status and headers alone have already ruled out a stream"
        is_other = isinstance(error, NotAnEventStreamError)
        facts = error_facts(error)
        if isinstance(error, APIStatusError) and error.type is not None:
            facts["error_type"] = error.type
        return {
            **facts,
            "verdict": Verdict.NOT_AN_EVENT_STREAM if is_other else Verdict.ERRORED,
            "first_byte": self._timing.first_byte,
        }


class NoDecoder:
    """A decoder that drops all bytes, for a body of which nothing more is read."""

    has_more: Final = False

    def receive(self, data: bytes, /) -> None:
        """Drop the bytes."""

    def piece(self) -> bytes:
        """Return no bytes."""
        return b""

    def end(self) -> None:
        """Return None, because nothing was lost by the end."""


def end_of(decoder: BodyDecoder) -> Exception | None:
    """Return the error if the body ends here, or None if its encoded data is complete."""
    try:
        return decoder.end()
    except Exception as exc:  # noqa: BLE001  (a foreign decoder, and an observer must not raise)
        return exc


class Timing:
    """Collects the times of content: times of chunks in, gaps and stalls out.

    `Observer` writes the public attributes itself where a call would cost too much.

    Args:
        stall: a longer gap is a stall, in seconds.

    Attributes:
        stall: the same.
        first_byte: the time of the first byte, or None.
        first_event: the time of the first event, or None.
        first_text: the time of the first text, or None.
        last_content: the time of the last content, or `UNKNOWN` before it.
        gaps: the gaps between content events, except those of length 0.
    """

    __slots__ = (
        "_first_content",
        "_stall_count",
        "_stalls",
        "_zero_gaps",
        "first_byte",
        "first_event",
        "first_text",
        "gaps",
        "last_content",
        "stall",
    )

    def __init__(self, stall: float) -> None:
        self.stall = stall
        self.first_byte: float | None = None
        self.first_event: float | None = None
        self.first_text: float | None = None
        self.last_content = UNKNOWN
        self.gaps = array("d")
        self._first_content: float | None = None
        self._zero_gaps = 0
        self._stalls: list[Stall] = []
        self._stall_count = 0

    def content(self, at: float, count: int, place: Place | None) -> None:
        """Record that one chunk completed `count` events with content.

        Args:
            at: the time of the chunk.
            count: the number of events, at least 1.
            place: the number of the first event and the offset of its frame if the gap before it is
                a stall, else None.
        """
        if known(at) is None:
            self.first_text = self.first_text and known(self.first_text)
            return
        gap = at - self.last_content
        self.last_content = at
        self._zero_gaps += count - 1
        if self._first_content is None:
            self._first_content = at
        elif gap <= 0.0:  # Some clocks go back. Such a gap counts as 0.
            self._zero_gaps += 1
        elif gap < math.inf:  # The difference of two finite times may be too large for a float.
            self.gaps.append(gap)
            if place is not None:
                self._stall_count += 1
                if len(self._stalls) < MOST_STALLS:
                    self._stalls.append(Stall(at, gap, *place))

    def facts(self, output_tokens: int | None) -> Iterator[tuple[str, Any]]:
        """Yield the columns of a report that describe times.

        Args:
            output_tokens: the number of output tokens, or None if it is not final.
        """
        yield "first_byte", self.first_byte
        yield "first_event", self.first_event
        yield "first_content", self._first_content
        yield "first_text", self.first_text
        yield "last_content", known(self.last_content)
        gaps = sorted(self.gaps)
        if gaps or self._zero_gaps:
            yield "gap_p50", self._percentile(gaps, 50)
            yield "gap_p95", self._percentile(gaps, 95)
            yield "gap_max", self._percentile(gaps, 100)
        yield "stall_count", self._stall_count
        yield "stalls", tuple(self._stalls)
        first, last = self._first_content, self.last_content
        if output_tokens is not None and first is not None and last > first:
            yield "output_tokens_per_second", rate(output_tokens, last - first)

    def _percentile(self, gaps: list[float], percent: int) -> float:
        """Return a percentile by nearest rank.

        It is the smallest gap such that at least `percent` % of all gaps are not longer. The gaps
        of length 0 are counted, but are not in the list.
        """
        rank = math.ceil(percent * (len(gaps) + self._zero_gaps) / 100)
        return gaps[rank - 1 - self._zero_gaps] if rank > self._zero_gaps else 0.0


def rate(tokens: int, seconds: float) -> float | None:
    """Return tokens per second, or None if the result is too large for a float."""
    try:
        return tokens / seconds
    except OverflowError:
        return None


def seconds_of(at: object) -> float:
    """Return `at` as a float, or `UNKNOWN` if it is not a number or too large for a float."""
    if isinstance(at, int | float) and not isinstance(at, bool):
        try:
            return float(at)
        except OverflowError:
            return UNKNOWN
    return UNKNOWN


def known(at: float) -> float | None:
    """Return a time, or None if it is not finite."""
    return at if math.isfinite(at) else None


def error_facts(error: BaseException) -> dict[str, Any]:
    """Return the columns of a report that describe an exception."""
    try:
        message = str(error)
    except Exception:  # noqa: BLE001  (a foreign `__str__` may raise, but an observer must not)
        message = ""
    return {"error_type": type(error).__name__, "error_message": printable(message)}


def report_of(capture: Capture, *, limits: Limits | None = None, stall: float = 2.0) -> Report:
    """Return the report of a recorded stream.

    If the recording itself was cut, the capture has no end and `ended` is "pending". If the body
    broke off, the error of the report is the one that the capture recorded.

    Args:
        capture: the recording.
        limits: the bounds on what the machine holds.
        stall: a pause without content that is longer than this many seconds is a stall.
    """
    header = capture.header
    observer = Observer(header.status or 200, header.headers, limits=limits, stall=stall)
    for chunk in capture.chunks:
        observer.chunk(chunk.data, chunk.at)
    if capture.end is not None:
        lost = None if capture.end.error is None else ConnectionError(capture.end.error)
        observer.end(lost, capture.end.at)
    return observer.report
