"""Compares final messages with the official client's, for generated and damaged streams."""

from typing import Final

from hypothesis import given, strategies as st

from sansio_stream.testing import PLAIN, FaultyStream, faults, scripts, styles, wire
from test_machine import bodies

from .comparison import WAYS, Comparison
from .readers import Surface, frames_of

ANY_WAY: Final = st.sampled_from(WAYS)
LEGAL: Final = scripts().flatmap(
    lambda script: (st.just(PLAIN) | styles()).flatmap(lambda style: wire(script, style))
)


def check(body: bytes, way: tuple[Surface, bool]) -> None:
    assert Comparison(*way).run(frames_of(body)).unexplained == []


@given(LEGAL, ANY_WAY)
def test_a_legal_stream_gives_the_same_message_except_for_named_differences(
    body: bytes, way: tuple[Surface, bool]
) -> None:
    check(body, way)


@given(faults(), ANY_WAY)
def test_a_damaged_stream_gives_the_same_message_except_for_named_differences(
    stream: FaultyStream, way: tuple[Surface, bool]
) -> None:
    check(stream.data, way)


@given(bodies(), ANY_WAY)
def test_any_stream_gives_the_same_message_except_for_named_differences(
    body: bytes, way: tuple[Surface, bool]
) -> None:
    check(body, way)
