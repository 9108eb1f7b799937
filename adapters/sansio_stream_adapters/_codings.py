"""Decoders of any content-encoding, for observers: gzip, deflate, br and zstd, nested up to three.

A client offers a server only the two that zlib decodes. A gateway cannot choose: it passes on what
its client has asked for. So this module also uses the libraries for br and zstd, if they are
installed and can limit the size of a piece.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

from sansio_stream.errors import excerpt

from ._decoding import (
    FORMATS,
    RESPONSE_PIECE_BYTES,
    Decoder,
    DecodingError,
    UnknownEncodingError,
    names_in,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from sansio_stream.observer import BodyDecoder

__all__ = ["decoder_for"]

MOST_ENCODINGS: Final = 3
"""The most encodings that a body may have. Each can make a thousand bytes of one."""

ZSTD_WINDOW_LOG: Final = 23
"""The largest window of zstd: 8 MiB, the most that RFC 9659 allows for a content-encoding."""


def decoder_for(encoding: str) -> BodyDecoder | None:
    """Return a decoder for a `content-encoding`, or None if nothing is encoded.

        observer = Observer(status, headers, make_decoder=decoder_for)

    It decodes gzip and deflate, br if `brotli` or `brotlicffi` (from 1.2 on) is installed, and zstd
    on Python 3.14 or if `backports.zstd` is installed. It returns pieces of at most 64 KiB. It
    holds one piece and one window for each encoding: 32 KiB for gzip and deflate, up to 16 MiB for
    br, and up to 8 MiB for zstd.

    Raises:
        UnknownEncodingError: an encoding is unknown, its library is missing, or there are more than
            three encodings.
    """
    names = names_in(encoding)
    if len(names) > MOST_ENCODINGS:
        raise UnknownEncodingError(
            f"the body has the content-encoding {encoding[:80]!r}; "
            f"at most {MOST_ENCODINGS} encodings are decoded"
        )
    # The encoding that was applied last is decoded first.
    decoders = [decoder_of(name) for name in reversed(names)]
    return Nested(decoders) if len(decoders) > 1 else decoders[0] if decoders else None


def decoder_of(name: str) -> BodyDecoder:
    """Return a decoder for one encoding.

    Raises:
        UnknownEncodingError: the encoding is unknown, or its library is missing.
    """
    if name in LIBRARIES:
        return LIBRARIES[name]()
    if name not in FORMATS:
        raise UnknownEncodingError(f"the body has the unknown content-encoding {name[:80]!r}")
    return Decoder(FORMATS[name])


class Nested:
    """Decodes several encodings, piece by piece.

    A decoder gets the next piece of the decoder before it only after it has used up the last one,
    so each holds one piece, however large the whole is.

    Args:
        decoders: the decoders, in the order in which the bytes pass through them.
    """

    def __init__(self, decoders: list[BodyDecoder]) -> None:
        self._decoders = decoders

    def receive(self, data: bytes) -> None:
        """Take bytes of the body, split anywhere."""
        self._decoders[0].receive(data)

    @property
    def has_more(self) -> bool:
        """Whether received bytes are not decoded yet. Decoding them may return nothing."""
        return any(decoder.has_more for decoder in self._decoders)

    def piece(self) -> bytes:
        """Return the next decoded bytes, at most `RESPONSE_PIECE_BYTES`. The result may be b"".

        Raises:
            DecodingError: the input is faulty at this point.
        """
        following: BodyDecoder | None = None
        for decoder in reversed(self._decoders):
            if decoder.has_more:
                piece = decoder.piece()
                if following is None:
                    return piece
                following.receive(piece)
                break
            following = decoder
        return b""

    def end(self) -> Exception | None:
        """Return the error if the body ends here, or None if its encoded data is complete."""
        errors = (decoder.end() for decoder in self._decoders)
        return next((error for error in errors if error is not None), None)


class LibraryDecoder:
    """The common part of the decoders for br and zstd, which keep unused input themselves.

    Bytes before a fault are lost if they came in the same chunk, because the libraries drop them.

    Args:
        name: the name of the encoding, for messages.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._data = b""
        self._has_output = False
        self._is_inside = False

    def receive(self, data: bytes) -> None:
        """Take bytes of the body, split anywhere."""
        self._data += data

    @property
    def has_more(self) -> bool:
        """Whether received bytes are not decoded yet. Decoding them may return nothing."""
        return self._has_output or bool(self._data)

    def piece(self) -> bytes:
        """Return the next decoded bytes, at most `RESPONSE_PIECE_BYTES`. The result may be b"".

        Raises:
            DecodingError: the input is faulty at this point.
        """
        data = b""
        if not self._has_output:
            data, self._data = self._data, b""
        self._has_output = False
        try:
            return self._decompress(data)
        except DecodingError:
            raise
        except Exception as exc:
            raise DecodingError(f"the body is not {self._name}: {excerpt(str(exc))}") from exc

    def _decompress(self, data: bytes) -> bytes:
        """Return the next piece, and set `_has_output` and `_is_inside`."""
        raise NotImplementedError

    def end(self) -> Exception | None:
        """Return the error if the body ends here, or None if its encoded data is complete."""
        return (
            DecodingError(f"the body ends inside its {self._name} data")
            if self._is_inside
            else None
        )


class BrotliDecoder(LibraryDecoder):
    """Decodes br by a library of Google's.

    Args:
        library: the module `brotli` or `brotlicffi`.
    """

    def __init__(self, library: Any) -> None:
        super().__init__("br")
        self._decompressor: Any = library.Decompressor()

    def _decompress(self, data: bytes) -> bytes:
        decompressor = self._decompressor
        if decompressor.is_finished():
            raise DecodingError("the body goes on after the end of its br data")
        piece: bytes = decompressor.process(data, output_buffer_limit=RESPONSE_PIECE_BYTES)
        self._is_inside = not decompressor.is_finished()
        # It may accept more data and still hold output, so it is asked until it returns none.
        self._has_output = self._is_inside and (
            bool(piece) or not decompressor.can_accept_more_data()
        )
        return piece


class ZstdDecoder(LibraryDecoder):
    """Decodes zstd, which may consist of several frames.

    Args:
        library: the module `compression.zstd` or `backports.zstd`.
    """

    def __init__(self, library: Any) -> None:
        super().__init__("zstd")
        self._library = library
        self._decompressor: Any = None

    def _decompress(self, data: bytes) -> bytes:
        if self._decompressor is None:
            window = {self._library.DecompressionParameter.window_log_max: ZSTD_WINDOW_LOG}
            self._decompressor = self._library.ZstdDecompressor(options=window)
        decompressor = self._decompressor
        piece: bytes = decompressor.decompress(data, RESPONSE_PIECE_BYTES)
        self._is_inside = not decompressor.eof
        if decompressor.eof:
            self._data = decompressor.unused_data + self._data
            self._decompressor = None
        else:
            self._has_output = not decompressor.needs_input
        return piece


def library_of(encoding: str, *modules: str) -> Any:
    """Return the first of these modules that is installed and can limit the size of a piece.

    Raises:
        UnknownEncodingError: there is none.
    """
    for module in modules:
        try:
            library = importlib.import_module(module)
        except ImportError:
            continue
        # Before 1.2 brotli had no limit, and not this method either.
        if module not in BROTLI or hasattr(library.Decompressor, "can_accept_more_data"):
            return library
    raise UnknownEncodingError(
        f"the body has the content-encoding {encoding}, but {modules[-1]} is not installed"
    )


BROTLI: Final = ("brotlicffi", "brotli")
ZSTD: Final = ("compression.zstd", "backports.zstd")

LIBRARIES: Final[dict[str, Callable[[], BodyDecoder]]] = {
    "br": lambda: BrotliDecoder(library_of("br", *BROTLI)),
    "zstd": lambda: ZstdDecoder(library_of("zstd", *ZSTD)),
}
"""The encodings that need a library, with functions that make their decoders."""
