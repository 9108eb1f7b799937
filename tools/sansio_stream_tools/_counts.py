"""Counts of names and percentiles of numbers, in memory that does not grow with the input."""

from __future__ import annotations

import math
from collections import Counter
from typing import Final

__all__ = ["NameCounts", "Percentiles"]

MOST_NAMES: Final = 10_000
"""The maximum number of names that have a count of their own."""

OTHER_NAMES: Final = "(other names)"

LARGEST: Final = 1e12
"""A larger number is counted as this number."""


class NameCounts:
    """The number of times that each name was added.

    After 10,000 different names, all new names are counted together.
    """

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def add(self, name: str, number: int = 1) -> None:
        """Count a name."""
        if len(self._counts) >= MOST_NAMES and name not in self._counts:
            name = OTHER_NAMES
        self._counts[name] += number

    def __len__(self) -> int:
        return len(self._counts)

    def most_common(self, number: int) -> list[tuple[str, int]]:
        """Return the most frequent names, with their counts."""
        return self._counts.most_common(number)


class Percentiles:
    """Percentiles of numbers that are 0 or larger.

    Numbers below 10 are rounded to a thousandth, larger ones to four digits.

    Memory: at most about 110,000 counters, however many numbers are added.
    """

    def __init__(self) -> None:
        self._counts: Counter[float] = Counter()
        self._total = 0

    def add(self, value: float) -> None:
        """Add a number."""
        rounded = round(value, 3) if value < 10 else float(f"{min(value, LARGEST):.3e}")
        self._counts[rounded] += 1
        self._total += 1

    def __len__(self) -> int:
        return self._total

    def at(self, *percents: int) -> list[float]:
        """Return percentiles by nearest rank, as a report does. `percents` must be ascending.

        Raises ValueError if no number was added.
        """
        if not self._total:
            raise ValueError("there are no numbers")
        found: list[float] = []
        ranked = iter(sorted(self._counts.items()))
        value, seen = next(ranked)
        for percent in percents:
            rank = math.ceil(percent * self._total / 100)
            while seen < rank:
                value, count = next(ranked)
                seen += count
            found.append(value)
        return found
