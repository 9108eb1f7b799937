"""The limits in the code in, the tables of what-a-peer-can-make-you-hold.md out. A default stands
in the code; here are only the reasons, and what a limit does not bound.

`python docs/make_limits.py` writes the tables into the page; a test compares.
"""

from pathlib import Path
from typing import Final, TypeAlias

import attrs

import tables
from sansio_stream import Limits
from sansio_stream.errors import EXCERPT_CHARACTERS
from sansio_stream.request.first_frame import LOOK_BYTES
from sansio_stream.request.responses import REFUSAL_BYTES
from sansio_stream_adapters import Timeout, _bridge, _decoding, _http11, _stream_core, aiohttp
from sansio_stream_adapters._attempts import Retries
from sansio_stream_adapters.cli import _replay, _serve, _summary, _uvicorn

PAGE: Final = Path(__file__).with_name("what-a-peer-can-make-you-hold.md")

Row: TypeAlias = tuple[str, str, str, str]
"""A limit, its default, its reason, and what it does not bound."""

HEAD: Final[Row] = ("limit", "default", "why", "what it does not bound")


def size(count: int | None) -> str:
    """Return a number of bytes for people."""
    if count is None:
        return "none"
    unit, name = (2**20, "MiB") if count >= 2**20 else (2**10, "KiB")
    if count >= 2**30:
        unit, name = 2**30, "GiB"
    return f"{count / unit:g} {name}"


def seconds(value: float | None) -> str:
    """Return a number of seconds for people."""
    return "none" if value is None else f"{value:g} s"


LIMITS: Final = Limits()
TIMEOUT: Final = Timeout()
RETRIES: Final = Retries()

OF_THE_MACHINE: Final[dict[str, Row]] = {
    "event_bytes": (
        "`Limits.event_bytes`",
        size(LIMITS.event_bytes),
        "a document in a result is megabytes of base64 on one line",
        (
            "the objects made of it: Python's take up to 33 times the bytes where a payload is all"
            " brackets, 65 times where it lists empty blocks or citations; who cannot hold that"
            " sets less"
        ),
    ),
    "block_bytes": (
        "`Limits.block_bytes`",
        size(LIMITS.block_bytes),
        (
            "no answer has a block of that size, its start and its deltas together, and one that is"
            " made of small deltas grows for ever"
        ),
        "all blocks together: that is `total_bytes`",
    ),
    "total_bytes": (
        "`Limits.total_bytes`",
        size(LIMITS.total_bytes),
        (
            "no honest stream comes near: a context of 1,000,000 tokens, each in a delta of its own"
            " of 200 bytes, is 200 MB, and ten documents that may be sent back are 320 MB; of the"
            " whole body, after content-decoding, pings and comments included"
        ),
        "how long it takes: that is `total`",
    ),
    "blocks": (
        "`Limits.blocks`",
        f"{LIMITS.blocks:,}",
        "also the highest index, so that nobody makes room for blocks that do not come",
        "their bytes",
    ),
    "depth": (
        "`Limits.depth`",
        f"{LIMITS.depth:,}",
        "Python's own limits, of `json`, `pickle` and `deepcopy`, must never be reached",
        "how many values there are side by side",
    ),
    "violations": (
        "`Limits.violations`",
        f"{LIMITS.violations:,}",
        "each is kept with an excerpt; what comes beyond is counted",
        "nothing: it is not fatal",
    ),
}
"""By the names of the attributes."""

OF_WAITS: Final[dict[str, Row]] = {
    "connect": (
        "`Timeout.connect`",
        seconds(TIMEOUT.connect),
        "a server that is there answers at once",
        "where there is no loop, the look-up of a name, and all addresses of it together",
    ),
    "read": (
        "`Timeout.read`",
        seconds(TIMEOUT.read),
        "a model may think for minutes without a byte",
        "who sends a byte in time each time, a ping will do: that is `idle` and `total`",
    ),
    "write": (
        "`Timeout.write`",
        seconds(TIMEOUT.write),
        "the next 64 KiB of a request, on a slow line",
        "all of a long request: that is `total`",
    ),
    "pool": (
        "`Timeout.pool`",
        seconds(TIMEOUT.pool),
        "others may have all the connections for as long as their answers take",
        "nothing else",
    ),
    "idle": (
        "`Timeout.idle`",
        seconds(TIMEOUT.idle),
        (
            "how long a model may think is for you to say; pings, unknown events and empty deltas"
            " are no content"
        ),
        "who sends content for ever: that is `total`",
    ),
    "total": (
        "`Timeout.total`",
        seconds(TIMEOUT.total),
        "a long answer is not an attack; who serves others sets it",
        "waits of a synchronous client that nothing ends: [Clients](clients.md#timeouts)",
    ),
}
"""By the names of the attributes."""

OF_RETRIES: Final[dict[str, Row]] = {
    "max_retries": (
        "`max_retries`",
        f"{RETRIES.max_retries}",
        "each is sent before an answer has begun, and never behind",
        "what the attempts cost",
    ),
    "max_retry_after": (
        "`max_retry_after`",
        seconds(RETRIES.max_retry_after),
        "a server that asks for a longer wait is not asked again: its error is raised at once",
        "the waits of all attempts together: that is `total`",
    ),
}
"""By the names of the attributes."""


def machine() -> list[Row]:
    """Return what the machine holds."""
    return list(OF_THE_MACHINE.values())


def waits() -> list[Row]:
    """Return what is waited for."""
    return [*OF_WAITS.values(), *OF_RETRIES.values()]


def answers() -> list[Row]:
    """Return what the adapters take of an answer, beside the body that is given out."""
    return [
        (
            "the head of a response",
            size(_http11.HEAD_BYTES),
            "as much as httpx always accepts",
            (
                f"`.httpx`: 64 KiB more at most; `.aiohttp`: {size(aiohttp.HEAD_LINE_BYTES)} a"
                " line, of which it counts 128"
            ),
        ),
        (
            "interim responses (1xx)",
            f"{_http11.INTERIM_COUNT}",
            "an honest server sends one or two, and each begins the wait for a head anew",
            "`.httpx` and `.aiohttp`, which read on: that is `total`",
        ),
        (
            "the body of a refusal",
            size(REFUSAL_BYTES),
            "an error is a sentence; it has `idle` in all",
            "a client of your own that reads it before we do",
        ),
        (
            "a look at the first frame, where the request may be sent again",
            size(LOOK_BYTES),
            "an error is a sentence",
            "the wait for it: that is `read`, and `idle`",
        ),
        (
            "decoded at once of a compressed body",
            size(_decoding.PIECE_BYTES),
            (
                "gzip and deflate, one layer; a kilobyte may stand for a gigabyte, and"
                " `total_bytes` counts what comes out"
            ),
            "a body that a hook, a middleware or `from_response` of `.aiohttp` has decoded",
        ),
        (
            "worked on at once of a big chunk, by asynchronous streams",
            size(_stream_core.PIECE_BYTES),
            "then other tasks run, and a cancellation is heard",
            "a frame of megabytes, whose JSON Python reads in one step: that is `event_bytes`",
        ),
        (
            "read behind `message_stop`, for the pool",
            f"{size(_bridge.LINGER_BYTES)}, {seconds(_bridge.LINGER_SECONDS)}",
            "behind it come a ping at most, and the end",
            "nothing: the connection is closed",
        ),
        (
            "redirects",
            "none is followed",
            "the key would go along",
            "a client of your own that follows them",
        ),
        (
            "cookies",
            "none is kept",
            "what a server sets would go out with every later request, and grow",
            "a client or session of your own",
        ),
        (
            "the message of an exception",
            f"{EXCERPT_CHARACTERS:,} characters",
            "one line, in which nothing hides, for logs and terminals",
            "its attributes: `body`, `raw`, `headers` and `partial_message` are as they came",
        ),
    ]


def files() -> list[Row]:
    """Return what the command and recordings take."""
    return [
        (
            "the line of a recording",
            f"{size(_stream_core.PIECE_BYTES)} of the body",
            "making it must not hold a loop; escaped, it may be six times as long",
            "the file: that is `total_bytes`",
        ),
        (
            "`replay`: a pause",
            seconds(_replay.LONGEST_PAUSE),
            "a recording may say anything of its times; a note says what was cut",
            "how many pauses there are",
        ),
        (
            "`replay`: counters, kinds and inputs in the table at the end",
            f"{_summary.MOST_LINES} lines",
            "a stream may have a hundred thousand",
            "`--trace`, `--events` and `--message`, which show all there is",
        ),
        (
            "`replay`, `serve`: the file",
            "none",
            "it is yours, and is read whole",
            "a file of somebody else's: look at its size before",
        ),
        (
            "`serve`: the body of a request",
            size(_serve.MOST_BYTES),
            "the API takes no more either; beyond it is a 413",
            "nothing else",
        ),
        (
            "`serve`: the head of a request",
            seconds(_uvicorn.HEAD_SECONDS),
            "who connects and says nothing is closed",
            "the body of a request, which may come slowly",
        ),
        (
            "`serve`: connections at once",
            f"{_uvicorn.MOST_CONNECTIONS}",
            "files are left for the rest of the process",
            "how long each lasts",
        ),
        (
            "`serve`: the `Host` of a request, on the loopback",
            "names of the loopback",
            "a page in a browser could reach it by a name of its own",
            "what listens elsewhere, by `--host`",
        ),
    ]


TABLES: Final = {make.__name__: make for make in (machine, waits, answers, files)}


def made(page: str) -> str:
    """Return the page with its tables made anew."""
    return tables.made(page, lambda name: tables.table(HEAD, *TABLES[name]()))


def unlisted() -> list[str]:
    """Return the limits that no row is about."""
    listed = {Limits: OF_THE_MACHINE, Timeout: OF_WAITS, Retries: OF_RETRIES}
    return [
        f"{cls.__name__}.{field.name}"
        for cls, rows in listed.items()
        for field in attrs.fields(cls)
        if field.name not in rows
    ]


if __name__ == "__main__":
    PAGE.write_text(made(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
