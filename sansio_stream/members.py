"""The members of a message beside its content: message_start and message_deltas in, message out.

Strategy: what changes is kept apart until somebody looks, because a copy of the message costs as
much as it has members.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from .codec import copy_with, decode, said_null, with_wire, wrong_types
from .message import Usage
from .payloads import added_members, usage_of

if TYPE_CHECKING:
    from .events import MessageDeltaEvent, MessageDeltaUsage
    from .message import ContentBlock, Message

FALLING: Final = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
"""The counters that never fall to 0 by themselves."""


class GrowingMembers:
    """The members as of the last event.

    Attributes:
        start: the message as message_start sent it.
        size: the bytes of all message_deltas.
    """

    __slots__ = ("_changes", "_usage", "_wire_changes", "size", "start")

    def __init__(self, start: Message) -> None:
        self.start = start
        self.size = 0
        # By member: values of typed members, and what is on the wire for others.
        self._changes: dict[str, Any] = {}
        self._wire_changes: dict[str, Any] = {}
        if start.stop_reason == "":
            self._changes["stop_reason"] = None
        # The usage of all message_deltas, merged; None while they had none.
        self._usage: dict[str, Any] | None = None

    @property
    def stop_reason(self) -> str | None:
        """The stop reason; None for an empty one."""
        return self._changes.get("stop_reason", self.start.stop_reason) or None

    def message(self, content: tuple[ContentBlock, ...]) -> Message:
        """Return the message with this content."""
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
        """Merge a message_delta of so many bytes.

        A value replaces the value before, and null changes nothing. Only a null of `stop_details`
        counts: a refusal may be taken back.
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
        # Totals replace the totals before. They are never added, and 0 is a value. Unknown counters
        # are kept. They are decoded when somebody looks.
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
        """Whether a counter of input tokens falls to 0 without `iterations` that explain it."""
        if usage.iterations is not None:
            return False
        return any(getattr(usage, name) == 0 and (self._counter(name) or 0) > 0 for name in FALLING)

    def _counter(self, name: str) -> int | None:
        """Return a counter of the usage; None if it was not sent."""
        if self._usage is None:
            count: int | None = getattr(self.start.usage, name)
            return count
        # A member that message_start sent with another type was not replaced, maybe.
        value = self._usage.get(name)
        return value if type(value) is int else None
