r"""Captures: the chunks of a response body, with their times, as lines of JSON and back.

A capture is JSON Lines in UTF-8. A writer only ever appends lines:

    {"sansio_stream_capture": 1, "status": 200, "headers": {...}, "request": {...}}
    {"at": 0.812, "text": "event: message_start\ndata: {\"type\":\"message_start\", ..."}
    {"at": 0.845, "base64": "jYoi"}
    {"at": 1.5, "end": "eof"}

`at` is seconds since the request was sent. A chunk that is valid UTF-8 by itself is stored as
`text`, any other chunk as `base64`. Either way the reader returns exactly the same bytes. `end` is
"eof" if the body ended cleanly. Otherwise it is "error", and the member `error` has the text of the
error.

A reader ignores members and kinds of lines that it does not know. A change to the meaning of a
known line needs a new version number.

This module reads no clock, opens no file and knows nothing of messages. The caller passes the times
and writes the returned lines.

Cost: one pass over the bytes to write, and one to read. A writer keeps nothing of what it has
written.
"""

from __future__ import annotations

import json
import re
from binascii import a2b_base64, b2a_base64
from typing import TYPE_CHECKING, Any, Literal

import attrs

from .errors import printable
from .frozen import HashableValue

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = [
    "Capture",
    "CaptureEnd",
    "CaptureError",
    "CaptureHeader",
    "CaptureWriter",
    "Chunk",
    "parse_capture",
]

# Every capture begins with this member, so that its first bytes identify the format.
_FIRST_BYTES = b'{"sansio_stream_capture":'

# The headers that help to understand a stream, or to ask its sender about it. This is an
# allow-list, because an unforeseen header may contain a credential, a cookie, or the id of an
# organisation or a workspace. `x-amzn-requestid` is the request id of Amazon Bedrock, `cf-ray` is
# that of Cloudflare.
_RECORDED_HEADERS = (
    r"content-type|request-id|x-amzn-requestid|cf-ray"
    r"|retry-after|retry-after-ms|x-should-retry|anthropic-ratelimit-[a-z0-9-]+"
)

# The line ends of SSE. No line contains one, so each payload fits on one `data:` line.
_LINE_END = rb"\r\n|\n|\r"

# In seconds; about thirty years. Up to here a float distinguishes one microsecond from the next.
_MAX_SECONDS = 1e9


class CaptureError(ValueError):
    """The capture is damaged or has a later format version.

    Attributes:
        line: the number of the line with the fault. The first line is 1.
        reason: what is wrong with the line.
    """

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(line, reason)
        self.line = line
        self.reason = reason

    def __str__(self) -> str:
        return f"line {self.line}: {printable(self.reason)}"


def _recorded_headers(headers: Mapping[str, str] | Iterable[tuple[str, str]]) -> dict[str, str]:
    lower = {name.lower(): value for name, value in dict(headers).items()}
    return {name: value for name, value in lower.items() if re.fullmatch(_RECORDED_HEADERS, name)}


# The parameters with the content of the request, and the schemas for answers and tools. They
# are kept unchanged, because the names inside them are not names of parameters: a JSON Schema may
# well have a property called `api_key`.
_CONTENT = frozenset({"messages", "system", "input_schema", "schema"})

# The names of members in which gateways accept keys, or headers to forward. The pattern does not
# match members that count tokens.
_CREDENTIAL_NAME = (
    r"(?i)api_?key|access_?key|token(?!s)|secret|passw|credential|authorization|cookie"
    r"|(?:^|[_-])(?:key|auth|headers?)(?:$|[_-])"
)

_MCP_SERVERS = frozenset({"mcp_servers", "mcpServers"})

# No known parameter outside the content nests deeper. Anything deeper is dropped, because it is not
# searched for credentials.
_MAX_DEPTH = 16


def _without_credentials(request: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return None if request is None else _redacted(dict(request), _MAX_DEPTH)


def _redacted(value: Any, depth: int) -> Any:
    """Return a parameter without members that may contain a credential.

    A container that is nested more than `depth` levels deep becomes None.
    """
    items = _items(value)
    if items is None:
        return value
    if not depth:
        return None
    if not isinstance(value, dict):
        return [_redacted(each, depth - 1) for _, each in items]
    return {
        name: _member(name, each, depth - 1)
        for name, each in items
        if not re.search(_CREDENTIAL_NAME, str(name))
    }


def _member(name: object, value: Any, depth: int) -> Any:
    if name in _CONTENT:
        return value
    if name in _MCP_SERVERS and value is not None:
        return list(_servers(value, depth))
    return _redacted(value, depth)


def _servers(value: Any, depth: int) -> Iterator[dict[str, Any]]:
    """Yield the redacted entry of each MCP server in `value`, whatever containers they are in."""
    match value:
        case {"url": str()} | {"type": str(), "name": str()}:
            yield _redacted_server(value)
        case _:
            for _, each in (_items(value) or ()) if depth else ():
                yield from _servers(each, depth - 1)


def _redacted_server(entry: Any) -> dict[str, Any]:
    """Return the members of a server's entry that cannot contain a credential."""
    kept: dict[str, Any] = {}
    for name, value in entry.items():
        match name, value:
            case "type" | "name", str():
                kept[name] = value
            case "url", str() if origin := re.fullmatch(_URL, value, re.DOTALL):
                kept[name] = f"{origin['scheme']}://{origin['host']}"
            case "tool_configuration", dict():
                kept[name] = dict(_tool_configuration(value))
            case _:
                pass
    return kept


def _tool_configuration(value: Any) -> Iterator[tuple[str, Any]]:
    for name, each in value.items():
        if name == "enabled" and isinstance(each, bool):
            yield name, each
        elif name == "allowed_tools":
            yield name, [tool for _, tool in _items(each) or () if isinstance(tool, str)]


def _items(value: Any) -> Iterable[tuple[Any, Any]] | None:
    """Return the (name or index, value) pairs of a container; None if it is not a container."""
    container: Any = value
    if isinstance(value, dict):
        members: Iterable[tuple[Any, Any]] = container.items()
        return members
    return enumerate(container) if isinstance(value, list | tuple) else None


# Browsers accept any number of slashes or backslashes after the scheme, and so does this pattern.
# It does not match if an `@` follows the host, because the "host" may then be a user name before a
# password. The port is not kept, because digits after the colon may be the start of a password.
_URL = (
    r"(?P<scheme>[Hh][Tt][Tt][Pp][Ss]?):[/\\]*(?:[^/\\?#@]*@)?"
    r"(?P<host>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]*)?(?:[/\\?#][^@]*)?"
)


@attrs.frozen(eq=False, repr=False, kw_only=True)
class CaptureHeader(HashableValue):
    """The facts that are known before the first byte of the body, without any credential.

    Attributes:
        version: the version of the format.
        status: the HTTP status of the response, or None if it is unknown.
        headers: the headers of the response, under lower-case names. Only these are kept:
            content-type, request-id, x-amzn-requestid, cf-ray, retry-after, retry-after-ms,
            x-should-retry, anthropic-ratelimit-*.
        request: the body of the request, or None if it is unknown. Parameters whose names are
            those of credentials (`api_key`, `headers`, ...) are dropped. `mcp_servers` becomes a
            list of servers, whatever container they were in. A server keeps only its `type`,
            `name` and `tool_configuration`, and the scheme and host of its `url`. `messages`,
            `system` and the schemas of tools are kept unchanged.
    """

    version: int = attrs.field(default=1, init=False)
    status: int | None = None
    headers: dict[str, str] = attrs.field(factory=dict[str, str], converter=_recorded_headers)
    request: dict[str, Any] | None = attrs.field(default=None, converter=_without_credentials)


@attrs.frozen(eq=False, repr=False)
class Chunk(HashableValue):
    """The bytes of one read.

    Attributes:
        at: seconds since the request was sent; None if the file has no times.
        data: the bytes.
    """

    at: float | None
    data: bytes


@attrs.frozen(eq=False, repr=False)
class CaptureEnd(HashableValue):
    """How the body ended.

    Attributes:
        at: seconds since the request was sent; None if the file has no times.
        error: the text of the error that ended the body; None if the body ended cleanly.
    """

    at: float | None
    error: str | None


@attrs.frozen(eq=False, repr=False)
class Capture(HashableValue):
    """The contents of a file.

    Attributes:
        header: the header; empty unless `source` is "capture".
        chunks: the chunks, in order. Only those of a capture have times.
        end: how the body ended; None if the recording was cut off, for instance by a crash.
        source: the kind of file. "capture": a capture. "body": the plain body of a response, as one
            chunk. "payloads": one JSON payload per line, each as one chunk.
    """

    header: CaptureHeader
    chunks: tuple[Chunk, ...]
    end: CaptureEnd | None
    source: Literal["capture", "body", "payloads"] = "capture"

    @property
    def body(self) -> bytes:
        """The bytes of all chunks, joined."""
        return b"".join(chunk.data for chunk in self.chunks)


class CaptureWriter:
    """A formatter for one capture. The caller appends the returned lines to a file, in order.

    The first call, of whichever method, also returns the header line. After `end`, every call
    raises RuntimeError. `at` is seconds since the request was sent; it is rounded to the
    microsecond. A method raises ValueError if `at` is not a number from 0 to 1e9. A call that
    raises changes nothing.
    """

    def __init__(self, header: CaptureHeader) -> None:
        """Format the header line.

        Raises:
            TypeError: if `header.request` contains an object of a type that JSON does not have.
            ValueError: if `header.request` contains a value that JSON cannot hold, such as NaN.
        """
        self._header_line = _line(
            {
                "sansio_stream_capture": header.version,
                "status": header.status,
                "headers": header.headers,
                "request": header.request,
            }
        )
        self._ended = False

    def begin(self) -> bytes:
        """Return the header line, to write it before the first chunk arrives."""
        return self._append(b"")

    def chunk(self, data: bytes | bytearray | memoryview, at: float) -> bytes:
        """Return the line for one chunk."""
        data = bytes(memoryview(data))  # bytes(3) would give three NULs; memoryview(3) raises
        try:
            return self._append(_line({"at": _seconds(at), "text": data.decode()}))
        except UnicodeDecodeError:
            base64 = b2a_base64(data, newline=False).decode()
            return self._append(_line({"at": _seconds(at), "base64": base64}))

    def end(self, at: float, error: str | None = None) -> bytes:
        """Return the last line. `error` is the text of the error that ended the body, if any."""
        how = {"end": "eof"} if error is None else {"end": "error", "error": error}
        lines = self._append(_line({"at": _seconds(at), **how}))
        self._ended = True
        return lines

    def _append(self, line: bytes) -> bytes:
        if self._ended:
            raise RuntimeError("the end of this capture has already been written")
        lines, self._header_line = self._header_line + line, b""
        return lines


def parse_capture(data: bytes | bytearray | memoryview) -> Capture:
    """Parse a whole file. Its first bytes decide which of three kinds it is.

    * A file that begins with the member `sansio_stream_capture` is a capture.
    * Any other file that begins with `{`, after optional whitespace, has one JSON payload per line.
      Each line becomes a frame. The frame has the line unchanged as its `data:`. It has the type of
      the payload as its `event:`, if that type is a printable string.
    * Any other file is the body of a response, byte for byte.

    A crash may cut off the last line. Such a line is dropped, and `end` is None.

    Raises:
        CaptureError: if the file has any other damage. No bytes raise any other exception.
    """
    data = bytes(memoryview(data))
    if data.startswith(_FIRST_BYTES) or (data and _FIRST_BYTES.startswith(data)):
        return _parse_recording(data)
    if data.lstrip().startswith(b"{"):
        return _parse_payloads(data)
    chunks = (Chunk(None, data),) if data else ()
    return Capture(CaptureHeader(), chunks, CaptureEnd(None, None), "body")


def _parse_recording(data: bytes) -> Capture:
    header = CaptureHeader()
    chunks: list[Chunk] = []
    end: CaptureEnd | None = None
    rows, _ = _json_lines(data)
    for number, _, value in rows:
        try:
            entry = _header(value) if number == 1 else _entry(value)
        except ValueError as error:
            raise CaptureError(number, str(error)) from error
        match entry:
            case None:
                pass
            case CaptureHeader():
                header = entry
            case _ if end:
                raise CaptureError(number, "there is a line after the end of the capture")
            case Chunk():
                chunks.append(entry)
            case _:
                end = entry
    return Capture(header, tuple(chunks), end)


def _header(value: Any) -> CaptureHeader:
    known: Any = {"status": None, "headers": {}, "request": None, **value}
    match known:
        case {"sansio_stream_capture": int(version)} if version > 1:
            raise ValueError(f"the format version is {version}; this reader supports version 1")
        case {
            "sansio_stream_capture": 1,
            "status": int() | None,
            "headers": dict(),
            "request": dict() | None,
        } if all(isinstance(text, str) for text in known["headers"].values()):
            return CaptureHeader(
                status=known["status"], headers=known["headers"], request=known["request"]
            )
        case _:
            raise ValueError("a member of the header has the wrong type")


def _entry(value: Any) -> Chunk | CaptureEnd | None:
    match value:
        case {"at": at, "text": str(text)}:
            return Chunk(_seconds(at), text.encode())
        case {"at": at, "base64": str(text)}:
            return Chunk(_seconds(at), a2b_base64(text, strict_mode=True))
        case {"at": at, "end": "eof"}:
            return CaptureEnd(_seconds(at), None)
        case {"at": at, "end": "error", "error": str(text)}:
            return CaptureEnd(_seconds(at), text)
        case {"text": _} | {"base64": _} | {"end": _}:
            raise ValueError("a member of a chunk or an end is missing or has the wrong type")
        case {"sansio_stream_capture": _}:
            raise ValueError("there is a second header, so the file has two captures")
        case {}:
            return None  # a kind of line that only later versions write
        case _:
            raise ValueError("not a JSON object")


def _parse_payloads(data: bytes) -> Capture:
    rows, cut = _json_lines(data)
    frames = (_event_line(value) + b"data: %b\n\n" % line for _, line, value in rows)
    chunks = tuple(Chunk(None, frame) for frame in frames)
    return Capture(CaptureHeader(), chunks, None if cut else CaptureEnd(None, None), "payloads")


def _event_line(payload: Any) -> bytes:
    match payload:
        # An unprintable name may contain a line end, which would begin another field, or a lone
        # surrogate, which UTF-8 cannot encode.
        case {"type": str(name)} if name.isprintable():
            return f"event: {name}\n".encode()
        case _:
            return b""


def _json_lines(data: bytes) -> tuple[list[tuple[int, bytes, Any]], bool]:
    """Return (number, line, value) of each non-blank line, and whether the last line is cut off."""
    rows: list[tuple[int, bytes, Any]] = []
    lines = re.split(_LINE_END, data)
    for number, line in enumerate(lines, 1):
        try:
            if line.strip():
                # Decode first: given bytes, json.loads would decode some as UTF-16 or UTF-32.
                rows.append((number, line, json.loads(line.decode())))
        except RecursionError as error:
            raise CaptureError(number, "JSON nested too deeply") from error
        except ValueError as error:
            if number == len(lines):
                return rows, True
            raise CaptureError(number, f"not JSON in UTF-8: {error}") from error
    return rows, False


def _line(members: Mapping[str, Any]) -> bytes:
    # UTF-8 cannot encode a lone surrogate, which the text of an error may contain. The text that
    # "backslashreplace" writes instead is also JSON's escape for that surrogate.
    text = json.dumps(members, ensure_ascii=False, allow_nan=False)
    return text.encode(errors="backslashreplace") + b"\n"


def _seconds(at: object) -> float:
    if isinstance(at, int | float) and not isinstance(at, bool) and 0 <= at <= _MAX_SECONDS:
        return round(float(at), 6)
    raise ValueError("the time is not a number of seconds from 0 to 1e9")
