"""Content-decoding: what zlib makes of a body, in bounded pieces, however it is cut."""

import gzip
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
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
    PIECE_BYTES,
    STEP_COST,
    Decoder,
    DecodingError,
    UnknownEncodingError,
)
from sansio_stream_adapters._stream_core import ReadSignal, StreamCore
from wire import HELLO, body, text

WHOLE: Final = body(*HELLO)
SAID: Final = "Hello, wörld \N{PARTY POPPER}"

GZIP: Final = {"content-encoding": "gzip"}

BITS: Final = {"gzip": 31, "zlib": 15, "bare": -15}
"""How zlib calls what `gzip` and the two kinds of `deflate` are."""


def encoding_of(kind: str) -> str:
    return "gzip" if kind == "gzip" else "deflate"


def compressed(kind: str, parts: list[bytes], flush: int = zlib.Z_NO_FLUSH) -> bytes:
    """Compress parts, with a flush behind each."""
    packer = zlib.compressobj(wbits=BITS[kind])
    sent = [packer.compress(part) + packer.flush(flush) for part in parts]
    return b"".join([*sent, packer.flush()])


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


def told_by_zlib(kind: str, data: bytes) -> tuple[bytes, bool]:
    """Return what zlib has handed out before it failed, if it did, byte by byte."""
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
def test_any_body_comes_out_whole_however_it_is_cut(
    kind: str, parts: list[bytes], flush: int, at: list[int]
) -> None:
    pieces = list(pieces_of(decoder_of(kind), cut(compressed(kind, parts, flush), at)))
    assert b"".join(pieces) == b"".join(parts)
    assert all(0 < len(piece) <= PIECE_BYTES for piece in pieces)


@given(st.lists(bodies, min_size=1, max_size=4), st.integers(0, 9_000), cuts)
def test_members_of_a_gzip_and_the_zeros_behind_them_are_one_body(
    members: list[bytes], zeros: int, at: list[int]
) -> None:
    data = b"".join(map(gzip.compress, members)) + bytes(zeros)
    assert b"".join(pieces_of(decoder_of("gzip"), cut(data, at))) == gzip.decompress(data)


@given(kinds, bodies, st.data(), cuts)
def test_of_a_damaged_body_that_comes_out_which_zlib_hands_out_before_it_fails(
    kind: str, whole: bytes, data: st.DataObject, at: list[int]
) -> None:
    sent = bytearray(compressed(kind, [whole[:100_000]]))
    place = data.draw(st.integers(0, len(sent) - 1))
    if data.draw(st.booleans()):
        del sent[place:]
    else:
        # The first byte chooses between the two kinds of deflate, so it stays.
        sent[max(place, 1)] ^= data.draw(st.integers(1, 255))
    expected, is_whole = told_by_zlib(kind, bytes(sent))
    decoder, out = decoder_of(kind), b""
    try:
        for piece in pieces_of(decoder, cut(bytes(sent), at)):
            assert len(piece) <= PIECE_BYTES
            out += piece
        has_failed = False
    except DecodingError:
        has_failed = True
    assert out == expected
    assert has_failed is (bool(sent) and not is_whole)


def test_what_broke_once_stays_broken() -> None:
    decoder = decoder_of("gzip")
    decoder.receive(b"no gzip")
    for _ in range(2):
        with pytest.raises(DecodingError, match="the body is not gzip"):
            decoder.piece()
    decoder = decoder_of("bare")
    decoder.receive(compressed("bare", [b"a"]) + b"b")
    assert decoder.piece() == b"a"
    with pytest.raises(DecodingError, match="after the end of its deflate"):
        decoder.piece()


@pytest.mark.parametrize("encoding", ["", " ", "identity", "Identity", "identity, identity", ","])
def test_identity_is_no_encoding(encoding: str) -> None:
    assert Decoder.of(encoding) is None


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "x-gzip", "identity, gzip", " gzip ,"])
def test_one_layer_is_decoded(encoding: str) -> None:
    decoder = Decoder.of(encoding)
    assert decoder is not None
    assert b"".join(pieces_of(decoder, [gzip.compress(b"a")])) == b"a"


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip", "gzip,deflate", "utf-8", "*"])
def test_other_encodings_and_several_layers_are_refused_by_name(encoding: str) -> None:
    with pytest.raises(UnknownEncodingError, match="content-encoding") as caught:
        Decoder.of(encoding)
    assert repr(encoding) in str(caught.value)


# Streams that are given what was sent.


def raw(encoding: str = "gzip", **settings: Any) -> dict[str, Any]:
    return {"is_raw": True, "headers": {"content-encoding": encoding}, **settings}


def test_without_being_told_a_stream_takes_chunks_for_decoded() -> None:
    assert MessageStream([WHOLE], headers=GZIP).get_final_text() == SAID


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_a_stream_decodes_what_it_is_told_is_encoded(size: int) -> None:
    data = gzip.compress(WHOLE)
    chunks = [data[at : at + size] for at in range(0, len(data), size)]
    assert MessageStream(chunks, **raw()).get_final_text() == SAID


@pytest.mark.parametrize("encoding", ["br", "gzip, gzip", "utf-8"])
def test_a_body_that_is_not_decoded_is_refused_for_good_and_not_read(encoding: str) -> None:
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


def test_an_error_that_is_not_decoded_still_has_its_status() -> None:
    headers = {"content-encoding": "br", "retry-after": "3"}
    with pytest.raises(OverloadedError, match=r"HTTP 529: .*'br'") as caught:
        MessageStream([b""], status=529, is_raw=True, headers=headers).open()
    assert caught.value.headers["retry-after"] == "3"
    assert retry_delay(0, caught.value, 0) == 3


def test_a_redirect_that_is_not_decoded_still_says_where_to() -> None:
    headers = {"content-encoding": "br", "location": "/there"}
    with pytest.raises(APIStatusError, match="HTTP 307 redirects to /there"):
        MessageStream([b""], status=307, is_raw=True, headers=headers).open()


def test_of_a_body_that_breaks_what_came_before_is_kept() -> None:
    packer = zlib.compressobj(wbits=31)
    data = packer.compress(body(*HELLO[:4])) + packer.flush(zlib.Z_SYNC_FLUSH)
    stream = MessageStream([data + b"\x07\x07"], **raw())
    with pytest.raises(APIConnectionError, match="the body is not gzip") as caught:
        stream.until_done()
    assert caught.value.partial_message == stream.snapshot
    with pytest.raises(APIConnectionError, match="ends inside its gzip data"):
        MessageStream([data], **raw()).until_done()


def test_chunks_that_bring_nothing_out_count_as_waiting() -> None:
    packer = zlib.compressobj(wbits=31)
    sent = [packer.compress(b":"), *(packer.flush(zlib.Z_FULL_FLUSH) for _ in range(3))]
    core = StreamCore(
        {"status": 200, "headers": GZIP, "response": None}, None, is_raw=True, idle=1.0
    )
    for data in sent[:3]:
        core.received(data, 0.3)
        assert core.take() is ReadSignal.NEED_DATA
    core.received(sent[3], 0.3)
    with pytest.raises(APITimeoutError, match="idle"):
        core.take()


def test_what_has_come_can_be_taken_after_closing_however_much_comes_out() -> None:
    many = body(*HELLO[:3], *[text(0, "y" * 200)] * 2_000, *HELLO[-3:])
    assert len(many) > 4 * PIECE_BYTES
    data = gzip.compress(many)
    expected = list(MessageStream([data], **raw()))
    stream = MessageStream(iter([data]), **raw())
    first = next(stream)
    stream.close()
    assert [first, *stream] == expected
    assert stream.verdict is Verdict.COMPLETE


def test_closing_reaches_what_the_chunks_come_from() -> None:
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


def test_members_that_bring_nothing_out_let_other_tasks_run() -> None:
    """The loop runs others after so many steps, not after so many bytes that come out."""
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


# Bombs. Each is 32 MiB, and a few kilobytes as it is sent.

BOMB_BYTES: Final = 2**25
FILLERS: Final = {
    "comments": b":\n" * 2**15,
    "one line": b"a" * 2**16,
    "blank lines": b"\n" * 2**16,
}


def bomb(filler: bytes) -> bytes:
    return compressed("gzip", [*repeat(filler, BOMB_BYTES // len(filler))])


def peak_of(work: Callable[[], object]) -> int:
    """Return how many bytes were held at once, beside what was there before."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def read(chunks: list[bytes], **settings: Any) -> None:
    stream = MessageStream(chunks, limits=Limits(total_bytes=2**20), **settings)
    with pytest.raises(LimitError, match="the body is larger than 1048576 bytes"):
        stream.until_done()


@pytest.mark.parametrize("filler", FILLERS.values(), ids=list(FILLERS))
def test_a_bomb_is_stopped_by_limits_and_holds_what_an_ordinary_body_does(filler: bytes) -> None:
    sent = bomb(filler)
    ordinary = gzip.compress(filler * 32, compresslevel=0)
    in_chunks = [ordinary[at : at + 2**16] for at in range(0, len(ordinary), 2**16)]
    read(in_chunks, **raw())  # what is made once is made
    held = peak_of(lambda: read(in_chunks, **raw()))
    assert peak_of(lambda: read([sent], **raw())) < 3 * held


def test_a_bomb_comes_in_pieces() -> None:
    decoder = decoder_of("gzip")
    sizes = [len(piece) for piece in pieces_of(decoder, [bomb(b"\n" * 2**16)])]
    assert sum(sizes) == BOMB_BYTES
    assert max(sizes) == PIECE_BYTES


def test_of_a_refusal_that_is_a_bomb_no_more_is_decoded_than_is_kept() -> None:
    sent = bomb(b"a" * 2**16)
    with pytest.raises(APIStatusError) as caught:
        MessageStream([sent], status=500, **raw()).until_done()
    assert caught.value.body == "a" * 65_536


def test_layer_upon_layer_is_not_touched() -> None:
    sent = gzip.compress(bomb(b"\n" * 2**16))
    with pytest.raises(NotAnEventStreamError, match="'gzip, gzip'"):
        MessageStream([sent], **raw("gzip, gzip")).until_done()
