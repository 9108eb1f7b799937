"""The fuzz targets: functions that take bytes and raise AssertionError if a promise is broken.

The targets do not depend on a fuzzer. Any other exception of a target is also a finding, because
it is not documented. The module `cases` defines the meaning of the bytes.
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
