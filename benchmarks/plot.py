"""Draws lines as SVG, with two logarithmic axes. The module does not depend on their meaning.

Each line has its own colour, dash and marker, and its name at its end. So a reader who cannot
distinguish the colours can read the plot. The plot follows the light or dark mode of the reader.
The same lines give the same text.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final, TypeAlias
from xml.sax.saxutils import escape

Points: TypeAlias = Sequence[tuple[float, float]]

WIDTH: Final = 850
HEIGHT: Final = 500
LINE: Final = 16
"""The distance between two lines of text."""

# The edges of the area with the lines.
LEFT: Final = 60
RIGHT: Final = 610
TOP: Final = 60
BOTTOM: Final = 400

# For each line: the colour on white, the colour on black, the dash, the marker. The colours follow
# the palette of Okabe and Ito.
STYLES: Final = (
    ("#0072b2", "#56b4e9", "", "M-4,0a4,4 0 1,0 8,0a4,4 0 1,0 -8,0"),
    ("#d55e00", "#ff8a3d", "7 4", "M-4,-4h8v8h-8z"),
    ("#007a59", "#2bc29a", "2 3", "M0,-5l5,9h-10z"),
    ("#a64d79", "#e39cc4", "10 3 2 3", "M0,-5l5,5l-5,5l-5,-5z"),
    ("#8a6d00", "#e6c229", "5 2", "M-4,-4l8,8m0,-8l-8,8"),
    ("#333333", "#e6e6e6", "1 4", "M0,-5v10m-5,-5h10"),
    ("#5b5ea6", "#a5a8e6", "12 4", "M0,5l5,-9h-10z"),
    ("#b00020", "#ff6b6b", "6 2 1 2", "M-5,0h10m-8,-4l6,8m0,-8l-6,8"),
)

CSS: Final = """\
svg{font:12px system-ui,sans-serif}
.b{fill:#fff}text{fill:#222}.g{stroke:#ddd}.f{stroke:#555;stroke-dasharray:3 3}
path,polyline{fill:none;stroke-width:1.5}.s0{stroke-width:3}.t{font-size:15px;font-weight:600}
"""


def scale(low: float, high: float, start: float, end: float) -> Callable[[float], float]:
    """Return a function that maps the range from `low` to `high` to that from `start` to `end`.

    The mapping is logarithmic.
    """
    span = math.log(high / low)
    return lambda value: start + math.log(value / low) / span * (end - start)


def ticks(low: float, high: float) -> Iterator[float]:
    """Yield 1, 2 and 5 times each power of ten between two values."""
    for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1):
        for digit in (1, 2, 5):
            if low <= digit * 10.0**power <= high:
                yield digit * 10.0**power


def short(number: float) -> str:
    """Return the label of a tick: 65536 is 64 Ki, 200000 is 200 k."""
    for unit, size in (("Ki", 1024), ("M", 1_000_000), ("k", 1_000)):
        if number >= size and number % size == 0:
            return f"{number / size:.0f} {unit}"
    return f"{number:g}"


def apart(places: Iterable[float], least: float) -> list[float]:
    """Move positions down, in order, until all distances are at least `least`."""
    moved: list[float] = []
    for place in places:
        moved.append(max(place, moved[-1] + least) if moved else place)
    return moved


def svg(
    title: str,
    axes: tuple[str, str],
    lines: Mapping[str, Points],
    floor: str,
    caption: Sequence[str],
) -> str:
    """Draw the lines.

    Args:
        title: the heading.
        axes: the labels of the horizontal and the vertical axis.
        lines: the points of each line, by its name. The first line is bold.
        floor: the name of the horizontal line at 1.
        caption: the lines of text below the plot.
    """
    across = sorted({x for points in lines.values() for x, _ in points})
    heights = [y for points in lines.values() for _, y in points]
    low, high = min(0.5, *heights) / 1.1, max(heights) * 1.3
    x_of, y_of = scale(across[0], across[-1], LEFT, RIGHT), scale(low, high, BOTTOM, TOP)

    dark = "".join(f".s{number}{{stroke:{style[1]}}}" for number, style in enumerate(STYLES))
    css = "".join(f".s{number}{{stroke:{style[0]}}}" for number, style in enumerate(STYLES))
    css += (
        "@media(prefers-color-scheme:dark){.b{fill:#161b22}text{fill:#ddd}.g{stroke:#333}"
        f".f{{stroke:#999}}{dark}}}"
    )
    drawn = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
        f"<title>{escape(title)}</title><style>{CSS}{css}</style>",
        f'<rect class="b" width="{WIDTH}" height="{HEIGHT}"/>',
        text(LEFT, 24, title, 'class="t"'),
        text(LEFT, TOP - 8, axes[1]),
        text((LEFT + RIGHT) / 2, BOTTOM + 36, axes[0], 'text-anchor="middle"'),
    ]
    for x in across:
        drawn.append(segment("g", (x_of(x), TOP), (x_of(x), BOTTOM)))
        drawn.append(text(x_of(x), BOTTOM + 18, short(x), 'text-anchor="middle"'))
    for y in ticks(low, high):
        drawn.append(segment("g", (LEFT, y_of(y)), (RIGHT, y_of(y))))
        drawn.append(text(LEFT - 6, y_of(y) + 4, short(y), 'text-anchor="end"'))
    drawn.append(segment("f", (LEFT, y_of(1)), (RIGHT, y_of(1))))

    ends = [(y_of(1), float(RIGHT), floor, "f")]
    for number, (name, points) in reversed([*enumerate(lines.items())]):  # the first one on top
        _, _, dash, marker = STYLES[number]
        places = [(x_of(x), y_of(y)) for x, y in points]
        joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        drawn.append(f'<polyline class="s{number}" stroke-dasharray="{dash}" points="{joined}"/>')
        drawn += (
            f'<path class="s{number}" transform="translate({x:.1f},{y:.1f})" d="{marker}"/>'
            for x, y in places
        )
        ends.append((places[-1][1], places[-1][0], name, f"s{number}"))
    ends.sort()
    for (y, x, name, style), beside in zip(ends, apart((y for y, *_ in ends), LINE), strict=True):
        drawn.append(segment(style, (x + 7, y), (x + 24, beside)))
        drawn.append(text(x + 28, beside + 4, name))
    for number, line in enumerate(caption):
        drawn.append(text(LEFT, BOTTOM + 64 + LINE * number, line))
    return "\n".join([*drawn, "</svg>", ""])


def text(x: float, y: float, words: str, attributes: str = "") -> str:
    """Return the SVG element of a text."""
    return f'<text x="{x:.1f}" y="{y:.1f}" {attributes}>{escape(words)}</text>'


def segment(style: str, start: tuple[float, float], end: tuple[float, float]) -> str:
    """Return the SVG element of a straight line."""
    (x1, y1), (x2, y2) = start, end
    return f'<line class="{style}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'
