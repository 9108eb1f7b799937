"""Which deltas bring content, and which only say that somebody is there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sansio_stream.events import (
    CitationsDelta,
    CompactionDelta,
    InputJSONDelta,
    SignatureDelta,
    TextDelta,
    ThinkingDelta,
)

if TYPE_CHECKING:
    from sansio_stream.events import ContentBlockDeltaEvent

__all__ = ["brings_content"]

CONTENT: Final[dict[type, tuple[str, ...]]] = {
    TextDelta: ("text",),
    InputJSONDelta: ("partial_json",),
    # Of thinking that is not shown, a server says only how much there is.
    ThinkingDelta: ("thinking", "signature", "estimated_tokens"),
    SignatureDelta: ("signature",),
    CitationsDelta: ("citation",),
    CompactionDelta: ("content", "encrypted_content"),
}
"""In which attributes of a delta there may be content, by its class."""


def brings_content(event: ContentBlockDeltaEvent) -> bool:
    """Return whether a delta is neither empty nor unknown."""
    delta = event.delta
    return any(getattr(delta, name) for name in CONTENT.get(type(delta), ()))
