"""Reads JSON text, takes parts from values, and writes values as text and as frames."""

from __future__ import annotations

import datetime as dt
import json
import re
from typing import TYPE_CHECKING, Any, Final, TypeGuard

from sansio_stream.sse import encode_frame

from ._source import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "decoded",
    "documents",
    "elapsed",
    "encoded",
    "first_document",
    "frame_of",
    "is_list",
    "is_object",
    "json_text",
    "members",
    "parse_json",
    "seconds",
    "status_of",
]

MOST_SECONDS: Final = 1e9
"""The largest time in seconds. A capture has the same limit."""

MOST_SECONDS_SINCE_1970: Final = 1e11
"""The largest time since 1970, in seconds. A larger number is probably in milliseconds, and is not
read.
"""

SPACE: Final = re.compile(r"[ \t\r\n]*")
SPACE_AND_COMMA: Final = re.compile(r"[ \t\r\n]*(?:,[ \t\r\n]*)?")
DECODER: Final = json.JSONDecoder()


# Text to values.


def decoded(data: bytes, what: str) -> str:
    """Return the text of UTF-8 bytes.

    Args:
        data: the bytes.
        what: the subject of the error's sentence.

    Raises:
        SourceError: if the bytes are not UTF-8.
    """
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise SourceError(f"{what} is not text in UTF-8 (byte {error.start:,})") from error


def parse_json(data: bytes | str, what: str) -> Any:
    """Return the value of a whole JSON text.

    Raises:
        SourceError: if it is not JSON, or if it nests too deeply for Python to read.
    """
    text = decoded(data, what) if isinstance(data, bytes) else data
    try:
        return json.loads(text)
    except RecursionError as error:
        raise SourceError(f"{what} has JSON that is nested too deeply") from error
    except ValueError as error:
        raise SourceError(f"{what} is not JSON: {reason_of(error)}") from error


def documents(text: str, what: str) -> Iterator[Any]:
    """Yield the values of JSON texts that follow one another, with white space or a comma between.

    Raises:
        SourceError: as `parse_json` does, after the values before the fault.
    """
    at = after(SPACE, text, 0)
    while at < len(text):
        try:
            value, at = DECODER.raw_decode(text, at)
        except RecursionError as error:
            raise SourceError(f"{what} has JSON that is nested too deeply") from error
        except ValueError as error:
            raise SourceError(f"{what} is not JSON: {reason_of(error)}") from error
        yield value
        at = after(SPACE_AND_COMMA, text, at)


def first_document(text: str) -> tuple[Any, bool]:
    """Return the first JSON value of a text, and whether it is complete.

    An incomplete or invalid value is None. Never raises.
    """
    try:
        value, _ = DECODER.raw_decode(text, after(SPACE, text, 0))
    except (ValueError, RecursionError):
        return None, False
    return value, True


def after(pattern: re.Pattern[str], text: str, at: int) -> int:
    """Return the index after the match of a pattern, which matches everywhere."""
    found = pattern.match(text, at)
    return at if found is None else found.end()


def reason_of(error: ValueError) -> str:
    """Return why a text is not JSON, as a clause.

    A number with too many digits raises a ValueError that is no JSONDecodeError.
    """
    if isinstance(error, json.JSONDecodeError):
        reason = error.msg[:1].lower() + error.msg[1:]
        return f"{reason} (line {error.lineno:,}, column {error.colno:,})"
    return "a number has too many digits"


# Parts of values. A part that has an unexpected type counts as missing.


def is_object(value: object) -> TypeGuard[dict[str, Any]]:
    """Whether a JSON value is an object."""
    return isinstance(value, dict)


def is_list(value: object) -> TypeGuard[list[Any]]:
    """Whether a JSON value is an array."""
    return isinstance(value, list)


def members(value: object) -> dict[str, Any]:
    """Return the members of an object; none for any other value."""
    return value if is_object(value) else {}


def status_of(value: object) -> int | None:
    """Return an HTTP status; None for any other value. Recorders write 0 if no response came."""
    if isinstance(value, int) and not isinstance(value, bool) and 100 <= value <= 999:
        return value
    return None


def seconds(value: object) -> float | None:
    """Return a number of seconds from 0 to 1e9; None for any other value."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value) if 0 <= value <= MOST_SECONDS else None
    return None


def since_1970(value: object) -> float | None:
    """Return the seconds since 1970 of a time: a number of seconds, or text by ISO 8601.

    The result is None for any other value. A time without a zone is local to the program that wrote
    it, and its zone is unknown, so the result is None, too.
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value) if 0 <= value < MOST_SECONDS_SINCE_1970 else None
    if not isinstance(value, str):
        return None
    try:
        time = dt.datetime.fromisoformat(value)
        return None if time.tzinfo is None else time.timestamp()
    except (ValueError, OverflowError):
        return None


def elapsed(start: object, end: object) -> float | None:
    """Return the seconds from one time to another, or None if that is not known."""
    times = since_1970(start), since_1970(end)
    if times[0] is None or times[1] is None:
        return None
    return seconds(round(times[1] - times[0], 6))


# Values to text and frames.


def encoded(text: str) -> bytes:
    """Return text as UTF-8. Surrogate pairs are joined, and each lone surrogate becomes U+FFFD."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").encode()


def json_text(value: object) -> str:
    """Return the compact JSON text of a value that was read from JSON.

    Raises:
        SourceError: if the value nests too deeply for Python to write.
    """
    try:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":"))
    except RecursionError as error:
        raise SourceError("the file has JSON that is nested too deeply") from error
    return text


def frame_of(data: str, name: object = None) -> bytes:
    """Return the frame of a payload.

    Args:
        data: the payload. Each of its lines becomes a `data` line.
        name: the name of the event. The frame has none if this is not a printable string.
    """
    name = name if isinstance(name, str) and name.isprintable() else ""
    lines = encoded(data).replace(b"\r\n", b"\n").replace(b"\r", b"\n").decode()
    return encode_frame(name, lines)
