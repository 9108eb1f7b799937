"""What a verification says of a stream is what a machine says of it, however it comes."""

import gzip
from collections.abc import Sequence
from typing import Final

import pytest
from hypothesis import given, strategies as st

from sansio_stream import APIError, Report, StreamMachine, Verdict
from sansio_stream.testing import FaultyStream, Script, Style, cuts, faults, scripts, wire
from sansio_stream_adapters._verification import UNUSABLE, Verification, VerificationOptions
from wire import HELLO, frame

EVENTS: Final = {"content-type": "text/event-stream"}


class Run:
    """A verification of some chunks, and what a reader would get."""

    def __init__(
        self, chunks: Sequence[bytes], exc: Exception | None = None, encoding: str = "identity"
    ) -> None:
        self.reports: list[Report] = []
        options = VerificationOptions(on_end=self.reports.append)
        verification = Verification(
            200, {**EVENTS, "content-encoding": encoding}, options, lambda _: None
        )
        self.delivered: list[bytes] = []
        for chunk in chunks:
            verification.chunk(chunk)
            if verification.error is not None:
                break
            self.delivered.append(chunk)
        else:
            verification.end(exc)
        verification.closed()
        self.error = verification.error

    @property
    def verdict(self) -> Verdict:
        """That of the only report."""
        (report,) = self.reports
        return report.verdict


def verdict_of(data: bytes, exc: Exception | None = None) -> Verdict:
    """What a machine says of a body."""
    machine = StreamMachine()
    try:
        for _ in machine.receive_data(data):
            pass
        for _ in machine.connection_lost(exc):
            pass
    except APIError:
        pass
    return machine.verdict


@given(faults())
def test_of_any_fault_it_says_what_a_machine_says(stream: FaultyStream) -> None:
    run = Run(stream.chunks, stream.exception)
    verdict = verdict_of(stream.data, stream.exception)
    assert run.delivered == list(stream.chunks[: len(run.delivered)])
    if verdict in UNUSABLE:
        assert run.error is not None
        assert run.verdict is verdict
    elif verdict is not Verdict.ERRORED:
        assert run.error is None
        assert run.delivered == list(stream.chunks)
        assert run.verdict is verdict
    else:
        assert run.verdict in {Verdict.ERRORED, Verdict.DAMAGED}
    assert run.error is None or isinstance(run.error, APIError)


@given(scripts(), st.data())
def test_every_legal_stream_passes_whole(script: Script, data: st.DataObject) -> None:
    chunks = data.draw(cuts(data.draw(wire(script))))
    run = Run(chunks)
    assert (run.error, run.delivered, run.verdict) == (None, list(chunks), Verdict.COMPLETE)


@given(faults(style=Style()), st.integers(1, 60))
def test_compressed_it_is_the_same(stream: FaultyStream, size: int) -> None:
    data = gzip.compress(stream.data)
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    run = Run(pieces, encoding="gzip")
    verdict = verdict_of(stream.data)
    assert (run.error is not None) is (verdict in UNUSABLE) or verdict is Verdict.ERRORED


@pytest.mark.parametrize("cut", range(len(HELLO)))
def test_wherever_a_stream_is_cut_silently_its_end_is_an_error(cut: int) -> None:
    run = Run([frame(step) for step in HELLO[:cut]])
    is_whole = cut >= len(HELLO) - 1  # nothing but message_stop is missing
    assert (run.error is None) is is_whole
    assert len(run.delivered) == cut


def test_after_its_end_nothing_is_taken() -> None:
    reports: list[Report] = []
    options = VerificationOptions(on_end=reports.append)
    verification = Verification(200, EVENTS, options, lambda _: None)
    verification.closed()
    verification.chunk(frame(HELLO[0]))
    verification.end(ValueError())
    verification.closed()
    assert [(each.ended, each.chunks) for each in reports] == [("reader", 0)]
    assert verification.error is None
