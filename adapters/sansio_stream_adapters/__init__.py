"""Adapters: where the bytes of a stream come from. The protocol is in `sansio_stream`.

Importing this package imports no HTTP library; each adapter is a module of its own, and so are
the modules they stand on, in reading order:

    _timeout      how long to wait for what
    _decoding     a body's content-encoding
    _texts        the text of a stream, in pieces
    _recording    a body into a file, while it comes
    _tee          what somebody else reads, told to an observer
    _concurrency  waiting with an end, in a thread, asyncio or trio
    _errors       what a caller is told where a stream gives no message
    _stream_core  all of a stream but its loop
    _reply        what an adapter gives to a stream
    _view         what a stream shows of what it has read
    _dropped      what was dropped unclosed is closed soon
    _opening      a call whose stream is not there yet can be closed, too
    _bridge       the loops: MessageStream and AsyncMessageStream
    _attempts     whether and when a request is sent again
    _settings     what a client is made with, and what one call of it is
    _client       what all clients share: a call in, an open stream out
    _http11       HTTP/1.1 for those who have a connection only
    _httpcore     the connections of a synchronous httpx, watched while a head is awaited
    httpx  aiohttp  trio  sockets

The exceptions are those of `sansio_stream.errors`, unchanged, so one `except` serves both packages.
"""

from sansio_stream.errors.exceptions import *
from sansio_stream.errors.violations import *
from sansio_stream.request import NOT_GIVEN as NOT_GIVEN

from ._bridge import *
from ._client import *
from ._errors import *
from ._settings import *
from ._stream_core import (
    Response as Response,
    StreamOptions as StreamOptions,
)
from ._tee import *
from ._timeout import *
