"""Requests: everything that a client needs before and after a stream, except the connection.

The package reads no clock and no environment variable. The caller passes in the keys and the random
numbers.

    headers      received headers, looked up in any case; headers to send, checked
    paths        the place of a value in the parameters, for errors
    characters   texts -> texts that UTF-8 can encode
    params       a message or a block -> a parameter of the next request
    foreign      objects of the official SDK and pydantic models -> JSON
    body         parameters -> JSON
    problems     what can be wrong with a history
    turns        all messages of a request -> turns and their blocks, as they are sent
    history      all messages of a request -> the problems for which the API would refuse them
    building     parameters, keys and a URL -> an HTTP request
    tool_loop    a message -> the tool calls that may be run; paused turns -> one message
    responses    status and headers of a response -> "read the stream", or an error
    first_frame  the beginning of a successful response -> "read the stream", or an error
    retries      an error -> the seconds until the next attempt
"""

from .body import *
from .building import *
from .first_frame import *
from .headers import *
from .history import *
from .params import *
from .problems import *
from .responses import *
from .retries import *
from .tool_loop import *
