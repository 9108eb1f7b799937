"""What a stream shows of what it has read: the message so far, the verdict, the response.

Reads nothing. Both streams have it, synchronous or not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sansio_stream.errors import Verdict, Violation
    from sansio_stream.message import ContentBlock, Message

    from ._stream_core import StreamCore

__all__ = ["MessageStreamView", "StreamView"]


class StreamView:
    """What both streams show without reading on."""

    _core: StreamCore

    @property
    def response(self) -> Any:
        """The HTTP library's response; else a `Response` with `status_code` and `headers`."""
        return self._core.response

    @property
    def request_id(self) -> str | None:
        """The header `request-id`: the server's name for the request."""
        return self._core.request_id

    @property
    def snapshot(self) -> Message | None:
        """The message as of the event just taken, None before message_start. Immutable."""
        return self._core.machine.snapshot

    @property
    def verdict(self) -> Verdict:
        """How the stream ended; PENDING until then, and for ever if it was closed before."""
        return self._core.machine.verdict

    @property
    def violations(self) -> tuple[Violation, ...]:
        """What was tolerated, as of the event just taken."""
        return self._core.machine.violations

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._core.machine!r}>"


class MessageStreamView(StreamView):
    """What both message streams show beside that."""

    @property
    def current_message_snapshot(self) -> Message:
        """As `snapshot`, but raises RuntimeError before message_start."""
        message = self.snapshot
        if message is None:
            raise RuntimeError("no message_start has come yet")
        return message

    def block(self, index: int) -> ContentBlock | None:
        """Return the newest block with that wire index, as of the event just taken, or None."""
        return self._core.machine.block(index)
