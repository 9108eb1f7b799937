"""Who is measured: the chunks of a stream in, what a program wants of them out.

Each is as its own documentation says to use it. The peers are imported when they are asked for and
left out where they are missing; where one wants an HTTP response, it gets a ready one around the
chunks, so that no request is made or paid for.
"""

import importlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, Final, TypeAlias

import attrs

from fixtures import Fixture
from measuring import Figure, Work, interleave, ratio
from sansio_stream import Observer, StreamMachine, ToolUseBlock, Verdict

Chunks: TypeAlias = Sequence[bytes]

OFFICIAL: Final = "anthropic MessageStream"
JITER: Final = "json + jiter"

SSE: Final = {"content-type": "text/event-stream; charset=utf-8"}


@attrs.frozen
class Contender:
    """A reader of streams.

    Attributes:
        name: what the tables and the plots call it.
        read: what is measured.
        is_right: whether what `read` returned is what the stream says.
    """

    name: str
    read: Callable[[Chunks], Any]
    is_right: Callable[[Any, Fixture], bool]

    def on(self, fixture: Fixture, size: int | None) -> Work:
        """Reading a stream in chunks of one size, or an event a chunk."""
        chunks = fixture.chunks(size)
        return Work(
            lambda: self.read(chunks),
            lambda result: self.is_right(result, fixture),
        )


# Ours.


def pipeline(chunks: Chunks, *, fast_path: bool = True) -> StreamMachine:
    """Everything a program does that wants events and the message."""
    machine = StreamMachine(fast_path=fast_path)
    for chunk in chunks:
        for _event in machine.receive_data(chunk):
            pass
    for _event in machine.receive_eof():
        pass
    machine.final_message()
    return machine


def pipeline_with_snapshots(chunks: Chunks) -> StreamMachine:
    """The same, and the snapshot is read after each event and dropped."""
    machine = StreamMachine()
    for chunk in chunks:
        for _event in machine.receive_data(chunk):
            assert machine.snapshot is not None
    for _event in machine.receive_eof():
        pass
    machine.final_message()
    return machine


def pipeline_with_partial_inputs(chunks: Chunks) -> StreamMachine:
    """The same, and what there is of a tool's input is read after each event."""
    machine = StreamMachine()
    for chunk in chunks:
        for _event in machine.receive_data(chunk):
            block = machine.block(0)
            if isinstance(block, ToolUseBlock):
                assert block.partial_input is not None or not block.input_json
    for _event in machine.receive_eof():
        pass
    machine.final_message()
    return machine


def observing(chunks: Chunks) -> StreamMachine:
    """Observe a stream that somebody else reads, with the time of each chunk, and ask for a row."""
    observer = Observer()
    at = 0.0
    for chunk in chunks:
        observer.chunk(chunk, at)
        at += 0.01
    observer.end(at=at)
    assert observer.report.verdict is Verdict.COMPLETE
    return observer.machine


def has_folded(machine: StreamMachine, fixture: Fixture) -> bool:
    """Whether the machine has made of the stream what it was made from."""
    return has_message(machine.final_message(), fixture)


def has_message(message: Any, fixture: Fixture) -> bool:
    """Whether a message, ours or the official SDK's, is what the stream was made from."""
    contents = fixture.contents
    return len(message.content) == len(contents) and all(
        block.input == json.loads(content)
        if block.type == "tool_use"
        else getattr(block, block.type) == content
        for block, content in zip(message.content, contents, strict=True)
    )


OURS: Final = Contender("sansio-stream", pipeline, has_folded)
PLAIN: Final = Contender(
    "sansio-stream, plain path", partial(pipeline, fast_path=False), has_folded
)
LOOKING: Final = Contender("sansio-stream, snapshot", pipeline_with_snapshots, has_folded)
READING: Final = Contender("sansio-stream, read", pipeline_with_partial_inputs, has_folded)
OBSERVING: Final = Contender("sansio-stream, observer", observing, has_folded)


# The floor.


def floor(payloads: Sequence[str]) -> int:
    """What no reader of JSON payloads can avoid: no framing, no events, no message."""
    for payload in payloads:
        json.loads(payload)
    return len(payloads)


def floor_of(fixture: Fixture) -> Work:
    """The floor for a stream; how the stream is cut makes no difference."""
    return Work(partial(floor, fixture.payloads), partial(has_all, fixture=fixture))


def by_floor(
    contenders: Iterable[Contender], fixture: Fixture, size: int | None, rounds: int
) -> dict[str, Figure]:
    """Each contender's cost ÷ floor, on one stream in chunks of one size, or an event a chunk."""
    works = {each.name: each.on(fixture, size) for each in contenders}
    samples = interleave({**works, "floor": floor_of(fixture)}, rounds)
    return {name: ratio(samples, name, "floor") for name in works}


# The peers. Those that only cut the stream into events are followed by a `json.loads` of each, as
# their user would.


def decoding(decode: Callable[[Chunks], Iterable[Any]]) -> Callable[[Chunks], int]:
    """Read with a decoder of server-sent events; return how many there were."""

    def read(chunks: Chunks) -> int:
        count = 0
        for event in decode(chunks):
            json.loads(event.data)
            count += 1
        return count

    return read


def has_all(count: int, fixture: Fixture) -> bool:
    """Whether every payload was seen."""
    return count == len(fixture.payloads)


def has_all_but_pings(count: int, fixture: Fixture) -> bool:
    """Whether every payload was seen that the official SDK shows."""
    return count == sum(payload != '{"type": "ping"}' for payload in fixture.payloads)


def assel() -> Iterator[Contender]:
    """assel: a decoder without I/O."""
    parse = importlib.import_module("assel").parse
    yield Contender("assel + json", decoding(parse), has_all)


def httpx_sse() -> Iterator[Contender]:
    """httpx-sse: a decoder over a response of httpx."""
    httpx = importlib.import_module("httpx")
    event_source = importlib.import_module("httpx_sse").EventSource
    body = body_for(httpx)

    def decode(chunks: Chunks) -> Iterator[Any]:
        response = httpx.Response(200, headers=SSE, stream=body(chunks))
        found: Iterator[Any] = event_source(response).iter_sse()
        return found

    yield Contender("httpx-sse + json", decoding(decode), has_all)


def sseclient() -> Iterator[Contender]:
    """sseclient-py: a decoder over any iterable of bytes."""
    client = importlib.import_module("sseclient").SSEClient
    yield Contender(
        "sseclient-py + json", decoding(lambda chunks: client(chunks).events()), has_all
    )


def anthropic() -> Iterator[Contender]:
    """The official SDK, at three heights: its decoder, its typed events, its messages."""
    sdk = importlib.import_module("anthropic")
    raw_event = importlib.import_module("anthropic.types").RawMessageStreamEvent
    httpx = importlib.import_module("httpx2")
    body = body_for(httpx)
    client = sdk.Anthropic(api_key="x", max_retries=0)

    def response(chunks: Chunks) -> Any:
        return httpx.Response(200, headers=SSE, stream=body(chunks))

    def stream(chunks: Chunks) -> Any:
        return sdk.Stream(cast_to=raw_event, response=response(chunks), client=client)

    def read_events(chunks: Chunks) -> int:
        return sum(1 for _event in stream(chunks))

    def read_message(chunks: Chunks) -> Any:
        messages = sdk.MessageStream(stream(chunks), sdk.NOT_GIVEN)
        for _event in messages:
            pass
        return messages.get_final_message()

    yield Contender(
        "anthropic SSEDecoder + json",
        decoding(lambda chunks: sdk.Stream.raw_events(response(chunks))),
        has_all,
    )
    yield Contender("anthropic Stream", read_events, has_all_but_pings)
    yield Contender(OFFICIAL, read_message, has_message)


def jiter() -> Iterator[Contender]:
    """jiter, for one tool input: frames cut by hand, the grown text parsed after each delta."""
    from_json = importlib.import_module("jiter").from_json

    def read(chunks: Chunks) -> Any:
        text = bytearray()
        value: Any = None
        for chunk in chunks:
            delta = json.loads(chunk.partition(b"data: ")[2]).get("delta", {})
            if "partial_json" in delta:
                text += delta["partial_json"].encode()
                value = from_json(bytes(text), partial_mode="trailing-strings")
        return value

    yield Contender(JITER, read, lambda value, fixture: value == json.loads(fixture.contents[0]))


def body_for(httpx: Any) -> Callable[[Chunks], Any]:
    """What makes chunks the body of a response, for httpx and for its successor."""

    class Body(httpx.SyncByteStream):  # type: ignore[misc]  # a class that may not be there
        def __init__(self, chunks: Chunks) -> None:
            self._chunks = chunks

        def __iter__(self) -> Iterator[bytes]:
            return iter(self._chunks)

    return Body


READERS: Final = (assel, httpx_sse, sseclient, anthropic)
"""The peers that read whole streams."""


def found(peers: Iterable[Callable[[], Iterator[Contender]]]) -> list[Contender]:
    """Those of the peers that are here; says which are not."""
    contenders: list[Contender] = []
    for peer in peers:
        try:
            contenders += peer()
        except ImportError as error:
            print(f"left out: {peer.__name__} ({error})")
    return contenders
