"""Cutting: the chunks of a capture in, the same bytes in other chunks out. Knows no protocol.

A new chunk has the time of the recorded one that its last byte came in: earlier it was not whole.
"""

from __future__ import annotations

import itertools
import random
from bisect import bisect_left
from typing import TYPE_CHECKING

from sansio_stream.capture import Chunk

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["recut", "sizes_from"]


def sizes_from(spec: str) -> Iterator[int]:
    """Return the sizes of chunks, without end, that `spec` asks for.

    `spec` is a number of bytes, `bytes`, or `random:SEED` for sizes from 1 to 1,024, small ones as
    often as large ones; ValueError for anything else.
    """
    kind, colon, seed = spec.partition(":")
    if spec == "bytes":
        return itertools.repeat(1)
    if kind == "random" and colon and seed:
        return random_sizes(seed)
    if spec.isascii() and spec.isdigit() and int(spec) > 0:
        return itertools.repeat(int(spec))
    raise ValueError(f"{spec!r} is neither a number of bytes, nor 'bytes', nor 'random:SEED'")


def random_sizes(seed: str) -> Iterator[int]:
    """Return the same sizes for the same seed, on every machine."""
    chance = random.Random(seed)  # noqa: S311 - to be repeated is what the seed is for
    while True:
        yield chance.randint(1, 2 ** chance.randint(0, 10))


def recut(chunks: Sequence[Chunk], sizes: Iterator[int]) -> Iterator[Chunk]:
    """Return the same bytes in chunks of these sizes; the last one may be smaller."""
    body = b"".join(chunk.data for chunk in chunks)
    ends = list(itertools.accumulate(len(chunk.data) for chunk in chunks))
    start = 0
    while start < len(body):
        end = min(start + next(sizes), len(body))
        yield Chunk(chunks[bisect_left(ends, end)].at, body[start:end])
        start = end
