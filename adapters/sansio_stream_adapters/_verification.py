"""Verification: the chunks of a response that other code reads in, the error of a bad end out.

The module does no I/O, does not wait, and depends on no HTTP library.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeAlias

from attrs import frozen

from sansio_stream.errors import Limits, Verdict, ViolationCode
from sansio_stream.observer import Observer
from sansio_stream.report import Report
from sansio_stream.request import Headers, check_response
from sansio_stream.request.responses import REFUSAL_BYTES
from sansio_stream.transitions import State

from ._codings import decoder_for
from ._decoding import RESPONSE_PIECE_BYTES, DecodingError, UnknownEncodingError
from ._errors import MapError, StreamErrors

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sansio_stream.errors import APIError
    from sansio_stream.observer import BodyDecoder

    from ._recording import Recorder

__all__ = ["OnEnd", "Verification", "VerificationOptions"]

OnEnd: TypeAlias = Callable[[Report], object]
"""Takes the report of a stream that has ended. Its exceptions are logged and not raised."""

UNUSABLE: Final = frozenset(
    {
        Verdict.TRUNCATED,
        Verdict.EMPTY,
        Verdict.DAMAGED,
        Verdict.BROKEN,
        Verdict.NOT_AN_EVENT_STREAM,
    }
)
"""The verdicts of streams whose reader gets an error.

ERRORED is not among them, because the reader itself raises the error event that it reads.
"""

UNNAMED: Final = frozenset({ViolationCode.MISSING_EVENT_NAME, ViolationCode.EVENT_NAME_MISMATCH})
"""The violations of frames that are not named as their payloads are."""

STOP: Final = b"message_stop"


@frozen
class VerificationOptions:
    """Options of a verification.

    Attributes:
        on_end: called with the report of each response that has ended, or None.
        unterminated: whether a stream without message_stop is an error, if only that is missing.
        limits: the limits of the machine.
    """

    on_end: OnEnd | None = None
    unterminated: bool = False
    limits: Limits | None = None


class Verification:
    """Follows one response that other code reads, and knows which error its reader must get.

    It takes the body as it is on the wire, and decodes a copy of it in pieces of at most 64 KiB.
    The methods `chunk`, `end` and `closed` are those of an `Observer`, so a tee can notify it. No
    method raises an exception.

    After each chunk and after the end, `error` says whether the reader gets an error. Readers stop
    at message_stop. So the error of a damaged message is there as soon as its message_stop has
    come, and must be raised in the place of that chunk.

    A response with another status than 2xx is observed, but never has an error.

    Attributes:
        error: the error that the reader must get, or None.
        is_success: whether the status is 2xx.
        is_withheld: whether the reader gets no chunk of the body. This is the case for a success
            whose headers say that it is no stream. Its error is known once its body has ended, or
            after 64 KiB.

    Args:
        status: the status of the response.
        headers: the headers of the response.
        options: see `VerificationOptions`.
        map_error: see `MapError`.
        make_recorder: called if the response is a stream that can be read. Returns what writes its
            decoded body to a file, or None.
    """

    def __init__(
        self,
        status: int,
        headers: Mapping[str, str] | Iterable[tuple[str, str]],
        options: VerificationOptions,
        map_error: MapError,
        make_recorder: Callable[[], Recorder | None] = lambda: None,
    ) -> None:
        head = Headers(headers)
        self.error: APIError | None = None
        self.is_withheld = False
        self._status = status
        self._headers = head
        self._observer = Observer(status, head, limits=options.limits)
        self._machine = self._observer.machine
        self._errors = StreamErrors(status, head, self._machine, map_error)
        self._on_end = options.on_end
        self.is_success = 200 <= status < 300
        self._unusable = UNUSABLE | {Verdict.UNTERMINATED} if options.unterminated else UNUSABLE
        self._is_over = False
        self._refused_body = bytearray()
        self._tail = b""
        self._recorder: Recorder | None = None
        self._decoder: BodyDecoder | None = None
        self._unreadable: UnknownEncodingError | None = None
        is_stream = self.is_success and check_response(status, head) is None
        try:
            self._decoder = decoder_for(head.get("content-encoding", ""))
        except UnknownEncodingError as exc:
            # What cannot be read cannot be verified.
            if self.is_success:
                self._unreadable = exc
                self.error = self._errors.undecodable(str(exc))
            return
        self.is_withheld = self.is_success and not is_stream
        if is_stream:
            self._recorder = make_recorder()
        if self._recorder is not None:
            self._recorder.begin(status, head)

    def chunk(self, data: bytes | bytearray | memoryview, at: float | None = None) -> None:
        """Record bytes of the body, as they are on the wire. See `Observer.chunk`."""
        if self._is_over or self.error is not None:
            return
        decoder = self._decoder
        if decoder is None:
            self._decoded(bytes(data), at)
            return
        decoder.receive(bytes(data))
        while decoder.has_more and self.error is None:
            try:
                piece = decoder.piece()
            except DecodingError as exc:
                self.end(exc, at)
                return
            self._decoded(piece, at)

    def _decoded(self, data: bytes, at: float | None) -> None:
        self._observer.chunk(data, at)
        if self._recorder is not None:
            for start in range(0, len(data), RESPONSE_PIECE_BYTES):
                self._recorder.chunk(data[start : start + RESPONSE_PIECE_BYTES])
        if self.is_withheld:
            self._refused_body += data[: REFUSAL_BYTES - len(self._refused_body)]
            if len(self._refused_body) == REFUSAL_BYTES:
                self._refuse()
        elif self._machine.verdict is not Verdict.PENDING:
            self._judge(None)
        elif self._machine.first_loss is not None and self._stops_without_message(data):
            self.end(None, at)

    def _stops_without_message(self, data: bytes) -> bool:
        """Whether there is no message_start, and now a message_stop.

        The machine skips such a message_stop, but readers stop at it. Asked after a loss only.
        """
        if self._machine.state is not State.WAITING:
            return False
        seen = self._tail + data
        self._tail = seen[-len(STOP) :]
        return STOP in seen

    def end(self, exc: Exception | None = None, at: float | None = None) -> None:
        """Record the end of the body. See `Observer.end`."""
        if self._is_over:
            return
        if exc is None and self._decoder is not None:
            exc = self._decoder.end()
        self._observer.end(exc, at)
        if self.is_withheld:
            self._refuse()
        else:
            self._judge(exc)
        self._conclude(None if exc is None else self._errors.recorded_text(exc))

    def closed(self, at: float | None = None) -> None:
        """Record that the reader stopped reading. See `Observer.closed`."""
        if self._is_over:
            return
        if self._unreadable is None:
            self._observer.closed(at)
        else:
            self._observer.end(self._unreadable, at)
        self._conclude("closed by the reader")

    def own_error(self, exc: Exception) -> APIError:
        """Return our error for an exception of the body, which `end` was told."""
        return self.error or self._errors.of_source(exc)

    def _judge(self, exc: Exception | None) -> None:
        """Set the error if the verdict of the machine demands one."""
        if self.error is None and self.is_success:
            verdict = self._machine.verdict
            if verdict in self._unusable or (verdict is Verdict.ERRORED and self._has_unnamed):
                self.error = self._errors.failure_of_stream(exc) or self._errors.unterminated()

    @property
    def _has_unnamed(self) -> bool:
        """Whether a frame has no name or another one. Not every reader sees such an error event.

        The official SDK skips a frame without a name, so the answer would seem to be whole.
        """
        return any(violation.code in UNNAMED for violation in self._machine.violations)

    def _refuse(self) -> None:
        """Set the error of a success that is no stream."""
        if self.error is None:
            self.error = check_response(self._status, self._headers, bytes(self._refused_body))

    def _conclude(self, error: str | None) -> None:
        """End the recording, and pass the report on. `error` is the end as the recording says it.

        After message_stop nothing is missing, so the recording gets no error.
        """
        self._is_over = True
        if self._recorder is not None:
            self._recorder.end(None if self._machine.state is State.DONE else error)
        if self._on_end is not None:
            try:
                self._on_end(self._observer.report)
            except Exception:
                logging.getLogger(__name__).exception("on_end raised an exception")
