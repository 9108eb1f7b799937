"""Requests: what is said before a stream and after it. Knows no connection, no clock and no
environment.

    headers      headers received, found whatever their case; headers sent, checked
    params       a message or a block -> a parameter of the next request
    body         parameters -> JSON
    building     parameters, keys, an address -> HTTP request
    responses    a response's head -> go on, or an error
    first_frame  the beginning of a success -> go on, or an error before which there was nothing
    retries      an error -> the seconds until the next attempt
"""

from .body import *
from .building import *
from .first_frame import *
from .headers import *
from .params import *
from .responses import *
from .retries import *
