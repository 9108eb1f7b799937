"""Generates the tables and plots of docs/speed.md from recorded results. Measures nothing.

`python benchmarks/page.py` writes them. A test compares them with the page. The results are the
files in `results`, which `bench.py --json` writes for each version of Python, and icount.toml.
"""

import json
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from curves import CURVES
from goals import GOALS, shown
from icount import LIMITS, floor_case, kept
from plot import svg

RESULTS: Final = Path(__file__).with_name("results")
DOCS: Final = Path(__file__).resolve().parents[1] / "docs"
PAGE: Final = DOCS / "speed.md"

_MADE: Final = re.compile(r"(<!-- made: (\w+) -->\n).*?(?=<!-- end -->)", re.DOTALL)


def results() -> list[dict[str, Any]]:
    """Return the results of each version of Python, the oldest version first."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(RESULTS.glob("*.json"))]


def heads() -> list[str]:
    """Return the headings of the columns: the versions of Python, such as 3.11."""
    pythons = [each["conditions"]["python"] for each in results()]
    return [python.split()[1].rpartition(".")[0] for python in pythons]


def rows(table: Iterable[Sequence[str]]) -> str:
    """Return a table in Markdown. The first row is its head."""
    head, *others = ("| " + " | ".join(row) + " |" for row in table)
    columns = head.count(" | ") + 1
    return "\n".join([head, "|" + " --- |" * columns, *others, ""])


def targets() -> str:
    """Return the table of goals, targets and figures. A figure that misses its target is bold."""
    table = [["what", "target", *heads()]]
    for goal in (goal for group in GOALS.values() for goal in group):
        row = [goal.what, goal.target]
        for result in results():
            value, *_ = result["goals"][goal.what]
            reached = shown(value, goal.unit)
            row.append(reached if goal.is_met(value) else f"**{reached}**")
        table.append(row)
    return rows(table)


def peers() -> str:
    """Return the table of all libraries on one stream, relative to the floor."""
    names = results()[0]["peers"]
    return rows(
        [
            ["3,000 events, one a chunk, ÷ floor", *heads()],
            *(
                [name, *(shown(result["peers"][name][0], "×") for result in results())]
                for name in sorted(names, key=lambda name: names[name][0])
            ),
        ]
    )


def instructions() -> str:
    """Return the table of instructions per event, with their ratio to the floor and its target."""
    versions = kept()["instructions"]
    builds = kept().get("builds", {})
    names = next(iter(versions.values()))
    return rows(
        [
            [
                "instructions per event",
                "target",
                *(f"{each} ({builds[each]})" if each in builds else each for each in versions),
            ],
            *(
                [
                    name,
                    f"≤ {LIMITS[name]:.2f} ×" if name in LIMITS else "",
                    *(counted(name, each) for each in versions.values()),
                ]
                for name in names
            ),
        ]
    )


def counted(name: str, counts: dict[str, int]) -> str:
    """Return a count and its ratio to the floor. The ratio is bold if it misses its target."""
    ratio = counts[name] / counts[floor_case(name)]
    shown_ratio = f"{ratio:.2f} ×"
    if name in LIMITS and round(ratio, 2) > LIMITS[name]:
        shown_ratio = f"**{shown_ratio}**"
    return f"{counts[name]:,} ({shown_ratio})"


def conditions_of(conditions: dict[str, Any]) -> list[str]:
    """Return two lines: the time and the machine of a measurement, and the versions it used."""
    versions = ", ".join(f"{name} {version}" for name, version in conditions["versions"].items())
    when = f"{conditions['date']}, {conditions['python']}, {conditions['machine']}"
    return [f"{when}; CPU time, medians of {conditions['rounds']} rounds", versions]


def measured() -> str:
    """Return a list of the conditions of each run."""
    return "".join(f"- {'; '.join(conditions_of(result['conditions']))}\n" for result in results())


def picture_of(name: str) -> Path:
    """Return the path of a plot."""
    return DOCS / f"speed-{name}.svg"


def lines_of(name: str) -> dict[str, list[tuple[int, float]]]:
    """Return the lines of a plot. They show the run on the oldest version of Python."""
    return {
        contender: [(int(size), value) for size, (value, *_) in points.items()]
        for contender, points in results()[0]["curves"][name].items()
    }


def pictures() -> dict[Path, str]:
    """Return the plots by their paths.

    Raises:
        ImportError: matplotlib is not installed.
    """
    return {
        picture_of(name): svg(
            curve.title,
            (curve.axis, "times json.loads of the payloads"),
            lines_of(name),
            "json.loads alone",
            conditions_of(results()[0]["conditions"]),
        )
        for name, curve in CURVES.items()
    }


MAKERS: Final[dict[str, Callable[[], str]]] = {
    maker.__name__: maker for maker in (targets, peers, instructions, measured)
}


def made(page: str) -> str:
    """Return the page with its tables generated anew."""
    return _MADE.sub(lambda match: f"{match[1]}\n{MAKERS[match[2]]()}\n", page)


if __name__ == "__main__":
    PAGE.write_text(made(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    for path, picture in pictures().items():
        path.write_text(picture, encoding="utf-8")
