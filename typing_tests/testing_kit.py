"""The types of the testing kit, as type checkers see them."""

from collections.abc import Iterable, Iterator
from typing import assert_type

from hypothesis import given, strategies as st

from sansio_stream import Message, MessageStreamEvent, encode_stream, events_from_message
from sansio_stream.testing import (
    FAULTS,
    AsyncByteSource,
    ByteSource,
    Fault,
    FaultyStream,
    Script,
    check_chunking,
    check_faults,
    cuts,
    events,
    faults,
    messages,
    scripts,
    wire,
)


def read(chunks: Iterable[bytes]) -> Message | None:
    raise LookupError(list(chunks))


assert_type(messages(blocks=["text"]), st.SearchStrategy[Message])
assert_type(scripts(unknown=False), st.SearchStrategy[Script])
assert_type(events(), st.SearchStrategy[MessageStreamEvent])
assert_type(cuts(b""), st.SearchStrategy[list[bytes]])
assert_type(faults("done_marker", cut=False), st.SearchStrategy[FaultyStream])
assert_type(FAULTS["done_marker"], Fault)


@given(st.data())
def use(data: st.DataObject) -> None:
    script = data.draw(scripts())
    assert_type(script, tuple[MessageStreamEvent, ...])
    assert_type(data.draw(wire(script)), bytes)


def write(message: Message) -> None:
    assert_type(encode_stream(message, pings=0), bytes)
    assert_type(events_from_message(message, [3]), Iterator[MessageStreamEvent])


check_chunking(read, b"")
# `completed` takes the result of the consumer.
check_faults(read, completed=lambda message: message is not None and message.complete)
check_chunking(read, "text")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

assert_type(next(ByteSource([b"", OSError(), lambda: None])), bytes)


async def read_next(source: AsyncByteSource) -> None:
    assert_type(await anext(source), bytes)
