"""The fuzz targets, without a fuzzer: they hold on what was found and on the examples, and fail."""

import json
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import example, given, strategies as st

import fuzz_machine
import fuzz_sse
import mutator
import run
import sansio_stream.capture as capture_module
import sansio_stream.encode as encode_module
import sansio_stream.frame_buffer as buffer_module
import sansio_stream.frames as frames_module
import sansio_stream.outcome as outcome_module
import sansio_stream.partial_json.whole as json_module
import seeds
import targets
import wire
from cases import HEAD, MEMORY, RESTLESS, seed
from sansio_stream import (
    CaptureError,
    CaptureWriter,
    IncompleteMessageError,
    Limits,
    PartialJSON,
    State,
    Verdict,
    ViolationCode,
)
from sansio_stream.blocks import GrowingBlock
from sansio_stream.errors import ErrorLatch, LocatedFlaw, ViolationLog
from sansio_stream.frame_buffer import FrameBuffer
from sansio_stream.outcome import Outcome
from sansio_stream.partial_json.decoding import DECODER
from sansio_stream.reader import EventReader
from sansio_stream.snapshot import Fold

pytestmark = pytest.mark.exhaustive

FINDINGS = Path(seeds.__file__).parent / "findings"

EACH_TARGET = pytest.mark.parametrize("target", targets.TARGETS)


@pytest.mark.parametrize(
    ("target", "path"),
    [(path.parent.name, path) for path in sorted(FINDINGS.glob("*/*"))],
    ids=lambda value: getattr(value, "name", value),
)
def test_what_was_once_found_is_found_no_more(target: str, path: Path) -> None:
    targets.TARGETS[target](path.read_bytes())


@EACH_TARGET
def test_the_targets_hold_on_the_examples(target: str) -> None:
    inputs = seeds.seeds(target) + seeds.whole_examples(target)
    assert inputs
    for data in inputs:
        targets.TARGETS[target](data)


@EACH_TARGET
@given(st.binary(max_size=80), st.lists(st.sampled_from(seeds.words())))
@example(b"", [])
def test_the_targets_hold_on_any_bytes(target: str, head: bytes, words: list[str]) -> None:
    targets.TARGETS[target](head + "".join(words).encode())


@EACH_TARGET
@given(st.data(), st.binary(max_size=HEAD), st.integers(0, 2**32))
def test_the_targets_hold_on_changed_examples(
    target: str, data: st.DataObject, head: bytes, chance: int
) -> None:
    chosen = data.draw(st.sampled_from(seeds.seeds(target)))
    changed = mutator.mutate(head + chosen[len(head) :], random.Random(chance))
    targets.TARGETS[target](changed)


# What is around the targets.


def test_a_changed_stream_depends_on_its_chance_alone_and_is_mostly_still_read() -> None:
    stream = seeds.seeds("stream_machine")[0]
    changed = [mutator.mutate(stream, random.Random(chance)) for chance in range(200)]
    assert changed == [mutator.mutate(stream, random.Random(chance)) for chance in range(200)]
    assert len(set(changed)) > 190
    read = [fuzz_machine.read([data[HEAD:]], Limits(), strict=False) for data in changed]
    assert sum(len(outcome.events) > 5 for _, outcome in read) > 100


def test_what_is_found_is_made_shorter_and_fails_as_before() -> None:
    def target(data: bytes) -> None:
        assert data.count(b"\r", HEAD) < 2, "two carriage returns"

    found = seed(b"data: x\r\ndata: yyyyyyyyyyyyy\r\n\r\n", 1, 2, 3)
    assert run.shortened(target, found, HEAD) == seed(b"\r\r", 1, 2, 3)


# Each target can fail.


def after(original: Callable[..., Any], then: Callable[..., object]) -> Callable[..., Any]:
    """A method that does something more when it is done."""

    def patched(self: Any, *args: Any, **options: Any) -> Any:
        result = original(self, *args, **options)
        then(self, *args)
        return result

    return patched


def before(original: Callable[..., Any], first: Callable[..., object]) -> Callable[..., Any]:
    """A method that does something more before it begins."""

    def patched(self: Any, *args: Any, **options: Any) -> Any:
        first(self, *args)
        return original(self, *args, **options)

    return patched


def idle(rounds: int) -> None:
    """Do nothing, often."""
    for _ in range(rounds):
        pass


def forgetful(self: FrameBuffer, state: tuple[None, dict[str, Any]]) -> None:
    """Unpickles without the beginning of a line."""
    for name, value in state[1].items():
        setattr(self, name, value)
    self._partial = bytearray()


def forgetful_of_line_ends(self: FrameBuffer, data: bytes, add: Any = FrameBuffer._add) -> None:
    """Does not know how the last line ended."""
    self._set_text(b"")
    add(self, data)


def unbounded(self: ViolationLog, fault: LocatedFlaw, event_number: int) -> None:
    """Keeps them all."""
    self.count += 1
    self._kept.append(fault.violation(event_number))


def stale(self: GrowingBlock, delta: Any, size: int, grow: Any = GrowingBlock.grow) -> None:
    """Shows whoever has looked before what he saw then."""
    block = self.latest
    grow(self, delta, size)
    self.latest = block


def hoarding(self: EventReader, source: Any, admit: Any = EventReader._decode_and_fold) -> Any:
    """Keeps whatever came."""
    self._fold.tool_ids.add(f"{source} {len(self._fold.tool_ids)}")
    return admit(self, source)


def mute(self: Any, *_: object) -> None:
    """Does nothing at all."""


def lying(self: CaptureWriter, data: bytes, at: float, write: Any = CaptureWriter.chunk) -> Any:
    """Writes another time than it is told."""
    return write(self, data, at / 2)


def impatient(data: bytes, rows: Any = capture_module._json_lines) -> Any:
    """Does not put up with a line that was cut off."""
    if not data.endswith(b"\n"):
        raise CaptureError(1, "no line end")
    return rows(data)


# What is fed.
HELLO = wire.body(*wire.HELLO)
CUT_CALL = wire.body(
    *(wire.message_start(), wire.tool_start(0), wire.json_piece(0, "{}"), wire.json_piece(7, "1")),
    *(wire.block_stop(0), wire.message_delta("tool_use"), wire.MESSAGE_STOP),
)
TWO_LINES = b"data: x\r\ndata: y\r\n\r\n"
TWO_BLOCKS = wire.body(wire.message_start(), wire.block_start(0), wire.block_start(1))
A_CAPTURE = b'{"sansio_stream_capture": 1}\n{"at": 1, "text": "x"}\n{"at": 2, "end": "eof"}\n'
A_SECRET = b'{"sansio_stream_capture": 1, "headers": {"x-api-key": "sk"}}\n'

# The first bytes of an input, as `Case` reads them.
ONE_BYTE = (1,)
ONE_BLOCK = (0, 0, 0, 2, 0, 0, MEMORY)
ONE_VIOLATION = (0, 0, 0, 0, 0, 2)
LITTLE_MEMORY = (4, 1, 0, 1, 0, 1, MEMORY)
FOURTH_EVENT = (0, 0, 0, 0, 0, 0, 0, 3)
THREE_BYTES_EACH = (0, 0, 0, 0, 0, 0, RESTLESS, 0, 3)


@attrs.frozen
class Breakage:
    """What of a target is broken and how; what is fed to it, and what it says of that then."""

    target: str
    owner: Any
    name: str
    broken: Any
    data: bytes
    complaint: str


BROKEN = {
    "a CRLF that is cut ends two lines": Breakage(
        *("sse_decoder", FrameBuffer, "_add", forgetful_of_line_ends),
        seed(TWO_LINES),
        "fed byte by byte",
    ),
    "a pickled decoder forgets a line that has begun": Breakage(
        *("sse_decoder", FrameBuffer, "__setstate__", forgetful),
        seed(TWO_LINES, *THREE_BYTES_EACH),
        "fed in pieces",
    ),
    "a decoder goes on after an error": Breakage(
        *("sse_decoder", ErrorLatch, "raise_if_set", mute),
        seed(TWO_LINES, *ONE_BYTE),
        "is not raised again",
    ),
    "all violations are kept": Breakage(
        *("sse_decoder", ViolationLog, "add", unbounded),
        seed(b"data: \xff\n\n" * 2, *ONE_VIOLATION),
        "2 kept of 2 violations",
    ),
    "a long line is quoted whole": Breakage(
        *("sse_decoder", frames_module, "excerpt", str),
        seed(b"x" * 2_000 + b"\n\n"),
        "a long excerpt",
    ),
    "a decoder keeps all of a body without events": Breakage(
        *("sse_decoder", buffer_module, "EXCERPT_CHARACTERS", 10**9),
        seed(b":\n\n" * 50, *LITTLE_MEMORY),
        "a decoder holds",
    ),
    "an event is written as another one": Breakage(
        *("sse_decoder", fuzz_sse, "encode_sse", lambda _: b"data: z\n\n"),
        seed(TWO_LINES),
        "an event written and read again",
    ),
    "a pickled machine forgets a line that has begun": Breakage(
        *("stream_machine", FrameBuffer, "__setstate__", forgetful),
        seed(HELLO, *THREE_BYTES_EACH),
        "fed in pieces",
    ),
    "a machine goes on after an error": Breakage(
        *("stream_machine", ErrorLatch, "raise_if_set", mute),
        seed(HELLO, *ONE_BYTE),
        "is not raised again",
    ),
    "who is strict tolerates everything": Breakage(
        *("stream_machine", Outcome, "note", Outcome.record),
        seed(b"x\n" + HELLO),
        "strict, and it tolerates",
    ),
    "the end takes the verdict back": Breakage(
        *("stream_machine", EventReader, "_conclude"),
        after(
            EventReader._conclude,
            lambda self: setattr(self._outcome, "verdict", Verdict.TRUNCATED),
        ),
        seed(HELLO),
        "a verdict has changed",
    ),
    "a cut message is a whole one": Breakage(
        *("stream_machine", outcome_module, "VERDICTS", dict.fromkeys(State, Verdict.COMPLETE)),
        seed(HELLO[:-60]),
        "complete without the proof",
    ),
    "what was lost is not known": Breakage(
        *("stream_machine", ViolationLog, "first_loss", property(lambda _: None, mute)),
        seed(CUT_CALL),
        "the first loss",
    ),
    "a loss makes nothing damaged": Breakage(
        *("stream_machine", outcome_module, "ENDED", ()),
        seed(CUT_CALL.partition(b"event: message_stop")[0]),
        "UNTERMINATED, and",
    ),
    "who is strict tolerates a loss": Breakage(
        *("stream_machine", ViolationCode, "is_fatal_if_strict", False),
        seed(CUT_CALL),
        "strict, and it tolerates",
    ),
    "an input of which a piece was lost is whole": Breakage(
        *("stream_machine", GrowingBlock, "record_input_loss", mute),
        seed(CUT_CALL),
        "a piece of it was lost",
    ),
    "an error does not name what was lost": Breakage(
        *("stream_machine", IncompleteMessageError, "first_loss", property(lambda _: None, mute)),
        seed(CUT_CALL),
        "the loss that the error names",
    ),
    "a block is shown as it was when somebody looked": Breakage(
        *("stream_machine", GrowingBlock, "grow", stale),
        seed(HELLO, *FOURTH_EVENT),
        "the first look",
    ),
    "an event is written with a member too many": Breakage(
        *("stream_machine", encode_module, "encode_json"),
        lambda value: json.dumps({**value, "x": 1}),
        seed(HELLO),
        "events written and read again",
    ),
    "blocks are not counted": Breakage(
        *("stream_machine", Fold, "_check_blocks", mute),
        seed(TWO_BLOCKS, *ONE_BLOCK),
        r"\d\d blocks",
    ),
    "a machine keeps whatever came": Breakage(
        *("stream_machine", EventReader, "_decode_and_fold", hoarding),
        seed(b"data: {}\n\n", *LITTLE_MEMORY),
        "a machine holds",
    ),
    "each frame is worked on too long": Breakage(
        *(
            "cost",
            EventReader,
            "_decode_and_fold",
            before(EventReader._decode_and_fold, lambda *_: idle(5_000)),
        ),
        seed(b"data:x\n\n" * 40),
        "would be enough",
    ),
    "NaN is taken for a number": Breakage(
        *("partial_json", DECODER, "decode", json.loads),
        seed(b"[NaN]"),
        "is no JSON",
    ),
    "an infinite number is taken for a finite one": Breakage(
        *("partial_json", json_module, "FINITE_DECODER", json.JSONDecoder()),
        seed(b"[1e999]"),
        "the error of an infinite number",
    ),
    "no text is ever dead": Breakage(
        *("partial_json", PartialJSON, "dead_at", property(lambda _: None)),
        seed(b"[}"),
        "is dead, and is not said to be",
    ),
    "each text is dead from the start": Breakage(
        *("partial_json", PartialJSON, "dead_at", property(lambda _: 0)),
        seed(b"[1]"),
        "is said to be dead, and is not",
    ),
    "a number that is not finished is not shown": Breakage(
        *("partial_json", PartialJSON, "_show_number", mute),
        seed(b"1"),
        "the value of a whole text",
    ),
    "a number that was read stays where it was": Breakage(
        *("partial_json", PartialJSON, "_hide_number", mute),
        seed(b"[12]"),
        "read after",
    ),
    "a pickled parser forgets what it has read": Breakage(
        *("partial_json", PartialJSON, "__reduce__", lambda _: (PartialJSON, ())),
        seed(b'{"a": [1, 2]}', *THREE_BYTES_EACH),
        "read after",
    ),
    "a header keeps a credential": Breakage(
        *("capture", capture_module, "_RECORDED_HEADERS", re.compile(".*")),
        seed(A_SECRET),
        "x-api-key",
    ),
    "a writer changes the time": Breakage(
        *("capture", CaptureWriter, "chunk", lying),
        seed(A_CAPTURE),
        "a capture written again",
    ),
    "a recording that was cut cannot be read": Breakage(
        *("capture", capture_module, "_json_lines", impatient),
        seed(A_CAPTURE, *(0,) * 9, 1),
        "no line end",
    ),
}


@pytest.mark.parametrize("breakage", BROKEN.values(), ids=BROKEN)
def test_a_target_sees_what_is_broken(monkeypatch: pytest.MonkeyPatch, breakage: Breakage) -> None:
    target = targets.TARGETS[breakage.target]
    target(breakage.data)
    monkeypatch.setattr(breakage.owner, breakage.name, breakage.broken, raising=False)
    with pytest.raises((AssertionError, CaptureError), match=breakage.complaint):
        target(breakage.data)
