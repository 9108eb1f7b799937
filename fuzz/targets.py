"""Fuzz targets: any bytes in, nothing out; AssertionError where the library breaks a promise.

Knows no fuzzer: a target is a function of bytes, and anybody may call it. What a target does not
catch is not documented, and so a finding as well. What the bytes mean is said in `cases`.
"""

from collections.abc import Callable
from typing import Final

from fuzz_capture import capture
from fuzz_cost import cost
from fuzz_json import partial_json
from fuzz_machine import stream_machine
from fuzz_sse import sse_decoder

TARGETS: Final[dict[str, Callable[[bytes], None]]] = {
    target.__name__: target for target in (stream_machine, sse_decoder, partial_json, capture, cost)
}
