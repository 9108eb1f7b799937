"""Vocabulary: the deltas of a content block, as frozen values.

A new type of delta needs one class here, and its name in `__all__` and in `ContentBlockDelta`. It
needs at most one line in `blocks`, which adds deltas to a block.
"""

from typing import ClassVar, Literal, TypeAlias

import attrs

from .citations import Citation
from .codec import WireObject, on_wire_as, wire_object

__all__ = [
    "CitationsDelta",
    "CompactionDelta",
    "ContentBlockDelta",
    "InputJSONDelta",
    "SignatureDelta",
    "TextDelta",
    "ThinkingDelta",
    "UnknownDelta",
]


@wire_object
class TextDelta(WireObject):
    """More text."""

    type: "ClassVar[Literal['text_delta']]" = "text_delta"
    text: str


@wire_object
class InputJSONDelta(WireObject):
    """More JSON text of a tool input. The cut may be inside a word, number or escape.

    `partial_json` is often "".
    """

    type: "ClassVar[Literal['input_json_delta']]" = "input_json_delta"
    partial_json: str


@wire_object
class ThinkingDelta(WireObject):
    """More reasoning. Compatible servers may send the signature in the same delta."""

    type: "ClassVar[Literal['thinking_delta']]" = "thinking_delta"
    thinking: str
    signature: str | None = None
    estimated_tokens: int | None = None


@wire_object
class SignatureDelta(WireObject):
    """The whole signature of the reasoning."""

    type: "ClassVar[Literal['signature_delta']]" = "signature_delta"
    signature: str


@wire_object
class CitationsDelta(WireObject):
    """One more citation of a text block."""

    type: "ClassVar[Literal['citations_delta']]" = "citations_delta"
    citation: Citation


@wire_object
class CompactionDelta(WireObject):
    """The whole summary of a compaction block."""

    type: "ClassVar[Literal['compaction_delta']]" = "compaction_delta"
    content: str | None
    encrypted_content: str | None = None


@wire_object
class UnknownDelta(WireObject):
    """A delta whose type has no class here, or that lacks its payload.

    The payload is the first member of a delta's class. `extra` has the members of this delta.
    """

    type: "ClassVar[Literal['unknown']]" = "unknown"
    wire_type: str = attrs.field(metadata=on_wire_as("type"))


ContentBlockDelta: TypeAlias = (
    TextDelta
    | InputJSONDelta
    | ThinkingDelta
    | SignatureDelta
    | CitationsDelta
    | CompactionDelta
    | UnknownDelta
)
