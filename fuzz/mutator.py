"""Mutations that know the structure of a stream: an input in, a changed input out.

A flipped bit makes the JSON of a frame invalid, and most streams end there. These mutations move
whole frames and change members inside the JSON, so that a changed stream can still be read.
"""

import json
import random
from collections.abc import Callable
from typing import Any, Final

import seeds
from cases import HEAD

TARGETS: Final = ("stream_machine", "sse_decoder", "cost")
"""The targets whose inputs are streams."""

POOL: Final = tuple(
    dict.fromkeys(frame for body in seeds.bodies() for frame in seeds.frames(seeds.thinned(body)))
)
"""The frames that can be inserted: each kind that occurs in the examples."""

NAMES: Final = tuple(word for word in seeds.words() if word.isidentifier())

VALUES: Final[tuple[Any, ...]] = (
    *(None, True, False, 0, 1, 2, 3, -1, 10_000, 2**63, 0.5, 1e999, "", "a", "\ud83d", "\ude00"),
    *([], {}, [{}], [[]], {"": None}, {"type": "text"}, [{"type": "text", "text": "b"}]),
    *("{", '{"a":', "1", "}", '"', "\\u00", "x" * 50, "\0", "\r\n"),
)


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Return the input with one to three random changes."""
    head, frames = bytearray(data[:HEAD].ljust(HEAD, b"\0")), seeds.frames(data[HEAD:])
    for _ in range(rng.randint(1, 3)):
        if rng.random() < 0.1:
            head[rng.randrange(HEAD)] = rng.choice([0, 1, 2, 3, rng.randrange(256)])
        elif not frames or rng.random() < 0.2:
            frames.insert(rng.randint(0, len(frames)), rng.choice(POOL))
        else:
            rng.choice(CHANGES)(frames, rng)
    return bytes(head) + b"".join(frames)


Frames = list[bytes]


def drop(frames: Frames, rng: random.Random) -> None:
    """Remove a frame."""
    del frames[rng.randrange(len(frames))]


def repeat(frames: Frames, rng: random.Random) -> None:
    """Insert a copy of a frame at a random position."""
    frames.insert(rng.randint(0, len(frames)), rng.choice(frames))


def swap(frames: Frames, rng: random.Random) -> None:
    """Exchange two frames."""
    one, other = rng.randrange(len(frames)), rng.randrange(len(frames))
    frames[one], frames[other] = frames[other], frames[one]


def cut(frames: Frames, rng: random.Random) -> None:
    """Cut a frame. In half of the cases, also remove all frames after it."""
    at = rng.randrange(len(frames))
    frames[at] = frames[at][: rng.randrange(len(frames[at]) + 1)]
    if rng.random() < 0.5:
        del frames[at + 1 :]


def rename(frames: Frames, rng: random.Random) -> None:
    """Give a frame another `event:` line, or none."""
    at = rng.randrange(len(frames))
    start = frames[at].find(b"data:")
    name = rng.choice(["", f"event: {rng.choice(NAMES)}\n"])
    frames[at] = name.encode() + frames[at][max(0, start) :]


def respell(frames: Frames, rng: random.Random) -> None:
    """Write a frame with other line ends, or insert an unusual line before it."""
    at = rng.randrange(len(frames))
    if rng.random() < 0.5:
        frames[at] = frames[at].replace(b"\n", rng.choice([b"\r", b"\r\n"]))
    else:
        lines = [b": c\n", b"\n", b"odd\n", b"id: 1\n", b"retry: 5\n", b"data\n", b"\xff\n"]
        frames[at] = rng.choice(lines) + frames[at]


def change_member(frames: Frames, rng: random.Random) -> None:
    """Change one member or item inside a payload."""
    at = rng.randrange(len(frames))
    payload = seeds.members_of(frames[at])
    places: list[tuple[Any, Any]] = []
    pending = [payload]
    while pending:
        container = pending.pop()
        if isinstance(container, dict):
            places += [(container, key) for key in container]
            pending += container.values()
        elif isinstance(container, list):
            places += [(container, index) for index in range(len(container))]
            pending += container
    if not places:
        return
    container, key = rng.choice(places)
    match rng.randrange(6):
        case 0:
            del container[key]
        case 1:
            container[key] = [container[key]]
        case 2 if isinstance(container, dict):
            container[rng.choice(NAMES)] = container[key]
        case 3 if isinstance(container[key], str):
            container[key] = rng.choice(NAMES)
        case 4:
            other, where = rng.choice(places)
            container[key] = json.loads(json.dumps(other[where]))
        case _:
            container[key] = rng.choice(VALUES)
    before = frames[at].partition(b"data:")[0]
    text = json.dumps(payload, ensure_ascii=rng.random() < 0.5)
    frames[at] = before + b"data: " + text.encode("utf-8", "surrogatepass") + b"\n\n"


Change = Callable[[Frames, random.Random], None]
CHANGES: Final[tuple[Change, ...]] = (
    *(drop, repeat, swap, cut, rename, respell),
    *(6 * (change_member,)),
)
