"""Reads recorded streams from files of many formats: bytes in, named bodies out.

The modules, in reading order:

    _source    one stream of a file, and the error of a file that cannot be read
    _opening   opens a file and returns its streams
"""

from ._opening import open_sources, sources_of
from ._source import Source, SourceError, SourceLimits

__all__ = ["Source", "SourceError", "SourceLimits", "open_sources", "sources_of"]
