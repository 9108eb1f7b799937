"""Test content-decoding: a body is decompressed in bounded pieces, however it is cut."""

import gzip
import zlib
from collections.abc import AsyncIterator, Iterator
from itertools import pairwise, repeat
from typing import Any, Final

import pytest
from hypothesis import given, strategies as st

from matrix import run_without_loop
from sansio_stream import Verdict, retry_delay
from sansio_stream_adapters import (
    APIConnectionError,
    APIStatusError,
    APITimeoutError,
    AsyncMessageStream,
    LimitError,
    Limits,
    MessageStream,
    NotAnEventStreamError,
    OverloadedError,
)
from sansio_stream_adapters._decoding import (
    RESPONSE_PIECE_BYTES,
    STEP_COST,
    Decoder,
    DecodingError,
    UnknownEncodingError,
)
from sansio_stream_adapters._stream_core import ReadSignal, StreamCore
from tracing import peak_of
from wire import HELLO, body, text

WHOLE: Final = body(*HELLO)
TEXT: Final = "Hello, wörld \N{PARTY POPPER}"

GZIP: Final = {"content-encoding": "gzip"}

BITS: Final = {"gzip": 31, "zlib": 15, "bare": -15}
"""The `wbits` argument of zlib for `gzip` and for the two formats of `deflate`."""


def encoding_of(kind: str) -> str:
    return "gzip" if kind == "gzip" else "deflate"


def compressed(kind: str, parts: list[bytes], flush: int = zlib.Z_NO_FLUSH) -> bytes:
    """Compress parts, with a flush after each."""
    compressor = zlib.compressobj(wbits=BITS[kind])
    encoded = [compressor.compress(part) + compressor.flush(flush) for part in parts]
    return b"".join([*encoded, compressor.flush()])


def decoder_of(kind: str) -> Decoder:
    decoder = Decoder.of(encoding_of(kind))
    assert decoder is not None
    return decoder


def pieces_of(decoder: Decoder, chunks: list[bytes]) -> Iterator[bytes]:
    for chunk in chunks:
        decoder.receive(chunk)
        while decoder.has_more:
            if piece := decoder.piece():
                yield piece
    missing = decoder.end()
    if missing is not None:
        raise missing


def cut(data: bytes, at: list[int]) -> list[bytes]:
    places = sorted({0, len(data), *(place % (len(data) + 1) for place in at)})
    return [data[start:end] for start, end in pairwise(places)] or [data]


def zlib_output(kind: str, data: bytes) -> tuple[bytes, bool]:
    """Decompress byte by byte. Return the output before an error, and whether data is complete."""
    inflate, out = zlib.decompressobj(BITS[kind]), b""
    try:
        for at in range(len(data)):
            out += inflate.decompress(data[at : at + 1])
    except zlib.error:
        return out, False
    return out, inflate.eof and not inflate.unused_data


kinds = st.sampled_from(sorted(BITS))
flushes = st.sampled_from([zlib.Z_NO_FLUSH, zlib.Z_SYNC_FLUSH, zlib.Z_FULL_FLUSH])
bodies = st.binary(max_size=300) | st.builds(
    lambda unit, times: unit * times, st.binary(max_size=9), st.integers(0, 40_000)
)
cuts = st.lists(st.integers(0, 2**20), max_size=20)


@given(kinds, st.lists(bodies, max_size=4), flushes, cuts)
def test_any_body_is_decoded_whole_however_it_is_cut(
    kind: str, parts: list[bytes], flush: int, at: list[int]
) -> None:
    pieces = list(pieces_of(decoder_of(kind), cut(compressed(kind, parts, flush), at)))
    assert b"".join(pieces) == b"".join(parts)
    assert all(0 < len(piece) <= RESPONSE_PIECE_BYTES for piece in pieces)


@given(st.lists(bodies, min_size=1, max_size=4), st.integers(0, 9_000), cuts)
def test_the_members_of_a_gzip_are_one_body_and_zeros_after_them_are_ignored(
    members: list[bytes], zeros: int, at: list[int]
) -> None:
    data = b"".join(map(gzip.compress, members)) + bytes(zeros)
    assert b"".join(pieces_of(decoder_of("gzip"), cut(data, at))) == gzip.decompress(data)


@given(kinds, bodies, st.data(), cuts)
def test_a_damaged_body_yields_what_zlib_yields_before_its_error(
    kind: str, whole: bytes, data: st.DataObject, at: list[int]
) -> None:
    encoded = bytearray(compressed(kind, [whole[:100_000]]))
    place = data.draw(st.integers(0, len(encoded) - 1))
    if data.draw(st.booleans()):
        del encoded[place:]
    else:
        # The first byte distinguishes the two formats of deflate, so it must not change.
        encoded[max(place, 1)] ^= data.draw(st.integers(1, 255))
    expected, is_whole = zlib_output(kind, bytes(encoded))
    decoder, out = decoder_of(kind), b""
    try:
        for piece in pieces_of(decoder, cut(bytes(encoded), at)):
            assert len(piece) <= RESPONSE_PIECE_BYTES
            out += piece
        has_failed = False
    except DecodingError:
        has_failed = True
    assert out == expected
    assert has_failed is (bool(encoded) and not is_whole)


def test_a_decoder_raises_its_error_again() -> None:
    decoder = decoder_of("gzip")
    decoder.receive(b"not gzip")
    for _ in range(2):
        with pytest.raises(DecodingError, match="the body is not gzip"):
            decoder.piece()
    decoder = decoder_of("bare")
    decoder.receive(compressed("bare", [b"a"]) + b"b")
    assert decoder.piece() == b"a"
    with pytest.raises(DecodingError, match="after the end of its deflate"):
        decoder.piece()


@pytest.mark.parametrize("encoding", ["", " ", "identity", "Identity", "identity, identity", ","])
def test_identity_needs_no_decoder(encoding: str) -> None:
    assert Decoder.of(encoding) is None


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "x-gzip", "identity, gzip", " gzip ,"])
def test_one_layer_is_decoded(encoding: str) -> None:
    decoder = Decoder.of(encoding)
    assert decoder is not None
    assert b"".join(pieces_of(decoder, [gzip.compress(b"a")])) == b"a"


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip", "gzip,deflate", "utf-8", "*"])
def test_other_encodings_and_several_layers_are_refused(encoding: str) -> None:
    with pytest.raises(UnknownEncodingError, match="content-encoding") as caught:
        Decoder.of(encoding)
    assert repr(encoding) in str(caught.value)


# Streams that get the encoded body.


def raw(encoding: str = "gzip", **settings: Any) -> dict[str, Any]:
    return {"is_raw": True, "headers": {"content-encoding": encoding}, **settings}


def test_by_default_a_stream_expects_decoded_chunks() -> None:
    assert MessageStream([WHOLE], headers=GZIP).get_final_text() == TEXT


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_a_stream_decodes_raw_chunks(size: int) -> None:
    data = gzip.compress(WHOLE)
    chunks = [data[at : at + size] for at in range(0, len(data), size)]
    assert MessageStream(chunks, **raw()).get_final_text() == TEXT


@pytest.mark.parametrize("encoding", ["br", "gzip, gzip", "utf-8"])
def test_a_body_in_an_unknown_encoding_is_refused_and_not_read(encoding: str) -> None:
    closed: list[int] = []
    chunks = iter([WHOLE])
    stream = MessageStream(chunks, close=lambda: closed.append(1), **raw(encoding))
    with pytest.raises(NotAnEventStreamError, match=r"HTTP 200: .* content-encoding") as caught:
        stream.open()
    assert repr(encoding) in str(caught.value)
    assert caught.value.verdict is Verdict.NOT_AN_EVENT_STREAM
    assert retry_delay(0, caught.value, 0) is None
    assert closed == [1]
    assert list(chunks) == [WHOLE]


def test_an_error_in_an_unknown_encoding_still_has_its_status() -> None:
    headers = {"content-encoding": "br", "retry-after": "3"}
    with pytest.raises(OverloadedError, match=r"HTTP 529: .*'br'") as caught:
        MessageStream([b""], status=529, is_raw=True, headers=headers).open()
    assert caught.value.headers["retry-after"] == "3"
    assert retry_delay(0, caught.value, 0) == 3


def test_a_redirect_in_an_unknown_encoding_still_names_its_location() -> None:
    headers = {"content-encoding": "br", "location": "/there"}
    with pytest.raises(APIStatusError, match="HTTP 307 redirects to /there"):
        MessageStream([b""], status=307, is_raw=True, headers=headers).open()


def test_events_before_a_decoding_error_are_kept() -> None:
    compressor = zlib.compressobj(wbits=31)
    data = compressor.compress(body(*HELLO[:4])) + compressor.flush(zlib.Z_SYNC_FLUSH)
    stream = MessageStream([data + b"\x07\x07"], **raw())
    with pytest.raises(APIConnectionError, match="the body is not gzip") as caught:
        stream.until_done()
    assert caught.value.partial_message == stream.snapshot
    with pytest.raises(APIConnectionError, match="ends inside its gzip data"):
        MessageStream([data], **raw()).until_done()


def test_chunks_without_output_do_not_reset_idle() -> None:
    compressor = zlib.compressobj(wbits=31)
    encoded = [compressor.compress(b":"), *(compressor.flush(zlib.Z_FULL_FLUSH) for _ in range(3))]
    core = StreamCore(
        {"status": 200, "headers": GZIP, "response": None}, None, is_raw=True, idle=1.0
    )
    for data in encoded[:3]:
        core.received(data, 0.3)
        assert core.take() is ReadSignal.NEED_DATA
    core.received(encoded[3], 0.3)
    with pytest.raises(APITimeoutError, match="idle"):
        core.take()


def test_received_data_can_be_decoded_and_read_after_closing() -> None:
    many = body(*HELLO[:3], *[text(0, "y" * 200)] * 2_000, *HELLO[-3:])
    assert len(many) > 4 * RESPONSE_PIECE_BYTES
    data = gzip.compress(many)
    expected = list(MessageStream([data], **raw()))
    stream = MessageStream(iter([data]), **raw())
    first = next(stream)
    stream.close()
    assert [first, *stream] == expected
    assert stream.verdict is Verdict.COMPLETE


def test_closing_a_stream_closes_its_generator_of_chunks() -> None:
    ended: list[str] = []

    def chunks() -> Iterator[bytes]:
        try:
            yield gzip.compress(WHOLE)
        finally:
            ended.append("sync")

    async def chunks_async() -> AsyncIterator[bytes]:
        try:
            yield gzip.compress(WHOLE)
        finally:
            ended.append("async")

    with MessageStream(chunks(), **raw()) as stream:
        next(stream)

    async def leave() -> None:
        async with AsyncMessageStream(chunks_async(), **raw()) as stream:
            await anext(stream)

    run_without_loop(leave())
    assert ended == ["sync", "async"]


def test_gzip_members_without_output_let_other_tasks_run() -> None:
    """Other tasks run after a number of steps, even if these steps have no output."""
    decoder = decoder_of("gzip")
    members = 500
    decoder.receive(gzip.compress(b"") * members)
    steps = 0
    while decoder.has_more:
        assert decoder.piece() == b""
        steps += 1
    assert steps >= members
    core = StreamCore({"status": 200, "headers": GZIP, "response": None}, None, is_raw=True)
    assert core.received(gzip.compress(b"") * members, 0.0) >= STEP_COST
    assert core.has_pieces
    assert core.go_on() >= STEP_COST


# Decompression bombs: 32 MiB that compress to a few kilobytes.

BOMB_BYTES: Final = 2**25
FILLERS: Final = {
    "comments": b":\n" * 2**15,
    "one line": b"a" * 2**16,
    "blank lines": b"\n" * 2**16,
}


def bomb(filler: bytes) -> bytes:
    return compressed("gzip", [*repeat(filler, BOMB_BYTES // len(filler))])


def read(chunks: list[bytes], **settings: Any) -> None:
    stream = MessageStream(chunks, limits=Limits(total_bytes=2**20), **settings)
    with pytest.raises(LimitError, match="the body is larger than 1048576 bytes"):
        stream.until_done()


@pytest.mark.parametrize("filler", FILLERS.values(), ids=list(FILLERS))
def test_limits_stop_a_bomb_before_it_takes_much_memory(
    filler: bytes,
) -> None:
    encoded = bomb(filler)
    ordinary = gzip.compress(filler * 32, compresslevel=0)
    in_chunks = [ordinary[at : at + 2**16] for at in range(0, len(ordinary), 2**16)]
    read(in_chunks, **raw())  # the first run also allocates caches
    ordinary_peak = peak_of(lambda: read(in_chunks, **raw()))
    assert peak_of(lambda: read([encoded], **raw())) < 3 * ordinary_peak


def test_a_bomb_is_decoded_in_pieces() -> None:
    decoder = decoder_of("gzip")
    sizes = [len(piece) for piece in pieces_of(decoder, [bomb(b"\n" * 2**16)])]
    assert sum(sizes) == BOMB_BYTES
    assert max(sizes) == RESPONSE_PIECE_BYTES


def test_a_refusal_that_is_a_bomb_is_decoded_only_as_far_as_it_is_kept() -> None:
    encoded = bomb(b"a" * 2**16)
    with pytest.raises(APIStatusError) as caught:
        MessageStream([encoded], status=500, **raw()).until_done()
    assert caught.value.body == "a" * 65_536


def test_a_body_compressed_twice_is_refused() -> None:
    encoded = gzip.compress(bomb(b"\n" * 2**16))
    with pytest.raises(NotAnEventStreamError, match="'gzip, gzip'"):
        MessageStream([encoded], **raw("gzip, gzip")).until_done()
