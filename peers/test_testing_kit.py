"""docs/testing.md lists exactly the failures that the testing kit finds in the official client."""

import warnings
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import version
from typing import Any, Final, TypeAlias

import anthropic
import httpx2
import pytest
from hypothesis import settings

from test_docs import name_of, rows_of, section
from test_testing_page import PAGE, assert_listed

SECTION: Final = section(PAGE, "## The official SDK")

Read: TypeAlias = Callable[[Iterable[bytes]], dict[str, Any]]


@pytest.fixture
def read() -> Iterator[Read]:
    """A function that returns the client's final message for the chunks of a body."""
    bodies: list[Iterable[bytes]] = []

    def respond(_request: httpx2.Request) -> httpx2.Response:
        head = {"content-type": "text/event-stream; charset=utf-8"}
        return httpx2.Response(200, headers=head, content=bodies.pop())

    with (
        # The client warns of unexpected types.
        warnings.catch_warnings(action="ignore", category=UserWarning),
        httpx2.Client(transport=httpx2.MockTransport(respond)) as http_client,
        anthropic.Anthropic(api_key="x", http_client=http_client, max_retries=0) as client,
    ):

        def final_message(chunks: Iterable[bytes]) -> dict[str, Any]:
            bodies.append(chunks)
            with client.messages.stream(model="claude-test-1", max_tokens=1, messages=[]) as stream:
                return stream.get_final_message().to_dict(mode="json")

        yield final_message


def has_stop_reason(message: dict[str, Any]) -> bool:
    return message["stop_reason"] is not None


def calls_to_run(message: dict[str, Any]) -> dict[str, Any]:
    """Return the inputs of the calls that the client's tool runner would run, by id."""
    if message["stop_reason"] != "tool_use":
        return {}
    blocks = message["content"]
    return {block["id"]: block["input"] for block in blocks if block["type"] == "tool_use"}


def test_the_page_lists_what_the_kit_finds_in_the_official_sdk(read: Read) -> None:
    assert_listed(
        [name_of(name) for name, _ in rows_of(SECTION)],
        read,
        examples_of_others=max(40, settings().max_examples),
        raises=anthropic.AnthropicError,
        completed=has_stop_reason,
        tool_inputs=calls_to_run,
        blocks=("text", "thinking", "tool_use"),
    )


def test_the_page_names_the_tested_version() -> None:
    assert f"version {version('anthropic')}." in SECTION
