"""The outcome of a stream: its violations, the error that ended it, and its verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .errors import (
    APIError,
    APIStatusError,
    ErrorLatch,
    IncompleteMessageError,
    Limits,
    LocatedFlaw,
    NotAnEventStreamError,
    ProtocolError,
    Verdict,
    Violation,
    ViolationCode,
    ViolationLog,
    equivalent_status,
    status_error,
)
from .transitions import State

if TYPE_CHECKING:
    from .errors.exceptions import AnyAPIError
    from .events import ErrorEvent
    from .message import Message


class Outcome:
    """The violations of a stream, the error that ended it, and its verdict.

    Attributes:
        strict: whether nearly every violation is fatal; see `ViolationCode.is_fatal_if_strict`.
        verdict: how the stream ended; PENDING until it has ended. It changes once.
        log: the violations.
        error_event: the server's error event, or None.
        fatal: keeps the fatal error, if there was one.
        connection_error: the repr of the exception that broke the connection, or None.

    Args:
        limits: `violations` applies.
    """

    __slots__ = (
        "_blank_lines_are_missing",
        "connection_error",
        "error_event",
        "fatal",
        "log",
        "strict",
        "verdict",
    )

    def __init__(self, limits: Limits, *, strict: bool) -> None:
        self.strict = strict
        self.verdict = Verdict.PENDING
        self.log = ViolationLog(limits)
        self.error_event: ErrorEvent | None = None
        self.fatal = ErrorLatch()
        self.connection_error: str | None = None
        self._blank_lines_are_missing = False

    # Violations.

    def note(self, flaw: LocatedFlaw, event_number: int) -> bool:
        """Record a violation, or in strict mode raise it instead.

        Args:
            flaw: the violation.
            event_number: the number of the frame or payload.

        Returns:
            Whether content of the message was lost by it.

        Raises:
            ProtocolError: in strict mode, if the code has `is_fatal_if_strict`.
        """
        if self.strict and flaw.code.is_fatal_if_strict:
            raise ProtocolError(
                flaw.code.meaning, code=flaw.code, byte_offset=flaw.offset, raw=flaw.excerpt
            )
        return self.record(flaw, event_number)

    def record(self, flaw: LocatedFlaw, event_number: int) -> bool:
        """Record a violation. Return whether content of the message was lost by it."""
        if flaw.loses_content and self.verdict is not Verdict.PENDING:
            # The message has ended, so the content of this event is not part of it.
            flaw = flaw._replace(loses_content=False)
        self._blank_lines_are_missing |= flaw.code is ViolationCode.MISSING_BLANK_LINE
        self.log.add(flaw, event_number)
        return flaw.loses_content

    def needs_excerpt(self, *, loses_content: bool) -> bool:
        """Return whether the next violation will be kept or raised, and not only counted."""
        return self.strict or self.log.keeps_one_more(loses_content=loses_content)

    def count(self, *, loses_content: bool) -> bool:
        """Count a violation that is not kept. Return whether the message lost content by it."""
        self.log.count_more(1)
        return loses_content and self.verdict is Verdict.PENDING

    # The end.

    def stop(self, *, has_lost: bool) -> None:
        """Set the verdict of a message_stop: DAMAGED if content was lost, else COMPLETE."""
        self.verdict = Verdict.DAMAGED if has_lost else Verdict.COMPLETE

    def server_error(self, event: ErrorEvent) -> None:
        """Store the server's error event, and set the verdict ERRORED."""
        self.verdict = Verdict.ERRORED
        self.error_event = event

    def lost_connection(self, exc: BaseException) -> None:
        """Store the repr of the exception that broke the connection, and not the exception."""
        self.connection_error = shown(exc)

    def end(self, verdict: Verdict, *, has_lost: bool) -> None:
        """Set the verdict of the end of the body, unless the stream has a verdict already.

        Args:
            verdict: the verdict of the end, from `verdict_of_end`.
            has_lost: whether content was lost. Then a verdict in `ENDED` becomes DAMAGED.
        """
        if self.verdict is Verdict.PENDING:
            is_damaged = has_lost and verdict in ENDED
            self.verdict = Verdict.DAMAGED if is_damaged else verdict

    def break_off(self) -> None:
        """Set the verdict BROKEN after a fatal error, unless the stream has a verdict already."""
        if self.verdict is Verdict.PENDING:
            self.verdict = Verdict.BROKEN

    @property
    def accepts_message(self) -> bool:
        """Whether the verdict allows a final message."""
        is_unterminated = self.verdict is Verdict.UNTERMINATED
        return self.verdict is Verdict.COMPLETE or (is_unterminated and not self.strict)

    # Exceptions.

    def in_context(
        self, error: AnyAPIError, message: Message | None, *, has_content: bool
    ) -> AnyAPIError:
        """Set the attributes that every APIError has, and return the error.

        Args:
            error: the error to change.
            message: the message so far, or None.
            has_content: whether the message has a content block.
        """
        return error.annotate(
            partial_message=message, verdict=self.verdict, content_emitted=has_content
        )

    def failure(self, head: bytes) -> APIError:
        """Return the exception that explains why there is no final message.

        The caller completes it with `in_context`.

        Args:
            head: the first bytes of the body, for a body that is not an event stream.
        """
        if self.verdict is Verdict.ERRORED and self.error_event is not None:
            return status_error_of(self.error_event)
        if self.verdict is Verdict.NOT_AN_EVENT_STREAM:
            text = head.decode("utf-8", "replace")
            return NotAnEventStreamError(
                f"{self.verdict.value}: {text[:80]!r} (for the cause, call `check_response` with"
                " the status and the headers before reading the body)",
                raw=text,
            )
        loss = self.log.first_loss if self.verdict is Verdict.DAMAGED else None
        sentence = self.verdict.value
        if loss is not None:
            sentence += f": {loss.code.meaning} ({place_of(loss)})"
        elif self._blank_lines_are_missing:
            sentence += f": {ViolationCode.MISSING_BLANK_LINE.meaning}"
        if self.connection_error is not None:
            sentence += f": {self.connection_error}"
        return IncompleteMessageError(sentence, first_loss=loss)


VERDICTS: Final[dict[State, Verdict]] = {
    State.WAITING: Verdict.EMPTY,
    State.OPEN: Verdict.TRUNCATED,
    State.CLOSING: Verdict.UNTERMINATED,
}
"""For each state, the verdict of a body that ends in it, if no content was lost. In the other
states, the stream has a verdict before the body ends.
"""

ENDED: Final = (Verdict.UNTERMINATED, Verdict.EMPTY)
"""The verdicts of `verdict_of_end` that become DAMAGED if content was lost."""


def verdict_of_end(state: State, *, is_whole: bool) -> Verdict:
    """Return the verdict of a body that ends in a state.

    PENDING if a stream in this state already has a verdict.

    Args:
        state: the state of the stream.
        is_whole: whether all blocks have stopped, and the last frame did not cut content.
    """
    verdict = VERDICTS.get(state, Verdict.PENDING)
    return Verdict.TRUNCATED if verdict is Verdict.UNTERMINATED and not is_whole else verdict


def place_of(violation: Violation) -> str:
    """Return the code of a violation and its place, in words."""
    place = f"{violation.code}, event {violation.event_number}"
    if violation.byte_offset is not None:
        place += f", byte offset {violation.byte_offset}"
    return place


def status_error_of(event: ErrorEvent) -> APIStatusError:
    """Return the exception of an error event, with the equivalent HTTP status."""
    return status_error(
        event.message or "the server sent an error",
        status_code=equivalent_status(event.error_type, default=event.code or 500),
        type=event.error_type,
        request_id=event.request_id,
        body=event.to_dict() if event.raw is None else event.raw,
    )


def shown(exc: BaseException) -> str:
    """Return the repr of an exception, or the repr of its class if `repr` raises."""
    try:
        return repr(exc)
    except Exception:  # noqa: BLE001  (`__repr__` of a foreign class may raise anything)
        return repr(type(exc))
