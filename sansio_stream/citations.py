"""Vocabulary: the citations of a text block, as frozen values.

A new citation type needs one class here, and its name in `__all__` and in `Citation`.
"""

from typing import ClassVar, Literal, TypeAlias

import attrs

from .codec import WireObject, on_wire_as, wire_object

__all__ = [
    "CharLocationCitation",
    "Citation",
    "ContentBlockLocationCitation",
    "PageLocationCitation",
    "SearchResultLocationCitation",
    "UnknownCitation",
    "WebSearchResultLocationCitation",
]


@wire_object
class CharLocationCitation(WireObject):
    """A span of characters of a plain text document."""

    type: "ClassVar[Literal['char_location']]" = "char_location"
    cited_text: str | None
    document_index: int | None
    document_title: str | None
    start_char_index: int | None
    end_char_index: int | None
    file_id: str | None = None


@wire_object
class PageLocationCitation(WireObject):
    """A range of pages of a document."""

    type: "ClassVar[Literal['page_location']]" = "page_location"
    cited_text: str | None
    document_index: int | None
    document_title: str | None
    start_page_number: int | None
    end_page_number: int | None
    file_id: str | None = None


@wire_object
class ContentBlockLocationCitation(WireObject):
    """A range of content blocks of a document."""

    type: "ClassVar[Literal['content_block_location']]" = "content_block_location"
    cited_text: str | None
    document_index: int | None
    document_title: str | None
    start_block_index: int | None
    end_block_index: int | None
    file_id: str | None = None


@wire_object
class WebSearchResultLocationCitation(WireObject):
    """A passage of a web page. The next request must send `encrypted_index` unchanged."""

    type: "ClassVar[Literal['web_search_result_location']]" = "web_search_result_location"
    cited_text: str | None
    url: str | None
    title: str | None
    encrypted_index: str | None


@wire_object
class SearchResultLocationCitation(WireObject):
    """A passage of a search result that the request contained."""

    type: "ClassVar[Literal['search_result_location']]" = "search_result_location"
    cited_text: str | None
    source: str | None
    title: str | None
    search_result_index: int | None
    start_block_index: int | None
    end_block_index: int | None


@wire_object
class UnknownCitation(WireObject):
    """A citation whose type has no class here. Its members are in `extra`."""

    type: "ClassVar[Literal['unknown']]" = "unknown"
    wire_type: str = attrs.field(metadata=on_wire_as("type"))


Citation: TypeAlias = (
    CharLocationCitation
    | PageLocationCitation
    | ContentBlockLocationCitation
    | WebSearchResultLocationCitation
    | SearchResultLocationCitation
    | UnknownCitation
)
