"""Test that streams are found in the files of other programs, whole and with all that is known."""

import base64
import gzip
import itertools
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import attrs
import pytest
from hypothesis import given, strategies as st

import format_samples
from format_samples import (
    BODY,
    CHUNKED,
    ERROR,
    EVENTS,
    HEAD,
    MESSAGE,
    READS,
    REQUEST,
    SAMPLES,
    TEXT,
    TYPE,
    chunked,
    compact,
    har,
    har_entry,
    in_base64,
    lines,
    pairs,
    vcrpy_yaml,
    yaml_text,
)
from sansio_stream import ErrorEvent, StreamMachine, Verdict, message_from_dict
from sansio_stream.capture import CaptureEnd, CaptureHeader, Chunk
from sansio_stream_tools.sources import SourceError, sources_of
from sansio_stream_tools.sources._foreign import FOREIGN_FORMATS
from sansio_stream_tools.sources._sniffing import FORMATS

pytest.importorskip("yaml", reason="cassettes are YAML")

NEEDS_YAML: Final = "pip install 'sansio-stream[formats]'"
ENDED: Final = CaptureEnd(None, None)


@attrs.frozen
class Found:
    """A stream that was found in a file."""

    name: str
    kind: str
    header: CaptureHeader
    chunks: tuple[Chunk, ...]
    end: CaptureEnd | None
    hints: tuple[str, ...]

    @property
    def body(self) -> bytes:
        return b"".join(chunk.data for chunk in self.chunks)

    @property
    def times(self) -> list[float | None]:
        return [chunk.at for chunk in self.chunks]


def streams(data: bytes) -> list[Found]:
    """Return the streams in a file."""
    found: list[Found] = []
    for source in sources_of(data, "file"):
        chunks = tuple(source.chunks)
        found.append(
            Found(source.name, source.kind, source.header, chunks, source.end, source.hints)
        )
    return found


def stream(data: bytes) -> Found:
    """Return the only stream in a file."""
    (found,) = streams(data)
    return found


def read(body: bytes) -> StreamMachine:
    """Return a machine that has read a whole body."""
    machine = StreamMachine()
    list(machine.receive_data(body))
    list(machine.connection_lost())
    return machine


def message_in(found: Found) -> dict[str, Any]:
    """Return the message that a stream folds to. It must be complete, and without violations."""
    machine = read(found.body)
    assert (machine.verdict, machine.violations) == (Verdict.COMPLETE, ())
    return machine.final_message().to_dict()


def wrong(data: bytes) -> str:
    """Return the sentence about a file that cannot be read."""
    with pytest.raises(SourceError) as caught:
        streams(data)
    assert "\n" not in str(caught.value)
    return str(caught.value)


WHOLE: Final = message_from_dict(MESSAGE).to_dict()


# Every format.


@pytest.mark.parametrize("name", SAMPLES)
def test_each_format_has_the_same_message(name: str) -> None:
    sample = SAMPLES[name]
    found = stream(sample.data)
    assert (found.kind, found.name) == (sample.kind, "file")
    if name == "error":
        machine = read(found.body)
        assert machine.verdict is Verdict.ERRORED
        assert isinstance(machine.error, ErrorEvent)
        assert machine.error.error.message == "Overloaded"
        return
    message = message_in(found)
    if name == "trace-ascii":
        dots = "".join("." * len(each.encode()) if ord(each) > 126 else each for each in TEXT)
        assert message["content"][0]["text"] == dots
        assert message["content"][1]["input"] == {"city": "K..ln", "days": 2}
        assert found.hints[0].startswith("--trace-ascii writes a dot for each byte")
        return
    assert message == WHOLE


def test_each_format_of_another_program_has_a_sample() -> None:
    assert {each.kind for each in FORMATS} == {each.kind for each in SAMPLES.values()}


KNOWN: Final = ("curl-i", "nc", "curl-v", "trace", "har-browser", "vcr-yaml", "claude-trace")


@pytest.mark.parametrize("name", KNOWN)
def test_the_status_and_the_headers_are_those_of_the_response(name: str) -> None:
    header = stream(SAMPLES[name].data).header
    assert header.status == 200
    assert header.headers["content-type"] == TYPE
    assert header.headers["request-id"] == "req_01sample"


@pytest.mark.parametrize("name", ["trace", "har-browser", "polly", "vcr-json", "claude-trace"])
def test_the_request_is_known_if_the_file_has_it(name: str) -> None:
    assert stream(SAMPLES[name].data).header.request == REQUEST


def test_times_are_seconds_since_the_request_was_sent() -> None:
    trace = stream(SAMPLES["trace"].data)
    assert (trace.times, trace.end) == ([0.75, 1.75, 2.75], CaptureEnd(3.5, None))
    messages = stream(SAMPLES["har-event-source"].data)
    assert messages.times == pytest.approx([0.6 + number / 10 for number in range(len(EVENTS))])
    # Only the end of the body is known, so the chunk has no time.
    for name in ("har-browser", "claude-trace"):
        found = stream(SAMPLES[name].data)
        assert (found.times, found.end) == ([None], CaptureEnd(2.6, None))


IN_PIECES: Final = [
    name
    for name, sample in SAMPLES.items()
    if any(each.kind == sample.kind and each.in_pieces for each in FOREIGN_FORMATS)
]


@given(st.sampled_from(IN_PIECES), st.integers(1, 300), st.integers(0, 300))
def test_a_stream_does_not_depend_on_the_pieces_in_which_the_file_was_read(
    name: str, size: int, first: int
) -> None:
    sample = SAMPLES[name]
    (format,) = (each for each in FOREIGN_FORMATS if each.kind == sample.kind)
    cuts = [0, *range(first, len(sample.data), size), len(sample.data)]
    pieces = [sample.data[start:end] for start, end in itertools.pairwise(cuts)]
    (whole,) = bodies(sample.kind, [sample.data])
    (found,) = bodies(sample.kind, pieces)
    assert found == whole
    assert format.matches(sample.data)


def bodies(kind: str, pieces: Iterable[bytes]) -> list[tuple[Any, ...]]:
    """Return the headers, bytes, ends and hints of what one format finds."""
    (format,) = (each for each in FOREIGN_FORMATS if each.kind == kind)
    found: list[tuple[Any, ...]] = []
    for body in format.bodies(iter(pieces)):
        items = [*body.chunks]
        data = b"".join(each.data for each in items if isinstance(each, Chunk))
        ends = [each for each in items if isinstance(each, CaptureEnd)]
        found.append((body.header, data, ends, body.hints))
    return found


@pytest.mark.parametrize("name", IN_PIECES)
def test_the_first_events_are_shown_before_the_rest_is_read(name: str) -> None:
    sample = SAMPLES[name]
    (format,) = (each for each in FOREIGN_FORMATS if each.kind == sample.kind)
    file_lines = sample.data.splitlines(keepends=True)
    taken = 0

    def pieces() -> Iterator[bytes]:
        nonlocal taken
        for taken, line in enumerate(file_lines, 1):  # noqa: B007 - the test looks at it
            yield line

    body = next(iter(format.bodies(pieces())))
    assert isinstance(next(iter(body.chunks)), Chunk)
    assert taken < len(file_lines) or len(file_lines) == 1


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize(
    "compress", [gzip.compress, lambda data: gzip.compress(gzip.compress(data))]
)
def test_each_format_may_be_compressed(name: str, compress: Any) -> None:
    sample = SAMPLES[name]
    plain, compressed = stream(sample.data), stream(compress(sample.data))
    assert (compressed.kind, compressed.body) == (plain.kind, plain.body)


# The commands.


@pytest.mark.parametrize("name", SAMPLES)
def test_the_commands_read_each_format(name: str, tmp_path: Path) -> None:
    pytest.importorskip("sansio_stream_tools._report", reason="the command `report` is missing")
    from click.testing import CliRunner

    from sansio_stream_tools import _main

    file = tmp_path / "sample"
    file.write_bytes(SAMPLES[name].data)
    runner = CliRunner()
    shown = runner.invoke(_main.command, ["replay", "--message", str(file)], catch_exceptions=False)
    row = runner.invoke(_main.command, ["report", "--json", str(file)], catch_exceptions=False)
    report = json.loads(row.stdout)
    if name == "error":
        assert (shown.exit_code, report["verdict"]) == (1, "ERRORED")
        assert report["error_message"] == "Overloaded"
        return
    assert (shown.exit_code, report["verdict"]) == (0, "COMPLETE")
    assert report["usage"]["output_tokens"] == 34
    if name != "trace-ascii":
        assert json.loads(shown.stdout) == WHOLE


# Heads and bodies, as curl prints them.

LATER_HEADS: Final = {
    "continue": b"HTTP/1.1 100 Continue\r\n\r\n",
    "proxy": b"HTTP/1.0 200 Connection established\r\nvia: proxy\r\n\r\n",
    "redirect": b"HTTP/1.1 307 Temporary Redirect\r\nlocation: /v2\r\ncontent-length: 5\r\n\r\n",
    "two": b"HTTP/1.1 401 \r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n",
    "blank lines": b"\r\n\n",
}


@pytest.mark.parametrize("before", LATER_HEADS.values(), ids=LATER_HEADS)
def test_the_last_of_several_heads_counts(before: bytes) -> None:
    found = stream(before + HEAD + b"\r\n" + BODY)
    assert found.header.status == 200
    assert found.header.headers["request-id"] == "req_01sample"
    assert message_in(found) == WHOLE


def test_a_status_line_may_be_cut_into_pieces() -> None:
    one = HEAD + b"\r\n" + BODY
    for size in (1, 2, 3, 7):
        data = one + one + b"HTT"
        pieces = [data[at : at + size] for at in range(0, len(data), size)]
        first, second = bodies("curl -i", pieces)
        assert (first[1], second[1]) == (BODY, BODY + b"HTT")


def test_a_head_may_have_lost_its_carriage_returns() -> None:
    data = b"HTTP/2 200\nContent-Type: text/event-stream\nnot a header\n\n" + BODY
    found = stream(data)
    assert (found.header.status, found.body) == (200, BODY)
    assert found.header.headers == {"content-type": "text/event-stream"}


def test_several_responses_in_a_dump_are_several_streams() -> None:
    one = HEAD + b"\r\n" + BODY
    first, second = streams(one + one.replace(b"req_01", b"req_02"))
    assert (first.name, second.name) == ("file", "file#2")
    assert second.header.headers["request-id"] == "req_02sample"
    assert first.body == second.body == BODY
    first, second = streams(2 * (HEAD + CHUNKED + chunked(READS)))
    assert first.body == second.body == BODY


def test_a_status_line_within_a_line_begins_no_head() -> None:
    text = BODY.replace(b"rains", b"HTTP/1.1 200 OK")
    assert stream(HEAD + b"\r\n" + text).body == text
    text = b"HTTP/9 is no status line\n" + BODY
    assert stream(HEAD + b"\r\n" + text).body == text


def test_a_body_that_is_shorter_than_its_content_length_ends_in_an_error() -> None:
    head = HEAD + b"content-length: %d\r\n\r\n" % len(BODY)
    assert stream(head + BODY).end == ENDED
    cut = stream(head + BODY[:-9]).end
    assert cut is not None
    assert (
        cut.error
        == f"the body has {len(BODY) - 9:,} bytes, but its content-length is {len(BODY):,}"
    )
    # curl decompresses the body, but shows the length and the encoding of what it received.
    head = HEAD + b"content-encoding: gzip\r\ncontent-length: 100000\r\n\r\n"
    assert stream(head + BODY).end == ENDED


def test_a_compressed_body_is_decompressed_wherever_it_is() -> None:
    packed = gzip.compress(BODY)
    for data in (
        HEAD + b"content-encoding: gzip\r\n\r\n" + packed,
        HEAD + CHUNKED + chunked([packed[:50], packed[50:]]),
        har("x", har_entry({"text": in_base64(packed), "encoding": "base64"})),
    ):
        assert message_in(stream(data)) == WHOLE


def test_the_chunks_of_a_chunked_body_are_kept() -> None:
    assert [chunk.data for chunk in stream(SAMPLES["nc"].data).chunks] == READS
    extended = b"%x;name=value\r\n%b\r\n0\r\nTrailer: x\r\n\r\n" % (len(BODY), BODY)
    found = stream(HEAD + CHUNKED + extended)
    assert (found.body, found.end) == (BODY, ENDED)


def test_a_chunked_body_that_is_cut_or_damaged_ends_in_an_error() -> None:
    whole = chunked(READS)
    for rest, reason in (
        (whole[:-5], "the body ends before the last chunk of its chunked coding"),
        (whole[:300], "the body ends before the last chunk of its chunked coding"),
        (whole.replace(b"\r\n0\r\n", b"\r\nxyz\r\n"), "the chunked coding of the body is damaged"),
        (b"3\r\nabcd\r\n", "the chunked coding of the body is damaged"),
    ):
        found = stream(HEAD + CHUNKED + rest)
        assert found.end is not None
        assert found.end.error == reason
        assert BODY.startswith(found.body) or found.body == b"abc"


def test_a_head_that_announces_chunks_may_have_a_body_without_them() -> None:
    assert stream(HEAD + CHUNKED + BODY).body == BODY
    body = b"ab: no field\n\n" + BODY  # begins with two hexadecimal digits
    assert stream(HEAD + CHUNKED + body).body == body


def test_a_dump_may_end_within_a_head() -> None:
    for end in (b"", b"content-type: text/event-stream", b"content-type: text/event-stream\r\n"):
        found = stream(b"HTTP/1.1 200 OK\r\n" + end)
        assert (found.header.status, found.chunks) == (200, ())
        assert list(found.header.headers) == ["content-type"] * bool(end)


def test_a_response_may_have_no_body() -> None:
    found = stream(HEAD + b"\r\n")
    assert (found.header.status, found.chunks, found.end) == (200, (), ENDED)


# What curl -v prints.


def test_notes_and_the_progress_meter_are_not_part_of_the_body() -> None:
    found = stream(SAMPLES["curl-v"].data)
    # curl ends the meter with a line end.
    assert found.body == BODY + b"\n"


def test_a_head_that_is_printed_twice_counts_once() -> None:
    noted = b"".join(b"< " + line for line in (HEAD + b"\r\n").splitlines(keepends=True))
    start = b"*   Trying 127.0.0.1:80...\n> POST /v1/messages HTTP/1.1\r\n> \r\n"
    found = stream(start + noted + HEAD + b"\r\n" + BODY)
    assert (found.header.status, found.body) == (200, BODY)
    first, second = streams(2 * (start + noted + HEAD + b"\r\n" + BODY))
    assert first.body == second.body == BODY


def test_times_of_notes_are_the_times_of_the_chunks() -> None:
    data = b"".join(
        b"12:00:0%d.500000 %b" % (second, text)
        for second, text in (
            (0, b"* Connected\n"),
            (1, b"> POST /v1/messages HTTP/1.1\r\n"),
            (1, b"> \r\n"),
            (2, b"< HTTP/1.1 200 OK\r\n"),
            (2, b"< \r\n"),
            (3, b"{ [9 bytes data]\n" + BODY[:60]),
            (5, b"{ [9 bytes data]\n" + BODY[60:]),
            (6, b"* Connection #0 to host localhost left intact\n"),
        )
    )
    found = stream(data)
    assert found.body == BODY
    assert found.times[0] == 2.0
    assert found.times[-1] == 4.0


def test_an_error_of_curl_ends_the_body() -> None:
    start = b"> POST / HTTP/1.1\r\n> \r\n< HTTP/1.1 200 OK\r\n< \r\n"
    reason = "transfer closed with outstanding read data remaining"
    for middle in (b"", b"* Closing connection 0\n"):
        found = stream(start + BODY[:200] + middle + f"curl: (18) {reason}\n".encode())
        assert (found.body, found.end) == (BODY[:200], CaptureEnd(None, reason))


def test_a_request_without_a_response_is_a_stream_that_failed() -> None:
    found = stream(b"> POST / HTTP/1.1\r\n> \r\ncurl: (52) Empty reply from server\n")
    assert (found.header.status, found.chunks) == (None, ())
    assert found.end == CaptureEnd(None, "Empty reply from server")


def test_a_note_may_follow_the_body_on_the_same_line() -> None:
    answer = json.dumps(ERROR).encode()
    data = (
        b"> POST / HTTP/1.1\r\n> \r\n< HTTP/1.1 529 \r\n< content-type: application/json\r\n< \r\n"
        b"{ [92 bytes data]\n" + answer + b"* Connection #0 to host localhost left intact\n"
    )
    found = stream(data)
    assert (found.header.status, found.body) == (529, answer)
    assert found.hints == ("this is the answer to a request that failed, not a stream",)


def test_trailers_and_notes_before_the_head_are_left_out() -> None:
    data = (
        b"stray\n> POST / HTTP/1.1\r\n> \r\n< HTTP/1.1 200 OK\r\n< \r\n"
        + BODY
        + b"< x-trailer: 1\r\n< \r\n* Connection #0 to host localhost left intact\n"
    )
    assert stream(data).body == BODY
    meter = b"  % Total    % Received % Xferd  Average Speed   Time    Time     Time  Current\n"
    assert stream(meter + data).body == BODY


def test_a_page_of_html_has_no_notes() -> None:
    page = b"<html>\n<body>Bad gateway</body>\n</html>\n"
    data = b">\n> GET / HTTP/1.1\n>\n< HTTP/1.1 502 Bad Gateway\n<\n" + page
    found = stream(data)
    assert (found.header.status, found.body) == (502, page)


def test_a_very_long_line_is_shown_before_it_ends() -> None:
    start = b"> POST / HTTP/1.1\r\n< HTTP/1.1 200 OK\r\n< \r\n"
    pieces = [start, b"data: " + b"x" * 70_000, b"y" * 70_000, b"\n\n"]
    (found,) = bodies("curl -v", pieces)
    assert found[1] == b"".join(pieces[1:])


# Dumps of curl --trace.


def dump(*lines: str) -> bytes:
    """Return a dump with a request and the head of a response before these lines."""
    start = [
        "=> Send header, 8 bytes (0x8)",
        "0000: 50 4f 53 54 20 2f 0d 0a                         POST /..",
        "<= Recv header, 17 bytes (0x11)",
        "0000: 48 54 54 50 2f 31 2e 31 20 32 30 30 20 4f 4b 0d HTTP/1.1 200 OK.",
        "0010: 0a                                              .",
        "<= Recv header, 2 bytes (0x2)",
        "0000: 0d 0a                                           ..",
    ]
    return "\n".join([*start, *lines, ""]).encode()


def test_bytes_of_tls_and_rows_of_other_output_are_left_out() -> None:
    found = stream(
        dump(
            "<= Recv SSL data, 5 bytes (0x5)",
            "0000: 17 03 03 00 20                                  .... ",
            "<= Recv data, 3 bytes (0x3)",
            "data: printed by curl itself",
            "0000: no numbers",
            "0000: 3a 78 0a                                        :x.",
            "0003: 3a 79 0a                                        :y.",
        )
    )
    assert (found.body, found.end) == (b":x\n", ENDED)


def test_a_record_that_is_cut_has_its_rows_so_far() -> None:
    found = stream(dump("<= Recv data, 40 bytes (0x28)", "0000: 3a 78 0a"))
    assert found.body == b":x"  # the last number may be cut, too
    rows = ("0000: 3a 78 0a ", "0020: 41 42 ")  # between them a row is missing
    found = stream(dump("<= Recv data, 40 bytes (0x28)", *rows, "== Info: hello"))
    assert found.body == b":x\n"


def test_trailers_of_a_dump_are_left_out() -> None:
    data = ["<= Recv data, 2 bytes (0x2)", "0000: 3a 0a     :."]
    trailer = ["<= Recv header, 5 bytes (0x5)", "0000: 61 3a 62 0d 0a    a:b.."]
    (found,) = bodies("curl --trace", [dump(*data, *trailer)])
    assert found[1] == b":\n"
    assert wrong(
        "\n".join(
            [
                "=> Send header, 1 bytes (0x1)",
                "0000: 61 a",
                *trailer[:1],
                "0000: 61 3a 62 0d 0a ",
                "<= Recv header, 2 bytes (0x2)",
                "0000: 0d 0a ",
            ]
        ).encode()
    ) == ("the head of a response has no status line")


def test_the_reason_why_curl_gave_up_ends_the_body() -> None:
    reason = "transfer closed with outstanding read data remaining"
    found = stream(dump("<= Recv data, 2 bytes (0x2)", "0000: 3a 0a     :.", f"== Info: {reason}"))
    assert found.end == CaptureEnd(None, reason)


def ascii_dump(body: bytes) -> bytes:
    """Return a dump of --trace-ascii with this body, without times."""
    rows = format_samples.ascii_rows
    head = b"HTTP/1.1 200 OK\r\n\r\n"
    records = [("=> Send header", b"POST / HTTP/1.1\r\n\r\n"), ("<= Recv header", head)]
    out: list[str] = []
    for title, data in [*records, ("<= Recv data", body)]:
        out += [f"{title}, {len(data)} bytes (0x{len(data):x})", *rows(data)]
    return "\n".join([*out, ""]).encode()


def payload(text: str) -> bytes:
    """Return an event with this text, as bytes of a stream."""
    return b"event: response.delta\ndata: " + json.dumps({"text": text}).encode() + b"\n\n"


@given(
    st.lists(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=80), max_size=5),
    st.booleans(),
)
def test_the_line_ends_of_an_ascii_dump_are_restored(texts: list[str], carriage: bool) -> None:
    body = b": hello\n\n" + b"".join(map(payload, texts))
    if carriage:
        body = body.replace(b"\n", b"\r\n")
    assert stream(ascii_dump(body)).body == body


def test_dots_of_a_text_are_no_line_ends() -> None:
    for text in ("a..b", "..", ".data: x", "...event: y...data: {}", '"..data: {"'):
        for body in (payload(text), payload(text).replace(b"\n", b"\r\n")):
            assert stream(ascii_dump(body)).body == body
    for body in (b"event: data\ndata: [DONE]\n\n", b"data: { }\n\n", b"id: 1\ndata:\n\n"):
        assert stream(ascii_dump(body)).body == body
    # A value that is cut ends where the next frame begins.
    cut = payload("a..b")[:-5]
    for rest in (b"", b"\n\n" + payload("c")):
        assert stream(ascii_dump(cut + rest)).body == cut + rest


def test_a_body_that_is_no_stream_has_no_line_ends_to_restore() -> None:
    found = stream(ascii_dump(b"<p>Bad gateway...</p>"))
    assert found.body == b"<p>Bad gateway...</p>"


# HAR files.


def test_each_entry_with_a_stream_is_one() -> None:
    failed = har_entry({"text": json.dumps(ERROR)})
    failed["response"] |= {"status": 529, "headers": pairs(content_type="application/json")}
    whole = har_entry({"text": json.dumps(MESSAGE), "mimeType": "application/json"})
    whole["response"]["headers"] = []
    by_text = har_entry({"text": BODY.decode(), "mimeType": "text/plain"})
    by_text["response"]["headers"] = pairs(content_type="text/plain")
    found = streams(har("x", har_entry({"text": BODY.decode()}), failed, whole, by_text))
    assert [each.name for each in found] == ["file#1", "file#2", "file#3", "file#4"]
    assert (found[1].header.status, json.loads(found[1].body)) == (529, ERROR)
    assert found[1].hints == ("this is the answer to a request that failed, not a stream",)
    assert found[2].hints[0].startswith("this is a whole message, not a stream")
    assert found[2].header.headers["content-type"] == "text/event-stream"
    for each in (found[0], found[2], found[3]):
        assert message_in(each) == WHOLE


def test_an_entry_without_a_body_has_a_hint() -> None:
    for content, hint in (
        ({}, "the file does not have the body of this response: browsers and proxies often"),
        ({"text": ""}, "the file does not have the body of this response"),
        ({"_file": "a1.sse"}, "the body of this response is in another file, a1.sse, which is"),
    ):
        found = stream(har("WebInspector", har_entry(content)))
        assert (found.chunks, found.end) == ((), None)
        assert found.hints[0].startswith(hint)


def test_older_recordings_of_polly_have_their_chunks_in_hexadecimal() -> None:
    packed = gzip.compress(BODY)
    text = json.dumps([packed[:40].hex(), packed[40:].hex()])
    found = stream(format_samples.polly({"text": text, "_isBinary": True}))
    assert message_in(found) == WHOLE


def test_a_har_file_without_a_stream_says_what_it_has() -> None:
    assert wrong(har("x")) == "none of the entries of the HAR file (1) is an event stream"
    assert wrong(b'{"log": {"entries": []}}') == "the HAR file has no entries"
    assert wrong(b'{"log": {"entries": 7}}') == "the HAR file has no list of entries"
    bedrock = har_entry({"text": "AAAA", "encoding": "base64"})
    bedrock["response"]["headers"] = pairs(content_type="application/vnd.amazon.eventstream")
    assert "streams of Amazon Bedrock, which are binary and are not read" in wrong(
        har("x", bedrock)
    )
    assert wrong(b'{"log": {"entries": [') == (
        "the HAR file is not JSON: expecting value (line 1, column 22)"
    )


def test_a_damaged_entry_spoils_no_other_entry() -> None:
    image = har_entry({"text": "A", "encoding": "base64", "mimeType": "image/png"})
    image["response"]["headers"] = []
    assert message_in(stream(har("x", image, har_entry({"text": BODY.decode()})))) == WHOLE
    for text in ("A", "[", "[7"):
        damaged = har_entry({"text": text, "encoding": "base64"})
        first, second = streams(har("x", damaged, har_entry({"text": BODY.decode()})))
        assert (first.chunks, first.end) == ((), None)
        assert first.hints == (
            "the file does not have the body of this response: its base64 is damaged",
        )
        assert message_in(second) == WHOLE


def test_a_damaged_body_in_a_cassette_spoils_no_other_body() -> None:
    headers = {"content-type": TYPE}
    damaged = {"body": {"base64_string": "A"}, "headers": headers}
    first, second = streams(cassette(damaged, {"body": BODY.decode(), "headers": headers}))
    assert first.end == CaptureEnd(None, "the cassette has the body in damaged base64")
    assert message_in(second) == WHOLE
    pair = {"request": {"body": {"base64_string": "A"}}, "response": {"body": BODY.decode()}}
    assert stream(json.dumps({"interactions": [pair]}).encode()).header.request is None


def test_times_of_a_har_file_that_are_no_times_are_left_out() -> None:
    for timings in (None, {}, {"send": 1, "wait": -1, "receive": 3}, {"send": "x"}):
        assert stream(har("x", har_entry({"text": "data: x"}, timings=timings))).end == ENDED
    for begin, time in ((None, 1.0), ("x", 1.0), ("2026-01-01T00:00:00", 1.0), ("", None)):
        messages = [{"time": time, "data": "x", "eventName": "message"}, {"data": 1}, 7]
        entry = har_entry({}, startedDateTime=begin, _eventSourceMessages=messages)
        found = stream(har("x", entry))
        assert (found.body, found.times) == (b"data: x\n\n", [None])


def test_lone_surrogates_become_replacement_characters() -> None:
    found = stream(har("x", har_entry({"text": "data: \ud83c\udf1f \ud83c\n\n"})))
    assert found.body.decode() == "data: \N{GLOWING STAR} \ufffd\n\n"


# Cassettes.


def cassette(*responses: dict[str, Any]) -> bytes:
    """Return a cassette in JSON with these responses."""
    interactions = [{"request": {"method": "POST"}, "response": each} for each in responses]
    return json.dumps({"interactions": interactions}).encode()


BODIES: Final = {
    "string": {"string": BODY.decode()},
    "text": BODY.decode(),
    "base64_string": {"encoding": "ASCII-8BIT", "base64_string": in_base64(BODY)},
    "encoding": {"encoding": "base64", "string": in_base64(gzip.compress(BODY))},
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
@pytest.mark.parametrize(
    "status",
    [{"status": {"code": 200}}, {"status": "200 OK", "code": 200}, {"status_code": 200}],
)
def test_the_recorders_write_bodies_and_statuses_in_many_ways(body: Any, status: Any) -> None:
    response = {"body": body, "headers": {"Content-Type": TYPE}, **status}
    found = stream(cassette(response))
    assert (found.header.status, message_in(found)) == (200, WHOLE)


def test_a_request_in_bytes_is_read() -> None:
    data = SAMPLES["vcr-yaml"].data
    text = base64.b64encode(json.dumps(REQUEST).encode())
    binary = data.replace(f"'{json.dumps(REQUEST)}'".encode(), b"!!binary " + text)
    assert stream(binary).header.request == REQUEST


def test_old_cassettes_of_httpx_have_the_content_without_a_body() -> None:
    response = {"content": BODY.decode(), "status_code": 200, "headers": {"content-type": [TYPE]}}
    assert message_in(stream(cassette(response))) == WHOLE


def test_a_list_of_interactions_is_a_cassette() -> None:
    response = {"status_code": 200, "body": BODY.decode(), "headers": {"Content-Type": TYPE}}
    data = json.dumps([{"request": {"body": json.dumps(REQUEST)}, "response": response}]).encode()
    found = stream(data)
    assert (found.header.status, found.header.request) == (200, REQUEST)
    assert message_in(found) == WHOLE


def test_several_interactions_are_several_streams() -> None:
    answers: list[tuple[int, Any]] = [(200, BODY.decode()), (529, json.dumps(ERROR))]
    answers += [(200, json.dumps(MESSAGE)), (200, '{"type": "list"}'), (404, "not found")]
    found = streams(
        cassette(*({"status": {"code": code}, "body": {"string": text}} for code, text in answers))
    )
    assert [each.header.status for each in found] == [200, 529, 200]
    assert message_in(found[0]) == message_in(found[2]) == WHOLE
    assert read(found[1].body).verdict is Verdict.NOT_AN_EVENT_STREAM


def test_a_compressed_stream_is_found_without_its_content_type() -> None:
    packed = {"base64_string": in_base64(gzip.compress(BODY))}
    assert message_in(stream(cassette({"status": {"code": 200}, "body": packed}))) == WHOLE
    with pytest.raises(SourceError, match="none of the interactions"):
        streams(cassette({"body": {"base64_string": in_base64(gzip.compress(b"<p>" * 99)[:-9])}}))
    with pytest.raises(SourceError, match="none of the interactions"):
        streams(cassette({"body": {"base64_string": in_base64(gzip.compress(b'{"a":1}')[:-9])}}))


def test_a_compressed_message_in_a_cassette_is_shown() -> None:
    packed = {"base64_string": in_base64(gzip.compress(json.dumps(MESSAGE).encode()))}
    found = stream(cassette({"status": {"code": 200}, "body": packed}))
    assert message_in(found) == WHOLE


def test_texts_of_python_2_are_texts_and_no_tag_makes_an_object() -> None:
    text = yaml_text(BODY.decode())
    for tag in (b"!!python/str", b"!!python/unicode", b"!!str", b"!anything"):
        assert message_in(stream(vcrpy_yaml(tag + b" " + text))) == WHOLE
    for tag in (b"!!python/object/apply:sys.exit", b"!!python/object/new:sys.exit"):
        assert stream(vcrpy_yaml(tag + b" [3]")).body == b""


def test_a_file_of_yaml_is_bounded() -> None:
    start = b"interactions:\n"
    too_deep = "the cassette has YAML that is nested too deeply"
    # Newer versions of libyaml have a limit of their own for the first one.
    assert wrong(start + b"- " + b"[" * 1_000_000).startswith(
        (too_deep, "the cassette is not YAML: ")
    )
    assert wrong(start + b"- " + b"- " * 1_000_000) == too_deep
    assert wrong(start + b"- *a\n") == "the cassette has a YAML alias without an anchor"
    # Each alias doubles what it stands for. It is never copied.
    doubled = b"".join(b"- &a%d [*a%d, *a%d]\n" % (each + 1, each, each) for each in range(60))
    assert wrong(start + b"- &a0 [x]\n" + doubled) == (
        "none of the interactions of the cassette (61) is an event stream"
    )
    own = b"interactions: &a\n- request: *a\n  response: {headers: *a, body: {string: *a}}\n- *a\n"
    assert wrong(own) == "none of the interactions of the cassette (2) is an event stream"
    assert wrong(start + b"- ? [a]\n  : b\n  ? ~\n  : c\n").startswith("none of the interactions")


def test_a_file_of_yaml_has_a_bounded_number_of_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sansio_stream_tools.sources._yaml.MOST_NODES", 1_000)
    assert wrong(b"interactions:\n" + b"- a\n" * 1_000) == "the cassette has more than 1,000 values"


def test_a_cassette_without_a_stream_says_what_it_has() -> None:
    assert wrong(b'{"interactions": []}') == "the cassette has no interactions"
    assert wrong(b"interactions: 7\n") == "the cassette has no list of interactions"
    assert wrong(b"interactions: [\n") == (
        "the cassette is not YAML: did not find expected node content (line 2)"
    )
    assert "control characters are not allowed" in wrong(b"interactions:\n- \x01\n")
    assert wrong(vcrpy_yaml(b"!!binary A")) == "the cassette has invalid base64"
    response = {"headers": {"content-type": "application/vnd.amazon.eventstream"}, "body": "x"}
    assert "streams of Amazon Bedrock" in wrong(cassette(response))
    assert wrong(cassette({"body": {"base64_string": "A"}})).startswith("none of the interactions")


def test_a_cassette_without_pyyaml_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)
    sentence = wrong(SAMPLES["vcr-yaml"].data)
    assert sentence == f"the cassette is YAML, and PyYAML is not installed: {NEEDS_YAML}"
    assert message_in(stream(SAMPLES["vcr-json"].data)) == WHOLE


# Events in JSON.


def test_each_message_start_begins_a_stream() -> None:
    for data in (
        json.dumps(EVENTS + EVENTS).encode(),
        json.dumps([EVENTS, EVENTS]).encode(),
        json.dumps([*map(frame_text, EVENTS), *map(frame_text, EVENTS)]).encode(),
        "\n".join(json.dumps(each, indent=1) for each in EVENTS + EVENTS).encode(),
    ):
        first, second = streams(data)
        assert (first.name, second.name) == ("file#1", "file#2")
        assert message_in(first) == message_in(second) == WHOLE
    first, second = streams(2 * SAMPLES["wrapped"].data)
    assert (first.name, second.name) == ("file", "file#2")
    assert message_in(first) == message_in(second) == WHOLE


def frame_text(event: dict[str, Any]) -> str:
    return f"event: {event['type']}\ndata: {compact(event)}\n\n"


def test_the_fields_of_an_event_may_be_written_in_many_ways() -> None:
    for wrap in (
        lambda each: {"event": each["type"], "data": each},
        lambda each: {"data": compact(each), "id": "", "retry": None},
        lambda each: {"Type": each["type"], "Data": compact(each)},
        lambda each: {"Type": each["type"], "Data": each},
        lambda each: {"event": each},
        lambda each: {"type": "stream_event", "event": each},
    ):
        values = [wrap(each) for each in EVENTS]
        assert message_in(stream(json.dumps(values).encode())) == (WHOLE), values[0]


def test_an_event_with_the_default_name_had_none_on_the_wire() -> None:
    values = [{"event": "message", "data": compact(each)} for each in EVENTS]
    machine = read(stream(json.dumps(values).encode()).body)
    assert machine.final_message().to_dict() == WHOLE
    assert {each.code.value for each in machine.violations} == {"missing_event_name"}


def test_events_before_the_first_message_start_belong_to_its_stream() -> None:
    before = [{"type": "ping"}, {"type": "other"}]
    first, second = streams(json.dumps([*before, *EVENTS, *EVENTS, {"type": "ping"}]).encode())
    assert len(first.chunks) == len(EVENTS) + 2
    assert len(second.chunks) == len(EVENTS) + 1
    machine = read(first.body)
    assert machine.verdict is Verdict.COMPLETE


def test_values_without_an_event_are_left_out() -> None:
    data: list[Any] = [
        EVENTS[0],
        7,
        None,
        [],
        {},
        {"event": 3},
        {"event": "ping", "data": 3},
        {"data": 3},
        "",
        *EVENTS[1:],
    ]
    assert message_in(stream(json.dumps(data).encode())) == WHOLE
    log = lines([{"start": 1}]) + b"[debug] hello\n" + SAMPLES["wrapped"].data + lines([{"a": 1}])
    assert message_in(stream(log)) == WHOLE


def test_other_lines_beside_wrapped_events_are_left_out() -> None:
    values = [json.loads(line) for line in SAMPLES["claude-code"].data.splitlines()]
    for value in values:
        value.pop("session_id")
    assert message_in(stream(lines(values))) == WHOLE
    assert message_in(stream(json.dumps(values).encode())) == WHOLE
    indented = "\n".join(json.dumps(value, indent=2) for value in values).encode()
    assert message_in(stream(indented)) == WHOLE


def test_a_stream_may_begin_with_an_error() -> None:
    for layout in (None, 2):
        data = "\n".join(json.dumps(each, indent=layout) for each in [ERROR, *EVENTS]).encode()
        assert len(stream(data).chunks) == len(EVENTS) + 1
    assert stream(json.dumps(ERROR, indent=2).encode()).kind == "message"


def test_an_event_keeps_its_name_and_its_lines() -> None:
    array = [
        EVENTS[0],
        {"event": "a\nb", "data": "1\r\n2\r3"},
        {"event": "other", "data": {"x": 1}},
    ]
    body = stream(json.dumps(array).encode()).body
    assert body.endswith(b'data: 1\ndata: 2\ndata: 3\n\nevent: other\ndata: {"x":1}\n\n')


def test_a_payload_with_a_lone_surrogate_has_its_escape() -> None:
    text = {"type": "text_delta", "text": "\ud83c"}
    array = [EVENTS[0], {"type": "content_block_delta", "index": 0, "delta": text}]
    assert b'"text":"\\ud83c"' in stream(json.dumps(array).encode()).body


def test_damaged_base64_of_an_event_is_an_error() -> None:
    assert wrong(b'[{"Type": "ping", "Data": "%%%"}]').startswith("it looks like a JSON document")
    array = [EVENTS[0], {"Type": "ping", "Data": "%%%"}]
    assert wrong(json.dumps(array).encode()) == (
        "the data of a ping is neither JSON nor the base64 of JSON"
    )
    text = base64.b64encode(b"\xff").decode()
    assert "neither JSON nor" in wrong(
        json.dumps([EVENTS[0], {"Type": "ping", "Data": text}]).encode()
    )


def test_a_log_that_ends_within_a_line_is_cut_there() -> None:
    for name in ("wrapped", "claude-code"):
        data = SAMPLES[name].data
        cut = data[: data.index(b"message_delta") + 20]
        found = stream(cut)
        assert found.end is None
        assert read(found.body).verdict is Verdict.TRUNCATED
        assert wrong(cut + b"\n" + data).startswith("line ")


# Claude Code.


def stream_events(events: Iterable[dict[str, Any]], agent: str | None) -> list[dict[str, Any]]:
    """Return the lines of Claude Code for events of the main conversation or of a subagent."""
    return [
        {"type": "stream_event", "event": each, "session_id": "1", "parent_tool_use_id": agent}
        for each in events
    ]


@given(st.randoms(use_true_random=False))
def test_the_streams_of_subagents_are_separate(random: Any) -> None:
    messages = {agent: with_id(f"msg_{agent}") for agent in (None, "toolu_1", "toolu_2")}
    waiting = {agent: stream_events(events, agent) for agent, events in messages.items()}
    mixed: list[dict[str, Any]] = []
    while any(waiting.values()):
        mixed.append(waiting[random.choice([each for each in waiting if waiting[each]])].pop(0))
    starts = [each["parent_tool_use_id"] for each in mixed if is_start(each["event"])]
    found = streams(lines(mixed))
    assert [message_in(each)["id"] for each in found] == [f"msg_{agent}" for agent in starts]


def is_start(event: dict[str, Any]) -> bool:
    return bool(event["type"] == "message_start")


def with_id(message_id: str) -> list[dict[str, Any]]:
    """Return the events with another id of the message."""
    start = {**EVENTS[0], "message": {**EVENTS[0]["message"], "id": message_id}}
    return [start, *EVENTS[1:]]


def test_a_message_of_the_main_conversation_does_not_wait_for_the_next_one() -> None:
    main, agent = stream_events(EVENTS, None), stream_events(EVENTS, "toolu_1")
    data = lines([*main, *agent]).splitlines(keepends=True)
    (format,) = (each for each in FOREIGN_FORMATS if each.kind == "Claude Code log")
    taken: list[bytes] = []

    def pieces() -> Iterator[bytes]:
        for line in data:
            taken.append(line)
            yield line

    first = next(iter(format.bodies(pieces())))
    assert len([*first.chunks]) == len(EVENTS) + 1
    assert taken == data[: len(EVENTS)]


def test_a_claude_code_log_without_events_says_how_to_get_them() -> None:
    system = {"type": "system", "subtype": "init", "session_id": "1"}
    transcript: dict[str, Any] = {
        "parentUuid": None,
        "sessionId": "1",
        "type": "user",
        "message": {},
    }
    for data in (
        lines([system]),
        lines([transcript]),
        lines([{**transcript, "type": "assistant"}]),
    ):
        assert wrong(data).endswith(
            "--output-format stream-json --verbose --include-partial-messages"
        )


def test_a_claude_trace_log_may_have_requests_without_a_response() -> None:
    pair = json.loads(SAMPLES["claude-trace"].data)
    orphan = {**pair, "response": None, "note": "no response"}
    whole = json.loads(json.dumps(pair))
    whole["response"] |= {"body": MESSAGE, "body_raw": None, "headers": {}}
    failed = json.loads(json.dumps(pair))
    failed["response"] |= {"body": ERROR, "body_raw": None, "headers": {}, "status_code": 529}
    found = streams(lines([orphan, pair, whole, failed]) + b'{"request": {"timest')
    assert [each.header.status for each in found] == [200, 200, 529]
    assert message_in(found[0]) == message_in(found[1]) == WHOLE
    assert json.loads(found[2].body) == ERROR
    assert wrong(lines([orphan])) == (
        "the claude-trace log has no event stream, message or error of the API"
    )


# Whole messages and errors.


def test_messages_may_follow_one_another() -> None:
    for layout in (None, 2):
        data = "\n".join(json.dumps(MESSAGE, indent=layout) for _ in range(3)).encode()
        assert [message_in(each) for each in streams(data)] == 3 * [WHOLE]


def test_a_value_that_is_no_message_is_named() -> None:
    data = json.dumps(MESSAGE).encode()
    assert wrong(data + b"\n[7]") == (
        "the file has a JSON value that is neither a message nor an error of the API"
    )
    assert wrong(data + b"\n{").startswith("the file is not JSON: ")
    assert wrong(b'{"type": "message", "content": 7}').startswith("the file has a JSON value that")
    assert wrong(json.dumps(MESSAGE, indent=1).encode()[:-9]).startswith("the file is not JSON: ")
    digits = b'{"type": "message", "content": [' + 5_000 * b"9" + b"]}"
    assert wrong(digits) == "the file is not JSON: a number has too many digits"
    infinite = {**MESSAGE, "usage": {"other": float("inf")}}
    text = json.dumps(infinite).replace("Infinity", "1e999").encode()
    assert wrong(text) == "the message has a value that JSON cannot represent"
    # In an answer, the body is then shown as it is.
    assert stream(b"HTTP/1.1 200 OK\r\n\r\n" + text).body == text


def test_a_message_is_not_taken_for_complete_if_it_is_not() -> None:
    cut = {**MESSAGE, "stop_reason": None}
    found = stream(json.dumps(cut).encode())
    assert read(found.body).verdict is Verdict.TRUNCATED


def test_an_error_in_a_stream_with_status_200_is_an_error_event() -> None:
    found = stream(HEAD + b"\r\n" + json.dumps(ERROR).encode())
    assert read(found.body).verdict is Verdict.ERRORED
    assert found.header.headers["content-type"] == "text/event-stream"


def test_json_that_is_neither_is_shown_as_it_is() -> None:
    for text in (b'{"hello": 1}', b'{"type": "message"', b"{" * 1000, b'{"a": "\xff"}'):
        assert stream(b"HTTP/1.1 200 OK\r\n\r\n" + text).body == text


# Hostile files.

DEEP: Final = 1_000_000

DEEP_FILES: Final = {
    "har": b'{"log":{"entries":',
    "cassette": b'{"interactions":',
    "array": b'[{"type":"ping","x":',
    "message": b'{"type":"message","content":',
    "indented": b'{\n"type":"ping","x":',
    "wrapped": b'{"event":{"type":"ping"}}\n{"event":{"type":"ping","x":',
    "claude code": b'{"type":"stream_event","session_id":"1","event":',
}


@pytest.mark.parametrize("start", DEEP_FILES.values(), ids=DEEP_FILES)
def test_deeply_nested_json_is_an_error(start: bytes) -> None:
    for deep in (b"[" * DEEP, b"[" * DEEP + b"]" * DEEP + b"}]}\n{}\n", b'{"a":' * (DEEP // 10)):
        try:
            found = streams(start + deep)
        except SourceError as error:
            assert "nested too deeply" in str(error) or "no " in str(error)
        else:
            # The last line of a log is cut off.
            assert start.startswith(b'{"event"')
            assert found[0].end is None


@pytest.mark.parametrize("tail", [b"a: b\r\n" * 100_000, b"a" * 1_000_000])
def test_a_head_without_an_end_is_an_error(tail: bytes) -> None:
    assert wrong(b"HTTP/1.1 200 OK\r\n" + tail) == (
        "the head of a response is larger than 262,144 bytes"
    )


def test_streams_that_wait_for_another_one_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sansio_stream_tools.sources._events.MOST_WAITING_BYTES", 10_000)
    others = itertools.chain.from_iterable(
        stream_events(EVENTS, f"toolu_{number}") for number in range(20)
    )
    data = lines([*stream_events(EVENTS[:3], None), *others])
    assert wrong(data).startswith("the events of several streams are mixed, and more than 10,000 b")


@st.composite
def damaged_values(draw: st.DrawFn, value: Any) -> Any:
    """Return a JSON value in which something was left out, or replaced by any other value."""
    if isinstance(value, dict) and value and draw(st.integers(0, 4)):
        name = draw(st.sampled_from(sorted(value)))
        rest = {each: value[each] for each in value if each != name}
        if not draw(st.integers(0, 5)):
            return rest
        other = draw(st.sampled_from([name, name, name, "data", "type", "body", "content"]))
        return {**rest, other: draw(damaged_values(value[name]))}
    if isinstance(value, list) and value and draw(st.integers(0, 4)):
        index = draw(st.integers(0, len(value) - 1))
        return [*value[:index], draw(damaged_values(value[index])), *value[index + 1 :]]
    return draw(
        st.sampled_from(
            [None, 0, -1, 1e308, 10**400, "", "x", "\ud800", [], {}, [[]], True, "base64", "[1]"]
        )
    )


@st.composite
def damaged_files(draw: st.DrawFn) -> bytes:
    """Return a sample with damage to its bytes or to the values of its JSON."""
    data = SAMPLES[draw(st.sampled_from(sorted(SAMPLES)))].data
    if draw(st.booleans()):
        values = [parsed(line) for line in data.splitlines()]
        if None not in values:
            index = draw(st.integers(0, len(values) - 1))
            values[index] = draw(damaged_values(values[index]))
            return "\n".join(map(json.dumps, values)).encode()
        value = parsed(data)
        if value is not None:
            return json.dumps(draw(damaged_values(value)), indent=1).encode()
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.sampled_from([0, 1, 5, 50, 5000])))
        new = draw(
            st.sampled_from([b"", b"\n", b"[", b'"', b"&a ", b"*a ", b"\xff", b"\r\n\r\n", b"0: "])
            | st.binary(max_size=3)
        )
        data = data[:start] + new + data[end:]
    return data


def parsed(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError:
        return None


@given(damaged_files())
def test_a_damaged_file_gives_streams_or_one_sentence(data: bytes) -> None:
    try:
        found = streams(data)
    except SourceError as error:
        assert "\n" not in str(error)
        return
    assert found
    for each in found:
        assert all(chunk.at is None or 0 <= chunk.at <= 1e9 for chunk in each.chunks)
        assert all(isinstance(hint, str) for hint in each.hints)
