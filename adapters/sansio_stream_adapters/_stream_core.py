"""All of a stream but its loop: what was read goes in; events, the end or an error come out.

Reads nothing, waits for nothing, knows no HTTP library.
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
from sansio_stream.losses import brings_content
from sansio_stream.machine import StreamMachine
from sansio_stream.request import (
    BODY_NEEDED,
    BodyNeeded,
    FirstFrame,
    Headers,
    check_response,
)
from sansio_stream.transitions import State

from ._decoding import PIECE_BYTES, STEP_COST, Decoder, DecodingError, UnknownEncodingError
from ._errors import MapError, StreamErrors
from ._recording import Recorder
from ._texts import TextPieces
from ._timeout import Deadline

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sansio_stream.errors import Limits

    from ._recording import RecordTo

__all__ = [
    "PIECE_BYTES",
    "CoreOptions",
    "Head",
    "ReadSignal",
    "Response",
    "StreamCore",
    "StreamOptions",
]

WillRetry: TypeAlias = Callable[[APIStatusError], bool]
"""An error in, whether the request that it answers will be sent again out."""

NO_EVENTS: Final[Iterator[MessageStreamEvent]] = iter(())

# How much the machine is given at once. 64 KiB of frames without content, `data` and a blank line,
# are 10,922 events and 145 ms of work within one call; an eighth of it is what a loop can wait for.
STEP_BYTES: Final = 8_192

# An error's body is a sentence. More than this nobody reads, and who sends it is no API.
REFUSAL_BYTES: Final = 65_536


class CoreOptions(TypedDict, total=False):
    """What a caller may ask of the machine and of the wait for it.

    Attributes:
        strict: as for `StreamMachine`.
        limits: as for `StreamMachine`.
        idle: seconds of waiting for an event that brings content; see `Timeout`.
        will_retry: is asked, if the very first frame of a success is an error event, whether the
            request will be sent again; it may be then, because nothing was given out. Where it
            says so, `open` raises the error, and nothing is recorded. With this, `open` waits for
            the first frame (a ping and a comment count), at most for 64 KiB.
    """

    strict: bool
    limits: Limits | None
    idle: float | None
    will_retry: WillRetry | None


class StreamOptions(CoreOptions, total=False):
    """What a caller may ask of any stream; see also `CoreOptions`.

    Attributes:
        total: seconds from when the stream is made to its end, or a deadline that runs already.
            It is looked at after each read, and where a read can be ended, it ends it.
        record_to: a path, or a binary file, to write the answer to as it comes; `sansio-stream
            replay` shows it. A response that is refused is not recorded: its error has its body.
    """

    total: float | Deadline | None
    record_to: RecordTo | Recorder | None


class Head(TypedDict):
    """What is known of a response before its body."""

    status: int
    headers: Mapping[str, str] | Iterable[tuple[str, str]]
    response: Any


@frozen
class Response:
    """The head of a response, where no HTTP library has a class for it."""

    status_code: int
    headers: Headers


class ReadSignal(enum.Enum):
    """What `StreamCore.take` has instead of an event."""

    NEED_DATA = "bytes, or the next piece of a chunk"
    END_OF_STREAM = "nothing: the stream has ended"


class StreamCore:
    """All of a stream but its loop: what was read goes in, what it means comes out."""

    def __init__(
        self,
        head: Head,
        map_error: MapError | None,
        *,
        is_raw: bool = False,
        record_to: RecordTo | Recorder | None = None,
        strict: bool = False,
        limits: Limits | None = None,
        idle: float | None = None,
        total: float | Deadline | None = None,
        will_retry: WillRetry | None = None,
    ) -> None:
        self.status = head["status"]
        self.headers = Headers(head["headers"])
        response = head["response"]
        self.response = Response(self.status, self.headers) if response is None else response
        self.machine = StreamMachine(strict=strict, limits=limits)
        self.is_refusing = False
        self._errors = StreamErrors(self.status, self.headers, self.machine, map_error)
        self._recorder = Recorder.of(record_to)
        self._idle = idle
        self.deadline = Deadline.of(total)
        self._will_retry = will_retry
        self._first_frame: FirstFrame | None = None
        self.texts = TextPieces()
        self._waited = 0.0
        # Of a chunk that is given to the machine in steps: all of it, and how much was given.
        self._chunk = b""
        self._given = 0
        self._refused_body = b""
        self._refusal = FirstFrame(self.status, self.headers)
        self._events = NO_EVENTS
        self._has_ended = False
        self._was_left = False
        self._lost: Exception | None = None
        self._failure: APIError | None = None
        self._decoder: Decoder | None = None
        try:
            if is_raw:
                self._decoder = Decoder.of(self.headers.get("content-encoding", ""))
            self._decide(None)
        except UnknownEncodingError as exc:
            self._failure = self._errors.refused(str(exc))

    # In.

    def received(self, chunk: bytes, waited: float) -> int:
        """Take bytes that were waited for so many seconds; return how many were worked on.

        Of a chunk above `STEP_BYTES` these are the first; see `go_on`.
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
        """Whether a chunk was received that is not worked on to its end."""
        return bool(self._chunk) or (self._decoder is not None and self._decoder.has_more)

    def go_on(self) -> int:
        """Take the next step with a chunk that has pieces; return how many bytes that were.

        It costs what as many received bytes cost, and so nobody who calls this does more at once.
        """
        cost = 0
        if not self._chunk and self._decoder is not None:
            try:
                self._chunk = self._decoder.piece()
            except DecodingError as exc:
                self.ended(exc)
                return STEP_COST
            cost = STEP_COST  # where nothing comes out, it is work, too
        start = self._given
        if start % PIECE_BYTES == 0:
            self._record(self._chunk[start : start + PIECE_BYTES])
        piece = self._chunk[start : start + STEP_BYTES]
        self._given += len(piece)
        if self._given == len(self._chunk):
            self._chunk = b""
            self._given = 0
        self._receive(piece)
        return cost + len(piece)

    def _record(self, chunk: bytes) -> None:
        """Record at most `PIECE_BYTES`, unless they belong to a refusal."""
        if self._recorder is not None and chunk and not self.is_refusing:
            self._recorder.chunk(chunk)

    def _receive(self, chunk: bytes) -> None:
        """Take at most a step."""
        if self.is_refusing:
            self._refused_body += chunk
            # A refusal that is an event stream may stay open behind its error.
            is_told = isinstance(self._refusal.receive(chunk), APIStatusError)
            if is_told or len(self._refused_body) >= REFUSAL_BYTES or self._overdue:
                self._decide(self._refused_body[:REFUSAL_BYTES])
            return
        events = self.machine.receive_data(chunk)
        self._events = NO_EVENTS if self._has_stopped else events
        if self._first_frame is not None:
            answer = self._first_frame.receive(chunk)
            if not isinstance(answer, BodyNeeded) or self._overdue:
                self._begin(answer)

    def ended(self, exc: Exception | None = None) -> None:
        """Note that there are no more bytes; with what the source raised, if it did."""
        self._has_ended = True
        if exc is None and self._decoder is not None:
            exc = self._decoder.end()
        if self.is_refusing:
            self._decide(self._refused_body)  # what came of it says more than how it was lost
            return
        if self._first_frame is not None:
            self._begin(self._first_frame.end())
        if self._is_over and self.deadline is not None:
            exc = self.deadline.error("stream")  # what ends a read then is our doing
        self._end_recording(None if exc is None else self._errors.told(exc))
        self._lost = exc
        machine = self.machine
        self._events = machine.receive_eof() if exc is None else machine.connection_lost(exc)

    def closed(self) -> None:
        """Note that nobody will read on."""
        self._was_left = self._was_left or not self._has_ended
        self._has_ended = True
        if self.is_refusing:
            self._decide(self._refused_body)
        elif self._first_frame is not None:
            self._begin(None)
        # Behind message_stop nothing is missing.
        self._end_recording(None if self._has_stopped else "closed by the reader")

    def _decide(self, body: bytes | None) -> None:
        """Go on, refuse, or have the body read of what will be refused."""
        answer = check_response(self.status, self.headers, body)
        self.is_refusing = answer is BODY_NEEDED
        if isinstance(answer, APIError):
            self._failure = answer
        elif answer is None and self._will_retry is not None:
            self._first_frame = FirstFrame(self.status, self.headers)
        elif answer is None:
            self._begin(None)

    def _begin(self, first: APIStatusError | BodyNeeded | None) -> None:
        """Give the answer out, and record it; unless its first frame is an error which the request
        is sent again for. The machine has had all bytes of the look.
        """
        self._first_frame = None
        if isinstance(first, APIStatusError) and self._will_retry and self._will_retry(first):
            self._failure = first
        elif self._recorder is not None:
            self._recorder.begin(self.status, self.headers)

    def _end_recording(self, error: str | None) -> None:
        if self._recorder is not None:
            self._recorder.end(error)

    # Out.

    @property
    def is_undecided(self) -> bool:
        """Whether bytes must come before it is known if there is a stream to give out."""
        return self.is_refusing or self._first_frame is not None

    @property
    def _is_over(self) -> bool:
        """Whether there is a deadline, and it has passed."""
        return self.deadline is not None and self.deadline.is_over

    @property
    def _overdue(self) -> TimeoutError | None:
        """What to raise of a wait that was too long, for content or for the end."""
        if self.deadline is not None and self.deadline.is_over:
            return self.deadline.error("stream")
        if self._idle is not None and self._waited > self._idle:
            return TimeoutError(f"idle: no content for {self._waited:.1f} s")
        return None

    def take(self) -> MessageStreamEvent | ReadSignal:
        """Return the next event, or what there is instead.

        Raises what went wrong; once it has, always, and always the same.
        """
        event: MessageStreamEvent | None = None
        try:
            event = next(self._events, None)
        except APIError as error:
            self._failure = self._failure or error.with_traceback(None)
        if isinstance(event, ContentBlockDeltaEvent):
            # Nearly all of them; what is asked of the others costs as much as the rest of the loop.
            if self._idle is not None and brings_content(event):
                self._waited = 0.0
            return event
        if event is None or isinstance(event, ErrorEvent) or self._failure is not None:
            return self._without_event()
        if isinstance(event, MessageStopEvent):
            self._events = NO_EVENTS  # what stands behind it is not for the reader
        if not isinstance(event, (PingEvent, UnknownEvent)):
            self._waited = 0.0
        return event

    def raise_if_refused(self) -> None:
        """Raise what the head, and a body that is no stream, say; if they say anything.

        Raise, too, if nobody has read on to the end. What has come stays to be taken.
        """
        if self._failure is not None:
            self.take()
        if self._was_left and self.machine.verdict is Verdict.PENDING:
            raise self._errors.left_before_its_end()

    def _without_event(self) -> MessageStreamEvent | ReadSignal:
        """Return whether there will be more; raise if something went wrong."""
        is_open = self.machine.verdict is Verdict.PENDING and self._failure is None
        # What has come is looked at first, also where it was waited for too long, or nobody reads
        # on. Behind the end of the message it is not: as if it came in another read.
        if is_open and self.has_pieces and not self._is_over:
            return ReadSignal.NEED_DATA
        if is_open and not self._has_ended:
            overdue = self._overdue
            if overdue is None:
                return ReadSignal.NEED_DATA
            self.ended(overdue)
            return self.take()
        self._failure = self._failure or self._errors.failure_of_stream(self._lost)
        if self._failure is None:
            return ReadSignal.END_OF_STREAM
        raise copy_for_raise(self._failure)

    def take_trailing(self) -> None:
        """Look at what came behind the end, for the violations in it."""
        with contextlib.suppress(IncompleteMessageError):  # of a message that lost content
            self.machine.final_message()

    @property
    def _has_stopped(self) -> bool:
        """Whether message_stop was taken."""
        return self.machine.state is State.DONE

    @property
    def lingers(self) -> bool:
        """Whether message_stop is there, the end of the body is not, and behind that the connection
        may serve another request: the server does not say that it closes it.
        """
        if not self._has_stopped or self._has_ended:
            return False
        return "close" not in self.headers.get("connection", "").lower()

    def lingers_below(self, limit: int) -> bool:
        """Whether it lingers, and not so many bytes have been received."""
        return self.lingers and self.machine.bytes_received < limit

    @property
    def request_id(self) -> str | None:
        """The server's name for the request."""
        return self.headers.get("request-id")
