"""parse_capture: a Capture or a CaptureError; a capture that is written again is the same one."""

import json
import re

import attrs

from cases import Case, same
from sansio_stream import (
    Capture,
    CaptureError,
    CaptureHeader,
    CaptureWriter,
    parse_capture,
)


def capture(data: bytes) -> None:
    """Read a file, write what was read, read that again, and what a crash would leave of it."""
    case = Case.of(data)
    try:
        found = parse_capture(case.body)
    except CaptureError as error:
        lines = len(re.split(rb"\r\n|\n|\r", case.body))
        assert 1 <= error.line <= lines, f"{error} of {lines}"
        return
    same("a bytearray", found, parse_capture(bytearray(case.body)))
    check_no_credential(found.header)
    # A payload a line gets the names of two fields, three line ends, and its type once more.
    assert len(found.body) <= 2 * len(case.body) + 20 * len(found.chunks), "chunks out of nothing"
    if found.source == "body":
        same("a plain body", case.body, found.body)

    written = write(found)
    read = parse_capture(written)
    same("chunks written again", data_of(found), data_of(read))
    same("how it was read", "capture", read.source)
    if found.source == "capture":
        same("a capture written again", attrs.evolve(found, header=read.header), read)
        same("its header", writable(found.header), read.header)
        same("bytes written again", written, write(read))
    # A crash may cut it anywhere.
    at = int.from_bytes(case.choices[8:10]) % (len(written) + 1)
    cut = data_of(parse_capture(written[:at]))
    same("chunks before the crash", data_of(read)[: len(cut)], cut)


def data_of(found: Capture) -> list[bytes]:
    """Return the bytes of each chunk."""
    return [chunk.data for chunk in found.chunks]


def writable(header: CaptureHeader) -> CaptureHeader:
    """Return a header that JSON can hold: json.loads reads infinities, nobody may write them."""
    try:
        json.dumps(header.request, allow_nan=False)
    except ValueError:
        return attrs.evolve(header, request=None)
    return header


def write(found: Capture) -> bytes:
    """Return the lines of a capture; where there are no times they are 0."""
    writer = CaptureWriter(writable(found.header))
    lines = [writer.begin()]
    lines += [writer.chunk(chunk.data, chunk.at or 0) for chunk in found.chunks]
    if found.end is not None:
        lines.append(writer.end(found.end.at or 0, found.end.error))
    return b"".join(lines)


def check_no_credential(header: CaptureHeader) -> None:
    """A header holds what is allowed, and no token."""
    harmless = re.compile(
        r"content-type|request-id|x-amzn-requestid|cf-ray|retry-after|retry-after-ms"
        r"|x-should-retry|anthropic-ratelimit-.*"
    )
    assert all(map(harmless.fullmatch, header.headers)), header.headers
    servers = (header.request or {}).get("mcp_servers")
    for server in servers if isinstance(servers, list) else ():
        assert "authorization_token" not in server, "a token is kept"
