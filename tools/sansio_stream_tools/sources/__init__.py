"""Reads recorded streams from files of many formats: bytes in, named bodies out.

The modules, in reading order:

    _source         one stream of a file, the interface of a format, the error of a file
    _zstandard      a decoder of zstd
    _encodings      recognises how data is compressed
    _decompression  decompresses files and bodies in bounded pieces
    _unicode        UTF-16 and UTF-32 as UTF-8
    _lines          cuts the pieces of a file into lines
    _plain          the formats of our own: captures, plain bodies, JSON payloads
    _prefixed       event streams in logs
    _unreadable     what another file looks like, and what would help
    _sniffing       recognises the format of a file
    _opening        opens a file and returns its streams
"""

from ._opening import open_sources, sources_of
from ._source import Source, SourceError, SourceLimits

__all__ = ["Source", "SourceError", "SourceLimits", "open_sources", "sources_of"]
