"""The formats of other programs, in the order in which a file is compared with them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ._cassettes import CassetteFormat
from ._curl import ChunkedFormat, IncludeFormat, VerboseFormat
from ._curl_trace import TraceASCIIFormat, TraceFormat
from ._documents import EventArrayFormat, IndentedEventsFormat, MessageFormat
from ._event_log import ClaudeCodeFormat, ClaudeTraceFormat, EventLogFormat
from ._har import HARFormat

if TYPE_CHECKING:
    from ._source import Format

__all__ = ["FOREIGN_FORMATS"]

FOREIGN_FORMATS: Final[tuple[Format, ...]] = (
    IncludeFormat(),
    ChunkedFormat(),
    TraceFormat(),
    TraceASCIIFormat(),
    VerboseFormat(),
    HARFormat(),
    CassetteFormat(is_json=False),
    CassetteFormat(is_json=True),
    ClaudeTraceFormat(),
    ClaudeCodeFormat(),
    EventLogFormat(),
    EventArrayFormat(),
    MessageFormat(),
    IndentedEventsFormat(),
)
