"""A pytest plugin: the tests of other projects get our clients in the place of the official SDK's.

At the end of the run it prints how many streams of messages our machine has read.
"""

from typing import Any

import anthropic

from sansio_stream_adapters import anthropic as ours

STREAMS = "  streams of messages read by our machine"


def counted(kind: Any, made: list[str]) -> None:
    """Add the class's name to `made` whenever an object of it is made."""
    make = kind.__init__

    def count(self: Any, **arguments: Any) -> None:
        made.append(kind.__name__)
        make(self, **arguments)

    kind.__init__ = count


MADE: list[str] = []
counted(ours.MachineStream, MADE)
counted(ours.AsyncMachineStream, MADE)

sdk: Any = anthropic
sdk.Anthropic = sdk.Client = ours.Anthropic
sdk.AsyncAnthropic = sdk.AsyncClient = ours.AsyncAnthropic


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the count."""
    terminalreporter.write_line(f"{STREAMS}: {len(MADE)}")
