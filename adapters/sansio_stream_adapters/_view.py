"""The read-only view of a stream: its message so far, its verdict, its response.

Nothing here reads. The synchronous and the asynchronous stream share these classes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sansio_stream.errors import Verdict, Violation
    from sansio_stream.message import ContentBlock, Message

    from ._stream_core import StreamCore

__all__ = ["MessageStreamView", "StreamView"]


class StreamView:
    """The part of both streams that does not read."""

    _core: StreamCore

    @property
    def response(self) -> Any:
        """The response of the HTTP library, or a `Response` if the library has none."""
        return self._core.response

    @property
    def request_id(self) -> str | None:
        """The `request-id` header, the server's identifier of the request."""
        return self._core.request_id

    @property
    def snapshot(self) -> Message | None:
        """The message up to the last event taken. None before message_start. Immutable."""
        return self._core.machine.snapshot

    @property
    def verdict(self) -> Verdict:
        """How the stream ended. PENDING before its end, and also after an early close."""
        return self._core.machine.verdict

    @property
    def violations(self) -> tuple[Violation, ...]:
        """The tolerated violations up to the last event taken."""
        return self._core.machine.violations

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._core.machine!r}>"


class MessageStreamView(StreamView):
    """The part of both message streams that does not read."""

    @property
    def current_message_snapshot(self) -> Message:
        """The same as `snapshot`, but never None.

        Raises:
            RuntimeError: No message_start has arrived yet.
        """
        message = self.snapshot
        if message is None:
            raise RuntimeError("no message_start has arrived yet")
        return message

    def block(self, index: int) -> ContentBlock | None:
        """Return the newest block with the index that the server sent, or None if there is none.

        Only the events taken so far count.
        """
        return self._core.machine.block(index)
