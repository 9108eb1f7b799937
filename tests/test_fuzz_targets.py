"""The fuzz targets pass on old findings and on the examples, and fail if the library is broken.

The tests need no fuzzer.
"""

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
import sansio_stream.capture.header as header_module
import sansio_stream.capture.reader as capture_module
import sansio_stream.encode as encode_module
import sansio_stream.frame_buffer as buffer_module
import sansio_stream.frames as frames_module
import sansio_stream.outcome as outcome_module
import sansio_stream.partial_json.whole as json_module
import sansio_stream.snapshot as snapshot_module
import seeds
import targets
import wire
from cases import HEAD, INTERRUPTED, MEMORY, seed
from sansio_stream import (
    CaptureError,
    CaptureReader,
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
from sansio_stream.partial_json.scanner import Scanner
from sansio_stream.plain_path import PlainReader

pytestmark = pytest.mark.exhaustive

FINDINGS = Path(seeds.__file__).parent / "findings"

EACH_TARGET = pytest.mark.parametrize("target", targets.TARGETS)


@pytest.mark.parametrize(
    ("target", "path"),
    [(path.parent.name, path) for path in sorted(FINDINGS.glob("*/*"))],
    ids=lambda value: getattr(value, "name", value),
)
def test_a_target_passes_on_an_old_finding(target: str, path: Path) -> None:
    targets.TARGETS[target](path.read_bytes())


@EACH_TARGET
def test_a_target_passes_on_the_examples(target: str) -> None:
    inputs = seeds.seeds(target) + seeds.whole_examples(target)
    assert inputs
    for data in inputs:
        targets.TARGETS[target](data)


@EACH_TARGET
@given(st.binary(max_size=80), st.lists(st.sampled_from(seeds.words())))
@example(b"", [])
def test_a_target_passes_on_any_bytes(target: str, head: bytes, words: list[str]) -> None:
    targets.TARGETS[target](head + "".join(words).encode())


@EACH_TARGET
@given(st.data(), st.binary(max_size=HEAD), st.integers(0, 2**32))
def test_a_target_passes_on_changed_examples(
    target: str, data: st.DataObject, head: bytes, chance: int
) -> None:
    chosen = data.draw(st.sampled_from(seeds.seeds(target)))
    changed = mutator.mutate(head + chosen[len(head) :], random.Random(chance))
    targets.TARGETS[target](changed)


# The mutator and the shortening of inputs.


def test_a_changed_stream_depends_only_on_the_random_seed_and_is_mostly_still_read() -> None:
    stream = seeds.seeds("stream_machine")[0]
    changed = [mutator.mutate(stream, random.Random(chance)) for chance in range(200)]
    assert changed == [mutator.mutate(stream, random.Random(chance)) for chance in range(200)]
    assert len(set(changed)) > 190
    read = [fuzz_machine.read([data[HEAD:]], Limits(), strict=False) for data in changed]
    assert sum(len(outcome.events) > 5 for _, outcome in read) > 100


def test_a_shortened_finding_fails_as_before() -> None:
    def target(data: bytes) -> None:
        assert data.count(b"\r", HEAD) < 2, "two carriage returns"

    found = seed(b"data: x\r\ndata: yyyyyyyyyyyyy\r\n\r\n", 1, 2, 3)
    assert run.shortened(target, found, HEAD) == seed(b"\r\r", 1, 2, 3)


# Each target can fail.


def with_call_after(
    original: Callable[..., Any], then: Callable[..., object]
) -> Callable[..., Any]:
    """Return a method that calls `then` at its end."""

    def patched(self: Any, *args: Any, **options: Any) -> Any:
        result = original(self, *args, **options)
        then(self, *args)
        return result

    return patched


def with_call_before(
    original: Callable[..., Any], first: Callable[..., object]
) -> Callable[..., Any]:
    """Return a method that calls `first` at its beginning."""

    def patched(self: Any, *args: Any, **options: Any) -> Any:
        first(self, *args)
        return original(self, *args, **options)

    return patched


def idle(rounds: int) -> None:
    """Spend time in a loop."""
    for _ in range(rounds):
        pass


def forget_partial_line(self: FrameBuffer, state: tuple[None, dict[str, Any]]) -> None:
    """Unpickle a buffer without its unfinished line."""
    for name, value in state[1].items():
        setattr(self, name, value)
    self.partial = bytearray()


def forget_line_end(self: FrameBuffer, data: bytes, add: Any = FrameBuffer._add) -> None:
    """Add data without the information how the last line ended."""
    self._set_text(b"")
    add(self, data)


def add_without_limit(self: ViolationLog, fault: LocatedFlaw, event_number: int) -> None:
    """Keep every violation."""
    self.count += 1
    self._kept.append(fault.violation(event_number))


def grow_without_new_snapshot(
    self: GrowingBlock, delta: Any, size: int, grow: Any = GrowingBlock.grow
) -> None:
    """Add a delta, but keep the snapshot of the block that was made before."""
    block = self._latest
    grow(self, delta, size)
    self._latest = block
    self._count = len(self._run_pieces)


def keep_every_event(
    self: PlainReader, source: Any, admit: Any = PlainReader._decode_and_fold
) -> Any:
    """Store a text for each event."""
    self._fold.tool_ids.add(f"{source} {len(self._fold.tool_ids)}")
    return admit(self, source)


def do_nothing(self: Any, *_: object) -> None:
    """Do nothing."""


def write_half_the_time(
    self: CaptureWriter, data: bytes, at: float, write: Any = CaptureWriter.chunk
) -> Any:
    """Write half of the given time."""
    return write(self, data, at / 2)


def require_line_end(self: Any, close: Any = capture_module.Input.close) -> None:
    """Reject a file whose last line is cut."""
    if self._pieces and not self._pieces[-1].endswith(b"\n"):
        raise CaptureError(1, "no line end")
    close(self)


def decide_by_one_piece(self: Any, data: bytes) -> None:
    """Take a file for a body if its first piece is not the whole beginning of a capture."""
    is_capture = data.startswith(capture_module.FIRST_BYTES)
    self._begin("capture" if is_capture else "body", data)


# The bodies and files.
HELLO = wire.body(*wire.HELLO)
CUT_CALL = wire.body(
    *(wire.message_start(), wire.tool_start(0), wire.json_piece(0, "{}"), wire.json_piece(7, "1")),
    *(wire.block_stop(0), wire.message_delta("tool_use"), wire.MESSAGE_STOP),
)
TWO_LINES = b"data: x\r\ndata: y\r\n\r\n"
TWO_BLOCKS = wire.body(wire.message_start(), wire.block_start(0), wire.block_start(1))
A_CAPTURE = b'{"sansio_stream_capture": 1}\n{"at": 1, "text": "x"}\n{"at": 2, "end": "eof"}\n'
A_SECRET = b'{"sansio_stream_capture": 1, "headers": {"x-api-key": "sk"}}\n'

# The first bytes of an input, which `Case` reads as choices.
ONE_BYTE = (1,)
ONE_BLOCK = (0, 0, 0, 2, 0, 0, MEMORY)
ONE_VIOLATION = (0, 0, 0, 0, 0, 2)
LITTLE_MEMORY = (4, 1, 0, 1, 0, 1, MEMORY)
FOURTH_EVENT = (0, 0, 0, 0, 0, 0, 0, 3)
THREE_BYTES_EACH = (0, 0, 0, 0, 0, 0, INTERRUPTED, 0, 3)


@attrs.frozen
class Breakage:
    """A part of the library that a test breaks.

    Attributes:
        target: the name of the target that must fail.
        owner: the object with the broken attribute.
        name: the name of the attribute.
        broken: the broken value.
        data: the input of the target.
        message: a pattern of the target's message.
    """

    target: str
    owner: Any
    name: str
    broken: Any
    data: bytes
    message: str


BROKEN = {
    "a CRLF in two chunks ends two lines": Breakage(
        *("sse_decoder", FrameBuffer, "_add", forget_line_end),
        seed(TWO_LINES),
        "read in single bytes",
    ),
    "a pickled decoder forgets an unfinished line": Breakage(
        *("sse_decoder", FrameBuffer, "__setstate__", forget_partial_line),
        seed(TWO_LINES, *THREE_BYTES_EACH),
        "read in pieces",
    ),
    "a decoder continues after an error": Breakage(
        *("sse_decoder", ErrorLatch, "raise_if_set", do_nothing),
        seed(TWO_LINES, *ONE_BYTE),
        "is not raised again",
    ),
    "all violations are kept": Breakage(
        *("sse_decoder", ViolationLog, "add", add_without_limit),
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
        "a decoder takes",
    ),
    "an event is written as another event": Breakage(
        *("sse_decoder", fuzz_sse, "encode_sse", lambda _: b"data: z\n\n"),
        seed(TWO_LINES),
        "an event written and read again",
    ),
    "a pickled machine forgets an unfinished line": Breakage(
        *("stream_machine", FrameBuffer, "__setstate__", forget_partial_line),
        seed(HELLO, *THREE_BYTES_EACH),
        "read in pieces",
    ),
    "a machine continues after an error": Breakage(
        *("stream_machine", ErrorLatch, "raise_if_set", do_nothing),
        seed(HELLO, *ONE_BYTE),
        "is not raised again",
    ),
    "a strict machine tolerates all violations": Breakage(
        *("stream_machine", Outcome, "note", Outcome.record),
        seed(b"x\n" + HELLO),
        "strict reading tolerates",
    ),
    "the end of the stream changes the verdict": Breakage(
        *("stream_machine", PlainReader, "_conclude"),
        with_call_after(
            PlainReader._conclude,
            lambda self: setattr(self._outcome, "verdict", Verdict.TRUNCATED),
        ),
        seed(HELLO),
        "the verdict has changed",
    ),
    "a cut message is complete": Breakage(
        *("stream_machine", outcome_module, "VERDICTS", dict.fromkeys(State, Verdict.COMPLETE)),
        seed(HELLO[:-60]),
        "`complete` contradicts the verdict",
    ),
    "the first loss is not recorded": Breakage(
        *("stream_machine", ViolationLog, "first_loss", property(lambda _: None, do_nothing)),
        seed(CUT_CALL),
        "the first loss",
    ),
    "a loss does not damage the message": Breakage(
        *("stream_machine", outcome_module, "ENDED", ()),
        seed(CUT_CALL.partition(b"event: message_stop")[0]),
        "UNTERMINATED in spite of",
    ),
    "a strict machine tolerates a loss": Breakage(
        *("stream_machine", ViolationCode, "is_fatal_if_strict", False),
        seed(CUT_CALL),
        "strict reading tolerates",
    ),
    "an input with a lost piece is complete": Breakage(
        *("stream_machine", GrowingBlock, "record_input_loss", do_nothing),
        seed(CUT_CALL),
        "although a piece was lost",
    ),
    "an error does not name the loss": Breakage(
        *(
            "stream_machine",
            IncompleteMessageError,
            "first_loss",
            property(lambda _: None, do_nothing),
        ),
        seed(CUT_CALL),
        "the loss that the error names",
    ),
    "the snapshot of a block is not renewed": Breakage(
        *("stream_machine", GrowingBlock, "grow", grow_without_new_snapshot),
        seed(HELLO, *FOURTH_EVENT),
        "first observed",
    ),
    "an event is written with an additional member": Breakage(
        *("stream_machine", encode_module, "encode_json"),
        lambda value: json.dumps({**value, "x": 1}),
        seed(HELLO),
        "events written and read again",
    ),
    "blocks are not counted": Breakage(
        *("stream_machine", snapshot_module, "require_blocks", do_nothing),
        seed(TWO_BLOCKS, *ONE_BLOCK),
        r"\d\d blocks",
    ),
    "a machine keeps every event": Breakage(
        *("stream_machine", PlainReader, "_decode_and_fold", keep_every_event),
        seed(b"data: {}\n\n", *LITTLE_MEMORY),
        "a machine takes",
    ),
    "each frame takes too long": Breakage(
        *(
            "cost",
            PlainReader,
            "_decode_and_fold",
            with_call_before(PlainReader._decode_and_fold, lambda *_: idle(5_000)),
        ),
        seed(b"data:x\n\n" * 40),
        "steps, and the bound is",
    ),
    "NaN is accepted as a number": Breakage(
        *("partial_json", DECODER, "decode", json.loads),
        seed(b"[NaN]"),
        "is not JSON",
    ),
    "an infinite number is accepted as a finite one": Breakage(
        *("partial_json", json_module, "FINITE_DECODER", json.JSONDecoder()),
        seed(b"[1e999]"),
        "the error of an infinite number",
    ),
    "no text is dead": Breakage(
        *("partial_json", PartialJSON, "dead_at", property(lambda _: None)),
        seed(b"[}"),
        "cannot become JSON, but dead_at does not report it",
    ),
    "each text is dead from the start": Breakage(
        *("partial_json", PartialJSON, "dead_at", property(lambda _: 0)),
        seed(b"[1]"),
        "can become JSON, but it is reported as dead",
    ),
    "an unfinished number is not shown": Breakage(
        *("partial_json", Scanner, "_show_number", do_nothing),
        seed(b"1"),
        "the value of a whole text",
    ),
    "an unfinished number is not removed": Breakage(
        *("partial_json", Scanner, "_hide_number", do_nothing),
        seed(b"[12]"),
        "read after",
    ),
    "a pickled parser forgets the text": Breakage(
        *("partial_json", PartialJSON, "__reduce__", lambda _: (PartialJSON, ())),
        seed(b'{"a": [1, 2]}', *THREE_BYTES_EACH),
        "read after",
    ),
    "a header keeps a credential": Breakage(
        *("capture", header_module, "_RECORDED_HEADERS", re.compile(".*")),
        seed(A_SECRET),
        "x-api-key",
    ),
    "a writer changes the time": Breakage(
        *("capture", CaptureWriter, "chunk", write_half_the_time),
        seed(A_CAPTURE),
        "a capture written again",
    ),
    "a cut recording cannot be read": Breakage(
        *("capture", capture_module.Input, "close", require_line_end),
        seed(A_CAPTURE, *(0,) * 9, 1),
        "no line end",
    ),
    "a cut in the first bytes changes the kind of file": Breakage(
        *("capture", CaptureReader, "_decide", decide_by_one_piece),
        seed(A_CAPTURE, *THREE_BYTES_EACH),
        "a file in pieces",
    ),
}


@pytest.mark.parametrize("breakage", BROKEN.values(), ids=BROKEN)
def test_a_target_fails_if_the_library_is_broken(
    monkeypatch: pytest.MonkeyPatch, breakage: Breakage
) -> None:
    target = targets.TARGETS[breakage.target]
    target(breakage.data)
    monkeypatch.setattr(breakage.owner, breakage.name, breakage.broken, raising=False)
    with pytest.raises((AssertionError, CaptureError), match=breakage.message):
        target(breakage.data)
