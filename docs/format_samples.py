"""A sample of each format in which other programs keep streams. All samples have the same stream.

The samples are built here, in the way in which each program writes its files.
"""

import base64
import gzip
import itertools
import json
import textwrap
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

import attrs

__all__ = ["BODY", "ERROR", "EVENTS", "MESSAGE", "SAMPLES", "TEXT", "Sample"]

# The stream.

TEXT: Final = "Two moments... now. It rains in K\u00f6ln. \N{UMBRELLA}"
INPUT: Final = {"city": "K\u00f6ln", "days": 2}
MESSAGE: Final[dict[str, Any]] = {
    "id": "msg_01sample",
    "type": "message",
    "role": "assistant",
    "model": "claude-sample-1",
    "content": [
        {"type": "text", "text": TEXT},
        {"type": "tool_use", "id": "toolu_01", "name": "forecast", "input": INPUT},
    ],
    "stop_reason": "tool_use",
    "stop_sequence": None,
    "usage": {"input_tokens": 21, "output_tokens": 34},
}
ERROR: Final = {
    "type": "error",
    "error": {"type": "overloaded_error", "message": "Overloaded"},
    "request_id": "req_01sample",
}
REQUEST: Final[dict[str, Any]] = {
    "model": "claude-sample-1",
    "max_tokens": 100,
    "stream": True,
    "messages": [{"role": "user", "content": "What is the weather in Cologne?"}],
}


def delta(index: int, **members: str) -> dict[str, Any]:
    """Return a content_block_delta."""
    return {"type": "content_block_delta", "index": index, "delta": members}


EVENTS: Final[list[dict[str, Any]]] = [
    {
        "type": "message_start",
        "message": {
            **MESSAGE,
            "content": [],
            "stop_reason": None,
            "usage": {"input_tokens": 21, "output_tokens": 1},
        },
    },
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "ping"},
    delta(0, type="text_delta", text=TEXT[:14]),
    delta(0, type="text_delta", text=TEXT[14:]),
    {"type": "content_block_stop", "index": 0},
    {
        "type": "content_block_start",
        "index": 1,
        "content_block": {"type": "tool_use", "id": "toolu_01", "name": "forecast", "input": {}},
    },
    delta(1, type="input_json_delta", partial_json='{"city": "K\u00f6'),
    delta(1, type="input_json_delta", partial_json='ln", "days": 2}'),
    {"type": "content_block_stop", "index": 1},
    {
        "type": "message_delta",
        "delta": {"stop_reason": "tool_use", "stop_sequence": None},
        "usage": {"output_tokens": 34},
    },
    {"type": "message_stop"},
]


def compact(value: object) -> str:
    """Return compact JSON text."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


FRAMES: Final = [f"event: {each['type']}\ndata: {compact(each)}\n\n".encode() for each in EVENTS]
BODY: Final = b"".join(FRAMES)
# Three reads of a socket. The cuts are within frames, and one within a character.
CUTS: Final = (0, 100, BODY.index("\u00f6".encode()) + 1, len(BODY))
READS: Final = [BODY[start:end] for start, end in itertools.pairwise(CUTS)]

TYPE: Final = "text/event-stream; charset=utf-8"
HEAD: Final = f"HTTP/1.1 200 OK\r\ncontent-type: {TYPE}\r\nrequest-id: req_01sample\r\n".encode()
CHUNKED: Final = b"transfer-encoding: chunked\r\n\r\n"


# What curl prints, and dumps of a socket.


def chunked(reads: Iterable[bytes]) -> bytes:
    """Return a body in the chunked coding."""
    return b"".join(b"%x\r\n%b\r\n" % (len(read), read) for read in [*reads, b""])


def verbose() -> bytes:
    """Return what `curl -v ... 2>&1 | cat` prints: notes and the body."""
    notes = "* Connected to localhost (127.0.0.1) port 8080\n> POST /v1/messages HTTP/1.1\r\n"
    head = b"".join(b"< " + line for line in (HEAD + CHUNKED).splitlines(keepends=True))
    meter = b"\r100   900    0   900    0     0   9000      0 --:--:-- --:--:-- --:--:--  9000\n"
    reads = b"".join(b"{ [%d bytes data]\n%b" % (len(read), read) for read in READS)
    left = b"* Connection #0 to host localhost left intact\n"
    return f"{notes}> host: localhost\r\n> \r\n".encode() + head + reads + meter + left


@attrs.frozen
class Record:
    """A record of `curl --trace`: its title, its time and its bytes."""

    title: str
    time: str
    data: bytes


def records() -> Iterator[Record]:
    """Yield the records of a request and its response. It passes midnight."""
    yield Record(
        "=> Send header",
        "23:59:59.500000",
        b"POST /v1/messages HTTP/1.1\r\nhost: localhost\r\n\r\n",
    )
    yield Record("=> Send data", "23:59:59.500100", json.dumps(REQUEST).encode())
    for line in (HEAD + CHUNKED).splitlines(keepends=True):
        yield Record("<= Recv header", "00:00:00.100000", line)
    for number, read in enumerate(READS):
        data = b"%x\r\n%b\r\n" % (len(read), read)
        yield Record("<= Recv data", f"00:00:0{number}.250000", data)
    yield Record("<= Recv data", "00:00:03.000000", b"0\r\n\r\n")


def trace(rows: Callable[[bytes], Iterator[str]]) -> bytes:
    """Return a dump of `curl --trace-time`, with `== Info` lines."""
    lines = ["23:59:59.400000 == Info: Connected to localhost (127.0.0.1) port 8080"]
    for each in records():
        size = len(each.data)
        lines.append(f"{each.time} {each.title}, {size} bytes (0x{size:x})")
        lines.extend(rows(each.data))
    return "\n".join([*lines, "00:00:03.000100 == Info: Closing connection", ""]).encode()


def hex_rows(data: bytes) -> Iterator[str]:
    """Yield the rows of `curl --trace`: 16 bytes each."""
    for at in range(0, len(data), 16):
        row = data[at : at + 16]
        text = "".join(chr(each) if 32 <= each < 127 else "." for each in row)
        yield f"{at:04x}: {''.join(f'{each:02x} ' for each in row):48}{text}"


def ascii_rows(data: bytes) -> Iterator[str]:
    """Yield the rows of `curl --trace-ascii`: 64 bytes, or fewer that end before a CR LF."""
    at = 0
    while at < len(data):
        line_end = data.find(b"\r\n", at, at + 66)
        size = line_end - at if line_end >= 0 else 64
        row = data[at : at + size]
        yield f"{at:04x}: {''.join(chr(each) if 32 <= each < 127 else '.' for each in row)}"
        at += size + 2 * (line_end >= 0)


# HAR files.


def pairs(**headers: str) -> list[dict[str, str]]:
    """Return headers as a HAR file has them."""
    return [{"name": name.replace("_", "-"), "value": value} for name, value in headers.items()]


def har_entry(content: dict[str, Any], **members: Any) -> dict[str, Any]:
    """Return an entry of a HAR file."""
    return {
        "startedDateTime": "2026-01-02T03:04:05.500Z",
        "time": 2600.0,
        "request": {
            "method": "POST",
            "url": "https://api.example/v1/messages",
            "headers": pairs(content_type="application/json"),
            "postData": {"mimeType": "application/json", "text": json.dumps(REQUEST)},
        },
        "response": {
            "status": 200,
            "statusText": "OK",
            "headers": pairs(content_type=TYPE, request_id="req_01sample"),
            "content": {"size": len(BODY), "mimeType": TYPE, **content},
        },
        "timings": {"blocked": -1, "connect": -1, "send": 1.0, "wait": 599.0, "receive": 2000.0},
        **members,
    }


PAGE: Final = {
    "startedDateTime": "2026-01-02T03:04:05.000Z",
    "request": {"method": "GET", "url": "https://app.example/", "headers": []},
    "response": {
        "status": 200,
        "headers": pairs(content_type="text/html"),
        "content": {"size": 13, "mimeType": "text/html", "text": "<html></html>"},
    },
}


def har(creator: str, *entries: dict[str, Any], **members: Any) -> bytes:
    """Return a HAR file. Its first entry is a web page."""
    log = {
        "version": "1.2",
        "creator": {"name": creator, "version": "1"},
        **members,
        "entries": [PAGE, *entries],
    }
    return json.dumps({"log": log}, indent=2).encode()


def in_base64(data: bytes) -> str:
    """Return the base64 of bytes."""
    return base64.b64encode(data).decode()


def event_source_har() -> bytes:
    """Return what Chrome writes for an EventSource: the events with their times, and no body."""
    begin = 1767323045.5  # the `startedDateTime` of the entry
    messages = [
        {
            "time": begin + 0.6 + 0.1 * number,
            "eventName": each["type"],
            "eventId": "",
            "data": compact(each),
        }
        for number, each in enumerate(EVENTS)
    ]
    return har("WebInspector", har_entry({}, _eventSourceMessages=messages))


def polly(content: dict[str, Any]) -> bytes:
    """Return a recording of Polly.js. It encodes a compressed body as a list of chunks."""
    return har("Polly.JS", har_entry(content, _id="1", _order=0), _recordingName="sample")


# Cassettes.


def vcrpy_yaml(body: bytes, extra_header: str = "") -> bytes:
    """Return a cassette of vcrpy, also used by pytest-recording. `body` is a YAML value."""
    head = f"""\
        interactions:
        - request:
            body: '{json.dumps(REQUEST)}'
            headers:
              content-type:
              - application/json
            method: POST
            uri: https://api.example/v1/messages
          response:
            headers:{extra_header}
              Content-Type:
              - {TYPE}
              request-id:
              - req_01sample
            status:
              code: 200
              message: OK
            body:
              string: """
    return textwrap.dedent(head).rstrip(" ").encode() + b" " + body + b"\nversion: 1\n"


def yaml_text(text: str) -> bytes:
    """Return a text as a double-quoted scalar of YAML, which has the escapes of JSON."""
    return json.dumps(text).encode()


def vcrpy_binary() -> bytes:
    """Return a cassette of vcrpy with a compressed body."""
    return vcrpy_yaml(
        f"!!binary |\n        {in_base64(gzip.compress(BODY, mtime=0))}".encode(),
        "\n              content-encoding:\n              - gzip",
    )


def vcrpy_json() -> bytes:
    """Return a cassette of vcrpy with its serializer for JSON."""
    interaction = {
        "request": {"method": "POST", "uri": "https://api.example/", "body": json.dumps(REQUEST)},
        "response": {
            "status": {"code": 200, "message": "OK"},
            "headers": {"Content-Type": [TYPE], "request-id": ["req_01sample"]},
            "body": {"string": BODY.decode()},
        },
    }
    return json.dumps({"version": 1, "interactions": [interaction]}, indent=4).encode()


def ruby_vcr() -> bytes:
    """Return a cassette of VCR for Ruby, with the body in base64."""
    text = f"""\
        ---
        http_interactions:
        - request:
            method: post
            uri: https://api.example/v1/messages
            body:
              encoding: UTF-8
              string: '{json.dumps(REQUEST)}'
          response:
            status:
              code: 200
              message: OK
            headers:
              Content-Type:
              - {TYPE}
              Request-Id:
              - req_01sample
            body:
              encoding: ASCII-8BIT
              base64_string: |
                {in_base64(BODY)}
          recorded_at: Fri, 02 Jan 2026 03:04:05 GMT
        recorded_with: VCR 6.2.0
        """
    return textwrap.dedent(text).encode()


# Events in JSON.


def lines(values: Iterable[object]) -> bytes:
    """Return one JSON value on each line."""
    return "".join(f"{compact(value)}\n" for value in values).encode()


def claude_code() -> bytes:
    """Return a log of Claude Code with partial messages."""
    ids = {"session_id": "7f3c", "uuid": "1"}
    return lines(
        [
            {"type": "system", "subtype": "init", **ids, "tools": ["Bash"]},
            *(
                {"type": "stream_event", "event": each, "parent_tool_use_id": None, **ids}
                for each in EVENTS
            ),
            {"type": "assistant", "message": MESSAGE, "parent_tool_use_id": None, **ids},
            {"type": "result", "subtype": "success", **ids},
        ]
    )


def claude_trace() -> bytes:
    """Return a log of claude-trace."""
    return lines(
        [
            {
                "request": {
                    "timestamp": 1767323045.5,
                    "method": "POST",
                    "url": "https://api.example/v1/messages",
                    "headers": {"content-type": "application/json"},
                    "body": REQUEST,
                },
                "response": {
                    "timestamp": 1767323046.1,
                    "status_code": 200,
                    "headers": {"content-type": TYPE, "request-id": "req_01sample"},
                    "body_raw": BODY.decode(),
                },
                "logged_at": "2026-01-02T03:04:08.100Z",
            }
        ]
    )


def capture() -> bytes:
    """Return a capture of this library."""
    return lines(
        [
            {"sansio_stream_capture": 1, "status": 200, "headers": {}, "request": REQUEST},
            *(
                {"at": 0.6 + number / 10, "base64": in_base64(read)}
                for number, read in enumerate(READS)
            ),
            {"at": 2.6, "end": "eof"},
        ]
    )


# The samples.


@attrs.frozen
class Sample:
    """A file of some format.

    Attributes:
        format: the format, as a cell of the documentation's table.
        kind: the name of the format as the command shows it.
        data: the content of the file.
    """

    format: str
    kind: str
    data: bytes = attrs.field(repr=False)


SAMPLES: Final[dict[str, Sample]] = {
    "capture": Sample("capture (`record`, `record_to=`)", "capture", capture()),
    "body": Sample("the plain body, as `curl -N` prints it", "plain body", BODY),
    "crlf": Sample(
        "the same with CRLF or CR, or with a byte order mark",
        "plain body",
        b"\xef\xbb\xbf" + BODY.replace(b"\n", b"\r\n"),
    ),
    "utf-16": Sample(
        "text in UTF-16 with a byte order mark", "plain body", BODY.decode().encode("utf-16")
    ),
    "gzip": Sample(
        "any format here, compressed with gzip, deflate, zstd or br",
        "plain body",
        gzip.compress(BODY, mtime=0),
    ),
    "logged": Sample(
        "an event stream in a log: a prefix before each line",
        "log",
        b"".join(b"12:30:01 INFO " + line for line in BODY.splitlines(keepends=True)),
    ),
    "curl-i": Sample(
        "`curl -i`, also with redirects, `100 Continue`, a proxy", "curl -i", HEAD + b"\r\n" + BODY
    ),
    "nc": Sample("`curl -i --raw`, or a dump by `nc`", "curl -i", HEAD + CHUNKED + chunked(READS)),
    "curl-raw": Sample("`curl --raw`", "curl --raw", chunked(READS)),
    "curl-v": Sample("`curl -v` with the body, and `curl -iv`", "curl -v", verbose()),
    "trace": Sample(
        "`curl --trace FILE`, also with `--trace-time`", "curl --trace", trace(hex_rows)
    ),
    "trace-ascii": Sample(
        "`curl --trace-ascii FILE`, also with `--trace-time`",
        "curl --trace-ascii",
        trace(ascii_rows),
    ),
    "har-browser": Sample(
        "HAR of Chrome, Firefox, Safari, Playwright",
        "HAR",
        har("Firefox", har_entry({"text": BODY.decode()})),
    ),
    "har-event-source": Sample("HAR of Chrome, of an `EventSource`", "HAR", event_source_har()),
    "har-mitmproxy": Sample(
        "HAR of mitmproxy",
        "HAR",
        har("mitmproxy", har_entry({"text": in_base64(BODY), "encoding": "base64"})),
    ),
    "polly": Sample(
        "recording of Polly.js, also compressed",
        "HAR",
        polly(
            {
                "encoding": "base64",
                "_isBinary": True,
                "text": json.dumps([in_base64(gzip.compress(BODY, mtime=0))]),
            }
        ),
    ),
    "vcr-yaml": Sample(
        "cassette of vcrpy, pytest-recording, go-vcr in YAML",
        "VCR cassette",
        vcrpy_yaml(yaml_text(BODY.decode())),
    ),
    "vcr-binary": Sample(
        "the same with a compressed body (`!!binary`)", "VCR cassette", vcrpy_binary()
    ),
    "vcr-json": Sample("cassette of vcrpy, betamax, ExVCR in JSON", "VCR cassette", vcrpy_json()),
    "vcr-ruby": Sample("cassette of VCR for Ruby", "VCR cassette", ruby_vcr()),
    "payloads": Sample("one JSON payload of an event per line", "payloads", lines(EVENTS)),
    "array": Sample(
        "a JSON array of events", "JSON array of events", json.dumps(EVENTS, indent=1).encode()
    ),
    "indented": Sample(
        "indented JSON payloads, one after another",
        "indented JSON events",
        "\n".join(json.dumps(each, indent=2) for each in EVENTS).encode(),
    ),
    "wrapped": Sample(
        '`{"event": {...}}` per line',
        "wrapped events",
        lines({"run": 7, "event": each} for each in EVENTS),
    ),
    "fields": Sample(
        '`{"event": "...", "data": "..."}` per line, or an array of them',
        "wrapped events",
        lines({"event": each["type"], "data": compact(each)} for each in EVENTS),
    ),
    "go": Sample(
        '`{"Type": "...", "Data": "..."}` per line (Go), with JSON or base64',
        "wrapped events",
        lines({"Type": each["type"], "Data": in_base64(compact(each).encode())} for each in EVENTS),
    ),
    "claude-code": Sample(
        "Claude Code with `--include-partial-messages`", "Claude Code log", claude_code()
    ),
    "claude-trace": Sample("log of claude-trace", "claude-trace log", claude_trace()),
    "message": Sample(
        "a whole message that was not streamed", "message", json.dumps(MESSAGE, indent=2).encode()
    ),
    "error": Sample("the JSON of an error answer", "message", json.dumps(ERROR).encode()),
}
