"""Tools to test code that reads streams of the Anthropic Messages API.

    writing       payloads -> bytes, in every legal style
    cutting       bytes -> chunks, cut where readers have bugs
    sources       steps -> an iterator of bytes that delivers, pauses, raises, ends
    catalogue     faults: what goes wrong on the way, and the correct outcome
    strategies    hypothesis: messages, scripts, their bytes, cuts
    faulty        hypothesis: streams with a fault
    checks        a consumer -> the smallest streams that it handles badly

`sansio_stream` does not import this package. The last three modules need hypothesis. Each is
imported when one of its names is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from .catalogue import FAULTS, Answer, Asked, Damage, End, Fault, LegalStream
from .cutting import WAYS_TO_CUT, chunks_at, places_to_cut
from .sources import AsyncByteSource, AsyncStep, ByteSource, Step
from .writing import PLAIN, Style

if TYPE_CHECKING:
    from .checks import CheckError, Finding, check_chunking, check_faults
    from .faulty import FaultyStream, faults
    from .strategies import BLOCK_TYPES, Script, cuts, events, messages, scripts, styles, wire

__all__ = [
    "BLOCK_TYPES",
    "FAULTS",
    "PLAIN",
    "WAYS_TO_CUT",
    "Answer",
    "Asked",
    "AsyncByteSource",
    "AsyncStep",
    "ByteSource",
    "CheckError",
    "Damage",
    "End",
    "Fault",
    "FaultyStream",
    "Finding",
    "LegalStream",
    "Script",
    "Step",
    "Style",
    "check_chunking",
    "check_faults",
    "chunks_at",
    "cuts",
    "events",
    "faults",
    "messages",
    "places_to_cut",
    "scripts",
    "styles",
    "wire",
]

WITH_HYPOTHESIS: Final = (".strategies", ".faulty", ".checks")


def __getattr__(name: str) -> Any:
    for each in WITH_HYPOTHESIS if name in __all__ else ():
        module = import_module(each, __name__)
        if name in module.__all__:
            return getattr(module, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
