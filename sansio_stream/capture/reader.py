"""Reads captures: bytes in, chunks and their times out, piece by piece or as a whole."""

from __future__ import annotations

import json
import re
from binascii import a2b_base64
from collections import deque
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from .contents import Capture, CaptureEnd, CaptureError, Chunk, seconds_from
from .header import CaptureHeader

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .contents import CaptureKind

__all__ = ["CaptureReader", "parse_capture"]

FIRST_BYTES: Final = b'{"sansio_stream_capture":'
"""Every capture begins with this member, so that its first bytes identify the format."""

# The line ends of SSE. No line contains one, so each payload fits on one `data:` line.
LINE_END: Final = re.compile(rb"\r\n|\n|\r")


class CaptureReader:
    """A parser of a file that arrives piece by piece. `parse_capture` lists the kinds of files.

        reader = CaptureReader()
        while data := file.read(65_536):
            for chunk in reader.feed(data):
                ...
        for chunk in reader.close():
            ...
        reader.end  # None if the recording was cut off

    How the file is cut into pieces does not matter, except that each piece of a plain body is one
    chunk.

    `feed` and `close` return iterators. An iterator parses a line when the caller takes its chunk.
    If the caller does not take a chunk, the iterator of the next call returns it. At a damaged
    line, after all chunks before it, an iterator raises CaptureError. Every later call raises it
    again.

    Cost: linear in the bytes fed. Memory: the pieces whose chunks are not taken yet, one line, and
    the header.

    Args:
        max_line_bytes: the largest size of a line, without its line end. A longer line is an error.
            A file with more blank bytes at its beginning is read as a plain body.
    """

    def __init__(self, *, max_line_bytes: int = 2**26) -> None:
        self._input = Input(max_line_bytes)
        self._max_line_bytes = max_line_bytes
        # While the kind is unknown: only white space, or the beginning of FIRST_BYTES.
        self._undecided = bytearray()
        self._source: CaptureKind | None = None
        self._header: CaptureHeader | None = None
        self._end: CaptureEnd | None = None
        self._error: CaptureError | None = None
        self._is_cut = False

    @property
    def source(self) -> CaptureKind | None:
        """The kind of file, as in `Capture`. None until the first bytes have told it."""
        return self._source

    @property
    def header(self) -> CaptureHeader | None:
        """The header, as in `Capture`. None until it is known, which is before the first chunk."""
        return self._header

    @property
    def end(self) -> CaptureEnd | None:
        """How the body ended, as in `Capture`. None until it is known.

        The end of a capture is known after its line. The end of another file is known after the
        iterator of `close` is exhausted.
        """
        return self._end

    def feed(self, data: bytes | bytearray | memoryview) -> Iterator[Chunk]:
        """Take the next bytes of the file, and return an iterator over the next chunks.

        Raises:
            CaptureError: if the iterator of an earlier call has raised it.
            RuntimeError: after `close`.
            TypeError: if `data` is not bytes-like.
        """
        data = bytes(memoryview(data))
        self._raise_if_damaged()
        if self._input.is_closed:
            raise RuntimeError("the end of this file has already been reached")
        if self._source is None:
            self._decide(data)
        else:
            self._input.feed(data)
        return self._chunks()

    def close(self) -> Iterator[Chunk]:
        """Note the end of the file, and return an iterator over the remaining chunks.

        The last line may have no line end. If it is cut off, it is dropped, and `end` stays None.
        Further calls only return an iterator over the chunks that are left.

        Raises:
            CaptureError: if the iterator of an earlier call has raised it.
        """
        self._raise_if_damaged()
        if self._source is None:
            self._begin("capture" if self._undecided.startswith(b"{") else "body", b"")
        self._input.close()
        return self._chunks()

    def _raise_if_damaged(self) -> None:
        """Raise the error of a damaged line again, if there was one."""
        if self._error is not None:
            raise CaptureError(self._error.line, self._error.reason)

    def _decide(self, data: bytes) -> None:
        """Find out the kind of the file, if its next bytes tell it."""
        if self._undecided.startswith(b"{"):
            data = bytes(self._undecided) + data
            self._undecided.clear()
        if not self._undecided:
            if data.startswith(FIRST_BYTES):
                self._begin("capture", data)
                return
            if FIRST_BYTES.startswith(data):
                self._undecided += data
                return
        rest = data.lstrip()
        blank = len(self._undecided) + len(data) - len(rest)
        if rest.startswith(b"{") and blank <= self._max_line_bytes:
            self._begin("payloads", data)
        elif rest or blank > self._max_line_bytes:
            self._begin("body", data)
        else:
            self._undecided += data

    def _begin(self, source: CaptureKind, data: bytes) -> None:
        self._source = source
        if source != "capture":
            self._header = CaptureHeader()
        self._input.feed(bytes(self._undecided))
        self._input.feed(data)
        self._undecided.clear()

    def _chunks(self) -> Iterator[Chunk]:
        while (chunk := self._next_chunk()) is not None:
            yield chunk

    def _next_chunk(self) -> Chunk | None:
        self._raise_if_damaged()
        try:
            match self._source:
                case "capture":
                    return self._next_of_capture()
                case "payloads":
                    return self._next_payload()
                case _:
                    return self._next_piece()
        except CaptureError as error:
            # Keep a copy, because the error itself keeps the frames of its traceback alive.
            self._error = CaptureError(error.line, error.reason)
            raise

    def _next_of_capture(self) -> Chunk | None:
        while (row := self._next_row()) is not None:
            line, value = row
            try:
                entry = header_of(value) if line.number == 1 else entry_of(value)
            except ValueError as error:
                raise CaptureError(line.number, str(error)) from error
            if isinstance(entry, CaptureHeader):
                self._header = entry
            elif entry is not None and self._end is not None:
                raise CaptureError(line.number, "there is a line after the end of the capture")
            elif isinstance(entry, Chunk):
                return entry
            elif entry is not None:
                self._end = entry
        if self._input.is_closed and self._header is None:
            self._header = CaptureHeader()  # the file is cut inside its first line
        return None

    def _next_payload(self) -> Chunk | None:
        if (row := self._next_row()) is not None:
            line, value = row
            return Chunk(None, event_line(value) + b"data: %b\n\n" % line.data)
        if self._input.is_closed and not self._is_cut:
            self._end = CaptureEnd(None, None)
        return None

    def _next_piece(self) -> Chunk | None:
        if (piece := self._input.next_piece()) is not None:
            return Chunk(None, piece)
        if self._input.is_closed:
            self._end = CaptureEnd(None, None)
        return None

    def _next_row(self) -> tuple[Line, Any] | None:
        """Return the next line that is not blank, and its value. None if there is none yet."""
        while (line := self._input.next_line()) is not None:
            if not line.data.strip():
                continue
            try:
                # Decode first: given bytes, json.loads would decode some as UTF-16 or UTF-32.
                return line, json.loads(line.data.decode())
            except RecursionError as error:
                raise CaptureError(line.number, "JSON nested too deeply") from error
            except ValueError as error:
                if not line.is_last:
                    raise CaptureError(line.number, f"not JSON in UTF-8: {error}") from error
                self._is_cut = True
        return None


def parse_capture(data: bytes | bytearray | memoryview) -> Capture:
    """Parse a whole file. Its first bytes decide which of three kinds it is.

    * A file that begins with the member `sansio_stream_capture` is a capture.
    * Any other file that begins with `{`, after optional whitespace, has one JSON payload per line.
      Each line becomes a frame. The frame has the line unchanged as its `data:`. It has the type of
      the payload as its `event:`, if that type is a printable string.
    * Any other file is the body of a response, byte for byte.

    A crash may cut off the last line. Such a line is dropped, and `end` is None.

    Raises:
        CaptureError: if the file has any other damage. No bytes raise any other exception.
    """
    data = bytes(memoryview(data))
    reader = CaptureReader(max_line_bytes=len(data))
    chunks = (*reader.feed(data), *reader.close())
    assert reader.source is not None
    assert reader.header is not None
    return Capture(reader.header, chunks, reader.end, reader.source)


class Line(NamedTuple):
    """A line of a file.

    Attributes:
        number: its number. The first line is 1.
        data: its bytes, without the line end.
        is_last: whether the file ends with this line, without a line end.
    """

    number: int
    data: bytes
    is_last: bool


class Input:
    """The bytes of a file that are not read yet. It returns them as pieces or as lines.

    Attributes:
        is_closed: whether the end of the file was reached.
    """

    def __init__(self, max_line_bytes: int) -> None:
        self.is_closed = False
        self._max_line_bytes = max_line_bytes
        self._pieces: deque[bytes] = deque()
        self._at = 0  # the position in the first piece
        self._begun = bytearray()  # a line whose line end is missing
        self._number = 1  # the number of the next line
        self._after_cr = False  # whether a CR was read last: an LF after it ends the same line

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the file."""
        if data:
            self._pieces.append(data)

    def close(self) -> None:
        """Note the end of the file."""
        self.is_closed = True

    def next_piece(self) -> bytes | None:
        """Return the next piece as it was fed. None if there is none yet."""
        return self._pieces.popleft() if self._pieces else None

    def next_line(self) -> Line | None:
        """Return the next line. None if there is none yet.

        Raises:
            CaptureError: if the line is too long.
        """
        while self._pieces:
            piece = self._pieces[0]
            if self._after_cr and piece.startswith(b"\n"):
                self._at = 1
            self._after_cr = False
            line_end = LINE_END.search(piece, self._at)
            if line_end is None:
                self._begun += memoryview(piece)[self._at :]
                self._advance(len(piece))
                self._check_length(self._begun)
                continue
            data = piece[self._at : line_end.start()]
            if self._begun:
                data = bytes(self._begun) + data
                self._begun.clear()
            self._advance(line_end.end())
            self._after_cr = not self._at and line_end[0] == b"\r"
            self._check_length(data)
            line = Line(self._number, data, is_last=False)
            self._number += 1
            return line
        if self.is_closed and self._begun:
            line = Line(self._number, bytes(self._begun), is_last=True)
            self._begun.clear()
            return line
        return None

    def _advance(self, at: int) -> None:
        """Read on at this position of the first piece, or drop the piece if this is its end."""
        if at == len(self._pieces[0]):
            self._pieces.popleft()
            at = 0
        self._at = at

    def _check_length(self, line: bytes | bytearray) -> None:
        """Raise CaptureError if a line is too long."""
        if len(line) > self._max_line_bytes:
            reason = f"the line is longer than {self._max_line_bytes:,} bytes"
            raise CaptureError(self._number, reason)


def header_of(value: Any) -> CaptureHeader:
    """Return the header that the first line of a capture stands for. Raises ValueError."""
    known: Any = {"status": None, "headers": {}, "request": None, **value}
    match known:
        case {"sansio_stream_capture": int(version)} if version > 1:
            raise ValueError(f"the format version is {version}; this reader supports version 1")
        case {
            "sansio_stream_capture": 1,
            "status": int() | None,
            "headers": dict(),
            "request": dict() | None,
        } if all(isinstance(text, str) for text in known["headers"].values()):
            return CaptureHeader(
                status=known["status"], headers=known["headers"], request=known["request"]
            )
        case _:
            raise ValueError("a member of the header has the wrong type")


def entry_of(value: Any) -> Chunk | CaptureEnd | None:
    """Return what a later line of a capture stands for; None if its kind is unknown.

    Raises ValueError if the line is damaged.
    """
    match value:
        case {"at": at, "text": str(text)}:
            return Chunk(seconds_from(at), text.encode())
        case {"at": at, "base64": str(text)}:
            return Chunk(seconds_from(at), a2b_base64(text, strict_mode=True))
        case {"at": at, "end": "eof"}:
            return CaptureEnd(seconds_from(at), None)
        case {"at": at, "end": "error", "error": str(text)}:
            return CaptureEnd(seconds_from(at), text)
        case {"text": _} | {"base64": _} | {"end": _}:
            raise ValueError("a member of a chunk or an end is missing or has the wrong type")
        case {"sansio_stream_capture": _}:
            raise ValueError("there is a second header, so the file has two captures")
        case {}:
            return None  # a kind of line that only later versions write
        case _:
            raise ValueError("not a JSON object")


def event_line(payload: Any) -> bytes:
    """Return the `event:` line for a payload, or b"" if its type cannot be an event name."""
    match payload:
        # An unprintable name may contain a line end, which would begin another field, or a lone
        # surrogate, which UTF-8 cannot encode.
        case {"type": str(name)} if name.isprintable():
            return f"event: {name}\n".encode()
        case _:
            return b""
