"""The types that an adapter returns once the head of a response has arrived."""

from __future__ import annotations

from typing import TYPE_CHECKING, NotRequired

from ._stream_core import Head

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Awaitable, Callable, Iterable

    from ._errors import MapError

__all__ = ["AsyncReply", "Reply", "headers_in_text"]


class Reply(Head):
    """The arguments of a `Stream`, as far as the adapter knows them. See `Stream`."""

    chunks: Iterable[bytes]
    close: Callable[[], object] | None
    abort: Callable[[], object] | None
    is_pooled: NotRequired[bool]
    is_raw: NotRequired[bool]
    map_error: MapError | None
    owner: NotRequired[object]


class AsyncReply(Head):
    """The arguments of an `AsyncStream`, as far as the adapter knows them. See `AsyncStream`."""

    chunks: AsyncIterable[bytes]
    close: Callable[[], Awaitable[object]] | None
    is_pooled: NotRequired[bool]
    is_raw: NotRequired[bool]
    map_error: MapError | None
    owner: NotRequired[object]
    close_ends_read: NotRequired[bool]


def headers_in_text(raw: Iterable[tuple[bytes, bytes]]) -> list[tuple[str, str]]:
    """Return response headers as str. Headers that are not UTF-8 are decoded as Latin-1."""
    return [(decoded(name), decoded(value)) for name, value in raw]


def decoded(raw: bytes) -> str:
    """Return the name or the value of a header as str."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")
