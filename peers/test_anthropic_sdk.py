"""Compares final messages with the official client's, for captures, vectors and made streams."""

from collections.abc import Callable
from functools import cache
from typing import Any, Final

import pytest

import shared_data
from wire import HELLO, frame

from . import comparison
from .comparison import WAYS, Comparison
from .differences import DIFFERENCES
from .readers import Frames, Surface, Theirs, read_theirs
from .streams import MADE, RECORDED, VECTORS

STREAMS: Final = {**RECORDED, **VECTORS, **MADE}
NAMES: Final = {difference.__name__ for difference in DIFFERENCES}


@cache
def compared(name: str) -> tuple[set[str], list[str]]:
    """Read a stream in every way. Return the names of its differences and the unexplained ones."""
    found: set[str] = set()
    unexplained: list[str] = []
    for surface, strings in WAYS:
        both = Comparison(surface, strings).run(STREAMS[name].frames)
        found |= both.found
        unexplained += (f"{surface.value}: {each}" for each in both.unexplained)
    return found, unexplained


@pytest.mark.parametrize("name", RECORDED)
def test_a_recorded_stream_gives_the_same_message_except_for_named_differences(name: str) -> None:
    assert compared(name)[1] == []
    shared_data.ran("captures/*")


@pytest.mark.parametrize("name", VECTORS)
def test_a_vector_gives_the_same_message_except_for_named_differences(name: str) -> None:
    assert compared(name)[1] == []
    shared_data.ran("vectors/messages.jsonl")


@pytest.mark.parametrize("name", MADE)
def test_a_made_stream_gives_the_same_message_except_for_named_differences(name: str) -> None:
    assert compared(name)[1] == []


TAMPERED: Final[dict[str, Callable[[dict[str, Any]], Any]]] = {
    "a text": lambda message: message["content"][0].update(text="Hello"),
    "a null": lambda message: message["content"][0].update(citations=None),
    "a block": lambda message: message["content"].append({"type": "text", "text": ""}),
    "no block": lambda message: message["content"].clear(),
    "a counter": lambda message: message["usage"].update(output_tokens=10),
    "no counter": lambda message: message["usage"].pop("input_tokens"),
    "a counter of another type": lambda message: message["usage"].update(output_tokens=9.0),
    "a stop reason": lambda message: message.update(stop_reason="max_tokens"),
    "no stop reason": lambda message: message.update(stop_reason=None),
    "no model": lambda message: message.pop("model"),
}


@pytest.mark.parametrize("what", TAMPERED)
def test_a_difference_without_a_name_is_reported(
    what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def tampering(frames: Frames, surface: Surface, *, strings: bool) -> Theirs:
        theirs = read_theirs(frames, surface, strings=strings)
        assert theirs.message is not None
        TAMPERED[what](theirs.message)
        return theirs

    monkeypatch.setattr(comparison, "read_theirs", tampering)
    for way in WAYS:
        assert Comparison(*way).run(tuple(map(frame, HELLO))).unexplained


def test_every_difference_occurs_in_a_stream() -> None:
    assert {name for stream in STREAMS for name in compared(stream)[0]} == NAMES
