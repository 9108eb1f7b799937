"""The first frame: the first bytes of a successful response in, its error or "no error" out.

An error in the first frame is special: no event has been delivered before it, so sending the
request again repeats nothing.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Final

from ..errors import APIError, APIStatusError, Verdict
from ..events import ErrorEvent
from ..frame_buffer import BOM
from ..machine import StreamMachine
from ..outcome import status_error_of
from .headers import Headers
from .responses import BODY_NEEDED, BodyNeeded

__all__ = ["FirstFrame"]

FIRST_FRAME_BYTES: Final = 65_536
"""The number of bytes that are checked. An error is short, so a longer frame is not one."""


class FirstFrame:
    """A check whether the first frame of a successful response is an error event.

        first_frame = FirstFrame(status, headers)
        answer = first_frame.receive(chunk)  # for each chunk, while it is BODY_NEEDED

    The answer is one of three:

    * `BODY_NEEDED` means that more bytes are needed.
    * None means that the stream does not begin with an error. It begins with another frame, with a
      comment, or with a frame that does not end within 64 KiB.
    * An `APIStatusError` is the error of the first frame. It has the equivalent status, the real
      `http_status`, and `headers`.

    The way the bytes are cut into chunks never matters. Pass the same bytes to a machine as well:
    the check works on a copy.

    Cost: one pass over the bytes, and one copy of them.

    Args:
        status: the status of a response for which `check_response` returned None.
        headers: the headers of the response.
    """

    def __init__(
        self, status: int, headers: Mapping[str, str] | Iterable[tuple[str, str]] = ()
    ) -> None:
        self._status = status
        self._headers = Headers(headers)
        self._buffer = bytearray()
        self._line_at = 0
        self._searched = 0
        self._has_lines = False
        self._answer: APIStatusError | BodyNeeded | None = BODY_NEEDED

    def receive(self, data: bytes) -> APIStatusError | BodyNeeded | None:
        """Add bytes of the body, and return the answer as of now.

        The answer stays the same once it is not `BODY_NEEDED`.
        """
        if self._answer is BODY_NEEDED:
            self._buffer += data[: FIRST_FRAME_BYTES - len(self._buffer)]
            self._answer = self._search()
        return self._answer

    def end(self) -> APIStatusError | None:
        """Record the end of the body, and return the final answer.

        The last frame needs no blank line after it.
        """
        if isinstance(self._answer, BodyNeeded):
            self._answer = self._error_in(bytes(self._buffer))
        return self._answer

    def _search(self) -> APIStatusError | BodyNeeded | None:
        """Read the complete lines up to the end of the first frame or up to a comment.

        The search for a line end goes on where the last call stopped, so no byte is searched twice.
        """
        buffer = self._buffer
        if not self._line_at and buffer.startswith(BOM):
            self._line_at = self._searched = len(BOM)
        while not buffer.startswith(b":", self._line_at):
            found = re.compile(b"[\r\n]").search(buffer, self._searched)
            if found is None:
                self._searched = len(buffer)
                return None if len(buffer) == FIRST_FRAME_BYTES else BODY_NEEDED
            end = found.start()
            if end > self._line_at:
                self._has_lines = True
            # An empty line ends the frame, unless it is only the second half of a "\r\n".
            elif self._has_lines and not buffer.startswith(b"\r\n", end - 1):
                return self._error_in(bytes(buffer[:end]) + b"\n\n")
            self._line_at = self._searched = end + 1
        return None

    def _error_in(self, data: bytes) -> APIStatusError | None:
        """Return the error event at the beginning of the data, if there is one."""
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
