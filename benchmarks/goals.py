"""The table of targets. Each row has a measured quantity, the way to measure it, and a target."""

import json
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, Final, Literal, TypeAlias

import attrs

from contenders import (
    KEEPING_BLOCK,
    KEEPING_SNAPSHOT,
    LOOKING,
    OBSERVING,
    OFFICIAL,
    OURS,
    PLAIN,
    READING,
    Contender,
    anthropic,
    by_floor,
    events_of_httpx_sse,
    has_all,
    has_folded,
    kept_values,
    pipeline_of_payloads,
    sse_decoder,
)
from fixtures import (
    Fixture,
    huge_event,
    many_blocks,
    mixed,
    mixed_backwards,
    plain_text,
    records_input,
    short_answer,
    string_input,
    text_only,
    violations,
)
from measuring import Figure, Work, bytes_for, import_figure, import_ratio, interleave, ratio
from sansio_stream import State, StreamMachine, build_request

Measure: TypeAlias = Callable[[int], Figure]
"""Takes the number of rounds and returns the figure. Raises ImportError if a peer is missing."""

Unit: TypeAlias = Literal["×", "ms", "kB", "B"]


@attrs.frozen
class Goal:
    """A row of the table.

    Attributes:
        what: the measured quantity. It is also the unique name of the row.
        limit: the target. A row with None is only reported.
        measure: measures the figure.
        at_least: whether the limit is a minimum. Otherwise it is a maximum.
        unit: the unit of the figure and the limit. A ratio has the unit ×.
        is_aim: whether the limit is only a wish.
    """

    what: str
    limit: float | None
    measure: Measure
    at_least: bool = False
    unit: Unit = "×"
    is_aim: bool = False

    @property
    def target(self) -> str:
        """The target as the table shows it."""
        if self.limit is None:
            return "reported"
        limit = f"{'≥' if self.at_least else '≤'} {shown(self.limit, self.unit)}"
        return f"aim {limit}" if self.is_aim else limit

    def is_met(self, value: float) -> bool:
        """Return whether a figure meets the target."""
        if self.limit is None:
            return True
        return value >= self.limit if self.at_least else value <= self.limit


def shown(value: float, unit: str) -> str:
    """Return a figure as the table shows it, with about three significant digits."""
    digits = 0 if value >= 100 else 1 if value >= 10 else 2 if value >= 0.2 else 3
    number = f"{value:,.{digits}f}"
    return f"{number} {unit}"


# Measuring.


def _by_floor(
    make: Callable[[], Fixture], size: int | None = None, contender: Contender = OURS
) -> Measure:
    """Measure the cost of reading a stream ÷ the cost of json.loads of its payloads."""
    return lambda rounds: by_floor([contender], make(), size, rounds)[contender.name]


def _beside_official(make: Callable[[], Fixture], one: str, other: str) -> Measure:
    """Measure this library and the official SDK's messages on one stream, one event a chunk."""

    def measure(rounds: int) -> Figure:
        *_, messages = anthropic()
        fixture = make()
        works = {each.name: each.on(fixture, None) for each in (OURS, messages)}
        return ratio(interleave(works, rounds), one, other)

    return measure


def _decoder_beside_httpx_sse(rounds: int) -> Figure:
    """Measure this library's decoder of server-sent events ÷ that of httpx-sse."""
    fixture = mixed(3_000)
    chunks = fixture.chunks(None)
    events = events_of_httpx_sse()
    is_right = partial(has_all, fixture=fixture)
    works = {
        "SSEDecoder": Work(lambda: sse_decoder(chunks), is_right),
        "httpx-sse": Work(lambda: sum(1 for _event in events(chunks)), is_right),
    }
    return ratio(interleave(works, rounds), "SSEDecoder", "httpx-sse")


def _payloads_by_bytes(rounds: int) -> Figure:
    """Measure `receive_event` ÷ the plain path of the same events as bytes."""
    fixture = mixed(3_000)
    payloads = [json.loads(payload) for payload in fixture.payloads]
    works = {
        "payloads": Work(
            lambda: pipeline_of_payloads(payloads), lambda machine: has_folded(machine, fixture)
        ),
        "bytes": PLAIN.on(fixture, None),
    }
    return ratio(interleave(works, rounds), "payloads", "bytes")


def _kept_values(rounds: int) -> Figure:
    """Measure the cost of four times the JSON text ÷ the cost of the text, with values kept."""

    def work(size: int) -> Work:
        (text,) = records_input(size).contents
        pieces = [text[start : start + 12] for start in range(0, len(text), 12)]
        return Work(lambda: kept_values(pieces), lambda value: value == json.loads(text))

    works = {"×4": work(200_000), "×1": work(50_000)}
    return ratio(interleave(works, rounds), "×4", "×1")


def _by_not_reading(rounds: int) -> Figure:
    fixture = text_only(10_000)
    works = {each.name: each.on(fixture, None) for each in (LOOKING, OURS)}
    return ratio(interleave(works, rounds), LOOKING.name, OURS.name)


def _by_machine(make: Callable[[int], Fixture], size: int | None) -> Measure:
    """The cost of observing a stream ÷ that of the machine alone."""

    def measure(rounds: int) -> Figure:
        fixture = make(10_000)
        works = {each.name: each.on(fixture, size) for each in (OBSERVING, OURS)}
        return ratio(interleave(works, rounds), OBSERVING.name, OURS.name)

    return measure


def _growth(
    make: Callable[[int], Fixture], size: int, chunk: int | None = None, who: Contender = OURS
) -> Measure:
    """Measure the cost of four times the input ÷ the cost of the input."""

    def measure(rounds: int) -> Figure:
        works = {"×4": who.on(make(4 * size), chunk), "×1": who.on(make(size), chunk)}
        return ratio(interleave(works, rounds), "×4", "×1")

    return measure


MACHINES: Final = 10_000


def machine_after(chunks: Iterable[bytes]) -> StreamMachine:
    """Return a machine that has received the chunks."""
    machine = StreamMachine()
    for chunk in chunks:
        for _event in machine.receive_data(chunk):
            pass
    return machine


def _in_turn(rounds: int) -> Figure:
    """Measure many machines that receive chunks in turn ÷ the same machines one after another."""
    chunks = short_answer().chunks(None)

    def in_turn() -> list[StreamMachine]:
        machines = [StreamMachine() for _ in range(MACHINES)]
        for chunk in chunks:
            for machine in machines:
                for _event in machine.receive_data(chunk):
                    pass
        return machines

    def one_after_another() -> list[StreamMachine]:
        return [machine_after(chunks) for _ in range(MACHINES)]

    def are_done(machines: list[StreamMachine]) -> bool:
        return len(machines) == MACHINES and all(each.state is State.DONE for each in machines)

    works = {"in turn": Work(in_turn, are_done), "one by one": Work(one_after_another, are_done)}
    return ratio(interleave(works, rounds), "in turn", "one by one")


def _memory_of_machines(events: int) -> Measure:
    """Measure the kilobytes of a machine that has received `events` events of a text."""
    machines = 200

    def measure(_: int) -> Figure:
        chunks = text_only(1_000).chunks(None)[:events]
        total = bytes_for(lambda: [machine_after(chunks) for _ in range(machines)])
        size = total / machines / 1_000
        return Figure(size, size, size)

    return measure


def _memory_of_text(_: int) -> Figure:
    """Measure the bytes for each character of a long text whose block has not stopped."""
    fixture = plain_text(50_000)
    chunks = fixture.chunks(None)[:-3]
    with_text = bytes_for(lambda: machine_after(chunks))
    without_text = bytes_for(lambda: machine_after(chunks[:3]))
    size = (with_text - without_text) / len(fixture.contents[0])
    return Figure(size, size, size)


# The rows.

# The size of the chunks, its name, and the limits for mixed streams and for text.
CUTS: Final = (
    (None, "one event a chunk", 0.98, 0.92),
    (1_400, "1,400 B", 0.90, 0.90),
    (16_384, "16 KiB", 0.84, 0.78),
    (65_536, "64 KiB", 0.84, 0.78),
    (64, "64 B", 1.75, 1.75),
    (1, "1 B", 13.0, 13.0),
)


def _pipeline() -> Iterator[Goal]:
    for place, (name, make) in enumerate((("mixed", mixed), ("text only", text_only))):
        for size, cut, *limits in CUTS:
            limit = limits[place]
            yield Goal(f"{name}, {cut} ÷ floor", limit, _by_floor(partial(make, 10_000), size))
    yield Goal(
        "off the fast path (keys in another order), one event a chunk ÷ floor",
        1.1,
        _by_floor(partial(mixed_backwards, 10_000)),
    )


def _beside() -> Iterator[Goal]:
    yield Goal(
        "a short answer of 7 events: ours ÷ official SDK",
        0.12,
        _beside_official(short_answer, OURS.name, OFFICIAL),
    )
    yield Goal(
        "3,000 events, one a chunk: official SDK ÷ ours",
        26,
        _beside_official(partial(mixed, 3_000), OFFICIAL, OURS.name),
        at_least=True,
    )
    yield Goal("`SSEDecoder` ÷ httpx-sse, one event a chunk", 1.0, _decoder_beside_httpx_sse)


def _payloads() -> Iterator[Goal]:
    yield Goal(
        "`receive_event` ÷ the plain path of the same events as bytes", 1.0, _payloads_by_bytes
    )


def _tool_input() -> Iterator[Goal]:
    for name, make, unread, read in (
        ("string", string_input, 0.95, 2.5),
        ("records", records_input, 1.2, 4.1),
    ):
        for size, shown_size in ((100_000, "100 kB"), (1_000_000, "1 MB")):
            what = f"one tool input, {name}, {shown_size}"
            made = partial(make, size)
            yield Goal(f"{what}, never read ÷ floor", unread, _by_floor(made))
            yield Goal(
                f"{what}, `partial_input` after each delta ÷ floor",
                read,
                _by_floor(made, contender=READING),
            )


def _snapshot() -> Iterator[Goal]:
    yield Goal(
        "`snapshot` read after each of 10,000 text deltas ÷ not reading", 2.5, _by_not_reading
    )


def _observer() -> Iterator[Goal]:
    for name, make in (("mixed", mixed), ("text only", text_only)):
        for size, cut, limit in ((None, "one event a chunk", 1.25), (1_400, "1,400 B", 1.1)):
            what = f"`Observer` ÷ the machine alone, {name}, {cut}"
            yield Goal(what, limit, _by_machine(make, size))


def _four_times() -> Iterator[Goal]:
    for name, measure in (
        ("deltas", _growth(text_only, 5_000)),
        ("tool input, read after each delta", _growth(records_input, 50_000, who=READING)),
        ("1-byte chunks", _growth(text_only, 500, 1)),
        ("one huge event in 64 B chunks", _growth(huge_event, 500_000, 64)),
        ("many blocks", _growth(many_blocks, 1_000)),
        ("violations on every event", _growth(violations, 2_500)),
        ("`snapshot` kept until the next event", _growth(text_only, 5_000, who=KEEPING_SNAPSHOT)),
        ("`block(0)` kept, its text read", _growth(text_only, 5_000, who=KEEPING_BLOCK)),
        ("`PartialJSON.value` kept", _kept_values),
        ("`snapshot` of many blocks", _growth(many_blocks, 1_000, who=LOOKING)),
    ):
        yield Goal(f"4 × the input ÷ the input, {name}", 4.6, measure)


def _reported() -> Iterator[Goal]:
    yield Goal("10,000 live machines, fed in turn ÷ one after another", None, _in_turn)
    fresh, streaming = _memory_of_machines(0), _memory_of_machines(20)
    yield Goal("memory of a fresh machine", 2, fresh, unit="kB", is_aim=True)
    yield Goal("memory in mid-stream", 6, streaming, unit="kB", is_aim=True)
    yield Goal("memory of a character of text", 1.2, _memory_of_text, unit="B", is_aim=True)


TURNS: Final = 20_000


def _history(rounds: int, *, in_blocks: bool = False) -> Figure:
    """A request with a long history ÷ `json.dumps` of its parameters."""
    turns: list[dict[str, Any]] = []
    for turn in range(TURNS):
        text = f"Turn {turn}. {'word ' * 28}"
        content = [{"type": "text", "text": text}] if in_blocks else text
        turns.append({"role": ("user", "assistant")[turn % 2], "content": content})
    params = {"model": "claude-test-1", "max_tokens": 1024, "messages": turns}
    size = len(json.dumps({**params, "stream": True}, separators=(",", ":")))
    works = {
        "build_request": Work(
            lambda: build_request(params), lambda request: len(request.body) == size
        ),
        "json.dumps": Work(lambda: json.dumps(params), lambda text: len(text) > size),
    }
    return ratio(interleave(works, rounds), "build_request", "json.dumps")


def _requests() -> Iterator[Goal]:
    what = f"`build_request` of {TURNS:,} turns of plain text"
    yield Goal(f"{what} ÷ `json.dumps`", 2.0, _history)
    in_blocks = partial(_history, in_blocks=True)
    yield Goal(f"{what}, each in a block ÷ `json.dumps`", 2.0, in_blocks)


def _import() -> Iterator[Goal]:
    yield Goal("`import sansio_stream` beyond attrs, json and re", 30, import_figure, unit="ms")
    yield Goal("`import sansio_stream` beyond these ÷ their import", 1.3, import_ratio)


GOALS: Final[dict[str, tuple[Goal, ...]]] = {
    "pipeline": (*_pipeline(),),
    "official": (*_beside(),),
    "payloads": (*_payloads(),),
    "input": (*_tool_input(),),
    "snapshot": (*_snapshot(),),
    "observer": (*_observer(),),
    "growth": (*_four_times(),),
    "requests": (*_requests(),),
    "reported": (*_reported(),),
    "import": (*_import(),),
}
"""All rows, by the name that `--only` takes."""
