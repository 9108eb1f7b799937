"""Content-decoding: the bytes of a body as they were sent in, what they stand for out, in pieces.

Reads nothing, waits for nothing, knows no HTTP library. HTTP libraries decode each chunk whole, and
layer upon layer: a kilobyte can become a gigabyte before anybody could count it. Here one layer is
decoded, and never more than `PIECE_BYTES` at once.
"""

from __future__ import annotations

import zlib
from typing import Any, Final

from sansio_stream.errors import excerpt

__all__ = [
    "OFFERED",
    "PIECE_BYTES",
    "STEP_COST",
    "Decoder",
    "DecodingError",
    "UnknownEncodingError",
]

OFFERED: Final = "gzip, deflate"
"""What a request accepts. Not br and zstd: of their libraries only some can bound a piece."""

PIECE_BYTES: Final = 65_536
"""How much comes out at once, and how much of any chunk the machine is given at once: a chunk may
have megabytes without an event.
"""

STEP_COST: Final = 256
"""A step costs at least as much as so many bytes (about 30 µs, CPython), whatever comes out."""

GIVEN_BYTES: Final = 4_096
"""How much is given to zlib at once: it copies what it leaves, with each piece and each member."""

FORMATS: Final = {"gzip": "gzip", "x-gzip": "gzip", "deflate": "deflate"}

GZIP, ZLIB, RAW = 31, zlib.MAX_WBITS, -zlib.MAX_WBITS


class DecodingError(Exception):
    """The body is not encoded as it says, or ended inside of what it had begun."""


class UnknownEncodingError(Exception):
    """The body has an encoding that is not decoded here, or more than one."""


class Decoder:
    """One layer of gzip or deflate.

    Holds what was received and not decoded yet, and zlib's window. Cost: one pass over both sides.

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
        """Return the decoder for the value of a `content-encoding`; None where there is none.

        Raises UnknownEncodingError.
        """
        names = [name.strip().lower() for name in encoding.split(",")]
        layers = [name for name in names if name not in ("", "identity")]
        if not layers:
            return None
        if len(layers) > 1 or layers[0] not in FORMATS:
            told = f"a body with the content-encoding {encoding[:80]!r}, which was not decoded"
            raise UnknownEncodingError(told)
        return cls(FORMATS[layers[0]])

    def receive(self, data: bytes) -> None:
        """Take bytes of the body, cut anywhere."""
        self._data = self._data[self._at :] + data
        self._at = 0

    def piece(self) -> bytes:
        """Return what comes next, at most `PIECE_BYTES`; b"" where this step brings nothing out.

        A step takes `GIVEN_BYTES` at most, or one member: no call works for long, whatever came.
        Raises DecodingError, where the encoding breaks and ever after. What is before that comes
        out, however it was cut.
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
            piece: bytes = inflate.decompress(given, PIECE_BYTES)
        except zlib.error as exc:
            self._failure = DecodingError(f"the body is no {self._format}: {excerpt(str(exc))}")
            piece = decoded_up_to_the_fault(before, given)
            if not piece:
                raise self._failed(self._failure) from exc
            return piece
        self._at += len(given) - len(inflate.unused_data or inflate.unconsumed_tail)
        # Where a piece is full, zlib may hold more without having left any input.
        self._is_full = len(piece) == PIECE_BYTES and not inflate.eof
        if inflate.eof:
            self._inflate = None
        return piece

    @property
    def has_more(self) -> bool:
        """Whether something was received that is not decoded; it may bring nothing out."""
        return self._is_full or self._at < len(self._data)

    def _failed(self, failure: DecodingError) -> DecodingError:
        """Return what is to be raised; nothing is decoded behind it."""
        self._data = b""
        self._at = 0
        self._is_full = False
        return failure

    def end(self) -> DecodingError | None:
        """Return what is wrong if nothing else will be received; None if nothing is missing."""
        if self._inflate is None:
            return None
        return DecodingError(f"the body ended before its {self._format} did")

    def _begin(self, given: bytes) -> Any:
        """Begin with the first, or the next, member of a gzip, or with the only one of a deflate.

        RFC 9110 says of deflate that it has the header of zlib (RFC 1950), whose first byte ends
        in 8; some servers send it bare. Nobody's bare one begins so: it would be a stored block
        with a bit set where there are none.
        """
        if self._format == "gzip":
            bits = GZIP
        elif self._has_begun:
            self._failure = DecodingError("something stands behind the end of the deflate")
            raise self._failed(self._failure)
        else:
            bits = ZLIB if given[0] & 0x0F == 8 else RAW
        self._has_begun = True
        return zlib.decompressobj(bits)


def decoded_up_to_the_fault(inflate: Any, given: bytes) -> bytes:
    """Return what comes out before the fault; zlib itself throws that away. It is no more than a
    piece, or the fault would not have been reached.
    """
    out = bytearray()
    try:
        for at in range(len(given)):
            out += inflate.decompress(given[at : at + 1])
    except zlib.error:
        pass
    return bytes(out)
