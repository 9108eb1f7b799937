"""Kept snapshots and blocks keep the value of their moment while the machine goes on.

A running block stores its growing text and a length, and a snapshot shares its finished blocks with
other snapshots. The tests keep such objects, let the machine go on, and compare them with their
values at their moment.
"""

import contextlib
import copy
import pickle
import queue
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final

import attrs
import pytest
from hypothesis import given, strategies as st

import sansio_stream
from sansio_stream import (
    Message,
    ProtocolError,
    StreamMachine,
    TextBlock,
    ThinkingBlock,
    ToolUseBlock,
    block_from_dict,
)
from sansio_stream.blocks import ACCEPTED, FOLDS, Append
from sansio_stream.growing import MANY_PIECES
from sansio_stream.reader import RUN_BYTES
from sansio_stream.testing import FaultyStream, cuts, faults, scripts, wire
from test_fast_path import api_frame
from test_growth import calls, many_blocks, memory
from wire import (
    block_start,
    block_stop,
    body,
    frame,
    json_piece,
    message_start,
    text,
    tool_start,
)

INDEXES: Final = range(4)
"""The indexes at which the property tests read blocks."""


def through_pickle(item: Any) -> Any:
    return pickle.loads(pickle.dumps(item))


DUPLICATES: Final = pytest.mark.parametrize(
    "duplicate", [copy.copy, copy.deepcopy, through_pickle, attrs.evolve]
)


def value_of(look: Any) -> list[Any]:
    """Return everything that a snapshot or a block shows."""
    values: list[Any] = [look, repr(look), look.to_dict()]
    for block in look.content if isinstance(look, Message) else [look]:
        names = "input_json", "input_state", "input_error", "partial_input"
        values += [copy.deepcopy(getattr(block, name, None)) for name in names]
    return values


def looks_at(machine: StreamMachine) -> Iterator[Any]:
    """Yield the snapshot and the blocks of a machine, as far as it has them."""
    for look in (machine.snapshot, *map(machine.block, INDEXES)):
        if look is not None:
            yield look


# Any stream.


def assert_looks_keep_their_values(
    chunks: tuple[bytes, ...] | list[bytes], read: Callable[[], bool], **options: Any
) -> None:
    """Keep each snapshot and each block of a stream, and check their values at its end.

    Args:
        chunks: the stream.
        read: whether to read the looks at their moment; called after each event. Reading joins
            texts, which must not change what other looks show.
        options: the options of the machine.
    """
    machine = StreamMachine(**options)
    kept: list[tuple[Any, Any, Any]] = []
    with contextlib.suppress(ProtocolError):
        for chunk in (*chunks, None):
            for _ in machine.receive_eof() if chunk is None else machine.receive_data(chunk):
                is_read = read()
                for look in looks_at(machine):
                    copied = copy.deepcopy(look)
                    kept.append((look, copied, value_of(look) if is_read else None))
    for look, copied, value in reversed(kept):
        assert value_of(look) == value_of(copied)
        assert value is None or value_of(look) == value
    for look, copied, _ in kept:
        assert value_of(look) == value_of(copied)


@given(st.data(), scripts(), st.booleans())
def test_each_kept_snapshot_and_block_equals_a_copy_that_was_made_at_its_moment(
    data: st.DataObject, script: Any, fast_path: bool
) -> None:
    chunks = data.draw(wire(script).flatmap(cuts))
    assert_looks_keep_their_values(chunks, lambda: data.draw(st.booleans()), fast_path=fast_path)


@given(st.data(), faults("halved_character") | faults())
def test_kept_looks_keep_their_values_in_a_faulty_stream(
    data: st.DataObject, faulty: FaultyStream
) -> None:
    assert_looks_keep_their_values(
        faulty.chunks, lambda: data.draw(st.booleans()), limits=faulty.limits
    )


# One running block of each kind.


@attrs.frozen
class Kind:
    """A kind of block with a growing text.

    Attributes:
        start: the block of content_block_start.
        delta: the type of its deltas.
        member: the member of the block that grows.
        read: returns the text of a block.
    """

    start: dict[str, Any]
    delta: bytes
    member: str
    read: Callable[[Any], str]


TEXT: Final = Kind({"type": "text", "text": ""}, b"text_delta", "text", lambda block: block.text)
THINKING: Final = Kind(
    {"type": "thinking", "thinking": "", "signature": ""},
    b"thinking_delta",
    "thinking",
    lambda block: block.thinking,
)
TOOL_USE: Final = Kind(
    tool_start(0)["content_block"], b"input_json_delta", "input", lambda block: block.input_json
)
KINDS: Final = pytest.mark.parametrize(
    "kind", [TEXT, THINKING, TOOL_USE], ids=["text", "thinking", "tool_use"]
)
TEXTS: Final = pytest.mark.parametrize("kind", [TEXT, THINKING], ids=["text", "thinking"])
PATHS: Final = pytest.mark.parametrize("fast_path", [True, False])


def machine_with(kind: Kind, *pieces: str, **options: Any) -> StreamMachine:
    """Return a machine with a running block that has got these pieces."""
    machine = StreamMachine(**options)
    list(machine.receive_data(body(message_start(), block_start(0, kind.start))))
    add(machine, kind, *pieces)
    return machine


def add(machine: StreamMachine, kind: Kind, *pieces: str) -> None:
    """Let the block get more pieces, in the layout of the API."""
    for piece in pieces:
        list(machine.receive_data(api_frame(0, piece, kind.delta)))


def message_of(machine: StreamMachine) -> Message:
    message = machine.snapshot
    assert message is not None
    return message


@TEXTS
@PATHS
@DUPLICATES
def test_a_kept_running_block_behaves_like_a_block_that_was_made_from_its_value(
    kind: Kind, fast_path: bool, duplicate: Callable[[Any], Any]
) -> None:
    machine = machine_with(kind, "Hel", "lo", fast_path=fast_path)
    block: Any = machine.block(0)
    message = message_of(machine)
    add(machine, kind, ", world", "!")
    plain = block_from_dict({**kind.start, kind.member: "Hello"})
    for kept in (block, duplicate(block), message.content[0], duplicate(message).content[0]):
        assert type(kept) is type(plain)
        assert kept == plain
        assert plain == kept
        assert kept != machine.block(0)
        assert repr(kept) == repr(plain)
        assert kept.to_dict() == plain.to_dict() == {**kind.start, kind.member: "Hello"}
        assert kept.extra == {}


@PATHS
@DUPLICATES
def test_a_kept_running_call_has_the_input_of_its_moment(
    fast_path: bool, duplicate: Callable[[Any], Any]
) -> None:
    machine = machine_with(TOOL_USE, r"{\"a\": 1", ", ", fast_path=fast_path)
    block, message = machine.block(0), message_of(machine)
    add(machine, TOOL_USE, r"\"b\": 2}")
    list(machine.receive_data(frame(block_stop(0))))
    for kept in (block, duplicate(block), message.content[0], duplicate(message).content[0]):
        assert isinstance(kept, ToolUseBlock)
        assert (kept.input, kept.input_json, kept.input_state) == (None, '{"a": 1, ', "incomplete")
        assert kept.partial_input == {"a": 1}
        assert kept.to_dict()["input"] is None
    newest = machine.block(0)
    assert isinstance(newest, ToolUseBlock)
    assert newest.input == {"a": 1, "b": 2}


@TEXTS
@PATHS
def test_a_kept_block_is_matched_by_its_value(kind: Kind, fast_path: bool) -> None:
    machine = machine_with(kind, "Hel", "lo", fast_path=fast_path)
    block, message = machine.block(0), machine.snapshot
    add(machine, kind, ", world")
    for kept in (block, message and message.content[0]):
        match kept:
            case TextBlock(text=words, citations=None) | ThinkingBlock(words, ""):
                assert words == "Hello"
            case _:
                pytest.fail("the pattern does not match")
    match message:
        case Message(content=(TextBlock("Hello") | ThinkingBlock("Hello"),), complete=False):
            pass
        case _:
            pytest.fail("the pattern does not match")


@PATHS
def test_a_changed_copy_of_a_kept_look_has_the_other_members_of_its_moment(
    fast_path: bool,
) -> None:
    machine = machine_with(TEXT, "Hel", "lo", fast_path=fast_path)
    block: Any = machine.block(0)
    message: Any = machine.snapshot
    add(machine, TEXT, ", world")
    cited = attrs.evolve(block, citations=())
    assert (cited.text, cited.citations) == ("Hello", ())
    assert attrs.evolve(block, text="x") == TextBlock("x")
    assert block.text == "Hello"
    renamed = attrs.evolve(message, model="another")
    assert (renamed.model, renamed.content) == ("another", (TextBlock("Hello"),))
    assert attrs.evolve(message, content=()).content == ()
    assert message.content == (TextBlock("Hello"),)


@KINDS
def test_a_kept_look_cannot_be_changed(kind: Kind) -> None:
    machine = machine_with(kind, "Hel", "lo")
    block, message = machine.block(0), message_of(machine)
    for look, name in ((block, kind.member), (message, "content")):
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            setattr(look, name, "x")
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            delattr(look, name)


def test_kept_snapshots_have_the_blocks_of_their_moment() -> None:
    machine = machine_with(TEXT, "a")
    messages = [message_of(machine)]
    for index in range(1, 5):
        for step in (block_stop(index - 1), block_start(index), text(index, "b")):
            list(machine.receive_data(frame(step)))
            messages.append(message_of(machine))
    texts = [[block.to_dict()["text"] for block in message.content] for message in messages]
    assert texts == [
        ["a"],
        *([["a"], ["a", ""], ["a", "b"]]),
        *([["a", "b"], ["a", "b", ""], ["a", "b", "b"]]),
        *([["a", "b", "b"], ["a", "b", "b", ""], ["a", "b", "b", "b"]]),
        *([["a", "b", "b", "b"], ["a", "b", "b", "b", ""], ["a", "b", "b", "b", "b"]]),
    ]


def test_a_block_that_begins_later_with_a_smaller_index_is_not_in_kept_snapshots() -> None:
    machine = StreamMachine()
    list(machine.receive_data(body(message_start(), block_start(1), text(1, "b"), block_stop(1))))
    before = message_of(machine)
    list(machine.receive_data(body(block_start(0), text(0, "a"))))
    running = message_of(machine)
    list(machine.receive_data(body(text(0, "!"), block_stop(0))))
    after = message_of(machine)
    assert before.content == (TextBlock("b"),)
    assert running.content == (TextBlock("a"), TextBlock("b"))
    assert after.content == (TextBlock("a!"), TextBlock("b"))


def test_a_loss_after_the_stop_of_a_call_does_not_change_kept_looks() -> None:
    machine = machine_with(TOOL_USE, r"{\"a\": 1}")
    list(machine.receive_data(frame(block_stop(0))))
    kept = machine.block(0), message_of(machine).content[0]
    list(machine.receive_data(frame(json_piece(0, "lost"))))
    newest = machine.block(0), message_of(machine).content[0]
    for block in kept:
        assert isinstance(block, ToolUseBlock)
        assert (block.input, block.input_state) == ({"a": 1}, "complete")
    for block in newest:
        assert isinstance(block, ToolUseBlock)
        assert (block.input, block.input_state) == (None, "invalid")


def test_a_kept_snapshot_has_the_blocks_of_its_moment_when_later_blocks_stop() -> None:
    machine = StreamMachine()
    list(machine.receive_data(body(message_start())))
    kept: list[Message] = []
    for index in range(4):
        list(machine.receive_data(body(block_start(index), text(index, f"{index}"))))
        kept.append(message_of(machine))
        list(machine.receive_data(frame(block_stop(index))))
        kept.append(message_of(machine))
    texts = [[block.to_dict()["text"] for block in message.content] for message in kept]
    assert texts == [[f"{index}" for index in range(count // 2 + 1)] for count in range(8)]


@KINDS
@PATHS
def test_kept_looks_keep_their_texts_when_many_pieces_are_joined(
    kind: Kind, fast_path: bool
) -> None:
    machine = machine_with(kind, fast_path=fast_path)
    # The pieces are joined after a run, which has this many bytes.
    count = 3 * max(MANY_PIECES, RUN_BYTES // len(api_frame(0, "0000", kind.delta)))
    pieces = [f"{number:04}" for number in range(count)]
    kept: list[tuple[Any, str]] = []
    so_far = ""
    for number, piece in enumerate(pieces):
        add(machine, kind, piece)
        so_far += piece
        if number % 50 == 0:
            kept += (machine.block(0), so_far), (message_of(machine).content[0], so_far)
    list(machine.receive_data(frame(block_stop(0))))
    for block, expected in kept[::-1] + kept:
        assert kind.read(block) == expected


# Surrogate pairs that are cut between two deltas.

CUT_PIECES: Final = {
    TEXT.delta: (["x", r"\ud83d", r"\ude00", "y"], ["x", "x\ud83d", "x😀", "x😀y"]),
    TOOL_USE.delta: (
        [r"{\"a\": \"x", r"\ud83d", r"\ude00", r"y\"}"],
        ['{"a": "x', '{"a": "x\ud83d', '{"a": "x😀', '{"a": "x😀y"}'],
    ),
}


@KINDS
@PATHS
@pytest.mark.parametrize("is_read", [True, False])
def test_kept_looks_have_the_half_of_a_character_that_had_come_at_their_moment(
    kind: Kind, fast_path: bool, is_read: bool
) -> None:
    pieces, texts = CUT_PIECES.get(kind.delta, CUT_PIECES[TEXT.delta])
    machine = machine_with(kind, fast_path=fast_path)
    kept: list[Any] = []
    for piece in pieces:
        add(machine, kind, piece)
        kept += machine.block(0), message_of(machine).content[0]
        if is_read:
            assert [kind.read(block) for block in kept[-2:]] == texts[len(kept) // 2 - 1 :][:1] * 2
    list(machine.receive_data(frame(block_stop(0))))
    expected = [each for each in texts for _ in range(2)]
    assert [kind.read(block) for block in kept] == expected
    assert [kind.read(block) for block in reversed(kept)] == expected[::-1]
    assert [kind.read(through_pickle(block)) for block in kept] == expected


@PATHS
def test_the_partial_input_of_a_kept_call_lacks_the_half_of_a_character(fast_path: bool) -> None:
    pieces, _ = CUT_PIECES[TOOL_USE.delta]
    machine = machine_with(TOOL_USE, fast_path=fast_path)
    kept: list[Any] = []
    for piece in pieces:
        add(machine, TOOL_USE, piece)
        kept.append(machine.block(0))
    shown = [block.partial_input for block in kept]
    assert shown == [{"a": "x"}, {"a": "x"}, {"a": "x😀"}, {"a": "x😀y"}]


# Threads.


@KINDS
@PATHS
@pytest.mark.parametrize("piece", ["word ", "é🎉", r"\ud83d", r"\ude00"])
def test_threads_read_the_texts_of_kept_looks_while_the_machine_goes_on(
    kind: Kind, fast_path: bool, piece: str
) -> None:
    looks: queue.SimpleQueue[Any] = queue.SimpleQueue()
    read: queue.SimpleQueue[tuple[int, str]] = queue.SimpleQueue()

    def read_looks() -> None:
        while (item := looks.get()) is not None:
            number, look = item
            block = look.content[0] if isinstance(look, Message) else look
            read.put((number, kind.read(block)))

    threads = [threading.Thread(target=read_looks) for _ in range(3)]
    for thread in threads:
        thread.start()
    machine = machine_with(kind, fast_path=fast_path)
    # Every second piece is whole, so that the text grows in both ways.
    pieces = [piece, "x"] * (2 * RUN_BYTES // len(api_frame(0, "x", kind.delta)) // 2)
    try:
        for number, each in enumerate(pieces):
            add(machine, kind, each)
            looks.put((number, machine.block(0)))
            looks.put((number, message_of(machine)))
    finally:
        for _ in threads:
            looks.put(None)
        for thread in threads:
            thread.join()
    # `json` reads the escapes of a piece.
    whole = "".join(decoded(each) for each in pieces)
    lengths = [0]
    for each in pieces:
        lengths.append(lengths[-1] + len(decoded(each)))
    results = [read.get() for _ in range(read.qsize())]
    assert len(results) == 2 * len(pieces)
    assert all(found == whole[: lengths[number + 1]] for number, found in results)


def decoded(piece: str) -> str:
    return piece.encode().decode("unicode_escape") if "\\" in piece else piece


# Costs: four times the input takes four times the work, with a margin for effects of rounding.

FOUR_TIMES: Final = 4.6


def kept_after_each_delta(read: Callable[[StreamMachine], Any], kind: Kind, size: int) -> list[Any]:
    """Return what `read` has returned after each of `size` deltas."""
    machine = machine_with(kind, r"{\"a\": [" if kind is TOOL_USE else "")
    piece = api_frame(0, "1, " if kind is TOOL_USE else "word ", kind.delta)
    kept: list[Any] = []
    for _ in range(size):
        kept += [read(machine) for _ in machine.receive_data(piece)]
    return kept


def snapshot(machine: StreamMachine) -> Any:
    return machine.snapshot


def newest_block(machine: StreamMachine) -> Any:
    return machine.block(0)


def partial_input(machine: StreamMachine) -> Any:
    block = machine.block(0)
    assert isinstance(block, ToolUseBlock)
    return block.partial_input


@pytest.mark.parametrize(
    ("read", "kind"),
    [
        (snapshot, TEXT),
        (snapshot, THINKING),
        (snapshot, TOOL_USE),
        (newest_block, TEXT),
        (newest_block, THINKING),
        (newest_block, TOOL_USE),
        (partial_input, TOOL_USE),
    ],
)
def test_four_times_the_deltas_make_four_times_the_calls_if_each_look_is_kept(
    read: Callable[[StreamMachine], Any], kind: Kind
) -> None:
    once, four_times = (
        calls(partial(kept_after_each_delta, read, kind, size)) for size in (1_000, 4_000)
    )
    assert four_times <= FOUR_TIMES * once


@pytest.mark.parametrize(("read", "kind"), [(snapshot, TEXT), (newest_block, TOOL_USE)])
def test_four_times_the_deltas_take_four_times_the_memory_if_each_look_is_kept(
    read: Callable[[StreamMachine], Any], kind: Kind
) -> None:
    once, four_times = (
        memory(partial(kept_after_each_delta, read, kind, size)) for size in (1_000, 4_000)
    )
    assert four_times <= FOUR_TIMES * once


def kept_after_each_block(size: int) -> list[Any]:
    """Return the snapshots after each event of a stream with many blocks."""
    machine = StreamMachine()
    return [machine.snapshot for data in many_blocks(size) for _ in machine.receive_data(data)]


@pytest.mark.parametrize("measure", [calls, memory])
def test_four_times_the_blocks_cost_four_times_as_much_if_each_snapshot_is_kept(
    measure: Callable[[Callable[[], Any]], int],
) -> None:
    once, four_times = (measure(partial(kept_after_each_block, size)) for size in (100, 400))
    assert four_times <= FOUR_TIMES * once


MANY_DELTAS: Final = 10_000


@KINDS
@PATHS
def test_one_kept_look_does_not_keep_the_pieces_of_a_long_text(kind: Kind, fast_path: bool) -> None:
    def work() -> list[Any]:
        machine = machine_with(kind, "x", fast_path=fast_path)
        kept = [machine.block(0), machine.snapshot]
        chunk = api_frame(0, "twelve chars", kind.delta) * 100
        for _ in range(MANY_DELTAS // 100):
            for _ in machine.receive_data(chunk):
                pass
        return [machine, *kept]

    # The joined text, a copy while it is joined, and the pieces of the last run.
    assert memory(work) <= 2.5 * 12 * MANY_DELTAS + 4 * RUN_BYTES


@KINDS
def test_each_of_many_kept_looks_takes_little_memory_however_long_the_text_is(kind: Kind) -> None:
    read = newest_block if kind is TOOL_USE else snapshot
    count = MANY_DELTAS  # the text of an average look has 15 or 25 kB
    assert memory(partial(kept_after_each_delta, read, kind, count)) <= 800 * count


def test_every_text_to_which_a_delta_appends_is_made_when_it_is_read() -> None:
    """Otherwise the member of an open block would be a `TextSoFar`."""
    for block, accepted in ACCEPTED.items():
        rules = [rule for delta in accepted for rule in FOLDS.get(delta, ())]
        members = {rule.member for rule in rules if isinstance(rule, Append)} - {"input"}
        for member in members if block is not sansio_stream.UnknownBlock else ():
            assert isinstance(vars(block)[member], property), (block, member)
