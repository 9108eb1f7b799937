"""The faults of streams, as data: what goes wrong, and what a reader must report.

Proxies, gateways and compatible servers really cause these faults. `Fault.problem` names a public
report. The expected verdict and codes are those of this library. For other readers,
`check_faults` checks only what follows from that verdict.

    answer        the answer of a server to a request, as a value
    damage        the class of a fault, and the stream that it damages
    ends          faults of the end of a stream
    encoding      faults of the bytes, the text and the JSON
    order         faults of the order of events, and of the index of their block
    content       faults of the members of events
    excess        faults of size: a stream exceeds a limit of the reader
    connection    faults of the connection: of the status, the head and the end of the body

A new fault of the bytes is one function in one of these modules. A new fault of the connection is
one row in `connection`.
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
"""All faults, by name.

The first is `nothing`, which changes nothing. The faults of the connection come last.
"""
