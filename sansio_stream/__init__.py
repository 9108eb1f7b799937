"""A pure sans-I/O protocol library for Anthropic Messages streams: bytes in, typed events and a
message out.

The modules, in reading order, which is the order of their imports:

    partial_json  the value of a growing JSON text
    surrogates    characters that came in two halves
    codec         translation: one attrs class <-> one JSON object
    tool_input    the input of a tool call while it grows
    citations     vocabulary: the citations of a text block
    deltas        vocabulary: the deltas of a content block
    usage         vocabulary: tokens and what else is billed
    message       vocabulary: the message and its content blocks
    events        vocabulary: events
    errors        verdicts, violations, limits, the tree of exceptions
    sse           framing: bytes -> frames
    losses        what an event carries of the message
    payloads      payload -> event, block or message; and what was wrong with it
    reading       frame -> event, and what was wrong with it
    transitions   legality: the table of states, the rules of the index
    blocks        fold: deltas -> a block
    snapshot      fold: events -> message
    fast_path     the commonest frames, recognised whole; may be switched off
    machine       facade: StreamMachine
    encode        events -> bytes
    message_json  a message to JSON text and back, with what is not on the wire
    request       parameters -> HTTP request; response -> go on, or an error; retries
    capture       captured byte logs
    report        what became of a stream, as a row
    observer      a response that somebody else reads -> its report
"""

from .capture import *
from .citations import *
from .codec import *
from .deltas import *
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
from .usage import *
