"""Recording: a prompt in; its answer out, on the screen while it comes and in a file for `replay`.

What is shown is read from the lines that are written to the file, so it is what `replay` will show.
Knows no HTTP library, only the names of the adapters.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import shlex
import sys
import time
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

import attrs
import click

from sansio_stream.capture import parse_capture
from sansio_stream.errors import APIError, APIStatusError
from sansio_stream.request.headers import CREDENTIALS

from .._client import AsyncBaseClient, BaseClient
from .._timeout import Timeout
from ._replay import Reading
from ._tape import Tape
from ._text import one_line
from ._views import (
    BAD,
    INTERRUPTED,
    UNUSABLE,
    View,
    complain,
    console_of_stdout,
    judge,
    reason_of,
    survive_broken_pipes,
    view_of,
    view_options,
    wanted_view,
)

if TYPE_CHECKING:
    from .._client import AsyncMessageStreamManager, MessageStreamManager
    from .._settings import ClientSettings

__all__ = ["record"]

AnyClient: TypeAlias = BaseClient | AsyncBaseClient
Listener: TypeAlias = Callable[[], Coroutine[Any, Any, None]]

# The class of its client, in the order in which they are tried. The last one needs no more than the
# command's own server does.
ADAPTERS: Final = {
    "httpx": "Client",
    "aiohttp": "AsyncClient",
    "trio": "AsyncClient",
    "sockets": "Client",
}
LIBRARIES: Final = frozenset({"httpx", "aiohttp", "trio", "h11"})

DEFAULT_MAX_TOKENS: Final = 1024
LONGEST_WAIT: Final = 86_400

OF_CREDENTIALS: Final = ("auth", "cookie", "credential", "key", "passw", "secret", "token")
"""What is in the name of a header that may be one. It finds others as well: who sends `x-tokenizer`
can do so from Python, and a key that was shown cannot be taken back.
"""

# In front of any line it makes a capture of its own.
FIRST_LINE: Final = b'{"sansio_stream_capture": 1}\n'


# Options.


def read_seconds(_: click.Context, __: click.Parameter, value: float | None) -> float | None:
    """Return a number of seconds that every library can wait for."""
    if value is not None and not 0 < value <= LONGEST_WAIT:
        raise click.BadParameter(f"{value} is not above 0, or more than a day")
    return value


def read_params(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> dict[str, Any]:
    """Return the members of `name=JSON`."""
    members: dict[str, Any] = {}
    for value in values:
        name, equals, text = value.partition("=")
        if not (name and equals):
            raise click.BadParameter(f"{value!r} is not name=JSON")
        try:
            members[name] = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise click.BadParameter(f"{name}: not JSON: {error}") from error
    return members


def read_headers(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    """Return the headers; none that is a credential."""
    headers: dict[str, str] = {}
    for line in values:
        name, colon, value = line.partition(":")
        name = name.strip().lower()
        if not (name and colon):
            raise click.BadParameter("a header is 'name: value'")
        if name in CREDENTIALS or any(part in name for part in OF_CREDENTIALS):
            raise click.BadParameter(
                f"{one_line(name, 60)}: a command line is no place for credentials, which others"
                " can list: set ANTHROPIC_API_KEY or ANTHROPIC_AUTH_TOKEN, or send it from Python,"
                " by default_headers of a client"
            )
        headers[name] = value.strip()
    return headers


EPILOG: Final = """\
\b
Examples:
  sansio-stream record -m claude-sonnet-5 "Why is the sea salty?"
  git diff | sansio-stream record -m claude-sonnet-5 --system "Review this." -o review.jsonl
  sansio-stream record --request request.json --param temperature=0 --message | jq .usage
  sansio-stream record -m text --base-url http://127.0.0.1:8080 --header 'x-fault: cut' Hello

The key comes from the environment, ANTHROPIC_API_KEY or ANTHROPIC_AUTH_TOKEN, and is not recorded.

\b
Exit status:
  0    a message to rely on (if only message_stop was missing, a note says so)
  1    no such message: refused, not reached, cut, broken, an error of the server
  2    a request or a file that cannot be used, or wrong usage
  130  interrupted; what came until then is kept
"""


@click.command(epilog=EPILOG)
@click.argument("prompt", required=False)
@click.option(
    "--request",
    metavar="FILE",
    help="The request's body as JSON, - for standard input; other options win over its members.",
)
@click.option("-m", "--model", metavar="NAME", help="The model.")
@click.option(
    "--max-tokens", type=int, metavar="N", help=f"How long at most. Default: {DEFAULT_MAX_TOKENS}."
)
@click.option("--system", metavar="TEXT", help="The system prompt.")
@click.option(
    "--param",
    "params",
    multiple=True,
    callback=read_params,
    metavar="NAME=JSON",
    help="Any other member of the body, such as temperature=0.5. May be repeated.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Where to record. Default: answer-DATE-TIME.capture.jsonl.",
)
@click.option("--force", is_flag=True, help="Replace the file if it exists.")
@click.option(
    "--base-url",
    metavar="URL",
    help="Without /v1/messages. Default: ANTHROPIC_BASE_URL, or the API.",
)
@click.option(
    "--adapter", type=click.Choice(list(ADAPTERS)), help="Default: the first that is installed."
)
@click.option(
    "--timeout",
    type=float,
    callback=read_seconds,
    metavar="SECONDS",
    help="The longest wait for a connection, or for the next byte. Default: 5 and 600.",
)
@click.option(
    "--idle",
    type=float,
    callback=read_seconds,
    metavar="SECONDS",
    help="The longest wait for an event that brings content.",
)
@click.option(
    "--total",
    type=float,
    callback=read_seconds,
    metavar="SECONDS",
    help="The longest time for all of it: every attempt, and the answer to its end.",
)
@click.option(
    "--max-retries",
    type=click.IntRange(min=0),
    default=2,
    show_default=True,
    metavar="N",
    help="How often to ask again where no answer has begun.",
)
@click.option(
    "--header",
    "headers",
    multiple=True,
    callback=read_headers,
    metavar="'NAME: VALUE'",
    help="A header to send, no credential. May be repeated.",
)
@click.option(
    "--beta", "betas", multiple=True, metavar="NAME", help="A beta to use. May be repeated."
)
@view_options
@click.pass_context
def record(
    ctx: click.Context,
    prompt: str | None,
    *,
    request: str | None,
    model: str | None,
    max_tokens: int | None,
    system: str | None,
    params: dict[str, Any],
    output: Path | None,
    force: bool,
    base_url: str | None,
    adapter: str | None,
    timeout: float | None,
    idle: float | None,
    total: float | None,
    max_retries: int,
    headers: dict[str, str],
    betas: tuple[str, ...],
    verbose: bool,
    events: bool,
    message: bool,
    trace: bool,
) -> None:
    """Send a prompt, show the answer while it comes, and keep it for `replay`.

    PROMPT is the one message of the user, - for standard input, which is also read if there is
    neither a PROMPT nor a --request with messages.
    """
    survive_broken_pipes()
    wanted = wanted_view(events=events, message=message, trace=trace)
    flags = {"model": model, "max_tokens": max_tokens, "system": system}
    given = {name: value for name, value in flags.items() if value is not None}
    body = body_of(request, {**given, **params}, prompt)
    waits = Timeout() if timeout is None else Timeout.of(timeout)
    adapter, client = client_of(
        adapter,
        {
            "base_url": base_url,
            "timeout": attrs.evolve(waits, idle=idle, total=total),
            "max_retries": max_retries,
            "default_headers": headers,
        },
    )
    path = output or Path(time.strftime("answer-%Y%m%d-%H%M%S.capture.jsonl"))
    try:
        tape = Tape(path, replace=force)
    except FileExistsError:
        complain(f"{path}: it exists; --force replaces it")
        ctx.exit(UNUSABLE)
    except OSError as error:
        complain(f"{path}: {error.strerror}")
        ctx.exit(UNUSABLE)
    call = {
        **{name: body[name] for name in ("model", "max_tokens", "messages")},
        "extra_body": body,
        "betas": betas,
        "record_to": tape,
    }
    console = console_of_stdout()
    failure: APIError | KeyboardInterrupt | None = None
    with tape:
        screen = Screen(tape, partial(view_of, wanted, console=console, verbose=verbose))
        try:
            listen = listening(adapter, client, call, screen.look)
        except ValueError as error:
            raise click.UsageError(str(error)) from error
        try:
            listen()
        except (APIError, KeyboardInterrupt) as error:
            failure = error
        screen.look()
    ctx.exit(outcome(tape, screen.view, client.base_url, failure))


# The request.


def body_of(request: str | None, members: dict[str, Any], prompt: str | None) -> dict[str, Any]:
    """Return the body: that of a file, with other members, and the prompt for its messages."""
    if prompt == request == "-":
        raise click.UsageError("standard input is either the prompt or the --request")
    body: dict[str, Any] = {"max_tokens": DEFAULT_MAX_TOKENS}
    if request is not None:
        body |= request_in(request)
    body |= members
    if prompt is not None or "messages" not in body:
        body["messages"] = [{"role": "user", "content": prompted(prompt, request)}]
    if "model" not in body:
        raise click.UsageError("a model is needed: -m NAME, or one in the --request")
    return body


def request_in(name: str) -> dict[str, Any]:
    """Return the JSON object in a file."""
    try:
        body: object = json.loads(
            sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
        )
    except (OSError, ValueError) as error:
        raise click.UsageError(f"--request {name}: {reason_of(error)}") from error
    except RecursionError as error:
        raise click.UsageError(f"--request {name}: nested too deeply") from error
    if not isinstance(body, dict):
        raise click.UsageError(f"--request {name}: not a JSON object")
    return cast("dict[str, Any]", body)


def prompted(prompt: str | None, request: str | None) -> str:
    """Return the words of the user."""
    if prompt is None and (request == "-" or sys.stdin.isatty()):
        raise click.UsageError("a prompt is needed, or messages in the --request")
    try:
        text = sys.stdin.buffer.read().decode() if prompt in {None, "-"} else prompt
    except UnicodeDecodeError as error:
        raise click.UsageError(f"the prompt is not UTF-8: {error}") from error
    if not text or text.isspace():
        raise click.UsageError("the prompt is empty")
    return text


def client_of(wanted: str | None, settings: ClientSettings) -> tuple[str, AnyClient]:
    """Return the name and a client of an adapter, of the first that is installed if need be."""
    missing = ""
    for name in ADAPTERS if wanted is None else (wanted,):
        try:
            module = importlib.import_module(f"...{name}", __name__)
            return name, getattr(module, ADAPTERS[name])(**settings)
        except ModuleNotFoundError as error:
            if error.name not in LIBRARIES:
                raise
            missing = missing or error.name
    hint = f"pip install 'sansio-stream[{wanted or 'httpx'}]'"
    raise click.UsageError(f"{missing} is missing: {hint}")


# The answer.


class Screen:
    """A tape in, a view of it out; `view` is None until there is something to see."""

    def __init__(self, tape: Tape, view_of: Callable[[Reading], View]) -> None:
        self.view: View | None = None
        self._tape = tape
        self._view_of = view_of
        self._body = bytearray()

    def look(self) -> None:
        """Show what was written since the last look."""
        for lines in self._tape.unseen():
            self._show(lines)

    def _show(self, lines: bytes) -> None:
        view = self.view
        capture = parse_capture(lines if view is None else FIRST_LINE + lines)
        if view is None:
            view = self.view = self._view_of(Reading(capture.header, self._body))
            view.begin()
        for chunk in capture.chunks:
            self._body += chunk.data
            for moment in view.reading.feed(chunk):
                view.see(moment)
        if capture.end is not None:
            for moment in view.reading.finish(capture.end):
                view.see(moment)
            view.end()


def listening(
    name: str, client: AnyClient, call: dict[str, Any], look: Callable[[], None]
) -> Callable[[], None]:
    """Return what reads a stream to its end, looks after each event, and raises APIError.

    Raises ValueError for a request that cannot be sent.
    """
    if isinstance(client, BaseClient):
        return partial(listen, client, client.messages.stream(**call), look)
    return partial(
        RUNNERS[name], partial(listen_async, client, client.messages.stream(**call), look)
    )


def listen(client: BaseClient, manager: MessageStreamManager, look: Callable[[], None]) -> None:
    """Read, and look."""
    with client, manager as stream:
        for _ in stream:
            look()


async def listen_async(
    client: AsyncBaseClient, manager: AsyncMessageStreamManager, look: Callable[[], None]
) -> None:
    """Do the same in a loop."""
    async with client, manager as stream:
        async for _ in stream:
            look()


def run_asyncio(listener: Listener) -> None:
    """Run it by asyncio."""
    asyncio.run(listener())


def run_trio(listener: Listener) -> None:
    """Run it by trio, which groups an interruption that comes while it connects."""
    try:
        importlib.import_module("trio").run(listener)
    except BaseExceptionGroup as group:
        if group.split(KeyboardInterrupt)[1] is not None:
            raise
        raise KeyboardInterrupt from group


RUNNERS: Final = {"aiohttp": run_asyncio, "trio": run_trio}


def outcome(
    tape: Tape, view: View | None, base_url: str, failure: APIError | KeyboardInterrupt | None
) -> int:
    """Say on stderr what came of it, and return the status."""
    status = BAD
    if isinstance(failure, KeyboardInterrupt):
        status = INTERRUPTED
        complain("interrupted" if view else "interrupted before an answer came")
    elif view is not None:
        status = judge(str(tape.path), view.reading)
    elif failure is not None:
        complain(f"{base_url}: {one_line(told(failure), 1000)}")
    if tape.failure is not None:
        complain(f"{tape.path}: the recording stops in the middle: {tape.failure.strerror}")
        return UNUSABLE
    if view is not None:
        complain(f"recorded; to see it again: sansio-stream replay {shlex.quote(str(tape.path))}")
    return status


def told(error: APIError) -> str:
    """Return why there is no answer, with what its sender may want to know."""
    if not isinstance(error, APIStatusError):
        return str(error)
    head = f"HTTP {error.http_status}"
    if error.type is not None:
        head += f", {error.type}"
    message = str(error)
    said = message if message.startswith(head) else f"{head}: {message}"
    return said if error.request_id is None else f"{said} (request {error.request_id})"
