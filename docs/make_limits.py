"""Generates the tables of what-a-peer-can-make-you-hold.md from the limits in the code.

The defaults come from the code. Only the reasons, and what a limit does not bound, are written
here.

`python docs/make_limits.py` writes the tables into the page. A test compares the two.
"""

from pathlib import Path
from typing import Final, TypeAlias

import attrs

import tables
from sansio_stream import Limits
from sansio_stream.errors import EXCERPT_CHARACTERS
from sansio_stream.request.first_frame import FIRST_FRAME_BYTES
from sansio_stream.request.responses import REFUSAL_BYTES
from sansio_stream_adapters import (
    Timeout,
    _bridge,
    _codings,
    _decoding,
    _http11,
    _stream_core,
    aiohttp,
)
from sansio_stream_adapters._attempts import Retries
from sansio_stream_tools import _app, _overview, _reading, _summary, _uvicorn
from sansio_stream_tools.sources import SourceLimits, _answers, _events, _heads, _yaml
from sansio_stream_tools.sources._lines import LINE_BYTES

PAGE: Final = Path(__file__).with_name("what-a-peer-can-make-you-hold.md")

Row: TypeAlias = tuple[str, str, str, str]
"""The cells of a row: a limit, its default, its reason, and what it does not bound."""

HEAD: Final[Row] = ("limit", "default", "why", "what it does not bound")


def size(count: int | None) -> str:
    """Return a number of bytes with a unit, or "none"."""
    if count is None:
        return "none"
    unit, name = (2**20, "MiB") if count >= 2**20 else (2**10, "KiB")
    if count >= 2**30:
        unit, name = 2**30, "GiB"
    return f"{count / unit:g} {name}"


def seconds(value: float | None) -> str:
    """Return a number of seconds with a unit, or "none"."""
    return "none" if value is None else f"{value:g} s"


LIMITS: Final = Limits()
SOURCE_LIMITS: Final = SourceLimits()
TIMEOUT: Final = Timeout()
RETRIES: Final = Retries()

OF_THE_MACHINE: Final[dict[str, Row]] = {
    "event_bytes": (
        "`Limits.event_bytes`",
        size(LIMITS.event_bytes),
        "a document in a web_fetch result is megabytes of base64 on one line",
        (
            "the Python objects that are made from the bytes: they take up to 33 times as much"
            " memory if a payload consists of brackets, and 65 times as much if it lists empty"
            " blocks or citations; set a lower limit if you cannot spare that"
        ),
    ),
    "block_bytes": (
        "`Limits.block_bytes`",
        size(LIMITS.block_bytes),
        (
            "no real answer has a block of that size, counting its start and all its deltas;"
            " without a limit, a block of small deltas could grow for ever"
        ),
        "all blocks together: `total_bytes` bounds them",
    ),
    "total_bytes": (
        "`Limits.total_bytes`",
        size(LIMITS.total_bytes),
        (
            "it counts the whole body after content-decoding, with pings and comments; no honest"
            " stream comes near it: a context of 1,000,000 tokens, with each token in its own delta"
            " of 200 bytes, is 200 MB, and ten documents that fit into a later request are 320 MB"
        ),
        "the time that it takes: `total` bounds it",
    ),
    "blocks": (
        "`Limits.blocks`",
        f"{LIMITS.blocks:,}",
        (
            "it also bounds the index of a block, so that a high index cannot reserve room for"
            " blocks that never come"
        ),
        "the bytes of the blocks",
    ),
    "depth": (
        "`Limits.depth`",
        f"{LIMITS.depth:,}",
        "it stays below Python's own limits in `json`, `pickle` and `deepcopy`",
        "the number of values on one level",
    ),
    "violations": (
        "`Limits.violations`",
        f"{LIMITS.violations:,}",
        "each is kept with an excerpt; further violations are only counted",
        "the stream itself: exceeding this limit is not fatal",
    ),
}
"""The rows by the names of the attributes of `Limits`."""

OF_WAITS: Final[dict[str, Row]] = {
    "connect": (
        "`Timeout.connect`",
        seconds(TIMEOUT.connect),
        "a server that is up accepts a connection at once",
        (
            "in a synchronous client, the lookup of a host name, and the attempts for all addresses"
            " of a name together"
        ),
    ),
    "read": (
        "`Timeout.read`",
        seconds(TIMEOUT.read),
        "a model may think for minutes without sending a byte",
        (
            "a server that always sends a byte in time, such as a ping: `idle` and `total` bound"
            " that"
        ),
    ),
    "write": (
        "`Timeout.write`",
        seconds(TIMEOUT.write),
        "it is the wait for the next 64 KiB of a request to be sent over a slow connection",
        "the whole of a long request: `total` bounds it",
    ),
    "pool": (
        "`Timeout.pool`",
        seconds(TIMEOUT.pool),
        "other requests may use all connections of the pool until their answers end",
        "any other wait",
    ),
    "idle": (
        "`Timeout.idle`",
        seconds(TIMEOUT.idle),
        (
            "only you know how long a model may think; pings, unknown events and empty deltas do"
            " not count as content"
        ),
        "a server that sends content for ever: `total` bounds it",
    ),
    "total": (
        "`Timeout.total`",
        seconds(TIMEOUT.total),
        "a long answer is not an attack; set a value if you serve other users",
        "the waits of a synchronous client that cannot be ended: [Clients](clients.md#timeouts)",
    ),
}
"""The rows by the names of the attributes of `Timeout`."""

OF_RETRIES: Final[dict[str, Row]] = {
    "max_retries": (
        "`max_retries`",
        f"{RETRIES.max_retries}",
        "a retry is sent only if no answer has begun",
        "the cost of the attempts",
    ),
    "max_retry_after": (
        "`max_retry_after`",
        seconds(RETRIES.max_retry_after),
        "if a server asks for a longer wait, there is no retry: its error is raised at once",
        "the waits of all attempts together: `total` bounds them",
    ),
}
"""The rows by the names of the attributes of `Retries`."""


def machine() -> list[Row]:
    """Return the rows about the memory of a machine."""
    return list(OF_THE_MACHINE.values())


def waits() -> list[Row]:
    """Return the rows about the waits of a client."""
    return [*OF_WAITS.values(), *OF_RETRIES.values()]


def answers() -> list[Row]:
    """Return the rows about what an adapter accepts of a response."""
    return [
        (
            "the head of a response",
            size(_http11.HEAD_BYTES),
            "httpx accepts heads of this size",
            (
                "`.httpx` may accept up to 64 KiB more; `.aiohttp` accepts"
                f" {size(aiohttp.HEAD_LINE_BYTES)} in each of at most 128 lines"
            ),
        ),
        (
            "interim responses (1xx)",
            f"{_http11.INTERIM_COUNT}",
            "an honest server sends one or two, and each one restarts the wait for the head",
            "`.httpx` and `.aiohttp`, which read any number of them: `total` bounds that",
        ),
        (
            "the body of an error response",
            size(REFUSAL_BYTES),
            "an error is short; all of it must arrive within `idle`",
            "a client of your own that reads the body before the adapter does",
        ),
        (
            "the check of the first frame, if the request may be sent again",
            size(FIRST_FRAME_BYTES),
            "an error is short",
            "the wait for the first frame: `read` and `idle` bound it",
        ),
        (
            "the output of one decoding step of a compressed body",
            size(_decoding.RESPONSE_PIECE_BYTES),
            (
                "a kilobyte may decompress to a gigabyte; one layer of gzip or deflate is decoded,"
                " and `total_bytes` counts the decoded bytes"
            ),
            (
                "a body that was decoded before: by a hook, by a middleware or by `from_response`"
                " of `.aiohttp`"
            ),
        ),
        (
            "the encodings of a body that `decoder_for` decodes for an observer",
            f"{_codings.MOST_ENCODINGS}",
            "servers apply one; each layer can make a thousand bytes of one",
            (
                f"the memory of the libraries: at most 16 MiB for br and"
                f" {size(2**_codings.ZSTD_WINDOW_LOG)} for zstd"
            ),
        ),
        (
            "the part of a big chunk that an asynchronous stream processes in one step",
            size(_stream_core.RESPONSE_PIECE_BYTES),
            "other tasks run between two steps, and a cancellation takes effect there",
            (
                "a frame of megabytes, because Python parses its JSON in one step: `event_bytes`"
                " bounds it"
            ),
        ),
        (
            "what is read after `message_stop`, so that the pool can reuse the connection",
            f"{size(_bridge.DRAIN_BYTES)}, {seconds(_bridge.DRAIN_SECONDS)}",
            "at most a ping and the end of the body come after `message_stop`",
            "nothing: beyond the limit, the connection is closed",
        ),
        (
            "redirects",
            "none is followed",
            "the key would be sent to the new address",
            "a client of your own that follows redirects",
        ),
        (
            "cookies",
            "none is kept",
            "every later request would send what the server has set, and it could grow",
            "a client or session of your own",
        ),
        (
            "the message of an exception",
            f"{EXCERPT_CHARACTERS:,} characters",
            "it is safe for logs and terminals: one line without invisible characters",
            (
                "the attributes `body`, `raw`, `headers` and `partial_message`, which keep the"
                " original text"
            ),
        ),
    ]


def files() -> list[Row]:
    """Return the rows about recordings and the command."""
    return [
        (
            "one line of a recording",
            f"{size(_stream_core.RESPONSE_PIECE_BYTES)} of the body",
            (
                "writing a line must not block the event loop; with escapes, a line may be six"
                " times as long"
            ),
            "the file: `total_bytes` bounds it",
        ),
        (
            "`replay`: one pause",
            seconds(_reading.LONGEST_PAUSE),
            "a recording may contain any times; a note tells which pauses were shortened",
            "the number of pauses",
        ),
        (
            "`replay`: the lines for counters, event types and tool inputs in the final table",
            f"{_summary.MOST_LINES} lines",
            "a stream may have a hundred thousand of them",
            "`--events`, `--message` and `trace`, which show everything",
        ),
        (
            "`replay`, `trace`, `report`, `convert`: the bytes of a file after decompression",
            size(SOURCE_LIMITS.decoded_bytes),
            "a kilobyte may decompress to a gigabyte; `--limit decoded_bytes` changes it",
            "the time: a gigabyte takes about a minute",
        ),
        (
            "the same: a file whose format cannot be read in pieces",
            size(SOURCE_LIMITS.file_bytes),
            "it is kept as a whole; `--limit file_bytes` changes it",
            "the Python objects that are made from it",
        ),
        (
            "`trace`: the bytes that are kept for quotes",
            size(LIMITS.event_bytes),
            "only the frame at hand is quoted, and it is no larger",
            "one chunk more, while it is read",
        ),
        (
            "`report`: the worst streams and the names in the overview",
            f"{_overview.MOST_WORST} streams, {_overview.MOST_NAMES} names of each kind",
            "a folder may contain any number of streams",
            "the file of `--out`, which has every stream",
        ),
        (
            "one line of a recorded file",
            size(LINE_BYTES),
            "an event may have this size, too",
            "a plain body, whose lines are not parsed as lines: `event_bytes` bounds its events",
        ),
        (
            "the head of a response in a recorded file",
            size(_heads.MOST_HEAD_BYTES),
            "a head is kept until it is complete",
            "the number of heads",
        ),
        (
            "a JSON answer in a recorded file",
            size(_answers.MOST_JSON_BYTES),
            "it is parsed to see whether it is a message; a longer one is shown as it is",
            "the Python objects that are made from the bytes",
        ),
        (
            "mixed streams of a recorded file: events that wait for the end of the first stream",
            size(_events.MOST_WAITING_BYTES),
            "the streams are shown one after another",
            "nothing: the file is then refused",
        ),
        (
            "a recorded file in YAML",
            f"{_yaml.MOST_NODES:,} values, {_yaml.MOST_DEPTH} levels",
            "a value takes more memory than its text; an alias is never copied",
            "the length of a text: `file_bytes` bounds it",
        ),
        (
            "`serve`: the file",
            "none",
            "the file is your own, and it is read as a whole",
            "a file from somebody else: check its size first",
        ),
        (
            "`serve`: the body of a request",
            size(_app.MOST_BYTES),
            "the API has the same limit; a longer body gets a 413",
            "the number of requests",
        ),
        (
            "`serve`: the wait for the head of a request",
            seconds(_uvicorn.HEAD_SECONDS),
            "a connection on which nothing is sent must be closed",
            "the body of a request, which may arrive slowly",
        ),
        (
            "`serve`: open connections",
            f"{_uvicorn.MOST_CONNECTIONS}",
            "the rest of the process needs file descriptors, too",
            "how long each connection lasts",
        ),
        (
            "`serve`: the `Host` of a request on the loopback interface",
            "names of the loopback interface",
            "otherwise a web page in a browser could reach the server under a name of its own",
            "a server on another interface, started with `--host`",
        ),
    ]


TABLES: Final = {make.__name__: make for make in (machine, waits, answers, files)}


def made(page: str) -> str:
    """Return the page with its tables generated anew."""
    return tables.made(page, lambda name: tables.table(HEAD, *TABLES[name]()))


def unlisted() -> list[str]:
    """Return the names of the limits that have no row."""
    listed = {Limits: OF_THE_MACHINE, Timeout: OF_WAITS, Retries: OF_RETRIES}
    return [
        f"{cls.__name__}.{field.name}"
        for cls, rows in listed.items()
        for field in attrs.fields(cls)
        if field.name not in rows
    ]


if __name__ == "__main__":
    PAGE.write_text(made(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
