"""The members of a message except its content: message_start and message_deltas in, message out.

Strategy: changes are collected in dicts, and the message is copied only when it is read. A copy
costs time for each member of the message, so a copy at each message_delta would be wasted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from .codec import copy_with, decode, said_null, with_wire, wrong_types
from .message import Usage
from .payloads import added_members, usage_of

if TYPE_CHECKING:
    from .events import MessageDeltaEvent, MessageDeltaUsage
    from .message import ContentBlock, ContentSoFar, Message

FALLING: Final = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
"""The counters of input tokens. A total that was above 0 is 0 again only after a compaction."""


class GrowingMembers:
    """The members of a message, except its content, as of the last event.

    Attributes:
        start: the message as message_start sent it.
        size: the size of all message_deltas on the wire, in bytes.
    """

    __slots__ = ("_changes", "_usage", "_wire_changes", "size", "start")

    def __init__(self, start: Message) -> None:
        self.start = start
        self.size = 0
        # The new values by member: decoded ones of typed members, and wire values of the others.
        self._changes: dict[str, Any] = {}
        self._wire_changes: dict[str, Any] = {}
        if start.stop_reason == "":
            self._changes["stop_reason"] = None
        # The usage of message_start, updated by each message_delta; None if no message_delta had
        # a usage.
        self._usage: dict[str, Any] | None = None

    @property
    def stop_reason(self) -> str | None:
        """The stop reason; None if there is none or if it is empty."""
        return self._changes.get("stop_reason", self.start.stop_reason) or None

    def message(self, content: ContentSoFar | tuple[ContentBlock, ...]) -> Message:
        """Return the message with this content and all changes. () leaves the content as sent."""
        changes = dict(self._changes)
        if content:
            changes["content"] = content
        if self._usage is not None:
            changes["usage"] = decode(Usage, self._usage)
        message = copy_with(self.start, **changes) if changes else self.start
        return with_wire(message, **self._wire_changes) if self._wire_changes else message

    def set(self, member: str, value: Any) -> None:
        """Set a member to a value."""
        self._changes[member] = value

    def amend(self, event: MessageDeltaEvent, size: int) -> None:
        """Merge a message_delta into the members.

        A value replaces the value before. A null changes nothing, except a null `stop_details`,
        which removes the details: a server may withdraw a refusal.

        Args:
            event: the message_delta.
            size: the size of its frame or payload on the wire, in bytes.
        """
        self.size += size
        delta = event.delta
        values = {
            "stop_reason": delta.stop_reason or None,
            "stop_sequence": delta.stop_sequence,
            "stop_details": delta.stop_details,
            "container": delta.container,
            "safeguard_results": delta.safeguard_results,
            "context_management": event.context_management,
            "input_transformations": event.input_transformations,
        }
        self._wire_changes.update(added_members(event))
        if said_null(delta, "stop_details"):
            self._changes["stop_details"] = self._wire_changes["stop_details"] = None
        elif delta.stop_details is not None:
            self._wire_changes.pop("stop_details", None)
        self._changes.update((name, value) for name, value in values.items() if value is not None)
        # The counters are totals, so a new value replaces the value before and is never added. 0 is
        # a value. Unknown counters are kept. The method `message` decodes all counters.
        usage = usage_of(event)
        invalid = wrong_types(usage)
        counts = {
            name: value
            for name, value in usage.to_dict().items()
            if value is not None and name not in invalid
        }
        if counts:
            self._usage = self._usage or self.start.usage.to_dict()
            self._usage.update(counts)

    def counters_fall(self, usage: MessageDeltaUsage) -> bool:
        """Return whether a counter of input tokens falls to 0, and no `iterations` explain it."""
        if usage.iterations is not None:
            return False
        return any(getattr(usage, name) == 0 and (self._counter(name) or 0) > 0 for name in FALLING)

    def _counter(self, name: str) -> int | None:
        """Return a counter of the usage; None if it was not sent or is not an int."""
        if self._usage is None:
            count: int | None = getattr(self.start.usage, name)
            return count
        # `_usage` may still have a value of a wrong type from message_start.
        value = self._usage.get(name)
        return value if type(value) is int else None
