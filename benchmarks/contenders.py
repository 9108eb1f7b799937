"""The measured readers: the chunks of a stream in, the result that a program needs out.

Each library is used as its documentation says. A peer is imported when it is measured, and left out
if it is not installed. A peer that needs an HTTP response gets a prepared response with the chunks,
so that no request is sent or measured.
"""

import importlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final, TypeAlias

import attrs

from fixtures import Fixture
from measuring import Figure, Work, interleave, ratio
from sansio_stream import (
    Observer,
    PartialJSON,
    SSEDecoder,
    StreamMachine,
    TextBlock,
    ToolUseBlock,
    Verdict,
)

Chunks: TypeAlias = Sequence[bytes]

OFFICIAL: Final = "anthropic MessageStream"
JITER: Final = "json + jiter"

SSE: Final = {"content-type": "text/event-stream; charset=utf-8"}


@attrs.frozen
class Contender:
    """A reader of streams.

    Attributes:
        name: its name in the tables and the plots.
        read: the measured function.
        is_right: whether the result of `read` agrees with the stream.
    """

    name: str
    read: Callable[[Chunks], Any]
    is_right: Callable[[Any, Fixture], bool]

    def on(self, fixture: Fixture, size: int | None) -> Work:
        """Return the work of reading a stream in chunks of one size. None is one event a chunk."""
        chunks = fixture.chunks(size)
        return Work(
            lambda: self.read(chunks),
            lambda result: self.is_right(result, fixture),
        )


# This library.


def pipeline(chunks: Chunks, *, fast_path: bool = True) -> StreamMachine:
    """Do everything that a program does to get the events and the message."""
    machine = StreamMachine(fast_path=fast_path)
    for chunk in chunks:
        for _event in machine.receive_data(chunk):
            pass
    for _event in machine.receive_eof():
        pass
    machine.final_message()
    return machine


def pipeline_of_payloads(payloads: Iterable[Mapping[str, Any]]) -> StreamMachine:
    """Do the same as `pipeline`, for payloads without frames."""
    machine = StreamMachine()
    for payload in payloads:
        for _event in machine.receive_event(payload):
            pass
    for _event in machine.receive_eof():
        pass
    machine.final_message()
    return machine


def keeping(look: Callable[[StreamMachine], Any]) -> Callable[[Chunks], StreamMachine]:
    """Return a function that does the same as `pipeline`, and keeps a look at the message.

    Args:
        look: returns what a program reads after each event. It keeps this in a variable until the
            next event.
    """

    def read(chunks: Chunks) -> StreamMachine:
        machine = StreamMachine()
        kept: Any = None
        for chunk in chunks:
            for _event in machine.receive_data(chunk):
                kept = look(machine)
        for _event in machine.receive_eof():
            kept = look(machine)
        assert kept is not None
        return machine

    return read


def block_with_text(machine: StreamMachine) -> Any:
    """Return the first block, after its text was read."""
    block = machine.block(0)
    assert not isinstance(block, TextBlock) or block.text is not None
    return block


def kept_values(pieces: Sequence[str]) -> Any:
    """Read the value of a growing JSON text after each piece, and keep it until the next one."""
    partial_json = PartialJSON()
    value: Any = None
    for piece in pieces:
        partial_json.push(piece)
        value = partial_json.value
    return value


def pipeline_with_snapshots(chunks: Chunks) -> StreamMachine:
    """Do the same as `pipeline`, and also read the snapshot after each event."""
    machine = StreamMachine()
    for chunk in chunks:
        for _event in machine.receive_data(chunk):
            assert machine.snapshot is not None
    for _event in machine.receive_eof():
        pass
    machine.final_message()
    return machine


def pipeline_with_partial_inputs(chunks: Chunks) -> StreamMachine:
    """Do the same as `pipeline`, and also read the partial tool input after each event."""
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
    """Return whether the machine's message is the one that the stream was made from."""
    return has_message(machine.final_message(), fixture)


def has_message(message: Any, fixture: Fixture) -> bool:
    """Return whether a message has the content that the stream was made from.

    The message is one of this library or of the official SDK.
    """
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
KEEPING_SNAPSHOT: Final = Contender(
    "sansio-stream, snapshot kept", keeping(lambda machine: machine.snapshot), has_folded
)
KEEPING_BLOCK: Final = Contender("sansio-stream, block kept", keeping(block_with_text), has_folded)
OBSERVING: Final = Contender("sansio-stream, observer", observing, has_folded)


# The floor.


def floor(payloads: Sequence[str]) -> int:
    """Parse each payload, as every reader must. Do no framing, make no events and no message."""
    for payload in payloads:
        json.loads(payload)
    return len(payloads)


def floor_of(fixture: Fixture) -> Work:
    """Return the floor of a stream. The size of the chunks does not affect it."""
    return Work(partial(floor, fixture.payloads), partial(has_all, fixture=fixture))


def by_floor(
    contenders: Iterable[Contender], fixture: Fixture, size: int | None, rounds: int
) -> dict[str, Figure]:
    """Return each contender's cost ÷ floor on one stream.

    The chunks have one size. None is one event a chunk.
    """
    works = {each.name: each.on(fixture, size) for each in contenders}
    samples = interleave({**works, "floor": floor_of(fixture)}, rounds)
    return {name: ratio(samples, name, "floor") for name in works}


# The peers. Some of them only cut the stream into events. Here they are followed by `json.loads`
# for each event, because their users must call it.


def decoding(decode: Callable[[Chunks], Iterable[Any]]) -> Callable[[Chunks], int]:
    """Return a function that reads with a decoder of server-sent events and counts them."""

    def read(chunks: Chunks) -> int:
        count = 0
        for event in decode(chunks):
            json.loads(event.data)
            count += 1
        return count

    return read


def has_all(count: int, fixture: Fixture) -> bool:
    """Return whether every payload was read."""
    return count == len(fixture.payloads)


def has_all_but_pings(count: int, fixture: Fixture) -> bool:
    """Return whether every payload except pings was read. The official SDK drops pings."""
    return count == sum(payload != '{"type": "ping"}' for payload in fixture.payloads)


def assel() -> Iterator[Contender]:
    """assel: a decoder without I/O."""
    parse = importlib.import_module("assel").parse
    yield Contender("assel + json", decoding(parse), has_all)


def sse_decoder(chunks: Chunks) -> int:
    """Read with this library's decoder of server-sent events, and count them."""
    decoder = SSEDecoder()
    count = sum(1 for chunk in chunks for _event in decoder.receive_data(chunk))
    return count + sum(1 for _event in decoder.receive_eof())


def events_of_httpx_sse() -> Callable[[Chunks], Iterator[Any]]:
    """Return the function with which httpx-sse reads a response of httpx."""
    httpx = importlib.import_module("httpx")
    event_source = importlib.import_module("httpx_sse").EventSource
    body = body_for(httpx)

    def decode(chunks: Chunks) -> Iterator[Any]:
        response = httpx.Response(200, headers=SSE, stream=body(chunks))
        found: Iterator[Any] = event_source(response).iter_sse()
        return found

    return decode


def httpx_sse() -> Iterator[Contender]:
    """httpx-sse: a decoder over a response of httpx."""
    decode = events_of_httpx_sse()
    yield Contender("httpx-sse + json", decoding(decode), has_all)


def sseclient() -> Iterator[Contender]:
    """sseclient-py: a decoder over any iterable of bytes."""
    client = importlib.import_module("sseclient").SSEClient
    yield Contender(
        "sseclient-py + json", decoding(lambda chunks: client(chunks).events()), has_all
    )


def anthropic() -> Iterator[Contender]:
    """The official SDK at three levels: its decoder, its typed events, its messages."""
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
    """jiter, for one tool input. The reader cuts the frames and parses after each delta."""
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
    """Return a class whose instances are the body of a response, for httpx or for its successor."""

    class Body(httpx.SyncByteStream):  # type: ignore[misc]  # httpx may not be installed
        def __init__(self, chunks: Chunks) -> None:
            self._chunks = chunks

        def __iter__(self) -> Iterator[bytes]:
            return iter(self._chunks)

    return Body


READERS: Final = (assel, httpx_sse, sseclient, anthropic)
"""The peers that read whole streams."""


def found(peers: Iterable[Callable[[], Iterator[Contender]]]) -> list[Contender]:
    """Return the peers that are installed. Print the names of the others."""
    contenders: list[Contender] = []
    for peer in peers:
        try:
            contenders += peer()
        except ImportError as error:
            print(f"left out: {peer.__name__} ({error})")
    return contenders
