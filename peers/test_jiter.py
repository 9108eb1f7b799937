"""Partial values against jiter's: every recorded text, every recorded tool input, every prefix."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import pairwise
from typing import Final

import pytest
from hypothesis import given, strategies as st

import shared_data
from sansio_stream import InputJSONDelta
from sansio_stream.partial_json import PartialJSON
from test_partial_json import ANY_TEXT, FEW_STRINGS, spellings, text_of

from .partial_values import NAMES, Shown, differences_of, parser_of
from .readers import read_here
from .streams import RECORDED

VECTORS: Final = "vectors/partial_json.jsonl"
LONG: Final = 1_500
"""A text beyond it is compared at some 300 of its prefixes: all would cost its square."""

ENCODABLE: Final = st.characters(exclude_categories=["Cs"])
DOCUMENTS: Final = spellings(FEW_STRINGS | st.text(ENCODABLE))
BOTH_MODES: Final = pytest.mark.parametrize("strings", [True, False])


def along(text: str, *, strings: bool) -> Iterator[str]:
    """What explains each prefix on which the two differ, as the text grows."""
    step = 1 if len(text) < LONG else len(text) // 300
    parser = PartialJSON(strings, max_depth=200_000)
    start = 0
    for end in [*range(0, len(text), step), len(text)]:
        parser.push(text[start:end])
        start = end
        yield from differences_of(Shown.of(text[:end], parser, strings=strings))


def is_encodable(text: str) -> bool:
    """Whether a text has UTF-8, which is what jiter reads."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


@cache
def recorded_texts() -> dict[str, str]:
    """The texts of the vectors, by name, but for those about bytes that no str can hold."""
    texts = {row["name"]: text_of(row) for row in shared_data.load(VECTORS)}
    return {name: text for name, text in texts.items() if text is not None}


def longest(texts: Iterable[str]) -> list[str]:
    """Those that no other one begins with: their prefixes are all prefixes."""
    ordered = sorted(texts)
    return [
        text
        for text, following in pairwise([*ordered, ""])
        if len(following) >= LONG or not following.startswith(text)
    ]


@cache
def recorded_inputs() -> dict[str, str]:
    """The tool inputs of all recorded bodies, joined."""
    joined: dict[str, list[str]] = defaultdict(list)
    for stream in RECORDED.values():
        for take in read_here(stream.frames, strings=True).takes:
            for event in take.events:
                if event.type == "content_block_delta" and isinstance(event.delta, InputJSONDelta):
                    joined[f"{stream.name} {event.index}"].append(event.delta.partial_json)
    return {name: "".join(pieces) for name, pieces in joined.items()}


@cache
def found(*, strings: bool) -> set[str]:
    """What explains the prefixes of all recorded texts."""
    texts = longest(recorded_texts().values())
    return {name for text in texts for name in along(text, strings=strings)}


@BOTH_MODES
def test_every_prefix_of_every_recorded_text_is_shown_as_jiter_does_or_as_the_table_says(
    strings: bool,
) -> None:
    assert found(strings=strings) - NAMES == set()
    left_out = len(shared_data.load(VECTORS)) - len(recorded_texts())
    shared_data.ran(VECTORS, len(recorded_texts()), skipped=left_out)


def test_every_difference_is_one_that_a_recorded_text_has() -> None:
    assert found(strings=True) | found(strings=False) == NAMES


@BOTH_MODES
def test_every_prefix_of_every_recorded_tool_input_is_shown_as_jiter_does(strings: bool) -> None:
    inputs = recorded_inputs()
    assert len(inputs) > 100
    for name, text in inputs.items():
        assert set(along(text, strings=strings)) <= {"nothing_to_show"}, name
    shared_data.ran("captures/* (tool inputs)", len(inputs))


@given(text=DOCUMENTS)
@BOTH_MODES
def test_every_prefix_of_a_document_is_shown_as_jiter_does(text: str, strings: bool) -> None:
    assert set(along(text, strings=strings)) <= {"nothing_to_show"}


@given(text=ANY_TEXT.filter(is_encodable) | DOCUMENTS, end=st.integers(0, 400))
@BOTH_MODES
def test_any_text_is_shown_as_jiter_does_or_as_the_table_says(
    text: str, end: int, strings: bool
) -> None:
    cut = text[:end]
    shown = Shown.of(cut, parser_of(cut, strings=strings), strings=strings)
    assert set(differences_of(shown)) <= NAMES
