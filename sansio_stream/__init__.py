"""A sans-I/O protocol library for Anthropic Messages streams: bytes in, events and a message out.

Six terms: a frame is the text of one event on the wire. Its data is the payload, which is JSON. A
framing cuts the bytes of a body into frames. A flaw is a fault that was found but not yet recorded
as a violation. To fold an event is to change the message by it. A verdict tells how a stream ended.

The modules, in the order of their imports, which is also a good order to read them in:

    partial_json  the value of a growing JSON text
    surrogates    the two escaped halves of a character -> the character
    frozen        objects of frozen classes, made fast; members made when they are read
    codec         translation: one attrs class <-> one JSON object
    copies        copies of these objects, with some members changed
    growing       a text that grows, and its value at any earlier moment
    tool_input    the input of a tool call while it grows
    citations     vocabulary: the citations of a text block
    deltas        vocabulary: the deltas of a content block
    schemas       what pydantic asks a class for
    usage         vocabulary: the tokens and everything else that is billed
    message       vocabulary: the message and its content blocks
    events        vocabulary: events
    errors        verdicts, violations, limits, the hierarchy of exceptions
    frame_buffer  the received bytes, and how far they were read
    frames        what every framing returns, and its interface
    fields        framing: lines -> the fields of a frame
    framer        framing: bytes -> frames of an event stream
    sse           server-sent events alone: a decoder and an encoder
    losses        the content that an event carries
    payloads      payload -> event and its flaws; payload -> block or message
    reading       frame -> event and its flaws
    transitions   legality: the table of states, the rules of the blocks
    blocks        fold: deltas -> a block
    members       fold: message_deltas -> the members of a message
    snapshot      fold: events -> message
    outcome       what was tolerated, what ended the stream, its verdict
    inbox         what was received, in its order
    plain_path    a frame -> its event, checked and folded
    fast_path     recognises the most common frames by their bytes
    reader        the loop: event by event, on the fast path or on the plain path
    machine       StreamMachine
    encode        events -> bytes, message -> events
    message_json  message <-> JSON text, without loss
    request       parameters -> HTTP request, response -> an error if it is one, retries
    capture       chunks of a response body <-> lines of a file
    report        the outcome of a stream, as one row
    timing        events and their times -> when the stream brought content
    observer      a response that other code reads -> its report
"""

from .capture.contents import *
from .capture.header import *
from .capture.reader import *
from .capture.writer import *
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
from .partial_json.errors import *
from .partial_json.parser import *
from .payloads import *
from .report import *
from .request.body import *
from .request.building import *
from .request.first_frame import *
from .request.headers import *
from .request.history import *
from .request.params import *
from .request.problems import *
from .request.responses import *
from .request.retries import *
from .request.tool_loop import *
from .sse import *
from .tool_input import *
from .transitions import *
from .usage import *

__version__ = "0.1.0"
