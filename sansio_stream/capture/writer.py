"""Writes captures: chunks and their times in, lines out."""

from __future__ import annotations

import json
from binascii import b2a_base64
from typing import TYPE_CHECKING, Any

from .contents import seconds_from

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .header import CaptureHeader

__all__ = ["CaptureWriter"]


class CaptureWriter:
    """A formatter for one capture. The caller appends the returned lines to a file, in order.

    The first call of any method also returns the header line. After `end`, every call raises
    RuntimeError. `at` is a time in seconds since the request was sent. It is rounded to the
    microsecond. A method raises ValueError if `at` is not a number from 0 to 1e9. A call that
    raises an exception changes nothing.
    """

    def __init__(self, header: CaptureHeader) -> None:
        """Format the header line.

        Raises:
            TypeError: if `header.request` contains an object of a type that JSON does not have.
            ValueError: if `header.request` contains a value that JSON cannot hold, such as NaN.
        """
        self._header_line = _line(
            {
                "sansio_stream_capture": header.version,
                "status": header.status,
                "headers": header.headers,
                "request": header.request,
            }
        )
        self._ended = False

    def begin(self) -> bytes:
        """Return the header line, to write it before the first chunk arrives."""
        return self._append(b"")

    def chunk(self, data: bytes | bytearray | memoryview, at: float) -> bytes:
        """Return the line for one chunk."""
        data = bytes(memoryview(data))  # bytes(3) would be three NUL bytes; memoryview(3) raises
        try:
            return self._append(_line({"at": seconds_from(at), "text": data.decode()}))
        except UnicodeDecodeError:
            base64 = b2a_base64(data, newline=False).decode()
            return self._append(_line({"at": seconds_from(at), "base64": base64}))

    def end(self, at: float, error: str | None = None) -> bytes:
        """Return the last line. `error` is the text of the error that ended the body, if any."""
        how = {"end": "eof"} if error is None else {"end": "error", "error": error}
        lines = self._append(_line({"at": seconds_from(at), **how}))
        self._ended = True
        return lines

    def _append(self, line: bytes) -> bytes:
        if self._ended:
            raise RuntimeError("the end of this capture has already been written")
        lines, self._header_line = self._header_line + line, b""
        return lines


def _line(members: Mapping[str, Any]) -> bytes:
    # UTF-8 cannot encode a lone surrogate, which the text of an error may contain. The text that
    # "backslashreplace" writes instead is also JSON's escape for that surrogate.
    text = json.dumps(members, ensure_ascii=False, allow_nan=False)
    return text.encode(errors="backslashreplace") + b"\n"
