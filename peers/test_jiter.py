"""Compares partial values with jiter's, for every prefix of recorded texts and tool inputs."""

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
from .readers import read_ours
from .streams import RECORDED

VECTORS: Final = "vectors/partial_json.jsonl"
LONG: Final = 1_500
"""The length from which only about 300 prefixes of a text are compared.

The cost of comparing all prefixes is quadratic.
"""

ENCODABLE: Final = st.characters(exclude_categories=["Cs"])
DOCUMENTS: Final = spellings(FEW_STRINGS | st.text(ENCODABLE))
BOTH_MODES: Final = pytest.mark.parametrize("strings", [True, False])


def unequal_prefixes(text: str, *, strings: bool) -> Iterator[str]:
    """Yield the name of the difference for each prefix on which the two parsers differ."""
    step = 1 if len(text) < LONG else len(text) // 300
    parser = PartialJSON(strings, max_depth=200_000)
    start = 0
    for end in [*range(0, len(text), step), len(text)]:
        parser.push(text[start:end])
        start = end
        yield from differences_of(Shown.of(text[:end], parser, strings=strings))


def is_encodable(text: str) -> bool:
    """Return whether a text can be encoded as UTF-8, the input of jiter."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


@cache
def recorded_texts() -> dict[str, str]:
    """Return the texts of the vectors by name, without those that are invalid UTF-8."""
    texts = {row["name"]: text_of(row) for row in shared_data.load(VECTORS)}
    return {name: text for name, text in texts.items() if text is not None}


def longest(texts: Iterable[str]) -> list[str]:
    """Return the texts that are not a prefix of another text.

    Their prefixes include all prefixes of the other texts.
    """
    ordered = sorted(texts)
    return [
        text
        for text, following in pairwise([*ordered, ""])
        if len(following) >= LONG or not following.startswith(text)
    ]


@cache
def recorded_inputs() -> dict[str, str]:
    """Return the joined tool inputs of all recorded bodies."""
    joined: dict[str, list[str]] = defaultdict(list)
    for stream in RECORDED.values():
        for result in read_ours(stream.frames, strings=True).results:
            for event in result.events:
                if event.type == "content_block_delta" and isinstance(event.delta, InputJSONDelta):
                    joined[f"{stream.name} {event.index}"].append(event.delta.partial_json)
    return {name: "".join(pieces) for name, pieces in joined.items()}


@cache
def found(*, strings: bool) -> set[str]:
    """Return the names of the differences in all prefixes of the recorded texts."""
    texts = longest(recorded_texts().values())
    return {name for text in texts for name in unequal_prefixes(text, strings=strings)}


@BOTH_MODES
def test_all_prefixes_of_recorded_texts_have_jiters_value_except_for_named_differences(
    strings: bool,
) -> None:
    assert found(strings=strings) - NAMES == set()
    left_out = len(shared_data.load(VECTORS)) - len(recorded_texts())
    shared_data.ran(VECTORS, len(recorded_texts()), skipped=left_out)


def test_every_difference_occurs_in_a_recorded_text() -> None:
    assert found(strings=True) | found(strings=False) == NAMES


@BOTH_MODES
def test_all_prefixes_of_recorded_tool_inputs_have_jiters_value(strings: bool) -> None:
    inputs = recorded_inputs()
    assert len(inputs) > 100
    for name, text in inputs.items():
        assert set(unequal_prefixes(text, strings=strings)) <= {"nothing_to_show"}, name
    shared_data.ran("captures/* (tool inputs)", len(inputs))


@given(text=DOCUMENTS)
@BOTH_MODES
def test_all_prefixes_of_a_document_have_jiters_value(text: str, strings: bool) -> None:
    assert set(unequal_prefixes(text, strings=strings)) <= {"nothing_to_show"}


@given(text=ANY_TEXT.filter(is_encodable) | DOCUMENTS, end=st.integers(0, 400))
@BOTH_MODES
def test_any_text_has_jiters_value_except_for_named_differences(
    text: str, end: int, strings: bool
) -> None:
    cut = text[:end]
    shown = Shown.of(cut, parser_of(cut, strings=strings), strings=strings)
    assert set(differences_of(shown)) <= NAMES
