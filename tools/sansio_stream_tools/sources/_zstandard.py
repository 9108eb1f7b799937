"""A decoder of zstd by the library `zstandard`, if no other library for zstd is installed."""

from __future__ import annotations

from typing import Any, Final

from sansio_stream_adapters._codings import ZSTD_WINDOW_LOG
from sansio_stream_adapters._decoding import RESPONSE_PIECE_BYTES, DecodingError

__all__ = ["ZstandardDecoder"]

GIVEN_BYTES: Final = 128
"""The maximum input that the library gets at once, in bytes.

The library returns the whole output of its input at once. A block of zstd needs at least 4 bytes
and has at most 128 KiB (RFC 8878, 3.1.1.2), so the output of 128 bytes is at most 4 MiB. The
library joins it from pieces, which takes as much memory again.
"""


class ZstandardDecoder:
    """Decodes zstd, which may consist of several frames. It is a `BodyDecoder` of the core.

    Memory: the received bytes that are not decoded yet, the window, and up to 8 MiB of output.

    Args:
        library: the module `zstandard`.
    """

    def __init__(self, library: Any) -> None:
        self._library = library
        self._decompressor = library.ZstdDecompressor(max_window_size=1 << ZSTD_WINDOW_LOG)
        self._frame: Any = None  # None between two frames
        self._data = b""
        self._at = 0
        self._output = b""
        self._output_at = 0

    def receive(self, data: bytes) -> None:
        """Take bytes of the body, split anywhere."""
        self._data = self._data[self._at :] + data
        self._at = 0

    @property
    def has_more(self) -> bool:
        """Whether received bytes are not decoded yet. Decoding them may return nothing."""
        return self._output_at < len(self._output) or self._at < len(self._data)

    def piece(self) -> bytes:
        """Return the next decoded bytes, at most 64 KiB. The result may be b"".

        Raises:
            DecodingError: the input is faulty at this point.
        """
        if self._output_at == len(self._output):
            self._decode()
        piece = self._output[self._output_at : self._output_at + RESPONSE_PIECE_BYTES]
        self._output_at += len(piece)
        return piece

    def _decode(self) -> None:
        given = self._data[self._at : self._at + GIVEN_BYTES]
        if self._frame is None:
            self._frame = self._decompressor.decompressobj()
        self._output = b""  # not needed any more, and it may be large
        try:
            self._output = self._frame.decompress(given)
        except self._library.ZstdError as error:
            raise DecodingError(f"the body is not zstd: {error}") from error
        self._output_at = 0
        self._at += len(given) - len(self._frame.unused_data)
        if self._frame.eof:
            self._frame = None

    def end(self) -> Exception | None:
        """Return the error if the body ends here, or None if its encoded data is complete."""
        if self._frame is None:
            return None
        return DecodingError("the body ends inside its zstd data")
