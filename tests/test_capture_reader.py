"""A capture that is read in pieces gives the same chunks, end and error, however it is cut."""

import json
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from typing import Any, Final

import attrs
import pytest
from hypothesis import example, given, strategies as st

from sansio_stream import (
    Capture,
    CaptureEnd,
    CaptureError,
    CaptureHeader,
    CaptureReader,
    CaptureWriter,
    Chunk,
    parse_capture,
)
from test_capture import chunks, ends, headers, json_lines, lines, recording
from test_growth import AT_MOST, calls, characters
from tracing import peak_of

HEADER_LINE: Final = b'{"sansio_stream_capture": 1}\n'
CHUNK_LINE: Final = b'{"at": 1, "text": "a"}\n'


@attrs.frozen
class Reading:
    """Everything that a reader says about a file."""

    source: str | None
    header: CaptureHeader | None
    chunks: tuple[Chunk, ...]
    end: CaptureEnd | None
    error: tuple[int, str] | None


def read(pieces: Iterable[bytes], **options: int) -> Reading:
    """Read pieces. The pieces of a plain body are joined, because each is a chunk."""
    reader = CaptureReader(**options)
    got: list[Chunk] = []
    error: tuple[int, str] | None = None
    try:
        for piece in pieces:
            got.extend(reader.feed(piece))
        got.extend(reader.close())
    except CaptureError as caught:
        error = (caught.line, caught.reason)
    if reader.source == "body" and got:
        got = [Chunk(None, b"".join(chunk.data for chunk in got))]
    return Reading(reader.source, reader.header, tuple(got), reader.end, error)


def each_byte(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


def cut_at(data: bytes, places: Iterable[int]) -> list[bytes]:
    return [data[at:end] for at, end in pairwise([0, *sorted(places), len(data)])]


def check_cuts(data: bytes, places: Iterable[int], **options: int) -> Reading:
    """Check that three ways to cut a file give the same, and return it."""
    whole = read([data], **options)
    assert read(each_byte(data), **options) == whole
    assert read(cut_at(data, places), **options) == whole
    return whole


def places_in(data: bytes) -> st.SearchStrategy[list[int]]:
    return st.lists(st.integers(0, len(data)), max_size=6)


def check_as_parsed(data: bytes, reading: Reading) -> None:
    """Check that `parse_capture` agrees with a reading."""
    try:
        capture = parse_capture(data)
    except CaptureError as error:
        assert (error.line, error.reason) == reading.error
        return
    assert reading.error is None
    assert (
        Capture(reading.header or CaptureHeader(), reading.chunks, reading.end, capture.source)
        == capture
    )
    assert reading.source == capture.source


# Cuts.


@given(headers, st.lists(chunks, max_size=5), ends, st.data())
def test_cuts_do_not_change_what_is_read_of_a_capture(
    header: CaptureHeader,
    pairs: list[tuple[float, bytes]],
    end: tuple[float, str | None] | None,
    data: st.DataObject,
) -> None:
    whole = recording(header, pairs, end)
    line_end = data.draw(st.sampled_from([b"\n", b"\r\n", b"\r", b"\n\r\n"]))
    whole = whole.replace(b"\n", line_end)[: data.draw(st.integers(0, 2 * len(whole)))]
    check_as_parsed(whole, check_cuts(whole, data.draw(places_in(whole))))


starts = st.sampled_from(
    [b"", b" ", b"\n", b"{", b'{"sansio_stream_capture', HEADER_LINE, HEADER_LINE[:-2], b'{"type":']
)


@given(starts, st.binary(max_size=60) | st.text("{}\"': \n\rae1[]").map(str.encode), st.data())
@example(b" {", b"[" * 100_000, None)
@example(HEADER_LINE, b'{"at": 1e999, "text": ""}', None)
def test_cuts_do_not_change_what_is_read_of_any_bytes(
    start: bytes, rest: bytes, data: st.DataObject | None
) -> None:
    whole = start + rest
    places = [] if data is None else data.draw(places_in(whole))
    check_as_parsed(whole, check_cuts(whole, places))


@given(st.sampled_from([None, 1, 2]), json_lines, st.data())
def test_cuts_do_not_change_what_is_read_of_lines_of_json(
    version: int | None, values: list[Any], data: st.DataObject
) -> None:
    first = [] if version is None else [{"sansio_stream_capture": version}]
    whole = "".join(json.dumps(value) + "\n" for value in first + values).encode()
    check_as_parsed(whole, check_cuts(whole, data.draw(places_in(whole))))


@given(
    st.lists(st.sampled_from([b"\n", b"\r", b"{", b"1", b'{"type":"ping"}', b" "]), max_size=12),
    st.integers(1, 16),
    st.data(),
)
def test_cuts_do_not_change_which_line_is_too_long(
    parts: list[bytes], most: int, data: st.DataObject
) -> None:
    whole = b"".join(parts)
    check_cuts(whole, data.draw(places_in(whole)), max_line_bytes=most)


# What is known when.


def facts(reader: CaptureReader) -> tuple[str | None, CaptureHeader | None, CaptureEnd | None]:
    return reader.source, reader.header, reader.end


def test_a_chunk_is_returned_as_soon_as_its_line_has_ended() -> None:
    reader = CaptureReader()
    assert facts(reader) == (None, None, None)
    header = CaptureHeader(status=200)
    line = CaptureWriter(header).begin()
    assert [*reader.feed(line[:25])] == []
    assert facts(reader) == ("capture", None, None)
    assert [*reader.feed(line[25:])] == []
    assert facts(reader) == ("capture", header, None)
    assert [*reader.feed(CHUNK_LINE[:-1])] == []
    assert [*reader.feed(CHUNK_LINE[-1:] + CHUNK_LINE)] == [Chunk(1.0, b"a")] * 2
    assert facts(reader) == ("capture", header, None)
    assert [*reader.feed(b'{"at": 2, "end": "error", "error": "reset"}\n')] == []
    assert facts(reader) == ("capture", header, CaptureEnd(2.0, "reset"))
    assert [*reader.close()] == []
    assert facts(reader) == ("capture", header, CaptureEnd(2.0, "reset"))


def test_a_carriage_return_ends_a_line_at_once() -> None:
    reader = CaptureReader()
    assert [*reader.feed(b'{"type":"ping"}\r')] == [
        Chunk(None, b'event: ping\ndata: {"type":"ping"}\n\n')
    ]
    assert [*reader.feed(b'\n{"type":')] == []
    with pytest.raises(CaptureError) as caught:
        [*reader.feed(b"]\n")]
    assert caught.value.line == 2


def test_the_pieces_of_a_plain_body_are_its_chunks() -> None:
    reader = CaptureReader()
    assert [*reader.feed(b"\r\n")] == []  # a file of payloads may begin like this
    assert facts(reader) == (None, None, None)
    assert [*reader.feed(b"data: {")] == [Chunk(None, b"\r\n"), Chunk(None, b"data: {")]
    assert facts(reader) == ("body", CaptureHeader(), None)
    assert [*reader.feed(b"")] == []
    assert [*reader.feed(b"}")] == [Chunk(None, b"}")]
    assert [*reader.close()] == []
    assert facts(reader) == ("body", CaptureHeader(), CaptureEnd(None, None))


def test_the_last_line_needs_no_line_end() -> None:
    reader = CaptureReader()
    assert [*reader.feed(b'{"type":"ping"}')] == []
    assert reader.end is None
    assert len([*reader.close()]) == 1
    assert reader.end == CaptureEnd(None, None)


@pytest.mark.parametrize("data", [b"", b" \n", b"{", b'{"sansio_stream_capture": 1, "sta'])
def test_after_the_close_the_source_and_the_header_are_known(data: bytes) -> None:
    reader = CaptureReader()
    assert [*reader.feed(data)] == []
    body = b"".join(chunk.data for chunk in reader.close())
    assert reader.header == CaptureHeader()
    assert reader.source == ("capture" if data.startswith(b"{") else "body")
    assert body == (b"" if reader.source == "capture" else data)
    assert reader.end == (None if reader.source == "capture" else CaptureEnd(None, None))


def test_chunks_that_are_not_taken_are_returned_by_the_next_iterator() -> None:
    reader = CaptureReader()
    reader.feed(HEADER_LINE + CHUNK_LINE)
    dropped = reader.feed(CHUNK_LINE + b'{"at": 2, "text": "b"}\n')
    assert next(dropped) == Chunk(1.0, b"a")
    assert [*reader.close()] == [Chunk(1.0, b"a"), Chunk(2.0, b"b")]
    assert [*dropped] == []


# Misuse and damage.


def test_nothing_can_be_fed_after_the_close() -> None:
    reader = CaptureReader()
    reader.feed(b"data: 1")
    reader.close()
    with pytest.raises(RuntimeError, match="the end of this file"):
        reader.feed(b"")
    assert [*reader.close()] == [Chunk(None, b"data: 1")]
    assert [*reader.close()] == []


@pytest.mark.parametrize("data", [3, "text", None, [1]])
def test_a_piece_must_be_bytes(data: Any) -> None:
    with pytest.raises(TypeError):
        CaptureReader().feed(data)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_a_piece_may_be_any_bytes_like_object(kind: Any) -> None:
    reader = CaptureReader()
    piece = bytearray(HEADER_LINE + CHUNK_LINE)
    found = reader.feed(kind(piece))
    piece[:] = b"!" * len(piece)  # the reader has a copy
    assert [*found] == [Chunk(1.0, b"a")]


def test_an_error_is_raised_after_the_chunks_before_it_and_again_by_every_call() -> None:
    reader = CaptureReader()
    found = reader.feed(HEADER_LINE + CHUNK_LINE + b"[\n" + CHUNK_LINE)
    assert next(found) == Chunk(1.0, b"a")
    for call in (
        lambda: next(found),
        lambda: reader.feed(CHUNK_LINE),
        reader.close,
        lambda: reader.feed(b""),
    ):
        with pytest.raises(CaptureError, match="line 3: not JSON"):
            call()
    assert [*found] == []
    assert reader.end is None


def test_the_first_damaged_line_is_reported() -> None:
    whole = lines({"at": -1, "text": ""}) + b"no JSON\n" + CHUNK_LINE
    with pytest.raises(CaptureError, match="line 2: the time is not"):
        parse_capture(whole)
    assert check_cuts(whole, [30]).error == (2, "the time is not a number of seconds from 0 to 1e9")


@pytest.mark.parametrize("line_end", [b"", b"\n", b"\r\n"])
def test_a_line_without_an_end_is_refused_once_it_is_too_long(line_end: bytes) -> None:
    line = b'{"at": 1, "text": "' + b"a" * 100
    whole = HEADER_LINE + CHUNK_LINE + line + line_end
    reading = check_cuts(whole, [60, 70], max_line_bytes=len(line) - 1)
    assert reading.error == (3, f"the line is longer than {len(line) - 1} bytes")
    assert reading.chunks == (Chunk(1.0, b"a"),)
    reader = CaptureReader(max_line_bytes=30)
    with pytest.raises(CaptureError, match="line 1: the line is longer than 30 bytes"):
        [*reader.feed(HEADER_LINE[:-2] + b" " * 30)]


def test_a_file_that_begins_with_too_many_blank_bytes_is_a_body() -> None:
    for count, source in ((8, "payloads"), (9, "body")):
        data = b" " * count + b"\r" + b"{}"
        assert check_cuts(data, [3, 9], max_line_bytes=9).source == source
    reader = CaptureReader(max_line_bytes=8)
    assert [chunk.data for chunk in reader.feed(b" " * 9)] == [b" " * 9]


# Cost.


def long_file(kind: str, size: int) -> bytes:
    if kind == "capture":
        return HEADER_LINE + CHUNK_LINE * size
    if kind == "long line":
        return HEADER_LINE + b'{"at": 1, "text": "%b"}\n' % (b"a" * 23 * size)
    if kind == "payloads":
        return b'{"type": "ping", "x": 1}\n' * size
    return {"blank": b" " * 23, "line ends": b"\r\n" * 12, "body": b"data: {}\n\n" * 2}[kind] * size


@pytest.mark.exhaustive
@pytest.mark.parametrize("kind", ["capture", "long line", "payloads", "blank", "line ends", "body"])
@pytest.mark.parametrize("size_of_piece", [7, 1_000])
@pytest.mark.parametrize("measure", [calls, characters])
def test_the_cost_is_linear(
    kind: str, size_of_piece: int, measure: Callable[[Callable[[], Any]], int]
) -> None:
    def work(size: int) -> Callable[[], Any]:
        data = long_file(kind, size)
        pieces = [data[at : at + size_of_piece] for at in range(0, len(data), size_of_piece)]
        return lambda: read(pieces)

    assert measure(work(200)) <= AT_MOST * measure(work(100))


@pytest.mark.exhaustive
def test_what_was_read_is_not_kept() -> None:
    line = b'{"at": 1, "text": "%b"}\n' % (b"a" * 20_000)

    def pieces() -> Iterator[bytes]:
        yield HEADER_LINE
        for _ in range(200):
            yield line[:9_000]
            yield line[9_000:]

    def work() -> None:
        reader = CaptureReader()
        for piece in pieces():
            for chunk in reader.feed(piece):
                assert len(chunk.data) == 20_000

    assert peak_of(work) < 10 * len(line)
