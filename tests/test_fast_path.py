"""The fast path: a machine with it has the same results as a machine without it.

The first tests compare two such machines after every event. The later tests count the frames
that reach the plain path, because the results do not show which path has read a frame.
"""

import copy
import itertools
import json
import pickle
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, TypeAlias

import attrs
import pytest
from hypothesis import given, strategies as st

import sansio_stream.fast_path as fast_path_module
import sansio_stream.plain_path as plain_path_module
from sansio_stream import (
    APIError,
    ContentBlockDeltaEvent,
    ContentBlockStopEvent,
    LimitError,
    Limits,
    MessageStreamEvent,
    ProtocolError,
    StreamMachine,
    TextBlock,
    TextDelta,
    UnknownBlock,
    ViolationCode,
)
from sansio_stream.fast_path import MAX_BLANKS
from sansio_stream.frames import Frame
from sansio_stream.reader import FEW_BYTES, WINDOW
from sansio_stream.reading import Reading, measured, read_frame
from sansio_stream.testing import FaultyStream, cuts, faults, scripts, wire
from wire import (
    MESSAGE_STOP,
    OVERLOADED,
    PING,
    Observation,
    at_random,
    block_start,
    block_stop,
    body,
    delta,
    frame,
    in_bytes,
    json_piece,
    message_delta,
    message_start,
    text,
    tool_start,
)

# The results of a machine.


@attrs.frozen
class Consumption:
    """How the test consumes the iterators after one call of a `receive_*` method.

    Attributes:
        count: The maximum number of events to take. None takes all.
        iterator: The iterator to exhaust first: 0 is the newest, 1 the one before it. The newest
            follows.
        duplicate: Makes a copy of the machine that replaces it afterwards. None keeps the machine.
    """

    count: int | None = None
    iterator: int = 0
    duplicate: Callable[[StreamMachine], StreamMachine] | None = None


TAKE_ALL: Final = Consumption()

# Only this many steps at the start may copy the machine. The time of a copy grows with the number
# of events so far.
DUPLICATES: Final = 50


def through_pickle(machine: StreamMachine) -> StreamMachine:
    unpickled: StreamMachine = pickle.loads(pickle.dumps(machine))
    return unpickled


CONSUMPTIONS: Final = st.just([TAKE_ALL]) | st.lists(
    st.builds(
        Consumption,
        st.sampled_from([None, None, 0, 1, 2]),
        st.integers(0, 2),
        st.sampled_from([None, None, None, through_pickle, copy.deepcopy]),
    ),
    min_size=1,
    max_size=5,
)

AFTER_EACH_EVENT: Final = 1
NEVER: Final = 10**9
READ_INTERVALS: Final = st.sampled_from([AFTER_EACH_EVENT, AFTER_EACH_EVENT, 2, 3, NEVER])
"""After how many events `snapshot` and `block` are read. They are built when they are read."""


def results_after(machine: StreamMachine, event: MessageStreamEvent, read_every: int) -> list[Any]:
    results: list[Any] = [
        event,
        repr(event),
        event.to_dict(),
        machine.events_taken,
        machine.event_number,
        machine.byte_offset,
        machine.bytes_received,
        machine.state,
        machine.verdict,
        machine.violation_count,
        machine.violations,
        repr(machine),
    ]
    if machine.events_taken % read_every == 0:
        results += [machine.block(index) for index in range(4)]
        results.append(Observation.of(machine, event))
    return results


def error_values(error: APIError) -> list[Any]:
    return [type(error), str(error), vars(error)]


Received: TypeAlias = bytes | dict[str, Any]


def events_of(machine: StreamMachine, received: Received) -> Iterator[MessageStreamEvent]:
    if isinstance(received, bytes):
        return machine.receive_data(received)
    return machine.receive_event(received)


def results_of(
    steps: Sequence[Received],
    *,
    begin: Sequence[Received] = (),
    consumptions: Sequence[Consumption] = (TAKE_ALL,),
    read_every: int = AFTER_EACH_EVENT,
    **options: Any,
) -> Iterator[Any]:
    """Yield the results of a machine after each event of `steps` and at the end of the body.

    The machine reads `begin` before `steps`. The results after its events are not yielded: many
    cases begin in the same way.
    """
    machine = StreamMachine(**options)
    iterators: list[Iterator[MessageStreamEvent]] = []
    try:
        for received in begin:
            list(events_of(machine, received))
        for number, (received, consumption) in enumerate(zip(steps, itertools.cycle(consumptions))):
            iterators.append(events_of(machine, received))
            older = iterators[-1 - consumption.iterator % len(iterators)]
            taken = itertools.chain(older, iterators[-1])
            for event in itertools.islice(taken, consumption.count):
                yield results_after(machine, event, read_every)
            yield machine.bytes_received
            if consumption.duplicate is not None and number < DUPLICATES:
                machine, iterators = consumption.duplicate(machine), []
        for event in machine.receive_eof():
            yield results_after(machine, event, read_every)
    except ProtocolError as error:
        yield error_values(error)
    try:
        yield machine.final_message()
    except APIError as error:
        yield error_values(error)
    yield [machine.snapshot, machine.state, machine.verdict, machine.violations, repr(machine)]
    yield [machine.event_number, machine.byte_offset, machine.error and repr(machine.error)]


def assert_both_paths_agree(steps: Sequence[Received], **options: Any) -> None:
    assert list(results_of(steps, **options)) == list(results_of(steps, fast_path=False, **options))


# Input of the machines: deltas in different layouts, with several in a row in the same layout.

HEAD: Final = b'{"type":"content_block_delta","index":<index>,'
DATA: Final = HEAD + b'"delta":{"type":"<type>","<member>":"<string>"}<padding>}'


def with_data(data: bytes) -> bytes:
    return b"event: content_block_delta\ndata: " + data + b"\n\n"


API: Final = with_data(DATA)
DUMPS: Final = with_data(
    b'{"type": "content_block_delta", "index": <index>, "delta": {"type": "<type>", '
    b'"<member>": "<string>"}<padding>}'
)
SORTED: Final = with_data(
    b'{"delta":{"<member>":"<string>","type":"<type>"},"index":<index>,'
    b'"type":"content_block_delta"<padding>}'
)
CRLF: Final = API.replace(b"\n", b"\r\n")
UNNAMED: Final = API.replace(b"event: content_block_delta\n", b"")
BLANKS_LAST: Final = API.replace(b"<padding>}", b"} <padding>")
LEARNED: Final = {
    "json.dumps": DUMPS,
    "sorted": SORTED,
    "CRLF": CRLF,
    "without event line": UNNAMED,
    "blanks after the brace": BLANKS_LAST,
    "CRLF, without event line": UNNAMED.replace(b"\n", b"\r\n"),
    "CRLF after the event line": API.replace(b"\n", b"\r\n", 1),
    "CRLF after the data line": API.replace(b"}\n\n", b"}\r\n\r\n"),
}
"""The layouts that the fast path learns from one delta."""
LAYOUTS: Final = (
    API,
    *LEARNED.values(),
    BLANKS_LAST.replace(b"<padding>", b"<padding> <padding>").replace(b"\n", b"\r\n"),
    UNNAMED.replace(b"<padding>}", b"<padding>}<padding>"),
    API.replace(b"}\n\n", b"}\r\n\n"),
    API.replace(b"}\n\n", b"}\n\r\n"),
    API.replace(b"\n", b"\r"),
    API.replace(b"\n", b"\r", 1),
    API.replace(b": c", b":c").replace(b": {", b":{"),
    b"id: 7\n" + API,
    b": a comment\n" + API,
    API.replace(b"\ndata", b"\n: a comment\nretry: 5\ndata"),
    API.replace(b"\n\n", b"\nid: 8\n\n"),
    API.replace(b"\n\n", b'\n: "text": "of a comment"}\n\n'),
    b'id: "text":"x"\n' + API,
    b"\n" + API,
    b"data: " + DATA + b"\nevent: content_block_delta\n\n",
    API.replace(b',"delta', b',\ndata: "delta'),
    API.replace(b'"}<', b'"}\ndata:<'),
    API.replace(b'"}<padding>}', b'"}\rdata: <padding>}'),
    # An index that is another number, or is not an integer.
    API.replace(b"<index>", b"0<index>"),
    API.replace(b"<index>", b"<index>.0"),
    API.replace(b"<index>", b"-<index>"),
    API.replace(b"<index>", b'"<index>"'),
    # Members that occur twice, in another place or with another name.
    with_data(HEAD + b'"delta":{"type":"<type>","<member>":"<string>","<member>":"<string>"}}'),
    with_data(HEAD + b'"delta":{"type":"<type>","<member>":"<string>","<member>":"again"}}'),
    with_data(
        HEAD + b'"delta":{"type":"<type>","<member>":"a"},"delta":'
        b'{"type":"<type>","<member>":"<string>"}}'
    ),
    with_data(
        HEAD + b'"delta":{"type":"<type>","<member>":"<string>"},"delta":'
        b'{"type":"<type>","<member>":"x"}<padding>}'
    ),
    with_data(HEAD + b'"delta":{"type":"<type>","<member>":"<string>"},"index":<index><padding>}'),
    with_data(HEAD + b'"delta":{"type":"<type>","<member>":"<string>"},"index":1}'),
    with_data(HEAD + b'"delta":{"type":"<type>","te\\u0078t":"<string>"}}'),
    with_data(HEAD + b'"text":"<string>","delta":{"type":"<type>","<member>":"x"}}'),
    with_data(HEAD + b'"delta":{"type":"<type>","<member>":"<string>","more":[1]}<padding>}'),
    with_data(HEAD + b'"delta":{"type":"<type>","<member>":"<string>","signature":"s"}}'),
    with_data(HEAD + b'"delta":{"type":"<type>","<member>":"<string>","estimated_tokens":5}}'),
    with_data(HEAD + b'"delta":{"type":"<type>","a\\"<member>":"<string>","<member>":"x"}}'),
    with_data(HEAD + b'"delta":{"type":"<type>","<member>":"<string>"},"text":"of nobody"}'),
    with_data(HEAD + b'"delta":{"type":"<type>","<member>" :\t"<string>"}<padding>}'),
    with_data(HEAD + b'"delta":{"type":"<type>","<member>":"<string>"}<padding>} '),
    with_data(HEAD + b'"delta":{"type":"<type>","<member>":"<string>"}}}'),
    # A comment or id that looks like the text member, with an escape before the end of its line.
    API.replace(b"data: ", b': "text":"\\\rdata: '),
    API.replace(b"data: ", b': "text":"\\\rdata: ').replace(b'"index"', b'\rdata: "index"'),
    API.replace(b"data: ", b'id: "text":"\\\rdata: '),
    # No name, and data that is not one line in the usual form; or another name.
    UNNAMED.replace(b"<padding>}", b"} "),
    UNNAMED.replace(b"data: ", b"data:"),
    UNNAMED.replace(b',"delta', b',\ndata: "delta'),
    UNNAMED.replace(b'"}<', b'"}\ndata: <'),
    UNNAMED.replace(b'"}<', b'"}\rdata: <'),
    b"id: 7\n" + UNNAMED,
    b"colour: red\n" + UNNAMED,
    API.replace(b"content_block_delta", b"content_block_stop", 1),
)
"""Layouts of a delta's frame, with placeholders such as `<index>` for the varying parts. The legal
layouts come first. The rest deviate from them in one detail.
"""

KINDS: Final = {
    b"text_delta": b"text",
    b"thinking_delta": b"thinking",
    b"input_json_delta": b"partial_json",
}
BLOCKS: Final[tuple[tuple[bytes, dict[str, Any]], ...]] = (
    (b"text_delta", {"type": "text", "text": ""}),
    (b"text_delta", {"type": "text", "text": "given"}),
    (b"text_delta", {"type": "text", "text": None, "citations": None}),
    (b"thinking_delta", {"type": "thinking", "thinking": "", "signature": ""}),
    (b"input_json_delta", {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}}),
    (b"input_json_delta", {"type": "server_tool_use", "id": "s", "name": "f", "input": {"a": 1}}),
    (b"input_json_delta", {"type": "mcp_tool_use", "id": "m", "name": "f", "server_name": "x"}),
    (b"input_json_delta", {"type": "hologram", "input": {}}),
    (b"text_delta", {"type": "hologram", "text": "given"}),
    (b"text_delta", {"type": "fallback", "from": {"model": "a"}, "to": {"model": "b"}}),
)


def escaped(words: str) -> bytes:
    """Return the UTF-8 bytes of a JSON string in which every ASCII character is an escape."""
    return "".join(rf"\u{ord(each):04x}" if each < "\x80" else each for each in words).encode()


WORDS: Final = st.text(st.sampled_from('ab {}[]":,1\\/\n\0\x7f\u2028é🎉\ud800'), max_size=5)
STRINGS: Final = st.one_of(
    WORDS.map(lambda words: json.dumps(words)[1:-1].encode()),
    WORDS.map(lambda words: json.dumps(words)[1:-1].encode()),
    st.sampled_from([b'{\\"a\\": ', b'\\"\xc3\xa9', b"\\u00e9 1", b"]}", b"x", b"y", b""]),
    WORDS.map(lambda words: words.replace("\ud800", "")).map(
        lambda words: json.dumps(words, ensure_ascii=False)[1:-1].encode()
    ),
    WORDS.map(lambda words: escaped(words.replace("\ud800", "/"))),
)
LONG: Final = [b"long " * (size // 5) for size in (FEW_BYTES, WINDOW, 2 * WINDOW)]
INVALID_STRINGS: Final = st.sampled_from(
    [
        *(b"\xff", b"\xc3", b"caf\xc3\\u00e9", b"\xed\xa0\x80", b"\\x", b"\\u12", b"\\u12\xc3\xa9"),
        *(b"\\u 123", b"\\\xc3\xa9", b"\\\x01", b"\x01", b"\t", b"\x7f", b'"', b"\\", b"a\\\\\\"),
        *(b'"}', b'","text":"', b"\n", b"\r", b"\n\n", b"\\\n", b"\\\r", b"\0"),
    ]
)
"""Bytes that are invalid in a JSON string or in an event stream, or end the string or the line."""


def frame_in_layout(layout: bytes, index: int, kind: bytes, string: bytes, padding: int) -> bytes:
    return (
        layout.replace(b"<index>", str(index).encode())
        .replace(b"<type>", kind)
        .replace(b"<member>", KINDS[kind])
        .replace(b"<padding>", b" " * padding)
        .replace(b"<string>", string)
    )


def api_frame(index: int, string: str, kind: bytes = b"text_delta", padding: int = 0) -> bytes:
    return frame_in_layout(API, index, kind, string.encode(), padding)


def api_stop(index: int, padding: bytes = b"}") -> bytes:
    """Return the frame of a content_block_stop in the layout of the API."""
    begin = f'event: content_block_stop\ndata: {{"type":"content_block_stop","index":{index}'
    return begin.encode() + padding + b"\n\n"


STOP_PADDINGS: Final = [
    b"}",
    b"     }",
    b" " * MAX_BLANKS + b"}",
    b" " * (MAX_BLANKS + 1) + b"}",
    b"  }  ",
    b"0}",
    b',"by":5}',
    b"",
    b"}\r",
    b"}\ndata:",
    b"}\nid: 5",
]
"""What may follow the index in the frame of a content_block_stop."""


@st.composite
def deltas_in_a_row(draw: st.DrawFn, index: int, kind: bytes) -> list[bytes]:
    """Draw up to six deltas in one layout, of which one may have an invalid string."""
    layout = draw(st.sampled_from([API, API, API, DUMPS, SORTED, *LAYOUTS]))
    kind = draw(st.sampled_from([*[kind] * 6, *KINDS]))
    strings = draw(st.lists(STRINGS, min_size=1, max_size=5))
    if not draw(st.integers(0, 5)):
        strings.insert(draw(st.integers(0, len(strings))), draw(INVALID_STRINGS))
    if not draw(st.integers(0, 3)):
        # A frame that is longer than what the reader tries as one frame, or splits at once.
        at = draw(st.integers(0, len(strings) - 1))
        strings[at] = draw(st.sampled_from(LONG)) + strings[at]
    padding = st.sampled_from([0, 0, 1, 7, 15, MAX_BLANKS, MAX_BLANKS + 1])
    return [frame_in_layout(layout, index, kind, string, draw(padding)) for string in strings]


def events_between(index: int) -> st.SearchStrategy[Received]:
    """Draw a payload or bytes to put between the deltas of a block."""
    payloads: list[dict[str, Any]] = [
        PING,
        PING,
        block_stop(index),
        block_stop(index),
        block_start(index),
        block_start(index + 1),
        block_start(index + 1, BLOCKS[-3][1]),
        delta(index, "signature_delta", signature="s"),
        delta(index, "thinking_delta", thinking="hm", signature="t"),
        delta(index, "citations_delta", citation={"type": "char_location", "cited_text": "c"}),
        delta(index, "sparkle_delta", sparkle="*"),
        text(index + 1, "elsewhere"),
        text(index, "by json.dumps"),
        json_piece(index, '{"by": 5}'),
        {"type": "message_delta", "delta": {}, "usage": {"output_tokens": 1}},
        message_delta(),
        message_start(),
        message_start("msg_2"),
        MESSAGE_STOP,
        OVERLOADED,
        {"type": "weather_report", "sky": "blue"},
    ]
    stops = [api_stop(index, padding) for padding in STOP_PADDINGS]
    noise = [
        *stops,
        api_stop(index + 1),
        b'event: ping\ndata: {"type":"ping"}\n\n',
        b"event: ping\ndata: {}\n\n",
        b'id: 1\nevent: ping\ndata: {"type": "ping"}\n\n',
        b": keepalive\n\n",
        b":\n",
        b"id: 5\n\n",
        b"\n",
        b"\r\n",
        b"\r",
        b"junk\n",
        b"junk\n\n",
        b"data: [DONE]\n\n",
        b"event: nothing\n\n",
        b"data: {\n\n",
        b"event: message_stop\n",
    ]
    return st.sampled_from([*map(frame, payloads), *payloads, *noise])


@st.composite
def streams(draw: st.DrawFn) -> list[Received]:
    """Draw a stream of deltas in different layouts, with other events and noise between them.

    Bytes are the data of `receive_data`. A dict is a payload for `receive_event`.
    """
    start = message_start()
    mark = draw(st.sampled_from([b"", b"", b"\xef\xbb\xbf"]))
    pieces: list[Received] = [draw(st.sampled_from([mark + frame(start)] * 5 + [start]))]
    for index in range(draw(st.integers(1, 3))):
        kind, block = draw(st.sampled_from([BLOCKS[0], BLOCKS[4], *BLOCKS]))
        begin = block_start(index, block)
        pieces.append(draw(st.sampled_from([frame(begin)] * 5 + [begin])))
        for _ in range(draw(st.integers(1, 3))):
            pieces += draw(deltas_in_a_row(index, kind))
            if draw(st.booleans()):
                pieces.append(draw(events_between(index)))
        if draw(st.booleans()):
            padding = draw(st.sampled_from(STOP_PADDINGS))
            pieces.append(
                draw(st.sampled_from([frame(block_stop(index)), api_stop(index, padding)]))
            )
    if draw(st.booleans()):
        pieces.append(body(message_delta("max_tokens"), MESSAGE_STOP))
    return pieces


@st.composite
def chunked(draw: st.DrawFn, pieces: list[Received]) -> list[Received]:
    """Draw a division into chunks of the bytes between two payloads.

    In half of the examples each frame stays one chunk.
    """
    if draw(st.booleans()):
        return pieces
    chunks: list[Received] = []
    for is_bytes, several in itertools.groupby(pieces, lambda piece: isinstance(piece, bytes)):
        if is_bytes:
            data = b"".join(piece for piece in several if isinstance(piece, bytes))
            chunks += draw(cuts(data))
        else:
            chunks += several
    return chunks


@st.composite
def limits_near(draw: st.DrawFn, pieces: list[Received]) -> Limits:
    """Draw one limit that the stream reaches or nearly reaches."""
    sizes = [len(piece) if isinstance(piece, bytes) else len(frame(piece)) for piece in pieces]
    first = draw(st.integers(0, len(sizes) - 1))
    last = draw(st.integers(first, len(sizes) - 1))
    off = draw(st.integers(-1, 1))
    match draw(st.sampled_from(["event", "block", "total", "blocks", "depth", "violations"])):
        case "event":
            return Limits(event_bytes=sizes[first] + off)
        case "block":
            return Limits(block_bytes=sum(sizes[first : last + 1]) + off)
        case "total":
            return Limits(total_bytes=sum(sizes[: last + 1]) + off)
        case "blocks":
            return Limits(blocks=1 + abs(off))
        case "depth":
            return Limits(depth=3 + off)
        case _:
            return Limits(violations=1 + off)


# Both paths have the same results.


@given(st.data(), streams(), st.booleans(), CONSUMPTIONS, READ_INTERVALS)
def test_both_paths_agree_on_deltas_in_any_layout(
    data: st.DataObject,
    pieces: list[Received],
    strict: bool,
    consumptions: list[Consumption],
    read_every: int,
) -> None:
    steps = data.draw(chunked(pieces))
    assert_both_paths_agree(steps, strict=strict, consumptions=consumptions, read_every=read_every)


@given(st.data(), streams(), st.booleans(), CONSUMPTIONS)
def test_both_paths_agree_with_any_limit(
    data: st.DataObject, pieces: list[Received], strict: bool, consumptions: list[Consumption]
) -> None:
    limits = data.draw(limits_near(pieces))
    steps = data.draw(chunked(pieces))
    assert_both_paths_agree(steps, strict=strict, consumptions=consumptions, limits=limits)


@given(st.data(), streams(), st.integers(0, 255), st.sampled_from(["put", "insert", "delete"]))
def test_both_paths_agree_on_a_stream_with_a_changed_byte(
    data: st.DataObject, pieces: list[Received], byte: int, change: str
) -> None:
    stream = b"".join(piece if isinstance(piece, bytes) else frame(piece) for piece in pieces)
    at = data.draw(st.integers(0, len(stream) - 1))
    middle = b"" if change == "delete" else bytes([byte])
    changed = stream[:at] + middle + stream[at + (change != "insert") :]
    assert_both_paths_agree(data.draw(cuts(changed)))


@given(st.data(), scripts(), st.booleans(), CONSUMPTIONS, READ_INTERVALS)
def test_both_paths_agree_on_any_script_in_any_style(
    data: st.DataObject, script: Any, strict: bool, consumptions: list[Consumption], read_every: int
) -> None:
    chunks = data.draw(wire(script).flatmap(cuts))
    assert_both_paths_agree(chunks, strict=strict, consumptions=consumptions, read_every=read_every)


@given(faults(), st.booleans(), CONSUMPTIONS)
def test_both_paths_agree_on_faulty_streams(
    faulty: FaultyStream, strict: bool, consumptions: list[Consumption]
) -> None:
    assert_both_paths_agree(
        faulty.chunks, strict=strict, consumptions=consumptions, limits=faulty.limits
    )


OTHER_BYTES: Final = (b" ", b'"', b"\\", b"}", b"1", b"\n", b"\r", b"\xc3")


def changed_in_one_byte(raw: bytes, in_full: set[int]) -> list[bytes]:
    """Return bytes without one of them, and with another byte before one or instead of one.

    At the positions in `in_full`, each of `OTHER_BYTES` is tried, and elsewhere the next one.
    """
    changed: set[bytes] = set()
    for at, other in zip(range(len(raw)), itertools.cycle(OTHER_BYTES)):
        before, after = raw[:at], raw[at + 1 :]
        changed.add(before + after)
        for byte in OTHER_BYTES if at in in_full else (other,):
            changed |= {before + byte + raw[at:], before + byte + after}
    return sorted(changed)


# The fast path compares the bytes before the string and after it as a whole, so any change of them
# is like any other. It reads the string, the padding and the line ends by rules, so each change is
# tried there.
@pytest.mark.exhaustive
@pytest.mark.parametrize("layout", LAYOUTS[:6], ids=["API", *LEARNED][:6])
def test_both_paths_agree_when_any_byte_of_a_delta_is_changed(layout: bytes) -> None:
    begin = body(message_start(), block_start(0)) + 2 * delta_in(layout, "known")
    assert_both_paths_agree([begin], read_every=NEVER)
    string = rb"a\n\u00e9 b"
    raw = frame_in_layout(layout, 0, b"text_delta", string, 2)
    start = raw.index(string)
    line_ends = {at for at, byte in enumerate(raw) if byte in b"\r\n"}
    in_full = {*range(start, start + len(string) + 1), *range(len(raw) - 6, len(raw)), *line_ends}
    for each in changed_in_one_byte(raw, in_full):
        steps = [each, delta_in(layout, "after")]
        assert_both_paths_agree(steps, begin=[begin], read_every=NEVER)


# The string, the suffix, the padding and the line ends: any number of bytes may be missing there.
@pytest.mark.exhaustive
@pytest.mark.parametrize("layout", LAYOUTS[:6], ids=["API", *LEARNED][:6])
@pytest.mark.parametrize("blanks", [0, 2])
def test_both_paths_agree_when_any_part_of_the_end_of_a_delta_is_missing(
    layout: bytes, blanks: int
) -> None:
    begin = body(message_start(), block_start(0)) + 2 * delta_in(layout, "known")
    raw = frame_in_layout(layout, 0, b"text_delta", b"ab", blanks)
    places = range(raw.index(b"ab") - 1, len(raw) + 1)
    for damaged in {raw[:start] + raw[end:] for start, end in itertools.combinations(places, 2)}:
        steps = [damaged, delta_in(layout, "after")]
        assert_both_paths_agree(steps, begin=[begin], read_every=NEVER)


def delta_in(layout: bytes, string: str) -> bytes:
    return frame_in_layout(layout, 0, b"text_delta", string.encode(), 0)


@pytest.mark.parametrize("layout", LAYOUTS, ids=range(len(LAYOUTS)))
@pytest.mark.parametrize("string", ["", "x", "words"])
def test_both_paths_agree_on_each_layout(layout: bytes, string: str) -> None:
    deltas = [delta_in(layout, each) for each in (string, "more", "", r"\u00e9", "x", "y")]
    for before in ([], [api_frame(0, "as expected")]):
        steps = [frame(message_start()), frame(block_start(0)), *before, *deltas]
        for strict in (True, False):
            assert_both_paths_agree(steps, strict=strict)
        # Whether a machine is strict matters to a frame, and not to the place of its end.
        assert_both_paths_agree([b"".join(steps)])


# The fast path verifies a learned layout with another string: "x", or "y" if the first one was "x".
@pytest.mark.parametrize("string", ["x", "y"])
def test_a_layout_is_not_learned_if_a_later_member_replaces_the_text(string: str) -> None:
    layout = API.replace(b'"}<padding>', b'","<member>":"%b"}' % string.encode())
    deltas = [delta_in(layout, each) for each in (string, "more", "x", "y")]
    assert_both_paths_agree([message_start(), block_start(0), *deltas])


# Each kind of block is read at each interval. The ways of consuming come in turn.
@pytest.mark.parametrize(
    ("kind", "block", "read_every", "consumptions"),
    [
        (*block, read_every, ([TAKE_ALL], [Consumption(0), Consumption(700)])[(row + column) % 2])
        for row, block in enumerate((BLOCKS[1], BLOCKS[3], BLOCKS[4]))
        for column, read_every in enumerate((AFTER_EACH_EVENT, 250, NEVER))
    ],
)
def test_both_paths_agree_on_a_block_with_many_deltas(
    kind: bytes, block: dict[str, Any], read_every: int, consumptions: list[Consumption]
) -> None:
    deltas = [api_frame(0, f"{count}", kind) for count in range(600)]
    assert_both_paths_agree(
        [message_start(), block_start(0, block), *deltas],
        read_every=read_every,
        consumptions=consumptions,
    )


STRINGS_AT_LIMITS: Final = (("", "", "<long>"), ("word", "a longer one<long>", r"\u00e9"))


# Short strings reach more branches, so each layout is tried with both triples of them. With the
# longer ones, the triples come in turn.
@pytest.mark.parametrize(
    ("layout", "long", "strings"),
    [
        (layout, long, strings)
        for number, layout in enumerate(LAYOUTS[: len(LEARNED) + 5])
        for other, long in enumerate(["", *(long.decode() for long in LONG)])
        for turn, strings in enumerate(STRINGS_AT_LIMITS)
        if not long or turn == (number + other) % 2
    ],
    ids=itertools.count(),
)
def test_both_paths_agree_at_the_exact_limits(
    layout: bytes, long: str, strings: tuple[str, ...]
) -> None:
    deltas = [delta_in(layout, each.replace("<long>", long)) for each in strings]
    begin: list[Received] = [{"type": "message_start", "message": {}}, block_start(0)]
    # block_bytes counts the start of the block, too. total_bytes does not count payloads that were
    # given to receive_event.
    began = measured(block_start(0), Limits()).size
    ends = [*itertools.accumulate(map(len, deltas))]
    # A CRLF counts as one byte if it is a blank line.
    spare = 3 if b"\r" in layout else 0
    all_limits = [
        *(Limits(event_bytes=size) for size in sizes_around(map(len, deltas), min(spare, 1))),
        *(Limits(block_bytes=began + size) for size in sizes_around(ends, spare)),
        *(Limits(total_bytes=size) for size in sizes_around(ends, spare)),
    ]
    for limits, steps in itertools.product(all_limits, (deltas, [b"".join(deltas)])):
        assert_both_paths_agree(steps, begin=begin, limits=limits, read_every=NEVER)


def sizes_around(ends: Iterable[int], spare: int) -> list[int]:
    """Return the sizes at which one of the frames that end here may be too large, and one less.

    Args:
        ends: the number of bytes up to the end of each frame.
        spare: the number of these bytes that may not count.
    """
    return sorted({end + more for end in ends for more in range(-spare - 1, 2)})


def test_both_paths_agree_on_the_end_of_a_body_after_payloads() -> None:
    steps: list[Received] = [message_start(), block_start(0), api_frame(0, "word"), b"junk\n"]
    for strict in (True, False):
        assert_both_paths_agree(steps, strict=strict)


# Frames that the fast path reads.


@pytest.fixture
def on_plain_path(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list to which the plain path appends the data of each frame that it reads."""
    read: list[str] = []

    def recorded(frame: Frame, limits: Limits) -> Reading:
        read.append(frame.data)
        return read_frame(frame, limits)

    monkeypatch.setattr(plain_path_module, "read_frame", recorded)
    return read


def deltas_of(machine: StreamMachine, data: bytes) -> list[Any]:
    """Return the deltas that the machine makes from some bytes."""
    events = list(machine.receive_data(data))
    return [event.delta for event in events if isinstance(event, ContentBlockDeltaEvent)]


def machine_with_blocks(*blocks: dict[str, Any], **options: Any) -> StreamMachine:
    """Return a machine that has read the start of a message and of each of these blocks."""
    machine = StreamMachine(**options)
    starts = [block_start(index, block) for index, block in enumerate(blocks)]
    list(machine.receive_data(body(message_start(), *starts)))
    return machine


TEXT: Final = {"type": "text", "text": ""}
THINKING: Final = {"type": "thinking", "thinking": "", "signature": ""}
TOOL_CALL: Final = tool_start(0)["content_block"]
SERVER_TOOL_CALL: Final = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}
MCP_TOOL_CALL: Final = {
    "type": "mcp_tool_use",
    "id": "m",
    "name": "f",
    "server_name": "x",
    "input": {},
}
FOR_EACH_LAYOUT: Final = pytest.mark.parametrize(
    "layout", [API, *LEARNED.values()], ids=["API", *LEARNED]
)


@pytest.mark.parametrize(
    ("kind", "block"),
    [
        (b"text_delta", TEXT),
        (b"thinking_delta", THINKING),
        (b"input_json_delta", TOOL_CALL),
        (b"input_json_delta", SERVER_TOOL_CALL),
        (b"input_json_delta", MCP_TOOL_CALL),
    ],
)
def test_a_delta_in_the_layout_of_the_api_does_not_reach_the_plain_path(
    on_plain_path: list[str], kind: bytes, block: dict[str, Any]
) -> None:
    machine = machine_with_blocks(block)
    on_plain_path.clear()
    strings = ["", "word ", "é🎉", r"\n\"\\\/\u00e9\ud83c\udf89", "]}", " "]
    for count in range(1_000):
        frame = api_frame(0, strings[count % len(strings)], kind, padding=count % 16)
        assert len(deltas_of(machine, frame)) == 1
    assert on_plain_path == []


@FOR_EACH_LAYOUT
@pytest.mark.parametrize("count", [1, 100])
def test_only_the_first_delta_in_a_new_layout_reaches_the_plain_path(
    on_plain_path: list[str], layout: bytes, count: int
) -> None:
    machine = machine_with_blocks(TEXT)
    on_plain_path.clear()
    for number in range(0, 100, count):
        words = [f"word {each}" for each in range(number, number + count)]
        deltas = deltas_of(machine, b"".join(delta_in(layout, each) for each in words))
        assert deltas == [TextDelta(each) for each in words]
    assert len(on_plain_path) == (layout != API)


@FOR_EACH_LAYOUT
def test_a_layout_is_learned_from_a_delta_of_the_maximum_size(
    on_plain_path: list[str], layout: bytes
) -> None:
    delta = delta_in(layout, "a")
    # The limit also holds for payloads, and `message_start()` exceeds it.
    machine = StreamMachine(limits=Limits(event_bytes=len(delta)))
    list(machine.receive_event({"type": "message_start", "message": {}}))
    list(machine.receive_event(block_start(0)))
    on_plain_path.clear()
    assert [deltas_of(machine, delta) for _ in range(3)] == [[TextDelta("a")]] * 3
    assert len(on_plain_path) == (layout != API)


# A chunk that ends between CR and LF ends a line or a frame, and the next one begins with LF. The
# plain path reads such frames.
@pytest.mark.parametrize("layout", [each for each in (API, *LEARNED.values()) if b"\r" not in each])
@pytest.mark.parametrize("cut", [in_bytes, at_random])
def test_however_cut_only_the_first_delta_in_a_new_layout_reaches_the_plain_path(
    on_plain_path: list[str], layout: bytes, cut: Callable[[bytes], list[bytes]]
) -> None:
    machine = machine_with_blocks(TEXT)
    on_plain_path.clear()
    stream = b"".join(delta_in(layout, f"word {count}") for count in range(100))
    deltas = [delta for chunk in cut(stream) for delta in deltas_of(machine, chunk)]
    assert deltas == [TextDelta(f"word {count}") for count in range(100)]
    assert len(on_plain_path) == (layout != API)


@pytest.mark.parametrize("layout", [each for each in LEARNED.values() if b"\r\n\r\n" in each])
def test_a_frame_with_crlf_that_is_cut_inside_a_line_does_not_reach_the_plain_path(
    on_plain_path: list[str], layout: bytes
) -> None:
    machine = machine_with_blocks(TEXT)
    on_plain_path.clear()
    frames = [delta_in(layout, f"word {count}") for count in range(30)]
    stream = b"".join(frames)
    for size in (3 * len(frames[0]), len(frames[0])):
        # All chunks but the last end inside a data line.
        first = len(frames[0]) - 6
        starts = [0, *range(first, len(stream), size), len(stream)]
        for start, stop in itertools.pairwise(starts):
            deltas_of(machine, stream[start:stop])
    block = machine.block(0)
    assert isinstance(block, TextBlock)
    assert block.text == 2 * "".join(f"word {count}" for count in range(30))
    assert len(on_plain_path) == 1


def test_a_ping_as_the_api_writes_it_is_recognised_and_keeps_the_template(
    on_plain_path: list[str],
) -> None:
    machine = machine_with_blocks(TEXT)
    on_plain_path.clear()
    for layout in (API, API, API):
        assert list(machine.receive_data(frame(PING)))
        assert deltas_of(machine, delta_in(layout, "word"))
    assert on_plain_path == []
    deltas_of(machine, delta_in(SORTED, "learned"))
    list(machine.receive_data(b'event: ping\ndata: {"type":"ping"}\n\n'))
    assert len(on_plain_path) == 2
    deltas_of(machine, delta_in(SORTED, "recognised"))
    assert len(on_plain_path) == 2


def test_a_delta_of_another_kind_sends_two_frames_to_the_plain_path(
    on_plain_path: list[str],
) -> None:
    machine = machine_with_blocks(THINKING)
    on_plain_path.clear()
    deltas_of(machine, api_frame(0, "hm", b"thinking_delta"))
    deltas_of(machine, frame(delta(0, "signature_delta", signature="s")))
    for _ in range(10):
        deltas_of(machine, api_frame(0, "hm", b"thinking_delta"))
    assert len(on_plain_path) == 2


def test_a_copied_or_unpickled_machine_keeps_its_template(on_plain_path: list[str]) -> None:
    machine = machine_with_blocks(TEXT)
    deltas_of(machine, api_frame(0, "word "))
    for duplicate in (through_pickle, copy.deepcopy):
        machine = duplicate(machine)
        on_plain_path.clear()
        for _ in range(5):
            deltas_of(machine, api_frame(0, "word "))
        assert on_plain_path == []
    block = machine.block(0)
    assert isinstance(block, TextBlock)
    assert block.text == 11 * "word "


@pytest.mark.parametrize("kind", KINDS)
def test_an_event_of_the_fast_path_behaves_like_one_of_the_plain_path(kind: bytes) -> None:
    for _, block in (each for each in BLOCKS[:5] if each[0] == kind):
        recognised, read = (
            next(
                machine_with_blocks(block, fast_path=fast_path).receive_data(
                    api_frame(0, "word", kind)
                )
            )
            for fast_path in (True, False)
        )
        for copied in (recognised, pickle.loads(pickle.dumps(recognised)), copy.copy(recognised)):
            assert copied == read
            assert repr(copied) == repr(read)
            assert copied.extra == {}
        assert isinstance(recognised, ContentBlockDeltaEvent)
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            recognised.index = 1  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


# Frames that only the plain path reads.


@FOR_EACH_LAYOUT
def test_without_the_fast_path_every_frame_reaches_the_plain_path(
    on_plain_path: list[str], layout: bytes
) -> None:
    machine = machine_with_blocks(TEXT, fast_path=False)
    on_plain_path.clear()
    for _ in range(10):
        deltas_of(machine, delta_in(layout, "word"))
        list(machine.receive_data(frame(PING)))
    assert len(on_plain_path) == 20


@pytest.mark.parametrize(
    ("before", "code"),
    [
        (body(block_stop(0)), ViolationCode.STOPPED_BLOCK),
        (body(message_delta()), ViolationCode.AFTER_STOP_REASON),
        (body(message_delta(), MESSAGE_STOP), ViolationCode.AFTER_MESSAGE_STOP),
        (body(OVERLOADED), ViolationCode.AFTER_ERROR),
    ],
)
def test_deltas_after_the_end_of_their_block_or_message_reach_the_plain_path(
    on_plain_path: list[str], before: bytes, code: ViolationCode
) -> None:
    machine = machine_with_blocks(TEXT)
    list(machine.receive_data(api_frame(0, "recognised") + before))
    on_plain_path.clear()
    for _ in range(10):
        list(machine.receive_data(api_frame(0, "late")))
    assert len(on_plain_path) == 10
    assert {each.code for each in machine.violations} >= {code}


@pytest.mark.parametrize("kind", KINDS)
def test_each_delta_of_an_unknown_block_reaches_the_plain_path(
    on_plain_path: list[str], kind: bytes
) -> None:
    machine = machine_with_blocks({"type": "hologram", "text": ""})
    on_plain_path.clear()
    for _ in range(10):
        assert deltas_of(machine, api_frame(0, "word", kind))
    assert len(on_plain_path) == 10
    block = machine.block(0)
    assert isinstance(block, UnknownBlock)
    assert len(block.unfolded) == 10


def test_a_frame_that_exceeds_a_limit_reaches_the_plain_path(on_plain_path: list[str]) -> None:
    frame = api_frame(0, "word")
    start = body(block_start(0, TEXT))
    machine = machine_with_blocks(TEXT, limits=Limits(block_bytes=len(start) + 10 * len(frame)))
    on_plain_path.clear()
    for _ in range(10):
        assert deltas_of(machine, frame)
    assert on_plain_path == []
    with pytest.raises(LimitError) as caught:
        list(machine.receive_data(frame))
    assert caught.value.limit == "block_bytes"
    assert len(on_plain_path) == 1


MESSAGE_CHANGE: Final = {"type": "message_delta", "delta": {}, "usage": {"output_tokens": 5}}


def test_learning_stops_after_some_attempts_until_the_message_changes(
    monkeypatch: pytest.MonkeyPatch, on_plain_path: list[str]
) -> None:
    tries = 0

    def counted(frame: Frame, limits: Limits) -> Reading:
        nonlocal tries
        tries += 1
        return read_frame(frame, limits)

    monkeypatch.setattr(fast_path_module, "read_frame", counted)
    machine = machine_with_blocks(TEXT)
    for _ in range(2):
        on_plain_path.clear()
        for count in range(10):
            for layout in (DUMPS, SORTED):
                deltas_of(machine, delta_in(layout, f"word {count}"))
        assert 10 <= len(on_plain_path) <= 20
        assert tries == fast_path_module.MAX_LEARN_ATTEMPTS
        list(machine.receive_data(frame(MESSAGE_CHANGE)))
        tries = 0


@pytest.mark.parametrize(
    "other",
    [
        block_stop(1),
        block_start(2),
        MESSAGE_CHANGE,
    ],
    ids=lambda payload: payload["type"],
)
@pytest.mark.parametrize("framed", [True, False])
def test_an_event_that_changes_the_message_drops_the_learned_template(
    on_plain_path: list[str], other: dict[str, Any], framed: bool
) -> None:
    machine = machine_with_blocks(TEXT, TEXT)
    for _ in range(2):
        deltas_of(machine, delta_in(SORTED, "word"))
    assert list(machine.receive_data(frame(other)) if framed else machine.receive_event(other))
    on_plain_path.clear()
    for _ in range(10):
        deltas_of(machine, delta_in(SORTED, "word"))
    assert len(on_plain_path) == 1


@pytest.mark.parametrize(
    "other",
    [
        frame({"type": "weather_report"}),
        frame({"type": "ping", "x": 1}),
        b"data: x\n\n",
        b'data: {"\xff"}\n\n',
        b"a line that is no field\n\n",
    ],
)
def test_a_frame_that_does_not_change_the_message_keeps_the_learned_template(
    on_plain_path: list[str], other: bytes
) -> None:
    machine = machine_with_blocks(TEXT)
    for _ in range(2):
        deltas_of(machine, delta_in(SORTED, "word"))
    list(machine.receive_data(other))
    # A violation in a line that belongs to no frame is recorded with the next frame. The plain path
    # reads that frame.
    deltas_of(machine, delta_in(SORTED, "word"))
    on_plain_path.clear()
    for _ in range(10):
        deltas_of(machine, delta_in(SORTED, "word"))
    assert on_plain_path == []


def test_a_second_block_with_the_same_index_receives_the_later_deltas(
    on_plain_path: list[str],
) -> None:
    machine = machine_with_blocks(TEXT)
    list(machine.receive_data(api_frame(0, "old") + frame(block_start(0))))
    on_plain_path.clear()
    assert deltas_of(machine, api_frame(0, "new"))
    assert on_plain_path == []
    snapshot = machine.snapshot
    assert snapshot is not None
    assert [block.to_dict()["text"] for block in snapshot.content] == ["old", "new"]


# Special cases.


def test_the_iterator_of_an_incomplete_frame_is_empty_and_stays_empty() -> None:
    machine = machine_with_blocks(TEXT)
    data = api_frame(0, "word")
    pieces = [machine.receive_data(data[at : at + 10]) for at in range(0, len(data), 10)]
    assert [list(piece) for piece in pieces[:-1]] == [[] for _ in pieces[:-1]]
    assert len(list(pieces[-1])) == 1
    assert [list(piece) for piece in pieces] == [[] for _ in pieces]


def test_both_paths_apply_the_depth_limit_to_a_ping() -> None:
    for depth in (0, 1):
        assert_both_paths_agree(
            [b'event: ping\ndata: {"type": "ping"}\n\n'], limits=Limits(depth=depth)
        )


def test_an_iterator_goes_on_after_events_that_another_one_has_returned() -> None:
    strings = [f"{number} " for number in range(12)]
    stream = body(message_start(), block_start(0), *(text(0, each) for each in strings))
    machine = StreamMachine()
    first = machine.receive_data(stream)
    taken = [next(first) for _ in range(5)]
    second = machine.receive_data(b"")
    taken += [next(second) for _ in range(3)]
    taken += [next(first) for _ in range(2)]
    taken += [*second, *first]
    assert [event.delta for event in taken if isinstance(event, ContentBlockDeltaEvent)] == [
        TextDelta(each) for each in strings
    ]


def test_a_chunk_of_one_frame_changes_the_message_only_when_its_event_is_taken() -> None:
    machine = machine_with_blocks(TEXT)
    for word in ("a", "b"):
        list(machine.receive_data(api_frame(0, word)))
    before = machine.snapshot, machine.events_taken, machine.event_number, machine.byte_offset
    events = machine.receive_data(api_frame(0, "c"))
    assert (machine.snapshot, machine.events_taken, machine.event_number) == before[:3]
    assert machine.byte_offset == before[3]
    assert next(events) == ContentBlockDeltaEvent(0, TextDelta("c"))
    block = machine.block(0)
    assert isinstance(block, TextBlock)
    assert block.text == "abc"
    assert [*events] == []


@pytest.mark.parametrize("layout", [API, UNNAMED, CRLF], ids=["API", "unnamed", "CRLF"])
def test_the_iterator_of_a_chunk_that_another_iterator_has_read_returns_the_events_after_it(
    layout: bytes,
) -> None:
    frames = [frame_in_layout(layout, 0, b"text_delta", word, 1) for word in (b"a", b"b", b"c")]
    machine = machine_with_blocks(TEXT)
    for each in frames[:2]:
        list(machine.receive_data(each))
    of_third = machine.receive_data(frames[2])
    of_first = machine.receive_data(frames[0])
    assert next(of_first) == ContentBlockDeltaEvent(0, TextDelta("c"))
    assert [*of_third] == [ContentBlockDeltaEvent(0, TextDelta("a"))]
    assert [*of_first] == []
    block = machine.block(0)
    assert isinstance(block, TextBlock)
    assert block.text == "abca"


PING_OF_API: Final = b'event: ping\ndata: {"type": "ping"}\n\n'


def test_the_iterator_of_a_chunk_of_one_frame_returns_the_events_of_later_chunks_too() -> None:
    machine = machine_with_blocks(TEXT)
    list(machine.receive_data(api_frame(0, "a")))
    events = machine.receive_data(api_frame(0, "b"))
    assert next(events) == ContentBlockDeltaEvent(0, TextDelta("b"))
    later = machine.receive_data(api_frame(0, "c"))
    assert [*events] == [ContentBlockDeltaEvent(0, TextDelta("c"))]
    assert [*later] == []


PINGS: Final = (
    PING_OF_API,
    *(PING_OF_API.partition(b"\n")[2], PING_OF_API.replace(b"ping", b"pong", 1)),
    *(b'data: {"type": "ping"}  \r\n\r\n', b'data:{"type": "ping"}\n\n'),
    *(b'data: {"type":\ndata: "ping"}\n\n', b'id: 5\ndata: {"type": "ping"}\n\n'),
    *(b'colour: red\ndata: {"type": "ping"}\n\n', b'data: {"type": "ping", "a": "\xff"}\n\n'),
)


@pytest.mark.parametrize("layout", [API, UNNAMED], ids=["API", "unnamed"])
@pytest.mark.parametrize("ping", PINGS, ids=range(len(PINGS)))
def test_both_paths_agree_on_pings_between_deltas(layout: bytes, ping: bytes) -> None:
    deltas = [delta_in(layout, f"word {count}") for count in range(12)]
    frames = [each + ping * (number % 3) for number, each in enumerate(deltas)]
    begin: list[Received] = [message_start(), block_start(0), {"type": "ping"}]
    began = measured(block_start(0), Limits()).size
    # Pings do not count in the size of the block.
    whole = began + sum(map(len, deltas))
    for size in (whole - len(deltas[-1]) - 1, whole - 1, whole, whole + len(ping)):
        limits = Limits(block_bytes=size)
        for steps in (frames, [b"".join(frames)], [ping, *deltas, ping, b"".join(frames[:1])]):
            assert_both_paths_agree([*begin, *steps], limits=limits)


def test_both_paths_agree_on_the_size_of_a_block_with_pings_between_its_frames_with_crlf() -> None:
    deltas = [delta_in(CRLF, f"word {count}") for count in range(6)]
    frames = [each + PING_OF_API * (number % 3) for number, each in enumerate(deltas)]
    begin: list[Received] = [message_start(), block_start(0)]
    # The CRLF of a blank line counts as one byte.
    whole = measured(block_start(0), Limits()).size + sum(map(len, deltas))
    for size in range(whole - len(deltas) - 1, whole + 2):
        for steps in (frames, [b"".join(frames)], [PING_OF_API, *frames]):
            assert_both_paths_agree(steps, begin=begin, limits=Limits(block_bytes=size))


@FOR_EACH_LAYOUT
@pytest.mark.parametrize("padding", STOP_PADDINGS)
def test_both_paths_agree_on_the_stop_of_a_block(layout: bytes, padding: bytes) -> None:
    deltas = [delta_in(layout, f"word {count}") for count in range(3)]
    stop = api_stop(0, padding)
    begin: list[Received] = [message_start(), block_start(0)]
    # Deltas and stops follow, because their violations show whether the block has stopped.
    for rest in ([stop], [stop, stop], [stop, *deltas], [api_stop(1, padding), *deltas, stop]):
        frames = [*deltas, *rest, frame(message_delta()), stop]
        for steps in (frames, [b"".join(frames)], in_bytes(b"".join(frames))):
            for strict in (False, True):
                assert_both_paths_agree(steps, begin=begin, strict=strict)
        for size in sizes_around(map(len, frames), 1 if b"\r" in layout else 0):
            assert_both_paths_agree(frames, begin=begin, limits=Limits(event_bytes=size))


@pytest.mark.parametrize("blanks", [0, 1, MAX_BLANKS])
def test_both_paths_agree_on_a_stop_at_the_limit_of_an_event(blanks: int) -> None:
    stop = api_stop(0, b" " * blanks + b"}")
    begin: list[Received] = [message_start(), block_start(0)]
    for size in sizes_around([len(stop)], 1):
        for steps in ([stop], in_bytes(stop)):
            assert_both_paths_agree(steps, begin=begin, limits=Limits(event_bytes=size))


@pytest.mark.parametrize("blanks", [0, 15, MAX_BLANKS])
@pytest.mark.parametrize("together", [True, False])
def test_the_stop_of_a_block_in_the_layout_of_the_api_does_not_reach_the_plain_path(
    on_plain_path: list[str], blanks: int, together: bool
) -> None:
    machine = machine_with_blocks(TEXT)
    on_plain_path.clear()
    chunks = [api_frame(0, "word "), api_frame(0, "word"), api_stop(0, b" " * blanks + b"}")]
    if together:
        chunks = [b"".join(chunks)]
    *_, last = [event for chunk in chunks for event in machine.receive_data(chunk)]
    assert isinstance(last, ContentBlockStopEvent)
    assert isinstance(last.content_block, TextBlock)
    assert last.content_block.text == "word word"
    assert on_plain_path == []


def test_only_the_first_stop_of_a_block_is_read_without_the_plain_path(
    on_plain_path: list[str],
) -> None:
    machine = machine_with_blocks(TEXT)
    on_plain_path.clear()
    assert len(list(machine.receive_data(api_stop(0) + api_stop(0)))) == 1
    assert len(on_plain_path) == 1
    assert [each.code for each in machine.violations] == [ViolationCode.STOPPED_BLOCK]


@pytest.mark.parametrize("frames_left", [0, 1, 2])
@pytest.mark.parametrize("off", [-1, 0, 1])
@pytest.mark.parametrize("is_cut", [False, True])
def test_both_paths_agree_near_the_end_of_the_total_limit(
    frames_left: int, off: int, is_cut: bool
) -> None:
    begin, deltas = body(message_start(), block_start(0)), [api_frame(0, "word")] * 12
    last = b"event: content_block_delta\ndata: " + b"x" * FEW_BYTES
    total = len(begin) + (12 - frames_left) * len(deltas[0]) + off
    chunks = [begin, *deltas, last]
    if is_cut:
        chunks = in_bytes(b"".join(chunks))
    # In the second case all deltas fit, and only the last frame may exceed the limit.
    for rest in (0, FEW_BYTES):
        limits = Limits(event_bytes=FEW_BYTES, total_bytes=total + rest)
        assert_both_paths_agree(chunks, limits=limits)


def test_a_partial_frame_after_chunks_of_one_frame_is_held_to_the_total_limit() -> None:
    deltas = [api_frame(0, "word")] * 20
    size = len(deltas[0])
    begin = body(message_start(), block_start(0))
    for fitting in range(20 * size, 20 * size + 3 * FEW_BYTES, 61):
        limits = Limits(event_bytes=FEW_BYTES, total_bytes=len(begin) + fitting)
        partial = [b"event: content_block_delta\ndata: ", *[b"x" * 30] * 15]
        assert_both_paths_agree([begin, *deltas, *partial], limits=limits)


def test_violations_of_frames_without_a_name_are_kept_up_to_their_limit() -> None:
    deltas = [delta_in(UNNAMED, "a word") for _ in range(9)]
    begin = body(message_start(), block_start(0))
    machine = StreamMachine(limits=Limits(violations=4))
    for chunk in (begin, *deltas):
        list(machine.receive_data(chunk))
    assert machine.violation_count == 9
    assert [violation.event_number for violation in machine.violations] == [3, 4, 5, 6]
    plain = StreamMachine(limits=Limits(violations=4), fast_path=False)
    list(plain.receive_data(b"".join([begin, *deltas])))
    assert machine.violations == plain.violations
