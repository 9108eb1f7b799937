"""The plots of the costs of this library and the peers, divided by the floor. None has a target."""

from collections.abc import Callable, Iterator
from typing import Final

import attrs

from contenders import (
    JITER,
    OFFICIAL,
    OURS,
    PLAIN,
    READERS,
    READING,
    Contender,
    anthropic,
    by_floor,
    found,
    jiter,
)
from fixtures import Fixture, mixed, records_input, string_input
from measuring import Figure


@attrs.frozen
class Curve:
    """A plot of the cost ÷ floor for several sizes.

    Attributes:
        title: the heading.
        axis: the label of the sizes.
        sizes: the measured sizes.
        stream: returns the stream for a size and the size of its chunks. None is one event a chunk.
        contenders: returns the contenders that are installed.
        up_to: the last measured size of a contender whose cost grows faster than the input.
    """

    title: str
    axis: str
    sizes: tuple[int, ...]
    stream: Callable[[int], tuple[Fixture, int | None]]
    contenders: Callable[[], list[Contender]]
    up_to: dict[str, int] = attrs.field(factory=dict)

    def points(self, rounds: int) -> Iterator[tuple[int, dict[str, Figure]]]:
        """Measure each size. Leave out a contender above its last size."""
        contenders = self.contenders()
        for size in self.sizes:
            fixture, cut = self.stream(size)
            measured = [each for each in contenders if size <= self.up_to.get(each.name, size)]
            yield size, by_floor(measured, fixture, cut, rounds)


def readers_of_streams() -> list[Contender]:
    """Return the contenders that read whole streams."""
    return [OURS, PLAIN, *found(READERS)]


def readers_of_inputs() -> list[Contender]:
    """Return the contenders that give the input of a tool after each delta.

    This library is also measured without reading the partial input.
    """
    not_read = attrs.evolve(OURS, name="sansio-stream, not read")
    official = [each for each in found([anthropic]) if each.name == OFFICIAL]
    return [READING, not_read, *official, *found([jiter])]


INPUT_SIZES: Final = (10_000, 20_000, 50_000, 100_000, 200_000, 500_000, 1_000_000)

CURVES: Final = {
    "chunks": Curve(
        "Cost of an event by size of the chunks",
        "bytes a chunk",
        (1, 4, 16, 64, 256, 1_024, 4_096, 16_384, 65_536),
        lambda size: (mixed(1_500), size),
        readers_of_streams,
    ),
    # A contender that parses the whole input again after each delta would take minutes for the
    # longest inputs.
    "string": Curve(
        "Cost of a tool input that is one string, read after each delta",
        "characters of input",
        INPUT_SIZES,
        lambda size: (string_input(size), None),
        readers_of_inputs,
        {OFFICIAL: 200_000, JITER: 200_000},
    ),
    "records": Curve(
        "Cost of a tool input of records, read after each delta",
        "characters of input",
        INPUT_SIZES,
        lambda size: (records_input(size), None),
        readers_of_inputs,
        {OFFICIAL: 100_000, JITER: 100_000},
    ),
}
"""The plots, by the name that `--only` takes."""
