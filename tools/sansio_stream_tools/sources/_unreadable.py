"""Says what a file without a recorded stream looks like, and what would help."""

from __future__ import annotations

import re
from typing import Final
from zlib import crc32

from ._encodings import is_decodable

__all__ = ["INSTALL", "reason_against"]

INSTALL: Final = "pip install 'sansio-stream[formats]'"

RECORD: Final = "record the body of a response instead, for example with `curl -N ... > FILE`"
DECOMPRESS: Final = "decompress it first"

# A pattern of the first bytes of a file, what such a file looks like, and what would help.
KINDS: Final = tuple(
    (re.compile(pattern, re.DOTALL), looks_like, help)
    for pattern, looks_like, help in (
        (
            # A flow is a netstring that contains the netstrings of its members, by name and value.
            (
                rb"[0-9]{1,12}:.{0,4096}?[0-9]:"
                rb"(?:client_conn|intercepted|marked|response|server_conn|websocket)[;,]"
            ),
            "a file of mitmproxy flows",
            "export it as HAR: `mitmdump -n -r FILE --set hardump=flows.har`",
        ),
        (
            rb"\xd4\xc3\xb2\xa1|\xa1\xb2\xc3\xd4|\x4d\x3c\xb2\xa1|\xa1\xb2\x3c\x4d|\n\r\r\n",
            "a capture of network packets (pcap)",
            "export the body in Wireshark: File > Export Objects > HTTP",
        ),
        (rb"\x16\x03[\x00-\x04]", "encrypted TLS data", RECORD),
        (rb"PRI \* HTTP/2\.0\r\n", "the frames of an HTTP/2 connection", RECORD),
        (rb"\x89PNG\r\n\x1a\n", "a PNG image", RECORD),
        (rb"\xff\xd8\xff", "a JPEG image", RECORD),
        (rb"GIF8[79]a", "a GIF image", RECORD),
        (rb"RIFF....WEBP", "a WebP image", RECORD),
        (rb"%PDF-", "a PDF document", RECORD),
        (rb"\xfd7zXZ\x00", "a file compressed with xz", DECOMPRESS),
        (rb"BZh[1-9]1AY&SY", "a file compressed with bzip2", DECOMPRESS),
        (rb"\x04\x22\x4d\x18", "a file compressed with lz4", DECOMPRESS),
        (rb"PK(?:\x03\x04|\x05\x06)", "a ZIP archive", "extract its files first"),
        (rb"7z\xbc\xaf\x27\x1c", "a 7z archive", "extract its files first"),
        (rb".{257}ustar", "a tar archive", "extract its files first"),
        (rb"PAR1|ARROW1", "a table in Parquet or Arrow", RECORD),
        (rb"SQLite format 3\x00", "an SQLite database", RECORD),
        (rb"\x7fELF|MZ", "a program", RECORD),
        (rb"\x80[\x02-\x05]", "a pickle of Python", RECORD),
        (rb"\s*<\?xml\b", "an XML document", RECORD),
        (
            rb"\s*b(?:'(?:event|data|:)|\"(?:event|data|:))",
            "chunks as Python prints them (b'...')",
            "write the bytes of each chunk to a file that is open in the mode 'wb'",
        ),
    )
)

# The control characters that text does not contain: all but tab, line ends, vertical tab, form feed
# and escape.
CONTROLS: Final = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")

UTF_16: Final = re.compile(rb"(?:[\t\n\r -~]\x00){8}|(?:\x00[\t\n\r -~]){8}")

PRELUDE_BYTES: Final = 12


def reason_against(head: bytes) -> str | None:
    """Return a sentence for a file that contains no recorded stream; None if it may be a body.

    Args:
        head: the whole file, or its first 64 KiB.
    """
    for pattern, looks_like, help in KINDS:
        if pattern.match(head):
            return f"it looks like {looks_like}: {help}"
    if is_aws_event_stream(head):
        return (
            "it looks like an AWS event stream (application/vnd.amazon.eventstream), which is not"
            " read: record the JSON of each event as a line of a file"
        )
    if UTF_16.match(head):
        return (
            "it looks like text in UTF-16 without a byte order mark: convert it first, for example"
            " with `iconv -f UTF-16LE -t UTF-8`"
        )
    if head.lstrip().startswith((b"{", b"[")):
        return f"it looks like a JSON document that contains no events of a stream: {RECORD}"
    if CONTROLS.search(head):
        if is_decodable("br"):
            return f"it looks like binary data: {RECORD}"
        return (
            f"it looks like binary data; if it is compressed with br, install a decoder: {INSTALL}"
        )
    return None


def is_aws_event_stream(head: bytes) -> bool:
    """Whether data begins with the prelude of a message: two sizes and the CRC-32 of both."""
    if len(head) < PRELUDE_BYTES:
        return False
    return crc32(head[:8]) == int.from_bytes(head[8:PRELUDE_BYTES])
