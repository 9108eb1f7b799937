r"""Captured byte logs: chunks of a response body and their times to lines of JSON, and back.

Knows no clock, no file and no messages: times are handed in, lines are handed out.
A capture is JSON Lines in UTF-8, written by appending only:

    {"sansio_stream_capture": 1, "status": 200, "headers": {...}, "request": {...}}
    {"at": 0.812, "text": "event: message_start\ndata: {\"type\":\"message_start\", ..."}
    {"at": 0.845, "base64": "jYoi"}
    {"at": 1.5, "end": "eof"}

`at` is seconds since the request was sent. A chunk is `text` where it is valid UTF-8 by itself and
`base64` where it is not, so its bytes come back exactly. The end is `eof`, or `error` with the
member `error` beside it. A reader skips members and kinds of lines that it does not know; what
changes the meaning of a known line takes a new version number.

Cost: one pass over the bytes, either way; a writer keeps nothing of what it has written.
"""

from __future__ import annotations

import json
import re
from binascii import a2b_base64, b2a_base64
from typing import TYPE_CHECKING, Any, Literal

from attrs import field, frozen

from .errors import printable

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

# The name comes first in every capture, so that a reader can tell by a glance.
_FIRST_BYTES = b'{"sansio_stream_capture":'

# What helps to understand a stream, or to ask its sender about it. An allow-list, because a header
# that nobody has thought of must stay out: credentials, cookies, ids of organisations and
# workspaces. `x-amzn-requestid` is Amazon Bedrock's request-id, `cf-ray` Cloudflare's.
_RECORDED_HEADERS = (
    r"content-type|request-id|x-amzn-requestid|cf-ray"
    r"|retry-after|retry-after-ms|x-should-retry|anthropic-ratelimit-[a-z0-9-]+"
)

# Those of SSE: no line holds one, so that each payload fits on one `data:` line.
_LINE_END = rb"\r\n|\n|\r"

# Thirty years; up to here a float can tell one microsecond from the next.
_LONGEST = 1e9


class CaptureError(ValueError):
    """A damaged file, or one of a later format: `reason`, found at `line` (the first is 1)."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(line, reason)
        self.line = line
        self.reason = reason

    def __str__(self) -> str:
        return f"line {self.line}: {printable(self.reason)}"


def _recorded_headers(headers: Mapping[str, str] | Iterable[tuple[str, str]]) -> dict[str, str]:
    lower = {name.lower(): value for name, value in dict(headers).items()}
    return {name: value for name, value in lower.items() if re.fullmatch(_RECORDED_HEADERS, name)}


# What was asked and what may be answered. It is kept as it is, because the names in it are nobody's
# parameters: a JSON Schema may well have a property that is called `api_key`.
_CONTENT = frozenset({"messages", "system", "input_schema", "schema"})

# Members by which gateways take keys, or headers to send on. Not those that count tokens.
_CALLED_AS_KEYS_ARE = (
    r"(?i)api_?key|access_?key|token(?!s)|secret|passw|credential|authorization|cookie"
    r"|(?:^|[_-])(?:key|auth|headers?)(?:$|[_-])"
)

_MCP_SERVERS = frozenset({"mcp_servers", "mcpServers"})

# No known parameter nests deeper outside of the content. What does is left out: nobody has looked.
_DEPTH = 16


def _without_credentials(request: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return None if request is None else _harmless(dict(request), _DEPTH)


def _harmless(value: Any, depth: int) -> Any:
    """Return a parameter without what may be a credential."""
    items = _items(value)
    if items is None:
        return value
    if not depth:
        return None
    if not isinstance(value, dict):
        return [_harmless(each, depth - 1) for _, each in items]
    return {
        name: _member(name, each, depth - 1)
        for name, each in items
        if not re.search(_CALLED_AS_KEYS_ARE, str(name))
    }


def _member(name: object, value: Any, depth: int) -> Any:
    if name in _CONTENT:
        return value
    if name in _MCP_SERVERS and value is not None:
        return list(_servers(value, depth))
    return _harmless(value, depth)


def _servers(value: Any, depth: int) -> Iterator[dict[str, Any]]:
    """Yield what may be told of each MCP server in a value, whatever contains them."""
    match value:
        case {"url": str()} | {"type": str(), "name": str()}:
            yield _server(value)
        case _:
            for _, each in (_items(value) or ()) if depth else ():
                yield from _servers(each, depth - 1)


def _server(entry: Any) -> dict[str, Any]:
    """Return the members of a server's entry that cannot be a credential."""
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
    """Return what a container holds, by name or number; None for what is none."""
    container: Any = value
    if isinstance(value, dict):
        members: Iterable[tuple[Any, Any]] = container.items()
        return members
    return enumerate(container) if isinstance(value, list | tuple) else None


# As browsers read a URL: any number of slashes, either way round. A host is only what cannot be
# anything else: where an `@` stands behind it, it might be a name before a password. A port goes,
# too, because a password may begin as one does.
_URL = (
    r"(?P<scheme>[Hh][Tt][Tt][Pp][Ss]?):[/\\]*(?:[^/\\?#@]*@)?"
    r"(?P<host>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]*)?(?:[/\\?#][^@]*)?"
)


@frozen(kw_only=True)
class CaptureHeader:
    """What is known before the body's first byte. It cannot hold a credential.

    Of the response's `headers` it keeps, under lower-case names, content-type, request-id,
    x-amzn-requestid, cf-ray, retry-after, retry-after-ms, x-should-retry, anthropic-ratelimit-*.
    `request` is the request's body. Of its `mcp_servers`, whatever contains them, it keeps `type`,
    `name`, the scheme and the host of `url`, and `tool_configuration`, as a list. Parameters that
    are called as keys are (`api_key`, `headers`, ...) are left out. `messages`, `system` and the
    schemas of tools are kept as they are.
    """

    version: int = field(default=1, init=False)
    status: int | None = None
    headers: dict[str, str] = field(factory=dict[str, str], converter=_recorded_headers)
    request: dict[str, Any] | None = field(default=None, converter=_without_credentials)


@frozen
class Chunk:
    """Bytes that were read at once; `at` is None where the file has no times."""

    at: float | None
    data: bytes


@frozen
class CaptureEnd:
    """How the body ended: cleanly where `error` is None, else by what `error` says."""

    at: float | None
    error: str | None


@frozen
class Capture:
    """A whole file. `end` is None where the recording itself was cut, by a crash for instance.

    `source` is the kind of file: a capture, the plain body of a response (one chunk), or one JSON
    payload a line (a chunk each). Only a capture has times and a header worth reading.
    """

    header: CaptureHeader
    chunks: tuple[Chunk, ...]
    end: CaptureEnd | None
    source: Literal["capture", "body", "payloads"] = "capture"

    @property
    def body(self) -> bytes:
        """All chunks joined."""
        return b"".join(chunk.data for chunk in self.chunks)


class CaptureWriter:
    """The lines of one capture, to be appended to a file in the order they are returned.

    The first call returns the header line too, whichever method it is. After `end` every call
    raises RuntimeError. `at` is seconds since the request was sent, kept to the microsecond;
    ValueError for one that is not a number from 0 to 1e9. A call that raises changes nothing.
    """

    def __init__(self, header: CaptureHeader) -> None:
        """Raise TypeError or ValueError for a `header.request` that JSON cannot hold."""
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
        """Return the header line, for a file that shall have it before any chunk comes."""
        return self._append(b"")

    def chunk(self, data: bytes | bytearray | memoryview, at: float) -> bytes:
        """Return the line of a chunk."""
        data = bytes(memoryview(data))  # bytes(3) would be three NULs, memoryview(3) raises
        try:
            return self._append(_line({"at": _seconds(at), "text": data.decode()}))
        except UnicodeDecodeError:
            base64 = b2a_base64(data, newline=False).decode()
            return self._append(_line({"at": _seconds(at), "base64": base64}))

    def end(self, at: float, error: str | None = None) -> bytes:
        """Return the last line: the body ended cleanly, or by `error`."""
        how = {"end": "eof"} if error is None else {"end": "error", "error": error}
        lines = self._append(_line({"at": _seconds(at), **how}))
        self._ended = True
        return lines

    def _append(self, line: bytes) -> bytes:
        if self._ended:
            raise RuntimeError("the end of this capture was written already")
        lines, self._header_line = self._header_line + line, b""
        return lines


def parse_capture(data: bytes | bytearray | memoryview) -> Capture:
    """Read a whole file; its first bytes tell which of three kinds it is.

    A capture begins with the member `sansio_stream_capture`. Anything else that begins with `{` is
    one JSON payload a line, and each becomes a frame: `event:` and its type, if that is a printable
    string, and `data:` and the line as it is. The rest is the body of a response, byte for byte.

    A last line that was cut off is what a crash leaves behind: it is dropped, and `end` is None.
    Any other damage raises CaptureError, and nothing else is raised for any bytes.
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
                raise CaptureError(number, "a line after the end")
            case Chunk():
                chunks.append(entry)
            case _:
                end = entry
    return Capture(header, tuple(chunks), end)


def _header(value: Any) -> CaptureHeader:
    known: Any = {"status": None, "headers": {}, "request": None, **value}
    match known:
        case {"sansio_stream_capture": int(version)} if version > 1:
            raise ValueError(f"format version {version}; this reader knows version 1")
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
            raise ValueError("a header with members of another type")


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
            raise ValueError("a chunk or an end with members missing or of another type")
        case {"sansio_stream_capture": _}:
            raise ValueError("a second header: two captures in one file")
        case {}:
            return None  # a kind of line that a later writer knows
        case _:
            raise ValueError("not a JSON object")


def _parse_payloads(data: bytes) -> Capture:
    rows, cut = _json_lines(data)
    frames = (_event_line(value) + b"data: %b\n\n" % line for _, line, value in rows)
    chunks = tuple(Chunk(None, frame) for frame in frames)
    return Capture(CaptureHeader(), chunks, None if cut else CaptureEnd(None, None), "payloads")


def _event_line(payload: Any) -> bytes:
    match payload:
        # Not printable are line ends, which would begin another field, and lone surrogates, which
        # have no bytes.
        case {"type": str(name)} if name.isprintable():
            return f"event: {name}\n".encode()
        case _:
            return b""


def _json_lines(data: bytes) -> tuple[list[tuple[int, bytes, Any]], bool]:
    """Return (number, line, value) of each line that is not blank; and was the last one cut off?"""
    rows: list[tuple[int, bytes, Any]] = []
    lines = re.split(_LINE_END, data)
    for number, line in enumerate(lines, 1):
        try:
            if line.strip():
                # Decoded here, because json.loads takes some bytes for UTF-16 or UTF-32.
                rows.append((number, line, json.loads(line.decode())))
        except RecursionError as error:
            raise CaptureError(number, "JSON nested too deeply") from error
        except ValueError as error:
            if number == len(lines):
                return rows, True
            raise CaptureError(number, f"not JSON in UTF-8: {error}") from error
    return rows, False


def _line(members: Mapping[str, Any]) -> bytes:
    # A lone surrogate, of an error's text for instance, has no UTF-8. What "backslashreplace"
    # writes instead is JSON's own escape for it.
    text = json.dumps(members, ensure_ascii=False, allow_nan=False)
    return text.encode(errors="backslashreplace") + b"\n"


def _seconds(at: object) -> float:
    if isinstance(at, int | float) and not isinstance(at, bool) and 0 <= at <= _LONGEST:
        return round(float(at), 6)
    raise ValueError("a time that is not a number of seconds from 0 to 1e9")
