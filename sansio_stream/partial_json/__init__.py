"""JSON text: pieces of one text in, its value so far and its final value out.

This package knows nothing about messages. It imports nothing else of this library. The scanner
reads each character once, wherever the text is cut and however often a caller reads the value. It
does not recurse, however deeply the text is nested.

The modules, in the order of their imports:

    errors    InvalidJSONError: what is wrong with a text, and where
    tokens    the grammar: states, patterns, the parts of a number
    value     the containers that grow, and the place of the next value
    decoding  a whole text -> its value, by the C code of `json`
    scanner   pieces of a text -> their value
    parser    PartialJSON: the value of a growing text
    whole     a whole text -> its value, or the position and reason of its first error
"""

from .errors import *
from .errors import TooDeepError as TooDeepError
from .parser import *
from .scanner import Scanner as Scanner
from .whole import loads as loads, object_in as object_in
