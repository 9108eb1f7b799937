"""Adapters: they bring the bytes of a stream from HTTP libraries to `sansio_stream`.

The import of this package imports no HTTP library. Each adapter is a module of its own: `httpx`,
`aiohttp`, `trio` and `sockets`. `transports` puts other clients under observation, and `anthropic`
reads the streams of the official SDK's clients. All modules, in the order in which to read them:

    _timeout      the timeouts of each phase, and the deadline of a call
    _decoding     the content-encoding of a body
    _texts        the text of a stream, in pieces
    _recording    writes a body to a file while it arrives
    _cut          cuts the body of a capture into other chunks
    _answers      turns a capture into the answer of a server
    _transport    which of httpx and httpx2 a request belongs to
    _codings      all content-encodings of a body, for an observer
    _concurrency  waits with a deadline, in a thread, asyncio or trio
    _errors       the exceptions for streams that return no message
    _stream_core  everything of a stream except its loop
    _recordings   which file each of many streams is written to
    _verification follows a response that other code reads, and knows the error of a bad end
    _reply        the reply that an adapter passes to a stream
    _view         the properties of a stream
    _dropped      closes streams that were garbage-collected without being closed
    _tee          passes on the chunks of a body, and shows them to an observer
    _opening      calls whose stream is not open yet, and how to close them
    _bridge       the loops: MessageStream and AsyncMessageStream
    _attempts     whether and when a request is sent again
    _parameters   the types of the parameters of a call, and a check of their names
    _settings     the settings of a client and of one call
    _client       the base of all clients: a call in, an open stream out
    _http11       HTTP/1.1 for adapters that only have a connection
    _httpcore     time limits and wake-ups for the connections of a synchronous httpx client
    httpx  aiohttp  trio  sockets
    _replay       a transport that answers with captures
    transports    a transport that verifies the streams of another client
    _sdk_errors   our exceptions as exceptions of the official SDK
    _sdk_events   our events and messages as objects of the official SDK
    anthropic     the clients of the official SDK on our machine

The exceptions are those of `sansio_stream.errors`, so one `except` clause serves both packages.
"""

from sansio_stream.errors.exceptions import *
from sansio_stream.errors.violations import *
from sansio_stream.request import NOT_GIVEN as NOT_GIVEN

from ._bridge import *
from ._client import *
from ._codings import *
from ._errors import *
from ._parameters import *
from ._settings import *
from ._stream_core import (
    Response as Response,
    StreamOptions as StreamOptions,
)
from ._tee import *
from ._timeout import *
