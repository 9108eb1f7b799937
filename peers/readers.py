"""Two readers of one stream: frames in; the message, the end, and what came of each frame, out.

`read_here` is the machine, `read_there` the official client over a transport without a network.
Both get one frame at a time, so that the frame at which one of them gives up has a number.
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
"""A body, cut behind its blank lines."""

BLANK_LINE: Final = re.compile(rb"((?>\r\n|\n|\r){2})")


def frames_of(body: bytes) -> Frames:
    """The pieces of a body that end in a blank line, and what is left."""
    pieces = BLANK_LINE.split(body)
    pairs = zip(pieces[::2], [*pieces[1::2], b""], strict=True)
    return tuple(filter(None, map(b"".join, pairs)))


@attrs.frozen
class SSE:
    """What the lines of one frame say, read the naive way: enough for frames that are well made."""

    name: str
    data: str | None

    @property
    def payload(self) -> Any:
        """The data as JSON, None where it is none."""
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


# Here.


@attrs.frozen
class Take:
    """What came of one frame, or of the end, here."""

    frame: bytes
    events: tuple[MessageStreamEvent, ...]
    codes: frozenset[ViolationCode]
    snapshot: Message | None


@attrs.frozen
class Here:
    """What we made of a stream.

    Attributes:
        takes: one for each frame up to the one that failed, and without a failure one for the end.
        failed_at: the number of the frame that was an error, or at which a ProtocolError was
            raised.
    """

    takes: list[Take]
    verdict: Verdict
    message: Message | None
    error: Exception | None
    failed_at: int | None


@lru_cache(maxsize=8)
def read_here(frames: Frames, *, strings: bool) -> Here:
    """Feed a machine."""
    machine = StreamMachine(partial_strings=strings)
    takes: list[Take] = []
    failed_at: int | None = None
    known = 0
    for number, frame in enumerate([*frames, None]):
        events: list[MessageStreamEvent] = []
        try:
            taken = machine.receive_eof() if frame is None else machine.receive_data(frame)
            events.extend(taken)
        except ProtocolError:
            failed_at = number
        new = machine.violations[known:]
        known = len(machine.violations)
        codes = frozenset(violation.code for violation in new)
        takes.append(Take(frame or b"", tuple(events), codes, machine.snapshot))
        if machine.error is not None:
            failed_at = number if failed_at is None else failed_at
        if isinstance(machine.error, ProtocolError):
            break
    error: Exception | None = None
    try:
        machine.final_message()
    except Exception as caught:  # noqa: BLE001 - whatever it is, it is compared
        error = caught
    return Here(takes, machine.verdict, machine.snapshot, error, failed_at)


# There.


class Surface(Enum):
    """Which of the official client's two ways to stream; the beta one knows more."""

    BETA = "client.beta.messages.stream"
    GENERAL = "client.messages.stream"


FINE_GRAINED: Final = {"anthropic-beta": "fine-grained-tool-streaming-2025-05-14"}
"""With it the beta surface shows strings that are not finished, as our `partial_strings` do."""


class OneByOne(httpx2.SyncByteStream):
    """A response body that is read a frame at a time, and counts them."""

    def __init__(self, frames: Frames) -> None:
        self._frames = frames
        self.handed_out = 0

    def __iter__(self) -> Iterator[bytes]:
        for frame in self._frames:
            self.handed_out += 1
            yield frame


@attrs.frozen
class There:
    """What the official client made of a stream; the message is its snapshot at the end."""

    message: dict[str, Any] | None
    error: Exception | None
    failed_at: int | None


def read_there(frames: Frames, surface: Surface, *, strings: bool) -> There:
    """Stream from a transport that answers with these frames, and ask for the final message."""
    body = OneByOne(frames)
    head = {"content-type": "text/event-stream; charset=utf-8"}
    transport = httpx2.MockTransport(lambda _: httpx2.Response(200, headers=head, stream=body))
    error: Exception | None = None
    message: Any = None
    with (
        warnings.catch_warnings(action="ignore", category=UserWarning),  # of unexpected types
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
            except Exception as caught:  # noqa: BLE001 - whatever it is, it is compared
                error = caught
            with suppress(AssertionError):  # there is none
                message = stream.current_message_snapshot.to_dict(mode="json")
    # Without any message it raises an AssertionError after all was read: at no frame.
    read_all = isinstance(error, AssertionError)
    failed_at = None if error is None or read_all else body.handed_out - 1
    return There(message, error, failed_at)
