"""Test the clients and the adapter of the documentation with a real server."""

import inspect
from typing import Any, Final

import pytest

import sansio_stream_adapters
from documentation import Block, blocks
from sansio_stream import (
    APIConnectionError,
    APIError,
    APITimeoutError,
    InternalServerError,
    NotAnEventStreamError,
    OverloadedError,
    RateLimitError,
    Verdict,
)
from sansio_stream_adapters import Reply, Stream
from servers import EXAMPLES, PATIENCE, recording_in
from shared_data import REPOSITORY

URL_OF_PAGE: Final = "http://127.0.0.1:8080"
ASK: Final[dict[str, Any]] = {
    "model": "text",
    "max_tokens": 64,
    "messages": [{"role": "user", "content": "Why is the sea salty?"}],
}


def block_with(page: str, text: str) -> Block:
    """Return the python block of a page that contains a text. There must be exactly one."""
    path = REPOSITORY / page
    (found,) = [
        block for block in blocks(path) if block.language == "python" and text in block.code
    ]
    return found


@pytest.mark.parametrize("page", ["README.md", "docs/clients.md"])
def test_the_client_of_a_page_prints_the_answer_of_a_server(
    page: str, example_server: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("httpx", reason="the client of the page needs httpx")
    code = block_with(page, URL_OF_PAGE).code.replace(URL_OF_PAGE, example_server)
    names: dict[str, Any] = {}
    exec(compile(code, page, "exec"), names)  # noqa: S102 - the point of the test
    names["client"].close()
    printed = capsys.readouterr().out
    assert names["message"].content[0].text in printed
    assert names["message"].stop_reason in printed


# The adapter of docs/adapters.md.


@pytest.fixture
def adapter() -> Any:
    """The client class that the page defines."""
    pytest.importorskip("urllib3", reason="the adapter of the page needs urllib3")
    block = block_with("docs/adapters.md", "class Client")
    names: dict[str, Any] = {}
    exec(compile(block.code, "adapters.md", "exec"), names)  # noqa: S102 - the point of the test
    return names["Client"]


def test_the_adapter_of_the_page_is_short() -> None:
    block = block_with("docs/adapters.md", "class Client")
    assert len([line for line in block.code.splitlines() if line.strip()]) < 40


def test_the_adapter_of_the_page_reads_answers(adapter: Any, example_server: str) -> None:
    with adapter(base_url=example_server) as client:
        for model in ("text", "thinking-and-tool-use", "parallel-tools"):
            with client.messages.stream(**{**ASK, "model": model}) as stream:
                message = stream.get_final_message()
            assert stream.verdict is Verdict.COMPLETE
            body = recording_in(EXAMPLES / f"{model}.capture.jsonl").capture.body
            assert message == final_message_of(body)
            assert stream.response.status == 200
            assert stream.request_id


def final_message_of(body: bytes) -> Any:
    return sansio_stream_adapters.MessageStream([body]).get_final_message()


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("drip", None),
        ("gzip", None),
        ("429-once", None),
        ("missing-message-stop", None),
        ("cut", APIConnectionError),
        ("reset", APIConnectionError),
        ("stall", APITimeoutError),
        ("429", RateLimitError),
        ("500-empty", InternalServerError),
        ("html-200", NotAnEventStreamError),
        ("error-in-mid-stream", OverloadedError),
    ],
)
def test_the_adapter_of_the_page_reads_or_raises_at_each_fault(
    adapter: Any, example_server: str, fault: str, expected: type[APIError] | None
) -> None:
    timeout = 0.2 if fault == "stall" else PATIENCE
    with adapter(base_url=example_server, timeout=timeout) as client:
        retries = {"max_retries": 1 if fault == "429-once" else 0}
        manager = client.messages.stream(**ASK, **retries, extra_headers={"x-fault": fault})
        if expected is None:
            with manager as stream:
                assert stream.get_final_text().startswith("Rivers")
            return
        with pytest.raises(expected) as caught, manager as stream:
            stream.until_done()
        assert type(caught.value) is expected


def test_the_adapter_of_the_page_maps_exceptions_of_urllib3(adapter: Any) -> None:
    with (
        adapter(base_url="http://127.0.0.1:1", max_retries=0) as client,
        pytest.raises(APIConnectionError) as caught,
        client.messages.stream(**ASK),
    ):
        pass
    assert type(caught.value.__cause__).__module__.startswith("urllib3")


def test_the_page_names_all_keys_of_a_reply() -> None:
    page = (REPOSITORY / "docs" / "adapters.md").read_text("utf-8")
    arguments = inspect.signature(Stream.__init__).parameters.keys() - {"self", "chunks", "options"}
    for name in arguments | {"record_to", "strict", "limits", "idle"}:
        assert f"`{name}`" in page
    assert Reply.__required_keys__ == arguments | {"chunks"}
