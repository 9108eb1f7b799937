"""Recordings to serve: a capture, the models for which it is the answer, and its answers."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import attrs

from sansio_stream.capture import Capture, CaptureHeader, Chunk
from sansio_stream.errors import APIError, APIStatusError, ProtocolError
from sansio_stream.machine import StreamMachine
from sansio_stream.testing import Answer
from sansio_stream.testing.catalogue.connection import failure
from sansio_stream_adapters._answers import answer_of

from .sources import open_sources

if TYPE_CHECKING:
    from pathlib import Path

    from .sources import SourceLimits

__all__ = ["Recording", "read_recordings"]

# The header values that HTTP allows, and the status codes of responses that have a body.
SENDABLE: Final = re.compile(r"(?![ \t])[\t\x20-\x7e\x80-\U0010ffff]*(?<![ \t])")
STATUSES_WITH_A_BODY: Final = frozenset(range(200, 600)) - {204, 205, 304}


@attrs.frozen
class Recording:
    """A capture, and the models for which it is the answer.

    Attributes:
        name: the name of the file.
        stem: the name up to the first dot. It also is the name of a model: a request for this model
            gets this recording, not one that has the model only in `models`.
        models: the model in the recorded request, and the one in the recorded answer, if known.
        capture: the recorded stream.
    """

    name: str
    stem: str
    models: frozenset[str]
    capture: Capture

    @classmethod
    def of(cls, name: str, capture: Capture) -> Recording:
        """Return the recording of a stream. `name` is the name of its file, without a folder.

        Raises ValueError if HTTP cannot send the status or a header of the capture.
        """
        demand_sendable(capture.header)
        return cls(name, name.partition(".")[0], models_of(capture), capture)

    def stream(self, request_id: str) -> Answer:
        """Return the recorded answer. `request_id` is used if the recording contains none."""
        return answer_of(self.capture, request_id)

    def message(self, request_id: str) -> Answer:
        """Return the answer to a call that does not stream.

        Its body is the message, which arrives at the time of the last recorded chunk.

        A recorded answer with an error status is returned as it is. A stream that gives no message
        becomes the error that it contains, or else an `api_error` whose message says why.
        """
        streamed = self.stream(request_id)
        if streamed.status is not None and streamed.status >= 300:
            return streamed
        machine = StreamMachine()
        with suppress(ProtocolError):
            for _ in machine.receive_data(streamed.body):
                pass
            for _ in machine.receive_eof():
                pass
        headers = streamed.headers | {"content-type": "application/json"}
        blank = attrs.evolve(streamed, headers=headers)
        try:
            body = json.dumps(machine.final_message().to_dict()).encode()
        except APIStatusError as error:
            return failure(blank, error.status_code, error.type or "api_error", str(error))
        except APIError as error:
            return failure(blank, 500, "api_error", f"{self.name}: no message: {error}")
        last = streamed.chunks[-1].at if streamed.chunks else None
        return Answer(status=streamed.status, headers=headers, chunks=(Chunk(last, body),))


def read_recordings(path: Path, limits: SourceLimits | None = None) -> list[Recording]:
    """Return the recordings in a file, which may have any format that `replay` reads.

    Args:
        path: the path of the file.
        limits: the bounds on what is read.

    Raises:
        OSError: if the file cannot be read.
        ValueError: if it is damaged, or if HTTP cannot send a recorded status or header.
    """
    recordings: list[Recording] = []
    for source in open_sources(str(path), limits):
        chunks = tuple(source.chunks)
        name = path.name + source.name.removeprefix(str(path))
        recordings.append(Recording.of(name, Capture(source.header, chunks, source.end)))
    return recordings


def demand_sendable(header: CaptureHeader) -> None:
    """Raise a ValueError if HTTP cannot send the status or a header. The message names it."""
    if header.status is not None and header.status not in STATUSES_WITH_A_BODY:
        raise ValueError(
            f"the status {header.status} cannot be served: it is not the status of a response"
            " with a body"
        )
    for name, value in header.headers.items():
        if SENDABLE.fullmatch(value) is None:
            raise ValueError(f"the value of the header {name} cannot be sent: {value!r}")


def models_of(capture: Capture) -> frozenset[str]:
    """Return the model in the recorded request, and the one in the recorded answer."""
    machine = StreamMachine()
    with suppress(ProtocolError):
        for _ in machine.receive_data(capture.body):
            if machine.snapshot is not None:
                break
    asked = (capture.header.request or {}).get("model")
    answered = None if machine.snapshot is None else machine.snapshot.model
    return frozenset(model for model in (asked, answered) if isinstance(model, str))
