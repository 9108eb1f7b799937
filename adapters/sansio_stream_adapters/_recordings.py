"""Recordings of many streams: which file each of them is written to.

The module depends on neither HTTP nor messages.
"""

from __future__ import annotations

import errno
import itertools
import os
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from sansio_stream.errors import printable

from ._recording import Recorder, RecordTo, open_private, warn_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["RecordStreamsTo", "Recordings", "new_file"]

RecordStreamsTo: TypeAlias = "str | os.PathLike[str] | Callable[[Any], RecordTo | None]"
"""Where the streams of a transport are recorded: a file, a folder, or a function of the request.

A file takes a single stream. A folder gets a file for each stream. The function returns a file, a
folder or a binary file, or None for a stream that is not recorded.
"""

NUMBERS: Final = itertools.count(1)
"""The numbers in the names of files. One counter serves the whole process."""

NOT_IN_A_NAME: Final = r"[^A-Za-z0-9_-]"
ID_CHARACTERS: Final = 64


def new_file(folder: str | os.PathLike[str], id: str | None = None) -> Path:
    """Create an empty file with a name of its own in a folder, and return its path.

    The name has the time in UTC, a number, and of the id those of its first characters that are
    harmless in a name. Only the owner can read the file. No existing file is opened, and no
    symbolic link in the place of the file is followed.

    Args:
        folder: an existing folder.
        id: identifies the stream to people, such as the id of its request.

    Raises:
        OSError: the folder does not exist or cannot be written.
    """
    at = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    harmless = re.sub(NOT_IN_A_NAME, "", id or "")[:ID_CHARACTERS]
    while True:
        parts = [at, f"{next(NUMBERS):06}", *([harmless] if harmless else [])]
        path = Path(folder, f"{'-'.join(parts)}.capture.jsonl")
        try:
            os.close(open_private(str(path), os.O_WRONLY | os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            continue  # another process has taken this number in this second
        return path


class Recordings:
    """Makes the recorder of each stream.

    Raises:
        OSError: a file cannot be written.
        FileExistsError: a file exists and is not empty.
        TypeError: `target` is neither a path nor a function.
    """

    def __init__(self, target: RecordStreamsTo) -> None:
        self._target = target
        # Taking from a list is atomic, so two streams never get the same file.
        self._unused: list[RecordTo] = []
        if not callable(target) and not is_folder(target):
            Recorder(target)
            self._unused.append(target)

    @staticmethod
    def of(target: RecordStreamsTo | Recordings | None) -> Recordings | None:
        """Return the recordings for a target. Returns recordings or None unchanged."""
        return target if target is None or isinstance(target, Recordings) else Recordings(target)

    def recorder(
        self, request: object, body: Mapping[str, Any] | None, id: str | None, sent_at: float
    ) -> Recorder | None:
        """Return the recorder of a stream, or None.

        A failure must not affect the stream. So it gives a RuntimeWarning and the result None.

        Args:
            request: the request, for a function that chooses the file.
            body: the parameters of the request, which the recording contains.
            id: the id in the name of a file in a folder.
            sent_at: the `time.monotonic()` at which the request was sent.
        """
        try:
            target = self._file_for(request, id)
            recorder = None if target is None else Recorder(target, body)
        except Exception as error:  # noqa: BLE001  (a function of the caller may raise anything)
            warn_of(f"the stream is not recorded: {printable(str(error))}", stacklevel=3)
            return None
        if recorder is not None:
            recorder.sent(sent_at)
        return recorder

    def _file_for(self, request: object, id: str | None) -> RecordTo | None:
        target = self._target
        chosen = target(request) if callable(target) else target
        if isinstance(chosen, str | os.PathLike) and is_folder(chosen):
            return new_file(chosen, id)
        if callable(target):
            return chosen
        try:
            return self._unused.pop()
        except IndexError:
            message = "the file has another stream; to record each stream, pass a folder"
            raise FileExistsError(errno.EEXIST, message, str(target)) from None


def is_folder(path: str | os.PathLike[str]) -> bool:
    """Whether the path leads to a folder."""
    return Path(path).is_dir()
