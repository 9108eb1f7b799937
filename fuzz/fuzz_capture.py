"""Fuzzes parse_capture. It returns a Capture or raises CaptureError.

A capture that is written and read again is equal, and so is one that is read in pieces.
"""

import json
import re

import attrs

from cases import Case, check_equal
from sansio_stream import (
    Capture,
    CaptureError,
    CaptureHeader,
    CaptureReader,
    CaptureWriter,
    Chunk,
    parse_capture,
)


def capture(data: bytes) -> None:
    """Read a file, write it, and read it again, both complete and cut as after a crash."""
    case = Case.of(data)
    try:
        captured = parse_capture(case.body)
    except CaptureError as error:
        lines = len(re.split(rb"\r\n|\n|\r", case.body))
        assert 1 <= error.line <= lines, f"{error} of {lines}"
        check_equal("the error of a file in pieces", str(error), read_in_pieces(case))
        return
    check_equal("a bytearray", captured, parse_capture(bytearray(case.body)))
    check_equal("a file in pieces", captured, read_in_pieces(case))
    check_no_credential(captured.header)
    # If a file has one payload on each line, each payload gets two field names, three line ends,
    # and its type once more.
    bound = 2 * len(case.body) + 20 * len(captured.chunks)
    assert len(captured.body) <= bound, "the chunks are larger than the file allows"
    if captured.source == "body":
        check_equal("a plain body", case.body, captured.body)

    written = write(captured)
    read = parse_capture(written)
    check_equal("chunks written again", data_of(captured), data_of(read))
    check_equal("the source", "capture", read.source)
    if captured.source == "capture":
        check_equal("a capture written again", attrs.evolve(captured, header=read.header), read)
        check_equal("its header", writable(captured.header), read.header)
        check_equal("bytes written again", written, write(read))
    # A crash may cut the file anywhere.
    at = int.from_bytes(case.choices[8:10]) % (len(written) + 1)
    cut = data_of(parse_capture(written[:at]))
    check_equal("chunks before the crash", data_of(read)[: len(cut)], cut)


def read_in_pieces(case: Case) -> Capture | str:
    """Read a file in pieces of the chosen sizes. Return what it contains, or the error."""
    reader = CaptureReader()
    try:
        chunks = [chunk for piece in case.cuts(case.body) for chunk in reader.feed(piece)]
        chunks += reader.close()
    except CaptureError as error:
        return str(error)
    assert reader.source is not None, "the kind of file is unknown after its end"
    assert reader.header is not None, "the header is unknown after the end"
    if reader.source == "body" and chunks:
        chunks = [Chunk(None, b"".join(chunk.data for chunk in chunks))]
    return Capture(reader.header, tuple(chunks), reader.end, reader.source)


def data_of(captured: Capture) -> list[bytes]:
    """Return the bytes of each chunk."""
    return [chunk.data for chunk in captured.chunks]


def writable(header: CaptureHeader) -> CaptureHeader:
    """Return the header without a request that JSON cannot express.

    json.loads reads infinities, but a capture may not contain them.
    """
    try:
        json.dumps(header.request, allow_nan=False)
    except ValueError:
        return attrs.evolve(header, request=None)
    return header


def write(captured: Capture) -> bytes:
    """Return the lines of a capture. A missing time becomes 0."""
    writer = CaptureWriter(writable(captured.header))
    lines = [writer.begin()]
    lines += [writer.chunk(chunk.data, chunk.at or 0) for chunk in captured.chunks]
    if captured.end is not None:
        lines.append(writer.end(captured.end.at or 0, captured.end.error))
    return b"".join(lines)


def check_no_credential(header: CaptureHeader) -> None:
    """Check that a header contains only the allowed names and no token."""
    harmless = re.compile(
        r"content-type|request-id|x-amzn-requestid|cf-ray|retry-after|retry-after-ms"
        r"|x-should-retry|anthropic-ratelimit-.*"
    )
    assert all(map(harmless.fullmatch, header.headers)), header.headers
    servers = (header.request or {}).get("mcp_servers")
    for server in servers if isinstance(servers, list) else ():
        assert "authorization_token" not in server, "the capture contains a token"
