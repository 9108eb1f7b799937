"""The subcommand `record`: sends a prompt, shows the answer while it arrives, and records it.

The view reads the lines that are written to the file. So `replay` shows the same for this file.
"""

from __future__ import annotations

import json
import shlex
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs
import click

from sansio_stream.capture import parse_capture
from sansio_stream.errors import APIError, APIStatusError
from sansio_stream.request.headers import CREDENTIALS
from sansio_stream_adapters._timeout import Timeout

from ._options import ReadLimits, limit_option
from ._reading import Reading
from ._record_call import (
    ADAPTERS,
    DEFAULT_MAX_TOKENS,
    body_of,
    client_of,
    demand_key,
    stream_reader,
)
from ._recording_file import RecordingFile
from ._text import one_line
from ._views import (
    BAD,
    INTERRUPTED,
    UNUSABLE,
    View,
    complain,
    console_of_stdout,
    judge,
    survive_broken_pipes,
    view_of,
    view_options,
    wanted_view,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from sansio_stream.errors import Limits


__all__ = ["record"]

LONGEST_WAIT: Final = 86_400  # seconds, a day

CREDENTIAL_PARTS: Final = ("auth", "cookie", "credential", "key", "passw", "secret", "token")
"""Parts of header names. A header whose name contains one of them may be a credential.

Harmless headers such as `x-tokenizer` are refused, too; a Python program can send these. A list of
exact names was rejected, because it would miss some credentials.
"""

# The first line of a capture. With it, any later lines of a capture can be parsed on their own.
FIRST_LINE: Final = b'{"sansio_stream_capture": 1}\n'


# Options.


def read_seconds(_: click.Context, __: click.Parameter, value: float | None) -> float | None:
    """Return a number of seconds. Raises BadParameter if it is not above 0 or is above a day."""
    if value is not None and not 0 < value <= LONGEST_WAIT:
        raise click.BadParameter(
            f"{value} is out of range: it must be above 0 and at most {LONGEST_WAIT:,} (a day)"
        )
    return value


def read_params(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> dict[str, Any]:
    """Return the members that `--param NAME=JSON` sets. Raises BadParameter for another form."""
    members: dict[str, Any] = {}
    for value in values:
        name, equals, text = value.partition("=")
        if not (name and equals):
            raise click.BadParameter(f"{value!r} does not have the form NAME=JSON")
        try:
            members[name] = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise click.BadParameter(f"the value of {name} is not JSON: {error}") from error
    return members


def read_headers(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    """Return the headers that `--header` sets.

    Raises BadParameter for a header that may be a credential, and for one without a colon.
    """
    headers: dict[str, str] = {}
    for line in values:
        name, colon, value = line.partition(":")
        name = name.strip().lower()
        if not (name and colon):
            raise click.BadParameter("a header must have the form 'NAME: VALUE'")
        if name in CREDENTIALS or any(part in name for part in CREDENTIAL_PARTS):
            raise click.BadParameter(
                f"{one_line(name, 60)} may be a credential, and other users can read command lines."
                " Set ANTHROPIC_API_KEY or ANTHROPIC_AUTH_TOKEN, or send the header from Python"
                " with the argument default_headers of a client"
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

Set the key in the environment variable ANTHROPIC_API_KEY or ANTHROPIC_AUTH_TOKEN. It is not
recorded.

\b
Exit status:
  0    the stream gave a usable message (a note is printed if only message_stop was missing)
  1    there is no usable message: no connection, a refused request, a cut or broken stream, or a
       server error
  2    a request or a file cannot be used, or the usage is wrong
  130  the command was interrupted; the part that was received until then is recorded
"""


@click.command(epilog=EPILOG)
@click.argument("prompt", required=False)
@click.option(
    "--request",
    metavar="FILE",
    help="A file with the request's body as JSON, or - for standard input."
    " Other options override its members.",
)
@click.option("-m", "--model", metavar="NAME", help="The model.")
@click.option(
    "--max-tokens",
    type=int,
    metavar="N",
    help=f"The maximum length of the answer in tokens. Default: {DEFAULT_MAX_TOKENS}.",
)
@click.option("--system", metavar="TEXT", help="The system prompt.")
@click.option(
    "--param",
    "params",
    multiple=True,
    callback=read_params,
    metavar="NAME=JSON",
    help="Another member of the request's body, such as temperature=0.5. May be repeated.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The file to record to. Default: answer-DATE-TIME.capture.jsonl.",
)
@click.option("--force", is_flag=True, help="Replace the file if it exists.")
@click.option(
    "--base-url",
    metavar="URL",
    help="The URL of the server without /v1/messages. Default: ANTHROPIC_BASE_URL, or the API.",
)
@click.option(
    "--adapter",
    type=click.Choice(list(ADAPTERS)),
    help="The client to use. Default: the first one whose library is installed.",
)
@click.option(
    "--timeout",
    type=float,
    callback=read_seconds,
    metavar="SECONDS",
    help="The longest wait for a connection, and for the next byte."
    " Default: 5 for a connection, 600 for a byte.",
)
@click.option(
    "--idle",
    type=float,
    callback=read_seconds,
    metavar="SECONDS",
    help="The longest wait for an event with content. Default: unlimited.",
)
@click.option(
    "--total",
    type=float,
    callback=read_seconds,
    metavar="SECONDS",
    help="The longest time for the whole call: all attempts and the whole answer."
    " Default: unlimited.",
)
@click.option(
    "--max-retries",
    type=click.IntRange(min=0),
    default=2,
    show_default=True,
    metavar="N",
    help="How often to repeat the request if no answer has begun.",
)
@click.option(
    "--header",
    "headers",
    multiple=True,
    callback=read_headers,
    metavar="'NAME: VALUE'",
    help="A header to send. It must not be a credential. May be repeated.",
)
@click.option(
    "--beta", "betas", multiple=True, metavar="NAME", help="A beta feature. May be repeated."
)
@view_options
@limit_option
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
    limits: ReadLimits,
) -> None:
    """Send a prompt, show the answer while it arrives, and record it for `replay`.

    PROMPT is the text of the user's message, or - for standard input. Standard input is also read
    if there is neither a PROMPT nor a --request that contains messages.
    """
    survive_broken_pipes()
    wanted = wanted_view(events=events, message=message)
    flags = {"model": model, "max_tokens": max_tokens, "system": system}
    given = {name: value for name, value in flags.items() if value is not None}
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
    demand_key(client.base_url)
    body = body_of(request, {**given, **params}, prompt)
    path = output or Path(time.strftime("answer-%Y%m%d-%H%M%S.capture.jsonl"))
    try:
        file = RecordingFile(path, replace=force)
    except FileExistsError:
        complain(f"{path}: the file already exists; use --force to replace it")
        ctx.exit(UNUSABLE)
    except OSError as error:
        complain(f"{path}: {error.strerror}")
        ctx.exit(UNUSABLE)
    call = {
        **{name: body[name] for name in ("model", "max_tokens", "messages")},
        "extra_body": body,
        "betas": betas,
        "record_to": file,
        "limits": limits.machine,
    }
    console = console_of_stdout()
    failure: APIError | KeyboardInterrupt | None = None
    with file:
        view = partial(view_of, wanted, console=console, verbose=verbose)
        viewer = RecordingViewer(file, view, limits.machine)
        try:
            read = stream_reader(adapter, client, call, viewer.update)
        except ValueError as error:
            raise click.UsageError(str(error)) from error
        try:
            read()
        except (APIError, KeyboardInterrupt) as error:
            failure = error
        viewer.update()
    ctx.exit(outcome(file, viewer.view, client.base_url, failure))


# The answer.


class RecordingViewer:
    """Shows the lines of a recording file, as `replay` shows the file.

    Attributes:
        view: the view; None until the first line was written.
    """

    def __init__(
        self, file: RecordingFile, view_of: Callable[[Reading], View], limits: Limits
    ) -> None:
        self.view: View | None = None
        self._is_ended = False
        self._file = file
        self._view_of = view_of
        self._limits = limits

    def update(self) -> None:
        """Show the lines that were written since the last call."""
        for lines in self._file.take_lines():
            if not self._is_ended:
                self._show(lines)

    def _show(self, lines: bytes) -> None:
        view = self.view
        capture = parse_capture(lines if view is None else FIRST_LINE + lines)
        if view is None:
            view = self.view = self._view_of(Reading(capture.header, limits=self._limits))
            view.begin()
        reading = view.reading
        for chunk in capture.chunks:
            for result in reading.feed(chunk):
                view.add(result)
            if reading.broken is not None:
                reading.stop()  # as `replay` does: the rest of the stream changes nothing
                self._end(view)
                return
        if capture.end is not None:
            for result in reading.finish(capture.end):
                view.add(result)
            self._end(view)

    def _end(self, view: View) -> None:
        view.end()
        self._is_ended = True


def outcome(
    file: RecordingFile,
    view: View | None,
    base_url: str,
    failure: APIError | KeyboardInterrupt | None,
) -> int:
    """Print the outcome on stderr, and return the exit status."""
    status = BAD
    if isinstance(failure, KeyboardInterrupt):
        status = INTERRUPTED
        complain("interrupted" if view else "interrupted before an answer arrived")
    elif view is not None:
        status = judge(str(file.path), view)
    elif failure is not None:
        complain(f"{base_url}: {one_line(reason_without_answer(failure), 1000)}")
    if file.failure is not None:
        complain(f"{file.path}: the recording is incomplete: {file.failure.strerror}")
        return UNUSABLE
    if view is not None:
        path = shlex.quote(str(file.path))
        complain(f"the answer is recorded; show it again with: sansio-stream replay {path}")
    return status


def reason_without_answer(error: APIError) -> str:
    """Return why there is no answer, with the HTTP status, the type and the request id if known."""
    if not isinstance(error, APIStatusError):
        return str(error)
    head = f"HTTP {error.http_status}"
    if error.type is not None:
        head += f", {error.type}"
    message = str(error)
    reason = message if message.startswith(head) else f"{head}: {message}"
    return reason if error.request_id is None else f"{reason} (request {error.request_id})"
