r"""Captures: the chunks of a response body, with their times, as lines of JSON and back.

A capture is JSON Lines in UTF-8. A writer only ever appends lines:

    {"sansio_stream_capture": 1, "status": 200, "headers": {...}, "request": {...}}
    {"at": 0.812, "text": "event: message_start\ndata: {\"type\":\"message_start\", ..."}
    {"at": 0.845, "base64": "jYoi"}
    {"at": 1.5, "end": "eof"}

`at` is seconds since the request was sent. A chunk that is valid UTF-8 by itself is stored as
`text`, any other chunk as `base64`. Either way the reader returns exactly the same bytes. `end` is
"eof" if the body ended cleanly. Otherwise it is "error", and the member `error` has the text of the
error.

A reader ignores members and kinds of lines that it does not know. A change to the meaning of a
known line needs a new version number.

This package reads no clock, opens no file and knows nothing of messages. The caller passes the
times, and reads and writes the bytes.

Cost: one pass over the bytes to write, and one to read. A writer keeps nothing of what it has
written, and a reader only the header and what it has not returned yet.

The modules, in the order of their imports:

    header    the facts before the first byte, without credentials
    contents  chunks, how the body ended, and the error of a damaged file
    writer    chunks and their times -> lines
    reader    bytes of a file -> chunks and their times
"""

from .contents import *
from .header import *
from .reader import *
from .writer import *
