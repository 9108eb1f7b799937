"""An observer decodes a copy of what comes, in pieces; what cannot be decoded is in its report."""

import gzip
import importlib
import zlib
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any, Final

import pytest
from hypothesis import given, strategies as st

from sansio_stream import Limits, Observer, Report, Verdict
from sansio_stream.observer import BodyDecoder
from sansio_stream_adapters import decoder_for, tee
from sansio_stream_adapters._decoding import RESPONSE_PIECE_BYTES, UnknownEncodingError
from tracing import peak_of
from wire import HELLO, body, frame, text

WHOLE: Final = body(*HELLO)
BOMB_BYTES: Final = 2**23


def library(*names: str) -> Any:
    """Return the first of these modules that is installed, or None."""
    for name in names:
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    return None


BROTLI: Final = library("brotlicffi", "brotli")
ZSTD: Final = library("compression.zstd", "backports.zstd")


def brotli(data: bytes) -> bytes:
    packed: bytes = BROTLI.compress(data, quality=1)
    return packed


def zstd(data: bytes) -> bytes:
    packed: bytes = ZSTD.compress(data)
    return packed


ENCODERS: Final[dict[str, Callable[[bytes], bytes]]] = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": brotli,
    "zstd": zstd,
}


def if_installed(*encodings: str) -> list[Any]:
    """The parameters of a test. One is skipped if its encoding needs a library that is missing."""
    missing = {name for name, module in (("br", BROTLI), ("zstd", ZSTD)) if module is None}
    return [
        pytest.param(
            encoding,
            marks=pytest.mark.skipif(
                not missing.isdisjoint(encoding.split(", ")), reason="its library is not installed"
            ),
        )
        for encoding in encodings
    ]


EACH: Final = pytest.mark.parametrize("name", if_installed(*ENCODERS))


def encoded(encoding: str, data: bytes) -> bytes:
    """Apply the encodings of a header, in its order."""
    for name in encoding.split(", "):
        data = ENCODERS[name](data)
    return data


def cut(data: bytes, size: int) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


def observer_of(encoding: str, status: int = 200, **options: Any) -> Observer:
    headers = {"content-encoding": encoding}
    return Observer(status, headers, make_decoder=decoder_for, **options)


def report_of_encoded(
    data: bytes, encoding: str, *, size: int = 10_000, end: bool = True, **options: Any
) -> Report:
    """The report of a body that came in chunks of one size."""
    observer = observer_of(encoding, **options)
    for chunk in cut(data, size):
        observer.chunk(chunk, at=1.0)
    if end:
        observer.end(at=2.0)
    return observer.report


# What comes out.

NESTED: Final = ["gzip, gzip", "deflate, gzip, x-gzip", "br, gzip", "zstd, br, gzip", "gzip, zstd"]


@pytest.mark.parametrize("encoding", if_installed(*ENCODERS, *NESTED))
@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_an_encoded_stream_has_the_report_of_what_is_in_it(encoding: str, size: int) -> None:
    data = encoded(encoding, WHOLE)
    report = report_of_encoded(data, encoding, size=size)
    assert (report.verdict, report.ended, report.error_type) == (Verdict.COMPLETE, "eof", None)
    assert (report.bytes, report.chunks) == (len(WHOLE), len([*cut(data, size)]))
    assert (report.first_byte, report.first_text, report.end) == (1.0, 1.0, 2.0)


@pytest.mark.parametrize("encoding", ["", "identity", " , Identity"])
def test_a_body_without_an_encoding_is_read_as_it_is(encoding: str) -> None:
    assert report_of_encoded(WHOLE, encoding).verdict is Verdict.COMPLETE


def test_without_being_told_an_observer_takes_chunks_for_decoded() -> None:
    observer = Observer(200, {"content-encoding": "gzip"})
    observer.chunk(WHOLE)
    observer.end()
    assert observer.report.verdict is Verdict.COMPLETE


@EACH
@given(data=st.binary(max_size=300), times=st.integers(1, 3_000), size=st.integers(1, 5_000))
def test_any_body_comes_out_whole_in_pieces(name: str, data: bytes, times: int, size: int) -> None:
    decoder = decoder_for(name)
    assert decoder is not None
    out = b""
    for chunk in cut(encoded(name, data * times), size):
        decoder.receive(chunk)
        while decoder.has_more:
            piece = decoder.piece()
            assert len(piece) <= RESPONSE_PIECE_BYTES
            out += piece
    assert out == data * times
    assert decoder.end() is None


@pytest.mark.parametrize("name", if_installed("gzip", "zstd"))
def test_what_was_encoded_in_parts_is_one_body(name: str) -> None:
    data = b"".join(encoded(name, frame(step)) for step in HELLO)
    assert report_of_encoded(data, name).verdict is Verdict.COMPLETE
    assert report_of_encoded(data, name, size=1).verdict is Verdict.COMPLETE


def test_a_tee_passes_on_the_encoded_bytes() -> None:
    chunks = [*cut(gzip.compress(WHOLE), 9)]
    observer = observer_of("gzip")
    assert [*tee(chunks, observer)] == chunks
    assert observer.report.verdict is Verdict.COMPLETE


def test_the_body_of_an_error_is_decoded_too() -> None:
    sent = b'{"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}'
    report = report_of_encoded(gzip.compress(sent), "gzip", status=529)
    assert (report.verdict, report.error_type) == (Verdict.ERRORED, "overloaded_error")
    assert report.error_message == "Overloaded"
    assert report.bytes == len(sent)


# What does not come out.


@EACH
def test_a_body_that_is_cut_inside_its_encoding_was_cut(name: str) -> None:
    # Random enough that no encoder can shorten it much.
    data = encoded(name, body(*HELLO[:3], *[text(0, f"{at**9}") for at in range(2_000)]))
    report = report_of_encoded(data[: len(data) // 2], name)
    assert (report.verdict, report.ended) == (Verdict.TRUNCATED, "eof")
    assert report.error_type == "DecodingError"
    assert "ends inside its" in str(report.error_message)


@pytest.mark.parametrize(
    "name", if_installed("gzip", "br", "zstd")
)  # any bytes can be those of a deflate
def test_a_faulty_body_counts_as_cut_where_it_is_faulty(name: str) -> None:
    observer = observer_of(name)
    for chunk in (encoded(name, body(*HELLO[:4]))[:-8], b"\xff" * 40_000, b"more"):
        observer.chunk(chunk, at=1.0)
    report = observer.report
    assert (report.ended, report.error_type) == ("pending", "DecodingError")
    assert report.verdict in (Verdict.TRUNCATED, Verdict.EMPTY)
    observer.end(ConnectionError("later"), at=3.0)
    assert (observer.report.ended, observer.report.end) == ("error", 3.0)
    assert observer.report.error_type == "DecodingError"
    assert observer.report.chunks == 3


def test_of_a_faulty_body_that_is_read_which_came_before() -> None:
    packer = zlib.compressobj(wbits=31)
    data = packer.compress(body(*HELLO[:4])) + packer.flush(zlib.Z_SYNC_FLUSH)
    report = report_of_encoded(data + b"\x07\x07", "gzip")
    assert (report.verdict, report.events) == (Verdict.TRUNCATED, 4)
    assert "is not gzip" in str(report.error_message)


def test_after_message_stop_a_faulty_encoding_changes_no_verdict() -> None:
    packer = zlib.compressobj(wbits=31)
    data = packer.compress(WHOLE) + packer.flush(zlib.Z_SYNC_FLUSH)
    report = report_of_encoded(data, "gzip")
    assert (report.verdict, report.error_type) == (Verdict.COMPLETE, "DecodingError")


@pytest.mark.skipif(BROTLI is None, reason="its library is not installed")
def test_bytes_after_the_end_of_br_are_faulty() -> None:
    data = brotli(WHOLE)
    observer = observer_of("br")
    observer.chunk(data)
    observer.chunk(b"x")
    assert observer.report.error_message == "the body goes on after the end of its br data"


UNKNOWN: Final = ["compress", "utf-8", "*", "gzip, gzip, gzip, gzip", "gzip, dcb"]


@pytest.mark.parametrize("encoding", UNKNOWN)
def test_an_unknown_encoding_is_told_and_nobody_knows_how_the_stream_ended(encoding: str) -> None:
    report = report_of_encoded(b"\x1f\x9d\x90", encoding)
    assert (report.verdict, report.ended, report.chunks) == (Verdict.PENDING, "eof", 1)
    assert (report.bytes, report.error_type) == (0, "UnknownEncodingError")
    assert "content-encoding" in str(report.error_message)
    with pytest.raises(UnknownEncodingError):
        decoder_for(encoding)


def test_a_connection_that_broke_says_more_than_an_unknown_encoding() -> None:
    observer = observer_of("compress")
    observer.chunk(b"\x1f\x9d\x90")
    observer.end(ConnectionResetError("reset"))
    assert (observer.report.verdict, observer.report.ended) == (Verdict.PENDING, "error")
    assert observer.report.error_type == "ConnectionResetError"


def test_an_error_with_an_unknown_encoding_still_has_its_status() -> None:
    report = report_of_encoded(b"\xff\xfe\xfd", "compress", status=529)
    assert (report.verdict, report.error_type) == (Verdict.ERRORED, "OverloadedError")
    assert "which was not decoded" in str(report.error_message)


def test_a_library_that_is_missing_or_has_no_limit_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def import_module(name: str) -> ModuleType:
        if name == "brotli":
            old = ModuleType("brotli")
            old.__dict__["Decompressor"] = (
                object  # as it was before 1.2: without `can_accept_more_data`
            )
            return old
        raise ImportError(name)

    monkeypatch.setattr("importlib.import_module", import_module)
    for encoding, missing in (("br", "brotli"), ("zstd", "backports.zstd")):
        report = report_of_encoded(b"x", encoding)
        assert report.error_type == "UnknownEncodingError"
        assert str(report.error_message).endswith(f"but {missing} is not installed")


# An observer never raises, whatever its decoder does.


class Faulty:
    """A decoder that raises where it is told to."""

    def __init__(self, place: str) -> None:
        self.place = place

    def fail(self, place: str) -> None:
        if place == self.place:
            raise ZeroDivisionError(place)

    def receive(self, _data: bytes) -> None:
        self.fail("receive")

    @property
    def has_more(self) -> bool:
        self.fail("has_more")
        return self.place == "piece"

    def piece(self) -> bytes:
        self.fail("piece")
        return b""

    def end(self) -> Exception | None:
        self.fail("end")
        return None


@pytest.mark.parametrize("place", ["make", "receive", "has_more", "piece", "end"])
@pytest.mark.parametrize("status", [200, 500])
def test_what_a_decoder_raises_is_told(place: str, status: int) -> None:
    def make(_: str) -> BodyDecoder:
        decoder = Faulty(place)
        decoder.fail("make")
        return decoder

    observer = Observer(status, make_decoder=make)
    observer.chunk(WHOLE)
    observer.end()
    report = observer.report
    if status == 500:
        assert report.verdict is Verdict.ERRORED
    else:
        assert report.error_type == "ZeroDivisionError"
        assert report.verdict is (Verdict.PENDING if place == "make" else Verdict.EMPTY)


@given(
    st.sampled_from([*ENCODERS, *NESTED, *UNKNOWN, "", "identity"]),
    st.lists(st.binary(max_size=60) | st.just(gzip.compress(WHOLE))),
    st.sampled_from([200, 500]),
)
def test_of_any_bytes_there_is_a_report(encoding: str, chunks: list[bytes], status: int) -> None:
    observer = observer_of(encoding, status)
    for chunk in chunks:
        observer.chunk(chunk)
    observer.end()
    assert observer.report.ended == "eof"
    assert observer.report.chunks == sum(map(bool, chunks))


# Bombs. Each is 8 MiB, and some kilobytes as it is sent.


@pytest.mark.parametrize(
    "encoding", if_installed(*ENCODERS, "gzip, gzip", "gzip, gzip, gzip", "zstd, br, gzip")
)
def test_a_bomb_costs_no_more_memory_than_pieces(encoding: str) -> None:
    sent = encoded(encoding, b"\n" * BOMB_BYTES)
    report_of_encoded(encoded(encoding, WHOLE), encoding)  # what is made once is made
    seen: list[Report] = []

    def read() -> None:
        seen.append(report_of_encoded(sent, encoding, size=len(sent)))

    # A piece, its slices, and what each library and the machine hold of it.
    assert peak_of(read) < 16 * RESPONSE_PIECE_BYTES
    assert seen[0].bytes == BOMB_BYTES
    assert seen[0].verdict is Verdict.EMPTY


def test_limits_count_decoded_bytes_and_end_the_decoding() -> None:
    sent = gzip.compress(b"a" * BOMB_BYTES)
    report = report_of_encoded(sent, "gzip", limits=Limits(total_bytes=2**20))
    assert (report.verdict, report.error_type) == (Verdict.BROKEN, "LimitError")
    assert 2**20 < report.bytes <= 2**20 + RESPONSE_PIECE_BYTES
    assert report.chunks == len([*cut(sent, 10_000)])


def test_an_error_that_is_a_bomb_is_counted_as_far_as_the_limit_and_not_kept() -> None:
    sent = gzip.compress(b"a" * BOMB_BYTES)
    seen: list[Report] = []

    def read() -> None:
        seen.append(report_of_encoded(sent, "gzip", status=500))

    assert peak_of(read) < 16 * RESPONSE_PIECE_BYTES
    assert (seen[0].verdict, seen[0].bytes) == (Verdict.ERRORED, BOMB_BYTES)
    few = report_of_encoded(sent, "gzip", status=500, limits=Limits(total_bytes=2**20))
    assert few.verdict is Verdict.ERRORED
    assert 2**20 < few.bytes <= 2**20 + RESPONSE_PIECE_BYTES


@pytest.mark.parametrize("encoding", if_installed("gzip", "br"))
@pytest.mark.parametrize("size", [7, 10**6])
def test_the_bytes_after_a_fatal_error_are_counted_as_without_an_encoding(
    encoding: str, size: int
) -> None:
    bad = b'event: content_block_delta\ndata: {"type": "content_block_delta", \n\n'
    broken = body(*HELLO[:3]) + bad + b": more\n" * 20_000
    for status, verdict in ((200, Verdict.BROKEN), (500, Verdict.ERRORED)):
        report = report_of_encoded(encoded(encoding, broken), encoding, size=size, status=status)
        plain = report_of_encoded(broken, "", status=status)
        assert (report.verdict, report.bytes) == (verdict, len(broken))
        assert (plain.verdict, plain.bytes) == (verdict, len(broken))


def test_a_decoder_of_nothing_has_nothing() -> None:
    observer = observer_of("compress")
    assert observer._decoder is not None  # nobody else calls all of its methods
    assert observer._decoder.piece() == b""
