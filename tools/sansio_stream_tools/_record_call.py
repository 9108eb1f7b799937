"""The call of `record`: the body of the request, the client, and the loops that read the answer.

This module imports no HTTP library by itself. `client_of` imports the adapter that is used.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import sys
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

import click

from sansio_stream_adapters._client import AsyncBaseClient, BaseClient
from sansio_stream_adapters._settings import DEFAULT_URL

from ._views import reason_of

if TYPE_CHECKING:
    from sansio_stream_adapters._client import AsyncMessageStreamManager, MessageStreamManager
    from sansio_stream_adapters._settings import ClientSettings

__all__ = [
    "ADAPTERS",
    "DEFAULT_MAX_TOKENS",
    "AnyClient",
    "body_of",
    "client_of",
    "demand_key",
    "stream_reader",
]

AnyClient: TypeAlias = BaseClient | AsyncBaseClient
CoroutineFunction: TypeAlias = Callable[[], Coroutine[Any, Any, None]]

# The client class of each adapter. Without --adapter, they are tried in this order. The last one
# only needs h11, which the extra `cli` installs for `serve`.
ADAPTERS: Final = {
    "httpx": "Client",
    "aiohttp": "AsyncClient",
    "trio": "AsyncClient",
    "sockets": "Client",
}
LIBRARIES: Final = frozenset({"httpx", "aiohttp", "trio", "h11"})

DEFAULT_MAX_TOKENS: Final = 1024


# The request.


def body_of(request: str | None, members: dict[str, Any], prompt: str | None) -> dict[str, Any]:
    """Return the body of the request.

    `members` replace those of the file `request`, and `prompt` replaces its messages.
    Raises UsageError if the model or the prompt is missing, or if the file cannot be used.
    """
    if prompt == request == "-":
        raise click.UsageError("PROMPT and --request cannot both be read from standard input")
    body: dict[str, Any] = {"max_tokens": DEFAULT_MAX_TOKENS}
    if request is not None:
        body |= request_in(request)
    body |= members
    if prompt is not None or "messages" not in body:
        body["messages"] = [{"role": "user", "content": prompted(prompt, request)}]
    if "model" not in body:
        raise click.UsageError("the model is missing: use -m NAME, or set model in the --request")
    return body


def request_in(name: str) -> dict[str, Any]:
    """Return the JSON object in a file. Raises UsageError if there is none."""
    try:
        body: object = json.loads(
            sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
        )
    except (OSError, ValueError) as error:
        raise click.UsageError(f"--request {name}: {reason_of(error)}") from error
    except RecursionError as error:
        raise click.UsageError(f"--request {name}: the JSON is nested too deeply") from error
    if not isinstance(body, dict):
        raise click.UsageError(f"--request {name}: the file does not contain a JSON object")
    return cast("dict[str, Any]", body)


def prompted(prompt: str | None, request: str | None) -> str:
    """Return the text of the prompt: the argument, or standard input.

    Raises UsageError if the prompt is missing, empty or not UTF-8.
    """
    if prompt is None and (request == "-" or sys.stdin.isatty()):
        raise click.UsageError(
            "the prompt is missing: add a PROMPT, or set messages in the --request"
        )
    try:
        text = sys.stdin.buffer.read().decode() if prompt in {None, "-"} else prompt
    except UnicodeDecodeError as error:
        raise click.UsageError(f"the prompt is not UTF-8: {error}") from error
    if not text or text.isspace():
        raise click.UsageError("the prompt is empty")
    return text


def client_of(wanted: str | None, settings: ClientSettings) -> tuple[str, AnyClient]:
    """Return the name of an adapter and a client of it.

    If `wanted` is None, this is the first adapter whose library is installed.
    Raises UsageError if the library is not installed.
    """
    missing = ""
    for name in ADAPTERS if wanted is None else (wanted,):
        try:
            module = importlib.import_module(f"sansio_stream_adapters.{name}")
            return name, getattr(module, ADAPTERS[name])(**settings)
        except ModuleNotFoundError as error:
            if error.name not in LIBRARIES:
                raise
            missing = missing or error.name
    hint = f"pip install 'sansio-stream[{wanted or 'httpx'}]'"
    raise click.UsageError(f"{missing} is not installed: {hint}")


def demand_key(base_url: str) -> None:
    """Raise UsageError if the request goes to Anthropic's API and the environment has no key.

    `record` takes no key from the command line, because other users can read command lines.
    """
    names = ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN")
    if base_url == DEFAULT_URL and not any(map(os.environ.get, names)):
        raise click.UsageError(
            f"there is no API key: set the environment variable {' or '.join(names)}"
        )


# The answer.


def stream_reader(
    name: str, client: AnyClient, call: dict[str, Any], show: Callable[[], None]
) -> Callable[[], None]:
    """Return a function that reads a stream to its end and calls `show` after each event.

    The function closes the client. It raises APIError if the stream fails.
    Raises ValueError if the arguments in `call` give a request that cannot be sent.
    """
    if isinstance(client, BaseClient):
        return partial(read_sync, client, client.messages.stream(**call), show)
    return partial(RUNNERS[name], partial(read_async, client, client.messages.stream(**call), show))


def read_sync(client: BaseClient, manager: MessageStreamManager, show: Callable[[], None]) -> None:
    """Read a stream to its end with a synchronous client. Call `show` after each event."""
    with client, manager as stream:
        for _ in stream:
            show()


async def read_async(
    client: AsyncBaseClient, manager: AsyncMessageStreamManager, show: Callable[[], None]
) -> None:
    """Read a stream to its end with an asynchronous client. Call `show` after each event."""
    async with client, manager as stream:
        async for _ in stream:
            show()


def run_asyncio(function: CoroutineFunction) -> None:
    """Run a coroutine function with asyncio."""
    asyncio.run(function())


def run_trio(function: CoroutineFunction) -> None:
    """Run a coroutine function with trio.

    If an interruption arrives while the client connects, trio raises it inside an exception group.
    In this case, `run_trio` raises KeyboardInterrupt instead of the group.
    """
    try:
        importlib.import_module("trio").run(function)
    except BaseExceptionGroup as group:
        if group.split(KeyboardInterrupt)[1] is not None:
            raise
        raise KeyboardInterrupt from group


RUNNERS: Final = {"aiohttp": run_asyncio, "trio": run_trio}
