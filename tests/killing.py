"""A function that kills its process on certain items. Other processes import it from here."""

import os
import signal
from pathlib import Path

__all__ = ["Killing"]


class Killing:
    """A function that kills its process on some items, each a number of times.

    Args:
        folder: an empty folder in which the processes count.
        deaths: the number of deaths of each item that kills.
    """

    def __init__(self, folder: Path, deaths: dict[int, int]) -> None:
        self.folder = folder
        self.deaths = deaths

    def __call__(self, item: int) -> int:
        calls = self.folder / str(item)
        with calls.open("ab") as file:
            file.write(b".")
        if calls.stat().st_size <= self.deaths.get(item, 0):
            os.kill(os.getpid(), signal.SIGKILL)
        return item * item
