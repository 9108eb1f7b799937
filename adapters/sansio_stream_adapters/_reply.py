"""What an adapter hands over when the head of a response has come."""

from __future__ import annotations

from typing import TYPE_CHECKING, NotRequired

from ._stream_core import Head

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Awaitable, Callable, Iterable

    from ._errors import MapError

__all__ = ["AsyncReply", "Reply", "headers_in_text"]


class Reply(Head):
    """What an adapter knows when the head has come: what a `Stream` is made of."""

    chunks: Iterable[bytes]
    close: Callable[[], object] | None
    abort: Callable[[], object] | None
    is_pooled: NotRequired[bool]
    is_raw: NotRequired[bool]
    map_error: MapError | None
    owner: NotRequired[object]


class AsyncReply(Head):
    """What an `AsyncStream` is made of."""

    chunks: AsyncIterable[bytes]
    close: Callable[[], Awaitable[object]] | None
    is_pooled: NotRequired[bool]
    is_raw: NotRequired[bool]
    map_error: MapError | None
    owner: NotRequired[object]
    wakes: NotRequired[bool]


def headers_in_text(raw: Iterable[tuple[bytes, bytes]]) -> list[tuple[str, str]]:
    """Return headers of a response as text: UTF-8, and Latin-1 where they are not that."""
    return [(decoded(name), decoded(value)) for name, value in raw]


def decoded(raw: bytes) -> str:
    """Return a header's name or value as text."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")
