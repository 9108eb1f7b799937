"""The official client reads what `sansio-stream serve` serves like this library.

The tests use real connections.
"""

from collections.abc import Iterator

import anthropic
import pytest
from anthropic.lib.streaming import MessageStreamManager

from sansio_stream import StreamMachine
from servers import EXAMPLES, app_of_examples, http_server, recording_in

WHOLE = ("text", "thinking-and-tool-use", "parallel-tools", "web-search-with-citations")


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """The base URL of a server that only these tests use."""
    with http_server(app_of_examples()) as url:
        yield url


@pytest.fixture
def client(url: str) -> Iterator[anthropic.Anthropic]:
    """The official client. It opens its own connections and makes its own retries."""
    with anthropic.Anthropic(api_key="x", base_url=url) as client:
        yield client


def streaming(
    client: anthropic.Anthropic, model: str, fault: str | None = None
) -> MessageStreamManager[None]:
    """Request a recording, with a fault."""
    return client.messages.stream(
        model=model,
        max_tokens=1024,
        messages=[{"role": "user", "content": "Hello"}],
        extra_headers={"x-fault": fault} if fault else {},
    )


def machine_after(model: str) -> StreamMachine:
    """Return a machine that has read the same recording."""
    machine = StreamMachine()
    body = recording_in(EXAMPLES / f"{model}.capture.jsonl").capture.body
    for _ in (*machine.receive_data(body), *machine.receive_eof()):
        pass
    return machine


def without_nulls(value: object) -> object:
    """Return a JSON value without the null members. Only one side writes them for absent values."""
    match value:
        case dict():
            return {name: without_nulls(each) for name, each in value.items() if each is not None}
        case list():
            return [without_nulls(each) for each in value]
        case _:
            return value


@pytest.mark.parametrize("model", WHOLE)
@pytest.mark.parametrize("fault", [None, "gzip", "drip", "429-once", "redirect"])
def test_the_official_client_reads_the_same_message_from_the_server(
    client: anthropic.Anthropic, model: str, fault: str | None
) -> None:
    ours = machine_after(model).final_message()
    with streaming(client, model, fault) as stream:
        text = "".join(stream.text_stream)
        theirs = stream.get_final_message()
    assert text == "".join(block.text for block in ours.content if block.type == "text")
    assert without_nulls(theirs.to_dict()) == without_nulls(ours.to_dict())


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("401", anthropic.AuthenticationError),
        ("404", anthropic.NotFoundError),
        ("error-in-mid-stream", anthropic.APIStatusError),
    ],
)
def test_the_official_client_raises_its_own_exceptions_for_faults(
    client: anthropic.Anthropic, fault: str, error: type[anthropic.APIStatusError]
) -> None:
    with pytest.raises(error), streaming(client, "text", fault) as stream:
        stream.until_done()
