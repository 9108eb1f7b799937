"""The chunks of a capture in, the same bytes in other chunks out. The bytes are not parsed.

A new chunk gets the time of the recorded chunk that contained its last byte, because the bytes of
the new chunk had not all arrived before that time.
"""

from __future__ import annotations

import itertools
import random
from typing import TYPE_CHECKING

from sansio_stream.capture import Chunk

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["recut", "sizes_from"]


def sizes_from(spec: str) -> Iterator[int]:
    """Return an endless iterator of chunk sizes in bytes.

    Args:
        spec: a number of bytes, or `bytes` for 1, or `random:SEED` for random sizes from 1 to
            1,024. Random sizes have a random order of magnitude, so small ones are frequent.

    Raises:
        ValueError: if `spec` is anything else.
    """
    kind, colon, seed = spec.partition(":")
    if spec == "bytes":
        return itertools.repeat(1)
    if kind == "random" and colon and seed:
        return random_sizes(seed)
    if spec.isascii() and spec.isdigit() and int(spec) > 0:
        return itertools.repeat(int(spec))
    raise ValueError(f"{spec!r} is not a number of bytes, 'bytes' or 'random:SEED'")


def random_sizes(seed: str) -> Iterator[int]:
    """Return endless random sizes from 1 to 1,024: the same for the same seed on every machine."""
    chance = random.Random(seed)  # noqa: S311 - the seed makes a cut repeatable
    while True:
        yield chance.randint(1, 2 ** chance.randint(0, 10))


def recut(chunks: Iterable[Chunk], sizes: Iterator[int]) -> Iterator[Chunk]:
    """Return the same bytes in chunks of these sizes. The last chunk may be smaller.

    A new chunk is returned as soon as its last byte is known. At most one recorded chunk and one
    new chunk are kept.
    """
    kept = bytearray()
    at: float | None = None
    size: int | None = None
    for chunk in chunks:
        if not chunk.data:
            continue
        kept += chunk.data
        at = chunk.at
        start = 0
        size = next(sizes) if size is None else size
        while len(kept) - start >= size:
            yield Chunk(at, bytes(kept[start : start + size]))
            start += size
            if start == len(kept):
                size = None
                break
            size = next(sizes)
        del kept[:start]
    if kept:
        yield Chunk(at, bytes(kept))
