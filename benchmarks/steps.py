"""Counts the steps (opcodes) that Python takes to read ordinary streams, for each way to read them.

    python benchmarks/steps.py [--keep]

It prints the counts. With `--keep` it writes those of this version of Python to `steps.toml`, and
`tests/test_steps.py` compares with them. Unlike instructions, steps need no valgrind and are the
same for every build of a version of CPython. They show that a shortcut is no longer taken, but not
how long a step takes.
"""

import argparse
import sys
import tomllib
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, Final

# The counting is the fuzzer's, and its helpers are the tests'.
sys.path += [str(Path(__file__).parents[1] / folder) for folder in ("fuzz", "tests")]

import attrs

import fixtures
from contenders import pipeline_of_payloads, sse_decoder
from fixtures import Fixture
from fuzz_cost import derive_all, steps
from sansio_stream import Limits, StreamMachine, event_from_dict
from sansio_stream.codec import WireObject
from sansio_stream.partial_json import PartialJSON, loads

STORED: Final = Path(__file__).with_name("steps.toml")
VERSION: Final = f"{sys.version_info.major}.{sys.version_info.minor}"

Look = Callable[[StreamMachine], object]


def nothing(_: StreamMachine) -> None:
    """Look at nothing."""


def read(chunks: Iterable[bytes], look: Look = nothing, **options: Any) -> None:
    """Read a body, and look at the machine after each event."""
    machine = StreamMachine(**options)
    for chunk in chunks:
        for _ in machine.receive_data(chunk):
            look(machine)
    for _ in machine.receive_eof():
        look(machine)


def convert(payloads: Iterable[dict[str, Any]]) -> None:
    """Make an event of each payload, and a payload of each event."""
    for payload in payloads:
        event_from_dict(payload).to_dict()


def parse(pieces: Iterable[str]) -> None:
    """Parse the pieces of a JSON text, and look at the value after each."""
    parser = PartialJSON()
    for piece in pieces:
        parser.push(piece)
        _ = parser.value


def in_pieces(text: str, size: int) -> list[str]:
    """Cut a text into pieces of `size` characters."""
    return [text[start : start + size] for start in range(0, len(text), size)]


def shortened(fixture: Fixture, deltas: int = 12) -> Fixture:
    """Return a fixture with only the first and the last deltas of each block."""
    payloads = [loads(payload) for payload in fixture.payloads]
    places: dict[int, list[int]] = {}
    for place, payload in enumerate(payloads):
        if payload["type"] == "content_block_delta":
            places.setdefault(payload["index"], []).append(place)
    dropped = {place for block in places.values() for place in block[deltas:-1]}
    kept = [each for place, each in enumerate(fixture.payloads) if place not in dropped]
    return attrs.evolve(fixture, payloads=kept, contents=[])


def look_at_snapshot(machine: StreamMachine) -> object:
    """Look at the whole message."""
    return machine.snapshot


def look_at_text(machine: StreamMachine) -> object:
    """Look at the text of the first block."""
    return getattr(machine.block(0), "text", None)


def look_at_input(machine: StreamMachine) -> object:
    """Look at the input of the first block."""
    return getattr(machine.block(0), "partial_input", None)


# So many that there is at least a block of thinking, a text and a tool use.
BLOCKS: Final = 3
EVENTS: Final = BLOCKS * fixtures.WORDS_A_BLOCK // 2

TEXT: Final = shortened(fixtures.text_only(100), 50)
MIXED: Final = shortened(fixtures.mixed(EVENTS))
LAYOUTS: Final = {
    "CRLF": shortened(fixtures.mixed_with_crlf(EVENTS)),
    "no event line": shortened(fixtures.mixed_without_names(EVENTS)),
    "blanks after the brace": shortened(fixtures.mixed_with_late_blanks(EVENTS)),
    "keys in another order": shortened(fixtures.mixed_backwards(EVENTS)),
    "json.dumps": shortened(fixtures.mixed_by_dumps(EVENTS)),
}
SHORT: Final = fixtures.short_answer()
TOOL: Final = fixtures.records_input(600)
PAYLOADS: Final = [loads(payload) for payload in MIXED.payloads]

# JSON with each kind of token, twice: with few blanks, and with many.
NUMBERS: Final = "[0, -0, 7, 12, -305, 0.5, -10.25, 1e5, 2E+50, 30e-05, 1.5e7, 9]"
STRINGS: Final = (
    r'["", "plain", "\" \\ \/ \b\f\n\r\t", "Gr\u00f6\u00DFe",'
    r' "\ud83d\ude00", "\uD83D\uDE00!", "\ud800 \udc00"]'
)
ITEMS: Final = (
    r'[true, false, null, {}, [], {"a": [], "b": {"c": 1, "d": "x"}, "e\n": [[]]},'
    ' [["y"], {"f": 0}]]'
)
TOKENS: Final = f'{{"numbers":{NUMBERS},"strings":{STRINGS},"items":{ITEMS}}}'
JSON: Final = f"[{TOKENS.replace(' ', '')}, {TOKENS.replace(' ', '  ')} ]"
# Items without escapes, of which the scanner reads many at once.
PLAIN_ITEMS: Final = (
    '0, -7, 12, 345, 6.08, -90.25e5, 1E+2, 3e-4, "", "text", true, false, null, [], {}, [ 1, "x" ],'
    ' {"a": [2, 3] , "b": "c", "d": {} }, [[], [4.5]]'
)
MANY: Final = f"[{', '.join([PLAIN_ITEMS] * 60)}]"

WORK: Final[dict[str, Callable[[], object]]] = {
    **{
        f"{name}, {size or 'one event'} a chunk": partial(read, fixture.chunks(size))
        for name, fixture in {"text": TEXT, "mixed": MIXED}.items()
        for size in (None, 1_400, 64, 1)
    },
    **{f"mixed, {name}": partial(read, each.frames) for name, each in LAYOUTS.items()},
    "snapshot after each event": partial(read, TEXT.frames, look_at_snapshot),
    "text after each event": partial(read, TEXT.frames, look_at_text),
    "tool input": partial(read, TOOL.frames),
    "tool input after each event": partial(read, TOOL.frames, look_at_input),
    "plain path": partial(read, MIXED.frames, fast_path=False),
    "strict": partial(read, MIXED.frames, strict=True),
    "a body without a limit": partial(read, MIXED.frames, limits=Limits(total_bytes=None)),
    "payloads": partial(pipeline_of_payloads, PAYLOADS),
    "decoder": partial(sse_decoder, MIXED.chunks(1_400)),
    "decoder, CRLF, 1 a chunk": partial(sse_decoder, LAYOUTS["CRLF"].chunks(1)[:1_000]),
    "events from dicts and to dicts": partial(convert, PAYLOADS),
    "many blocks": partial(read, fixtures.many_blocks(10).frames),
    "many pings": partial(read, fixtures.many_pings(60).frames),
    "many violations": partial(read, fixtures.violations(30).frames),
    "violations that are only counted": partial(
        read, fixtures.violations(30).frames, limits=Limits(violations=1)
    ),
    "a short answer": partial(read, SHORT.frames),
    "a huge event": partial(read, fixtures.huge_event(20_000).chunks(1_400)),
    **{
        f"partial JSON, {size} characters a piece": partial(parse, in_pieces(JSON, size))
        for size in (1, 4, 13)
    },
    "partial JSON in one piece": partial(parse, [JSON]),
    "partial JSON, many items": partial(parse, in_pieces(MANY, 2_000)),
    "partial JSON, invalid": partial(parse, in_pieces(f"{JSON[:-1]}}}", 13)),
    "comments and blank lines": partial(read, [*SHORT.frames, b": x\n\n\n" * 30]),
}
"""What is counted. A number is the size of a chunk in bytes; the others get one event a chunk."""


def count(name: str) -> int:
    """Count the steps of some work that has been done before, so that nothing is made first."""
    derive_all(WireObject)
    steps(WORK[name])  # CPython 3.12.1 counts nothing the first time that a process traces opcodes
    return steps(WORK[name])


def stored() -> dict[str, dict[str, int]]:
    """Return the stored counts of each version of Python."""
    return tomllib.loads(STORED.read_text(encoding="utf-8")) if STORED.exists() else {}


def main() -> None:
    """Print the counts. Store them if that is asked for."""
    parser = argparse.ArgumentParser(description="Count the steps of reading ordinary streams.")
    parser.add_argument("--keep", action="store_true", help="store the counts")
    counts = {**stored(), VERSION: {name: count(name) for name in WORK}}
    for name, steps_of_work in counts[VERSION].items():
        print(f"{steps_of_work:>9,}  {name}")
    if parser.parse_args().keep:
        lines = [
            "# The steps of each work in `steps.py`, by version of CPython: opcodes of Python.",
            "# `tests/test_steps.py` compares with them. If an increase is intended, store the new",
            "# counts with each version: `make steps OPTIONS=--keep`.",
        ]
        for version in sorted(counts):
            lines += ["", f'["{version}"]']
            lines += [f'"{name}" = {number:_}' for name, number in counts[version].items()]
        STORED.write_text("\n".join([*lines, ""]), encoding="utf-8")


if __name__ == "__main__":
    main()
