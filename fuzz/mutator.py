"""Mutations that know what a stream is made of: one input in, another one out.

A flipped bit ends most streams at their first frame: the JSON breaks. These move whole frames, and
change members inside the JSON, so that what is changed is still read.
"""

import json
import random
from collections.abc import Callable
from typing import Any, Final

import seeds
from cases import HEAD

TARGETS: Final = ("stream_machine", "sse_decoder", "cost")
"""Whose inputs are streams."""

POOL: Final = tuple(
    dict.fromkeys(frame for body in seeds.bodies() for frame in seeds.frames(seeds.thinned(body)))
)
"""Frames to put in: each kind that the examples have."""

NAMES: Final = tuple(word for word in seeds.words() if word.isidentifier())

VALUES: Final[tuple[Any, ...]] = (
    *(None, True, False, 0, 1, 2, 3, -1, 10_000, 2**63, 0.5, 1e999, "", "a", "\ud83d", "\ude00"),
    *([], {}, [{}], [[]], {"": None}, {"type": "text"}, [{"type": "text", "text": "b"}]),
    *("{", '{"a":', "1", "}", '"', "\\u00", "x" * 50, "\0", "\r\n"),
)


def mutate(data: bytes, chance: random.Random) -> bytes:
    """Return the input with one to three changes."""
    head, frames = bytearray(data[:HEAD].ljust(HEAD, b"\0")), seeds.frames(data[HEAD:])
    for _ in range(chance.randint(1, 3)):
        if chance.random() < 0.1:
            head[chance.randrange(HEAD)] = chance.choice([0, 1, 2, 3, chance.randrange(256)])
        elif not frames or chance.random() < 0.2:
            frames.insert(chance.randint(0, len(frames)), chance.choice(POOL))
        else:
            chance.choice(CHANGES)(frames, chance)
    return bytes(head) + b"".join(frames)


Frames = list[bytes]


def drop(frames: Frames, chance: random.Random) -> None:
    """Take a frame out."""
    del frames[chance.randrange(len(frames))]


def repeat(frames: Frames, chance: random.Random) -> None:
    """Put a copy of a frame somewhere."""
    frames.insert(chance.randint(0, len(frames)), chance.choice(frames))


def swap(frames: Frames, chance: random.Random) -> None:
    """Exchange two frames."""
    one, other = chance.randrange(len(frames)), chance.randrange(len(frames))
    frames[one], frames[other] = frames[other], frames[one]


def cut(frames: Frames, chance: random.Random) -> None:
    """Cut a frame off, or all that is behind it as well."""
    at = chance.randrange(len(frames))
    frames[at] = frames[at][: chance.randrange(len(frames[at]) + 1)]
    if chance.random() < 0.5:
        del frames[at + 1 :]


def rename(frames: Frames, chance: random.Random) -> None:
    """Give a frame another `event:` line, or none."""
    at = chance.randrange(len(frames))
    start = frames[at].find(b"data:")
    name = chance.choice(["", f"event: {chance.choice(NAMES)}\n"])
    frames[at] = name.encode() + frames[at][max(0, start) :]


def respell(frames: Frames, chance: random.Random) -> None:
    """Write a frame with other line ends, or put a comment or an odd line before it."""
    at = chance.randrange(len(frames))
    if chance.random() < 0.5:
        frames[at] = frames[at].replace(b"\n", chance.choice([b"\r", b"\r\n"]))
    else:
        lines = [b": c\n", b"\n", b"odd\n", b"id: 1\n", b"retry: 5\n", b"data\n", b"\xff\n"]
        frames[at] = chance.choice(lines) + frames[at]


def change_member(frames: Frames, chance: random.Random) -> None:
    """Change one place inside a payload."""
    at = chance.randrange(len(frames))
    payload = seeds.members_of(frames[at])
    places: list[tuple[Any, Any]] = []
    unseen = [payload]
    while unseen:
        container = unseen.pop()
        if isinstance(container, dict):
            places += [(container, key) for key in container]
            unseen += container.values()
        elif isinstance(container, list):
            places += [(container, index) for index in range(len(container))]
            unseen += container
    if not places:
        return
    container, key = chance.choice(places)
    match chance.randrange(6):
        case 0:
            del container[key]
        case 1:
            container[key] = [container[key]]
        case 2 if isinstance(container, dict):
            container[chance.choice(NAMES)] = container[key]
        case 3 if isinstance(container[key], str):
            container[key] = chance.choice(NAMES)
        case 4:
            other, where = chance.choice(places)
            container[key] = json.loads(json.dumps(other[where]))
        case _:
            container[key] = chance.choice(VALUES)
    before = frames[at].partition(b"data:")[0]
    text = json.dumps(payload, ensure_ascii=chance.random() < 0.5)
    frames[at] = before + b"data: " + text.encode("utf-8", "surrogatepass") + b"\n\n"


Change = Callable[[Frames, random.Random], None]
CHANGES: Final[tuple[Change, ...]] = (
    *(drop, repeat, swap, cut, rename, respell),
    *(6 * (change_member,)),
)
