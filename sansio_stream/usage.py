"""Vocabulary: tokens and what else is billed, as frozen values."""

from typing import Any

from .codec import WireObject, wire_base, wire_object

__all__ = ["MessageDeltaUsage", "Usage"]


@wire_base
class Billing(WireObject):
    """The members that the usage of a message and that of a message_delta have in common."""

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
    """Tokens and what else is billed. Totals, not increments; 0 is a value, None is "not said"."""

    input_tokens: int | None = None
    output_tokens: int | None = None

    @property
    def total_input_tokens(self) -> int | None:
        """`input_tokens` and both cache counters together; None if none of them was said."""
        parts = (
            self.input_tokens,
            self.cache_creation_input_tokens,
            self.cache_read_input_tokens,
        )
        said = [part for part in parts if part is not None]
        return sum(said) if said else None


@wire_object
class MessageDeltaUsage(Billing):
    """Totals so far: they replace the earlier ones. The members are those of `Usage`."""

    output_tokens: int | None
    input_tokens: int | None = None
