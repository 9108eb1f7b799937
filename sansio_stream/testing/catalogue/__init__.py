"""What goes wrong on the way, as data: what happens, and what must come of it.

They are what proxies, gateways and compatible servers really do: `problem` names a public report.
The outcome is this library's; `check_faults` holds other readers to what follows from it.

    damage        what a fault is, and a stream that can be damaged
    ends          how a stream ends
    encoding      what is in the bytes
    order         the order of events, and the index of their block
    content       what the events hold
    excess        how much it is

A new fault is one function in one of these modules.
"""

from collections.abc import Mapping
from typing import Final

from . import content, encoding, ends, excess, order
from .damage import Damage, Fault, LegalStream

__all__ = ["FAULTS", "Damage", "Fault", "LegalStream"]

FAULTS: Final[Mapping[str, Fault]] = {
    each.name: each
    for module in (ends, encoding, order, content, excess)
    for each in vars(module).values()
    if isinstance(each, Fault)
}
"""By name: all that can go wrong. The first is that nothing does."""
