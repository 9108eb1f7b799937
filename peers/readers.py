"""Two readers of one stream: frames in, the message and the end of the stream out.

`read_ours` uses the machine of this library. It also returns the result of each frame.
`read_theirs` uses the official client over a transport without a network. Both get one frame at a
time, so that the frame at which one of them fails is known.
"""

import json
import re
import warnings
from collections.abc import Iterator
from contextlib import suppress
from enum import Enum
from functools import lru_cache
from typing import Any, Final, TypeAlias

import anthropic
import attrs
import httpx2

from sansio_stream import (
    Message,
    MessageStreamEvent,
    ProtocolError,
    StreamMachine,
    Verdict,
    ViolationCode,
)

Frames: TypeAlias = tuple[bytes, ...]
"""A body that is cut after each blank line."""

BLANK_LINE: Final = re.compile(rb"((?>\r\n|\n|\r){2})")


def frames_of(body: bytes) -> Frames:
    """Return the pieces of a body that end with a blank line, and the rest."""
    pieces = BLANK_LINE.split(body)
    pairs = zip(pieces[::2], [*pieces[1::2], b""], strict=True)
    return tuple(filter(None, map(b"".join, pairs)))


@attrs.frozen
class SSE:
    """The name and the data of one frame. The simple parser is enough for well-formed frames."""

    name: str
    data: str | None

    @property
    def payload(self) -> Any:
        """The data as a JSON value, None if it is not JSON."""
        with suppress(ValueError, RecursionError):
            return json.loads(self.data or "")
        return None

    @classmethod
    def of(cls, frame: bytes) -> "SSE":
        """Read a frame."""
        fields: dict[str, list[str]] = {"event": [""], "data": []}
        for line in re.split("\r\n|\n|\r", frame.decode("utf-8", "replace")):
            name, _, value = line.partition(":")
            fields.setdefault(name, []).append(value.removeprefix(" "))
        return cls(fields["event"][-1], "\n".join(fields["data"]) if fields["data"] else None)


# This library.


@attrs.frozen
class FrameResult:
    """What this library made of one frame, or of the end of the stream.

    Attributes:
        frame: the frame, empty for the end.
        events: the events of the frame.
        codes: the codes of its violations.
        snapshot: the snapshot after the frame.
    """

    frame: bytes
    events: tuple[MessageStreamEvent, ...]
    codes: frozenset[ViolationCode]
    snapshot: Message | None


@attrs.frozen
class Ours:
    """What this library made of a stream.

    Attributes:
        results: the result of each frame up to the failed one. If none failed, the last result is
            that of the end.
        verdict: the verdict of the machine.
        message: the snapshot at the end.
        error: the exception of `final_message`.
        failed_at: the number of the frame that was an error event or raised a ProtocolError.
    """

    results: list[FrameResult]
    verdict: Verdict
    message: Message | None
    error: Exception | None
    failed_at: int | None


@lru_cache(maxsize=8)
def read_ours(frames: Frames, *, strings: bool) -> Ours:
    """Read a stream with the machine."""
    machine = StreamMachine(partial_strings=strings)
    results: list[FrameResult] = []
    failed_at: int | None = None
    count = 0
    for number, frame in enumerate([*frames, None]):
        events: list[MessageStreamEvent] = []
        try:
            received = machine.receive_eof() if frame is None else machine.receive_data(frame)
            events.extend(received)
        except ProtocolError:
            failed_at = number
        new = machine.violations[count:]
        count = len(machine.violations)
        codes = frozenset(violation.code for violation in new)
        results.append(FrameResult(frame or b"", tuple(events), codes, machine.snapshot))
        if machine.error is not None:
            failed_at = number if failed_at is None else failed_at
        if isinstance(machine.error, ProtocolError):
            break
    error: Exception | None = None
    try:
        machine.final_message()
    except Exception as caught:  # noqa: BLE001 - any exception is compared
        error = caught
    return Ours(results, machine.verdict, machine.snapshot, error, failed_at)


# The official client.


class Surface(Enum):
    """The two ways of the official client to stream. The beta surface supports more."""

    BETA = "client.beta.messages.stream"
    GENERAL = "client.messages.stream"


FINE_GRAINED: Final = {"anthropic-beta": "fine-grained-tool-streaming-2025-05-14"}
"""With this header the beta surface shows unfinished strings, like our `partial_strings`."""


class CountedBody(httpx2.SyncByteStream):
    """A response body that sends one frame at a time and counts the frames."""

    def __init__(self, frames: Frames) -> None:
        self._frames = frames
        self.frames_sent = 0

    def __iter__(self) -> Iterator[bytes]:
        for frame in self._frames:
            self.frames_sent += 1
            yield frame


@attrs.frozen
class Theirs:
    """What the official client made of a stream.

    Attributes:
        message: its snapshot at the end.
        error: its exception.
        failed_at: the number of the frame at which it raised.
    """

    message: dict[str, Any] | None
    error: Exception | None
    failed_at: int | None


def read_theirs(frames: Frames, surface: Surface, *, strings: bool) -> Theirs:
    """Get the final message from a transport that answers with these frames."""
    body = CountedBody(frames)
    head = {"content-type": "text/event-stream; charset=utf-8"}
    transport = httpx2.MockTransport(lambda _: httpx2.Response(200, headers=head, stream=body))
    error: Exception | None = None
    message: Any = None
    with (
        # The client warns of unexpected types.
        warnings.catch_warnings(action="ignore", category=UserWarning),
        httpx2.Client(transport=transport) as http_client,
        anthropic.Anthropic(api_key="x", http_client=http_client, max_retries=0) as client,
    ):
        resource: Any = client.beta.messages if surface is Surface.BETA else client.messages
        with resource.stream(
            model="claude-test-1",
            max_tokens=1,
            messages=[],
            extra_headers=FINE_GRAINED if strings else {},
        ) as stream:
            try:
                stream.get_final_message()
            except Exception as caught:  # noqa: BLE001 - any exception is compared
                error = caught
            with suppress(AssertionError):  # the client has no message
                message = stream.current_message_snapshot.to_dict(mode="json")
    # Without any message it raises AssertionError after the whole body, so at no single frame.
    read_all = isinstance(error, AssertionError)
    failed_at = None if error is None or read_all else body.frames_sent - 1
    return Theirs(message, error, failed_at)
