"""JSON text: pieces of one text in, its value so far and its final value out.

Knows nothing about messages and imports nothing of ours. Each character is looked at once,
whatever the cuts and however often the value is read; no step recurses on the text's nesting.

The modules, in the order of their imports:

    errors    what is wrong with a text, and where
    tokens    the grammar: states, patterns, the parts of a number
    value     the containers that grow, and where the next value goes
    scanner   pieces of a text -> their value
    decoding  a whole text -> its value, in C
    parser    PartialJSON: what may be asked of a growing text
    whole     a whole text -> its value, or the place and the reason
"""

from .errors import *
from .errors import TooDeepError as TooDeepError
from .parser import *
from .whole import loads as loads, object_in as object_in
