"""The first frame: the beginning of a success's body in; go on, more, or its error out.

Nothing is given out before the first frame, so that an error in its place repeats nothing if the
request is sent again. Knows no connection, and not whether it is sent again.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Final

from ..errors import APIError, APIStatusError, Verdict
from ..events import ErrorEvent
from ..machine import StreamMachine, status_error_of
from .headers import Headers
from .responses import BODY_NEEDED, BodyNeeded

__all__ = ["FirstFrame"]

LOOK_BYTES: Final = 65_536
"""An error is a sentence. A frame that is longer is not waited for."""

BOM: Final = b"\xef\xbb\xbf"


class FirstFrame:
    """A look at the first frame of a success: whether it is an error event.

        look = FirstFrame(status, headers)
        answer = look.receive(chunk)    # with each chunk, while it is BODY_NEEDED

    None means: go on. The first thing that came was another frame, or a comment, or nothing that
    ended within 64 KiB. An `APIStatusError` is what the error event stands for: of its equivalent
    status, with `headers`, and `http_status` is the real one. How the bytes are cut never matters.
    Give the same bytes to a machine: a look keeps them to itself.

    Cost: one pass over the bytes, and a copy.

    Args:
        status: of the response; `check_response` has said None to it.
        headers: of the response.
    """

    def __init__(
        self, status: int, headers: Mapping[str, str] | Iterable[tuple[str, str]] = ()
    ) -> None:
        self._status = status
        self._headers = Headers(headers)
        self._held = bytearray()
        self._line_at = 0
        self._searched = 0
        self._has_lines = False
        self._answer: APIStatusError | BodyNeeded | None = BODY_NEEDED

    def receive(self, data: bytes) -> APIStatusError | BodyNeeded | None:
        """Take bytes of the body, and return what is known by now; `BODY_NEEDED` is nothing yet."""
        if self._answer is BODY_NEEDED:
            self._held += data[: LOOK_BYTES - len(self._held)]
            self._answer = self._look()
        return self._answer

    def end(self) -> APIStatusError | None:
        """Note the end of the body, and return what it was. A last frame needs no blank line."""
        if isinstance(self._answer, BodyNeeded):
            self._answer = self._error_in(bytes(self._held))
        return self._answer

    def _look(self) -> APIStatusError | BodyNeeded | None:
        """Go through the lines that are whole, to the end of the first frame or to a comment."""
        held = self._held
        if not self._line_at and held.startswith(BOM):
            self._line_at = self._searched = len(BOM)
        while not held.startswith(b":", self._line_at):
            found = re.compile(b"[\r\n]").search(held, self._searched)
            if found is None:
                self._searched = len(held)
                return None if len(held) == LOOK_BYTES else BODY_NEEDED
            end = found.start()
            if end > self._line_at:
                self._has_lines = True
            elif self._has_lines and not held.startswith(b"\r\n", end - 1):
                return self._error_in(bytes(held[:end]) + b"\n\n")
            self._line_at = self._searched = end + 1
        return None

    def _error_in(self, data: bytes) -> APIStatusError | None:
        """Return the error that the data begin with, if they do."""
        machine = StreamMachine()
        machine.receive_data(data)
        try:
            event = next(machine.receive_eof(), None)
        except APIError:
            return None
        if not isinstance(event, ErrorEvent):
            return None
        error = status_error_of(event)
        return error.annotate(
            http_status=self._status,
            headers=dict(self._headers),
            request_id=self._headers.get("request-id") or error.request_id,
            verdict=Verdict.ERRORED,
        )
