"""Reads recorded streams from files of many formats: bytes in, named bodies out.

The modules, in reading order:

    _source         one stream of a file, the interface of a format, the error of a file
    _zstandard      a decoder of zstd
    _encodings      recognises how data is compressed
    _decompression  decompresses files and bodies in bounded pieces
    _unicode        UTF-16 and UTF-32 as UTF-8
    _lines          cuts the pieces of a file into lines
    _plain          the formats of this project: captures, plain bodies, JSON payloads
    _prefixed       event streams in logs
    _json           JSON text to values, parts of values, and values to text and frames
    _yaml           YAML text to plain values
    _answers        the answer to a recorded request, and the stream in it
    _har            HAR files, and the recordings of Polly.js
    _cassettes      the cassettes of VCR and related libraries
    _chunked        the chunked coding of HTTP/1.1
    _heads          the heads and the bodies in a dump of HTTP
    _curl           what curl prints
    _curl_trace     the dumps of `curl --trace` and `curl --trace-ascii`
    _events         events inside of other JSON values
    _event_log      logs with a JSON object on each line: Claude Code, claude-trace, others
    _documents      whole files of JSON: arrays of events, indented events, messages, errors
    _foreign        the list of the formats of other programs
    _unreadable     says what a file without a recorded stream looks like, and what would help
    _sniffing       recognises the format of a file
    _opening        opens a file and returns its streams
"""

from ._opening import open_sources, sources_of
from ._source import Source, SourceError, SourceLimits

__all__ = ["Source", "SourceError", "SourceLimits", "open_sources", "sources_of"]
