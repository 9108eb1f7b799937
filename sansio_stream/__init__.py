"""A sans-I/O protocol library for Anthropic Messages streams: bytes in, events and a message out.

The modules, in the order of their imports, which is also a good order to read them in:

    errors        verdicts, violations, limits, the hierarchy of exceptions
    sse           framing: bytes -> frames
    partial_json  the value of a growing JSON text
    surrogates    the two halves of a character -> the character
    codec         translation: one attrs class <-> one JSON object
    tool_input    the input of a tool call while it grows
    message       vocabulary: message, blocks, citations, usage
    events        vocabulary: events and deltas
    losses        the content that an event carries
    payloads      payload -> event and its flaws
    reading       frame -> event and its flaws
    transitions   legality: the table of states, the rules of the index
    blocks        fold: deltas -> a block
    snapshot      fold: events -> message
    fast_path     a shortcut for the most common frames, which can be switched off
    machine       the facade: StreamMachine
    encode        events -> bytes, message -> events
    message_json  message <-> JSON text, without loss
    request       parameters -> HTTP request, response -> an error if it is one, retries
    capture       chunks of a response body <-> lines of a file
    report        the outcome of a stream, as one row
    observer      a response that other code reads -> its report
"""

from .capture import *
from .codec import *
from .encode import *
from .errors.exceptions import *
from .errors.violations import *
from .events import *
from .machine import *
from .message import *
from .message_json import *
from .observer import *
from .partial_json import *
from .payloads import *
from .report import *
from .request.body import *
from .request.building import *
from .request.first_frame import *
from .request.headers import *
from .request.params import *
from .request.responses import *
from .request.retries import *
from .sse import *
from .tool_input import *
from .transitions import *
