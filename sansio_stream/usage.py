"""Vocabulary: the usage, that is the tokens and everything else that is billed."""

from typing import Any

from .codec import WireObject, wire_base, wire_object

__all__ = ["MessageDeltaUsage", "Usage"]


@wire_base
class Billing(WireObject):
    """The members that `Usage` and `MessageDeltaUsage` have in common."""

    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation: dict[str, Any] | None = None
    output_tokens_details: dict[str, Any] | None = None
    server_tool_use: dict[str, Any] | None = None
    service_tier: str | None = None
    inference_geo: str | None = None
    speed: str | None = None
    iterations: list[Any] | None = None
    fallback_credit: Any = None


@wire_object
class Usage(Billing):
    """The tokens and everything else that is billed, as totals of the message.

    A member is None if the server did not send it. 0 means that the server sent 0.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None

    @property
    def total_input_tokens(self) -> int | None:
        """The sum of `input_tokens` and both cache counters; None if all three are None."""
        parts = (
            self.input_tokens,
            self.cache_creation_input_tokens,
            self.cache_read_input_tokens,
        )
        sent = [part for part in parts if part is not None]
        return sum(sent) if sent else None


@wire_object
class MessageDeltaUsage(Billing):
    """The totals so far. They replace the earlier totals. The members are those of `Usage`."""

    output_tokens: int | None
    input_tokens: int | None = None
