"""What goes wrong on the way, as data: what happens, and what must come of it.

They are what proxies, gateways and compatible servers really do: `problem` names a public report.
The outcome is this library's; `check_faults` holds other readers to what follows from it.

    answer        what a server sends for a request, as a value
    damage        what a fault is, and a stream that can be damaged
    ends          how a stream ends
    encoding      what is in the bytes
    order         the order of events, and the index of their block
    content       what the events hold
    excess        how much it is
    connection    what happens around the bytes

A new fault of the bytes is one function in one of these modules, one of the connection is a row in
the last.
"""

from collections.abc import Mapping
from typing import Final

from . import connection, content, encoding, ends, excess, order
from .answer import Answer, Asked, End
from .damage import Damage, Fault, LegalStream

__all__ = ["FAULTS", "Answer", "Asked", "Damage", "End", "Fault", "LegalStream"]

FAULTS: Final[Mapping[str, Fault]] = {
    **{
        each.name: each
        for module in (ends, encoding, order, content, excess)
        for each in vars(module).values()
        if isinstance(each, Fault)
    },
    **{each.name: each for each in connection.FAULTS},
}
"""By name: all that can go wrong. The first is that nothing does; those that change the connection
come last.
"""
