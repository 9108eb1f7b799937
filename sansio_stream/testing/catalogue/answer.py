"""An answer to a request as a value: a head, chunks with their times, and how it ends.

This module knows no server, no clock and no fault. The server that sends an answer decides how each
part of it reaches the connection.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import Enum
from typing import Final, TypeAlias

import attrs

from ...capture import Chunk

__all__ = ["Answer", "Asked", "Change", "End", "frames_of"]


class End(Enum):
    """What the server does after the last chunk of an answer."""

    WHOLE = "the end of the body, as HTTP marks it"
    CLOSED = "no end of the body: the connection is closed"
    RESET = "no end of the body: the connection is reset"
    SILENCE = "nothing, and the connection stays open"
    PINGS = "pings without end"


@attrs.frozen(kw_only=True)
class Answer:
    """The answer to one request.

    Attributes:
        status: the HTTP status. None means that no head and no body are sent, only `end` follows.
        headers: the headers of the response, with names in lower case. `request-id` is always set.
        chunks: the body. A chunk without a time is sent at once.
        end: what the server does after the chunks.
        head_after: the seconds before the head is sent.
    """

    status: int | None
    headers: dict[str, str]
    chunks: tuple[Chunk, ...]
    end: End = End.WHOLE
    head_after: float = 0

    @property
    def body(self) -> bytes:
        """All chunks joined."""
        return b"".join(chunk.data for chunk in self.chunks)

    def with_body(self, body: bytes) -> Answer:
        """Return the same answer with another body, in chunks of the same sizes and times.

        The last chunk has the rest of the body, so the end of the answer keeps its time.
        """
        chunks: list[Chunk] = []
        for chunk in self.chunks[:-1]:
            if body:
                chunks.append(attrs.evolve(chunk, data=body[: len(chunk.data)]))
            body = body[len(chunk.data) :]
        last = self.chunks[-1].at if self.chunks else None
        return attrs.evolve(self, chunks=(*chunks, Chunk(last, body)))


@attrs.frozen(kw_only=True)
class Asked:
    """The facts of a request on which a fault may depend.

    Attributes:
        target: the path and query of the request, as the client sent them.
        accepts_gzip: whether the request accepts a body in gzip.
        number: the number of this request among those that asked for the fault, from 1.
    """

    target: str
    accepts_gzip: bool
    number: int


BLANK_LINE: Final = re.compile(rb"(?>\r\n?|\n){2}")


def frames_of(body: bytes) -> list[tuple[int, int]]:
    """Return the index of the start and of the end of each frame."""
    ends = [blank.end() for blank in BLANK_LINE.finditer(body)]
    return list(zip([0, *ends], ends, strict=False))


Change: TypeAlias = Callable[[Answer, Asked], Answer]
"""Takes the answer to a request and facts of the request. Returns the answer with one fault."""
