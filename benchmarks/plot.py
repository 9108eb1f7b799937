"""Draws lines as SVG with matplotlib, with two logarithmic axes. Knows nothing of their meaning.

Each line has its own colour, dash and marker, and its name at its end. So a reader who cannot
distinguish the colours can read the plot. The same lines give the same text with the same version
of matplotlib: the SVG has no date, and its identifiers have a fixed salt.
"""

import importlib
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias

Points: TypeAlias = Sequence[tuple[float, float]]

SIZE: Final = (8.5, 5.0)
"""The width and the height of a plot, in inches."""

AREA: Final = (0.075, 0.2, 0.64, 0.68)
"""The area with the lines: left, bottom, width and height, as fractions of the plot."""

LINE: Final = 12
"""The smallest distance between two names of lines, in points."""

# For each line: the colour, the dash, the marker. The colours follow the palette of Okabe and Ito.
STYLES: Final[Sequence[tuple[str, Any, str]]] = (
    ("#0072b2", "-", "o"),
    ("#d55e00", (0, (7, 4)), "s"),
    ("#007a59", (0, (2, 3)), "^"),
    ("#a64d79", (0, (10, 3, 2, 3)), "D"),
    ("#8a6d00", (0, (5, 2)), "x"),
    ("#333333", (0, (1, 4)), "+"),
    ("#5b5ea6", (0, (12, 4)), "v"),
    ("#b00020", (0, (6, 2, 1, 2)), "*"),
)
GREY: Final = "#555555"

LEADER: Final = {"arrowstyle": "-", "shrinkA": 1, "shrinkB": 5, "relpos": (0, 0.5)}
"""How the line from an end to its name is drawn."""

SETTINGS: Final[Mapping[str, Any]] = {
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.family": "sans-serif",
    "font.size": 9,
    "svg.fonttype": "none",  # texts stay texts: they can be searched, read aloud and compared
    "svg.hashsalt": "sansio-stream",
}


def short(number: float) -> str:
    """Return the label of a tick: 65536 is 64 Ki, 200000 is 200 k."""
    for unit, size in (("Ki", 1024), ("M", 1_000_000), ("k", 1_000)):
        if number >= size and number % size == 0:
            return f"{number / size:.0f} {unit}"
    return f"{number:g}"


def apart(places: Iterable[float], least: float) -> list[float]:
    """Move ascending positions up, in order, until all distances are at least `least`."""
    moved: list[float] = []
    for place in places:
        moved.append(max(place, moved[-1] + least) if moved else place)
    return moved


def described(lines: Mapping[str, Points]) -> str:
    """Return the lines as JSON text: the description that a plot has in its metadata."""
    return json.dumps(lines, ensure_ascii=False)


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

    Raises:
        ImportError: matplotlib is not installed.
    """
    with importlib.import_module("matplotlib").rc_context(dict(SETTINGS)):
        figure = importlib.import_module("matplotlib.figure").Figure(SIZE)
        area = figure.add_axes(AREA)
        set_axes(area, axes, lines)
        area.set_title(title, loc="left", pad=22, weight="bold", size=12)
        figure.text(AREA[0], 0.03, "\n".join(caption), color=GREY, size=8)
        area.axhline(1, color=GREY, linestyle=(0, (3, 3)), linewidth=1)
        ends = [(1.0, area.get_xlim()[1], floor, GREY)]
        for number, (name, points) in enumerate(lines.items()):
            colour, dash, marker = STYLES[number]
            across, heights = zip(*points, strict=True)
            area.plot(
                across,
                heights,
                color=colour,
                linestyle=dash,
                marker=marker,
                linewidth=1.5 if number else 3,
                zorder=3 if number else 4,
                clip_on=False,
                gid=f"line-{number}",
            )
            ends.append((heights[-1], across[-1], name, colour))
        name_ends(area, sorted(ends))
        drawn = io.StringIO()
        figure.savefig(
            drawn,
            format="svg",
            metadata={
                "Date": None,
                "Creator": None,
                "Title": title,
                "Description": described(lines),
            },
        )
    # The writer ends some lines with a space.
    return "".join(f"{line.rstrip()}\n" for line in drawn.getvalue().splitlines())


def set_axes(area: Any, axes: tuple[str, str], lines: Mapping[str, Points]) -> None:
    """Set the scales, the limits, the ticks and the labels of the two axes."""
    across = sorted({x for points in lines.values() for x, _ in points})
    heights = [y for points in lines.values() for _, y in points]
    ticker = importlib.import_module("matplotlib.ticker")
    area.set(xscale="log", yscale="log")
    area.set_xlim(across[0], across[-1])
    area.set_ylim(min(0.5, *heights) / 1.1, max(heights) * 1.3)
    area.set_xlabel(axes[0])
    area.annotate(axes[1], (0, 1), (0, 6), "axes fraction", "offset points")
    area.set_xticks(across, map(short, across))
    area.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5), numticks=99))
    area.yaxis.set_major_formatter(ticker.FuncFormatter(lambda y, _: short(y)))
    for axis in (area.xaxis, area.yaxis):
        axis.set_minor_locator(ticker.NullLocator())
    area.grid(color="#dddddd", linewidth=0.8)
    area.set_axisbelow(b=True)


def name_ends(area: Any, ends: Sequence[tuple[float, float, str, str]]) -> None:
    """Write the names of the lines beside their ends, so that no two names overlap.

    Args:
        area: the axes.
        ends: for each line the height of its end, its horizontal position, its name, its colour. In
            ascending order.
    """
    points = 72 / area.figure.dpi
    heights = [float(area.transData.transform((x, y))[1]) * points for y, x, *_ in ends]
    for (y, x, name, colour), height, beside in zip(
        ends, heights, apart(heights, LINE), strict=True
    ):
        area.annotate(
            name,
            (x, y),
            (24, beside - height),
            "data",
            "offset points",
            arrowprops={**LEADER, "color": colour},
            va="center",
            annotation_clip=False,
        )
