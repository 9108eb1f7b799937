"""What went wrong is said so that a reader knows what to do: once, in one line, and by its name."""

import traceback
from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest

from sansio_stream import Limits, SSEDecoder, StreamMachine
from sansio_stream_adapters import MessageStream, ProtocolError
from wire import HELLO, body

CUT_JSON: Final = b'event: content_block_delta\ndata: {"type": "content_block\n\n'


# An error that is latched is printed once.


def printed(error: BaseException) -> str:
    """What a traceback of an error that nobody caught shows."""
    return "".join(traceback.format_exception(error))


def calls_of_a_broken_machine() -> Iterator[Callable[[], Any]]:
    machine = StreamMachine()
    machine.receive_data(body(*HELLO[:4]) + CUT_JSON)
    yield machine.final_message
    yield lambda: list(machine.receive_data(b""))
    yield machine.receive_eof
    yield lambda: machine.receive_event({})
    yield machine.final_message


def calls_of_a_broken_decoder() -> Iterator[Callable[[], Any]]:
    decoder = SSEDecoder(Limits(event_bytes=20))
    yield lambda: list(decoder.receive_data(b"data: " + b"x" * 50))
    yield lambda: decoder.receive_data(b"")
    yield decoder.receive_eof


def calls_of_a_broken_stream() -> Iterator[Callable[[], Any]]:
    stream = MessageStream([body(*HELLO[:4]) + CUT_JSON])
    yield stream.until_done
    yield stream.get_final_message
    yield lambda: next(stream)
    yield stream.open


@pytest.mark.parametrize(
    "calls", [calls_of_a_broken_machine, calls_of_a_broken_decoder, calls_of_a_broken_stream]
)
def test_a_latched_error_is_printed_once_however_often_it_is_raised(
    calls: Callable[[], Iterator[Callable[[], Any]]],
) -> None:
    for call in calls():
        with pytest.raises(ProtocolError) as caught:
            call()
        assert printed(caught.value).count(str(caught.value)) == 1


@pytest.mark.parametrize(
    "calls", [calls_of_a_broken_machine, calls_of_a_broken_decoder, calls_of_a_broken_stream]
)
def test_a_latched_error_that_is_raised_while_the_first_is_handled_is_printed_once(
    calls: Callable[[], Iterator[Callable[[], Any]]],
) -> None:
    first, *others = calls()
    try:
        first()
    except ProtocolError:
        for call in others:
            with pytest.raises(ProtocolError) as caught:
                call()
            assert printed(caught.value).count(str(caught.value)) == 1
    else:
        pytest.fail("nothing was raised")
