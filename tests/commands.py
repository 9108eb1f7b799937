"""Runs the command `sansio-stream` in this process, and makes files for it."""

import re
from collections.abc import Iterator
from typing import Any

from click.testing import CliRunner, Result

from processes import ENVIRONMENT
from sansio_stream.capture import CaptureHeader, CaptureWriter, parse_capture
from sansio_stream_tools import _main
from sansio_stream_tools._reading import FrameResult, Reading
from wire import (
    MESSAGE_STOP,
    block_start,
    block_stop,
    body,
    json_piece,
    message_delta,
    message_start,
    tool_start,
)

CONTROLS = re.compile(r"[\0-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def command(*args: str, data: bytes | None = None, columns: int = 100) -> Result:
    """Run a subcommand. `data` is its standard input, for the argument `-`."""
    runner = CliRunner(env={**ENVIRONMENT, "COLUMNS": str(columns)})
    return runner.invoke(_main.command, list(args), input=data, catch_exceptions=False)


def capture(
    *chunks: tuple[float, bytes], end: str | None = None, status: int | None = 200
) -> bytes:
    """Return a capture with an end. `end` is the error of the connection, if there is one."""
    writer = CaptureWriter(CaptureHeader(status=status))
    lines = [writer.begin(), *(writer.chunk(data, at) for at, data in chunks)]
    return b"".join([*lines, writer.end(chunks[-1][0] if chunks else 0, end)])


def tool_call(*pieces: str, **members: Any) -> bytes:
    """Return an answer with one tool call."""
    deltas = (json_piece(0, piece) for piece in pieces)
    return body(
        message_start(),
        tool_start(0, **members),
        *deltas,
        block_stop(0),
        message_delta("tool_use"),
        MESSAGE_STOP,
    )


def block_only(block: dict[str, Any], *deltas: dict[str, Any]) -> bytes:
    """Return an answer with one block."""
    return body(
        message_start(),
        block_start(0, block),
        *deltas,
        block_stop(0),
        message_delta(),
        MESSAGE_STOP,
    )


def results_of(
    data: bytes, *, strict: bool = False, reading: Reading | None = None
) -> Iterator[FrameResult]:
    """Yield the result of each frame of a file, as the commands get it."""
    recorded = parse_capture(data)
    reading = Reading(recorded.header, strict=strict) if reading is None else reading
    for chunk in recorded.chunks:
        yield from reading.feed(chunk)
    yield from reading.finish(recorded.end)
