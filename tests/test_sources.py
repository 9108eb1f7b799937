"""A file is read as a stream whatever its encoding is, however it is cut, and in bounded memory."""

import codecs
import gzip
import itertools
import json
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import attrs
import pytest
from hypothesis import given, strategies as st

from sansio_stream.capture import CaptureEnd, CaptureHeader, CaptureWriter, Chunk, parse_capture
from sansio_stream_tools.sources import (
    Source,
    SourceError,
    SourceLimits,
    _encodings,
    _opening,
    _sniffing,
    _zstandard,
    open_sources,
    sources_of,
)
from sansio_stream_tools.sources._decompression import Decompression, decompressed
from sansio_stream_tools.sources._plain import BODY
from sansio_stream_tools.sources._source import Body
from test_codings import BROTLI, ZSTD, brotli, zstd
from test_growth import AT_MOST, calls, characters
from tracing import peak_of
from wire import HELLO, body, frame

WHOLE: Final = body(*HELLO)
HEADER: Final = CaptureHeader(status=200, headers={"request-id": "req_1"})


def capture_of(*chunks: bytes, end: str | None = None) -> bytes:
    writer = CaptureWriter(HEADER)
    lines = [writer.begin(), *(writer.chunk(data, number) for number, data in enumerate(chunks))]
    return b"".join(lines) + writer.end(len(chunks), end)


CAPTURE: Final = capture_of(WHOLE[:300], WHOLE[300:500], b"\xff", WHOLE[500:])
PAYLOADS: Final = b"".join(json.dumps(payload).encode() + b"\n" for payload in HELLO)
LOG: Final = b"".join(b"2026-01-01 12:00:00 app: %b\n" % line for line in WHOLE.split(b"\n"))
INDENTED: Final = b"".join(b"    %b\n" % line for line in WHOLE.split(b"\n"))


def raw_deflate(data: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-15)
    return compressor.compress(data) + compressor.flush()


def raw_gzip(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)


ENCODERS: Final[dict[str, Callable[[bytes], bytes]]] = {
    "plain": lambda data: data,
    "gzip": raw_gzip,
    "members of gzip": lambda data: raw_gzip(data[:200]) + raw_gzip(b"") + raw_gzip(data[200:]),
    "zlib": zlib.compress,
    "raw deflate": raw_deflate,
    **({"br": brotli, "br, gzip": lambda data: raw_gzip(brotli(data))} if BROTLI else {}),
    **({"gzip, br": lambda data: brotli(raw_gzip(data))} if BROTLI else {}),
    **({"zstd": zstd} if ZSTD else {}),
    "gzip, gzip, zlib": lambda data: zlib.compress(raw_gzip(raw_gzip(data))),
    "utf-16": lambda data: data.decode().encode("utf-16"),
    "utf-16-be": lambda data: codecs.BOM_UTF16_BE + data.decode().encode("utf-16-be"),
    "utf-32": lambda data: data.decode().encode("utf-32"),
    "utf-32-be": lambda data: codecs.BOM_UTF32_BE + data.decode().encode("utf-32-be"),
    "utf-16 in gzip": lambda data: raw_gzip(data.decode().encode("utf-16")),
}

FILES: Final = {
    "capture": CAPTURE,
    "cut capture": CAPTURE[:-40],
    "plain body": WHOLE,
    "payloads": PAYLOADS,
    "log": LOG,
    "indented": INDENTED,
}


@attrs.frozen
class Reading:
    """Everything that the sources of a file say. Adjacent chunks of the same time are joined."""

    name: str
    kind: str
    header: CaptureHeader
    chunks: list[Chunk]
    end: CaptureEnd | None
    hints: tuple[str, ...]


def joined(chunks: Iterable[Chunk]) -> list[Chunk]:
    """Join the chunks of the same time, because the pieces of a body are its chunks."""
    return [
        Chunk(at, b"".join(chunk.data for chunk in group))
        for at, group in itertools.groupby(chunks, lambda chunk: chunk.at)
    ]


def reading_of(source: Source) -> Reading:
    chunks = joined(source.chunks)
    return Reading(source.name, source.kind, source.header, chunks, source.end, source.hints)


def read(sources: Iterable[Source]) -> list[Reading] | str:
    """Read all sources of a file. Return the sentence if it cannot be read."""
    try:
        return [reading_of(source) for source in sources]
    except SourceError as error:
        assert "\n" not in str(error)
        return str(error)


def one(data: bytes, limits: SourceLimits | None = None) -> Reading:
    """Read the one source of a file."""
    found = read(sources_of(data, "FILE", limits))
    assert not isinstance(found, str), found
    (reading,) = found
    return reading


def refused(data: bytes, limits: SourceLimits | None = None) -> str:
    """Return the sentence about a file that cannot be read."""
    found = read(sources_of(data, "FILE", limits))
    assert isinstance(found, str), found
    return found


class Stdin:
    """A standard input that returns the given pieces, one for each read.

    Attributes:
        reads: the number of reads so far.
    """

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self.reads = 0
        self._pieces = iter(pieces)

    @property
    def buffer(self) -> "Stdin":
        return self

    def read1(self, size: int) -> bytes:
        self.reads += 1
        piece = next(self._pieces, b"")
        assert len(piece) <= size
        return piece


def from_stdin(pieces: Iterable[bytes], limits: SourceLimits | None = None) -> Iterator[Source]:
    """Read standard input, which arrives in these pieces. Empty pieces are left out."""
    stdin: Any = Stdin(filter(None, pieces))
    before, sys.stdin = sys.stdin, stdin
    try:
        yield from open_sources("-", limits)
    finally:
        sys.stdin = before


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


# Formats and encodings.


@pytest.mark.parametrize("encode", ENCODERS.values(), ids=ENCODERS)
@pytest.mark.parametrize("name", FILES)
def test_a_file_is_read_alike_in_every_encoding(
    name: str, encode: Callable[[bytes], bytes]
) -> None:
    assert one(encode(FILES[name])) == one(FILES[name])


def test_each_kind_of_file_is_recognised() -> None:
    assert {name: one(data).kind for name, data in FILES.items()} == {
        "capture": "capture",
        "cut capture": "capture",
        "plain body": "plain body",
        "payloads": "payloads",
        "log": "log",
        "indented": "log",
    }


def test_a_capture_and_payloads_are_read_as_the_core_reads_them() -> None:
    for data in (CAPTURE, CAPTURE[:-40], PAYLOADS, PAYLOADS[:-9]):
        recorded = parse_capture(data)
        reading = one(data)
        assert (reading.header, reading.end) == (recorded.header, recorded.end)
        assert reading.chunks == joined(recorded.chunks)


@pytest.mark.parametrize("name", ["log", "indented"])
def test_the_prefix_of_each_line_is_removed_and_a_hint_says_so(name: str) -> None:
    reading = one(FILES[name])
    assert reading.chunks == [Chunk(None, WHOLE)]
    (hint,) = reading.hints
    assert "removed" in hint
    assert ("'2026-01-01 12:00:00 app:'" in hint) == (name == "log")


@pytest.mark.parametrize(
    "prefix",
    [
        b"\t",
        b"2026-01-01 12:00:00 ",
        b"[2026-01-01T12:00:00.123Z] DEBUG app.client: ",
        b"web-1  | ",
        b"INFO:root:",
        b"> ",
        b"\x1b[32mgot\x1b[0m ",
    ],
)
def test_lines_are_recognised_after_many_prefixes(prefix: bytes) -> None:
    events = [b'event: ping\ndata: {"type": "ping"}\n\n', b'data: {"type":"x y"}\n\n']
    for line_end in (b"\n", b"\r\n", b"\r"):
        lines = b"".join(events).splitlines()
        # A log may have lines about other things, and leave out blank lines.
        lines[1:1] = [b"the data: 17 bytes", b"event: of another kind", b""]
        logged = b"".join(prefix + line + line_end for line in lines if line)
        reading = one(b"starting\n" + logged)
        assert reading.kind == "log"
        assert [chunk.data for chunk in reading.chunks] == [b"".join(events)]


def test_lines_without_a_prefix_are_kept_in_a_log() -> None:
    reading = one(b'starting\ndata: {}\n12:00 event: ping\n12:00 data: {"type": "ping"}\n')
    assert reading.chunks == [Chunk(None, b'data: {}\n\nevent: ping\ndata: {"type": "ping"}\n\n')]
    assert "'12:00'" in reading.hints[0]


def test_a_done_marker_in_a_log_is_kept() -> None:
    assert one(LOG + b"12:00 data: [DONE]\n").chunks[0].data == WHOLE + b"data: [DONE]\n\n"


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("start", [b"", b"\n\n", b": comment\n", b"id\n", b"retry: 1\n"])
def test_a_plain_body_is_returned_byte_for_byte(line_end: bytes, mark: bytes, start: bytes) -> None:
    data = mark + (start + WHOLE).replace(b"\n", line_end)
    reading = one(data)
    assert reading == Reading(
        "FILE", "plain body", CaptureHeader(), [Chunk(None, data)], CaptureEnd(None, None), ()
    )


@pytest.mark.parametrize("data", [CAPTURE, PAYLOADS, LOG])
def test_a_byte_order_mark_of_utf8_does_not_matter(data: bytes) -> None:
    assert one(b"\xef\xbb\xbf" + data) == one(data)


@pytest.mark.parametrize(
    "data", [b"hello, world\n", b"nothing: of the kind\n" * 5, "é".encode("latin-1")]
)
def test_any_other_text_is_a_plain_body(data: bytes) -> None:
    reading = one(data)
    assert (reading.kind, reading.chunks) == ("plain body", [Chunk(None, data)])


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b'{"type":"message_sta', "payloads"),
        (b'{"choices": []}\n{"choices": [1]}\n', "payloads"),
        (b'{"type":"content_block_delta","x":"' + b"a" * 100_000 + b'"}', "payloads"),
        (b'{"sansio_stream', "capture"),
        (b"{", "capture"),
    ],
)
def test_a_file_may_be_cut_in_its_first_line(data: bytes, kind: str) -> None:
    assert one(data).kind == kind


def test_a_capture_that_is_cut_has_no_end() -> None:
    assert one(CAPTURE[:-40]).end is None
    assert one(capture_of(WHOLE, end="reset")).end == CaptureEnd(1.0, "reset")


@pytest.mark.parametrize("name", FILES)
def test_compressed_data_that_is_cut_gives_the_bytes_before_the_cut(name: str) -> None:
    compressed = raw_gzip(FILES[name])
    for size in (len(compressed) // 2, len(compressed) - 9):
        reading = one(compressed[:size])
        inflated = zlib.decompressobj(31).decompress(compressed[:size])
        expected = one(inflated)
        assert reading.chunks == expected.chunks
        if expected.end is None or expected.end == CaptureEnd(None, None):
            assert reading.end == CaptureEnd(None, "the data ends inside its gzip data")
        else:
            assert reading.end == expected.end


def test_a_file_that_ends_before_its_first_byte_says_so() -> None:
    assert refused(raw_gzip(CAPTURE)[:10]) == "the data ends inside its gzip data"


# Cuts.


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("encode", ["plain", "gzip", "raw deflate", "br", "zstd", "utf-16"])
def test_cuts_of_a_file_do_not_change_what_is_read(name: str, encode: str) -> None:
    if encode not in ENCODERS:
        pytest.skip("a library is not installed")
    data = ENCODERS[encode](FILES[name])
    expected = [attrs.evolve(one(data), name="-")]
    for size in (1, 7, 1_000, len(data)):
        assert read(from_stdin(cut(data, size))) == expected


beginnings = st.sampled_from(
    [
        b"",
        b"\xef\xbb\xbf",
        b"\xff\xfe",
        b"\xff\xfe\0\0",
        b"\x1f\x8b\x08",
        b"\x28\xb5\x2f\xfd",
        b"\x78\x9c",
        b"\x0b",
        b"<html>",
        b"{",
        b"[",
        b" data: {",
        b'{"sansio_stream_capture":',
        raw_gzip(WHOLE)[:60],
        CAPTURE[:200],
        PAYLOADS[:300],
        LOG[:300],
    ]
)


@given(beginnings, st.binary(max_size=80) | st.text("{}\"': \n\rdatevn").map(str.encode), st.data())
def test_cuts_of_any_bytes_do_not_change_what_is_read(
    start: bytes, rest: bytes, data: st.DataObject
) -> None:
    whole = start + rest
    places = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=4)))
    pieces = [whole[at:end] for at, end in itertools.pairwise([0, *places, len(whole)])]
    found = read(from_stdin([whole]))
    assert read(from_stdin(pieces)) == found
    assert read(from_stdin(cut(whole, 1))) == found


# Live.


def test_a_chunk_is_returned_as_soon_as_it_has_arrived(monkeypatch: pytest.MonkeyPatch) -> None:
    frames = [frame(payload) for payload in HELLO]
    for encode in (raw_gzip_in_pieces, lambda pieces: pieces):
        encoded = encode(frames)
        stdin = Stdin(encoded)
        monkeypatch.setattr(sys, "stdin", stdin)
        opened = open_sources("-")
        source = next(opened)
        received = b""
        for number in range(1, len(frames) + 1):
            expected = b"".join(frames[:number])
            while len(received) < len(expected):
                received += next(source.chunks).data
            assert (received, stdin.reads) == (expected, number)
        assert [*source.chunks] == []
        assert [*opened] == []


def raw_gzip_in_pieces(pieces: list[bytes]) -> list[bytes]:
    """Compress pieces so that each can be decompressed when it has arrived."""
    compressor = zlib.compressobj(wbits=31)
    encoded = [compressor.compress(piece) + compressor.flush(zlib.Z_SYNC_FLUSH) for piece in pieces]
    return [*encoded, compressor.flush()]


@pytest.mark.parametrize(
    ("data", "reads"),
    [(CAPTURE, 1), (PAYLOADS, 1), (LOG, 1), (WHOLE, 1), (b"\n\n" + WHOLE, 1)],
)
def test_the_first_event_of_a_large_file_needs_one_piece(
    tmp_path: Path, data: bytes, reads: int
) -> None:
    path = tmp_path / "large"
    lines = data.splitlines(keepends=True)
    path.write_bytes(data + b"".join(lines[1:-1]) * 1_000)
    sizes: list[int] = []
    source = next(open_sources(str(path), on_piece=lambda piece: sizes.append(len(piece))))
    next(source.chunks)
    assert sizes == [65_536] * reads


def test_each_piece_of_the_file_is_passed_on_as_it_was_read(tmp_path: Path) -> None:
    path = tmp_path / "a.gz"
    path.write_bytes(raw_gzip(CAPTURE))
    seen: list[bytes] = []
    assert read(open_sources(str(path), on_piece=seen.append)) != []
    assert b"".join(seen) == path.read_bytes()


@pytest.mark.parametrize("count", [1, 2, 3, 5, 9, 70])
def test_a_log_is_recognised_after_twice_the_lines_before_its_first_event(count: int) -> None:
    lines = [b"starting\n"] * count + LOG.splitlines(keepends=True)
    stdin = Stdin(lines)
    source = next(
        _opening.named_sources(iter(lambda: stdin.read1(65_536), b""), "-", SourceLimits())
    )
    next(source.chunks)
    assert stdin.reads <= 2 * count + 2


# Several streams.


@attrs.frozen
class Several:
    """A format whose files have a stream in each line that begins with an exclamation mark."""

    in_pieces: bool
    end: CaptureEnd | None = None
    is_compressed: bool = False
    kind: str = "several"

    def matches(self, head: bytes) -> bool:
        return head.startswith(b"!")

    def bodies(self, pieces: Iterator[bytes]) -> Iterator[Body]:
        if not self.in_pieces:
            pieces = iter([b"".join(pieces)])
        streams = b"".join(pieces).split(b"!!")[1:]
        for stream in streams:
            yield Body(
                HEADER,
                [Chunk(1.0, stream)],
                self.end,
                ("a hint",),
                may_be_compressed=self.is_compressed,
            )


@pytest.fixture
def with_format(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], None]:
    def add(format: Any) -> None:
        monkeypatch.setattr(_sniffing, "FORMATS", (format, *_sniffing.FORMATS))

    return add


@pytest.mark.parametrize("in_pieces", [True, False])
def test_several_streams_have_numbered_names(
    in_pieces: bool, with_format: Callable[[Any], None]
) -> None:
    with_format(Several(in_pieces, end=CaptureEnd(2.0, None)))
    found = read(sources_of(b"!!a!!b!!c", "FILE"))
    assert not isinstance(found, str)
    assert [reading.name for reading in found] == [
        "FILE" if in_pieces else "FILE#1",
        "FILE#2",
        "FILE#3",
    ]
    assert [reading.chunks for reading in found] == [
        [Chunk(1.0, data)] for data in (b"a", b"b", b"c")
    ]
    assert {reading.end for reading in found} == {CaptureEnd(2.0, None)}
    assert {reading.hints for reading in found} == {("a hint",)}
    assert one(b"!!a").name == "FILE"
    assert refused(b"!") == "the file (several) contains no recorded stream"


@pytest.mark.parametrize("in_pieces", [True, False])
def test_the_body_of_a_stream_inside_a_file_is_decompressed(
    in_pieces: bool, with_format: Callable[[Any], None]
) -> None:
    for end in (None, CaptureEnd(2.0, None), CaptureEnd(2.0, "reset")):
        with_format(Several(in_pieces, end=end, is_compressed=True))
        compressed = raw_gzip(WHOLE)
        found = read(sources_of(b"!!%b!!%b!!plain" % (compressed, compressed[:-12]), "FILE"))
        assert not isinstance(found, str)
        whole, cut_off, plain = found
        assert (whole.chunks, whole.end) == ([Chunk(1.0, WHOLE)], end)
        assert (plain.chunks, plain.end) == ([Chunk(1.0, b"plain")], end)
        error = "reset" if end and end.error else "the data ends inside its gzip data"
        assert cut_off.end is not None
        assert cut_off.end.error == error
    with_format(Several(in_pieces, is_compressed=True))
    data = b"!!" + b"!!".join([raw_gzip(WHOLE)] * 9)
    assert "the limit decoded_bytes" in refused(data, SourceLimits(decoded_bytes=8 * len(WHOLE)))


def test_the_chunks_of_a_body_keep_their_times() -> None:
    def decoded(pieces: list[bytes], *end: CaptureEnd) -> list[Chunk | CaptureEnd]:
        chunks = [Chunk(float(number), piece) for number, piece in enumerate(pieces)]
        return [*Decompression(SourceLimits()).chunks([*chunks, *end], CaptureEnd(9.0, None))]

    frames = cut(WHOLE, 10)
    end = CaptureEnd(5.0, "reset")
    plain = [Chunk(float(number), piece) for number, piece in enumerate(frames)]
    assert decoded(frames, end) == [*plain, end]
    assert decoded([], end) == [end]
    pieces = raw_gzip_in_pieces([WHOLE[:10], WHOLE[10:]])
    expected = [Chunk(0.0, WHOLE[:10]), Chunk(1.0, WHOLE[10:])]
    assert decoded(pieces, end) == [*expected, end]
    assert decoded(pieces) == [*expected, CaptureEnd(9.0, None)]
    cut_off = CaptureEnd(1.0, "the data ends inside its gzip data")
    assert decoded(pieces[:-1]) == [*expected, cut_off]
    assert decoded(pieces[:-1], end) == [*expected, end]


@pytest.mark.parametrize("in_pieces", [True, False])
def test_only_a_file_that_is_read_as_a_whole_has_a_largest_size(
    in_pieces: bool, with_format: Callable[[Any], None]
) -> None:
    with_format(Several(in_pieces))
    data = b"!!" + b"a" * 98
    assert one(data, SourceLimits(file_bytes=100)).chunks == [Chunk(1.0, data[2:])]
    if in_pieces:
        assert one(data, SourceLimits(file_bytes=99)).chunks == [Chunk(1.0, data[2:])]
    else:
        assert refused(data, SourceLimits(file_bytes=99)) == (
            "the file (several) is larger than 99 bytes (the limit file_bytes), and its format"
            " cannot be read in pieces"
        )
        assert refused(raw_gzip(data)[:-8]) == "the data ends inside its gzip data"


def test_chunks_that_are_not_read_are_left_out(with_format: Callable[[Any], None]) -> None:
    with_format(Several(in_pieces=True))
    assert [source.name for source in sources_of(b"!!a!!b", "FILE")] == ["FILE", "FILE#2"]


# Files that cannot be read.

UNREADABLE: Final = {
    "PNG image": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
    "JPEG image": b"\xff\xd8\xff\xe0",
    "GIF image": b"GIF89a",
    "WebP image": b"RIFF\1\2\3\4WEBP",
    "PDF document": b"%PDF-1.7\n",
    "xz": b"\xfd7zXZ\0\0",
    "bzip2": b"BZh91AY&SY",
    "lz4": b"\x04\x22\x4d\x18",
    "ZIP archive": b"PK\3\4\x14",
    "7z archive": b"7z\xbc\xaf\x27\x1c",
    "tar archive": b"a".ljust(257, b"\0") + b"ustar\x0000",
    "Parquet": b"PAR1\x15\4",
    "SQLite": b"SQLite format 3\0",
    "program": b"\x7fELF\2\1",
    "pickle": b"\x80\4\x95",
    "XML document": b"<?xml version='1.0'?>",
    "as Python prints them": b"b'event: ping\\ndata: {}\\n\\n'\n",
    "TLS": b"\x16\x03\x01\x02\0\1",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "pcap": b"\xd4\xc3\xb2\xa1\2\0\4\0",
    "pcap ": b"\n\r\r\n\x1c\0\0\0",
    "mitmproxy": b"512:9:websocket;0:~8:response;100:...",
    "mitmproxy ": b"2147:4:type;4:http;7:version;2:21#11:intercepted;5:false!",
    "AWS event stream": (
        (prelude := (120).to_bytes(4) + (80).to_bytes(4))
        + zlib.crc32(prelude).to_bytes(4)
        + b"\x0b"
    ),
    "UTF-16 without a byte order mark": "event: message_start".encode("utf-16-le"),
    "UTF-16 without a byte order mark ": "event: message_start".encode("utf-16-be"),
    "JSON document": b'{\n  "other": {}\n}',
    "JSON document ": b"[1, 2]",
    "binary data": bytes(range(256)),
    "binary data ": b"\0" * 1_000_000,
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_a_file_that_cannot_be_read_gets_a_sentence_about_what_it_is(name: str) -> None:
    sentence = refused(UNREADABLE[name])
    assert name.strip() in sentence
    assert refused(raw_gzip(UNREADABLE[name])) == sentence
    assert ":" in sentence  # after the colon is what would help
    assert len(sentence) < 250


@pytest.mark.parametrize("data", [b"", raw_gzip(b""), b"\xef\xbb\xbf", b"<html>502 Bad Gateway"])
def test_an_empty_file_and_a_page_of_html_are_plain_bodies_for_the_machine_to_judge(
    data: bytes,
) -> None:
    (source,) = sources_of(data, "FILE")
    assert source.kind == BODY.kind
    assert b"".join(chunk.data for chunk in source.chunks) in {data, b""}
    assert source.end == CaptureEnd(None, None)


def test_a_folder_gets_a_sentence(tmp_path: Path) -> None:
    assert read(open_sources(str(tmp_path))) == "this is a folder: give the files in it"


def test_a_file_that_does_not_exist_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        next(open_sources(str(tmp_path / "none")))


# Libraries.


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def hide(*names: str) -> None:
        for name in names:
            monkeypatch.setitem(sys.modules, name, None)

    return hide


NO_LIBRARY: Final = (
    "the data is compressed with {}, and the library that decodes it is not installed:"
    " pip install 'sansio-stream[formats]'"
)


@pytest.mark.skipif(ZSTD is None, reason="no library compresses with zstd")
def test_a_missing_library_for_zstd_is_named_by_its_extra(without: Callable[..., None]) -> None:
    without("compression.zstd", "backports.zstd", "zstandard")
    assert refused(zstd(WHOLE)) == NO_LIBRARY.format("zstd")


@pytest.mark.skipif(BROTLI is None, reason="no library compresses with br")
def test_a_missing_library_for_br_is_named_by_its_extra(without: Callable[..., None]) -> None:
    data = brotli(WHOLE)
    without("brotli", "brotlicffi")
    assert refused(data).endswith(
        "if it is compressed with br, install a decoder: pip install 'sansio-stream[formats]'"
    )
    with pytest.raises(SourceError) as caught:
        list(decompressed([data], "br"))
    assert str(caught.value) == NO_LIBRARY.format("br")


needs_zstandard = pytest.mark.skipif(
    ZSTD is None or _encodings.zstandard() is None, reason="zstandard is not installed"
)


@needs_zstandard
@pytest.mark.parametrize("size", [1, 7, 300, 10_000])
def test_zstandard_decodes_zstd_where_python_has_no_decoder(
    without: Callable[..., None], size: int
) -> None:
    without("compression.zstd", "backports.zstd")
    skippable = b"\x50\x2a\x4d\x18" + (3).to_bytes(4, "little") + b"abc"
    text = CAPTURE * 3
    data = skippable + zstd(text[:900]) + zstd(b"") + skippable + zstd(text[900:])
    assert b"".join(decompressed(cut(data, size))) == text
    assert one(zstd(CAPTURE)) == one(CAPTURE)
    cut_off = one(zstd(WHOLE) + zstd(WHOLE)[:-2])
    assert cut_off.chunks == [Chunk(None, WHOLE)]
    assert cut_off.end == CaptureEnd(None, "the data ends inside its zstd data")
    for damaged in (zstd(WHOLE)[:9] + b"\xff" * 99, zstd(WHOLE) + b"more"):
        assert "cannot be decompressed: the body is not zstd" in refused(damaged)


@needs_zstandard
def test_a_bomb_in_zstd_is_decoded_in_pieces() -> None:
    # Each block repeats one byte 131,071 times. (RFC 8878, 3.1.1.2)
    block = ((131_071 << 3) | 0b010).to_bytes(3, "little") + b"a"
    data = b"\x28\xb5\x2f\xfd\x00\x58" + block * 10_000
    decoder = _zstandard.ZstandardDecoder(_encodings.zstandard())
    decoder.receive(data)

    def work() -> None:
        for _ in range(500):
            assert len(decoder.piece()) <= 65_536

    assert peak_of(work) < 10 * 2**20


def test_more_than_three_encodings_are_refused() -> None:
    three = raw_gzip(raw_gzip(zlib.compress(WHOLE)))
    assert one(three).chunks == [Chunk(None, WHOLE)]
    sentence = "the data is compressed more than 3 times, one encoding inside another"
    assert refused(raw_gzip(three)) == sentence


def test_named_encodings_are_decoded_in_their_order() -> None:
    data = raw_gzip(zlib.compress(WHOLE))
    assert b"".join(decompressed(cut(data, 100), "deflate, gzip")) == WHOLE
    assert b"".join(decompressed([WHOLE], "identity")) == WHOLE
    for encodings, sentence in (
        ("rot13", "the body has the unknown content-encoding 'rot13'"),
        ("gzip, gzip, gzip, gzip", "has more than 3 encodings"),
        ("deflate", "the file cannot be decompressed: the body is not deflate"),
    ):
        with pytest.raises(SourceError, match=sentence):
            list(decompressed([data], encodings))


# Hostile files.

MIB: Final = 2**20


def repeated(data: bytes, count: int) -> Iterator[bytes]:
    """Yield many bytes without holding them: pieces of 64 KiB or less."""
    many = 65_536 // len(data) or 1
    for start in range(0, count, many):
        yield data * min(many, count - start)


def compressed(pieces: Iterable[bytes], wbits: int = 31) -> bytes:
    compressor = zlib.compressobj(wbits=wbits)
    return b"".join(compressor.compress(piece) for piece in pieces) + compressor.flush()


BOMBS: Final[dict[str, Callable[[], bytes]]] = {
    "gzip": lambda: compressed(itertools.chain([WHOLE], repeated(b":", 2 * MIB))),
    "zlib": lambda: compressed(repeated(b": ", MIB), zlib.MAX_WBITS),
    "raw deflate": lambda: compressed(repeated(b": ", MIB), -zlib.MAX_WBITS),
    "nested gzip": lambda: raw_gzip(raw_gzip(compressed(repeated(b": ", MIB)))),
    "empty members of gzip": lambda: compressed(repeated(raw_gzip(b""), 2_000)),
    "lines": lambda: compressed(repeated(PAYLOADS, 2 * MIB // len(PAYLOADS))),
    "log": lambda: compressed(repeated(LOG, 2 * MIB // len(LOG))),
    "utf-32": lambda: compressed(
        itertools.chain([codecs.BOM_UTF32_LE], repeated(b":\0\0\0", MIB // 2))
    ),
    **({"br": lambda: brotli(b": " * MIB)} if BROTLI else {}),
    **({"zstd": lambda: zstd(b": " * MIB)} if ZSTD else {}),
}


@pytest.mark.exhaustive
@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS)
def test_a_bomb_ends_in_a_sentence_and_in_bounded_memory(bomb: Callable[[], bytes]) -> None:
    data = bomb()
    assert len(data) < MIB
    sizes: list[int] = []

    def work() -> str:
        try:
            for source in sources_of(data, "FILE", SourceLimits(decoded_bytes=MIB)):
                sizes.extend(len(chunk.data) for chunk in source.chunks)
        except SourceError as error:
            return str(error)
        return ""

    sentence = "the decompressed data is larger than 1,048,576 bytes (the limit decoded_bytes)"
    assert work() == sentence
    assert sum(sizes) <= 2 * MIB  # a frame is longer than its payload
    assert peak_of(work) < 0.75 * MIB


def hostile_line(line: bytes) -> bytes:
    return CAPTURE.splitlines(keepends=True)[0] + line + b"\n" + CAPTURE.splitlines()[-1]


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (hostile_line(b'{"at": 1e308, "text": ""}'), "line 2: the time is not a number of seconds"),
        (hostile_line(b'{"at": 1e999, "text": ""}'), "line 2: the time is not a number of seconds"),
        (hostile_line(b'{"at": NaN, "text": ""}'), "line 2: the time is not a number of seconds"),
        (hostile_line(b'{"at": -1, "end": "eof"}'), "line 2: the time is not a number of seconds"),
        (hostile_line(b"[" * 200_000), "line 2: JSON nested too deeply"),
        (hostile_line(b'{"a":' * 200_000), "line 2: JSON nested too deeply"),
        (hostile_line(b"1" * 1_000_000), "line 2: not JSON in UTF-8: Exceeds the limit"),
        (hostile_line(b"\0" * 1_000_000), "line 2: not JSON in UTF-8"),
        (hostile_line(b"\x1b[2J\xff"), "line 2: not JSON in UTF-8"),
        (hostile_line(b'{"at": 1, "base64": "!"}'), "line 2: "),
        (hostile_line(CAPTURE), "line 2: there is a second header"),
        (b'{"sansio_stream_capture": 2}\n', "line 1: the format version is 2"),
        (b"[" * 200_000, "it looks like a JSON document"),
        (b'{"a":' * 200_000, "line 1: JSON nested too deeply"),
        (b'{"a":\n' * 200_000, "it looks like a JSON document"),
        (b"\0" * 1_000_000, "it looks like binary data"),
        (PAYLOADS + b"\xff\n", f"line {len(HELLO) + 1}: not JSON in UTF-8"),
    ],
    ids=range(17),
)
def test_a_hostile_file_ends_in_a_sentence(data: bytes, sentence: str) -> None:
    refusal = refused(data)
    assert refusal.startswith(sentence)
    assert refusal.isprintable()
    assert refused(raw_gzip(data)) == refusal


def test_chunks_before_the_damage_are_returned() -> None:
    (source,) = itertools.islice(sources_of(CAPTURE + b"more\n", "FILE"), 1)
    recorded = parse_capture(CAPTURE)
    assert [*itertools.islice(source.chunks, len(recorded.chunks))] == [*recorded.chunks]
    with pytest.raises(SourceError, match="line 7: not JSON"):
        next(source.chunks)


@pytest.mark.exhaustive
@pytest.mark.parametrize("start", [CAPTURE, PAYLOADS, b"    " + WHOLE])
def test_a_line_without_an_end_is_refused_when_it_is_too_long(start: bytes) -> None:
    read_bytes = 0

    def pieces() -> Iterator[bytes]:
        nonlocal read_bytes
        for piece in itertools.chain([start], itertools.repeat(b"x" * 65_536)):
            read_bytes += len(piece)
            yield piece

    found = read(from_stdin(pieces()))
    assert isinstance(found, str)
    assert found.endswith("longer than 67,108,864 bytes")
    assert read_bytes < 2**26 + 200_000


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", FILES)
def test_a_large_file_is_read_in_bounded_memory(name: str) -> None:
    lines = FILES[name].splitlines(keepends=True)
    middle = b"".join(lines[1:4])

    def pieces() -> Iterator[bytes]:
        yield lines[0]
        yield from repeated(middle, MIB // 2 // len(middle))

    def work() -> None:
        size = 0
        for source in from_stdin(pieces()):
            for chunk in source.chunks:
                size += len(chunk.data)
        assert size > MIB // 3

    assert peak_of(work) < MIB // 4


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    "part",
    [
        *(b"x", b"x\n", b"\n", b"\r", b" ", b"x data:", b"\xff", bytes(range(256)), b"{"),
        *(b'{"a":1}\n', b" data: {\n"),
    ],
)
@pytest.mark.parametrize(("measure", "size"), [(calls, 1), (characters, 500)])
def test_a_format_is_recognised_with_linear_work(
    part: bytes, measure: Callable[[Callable[[], object]], int], size: int
) -> None:
    def work(length: int) -> Callable[[], object]:
        data = part * (length // len(part))
        return lambda: read(from_stdin(cut(data, size)))

    assert measure(work(8_000)) <= AT_MOST * measure(work(4_000)) + 10_000
