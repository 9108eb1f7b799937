"""Writes a table of bodies. It has whole streams and each kind of fault, in fixed shares.

    python scale/bodies.py bodies.parquet --rows 20000 --seed 1

The same arguments always give the same bytes.
"""

import argparse
import gzip
import json
import random
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import attrs
import pyarrow as pa
import pyarrow.parquet as pq

from sansio_stream import CaptureHeader, CaptureWriter

TEXT: Final = (
    "the tide brings salt and stones from far rivers while rain takes its share to the sea again"
    " – évidemment, and nothing “else” \\ matters\n"
)
WORDS: Final = TEXT.split(" ")

ROWS_OF_A_GROUP: Final = 1000


@attrs.frozen
class Dialect:
    """How a server writes its frames.

    Attributes:
        newline: the end of a line.
        is_named: whether a frame has an `event:` line.
        space: what follows a colon.
    """

    newline: str
    is_named: bool
    space: str

    def frame(self, payload: dict[str, Any]) -> str:
        """Return a payload as a frame."""
        lines = [f"data:{self.space}{json.dumps(payload, ensure_ascii=False)}", "", ""]
        if self.is_named:
            lines.insert(0, f"event:{self.space}{payload['type']}")
        return self.newline.join(lines)


DIALECTS: Final = (
    Dialect("\n", is_named=True, space=" "),
    Dialect("\r\n", is_named=True, space=" "),
    Dialect("\n", is_named=False, space=" "),
    Dialect("\n", is_named=True, space=""),
)


def text_of(rng: random.Random) -> str:
    return " ".join(rng.choices(WORDS, k=rng.randint(1, 6)))


def block(index: int, start: dict[str, Any], deltas: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {"type": "content_block_start", "index": index, "content_block": start},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
    ]


def text_block(rng: random.Random, index: int) -> list[dict[str, Any]]:
    pieces = [text_of(rng) for _ in range(rng.randint(3, 60))]
    deltas = [{"type": "text_delta", "text": piece} for piece in pieces]
    return block(index, {"type": "text", "text": ""}, deltas)


def tool_block(rng: random.Random, index: int) -> list[dict[str, Any]]:
    text = json.dumps({"query": text_of(rng), "rows": [rng.random() for _ in range(5)]})
    pieces = [text[at : at + 12] for at in range(0, len(text), 12)]
    deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]
    start = {"type": "tool_use", "id": f"toolu_{index}", "name": "look_up", "input": {}}
    return block(index, start, deltas)


def payloads(rng: random.Random) -> list[dict[str, Any]]:
    """Return the payloads of a whole stream."""
    has_tool = rng.random() < 0.3
    blocks = [text_block(rng, 0), *([tool_block(rng, 1)] if has_tool else [])]
    message: dict[str, Any] = {
        "id": f"msg_{rng.randrange(10**9)}",
        "type": "message",
        "role": "assistant",
        "model": rng.choice(["claude-small-1", "claude-large-1"]),
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": rng.randint(10, 5000), "output_tokens": 1},
    }
    return [
        {"type": "message_start", "message": message},
        *(payload for each in blocks for payload in each),
        {
            "type": "message_delta",
            "delta": {"stop_reason": "tool_use" if has_tool else "end_turn", "stop_sequence": None},
            "usage": {"output_tokens": rng.randint(10, 500)},
        },
        {"type": "message_stop"},
    ]


def frames(rng: random.Random) -> list[str]:
    dialect = rng.choice(DIALECTS)
    return [dialect.frame(payload) for payload in payloads(rng)]


# The kinds of bodies.


def whole(rng: random.Random) -> bytes:
    return "".join(frames(rng)).encode()


def cut(rng: random.Random) -> bytes:
    parts = frames(rng)
    return "".join(parts[: rng.randint(2, len(parts) - 3)]).encode()


def damaged(rng: random.Random) -> bytes:
    parts = frames(rng)
    place = rng.randint(2, 4)  # a delta of the text
    parts[place] = parts[place].replace('"index": 0', '"index": 9', 1)  # no such block
    return "".join(parts).encode()


def errored(rng: random.Random) -> bytes:
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    return cut(rng) + f"event: error\ndata: {json.dumps(error)}\n\n".encode()


def unterminated(rng: random.Random) -> bytes:
    return "".join(frames(rng)[:-1]).encode()


def empty(_: random.Random) -> bytes:
    return b""


def compressed(rng: random.Random) -> bytes:
    return gzip.compress(whole(rng), mtime=0)


def captured(rng: random.Random) -> bytes:
    writer = CaptureWriter(CaptureHeader(status=200))
    lines: list[bytes] = []
    at = 0.2
    for frame in frames(rng):
        at += rng.choice([0.01, 0.02, 0.05])
        lines.append(writer.chunk(frame.encode(), at))
    return b"".join([*lines, writer.end(at)])


def unreadable(rng: random.Random) -> bytes:
    return captured(rng).replace(b'{"at"', b'{at"', 1)


KINDS: Final[dict[str, tuple[int, Callable[[random.Random], bytes], str]]] = {
    "whole": (600, whole, "COMPLETE"),
    "cut": (100, cut, "TRUNCATED"),
    "damaged": (80, damaged, "DAMAGED"),
    "errored": (60, errored, "ERRORED"),
    "unterminated": (40, unterminated, "UNTERMINATED"),
    "empty": (20, empty, "EMPTY"),
    "compressed": (50, compressed, "COMPLETE"),
    "captured": (40, captured, "COMPLETE"),
    "unreadable": (10, unreadable, "PENDING"),
}
"""For each kind of body: the number in a thousand bodies, the function that makes one, and the
verdict of its report.
"""


def expected_verdicts(rows: int) -> Counter[str]:
    """Return how often each verdict occurs in `rows` rows. `rows` is a multiple of 1,000."""
    verdicts: Counter[str] = Counter()
    for share, _, verdict in KINDS.values():
        verdicts[verdict] += share * rows // 1000
    return verdicts


def thousand(seed: int, number: int) -> tuple[list[str], list[bytes]]:
    """Return the ids and the bodies of one thousand rows."""
    rng = random.Random(f"{seed} {number}")
    kinds = [kind for kind, (share, *_) in KINDS.items() for _ in range(share)]
    rng.shuffle(kinds)
    ids = [f"{kind}-{number * 1000 + place}" for place, kind in enumerate(kinds)]
    return ids, [KINDS[kind][1](rng) for kind in kinds]


def tables(rows: int, seed: int) -> Iterator[pa.Table]:
    """Yield the rows in tables of one thousand. `rows` is a multiple of 1,000."""
    for number in range(rows // 1000):
        ids, bodies = thousand(seed, number)
        yield pa.table({"id": pa.array(ids, pa.string()), "body": pa.array(bodies, pa.binary())})


def write(path: Path, rows: int, seed: int = 1) -> None:
    """Write a Parquet file with the bodies, a row group for each thousand."""
    fields: dict[str, pa.DataType] = {"id": pa.string(), "body": pa.binary()}
    schema = pa.schema(fields)
    with pq.ParquetWriter(path, schema) as writer:
        for table in tables(rows, seed):
            writer.write_table(table, row_group_size=ROWS_OF_A_GROUP)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("path", type=Path)
    parser.add_argument("--rows", type=int, default=20_000, help="a multiple of 1,000")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    write(arguments.path, arguments.rows, arguments.seed)
