"""Observer: follows a response that other code reads. Chunks and their times in, a report out.

The observer has no clock: the caller passes the times in. Its methods raise no exception, because
an exception would break the code that it only observes.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Any, Final, Protocol

from .errors import APIStatusError, Limits, NotAnEventStreamError, Verdict, printable
from .events import ErrorEvent
from .machine import StreamMachine
from .report import Report, facts_of
from .request.headers import Headers
from .request.responses import REFUSAL_BYTES, check_response
from .timing import Timing, known, seconds_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from .capture import Capture, CaptureEnd, CaptureHeader
    from .report import Ended

__all__ = ["BodyDecoder", "Observer", "report_of"]


PENDING_CHUNKS: Final = 64
PENDING_BYTES: Final = 2_048
"""The observer reads its stored chunks as soon as it has `PENDING_CHUNKS` of them. It also reads
them if a chunk has more than `PENDING_BYTES` bytes. It reads such a chunk immediately, too.
"""


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
    called. Only the constructor raises one, if an argument has the wrong type. Calls after the end
    are ignored. An observer is not thread-safe.

    Cost: that of the machine, plus a quarter or less. Up to 64 small chunks are stored and then
    read at once, so the work of a call varies. Memory: that of the machine, up to 128 KiB of stored
    chunks and the same again while they are read, and 8 bytes for each chunk that had content and a
    time. With a decoder, also its cost and one decoded piece.

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
        total = (limits or Limits()).total_bytes
        self._most_bytes = math.inf if total is None else total
        self._timing = Timing(self._machine, stall)
        self._ended: Ended = "pending"
        self._end_at: float | None = None
        self._chunks = 0
        # Whether the machine gets the bytes: the response is a stream without a fatal error so far.
        self._is_read = self._is_stream
        # Whether the next chunk is only stored. Chunks are read several at once, joined, for two
        # reasons. The machine reads 64 small chunks with a fifth fewer instructions if they are
        # one. Other code runs between two calls, so the code and the data of the machine must be
        # loaded into the caches of the processor again. When each chunk was read immediately, a
        # gateway took 1.19 times the CPU time of one without an observer. `machine` and `report`
        # first read the stored chunks, so the delay is not visible.
        self._is_direct = False
        self._pending: list[tuple[bytes, float]] = []
        self._is_shown = False
        self._head = bytearray()
        # The number of bytes that the machine did not get.
        self._other_bytes = 0
        # The columns about the exception that ended the body. The exception itself is not kept,
        # because its traceback would keep the reader's frames and their variables alive.
        self._failure: dict[str, Any] = {}
        self._decoder: BodyDecoder | None = None
        # Whether `make_decoder` raised an exception, so that the stream cannot be decoded. Then the
        # end of the body tells nothing about the stream.
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

    @property
    def machine(self) -> StreamMachine:
        """The machine that reads the observed bytes. Read its attributes, but pass it no data.

        Once this was read, the observer reads each chunk immediately, which costs more.
        """
        self._is_shown = True
        self._is_direct = False
        self._flush()
        return self._machine

    def chunk(self, data: bytes | bytearray | memoryview, at: float | None = None) -> None:
        """Record bytes of the body.

        Args:
            data: the bytes after content-decoding (with `make_decoder`: before it), cut anywhere.
                Values of other types are ignored.
            at: the time at which they came, in seconds since the request was sent. None if it is
                not known.
        """
        if type(at) is not float:
            at = seconds_of(at)
        if self._is_direct and type(data) is bytes and data and len(data) <= PENDING_BYTES:
            pending = self._pending
            pending.append((data, at))
            if len(pending) == PENDING_CHUNKS:
                self._flush()
        else:
            self._take_other(data, at)

    def _take_other(self, data: bytes | bytearray | memoryview, at: float) -> None:
        """Take a chunk that is not to be stored: the first one, for example, or an encoded one."""
        if type(data) is not bytes:
            try:
                data = bytes(data) if isinstance(data, bytearray | memoryview) else b""
            except ValueError:  # a memoryview that was released
                data = b""
        if not data or self._ended != "pending":
            return
        self._flush()
        if not self._chunks:
            self._timing.began(at)
        if self._decoder is not None:
            self._chunks += 1
            self._decode(self._decoder, data, at)
        else:
            self._pending.append((data, at))
            self._flush()
            self._is_direct = self._is_read and not self._is_shown

    def _flush(self) -> None:
        """Read the stored chunks."""
        pending = self._pending
        if not pending:
            return
        data = b"".join([chunk for chunk, _ in pending])
        if b"\r" not in data:
            self._take(data, len(pending))
            return
        # A CR at the end of a chunk ends a line at once. In joined chunks, an LF after it would
        # belong to the same line end, and then the later chunk would seem to end the line.
        for chunk, _ in [*pending]:
            self._take(chunk, 1)

    def _take(self, data: bytes, count: int) -> None:
        """Read the first `count` stored chunks at once. `data` is all of them, joined."""
        before = self._bytes
        try:
            self._read_or_keep(data, self._pending[:count])
        finally:  # after Ctrl-C, chunks that the machine did not get stay stored
            taken = count if self._bytes > before else 0
            self._chunks += taken
            del self._pending[:taken]

    def _read_or_keep(self, data: bytes, chunks: list[tuple[bytes, float]]) -> None:
        """Pass bytes after content-decoding to the machine, or keep them if it takes no more.

        Args:
            data: the chunks, joined.
            chunks: the chunks, each with its time.
        """
        if not self._is_read:
            self._keep(data)
        elif not self._timing.take(self._machine.receive_data, data, chunks):
            self._break()

    @property
    def _bytes(self) -> int:
        """The number of bytes after content-decoding."""
        return self._timing.received + self._other_bytes

    def _lose_rest(self, exc: BaseException | None, at: float) -> None:
        """Pass the end of the body to the machine."""
        self._timing.take_rest(self._machine.connection_lost, exc, at)

    def _break(self) -> None:
        """Record that the machine takes no more bytes, because of a fatal error."""
        self._is_read = False
        self._is_direct = False

    def _keep(self, data: bytes) -> None:
        """Count bytes that the machine does not get. Keep the first ones if it gets none."""
        self._other_bytes += len(data)
        if not self._is_stream:
            self._head += data[: REFUSAL_BYTES - len(self._head)]

    def _decode(self, decoder: BodyDecoder, data: bytes, at: float) -> None:
        """Decode a chunk, and pass its pieces on one by one."""
        try:
            decoder.receive(data)
            while decoder.has_more:
                piece = decoder.piece()
                self._read_or_keep(piece, [(piece, at)])
                if self._bytes > self._most_bytes:
                    self._decoder = NoDecoder()  # the rest may be a decompression bomb
                    return
        except Exception as exc:  # noqa: BLE001  (a foreign decoder, and an observer must not raise)
            self._lose(exc, at)

    def _lose(self, exc: Exception, at: float) -> None:
        """Record that the body cannot be decoded from here on."""
        self._decoder = NoDecoder()
        self._failure = error_facts(exc)
        if self._is_stream:
            self._lose_rest(exc, at)

    def end(self, exc: BaseException | None = None, at: float | None = None) -> None:
        """Record the end of the body: normally, or by the exception that broke the connection.

        Args:
            exc: the exception, or None for a normal end.
            at: the time of the end, in seconds since the request was sent, or None.
        """
        if self._ended != "pending":
            return
        self._flush()
        ended: Ended = "eof" if exc is None else "error"
        time = seconds_of(at)
        self._end_at = known(time)
        if exc is None:
            exc = None if self._decoder is None else end_of(self._decoder)
        # An earlier error of the decoder stays, because it came before the end of the connection.
        # But the error of `make_decoder` (`_is_opaque`) gives way to the error of the connection.
        if exc is not None and (self._is_opaque or not self._failure):
            self._failure = error_facts(exc)
        if self._is_stream and not self._is_opaque:
            self._lose_rest(exc, time)
        self._is_direct = False
        self._ended = ended  # last: if Ctrl-C came before, the end may be recorded again

    def closed(self, at: float | None = None) -> None:
        """Record that the reader stopped reading, so the rest of the body is unknown.

        Args:
            at: the time at which it stopped, in seconds since the request was sent, or None.
        """
        if self._ended == "pending":
            self._flush()
            self._ended = "reader"
            self._is_direct = False
            self._end_at = known(seconds_of(at))

    @property
    def report(self) -> Report:
        """The report as of now.

        Cost: linear in the blocks and in the kept violations. The gaps are sorted.
        """
        self._flush()
        facts: dict[str, Any] = {
            "ended": self._ended,
            "http_status": self._status,
            "request_id": self._headers.get("request-id"),
            "bytes": self._bytes,
            "chunks": self._chunks,
            "end": self._end_at,
        }
        if self._is_stream:
            facts.update(facts_of_stream(self._machine, self._timing))
        elif self._ended != "pending":
            facts.update(self._facts_of_error())
        return Report(**{**self._failure, **facts})

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


def facts_of_stream(machine: StreamMachine, timing: Timing) -> Iterator[tuple[str, Any]]:
    """Yield the columns of a report that describe a stream."""
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
    yield from timing.facts(tokens)


class NoDecoder:
    """A decoder that drops all bytes, for a body of which nothing more is read."""

    @property
    def has_more(self) -> bool:
        """False, because no bytes are kept."""
        return False

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
    observer = observer_of(capture.header, limits=limits, stall=stall)
    for chunk in capture.chunks:
        observer.chunk(chunk.data, chunk.at)
    observe_end(observer, capture.end)
    return observer.report


def observer_of(header: CaptureHeader, *, limits: Limits | None, stall: float) -> Observer:
    """Return the observer of a recorded stream. A stream without a status counts as a 200."""
    return Observer(header.status or 200, header.headers, limits=limits, stall=stall)


def observe_end(observer: Observer, end: CaptureEnd | None) -> None:
    """Tell an observer how the body ended. None means that the recording was cut off."""
    if end is not None:
        observer.end(None if end.error is None else ConnectionError(end.error), end.at)
