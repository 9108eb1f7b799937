"""A stream without its read loop: received bytes in; events, the end or an error out.

The module does no I/O, does not wait, and depends on no HTTP library.
"""

from __future__ import annotations

import contextlib
import enum
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypedDict

from attrs import frozen

from sansio_stream.errors import (
    APIError,
    APIStatusError,
    IncompleteMessageError,
    Verdict,
    copy_for_raise,
)
from sansio_stream.events import (
    ContentBlockDeltaEvent,
    ErrorEvent,
    MessageStopEvent,
    MessageStreamEvent,
    PingEvent,
    UnknownEvent,
)
from sansio_stream.losses import shows_progress
from sansio_stream.machine import StreamMachine
from sansio_stream.request import (
    BODY_NEEDED,
    BodyNeeded,
    FirstFrame,
    Headers,
    check_response,
)
from sansio_stream.request.responses import REFUSAL_BYTES
from sansio_stream.transitions import State

from ._decoding import RESPONSE_PIECE_BYTES, STEP_COST, Decoder, DecodingError, UnknownEncodingError
from ._errors import MapError, StreamErrors
from ._recording import Recorder
from ._texts import TextPieces
from ._timeout import Deadline, Timeout

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sansio_stream.errors import Limits

    from ._recording import RecordTo

__all__ = [
    "RESPONSE_PIECE_BYTES",
    "CoreOptions",
    "Head",
    "ReadSignal",
    "Response",
    "StreamCore",
    "StreamOptions",
]

WillRetry: TypeAlias = Callable[[APIStatusError], bool]
"""Takes the error of a response, and returns whether its request will be sent again."""

NO_EVENTS: Final[Iterator[MessageStreamEvent]] = iter(())

# The machine gets at most this many bytes at once. 64 KiB of the shortest frames, `data` and a
# blank line, are 10,922 events and 145 ms of work. An eighth blocks an event loop only briefly.
STEP_BYTES: Final = 8_192


class CoreOptions(TypedDict, total=False):
    """Options of the machine, and of the wait for its events.

    Attributes:
        strict: See `StreamMachine`.
        limits: See `StreamMachine`.
        partial_strings: See `StreamMachine`.
        idle: The longest wait in seconds for an event that brings content. See `Timeout`. A value
            that `Timeout` does not allow raises ValueError.
        will_retry: Called if the first frame of a success is an error event. It returns whether the
            request will be sent again, which is possible because no event was returned yet. If so,
            `open` raises the error, and nothing is recorded. With this option `open` waits for the
            first frame, at most for 64 KiB. A ping and a comment are frames, too.
    """

    strict: bool
    limits: Limits | None
    partial_strings: bool
    idle: float | None
    will_retry: WillRetry | None


class StreamOptions(CoreOptions, total=False):
    """Options of any stream; see also `CoreOptions`.

    Attributes:
        total: Seconds from the creation of the stream to its end, or a deadline that runs already.
            It is checked after each read. If the adapter can end a read, the deadline ends it.
        record_to: A path or a binary file. The response is written to it as it arrives, and
            `sansio-stream replay` shows it. A refused response is not recorded: the error that is
            raised has the body.
    """

    total: float | Deadline | None
    record_to: RecordTo | Recorder | None


class Head(TypedDict):
    """The parts of a response that are known before its body."""

    status: int
    headers: Mapping[str, str] | Iterable[tuple[str, str]]
    response: Any


@frozen
class Response:
    """The head of a response, if the HTTP library has no class for it."""

    status_code: int
    headers: Headers


class ReadSignal(enum.Enum):
    """What `StreamCore.take` returns if there is no event."""

    NEED_DATA = "more bytes, or the next piece of a chunk, are needed"
    END_OF_STREAM = "the stream has ended"


class StreamCore:
    """One response: received bytes in; events, the end or an error out."""

    def __init__(
        self,
        head: Head,
        map_error: MapError | None,
        *,
        is_raw: bool = False,
        record_to: RecordTo | Recorder | None = None,
        strict: bool = False,
        limits: Limits | None = None,
        partial_strings: bool = True,
        idle: float | None = None,
        total: float | Deadline | None = None,
        will_retry: WillRetry | None = None,
    ) -> None:
        self.status = head["status"]
        self.headers = Headers(head["headers"])
        response = head["response"]
        self.response = Response(self.status, self.headers) if response is None else response
        self.machine = StreamMachine(strict=strict, limits=limits, partial_strings=partial_strings)
        self.is_refusing = False
        self._errors = StreamErrors(self.status, self.headers, self.machine, map_error)
        # A wrong number raises here, and not at some later read.
        Timeout(idle=idle, total=None if isinstance(total, Deadline) else total)
        self._recorder = Recorder.of(record_to)
        self._idle = idle
        self.deadline = Deadline.of(total)
        self._will_retry = will_retry
        self._first_frame: FirstFrame | None = None
        self.texts = TextPieces()
        self._waited = 0.0
        # A chunk that the machine gets in steps, and how many of its bytes the machine has.
        self._chunk = b""
        self._given = 0
        self._refused_body = b""
        self._refusal = FirstFrame(self.status, self.headers)
        self._events = NO_EVENTS
        self._has_ended = False
        self._was_closed_early = False
        self._source_error: Exception | None = None
        self._failure: APIError | None = None
        self._decoder: Decoder | None = None
        try:
            if is_raw:
                self._decoder = Decoder.of(self.headers.get("content-encoding", ""))
            self._decide(None)
        except UnknownEncodingError as exc:
            self._failure = self._errors.undecodable(str(exc))

    # Input: bytes, the end of the body, a close.

    def received(self, chunk: bytes, waited: float) -> int:
        """Process a chunk, and return its cost in bytes. `waited` is the wait for it in seconds.

        Of a chunk above `STEP_BYTES` only the first piece is processed; see `go_on`.
        """
        self._waited += waited
        if self._decoder is not None:
            self._decoder.receive(chunk)
        elif len(chunk) <= STEP_BYTES:
            self._record(chunk)
            self._receive(chunk)
            return len(chunk)
        else:
            self._chunk = chunk if type(chunk) is bytes else bytes(memoryview(chunk))
        return self.go_on()

    @property
    def has_pieces(self) -> bool:
        """Whether a chunk is not yet processed to its end."""
        return bool(self._chunk) or (self._decoder is not None and self._decoder.has_more)

    def go_on(self) -> int:
        """Process the next piece of a chunk, and return its cost in bytes.

        The cost is at most `STEP_BYTES` plus `STEP_COST`, so a caller can limit the work that
        it does at once.
        """
        cost = 0
        if not self._chunk and self._decoder is not None:
            try:
                self._chunk = self._decoder.piece()
            except DecodingError as exc:
                self.ended(exc)
                return STEP_COST
            cost = STEP_COST  # a step without output is work, too
        start = self._given
        if start % RESPONSE_PIECE_BYTES == 0:
            self._record(self._chunk[start : start + RESPONSE_PIECE_BYTES])
        piece = self._chunk[start : start + STEP_BYTES]
        self._given += len(piece)
        if self._given == len(self._chunk):
            self._chunk = b""
            self._given = 0
        self._receive(piece)
        return cost + len(piece)

    def _record(self, chunk: bytes) -> None:
        """Record at most `RESPONSE_PIECE_BYTES`, unless they belong to a refusal."""
        if self._recorder is not None and chunk and not self.is_refusing:
            self._recorder.chunk(chunk)

    def _receive(self, chunk: bytes) -> None:
        """Process at most `STEP_BYTES`."""
        if self.is_refusing:
            self._refused_body += chunk
            # A refusal that is an event stream may stay open after its error event.
            has_error = isinstance(self._refusal.receive(chunk), APIStatusError)
            if has_error or len(self._refused_body) >= REFUSAL_BYTES or self._overdue:
                self._decide(self._refused_body[:REFUSAL_BYTES])
            return
        events = self.machine.receive_data(chunk)
        self._events = NO_EVENTS if self._has_stopped else events
        if self._first_frame is not None:
            answer = self._first_frame.receive(chunk)
            if not isinstance(answer, BodyNeeded) or self._overdue:
                self._begin(answer)

    def ended(self, exc: Exception | None = None) -> None:
        """Note the end of the body, or the exception that the source raised instead."""
        self._has_ended = True
        if exc is None and self._decoder is not None:
            exc = self._decoder.end()
        if self.is_refusing:
            self._decide(self._refused_body)  # the refusal says more than how its body ended
            return
        if self._first_frame is not None:
            self._begin(self._first_frame.end())
        if self._is_over and self.deadline is not None:
            exc = self.deadline.error("stream")  # the deadline ended the read
        self._end_recording(None if exc is None else self._errors.recorded_text(exc))
        self._source_error = exc
        machine = self.machine
        self._events = machine.receive_eof() if exc is None else machine.connection_lost(exc)

    def closed(self) -> None:
        """Note that the stream is closed, and that nothing more is read."""
        self._was_closed_early = self._was_closed_early or not self._has_ended
        self._has_ended = True
        if self.is_refusing:
            self._decide(self._refused_body)
        elif self._first_frame is not None:
            self._begin(None)
        # After message_stop nothing is missing, so the recording gets no error.
        self._end_recording(None if self._has_stopped else "closed by the reader")

    def _decide(self, body: bytes | None) -> None:
        """Accept the response, refuse it, or ask for the body of the refusal first."""
        answer = check_response(self.status, self.headers, body)
        self.is_refusing = answer is BODY_NEEDED
        if isinstance(answer, APIError):
            self._failure = answer
        elif answer is None and self._will_retry is not None:
            self._first_frame = FirstFrame(self.status, self.headers)
        elif answer is None:
            self._begin(None)

    def _begin(self, first: APIStatusError | BodyNeeded | None) -> None:
        """Accept the response and start its recording, unless its request will be sent again.

        `first` is the error if the first frame is one. The machine has processed that frame.
        """
        self._first_frame = None
        if isinstance(first, APIStatusError) and self._will_retry and self._will_retry(first):
            self._failure = first
        elif self._recorder is not None:
            self._recorder.begin(self.status, self.headers)

    def _end_recording(self, error: str | None) -> None:
        if self._recorder is not None:
            self._recorder.end(error)

    @property
    def is_undecided(self) -> bool:
        """Whether the response is not yet accepted or refused, because bytes are missing."""
        return self.is_refusing or self._first_frame is not None

    @property
    def _is_over(self) -> bool:
        """Whether there is a deadline, and it has passed."""
        return self.deadline is not None and self.deadline.is_over

    @property
    def _overdue(self) -> TimeoutError | None:
        """The error if the wait for content or for the end was too long, else None."""
        if self.deadline is not None and self.deadline.is_over:
            return self.deadline.error("stream")
        if self._idle is not None and self._waited > self._idle:
            return TimeoutError(f"idle: no content for {self._waited:.1f} s")
        return None

    # Output: events, the end of the stream, an error.

    def take(self) -> MessageStreamEvent | ReadSignal:
        """Return the next event, or the signal that there is none.

        Raises:
            APIError: The stream failed. Every later call raises the same error.
        """
        event: MessageStreamEvent | None = None
        try:
            event = next(self._events, None)
        except APIError as error:
            self._failure = self._failure or error.with_traceback(None)
        if isinstance(event, ContentBlockDeltaEvent):
            # Most events are deltas. The other checks would cost as much as the rest of the loop.
            if self._idle is not None and shows_progress(event):
                self._waited = 0.0
            return event
        if event is None or isinstance(event, ErrorEvent) or self._failure is not None:
            return self._without_event()
        if isinstance(event, MessageStopEvent):
            self._events = NO_EVENTS  # later events are not returned
        if not isinstance(event, (PingEvent, UnknownEvent)):
            self._waited = 0.0
        return event

    def raise_if_refused(self) -> None:
        """Raise APIError if the response was refused, or if the stream was closed before its end.

        Received events can still be taken afterwards.
        """
        if self._failure is not None:
            self.take()
        if self._was_closed_early and self.machine.verdict is Verdict.PENDING:
            raise self._errors.closed_early()

    def _without_event(self) -> MessageStreamEvent | ReadSignal:
        """Return the signal for a missing event, or raise the APIError of a failed stream."""
        is_open = self.machine.verdict is Verdict.PENDING and self._failure is None
        # Received bytes are processed even after an idle timeout or a close. Bytes after the end of
        # the message are not processed, as if they arrived in a later read.
        if is_open and self.has_pieces and not self._is_over:
            return ReadSignal.NEED_DATA
        if is_open and not self._has_ended:
            overdue = self._overdue
            if overdue is None:
                return ReadSignal.NEED_DATA
            self.ended(overdue)
            return self.take()
        self._failure = self._failure or self._errors.failure_of_stream(self._source_error)
        if self._failure is None:
            return ReadSignal.END_OF_STREAM
        raise copy_for_raise(self._failure)

    def take_trailing(self) -> None:
        """Process what came after the message, to find the violations in it."""
        with contextlib.suppress(IncompleteMessageError):  # raised if content was lost
            self.machine.final_message()

    @property
    def _has_stopped(self) -> bool:
        """Whether message_stop was taken."""
        return self.machine.state is State.DONE

    @property
    def is_drainable(self) -> bool:
        """Whether the connection can be reused after the rest of the body is read.

        This needs message_stop, a body that has not ended, and no `connection: close` header.
        """
        if not self._has_stopped or self._has_ended:
            return False
        return "close" not in self.headers.get("connection", "").lower()

    def is_drainable_below(self, limit: int) -> bool:
        """Whether `is_drainable` is true, and fewer bytes than `limit` were received."""
        return self.is_drainable and self.machine.bytes_received < limit

    @property
    def request_id(self) -> str | None:
        """The server's identifier of the request."""
        return self.headers.get("request-id")
