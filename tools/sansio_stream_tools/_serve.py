"""The subcommand `serve`: an HTTP server that answers requests with captured streams."""

from __future__ import annotations

import socket
import textwrap
import time
from pathlib import Path
from typing import Final

import click

from ._app import SERVED, App, Exchange, is_loopback
from ._options import ReadLimits, limit_option, read_speed
from ._recordings import Recording, read_recordings
from ._text import one_line, unbroken
from ._views import UNUSABLE, complain, reason_of, survive_broken_pipes

__all__ = ["serve"]

EPILOG: Final = """\
\b
Examples:
  sansio-stream serve examples/*.capture.jsonl
  sansio-stream serve --port 0 --speed max text.sse
  sansio-stream serve --fault ping-stall examples/text.capture.jsonl

A request is answered with the file whose name, up to the first dot, equals the request's `model`.
If there is none, it is answered with a file that was recorded with this model.
If there is none either, the answer is a 404, or with --any-model all files take turns.
A request without `"stream": true` gets the message as JSON.
The header `x-fault` of a request replaces the value of --fault for this request.

\b
Faults of the connection:
{of_connection}

\b
Faults of the bytes. They need a recording of a complete message:
{of_bytes}
""".format(
    of_connection="\n".join(
        f"  {name:18}{fault.description}"
        for name, fault in SERVED.items()
        if fault.kind == "connection"
    ),
    of_bytes=textwrap.fill(
        ", ".join(name for name, fault in SERVED.items() if fault.kind == "bytes"),
        width=76,
        initial_indent="  ",
        subsequent_indent="  ",
        break_on_hyphens=False,
    ),
)


@click.command(epilog=EPILOG)
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=Path)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8080,
    show_default=True,
    help="The port to listen on. 0 selects any free port.",
)
@click.option(
    "--speed",
    callback=read_speed,
    default="1",
    show_default=True,
    metavar="N|max",
    help="Send N times as fast as recorded.",
)
@click.option(
    "--fault",
    type=click.Choice(list(SERVED)),
    metavar="NAME",
    help="The fault to apply to each answer. The names are listed below.",
)
@click.option(
    "--any-model",
    is_flag=True,
    help="Answer requests for unknown models, too: all files take turns.",
)
@limit_option
@click.pass_context
def serve(
    ctx: click.Context,
    files: tuple[Path, ...],
    *,
    host: str,
    port: int,
    speed: float,
    fault: str | None,
    any_model: bool,
    limits: ReadLimits,
) -> None:
    """Answer POST /v1/messages with captured streams, at their recorded speed.

    Use it to try a client without an API key. FILE may have any format that `replay` reads.
    """
    survive_broken_pipes()
    from ._uvicorn import server_of  # noqa: PLC0415 - `replay` must work without uvicorn

    recordings: list[Recording] = []
    for path in files:
        try:
            recordings += read_recordings(path, limits.source)
        except (OSError, ValueError) as error:
            complain(f"{path}: {reason_of(error)}")
            ctx.exit(UNUSABLE)
    app = App(
        recordings,
        speed=speed,
        fault=fault,
        any_model=any_model,
        is_local=is_loopback(host),
        log=log,
    )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family)
    except OSError as error:
        complain(f"{host}, port {port}: {error.strerror}")
        ctx.exit(UNUSABLE)
    with listening:
        shown = f"[{host}]" if ":" in host else host
        port = listening.getsockname()[1]
        click.echo(f"Serving at http://{shown}:{port} (press Ctrl-C to stop)")
        for recording in recordings:
            models = ", ".join([recording.stem, *sorted(recording.models)])
            click.echo(unbroken(f"  {recording.name}  for model {models}", 500))
        server_of(app).run(sockets=[listening])


def log(exchange: Exchange) -> None:
    """Print an exchange as one line, with the time of day."""
    click.echo(one_line(f"{time.strftime('%H:%M:%S')} {exchange}", 500))
