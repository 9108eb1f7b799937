"""Content-decoding: the encoded bytes of a body in, the decoded bytes out, in bounded pieces.

The module does no I/O and depends on no HTTP library.

HTTP libraries decode each chunk as a whole, through all of its encodings. A kilobyte can then
become a gigabyte before any code can count it. This module decodes a single encoding, and returns
at most `RESPONSE_PIECE_BYTES` at once.
"""

from __future__ import annotations

import zlib
from typing import Any, Final

from sansio_stream.errors import excerpt

__all__ = [
    "FORMATS",
    "OFFERED",
    "RESPONSE_PIECE_BYTES",
    "STEP_COST",
    "Decoder",
    "DecodingError",
    "UnknownEncodingError",
    "names_in",
]

OFFERED: Final = "gzip, deflate"
"""The `accept-encoding` of a request.

It omits br and zstd, because only some of their libraries can limit the size of a piece.
"""

RESPONSE_PIECE_BYTES: Final = 65_536
"""The size in bytes of the largest piece that a decoder returns.

A recording splits larger chunks at this size. An async stream counts its work in bytes, and lets
other tasks run after this many.
"""

STEP_COST: Final = 256
"""The work of a call of `piece`, in bytes, besides its output. It takes about 30 µs (CPython)."""

GIVEN_BYTES: Final = 4_096
"""The most input that zlib gets at once, in bytes.

zlib copies its unused input after each piece and after each member of a gzip.
"""

FORMATS: Final = {"gzip": "gzip", "x-gzip": "gzip", "deflate": "deflate"}
"""The encodings that zlib decodes, by their names in a header."""

GZIP, ZLIB, RAW = 31, zlib.MAX_WBITS, -zlib.MAX_WBITS


class DecodingError(Exception):
    """The body is not valid in its encoding, or it ends before its encoded data does."""


class UnknownEncodingError(Exception):
    """The body has an encoding that is not supported, or several encodings."""


class Decoder:
    """Decodes a single gzip or deflate encoding.

    It keeps the received bytes that are not decoded yet, and the window of zlib. The cost is linear
    in the bytes received and returned.

    Args:
        format: "gzip" or "deflate".
    """

    def __init__(self, format: str) -> None:
        self._format = format
        self._data = b""
        self._at = 0
        self._inflate: Any = None
        self._has_begun = False
        self._is_full = False
        self._failure: DecodingError | None = None

    @classmethod
    def of(cls, encoding: str) -> Decoder | None:
        """Return the decoder for a `content-encoding`, or None if nothing is encoded.

        Raises:
            UnknownEncodingError: The encoding is neither gzip nor deflate, or there are several.
        """
        layers = names_in(encoding)
        if not layers:
            return None
        if len(layers) > 1 or layers[0] not in FORMATS:
            message = (
                f"the body has the content-encoding {encoding[:80]!r}; "
                "only a single gzip or deflate is supported"
            )
            raise UnknownEncodingError(message)
        return cls(FORMATS[layers[0]])

    def receive(self, data: bytes) -> None:
        """Take bytes of the body, split anywhere."""
        self._data = self._data[self._at :] + data
        self._at = 0

    def piece(self) -> bytes:
        """Return the next decoded bytes, at most `RESPONSE_PIECE_BYTES`. The result may be b"".

        A call decodes at most `GIVEN_BYTES` of input or one gzip member, so no call takes long.
        Bytes before a fault are returned first, however the input was split.

        Raises:
            DecodingError: The input is faulty at this point. Every later call raises it again.
        """
        if self._failure is not None:
            raise self._failed(self._failure)
        given = self._data[self._at : self._at + GIVEN_BYTES]
        inflate = self._inflate
        if inflate is None:
            padding = len(given) - len(given.lstrip(b"\0")) if self._has_begun else 0
            if padding or not given:
                self._at += padding
                return b""
            inflate = self._inflate = self._begin(given)
        before = inflate.copy()
        try:
            piece: bytes = inflate.decompress(given, RESPONSE_PIECE_BYTES)
        except zlib.error as exc:
            self._failure = DecodingError(f"the body is not {self._format}: {excerpt(str(exc))}")
            piece = output_before_fault(before, given)
            if not piece:
                raise self._failed(self._failure) from exc
            return piece
        self._at += len(given) - len(inflate.unused_data or inflate.unconsumed_tail)
        # After a full piece zlib may hold more output, even if it has taken all of its input.
        self._is_full = len(piece) == RESPONSE_PIECE_BYTES and not inflate.eof
        if inflate.eof:
            self._inflate = None
        return piece

    @property
    def has_more(self) -> bool:
        """Whether received bytes are not decoded yet. Decoding them may return nothing."""
        return self._is_full or self._at < len(self._data)

    def _failed(self, failure: DecodingError) -> DecodingError:
        """Drop the remaining input, and return the error for the caller to raise."""
        self._data = b""
        self._at = 0
        self._is_full = False
        return failure

    def end(self) -> DecodingError | None:
        """Return the error if the body ends here, or None if its encoded data is complete."""
        if self._inflate is None:
            return None
        return DecodingError(f"the body ends inside its {self._format} data")

    def _begin(self, given: bytes) -> Any:
        """Return a zlib object for the next member of a gzip, or for the only one of a deflate.

        RFC 9110 defines deflate with the zlib header of RFC 1950. The low four bits of its first
        byte are 8. Some servers send raw deflate without this header. Raw deflate with the same low
        bits would be a stored block with a padding bit set, which no encoder writes.
        """
        if self._format == "gzip":
            bits = GZIP
        elif self._has_begun:
            self._failure = DecodingError("the body goes on after the end of its deflate data")
            raise self._failed(self._failure)
        else:
            bits = ZLIB if given[0] & 0x0F == 8 else RAW
        self._has_begun = True
        return zlib.decompressobj(bits)


def names_in(encoding: str) -> list[str]:
    """Return the names in a `content-encoding`, in lower case and without identity."""
    names = (name.strip().lower() for name in encoding.split(","))
    return [name for name in names if name not in ("", "identity")]


def output_before_fault(inflate: Any, given: bytes) -> bytes:
    """Return the output that precedes the fault, which zlib itself throws away.

    It is never longer than a piece: zlib returns a full piece before it decodes further.
    """
    out = bytearray()
    try:
        for at in range(len(given)):
            out += inflate.decompress(given[at : at + 1])
    except zlib.error:
        pass
    return bytes(out)
